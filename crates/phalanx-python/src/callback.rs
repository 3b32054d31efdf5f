//! Error handlers: a C error handler gets the object and the code, nothing of ours, so its Python function has a slot. A
//! function that is made an error handler again keeps its slot. An object may use a handler long after it was freed: a slot
//! is given back when the library says that nothing can call its C function any more, and kept where it does not say so.

use pyo3::exceptions::{PyRuntimeError, PyTypeError};
use pyo3::prelude::*;

use crate::comm::Comm;
use crate::error::check;
use crate::extras;
use crate::ffi::*;
use crate::file::File;
use crate::gil;
use crate::handle::{self, Handle, Raw};
use crate::session::Session;
use crate::slots::{OWN, Share, Table, instances};
use crate::win::Win;

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

/// A handle type that can have an error handler.
trait Target: Raw {
    type Class: Handle<Raw = Self>;
    fn functions() -> &'static Table;
}

macro_rules! targets {
    ($($raw:ident $class:ident;)*) => {$(
        impl Target for $raw {
            type Class = $class;
            fn functions() -> &'static Table {
                static FUNCTIONS: Table = Table::new(own::<$raw>, 2, from_ctypes::<$raw>);
                &FUNCTIONS
            }
        }
    )*};
}

targets! {
    MPI_Comm Comm;
    MPI_Win Win;
    MPI_File File;
    MPI_Session Session;
}

type Handler<T> = unsafe extern "C" fn(*mut T, *mut c_int);

fn own<T: Target>(slot: usize) -> Option<*mut c_void> {
    let own: [Handler<T>; OWN] = instances!(handler::<T>);
    own.get(slot).map(|own| *own as *mut c_void)
}

fn from_ctypes<T: Target>(py: Python<'_>, slot: usize, arguments: &[*mut c_void]) {
    if let [target, code] = *arguments {
        // SAFETY: the library passes the addresses of a handle and a code.
        let (target, code) = unsafe { (target.cast::<T>().read(), code.cast::<c_int>().read()) };
        call(py, slot, target, code);
    }
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
    gil::attached(|py| call(py, N, target, code));
}

/// Calls a Python error handler.
fn call<T: Target>(py: Python<'_>, slot: usize, target: T, code: c_int) {
    let called = (|| {
        let function = T::functions()
            .function(py, slot)
            .ok_or_else(|| PyRuntimeError::new_err("an error handler without a function"))?;
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

/// The C callback for a Python error handler. Its slot is safe as long as the share is there: until the library knows the
/// handler.
///
/// # Errors
/// `TypeError` for something that is not callable; what `ctypes` raises when all slots are taken and it cannot be used.
pub(crate) fn error_handler(kind: Kind, function: &Bound<'_, PyAny>) -> PyResult<(*mut c_void, Share)> {
    if !function.is_callable() {
        return Err(PyTypeError::new_err("expected a callable error handler"));
    }
    let table = match kind {
        Kind::Comm => MPI_Comm::functions(),
        Kind::Win => MPI_Win::functions(),
        Kind::File => MPI_File::functions(),
        Kind::Session => MPI_Session::functions(),
    };
    table.take_once(function, extras::uses_error_function)
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
