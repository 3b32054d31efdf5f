//! Where queues live: what they ask of the shared memory around them.

use core::ptr::NonNull;

use super::real::{HEADER, Queue, RECORD};
use super::side::Place;
use crate::ShmError;
use crate::arena::{Arena, Block, BlockKind, Handle};
use crate::sync::Ordering;

/// Records of a queue that nobody has got, at most.
const MOST: u64 = 1 << 26;

/// Memory of a queue, seen from one process.
pub trait Memory {
    /// The queue's own block: [`HEADER`](super::HEADER) bytes, aligned to 64, mapped as long as this value lives.
    fn header(&self) -> NonNull<u8>;

    /// A new block of at least `bytes`, aligned to 8, for the queue's records; its packed handle, never 0, and its length.
    ///
    /// # Errors
    ///
    /// When there is no memory.
    fn alloc(&self, bytes: usize) -> Result<(u64, usize), ShmError>;

    /// Gives a block of `alloc` back.
    fn free(&self, block: u64);

    /// Where block `block` is, if its first `len` bytes can be in the memory at all.
    fn at(&self, block: u64, len: usize) -> Option<NonNull<u8>>;

    /// Gives up a hold that a record carried and nobody got.
    fn release(&self, handle: u64);
}

impl<M: Memory> Queue<M> {
    /// Releases what the records carry, and the chunks: for the last holder, when nobody uses the queue any more.
    pub fn dismantle(&self) {
        let header = self.header();
        let tail = header.tail.0.load(Ordering::Acquire);
        let mut head = header.head.0.load(Ordering::Acquire);
        let mut place = header.get.places.get(head);
        // Damaged records end it, and chunks that lead in a circle: better lost blocks than ones freed in use.
        let end = tail.min(head.saturating_add(MOST));
        while head < end {
            let Ok((here, used_up)) = self.follow(place) else { return };
            let Ok((start, mark)) = self.record_at(here) else { return };
            for n in 0..mark.handles() {
                // SAFETY: `record_at` checked that the record, its handles included, is in bounds; it is aligned to 8.
                let handle = unsafe { start.add(RECORD).cast::<u64>().add(n).read() };
                self.memory().release(handle);
            }
            if let Some(chunk) = used_up {
                self.memory().free(chunk);
            }
            place = Place { at: here.at + mark.size() as u32, ..here };
            head += 1;
        }
        if head < tail {
            return;
        }
        self.memory().free(place.chunk);
        // SYNC POINT queue-chunk: Acquire, as for those who put.
        let spare = header.spare.0.swap(0, Ordering::Acquire);
        if spare != 0 {
            self.memory().free(spare);
        }
    }
}

/// A queue's memory in an arena.
#[derive(Clone, Debug)]
pub struct ArenaMemory {
    arena: Arena,
    header: NonNull<u8>,
    /// The hold that keeps the queue's block; the arena itself goes without when it takes the queue apart.
    block: Option<Block>,
}

// SAFETY: an address in the arena, whose mapping stays until the process ends; a `Block` may go to any thread.
unsafe impl Send for ArenaMemory {}
// SAFETY: as for Send: nothing here changes.
unsafe impl Sync for ArenaMemory {}

impl ArenaMemory {
    /// Memory for a new queue.
    ///
    /// # Errors
    ///
    /// As [`Arena::alloc`].
    pub fn create(arena: Arena) -> Result<ArenaMemory, ShmError> {
        ArenaMemory::of(arena.alloc_zeroed(HEADER, BlockKind::Queue)?)
    }

    /// The memory of the queue in `block`.
    ///
    /// # Errors
    ///
    /// [`ShmError::Corrupt`] when `block` is something else.
    pub fn of(block: Block) -> Result<ArenaMemory, ShmError> {
        match NonNull::new(block.as_ptr()) {
            Some(header) if block.kind() == BlockKind::Queue && block.len() >= HEADER => {
                Ok(ArenaMemory { arena: block.arena(), header, block: Some(block) })
            }
            _ => Err(ShmError::Corrupt { what: format!("block {:?} is not a queue", block.handle()) }),
        }
    }

    /// The hold on the queue's block.
    pub fn block(&self) -> Option<&Block> {
        self.block.as_ref()
    }
}

impl Memory for ArenaMemory {
    #[inline]
    fn header(&self) -> NonNull<u8> {
        self.header
    }

    fn alloc(&self, bytes: usize) -> Result<(u64, usize), ShmError> {
        let block = self.arena.alloc(bytes, BlockKind::Plain)?;
        let len = block.len();
        // The queue holds it from here on.
        Ok((block.into_transit().to_u64(), len))
    }

    fn free(&self, block: u64) {
        self.arena.discard(Handle::from_u64(block));
    }

    #[inline]
    fn at(&self, block: u64, len: usize) -> Option<NonNull<u8>> {
        self.arena.place(Handle::from_u64(block), len)
    }

    fn release(&self, handle: u64) {
        self.arena.discard(Handle::from_u64(handle));
    }
}

/// Takes a queue apart whose block at `header` nobody holds any more.
pub(crate) fn dismantle(arena: Arena, header: *mut u8, len: u64) {
    if len < HEADER as u64 {
        return;
    }
    let Some(header) = NonNull::new(header) else { return };
    // A queue whose maker was killed while making it has no chunks.
    if let Ok(queue) = Queue::open(ArenaMemory { arena, header, block: None }) {
        queue.dismantle();
    }
}
