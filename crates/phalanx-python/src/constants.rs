//! `MPI.BOTTOM`, `MPI.IN_PLACE` and `MPI.BUFFER_AUTOMATIC`: addresses with a meaning.

use std::ptr;

use pyo3::prelude::*;
use pyo3::pyclass::CompareOp;
use pyo3::sync::PyOnceLock;
use pyo3::{PyTypeInfo, ffi};

use crate::ffi::{MPI_BOTTOM, MPI_BUFFER_AUTOMATIC, MPI_IN_PLACE, c_int};
use crate::spec::is_integral;

/// `==` and `!=` with others of the type and with integers.
fn compare<T: PyTypeInfo>(value: usize, other: &Bound<'_, PyAny>, op: CompareOp) -> PyResult<Py<PyAny>> {
    let py = other.py();
    let same = if other.is_instance_of::<T>() {
        true
    } else if is_integral(other) {
        other.extract::<usize>().is_ok_and(|other| other == value)
    } else {
        return Ok(py.NotImplemented());
    };
    match op {
        CompareOp::Eq => Ok(same.into_pyobject(py)?.to_owned().into_any().unbind()),
        CompareOp::Ne => Ok((!same).into_pyobject(py)?.to_owned().into_any().unbind()),
        _ => Ok(py.NotImplemented()),
    }
}

/// Fills a `Py_buffer` with an address and no bytes.
///
/// # Safety
/// `view` is valid for the write.
unsafe fn fill(py: Python<'_>, value: usize, view: *mut ffi::Py_buffer, flags: c_int) -> PyResult<()> {
    let address = ptr::without_provenance_mut(value);
    // SAFETY: `view` is valid by contract; there is no object, since there is no memory.
    if unsafe { ffi::PyBuffer_FillInfo(view, ptr::null_mut(), address, 0, 0, flags) } == 0 {
        return Ok(());
    }
    Err(PyErr::fetch(py))
}

/// A class whose objects all stand for one address.
macro_rules! address_class {
    ($class:ident, $name:literal, $value:expr, $doc:literal) => {
        #[doc = $doc]
        #[pyclass(module = "phalanx.MPI", frozen)]
        pub(crate) struct $class;

        #[pymethods]
        impl $class {
            #[new]
            fn new() -> Self {
                $class
            }

            fn __bool__(&self) -> bool {
                $value != 0
            }

            fn __int__(&self) -> usize {
                $value
            }

            fn __hash__(&self) -> isize {
                $value as isize
            }

            fn __richcmp__(&self, other: &Bound<'_, PyAny>, op: CompareOp) -> PyResult<Py<PyAny>> {
                compare::<$class>($value, other, op)
            }

            fn __repr__(&self) -> &'static str {
                $name
            }

            fn __reduce__(&self) -> &'static str {
                $name
            }
        }
    };
}

address_class!(BottomType, "BOTTOM", MPI_BOTTOM, "Type of BOTTOM: address 0, for datatypes with absolute addresses.");
address_class!(
    InPlaceType,
    "IN_PLACE",
    MPI_IN_PLACE,
    "Type of IN_PLACE: a collective's own part is in the other buffer."
);
address_class!(
    BufferAutomaticType,
    "BUFFER_AUTOMATIC",
    MPI_BUFFER_AUTOMATIC,
    "Type of BUFFER_AUTOMATIC: the library brings the memory for buffered sends."
);

#[pymethods]
impl BottomType {
    unsafe fn __getbuffer__(slf: Bound<'_, Self>, view: *mut ffi::Py_buffer, flags: c_int) -> PyResult<()> {
        // SAFETY: the interpreter passes a Py_buffer to fill.
        unsafe { fill(slf.py(), MPI_BOTTOM, view, flags) }
    }

    fn __index__(&self) -> usize {
        MPI_BOTTOM
    }
}

#[pymethods]
impl InPlaceType {
    unsafe fn __getbuffer__(slf: Bound<'_, Self>, view: *mut ffi::Py_buffer, flags: c_int) -> PyResult<()> {
        // SAFETY: the interpreter passes a Py_buffer to fill.
        unsafe { fill(slf.py(), MPI_IN_PLACE, view, flags) }
    }
}

#[pymethods]
impl BufferAutomaticType {
    unsafe fn __getbuffer__(slf: Bound<'_, Self>, view: *mut ffi::Py_buffer, flags: c_int) -> PyResult<()> {
        // SAFETY: the interpreter passes a Py_buffer to fill.
        unsafe { fill(slf.py(), MPI_BUFFER_AUTOMATIC, view, flags) }
    }
}

/// Whether an object is `MPI.BOTTOM`.
pub(crate) fn is_bottom(object: &Bound<'_, PyAny>) -> bool {
    object.is_exact_instance_of::<BottomType>()
}

/// Whether an object stands for "in place": `MPI.IN_PLACE` or None.
pub(crate) fn is_in_place(object: &Bound<'_, PyAny>) -> bool {
    object.is_none() || object.is_exact_instance_of::<InPlaceType>()
}

/// Whether an object is `MPI.BUFFER_AUTOMATIC`.
pub(crate) fn is_buffer_automatic(object: &Bound<'_, PyAny>) -> bool {
    object.is_exact_instance_of::<BufferAutomaticType>()
}

static AUTOMATIC: PyOnceLock<Py<BufferAutomaticType>> = PyOnceLock::new();

/// `MPI.BUFFER_AUTOMATIC`.
pub(crate) fn buffer_automatic(py: Python<'_>) -> PyResult<Py<PyAny>> {
    Ok(AUTOMATIC.get_or_try_init(py, || Py::new(py, BufferAutomaticType))?.clone_ref(py).into_any())
}

/// Adds the classes and constants of this file to the module.
pub(crate) fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    let py = m.py();
    m.add_class::<BottomType>()?;
    m.add_class::<InPlaceType>()?;
    m.add_class::<BufferAutomaticType>()?;
    m.add("BOTTOM", Py::new(py, BottomType)?)?;
    m.add("IN_PLACE", Py::new(py, InPlaceType)?)?;
    m.add("BUFFER_AUTOMATIC", buffer_automatic(py)?)
}
