//! `--trace`: who records what a process does is told here of its messages and waits.
//!
//! A small message that has been put into a ring or taken out of one is told of where that was done, if there is somebody to tell: the
//! hot paths look at one word more. What a traced program goes through at each message is not marked as cold: the compiler would make it
//! short and not quick.
//!
//! Nothing is added to what ranks send: messages of one line (sender, receiver, context, tag) are matched in the order in which
//! they were sent, and each side records its own in that order, under the engine's lock.

use std::sync::{Arc, OnceLock};

use phalanx_shm::ProcId;

use super::Engine;
use super::core::{Core, is_users};
use super::ops::RawOp;
use super::send::Outgoing;

/// One end of a message.
#[derive(Clone, Copy, Debug)]
pub struct Traced {
    /// What happened here.
    pub event: TraceEvent,
    /// The call that sent the message or asked for it, as [`Tracer::call`] said; `None` for the one that this thread is in.
    pub call: Option<u32>,
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
    /// It is sent, and may be taken back as long as it has not gone.
    Sent,
    /// It was sent, and has gone.
    Gone,
    /// It was matched with a receive.
    Matched,
}

/// Records. Its functions run under the engine's lock: they wait for nothing and call nothing of the engine.
pub trait Tracer: Send + Sync {
    /// The call that this thread is in; 0 for none.
    fn call(&self) -> u32;
    /// Something happened to a message. The number of what was recorded; 0 for nothing.
    fn message(&self, message: Traced) -> u32;
    /// The receive of a matched message has been completed in the call that this thread is in.
    fn completed(&self, record: u32);
    /// A message that was sent has been taken back: nobody receives it.
    fn taken_back(&self, record: u32);
    /// This thread begins to wait: the time by the recorder's own clock. (Without the lock.)
    fn waits(&self) -> u64;
    /// This thread has waited since then, by that clock. (Without the lock.)
    fn waited(&self, since: u64);
}

/// What is known of an operation.
#[derive(Clone, Copy, Default)]
struct Known {
    token: u64,
    /// The call that posted it; of a send, nothing.
    call: Option<u32>,
    /// The record of its match, or of its sending.
    record: u32,
}

/// The tracer, and what it needs to know of receives under way.
pub(crate) struct Trace {
    tracer: Arc<dyn Tracer>,
    /// By the place of the operation among all.
    ops: Vec<Known>,
}

/// The tracer, for waits.
pub(super) type Waits = OnceLock<Arc<dyn Tracer>>;

impl Engine {
    /// Lets everything be recorded from now on.
    pub fn trace(&self, tracer: Arc<dyn Tracer>) {
        self.blocked().trace(tracer.clone());
        let mut core = self.core();
        core.trace = Some(Box::new(Trace { tracer, ops: Vec::new() }));
        core.set_attentive();
    }
}

impl Core {
    /// A message is sent. Its record; 0 for none.
    #[cold]
    pub(super) fn trace_sent(&mut self, m: &Outgoing<'_>) -> u32 {
        self.trace_outgoing(m, TraceEvent::Sent)
    }

    /// A message has gone.
    #[inline(never)]
    pub(super) fn trace_gone(&mut self, m: &Outgoing<'_>) {
        self.trace_outgoing(m, TraceEvent::Gone);
    }

    #[inline]
    fn trace_outgoing(&mut self, m: &Outgoing<'_>, event: TraceEvent) -> u32 {
        let Some(trace) = self.trace.as_ref().filter(|_| is_users(m.ctx)) else { return 0 };
        let bytes = m.bytes() as u64;
        trace.tracer.message(Traced { event, call: None, other: m.dest, ctx: m.ctx, tag: m.tag, bytes })
    }

    /// The message with this record is sent by an operation, and may still be taken back.
    #[cold]
    pub(super) fn trace_sends(&mut self, op: RawOp, record: u32) {
        if let Some(trace) = self.trace.as_mut() {
            trace.know(Known { token: op.token(), call: None, record }, op);
        }
    }

    /// It has been.
    #[cold]
    pub(super) fn trace_taken_back(&mut self, op: RawOp) {
        if let Some(trace) = self.trace.as_mut()
            && let Some(known) = trace.known(op)
        {
            let record = std::mem::take(&mut known.record);
            if record != 0 {
                trace.tracer.taken_back(record);
            }
        }
    }

    /// A message has been matched with a receive of this thread. Its record; 0 for none.
    #[inline(never)]
    pub(super) fn trace_taken(&mut self, from: ProcId, ctx: u32, tag: i32, bytes: u64) -> u32 {
        let Some(trace) = self.trace.as_ref().filter(|_| is_users(ctx)) else { return 0 };
        trace.tracer.message(Traced { event: TraceEvent::Matched, call: None, other: from, ctx, tag, bytes })
    }

    /// The receive of a message that has been taken, with its record, is this operation.
    #[cold]
    pub(super) fn trace_started(&mut self, op: RawOp, record: u32) {
        let Some(trace) = self.trace.as_mut() else { return };
        let call = trace.tracer.call();
        trace.know(Known { token: op.token(), call: Some(call), record }, op);
    }

    /// A message that a probe took is received by this call: by this operation, which may be completed in another one.
    #[cold]
    pub(crate) fn trace_received(&mut self, op: RawOp, record: u32) {
        let Some(trace) = &self.trace else { return };
        trace.tracer.completed(record);
        self.trace_started(op, record);
    }

    /// A receive waits for a message.
    #[cold]
    pub(super) fn trace_posted(&mut self, op: RawOp) {
        let Some(trace) = self.trace.as_mut() else { return };
        let call = trace.tracer.call();
        trace.know(Known { token: op.token(), call: Some(call), record: 0 }, op);
    }

    /// A message has been matched with a receive that waited for it.
    #[cold]
    pub(super) fn trace_matched(&mut self, op: RawOp, from: ProcId, ctx: u32, tag: i32, bytes: u64) {
        let Some(trace) = self.trace.as_mut().filter(|_| is_users(ctx)) else { return };
        let Some(call) = trace.known(op).and_then(|known| known.call) else { return };
        let matched = Traced { event: TraceEvent::Matched, call: Some(call), other: from, ctx, tag, bytes };
        let record = trace.tracer.message(matched);
        if let Some(known) = trace.known(op) {
            known.record = record;
        }
    }

    /// The request of an operation is completed.
    #[cold]
    pub(crate) fn trace_completed(&mut self, op: RawOp) {
        let Some(trace) = self.trace.as_mut() else { return };
        let Some(known) = trace.known(op) else { return };
        let Known { call, record, .. } = std::mem::take(known);
        if record != 0 && call.is_some() {
            trace.tracer.completed(record);
        }
    }
}

impl Trace {
    fn known(&mut self, op: RawOp) -> Option<&mut Known> {
        self.ops.get_mut(op.place()).filter(|known| known.token == op.token())
    }

    fn know(&mut self, known: Known, op: RawOp) {
        let place = op.place();
        if place >= self.ops.len() {
            self.ops.resize(place + 1, Known::default());
        }
        self.ops[place] = known;
    }
}
