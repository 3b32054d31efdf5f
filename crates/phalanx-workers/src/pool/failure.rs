//! Outcomes as exceptions.

use phalanx_pool::job::{Broken, End, signal_name};
use phalanx_pool::{Lost, Outcome};
use pyo3::exceptions::{PyRuntimeError, PySystemExit, PyValueError};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyDict, PyTuple};

use crate::codec::{Source, decode};
use crate::text;

/// What is known about the item.
pub(super) struct Place<'a> {
    /// `None` when the job has only one.
    pub(super) index: Option<u64>,
    pub(super) function: &'a str,
}

impl Place<'_> {
    fn text(&self) -> String {
        match self.index {
            Some(index) => format!("item {index} of a call of {}", self.function),
            None => format!("a call of {}", self.function),
        }
    }
}

fn class<'py>(py: Python<'py>, module: &str, name: &str) -> PyResult<Bound<'py, PyAny>> {
    py.import(module)?.getattr(name)
}

fn error<'py>(
    py: Python<'py>,
    name: &str,
    message: String,
    place: &Place<'_>,
    pid: u32,
    exitcode: Option<Option<i32>>,
) -> PyResult<Bound<'py, PyAny>> {
    let options = PyDict::new(py);
    options.set_item("index", place.index)?;
    options.set_item("function", place.function)?;
    options.set_item("pid", pid)?;
    if let Some(exitcode) = exitcode {
        options.set_item("exitcode", exitcode)?;
    }
    class(py, "phalanx.multiprocessing.errors", name)?.call((message,), Some(&options))
}

/// The exception of a worker: itself, with the worker's traceback as its cause.
///
/// # Errors
/// What unpickling it raises.
pub(super) fn raised<'py>(py: Python<'py>, bytes: &[u8], source: Source) -> PyResult<Bound<'py, PyAny>> {
    static REMOTE: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    let pair = decode(py, bytes, source)?.cast_into::<PyTuple>()?;
    let exception = pair.get_item(0)?;
    let text = pair.get_item(1)?;
    if !text.is_none() {
        let remote = REMOTE
            .get_or_try_init(py, || class(py, "multiprocessing.pool", "RemoteTraceback").map(Bound::unbind))?
            .bind(py);
        // What cannot have a cause is raised without.
        let _ = exception.setattr("__cause__", remote.call1((format!("\n\"\"\"\n{}\"\"\"", text::of(&text)?),))?);
    }
    Ok(exception)
}

fn lost<'py>(py: Python<'py>, lost: &Lost, place: &Place<'_>) -> PyResult<Bound<'py, PyAny>> {
    let (what, pid) = (place.text(), lost.pid);
    let (end, exitcode) = match &lost.end {
        End::OverLimit { .. } => {
            let message = format!("{what} is lost: worker {pid} {}", lost.end);
            return error(py, "TaskMemoryError", message, place, pid, None);
        }
        End::Exited(status) => (lost.end.to_string(), Some(*status)),
        End::Signaled(signal) => (lost.end.to_string(), Some(-signal)),
        End::OutOfMemory => (format!("{} (signal 9, {})", lost.end, signal_name(9)), Some(-9)),
        End::SystemExit(text) => (lost.end.to_string(), text.parse().ok().or(Some(i32::from(!text.is_empty())))),
        End::Interrupted | End::Unknown => (lost.end.to_string(), None),
    };
    let message = format!("{what} is lost: worker {pid} {end} before it was done; other items are not affected");
    let exception = error(py, "WorkerLostError", message, place, pid, Some(exitcode))?;
    if let End::SystemExit(text) = &lost.end {
        // For executors, whose futures get it itself.
        exception.setattr("_exit", text)?;
    }
    Ok(exception)
}

fn broken<'py>(py: Python<'py>, broken: &Broken) -> PyResult<Bound<'py, PyAny>> {
    let make = |message: String| class(py, "phalanx.multiprocessing.errors", "InitializerError")?.call1((message,));
    let failures = broken.failures;
    if let Some(bytes) = &broken.raised {
        let cause = raised(py, bytes, Source::Borrowed)?;
        let text = text::repr(&cause)?;
        let message = format!("the pool has given up: its initializer raised {text} in {failures} workers in a row");
        let exception = make(message)?;
        exception.setattr("__cause__", cause)?;
        return Ok(exception);
    }
    let end = broken.end.as_ref().map_or_else(String::new, |end| format!("; the last one {end}"));
    make(format!(
        "the pool has given up: {failures} workers in a row ended before they could take a task{end}. Their standard \
         error may say why; an initializer or a module that the workers import may end the process"
    ))
}

/// Whether this is a daemonic thread of a program whose pools are being ended because it ends.
fn is_left_behind(py: Python<'_>) -> PyResult<bool> {
    let exiting = py.import("multiprocessing.util")?.call_method0("is_exiting")?.is_truthy()?;
    Ok(exiting && py.import("threading")?.call_method0("current_thread")?.getattr("daemon")?.is_truthy()?)
}

/// The exception of an outcome that is not a result; `source` is that of what a function raised.
pub(super) fn exception<'py>(
    py: Python<'py>,
    outcome: &Outcome,
    place: &Place<'_>,
    source: Source,
) -> PyResult<Bound<'py, PyAny>> {
    let value = |error: PyErr| error.into_value(py).into_bound(py).into_any();
    Ok(match outcome {
        Outcome::Returned(_) | Outcome::Unsent => value(PyRuntimeError::new_err("a result was taken for an error")),
        Outcome::Raised(bytes) => raised(py, bytes, source)?,
        Outcome::Lost(how) => lost(py, how, place)?,
        Outcome::TimedOut { pid, limit } => {
            let limit = *limit as f64 / 1e9;
            let message = format!(
                "{} took longer than its timeout of {limit} s; worker {pid}, which it ran in, was stopped and is replaced",
                place.text()
            );
            error(py, "TaskTimeoutError", message, place, *pid, None)?
        }
        Outcome::TooLarge { bytes, most } => value(PyValueError::new_err(format!(
            "{} cannot be sent: {bytes} bytes where {most} are possible; pass large data as bytes or arrays",
            place.text()
        ))),
        Outcome::Broken(how) => broken(py, how)?,
        Outcome::Cancelled => class(py, "concurrent.futures", "CancelledError")?.call0()?,
        // It was waiting when the program ended: it ends as quietly as if it had been left to wait.
        Outcome::Terminated if is_left_behind(py)? => value(PySystemExit::new_err(())),
        Outcome::Terminated => {
            let message = format!("{} is not done: the pool was terminated", place.text());
            class(py, "phalanx.multiprocessing.errors", "ProcessError")?.call1((message,))?
        }
    })
}
