//! NumPy arrays of numbers: what their element types are called, and small ones as messages without pickle.
//!
//! ```text
//! ARRAY  u8 number of the element type, u8 n axes, n times u64 length, the elements in the order of C
//! ```
//!
//! Only arrays that lie in one piece and can be written are written so: pickle hands on that one is read-only, and what
//! is more than elements and a shape (objects, records, dates, swapped bytes, a class of the user's, a reducer of the
//! user's) is for pickle, too. An array is a view of memory of its own where it arrives, as one that was pickled.

use pyo3::ffi;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyDict, PyTuple};

use crate::imports::imported;
use crate::small::{damaged, tag};
use crate::view::View;

/// The element types: Python's letter and NumPy's.
const ELEMENTS: [(&[u8], &str); 18] = [
    (b"d", "d"),
    (b"f", "f"),
    (b"l", "l"),
    (b"i", "i"),
    (b"B", "B"),
    (b"?", "?"),
    (b"b", "b"),
    (b"h", "h"),
    (b"H", "H"),
    (b"I", "I"),
    (b"L", "L"),
    (b"q", "q"),
    (b"Q", "Q"),
    (b"e", "e"),
    (b"g", "g"),
    (b"Zf", "F"),
    (b"Zd", "D"),
    (b"Zg", "G"),
];

/// NumPy's letter for an element type that the buffer protocol calls `format`; `None` for one that is no plain number.
#[must_use]
pub fn letter(format: &[u8]) -> Option<&'static str> {
    ELEMENTS.iter().find(|(known, _)| *known == format).map(|(_, letter)| *letter)
}

/// The array of a shape and a letter over the memory of a buffer, whose first or last axis is without gaps.
///
/// # Errors
/// What importing NumPy and NumPy's constructor raise.
pub fn array_over<'py>(
    shape: &Bound<'py, PyAny>,
    letter: &Bound<'py, PyAny>,
    buffer: &Bound<'py, PyAny>,
    fortran: bool,
) -> PyResult<Bound<'py, PyAny>> {
    static NDARRAY: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    let py = shape.py();
    let ndarray = imported(py, &NDARRAY, "numpy", |numpy| numpy.getattr("ndarray").map(Bound::unbind))?.bind(py);
    if fortran {
        return ndarray.call1((shape, letter, buffer, 0, py.None(), intern!(py, "F")));
    }
    ndarray.call1((shape, letter, buffer))
}

/// The class of arrays, if the program has imported NumPy and this is an object of it.
fn is_array(object: &Bound<'_, PyAny>) -> bool {
    static NDARRAY: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    let py = object.py();
    // SAFETY: asks a live object.
    if unsafe { ffi::PyObject_CheckBuffer(object.as_ptr()) } == 0 {
        return false;
    }
    let class = NDARRAY.get(py).or_else(|| {
        let modules = py.import("sys").and_then(|sys| sys.getattr(intern!(py, "modules"))).ok()?;
        let numpy = modules.cast_into::<PyDict>().ok()?.get_item("numpy").ok()??;
        // Whatever stands under that name need not be NumPy, and it may be half imported.
        let class = numpy.getattr_opt(intern!(py, "ndarray")).ok()??;
        Some(NDARRAY.get_or_init(py, || class.unbind()))
    });
    class.is_some_and(|class| object.get_type().is(class))
}

/// Whether the program has told `pickle` another way for arrays.
fn has_reducer(object: &Bound<'_, PyAny>) -> PyResult<bool> {
    static TABLE: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    let py = object.py();
    let table = imported(py, &TABLE, "copyreg", |copyreg| copyreg.getattr("dispatch_table").map(Bound::unbind))?;
    table.bind(py).contains(object.get_type())
}

/// Writes a small array of numbers to the beginning of `out` and returns the length; `None` for anything else.
#[must_use]
pub(crate) fn encode(object: &Bound<'_, PyAny>, out: &mut [u8]) -> Option<usize> {
    if !is_array(object) || has_reducer(object).unwrap_or(true) {
        return None;
    }
    let view = View::of(object).ok()?;
    let element = ELEMENTS.iter().position(|(format, _)| *format == view.format())?;
    let shape = view.shape();
    if view.is_fortran() || view.is_read_only() {
        return None;
    }
    let (head, rest) = out.split_at_mut_checked(3)?;
    head.copy_from_slice(&[tag::ARRAY, u8::try_from(element).ok()?, u8::try_from(shape.len()).ok()?]);
    let (axes, rest) = rest.split_at_mut_checked(8 * shape.len())?;
    for (place, length) in axes.chunks_exact_mut(8).zip(shape) {
        place.copy_from_slice(&(length.unsigned_abs() as u64).to_le_bytes());
    }
    let elements = rest.get_mut(..view.length())?;
    if !elements.is_empty() {
        // SAFETY: the array lends so many bytes at its address, which are not those of our own `out`; the interpreter
        // lock is held, and a program that writes them without it meanwhile would break any reader.
        unsafe { std::ptr::copy_nonoverlapping(view.address(), elements.as_mut_ptr(), elements.len()) };
    }
    Some(3 + axes.len() + view.length())
}

/// The array of a message that [`encode`] wrote, without its tag.
///
/// # Errors
/// `ValueError` for a damaged message; what [`array_over`] raises.
pub(crate) fn decode<'py>(py: Python<'py>, wire: &[u8]) -> PyResult<Bound<'py, PyAny>> {
    let ([element, axes], rest) = wire.split_first_chunk().ok_or_else(damaged)?;
    let (_, letter) = ELEMENTS.get(usize::from(*element)).ok_or_else(damaged)?;
    let (lengths, elements) = rest.split_at_checked(8 * usize::from(*axes)).ok_or_else(damaged)?;
    let lengths = lengths.as_chunks::<8>().0.iter().map(|length| u64::from_le_bytes(*length));
    let shape = PyTuple::new(py, lengths)?;
    let (start, count) = (elements.as_ptr().cast(), elements.len() as ffi::Py_ssize_t);
    // SAFETY: makes a new object of so many readable bytes, or reports an error.
    let memory = unsafe { Bound::from_owned_ptr_or_err(py, ffi::PyByteArray_FromStringAndSize(start, count)) }?;
    array_over(shape.as_any(), pyo3::types::PyString::intern(py, letter).as_any(), &memory, false)
}
