//! The segment's layout: what lies where, and what a newcomer must check.
//!
//! ```text
//! 0                   Header (magic, version, geometry, counters, the heap's books)
//! slots_at            capacity x Slot
//! pairs_at            capacity x capacity x u64: ring offsets, row per receiver
//! heap_at..heap_end   rings, communicator areas, windows (see `heap/`)
//! ```
//!
//! Only the header's and the claimed slots' pages are reserved at first; pair
//! rows follow when slots are claimed, the heap when it hands memory out.

use core::mem::size_of;

use super::slot::Slot;
use crate::ShmError;
use crate::heap::Books;
use crate::process::MAX_SLOTS;
use crate::ring::{Control, LINE, MIN_LINES};
use crate::sync::{AtomicU32, AtomicU64};

/// Page size assumed by the layout: a multiple of every supported machine's
/// (aarch64 kernels use 4, 16 or 64 KiB).
pub(crate) const PAGE: u64 = 65_536;

/// "PHALANXU" in ASCII, read as a little-endian number.
pub(crate) const MAGIC: u64 = u64::from_le_bytes(*b"PHALANXU");

/// Layout version. Raise it with every change of a shared structure: all
/// processes of a job must agree.
pub(crate) const VERSION: u32 = 10;

/// The first bytes of the segment.
#[derive(Debug)]
#[repr(C, align(128))]
pub(crate) struct Header {
    /// [`MAGIC`]. Written last by the creator, before the descriptor is shared.
    pub(crate) magic: AtomicU64,
    /// [`VERSION`]. Written by the creator.
    pub(crate) version: AtomicU32,
    /// Number of slots. Written by the creator.
    pub(crate) capacity: AtomicU32,
    /// Bytes of a ring's lines (power of two). Written by the creator.
    pub(crate) ring_bytes: AtomicU64,
    /// Bytes of the segment. Written by the creator.
    pub(crate) total: AtomicU64,
    /// The namespaces in which process numbers and start times of the slots mean something, 0 when the creator could not
    /// find out. Written by the creator.
    pub(crate) home: AtomicU64,
    /// How memory moves between processes here, for all of them alike. Written by the creator.
    pub(crate) ways: AtomicU64,
    _creator_line: [u8; 80],
    /// Slots claimed so far. Read-modify-written by launchers and by processes that spawn.
    pub(crate) slots_used: AtomicU32,
    /// Next context id. Read-modify-written by leaders of new communicators, those of other universes included.
    pub(crate) next_context: AtomicU32,
    /// Launchers that look at the [notes](crate::notes). Read-modify-written by launchers.
    pub(crate) watchers: AtomicU32,
    /// Position of the directory of records, 0 while there is none. Written once, by whoever makes the first record.
    pub(crate) directory: AtomicU64,
    _claims_line: [u8; 104],
    /// The heap's part.
    pub(crate) books: Books,
}

/// Where the parts lie, computed from the geometry in one place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Layout {
    pub(crate) capacity: u32,
    pub(crate) ring_bytes: u64,
    pub(crate) slots_at: u64,
    pub(crate) pairs_at: u64,
    pub(crate) heap_at: u64,
    pub(crate) total: u64,
}

fn pages(bytes: u64) -> u64 {
    bytes.div_ceil(PAGE) * PAGE
}

impl Layout {
    /// The layout for a geometry; `heap_bytes` is rounded up to pages.
    pub(crate) fn new(capacity: u32, ring_bytes: u64, heap_bytes: u64) -> Result<Layout, ShmError> {
        if capacity == 0 || capacity > MAX_SLOTS {
            return Err(ShmError::SlotCount { requested: capacity.into(), max: MAX_SLOTS });
        }
        let ring_bytes = ring_bytes.clamp(MIN_LINES * LINE as u64, 1 << 30).next_power_of_two();
        let slots_at = pages(size_of::<Header>() as u64);
        let pairs_at = slots_at + pages(u64::from(capacity) * size_of::<Slot>() as u64);
        let heap_at = pairs_at + pages(u64::from(capacity) * u64::from(capacity) * 8);
        let total = heap_at + pages(heap_bytes.clamp(1, 1 << 46));
        Ok(Layout { capacity, ring_bytes, slots_at, pairs_at, heap_at, total })
    }

    /// Whether a segment of `len` bytes that claims this layout is sound.
    pub(crate) fn from_header(header: &Header, len: u64) -> Result<Layout, ShmError> {
        use crate::sync::Ordering::{Acquire, Relaxed};
        let foreign = |reason: String| ShmError::NotAUniverse { reason };
        let magic = header.magic.load(Acquire);
        if magic != MAGIC {
            return Err(foreign(format!("it begins with {magic:#018x}, not with Phalanx's mark")));
        }
        let version = header.version.load(Relaxed);
        if version != VERSION {
            return Err(foreign(format!(
                "its layout has version {version}, this library expects {VERSION}; \
                 the launcher and the library come from different Phalanx versions"
            )));
        }
        let capacity = header.capacity.load(Relaxed);
        let ring_bytes = header.ring_bytes.load(Relaxed);
        let total = header.total.load(Relaxed);
        let bare = Layout::new(capacity, ring_bytes, 1)?;
        if total != len || total < bare.total || ring_bytes != bare.ring_bytes {
            return Err(foreign(format!(
                "its header describes {total} bytes ({capacity} slots, rings of {ring_bytes} bytes), \
                 but it has {len}"
            )));
        }
        Ok(Layout { total, ..bare })
    }

    /// Bytes a ring takes in the heap.
    pub(crate) fn ring_footprint(&self) -> usize {
        size_of::<Control>() + self.ring_bytes as usize
    }

    /// Bytes of the heap.
    pub(crate) fn heap_len(&self) -> u64 {
        self.total - self.heap_at
    }

    /// Position of the pair-table row of receiver `to`, and its length in bytes.
    pub(crate) fn pair_row(&self, to: u32) -> (u64, u64) {
        let row = u64::from(self.capacity) * 8;
        (self.pairs_at + u64::from(to) * row, row)
    }
}
