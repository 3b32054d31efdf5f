//! Giving the interpreter lock up around MPI calls that wait.

use pyo3::prelude::*;

use phalanx_object::until_it_lasts;
pub(crate) use phalanx_object::{GilCell, attached, detached};

use crate::error;
use crate::extras;
use crate::ffi::c_int;

/// Makes an MPI call without the interpreter lock and turns its error code into an exception.
///
/// # Errors
/// `MPI.Exception` of the code; the pending Python exception where a signal handler interrupted the call.
pub(crate) fn blocking(py: Python<'_>, call: impl FnOnce() -> c_int) -> PyResult<()> {
    error::check(detached(py, call))
}

/// As [`blocking`], for a call that is often over at once: on the embedded engine the interpreter lock is given up when it has
/// waited for a microsecond or two, or has much to copy.
///
/// # Errors
/// As [`blocking`].
#[inline]
pub(crate) fn brief(py: Python<'_>, call: impl FnOnce() -> c_int) -> PyResult<()> {
    error::check(briefly(py, call))
}

/// As [`brief`], and gives the error code.
#[inline]
pub(crate) fn briefly<T>(py: Python<'_>, call: impl FnOnce() -> T) -> T {
    if extras::tells_waits() { until_it_lasts(py, call) } else { detached(py, call) }
}

/// Makes an MPI call that starts something and returns soon.
///
/// On the embedded engine under the lock: its callbacks never run inside the engine's own lock, so nothing can wait for
/// this thread, and giving the lock up costs as much as a small message. On other libraries without it.
pub(crate) fn starting<T>(py: Python<'_>, call: impl FnOnce() -> T) -> T {
    if extras::is_embedded() { call() } else { detached(py, call) }
}
