//! Putting a record.

use core::ptr;

use super::real::{FIRST, LARGEST, LINK, Mark, Queue, RECORD, corrupt};
use super::side::Place;
use super::{Memory, Turn};
use crate::ShmError;
use crate::mem::memmove;
use crate::sleep::{Deadline, SleepWord, WAITING};
use crate::sync::Ordering;
use std::time::Instant;

/// What became of an attempt to put.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum TryPut {
    /// The record is in the queue.
    Done,
    /// There are `maxsize` records already.
    Full,
    /// Another thread or process is putting, for longer than usual.
    Busy,
}

impl<M: Memory> Queue<M> {
    /// Puts the record `wire` if there is room now. The record takes over the holds that `handles` name: the process
    /// that gets it gets them, and [`Queue::dismantle`] releases those of records that nobody got.
    ///
    /// # Errors
    ///
    /// As [`Memory::alloc`], and [`ShmError::Corrupt`]; the record is not in the queue then.
    #[inline]
    pub fn try_put(&self, wire: &[u8], handles: &[u64]) -> Result<TryPut, ShmError> {
        let Some(guard) = self.header().put.lock.take_soon(&self.life) else { return Ok(TryPut::Busy) };
        let put = self.put_locked(wire, handles)?;
        drop(guard);
        if put == TryPut::Done {
            self.has_put();
        }
        Ok(put)
    }

    /// As [`Queue::try_put`], but waits for those who are putting, until `until`.
    ///
    /// # Errors
    ///
    /// As [`Queue::try_put`].
    pub fn try_put_until(&self, wire: &[u8], handles: &[u64], until: Instant) -> Result<TryPut, ShmError> {
        let Some(guard) = self.header().put.lock.lock_until(&self.life, Deadline::at(until)) else {
            return Ok(TryPut::Busy);
        };
        let put = self.put_locked(wire, handles)?;
        drop(guard);
        if put == TryPut::Done {
            self.has_put();
        }
        Ok(put)
    }

    /// Waits until there is room, without using it: one turn of it. Somebody else may use it first.
    pub fn wait_for_room(&self, deadline: Option<Instant>, turn: u32) -> Turn {
        let room = || !self.is_full();
        let waited = self.wait(&self.header().waits.room, deadline, turn, room, |_| Ok(Some(room())));
        if matches!(waited, Ok(Turn::Done)) {
            // The wake-up is for somebody who may use it.
            SleepWord::published();
            self.header().waits.room.notify_one();
        }
        waited.unwrap_or(Turn::Again)
    }

    /// Puts a record, waiting for room until `deadline` (for ever without one): one turn of it.
    ///
    /// # Errors
    ///
    /// As [`Queue::try_put`].
    pub fn put(&self, wire: &[u8], handles: &[u64], deadline: Option<Instant>, turn: u32) -> Result<Turn, ShmError> {
        self.wait(
            &self.header().waits.room,
            deadline,
            turn,
            || !self.is_full(),
            |until| match self.try_put_until(wire, handles, until)? {
                TryPut::Busy => Ok(None),
                put => Ok(Some(put == TryPut::Done)),
            },
        )
    }

    /// The holder of the put side's lock puts a record.
    #[inline]
    fn put_locked(&self, wire: &[u8], handles: &[u64]) -> Result<TryPut, ShmError> {
        let header = self.header();
        let tail = header.tail.0.load(Ordering::Relaxed);
        let maxsize = self.maxsize();
        if maxsize != 0 && tail.wrapping_sub(self.seen_head.load(Ordering::Relaxed)) >= maxsize {
            // SYNC POINT queue-room: Acquire, a record that counts as taken is taken.
            let head = header.head.0.load(Ordering::Acquire);
            self.seen_head.store(head, Ordering::Relaxed);
            if tail.wrapping_sub(head) >= maxsize {
                return Ok(TryPut::Full);
            }
        }
        let (Ok(bytes), Ok(count)) = (u32::try_from(wire.len()), u16::try_from(handles.len())) else {
            return Err(ShmError::BadRange { offset: 0, bytes: wire.len() as u64 });
        };
        let mark = Mark::record(bytes, count);
        let size = mark.size();
        let place = header.put.places.get(tail);
        let at = place.at as usize;
        let Some(room) = (place.len as usize).checked_sub(at).filter(|_| at.is_multiple_of(8)) else {
            return Err(corrupt("a place behind its chunk"));
        };
        let next = if size + LINK <= room {
            self.write(place.chunk, at, mark, wire, handles)?;
            Place { at: (at + size) as u32, ..place }
        } else {
            self.put_in_new_chunk(place, mark, wire, handles)?
        };
        let count = tail.wrapping_add(1);
        header.put.places.set(count, next);
        // SYNC POINT queue-record: Release, publishes the record, a link to its chunk and the place of the next.
        header.tail.0.store(count, Ordering::Release);
        Ok(TryPut::Done)
    }

    #[cold]
    fn put_in_new_chunk(&self, full: Place, mark: Mark, wire: &[u8], handles: &[u64]) -> Result<Place, ShmError> {
        let need = FIRST + mark.size() + LINK;
        let (chunk, len) = match self.spare_chunk(need) {
            Some(spare) => spare,
            None => self.new_chunk((2 * full.len as usize).min(LARGEST).max(need))?,
        };
        self.write(chunk, FIRST, mark, wire, handles)?;
        let at = full.at as usize;
        match self.memory.at(full.chunk, at + LINK) {
            Some(start) => {
                // SAFETY: the range is in bounds by `at`, which checked its end; it is aligned, since places are
                // multiples of 8; only the holder of the lock writes behind the published records.
                unsafe {
                    let link = start.add(at).cast::<u64>();
                    link.write(Mark::link(len).0);
                    link.add(1).write(chunk);
                }
            }
            None => return Err(corrupt("a link outside its chunk")),
        }
        Ok(Place { chunk, at: (FIRST + mark.size()) as u32, len })
    }

    /// The chunk that was left over, if it has room for `need` bytes.
    fn spare_chunk(&self, need: usize) -> Option<(u64, u32)> {
        let spare = &self.header().spare.0;
        if spare.load(Ordering::Relaxed) == 0 {
            return None;
        }
        // SYNC POINT queue-chunk: Acquire, after the last reads of the getter that gave it.
        let chunk = spare.swap(0, Ordering::Acquire);
        let start = (chunk != 0).then(|| self.memory.at(chunk, FIRST)).flatten()?;
        // SAFETY: `at` gives FIRST bytes aligned to 8; the swap made the chunk this process's own.
        let len = unsafe { start.cast::<u64>().read() };
        if len as usize >= need && len <= u64::from(u32::MAX) && self.memory.at(chunk, len as usize).is_some() {
            return Some((chunk, len as u32));
        }
        self.memory.free(chunk);
        None
    }

    /// Writes a record at byte `at` of a chunk, behind everything published.
    #[inline]
    fn write(&self, chunk: u64, at: usize, mark: Mark, wire: &[u8], handles: &[u64]) -> Result<(), ShmError> {
        let Some(start) = self.memory.at(chunk, at + mark.size()) else {
            return Err(corrupt("a record outside its chunk"));
        };
        // SAFETY: the record's bytes are in bounds by `at`, and aligned, since places are multiples of 8; only the holder
        // of the lock writes behind the published records, and nobody reads there.
        unsafe {
            let to = start.add(at);
            to.cast::<u64>().write(mark.0);
            let to = to.add(RECORD);
            ptr::copy_nonoverlapping(handles.as_ptr().cast::<u8>(), to.as_ptr(), 8 * handles.len());
            memmove::copy(wire.as_ptr(), to.add(8 * handles.len()).as_ptr(), wire.len());
        }
        Ok(())
    }

    /// Tells those who wait for records, after the lock was given back.
    #[inline]
    fn has_put(&self) {
        // The lock was given back by an atomic exchange.
        SleepWord::published_by_atomic();
        let waits = &self.header().waits;
        waits.items.notify_one();
        waits.watchers.notify_all(WAITING);
    }
}
