//! The lock of one side of a queue: knows its owner's process, and is taken over when that process is dead.
//!
//! ```text
//! word = waiters << 31 | start hash << 22 | pid        0 when free
//! ```
//!
//! Taking over needs no repair: what a side changes under its lock counts only from the one store that publishes it
//! (see `side.rs`), so a dead owner has either done its operation or not begun it.
//!
//! No lost wake-up: a waiter sets the waiters bit by compare-and-swap and sleeps on exactly that word; an owner that
//! swaps 0 in and gets the bit wakes one, which takes the lock with the bit set again, since others may sleep. An owner
//! that is killed between the two leaves a free word: waiters look again after each slice of [`SLICE`].

use std::time::{Duration, Instant};

use crate::sync::{FutexWake, FutexWord, Ordering, Scope, spin_loop};

/// "Somebody may sleep on the word."
const WAITERS: u32 = 1 << 31;

/// Looks before giving way; the lock is held for some tens of nanoseconds.
#[cfg(not(loom))]
const SPINS: u32 = 200;
#[cfg(loom)]
const SPINS: u32 = 1;

/// Longest sleep between two looks at the life of the owner.
pub(super) const SLICE: Duration = Duration::from_millis(10);

/// Lock of a side. In shared memory; all zero is free.
///
/// Written by: whoever takes or gives back the side. Unit: see the head of this file.
#[derive(Debug)]
#[cfg_attr(not(loom), repr(transparent))]
pub(super) struct SideLock(FutexWord);

/// Who asks for locks: the word of a process, and how to tell that the owner of another word is dead.
pub(super) trait Life {
    /// The word of this process, without the waiters bit; never 0.
    fn me(&self) -> u32;
    /// Whether the process of `word` has ended.
    fn is_dead(&self, word: u32) -> bool;
}

/// The side is this thread's until dropped.
#[derive(Debug)]
pub(super) struct SideGuard<'a>(&'a SideLock);

impl SideLock {
    #[cfg(loom)]
    pub(super) fn new() -> SideLock {
        SideLock(FutexWord::new(0))
    }

    /// Takes the lock if it is free, or becomes free within some microseconds.
    #[inline]
    pub(super) fn try_lock(&self, life: &impl Life) -> Option<SideGuard<'_>> {
        let me = life.me();
        for _ in 0..SPINS {
            // SYNC POINT queue-lock: Acquire, sees what the last owner wrote before its Release.
            if self.0.word().compare_exchange(0, me, Ordering::Acquire, Ordering::Relaxed).is_ok() {
                return Some(SideGuard(self));
            }
            spin_loop();
        }
        None
    }

    /// Takes the lock, from a dead owner if need be; `None` when it is still held at `until`.
    pub(super) fn lock(&self, life: &impl Life, until: Instant) -> Option<SideGuard<'_>> {
        if let Some(guard) = self.try_lock(life) {
            return Some(guard);
        }
        let mut mine = life.me();
        loop {
            let seen = self.0.word().load(Ordering::Relaxed);
            if seen == 0 {
                // SYNC POINT queue-lock: as in `try_lock`.
                if self.0.word().compare_exchange(0, mine, Ordering::Acquire, Ordering::Relaxed).is_ok() {
                    return Some(SideGuard(self));
                }
                continue;
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return None;
            }
            let asleep = seen | WAITERS;
            if seen != asleep
                && self.0.word().compare_exchange(seen, asleep, Ordering::Relaxed, Ordering::Relaxed).is_err()
            {
                continue;
            }
            // From here on this thread takes the lock with the bit set: it cannot know whether others sleep.
            mine |= WAITERS;
            if self.0.wait(Scope::Shared, asleep, Some(left.min(SLICE))) == FutexWake::Changed {
                continue; // Whoever woke this thread, or changed the word, was alive.
            }
            let now = self.0.word().load(Ordering::Relaxed);
            if now & !WAITERS == seen & !WAITERS
                && now != 0
                && life.is_dead(now & !WAITERS)
                // SYNC POINT queue-lock: Acquire. Exactly one waiter replaces a dead owner's word by its own.
                && self.0.word().compare_exchange(now, mine, Ordering::Acquire, Ordering::Relaxed).is_ok()
            {
                return Some(SideGuard(self));
            }
        }
    }

    /// Leaves the lock as a killed owner does. For tests.
    #[cfg(all(test, not(loom)))]
    pub(super) fn seize(&self, word: u32) {
        self.0.word().store(word, Ordering::Relaxed);
    }
}

impl Drop for SideGuard<'_> {
    #[inline]
    fn drop(&mut self) {
        // SYNC POINT queue-lock: Release, for the next owner's Acquire.
        if self.0.0.word().swap(0, Ordering::Release) & WAITERS != 0 {
            self.0.0.wake(Scope::Shared, 1);
        }
    }
}

#[cfg(not(loom))]
pub(super) use process::Processes;

#[cfg(not(loom))]
mod process {
    use super::Life;
    use crate::alive::ShortTag;

    /// The processes of this machine.
    #[derive(Clone, Copy, Debug)]
    pub(in crate::queue) struct Processes;

    impl Life for Processes {
        #[inline]
        fn me(&self) -> u32 {
            ShortTag::me().to_u32()
        }

        fn is_dead(&self, word: u32) -> bool {
            ShortTag::from_u32(word).is_some_and(ShortTag::is_dead)
        }
    }
}
