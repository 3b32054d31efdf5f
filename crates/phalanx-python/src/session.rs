//! `MPI.Session`: MPI without a world (MPI 5.0 section 11.3).

use pyo3::prelude::*;

use crate::ffi::*;
use crate::handle::{self, Handle, HandleCell, handle_methods};

/// Session(session: Session | None = None)
///
/// A local use of MPI that starts from process sets.
#[pyclass(module = "phalanx.MPI", subclass, frozen, weakref)]
pub(crate) struct Session {
    handle: HandleCell<MPI_Session>,
}

impl Handle for Session {
    type Raw = MPI_Session;

    fn cell(&self) -> &HandleCell<MPI_Session> {
        &self.handle
    }

    fn release(slf: &Bound<'_, Self>) -> PyResult<()> {
        slf.get().handle.set(MPI_Session(0));
        Ok(())
    }
}

handle_methods!(Session, MPI_Session, handle::reduce);

#[pymethods]
impl Session {
    #[new]
    #[pyo3(signature = (session=None))]
    fn new(session: Option<&Bound<'_, Session>>) -> Self {
        Session { handle: HandleCell::new(handle::raw_or_null(session)) }
    }
}

/// Adds the class and its constants to the module.
pub(crate) fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add_class::<Session>()?;
    handle::add_constant::<Session>(m, "SESSION_NULL", MPI_SESSION_NULL)?;
    Ok(())
}
