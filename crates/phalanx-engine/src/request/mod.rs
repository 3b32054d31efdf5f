//! Requests: operations under way (MPI 5.0 §3.7, §3.9, §13.2). Waiting for several is in [`family`].
//!
//! The C layer keeps a [`Request`] per handle. After a completed wait or test it removes the handle
//! unless [`Request::is_persistent`].

mod decided;
pub mod family;
mod generalized;

use phalanx_replay::Kind;
use phalanx_shm::mem::{ConstMem, MutMem};
use phalanx_waits::{Kind as Waits, Peers};

use crate::comm::Comm;
use crate::datatype::Datatype;
use crate::engine::buffer::{RecvBuf, SendBuf};
use crate::engine::{Core, Engine, RawOp, ScheduleId, ScheduleMaker, Told, Waiting};
use crate::error::{Error, ErrorClass, Result};
use crate::pt2pt::SendMode;
use crate::status::{PROC_NULL, Status};

pub use family::{Outcome, TestAny, start_all, test_all, test_any, test_some, wait_all, wait_any, wait_some};
pub use generalized::{Completer, Generalized};

use generalized::GeneralizedRequest;

/// An operation under way, or a persistent one that can be started.
#[must_use = "a dropped request goes on by itself, and nobody learns how it ended"]
pub struct Request {
    engine: Engine,
    active: Active,
    recipe: Option<Box<Recipe>>,
}

/// What there is to wait for.
enum Active {
    /// Nothing: an inactive persistent request, or one whose completion has been reported.
    Idle,
    /// Nothing more, but the completion has not been reported.
    Complete(Result<Status>),
    Op(RawOp),
    Schedule(ScheduleId),
    Generalized(Box<GeneralizedRequest>),
}

/// How to start a persistent request.
pub(crate) enum Recipe {
    Send { comm: Comm, mode: SendMode, mem: ConstMem, count: usize, ty: Datatype, dest: i32, tag: i32 },
    Recv { comm: Comm, mem: MutMem, count: usize, ty: Datatype, source: i32, tag: i32 },
    Schedule(ScheduleMaker),
}

/// How far a request is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Nothing is under way.
    Inactive,
    /// It is complete, and nobody has been told.
    Complete,
    /// Its message is on the way.
    Sends,
    /// It waits for a message, or for others in a collective operation.
    Waits,
    /// It waits for the program.
    Own,
}

impl Request {
    /// A request for an operation; `done` is the status when the operation is [`RawOp::DONE`].
    pub(crate) fn of_op(engine: &Engine, op: RawOp, done: Status) -> Request {
        let active = if op == RawOp::DONE { Active::Complete(Ok(done)) } else { Active::Op(op) };
        Request { engine: engine.clone(), active, recipe: None }
    }

    pub(crate) fn of_schedule(engine: &Engine, id: ScheduleId) -> Request {
        Request { engine: engine.clone(), active: Active::Schedule(id), recipe: None }
    }

    pub(crate) fn of_recipe(engine: &Engine, recipe: Recipe) -> Request {
        Request { engine: engine.clone(), active: Active::Idle, recipe: Some(Box::new(recipe)) }
    }

    pub(crate) fn of_maker(engine: &Engine, make: ScheduleMaker) -> Request {
        Request::of_recipe(engine, Recipe::Schedule(make))
    }

    /// A request that is complete from the start.
    pub fn complete(engine: &Engine, status: Status) -> Request {
        Request { engine: engine.clone(), active: Active::Complete(Ok(status)), recipe: None }
    }

    /// A generalized request (`MPI_Grequest_start`), and the handle by which any thread completes it.
    pub fn generalized(engine: &Engine, callbacks: Box<dyn Generalized>) -> (Request, Completer) {
        let (request, completer) = GeneralizedRequest::new(engine, callbacks);
        let active = Active::Generalized(Box::new(request));
        (Request { engine: engine.clone(), active, recipe: None }, completer)
    }

    /// The engine it belongs to.
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// Waits for completion. An inactive persistent request gives the empty status at once.
    ///
    /// # Errors
    /// The operation's error; interruption (the request then stays active).
    pub fn wait(&mut self) -> Result<Status> {
        if !self.is_active() {
            return Ok(Status::EMPTY);
        }
        if !matches!(self.active, Active::Complete(_)) {
            let engine = self.engine.clone();
            let tell = |core: &mut Core, told: &mut Told| self.tell(core, told);
            let what = Waiting::on("Wait", 0).for_what(&tell);
            engine.block_until(what, |core| self.is_ready(core).then_some(Ok(())))?;
        }
        self.finish()
    }

    /// Tells what would complete it.
    fn tell(&self, core: &mut Core, told: &mut Told) {
        match &self.active {
            Active::Op(op) => told.op(core, *op),
            // Which of the messages under way are this one's, nobody has written down.
            Active::Schedule(id) if !core.schedules.is_done(*id) => match core.background() {
                Some(peers) => {
                    if let Some((kind, what)) = core.schedules.awaited(*id) {
                        // What this process has to do itself, nobody else can do.
                        let peers = if kind == Waits::Own { Peers::one(core.me.0) } else { peers };
                        return told.add(kind, peers, what);
                    }
                    let what =
                        told.under_way(core, core.schedules.name(*id).unwrap_or("a nonblocking collective operation"));
                    told.add(Waits::Collective, peers, what);
                }
                None => told.unknown(),
            },
            Active::Generalized(_) => told.own(core, "for MPI_Grequest_complete"),
            Active::Idle | Active::Complete(_) | Active::Schedule(_) => {}
        }
    }

    /// Makes progress and gives the status if the operation has completed.
    ///
    /// # Errors
    /// The operation's error.
    pub fn test(&mut self) -> Result<Option<Status>> {
        if !self.is_active() {
            return Ok(Some(Status::EMPTY));
        }
        if self.look_as(Kind::Test)? { self.finish().map(Some) } else { Ok(None) }
    }

    /// As [`Request::test`], for a request that the program has let go of: when that is asked is no decision of the program's, to be
    /// recorded and repeated.
    ///
    /// # Errors
    /// As [`Request::test`].
    pub fn test_lost(&mut self) -> Result<Option<Status>> {
        if !self.is_active() {
            return Ok(Some(Status::EMPTY));
        }
        if self.look()? { self.finish().map(Some) } else { Ok(None) }
    }

    /// Whether and how the operation has completed, without completing it (`MPI_Request_get_status`).
    ///
    /// # Errors
    /// The operation's error.
    pub fn get_status(&mut self) -> Result<Option<Status>> {
        if !self.is_active() {
            return Ok(Some(Status::EMPTY));
        }
        if !self.look_as(Kind::Status)? {
            return Ok(None);
        }
        let outcome = match &mut self.active {
            Active::Idle => Ok(Status::EMPTY),
            Active::Complete(outcome) => outcome.clone(),
            Active::Op(op) => self.engine.core().ops.peek(*op).unwrap_or(Ok(Status::EMPTY)),
            Active::Schedule(id) => self.engine.core().schedules.peek(*id).unwrap_or(Ok(Status::EMPTY)),
            Active::Generalized(request) => request.query(),
        };
        outcome.map(Some)
    }

    /// Whether it is complete, or was when this was recorded.
    fn look_as(&self, kind: Kind) -> Result<bool> {
        if self.engine.decides() { decided::look(self, kind) } else { self.look() }
    }

    /// Whether it is complete, after some progress if it is not at first.
    pub(crate) fn look(&self) -> Result<bool> {
        {
            let mut core = self.engine.enter()?;
            if self.is_ready(&core) {
                return Ok(true);
            }
            core.poll();
            if self.is_ready(&core) {
                return Ok(true);
            }
        }
        self.engine.advance_schedules();
        let ready = self.is_ready(&self.engine.core());
        if !ready {
            self.engine.after_failed_test();
        }
        Ok(ready)
    }

    /// Whether it is complete.
    #[inline]
    pub(crate) fn is_ready(&self, core: &Core) -> bool {
        match &self.active {
            Active::Idle | Active::Complete(_) => true,
            Active::Op(op) => core.ops.is_done(*op),
            Active::Schedule(id) => core.schedules.is_done(*id),
            Active::Generalized(request) => request.is_complete(),
        }
    }

    /// Reports the outcome of a complete operation; the request is inactive after that. A receive from any rank may report
    /// a failure of class `ProcFailedPending` before, and stays active.
    pub(crate) fn finish(&mut self) -> Result<Status> {
        match std::mem::replace(&mut self.active, Active::Idle) {
            Active::Idle => Ok(Status::EMPTY),
            Active::Complete(outcome) => outcome,
            Active::Op(op) => {
                let mut core = self.engine.core();
                if core.attentive {
                    core.unwatch(op, true);
                    core.trace_completed(op);
                }
                let outcome = core.ops.take(op).unwrap_or(Ok(Status::EMPTY));
                // It may have told of a failure, and go on.
                if core.ops.goes_on(op) {
                    self.active = Active::Op(op);
                }
                outcome
            }
            Active::Schedule(id) => self.engine.core().schedules.take(id).unwrap_or(Ok(Status::EMPTY)),
            Active::Generalized(mut request) => {
                let status = request.query();
                let freed = request.free();
                status.and_then(|status| freed.map(|()| status))
            }
        }
    }

    /// Asks for cancellation: of a receive that has not matched, of a send that has not been matched.
    ///
    /// # Errors
    /// What a generalized request's callback gives; class `Request` for a collective.
    pub fn cancel(&mut self) -> Result<()> {
        match &mut self.active {
            Active::Idle | Active::Complete(_) => Ok(()),
            Active::Op(op) => {
                let op = *op;
                let mut core = self.engine.enter()?;
                if core.is_promised(op) {
                    // It took a message then.
                } else if core.cancel_recv(op) {
                    core.decided_later(op, None);
                } else {
                    core.cancel_send(op);
                }
                core.settle();
                Ok(())
            }
            Active::Schedule(_) => Err(Error::new(
                ErrorClass::Request,
                "a collective or partitioned operation cannot be cancelled; wait for it",
            )),
            Active::Generalized(request) => request.cancel(),
        }
    }

    /// Frees the request; an active operation goes on to its end.
    ///
    /// # Errors
    /// What a generalized request's callback gives.
    pub fn free(mut self) -> Result<()> {
        match std::mem::replace(&mut self.active, Active::Idle) {
            Active::Generalized(request) => request.release(),
            active => {
                self.active = active;
                Ok(())
            }
        }
    }

    /// Starts a persistent request.
    ///
    /// # Errors
    /// Class `Request` when it is not persistent or is active already; else as the operation's start.
    pub fn start(&mut self) -> Result<()> {
        if self.is_active() {
            return Err(Error::new(ErrorClass::Request, "the request is active: wait for it before starting it again"));
        }
        let Some(recipe) = self.recipe.as_deref_mut() else {
            return Err(Error::new(
                ErrorClass::Request,
                "only persistent requests can be started, and this one is not",
            ));
        };
        let (op, done) = match recipe {
            Recipe::Send { comm, mode, mem, count, ty, dest, tag } => {
                (comm.start_send(*mode, &SendBuf::raw(*mem, *count, ty), *dest, *tag)?, Status::EMPTY)
            }
            Recipe::Recv { comm, mem, count, ty, source, tag } => {
                let done = if *source == PROC_NULL { Status::PROC_NULL } else { Status::EMPTY };
                (comm.start_recv(&RecvBuf::raw(*mem, *count, ty), *source, *tag)?, done)
            }
            Recipe::Schedule(make) => {
                let schedule = make(&self.engine)?;
                self.active = Active::Schedule(self.engine.launch_schedule(schedule)?);
                return Ok(());
            }
        };
        self.active = if op == RawOp::DONE { Active::Complete(Ok(done)) } else { Active::Op(op) };
        Ok(())
    }

    /// How far it is, for who looks whether it has been completed.
    ///
    /// # Errors
    /// When the engine cannot go on.
    pub fn standing(&self) -> Result<Standing> {
        if !self.is_active() {
            return Ok(Standing::Inactive);
        }
        if self.look()? {
            return Ok(Standing::Complete);
        }
        Ok(match &self.active {
            Active::Op(op) if self.engine.core().ops.send(*op).is_some() => Standing::Sends,
            Active::Generalized(_) => Standing::Own,
            _ => Standing::Waits,
        })
    }

    /// Whether this is a persistent request.
    pub fn is_persistent(&self) -> bool {
        self.recipe.is_some()
    }

    /// Whether there is something to wait for (false for an inactive persistent request).
    pub fn is_active(&self) -> bool {
        !matches!(self.active, Active::Idle)
    }
}

impl Drop for Request {
    fn drop(&mut self) {
        match self.active {
            Active::Op(op) => {
                let mut core = self.engine.core();
                core.unwatch(op, false);
                core.ops.disown(op);
            }
            Active::Schedule(id) => self.engine.core().schedules.disown(id),
            _ => {}
        }
    }
}
