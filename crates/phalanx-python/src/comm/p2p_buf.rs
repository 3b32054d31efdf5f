//! Blocking point-to-point communication of buffers, and probes (MPI 5.0 chapter 3).
//!
//! Where the library tells when it has to wait, a send or receive keeps the interpreter lock until then.

use pyo3::prelude::*;

use super::Comm;
use super::p2p_matched::{improbe, mprobe};
use crate::extras::{self, Route};
use crate::ffi::*;
use crate::gil;
use crate::handle::Handle as _;
use crate::msg::Message as Matched;
use crate::patience;
use crate::spec::Message;
use crate::status::Status;

/// Runs a call that fills a status, and copies that to the caller's object, errors or not. Nobody to tell: it is ignored.
pub(super) fn reporting<T>(status: Option<&Bound<'_, Status>>, call: impl FnOnce(*mut MPI_Status) -> T) -> T {
    let Some(status) = status else {
        return call(std::ptr::null_mut());
    };
    let mut value = status.get().get();
    let result = call(&mut value);
    status.get().set(value);
    result
}

/// The rank that decides whether a buffer that is both sent and received into is looked at at all.
pub(super) fn busier(dest: c_int, source: c_int) -> c_int {
    if source != MPI_PROC_NULL { source } else { dest }
}

#[pymethods]
impl Comm {
    /// Send(self, buf: BufSpec, dest: int, tag: int = 0) -> None
    ///
    /// Send a buffer to rank `dest` in standard mode.
    ///
    /// Returns when `buf` may be reused; waits while the message does not fit into the receiver's queue. Raises
    /// Exception for a wrong rank or tag, ValueError, TypeError or BufferError for a buffer that cannot be sent.
    #[pyo3(signature = (buf, dest, tag = 0))]
    fn Send(&self, py: Python<'_>, buf: &Bound<'_, PyAny>, dest: c_int, tag: c_int) -> PyResult<()> {
        if patience::are_wanted() {
            return self.Isend(py, buf, dest, tag)?.get().Wait(py, None).map(drop);
        }
        let m = Message::to_send(buf, dest)?;
        // SAFETY: the message keeps its memory until after the call.
        unsafe { extras::send(py, (m.address, m.count, m.datatype), Route { comm: self.raw(), peer: dest, tag }) }
    }

    /// Recv(self, buf: BufSpec, source: int = ANY_SOURCE, tag: int = ANY_TAG, status: Status | None = None) -> None
    ///
    /// Receive a message into a buffer.
    ///
    /// Waits for a message from `source` with `tag`; `status` then tells where it came from and how long it was. Raises
    /// Exception when the message is longer than the buffer, BufferError or ValueError for a buffer that is read-only
    /// or not contiguous.
    #[pyo3(signature = (buf, source = MPI_ANY_SOURCE, tag = MPI_ANY_TAG, status = None))]
    fn Recv(
        &self,
        py: Python<'_>,
        buf: &Bound<'_, PyAny>,
        source: c_int,
        tag: c_int,
        status: Option<&Bound<'_, Status>>,
    ) -> PyResult<()> {
        let m = Message::to_receive(buf, source)?;
        let from = Route { comm: self.raw(), peer: source, tag };
        // SAFETY: the message keeps its memory until after the call; `status` is valid or ignored.
        reporting(status, |status| unsafe { extras::receive(py, (m.address, m.count, m.datatype), from, status) })
    }

    /// Bsend(self, buf: BufSpec, dest: int, tag: int = 0) -> None
    ///
    /// Send a buffer in buffered mode: copies it into the attached buffer and returns.
    ///
    /// Never waits for the receiver. Raises Exception when the attached buffer (see Attach_buffer) has no room.
    #[pyo3(signature = (buf, dest, tag = 0))]
    fn Bsend(&self, py: Python<'_>, buf: &Bound<'_, PyAny>, dest: c_int, tag: c_int) -> PyResult<()> {
        let m = Message::to_send(buf, dest)?;
        // SAFETY: the message keeps its memory until after the call.
        gil::brief(py, || unsafe { MPI_Bsend_c(m.address, m.count, m.datatype, dest, tag, self.raw()) })
    }

    /// Ssend(self, buf: BufSpec, dest: int, tag: int = 0) -> None
    ///
    /// Send a buffer in synchronous mode: waits until the receiver has begun to receive it.
    #[pyo3(signature = (buf, dest, tag = 0))]
    fn Ssend(&self, py: Python<'_>, buf: &Bound<'_, PyAny>, dest: c_int, tag: c_int) -> PyResult<()> {
        if patience::are_wanted() {
            return self.Issend(py, buf, dest, tag)?.get().Wait(py, None).map(drop);
        }
        let m = Message::to_send(buf, dest)?;
        // SAFETY: the message keeps its memory until after the call.
        gil::brief(py, || unsafe { MPI_Ssend_c(m.address, m.count, m.datatype, dest, tag, self.raw()) })
    }

    /// Rsend(self, buf: BufSpec, dest: int, tag: int = 0) -> None
    ///
    /// Send a buffer in ready mode: the matching receive must already have been posted.
    #[pyo3(signature = (buf, dest, tag = 0))]
    fn Rsend(&self, py: Python<'_>, buf: &Bound<'_, PyAny>, dest: c_int, tag: c_int) -> PyResult<()> {
        if patience::are_wanted() {
            return self.Irsend(py, buf, dest, tag)?.get().Wait(py, None).map(drop);
        }
        let m = Message::to_send(buf, dest)?;
        // SAFETY: the message keeps its memory until after the call.
        gil::brief(py, || unsafe { MPI_Rsend_c(m.address, m.count, m.datatype, dest, tag, self.raw()) })
    }

    /// Sendrecv(self, sendbuf: BufSpec, dest: int, sendtag: int = 0, recvbuf: BufSpec | None = None, source: int = ANY_SOURCE, recvtag: int = ANY_TAG, status: Status | None = None) -> None
    ///
    /// Send one buffer and receive into another at the same time.
    ///
    /// Waits for both. Cannot deadlock where a pair of Send and Recv might: exchanges and shifts should use it.
    #[pyo3(signature = (sendbuf, dest, sendtag = 0, recvbuf = None, source = MPI_ANY_SOURCE, recvtag = MPI_ANY_TAG, status = None))]
    #[expect(clippy::too_many_arguments, reason = "the arguments of the standard's function")]
    fn Sendrecv(
        &self,
        py: Python<'_>,
        sendbuf: &Bound<'_, PyAny>,
        dest: c_int,
        sendtag: c_int,
        recvbuf: Option<&Bound<'_, PyAny>>,
        source: c_int,
        recvtag: c_int,
        status: Option<&Bound<'_, Status>>,
    ) -> PyResult<()> {
        let s = Message::to_send(sendbuf, dest)?;
        let r = Message::to_receive(recvbuf.unwrap_or(&py.None().into_bound(py)), source)?;
        if patience::are_wanted() {
            let sending = self.Isend(py, sendbuf, dest, sendtag)?;
            let from = Route { comm: self.raw(), peer: source, tag: recvtag };
            // SAFETY: the message keeps its memory until after the call; `status` is valid or ignored.
            reporting(status, |status| unsafe { extras::receive(py, (r.address, r.count, r.datatype), from, status) })?;
            return sending.get().Wait(py, None).map(drop);
        }
        reporting(status, |status| {
            // SAFETY: both messages keep their memory until after the call; `status` is valid or ignored.
            gil::brief(py, || unsafe {
                MPI_Sendrecv_c(
                    s.address,
                    s.count,
                    s.datatype,
                    dest,
                    sendtag,
                    r.address,
                    r.count,
                    r.datatype,
                    source,
                    recvtag,
                    self.raw(),
                    status,
                )
            })
        })
    }

    /// Sendrecv_replace(self, buf: BufSpec, dest: int, sendtag: int = 0, source: int = ANY_SOURCE, recvtag: int = ANY_TAG, status: Status | None = None) -> None
    ///
    /// Send a buffer and receive another message into it.
    ///
    /// Waits for both.
    #[pyo3(signature = (buf, dest, sendtag = 0, source = MPI_ANY_SOURCE, recvtag = MPI_ANY_TAG, status = None))]
    #[expect(clippy::too_many_arguments, reason = "the arguments of the standard's function")]
    fn Sendrecv_replace(
        &self,
        py: Python<'_>,
        buf: &Bound<'_, PyAny>,
        dest: c_int,
        sendtag: c_int,
        source: c_int,
        recvtag: c_int,
        status: Option<&Bound<'_, Status>>,
    ) -> PyResult<()> {
        let m = Message::to_receive(buf, busier(dest, source))?;
        reporting(status, |status| {
            // SAFETY: the message keeps its memory until after the call; `status` is valid or ignored.
            gil::brief(py, || unsafe {
                MPI_Sendrecv_replace_c(
                    m.address,
                    m.count,
                    m.datatype,
                    dest,
                    sendtag,
                    source,
                    recvtag,
                    self.raw(),
                    status,
                )
            })
        })
    }

    /// Probe(self, source: int = ANY_SOURCE, tag: int = ANY_TAG, status: Status | None = None) -> Literal[True]
    ///
    /// Wait until a matching message is here, without receiving it; `status` tells its source, tag and size.
    #[pyo3(signature = (source = MPI_ANY_SOURCE, tag = MPI_ANY_TAG, status = None))]
    fn Probe(&self, py: Python<'_>, source: c_int, tag: c_int, status: Option<&Bound<'_, Status>>) -> PyResult<bool> {
        // SAFETY: `status` is valid or ignored.
        reporting(status, |status| gil::brief(py, || unsafe { patience::probe(source, tag, self.raw(), status) }))?;
        Ok(true)
    }

    /// Iprobe(self, source: int = ANY_SOURCE, tag: int = ANY_TAG, status: Status | None = None) -> bool
    ///
    /// Whether a matching message is here; does not wait and does not receive it.
    #[pyo3(signature = (source = MPI_ANY_SOURCE, tag = MPI_ANY_TAG, status = None))]
    fn Iprobe(&self, py: Python<'_>, source: c_int, tag: c_int, status: Option<&Bound<'_, Status>>) -> PyResult<bool> {
        let mut flag = 0;
        let found = &raw mut flag;
        reporting(status, |status| {
            // SAFETY: `found` is valid; `status` is valid or ignored.
            gil::brief(py, || unsafe { MPI_Iprobe(source, tag, self.raw(), found, status) })
        })?;
        Ok(flag != 0)
    }

    /// Mprobe(self, source: int = ANY_SOURCE, tag: int = ANY_TAG, status: Status | None = None) -> Message
    ///
    /// Wait for a matching message and take it out of the queue: only the Message returned can receive it.
    #[pyo3(signature = (source = MPI_ANY_SOURCE, tag = MPI_ANY_TAG, status = None))]
    fn Mprobe<'py>(
        &self,
        py: Python<'py>,
        source: c_int,
        tag: c_int,
        status: Option<&Bound<'py, Status>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        mprobe(&py.get_type::<Matched>(), self.raw(), source, tag, status)
    }

    /// Improbe(self, source: int = ANY_SOURCE, tag: int = ANY_TAG, status: Status | None = None) -> Message | None
    ///
    /// As Mprobe, but does not wait: None when no matching message is here.
    #[pyo3(signature = (source = MPI_ANY_SOURCE, tag = MPI_ANY_TAG, status = None))]
    fn Improbe<'py>(
        &self,
        py: Python<'py>,
        source: c_int,
        tag: c_int,
        status: Option<&Bound<'py, Status>>,
    ) -> PyResult<Option<Bound<'py, PyAny>>> {
        improbe(&py.get_type::<Matched>(), self.raw(), source, tag, status)
    }
}
