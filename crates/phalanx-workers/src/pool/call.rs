//! One item in a worker: arguments from bytes, the call, and what becomes of it as bytes.

use phalanx_pool::protocol::{Kind, flags};
use phalanx_shm::fork;
use pyo3::exceptions::{PyAttributeError, PyImportError, PyKeyboardInterrupt, PySystemExit};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};

use crate::codec::{By, Encoded, Source, decode, encode};
use crate::text;

/// What a worker reports of an item.
pub(super) struct Report {
    pub(super) kind: Kind,
    pub(super) encoded: Encoded,
}

/// So much is told of what a task gave to `sys.exit`: a record of a worker is short.
const TOLD: usize = 4 << 10;

impl Report {
    fn text(kind: Kind, text: &str) -> Report {
        let mut encoded = Encoded::default();
        if text.len() <= TOLD {
            encoded.wire.extend_from_slice(text.as_bytes());
        } else {
            encoded.wire.extend_from_slice(&text.as_bytes()[..text.floor_char_boundary(TOLD)]);
            encoded.wire.extend_from_slice(b"...");
        }
        Report { kind, encoded }
    }
}

/// Whether an exception says that something is not where its name says.
pub(super) fn is_missing(py: Python<'_>, error: &PyErr) -> bool {
    error.is_instance_of::<PyAttributeError>(py) || error.is_instance_of::<PyImportError>(py)
}

/// How a child ends that a task has forked, and that came back from it.
pub(super) type ChildEnd = PyResult<()>;

/// Calls `function` with the item of these bytes.
///
/// # Errors
/// In a child that the function has forked: it is no worker, and has nothing to report.
#[inline]
pub(super) fn item(py: Python<'_>, function: &Bound<'_, PyAny>, bits: u32, bytes: &[u8]) -> Result<Report, ChildEnd> {
    let forks = fork::generation();
    // What a lost attempt wrote into the arrays, the next one must not see.
    let source = if bits & flags::RETRIED == 0 { Source::Borrowed } else { Source::Private };
    let argument = match decode(py, bytes, source) {
        Ok(argument) => argument,
        Err(error) if bits & flags::ITEMS_BY_VALUE == 0 && is_missing(py, &error) => {
            return Ok(Report { kind: Kind::ItemUnknown, ..raised(py, error) });
        }
        Err(error) => return Ok(raised(py, error)),
    };
    let called = call(function, bits, argument);
    if fork::generation() != forks {
        return Err(called.map(drop));
    }
    Ok(match called {
        Ok(value) => match encode(py, &value, By::Reference) {
            Ok(encoded) => Report { kind: Kind::Returned, encoded },
            Err(error) if text::is_interrupt(py, &error) => raised(py, error),
            Err(error) => unsendable(py, &error, &value, ""),
        },
        Err(error) => raised(py, error),
    })
}

#[inline]
fn call<'py>(function: &Bound<'py, PyAny>, bits: u32, argument: Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
    let py = function.py();
    if bits & (flags::STAR | flags::CALL) == 0 {
        return function.call1((argument,));
    }
    if bits & flags::CALL != 0 {
        let (args, kwds): (Bound<'py, PyTuple>, Bound<'py, PyDict>) = argument.extract()?;
        return function.call(args, Some(&kwds));
    }
    let args = match argument.cast_into_exact::<PyTuple>() {
        Ok(args) => args,
        Err(other) => PyTuple::new(py, other.into_inner().try_iter()?.collect::<PyResult<Vec<_>>>()?)?,
    };
    function.call1(args)
}

/// An exception with its traceback as text. One that does not arrive whole is replaced by what says so.
pub(super) fn raised(py: Python<'_>, error: PyErr) -> Report {
    if error.is_instance_of::<PyKeyboardInterrupt>(py) {
        return Report::text(Kind::Interrupted, "");
    }
    if error.is_instance_of::<PySystemExit>(py) {
        let code = error.value(py).getattr("code");
        let text = code.ok().filter(|code| !code.is_none()).and_then(|code| text::of(&code).ok()).unwrap_or_default();
        return Report::text(Kind::Exited, &text);
    }
    let text = traceback(py, &error);
    let value = error.value(py).as_any();
    let sent = encode(py, &pair(py, value, &text), By::Reference);
    // It must not fail in the parent, where it would be somebody else's error.
    let sent = sent.and_then(|encoded| decode(py, &encoded.wire, Source::Borrowed).map(|_| encoded));
    match sent {
        Ok(encoded) => Report { kind: Kind::Raised, encoded },
        Err(problem) => unsendable(py, &problem, value, &text),
    }
}

fn pair<'py>(py: Python<'py>, value: &Bound<'py, PyAny>, text: &str) -> Bound<'py, PyAny> {
    match (value, text).into_pyobject(py) {
        Ok(pair) => pair.into_any(),
        Err(_) => py.None().into_bound(py),
    }
}

fn traceback(py: Python<'_>, error: &PyErr) -> String {
    let format = || -> PyResult<String> {
        // Before Python 3.12 the traceback is apart from the value, until they are put together.
        let value = error.clone_ref(py).into_value(py);
        let lines = py.import("traceback")?.call_method1("format_exception", (value,))?;
        let lines: Vec<String> = lines.extract()?;
        Ok(lines.concat())
    };
    // A worker that is interrupted here has an item that failed already.
    format().or_else(|_| text::of_error(py, error)).unwrap_or_else(|_| "an exception".to_owned())
}

/// `MaybeEncodingError`: a result or an exception that cannot be sent. `text` is the traceback of the exception.
fn unsendable(py: Python<'_>, problem: &PyErr, value: &Bound<'_, PyAny>, text: &str) -> Report {
    let make = || -> PyResult<Encoded> {
        let class = py.import("multiprocessing.pool")?.getattr("MaybeEncodingError")?;
        let exception = class.call1((problem.value(py), value))?;
        let text = format!("{text}{}", traceback(py, problem));
        // For executors, whose futures get this one itself; if it can be sent.
        exception.setattr("_problem", problem.value(py))?;
        let whole = encode(py, &pair(py, &exception, &text), By::Reference);
        if let Ok(encoded) = whole
            && decode(py, &encoded.wire, Source::Borrowed).is_ok()
        {
            return Ok(encoded);
        }
        exception.delattr("_problem")?;
        encode(py, &pair(py, &exception, &text), By::Reference)
    };
    match make() {
        Ok(encoded) => Report { kind: Kind::Raised, encoded },
        // Not even its repr works.
        Err(error) => {
            let what = text::of_error(py, &error).unwrap_or_default();
            let text = format!("the result or exception of a task cannot be sent, nor described: {what}");
            let error = pyo3::exceptions::PyRuntimeError::new_err(text);
            let encoded = encode(py, &pair(py, error.value(py).as_any(), ""), By::Reference);
            Report { kind: Kind::Raised, encoded: encoded.unwrap_or_default() }
        }
    }
}
