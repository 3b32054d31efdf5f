//! How waiting goes: poll, give way, sleep.

use std::time::Instant;

use super::Memory;
use super::real::Queue;
use crate::ShmError;
use crate::sleep::{Next, Pace, SLICE, SleepWord, WAITING, Woken};
use crate::sync::spin_loop;

/// What became of a turn of waiting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Turn {
    /// It is done.
    Done,
    /// The deadline has passed.
    TimedOut,
    /// Some time has passed, or a signal has come: look at it, and begin the next turn.
    Again,
}

/// Looks between two yields or looks at the clock.
const LOOKS: u32 = 32;

impl<M: Memory> Queue<M> {
    /// One turn of waiting on `sleepers` until `there`, and then of `act`: given the time to try until, it says whether it
    /// succeeded, or `None` when it found the side occupied until then.
    pub(super) fn wait(
        &self,
        sleepers: &SleepWord,
        deadline: Option<Instant>,
        turn: u32,
        there: impl Fn() -> bool,
        mut act: impl FnMut(Instant) -> Result<Option<bool>, ShmError>,
    ) -> Result<Turn, ShmError> {
        let turn_ends = Instant::now() + SLICE;
        let until = deadline.map_or(turn_ends, |deadline| deadline.min(turn_ends));
        let over =
            || if deadline.is_some_and(|deadline| deadline <= Instant::now()) { Turn::TimedOut } else { Turn::Again };
        let mut pace = Pace::new(&self.manners);
        let mut polled = turn > 0;
        let mut slept = false;
        let ended = loop {
            if there() {
                match act(until)? {
                    Some(true) => {
                        pace.learn();
                        return Ok(Turn::Done);
                    }
                    Some(false) => {}
                    None => break over(),
                }
            }
            if !polled {
                polled = true;
                while pace.step() == Next::Look && !looks(&there) {}
                if there() {
                    continue;
                }
            }
            let token = sleepers.announce(WAITING);
            if there() {
                continue;
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break over();
            }
            slept = true;
            if sleepers.sleep(token, Some(left)) == Woken::Interrupted {
                break over();
            }
        };
        if turn == 0 && ended == Turn::Again {
            pace.learn();
        }
        // The wake-up that this thread may have got is for somebody else then.
        if slept && there() {
            sleepers.notify_one();
        }
        Ok(ended)
    }
}

/// One round of looks.
fn looks(there: &impl Fn() -> bool) -> bool {
    for _ in 0..LOOKS {
        if there() {
            return true;
        }
        spin_loop();
    }
    false
}
