//! Advice about the machine: more ranks with something to do than there are CPUs.

use super::{Advice, Findings};
use crate::Trace;
use crate::report::text;

/// Whether ranks may have to wait for a CPU, which makes who is late a matter of chance.
pub(super) fn crowded(trace: &Trace) -> bool {
    trace.cpus > 0 && trace.ranks.len() > trace.cpus as usize
}

pub(super) fn advice(trace: &Trace, findings: &Findings) -> Option<Advice> {
    let (ranks, cpus, mean) = (trace.ranks.len(), trace.cpus, findings.working.mean());
    if !crowded(trace) || mean <= 1.1 * f64::from(cpus) {
        return None;
    }
    let share = 1.0 - f64::from(cpus) / mean;
    let cost_ns = (findings.working.window_ns as f64 * mean * share) as u64;
    findings.matters(cost_ns).then(|| Advice {
        finding: format!(
            "{ranks} ranks share {}: on average {mean:.1} have something to do at a time, so each of them runs {:.0} % \
             of that time.",
            if cpus == 1 { "one CPU".to_owned() } else { format!("{} CPUs", text::count(u64::from(cpus))) },
            100.0 * f64::from(cpus) / mean
        ),
        detail: format!(
            "Times of calls and of computing are longer by that, and who comes late is partly who had no CPU. \
             Start it with -n {cpus}, or on a machine with more CPUs, before you look at the rest."
        ),
        cost_ns,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Class;
    use crate::report::testing::{call, ranks};

    /// Ranks that compute from one end to the other, but for what they wait at the beginning.
    fn busy(n: u32, cpus: u32, waits: u64) -> Trace {
        let mut trace = ranks(n);
        trace.cpus = cpus;
        for rank in &mut trace.ranks {
            rank.calls = vec![
                call("MPI_Recv", Class::PointToPoint, 0, waits, waits),
                call("MPI_Finalize", Class::Management, 1_000_000_000, 1_000_000_000, 0),
            ];
        }
        trace
    }

    fn found(trace: &Trace) -> Option<Advice> {
        advice(trace, &Findings::of(trace))
    }

    #[test]
    fn more_busy_ranks_than_cpus_are_named_with_their_share() {
        let advice = found(&busy(8, 2, 0)).expect("advice");
        assert!(advice.finding.starts_with("8 ranks share 2 CPUs: on average 8.0 have"), "{advice:?}");
        assert!(advice.finding.contains("runs 25 %") && advice.detail.contains("-n 2"), "{advice:?}");
        assert_eq!(advice.cost_ns, 6_000_000_000);
    }

    #[test]
    fn ranks_that_wait_need_no_cpu() {
        assert_eq!(found(&busy(8, 2, 900_000_000)), None);
        assert_eq!(found(&busy(2, 2, 0)), None);
        assert_eq!(found(&busy(8, 0, 0)), None, "unknown");
    }
}
