//! Which process holds which blocks: a record per process, readable by the others when it has died.
//!
//! A process notes each of its holds in an *entry* of its own record; entries lie in chunks that are blocks of the
//! heap. When a process is found dead, the process that has found it (the *sweeper*) takes its entries one by one and
//! gives those holds back.
//!
//! The order of steps decides what a kill between them costs. Taking a hold: count it, then note it. Giving it back:
//! take the note away, then count it down. So a kill in between leaves a count that is one too high (that block stays
//! until the family ends), never one too low.
//!
//! A sweeper puts its own tag into the record, with [`SWEEPING`], before it touches anything; one that is killed
//! leaves a record with a dead tag, which the next sweeper finds. A record for a child that is being forked carries its
//! parent's tag and [`FORKING`] until the child puts its own there, and [`FORKED`] once there is a child, if there ever will
//! be. It is as good as dead when the parent then has no child that could take it up; or, when the parent is dead, after
//! ten minutes.
//!
//! A member that becomes another program by `exec` is the same process to the system, but has nothing of the arena any
//! more. A thorough sweep finds out.

use std::collections::BTreeMap;

use super::Inner;
use super::layout::{MEMBERS, MEMBERS_AT, Member};
use crate::alive::parent_of;
use crate::sleep::uptime_ms;
use crate::sync::{AtomicU64, Ordering};
use crate::{ProcessTag, ShmError};

/// A sweeper's tag, not the member's.
const SWEEPING: u64 = 1 << 63;
/// The tag of the parent of the member to be.
const FORKING: u64 = 1 << 62;

/// With [`FORKING`]: the fork has returned in the parent, so there is a child, or there never will be.
const FORKED: u64 = 1 << 61;

/// A reservation that no child has taken up after this long, and of whose parent nothing can be learned: the child died
/// at once.
const RESERVATION_MS: u64 = 600_000;

/// How long a member table that is full of living processes is believed to stay so.
const CROWDED_MS: u64 = 1000;

/// Bytes of a chunk: the position of the next one, and entries.
const CHUNK: u64 = 960;
const ENTRIES: u64 = CHUNK / 8 - 1;

/// Chunks put aside: as many as fit beside others in the first slab of their size.
const SPARE_CHUNKS: usize = 40;

/// This process's side of its record. Behind a mutex; a forked child gets one of its own.
#[derive(Debug, Default)]
pub(crate) struct Record {
    /// Number of the record; `None`: not a member yet, or no room (its holds are then loose).
    number: Option<u32>,
    /// Positions of its chunks, in order of the entries.
    chunks: Vec<u64>,
    /// Unused entries.
    free: Vec<u32>,
    /// Holds for which there was no room, and how many on each block. If this process is killed, they stay for ever.
    loose: BTreeMap<u64, u32>,
}

/// The place of a note: an index over all chunks. Valid in forked children too, whose chunks are copies. `None`: no room.
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
        self.note_or_tell(inner, handle, &mut None)
    }

    /// [`Record::note`]; `refused` tells why there was no memory for the note.
    pub(crate) fn note_or_tell(&mut self, inner: &'static Inner, handle: u64, refused: &mut Option<ShmError>) -> Entry {
        let noted = self.note_in_chunk(inner, handle, refused);
        if noted.is_none() {
            *self.loose.entry(handle).or_insert(0) += 1;
        }
        noted
    }

    #[inline]
    fn note_in_chunk(&mut self, inner: &'static Inner, handle: u64, refused: &mut Option<ShmError>) -> Entry {
        if self.free.is_empty() {
            self.grow(inner, refused)?;
        }
        let entry = self.free.pop()?;
        // SYNC POINT arena-entry: Release, pairs with the swap in `sweep`.
        self.entry(inner, entry)?.store(handle, Ordering::Release);
        Some(entry)
    }

    /// Whether this process has a record.
    #[cfg(test)]
    pub(crate) fn is_member(&self) -> bool {
        self.number.is_some()
    }

    /// Takes a note away. Tells whether it was there: if not, the hold is not to be given back. Its process inherited it
    /// when there was no room to note it, or a sweeper (wrongly) has given it back already.
    pub(crate) fn strike(&mut self, inner: &'static Inner, entry: Entry, handle: u64) -> bool {
        let Some(entry) = entry else {
            return self.strike_loose(handle);
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

    #[cold]
    fn strike_loose(&mut self, handle: u64) -> bool {
        let Some(count) = self.loose.get_mut(&handle) else {
            return false;
        };
        *count -= 1;
        if *count == 0 {
            self.loose.remove(&handle);
        }
        true
    }

    /// Another chunk of entries; the first one makes this process a member. `refused` tells why there was no memory.
    #[cold]
    fn grow(&mut self, inner: &'static Inner, refused: &mut Option<ShmError>) -> Option<()> {
        let number = match self.number {
            Some(number) => number,
            None => *self.number.insert(join(inner, ProcessTag::me().bits())?),
        };
        let chunk = new_chunk(inner, self.chunks.is_empty()).map_err(|e| *refused = Some(e)).ok()?;
        if self.chunks.is_empty() {
            put_chunks_aside(inner);
        }
        match self.chunks.last() {
            Some(last) => chunk_word(inner, *last, 0).store(chunk, Ordering::Release),
            None => member(inner, number).chunks.store(chunk, Ordering::Release),
        }
        let first = self.chunks.len() as u64 * ENTRIES;
        self.chunks.push(chunk);
        self.free.extend((first..first + ENTRIES).rev().map(|n| n as u32));
        Some(())
    }

    /// Gives the last chunks back as far as they have no entries.
    pub(crate) fn trim(&mut self, inner: &'static Inner) {
        let mut used = vec![ENTRIES; self.chunks.len()];
        for entry in &self.free {
            if let Some(used) = used.get_mut((u64::from(*entry) / ENTRIES) as usize) {
                *used -= 1;
            }
        }
        while let [.., last, chunk] = self.chunks[..]
            && used.get(self.chunks.len() - 1) == Some(&0)
        {
            chunk_word(inner, last, 0).store(0, Ordering::Release);
            inner.heap().give(chunk);
            self.chunks.pop();
        }
        let known = self.chunks.len() as u64 * ENTRIES;
        self.free.retain(|entry| u64::from(*entry) < known);
    }

    /// Before a fork: a record for the child with the same holds, all counted once more. What there is no room to note
    /// is counted all the same, and never given back: the child may use it, and nobody could tell when it ends.
    pub(crate) fn duplicate(&self, inner: &'static Inner) -> Record {
        let mut copy = Record::default();
        for (handle, holds) in &self.loose {
            // The child has a copy of each, and may pass each on.
            for _ in 0..*holds {
                inner.count_up(*handle);
            }
        }
        if self.chunks.is_empty() {
            return copy;
        }
        put_chunks_aside(inner);
        copy.number = join(inner, ProcessTag::me().bits() | FORKING);
        let mut room = copy.number;
        // Not the last ones, if nothing is in them: the child makes its own when it needs them.
        let is_used =
            |chunk: &u64| (1..=ENTRIES).any(|index| chunk_word(inner, *chunk, index).load(Ordering::Relaxed) != 0);
        let used = self.chunks.iter().rposition(is_used).map_or(0, |last| last + 1);
        for chunk in &self.chunks[..used] {
            let fresh = room.and_then(|_| new_chunk(inner, true).ok());
            for index in 1..=ENTRIES {
                let handle = chunk_word(inner, *chunk, index).load(Ordering::Relaxed);
                if handle != 0
                    && inner.count_up(handle)
                    && let Some(fresh) = fresh
                {
                    chunk_word(inner, fresh, index).store(handle, Ordering::Relaxed);
                }
            }
            // Entries have the same numbers in both records, so no chunk follows one that is missing.
            let (Some(number), Some(fresh)) = (room, fresh) else {
                room = None;
                continue;
            };
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

    /// In the parent, after the fork: whether there is a child can be seen from now on.
    pub(crate) fn forked(&self, inner: &'static Inner, parent: ProcessTag) {
        if let Some(number) = self.number {
            let reserved = parent.bits() | FORKING;
            let tag = &member(inner, number).tag;
            // A child that was faster has its own there.
            let _ = tag.compare_exchange(reserved, reserved | FORKED, Ordering::AcqRel, Ordering::Relaxed);
        }
    }

    /// In the child of a fork: the record is this process's now. When it is not any more (the parent is dead, and the
    /// child was stopped for ten minutes at this point), the child notes nothing and gives nothing back.
    pub(crate) fn adopt(&mut self, inner: &'static Inner, parent: ProcessTag) {
        let Some(number) = self.number else {
            return;
        };
        let (reserved, me) = (parent.bits() | FORKING, ProcessTag::me().bits());
        let tag = &member(inner, number).tag;
        // The parent changes it once at most.
        let adopted = [reserved, reserved | FORKED]
            .into_iter()
            .any(|seen| tag.compare_exchange(seen, me, Ordering::AcqRel, Ordering::Relaxed).is_ok());
        if !adopted {
            *self = Record::default();
        }
    }
}

/// A chunk without entries. With `urgent`, one that was put aside serves when there is no memory.
fn new_chunk(inner: &'static Inner, urgent: bool) -> Result<u64, ShmError> {
    let heap = inner.heap();
    let spare = || heap.pop_from(&inner.header().spare_chunks).filter(|_| urgent);
    let at = heap.take_soon(CHUNK).map(|(at, _)| at).or_else(|e| spare().ok_or(e))?;
    for index in 0..=ENTRIES {
        chunk_word(inner, at, index).store(0, Ordering::Relaxed);
    }
    Ok(at)
}

/// Puts chunks aside, unless there are some: for processes that become members when memory has run out.
fn put_chunks_aside(inner: &'static Inner) {
    let spare = &inner.header().spare_chunks;
    if inner.heap().top_of(spare).is_none() {
        for _ in 0..SPARE_CHUNKS {
            let Ok((at, _)) = inner.heap().take_soon(CHUNK) else { return };
            inner.heap().push_to(spare, at);
        }
    }
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
        // Looking at so many processes takes a while: not again for each hold and each fork.
        let (crowded, now) = (&inner.header().crowded, uptime_ms());
        let last = crowded.load(Ordering::Relaxed);
        if last != 0 && now.saturating_sub(last) < CROWDED_MS {
            break;
        }
        if sweep(inner, |_| true, Care::Quick) == 0 {
            crowded.store(now, Ordering::Relaxed);
            break;
        }
    }
    None
}

/// How a sweep looks at processes that live.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Care {
    /// They have what their records say.
    Quick,
    /// Not those that have become another program by `exec` since: reads what each has mapped.
    Thorough,
}

/// Whether `parent` has a child that may take up a record: one that lives, has the arena and is no member. `None` when
/// that cannot be found out.
///
/// Looks through all processes. The kernel has lists of children, too, but says that some may be missing in them.
pub(super) fn is_awaited(inner: &'static Inner, parent: ProcessTag) -> Option<bool> {
    if !parent.short().is_in_proc() {
        return None;
    }
    let is_member = |tag: ProcessTag| {
        (0..MEMBERS as u32).any(|number| member(inner, number).tag.load(Ordering::Acquire) == tag.bits())
    };
    let mut seen_parent = false;
    for entry in std::fs::read_dir("/proc").ok()? {
        let Some(pid) = entry.ok()?.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        seen_parent |= pid == parent.pid();
        // One that is gone is no child. One that cannot be looked at may be.
        if parent_of(pid).ok()? != Some(parent.pid()) {
            continue;
        }
        let child = ProcessTag::of(pid);
        if child.is_alive() && !is_member(child) && !inner.segment.was_left_by(child.short()) {
            return Some(true);
        }
    }
    // A dead parent's children are somebody else's.
    (seen_parent && parent.is_alive()).then_some(false)
}

/// Gives back what dead processes hold, among those that `chosen` accepts by number. Returns how many were found.
pub(crate) fn sweep(inner: &'static Inner, chosen: impl Fn(u32) -> bool, care: Care) -> usize {
    let known = inner.header().members.load(Ordering::Acquire).min(MEMBERS as u64) as u32;
    let me = ProcessTag::me().bits();
    let mut found = 0;
    for number in 0..known {
        let record = member(inner, number);
        // SYNC POINT arena-sweep: Acquire, pairs with the exchange below by an earlier sweeper.
        let tag = record.tag.load(Ordering::Acquire);
        let who = ProcessTag::from_bits(tag);
        if tag == 0 || tag == me || !chosen(who.pid()) {
            continue;
        }
        let since = record.since.load(Ordering::Relaxed);
        let lives = if tag & FORKING != 0 {
            let recent = uptime_ms().saturating_sub(since) < RESERVATION_MS;
            match who.is_alive() {
                true if tag & FORKED == 0 => true,
                true => is_awaited(inner, who).unwrap_or(recent),
                false => recent,
            }
        } else {
            // A dead sweeper's tag stands for it as long as its number does; one that lives may be at work.
            who.is_alive() && (care == Care::Quick || tag & SWEEPING != 0 || !inner.segment.was_left_by(who.short()))
        };
        if lives {
            continue;
        }
        // SYNC POINT arena-sweep: AcqRel, one sweeper gets the record; what the dead process wrote is visible, and a later
        // sweeper that finds this one's tag dead sees that.
        if record.tag.compare_exchange(tag, me | SWEEPING, Ordering::AcqRel, Ordering::Relaxed).is_err() {
            continue;
        }
        let mut chunk = record.chunks.load(Ordering::Acquire);
        while chunk != 0 && inner.heap().holds(chunk) {
            for index in 1..=ENTRIES {
                // SYNC POINT arena-entry: AcqRel, pairs with the store in `note_in_chunk`: one sweeper counts it down.
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

/// Fills the table with records of a process that lives, for tests; which these are.
#[cfg(test)]
pub(super) fn crowd(inner: &'static Inner) -> std::ops::Range<u32> {
    let first = inner.header().members.swap(MEMBERS as u64, Ordering::AcqRel) as u32;
    let all = first..MEMBERS as u32;
    all.clone().for_each(|number| member(inner, number).tag.store(ProcessTag::of(1).bits(), Ordering::Release));
    all
}

/// Empties those records again.
#[cfg(test)]
pub(super) fn disperse(inner: &'static Inner, crowd: std::ops::Range<u32>) {
    inner.header().crowded.store(0, Ordering::Relaxed);
    crowd.for_each(|number| member(inner, number).tag.store(0, Ordering::Release));
}
