//! Taking and freeing raw blocks: size classes, lock-free, harmless when killed.
//!
//! The classes are those of the universe's heap. The payload of a block of more than 64 KiB begins on a page, so that it
//! can be mapped by itself, and its head stands at the end of the page before. Such blocks keep their pages when they
//! are freed (the first touch of a page costs more than copying into it), up to a budget of the whole arena.
//!
//! A process killed in here loses the block it was handling, or the rest of one slab, and nothing else.

use core::sync::atomic::Ordering;

use super::layout::{HEAP_AT, Head, Header, PAGE};
use crate::ShmError;
use crate::segment::Segment;
use crate::stack;
use crate::universe::heap::{CLASSES, class_bytes, class_of};

/// Raw blocks above this size have a payload that begins on a page: all payloads of 64 KiB and more.
const PAGED: u64 = 64 << 10;

const HEAD: u64 = size_of::<Head>() as u64;

/// Blocks up to this size, head included, are cut from slabs.
const SMALL: u64 = 16 << 10;
const SLAB: u64 = 64 << 10;

/// Bytes of the payload of a class whose payloads begin on a page.
fn paged(class: usize) -> Option<u64> {
    let size = class_bytes(class);
    (size > PAGED).then(|| size - PAGE)
}

/// Bytes of pages that `len` bytes of payload need.
fn wanted(len: u64) -> u64 {
    len.max(1).next_multiple_of(PAGE)
}

/// The allocator's view of one arena.
#[derive(Clone, Copy)]
pub(crate) struct Heap<'a> {
    pub(crate) segment: &'a Segment,
    pub(crate) header: &'a Header,
}

impl<'a> Heap<'a> {
    /// The head of the block whose payload is at `at`, which must have passed [`Heap::holds`] or come from this heap.
    pub(crate) fn head(&self, at: u64) -> &'a Head {
        debug_assert!(at.is_multiple_of(64) && at >= HEAP_AT + HEAD && at < self.segment.len() as u64);
        // SAFETY: inside the mapping, aligned to 64 bytes, and all of it atomics, which accept every bit pattern.
        unsafe { &*self.segment.base().add((at - HEAD) as usize).cast::<Head>() }
    }

    /// Whether a payload can be at `at`, judging by its position.
    pub(crate) fn holds(&self, at: u64) -> bool {
        let used = HEAP_AT + self.header.frontier.load(Ordering::Acquire);
        at.is_multiple_of(64) && at >= HEAP_AT + HEAD && at < used.min(self.segment.len() as u64)
    }

    /// Takes a block for `len` bytes; gives its payload's position and whether that is zero. `relief` is called before
    /// the heap grows by a large block and when memory runs out, and may have freed something when it says so.
    pub(crate) fn take(&self, len: u64, relief: impl Fn() -> bool) -> Result<(u64, bool), ShmError> {
        let large = len.saturating_add(HEAD) > PAGED;
        let size = len.max(1).checked_add(if large { PAGE } else { HEAD });
        let class = size.and_then(class_of).ok_or_else(|| self.full(len))?;
        match self.find(class, len, || large && relief()) {
            Err(e) if e.is_no_memory() => self.find_after_all(class, len, relief).ok_or(e),
            found => found,
        }
    }

    fn find(&self, class: usize, len: u64, relief: impl Fn() -> bool) -> Result<(u64, bool), ShmError> {
        let found = match self.reuse(class, len)? {
            None if relief() => self.reuse(class, len)?,
            found => found,
        };
        match found {
            Some(at) => Ok((at, false)),
            None => Ok((self.extend(class, len)?, true)),
        }
    }

    /// When memory has run out: what the dead held, the pages of free blocks, and blocks of larger classes.
    #[cold]
    fn find_after_all(&self, class: usize, len: u64, relief: impl Fn() -> bool) -> Option<(u64, bool)> {
        relief();
        self.drop_cached();
        if let Ok(found) = self.find(class, len, || false) {
            return Some(found);
        }
        let larger = (class + 1..CLASSES).find_map(|larger| self.reuse(larger, len).ok().flatten());
        larger.map(|at| (at, false))
    }

    fn pop(&self, class: usize) -> Option<u64> {
        let valid = |number: u64| number.checked_mul(64).is_some_and(|at| self.holds(at));
        let link = |number: u64| &self.head(number * 64).link;
        stack::pop(&self.header.free[class], link, valid).map(|number| number * 64)
    }

    fn reuse(&self, class: usize, len: u64) -> Result<Option<u64>, ShmError> {
        let Some(at) = self.pop(class) else {
            return Ok(None);
        };
        if let Some(payload) = paged(class) {
            let pages = &self.head(at).pages;
            let (have, want) = (pages.load(Ordering::Relaxed), wanted(len).min(payload));
            if have < want {
                if let Err(e) = self.segment.commit(at, want, "a block of shared memory") {
                    self.push(class, at);
                    return Err(e);
                }
                pages.store(want, Ordering::Relaxed);
            }
            self.header.cached.fetch_sub(have, Ordering::Relaxed);
        }
        Ok(Some(at))
    }

    /// Gives back the block at `at`, which nobody holds any more.
    pub(crate) fn give(&self, at: u64) {
        let head = self.head(at);
        let class = head.class.load(Ordering::Relaxed) as usize;
        let Some(free) = self.header.free.get(class) else {
            return; // Somebody wrote over the head: the block is lost.
        };
        if paged(class).is_some() {
            let have = head.pages.load(Ordering::Relaxed);
            let cached = self.header.cached.fetch_add(have, Ordering::Relaxed) + have;
            if cached > self.header.budget.load(Ordering::Relaxed) {
                self.header.cached.fetch_sub(have, Ordering::Relaxed);
                head.pages.store(0, Ordering::Relaxed);
                self.segment.release(at, have);
            }
        }
        stack::push(free, at / 64, |number| &self.head(number * 64).link);
    }

    fn push(&self, class: usize, at: u64) {
        stack::push(&self.header.free[class], at / 64, |number| &self.head(number * 64).link);
    }

    /// Gives the pages of all free large blocks back to the machine.
    #[cold]
    fn drop_cached(&self) {
        for class in (0..CLASSES).filter(|class| paged(*class).is_some()) {
            let mut popped = Vec::new();
            while let Some(at) = self.pop(class) {
                let have = self.head(at).pages.swap(0, Ordering::Relaxed);
                if have > 0 {
                    self.header.cached.fetch_sub(have, Ordering::Relaxed);
                    self.segment.release(at, have);
                }
                popped.push(at);
            }
            popped.into_iter().for_each(|at| self.push(class, at));
        }
    }

    /// A block from beyond everything used so far: the position of its payload.
    fn extend(&self, class: usize, len: u64) -> Result<u64, ShmError> {
        let size = class_bytes(class);
        if let Some(payload) = paged(class) {
            let want = wanted(len).min(payload);
            let at = self.advance(size, PAGE + want)? + PAGE;
            self.head(at).class.store(class as u32, Ordering::Relaxed);
            self.head(at).pages.store(want, Ordering::Relaxed);
            return Ok(at);
        }
        let slab = if size > SMALL { size } else { SLAB };
        let first = self.advance(slab, slab)? + HEAD;
        for n in 0..slab / size {
            let at = first + n * size;
            self.head(at).class.store(class as u32, Ordering::Relaxed);
            if n > 0 {
                self.push(class, at);
            }
        }
        Ok(first)
    }

    /// Moves the frontier over `bytes` after reserving the pages of the first `reserved` of them.
    fn advance(&self, bytes: u64, reserved: u64) -> Result<u64, ShmError> {
        let frontier = &self.header.frontier;
        let capacity = (self.segment.len() as u64).saturating_sub(HEAP_AT);
        let mut used = frontier.load(Ordering::Relaxed);
        loop {
            let end = used.checked_add(bytes).filter(|end| *end <= capacity).ok_or_else(|| self.full(bytes))?;
            let at = HEAP_AT + used;
            self.segment.commit(at, reserved, "shared memory of a family of processes")?;
            // SYNC POINT arena frontier: Release, so that whoever finds a block inside the frontier finds the page of
            // its head reserved; pairs with the Acquire in `holds`.
            match frontier.compare_exchange(used, end, Ordering::Release, Ordering::Relaxed) {
                Ok(_) => return Ok(at),
                // Somebody else got this range, pages and all.
                Err(now) => used = now,
            }
        }
    }

    #[cold]
    fn full(&self, bytes: u64) -> ShmError {
        ShmError::ArenaFull {
            bytes,
            live: self.header.live.load(Ordering::Relaxed),
            capacity: (self.segment.len() as u64).saturating_sub(HEAP_AT),
        }
    }
}
