//! What every analysis asks of calls. A trace comes from processes that may have written anything, so nothing here
//! trusts that ends follow beginnings or that indices are within their tables.

use std::collections::HashMap;

use crate::{Call, Place, PlaceId, Rank, Trace};

/// How long a call took.
pub(crate) fn length(call: &Call) -> u64 {
    call.ended_ns.saturating_sub(call.began_ns)
}

/// How much of it the thread waited.
pub(crate) fn waited(call: &Call) -> u64 {
    call.waited_ns.min(length(call))
}

/// The calls of a rank that were not made within another call, with their indices.
pub(crate) fn outer(rank: &Rank) -> impl Iterator<Item = (usize, &Call)> {
    let mut ends: HashMap<u32, u64> = HashMap::new();
    rank.calls.iter().enumerate().filter(move |(_, call)| {
        let end = ends.entry(call.thread).or_insert(0);
        let outermost = call.began_ns >= *end;
        if outermost {
            *end = call.ended_ns.max(call.began_ns);
        }
        outermost
    })
}

/// From the beginning of a rank's first call to the end of its last.
pub(crate) fn span(rank: &Rank) -> (u64, u64) {
    let began = rank.calls.iter().map(|c| c.began_ns).min().unwrap_or(0);
    let ended = rank.calls.iter().map(|c| c.ended_ns).max().unwrap_or(0);
    (began, ended.max(began))
}

/// When the last thing in a trace happened.
pub(crate) fn end(trace: &Trace) -> u64 {
    let calls = trace.ranks.iter().flat_map(|r| &r.calls).map(|c| c.ended_ns.max(c.began_ns));
    let messages = trace.messages.iter().map(|m| m.received_ns.max(m.sent_ns));
    calls.chain(messages).max().unwrap_or(0).max(trace.lasted_ns)
}

/// A line of the program, where the trace has it.
pub(crate) fn place(trace: &Trace, id: Option<PlaceId>) -> Option<&Place> {
    trace.places.get(usize::try_from(id?.0).ok()?)
}

/// `solver.py:41`: the file without its folders, as the report calls a line in sentences.
pub(crate) fn place_name(place: &Place) -> String {
    let file = place.file.rsplit('/').next().unwrap_or_default();
    match (file, place.line) {
        ("", _) => "an unknown line".to_owned(),
        (file, 0) => format!("{file} ({})", place.function),
        (file, line) => format!("{file}:{line}"),
    }
}
