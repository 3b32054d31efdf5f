//! What is said when a job ends badly: one block, on one screen, for 4 ranks as for 400.
//!
//! Who failed first, and how; who failed in the same way; what each of the others was doing at that moment. It is told once
//! all ranks have ended, or half a second after the failure, so that ranks that fail together are told together. A rank
//! that fails because another one has is no failure of its own: it was doing what it was doing when the first one failed.

use std::fmt::Write;
use std::time::{Duration, Instant};

use phalanx_shm::{OomKills, SlotState};
use phalanx_waits::{Frame, Names, Snapshot, summary, tame, wrapped};

use super::Job;
use super::desk::Exception;
use super::waits::RankNames;
use crate::failure::Cause;
use crate::look::{glimpse, of_number};

/// From a failure to its report, at most.
const WITHIN: Duration = Duration::from_millis(500);
/// For so long, the stacks of ranks are looked at that wait for nobody.
const LOOKING: Duration = Duration::from_millis(200);
/// Different waits that are told.
const WAITS: usize = 6;
/// Exceptions that are told, besides the first.
const EXCEPTIONS: usize = 3;
/// Lines of a traceback that are told.
const TRACEBACK: usize = 100;
/// Columns of a line.
const WIDTH: usize = 80;

/// What is known of the end of the job, and not told yet.
pub(super) struct PostMortem {
    first: Option<First>,
    is_told: bool,
    /// Exceptions that nobody caught, in the order in which they were told.
    raised: Vec<(usize, Exception)>,
    /// The moment at which a rank was seen to have failed, before it was told to those who wait for it.
    scene: Option<Scene>,
    /// Other ranks that failed by themselves.
    also: Vec<(usize, Cause)>,
    due: Option<Instant>,
    kills: OomKills,
}

/// The rank that failed first.
struct First {
    index: usize,
    /// How it ended; `None` while it only is known to have raised something.
    how: Option<Cause>,
    /// The kernel killed it for want of memory.
    starved: bool,
    scene: Scene,
}

/// What ranks were doing at one moment.
#[derive(Clone, Default)]
struct Scene {
    /// What blocked ranks said then.
    snapshot: Snapshot,
    /// What the others were doing, as far as the snapshot does not know.
    doing: Vec<(usize, Doing)>,
}

/// What a rank was doing, in words about one, and where in its program.
pub(super) type Doing = (String, Option<Frame>);

impl PostMortem {
    pub(super) fn new() -> Self {
        let kills = OomKills::watch();
        Self { first: None, is_told: false, raised: Vec::new(), scene: None, also: Vec::new(), due: None, kills }
    }

    /// When to tell at the latest.
    pub(super) fn due(&self) -> Option<Instant> {
        self.due
    }

    fn soon(&mut self) {
        let at = Instant::now().checked_add(WITHIN);
        self.due = self.due.into_iter().chain(at).min();
    }

    /// What a rank did that ended in this way, as the end of a sentence; asks the kernel about SIGKILL.
    fn starved(&mut self, cause: Cause) -> bool {
        cause == Cause::Signal(libc::SIGKILL) && self.kills.explain()
    }

    /// A rank failed after the job's end had begun. That is told if it cannot have been our doing.
    pub(super) fn also(&mut self, index: usize, cause: Cause) {
        let Some(first) = &self.first else { return };
        let crash = [libc::SIGSEGV, libc::SIGBUS, libc::SIGFPE, libc::SIGILL, libc::SIGABRT];
        let crashed = matches!(cause, Cause::Signal(signal) if crash.contains(&signal));
        let alike = matches!(cause, Cause::Exit(_) | Cause::Lost(_)) && first.how == Some(cause);
        if (crashed || alike) && first.index != index {
            self.also.push((index, cause));
        }
    }
}

/// What a rank did, as the end of a sentence that begins with its name.
fn describe(cause: Cause) -> String {
    match cause {
        Cause::Signal(libc::SIGKILL) => "was killed by SIGKILL".to_owned(),
        _ => cause.describe(),
    }
}

/// Where a SIGKILL came from.
fn sender(starved: bool) -> &'static str {
    match starved {
        true => "out of memory: the kernel has counted a kill for that",
        false => "somebody sent it: the kernel has counted no kill for want of memory",
    }
}

impl Job {
    /// What a rank that goes by itself did; asks the kernel about SIGKILL.
    pub(super) fn describe_end(&mut self, cause: Cause) -> String {
        match cause {
            Cause::Signal(libc::SIGKILL) => format!("{} ({})", describe(cause), sender(self.post.starved(cause))),
            _ => describe(cause),
        }
    }

    /// A rank told of an exception that nobody caught.
    pub(super) fn raised(&mut self, index: usize, exception: Exception) {
        if self.ranks[index].discarded {
            return;
        }
        // What it has written before comes before it.
        self.drain(index);
        if !exception.is_echo && !self.course.is_ending() && self.post.first.is_none() {
            self.post.first = Some(First { index, how: None, starved: false, scene: self.look_around() });
        }
        self.post.raised.push((index, exception));
        // With a debugger, the end of the job is far.
        if !self.manner.pdb {
            self.post.soon();
        }
    }

    /// Says what a rank has raised that a debugger looks at now; at the end it is not said again.
    pub(super) fn tell_raised(&mut self, index: usize) {
        let Some(at) = self.post.raised.iter().position(|(other, _)| *other == index) else { return };
        let mut text = String::new();
        let exception = self.post.raised[at].1.clone();
        self.headline(&mut text, index, &format!("raised {}; a debugger looks at it (--pdb)", exception.class));
        write_traceback(&mut text, &exception);
        self.post.raised[at].1.is_shown = true;
        self.say(text.trim_end());
    }

    /// A rank's end is to be the end of the job.
    pub(super) fn failed_first(&mut self, index: usize, cause: Cause) {
        let starved = self.post.starved(cause);
        match &mut self.post.first {
            Some(first) if first.index == index => (first.how, first.starved) = (Some(cause), starved),
            Some(_) => self.post.also.push((index, cause)),
            None => {
                let scene = self.post.scene.take().unwrap_or_else(|| self.look_around());
                self.post.first = Some(First { index, how: Some(cause), starved, scene });
            }
        }
        self.post.soon();
    }

    /// A rank is seen to have failed: those who wait for it are told soon.
    pub(super) fn keep_scene(&mut self) {
        if self.post.first.is_none() && self.post.scene.is_none() && !self.course.is_ending() {
            self.post.scene = Some(self.look_around());
        }
    }

    /// It did not end the job.
    pub(super) fn forget_scene(&mut self) {
        self.post.scene = None;
    }

    /// Whether no failure is known yet.
    pub(super) fn is_first_failure(&self) -> bool {
        self.post.first.is_none()
    }

    /// What a rank on another machine was doing when the first one failed.
    pub(super) fn seen_at_failure(&mut self, index: usize, doing: Doing) {
        if let Some(first) = &mut self.post.first
            && first.scene.doing.iter().all(|(other, _)| *other != index)
        {
            first.scene.doing.push((index, doing));
        }
    }

    /// What all are doing now.
    fn look_around(&self) -> Scene {
        let snapshot = if self.manner.foreign { Snapshot::default() } else { Snapshot::take(self.universe.universe()) };
        let (mut doing, began) = (Vec::new(), Instant::now());
        for (other, rank) in self.ranks.iter().enumerate().filter(|(_, rank)| !rank.discarded) {
            if rank.ended.is_some() {
                doing.push((other, ("had ended".to_owned(), None)));
            } else if !snapshot.threads().iter().any(|thread| thread.slot == rank.slot) {
                let state = if self.manner.foreign { SlotState::Empty } else { self.universe.state(rank.slot) };
                // What those of other machines are doing is told by their agents.
                let Some(pid) = rank.pid else { continue };
                let pid = pid.as_raw_nonzero().get().unsigned_abs();
                doing.push((other, activity(pid, state, began.elapsed() < LOOKING)));
            }
        }
        Scene { snapshot, doing }
    }

    /// Says what is known of the job's end and has not been said.
    pub(super) fn tell_end(&mut self) {
        self.post.due = None;
        let raised = std::mem::take(&mut self.post.raised);
        let mut text = String::new();
        match self.post.first.take() {
            Some(first) if !self.post.is_told => {
                self.post.is_told = true;
                let also = std::mem::take(&mut self.post.also);
                text = self.block(&first, &raised, &also);
                self.post.first = Some(first);
            }
            first => {
                let (interrupts, others): (Vec<_>, Vec<_>) = raised
                    .into_iter()
                    .filter(|(_, exception)| !exception.is_echo)
                    .partition(|(_, exception)| self.course.is_interrupted() && exception.class == "KeyboardInterrupt");
                if !interrupts.is_empty() {
                    text.push_str("phalanx: interrupted (KeyboardInterrupt); where the ranks were:\n");
                    for group in &groups(interrupts.iter()) {
                        wrapped(&mut text, "  ", &format!("{}:", self.called(&group.indices)));
                        write_place(&mut text, group.exception);
                    }
                }
                for (at, group) in groups(others.iter()).iter().enumerate() {
                    let late = first.as_ref().is_some_and(|first| first.index != group.indices[0]);
                    let when = if late || self.course.is_ending() { " while the job was ended" } else { "" };
                    self.write_exception(&mut text, group, &format!("raised {}{when}", group.exception.class));
                    if at + 1 == EXCEPTIONS {
                        break;
                    }
                }
                self.post.first = first;
            }
        }
        if !text.is_empty() {
            self.say(text.trim_end());
        }
    }

    /// The block of a job that has failed.
    fn block(&self, first: &First, raised: &[(usize, Exception)], also: &[(usize, Cause)]) -> String {
        let mut text = String::new();
        let own = raised.iter().find(|(index, _)| *index == first.index).map(|(_, exception)| exception);
        let others = || raised.iter().filter(|(index, exception)| *index != first.index && !exception.is_echo);
        let mut spoken: Vec<usize> = vec![first.index];
        match own {
            Some(own) => {
                self.headline(&mut text, first.index, &format!("raised {}; the job ended with it", own.class));
                write_traceback(&mut text, own);
                let alike = |other: &Exception| (&other.class, &other.place) == (&own.class, &own.place);
                let (same, otherwise): (Vec<_>, Vec<_>) =
                    others().filter(|(_, other)| alike(other)).partition(|(_, other)| other.text == own.text);
                for (list, how) in [(same, "the same"), (otherwise, "the same there, in other words")] {
                    let indices: Vec<usize> = list.iter().map(|(index, _)| *index).collect();
                    if let Some((_, example)) = list.first() {
                        let words =
                            if example.text == own.text { String::new() } else { format!(": {}", example.text) };
                        wrapped(&mut text, "phalanx: ", &format!("{} raised {how}{words}", self.called(&indices)));
                    }
                    spoken.extend(indices);
                }
                self.write_others(&mut text, others().filter(|(_, other)| !alike(other)), &mut spoken);
            }
            None => {
                let how = first.how.map_or_else(|| "failed".to_owned(), describe);
                self.headline(&mut text, first.index, &format!("{how}; the job ended with it"));
                if first.how == Some(Cause::Signal(libc::SIGKILL)) {
                    wrapped(&mut text, "    ", sender(first.starved));
                }
                if let Some(words) = self.last_words(first.index) {
                    wrapped(&mut text, "    ", &format!("its last words on stderr: {words}"));
                }
                self.write_others(&mut text, others(), &mut spoken);
            }
        }
        let mut causes: Vec<(Cause, Vec<usize>)> = Vec::new();
        for (index, cause) in also.iter().filter(|(index, _)| !spoken.contains(index)) {
            match causes.iter_mut().find(|(other, _)| other == cause) {
                Some((_, indices)) => indices.push(*index),
                None => causes.push((*cause, vec![*index])),
            }
        }
        for (cause, indices) in &causes {
            // It stands behind one name or several.
            let what = describe(*cause);
            let what = what.strip_prefix("was killed").map(|rest| format!("killed{rest}")).unwrap_or(what);
            let what = match what.strip_prefix("was lost with its") {
                Some(rest) if indices.len() > 1 => format!("were lost with their{rest}"),
                _ => what,
            };
            wrapped(&mut text, "phalanx: ", &format!("{} {what}, too", self.called(indices)));
            spoken.extend(indices);
        }
        self.write_doings(&mut text, first, &spoken);
        text
    }

    fn headline(&self, text: &mut String, index: usize, what: &str) {
        let name = self.name_of(index);
        // A long name must not tear what follows.
        let gap = if "phalanx:  ".len() + name.chars().count() + what.chars().count() > WIDTH { "\n    " } else { " " };
        let _ = writeln!(text, "phalanx: {name}{gap}{what}");
    }

    /// Exceptions besides the first.
    fn write_others<'e>(
        &self,
        text: &mut String,
        others: impl Iterator<Item = &'e (usize, Exception)>,
        spoken: &mut Vec<usize>,
    ) {
        let groups = groups(others);
        for group in groups.iter().take(EXCEPTIONS) {
            let said = group.exception.said();
            wrapped(text, "phalanx: ", &format!("{} raised {said}", self.called(&group.indices)));
            write_place(text, group.exception);
        }
        let rest: Vec<usize> = groups.iter().skip(EXCEPTIONS).flat_map(|group| group.indices.iter().copied()).collect();
        if !rest.is_empty() {
            wrapped(text, "phalanx: ", &format!("{} raised other exceptions", self.called(&rest)));
        }
        spoken.extend(groups.iter().flat_map(|group| group.indices.iter().copied()));
    }

    fn write_exception(&self, text: &mut String, group: &Group<'_>, what: &str) {
        match group.indices[..] {
            [index] => self.headline(text, index, what),
            _ => wrapped(text, "phalanx: ", &format!("{} {what}", self.called(&group.indices))),
        }
        write_traceback(text, group.exception);
    }

    /// What those were doing that did not fail.
    fn write_doings(&self, text: &mut String, first: &First, spoken: &[usize]) {
        let others: Vec<usize> =
            (0..self.ranks.len()).filter(|index| !spoken.contains(index) && !self.ranks[*index].discarded).collect();
        let slots: Vec<u32> = others.iter().map(|index| self.ranks[*index].slot).collect();
        let mut doings = summary(&first.scene.snapshot, |slot| slots.contains(&slot), WAITS, &RankNames(&self.ranks));
        let mut kinds: Vec<(&Doing, Vec<usize>)> = Vec::new();
        for (index, what) in first.scene.doing.iter().filter(|(index, _)| others.contains(index)) {
            match kinds.iter_mut().find(|(kind, _)| *kind == what) {
                Some((_, indices)) => indices.push(*index),
                None => kinds.push((what, vec![*index])),
            }
        }
        kinds.sort_by_key(|(_, indices)| std::cmp::Reverse(indices.len()));
        let rest = kinds.split_off(kinds.len().min(WAITS));
        for ((what, place), indices) in &kinds {
            let what = of_number(what, indices.len());
            wrapped(&mut doings, "  ", &format!("{}: {what}", self.called(indices)));
            if let Some(frame) = place {
                let source = RankNames(&self.ranks).source(frame).unwrap_or_default();
                write_frame(&mut doings, frame, &source);
            }
        }
        let mut rest: Vec<usize> = rest.into_iter().flat_map(|(_, indices)| indices).collect();
        rest.sort_unstable();
        if !rest.is_empty() {
            wrapped(&mut doings, "  ", &format!("{}: something else each", self.called(&rest)));
        }
        if !doings.is_empty() {
            text.push_str("phalanx: what the others were doing then:\n");
            text.push_str(&doings);
        }
    }

    /// "rank 3", "ranks 0-3, 7".
    fn called(&self, indices: &[usize]) -> String {
        let slots: Vec<u32> = indices.iter().map(|index| self.ranks[*index].slot).collect();
        phalanx_waits::ranks(&slots, &RankNames(&self.ranks))
    }

    /// The last line that a rank wrote to stderr, in a job of several.
    fn last_words(&self, index: usize) -> Option<String> {
        let words = self.ranks[index].last_words.trim();
        // What the library said of it is no news.
        let is_own = !words.is_empty() && !words.starts_with("phalanx: ");
        (self.ranks.len() > 1 && is_own).then(|| tame(words.to_owned()))
    }
}

impl Exception {
    /// Its last line, as Python shows it.
    pub(super) fn said(&self) -> String {
        let text = tame(self.text.lines().next().unwrap_or_default().to_owned());
        if text.is_empty() { self.class.clone() } else { format!("{}: {text}", self.class) }
    }
}

/// Ranks that raised the same in the same place.
struct Group<'e> {
    exception: &'e Exception,
    indices: Vec<usize>,
}

fn groups<'e>(raised: impl Iterator<Item = &'e (usize, Exception)>) -> Vec<Group<'e>> {
    let mut groups: Vec<Group<'e>> = Vec::new();
    for (index, exception) in raised {
        let alike = |group: &&mut Group<'_>| {
            (&group.exception.class, &group.exception.place) == (&exception.class, &exception.place)
        };
        match groups.iter_mut().find(alike) {
            Some(group) => group.indices.push(*index),
            None => groups.push(Group { exception, indices: vec![*index] }),
        }
    }
    groups
}

pub(super) fn write_traceback(text: &mut String, exception: &Exception) {
    if exception.is_shown {
        wrapped(text, "    ", &exception.said());
        return write_place(text, exception);
    }
    let lines: Vec<&str> = exception.traceback.trim_end().lines().collect();
    let left_out = lines.len().saturating_sub(TRACEBACK);
    for (at, line) in lines.iter().enumerate() {
        let (before, behind) = (TRACEBACK / 4, TRACEBACK / 4 + left_out);
        if left_out > 0 && at == before {
            let _ = writeln!(text, "  [{left_out} lines are left out here]");
        }
        if left_out == 0 || at < before || at >= behind {
            let _ = writeln!(text, "{line}");
        }
    }
}

pub(super) fn write_place(text: &mut String, exception: &Exception) {
    write_frame(text, &exception.place, &exception.source);
}

fn write_frame(text: &mut String, frame: &Frame, source: &str) {
    let mut place = String::new();
    if !frame.file.is_empty() {
        let _ = writeln!(place, "      at {}:{}, in {}", frame.file, frame.line, frame.function);
    }
    let source: String = source.trim().chars().take(WIDTH - 9).collect();
    if !source.is_empty() {
        let _ = writeln!(place, "         {source}");
    }
    text.push_str(&tame(place));
}

/// What a process is doing that is not known to wait for other ranks. `closely`: in which line, too.
fn activity(pid: u32, state: SlotState, closely: bool) -> Doing {
    let stage = match state {
        SlotState::Starting => "in MPI_Init",
        SlotState::Finalizing => "in MPI_Finalize",
        SlotState::Finalized => "had called MPI_Finalize",
        SlotState::Empty | SlotState::Running => "",
    };
    if !stage.is_empty() {
        return (stage.to_owned(), None);
    }
    match closely.then(|| glimpse(pid)).flatten() {
        Some((words, place)) => (words, place),
        None if closely => ("has ended".to_owned(), None),
        None => ("waits for no other rank, or not for long".to_owned(), None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exception(class: &str, line: u32, text: &str) -> Exception {
        Exception {
            is_echo: false,
            is_shown: false,
            class: class.into(),
            text: text.into(),
            place: Frame { file: "a.py".into(), line, function: "f".into() },
            source: "raise".into(),
            traceback: "Traceback\n".repeat(300),
        }
    }

    #[test]
    fn exceptions_of_one_place_are_one_group() {
        let raised = [
            (0, exception("ValueError", 3, "a")),
            (1, exception("ValueError", 4, "a")),
            (2, exception("ValueError", 3, "b")),
            (3, exception("KeyError", 3, "a")),
        ];
        let groups: Vec<Vec<usize>> = groups(raised.iter()).into_iter().map(|group| group.indices).collect();
        assert_eq!(groups, [vec![0, 2], vec![1], vec![3]]);
    }

    #[test]
    fn a_long_traceback_loses_its_middle_and_says_so() {
        let mut text = String::new();
        write_traceback(&mut text, &exception("ValueError", 3, "a"));
        assert_eq!(text.lines().count(), TRACEBACK + 1);
        assert!(text.contains("[200 lines are left out here]"));
    }

    #[test]
    fn a_shown_exception_is_not_shown_again() {
        let mut text = String::new();
        write_traceback(&mut text, &Exception { is_shown: true, ..exception("ValueError", 3, "x\x1b[2J") });
        assert_eq!(text, "    ValueError: x?[2J\n      at a.py:3, in f\n         raise\n");
    }

    #[test]
    fn the_activity_of_a_process_is_seen() {
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let pid = child.id();
        let until = Instant::now() + Duration::from_secs(10);
        let asleep = ("sleeps for a time".to_owned(), None);
        while activity(pid, SlotState::Empty, true) != asleep && Instant::now() < until {}
        assert_eq!(activity(pid, SlotState::Empty, true), asleep);
        assert_eq!(activity(pid, SlotState::Starting, true).0, "in MPI_Init");
        assert_eq!(activity(pid, SlotState::Running, false).0, "waits for no other rank, or not for long");
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(activity(u32::MAX, SlotState::Running, true).0, "has ended");
    }
}
