//! Where queues live: what they ask of the shared memory around them.

use core::ptr::NonNull;

use crate::ShmError;

/// Memory of a queue, seen from one process.
pub trait Memory {
    /// The queue's own block: [`HEADER`](super::HEADER) bytes, aligned to 128, mapped as long as this value lives.
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

impl<M: Memory> super::Queue<M> {
    /// Releases what the records carry, and the chunks: for the last holder, when nobody uses the queue any more.
    pub fn dismantle(&self) {
        let header = self.header();
        let tail = header.tail.0.load(crate::sync::Ordering::Acquire);
        let mut head = header.head.0.load(crate::sync::Ordering::Acquire);
        let mut place = header.get.places.get(head);
        while head < tail {
            let Ok((here, used_up)) = self.follow(place) else { return };
            let Ok((start, mark)) = self.record_at(here) else { return };
            for n in 0..mark.handles() {
                // SAFETY: `record_at` checked that the record, its handles included, is in bounds; it is aligned to 8.
                let handle = unsafe { start.add(super::real::RECORD).cast::<u64>().add(n).read() };
                self.memory().release(handle);
            }
            if let Some(chunk) = used_up {
                self.memory().free(chunk);
            }
            place = super::side::Place { at: here.at + mark.size() as u32, ..here };
            head += 1;
        }
        self.memory().free(place.chunk);
        let spare = header.spare.0.swap(0, crate::sync::Ordering::Acquire);
        if spare != 0 {
            self.memory().free(spare);
        }
    }
}
