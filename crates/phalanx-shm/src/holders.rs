//! A lock that many may share or one may have alone, with a word for each who may have it, so that a dead holder is found.
//!
//! ```text
//! gate      an OwnedLock, held for the few instructions in which somebody looks who has the lock and writes its own word
//! held[i]   0, SHARED or ALONE: how holder i has the lock        written by i; by others when i is dead
//! waiting   how many wait for long, roughly: a killed one stays counted, which costs wakers a look
//! ```
//!
//! Taking: within the gate, look at the words of all others, write one's own. Two who take the lock at once do so one after
//! the other, so no two have it that may not. Giving back is one store, outside the gate: whoever looks a moment too early
//! sees the lock still held and waits.
//!
//! No lost wake-up: a waiter counts itself, announces its sleep (on a word of its own), and tries once more; whoever
//! gives the lock back stores its word first, and looks at the count after that. Both sides have a fence between.
//!
//! Killed processes. The gate frees itself ([`crate::owned`]). A holder's word says who it is by its place; who finds the
//! process behind it ended puts the word back ([`Holders::forget`]). Nobody is preferred: a writer may wait while readers
//! come and go. (A reader that waited for a writer in line could close a circle of waits over several such locks that no
//! program has made.)

use std::time::Duration;

use crate::owned::{Life, OwnedLock};
use crate::sleep::Deadline;
use crate::sync::{AtomicU64, Ordering, fence};

/// The lock is shared with others that share it.
pub const SHARED: u64 = 1;
/// The lock is one holder's.
pub const ALONE: u64 = 2;

/// The lock, over its words in shared memory; all zero is free.
#[derive(Clone, Copy, Debug)]
pub struct Holders<'a> {
    gate: &'a OwnedLock,
    waiting: &'a AtomicU64,
    held: &'a [AtomicU64],
}

/// Counted as one that waits for long, until dropped.
#[derive(Debug)]
pub struct Waits<'a>(&'a AtomicU64);

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl<'a> Holders<'a> {
    /// Over a gate, a count, and a word for each holder.
    #[inline]
    pub fn over(gate: &'a OwnedLock, waiting: &'a AtomicU64, held: &'a [AtomicU64]) -> Holders<'a> {
        Holders { gate, waiting, held }
    }

    /// Takes the lock as holder `me`, or gives a holder that stands in the way, if one does. The gate is waited for no longer
    /// than `patience`, `None` for ever: it is held for a few instructions, unless its owner is stopped there.
    ///
    /// # Errors
    ///
    /// The number of that holder; none when the gate was not to be had.
    #[inline]
    pub fn try_take(
        &self,
        life: &impl Life,
        me: usize,
        how: u64,
        patience: Option<Duration>,
    ) -> Result<(), Option<usize>> {
        let gate = match self.gate.take_soon(life) {
            Some(gate) => gate,
            None => self.gate.lock_until(life, Deadline::after(patience)).ok_or(None)?,
        };
        let in_the_way = self.in_the_way(me, how);
        if in_the_way.is_none()
            && let Some(word) = self.held.get(me)
        {
            // Others see it through the gate.
            word.store(how, Ordering::Relaxed);
        }
        drop(gate);
        in_the_way.map_or(Ok(()), |holder| Err(Some(holder)))
    }

    /// Another holder with whom `me` cannot have the lock.
    #[inline]
    pub fn in_the_way(&self, me: usize, how: u64) -> Option<usize> {
        let excludes = |word: &AtomicU64| {
            // SYNC POINT holders: Acquire, sees what a holder wrote before it gave the lock back.
            let word = word.load(Ordering::Acquire);
            word == ALONE || (word != 0 && how == ALONE)
        };
        (0..self.held.len()).find(|holder| *holder != me && excludes(&self.held[*holder]))
    }

    /// Gives the lock back. True when somebody waits for long: wake those who may.
    #[inline]
    pub fn give_back(&self, me: usize) -> bool {
        if let Some(word) = self.held.get(me) {
            // SYNC POINT holders: Release, for the next holder's look.
            word.store(0, Ordering::Release);
        }
        // SYNC POINT holders-wait: release side, orders the store before the look at the count; pairs with `wait`.
        fence(Ordering::SeqCst);
        self.waiting.load(Ordering::Relaxed) != 0
    }

    /// Counts the caller as one that waits for long. Announce a sleep after this, and try once more before sleeping.
    pub fn wait(&self) -> Waits<'a> {
        self.waiting.fetch_add(1, Ordering::SeqCst);
        // SYNC POINT holders-wait: acquire side, orders the count before the waiter's next look.
        fence(Ordering::SeqCst);
        Waits(self.waiting)
    }

    /// Frees the lock of a holder whose process has ended. True when it had it; wake those who may wait then.
    pub fn forget(&self, holder: usize) -> bool {
        // SYNC POINT holders: Acquire for what the dead holder wrote, Release for who takes the lock next.
        self.held.get(holder).is_some_and(|word| word.swap(0, Ordering::AcqRel) != 0)
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::sync::atomic::{AtomicU32, AtomicU64};

    use super::*;
    use crate::owned::Processes;

    #[test]
    fn many_share_it_or_one_has_it_alone() {
        let gate = [const { AtomicU32::new(0) }; 4];
        let (waiting, held) = (AtomicU64::new(0), [const { AtomicU64::new(0) }; 3]);
        let lock = Holders::over(OwnedLock::over(&gate), &waiting, &held);
        assert_eq!(lock.try_take(&Processes, 0, SHARED, None), Ok(()));
        assert_eq!(lock.try_take(&Processes, 1, SHARED, None), Ok(()));
        assert_eq!(lock.try_take(&Processes, 2, ALONE, None), Err(Some(0)));
        assert!(!lock.give_back(0));
        assert_eq!(lock.try_take(&Processes, 2, ALONE, None), Err(Some(1)));
        let waits = lock.wait();
        assert!(lock.give_back(1));
        drop(waits);
        assert_eq!(lock.try_take(&Processes, 2, ALONE, None), Ok(()));
        assert_eq!(lock.try_take(&Processes, 0, SHARED, None), Err(Some(2)));
        // Holder 2 is killed.
        assert!(lock.forget(2));
        assert!(!lock.forget(2));
        assert_eq!(lock.try_take(&Processes, 0, ALONE, None), Ok(()));
    }
}
