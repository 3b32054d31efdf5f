//! Pools of worker processes.
//!
//! | file | what it is |
//! |---|---|
//! | `supervisor.rs` | the class `Supervisor`: the parent's side of one pool |
//! | `shared.rs` | what its threads share: the engine (ledger and board), events, how a thread waits |
//! | `collect.rs` | the thread that collects when nobody waits |
//! | `watch.rs` | the thread that watches the processes: their ends, their memory, stopping them |
//! | `memory.rs` | how much memory a worker has for itself |
//! | `functions.rs` | functions as bytes, and their numbers |
//! | `source.rs` | where a job's items come from |
//! | `job.rs` | the class `Job` |
//! | `failure.rs` | outcomes as exceptions |
//! | `ticket.rs` | the class `Ticket`, by which a worker finds its place |
//! | `worker.rs`, `call.rs` | `run_worker`: the worker's whole life, and one item of it |
//!
//! Nobody waits for the interpreter lock while holding the engine.

mod call;
mod collect;
mod failure;
mod functions;
mod job;
mod memory;
mod process;
mod shared;
mod source;
mod supervisor;
mod ticket;
mod watch;
mod worker;

use pyo3::prelude::*;

/// Adds what this folder has to the module.
pub(crate) fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add_class::<supervisor::Supervisor>()?;
    m.add_class::<job::Job>()?;
    m.add_class::<ticket::Ticket>()?;
    m.add_function(wrap_pyfunction!(ticket::_ticket, m)?)?;
    m.add_function(wrap_pyfunction!(worker::run_worker, m)?)
}
