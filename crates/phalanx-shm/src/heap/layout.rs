//! What a heap keeps in its segment: the words in the header, and the head before each block.

use super::classes::CLASSES;
use crate::OwnedLock;
use crate::sync::{AtomicU32, AtomicU64};

/// The unit of ranges. Where the machine's pages are larger, it reserves and gives back what they need.
pub(crate) const PAGE: u64 = 4096;

/// The heap's part of the header of a segment. Zero in a new one.
#[derive(Debug)]
#[repr(C, align(128))]
pub(crate) struct Books {
    /// Bytes of the heap handed out so far. Only grows. Read whenever somebody looks whether a place can be right, so
    /// it has lines of its own.
    pub(crate) frontier: AtomicU64,
    /// Bytes of free large blocks that may keep their pages. Written by the creator.
    pub(crate) budget: AtomicU64,
    /// Random, from which generations are drawn. Written by the creator.
    pub(crate) seed: AtomicU64,
    _frontier_lines: [u8; 104],
    /// Bytes of blocks that somebody has. For people and tests.
    pub(crate) live: AtomicU64,
    /// Bytes of free large blocks that keep their pages.
    pub(crate) cached: AtomicU64,
    /// How many ranges were made into blocks: no two make blocks of the same generations.
    pub(crate) made: AtomicU64,
    /// The lock of the process that gathers free blocks (see `gather.rs`).
    pub(crate) gatherer: OwnedLock,
    _spare: AtomicU32,
    /// The first of the free blocks that it has taken from their stacks, 0 = none. Written by the gatherer only.
    pub(crate) gathered: AtomicU64,
    /// Bytes of blocks whose pages were promised: all of them, touched by now or not. Of a process that was killed while it
    /// promised or took back, one block's may stay.
    pub(crate) promised: AtomicU64,
    _figures_lines: [u8; 72],
    /// Free blocks of each size class (see `stack.rs`).
    pub(crate) free: [AtomicU64; CLASSES],
}

/// What stands before each payload.
#[repr(C, align(64))]
pub(crate) struct Head {
    /// `generation << 32 | holds`. Holds 0 = free.
    pub(crate) state: AtomicU64,
    /// Bytes that the owner asked for.
    pub(crate) len: AtomicU64,
    /// The next free block's number, while this one is free.
    pub(crate) link: AtomicU64,
    /// Size class: the largest whose blocks are not larger than this one.
    pub(crate) class: AtomicU32,
    /// What its users take it for: `BlockKind` in an arena.
    pub(crate) kind: AtomicU32,
    /// Where the payload begins on a page: bytes of it whose pages are reserved, what its users asked for so far, 0 once
    /// the pages are given back; with [`PROMISED`] where some of them are not reserved. In a slab: where the slab begins.
    pub(crate) pages: AtomicU64,
    /// Bytes of the range that this is a block of: with the page of its head, or the whole slab.
    pub(crate) range: AtomicU64,
    /// In the first block of a slab: how many of the slab's blocks the gatherer has found free, and taken out.
    pub(crate) count: AtomicU64,
    /// [`seal`] of the payload's position as long as this is a head; what was one may have become part of a payload.
    pub(crate) seal: AtomicU64,
}

/// In `Head::pages`: the pages were promised, and come when they are first touched.
pub(crate) const PROMISED: u64 = 1 << 63;

/// What tells the head of the payload at `at` from any other 64 bytes.
pub(crate) fn seal(at: u64) -> u64 {
    (at ^ SEAL).wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1
}

/// What seals are mixed with: "PHALANXA".
const SEAL: u64 = u64::from_le_bytes(*b"PHALANXA");

const _: () = assert!(size_of::<Head>() == 64);
