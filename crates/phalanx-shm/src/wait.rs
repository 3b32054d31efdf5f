//! Sleeping on a word of shared memory, in slices.
//!
//! Nobody sleeps for ever in one call: a waker may be killed between its change
//! of the word and the wake-up, and whoever should change the word may be dead.
//! So a sleep is at most a slice ([`Slices`]: 10 ms, growing to 100 ms), and the
//! waiter looks again after each.
//!
//! Waits return to their caller after each slice, not only when a signal handler
//! has interrupted one: a handler that runs between two slices, or in another
//! thread, interrupts none, and what it wants done must not wait for the next
//! signal. The caller keeps the slices, so that they go on growing.

use core::sync::atomic::AtomicU32;
use std::time::{Duration, Instant};

use crate::sync::{FutexWake, FutexWord, Scope};

/// Milliseconds for which the machine has been up and awake: one clock for all processes.
pub(crate) fn uptime_ms() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    now.tv_sec as u64 * 1000 + now.tv_nsec as u64 / 1_000_000
}

/// The time at which a wait gives up, or never.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deadline(Option<Instant>);

impl Deadline {
    /// No end.
    pub const NEVER: Deadline = Deadline(None);

    /// `timeout` from now; `None` or more than the clock can count: never.
    pub fn after(timeout: Option<Duration>) -> Deadline {
        Deadline(timeout.and_then(|timeout| Instant::now().checked_add(timeout)))
    }

    /// Whether it is over. No clock is read when there is no end.
    #[inline]
    pub fn passed(&self) -> bool {
        self.0.is_some_and(|end| Instant::now() >= end)
    }

    /// What is left; `None` without an end.
    pub fn remaining(&self) -> Option<Duration> {
        self.0.map(|end| end.saturating_duration_since(Instant::now()))
    }
}

/// How long each sleep of one wait may be. Made by who waits, and passed to all attempts of that wait.
#[derive(Clone, Copy, Debug)]
pub struct Slices(Duration);

impl Slices {
    /// The first slice.
    pub const FIRST: Duration = Duration::from_millis(10);

    /// Starts with the first slice.
    pub const fn new() -> Slices {
        Slices(Slices::FIRST)
    }

    /// The next slice: each is double the one before, up to 100 ms.
    fn take(&mut self) -> Duration {
        let slice = self.0;
        self.0 = (slice * 2).min(Duration::from_millis(100));
        slice
    }
}

impl Default for Slices {
    fn default() -> Slices {
        Slices::new()
    }
}

/// Why a sleep ended. Look at the word in every case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Slept {
    /// A waker came, or the word had changed.
    Woken,
    /// The slice is over: time to look whether those waited for still live.
    SliceOver,
    /// The deadline has passed.
    TimedOut,
    /// A signal handler ran in this thread (EINTR).
    Interrupted,
}

/// Sleeps while `word` holds `expected`: one slice at most, and not past the deadline.
pub fn sleep(word: &AtomicU32, expected: u32, slices: &mut Slices, deadline: Deadline) -> Slept {
    let slice = slices.take();
    let remaining = deadline.remaining();
    if remaining.is_some_and(|left| left.is_zero()) {
        return Slept::TimedOut;
    }
    let last = remaining.is_some_and(|left| left <= slice);
    let timeout = remaining.map_or(slice, |left| left.min(slice));
    match FutexWord::over(word).wait(Scope::Shared, expected, Some(timeout)) {
        FutexWake::Changed => Slept::Woken,
        FutexWake::TimedOut if last => Slept::TimedOut,
        FutexWake::TimedOut => Slept::SliceOver,
        FutexWake::Interrupted => Slept::Interrupted,
    }
}

/// Wakes up to `count` sleepers on `word`; tells how many were asleep. A system call: only when somebody may sleep.
pub fn wake(word: &AtomicU32, count: u32) -> usize {
    FutexWord::over(word).wake(Scope::Shared, count)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slices_grow_and_stop_growing() {
        let mut slices = Slices::new();
        let taken: Vec<_> = (0..6).map(|_| slices.take().as_millis()).collect();
        assert_eq!(taken, [10, 20, 40, 80, 100, 100]);
    }

    #[test]
    fn a_sleep_ends_by_change_slice_and_deadline() {
        let word = AtomicU32::new(1);
        assert_eq!(sleep(&word, 0, &mut Slices::new(), Deadline::NEVER), Slept::Woken);
        assert_eq!(sleep(&word, 1, &mut Slices::new(), Deadline::NEVER), Slept::SliceOver);
        let soon = Deadline::after(Some(Duration::from_millis(1)));
        assert_eq!(sleep(&word, 1, &mut Slices::new(), soon), Slept::TimedOut);
        assert_eq!(sleep(&word, 1, &mut Slices::new(), soon), Slept::TimedOut);
        assert_eq!(Deadline::after(Some(Duration::MAX)), Deadline::NEVER);
    }
}
