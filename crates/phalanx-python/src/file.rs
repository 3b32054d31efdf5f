//! `MPI.File`: files that processes share (MPI 5.0 chapter 14).

use pyo3::prelude::*;

use crate::ffi::*;
use crate::handle::{self, Handle, HandleCell, handle_methods};

/// File(file: File | None = None)
///
/// A file opened by a group of processes.
#[pyclass(module = "phalanx.MPI", subclass, frozen, weakref)]
pub(crate) struct File {
    handle: HandleCell<MPI_File>,
}

impl Handle for File {
    type Raw = MPI_File;

    fn cell(&self) -> &HandleCell<MPI_File> {
        &self.handle
    }

    fn release(slf: &Bound<'_, Self>) -> PyResult<()> {
        slf.get().handle.set(MPI_File(0));
        Ok(())
    }
}

handle_methods!(File, MPI_File, handle::reduce);

#[pymethods]
impl File {
    #[new]
    #[pyo3(signature = (file=None))]
    fn new(file: Option<&Bound<'_, File>>) -> Self {
        File { handle: HandleCell::new(handle::raw_or_null(file)) }
    }
}

/// Adds the class and its constants to the module.
pub(crate) fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add_class::<File>()?;
    handle::add_constant::<File>(m, "FILE_NULL", MPI_FILE_NULL)?;
    Ok(())
}
