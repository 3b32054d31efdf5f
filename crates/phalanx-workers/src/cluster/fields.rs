//! Messages as Python sees them: the name of a kind, and a dictionary of fields.

use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString};
use pythonize::{Depythonizer, pythonize};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// A message as its kind and its fields.
///
/// # Errors
/// What Python raises.
pub(super) fn told<'py, M: Serialize>(
    py: Python<'py>,
    message: &M,
) -> PyResult<(Bound<'py, PyAny>, Bound<'py, PyAny>)> {
    let tagged = pythonize(py, message)?.cast_into::<PyDict>()?;
    let item = tagged.items().get_item(0)?;
    item.extract()
}

/// A structure as a dictionary.
///
/// # Errors
/// What Python raises.
pub(super) fn given<'py, M: Serialize>(py: Python<'py>, what: &M) -> PyResult<Bound<'py, PyAny>> {
    Ok(pythonize(py, what)?)
}

/// A message of a kind and its fields.
///
/// # Errors
/// `TypeError` and `ValueError`, with the name of the field.
pub(super) fn said<M: DeserializeOwned>(kind: &Bound<'_, PyString>, fields: &Bound<'_, PyAny>) -> PyResult<M> {
    let tagged = PyDict::new(kind.py());
    tagged.set_item(kind, fields)?;
    read(&tagged)
}

/// A structure of a dictionary.
///
/// # Errors
/// `TypeError` and `ValueError`, with the name of the field.
pub(super) fn read<M: DeserializeOwned>(fields: &Bound<'_, PyDict>) -> PyResult<M> {
    let mut source = Depythonizer::from_object(fields.as_any());
    serde_path_to_error::deserialize(&mut source).map_err(|error| {
        let path = error.path().to_string();
        let inner: PyErr = error.into_inner().into();
        let py = fields.py();
        let text = inner.value(py).to_string();
        let text = if path == "." { text } else { format!("{path}: {text}") };
        if inner.is_instance_of::<PyTypeError>(py) { PyTypeError::new_err(text) } else { PyValueError::new_err(text) }
    })
}
