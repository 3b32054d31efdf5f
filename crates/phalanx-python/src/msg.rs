//! `MPI.Message`: a message that a matched probe has picked out (MPI 5.0 section 3.8.2).

use pyo3::prelude::*;

use crate::ffi::*;
use crate::gil::GilCell;
use crate::handle::{self, Handle, HandleCell, handle_methods};
use crate::request::Keep;

/// A message that a matched probe has picked out: only this object can receive it.
#[pyclass(module = "phalanx.MPI", subclass, frozen, weakref)]
#[repr(C)] // what compiled code for mpi4py reads comes first
pub(crate) struct Message {
    handle: HandleCell<MPI_Message>,
    /// What lower-case `mprobe` found out about an object message, for lower-case `recv`.
    keep: GilCell<Keep>,
}

impl Handle for Message {
    type Raw = MPI_Message;

    fn cell(&self) -> &HandleCell<MPI_Message> {
        &self.handle
    }

    /// A message cannot be freed, only received: `free()` forgets it.
    fn release(slf: &Bound<'_, Self>) -> PyResult<()> {
        slf.get().handle.set(MPI_MESSAGE_NULL);
        Ok(())
    }
}

handle_methods!(Message, MPI_Message, handle::reduce);

impl Message {
    /// A message object in Rust, not yet one of Python.
    pub(crate) fn with(raw: MPI_Message, keep: Keep) -> Self {
        Message { handle: HandleCell::new(raw), keep: GilCell::new(keep) }
    }

    /// Keeps something alive with the message, and returns what was kept.
    pub(crate) fn set_keep(&self, py: Python<'_>, keep: Keep) -> Keep {
        self.keep.replace(py, keep)
    }

    /// The state kept, shared.
    pub(crate) fn kept(&self, py: Python<'_>) -> Keep {
        self.keep.peek(py, |keep| keep.share(py))
    }
}

#[pymethods]
impl Message {
    #[new]
    #[pyo3(signature = (message=None))]
    fn new(message: Option<&Bound<'_, Message>>) -> Self {
        match message {
            Some(message) => Message::with(message.get().raw(), message.get().kept(message.py())),
            None => Message::with(MPI_MESSAGE_NULL, Keep::Nothing),
        }
    }
}

/// Adds the class and its constants to the module.
pub(crate) fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add_class::<Message>()?;
    handle::add_constant::<Message>(m, "MESSAGE_NULL", MPI_MESSAGE_NULL)?;
    handle::add_constant::<Message>(m, "MESSAGE_NO_PROC", MPI_MESSAGE_NO_PROC)
}
