//! What a joinable queue counts: records that were put and not yet declared done.

use std::time::{Duration, Instant};

use super::real::Queue;
use super::{Memory, Turn};
use crate::sleep::{SLICE, Token, WAITING};
use crate::sync::Ordering;

/// When a wait for the end of all records began.
#[derive(Clone, Copy, Debug)]
pub struct Joining(Option<Token>);

impl<M: Memory> Queue<M> {
    /// Records put and not yet declared done.
    pub fn unfinished(&self) -> u64 {
        // SYNC POINT queue-done: Acquire, pairs with the Release in `task_done`.
        let done = self.header().done.0.load(Ordering::Acquire);
        self.header().tail.0.load(Ordering::Acquire).saturating_sub(done)
    }

    /// Declares one record done; false when all were.
    pub fn task_done(&self) -> bool {
        let header = self.header();
        let mut done = header.done.0.load(Ordering::Relaxed);
        loop {
            let tail = header.tail.0.load(Ordering::Acquire);
            if done >= tail {
                return false;
            }
            // SYNC POINT queue-done: Release, what was done for the record comes before.
            match header.done.0.compare_exchange_weak(done, done + 1, Ordering::AcqRel, Ordering::Relaxed) {
                Ok(_) => {
                    if done + 1 == tail {
                        // Nothing was unfinished at this instant: that ends every join, whatever is put next.
                        header.waits.finished.advance();
                    }
                    return true;
                }
                Err(now) => done = now,
            }
        }
    }

    /// Begins to wait until nothing is unfinished.
    pub fn joining(&self) -> Joining {
        let token = self.header().waits.finished.announce(WAITING);
        Joining((self.unfinished() > 0).then_some(token))
    }

    /// One turn of waiting until nothing is unfinished, or was at some time since `joining`.
    pub fn join(&self, joining: &mut Joining, deadline: Option<Instant>) -> Turn {
        let Joining(Some(since)) = *joining else { return Turn::Done };
        let finished = &self.header().waits.finished;
        let token = finished.announce(WAITING);
        if finished.has_moved(since) || self.unfinished() == 0 {
            return Turn::Done;
        }
        let left = deadline.map_or(SLICE, |deadline| deadline.saturating_duration_since(Instant::now()));
        if left == Duration::ZERO {
            return Turn::TimedOut;
        }
        finished.sleep(token, Some(left.min(SLICE)));
        Turn::Again
    }
}
