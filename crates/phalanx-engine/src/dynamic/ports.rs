//! Groups without a communicator in common meet: at a port, or over a socket (MPI 5.0 §11.9).
//!
//! A port is a listening socket without a file: its name is in the abstract namespace, so that nothing is left of it when its
//! process ends, however that happens, and who connects to it then is refused at once. The port's name says which job and
//! process it is of, and has a secret part, as the socket has. Who connects waits for the greeting of a process that
//! accepts; closing the port hangs up on all who wait. The two then know whether they are of one job: within
//! one, the roots make a communicator of themselves and over it an intercommunicator of their groups. How two jobs meet is in
//! [`jobs`](super::jobs).

use std::cell::Cell;
use std::collections::HashMap;
use std::io::{ErrorKind, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use phalanx_shm::{ProcId, ProcessTag, Universe, inherit};
use rustix::net::{AddressFamily, Shutdown, SocketAddrUnix, SocketFlags, SocketType};

use crate::boot;
use crate::comm::Comm;
use crate::comm::inter::{halves, whole};
use crate::engine::{Core, Engine, Waiting};
use crate::error::{Error, ErrorClass, Result, fail};
use crate::group::Group;

use super::jobs::{Found, Patience, Talk, greet};

/// Whom the root of a group has found.
enum Met {
    /// A process of its own job, and a word that only these two know.
    Near(ProcId, u64),
    Far(Talk),
}

/// How many processes that have ended are named in an error.
const NAMED: usize = 4;

/// How long who connects may take for the first line, which it sends at once. Who takes longer calls again.
const FIRST_LINE: Duration = Duration::from_secs(10);

/// Pause between two attempts to connect to a port at which very many wait already.
const PAUSE: Duration = Duration::from_millis(10);

/// First of the words that tell a group whom it meets: processes of the same job, or of another.
const NEAR: u32 = 0;
const FAR: u32 = 1;

/// The ports that a process has open, by number.
#[derive(Default)]
pub(crate) struct OpenPorts {
    open: Mutex<HashMap<u32, Arc<Listener>>>,
    /// Names have been published.
    pub(super) published: AtomicBool,
}

/// Where a port listens. (Fields are dropped in their order: who waits is rung for when the socket is closed.)
struct Listener {
    socket: UnixListener,
    _bell: Bell,
}

/// Rings for all processes of the job. Those that wait at a port which is closed can go on, and whoever proves from their notes
/// ([`notice`](crate::engine)) that they never can must know of it before the process that has closed it waits for anybody.
struct Bell(Universe);

impl Drop for Bell {
    fn drop(&mut self) {
        for slot in 0..self.0.claimed() {
            self.0.slot(ProcId(slot)).notify();
        }
    }
}

/// A port, as its name tells it.
pub(super) struct Port {
    /// The universe of its job.
    key: u64,
    owner: ProcId,
    number: u32,
    secret: u64,
}

impl Port {
    pub(super) fn name(&self) -> String {
        format!("phalanx:{}:{:x}:{}:{}:{:016x}", boot::machine(), self.key, self.owner.0, self.number, self.secret)
    }

    /// The name of its socket.
    pub(super) fn address(&self) -> String {
        format!("phalanx-port-{:x}-{}-{}-{:016x}", self.key, self.owner.0, self.number, self.secret)
    }

    /// The port with this name.
    pub(super) fn of(name: &str) -> Result<Port> {
        let name = &shown(name);
        let Some(place) = name.strip_prefix("phalanx:") else {
            fail!(Port, "'{name}' is not the name of a port; MPI_Open_port gives one");
        };
        let mut parts = place.split(':');
        let machine = parts.next().unwrap_or_default();
        let mut number = |radix| parts.next().and_then(|part| u64::from_str_radix(part, radix).ok());
        let (Some(key), Some(owner), Some(count), Some(secret)) = (number(16), number(10), number(10), number(16))
        else {
            fail!(Port, "'{name}' is not the name of a port: it is not whole");
        };
        let (Ok(owner), Ok(number), None) = (u32::try_from(owner).map(ProcId), u32::try_from(count), parts.next())
        else {
            fail!(Port, "'{name}' is not the name of a port: it is not whole");
        };
        if machine != boot::machine() {
            fail!(
                Port,
                "port '{name}' is of another machine, or of an earlier start of this one; jobs on the embedded engine meet on \
                 one machine, those of several machines on the MPI library of the site"
            );
        }
        Ok(Port { key, owner, number, secret })
    }
}

/// As much of a name as errors repeat; more than any port has.
fn shown(name: &str) -> String {
    name.chars().take(160).collect()
}

fn closed(name: &str) -> Error {
    Error::new(
        ErrorClass::Port,
        format!("port '{name}' is not open: it was closed, its process has ended, or it is in another container"),
    )
}

impl Engine {
    fn open_ports(&self) -> std::sync::MutexGuard<'_, HashMap<u32, Arc<Listener>>> {
        self.ports().open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Opens a port and gives its name (`MPI_Open_port`).
    ///
    /// # Errors
    /// Class `Other` when no socket can be had.
    pub fn open_port(&self) -> Result<String> {
        let failed = |e: &dyn std::fmt::Display| Error::new(ErrorClass::Other, format!("no port can be opened: {e}"));
        let mut secret = [0; 8];
        rustix::rand::getrandom(&mut secret, rustix::rand::GetRandomFlags::empty()).map_err(|e| failed(&e))?;
        let port = Port {
            key: self.universe().key().map_err(|e| failed(&e))?,
            owner: self.me(),
            number: self.universe().next_contexts(1),
            secret: u64::from_ne_bytes(secret),
        };
        let address = SocketAddr::from_abstract_name(port.address()).map_err(|e| failed(&e))?;
        let socket = UnixListener::bind_addr(&address).map_err(|e| failed(&e))?;
        socket.set_nonblocking(true).map_err(|e| failed(&e))?;
        let listener = Listener { socket, _bell: Bell(self.universe().clone()) };
        self.open_ports().insert(port.number, Arc::new(listener));
        Ok(port.name())
    }

    /// Closes a port of this process; who waits there is refused (`MPI_Close_port`).
    ///
    /// # Errors
    /// Class `Port` when it is not an open port of this process.
    pub fn close_port(&self, name: &str) -> Result<()> {
        let (port, listener) = self.own_port(name)?;
        self.open_ports().remove(&port.number);
        // Another thread may wait there.
        let _ = rustix::net::shutdown(&listener.socket, Shutdown::Both);
        // A forked child may have the socket as well, and it would stay open for those who wait.
        while listener.socket.accept().is_ok() {}
        Ok(())
    }

    /// Closes all ports of this process, which ends, and takes its names back.
    pub(crate) fn close_ports(&self) {
        self.open_ports().clear();
        if self.ports().published.load(Ordering::Relaxed) {
            self.forget_names();
        }
    }

    fn own_port(&self, name: &str) -> Result<(Port, Arc<Listener>)> {
        let port = Port::of(name)?;
        if port.owner != self.me() || self.universe().key().ok() != Some(port.key) {
            fail!(Port, "port '{name}' was opened by another process, and only that can accept there or close it");
        }
        let open = self.open_ports().get(&port.number).cloned();
        match open {
            Some(listener) => Ok((port, listener)),
            None => Err(closed(name)),
        }
    }

    /// A connection to the process that has opened a port.
    fn call(&self, name: &str, port: &Port, patience: &Patience) -> Result<UnixStream> {
        let failed =
            |e: rustix::io::Errno| Error::new(ErrorClass::Other, format!("no connection to port '{name}': {e}"));
        let address = SocketAddrUnix::new_abstract_name(port.address().as_bytes()).map_err(failed)?;
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None).map_err(failed)?;
        loop {
            match rustix::net::connect(&socket, &address) {
                Ok(()) => break,
                // All places of the queue are taken.
                Err(rustix::io::Errno::AGAIN) => {
                    patience.check(self)?;
                    self.progress()?;
                    std::thread::sleep(PAUSE);
                }
                Err(rustix::io::Errno::INTR) => patience.check(self)?,
                Err(rustix::io::Errno::CONNREFUSED) => return Err(closed(name)),
                Err(e) => return Err(failed(e)),
            }
        }
        let socket = UnixStream::from(socket);
        socket.set_nonblocking(false).map_err(|e| Error::new(ErrorClass::Other, e.to_string()))?;
        if self.universe().key().ok() == Some(port.key) && self.universe().has(port.owner) {
            // It sleeps in our universe; elsewhere it looks now and then.
            self.notify(port.owner);
        }
        Ok(socket)
    }

    /// Joins with the process at the other end of a connected socket (`MPI_Comm_join`); `None` when that is on another
    /// machine, or this very process. What the two say before that is read to its last byte and no further.
    ///
    /// # Errors
    /// Class `Arg` for what is no connected stream socket; class `Other` when the other end does not greet as we do, or is
    /// of a job that this one cannot meet.
    pub fn join(&self, fd: i32) -> Result<Option<Comm>> {
        self.join_unnamed(fd).map_err(|e| if e.is_interrupted() { e } else { e.context("Comm_join") })
    }

    fn join_unnamed(&self, fd: i32) -> Result<Option<Comm>> {
        if self.pmi().as_ref().is_some_and(|pmi| pmi.fd().as_raw_fd() == fd) {
            fail!(Arg, "descriptor {fd} is the connection to the launcher");
        }
        let what = |why: &dyn std::fmt::Display| {
            Error::new(ErrorClass::Arg, format!("descriptor {fd} is no connected stream socket: {why}"))
        };
        let socket: OwnedFd = inherit::duplicate(fd).map_err(|e| what(&e))?;
        // Of any family: only read from and written to.
        let socket = UnixStream::from(socket);
        rustix::net::getpeername(&socket).map_err(|e| what(&e))?;
        let before = [socket.read_timeout(), socket.write_timeout()].map(std::result::Result::ok);
        let own = self.self_comm();
        let drawn = self.universe().next_contexts(1);
        let mut strange = false;
        let met = own.meet_over(0, || {
            match greet(&own, socket.try_clone().map_err(|e| what(&e))?, &Patience::endless(), None, drawn) {
                Ok(Found::Near(process, other)) if process != self.me() => {
                    Ok(Met::Near(process, whole(drawn.min(other), drawn.max(other))))
                }
                Ok(Found::Far(talk)) => Ok(Met::Far(talk)),
                Ok(Found::HungUp) => fail!(Other, "the other end of the socket closed it before it joined"),
                Ok(Found::Near(..) | Found::OtherMachine) => {
                    strange = true;
                    fail!(Other, "the other end is this process, or on another machine")
                }
                Err(error) => Err(error),
            }
        });
        // The socket is the caller's: as it was before.
        let [reading, writing] = before;
        let _ = reading.map(|time| socket.set_read_timeout(time));
        let _ = writing.map(|time| socket.set_write_timeout(time));
        if strange { Ok(None) } else { met.map(Some) }
    }
}

impl Comm {
    /// Waits at a port for a group that connects, of this job or of another one of the same user; gives the
    /// intercommunicator with it (`MPI_Comm_accept`). All processes of this intracommunicator call it; `port` and `timeout`
    /// matter at the root.
    ///
    /// # Errors
    /// Class `Port`, on all ranks, when the root's name is not that of an open port of its own, or nobody has connected in
    /// time; class `Root`; class `ProcAborted` when the other job ends meanwhile.
    pub fn accept(&self, port: &str, root: i32, timeout: Option<Duration>) -> Result<Comm> {
        let accepted = || {
            self.within_one_job("processes of one job accept together")?;
            let (port, listener) = self.engine().own_port(port)?;
            let patience = Patience::of(timeout);
            loop {
                let socket = self.next_caller(&listener.socket, &patience)?;
                match greet(self, socket, &patience, Some(FIRST_LINE), port.number) {
                    Ok(Found::Near(process, _)) => return Ok(Met::Near(process, port.number.into())),
                    Ok(Found::Far(talk)) => return Ok(Met::Far(talk)),
                    Err(e) if e.is_interrupted() || e.class() == ErrorClass::NoMem => return Err(e),
                    // Who goes away before the two have met, or is nobody that can be met, is not waited for.
                    Ok(Found::OtherMachine | Found::HungUp) | Err(_) => {}
                }
            }
        };
        self.creating("Comm_accept", self.gathered(root).and_then(|()| self.meet_over(root, accepted)))
    }

    /// Waits for all: when the root waits, the others can be no more than waiting with it, and who has not started yet
    /// cannot be met.
    fn gathered(&self, root: i32) -> Result<()> {
        let is_collective = !self.is_inter() && self.size() > 1 && (0..self.size()).contains(&root);
        if is_collective { self.barrier() } else { Ok(()) }
    }

    /// Waits for the next that connects. Says so once when nobody of this job can.
    fn next_caller(&self, listener: &UnixListener, patience: &Patience) -> Result<UnixStream> {
        let engine = self.engine();
        let (mut since, told) = (None, Cell::new(false));
        let ready = |_: &mut Core| match listener.accept() {
            Ok((socket, _)) => Some(Ok(socket)),
            Err(e)
                if matches!(
                    e.kind(),
                    ErrorKind::WouldBlock | ErrorKind::Interrupted | ErrorKind::ConnectionAborted
                ) =>
            {
                patience.is_over().then(|| Err(patience.error("nobody has connected")))
            }
            Err(e) if e.kind() == ErrorKind::InvalidInput => {
                Some(Err(Error::new(ErrorClass::Port, "the port was closed by another thread")))
            }
            Err(e) => Some(Err(Error::new(ErrorClass::Other, format!("the port cannot be listened at: {e}")))),
        };
        let mut look = || {
            match engine.all_but(self.group()) {
                Some((ended, hope)) if !ended.is_empty() && !told.get() => {
                    if since.get_or_insert_with(Instant::now).elapsed() > hope {
                        told.set(true);
                        let _ = std::io::stderr().write_all(self.nobody_comes(&ended).as_bytes());
                    }
                }
                _ => since = None,
            }
            None
        };
        engine.block_unless(Waiting::on("Comm_accept", 0), ready, &mut look)
    }

    /// What is said of a wait at a port when the others of the job have ended.
    #[cold]
    fn nobody_comes(&self, ended: &[ProcId]) -> String {
        let world = self.engine().world();
        let name = |process: &ProcId| match world.group().rank_of(*process) {
            Some(rank) => format!("rank {rank}"),
            None => format!("the process in slot {}", process.0),
        };
        let mut names: Vec<_> = ended.iter().take(NAMED).map(name).collect();
        if ended.len() > NAMED {
            names.push(format!("{} more", ended.len() - NAMED));
        }
        format!(
            "phalanx: rank {}: MPI_Comm_accept waits on {} for somebody to connect, and all other processes of the job have \
             ended ({}); it goes on waiting, since another job may connect (the info key 'timeout' gives it an end)\n",
            world.rank(),
            self.title(),
            names.join(", ")
        )
    }

    /// Connects to the group that accepts at a port, of this job or of another one of the same user; gives the
    /// intercommunicator with it (`MPI_Comm_connect`). All processes of this intracommunicator call it; `port` and `timeout`
    /// matter at the root.
    ///
    /// # Errors
    /// Class `Port`, on all ranks, when the root's name is not that of an open port of another process, it is closed or its
    /// process ends before anybody accepts, or nobody accepts in time; class `Root`; class `ProcAborted` when the other job ends meanwhile.
    pub fn connect(&self, port: &str, root: i32, timeout: Option<Duration>) -> Result<Comm> {
        let connected = || {
            self.within_one_job("processes of one job connect together")?;
            let (name, port) = (shown(port), Port::of(port)?);
            let engine = self.engine();
            if port.owner == engine.me() && engine.universe().key().ok() == Some(port.key) {
                engine.own_port(&name)?;
                fail!(Port, "port '{name}' is this process's own, and a process cannot be on both sides");
            }
            let is_near = engine.universe().key().ok() == Some(port.key) && engine.universe().has(port.owner);
            let patience = Patience::of(timeout).at_port_of(is_near.then_some(port.owner));
            let mut socket = engine.call(&name, &port, &patience)?;
            loop {
                let patience = patience.clone().with_peer(socket.as_fd());
                match greet(self, socket, &patience, None, port.number)? {
                    Found::Near(process, _) => return Ok(Met::Near(process, port.number.into())),
                    Found::Far(talk) => return Ok(Met::Far(talk)),
                    Found::OtherMachine => fail!(Port, "port '{name}' is of another machine"),
                    // Who was stopped before its greeting is not waited for at a port that is open; it calls again.
                    Found::HungUp => {
                        std::thread::sleep(PAUSE);
                        patience.check(engine)?;
                        let closed = || {
                            Error::new(
                                ErrorClass::Port,
                                format!("port '{name}' was closed, or its process has ended, before anybody accepted"),
                            )
                        };
                        // A forked child of a process that has ended may still have the socket.
                        if is_near && engine.universe().process(port.owner).is_none_or(ProcessTag::is_dead) {
                            return Err(closed());
                        }
                        socket = engine.call(&name, &port, &patience).map_err(|error| match error.class() {
                            ErrorClass::Port if !patience.is_over() => closed(),
                            _ => error,
                        })?;
                    }
                }
            }
        };
        self.creating("Comm_connect", self.gathered(root).and_then(|()| self.meet_over(root, connected)))
    }

    /// An intercommunicator with the group of the process that `find`, at the root, has found.
    fn meet_over(&self, root: i32, find: impl FnOnce() -> Result<Met>) -> Result<Comm> {
        if self.is_inter() {
            fail!(
                Comm,
                "{} is an intercommunicator; the local communicator must be an intracommunicator",
                self.title()
            );
        }
        if root < 0 || root >= self.size() {
            fail!(Root, "root {root} does not exist in a communicator of {} processes", self.size());
        }
        let mut talk = None;
        let told = self.told_by(root, || match find()? {
            Met::Near(other, word) => {
                let met = self.meet_near(other, word)?;
                Ok([vec![NEAR], met].concat())
            }
            Met::Far(met) => {
                let words = met.words();
                talk = Some(met);
                Ok([vec![FAR], words].concat())
            }
        });
        match (told, talk) {
            (Ok(words), talk) if words.first() == Some(&FAR) => self.meet_far(root, &words[1..], talk),
            (Ok(words), _) => {
                let [_, first, members @ ..] = &words[..] else { fail!(Intern, "a meeting without a context") };
                let remote = Group::new(members.iter().copied().map(ProcId).collect());
                self.apart_from(&remote)?;
                Ok(self.inter(*first, self.rank() as usize, self.group().clone(), remote))
            }
            (Err(error), Some(talk)) => {
                // Others of the group may have been told: they find out, and leave by themselves.
                talk.refuse(&error);
                talk.decline(self, root as usize);
                Err(error)
            }
            (Err(error), None) => Err(error),
        }
    }

    /// The roots of two groups of one job make an intercommunicator over one of themselves: its first context, and the members.
    fn meet_near(&self, other: ProcId, word: u64) -> Result<Vec<u32>> {
        let me = self.engine().me();
        let pair = Group::new(vec![me.min(other), me.max(other)]);
        let leaders = Comm::from_group(self.engine(), &pair, &format!("port {word}"))?;
        let met = self.meet(Some(&leaders), i32::from(me < other), 0);
        leaders.free();
        let (first, members) = met?;
        Ok([first].into_iter().chain(members.iter().map(|[_, slot]| *slot as u32)).collect())
    }

    /// All processes of the group enter the other job; then the two roots tell each other that all have.
    fn meet_far(&self, root: i32, words: &[u32], talk: Option<Talk>) -> Result<Comm> {
        let entered = super::jobs::enter(self, words, talk.as_ref());
        let settled = self.settle("meeting another job", entered);
        let sealed = match settled {
            Ok(entered) => {
                self.done_by(root, || talk.as_ref().map_or(Ok(()), |talk| talk.seal(self))).map(|()| entered)
            }
            Err(error) => Err(error),
        };
        match sealed {
            Ok((visit, remote, ctx)) => {
                let comm = self.inter(ctx, self.rank() as usize, self.group().clone(), remote);
                drop(visit);
                Ok(comm)
            }
            Err(error) => {
                if let Some(talk) = talk {
                    talk.refuse(&error);
                }
                self.engine().end_visits();
                Err(error)
            }
        }
    }
}

/// As words that every rank is told.
pub(super) fn to_words(values: impl IntoIterator<Item = u64>) -> Vec<u32> {
    values.into_iter().flat_map(halves).collect()
}

/// Back from [`to_words`].
pub(super) fn from_words(words: &[u32]) -> Vec<u64> {
    words.chunks_exact(2).map(|pair| whole(pair[0], pair[1])).collect()
}
