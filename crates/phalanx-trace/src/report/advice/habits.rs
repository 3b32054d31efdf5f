//! Advice about what is done more often, or in smaller pieces, than needed.

use std::collections::{BTreeMap, BTreeSet};

use super::{Advice, Findings};
use crate::report::calls::{length, line_name, outer, sends, short_name};
use crate::report::text;
use crate::{Call, Class, PlaceId, Trace};

/// Messages and pieces of files up to so many bytes are small: what they cost hardly depends on their size.
const SMALL: u64 = 1024;
/// Small things of one line from which on they are many.
const MANY: u64 = 1000;
/// Sends to one rank, on average one after the other, from which on they could have been one.
const IN_A_ROW: u64 = 8;
/// Communicators, windows or files that one rank makes in one line, from which on one could have been kept.
const MADE_AGAIN: u64 = 20;

pub(super) fn advice(trace: &Trace, findings: &Findings) -> Vec<Advice> {
    let mut advice = small_sends(trace);
    advice.extend(by_line(trace, small_pieces));
    advice.extend(by_line(trace, polling));
    advice.extend(by_line(trace, made_again));
    advice.retain(|a| findings.matters(a.cost_ns));
    advice
}

/// Small messages to one rank, one after the other, from one line.
#[derive(Default)]
struct Sends {
    messages: u64,
    bytes: u64,
    /// Stretches in which the line did nothing but send, counted for each of their receivers.
    stretches: u64,
    /// Their time, what lies between the calls included.
    ns: u64,
    /// What the receives of these messages took.
    receiving_ns: u64,
}

fn small_sends(trace: &Trace) -> Vec<Advice> {
    let mut lines: BTreeMap<Option<PlaceId>, Sends> = BTreeMap::new();
    for rank in &trace.ranks {
        let mut threads: BTreeMap<u32, Vec<&Call>> = BTreeMap::new();
        for (_, call) in outer(rank) {
            threads.entry(call.thread).or_default().push(call);
        }
        let small = |c: &Call| sends(c) && c.bytes.is_some_and(|b| b <= SMALL);
        for calls in threads.values() {
            for stretch in calls.chunk_by(|a, b| small(a) && small(b) && a.place == b.place) {
                let (first, last) = (stretch[0], stretch[stretch.len() - 1]);
                if !small(first) {
                    continue;
                }
                let line = lines.entry(first.place).or_default();
                line.messages += stretch.len() as u64;
                line.bytes = stretch.iter().filter_map(|c| c.bytes).fold(line.bytes, u64::saturating_add);
                line.stretches += stretch.iter().map(|c| c.peer).collect::<BTreeSet<_>>().len() as u64;
                line.ns = line.ns.saturating_add(last.ended_ns.saturating_sub(first.began_ns));
            }
        }
    }
    lines.retain(|_, line| line.messages >= MANY && line.messages / line.stretches.max(1) >= IN_A_ROW);
    // A receive that completes many messages is looked at once.
    let mut seen = BTreeSet::new();
    for m in &trace.messages {
        let call = |rank: u32, i: Option<u32>| trace.ranks.get(rank as usize)?.calls.get(i? as usize);
        let (Some(send), Some(receive)) = (call(m.from, m.send_call), call(m.to, m.receive_call)) else { continue };
        if let Some(line) = lines.get_mut(&send.place)
            && m.bytes <= SMALL
            && seen.insert((m.to, m.receive_call))
        {
            line.receiving_ns = line.receiving_ns.saturating_add(length(receive));
        }
    }
    let advice = lines.into_iter().map(|(place, line)| Advice {
        finding: format!(
            "{} sends of {} from {}, {} to the same rank in a row: send them together.",
            text::count(line.messages),
            text::bytes(line.bytes / line.messages),
            line_name(trace, place),
            text::count(line.messages / line.stretches.max(1))
        ),
        detail: format!(
            "Sending them takes {}, receiving them {}. One array with the data of many costs little more than one of them.",
            text::duration(line.ns),
            text::duration(line.receiving_ns)
        ),
        cost_ns: line.ns.saturating_add(line.receiving_ns),
    });
    advice.collect()
}

/// The calls of one function from one line.
#[derive(Default)]
struct Calls {
    calls: u64,
    bytes: u64,
    ns: u64,
    /// Of the rank that made the most.
    by_one: u64,
}

/// The finding and the detail of a piece of advice.
type Words = (String, String);

/// What `say` says to the calls of each function from each line.
fn by_line(trace: &Trace, say: fn(&str, Class, &str, &Calls) -> Option<Words>) -> Vec<Advice> {
    let mut lines: BTreeMap<(Option<PlaceId>, &str, Class), Calls> = BTreeMap::new();
    for rank in &trace.ranks {
        let mut own: BTreeMap<(Option<PlaceId>, &str, Class), u64> = BTreeMap::new();
        for call in &rank.calls {
            let key = (call.place, call.name, call.class);
            let line = lines.entry(key).or_default();
            line.calls += 1;
            line.bytes = line.bytes.saturating_add(call.bytes.unwrap_or(0));
            line.ns = line.ns.saturating_add(length(call));
            let own = own.entry(key).or_default();
            *own += 1;
            line.by_one = line.by_one.max(*own);
        }
    }
    let advice = lines.into_iter().filter_map(|((place, name, class), calls)| {
        let (finding, detail) = say(short_name(name), class, &line_name(trace, place), &calls)?;
        Some(Advice { finding, detail, cost_ns: calls.ns })
    });
    advice.collect()
}

/// Small pieces of files.
fn small_pieces(name: &str, class: Class, line: &str, calls: &Calls) -> Option<Words> {
    let moves = name.contains("rite") || name.contains("ead");
    let each = calls.bytes / calls.calls.max(1);
    if class != Class::File || !moves || calls.calls < MANY || each > SMALL || calls.bytes == 0 {
        return None;
    }
    Some((
        format!(
            "{} calls of {name} of {} in {line} take {}.",
            text::count(calls.calls),
            text::bytes(each),
            text::duration(calls.ns)
        ),
        "Write and read larger pieces: collect them in memory, or describe them by a view and move them in one call."
            .to_owned(),
    ))
}

/// Questions instead of waits.
fn polling(name: &str, _: Class, line: &str, calls: &Calls) -> Option<Words> {
    let instead = match name {
        "Iprobe" | "Improbe" => "Probe or Recv",
        "Test" => "Wait",
        "Testall" => "Waitall",
        "Testany" => "Waitany",
        "Testsome" => "Waitsome",
        _ => return None,
    };
    if calls.calls < MANY {
        return None;
    }
    Some((
        format!("{} calls of {name} in {line} take {}.", text::count(calls.calls), text::duration(calls.ns)),
        format!("A rank with nothing else to do is better off in {instead}: it sleeps, and others get the CPU."),
    ))
}

/// Things that are made again and again.
fn made_again(name: &str, _: Class, line: &str, calls: &Calls) -> Option<Words> {
    let thing = match name {
        n if n.starts_with("Comm_dup") || n.starts_with("Comm_split") || n.starts_with("Comm_create") => "communicator",
        "Cart_create" | "Cart_sub" | "Graph_create" | "Dist_graph_create" | "Dist_graph_create_adjacent" => {
            "communicator"
        }
        n if n.starts_with("Win_create") || n.starts_with("Win_allocate") => "window",
        "File_open" => "file",
        _ => return None,
    };
    if calls.by_one < MADE_AGAIN {
        return None;
    }
    Some((
        format!(
            "{name} is called {} times by one rank in {line} and takes {}.",
            text::count(calls.by_one),
            text::duration(calls.ns)
        ),
        format!("All members have to meet for it. Make the {thing} once and keep it."),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::testing::{call, message, places, ranks};

    const US: u64 = 1_000;

    fn found(trace: &Trace) -> Vec<Advice> {
        advice(trace, &Findings::of(trace))
    }

    /// So many calls of one function by rank 0, every 20 us, each taking 15.
    fn calls(n: u64, name: &'static str, class: Class, bytes: Option<u64>) -> Trace {
        let mut trace = ranks(2);
        places(&mut trace, &["a.py:12", "a.py:13"]);
        trace.ranks[0].calls = (0..n)
            .map(|i| {
                let mut c = call(name, class, i * 20 * US, (i * 20 + 15) * US, 0);
                (c.place, c.peer, c.bytes) = (Some(PlaceId(0)), Some(1), bytes);
                c
            })
            .collect();
        trace
    }

    #[test]
    fn many_small_sends_in_a_row_should_be_one() {
        let mut trace = calls(4000, "MPI_Send", Class::PointToPoint, Some(8));
        for i in 0..4000 {
            let now = u64::from(i) * 20 * US;
            trace.ranks[1].calls.push(call("MPI_Recv", Class::PointToPoint, now + 5 * US, now + 15 * US, 0));
            let mut m = message(0, 1, 8, now, now + 15 * US);
            (m.send_call, m.receive_call) = (Some(i), Some(i));
            trace.messages.push(m);
        }
        let advice = found(&trace);
        assert_eq!(advice.len(), 1, "{advice:?}");
        assert_eq!(
            advice[0].finding,
            "4,000 sends of 8 B from a.py:12, 4,000 to the same rank in a row: send them together."
        );
        assert!(advice[0].detail.starts_with("Sending them takes 80.0 ms, receiving them 40.0 ms."), "{advice:?}");
        assert_eq!(advice[0].cost_ns, (4000 * 20 - 5 + 4000 * 10) * US);
    }

    #[test]
    fn small_sends_that_are_answered_each_could_not_be_one() {
        let mut trace = calls(4000, "MPI_Send", Class::PointToPoint, Some(8));
        for c in trace.ranks[0].calls.iter_mut().skip(1).step_by(2) {
            c.name = "MPI_Recv";
        }
        assert_eq!(found(&trace), []);
    }

    #[test]
    fn large_sends_and_few_sends_are_right() {
        assert_eq!(found(&calls(4000, "MPI_Send", Class::PointToPoint, Some(1 << 16))), []);
        assert_eq!(found(&calls(999, "MPI_Send", Class::PointToPoint, Some(8))), []);
    }

    #[test]
    fn small_pieces_of_files_are_named() {
        let advice = found(&calls(12_000, "MPI_File_write_at", Class::File, Some(80)));
        assert_eq!(advice[0].finding, "12,000 calls of File_write_at of 80 B in a.py:12 take 180 ms.");
        assert_eq!(found(&calls(12_000, "MPI_File_write_at", Class::File, Some(1 << 20))), []);
    }

    #[test]
    fn polling_is_named_with_what_waits() {
        let advice = found(&calls(5000, "MPI_Iprobe", Class::PointToPoint, None));
        assert_eq!(advice[0].finding, "5,000 calls of Iprobe in a.py:12 take 75.0 ms.");
        assert!(advice[0].detail.contains("Probe or Recv"));
    }

    #[test]
    fn communicators_that_are_made_again_and_again_are_named() {
        let advice = found(&calls(2000, "MPI_Comm_split", Class::Management, None));
        assert_eq!(advice[0].finding, "Comm_split is called 2,000 times by one rank in a.py:12 and takes 30.0 ms.");
        assert_eq!(found(&calls(3, "MPI_Comm_split", Class::Management, None)), []);
    }
}
