//! Where the time went: per rank, and per line of the program.

use std::collections::{BTreeMap, BTreeSet};

use super::calls::{length, outer, span, waited};
use crate::{Class, PlaceId, Trace};

/// The classes, in the order that [`RankTime::classes`] has them in.
pub(crate) const CLASSES: [Class; 6] =
    [Class::PointToPoint, Class::Completion, Class::Collective, Class::OneSided, Class::File, Class::Management];

/// What a rank did with its time. Calls within calls are part of the outer ones; times of several threads add up.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct RankTime {
    /// From its first call to its last.
    pub(crate) span_ns: u64,
    /// With at least one thread within a call.
    pub(crate) inside_ns: u64,
    pub(crate) waited_ns: u64,
    pub(crate) calls: u64,
    /// Within calls, by [`CLASSES`].
    pub(crate) classes: [u64; CLASSES.len()],
}

/// The calls that one line made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct LineTime {
    pub(crate) place: Option<PlaceId>,
    pub(crate) names: BTreeSet<&'static str>,
    pub(crate) ranks: u64,
    pub(crate) calls: u64,
    pub(crate) inside_ns: u64,
    pub(crate) waited_ns: u64,
    /// The wait of the call that waited longest.
    pub(crate) longest_ns: u64,
}

/// By the ranks of the trace.
pub(crate) fn by_rank(trace: &Trace) -> Vec<RankTime> {
    let mut times = Vec::with_capacity(trace.ranks.len());
    for rank in &trace.ranks {
        let (began, ended) = span(rank);
        let mut time = RankTime { span_ns: ended - began, calls: rank.calls.len() as u64, ..RankTime::default() };
        // Calls come by their beginnings: what of one lies behind all ends so far is new.
        let mut covered = 0;
        for (_, call) in outer(rank) {
            time.waited_ns = time.waited_ns.saturating_add(waited(call));
            let class = CLASSES.iter().position(|c| *c == call.class).unwrap_or_default();
            time.classes[class] = time.classes[class].saturating_add(length(call));
            time.inside_ns += call.ended_ns.saturating_sub(call.began_ns.max(covered));
            covered = covered.max(call.ended_ns);
        }
        time.inside_ns = time.inside_ns.min(time.span_ns);
        times.push(time);
    }
    times
}

/// The line that waited most first. Calls whose line is not known are one entry.
pub(crate) fn by_line(trace: &Trace) -> Vec<LineTime> {
    let mut lines: BTreeMap<Option<PlaceId>, LineTime> = BTreeMap::new();
    for rank in &trace.ranks {
        let mut seen = BTreeSet::new();
        for call in &rank.calls {
            let place = call.place.filter(|p| (p.0 as usize) < trace.places.len());
            let line = lines.entry(place).or_insert_with(|| LineTime { place, ..LineTime::default() });
            line.names.insert(call.name);
            line.calls += 1;
            line.inside_ns = line.inside_ns.saturating_add(length(call));
            line.waited_ns = line.waited_ns.saturating_add(waited(call));
            line.longest_ns = line.longest_ns.max(waited(call));
            if seen.insert(place) {
                line.ranks += 1;
            }
        }
    }
    let mut lines: Vec<_> = lines.into_values().collect();
    lines.sort_by_key(|l| (u64::MAX - l.waited_ns, u64::MAX - l.inside_ns, l.place));
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::testing::{call, places, ranks};

    #[test]
    fn a_ranks_time_is_its_span_and_what_of_it_was_in_calls() {
        let mut trace = ranks(1);
        trace.ranks[0].calls = vec![
            call("MPI_Send", Class::PointToPoint, 100, 150, 20),
            call("MPI_Allreduce", Class::Collective, 200, 300, 60),
            // Made by an operation of the program's, within the Allreduce.
            call("MPI_Comm_rank", Class::Management, 220, 230, 0),
        ];
        let time = &by_rank(&trace)[0];
        assert_eq!((time.span_ns, time.inside_ns, time.waited_ns, time.calls), (200, 150, 80, 3));
        assert_eq!(time.classes, [50, 0, 100, 0, 0, 0]);
    }

    #[test]
    fn threads_that_are_in_calls_at_once_count_once() {
        let mut trace = ranks(1);
        let mut second = call("MPI_Recv", Class::PointToPoint, 50, 150, 90);
        second.thread = 1;
        trace.ranks[0].calls = vec![call("MPI_Recv", Class::PointToPoint, 0, 100, 100), second];
        let time = &by_rank(&trace)[0];
        assert_eq!((time.span_ns, time.inside_ns, time.waited_ns), (150, 150, 190));
        assert_eq!(time.classes[0], 200);
    }

    #[test]
    fn lines_come_by_their_waits() {
        let mut trace = ranks(2);
        places(&mut trace, &["a.py:1", "a.py:2"]);
        for (rank, waited) in [(0, 10), (1, 30)] {
            let mut first = call("MPI_Send", Class::PointToPoint, 0, 50, 1);
            first.place = Some(PlaceId(0));
            let mut second = call("MPI_Recv", Class::PointToPoint, 60, 100, waited);
            second.place = Some(PlaceId(1));
            trace.ranks[rank].calls = vec![first, second];
        }
        let lines = by_line(&trace);
        assert_eq!(lines.iter().map(|l| l.place).collect::<Vec<_>>(), [Some(PlaceId(1)), Some(PlaceId(0))]);
        let line = &lines[0];
        assert_eq!((line.ranks, line.calls, line.inside_ns, line.waited_ns, line.longest_ns), (2, 2, 80, 40, 30));
        assert!(line.names.contains("MPI_Recv"));
    }

    #[test]
    fn a_call_that_ends_before_it_begins_takes_no_time() {
        let mut trace = ranks(1);
        trace.ranks[0].calls = vec![call("MPI_Send", Class::PointToPoint, 100, 50, 70)];
        let time = &by_rank(&trace)[0];
        assert_eq!((time.span_ns, time.inside_ns, time.waited_ns), (0, 0, 0));
    }
}
