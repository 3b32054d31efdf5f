//! Matched probes of the class `MPI.Message`, and its receives into buffers (MPI 5.0 section 3.8).

use pyo3::prelude::*;
use pyo3::types::PyType;

use super::p2p_buf::reporting;
use super::{Comm, pending};
use crate::ffi::*;
use crate::gil;
use crate::handle::{self, Handle as _};
use crate::msg::Message as Matched;
use crate::patience;
use crate::request::Request;
use crate::spec::Message;
use crate::status::Status;

impl Matched {
    /// The sender, as far as it decides whether a buffer is looked at.
    fn source(&self) -> c_int {
        if self.raw() == MPI_MESSAGE_NO_PROC { MPI_PROC_NULL } else { MPI_ANY_SOURCE }
    }

    /// Stores the handle after a receive; the constant `MESSAGE_NO_PROC` stays what it is.
    fn settle(&self, raw: MPI_Message) {
        if !handle::is_constant(self) {
            self.cell().set(raw);
        }
    }
}

/// A matched probe that waits, as an object of class `cls`.
pub(super) fn mprobe<'py>(
    cls: &Bound<'py, PyType>,
    comm: MPI_Comm,
    source: c_int,
    tag: c_int,
    status: Option<&Bound<'py, Status>>,
) -> PyResult<Bound<'py, PyAny>> {
    reporting(status, |status| {
        // SAFETY: the out-pointer is valid; `status` is valid or ignored.
        handle::create_blocking::<Matched>(cls, |message| unsafe {
            patience::mprobe(source, tag, comm, message, status)
        })
    })
}

/// A matched probe that does not wait.
pub(super) fn improbe<'py>(
    cls: &Bound<'py, PyType>,
    comm: MPI_Comm,
    source: c_int,
    tag: c_int,
    status: Option<&Bound<'py, Status>>,
) -> PyResult<Option<Bound<'py, PyAny>>> {
    let mut flag = 0;
    let found = &raw mut flag;
    let message = reporting(status, |status| {
        // SAFETY: the out-pointers are valid; `status` is valid or ignored.
        handle::create_blocking::<Matched>(cls, |message| unsafe {
            MPI_Improbe(source, tag, comm, found, message, status)
        })
    })?;
    Ok((flag != 0).then_some(message))
}

#[pymethods]
impl Matched {
    /// Probe(cls, comm: Comm, source: int = ANY_SOURCE, tag: int = ANY_TAG, status: Status | None = None) -> Message
    ///
    /// Wait for a matching message and take it out of the queue.
    #[classmethod]
    #[pyo3(signature = (comm, source = MPI_ANY_SOURCE, tag = MPI_ANY_TAG, status = None))]
    fn Probe<'py>(
        cls: &Bound<'py, PyType>,
        comm: &Bound<'py, Comm>,
        source: c_int,
        tag: c_int,
        status: Option<&Bound<'py, Status>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        mprobe(cls, comm.get().raw(), source, tag, status)
    }

    /// Iprobe(cls, comm: Comm, source: int = ANY_SOURCE, tag: int = ANY_TAG, status: Status | None = None) -> Message | None
    ///
    /// As Probe, but does not wait: None when no matching message is here.
    #[classmethod]
    #[pyo3(signature = (comm, source = MPI_ANY_SOURCE, tag = MPI_ANY_TAG, status = None))]
    fn Iprobe<'py>(
        cls: &Bound<'py, PyType>,
        comm: &Bound<'py, Comm>,
        source: c_int,
        tag: c_int,
        status: Option<&Bound<'py, Status>>,
    ) -> PyResult<Option<Bound<'py, PyAny>>> {
        improbe(cls, comm.get().raw(), source, tag, status)
    }

    /// Recv(self, buf: BufSpec, status: Status | None = None) -> None
    ///
    /// Receive the message into a buffer; the object is MESSAGE_NULL afterwards.
    ///
    /// Waits for the rest of the message. Raises Exception when it is longer than the buffer.
    #[pyo3(signature = (buf, status = None))]
    fn Recv(&self, py: Python<'_>, buf: &Bound<'_, PyAny>, status: Option<&Bound<'_, Status>>) -> PyResult<()> {
        let m = Message::to_receive(buf, self.source())?;
        let mut raw = self.raw();
        let place = &raw mut raw;
        let result = reporting(status, |status| {
            // SAFETY: the message keeps its memory until after the call; `status` is valid or ignored.
            gil::brief(py, || unsafe { MPI_Mrecv_c(m.address, m.count, m.datatype, place, status) })
        });
        self.settle(raw);
        result
    }

    /// Irecv(self, buf: BufSpec) -> Request
    ///
    /// Begin to receive the message into a buffer; the object is MESSAGE_NULL afterwards.
    ///
    /// Does not wait.
    fn Irecv<'py>(&self, py: Python<'py>, buf: &Bound<'py, PyAny>) -> PyResult<Bound<'py, Request>> {
        let m = Message::to_receive(buf, self.source())?;
        let mut raw = self.raw();
        let place = &raw mut raw;
        // SAFETY: the request holds the message, and with it the memory, until the operation is over.
        let request =
            pending::start(py, m, |m, request| unsafe { MPI_Imrecv_c(m.address, m.count, m.datatype, place, request) });
        self.settle(raw);
        request
    }
}
