//! The shared area of a communicator, and the protocol of its parts.
//!
//! # Layout
//!
//! ```text
//! control block   one header line     what it is, where the data is, whether it is broken
//!                 PARTS lines         word 0: arrivals   word 1: ready
//!                 one line per rank   PARTS records: what the rank is doing in its latest steps
//! small data      PARTS parts         made by the first operation with little data
//! large data      PARTS parts         made by the first operation with much data
//! ```
//!
//! A communicator has one control block and so one sequence of steps, whichever of the two memories a step uses. Ranks
//! that disagree about the size of an operation therefore meet in the same step and find out there.
//!
//! # Protocol
//!
//! The operations on a communicator are cut into *steps*, numbered from 1, the same on all ranks. Step
//! `s` uses part `s % PARTS`. Nothing is ever reset; all counters grow.
//!
//! 1. *Enter*: before a rank touches the part of step `s`, it waits until all ranks have arrived at step `s - PARTS + 1`.
//!    A rank arrives there only after it has finished step `s - PARTS`, the last that used this part. It then records what it
//!    is doing; nobody reads the record that this one replaces any more, for the same reason.
//! 2. The rank writes what the step asks of it, if anything.
//! 3. *Arrive*: it adds one to the part's arrivals.
//! 4. A rank that reads everybody's data waits until the arrivals are complete (*full*). A rank that reads only the
//!    root's data waits for the part's ready word instead, which the root sets (*publish*).
//!
//! The arrivals word counts in its low half; the high half sums a fingerprint of the operation (kind, root, bytes), so
//! that ranks that call different operations find out when the count is complete: the sum is not what each of them expects.
//!
//! # Disagreement
//!
//! The rank that finds one stores the step in the header's *broken* word, and everybody who waits or comes later reads
//! there, in the records of that step, which rank did what. The ranks need not be in step after that, so the area
//! is closed for good.
//!
//! # Memory order
//!
//! Arrivals are added with AcqRel and read with Acquire; ready is stored with Release and read with Acquire. So
//! what a rank wrote or read before it arrived happens before what another does after it has seen the arrivals complete:
//! step 1 orders the reads of step `s - PARTS` before the writes of step `s`, step 4 orders the writes of a step before its reads.

use std::sync::atomic::{AtomicU64, Ordering};

use phalanx_shm::{Offset, ProcId, SharedBytes, ShmError, Universe};

use crate::comm::Comm;
use crate::engine::{Ended, Waiting};
use crate::error::{Error, ErrorClass, Result};

use super::super::call::{Kind, Mode};

/// Parts of a memory: how many steps a rank may be ahead of another.
const PARTS: usize = 4;

/// Words in a line.
const LINE: usize = 8;

/// The first word of a control block: "PHALCOLL" in ASCII, read as a little-endian number.
const MAGIC: u64 = u64::from_le_bytes(*b"PHALCOLL");

/// Words of the header line.
mod header {
    /// [`MAGIC`](super::MAGIC). Written by the maker.
    pub(super) const MAGIC: usize = 0;
    /// The communicator's context in the high half, its number of ranks in the low one. Written by the maker.
    pub(super) const WHOSE: usize = 1;
    /// Positions of the data, by [`Tier`](super::Tier): 0 (not asked for yet), [`BEING_MADE`](super::BEING_MADE),
    /// [`NO_ROOM`](super::NO_ROOM) or an offset.
    pub(super) const DATA: [usize; 2] = [2, 3];
    /// 0, or the first step in which ranks were found to disagree.
    pub(super) const BROKEN: usize = 4;
    /// Ranks that have let go.
    pub(super) const LEFT: usize = 5;
}

/// Some rank is making the data's memory.
const BEING_MADE: u64 = 1;
/// There was no room for it; it stays so.
const NO_ROOM: u64 = 2;

/// Which memory an operation uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tier {
    Small,
    Large,
}

/// Sizes of a memory, from the number of ranks alone: all ranks compute the same.
#[derive(Clone, Copy, Debug)]
pub(super) struct Layout {
    ranks: usize,
    /// Bytes of a part.
    pub(super) part: usize,
}

impl Layout {
    /// For small data: a part of at least 128 KiB, at least 4 KiB of it for each rank. For large data: as few chunks as the
    /// caches allow, since each costs the ranks a wait for each other.
    pub(super) fn of(tier: Tier, ranks: usize) -> Layout {
        let (each, least) = match tier {
            Tier::Small => (4 << 10, 128 << 10),
            Tier::Large => (32 << 10, 1 << 20),
        };
        Layout { ranks, part: (ranks * each).next_power_of_two().max(least) }
    }

    /// Bytes of a rank's share of a part, in whole cache lines.
    pub(super) fn share(&self) -> usize {
        self.part / self.ranks / 64 * 64
    }

    /// Bytes of the share of a pair of ranks, in whole cache lines.
    pub(super) fn pair_share(&self) -> usize {
        self.part / (self.ranks * self.ranks) / 64 * 64
    }

    fn bytes(&self) -> usize {
        PARTS * self.part
    }
}

/// Words of a control block.
fn control_words(ranks: usize) -> usize {
    LINE * (1 + PARTS + ranks)
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
    /// Makes a control block in the heap; `None` when there is no room (then collectives go by messages).
    pub(super) fn make(comm: &Comm) -> Option<Area> {
        let (universe, ranks) = (comm.engine().universe(), comm.size() as usize);
        let at = universe.alloc(control_words(ranks) * 8).ok()?;
        let area = Area { universe: universe.clone(), at, ranks, data: [None; 2] };
        let words = area.words().ok()?;
        // The heap's memory may have been used before. (Relaxed: the others hear of the area by message.)
        words.iter().for_each(|w| w.store(0, Ordering::Relaxed));
        words[header::WHOSE].store(whose(comm), Ordering::Relaxed);
        words[header::MAGIC].store(MAGIC, Ordering::Relaxed);
        Some(area)
    }

    /// The area another rank made.
    ///
    /// # Errors
    /// Class `NotSame` when there is none of this communicator at that position: what came from rank 0 was the message of
    /// another operation.
    pub(super) fn join(comm: &Comm, at: u64) -> Result<Area> {
        let (universe, ranks) = (comm.engine().universe(), comm.size() as usize);
        let position = Offset::new(at);
        let is_ours = universe.words(position, control_words(ranks)).is_ok_and(|words| {
            words[header::MAGIC].load(Ordering::Relaxed) == MAGIC
                && words[header::WHOSE].load(Ordering::Relaxed) == whose(comm)
        });
        if !is_ours {
            return Err(Error::new(
                ErrorClass::NotSame,
                format!(
                    "the ranks disagree: rank 0 did not answer with the shared memory of this communicator (context {}, \
                     {ranks} ranks) but with 0x{at:x}; all ranks must make the same collective call",
                    comm.ctx()
                ),
            ));
        }
        Ok(Area { universe: universe.clone(), at: position, ranks, data: [None; 2] })
    }

    /// Position in the segment, for [`Area::join`].
    pub(super) fn position(&self) -> u64 {
        self.at.get()
    }

    fn words(&self) -> Result<&[AtomicU64]> {
        self.universe.words(self.at, control_words(self.ranks)).map_err(outside)
    }

    /// The memory of a tier, which the first rank to come makes; false when there is no room for it, on all ranks alike.
    ///
    /// # Errors
    /// Interruption; class `Intern` when another process has destroyed the header.
    pub(super) fn provide(&mut self, comm: &Comm, tier: Tier, waiting: Waiting) -> Result<bool> {
        if let Some(at) = self.data[tier as usize] {
            return Ok(!at.is_none());
        }
        let bytes = Layout::of(tier, self.ranks).bytes();
        let word = &self.words()?[header::DATA[tier as usize]];
        // Acquire and Release: whoever has the position may touch the pages behind it.
        if word.compare_exchange(0, BEING_MADE, Ordering::AcqRel, Ordering::Acquire).is_ok() {
            word.store(self.universe.alloc(bytes).map_or(NO_ROOM, Offset::get), Ordering::Release);
            notify_others(comm);
        } else {
            let made = || word.load(Ordering::Acquire) != BEING_MADE;
            if !made() {
                comm.engine().wait_flag(waiting, made, || None)?;
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

    fn part(&self, tier: Tier, part: usize) -> Result<SharedBytes<'_>> {
        let layout = Layout::of(tier, self.ranks);
        let at = self.data[tier as usize].unwrap_or_default();
        self.universe.bytes(at.plus(part * layout.part), layout.part).map_err(outside)
    }
}

fn outside(e: ShmError) -> Error {
    Error::new(ErrorClass::Intern, format!("the shared area of a communicator: {e}"))
}

impl Drop for Area {
    fn drop(&mut self) {
        let Ok(words) = self.words() else { return };
        // AcqRel: the last one sees that all others are done with the memory.
        if words[header::LEFT].fetch_add(1, Ordering::AcqRel) + 1 != self.ranks as u64 {
            return;
        }
        for tier in [Tier::Small, Tier::Large] {
            let at = words[header::DATA[tier as usize]].load(Ordering::Relaxed);
            if at > NO_ROOM {
                self.universe.free(Offset::new(at));
            }
        }
        self.universe.free(self.at);
    }
}

/// Wakes the other ranks.
fn notify_others(comm: &Comm) {
    let me = comm.engine().me();
    for &process in comm.group().members() {
        if process != me {
            comm.engine().notify(process);
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

/// What ranks must agree on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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

    /// As a record: the low half of the step, kind and root in one word, the bytes in the other.
    fn to_record(self, step: u64) -> [u64; 2] {
        [step << 32 | (self.kind as u64) << 24 | (self.root as u64 & 0xff_ffff), self.bytes as u64]
    }

    fn from_record(record: [u64; 2]) -> Identity {
        let [what, bytes] = record;
        Identity {
            kind: Kind::from_index((what >> 24 & 0xff) as usize),
            root: (what & 0xff_ffff) as usize,
            bytes: bytes as usize,
        }
    }

    fn describe(&self) -> String {
        let name = self.kind.name(Mode::Blocking);
        match self.kind {
            Kind::Barrier => name.to_owned(),
            Kind::Bcast | Kind::Gather | Kind::Scatter | Kind::Reduce => {
                format!("{name} of {} bytes with root {}", self.bytes, self.root)
            }
            _ => format!("{name} of {} bytes", self.bytes),
        }
    }
}

/// One operation of this rank on the area: takes steps one after the other.
pub(super) struct Steps<'a> {
    pub(super) comm: &'a Comm,
    area: &'a Area,
    tier: Tier,
    counters: &'a mut Counters,
    words: &'a [AtomicU64],
    id: Identity,
    fingerprint: u64,
    /// The step before this operation's first.
    before: u64,
}

/// A step that this rank has entered.
#[derive(Clone, Copy)]
pub(super) struct Entered {
    step: u64,
    part: usize,
}

/// The low half of a word: a count of arrivals, or a step.
fn count(word: u64) -> u32 {
    word as u32
}

/// Whether counter `a` has come as far as `b`, both of which wrap around.
fn has_reached(a: u32, b: u32) -> bool {
    a.wrapping_sub(b) as i32 >= 0
}

impl<'a> Steps<'a> {
    pub(super) fn begin(
        comm: &'a Comm,
        area: &'a Area,
        tier: Tier,
        counters: &'a mut Counters,
        id: Identity,
    ) -> Result<Steps<'a>> {
        let (words, before) = (area.words()?, counters.step);
        let steps = Steps { comm, area, tier, counters, words, id, fingerprint: id.fingerprint(), before };
        if steps.is_broken() { Err(steps.disagreement()) } else { Ok(steps) }
    }

    /// Sizes of the operation's memory.
    pub(super) fn layout(&self) -> Layout {
        Layout::of(self.tier, self.area.ranks)
    }

    fn arrivals(&self, part: usize) -> &AtomicU64 {
        &self.words[LINE * (1 + part)]
    }

    fn ready(&self, part: usize) -> &AtomicU64 {
        &self.words[LINE * (1 + part) + 1]
    }

    /// The record of a rank for the latest step in a part.
    fn record(&self, rank: usize, part: usize) -> &[AtomicU64] {
        &self.words[LINE * (1 + PARTS + rank) + 2 * part..][..2]
    }

    /// The latest step (its low half) that a rank has entered in a part.
    fn entered(&self, rank: usize, part: usize) -> u32 {
        (self.record(rank, part)[0].load(Ordering::Acquire) >> 32) as u32
    }

    fn is_broken(&self) -> bool {
        // SYNC POINT area-broken: Acquire, so that the records of that step are seen.
        self.words[header::BROKEN].load(Ordering::Acquire) != 0
    }

    /// Waits for `flag`, which says that `ranks` have come as far as `step`.
    fn wait(&self, step: u64, ranks: std::ops::Range<usize>, mut flag: impl FnMut() -> bool) -> Result<()> {
        if flag() {
            return Ok(());
        }
        let mut met = false;
        let mut met_or_broken = || {
            met = flag();
            met || self.is_broken()
        };
        let waiting = Waiting::on(self.id.kind.name(Mode::Blocking), self.comm.ctx() + 1);
        let part = step as usize % PARTS;
        let missing = || {
            let missing = |rank: &usize| !has_reached(self.entered(*rank, part), step as u32);
            let process = |rank: usize| self.comm.group().get(rank).map(|p: ProcId| Ended { rank, process: p });
            // Its end before its step: what it did before it ended is seen then.
            let ended = |e: &Ended| self.comm.engine().has_ended(e.process) && missing(&e.rank);
            ranks.clone().filter_map(process).find(ended)
        };
        self.comm.engine().wait_flag(waiting, &mut met_or_broken, missing)?;
        if met { Ok(()) } else { Err(self.disagreement()) }
    }

    fn all(&self) -> std::ops::Range<usize> {
        0..self.area.ranks
    }

    /// Enters the next step: from here on its part may be written.
    pub(super) fn enter(&mut self) -> Result<Entered> {
        self.counters.step += 1;
        let step = self.counters.step;
        let earlier = (step + 1).saturating_sub(PARTS as u64);
        let part = (step as usize + 1) % PARTS;
        let (arrivals, expected) = (self.arrivals(part), self.counters.expected[part]);
        let mut seen = 0;
        // Others may be a step ahead, in this very part: at least is enough.
        self.wait(earlier, self.all(), || {
            // SYNC POINT area-arrive: Acquire; the others' reads of this part, PARTS steps ago, are over.
            seen = arrivals.load(Ordering::Acquire);
            has_reached(count(seen), count(expected))
        })?;
        if count(seen) == count(expected) && seen != expected {
            return Err(self.disagree_in(earlier));
        }
        let part = step as usize % PARTS;
        let record = self.record(self.comm.rank() as usize, part);
        // Read by those who have seen this rank arrive or publish, and, for the step alone, by those who wait in vain.
        for (word, value) in record.iter().zip(self.id.to_record(step)) {
            word.store(value, Ordering::Relaxed);
        }
        Ok(Entered { step, part })
    }

    /// The memory of a step.
    pub(super) fn data(&self, at: Entered) -> Result<SharedBytes<'a>> {
        self.area.part(self.tier, at.part)
    }

    /// Says that this rank has written what the step asks of it and has finished the step before.
    pub(super) fn arrive(&mut self, at: Entered) {
        let one = self.fingerprint << 32 | 1;
        let expected = &mut self.counters.expected[at.part];
        *expected = expected.wrapping_add(one.wrapping_mul(self.area.ranks as u64));
        let complete = count(*expected);
        // SYNC POINT area-arrive: Release, for this rank's writes in this step and its reads in the one before;
        // Acquire too, so that the last one to arrive hands on what it has seen.
        let before = self.arrivals(at.part).fetch_add(one, Ordering::AcqRel);
        if count(before).wrapping_add(1) == complete {
            notify_others(self.comm);
        }
    }

    /// Waits until all ranks have arrived.
    pub(super) fn full(&self, at: Entered) -> Result<()> {
        let (arrivals, expected) = (self.arrivals(at.part), self.counters.expected[at.part]);
        let mut seen = 0;
        self.wait(at.step, self.all(), || {
            // SYNC POINT area-arrive: Acquire, pairs with the addition in `arrive`.
            seen = arrivals.load(Ordering::Acquire);
            count(seen) == count(expected)
        })?;
        if seen != expected {
            return Err(self.disagree_in(at.step));
        }
        Ok(())
    }

    /// The root says that its data is there.
    pub(super) fn publish(&self, at: Entered) {
        // SYNC POINT area-ready: Release, for the root's data.
        self.ready(at.part).store(self.fingerprint << 32 | at.step & 0xffff_ffff, Ordering::Release);
        notify_others(self.comm);
    }

    /// Waits for the root's data.
    pub(super) fn published(&self, at: Entered) -> Result<()> {
        let ready = self.ready(at.part);
        let mut seen = 0;
        self.wait(at.step, self.id.root..self.id.root + 1, || {
            // SYNC POINT area-ready: Acquire, pairs with the store in `publish`.
            seen = ready.load(Ordering::Acquire);
            count(seen) == at.step as u32
        })?;
        if seen >> 32 != self.fingerprint {
            return Err(self.disagree_in(at.step));
        }
        Ok(())
    }

    /// Closes the area: the ranks disagree about a step.
    #[cold]
    fn disagree_in(&self, step: u64) -> Error {
        // SYNC POINT area-broken: Release, for what this rank has seen of the others' records. The first one to find a
        // disagreement decides which step is told.
        let _ = self.words[header::BROKEN].compare_exchange(0, step, Ordering::AcqRel, Ordering::Acquire);
        notify_others(self.comm);
        self.disagreement()
    }

    /// Says which ranks did what in the step about which they disagree.
    #[cold]
    fn disagreement(&self) -> Error {
        let step = self.words[header::BROKEN].load(Ordering::Acquire);
        let part = step as usize % PARTS;
        let earlier = step <= self.before;
        let (call, this) = if earlier { ("called", "this rank called") } else { ("calls", "this rank calls") };
        let done = |rank: usize| {
            let record = self.record(rank, part);
            let words = [record[0].load(Ordering::Relaxed), record[1].load(Ordering::Relaxed)];
            ((words[0] >> 32) as u32 == step as u32).then(|| Identity::from_record(words))
        };
        // A rank that finds the area closed as it comes has left no record of the step.
        let mine = done(self.comm.rank() as usize).or((!earlier).then_some(self.id));
        let mut others: Vec<String> = Vec::new();
        for rank in (0..self.area.ranks).filter(|r| *r != self.comm.rank() as usize) {
            if let Some(theirs) = done(rank).filter(|theirs| Some(*theirs) != mine) {
                others.push(format!("rank {rank} {call} {}", theirs.describe()));
            }
        }
        let own = mine.map(|id| format!("{this} {}, but ", id.describe())).unwrap_or_default();
        let others =
            if others.is_empty() { "another rank called something else".to_owned() } else { others.join(", ") };
        let when = if earlier { " in an earlier operation" } else { "" };
        Error::new(
            ErrorClass::NotSame,
            format!("the ranks disagree{when}: {own}{others}; all ranks must make the same collective call"),
        )
    }
}
