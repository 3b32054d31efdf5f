//! The segment's allocator: size classes, lock-free, harmless when killed.
//!
//! Blocks come from a frontier that only moves forward, or from the free list
//! of their size class. Classes step by a quarter of a power of two, so a block
//! is at most a quarter larger than asked for. Blocks are not split or merged.
//!
//! There is no lock that a killed process could leave behind. Pages are
//! reserved *before* the frontier moves over them, so failure changes nothing;
//! a process killed between taking a block and telling anyone loses that block
//! (or the rest of one slab) and nothing else.
//!
//! # Free lists
//!
//! Each class has a stack of free blocks. The head is one word: block number
//! (position / 64, 40 bits) and a tag (24 bits) that changes with every update.
//! The first word of a free block holds the next block number.
//!
//! `pop` reads that word of a block which another process may have popped, and
//! be writing to, in the meantime. What it reads is then nonsense, but the tag
//! has changed too and the compare-and-swap fails. (The tag would have to pass
//! through all its 2^24 values between the two instructions to deceive it.)
//! The link is checked against the heap's bounds before it is used.
//!
//! # Large blocks
//!
//! Blocks of a megabyte and more give their pages back to the machine when they
//! are freed, and reserve them again when reused; the address range remains.

use core::sync::atomic::{AtomicU64, Ordering};

use super::layout::{Header, Layout, PAGE};
use crate::ShmError;
use crate::segment::Segment;

/// Smallest block, and the unit of all block sizes, in bytes.
const UNIT: u64 = 64;

/// Size classes: 64, 128, 192, 256, 320, 384, 448, 512, 640, ... up to 2^45 bytes.
pub(crate) const CLASSES: usize = 4 * 38;

/// Blocks up to this size are cut from slabs.
const SMALL: u64 = 16 << 10;

/// What a slab is.
const SLAB: u64 = PAGE;

/// Blocks from this size on give their pages back when freed.
const LARGE: u64 = 1 << 20;

/// Bits of a block number in a list head.
const NUMBER_BITS: u32 = 40;
const NUMBER: u64 = (1 << NUMBER_BITS) - 1;

/// The class of blocks that hold `bytes`, or `None` when that is too much.
pub(crate) fn class_of(bytes: u64) -> Option<usize> {
    let units = bytes.max(1).div_ceil(UNIT);
    if units <= 4 {
        return Some(units as usize - 1);
    }
    // 2^exponent < units <= 2^(exponent + 1), in quarters of 2^exponent.
    let exponent = u64::BITS - 1 - (units - 1).leading_zeros();
    let quarter = 1u64 << (exponent - 2);
    let step = (units - (1 << exponent)).div_ceil(quarter);
    let class = 4 * (exponent as usize - 1) + step as usize - 1;
    (class < CLASSES).then_some(class)
}

/// Bytes of the blocks of a class.
pub(crate) fn class_bytes(class: usize) -> u64 {
    if class < 4 {
        return (class as u64 + 1) * UNIT;
    }
    let exponent = class as u32 / 4 + 1;
    let step = class as u64 % 4 + 1;
    ((1 << exponent) + (step << (exponent - 2))) * UNIT
}

/// The allocator's view of one universe.
pub(crate) struct Heap<'a> {
    pub(crate) segment: &'a Segment,
    pub(crate) header: &'a Header,
    pub(crate) layout: &'a Layout,
}

/// A block just taken.
#[derive(Debug)]
pub(crate) struct Block {
    /// Position in the segment.
    pub(crate) at: u64,
    /// Whether it has never been used: all bytes are zero.
    pub(crate) fresh: bool,
}

impl Heap<'_> {
    /// Takes a block of at least `bytes`, its pages reserved.
    pub(crate) fn alloc(&self, bytes: usize) -> Result<Block, ShmError> {
        let class = class_of(bytes as u64).ok_or_else(|| self.full(bytes as u64))?;
        let size = class_bytes(class);
        if let Some(at) = self.pop(class) {
            if size >= LARGE
                && let Err(e) = self.segment.commit(at, size, "a block of the shared heap")
            {
                self.push(class, at);
                return Err(e);
            }
            return Ok(Block { at, fresh: false });
        }
        if size > SMALL {
            return Ok(Block {
                at: self.extend(size)?,
                fresh: true,
            });
        }
        let slab = self.extend(SLAB)?;
        for i in 1..SLAB / size {
            self.push(class, slab + i * size);
        }
        Ok(Block {
            at: slab,
            fresh: true,
        })
    }

    /// Gives back the block at `at` that was taken for `bytes`.
    pub(crate) fn free(&self, at: u64, bytes: usize) {
        let Some(class) = class_of(bytes as u64) else {
            return;
        };
        let size = class_bytes(class);
        if !self.holds(at, size) {
            return;
        }
        if size >= LARGE {
            let (start, end) = (at.next_multiple_of(PAGE), (at + size) / PAGE * PAGE);
            self.segment.release(start, end - start);
        }
        self.push(class, at);
    }

    /// Whether a block of `size` bytes at `at` lies in the used part of the heap.
    pub(crate) fn holds(&self, at: u64, size: u64) -> bool {
        let used = self
            .header
            .frontier
            .load(Ordering::Acquire)
            .min(self.layout.heap_len());
        at.is_multiple_of(UNIT)
            && at >= self.layout.heap_at
            && at
                .checked_add(size)
                .is_some_and(|end| end <= self.layout.heap_at + used)
    }

    /// Moves the frontier over `bytes` after reserving their pages.
    fn extend(&self, bytes: u64) -> Result<u64, ShmError> {
        let frontier = &self.header.frontier;
        let mut used = frontier.load(Ordering::Relaxed);
        loop {
            let end = used
                .checked_add(bytes)
                .filter(|end| *end <= self.layout.heap_len());
            let end = end.ok_or_else(|| self.full(bytes))?;
            let at = self.layout.heap_at + used;
            self.segment.commit(at, bytes, "the shared heap")?;
            // Release: whoever learns of the block by the frontier alone (a
            // bounds check) also sees that its pages are there; no more is needed.
            match frontier.compare_exchange(used, end, Ordering::Release, Ordering::Relaxed) {
                Ok(_) => return Ok(at),
                // Somebody else got this range, pages and all.
                Err(now) => used = now,
            }
        }
    }

    #[cold]
    fn full(&self, bytes: u64) -> ShmError {
        ShmError::HeapFull {
            bytes,
            used: self.header.frontier.load(Ordering::Relaxed),
            capacity: self.layout.heap_len(),
        }
    }

    /// First word of a free block.
    fn link(&self, at: u64) -> &AtomicU64 {
        // SAFETY: callers pass positions of blocks inside the heap, aligned to
        // 64 bytes. A popped block's owner may write it without atomics while
        // a slow `pop` reads it here; the value is then discarded (see above).
        unsafe { &*self.segment.base().add(at as usize).cast::<AtomicU64>() }
    }

    fn push(&self, class: usize, at: u64) {
        let head = &self.header.free[class];
        let mut seen = head.load(Ordering::Relaxed);
        loop {
            self.link(at).store(seen & NUMBER, Ordering::Relaxed);
            let next = retag(seen, at / UNIT);
            // SYNC POINT heap-list: Release, so that whoever pops the block sees
            // its link, and its former owner's accesses are over.
            match head.compare_exchange_weak(seen, next, Ordering::Release, Ordering::Relaxed) {
                Ok(_) => return,
                Err(now) => seen = now,
            }
        }
    }

    fn pop(&self, class: usize) -> Option<u64> {
        let head = &self.header.free[class];
        let size = class_bytes(class);
        // SYNC POINT heap-list: Acquire, pairs with the Release in `push`.
        let mut seen = head.load(Ordering::Acquire);
        loop {
            let at = (seen & NUMBER) * UNIT;
            // A corrupt head loses its list: new blocks come from the frontier.
            if at == 0 || !self.holds(at, size) {
                return None;
            }
            let next = self.link(at).load(Ordering::Relaxed) & NUMBER;
            let next = retag(seen, next);
            match head.compare_exchange_weak(seen, next, Ordering::Acquire, Ordering::Acquire) {
                Ok(_) => return Some(at),
                Err(now) => seen = now,
            }
        }
    }
}

/// A new list head: another block number, the next tag.
fn retag(seen: u64, number: u64) -> u64 {
    (seen >> NUMBER_BITS).wrapping_add(1) << NUMBER_BITS | number & NUMBER
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_cover_every_size_with_at_most_a_quarter_of_waste() {
        let mut previous = 0;
        for class in 0..CLASSES {
            let size = class_bytes(class);
            assert!(size > previous);
            assert_eq!(class_of(size), Some(class), "class {class} of {size} bytes");
            assert_eq!(
                class_of(previous + 1),
                Some(class),
                "just above {previous} bytes"
            );
            if previous >= 4 * UNIT {
                assert!((size - previous) * 4 <= size);
            }
            previous = size;
        }
        assert_eq!(class_of(previous + 1), None);
        assert_eq!(class_of(0), Some(0));
    }
}
