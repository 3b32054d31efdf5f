//! Matched probes for Python objects (MPI 5.0 section 3.8): a message that only its `Message` can receive.
//!
//! MPI tells a message's size when it is probed and never again, so the probe notes it in the `Message`.

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyInt, PyType};

use super::Comm;
use super::p2p_matched::{improbe, mprobe};
use super::p2p_obj::start_matched;
use crate::ffi::*;
use crate::handle::{self, Handle as _};
use crate::msg::Message as Matched;
use crate::object::transfer;
use crate::request::{Keep, Request};
use crate::status::{self, Status};

/// Notes the size that a probe's status tells in the message.
fn note<'py>(message: Bound<'py, PyAny>, probed: &Bound<'py, Status>) -> PyResult<Bound<'py, PyAny>> {
    let py = message.py();
    let size = transfer::message_bytes(&probed.get().get())?;
    let matched = message.cast::<Matched>()?.get();
    // The constant for PROC_NULL is one object for everybody and has no size to note.
    if !handle::is_constant(matched) {
        drop(matched.set_keep(py, Keep::Object(PyInt::new(py, size).into_any().unbind())));
    }
    Ok(message)
}

fn probe<'py>(
    cls: &Bound<'py, PyType>,
    comm: &Comm,
    source: c_int,
    tag: c_int,
    status: Option<&Bound<'py, Status>>,
) -> PyResult<Bound<'py, PyAny>> {
    let probed = Bound::new(cls.py(), Status::with(MPI_Status::EMPTY))?;
    let message = mprobe(cls, comm.raw(), source, tag, Some(&probed))?;
    status::give(status, probed.get().get());
    note(message, &probed)
}

fn iprobe<'py>(
    cls: &Bound<'py, PyType>,
    comm: &Comm,
    source: c_int,
    tag: c_int,
    status: Option<&Bound<'py, Status>>,
) -> PyResult<Option<Bound<'py, PyAny>>> {
    let probed = Bound::new(cls.py(), Status::with(MPI_Status::EMPTY))?;
    let Some(message) = improbe(cls, comm.raw(), source, tag, Some(&probed))? else {
        return Ok(None);
    };
    status::give(status, probed.get().get());
    note(message, &probed).map(Some)
}

impl Matched {
    /// The size that the probe noted.
    fn noted(&self, py: Python<'_>) -> PyResult<usize> {
        match self.kept(py) {
            Keep::Object(size) => size.extract(py),
            _ if self.raw() == MPI_MESSAGE_NO_PROC => Ok(0),
            _ => Err(PyValueError::new_err(
                "the size of this message is not known: probe with the lower-case methods to receive an object",
            )),
        }
    }
}

#[pymethods]
impl Matched {
    /// probe(cls, comm: Comm, source: int = ANY_SOURCE, tag: int = ANY_TAG, status: Status | None = None) -> Message
    ///
    /// Wait for a matching object message and take it out of the queue.
    #[classmethod]
    #[pyo3(signature = (comm, source = MPI_ANY_SOURCE, tag = MPI_ANY_TAG, status = None))]
    fn probe<'py>(
        cls: &Bound<'py, PyType>,
        comm: &Bound<'py, Comm>,
        source: c_int,
        tag: c_int,
        status: Option<&Bound<'py, Status>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        probe(cls, comm.get(), source, tag, status)
    }

    /// iprobe(cls, comm: Comm, source: int = ANY_SOURCE, tag: int = ANY_TAG, status: Status | None = None) -> Message | None
    ///
    /// As probe, but does not wait: None when no matching message is here.
    #[classmethod]
    #[pyo3(signature = (comm, source = MPI_ANY_SOURCE, tag = MPI_ANY_TAG, status = None))]
    fn iprobe<'py>(
        cls: &Bound<'py, PyType>,
        comm: &Bound<'py, Comm>,
        source: c_int,
        tag: c_int,
        status: Option<&Bound<'py, Status>>,
    ) -> PyResult<Option<Bound<'py, PyAny>>> {
        iprobe(cls, comm.get(), source, tag, status)
    }

    /// recv(self, status: Status | None = None) -> Any
    ///
    /// Receive the object of the message. Waits for the rest of it. Raises what unpickling raises.
    #[pyo3(signature = (status = None))]
    fn recv<'py>(&self, py: Python<'py>, status: Option<&Bound<'py, Status>>) -> PyResult<Bound<'py, PyAny>> {
        let length = self.noted(py)?;
        let mut raw = self.raw();
        let mut value = MPI_Status::EMPTY;
        let object = transfer::receive_known(py, &mut raw, length, &mut value);
        if !handle::is_constant(self) {
            self.cell().set(raw);
        }
        let object = object?;
        status::give(status, value);
        Ok(object)
    }

    /// irecv(self) -> Request
    ///
    /// Begin to receive the object of the message, which the request's `wait` or `test` returns. Does not wait.
    fn irecv<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, Request>> {
        let mut raw = self.raw();
        let request = start_matched(py, &mut raw, self.noted(py)?);
        if !handle::is_constant(self) {
            self.cell().set(raw);
        }
        request
    }
}

#[pymethods]
impl Comm {
    /// mprobe(self, source: int = ANY_SOURCE, tag: int = ANY_TAG, status: Status | None = None) -> Message
    ///
    /// Wait for a matching object message and take it out of the queue.
    #[pyo3(signature = (source = MPI_ANY_SOURCE, tag = MPI_ANY_TAG, status = None))]
    fn mprobe<'py>(
        &self,
        py: Python<'py>,
        source: c_int,
        tag: c_int,
        status: Option<&Bound<'py, Status>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        probe(&py.get_type::<Matched>(), self, source, tag, status)
    }

    /// improbe(self, source: int = ANY_SOURCE, tag: int = ANY_TAG, status: Status | None = None) -> Message | None
    ///
    /// As mprobe, but does not wait: None when no matching message is here.
    #[pyo3(signature = (source = MPI_ANY_SOURCE, tag = MPI_ANY_TAG, status = None))]
    fn improbe<'py>(
        &self,
        py: Python<'py>,
        source: c_int,
        tag: c_int,
        status: Option<&Bound<'py, Status>>,
    ) -> PyResult<Option<Bound<'py, PyAny>>> {
        iprobe(&py.get_type::<Matched>(), self, source, tag, status)
    }
}
