//! Attributes of communicators, datatypes and windows: Python values under integer keys (MPI 5.0 section 7.7).
//!
//! A key's state (the Python copy and delete functions) is MPI's extra state. It lives as long as the key is registered
//! here or a value is set somewhere: every value set holds a count on it, which its delete callback gives back.

use std::collections::HashMap;
use std::sync::atomic::{AtomicI32, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};

use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;

use crate::comm::Comm;
use crate::datatype::Datatype;
use crate::error::{self, check};
use crate::ffi::*;
use crate::gil;
use crate::handle::{self, Handle, Raw};
use crate::win::Win;

/// What an attribute belongs to.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Kind {
    /// A communicator.
    Comm,
    /// A datatype.
    Type,
    /// A window.
    Win,
}

/// The Python side of an attribute key.
struct State {
    copy: Option<Copy>,
    delete: Option<Py<PyAny>>,
    /// Values are addresses and not Python objects.
    nopython: bool,
    /// The error of the delete function, for the `Delete_attr` that called it: libraries need not pass it on.
    failed: AtomicI32,
}

enum Copy {
    /// The duplicate gets the same value.
    Same,
    /// The duplicate gets what the function returns.
    Call(Py<PyAny>),
}

type Registry = Mutex<Option<HashMap<(Kind, c_int), Arc<State>>>>;

static STATES: Registry = Mutex::new(None);

fn state(kind: Kind, keyval: c_int) -> Option<Arc<State>> {
    STATES.lock().unwrap_or_else(PoisonError::into_inner).as_ref()?.get(&(kind, keyval)).cloned()
}

fn store(kind: Kind, keyval: c_int, state: Arc<State>) {
    let old =
        STATES.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert_default().insert((kind, keyval), state);
    drop(old);
}

fn remove(kind: Kind, keyval: c_int) {
    let old = STATES
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .as_mut()
        .and_then(|states| states.remove(&(kind, keyval)));
    drop(old);
}

/// The functions a caller gave, with the `True`, `False` and `None` that mean a standard behaviour.
pub(crate) fn create_keyval(
    kind: Kind,
    copy: Option<&Bound<'_, PyAny>>,
    delete: Option<&Bound<'_, PyAny>>,
    nopython: bool,
) -> PyResult<c_int> {
    let flag = |function: &Bound<'_, PyAny>| function.extract::<bool>().ok();
    let copy = copy.and_then(|function| match flag(function) {
        Some(false) => None,
        Some(true) => Some(Copy::Same),
        None => Some(Copy::Call(function.clone().unbind())),
    });
    let delete = delete.filter(|function| flag(function).is_none()).map(|function| function.clone().unbind());
    let state = Arc::new(State { copy, delete, nopython, failed: AtomicI32::new(MPI_SUCCESS) });
    let extra = Arc::as_ptr(&state).cast_mut().cast::<c_void>();
    let mut keyval = MPI_KEYVAL_INVALID;
    // SAFETY: the callbacks live as long as the process; the state lives as described at the top of this file.
    check(unsafe {
        match kind {
            Kind::Comm => MPI_Comm_create_keyval(
                copy_callback::<MPI_Comm> as *mut c_void,
                delete_callback::<MPI_Comm> as *mut c_void,
                &mut keyval,
                extra,
            ),
            Kind::Type => MPI_Type_create_keyval(
                copy_callback::<MPI_Datatype> as *mut c_void,
                delete_callback::<MPI_Datatype> as *mut c_void,
                &mut keyval,
                extra,
            ),
            Kind::Win => MPI_Win_create_keyval(
                copy_callback::<MPI_Win> as *mut c_void,
                delete_callback::<MPI_Win> as *mut c_void,
                &mut keyval,
                extra,
            ),
        }
    })?;
    store(kind, keyval, state);
    Ok(keyval)
}

/// Frees a key; values that are still set keep its state.
pub(crate) fn free_keyval(_py: Python<'_>, kind: Kind, keyval: c_int) -> PyResult<c_int> {
    let mut freed = keyval;
    // SAFETY: the pointer is valid for the call.
    check(unsafe {
        match kind {
            Kind::Comm => MPI_Comm_free_keyval(&mut freed),
            Kind::Type => MPI_Type_free_keyval(&mut freed),
            Kind::Win => MPI_Win_free_keyval(&mut freed),
        }
    })?;
    remove(kind, keyval);
    Ok(freed)
}

/// The value as the library stores it, and whether it is set.
pub(crate) fn get_raw(kind: Kind, handle: usize, keyval: c_int) -> PyResult<Option<*mut c_void>> {
    let (mut value, mut flag) = (std::ptr::null_mut::<c_void>(), 0);
    let out = (&raw mut value).cast::<c_void>();
    // SAFETY: `out` is the place for a pointer, as the standard wants it.
    check(unsafe {
        match kind {
            Kind::Comm => MPI_Comm_get_attr(MPI_Comm(handle), keyval, out, &mut flag),
            Kind::Type => MPI_Type_get_attr(MPI_Datatype(handle), keyval, out, &mut flag),
            Kind::Win => MPI_Win_get_attr(MPI_Win(handle), keyval, out, &mut flag),
        }
    })?;
    Ok((flag != 0).then_some(value))
}

/// Whether the key is one of the standard's, whose value is the address of an int.
fn points_to_int(kind: Kind, keyval: c_int) -> bool {
    let keys = [MPI_TAG_UB, MPI_HOST, MPI_IO, MPI_WTIME_IS_GLOBAL, MPI_APPNUM, MPI_LASTUSEDCODE, MPI_UNIVERSE_SIZE];
    kind == Kind::Comm && keys.contains(&keyval)
}

/// The value of an attribute as Python sees it; `None` when it is not set.
pub(crate) fn get(py: Python<'_>, kind: Kind, handle: usize, keyval: c_int) -> PyResult<Py<PyAny>> {
    let Some(value) = get_raw(kind, handle, keyval)? else {
        return Ok(py.None());
    };
    if value.is_null() {
        return Ok(0_i32.into_pyobject(py)?.into_any().unbind());
    }
    if points_to_int(kind, keyval) {
        // SAFETY: the standard says that these attributes are addresses of an int.
        let number = unsafe { value.cast::<c_int>().read() };
        return Ok(number.into_pyobject(py)?.into_any().unbind());
    }
    match state(kind, keyval) {
        // SAFETY: `set` stored an owned reference to a Python object under this key.
        Some(state) if !state.nopython => Ok(unsafe { Bound::from_borrowed_ptr(py, value.cast()) }.unbind()),
        _ => Ok(value.addr().into_pyobject(py)?.into_any().unbind()),
    }
}

/// Sets an attribute. An older value is deleted, its delete function called, by the library.
pub(crate) fn set(kind: Kind, handle: usize, keyval: c_int, value: &Bound<'_, PyAny>) -> PyResult<()> {
    let state = state(kind, keyval);
    let python = state.as_ref().is_some_and(|state| !state.nopython);
    let pointer = if python { value.as_ptr().cast() } else { address(value)? };
    // SAFETY: passes an address; for Python values a reference is added below, once the library has it.
    check(unsafe {
        match kind {
            Kind::Comm => MPI_Comm_set_attr(MPI_Comm(handle), keyval, pointer),
            Kind::Type => MPI_Type_set_attr(MPI_Datatype(handle), keyval, pointer),
            Kind::Win => MPI_Win_set_attr(MPI_Win(handle), keyval, pointer),
        }
    })?;
    if python {
        let _owned_by_library = value.clone().into_ptr();
    }
    if let Some(state) = state {
        let _owned_by_library = Arc::into_raw(state);
    }
    Ok(())
}

/// A Python integer as an address; negative ones wrap as in C.
fn address(value: &Bound<'_, PyAny>) -> PyResult<*mut c_void> {
    let bits = match value.extract::<usize>() {
        Ok(bits) => bits,
        Err(_) => value.extract::<isize>()?.cast_unsigned(),
    };
    Ok(std::ptr::without_provenance_mut(bits))
}

/// Deletes an attribute. What its delete function raises is shown, and is an error here.
pub(crate) fn delete(_py: Python<'_>, kind: Kind, handle: usize, keyval: c_int) -> PyResult<()> {
    let state = state(kind, keyval);
    DELETING.set(DELETING.get() + 1);
    // SAFETY: passes values; the library checks them.
    let code = unsafe {
        match kind {
            Kind::Comm => MPI_Comm_delete_attr(MPI_Comm(handle), keyval),
            Kind::Type => MPI_Type_delete_attr(MPI_Datatype(handle), keyval),
            Kind::Win => MPI_Win_delete_attr(MPI_Win(handle), keyval),
        }
    };
    DELETING.set(DELETING.get() - 1);
    check(code)?;
    check(state.map_or(MPI_SUCCESS, |state| state.failed.swap(MPI_SUCCESS, Relaxed)))
}

thread_local! {
    /// How many `Delete_attr` calls are under way on this thread: their delete functions may raise to them.
    static DELETING: std::cell::Cell<u32> = const { std::cell::Cell::new(0) };
}

/// A handle type that can have attributes.
trait Owner: Raw {
    type Class: Handle<Raw = Self>;
}

impl Owner for MPI_Comm {
    type Class = Comm;
}

impl Owner for MPI_Datatype {
    type Class = Datatype;
}

impl Owner for MPI_Win {
    type Class = Win;
}

/// Calls `function(object, keyval, value)`; the object is good for the call only, unless it is one of the constants.
fn call<'py, O: Owner>(
    function: &Bound<'py, PyAny>,
    owner: O,
    keyval: c_int,
    value: &Bound<'py, PyAny>,
) -> PyResult<Bound<'py, PyAny>> {
    let object = handle::wrap::<O::Class>(function.py(), owner)?;
    let result = function.call1((&object, keyval, value));
    let class = object.cast::<O::Class>()?.get();
    if !handle::is_constant(class) {
        class.cell().set(O::NULL);
    }
    result
}

/// The value a callback gets as a Python object.
///
/// # Safety
/// `value` must be a live object's address unless the state says that values are addresses.
unsafe fn python_value<'py>(py: Python<'py>, state: &State, value: *mut c_void) -> PyResult<Bound<'py, PyAny>> {
    if state.nopython {
        Ok(value.addr().into_pyobject(py)?.into_any())
    } else if value.is_null() {
        Err(PyRuntimeError::new_err("attribute without a value"))
    } else {
        // SAFETY: the caller vouches for the object.
        Ok(unsafe { Bound::from_borrowed_ptr(py, value.cast()) })
    }
}

/// Whether Python code can run: callbacks also come while the interpreter is gone.
fn python_is_up() -> bool {
    // SAFETY: asks for a flag only; valid at any time.
    unsafe { pyo3::ffi::Py_IsInitialized() != 0 }
}

/// Called by the library when an object with the attribute is duplicated.
unsafe extern "C" fn copy_callback<O: Owner>(
    owner: O,
    keyval: c_int,
    extra: *mut c_void,
    value: *mut c_void,
    out: *mut c_void,
    flag: *mut c_int,
) -> c_int {
    // SAFETY: the library passes a place for the flag.
    unsafe { *flag = 0 };
    if extra.is_null() || out.is_null() {
        return MPI_ERR_INTERN;
    }
    if !python_is_up() {
        return MPI_SUCCESS;
    }
    gil::attached(|py| {
        // SAFETY: `extra` is the state of a key that is registered or has a value: this one.
        let state = unsafe { &*extra.cast::<State>() };
        let copied = (|| {
            // SAFETY: `set` or this callback stored the value.
            let value = unsafe { python_value(py, state, value)? };
            let copy = match &state.copy {
                None => return Ok(None),
                Some(Copy::Same) => value,
                Some(Copy::Call(function)) => call(function.bind(py), owner, keyval, &value)?,
            };
            if copy.is(py.NotImplemented().bind(py)) {
                return Ok(None);
            }
            let pointer = if state.nopython { address(&copy)? } else { copy.into_ptr().cast() };
            Ok(Some(pointer))
        })();
        match copied {
            Ok(None) => MPI_SUCCESS,
            Ok(Some(pointer)) => {
                // SAFETY: `out` is the place for the copy, an address; the count on the state goes with the value.
                unsafe {
                    out.cast::<*mut c_void>().write(pointer);
                    *flag = 1;
                    Arc::increment_strong_count(extra.cast::<State>().cast_const());
                }
                MPI_SUCCESS
            }
            Err(error) => error::report_from_callback(py, error),
        }
    })
}

/// Called by the library when an attribute or its object goes away.
unsafe extern "C" fn delete_callback<O: Owner>(
    owner: O,
    keyval: c_int,
    value: *mut c_void,
    extra: *mut c_void,
) -> c_int {
    if extra.is_null() {
        return MPI_ERR_INTERN;
    }
    if !python_is_up() {
        return MPI_SUCCESS;
    }
    gil::attached(|py| {
        // SAFETY: takes over the count that `set` or the copy callback left with the value.
        let state = unsafe { Arc::from_raw(extra.cast::<State>().cast_const()) };
        let deleted = (|| {
            // SAFETY: `set` or the copy callback stored the value.
            let object = unsafe { python_value(py, &state, value)? };
            if let Some(function) = &state.delete {
                call(function.bind(py), owner, keyval, &object)?;
            }
            Ok(())
        })();
        if !state.nopython && !value.is_null() {
            // SAFETY: gives back the reference that went with the value.
            drop(unsafe { Bound::<PyAny>::from_owned_ptr(py, value.cast()) });
        }
        match deleted {
            Ok(()) => MPI_SUCCESS,
            Err(error) => {
                let code = error::report_from_callback(py, error);
                if DELETING.get() == 0 {
                    return code;
                }
                state.failed.store(code, Relaxed);
                MPI_SUCCESS
            }
        }
    })
}
