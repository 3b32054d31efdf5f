//! `MPI.Op`: reduction operations (MPI 5.0 section 6.9).

use pyo3::prelude::*;

use crate::ffi::*;
use crate::handle::{self, Handle, HandleCell, handle_methods};

/// Op(op: Op | None = None)
///
/// An operation that combines two values of the same type.
#[pyclass(module = "phalanx.MPI", subclass, frozen, weakref)]
pub(crate) struct Op {
    handle: HandleCell<MPI_Op>,
}

impl Handle for Op {
    type Raw = MPI_Op;

    fn cell(&self) -> &HandleCell<MPI_Op> {
        &self.handle
    }

    fn release(slf: &Bound<'_, Self>) -> PyResult<()> {
        slf.get().handle.set(MPI_Op(0));
        Ok(())
    }
}

handle_methods!(Op, MPI_Op, handle::reduce);

#[pymethods]
impl Op {
    #[new]
    #[pyo3(signature = (op=None))]
    fn new(op: Option<&Bound<'_, Op>>) -> Self {
        Op { handle: HandleCell::new(handle::raw_or_null(op)) }
    }
}

/// Adds the class and its constants to the module.
pub(crate) fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add_class::<Op>()?;
    for (name, raw) in OPERATIONS {
        handle::add_constant::<Op>(m, name, *raw)?;
    }
    Ok(())
}
