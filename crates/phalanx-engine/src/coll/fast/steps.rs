//! The steps of the operations on an area: who has come how far, and whether all do the same.
//!
//! The operations on a communicator are cut into *steps*, the same on all ranks. What a rank does in a step it says in its
//! [cell](phalanx_shm::cells) of that step; data that does not fit there lies in a part of a memory (see `area`).
//!
//! # Parts
//!
//! Each operation that uses parts takes the next ones of its memory in each step. A rank may write into a part when all
//! have *entered* a later step than the one that used it last: then all have finished with what was there.
//!
//! # Agreement
//!
//! The user's half of the tags is a hash of everything that the rank has done on the communicator (kinds, roots, bytes). So
//! a rank that waits for another one sees at once whether both have done the same all along, and one that goes ahead
//! (the root of a broadcast) does when it has to wait for the others to follow.
//!
//! The rank that finds a disagreement looks for the first step in which two cells differ, stores it in the head's *broken*
//! word, and everybody who waits or comes later reads there, in the cells of that step, which rank did what. The ranks
//! need not be in step after that, so the area is closed for good.

use std::cell::Cell;
use std::ops::Range;
use std::sync::atomic::Ordering;

use phalanx_shm::cells::{CELLS, Cells, INLINE};
use phalanx_shm::{ProcId, SharedBytes};

use crate::comm::Comm;
use crate::datatype::signature;
use crate::engine::{Core, Ended, Told, Waiting};
use crate::error::{Error, ErrorClass, Result};
use crate::op::Op;

use super::super::call::{Kind, Mode};
use super::area::{Area, Layout, PARTS, Place, Tier, head, notify_others, wake_others};
use super::leaving;
use super::tried::{Lines, Tried};

/// What this process knows of the steps of an area.
#[derive(Default)]
pub(super) struct Counters {
    step: u64,
    /// The hash of all that this rank has done.
    history: u32,
    /// A step that all ranks have entered, as far as this rank has seen.
    together: u64,
    /// By tier: the part after those that were used last.
    next: [usize; 2],
    /// By tier: the step that used a part last.
    used: [[u64; PARTS]; 2],
    /// The mistake that this rank has been told last, see `head::MISTAKE`.
    told: u64,
    /// Whether the last step is that of an operation that goes on by messages.
    pub(super) beside: bool,
    /// How cache lines have been read best.
    pub(super) tried: Tried,
}

impl Counters {
    /// The last step of this rank.
    pub(super) fn step(&self) -> u64 {
        self.step
    }

    /// The last step that belongs to an operation before the one that goes by messages now.
    pub(super) fn before_messages(&self) -> u64 {
        self.step - u64::from(self.beside)
    }
}

/// What ranks must agree on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Identity {
    pub(super) kind: Kind,
    /// Root, or 0.
    pub(super) root: usize,
    /// Bytes of a block; 0 where they need not be the same.
    pub(super) bytes: usize,
    /// Bytes of an element that has to be in one piece, or 0.
    pub(super) element: usize,
    /// The [code](Op::code) of a reduction, or 0.
    pub(super) op: u8,
    /// The type [signature](signature) of the data, or 0.
    pub(super) ty: u32,
}

/// What stands in a note for a type of mixed elements, whose signature is longer.
const MIXED: u32 = 0xffff;
/// The most that a note says of an element's size.
const LARGE: usize = 0xffff;
/// Where it says that, above the bytes.
const ELEMENT: u32 = 48;

impl Identity {
    /// What decides which steps the operation takes. Ranks that differ in something else (the reduction, types of one size)
    /// stay in step.
    fn fingerprint(&self) -> u64 {
        let element = (self.element as u64) << 1 | u64::from(Op::is_users(self.op));
        (self.bytes as u64 ^ element << 40).wrapping_mul(0x9e37_79b9_7f4a_7c15)
            ^ (self.root as u64 + 1).wrapping_mul(0xd6e8_feb8_6659_fd93)
            ^ (self.kind as u64 + 1).wrapping_mul(0xa076_1d64_78bd_642f)
    }

    /// As a note: kind, reduction, type and root in one word, bytes and element in the other.
    #[inline]
    fn to_note(self) -> [u64; 2] {
        let ty = u64::from(self.ty.min(MIXED));
        let what = (self.kind as u64) << 56 | u64::from(self.op) << 48 | ty << 32 | u64::from(self.root as u32);
        [what, (self.element.min(LARGE) as u64) << ELEMENT | self.bytes as u64 & ((1 << ELEMENT) - 1)]
    }

    fn from_note([what, bytes]: [u64; 2]) -> Identity {
        Identity {
            kind: Kind::from_index((what >> 56) as usize),
            root: what as u32 as usize,
            bytes: (bytes & ((1 << ELEMENT) - 1)) as usize,
            element: (bytes >> ELEMENT) as usize,
            op: (what >> 48) as u8,
            ty: (what >> 32) as u16 as u32,
        }
    }

    /// In what this call and that of another rank contradict each other, as both stand in notes: the class of the error.
    fn contradicts(&self, other: &Identity) -> Option<ErrorClass> {
        let steps = |id: &Identity| (id.kind, id.root, id.bytes, id.element, Op::is_users(id.op));
        let users = Op::is_users(self.op);
        if steps(self) != steps(other) {
            Some(ErrorClass::NotSame)
        } else if self.op != other.op {
            Some(ErrorClass::Op)
        } else if self.bytes == 0 {
            // No elements match every type.
            None
        } else if self.op == 0 || users {
            signature::mismatch(self.ty, other.ty).then_some(ErrorClass::Type)
        } else {
            (!signature::reduce_alike(self.ty, other.ty)).then_some(ErrorClass::Type)
        }
    }

    fn describe(&self) -> String {
        let mut text = self.kind.name(Mode::Blocking).to_owned();
        let (rooted, sized) = match self.kind {
            Kind::Barrier => (false, false),
            Kind::Gatherv | Kind::Scatterv => (true, false),
            Kind::Allgatherv | Kind::Alltoallv | Kind::Alltoallw => (false, false),
            Kind::Bcast | Kind::Gather | Kind::Scatter | Kind::Reduce => (true, true),
            _ => (false, true),
        };
        if sized {
            text += &format!(" of {} bytes", self.bytes);
        }
        if rooted {
            text += &format!(" with root {}", self.root);
        }
        let ty = Some(signature::describe(self.ty)).filter(|_| sized && self.ty != 0);
        let op = Some(Op::of_code(self.op)).filter(|_| self.op != 0);
        let of_what: Vec<_> = op.into_iter().chain(ty).collect();
        if !of_what.is_empty() {
            text += &format!(" ({})", of_what.join(", "));
        }
        text
    }
}

/// One operation of this rank on the area: takes steps one after the other.
pub(super) struct Steps<'a> {
    pub(super) comm: &'a Comm,
    area: &'a Area,
    place: Place,
    counters: &'a mut Counters,
    cells: Cells<'a>,
    id: &'a Identity,
    /// The same, as this rank notes it in each step.
    note: [u64; 2],
    /// What another rank does in the same steps that it should not, as this rank has found out.
    mistake: Cell<Option<Error>>,
    me: usize,
    /// The step before this operation's first.
    before: u64,
    lines: Lines,
}

/// Who reads the bytes that a rank leaves in a step.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Readers {
    One,
    AllOthers,
}

/// A step that this rank has entered.
#[derive(Clone, Copy)]
pub(super) struct Entered {
    step: u64,
    /// What every rank's cell must say.
    tag: u64,
    part: usize,
}

/// Rounded up to whole cache lines, so that no two ranks write one line.
pub(super) fn lines(bytes: usize) -> usize {
    bytes.next_multiple_of(64)
}

impl<'a> Steps<'a> {
    #[inline]
    pub(super) fn begin(
        comm: &'a Comm,
        area: &'a Area,
        cells: Cells<'a>,
        place: Place,
        counters: &'a mut Counters,
        id: &'a Identity,
        lines: Lines,
    ) -> Steps<'a> {
        let (before, me) = (counters.step, comm.rank() as usize);
        Steps {
            comm,
            area,
            place,
            counters,
            cells,
            id,
            note: id.to_note(),
            mistake: Cell::new(None),
            me,
            before,
            lines,
        }
    }

    /// That no rank has closed the area.
    ///
    /// # Errors
    /// Which ranks disagree about what.
    #[inline]
    pub(super) fn open(&self) -> Result<()> {
        if self.is_broken() { Err(self.disagreement()) } else { Ok(()) }
    }

    /// Whether the operation moves data in chunks through the large memory.
    pub(super) fn is_large(&self) -> bool {
        matches!(self.place, Place::Parts(Layout { tier: Tier::Large, .. }))
    }

    /// How the operation divides its memory; the small one when it needs none.
    pub(super) fn layout(&self) -> Layout {
        match self.place {
            Place::Parts(layout) => layout,
            Place::Cells => Layout::of_all(Tier::Small, self.area.ranks()),
        }
    }

    /// Bytes that a rank leaves in one step where it has so many for all others: few enough that they read the first ones
    /// while it writes the rest.
    pub(super) fn chunk(&self, bytes: usize) -> usize {
        match self.place {
            Place::Cells => INLINE,
            Place::Parts(layout) => bytes.div_ceil(2).next_multiple_of(64).clamp(layout.step() / 2, layout.step()),
        }
    }

    /// Bytes from one block to the next, where one rank leaves a block for each other one.
    pub(super) fn stride(&self, bytes: usize) -> usize {
        if self.place == Place::Cells { bytes } else { lines(bytes) }
    }

    fn is_broken(&self) -> bool {
        // SYNC POINT area-broken: Acquire, so that the cells of that step are seen.
        self.cells.head()[head::BROKEN].load(Ordering::Acquire) != 0
    }

    /// Waits for `flag`, which says that `ranks` have entered `step`.
    fn wait(&self, step: u64, ranks: Range<usize>, mut flag: impl FnMut() -> bool) -> Result<()> {
        if flag() || self.comm.engine().look_for(&mut flag) {
            return Ok(());
        }
        self.wait_long(step, ranks, &mut flag)
    }

    #[cold]
    fn wait_long(&self, step: u64, ranks: Range<usize>, flag: &mut dyn FnMut() -> bool) -> Result<()> {
        let _counted = self.cells.wait();
        let mut met = false;
        let met_or_broken = || {
            met = flag();
            met || self.is_broken() || self.comm.inner().is_revoked()
        };
        let waiting = Waiting::on(self.id.kind.name(Mode::Blocking), self.comm.ctx() + 1);
        let missing = || {
            let process = |rank: usize| self.comm.group().get(rank).map(|p: ProcId| Ended { rank, process: p });
            // Its end before its step: what it did before it ended is seen then.
            let ended = |e: &Ended| self.comm.engine().has_ended(e.process) && !self.cells.has_entered(e.rank, step);
            ranks.clone().filter_map(process).find(ended)
        };
        let tell = |_: &mut Core, told: &mut Told| {
            let absent = ranks.clone().filter(|rank| !self.cells.has_entered(*rank, step));
            told.members(self.comm, absent);
        };
        self.comm.engine().wait_flag(waiting.for_what(&tell), met_or_broken, missing)?;
        match met {
            true => Ok(()),
            false if self.comm.inner().is_revoked() => Err(self.comm.unusable()),
            false => Err(self.disagreement()),
        }
    }

    fn all(&self) -> Range<usize> {
        0..self.area.ranks()
    }

    /// Waits until all ranks have entered `step`, and sees whether they did the same in it. Free as long as this rank
    /// knows of a later one.
    #[inline]
    fn meet(&mut self, step: u64) -> Result<()> {
        if self.counters.together >= step { Ok(()) } else { self.meet_now(step) }
    }

    #[cold]
    fn meet_now(&mut self, step: u64) -> Result<()> {
        // Often all are much further, which saves looks in the steps to come.
        let now = self.counters.step - 1;
        let further = now.saturating_sub(CELLS as u64 / 2).max(step);
        for at in [further, step] {
            if at == step || self.cells.all_have_entered(at) {
                self.wait(at, self.all(), || self.cells.all_have_entered(at))?;
                let mine = self.cells.seen(self.me, at);
                if let Some(rank) = self.all().find(|rank| {
                    let theirs = self.cells.seen(*rank, at);
                    theirs != mine && !Cells::has_come(theirs, at + 1)
                }) {
                    return Err(self.disagree_with(rank, at));
                }
                self.counters.together = at;
                return Ok(());
            }
        }
        Ok(())
    }

    /// Enters the next step: from here on its cell, and its part if it uses one, may be written.
    #[inline]
    pub(super) fn enter(&mut self) -> Result<Entered> {
        self.counters.step += 1;
        let step = self.counters.step;
        // The cell's last step.
        let mut free_after = (step + 1).saturating_sub(CELLS as u64);
        let mut part = 0;
        if let Place::Parts(Layout { tier, parts, .. }) = self.place {
            let next = &mut self.counters.next[tier as usize];
            part = next.next_multiple_of(parts) % PARTS;
            *next = part + parts;
            for used in &mut self.counters.used[tier as usize][part..part + parts] {
                let last = std::mem::replace(used, step);
                if last > 0 {
                    free_after = free_after.max(last + 1);
                }
            }
        }
        self.meet(free_after)?;
        let mixed = (u64::from(self.counters.history) ^ self.id.fingerprint()).wrapping_mul(0x9fb2_1c65_1e98_df25);
        self.counters.history = (mixed >> 32) as u32;
        self.cells.note(self.me, step, self.note);
        Ok(Entered { step, tag: Cells::tag(step, self.counters.history), part })
    }

    /// Where, in memory that all ranks share out among pairs, the block of `bytes` from `by` for `to` lies: in the sender's
    /// cell, or in a part, together with the others for the same receiver, which so reads consecutive memory.
    pub(super) fn pair(&self, by: usize, to: usize, bytes: usize) -> usize {
        match self.place {
            Place::Cells => to * bytes,
            Place::Parts(_) => to * lines(self.area.ranks() * bytes) + by * bytes,
        }
    }

    /// The memory in which `rank` leaves data for all others in a step.
    #[inline]
    pub(super) fn whole(&self, at: Entered, rank: usize) -> Result<SharedBytes<'a>> {
        match self.place {
            Place::Cells => Ok(self.cells.data(rank, at.step)),
            Place::Parts(layout) => self.area.part(layout, at.part),
        }
    }

    /// The memory for a block of `bytes` of `rank`, where all ranks have such a block in a step.
    #[inline]
    pub(super) fn block(&self, at: Entered, rank: usize, bytes: usize) -> Result<SharedBytes<'a>> {
        let start = match self.place {
            Place::Cells => 0,
            Place::Parts(_) => rank * lines(bytes),
        };
        Ok(self.whole(at, rank)?.slice(start, bytes))
    }

    /// Whether a rank takes the cache lines over of what it reads, where `bytes` are used in a step: if it is alone with
    /// them, and if that is the faster way on this machine, as was measured before the job or is found out now.
    pub(super) fn takes(&self, bytes: usize, readers: Readers) -> bool {
        let Place::Parts(layout) = self.place else { return false };
        let alone = readers == Readers::One || self.area.ranks() == 2;
        alone
            && match self.lines {
                Lines::Measured => layout.steps() * bytes <= self.comm.engine().universe().ways().take,
                Lines::Taken => true,
                Lines::Left => false,
            }
    }

    /// Says that this rank is in the step, and that what it has written for it is there.
    #[inline]
    pub(super) fn arrive(&mut self, at: Entered) {
        if self.cells.say(self.me, at.step, at.tag) {
            self.wake(at, false);
        }
    }

    /// As [`Steps::arrive`], where the others wait for this rank and not for all.
    #[inline]
    pub(super) fn publish(&mut self, at: Entered) {
        if self.cells.say(self.me, at.step, at.tag) {
            self.wake(at, true);
        }
    }

    /// Wakes the ranks that may wait for this one. Those who wait for all are woken by the last one only: the fences are
    /// ordered, so the one whose fence is last sees all the others' tags.
    #[cold]
    fn wake(&self, at: Entered, for_me: bool) {
        if for_me || self.cells.all_have_entered(at.step) {
            wake_others(self.comm);
        }
    }

    /// Waits until all ranks have arrived.
    pub(super) fn full(&mut self, at: Entered) -> Result<()> {
        self.heard(at, self.all())?;
        self.counters.together = at.step;
        Ok(())
    }

    /// Waits until a rank has arrived (the root with its data).
    pub(super) fn said(&self, at: Entered, rank: usize) -> Result<()> {
        self.heard(at, rank..rank + 1)
    }

    /// Waits until all ranks below `rank` have arrived.
    pub(super) fn below(&self, at: Entered, rank: usize) -> Result<()> {
        self.heard(at, 0..rank)
    }

    /// Waits until these ranks have arrived.
    #[inline]
    fn heard(&self, at: Entered, ranks: Range<usize>) -> Result<()> {
        let mut other = 0;
        for rank in ranks.clone() {
            let (seen, what) = self.cells.said(rank, at.step);
            if seen != at.tag {
                return self.heard_later(at, rank..ranks.end, other);
            }
            // The same steps; whether the same reduction and types stands in the line that is here now.
            other |= what ^ self.note[0];
        }
        if other != 0 {
            self.compare(at.step);
        }
        Ok(())
    }

    /// As [`heard`](Self::heard), when the first of the ranks is not there yet, or there with something else.
    fn heard_later(&self, at: Entered, ranks: Range<usize>, mut other: u64) -> Result<()> {
        // Ranks that were seen are not looked at again.
        let (mut next, mut seen) = (ranks.start, at.tag);
        let flag = || {
            while next < ranks.end {
                let what;
                (seen, what) = self.cells.said(next, at.step);
                if seen != at.tag {
                    return Cells::has_come(seen, at.step);
                }
                other |= what ^ self.note[0];
                next += 1;
            }
            true
        };
        self.wait(at.step, ranks.clone(), flag)?;
        if seen != at.tag {
            return Err(self.disagree_with(next, at.step));
        }
        if other != 0 {
            self.compare(at.step);
        }
        Ok(())
    }

    /// Some rank in this step has noted something else than this one, though it takes the same steps: if it contradicts what
    /// others do, that is the operation's error, when its steps are done.
    #[cold]
    fn compare(&self, step: u64) {
        let calls = calls(&self.cells, self.all(), step);
        if let Some(class) = contradiction(&calls) {
            let text = contradictions(self.me, &calls, calls[self.me], false);
            self.mistake.set(Some(Error::new(class, text)));
            // All steps of an operation say the same of it, and all ranks know the first one. (Release: as `area-broken`.)
            self.cells.head()[head::MISTAKE].fetch_max(self.before + 1, Ordering::AcqRel);
        }
    }

    /// The error of an operation whose steps are done: what a rank found in it, or in one before that it took part in.
    #[inline]
    pub(super) fn verdict(&mut self) -> Result<()> {
        // A word of the line that `begin` has looked at.
        let mistake = self.cells.head()[head::MISTAKE].load(Ordering::Acquire);
        if mistake == self.counters.told { Ok(()) } else { self.tell(mistake) }
    }

    #[cold]
    fn tell(&mut self, mistake: u64) -> Result<()> {
        if mistake > self.counters.step {
            // Others are ahead.
            return Ok(());
        }
        self.counters.told = mistake;
        if let Some(found) = self.mistake.take() {
            return Err(found);
        }
        let calls = calls(&self.cells, self.all(), mistake);
        let class = contradiction(&calls).unwrap_or(ErrorClass::NotSame);
        let text = contradictions(self.me, &calls, calls[self.me], mistake <= self.before);
        Err(Error::new(class, text))
    }

    /// Closes the area: a rank has done something else than this one, in this step or before.
    #[cold]
    fn disagree_with(&self, rank: usize, step: u64) -> Error {
        close(self.comm, &self.cells, rank, step);
        self.disagreement()
    }

    #[cold]
    fn disagreement(&self) -> Error {
        disagreement(self.comm, &self.cells, self.before, Some(*self.id))
    }
}

/// Closes an area because a rank and this one take different steps, in `step` or before.
fn close(comm: &Comm, cells: &Cells<'_>, rank: usize, step: u64) {
    let call = |rank: usize, at: u64| cells.noted(rank, at).map(Identity::from_note);
    let differs = |at: &u64| match (call(comm.rank() as usize, *at), call(rank, *at)) {
        (Some(mine), Some(theirs)) => mine.contradicts(&theirs) == Some(ErrorClass::NotSame),
        _ => false,
    };
    let first = (step.saturating_sub(CELLS as u64 - 1).max(1)..=step).find(differs).unwrap_or(step);
    // SYNC POINT area-broken: Release, for what this rank has seen of the others' cells. The first one to find a
    // disagreement decides which step is told.
    let broken = &cells.head()[head::BROKEN];
    let _ = broken.compare_exchange(0, first, Ordering::AcqRel, Ordering::Acquire);
    notify_others(comm);
}

/// Looks whether another rank has said in `step` that it takes other steps, and closes the area then: for a rank that waits
/// for messages in an operation which has told the cells what it is.
#[cold]
pub(super) fn look_for_others(comm: &Comm, cells: &Cells<'_>, step: u64) {
    let mine = cells.seen(comm.rank() as usize, step);
    let other = |rank: &usize| {
        let theirs = cells.seen(*rank, step);
        Cells::has_come(theirs, step) && !Cells::has_come(theirs, step + 1) && theirs != mine
    };
    if let Some(rank) = (0..comm.size() as usize).find(other) {
        close(comm, cells, rank, step);
    }
}

/// What the ranks have noted in a step.
fn calls(cells: &Cells<'_>, ranks: Range<usize>, step: u64) -> Vec<Option<Identity>> {
    ranks.map(|rank| cells.noted(rank, step).map(Identity::from_note)).collect()
}

/// The class of the first contradiction between two of the calls.
fn contradiction(calls: &[Option<Identity>]) -> Option<ErrorClass> {
    let made = || calls.iter().flatten();
    made().find_map(|a| made().find_map(|b| a.contradicts(b)))
}

/// Says which ranks made other calls than `mine`.
fn contradictions(me: usize, calls: &[Option<Identity>], mine: Option<Identity>, earlier: bool) -> String {
    let (call, this) = if earlier { ("called", "this rank called") } else { ("calls", "this rank calls") };
    let mut others: Vec<String> = Vec::new();
    let theirs = |rank: usize| calls[rank].filter(|_| rank != me);
    let is_other = |id: &Identity| mine.is_none_or(|mine| mine.contradicts(id).is_some());
    // Where mine agrees with all (bytes do), those that do not agree with each other are all there is to tell.
    let all = !(0..calls.len()).filter_map(theirs).any(|id| is_other(&id));
    for (rank, id) in (0..calls.len()).filter_map(|rank| theirs(rank).map(|id| (rank, id))) {
        if all || is_other(&id) {
            others.push(format!("rank {rank} {call} {}", id.describe()));
        }
    }
    let own = mine.map(|id| format!("{this} {}, but ", id.describe())).unwrap_or_default();
    let others = if others.is_empty() { "another rank called something else".to_owned() } else { others.join(", ") };
    let when = if earlier { " in an earlier operation" } else { "" };
    format!("the ranks disagree{when}: {own}{others}; all ranks must make the same collective call")
}

/// Says who has left an operation, or which ranks did what in the step about which they disagree, to a rank that has done
/// all steps up to `before`, and comes with `id` if that is an operation with steps.
#[cold]
pub(super) fn disagreement(comm: &Comm, cells: &Cells<'_>, before: u64, id: Option<Identity>) -> Error {
    let step = cells.head()[head::BROKEN].load(Ordering::Acquire);
    if let Some(left) = leaving::told(comm, step) {
        return left;
    }
    let me = comm.rank() as usize;
    let earlier = step <= before;
    let calls = calls(cells, 0..comm.size() as usize, step);
    // A rank that finds the area closed as it comes has said nothing in the step.
    let mine = calls[me].or(id.filter(|_| !earlier).map(|id| Identity::from_note(id.to_note())));
    Error::new(ErrorClass::NotSame, contradictions(me, &calls, mine, earlier))
}
