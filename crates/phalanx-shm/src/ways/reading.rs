//! What a process does that reads what one other process wrote for it, where no launcher has measured: in pools and queues.
//!
//! Nothing is measured here, which a program that only wants a pool would wait for. What jobs have found out and
//! [kept](super::kept) is used, else what is chosen where nothing is known. The first large message asks; children
//! that are forked later know.

use std::fs;

use super::Ways;
use crate::sync::{AtomicU64, Ordering};

/// The smallest second-level cache that machines of today have.
pub(super) const LITTLE: usize = 256 << 10;

/// Up to how many bytes a reader takes the cache lines over that it reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reading {
    /// Of what it copies, line by line with the copy: more than the CPU's own cache comes back from there by itself.
    pub copied: usize,
    /// Of what it will look at later, all at once: as much as stays in the CPU's own cache until then, beside other things.
    pub viewed: usize,
}

impl Reading {
    /// What this process does.
    pub fn here() -> Reading {
        /// 0 before it is known. Not a lock: a child that is forked while another thread finds out would wait for that
        /// thread for ever.
        static KNOWN: AtomicU64 = AtomicU64::new(0);
        if let Some(known) = Reading::from_word(KNOWN.load(Ordering::Relaxed)) {
            return known;
        }
        let ways = Ways::of_this_machine(false).unwrap_or_default();
        let found = Reading::of(&ways, own_cache());
        KNOWN.store(found.to_word(), Ordering::Relaxed);
        found
    }

    /// With these ways, and so many bytes of cache that a CPU has for itself.
    fn of(ways: &Ways, cache: Option<usize>) -> Reading {
        let cache = cache.unwrap_or(LITTLE);
        Reading { copied: ways.take.min(cache), viewed: ways.take.min(cache / 4) }
    }

    /// The sizes in KiB.
    fn to_word(self) -> u64 {
        let kib =
            |bytes: usize| u64::try_from(bytes >> 10).map_or(u64::from(u32::MAX >> 1), |n| n.min(u32::MAX as u64 >> 1));
        1 << 63 | kib(self.copied) << 32 | kib(self.viewed)
    }

    fn from_word(word: u64) -> Option<Reading> {
        let bytes = |kib: u64| (kib as usize) << 10;
        (word >> 63 == 1)
            .then(|| Reading { copied: bytes(word >> 32 & 0x7fff_ffff), viewed: bytes(word & 0x7fff_ffff) })
    }
}

/// Bytes of the second-level cache of the first CPU.
pub(super) fn own_cache() -> Option<usize> {
    let said = |what: &str| fs::read_to_string(format!("/sys/devices/system/cpu/cpu0/cache/index2/{what}")).ok();
    if said("level")?.trim() != "2" {
        return None;
    }
    let kib: usize = said("size")?.trim().strip_suffix('K')?.parse().ok()?;
    kib.checked_mul(1 << 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_taken_of_what_the_cache_holds_and_of_what_is_viewed_later_beside_other_things() {
        let ways = Ways { take: 4 << 20, ..Ways::default() };
        assert_eq!(Reading::of(&ways, Some(1 << 20)), Reading { copied: 1 << 20, viewed: 256 << 10 });
        assert_eq!(Reading::of(&ways, Some(64 << 20)), Reading { copied: 4 << 20, viewed: 4 << 20 });
        assert_eq!(Reading::of(&ways, None), Reading { copied: LITTLE, viewed: LITTLE / 4 });
    }

    #[test]
    fn where_taking_gains_nothing_no_lines_are_taken() {
        let ways = Ways { take: 0, ..Ways::default() };
        assert_eq!(Reading::of(&ways, Some(1 << 20)), Reading { copied: 0, viewed: 0 });
    }

    #[test]
    fn what_was_found_out_is_remembered() {
        for reading in [
            Reading { copied: 0, viewed: 0 },
            Reading { copied: 2 << 20, viewed: 320 << 10 },
            Reading::of(&Ways::default(), own_cache()),
        ] {
            assert_eq!(Reading::from_word(reading.to_word()), Some(reading));
        }
        assert_eq!(Reading::from_word(0), None);
        assert_eq!(Reading::here(), Reading::here());
    }
}
