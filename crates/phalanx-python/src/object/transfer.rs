//! Sending parcels and receiving into fresh memory, over any MPI library.
//!
//! A receiver does not know how long a message is. The embedded engine receives a small one at once into room on the stack.
//! Otherwise the receiver asks with a matched probe, which no other thread can steal the message from, and then receives
//! into memory of that size: one message per object, whatever its shape.

use std::mem::MaybeUninit;

use phalanx_object::{Memory, Parcel, SHORT};
use pyo3::prelude::*;

use super::describe::describe;
use super::{load, load_short};
use crate::error::check;
use crate::extras;
use crate::extras::Found;
pub(crate) use crate::extras::Route;
use crate::ffi::*;
use crate::gil;

/// Messages up to this size have arrived whole once they are matched, on any library: receiving one cannot wait.
const PROMPT: usize = 4 << 10;

/// Room on the stack: for all that the embedded engine sends in one piece, which then is one call and one copy to there. (That
/// much and no more is an object that is read out of it, too.)
const ROOM: usize = 16 << 10;

/// A blocking send of MPI: standard, synchronous or buffered.
pub(crate) type SendCall =
    unsafe extern "C" fn(*const c_void, MPI_Count, MPI_Datatype, c_int, c_int, MPI_Comm) -> c_int;

/// A nonblocking send of MPI.
pub(crate) type IsendCall =
    unsafe extern "C" fn(*const c_void, MPI_Count, MPI_Datatype, c_int, c_int, MPI_Comm, *mut MPI_Request) -> c_int;

/// Sends in standard mode; gives up the interpreter lock only when the library cannot take the message at once.
///
/// # Errors
/// `MPI.Exception`.
pub(crate) fn send(py: Python<'_>, parcel: &Parcel, to: Route) -> PyResult<()> {
    // SAFETY: the parcel holds the memory that address, count and datatype describe and outlives the call.
    describe(parcel, |address, count, datatype| unsafe { extras::send(py, (address, count, datatype), to) })?
}

/// As [`send`], a message that lies in one piece.
///
/// # Errors
/// `MPI.Exception`.
#[inline]
pub(crate) fn send_bytes(py: Python<'_>, message: &[u8], to: Route) -> PyResult<()> {
    let whole = (message.as_ptr().cast(), message.len() as MPI_Count, MPI_BYTE);
    // SAFETY: the message outlives the call.
    unsafe { extras::send(py, whole, to) }
}

/// Sends in another mode, without the interpreter lock.
///
/// # Errors
/// `MPI.Exception`.
pub(crate) fn send_by(py: Python<'_>, call: SendCall, parcel: &Parcel, to: Route) -> PyResult<()> {
    describe(parcel, |address, count, datatype| {
        // SAFETY: the parcel holds the memory that address, count and datatype describe and outlives the call.
        gil::brief(py, || unsafe { call(address, count, datatype, to.peer, to.tag, to.comm) })
    })?
}

/// Starts a send; the parcel must live until the request is complete.
///
/// # Errors
/// `MPI.Exception`.
pub(crate) fn start_send(py: Python<'_>, call: IsendCall, parcel: &Parcel, to: Route) -> PyResult<MPI_Request> {
    describe(parcel, |address, count, datatype| {
        let mut request = MPI_REQUEST_NULL;
        let place = &raw mut request;
        // SAFETY: the parcel holds the memory until the request is complete; `place` is valid for the write.
        check(gil::starting(py, move || unsafe { call(address, count, datatype, to.peer, to.tag, to.comm, place) }))?;
        Ok(request)
    })?
}

/// How many bytes the message that a status describes has.
///
/// # Errors
/// `MPI.Exception`.
pub(crate) fn message_bytes(status: &MPI_Status) -> PyResult<usize> {
    let mut count = 0;
    // SAFETY: both pointers are valid for the call.
    check(unsafe { MPI_Get_count_c(status, MPI_BYTE, &mut count) })?;
    Ok(usize::try_from(count).unwrap_or(0))
}

/// Receives the object of a matched message whose size a probe told; stores the null handle.
///
/// # Errors
/// `MPI.Exception`; `MemoryError`; whatever unpickling raises.
pub(crate) fn receive_known<'py>(
    py: Python<'py>,
    message: &mut MPI_Message,
    length: usize,
    status: &mut MPI_Status,
) -> PyResult<Bound<'py, PyAny>> {
    let (place, status) = (&raw mut *message, &raw mut *status);
    if length <= SHORT {
        let mut room = [0_u8; SHORT];
        let address = room.as_mut_ptr();
        // SAFETY: there is room for the message; the other pointers are valid for the call.
        let call = || unsafe { MPI_Mrecv_c(address.cast(), length as MPI_Count, MPI_BYTE, place, status) };
        check(gil::starting(py, call))?;
        return load_short(py, &room[..length]);
    }
    let memory = Memory::for_message(length)?;
    let address = memory.address();
    // SAFETY: the memory has room for the message; the other pointers are valid for the call.
    let call = || unsafe { MPI_Mrecv_c(address, length as MPI_Count, MPI_BYTE, place, status) };
    if length <= PROMPT {
        check(gil::starting(py, call))?
    } else {
        gil::brief(py, call)?
    }
    load(py, memory)
}

/// Waits for a message and receives its object.
///
/// # Errors
/// As [`receive_known`].
pub(crate) fn receive<'py>(py: Python<'py>, from: Route, status: &mut MPI_Status) -> PyResult<Bound<'py, PyAny>> {
    let mut room = [MaybeUninit::<u8>::uninit(); ROOM];
    // SAFETY: there is room for so many bytes.
    let found = unsafe { extras::receive_or_match(py, (room.as_mut_ptr().cast(), ROOM), from, status) }?;
    let Found { mut message, length } = found;
    if message != MPI_MESSAGE_NULL {
        return receive_known(py, &mut message, length, status);
    }
    // SAFETY: a message of so many bytes, no more than there is room for, has been received.
    let bytes = unsafe { std::slice::from_raw_parts(room.as_ptr().cast(), length.min(ROOM)) };
    load_short(py, bytes)
}

/// Sends that are under way together, each with the parcel it sends.
#[derive(Default)]
pub(crate) struct Outbox {
    requests: Vec<MPI_Request>,
    parcels: Vec<Parcel>,
}

impl Outbox {
    /// Starts a send of a parcel.
    ///
    /// # Errors
    /// `MPI.Exception`.
    pub(crate) fn post(&mut self, py: Python<'_>, parcel: Parcel, to: Route) -> PyResult<()> {
        if let Some(message) = parcel.contiguous()
            && extras::send_now(message, to)?
        {
            return Ok(());
        }
        self.parcels.push(parcel);
        if let Some(parcel) = self.parcels.last() {
            self.requests.push(start_send(py, MPI_Isend_c, parcel, to)?);
        }
        Ok(())
    }

    /// Waits for all of the sends.
    ///
    /// # Errors
    /// `MPI.Exception`.
    pub(crate) fn wait(mut self, py: Python<'_>) -> PyResult<()> {
        self.finish(py)
    }

    fn finish(&mut self, py: Python<'_>) -> PyResult<()> {
        if self.requests.is_empty() {
            return Ok(());
        }
        let count = c_int::try_from(self.requests.len()).unwrap_or(c_int::MAX);
        let requests = self.requests.as_mut_ptr();
        // SAFETY: the array holds `count` requests; a null status array asks for none.
        let result = gil::brief(py, || unsafe { MPI_Waitall(count, requests, std::ptr::null_mut()) });
        self.requests.clear();
        result
    }
}

impl Drop for Outbox {
    /// After an error in between: the parcels may not go away under a send.
    fn drop(&mut self) {
        if !self.requests.is_empty() {
            let _ = Python::try_attach(|py| self.finish(py));
        }
    }
}
