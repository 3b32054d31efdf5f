//! `MPI.Op`: reduction operations (MPI 5.0 section 6.9).

use pyo3::prelude::*;

use crate::ffi::*;
use crate::gil;
use crate::handle::{self, Handle, HandleCell, handle_methods};
use crate::spec::collective;

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

#[pymethods]
impl Op {
    /// Reduce_local(self, inbuf: BufSpec, inoutbuf: BufSpec) -> None
    ///
    /// Combine two local buffers entry by entry, into the second. Does not communicate.
    ///
    /// Raises ValueError when the buffers differ in count or datatype, Exception when the operation does not apply to it.
    fn Reduce_local(&self, py: Python<'_>, inbuf: &Bound<'_, PyAny>, inoutbuf: &Bound<'_, PyAny>) -> PyResult<()> {
        let m = collective::local(inbuf, inoutbuf)?;
        let op = self.raw();
        // SAFETY: both messages hold `count` entries and keep their memory until after the call.
        gil::blocking(py, || unsafe {
            MPI_Reduce_local_c(m.send.address, m.receive.address, m.count(), m.datatype(), op)
        })
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
