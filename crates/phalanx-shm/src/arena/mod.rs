//! The shared memory of a family of processes: blocks that are held, counted, and freed with their last holder.
//!
//! A *family* is the first process that needs shared memory and everything it starts. It has one arena: one sealed,
//! sparse, anonymous segment. See README.md beside this file for what happens when processes are killed.

mod fork;
mod layout;
mod members;
mod names;
mod private;

use core::cell::RefCell;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::heap::{Heap, PAGE};
use crate::segment::{self, Segment};
use crate::sleep::SleepWord;
use crate::sync::{AtomicU32, AtomicU64, Ordering};
use crate::{SharedBytes, ShmError};
use layout::{HEAP_AT, Header, MAGIC, MEMBERS_AT, VERSION};
use members::{Care, Entry, Record};

pub use private::PrivateView;

/// How large an arena is.
#[derive(Clone, Copy, Debug)]
pub struct ArenaConfig {
    /// Bytes of address range. Only what is used becomes memory.
    pub bytes: u64,
    /// Bytes of free large blocks that keep their pages for the next user.
    pub cached: u64,
}

impl ArenaConfig {
    /// For this machine: four times its memory, at least 64 GiB, at most half of what the process may map; an eighth of
    /// its memory as cache.
    #[must_use]
    pub fn for_machine() -> ArenaConfig {
        let memory = rustix::system::sysinfo();
        let memory = (memory.totalram as u64).saturating_mul(u64::from(memory.mem_unit).max(1));
        let mut bytes = memory.saturating_mul(4).max(64 << 30);
        for which in [rustix::process::Resource::As, rustix::process::Resource::Fsize] {
            if let Some(limit) = rustix::process::getrlimit(which).current {
                bytes = bytes.min(limit / 2);
            }
        }
        ArenaConfig { bytes: bytes.clamp(16 << 20, 1 << 40) / PAGE * PAGE, cached: memory / 8 }
    }
}

/// What a block is: for processes that open it, and for its end, when what it holds itself is given back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum BlockKind {
    /// Bytes.
    Plain = 0,
    /// A lock or semaphore.
    Lock = 1,
    /// A condition variable.
    Condition = 2,
    /// A queue: releases its chunks and what waits in them.
    Queue = 3,
    /// The task board of a pool.
    Board = 4,
}

impl BlockKind {
    /// Whether such a block may hold other blocks.
    fn holds_others(self) -> bool {
        matches!(self, BlockKind::Condition | BlockKind::Queue)
    }

    fn from_number(number: u32) -> BlockKind {
        match number {
            1 => BlockKind::Lock,
            2 => BlockKind::Condition,
            3 => BlockKind::Queue,
            4 => BlockKind::Board,
            _ => BlockKind::Plain,
        }
    }
}

/// Names a block within its family. Not a hold: opening it fails once the block is freed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Handle(u64);

/// Bits of a handle that say where; the rest say which of the blocks that were there.
const PLACE_BITS: u32 = 34;
const GENERATIONS: u64 = 1 << (64 - PLACE_BITS);

impl Handle {
    fn new(at: u64, generation: u64) -> Handle {
        Handle((at / 64) | ((generation % GENERATIONS) << PLACE_BITS))
    }

    /// Position of the payload.
    fn at(self) -> u64 {
        (self.0 & ((1 << PLACE_BITS) - 1)) * 64
    }

    fn generation(self) -> u64 {
        self.0 >> PLACE_BITS
    }

    /// As one word, never 0.
    #[must_use]
    pub fn to_u64(self) -> u64 {
        self.0
    }

    /// From [`Handle::to_u64`]. Any number may be passed: opening it checks.
    #[must_use]
    pub fn from_u64(word: u64) -> Handle {
        Handle(word)
    }
}

/// One process's mapping of an arena. Stays until the process ends.
#[derive(Debug)]
pub(crate) struct Inner {
    segment: Segment,
    record: Mutex<Record>,
}

impl Inner {
    fn header(&self) -> &Header {
        // SAFETY: the mapping is at least a page and page-aligned, and the header is all atomics.
        unsafe { &*self.segment.base().cast::<Header>() }
    }

    fn heap(&self) -> Heap<'_> {
        Heap { segment: &self.segment, books: &self.header().books, start: HEAP_AT }
    }

    fn record(&self) -> MutexGuard<'_, Record> {
        self.record.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts one more hold on a live block; tells whether it still lives.
    fn count_up(&self, handle: u64) -> bool {
        let handle = Handle(handle);
        if !self.heap().holds(handle.at()) {
            return false;
        }
        let head = self.heap().head(handle.at());
        let mut seen = head.state.load(Ordering::Acquire);
        loop {
            let (generation, holds) = (seen >> 32, seen & 0xffff_ffff);
            if holds == 0 || holds == 0xffff_ffff || generation % GENERATIONS != handle.generation() {
                return false;
            }
            // After the state: where a block was, somebody may have written since.
            if self.heap().block(handle.at()).is_none() {
                return false;
            }
            // SYNC POINT arena-hold: Acquire, pairs with the Release of the previous holders' changes.
            match head.state.compare_exchange_weak(seen, seen + 1, Ordering::Acquire, Ordering::Relaxed) {
                Ok(_) => return true,
                Err(now) => seen = now,
            }
        }
    }

    /// Gives one hold back; the last one frees the block and what it holds itself.
    fn count_down(&'static self, handle: u64) {
        let handle = Handle(handle);
        let Some(head) = self.heap().block(handle.at()) else {
            return;
        };
        let mut seen = head.state.load(Ordering::Relaxed);
        loop {
            let (generation, holds) = (seen >> 32, seen & 0xffff_ffff);
            if holds == 0 || generation % GENERATIONS != handle.generation() {
                return; // Somebody wrote over the head: better a lost block than one in use.
            }
            let last = holds == 1;
            let next = if last { ((generation + 1) & 0xffff_ffff) << 32 } else { seen - 1 };
            // SYNC POINT arena-hold: Release, so that whoever frees or reuses the block sees the end of every use;
            // Acquire for that one.
            match head.state.compare_exchange_weak(seen, next, Ordering::AcqRel, Ordering::Relaxed) {
                Ok(_) if last => break,
                Ok(_) => return,
                Err(now) => seen = now,
            }
        }
        self.free(handle);
    }

    /// Frees a block that nobody holds any more, and what it holds itself.
    fn free(&'static self, handle: Handle) {
        if BlockKind::from_number(self.heap().head(handle.at()).kind.load(Ordering::Relaxed)).holds_others() {
            one_after_the_other(self, handle);
        } else {
            self.give(handle);
        }
    }

    fn give(&self, handle: Handle) {
        self.heap().end(handle.at());
    }
}

thread_local! {
    /// Blocks that this thread is to free, while it frees one: a queue may hold a queue that holds a queue.
    static TO_FREE: RefCell<Option<Vec<(&'static Inner, Handle)>>> = const { RefCell::new(None) };
}

/// Frees a block that may hold others, now or when this thread has freed the one that it is at.
fn one_after_the_other(inner: &'static Inner, handle: Handle) {
    let later = TO_FREE.try_with(|list| match &mut *list.borrow_mut() {
        Some(list) => {
            list.push((inner, handle));
            true
        }
        list => {
            *list = Some(Vec::new());
            false
        }
    });
    // At the end of a thread there is no list any more; the blocks are then freed from within each other.
    if later == Ok(true) {
        return;
    }
    let mut next = Some((inner, handle));
    while let Some((inner, handle)) = next {
        release_contents(Arena(inner), handle);
        inner.give(handle);
        next = TO_FREE.try_with(|list| list.borrow_mut().as_mut().and_then(Vec::pop)).ok().flatten();
    }
    let _ = TO_FREE.try_with(|list| list.take());
}

/// Gives back what a block that nobody holds any more holds itself.
fn release_contents(arena: Arena, handle: Handle) {
    let head = arena.0.heap().head(handle.at());
    let len = head.len.load(Ordering::Relaxed);
    match BlockKind::from_number(head.kind.load(Ordering::Relaxed)) {
        BlockKind::Plain | BlockKind::Lock | BlockKind::Board => {}
        BlockKind::Condition => {
            let next = crate::condition::NEXT_AT as u64;
            if next + 8 <= len {
                let at = (handle.at() + next) as usize;
                // SAFETY: inside the block, which lies in the mapping, aligned, and nobody's any more.
                let next = unsafe { &*arena.0.segment.base().add(at).cast::<AtomicU64>() };
                crate::condition::dismantle(arena, next.load(Ordering::Acquire));
            }
        }
        BlockKind::Queue => {
            let start = arena.0.segment.base().wrapping_add(handle.at() as usize);
            crate::queue::dismantle(arena, start, len);
        }
    }
}

/// The shared memory of a family, as mapped by this process. Copies are the same arena.
///
/// ```
/// use phalanx_shm::{Arena, ArenaConfig, BlockKind};
///
/// let arena = Arena::create(ArenaConfig { bytes: 64 << 20, cached: 1 << 20 })?;
/// let block = arena.alloc_zeroed(1000, BlockKind::Plain)?;
/// block.bytes().write(0, b"hello")?;
/// // The handle is what other processes of the family are told.
/// let handle = block.handle();
/// let again = arena.open(handle)?;
/// drop(block);
/// let mut seen = [0; 5];
/// again.bytes().read(0, &mut seen)?;
/// assert_eq!(&seen, b"hello");
/// // The last hold frees the block.
/// drop(again);
/// assert!(arena.open(handle).is_err());
/// # Ok::<(), phalanx_shm::ShmError>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Arena(&'static Inner);

impl PartialEq for Arena {
    fn eq(&self, other: &Arena) -> bool {
        core::ptr::eq(self.0, other.0)
    }
}

impl Eq for Arena {}

impl Arena {
    /// A new arena, with this process as its first member.
    ///
    /// # Errors
    ///
    /// [`ShmError::System`], [`ShmError::Limit`] or [`ShmError::OutOfMemory`] when the segment cannot be made.
    pub fn create(config: ArenaConfig) -> Result<Arena, ShmError> {
        let bytes = usize::try_from(config.bytes).unwrap_or(usize::MAX) / PAGE as usize * PAGE as usize;
        let segment = Segment::create(bytes.max((HEAP_AT + (1 << 20)) as usize))?;
        segment.commit(0, HEAP_AT, "the member table of an arena")?;
        segment.keep_from_dumps();
        let id = segment::random()?;
        let inner = Inner { segment, record: Mutex::default() };
        inner.header().id.store(id, Ordering::Relaxed);
        let arena = fork::keep(inner);
        let header = arena.header();
        arena.heap().open(config.cached, id);
        header.version.store(VERSION, Ordering::Relaxed);
        header.magic.store(MAGIC, Ordering::Release);
        Ok(Arena(arena))
    }

    /// Maps an arena that another process of the family made. One that is mapped already is found again.
    ///
    /// # Errors
    ///
    /// [`ShmError::NotAUniverse`] when the descriptor is something else; as [`Arena::create`].
    pub fn attach(fd: OwnedFd) -> Result<Arena, ShmError> {
        let segment = Segment::attach(fd)?;
        let foreign = |reason: &str| ShmError::NotAUniverse { reason: reason.to_owned() };
        if segment.len() < HEAP_AT as usize {
            return Err(foreign("it is too small for an arena"));
        }
        segment.keep_from_dumps();
        let inner = Inner { segment, record: Mutex::default() };
        let header = inner.header();
        if header.magic.load(Ordering::Acquire) != MAGIC {
            return Err(foreign("it is not an arena"));
        }
        if header.version.load(Ordering::Relaxed) != VERSION {
            return Err(foreign("it was made by another version of Phalanx"));
        }
        Ok(Arena(fork::keep(inner)))
    }

    /// The arena with that number, if this process has mapped it.
    #[must_use]
    pub fn find(id: u64) -> Option<Arena> {
        fork::kept().into_iter().map(Arena).find(|arena| arena.id() == id)
    }

    /// The segment's descriptor, close-on-exec. Passing it to another process makes that one part of the family.
    #[must_use]
    pub fn fd(&self) -> BorrowedFd<'static> {
        self.0.segment.fd()
    }

    /// A random number that tells this arena from others.
    #[must_use]
    pub fn id(&self) -> u64 {
        self.0.header().id.load(Ordering::Relaxed)
    }

    /// Takes a block of `bytes` bytes, 64-byte aligned, page-aligned from 64 KiB on. Its contents are undefined.
    ///
    /// # Errors
    ///
    /// [`ShmError::HeapFull`] or [`ShmError::OutOfMemory`].
    pub fn alloc(&self, bytes: usize, kind: BlockKind) -> Result<Block, ShmError> {
        self.take(bytes, kind).map(|(block, _)| block)
    }

    /// [`Arena::alloc`] with all bytes zero.
    ///
    /// # Errors
    ///
    /// As [`Arena::alloc`].
    pub fn alloc_zeroed(&self, bytes: usize, kind: BlockKind) -> Result<Block, ShmError> {
        let (block, fresh) = self.take(bytes, kind)?;
        if !fresh {
            // SAFETY: this process has just become the block's only holder.
            unsafe { block.as_ptr().write_bytes(0, block.len()) };
        }
        Ok(block)
    }

    fn take(&self, bytes: usize, kind: BlockKind) -> Result<(Block, bool), ShmError> {
        let inner = self.0;
        // Before the arena grows by a large block, what ended processes still hold is given back.
        let (at, fresh) = inner.heap().take(bytes as u64, |short| {
            if short {
                inner.record().trim(inner);
            }
            members::sweep(inner, |_| true, if short { Care::Thorough } else { Care::Quick }) > 0
        })?;
        let generation = inner.heap().begin(at, bytes as u64);
        let head = inner.heap().head(at);
        head.kind.store(kind as u32, Ordering::Relaxed);
        let mut record = inner.record();
        head.state.store(generation << 32 | 1, Ordering::Release);
        let handle = Handle::new(at, generation);
        let mut refused = None;
        let entry = record.note_or_tell(inner, handle.to_u64(), &mut refused);
        drop(record);
        let block = Block(Arc::new(Hold { arena: *self, handle, len: bytes, kind, entry }));
        // No memory for the note: better none for the block than one that would be lost if this process were killed.
        refused.map_or(Ok((block, fresh)), Err)
    }

    /// One more hold on a live block.
    ///
    /// # Errors
    ///
    /// [`ShmError::Freed`] when its last holder has let go of it.
    pub fn open(&self, handle: Handle) -> Result<Block, ShmError> {
        let mut record = self.0.record();
        if !self.0.count_up(handle.to_u64()) {
            return Err(ShmError::Freed { handle: handle.to_u64() });
        }
        let entry = record.note(self.0, handle.to_u64());
        drop(record);
        Ok(self.held(handle, entry))
    }

    /// Takes over the hold that a message carried: see [`Block::into_transit`]. To be done once per such hold.
    ///
    /// # Errors
    ///
    /// [`ShmError::Freed`] for a handle that names no live block.
    pub fn adopt(&self, handle: Handle) -> Result<Block, ShmError> {
        let live = self.0.heap().holds(handle.at()) && {
            let state = self.0.heap().head(handle.at()).state.load(Ordering::Acquire);
            let named = state & 0xffff_ffff != 0 && (state >> 32) % GENERATIONS == handle.generation();
            named && self.0.heap().block(handle.at()).is_some()
        };
        if !live {
            return Err(ShmError::Freed { handle: handle.to_u64() });
        }
        let entry = self.0.record().note(self.0, handle.to_u64());
        Ok(self.held(handle, entry))
    }

    /// Gives back the hold that a message carried, unread.
    pub fn discard(&self, handle: Handle) {
        self.0.count_down(handle.to_u64());
    }

    fn held(&self, handle: Handle, entry: Entry) -> Block {
        let head = self.0.heap().head(handle.at());
        let room = (self.0.segment.len() as u64).saturating_sub(handle.at());
        let len = head.len.load(Ordering::Relaxed).min(room) as usize;
        let kind = BlockKind::from_number(head.kind.load(Ordering::Relaxed));
        Block(Arc::new(Hold { arena: *self, handle, len, kind, entry }))
    }

    /// Where a block is whose hold is not this process's but that of something it uses (a queue, for its chunks); `None`
    /// when `len` bytes from there are not all in the arena.
    #[inline]
    pub(crate) fn place(&self, handle: Handle, len: usize) -> Option<core::ptr::NonNull<u8>> {
        let at = handle.at() as usize;
        let inside = at.checked_add(len).is_some_and(|end| end <= self.0.segment.len());
        core::ptr::NonNull::new(self.0.segment.base().wrapping_add(at)).filter(|_| inside)
    }

    /// Gives back what processes held that have ended, or have become another program. Returns how many such processes
    /// there were.
    pub fn sweep(&self) -> usize {
        members::sweep(self.0, |_| true, Care::Thorough)
    }

    /// Gives back what the ended process `pid` holds; how many records it had. Nothing happens while it lives.
    pub fn sweep_process(&self, pid: u32) -> usize {
        members::sweep(self.0, |found| found == pid, Care::Quick)
    }

    /// Bytes of all blocks that somebody holds.
    #[must_use]
    pub fn used(&self) -> u64 {
        self.0.header().books.live.load(Ordering::Relaxed)
    }

    /// Bytes of the arena handed out so far, freed blocks included: a bound of the memory it keeps.
    #[must_use]
    pub fn reserved(&self) -> u64 {
        self.0.header().books.frontier.load(Ordering::Relaxed)
    }
}

/// What a [`Block`] shares with its clones.
#[derive(Debug)]
struct Hold {
    arena: Arena,
    handle: Handle,
    len: usize,
    kind: BlockKind,
    entry: Entry,
}

impl Drop for Hold {
    fn drop(&mut self) {
        let inner = self.arena.0;
        let there = inner.record().strike(inner, self.entry, self.handle.to_u64());
        if there {
            inner.count_down(self.handle.to_u64());
        }
    }
}

/// A hold on a block: the block exists while this does. Clones share the hold; the last of them gives it back.
#[derive(Clone, Debug)]
pub struct Block(Arc<Hold>);

impl Block {
    /// The block's name in its family.
    #[must_use]
    pub fn handle(&self) -> Handle {
        self.0.handle
    }

    /// The arena it lies in.
    #[must_use]
    pub fn arena(&self) -> Arena {
        self.0.arena
    }

    /// Bytes asked for when it was taken.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len
    }

    /// Whether it has no bytes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.len == 0
    }

    /// What it was taken for.
    #[must_use]
    pub fn kind(&self) -> BlockKind {
        self.0.kind
    }

    /// Its first byte, valid while this hold lives. Other processes may access the same bytes.
    #[must_use]
    pub fn as_ptr(&self) -> *mut u8 {
        self.arena().0.segment.base().wrapping_add(self.0.handle.at() as usize)
    }

    /// All of its bytes, for copies in and out.
    #[must_use]
    pub fn bytes(&self) -> SharedBytes<'_> {
        // SAFETY: inside the mapping, and the block is held while the result is used.
        unsafe { SharedBytes::new(self.as_ptr(), self.0.len) }
    }

    /// The 32-bit word at byte `at`.
    ///
    /// # Panics
    ///
    /// When it is misaligned or outside the block: a mistake in this program, never a matter of input.
    #[must_use]
    pub fn word32(&self, at: usize) -> &AtomicU32 {
        assert!(at.is_multiple_of(4) && at + 4 <= self.0.len, "word at {at} of a block of {} bytes", self.0.len);
        // SAFETY: inside the block, aligned, held while borrowed; atomics accept every bit pattern.
        unsafe { &*self.as_ptr().add(at).cast::<AtomicU32>() }
    }

    /// The word to sleep on at byte `at`, eight bytes.
    ///
    /// # Panics
    ///
    /// As [`Block::word32`].
    #[must_use]
    pub fn sleep_word(&self, at: usize) -> &SleepWord {
        let (first, _second) = (self.word32(at), self.word32(at + 4));
        // SAFETY: two 32-bit atomics in the block by the checks of both, one after the other, borrowed from it.
        SleepWord::over(unsafe { &*core::ptr::from_ref(first).cast::<[AtomicU32; 2]>() })
    }

    /// The 64-bit word at byte `at`.
    ///
    /// # Panics
    ///
    /// As [`Block::word32`].
    #[must_use]
    pub fn word64(&self, at: usize) -> &AtomicU64 {
        &self.words(at, 1)[0]
    }

    /// `n` 64-bit words from byte `at` on.
    ///
    /// # Panics
    ///
    /// As [`Block::word32`].
    #[must_use]
    pub fn words(&self, at: usize, n: usize) -> &[AtomicU64] {
        let end = n.checked_mul(8).and_then(|bytes| at.checked_add(bytes));
        assert!(
            at.is_multiple_of(8) && end.is_some_and(|end| end <= self.0.len),
            "{n} words at {at} of {} bytes",
            self.0.len
        );
        // SAFETY: inside the block, aligned, held while borrowed; atomics accept every bit pattern.
        unsafe { core::slice::from_raw_parts(self.as_ptr().add(at).cast::<AtomicU64>(), n) }
    }

    /// Leaves this hold to a message in shared memory; the process that reads the message [adopts](Arena::adopt) it.
    /// Other clones in this process keep a hold of their own.
    #[must_use]
    pub fn into_transit(self) -> Handle {
        let handle = self.0.handle;
        let inner = self.0.arena.0;
        match Arc::try_unwrap(self.0) {
            Ok(hold) => {
                // The count stays; only the note of it goes, if it was noted: see `Record::duplicate`.
                let _ = inner.record().strike(inner, hold.entry, handle.to_u64());
                std::mem::forget(hold);
            }
            // The clones keep the noted hold: count one for the message.
            Err(shared) => {
                inner.count_up(shared.handle.to_u64());
            }
        }
        handle
    }
}

/// Bytes from the start of an arena to its first block, for tests of the layout.
const _: () = assert!(MEMBERS_AT < HEAP_AT);

#[cfg(test)]
pub(crate) mod tests;
