//! The words by which tasks are published and claimed: a ring of cells, one publisher, any number of claimants.
//!
//! ```text
//! word of the cell of position p = p (44 bits) | worker (16 bits) | phase (4 bits)
//!
//! publisher                        claimant w
//!   waits until the cell is Taken    p = next
//!     at position p - cells          word of p is not (p, Ready) -> nothing to do
//!   fills in the cell                word: (p, Ready) -> (p, w, Claimed)    lost -> again
//!   word = (p, Ready)                next: p -> p + 1      (whoever finds p claimed helps)
//!                                    copies the cell
//!                                    word = (p, w, Taken)
//! ```
//!
//! One compare-and-swap both takes the task and says who has it, so there is no instant at which a killed process has a
//! task that the publisher cannot attribute. `next` is only a hint that everybody can repair. It may lag behind by any
//! number of positions (nobody moves it while all workers are busy and their tasks are withdrawn), so the cell of `next`
//! may belong to a later lap: then the hint is led on as well.

use crate::sync::{AtomicU64, Ordering};

/// What a cell is at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Filled in; nobody has it.
    Ready,
    /// A worker has it and still reads the cell.
    Claimed,
    /// A worker has it and needs the cell no more; also what a cell is before its first use.
    Taken,
}

const PHASE_BITS: u32 = 4;
const WORKER_BITS: u32 = 16;
const POSITION_BITS: u32 = 64 - PHASE_BITS - WORKER_BITS;
const POSITION: u64 = (1 << POSITION_BITS) - 1;

/// The claimant that stands for the publisher, when it withdraws a task.
pub(super) const PUBLISHER: u32 = (1 << WORKER_BITS) - 1;

/// A cell's word, taken apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Word {
    /// Modulo 2^44.
    pub(super) position: u64,
    pub(super) worker: u32,
    pub(super) phase: Phase,
}

impl Word {
    pub(super) fn pack(self) -> u64 {
        let phase = match self.phase {
            Phase::Ready => 1,
            Phase::Claimed => 2,
            Phase::Taken => 3,
        };
        (self.position & POSITION) << (WORKER_BITS + PHASE_BITS)
            | u64::from(self.worker & PUBLISHER) << PHASE_BITS
            | phase
    }

    pub(super) fn unpack(word: u64) -> Word {
        let phase = match word & ((1 << PHASE_BITS) - 1) {
            1 => Phase::Ready,
            2 => Phase::Claimed,
            _ => Phase::Taken,
        };
        let worker = (word >> PHASE_BITS) as u32 & PUBLISHER;
        Word { position: word >> (WORKER_BITS + PHASE_BITS), worker, phase }
    }

    /// Whether it is of `position` or of a later lap, not of an earlier one.
    #[inline]
    fn is_of(self, position: u64) -> bool {
        // Modulo 2^44: what is ahead differs by less than half of that.
        self.position.wrapping_sub(position) & POSITION < 1 << (POSITION_BITS - 1)
    }

    /// What the cell of position `position` holds before the publisher gets to it.
    pub(super) fn before(position: u64, cells: u64) -> Word {
        Word { position: position.wrapping_sub(cells) & POSITION, worker: PUBLISHER, phase: Phase::Taken }
    }
}

/// Makes the filled cell of `position` claimable.
#[inline]
pub(super) fn publish(cell: &AtomicU64, position: u64) {
    let word = Word { position, worker: PUBLISHER, phase: Phase::Ready };
    // SYNC POINT claim: Release, so that the claimant of the cell sees what it was filled with; pairs with the
    // compare-and-swap in `claim`.
    cell.store(word.pack(), Ordering::Release);
}

/// Positions that a claimant goes through at once. The hint lags behind by fewer, as a rule; by 2^43, where somebody has written over a
/// cell. The worker looks whether it is to end, and comes again.
const STEPS: u32 = 1 << 16;

/// Takes the oldest published task: its position, or `None` when there is none (near the hint). `next` is the shared hint; `cell` gives
/// the word of a position's cell.
#[inline]
pub(super) fn claim<'a>(next: &AtomicU64, cell: impl Fn(u64) -> &'a AtomicU64, worker: u32) -> Option<u64> {
    // Relaxed: a hint. What it leads to is checked in the cell.
    let mut position = next.load(Ordering::Relaxed);
    for _ in 0..STEPS {
        let word = cell(position);
        let seen = word.load(Ordering::Relaxed);
        let found = Word::unpack(seen);
        if found.is_of(position) {
            if found.phase == Phase::Ready && found.position == position & POSITION {
                let mine = Word { position, worker, phase: Phase::Claimed }.pack();
                // SYNC POINT claim: Acquire, pairs with the Release in `publish`. Relaxed on failure: nothing is read.
                if word.compare_exchange(seen, mine, Ordering::Acquire, Ordering::Relaxed).is_ok() {
                    advance(next, position);
                    return Some(position);
                }
            }
            // A worker has claimed it, or it was withdrawn: leads the hint on, in case that worker was killed before it
            // could.
            position = advance(next, position);
        } else {
            let now = next.load(Ordering::Relaxed);
            if now == position {
                // The cell is still the one of a lap ago.
                return None;
            }
            position = now;
        }
    }
    None
}

/// Whether [`claim`] would find something, after `others` tasks that others claim.
#[cfg(not(loom))]
#[inline]
pub(super) fn claimable<'a>(next: &AtomicU64, cell: impl Fn(u64) -> &'a AtomicU64, others: u64) -> bool {
    let position = next.load(Ordering::Relaxed).wrapping_add(others);
    // Any phase, at this position or later: what is claimed already only means that the hint lags behind.
    Word::unpack(cell(position).load(Ordering::Relaxed)).is_of(position)
}

/// Leads the hint to `oldest`, the first position that may not be `Taken` yet, so that nobody has to walk there.
pub(super) fn lead(next: &AtomicU64, oldest: u64) {
    // Relaxed: a hint.
    next.fetch_max(oldest, Ordering::Relaxed);
}

/// Moves the hint past `position` unless it is there already; returns where to look next.
fn advance(next: &AtomicU64, position: u64) -> u64 {
    let following = position.wrapping_add(1);
    match next.compare_exchange(position, following, Ordering::Relaxed, Ordering::Relaxed) {
        Ok(_) => following,
        Err(now) => now,
    }
}

/// Says that the claimant has copied the cell.
#[inline]
pub(super) fn taken(cell: &AtomicU64, position: u64, worker: u32) {
    let word = Word { position, worker, phase: Phase::Taken };
    // SYNC POINT taken: Release, so that the claimant's reads of the cell come before the publisher fills it again; pairs
    // with the Acquire in `look`.
    cell.store(word.pack(), Ordering::Release);
}

/// The publisher's look at a cell it published.
#[inline]
pub(super) fn look(cell: &AtomicU64) -> Word {
    // SYNC POINT taken: Acquire, pairs with the Release in `taken`.
    Word::unpack(cell.load(Ordering::Acquire))
}

/// Takes a task back that nobody has claimed. Whether it succeeded.
pub(super) fn withdraw(cell: &AtomicU64, position: u64) -> bool {
    let ready = Word { position, worker: PUBLISHER, phase: Phase::Ready }.pack();
    let gone = Word { position, worker: PUBLISHER, phase: Phase::Taken }.pack();
    // Relaxed: the publisher itself filled the cell, and nobody else read it.
    cell.compare_exchange(ready, gone, Ordering::Relaxed, Ordering::Relaxed).is_ok()
}

/// A ring of cells on loom's heap, each of which carries one number.
#[cfg(loom)]
#[derive(Debug)]
pub struct LoomClaims {
    next: AtomicU64,
    cells: Vec<(AtomicU64, AtomicU64)>,
}

#[cfg(loom)]
impl LoomClaims {
    /// `cells` cells, none of them published.
    pub fn new(cells: u64) -> LoomClaims {
        let cell = |at| (AtomicU64::new(Word::before(at, cells).pack()), AtomicU64::new(0));
        LoomClaims { next: AtomicU64::new(0), cells: (0..cells).map(cell).collect() }
    }

    fn at(&self, position: u64) -> &(AtomicU64, AtomicU64) {
        &self.cells[position as usize % self.cells.len()]
    }

    /// Publishes `value` at `position` if the cell is free.
    pub fn publish(&self, position: u64, value: u64) -> bool {
        let (word, cell) = self.at(position);
        let found = look(word);
        let free = Word::before(position, self.cells.len() as u64).position == found.position;
        if free && found.phase == Phase::Taken {
            cell.store(value, Ordering::Relaxed);
            publish(word, position);
            return true;
        }
        false
    }

    /// Claims a cell and reads it; `dies` leaves it claimed, as a process killed there would.
    pub fn claim(&self, worker: u32, dies: bool) -> Option<u64> {
        let position = claim(&self.next, |position| &self.at(position).0, worker)?;
        let value = self.at(position).1.load(Ordering::Relaxed);
        if !dies {
            taken(&self.at(position).0, position, worker);
        }
        Some(value)
    }

    /// Takes the task of `position` back, if nobody has claimed it.
    pub fn withdraw(&self, position: u64) -> bool {
        withdraw(&self.at(position).0, position)
    }

    /// What the publisher does when the cells before `oldest` are free again.
    pub fn lead(&self, oldest: u64) {
        lead(&self.next, oldest);
    }

    /// The worker that has claimed the cell of `position`, if one has.
    pub fn owner(&self, position: u64) -> Option<u32> {
        let found = look(&self.at(position).0);
        (found.position == position && found.phase != Phase::Ready).then_some(found.worker)
    }
}
