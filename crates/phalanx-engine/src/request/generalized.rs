//! Generalized requests (MPI 5.0 §13.2): operations of the user, completed by the user, waited for like all others.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::engine::Engine;
use crate::error::Result;
use crate::status::Status;

/// The callbacks of a generalized request. They are called without any lock held.
pub trait Generalized: Send {
    /// Fills the status when the request completes.
    ///
    /// # Errors
    /// Becomes the error of the wait or test.
    fn query(&mut self, status: &mut Status) -> Result<()>;
    /// Called when the request is freed.
    ///
    /// # Errors
    /// Becomes the error of the wait, test or free.
    fn free(&mut self) -> Result<()>;
    /// Called by cancel; `complete` says whether the request has completed.
    ///
    /// # Errors
    /// Becomes the error of the cancel.
    fn cancel(&mut self, complete: bool) -> Result<()>;
}

/// Completes a generalized request, from any thread.
#[derive(Clone)]
pub struct Completer {
    engine: Engine,
    complete: Arc<AtomicBool>,
}

impl Completer {
    /// Marks the request as complete (`MPI_Grequest_complete`) and wakes those who wait for it.
    pub fn complete(&self) {
        self.complete.store(true, Ordering::Release);
        let mut core = self.engine.core();
        core.ops.completed += 1;
        if core.sleepers > 0 {
            core.announce();
        }
    }
}

/// The request's side.
pub(super) struct GeneralizedRequest {
    complete: Arc<AtomicBool>,
    callbacks: Box<dyn Generalized>,
}

impl GeneralizedRequest {
    pub(super) fn new(engine: &Engine, callbacks: Box<dyn Generalized>) -> (GeneralizedRequest, Completer) {
        let complete = Arc::new(AtomicBool::new(false));
        let completer = Completer { engine: engine.clone(), complete: complete.clone() };
        (GeneralizedRequest { complete, callbacks }, completer)
    }

    pub(super) fn is_complete(&self) -> bool {
        self.complete.load(Ordering::Acquire)
    }

    pub(super) fn query(&mut self) -> Result<Status> {
        let mut status = Status::EMPTY;
        self.callbacks.query(&mut status)?;
        Ok(status)
    }

    pub(super) fn free(&mut self) -> Result<()> {
        self.callbacks.free()
    }

    /// Freed by the user before completion was reported.
    pub(super) fn release(mut self) -> Result<()> {
        self.callbacks.free()
    }

    pub(super) fn cancel(&mut self) -> Result<()> {
        let complete = self.is_complete();
        self.callbacks.cancel(complete)
    }
}
