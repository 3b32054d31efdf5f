//! The ranks of an agent: starting them, what they print and read, and how they end.

use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;

use phalanx_shm::CpuBudget;
use phalanx_shm::budget::JOB_CPUS;
use phalanx_wire::agent::{Bytes, How, PIECE, Report, Start, WINDOW};
use rustix::event::epoll;
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType};
use rustix::process::Pid;

use super::{Agent, Source};
use crate::cli::Binding;
use crate::job::{self, DESK, usable_cpus};
use crate::pmi::{Client, Service, Stage};
use crate::process::{self, Ended, Spawn, Stdin};

/// Variables that are of a machine, or of a login there: the agent's own are passed on, and not the launcher's.
const OF_THE_MACHINE: &[&str] = &[
    "HOSTNAME",
    "HOST",
    "DBUS_SESSION_BUS_ADDRESS",
    "SLURMD_NODENAME",
    "SSH_AUTH_SOCK",
    "SSH_CLIENT",
    "SSH_CONNECTION",
    "SSH_TTY",
    "XDG_RUNTIME_DIR",
    "XDG_SESSION_ID",
];

/// Tells a rank that an agent has started it: the host, as the launcher calls it.
const AGENT: &str = "PHALANX_AGENT";

/// One rank, with everything of it that the loop watches.
pub(super) struct Rank {
    /// How the launcher calls it.
    pub(super) id: u32,
    /// Its process, while it runs.
    pub(super) pid: Option<Pid>,
    pub(super) client: Client,
    /// Heartbeats since it has begun MPI, and has last met the others by way of the launcher.
    pub(super) beats: u32,
    /// Our end of its PMI socket.
    pub(super) socket: Option<OwnedFd>,
    /// Standard output and error.
    streams: [Option<OwnedFd>; 2],
    input: Option<OwnedFd>,
    /// What it has not read yet.
    unread: Vec<u8>,
    /// The end of its input comes after that.
    input_ends: bool,
    input_watched: bool,
}

impl Agent {
    /// Starts ranks. What cannot be started is told.
    pub(super) fn start(&mut self, start: &Start) {
        if self.ranks.is_empty() {
            self.service = Service::of_one_machine(start.universe);
        }
        let here = u32::try_from(start.ranks.len()).unwrap_or(u32::MAX);
        let apps = start.apps.clone();
        let world = self.service.add_part(start.space.clone(), here, apps, &start.values);
        for (position, rank) in start.ranks.iter().enumerate() {
            if let Err(reason) = self.start_rank(start, world, position, rank) {
                self.report(&Report::Failed { id: rank.id, reason });
            }
        }
    }

    fn start_rank(
        &mut self,
        start: &Start,
        world: usize,
        position: usize,
        rank: &phalanx_wire::agent::Rank,
    ) -> Result<(), String> {
        let problem = |what: &str| {
            let what = what.to_owned();
            move |error: std::io::Error| format!("{what}: {error}")
        };
        let program = start.programs.get(rank.program as usize).ok_or("its program is not known")?;
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let (ours, theirs) = rustix::net::socketpair(AddressFamily::UNIX, SocketType::STREAM, flags, None)
            .map_err(|e| problem("its PMI socket")(e.into()))?;
        rustix::fs::fcntl_getfl(&theirs)
            .and_then(|now| rustix::fs::fcntl_setfl(&theirs, now.difference(rustix::fs::OFlags::NONBLOCK)))
            .map_err(|e| problem("its PMI socket")(e.into()))?;
        let os = |bytes: &Bytes| OsString::from_vec(bytes.0.clone());
        let pairs = start.environment.iter().chain(&rank.environment);
        let mut env: Vec<(OsString, OsString)> = pairs.map(|(name, value)| (os(name), os(value))).collect();
        env.retain(|(name, value)| {
            let is_name = !name.is_empty() && !name.as_bytes().iter().any(|byte| matches!(byte, 0 | b'='));
            is_name && !value.as_bytes().contains(&0) && !OF_THE_MACHINE.iter().any(|own| name == own)
        });
        env.extend(OF_THE_MACHINE.iter().filter_map(|name| Some(((*name).into(), std::env::var_os(name)?))));
        env.push(("PMI_FD".into(), theirs.as_raw_fd().to_string().into()));
        env.push((process::JOB.into(), self.mark.clone().into()));
        let shows = rank.files.is_some() || start.merge;
        env.push((AGENT.into(), self.host.clone().into()));
        env.push((DESK.into(), self.desk.variable(shows).into()));
        let usable = usable_cpus();
        env.push((JOB_CPUS.into(), usable.len().to_string().into()));
        let binding = Binding::parse(&start.binding).unwrap_or_default();
        let here = start.ranks.len();
        let (path, directory) = (os(&program.path), program.directory.as_ref().map(os));
        let started = process::start(Spawn {
            program: Path::new(&path),
            args: program.args.iter().map(os).collect(),
            bare: true,
            env,
            wdir: directory.as_deref().map(Path::new),
            stdin: if rank.reads { Stdin::Pipe } else { Stdin::Null },
            files: rank.files.as_ref().map(|(out, err)| (os(out).into(), os(err).into())),
            merge: start.merge,
            keep: vec![theirs.as_fd(), self.desk.theirs()],
            cpus: job::share(binding, position, here, world > 0, self.ranks.len()),
            session: !CpuBudget::detect(start.here).oversubscribed(),
            ..Spawn::default()
        })
        .map_err(problem(&Path::new(OsStr::from_bytes(&program.path.0)).display().to_string()))?;
        let index = self.ranks.len();
        let [out, err] = [started.stdout, started.stderr];
        self.by_pid.insert(started.pid, index);
        self.by_id.insert(rank.id, index);
        self.ranks.push(Rank {
            id: rank.id,
            pid: Some(started.pid),
            client: Client::of(world, rank.rank),
            beats: 0,
            socket: Some(ours),
            streams: [out, err],
            input: started.stdin,
            unread: Vec::new(),
            input_ends: false,
            input_watched: false,
        });
        let rank = &self.ranks[index];
        if let Some(socket) = &rank.socket {
            let _ = self.watch(socket, Source::Pmi(index));
        }
        if !self.held {
            for (which, stream) in rank.streams.iter().enumerate() {
                if let Some(stream) = stream {
                    let _ = self.watch(stream, Source::Output(index * 2 + which));
                }
            }
        }
        let (id, pid) = (rank.id, process::number(started.pid));
        self.report(&Report::Started { id, pid });
        Ok(())
    }

    /// Reads what a rank has printed, once.
    pub(super) fn read_output(&mut self, id: usize) {
        if !self.held {
            self.read_piece(id);
        }
    }

    /// Whether something was there.
    fn read_piece(&mut self, id: usize) -> bool {
        let (index, which) = (id / 2, id % 2);
        let Some(stream) = self.ranks.get(index).and_then(|rank| rank.streams[which].as_ref()) else { return false };
        match rustix::io::read(stream, &mut self.scratch[..PIECE]) {
            Ok(0) => self.ranks[index].streams[which] = None,
            Ok(count) => {
                let bytes = Bytes(self.scratch[..count].to_vec());
                self.outstanding += count as u64;
                let rank = self.ranks[index].id;
                self.report(&Report::Output { id: rank, error: which == 1, bytes });
                return true;
            }
            Err(Errno::INTR) => return true,
            Err(Errno::AGAIN) => {}
            Err(_) => self.ranks[index].streams[which] = None,
        }
        false
    }

    /// Reads what is there now of a rank's output, but no more than pipes hold.
    fn drain(&mut self, index: usize) {
        for which in 0..2 {
            let most = self.outstanding.max(WINDOW) + 2 * PIECE as u64;
            while self.outstanding < most && self.read_piece(index * 2 + which) {}
        }
    }

    /// Sends what is left of all output, which nobody of ours can write any more: whether all of it was sent.
    pub(super) fn send_the_rest(&mut self) -> bool {
        for index in 0..self.ranks.len() {
            self.drain(index);
        }
        // Somebody who is no descendant may hold the other end of a pipe: there is no waiting for that.
        self.outstanding < WINDOW || self.ranks.iter().all(|rank| rank.streams.iter().all(Option::is_none))
    }

    pub(super) fn hold_output(&mut self, hold: bool) {
        for (index, rank) in self.ranks.iter().enumerate() {
            for (which, stream) in rank.streams.iter().enumerate() {
                let Some(stream) = stream else { continue };
                let _ = match hold {
                    true => epoll::delete(&self.epoll, stream),
                    false => self.watch(stream, Source::Output(index * 2 + which)),
                };
            }
        }
    }

    /// Bytes for a rank's standard input; none: its end.
    pub(super) fn take_input(&mut self, id: u32, bytes: &[u8]) {
        let Some(index) = self.by_id.get(&id).copied() else { return };
        let rank = &mut self.ranks[index];
        rank.unread.extend_from_slice(bytes);
        rank.input_ends |= bytes.is_empty();
        self.feed(index);
    }

    /// Writes to a rank what waits for it.
    pub(super) fn feed(&mut self, index: usize) {
        let rank = &mut self.ranks[index];
        let mut count = 0u32;
        while let Some(input) = &rank.input {
            if rank.unread.is_empty() {
                if rank.input_ends {
                    rank.input = None;
                    rank.input_watched = false;
                }
                break;
            }
            match rustix::io::write(input, &rank.unread) {
                Ok(written) => {
                    rank.unread.drain(..written);
                    count = count.saturating_add(u32::try_from(written).unwrap_or(u32::MAX));
                }
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => break,
                Err(_) => {
                    rank.unread.clear();
                    rank.input = None;
                    rank.input_watched = false;
                    count = u32::MAX;
                }
            }
        }
        let wants = !rank.unread.is_empty();
        if let Some(input) = rank.input.as_ref().filter(|_| wants != rank.input_watched) {
            let done = match wants {
                true => epoll::add(&self.epoll, input, Source::Input(index).data(), epoll::EventFlags::OUT),
                false => epoll::delete(&self.epoll, input),
            };
            rank.input_watched = wants && done.is_ok();
        }
        let id = rank.id;
        if count > 0 {
            self.report(&Report::Read { id, count });
        }
    }

    /// Looks at what ranks that use MPI have mapped, more and more seldom: nobody may be asked before they end. (They map it while
    /// they begin, in which they meet each other.)
    pub(super) fn note_mapped(&mut self) {
        for rank in self.ranks.iter_mut().filter(|rank| rank.client.stage == Stage::Initialised) {
            rank.beats = rank.beats.saturating_add(1);
            if rank.beats.is_power_of_two() {
                self.leftovers.note(&rank.pid);
            }
        }
    }

    /// Collects children that ended.
    pub(super) fn reap(&mut self) {
        // They told of exceptions before they ended.
        self.read_desk();
        while let Ok(Some((pid, ended))) = process::reap() {
            if let Some(guard) = &mut self.guard
                && guard.pid == Some(pid)
            {
                guard.pid = None;
            }
            let Some(index) = self.by_pid.remove(&pid) else { continue };
            self.ranks[index].pid = None;
            // What it said last comes before what is said about it.
            self.read_pmi(index);
            if self.ranks[index].client.stage == Stage::Initialised {
                // It will not take away what it shared with the others.
                self.leftovers.note(self.by_pid.keys());
            }
            self.drain(index);
            let how = match ended {
                Ended::Exit(status) => How::Exit(status),
                Ended::Signal(signal) => How::Signal(signal),
            };
            let (id, stage) = (self.ranks[index].id, self.ranks[index].client.stage.into());
            self.report(&Report::Ended { id, how, stage });
            self.tell_who_waits(index);
        }
    }
}
