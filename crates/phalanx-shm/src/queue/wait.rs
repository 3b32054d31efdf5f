//! How waiting goes: poll, give way, sleep.

use core::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use super::Memory;
use super::real::Queue;
use super::wake::{SLICE, Sleepers, WAITING};
use crate::{CpuBudget, ShmError};

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

/// A yield that takes longer means that others compute on this CPU: sleep at once.
const CROWDED: Duration = Duration::from_micros(200);

/// How long this process polls a queue before it sleeps: longer where that has helped, shorter where it was in vain.
#[derive(Debug)]
pub(super) struct Patience(AtomicU32);

impl Patience {
    const MOST: u32 = 100;
    const LEAST: u32 = 4;

    pub(super) const fn new() -> Patience {
        Patience(AtomicU32::new(Self::MOST / 2))
    }

    /// Polls `there` for a while.
    fn poll(&self, there: &impl Fn() -> bool) -> bool {
        let most = self.0.load(Ordering::Relaxed);
        let limit = Duration::from_micros(if one_cpu() { 0 } else { most.into() });
        let start = Instant::now();
        let mut spent = Duration::ZERO;
        loop {
            for _ in 0..32 {
                if there() {
                    self.0.store((most * 2).min(Self::MOST), Ordering::Relaxed);
                    return true;
                }
                core::hint::spin_loop();
            }
            rustix::thread::sched_yield();
            let now = start.elapsed();
            if now > limit || now - spent > CROWDED {
                break;
            }
            spent = now;
        }
        self.0.store((most / 2).max(Self::LEAST), Ordering::Relaxed);
        there()
    }
}

/// Whether this process may use one CPU only, so that polling keeps others from what it waits for.
fn one_cpu() -> bool {
    // Not a lock: a child that is forked while another thread finds out would wait for that thread for ever.
    static KNOWN: AtomicU32 = AtomicU32::new(0);
    match KNOWN.load(Ordering::Relaxed) {
        0 => {
            let one = CpuBudget::detect(2).oversubscribed();
            KNOWN.store(1 + u32::from(one), Ordering::Relaxed);
            one
        }
        known => known == 2,
    }
}

impl<M: Memory> Queue<M> {
    /// One turn of waiting on `sleepers` until `there`, and then of `act`: given the time to try until, it says whether it
    /// succeeded, or `None` when it found the side occupied until then.
    pub(super) fn wait(
        &self,
        sleepers: &Sleepers,
        deadline: Option<Instant>,
        turn: u32,
        there: impl Fn() -> bool,
        mut act: impl FnMut(Instant) -> Result<Option<bool>, ShmError>,
    ) -> Result<Turn, ShmError> {
        let turn_ends = Instant::now() + SLICE;
        let until = deadline.map_or(turn_ends, |deadline| deadline.min(turn_ends));
        let over =
            || if deadline.is_some_and(|deadline| deadline <= Instant::now()) { Turn::TimedOut } else { Turn::Again };
        let mut polled = turn > 0;
        let mut slept = false;
        let ended = loop {
            if there() {
                match act(until)? {
                    Some(true) => return Ok(Turn::Done),
                    Some(false) => {}
                    None => break over(),
                }
            }
            if !polled {
                polled = true;
                if self.patience.poll(&there) {
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
            if sleepers.sleep(token, left) {
                break over();
            }
        };
        // The wake-up that this thread may have got is for somebody else then.
        if slept && there() {
            sleepers.notify_one();
        }
        Ok(ended)
    }
}
