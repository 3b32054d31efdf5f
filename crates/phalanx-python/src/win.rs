//! `MPI.Win`: memory that other processes reach (MPI 5.0 chapter 12).

use pyo3::prelude::*;

use crate::ffi::*;
use crate::handle::{self, Handle, HandleCell, handle_methods};

/// Win(win: Win | None = None)
///
/// A window: memory that other processes may read and write.
#[pyclass(module = "phalanx.MPI", subclass, frozen, weakref)]
pub(crate) struct Win {
    handle: HandleCell<MPI_Win>,
}

impl Handle for Win {
    type Raw = MPI_Win;

    fn cell(&self) -> &HandleCell<MPI_Win> {
        &self.handle
    }

    fn release(slf: &Bound<'_, Self>) -> PyResult<()> {
        slf.get().handle.set(MPI_Win(0));
        Ok(())
    }
}

handle_methods!(Win, MPI_Win, handle::reduce);

#[pymethods]
impl Win {
    #[new]
    #[pyo3(signature = (win=None))]
    fn new(win: Option<&Bound<'_, Win>>) -> Self {
        Win { handle: HandleCell::new(handle::raw_or_null(win)) }
    }
}

/// Adds the class and its constants to the module.
pub(crate) fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add_class::<Win>()?;
    handle::add_constant::<Win>(m, "WIN_NULL", MPI_WIN_NULL)?;
    Ok(())
}
