//! Notices: what a rank sends in place of an object that it does not have, because of an error.
//!
//! In a collective operation the others wait for the object. The notice tells them the operation, the rank and its error
//! with the traceback, so that whichever rank ends the job, the error that began it has been shown. A rank that gets a
//! notice raises `_PeerError` and passes the notice on to those that wait for it in turn.

use pyo3::exceptions::PyRuntimeError;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyType;

use super::Parcel;
use crate::ffi::c_int;

static CLASS: PyOnceLock<Py<PyType>> = PyOnceLock::new();

/// The exception for a notice.
fn class(py: Python<'_>) -> PyResult<&Bound<'_, PyType>> {
    let class = CLASS.get_or_try_init(py, || {
        let doc = c"Another rank has no object to give in a collective operation: the text is that rank's error.";
        PyErr::new_type(py, c"phalanx.MPI._PeerError", Some(doc), Some(&py.get_type::<PyRuntimeError>()), None)
    })?;
    Ok(class.bind(py))
}

/// Most bytes of the error's own text in a notice, and of its traceback.
const MOST: usize = 2 << 10;

/// The first bytes of a text, to a whole character.
fn shortened(text: &str, most: usize) -> &str {
    if text.len() <= most { text } else { &text[..text.floor_char_boundary(most)] }
}

/// The last bytes of a text: where a traceback tells the most.
fn ending(text: &str, most: usize) -> &str {
    if text.len() <= most { text } else { &text[text.ceil_char_boundary(text.len() - most)..] }
}

/// The parcel that takes an object's place.
pub(crate) fn notice(py: Python<'_>, operation: &str, rank: c_int, error: &PyErr) -> Parcel {
    if class(py).is_ok_and(|class| error.get_type(py).is(class)) {
        return Parcel::notice(&said(py, error));
    }
    let kind = error.get_type(py).qualname().map_or_else(|_| "an exception".to_owned(), |name| name.to_string());
    let text = said(py, error);
    let mut notice = format!("{operation}: rank {rank} raised {kind}: {}", shortened(&text, MOST));
    if let Some(trace) = trace(py, error) {
        let trace = ending(trace.trim_end(), MOST);
        notice.push_str(&format!("\n\nIn rank {rank}:\nTraceback (most recent call last):\n{trace}"));
    }
    Parcel::notice(&notice)
}

/// `str` of an error, or nothing if that fails: there is an error to tell of already.
fn said(py: Python<'_>, error: &PyErr) -> String {
    error.value(py).str().map_or_else(|_| String::new(), |text| text.to_string_lossy().into_owned())
}

/// The traceback of an error as Python will print it, without its first line: the frames down to the one that called, which
/// the error has not passed yet, those that it has passed, and what it says.
fn trace(py: Python<'_>, error: &PyErr) -> Option<String> {
    let module = py.import("traceback").ok()?;
    let stack: Vec<String> = module.call_method0(intern!(py, "format_stack")).ok()?.extract().ok()?;
    let lines = module.call_method1(intern!(py, "format_exception"), (error.value(py),)).ok()?;
    let lines: Vec<String> = lines.extract().ok()?;
    let lines = lines.iter().filter(|line| !line.starts_with("Traceback (most recent"));
    Some(stack.iter().chain(lines).map(|line| shortened(line, MOST / 2)).collect())
}

/// The exception for a notice that arrived.
pub(crate) fn received(text: String) -> PyErr {
    Python::attach(|py| match class(py) {
        Ok(class) => PyErr::from_type(class.clone(), text),
        Err(error) => error,
    })
}

/// Adds the exception to the module, under a private name.
pub(super) fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add("_PeerError", class(m.py())?)
}
