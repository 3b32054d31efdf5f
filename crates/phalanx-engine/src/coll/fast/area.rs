//! The shared area of a communicator: its cells, and memory for what does not fit into them.
//!
//! ```text
//! control block   head      what it is, where the data is, whether it is broken, how many ranks wait for long
//!                 cells     what each rank says in each step, with data of a few bytes (see `phalanx_shm::cells`)
//! small data      PARTS parts         made by the first operation with some data
//! large data      PARTS parts         made by the first operation with much data
//! ```
//!
//! A communicator has one control block and so one sequence of steps, whichever memory a step uses. Ranks that disagree
//! about the size of an operation therefore meet in the same step and find out there.

use std::sync::atomic::{AtomicU64, Ordering};

use phalanx_shm::cells::Cells;
use phalanx_shm::{Offset, SharedBytes, ShmError, SleepWord, Universe};

use crate::comm::Comm;
use crate::engine::{Ended, Waiting};
use crate::error::{Error, ErrorClass, Result};

/// Parts of a memory. A step takes one or more of them: see [`Layout`].
pub(super) const PARTS: usize = 4;

/// The first word of a control block: "PHALCOLL" in ASCII, read as a little-endian number.
const MAGIC: u64 = u64::from_le_bytes(*b"PHALCOLL");

/// Words of the head, as far as they are the area's.
pub(super) mod head {
    /// [`MAGIC`](super::MAGIC). Written by the maker.
    pub(super) const MAGIC: usize = 0;
    /// The communicator's context in the high half, its number of ranks in the low one. Written by the maker.
    pub(super) const WHOSE: usize = 1;
    /// Positions of the data, by [`Tier`](super::Tier): 0 (not asked for yet), [`BEING_MADE`](super::BEING_MADE) by a rank,
    /// [`NO_ROOM`](super::NO_ROOM) or an offset.
    pub(super) const DATA: [usize; 2] = [2, 3];
    /// 0; or the first step in which ranks were found to disagree; or who has left an operation, see `leaving`.
    pub(in super::super) const BROKEN: usize = 4;
    /// Ranks that have let go.
    pub(super) const LEFT: usize = 5;
    /// The first step of the last operation in which a rank found a difference that leaves the ranks in step; or 0.
    pub(in super::super) const MISTAKE: usize = 6;
}

/// Some rank is making the data's memory; which one says the rest of the word.
const BEING_MADE: u64 = 1;
/// Where the rank stands there. Positions in the heap are even.
const MAKER: u32 = 8;
/// There was no room for it; it stays so.
const NO_ROOM: u64 = 2;

/// Which of the two memories of parts an operation uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tier {
    Small,
    Large,
}

/// Where the data of an operation goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// Into the cells: at most [`INLINE`](phalanx_shm::cells::INLINE) bytes of each rank.
    Cells,
    /// Into parts of a memory.
    Parts(Layout),
}

/// How an operation divides a memory: from its kind and the number of ranks alone, so that all ranks compute the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Layout {
    pub(super) tier: Tier,
    ranks: usize,
    /// Bytes of a part.
    pub(super) part: usize,
    /// Parts that a step takes: as many steps as fit into the memory may be under way at once.
    pub(super) parts: usize,
}

impl Layout {
    /// For steps in which one rank leaves data for all others, and goes on before they have read it.
    ///
    /// For small data: a part of at least 128 KiB, at least 4 KiB of it for each rank. For large data: as few chunks as the
    /// caches allow, since each costs the ranks a wait for each other.
    pub(super) fn of_one(tier: Tier, ranks: usize) -> Layout {
        let (each, least) = match tier {
            Tier::Small => (4 << 10, 128 << 10),
            Tier::Large => (32 << 10, 1 << 20),
        };
        Layout { tier, ranks, part: (ranks * each).next_power_of_two().max(least), parts: 1 }
    }

    /// For steps in which all ranks leave data, or one a block for each. All wait for each other in each of them, so nobody
    /// gets more than one step ahead: of large data, half of the memory goes into a step.
    pub(super) fn of_all(tier: Tier, ranks: usize) -> Layout {
        let parts = if tier == Tier::Large { PARTS / 2 } else { 1 };
        Layout { parts, ..Layout::of_one(tier, ranks) }
    }

    /// Bytes for the data of a step.
    pub(super) fn step(&self) -> usize {
        self.parts * self.part
    }

    /// Steps that may be under way at once.
    pub(super) fn steps(&self) -> usize {
        PARTS / self.parts
    }

    /// Bytes of a rank's share of a step, in whole cache lines.
    pub(super) fn share(&self) -> usize {
        self.step() / self.ranks / 64 * 64
    }

    /// Bytes of the share of a pair of ranks, in whole cache lines.
    pub(super) fn pair_share(&self) -> usize {
        self.step() / (self.ranks * self.ranks) / 64 * 64
    }
}

/// Context and size of a communicator, as the header tells them.
fn whose(comm: &Comm) -> u64 {
    u64::from(comm.ctx()) << 32 | comm.size() as u64
}

/// The control block, mapped, and what this process knows of the data; given back when the last rank has let go.
pub(super) struct Area {
    universe: Universe,
    at: Offset,
    ranks: usize,
    /// By tier: `None` when not asked for yet; position 0 when there was no room.
    data: [Option<Offset>; 2],
}

impl Area {
    fn over(comm: &Comm, at: Offset) -> Area {
        Area { universe: comm.engine().universe().clone(), at, ranks: comm.size() as usize, data: [None; 2] }
    }

    /// Makes a control block in the heap; `None` when there is no room (then collectives go by messages).
    pub(super) fn make(comm: &Comm) -> Option<Area> {
        let words = Cells::words(comm.size() as usize);
        let area = Area::over(comm, comm.engine().universe().alloc(words * 8).ok()?);
        // The heap's memory may have been used before. (Relaxed: the others hear of the area by message.)
        area.universe.words(area.at, words).ok()?.iter().for_each(|w| w.store(0, Ordering::Relaxed));
        let head = area.head().ok()?;
        head[head::WHOSE].store(whose(comm), Ordering::Relaxed);
        head[head::MAGIC].store(MAGIC, Ordering::Relaxed);
        Some(area)
    }

    /// The area another rank made.
    ///
    /// # Errors
    /// Class `NotSame` when there is none of this communicator at that position: what came from rank 0 was the message of
    /// another operation.
    pub(super) fn join(comm: &Comm, at: u64) -> Result<Area> {
        let ranks = comm.size() as usize;
        let is_ours = cells_at(comm.engine().universe(), Offset::new(at), ranks).is_ok_and(|cells| {
            let word = |at: usize| cells.head()[at].load(Ordering::Relaxed);
            word(head::MAGIC) == MAGIC && word(head::WHOSE) == whose(comm)
        });
        if is_ours {
            return Ok(Area::over(comm, Offset::new(at)));
        }
        Err(Error::new(
            ErrorClass::NotSame,
            format!(
                "the ranks disagree: rank 0 did not answer with the shared memory of this communicator (context {}, \
                 {ranks} ranks) but with 0x{at:x}; all ranks must make the same collective call",
                comm.ctx()
            ),
        ))
    }

    /// Position in the segment, for [`Area::join`].
    pub(super) fn position(&self) -> Offset {
        self.at
    }

    pub(super) fn ranks(&self) -> usize {
        self.ranks
    }

    /// What the ranks say.
    ///
    /// # Errors
    /// Class `Intern` when another process has destroyed the books of the heap.
    #[inline]
    pub(super) fn cells(&self) -> Result<Cells<'_>> {
        cells_at(&self.universe, self.at, self.ranks)
    }

    fn head(&self) -> Result<&[AtomicU64]> {
        Ok(self.cells()?.head())
    }

    /// The memory of a tier, which the first rank to come makes; false when there is no room for it, on all ranks alike.
    ///
    /// # Errors
    /// Interruption; class `Intern` when another process has destroyed the header.
    pub(super) fn provide(&mut self, comm: &Comm, tier: Tier, waiting: Waiting<'_>) -> Result<bool> {
        if let Some(at) = self.data[tier as usize] {
            return Ok(!at.is_none());
        }
        let bytes = PARTS * Layout::of_one(tier, self.ranks).part;
        let word = &self.head()?[head::DATA[tier as usize]];
        // Acquire and Release: whoever has the position may touch the pages behind it.
        let mine = BEING_MADE | (comm.rank() as u64) << MAKER;
        if word.compare_exchange(0, mine, Ordering::AcqRel, Ordering::Acquire).is_ok() {
            word.store(self.universe.alloc(bytes).map_or(NO_ROOM, Offset::get), Ordering::Release);
            notify_others(comm);
        } else {
            let maker = || Some(word.load(Ordering::Acquire)).filter(|at| at & BEING_MADE != 0).map(|at| at >> MAKER);
            if maker().is_some() {
                let missing = || {
                    let rank = usize::try_from(maker()?).ok()?;
                    let process = comm.group().get(rank)?;
                    comm.engine().has_ended(process).then_some(Ended { rank, process })
                };
                let is_revoked = || comm.inner().is_revoked();
                comm.engine().wait_flag(waiting, || maker().is_none() || is_revoked(), missing)?;
                if is_revoked() {
                    return Err(comm.unusable());
                }
            }
        }
        let at = match word.load(Ordering::Acquire) {
            NO_ROOM => Offset::NONE,
            at => Offset::new(at),
        };
        if !at.is_none() {
            self.universe.bytes(at, bytes).map_err(outside)?;
        }
        self.data[tier as usize] = Some(at);
        Ok(!at.is_none())
    }

    /// The memory of a step that begins with a part.
    pub(super) fn part(&self, layout: Layout, part: usize) -> Result<SharedBytes<'_>> {
        let at = self.data[layout.tier as usize].unwrap_or_default();
        self.universe.bytes(at.plus(part * layout.part), layout.step()).map_err(outside)
    }
}

/// The cells in the control block at a position.
///
/// # Errors
/// As [`Area::cells`].
#[inline]
pub(super) fn cells_at(universe: &Universe, at: Offset, ranks: usize) -> Result<Cells<'_>> {
    let words = universe.words(at, Cells::words(ranks)).map_err(outside)?;
    Cells::over(words, ranks).ok_or_else(|| {
        Error::new(ErrorClass::Intern, format!("the cells of {ranks} ranks do not fit where they should be"))
    })
}

pub(super) fn outside(e: ShmError) -> Error {
    Error::new(ErrorClass::Intern, format!("the shared area of a communicator: {e}"))
}

impl Drop for Area {
    fn drop(&mut self) {
        let Ok(head) = self.head() else { return };
        // AcqRel: the last one sees that all others are done with the memory.
        if head[head::LEFT].fetch_add(1, Ordering::AcqRel) + 1 != self.ranks as u64 {
            return;
        }
        for tier in [Tier::Small, Tier::Large] {
            let at = head[head::DATA[tier as usize]].load(Ordering::Relaxed);
            if at > NO_ROOM && at & BEING_MADE == 0 {
                self.universe.free(Offset::new(at));
            }
        }
        self.universe.free(self.at);
    }
}

/// Wakes the other ranks, after what this one has published.
pub(super) fn notify_others(comm: &Comm) {
    SleepWord::published();
    wake_others(comm);
}

/// As [`notify_others`], where a fence has ordered the publication already.
#[cold]
pub(super) fn wake_others(comm: &Comm) {
    let me = comm.engine().me();
    for &process in comm.group().members() {
        if process != me {
            comm.engine().wake(process);
        }
    }
}
