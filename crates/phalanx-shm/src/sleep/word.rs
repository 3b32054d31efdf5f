//! The word to sleep on. See `README.md` in this folder for the protocol and why nothing is lost.

use std::time::Duration;

use crate::sync::{AtomicU32, FutexWake, FutexWord, Ordering, Scope, fence, fence_after_atomic};

/// The reason of most sleeps.
pub const WAITING: u32 = 1;
/// A second reason to sleep on the same word.
pub const WAITING_TOO: u32 = 2;
const REASONS: u32 = WAITING | WAITING_TOO;
const STEP: u32 = 4;

/// A word to sleep on. In shared memory or on the heap; all zero means that nobody sleeps.
///
/// Written by: sleepers (reasons) and wakers (count). Read by wakers after each publication, which is all that waking
/// costs while nobody sleeps.
///
/// ```
/// use std::sync::atomic::{AtomicBool, Ordering};
/// use phalanx_shm::sleep::{SleepWord, WAITING};
///
/// let (word, there) = (SleepWord::new(), AtomicBool::new(false));
/// std::thread::scope(|scope| {
///     scope.spawn(|| {
///         there.store(true, Ordering::Relaxed);
///         word.notify();
///     });
///     // Announce, look, sleep: whatever comes after the look ends the sleep.
///     loop {
///         let token = word.announce(WAITING);
///         if there.load(Ordering::Relaxed) {
///             break;
///         }
///         word.sleep(token, None);
///     }
/// });
/// ```
#[derive(Debug)]
#[cfg_attr(not(loom), repr(C))]
pub struct SleepWord {
    /// `count << 2 | reasons`.
    word: FutexWord,
    /// How many sleep, roughly: killed sleepers leave it too high. Decides about cost only.
    asleep: AtomicU32,
}

/// Proof that sleep was announced. Look at what is waited for, then sleep with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "look at what is waited for, then sleep with this token"]
pub struct Token(u32);

/// Why a sleep ended. Look at what is waited for in every case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Woken {
    /// A waker came, or had come since the token was made.
    Notified,
    /// The time is over.
    TimedOut,
    /// A signal handler ran in this thread (EINTR).
    Interrupted,
}

impl Token {
    /// The state of the word, to be told to others: see [`SleepWord::is_at`].
    pub fn state(self) -> u32 {
        self.0
    }
}

impl SleepWord {
    /// A word on which nobody sleeps.
    #[cfg(not(loom))]
    pub const fn new() -> SleepWord {
        SleepWord { word: FutexWord::new(0), asleep: AtomicU32::new(0) }
    }

    /// A word on which nobody sleeps.
    #[cfg(loom)]
    pub fn new() -> SleepWord {
        SleepWord { word: FutexWord::new(0), asleep: AtomicU32::new(0) }
    }

    /// The sleep word in two words of shared memory, which are used for nothing else.
    #[cfg(not(loom))]
    #[inline]
    pub fn over(words: &[AtomicU32; 2]) -> &SleepWord {
        // SAFETY: two 32-bit atomics, one after the other, as in the array; the lifetime is the argument's.
        unsafe { &*core::ptr::from_ref(words).cast::<SleepWord>() }
    }

    /// Announces sleep because of [`WAITING`] or [`WAITING_TOO`]. Look at what is waited for after it, and sleep only if
    /// it is not there.
    #[inline]
    pub fn announce(&self, reason: u32) -> Token {
        let before = self.word.word().fetch_or(reason, Ordering::Relaxed);
        // SYNC POINT sleep: acquire side, orders the announcement before the caller's look; pairs with `published`.
        fence(Ordering::SeqCst);
        Token(before | reason)
    }

    /// Takes the announcement back, on a word on which no other thread sleeps. Look at what is waited for once more after
    /// it: a waker may just have taken this thread for a sleeper.
    pub fn retract(&self) {
        self.word.word().fetch_and(!REASONS, Ordering::Relaxed);
        // SYNC POINT sleep: acquire side; a waker that has seen the reason before it was cleared had published before,
        // and the caller's look sees that.
        fence(Ordering::SeqCst);
    }

    /// Sleeps until somebody notifies, or has since `token` was made; at most `limit`.
    pub fn sleep(&self, token: Token, limit: Option<Duration>) -> Woken {
        self.asleep.fetch_add(1, Ordering::Relaxed);
        let woken = self.word.wait(Scope::Shared, token.0, limit);
        // Not below zero, where a waker that found nobody has reset it.
        let _ = self.asleep.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| n.checked_sub(1));
        match woken {
            FutexWake::Changed => Woken::Notified,
            FutexWake::TimedOut => Woken::TimedOut,
            FutexWake::Interrupted => Woken::Interrupted,
        }
    }

    /// Whether somebody has notified since `token` was made.
    pub fn has_moved(&self, token: Token) -> bool {
        // SYNC POINT sleep-count: Acquire, pairs with the Release of the count in `rouse` and `advance`.
        self.word.word().load(Ordering::Acquire) / STEP != token.0 / STEP
    }

    /// Whether nobody has notified since a sleep was announced with a token of this state.
    pub fn is_at(&self, state: u32) -> bool {
        // SYNC POINT sleep-count: Acquire, as in `has_moved`.
        self.word.word().load(Ordering::Acquire) == state
    }

    /// Whether a thread has announced that it may sleep.
    #[inline]
    pub fn may_sleep(&self) -> bool {
        self.word.word().load(Ordering::Relaxed) & REASONS != 0
    }

    /// Orders the caller's publication before the looks at sleep words that follow.
    #[inline]
    pub fn published() {
        // SYNC POINT sleep: release side, orders the publication before the look at the reasons; pairs with `announce`.
        fence(Ordering::SeqCst);
    }

    /// As [`SleepWord::published`], where the last thing that the caller did to shared memory was an atomic
    /// read-modify-write: free on machines on which that is a full barrier.
    #[inline]
    pub fn published_by_atomic() {
        // SYNC POINT sleep: release side, as in `published`.
        fence_after_atomic();
    }

    /// Wakes everybody who sleeps here, after what the caller has published.
    #[inline]
    pub fn notify(&self) {
        SleepWord::published();
        self.wake();
    }

    /// Wakes everybody who sleeps here. After [`SleepWord::published`].
    #[inline]
    pub fn wake(&self) {
        self.notify_all(REASONS);
    }

    /// Wakes one who sleeps because of [`WAITING`], if there is one. After [`SleepWord::published`].
    ///
    /// One that was woken and leaves without what it waited for passes the notice on.
    #[inline]
    pub fn notify_one(&self) {
        if self.word.word().load(Ordering::Relaxed) & WAITING != 0 {
            self.rouse(WAITING, self.asleep.load(Ordering::Relaxed) > 1);
        }
    }

    /// Wakes everybody if one of them sleeps because of `reasons`; how many the kernel found asleep. After
    /// [`SleepWord::published`].
    #[inline]
    pub fn notify_all(&self, reasons: u32) -> usize {
        if self.word.word().load(Ordering::Relaxed) & reasons != 0 { self.rouse(reasons, false) } else { 0 }
    }

    /// Changes the count whether or not somebody sleeps, and wakes everybody.
    pub fn advance(&self) {
        // SYNC POINT sleep-count: Release, whoever sees the new count sees what came before it.
        let before = self.word.word().fetch_add(STEP, Ordering::Release);
        if before & REASONS != 0 {
            self.rouse(REASONS, false);
        }
    }

    #[cold]
    fn rouse(&self, reasons: u32, one: bool) -> usize {
        let word = self.word.word();
        let mut seen = word.load(Ordering::Relaxed);
        if one {
            while seen & reasons != 0 {
                // SYNC POINT sleep-count: Release, for `has_moved`.
                match word.compare_exchange_weak(seen, seen.wrapping_add(STEP), Ordering::Release, Ordering::Relaxed) {
                    Ok(_) => break,
                    Err(now) => seen = now,
                }
            }
            let woken = self.word.wake(Scope::Shared, 1);
            if woken > 0 {
                return woken;
            }
            self.asleep.store(0, Ordering::Relaxed);
            seen = word.load(Ordering::Relaxed);
        }
        while seen & reasons != 0 {
            let next = (seen & !REASONS).wrapping_add(STEP);
            // SYNC POINT sleep-count: Release, for `has_moved`.
            match word.compare_exchange_weak(seen, next, Ordering::Release, Ordering::Relaxed) {
                Ok(_) => return self.word.wake(Scope::Shared, i32::MAX as u32),
                Err(now) => seen = now,
            }
        }
        // Another waker has cleared the reasons after its own publication, and wakes the same sleepers.
        0
    }
}

impl Default for SleepWord {
    fn default() -> SleepWord {
        SleepWord::new()
    }
}
