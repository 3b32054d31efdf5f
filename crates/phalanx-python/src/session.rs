//! `MPI.Session`: MPI without a world (MPI 5.0 section 11.3).

use pyo3::prelude::*;
use pyo3::types::PyType;

use crate::callback;
use crate::errhandler::{self, Errhandler};
use crate::error::check;
use crate::ffi::*;
use crate::gil;
use crate::group::Group;
use crate::handle::{self, Handle, HandleCell, Raw as _, handle_methods};
use crate::info::Info;
use crate::init::names;
use crate::memory;
use crate::request::{Keep, Request};
use crate::text::{self, Text};

/// A local use of MPI that starts from process sets.
#[pyclass(module = "phalanx.MPI", subclass, frozen, weakref)]
#[repr(C)] // what compiled code for mpi4py reads comes first
pub(crate) struct Session {
    handle: HandleCell<MPI_Session>,
}

impl Handle for Session {
    type Raw = MPI_Session;

    fn cell(&self) -> &HandleCell<MPI_Session> {
        &self.handle
    }

    fn release(slf: &Bound<'_, Self>) -> PyResult<()> {
        slf.get().Finalize(slf.py())
    }

    const OUTLIVES_WORLD: bool = true;
}

handle_methods!(Session, MPI_Session, handle::reduce);

#[pymethods]
impl Session {
    #[new]
    #[pyo3(signature = (session=None))]
    fn new(session: Option<&Bound<'_, Session>>) -> Self {
        Session { handle: HandleCell::new(handle::raw_or_null(session)) }
    }

    /// Init(cls, info: Info = INFO_NULL, errhandler: Errhandler | None = None) -> Self
    ///
    /// Start a session. Local.
    #[classmethod]
    #[pyo3(signature = (info=None, errhandler=None))]
    fn Init<'py>(
        cls: &Bound<'py, PyType>,
        info: Option<&Bound<'py, Info>>,
        errhandler: Option<&Bound<'py, Errhandler>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let (info, errhandler) = (handle::raw_or_null(info), errhandler::argument(errhandler));
        names::session_begins();
        // SAFETY: the result pointer is valid for the write.
        handle::create_blocking::<Session>(cls, |out| unsafe { MPI_Session_init(info, errhandler, out) })
    }

    /// Finalize(self) -> None
    ///
    /// End the session. Blocks until its communication is complete.
    fn Finalize(&self, py: Python<'_>) -> PyResult<()> {
        let (before, mut raw) = (self.raw(), self.raw());
        // SAFETY: the pointer is valid for the call.
        gil::blocking(py, || unsafe { MPI_Session_finalize(&mut raw) })?;
        self.handle.set(if handle::is_constant(self) { before } else { raw });
        Ok(())
    }

    /// Get_num_psets(self, info: Info = INFO_NULL) -> int
    ///
    /// Return the number of process sets. Local.
    #[pyo3(signature = (info=None))]
    fn Get_num_psets(&self, info: Option<&Bound<'_, Info>>) -> PyResult<c_int> {
        let mut count = 0;
        // SAFETY: `count` is valid for the write.
        check(unsafe { MPI_Session_get_num_psets(self.raw(), handle::raw_or_null(info), &mut count) })?;
        Ok(count)
    }

    /// Get_nth_pset(self, n: int, info: Info = INFO_NULL) -> str
    ///
    /// Return the name of the n-th process set, counted from 0. Local.
    #[pyo3(signature = (n, info=None))]
    fn Get_nth_pset(&self, n: c_int, info: Option<&Bound<'_, Info>>) -> PyResult<String> {
        let mut name = [0; MPI_MAX_PSET_NAME_LEN as usize + 1];
        let mut length = MPI_MAX_PSET_NAME_LEN;
        // SAFETY: the array has the room that `length` says.
        check(unsafe {
            MPI_Session_get_nth_pset(self.raw(), handle::raw_or_null(info), n, &mut length, name.as_mut_ptr())
        })?;
        Ok(text::from_c(&name, MPI_MAX_PSET_NAME_LEN))
    }

    /// Get_info(self) -> Info
    ///
    /// Return the hints in use. Local.
    fn Get_info<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let raw = self.raw();
        // SAFETY: the result pointer is valid for the write.
        handle::create::<Info>(&py.get_type::<Info>(), |out| unsafe { MPI_Session_get_info(raw, out) })
    }

    /// Get_pset_info(self, pset_name: str) -> Info
    ///
    /// Return facts about a process set. Local.
    fn Get_pset_info<'py>(&self, py: Python<'py>, pset_name: Text) -> PyResult<Bound<'py, PyAny>> {
        let raw = self.raw();
        // SAFETY: the name is NUL-terminated; the result pointer is valid for the write.
        handle::create::<Info>(&py.get_type::<Info>(), |out| unsafe {
            MPI_Session_get_pset_info(raw, pset_name.as_ptr(), out)
        })
    }

    /// Create_group(self, pset_name: str) -> Group
    ///
    /// Return the group of a process set. Local.
    fn Create_group<'py>(&self, py: Python<'py>, pset_name: Text) -> PyResult<Bound<'py, PyAny>> {
        let raw = self.raw();
        // SAFETY: the name is NUL-terminated; the result pointer is valid for the write.
        handle::create::<Group>(&py.get_type::<Group>(), |out| unsafe {
            MPI_Group_from_session_pset(raw, pset_name.as_ptr(), out)
        })
    }

    /// Attach_buffer(self, buf: Buffer | None) -> None
    ///
    /// Lend MPI the memory that buffered sends of this session copy messages into.
    fn Attach_buffer(&self, buf: &Bound<'_, PyAny>) -> PyResult<()> {
        let raw = self.raw();
        // SAFETY: the view is held until the buffer is detached.
        memory::attach(buf, Some(raw.bits()), |base, size| unsafe { MPI_Session_attach_buffer_c(raw, base, size) })
    }

    /// Detach_buffer(self) -> Buffer | None
    ///
    /// Wait until all buffered messages are on their way, and take the memory back.
    fn Detach_buffer(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        let raw = self.raw();
        // SAFETY: both pointers are valid for the writes.
        memory::detach(py, Some(raw.bits()), |base, size| unsafe { MPI_Session_detach_buffer_c(raw, base, size) })
    }

    /// Flush_buffer(self) -> None
    ///
    /// Wait until all buffered messages are on their way.
    fn Flush_buffer(&self, py: Python<'_>) -> PyResult<()> {
        let raw = self.raw();
        // SAFETY: passes a handle, which MPI checks.
        gil::blocking(py, || unsafe { MPI_Session_flush_buffer(raw) })
    }

    /// Iflush_buffer(self) -> Request
    ///
    /// Return a request that completes once all buffered messages are on their way. Does not block.
    fn Iflush_buffer<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, Request>> {
        let raw = self.raw();
        // SAFETY: `request` is valid for the write; MPI checks the handle.
        Request::start(py, Keep::Nothing, |request| unsafe { MPI_Session_iflush_buffer(raw, request) })
    }

    /// Create_errhandler(cls, errhandler_fn: Callable[[Session, int], None]) -> Errhandler
    ///
    /// Create an error handler that calls a function with the session and the error code. Local.
    #[classmethod]
    fn Create_errhandler<'py>(
        cls: &Bound<'py, PyType>,
        errhandler_fn: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let (function, _until_made) = callback::error_handler(callback::Kind::Session, errhandler_fn)?;
        // SAFETY: the callback lives as long as the process; the result pointer is valid for the write.
        handle::create::<Errhandler>(&cls.py().get_type::<Errhandler>(), |out| unsafe {
            MPI_Session_create_errhandler(function, out)
        })
    }

    /// Get_errhandler(self) -> Errhandler
    ///
    /// Return the error handler in use. Local.
    fn Get_errhandler<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let raw = self.raw();
        // SAFETY: the result pointer is valid for the write.
        handle::create::<Errhandler>(&py.get_type::<Errhandler>(), |out| unsafe {
            MPI_Session_get_errhandler(raw, out)
        })
    }

    /// Set_errhandler(self, errhandler: Errhandler) -> None
    ///
    /// Set the error handler. Local.
    fn Set_errhandler(&self, errhandler: &Bound<'_, Errhandler>) -> PyResult<()> {
        // SAFETY: passes values; the library checks them.
        check(unsafe { MPI_Session_set_errhandler(self.raw(), errhandler.get().raw()) })
    }

    /// Call_errhandler(self, errorcode: int) -> None
    ///
    /// Call the error handler with an error code. Local.
    fn Call_errhandler(&self, py: Python<'_>, errorcode: c_int) -> PyResult<()> {
        let raw = self.raw();
        // SAFETY: passes values; the library checks them.
        gil::blocking(py, || unsafe { MPI_Session_call_errhandler(raw, errorcode) })
    }
}

/// Adds the class and its constant to the module.
pub(crate) fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add_class::<Session>()?;
    handle::add_constant::<Session>(m, "SESSION_NULL", MPI_SESSION_NULL)
}
