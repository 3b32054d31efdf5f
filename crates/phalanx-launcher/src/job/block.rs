//! The words of a [post-mortem](super::postmortem): one block that fits on one screen, whatever mix of ranks there is. Only a traceback
//! may be longer than that, and has the rest in a few lines behind it.

use std::fmt::Write;

use phalanx_waits::{Frame, Manner, Names, Told, brief, cut, fold, ranks, tame, waits, wrapped};

use super::desk::Exception;
use super::postmortem::Scene;
use crate::failure::Cause;
use crate::look::of_number;

/// Lines of a block.
const SCREEN: usize = 24;
/// Lines that are left for other ranks behind a long traceback.
const LEAST: usize = 8;
/// Of these, for what those were doing that did not fail, and for those that failed without an exception.
const DOINGS: usize = 4;
const CAUSES: usize = 2;
/// Lines of a traceback that are told.
const TRACEBACK: usize = 100;
/// Columns of a line.
pub(super) const WIDTH: usize = 80;
/// Characters of what a program said.
const WORDS: usize = 200;

const RAISED: Manner =
    Manner { indent: "phalanx: ", one: " raised another exception", more: " raised other exceptions" };
const FAILED: Manner = Manner { indent: "phalanx: ", one: " failed otherwise", more: " failed otherwise" };
const DOING: Manner = Manner { indent: "  ", one: ": something else", more: ": something else each" };
const STOPPED: Manner = Manner { indent: "  ", one: ": in another line", more: ": in other lines" };

/// How ranks are called.
pub(super) struct Crew<N> {
    /// Their slots; `None` for those of which nothing is told.
    pub(super) slots: Vec<Option<u32>>,
    pub(super) names: N,
}

impl<N: Names> Crew<N> {
    fn slots_of(&self, indices: &[usize]) -> Vec<u32> {
        indices.iter().filter_map(|index| *self.slots.get(*index)?).collect()
    }

    /// "rank 3", "ranks 0-3, 7".
    pub(super) fn called(&self, indices: &[usize]) -> String {
        ranks(&self.slots_of(indices), &self.names)
    }
}

/// A job's failure.
pub(super) struct Failure<'f> {
    /// The rank that failed first, and how it is called.
    pub(super) index: usize,
    pub(super) name: &'f str,
    /// How it ended; `None` while it only is known to have raised something.
    pub(super) how: Option<Cause>,
    /// Where the signal came from that killed it.
    pub(super) sender: Option<&'f str>,
    /// What it wrote last.
    pub(super) last_words: Option<&'f str>,
    /// Exceptions that nobody caught.
    pub(super) raised: &'f [(usize, Exception)],
    /// Other ranks that failed by themselves.
    pub(super) also: &'f [(usize, Cause)],
    /// What the others were doing.
    pub(super) scene: &'f Scene,
}

/// The block of a job that has failed.
pub(super) fn block<N: Names>(failure: &Failure<'_>, crew: &Crew<N>) -> String {
    let mut text = String::new();
    let first = failure.index;
    let own = failure.raised.iter().find(|(index, _)| *index == first).map(|(_, exception)| exception);
    let others = failure.raised.iter().filter(|(index, exception)| *index != first && !exception.is_echo);
    let mut spoken: Vec<usize> = vec![first];
    let mut rest: Vec<&(usize, Exception)> = others.collect();
    match own {
        Some(own) => {
            write_headline(&mut text, failure.name, &format!("raised {}; the job ended with it", own.class));
            write_traceback(&mut text, own);
            let is_alike = |(_, other): &&(usize, Exception)| (&other.class, &other.place) == (&own.class, &own.place);
            let (alike, different): (Vec<_>, Vec<_>) = rest.into_iter().partition(is_alike);
            rest = different;
            let (same, otherwise): (Vec<_>, Vec<_>) = alike.into_iter().partition(|(_, other)| other.text == own.text);
            for (list, how) in [(same, "the same"), (otherwise, "the same there, in other words: ")] {
                let indices: Vec<usize> = list.iter().map(|(index, _)| *index).collect();
                if let Some((_, example)) = list.first() {
                    let words = if example.text == own.text { String::new() } else { cut(&example.line(), WIDTH) };
                    wrapped(&mut text, "phalanx: ", &format!("{} raised {how}{words}", crew.called(&indices)));
                }
                spoken.extend(indices);
            }
        }
        None => {
            let how = failure.how.map_or_else(|| "failed".to_owned(), describe);
            write_headline(&mut text, failure.name, &format!("{how}; the job ended with it"));
            if let Some(sender) = failure.sender {
                wrapped(&mut text, "    ", sender);
            }
            if let Some(words) = failure.last_words {
                wrapped(&mut text, "    ", &format!("its last words on stderr: {}", cut(words, WORDS)));
            }
        }
    }
    let groups = groups(rest.into_iter());
    spoken.extend(groups.iter().flat_map(|group| group.indices.iter().copied()));
    let exceptions: Vec<Told> = groups.iter().map(|group| group.told(" raised ", crew)).collect();
    let causes = causes(failure.also, &mut spoken, crew);
    let doings = doings(failure.scene, &spoken, crew);

    // Each section leaves the next ones what they need.
    let end = SCREEN.max(text.lines().count() + LEAST);
    let left = |text: &str| end.saturating_sub(text.lines().count());
    let for_doings = if doings.is_empty() { 0 } else { DOINGS };
    let for_causes = if causes.is_empty() { 0 } else { CAUSES };
    let room = left(&text).saturating_sub(for_doings + for_causes);
    let room = if doings.is_empty() { room } else { room.min(left(&text) / 2) };
    text += &fold(&exceptions, room, RAISED, &crew.names);
    text += &fold(&causes, left(&text).saturating_sub(for_doings), FAILED, &crew.names);
    if !doings.is_empty() {
        text.push_str("phalanx: what the others were doing then:\n");
        text += &fold(&doings, left(&text), DOING, &crew.names);
    }
    text
}

/// Where ranks were that an interrupt has ended.
pub(super) fn interrupted<'e, N: Names>(
    raised: impl Iterator<Item = &'e (usize, Exception)>,
    crew: &Crew<N>,
) -> String {
    let groups: Vec<Told> =
        groups(raised).iter().map(|group| Told { said: ":".into(), ..group.told("", crew) }).collect();
    let mut text = String::new();
    if !groups.is_empty() {
        text.push_str("phalanx: interrupted (KeyboardInterrupt); where the ranks were:\n");
        text += &fold(&groups, SCREEN - 1, STOPPED, &crew.names);
    }
    text
}

/// Ranks that failed without an exception, those of one kind together.
fn causes<N: Names>(also: &[(usize, Cause)], spoken: &mut Vec<usize>, crew: &Crew<N>) -> Vec<Told> {
    let mut causes: Vec<(Cause, Vec<usize>)> = Vec::new();
    for (index, cause) in also.iter().filter(|(index, _)| !spoken.contains(index)) {
        match causes.iter_mut().find(|(other, _)| other == cause) {
            Some((_, indices)) => indices.push(*index),
            None => causes.push((*cause, vec![*index])),
        }
    }
    let told = |(cause, indices): (Cause, Vec<usize>)| {
        // It stands behind one name or several.
        let what = describe(cause);
        let what = what.strip_prefix("was killed").map(|rest| format!("killed{rest}")).unwrap_or(what);
        let what = match what.strip_prefix("was lost with its") {
            Some(rest) if indices.len() > 1 => format!("were lost with their{rest}"),
            _ => what,
        };
        spoken.extend(&indices);
        Told { slots: crew.slots_of(&indices), said: format!(" {what}, too"), ..Told::default() }
    };
    causes.into_iter().map(told).collect()
}

/// What those were doing that did not fail.
fn doings<N: Names>(scene: &Scene, spoken: &[usize], crew: &Crew<N>) -> Vec<Told> {
    let others: Vec<usize> = (0..crew.slots.len()).filter(|index| !spoken.contains(index)).collect();
    let slots = crew.slots_of(&others);
    let mut told = waits(&scene.snapshot, |slot| slots.contains(&slot), &crew.names);
    let mut kinds: Vec<(&super::postmortem::Doing, Vec<usize>)> = Vec::new();
    let is_told = |index: usize| others.contains(&index) && crew.slots[index].is_some();
    for (index, what) in scene.doing.iter().filter(|(index, _)| is_told(*index)) {
        match kinds.iter_mut().find(|(kind, _)| *kind == what) {
            Some((_, indices)) => indices.push(*index),
            None => kinds.push((what, vec![*index])),
        }
    }
    kinds.sort_by_key(|(_, indices)| std::cmp::Reverse(indices.len()));
    told.extend(kinds.into_iter().map(|((what, frame), indices)| {
        let mut place = String::new();
        if let Some(frame) = frame {
            write_frame(&mut place, frame, &crew.names.source(frame).unwrap_or_default());
        }
        Told {
            slots: crew.slots_of(&indices),
            said: tame(format!(": {}", of_number(what, indices.len()))),
            place,
            brief: frame.as_ref().map(brief).unwrap_or_default(),
        }
    }));
    told
}

/// What a rank did, as the end of a sentence that begins with its name.
pub(super) fn describe(cause: Cause) -> String {
    match cause {
        Cause::Signal(libc::SIGKILL) => "was killed by SIGKILL".to_owned(),
        _ => cause.describe(),
    }
}

pub(super) fn write_headline(text: &mut String, name: &str, what: &str) {
    // A long name must not tear what follows.
    let gap = if "phalanx:  ".len() + name.chars().count() + what.chars().count() > WIDTH { "\n    " } else { " " };
    let _ = writeln!(text, "phalanx: {name}{gap}{what}");
}

impl Exception {
    /// The first line of its words.
    fn line(&self) -> String {
        tame(self.text.lines().next().unwrap_or_default().to_owned())
    }

    /// Its last line, as Python shows it.
    pub(super) fn said(&self) -> String {
        let text = cut(&self.line(), WORDS);
        if text.is_empty() { self.class.clone() } else { format!("{}: {text}", self.class) }
    }
}

/// Ranks that raised the same in the same place.
pub(super) struct Group<'e> {
    pub(super) exception: &'e Exception,
    pub(super) indices: Vec<usize>,
}

impl Group<'_> {
    fn told<N: Names>(&self, what: &str, crew: &Crew<N>) -> Told {
        let mut place = String::new();
        write_place(&mut place, self.exception);
        let brief = match self.exception.place.file.is_empty() {
            true => String::new(),
            false => brief(&self.exception.place),
        };
        Told { slots: crew.slots_of(&self.indices), said: format!("{what}{}", self.exception.said()), place, brief }
    }
}

pub(super) fn groups<'e>(raised: impl Iterator<Item = &'e (usize, Exception)>) -> Vec<Group<'e>> {
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

#[cfg(test)]
mod tests {
    use phalanx_waits::Snapshot;

    use super::super::postmortem::Doing;
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

    struct Numbers;

    impl Names for Numbers {
        fn rank(&self, slot: u32) -> String {
            slot.to_string()
        }

        fn source(&self, frame: &Frame) -> Option<String> {
            Some(format!("line {}", frame.line))
        }
    }

    fn told(ranks: u32, raised: &[(usize, Exception)], also: &[(usize, Cause)], doing: Vec<(usize, Doing)>) -> String {
        let crew = Crew { slots: (0..ranks).map(Some).collect(), names: Numbers };
        let scene = Scene { snapshot: Snapshot::default(), doing };
        let failure = Failure {
            index: 1,
            name: "rank 1 (pid 4711, /home/you/a/long/way/to/the/script.py)",
            how: Some(Cause::Signal(libc::SIGKILL)),
            sender: Some("somebody sent it: the kernel has counted no kill for want of memory"),
            last_words: Some("words"),
            raised,
            also,
            scene: &scene,
        };
        block(&failure, &crew)
    }

    fn computes(line: u32) -> Doing {
        ("computes".into(), Some(Frame { file: "/home/you/script.py".into(), line, function: "f".into() }))
    }

    #[test]
    fn a_small_block_is_told_whole() {
        let raised = [(1, Exception { traceback: "Traceback\nE: x\n".into(), ..exception("E", 3, "x") })];
        let doing = vec![(0, computes(7)), (2, ("had ended".into(), None)), (3, computes(7))];
        assert_eq!(
            told(4, &raised, &[], doing),
            "phalanx: rank 1 (pid 4711, /home/you/a/long/way/to/the/script.py)\n    raised E; the job ended with \
             it\nTraceback\nE: x\nphalanx: what the others were doing then:\n  ranks 0, 3: compute\n      at \
             /home/you/script.py:7, in f\n         line 7\n  rank 2: had ended\n"
        );
    }

    #[test]
    fn a_block_fits_on_a_screen_whatever_mix_of_ranks_there_is() {
        let traceback = "Traceback\n  File\n    line\n      ^^^\n  File\n    line\nE: x\n";
        let causes = [Cause::Exit(3), Cause::Signal(libc::SIGSEGV), Cause::Signal(libc::SIGABRT), Cause::NotFinalized];
        for ranks in [2, 3, 8, 64, 400] {
            for raising in [0, 1, 2, 40] {
                for lines in [1, 2, 30, 400] {
                    for has_own in [true, false] {
                        let mut raised: Vec<(usize, Exception)> = Vec::new();
                        if has_own {
                            raised.push((1, Exception { traceback: traceback.into(), ..exception("E", 3, "x") }));
                        }
                        let (mut also, mut doing) = (Vec::new(), Vec::new());
                        for index in (0..ranks).filter(|index| *index != 1) {
                            let line = u32::try_from(index % lines).unwrap_or(0);
                            match index {
                                _ if index % 2 == 0 && index < raising => {
                                    let class = ["E", "Other"][index / 2 % 2];
                                    raised.push((index, exception(class, 3 + line, &"word ".repeat(index))));
                                }
                                _ if index % 5 == 0 => also.push((index, causes[index % causes.len()])),
                                _ => doing.push((index, computes(line))),
                            }
                        }
                        let text = told(u32::try_from(ranks).unwrap_or(0), &raised, &also, doing);
                        assert!(text.lines().count() <= SCREEN, "{text}");
                        assert!(text.lines().all(|line| line.chars().count() <= WIDTH), "{text}");
                    }
                }
            }
        }
    }

    #[test]
    fn behind_a_long_traceback_there_is_something_of_each_kind() {
        let raised = [(1, exception("E", 3, "x")), (2, exception("F", 3, "x")), (3, exception("F", 4, "x"))];
        let also = [(4, Cause::Exit(3)), (5, Cause::Exit(4)), (6, Cause::Exit(5))];
        let doing = (7..40).map(|index| (index, computes(index as u32))).collect();
        let text = told(40, &raised, &also, doing);
        assert!(text.lines().count() <= TRACEBACK + 3 + LEAST, "{text}");
        assert!(text.contains("phalanx: rank 3 raised F: x at a.py:4\n"), "{text}");
        assert!(text.contains("phalanx: ranks 5, 6 failed otherwise\n"), "{text}");
        assert!(text.contains("  ranks 9-39: something else each\n"), "{text}");
    }
}
