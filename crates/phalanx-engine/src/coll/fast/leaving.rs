//! Ranks that leave an operation before its end: interrupted, or because a rank that it needs has ended.
//!
//! The others would wait for what such a rank has not done, although it lives and may do anything else. So it closes the area
//! for all: it stores in the head's *broken* word who it is, what it has left and why, and wakes the others. Operations that
//! go by messages look at that word, too, while they wait.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::comm::Comm;
use crate::error::{Error, ErrorClass};

use super::super::call::{Kind, Mode};
use super::area::{Area, cells_at, head, notify_others};
use super::steps::{self, disagreement};
use super::{Closed, State, try_lock};

/// In the broken word: what follows is no step.
const LEFT: u64 = 1 << 63;
/// The rank was interrupted.
const INTERRUPTED: u64 = 1 << 62;
/// Where the kind of the operation stands; the rank stands in the low half.
const KIND: u32 = 32;
/// Where it stands because of which rank that has ended the others were left, counted from 1; 0 if there is none, or if its number
/// has no room. Others ask at most once a second who has ended, and may not know it yet.
const GONE: u32 = 40;
const GONE_BITS: u32 = 22;

/// Closes the communicator for blocking collectives if `error` is one that leaves the others waiting.
#[cold]
pub(in super::super) fn leave(comm: &Comm, kind: Kind, error: &Error) {
    let (closed, why) = match error.class() {
        _ if error.is_interrupted() => (Closed::Interrupted, INTERRUPTED),
        ErrorClass::ProcAborted => {
            let gone = ended_ranks(comm).next().map_or(0, |rank| rank as u64 + 1);
            (Closed::Ended, if gone >> GONE_BITS == 0 { gone << GONE } else { 0 })
        }
        _ => return,
    };
    // Another thread that is in an operation finds the word.
    let Some(mut local) = try_lock(comm.coll()) else { return };
    if let State::Ready(area) = &local.state
        && let Some(broken) = broken(comm, area)
    {
        let word = LEFT | why | (kind as u64) << KIND | comm.rank() as u64;
        // SYNC POINT area-broken: Release, as where ranks disagree. Who was first decides what is told.
        if broken.compare_exchange(0, word, Ordering::AcqRel, Ordering::Acquire).is_ok() {
            notify_others(comm);
        }
        local.state = State::Closed(closed);
    }
}

/// The word in which ranks find out that one has left, if the communicator has an area.
pub(in super::super) fn broken_word(comm: &Comm) -> Option<&AtomicU64> {
    match &try_lock(comm.coll())?.state {
        State::Ready(area) => broken(comm, area),
        _ => None,
    }
}

/// For a rank that waits by messages in an operation and has slept in vain: whether others are in another one.
#[cold]
pub(in super::super) fn look_for_others(comm: &Comm) {
    let Some(local) = try_lock(comm.coll()) else { return };
    if let State::Ready(area) = &local.state
        && let Ok(cells) = area.cells()
    {
        steps::look_for_others(comm, &cells, local.counters.step());
    }
}

fn broken<'c>(comm: &'c Comm, area: &Area) -> Option<&'c AtomicU64> {
    let cells = cells_at(comm.engine().universe(), area.position(), area.ranks());
    cells.ok().map(|cells| &cells.head()[head::BROKEN])
}

/// Why an operation that goes by messages was given up: what the broken word says.
#[cold]
pub(in super::super) fn why_broken(comm: &Comm) -> Error {
    let told = try_lock(comm.coll()).and_then(|local| match &local.state {
        State::Ready(area) => Some(disagreement(comm, &area.cells().ok()?, local.counters.before_messages(), None)),
        _ => None,
    });
    told.unwrap_or_else(|| Error::new(ErrorClass::Other, "another rank has left a collective on this communicator"))
}

/// The error that a broken word stands for; `None` when it is about a disagreement.
pub(super) fn told(comm: &Comm, word: u64) -> Option<Error> {
    if word & LEFT == 0 {
        return None;
    }
    let rank = word as u32;
    let kind = Kind::from_index((word >> KIND) as usize & 0xff).name(Mode::Blocking);
    if word & INTERRUPTED != 0 {
        let text = format!(
            "rank {rank} was interrupted in {kind} and has left it, so the ranks are no longer in step; use another communicator"
        );
        return Some(Error::new(ErrorClass::Other, text));
    }
    let gone = (word >> GONE & ((1 << GONE_BITS) - 1)).checked_sub(1).map(|rank| rank as usize);
    let mut ended: Vec<usize> = ended_ranks(comm).chain(gone.filter(|rank| *rank < comm.size() as usize)).collect();
    ended.sort_unstable();
    ended.dedup();
    let ended: Vec<_> = ended.into_iter().map(|rank| format!("rank {rank}")).collect();
    let who = if ended.is_empty() { "a rank".to_owned() } else { ended.join(" and ") };
    Some(Error::new(ErrorClass::ProcAborted, format!("rank {rank} has left {kind}, because {who} has ended")))
}

/// The ranks that have ended, as far as this one knows.
fn ended_ranks(comm: &Comm) -> impl Iterator<Item = usize> {
    let members = comm.group().members().iter().enumerate();
    members.filter(|(_, process)| comm.engine().has_ended(**process)).map(|(rank, _)| rank)
}
