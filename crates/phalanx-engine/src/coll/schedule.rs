//! Schedules: a collective operation as a list of sends, receives and local steps.
//!
//! An algorithm writes its part of the operation into a [`Plan`]; [`Plan::into_run`] makes it a
//! [`Run`], which the engine advances. Steps are taken in order. Sends and receives only *start*; a
//! [`Step::Fence`] waits until everything that was started has completed. Local steps run at once, with
//! the core unlocked, because they may call user code.
//!
//! Two rules make this correct without any further agreement between the ranks:
//! - all ranks draw the tag of an operation from the communicator's counter in the order of their
//!   calls, which the standard requires to be the same everywhere;
//! - between one pair of ranks, messages of one operation are sent and received in the same order.
//!
//! A message that does not fit its place (in size or type), or a local step that fails, does not end the operation, because
//! others wait for this rank: it goes on to the end, and fails then. What it had to send from there on is without data, so
//! that all who would get something wrong fail, too.
//!
//! A persistent operation keeps its tag for all of its rounds: its messages have the same order each time.

use phalanx_shm::mem::{ConstMem, MutMem};
use phalanx_shm::{ProcId, Ways};
use smallvec::SmallVec;

use crate::comm::Comm;
use crate::datatype::{Basic, Datatype};
use crate::engine::buffer::{Equivalence, RecvBuf, SendBuf};
use crate::engine::{Copied, Core, Engine, RawOp, Schedule, Step as Progress};
use crate::error::{Error, ErrorClass, Result};
use crate::op::Op;
use crate::status::Status;

use super::memory::{Scratch, copy_typed};

/// Data to be read: `count` elements of `ty` at `mem`.
#[derive(Clone)]
pub(crate) struct Src {
    pub(crate) mem: ConstMem,
    pub(crate) count: usize,
    pub(crate) ty: Datatype,
}

/// Data to be written: room for `count` elements of `ty` at `mem`.
#[derive(Clone)]
pub(crate) struct Dst {
    pub(crate) mem: MutMem,
    pub(crate) count: usize,
    pub(crate) ty: Datatype,
}

impl Src {
    /// Bytes of data, without gaps.
    pub(crate) fn bytes(&self) -> usize {
        self.count * self.ty.size()
    }

    /// `count` elements from element `first` on.
    pub(crate) fn part(&self, first: usize, count: usize) -> Src {
        let at = first as isize * self.ty.extent();
        Src { mem: self.mem.at(at, usize::MAX), count, ty: self.ty.clone() }
    }
}

impl Dst {
    /// The elements of a slice, which the caller keeps until the plan has run.
    pub(crate) fn of<T: Equivalence>(data: &mut [T]) -> Dst {
        let buf = RecvBuf::of(data);
        Dst { mem: buf.mem, count: buf.count, ty: buf.ty.clone() }
    }

    /// Bytes of data, without gaps.
    pub(crate) fn bytes(&self) -> usize {
        self.count * self.ty.size()
    }

    /// `count` elements from element `first` on.
    pub(crate) fn part(&self, first: usize, count: usize) -> Dst {
        let at = first as isize * self.ty.extent();
        Dst { mem: self.mem.at(at, usize::MAX), count, ty: self.ty.clone() }
    }

    /// The same place, for reading.
    pub(crate) fn src(&self) -> Src {
        Src { mem: self.mem.as_const(), count: self.count, ty: self.ty.clone() }
    }
}

/// One step of a plan.
pub(crate) enum Step {
    /// Start sending.
    Send { peer: Peer, data: Src },
    /// Start receiving.
    Recv { peer: Peer, data: Dst },
    /// Wait for all that was started.
    Fence,
    /// Copy, possibly between two layouts of the same signature.
    Copy { from: Src, to: Dst },
    /// `inout = input op inout`, element by element.
    Reduce { op: Op, input: Src, inout: Dst },
    /// Anything else that the end of an operation needs.
    Call(Box<dyn FnMut() -> Result<()> + Send>),
}

impl Step {
    /// Does a local step; nothing for the others.
    fn local(&mut self) -> Result<()> {
        match self {
            Step::Copy { from, to } => copy_typed(from, to),
            Step::Reduce { op, input, inout } => op.reduce(&inout.ty, input.mem, inout.mem, inout.count),
            Step::Call(f) => f(),
            Step::Send { .. } | Step::Recv { .. } | Step::Fence => Ok(()),
        }
    }
}

/// A process that a step talks to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Peer {
    /// Where its messages go.
    pub(crate) proc: ProcId,
    /// Its rank, for messages to the user.
    pub(crate) rank: i32,
    /// The context in which the messages travel.
    pub(crate) ctx: u32,
}

/// The steps of one rank's part in an operation, with the memory they need besides the user's.
#[derive(Default)]
pub(crate) struct Plan {
    steps: Vec<Step>,
    scratch: Vec<Scratch>,
    /// Large messages are copied by their receiver alone where that is possible.
    alone: bool,
}

impl Plan {
    /// Starts a send.
    pub(crate) fn send(&mut self, peer: Peer, data: Src) {
        self.steps.push(Step::Send { peer, data });
    }

    /// Starts a receive.
    pub(crate) fn recv(&mut self, peer: Peer, data: Dst) {
        self.steps.push(Step::Recv { peer, data });
    }

    /// Waits for what was started, unless nothing was.
    pub(crate) fn fence(&mut self) {
        if self
            .steps
            .iter()
            .rev()
            .take_while(|s| !matches!(s, Step::Fence))
            .any(|s| matches!(s, Step::Send { .. } | Step::Recv { .. }))
        {
            self.steps.push(Step::Fence);
        }
    }

    /// Copies.
    pub(crate) fn copy(&mut self, from: Src, to: Dst) {
        self.steps.push(Step::Copy { from, to });
    }

    /// Reduces.
    pub(crate) fn reduce(&mut self, op: &Op, input: Src, inout: Dst) {
        if input.count > 0 {
            self.steps.push(Step::Reduce { op: op.clone(), input, inout });
        }
    }

    /// Calls.
    pub(crate) fn call(&mut self, f: impl FnMut() -> Result<()> + Send + 'static) {
        self.steps.push(Step::Call(Box::new(f)));
    }

    /// Memory for `count` elements laid out as `ty` says, alive as long as the plan.
    ///
    /// # Errors
    /// Class `NoMem` when there is not enough memory.
    pub(crate) fn scratch(&mut self, ty: &Datatype, count: usize) -> Result<Dst> {
        let mut scratch = Scratch::for_elements(ty, count)?;
        let mem = scratch.base();
        self.scratch.push(scratch);
        Ok(Dst { mem, count, ty: ty.clone() })
    }

    /// Memory for `len` bytes.
    ///
    /// # Errors
    /// Class `NoMem` when there is not enough memory.
    pub(crate) fn bytes(&mut self, len: usize) -> Result<Dst> {
        self.scratch(Datatype::predefined(Basic::Byte), len)
    }

    /// The same plan, whose large messages are copied by their receiver alone where that is possible, if `alone` says so.
    pub(crate) fn copied_alone(self, alone: bool) -> Plan {
        Plan { alone, ..self }
    }

    /// Whether nothing is sent or received.
    pub(crate) fn is_local(&self) -> bool {
        !self.steps.iter().any(|s| matches!(s, Step::Send { .. } | Step::Recv { .. }))
    }

    /// Whether this rank receives no more messages than it sends among those that are under way together with that of a step, or
    /// one only.
    fn is_exchange(&self, step: usize) -> bool {
        let fence = |s: &Step| matches!(s, Step::Fence);
        let first = self.steps[..step].iter().rposition(fence).map_or(0, |at| at + 1);
        let messages = || self.steps[first..].iter().take_while(|s| !fence(s));
        let received = messages().filter(|s| matches!(s, Step::Recv { .. })).count();
        let sent = messages().filter(|s| matches!(s, Step::Send { .. })).count();
        received <= sent.max(1)
    }

    /// Runs a plan without messages.
    ///
    /// # Errors
    /// That of a local step.
    pub(crate) fn run_local(mut self) -> Result<()> {
        self.steps.iter_mut().try_for_each(Step::local)
    }

    /// Makes the plan ready to run on `comm` under `tag`.
    pub(crate) fn into_run(self, comm: &Comm, name: &'static str, tag: i32) -> Run {
        Run { plan: self, comm: comm.clone(), name, tag, next: 0, active: SmallVec::new(), failed: None }
    }
}

/// A raw operation under way, and the step that started it.
struct Active {
    raw: RawOp,
    step: usize,
}

/// A plan being carried out.
pub(crate) struct Run {
    plan: Plan,
    comm: Comm,
    name: &'static str,
    tag: i32,
    next: usize,
    active: SmallVec<[Active; 8]>,
    /// What has gone wrong first, while the operation goes on for the others.
    failed: Option<Error>,
}

impl Run {
    /// Starts the send or receive at `step`.
    fn start(&mut self, core: &mut Core, step: usize) -> Result<()> {
        let raw = match &self.plan.steps[step] {
            Step::Send { peer, data } => {
                let count = if self.failed.is_some() { 0 } else { data.count };
                core.isend_typed(peer.ctx, peer.proc, self.tag, SendBuf::raw(data.mem, count, &data.ty))?
            }
            Step::Recv { peer, data } => {
                let buf = RecvBuf::raw(data.mem, data.count, &data.ty);
                let copied = match () {
                    () if self.plan.alone => Copied::Alone,
                    () if data.bytes() >= Ways::LEAST_PIPE && self.plan.is_exchange(step) => Copied::InExchange,
                    () => Copied::Any,
                };
                core.irecv_planned(peer.ctx, peer.proc, self.tag, buf, copied)?
            }
            _ => return Ok(()),
        };
        if raw != RawOp::DONE {
            self.active.push(Active { raw, step });
        }
        Ok(())
    }

    /// Takes completed operations off the list.
    fn reap(&mut self, core: &mut Core) -> Result<()> {
        let mut i = 0;
        while i < self.active.len() {
            match core.poll_raw(self.active[i].raw) {
                None => i += 1,
                Some(outcome) => {
                    let done = self.active.swap_remove(i);
                    match outcome {
                        Ok(status) => {
                            if let Err(e) = self.check_length(done.step, &status) {
                                self.failed.get_or_insert(e);
                            }
                        }
                        Err(e) if matches!(e.class(), ErrorClass::Truncate | ErrorClass::Type) => {
                            let e = self.explain(done.step, e);
                            self.failed.get_or_insert(e);
                        }
                        Err(e) => return Err(self.explain(done.step, e)),
                    }
                }
            }
        }
        Ok(())
    }

    /// A message shorter than its place: the ranks disagree about the operation.
    fn check_length(&self, step: usize, status: &Status) -> Result<()> {
        let Step::Recv { peer, data } = &self.plan.steps[step] else {
            return Ok(());
        };
        if status.bytes == data.bytes() as u64 {
            return Ok(());
        }
        let without = if status.bytes == 0 { " (or has met an error before, which it tells)" } else { "" };
        Err(Error::new(
            ErrorClass::Truncate,
            format!(
                "{}: rank {} sent {} bytes where this rank expected {} ({} x {}){without}; counts and types must agree on all \
                 ranks of the {}",
                self.name,
                peer.rank,
                status.bytes,
                data.bytes(),
                data.count,
                data.ty.name(),
                self.comm.title(),
            ),
        ))
    }

    /// Puts the collective and the peer before an error of one of its messages.
    fn explain(&self, step: usize, error: Error) -> Error {
        match &self.plan.steps[step] {
            Step::Recv { peer, data } => error.context(format!(
                "{} on {}, receiving {} bytes from rank {}",
                self.name,
                self.comm.title(),
                data.bytes(),
                peer.rank
            )),
            Step::Send { peer, data } => error.context(format!(
                "{} on {}, sending {} bytes to rank {}",
                self.name,
                self.comm.title(),
                data.bytes(),
                peer.rank
            )),
            _ => error.context(self.name),
        }
    }

    fn withdraw(&mut self, core: &mut Core) {
        for active in self.active.drain(..) {
            core.withdraw_raw(active.raw);
        }
    }

    /// Starts messages up to the next local step or fence; completed ones are taken off first.
    fn communicate(&mut self, core: &mut Core) -> Result<()> {
        self.reap(core)?;
        while let Some(Step::Send { .. } | Step::Recv { .. }) = self.plan.steps.get(self.next) {
            let step = self.next;
            self.next += 1;
            self.start(core, step).map_err(|e| self.explain(step, e))?;
        }
        Ok(())
    }

    fn try_advance(&mut self, engine: &Engine) -> Result<Progress> {
        if self.comm.inner().is_revoked() {
            return Err(self.comm.unusable());
        }
        loop {
            match self.plan.steps.get(self.next) {
                Some(Step::Send { .. } | Step::Recv { .. }) => {
                    let mut core = engine.core();
                    self.communicate(&mut core)?;
                }
                Some(Step::Fence) | None if !self.active.is_empty() => {
                    self.reap(&mut engine.core())?;
                    if !self.active.is_empty() {
                        return Ok(Progress::Pending);
                    }
                }
                Some(Step::Fence) => self.next += 1,
                None => return self.failed.take().map_or(Ok(Progress::Done(Status::EMPTY)), Err),
                Some(_) => {
                    if self.failed.is_none()
                        && let Err(e) = self.plan.steps[self.next].local()
                    {
                        self.failed = Some(e.context(self.name));
                    }
                    self.next += 1;
                }
            }
        }
    }
}

impl Schedule for Run {
    fn advance(&mut self, engine: &Engine) -> Result<Progress> {
        let progress = self.try_advance(engine);
        if progress.is_err() {
            self.withdraw(&mut engine.core());
        }
        progress
    }

    fn name(&self) -> &'static str {
        self.name
    }

    fn abandon(&mut self, engine: &Engine) {
        self.withdraw(&mut engine.core());
    }
}
