//! What every analysis asks of calls. A trace comes from processes that may have written anything, so nothing here
//! trusts that ends follow beginnings or that indices are within their tables.

use std::collections::HashMap;

use crate::{Call, Class, Place, PlaceId, Rank, Trace};

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

/// The same as a sentence names it.
pub(crate) fn line_name(trace: &Trace, id: Option<PlaceId>) -> String {
    place(trace, id).map_or_else(|| "an unknown line".to_owned(), place_name)
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

/// How long all ranks were there, together: what costs are compared with.
pub(crate) fn total(trace: &Trace) -> u64 {
    trace.ranks.iter().map(span).fold(0, |sum, (began, ended)| sum.saturating_add(ended - began))
}

/// The name of a rank, by its place in the trace.
pub(crate) fn rank_name(trace: &Trace, rank: u32) -> String {
    match trace.ranks.get(rank as usize) {
        Some(r) if !r.name.is_empty() => r.name.clone(),
        _ => format!("rank {rank}"),
    }
}

/// Functions that put data on its way to another rank.
pub(crate) fn sends(call: &Call) -> bool {
    call.class == Class::PointToPoint
        && matches!(
            call.name.trim_end_matches("_c"),
            "MPI_Send"
                | "MPI_Isend"
                | "MPI_Ssend"
                | "MPI_Issend"
                | "MPI_Bsend"
                | "MPI_Ibsend"
                | "MPI_Rsend"
                | "MPI_Irsend"
        )
}

/// `Allreduce`: a function as Python programs call it.
pub(crate) fn short_name(name: &str) -> &str {
    let name = name.trim_start_matches("MPI_");
    name.strip_suffix("_c").unwrap_or(name)
}
