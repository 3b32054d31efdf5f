//! Which process holds which blocks: a record per process, readable by the others when it has died.
//!
//! A process notes each of its holds in an *entry* of its own record; entries lie in chunks that are blocks of the
//! heap. When a process is found dead, whoever finds it (the *sweeper*) takes its entries one by one and gives those
//! holds back.
//!
//! The order of steps decides what a kill between them costs. Taking a hold: count it, then note it. Giving it back:
//! take the note away, then count it down. So a kill in between leaves a count that is one too high (that block stays
//! until the family ends), never one too low.
//!
//! A sweeper puts its own tag into the record, with [`SWEEPING`], before it touches anything; one that is killed
//! leaves a record with a dead tag, which the next sweeper finds. A record for a child that is being forked carries its
//! parent's tag and [`FORKING`] until the child puts its own there; one that nobody has taken up after a minute is as
//! good as dead.

use core::sync::atomic::{AtomicU64, Ordering};

use super::Inner;
use super::layout::{MEMBERS, MEMBERS_AT, Member};
use crate::{ProcessTag, ShmError};

/// A sweeper's tag, not the member's.
const SWEEPING: u64 = 1 << 63;
/// The tag of the parent of the member to be.
const FORKING: u64 = 1 << 62;

/// A reservation that no child has taken up after this long: the fork failed, or the child died at once.
const RESERVATION_MS: u64 = 60_000;

/// Milliseconds of the machine's uptime: one clock for all processes.
fn uptime_ms() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    now.tv_sec as u64 * 1000 + now.tv_nsec as u64 / 1_000_000
}

/// Bytes of a chunk: the position of the next one, and entries.
const CHUNK: u64 = 960;
const ENTRIES: u64 = CHUNK / 8 - 1;

/// This process's side of its record. Behind a mutex; a forked child gets one of its own.
#[derive(Debug, Default)]
pub(crate) struct Record {
    /// Number of the record; `None`: not a member yet, or no room (its holds are then not noted).
    number: Option<u32>,
    /// Positions of its chunks, in order of the entries.
    chunks: Vec<u64>,
    /// Unused entries.
    free: Vec<u32>,
}

/// The place of a note: an index over all chunks. Valid in forked children too, whose chunks are copies.
pub(crate) type Entry = Option<u32>;

fn member(inner: &'static Inner, number: u32) -> &'static Member {
    debug_assert!((number as usize) < MEMBERS);
    let at = MEMBERS_AT as usize + number as usize * size_of::<Member>();
    // SAFETY: inside the member table of the mapping, aligned, and all of it atomics.
    unsafe { &*inner.segment.base().add(at).cast::<Member>() }
}

/// Word `index` of the chunk at `chunk`; 0 is the link.
fn chunk_word(inner: &'static Inner, chunk: u64, index: u64) -> &'static AtomicU64 {
    debug_assert!(index <= ENTRIES && inner.heap().holds(chunk));
    // SAFETY: chunks are blocks of CHUNK bytes that this module took from the heap, aligned to 64 bytes.
    unsafe { &*inner.segment.base().add((chunk + index * 8) as usize).cast::<AtomicU64>() }
}

impl Record {
    fn entry(&self, inner: &'static Inner, entry: u32) -> Option<&'static AtomicU64> {
        let chunk = *self.chunks.get((u64::from(entry) / ENTRIES) as usize)?;
        Some(chunk_word(inner, chunk, u64::from(entry) % ENTRIES + 1))
    }

    /// Notes a hold that is already counted.
    pub(crate) fn note(&mut self, inner: &'static Inner, handle: u64) -> Entry {
        if self.free.is_empty() {
            self.grow(inner)?;
        }
        let entry = self.free.pop()?;
        // SYNC POINT arena entry: Release, pairs with the swap of a sweeper.
        self.entry(inner, entry)?.store(handle, Ordering::Release);
        Some(entry)
    }

    /// Takes a note away. Tells whether it was there: if not, a sweeper (wrongly) gave the hold back already.
    pub(crate) fn strike(&mut self, inner: &'static Inner, entry: Entry, handle: u64) -> bool {
        let Some(entry) = entry else {
            return true;
        };
        let Some(word) = self.entry(inner, entry) else {
            return false;
        };
        let there = word.compare_exchange(handle, 0, Ordering::AcqRel, Ordering::Relaxed).is_ok();
        if there {
            self.free.push(entry);
        }
        there
    }

    /// Another chunk of entries; the first one makes this process a member.
    fn grow(&mut self, inner: &'static Inner) -> Option<()> {
        let number = match self.number {
            Some(number) => number,
            None => *self.number.insert(join(inner, ProcessTag::me().bits())?),
        };
        let chunk = new_chunk(inner).ok()?;
        match self.chunks.last() {
            Some(last) => chunk_word(inner, *last, 0).store(chunk, Ordering::Release),
            None => member(inner, number).chunks.store(chunk, Ordering::Release),
        }
        let first = self.chunks.len() as u64 * ENTRIES;
        self.chunks.push(chunk);
        self.free.extend((first..first + ENTRIES).rev().map(|n| n as u32));
        Some(())
    }

    /// Before a fork: a record for the child with the same holds, all counted once more. `None` when there is no room
    /// or nothing to copy: the child then notes nothing of what it inherits, and gives nothing back.
    pub(crate) fn duplicate(&self, inner: &'static Inner) -> Record {
        let mut copy = Record::default();
        if self.chunks.is_empty() {
            return copy;
        }
        let Some(number) = join(inner, ProcessTag::me().bits() | FORKING) else {
            return copy;
        };
        copy.number = Some(number);
        for chunk in &self.chunks {
            let Ok(fresh) = new_chunk(inner) else {
                break;
            };
            for index in 1..=ENTRIES {
                let handle = chunk_word(inner, *chunk, index).load(Ordering::Relaxed);
                if handle != 0 && inner.count_up(handle) {
                    chunk_word(inner, fresh, index).store(handle, Ordering::Relaxed);
                }
            }
            match copy.chunks.last() {
                Some(last) => chunk_word(inner, *last, 0).store(fresh, Ordering::Release),
                None => member(inner, number).chunks.store(fresh, Ordering::Release),
            }
            copy.chunks.push(fresh);
        }
        let known = copy.chunks.len() as u64 * ENTRIES;
        copy.free = self.free.iter().copied().filter(|entry| u64::from(*entry) < known).collect();
        copy
    }

    /// In the child of a fork: the record is this process's now. When it is not any more (the child was stopped for a
    /// minute at this point), the child notes nothing and gives nothing back.
    pub(crate) fn adopt(&mut self, inner: &'static Inner, parent: ProcessTag) {
        let Some(number) = self.number else {
            return;
        };
        let (reserved, me) = (parent.bits() | FORKING, ProcessTag::me().bits());
        let tag = &member(inner, number).tag;
        if tag.compare_exchange(reserved, me, Ordering::AcqRel, Ordering::Relaxed).is_err() {
            *self = Record::default();
        }
    }
}

fn new_chunk(inner: &'static Inner) -> Result<u64, ShmError> {
    let (at, _) = inner.heap().take(CHUNK, || false)?;
    for index in 0..=ENTRIES {
        chunk_word(inner, at, index).store(0, Ordering::Relaxed);
    }
    Ok(at)
}

/// An unused record, marked with `tag`.
fn join(inner: &'static Inner, tag: u64) -> Option<u32> {
    let used = &inner.header().members;
    for _ in 0..2 {
        let known = used.load(Ordering::Acquire).min(MEMBERS as u64) as u32;
        for number in 0..MEMBERS as u32 {
            let free = number >= known || member(inner, number).tag.load(Ordering::Relaxed) == 0;
            if free {
                member(inner, number).since.store(uptime_ms(), Ordering::Relaxed);
            }
            let taken =
                free && member(inner, number).tag.compare_exchange(0, tag, Ordering::AcqRel, Ordering::Relaxed).is_ok();
            if taken {
                used.fetch_max(u64::from(number) + 1, Ordering::AcqRel);
                return Some(number);
            }
        }
        if sweep(inner, |_| true) == 0 {
            break;
        }
    }
    None
}

/// Gives back what dead processes hold, among those that `chosen` accepts by number. Returns how many were found.
pub(crate) fn sweep(inner: &'static Inner, chosen: impl Fn(u32) -> bool) -> usize {
    let known = inner.header().members.load(Ordering::Acquire).min(MEMBERS as u64) as u32;
    let me = ProcessTag::me().bits();
    let mut found = 0;
    for number in 0..known {
        let record = member(inner, number);
        let tag = record.tag.load(Ordering::Acquire);
        let who = ProcessTag::from_bits(tag);
        if tag == 0 || tag == me || !chosen(who.pid()) {
            continue;
        }
        let since = record.since.load(Ordering::Relaxed);
        let lives =
            if tag & FORKING == 0 { who.is_alive() } else { uptime_ms().saturating_sub(since) < RESERVATION_MS };
        if lives {
            continue;
        }
        // SYNC POINT arena sweep: AcqRel, one sweeper gets the record; what the dead process wrote is visible.
        if record.tag.compare_exchange(tag, me | SWEEPING, Ordering::AcqRel, Ordering::Relaxed).is_err() {
            continue;
        }
        let mut chunk = record.chunks.load(Ordering::Acquire);
        while chunk != 0 && inner.heap().holds(chunk) {
            for index in 1..=ENTRIES {
                let handle = chunk_word(inner, chunk, index).swap(0, Ordering::AcqRel);
                if handle != 0 {
                    inner.count_down(handle);
                }
            }
            let next = chunk_word(inner, chunk, 0).load(Ordering::Acquire);
            record.chunks.store(next, Ordering::Release);
            inner.heap().give(chunk);
            chunk = next;
        }
        record.chunks.store(0, Ordering::Relaxed);
        record.tag.store(0, Ordering::Release);
        found += 1;
    }
    found
}
