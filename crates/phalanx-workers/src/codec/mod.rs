//! Objects to messages between processes, and back.
//!
//! Small plain values are written directly ([`encode_small`], `small.rs`); everything else is pickled (`pickler.rs`)
//! with the reducers of the standard module, large buffers beside the stream.

mod array;
mod pickler;
mod reducers;
mod small;
mod view;

use std::ptr;

use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyBytes;
use smallvec::SmallVec;

pub(crate) use small::encode_small;
use small::tag;

/// Up to this size, plain values are written directly.
pub(crate) const SMALL: usize = 512;

/// How functions and classes are pickled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum By {
    /// By name where they can be imported, by value where not.
    Reference,
    /// By value, as cloudpickle does.
    Value,
}

/// Who holds the blocks of a message that is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// The message: reading it takes its holds over. It can be read once.
    Transit,
    /// The sender, until the reader is done. It can be read again.
    Borrowed,
}

/// The bytes of a message: most are short, and then need no heap.
pub(crate) type Wire = SmallVec<[u8; 192]>;

/// An object that is ready to be sent.
#[derive(Default)]
pub(crate) struct Encoded {
    /// The message.
    pub(crate) wire: Wire,
    /// Objects that must live until the message has been read.
    pub(crate) keep: Vec<Py<PyAny>>,
}

impl Encoded {
    /// The message for a reader with [`Source::Transit`]: it holds the blocks now.
    pub(crate) fn into_transit(self) -> Wire {
        self.wire
    }
}

/// Makes a message of an object. May run Python code and switch threads.
///
/// # Errors
/// What pickle raises, when cloudpickle cannot help either; `MemoryError` when the shared memory is full.
pub(crate) fn encode(py: Python<'_>, object: &Bound<'_, PyAny>, by: By) -> PyResult<Encoded> {
    let mut encoded = Encoded::default();
    let mut small = [0; SMALL];
    if let Some(length) = encode_small(object, &mut small) {
        encoded.wire.extend_from_slice(&small[..length]);
        return Ok(encoded);
    }
    let written = pickler::dump(object, by)?;
    for piece in &written.stream {
        encoded.wire.extend_from_slice(piece.as_bytes(py));
    }
    Ok(encoded)
}

/// The object of a message. May run Python code and switch threads.
///
/// # Errors
/// What unpickling raises; `ValueError` for a damaged message.
pub(crate) fn decode<'py>(py: Python<'py>, wire: &[u8], source: Source) -> PyResult<Bound<'py, PyAny>> {
    let _ = source;
    match wire.first() {
        Some(&tag::PROTO) => loads(PyBytes::new(py, wire).as_any()),
        _ => small::decode_small(py, wire),
    }
}

/// `pickle.loads` of a stream without buffers.
fn loads<'py>(stream: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
    let py = stream.py();
    let loads = pickle_loads(py)?;
    let end = ptr::null_mut::<ffi::PyObject>();
    // SAFETY: calls a callable with one argument and the null that ends the list; the result is a new reference.
    unsafe { Bound::from_owned_ptr_or_err(py, ffi::PyObject_CallFunctionObjArgs(loads.as_ptr(), stream.as_ptr(), end)) }
}

fn pickle_loads(py: Python<'_>) -> PyResult<&Bound<'_, PyAny>> {
    static LOADS: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    LOADS.get_or_try_init(py, || Ok(py.import("pickle")?.getattr("loads")?.unbind())).map(|loads| loads.bind(py))
}

/// For tests and measurements: the message of an object.
#[pyfunction]
fn _encode<'py>(object: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyBytes>> {
    let py = object.py();
    Ok(PyBytes::new(py, &encode(py, object, By::Reference)?.into_transit()))
}

/// For tests and measurements: the object of a message.
#[pyfunction]
fn _decode<'py>(py: Python<'py>, wire: &[u8]) -> PyResult<Bound<'py, PyAny>> {
    decode(py, wire, Source::Transit)
}

/// Adds what this folder has to the module.
pub(crate) fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    array::functions(m)?;
    m.add_function(wrap_pyfunction!(_encode, m)?)?;
    m.add_function(wrap_pyfunction!(_decode, m)?)
}
