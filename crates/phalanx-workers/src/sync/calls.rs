//! `acquire` and `release` as built-in functions bound to their lock.
//!
//! An uncontended lock is taken by one instruction, and what surrounds a method of a class (attaching to the
//! interpreter, unwinding, arguments) costs several times as much. So these two are functions of the C API whose common
//! case is written out here; it touches no Python object but the constants it returns. Everything else goes to the
//! methods `_acquire` and `_release` of [`SemLock`].

use phalanx_shm::Acquired;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};
use pyo3::{Borrowed, intern};

use super::{SemLock, owner_died};

/// A function of the C API, for [`bound`].
struct Function(ffi::PyMethodDef);

// SAFETY: only pointers to constants and functions, which never change.
unsafe impl Sync for Function {}

static ACQUIRE: Function = Function(ffi::PyMethodDef {
    ml_name: c"acquire".as_ptr(),
    ml_meth: ffi::PyMethodDefPointer { PyCFunctionFastWithKeywords: acquire },
    ml_flags: ffi::METH_FASTCALL | ffi::METH_KEYWORDS,
    ml_doc: c"acquire($self, /, block=True, timeout=None)\n--\n\nTake the lock or a unit of the semaphore.".as_ptr(),
});

static RELEASE: Function = Function(ffi::PyMethodDef {
    ml_name: c"release".as_ptr(),
    ml_meth: ffi::PyMethodDefPointer { PyCFunction: release },
    ml_flags: ffi::METH_NOARGS,
    ml_doc: c"release($self, /)\n--\n\nGive it back.".as_ptr(),
});

/// `acquire` of a lock.
pub(super) fn acquire_of<'py>(lock: &Bound<'py, SemLock>) -> PyResult<Bound<'py, PyAny>> {
    bound(&ACQUIRE, lock)
}

/// `release` of a lock.
pub(super) fn release_of<'py>(lock: &Bound<'py, SemLock>) -> PyResult<Bound<'py, PyAny>> {
    bound(&RELEASE, lock)
}

fn bound<'py>(function: &'static Function, lock: &Bound<'py, SemLock>) -> PyResult<Bound<'py, PyAny>> {
    // SAFETY: the definition lives for ever and is only read; the new function keeps a reference to the lock.
    unsafe {
        let definition = std::ptr::from_ref(&function.0).cast_mut();
        let made = ffi::PyCFunction_NewEx(definition, lock.as_ptr(), std::ptr::null_mut());
        Bound::from_owned_ptr_or_err(lock.py(), made)
    }
}

/// The lock of a call: what `bound` bound.
///
/// # Safety
///
/// `object` is a `SemLock`, referenced during `'a`; the thread is attached to the interpreter.
#[inline(always)]
unsafe fn this<'a>(object: *mut ffi::PyObject) -> Borrowed<'a, 'a, SemLock> {
    // SAFETY: the caller's promise.
    unsafe { Borrowed::from_ptr(Python::assume_attached(), object).cast_unchecked() }
}

/// The slow way: a method of the lock, by name.
#[cold]
fn method(
    object: *mut ffi::PyObject,
    call: impl FnOnce(Python<'_>, &Bound<'_, PyAny>) -> PyResult<*mut ffi::PyObject>,
) -> *mut ffi::PyObject {
    Python::attach(|py| {
        // SAFETY: Python passes the bound object, which lives as long as the call.
        let object = unsafe { Borrowed::from_ptr(py, object) };
        call(py, &object).unwrap_or_else(|error| {
            error.restore(py);
            std::ptr::null_mut()
        })
    })
}

/// A new reference to True or False.
fn truth(py: Python<'_>, value: bool) -> *mut ffi::PyObject {
    pyo3::types::PyBool::new(py, value).to_owned().into_any().into_ptr()
}

unsafe extern "C" fn acquire(
    object: *mut ffi::PyObject,
    args: *const *mut ffi::PyObject,
    count: ffi::Py_ssize_t,
    names: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    if names.is_null() {
        // SAFETY: called by Python with what `bound` bound.
        let lock = unsafe { this(object) };
        let lock = lock.get();
        // Whether it may wait, when that needs no look at the arguments.
        let waits = match count {
            0 => Some(true),
            // SAFETY: one argument was passed, which lives as long as the call.
            1 if unsafe { *args } == unsafe { ffi::Py_False() } => Some(false),
            _ => None,
        };
        if let Some(waits) = waits {
            let answer = match lock.take_at_once() {
                // SAFETY: a constant of the interpreter, to which this thread is attached.
                Acquired::Yes => Some(unsafe { ffi::Py_True() }),
                // SAFETY: as above.
                Acquired::TimedOut if !waits => Some(unsafe { ffi::Py_False() }),
                Acquired::OwnerDied { pid } => return method(object, |py, _| Err(owner_died(py, pid, "lock"))),
                Acquired::TimedOut | Acquired::SliceOver => None,
            };
            if let Some(answer) = answer {
                // SAFETY: a live object, and attached as above.
                unsafe { ffi::Py_INCREF(answer) };
                return answer;
            }
        }
    }
    // SAFETY: Python passes `count` arguments and one for each of `names`.
    unsafe { acquire_slowly(object, args, count, names) }
}

/// # Safety
///
/// The arguments are those of a call by Python.
#[cold]
unsafe fn acquire_slowly(
    object: *mut ffi::PyObject,
    args: *const *mut ffi::PyObject,
    count: ffi::Py_ssize_t,
    names: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    method(object, |py, lock| {
        let count = usize::try_from(count).unwrap_or(0);
        // SAFETY: the caller's promise; the arguments live as long as the call.
        let argument = |n: usize| unsafe { Borrowed::from_ptr(py, *args.add(n)) };
        // SAFETY: as above.
        let names = unsafe { Borrowed::from_ptr_or_opt(py, names) };
        let keywords = PyDict::new(py);
        if let Some(names) = names {
            for (n, name) in names.cast::<PyTuple>()?.iter_borrowed().enumerate() {
                keywords.set_item(name, argument(count + n))?;
            }
        }
        let positional = PyTuple::new(py, (0..count).map(argument))?;
        let taken = lock.call_method(intern!(py, "_acquire"), positional, Some(&keywords))?;
        Ok(truth(py, taken.is_truthy()?))
    })
}

unsafe extern "C" fn release(object: *mut ffi::PyObject, _none: *mut ffi::PyObject) -> *mut ffi::PyObject {
    // SAFETY: called by Python with what `bound` bound.
    let lock = unsafe { this(object) };
    if lock.get().give_if_taken() {
        // SAFETY: a constant of the interpreter, to which this thread is attached.
        return unsafe {
            let none = ffi::Py_None();
            ffi::Py_INCREF(none);
            none
        };
    }
    method(object, |py, lock| Ok(lock.call_method0(intern!(py, "_release"))?.into_ptr()))
}
