//! Taking and freeing blocks: size classes, lock-free, harmless when killed.
//!
//! The heap is cut into *ranges* of whole pages, each of which is one block or a slab of equal small ones. A range comes
//! from beyond everything used so far, or, when that is used up, from a larger free block, whose end is cut off. What
//! lies free in pieces is put together again by `gather.rs`.
//!
//! The payload of a block of more than 64 KiB begins on a page, so that it
//! can be mapped by itself, and its head stands at the end of the page before. Such blocks keep their pages when they
//! are freed (the first touch of a page costs more than copying into it), up to a budget of the whole heap.
//!
//! A process killed in here loses the block or range it was handling, or the rest of one slab, and nothing else.

use std::time::{Duration, Instant};

use super::classes::{CLASSES, class_bytes, class_of};
use super::layout::{Books, Head, PAGE, PROMISED, seal};
use super::stack;
use crate::segment::Segment;
use crate::sync::{AtomicU64, Ordering, fence};
use crate::{ShmError, limits};

/// Raw blocks above this size have a payload that begins on a page: all payloads of 64 KiB and more.
const PAGED: u64 = 64 << 10;

pub(super) const HEAD: u64 = size_of::<Head>() as u64;

/// Smallest range: what the smallest block with a page of its own takes, so that each range can become one.
pub(super) const RANGE: u64 = 80 << 10;

/// Blocks from this size on fill their slabs, which are whole pages then; those of smaller ones leave some bytes over.
const SMALL: u64 = 16 << 10;

/// How long a request waits for another process that gathers, in all. Its caller may have the interpreter's lock.
const PATIENCE: Duration = Duration::from_secs(1);

/// [`PATIENCE`] of a caller that has locks of this process.
const SHORT_PATIENCE: Duration = Duration::from_millis(50);

/// Bytes of the payload of a class whose payloads begin on a page.
pub(super) fn paged(class: usize) -> Option<u64> {
    let size = class_bytes(class);
    (size > PAGED).then(|| size - PAGE)
}

/// Bytes of pages that `len` bytes of payload need.
fn wanted(len: u64) -> u64 {
    len.max(1).next_multiple_of(PAGE)
}

/// Bytes of the slabs that blocks of a class are cut from.
fn slab(class: usize) -> u64 {
    let size = class_bytes(class);
    if size > SMALL { RANGE.div_ceil(size) * size } else { RANGE }
}

/// The class of a free range: the largest whose blocks fit.
pub(super) fn class_within(range: u64) -> usize {
    match class_of(range) {
        Some(class) if class_bytes(class) == range => class,
        Some(class) => class.saturating_sub(1),
        None => CLASSES - 1,
    }
}

/// What a request asks of the heap.
#[derive(Clone, Copy)]
struct Want {
    /// Bytes of the payload.
    len: u64,
    class: usize,
    /// Bytes of a new range for it.
    range: u64,
    /// Bytes of the smallest range that does.
    least: u64,
    /// Bytes from the start of a new range whose pages are needed.
    reserved: u64,
    /// Whether pages of a block that begins on a page may be promised.
    promise: bool,
}

impl Want {
    fn new(len: u64, promise: bool) -> Option<Want> {
        let large = len.saturating_add(HEAD) > PAGED;
        let class = class_of(len.max(1).checked_add(if large { PAGE } else { HEAD })?)?;
        Some(match paged(class) {
            Some(payload) => {
                let reserved = PAGE + wanted(len).min(payload);
                Want { len, class, range: class_bytes(class), least: reserved.max(RANGE), reserved, promise }
            }
            None => Want { len, class, range: slab(class), least: slab(class), reserved: slab(class), promise: false },
        })
    }

    fn is_large(&self) -> bool {
        paged(self.class).is_some()
    }
}

/// The allocator's view of one segment.
#[derive(Clone, Copy)]
pub(crate) struct Heap<'a> {
    pub(crate) segment: &'a Segment,
    pub(crate) books: &'a Books,
    /// Where the heap begins, on a page; it goes to the end of the segment.
    pub(crate) start: u64,
}

impl<'a> Heap<'a> {
    /// Opens the books of a new heap: bytes of free large blocks that may keep their pages, and a random number.
    pub(crate) fn open(&self, budget: u64, seed: u64) {
        self.books.budget.store(budget, Ordering::Relaxed);
        self.books.seed.store(seed, Ordering::Relaxed);
    }

    /// The head of the block whose payload is at `at`, which must have passed [`Heap::holds`] or come from this heap.
    pub(crate) fn head(&self, at: u64) -> &'a Head {
        debug_assert!(at.is_multiple_of(64) && at >= self.start + HEAD && at < self.segment.len() as u64);
        // SAFETY: inside the mapping, aligned to 64 bytes, and all of it atomics, which accept every bit pattern.
        unsafe { &*self.segment.base().add((at - HEAD) as usize).cast::<Head>() }
    }

    /// Whether a payload can be at `at`, judging by its position.
    pub(crate) fn holds(&self, at: u64) -> bool {
        // SYNC POINT arena-frontier: Acquire, pairs with the Release in `advance`.
        let used = self.books.frontier.load(Ordering::Acquire).min(self.capacity());
        at.is_multiple_of(64) && at >= self.start + HEAD && at < self.start + used
    }

    /// Whether a range, as a head tells of it, lies in the used part of the heap.
    pub(super) fn contains(&self, start: u64, range: u64) -> bool {
        let used = self.books.frontier.load(Ordering::Acquire).min(self.capacity());
        start >= self.start && start.checked_add(range).is_some_and(|end| end <= self.start + used)
    }

    /// Bytes of reserved pages of a block that begins on a page. What a wild process wrote there is no reason to take
    /// pages from others.
    pub(super) fn pages(&self, at: u64, head: &Head) -> u64 {
        let range = head.range.load(Ordering::Relaxed);
        let sound = self.contains(at - PAGE, range);
        let pages = head.pages.load(Ordering::Relaxed) & !PROMISED;
        if sound { pages.min(range.saturating_sub(PAGE)) } else { 0 }
    }

    /// The head of the block whose payload is at `at`, if there is one.
    pub(crate) fn block(&self, at: u64) -> Option<&'a Head> {
        let head = self.holds(at).then(|| self.head(at))?;
        // SYNC POINT arena-seal: Acquire, what was written before the seal is there.
        (head.seal.load(Ordering::Acquire) == seal(at)).then_some(head)
    }

    /// Takes a block for `len` bytes; gives its payload's position and whether that is zero. `relief` is called before
    /// the heap grows by a large block and (with `true`) when memory runs out; it may have freed something when it says so.
    pub(crate) fn take(&self, len: u64, relief: impl Fn(bool) -> bool) -> Result<(u64, bool), ShmError> {
        self.take_within(len, false, relief, PATIENCE)
    }

    /// [`Heap::take`] without relief, and without waiting for others for long: for a caller that has locks.
    pub(crate) fn take_soon(&self, len: u64) -> Result<(u64, bool), ShmError> {
        self.take_within(len, false, |_| false, SHORT_PATIENCE)
    }

    fn take_within(
        &self,
        len: u64,
        promise: bool,
        relief: impl Fn(bool) -> bool,
        patience: Duration,
    ) -> Result<(u64, bool), ShmError> {
        let want =
            Want::new(len, promise).filter(|want| want.least <= self.capacity()).ok_or_else(|| self.full(len))?;
        match self.find(want, || want.is_large() && relief(false)) {
            Err(e) if e.is_no_memory() => self.find_after_all(want, e, relief, patience).map_err(|e| match e {
                ShmError::OutOfMemory { what, source, .. } => ShmError::OutOfMemory { bytes: len, what, source },
                e => e,
            }),
            found => found,
        }
    }

    /// Notes what a block just taken was taken for; its generation.
    pub(crate) fn begin(&self, at: u64, len: u64) -> u64 {
        let head = self.head(at);
        head.len.store(len, Ordering::Relaxed);
        self.books.live.fetch_add(len, Ordering::Relaxed);
        head.state.load(Ordering::Relaxed) >> 32
    }

    /// Gives back a block that nobody has any more, by its state.
    pub(crate) fn end(&self, at: u64) {
        self.books.live.fetch_sub(self.head(at).len.load(Ordering::Relaxed), Ordering::Relaxed);
        self.give(at);
    }

    /// Takes a block that one process frees, or the last of several by a protocol of their own; gives its payload's
    /// position and whether that is zero.
    pub(crate) fn take_owned(&self, len: u64) -> Result<(u64, bool), ShmError> {
        self.own(len, false)
    }

    /// [`Heap::take_owned`] with pages that may be promised: they come when they are first touched.
    pub(crate) fn take_promised(&self, len: u64) -> Result<(u64, bool), ShmError> {
        self.own(len, true)
    }

    fn own(&self, len: u64, promise: bool) -> Result<(u64, bool), ShmError> {
        let (at, fresh) = self.take_within(len, promise, |_| false, PATIENCE)?;
        let generation = self.begin(at, len);
        // Release: whoever learns of the block learns of it later, and by other means.
        self.head(at).state.store(generation << 32 | 1, Ordering::Release);
        Ok((at, fresh))
    }

    /// Frees an owned block. Tells whether there was one: what is no block, or has been freed, stays as it is.
    pub(crate) fn give_owned(&self, at: u64) -> bool {
        let Some(head) = self.block(at) else { return false };
        let seen = head.state.load(Ordering::Relaxed);
        let next = (seen >> 32).wrapping_add(1) << 32;
        // AcqRel: of two that free a block only one gets it, and sees the other's use end.
        let mine = seen & 0xffff_ffff == 1
            && head.state.compare_exchange(seen, next, Ordering::AcqRel, Ordering::Relaxed).is_ok();
        if mine {
            self.end(at);
        }
        mine
    }

    fn find(&self, want: Want, relief: impl Fn() -> bool) -> Result<(u64, bool), ShmError> {
        let found = match self.reuse(want)? {
            None if relief() => self.reuse(want)?,
            found => found,
        };
        match found {
            Some(at) => Ok((at, false)),
            None => {
                let pages = want.reserved - PAGE;
                if want.is_large() && self.promise(want, pages) {
                    let start = self.advance(want.range, PAGE).inspect_err(|_| {
                        self.books.promised.fetch_sub(pages, Ordering::Relaxed);
                    })?;
                    return Ok((self.furnish(start, want.range, want, PROMISED), true));
                }
                let start = self.advance(want.range, want.reserved)?;
                Ok((self.furnish(start, want.range, want, 0), true))
            }
        }
    }

    /// When memory or range has run out: tries larger free blocks, what ended processes held, and what is free in
    /// pieces, put together.
    #[cold]
    fn find_after_all(
        &self,
        want: Want,
        e: ShmError,
        relief: impl Fn(bool) -> bool,
        patience: Duration,
    ) -> Result<(u64, bool), ShmError> {
        let used_up = |e: &ShmError| matches!(e, ShmError::HeapFull { .. });
        if used_up(&e)
            && let Ok(Some(at)) = self.cut(want)
        {
            return Ok((at, false));
        }
        relief(true);
        let mut e = e;
        let deadline = Instant::now() + patience;
        // Blocks of more than a page first: there are few of them.
        for all in [false, true] {
            self.gather(all, used_up(&e), deadline);
            match self.find(want, || false) {
                Err(again) if again.is_no_memory() => e = again,
                found => return found,
            }
            if used_up(&e)
                && let Ok(Some(at)) = self.cut(want)
            {
                return Ok((at, false));
            }
        }
        Err(if used_up(&e) { self.full(want.len) } else { e })
    }

    pub(super) fn pop(&self, class: usize) -> Option<u64> {
        self.pop_from(&self.books.free[class])
    }

    /// Takes a block from a stack of the header.
    pub(crate) fn pop_from(&self, stack: &AtomicU64) -> Option<u64> {
        let valid = |number: u64| number.checked_mul(64).is_some_and(|at| self.holds(at));
        let link = |number: u64| &self.head(number * 64).link;
        stack::pop(stack, link, valid).map(|number| number * 64)
    }

    /// The block on top of a stack, which may be taken by somebody else in the next moment.
    pub(crate) fn top_of(&self, stack: &AtomicU64) -> Option<u64> {
        stack::top(stack)?.checked_mul(64)
    }

    fn reuse(&self, want: Want) -> Result<Option<u64>, ShmError> {
        let Some(at) = self.pop(want.class) else {
            return Ok(None);
        };
        if let Some(payload) = paged(want.class) {
            let pages = &self.head(at).pages;
            let seen = pages.load(Ordering::Relaxed);
            let (have, needed) = (seen & !PROMISED, wanted(want.len).min(payload));
            let promised = if seen & PROMISED == 0 { 0 } else { have };
            // What was promised to one user is no promise to another one, who needs the pages.
            if have < needed || (promised > 0 && !want.promise) {
                let (whole, firm) = (have.max(needed), have - promised);
                if self.promise(want, whole - promised) {
                    pages.store(whole | PROMISED, Ordering::Relaxed);
                } else {
                    if let Err(e) = self.reserve(at + firm, whole - firm, "a block of shared memory") {
                        self.push(want.class, at);
                        return Err(e);
                    }
                    self.books.promised.fetch_sub(promised, Ordering::Relaxed);
                    pages.store(whole, Ordering::Relaxed);
                }
            }
            self.books.cached.fetch_sub(have, Ordering::Relaxed);
        }
        Ok(Some(at))
    }

    /// Gives back the block at `at`, which nobody holds any more.
    pub(crate) fn give(&self, at: u64) {
        let head = self.head(at);
        let class = head.class.load(Ordering::Relaxed) as usize;
        if class >= CLASSES {
            return; // Somebody wrote over the head: the block is lost.
        }
        if paged(class).is_some() {
            let have = self.pages(at, head);
            let cached = self.books.cached.fetch_add(have, Ordering::Relaxed).saturating_add(have);
            if cached > self.books.budget.load(Ordering::Relaxed) {
                self.books.cached.fetch_sub(have, Ordering::Relaxed);
                self.take_back_promise(head, have);
                head.pages.store(0, Ordering::Relaxed);
                self.segment.release(at, have);
            }
        }
        self.push(class, at);
    }

    pub(super) fn push(&self, class: usize, at: u64) {
        self.push_to(&self.books.free[class], at);
    }

    /// Puts a block on a stack of the header.
    pub(crate) fn push_to(&self, stack: &AtomicU64, at: u64) {
        stack::push(stack, at / 64, |number| &self.head(number * 64).link);
    }

    /// Makes a range that nobody else knows into a block, whose pages are reserved or [`PROMISED`], or into a slab whose other
    /// blocks are free. The position of the block's payload.
    fn furnish(&self, start: u64, range: u64, want: Want, promised: u64) -> u64 {
        if want.is_large() {
            self.make_block(start, range, (want.reserved - PAGE) | promised);
            return start + PAGE;
        }
        let (size, first, generation) = (class_bytes(want.class), start + HEAD, self.generation());
        for n in 0..range / size {
            let at = first + n * size;
            let head = self.head(at);
            head.class.store(want.class as u32, Ordering::Relaxed);
            head.pages.store(start, Ordering::Relaxed);
            head.range.store(range, Ordering::Relaxed);
            self.make_head(head, at, generation.wrapping_add(n));
            if n > 0 {
                self.push(want.class, at);
            }
        }
        first
    }

    /// Makes a range that nobody else knows into one block of which `pages` bytes are reserved; it is not free yet.
    pub(super) fn make_block(&self, start: u64, range: u64, pages: u64) {
        let at = start + PAGE;
        let head = self.head(at);
        head.class.store(class_within(range) as u32, Ordering::Relaxed);
        head.pages.store(pages, Ordering::Relaxed);
        head.range.store(range, Ordering::Relaxed);
        self.make_head(head, at, self.generation());
    }

    fn make_head(&self, head: &Head, at: u64, generation: u64) {
        head.state.store((generation & 0xffff_ffff) << 32, Ordering::Relaxed);
        // SYNC POINT arena-seal: Release, the generation is there for whoever finds the seal.
        head.seal.store(seal(at), Ordering::Release);
    }

    /// A generation to begin with: any of them, so that the handle of a block that was here once opens no other.
    fn generation(&self) -> u64 {
        let made = self.books.made.fetch_add(1, Ordering::Relaxed);
        let mixed = (made ^ self.books.seed.load(Ordering::Relaxed)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        (mixed ^ mixed >> 29).wrapping_mul(0x94D0_49BB_1331_11EB) >> 32
    }

    /// A block from the end of a larger free one, or all of one that is not much larger.
    #[cold]
    fn cut(&self, want: Want) -> Result<Option<u64>, ShmError> {
        for class in (class_within(want.least)..CLASSES).filter(|class| paged(*class).is_some()) {
            let Some(at) = self.pop(class) else { continue };
            let head = self.head(at);
            let whole = head.range.load(Ordering::Relaxed);
            let seen = head.pages.load(Ordering::Relaxed);
            let mut pages = (seen & !PROMISED).min(whole);
            if !self.contains(at - PAGE, whole) {
                continue; // Somebody wrote over the head: the block is lost.
            }
            if whole < want.least {
                self.push(class, at);
                continue;
            }
            if seen & PROMISED != 0 {
                // Nobody knows which of them there are.
                self.books.cached.fetch_sub(pages, Ordering::Relaxed);
                self.take_back_promise(head, pages);
                head.pages.store(0, Ordering::Relaxed);
                self.segment.release(at, pages);
                pages = 0;
            }
            let rest = whole.saturating_sub(want.range);
            let rest = if rest < RANGE { 0 } else { rest };
            let left = pages.min(rest.saturating_sub(PAGE));
            self.books.cached.fetch_sub(pages - left, Ordering::Relaxed);
            if rest == 0 {
                self.unmake(head);
            } else {
                head.pages.store(left, Ordering::Relaxed);
                let class = class_within(rest);
                head.class.store(class as u32, Ordering::Relaxed);
                head.range.store(rest, Ordering::Relaxed);
                // Back before the slow part, so that a process that is killed there loses no more than was asked for.
                self.push(class, at);
            }
            let (start, range) = (at - PAGE + rest, whole - rest);
            let reserved = if want.is_large() { want.reserved } else { range };
            // Pages that the new block does not need.
            let (end, kept) = (at + pages, start + reserved);
            if end > kept {
                self.segment.release(kept, end - kept);
            }
            return match self.reserve(start, reserved, "a block of shared memory") {
                Ok(()) => Ok(Some(self.furnish(start, range, want, 0))),
                Err(e) => {
                    self.segment.release(start + PAGE, range - PAGE);
                    // Without a page for its head it is lost.
                    if self.segment.commit(start, PAGE, "a free block").is_ok() {
                        self.make_block(start, range, 0);
                        self.push(class_within(range), start + PAGE);
                    }
                    Err(e)
                }
            };
        }
        Ok(None)
    }

    /// The end of a head whose block is free and in no stack: its bytes may become part of a payload.
    pub(super) fn unmake(&self, head: &Head) {
        head.seal.store(0, Ordering::Relaxed);
        // SYNC POINT arena-seal: Release, before anything else is written here: a process that sees that sees that this
        // is no head.
        fence(Ordering::Release);
    }

    /// Promises `bytes` of pages that come when they are first touched, where the request may be served so and the machine has
    /// that much beside all that was promised before. A page that it did not have then would kill the one who touches it.
    fn promise(&self, want: Want, bytes: u64) -> bool {
        if !want.promise {
            return false;
        }
        let before = self.books.promised.fetch_add(bytes, Ordering::Relaxed);
        let kept = limits::spare(before.saturating_add(bytes));
        if !kept {
            self.books.promised.fetch_sub(bytes, Ordering::Relaxed);
        }
        kept
    }

    /// The end of the promise of a block of which `bytes` have pages, if it has one. The pages are given back, or reserved anew.
    pub(super) fn take_back_promise(&self, head: &Head, bytes: u64) {
        if head.pages.load(Ordering::Relaxed) & PROMISED != 0 {
            self.books.promised.fetch_sub(bytes, Ordering::Relaxed);
        }
    }

    /// Reserves pages, if the machine has them.
    fn reserve(&self, at: u64, len: u64, what: &'static str) -> Result<(), ShmError> {
        limits::check(len, what)?;
        self.segment.commit(at, len, what)
    }

    /// Moves the frontier over `bytes` after reserving the pages of the first `reserved` of them.
    pub(super) fn advance(&self, bytes: u64, reserved: u64) -> Result<u64, ShmError> {
        let frontier = &self.books.frontier;
        let mut used = frontier.load(Ordering::Relaxed);
        loop {
            if !used.is_multiple_of(PAGE) {
                return Err(ShmError::Corrupt { what: format!("the shared memory in use is said to be {used} bytes") });
            }
            let end = used.checked_add(bytes).filter(|end| *end <= self.capacity()).ok_or_else(|| self.full(bytes))?;
            let at = self.start + used;
            self.reserve(at, reserved, "shared memory")?;
            // SYNC POINT arena-frontier: Release, so that whoever finds a block inside the frontier finds the page of
            // its head reserved; pairs with the Acquire in `holds`.
            match frontier.compare_exchange(used, end, Ordering::Release, Ordering::Relaxed) {
                Ok(_) => return Ok(at),
                // Somebody else got this range, pages and all.
                Err(now) => used = now,
            }
        }
    }

    /// Bytes of the heap.
    pub(super) fn capacity(&self) -> u64 {
        (self.segment.len() as u64).saturating_sub(self.start) / PAGE * PAGE
    }

    /// Bytes of the largest range that is free, about.
    fn largest(&self) -> u64 {
        let unused = self.capacity().saturating_sub(self.books.frontier.load(Ordering::Relaxed));
        let free = (0..CLASSES).rev().filter(|class| paged(*class).is_some()).find_map(|class| {
            let at = self.top_of(&self.books.free[class])?;
            Some(self.block(at)?.range.load(Ordering::Relaxed))
        });
        unused.max(free.unwrap_or(0))
    }

    #[cold]
    pub(super) fn full(&self, bytes: u64) -> ShmError {
        ShmError::HeapFull {
            bytes,
            live: self.books.live.load(Ordering::Relaxed),
            capacity: self.capacity(),
            largest: self.largest(),
        }
    }
}
