//! `MPI.Status`: what a receive or probe found (MPI 5.0 section 3.2.5).

use std::cell::UnsafeCell;

use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::pyclass::CompareOp;
use pyo3::types::{PyDict, PyType};

use crate::datatype::Datatype;
use crate::error::check;
use crate::ffi::*;
use crate::handle::Handle as _;

/// The source, tag, error and size of a message.
#[pyclass(module = "phalanx.MPI", subclass, frozen, weakref)]
#[repr(C)] // what compiled code for mpi4py reads comes first
pub(crate) struct Status {
    value: UnsafeCell<MPI_Status>,
}

// SAFETY: the value is plain numbers, read and written whole, and only by threads that hold the interpreter lock (calls
// that run without it fill a status of their own, which `set` then copies).
unsafe impl Sync for Status {}

impl Status {
    /// A status object with a value.
    pub(crate) fn with(value: MPI_Status) -> Self {
        Status { value: UnsafeCell::new(value) }
    }

    /// The value now.
    pub(crate) fn get(&self) -> MPI_Status {
        // SAFETY: plain data; the interpreter lock keeps writers out (see `Sync` above).
        unsafe { *self.value.get() }
    }

    /// Stores what a call reported.
    pub(crate) fn set(&self, value: MPI_Status) {
        // SAFETY: as in `get`.
        unsafe { *self.value.get() = value }
    }

    /// Where the value lies.
    pub(crate) fn address(&self) -> usize {
        self.value.get().addr()
    }

    /// Changes the value by a C function that takes `MPI_Status *`.
    fn update(&self, call: impl FnOnce(*mut MPI_Status) -> c_int) -> PyResult<()> {
        let mut value = self.get();
        check(call(&mut value))?;
        self.set(value);
        Ok(())
    }

    fn field(&self, call: unsafe extern "C" fn(*const MPI_Status, *mut c_int) -> c_int) -> PyResult<c_int> {
        let (value, mut field) = (self.get(), 0);
        // SAFETY: both pointers are valid for the call.
        check(unsafe { call(&value, &mut field) })?;
        Ok(field)
    }
}

/// Copies `value` into the caller's status object, if there is one.
pub(crate) fn give(status: Option<&Bound<'_, Status>>, value: MPI_Status) {
    if let Some(status) = status {
        status.get().set(value);
    }
}

#[pymethods]
impl Status {
    #[new]
    #[pyo3(signature = (status=None))]
    fn new(status: Option<&Bound<'_, Status>>) -> Self {
        Status::with(status.map_or(MPI_Status::EMPTY, |status| status.get().get()))
    }

    fn __richcmp__(&self, other: &Bound<'_, PyAny>, op: CompareOp) -> PyResult<Py<PyAny>> {
        let py = other.py();
        let Ok(other) = other.cast::<Status>() else {
            return Ok(py.NotImplemented());
        };
        let equal = self.get() == other.get().get();
        match op {
            CompareOp::Eq => Ok(equal.into_pyobject(py)?.to_owned().into_any().unbind()),
            CompareOp::Ne => Ok((!equal).into_pyobject(py)?.to_owned().into_any().unbind()),
            _ => Err(PyTypeError::new_err("unorderable type 'phalanx.MPI.Status'")),
        }
    }

    fn __reduce__<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        let py = slf.py();
        let newobj = py.import("copyreg")?.getattr("__newobj__")?;
        Ok((newobj, (slf.get_type(),), slf.get().__getstate__(py)?).into_pyobject(py)?.into_any())
    }

    fn __getstate__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let state = PyDict::new(py);
        let value = self.get();
        state.set_item("source", value.MPI_SOURCE)?;
        state.set_item("tag", value.MPI_TAG)?;
        state.set_item("error", value.MPI_ERROR)?;
        state.set_item("count", self.count()?)?;
        state.set_item("cancelled", self.Is_cancelled()?)?;
        Ok(state)
    }

    fn __setstate__(slf: &Bound<'_, Self>, state: &Bound<'_, PyDict>) -> PyResult<()> {
        for (name, value) in state {
            slf.setattr(name.cast::<pyo3::types::PyString>()?, value)?;
        }
        Ok(())
    }

    /// Get_source(self) -> int
    ///
    /// Return the rank the message came from.
    fn Get_source(&self) -> PyResult<c_int> {
        self.field(MPI_Status_get_source)
    }

    /// Set_source(self, source: int) -> None
    ///
    /// Set the rank the message came from.
    fn Set_source(&self, source: c_int) -> PyResult<()> {
        // SAFETY: the pointer is valid for the call.
        self.update(|status| unsafe { MPI_Status_set_source(status, source) })
    }

    /// source: int
    ///
    /// Source rank.
    #[getter]
    fn source(&self) -> PyResult<c_int> {
        self.Get_source()
    }

    #[setter]
    fn set_source(&self, source: c_int) -> PyResult<()> {
        self.Set_source(source)
    }

    /// Get_tag(self) -> int
    ///
    /// Return the message's tag.
    fn Get_tag(&self) -> PyResult<c_int> {
        self.field(MPI_Status_get_tag)
    }

    /// Set_tag(self, tag: int) -> None
    ///
    /// Set the message's tag.
    fn Set_tag(&self, tag: c_int) -> PyResult<()> {
        // SAFETY: the pointer is valid for the call.
        self.update(|status| unsafe { MPI_Status_set_tag(status, tag) })
    }

    /// tag: int
    ///
    /// Message tag.
    #[getter]
    fn tag(&self) -> PyResult<c_int> {
        self.Get_tag()
    }

    #[setter]
    fn set_tag(&self, tag: c_int) -> PyResult<()> {
        self.Set_tag(tag)
    }

    /// Get_error(self) -> int
    ///
    /// Return the error code of the operation.
    fn Get_error(&self) -> PyResult<c_int> {
        self.field(MPI_Status_get_error)
    }

    /// Set_error(self, error: int) -> None
    ///
    /// Set the error code of the operation.
    fn Set_error(&self, error: c_int) -> PyResult<()> {
        // SAFETY: the pointer is valid for the call.
        self.update(|status| unsafe { MPI_Status_set_error(status, error) })
    }

    /// error: int
    ///
    /// Message error.
    #[getter]
    fn error(&self) -> PyResult<c_int> {
        self.Get_error()
    }

    #[setter]
    fn set_error(&self, error: c_int) -> PyResult<()> {
        self.Set_error(error)
    }

    /// Get_count(self, datatype: Datatype = BYTE) -> int
    ///
    /// Return how many whole elements of `datatype` the message had, or `UNDEFINED`.
    #[pyo3(signature = (datatype=None))]
    fn Get_count(&self, datatype: Option<&Bound<'_, Datatype>>) -> PyResult<MPI_Count> {
        let datatype = datatype.map_or(MPI_BYTE, |datatype| datatype.get().raw());
        let (value, mut count) = (self.get(), MPI_Count::from(MPI_UNDEFINED));
        // SAFETY: both pointers are valid for the call.
        check(unsafe { MPI_Get_count_c(&value, datatype, &mut count) })?;
        Ok(count)
    }

    /// count: int
    ///
    /// Byte count.
    #[getter]
    fn count(&self) -> PyResult<MPI_Count> {
        self.Get_count(None)
    }

    #[setter]
    fn set_count(&self, count: MPI_Count) -> PyResult<()> {
        // SAFETY: the pointer is valid for the call.
        self.update(|status| unsafe { MPI_Status_set_elements_c(status, MPI_BYTE, count) })
    }

    /// Get_elements(self, datatype: Datatype) -> int
    ///
    /// Return how many basic elements of `datatype` the message had, or `UNDEFINED`.
    fn Get_elements(&self, datatype: &Bound<'_, Datatype>) -> PyResult<MPI_Count> {
        let (value, mut count) = (self.get(), MPI_Count::from(MPI_UNDEFINED));
        // SAFETY: both pointers are valid for the call.
        check(unsafe { MPI_Get_elements_c(&value, datatype.get().raw(), &mut count) })?;
        Ok(count)
    }

    /// Set_elements(self, datatype: Datatype, count: int) -> None
    ///
    /// Set the size of the message, for generalized requests.
    fn Set_elements(&self, datatype: &Bound<'_, Datatype>, count: MPI_Count) -> PyResult<()> {
        let datatype = datatype.get().raw();
        // SAFETY: the pointer is valid for the call.
        self.update(|status| unsafe { MPI_Status_set_elements_c(status, datatype, count) })
    }

    /// Is_cancelled(self) -> bool
    ///
    /// Return whether the operation was cancelled.
    fn Is_cancelled(&self) -> PyResult<bool> {
        self.field(MPI_Test_cancelled).map(|flag| flag != 0)
    }

    /// Set_cancelled(self, flag: bool) -> None
    ///
    /// Mark the operation as cancelled, for generalized requests.
    fn Set_cancelled(&self, flag: bool) -> PyResult<()> {
        // SAFETY: the pointer is valid for the call.
        self.update(|status| unsafe { MPI_Status_set_cancelled(status, c_int::from(flag)) })
    }

    /// cancelled: bool
    ///
    /// Cancelled state.
    #[getter]
    fn cancelled(&self) -> PyResult<bool> {
        self.Is_cancelled()
    }

    #[setter]
    fn set_cancelled(&self, flag: bool) -> PyResult<()> {
        self.Set_cancelled(flag)
    }

    /// tomemory(self) -> memoryview
    ///
    /// Return a writable view of the status's words, for other libraries.
    fn tomemory<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        let py = slf.py();
        // A ctypes array keeps no reference to what it lies on: the view's owner has to.
        let ctypes = py.import("ctypes")?;
        let array = ctypes.getattr("c_char")?.mul(size_of::<MPI_Status>())?;
        let view = array.call_method1("from_address", (slf.get().address(),))?;
        view.setattr("_status", slf)?;
        py.import("builtins")?
            .getattr("memoryview")?
            .call1((view,))?
            .call_method1("cast", ("B",))?
            .call_method1("cast", ("i",))
    }

    /// py2f(self) -> list[int]
    ///
    /// Return the Fortran form of the status: its words as integers.
    fn py2f(&self) -> Vec<c_int> {
        let value = self.get();
        [value.MPI_SOURCE, value.MPI_TAG, value.MPI_ERROR].into_iter().chain(value.MPI_internal).collect()
    }

    /// f2py(cls, arg: list[int]) -> Self
    ///
    /// Create a status from its Fortran form.
    #[classmethod]
    fn f2py<'py>(cls: &Bound<'py, PyType>, arg: Vec<c_int>) -> PyResult<Bound<'py, PyAny>> {
        let words: [c_int; 8] = arg
            .try_into()
            .map_err(|arg: Vec<c_int>| PyValueError::new_err(format!("expected 8 integers, got {}", arg.len())))?;
        let [source, tag, error, internal @ ..] = words;
        let object = cls.call_method1("__new__", (cls,))?;
        object.cast::<Status>()?.get().set(MPI_Status {
            MPI_SOURCE: source,
            MPI_TAG: tag,
            MPI_ERROR: error,
            MPI_internal: internal,
        });
        Ok(object)
    }
}

/// Adds the class to the module.
pub(crate) fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add_class::<Status>()
}
