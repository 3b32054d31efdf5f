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
//! Each class has a stack of free blocks (see `stack.rs`), whose links are the
//! first words of the blocks.
//!
//! # Large blocks
//!
//! Blocks of a megabyte and more give their pages back to the machine when they
//! are freed, and reserve them again when reused; the address range remains.

use core::sync::atomic::{AtomicU64, Ordering};

use super::layout::{Header, Layout, PAGE};
use crate::ShmError;
use crate::segment::Segment;
use crate::stack;

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
            return Ok(Block { at: self.extend(size)?, fresh: true });
        }
        let slab = self.extend(SLAB)?;
        for i in 1..SLAB / size {
            self.push(class, slab + i * size);
        }
        Ok(Block { at: slab, fresh: true })
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
        let used = self.header.frontier.load(Ordering::Acquire).min(self.layout.heap_len());
        at.is_multiple_of(UNIT)
            && at >= self.layout.heap_at
            && at.checked_add(size).is_some_and(|end| end <= self.layout.heap_at + used)
    }

    /// Moves the frontier over `bytes` after reserving their pages.
    fn extend(&self, bytes: u64) -> Result<u64, ShmError> {
        let frontier = &self.header.frontier;
        let mut used = frontier.load(Ordering::Relaxed);
        loop {
            let end = used.checked_add(bytes).filter(|end| *end <= self.layout.heap_len());
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

    /// First word of block `number`.
    fn link(&self, number: u64) -> &AtomicU64 {
        // SAFETY: callers pass numbers of blocks inside the heap, which are
        // aligned to 64 bytes. A popped block's owner may write it without
        // atomics while a slow `pop` reads it here; that value is discarded.
        unsafe { &*self.segment.base().add((number * UNIT) as usize).cast::<AtomicU64>() }
    }

    fn push(&self, class: usize, at: u64) {
        stack::push(&self.header.free[class], at / UNIT, |n| self.link(n));
    }

    fn pop(&self, class: usize) -> Option<u64> {
        let size = class_bytes(class);
        let valid = |n| self.holds(n * UNIT, size);
        let number = stack::pop(&self.header.free[class], |n| self.link(n), valid)?;
        Some(number * UNIT)
    }
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
            assert_eq!(class_of(previous + 1), Some(class), "just above {previous} bytes");
            if previous >= 4 * UNIT {
                assert!((size - previous) * 4 <= size);
            }
            previous = size;
        }
        assert_eq!(class_of(previous + 1), None);
        assert_eq!(class_of(0), Some(0));
    }
}
