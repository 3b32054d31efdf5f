//! Pickle first; where pickle refuses, functions and classes by value (cloudpickle).

use phalanx_object::Written;
use pyo3::exceptions::{PyAttributeError, PyTypeError};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;

use super::By;
use super::reducers::Family;
use crate::text;

/// Pickles by reference where pickle can; what it cannot is pickled by value.
///
/// # Errors
/// The error of pickle, with a note of what cloudpickle said; what a reducer raised.
pub(super) fn dump(object: &Bound<'_, PyAny>, by: By) -> PyResult<Written> {
    let py = object.py();
    if matches!(by, By::Value) {
        return dump_by_value(object);
    }
    match phalanx_object::dump(object, &Family) {
        Err(error) if is_refusal(py, &error)? => dump_by_value(object).map_err(|second| with_hint(py, error, second)),
        written => written,
    }
}

/// Whether an error is how pickle says that it cannot pickle something.
fn is_refusal(py: Python<'_>, error: &PyErr) -> PyResult<bool> {
    static REFUSAL: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    let refusal = REFUSAL
        .get_or_try_init(py, || Ok::<_, PyErr>(py.import("pickle")?.getattr(intern!(py, "PicklingError"))?.unbind()))?;
    Ok(error.is_instance_of::<PyTypeError>(py)
        || error.is_instance_of::<PyAttributeError>(py)
        || error.is_instance(py, refusal.bind(py)))
}

/// The first of two errors, with a note about the second.
fn with_hint(py: Python<'_>, first: PyErr, second: PyErr) -> PyErr {
    if text::is_interrupt(py, &second) {
        return second;
    }
    let (told, once_more) = match (text::of_error(py, &first), text::of_error(py, &second)) {
        (Ok(told), Ok(once_more)) => (told, once_more),
        (Err(interrupt), _) | (_, Err(interrupt)) => return interrupt,
    };
    let said = if once_more == told { String::new() } else { format!(" ({once_more})") };
    let note = if second.is_instance_of::<pyo3::exceptions::PyImportError>(py) {
        format!(
            "pickle cannot send this object to another process, and cloudpickle could not be tried ({once_more}): \
             python -m pip install cloudpickle"
        )
    } else {
        format!(
            "neither pickle nor cloudpickle can send this object to another process{said}; \
             send what it can be made of again, or create it in the worker"
        )
    };
    let _ = first.value(py).call_method1(intern!(py, "add_note"), (note,));
    first
}

/// Pickles functions and classes by value where they cannot be imported (cloudpickle).
fn dump_by_value(object: &Bound<'_, PyAny>) -> PyResult<Written> {
    let py = object.py();
    let class = py.import("phalanx.multiprocessing._by_value")?.getattr("Pickler")?;
    let own = class.getattr_opt(intern!(py, "dispatch_table"))?;
    phalanx_object::dump_with(&class, own.as_ref(), object, &Family)
}
