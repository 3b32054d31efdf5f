//! What a process that checks its program has found, for whoever tells it: records that are added and never changed.
//!
//! | word | content |
//! |---|---|
//! | 0 | how many of the words behind it are written |
//! | then | for each record its length in bytes, and its bytes, filled up to whole words |
//!
//! One thread of the process writes at a time. A record counts from the store to word 0 on, so a process may be killed at
//! any instant, and what it has found until then is there.

use core::fmt;

use crate::sync::{AtomicU64, Ordering};

/// Words for the findings of a process: of those for which there is no room, nobody hears.
pub const FINDINGS_WORDS: usize = if cfg!(loom) { 8 } else { 4096 };

/// The findings of one process.
#[derive(Clone, Copy)]
pub struct Findings<'a>(&'a [AtomicU64]);

impl fmt::Debug for Findings<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Findings({} words)", self.used())
    }
}

impl<'a> Findings<'a> {
    /// Findings in memory of so many words, all zero at first.
    ///
    /// # Panics
    ///
    /// When it is not exactly the room that they take.
    pub fn over(words: &'a [AtomicU64]) -> Findings<'a> {
        assert_eq!(words.len(), FINDINGS_WORDS, "the findings of a process");
        Findings(words)
    }

    fn used(&self) -> usize {
        // SYNC POINT findings: Acquire, the records that are counted are there.
        let used = self.0[0].load(Ordering::Acquire);
        usize::try_from(used).unwrap_or(0).min(FINDINGS_WORDS - 1)
    }

    /// Adds a record. False, and nothing is added, when there is no room for it.
    pub fn add(&self, record: &[u8]) -> bool {
        let (used, words) = (self.used(), 1 + record.len().div_ceil(8));
        let Some(room) = self.0.get(1 + used..).and_then(|free| free.get(..words)) else { return false };
        room[0].store(record.len() as u64, Ordering::Relaxed);
        for (word, chunk) in room[1..].iter().zip(record.chunks(8)) {
            let mut eight = [0; 8];
            eight[..chunk.len()].copy_from_slice(chunk);
            word.store(u64::from_ne_bytes(eight), Ordering::Relaxed);
        }
        // SYNC POINT findings: Release, the record is there.
        self.0[0].store((used + words) as u64, Ordering::Release);
        true
    }

    /// All records, in order. What cannot be one ends them: anybody may have written here.
    pub fn all(&self) -> Vec<Vec<u8>> {
        let mut words = &self.0[1..=self.used()];
        let mut records = Vec::new();
        while let Some((first, rest)) = words.split_first() {
            let Ok(len) = usize::try_from(first.load(Ordering::Relaxed)) else { break };
            let Some((record, behind)) = rest.split_at_checked(len.div_ceil(8)) else { break };
            let mut bytes: Vec<u8> =
                record.iter().flat_map(|word| word.load(Ordering::Relaxed).to_ne_bytes()).collect();
            bytes.truncate(len);
            records.push(bytes);
            words = behind;
        }
        records
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    fn room(value: u64) -> Vec<AtomicU64> {
        (0..FINDINGS_WORDS).map(|_| AtomicU64::new(value)).collect()
    }

    #[test]
    fn what_is_added_is_read_in_order() {
        let room = room(0);
        let findings = Findings::over(&room);
        assert!(findings.all().is_empty());
        let records: Vec<Vec<u8>> = (0..40u8).map(|n| vec![n; usize::from(n)]).collect();
        assert!(records.iter().all(|record| findings.add(record)));
        assert_eq!(findings.all(), records);
    }

    #[test]
    fn what_has_no_room_is_not_added_and_the_rest_stays() {
        let room = room(0);
        let findings = Findings::over(&room);
        assert!(findings.add(b"first"));
        assert!(!findings.add(&[1; FINDINGS_WORDS * 8]));
        let times = (0..FINDINGS_WORDS).take_while(|_| findings.add(&[2; 1000])).count();
        assert!(times > 20);
        assert_eq!(findings.all().len(), times + 1);
    }

    #[test]
    fn nonsense_is_no_record() {
        for value in [u64::MAX, 3, 1 << 40] {
            let room = room(value);
            assert!(Findings::over(&room).all().len() < FINDINGS_WORDS);
        }
    }
}
