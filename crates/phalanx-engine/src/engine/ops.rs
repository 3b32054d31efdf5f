//! Operations under way: sends and receives that outlive the call that started them.
//!
//! They live in a slab; a [`RawOp`] names one by index and generation, so that a stale name is
//! recognised. The same 64 bits travel as `token` in envelopes: the peer hands them back to say which
//! operation its acknowledgement is for.

use phalanx_shm::mem::{ConstMem, MutMem};
use phalanx_shm::{Offset, ProcId};

use crate::datatype::Datatype;
use crate::error::{Error, Result};
use crate::status::Status;

use super::buffer::Grow;
use super::large::{Piping, Pull, Push};
use super::matching::Pattern;

/// A raw operation: a send or receive between processes without communicator and without argument checks.
///
/// Matched by (context, process, tag). Small sends complete at once ([`RawOp::DONE`]).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub struct RawOp {
    index: u32,
    generation: u32,
}

impl RawOp {
    /// An operation that has already completed.
    pub const DONE: RawOp = RawOp { index: u32::MAX, generation: 0 };

    /// As carried in envelopes.
    pub(crate) fn token(self) -> u64 {
        u64::from(self.generation) << 32 | u64::from(self.index)
    }

    /// Its place in the slab.
    pub(crate) fn place(self) -> usize {
        self.index as usize
    }

    /// Back from an envelope.
    pub(crate) fn from_token(token: u64) -> RawOp {
        RawOp { index: token as u32, generation: (token >> 32) as u32 }
    }
}

/// Who will look at the outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Owner {
    /// A waiting call or a request.
    User,
    /// A schedule: its completion lets schedules advance.
    Raw,
    /// Nobody: freed when complete.
    Nobody,
}

/// One entry of the slab.
pub(crate) struct Op {
    generation: u32,
    pub(crate) owner: Owner,
    /// Set when complete; and for a receive that goes on, when it has something to tell before.
    pub(crate) outcome: Option<Result<Status>>,
    pub(crate) body: Body,
}

impl Op {
    /// The context of its messages, while it is under way.
    pub(crate) fn context(&self) -> Option<u32> {
        match &self.body {
            Body::Empty => None,
            Body::Send(send) => Some(send.ctx),
            Body::Recv(recv) => Some(recv.ctx),
        }
    }
}

/// What kind of operation.
pub(crate) enum Body {
    /// Not in use, or complete.
    Empty,
    Send(SendOp),
    Recv(RecvOp),
}

/// The data of a send.
pub(crate) enum Data {
    /// The user's buffer.
    User { mem: ConstMem, count: usize, ty: Datatype },
    /// A packed copy.
    Owned(Vec<u8>),
}

/// A send under way.
pub(crate) struct SendOp {
    pub(crate) dest: ProcId,
    pub(crate) ctx: u32,
    pub(crate) source: u32,
    pub(crate) tag: i32,
    pub(crate) signature: u32,
    pub(crate) bytes: u64,
    pub(crate) sync: bool,
    /// It waits for its receive only because the program is checked.
    pub(crate) forced: bool,
    /// Offered to its receiver and not sent at once, by the limit at the time it was entered.
    pub(crate) large: bool,
    pub(crate) data: Data,
    /// Bytes of the attached buffer that this send holds.
    pub(crate) reserved: usize,
    pub(crate) stage: SendStage,
    /// For a large message: its description in the segment.
    pub(crate) block: Option<Offset>,
    /// For a large message in several pieces: their addresses and lengths, read by the receiver.
    pub(crate) pieces: Box<[[u64; 2]]>,
}

/// How far a send has come.
pub(crate) enum SendStage {
    /// Waits in its link for room in the ring.
    Queued,
    /// Delivered; waits for the receiver to match it (synchronous mode, large messages).
    Offered,
    /// Large, going into a pipe.
    Pushing(Box<Push>),
    /// Large, and this side sends it through the ring: next byte, end, the receiver's operation.
    Streaming { at: u64, end: u64, to: RawOp },
}

/// Who copies a large message, as far as its receive decides that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Copied {
    /// As it is best for one by itself.
    Any,
    /// As it is best in a collective in which this rank meanwhile receives no more messages than it sends, or this one only.
    InExchange,
    /// Its receiver alone, where that is possible.
    Alone,
}

/// A receive under way.
pub(crate) struct RecvOp {
    pub(crate) ctx: u32,
    pub(crate) pattern: Pattern,
    pub(crate) target: Target,
    pub(crate) stage: RecvStage,
    pub(crate) copied: Copied,
}

/// Where a message is to be put.
#[derive(Clone)]
pub(crate) struct Target {
    pub(crate) mem: MutMem,
    pub(crate) count: usize,
    pub(crate) ty: Datatype,
    pub(crate) grow: Option<Grow>,
}

impl Target {
    /// Makes room for a message that has been matched, where the receiver can. (Else the message is truncated.)
    #[inline]
    pub(crate) fn fit(&mut self, bytes: u64) {
        if let Some((mem, count)) = Grow::beyond(self.grow, self.room(), bytes) {
            (self.mem, self.count, self.grow) = (mem, count, None);
        }
    }

    /// Bytes of data that fit.
    pub(crate) fn room(&self) -> u64 {
        (self.count * self.ty.size()) as u64
    }
}

/// How far a receive has come.
pub(crate) enum RecvStage {
    /// In a posted queue.
    Posted,
    /// Large, coming out of a pipe.
    Piping(Box<Piping>),
    /// Large, copied by this side alone.
    Pulling(Box<Pull>),
    /// Large, and it comes through the ring: from whom, bytes so far and expected, and the outcome at the end.
    Streaming { from: ProcId, at: u64, end: u64, outcome: Result<Status> },
}

impl RecvStage {
    /// The process whose message is being received.
    pub(crate) fn sender(&self) -> Option<ProcId> {
        match self {
            RecvStage::Posted => None,
            RecvStage::Piping(piping) => Some(piping.sender()),
            RecvStage::Pulling(pull) => Some(pull.peer().0),
            RecvStage::Streaming { from, .. } => Some(*from),
        }
    }
}

/// The slab.
#[derive(Default)]
pub(crate) struct Ops {
    slots: Vec<Op>,
    free: Vec<u32>,
    /// Counts completions that somebody waits for.
    pub(crate) completed: u64,
    /// Counts completions that schedules wait for.
    pub(crate) completed_raw: u64,
}

impl Ops {
    /// Enters an operation.
    pub(crate) fn add(&mut self, owner: Owner, body: Body) -> RawOp {
        self.enter(owner, body, None)
    }

    /// Enters an operation that is complete already.
    pub(crate) fn add_complete(&mut self, owner: Owner, outcome: Result<Status>) -> RawOp {
        self.completed += 1;
        if owner == Owner::Raw {
            self.completed_raw += 1;
        }
        self.enter(owner, Body::Empty, Some(outcome))
    }

    fn enter(&mut self, owner: Owner, body: Body, outcome: Option<Result<Status>>) -> RawOp {
        if let Some(index) = self.free.pop() {
            let op = &mut self.slots[index as usize];
            op.owner = owner;
            op.body = body;
            op.outcome = outcome;
            return RawOp { index, generation: op.generation };
        }
        let index = self.slots.len() as u32;
        self.slots.push(Op { generation: 1, owner, outcome, body });
        RawOp { index, generation: 1 }
    }

    /// The operation, unless it is gone.
    #[inline]
    pub(crate) fn get(&mut self, op: RawOp) -> Option<&mut Op> {
        self.slots.get_mut(op.index as usize).filter(|o| o.generation == op.generation)
    }

    /// The send, if that is what it is.
    pub(crate) fn send(&mut self, op: RawOp) -> Option<&mut SendOp> {
        match self.get(op) {
            Some(Op { body: Body::Send(send), .. }) => Some(send),
            _ => None,
        }
    }

    /// The receive, if that is what it is.
    pub(crate) fn recv(&mut self, op: RawOp) -> Option<&mut RecvOp> {
        match self.get(op) {
            Some(Op { body: Body::Recv(recv), .. }) => Some(recv),
            _ => None,
        }
    }

    /// Marks it as complete; its body is dropped. Freed when nobody will ask.
    pub(crate) fn complete(&mut self, op: RawOp, outcome: Result<Status>) {
        let Some(slot) = self.get(op) else { return };
        let owner = slot.owner;
        slot.body = Body::Empty;
        slot.outcome = Some(outcome);
        self.completed += 1;
        match owner {
            Owner::User => {}
            Owner::Raw => self.completed_raw += 1,
            Owner::Nobody => self.remove(op),
        }
    }

    /// Tells who waits for an operation of an error, while it goes on.
    pub(crate) fn interrupt(&mut self, op: RawOp, error: Error) {
        let Some(slot) = self.get(op) else { return };
        if slot.owner == Owner::User && slot.outcome.is_none() {
            slot.outcome = Some(Err(error));
            self.completed += 1;
        }
    }

    /// Makes an error of the outcome of an operation that has been cancelled.
    pub(crate) fn turn_into(&mut self, op: RawOp, error: Error) {
        if let Some(slot) = self.get(op) {
            slot.outcome = Some(Err(error));
        }
    }

    /// Frees the entry.
    pub(crate) fn remove(&mut self, op: RawOp) {
        if let Some(slot) = self.get(op) {
            slot.generation = slot.generation.wrapping_add(1).max(1);
            slot.body = Body::Empty;
            slot.outcome = None;
            self.free.push(op.index);
        }
    }

    /// Whether it is under way, whatever it has told already.
    pub(crate) fn goes_on(&self, op: RawOp) -> bool {
        let entry = self.slots.get(op.index as usize).filter(|o| o.generation == op.generation);
        entry.is_some_and(|o| !matches!(o.body, Body::Empty))
    }

    /// Whether it is complete (an unknown one is), or has something to tell before.
    #[inline]
    pub(crate) fn is_done(&self, op: RawOp) -> bool {
        match self.slots.get(op.index as usize) {
            Some(o) if o.generation == op.generation => o.outcome.is_some(),
            _ => true,
        }
    }

    /// The outcome, without freeing the entry.
    pub(crate) fn peek(&mut self, op: RawOp) -> Option<Result<Status>> {
        if op == RawOp::DONE {
            return Some(Ok(Status::EMPTY));
        }
        self.get(op)?.outcome.clone()
    }

    /// The outcome if complete, which frees the entry; or what it tells before.
    #[inline]
    pub(crate) fn take(&mut self, op: RawOp) -> Option<Result<Status>> {
        if op == RawOp::DONE {
            return Some(Ok(Status::EMPTY));
        }
        let slot = self.get(op)?;
        let outcome = slot.outcome.take()?;
        if matches!(slot.body, Body::Empty) {
            self.remove(op);
        }
        Some(outcome)
    }

    /// Whether sends to others than this process still have data to deliver.
    pub(crate) fn has_data_to_deliver(&self, me: ProcId) -> bool {
        self.slots.iter().any(|o| match &o.body {
            Body::Send(send) if send.dest == me => false,
            // A synchronous message has left already; a large one stays here until the receiver has it.
            Body::Send(send) => {
                !matches!(send.stage, SendStage::Offered) || !send.sync || send.forced || send.block.is_some()
            }
            _ => false,
        })
    }

    /// The operations that are not complete.
    pub(crate) fn under_way(&self) -> impl Iterator<Item = (RawOp, &Op)> {
        let under_way = self.slots.iter().enumerate().filter(|(_, op)| !matches!(op.body, Body::Empty));
        under_way.map(|(index, op)| (RawOp { index: index as u32, generation: op.generation }, op))
    }

    /// Nobody will ask any more: freed now if complete, else on completion.
    pub(crate) fn disown(&mut self, op: RawOp) {
        if !self.goes_on(op) {
            self.remove(op);
        } else if let Some(slot) = self.get(op) {
            slot.owner = Owner::Nobody;
        }
    }
}
