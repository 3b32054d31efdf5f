//! Deadlines, and sleeps in slices.
//!
//! Nobody sleeps for ever in one call: a waker may be killed between its change of the word and the wake-up, and whoever
//! should wake may be dead. So a sleep is at most a slice, and the waiter looks again after each.
//!
//! Waits return to their caller after each slice, not only when a signal handler has interrupted one: a handler that runs
//! between two slices, or in another thread, interrupts none, and what it wants done must not wait for the next signal.
//! The caller keeps the slices, so that they go on growing.

use std::time::{Duration, Instant};

use super::{SleepWord, Token, Woken};

/// Longest sleep without a look at what is waited for.
pub const SLICE: Duration = Duration::from_millis(100);

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

    /// At that time.
    pub const fn at(end: Instant) -> Deadline {
        Deadline(Some(end))
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

    /// Slices that are over at once, for models, in which no time passes.
    #[cfg(loom)]
    pub const fn over() -> Slices {
        Slices(Duration::ZERO)
    }

    /// The next slice: each is double the one before, up to [`SLICE`].
    fn take(&mut self) -> Duration {
        let slice = self.0;
        self.0 = (slice * 2).min(SLICE);
        slice
    }
}

impl Default for Slices {
    fn default() -> Slices {
        Slices::new()
    }
}

/// Why a sleep of a slice ended. Look at what is waited for in every case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Slept {
    /// A waker came, or had come since the token was made.
    Woken,
    /// The slice is over: time to look whether those waited for still live.
    SliceOver,
    /// The deadline has passed.
    TimedOut,
    /// A signal handler ran in this thread (EINTR).
    Interrupted,
}

impl SleepWord {
    /// Sleeps with `token`: one slice at most, and not past the deadline.
    pub fn sleep_slice(&self, token: Token, slices: &mut Slices, deadline: Deadline) -> Slept {
        let slice = slices.take();
        let remaining = deadline.remaining();
        if remaining.is_some_and(|left| left.is_zero()) {
            return Slept::TimedOut;
        }
        let last = remaining.is_some_and(|left| left <= slice);
        match self.sleep(token, Some(remaining.map_or(slice, |left| left.min(slice)))) {
            Woken::Notified => Slept::Woken,
            Woken::TimedOut if last => Slept::TimedOut,
            Woken::TimedOut => Slept::SliceOver,
            Woken::Interrupted => Slept::Interrupted,
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::super::WAITING;
    use super::*;

    #[test]
    fn slices_grow_and_stop_growing() {
        let mut slices = Slices::new();
        let taken: Vec<_> = (0..6).map(|_| slices.take().as_millis()).collect();
        assert_eq!(taken, [10, 20, 40, 80, 100, 100]);
    }

    #[test]
    fn a_sleep_ends_by_notice_slice_and_deadline() {
        let word = SleepWord::new();
        let token = word.announce(WAITING);
        word.notify();
        assert_eq!(word.sleep_slice(token, &mut Slices::new(), Deadline::NEVER), Slept::Woken);
        let token = word.announce(WAITING);
        assert_eq!(word.sleep_slice(token, &mut Slices::new(), Deadline::NEVER), Slept::SliceOver);
        let soon = Deadline::after(Some(Duration::from_millis(1)));
        assert_eq!(word.sleep_slice(token, &mut Slices::new(), soon), Slept::TimedOut);
        assert_eq!(word.sleep_slice(token, &mut Slices::new(), soon), Slept::TimedOut);
        assert_eq!(Deadline::after(Some(Duration::MAX)), Deadline::NEVER);
    }
}
