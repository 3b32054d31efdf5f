//! The board of a pool: where a supervisor publishes tasks, workers claim them, and results come back.
//!
//! The protocols, and what a process that is killed at any point of them leaves behind, are in `README.md`. In short:
//!
//! - one publisher ([`Publisher`], in the supervisor's process), any number of workers ([`WorkerEnd`], one per slot);
//! - a task is claimed by one compare-and-swap that names the claimant (`claims.rs`);
//! - results go through one byte ring per worker, a record is there with the last store to it (`results.rs`);
//! - the worker notes the item it is in before it begins it ([`WorkerEnd::begin`]).
//!
//! The memory is borrowed: a block of shared memory, or the heap in tests.

mod claims;
#[cfg(not(loom))]
mod idle;
#[cfg(not(loom))]
mod layout;
#[cfg(not(loom))]
mod publisher;
#[cfg(not(loom))]
mod results;
#[cfg(not(loom))]
mod worker;

#[cfg(loom)]
pub use claims::LoomClaims;
#[cfg(not(loom))]
pub use real::*;

/// Most workers of a board.
pub const MAX_WORKERS: u32 = 4096;

#[cfg(not(loom))]
mod real {
    use std::any::Any;
    use std::fmt;
    use std::sync::Arc;

    pub use super::idle::Idle;
    pub use super::layout::Shape;
    use super::layout::{cell, header, slot};
    pub use super::publisher::{Publisher, Task};
    pub use super::results::{Record, Results};
    pub use super::worker::{Claim, WorkerEnd};
    use crate::sleep::SleepWord;
    use crate::sync::{AtomicU32, AtomicU64, Ordering};
    use crate::{Block, MutMem, ShmError};

    /// A board: everybody's view of the shared memory.
    ///
    /// ```
    /// use phalanx_shm::board::{Board, Publisher, Record, Results, Shape, Task, WorkerEnd};
    ///
    /// let board = Board::anonymous(Shape::for_workers(1))?;
    /// let mut publisher = Publisher::new(board.clone());
    /// let task = Task { dispatch: 1, function: 1, flags: 0, count: 1, function_bytes: b"", items: b"2 + 3" };
    /// assert!(publisher.publish(&task));
    ///
    /// // In a worker's process.
    /// let mut worker = WorkerEnd::new(board.clone(), 0)?;
    /// let claim = worker.claim().expect("a task waits");
    /// worker.begin(claim.dispatch, 0, WorkerEnd::now());
    /// assert_eq!(worker.payload(), b"2 + 3");
    /// assert!(worker.send(&Record { kind: 0, dispatch: claim.dispatch, ordinal: 0, nanos: 0, bytes: b"5" })?);
    /// worker.rest();
    ///
    /// // And in the supervisor's again: which worker had the task, and what came of it.
    /// publisher.note(|dispatch, slot| assert_eq!((dispatch, slot), (1, 0)));
    /// let mut answers = Vec::new();
    /// Results::new(board, 0).drain(|record| answers.push(record.bytes.to_vec()))?;
    /// assert_eq!(answers, [b"5"]);
    /// # Ok::<(), phalanx_shm::ShmError>(())
    /// ```
    #[derive(Clone)]
    pub struct Board(Arc<Mapped>);

    struct Mapped {
        memory: MutMem,
        shape: Shape,
        /// What keeps the memory there.
        _hold: Box<dyn Any + Send + Sync>,
    }

    impl fmt::Debug for Board {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.debug_struct("Board").field("shape", &self.0.shape).finish_non_exhaustive()
        }
    }

    /// Whether workers go on.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub enum Phase {
        /// Tasks may come.
        Open,
        /// No more tasks will come: a worker that finds none ends.
        Drained,
        /// Everybody ends before the next task.
        Abandoned,
    }

    /// The item a worker is in.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Current {
        /// Number of the dispatch.
        pub dispatch: u64,
        /// Which of its items.
        pub ordinal: u32,
        /// When it began, in nanoseconds of [`now`].
        pub since: u64,
    }

    const ORDINAL_BITS: u32 = 20;

    /// Most items of a dispatch.
    pub const MAX_ITEMS: u32 = (1 << ORDINAL_BITS) - 1;

    /// The monotonic clock, the same in all processes, in nanoseconds.
    #[inline]
    pub fn now() -> u64 {
        let time = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
        time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
    }

    impl Board {
        /// Lays a board out in `memory`, which `hold` keeps there.
        ///
        /// # Errors
        ///
        /// [`ShmError::Corrupt`] for a shape that cannot be, [`ShmError::BadRange`] when it does not fit.
        ///
        /// # Safety
        ///
        /// - `memory` is valid for reads and writes for as long as `hold` lives, and 64-byte aligned;
        /// - nobody else uses it, except boards that are opened over it.
        pub unsafe fn create(
            memory: MutMem,
            shape: Shape,
            hold: Box<dyn Any + Send + Sync>,
        ) -> Result<Board, ShmError> {
            let board = Board::over(memory, shape.checked()?, hold)?;
            for (at, word) in shape.words().into_iter().enumerate() {
                board.word32(header::SHAPE + 4 * at).store(word, Ordering::Relaxed);
            }
            for at in [header::NEXT, header::SPINNING] {
                board.word64(at).store(0, Ordering::Relaxed);
            }
            for at in [header::SPINNERS, header::SPIN_MICROS, header::DOORBELL, header::CLOSING] {
                board.word32(at).store(0, Ordering::Relaxed);
            }
            for position in 0..u64::from(shape.cells) {
                let free = super::claims::Word::before(position, u64::from(shape.cells)).pack();
                board.cell_word(position, cell::WORD).store(free, Ordering::Relaxed);
            }
            for number in 0..shape.workers {
                board.reset_slot(number);
            }
            // Relaxed: the handle to the board reaches others through pickles and forks, which synchronise.
            board.word64(header::MAGIC).store(Shape::magic(), Ordering::Relaxed);
            Ok(board)
        }

        /// A board that [`Board::create`] has laid out in this memory.
        ///
        /// # Errors
        ///
        /// [`ShmError::Corrupt`] when there is none.
        ///
        /// # Safety
        ///
        /// As for [`Board::create`].
        pub unsafe fn open(memory: MutMem, hold: Box<dyn Any + Send + Sync>) -> Result<Board, ShmError> {
            let mut head = [0; 24];
            memory.copy_to(&mut head);
            if head[..8] != Shape::magic().to_le_bytes() {
                return Err(ShmError::Corrupt { what: "the memory of a pool holds no task board".to_owned() });
            }
            let word = |at: usize| u32::from_le_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
            let shape = Shape::from_words([word(8), word(12), word(16), word(20)])?;
            Board::over(memory, shape, hold)
        }

        fn over(memory: MutMem, shape: Shape, hold: Box<dyn Any + Send + Sync>) -> Result<Board, ShmError> {
            if memory.len() < shape.bytes() || !memory.as_ptr().addr().is_multiple_of(64) {
                return Err(ShmError::BadRange { offset: 0, bytes: shape.bytes() as u64 });
            }
            Ok(Board(Arc::new(Mapped { memory, shape, _hold: hold })))
        }

        /// Lays a board out in a block of shared memory.
        ///
        /// # Errors
        ///
        /// As for [`Board::create`].
        pub fn in_block(block: Block, shape: Shape) -> Result<Board, ShmError> {
            // SAFETY: the block's bytes are there while the hold lives, 64-byte aligned; it is new, so whoever gets at it
            // gets it as a board.
            unsafe { Board::create(MutMem::new(block.as_ptr(), block.len()), shape, Box::new(block)) }
        }

        /// The board that [`Board::in_block`] laid out in this block.
        ///
        /// # Errors
        ///
        /// As for [`Board::open`].
        pub fn of_block(block: Block) -> Result<Board, ShmError> {
            // SAFETY: as above; a block of another kind is refused.
            unsafe { Board::open(MutMem::new(block.as_ptr(), block.len()), Box::new(block)) }
        }

        /// A board of this process and its forked children, in anonymous memory.
        ///
        /// # Errors
        ///
        /// [`ShmError::OutOfMemory`]; as for [`Board::create`].
        pub fn anonymous(shape: Shape) -> Result<Board, ShmError> {
            let bytes = shape.checked()?.bytes();
            let map = Anonymous::new(bytes)?;
            // SAFETY: fresh pages of that length, there until `map` is dropped with the board.
            unsafe { Board::create(MutMem::new(map.0.cast(), bytes), shape, Box::new(map)) }
        }

        /// How large its parts are.
        pub fn shape(&self) -> Shape {
            self.0.shape
        }

        /// The word at byte `at`, which is a constant of the layout or computed by [`Shape`] from checked numbers.
        #[inline]
        pub(super) fn word64(&self, at: usize) -> &AtomicU64 {
            debug_assert!(at.is_multiple_of(8) && at + 8 <= self.0.memory.len());
            // SAFETY: inside the memory (the callers' offsets are below `shape.bytes()`, which `over` checked), aligned
            // (64-byte base, offsets multiples of 8), and only ever used as an atomic.
            unsafe { &*self.0.memory.as_ptr().add(at).cast::<AtomicU64>() }
        }

        /// The 32-bit word at byte `at`.
        #[inline]
        pub(super) fn word32(&self, at: usize) -> &AtomicU32 {
            debug_assert!(at.is_multiple_of(4) && at + 4 <= self.0.memory.len());
            // SAFETY: as for `word64`, with offsets that are multiples of 4.
            unsafe { &*self.0.memory.as_ptr().add(at).cast::<AtomicU32>() }
        }

        fn sleep_word(&self, at: usize) -> &SleepWord {
            let (first, _second) = (self.word32(at), self.word32(at + 4));
            // SAFETY: two 32-bit atomics of the layout, one after the other, borrowed from the board's memory.
            SleepWord::over(unsafe { &*std::ptr::from_ref(first).cast::<[AtomicU32; 2]>() })
        }

        /// The bytes from `at` on, for copies.
        #[inline]
        pub(super) fn bytes(&self, at: usize, len: usize) -> MutMem {
            debug_assert!(at + len <= self.0.memory.len());
            self.0.memory.slice(at, len)
        }

        #[inline]
        pub(super) fn cell_word(&self, position: u64, field: usize) -> &AtomicU64 {
            self.word64(self.0.shape.cell_at(position) + field)
        }

        #[inline]
        pub(super) fn slot_word(&self, number: u32, field: usize) -> &AtomicU64 {
            self.word64(self.0.shape.slot_at(number) + field)
        }

        #[inline]
        pub(super) fn next(&self) -> &AtomicU64 {
            self.word64(header::NEXT)
        }

        /// Whether a task waits for a worker.
        #[inline]
        pub fn has_work(&self) -> bool {
            self.has_work_beside(0)
        }

        /// Whether more tasks than `others` wait for workers, or seem to.
        #[inline]
        pub(super) fn has_work_beside(&self, others: u64) -> bool {
            super::claims::claimable(self.next(), |position| self.cell_word(position, cell::WORD), others)
        }

        /// What the threads of the supervisor sleep on.
        #[inline]
        pub fn doorbell(&self) -> &SleepWord {
            self.sleep_word(header::DOORBELL)
        }

        /// What the worker of a slot sleeps on while there is nothing to claim.
        #[inline]
        pub(super) fn park(&self, number: u32) -> &SleepWord {
            self.sleep_word(self.0.shape.slot_at(number) + slot::PARK)
        }

        /// What the worker of a slot sleeps on while there is no room for its results.
        #[inline]
        pub(super) fn room(&self, number: u32) -> &SleepWord {
            self.sleep_word(self.0.shape.slot_at(number) + slot::ROOM)
        }

        /// Lets this many idle workers spin, each this long, before they sleep.
        pub fn set_spinning(&self, spinners: u32, micros: u32) {
            self.word32(header::SPINNERS).store(spinners, Ordering::Relaxed);
            self.word32(header::SPIN_MICROS).store(micros, Ordering::Relaxed);
        }

        pub(super) fn spinning(&self) -> (&AtomicU64, u32, u32) {
            let spinners = self.word32(header::SPINNERS).load(Ordering::Relaxed);
            (self.word64(header::SPINNING), spinners, self.word32(header::SPIN_MICROS).load(Ordering::Relaxed))
        }

        /// Whether workers go on.
        pub fn phase(&self) -> Phase {
            match self.word32(header::CLOSING).load(Ordering::Relaxed) {
                0 => Phase::Open,
                1 => Phase::Drained,
                _ => Phase::Abandoned,
            }
        }

        /// Tells all workers to end: at once, or when there is nothing left to claim.
        pub fn end(&self, phase: Phase) {
            let value = match phase {
                Phase::Open => 0,
                Phase::Drained => 1,
                Phase::Abandoned => 2,
            };
            self.word32(header::CLOSING).fetch_max(value, Ordering::Relaxed);
            for number in 0..self.0.shape.workers {
                self.park(number).notify();
                self.room(number).notify();
            }
        }

        /// Tells the worker of a slot to end before its next item.
        pub fn stop(&self, number: u32) {
            if number < self.0.shape.workers {
                self.word32(self.0.shape.slot_at(number) + slot::STOP).store(1, Ordering::Relaxed);
                self.park(number).notify();
                self.room(number).notify();
            }
        }

        pub(super) fn stopped(&self, number: u32) -> bool {
            self.word32(self.0.shape.slot_at(number) + slot::STOP).load(Ordering::Relaxed) != 0
        }

        /// Makes a slot ready for a new worker; the one before it is dead, and all of its results were read.
        pub fn reset_slot(&self, number: u32) {
            let at = self.0.shape.slot_at(number);
            for field in [slot::PARK, slot::PARK + 4, slot::STOP, slot::ROOM, slot::ROOM + 4] {
                self.word32(at + field).store(0, Ordering::Relaxed);
            }
            for field in [slot::READ, slot::WRITTEN, slot::CURRENT, slot::SINCE, slot::IDLE] {
                self.word64(at + field).store(0, Ordering::Relaxed);
            }
            self.word64(header::SPINNING).fetch_and(!(1 << (number % 64)), Ordering::Relaxed);
        }

        pub(super) fn set_current(&self, number: u32, dispatch: u64, ordinal: u32, since: u64) {
            self.slot_word(number, slot::SINCE).store(since, Ordering::Relaxed);
            let word = dispatch << ORDINAL_BITS | u64::from(ordinal.min(MAX_ITEMS));
            // SYNC POINT current: Release, so that a reader that sees the item sees when it began; pairs with the
            // Acquire in `current`.
            self.slot_word(number, slot::CURRENT).store(word, Ordering::Release);
        }

        /// The item the worker of a slot is in.
        pub fn current(&self, number: u32) -> Option<Current> {
            // SYNC POINT current: Acquire, pairs with the Release in `set_current`. The worker may have gone on to a
            // later item whose time is read: an item then seems younger than it is, never older.
            let word = self.slot_word(number, slot::CURRENT).load(Ordering::Acquire);
            let since = self.slot_word(number, slot::SINCE).load(Ordering::Relaxed);
            let ordinal = word as u32 & MAX_ITEMS;
            (word != 0).then_some(Current { dispatch: word >> ORDINAL_BITS, ordinal, since })
        }

        /// Nanoseconds the worker of a slot was idle.
        pub fn idle_nanos(&self, number: u32) -> u64 {
            self.slot_word(number, slot::IDLE).load(Ordering::Relaxed)
        }
    }

    /// Pages shared with forked children.
    struct Anonymous(*mut std::ffi::c_void, usize);

    // SAFETY: an address and a length; the pages belong to no thread.
    unsafe impl Send for Anonymous {}
    // SAFETY: as for Send; it has no methods.
    unsafe impl Sync for Anonymous {}

    impl Anonymous {
        fn new(bytes: usize) -> Result<Anonymous, ShmError> {
            use rustix::mm::{MapFlags, ProtFlags, mmap_anonymous};
            let access = ProtFlags::READ | ProtFlags::WRITE;
            // SAFETY: a new mapping at an address that the kernel chooses.
            let map = unsafe { mmap_anonymous(std::ptr::null_mut(), bytes, access, MapFlags::SHARED) };
            map.map(|start| Anonymous(start, bytes)).map_err(|error| ShmError::OutOfMemory {
                bytes: bytes as u64,
                what: "the task board of a pool",
                source: error.into(),
            })
        }
    }

    impl Drop for Anonymous {
        fn drop(&mut self) {
            // SAFETY: the mapping made in `new`, which nothing refers to any more. It can only fail for a wrong range.
            let _ = unsafe { rustix::mm::munmap(self.0, self.1) };
        }
    }
}
