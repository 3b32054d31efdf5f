//! Ranks on other machines: what the job says to their agents, and hears from them.
//!
//! In such a job all ranks are started by agents, those of this machine, too. A report of an agent is handled as what the
//! loop would have seen here: output, requests, ends. What concerns processes is an order to every agent.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;
use std::time::{Duration, Instant};

use phalanx_waits::{Frame, tame};
use phalanx_wire::agent::{Bytes, How, Order, PIECE, Program, Report, Start, Variable, WINDOW};
use rustix::event::epoll;
use rustix::process::{Pid, Signal};

use super::desk::Message;
use super::trace::Traced;
use super::world::{FOREIGN, Plan};
use super::{Connection, Job, Rank, Source, data, watch};
use crate::cli::Reader;
use crate::error::LaunchError;
use crate::failure::{Cause, Lost};
use crate::hosts::channel::{Channel, Heard};
use crate::hosts::connect::Agents;
use crate::hosts::layout;
use crate::output::Stream;
use crate::pmi::{Action, Client, MAPPING};
use crate::process::{Ended, Stdin};

/// How long agents may take to leave when all ranks have ended, before their remote shells are killed.
const LEAVE: Duration = Duration::from_secs(5);
/// How long what ranks are doing is waited for.
const LOOK: Duration = Duration::from_millis(500);

/// What a job knows of other machines.
pub(super) struct Far {
    hosts: Vec<Host>,
    /// How many ranks of the first world each host has: so are later ones laid out.
    room: Vec<u32>,
    /// Indices of the ranks that run.
    running: BTreeSet<usize>,
    input: Option<Input>,
    /// Who asked what ranks are doing is answered at this time, if not all hosts have answered before.
    look: Option<UserLook>,
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

/// Our standard input, on its way to a rank on another machine.
struct Input {
    source: OwnedFd,
    host: usize,
    id: u32,
    /// So many bytes may be sent.
    credit: usize,
    watched: bool,
}

/// What ranks are doing, as the user has asked for it.
struct UserLook {
    due: Instant,
    awaited: usize,
    lines: Vec<(usize, String)>,
}

impl Job {
    /// Takes over the agents that will start the ranks.
    ///
    /// # Errors
    /// When they cannot be watched.
    pub(crate) fn take_over(&mut self, agents: Agents) -> Result<(), LaunchError> {
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
        self.far = Some(Far { hosts, room, running: BTreeSet::new(), input: None, look: None, leave_by: None });
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

    /// Starts a world on the machines of the job.
    pub(super) fn launch_far(&mut self, plan: &Plan, apps: &[u32]) -> Result<(), LaunchError> {
        let Some(far) = &self.far else { return Ok(()) };
        let size = u32::try_from(apps.len()).unwrap_or(u32::MAX);
        let counts = layout::fill(&far.room, size);
        let of = |(host, count): (usize, &u32)| std::iter::repeat_n(host, *count as usize);
        let places: Vec<usize> = counts.iter().enumerate().flat_map(of).collect();
        if let Some(host) = places.iter().find(|host| far.hosts[**host].channel.is_none()) {
            return Err(LaunchError::Hosts(format!("host {} is lost", far.hosts[*host].name)));
        }
        let mut preput = plan.preput.clone();
        preput.push((MAPPING.to_owned(), layout::mapping(&places)));
        let world = self.service.add_world(apps.to_vec(), &preput);
        let (space, values, universe) = self.service.world(world);
        self.course.ranks_started();
        let environment = self.far_environment();
        let mut starts: Vec<Start> = counts
            .iter()
            .map(|_| Start {
                world: u32::try_from(world).unwrap_or(u32::MAX),
                apps: apps.to_vec(),
                space: space.clone(),
                values: values.clone(),
                universe,
                environment: environment.clone(),
                programs: plan.programs.iter().map(program).collect(),
                ranks: Vec::new(),
                merge: self.manner.merge,
                here: 0,
                binding: self.manner.binding.name().to_owned(),
            })
            .collect();
        for (rank, (app, host)) in (0..size).zip(apps.iter().zip(&places)) {
            let near = (u32::try_from(starts[*host].ranks.len()).unwrap_or(u32::MAX), counts[*host]);
            let order = self.add_far_rank(plan, world, rank, size, *app, *host, near)?;
            starts[*host].ranks.push(order);
        }
        let running = self.far.iter().flat_map(|far| &far.running).filter_map(|index| self.ranks[*index].host);
        running.for_each(|host| starts[host].here += 1);
        // Those without ranks of this world hear of it as well: worlds are counted.
        for (host, start) in starts.into_iter().enumerate() {
            self.tell(host, &Order::Start(Box::new(start)));
        }
        self.feed_far();
        Ok(())
    }

    #[expect(clippy::too_many_arguments, reason = "each of them is said once, by the only caller")]
    fn add_far_rank(
        &mut self,
        plan: &Plan,
        world: usize,
        rank: u32,
        size: u32,
        app: u32,
        host: usize,
        near: (u32, u32),
    ) -> Result<phalanx_wire::agent::Rank, LaunchError> {
        let planned = &plan.programs[app as usize];
        let index = self.ranks.len();
        let id = u32::try_from(index).unwrap_or(u32::MAX);
        let environment = planned.env.iter().cloned().chain(self.about_rank(plan, rank, size, app, near));
        let reads = plan.reader == Reader::Rank(rank) && !plan.spawned && plan.stdin != Stdin::Null;
        let files = self.names_of_files(world, rank)?;
        let order = phalanx_wire::agent::Rank {
            id,
            rank,
            program: app,
            environment: environment.map(variable).collect(),
            reads,
            files: files.map(|(out, err)| (absolute(&out), absolute(&err))),
        };
        let connection = self.connections.len();
        self.connections.push(Connection {
            descriptor: None,
            far: true,
            client: Client::of(world, rank),
            rank: Some(index),
        });
        let traced = Traced::for_rank(&self.manner.traced, self.began.clock(), true)?;
        let place = (plan.place.first + rank, plan.expendable);
        let starting = Rank::starting((world, rank), planned.label(), place, connection, traced);
        self.ranks.push(Rank { host: Some(host), ..starting });
        if order.files.is_none() {
            for which in 0..if self.manner.merge { 1 } else { 2 } {
                let stream = Stream::new(None, index * 2 + which, self.tag_of(index), self.manner.timestamps);
                self.ranks[index].streams[which] = Some(stream);
            }
        }
        if let Some(far) = &mut self.far {
            far.running.insert(index);
        }
        if reads {
            self.read_input_for(plan.stdin, host, index)?;
        }
        Ok(order)
    }

    /// The environment of all ranks: ours, without what belongs to another job.
    fn far_environment(&self) -> Vec<Variable> {
        const OF_A_JOB: &[&str] = &["PMI_FD", "PHALANX_UNIVERSE", "PHALANX_DESK", "PHALANX_JOB", "PHALANX_TRACE_FD"];
        let is_ours = |(name, _): &(OsString, OsString)| !FOREIGN.iter().chain(OF_A_JOB).any(|other| name == other);
        std::env::vars_os().filter(is_ours).chain(self.manner.env.iter().cloned()).map(variable).collect()
    }

    /// A terminal is read by us, and goes through a pipe; anything else is read when the rank's machine takes more.
    fn read_input_for(&mut self, stdin: Stdin, host: usize, index: usize) -> Result<(), LaunchError> {
        let failed = |e| LaunchError::system("standard input", e);
        self.reader = Some(index);
        let source = match stdin {
            Stdin::Null => return Ok(()),
            Stdin::Inherit => rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdin(), 3).map_err(failed)?,
            Stdin::Pipe => {
                let flags = rustix::pipe::PipeFlags::CLOEXEC | rustix::pipe::PipeFlags::NONBLOCK;
                let (ours, theirs) = rustix::pipe::pipe_with(flags).map_err(failed)?;
                self.relay_terminal(theirs, index);
                ours
            }
        };
        let id = u32::try_from(index).unwrap_or(u32::MAX);
        if let Some(far) = &mut self.far {
            far.input = Some(Input { source, host, id, credit: PIECE, watched: false });
        }
        Ok(())
    }

    /// Passes standard input on, as far as the rank takes it.
    pub(super) fn feed_far(&mut self) {
        let Some(far) = &mut self.far else { return };
        let Some(input) = &mut far.input else { return };
        if input.credit > 0 && !input.watched {
            // A file is always readable, and cannot be watched.
            match watch(&self.epoll, &input.source, Source::FarInput) {
                Ok(()) => input.watched = true,
                Err(_) => self.read_far_input(),
            }
        } else if input.credit == 0 && input.watched {
            input.watched = epoll::delete(&self.epoll, &input.source).is_err();
        }
    }

    /// Reads standard input, which has something.
    pub(super) fn read_far_input(&mut self) {
        let Some(input) = self.far.as_mut().and_then(|far| far.input.as_mut()) else { return };
        let room = input.credit.min(PIECE).min(self.scratch.len());
        if room == 0 {
            return self.feed_far();
        }
        let (host, id) = (input.host, input.id);
        match rustix::io::read(&input.source, &mut self.scratch[..room]) {
            Err(rustix::io::Errno::INTR | rustix::io::Errno::AGAIN) => return,
            Ok(count) if count > 0 => {
                input.credit -= count;
                let bytes = Bytes(self.scratch[..count].to_vec());
                self.tell(host, &Order::Input { id, bytes });
            }
            // Its end.
            _ => {
                if let Some(far) = &mut self.far {
                    far.input = None;
                }
                return self.tell(host, &Order::Input { id, bytes: Bytes::default() });
            }
        }
        self.feed_far();
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
            Report::Seen(doings) => self.seen_there(host, doings),
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

    /// Asks agents what their ranks are doing, for what is said of a failure.
    fn ask_doings(&mut self) {
        if !self.course.is_ending() && self.is_first_failure() {
            self.tell_agents(&Order::Look);
        }
    }

    /// Says what ranks are doing, once their machines have told it.
    pub(super) fn look_for_user(&mut self) {
        let Some(far) = &mut self.far else { return };
        let awaited = far.hosts.iter().filter(|host| host.channel.is_some()).count();
        far.look = Some(UserLook { due: Instant::now() + LOOK, awaited, lines: Vec::new() });
        self.tell_agents(&Order::Look);
    }

    fn seen_there(&mut self, host: usize, doings: Vec<phalanx_wire::agent::Doing>) {
        let mut lines = Vec::new();
        for doing in doings {
            let index = doing.id as usize;
            if self.ranks.get(index).is_none_or(|rank| rank.host != Some(host)) {
                continue;
            }
            let words = tame(doing.words);
            let place =
                doing.place.map(|(file, line, function)| Frame { file: tame(file), line, function: tame(function) });
            let at = place.as_ref().map(|frame| format!(", at {}:{}", frame.file, frame.line)).unwrap_or_default();
            lines.push((index, format!("  {}: {words}{at}", self.name_of(index))));
            self.seen_at_failure(index, (words, place));
        }
        let Some(far) = &mut self.far else { return };
        if let Some(look) = &mut far.look {
            look.lines.extend(lines);
            look.awaited = look.awaited.saturating_sub(1);
            if look.awaited == 0 {
                self.say_what_was_seen();
            }
        }
    }

    fn say_what_was_seen(&mut self) {
        let Some(mut look) = self.far.as_mut().and_then(|far| far.look.take()) else { return };
        look.lines.sort();
        let lines: Vec<String> = look.lines.into_iter().map(|(_, line)| line).collect();
        let silent = if look.awaited > 0 { "\n  (not all hosts have answered)" } else { "" };
        self.say(&format!("phalanx: what the ranks are doing:\n{}{silent}", lines.join("\n")));
    }

    /// An agent has left, as it was told to.
    fn has_left(&mut self, host: usize) {
        self.close_streams_of(host);
        if let Some(far) = &mut self.far {
            // Closing the descriptors takes them out of epoll.
            far.hosts[host].channel = None;
        }
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
        beats.chain(far.look.as_ref().map(|look| look.due)).chain(leave).min()
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
        let look_is_due = far.look.as_ref().is_some_and(|look| look.due <= now);
        if far.leave_by.is_some_and(|at| at <= now) {
            far.leave_by = now.checked_add(LEAVE);
            for host in &far.hosts {
                if let Some(pid) = host.pid {
                    let _ = rustix::process::kill_process(pid, Signal::KILL);
                }
            }
        }
        if look_is_due {
            self.say_what_was_seen();
        }
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

fn variable((name, value): (OsString, OsString)) -> Variable {
    (Bytes(name.into_vec()), Bytes(value.into_vec()))
}

fn bytes(text: &OsStr) -> Bytes {
    Bytes(text.as_bytes().to_vec())
}

fn absolute(path: &Path) -> Bytes {
    bytes(std::path::absolute(path).unwrap_or_else(|_| path.to_owned()).as_os_str())
}

fn program(planned: &super::Planned) -> Program {
    let args = planned.program.before.iter().chain(&planned.args);
    Program {
        path: absolute(&planned.program.path),
        args: args.map(|arg| bytes(arg)).collect(),
        directory: planned.wdir.as_deref().map(absolute),
    }
}
