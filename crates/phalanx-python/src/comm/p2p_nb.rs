//! Nonblocking and persistent point-to-point communication of buffers (MPI 5.0 chapter 3).
//!
//! The request holds the buffers until it is complete (persistent ones until it is freed).

use pyo3::prelude::*;

use super::Comm;
use super::p2p_buf::busier;
use super::pending::{prepare, start};
use crate::ffi::*;
use crate::handle::Handle as _;
use crate::prequest::Prequest;
use crate::request::Request;
use crate::spec::Message;

/// Sends that differ only in the C function behind them.
macro_rules! sends {
    ($($name:ident $function:ident $how:ident $result:ident $doc:literal)*) => {
        #[pymethods]
        impl Comm {$(
            #[doc = concat!(stringify!($name), "(self, buf: BufSpec, dest: int, tag: int = 0) -> ", stringify!($result), "\n\n", $doc)]
            #[pyo3(signature = (buf, dest, tag = 0))]
            pub(super) fn $name<'py>(
                &self,
                py: Python<'py>,
                buf: &Bound<'py, PyAny>,
                dest: c_int,
                tag: c_int,
            ) -> PyResult<Bound<'py, $result>> {
                let m = Message::to_send(buf, dest)?;
                // SAFETY: the request holds the message, and with it the memory, until the operation is over.
                $how(py, m, |m, request| unsafe { $function(m.address, m.count, m.datatype, dest, tag, self.raw(), request) })
            }
        )*}
    };
}

sends! {
    Isend MPI_Isend_c start Request
        "Begin to send a buffer in standard mode. Does not wait; leave `buf` alone until the request is complete."
    Ibsend MPI_Ibsend_c start Request
        "Begin to send a buffer in buffered mode (see Bsend). Does not wait."
    Issend MPI_Issend_c start Request
        "Begin to send a buffer in synchronous mode: the request completes once the receiver has begun to receive. Does not wait."
    Irsend MPI_Irsend_c start Request
        "Begin to send a buffer in ready mode: the matching receive must already have been posted. Does not wait."
    Send_init MPI_Send_init_c prepare Prequest
        "Prepare a send in standard mode, to be started any number of times. Local."
    Bsend_init MPI_Bsend_init_c prepare Prequest
        "Prepare a send in buffered mode, to be started any number of times. Local."
    Ssend_init MPI_Ssend_init_c prepare Prequest
        "Prepare a send in synchronous mode, to be started any number of times. Local."
    Rsend_init MPI_Rsend_init_c prepare Prequest
        "Prepare a send in ready mode, to be started any number of times. Local."
}

#[pymethods]
impl Comm {
    /// Irecv(self, buf: BufSpec, source: int = ANY_SOURCE, tag: int = ANY_TAG) -> Request
    ///
    /// Begin to receive into a buffer.
    ///
    /// Does not wait; leave `buf` alone until the request is complete.
    #[pyo3(signature = (buf, source = MPI_ANY_SOURCE, tag = MPI_ANY_TAG))]
    fn Irecv<'py>(
        &self,
        py: Python<'py>,
        buf: &Bound<'py, PyAny>,
        source: c_int,
        tag: c_int,
    ) -> PyResult<Bound<'py, Request>> {
        let m = Message::to_receive(buf, source)?;
        // SAFETY: the request holds the message, and with it the memory, until the operation is over.
        start(py, m, |m, request| unsafe {
            MPI_Irecv_c(m.address, m.count, m.datatype, source, tag, self.raw(), request)
        })
    }

    /// Recv_init(self, buf: BufSpec, source: int = ANY_SOURCE, tag: int = ANY_TAG) -> Prequest
    ///
    /// Prepare a receive, to be started any number of times.
    ///
    /// Local.
    #[pyo3(signature = (buf, source = MPI_ANY_SOURCE, tag = MPI_ANY_TAG))]
    fn Recv_init<'py>(
        &self,
        py: Python<'py>,
        buf: &Bound<'py, PyAny>,
        source: c_int,
        tag: c_int,
    ) -> PyResult<Bound<'py, Prequest>> {
        let m = Message::to_receive(buf, source)?;
        // SAFETY: the request holds the message, and with it the memory, until the operation is over.
        prepare(py, m, |m, request| unsafe {
            MPI_Recv_init_c(m.address, m.count, m.datatype, source, tag, self.raw(), request)
        })
    }

    /// Isendrecv(self, sendbuf: BufSpec, dest: int, sendtag: int = 0, recvbuf: BufSpec | None = None, source: int = ANY_SOURCE, recvtag: int = ANY_TAG) -> Request
    ///
    /// Begin to send one buffer and to receive into another.
    ///
    /// Does not wait.
    #[pyo3(signature = (sendbuf, dest, sendtag = 0, recvbuf = None, source = MPI_ANY_SOURCE, recvtag = MPI_ANY_TAG))]
    #[expect(clippy::too_many_arguments, reason = "the arguments of the standard's function")]
    fn Isendrecv<'py>(
        &self,
        py: Python<'py>,
        sendbuf: &Bound<'py, PyAny>,
        dest: c_int,
        sendtag: c_int,
        recvbuf: Option<&Bound<'py, PyAny>>,
        source: c_int,
        recvtag: c_int,
    ) -> PyResult<Bound<'py, Request>> {
        let s = Message::to_send(sendbuf, dest)?;
        let r = Message::to_receive(recvbuf.unwrap_or(&py.None().into_bound(py)), source)?;
        // SAFETY: the request holds both messages, and with them the memory, until the operation is over.
        start(py, (s, r), |(s, r), request| unsafe {
            MPI_Isendrecv_c(
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
                request,
            )
        })
    }

    /// Isendrecv_replace(self, buf: BufSpec, dest: int, sendtag: int = 0, source: int = ANY_SOURCE, recvtag: int = ANY_TAG) -> Request
    ///
    /// Begin to send a buffer and to receive another message into it.
    ///
    /// Does not wait.
    #[pyo3(signature = (buf, dest, sendtag = 0, source = MPI_ANY_SOURCE, recvtag = MPI_ANY_TAG))]
    fn Isendrecv_replace<'py>(
        &self,
        py: Python<'py>,
        buf: &Bound<'py, PyAny>,
        dest: c_int,
        sendtag: c_int,
        source: c_int,
        recvtag: c_int,
    ) -> PyResult<Bound<'py, Request>> {
        let m = Message::to_receive(buf, busier(dest, source))?;
        // SAFETY: the request holds the message, and with it the memory, until the operation is over.
        start(py, m, |m, request| unsafe {
            MPI_Isendrecv_replace_c(m.address, m.count, m.datatype, dest, sendtag, source, recvtag, self.raw(), request)
        })
    }
}
