//! Who sent how much to whom.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::Trace;

/// Messages from one rank to another.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Pair {
    pub(crate) from: u32,
    pub(crate) to: u32,
    pub(crate) messages: u64,
    pub(crate) bytes: u64,
}

/// The pairs that had messages, by sender and receiver. Collectives, windows and files do not count.
pub(crate) fn pairs(trace: &Trace) -> Vec<Pair> {
    let mut pairs: BTreeMap<(u32, u32), Pair> = BTreeMap::new();
    let ranks = trace.ranks.len();
    for m in trace.messages.iter().filter(|m| (m.from as usize) < ranks && (m.to as usize) < ranks) {
        let pair = pairs.entry((m.from, m.to)).or_insert(Pair { from: m.from, to: m.to, ..Pair::default() });
        pair.messages += 1;
        pair.bytes = pair.bytes.saturating_add(m.bytes);
    }
    pairs.into_values().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::testing::{message, ranks};

    #[test]
    fn messages_and_bytes_are_added_up_by_pair() {
        let mut trace = ranks(3);
        trace.messages =
            vec![message(0, 1, 8, 0, 5), message(0, 1, 100, 6, 9), message(2, 0, 7, 1, 2), message(1, 1, 1, 3, 4)];
        let pair = |from, to, messages, bytes| Pair { from, to, messages, bytes };
        assert_eq!(pairs(&trace), [pair(0, 1, 2, 108), pair(1, 1, 1, 1), pair(2, 0, 1, 7)]);
    }

    #[test]
    fn messages_of_ranks_that_are_not_there_are_left_out() {
        let mut trace = ranks(2);
        trace.messages = vec![message(0, 9, 8, 0, 5), message(9, 0, 8, 0, 5)];
        assert_eq!(pairs(&trace), []);
    }
}
