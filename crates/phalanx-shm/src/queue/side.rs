//! What one side of a queue has done: a count and a place, changed together by one store.
//!
//! The place of record number `n` is kept in `places[n % 2]`. Its owner (the holder of the side's lock) writes the place
//! of the *next* record into the other half and then stores the count: until that store nothing has happened, after it
//! everything has. A process that is killed in between leaves a place that the next owner writes over.

use crate::sync::{AtomicU64, Ordering};

/// Where a record starts (or, at the end of a chunk, its link).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// The chunk's block, as a packed handle.
    pub(super) chunk: u64,
    /// Bytes from the chunk's start (32 bits) and the chunk's length (32 bits).
    pub(super) at: u32,
    pub(super) len: u32,
}

/// The places of a side. In shared memory, under the side's lock.
#[derive(Debug)]
#[cfg_attr(not(loom), repr(C))]
pub(super) struct Places([[AtomicU64; 2]; 2]);

impl Places {
    #[cfg(loom)]
    pub(super) fn new() -> Places {
        Places(std::array::from_fn(|_| std::array::from_fn(|_| AtomicU64::new(0))))
    }

    /// The place of record `n`, whose number is the side's count.
    #[inline]
    pub(super) fn get(&self, n: u64) -> Place {
        let half = &self.0[(n & 1) as usize];
        let at = half[1].load(Ordering::Relaxed);
        Place { chunk: half[0].load(Ordering::Relaxed), at: at as u32, len: (at >> 32) as u32 }
    }

    /// Notes the place of record `n`: nobody looks at it before the count is `n`.
    #[inline]
    pub(super) fn set(&self, n: u64, place: Place) {
        let half = &self.0[(n & 1) as usize];
        half[0].store(place.chunk, Ordering::Relaxed);
        half[1].store(u64::from(place.len) << 32 | u64::from(place.at), Ordering::Relaxed);
    }
}
