//! What the engine counts, and what of it can be set while it runs: for the tool interface.
//!
//! Small messages are not counted as long as nobody asks. The limit that every send compares its length with anyway is 0
//! then ([`Core::eager_end`](super::Core::eager_end)), so that all of them leave the hot path, and the one behind it counts. Everything
//! else that is counted is at places that cost much more than an addition. Lengths of queues are looked at when asked for.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use phalanx_shm::Deed;

use crate::error::{Result, fail};

use super::Engine;
use super::core::Core;
use super::trace::{Tracer, Waits};

/// Messages of a kind, and their bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Moved {
    /// How many.
    pub messages: u64,
    /// Their bytes together.
    pub bytes: u64,
}

impl Moved {
    #[inline]
    pub(crate) fn add(&mut self, bytes: u64) {
        self.messages += 1;
        self.bytes += bytes;
    }
}

/// What this process has done so far. Counts that begin with "sent" are complete only for the time in which
/// [`Engine::count_messages`] was on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Sent in one record of a ring.
    pub sent_eager: Moved,
    /// Of those, the ones that had to wait for room in the ring.
    pub sent_late: u64,
    /// Offered to a receiver that fetches them.
    pub sent_offered: Moved,
    /// Sent to this process itself.
    pub sent_to_self: Moved,
    /// Large messages that began to come through a pipe.
    pub received_by_pipe: Moved,
    /// Large messages that began to be copied out of the sender's memory by this process alone.
    pub received_by_single_copy: Moved,
    /// Large messages that began to come through the ring, in pieces.
    pub received_by_ring: Moved,
    /// Times that a thread went to sleep in a wait.
    pub sleeps: u64,
    /// Time that threads spent in waits, while [`Engine::count_messages`] was on.
    pub blocked: Duration,
}

/// What is waiting at this moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Levels {
    /// Messages that have arrived and that nobody has asked for, and their bytes (of large ones, those still at the sender).
    pub unexpected: Moved,
    /// Receives that no message has come for.
    pub posted: u64,
    /// Sends and receives that are not complete.
    pub operations: u64,
    /// Nonblocking collectives and other operations in several steps that are not complete.
    pub schedules: u64,
    /// Bytes of the job's shared memory that are in use, by all of its processes.
    pub shared: u64,
}

/// How long threads have been blocked, as far as somebody wants to know.
#[derive(Default)]
pub(super) struct Blocked {
    /// Who wants it: [`COUNTED`], [`TRACED`].
    wanted: AtomicU8,
    nanoseconds: AtomicU64,
    tracer: Waits,
}

const COUNTED: u8 = 1;
const TRACED: u8 = 2;

/// The time of one wait, from here to the drop.
pub(super) struct Stopwatch<'a> {
    blocked: &'a Blocked,
    /// For who counts.
    since: Option<Instant>,
    /// For who traces, by the tracer's clock: it is looked at on the way out of a call, and this one takes less time.
    traced: Option<(&'a dyn Tracer, u64)>,
}

impl Blocked {
    #[inline]
    pub(super) fn begin(&self) -> Stopwatch<'_> {
        match self.wanted.load(Ordering::Relaxed) {
            0 => Stopwatch { blocked: self, since: None, traced: None },
            wanted => self.begin_for(wanted),
        }
    }

    #[cold]
    fn begin_for(&self, wanted: u8) -> Stopwatch<'_> {
        let tracer = self.tracer.get().filter(|_| wanted & TRACED != 0);
        Stopwatch {
            blocked: self,
            since: (wanted & COUNTED != 0).then(Instant::now),
            traced: tracer.map(|tracer| (&**tracer, tracer.waits())),
        }
    }

    fn want(&self, who: u8, on: bool) {
        if on {
            self.wanted.fetch_or(who, Ordering::Relaxed);
        } else {
            self.wanted.fetch_and(!who, Ordering::Relaxed);
        }
    }

    /// Tells every wait from now on.
    pub(super) fn trace(&self, tracer: Arc<dyn Tracer>) {
        let _ = self.tracer.set(tracer);
        self.want(TRACED, true);
    }

    #[cold]
    fn add(&self, since: Instant) {
        self.nanoseconds.fetch_add(since.elapsed().as_nanos() as u64, Ordering::Relaxed);
    }
}

impl Drop for Stopwatch<'_> {
    #[inline]
    fn drop(&mut self) {
        if let Some((tracer, since)) = self.traced {
            tracer.waited(since);
        }
        if let Some(since) = self.since {
            self.blocked.add(since);
        }
    }
}

/// Whether the environment allows copies straight out of another process's memory.
pub fn single_copy_allowed() -> bool {
    std::env::var_os("PHALANX_SINGLE_COPY").is_none_or(|v| v != "0")
}

impl Engine {
    /// Begins or ends the counting of what costs something to count. Whoever calls it settles who else wants it.
    pub fn count_messages(&self, on: bool) {
        self.blocked().want(COUNTED, on);
        let mut core = self.core();
        core.counted_by_tools = on;
        core.settle_counting();
    }

    /// What has been counted so far.
    pub fn tally(&self) -> Tally {
        let blocked = Duration::from_nanos(self.blocked().nanoseconds.load(Ordering::Relaxed));
        Tally { blocked, ..self.core().tally }
    }

    /// What is waiting now.
    pub fn levels(&self) -> Levels {
        let shared = self.universe().live();
        let core = self.core();
        let mut unexpected = Moved::default();
        core.contexts
            .values()
            .flat_map(|queues| queues.arrived.messages())
            .for_each(|stored| unexpected.add(stored.bytes));
        Levels {
            unexpected,
            posted: core.posted as u64,
            operations: core.ops.under_way().count() as u64,
            schedules: core.schedules.active as u64,
            shared,
        }
    }

    /// Counts a call, where somebody looks from outside. Where nobody does, it is a look at a word of this process's own slot, which is
    /// seldom written.
    #[inline]
    pub(crate) fn count(&self, deed: Deed, bytes: impl FnOnce() -> u64) {
        let slot = self.universe().slot(self.me());
        if slot.is_observed() {
            slot.count(deed, bytes());
        }
    }

    /// Bytes up to which a message is sent at once, in one record.
    pub fn eager_limit(&self) -> usize {
        self.core().eager_limit
    }

    /// Sets [`Engine::eager_limit`], for messages that this process sends from now on.
    ///
    /// # Errors
    /// Class `Arg` when it is more than a record holds.
    pub fn set_eager_limit(&self, bytes: usize) -> Result<()> {
        let most = self.core().most_payload();
        if bytes > most {
            fail!(Arg, "messages of {bytes} bytes cannot be sent in one record, which holds {most}");
        }
        let mut core = self.core();
        core.eager_limit = bytes;
        core.set_eager_end();
        Ok(())
    }

    /// Whether large messages may be copied straight out of the sender's memory.
    pub fn single_copy(&self) -> bool {
        self.core().single_copy
    }

    /// Sets [`Engine::single_copy`], for messages that this process receives from now on.
    pub fn set_single_copy(&self, on: bool) {
        let mut core = self.core();
        core.single_copy = on;
        // Which processes can be reached was found out under the other rule.
        core.copyable.clear();
    }

    /// Whether the launcher lets the others go on when a rank has failed.
    pub fn keeps_going(&self) -> bool {
        self.core().keeps_going
    }
}

impl Core {
    /// Counts from now on, if anybody wants that, in this process or outside.
    fn settle_counting(&mut self) {
        self.counts = self.counted_by_tools || self.is_observed;
        self.set_eager_end();
    }

    /// Tells who looks from outside, if somebody does, what was sent.
    pub(super) fn tell_observer(&mut self) {
        let on = self.universe.slot(self.me).is_observed();
        if on != self.is_observed {
            self.is_observed = on;
            self.settle_counting();
        }
        if on {
            let Tally { sent_eager, sent_offered, sent_to_self, .. } = self.tally;
            let all = [sent_eager, sent_offered, sent_to_self];
            let (messages, bytes) = (all.iter().map(|sent| sent.messages), all.iter().map(|sent| sent.bytes));
            self.universe.slot(self.me).tell_sent(messages.sum(), bytes.sum());
        }
    }

    pub(super) fn set_eager_end(&mut self) {
        self.eager_end = if self.counts || self.check.is_some() { 0 } else { self.eager_limit + 1 };
    }
}
