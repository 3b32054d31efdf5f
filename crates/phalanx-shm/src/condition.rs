//! Waiting for a notification: a record per waiter, which says whose it is.
//!
//! ```text
//! record = 0                    free
//!          waiter (a ShortTag)  waits
//!          waiter | NOTIFIED    was chosen; the waiter frees the record
//! ```
//!
//! Every change of a record is one compare-and-swap, so none needs a lock, and a
//! process killed anywhere leaves at most a record with its own name. Notifying
//! chooses the waiter that came first, which sleeps on a word beside its record. When nobody was asleep there the
//! notifier looks whether the waiter lives: a dead one's record is freed and the
//! next waiter chosen, so that no notification is lost to a dead process.
//!
//! The block holds 60 records; when all are taken by living waiters, another
//! block follows, which the first one holds in transit.

use crate::sync::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Mutex, TryLockError};

use crate::ShmError;
use crate::alive::ShortTag;
use crate::arena::{Arena, Block, BlockKind, Handle};
use crate::sleep::{Deadline, SleepWord, Slept, Slices, WAITING};

/// The waiter has been chosen.
const NOTIFIED: u32 = 1 << 31;

/// Byte of the next ticket.
const TICKET: usize = 0;
/// Byte of the handle of the block that continues this one.
const NEXT: usize = 8;
/// Byte of the first record.
const RECORDS: usize = 64;
/// Bytes of a record: the word, the word to sleep on (two words), one free, the ticket.
const RECORD: usize = 24;
/// Records of a block.
const PER_BLOCK: usize = 60;
const BYTES: usize = RECORDS + RECORD * PER_BLOCK;

/// A condition variable in the arena.
///
/// ```
/// use phalanx_shm::condition::{Condition, Notified};
/// use phalanx_shm::sleep::{Deadline, Slices};
/// use phalanx_shm::{Arena, ArenaConfig};
///
/// let arena = Arena::create(ArenaConfig { bytes: 64 << 20, cached: 1 << 20 })?;
/// let condition = Condition::create(arena)?;
/// // Under the lock that goes with the condition; whoever notifies after it is given back reaches this waiter.
/// let place = condition.enter()?;
/// assert_eq!(condition.notify(1), 1);
/// assert_eq!(condition.wait(place, &mut Slices::new(), Deadline::NEVER), Notified::Yes);
/// assert_eq!(condition.notify(1), 0, "nobody waits");
/// # Ok::<(), phalanx_shm::ShmError>(())
/// ```
#[derive(Debug)]
pub struct Condition {
    first: Block,
    /// The blocks that continue the first one, as far as this process has opened them. Nobody waits for this lock: in a
    /// child that was forked while another thread had it, it is never free again.
    more: Mutex<Vec<Block>>,
}

/// The record of a waiter: see [`Condition::enter`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place(u32);

impl Place {
    /// As a number.
    #[must_use]
    pub fn to_u32(self) -> u32 {
        self.0
    }

    /// From [`Place::to_u32`]. Any number may be passed: a place that is not this process's is refused.
    #[must_use]
    pub fn from_u32(place: u32) -> Place {
        Place(place)
    }
}

/// How a wait ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Notified {
    /// Chosen by a notifier. The place is given up.
    Yes,
    /// Not chosen before the deadline. The place is given up.
    TimedOut,
    /// A slice of the wait is over, or a signal handler ran in this thread. The place is kept: see to signals, then wait
    /// again or [leave](Condition::leave).
    SliceOver,
}

impl Condition {
    /// A new condition that nobody waits for.
    ///
    /// # Errors
    ///
    /// [`ShmError::OutOfMemory`] or [`ShmError::HeapFull`].
    pub fn create(arena: Arena) -> Result<Condition, ShmError> {
        Ok(Condition { first: arena.alloc_zeroed(BYTES, BlockKind::Condition)?, more: Mutex::default() })
    }

    /// The condition in a block that another process made.
    ///
    /// # Errors
    ///
    /// [`ShmError::Corrupt`] when the block holds no condition.
    pub fn over(block: Block) -> Result<Condition, ShmError> {
        if block.kind() != BlockKind::Condition || block.len() < BYTES {
            return Err(ShmError::Corrupt { what: format!("a condition in a block of {} bytes", block.len()) });
        }
        Ok(Condition { first: block, more: Mutex::default() })
    }

    /// The block, to be named in messages.
    #[must_use]
    pub fn block(&self) -> &Block {
        &self.first
    }

    /// All blocks, in order.
    fn blocks(&self) -> Result<Vec<Block>, ShmError> {
        // SYNC POINT condition-next: Acquire, pairs with the change in `grow`.
        if self.first.word64(NEXT).load(Ordering::Acquire) == 0 {
            return Ok(vec![self.first.clone()]);
        }
        let mut opened_here = Vec::new();
        let mut kept = self.more.try_lock();
        let more = match &mut kept {
            Ok(more) => &mut **more,
            Err(TryLockError::Poisoned(more)) => &mut **more.get_mut(),
            Err(TryLockError::WouldBlock) => &mut opened_here,
        };
        loop {
            let last = more.last().unwrap_or(&self.first);
            // SYNC POINT condition-next: as above.
            let next = last.word64(NEXT).load(Ordering::Acquire);
            if next == 0 {
                break;
            }
            let opened = self.first.arena().open(Handle::from_u64(next))?;
            if opened.len() < BYTES {
                return Err(ShmError::Corrupt { what: "the continuation of a condition is too short".to_owned() });
            }
            more.push(opened);
        }
        Ok(std::iter::once(self.first.clone()).chain(more.iter().cloned()).collect())
    }

    fn grow(&self, last: &Block) -> Result<(), ShmError> {
        let handle = self.first.arena().alloc_zeroed(BYTES, BlockKind::Condition)?.into_transit();
        // SYNC POINT condition-next: Release, the new block is zero for whoever finds it.
        let next = last.word64(NEXT);
        if next.compare_exchange(0, handle.to_u64(), Ordering::Release, Ordering::Relaxed).is_err() {
            self.first.arena().discard(handle);
        }
        Ok(())
    }

    /// Takes a record: from now on notifications reach this waiter.
    ///
    /// # Errors
    ///
    /// [`ShmError::OutOfMemory`] or [`ShmError::HeapFull`] when there is no room for one more waiter.
    pub fn enter(&self) -> Result<Place, ShmError> {
        let me = ShortTag::me().to_u32();
        if let Some(place) = take(&self.first, me) {
            return Ok(self.stamp(Place(place)));
        }
        loop {
            let blocks = self.blocks()?;
            for pass in 0..2 {
                for (n, block) in blocks.iter().enumerate() {
                    if let Some(place) = take(block, me) {
                        return Ok(self.stamp(Place((n * PER_BLOCK) as u32 + place)));
                    }
                    if pass == 0 {
                        bury(block);
                    }
                }
            }
            if let Some(last) = blocks.last() {
                self.grow(last)?;
            }
        }
    }

    fn stamp(&self, place: Place) -> Place {
        let ticket = self.first.word64(TICKET).fetch_add(1, Ordering::Relaxed);
        self.with(place, |block, at| stamp_of(block, at).store(ticket, Ordering::Relaxed));
        place
    }

    /// Calls `what` with the block and number of a record.
    fn with<T>(&self, place: Place, what: impl FnOnce(&Block, usize) -> T) -> Option<T> {
        let (block, at) = (place.0 as usize / PER_BLOCK, place.0 as usize % PER_BLOCK);
        if block == 0 {
            return Some(what(&self.first, at));
        }
        let kept = self.more.try_lock().ok().and_then(|more| more.get(block - 1).cloned());
        let block = match kept {
            Some(block) => block,
            None => self.blocks().ok()?.get(block)?.clone(),
        };
        Some(what(&block, at))
    }

    /// Waits on a record of this process until a notifier chooses it or the deadline passes: a slice at most.
    pub fn wait(&self, place: Place, slices: &mut Slices, deadline: Deadline) -> Notified {
        let me = ShortTag::me().to_u32();
        let waited = self.with(place, |block, at| {
            let (word, sleeper) = (word(block, at), sleeper(block, at));
            loop {
                let token = sleeper.announce(WAITING);
                // SYNC POINT condition: Acquire, sees what the notifier wrote before it chose.
                let seen = word.load(Ordering::Acquire);
                if seen == me | NOTIFIED {
                    word.store(0, Ordering::Release);
                    return Notified::Yes;
                }
                if seen != me {
                    // Not a place of this process (any more).
                    return Notified::TimedOut;
                }
                match sleeper.sleep_slice(token, slices, deadline) {
                    Slept::Woken => {}
                    Slept::SliceOver | Slept::Interrupted => return Notified::SliceOver,
                    Slept::TimedOut => {
                        // SYNC POINT condition: as above; a notifier that was faster counts.
                        if word.compare_exchange(me, 0, Ordering::AcqRel, Ordering::Acquire).is_ok() {
                            return Notified::TimedOut;
                        }
                    }
                }
            }
        });
        waited.unwrap_or(Notified::TimedOut)
    }

    /// Gives a record up. A notification that had come for it goes to the next waiter.
    pub fn leave(&self, place: Place) {
        let me = ShortTag::me().to_u32();
        let notified = self.with(place, |block, at| {
            let word = word(block, at);
            if word.compare_exchange(me, 0, Ordering::AcqRel, Ordering::Relaxed).is_ok() {
                return false;
            }
            word.compare_exchange(me | NOTIFIED, 0, Ordering::AcqRel, Ordering::Relaxed).is_ok()
        });
        if notified == Some(true) {
            self.notify(1);
        }
    }

    /// Chooses up to `count` living waiters, those that came first, and wakes them. How many there were.
    pub fn notify(&self, count: usize) -> usize {
        let Ok(blocks) = self.blocks() else {
            return 0;
        };
        let mut waiting: Vec<(u64, &Block, usize, u32)> = Vec::new();
        for block in &blocks {
            for at in 0..PER_BLOCK {
                let seen = word(block, at).load(Ordering::Relaxed);
                if seen != 0 && seen & NOTIFIED == 0 {
                    waiting.push((stamp_of(block, at).load(Ordering::Relaxed), block, at, seen));
                }
            }
        }
        if waiting.len() > 1 {
            waiting.sort_unstable_by_key(|(ticket, ..)| *ticket);
        }
        let mut chosen = 0;
        for (_, block, at, waiter) in waiting {
            let word = word(block, at);
            if chosen == count {
                break;
            }
            // SYNC POINT condition: Release, for what the notifier wrote before.
            if word.compare_exchange(waiter, waiter | NOTIFIED, Ordering::Release, Ordering::Relaxed).is_err() {
                continue;
            }
            SleepWord::published_by_atomic();
            if sleeper(block, at).notify_all(WAITING) == 0 && ShortTag::from_u32(waiter).is_some_and(ShortTag::is_dead)
            {
                let _ = word.compare_exchange(waiter | NOTIFIED, 0, Ordering::Relaxed, Ordering::Relaxed);
                continue;
            }
            chosen += 1;
        }
        chosen
    }

    /// Waiters that nobody has chosen yet, dead ones included, and those chosen that have not woken yet.
    #[must_use]
    pub fn waiting(&self) -> (usize, usize) {
        let mut counts = (0, 0);
        for block in self.blocks().unwrap_or_default() {
            for at in 0..PER_BLOCK {
                match word(&block, at).load(Ordering::Relaxed) {
                    0 => {}
                    seen if seen & NOTIFIED == 0 => counts.0 += 1,
                    _ => counts.1 += 1,
                }
            }
        }
        counts
    }
}

fn word(block: &Block, at: usize) -> &AtomicU32 {
    block.word32(RECORDS + at * RECORD)
}

/// What the waiter of a record sleeps on.
fn sleeper(block: &Block, at: usize) -> &SleepWord {
    block.sleep_word(RECORDS + at * RECORD + 4)
}

fn stamp_of(block: &Block, at: usize) -> &AtomicU64 {
    block.word64(RECORDS + at * RECORD + 16)
}

/// Takes a free record of a block.
fn take(block: &Block, me: u32) -> Option<u32> {
    (0..PER_BLOCK).find_map(|at| {
        let word = word(block, at);
        let free = word.load(Ordering::Relaxed) == 0;
        let taken = free && word.compare_exchange(0, me, Ordering::Relaxed, Ordering::Relaxed).is_ok();
        taken.then_some(at as u32)
    })
}

/// Frees the records of dead waiters.
#[cold]
fn bury(block: &Block) {
    for at in 0..PER_BLOCK {
        let seen = word(block, at).load(Ordering::Relaxed);
        if ShortTag::from_u32(seen).is_some_and(ShortTag::is_dead) {
            let _ = word(block, at).compare_exchange(seen, 0, Ordering::Relaxed, Ordering::Relaxed);
        }
    }
}

/// What a block of a condition holds itself: the one that continues it.
pub(crate) fn dismantle(arena: Arena, next: u64) {
    if next != 0 {
        arena.discard(Handle::from_u64(next));
    }
}

/// Byte of the word that [`dismantle`] wants.
pub(crate) const NEXT_AT: usize = NEXT;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::arena::ArenaConfig;

    fn condition() -> Condition {
        Condition::create(Arena::create(ArenaConfig { bytes: 64 << 20, cached: 0 }).unwrap()).unwrap()
    }

    /// Puts the record of a process that was killed while it waited.
    fn dead_waiter(condition: &Condition) {
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let tag = ShortTag::of(child.id());
        child.wait().unwrap();
        let place = Place(take(&condition.first, tag.to_u32()).unwrap());
        condition.stamp(place);
    }

    #[test]
    fn those_who_came_first_are_chosen_first_and_the_dead_are_passed_over() {
        let condition = condition();
        dead_waiter(&condition);
        let first = condition.enter().unwrap();
        dead_waiter(&condition);
        let second = condition.enter().unwrap();
        assert_eq!(condition.waiting(), (4, 0));
        assert_eq!(condition.notify(1), 1);
        let soon = || Deadline::after(Some(Duration::from_millis(1)));
        assert_eq!(condition.wait(first, &mut Slices::new(), soon()), Notified::Yes);
        assert_eq!(condition.wait(second, &mut Slices::new(), soon()), Notified::TimedOut);
        assert_eq!(condition.notify(usize::MAX), 0);
        assert_eq!(condition.waiting(), (0, 0));
    }

    #[test]
    fn whoever_leaves_hands_the_notification_on() {
        let condition = condition();
        let first = condition.enter().unwrap();
        let second = condition.enter().unwrap();
        assert_eq!(condition.notify(1), 1);
        condition.leave(first);
        assert_eq!(condition.wait(second, &mut Slices::new(), Deadline::NEVER), Notified::Yes);
    }

    #[test]
    fn there_is_room_for_any_number_of_waiters() {
        let condition = condition();
        let arena = condition.first.arena();
        let places: Vec<_> = (0..500).map(|_| condition.enter().unwrap()).collect();
        assert_eq!(condition.notify(400), 400);
        let soon = Deadline::after(Some(Duration::ZERO));
        let mut slices = Slices::new();
        let mut woken = |places: &[Place]| {
            places.iter().filter(|place| condition.wait(**place, &mut slices, soon) == Notified::Yes).count()
        };
        assert_eq!(woken(&places), 400);
        drop(condition);
        assert_eq!(arena.used(), 0, "the blocks that followed are freed too");
    }

    #[test]
    fn a_condition_full_of_dead_waiters_has_room() {
        let condition = condition();
        let used = condition.first.arena().used();
        for _ in 0..PER_BLOCK {
            dead_waiter(&condition);
        }
        condition.enter().unwrap();
        assert_eq!(condition.first.arena().used(), used);
    }

    #[test]
    fn threads_wake_each_other() {
        let condition = condition();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                let place = condition.enter().unwrap();
                let condition = &condition;
                scope.spawn(move || {
                    let mut slices = Slices::new();
                    while condition.wait(place, &mut slices, Deadline::NEVER) != Notified::Yes {}
                });
            }
            assert_eq!(condition.notify(usize::MAX), 4);
        });
    }

    #[test]
    fn a_notification_between_two_slices_of_a_wait_is_seen() {
        let (condition, mut slices) = (condition(), Slices::new());
        let place = condition.enter().unwrap();
        assert_eq!(condition.wait(place, &mut slices, Deadline::NEVER), Notified::SliceOver);
        assert_eq!(condition.notify(1), 1);
        assert_eq!(condition.wait(place, &mut slices, Deadline::NEVER), Notified::Yes);
    }

    #[test]
    fn a_lock_that_was_held_at_a_fork_stops_nobody() {
        let condition = condition();
        let places: Vec<_> = (0..2 * PER_BLOCK).map(|_| condition.enter().unwrap()).collect();
        // As in the child of a fork during another thread's call.
        let _held = condition.more.lock().unwrap();
        condition.leave(places[PER_BLOCK]);
        assert_eq!(condition.waiting(), (2 * PER_BLOCK - 1, 0));
        assert_eq!(condition.notify(usize::MAX), 2 * PER_BLOCK - 1);
        let last = places[2 * PER_BLOCK - 1];
        assert_eq!(condition.wait(last, &mut Slices::new(), Deadline::NEVER), Notified::Yes);
        condition.enter().unwrap();
    }
}
