//! Communicators: construction, comparison, hints, attributes, error handlers and names (MPI 5.0 chapter 7).

use pyo3::prelude::*;
use pyo3::types::PyType;

use super::{Comm, Intercomm, Intracomm, created};
use crate::attribute::{self, Kind};
use crate::callback;
use crate::errhandler::{self, Errhandler};
use crate::error::check;
use crate::ffi::*;
use crate::gil;
use crate::group::{self, Group};
use crate::handle::{self, Handle as _};
use crate::info::Info;
use crate::init;
use crate::patience::{self, met};
use crate::request::{Keep, Request};
use crate::text::{self, Text};

/// The class of a communicator derived from this one: intra from intra, inter from inter.
pub(super) fn derived_class<'py>(slf: &Bound<'py, Comm>) -> Bound<'py, PyType> {
    let py = slf.py();
    if slf.is_instance_of::<Intracomm>() {
        py.get_type::<Intracomm>()
    } else if slf.is_instance_of::<Intercomm>() {
        py.get_type::<Intercomm>()
    } else {
        py.get_type::<Comm>()
    }
}

/// A nonblocking duplicate: the library may fill the handle in only when the request completes, so it gets the place in
/// the new object, which the request keeps alive.
fn idup<'py>(slf: &Bound<'py, Comm>, info: Option<MPI_Info>) -> PyResult<(Bound<'py, PyAny>, Bound<'py, Request>)> {
    let py = slf.py();
    let object = handle::instance::<Comm>(&slf.get_type(), MPI_COMM_NULL)?;
    let raw = slf.get().raw();
    let place = object.cast::<Comm>()?.get().cell().address() as *mut MPI_Comm;
    // SAFETY: `place` lies in an object that the request keeps; the request pointer is valid for the call.
    let request = Request::start(py, Keep::Object(object.clone().unbind()), |request| unsafe {
        match info {
            Some(info) => MPI_Comm_idup_with_info(raw, info, place, request),
            None => MPI_Comm_idup(raw, place, request),
        }
    })?;
    init::set_comm_errhandler(object.cast::<Comm>()?.get().raw())?;
    Ok((object, request))
}

#[pymethods]
impl Comm {
    /// Get_group(self) -> Group
    ///
    /// Return the group of the communicator; of an intercommunicator the local one. Local.
    fn Get_group<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let raw = self.raw();
        // SAFETY: the result pointer is valid for the write.
        group::from_call(py, |out| unsafe { MPI_Comm_group(raw, out) })
    }

    /// group: Group
    ///
    /// Group.
    #[getter]
    fn group<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.Get_group(py)
    }

    /// Get_size(self) -> int
    ///
    /// Return the number of processes in the communicator. Local.
    fn Get_size(&self) -> PyResult<c_int> {
        self.size_now()
    }

    /// size: int
    ///
    /// Number of processes.
    #[getter]
    fn size(&self) -> PyResult<c_int> {
        self.size_now()
    }

    /// Get_rank(self) -> int
    ///
    /// Return the rank of this process in the communicator. Local.
    fn Get_rank(&self) -> PyResult<c_int> {
        self.rank_now()
    }

    /// rank: int
    ///
    /// Rank of this process.
    #[getter]
    fn rank(&self) -> PyResult<c_int> {
        self.rank_now()
    }

    /// Compare(self, comm: Comm) -> int
    ///
    /// Compare two communicators: `IDENT`, `CONGRUENT`, `SIMILAR` or `UNEQUAL`. Local.
    fn Compare(&self, py: Python<'_>, comm: &Bound<'_, Comm>) -> PyResult<c_int> {
        let (a, b, mut result) = (self.raw(), comm.get().raw(), MPI_UNEQUAL);
        // SAFETY: `result` is valid for the write.
        gil::blocking(py, || unsafe { MPI_Comm_compare(a, b, &mut result) })?;
        Ok(result)
    }

    /// Clone(self) -> Self
    ///
    /// Return a duplicate: same group and attributes, new context. Collective, blocks.
    fn Clone<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        let raw = slf.get().raw();
        // SAFETY: the result pointer is valid for the write.
        created(&slf.get_type(), |out| unsafe { met(raw, || MPI_Comm_dup(raw, out)) })
    }

    /// Dup(self, info: Info | None = None) -> Self
    ///
    /// Return a duplicate: same group and attributes, new context, hints from `info`. Collective, blocks.
    #[pyo3(signature = (info=None))]
    fn Dup<'py>(slf: &Bound<'py, Self>, info: Option<&Bound<'py, Info>>) -> PyResult<Bound<'py, PyAny>> {
        match info {
            Some(info) => Self::Dup_with_info(slf, info),
            None => Self::Clone(slf),
        }
    }

    /// Dup_with_info(self, info: Info) -> Self
    ///
    /// Return a duplicate with hints from `info`. Collective, blocks.
    fn Dup_with_info<'py>(slf: &Bound<'py, Self>, info: &Bound<'py, Info>) -> PyResult<Bound<'py, PyAny>> {
        let (raw, info) = (slf.get().raw(), info.get().raw());
        // SAFETY: the result pointer is valid for the write.
        created(&slf.get_type(), |out| unsafe { met(raw, || MPI_Comm_dup_with_info(raw, info, out)) })
    }

    /// Idup(self, info: Info | None = None) -> tuple[Self, Request]
    ///
    /// Start to duplicate; the result may be used once the request is complete. Collective, does not block.
    #[pyo3(signature = (info=None))]
    fn Idup<'py>(
        slf: &Bound<'py, Self>,
        info: Option<&Bound<'py, Info>>,
    ) -> PyResult<(Bound<'py, PyAny>, Bound<'py, Request>)> {
        idup(slf, info.map(|info| info.get().raw()))
    }

    /// Idup_with_info(self, info: Info) -> tuple[Self, Request]
    ///
    /// Start to duplicate with hints from `info`. Collective, does not block.
    fn Idup_with_info<'py>(
        slf: &Bound<'py, Self>,
        info: &Bound<'py, Info>,
    ) -> PyResult<(Bound<'py, PyAny>, Bound<'py, Request>)> {
        idup(slf, Some(info.get().raw()))
    }

    /// Create(self, group: Group) -> Comm
    ///
    /// Return a communicator of a subgroup; a null one on processes outside. Collective, blocks.
    fn Create<'py>(slf: &Bound<'py, Self>, group: &Bound<'py, Group>) -> PyResult<Bound<'py, PyAny>> {
        let (raw, group) = (slf.get().raw(), group.get().raw());
        // SAFETY: the result pointer is valid for the write.
        created(&derived_class(slf), |out| unsafe { met(raw, || MPI_Comm_create(raw, group, out)) })
    }

    /// Split(self, color: int = 0, key: int = 0) -> Comm
    ///
    /// Return the communicator of the processes with the same color, ordered by key. Collective, blocks.
    ///
    /// A null communicator is returned for color `UNDEFINED`.
    #[pyo3(signature = (color=0, key=0))]
    fn Split<'py>(slf: &Bound<'py, Self>, color: c_int, key: c_int) -> PyResult<Bound<'py, PyAny>> {
        let raw = slf.get().raw();
        // SAFETY: the result pointer is valid for the write.
        created(&derived_class(slf), |out| unsafe { met(raw, || MPI_Comm_split(raw, color, key, out)) })
    }

    /// Split_type(self, split_type: int, key: int = 0, info: Info = INFO_NULL) -> Comm
    ///
    /// Return the communicator of the processes that share a kind of resource. Collective, blocks.
    #[pyo3(signature = (split_type, key=0, info=None))]
    fn Split_type<'py>(
        slf: &Bound<'py, Self>,
        split_type: c_int,
        key: c_int,
        info: Option<&Bound<'py, Info>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let (raw, info) = (slf.get().raw(), handle::raw_or_null(info));
        // SAFETY: the result pointer is valid for the write.
        created(&derived_class(slf), |out| unsafe { met(raw, || MPI_Comm_split_type(raw, split_type, key, info, out)) })
    }

    /// Free(self) -> None
    ///
    /// Free the communicator. Collective, blocks.
    pub(crate) fn Free(&self, py: Python<'_>) -> PyResult<()> {
        let (before, mut raw) = (self.raw(), self.raw());
        // SAFETY: the pointer is valid for the call.
        gil::blocking(py, || unsafe { MPI_Comm_free(&mut raw) })?;
        patience::forget(before);
        self.forget();
        self.cell().set(if handle::is_constant(self) { before } else { raw });
        Ok(())
    }

    /// Disconnect(self) -> None
    ///
    /// Complete all communication on the communicator and free it. Collective, blocks.
    fn Disconnect(&self, py: Python<'_>) -> PyResult<()> {
        let (before, mut raw) = (self.raw(), self.raw());
        // SAFETY: the pointer is valid for the call.
        gil::blocking(py, || unsafe { MPI_Comm_disconnect(&mut raw) })?;
        patience::forget(before);
        self.forget();
        self.cell().set(if handle::is_constant(self) { before } else { raw });
        Ok(())
    }

    /// Set_info(self, info: Info) -> None
    ///
    /// Set hints. Collective.
    fn Set_info(&self, py: Python<'_>, info: &Bound<'_, Info>) -> PyResult<()> {
        let (raw, info) = (self.raw(), info.get().raw());
        // SAFETY: passes values; the library checks them.
        gil::blocking(py, || unsafe { MPI_Comm_set_info(raw, info) })
    }

    /// Get_info(self) -> Info
    ///
    /// Return the hints in use. Local.
    fn Get_info<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let raw = self.raw();
        // SAFETY: the result pointer is valid for the write.
        handle::create_blocking::<Info>(&py.get_type::<Info>(), |out| unsafe { MPI_Comm_get_info(raw, out) })
    }

    /// info: Info
    ///
    /// Info hints.
    #[getter]
    fn info<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.Get_info(py)
    }

    #[setter]
    fn set_info(&self, py: Python<'_>, info: &Bound<'_, Info>) -> PyResult<()> {
        self.Set_info(py, info)
    }

    /// Is_inter(self) -> bool
    ///
    /// Return whether this is an intercommunicator. Local.
    fn Is_inter(&self) -> PyResult<bool> {
        self.inter_now()
    }

    /// is_inter: bool
    ///
    /// Is intercommunicator.
    #[getter]
    fn is_inter(&self) -> PyResult<bool> {
        self.inter_now()
    }

    /// Is_intra(self) -> bool
    ///
    /// Return whether this is an intracommunicator. Local.
    fn Is_intra(&self) -> PyResult<bool> {
        self.inter_now().map(|inter| !inter)
    }

    /// is_intra: bool
    ///
    /// Is intracommunicator.
    #[getter]
    fn is_intra(&self) -> PyResult<bool> {
        self.Is_intra()
    }

    /// Get_attr(self, keyval: int) -> int | Any | None
    ///
    /// Return an attribute, `None` when it is not set. Local.
    fn Get_attr(&self, py: Python<'_>, keyval: c_int) -> PyResult<Py<PyAny>> {
        attribute::get(py, Kind::Comm, self.raw().0, keyval)
    }

    /// Set_attr(self, keyval: int, attrval: Any) -> None
    ///
    /// Set an attribute. Local.
    fn Set_attr(&self, keyval: c_int, attrval: &Bound<'_, PyAny>) -> PyResult<()> {
        attribute::set(Kind::Comm, self.raw().0, keyval, attrval)
    }

    /// Delete_attr(self, keyval: int) -> None
    ///
    /// Delete an attribute, calling its delete function. Local.
    fn Delete_attr(&self, py: Python<'_>, keyval: c_int) -> PyResult<()> {
        attribute::delete(py, Kind::Comm, self.raw().0, keyval)
    }

    /// Create_keyval(cls, copy_fn=None, delete_fn=None, nopython: bool = False) -> int
    ///
    /// Create an attribute key. Local.
    ///
    /// `copy_fn(comm, keyval, value)` returns the duplicate's value, or `NotImplemented` for none; `True` copies as it is.
    /// `delete_fn(comm, keyval, value)` is called on deletion. With `nopython` values are addresses.
    #[classmethod]
    #[pyo3(signature = (copy_fn=None, delete_fn=None, nopython=false))]
    fn Create_keyval<'py>(
        _cls: &Bound<'py, PyType>,
        copy_fn: Option<&Bound<'py, PyAny>>,
        delete_fn: Option<&Bound<'py, PyAny>>,
        nopython: bool,
    ) -> PyResult<c_int> {
        attribute::create_keyval(Kind::Comm, copy_fn, delete_fn, nopython)
    }

    /// Free_keyval(cls, keyval: int) -> int
    ///
    /// Free an attribute key; return `KEYVAL_INVALID`. Local.
    #[classmethod]
    fn Free_keyval(cls: &Bound<'_, PyType>, keyval: c_int) -> PyResult<c_int> {
        attribute::free_keyval(cls.py(), Kind::Comm, keyval)
    }

    /// Create_errhandler(cls, errhandler_fn: Callable[[Comm, int], None]) -> Errhandler
    ///
    /// Create an error handler that calls a function with the communicator and the error code. Local.
    #[classmethod]
    fn Create_errhandler<'py>(
        cls: &Bound<'py, PyType>,
        errhandler_fn: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let (function, _until_made) = callback::error_handler(callback::Kind::Comm, errhandler_fn)?;
        // SAFETY: the callback lives as long as the process; the result pointer is valid for the write.
        handle::create::<Errhandler>(&cls.py().get_type::<Errhandler>(), |out| unsafe {
            MPI_Comm_create_errhandler(function, out)
        })
    }

    /// Get_errhandler(self) -> Errhandler
    ///
    /// Return the error handler in use. Local.
    fn Get_errhandler<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let raw = self.raw();
        // SAFETY: the result pointer is valid for the write.
        handle::create::<Errhandler>(&py.get_type::<Errhandler>(), |out| unsafe { MPI_Comm_get_errhandler(raw, out) })
    }

    /// Set_errhandler(self, errhandler: Errhandler) -> None
    ///
    /// Set the error handler. Local.
    fn Set_errhandler(&self, errhandler: &Bound<'_, Errhandler>) -> PyResult<()> {
        // SAFETY: passes values; the library checks them.
        check(unsafe { MPI_Comm_set_errhandler(self.raw(), errhandler.get().raw()) })
    }

    /// Call_errhandler(self, errorcode: int) -> None
    ///
    /// Call the error handler with an error code. Local.
    fn Call_errhandler(&self, py: Python<'_>, errorcode: c_int) -> PyResult<()> {
        let raw = self.raw();
        // SAFETY: passes values; the library checks them.
        gil::blocking(py, || unsafe { MPI_Comm_call_errhandler(raw, errorcode) })
    }

    /// Abort(self, errorcode: int = 0) -> NoReturn
    ///
    /// End the job at once, all processes of the communicator at least. Skips Python's cleanup.
    #[pyo3(signature = (errorcode=0))]
    fn Abort(&self, py: Python<'_>, errorcode: c_int) -> PyResult<()> {
        init::flush_output(py);
        let raw = self.raw();
        // SAFETY: passes values.
        gil::blocking(py, || unsafe { MPI_Abort(raw, errorcode) })
    }

    /// Get_name(self) -> str
    ///
    /// Return the name. Local.
    fn Get_name(&self) -> PyResult<String> {
        let mut name = [0; MPI_MAX_OBJECT_NAME as usize + 1];
        let mut length = 0;
        // SAFETY: the array has the room the standard asks for.
        check(unsafe { MPI_Comm_get_name(self.raw(), name.as_mut_ptr(), &mut length) })?;
        Ok(text::from_c(&name, length))
    }

    /// Set_name(self, name: str) -> None
    ///
    /// Set the name, for debugging and error messages. Local.
    fn Set_name(&self, name: Text) -> PyResult<()> {
        // SAFETY: the string is NUL-terminated and outlives the call.
        check(unsafe { MPI_Comm_set_name(self.raw(), name.as_ptr()) })
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

#[pymethods]
impl Intracomm {
    /// Create_group(self, group: Group, tag: int = 0) -> Intracomm
    ///
    /// Return a communicator of a subgroup. Collective over the group only, blocks.
    #[pyo3(signature = (group, tag=0))]
    fn Create_group<'py>(slf: &Bound<'py, Self>, group: &Bound<'py, Group>, tag: c_int) -> PyResult<Bound<'py, PyAny>> {
        let (raw, group) = (slf.as_super().get().raw(), group.get().raw());
        // SAFETY: the result pointer is valid for the write.
        created(&slf.py().get_type::<Intracomm>(), |out| unsafe { MPI_Comm_create_group(raw, group, tag, out) })
    }

    /// Create_from_group(cls, group, stringtag='org.mpi4py', info=INFO_NULL, errhandler=None) -> Intracomm
    ///
    /// Return a communicator of a group, without a parent communicator. Collective, blocks.
    #[classmethod]
    #[pyo3(signature = (group, stringtag=None, info=None, errhandler=None))]
    fn Create_from_group<'py>(
        cls: &Bound<'py, PyType>,
        group: &Bound<'py, Group>,
        stringtag: Option<Text>,
        info: Option<&Bound<'py, Info>>,
        errhandler: Option<&Bound<'py, Errhandler>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let (group, info) = (group.get().raw(), handle::raw_or_null(info));
        let errhandler = errhandler::argument(errhandler);
        let tag = stringtag.as_ref().map_or(c"org.mpi4py".as_ptr(), Text::as_ptr);
        // SAFETY: the tag is NUL-terminated and outlives the call; the result pointer is valid for the write.
        handle::create_blocking::<Comm>(&cls.py().get_type::<Intracomm>(), |out| unsafe {
            MPI_Comm_create_from_group(group, tag, info, errhandler, out)
        })
    }

    /// Create_intercomm(self, local_leader: int, peer_comm: Intracomm, remote_leader: int, tag: int = 0) -> Intercomm
    ///
    /// Return an intercommunicator between this group and another one. Collective over both, blocks.
    #[pyo3(signature = (local_leader, peer_comm, remote_leader, tag=0))]
    fn Create_intercomm<'py>(
        slf: &Bound<'py, Self>,
        local_leader: c_int,
        peer_comm: &Bound<'py, Intracomm>,
        remote_leader: c_int,
        tag: c_int,
    ) -> PyResult<Bound<'py, PyAny>> {
        let (raw, peer) = (slf.as_super().get().raw(), peer_comm.as_super().get().raw());
        // SAFETY: the result pointer is valid for the write.
        created(&slf.py().get_type::<Intercomm>(), |out| unsafe {
            MPI_Intercomm_create(raw, local_leader, peer, remote_leader, tag, out)
        })
    }
}

#[pymethods]
impl Intercomm {
    /// Create_from_groups(cls, local_group, local_leader, remote_group, remote_leader, stringtag='org.mpi4py', info=INFO_NULL, errhandler=None) -> Intercomm
    ///
    /// Return an intercommunicator between two groups. Collective, blocks.
    #[classmethod]
    #[pyo3(signature = (local_group, local_leader, remote_group, remote_leader, stringtag=None, info=None, errhandler=None))]
    #[expect(clippy::too_many_arguments, reason = "the standard's arguments")]
    fn Create_from_groups<'py>(
        cls: &Bound<'py, PyType>,
        local_group: &Bound<'py, Group>,
        local_leader: c_int,
        remote_group: &Bound<'py, Group>,
        remote_leader: c_int,
        stringtag: Option<Text>,
        info: Option<&Bound<'py, Info>>,
        errhandler: Option<&Bound<'py, Errhandler>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let (local, remote) = (local_group.get().raw(), remote_group.get().raw());
        let (info, errhandler) = (handle::raw_or_null(info), errhandler::argument(errhandler));
        let tag = stringtag.as_ref().map_or(c"org.mpi4py".as_ptr(), Text::as_ptr);
        // SAFETY: the tag is NUL-terminated and outlives the call; the result pointer is valid for the write.
        handle::create_blocking::<Comm>(&cls.py().get_type::<Intercomm>(), |out| unsafe {
            MPI_Intercomm_create_from_groups(local, local_leader, remote, remote_leader, tag, info, errhandler, out)
        })
    }

    /// Get_remote_group(self) -> Group
    ///
    /// Return the group on the other side. Local.
    fn Get_remote_group<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        let raw = slf.as_super().get().raw();
        // SAFETY: the result pointer is valid for the write.
        group::from_call(slf.py(), |out| unsafe { MPI_Comm_remote_group(raw, out) })
    }

    /// remote_group: Group
    ///
    /// Remote group.
    #[getter]
    fn remote_group<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        Self::Get_remote_group(slf)
    }

    /// Get_remote_size(self) -> int
    ///
    /// Return the number of processes on the other side. Local.
    fn Get_remote_size(slf: &Bound<'_, Self>) -> PyResult<c_int> {
        let mut size = 0;
        // SAFETY: `size` is valid for the write.
        check(unsafe { MPI_Comm_remote_size(slf.as_super().get().raw(), &mut size) })?;
        Ok(size)
    }

    /// remote_size: int
    ///
    /// Number of remote processes.
    #[getter]
    fn remote_size(slf: &Bound<'_, Self>) -> PyResult<c_int> {
        Self::Get_remote_size(slf)
    }

    /// Merge(self, high: bool = False) -> Intracomm
    ///
    /// Return an intracommunicator of both groups, those with `high` last. Collective over both, blocks.
    #[pyo3(signature = (high=false))]
    fn Merge<'py>(slf: &Bound<'py, Self>, high: bool) -> PyResult<Bound<'py, PyAny>> {
        let raw = slf.as_super().get().raw();
        // SAFETY: the result pointer is valid for the write.
        created(&slf.py().get_type::<Intracomm>(), |out| unsafe {
            met(raw, || MPI_Intercomm_merge(raw, c_int::from(high), out))
        })
    }
}
