//! `--trace`: who records what a process does is told here of its messages and waits.
//!
//! While it is on, small sends leave the hot path as they do for `--check` ([`Core::eager_end`]) and receives out of a ring do
//! ([`Core::direct_kind`]), for cold paths that do the same and tell. Off, no call looks at anything more.
//!
//! Nothing is added to what ranks send: messages of one line (sender, receiver, context, tag) are matched in the order in which
//! they were sent, and each side records its own in that order, under the engine's lock.

use std::sync::{Arc, OnceLock};

use phalanx_shm::ProcId;

use crate::pt2pt::partitioned::PARTITIONED;

use super::Engine;
use super::core::Core;
use super::kind;
use super::ops::RawOp;
use super::send::Outgoing;

/// One end of a message.
#[derive(Clone, Copy, Debug)]
pub struct Traced {
    /// What happened here.
    pub event: TraceEvent,
    /// The call that sent the message or asked for it, as [`Tracer::call`] said.
    pub call: u32,
    /// The other side.
    pub other: ProcId,
    /// The context.
    pub ctx: u32,
    /// The tag.
    pub tag: i32,
    /// The bytes.
    pub bytes: u64,
}

/// What happened to a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TraceEvent {
    /// It was sent.
    Sent,
    /// It was matched with a receive.
    Matched,
    /// It was sent, and then taken back.
    Unsent,
}

/// Records. Its functions run under the engine's lock: they wait for nothing and call nothing of the engine.
pub trait Tracer: Send + Sync {
    /// The call that this thread is in; 0 for none.
    fn call(&self) -> u32;
    /// Something happened to a message. The number of what was recorded; 0 for nothing.
    fn message(&self, message: Traced) -> u32;
    /// The receive of a matched message has been completed in the call that this thread is in.
    fn completed(&self, record: u32);
    /// This thread has waited for so many nanoseconds. (Without the lock.)
    fn waited(&self, nanoseconds: u64);
}

/// What is known of an operation.
#[derive(Clone, Copy, Default)]
struct Known {
    token: u64,
    /// The call that posted it.
    call: u32,
    /// The record of its match.
    record: u32,
}

/// The tracer, and what it needs to know of receives under way.
pub(crate) struct Trace {
    tracer: Arc<dyn Tracer>,
    /// By the place of the operation among all.
    ops: Vec<Known>,
    /// The record of the message that was taken last.
    last: u32,
}

/// The tracer, for waits.
pub(super) type Waits = OnceLock<Arc<dyn Tracer>>;

/// Whether a context is that of messages of the program.
fn is_users(ctx: u32) -> bool {
    ctx.is_multiple_of(4) && ctx & PARTITIONED == 0
}

impl Engine {
    /// Lets everything be recorded from now on.
    pub fn trace(&self, tracer: Arc<dyn Tracer>) {
        self.blocked().trace(tracer.clone());
        let mut core = self.core();
        core.trace = Some(Box::new(Trace { tracer, ops: Vec::new(), last: 0 }));
        core.attentive = true;
        core.direct_kind = kind::NONE;
        core.set_eager_end();
    }
}

impl Core {
    /// A message has been sent.
    #[cold]
    pub(super) fn trace_sent(&mut self, m: &Outgoing<'_>) {
        let Some(trace) = self.trace.as_ref().filter(|_| is_users(m.ctx)) else { return };
        let (call, bytes) = (trace.tracer.call(), m.bytes() as u64);
        let sent = Traced { event: TraceEvent::Sent, call, other: m.dest, ctx: m.ctx, tag: m.tag, bytes };
        trace.tracer.message(sent);
    }

    /// A send is about to be taken back.
    #[cold]
    pub(super) fn unsent(&mut self, op: RawOp) -> Option<Traced> {
        self.trace.as_ref()?;
        let send = self.ops.send(op).filter(|send| is_users(send.ctx))?;
        let (other, ctx, tag, bytes) = (send.dest, send.ctx, send.tag, send.bytes);
        Some(Traced { event: TraceEvent::Unsent, call: 0, other, ctx, tag, bytes })
    }

    /// It has been.
    #[cold]
    pub(super) fn trace_unsent(&self, unsent: Option<Traced>) {
        if let (Some(trace), Some(unsent)) = (&self.trace, unsent) {
            trace.tracer.message(unsent);
        }
    }

    /// A message has been matched with a receive of this thread.
    #[cold]
    pub(super) fn trace_taken(&mut self, from: ProcId, ctx: u32, tag: i32, bytes: u64) {
        let Some(trace) = self.trace.as_mut() else { return };
        trace.last = 0;
        if is_users(ctx) {
            let call = trace.tracer.call();
            let matched = Traced { event: TraceEvent::Matched, call, other: from, ctx, tag, bytes };
            trace.last = trace.tracer.message(matched);
        }
    }

    /// The receive of the message that was taken last is this operation.
    #[cold]
    pub(super) fn trace_started(&mut self, op: RawOp) {
        let Some(trace) = self.trace.as_mut() else { return };
        let (call, record) = (trace.tracer.call(), std::mem::take(&mut trace.last));
        trace.know(Known { token: op.token(), call, record }, op);
    }

    /// A receive waits for a message.
    #[cold]
    pub(super) fn trace_posted(&mut self, op: RawOp) {
        let Some(trace) = self.trace.as_mut() else { return };
        let call = trace.tracer.call();
        trace.know(Known { token: op.token(), call, record: 0 }, op);
    }

    /// A message has been matched with a receive that waited for it.
    #[cold]
    pub(super) fn trace_matched(&mut self, op: RawOp, from: ProcId, ctx: u32, tag: i32, bytes: u64) {
        let Some(trace) = self.trace.as_mut().filter(|_| is_users(ctx)) else { return };
        let Some(known) = trace.ops.get_mut(op.place()).filter(|known| known.token == op.token()) else { return };
        let call = known.call;
        let matched = Traced { event: TraceEvent::Matched, call, other: from, ctx, tag, bytes };
        known.record = trace.tracer.message(matched);
    }

    /// The request of an operation is completed.
    #[cold]
    pub(crate) fn trace_completed(&mut self, op: RawOp) {
        let Some(trace) = self.trace.as_mut() else { return };
        let Some(known) = trace.ops.get_mut(op.place()).filter(|known| known.token == op.token()) else { return };
        let record = std::mem::take(&mut known.record);
        if record != 0 {
            trace.tracer.completed(record);
        }
    }
}

impl Trace {
    fn know(&mut self, known: Known, op: RawOp) {
        let place = op.place();
        if place >= self.ops.len() {
            self.ops.resize(place + 1, Known::default());
        }
        self.ops[place] = known;
    }
}
