//! What a process that has waited for long looks at: whether what others have written in the segment can be right.

use super::layout::{Header, Layout};
use super::{Offset, ProcId, Universe};
use crate::ShmError;
use crate::findings::FINDINGS_WORDS;
use crate::notes::NOTES_WORDS;
use crate::sync::{AtomicU64, Ordering};

impl Universe {
    /// Whether what is written in the segment can be right, as far as process `me` can tell: for one that has waited for
    /// long. Finds what a wild process has written over identities, slots, or words that nobody writes.
    ///
    /// # Errors
    ///
    /// [`ShmError::Corrupt`] with what cannot be.
    #[cold]
    pub fn audit(&self, me: ProcId) -> Result<(), ShmError> {
        let (layout, header) = (&self.0.layout, self.header());
        let corrupt = |what: String| Err(ShmError::Corrupt { what });
        if Layout::from_header(header, self.0.segment.len() as u64).ok() != Some(*layout)
            || header.home.load(Ordering::Relaxed) != self.0.home
        {
            return corrupt("the header of the segment describes another one".to_owned());
        }
        let (claimed, used) =
            (header.slots_used.load(Ordering::Acquire), header.books.frontier.load(Ordering::Acquire));
        if claimed > layout.capacity || claimed <= me.0 || used > layout.heap_len() || !used.is_multiple_of(4096) {
            return corrupt(format!("the header counts {claimed} processes and {used} bytes in use"));
        }
        for process in 0..claimed {
            if let Some(what) = self.slot(ProcId(process)).nonsense() {
                return corrupt(format!("the slot of process {process} has {what}"));
            }
            let notes = self.slot(ProcId(process)).notes.load(Ordering::Relaxed);
            if notes != 0 && self.words(Offset(notes), NOTES_WORDS).is_err() {
                return corrupt(format!("the notes of process {process} are said to be at {notes}"));
            }
            let findings = self.slot(ProcId(process)).findings.load(Ordering::Relaxed);
            if findings != 0 && self.words(Offset(findings), FINDINGS_WORDS).is_err() {
                return corrupt(format!("the findings of process {process} are said to be at {findings}"));
            }
        }
        // Behind the header nobody writes.
        let first = size_of::<Header>().next_multiple_of(8);
        if let Some(at) = self.reserved_words(first, (layout.slots_at as usize - first) / 8).iter().position(is_used) {
            return corrupt(format!("there is something at byte {}, where there is nothing", first + at * 8));
        }
        let row = self.reserved_words(layout.pair_row(me.0).0 as usize, layout.capacity as usize);
        let misplaced = |(from, entry): (usize, &AtomicU64)| {
            let at = entry.load(Ordering::Relaxed);
            let ring = from < claimed as usize && self.checked(Offset(at), layout.ring_footprint(), 128).is_ok();
            (at != 0 && !ring).then_some((from, at))
        };
        if let Some((from, at)) = row.iter().enumerate().find_map(misplaced) {
            return corrupt(format!("the ring from process {from} to process {me} is said to be at {at}"));
        }
        Ok(())
    }

    /// The processes that have made a ring to process `me`.
    pub fn senders(&self, me: ProcId) -> impl Iterator<Item = ProcId> {
        let claimed = self.claimed();
        let row = self.reserved_words(self.0.layout.pair_row(me.0.min(claimed)).0 as usize, claimed as usize);
        (0..claimed).zip(row).filter(|(_, entry)| is_used(entry)).map(|(from, _)| ProcId(from))
    }

    /// Words before the heap whose pages have been reserved.
    fn reserved_words(&self, at: usize, n: usize) -> &[AtomicU64] {
        assert!(at.is_multiple_of(8) && at + n * 8 <= self.0.layout.heap_at as usize, "{n} words at {at}");
        // SAFETY: aligned, inside the mapping by the assertion, and atomics accept every bit pattern.
        unsafe { core::slice::from_raw_parts(self.0.segment.base().add(at).cast::<AtomicU64>(), n) }
    }
}

fn is_used(word: &AtomicU64) -> bool {
    word.load(Ordering::Relaxed) != 0
}

#[cfg(test)]
mod tests;
