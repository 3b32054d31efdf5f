//! Outgoing messages: eager, queued behind a full ring, or offered for the receiver to fetch.

use std::collections::VecDeque;

use phalanx_shm::mem::{ConstMem, Part};
use phalanx_shm::{Envelope, Offset, ProcId, RingProducer};
use smallvec::SmallVec;

use crate::datatype::Datatype;
use crate::error::{Error, ErrorClass, Result};
use crate::status::Status;

use super::core::Core;
use super::kind;
use super::matching::Pattern;
use super::ops::{Body, Data, Owner, RawOp, SendOp, SendStage};
use super::receive::{Content, Stored};

/// Pieces of a message up to which they go into the ring one by one instead of being packed first.
const GATHER: usize = 8;

/// A message about to be sent.
#[derive(Clone, Copy)]
pub(crate) struct Outgoing<'t> {
    pub(crate) ctx: u32,
    /// What the receiver matches as source: the rank, or the process for raw operations.
    pub(crate) source: u32,
    pub(crate) dest: ProcId,
    pub(crate) tag: i32,
    pub(crate) sync: bool,
    pub(crate) mem: ConstMem,
    pub(crate) count: usize,
    pub(crate) ty: &'t Datatype,
}

impl Outgoing<'_> {
    #[inline]
    pub(crate) fn bytes(&self) -> usize {
        self.count * self.ty.size()
    }
}

/// What waits for room in a ring.
pub(crate) enum Pending {
    /// The first record of a send.
    Op(RawOp),
    /// A control record: its envelope and its small payload.
    Control(Envelope, u64),
}

/// The way to one other process.
pub(crate) struct Link {
    pub(crate) ring: RingProducer,
    /// Records that found the ring full, in order. While there are any, nothing may overtake them.
    pub(crate) pending: VecDeque<Pending>,
    /// Large sends that go through the ring, in turns.
    pub(crate) streams: VecDeque<RawOp>,
}

impl Link {
    pub(crate) fn is_idle(&self) -> bool {
        self.pending.is_empty() && self.streams.is_empty()
    }
}

impl Core {
    /// The link to a process, made on first use.
    ///
    /// # Errors
    /// When there is no memory for the ring.
    #[inline]
    pub(crate) fn link(&mut self, to: ProcId) -> Result<&mut Link> {
        let at = to.0 as usize;
        if self.links.get(at).is_none_or(Option::is_none) {
            self.make_link(to)?;
        }
        match self.links.get_mut(at) {
            Some(Some(link)) => Ok(link),
            _ => Err(Error::new(ErrorClass::Intern, format!("no link to process {}", to.0))),
        }
    }

    #[cold]
    fn make_link(&mut self, to: ProcId) -> Result<()> {
        let ring = self.producer_to(to)?;
        let at = to.0 as usize;
        if self.links.len() <= at {
            self.links.resize_with(at + 1, || None);
        }
        self.links[at] = Some(Box::new(Link { ring, pending: VecDeque::new(), streams: VecDeque::new() }));
        Ok(())
    }

    /// Sends at once if that needs no waiting: small, not synchronous, room in the ring.
    #[inline]
    pub(crate) fn send_now(&mut self, m: &Outgoing<'_>) -> Result<bool> {
        let bytes = m.bytes();
        if bytes >= self.eager_end || m.sync {
            return Ok(false);
        }
        if m.dest == self.me {
            return self.send_to_self(m, Owner::Nobody).map(|op| op == RawOp::DONE);
        }
        self.push_free(m, bytes)
    }

    /// As [`Core::push_eager`], of a message for which nobody waits; tells of it in a program that is traced.
    #[inline]
    fn push_free(&mut self, m: &Outgoing<'_>, bytes: usize) -> Result<bool> {
        let pushed = self.push_eager(m, bytes, 0)?;
        if pushed && self.trace.is_some() {
            std::hint::cold_path();
            self.trace_gone(m);
        }
        Ok(pushed)
    }

    /// Pushes a small message into the ring; `false` when it does not fit now.
    #[inline]
    fn push_eager(&mut self, m: &Outgoing<'_>, bytes: usize, token: u64) -> Result<bool> {
        let envelope = Envelope {
            kind: if token == 0 { kind::EAGER } else { kind::EAGER_SYNC },
            ctx: m.ctx,
            src: m.source,
            tag: m.tag,
            sig: m.ty.signature(),
            len: bytes as u64,
            token,
        };
        let link = self.link(m.dest)?;
        if !link.pending.is_empty() {
            return Ok(false);
        }
        if m.ty.is_contiguous() {
            return Ok(link.ring.try_push(&envelope, &[Part::from(m.mem.at(0, bytes))]));
        }
        self.push_gathered(m.dest, &envelope, m.mem, m.count, m.ty)
    }

    /// Pushes a small message that lies in pieces, past what is pending.
    fn push_gathered(
        &mut self,
        dest: ProcId,
        envelope: &Envelope,
        mem: ConstMem,
        count: usize,
        ty: &Datatype,
    ) -> Result<bool> {
        let mut parts: SmallVec<[Part<'_>; GATHER]> = SmallVec::new();
        for (at, len) in ty.segments(count).take(GATHER + 1) {
            parts.push(Part::from(mem.at(at, len)));
        }
        if parts.len() <= GATHER {
            return Ok(self.link(dest)?.ring.try_push(envelope, &parts));
        }
        let mut packed = std::mem::take(&mut self.scratch);
        packed.resize(envelope.len as usize, 0);
        ty.pack(count, &mem, 0, &mut packed);
        let pushed = self.link(dest).map(|link| link.ring.try_push(envelope, &[Part::from(packed.as_slice())]));
        self.scratch = packed;
        pushed
    }

    /// Starts a send. `RawOp::DONE` when it is complete already.
    pub(crate) fn send_start(&mut self, m: &Outgoing<'_>, owner: Owner) -> Result<RawOp> {
        let bytes = m.bytes();
        if m.dest == self.me {
            return self.send_to_self(m, owner);
        }
        if bytes < self.eager_end && !m.sync && self.push_free(m, bytes)? {
            return Ok(RawOp::DONE);
        }
        if self.eager_end == 0 && self.push_observed(m, bytes, owner)? {
            return Ok(RawOp::DONE);
        }
        self.link(m.dest)?;
        let data = Data::User { mem: m.mem, count: m.count, ty: m.ty.clone() };
        self.send_queued(m, data, 0, owner)
    }

    /// As [`Core::push_free`], where messages are counted or the program is checked.
    #[cold]
    fn push_observed(&mut self, m: &Outgoing<'_>, bytes: usize, owner: Owner) -> Result<bool> {
        let pushed = bytes <= self.eager_limit && !m.sync && !self.is_forced(m, owner) && self.push_free(m, bytes)?;
        if pushed && self.counts {
            self.tally.sent_eager.add(bytes as u64);
        }
        Ok(pushed)
    }

    /// Enters a send and pushes its first record, now or when there is room.
    pub(crate) fn send_queued(&mut self, m: &Outgoing<'_>, data: Data, reserved: usize, owner: Owner) -> Result<RawOp> {
        let bytes = m.bytes();
        let large = bytes > self.eager_limit;
        let forced = self.is_forced(m, owner);
        let record = if self.attentive { self.trace_sent(m) } else { 0 };
        let send = SendOp {
            dest: m.dest,
            ctx: m.ctx,
            source: m.source,
            tag: m.tag,
            signature: m.ty.signature(),
            bytes: bytes as u64,
            sync: m.sync || forced,
            forced,
            large,
            data,
            reserved,
            stage: SendStage::Queued,
            block: None,
            pieces: Box::default(),
        };
        let op = self.ops.add(owner, Body::Send(send));
        if record != 0 {
            self.trace_sends(op, record);
        }
        if large {
            self.tally.sent_offered.add(bytes as u64);
            self.describe_large(op);
        } else {
            self.tally.sent_eager.add(bytes as u64);
        }
        self.enqueue(m.dest, Pending::Op(op))?;
        let waits = !large && self.links[m.dest.0 as usize].as_ref().is_some_and(|link| !link.is_idle());
        self.tally.sent_late += u64::from(waits);
        Ok(op)
    }

    /// Pushes a control record, now or when there is room.
    pub(crate) fn control(&mut self, dest: ProcId, kind: u8, token: u64, value: u64) -> Result<()> {
        let envelope = Envelope { kind, ctx: 0, src: self.me.0, tag: 0, sig: 0, len: 8, token };
        self.enqueue(dest, Pending::Control(envelope, value))
    }

    pub(crate) fn enqueue(&mut self, dest: ProcId, what: Pending) -> Result<()> {
        let link = self.link(dest)?;
        let was_idle = link.is_idle();
        link.pending.push_back(what);
        if was_idle {
            self.flush_link(dest);
            if self.links[dest.0 as usize].as_ref().is_some_and(|l| !l.is_idle()) {
                self.mark_busy(dest);
            }
        }
        Ok(())
    }

    /// Puts a link on the list of those that progress has to flush.
    pub(crate) fn mark_busy(&mut self, dest: ProcId) {
        if !self.busy.contains(&dest) {
            self.busy.push(dest);
        }
    }

    /// Pushes what waits, as far as there is room. True when the link has nothing left to push.
    pub(crate) fn flush_link(&mut self, dest: ProcId) -> bool {
        while let Some(first) = self.take_pending(dest) {
            let pushed = match &first {
                Pending::Op(op) => self.push_first(*op),
                Pending::Control(envelope, value) => self.push_now(dest, envelope, &value.to_ne_bytes()),
            };
            if !pushed {
                if let Some(Some(link)) = self.links.get_mut(dest.0 as usize) {
                    link.pending.push_front(first);
                }
                return false;
            }
        }
        self.flush_streams(dest)
    }

    fn take_pending(&mut self, dest: ProcId) -> Option<Pending> {
        self.links.get_mut(dest.0 as usize)?.as_mut()?.pending.pop_front()
    }

    /// Pushes one record past the pending queue (whose head it is).
    pub(crate) fn push_now(&mut self, dest: ProcId, envelope: &Envelope, payload: &[u8]) -> bool {
        match self.links.get_mut(dest.0 as usize) {
            Some(Some(link)) => link.ring.try_push(envelope, &[Part::from(payload)]),
            _ => true,
        }
    }

    /// Pushes the first record of a queued send. True when it is out of the queue.
    fn push_first(&mut self, op: RawOp) -> bool {
        let Some(send) = self.ops.send(op) else {
            return true;
        };
        let dest = send.dest;
        let large = send.large;
        let mut envelope = Envelope {
            kind: match (large, send.sync) {
                (true, _) => kind::OFFER,
                (false, true) => kind::EAGER_SYNC,
                (false, false) => kind::EAGER,
            },
            ctx: send.ctx,
            src: send.source,
            tag: send.tag,
            sig: send.signature,
            len: send.bytes,
            token: op.token(),
        };
        if large {
            let block = send.block.map_or(0, Offset::get).to_ne_bytes();
            if self.push_now(dest, &envelope, &block) {
                self.set_stage(op, SendStage::Offered);
                return true;
            }
            return false;
        }
        let sync = send.sync;
        if !sync {
            envelope.token = 0;
        }
        // The data leaves the operation for the push, and returns if that fails.
        let data = std::mem::replace(&mut send.data, Data::Owned(Vec::new()));
        let pushed = match &data {
            Data::Owned(bytes) => self.push_now(dest, &envelope, bytes),
            Data::User { mem, count, ty } => self.push_gathered(dest, &envelope, *mem, *count, ty).unwrap_or(false),
        };
        if !pushed {
            if let Some(send) = self.ops.send(op) {
                send.data = data;
            }
        } else if sync {
            self.set_stage(op, SendStage::Offered);
        } else {
            self.finish_send(op, Ok(Status::EMPTY));
        }
        pushed
    }

    fn set_stage(&mut self, op: RawOp, stage: SendStage) {
        if let Some(send) = self.ops.send(op) {
            send.stage = stage;
        }
    }

    /// Completes a send: gives back what it held.
    pub(crate) fn finish_send(&mut self, op: RawOp, outcome: Result<Status>) {
        let Some(send) = self.ops.send(op) else {
            if let Some(block) = self.withdrawn.remove(&op.token()) {
                self.free_block(block);
            }
            return;
        };
        let (block, reserved) = (send.block.take(), send.reserved);
        self.buffered -= reserved.min(self.buffered);
        if let Some(block) = block {
            self.free_block(block);
        }
        self.ops.complete(op, outcome);
    }

    /// A send to this very process: straight into a posted receive, else kept for one.
    fn send_to_self(&mut self, m: &Outgoing<'_>, owner: Owner) -> Result<RawOp> {
        if self.counts {
            self.tally.sent_to_self.add(m.bytes() as u64);
        }
        let record = if self.attentive { self.trace_sent(m) } else { 0 };
        let op = self.match_own(m, owner, record);
        self.settle();
        op
    }

    /// Of a message whose record this is, in a program that is traced.
    fn match_own(&mut self, m: &Outgoing<'_>, owner: Owner, record: u32) -> Result<RawOp> {
        let bytes = m.bytes();
        let source = m.source as i32;
        let from = self.me;
        let posted = match self.contexts.get_mut(&m.ctx) {
            Some(queues) if self.posted > 0 => queues.posted.take(source, m.tag),
            _ => None,
        };
        if let Some(recv) = posted {
            self.posted -= 1;
            if self.attentive {
                self.trace_matched(recv, from, m.ctx, m.tag, bytes as u64);
            }
            self.copy_to_posted(recv, m.mem, m.count, m.ty, source, m.tag);
            return Ok(RawOp::DONE);
        }
        let stored =
            |content| Stored { from, signature: m.ty.signature(), bytes: bytes as u64, content, record: 0, round: 0 };
        let forced = self.is_forced(m, owner);
        if bytes <= self.eager_limit && !m.sync && !forced {
            let mut packed = SmallVec::from_elem(0, bytes);
            m.ty.pack(m.count, &m.mem, 0, &mut packed);
            self.store(m.ctx, source, m.tag, stored(Content::Packed { bytes: packed, sync: None }));
            return Ok(RawOp::DONE);
        }
        let op = self.ops.add(
            owner,
            Body::Send(SendOp {
                dest: from,
                ctx: m.ctx,
                source: m.source,
                tag: m.tag,
                signature: m.ty.signature(),
                bytes: bytes as u64,
                sync: m.sync || forced,
                forced,
                large: false,
                data: Data::User { mem: m.mem, count: m.count, ty: m.ty.clone() },
                reserved: 0,
                stage: SendStage::Offered,
                block: None,
                pieces: Box::default(),
            }),
        );
        if record != 0 {
            self.trace_sends(op, record);
        }
        self.store(m.ctx, source, m.tag, stored(Content::Local(op)));
        Ok(op)
    }

    /// Takes a send back if the receiver has not matched it. True when it will not be delivered.
    pub(crate) fn cancel_send(&mut self, op: RawOp) -> bool {
        let is_back = self.take_back(op);
        if is_back && self.attentive {
            self.trace_taken_back(op);
        }
        is_back
    }

    fn take_back(&mut self, op: RawOp) -> bool {
        let me = self.me;
        let Some(send) = self.ops.send(op) else {
            return false;
        };
        let (dest, ctx, block) = (send.dest, send.ctx, send.block);
        match send.stage {
            SendStage::Queued => {
                if let Some(Some(link)) = self.links.get_mut(dest.0 as usize) {
                    link.pending.retain(|p| !matches!(p, Pending::Op(other) if *other == op));
                }
                self.finish_send(op, Ok(Status { cancelled: true, ..Status::EMPTY }));
                true
            }
            SendStage::Offered if dest == me => {
                let pattern = Pattern { source: send.source as i32, tag: send.tag };
                let taken = self.contexts.get_mut(&ctx).is_some_and(|q| {
                    q.arrived.remove(pattern, |stored| matches!(stored.content, Content::Local(other) if other == op))
                });
                if taken {
                    self.arrived -= 1;
                    self.ops.complete(op, Ok(Status { cancelled: true, ..Status::EMPTY }));
                }
                taken
            }
            SendStage::Offered => match block {
                Some(block) if self.withdraw_block(block) => {
                    self.withdrawn.insert(op.token(), block);
                    self.ops.complete(op, Ok(Status { cancelled: true, ..Status::EMPTY }));
                    true
                }
                _ => false,
            },
            _ => false,
        }
    }
}

/// An error of the shared-memory layer, for the user.
#[cold]
pub(crate) fn shm_error(what: &str, error: &phalanx_shm::ShmError) -> Error {
    let class = if error.is_no_memory() { ErrorClass::NoMem } else { ErrorClass::Other };
    Error::new(class, format!("could not {what}: {error}"))
}
