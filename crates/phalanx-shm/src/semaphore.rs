//! A counting semaphore in two words of shared memory.
//!
//! ```text
//! taker                                giver
//!   value > 0: value -= 1, done          value += 1
//!   sleepers += 1                        sleepers > 0: wake one
//!   sleep while value == 0
//!   sleepers -= 1, again
//! ```
//!
//! Both words change by sequentially consistent read-modify-writes: if the
//! giver's look at `sleepers` misses a taker, that taker's sleep starts after
//! the giver's change of `value`, and the kernel finds the value changed.
//!
//! A taker that is killed in its sleep leaves `sleepers` one too high, which
//! costs later givers a needless system call. One that is killed after its
//! wake-up leaves a unit that the others find at the end of their slice. Units
//! that a killed process had taken are lost, as a semaphore has no owners.

use core::sync::atomic::{AtomicU32, Ordering};

use crate::owned::Acquired;
use crate::wait::{Deadline, Slept, Slices, sleep, wake};

/// The largest value.
pub const SEMAPHORE_MAX: u32 = i32::MAX as u32;

/// Looks at the value before sleeping.
const SPINS: u32 = 100;

/// A semaphore in two neighbouring words of shared memory.
#[derive(Debug)]
#[repr(C)]
pub struct Semaphore {
    /// Units that are free. Changed by takers and givers.
    value: AtomicU32,
    /// Takers that sleep or are about to. Changed by takers.
    sleepers: AtomicU32,
}

impl Semaphore {
    /// The semaphore in two words, which are used for nothing else; zero units at first.
    #[inline]
    pub fn over(words: &[AtomicU32; 2]) -> &Semaphore {
        // SAFETY: same size, alignment and fields, and the same lifetime.
        unsafe { &*core::ptr::from_ref(words).cast::<Semaphore>() }
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
            // SYNC POINT semaphore: SeqCst for the order with `sleepers`; sees what the giver wrote before.
            match self.value.compare_exchange_weak(seen, seen - 1, Ordering::SeqCst, Ordering::Relaxed) {
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
        for _ in 0..SPINS {
            if self.try_acquire() {
                return Acquired::Yes;
            }
            core::hint::spin_loop();
        }
        self.sleepers.fetch_add(1, Ordering::SeqCst);
        let end = loop {
            if self.try_acquire() {
                break Acquired::Yes;
            }
            let end = match sleep(&self.value, 0, slices, deadline) {
                Slept::Woken => continue,
                Slept::TimedOut => Acquired::TimedOut,
                Slept::SliceOver | Slept::Interrupted => Acquired::SliceOver,
            };
            break if self.try_acquire() { Acquired::Yes } else { end };
        };
        self.sleepers.fetch_sub(1, Ordering::SeqCst);
        end
    }

    /// Gives a unit back, up to `max` in all. False when there are that many.
    #[inline]
    pub fn release(&self, max: u32) -> bool {
        let mut seen = self.value.load(Ordering::Relaxed);
        loop {
            if seen >= max {
                return false;
            }
            // SYNC POINT semaphore: SeqCst for the order with `sleepers`; the next taker sees what came before.
            match self.value.compare_exchange_weak(seen, seen + 1, Ordering::SeqCst, Ordering::Relaxed) {
                Ok(_) => break,
                Err(now) => seen = now,
            }
        }
        if self.sleepers.load(Ordering::SeqCst) > 0 {
            wake(&self.value, 1);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn units_are_counted_and_bounded() {
        let words = [AtomicU32::new(0), AtomicU32::new(0)];
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
        let words = [AtomicU32::new(0), AtomicU32::new(0)];
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
        assert_eq!(words[1].load(Ordering::Relaxed), 0);
    }
}
