//! Waits for messages: for senders that had not sent yet, and for receivers that had not come yet.

use std::collections::{BTreeMap, HashMap};

use super::calls::waited;
use crate::{Call, Message, PlaceId, Trace};

/// The waits of one line for ranks on the other side of messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Late {
    /// The line that waited.
    pub(crate) place: Option<PlaceId>,
    pub(crate) name: &'static str,
    /// Calls that waited for somebody who was not there yet.
    pub(crate) calls: u64,
    pub(crate) waited_ns: u64,
    /// Bytes of the messages they were for.
    pub(crate) bytes: u64,
    /// Who waited for whom, and how long.
    pub(crate) pairs: Vec<(u32, u32, u64)>,
    /// The line in which the rank they waited for longest did its part, where it is known.
    pub(crate) other_place: Option<PlaceId>,
}

impl Late {
    /// The rank that waited longest, and how long.
    pub(crate) fn waiting(&self) -> (u32, u64) {
        longest(self.pairs.iter().map(|(waiting, _, ns)| (*waiting, *ns)))
    }

    /// The rank that was waited for longest, and how long.
    pub(crate) fn awaited(&self) -> (u32, u64) {
        longest(self.pairs.iter().map(|(_, awaited, ns)| (*awaited, *ns)))
    }
}

/// The rank with the most time, and the time.
fn longest(times: impl Iterator<Item = (u32, u64)>) -> (u32, u64) {
    let mut sums: BTreeMap<u32, u64> = BTreeMap::new();
    for (rank, ns) in times {
        let sum = sums.entry(rank).or_default();
        *sum = sum.saturating_add(ns);
    }
    sums.into_iter().max_by_key(|(rank, ns)| (*ns, u32::MAX - rank)).unwrap_or_default()
}

/// Waits for messages that were sent only after the receiver had begun to wait; the longest first.
pub(crate) fn late_senders(trace: &Trace) -> Vec<Late> {
    // A call that completes several messages waits for the one that is sent last.
    let mut last: HashMap<(u32, u32), &Message> = HashMap::new();
    for m in trace.messages.iter().filter(|m| m.from != m.to) {
        if let Some(c) = m.receive_call {
            let kept = last.entry((m.to, c)).or_insert(m);
            if m.sent_ns > kept.sent_ns {
                *kept = m;
            }
        }
    }
    let mut lines = Lines::new();
    for ((to, c), m) in last {
        let Some(receive) = call(trace, to, Some(c)) else { continue };
        let lost = m.sent_ns.saturating_sub(receive.began_ns).min(waited(receive));
        add(&mut lines, trace, receive, lost, m.bytes, (to, m.from), call(trace, m.from, m.send_call));
    }
    summary(lines)
}

/// Waits of senders for receivers that came only after the sender had begun to wait; the longest first.
pub(crate) fn late_receivers(trace: &Trace) -> Vec<Late> {
    let mut lines = Lines::new();
    for m in trace.messages.iter().filter(|m| m.from != m.to) {
        let (Some(send), Some(receive)) = (call(trace, m.from, m.send_call), call(trace, m.to, m.receive_call)) else {
            continue;
        };
        let lost = receive.began_ns.saturating_sub(send.began_ns).min(waited(send));
        add(&mut lines, trace, send, lost, m.bytes, (m.from, m.to), Some(receive));
    }
    summary(lines)
}

/// By line and name: the waits, and for each rank that was waited for the line it was in, by how long.
type Lines = BTreeMap<(Option<PlaceId>, &'static str), Sums>;

#[derive(Default)]
struct Sums {
    calls: u64,
    waited_ns: u64,
    bytes: u64,
    pairs: BTreeMap<(u32, u32), u64>,
    other_places: BTreeMap<(u32, Option<PlaceId>), u64>,
}

fn call(trace: &Trace, rank: u32, index: Option<u32>) -> Option<&Call> {
    trace.ranks.get(rank as usize)?.calls.get(index? as usize)
}

fn add(
    lines: &mut Lines,
    trace: &Trace,
    waiter: &Call,
    lost: u64,
    bytes: u64,
    (waiting, awaited): (u32, u32),
    other: Option<&Call>,
) {
    if lost == 0 || awaited as usize >= trace.ranks.len() {
        return;
    }
    let known = |place: &PlaceId| (place.0 as usize) < trace.places.len();
    let sums = lines.entry((waiter.place.filter(known), waiter.name)).or_default();
    sums.calls += 1;
    sums.waited_ns = sums.waited_ns.saturating_add(lost);
    sums.bytes = sums.bytes.saturating_add(bytes);
    let more = |sum: &mut u64| *sum = sum.saturating_add(lost);
    more(sums.pairs.entry((waiting, awaited)).or_default());
    more(sums.other_places.entry((awaited, other.and_then(|c| c.place).filter(known))).or_default());
}

fn summary(lines: Lines) -> Vec<Late> {
    let line = |((place, name), sums): (_, Sums)| {
        let mut late = Late {
            place,
            name,
            calls: sums.calls,
            waited_ns: sums.waited_ns,
            bytes: sums.bytes,
            pairs: sums.pairs.into_iter().map(|((waiting, awaited), ns)| (waiting, awaited, ns)).collect(),
            other_place: None,
        };
        let awaited = late.awaited().0;
        let places = sums.other_places.into_iter().filter(|((rank, _), _)| *rank == awaited);
        late.other_place = places.max_by_key(|(_, ns)| *ns).and_then(|((_, place), _)| place);
        late
    };
    let mut found: Vec<Late> = lines.into_iter().map(line).collect();
    found.sort_by_key(|l| (u64::MAX - l.waited_ns, l.place));
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Class;
    use crate::report::testing::{call, message, places, ranks};

    fn at(place: u32, mut c: Call) -> Call {
        c.place = Some(PlaceId(place));
        c
    }

    #[test]
    fn a_receive_waits_for_a_sender_that_comes_later() {
        let mut trace = ranks(3);
        places(&mut trace, &["a.py:1", "a.py:2"]);
        trace.ranks[0].calls = vec![at(0, call("MPI_Send", Class::PointToPoint, 90, 95, 0))];
        trace.ranks[1].calls = vec![at(1, call("MPI_Recv", Class::PointToPoint, 10, 100, 88))];
        trace.ranks[2].calls = vec![at(1, call("MPI_Recv", Class::PointToPoint, 95, 97, 1))];
        trace.messages = vec![message(0, 1, 8, 92, 100), message(0, 2, 8, 93, 97)];
        trace.messages.iter_mut().for_each(|m| (m.send_call, m.receive_call) = (Some(0), Some(0)));
        let found = late_senders(&trace);
        assert_eq!(
            found,
            [Late {
                place: Some(PlaceId(1)),
                name: "MPI_Recv",
                calls: 1,
                waited_ns: 82,
                bytes: 8,
                pairs: vec![(1, 0, 82)],
                other_place: Some(PlaceId(0)),
            }]
        );
    }

    #[test]
    fn a_wait_for_several_messages_counts_once_for_the_latest() {
        let mut trace = ranks(3);
        trace.ranks[0].calls = vec![call("MPI_Waitall", Class::Completion, 0, 100, 100)];
        trace.messages = vec![message(1, 0, 8, 50, 55), message(2, 0, 8, 90, 100)];
        trace.messages.iter_mut().for_each(|m| m.receive_call = Some(0));
        let found = late_senders(&trace);
        assert_eq!((found[0].waited_ns, found[0].awaited()), (90, (2, 90)));
    }

    #[test]
    fn a_send_waits_for_a_receiver_that_comes_later() {
        let mut trace = ranks(2);
        trace.ranks[0].calls = vec![call("MPI_Send", Class::PointToPoint, 10, 100, 80)];
        trace.ranks[1].calls = vec![call("MPI_Recv", Class::PointToPoint, 70, 100, 0)];
        trace.messages = vec![message(0, 1, 1 << 22, 10, 100)];
        (trace.messages[0].send_call, trace.messages[0].receive_call) = (Some(0), Some(0));
        let found = late_receivers(&trace);
        assert_eq!((found[0].waited_ns, found[0].bytes), (60, 1 << 22));
        assert_eq!((found[0].waiting(), found[0].awaited()), ((0, 60), (1, 60)));
        assert_eq!(late_senders(&trace), []);
    }
}
