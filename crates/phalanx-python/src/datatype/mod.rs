//! `MPI.Datatype`: the layout of data in memory (MPI 5.0 chapter 5).

use pyo3::prelude::*;

use crate::ffi::*;
use crate::handle::{self, Handle, HandleCell, handle_methods};

/// Datatype(datatype: Datatype | None = None)
///
/// The layout of data in memory.
#[pyclass(module = "phalanx.MPI", subclass, frozen, weakref)]
pub(crate) struct Datatype {
    handle: HandleCell<MPI_Datatype>,
}

impl Handle for Datatype {
    type Raw = MPI_Datatype;

    fn cell(&self) -> &HandleCell<MPI_Datatype> {
        &self.handle
    }

    fn release(slf: &Bound<'_, Self>) -> PyResult<()> {
        slf.get().handle.set(MPI_Datatype(0));
        Ok(())
    }
}

handle_methods!(Datatype, MPI_Datatype, handle::reduce);

#[pymethods]
impl Datatype {
    #[new]
    #[pyo3(signature = (datatype=None))]
    fn new(datatype: Option<&Bound<'_, Datatype>>) -> Self {
        Datatype { handle: HandleCell::new(handle::raw_or_null(datatype)) }
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
    Ok(())
}
