//! The texts of Python objects, for messages.
//!
//! Python looks at signals at the start of `str()` and `repr()`. What a signal handler raises there is not what becomes
//! of the text: it must not be lost, as it would be by formatting the object as Rust does.

use pyo3::exceptions::PyException;
use pyo3::prelude::*;
use pyo3::types::PyString;

/// `str(object)`, or what it is if it does not say.
pub(crate) fn of(object: &Bound<'_, PyAny>) -> String {
    // A string is taken as it is.
    if let Ok(text) = object.cast::<PyString>() {
        return text.to_string_lossy().into_owned();
    }
    said(object, object.str())
}

/// `repr(object)`, or what it is if it does not say.
pub(crate) fn repr(object: &Bound<'_, PyAny>) -> String {
    said(object, object.repr())
}

/// What an exception is and says: "TypeError: an integer is required".
pub(crate) fn of_error(py: Python<'_>, error: &PyErr) -> String {
    format!("{}: {}", kind(error.value(py).as_any()), of(error.value(py).as_any()))
}

fn said(object: &Bound<'_, PyAny>, text: PyResult<Bound<'_, PyString>>) -> String {
    match text {
        Ok(text) => text.to_string_lossy().into_owned(),
        Err(error) => {
            hand_on(object.py(), &error);
            format!("an object of type {}", kind(object))
        }
    }
}

fn kind(object: &Bound<'_, PyAny>) -> String {
    object.get_type().name().map_or_else(|_| "unknown".to_owned(), |name| name.to_string_lossy().into_owned())
}

/// Has the main thread hear once more of an interrupt that came where nothing can be raised.
pub(crate) fn hand_on(py: Python<'_>, error: &PyErr) {
    if is_interrupt(py, error) {
        let _ = py.import("_thread").and_then(|module| module.call_method0("interrupt_main"));
    }
}

/// Whether an exception means this thread rather than what it was just doing: `KeyboardInterrupt`, `SystemExit`.
pub(crate) fn is_interrupt(py: Python<'_>, error: &PyErr) -> bool {
    !error.is_instance_of::<PyException>(py)
}
