//! How many ranks had something to do at a time.

use super::calls::{outer, span, waited};
use crate::Trace;

/// How many ranks worked at a time, between the moment when all had begun and the first end of one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Working {
    pub(crate) window_ns: u64,
    /// How long so many ranks worked at once, from none on.
    pub(crate) at_once: Vec<u64>,
    /// How long each rank worked while all others waited.
    pub(crate) alone: Vec<u64>,
}

impl Working {
    /// While only one rank worked.
    pub(crate) fn alone_ns(&self) -> u64 {
        self.alone.iter().fold(0, |sum: u64, ns| sum.saturating_add(*ns))
    }

    /// Ranks that worked at a time, on average.
    pub(crate) fn mean(&self) -> f64 {
        let weighted: f64 = (0u32..).zip(&self.at_once).map(|(n, ns)| f64::from(n) * *ns as f64).sum();
        if self.window_ns == 0 { 0.0 } else { weighted / self.window_ns as f64 }
    }
}

/// How many ranks worked at a time: a rank waits while one of its calls does, at the beginning of the call, for as long
/// as the call waited in all. A rank of several threads waits while the first does.
pub(crate) fn working(trace: &Trace) -> Working {
    let ranks = trace.ranks.len();
    let spans: Vec<_> = trace.ranks.iter().filter(|r| !r.calls.is_empty()).map(span).collect();
    let begin = spans.iter().map(|s| s.0).max().unwrap_or(0);
    let end = spans.iter().map(|s| s.1).min().unwrap_or(0);
    let mut found = Working { window_ns: 0, at_once: vec![0; ranks + 1], alone: vec![0; ranks] };
    if spans.len() < ranks || begin >= end {
        return found;
    }
    found.window_ns = end - begin;
    // Who begins and who ends to wait, and when.
    let mut changes: Vec<(u64, bool, usize)> = Vec::new();
    for (r, rank) in trace.ranks.iter().enumerate() {
        let mut until = 0;
        for (_, call) in outer(rank).filter(|(_, c)| c.thread == 0) {
            let from = call.began_ns.clamp(begin, end).max(until);
            let to = call.began_ns.saturating_add(waited(call)).clamp(begin, end).max(from);
            if from < to {
                changes.extend([(from, true, r), (to, false, r)]);
                until = to;
            }
        }
    }
    changes.sort_unstable_by_key(|c| (c.0, c.1));
    let mut waits = vec![false; ranks];
    let (mut working, mut now) = (ranks, begin);
    for (when, begins, r) in changes.into_iter().chain([(end, false, usize::MAX)]) {
        found.at_once[working] += when - now;
        if working == 1
            && let Some(alone) = waits.iter().position(|waits| !waits)
        {
            found.alone[alone] += when - now;
        }
        now = when;
        if let Some(waits) = waits.get_mut(r) {
            // Each change is one: waits of a rank do not overlap.
            working = if begins { working - 1 } else { working + 1 };
            *waits = begins;
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Class;
    use crate::report::testing::{call, ranks};

    #[test]
    fn ranks_that_do_not_wait_are_counted_at_each_moment() {
        let mut trace = ranks(3);
        let begin = |at| call("MPI_Init", Class::Management, at, at, 0);
        let finish = |at| call("MPI_Finalize", Class::Management, at, at, 0);
        trace.ranks[0].calls = vec![begin(0), call("MPI_Recv", Class::PointToPoint, 20, 60, 40), finish(100)];
        trace.ranks[1].calls = vec![begin(10), call("MPI_Recv", Class::PointToPoint, 30, 80, 40), finish(110)];
        trace.ranks[2].calls = vec![begin(5), finish(105)];
        let found = working(&trace);
        // All: 10 to 20 and 70 to 100. Rank 2 alone: 30 to 60.
        assert_eq!(found.window_ns, 90);
        assert_eq!(found.at_once, [0, 30, 20, 40]);
        assert_eq!(found.alone, [0, 0, 30]);
        assert_eq!(found.alone_ns(), 30);
        assert!((found.mean() - 190.0 / 90.0).abs() < 1e-9);
    }

    #[test]
    fn without_calls_of_all_there_is_nothing_to_say() {
        let mut trace = ranks(2);
        trace.ranks[0].calls = vec![call("MPI_Recv", Class::PointToPoint, 20, 60, 40)];
        assert_eq!(working(&trace).window_ns, 0);
        assert_eq!(working(&ranks(0)).window_ns, 0);
    }
}
