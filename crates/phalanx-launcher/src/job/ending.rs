//! When and how a job ends: failures, limits, signals to the launcher, and what ranks leave behind.
//!
//! Ending a job has two steps: ranks are asked (SIGTERM), and after a short grace they and all their descendants are
//! killed. The first thing that went wrong decides the exit status; what follows from it is not reported.

use std::time::{Duration, Instant};

use phalanx_shm::SlotState;
use phalanx_wire::agent::Order;
use rustix::process::Signal;

use super::{Job, Rank};
use crate::failure::{self, Cause};
use crate::output::Sink;
use crate::pmi::Stage;
use crate::process::{self, Ended};
use crate::signals;

/// Between SIGTERM and SIGKILL when a rank failed: enough for an interpreter that is ending anyway.
const GRACE: Duration = Duration::from_secs(2);
/// For descendants that outlive their rank (helper processes that are about to end by themselves).
const LINGER: Duration = Duration::from_millis(500);
/// Between two rounds of killing: each round finds what the last one left to us.
const ROUND: Duration = Duration::from_millis(50);
/// After an interrupt, when the ranks have not ended by then, the user is told what else can be done.
const NOTE: Duration = Duration::from_secs(1);

/// How far the job's end has come.
pub(super) struct Course {
    /// When `--timeout` strikes.
    deadline: Option<Instant>,
    limit: Duration,
    /// The status of the first rank that failed.
    failure: Option<u8>,
    /// The status that something other than a rank decided: a limit, a signal, lost output.
    verdict: Option<u8>,
    /// How often SIGINT came.
    interrupts: u32,
    note_at: Option<Instant>,
    /// When to ask the ranks to end, if they do not before.
    ask_at: Option<Instant>,
    /// When to kill what is left.
    kill_at: Option<Instant>,
    /// The ranks were asked to end: what happens to them now is no news.
    ending: bool,
    /// All ranks ended, and some of their descendants have not.
    orphans: bool,
    linger_until: Option<Instant>,
    /// It is known that standard output takes nothing more.
    output_lost: bool,
}

impl Course {
    pub(super) fn new(now: Instant, timeout: Option<Duration>) -> Self {
        Self {
            deadline: timeout.and_then(|limit| now.checked_add(limit)),
            limit: timeout.unwrap_or_default(),
            failure: None,
            verdict: None,
            interrupts: 0,
            note_at: None,
            ask_at: None,
            kill_at: None,
            ending: false,
            orphans: false,
            linger_until: None,
            output_lost: false,
        }
    }

    /// Whether no descendant of a rank is known to live.
    pub(super) fn nobody_left(&self) -> bool {
        !self.orphans
    }

    /// Whether the job is being ended, so that nothing new may start.
    pub(super) fn is_ending(&self) -> bool {
        self.ending || self.interrupts > 0
    }

    /// Whether the user has interrupted the job.
    pub(super) fn is_interrupted(&self) -> bool {
        self.interrupts > 0
    }

    /// Ranks run (again).
    pub(super) fn ranks_started(&mut self) {
        self.linger_until = None;
        self.orphans = false;
    }
}

impl Job {
    /// Whether the end of a rank is a failure of the job.
    pub(super) fn judge(&self, index: usize, ended: Ended) -> Option<Cause> {
        let rank = &self.ranks[index];
        if rank.discarded {
            return None;
        }
        let abort = rank.abort.or_else(|| self.slot_abort(rank));
        failure::judge(ended, abort, self.is_unfinished(rank))
    }

    fn slot_abort(&self, rank: &Rank) -> Option<i32> {
        if self.manner.foreign { None } else { self.universe.abort_code(rank.slot) }
    }

    /// Whether a rank called `MPI_Init` and not `MPI_Finalize`. The slot knows it for the embedded engine; for any other
    /// library its PMI conversation does.
    fn is_unfinished(&self, rank: &Rank) -> bool {
        let state = if self.manner.foreign { SlotState::Empty } else { self.universe.state(rank.slot) };
        match state {
            SlotState::Starting | SlotState::Running | SlotState::Finalizing => true,
            SlotState::Finalized => false,
            SlotState::Empty => self.connections[rank.connection].client.stage == Stage::Initialised,
        }
    }

    /// How messages call a rank.
    pub(super) fn name_of(&self, index: usize) -> String {
        let rank = &self.ranks[index];
        let world = if rank.world == 0 { String::new() } else { format!(" of spawned world {}", rank.world) };
        let host = self.on_host(index);
        match rank.number {
            0 => format!("rank {}{world}{host} ({})", rank.rank, rank.program),
            number => format!("rank {}{world}{host} (pid {number}, {})", rank.rank, rank.program),
        }
    }

    /// A rank failed: says so and ends the job, unless it is ending already.
    pub(super) fn failed(&mut self, index: usize, cause: Cause) {
        if self.course.ending || self.course.verdict.is_some() {
            return self.post.also(index, cause);
        }
        // Ranks that wait for one that never starts MPI would wait for ever.
        if self.ranks[index].expendable && !matches!(cause, Cause::Abort(_) | Cause::Missed) {
            let how = self.describe_end(cause);
            return self.say(&format!("phalanx: {} {how}; the others go on", self.name_of(index)));
        }
        let first = self.course.failure.is_none();
        if first {
            self.course.failure = Some(cause.status());
        }
        if self.course.interrupts > 0 {
            // Ranks end because the user said so; those that take longer may be saving their work.
            if self.course.ask_at.is_none() {
                self.course.ask_at = Instant::now().checked_add(self.manner.grace);
            }
            return;
        }
        if self.manner.keep_going && !matches!(cause, Cause::Abort(_)) {
            let how = self.describe_end(cause);
            self.say(&format!("phalanx: {} {how}; the others go on (--keep-going)", self.name_of(index)));
            return;
        }
        self.failed_first(index, cause);
        self.end_job(GRACE);
    }

    /// A rank could not be started, which was said.
    pub(super) fn not_started(&mut self) {
        if !self.course.ending {
            self.course.verdict.get_or_insert(1);
            self.end_job(GRACE);
        }
    }

    /// Some ranks can never go on.
    pub(super) fn deadlocked(&mut self) {
        self.course.failure.get_or_insert(1);
        self.end_job(GRACE);
    }

    /// Names ranks of the first world by number, others by how many they are.
    pub(super) fn list(&self, indices: &[usize]) -> String {
        let mut numbers: Vec<u32> =
            indices.iter().filter(|i| self.ranks[**i].world == 0).map(|i| self.ranks[*i].rank).collect();
        numbers.sort_unstable();
        let spawned = indices.len() - numbers.len();
        let mut parts = Vec::new();
        if !numbers.is_empty() {
            parts.push(failure::ranks(&numbers));
        }
        if spawned > 0 {
            parts.push(format!("{spawned} spawned"));
        }
        parts.join(" and ")
    }

    /// Asks all ranks to end, and sets the time when they will be killed.
    pub(super) fn end_job(&mut self, grace: Duration) {
        self.course.ending = true;
        self.course.ask_at = None;
        self.end_turns();
        self.signal_ranks(Signal::TERM);
        // A stopped process would not see the first signal.
        self.signal_ranks(Signal::CONT);
        self.end_controllers(Signal::TERM);
        self.kill_within(grace);
    }

    fn kill_within(&mut self, grace: Duration) {
        let at = Instant::now().checked_add(grace);
        self.course.kill_at = self.course.kill_at.into_iter().chain(at).min();
    }

    /// Kills all ranks and everything that descends from them.
    pub(super) fn kill_everything(&mut self) {
        self.course.ending = true;
        self.course.ask_at = None;
        self.end_turns();
        self.signal_ranks(Signal::KILL);
        self.end_controllers(Signal::KILL);
        match self.far {
            // Our children are remote shells.
            Some(_) => self.tell_agents(&Order::Kill),
            None => process::kill_descendants(self.guard.pid),
        }
        self.course.kill_at = (!self.nobody_runs()).then(|| Instant::now() + ROUND);
    }

    /// SIGINT: the first goes to the ranks, so that `KeyboardInterrupt` works; the second kills.
    pub(super) fn interrupted(&mut self) {
        if !self.course.ending && self.interrupt_holder() {
            return;
        }
        self.course.interrupts += 1;
        if self.course.interrupts > 1 || self.course.ending {
            self.course.verdict.get_or_insert(130);
            self.stop_writing_if_done();
            self.kill_everything();
        } else {
            self.signal_ranks(Signal::INT);
            self.stop_writing_if_done();
            self.course.note_at = Some(Instant::now() + NOTE);
        }
    }

    /// SIGTERM, SIGHUP: passed on, and the job ends.
    pub(super) fn terminated(&mut self, signal: i32) {
        if self.course.verdict.is_some() {
            return self.kill_everything();
        }
        self.course.verdict = Some(Cause::Signal(signal).status());
        self.stop_writing_if_done();
        self.end_turns();
        self.say_termination(signal);
        if let Some(signal) = Signal::from_named_raw(signal) {
            self.signal_ranks(signal);
        }
        self.signal_ranks(Signal::CONT);
        self.end_controllers(Signal::TERM);
        self.course.ending = true;
        self.kill_within(self.manner.grace);
    }

    fn say_termination(&mut self, signal: i32) {
        let running = self.running();
        if running.is_empty() {
            return;
        }
        let (name, grace) = (signals::short_name(signal), failure::seconds(self.manner.grace));
        let sender = self.signals.sender();
        let running = self.list(&running);
        self.say(&format!("phalanx: {name} received{sender}; ending the job"));
        self.say(&format!("phalanx: {running} still running, killed in {grace} or by a second signal"));
        self.say_look();
    }

    /// When only a slow reader of our output is left to wait for, a signal ends that.
    fn stop_writing_if_done(&mut self) {
        if self.nobody_runs() {
            for sink in &mut self.sinks {
                sink.broken = true;
            }
        }
    }

    /// Nothing can be written to standard output any more. With its reader gone, the job ends without a word, as a
    /// single program would; anything else (a full disk) is said.
    pub(super) fn output_lost(&mut self) {
        if std::mem::replace(&mut self.course.output_lost, true) {
            return;
        }
        let problem = self.sinks[0].problem;
        if let Some(error) = problem {
            self.say(&format!("phalanx: standard output cannot be written: {error}; ending the job"));
        }
        if !self.course.ending {
            let lost = if problem.is_some() { 1 } else { Cause::Signal(libc::SIGPIPE).status() };
            self.course.verdict.get_or_insert(lost);
            self.end_job(GRACE);
        }
    }

    /// No rank runs any more: looks for what they left, and gives it a moment to end.
    pub(super) fn all_ended(&mut self) {
        let guard = self.guard.pid;
        self.course.kill_at = None;
        self.course.note_at = None;
        self.leftovers.remove();
        if self.far.is_some() {
            self.tell_end();
            return self.dismiss_agents();
        }
        self.course.orphans = process::own_children().iter().any(|pid| Some(*pid) != guard);
        if self.course.orphans && self.course.ending {
            process::kill_descendants(guard);
        }
        self.tell_end();
        if self.course.linger_until.is_none() {
            self.course.linger_until = Some(Instant::now() + LINGER);
        }
    }

    /// When something has to be done next, if nothing happens before.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        let course = &self.course;
        let deadline = course.deadline.filter(|_| !course.ending && !self.nobody_runs());
        [
            deadline,
            course.note_at,
            course.ask_at,
            course.kill_at,
            course.linger_until,
            self.input.flush_at(),
            self.input.look_at(),
            self.partial_at,
            self.watch_at(),
            self.post.due(),
            self.turns.at(),
            self.unobserved_at(),
            self.far_at(),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// Does what is due.
    pub(super) fn check_timers(&mut self) {
        let now = Instant::now();
        let due = |at: Option<Instant>| at.is_some_and(|at| at <= now);
        self.check_agents();
        if due(self.course.deadline) && !self.course.ending && !self.nobody_runs() {
            let running = self.running();
            let limit = failure::seconds(self.course.limit);
            self.say(&format!(
                "phalanx: timeout of {limit} reached; ending the job ({} still running)",
                self.list(&running)
            ));
            self.say_look();
            self.course.verdict.get_or_insert(124);
            self.end_job(self.manner.grace);
        }
        if due(self.watch_at()) {
            self.look_at_waits();
        }
        if due(self.unobserved_at()) {
            self.observe(false);
        }
        if due(self.post.due()) {
            self.tell_end();
        }
        if due(self.course.note_at) {
            self.course.note_at = None;
            if !self.nobody_runs() {
                let running = self.running();
                self.say(&format!(
                    "phalanx: interrupted; {} still running (interrupt again to kill)",
                    self.list(&running)
                ));
            }
        }
        if due(self.course.ask_at) {
            self.end_job(GRACE);
        }
        if due(self.course.kill_at) {
            self.kill_everything();
        }
        if due(self.course.linger_until) {
            self.course.linger_until = None;
            self.linger_over();
        }
        if due(self.input.look_at()) {
            self.watch_terminal();
        }
        if due(self.input.flush_at()) {
            self.input.flushed();
            let reader = self.input.reader();
            if let Some(stream) = self.ranks.get_mut(reader).and_then(|rank| rank.streams[0].as_mut()) {
                stream.show(&mut self.sinks[0]);
            }
        }
        if due(self.partial_at) {
            self.show_quiet_lines();
        }
    }

    /// What ranks left behind had its moment.
    fn linger_over(&mut self) {
        if !self.nobody_runs() {
            return;
        }
        if self.course.orphans {
            process::kill_descendants(self.guard.pid);
            self.course.linger_until = Some(Instant::now() + ROUND);
            return;
        }
        if self.sinks.iter().any(Sink::is_full) {
            // Output is still on its way to a slow reader: streams end when it has taken it.
            self.course.linger_until = Some(Instant::now() + LINGER);
            return;
        }
        // Somebody who is no descendant holds the other end; what is there is read, and no more is waited for.
        for index in 0..self.ranks.len() {
            self.drain(index);
            let last = self.sinks.len() - 1;
            for (which, stream) in self.ranks[index].streams.iter_mut().enumerate() {
                if let Some(mut stream) = stream.take() {
                    stream.show(&mut self.sinks[which.min(last)]);
                }
            }
        }
    }

    /// The exit status, told as well when asked to.
    pub(super) fn last_word(&mut self) -> u8 {
        let found = self.say_findings();
        self.write_trace();
        let course = &self.course;
        let interrupted = (course.interrupts > 0 && course.failure.is_some()).then_some(130);
        let status = course.verdict.or(interrupted).or(course.failure).or(found).unwrap_or(0);
        if self.manner.verbose {
            let time = failure::seconds(self.started.elapsed());
            self.say(&format!("phalanx: the job ended with status {status} after {time}"));
        }
        status
    }
}
