//! Where things are in an arena.
//!
//! ```text
//! 0        header: identity, names, the heap's books
//! 4 KiB    member records, 32 bytes each
//! 132 KiB  heap (see `heap/`)
//! ```

use crate::OwnedLock;
use crate::heap::{Books, PAGE};
use crate::sync::{AtomicU32, AtomicU64};

/// "PHALANXA", and a layout version.
pub(crate) const MAGIC: u64 = u64::from_le_bytes(*b"PHALANXA");
pub(crate) const VERSION: u64 = 5;

/// Processes that can be members at the same time.
pub(crate) const MEMBERS: usize = 4096;
pub(crate) const MEMBERS_AT: u64 = PAGE;
pub(crate) const HEAP_AT: u64 = MEMBERS_AT + (MEMBERS * size_of::<Member>()) as u64;

/// Lists that names are spread over.
pub(crate) const BUCKETS: usize = 256;

/// First bytes of the arena. Zero in a new segment.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct Header {
    /// Written last by the creator (Release), checked by every process that attaches.
    pub(crate) magic: AtomicU64,
    pub(crate) version: AtomicU64,
    /// Random: tells one arena from another. Written by the creator only.
    pub(crate) id: AtomicU64,
    /// One more than the highest member record ever used.
    pub(crate) members: AtomicU64,
    /// The first entries of the lists of names, 0 when there is none (see `names.rs`).
    pub(crate) names: [AtomicU64; BUCKETS],
    /// The lock of the table of names (see `names.rs`).
    pub(crate) names_lock: OwnedLock,
    _spare: AtomicU32,
    /// Where its process numbers mean something, 0 = not known yet (see `alive.rs`).
    pub(crate) home: AtomicU64,
    /// When the member table was last found full: milliseconds as in `Member::since`, 0 = never.
    pub(crate) crowded: AtomicU64,
    /// A stack of chunks for the records of members that come when there is no memory (see `members.rs`).
    pub(crate) spare_chunks: AtomicU64,
    /// The heap's part.
    pub(crate) books: Books,
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

const _: () = assert!(size_of::<Header>() <= PAGE as usize);
const _: () = assert!(HEAP_AT.is_multiple_of(PAGE));
