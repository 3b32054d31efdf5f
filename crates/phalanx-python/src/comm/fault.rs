//! Fault tolerance (ULFM): mpi4py's methods for it. The standard ABI has no functions for them; the embedded engine has.

use std::sync::Arc;

use pyo3::exceptions::{PyNotImplementedError, PyValueError};
use pyo3::prelude::*;

use super::manage::derived_class;
use super::{Comm, created};
use crate::buffer::{Access, View};
use crate::error::check;
use crate::extras::{self, Fault};
use crate::ffi::*;
use crate::gil;
use crate::group;
use crate::handle::{self, Handle as _};
use crate::request::{Held, Keep, Request};

/// The functions, or the error of a library without them.
fn need(method: &str) -> PyResult<&'static Fault> {
    extras::get().fault.as_ref().ok_or_else(|| {
        let text = "this MPI library has no fault tolerance (ULFM) in the MPI 5.0 ABI; the embedded engine has";
        PyNotImplementedError::new_err(format!("{method}: {text}"))
    })
}

/// The flag of an agreement under way.
struct Flag {
    _memory: View,
}

impl Held for Flag {}

#[pymethods]
impl Comm {
    /// Revoke(self) -> None
    ///
    /// Make the communicator useless at all its processes. Not collective.
    ///
    /// What waits on it, or begins, raises `ERR_REVOKED`, except agreeing and shrinking.
    fn Revoke(&self, py: Python<'_>) -> PyResult<()> {
        let (revoke, raw) = (need("Revoke")?.revoke, self.raw());
        // SAFETY: passes a handle.
        gil::blocking(py, || unsafe { revoke(raw) })
    }

    /// Is_revoked(self) -> bool
    ///
    /// Return whether the communicator is known to have been revoked. Local.
    fn Is_revoked(&self) -> PyResult<bool> {
        let (ask, raw, mut flag) = (need("Is_revoked")?.is_revoked, self.raw(), 0);
        // SAFETY: `flag` is valid for the write.
        check(unsafe { ask(raw, &mut flag) })?;
        Ok(flag != 0)
    }

    /// Get_failed(self) -> Group
    ///
    /// Return the group of the processes that are known to have failed, in an order to which later calls add. Local.
    fn Get_failed<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let (get, raw) = (need("Get_failed")?.get_failed, self.raw());
        // SAFETY: the result pointer is valid for the write.
        group::from_call(py, |out| unsafe { get(raw, out) })
    }

    /// Ack_failed(self, num_to_ack: int | None = None) -> int
    ///
    /// Acknowledge failed processes, and return how many have been acknowledged. Local.
    ///
    /// The first `num_to_ack` of them, all by default: receives from any source then work again, and agreements need not
    /// have them.
    #[pyo3(signature = (num_to_ack=None))]
    fn Ack_failed(&self, num_to_ack: Option<c_int>) -> PyResult<c_int> {
        let (acknowledge, raw, mut acked) = (need("Ack_failed")?.ack_failed, self.raw(), 0);
        // SAFETY: `acked` is valid for the write.
        check(unsafe { acknowledge(raw, num_to_ack.unwrap_or(c_int::MAX), &mut acked) })?;
        Ok(acked)
    }

    /// Agree(self, flag: int) -> int
    ///
    /// Return the bitwise AND of the flags of all living processes. Collective, blocks.
    ///
    /// Of an intercommunicator: of the remote ones. Raise `ERR_PROC_FAILED`, on all of them alike, when a process has failed
    /// that not all had acknowledged.
    fn Agree(&self, py: Python<'_>, flag: c_int) -> PyResult<c_int> {
        let (agree, raw, mut flag) = (need("Agree")?.agree, self.raw(), flag);
        // SAFETY: `flag` is valid for reading and writing.
        gil::blocking(py, || unsafe { agree(raw, &mut flag) })?;
        Ok(flag)
    }

    /// Iagree(self, flag: Buffer) -> Request
    ///
    /// Start an agreement on the integer in `flag`. Collective, does not block.
    ///
    /// It holds the outcome when the request is complete.
    fn Iagree<'py>(&self, py: Python<'py>, flag: &Bound<'py, PyAny>) -> PyResult<Bound<'py, Request>> {
        let (start, raw) = (need("Iagree")?.iagree, self.raw());
        let memory = View::of(flag, Access::Write, false)?;
        if memory.bytes() != size_of::<c_int>() as isize {
            let text = format!("Iagree: the flag has {} bytes; it must be one C int of 4", memory.bytes());
            return Err(PyValueError::new_err(text));
        }
        let place = memory.address().cast::<c_int>();
        // SAFETY: the request keeps the memory; the request pointer is valid for the call.
        Request::start(py, Keep::Held(Arc::new(Flag { _memory: memory })), |request| unsafe {
            start(raw, place, request)
        })
    }

    /// Shrink(self) -> Comm
    ///
    /// Return a communicator of the living processes, in the same order. Collective, blocks.
    fn Shrink<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        let (shrink, raw) = (need("Shrink")?.shrink, slf.get().raw());
        // SAFETY: the result pointer is valid for the write.
        created(&derived_class(slf), |out| unsafe { shrink(raw, out) })
    }

    /// Ishrink(self) -> tuple[Comm, Request]
    ///
    /// Start to make a communicator of the living processes. Collective, does not block.
    ///
    /// It may be used once the request is complete.
    fn Ishrink<'py>(slf: &Bound<'py, Self>) -> PyResult<(Bound<'py, PyAny>, Bound<'py, Request>)> {
        let (start, raw) = (need("Ishrink")?.ishrink, slf.get().raw());
        let object = handle::instance::<Comm>(&derived_class(slf), MPI_COMM_NULL)?;
        let place = object.cast::<Comm>()?.get().cell().address() as *mut MPI_Comm;
        // SAFETY: `place` lies in an object that the request keeps; the request pointer is valid for the call. The new
        // communicator takes over the error handler of this one.
        let request = Request::start(slf.py(), Keep::Object(object.clone().unbind()), |request| unsafe {
            start(raw, place, request)
        })?;
        Ok((object, request))
    }
}
