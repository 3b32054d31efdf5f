//! The ledger and scheduling of worker pools.
//!
//! A pool's supervisor knows here, in private memory and without `unsafe`, which jobs there are, which items of them have
//! been handed out in which *dispatch* (a chunk of consecutive items of one job), which worker has a dispatch, and what
//! became of every item. The shared half of that knowledge (who claimed what, which item a worker is in) is the task board
//! of `phalanx-shm`; [`Engine`] joins the two.
//!
//! | module | what it gives |
//! |---|---|
//! | [`ledger`] | [`Ledger`]: jobs, dispatches, deaths, retries; knows no processes, clocks or memory |
//! | [`job`] | [`JobSpec`], [`Outcome`]: what is asked for, and what comes of an item |
//! | [`items`] | the items of a job, as bytes, until they are done |
//! | [`tuning`] | how many items make a chunk, and how many chunks are handed out ahead |
//! | [`engine`] | [`Engine`]: the ledger on a board |
//! | [`protocol`] | what records and flags on the board mean |
//!
//! Architecture Invariant: nothing here knows Python. Functions, items and results are bytes.
//!
//! Architecture Invariant: every item of a job is delivered exactly once, whatever happens to workers.

pub mod engine;
#[cfg(any(test, fuzzing))]
pub mod fuzz;
pub mod items;
pub mod job;
pub mod ledger;
pub mod protocol;
pub mod stats;
pub mod tuning;

pub use engine::Engine;
pub use job::{Bytes, End, Form, FunctionId, JobId, JobSpec, Keep, Lost, Outcome};
pub use ledger::{Event, Ledger};
pub use stats::WorkerStats;
