//! What is said when a job ends badly: one block, on one screen, for 4 ranks as for 400.
//!
//! Who failed first, and how; who failed in the same way; what each of the others was doing at that moment. It is told once
//! all ranks have ended, or half a second after the failure, so that ranks that fail together are told together. A rank
//! that fails because another one has is no failure of its own: it was doing what it was doing when the first one failed.

use std::time::{Duration, Instant};

use phalanx_shm::{OomKills, SlotState};
use phalanx_waits::{Frame, Snapshot, tame, wrapped};

use super::Job;
use super::block::{Crew, Failure, Group, block, describe, groups, interrupted, write_headline, write_traceback};
use super::desk::Exception;
use super::waits::RankNames;
use crate::failure::Cause;
use crate::look::glimpse;
use crate::process;

/// From a failure to its report, at most.
const WITHIN: Duration = Duration::from_millis(500);
/// For so long, the stacks of ranks are looked at that wait for nobody.
const LOOKING: Duration = Duration::from_millis(200);
/// Exceptions that are told of a job that was ended for another reason.
const EXCEPTIONS: usize = 3;

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
pub(super) struct Scene {
    /// What blocked ranks said then.
    pub(super) snapshot: Snapshot,
    /// What the others were doing, as far as the snapshot does not know.
    pub(super) doing: Vec<(usize, Doing)>,
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
        write_headline(
            &mut text,
            &self.name_of(index),
            &format!("raised {}; a debugger looks at it (--pdb)", exception.class),
        );
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
        let universe = self.universe.universe();
        let snapshot = match self.manner.foreign {
            true => Snapshot::default(),
            false => Snapshot::take(universe).with_awake(universe),
        };
        let (mut doing, began) = (Vec::new(), Instant::now());
        for (other, rank) in self.ranks.iter().enumerate().filter(|(_, rank)| !rank.discarded) {
            if rank.ended.is_some() {
                doing.push((other, ("had ended".to_owned(), None)));
            } else if !snapshot.threads().iter().any(|thread| thread.slot == rank.slot) {
                let state = if self.manner.foreign { SlotState::Empty } else { self.universe.state(rank.slot) };
                // What those of other machines are doing is told by their agents.
                let Some(pid) = rank.pid else { continue };
                let pid = process::number(pid);
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
                let (echoes, raised): (Vec<_>, Vec<_>) =
                    raised.into_iter().partition(|(_, exception)| exception.is_echo);
                // One that tells of another rank's error may be all that there is to tell of a rank that ends later with it.
                if first.is_none() {
                    self.post.raised = echoes;
                }
                let (interrupts, others): (Vec<_>, Vec<_>) = raised
                    .into_iter()
                    .partition(|(_, exception)| self.course.is_interrupted() && exception.class == "KeyboardInterrupt");
                text += &interrupted(interrupts.iter(), &self.crew());
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
        let crew = self.crew();
        block(
            &Failure {
                index: first.index,
                name: &self.name_of(first.index),
                how: first.how,
                sender: (first.how == Some(Cause::Signal(libc::SIGKILL))).then(|| sender(first.starved)),
                last_words: self.last_words(first.index).as_deref(),
                raised,
                also,
                scene: &first.scene,
            },
            &crew,
        )
    }

    fn crew(&self) -> Crew<RankNames<'_>> {
        let slots = self.ranks.iter().map(|rank| (!rank.discarded).then_some(rank.slot)).collect();
        Crew { slots, names: RankNames(&self.ranks) }
    }

    fn write_exception(&self, text: &mut String, group: &Group<'_>, what: &str) {
        match group.indices[..] {
            [index] => write_headline(text, &self.name_of(index), what),
            _ => wrapped(text, "phalanx: ", &format!("{} {what}", self.crew().called(&group.indices))),
        }
        write_traceback(text, group.exception);
    }

    /// The last line that a rank wrote to stderr, in a job of several.
    fn last_words(&self, index: usize) -> Option<String> {
        let words = self.ranks[index].last_words.trim();
        // What the library said of it is no news.
        let is_own = !words.is_empty() && !words.starts_with("phalanx: ");
        (self.ranks.len() > 1 && is_own).then(|| tame(words.to_owned()))
    }
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
