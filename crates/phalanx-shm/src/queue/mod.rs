//! Queues of byte records: many processes put, many get, and any of them may be killed at any instant.
//!
//! See `README.md` in this folder for the layout, the protocol and what a crash can and cannot do. A [`Queue`] is one
//! process's access to a queue; all its methods may be called from any thread.
//!
//! Progress: `try_put` and `try_get` wait for nothing but some microseconds for another holder of the same side, and say
//! [`Busy`](TryPut::Busy) when it stays. [`Queue::put`] and [`Queue::get`] return at their deadline at the latest, and
//! at least every 100 ms ([`Turn::Again`]) so that the caller can look at its signals.

mod side;

#[cfg(not(loom))]
mod get;
#[cfg(not(loom))]
mod memory;
#[cfg(not(loom))]
mod put;
#[cfg(not(loom))]
mod unfinished;
#[cfg(not(loom))]
mod wait;
#[cfg(not(loom))]
mod watch;

#[cfg(loom)]
mod model;
#[cfg(loom)]
pub use model::LoomQueue;

#[cfg(all(test, not(loom)))]
mod tests;

#[cfg(not(loom))]
pub use get::{Record, TryGet};
#[cfg(not(loom))]
pub(crate) use memory::dismantle;
#[cfg(not(loom))]
pub use memory::{ArenaMemory, Memory};
#[cfg(not(loom))]
pub use put::TryPut;
#[cfg(not(loom))]
pub use real::{HEADER, Queue};
#[cfg(not(loom))]
pub use unfinished::Joining;
#[cfg(not(loom))]
pub use wait::Turn;
#[cfg(not(loom))]
pub use watch::Watch;

#[cfg(not(loom))]
mod real {
    use super::Memory;
    use super::side::{Place, Places};
    use crate::ShmError;
    use crate::owned::{OwnedLock, Processes};
    use crate::sleep::{Manners, SleepWord};
    use crate::sync::{AtomicU64, Ordering};

    /// A side of a queue: the line that only those who put (or only those who get) write.
    #[derive(Debug)]
    #[repr(C, align(64))]
    pub(super) struct Side {
        pub(super) lock: OwnedLock,
        pub(super) places: Places,
        /// Neighbouring lines travel in pairs.
        _line: [u64; 8],
    }

    /// A word on two cache lines of its own.
    #[derive(Debug)]
    #[repr(C, align(64))]
    pub(super) struct Alone<T>(pub(super) T, [u64; 8]);

    /// The words that processes sleep on, by reason. Read after every operation, written around sleeps.
    #[derive(Debug)]
    #[repr(C, align(64))]
    pub(super) struct Waits {
        /// Until there is a record.
        pub(super) items: SleepWord,
        /// Until there is room.
        pub(super) room: SleepWord,
        /// Watchers ([`Watch`](super::Watch)): until there is a record, or until there is none.
        pub(super) watchers: SleepWord,
        /// Until nothing is unfinished.
        pub(super) finished: SleepWord,
        _line: [u64; 8],
    }

    /// The queue's own block. All zero but for `magic`, `maxsize` and the first places.
    #[derive(Debug)]
    #[repr(C, align(64))]
    pub(super) struct Header {
        /// [`MAGIC`]. Written once, last.
        magic: AtomicU64,
        /// Most records at a time; 0 for no limit. Written once.
        maxsize: AtomicU64,
        _line: [u64; 8],
        pub(super) put: Side,
        pub(super) get: Side,
        /// Records ever put. Written under the lock of `put`; the store publishes a record.
        pub(super) tail: Alone<AtomicU64>,
        /// Records ever got. Written under the lock of `get`; the store takes a record.
        pub(super) head: Alone<AtomicU64>,
        pub(super) waits: Waits,
        /// Records declared done (`task_done`). Never more than `tail`.
        pub(super) done: Alone<AtomicU64>,
        /// A chunk to be used again, or 0. Given by getters, taken by putters.
        pub(super) spare: Alone<AtomicU64>,
    }

    const MAGIC: u64 = u64::from_le_bytes(*b"phlxque2");

    /// Bytes of a queue's own block.
    pub const HEADER: usize = size_of::<Header>();

    /// Bytes of a queue's first chunk; each further one is twice as long, up to [`LARGEST`]. An arena adds a head to each.
    const SMALLEST: usize = (4 << 10) - 64;
    pub(super) const LARGEST: usize = (64 << 10) - 64;

    /// Where the records of a chunk begin: behind its length.
    pub(super) const FIRST: usize = 8;
    /// Bytes of a record before its handles and its contents.
    pub(super) const RECORD: usize = 8;
    /// Bytes of a link to the next chunk, which every chunk has room for at its end.
    pub(super) const LINK: usize = 16;

    /// The first word of a record: bytes of contents (32) | handles (16) | is a link (1).
    #[derive(Clone, Copy)]
    pub(super) struct Mark(pub(super) u64);

    impl Mark {
        const IS_LINK: u64 = 1 << 63;

        pub(super) fn record(bytes: u32, handles: u16) -> Mark {
            Mark(u64::from(handles) << 32 | u64::from(bytes))
        }

        /// A link to a chunk of `len` bytes.
        pub(super) fn link(len: u32) -> Mark {
            Mark(Self::IS_LINK | u64::from(len))
        }

        pub(super) fn is_link(self) -> bool {
            self.0 & Self::IS_LINK != 0
        }

        /// Bytes of the contents, or of the chunk linked to.
        pub(super) fn bytes(self) -> usize {
            self.0 as u32 as usize
        }

        pub(super) fn handles(self) -> usize {
            (self.0 >> 32) as u16 as usize
        }

        /// Bytes of the whole record: records start at multiples of 8.
        pub(super) fn size(self) -> usize {
            (RECORD + 8 * self.handles() + self.bytes()).next_multiple_of(8)
        }
    }

    /// One process's access to a queue in the memory `M`.
    ///
    /// ```
    /// use phalanx_shm::queue::{ArenaMemory, Queue, Record, TryGet, TryPut};
    /// use phalanx_shm::{Arena, ArenaConfig};
    ///
    /// let arena = Arena::create(ArenaConfig { bytes: 64 << 20, cached: 1 << 20 })?;
    /// let queue = Queue::create(ArenaMemory::create(arena)?, 2)?;
    /// assert_eq!(queue.try_put(b"first", &[])?, TryPut::Done);
    /// assert_eq!(queue.try_put(b"second", &[])?, TryPut::Done);
    /// assert_eq!(queue.try_put(b"third", &[])?, TryPut::Full);
    ///
    /// // Another process opens the queue in the block that its handle names.
    /// let block = queue.memory().block().expect("the queue's own block").clone();
    /// let other = Queue::open(ArenaMemory::of(block)?)?;
    /// let mut record = Record::new();
    /// assert_eq!(other.try_get(&mut record)?, TryGet::Done);
    /// assert_eq!(record.bytes(), b"first");
    /// assert_eq!(queue.len(), 1);
    /// # Ok::<(), phalanx_shm::ShmError>(())
    /// ```
    #[derive(Debug)]
    pub struct Queue<M> {
        pub(super) memory: M,
        pub(super) life: Processes,
        /// A count that `tail` has reached: under the lock of `get`.
        pub(super) seen_tail: AtomicU64,
        /// A count that `head` has reached: under the lock of `put`.
        pub(super) seen_head: AtomicU64,
        pub(super) manners: Manners,
    }

    impl<M: Memory> Queue<M> {
        /// A new queue in the (zeroed) block that `memory` gives for it; at most `maxsize` records, 0 for no limit.
        ///
        /// # Errors
        ///
        /// As [`Memory::alloc`].
        pub fn create(memory: M, maxsize: u64) -> Result<Queue<M>, ShmError> {
            let queue = Queue::over(memory);
            let (chunk, len) = queue.new_chunk(SMALLEST)?;
            let first = Place { chunk, at: FIRST as u32, len };
            let header = queue.header();
            header.put.places.set(0, first);
            header.get.places.set(0, first);
            header.maxsize.store(maxsize, Ordering::Relaxed);
            // The handle travels to others by ways that synchronise (a message, a fork).
            header.magic.store(MAGIC, Ordering::Release);
            Ok(queue)
        }

        /// The queue in the block that `memory` gives.
        ///
        /// # Errors
        ///
        /// [`ShmError::Corrupt`] when there is none.
        pub fn open(memory: M) -> Result<Queue<M>, ShmError> {
            let queue = Queue::over(memory);
            if queue.header().magic.load(Ordering::Acquire) == MAGIC {
                Ok(queue)
            } else {
                Err(ShmError::Corrupt { what: "a block that should be a queue is not one".to_owned() })
            }
        }

        fn over(memory: M) -> Queue<M> {
            Queue {
                memory,
                life: Processes,
                seen_tail: AtomicU64::new(0),
                seen_head: AtomicU64::new(0),
                manners: Manners::of_a_pair(),
            }
        }

        /// What the queue's block is in.
        pub fn memory(&self) -> &M {
            &self.memory
        }

        #[inline]
        pub(super) fn header(&self) -> &Header {
            let start = self.memory.header().cast::<Header>();
            debug_assert!(start.is_aligned());
            // SAFETY: `Memory::header` gives HEADER bytes, zeroed when new and aligned to 64, that live as long as the
            // memory; the header is made of atomics, for which every bit pattern is valid.
            unsafe { start.as_ref() }
        }

        /// Most records at a time; 0 for no limit.
        #[inline]
        pub fn maxsize(&self) -> u64 {
            self.header().maxsize.load(Ordering::Relaxed)
        }

        /// Records in the queue now. Others may be changing it.
        #[inline]
        pub fn len(&self) -> u64 {
            // Head first: a record put and got in between counts twice rather than less than nothing.
            let head = self.header().head.0.load(Ordering::Acquire);
            self.header().tail.0.load(Ordering::Acquire).saturating_sub(head)
        }

        /// Whether there is no record now.
        #[inline]
        pub fn is_empty(&self) -> bool {
            self.len() == 0
        }

        /// Whether there is no room now.
        pub fn is_full(&self) -> bool {
            self.maxsize() != 0 && self.len() >= self.maxsize()
        }

        /// A chunk of at least `bytes` and its length, which its first word tells.
        pub(super) fn new_chunk(&self, bytes: usize) -> Result<(u64, u32), ShmError> {
            let (chunk, len) = self.memory.alloc(bytes)?;
            // Longer blocks are used in part.
            let len = u32::try_from(len).unwrap_or(!7);
            match self.memory.at(chunk, FIRST) {
                Some(start) => {
                    // SAFETY: `at` gives FIRST bytes, aligned to 8, of a block that nobody else knows yet.
                    unsafe { start.cast::<u64>().write(u64::from(len)) };
                    Ok((chunk, len))
                }
                None => Err(corrupt("a new chunk lies outside")),
            }
        }
    }

    pub(super) fn corrupt(what: &str) -> ShmError {
        ShmError::Corrupt { what: format!("a queue: {what}") }
    }
}
