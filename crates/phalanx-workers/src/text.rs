//! The texts of Python objects, for messages.
//!
//! Python looks at signals at the start of `str()` and `repr()`. What a signal handler raises there is not what becomes
//! of the text: it must not be lost, as it would be by formatting the object as Rust does. So what is here returns it, and
//! nothing else.

use pyo3::exceptions::{PyKeyboardInterrupt, PySystemExit};
use pyo3::prelude::*;
use pyo3::types::PyString;

/// `str(object)`, or what it is if it does not say.
///
/// # Errors
/// What [interrupts](is_interrupt) this thread.
pub(crate) fn of(object: &Bound<'_, PyAny>) -> PyResult<String> {
    // A string is taken as it is.
    match object.cast::<PyString>() {
        Ok(text) => Ok(text.to_string_lossy().into_owned()),
        Err(_) => said(object, object.str()),
    }
}

/// `repr(object)`, or what it is if it does not say.
///
/// # Errors
/// As [`of`].
pub(crate) fn repr(object: &Bound<'_, PyAny>) -> PyResult<String> {
    said(object, object.repr())
}

/// What an exception is and says: "TypeError: an integer is required".
///
/// # Errors
/// As [`of`].
pub(crate) fn of_error(py: Python<'_>, error: &PyErr) -> PyResult<String> {
    let value = error.value(py).as_any();
    Ok(format!("{}: {}", kind(value), of(value)?))
}

fn said(object: &Bound<'_, PyAny>, text: PyResult<Bound<'_, PyString>>) -> PyResult<String> {
    match text {
        Ok(text) => Ok(text.to_string_lossy().into_owned()),
        Err(error) if is_interrupt(object.py(), &error) => Err(error),
        Err(_) => Ok(format!("an object of type {}", kind(object))),
    }
}

fn kind(object: &Bound<'_, PyAny>) -> String {
    object.get_type().name().map_or_else(|_| "unknown".to_owned(), |name| name.to_string_lossy().into_owned())
}

/// Whether an exception means this thread rather than what it was just doing.
pub(crate) fn is_interrupt(py: Python<'_>, error: &PyErr) -> bool {
    error.is_instance_of::<PyKeyboardInterrupt>(py) || error.is_instance_of::<PySystemExit>(py)
}
