//! What a worker does while there is nothing to claim: it spins for a moment, if not too many others do, then sleeps.
//!
//! Who spins needs a CPU. The board says how many may (one less than there are CPUs, so that the supervisor has one),
//! and each spinner sets a bit. The bits are a courtesy, not a lock: a killed spinner's bit is cleared by the
//! supervisor, and workers whose numbers differ by a multiple of 64 share one.

use std::time::Duration;

use super::WorkerEnd;
use super::now;
use crate::park::Woken;
use crate::sync::{Ordering, spin_loop};

/// Polls between two looks at the clock, some 1-2 us; then others that want this CPU get it.
const POLLS: u32 = 64;

/// Why a wait for work ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Idle {
    /// There is something to claim (others may be quicker).
    Work,
    /// The worker shall end.
    Over,
    /// A signal handler ran, or the time passed.
    Look,
}

impl WorkerEnd {
    fn look(&self) -> Option<Idle> {
        if self.over() {
            Some(Idle::Over)
        } else if self.board().has_work() {
            Some(Idle::Work)
        } else {
            None
        }
    }

    /// Waits for something to claim. Call it without the interpreter lock.
    pub fn wait_for_work(&self, timeout: Duration) -> Idle {
        for _ in 0..POLLS {
            if let Some(found) = self.look() {
                return found;
            }
            spin_loop();
        }
        if let Some(found) = self.spin() {
            return found;
        }
        let parker = self.board().park(self.number()).parker();
        let token = parker.prepare();
        // Who leaves by itself takes the announcement back: the publisher would count this worker, which may be busy for
        // long, as one that it woke for a task, and let another one sleep on.
        if let Some(found) = self.look() {
            parker.leave();
            return found;
        }
        match parker.park(token, Some(timeout)) {
            Woken::Notified => self.look().unwrap_or(Idle::Look),
            Woken::TimedOut | Woken::Interrupted => {
                parker.leave();
                self.look().unwrap_or(Idle::Look)
            }
        }
    }

    fn spin(&self) -> Option<Idle> {
        let (spinning, spinners, micros) = self.board().spinning();
        let bit = 1 << (self.number() % 64);
        if spinning.load(Ordering::Relaxed).count_ones() >= spinners {
            return None;
        }
        if spinning.fetch_or(bit, Ordering::Relaxed) & bit != 0 {
            return None;
        }
        let end = now() + u64::from(micros) * 1000;
        let mut found = None;
        while found.is_none() && now() < end {
            for _ in 0..POLLS {
                found = self.look();
                if found.is_some() {
                    break;
                }
                spin_loop();
            }
            if found.is_none() {
                rustix::thread::sched_yield();
            }
        }
        spinning.fetch_and(!bit, Ordering::Relaxed);
        found
    }
}
