//! A lock that knows its owner: nobody waits for a dead process.
//!
//! ```text
//! word = waiters << 31 | owner (a ShortTag), 0 when free
//! ```
//!
//! Free to taken and back is one atomic change each, without a system call. The
//! lock may be given back by another thread or process than its owner.
//!
//! No lost wake-up: a waiter sets the waiters bit by compare-and-swap and sleeps
//! on exactly that word; whoever swaps 0 in and gets the bit wakes one sleeper,
//! which takes the lock with the bit set again, since others may sleep.
//!
//! Killed processes. A dead owner's word stays. Waiters look at the owner's life
//! after each slice of sleep; the one whose compare-and-swap frees the word of
//! the dead is told ([`Acquired::OwnerDied`]), and the lock is as good as new. A
//! process that is killed between freeing the word and the wake-up, or between
//! its wake-up and taking the lock, leaves a free word, which the sleepers find
//! at the end of their slice.

use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use crate::alive::ShortTag;
use crate::wait::{Deadline, Slept, Slices, sleep, uptime_ms, wake};

/// "Somebody may sleep on the word."
const WAITERS: u32 = 1 << 31;

/// Looks at the word before sleeping: a few microseconds, for sections that are shorter than a wake-up.
const SPINS: u32 = 100;

/// How an attempt to take a lock or a unit of a semaphore ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Acquired {
    /// Taken.
    Yes,
    /// Not taken before the deadline.
    TimedOut,
    /// The owner died with the lock. It is free now and not taken; only this caller is told.
    OwnerDied {
        /// The process that died.
        pid: u32,
    },
    /// Not yet; a slice of the wait is over, or a signal handler ran in this thread. See to signals, then try again.
    SliceOver,
}

/// A lock in a word of shared memory. Zero is free.
#[derive(Debug)]
#[repr(transparent)]
pub struct OwnedLock(AtomicU32);

impl OwnedLock {
    /// The lock in a word of shared memory, which is used for nothing else.
    #[inline]
    pub fn over(word: &AtomicU32) -> &OwnedLock {
        // SAFETY: a transparent wrapper of the same lifetime.
        unsafe { &*core::ptr::from_ref(word).cast::<OwnedLock>() }
    }

    /// Takes the lock if it is free. One atomic instruction, whoever asks.
    #[inline]
    pub fn take_free(&self) -> bool {
        // SYNC POINT owned: Acquire, sees what the last owner wrote before its Release.
        self.0.compare_exchange(0, ShortTag::me().to_u32(), Ordering::Acquire, Ordering::Relaxed).is_ok()
    }

    /// Takes the lock if it is free, or tells that its owner is dead. Never [`Acquired::SliceOver`].
    #[inline]
    pub fn try_acquire(&self) -> Acquired {
        if self.take_free() { Acquired::Yes } else { self.look() }
    }

    #[cold]
    fn look(&self) -> Acquired {
        let seen = self.0.load(Ordering::Relaxed);
        if seen == 0 {
            return if self.take_free() { Acquired::Yes } else { Acquired::TimedOut };
        }
        // Looking at a process costs some microseconds: a loop that polls the lock pays for it every 2 ms.
        static LAST: AtomicU64 = AtomicU64::new(0);
        let window = uptime_ms() / 2;
        let place = core::ptr::from_ref(self).addr() as u64 >> 2 ^ u64::from(seen & !WAITERS).rotate_left(40);
        let this = place.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ window;
        if LAST.load(Ordering::Relaxed) == this {
            return Acquired::TimedOut;
        }
        if let Some(pid) = self.take_from_dead() {
            return Acquired::OwnerDied { pid };
        }
        LAST.store(this, Ordering::Relaxed);
        Acquired::TimedOut
    }

    /// Takes the lock, waiting for it until the deadline: a slice at most.
    #[inline]
    pub fn acquire(&self, slices: &mut Slices, deadline: Deadline) -> Acquired {
        if self.take_free() { Acquired::Yes } else { self.wait(slices, deadline) }
    }

    #[cold]
    fn wait(&self, slices: &mut Slices, deadline: Deadline) -> Acquired {
        let mut mine = ShortTag::me().to_u32();
        for _ in 0..SPINS {
            if self.0.load(Ordering::Relaxed) == 0 && self.take_free() {
                return Acquired::Yes;
            }
            core::hint::spin_loop();
        }
        loop {
            let seen = self.0.load(Ordering::Relaxed);
            if seen == 0 {
                // SYNC POINT owned: Acquire, as in `take_free`.
                if self.0.compare_exchange(0, mine, Ordering::Acquire, Ordering::Relaxed).is_ok() {
                    return Acquired::Yes;
                }
                continue;
            }
            let asleep = seen | WAITERS;
            if seen != asleep && self.0.compare_exchange(seen, asleep, Ordering::Relaxed, Ordering::Relaxed).is_err() {
                continue;
            }
            // From here on this thread takes the lock with the bit set: it cannot know whether others sleep.
            mine |= WAITERS;
            let end = match sleep(&self.0, asleep, slices, deadline) {
                Slept::Woken => continue,
                Slept::TimedOut => Acquired::TimedOut,
                Slept::SliceOver | Slept::Interrupted => Acquired::SliceOver,
            };
            if let Some(pid) = self.take_from_dead() {
                return Acquired::OwnerDied { pid };
            }
            return if self.take_free() { Acquired::Yes } else { end };
        }
    }

    /// Frees the lock if its owner is dead, and tells who that was. Some 20 microseconds.
    #[cold]
    fn take_from_dead(&self) -> Option<u32> {
        let seen = self.0.load(Ordering::Relaxed);
        let owner = ShortTag::from_u32(seen)?;
        if !owner.is_dead() {
            return None;
        }
        // SYNC POINT owned: Acquire for what the dead wrote, Release for the next owner. Exactly one waiter succeeds.
        self.0.compare_exchange(seen, 0, Ordering::AcqRel, Ordering::Relaxed).ok()?;
        if seen & WAITERS != 0 {
            wake(&self.0, 1);
        }
        Some(owner.pid())
    }

    /// Gives the lock back, whoever took it. False when it was free.
    #[inline]
    pub fn release(&self) -> bool {
        // SYNC POINT owned: Release, for the next owner's Acquire.
        let seen = self.0.swap(0, Ordering::Release);
        if seen & WAITERS != 0 {
            wake(&self.0, 1);
        }
        seen != 0
    }

    /// Whether nobody has it.
    #[inline]
    pub fn is_free(&self) -> bool {
        self.0.load(Ordering::Relaxed) == 0
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicBool;
    use std::time::Duration;

    use super::*;

    /// The tag of a process that has ended.
    fn dead() -> ShortTag {
        let mut child = std::process::Command::new("true").spawn().expect("started");
        let tag = ShortTag::of(child.id());
        child.wait().expect("reaped");
        tag
    }

    #[test]
    fn it_excludes_and_is_given_back_once() {
        let word = AtomicU32::new(0);
        let lock = OwnedLock::over(&word);
        assert_eq!(lock.try_acquire(), Acquired::Yes);
        assert!(!lock.is_free());
        assert_eq!(lock.try_acquire(), Acquired::TimedOut);
        let soon = Deadline::after(Some(Duration::from_millis(1)));
        assert_eq!(lock.acquire(&mut Slices::new(), soon), Acquired::TimedOut);
        assert!(lock.release());
        assert!(!lock.release());
        assert!(lock.is_free());
    }

    #[test]
    fn a_wait_returns_after_each_slice() {
        let word = AtomicU32::new(0);
        let (lock, mut slices) = (OwnedLock::over(&word), Slices::new());
        assert!(lock.take_free());
        for _ in 0..3 {
            assert_eq!(lock.acquire(&mut slices, Deadline::NEVER), Acquired::SliceOver);
        }
        lock.release();
        assert_eq!(lock.acquire(&mut slices, Deadline::NEVER), Acquired::Yes);
    }

    #[test]
    fn one_of_those_who_ask_learns_of_a_dead_owner() {
        let word = AtomicU32::new(0);
        let lock = OwnedLock::over(&word);
        let owner = dead();
        word.store(owner.to_u32(), Ordering::Relaxed);
        assert_eq!(lock.try_acquire(), Acquired::OwnerDied { pid: owner.pid() });
        assert_eq!(lock.try_acquire(), Acquired::Yes);

        word.store(owner.to_u32(), Ordering::Relaxed);
        let told = AtomicU32::new(0);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    let mut slices = Slices::new();
                    loop {
                        match lock.acquire(&mut slices, Deadline::NEVER) {
                            Acquired::Yes => break,
                            Acquired::OwnerDied { pid } => {
                                assert_eq!(pid, owner.pid());
                                told.fetch_add(1, Ordering::Relaxed);
                            }
                            other => assert_eq!(other, Acquired::SliceOver),
                        }
                    }
                    lock.release();
                });
            }
        });
        assert_eq!(told.load(Ordering::Relaxed), 1);
        assert!(lock.is_free());
    }

    #[test]
    fn threads_count_without_losing_one() {
        let word = AtomicU32::new(0);
        let inside = AtomicBool::new(false);
        let mut count = 0u64;
        let at = &raw mut count as usize;
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..20_000 {
                        let lock = OwnedLock::over(&word);
                        let mut slices = Slices::new();
                        while lock.acquire(&mut slices, Deadline::NEVER) != Acquired::Yes {}
                        assert!(!inside.swap(true, Ordering::Relaxed));
                        // SAFETY: the lock lets one thread at a time in here, and the scope outlives them.
                        unsafe { *(at as *mut u64) += 1 };
                        inside.store(false, Ordering::Relaxed);
                        lock.release();
                    }
                });
            }
        });
        assert_eq!(count, 80_000);
    }
}
