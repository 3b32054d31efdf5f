//! Getting a record.

use core::mem::MaybeUninit;
use core::ptr;
use std::time::Instant;

use super::real::{FIRST, LINK, Mark, Queue, RECORD, corrupt};
use super::side::Place;
use super::{Memory, Turn};
use crate::ShmError;
use crate::mem::memmove;
use crate::sleep::{Deadline, SleepWord, WAITING_TOO};
use crate::sync::Ordering;

/// Records up to this size need no allocation.
const SHORT: usize = 256;

/// Room for the record that comes next.
pub struct Record {
    short: [MaybeUninit<u8>; SHORT],
    long: Vec<u8>,
    /// Bytes in `short`; meaningless when `long` is not empty.
    len: usize,
}

impl core::fmt::Debug for Record {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_tuple("Record").field(&self.bytes()).finish()
    }
}

impl Default for Record {
    fn default() -> Record {
        Record::new()
    }
}

impl Record {
    /// An empty one.
    #[inline]
    pub const fn new() -> Record {
        Record { short: [const { MaybeUninit::uninit() }; SHORT], long: Vec::new(), len: 0 }
    }

    /// The record's contents.
    #[inline]
    pub fn bytes(&self) -> &[u8] {
        if self.long.is_empty() {
            // SAFETY: `fill` has initialised the first `len` bytes.
            unsafe { core::slice::from_raw_parts(self.short.as_ptr().cast::<u8>(), self.len) }
        } else {
            &self.long
        }
    }

    /// # Safety
    ///
    /// `from` is readable for `len` bytes that nobody writes meanwhile.
    #[inline]
    unsafe fn fill(&mut self, from: *const u8, len: usize) -> Result<(), ShmError> {
        self.long.clear();
        if len <= SHORT {
            // SAFETY: by contract readable; `short` is this value's own and long enough.
            unsafe { ptr::copy_nonoverlapping(from, self.short.as_mut_ptr().cast::<u8>(), len) };
            self.len = len;
            return Ok(());
        }
        self.long.try_reserve_exact(len).map_err(|_| ShmError::OutOfMemory {
            bytes: len as u64,
            what: "a record of a queue",
            source: std::io::ErrorKind::OutOfMemory.into(),
        })?;
        // SAFETY: by contract readable; the vector has room for `len` bytes, which are initialised here.
        unsafe {
            memmove::copy(from, self.long.as_mut_ptr(), len);
            self.long.set_len(len);
        }
        Ok(())
    }
}

/// What became of an attempt to get.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum TryGet {
    /// The record is the caller's.
    Done,
    /// There is none.
    Empty,
    /// Another thread or process is getting, for longer than usual.
    Busy,
}

impl<M: Memory> Queue<M> {
    /// Gets the oldest record if there is one.
    ///
    /// # Errors
    ///
    /// [`ShmError::Corrupt`], and [`ShmError::OutOfMemory`] when a long record does not fit into this process; the record
    /// stays in the queue then.
    #[inline]
    pub fn try_get(&self, record: &mut Record) -> Result<TryGet, ShmError> {
        let Some(guard) = self.header().get.lock.take_soon(&self.life) else { return Ok(TryGet::Busy) };
        let got = self.get_locked(record)?;
        drop(guard);
        if let Some(last) = got {
            self.has_got(last);
        }
        Ok(if got.is_some() { TryGet::Done } else { TryGet::Empty })
    }

    /// As [`Queue::try_get`], but waits for those who are getting, until `until`.
    ///
    /// # Errors
    ///
    /// As [`Queue::try_get`].
    pub fn try_get_until(&self, record: &mut Record, until: Instant) -> Result<TryGet, ShmError> {
        let Some(guard) = self.header().get.lock.lock_until(&self.life, Deadline::at(until)) else {
            return Ok(TryGet::Busy);
        };
        let got = self.get_locked(record)?;
        drop(guard);
        if let Some(last) = got {
            self.has_got(last);
        }
        Ok(if got.is_some() { TryGet::Done } else { TryGet::Empty })
    }

    /// Gets the oldest record, waiting for one until `deadline` (for ever without one): one turn of it.
    ///
    /// # Errors
    ///
    /// As [`Queue::try_get`].
    pub fn get(&self, record: &mut Record, deadline: Option<Instant>, turn: u32) -> Result<Turn, ShmError> {
        self.wait(
            &self.header().waits.items,
            deadline,
            turn,
            || !self.is_empty(),
            |until| match self.try_get_until(record, until)? {
                TryGet::Busy => Ok(None),
                got => Ok(Some(got == TryGet::Done)),
            },
        )
    }

    /// Waits until there is a record, without getting it: one turn of it. Somebody else may get it first.
    pub fn poll(&self, deadline: Option<Instant>, turn: u32) -> Turn {
        let there = || !self.is_empty();
        let waited = self.wait(&self.header().waits.items, deadline, turn, there, |_| Ok(Some(there())));
        if matches!(waited, Ok(Turn::Done)) {
            // The wake-up is for somebody who gets it.
            SleepWord::published();
            self.header().waits.items.notify_one();
        }
        waited.unwrap_or(Turn::Again)
    }

    /// The holder of the get side's lock takes a record; whether it may have been the last one.
    #[inline]
    fn get_locked(&self, record: &mut Record) -> Result<Option<bool>, ShmError> {
        let header = self.header();
        let head = header.head.0.load(Ordering::Relaxed);
        let mut seen = self.seen_tail.load(Ordering::Relaxed);
        if seen <= head {
            // SYNC POINT queue-record: Acquire, sees records, links and chunks up to this count. (A process that sees a
            // count that another thread of this process has seen, has taken the lock since.)
            seen = header.tail.0.load(Ordering::Acquire);
            if seen <= head {
                return if seen == head { Ok(None) } else { Err(corrupt("more records got than put")) };
            }
            self.seen_tail.store(seen, Ordering::Relaxed);
        }
        let place = header.get.places.get(head);
        let (place, used_up) = self.follow(place)?;
        let (start, mark) = self.record_at(place)?;
        // SAFETY: `record_at` checked that the whole record is in bounds; published records are not written any more.
        unsafe { record.fill(start.as_ptr().add(RECORD + 8 * mark.handles()), mark.bytes())? };
        header.get.places.set(head + 1, Place { at: place.at + mark.size() as u32, ..place });
        // SYNC POINT queue-room: Release, the record is taken: those who put see it as room.
        header.head.0.store(head + 1, Ordering::Release);
        if let Some(chunk) = used_up {
            self.recycle(chunk);
        }
        Ok(Some(seen == head + 1))
    }

    /// The place of a published record itself, when `place` may be that of the link to it; and the chunk left behind.
    #[inline]
    pub(super) fn follow(&self, place: Place) -> Result<(Place, Option<u64>), ShmError> {
        let at = place.at as usize;
        let Some(start) = self.memory.at(place.chunk, at + LINK).filter(|_| at.is_multiple_of(8)) else {
            return Err(corrupt("a place outside"));
        };
        // SAFETY: LINK bytes at `at` are in bounds by the check, aligned, and published.
        let mark = Mark(unsafe { start.add(at).cast::<u64>().read() });
        if !mark.is_link() {
            return Ok((place, None));
        }
        // SAFETY: as before; a link is LINK bytes long.
        let chunk = unsafe { start.add(at + 8).cast::<u64>().read() };
        Ok((Place { chunk, at: FIRST as u32, len: mark.bytes() as u32 }, Some(place.chunk)))
    }

    /// Where the published record at `place` starts, and its first word.
    #[inline]
    pub(super) fn record_at(&self, place: Place) -> Result<(ptr::NonNull<u8>, Mark), ShmError> {
        let (at, len) = (place.at as usize, place.len as usize);
        if at % 8 == 0
            && at + RECORD + LINK <= len
            && let Some(start) = self.memory.at(place.chunk, len)
        {
            // SAFETY: in bounds by the two checks, aligned, and published.
            let (start, mark) = unsafe { (start.add(at), Mark(start.add(at).cast::<u64>().read())) };
            if !mark.is_link() && mark.size() <= len - at - LINK {
                return Ok((start, mark));
            }
        }
        Err(corrupt("a record that does not fit its chunk"))
    }

    /// Gives away a chunk whose records are all taken.
    #[cold]
    fn recycle(&self, chunk: u64) {
        // SYNC POINT queue-chunk: Release, after the last reads of it.
        let spare = &self.header().spare.0;
        if spare.compare_exchange(0, chunk, Ordering::Release, Ordering::Relaxed).is_err() {
            self.memory.free(chunk);
        }
    }

    /// Tells those who wait for room, and those who watch for emptiness, after the lock was given back.
    #[inline]
    fn has_got(&self, last: bool) {
        let bounded = self.maxsize() != 0;
        if bounded || last {
            // The lock was given back by an atomic exchange.
            SleepWord::published_by_atomic();
            let waits = &self.header().waits;
            if bounded {
                waits.room.notify_one();
            }
            if last && self.is_empty() {
                waits.watchers.notify_all(WAITING_TOO);
            }
        }
    }
}
