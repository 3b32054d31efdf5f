//! A proved deadlock, and what ranks wait for, in words, for a terminal of 80 columns.

use std::collections::BTreeMap;
use std::fmt::Write;

use crate::fold::Told;
use crate::proof::Standing;
use crate::snapshot::{Snapshot, Thread};
use crate::wait::{Collective, Frame, Item, Kind, Wait, main_frame};

/// How a report calls processes.
pub trait Names {
    /// The process of a slot, without the word "rank": "3", "1 of world 2".
    fn rank(&self, slot: u32) -> String;
    /// A line of a source file, without its indentation, if it can be read.
    fn source(&self, frame: &Frame) -> Option<String>;
}

/// Columns of a line.
const WIDTH: usize = 80;
/// Waits that are told apart even where only their words differ.
const APART: usize = 6;
/// Ranks that are named one by one.
const NAMED: usize = 8;

/// What there is to say of processes that can never go on.
#[must_use]
pub fn report(snapshot: &Snapshot, stuck: &[u32], names: &dyn Names) -> String {
    let mut text = format!("phalanx: {}\n", headline(snapshot, stuck, names));
    text.push_str(&table(snapshot, |slot| stuck.binary_search(&slot).is_ok(), names));
    text.push_str(&reason(snapshot, stuck, names));
    text
}

/// The same for an error, of which programs in C see the first half a kilobyte: the waits come last.
#[must_use]
pub fn verdict(snapshot: &Snapshot, stuck: &[u32], names: &dyn Names) -> String {
    let mut text = format!("phalanx: {}\n", headline(snapshot, stuck, names));
    text.push_str(&reason(snapshot, stuck, names));
    text.push_str(&table(snapshot, |slot| stuck.binary_search(&slot).is_ok(), names));
    text
}

/// Who can never go on, in a line.
#[must_use]
pub fn headline(snapshot: &Snapshot, stuck: &[u32], names: &dyn Names) -> String {
    let who = ranks(stuck, names);
    match stuck {
        [slot] if waits_for_itself(snapshot, *slot) => format!("deadlock: {who} waits for itself and can never go on"),
        [_] => format!("deadlock: {who} waits for what can never come"),
        _ => format!("deadlock: {who} wait for each other and can never go on"),
    }
}

/// Who waits for whom all around, and what to do about it, in indented lines.
#[must_use]
pub fn reason(snapshot: &Snapshot, stuck: &[u32], names: &dyn Names) -> String {
    let mut text = String::new();
    if let Some(Collective { title, .. }) = disagreement(snapshot, stuck) {
        let what = format!("the ranks disagree: they are in different collective operations on {title}");
        wrapped(&mut text, "  ", &what);
    }
    if let Some(cycle) = cycle(snapshot, stuck) {
        let cycle: Vec<String> = cycle.iter().map(|slot| names.rank(*slot)).collect();
        let _ = writeln!(text, "  the cycle: {}", shortened(&cycle));
    }
    let ended = ended(snapshot, stuck);
    if !ended.is_empty() {
        let have = if ended.len() == 1 { "has" } else { "have" };
        wrapped(&mut text, "  ", &format!("{} could have helped, but {have} ended", ranks(&ended, names)));
    }
    if let Some(hint) = hint(snapshot, stuck) {
        wrapped(&mut text, "  hint: ", &hint);
    }
    tame(text)
}

/// A communicator all of whose ranks are stuck in collective operations on it.
///
/// They are not in the same one, or not with the same root: had all of them called the same operations in the same order, all would have come
/// to the first of those in which somebody waits, and it would have gone on.
fn disagreement<'s>(snapshot: &'s Snapshot, stuck: &[u32]) -> Option<&'s Collective> {
    let end = u32::try_from(snapshot.standings().len()).unwrap_or(u32::MAX);
    let is_in = |slot: u32, context: u32| {
        let mut threads = of(snapshot, slot);
        stuck.binary_search(&slot).is_ok()
            && threads
                .next()
                .is_some_and(|thread| thread.wait.collective.as_ref().is_some_and(|c| c.context == context))
            && threads.next().is_none()
    };
    let waits = snapshot.threads().iter().filter(|thread| stuck.binary_search(&thread.slot).is_ok());
    waits.filter_map(|thread| thread.wait.collective.as_ref()).find(|collective| {
        let mut members = collective.members.below(end).peekable();
        members.peek().is_some() && members.all(|slot| is_in(slot, collective.context))
    })
}

/// The text without what a terminal would take for orders: some of it comes from the segment, where anybody may write.
#[must_use]
pub fn tame(text: String) -> String {
    text.chars().map(|c| if c.is_control() && c != '\n' { '?' } else { c }).collect()
}

/// What the blocked threads of the chosen processes wait for; those that say the same are one entry.
#[must_use]
pub fn table(snapshot: &Snapshot, chosen: impl Fn(u32) -> bool, names: &dyn Names) -> String {
    let mut text = String::new();
    for entry in &entries(snapshot, chosen) {
        write_entry(&mut text, entry, names);
    }
    tame(text)
}

/// The same for whoever has little room: what differs in nothing but its words is one group, where there are many.
#[must_use]
pub fn waits(snapshot: &Snapshot, chosen: impl Fn(u32) -> bool, names: &dyn Names) -> Vec<Told> {
    let mut entries = entries(snapshot, chosen);
    if entries.len() > APART {
        entries = merged(entries);
    }
    let told = |entry: Entry<'_>| Told {
        said: tame(format!(": {}", entry.said)),
        place: tame(place(&entry, names)),
        brief: entry.place.map(brief).unwrap_or_default(),
        slots: entry.slots,
    };
    entries.into_iter().map(told).collect()
}

/// "script.py:7"
#[must_use]
pub fn brief(frame: &Frame) -> String {
    let file = frame.file.rsplit('/').next().unwrap_or_default();
    let line = if frame.line == 0 { String::new() } else { format!(":{}", frame.line) };
    tame(format!("{file}{line}")).replace('\n', "?")
}

/// What is said, where, and by whom.
struct Entry<'s> {
    said: String,
    place: Option<&'s Frame>,
    /// The native code that is called there and calls MPI.
    inner: Option<&'s Frame>,
    slots: Vec<u32>,
}

/// What the blocked threads say, each thing once, in the order of the first who says it.
fn entries(snapshot: &Snapshot, chosen: impl Fn(u32) -> bool) -> Vec<Entry<'_>> {
    let mut entries: Vec<Entry<'_>> = Vec::new();
    let mut known = BTreeMap::new();
    for thread in snapshot.threads().iter().filter(|thread| chosen(thread.slot)) {
        let (said, frames) = (said(&thread.wait), &thread.wait.place);
        let at = main_frame(frames);
        let (place, inner) = (frames.get(at), frames[..at].first());
        let key = (said.clone(), [place, inner].map(|frame| frame.map(|frame| (frame.file.as_str(), frame.line))));
        let at = *known.entry(key).or_insert_with(|| {
            entries.push(Entry { said, place, inner, slots: Vec::new() });
            entries.len() - 1
        });
        let slots = &mut entries[at].slots;
        if slots.last() != Some(&thread.slot) {
            slots.push(thread.slot);
        }
    }
    entries
}

/// Entries of one operation in one place as one, with the words of the first.
fn merged<'s>(entries: Vec<Entry<'s>>) -> Vec<Entry<'s>> {
    let mut merged: Vec<(Entry<'s>, usize)> = Vec::new();
    let operation = |entry: &Entry<'_>| entry.said.split(' ').next().map(str::to_owned);
    for entry in entries {
        let alike = |other: &&mut (Entry<'s>, usize)| {
            other.0.place == entry.place && entry.place.is_some() && operation(&other.0) == operation(&entry)
        };
        match merged.iter_mut().find(alike) {
            Some((first, more)) => {
                first.slots.extend(entry.slots);
                *more += 1;
            }
            None => merged.push((entry, 0)),
        }
    }
    let told = |(mut entry, more): (Entry<'s>, usize)| {
        if more > 0 {
            entry.slots.sort_unstable();
            entry.slots.dedup();
            entry.said = format!("{} (and {more} more like it there)", entry.said);
        }
        entry
    };
    merged.into_iter().map(told).collect()
}

fn write_entry(text: &mut String, entry: &Entry<'_>, names: &dyn Names) {
    wrapped(text, "  ", &format!("{}: {}", ranks(&entry.slots, names), entry.said));
    text.push_str(&place(entry, names));
}

/// The lines for where an entry is.
fn place(entry: &Entry<'_>, names: &dyn Names) -> String {
    let mut text = String::new();
    if let Some(frame) = entry.place {
        located(&mut text, "at", frame, names);
    }
    if let Some(frame) = entry.inner {
        located(&mut text, "which is in", frame, names);
    }
    text
}

/// The lines for a place: `how` it stands to what was said, and its source.
pub(crate) fn located(text: &mut String, how: &str, frame: &Frame, names: &dyn Names) {
    let line = if frame.line == 0 { String::new() } else { format!(":{}", frame.line) };
    let _ = writeln!(text, "      {how} {}{line}, in {}", frame.file, frame.function);
    if let Some(source) = names.source(frame) {
        let _ = writeln!(text, "         {}", cut(&source, WIDTH - 9));
    }
}

/// "Recv from rank 1, tag 7, on MPI_COMM_WORLD".
#[must_use]
pub fn said(wait: &Wait) -> String {
    let mut said = wait.operation.clone();
    if let Some(first) = wait.items.first() {
        let _ = write!(said, " {}", first.what);
        match wait.items.len() - 1 {
            0 => {}
            1 => said.push_str(", and one more"),
            more => {
                let _ = write!(said, ", and {more} more");
            }
        }
    }
    for item in wait.items.iter().filter(|item| !item.near.is_empty()) {
        let _ = write!(said, "; {}", item.near);
    }
    said
}

/// "rank 3", "ranks 0-3, 7"; others than plain numbers one by one.
#[must_use]
pub fn ranks(slots: &[u32], names: &dyn Names) -> String {
    let all: Vec<String> = slots.iter().map(|slot| names.rank(*slot)).collect();
    let word = if all.len() == 1 { "rank" } else { "ranks" };
    let numbers: Option<Vec<u32>> = all.iter().map(|name| name.parse().ok()).collect();
    let Some(mut numbers) = numbers else { return format!("{word} {}", shortened_list(&all)) };
    numbers.sort_unstable();
    let mut parts: Vec<String> = Vec::new();
    let mut rest = &numbers[..];
    while let Some((&first, _)) = rest.split_first() {
        let run = rest.iter().zip(first..).take_while(|(a, b)| *a == b).count();
        match run {
            1 => parts.push(first.to_string()),
            2 => parts.extend([first.to_string(), rest[1].to_string()]),
            _ => parts.push(format!("{first}-{}", rest[run - 1])),
        }
        rest = &rest[run..];
    }
    format!("{word} {}", shortened_list(&parts))
}

fn shortened_list(parts: &[String]) -> String {
    match parts.len().checked_sub(NAMED) {
        Some(more) if more > 1 => format!("{} and {more} more", parts[..NAMED].join(", ")),
        _ => parts.join(", "),
    }
}

fn shortened(cycle: &[String]) -> String {
    match cycle.len() > 2 * NAMED {
        true => format!("{} -> ... -> {}", cycle[..NAMED].join(" -> "), cycle[cycle.len() - 2..].join(" -> ")),
        false => cycle.join(" -> "),
    }
}

fn waits_for_itself(snapshot: &Snapshot, slot: u32) -> bool {
    of(snapshot, slot).any(|thread| thread.wait.items.iter().any(|item| item.peers.only() == Some(slot)))
}

fn of(snapshot: &Snapshot, slot: u32) -> impl Iterator<Item = &Thread> {
    snapshot.threads().iter().filter(move |thread| thread.slot == slot)
}

/// Who waits for whom, from one process back to it.
fn cycle(snapshot: &Snapshot, stuck: &[u32]) -> Option<Vec<u32>> {
    let next = |slot: u32| {
        let peers = of(snapshot, slot).flat_map(|thread| thread.wait.items.iter()).map(|item| &item.peers);
        let mut next: Vec<u32> =
            peers.flat_map(|peers| stuck.iter().copied().filter(|other| peers.contains(*other))).collect();
        // Who waits for any rank waits for itself as well, which says nothing.
        next.sort_by_key(|other| *other == slot);
        next.first().copied()
    };
    let mut way = vec![*stuck.first()?];
    loop {
        let slot = next(*way.last()?)?;
        if let Some(start) = way.iter().position(|earlier| *earlier == slot) {
            way.push(slot);
            way.drain(..start);
            return (way.len() > 2).then_some(way);
        }
        way.push(slot);
    }
}

/// Who has ended of those that could have ended these waits.
fn ended(snapshot: &Snapshot, stuck: &[u32]) -> Vec<u32> {
    let has_ended = |slot: &u32| matches!(snapshot.standings().get(*slot as usize), Some(Standing::Ended));
    let waits = snapshot.threads().iter().filter(|thread| stuck.binary_search(&thread.slot).is_ok());
    let items: Vec<&Item> = waits.flat_map(|thread| &thread.wait.items).collect();
    let end = u32::try_from(snapshot.standings().len()).unwrap_or(u32::MAX);
    (0..end).filter(has_ended).filter(|slot| items.iter().any(|item| item.peers.contains(*slot))).collect()
}

/// What to do about it, where the pattern is known.
fn hint(snapshot: &Snapshot, stuck: &[u32]) -> Option<String> {
    let waits: Vec<&Wait> =
        snapshot.threads().iter().filter(|thread| stuck.contains(&thread.slot)).map(|thread| &thread.wait).collect();
    let kinds: Vec<Kind> = waits.iter().flat_map(|wait| wait.items.iter().map(|item| item.kind)).collect();
    let all = |kind: Kind| !kinds.is_empty() && kinds.iter().all(|other| *other == kind);
    let any = |kind: Kind| kinds.contains(&kind);
    let near = waits.iter().any(|wait| wait.items.iter().any(|item| !item.near.is_empty()));
    let hint = if disagreement(snapshot, stuck).is_some() {
        "all ranks of a communicator have to call the same collective operations on it, in the same order and with the same \
         root; blocking ones do not match nonblocking ones."
    } else if any(Kind::Kept) {
        "with --check, a send waits until it is received. Without it, messages of this size are kept by the library until \
         somebody asks for them, and only that lets this program go on. Use Sendrecv, or Isend and Recv and Wait, or let \
         somebody receive first."
    } else if all(Kind::Send) {
        "every rank is in a send, and nobody receives. Small messages are kept by the library until somebody asks for them, \
         large and synchronous ones wait for their receive. Use Sendrecv, or Isend and Recv and Wait, or let ranks with \
         even numbers send first and those with odd numbers receive first."
    } else if any(Kind::Port) {
        "MPI_Comm_connect waits until the process that has opened the port calls MPI_Comm_accept there, and that process waits \
         for something else. It has to accept first, or another thread of it."
    } else if any(Kind::Own) {
        "a process waits for what only it can do itself: before it waits, or in another thread."
    } else if near {
        "a message is there, and the receive asks for another one: compare source, tag and communicator."
    } else if all(Kind::Receive) && waits.len() > 1 {
        "every rank is in a receive, and nobody sends. One of them has to send first."
    } else if all(Kind::Receive) || (any(Kind::Receive) && !any(Kind::Collective) && !any(Kind::Send)) {
        "no rank that could send this message will: is a send missing, or one of another tag or communicator?"
    } else if any(Kind::Collective) && !all(Kind::Collective) {
        "some ranks are in a collective operation, and those they wait for are in something else: all ranks of a \
         communicator have to call it."
    } else if all(Kind::Collective) {
        "all ranks are in collective operations, in different orders or on different communicators: every rank has to call \
         them in the same order."
    } else if all(Kind::Lock) {
        "locks are taken in different orders: take them in one order everywhere."
    } else {
        return None;
    };
    Some(hint.to_owned())
}

/// Adds a text, broken into lines; those after the first are indented further.
pub fn wrapped(text: &mut String, indent: &str, words: &str) {
    let mut line = indent.to_owned();
    let mut is_empty = true;
    for word in words.split_whitespace() {
        if !is_empty && line.chars().count() + 1 + word.chars().count() > WIDTH {
            text.push_str(&line);
            text.push('\n');
            "      ".clone_into(&mut line);
            is_empty = true;
        }
        if !is_empty {
            line.push(' ');
        }
        line.push_str(word);
        is_empty = false;
    }
    text.push_str(&line);
    text.push('\n');
}

/// A line, of so many columns at most.
#[must_use]
pub fn cut(line: &str, width: usize) -> String {
    match line.chars().count() > width {
        true => line.chars().take(width - 3).chain("...".chars()).collect(),
        false => line.to_owned(),
    }
}

/// Ranks that are called by their slots, in tests.
#[cfg(test)]
pub(crate) struct Numbers;

#[cfg(test)]
impl Names for Numbers {
    fn rank(&self, slot: u32) -> String {
        slot.to_string()
    }

    fn source(&self, frame: &Frame) -> Option<String> {
        Some(format!("line {}", frame.line))
    }
}
