//! Advice about waiting: for the last at a collective operation, for messages, for each other in turn.

use std::collections::BTreeMap;

use super::machine::crowded;
use super::{Advice, Findings};
use crate::Trace;
use crate::report::calls::{line_name, rank_name, short_name, span};
use crate::report::imbalance::{FINALIZE, Imbalance};
use crate::report::late::Late;
use crate::report::text;

/// Percent of the meetings, or of what they cost, from which on one rank is said to be it.
const MOSTLY: u64 = 80;
/// Percent of the time for which one rank works alone, from which on a job is said to go one after the other.
const SERIAL: u64 = 30;
/// What a call waits on average, from which on the other side is late: ranks that answer each other at once wait for some
/// microseconds each time, and could not do better.
const LATE_NS: u64 = 20_000;

pub(super) fn advice(trace: &Trace, findings: &Findings) -> Vec<Advice> {
    let mut advice: Vec<Advice> =
        findings.imbalances.iter().filter(|i| findings.matters(i.lost_ns)).map(|i| last(trace, i)).collect();
    if let Some(chain) = chain(trace, findings) {
        advice.push(chain);
        // What each link waits for is the same once more.
        return advice;
    }
    let late = |l: &&Late| findings.matters(l.waited_ns) && l.waited_ns / l.calls.max(1) >= LATE_NS;
    let senders: Vec<&Late> = findings.late_senders.iter().filter(late).collect();
    let receivers: Vec<&Late> = findings.late_receivers.iter().filter(late).collect();
    if senders.is_empty() && receivers.is_empty() && advice.is_empty() {
        advice.extend(alone(trace, findings));
    }
    advice.extend(senders.into_iter().map(|l| late_sender(trace, l)));
    advice.extend(receivers.into_iter().map(|l| late_receiver(trace, l)));
    advice
}

/// About who comes last to a collective operation.
fn last(trace: &Trace, i: &Imbalance) -> Advice {
    let rank = rank_name(trace, i.last.rank);
    let others = (i.members - 1).max(1);
    let each = text::duration(i.lost_ns / others);
    if i.name == FINALIZE {
        return Advice {
            finding: format!("{rank} ends last, and each of the others has nothing to do for {each} before that."),
            detail: "Divide the work so that all end at about the same time.".to_owned(),
            cost_ns: i.lost_ns,
        };
    }
    let (name, line) = (short_name(i.name), line_name(trace, i.place));
    let share = i.last.times * 100 / i.times.max(1);
    if share < MOSTLY && i.last.lost_ns.saturating_mul(100) < i.lost_ns.saturating_mul(MOSTLY) {
        let most = text::percent(i.last.times, i.times);
        return Advice {
            finding: format!(
                "Who comes last to {name} in {line} changes ({rank} most often: {most} of {}), and each rank waits {each} for \
                 others there.",
                text::count(i.times)
            ),
            detail: if crowded(trace) {
                "With more ranks than CPUs it is partly who had no CPU.".to_owned()
            } else {
                format!(
                    "Each step takes some rank longer than the others. Where the work of a step cannot be divided \
                     better, meet less often, or start {} and go on with something else before it has to be complete.",
                    nonblocking(name)
                )
            },
            cost_ns: i.lost_ns,
        };
    }
    let each = text::duration(i.last.lost_ns / others);
    let finding = if i.times == 1 {
        format!("{rank} comes last to {name} in {line}, and each of the others waits {each} for it.")
    } else {
        let part = if i.last.times == i.times {
            "all".to_owned()
        } else {
            format!("{} of the", text::percent(i.last.times, i.times))
        };
        let times = text::count(i.times);
        format!(
            "{rank} is last in {part} {times} calls of {name} in {line}, and each of the others waits {each} for it."
        )
    };
    let per = |ns: u64| text::duration(ns / i.last.times.max(1));
    let (own, their) = (i.last.own_ns, i.last.others_own_ns);
    let meeting = if i.times == 1 { "it" } else { "each" };
    // More work explains it if the difference is at least half of how long the others wait.
    let more = own.saturating_sub(their).saturating_mul(2) >= i.last.lost_ns / others;
    let detail = match (more, crowded(trace)) {
        (true, crowded) => format!(
            "It has more work: it computes {} before {meeting}, the others {}.{} Give it less, or divide the work by how \
             long it takes.",
            per(own),
            per(their),
            if crowded { " With more ranks than CPUs that may also be who had no CPU." } else { "" }
        ),
        (false, _) => format!(
            "It does not compute longer than the others ({} before {meeting}, they {}): it comes late because of what it \
             does in other calls before, which the timeline shows.",
            per(own),
            per(their)
        ),
    };
    Advice { finding, detail, cost_ns: i.lost_ns }
}

/// `Iallreduce`, of `Allreduce`.
fn nonblocking(name: &str) -> String {
    format!("I{}", name.to_lowercase())
}

/// About receives that wait for their senders.
fn late_sender(trace: &Trace, late: &Late) -> Advice {
    let (name, line, waited) = (short_name(late.name), line_name(trace, late.place), text::duration(late.waited_ns));
    let (awaited, for_it) = late.awaited();
    let (waiting, by_it) = late.waiting();
    let mostly = |part: u64| part.saturating_mul(100) >= late.waited_ns.saturating_mul(MOSTLY);
    let who = rank_name(trace, waiting);
    let there = late.other_place.map_or_else(String::new, |p| format!(" (in {})", line_name(trace, Some(p))));
    if !mostly(for_it) && mostly(by_it) {
        let (began, ended) = trace.ranks.get(waiting as usize).map_or((0, 0), span);
        return Advice {
            finding: format!(
                "{who} waits {waited} in {name} of {line} for messages of others, {} of its time.",
                text::percent(by_it, ended - began)
            ),
            detail: "If it only gives out work and collects results, let it work as well meanwhile (Iprobe between \
                     pieces), or start one rank more than there are CPUs."
                .to_owned(),
            cost_ns: late.waited_ns,
        };
    }
    let finding = if mostly(for_it) {
        let whom = rank_name(trace, awaited);
        let by = if mostly(by_it) { who } else { "Ranks".to_owned() };
        let verb = if mostly(by_it) { "waits" } else { "wait" };
        format!("{by} {verb} {waited} in {name} of {line} for {whom}, which sends later{there}.")
    } else {
        format!("Ranks wait {waited} in {name} of {line} for messages that are sent later{there}.")
    };
    Advice {
        finding,
        detail: "Send as soon as the data is there. What the receiver can do without the message, it can do first: \
                 Irecv early, Wait when it is needed."
            .to_owned(),
        cost_ns: late.waited_ns,
    }
}

/// About sends that wait for their receivers.
fn late_receiver(trace: &Trace, late: &Late) -> Advice {
    let (awaited, for_it) = late.awaited();
    let mostly = for_it.saturating_mul(100) >= late.waited_ns.saturating_mul(MOSTLY);
    let whom = if mostly { rank_name(trace, awaited) } else { "their receivers".to_owned() };
    Advice {
        finding: format!(
            "{} in {} waits {} until {whom} receive{} ({} of {}).",
            short_name(late.name),
            line_name(trace, late.place),
            text::duration(late.waited_ns),
            if mostly { "s" } else { "" },
            if late.calls == 1 { "a message".to_owned() } else { format!("{} messages", text::count(late.calls)) },
            text::bytes(late.bytes / late.calls.max(1))
        ),
        detail:
            "A large message leaves when its receiver has come. Receive earlier (Irecv before the work, Wait behind \
                 it), or send with Isend and go on."
                .to_owned(),
        cost_ns: late.waited_ns,
    }
}

/// About ranks that work one after the other, each waiting for the one before.
fn chain(trace: &Trace, findings: &Findings) -> Option<Advice> {
    let (ranks, working) = (trace.ranks.len(), &findings.working);
    let alone = working.alone_ns();
    if ranks < 3 || alone.saturating_mul(100) < working.window_ns.saturating_mul(SERIAL) {
        return None;
    }
    // For whom each waits longest.
    let mut waits: BTreeMap<u32, BTreeMap<u32, u64>> = BTreeMap::new();
    for (waiting, awaited, ns) in findings.late_senders.iter().flat_map(|l| &l.pairs) {
        let sum = waits.entry(*waiting).or_default().entry(*awaited).or_default();
        *sum = sum.saturating_add(*ns);
    }
    let before: BTreeMap<u32, u32> =
        waits.iter().filter_map(|(w, a)| Some((*w, *a.iter().max_by_key(|(_, ns)| **ns)?.0))).collect();
    let links = longest_chain(&before);
    let cost_ns = alone.saturating_mul(ranks as u64 - 1);
    // Who works alone has to change, else it is one rank that all wait for.
    let most = working.alone.iter().max().copied().unwrap_or(0);
    if links.len() < 3 || most.saturating_mul(100) >= alone.saturating_mul(MOSTLY) || !findings.matters(cost_ns) {
        return None;
    }
    let named: Vec<String> = links.iter().take(6).map(u32::to_string).collect();
    let named = if links.len() > named.len() {
        format!("{}, ... {}", named.join(", "), links[links.len() - 1])
    } else {
        text::list(&named)
    };
    Some(Advice {
        finding: format!(
            "Ranks {named} wait for each other in a chain: for {} of the time only one of {ranks} ranks works.",
            text::percent(alone, working.window_ns)
        ),
        detail: "Each begins when the message of the one before has come, so the ranks work one after the other. Send \
                 parts as soon as they are ready, so that the next can begin with them, or look for an order in which \
                 nobody depends on the one before."
            .to_owned(),
        cost_ns,
    })
}

/// The longest way of ranks of which each waits for the one before it.
fn longest_chain(before: &BTreeMap<u32, u32>) -> Vec<u32> {
    let mut longest = Vec::new();
    for &end in before.keys() {
        let mut chain = vec![end];
        while let Some(&rank) = before.get(&chain[chain.len() - 1]) {
            if chain.contains(&rank) {
                break;
            }
            chain.push(rank);
        }
        if chain.len() > longest.len() {
            longest = chain;
        }
    }
    // A ring may be entered anywhere: from its smallest rank it reads best.
    let closed = longest.last().and_then(|first| before.get(first)).is_some_and(|rank| longest.first() == Some(rank));
    longest.reverse();
    if closed {
        let smallest = longest.iter().enumerate().min_by_key(|(_, rank)| **rank).map_or(0, |(i, _)| i);
        longest.rotate_left(smallest);
    }
    longest
}

/// About one rank that works while all others wait, where no line says more.
fn alone(trace: &Trace, findings: &Findings) -> Option<Advice> {
    let working = &findings.working;
    let (rank, ns) = (0u32..).zip(&working.alone).max_by_key(|(_, ns)| **ns)?;
    let others = trace.ranks.len().saturating_sub(1) as u64;
    let cost_ns = ns.saturating_mul(others);
    let serial = others > 1 && ns.saturating_mul(100) >= working.window_ns.saturating_mul(SERIAL);
    (serial && findings.matters(cost_ns)).then(|| Advice {
        finding: format!(
            "For {} of the time only {} works and the others wait.",
            text::percent(*ns, working.window_ns),
            rank_name(trace, rank)
        ),
        detail: "What one rank does alone bounds what more ranks can bring: divide it, or do it while the others work."
            .to_owned(),
        cost_ns,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::testing::{call, message, places, ranks};
    use crate::{Call, Class, Message, PlaceId};

    const MS: u64 = 1_000_000;

    fn found(trace: &Trace) -> Vec<Advice> {
        advice(trace, &Findings::of(trace))
    }

    fn at(place: u32, mut c: Call) -> Call {
        (c.place, c.context) = (Some(PlaceId(place)), Some(1));
        c
    }

    /// Ten Allreduces: before each, rank r computes `work(r, step)` milliseconds.
    fn steps(n: u32, work: impl Fn(u32, u64) -> u64) -> Trace {
        let mut trace = ranks(n);
        places(&mut trace, &["/home/me/solver.py:41"]);
        for rank in &mut trace.ranks {
            rank.calls.push(call("MPI_Init", Class::Management, 0, 0, 0));
        }
        let mut now = 0;
        for step in 0..10 {
            let came: Vec<u64> = (0..n).map(|r| now + work(r, step) * MS).collect();
            let last = came.iter().copied().max().expect("ranks");
            for (rank, came) in came.into_iter().enumerate() {
                let allreduce = call("MPI_Allreduce", Class::Collective, came, last + 1000, last - came);
                trace.ranks[rank].calls.push(at(0, allreduce));
            }
            now = last + 1000;
        }
        trace
    }

    #[test]
    fn a_rank_with_more_work_is_named_with_how_much_more() {
        let advice = found(&steps(4, |r, _| if r == 3 { 50 } else { 10 }));
        assert_eq!(advice.len(), 1, "{advice:?}");
        assert_eq!(
            advice[0].finding,
            "rank 3 is last in all 10 calls of Allreduce in solver.py:41, and each of the others waits 400 ms for it."
        );
        assert!(advice[0].detail.starts_with("It has more work: it computes 50.0 ms before each, the others 10.0 ms."));
        assert_eq!(advice[0].cost_ns, 3 * 400 * MS);
    }

    #[test]
    fn a_rank_that_is_last_in_most_calls_is_named_with_the_share() {
        let advice = found(&steps(4, |r, step| if r == if step == 4 { 1 } else { 3 } { 50 } else { 10 }));
        assert!(advice[0].finding.starts_with("rank 3 is last in 90 % of the 10 calls"), "{advice:?}");
    }

    #[test]
    fn work_that_moves_about_is_told_from_one_rank_with_more() {
        let advice = found(&steps(4, |r, step| if u64::from(r) == step % 4 { 50 } else { 10 }));
        assert_eq!(
            advice[0].finding,
            "Who comes last to Allreduce in solver.py:41 changes (rank 0 most often: 30 % of 10), and each rank waits 400 \
             ms for others there."
        );
        assert!(advice[0].detail.contains("Iallreduce"));
    }

    #[test]
    fn small_differences_are_no_matter() {
        assert_eq!(found(&steps(4, |r, _| if r == 3 { 51 } else { 50 })), []);
    }

    #[test]
    fn who_comes_late_for_want_of_a_cpu_is_not_said_to_have_more_work_only() {
        let mut trace = steps(4, |r, _| if r == 3 { 50 } else { 40 });
        trace.cpus = 2;
        assert!(found(&trace)[0].detail.contains("may also be who had no CPU"));
    }

    #[test]
    fn a_last_rank_that_does_not_compute_longer_is_late_for_another_reason() {
        let mut trace = steps(3, |_, _| 10);
        // Rank 2 waits elsewhere for 30 ms before its eleventh Allreduce.
        let now = trace.ranks[0].calls[10].ended_ns;
        for (rank, came) in [(0, 0), (1, 0), (2, 300)] {
            if came > 0 {
                trace.ranks[rank].calls.push(call("MPI_Comm_split", Class::Management, now, now + came * MS, 0));
            }
            let allreduce = call("MPI_Bcast", Class::Collective, now + came * MS, now + 301 * MS, 300 * MS - came * MS);
            trace.ranks[rank].calls.push(at(0, allreduce));
        }
        let advice = found(&trace);
        assert!(advice[0].finding.starts_with("rank 2 comes last to Bcast in solver.py:41, and each"), "{advice:?}");
        assert!(advice[0].detail.starts_with("It does not compute longer"), "{advice:?}");
    }

    #[test]
    fn a_rank_that_ends_late_is_named() {
        let mut trace = ranks(2);
        for (rank, end) in trace.ranks.iter_mut().zip([100, 900]) {
            rank.calls = vec![
                call("MPI_Init", Class::Management, 0, 0, 0),
                call("MPI_Finalize", Class::Management, end * MS, 900 * MS, (900 - end) * MS),
            ];
        }
        let advice = found(&trace);
        assert!(advice[0].finding.starts_with("rank 1 ends last, and each of the others has nothing to do for 800 ms"));
    }

    /// A message between the last calls of two ranks.
    fn between(trace: &Trace, from: u32, to: u32, bytes: u64) -> Message {
        let last = |rank: u32| trace.ranks[rank as usize].calls.len() as u32 - 1;
        let (send, receive) = (last(from), last(to));
        let call = |rank: u32, i: u32| &trace.ranks[rank as usize].calls[i as usize];
        let mut m = message(from, to, bytes, call(from, send).began_ns, call(to, receive).ended_ns);
        (m.send_call, m.receive_call) = (Some(send), Some(receive));
        m
    }

    #[test]
    fn a_late_sender_is_named_with_its_line() {
        let mut trace = ranks(2);
        places(&mut trace, &["a.py:12", "a.py:30"]);
        trace.ranks[0].calls = vec![at(0, call("MPI_Send", Class::PointToPoint, 500 * MS, 501 * MS, 0))];
        trace.ranks[1].calls = vec![at(1, call("MPI_Recv", Class::PointToPoint, 100 * MS, 501 * MS, 400 * MS))];
        trace.messages = vec![between(&trace, 0, 1, 8)];
        let advice = found(&trace);
        assert_eq!(
            advice[0].finding,
            "rank 1 waits 400 ms in Recv of a.py:30 for rank 0, which sends later (in a.py:12)."
        );
    }

    #[test]
    fn ranks_that_answer_each_other_at_once_are_not_late() {
        let mut trace = ranks(2);
        for i in 0..30_000 {
            let now = i * 10_000;
            let (send, receive) = if i % 2 == 0 { (0, 1) } else { (1, 0) };
            trace.ranks[send].calls.push(call("MPI_Send", Class::PointToPoint, now + 9_000, now + 10_000, 0));
            trace.ranks[receive].calls.push(call("MPI_Recv", Class::PointToPoint, now, now + 10_000, 9_000));
            let message = between(&trace, send as u32, receive as u32, 8);
            trace.messages.push(message);
        }
        assert!(Findings::of(&trace).late_senders[0].waited_ns > 100 * MS);
        assert_eq!(found(&trace), []);
    }

    #[test]
    fn a_late_receiver_of_large_messages_is_named() {
        let mut trace = ranks(2);
        places(&mut trace, &["a.py:12", "a.py:30"]);
        trace.ranks[0].calls = vec![at(0, call("MPI_Send", Class::PointToPoint, 100 * MS, 501 * MS, 390 * MS))];
        trace.ranks[1].calls = vec![at(1, call("MPI_Recv", Class::PointToPoint, 500 * MS, 501 * MS, 0))];
        trace.messages = vec![between(&trace, 0, 1, 4 << 20)];
        let advice = found(&trace);
        assert_eq!(advice[0].finding, "Send in a.py:12 waits 390 ms until rank 1 receives (a message of 4 MiB).");
    }

    #[test]
    fn a_master_that_only_waits_is_told_from_ranks_that_wait_for_one() {
        let mut trace = ranks(4);
        places(&mut trace, &["farm.py:40"]);
        for worker in 1..4u32 {
            let (from, to) = (u64::from(worker - 1) * 100 * MS, u64::from(worker) * 100 * MS);
            trace.ranks[0].calls.push(at(0, call("MPI_Recv", Class::PointToPoint, from, to, to - from)));
            trace.ranks[worker as usize].calls.push(call("MPI_Init", Class::Management, 0, 0, 0));
            trace.ranks[worker as usize].calls.push(call("MPI_Send", Class::PointToPoint, to, to, 0));
            let message = between(&trace, worker, 0, 8);
            trace.messages.push(message);
        }
        let advice = found(&trace);
        assert_eq!(
            advice[0].finding,
            "rank 0 waits 300 ms in Recv of farm.py:40 for messages of others, 100 % of its time."
        );
    }

    #[test]
    fn ranks_that_work_one_after_the_other_are_a_chain() {
        let n = 8;
        let mut trace = ranks(n);
        places(&mut trace, &["sweep.py:5"]);
        for rank in &mut trace.ranks {
            rank.calls.push(call("MPI_Init", Class::Management, 0, 0, 0));
        }
        for r in 0..n {
            let turn = u64::from(r) * 100 * MS;
            if r > 0 {
                let receive = at(0, call("MPI_Recv", Class::PointToPoint, 0, turn, turn));
                trace.ranks[r as usize].calls.push(receive);
                let message = between(&trace, r - 1, r, 8);
                trace.messages.push(message);
            }
            let send = call("MPI_Send", Class::PointToPoint, turn + 100 * MS, turn + 100 * MS, 0);
            trace.ranks[r as usize].calls.push(send);
        }
        for rank in &mut trace.ranks {
            let now = rank.calls[rank.calls.len() - 1].ended_ns;
            rank.calls.push(call("MPI_Finalize", Class::Management, now, 800 * MS, 800 * MS - now));
        }
        let advice = found(&trace);
        let chain = advice.iter().find(|a| a.finding.contains("chain")).expect("a chain");
        assert_eq!(
            chain.finding,
            "Ranks 0, 1, 2, 3, 4, 5, ... 7 wait for each other in a chain: for 100 % of the time only one of 8 ranks \
             works."
        );
        assert!(!advice.iter().any(|a| a.finding.contains("sends later")), "the same once more: {advice:?}");
    }

    #[test]
    fn chains_end_where_they_close() {
        let ring = BTreeMap::from([(0, 3), (1, 0), (2, 1), (3, 2)]);
        assert_eq!(longest_chain(&ring), [0, 1, 2, 3]);
        let star = BTreeMap::from([(1, 0), (2, 0), (3, 0)]);
        assert_eq!(longest_chain(&star).len(), 2);
        assert!(longest_chain(&BTreeMap::new()).is_empty());
    }
}
