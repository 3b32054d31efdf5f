//! Python functions as C callbacks that carry no state: error handlers.
//!
//! A C error handler gets the object and the code, nothing of ours. So each Python function takes a slot, and each slot has
//! a C function of its own (one generic function, instantiated per number); functions beyond those get one from `ctypes`. A
//! function that is made an error handler again keeps its slot.

use pyo3::exceptions::{PyRuntimeError, PyTypeError};
use pyo3::prelude::*;
use pyo3::types::PyCFunction;

use crate::comm::Comm;
use crate::error::check;
use crate::ffi::*;
use crate::file::File;
use crate::gil::GilCell;
use crate::handle::{self, Handle, Raw};
use crate::session::Session;
use crate::win::Win;

/// How many error handlers of one kind have a C function of their own; further ones get one from `ctypes`.
const SLOTS: usize = 32;

/// What an error handler is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    /// Communicators.
    Comm,
    /// Windows.
    Win,
    /// Files.
    File,
    /// Sessions.
    Session,
}

/// A Python function, and the C function that calls it.
struct Known {
    function: Py<PyAny>,
    address: usize,
}

type Functions = GilCell<Vec<Known>>;

/// The functions by kind, in slot order. They stay: an object may use a handler long after it was freed.
static FUNCTIONS: [Functions; 4] = [const { GilCell::new(Vec::new()) }; 4];

/// A handle type that can have an error handler.
trait Target: Raw {
    type Class: Handle<Raw = Self>;
    const KIND: Kind;
}

macro_rules! targets {
    ($($raw:ident $class:ident $kind:ident;)*) => {$(
        impl Target for $raw {
            type Class = $class;
            const KIND: Kind = Kind::$kind;
        }
    )*};
}

targets! {
    MPI_Comm Comm Comm;
    MPI_Win Win Win;
    MPI_File File File;
    MPI_Session Session Session;
}

/// The C callback of slot `N`.
unsafe extern "C" fn handler<T: Target, const N: usize>(target: *mut T, code: *mut c_int) {
    // SAFETY: the library passes the addresses of a handle and a code.
    let (target, code) = unsafe { (*target, *code) };
    // SAFETY: asks for a flag only; valid at any time.
    if unsafe { pyo3::ffi::Py_IsInitialized() } == 0 {
        // SAFETY: without an interpreter there is nobody to handle the error.
        unsafe { MPI_Abort(MPI_COMM_WORLD, 1) };
        return;
    }
    Python::attach(|py| {
        let function = FUNCTIONS[T::KIND as usize].peek(py, |list| list.get(N).map(|k| k.function.clone_ref(py)));
        call(py, function.as_ref(), target, code);
    });
}

/// Calls a Python error handler.
fn call<T: Target>(py: Python<'_>, function: Option<&Py<PyAny>>, target: T, code: c_int) {
    let called = (|| {
        let Some(function) = function else {
            return Err(PyRuntimeError::new_err("error handler without a function"));
        };
        let object = handle::wrap::<T::Class>(py, target)?;
        let result = function.call1(py, (&object, code));
        let class = object.cast::<T::Class>()?.get();
        if !handle::is_constant(class) {
            class.cell().set(T::NULL);
        }
        result.map(drop)
    })();
    if let Err(error) = called {
        // The call that failed cannot return both its own error and this one: an error handler must not raise.
        error.display(py);
        crate::init::flush_output(py);
        eprintln!("phalanx: exception in a user-defined error handler: ending the job");
        // SAFETY: passes values.
        unsafe { MPI_Abort(MPI_COMM_WORLD, 1) };
    }
}

macro_rules! slots {
    ($($n:literal)*) => { [$(handler::<T, $n>),*] };
}

type Handler<T> = unsafe extern "C" fn(*mut T, *mut c_int);

fn table<T: Target>() -> [Handler<T>; SLOTS] {
    slots!(0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30 31)
}

/// The C callback for a Python error handler.
///
/// # Errors
/// `TypeError` for something that is not callable; what `ctypes` raises when all slots are taken and it cannot be used.
pub(crate) fn error_handler(kind: Kind, function: &Bound<'_, PyAny>) -> PyResult<*mut c_void> {
    let address = match kind {
        Kind::Comm => address_for::<MPI_Comm>(function),
        Kind::Win => address_for::<MPI_Win>(function),
        Kind::File => address_for::<MPI_File>(function),
        Kind::Session => address_for::<MPI_Session>(function),
    }?;
    Ok(std::ptr::with_exposed_provenance_mut(address))
}

fn address_for<T: Target>(function: &Bound<'_, PyAny>) -> PyResult<usize> {
    if !function.is_callable() {
        return Err(PyTypeError::new_err("expected a callable error handler"));
    }
    let py = function.py();
    let list = &FUNCTIONS[T::KIND as usize];
    let mut known = list.take(py);
    let address = match known.iter().find(|k| k.function.is(function)) {
        Some(same) => Some(same.address),
        None => table::<T>().get(known.len()).map(|own| {
            let address = (*own as *const c_void).expose_provenance();
            known.push(Known { function: function.clone().unbind(), address });
            address
        }),
    };
    drop(list.replace(py, known));
    if let Some(address) = address {
        return Ok(address);
    }
    let address = foreign_function::<T>(function)?;
    let mut known = list.take(py);
    known.push(Known { function: function.clone().unbind(), address });
    drop(list.replace(py, known));
    Ok(address)
}

/// A C function for a Python function that found no slot, made by `ctypes` and kept for the life of the process.
fn foreign_function<T: Target>(function: &Bound<'_, PyAny>) -> PyResult<usize> {
    let py = function.py();
    let ctypes = py.import("ctypes")?;
    let pointer = ctypes.getattr("c_void_p")?;
    let prototype = ctypes.getattr("CFUNCTYPE")?.call1((py.None(), &pointer, &pointer))?;
    let function = function.clone().unbind();
    let body = PyCFunction::new_closure(py, None, None, move |args, _kwargs| -> PyResult<()> {
        let (target, code): (usize, usize) = args.extract()?;
        // SAFETY: the library passes the addresses of a handle and a code.
        let (target, code) = unsafe {
            let target = std::ptr::with_exposed_provenance::<T>(target).read();
            (target, std::ptr::with_exposed_provenance::<c_int>(code).read())
        };
        call(args.py(), Some(&function), target, code);
        Ok(())
    })?;
    let callback = prototype.call1((body,))?;
    let address = ctypes.getattr("cast")?.call1((&callback, &pointer))?.getattr("value")?.extract()?;
    // MPI may call the function as long as it runs.
    let _kept_for_ever = callback.into_ptr();
    Ok(address)
}

/// Sets the error handler `rc.errors` asks for on a window, file or session that has just been made.
pub(crate) fn set_default(kind: Kind, bits: usize) -> PyResult<()> {
    let Some(errhandler) = crate::init::default_errhandler() else {
        return Ok(());
    };
    // SAFETY: passes values; the library checks them.
    check(unsafe {
        match kind {
            Kind::Comm => MPI_Comm_set_errhandler(MPI_Comm(bits), errhandler),
            Kind::Win => MPI_Win_set_errhandler(MPI_Win(bits), errhandler),
            Kind::File => MPI_File_set_errhandler(MPI_File(bits), errhandler),
            Kind::Session => MPI_Session_set_errhandler(MPI_Session(bits), errhandler),
        }
    })
}
