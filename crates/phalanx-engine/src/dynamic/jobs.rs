//! Two jobs meet ([why](../../../../docs/decisions/0021-ports-between-jobs.md)).
//!
//! The roots talk over a socket, both in the same way, so that a port and a socket of the program's serve alike:
//!
//! ```text
//! phalanx-meet 1 MACHINE NAMESPACES KEY PID FD NUMBER SLOT SLOTS    who they are, and where their memory is
//! guests CONTEXT SLOTS       the places of the other group in my job     (or: no REASON)
//! ready                      all of my group are in your job             (or: no REASON)
//! ```
//! The first line is answered by who accepts. Then each maps the other's memory, through the descriptor that the
//! other has open (the kernel lets nobody else's processes), and invites the other group. Each tells its own group, whose
//! processes enter; nobody sends before both have said `ready`.
//!
//! What is heard is looked at: numbers of slots must exist, the memory must be a universe with the key that was told and of this user,
//! in namespaces where process numbers mean the same.

use std::cell::Cell;
use std::fs::File;
use std::io::{ErrorKind, Read};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use phalanx_shm::{Offset, ProcId, ProcessTag, SlotState, Universe, inherit};
use phalanx_waits::{Kind, Peers};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags};

use crate::boot;
use crate::comm::Comm;
use crate::comm::inter::CONTEXTS;
use crate::engine::{Core, Engine, Entry, Told, Visit, Waiting};
use crate::error::{Error, ErrorClass, Result, fail};
use crate::group::Group;

use super::ports::{from_words, to_words};

/// What a socket says first begins with this: a mark and the version of what follows.
pub(super) const GREETING: &str = "phalanx-meet 1";

/// The longest line.
const LONGEST: usize = 64 << 10;

/// How long a read waits before progress is made again.
const LOOK: Duration = Duration::from_millis(2);

/// How often the process at the other end is asked whether it lives: a forked child may keep its end open.
const ASK_EVERY: Duration = Duration::from_millis(500);

/// How long the other end may take to read a line, for which its socket has room as a rule.
const WRITE: Duration = Duration::from_secs(10);

/// Contexts that a communicator can have.
const COMMS: std::ops::Range<u32> = 8..1 << 30;

/// How long somebody is waited for.
#[derive(Clone)]
pub(super) struct Patience {
    until: Option<Instant>,
    given: Duration,
    peer: Option<ProcessTag>,
    /// The process of this job at whose port somebody waits.
    owner: Option<ProcId>,
}

impl Patience {
    pub(super) fn endless() -> Patience {
        Patience { until: None, given: Duration::ZERO, peer: None, owner: None }
    }

    pub(super) fn of(timeout: Option<Duration>) -> Patience {
        let until = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        Patience { until, given: timeout.unwrap_or_default(), peer: None, owner: None }
    }

    /// The same, but at most so long from now on.
    pub(super) fn at_most(&self, limit: Duration) -> Patience {
        let limited = Patience::of(Some(limit));
        if self.until.is_some_and(|until| Some(until) < limited.until) { self.clone() } else { limited }
    }

    /// The same, for the process that has made the other end of a socket.
    pub(super) fn with_peer(mut self, socket: BorrowedFd<'_>) -> Patience {
        self.peer = inherit::peer_of(socket).filter(|(pid, _)| *pid != 0).map(|(pid, _)| ProcessTag::of(pid));
        self
    }

    /// The same, at a port of this process of the own job.
    pub(super) fn at_port_of(self, owner: Option<ProcId>) -> Patience {
        Patience { owner, ..self }
    }

    pub(super) fn is_over(&self) -> bool {
        self.until.is_some_and(|until| Instant::now() >= until)
    }

    pub(super) fn error(&self, what: &str) -> Error {
        let seconds = self.given.as_secs_f64();
        Error::new(ErrorClass::Port, format!("{what} within {seconds} s, the timeout that was given"))
    }

    /// Whether to go on waiting.
    pub(super) fn check(&self, engine: &Engine) -> Result<()> {
        engine.check_interrupt()?;
        if self.is_over() { Err(self.error("nobody has answered")) } else { Ok(()) }
    }
}

/// Whom a process has met.
pub(super) enum Found {
    /// A process of its own job, and the number that it told.
    Near(ProcId, u32),
    /// Another job.
    Far(Talk),
    OtherMachine,
    /// Nobody any more.
    HungUp,
}

/// The conversation with the root of another job, for the root of this one.
pub(super) struct Talk {
    socket: UnixStream,
    there: Universe,
    key: u64,
    pid: u32,
    fd: i32,
    ctx: u32,
    /// The others: as guests here, and at home.
    met: Vec<(ProcId, ProcId)>,
    /// This group, as guests there.
    guests: Vec<ProcId>,
    register: Offset,
    hosts: usize,
}

/// The first line of the other end.
pub(super) struct Greeting {
    pub(super) machine: String,
    home: u64,
    key: u64,
    pid: u32,
    fd: i32,
    number: u32,
    process: ProcId,
    pub(super) members: Vec<ProcId>,
}

fn slots(list: &[ProcId]) -> String {
    list.iter().map(|slot| slot.0.to_string()).collect::<Vec<_>>().join(",")
}

fn read_slots(list: &str) -> Option<Vec<ProcId>> {
    list.split(',').map(|slot| slot.parse().map(ProcId).ok()).collect()
}

impl Greeting {
    pub(super) fn read(line: &str) -> Option<Greeting> {
        let words: Vec<&str> = line.strip_prefix(GREETING)?.strip_prefix(' ')?.split(' ').collect();
        let [machine, home, key, pid, fd, number, process, members] = words[..] else { return None };
        Some(Greeting {
            machine: machine.to_owned(),
            home: u64::from_str_radix(home, 16).ok()?,
            key: u64::from_str_radix(key, 16).ok()?,
            pid: pid.parse().ok()?,
            fd: fd.parse().ok()?,
            number: number.parse().ok()?,
            process: ProcId(process.parse().ok()?),
            members: read_slots(members)?,
        })
    }
}

/// The universe behind a descriptor of another process.
fn universe_of(pid: u32, fd: i32, key: u64) -> Result<Universe> {
    let file = File::options().read(true).write(true).open(format!("/proc/{pid}/fd/{fd}"));
    let file = match file {
        Ok(file) => file,
        Err(e) if e.kind() == ErrorKind::NotFound => {
            fail!(ProcAborted, "process {pid} of the other job has ended")
        }
        Err(e) => fail!(
            Other,
            "the memory of the other job, which process {pid} has open, cannot be mapped: {e}; jobs meet that one user has \
             started, outside containers or all in the same one"
        ),
    };
    let strange = |e: phalanx_shm::ShmError| Error::new(ErrorClass::Other, format!("the memory of the other job: {e}"));
    let universe = Universe::attach(OwnedFd::from(file)).map_err(strange)?;
    let own = rustix::process::geteuid().as_raw();
    let owner = universe.owner().map_err(strange)?;
    if owner != own {
        fail!(Other, "the other job is of user {owner}, this one of user {own}; jobs meet that one user has started");
    }
    if universe.key().map_err(strange)? != key {
        fail!(Other, "process {pid} has other memory open than it told of");
    }
    if !universe.is_at_home() {
        fail!(Other, "the other job is in another container (its process numbers mean something else)");
    }
    Ok(universe)
}

/// Says a line; whether there is anybody at the other end. In a C program, where SIGPIPE ends the process, too.
fn say(socket: &UnixStream, line: &str) -> Result<bool> {
    let line = format!("{line}\n");
    let (mut rest, until) = (line.as_bytes(), Instant::now() + WRITE);
    while !rest.is_empty() {
        match rustix::net::send(socket, rest, SendFlags::NOSIGNAL) {
            Ok(sent) => rest = &rest[sent..],
            Err(Errno::PIPE | Errno::CONNRESET) => return Ok(false),
            Err(Errno::INTR) => {}
            // A socket of the program's may be one that does not block.
            Err(Errno::AGAIN) if Instant::now() < until => std::thread::sleep(LOOK),
            Err(e) => fail!(Other, "the socket cannot be written to: {e}"),
        }
    }
    Ok(true)
}

/// Reads a line, to its last byte and no further. `None` at the end.
fn hear(engine: &Engine, mut socket: &UnixStream, patience: &Patience) -> Result<Option<String>> {
    let (mut line, mut asked) = (Vec::new(), Instant::now());
    loop {
        let mut byte = [0];
        match socket.read(&mut byte) {
            Ok(0) => return Ok(None),
            Ok(_) if byte == *b"\n" => return Ok(Some(String::from_utf8_lossy(&line).into_owned())),
            Ok(_) if line.len() == LONGEST => return Ok(Some(String::from_utf8_lossy(&line[..64]).into_owned())),
            Ok(_) => line.push(byte[0]),
            Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted) => {
                patience.check(engine)?;
                engine.progress()?;
                if asked.elapsed() > ASK_EVERY {
                    asked = Instant::now();
                    if patience.peer.is_some_and(ProcessTag::is_dead) {
                        return Ok(None);
                    }
                }
                // A socket that does not block gives no pause of its own.
                std::thread::sleep(Duration::from_micros(200));
            }
            Err(e) if e.kind() == ErrorKind::ConnectionReset => return Ok(None),
            Err(e) => fail!(Arg, "the socket cannot be read: {e}"),
        }
    }
}

/// Waits until the process of this job that has opened a port accepts there, or hangs up. Only that process can, and it rings
/// when it has: so this wait can be part of a proof that nobody can go on. (One at a port of another job cannot: what that job waits for, its own
/// notes say.)
fn wait_at_port(engine: &Engine, socket: &UnixStream, owner: ProcId, patience: &Patience) -> Result<()> {
    let gone = Cell::new(false);
    let ready = |_: &mut Core| {
        let flags = RecvFlags::PEEK | RecvFlags::DONTWAIT;
        match rustix::net::recv(socket, &mut [0], flags) {
            Err(Errno::AGAIN | Errno::INTR) if gone.get() => Some(Ok(())),
            Err(Errno::AGAIN | Errno::INTR) => patience.is_over().then(|| Err(patience.error("nobody has accepted"))),
            // A line, the end, or an error, which who reads the line finds again.
            _ => Some(Ok(())),
        }
    };
    let mut look = || {
        gone.set(patience.peer.is_some_and(ProcessTag::is_dead));
        None
    };
    let rank = engine.world().group().rank_of(owner);
    let name = rank.map_or_else(|| format!("the process in slot {owner}"), |rank| format!("rank {rank}"));
    let tell = |_: &mut Core, told: &mut Told| match patience.until {
        None => told.add(Kind::Port, Peers::one(owner.0), format!("to a port of {name}, for it to accept")),
        Some(_) => told.unknown(),
    };
    engine.block_unless(Waiting::on("Comm_connect", 0).for_what(&tell), ready, &mut look)
}

/// Greets the other end of a socket, and finds out whether it is of this job; with another job the two groups are
/// invited. `number` is told to the other end. A process that has greeted is waited for as long as it lives, also while it is
/// stopped: `first_line` limits only how long one may say nothing at all.
pub(super) fn greet(
    comm: &Comm,
    socket: UnixStream,
    patience: &Patience,
    first_line: Option<Duration>,
    number: u32,
) -> Result<Found> {
    let engine = comm.engine();
    let system = |e: &dyn std::fmt::Display| Error::new(ErrorClass::Arg, format!("the socket: {e}"));
    if let Some((_, theirs)) = inherit::peer_of(socket.as_fd())
        && theirs != rustix::process::geteuid().as_raw()
    {
        fail!(Port, "the other job is of user {theirs}; jobs meet that one user has started");
    }
    socket.set_read_timeout(Some(LOOK)).map_err(|e| system(&e))?;
    socket.set_write_timeout(Some(WRITE)).map_err(|e| system(&e))?;
    let universe = engine.universe();
    let known = |e: phalanx_shm::ShmError| Error::new(ErrorClass::Other, e.to_string());
    let key = universe.key().map_err(known)?;
    let members = comm.group().members();
    let (machine, pid) = (boot::machine(), std::process::id());
    let is_heard = say(
        &socket,
        &format!(
            "{GREETING} {machine} {:x} {key:x} {pid} {} {number} {} {}",
            universe.home(),
            universe.fd().as_raw_fd(),
            engine.me().0,
            slots(members)
        ),
    )?;
    if let Some(owner) = patience.owner {
        wait_at_port(engine, &socket, owner, patience)?;
    }
    let first = first_line.map_or_else(|| patience.clone(), |limit| patience.at_most(limit));
    let Some(line) = hear(engine, &socket, &first)?.filter(|_| is_heard) else {
        return Ok(Found::HungUp);
    };
    let Some(theirs) = Greeting::read(&line) else {
        let said: String = line.chars().take(100).collect();
        fail!(Other, "the other end of the socket says '{said}' instead of joining");
    };
    if theirs.machine != machine {
        return Ok(Found::OtherMachine);
    }
    if theirs.key == key {
        if !universe.has(theirs.process) {
            fail!(Other, "the other end says that it is process {}, which there is not", theirs.process);
        }
        // It may sleep, and a note of its wait may be there: from here on that is not true any more.
        engine.notify(theirs.process);
        return Ok(Found::Near(theirs.process, theirs.number));
    }
    talk(comm, socket, patience, &theirs).map(Found::Far)
}

/// The second line: room for the other group here, and for this one there.
fn talk(comm: &Comm, socket: UnixStream, patience: &Patience, theirs: &Greeting) -> Result<Talk> {
    let engine = comm.engine();
    let universe = engine.universe();
    let mapped = if theirs.home != universe.home() || !universe.is_at_home() {
        Err(Error::new(
            ErrorClass::Other,
            "the other job is in another container (its process numbers mean something else); jobs meet in one",
        ))
    } else {
        universe_of(theirs.pid, theirs.fd, theirs.key)
    };
    let invited = mapped.and_then(|there| {
        let (guests, register) = engine.invite(&there, &theirs.members, comm.group())?;
        Ok((there, guests, register))
    });
    let (there, guests, register) = match invited {
        Ok(invited) => invited,
        Err(error) => {
            let _ = say(&socket, &format!("no {}", one_line(error.message())));
            return Err(error);
        }
    };
    let hosts = comm.group().size();
    let met: Vec<_> = guests.into_iter().zip(theirs.members.iter().copied()).collect();
    let (key, pid, fd) = (theirs.key, theirs.pid, theirs.fd);
    let mut talk = Talk { socket, there, key, pid, fd, ctx: 0, met, guests: Vec::new(), register, hosts };
    let agreed = talk.agree(comm, patience);
    match agreed {
        Ok(()) => Ok(talk),
        Err(error) => {
            talk.break_off(comm, &error);
            Err(error)
        }
    }
}

fn one_line(text: &str) -> String {
    text.replace('\n', " ")
}

impl Talk {
    fn agree(&mut self, comm: &Comm, patience: &Patience) -> Result<()> {
        let engine = comm.engine();
        let own = engine.identities(comm.group())?;
        let is_low = own.first() < self.met.first().map(|(_, there)| [self.key, u64::from(there.0)]).as_ref();
        let mut ctx = 0;
        if is_low {
            ctx = phalanx_shm::common_contexts(&[engine.universe(), &self.there], CONTEXTS)
                .map_err(|e| Error::new(ErrorClass::Other, e.to_string()))?;
        }
        let here: Vec<ProcId> = self.met.iter().map(|(here, _)| *here).collect();
        // Who has hung up has said why.
        say(&self.socket, &format!("guests {ctx} {}", slots(&here)))?;
        let line = self.hear(engine, patience)?;
        let told = line.strip_prefix("guests ").and_then(|rest| rest.split_once(' '));
        let told = told.and_then(|(ctx, list)| Some((ctx.parse::<u32>().ok()?, read_slots(list)?)));
        let Some((theirs, guests)) = told.filter(|(_, guests)| guests.len() == self.hosts) else {
            fail!(Other, "the other job does not say where this group is to be");
        };
        self.ctx = if is_low { ctx } else { theirs };
        if !COMMS.contains(&self.ctx) || !self.ctx.is_multiple_of(4) {
            fail!(Other, "the other job tells a context that there is not: {}", self.ctx);
        }
        self.guests = guests;
        Ok(())
    }

    /// The next line, which says that all is well.
    fn hear(&self, engine: &Engine, patience: &Patience) -> Result<String> {
        let patience = patience.clone().with_peer(self.socket.as_fd());
        match hear(engine, &self.socket, &patience)? {
            None => fail!(ProcAborted, "the other job has ended, or its root has given up, while the two met"),
            Some(line) => match line.strip_prefix("no ") {
                Some(reason) => fail!(Other, "the other job refuses: {reason}"),
                None => Ok(line),
            },
        }
    }

    /// Tells the other root that all of this group are there, and waits for the same from it.
    pub(super) fn seal(&self, comm: &Comm) -> Result<()> {
        // Who has hung up has said why.
        say(&self.socket, "ready")?;
        match self.hear(comm.engine(), &Patience::endless())?.as_str() {
            "ready" => Ok(()),
            other => fail!(Other, "the other job says '{}' instead of being ready", one_line(other)),
        }
    }

    /// Tells the other root that the meeting is given up, and why.
    pub(super) fn refuse(&self, why: &Error) {
        let _ = say(&self.socket, &format!("no {}", one_line(why.message())));
    }

    /// Gives the meeting up for all of this group, none of which has been told of it.
    fn break_off(&self, comm: &Comm, why: &Error) {
        self.refuse(why);
        (0..self.hosts).for_each(|rank| self.decline(comm, rank));
    }

    /// Gives the places up of a process of this group that has not entered, and does not. (One that has, leaves: the places may be
    /// another's after this.)
    pub(super) fn decline(&self, comm: &Comm, rank: usize) {
        if let Some(guest) = self.guests.get(rank).filter(|guest| self.there.has(**guest)) {
            self.there.slot(*guest).set_state(SlotState::Finalized);
        }
        comm.engine().let_go(self.register, rank);
    }

    /// What the group has to know.
    pub(super) fn words(&self) -> Vec<u32> {
        let head =
            [self.pid.into(), u64::from(self.fd.cast_unsigned()), self.key, self.ctx.into(), self.register.get()];
        let met = self.met.iter().flat_map(|(here, there)| [u64::from(here.0), u64::from(there.0)]);
        let guests = self.guests.iter().map(|guest| u64::from(guest.0));
        to_words(head.into_iter().chain([self.met.len() as u64]).chain(met).chain(guests))
    }
}

/// Enters the other job, of which the root has told: the visit, the other group and the context.
pub(super) fn enter(comm: &Comm, words: &[u32], talk: Option<&Talk>) -> Result<(Arc<Visit>, Group, u32)> {
    let values = from_words(words);
    let [pid, fd, key, ctx, register, count, lists @ ..] = &values[..] else {
        fail!(Intern, "a meeting of which nothing is told");
    };
    let slot = |value: &u64| ProcId(*value as u32);
    let (met, guests) = lists.split_at((2 * *count as usize).min(lists.len()));
    let met: Vec<_> = met.chunks_exact(2).map(|pair| (slot(&pair[0]), slot(&pair[1]))).collect();
    let rank = comm.rank() as usize;
    let Some(guest) = guests.get(rank).map(slot) else { fail!(Intern, "no place for rank {rank} in the other job") };
    let (register, engine) = (Offset::new(*register), comm.engine());
    let mapped = match talk {
        Some(talk) => Ok(talk.there.clone()),
        None => universe_of(*pid as u32, (*fd as u32).cast_signed(), *key),
    };
    let remote = Group::new(met.iter().map(|(here, _)| *here).collect());
    let entered = mapped.and_then(|there| {
        let entry = Entry { there: there.clone(), guest, met, register };
        engine.enter_job(entry, rank).inspect_err(|_| {
            if there.has(guest) {
                there.slot(guest).set_state(SlotState::Finalized);
            }
        })
    });
    match entered {
        Ok(visit) => Ok((visit, remote, *ctx as u32)),
        Err(error) => {
            engine.let_go(register, rank);
            Err(error)
        }
    }
}
