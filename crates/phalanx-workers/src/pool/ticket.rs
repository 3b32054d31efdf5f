//! By what a worker finds its place in a pool.

use phalanx_shm::Block;
use phalanx_shm::board::Board;
use pyo3::prelude::*;
use pyo3::types::PyTuple;

use crate::{codec, family};

/// The place of one worker in a pool, for one start. Made by `Supervisor.ticket`; an argument of `run_worker`.
#[pyclass(module = "phalanx._workers", frozen)]
pub(super) struct Ticket {
    pub(super) block: Block,
    pub(super) slot: u32,
    /// Dispatches after which the worker ends.
    pub(super) maxtasks: Option<u64>,
    /// The supervisor's process.
    pub(super) parent: u32,
    /// Whether the thread that starts the worker lives as long as the process.
    pub(super) main_thread: bool,
}

impl Ticket {
    pub(super) fn board(&self) -> PyResult<Board> {
        Board::of_block(self.block.clone()).map_err(|error| family::refused(&error))
    }
}

#[pymethods]
impl Ticket {
    fn __reduce__<'py>(slf: &Bound<'py, Self>) -> PyResult<(Bound<'py, PyAny>, Bound<'py, PyTuple>)> {
        let (py, this) = (slf.py(), slf.get());
        codec::keep(slf.as_any());
        let make = py.import("phalanx._workers")?.getattr("_ticket")?;
        let state = (family::token(&this.block), this.slot, this.maxtasks, this.parent, this.main_thread);
        Ok((make, state.into_pyobject(py)?))
    }

    fn __repr__(&self) -> String {
        format!("<Ticket of slot {} in the pool of process {}>", self.slot, self.parent)
    }
}

/// Makes the ticket that another process pickled.
#[pyfunction]
pub(super) fn _ticket(
    py: Python<'_>,
    token: family::Token,
    slot: u32,
    maxtasks: Option<u64>,
    parent: u32,
    main_thread: bool,
) -> PyResult<Ticket> {
    Ok(Ticket { block: family::open(py, token)?, slot, maxtasks, parent, main_thread })
}
