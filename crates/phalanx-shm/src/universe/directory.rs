//! The directory of records: for a context, a block of the heap that whoever needs it first makes.
//!
//! A table of three levels, by the number of the context: a word leads to the table of the next level or, in the last one,
//! to the record. Tables and records are made when they are asked for and entered by one compare-and-swap, so who is
//! killed meanwhile leaves a block that nobody uses, and nothing else. Contexts are never used again, so a record that has
//! been taken out leaves its mark for good.

use super::{CONTEXT_STEP, Offset, Universe};
use crate::ShmError;
use crate::sync::{AtomicU64, Ordering};

/// Bits of a context's number that each level looks at.
const BITS: u32 = 10;
const ENTRIES: usize = 1 << BITS;
const LEVELS: u32 = 3;
/// There was a record, and is none any more. Positions in the heap are even.
const TAKEN_OUT: u64 = 1;

impl Universe {
    /// Whether any record has ever been made: one load.
    #[inline]
    pub fn has_records(&self) -> bool {
        self.header().directory.load(Ordering::Relaxed) != 0
    }

    /// The record of a context, if one has been made and not taken out.
    ///
    /// # Errors
    ///
    /// [`ShmError::BadRange`] when another process has written over the directory.
    pub fn record(&self, context: u32) -> Result<Option<Offset>, ShmError> {
        let Some(entry) = self.entry(context, false)? else { return Ok(None) };
        // SYNC POINT directory: Acquire, for the record.
        let at = entry.load(Ordering::Acquire);
        Ok((at > TAKEN_OUT).then_some(Offset(at)))
    }

    /// The record of a context; one of `bytes` zero bytes is made if there is none. `None` when it has been taken out.
    ///
    /// # Errors
    ///
    /// As [`Universe::alloc`] and [`Universe::record`].
    pub fn record_or_new(&self, context: u32, bytes: usize) -> Result<Option<Offset>, ShmError> {
        let Some(entry) = self.entry(context, true)? else { return Ok(None) };
        let at = self.filled(entry, bytes)?;
        Ok((at != Offset(TAKEN_OUT)).then_some(at))
    }

    /// Takes a record out and frees it. One of those who try at once does, and is told.
    pub fn take_record_out(&self, context: u32, record: Offset) -> bool {
        let Ok(Some(entry)) = self.entry(context, false) else { return false };
        let out = entry.compare_exchange(record.0, TAKEN_OUT, Ordering::AcqRel, Ordering::Acquire);
        out.is_ok() && self.free(record)
    }

    /// The entry of a context; without `make`, only if the tables to it are there.
    fn entry(&self, context: u32, make: bool) -> Result<Option<&AtomicU64>, ShmError> {
        let number = context / CONTEXT_STEP;
        let mut word = &self.header().directory;
        for level in (0..LEVELS).rev() {
            // SYNC POINT directory: Acquire, for the table.
            let at = match word.load(Ordering::Acquire) {
                0 if make => self.filled(word, ENTRIES * 8)?,
                0 => return Ok(None),
                at => Offset(at),
            };
            word = &self.words(at, ENTRIES)?[(number >> (level * BITS)) as usize % ENTRIES];
        }
        Ok(Some(word))
    }

    /// What an entry leads to, made if there is nothing.
    fn filled(&self, entry: &AtomicU64, bytes: usize) -> Result<Offset, ShmError> {
        // SYNC POINT directory: Acquire, as in `record`.
        match entry.load(Ordering::Acquire) {
            0 => {}
            at => return Ok(Offset(at)),
        }
        let made = self.alloc_zeroed(bytes)?;
        // SYNC POINT directory: Release, the block is zero for whoever finds it.
        match entry.compare_exchange(0, made.0, Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) => Ok(made),
            Err(other) => {
                self.free(made);
                Ok(Offset(other))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::universe::{Universe, UniverseConfig};

    #[test]
    fn records_are_made_once_and_taken_out_once() {
        let universe = Universe::create(UniverseConfig::for_ranks(2)).expect("a universe");
        assert!(!universe.has_records());
        assert_eq!(universe.record(8).expect("no tables"), None);
        let contexts = [8, 12, 4096, 0x7fff_fffc, 0xffff_fffc];
        let records = contexts.map(|context| universe.record_or_new(context, 200).expect("room").expect("new"));
        assert!(universe.has_records());
        for (context, record) in contexts.into_iter().zip(records) {
            assert_eq!(universe.record(context).expect("sound"), Some(record));
            assert_eq!(universe.record_or_new(context, 200).expect("room"), Some(record));
        }
        assert!(records.iter().enumerate().all(|(i, record)| !records[..i].contains(record)));
        assert!(universe.take_record_out(12, records[1]) && !universe.take_record_out(12, records[1]));
        assert_eq!(universe.record(12).expect("sound"), None);
        assert_eq!(universe.record_or_new(12, 200).expect("room"), None);
        assert_eq!(universe.record(8).expect("sound"), Some(records[0]));
    }
}
