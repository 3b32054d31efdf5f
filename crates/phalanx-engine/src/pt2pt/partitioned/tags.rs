//! The tags of partitions on their way: each channel of a communicator has a range of its own.

use std::collections::BTreeMap;

/// The ranges in use, and where the search for the next one begins. A range is used again as late as possible.
#[derive(Default)]
pub(crate) struct Tags {
    /// First tag, and the one after the last.
    used: BTreeMap<u32, u32>,
    next: u32,
}

/// The tag after the last.
const END: u32 = 1 << 31;

impl Tags {
    /// Takes `n` tags in a row; `None` when there are not so many.
    pub(super) fn take(&mut self, n: u32) -> Option<u32> {
        let first = self.search(self.next, n).or_else(|| self.search(0, n))?;
        self.used.insert(first, first + n);
        self.next = first + n;
        Some(first)
    }

    /// The first place from `at` on.
    fn search(&self, mut at: u32, n: u32) -> Option<u32> {
        loop {
            let end = at.checked_add(n).filter(|end| *end <= END)?;
            match self.used.range(..end).next_back() {
                Some((_, &used)) if used > at => at = used,
                _ => return Some(at),
            }
        }
    }

    /// Gives a range back.
    pub(super) fn give(&mut self, first: u32) {
        self.used.remove(&first);
    }
}

#[cfg(test)]
mod tests {
    use super::{END, Tags};

    #[test]
    fn ranges_in_use_are_never_given_twice_and_all_come_back() {
        let mut tags = Tags::default();
        let quarter = END / 4;
        let drawn: Vec<_> = (0..4).map(|_| tags.take(quarter)).collect();
        assert_eq!(drawn, [0, 1, 2, 3].map(|i| Some(i * quarter)));
        assert_eq!(tags.take(1), None);
        tags.give(quarter);
        assert_eq!(tags.take(quarter + 1), None);
        assert_eq!(tags.take(5), Some(quarter));
        assert_eq!(tags.take(7), Some(quarter + 5));
        tags.give(quarter);
        // Not at once again while others are free.
        assert_eq!(tags.take(5), Some(quarter + 12));
        for first in [0, quarter + 5, quarter + 12, 2 * quarter, 3 * quarter] {
            tags.give(first);
        }
        assert_eq!(tags.take(END), Some(0));
    }
}
