//! What a developer who looked at this trace would say, in words and with the numbers it rests on.
//!
//! Advice is given where what it is about costs a noticeable part of the time that the ranks were there, all together;
//! so a good job gets none.

mod habits;
mod machine;
mod waits;

use super::calls::total;
use super::imbalance::{Imbalance, imbalances};
use super::late::{Late, late_receivers, late_senders};
use super::working::{Working, working};
use crate::Trace;

/// The part of the ranks' time from which on something is worth a word: one in so many.
const PART: u64 = 20;
/// What costs less than this is not worth a word in a short job either: nanoseconds of the ranks, all together.
const LEAST_NS: u64 = 20_000_000;
/// How many pieces of advice there are at most: the costliest.
const MOST: usize = 8;

/// A piece of advice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Advice {
    /// What is so: a sentence.
    pub(crate) finding: String,
    /// Why, and what to do.
    pub(crate) detail: String,
    /// How much of the ranks' time it concerns, all together.
    pub(crate) cost_ns: u64,
}

/// What advice is made from.
pub(crate) struct Findings {
    /// The time of the ranks, all together.
    pub(crate) total_ns: u64,
    pub(crate) imbalances: Vec<Imbalance>,
    pub(crate) late_senders: Vec<Late>,
    pub(crate) late_receivers: Vec<Late>,
    pub(crate) working: Working,
}

impl Findings {
    pub(crate) fn of(trace: &Trace) -> Self {
        Findings {
            total_ns: total(trace),
            imbalances: imbalances(trace),
            late_senders: late_senders(trace),
            late_receivers: late_receivers(trace),
            working: working(trace),
        }
    }

    /// Whether so much time of ranks is worth a word.
    fn matters(&self, cost_ns: u64) -> bool {
        cost_ns >= LEAST_NS && cost_ns.saturating_mul(PART) >= self.total_ns
    }
}

/// All advice for a job, the costliest first.
pub(crate) fn advice(trace: &Trace, findings: &Findings) -> Vec<Advice> {
    let mut advice = Vec::from_iter(machine::advice(trace, findings));
    advice.extend(waits::advice(trace, findings));
    advice.extend(habits::advice(trace, findings));
    advice.sort_by_key(|a| u64::MAX - a.cost_ns);
    advice.truncate(MOST);
    for piece in &mut advice {
        // Sentences begin with names of ranks.
        if let Some(first) = piece.finding.get_mut(..1) {
            first.make_ascii_uppercase();
        }
    }
    advice
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Class;
    use crate::report::testing::{call, ranks};

    #[test]
    fn a_job_whose_ranks_are_always_busy_gets_no_advice() {
        let mut trace = ranks(4);
        for (r, rank) in (0..).zip(&mut trace.ranks) {
            rank.calls = (0..100)
                .map(|i| {
                    let mut c = call("MPI_Allreduce", Class::Collective, i * 10_000_000 + r * 1000, 0, 4000);
                    (c.ended_ns, c.context) = (i * 10_000_000 + 5000, Some(1));
                    c
                })
                .collect();
        }
        assert_eq!(advice(&trace, &Findings::of(&trace)), []);
    }

    #[test]
    fn an_empty_trace_gets_none() {
        for n in [0, 1, 3] {
            let trace = ranks(n);
            assert_eq!(advice(&trace, &Findings::of(&trace)), []);
        }
    }
}
