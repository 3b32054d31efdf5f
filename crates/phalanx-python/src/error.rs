//! MPI error codes as Python exceptions.
//!
//! The classes are written in Python (`phalanx/_exception.py`): a native class cannot derive from `RuntimeError` under the
//! stable ABI of Python 3.11.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::fmt::Display;
use std::sync::{Mutex, MutexGuard, PoisonError};

use pyo3::exceptions::{PyRuntimeError, PyTypeError};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyType;

use crate::extras;
use crate::ffi::*;
use crate::large;
use crate::patience;
use crate::text;

/// `MPI.Exception`, and the class for what the library does not implement.
struct Classes {
    general: Py<PyType>,
    unsupported: Py<PyType>,
}

static CLASSES: PyOnceLock<Classes> = PyOnceLock::new();

thread_local! {
    /// The exception a signal handler raised while this thread waited inside MPI (see `extras`).
    static INTERRUPT: Cell<Option<PyErr>> = const { Cell::new(None) };
}

/// Keeps the exception that makes the running MPI call give up, for [`check`] to raise.
pub(crate) fn set_interrupt(error: PyErr) {
    INTERRUPT.set(Some(error));
}

/// `Ok` for `MPI_SUCCESS`, else the exception for `code`.
///
/// # Errors
/// `MPI.Exception`; `NotImplementedError` too where the library says that it lacks the operation; the signal handler's own
/// exception where one interrupted the call.
#[inline]
pub(crate) fn check(code: c_int) -> PyResult<()> {
    if code == MPI_SUCCESS { Ok(()) } else { Err(exception(code)) }
}

/// How many failed operations of one call an exception tells.
const MOST_NOTES: usize = 4;

/// [`check`] for a call that completed several operations, with the number and the status of each. Where the code says
/// only that the statuses have the errors, notes on the exception say which operations failed, and how.
///
/// # Errors
/// As [`check`].
pub(crate) fn check_each<'a, I: Display>(
    py: Python<'_>,
    code: c_int,
    statuses: impl Iterator<Item = (I, &'a MPI_Status)>,
) -> PyResult<()> {
    let Err(error) = check(code) else { return Ok(()) };
    if class_of(code) == MPI_ERR_IN_STATUS {
        let failed = statuses.filter(|(_, status)| ![MPI_SUCCESS, MPI_ERR_PENDING].contains(&status.MPI_ERROR));
        for (number, status) in failed.take(MOST_NOTES) {
            error.add_note(py, format!("request {number}: {}", message(status.MPI_ERROR)))?;
        }
    }
    Err(error)
}

/// The exception for an error code.
#[cold]
pub(crate) fn exception(code: c_int) -> PyErr {
    if let Some(error) = INTERRUPT.take() {
        if code == patience::INTERRUPTED || extras::is_interrupted(code) {
            return error;
        }
        INTERRUPT.set(Some(error));
    }
    Python::attach(|py| {
        let Some(classes) = CLASSES.get(py) else {
            return PyRuntimeError::new_err(format!("MPI error code {code}: {}", message(code)));
        };
        let class = match class_of(code) {
            MPI_ERR_UNSUPPORTED_OPERATION => &classes.unsupported,
            _ => &classes.general,
        };
        let error = PyErr::from_type(class.bind(py).clone(), code);
        if let Some(text) = large::told(code) {
            // Without it the exception has the text of its class.
            let _ = error.value(py).setattr("_told", text);
        }
        error
    })
}

/// The class of an error code, without raising for an unknown one.
pub(crate) fn class_of(code: c_int) -> c_int {
    let mut class = MPI_ERR_UNKNOWN;
    // SAFETY: `class` is valid for the write.
    if unsafe { MPI_Error_class(code, &mut class) } == MPI_SUCCESS { class } else { MPI_ERR_UNKNOWN }
}

/// The text of an error code, or an empty string.
pub(crate) fn message(code: c_int) -> String {
    text_of(code).unwrap_or_default()
}

/// Bytes of the longest text that a library of ours has.
const LONGEST: usize = 8 << 10;

/// The text of an error code, whole where the library gives it so.
///
/// # Errors
/// The code of what is wrong with the code.
fn text_of(code: c_int) -> Result<String, c_int> {
    let mut length = 0;
    if let Some(ask) = extras::get().error_text {
        let mut text = vec![0; LONGEST];
        // SAFETY: the array has so much room.
        let failed = unsafe { ask(code, text.as_mut_ptr(), LONGEST as c_int, &mut length) };
        return if failed == MPI_SUCCESS { Ok(text::from_c(&text, length)) } else { Err(failed) };
    }
    let mut text = [0; MPI_MAX_ERROR_STRING as usize + 1];
    // SAFETY: the array has the room the standard asks for.
    let failed = unsafe { MPI_Error_string(code, text.as_mut_ptr(), &mut length) };
    if failed == MPI_SUCCESS { Ok(with_class(code, text::from_c(&text, length))) } else { Err(failed) }
}

/// The codes and classes that this program has added: their texts are the program's own.
static ADDED: Mutex<BTreeSet<c_int>> = Mutex::new(BTreeSet::new());

fn added() -> MutexGuard<'static, BTreeSet<c_int>> {
    ADDED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A library's text behind the name of the class and what that means: other libraries word it each in its own way, or not at
/// all ("Other MPI error").
fn with_class(code: c_int, said: String) -> String {
    let class = class_of(code);
    let Some((_, name, sentence)) = ERROR_CLASSES.iter().find(|(number, ..)| *number == class) else { return said };
    if class == MPI_SUCCESS || said.is_empty() || said.starts_with(name) || added().contains(&code) {
        return said;
    }
    if said.trim().eq_ignore_ascii_case(sentence) {
        return format!("{name}: {sentence}");
    }
    format!("{name}: {sentence}; the MPI library says: {said}")
}

/// The error code that `error`, raised by a Python callback, stands for, after showing its traceback.
///
/// MPI callbacks have no other way to report than a code, and a lost traceback helps nobody.
pub(crate) fn report_from_callback(py: Python<'_>, error: PyErr) -> c_int {
    let code = match CLASSES.get(py) {
        Some(classes) if error.is_instance(py, classes.general.bind(py)) => {
            error.value(py).call_method0("Get_error_code").and_then(|code| code.extract()).unwrap_or(MPI_ERR_OTHER)
        }
        _ => MPI_ERR_OTHER,
    };
    error.display(py);
    if code == MPI_SUCCESS { MPI_ERR_OTHER } else { code }
}

/// A `TypeError` that names what was expected and what came.
pub(crate) fn wrong_type(expected: &str, found: &Bound<'_, PyAny>) -> PyErr {
    let name = found.get_type().name().map(|name| name.to_string()).unwrap_or_else(|_| "?".into());
    PyTypeError::new_err(format!("expected {expected}, got {name}"))
}

/// Get_error_class(errorcode: int) -> int
///
/// Convert an error code into an error class. Local.
#[pyfunction]
fn Get_error_class(errorcode: c_int) -> PyResult<c_int> {
    let mut class = MPI_SUCCESS;
    // SAFETY: `class` is valid for the write.
    check(unsafe { MPI_Error_class(errorcode, &mut class) })?;
    Ok(class)
}

/// Get_error_string(errorcode: int) -> str
///
/// Return the text for an error code or class. Local.
#[pyfunction]
fn Get_error_string(errorcode: c_int) -> PyResult<String> {
    text_of(errorcode).map_err(exception)
}

/// Add_error_class() -> int
///
/// Add a new error class and return it. Local.
#[pyfunction]
fn Add_error_class() -> PyResult<c_int> {
    let mut class = MPI_SUCCESS;
    // SAFETY: `class` is valid for the write.
    check(unsafe { MPI_Add_error_class(&mut class) })?;
    added().insert(class);
    Ok(class)
}

/// Remove_error_class(errorclass: int) -> None
///
/// Remove an error class that `Add_error_class` made. Local.
#[pyfunction]
fn Remove_error_class(errorclass: c_int) -> PyResult<()> {
    // SAFETY: passes a plain number.
    check(unsafe { MPI_Remove_error_class(errorclass) })
}

/// Add_error_code(errorclass: int) -> int
///
/// Add a new error code to an error class and return it. Local.
#[pyfunction]
fn Add_error_code(errorclass: c_int) -> PyResult<c_int> {
    let mut code = MPI_SUCCESS;
    // SAFETY: `code` is valid for the write.
    check(unsafe { MPI_Add_error_code(errorclass, &mut code) })?;
    added().insert(code);
    Ok(code)
}

/// Remove_error_code(errorcode: int) -> None
///
/// Remove an error code that `Add_error_code` made. Local.
#[pyfunction]
fn Remove_error_code(errorcode: c_int) -> PyResult<()> {
    // SAFETY: passes a plain number.
    check(unsafe { MPI_Remove_error_code(errorcode) })
}

/// Add_error_string(errorcode: int, string: str) -> None
///
/// Give an added error class or code its text. Local.
#[pyfunction]
fn Add_error_string(errorcode: c_int, string: text::Text) -> PyResult<()> {
    // SAFETY: the string is NUL-terminated and outlives the call.
    check(unsafe { MPI_Add_error_string(errorcode, string.as_ptr()) })
}

/// Remove_error_string(errorcode: int) -> None
///
/// Remove the text of an added error class or code. Local.
#[pyfunction]
fn Remove_error_string(errorcode: c_int) -> PyResult<()> {
    // SAFETY: passes a plain number.
    check(unsafe { MPI_Remove_error_string(errorcode) })
}

/// Adds the functions and classes of this file to the module.
pub(crate) fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    let py = m.py();
    for function in [
        wrap_pyfunction!(Get_error_class, m)?,
        wrap_pyfunction!(Get_error_string, m)?,
        wrap_pyfunction!(Add_error_class, m)?,
        wrap_pyfunction!(Remove_error_class, m)?,
        wrap_pyfunction!(Add_error_code, m)?,
        wrap_pyfunction!(Remove_error_code, m)?,
        wrap_pyfunction!(Add_error_string, m)?,
        wrap_pyfunction!(Remove_error_string, m)?,
    ] {
        m.add_function(function)?;
    }
    let given = (m.name()?, m.getattr("Get_error_class")?, m.getattr("Get_error_string")?);
    let classes = py.import("phalanx._exception")?.call_method1("make_classes", given)?;
    let (general, unsupported): (Bound<'_, PyType>, Bound<'_, PyType>) = classes.extract()?;
    m.add("Exception", &general)?;
    m.add("_UnsupportedOperation", &unsupported)?;
    let _ = CLASSES.set(py, Classes { general: general.unbind(), unsupported: unsupported.unbind() });
    Ok(())
}
