//! An event: a flag that processes wait for.

use crate::owned::Acquired;
#[cfg(not(loom))]
use crate::owned::OwnedWords;
use crate::sleep::{Deadline, SleepWord, Slept, Slices, WAITING};
use crate::sync::{AtomicU32, Ordering};

/// An event: a flag that processes wait for. Zero is "not set".
///
/// Its state is `settings << 1 | set`. A waiter that sleeps through a setting and a clearing, or is elsewhere between
/// two slices, finds another number of settings, so it misses nothing.
///
/// ```
/// use std::sync::atomic::AtomicU32;
/// use phalanx_shm::Acquired;
/// use phalanx_shm::event::Event;
/// use phalanx_shm::sleep::{Deadline, Slices};
///
/// let words = [const { AtomicU32::new(0) }; 4];
/// let event = Event::over(&words);
/// let began = event.begin();
/// event.set();
/// event.clear();
/// assert!(!event.is_set());
/// assert_eq!(event.wait(began, &mut Slices::new(), Deadline::NEVER), Acquired::Yes, "it was set meanwhile");
/// ```
#[derive(Debug)]
#[cfg_attr(not(loom), repr(C))]
pub struct Event {
    /// Changed by those who set and clear it.
    state: AtomicU32,
    /// Those who wait for a setting.
    waiters: SleepWord,
}

/// The state of an event when a wait began: see [`Event::begin`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Began(u32);

impl Event {
    /// An event that is not set.
    #[cfg(loom)]
    #[expect(clippy::new_without_default, reason = "for models")]
    pub fn new() -> Event {
        Event { state: AtomicU32::new(0), waiters: SleepWord::new() }
    }

    /// The event in words that are used for nothing else.
    #[cfg(not(loom))]
    #[inline]
    pub fn over(words: &OwnedWords) -> &Event {
        // SAFETY: three 32-bit atomics, as the first three of the array; the lifetime is the argument's.
        unsafe { &*core::ptr::from_ref(words).cast::<Event>() }
    }

    /// Whether it is set.
    #[inline]
    pub fn is_set(&self) -> bool {
        // SYNC POINT event: Acquire, sees what was written before it was set.
        self.state.load(Ordering::Acquire) & 1 != 0
    }

    /// Sets it and wakes all waiters.
    pub fn set(&self) {
        let mut seen = self.state.load(Ordering::Relaxed);
        while seen & 1 == 0 {
            // SYNC POINT event: Release, for what was written before it was set.
            match self.state.compare_exchange(seen, seen.wrapping_add(3), Ordering::Release, Ordering::Relaxed) {
                Ok(_) => break,
                Err(now) => seen = now,
            }
        }
        self.waiters.notify();
    }

    /// Clears it.
    pub fn clear(&self) {
        self.state.fetch_and(!1, Ordering::AcqRel);
    }

    /// Where a wait begins: settings from here on count for it.
    #[must_use]
    pub fn begin(&self) -> Began {
        Began(self.state.load(Ordering::Acquire))
    }

    /// Waits until it is set: a slice at most. [`Acquired::Yes`] when it was set since the wait began, even if it is clear
    /// again.
    pub fn wait(&self, began: Began, slices: &mut Slices, deadline: Deadline) -> Acquired {
        // SYNC POINT event: Acquire, sees what was written before it was set.
        let was_set = || {
            let seen = self.state.load(Ordering::Acquire);
            seen & 1 != 0 || seen != began.0
        };
        loop {
            let token = self.waiters.announce(WAITING);
            if was_set() {
                return Acquired::Yes;
            }
            let end = match self.waiters.sleep_slice(token, slices, deadline) {
                Slept::Woken => continue,
                Slept::TimedOut => Acquired::TimedOut,
                Slept::SliceOver | Slept::Interrupted => Acquired::SliceOver,
            };
            return if was_set() { Acquired::Yes } else { end };
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn an_event_is_seen_by_all_even_when_it_is_cleared_at_once() {
        let words: OwnedWords = std::array::from_fn(|_| AtomicU32::new(0));
        let event = Event::over(&words);
        let begun = std::sync::Barrier::new(4);
        std::thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| {
                    let (began, mut slices) = (event.begin(), Slices::new());
                    begun.wait();
                    while event.wait(began, &mut slices, Deadline::NEVER) != Acquired::Yes {}
                });
            }
            begun.wait();
            // Some sleep by now, and some do not yet.
            std::thread::sleep(Duration::from_millis(5));
            event.set();
            event.clear();
        });
        assert!(!event.is_set());
        event.set();
        assert_eq!(event.wait(event.begin(), &mut Slices::new(), Deadline::NEVER), Acquired::Yes);
    }

    #[test]
    fn a_setting_between_two_slices_of_a_wait_is_seen() {
        let words: OwnedWords = std::array::from_fn(|_| AtomicU32::new(0));
        let event = Event::over(&words);
        let (began, mut slices) = (event.begin(), Slices::new());
        assert_eq!(event.wait(began, &mut slices, Deadline::NEVER), Acquired::SliceOver);
        event.set();
        event.clear();
        assert_eq!(event.wait(began, &mut slices, Deadline::NEVER), Acquired::Yes);
    }
}
