//! A counting semaphore: a number of units, and a word to sleep on.
//!
//! ```text
//! taker                                giver
//!   value > 0: value -= 1, done          value += 1
//!   announce sleep, try once more        wake one, if somebody sleeps
//!   sleep, again
//! ```
//!
//! No wake-up is lost: see [`crate::sleep`]. A taker that is killed after its wake-up leaves a unit that the others find
//! at the end of their slice. Units that a killed process had taken are lost, as a semaphore has no owners.

use crate::owned::Acquired;
#[cfg(not(loom))]
use crate::owned::OwnedWords;
use crate::sleep::{Deadline, SleepWord, Slept, Slices, WAITING, look_briefly};
use crate::sync::{AtomicU32, Ordering};

/// The largest value.
pub const SEMAPHORE_MAX: u32 = i32::MAX as u32;

/// A semaphore in three neighbouring words of shared memory.
///
/// ```
/// use std::sync::atomic::AtomicU32;
/// use phalanx_shm::Semaphore;
///
/// let words = [const { AtomicU32::new(0) }; 4];
/// let semaphore = Semaphore::over(&words);
/// semaphore.set(1);
/// assert!(semaphore.try_acquire() && !semaphore.try_acquire());
/// assert!(semaphore.release(1));
/// assert!(!semaphore.release(1), "there are as many as there may be");
/// ```
#[derive(Debug)]
#[cfg_attr(not(loom), repr(C))]
pub struct Semaphore {
    /// Units that are free. Changed by takers and givers.
    value: AtomicU32,
    /// Takers that found none.
    takers: SleepWord,
}

impl Semaphore {
    /// The semaphore in words that are used for nothing else; zero units at first.
    #[cfg(not(loom))]
    #[inline]
    pub fn over(words: &OwnedWords) -> &Semaphore {
        // SAFETY: three 32-bit atomics, as the first three of the array; the lifetime is the argument's.
        unsafe { &*core::ptr::from_ref(words).cast::<Semaphore>() }
    }

    /// A semaphore without units.
    #[cfg(loom)]
    #[expect(clippy::new_without_default, reason = "for models")]
    pub fn new() -> Semaphore {
        Semaphore { value: AtomicU32::new(0), takers: SleepWord::new() }
    }

    /// Sets the number of units, before anybody else knows the semaphore.
    pub fn set(&self, value: u32) {
        self.value.store(value.min(SEMAPHORE_MAX), Ordering::Release);
    }

    /// Units that are free now.
    #[inline]
    pub fn value(&self) -> u32 {
        self.value.load(Ordering::Relaxed)
    }

    /// Takes a unit if there is one.
    #[inline]
    pub fn try_acquire(&self) -> bool {
        let mut seen = self.value.load(Ordering::Relaxed);
        while seen > 0 {
            // SYNC POINT semaphore: Acquire, sees what the giver wrote before.
            match self.value.compare_exchange_weak(seen, seen - 1, Ordering::Acquire, Ordering::Relaxed) {
                Ok(_) => return true,
                Err(now) => seen = now,
            }
        }
        false
    }

    /// Takes a unit, waiting for it until the deadline: a slice at most.
    #[inline]
    pub fn acquire(&self, slices: &mut Slices, deadline: Deadline) -> Acquired {
        if self.try_acquire() { Acquired::Yes } else { self.wait(slices, deadline) }
    }

    #[cold]
    fn wait(&self, slices: &mut Slices, deadline: Deadline) -> Acquired {
        if look_briefly(|| self.try_acquire()) {
            return Acquired::Yes;
        }
        loop {
            let token = self.takers.announce(WAITING);
            if self.try_acquire() {
                return Acquired::Yes;
            }
            let end = match self.takers.sleep_slice(token, slices, deadline) {
                Slept::Woken if self.try_acquire() => return Acquired::Yes,
                Slept::Woken => continue,
                Slept::TimedOut => Acquired::TimedOut,
                Slept::SliceOver | Slept::Interrupted => Acquired::SliceOver,
            };
            return if self.try_acquire() { Acquired::Yes } else { end };
        }
    }

    /// Gives a unit back, up to `max` in all. False when there are that many.
    #[inline]
    pub fn release(&self, max: u32) -> bool {
        let mut seen = self.value.load(Ordering::Relaxed);
        loop {
            if seen >= max {
                return false;
            }
            // SYNC POINT semaphore: Release, the next taker sees what came before.
            match self.value.compare_exchange_weak(seen, seen + 1, Ordering::Release, Ordering::Relaxed) {
                Ok(_) => break,
                Err(now) => seen = now,
            }
        }
        SleepWord::published_by_atomic();
        self.takers.notify_one();
        true
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn units_are_counted_and_bounded() {
        let words: OwnedWords = std::array::from_fn(|_| AtomicU32::new(0));
        let semaphore = Semaphore::over(&words);
        semaphore.set(2);
        assert!(semaphore.try_acquire() && semaphore.try_acquire() && !semaphore.try_acquire());
        let (soon, mut slices) = (Deadline::after(Some(Duration::from_millis(1))), Slices::new());
        assert_eq!(semaphore.acquire(&mut slices, soon), Acquired::TimedOut);
        assert_eq!(semaphore.acquire(&mut slices, Deadline::NEVER), Acquired::SliceOver);
        assert!(semaphore.release(2) && semaphore.release(2) && !semaphore.release(2));
        assert_eq!(semaphore.value(), 2);
    }

    #[test]
    fn what_is_given_is_taken_once() {
        let words: OwnedWords = std::array::from_fn(|_| AtomicU32::new(0));
        let semaphore = Semaphore::over(&words);
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    for _ in 0..5_000 {
                        while semaphore.acquire(&mut Slices::new(), Deadline::NEVER) != Acquired::Yes {}
                    }
                });
                scope.spawn(|| (0..5_000).for_each(|_| assert!(semaphore.release(SEMAPHORE_MAX))));
            }
        });
        assert_eq!(semaphore.value(), 0);
    }
}
