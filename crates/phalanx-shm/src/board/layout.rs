//! Where everything is on a board.

use crate::ShmError;

const MAGIC: u64 = u64::from_le_bytes(*b"phxboard");
const LINE: usize = 64;

/// The header's lines, each written by other processes than the one before it.
pub(super) mod header {
    /// What the board is; written once.
    pub(in super::super) const MAGIC: usize = 0;
    /// Cells, payload bytes, workers and result bytes; written once.
    pub(in super::super) const SHAPE: usize = 8;
    /// How many idle workers may spin; written once.
    pub(in super::super) const SPINNERS: usize = 24;
    /// How long they spin, in microseconds; written once.
    pub(in super::super) const SPIN_MICROS: usize = 28;
    /// Hint of the next position to claim; written by workers.
    pub(in super::super) const NEXT: usize = 64;
    /// What the supervisor's threads sleep on; two words.
    pub(in super::super) const DOORBELL: usize = 128;
    /// Whether the pool is open; written by the supervisor.
    pub(in super::super) const CLOSING: usize = 192;
    /// A bit per worker (modulo 64) that spins; written by workers, repaired by the supervisor.
    pub(in super::super) const SPINNING: usize = 256;
}
const HEADER: usize = 5 * LINE;

/// A cell's fields.
pub(super) mod cell {
    /// See `claims.rs`.
    pub(in super::super) const WORD: usize = 0;
    /// Number of the dispatch.
    pub(in super::super) const DISPATCH: usize = 8;
    /// Number of the function.
    pub(in super::super) const FUNCTION: usize = 16;
    /// Byte position of the payload, not reduced by the size of the payload ring.
    pub(in super::super) const PAYLOAD: usize = 24;
    /// Bytes of the payload; in the upper half, how many of them are the function.
    pub(in super::super) const BYTES: usize = 32;
    /// Items; in the upper half, the flags of the dispatch.
    pub(in super::super) const COUNT: usize = 40;
}
const CELL: usize = LINE;

/// A worker's fields.
pub(super) mod slot {
    /// What the worker sleeps on while there is nothing to claim; two words.
    pub(in super::super) const PARK: usize = 0;
    /// Set by the supervisor: end before the next task.
    pub(in super::super) const STOP: usize = 8;
    /// What the worker sleeps on while there is no room for its results: it is busy, and no sleeper to the publisher. Two words.
    pub(in super::super) const ROOM: usize = 16;
    /// How far the supervisor has read the results (bytes).
    pub(in super::super) const READ: usize = 64;
    /// How far the worker has written its results (bytes).
    pub(in super::super) const WRITTEN: usize = 128;
    /// The item the worker is in: dispatch and ordinal; 0 for none.
    pub(in super::super) const CURRENT: usize = 192;
    /// Since when (nanoseconds of the monotonic clock).
    pub(in super::super) const SINCE: usize = 200;
    /// Nanoseconds the worker was idle.
    pub(in super::super) const IDLE: usize = 208;
}
const SLOT: usize = 4 * LINE;

/// How large the parts of a board are. All but `workers` are powers of two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Tasks that may be published and not yet taken.
    pub cells: u32,
    /// Bytes for what those carry.
    pub payload: u32,
    /// Workers.
    pub workers: u32,
    /// Bytes of each worker's ring of results.
    pub results: u32,
}

impl Shape {
    /// For a pool of `workers`.
    pub fn for_workers(workers: u32) -> Shape {
        Shape {
            cells: (workers * 64).next_power_of_two().clamp(512, 1 << 14),
            payload: 1 << 20,
            workers,
            results: 1 << 17,
        }
    }

    fn valid(&self) -> bool {
        let power = |n: u32, most: u32| n.is_power_of_two() && n <= most;
        power(self.cells, 1 << 20)
            && power(self.payload, 1 << 30)
            && power(self.results, 1 << 30)
            && self.results >= 1 << 10
            && (1..super::MAX_WORKERS + 1).contains(&self.workers)
    }

    /// Bytes of a board.
    pub fn bytes(&self) -> usize {
        self.results_at(self.workers)
    }

    pub(super) fn cell_at(&self, position: u64) -> usize {
        HEADER + (position & u64::from(self.cells - 1)) as usize * CELL
    }

    pub(super) fn payload_at(&self, position: u64) -> usize {
        HEADER + self.cells as usize * CELL + (position & u64::from(self.payload - 1)) as usize
    }

    pub(super) fn slot_at(&self, slot: u32) -> usize {
        HEADER + self.cells as usize * CELL + self.payload as usize + slot as usize * SLOT
    }

    pub(super) fn results_at(&self, slot: u32) -> usize {
        self.slot_at(self.workers) + slot as usize * self.results as usize
    }

    pub(super) fn words(&self) -> [u32; 4] {
        [self.cells, self.payload, self.workers, self.results]
    }

    pub(super) fn magic() -> u64 {
        MAGIC
    }

    pub(super) fn from_words(words: [u32; 4]) -> Result<Shape, ShmError> {
        let [cells, payload, workers, results] = words;
        Shape { cells, payload, workers, results }.checked()
    }

    /// The shape, if a board may have it.
    ///
    /// # Errors
    ///
    /// [`ShmError::Corrupt`] when it may not.
    pub fn checked(self) -> Result<Shape, ShmError> {
        if self.valid() {
            return Ok(self);
        }
        Err(ShmError::Corrupt { what: format!("a task board cannot have the shape {self:?}") })
    }
}
