//! What comes for a receive while its thread runs a handler of the program's.
//!
//! A receive of unknown size waits without being in a posted queue: it looks at what has arrived. While its thread runs the
//! program's hook, in which handlers of signals send and receive, nobody looks. Two ranks whose handlers send to each other
//! and wait for the match would wait for ever, although both have begun to receive. So the thread leaves word of what it waits
//! for, and who brings a message into the queue answers for it:
//! - a sender that waits only for the match is told. The message stays where it is in the queue, so that none overtakes it,
//!   others may take it as before, and nothing is lost when the handler raises;
//! - a large message, whose sender waits until its data has been taken, is received into memory of this library.
//!
//! Several receives are absent when a handler receives, too, and another one runs meanwhile. Each gets a message of its own, in
//! the order in which they began.

use std::cell::RefCell;

use phalanx_shm::ProcId;
use smallvec::SmallVec;

use crate::error::{Error, ErrorClass, Result};
use crate::status::Status;

use super::core::{Core, bytes};
use super::matching::Pattern;
use super::ops::{Body, Copied, Data, Owner, RawOp, RecvOp, RecvStage, Target};
use super::receive::{Content, Matched, Stored};
use super::wait::Waiting;
use super::{Engine, memory};

/// The receives whose threads are absent, in the order in which they left.
#[derive(Default)]
pub(crate) struct Absentees {
    all: Vec<Absent>,
    /// Number of the one that left last.
    last: u32,
    /// Number of the last distribution of messages among them; 0 is none.
    round: u32,
}

struct Absent {
    number: u32,
    ctx: u32,
    pattern: Pattern,
    fetched: Option<Fetched>,
}

/// A large message that is being received, or has been, in the absence of who waits for it.
struct Fetched {
    op: RawOp,
    from: ProcId,
    source: i32,
    tag: i32,
    signature: u32,
    data: Vec<u8>,
}

/// A receive of unknown size that waits.
pub(crate) struct Receiving {
    ctx: u32,
    pattern: Pattern,
    fetched: RefCell<Option<Fetched>>,
}

/// Source, tag and content of a message.
type Taken = (i32, i32, Stored);

impl Receiving {
    pub(crate) fn new(ctx: u32, pattern: Pattern) -> Receiving {
        Receiving { ctx, pattern, fetched: RefCell::new(None) }
    }

    /// Whether its message has come in its absence, though perhaps not all of it.
    pub(crate) fn has_fetched(&self) -> bool {
        self.fetched.borrow().is_some()
    }

    /// The message that has come in its absence, once all of it is here.
    ///
    /// # Errors
    /// When its sender has ended before.
    pub(crate) fn take_fetched(&self, core: &mut Core) -> Option<Result<Taken>> {
        let Receiving { ctx, pattern, fetched } = self;
        let fetched = fetched.borrow_mut().take_if(|fetched| core.ops.is_done(fetched.op))?;
        Some(core.finish_fetched(fetched).map(|(source, tag, mut stored)| {
            if core.attentive {
                stored.record = core.watch_taken(*ctx, *pattern, source, tag, &stored);
            }
            (source, tag, stored)
        }))
    }

    /// The receive ends with an error. What has come is kept for another one, if the program was only interrupted.
    pub(crate) fn give_up(&self, engine: &Engine, why: &Error) {
        let Some(fetched) = self.fetched.take() else { return };
        let (op, ctx) = (fetched.op, self.ctx);
        // It cannot go back to its sender, who may have gone on. Only a second interruption loses it.
        let is_here = why.is_interrupted()
            && engine.block_until(Waiting::on("Recv", ctx), |core| core.ops.is_done(op).then_some(Ok(()))).is_ok();
        let mut core = engine.core();
        if !is_here {
            core.withdraw_raw(op);
        } else if let Ok((source, tag, stored)) = core.finish_fetched(fetched) {
            core.store(ctx, source, tag, stored);
            core.settle();
        }
    }
}

impl Drop for Receiving {
    /// A receive ends with its message, or by [`Receiving::give_up`]. After a panic its memory may still be written.
    fn drop(&mut self) {
        if let Some(fetched) = self.fetched.take() {
            std::mem::forget(fetched.data);
        }
    }
}

impl Engine {
    /// Runs the interrupt hook in the middle of a wait.
    ///
    /// # Errors
    /// Interruption.
    pub(super) fn check_interrupt_in(&self, what: &Waiting<'_>) -> Result<()> {
        let Some(receiving) = what.receiving.filter(|receiving| self.has_hook() && !receiving.has_fetched()) else {
            return self.check_interrupt();
        };
        let number = self.core().go_away(receiving.ctx, receiving.pattern);
        let outcome = self.check_interrupt();
        *receiving.fetched.borrow_mut() = self.core().come_back(number);
        outcome
    }
}

impl Core {
    /// A receive's thread goes away. The number under which it [comes back](Core::come_back).
    fn go_away(&mut self, ctx: u32, pattern: Pattern) -> u32 {
        self.absentees.last = self.absentees.last.wrapping_add(1);
        let number = self.absentees.last;
        self.absentees.all.push(Absent { number, ctx, pattern, fetched: None });
        self.set_attentive();
        self.answer_for_absent();
        self.settle();
        number
    }

    fn come_back(&mut self, number: u32) -> Option<Fetched> {
        let at = self.absentees.all.iter().position(|absent| absent.number == number)?;
        let absent = self.absentees.all.remove(at);
        self.set_attentive();
        absent.fetched
    }

    /// Whether the thread of some receive is away.
    pub(super) fn has_absent(&self) -> bool {
        !self.absentees.all.is_empty()
    }

    /// Gives each absent receive the earliest message for it, and answers the sender.
    #[cold]
    pub(super) fn answer_for_absent(&mut self) {
        self.absentees.round = self.absentees.round.wrapping_add(1).max(1);
        for at in 0..self.absentees.all.len() {
            let Absent { ctx, pattern, fetched: None, .. } = self.absentees.all[at] else { continue };
            while !self.answer_one(at, ctx, pattern) {}
        }
    }

    /// False when the message that was found is none any more.
    fn answer_one(&mut self, at: usize, ctx: u32, pattern: Pattern) -> bool {
        let round = self.absentees.round;
        let Some(queues) = self.contexts.get_mut(&ctx) else { return true };
        let Some((source, tag, stored)) = queues.arrived.find_where(pattern, |stored| stored.round != round) else {
            return true;
        };
        stored.round = round;
        let from = stored.from;
        match &mut stored.content {
            Content::Packed { sync, .. } => {
                if let Some(send) = sync.take() {
                    self.acknowledge(from, send);
                }
                true
            }
            Content::Local(send) => {
                let send = *send;
                self.keep_own(ctx, pattern, send);
                true
            }
            Content::Offered { op: remote, block } => {
                let (remote, block) = (*remote, *block);
                let matched = Matched { ctx, source, tag, signature: stored.signature, bytes: stored.bytes };
                // Where there is no memory for it, the sender waits until the thread is back.
                let Some(mut data) = room_for(matched.bytes) else { return true };
                let is_it = |other: &Stored| {
                    other.from == from && matches!(other.content, Content::Offered { op, .. } if op == remote)
                };
                if !queues.arrived.remove(pattern, is_it) {
                    return true;
                }
                self.arrived -= 1;
                if !self.claim(from, block, matched.bytes) {
                    self.release(from, remote);
                    return false;
                }
                // The data stays where it is until the operation is over: see `Receiving`.
                let target =
                    Target { mem: memory::of_mut(&mut data), count: data.len(), ty: bytes().clone(), grow: None };
                let (pattern, stage) = (Pattern { source, tag }, RecvStage::Posted);
                let receive = RecvOp { ctx, pattern, target, stage, copied: Copied::Any };
                let op = self.ops.add(Owner::User, Body::Recv(receive));
                let signature = matched.signature;
                self.absentees.all[at].fetched = Some(Fetched { op, from, source, tag, signature, data });
                self.begin_large(op, from, remote, block, matched);
                true
            }
        }
    }

    /// Packs a message of this process, so that its send is over.
    fn keep_own(&mut self, ctx: u32, pattern: Pattern, send: RawOp) {
        let Some(body) = self.ops.send(send) else { return };
        let Some(mut packed) = room_for(body.bytes) else { return };
        match &body.data {
            Data::User { mem, count, ty } => _ = ty.pack(*count, mem, 0, &mut packed),
            Data::Owned(bytes) => packed.copy_from_slice(bytes),
        }
        let is_it = |stored: &Stored| matches!(stored.content, Content::Local(op) if op == send);
        let found = self.contexts.get_mut(&ctx).and_then(|queues| queues.arrived.find_where(pattern, is_it));
        if let Some((_, _, stored)) = found {
            stored.content = Content::Packed { bytes: SmallVec::from_vec(packed), sync: None };
        }
        self.finish_send(send, Ok(Status::EMPTY));
    }

    /// The message of a receive that is over, as one that has arrived.
    ///
    /// # Errors
    /// What became of the receive.
    fn finish_fetched(&mut self, fetched: Fetched) -> Result<Taken> {
        let Fetched { op, from, source, tag, signature, data } = fetched;
        match self.ops.take(op) {
            Some(Ok(_)) => {}
            Some(Err(error)) if error.class() == ErrorClass::ProcFailedPending => {
                return Err(error.in_class(ErrorClass::ProcAborted));
            }
            Some(Err(error)) => return Err(error),
            None => return Err(Error::new(ErrorClass::Intern, "a receive that was over has no outcome")),
        }
        let bytes = data.len() as u64;
        let content = Content::Packed { bytes: SmallVec::from_vec(data), sync: None };
        Ok((source, tag, Stored { from, signature, bytes, content, record: 0, round: 0 }))
    }
}

/// Memory for a message, if there is so much.
fn room_for(bytes: u64) -> Option<Vec<u8>> {
    let bytes = usize::try_from(bytes).ok()?;
    let mut room = Vec::new();
    room.try_reserve_exact(bytes).ok()?;
    room.resize(bytes, 0);
    Some(room)
}
