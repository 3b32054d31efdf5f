//! Where things are in an arena.
//!
//! ```text
//! 0        header: identity, frontier, free lists, figures
//! 4 KiB    member records, 32 bytes each
//! 132 KiB  heap: raw blocks, each with a 64-byte head before its payload
//! ```

use core::sync::atomic::{AtomicU32, AtomicU64};

use crate::universe::heap::CLASSES;

pub(crate) const PAGE: u64 = 4096;

/// "PHALANXA", and a layout version.
pub(crate) const MAGIC: u64 = u64::from_le_bytes(*b"PHALANXA");
pub(crate) const VERSION: u64 = 2;

/// Processes that can be members at the same time.
pub(crate) const MEMBERS: usize = 4096;
pub(crate) const MEMBERS_AT: u64 = PAGE;
pub(crate) const HEAP_AT: u64 = MEMBERS_AT + (MEMBERS * size_of::<Member>()) as u64;

/// Lists that names are spread over.
pub(crate) const BUCKETS: usize = 256;

/// First bytes of the arena. Zero in a new segment.
#[repr(C)]
pub(crate) struct Header {
    /// Written last by the creator (Release), checked by whoever attaches.
    pub(crate) magic: AtomicU64,
    pub(crate) version: AtomicU64,
    /// Random: tells one arena from another. Written by the creator only.
    pub(crate) id: AtomicU64,
    /// Bytes of free large blocks that may keep their pages.
    pub(crate) budget: AtomicU64,
    /// Bytes of the heap handed out so far. Only grows.
    pub(crate) frontier: AtomicU64,
    /// Bytes of blocks that somebody holds. For people and tests.
    pub(crate) live: AtomicU64,
    /// Bytes of free large blocks that keep their pages.
    pub(crate) cached: AtomicU64,
    /// One more than the highest member record ever used.
    pub(crate) members: AtomicU64,
    /// The first entries of the lists of names, 0 when there is none (see `names.rs`).
    pub(crate) names: [AtomicU64; BUCKETS],
    /// An `OwnedLock`: who has the names.
    pub(crate) names_lock: AtomicU32,
    _spare: AtomicU32,
    /// Where its process numbers mean something, 0 = not known yet (see `alive.rs`).
    pub(crate) home: AtomicU64,
    /// How many ranges were made into blocks: no two make blocks of the same generations.
    pub(crate) made: AtomicU64,
    /// `ProcessTag` bits of the process that gathers free blocks, 0 = nobody (see `gather.rs`).
    pub(crate) gatherer: AtomicU64,
    /// The first of the free blocks that it has taken from their stacks, 0 = none. Written by the gatherer only.
    pub(crate) gathered: AtomicU64,
    /// When the member table was last found full: milliseconds as in `Member::since`, 0 = never.
    pub(crate) crowded: AtomicU64,
    /// A stack of chunks for the records of members that come when there is no memory (see `members.rs`).
    pub(crate) spare_chunks: AtomicU64,
    /// Free raw blocks of each size class (see `stack.rs`).
    pub(crate) free: [AtomicU64; CLASSES],
}

/// A process and the blocks it holds.
#[repr(C)]
pub(crate) struct Member {
    /// `ProcessTag` bits and the flags of `members.rs`; 0 = unused.
    pub(crate) tag: AtomicU64,
    /// Its first chunk of entries, 0 = none.
    pub(crate) chunks: AtomicU64,
    /// When the record was reserved for a child: milliseconds of the machine's uptime.
    pub(crate) since: AtomicU64,
    _spare: AtomicU64,
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
    /// `BlockKind`.
    pub(crate) kind: AtomicU32,
    /// Where the payload begins on a page: bytes of it whose pages are reserved, what its users asked for so far, 0 once
    /// the pages are given back. In a slab: where the slab begins.
    pub(crate) pages: AtomicU64,
    /// Bytes of the range that this is a block of: with the page of its head, or the whole slab.
    pub(crate) range: AtomicU64,
    /// In the first block of a slab: how many of the slab's blocks the gatherer has found free, and taken out.
    pub(crate) count: AtomicU64,
    /// [`seal`] of the payload's position as long as this is a head; what was one may have become part of a payload.
    pub(crate) seal: AtomicU64,
}

/// What tells the head of the payload at `at` from any other 64 bytes.
pub(crate) fn seal(at: u64) -> u64 {
    (at ^ MAGIC).wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1
}

const _: () = assert!(size_of::<Header>() <= PAGE as usize);
const _: () = assert!(size_of::<Head>() == 64);
const _: () = assert!(HEAP_AT.is_multiple_of(PAGE));
