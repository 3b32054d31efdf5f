//! Few bytes of a target's private memory: asked of the target itself while it waits and looks, else of the kernel.
//!
//! A system call that reads or writes another process's memory takes a microsecond or two, whatever the size; combining into it takes
//! two of them. A target that polls in a call of MPI answers in less, if the lines between the two CPUs are not slow. It may as well compute, sleep, or not have a CPU;
//! so who asks waits about as long as the kernel would take, takes the request back then, and does not ask again for a while. One
//! that sleeps is woken after some accesses, and stays awake for as long as it is asked.

use std::cell::Cell;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use phalanx_shm::errand::{Act, Answer, ERRAND_MOST, Request, WHERE};

use crate::engine::Engine;
use crate::error::Result;

use super::Window;
use super::reach::{Place, Reach};

/// Looks at an answer between two looks at the clock and at what others ask of this rank.
const LOOKS: u32 = 16;

/// Accesses for which a target is not asked, after asking was slower than the kernel.
const SELDOM: u32 = 256;

/// Accesses to a target that sleeps, after which it is woken: who has made so many may make as many more, all of which take
/// less time then. And so many at most, twice as many each time that it fell asleep before it had answered as often.
const KNOCK: u32 = 32;
const KNOCK_SELDOM: u32 = 4096;

/// How long a target that is woken may take to answer, in times of the longest that a wait looks before it sleeps: that is what a wake-up
/// takes, and a CPU of a virtual machine that was idle takes longer now and then.
const WAKING: u32 = 4;

/// Of so many accesses one is timed.
const SAMPLED: u32 = 8;

/// What accesses of one kind to a target's private memory have cost. Numbers of one process, which decide about cost only.
#[derive(Debug, Default)]
pub(super) struct Asked {
    /// Nanoseconds that the kernel takes, and an answer of the target: the last ones count most; 0 before the first one.
    kernel: AtomicU32,
    answer: AtomicU32,
    /// Accesses for which the target is not asked, and how many it was the last time.
    rest: AtomicU32,
    last: AtomicU32,
    /// Accesses that found the target asleep since it was woken, how many there are until it is, 0 for `KNOCK`, and how often it had
    /// answered then.
    asleep: AtomicU32,
    knock: AtomicU32,
    knocked: AtomicU32,
    /// Accesses of each kind.
    by_kernel: AtomicU32,
    answered: AtomicU32,
}

/// Lets `mean` follow a time. One that came to wait for a CPU tells nothing.
fn follow(mean: &AtomicU32, took: Duration) {
    let before = mean.load(Ordering::Relaxed);
    let took = u32::try_from(took.as_nanos()).unwrap_or(u32::MAX).max(1);
    let next = if before == 0 { took } else { before - before / 4 + took.min(before.saturating_mul(3)) / 4 };
    mean.store(next.max(1), Ordering::Relaxed);
}

impl Asked {
    /// Whether to ask now: how long an answer may take.
    #[inline]
    fn patience(&self) -> Option<Duration> {
        let rest = self.rest.load(Ordering::Relaxed);
        if rest > 0 {
            self.rest.store(rest - 1, Ordering::Relaxed);
            return None;
        }
        // A rank that has just begun to wait comes to its first look by then.
        Some(2 * Duration::from_nanos(self.kernel.load(Ordering::Relaxed).into())).filter(|time| !time.is_zero())
    }

    /// The target sleeps: whether to wake it.
    #[cold]
    fn knocks(&self) -> bool {
        let until = self.knock.load(Ordering::Relaxed).max(KNOCK);
        if self.asleep.fetch_add(1, Ordering::Relaxed) + 1 < until {
            return false;
        }
        let answered = self.answered.load(Ordering::Relaxed);
        let since = answered.saturating_sub(self.knocked.swap(answered, Ordering::Relaxed));
        let next = if since >= until { KNOCK } else { (2 * until).min(KNOCK_SELDOM) };
        self.knock.store(next, Ordering::Relaxed);
        self.asleep.store(0, Ordering::Relaxed);
        true
    }

    /// The target did not answer in time.
    #[cold]
    fn leave_alone(&self) {
        let rest = (2 * self.last.load(Ordering::Relaxed) + 1).min(SELDOM);
        self.last.store(rest, Ordering::Relaxed);
        self.rest.store(rest, Ordering::Relaxed);
    }

    /// The target has answered, in so much time if that was looked at.
    #[inline]
    fn has_answered(&self, took: Option<Duration>) {
        self.answered.fetch_add(1, Ordering::Relaxed);
        self.last.store(0, Ordering::Relaxed);
        let Some(took) = took else { return };
        follow(&self.answer, took);
        if self.answer.load(Ordering::Relaxed) > self.kernel.load(Ordering::Relaxed) {
            self.rest.store(SELDOM, Ordering::Relaxed);
            // The first answer after it is looked at.
            self.answered.fetch_and(!(SAMPLED - 1), Ordering::Relaxed);
        }
    }

    /// Whether to time the next access of a kind that was counted so often.
    #[inline]
    fn is_sampled(count: &AtomicU32) -> bool {
        count.load(Ordering::Relaxed).is_multiple_of(SAMPLED)
    }

    /// Takes the kernel for one that needs so many nanoseconds.
    #[cfg(test)]
    pub(super) fn expect(&self, nanoseconds: u32) {
        self.kernel.store(nanoseconds, Ordering::Relaxed);
        self.rest.store(0, Ordering::Relaxed);
    }

    /// How often the target has answered.
    #[cfg(test)]
    pub(super) fn answered(&self) -> u32 {
        self.answered.load(Ordering::Relaxed)
    }
}

/// The bytes that an access moves.
pub(super) enum Bytes<'a> {
    Write(&'a [u8]),
    Read(&'a mut [u8]),
    /// Bytes that are combined with those there, as a number says, and room for what was there.
    Combine(u32, &'a [u8], &'a mut [u8]),
    /// So many bytes of this process that are combined with those there: where they are.
    CombineFrom(u32, [u8; WHERE], usize),
}

impl Bytes<'_> {
    fn act(&self) -> Act {
        match self {
            Bytes::Write(_) => Act::Write,
            Bytes::Read(_) => Act::Read,
            Bytes::Combine(how, ..) => Act::Combine(*how),
            Bytes::CombineFrom(how, ..) => Act::CombineFrom(*how),
        }
    }

    /// Bytes of the target's memory.
    fn len(&self) -> usize {
        match self {
            Bytes::Write(bytes) | Bytes::Combine(_, bytes, _) => bytes.len(),
            Bytes::Read(bytes) => bytes.len(),
            Bytes::CombineFrom(.., len) => *len,
        }
    }

    fn sent(&self) -> &[u8] {
        match self {
            Bytes::Write(bytes) | Bytes::Combine(_, bytes, _) => bytes,
            Bytes::CombineFrom(_, place, _) => place,
            Bytes::Read(_) => &[],
        }
    }

    /// Room for what was there.
    fn room(&mut self) -> &mut [u8] {
        match self {
            Bytes::Read(room) | Bytes::Combine(_, _, room) => room,
            Bytes::Write(_) | Bytes::CombineFrom(..) => &mut [],
        }
    }
}

impl Reach<'_, '_> {
    /// Whether the target may be asked at all.
    #[inline]
    pub(super) fn asks(&self) -> bool {
        self.win.0.asks && self.here().is_none()
    }

    /// Whether so many bytes in one piece may be asked of the target.
    #[inline]
    pub(super) fn may_ask(&self, len: usize) -> bool {
        len <= ERRAND_MOST && self.win.0.asks
    }

    /// What is known of accesses of this kind.
    fn asked(&self, bytes: &Bytes<'_>) -> Option<&Asked> {
        let Place::There { asked, combined, many, .. } = &self.win.0.parts[self.target].place else { return None };
        Some(match bytes {
            Bytes::Read(_) | Bytes::Write(_) => asked,
            Bytes::Combine(..) => combined,
            Bytes::CombineFrom(..) => many,
        })
    }

    /// Moves or combines bytes that lie in one piece, `from` bytes behind the base address of the elements, by asking the target. False,
    /// and nothing has happened, where the kernel is to be asked.
    ///
    /// # Errors
    /// Class `ProcAborted` when the target has ended in the middle; interruption.
    pub(super) fn ask(&self, from: isize, mut bytes: Bytes<'_>) -> Result<bool> {
        let win = self.win;
        let Some(asked) = self.asked(&bytes) else { return Ok(false) };
        let Some(mut patience) = asked.patience() else { return Ok(false) };
        let (Ok(at), Some(process)) = (usize::try_from(self.at + from), win.group().get(self.target)) else {
            return Ok(false);
        };
        let engine = win.engine();
        let is_asleep = engine.universe().slot(process).sleepers().may_sleep();
        if is_asleep {
            if !asked.knocks() {
                return Ok(false);
            }
            patience = WAKING * engine.manners().limit();
        }
        let errand = win.0.control.errand(self.target)?;
        if !errand.ask(Request { at, len: bytes.len(), act: bytes.act() }, bytes.sent()) {
            return Ok(false);
        }
        if is_asleep {
            engine.notify(process);
        }
        let sampled = (!is_asleep && Asked::is_sampled(&asked.answered)).then(Instant::now);
        let mut began = sampled;
        let answer = Cell::new(None);
        let look = || {
            answer.set(errand.look());
            answer.get().is_some()
        };
        while !look_for(look) {
            // The target may be asking this rank.
            engine.core().poll();
            if began.get_or_insert_with(Instant::now).elapsed() < patience {
                continue;
            }
            if errand.withdraw() {
                asked.leave_alone();
                return Ok(false);
            }
            win.wait_for_answer(self.target, look)?;
            break;
        }
        if answer.get() != Some(Answer::Done) {
            asked.leave_alone();
            return Ok(false);
        }
        errand.collect(bytes.room());
        asked.has_answered(sampled.map(|since| since.elapsed()));
        Ok(true)
    }
}

fn look_for(mut look: impl FnMut() -> bool) -> bool {
    (0..LOOKS).any(|_| {
        std::hint::spin_loop();
        look()
    })
}

/// Runs an access of so many bytes by the kernel, and notes now and then how long one of few bytes took.
#[inline]
pub(super) fn timed<T>(asked: &Asked, bytes: usize, access: impl FnOnce() -> T) -> T {
    if bytes > ERRAND_MOST { access() } else { timed_now_and_then(asked, access) }
}

/// Runs an access by the kernel, and notes now and then how long it took.
#[inline]
pub(super) fn timed_now_and_then<T>(asked: &Asked, access: impl FnOnce() -> T) -> T {
    if !Asked::is_sampled(&asked.by_kernel) {
        asked.by_kernel.fetch_add(1, Ordering::Relaxed);
        return access();
    }
    let began = Instant::now();
    let result = access();
    // The very first one makes preparations.
    if asked.by_kernel.fetch_add(1, Ordering::Relaxed) > 0 {
        follow(&asked.kernel, began.elapsed());
    }
    result
}

impl Window {
    /// Waits for a target that has begun.
    #[cold]
    fn wait_for_answer(&self, target: usize, look: impl FnMut() -> bool) -> Result<()> {
        self.engine().wait_flag(self.waiting("Put, Get or Accumulate"), look, || self.ended(target))
    }
}

/// Whether ranks ask each other: where each has a CPU, so that one that waits looks.
pub(super) fn is_worth_it(engine: &Engine) -> bool {
    engine.manners().roomy()
}
