//! A barrier whose waiters notice that one of them has died.
//!
//! ```text
//! state = arrived << 32 | round << 2 | phase
//! ```
//!
//! Every step is one compare-and-swap of the state, so there is no lock to be
//! left behind. The last to arrive turns [`FILLING`] into [`ACTING`], runs the
//! action, and opens the next round. Who waits sleeps on a word beside the state
//! and looks, after each slice, whether all who arrived still live; if not, it
//! breaks the barrier. So does the last to arrive, before the action, when the
//! others have waited for a slice: all of them may be dead. (A look is some
//! 20 microseconds for each, too much for rounds that fill up at once.)
//!
//! Who cannot wait any longer, because a signal handler has raised an exception,
//! takes its arrival back while the others are still waited for.
//!
//! A round that was broken and reset is remembered in a table by its number, so
//! that a waiter that wakes late does not take the reset for an opening. (The
//! table has 16 entries: it would have to sleep through 16 resets.)
//!
//! A process killed between its arrival and writing its name (or between erasing
//! its name and taking its arrival back) counts as arrived and is not missed:
//! the others still open the barrier.

use crate::sync::{AtomicU32, AtomicU64, Ordering};

use crate::ShmError;
use crate::alive::ShortTag;
use crate::arena::{Arena, Block, BlockKind};
use crate::sleep::{Deadline, SleepWord, Slept, Slices, WAITING, uptime_ms};

/// Waiting for the rest.
const FILLING: u64 = 0;
/// All have arrived, the last one runs the action.
const ACTING: u64 = 1;
/// Of no use until it is reset.
const BROKEN: u64 = 2;
/// Broken for those who wait, and about to be as new. Whoever arrives completes it, should the resetter be dead.
const RESETTING: u64 = 3;

const PHASE: u64 = 3;
const ROUND: u64 = 0xffff_fffc;
const ONE_ROUND: u64 = 4;
const ONE_ARRIVED: u64 = 1 << 32;

/// Byte of the state.
const STATE: usize = 0;
/// Byte of the table of rounds that were broken and reset.
const RESETS: usize = 8;
const RESETS_LEN: usize = 16;
/// Byte of the time at which the first one of this round arrived, in milliseconds.
const SINCE: usize = 72;
/// Byte of the word that waiters sleep on.
const SLEEPERS: usize = 80;
/// Byte of the names of those who arrived: `round << 32 | ShortTag`, in any order. Other rounds' are free places.
const NAMES: usize = 128;

/// A barrier in the arena.
///
/// ```
/// use phalanx_shm::barrier::{Arrival, Barrier};
/// use phalanx_shm::{Arena, ArenaConfig};
///
/// let arena = Arena::create(ArenaConfig { bytes: 64 << 20, cached: 1 << 20 })?;
/// let barrier = Barrier::create(arena, 2)?;
/// assert!(matches!(barrier.arrive(), Arrival::Wait(_)));
/// assert_eq!(barrier.waiting(), 1);
/// // The last one to come may do something for all, then lets them pass.
/// let Arrival::Last(turn) = barrier.arrive() else { panic!("both are here") };
/// assert!(barrier.open(turn));
/// assert_eq!(barrier.waiting(), 0);
/// # Ok::<(), phalanx_shm::ShmError>(())
/// ```
#[derive(Debug)]
pub struct Barrier {
    block: Block,
    parties: u32,
}

/// What [`Barrier::arrive`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrival {
    /// Wait for the others.
    Wait(Turn),
    /// All are here: run the action, then [open](Barrier::open).
    Last(Turn),
    /// The action of the round before is running: come back.
    Busy,
    /// It is broken.
    Broken,
}

/// One process's part in one round.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Turn {
    /// Which round.
    pub round: u32,
    /// Order of arrival, from 0.
    pub index: u32,
}

/// How a wait at a barrier ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Passed {
    /// All have come.
    Yes,
    /// The barrier is broken, by somebody else or because somebody died.
    Broken,
    /// The deadline has passed, so the barrier is broken now.
    TimedOut,
    /// A slice of the wait is over, or a signal handler ran in this thread. See to signals, then wait again or
    /// [leave](Barrier::leave).
    SliceOver,
}

impl Barrier {
    /// A new barrier.
    ///
    /// # Errors
    ///
    /// [`ShmError::OutOfMemory`] or [`ShmError::HeapFull`].
    pub fn create(arena: Arena, parties: u32) -> Result<Barrier, ShmError> {
        let bytes = NAMES + parties as usize * 8;
        Ok(Barrier { block: arena.alloc_zeroed(bytes, BlockKind::Plain)?, parties })
    }

    /// The barrier in a block that another process made.
    ///
    /// # Errors
    ///
    /// [`ShmError::Corrupt`] when the block is too small for one.
    pub fn over(block: Block, parties: u32) -> Result<Barrier, ShmError> {
        if block.len() < NAMES + parties as usize * 8 {
            return Err(ShmError::Corrupt { what: format!("a barrier in a block of {} bytes", block.len()) });
        }
        Ok(Barrier { block, parties })
    }

    /// The block, to be named in messages.
    #[must_use]
    pub fn block(&self) -> &Block {
        &self.block
    }

    /// How many have to come.
    #[must_use]
    pub fn parties(&self) -> u32 {
        self.parties
    }

    fn state(&self) -> &AtomicU64 {
        self.block.word64(STATE)
    }

    /// What waiters sleep on until the state changes.
    fn sleepers(&self) -> &SleepWord {
        self.block.sleep_word(SLEEPERS)
    }

    fn since(&self) -> &AtomicU64 {
        self.block.word64(SINCE)
    }

    fn names(&self) -> impl Iterator<Item = &AtomicU64> + Clone {
        (0..self.parties as usize).map(|at| self.block.word64(NAMES + at * 8))
    }

    fn reset_of(&self, round: u32) -> &AtomicU32 {
        self.block.word32(RESETS + (round as usize / 4 % RESETS_LEN) * 4)
    }

    /// How many wait now.
    #[must_use]
    pub fn waiting(&self) -> u32 {
        let state = self.state().load(Ordering::Acquire);
        if state & PHASE == FILLING { (state >> 32) as u32 } else { 0 }
    }

    /// Whether it is broken.
    #[must_use]
    pub fn is_broken(&self) -> bool {
        self.state().load(Ordering::Acquire) & PHASE == BROKEN
    }

    /// Arrives.
    pub fn arrive(&self) -> Arrival {
        let mut seen = self.state().load(Ordering::Acquire);
        loop {
            match seen & PHASE {
                FILLING => {}
                ACTING => return Arrival::Busy,
                BROKEN => return Arrival::Broken,
                _ => {
                    seen = self.finish_reset(seen);
                    continue;
                }
            }
            let index = (seen >> 32) as u32;
            let last = index + 1 >= self.parties;
            let next = (seen + ONE_ARRIVED) | if last { ACTING } else { FILLING };
            // SYNC POINT barrier: AcqRel, what each party wrote before it arrived is seen by all who pass.
            match self.state().compare_exchange(seen, next, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => {
                    let turn = Turn { round: (seen & ROUND) as u32, index };
                    self.sign(turn);
                    if !last {
                        if index == 0 {
                            self.since().store(uptime_ms(), Ordering::Relaxed);
                        }
                        return Arrival::Wait(turn);
                    }
                    if index > 0 && self.has_filled_slowly() {
                        self.look(turn);
                        if self.is_broken() {
                            return Arrival::Broken;
                        }
                    }
                    return Arrival::Last(turn);
                }
                Err(now) => seen = now,
            }
        }
    }

    /// Whether those who wait have done so for longer than looking at them takes, by far.
    fn has_filled_slowly(&self) -> bool {
        // Relaxed: the time of an earlier round costs a needless look.
        uptime_ms().saturating_sub(self.since().load(Ordering::Relaxed)) >= Slices::FIRST.as_millis() as u64
    }

    /// Writes the name of one who has arrived.
    fn sign(&self, turn: Turn) {
        for name in self.names().cycle().skip(turn.index as usize).take(self.parties as usize) {
            let seen = name.load(Ordering::Relaxed);
            // Of this round or a later one (this process was stopped for long): somebody else's.
            let taken = seen as u32 != 0 && ((seen >> 32) as u32).wrapping_sub(turn.round) as i32 >= 0;
            // SYNC POINT barrier: Release, pairs with `look`.
            if !taken && name.compare_exchange(seen, my_name(turn), Ordering::Release, Ordering::Relaxed).is_ok() {
                return;
            }
        }
    }

    /// Takes an arrival back. Does nothing when all have come meanwhile, or the barrier is broken.
    pub fn leave(&self, turn: Turn) {
        let mine = my_name(turn);
        // Any of them, if more threads of this process are here.
        let _ = self.names().find(|name| name.compare_exchange(mine, 0, Ordering::Relaxed, Ordering::Relaxed).is_ok());
        let _ = self.state().fetch_update(Ordering::AcqRel, Ordering::Acquire, |seen| {
            let waits = (seen & ROUND) as u32 == turn.round && seen & PHASE == FILLING;
            if waits { seen.checked_sub(ONE_ARRIVED) } else { None }
        });
    }

    /// After the action: lets all pass and begins the next round. False when the barrier was broken meanwhile.
    pub fn open(&self, turn: Turn) -> bool {
        let mut seen = self.state().load(Ordering::Acquire);
        loop {
            if seen & PHASE != ACTING || (seen & ROUND) as u32 != turn.round {
                return self.passed(turn);
            }
            let next = (seen & ROUND).wrapping_add(ONE_ROUND) & ROUND;
            // SYNC POINT barrier: AcqRel, as in `arrive`.
            match self.state().compare_exchange(seen, next, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => {
                    self.sleepers().notify();
                    return true;
                }
                Err(now) => seen = now,
            }
        }
    }

    /// Whether a round that is over was opened, not reset.
    fn passed(&self, turn: Turn) -> bool {
        let state = self.state().load(Ordering::Acquire);
        let over = (state & ROUND) as u32 != turn.round;
        over && self.reset_of(turn.round).load(Ordering::Acquire) != turn.round | 1
    }

    /// Waits until all have come: a slice at most.
    pub fn wait(&self, turn: Turn, slices: &mut Slices, deadline: Deadline) -> Passed {
        loop {
            let token = self.sleepers().announce(WAITING);
            // SYNC POINT barrier: Acquire, pairs with `open`.
            let state = self.state().load(Ordering::Acquire);
            if (state & ROUND) as u32 != turn.round {
                return if self.passed(turn) { Passed::Yes } else { Passed::Broken };
            }
            if matches!(state & PHASE, BROKEN | RESETTING) {
                return Passed::Broken;
            }
            // While the action runs, all are there: nobody's time runs out.
            let until = if state & PHASE == ACTING { Deadline::NEVER } else { deadline };
            match self.sleepers().sleep_slice(token, slices, until) {
                Slept::Woken => {}
                Slept::SliceOver => {
                    self.look(turn);
                    return Passed::SliceOver;
                }
                Slept::Interrupted => return Passed::SliceOver,
                Slept::TimedOut => {
                    if self.break_round(turn, FILLING) {
                        return Passed::TimedOut;
                    }
                }
            }
        }
    }

    /// Breaks the barrier when somebody who arrived has died.
    #[cold]
    fn look(&self, turn: Turn) {
        let state = self.state().load(Ordering::Acquire);
        if (state & ROUND) as u32 != turn.round || matches!(state & PHASE, BROKEN | RESETTING) {
            return;
        }
        let died = self.names().any(|name| {
            // SYNC POINT barrier: Acquire, pairs with `sign`.
            let name = name.load(Ordering::Acquire);
            (name >> 32) as u32 == turn.round && ShortTag::from_u32(name as u32).is_some_and(ShortTag::is_dead)
        });
        if died {
            self.break_round(turn, state & PHASE);
        }
    }

    /// Breaks a round that is in `phase`. False when it has gone on.
    fn break_round(&self, turn: Turn, phase: u64) -> bool {
        let mut seen = self.state().load(Ordering::Acquire);
        loop {
            if (seen & ROUND) as u32 != turn.round || seen & PHASE != phase {
                return false;
            }
            // SYNC POINT barrier: AcqRel, as in `arrive`.
            match self.state().compare_exchange(seen, seen & ROUND | BROKEN, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => {
                    self.sleepers().notify();
                    return true;
                }
                Err(now) => seen = now,
            }
        }
    }

    /// Sleeps until the action of a running round is over: a slice at most.
    pub fn wait_idle(&self, slices: &mut Slices, deadline: Deadline) -> Passed {
        loop {
            let token = self.sleepers().announce(WAITING);
            let state = self.state().load(Ordering::Acquire);
            if state & PHASE != ACTING {
                return Passed::Yes;
            }
            match self.sleepers().sleep_slice(token, slices, deadline) {
                Slept::Woken => {}
                Slept::SliceOver => {
                    self.look(Turn { round: (state & ROUND) as u32, index: 0 });
                    return Passed::SliceOver;
                }
                Slept::Interrupted => return Passed::SliceOver,
                Slept::TimedOut => return Passed::TimedOut,
            }
        }
    }

    /// Breaks the barrier: all who wait or come later learn of it.
    pub fn abort(&self) {
        let state = self.state();
        let _ = state.fetch_update(Ordering::AcqRel, Ordering::Acquire, |seen| Some(seen & ROUND | BROKEN));
        self.sleepers().notify();
    }

    /// Makes it as new. Those who wait learn that it was broken.
    pub fn reset(&self) {
        let mut seen = self.state().load(Ordering::Acquire);
        loop {
            match seen & PHASE {
                FILLING if seen >> 32 != 0 => {}
                BROKEN => {}
                RESETTING => {
                    self.finish_reset(seen);
                    return;
                }
                // Nobody is there; or all are and pass after the action.
                _ => return,
            }
            let next = seen & ROUND | RESETTING;
            match self.state().compare_exchange(seen, next, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => seen = next,
                Err(now) => seen = now,
            }
        }
    }

    /// Marks a round that is being reset, which can never be opened any more, and begins the next. The state after.
    fn finish_reset(&self, seen: u64) -> u64 {
        let round = (seen & ROUND) as u32;
        self.reset_of(round).store(round | 1, Ordering::Release);
        let next = (seen & ROUND).wrapping_add(ONE_ROUND) & ROUND;
        // SYNC POINT barrier: AcqRel, publishes the mark.
        match self.state().compare_exchange(seen, next, Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) => {
                self.sleepers().notify();
                next
            }
            Err(now) => now,
        }
    }
}

fn my_name(turn: Turn) -> u64 {
    u64::from(turn.round) << 32 | u64::from(ShortTag::me().to_u32())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::arena::ArenaConfig;

    fn barrier(parties: u32) -> Barrier {
        Barrier::create(Arena::create(ArenaConfig { bytes: 64 << 20, cached: 0 }).unwrap(), parties).unwrap()
    }

    fn wait(barrier: &Barrier, turn: Turn, deadline: Deadline) -> Passed {
        let mut slices = Slices::new();
        loop {
            match barrier.wait(turn, &mut slices, deadline) {
                Passed::SliceOver => {}
                passed => return passed,
            }
        }
    }

    /// Gives an arrival the name of a process that has ended.
    fn die(barrier: &Barrier, turn: Turn) {
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let tag = ShortTag::of(child.id());
        child.wait().unwrap();
        let name = u64::from(turn.round) << 32 | u64::from(tag.to_u32());
        let mine = barrier.names().find(|name| name.load(Ordering::Relaxed) == my_name(turn)).unwrap();
        mine.store(name, Ordering::Release);
    }

    fn pass(barrier: &Barrier, deadline: Deadline) -> Passed {
        match barrier.arrive() {
            Arrival::Last(turn) => {
                assert!(barrier.open(turn));
                Passed::Yes
            }
            Arrival::Wait(turn) => wait(barrier, turn, deadline),
            Arrival::Busy => {
                barrier.wait_idle(&mut Slices::new(), Deadline::NEVER);
                pass(barrier, deadline)
            }
            Arrival::Broken => Passed::Broken,
        }
    }

    #[test]
    fn many_rounds_with_everybody() {
        let barrier = barrier(3);
        let count = AtomicU32::new(0);
        std::thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| {
                    for round in 0..500 {
                        count.fetch_add(1, Ordering::Relaxed);
                        assert_eq!(pass(&barrier, Deadline::NEVER), Passed::Yes);
                        assert!(count.load(Ordering::Relaxed) >= 3 * (round + 1));
                    }
                });
            }
        });
        assert_eq!(barrier.waiting(), 0);
    }

    #[test]
    fn a_timeout_breaks_it_until_it_is_reset() {
        let barrier = barrier(2);
        assert_eq!(pass(&barrier, Deadline::after(Some(Duration::from_millis(1)))), Passed::TimedOut);
        assert!(barrier.is_broken());
        assert_eq!(pass(&barrier, Deadline::NEVER), Passed::Broken);
        barrier.reset();
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| assert_eq!(pass(&barrier, Deadline::NEVER), Passed::Yes));
            }
        });
    }

    #[test]
    fn a_reset_is_no_opening() {
        let barrier = barrier(2);
        let Arrival::Wait(turn) = barrier.arrive() else { panic!("the first of two") };
        barrier.reset();
        assert_eq!(wait(&barrier, turn, Deadline::NEVER), Passed::Broken);
        assert!(!barrier.is_broken());
    }

    #[test]
    fn a_dead_party_breaks_it() {
        let barrier = barrier(3);
        let Arrival::Wait(turn) = barrier.arrive() else { panic!("the first of three") };
        die(&barrier, turn);
        assert_eq!(pass(&barrier, Deadline::NEVER), Passed::Broken);
    }

    #[test]
    fn the_last_to_arrive_notices_that_all_others_are_dead() {
        let barrier = barrier(3);
        for _ in 0..2 {
            let Arrival::Wait(turn) = barrier.arrive() else { panic!("the first of three") };
            die(&barrier, turn);
        }
        std::thread::sleep(Slices::FIRST);
        assert_eq!(barrier.arrive(), Arrival::Broken);
        barrier.reset();
        assert!(matches!(barrier.arrive(), Arrival::Wait(_)));
    }

    #[test]
    fn who_leaves_is_waited_for_again() {
        let barrier = barrier(3);
        let turns = [(); 2].map(|()| match barrier.arrive() {
            Arrival::Wait(turn) => turn,
            other => panic!("{other:?}"),
        });
        barrier.leave(turns[0]);
        assert_eq!(barrier.waiting(), 1);
        let Arrival::Wait(turn) = barrier.arrive() else { panic!("two of three are there") };
        assert_eq!(turn.index, 1);
        // The one who left is not looked for, the one who came for it is.
        let named = || barrier.names().filter(|name| name.load(Ordering::Relaxed) != 0).count();
        assert_eq!(named(), 2);
        let Arrival::Last(last) = barrier.arrive() else { panic!("three of three") };
        barrier.leave(turns[1]);
        assert!(barrier.open(last), "too late to leave");
        assert_eq!(wait(&barrier, turn, Deadline::NEVER), Passed::Yes);
        barrier.leave(turn);
        assert_eq!(barrier.waiting(), 0);
    }
}
