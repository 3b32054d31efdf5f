//! Few bytes of a target's private memory: asked of the target itself while it waits and looks, else of the kernel.
//!
//! A system call that reads or writes another process's memory takes a microsecond or two, whatever the size. A target that polls
//! in a call of MPI answers in less, if the lines between the two CPUs are not slow. It may as well compute, sleep, or not have a CPU;
//! so who asks waits about as long as the kernel would take, takes the request back then, and does not ask again for a while.

use std::cell::Cell;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use phalanx_shm::errand::{Answer, ERRAND_MOST, Request};

use crate::engine::Engine;
use crate::error::Result;

use super::Window;
use super::reach::{Place, Reach};

/// Looks at an answer between two looks at the clock and at what others ask of this rank.
const LOOKS: u32 = 16;

/// Accesses for which a target is not asked, after asking was slower than the kernel.
const SELDOM: u32 = 256;

/// Of so many accesses one is timed.
const SAMPLED: u32 = 8;

/// What accesses to one target's private memory have cost. Numbers of one process, which decide about cost only.
#[derive(Debug, Default)]
pub(super) struct Asked {
    /// Nanoseconds that the kernel takes, and an answer of the target: the last ones count most; 0 before the first one.
    kernel: AtomicU32,
    answer: AtomicU32,
    /// Accesses for which the target is not asked, and how many it was the last time.
    rest: AtomicU32,
    last: AtomicU32,
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
}

impl Bytes<'_> {
    fn len(&self) -> usize {
        match self {
            Bytes::Write(bytes) => bytes.len(),
            Bytes::Read(bytes) => bytes.len(),
        }
    }
}

impl Reach<'_, '_> {
    /// Whether so many bytes in one piece may be asked of the target.
    #[inline]
    pub(super) fn may_ask(&self, len: usize) -> bool {
        len <= ERRAND_MOST && self.win.0.asks
    }

    /// Moves bytes that lie in one piece, `from` bytes behind the base address of the elements, by asking the target. False, and nothing
    /// has happened, where the kernel is to be asked.
    ///
    /// # Errors
    /// Class `ProcAborted` when the target has ended in the middle; interruption.
    pub(super) fn ask(&self, from: isize, mut bytes: Bytes<'_>) -> Result<bool> {
        let win = self.win;
        let Place::There { asked, .. } = &win.0.parts[self.target].place else { return Ok(false) };
        let Some(patience) = asked.patience() else { return Ok(false) };
        let (Ok(at), Some(process)) = (usize::try_from(self.at + from), win.group().get(self.target)) else {
            return Ok(false);
        };
        let engine = win.engine();
        if engine.universe().slot(process).sleepers().may_sleep() {
            return Ok(false);
        }
        let errand = win.0.control.errand(self.target)?;
        let request = Request { at, len: bytes.len(), write: matches!(bytes, Bytes::Write(_)) };
        let sent = match &bytes {
            Bytes::Write(bytes) => bytes,
            Bytes::Read(_) => &[][..],
        };
        if !errand.ask(request, sent) {
            return Ok(false);
        }
        let sampled = Asked::is_sampled(&asked.answered).then(Instant::now);
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
            return Ok(false);
        }
        match &mut bytes {
            Bytes::Read(into) => errand.collect(into),
            Bytes::Write(_) => errand.collect(&mut []),
        }
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
    if bytes > ERRAND_MOST {
        return access();
    }
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
    /// Waits for a target that has begun to copy.
    #[cold]
    fn wait_for_answer(&self, target: usize, look: impl FnMut() -> bool) -> Result<()> {
        self.engine().wait_flag(self.waiting("Put or Get"), look, || self.ended(target))
    }
}

/// Whether ranks ask each other: where each has a CPU, so that one that waits looks.
pub(super) fn is_worth_it(engine: &Engine) -> bool {
    engine.manners().roomy()
}
