//! Where collectives hook into progress: schedules and the raw operations they are made of.
//!
//! A [`Schedule`] is a little state machine: it starts raw sends and receives
//! ([`Core::isend_raw`](super::Core::isend_raw) and its kin), waits until they are done, does a
//! local step (a copy, a reduction), and so on until it is complete.
//!
//! *Nonblocking and persistent collectives* register it with [`Engine::start_schedule`], which
//! gives a [`Request`](crate::request::Request); whoever makes progress in this process advances
//! it. *Blocking collectives* run it to the end with [`Engine::run_schedule`], which needs no
//! registration and no allocation.
//!
//! **Lock discipline.** [`Schedule::advance`] is called with the core *unlocked* and the schedule
//! taken out of it, so that local steps may run user code. It locks the core for as long as
//! it needs for starting and polling raw operations (`engine.core()`), and never across a local step.
//! One thread at a time advances a schedule.

use phalanx_waits::Kind;

use crate::error::Result;
use crate::status::Status;

use super::Engine;

/// What a schedule says after one step.
#[derive(Debug)]
pub enum Step {
    /// Waits for raw operations: advance again after one of them has completed.
    Pending,
    /// Waits for something that progress cannot see (a flag in shared memory): advance at every pass.
    Poll,
    /// Complete, with the status of the request.
    Done(Status),
}

/// A collective operation in pieces; see the module documentation.
pub trait Schedule: Send {
    /// Goes on as far as possible without waiting. Called with the core unlocked.
    ///
    /// # Errors
    /// An error ends the schedule and becomes the error of the request. Raw operations that are
    /// still active must have been withdrawn ([`Core::withdraw_raw`](super::Core::withdraw_raw)) or be completed before.
    fn advance(&mut self, engine: &Engine) -> Result<Step>;

    /// Name of the operation, for messages and wait records ("Iallreduce").
    fn name(&self) -> &'static str;

    /// What would end it, where that is nothing that a collective operation waits for: the kind, and the words behind the name. Called
    /// with the core locked: it may only try to lock what [`Schedule::advance`] locks before the core.
    fn awaited(&self) -> Option<(Kind, String)> {
        None
    }

    /// Called once when a waiting thread gives up (interrupt) or the engine shuts down: withdraw raw operations.
    fn abandon(&mut self, engine: &Engine);
}

/// Makes the schedule of a persistent collective, once per start.
pub type ScheduleMaker = Box<dyn FnMut(&Engine) -> Result<Box<dyn Schedule>> + Send>;
