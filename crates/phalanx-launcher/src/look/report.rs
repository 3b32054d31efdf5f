//! What was seen of a job, in words for a terminal of 80 columns. Ranks that do the same are one entry.

use std::collections::HashMap;
use std::fmt::Write;
use std::fs;

use phalanx_waits::{Frame, Wait, cut, ranks, said, wrapped};

use super::verdict::{activity, activity_of, is_blocked, is_own, of_number, own_frame, plural, verdict, waits_of};
use super::{About, DoingKind, End, Look, Process, RankSeen, Stage};
use crate::signals;

pub(crate) use phalanx_waits::tame;

/// Columns of a line.
const WIDTH: usize = 80;
/// Entries, and frames of each below the innermost, that are shown where not all are asked for.
const ENTRIES: usize = 16;
const FRAMES: usize = 4;
/// Waits that differ in numbers only and are told one by one.
const ALIKE: usize = 4;
/// Source files of more bytes are not looked into.
const LONGEST_SOURCE: u64 = 4 << 20;

/// Ranks by the numbers that people know.
pub(super) struct LookNames<'l>(pub(super) &'l Look);

/// What several ranks, or processes of theirs, have in common.
struct Entry<'l> {
    words: String,
    frames: &'l [Frame],
    /// The innermost lines of all of them.
    lines: (u32, u32),
    /// Milliseconds that the longest of them has waited.
    waited: Option<u64>,
    slots: Vec<u32>,
    /// Processes that these ranks have started; none if it is the ranks themselves.
    children: Vec<u32>,
    pid: u32,
}

/// All that there is to say; `whole` with all frames and all entries.
pub(crate) fn report(look: &Look, whole: bool) -> String {
    let mut text = String::new();
    let mut line = verdict(look);
    if look.about.foreign {
        line.push_str("; what ranks wait for is not known on another MPI library (PHALANX_MPI), where a rank that waits may look as if it \
             computes");
    }
    wrapped(&mut text, "phalanx: ", &line);
    let entries = entries(look);
    let shown = if whole { entries.len() } else { ENTRIES };
    for entry in entries.iter().take(shown) {
        tell(&mut text, look, entry, whole);
    }
    if entries.len() > shown {
        let _ = writeln!(text, "  and {} more of other kinds (--verbose shows all)", entries.len() - shown);
    }
    if let Some(stuck) = &look.stuck {
        text.push_str(&stuck.reason);
    }
    tame(text)
}

fn entries(look: &Look) -> Vec<Entry<'_>> {
    let mut all = Entries::default();
    let begun = look.ranks.iter().any(|rank| !matches!(rank.stage, Stage::Before | Stage::Unknown));
    for rank in &look.ranks {
        if is_blocked(look, rank) {
            for wait in waits_of(look, rank.slot) {
                let frames = stack_of(rank, wait);
                let waited = Some(look.now.saturating_sub(wait.since));
                all.add(said(wait), frames, false, waited, (rank.slot, rank.pid), None);
            }
        } else if let Some(end) = rank.ended {
            all.add(ended(end), &[], false, None, (rank.slot, rank.pid), None);
        } else {
            let seen = activity_of(rank);
            let words = format!("{}{}{}", seen.words, stage(rank, begun), unreadable(rank.process.as_ref()));
            let runs = seen.kind == DoingKind::Computes;
            all.add(words, seen.frames, runs, None, (rank.slot, rank.pid), None);
        }
    }
    for rank in &look.ranks {
        for child in &rank.children {
            let seen = activity(child);
            // What the standard library starts for itself says nothing.
            if seen.kind == DoingKind::Ended || child.command.contains("resource_tracker") {
                continue;
            }
            let words = format!("{}{}", seen.words, unreadable(Some(child)));
            all.add(
                words,
                seen.frames,
                seen.kind == DoingKind::Computes,
                None,
                (rank.slot, child.pid),
                Some(child.pid),
            );
        }
    }
    merged(all.entries)
}

/// Where the program of a thread is that waits: what the rank itself has said, where its memory may not be read.
pub(super) fn stack_of<'l>(rank: &'l RankSeen, wait: &'l Wait) -> &'l [Frame] {
    let threads = rank.process.iter().flat_map(|process| &process.threads);
    let mut stacks = threads.filter(|thread| thread.number == wait.thread).map(|thread| &thread.frames[..]);
    stacks.find(|frames| !frames.is_empty()).unwrap_or(&wait.place)
}

/// What waits have in common that differ in numbers only.
type Form<'l> = (bool, Vec<String>, Vec<(&'l str, u32)>);

fn form<'l>(entry: &Entry<'l>) -> Form<'l> {
    let is_number = |word: &str| word.trim_end_matches([',', ';']).bytes().all(|byte| byte.is_ascii_digit());
    let masked = words(entry).into_iter().map(|word| if is_number(&word) { "#".to_owned() } else { word }).collect();
    let place = entry.frames.iter().map(|frame| (frame.file.as_str(), frame.line)).collect();
    (entry.waited.is_some(), masked, place)
}

fn words(entry: &Entry<'_>) -> Vec<String> {
    entry.words.split(' ').map(str::to_owned).collect()
}

/// Where many ranks wait at one place and each names another rank or tag, as in a ring: one entry for all of them.
fn merged(entries: Vec<Entry<'_>>) -> Vec<Entry<'_>> {
    let mut forms: HashMap<Form<'_>, usize> = HashMap::new();
    entries.iter().for_each(|entry| *forms.entry(form(entry)).or_default() += 1);
    let mut merged: Vec<Entry<'_>> = Vec::new();
    let mut first: HashMap<Form<'_>, usize> = HashMap::new();
    let mut differ: HashMap<usize, Vec<bool>> = HashMap::new();
    for entry in entries {
        let form = form(&entry);
        let is_common = form.0 && forms.get(&form).is_some_and(|count| *count > ALIKE);
        match first.get(&form).filter(|_| is_common) {
            Some(&at) => {
                let (one, other) = (words(&merged[at]), words(&entry));
                let flags = differ.entry(at).or_insert_with(|| vec![false; one.len()]);
                flags.iter_mut().zip(one.iter().zip(&other)).for_each(|(flag, (a, b))| *flag |= a != b);
                merged[at].slots.extend(entry.slots);
                merged[at].waited = merged[at].waited.max(entry.waited);
            }
            None => {
                first.insert(form, merged.len());
                merged.push(entry);
            }
        }
    }
    for (at, flags) in differ {
        let mut said: Vec<String> = Vec::new();
        for (word, differs) in words(&merged[at]).into_iter().zip(flags) {
            let comma = word.trim_start_matches(|c: char| c.is_ascii_digit());
            match said.last_mut() {
                Some(last) if differs && last == "rank" => *last = format!("another rank each{comma}"),
                _ if differs => said.push(format!("...{comma}")),
                _ => said.push(word),
            }
        }
        merged[at].words = said.join(" ");
    }
    merged
}

/// What those of an entry have in common: words, whether they are children, and where their programs are.
type Key<'l> = (String, bool, Vec<(&'l str, &'l str, u32)>);

#[derive(Default)]
struct Entries<'l> {
    entries: Vec<Entry<'l>>,
    known: HashMap<Key<'l>, usize>,
}

impl<'l> Entries<'l> {
    /// Who computes is at another line all the time: there the function counts.
    fn add(
        &mut self,
        words: String,
        frames: &'l [Frame],
        runs: bool,
        waited: Option<u64>,
        (slot, pid): (u32, u32),
        child: Option<u32>,
    ) {
        let own = own_frame(frames);
        let shown = &frames[own.min(frames.len())..];
        let line = shown.first().map_or(0, |frame| frame.line);
        let place = |(at, frame): (usize, &'l Frame)| {
            (frame.file.as_str(), frame.function.as_str(), if runs && at == 0 { 0 } else { frame.line })
        };
        let key = (words.clone(), child.is_some(), shown.iter().enumerate().map(place).collect());
        let at = *self.known.entry(key).or_insert_with(|| {
            let (slots, children) = (Vec::new(), Vec::new());
            self.entries.push(Entry { words, frames, lines: (line, line), waited, slots, children, pid });
            self.entries.len() - 1
        });
        let entry = &mut self.entries[at];
        entry.lines = (entry.lines.0.min(line), entry.lines.1.max(line));
        entry.waited = entry.waited.max(waited);
        entry.children.extend(child);
        if entry.slots.last() != Some(&slot) {
            entry.slots.push(slot);
        }
    }
}

fn tell(text: &mut String, look: &Look, entry: &Entry<'_>, whole: bool) {
    let names = LookNames(look);
    let who = format!("{}{}", ranks(&entry.slots, &names), names.hosts(&entry.slots));
    let (count, waited) = (entry.slots.len(), entry.waited.map(age));
    let words = match (&entry.children[..], waited) {
        ([], Some(waited)) if count == 1 => format!("{who} (pid {}, for {waited}): {}", entry.pid, entry.words),
        ([], Some(waited)) => format!("{who} (for {waited}): {}", entry.words),
        ([], None) if count == 1 => format!("{who} (pid {}): {}", entry.pid, entry.words),
        ([], None) => format!("{who}: {}", plural(&entry.words)),
        ([pid], _) => format!("process {pid} of {who}: {}", entry.words),
        (pids, _) => format!("{} processes of {who}: {}", pids.len(), of_number(&entry.words, pids.len())),
    };
    wrapped(text, "  ", &words);
    let own = own_frame(entry.frames);
    let Some(frame) = entry.frames.get(own) else { return };
    let lines = match entry.lines {
        (0, 0) => String::new(),
        (first, last) if first == last => format!(":{first}"),
        (first, last) => format!(":{first}-{last}"),
    };
    let _ = writeln!(text, "      at {}{lines}, in {}", frame.file, frame.function);
    if let Some(source) = source(frame).filter(|_| entry.lines.0 == entry.lines.1) {
        let _ = writeln!(text, "         {}", cut(&source, WIDTH - 9));
    }
    let place = |frame: &Frame| match frame.line {
        0 => format!("{}, in {}", frame.file, frame.function),
        line => format!("{}:{line}, in {}", frame.file, frame.function),
    };
    match entry.frames[..own].first() {
        Some(inner) if !whole => {
            let _ = writeln!(text, "      which is in {}", place(inner));
        }
        _ => {
            for inner in entry.frames[..own].iter().rev() {
                let _ = writeln!(text, "      which is in {}", place(inner));
            }
        }
    }
    let outer: Vec<&Frame> = entry.frames[own + 1..].iter().filter(|frame| whole || is_own(frame)).collect();
    let shown = if whole { outer.len() } else { outer.len().min(FRAMES) };
    for frame in &outer[..shown] {
        let _ = writeln!(text, "      called from {}", place(frame));
    }
    if shown < outer.len() {
        let _ = writeln!(text, "      and {} more (--verbose)", outer.len() - shown);
    }
}

pub(super) fn ended(end: End) -> String {
    match end {
        End::Status(status) => format!("has ended with status {status}"),
        End::Signal(signal) => format!("was killed by {}", signals::name(signal)),
    }
}

/// How far a rank has come, where that is worth a word.
fn stage(rank: &RankSeen, begun: bool) -> &'static str {
    match rank.stage {
        Stage::Before if begun => "; it has not called MPI_Init",
        Stage::Starting => "; it is in MPI_Init",
        Stage::Finalizing => "; it is in MPI_Finalize",
        Stage::Finalized => "; it has called MPI_Finalize",
        _ => "",
    }
}

fn unreadable(process: Option<&Process>) -> String {
    match process {
        Some(process) if !process.unreadable.is_empty() => format!("; {}", process.unreadable),
        _ => String::new(),
    }
}

/// A line of a source file, without its indentation, if it can be read.
pub(crate) fn source(frame: &Frame) -> Option<String> {
    let meta = fs::metadata(&frame.file).ok()?;
    if frame.line == 0 || !meta.is_file() || meta.len() > LONGEST_SOURCE {
        return None;
    }
    let text = fs::read_to_string(&frame.file).ok()?;
    let line = text.lines().nth(frame.line as usize - 1)?.trim();
    (!line.is_empty()).then(|| line.to_owned())
}

/// A time in milliseconds as a person would say it.
pub(crate) fn age(milliseconds: u64) -> String {
    let seconds = milliseconds / 1000;
    match (seconds / 86400, seconds / 3600 % 24, seconds / 60 % 60, seconds % 60) {
        (0, 0, 0, seconds) => format!("{seconds} s"),
        (0, 0, minutes, seconds) => format!("{minutes} min {seconds} s"),
        (0, hours, minutes, _) => format!("{hours} h {minutes} min"),
        (days, hours, ..) => format!("{days} d {hours} h"),
    }
}

/// The job in one line.
pub(crate) fn heading(about: &About) -> String {
    let ranks = if about.ranks == 1 { "rank" } else { "ranks" };
    format!(
        "job {} (pid {}): {}, {} {ranks}, for {}, {}",
        about.id,
        about.launcher,
        about.program,
        about.ranks,
        age(about.age),
        about.state()
    )
}
