//! Sleeping without losing a wake-up.
//!
//! Every process has one [`ParkWord`] in its slot. All threads of the process
//! sleep on it; whoever makes something happen for the process wakes all of
//! them, and each re-checks what it waits for.
//!
//! ```text
//! word = count << 1 | sleeping
//!
//! sleeper                                waker
//!   token = word |= 1                      publish the event
//!   fence(SeqCst)                          fence(SeqCst)
//!   look for events; found -> done         v = word; bit 0 clear -> done
//!   futex_wait(word == token)              word: v -> (v & !1) + 2; lost -> again
//!                                          futex_wake(all)
//! ```
//!
//! Why nothing is lost. The two fences are totally ordered. If the waker's is
//! first, the sleeper's look comes after it and sees the event. If the
//! sleeper's is first, the waker sees bit 0, or a word that another waker has
//! changed since; in both cases the word no longer equals the sleeper's token
//! by the time any futex wake is called, so `futex_wait` either returns at once
//! or is woken. Setting the bit and clearing it are read-modify-writes of one
//! word, so a second sleeper that sets the bit after the clearing has a token
//! with the new count, and the next waker sees its bit.
//!
//! The bit stays set when a sleeper leaves by itself (event found, timeout,
//! signal): the next waker then makes one needless system call. Only where no
//! other thread sleeps on the word can it be cleared ([`Parker::leave`]).
//!
//! If a waker is killed between its change of the word and `futex_wake`, the
//! sleepers stay asleep although the word changed. So sleep in slices: every
//! user of [`Parker::park`] passes a timeout and looks again.

use std::time::Duration;

use crate::sync::{FutexWake, FutexWord, Ordering, Scope, fence};

/// The word a process's threads sleep on. Lives in the slot (shared memory).
///
/// Written by: sleepers of the process (bit 0), wakers anywhere (count).
/// Read by: every producer after every publication.
#[derive(Debug)]
#[cfg_attr(not(loom), repr(transparent))]
pub struct ParkWord(FutexWord);

/// "Somebody may be asleep."
const SLEEPING: u32 = 1;

impl ParkWord {
    /// A word nobody sleeps on.
    #[cfg(not(loom))]
    pub const fn new() -> ParkWord {
        ParkWord(FutexWord::new(0))
    }

    /// A word nobody sleeps on.
    #[cfg(loom)]
    pub fn new() -> ParkWord {
        ParkWord(FutexWord::new(0))
    }

    /// Wakes the sleepers if there may be any. The event they wait for must be
    /// published before; this contains the fence the protocol needs.
    #[inline]
    pub fn notify(&self) {
        // SYNC POINT park: orders the caller's publication before the look at
        // bit 0; pairs with the fence in `Parker::prepare`.
        fence(Ordering::SeqCst);
        self.notify_fenced();
    }

    /// [`ParkWord::notify`] for a caller that has executed a SeqCst fence since
    /// its publication.
    #[inline]
    pub fn notify_fenced(&self) {
        let seen = self.0.word().load(Ordering::Relaxed);
        if seen & SLEEPING != 0 {
            self.wake(seen);
        }
    }

    #[cold]
    fn wake(&self, mut seen: u32) {
        let word = self.0.word();
        while seen & SLEEPING != 0 {
            let next = (seen & !SLEEPING).wrapping_add(2);
            // Release: a sleeper that sees the new count sees the publication
            // without another fence. Relaxed on failure: only the bit matters.
            match word.compare_exchange_weak(seen, next, Ordering::Release, Ordering::Relaxed) {
                Ok(_) => {
                    self.0.wake(Scope::Shared, i32::MAX as u32);
                    return;
                }
                Err(now) => seen = now,
            }
        }
        // Another waker cleared the bit after its own publication and will call
        // or has called futex_wake for the same sleepers.
    }

    /// The sleeping side.
    #[inline]
    pub fn parker(&self) -> Parker<'_> {
        Parker { word: self }
    }

    /// Whether a thread has announced that it may sleep. For tools and tests.
    pub fn may_sleep(&self) -> bool {
        self.0.word().load(Ordering::Relaxed) & SLEEPING != 0
    }
}

impl Default for ParkWord {
    fn default() -> ParkWord {
        ParkWord::new()
    }
}

/// The sleeping side of a [`ParkWord`]: for threads of the process that owns it.
#[derive(Clone, Copy, Debug)]
pub struct Parker<'a> {
    word: &'a ParkWord,
}

/// Proof that sleeping was announced; compare value for the futex.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "look for events, then park with this token"]
pub struct ParkToken(u32);

/// Why [`Parker::park`] returned. Look for events in every case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Woken {
    /// A waker came, or had come since the token was made.
    Notified,
    /// The timeout passed.
    TimedOut,
    /// A signal handler ran in this thread (EINTR).
    Interrupted,
}

impl Parker<'_> {
    /// Announces that this thread is about to sleep. After this, look for
    /// events once more; park only if there are none.
    #[inline]
    pub fn prepare(&self) -> ParkToken {
        let before = self.word.0.word().fetch_or(SLEEPING, Ordering::Relaxed);
        // SYNC POINT park: orders the announcement before the caller's look
        // for events; pairs with the fence in `ParkWord::notify`.
        fence(Ordering::SeqCst);
        ParkToken(before | SLEEPING)
    }

    /// Takes the announcement back, for a word on which no other thread sleeps. After this, look for events once more: a
    /// waker may just have taken this thread for a sleeper.
    pub fn leave(&self) {
        self.word.0.word().fetch_and(!SLEEPING, Ordering::Relaxed);
        // SYNC POINT park: a waker that has seen the bit before it was cleared had published before; the caller's look
        // sees that. Pairs with the fence in `ParkWord::notify`.
        fence(Ordering::SeqCst);
    }

    /// Sleeps until a waker comes, `timeout` passes or a signal arrives.
    /// Returns at once when a waker has come since `token` was made.
    pub fn park(&self, token: ParkToken, timeout: Option<Duration>) -> Woken {
        match self.word.0.wait(Scope::Shared, token.0, timeout) {
            FutexWake::Changed => Woken::Notified,
            FutexWake::TimedOut => Woken::TimedOut,
            FutexWake::Interrupted => Woken::Interrupted,
        }
    }
}
