//! `MPI.Info`: hints as text under text keys (MPI 5.0 chapter 10).

use pyo3::prelude::*;

use crate::ffi::*;
use crate::handle::{self, Handle, HandleCell, handle_methods};

/// Info(info: Info | None = None)
///
/// Hints: text values under text keys.
#[pyclass(module = "phalanx.MPI", subclass, frozen, weakref)]
pub(crate) struct Info {
    handle: HandleCell<MPI_Info>,
}

impl Handle for Info {
    type Raw = MPI_Info;

    fn cell(&self) -> &HandleCell<MPI_Info> {
        &self.handle
    }

    fn release(slf: &Bound<'_, Self>) -> PyResult<()> {
        slf.get().handle.set(MPI_Info(0));
        Ok(())
    }
}

handle_methods!(Info, MPI_Info, handle::reduce);

#[pymethods]
impl Info {
    #[new]
    #[pyo3(signature = (info=None))]
    fn new(info: Option<&Bound<'_, Info>>) -> Self {
        Info { handle: HandleCell::new(handle::raw_or_null(info)) }
    }
}

/// Adds the class and its constants to the module.
pub(crate) fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add_class::<Info>()?;
    handle::add_constant::<Info>(m, "INFO_NULL", MPI_INFO_NULL)?;
    handle::add_constant::<Info>(m, "INFO_ENV", MPI_INFO_ENV)?;
    Ok(())
}
