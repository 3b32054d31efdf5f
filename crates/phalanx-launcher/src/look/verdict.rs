//! What it all means, in one line: who has to do something for the others to go on.

use std::collections::BTreeSet;

use phalanx_waits::{Frame, Names, Wait, ranks};

use super::report::LookNames;
use super::{Doing, DoingKind, Look, Process, RankSeen, Stage, Thread};

/// Those of several culprits that are named.
const NAMED: usize = 4;
/// Machines that are named.
const HOSTS: usize = 4;

/// What a rank is doing, apart from waits for others.
pub(super) struct Activity<'l> {
    pub(super) kind: DoingKind,
    pub(super) words: String,
    pub(super) frames: &'l [Frame],
}

/// What a process is doing: its first thread, unless that waits for another one that computes.
pub(super) fn activity(process: &Process) -> Activity<'_> {
    let gone = Activity { kind: DoingKind::Ended, words: "has ended".to_owned(), frames: &[] };
    let Some(main) = process.main().or(process.threads.first()) else { return gone };
    let waits = matches!(main.doing.kind, DoingKind::Thread | DoingKind::Events | DoingKind::Other);
    let computes = |thread: &&Thread| thread.doing.kind == DoingKind::Computes && !thread.frames.is_empty();
    let thread = process.threads.iter().find(computes).filter(|_| waits).unwrap_or(main);
    let Doing { kind, words } = thread.doing.clone();
    let frames = &thread.frames[..];
    let rests = !matches!(kind, DoingKind::Computes | DoingKind::Stopped | DoingKind::Traced | DoingKind::Ended);
    if rests
        && frames
            .iter()
            .any(|frame| frame.file.ends_with("/phalanx/_terminal.py") && frame.function == "_Terminal._ask")
    {
        let words = "waits for its turn at the terminal, which another rank has".to_owned();
        return Activity { kind: DoingKind::Stdin, words, frames };
    }
    if rests && frames.iter().any(|frame| frame.file.ends_with("/pdb.py")) {
        // After an exception, nothing of the program is on the stack any more.
        let (words, frames) = match frames.iter().any(is_own) {
            true => ("is at a prompt of pdb", frames),
            false => ("is at a prompt of pdb after an exception", &[][..]),
        };
        return Activity { kind: DoingKind::Traced, words: words.to_owned(), frames };
    }
    Activity { kind, words, frames }
}

/// What a rank that was started as this process is doing, in words about one, and where in its program.
pub(crate) fn glimpse(pid: u32) -> Option<(String, Option<Frame>)> {
    glimpse_of(super::tree(pid).into_iter().filter_map(super::look_at))
}

/// The same of processes that were seen: the one that was started, and what descends from it.
pub(crate) fn glimpse_of(processes: impl IntoIterator<Item = Process>) -> Option<(String, Option<Frame>)> {
    let mut first = None;
    for process in processes {
        let seen = activity(&process);
        let place = seen.frames.get(own_frame(seen.frames)).cloned();
        // A shell and the like stand before the Python that they run.
        let is_python = process.threads.iter().any(|thread| !thread.frames.is_empty());
        let told = (seen.words, place);
        if is_python {
            return Some(told);
        }
        first = first.or(Some(told));
    }
    first
}

/// What a rank is doing that waits for nobody.
pub(super) fn activity_of(rank: &RankSeen) -> Activity<'_> {
    match &rank.process {
        Some(process) => activity(process),
        None if rank.host.is_some() && rank.ended.is_none() => Activity {
            kind: DoingKind::Events,
            words: "is doing what its host has not told in time".to_owned(),
            frames: &[],
        },
        None => Activity { kind: DoingKind::Ended, words: "has ended".to_owned(), frames: &[] },
    }
}

/// The innermost frame of a stack that is neither the standard library's nor this package's; the innermost one, if all are. Of
/// native code that Python has called only if there is no other.
pub(super) fn own_frame(frames: &[Frame]) -> usize {
    let python = frames.iter().position(|frame| is_own(frame) && !frame.is_native());
    python.or_else(|| frames.iter().position(is_own)).unwrap_or(0)
}

/// Whether a frame is neither the standard library's nor this package's.
pub(crate) fn is_own(frame: &Frame) -> bool {
    let file = &frame.file;
    let of_library = file.contains("/lib/python3.") && !file.contains("-packages/");
    let of_package = file.contains("/site-packages/phalanx/") || file.ends_with("/_phalanx_doors.py");
    !of_library && !of_package && !file.starts_with("<frozen")
}

/// Words about one, as they are said of several.
pub(super) fn plural(words: &str) -> String {
    let (first, rest) = words.split_once(' ').map_or((words, ""), |(first, rest)| (first, rest));
    let first = match first {
        "is" => "are",
        "has" => "have",
        verb => verb.strip_suffix('s').unwrap_or(verb),
    };
    format!("{first} {rest}").trim_end().to_owned()
}

/// The same of so many.
pub(crate) fn of_number(words: &str, count: usize) -> String {
    if count == 1 { words.to_owned() } else { plural(words) }
}

/// " at solver.py:12, in step"
fn place(frames: &[Frame]) -> String {
    frames.get(own_frame(frames)).map_or_else(String::new, |frame| {
        let name = frame.file.rsplit('/').next().unwrap_or(&frame.file);
        format!(" at {name}:{}, in {}", frame.line, frame.function)
    })
}

/// The waits of a rank.
pub(super) fn waits_of(look: &Look, slot: u32) -> impl Iterator<Item = &Wait> {
    look.waits.iter().filter(move |(of, _)| *of == slot).map(|(_, wait)| wait)
}

/// Whether a rank is in a call that has waited for a while. One that is stopped is not: it would have to go on first.
pub(super) fn is_blocked(look: &Look, rank: &RankSeen) -> bool {
    let held = |process: &Process| matches!(activity(process).kind, DoingKind::Stopped | DoingKind::Traced);
    rank.ended.is_none() && !rank.process.as_ref().is_some_and(held) && waits_of(look, rank.slot).next().is_some()
}

/// What the whole of it means.
pub(super) fn verdict(look: &Look) -> String {
    let names = LookNames(look);
    let live: Vec<&RankSeen> = look.ranks.iter().filter(|rank| rank.ended.is_none()).collect();
    if live.is_empty() {
        return "all ranks have ended; what is left is their output, or processes that they have started".to_owned();
    }
    if let Some(stuck) = &look.stuck {
        return stuck.headline.clone();
    }
    let (blocked, free): (Vec<&RankSeen>, Vec<&RankSeen>) = live.iter().partition(|rank| is_blocked(look, rank));
    let end = look.ranks.iter().map(|rank| rank.slot + 1).max().unwrap_or(0);
    let mut wanted = BTreeSet::new();
    for rank in &blocked {
        wanted.extend(waits_of(look, rank.slot).flat_map(|wait| &wait.items).flat_map(|item| item.peers.below(end)));
    }
    let culprits: Vec<&RankSeen> = free.iter().copied().filter(|rank| wanted.contains(&rank.slot)).collect();
    let slots = |ranks: &[&RankSeen]| ranks.iter().map(|rank| rank.slot).collect::<Vec<u32>>();
    if !culprits.is_empty() {
        let groups = groups(&culprits);
        let mut clauses: Vec<String> = groups
            .iter()
            .take(NAMED)
            .map(|(said, group)| {
                format!("{}{}, which {}", ranks(group, &names), names.hosts(group), of_number(said, group.len()))
            })
            .collect();
        if let Some(more) = groups.len().checked_sub(NAMED).filter(|more| *more > 0) {
            let others: usize = groups.iter().rev().take(more).map(|(_, group)| group.len()).sum();
            clauses.push(if others == 1 { "one other".to_owned() } else { format!("{others} others") });
        }
        let who = slots(&blocked);
        let verb = if who.len() == 1 { "waits" } else { "wait" };
        return format!("{} {verb} for {}", ranks(&who, &names), clauses.join(", and for "));
    }
    if free.is_empty() {
        return "all ranks wait in calls of MPI, and nobody has proved that they cannot go on".to_owned();
    }
    let all = groups(&free);
    let mut clauses: Vec<String> = Vec::new();
    if !blocked.is_empty() {
        let who = slots(&blocked);
        let verb = if who.len() == 1 { "waits" } else { "wait" };
        clauses.push(format!("{} {verb} in calls of MPI", ranks(&who, &names)));
    }
    match &all[..] {
        [(said, group)] if group.len() == look.ranks.len() && group.len() > 1 => {
            clauses.push(format!("all ranks {}", plural(said)));
        }
        _ => clauses.extend(all.iter().take(NAMED).map(|(said, group)| {
            format!("{}{} {}", ranks(group, &names), names.hosts(group), of_number(said, group.len()))
        })),
    }
    if all.len() > NAMED {
        let others: usize = all.iter().skip(NAMED).map(|(_, group)| group.len()).sum();
        clauses.push(if others == 1 {
            "one does something else".to_owned()
        } else {
            format!("{others} do something else")
        });
    }
    clauses.join("; ")
}

/// What the processes do that a rank has started, if some compute.
fn helpers(rank: &RankSeen) -> Option<String> {
    let busy: Vec<Activity<'_>> =
        rank.children.iter().map(activity).filter(|seen| seen.kind == DoingKind::Computes).collect();
    let place = place(busy.first()?.frames);
    Some(match busy.len() {
        1 => format!(" (a process that it has started computes{place})"),
        count => format!(" ({count} processes that it has started compute{place})"),
    })
}

/// Ranks that do the same, with what they do; what keeps a job from going on by itself comes first.
fn groups(ranks: &[&RankSeen]) -> Vec<(String, Vec<u32>)> {
    let mut groups: Vec<(u8, DoingKind, String, String, Vec<u32>)> = Vec::new();
    for rank in ranks {
        let Activity { kind, words, frames } = activity_of(rank);
        let mut said = words;
        let waits = matches!(kind, DoingKind::Thread | DoingKind::Events | DoingKind::Child | DoingKind::File);
        if let Some(helpers) = helpers(rank).filter(|_| waits) {
            said.push_str(&helpers);
        }
        if kind == DoingKind::Stopped {
            said.push_str(&format!(" (kill -CONT {} lets it go on)", rank.pid));
        }
        if rank.stage == Stage::Finalized {
            said.push_str(", after MPI_Finalize");
        }
        let order = match kind {
            DoingKind::Stopped | DoingKind::Traced => 0,
            DoingKind::Stdin => 1,
            DoingKind::Computes => 3,
            _ => 2,
        };
        let function = frames.get(own_frame(frames)).map_or("", |frame| &frame.function).to_owned();
        match groups.iter_mut().find(|(_, of, what, name, _)| *of == kind && *what == said && *name == function) {
            Some((.., slots)) => slots.push(rank.slot),
            None => groups.push((order, kind, said, function, vec![rank.slot])),
        }
    }
    groups.sort_by_key(|group| group.0);
    let place_of = |slot: u32| {
        let rank = ranks.iter().find(|rank| rank.slot == slot);
        rank.map_or_else(String::new, |rank| place(activity_of(rank).frames))
    };
    groups.into_iter().map(|(_, _, said, _, slots)| (format!("{said}{}", place_of(slots[0])), slots)).collect()
}

impl LookNames<'_> {
    /// The machines of these ranks as the end of their name, in a job on several: " on h1, h2".
    pub(super) fn hosts(&self, slots: &[u32]) -> String {
        let mut hosts: Vec<&str> =
            slots.iter().filter_map(|slot| self.find(*slot)).filter_map(|rank| rank.host.as_deref()).collect();
        hosts.dedup();
        match hosts.len() {
            0 => String::new(),
            1..=HOSTS => format!(" on {}", hosts.join(", ")),
            count => format!(" on {} and {} other hosts", hosts[..HOSTS - 1].join(", "), count - (HOSTS - 1)),
        }
    }

    /// A rank by its slot.
    pub(super) fn find(&self, slot: u32) -> Option<&RankSeen> {
        self.0.ranks.iter().find(|rank| rank.slot == slot)
    }
}

impl Names for LookNames<'_> {
    fn rank(&self, slot: u32) -> String {
        match self.find(slot) {
            Some(rank) if rank.world == 0 => rank.rank.to_string(),
            Some(rank) => format!("{} of spawned world {}", rank.rank, rank.world),
            None => format!("in slot {slot}"),
        }
    }

    fn source(&self, frame: &Frame) -> Option<String> {
        super::report::source(frame)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_several_it_is_said_otherwise() {
        assert_eq!(plural("computes"), "compute");
        assert_eq!(plural("is stopped by a signal"), "are stopped by a signal");
        assert_eq!(of_number("has ended", 1), "has ended");
    }

    #[test]
    fn the_frame_of_the_program_is_found() {
        let frame = |file: &str| Frame { file: file.to_owned(), line: 1, function: "f".to_owned() };
        let stack = [
            frame("/usr/lib/python3.11/threading.py"),
            frame("/x/lib/python3.11/site-packages/_phalanx_doors.py"),
            frame("/x/lib/python3.11/site-packages/phalanx/util/pool.py"),
            frame("/x/lib/python3.11/site-packages/numpy/linalg.py"),
            frame("/home/you/a.py"),
        ];
        assert_eq!(own_frame(&stack), 3);
        assert_eq!(own_frame(&stack[..1]), 0);
        assert_eq!(own_frame(&[]), 0);
    }
}
