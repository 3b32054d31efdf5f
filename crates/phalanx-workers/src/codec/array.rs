//! A reducer for NumPy arrays of numbers that lie in one piece.
//!
//! NumPy's own sends the element type as an object and rebuilds arrays in Python code. This one sends its letter, the
//! shape and the buffer. Other arrays (objects, records, dates, swapped bytes, slices with gaps) are left to NumPy's.
//!
//! An array always arrives writable, as it does from the standard module, where the receiver's copy has nothing to do
//! with whether the sender's array could be written.

use std::sync::Arc;

use phalanx_object::{Keeper, Part, View};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyDict, PyString, PyTuple};

/// The memory of an array, lent to pickle as if it could be written: see above.
struct Lent(View);

// SAFETY: the memory of a lent buffer stays where it is. It may be read-only, but nobody writes: only the sink of the
// pickler asks for it, and it reads.
unsafe impl Keeper for Lent {
    fn start(&self) -> *mut u8 {
        self.0.address().cast_mut()
    }

    fn length(&self) -> usize {
        self.0.length()
    }
}

/// The classes this needs.
struct Classes {
    pickle_buffer: Py<PyAny>,
    rebuild: Py<PyAny>,
}

static CLASSES: PyOnceLock<Classes> = PyOnceLock::new();

fn classes(py: Python<'_>) -> PyResult<&'static Classes> {
    CLASSES.get_or_try_init(py, || {
        Ok(Classes {
            pickle_buffer: py.import("pickle")?.getattr("PickleBuffer")?.unbind(),
            rebuild: py.import("phalanx._workers")?.getattr("_array")?.unbind(),
        })
    })
}

/// `__reduce__` of an array.
#[pyfunction]
fn _reduce_array<'py>(array: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
    let py = array.py();
    if let Ok(view) = View::of(array)
        && let Some(letter) = phalanx_object::letter(view.format())
    {
        let shape = PyTuple::new(py, view.shape())?;
        let fortran = view.is_fortran();
        let classes = classes(py)?;
        let lent = Part::whole(py, Arc::new(Lent(view)))?;
        let buffer = classes.pickle_buffer.bind(py).call1((lent,))?;
        let letter = PyString::intern(py, letter);
        let arguments = (letter, shape, fortran, buffer).into_pyobject(py)?;
        return Ok((&classes.rebuild, arguments).into_pyobject(py)?.into_any());
    }
    // Protocol 5 would hand on that an array is read-only; protocol 4 does not.
    let writable = array.getattr(intern!(py, "flags"))?.getattr(intern!(py, "writeable"))?.is_truthy()?;
    array.call_method1(intern!(py, "__reduce_ex__"), (if writable { 5 } else { 4 },))
}

/// The array of a letter, a shape, an order and a buffer.
#[pyfunction]
fn _array<'py>(
    letter: &Bound<'py, PyAny>,
    shape: &Bound<'py, PyAny>,
    fortran: bool,
    buffer: &Bound<'py, PyAny>,
) -> PyResult<Bound<'py, PyAny>> {
    phalanx_object::array_over(shape, letter, buffer, fortran)
}

/// Adds the reducer to a table of reducers; NumPy has been imported.
pub(super) fn register(reducers: &Bound<'_, PyDict>) -> PyResult<()> {
    let py = reducers.py();
    // Whatever stands under that name need not be NumPy, and it may be half imported.
    let Some(ndarray) = py.import("numpy")?.getattr_opt(intern!(py, "ndarray"))? else { return Ok(()) };
    reducers.set_item(ndarray, py.import("phalanx._workers")?.getattr("_reduce_array")?)
}

/// Adds the functions of this file to the module.
pub(super) fn functions(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add_function(wrap_pyfunction!(_reduce_array, m)?)?;
    m.add_function(wrap_pyfunction!(_array, m)?)
}
