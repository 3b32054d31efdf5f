//! Incoming messages: matched to posted receives, or kept until somebody asks.

use phalanx_shm::mem::{ConstMem, MutMem};
use phalanx_shm::ways::fill;
use phalanx_shm::{Envelope, ProcId, Record};
use smallvec::SmallVec;

use crate::datatype::{Datatype, signature};
use crate::error::{Error, ErrorClass, Result};
use crate::status::{ANY_SOURCE, Status};

use super::buffer::{Grow, RecvBuf};
use super::core::Core;
use super::kind;
use super::matching::{Arrived, Pattern, Posted};
use super::ops::{Body, Copied, Data, Owner, RawOp, RecvOp, RecvStage, Target};
use super::send::Outgoing;

/// Bytes that no message has.
const MOST: u64 = 1 << 56;

/// The two queues of a context.
#[derive(Default)]
pub(crate) struct Queues {
    pub(crate) posted: Posted<RawOp>,
    pub(crate) arrived: Arrived<Stored>,
}

/// A message that waits for a receive.
pub(crate) struct Stored {
    pub(crate) from: ProcId,
    pub(crate) signature: u32,
    pub(crate) bytes: u64,
    pub(crate) content: Content,
    /// Its record, once it has been taken, in a program that is traced.
    pub(crate) record: u32,
    /// The last distribution among absent receives in which it was for one of them.
    pub(crate) round: u32,
}

/// Where its data is.
pub(crate) enum Content {
    /// Here, packed; with the sender's operation if that waits for the match.
    Packed { bytes: SmallVec<[u8; 48]>, sync: Option<RawOp> },
    /// In the sender's memory: its operation, and the description in the segment (0: none).
    Offered { op: RawOp, block: u64 },
    /// In a send of this very process.
    Local(RawOp),
}

/// A receive about to start.
#[derive(Clone, Copy)]
pub(crate) struct Incoming<'t> {
    pub(crate) ctx: u32,
    pub(crate) pattern: Pattern,
    pub(crate) mem: MutMem,
    pub(crate) count: usize,
    pub(crate) ty: &'t Datatype,
    /// For bytes: where more of them go than fit.
    pub(crate) grow: Option<Grow>,
    pub(crate) copied: Copied,
}

impl<'t> Incoming<'t> {
    /// One into a buffer.
    pub(crate) fn of(ctx: u32, pattern: Pattern, buf: &RecvBuf<'_, 't>) -> Incoming<'t> {
        let RecvBuf { mem, count, ty, .. } = *buf;
        Incoming { ctx, pattern, mem, count, ty, grow: None, copied: Copied::Any }
    }

    /// The operation that it becomes.
    fn posted(&self) -> Body {
        let target = Target { mem: self.mem, count: self.count, ty: self.ty.clone(), grow: self.grow };
        let (ctx, pattern, copied) = (self.ctx, self.pattern, self.copied);
        Body::Recv(RecvOp { ctx, pattern, target, stage: RecvStage::Posted, copied })
    }

    /// The same with room for a message of so many bytes, where that can be made.
    fn fitting(mut self, bytes: u64) -> Self {
        if let Some((mem, count)) = Grow::beyond(self.grow, (self.count * self.ty.size()) as u64, bytes) {
            (self.mem, self.count, self.grow) = (mem, count, None);
        }
        self
    }
}

/// Source, tag and signature of a message being received, for its status and errors.
#[derive(Clone, Copy)]
pub(crate) struct Matched {
    pub(crate) ctx: u32,
    pub(crate) source: i32,
    pub(crate) tag: i32,
    pub(crate) signature: u32,
    pub(crate) bytes: u64,
}

/// What [`Core::recv_direct`] found.
pub(crate) enum Direct {
    /// No record yet.
    Nothing,
    /// One that has to be delivered.
    Other,
    Received(Status),
}

impl Core {
    /// Receives straight out of the ring of `from`: when its first record is a small message that fits
    /// and nothing posted or arrived could come before.
    #[inline]
    pub(crate) fn recv_direct(&mut self, from: ProcId, m: &Incoming<'_>) -> Direct {
        let Some(Some(inlet)) = self.inlets.get_mut(from.0 as usize) else {
            return Direct::Nothing;
        };
        let record = match inlet.ring.peek() {
            Ok(Some(record)) => record,
            Ok(None) => return Direct::Nothing,
            Err(_) => return Direct::Other,
        };
        let e = record.envelope;
        // Anything that is not as it should be is for `deliver`.
        if e.kind != kind::EAGER
            || e.len != record.payload_len() as u64
            || e.ctx != m.ctx
            || !m.pattern.fits(e.src as i32, e.tag)
        {
            return Direct::Other;
        }
        let room = m.count * m.ty.size();
        if e.len > room as u64 || !m.ty.is_contiguous() || signature::mismatch(e.sig, m.ty.signature()) {
            return Direct::Other;
        }
        record.copy_payload_to(m.mem.at(0, e.len as usize));
        inlet.ring.pop();
        if self.trace.is_some() {
            std::hint::cold_path();
            self.trace_taken(from, m.ctx, e.tag, e.len);
        }
        Direct::Received(Status { source: e.src as i32, tag: e.tag, bytes: e.len, cancelled: false })
    }

    /// Takes a small message that has arrived before; large ones need [`Core::recv_start`].
    #[inline]
    pub(crate) fn recv_arrived(&mut self, m: &Incoming<'_>) -> Option<Result<Status>> {
        if self.arrived == 0 {
            return None;
        }
        let queues = self.contexts.get_mut(&m.ctx)?;
        let (_, _, stored) = queues.arrived.find(m.pattern)?;
        if !matches!(stored.content, Content::Packed { .. }) {
            return None;
        }
        let (source, tag, stored) = self.take_arrived(m.ctx, m.pattern)?;
        let Content::Packed { bytes, sync } = stored.content else {
            return None;
        };
        if let Some(op) = sync {
            self.acknowledge(stored.from, op);
        }
        let matched = Matched { ctx: m.ctx, source, tag, signature: stored.signature, bytes: stored.bytes };
        Some(self.unpack(matched, m.mem, m.count, m.ty, &bytes))
    }

    /// Puts a message that has been taken out of the queue into the room for it, if it is small and fits; gives it back if not.
    #[inline]
    pub(crate) fn unpack_whole(
        &mut self,
        m: &Incoming<'_>,
        source: i32,
        tag: i32,
        stored: Stored,
    ) -> std::result::Result<Result<Status>, Stored> {
        let Stored { from, signature, bytes: length, content, record, round } = stored;
        match content {
            Content::Packed { bytes, sync } if length <= (m.count * m.ty.size()) as u64 => {
                if let Some(op) = sync {
                    self.acknowledge(from, op);
                }
                let matched = Matched { ctx: m.ctx, source, tag, signature, bytes: length };
                Ok(self.unpack(matched, m.mem, m.count, m.ty, &bytes))
            }
            content => Err(Stored { from, signature, bytes: length, content, record, round }),
        }
    }

    /// Starts a receive: takes an arrived message or waits in the posted queue.
    pub(crate) fn recv_start(&mut self, m: &Incoming<'_>, owner: Owner) -> Result<RawOp> {
        if let Some((source, tag, stored)) = self.take_arrived(m.ctx, m.pattern) {
            let record = stored.record;
            let op = self.recv_stored(m, source, tag, stored, owner)?;
            if self.attentive {
                self.trace_started(op, record);
            }
            return Ok(op);
        }
        let op = self.ops.add(owner, m.posted());
        self.contexts.entry(m.ctx).or_default().posted.push(m.pattern, op);
        self.posted += 1;
        if self.attentive {
            self.trace_posted(op);
        }
        Ok(op)
    }

    /// Receives a message that has been taken out of the queue.
    pub(crate) fn recv_stored(
        &mut self,
        m: &Incoming<'_>,
        source: i32,
        tag: i32,
        stored: Stored,
        owner: Owner,
    ) -> Result<RawOp> {
        let m = &m.fitting(stored.bytes);
        let matched = Matched { ctx: m.ctx, source, tag, signature: stored.signature, bytes: stored.bytes };
        match stored.content {
            Content::Packed { bytes, sync } => {
                if let Some(op) = sync {
                    self.acknowledge(stored.from, op);
                }
                let outcome = self.unpack(matched, m.mem, m.count, m.ty, &bytes);
                Ok(self.ops.add_complete(owner, outcome))
            }
            Content::Local(send) => {
                let op = self.ops.add(owner, m.posted());
                if let Some(body) = self.ops.send(send) {
                    let data = std::mem::replace(&mut body.data, Data::Owned(Vec::new()));
                    match &data {
                        Data::User { mem, count, ty } => self.copy_to_posted(op, *mem, *count, ty, source, tag),
                        Data::Owned(bytes) => {
                            let outcome = self.unpack(matched, m.mem, m.count, m.ty, bytes);
                            self.ops.complete(op, outcome);
                        }
                    }
                    self.finish_send(send, Ok(Status::EMPTY));
                    self.settle();
                }
                Ok(op)
            }
            Content::Offered { op: remote, block } => {
                let op = self.ops.add(owner, m.posted());
                self.begin_large(op, stored.from, remote, block, matched);
                Ok(op)
            }
        }
    }

    /// Keeps a message for a later receive.
    pub(crate) fn store(&mut self, ctx: u32, source: i32, tag: i32, stored: Stored) {
        self.contexts.entry(ctx).or_default().arrived.push(source, tag, stored);
        self.arrived += 1;
        // Probes and matched probes of other threads wait for this.
        self.ops.completed += 1;
        if self.attentive && self.has_absent() {
            self.answer_for_absent();
        }
    }

    /// Keeps a message of this process that has been packed.
    pub(crate) fn store_owned(&mut self, m: &Outgoing<'_>, packed: Vec<u8>) {
        let (source, bytes) = (m.source as i32, packed.len() as u64);
        if self.counts {
            self.tally.sent_to_self.add(bytes);
        }
        if self.attentive {
            self.trace_sent(m);
        }
        let posted = match self.contexts.get_mut(&m.ctx) {
            Some(queues) if self.posted > 0 => queues.posted.take(source, m.tag),
            _ => None,
        };
        if let Some(recv) = posted {
            self.posted -= 1;
            if self.attentive {
                self.trace_matched(recv, self.me, m.ctx, m.tag, bytes);
            }
            self.copy_to_posted(recv, m.mem, m.count, m.ty, source, m.tag);
            return;
        }
        let content = Content::Packed { bytes: SmallVec::from_vec(packed), sync: None };
        self.store(
            m.ctx,
            source,
            m.tag,
            Stored { from: self.me, signature: m.ty.signature(), bytes, content, record: 0, round: 0 },
        );
    }

    /// Takes the earliest message that fits, claiming it if it is large; skips those whose sender has withdrawn them.
    pub(crate) fn take_arrived(&mut self, ctx: u32, pattern: Pattern) -> Option<(i32, i32, Stored)> {
        while self.arrived > 0 {
            let (source, tag, mut stored) = self.contexts.get_mut(&ctx)?.arrived.take(pattern)?;
            self.arrived -= 1;
            match stored.content {
                Content::Offered { op, block } if !self.claim(stored.from, block, stored.bytes) => {
                    self.release(stored.from, op);
                }
                _ => {
                    if self.attentive {
                        stored.record = self.watch_taken(ctx, pattern, source, tag, &stored);
                    }
                    return Some((source, tag, stored));
                }
            }
        }
        None
    }

    /// Looks at the earliest message that fits.
    pub(crate) fn probe_arrived(&mut self, ctx: u32, pattern: Pattern) -> Option<Status> {
        while self.arrived > 0 {
            let (source, tag, stored) = self.contexts.get_mut(&ctx)?.arrived.find(pattern)?;
            let (bytes, from) = (stored.bytes, stored.from);
            let withdrawn = match stored.content {
                Content::Offered { block, .. } => block,
                _ => 0,
            };
            if withdrawn == 0 || !self.is_withdrawn(from, withdrawn) {
                return Some(Status { source, tag, bytes, cancelled: false });
            }
            let (_, _, stored) = self.contexts.get_mut(&ctx)?.arrived.take(pattern)?;
            self.arrived -= 1;
            if let Content::Offered { op, .. } = stored.content {
                self.release(stored.from, op);
            }
        }
        None
    }

    /// One record from a ring.
    pub(crate) fn deliver(&mut self, from: ProcId, record: &Record<'_>) {
        let e = &record.envelope;
        if !self.is_plausible(record) {
            let what = format!("a record of kind {} with {} of {} bytes", e.kind, record.payload_len(), e.len);
            return self.distrust_sender(from, &what);
        }
        match e.kind {
            kind::EAGER | kind::EAGER_SYNC => self.arrive_eager(from, record),
            kind::OFFER => {
                let mut block = [0; 8];
                record.copy_payload(&mut block);
                self.arrive_offer(from, e, u64::from_ne_bytes(block));
            }
            kind::DATA => self.arrive_data(from, record),
            _ => {
                let mut value = [0; 8];
                record.copy_payload(&mut value);
                let op = RawOp::from_token(e.token);
                match e.kind {
                    kind::MATCHED | kind::DONE => self.finish_send(op, Ok(Status::EMPTY)),
                    kind::PIPE => self.start_pushing(op, u64::from_ne_bytes(value), e.len),
                    kind::STREAM => self.start_streaming(op, RawOp::from_token(u64::from_ne_bytes(value)), e.len),
                    _ => {}
                }
            }
        }
    }

    /// Whether a sender can have made such a record: the lengths it tells are used for copies and answers. From which length
    /// on it offers, each sender decides for itself.
    #[inline]
    fn is_plausible(&self, record: &Record<'_>) -> bool {
        let (e, payload) = (&record.envelope, record.payload_len());
        match e.kind {
            kind::EAGER | kind::EAGER_SYNC | kind::DATA => e.len == payload as u64,
            kind::OFFER => payload == 8 && (1..=MOST).contains(&e.len),
            kind::MATCHED | kind::DONE | kind::PIPE | kind::STREAM => payload == 8,
            _ => false,
        }
    }

    fn take_posted(&mut self, e: &Envelope, from: ProcId) -> Option<RawOp> {
        if self.posted == 0 {
            return None;
        }
        let op = self.contexts.get_mut(&e.ctx)?.posted.take(e.src as i32, e.tag)?;
        self.posted -= 1;
        if self.attentive {
            self.watch_matched(op, e, from);
        }
        Some(op)
    }

    /// A message has been taken for a receive of this thread, in a program that is checked or traced, or while another receive
    /// is absent; its record.
    #[cold]
    pub(super) fn watch_taken(&mut self, ctx: u32, pattern: Pattern, source: i32, tag: i32, stored: &Stored) -> u32 {
        if self.has_absent() {
            // It may have been for that one.
            self.answer_for_absent();
        }
        if pattern.source == ANY_SOURCE && self.check.is_some() {
            self.look_for_race(ctx, pattern, source);
        }
        self.trace_taken(stored.from, ctx, tag, stored.bytes)
    }

    /// A message has come for a receive that waited, in such a program.
    #[cold]
    fn watch_matched(&mut self, op: RawOp, e: &Envelope, from: ProcId) {
        if self.check.is_some() {
            self.look_for_race_of(op, e.ctx, e.src as i32, from);
        }
        self.decided_later(op, Some((e.src as i32, e.tag)));
        self.trace_matched(op, from, e.ctx, e.tag, e.len);
    }

    fn arrive_eager(&mut self, from: ProcId, record: &Record<'_>) {
        let e = record.envelope;
        let sync = (e.kind == kind::EAGER_SYNC).then(|| RawOp::from_token(e.token));
        let Some(op) = self.take_posted(&e, from) else {
            let mut bytes = SmallVec::from_elem(0, record.payload_len());
            record.copy_payload(&mut bytes);
            let content = Content::Packed { bytes, sync };
            self.store(
                e.ctx,
                e.src as i32,
                e.tag,
                Stored { from, signature: e.sig, bytes: e.len, content, record: 0, round: 0 },
            );
            return;
        };
        if let Some(send) = sync {
            self.acknowledge(from, send);
        }
        let Some(recv) = self.ops.recv(op) else {
            return;
        };
        recv.target.fit(e.len);
        let target = recv.target.clone();
        let room = target.room();
        let outcome = if target.ty.is_contiguous() {
            record.copy_payload_to(target.mem.at(0, e.len.min(room) as usize));
            self.outcome(matched(&e), room, &target.ty)
        } else {
            let mut packed = std::mem::take(&mut self.scratch);
            packed.resize(record.payload_len(), 0);
            record.copy_payload(&mut packed);
            let outcome = self.unpack(matched(&e), target.mem, target.count, &target.ty, &packed);
            self.scratch = packed;
            outcome
        };
        self.ops.complete(op, outcome);
    }

    fn arrive_offer(&mut self, from: ProcId, e: &Envelope, block: u64) {
        let remote = RawOp::from_token(e.token);
        let wanted =
            self.posted > 0 && self.contexts.get_mut(&e.ctx).is_some_and(|q| q.posted.has(e.src as i32, e.tag));
        if !wanted {
            let content = Content::Offered { op: remote, block };
            self.store(
                e.ctx,
                e.src as i32,
                e.tag,
                Stored { from, signature: e.sig, bytes: e.len, content, record: 0, round: 0 },
            );
        } else if !self.claim(from, block, e.len) {
            self.release(from, remote);
        } else if let Some(op) = self.take_posted(e, from) {
            self.begin_large(op, from, remote, block, matched(e));
        }
    }

    /// Tells a synchronous sender that its message has been matched.
    pub(crate) fn acknowledge(&mut self, to: ProcId, send: RawOp) {
        if to == self.me {
            self.finish_send(send, Ok(Status::EMPTY));
            self.settle();
        } else {
            // The link exists or memory is out; then the sender waits until the job ends.
            let _ = self.control(to, kind::MATCHED, send.token(), 0);
        }
    }

    /// Copies a message of this process into a posted receive and completes that.
    pub(crate) fn copy_to_posted(
        &mut self,
        op: RawOp,
        mem: ConstMem,
        count: usize,
        ty: &Datatype,
        source: i32,
        tag: i32,
    ) {
        if self.attentive {
            self.decided_later(op, Some((source, tag)));
        }
        let Some(recv) = self.ops.recv(op) else {
            return;
        };
        let bytes = count * ty.size();
        recv.target.fit(bytes as u64);
        let (target, ctx) = (recv.target.clone(), recv.ctx);
        let n = bytes.min(target.room() as usize);
        if ty.is_contiguous() && target.ty.is_contiguous() {
            fill(mem.at(0, n), target.mem.at(0, n));
        } else {
            let mut staged = std::mem::take(&mut self.scratch);
            staged.resize(n.min(super::large::STAGE), 0);
            let mut at = 0;
            while at < n {
                let step = staged.len().min(n - at);
                ty.pack(count, &mem, at, &mut staged[..step]);
                target.ty.unpack(target.count, &mut target.mem.clone(), at, &staged[..step]);
                at += step;
            }
            self.scratch = staged;
        }
        let matched = Matched { ctx, source, tag, signature: ty.signature(), bytes: bytes as u64 };
        let outcome = self.outcome(matched, target.room(), &target.ty);
        self.ops.complete(op, outcome);
    }

    /// Puts packed data into a buffer.
    pub(crate) fn unpack(
        &self,
        m: Matched,
        mut mem: MutMem,
        count: usize,
        ty: &Datatype,
        packed: &[u8],
    ) -> Result<Status> {
        let room = count * ty.size();
        ty.unpack(count, &mut mem, 0, &packed[..packed.len().min(room)]);
        self.outcome(m, room as u64, ty)
    }

    /// Status of a received message, or the error of one that is longer than its room, or whose type does not match.
    pub(crate) fn outcome(&self, m: Matched, room: u64, ty: &Datatype) -> Result<Status> {
        if m.bytes > room {
            return Err(self.truncated(m, room, ty));
        }
        // No elements match every type.
        if signature::mismatch(m.signature, ty.signature()) && m.bytes > 0 {
            return Err(self.mistyped(m, ty));
        }
        Ok(Status { source: m.source, tag: m.tag, bytes: m.bytes, cancelled: false })
    }

    #[cold]
    fn mistyped(&self, m: Matched, ty: &Datatype) -> Error {
        Error::new(
            ErrorClass::Type,
            format!(
                "type mismatch: rank {} sent {} bytes of {} with tag {} on {}, but this rank receives {}; the types of both \
                 sides must match (MPI_BYTE matches all)",
                m.source,
                m.bytes,
                signature::describe(m.signature),
                m.tag,
                self.context_name(m.ctx),
                signature::describe(ty.signature()),
            ),
        )
    }

    #[cold]
    fn truncated(&self, m: Matched, room: u64, ty: &Datatype) -> Error {
        Error::new(
            ErrorClass::Truncate,
            format!(
                "message truncated: {} bytes ({}) came from rank {} with tag {} on {}, but the receive buffer holds {} bytes ({}); \
                 receive with a larger buffer, or ask for the size with a probe first",
                m.bytes,
                signature::describe(m.signature),
                m.source,
                m.tag,
                self.context_name(m.ctx),
                room,
                signature::describe(ty.signature()),
            ),
        )
    }

    /// Withdraws a receive: after this its memory is not touched any more. True when it had not matched.
    pub(crate) fn cancel_recv(&mut self, op: RawOp) -> bool {
        let Some(recv) = self.ops.recv(op) else {
            return false;
        };
        let (ctx, pattern) = (recv.ctx, recv.pattern);
        if !matches!(recv.stage, RecvStage::Posted) {
            return false;
        }
        let removed = self.contexts.get_mut(&ctx).is_some_and(|q| q.posted.remove(pattern, op));
        if removed {
            self.posted -= 1;
            self.ops.complete(op, Ok(Status { cancelled: true, ..Status::EMPTY }));
        }
        removed
    }
}

fn matched(e: &Envelope) -> Matched {
    Matched { ctx: e.ctx, source: e.src as i32, tag: e.tag, signature: e.sig, bytes: e.len }
}
