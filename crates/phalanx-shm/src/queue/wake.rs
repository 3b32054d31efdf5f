//! Sleeping until a queue changes: a word that takes no system call from those who change it while nobody sleeps.
//!
//! ```text
//! word = count << 2 | flags
//!
//! sleeper                                 waker
//!   token = word |= flag                    publish
//!   fence(SeqCst)                           fence(SeqCst)
//!   look; found -> done                     word without the flag -> done
//!   futex_wait(word == token)               change the count, futex_wake
//! ```
//!
//! The fences are totally ordered: either the sleeper's look sees what was published, or the waker sees the flag and
//! changes the count before it wakes, so that a sleeper not yet asleep does not fall asleep.
//!
//! **One item wakes one sleeper.** [`Sleepers::notify_one`] keeps the flag while it believes that several sleep
//! (`asleep`, which killed sleepers leave too high) and wakes one. When it believes that there is at most one, or nobody
//! was there to be woken, it clears the flag and wakes all that are there. So belief decides about cost only: whenever the
//! flag is cleared, the count changes and everybody is woken afterwards; sleepers that come later set the flag again.
//!
//! A sleeper that was woken and leaves without the item (time is up, a signal) calls `notify_one` for the next. One that
//! is killed instead cannot: so everybody sleeps in slices, and looks again.

use std::time::Duration;

use crate::sync::{AtomicU32, FutexWake, FutexWord, Ordering, Scope, fence};

/// A sleeper waits (for whatever the word is for).
pub(super) const WAITING: u32 = 1;
/// A second reason to wait on the same word.
pub(super) const WAITING_TOO: u32 = 2;
const FLAGS: u32 = WAITING | WAITING_TOO;
const STEP: u32 = 4;

/// Longest sleep between two looks at what is waited for.
pub(super) const SLICE: Duration = Duration::from_millis(100);

/// A word to sleep on. In shared memory; all zero means that nobody sleeps.
#[derive(Debug)]
#[cfg_attr(not(loom), repr(C))]
pub struct Sleepers {
    /// Written by sleepers (flags) and wakers (count); read by wakers after each publication.
    word: FutexWord,
    /// How many sleep, roughly. Written by sleepers, and by a waker that finds nobody.
    asleep: AtomicU32,
}

/// Proof that sleeping was announced; look, then sleep with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "look for events, then sleep with this token"]
pub struct Token(u32);

impl Sleepers {
    /// A word on which nobody sleeps.
    #[cfg(loom)]
    #[expect(clippy::new_without_default, reason = "for models")]
    pub fn new() -> Sleepers {
        Sleepers { word: FutexWord::new(0), asleep: AtomicU32::new(0) }
    }

    /// Announces sleep because of `flag`. Look for events after it.
    pub fn announce(&self, flag: u32) -> Token {
        let before = self.word.word().fetch_or(flag, Ordering::Relaxed);
        // SYNC POINT queue-sleep: orders the announcement before the caller's look.
        fence(Ordering::SeqCst);
        Token(before | flag)
    }

    /// Sleeps until somebody notifies, or has since `token`; at most `slice`. Whether a signal ended it.
    pub fn sleep(&self, token: Token, slice: Duration) -> bool {
        self.asleep.fetch_add(1, Ordering::Relaxed);
        let woken = self.word.wait(Scope::Shared, token.0, Some(slice));
        // Not below zero, where a waker that found nobody has reset it.
        let _ = self.asleep.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| n.checked_sub(1));
        woken == FutexWake::Interrupted
    }

    /// Whether somebody has notified since `token` was made.
    pub fn has_moved(&self, token: Token) -> bool {
        // SYNC POINT queue-sleep: Acquire, pairs with the Release of the count in `rouse`.
        self.word.word().load(Ordering::Acquire) / STEP != token.0 / STEP
    }

    /// Orders the caller's publication before the looks at flags that follow.
    #[inline]
    pub fn published() {
        // SYNC POINT queue-sleep: orders the publication before the look at the flags; pairs with `announce`.
        fence(Ordering::SeqCst);
    }

    /// Wakes one sleeper, if there are any. After [`Sleepers::published`].
    #[inline]
    pub fn notify_one(&self) {
        if self.word.word().load(Ordering::Relaxed) & WAITING != 0 {
            self.rouse(WAITING, self.asleep.load(Ordering::Relaxed) > 1);
        }
    }

    /// Wakes all sleepers if one of them waits because of `flag`. After [`Sleepers::published`].
    #[inline]
    pub fn notify_all(&self, flag: u32) {
        if self.word.word().load(Ordering::Relaxed) & flag != 0 {
            self.rouse(flag, false);
        }
    }

    /// Changes the count whether or not somebody sleeps, and wakes everybody.
    pub fn advance(&self) {
        // Release: whoever sees the new count sees what came before it.
        let before = self.word.word().fetch_add(STEP, Ordering::Release);
        if before & FLAGS != 0 {
            self.rouse(FLAGS, false);
        }
    }

    #[cold]
    fn rouse(&self, flag: u32, one: bool) {
        let word = self.word.word();
        let mut seen = word.load(Ordering::Relaxed);
        if one {
            while seen & flag != 0 {
                // SYNC POINT queue-sleep: Release, for `has_moved`.
                match word.compare_exchange_weak(seen, seen.wrapping_add(STEP), Ordering::Release, Ordering::Relaxed) {
                    Ok(_) => break,
                    Err(now) => seen = now,
                }
            }
            if self.word.wake(Scope::Shared, 1) > 0 {
                return;
            }
            self.asleep.store(0, Ordering::Relaxed);
            seen = word.load(Ordering::Relaxed);
        }
        while seen & flag != 0 {
            let next = (seen & !FLAGS).wrapping_add(STEP);
            // SYNC POINT queue-sleep: Release, for `has_moved`.
            match word.compare_exchange_weak(seen, next, Ordering::Release, Ordering::Relaxed) {
                Ok(_) => {
                    self.word.wake(Scope::Shared, i32::MAX as u32);
                    return;
                }
                Err(now) => seen = now,
            }
        }
        // Another waker has cleared the flag after its own publication, and wakes the same sleepers.
    }
}
