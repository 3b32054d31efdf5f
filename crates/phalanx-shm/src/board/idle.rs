//! What a worker does while there is nothing to claim: it spins for a moment, if not too many others do, then sleeps.
//!
//! A worker that spins needs a CPU. The board says how many may (one less than there are CPUs, so that the supervisor
//! has one), and each spinner sets a bit. The bits are a courtesy, not a lock: a killed spinner's bit is cleared by the
//! supervisor, and workers whose numbers differ by a multiple of 64 share one.

use std::time::Duration;

use super::WorkerEnd;
use super::now;
use crate::sleep::pace::give_way_in_a_pool;
use crate::sleep::{SleepWord, WAITING, Woken, look_briefly};
use crate::sync::Ordering;

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
        if let Some(found) = self.look_for_a_moment().or_else(|| self.spin()) {
            return found;
        }
        let sleeper = self.board().park(self.number());
        let token = sleeper.announce(WAITING);
        if let Some(found) = self.look() {
            return self.stay_awake(sleeper, found);
        }
        match sleeper.sleep(token, Some(timeout)) {
            Woken::Notified => self.look().unwrap_or(Idle::Look),
            Woken::TimedOut | Woken::Interrupted => {
                sleeper.retract();
                self.look().unwrap_or(Idle::Look)
            }
        }
    }

    /// Takes the announcement of a sleep back: the publisher would count this worker, which may be busy for long, as one
    /// that it woke for a task, and let another one sleep on.
    ///
    /// It may just have done so, for another task than the one that was found: then that other one is woken here.
    fn stay_awake(&self, sleeper: &SleepWord, found: Idle) -> Idle {
        sleeper.retract();
        if self.board().has_work_beside(u64::from(found == Idle::Work)) {
            let workers = self.board().shape().workers;
            let mut others = (1..workers).map(|n| self.board().park((self.number() + n) % workers));
            if let Some(other) = others.find(|other| other.may_sleep()) {
                // Fenced by `retract`.
                other.notify_all(WAITING);
            }
        }
        found
    }

    fn look_for_a_moment(&self) -> Option<Idle> {
        let mut found = None;
        look_briefly(|| {
            found = self.look();
            found.is_some()
        });
        found
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
            found = self.look_for_a_moment();
            if found.is_none() && !give_way_in_a_pool() {
                break;
            }
        }
        spinning.fetch_and(!bit, Ordering::Relaxed);
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::board::{Board, Publisher, Shape, Task};
    use crate::{Arena, ArenaConfig, BlockKind};

    #[test]
    fn who_was_counted_for_a_second_task_wakes_another_one() {
        let shape = Shape { cells: 8, payload: 4096, workers: 3, results: 1024 };
        let arena = Arena::create(ArenaConfig { bytes: 64 << 20, cached: 0 }).expect("an arena");
        let block = arena.alloc_zeroed(shape.bytes(), BlockKind::Board).expect("a block");
        let board = Board::in_block(block, shape).expect("a board");
        let mut publisher = Publisher::new(board.clone());
        let task = |dispatch| Task { dispatch, function: 1, flags: 0, count: 1, function_bytes: &[], items: &[] };
        let mut worker = WorkerEnd::new(board.clone(), 1).expect("a slot");
        let _asleep = board.park(0).announce(WAITING);

        // Found before the worker has announced its sleep: nobody else is needed.
        assert!(publisher.publish(&task(1)));
        let sleeper = board.park(1);
        let _token = sleeper.announce(WAITING);
        assert_eq!(worker.stay_awake(sleeper, Idle::Work), Idle::Work);
        assert!(!board.park(1).may_sleep() && board.park(0).may_sleep());

        // Another is published meanwhile, and the publisher takes the worker for one that it has woken.
        let _token = sleeper.announce(WAITING);
        assert!(publisher.publish(&task(2)));
        board.park(1).notify();
        assert_eq!(worker.stay_awake(sleeper, Idle::Work), Idle::Work);
        assert!(!board.park(0).may_sleep(), "nobody is awake for the second task");

        // A worker that ends does none of them.
        assert_eq!(worker.claim().map(|claim| claim.dispatch), Some(1));
        let (_asleep, _token) = (board.park(2).announce(WAITING), sleeper.announce(WAITING));
        assert_eq!(worker.stay_awake(sleeper, Idle::Over), Idle::Over);
        assert!(!board.park(2).may_sleep());
    }
}
