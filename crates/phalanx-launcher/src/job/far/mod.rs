//! Ranks on other machines: what the job says to their agents, and hears from them.
//!
//! In such a job all ranks are started by agents, those of this machine, too. A report of an agent is handled as what the
//! loop would have seen here: output, requests, ends. What concerns processes is an order to every agent.

//!
//! | file | subject |
//! |---|---|
//! | `mod.rs` | what agents report, heartbeats, hosts that are lost |
//! | `start.rs` | starting ranks |
//! | `input.rs` | standard input |
//! | `look.rs` | what ranks are doing |

mod input;
mod look;
mod start;

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use phalanx_waits::tame;
use phalanx_wire::agent::{How, Order, PIECE, Report, WINDOW};
use rustix::event::epoll;
use rustix::process::{Pid, Signal};

use super::desk::Message;
use super::{Job, Rank, Source, data, watch};
use crate::error::LaunchError;
use crate::failure::{Cause, Lost};
use crate::hosts::channel::{Channel, Heard};
use crate::hosts::connect::Agents;
use crate::pmi::Action;
use crate::process::Ended;
use input::Input;

pub(super) use look::{Sights, stage_of};

/// How long agents may take to leave when all ranks have ended, before their remote shells are killed.
const LEAVE: Duration = Duration::from_secs(5);

/// What a job knows of other machines.
pub(super) struct Far {
    hosts: Vec<Host>,
    /// How many ranks of the first world each host has: so are later ones laid out.
    room: Vec<u32>,
    /// Indices of the ranks that run.
    running: BTreeSet<usize>,
    input: Option<Input>,
    /// Who has asked what ranks are doing, and waits.
    looks: look::Looks,
    /// When the remote shells of those are killed that have not left.
    leave_by: Option<Instant>,
}

/// One machine.
struct Host {
    name: String,
    /// Its agent, until that has left or is given up.
    channel: Option<Channel>,
    /// The remote shell, until it has been reaped.
    pid: Option<Pid>,
    /// Bytes of output that were taken, and the agent was not told.
    owed: u64,
    waits_for_room: bool,
}

impl Job {
    /// Takes over the agents that will start the ranks; with the attribute `MPI_UNIVERSE_SIZE` of all these machines.
    ///
    /// # Errors
    /// When they cannot be watched.
    pub(crate) fn take_over(&mut self, agents: Agents, universe_size: u32) -> Result<(), LaunchError> {
        self.service.set_universe_size(universe_size);
        let room = agents.layout.hosts.iter().map(|(_, count)| *count).collect();
        let mut hosts = Vec::new();
        for (number, (name, channel, _)) in agents.hosts.into_iter().enumerate() {
            let watching = |e| LaunchError::system(format!("watching host {name}"), e);
            watch(&self.epoll, &channel.output, Source::Agent(number)).map_err(watching)?;
            if let Some(errors) = &channel.errors {
                watch(&self.epoll, errors, Source::AgentErrors(number)).map_err(watching)?;
            }
            let pid = Some(channel.pid);
            hosts.push(Host { name, channel: Some(channel), pid, owed: 0, waits_for_room: false });
        }
        self.far = Some(Far {
            hosts,
            room,
            running: BTreeSet::new(),
            input: None,
            looks: look::Looks::default(),
            leave_by: None,
        });
        Ok(())
    }

    /// Whether some rank runs.
    pub(super) fn nobody_runs(&self) -> bool {
        self.by_pid.is_empty() && self.far.as_ref().is_none_or(|far| far.running.is_empty())
    }

    /// Indices of the ranks that run.
    pub(super) fn running(&self) -> Vec<usize> {
        let far = self.far.iter().flat_map(|far| far.running.iter());
        self.by_pid.values().chain(far).copied().collect()
    }

    /// Whether all agents have gone, if there were any.
    pub(super) fn agents_have_gone(&self) -> bool {
        let Some(far) = &self.far else { return true };
        far.hosts.iter().all(|host| host.channel.is_none() && host.pid.is_none())
    }

    /// The machine of a rank, in a job on several.
    pub(super) fn host_of(&self, rank: &Rank) -> Option<String> {
        self.far.as_ref().zip(rank.host).map(|(far, host)| far.hosts[host].name.clone())
    }

    /// The same as the end of its name.
    pub(super) fn on_host(&self, index: usize) -> String {
        self.host_of(&self.ranks[index]).map(|host| format!(" on {host}")).unwrap_or_default()
    }

    /// Tells all agents something.
    pub(super) fn tell_agents(&mut self, order: &Order) {
        for host in self.far.iter_mut().flat_map(|far| &mut far.hosts) {
            if let Some(channel) = &mut host.channel {
                channel.send(order);
            }
        }
    }

    fn tell(&mut self, host: usize, order: &Order) {
        if let Some(channel) = self.far.as_mut().and_then(|far| far.hosts[host].channel.as_mut()) {
            channel.send(order);
        }
    }

    /// Hears an agent.
    pub(super) fn hear_agent(&mut self, host: usize) {
        let Some(channel) = self.far.as_mut().and_then(|far| far.hosts[host].channel.as_mut()) else { return };
        match channel.hear(&mut self.scratch) {
            Heard::Reports(reports) => {
                let mut failed = Vec::new();
                for report in reports {
                    self.take_report(host, report, &mut failed);
                }
                self.far_ranks_failed(failed);
            }
            Heard::End(why) => self.lose(host, &why, Lost::Closed),
        }
    }

    /// Hears what the remote shell of a host says by the way.
    pub(super) fn hear_agent_errors(&mut self, host: usize) {
        let Some(far) = &mut self.far else { return };
        let Some(channel) = &mut far.hosts[host].channel else { return };
        channel.hear_errors(&mut self.scratch);
        let said = channel.take_said();
        if !said.is_empty() {
            let name = &far.hosts[host].name;
            let line = format!("phalanx: host {name}: {}", said.strip_prefix("phalanx agent: ").unwrap_or(&said));
            self.say(&line);
        }
    }

    fn take_report(&mut self, host: usize, report: Report, failed: &mut Vec<(Cause, usize)>) {
        // Of another host's ranks, an agent may say nothing.
        let rank_of = |job: &Self, id: u32| {
            let index = id as usize;
            job.ranks.get(index).is_some_and(|rank| rank.host == Some(host)).then_some(index)
        };
        match report {
            Report::Started { id, pid } => {
                if let Some(index) = rank_of(self, id) {
                    self.ranks[index].number = pid;
                    if self.manner.display_map {
                        self.say(&format!("phalanx: started {}", self.name_of(index)));
                    }
                }
            }
            Report::Failed { id, reason } => {
                if let Some(index) = rank_of(self, id) {
                    self.far_not_started(index, &reason);
                }
            }
            Report::Output { id, error, bytes } => {
                if let Some(index) = rank_of(self, id) {
                    self.far_output(index, usize::from(error), &bytes.0);
                }
                if let Some(far) = &mut self.far {
                    far.hosts[host].owed += bytes.0.len() as u64;
                }
            }
            Report::Read { id, count } => {
                let Some(far) = &mut self.far else { return };
                match &mut far.input {
                    Some(input) if input.id == id && count == u32::MAX => far.input = None,
                    Some(input) if input.id == id => input.credit = (input.credit + count as usize).min(PIECE),
                    _ => {}
                }
                self.feed_far();
            }
            Report::Gathered { world, ranks, pairs } => {
                if let Some(pairs) = self.service.gathered(world as usize, &ranks, pairs) {
                    self.tell_agents(&Order::Met { world, pairs });
                }
                self.look_for_missing();
            }
            Report::Asks { id, lines } => {
                if let Some(index) = rank_of(self, id) {
                    self.far_asks(host, index, &lines);
                }
            }
            Report::Aborts { id, code } => {
                if let Some(index) = rank_of(self, id) {
                    self.ranks[index].abort = Some(code);
                    self.ask_doings();
                    self.failed(index, Cause::Abort(code));
                }
            }
            Report::HungUp { id } => {
                if let Some(index) = rank_of(self, id) {
                    self.connections[self.ranks[index].connection].far = false;
                    self.look_for_missing();
                }
            }
            Report::Told(bytes) => {
                if let Some(Message::Raised(slot, exception)) = Message::read(&bytes.0)
                    && let Some(index) = self.ranks.iter().position(|rank| rank.slot == slot && rank.host == Some(host))
                {
                    if !exception.is_echo {
                        self.ask_doings();
                    }
                    self.raised(index, exception);
                }
            }
            Report::Ended { id, how, stage } => {
                if let Some(index) = rank_of(self, id).filter(|index| self.ranks[*index].ended.is_none()) {
                    let ended = match how {
                        How::Exit(status) => Ended::Exit(status),
                        How::Signal(signal) => Ended::Signal(signal),
                    };
                    self.connections[self.ranks[index].connection].client.stage = stage.into();
                    self.far_ended(index, ended);
                    let cause = self.judge(index, ended);
                    if cause.is_some() {
                        self.ask_doings();
                    }
                    failed.extend(cause.map(|cause| (cause, index)));
                }
            }
            Report::Seen { number, ranks, last } => self.seen_there(host, number, ranks, last),
            Report::Says(words) => self.say(&format!("phalanx: {}", tame(words))),
            Report::Bye => self.has_left(host),
            Report::Found(_) | Report::Beat => {}
        }
    }

    fn far_ended(&mut self, index: usize, ended: Ended) {
        self.ranks[index].ended = Some(ended);
        if let Some(far) = &mut self.far {
            far.running.remove(&index);
        }
    }

    /// Ranks have ended, and some of them have failed: as where the launcher sees it itself.
    fn far_ranks_failed(&mut self, mut failed: Vec<(Cause, usize)>) {
        failed.sort_by_key(|(cause, index)| (cause.precedence(), *index));
        for (cause, index) in failed {
            self.failed(index, cause);
        }
        self.look_for_missing();
        self.leave_if_over();
    }

    /// When no rank runs any more, agents have nothing to do.
    fn leave_if_over(&mut self) {
        if self.nobody_runs() && self.far.as_ref().is_some_and(|far| far.leave_by.is_none()) {
            self.all_ended();
        }
    }

    /// No rank runs any more: agents end what is left, and leave.
    pub(super) fn dismiss_agents(&mut self) {
        self.tell_agents(&Order::End);
        if let Some(far) = &mut self.far {
            far.leave_by = Some(Instant::now() + LEAVE);
        }
    }

    fn far_not_started(&mut self, index: usize, reason: &str) {
        let name = self.name_of(index);
        if !self.course.is_ending() {
            self.say(&format!("phalanx: {name} could not be started: {}; the job ends", tame(reason.to_owned())));
        }
        self.ranks[index].discarded = true;
        self.far_ended(index, Ended::Exit(127));
        self.not_started();
        self.leave_if_over();
    }

    fn far_output(&mut self, index: usize, which: usize, bytes: &[u8]) {
        let (alone, sink) = (self.ranks.len() == 1, self.sink_of(which));
        let Some(stream) = &mut self.ranks[index].streams[which] else { return };
        stream.take(bytes, &mut self.sinks[sink], alone);
        self.after_output(index, which);
    }

    /// Answers what only the service of all ranks can.
    fn far_asks(&mut self, host: usize, index: usize, lines: &str) {
        let connection = self.ranks[index].connection;
        let id = u32::try_from(index).unwrap_or(u32::MAX);
        let actions = match self.service.receive(&mut self.connections[connection].client, lines.as_bytes()) {
            Ok(actions) => actions,
            Err(problem) => {
                let name = self.name_of(index);
                return self.say(&format!("phalanx: {name} sent {problem}"));
            }
        };
        for action in actions {
            let line = match action {
                Action::Reply(line) => line,
                Action::Spawn(commands) => {
                    let ending = self.course.is_ending();
                    let outcome = if ending { Err("the job is ending".to_owned()) } else { self.spawn(&commands) };
                    phalanx_pmi::spawn_result(outcome)
                }
                // Agents forward nothing that leads to these.
                Action::ReplyAll(..) | Action::Abort(_) | Action::Gathered(..) | Action::Forward(_) => continue,
            };
            self.tell(host, &Order::Answer { id, line });
        }
    }

    /// An agent has left, as it was told to.
    fn has_left(&mut self, host: usize) {
        self.close_streams_of(host);
        if let Some(far) = &mut self.far {
            // Closing the descriptors takes them out of epoll.
            far.hosts[host].channel = None;
        }
        self.sees_no_more(host);
    }

    fn close_streams_of(&mut self, host: usize) {
        for index in 0..self.ranks.len() {
            if self.ranks[index].host != Some(host) {
                continue;
            }
            for which in 0..2 {
                let sink = self.sink_of(which);
                if let Some(mut stream) = self.ranks[index].streams[which].take() {
                    stream.show(&mut self.sinks[sink]);
                }
            }
        }
    }

    /// A host is lost, with all ranks that run there.
    fn lose(&mut self, host: usize, why: &str, lost: Lost) {
        let Some(far) = &mut self.far else { return };
        let Some(channel) = far.hosts[host].channel.take() else { return };
        if far.hosts[host].pid.is_some() {
            channel.kill();
        }
        let name = far.hosts[host].name.clone();
        let leaving = far.leave_by.is_some();
        if far.input.as_ref().is_some_and(|input| input.host == host) {
            far.input = None;
        }
        let here = far.running.iter().copied().filter(|index| self.ranks[*index].host == Some(host));
        let ranks: Vec<usize> = here.collect();
        self.close_streams_of(host);
        match (ranks.is_empty(), leaving) {
            (false, _) => self.say(&format!("phalanx: host {name} is lost: {}", tame(why.to_owned()))),
            (true, _) => self.say(&format!(
                "phalanx: host {name} is lost after its ranks have ended ({}); what they have left there may still run",
                tame(why.to_owned())
            )),
        }
        self.sees_no_more(host);
        self.ask_doings();
        let mut failed = Vec::new();
        for index in ranks {
            self.connections[self.ranks[index].connection].far = false;
            self.far_ended(index, Ended::Signal(libc::SIGKILL));
            failed.push((Cause::Lost(lost), index));
        }
        self.far_ranks_failed(failed);
    }

    /// A child that ended was the remote shell of a host.
    pub(super) fn was_agent(&mut self, pid: Pid) -> bool {
        let Some(far) = &mut self.far else { return false };
        let Some(host) = far.hosts.iter_mut().find(|host| host.pid == Some(pid)) else { return false };
        // What it has written is still to be read; its end is heard there.
        host.pid = None;
        true
    }

    /// When something has to be done for agents.
    pub(super) fn far_at(&self) -> Option<Instant> {
        let far = self.far.as_ref()?;
        let beats = far.hosts.iter().filter_map(|host| host.channel.as_ref()).map(|channel| channel.pulse.due());
        let leave = far.leave_by.filter(|_| !self.agents_have_gone());
        beats.chain(far.looks.due()).chain(leave).min()
    }

    /// Says that we are here, and gives up hosts that are silent.
    pub(super) fn check_agents(&mut self) {
        let Some(far) = &mut self.far else { return };
        let now = Instant::now();
        let mut silent = Vec::new();
        for (number, host) in far.hosts.iter_mut().enumerate() {
            if let Some(channel) = &mut host.channel
                && channel.pulse.beat(now)
            {
                channel.send(&Order::Beat);
                if channel.pulse.is_lost() {
                    silent.push(number);
                }
            }
        }
        if far.leave_by.is_some_and(|at| at <= now) {
            far.leave_by = now.checked_add(LEAVE);
            for host in &far.hosts {
                if let Some(pid) = host.pid {
                    let _ = rustix::process::kill_process(pid, Signal::KILL);
                }
            }
        }
        self.answer_looks();
        for host in silent {
            // What it has said meanwhile may only not have been read.
            self.hear_agent(host);
            let is_lost = |far: &Far| far.hosts[host].channel.as_ref().is_some_and(|channel| channel.pulse.is_lost());
            if self.far.as_ref().is_some_and(is_lost) {
                let missed = phalanx_wire::pulse::MISSED;
                self.lose(host, &format!("{missed} heartbeats in a row have not come"), Lost::Silent);
            }
        }
    }

    /// Tells agents what was taken of their output, and watches channels that are full.
    pub(super) fn balance_agents(&mut self) {
        let full = self.sinks.iter().any(crate::output::Sink::is_full);
        let Some(far) = &mut self.far else { return };
        for (number, host) in far.hosts.iter_mut().enumerate() {
            let Some(channel) = &mut host.channel else { continue };
            if host.owed >= WINDOW / 4 && !full {
                channel.send(&Order::Taken(std::mem::take(&mut host.owed)));
            }
            let waits = channel.is_waiting();
            if waits != host.waits_for_room
                && let Some(input) = &channel.input
            {
                let done = match waits {
                    true => epoll::add(&self.epoll, input, data(Source::AgentRoom(number)), epoll::EventFlags::OUT),
                    false => epoll::delete(&self.epoll, input),
                };
                if done.is_ok() {
                    host.waits_for_room = waits;
                }
            }
        }
    }

    /// Writes to an agent that has room again.
    pub(super) fn flush_agent(&mut self, host: usize) {
        if let Some(channel) = self.far.as_mut().and_then(|far| far.hosts[host].channel.as_mut()) {
            channel.flush();
        }
    }
}
