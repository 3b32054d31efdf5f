//! The shared area of a communicator, and the protocol of its parts.
//!
//! # Layout
//!
//! ```text
//! PARTS control lines   word 0: arrivals   word 1: ready
//! one line per rank     what the rank is doing, read only to explain a mismatch
//! PARTS parts of data   each `part` bytes
//! ```
//!
//! # Protocol
//!
//! The operations on a communicator are cut into *steps*, numbered from 1, the same on all ranks. Step
//! `s` uses part `s % PARTS`. Nothing is ever reset; all counters grow.
//!
//! 1. *Enter*: before a rank touches the part of step `s`, it waits until all ranks have arrived at step `s - PARTS + 1`.
//!    A rank arrives there only after it has finished step `s - PARTS`, the last that used this part.
//! 2. The rank writes what the step asks of it, if anything.
//! 3. *Arrive*: it adds one to the part's arrivals.
//! 4. A rank that reads everybody's data waits until the arrivals are complete (*full*). A rank that reads only the
//!    root's data waits for the part's ready word instead, which the root sets (*publish*).
//!
//! The arrivals word counts in its low half; the high half sums a fingerprint of the operation (kind, root, bytes), so
//! that ranks that call different operations find out when the count is complete: the sum is not what each of them expects.
//!
//! # Memory order
//!
//! Arrivals are added with AcqRel and read with Acquire; ready is stored with Release and read with Acquire. So
//! what a rank wrote or read before it arrived happens before what another does after it has seen the arrivals complete:
//! step 1 orders the reads of step `s - PARTS` before the writes of step `s`, step 4 orders the writes of a step before its reads.

use std::sync::atomic::{AtomicU64, Ordering};

use phalanx_shm::{Offset, SharedBytes, ShmError, Universe};

use crate::comm::Comm;
use crate::engine::Waiting;
use crate::error::{Error, ErrorClass, Result};

use super::super::call::{Kind, Mode};

/// Parts of the area: how many steps a rank may be ahead of another.
const PARTS: usize = 4;

/// Words in a line.
const LINE: usize = 8;

/// Sizes of an area, from the number of ranks alone: all ranks compute the same.
#[derive(Clone, Copy, Debug)]
pub(super) struct Layout {
    ranks: usize,
    /// Bytes of a part.
    pub(super) part: usize,
}

impl Layout {
    /// For small data: a part of at least 128 KiB, at least 4 KiB of it for each rank.
    pub(super) fn small(ranks: usize) -> Layout {
        Layout { ranks, part: (ranks * 4096).next_power_of_two().max(128 * 1024) }
    }

    /// For large data: as few chunks as the caches allow, since each costs the ranks a wait for each other.
    pub(super) fn large(ranks: usize) -> Layout {
        Layout { ranks, part: (ranks * 32 * 1024).next_power_of_two().max(1024 * 1024) }
    }

    /// Bytes of a rank's share of a part, in whole cache lines.
    pub(super) fn share(&self) -> usize {
        self.part / self.ranks / 64 * 64
    }

    /// Bytes of the share of a pair of ranks, in whole cache lines.
    pub(super) fn pair_share(&self) -> usize {
        self.part / (self.ranks * self.ranks) / 64 * 64
    }

    fn control_words(&self) -> usize {
        LINE * (PARTS + self.ranks)
    }

    pub(super) fn bytes(&self) -> usize {
        self.control_words() * 8 + PARTS * self.part
    }
}

/// The area, mapped; it is given back when the last rank has let go of it.
pub(super) struct Area {
    universe: Universe,
    at: Offset,
    pub(super) layout: Layout,
}

impl Area {
    /// Makes an area in the heap; `None` when there is no room (then collectives go by messages).
    pub(super) fn make(universe: &Universe, layout: Layout) -> Option<Area> {
        let at = universe.alloc(layout.bytes()).ok()?;
        let area = Area { universe: universe.clone(), at, layout };
        // The heap's memory may have been used before. (Relaxed: the others hear of the area by message.)
        area.words().ok()?.iter().for_each(|w| w.store(0, Ordering::Relaxed));
        Some(area)
    }

    /// The area another rank made.
    pub(super) fn join(universe: &Universe, at: u64, layout: Layout) -> Option<Area> {
        let at = Offset::new(at);
        universe.words(at, layout.control_words()).ok()?;
        Some(Area { universe: universe.clone(), at, layout })
    }

    /// Position in the segment, for [`Area::join`].
    pub(super) fn position(&self) -> u64 {
        self.at.get()
    }

    fn words(&self) -> Result<&[AtomicU64]> {
        self.universe.words(self.at, self.layout.control_words()).map_err(outside)
    }

    fn data(&self, part: usize) -> Result<SharedBytes<'_>> {
        let start = self.layout.control_words() * 8 + part * self.layout.part;
        self.universe.bytes(self.at.plus(start), self.layout.part).map_err(outside)
    }
}

fn outside(e: ShmError) -> Error {
    Error::new(ErrorClass::Intern, format!("the shared area of a communicator: {e}"))
}

/// Word of the first rank line that counts the ranks that have let go.
const LEFT: usize = 7;

impl Drop for Area {
    fn drop(&mut self) {
        let last = self.words().is_ok_and(|words| {
            // AcqRel: the last one sees that all others are done with the memory.
            words[LINE * PARTS + LEFT].fetch_add(1, Ordering::AcqRel) + 1 == self.layout.ranks as u64
        });
        if last {
            self.universe.free(self.at);
        }
    }
}

/// This process's counters of an area.
#[derive(Default)]
pub(super) struct Counters {
    step: u64,
    /// What the arrivals of each part will be when its latest step is full.
    expected: [u64; PARTS],
}

/// What ranks must agree on, as words for the rank's line.
#[derive(Clone, Copy, Debug)]
pub(super) struct Identity {
    pub(super) kind: Kind,
    /// Root, or 0.
    pub(super) root: usize,
    /// Bytes of a block.
    pub(super) bytes: usize,
}

impl Identity {
    fn fingerprint(&self) -> u64 {
        let mix = (self.bytes as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15)
            ^ (self.root as u64 + 1).wrapping_mul(0xd6e8_feb8_6659_fd93)
            ^ (self.kind as u64 + 1).wrapping_mul(0xa076_1d64_78bd_642f);
        (mix ^ (mix >> 32)) & 0xffff_ffff
    }
}

/// One operation of this rank on the area: takes steps one after the other.
pub(super) struct Steps<'a> {
    pub(super) comm: &'a Comm,
    area: &'a Area,
    counters: &'a mut Counters,
    words: &'a [AtomicU64],
    id: Identity,
    fingerprint: u64,
}

/// A step that this rank has entered.
#[derive(Clone, Copy)]
pub(super) struct Entered {
    step: u64,
    part: usize,
}

fn count(word: u64) -> u32 {
    word as u32
}

impl<'a> Steps<'a> {
    pub(super) fn begin(comm: &'a Comm, area: &'a Area, counters: &'a mut Counters, id: Identity) -> Result<Steps<'a>> {
        let words = area.words()?;
        let line = &words[LINE * (PARTS + comm.rank() as usize)..][..LINE];
        line[0].store(id.kind as u64, Ordering::Relaxed);
        line[1].store(id.root as u64, Ordering::Relaxed);
        line[2].store(id.bytes as u64, Ordering::Relaxed);
        Ok(Steps { comm, area, counters, words, id, fingerprint: id.fingerprint() })
    }

    /// Sizes of the area.
    pub(super) fn layout(&self) -> Layout {
        self.area.layout
    }

    fn waiting(&self) -> Waiting {
        Waiting { operation: self.id.kind.name(Mode::Blocking), ctx: self.comm.ctx() + 1, peer: -1, tag: 0 }
    }

    fn wait(&self, mut flag: impl FnMut() -> bool) -> Result<()> {
        if flag() {
            return Ok(());
        }
        self.comm.engine().wait_flag(self.waiting(), flag)
    }

    /// Wakes the other ranks.
    fn notify_others(&self) {
        let me = self.comm.engine().me();
        for &process in self.comm.group().members() {
            if process != me {
                self.comm.engine().notify(process);
            }
        }
    }

    /// Enters the next step: from here on its part may be written.
    pub(super) fn enter(&mut self) -> Result<Entered> {
        self.counters.step += 1;
        let step = self.counters.step;
        let before = (step as usize + 1) % PARTS;
        let (arrivals, expected) = (&self.words[LINE * before], count(self.counters.expected[before]));
        // Others may be a step ahead, in this very part: at least is enough.
        // SYNC POINT area-arrive: Acquire; the others' reads of this part, PARTS steps ago, are over.
        self.wait(|| count(arrivals.load(Ordering::Acquire)).wrapping_sub(expected) as i32 >= 0)?;
        Ok(Entered { step, part: step as usize % PARTS })
    }

    /// The memory of a step.
    pub(super) fn data(&self, at: Entered) -> Result<SharedBytes<'a>> {
        self.area.data(at.part)
    }

    /// Says that this rank has written what the step asks of it and has finished the step before.
    pub(super) fn arrive(&mut self, at: Entered) {
        let one = self.fingerprint << 32 | 1;
        let expected = &mut self.counters.expected[at.part];
        *expected = expected.wrapping_add(one.wrapping_mul(self.area.layout.ranks as u64));
        // SYNC POINT area-arrive: Release, for this rank's writes in this step and its reads in the one before;
        // Acquire too, so that the last one to arrive hands on what it has seen.
        let before = self.words[LINE * at.part].fetch_add(one, Ordering::AcqRel);
        if count(before).wrapping_add(1) == count(*expected) {
            self.notify_others();
        }
    }

    /// Waits until all ranks have arrived.
    pub(super) fn full(&self, at: Entered) -> Result<()> {
        let (arrivals, expected) = (&self.words[LINE * at.part], self.counters.expected[at.part]);
        let mut seen = 0;
        self.wait(|| {
            // SYNC POINT area-arrive: Acquire, pairs with the addition in `arrive`.
            seen = arrivals.load(Ordering::Acquire);
            count(seen) == count(expected)
        })?;
        if seen != expected {
            return Err(self.mismatch());
        }
        Ok(())
    }

    /// The root says that its data is there.
    pub(super) fn publish(&self, at: Entered) {
        // SYNC POINT area-ready: Release, for the root's data.
        self.words[LINE * at.part + 1].store(self.fingerprint << 32 | at.step & 0xffff_ffff, Ordering::Release);
        self.notify_others();
    }

    /// Waits for the root's data.
    pub(super) fn published(&self, at: Entered) -> Result<()> {
        let ready = &self.words[LINE * at.part + 1];
        let mut seen = 0;
        self.wait(|| {
            // SYNC POINT area-ready: Acquire, pairs with the store in `publish`.
            seen = ready.load(Ordering::Acquire);
            count(seen) == at.step as u32
        })?;
        if seen >> 32 != self.fingerprint {
            return Err(self.mismatch());
        }
        Ok(())
    }

    /// Says which ranks do something else.
    #[cold]
    fn mismatch(&self) -> Error {
        let describe = |id: &Identity| {
            let blocks = match id.kind {
                Kind::Barrier => String::new(),
                Kind::Allgather | Kind::Alltoall | Kind::Allreduce => {
                    format!(" of {} bytes", id.bytes)
                }
                _ => format!(" of {} bytes with root {}", id.bytes, id.root),
            };
            format!("{}{blocks}", id.kind.name(Mode::Blocking))
        };
        let mut others = Vec::new();
        for rank in 0..self.area.layout.ranks {
            let line = &self.words[LINE * (PARTS + rank)..][..LINE];
            let id = Identity {
                kind: Kind::from_index(line[0].load(Ordering::Relaxed) as usize),
                root: line[1].load(Ordering::Relaxed) as usize,
                bytes: line[2].load(Ordering::Relaxed) as usize,
            };
            if id.fingerprint() != self.fingerprint {
                others.push(format!("rank {rank} calls {}", describe(&id)));
            }
        }
        Error::new(
            ErrorClass::NotSame,
            format!(
                "the ranks disagree: this rank calls {}, but {}; all ranks must make the same collective call",
                describe(&self.id),
                if others.is_empty() { "another rank called something else".to_owned() } else { others.join(", ") }
            ),
        )
    }
}
