//! Advice about waiting: for the last at a collective operation, for messages, for each other in turn.

use std::collections::BTreeMap;

use super::machine::crowded;
use super::{Advice, Findings};
use crate::Trace;
use crate::report::calls::{line_name, rank_name, short_name, span};
use crate::report::imbalance::{FINALIZE, Imbalance};
use crate::report::late::Late;
use crate::report::text;

/// Percent of the meetings from which on one rank is said to be always last.
const MOSTLY: u64 = 80;
/// Percent of the time for which one rank works alone, from which on a job is said to go one after the other.
const SERIAL: u64 = 30;

pub(super) fn advice(trace: &Trace, findings: &Findings) -> Vec<Advice> {
    let mut advice: Vec<Advice> =
        findings.imbalances.iter().filter(|i| findings.matters(i.lost_ns)).map(|i| last(trace, findings, i)).collect();
    if let Some(chain) = chain(trace, findings) {
        advice.push(chain);
        // What each link waits for is the same once more.
        return advice;
    }
    let senders: Vec<&Late> = findings.late_senders.iter().filter(|l| findings.matters(l.waited_ns)).collect();
    let receivers: Vec<&Late> = findings.late_receivers.iter().filter(|l| findings.matters(l.waited_ns)).collect();
    if senders.is_empty() && receivers.is_empty() && advice.is_empty() {
        advice.extend(alone(trace, findings));
    }
    advice.extend(senders.into_iter().map(|l| late_sender(trace, l)));
    advice.extend(receivers.into_iter().map(|l| late_receiver(trace, l)));
    advice
}

/// About who comes last to a collective operation.
fn last(trace: &Trace, findings: &Findings, i: &Imbalance) -> Advice {
    let rank = rank_name(trace, i.last.rank);
    let each = text::duration(i.lost_ns / (i.members - 1).max(1));
    if i.name == FINALIZE {
        return Advice {
            finding: format!("{rank} ends last, and the others have nothing to do for {each} before (on average)."),
            detail: "Divide the work so that all end at about the same time.".to_owned(),
            cost_ns: i.lost_ns,
        };
    }
    let (name, line) = (short_name(i.name), line_name(trace, i.place));
    let share = i.last.times * 100 / i.times.max(1);
    if share < MOSTLY {
        let most = text::percent(i.last.times, i.times);
        return Advice {
            finding: format!(
                "Who comes last to {name} in {line} changes ({rank} most often: {most} of {}), and the others wait {each} \
                 for it (on average).",
                text::count(i.times)
            ),
            detail: if crowded(trace, findings) {
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
    let finding = if i.times == 1 {
        format!("{rank} comes last to {name} in {line}, and the others wait {each} for it (on average).")
    } else {
        format!(
            "{rank} is last in {} of the {} calls of {name} in {line}, and the others wait {each} for it (on average).",
            text::percent(i.last.times, i.times),
            text::count(i.times)
        )
    };
    let per = |ns: u64| text::duration(ns / i.last.times.max(1));
    let (own, others) = (i.last.own_ns, i.last.others_own_ns);
    // More work explains it if the difference is at least half of how long the others wait.
    let more = own.saturating_sub(others).saturating_mul(2) >= i.last.lost_ns / (i.members - 1).max(1);
    let detail = match (more, crowded(trace, findings)) {
        (true, crowded) => format!(
            "It has more work: it computes {} before each, the others {}.{} Give it less, or divide the work by how \
             long it takes.",
            per(own),
            per(others),
            if crowded { " With more ranks than CPUs that may also be who had no CPU." } else { "" }
        ),
        (false, _) => format!(
            "It does not compute longer than the others ({} before each, they {}): it comes late because of what it \
             does in other calls before, which the timeline shows.",
            per(own),
            per(others)
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
            "{} calls of {} in {} wait {} until {whom} receive{} (messages of {}).",
            text::count(late.calls),
            short_name(late.name),
            line_name(trace, late.place),
            text::duration(late.waited_ns),
            if mostly { "s" } else { "" },
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
