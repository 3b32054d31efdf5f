//! A running job: the ranks, their pipes and sockets, our own streams, signals and timers, in one event loop.
//!
//! The loop sleeps in `epoll_wait` and never anywhere else; everything it reads or writes is non-blocking. Its parts:
//! [`world`] starts ranks, [`ending`] decides when and how the job ends, [`serve`] answers PMI requests, [`input`]
//! relays a terminal, [`places`] knows the CPUs, [`partial`] shows prompts, [`waits`] finds deadlocks, [`desk`] hears what
//! ranks tell besides, [`terminal`] hands the terminal to one of them, [`postmortem`] says how it ended,
//! [`far`] has ranks on other machines, [`looked`] tells who asks, [`trace`] makes a timeline of what ranks have recorded.

mod block;
mod check;
mod desk;
mod ending;
mod far;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;
mod input;
mod looked;
mod partial;
mod places;
mod postmortem;
mod serve;
mod terminal;
pub(crate) mod trace;
mod waits;
mod world;

use std::collections::HashMap;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use phalanx_shm::SlotState;
use phalanx_wire::agent::Order;
use rustix::buffer::spare_capacity;
use rustix::event::Timespec;
use rustix::event::epoll;
use rustix::process::{Pid, Signal};

use crate::error::LaunchError;
use crate::failure::Cause;
use crate::jobs::Door;
use crate::leftovers::Leftovers;
use crate::output::{self, Read, Sink, Stream};
use crate::pmi::{Client, Service};
use crate::process::{self, Ended, Guard, Stdin};
use crate::signals::Signals;
use crate::universe::JobUniverse;

pub(crate) use desk::{DESK, Desk};
pub(crate) use places::{share, usable_cpus};
pub(crate) use world::{Place, Plan, Planned, path_of};

/// One rank and everything of it that the loop watches.
struct Rank {
    /// Index of its world; 0 is the first.
    world: usize,
    /// Its number there.
    rank: u32,
    /// What it runs, for messages.
    program: String,
    /// The machine that it runs on, in a job on several.
    host: Option<usize>,
    /// Its process; `None` on another machine, or not known to be ours.
    pid: Option<Pid>,
    /// The number of its process, on its machine; 0 until it is known.
    number: u32,
    /// Its slot in the segment.
    slot: u32,
    /// How it ended; `None` while it runs.
    ended: Option<Ended>,
    /// The code it gave to `MPI_Abort`.
    abort: Option<i32>,
    /// Its failure does not end the job.
    expendable: bool,
    /// Its world could not be started whole: how it ends means nothing.
    discarded: bool,
    /// Standard output and error, until they end.
    streams: [Option<Stream>; 2],
    /// The last line that it wrote to standard error.
    last_words: String,
    /// Index of its connection.
    connection: usize,
    traced: trace::Traced,
}

impl Rank {
    /// A rank that is being started, whose process is not known yet.
    fn starting(
        (world, rank): (usize, u32),
        program: String,
        (slot, expendable): (u32, bool),
        connection: usize,
        traced: trace::Traced,
    ) -> Self {
        Self {
            world,
            rank,
            program,
            host: None,
            pid: None,
            number: 0,
            slot,
            ended: None,
            abort: None,
            expendable,
            discarded: false,
            streams: [None, None],
            last_words: String::new(),
            connection,
            traced,
        }
    }
}

/// A PMI connection: of a rank, or of the process that this launcher serves.
struct Connection {
    descriptor: Option<OwnedFd>,
    /// An agent has the descriptor.
    far: bool,
    client: Client,
    /// Index of the rank at its other end; `None` for a process we did not start.
    rank: Option<usize>,
}

/// What the loop watches, as it is known to epoll.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Source {
    Signals,
    Sink(usize),
    Output(usize),
    Connection(usize),
    Terminal,
    Stdin,
    Desk,
    Door,
    Caller(usize),
    Speaker(usize),
    Agent(usize),
    AgentErrors(usize),
    AgentRoom(usize),
    FarInput,
}

impl Source {
    fn token(self) -> u64 {
        let (kind, index) = match self {
            Self::Signals => (0, 0),
            Self::Sink(which) => (1, which),
            Self::Output(id) => (2, id),
            Self::Connection(index) => (3, index),
            Self::Terminal => (4, 0),
            Self::Stdin => (5, 0),
            Self::Desk => (6, 0),
            Self::Door => (7, 0),
            Self::Caller(number) => (8, number),
            Self::Speaker(id) => (9, id),
            Self::Agent(host) => (10, host),
            Self::AgentErrors(host) => (11, host),
            Self::AgentRoom(host) => (12, host),
            Self::FarInput => (13, 0),
        };
        (kind << 56) | index as u64
    }

    fn from_token(token: u64) -> Option<Self> {
        let index = (token & ((1 << 56) - 1)) as usize;
        Some(match token >> 56 {
            0 => Self::Signals,
            1 => Self::Sink(index),
            2 => Self::Output(index),
            3 => Self::Connection(index),
            4 => Self::Terminal,
            5 => Self::Stdin,
            6 => Self::Desk,
            7 => Self::Door,
            8 => Self::Caller(index),
            9 => Self::Speaker(index),
            10 => Self::Agent(index),
            11 => Self::AgentErrors(index),
            12 => Self::AgentRoom(index),
            13 => Self::FarInput,
            _ => return None,
        })
    }
}

/// How a job is to be run, besides what it runs.
#[derive(Debug, Default, Clone)]
pub(crate) struct Manner {
    pub(crate) tag_output: bool,
    pub(crate) output_prefix: Option<std::path::PathBuf>,
    pub(crate) timeout: Option<Duration>,
    /// How long ranks may take to end when the user asks them to.
    pub(crate) grace: Duration,
    pub(crate) binding: crate::cli::Binding,
    pub(crate) report_bindings: bool,
    /// Say what each rank is when it starts.
    pub(crate) display_map: bool,
    pub(crate) timestamps: bool,
    /// Standard error of a rank goes where its standard output goes.
    pub(crate) merge: bool,
    pub(crate) verbose: bool,
    pub(crate) keep_going: bool,
    /// A debugger looks at the first exception that nobody caught.
    pub(crate) pdb: bool,
    pub(crate) on_deadlock: crate::cli::OnDeadlock,
    pub(crate) check: crate::cli::Check,
    /// What is recorded, or repeated.
    pub(crate) recording: crate::recording::Recording,
    /// What is to be made of what ranks record.
    pub(crate) traced: trace::Wanted,
    /// Ranks use another MPI library: their slots say nothing.
    pub(crate) foreign: bool,
    /// What marks the processes of the job, if something was told it already.
    pub(crate) mark: Option<String>,
    /// Environment of every rank, spawned ones too.
    pub(crate) env: Vec<(std::ffi::OsString, std::ffi::OsString)>,
}

/// A job from its first rank to its last.
pub(crate) struct Job {
    manner: Manner,
    universe: JobUniverse,
    mark: String,
    epoll: OwnedFd,
    signals: Signals,
    guard: Guard,
    /// For standard output and error; one for both when they lead to the same place.
    sinks: Vec<Sink>,
    ranks: Vec<Rank>,
    /// Ranks by process, while they run.
    by_pid: HashMap<Pid, usize>,
    connections: Vec<Connection>,
    /// Other machines, in a job on several.
    far: Option<far::Far>,
    service: Service,
    input: input::Input,
    desk: desk::Desk,
    turns: terminal::Turns,
    /// The rank that has our standard input, and what it is.
    reader: Option<usize>,
    stdin: Stdin,
    /// The job belongs to a process that we did not start, and so does its terminal.
    serves: bool,
    post: postmortem::PostMortem,
    /// When to look at lines that have no end yet.
    partial_at: Option<Instant>,
    course: ending::Course,
    watch: waits::Watch,
    looked: looked::Looked,
    leftovers: Leftovers,
    scratch: Vec<u8>,
    started: Instant,
    began: trace::Began,
}

impl Job {
    /// A job without ranks yet.
    ///
    /// # Errors
    /// When the system refuses descriptors or the guard process.
    pub(crate) fn new(manner: Manner, universe: JobUniverse, universe_size: u32) -> Result<Self, LaunchError> {
        let refused = |doing: &str| {
            let doing = doing.to_owned();
            move |error: io::Error| LaunchError::System { doing, source: error }
        };
        let started = Instant::now();
        let mark = manner.mark.clone().unwrap_or_else(new_mark);
        // Whoever wants to know what the job is doing asks there. It runs as well where nobody can.
        let door = Door::open();
        if let Err(error) = &door
            && manner.verbose
        {
            output::say(&format!("phalanx: 'phalanx ps' will not find this job: {error}"));
        }
        let door = door.ok();
        let guard = Guard::start(&mark, door.as_ref().map(|door| door.path.clone()))
            .map_err(refused("starting the guard process"))?;
        let signals = Signals::new().map_err(refused("watching for signals"))?;
        process::adopt_orphans().map_err(refused("adopting orphaned processes"))?;
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC).map_err(|e| LaunchError::system("epoll", e))?;
        let sinks = Sink::both().map_err(refused("opening standard output and error"))?;
        let desk = desk::Desk::new().map_err(refused("the sockets that ranks tell of exceptions by"))?;
        let mut job = Self {
            desk,
            turns: terminal::Turns::default(),
            reader: None,
            stdin: Stdin::Null,
            serves: false,
            post: postmortem::PostMortem::new(),
            course: ending::Course::new(started, manner.timeout),
            watch: waits::Watch::default(),
            looked: looked::Looked::new(door),
            service: Service::new(&mark, universe_size),
            manner,
            universe,
            mark,
            epoll,
            signals,
            guard,
            sinks,
            ranks: Vec::new(),
            by_pid: HashMap::new(),
            connections: Vec::new(),
            far: None,
            input: input::Input::default(),
            partial_at: None,
            leftovers: Leftovers::default(),
            scratch: vec![0; 64 * 1024],
            started,
            began: trace::Began::now(),
        };
        // Also where nobody is to look: ranks do not, either.
        job.universe.universe().watch();
        epoll::add(&job.epoll, &job.signals, data(Source::Signals), epoll::EventFlags::IN)
            .map_err(|e| LaunchError::system("watching signals", e))?;
        watch(&job.epoll, &job.desk, Source::Desk).map_err(|e| LaunchError::system("watching the ranks", e))?;
        job.open_door();
        Ok(job)
    }

    /// Runs the job to its end and gives the exit status.
    pub(crate) fn run(&mut self) -> u8 {
        let mut events: Vec<epoll::Event> = Vec::with_capacity(64);
        while !self.is_over() {
            let timeout = self.next_deadline().map(|at| {
                let left = at.saturating_duration_since(Instant::now());
                Timespec { tv_sec: left.as_secs() as i64, tv_nsec: i64::from(left.subsec_nanos()) }
            });
            events.clear();
            match epoll::wait(&self.epoll, spare_capacity(&mut events), timeout.as_ref()) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(error) => {
                    self.say(&format!("phalanx: waiting for events: {error}; ending the job"));
                    self.kill_everything();
                    break;
                }
            }
            let mut children_ended = false;
            for event in &events {
                match Source::from_token(event.data.u64()) {
                    Some(Source::Signals) => children_ended |= self.take_signals(),
                    Some(Source::Sink(which)) => self.sinks[which].flush(),
                    Some(Source::Output(id)) => {
                        self.read_stream(id);
                    }
                    Some(Source::Connection(index)) => self.read_connection(index),
                    Some(Source::Terminal) => self.read_terminal(),
                    Some(Source::Stdin) => self.feed_stdin(),
                    Some(Source::Desk) => self.read_desk(),
                    Some(Source::Door) => self.answer_door(),
                    Some(Source::Caller(number)) => self.serve_caller(number),
                    Some(Source::Speaker(id)) => self.read_speaker(id),
                    Some(Source::Agent(host)) => self.hear_agent(host),
                    Some(Source::AgentErrors(host)) => self.hear_agent_errors(host),
                    Some(Source::AgentRoom(host)) => self.flush_agent(host),
                    Some(Source::FarInput) => self.read_far_input(),
                    None => {}
                }
            }
            if children_ended {
                self.reap();
            }
            self.check_timers();
            self.hand_over();
            self.balance_sinks();
            self.balance_agents();
        }
        self.guard.retire();
        self.tell_end();
        self.last_word()
    }

    /// A line of our own on standard error, in order with the ranks' lines.
    fn say(&mut self, line: &str) {
        let sink = self.sink_of(1);
        self.sinks[sink].push(usize::MAX, &[line.as_bytes(), b"\n"], true);
    }

    /// Which sink takes standard output (0) or error (1).
    fn sink_of(&self, which: usize) -> usize {
        which.min(self.sinks.len() - 1)
    }

    /// Whether nothing is left to wait for.
    fn is_over(&mut self) -> bool {
        self.nobody_runs()
            && self.agents_have_gone()
            && self.course.nobody_left()
            && self.ranks.iter().all(|rank| rank.streams.iter().all(Option::is_none))
            && !self.sinks.iter().any(Sink::is_waiting)
            && self.connections.iter().all(|c| c.rank.is_some() || c.descriptor.is_none())
    }

    /// Reads what a rank wrote; false when nothing more is there now.
    fn read_stream(&mut self, id: usize) -> bool {
        let (index, which) = (id / 2, id % 2);
        let (alone, sink) = (self.ranks.len() == 1, self.sink_of(which));
        let Some(slot) = self.ranks.get_mut(index).and_then(|rank| rank.streams.get_mut(which)) else {
            return false;
        };
        let Some(stream) = slot else { return false };
        match stream.read(&mut self.scratch, &mut self.sinks[sink], alone) {
            Read::Some => {
                self.after_output(index, which);
                true
            }
            Read::Nothing => false,
            Read::End => {
                // A paused stream is not registered; closing the descriptor takes any other out of epoll.
                *slot = None;
                false
            }
        }
    }

    /// A rank has written something.
    fn after_output(&mut self, index: usize, which: usize) {
        let Some(stream) = &mut self.ranks[index].streams[which] else { return };
        let (partial, words) = (stream.partial_since.is_some(), stream.last_words());
        if partial {
            self.look_at_partial_lines_soon();
        }
        if which == 0 {
            self.input.output_came(index);
        } else if let Some(words) = words {
            self.ranks[index].last_words = words;
        }
    }

    /// Reads everything a rank has written so far, but no more than a sink should hold.
    fn drain(&mut self, index: usize) {
        for which in 0..2 {
            let sink = self.sink_of(which);
            while !self.sinks[sink].is_full() && self.read_stream(index * 2 + which) {}
        }
    }

    /// Watches sinks that hold bytes, stops reading streams of full ones, ends the job when standard output is gone.
    fn balance_sinks(&mut self) {
        let shared = self.sinks.len() == 1;
        for (which, sink) in self.sinks.iter_mut().enumerate() {
            let waiting = sink.is_waiting() && !sink.is_muted();
            if waiting != sink.watched {
                let done = if waiting {
                    epoll::add(&self.epoll, sink.watch(), data(Source::Sink(which)), epoll::EventFlags::OUT)
                } else {
                    epoll::delete(&self.epoll, sink.watch())
                };
                // What epoll does not take (a device that never blocks) is written by the next flush.
                if done.is_err() && waiting {
                    sink.flush();
                } else {
                    sink.watched = waiting;
                }
            }
            let full = sink.is_full();
            if full != sink.held {
                sink.held = full;
                hold_streams(&self.epoll, &mut self.ranks, |stream| shared || stream == which, full);
            }
        }
        if self.sinks[0].broken {
            self.output_lost();
        }
    }

    /// Handles all signals that arrived; true when children ended.
    fn take_signals(&mut self) -> bool {
        let mut children_ended = false;
        while let Some(signal) = self.signals.next() {
            match signal {
                libc::SIGCHLD => children_ended = true,
                libc::SIGINT => self.interrupted(),
                libc::SIGTERM | libc::SIGHUP => self.terminated(signal),
                libc::SIGQUIT => self.say_look(),
                libc::SIGTSTP => {
                    self.suspend_turn();
                    // SIGTSTP stops nobody in a session without a terminal.
                    self.signal_ranks(Signal::STOP);
                    self.tell_agents(&Order::Pause);
                    // We stop as well, so that the shell sees the job as stopped.
                    let _ = rustix::process::kill_process(rustix::process::getpid(), Signal::STOP);
                }
                libc::SIGCONT => {
                    self.resume_turn();
                    self.signal_ranks(Signal::CONT);
                    self.watch_terminal();
                }
                libc::SIGUSR1 => self.signal_ranks(Signal::USR1),
                libc::SIGUSR2 => self.signal_ranks(Signal::USR2),
                _ => {}
            }
        }
        children_ended
    }

    /// Sends a signal to the group of every rank that runs.
    fn signal_ranks(&mut self, signal: Signal) {
        self.leftovers.before(signal, self.by_pid.keys());
        for pid in self.by_pid.keys() {
            process::signal_group(*pid, signal);
        }
        self.tell_agents(&Order::Signal(signal.as_raw()));
    }

    /// Collects children that ended: ranks, and orphans that were handed to us.
    fn reap(&mut self) {
        // They told of exceptions before they ended.
        self.read_desk();
        let mut failed: Vec<(Cause, usize)> = Vec::new();
        while let Ok(Some((pid, ended))) = process::reap() {
            if self.guard.pid == Some(pid) {
                self.guard.pid = None;
            }
            if self.was_agent(pid) {
                continue;
            }
            let Some(index) = self.by_pid.remove(&pid) else {
                continue;
            };
            self.ranks[index].ended = Some(ended);
            self.ranks[index].traced.ended = self.began.clock().now();
            // What it said last comes before what is said about it.
            self.read_connection(self.ranks[index].connection);
            self.drain(index);
            let cause = self.judge(index, ended);
            if cause.is_some() {
                self.keep_scene();
                if self.manner.foreign && self.manner.keep_going {
                    self.leftovers.note(self.by_pid.keys());
                }
            }
            self.tell_of_end(index);
            failed.extend(cause.map(|cause| (cause, index)));
        }
        failed.sort_by_key(|(cause, index)| (cause.precedence(), *index));
        for (cause, index) in failed {
            self.failed(index, cause);
        }
        self.forget_scene();
        self.look_for_missing();
        if self.by_pid.is_empty() && self.far.is_none() {
            self.all_ended();
        }
    }

    /// Tells the other ranks that one has ended. A process that it left behind may be the one that uses MPI, as long as
    /// it has the socket to us: then the rank lives on in it.
    fn tell_of_end(&mut self, index: usize) {
        let rank = &self.ranks[index];
        let Some(ended) = rank.ended.filter(|_| !self.manner.foreign) else { return };
        let left = self.connections[rank.connection].descriptor.is_some();
        if !left || ended != Ended::Exit(0) || self.universe.state(rank.slot) != SlotState::Empty {
            self.universe.record_end(rank.slot, ended);
        }
    }
}

/// What marks the processes of a job that begins now.
pub(crate) fn new_mark() -> String {
    let id = rustix::process::getpid().as_raw_nonzero();
    let clock = rustix::time::clock_gettime(rustix::time::ClockId::Realtime);
    format!("{id}.{:x}{:08x}", clock.tv_sec, clock.tv_nsec)
}

/// Stops or resumes reading all streams of the chosen kind (0: standard output, 1: error).
fn hold_streams(epoll: &OwnedFd, ranks: &mut [Rank], chosen: impl Fn(usize) -> bool, hold: bool) {
    for rank in ranks {
        for (_, stream) in rank.streams.iter_mut().enumerate().filter(|(which, _)| chosen(*which)) {
            let Some(stream) = stream else { continue };
            let Some(descriptor) = stream.descriptor.as_ref().filter(|_| stream.paused != hold) else {
                continue;
            };
            let done = if hold {
                epoll::delete(epoll, descriptor)
            } else {
                watch(epoll, descriptor, Source::Output(stream.id))
            };
            if done.is_ok() {
                stream.paused = hold;
            }
        }
    }
}

/// What epoll gives back for a source.
fn data(source: Source) -> epoll::EventData {
    epoll::EventData::new_u64(source.token())
}

/// Begins to watch a descriptor for input.
fn watch(epoll: &OwnedFd, descriptor: impl AsFd, source: Source) -> rustix::io::Result<()> {
    epoll::add(epoll, descriptor, data(source), epoll::EventFlags::IN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_name_their_source() {
        for source in [
            Source::Signals,
            Source::Sink(1),
            Source::Output(123_456),
            Source::Connection(7),
            Source::Terminal,
            Source::Stdin,
            Source::Desk,
            Source::Door,
            Source::Caller(7),
            Source::Speaker(7),
            Source::Agent(7),
            Source::AgentErrors(7),
            Source::AgentRoom(7),
            Source::FarInput,
        ] {
            assert_eq!(Source::from_token(source.token()), Some(source));
        }
        assert_eq!(Source::from_token(u64::MAX), None);
    }
}
