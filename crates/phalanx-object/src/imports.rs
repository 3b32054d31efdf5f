//! Modules that are imported when they are first needed, in the middle of a call.
//!
//! An import runs Python code, and between two of its instructions Python runs signal handlers. A handler may send or
//! receive, and so come to the same import again in the same thread: it would wait for itself in the lock of a
//! `PyOnceLock`, or find half a module. So the import happens outside of that lock, and signals come after it. Where
//! another thread takes them, the handler runs all the same; of `pickle`, it gets what is made in C.

use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyTuple;

/// What `find` makes of a module, looked up once.
///
/// # Errors
/// Whatever the import and `find` raise.
pub fn imported<'py, T: Send + Sync>(
    py: Python<'py>,
    found: &'static PyOnceLock<T>,
    module: &str,
    find: impl FnOnce(&Bound<'py, PyAny>) -> PyResult<T>,
) -> PyResult<&'static T> {
    if let Some(known) = found.get(py) {
        return Ok(known);
    }
    let module = without_signals(py, || py.import(module))?;
    let fresh = find(module.as_any())?;
    // Another thread may have been first, with the same.
    Ok(found.get_or_init(py, || fresh))
}

/// An attribute of `pickle`, of which only half may be imported (a signal handler asks, in the midst of it): from the
/// module in C that has the same object.
///
/// # Errors
/// `AttributeError` for what neither has.
pub fn of_pickle<'py>(pickle: &Bound<'py, PyAny>, name: &str) -> PyResult<Bound<'py, PyAny>> {
    pickle.getattr_opt(name)?.map_or_else(|| pickle.py().import("_pickle")?.getattr(name), Ok)
}

/// Does something while this thread takes no signals; they come afterwards.
fn without_signals<T>(py: Python<'_>, what: impl FnOnce() -> PyResult<T>) -> PyResult<T> {
    let signals = py.import("_signal")?;
    let mask = signals.getattr("pthread_sigmask")?;
    let before = mask.call1((signals.getattr("SIG_BLOCK")?, PyTuple::empty(py)))?;
    let every = signals.getattr("valid_signals")?.call0()?;
    // Either call runs the handlers of what came until then, and raises what they raise after the change.
    let done = mask.call1((signals.getattr("SIG_BLOCK")?, every)).and_then(|_| what());
    mask.call1((signals.getattr("SIG_SETMASK")?, before))?;
    done
}
