//! The universe: one segment that every process of a launch maps.

mod audit;
mod directory;
mod guests;
mod layout;
mod slot;

use core::fmt;
use core::ptr::NonNull;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use rustix::process::{Resource, getrlimit};

use crate::ShmError;
use crate::alive::{ProcessTag, namespaces};
use crate::findings::{FINDINGS_WORDS, Findings};
use crate::heap::Heap;
use crate::mem::SharedBytes;
use crate::notes::{NOTES_WORDS, Notes};
use crate::owned::OwnedWords;
use crate::process::cpu_time_of;
use crate::ring::{Control, LINE, RingConsumer, RingProducer, RingRef, max_payload};
use crate::segment::{self, Segment};
use crate::sync::{AtomicU64, Ordering};
use crate::ways::Ways;
use layout::{Header, Layout, MAGIC, PAGE, VERSION};

pub use crate::process::{MAX_SLOTS, ProcId};
pub use guests::common_contexts;
pub use slot::{Deed, Exit, Slot, SlotState, Standing};

/// A position in the segment, the same for every process. Zero means "none".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Offset(u64);

impl Offset {
    /// No position.
    pub const NONE: Offset = Offset(0);

    /// The position as a number, for a message or an environment variable.
    #[inline]
    pub fn get(self) -> u64 {
        self.0
    }

    /// The position another process told. It is checked where it is used.
    #[inline]
    pub fn new(at: u64) -> Offset {
        Offset(at)
    }

    /// Whether there is none.
    #[inline]
    pub fn is_none(self) -> bool {
        self.0 == 0
    }

    /// The position `bytes` further on.
    #[inline]
    #[must_use]
    pub fn plus(self, bytes: usize) -> Offset {
        Offset(self.0.saturating_add(bytes as u64))
    }
}

/// The geometry of a new universe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UniverseConfig {
    /// Process slots, spawned processes included; at most [`MAX_SLOTS`].
    pub slots: u32,
    /// Bytes of each ring's lines; rounded up to a power of two.
    pub ring_bytes: usize,
    /// Address range of the heap in bytes. Pages are reserved when handed out,
    /// so a large range costs nothing by itself.
    pub heap_bytes: usize,
    /// How its processes move memory to each other.
    pub ways: Ways,
}

impl UniverseConfig {
    /// A geometry for a first world of `ranks` processes, with slots to spare
    /// for processes it spawns.
    pub fn for_ranks(ranks: u32) -> UniverseConfig {
        let slots = ranks.saturating_mul(4).max(1024).min(MAX_SLOTS.max(ranks));
        UniverseConfig { slots, ring_bytes: ring_bytes(ranks), heap_bytes: heap_range(), ways: Ways::default() }
    }
}

impl Default for UniverseConfig {
    fn default() -> UniverseConfig {
        UniverseConfig::for_ranks(1)
    }
}

/// Ring size by the number of ranks, so that the rings of an all-to-all among
/// all of them stay a bearable part of memory (256 MiB for 128 ranks).
fn ring_bytes(ranks: u32) -> usize {
    match ranks {
        0..=16 => 64 << 10,
        17..=64 => 32 << 10,
        _ => 16 << 10,
    }
}

/// The machine's memory as the heap's address range, less where an
/// address-space limit is set.
fn heap_range() -> usize {
    let info = rustix::system::sysinfo();
    let memory = (info.totalram as u64).saturating_mul(u64::from(info.mem_unit));
    let range = memory.clamp(1 << 30, 1 << 42);
    let allowed = getrlimit(Resource::As).current.map_or(u64::MAX, |limit| limit / 8);
    let file = getrlimit(Resource::Fsize).current.map_or(u64::MAX, |limit| limit / 2);
    usize::try_from(range.min(allowed).min(file).max(16 << 20)).unwrap_or(1 << 30)
}

struct Inner {
    segment: Arc<Segment>,
    layout: Layout,
    /// As in the header.
    home: u64,
    /// As in the header.
    ways: Ways,
    /// Whether this process is in the namespaces in which the slots' process numbers mean something.
    at_home: bool,
}

/// A mapped universe. Cloning is cheap and shares the mapping.
///
/// ```
/// use phalanx_shm::{SlotState, Universe, UniverseConfig};
///
/// let universe = Universe::create(UniverseConfig::for_ranks(2))?;
/// let first = universe.claim_slots(2)?;
/// // Another process maps it by the descriptor that it has inherited.
/// let other = Universe::attach(universe.fd().try_clone_to_owned()?)?;
/// other.slot(first).claim(other.own_tag()).expect("nobody is in it");
/// other.slot(first).set_state(SlotState::Running);
/// assert_eq!(universe.slot(first).standing().state, SlotState::Running);
/// assert_eq!(universe.process(first).map(|process| process.pid()), Some(std::process::id()));
///
/// let block = universe.alloc(100)?;
/// universe.bytes(block, 100)?.write(0, b"shared")?;
/// let mut seen = [0; 6];
/// other.bytes(block, 100)?.read(0, &mut seen)?;
/// assert_eq!(&seen, b"shared");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Universe(Arc<Inner>);

impl fmt::Debug for Universe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Universe")
            .field("layout", &self.0.layout)
            .field("slots_used", &self.claimed())
            .finish_non_exhaustive()
    }
}

impl Universe {
    /// Creates a universe. Its descriptor is close-on-exec.
    ///
    /// # Errors
    ///
    /// [`ShmError::SlotCount`], [`ShmError::Limit`], [`ShmError::OutOfMemory`], or
    /// [`ShmError::System`] when the kernel has no memfd.
    pub fn create(config: UniverseConfig) -> Result<Universe, ShmError> {
        let layout = Layout::new(config.slots, config.ring_bytes as u64, config.heap_bytes as u64)?;
        let total = usize::try_from(layout.total).map_err(|_| ShmError::Limit {
            limit: "address space",
            allowed: usize::MAX as u64,
            bytes: layout.total,
        })?;
        let (segment, seed) = (Segment::create(total)?, segment::random()?);
        segment.commit(0, layout.slots_at, "the universe's header")?;
        let home = namespaces().unwrap_or(0);
        let (at_home, ways) = (home != 0, config.ways);
        let inner = Inner { segment: Arc::new(segment), layout, home, ways, at_home };
        let universe = Universe(Arc::new(inner));
        let header = universe.header();
        header.home.store(home, Ordering::Relaxed);
        header.ways.store(config.ways.to_word(), Ordering::Relaxed);
        header.version.store(VERSION, Ordering::Relaxed);
        header.capacity.store(layout.capacity, Ordering::Relaxed);
        header.ring_bytes.store(layout.ring_bytes, Ordering::Relaxed);
        header.total.store(layout.total, Ordering::Relaxed);
        // The first touch of a page costs more than copying into it: what is freed keeps its pages, up to a share.
        universe.heap().open(layout.heap_len() / 8, seed);
        // Contexts 0 to 7 are reserved, 8 is the first world's.
        header.next_context.store(FIRST_CONTEXT + CONTEXT_STEP, Ordering::Relaxed);
        header.magic.store(MAGIC, Ordering::Release);
        Ok(universe)
    }

    /// Maps the universe behind an inherited or received descriptor.
    ///
    /// # Errors
    ///
    /// [`ShmError::NotAUniverse`] when it is something else or of another
    /// version; [`ShmError::Limit`] or [`ShmError::OutOfMemory`] when it cannot
    /// be mapped.
    pub fn attach(fd: OwnedFd) -> Result<Universe, ShmError> {
        let segment = Segment::attach(fd)?;
        if segment.len() < size_of::<Header>() {
            return Err(ShmError::NotAUniverse { reason: "it is smaller than a header".into() });
        }
        // SAFETY: the mapping is page-aligned, large enough, and Header is all
        // atomics, for which every bit pattern is valid.
        let header = unsafe { &*segment.base().cast::<Header>() };
        let layout = Layout::from_header(header, segment.len() as u64)?;
        let home = header.home.load(Ordering::Relaxed);
        let at_home = home != 0 && namespaces() == Some(home);
        let ways = Ways::from_word(header.ways.load(Ordering::Relaxed));
        Ok(Universe(Arc::new(Inner { segment: Arc::new(segment), layout, home, ways, at_home })))
    }

    /// The segment's descriptor, to be inherited or passed.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.0.segment.fd()
    }

    /// How the processes of this universe move memory to each other: the same for all of them.
    #[inline]
    pub fn ways(&self) -> Ways {
        self.0.ways
    }

    /// Process slots of the universe.
    #[inline]
    pub fn capacity(&self) -> u32 {
        self.0.layout.capacity
    }

    /// The largest payload of one record in any ring of this universe, in bytes.
    #[inline]
    pub fn max_payload(&self) -> usize {
        max_payload(self.0.layout.ring_bytes as usize / LINE)
    }

    /// Slots claimed so far: the ids below this exist.
    #[inline]
    pub fn claimed(&self) -> u32 {
        self.header().slots_used.load(Ordering::Acquire).min(self.capacity())
    }

    /// Claims `n` slots in a row; returns the first.
    ///
    /// # Errors
    ///
    /// [`ShmError::SlotsUsedUp`], or [`ShmError::OutOfMemory`] when their pages
    /// cannot be reserved.
    pub fn claim_slots(&self, n: u32) -> Result<ProcId, ShmError> {
        let layout = &self.0.layout;
        let used = &self.header().slots_used;
        let mut first = used.load(Ordering::Acquire);
        loop {
            let end = first.checked_add(n).filter(|end| *end <= layout.capacity);
            let Some(end) = end else {
                return Err(ShmError::SlotsUsedUp {
                    requested: n,
                    free: layout.capacity.saturating_sub(first),
                    capacity: layout.capacity,
                });
            };
            if n > 0 {
                let slot = size_of::<Slot>() as u64;
                let at = layout.slots_at + u64::from(first) * slot;
                self.0.segment.commit(at, u64::from(n) * slot, "process slots")?;
                let (at, row) = layout.pair_row(first);
                self.0.segment.commit(at, u64::from(n) * row, "the table of rings")?;
            }
            // Release: a process that sees the new count may touch the slots' pages.
            match used.compare_exchange(first, end, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => return Ok(ProcId(first)),
                Err(now) => first = now,
            }
        }
    }

    /// Draws `n` context ids (each with three more behind it for internal use):
    /// the first; the others follow in steps of 4.
    pub fn next_contexts(&self, n: u32) -> u32 {
        self.header().next_context.fetch_add(n.saturating_mul(CONTEXT_STEP), Ordering::Relaxed)
    }

    /// The slot of process `p`.
    ///
    /// # Panics
    ///
    /// When `p` is outside the universe's capacity: ids come from
    /// [`Universe::claim_slots`] or have been checked with [`Universe::has`].
    #[inline]
    pub fn slot(&self, p: ProcId) -> &Slot {
        assert!(p.0 < self.capacity(), "process slot {p} does not exist");
        // SAFETY: inside the slot table by the check; the layout was validated
        // against the segment's length; Slot is all atomics.
        unsafe { &*self.slot_ptr(p).as_ptr() }
    }

    /// The tag by which the calling process is known in this universe.
    pub fn own_tag(&self) -> ProcessTag {
        ProcessTag::me().marked(!self.0.at_home)
    }

    /// The process in slot `p`; `None` while there is none. A [foreign](ProcessTag::is_foreign) one, whose number means
    /// nothing here, when either of the two is outside the namespaces of the universe.
    ///
    /// # Panics
    ///
    /// As [`Universe::slot`].
    pub fn process(&self, p: ProcId) -> Option<ProcessTag> {
        let tag = self.slot(p).process()?;
        Some(tag.marked(tag.is_foreign() || !self.0.at_home))
    }

    /// The CPU time that the universe's living processes have used: one system call for each.
    pub fn cpu_time(&self) -> Duration {
        let processes = (0..self.claimed()).filter_map(|p| self.process(ProcId(p)));
        processes.filter(|tag| !tag.is_foreign()).filter_map(|tag| cpu_time_of(tag.pid())).sum()
    }

    /// Whether slot `p` has been claimed.
    #[inline]
    pub fn has(&self, p: ProcId) -> bool {
        p.0 < self.claimed()
    }

    /// The notes that process `p` has left; `None` while there are none.
    pub fn notes(&self, p: ProcId) -> Option<Notes<'_>> {
        if !self.has(p) {
            return None;
        }
        self.words_left(&self.slot(p).notes, NOTES_WORDS).map(Notes::over)
    }

    /// The notes of process `p`, which is the caller's; made at the first call. They stay as long as the segment.
    ///
    /// # Errors
    ///
    /// What [`Universe::alloc`] gives.
    pub fn make_notes(&self, p: ProcId) -> Result<(), ShmError> {
        if self.notes(p).is_none() { self.leave_words(&self.slot(p).notes, NOTES_WORDS) } else { Ok(()) }
    }

    /// What process `p` has found in its program; `None` while there is nothing.
    pub fn findings(&self, p: ProcId) -> Option<Findings<'_>> {
        if !self.has(p) {
            return None;
        }
        self.words_left(&self.slot(p).findings, FINDINGS_WORDS).map(Findings::over)
    }

    /// Makes room for the findings of process `p`, which is the caller's. It stays as long as the segment.
    ///
    /// # Errors
    ///
    /// What [`Universe::alloc`] gives.
    pub fn make_findings(&self, p: ProcId) -> Result<(), ShmError> {
        if self.findings(p).is_none() { self.leave_words(&self.slot(p).findings, FINDINGS_WORDS) } else { Ok(()) }
    }

    /// The words that a process has left for others, in the block that `at` leads to; `None` while there is none.
    fn words_left(&self, at: &AtomicU64, words: usize) -> Option<&[AtomicU64]> {
        // SYNC POINT words-left: Acquire, the block is all zero at first.
        match at.load(Ordering::Acquire) {
            0 => None,
            block => self.words(Offset(block), words).ok(),
        }
    }

    /// Makes such a block, of zeros.
    fn leave_words(&self, at: &AtomicU64, words: usize) -> Result<(), ShmError> {
        let block = self.alloc_zeroed(words * 8)?;
        // SYNC POINT words-left: Release, for `words_left`. Another thread of the process may have been first.
        if at.compare_exchange(0, block.0, Ordering::AcqRel, Ordering::Relaxed).is_err() {
            self.free(block);
        }
        Ok(())
    }

    /// Says that a launcher looks at the notes of this universe, so that its processes need not.
    pub fn watch(&self) {
        self.header().watchers.fetch_add(1, Ordering::Relaxed);
    }

    /// Whether a launcher looks at the notes.
    pub fn is_watched(&self) -> bool {
        self.header().watchers.load(Ordering::Relaxed) != 0
    }

    fn slot_ptr(&self, p: ProcId) -> NonNull<Slot> {
        let at = self.0.layout.slots_at as usize + p.0 as usize * size_of::<Slot>();
        // SAFETY: callers pass slots within the capacity; the mapping has no
        // null page.
        unsafe { NonNull::new_unchecked(self.0.segment.base().add(at).cast()) }
    }

    /// Takes `bytes` of shared memory: 64-byte aligned, page-aligned from 64 KiB
    /// on, pages reserved. The contents are unspecified.
    ///
    /// # Errors
    ///
    /// [`ShmError::OutOfMemory`] when the machine or a limit refuses,
    /// [`ShmError::HeapFull`] when the address range is used up.
    pub fn alloc(&self, bytes: usize) -> Result<Offset, ShmError> {
        Ok(Offset(self.heap().take_owned(bytes as u64)?.0))
    }

    /// Like [`Universe::alloc`], for memory whose users touch what they need of it: pages of a large block may come at the
    /// first touch, near the CPU that touches them. That is so where the machine has more memory than all that was
    /// promised so; else the pages are reserved.
    ///
    /// # Errors
    ///
    /// As [`Universe::alloc`].
    pub fn alloc_untouched(&self, bytes: usize) -> Result<Offset, ShmError> {
        Ok(Offset(self.heap().take_promised(bytes as u64)?.0))
    }

    /// Like [`Universe::alloc`], with all bytes zero.
    ///
    /// # Errors
    ///
    /// As [`Universe::alloc`].
    pub fn alloc_zeroed(&self, bytes: usize) -> Result<Offset, ShmError> {
        let (at, fresh) = self.heap().take_owned(bytes as u64)?;
        let at = Offset(at);
        if !fresh {
            let range = self.bytes(at, bytes)?;
            // SAFETY: the block is ours alone until we tell its position.
            unsafe { range.as_mem() }.fill(0);
        }
        Ok(at)
    }

    /// Gives back a block. Nobody may use it any more. Positions of no block, or
    /// of one that has been given back, are ignored; tells whether there was one.
    pub fn free(&self, at: Offset) -> bool {
        self.heap().give_owned(at.0)
    }

    /// Bytes of the shared memory's address range, used or not.
    pub fn heap_len(&self) -> u64 {
        self.0.layout.heap_len()
    }

    /// Bytes that the ring from one process to another takes, with its head.
    pub fn ring_footprint(&self) -> usize {
        self.0.layout.ring_footprint()
    }

    /// Bytes of all blocks that are in use.
    pub fn live(&self) -> u64 {
        self.header().books.live.load(Ordering::Relaxed)
    }

    /// Bytes of the heap ever handed out, freed blocks included.
    pub fn heap_used(&self) -> u64 {
        self.header().books.frontier.load(Ordering::Relaxed).min(self.0.layout.heap_len())
    }

    /// `len` bytes at `at`, for copies in and out.
    ///
    /// # Errors
    ///
    /// [`ShmError::BadRange`] unless the range is inside memory handed out.
    #[inline]
    pub fn bytes(&self, at: Offset, len: usize) -> Result<SharedBytes<'_>, ShmError> {
        let ptr = self.checked(at, len, 1)?;
        // SAFETY: inside the mapping, which `self` keeps.
        Ok(unsafe { SharedBytes::new(ptr, len) })
    }

    /// `n` shared words at `at` (8-byte aligned): counters and flags.
    ///
    /// # Errors
    ///
    /// [`ShmError::BadRange`] unless the range is inside memory handed out and
    /// aligned.
    #[inline]
    pub fn words(&self, at: Offset, n: usize) -> Result<&[AtomicU64], ShmError> {
        let len = n.saturating_mul(8);
        let ptr = self.checked(at, len, 8)?;
        // SAFETY: inside the mapping, aligned, and atomics accept every bit
        // pattern. Users of a block agree on which parts of it are words.
        Ok(unsafe { core::slice::from_raw_parts(ptr.cast::<AtomicU64>(), n) })
    }

    /// Room for `n` locks that know their owner, at `at` (16-byte aligned).
    ///
    /// # Errors
    ///
    /// As [`Universe::words`].
    #[inline]
    pub fn owned_words(&self, at: Offset, n: usize) -> Result<&[OwnedWords], ShmError> {
        let ptr = self.checked(at, n.saturating_mul(size_of::<OwnedWords>()), 16)?;
        // SAFETY: as in `words`.
        Ok(unsafe { core::slice::from_raw_parts(ptr.cast::<OwnedWords>(), n) })
    }

    /// The position of `len` bytes at an address of this process, when all of them lie in the heap.
    pub fn position_of(&self, address: usize, len: usize) -> Option<Offset> {
        let at = Offset(address.checked_sub(self.0.segment.base().addr())? as u64);
        self.checked(at, len, 1).ok().map(|_| at)
    }

    #[inline]
    fn checked(&self, at: Offset, len: usize, align: u64) -> Result<*mut u8, ShmError> {
        let layout = &self.0.layout;
        let used = self.header().books.frontier.load(Ordering::Acquire).min(layout.heap_len());
        let end = at.0.checked_add(len as u64);
        if at.0 < layout.heap_at || !at.0.is_multiple_of(align) || end.is_none_or(|end| end > layout.heap_at + used) {
            return Err(ShmError::BadRange { offset: at.0, bytes: len as u64 });
        }
        Ok(self.0.segment.base().wrapping_add(at.0 as usize))
    }

    /// The sending end of the ring `from` -> `to`, which is made if there is none.
    ///
    /// # Errors
    ///
    /// [`ShmError::RingTaken`] while another handle exists,
    /// [`ShmError::NoSuchSlot`], or what [`Universe::alloc`] gives.
    pub fn producer(&self, from: ProcId, to: ProcId) -> Result<RingProducer, ShmError> {
        let entry = self.pair(from, to)?;
        // SYNC POINT pair: Acquire, so that the ring behind the entry is seen.
        let mut at = entry.load(Ordering::Acquire);
        if at == 0 {
            // Blocks begin on a line, rings on two.
            let block = self.alloc_zeroed(self.0.layout.ring_footprint() + LINE)?;
            let new = block.0.next_multiple_of(2 * LINE as u64);
            // SYNC POINT pair: Release, so that whoever sees the entry sees an
            // empty ring.
            match entry.compare_exchange(0, new, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => at = new,
                Err(other) => {
                    self.free(block);
                    at = other;
                }
            }
        }
        let ring = self.ring_at(at, from, to)?;
        RingProducer::claim(ring, from.0, to.0).ok_or(ShmError::RingTaken { from: from.0, to: to.0, side: "sending" })
    }

    /// The receiving end of the ring `from` -> `to`; `None` until the sender has
    /// made it.
    ///
    /// # Errors
    ///
    /// [`ShmError::RingTaken`] while another handle exists,
    /// [`ShmError::NoSuchSlot`], or [`ShmError::Corrupt`].
    pub fn consumer(&self, from: ProcId, to: ProcId) -> Result<Option<RingConsumer>, ShmError> {
        // SYNC POINT pair: Acquire, as in `producer`.
        let at = self.pair(from, to)?.load(Ordering::Acquire);
        if at == 0 {
            return Ok(None);
        }
        Self::receiving_end(self.ring_at(at, from, to)?, from, to).map(Some)
    }

    fn receiving_end(ring: RingRef, from: ProcId, to: ProcId) -> Result<RingConsumer, ShmError> {
        let end = RingConsumer::claim(ring, from.0, to.0);
        end.ok_or(ShmError::RingTaken { from: from.0, to: to.0, side: "receiving" })
    }

    /// The pair table's entry: offset of the ring, 0 while there is none.
    fn pair(&self, from: ProcId, to: ProcId) -> Result<&AtomicU64, ShmError> {
        let claimed = self.claimed();
        for p in [from, to] {
            if p.0 >= claimed {
                return Err(ShmError::NoSuchSlot { slot: p.0, claimed });
            }
        }
        let at = self.0.layout.pair_row(to.0).0 as usize + from.0 as usize * 8;
        // SAFETY: inside the pair table, since both are below the capacity;
        // 8-byte aligned.
        Ok(unsafe { &*self.0.segment.base().add(at).cast::<AtomicU64>() })
    }

    fn ring_at(&self, at: u64, from: ProcId, to: ProcId) -> Result<RingRef, ShmError> {
        let layout = &self.0.layout;
        let control = self.checked(Offset(at), layout.ring_footprint(), 128).map_err(|_| ShmError::Corrupt {
            what: format!("the ring from process {from} to process {to} is said to be at {at}"),
        })?;
        let lines = control.wrapping_add(size_of::<Control>());
        // SAFETY: the range was checked to lie in the heap with 128-byte
        // alignment; the ring's block is used through ring handles only.
        unsafe {
            Ok(RingRef::new(
                self.0.segment.clone(),
                NonNull::new_unchecked(control.cast()),
                NonNull::new_unchecked(lines),
                layout.ring_bytes / LINE as u64,
                NonNull::from(self.slot(to).bell()),
                NonNull::from(self.slot(from).sleepers()),
            ))
        }
    }

    /// Where the parts lie.
    #[cfg(all(any(test, fuzzing), not(loom)))]
    pub(crate) fn layout(&self) -> &Layout {
        &self.0.layout
    }

    fn heap(&self) -> Heap<'_> {
        Heap { segment: &self.0.segment, books: &self.header().books, start: self.0.layout.heap_at }
    }

    #[inline]
    fn header(&self) -> &Header {
        // SAFETY: the segment begins with a header (created or checked), all
        // atomics, and stays mapped while `self` lives.
        unsafe { &*self.0.segment.base().cast::<Header>() }
    }
}

/// Context id of the first world.
pub const FIRST_CONTEXT: u32 = 8;

/// Context ids a communicator takes: point-to-point, collective, internal, spare.
pub const CONTEXT_STEP: u32 = 4;

const _: () = assert!(size_of::<Header>() as u64 <= PAGE);
const _: () = assert!(size_of::<Control>().is_multiple_of(128));
const _: () = assert!(size_of::<Slot>().is_multiple_of(128));
