//! Engines as processes: started, watched, signalled, ended, and what they print.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::rc::Rc;
use std::time::Duration;

use phalanx_shm::{Block, BlockKind, OomKills};
use phalanx_wire::cluster::{EngineInfo, FromEngine, Hello, PROTOCOL, Parcel, TEXT, ToEngine};
use phalanx_wire::far::ToGateway;
use rustix::process::{Pid, PidfdFlags, Signal, WaitId, WaitIdOptions};

use tokio::io::unix::AsyncFd;
use tokio::net::UnixStream;
use tokio::task::spawn_local;

use super::conn::Kind;
use super::text::Stream;
use super::watched::watched;
use super::{Server, now};
use crate::core::Said;
use crate::look::Looks as _;

/// Text of an engine with several tasks waits so long for the word which of them it is in.
const UNTOLD: Duration = Duration::from_millis(2);
/// An engine that is to leave has so long, and as long again after SIGTERM.
const GRACE: Duration = Duration::from_millis(1000);
/// One that is in a task has so long.
const BUSY: Duration = Duration::from_millis(100);
/// An engine that dies sooner than that after its start is not started again.
const SOON: f64 = 2.0;
/// Of what an engine printed before it was there, so much is told when it dies.
const WORDS: usize = 2000;

/// A process that has been started.
pub struct Launched {
    /// It.
    pub pid: u32,
    /// What it prints.
    pub stdout: OwnedFd,
    /// The same.
    pub stderr: OwnedFd,
}

/// Starts engines.
pub trait Launcher {
    /// Starts the engine of this number, which inherits its end of the connection; `engines`: so many share this machine then.
    ///
    /// # Errors
    /// What the system says.
    fn start(&mut self, id: u32, engines: u32, connection: BorrowedFd<'_>) -> io::Result<Launched>;
}

/// An engine's process.
pub(crate) struct Process {
    pub(crate) pid: u32,
    pub(crate) conn: Option<u64>,
    uuid: String,
    watch: Option<Rc<AsyncFd<OwnedFd>>>,
    streams: [Option<Stream>; 2],
    /// Its first word is the number of the task that it has begun last.
    note: Option<Block>,
    /// Its gateway and channel there, of one on another machine.
    far: Option<(u64, u32)>,
    /// The machine that it runs on.
    host: String,
    /// The number of the task that it had begun last, as its gateway says.
    begun: u64,
    /// We have started it, and learn how it ends.
    is_child: bool,
    /// It has said that it is ready.
    is_there: bool,
    since: f64,
    /// It is to be started again when it has ended.
    pub(crate) again: bool,
    /// Somebody wants it to end.
    pub(crate) leaving: bool,
    /// What it printed before it was there.
    words: String,
    /// Why we have killed it.
    why: Option<String>,
    /// A wait for the word which task its text belongs to has begun.
    waits: bool,
}

impl Process {
    fn new(pid: u32, host: String) -> Self {
        let mut bytes = [0u8; 16];
        let _ = rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty());
        Self {
            pid,
            conn: None,
            uuid: bytes.iter().map(|byte| format!("{byte:02x}")).collect(),
            watch: None,
            streams: [None, None],
            note: None,
            far: None,
            host,
            begun: 0,
            is_child: false,
            is_there: false,
            since: now(),
            again: false,
            leaving: false,
            words: String::new(),
            why: None,
            waits: false,
        }
    }

    /// That of an engine on another machine.
    pub(crate) fn far(gateway: u64, channel: u32, conn: u64, pid: u32, host: String) -> Self {
        Self { far: Some((gateway, channel)), conn: Some(conn), ..Self::new(pid, host) }
    }

    /// One that was here before, under this name, and is ready.
    pub(crate) fn known(self, uuid: String) -> Self {
        Self { uuid, is_there: true, ..self }
    }

    pub(crate) fn is_of(&self, gateway: u64, channel: u32) -> bool {
        self.far == Some((gateway, channel))
    }

    /// Its gateway and channel, of one on another machine.
    pub(crate) fn place(&self) -> Option<(u64, u32)> {
        self.far
    }

    /// As clients know it.
    pub(crate) fn info(&self, id: u32) -> EngineInfo {
        EngineInfo { id, uuid: self.uuid.clone(), pid: self.pid, host: self.host.clone() }
    }

    /// Its gateway says how it has ended.
    pub(crate) fn has_ended(&mut self, reason: String, begun: u64) {
        self.why = Some(reason);
        self.begun = begun;
    }

    /// Its name, if it may come back: nobody wanted it to end.
    pub(crate) fn name_if_wanted(&self) -> Option<String> {
        (self.is_there && !self.leaving).then(|| self.uuid.clone())
    }
}

/// Something that becomes readable when a process ends.
pub(crate) fn watch(pid: u32) -> Option<AsyncFd<OwnedFd>> {
    let pid = Pid::from_raw(i32::try_from(pid).ok()?)?;
    let descriptor = rustix::process::pidfd_open(pid, PidfdFlags::empty()).ok()?;
    watched(descriptor).ok()
}

impl Server {
    /// Starts so many engines; their numbers.
    pub(crate) fn start_engines(&mut self, count: u32) -> Vec<u32> {
        let ids: Vec<u32> = (0..count).map(|_| self.numbers.take(None)).collect();
        self.core.engines_starting(count);
        let engines = self.engines_here().saturating_add(count);
        for id in &ids {
            self.start_engine(*id, engines);
        }
        self.turn();
        ids
    }

    /// Engines on this machine.
    fn engines_here(&self) -> u32 {
        let here = self.processes.values().filter(|process| process.place().is_none());
        u32::try_from(here.count()).unwrap_or(u32::MAX)
    }

    fn start_engine(&mut self, id: u32, engines: u32) {
        if let Err(error) = self.try_start(id, engines) {
            let reason = format!("could not be started: {error}");
            self.say(&format!("engine {id} {reason}"));
            self.core.at(now());
            self.core.engine_failed(id, &reason);
        }
    }

    fn try_start(&mut self, id: u32, engines: u32) -> io::Result<()> {
        let (ours, theirs) = std::os::unix::net::UnixStream::pair()?;
        ours.set_nonblocking(true)?;
        let launched = self.launcher.start(id, engines, theirs.as_fd())?;
        drop(theirs);
        let process = self.process(launched.pid, true, Some((launched.stdout, launched.stderr)))?;
        self.note(&format!("engine {id} started (pid {})", launched.pid));
        self.processes.insert(id, process);
        self.attend_process(id);
        let conn = self.add(UnixStream::from_std(ours)?, Kind::Child(id), launched.pid);
        if let Some(process) = self.processes.get_mut(&id) {
            process.conn = Some(conn);
        }
        Ok(())
    }

    fn process(&mut self, pid: u32, is_child: bool, streams: Option<(OwnedFd, OwnedFd)>) -> io::Result<Process> {
        let note =
            self.arena.alloc_zeroed(64, BlockKind::Plain).map_err(|error| io::Error::other(error.to_string()))?;
        let streams = match streams {
            Some((stdout, stderr)) => [Some(Stream::new(stdout)?), Some(Stream::new(stderr)?)],
            None => [None, None],
        };
        let watch = watch(pid).map(Rc::new);
        Ok(Process { watch, streams, note: Some(note), is_child, ..Process::new(pid, host()) })
    }

    /// Waits for the end of a process, and for what it prints.
    fn attend_process(&mut self, id: u32) {
        let (Some(server), Some(process)) = (self.own(), self.processes.get(&id)) else { return };
        let pid = process.pid;
        if let Some(watch) = process.watch.clone() {
            let server = server.clone();
            spawn_local(async move {
                let _ = watch.readable().await;
                server.borrow_mut().engine_ended(id, pid);
            });
        }
        for index in [0, 1] {
            let Some(stream) = &process.streams[index] else { continue };
            let (pipe, server) = (stream.pipe.clone(), server.clone());
            spawn_local(async move {
                loop {
                    let Ok(mut ready) = pipe.readable().await else { return };
                    let mut server = server.borrow_mut();
                    match server.read_text(id, pid, index) {
                        Some(true) => {}
                        Some(false) => ready.clear_ready(),
                        None => return,
                    }
                }
            });
        }
    }

    /// An engine has connected that we have not started.
    pub(crate) fn engine_connected(&mut self, conn: u64, hello: Hello) {
        if let Some(problem) = self.mismatch(&hello.python, "the Python of this engine") {
            return self.refuse_engine(conn, &problem);
        }
        let Some(pid) = self.conns.get(&conn).map(|conn| conn.pid) else { return };
        let id = self.numbers.take(hello.number);
        let streams = self.conns.get_mut(&conn).and_then(|conn| conn.take_streams());
        match self.process(pid, false, streams) {
            Ok(process) => {
                self.python_is(&hello.python);
                self.core.engines_starting(1);
                self.processes.insert(id, Process { conn: Some(conn), ..process });
                if let Some(conn) = self.conns.get_mut(&conn) {
                    conn.kind = Kind::Engine(id);
                }
                self.attend_process(id);
                self.welcome_engine(id, conn);
            }
            Err(error) => self.refuse_engine(conn, &format!("the controller cannot take one more engine: {error}")),
        }
    }

    /// Hangs up on somebody who would be an engine, with a word.
    pub(crate) fn refuse_engine(&mut self, conn: u64, problem: &str) {
        self.push(conn, ToEngine::Bye { reason: problem.to_owned() }, Vec::new(), Vec::new());
        self.flush();
        self.hung_up(conn, problem);
    }

    pub(crate) fn welcome_engine(&mut self, id: u32, conn: u64) {
        let Some(process) = self.processes.get(&id) else { return };
        let welcome = ToEngine::Welcome {
            identity: process.uuid.clone(),
            engine_id: id,
            cluster_id: self.cluster_id.clone(),
            note: process.note.as_ref().map_or(0, |note| note.handle().to_u64()),
            pid: std::process::id(),
            version: self.version.to_owned(),
            more: Default::default(),
        };
        self.welcome(conn, welcome);
    }

    /// An engine says something.
    pub(crate) fn reported(&mut self, engine: u32, conn: u64, parcel: Parcel<FromEngine>) {
        let objects = self.take(conn, parcel.payloads);
        match parcel.body {
            FromEngine::Ready {} => self.engine_ready(engine),
            FromEngine::Done { id, status, error, metadata, started, completed, printed } => {
                if printed {
                    self.drain_text(engine);
                    self.tell_text(engine);
                }
                let mut objects = objects.into_iter();
                let first = objects.next();
                let said = Said { status, error, metadata, times: (started, completed) };
                self.core.done(engine, &id, said, first.flatten());
            }
            FromEngine::Output { id } => {
                // In the order in which it was shown.
                self.drain_text(engine);
                self.tell_text(engine);
                self.core.output(engine, &id, objects.into_iter().next().flatten());
            }
            FromEngine::Returned { ids } => self.core.returned(engine, &ids),
            FromEngine::Begin { .. } | FromEngine::Taken {} => {}
            FromEngine::Bye {} => {
                self.core.engine_leaving(engine);
                if let Some(process) = self.processes.get_mut(&engine) {
                    process.leaving = true;
                }
            }
        }
    }

    fn engine_ready(&mut self, id: u32) {
        let Some(process) = self.processes.get_mut(&id).filter(|process| !process.is_there) else { return };
        process.is_there = true;
        process.words.clear();
        let info = process.info(id);
        self.note(&format!("engine {id} is ready (pid {})", info.pid));
        self.core.engine_joined(info, true);
    }

    /// An engine that we have started says what it is.
    pub(crate) fn child_greeted(&mut self, id: u32, conn: u64, hello: Hello) {
        if hello.protocol != PROTOCOL {
            let problem = format!("speaks protocol {}, the controller {PROTOCOL}", hello.protocol);
            return self.dismiss(conn, &problem);
        }
        self.python_is(&hello.python);
        if let Some(conn) = self.conns.get_mut(&conn) {
            conn.kind = Kind::Engine(id);
        }
        self.welcome_engine(id, conn);
    }

    /// What an engine said of itself at its start.
    pub(crate) fn python_is(&mut self, version: &str) {
        if self.python.is_none() && !version.is_empty() {
            self.python = Some(version.to_owned());
        }
    }

    /// Reads what an engine has printed; whether there may be more, and nothing when there will be none.
    fn read_text(&mut self, id: u32, pid: u32, index: usize) -> Option<bool> {
        let process = self.processes.get_mut(&id).filter(|process| process.pid == pid)?;
        let stream = process.streams[index].as_mut()?;
        let more = stream.read(&mut self.text_room);
        if stream.ended {
            stream.end();
        }
        let ended = stream.ended;
        self.core.at(now());
        if self.core.given(id) > 1 {
            // Which task that is, its next words say.
            if let Some(process) = self.processes.get_mut(&id)
                && !std::mem::replace(&mut process.waits, true)
            {
                self.later(UNTOLD, move |server| {
                    if let Some(process) = server.processes.get_mut(&id) {
                        process.waits = false;
                    }
                    server.core.at(now());
                    server.tell_text(id);
                    server.turn();
                });
            }
        } else {
            self.tell_text(id);
            self.turn();
        }
        (!ended).then_some(more)
    }

    /// Reads all that an engine has printed.
    fn drain_text(&mut self, id: u32) {
        let Some(process) = self.processes.get_mut(&id) else { return };
        for stream in process.streams.iter_mut().flatten() {
            stream.drain(&mut self.text_room);
        }
    }

    /// Tells what an engine has printed, as that of the task that it is in.
    fn tell_text(&mut self, id: u32) {
        let Some(process) = self.processes.get_mut(&id) else { return };
        let texts = process
            .streams
            .each_mut()
            .map(|stream| stream.as_mut().map(|stream| std::mem::take(&mut stream.untold)).unwrap_or_default());
        let is_there = process.is_there;
        for (index, text) in texts.into_iter().enumerate().filter(|(_, text)| !text.is_empty()) {
            if !is_there {
                if let Some(process) = self.processes.get_mut(&id)
                    && process.words.len() < WORDS * 8
                {
                    process.words.push_str(&text);
                }
                continue;
            }
            let mut rest = text.as_str();
            while !rest.is_empty() {
                let (piece, after) = rest.split_at(rest.floor_char_boundary(TEXT.min(rest.len())));
                self.core.printed(id, index == 1, piece);
                rest = after;
            }
        }
    }

    /// After the words of a connection: text that waits for them belongs to the task that its engine is in now.
    pub(crate) fn settle_text(&mut self, conn: u64) {
        if let Some(Kind::Engine(id)) = self.conns.get(&conn).map(|conn| conn.kind)
            && self.core.given(id) <= 1
        {
            self.tell_text(id);
        }
    }

    /// Signals an engine's process.
    pub(crate) fn signal_engine(&mut self, id: u32, signal: Signal) {
        let Some(process) = self.processes.get(&id) else { return };
        if let Some((gateway, channel)) = process.far {
            self.tell_gateway(gateway, &ToGateway::Signal { channel, signal: signal.as_raw() });
        } else if let Some(watch) = &process.watch {
            let _ = rustix::process::pidfd_send_signal(watch.get_ref(), signal);
        }
    }

    /// Kills an engine, with what it has started.
    pub(crate) fn kill_engine(&mut self, id: u32) {
        let Some(process) = self.processes.get(&id) else { return };
        if let Some((gateway, channel)) = process.far {
            return self.tell_gateway(gateway, &ToGateway::Kill { channel });
        }
        let pid = Pid::from_raw(process.pid.cast_signed());
        match pid.filter(|_| process.is_child) {
            // Its number is its own until it is reaped, and its group has the same.
            Some(pid) => {
                let _ = rustix::process::kill_process_group(pid, Signal::KILL);
            }
            None => self.signal_engine(id, Signal::KILL),
        }
    }

    /// Asks an engine to end, and sees to it that it does.
    pub(crate) fn end_engine(&mut self, id: u32, again: bool) {
        let Some(process) = self.processes.get_mut(&id) else { return };
        process.leaving = true;
        process.again = again;
        let (pid, conn) = (process.pid, process.conn);
        self.core.engine_leaving(id);
        if let Some(conn) = conn {
            self.push(conn, ToEngine::Exit {}, Vec::new(), Vec::new());
        }
        let is_busy = self.core.given(id) > 0 || self.processes.get(&id).is_some_and(|process| !process.is_there);
        let first = if is_busy { BUSY } else { GRACE };
        let is_it = move |server: &Server| server.processes.get(&id).is_some_and(|process| process.pid == pid);
        self.later(first, move |server| {
            if is_it(server) {
                server.signal_engine(id, Signal::TERM);
            }
        });
        self.later(first + GRACE, move |server| {
            if is_it(server) {
                server.kill_engine(id);
            }
        });
    }

    /// The connection of an engine has ended.
    pub(crate) fn engine_hung_up(&mut self, id: u32, problem: &str) {
        let Some(process) = self.processes.get_mut(&id) else { return };
        process.conn = None;
        if process.watch.is_none() {
            // It can be watched in no other way.
            let pid = process.pid;
            return self.engine_ended(id, pid);
        }
        if !problem.is_empty() {
            process.why = Some(problem.to_owned());
        }
        // Without its connection it is of no use; it may be about to end by itself.
        let pid = process.pid;
        self.core.engine_leaving(id);
        self.later(GRACE, move |server| {
            if let Some(process) = server.processes.get_mut(&id).filter(|process| process.pid == pid) {
                process.why.get_or_insert_with(|| "closed its connection, and was killed".to_owned());
                server.kill_engine(id);
            }
        });
    }

    /// The process of an engine has ended.
    pub(crate) fn engine_ended(&mut self, id: u32, pid: u32) {
        let Some(process) = self.processes.get(&id).filter(|process| process.pid == pid) else { return };
        // What it said and printed last has come, and counts.
        if let Some(conn) = process.conn {
            while matches!(self.read(conn), Ok(true)) {
                self.heard(conn);
            }
        }
        self.core.at(now());
        self.drain_text(id);
        self.tell_text(id);
        let Some(process) = self.processes.remove(&id) else { return };
        let child = process.watch.as_ref().filter(|_| process.is_child);
        let reason = ending(pid, child.map(|watch| watch.get_ref()), process.why.as_deref(), &mut self.oom);
        let begun = process.note.as_ref().map_or(process.begun, begun);
        if let Some(conn) = process.conn {
            self.conns.remove(&conn);
        }
        let line = format!("engine {id} (pid {pid}) {reason}");
        if process.leaving {
            self.note(&line);
        } else {
            self.say(&line);
        }
        if process.is_there {
            self.core.engine_left(id, &reason, begun);
        } else {
            let words = process.words.trim();
            let words = &words[words.ceil_char_boundary(words.len().saturating_sub(WORDS))..];
            let reason = if words.is_empty() { reason.clone() } else { format!("{reason}: {words}") };
            self.say(&format!("engine {id} never came: {reason}"));
            self.core.engine_failed(id, &reason);
        }
        if process.far.is_none() {
            self.arena.sweep_process(pid);
        }
        let soon = !process.is_there || now() - process.since < SOON;
        if self.over.is_none() && (process.again || (self.restart && !process.leaving && !soon)) {
            self.core.engines_starting(1);
            match process.far {
                Some((gateway, _)) => self.start_far(id, gateway),
                None => self.start_engine(id, self.engines_here().saturating_add(1)),
            }
        }
        self.engine_is_gone(id);
        self.turn();
    }

    /// A signal has come to the controller; whether it ends.
    pub(crate) fn signalled(&mut self, number: i32, again: bool) -> bool {
        const ENDS: [i32; 3] = [1, 2, 15];
        if !ENDS.contains(&number) {
            return false;
        }
        if again {
            for id in self.processes.keys().copied().collect::<Vec<_>>() {
                self.kill_engine(id);
            }
        } else {
            self.end_all(&format!("the controller was ended by signal {number}"));
        }
        true
    }
}

/// The number of the task that an engine has begun last, as it has noted it.
pub(crate) fn begun(note: &Block) -> u64 {
    note.word64(0).load(std::sync::atomic::Ordering::Acquire)
}

/// How a process has ended, in words: of a child of ours, which is reaped, with what it has left behind in its group.
pub(crate) fn ending(pid: u32, child: Option<&OwnedFd>, why: Option<&str>, oom: &mut OomKills) -> String {
    let how = child.and_then(reap);
    if let Some(pid) = Pid::from_raw(pid.cast_signed()).filter(|_| child.is_some()) {
        let _ = rustix::process::kill_process_group(pid, Signal::KILL);
    }
    let starved = matches!(how, Some(How::Signal(9))) && why.is_none() && oom.explain();
    match (why, how) {
        (Some(why), _) => why.to_owned(),
        (None, _) if starved => "was killed by the kernel, since memory ran out".to_owned(),
        (None, Some(how)) => how.words(),
        (None, None) => "ended".to_owned(),
    }
}

/// How a process has ended.
#[derive(Debug, Clone, Copy)]
enum How {
    Exit(i32),
    Signal(i32),
}

impl How {
    fn words(self) -> String {
        const NAMES: [(i32, &str); 9] = [
            (1, "SIGHUP"),
            (2, "SIGINT"),
            (4, "SIGILL"),
            (6, "SIGABRT"),
            (7, "SIGBUS"),
            (8, "SIGFPE"),
            (9, "SIGKILL"),
            (11, "SIGSEGV"),
            (15, "SIGTERM"),
        ];
        match self {
            How::Exit(status) => format!("exited with status {status}"),
            How::Signal(number) => match NAMES.iter().find(|(known, _)| *known == number) {
                Some((_, name)) => format!("was killed by signal {number} ({name})"),
                None => format!("was killed by signal {number}"),
            },
        }
    }
}

fn reap(watch: &OwnedFd) -> Option<How> {
    let status = rustix::process::waitid(WaitId::PidFd(watch.as_fd()), WaitIdOptions::EXITED | WaitIdOptions::NOHANG);
    let status = status.ok().flatten()?;
    match (status.exit_status(), status.terminating_signal()) {
        (Some(code), _) => Some(How::Exit(code)),
        (None, Some(signal)) => Some(How::Signal(signal)),
        _ => None,
    }
}

/// The name of this machine.
pub(crate) fn host() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}
