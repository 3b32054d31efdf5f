//! `MPI.Errhandler`: what happens on an error (MPI 5.0 section 9.3).

use pyo3::prelude::*;

use crate::error::check;
use crate::ffi::*;
use crate::handle::{self, Handle, HandleCell, handle_methods};

/// An error handler of a communicator, window, file or session.
#[pyclass(module = "phalanx.MPI", subclass, frozen, weakref)]
#[repr(C)] // what compiled code for mpi4py reads comes first
pub(crate) struct Errhandler {
    handle: HandleCell<MPI_Errhandler>,
}

impl Handle for Errhandler {
    type Raw = MPI_Errhandler;

    fn cell(&self) -> &HandleCell<MPI_Errhandler> {
        &self.handle
    }

    /// `Get_errhandler` of an object returns a reference that has to be freed, even to a predefined handler.
    fn is_predefined(raw: MPI_Errhandler) -> bool {
        raw == MPI_ERRHANDLER_NULL
    }

    fn release(slf: &Bound<'_, Self>) -> PyResult<()> {
        slf.get().Free()
    }

    const OUTLIVES_WORLD: bool = true;
}

handle_methods!(Errhandler, MPI_Errhandler, handle::reduce);

#[pymethods]
impl Errhandler {
    #[new]
    #[pyo3(signature = (errhandler=None))]
    fn new(errhandler: Option<&Bound<'_, Errhandler>>) -> Self {
        Errhandler { handle: HandleCell::new(handle::raw_or_null(errhandler)) }
    }

    /// Free(self) -> None
    ///
    /// Free the error handler; objects that use it keep it. Local.
    fn Free(&self) -> PyResult<()> {
        let constant = handle::is_constant(self);
        let before = self.raw();
        // SAFETY: the library checks and replaces the handle.
        check(self.handle.update(|raw| unsafe { MPI_Errhandler_free(raw) }))?;
        if constant {
            self.handle.set(before);
        }
        Ok(())
    }
}

/// The handler an optional argument names; by default the one that `rc.errors` asks for.
pub(crate) fn argument(errhandler: Option<&Bound<'_, Errhandler>>) -> MPI_Errhandler {
    match errhandler {
        Some(errhandler) => errhandler.get().raw(),
        None => crate::init::default_errhandler().unwrap_or(MPI_ERRORS_ARE_FATAL),
    }
}

/// Adds the class and its constants to the module.
pub(crate) fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add_class::<Errhandler>()?;
    handle::add_constant::<Errhandler>(m, "ERRHANDLER_NULL", MPI_ERRHANDLER_NULL)?;
    handle::add_constant::<Errhandler>(m, "ERRORS_RETURN", MPI_ERRORS_RETURN)?;
    handle::add_constant::<Errhandler>(m, "ERRORS_ABORT", MPI_ERRORS_ABORT)?;
    handle::add_constant::<Errhandler>(m, "ERRORS_ARE_FATAL", MPI_ERRORS_ARE_FATAL)
}
