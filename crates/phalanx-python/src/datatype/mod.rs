//! `MPI.Datatype`: the layout of data in memory (MPI 5.0 chapter 5).
//!
//! One file per topic: `create` (constructors), `decode` (what a type was made from, pickling), `pack` (packing), `code`
//! (type strings).

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use pyo3::prelude::*;
use pyo3::types::PyType;

use crate::attribute::{self, Kind};
use crate::error::check;
use crate::ffi::*;
use crate::handle::{self, Handle, HandleCell, handle_methods};
use crate::text::{self, Text};

mod code;
mod create;
mod decode;
mod pack;

/// The layout of data in memory.
#[pyclass(module = "phalanx.MPI", subclass, frozen, weakref)]
#[repr(C)] // what compiled code for mpi4py reads comes first
pub(crate) struct Datatype {
    handle: HandleCell<MPI_Datatype>,
    /// Whether the object owns its handle: a part of another type, met while that one is pickled.
    temporary: AtomicBool,
}

impl Drop for Datatype {
    fn drop(&mut self) {
        let mut raw = self.raw();
        if self.temporary.load(Relaxed) && !decode::is_predefined(raw) && crate::init::is_active() {
            // SAFETY: the handle came from the contents of another type for this object alone. It was valid when it was
            // marked, so the call cannot fail; there is nobody to tell here.
            unsafe { MPI_Type_free(&mut raw) };
        }
    }
}

impl Handle for Datatype {
    type Raw = MPI_Datatype;

    fn cell(&self) -> &HandleCell<MPI_Datatype> {
        &self.handle
    }

    fn is_predefined(raw: MPI_Datatype) -> bool {
        decode::is_predefined(raw)
    }

    fn release(slf: &Bound<'_, Self>) -> PyResult<()> {
        slf.get().Free()
    }
}

handle_methods!(Datatype, MPI_Datatype, decode::reduce);

/// A lower bound and an extent, as one of the library's functions tells it.
type ExtentCall = unsafe extern "C" fn(MPI_Datatype, *mut MPI_Count, *mut MPI_Count) -> c_int;

impl Datatype {
    fn extent_by(&self, call: ExtentCall) -> PyResult<(MPI_Count, MPI_Count)> {
        let (mut lb, mut extent) = (0, 0);
        // SAFETY: both are valid for the writes.
        check(unsafe { call(self.raw(), &mut lb, &mut extent) })?;
        Ok((lb, extent))
    }
}

#[pymethods]
impl Datatype {
    #[new]
    #[pyo3(signature = (datatype=None))]
    fn new(datatype: Option<&Bound<'_, Datatype>>) -> Self {
        Datatype { handle: HandleCell::new(handle::raw_or_null(datatype)), temporary: AtomicBool::new(false) }
    }

    /// Get_size(self) -> int
    ///
    /// Return the number of bytes of data in one element, gaps not counted. Local.
    fn Get_size(&self) -> PyResult<MPI_Count> {
        let mut size = 0;
        // SAFETY: `size` is valid for the write.
        check(unsafe { MPI_Type_size_c(self.raw(), &mut size) })?;
        Ok(size)
    }

    /// size: int
    ///
    /// Size (in bytes).
    #[getter]
    fn size(&self) -> PyResult<MPI_Count> {
        self.Get_size()
    }

    /// Get_extent(self) -> tuple[int, int]
    ///
    /// Return the lower bound and the extent: where an element begins, and how far the next one is. Local.
    fn Get_extent(&self) -> PyResult<(MPI_Count, MPI_Count)> {
        self.extent_by(MPI_Type_get_extent_c)
    }

    /// extent: int
    ///
    /// Extent.
    #[getter]
    fn extent(&self) -> PyResult<MPI_Count> {
        self.Get_extent().map(|(_, extent)| extent)
    }

    /// lb: int
    ///
    /// Lower bound.
    #[getter]
    fn lb(&self) -> PyResult<MPI_Count> {
        self.Get_extent().map(|(lb, _)| lb)
    }

    /// ub: int
    ///
    /// Upper bound.
    #[getter]
    fn ub(&self) -> PyResult<MPI_Count> {
        self.Get_extent().map(|(lb, extent)| lb + extent)
    }

    /// Get_true_extent(self) -> tuple[int, int]
    ///
    /// Return the lower bound and the extent of the data alone. Local.
    fn Get_true_extent(&self) -> PyResult<(MPI_Count, MPI_Count)> {
        self.extent_by(MPI_Type_get_true_extent_c)
    }

    /// true_extent: int
    ///
    /// True extent.
    #[getter]
    fn true_extent(&self) -> PyResult<MPI_Count> {
        self.Get_true_extent().map(|(_, extent)| extent)
    }

    /// true_lb: int
    ///
    /// True lower bound.
    #[getter]
    fn true_lb(&self) -> PyResult<MPI_Count> {
        self.Get_true_extent().map(|(lb, _)| lb)
    }

    /// true_ub: int
    ///
    /// True upper bound.
    #[getter]
    fn true_ub(&self) -> PyResult<MPI_Count> {
        self.Get_true_extent().map(|(lb, extent)| lb + extent)
    }

    /// Commit(self) -> Self
    ///
    /// Make the datatype usable in communication; return it. Local.
    fn Commit<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, Self>> {
        // SAFETY: the library checks the handle.
        check(slf.get().handle.update(|raw| unsafe { MPI_Type_commit(raw) }))?;
        Ok(slf.clone())
    }

    /// Free(self) -> None
    ///
    /// Free the datatype; types made from it stay. Local.
    fn Free(&self) -> PyResult<()> {
        let (constant, before) = (handle::is_constant(self), self.raw());
        // SAFETY: the library checks and replaces the handle.
        check(self.handle.update(|raw| unsafe { MPI_Type_free(raw) }))?;
        if constant {
            self.handle.set(before);
        }
        Ok(())
    }

    /// Get_attr(self, keyval: int) -> int | Any | None
    ///
    /// Return an attribute, `None` when it is not set. Local.
    fn Get_attr(&self, py: Python<'_>, keyval: c_int) -> PyResult<Py<PyAny>> {
        attribute::get(py, Kind::Type, self.raw().0, keyval)
    }

    /// Set_attr(self, keyval: int, attrval: Any) -> None
    ///
    /// Set an attribute. Local.
    fn Set_attr(&self, keyval: c_int, attrval: &Bound<'_, PyAny>) -> PyResult<()> {
        attribute::set(Kind::Type, self.raw().0, keyval, attrval)
    }

    /// Delete_attr(self, keyval: int) -> None
    ///
    /// Delete an attribute, calling its delete function. Local.
    fn Delete_attr(&self, py: Python<'_>, keyval: c_int) -> PyResult<()> {
        attribute::delete(py, Kind::Type, self.raw().0, keyval)
    }

    /// Create_keyval(cls, copy_fn=None, delete_fn=None, nopython: bool = False) -> int
    ///
    /// Create an attribute key, as `Comm.Create_keyval` does for communicators. Local.
    #[classmethod]
    #[pyo3(signature = (copy_fn=None, delete_fn=None, nopython=false))]
    fn Create_keyval<'py>(
        _cls: &Bound<'py, PyType>,
        copy_fn: Option<&Bound<'py, PyAny>>,
        delete_fn: Option<&Bound<'py, PyAny>>,
        nopython: bool,
    ) -> PyResult<c_int> {
        attribute::create_keyval(Kind::Type, copy_fn, delete_fn, nopython)
    }

    /// Free_keyval(cls, keyval: int) -> int
    ///
    /// Free an attribute key; return `KEYVAL_INVALID`. Local.
    #[classmethod]
    fn Free_keyval(cls: &Bound<'_, PyType>, keyval: c_int) -> PyResult<c_int> {
        attribute::free_keyval(cls.py(), Kind::Type, keyval)
    }

    /// Get_name(self) -> str
    ///
    /// Return the name. Local.
    fn Get_name(&self) -> PyResult<String> {
        let mut name = [0; MPI_MAX_OBJECT_NAME as usize + 1];
        let mut length = 0;
        // SAFETY: the array has the room the standard asks for.
        check(unsafe { MPI_Type_get_name(self.raw(), name.as_mut_ptr(), &mut length) })?;
        Ok(text::from_c(&name, length))
    }

    /// Set_name(self, name: str) -> None
    ///
    /// Set the name. Local.
    fn Set_name(&self, name: Text) -> PyResult<()> {
        // SAFETY: the string is NUL-terminated and outlives the call.
        check(unsafe { MPI_Type_set_name(self.raw(), name.as_ptr()) })
    }

    /// name: str
    ///
    /// Print name.
    #[getter]
    fn name(&self) -> PyResult<String> {
        self.Get_name()
    }

    #[setter]
    fn set_name(&self, name: Text) -> PyResult<()> {
        self.Set_name(name)
    }
}

/// Further names of predefined datatypes.
const ALIASES: &[(&str, MPI_Datatype)] = &[
    ("UNSIGNED_INT", MPI_UNSIGNED),
    ("SIGNED_SHORT", MPI_SHORT),
    ("SIGNED_INT", MPI_INT),
    ("SIGNED_LONG", MPI_LONG),
    ("SIGNED_LONG_LONG", MPI_LONG_LONG),
    ("BOOL", MPI_C_BOOL),
    ("SINT8_T", MPI_INT8_T),
    ("SINT16_T", MPI_INT16_T),
    ("SINT32_T", MPI_INT32_T),
    ("SINT64_T", MPI_INT64_T),
    ("FLOAT32_T", MPI_FLOAT),
    ("FLOAT64_T", MPI_DOUBLE),
    ("TWOINT", MPI_2INT),
    ("F_BOOL", MPI_LOGICAL),
    ("F_INT", MPI_INTEGER),
    ("F_FLOAT", MPI_REAL),
    ("F_DOUBLE", MPI_DOUBLE_PRECISION),
    ("F_COMPLEX", MPI_COMPLEX),
    ("F_FLOAT_COMPLEX", MPI_COMPLEX),
    ("F_DOUBLE_COMPLEX", MPI_DOUBLE_COMPLEX),
    // Optional in the standard, and without a number in its ABI.
    ("FLOAT16_T", MPI_DATATYPE_NULL),
    ("BFLOAT16_T", MPI_DATATYPE_NULL),
];

/// Adds the class and its constants to the module.
pub(crate) fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add_class::<Datatype>()?;
    for (name, raw) in DATATYPES {
        // `2INT` is no Python name; the Fortran pairs have none in mpi4py.
        let name = if *name == "2INT" { "INT_INT" } else { name };
        if !name.starts_with('2') {
            handle::add_constant::<Datatype>(m, name, *raw)?;
        }
    }
    for (name, raw) in ALIASES {
        handle::add_constant::<Datatype>(m, name, *raw)?;
    }
    let class = m.py().get_type::<Datatype>();
    crate::alias(&class, "Create_dup", "Dup")?;
    crate::alias(&class, "Resized", "Create_resized")?;
    code::register(m)?;
    decode::register(m)
}
