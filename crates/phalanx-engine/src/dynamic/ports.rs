//! Groups without a communicator in common meet: at a port, or over a socket (MPI 5.0 §11.9).
//!
//! A port is a block in the universe with a number that no other port has; its name says whose it is and where the block
//! lies. Who connects looks at the block first: a port that is closed, or one of another job, is an error at once. It
//! counts itself there, sends a word to the port's owner, in a context of its own and tagged with the number, and waits
//! for the answer: the owner accepts or, when it closes the port, refuses. The two roots then make a communicator of
//! themselves, and over it an intercommunicator of their groups.
//!
//! Nobody is forgotten: counting fails once the port is closed, and whoever closes it waits for the words of all that were
//! counted before and have not been answered.
//!
//! # Block of a port (words of 64 bits)
//!
//! | word | content |
//! |---|---|
//! | 0 | [`PORT`], 0 before the block is given back |
//! | 1 | its number in the high half; then twice the count of those who wait for an answer, and [`OPEN`] |

use std::cell::Cell;
use std::io::{ErrorKind, Read, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use phalanx_shm::{Offset, ProcId, inherit};

use crate::boot;
use crate::coll::Dst;
use crate::coll::schedule::{Peer, Plan};
use crate::comm::Comm;
use crate::engine::{Core, Engine, Pattern, Waiting};
use crate::error::{Error, ErrorClass, Result, fail};
use crate::group::Group;
use crate::status::ANY_SOURCE;

/// First word of the block of a port.
const PORT: u64 = u64::from_le_bytes(*b"PHXPORT\0");

/// In the second word: the port is open.
const OPEN: u64 = 1;
/// In the second word: one who waits for an answer.
const ONE: u64 = 2;

/// The context of what is said at ports; those below the first world's belong to no communicator.
const PORTS: u32 = 2;

/// What the owner of a port answers.
const ACCEPTED: u32 = 1;
const REFUSED: u32 = 2;

/// What a socket says before the two sides have met begins with this.
const GREETING: &str = "phalanx-join";

/// The longest greeting.
const LONGEST_GREETING: usize = 256;

/// How many processes that have ended are named in an error.
const NAMED: usize = 4;

/// How long a read waits before it looks whether it was interrupted.
const LOOK: Duration = Duration::from_millis(100);

/// A port, as its name tells it.
struct Port {
    owner: ProcId,
    number: u32,
    block: Offset,
}

impl Port {
    /// Its tag in [`PORTS`].
    fn tag(&self) -> i32 {
        (self.number & i32::MAX as u32) as i32
    }

    /// Whether its second word says that it is open.
    fn is_open(&self, word: u64) -> bool {
        word >> 32 == u64::from(self.number) && word & OPEN != 0
    }

    /// The way to the process on the other side.
    fn to(&self, process: ProcId) -> Peer {
        Peer { proc: process, rank: process.0 as i32, ctx: PORTS }
    }
}

impl Engine {
    /// What tells the universe of this job from all others.
    fn job(&self) -> Result<String> {
        let described = self.universe().fd().try_clone_to_owned().and_then(|fd| std::fs::File::from(fd).metadata());
        match described {
            Ok(file) => Ok(format!("{}:{:x}", boot::machine(), file.ino())),
            Err(e) => fail!(Other, "the job's memory cannot be described: {e}"),
        }
    }

    /// Opens a port and gives its name (`MPI_Open_port`).
    ///
    /// # Errors
    /// Class `NoMem` when shared memory is short.
    pub fn open_port(&self) -> Result<String> {
        let universe = self.universe();
        let job = self.job()?;
        let no_memory = |e: phalanx_shm::ShmError| Error::new(ErrorClass::NoMem, format!("no port can be opened: {e}"));
        let block = universe.alloc(16).map_err(no_memory)?;
        let words = universe.words(block, 2).map_err(no_memory)?;
        let number = universe.next_contexts(1);
        words[1].store(u64::from(number) << 32 | OPEN, Ordering::Relaxed);
        // SYNC POINT port-open: Release, the number is there when the block is a port.
        words[0].store(PORT, Ordering::Release);
        Ok(format!("phalanx:{job}:{}:{number}:{:x}", self.me().0, block.get()))
    }

    /// Closes a port of this process; who waits there is refused (`MPI_Close_port`). Waits for the words of those who are
    /// just connecting.
    ///
    /// # Errors
    /// Class `Port` when it is not an open port of this process; interruption.
    pub fn close_port(&self, name: &str) -> Result<()> {
        let (port, words) = self.own_port(name)?;
        let close = |word: u64| (word & OPEN != 0).then_some(word & !OPEN);
        if words[1].fetch_update(Ordering::AcqRel, Ordering::Relaxed, close).is_err() {
            return Err(closed(name));
        }
        let pattern = Pattern { source: ANY_SOURCE, tag: port.tag() };
        // Another thread may have taken the last one, to accept it.
        while let Some(request) = self.block_until(Waiting::on("Close_port", PORTS), |core| {
            let all_answered = words[1].load(Ordering::Relaxed) as u32 == 0;
            if all_answered { Some(Ok(None)) } else { core.take_arrived(PORTS, pattern).map(|taken| Ok(Some(taken.2))) }
        })? {
            words[1].fetch_sub(ONE, Ordering::Relaxed);
            self.answer(&port, request.from, REFUSED, "Close_port")?;
        }
        words[0].store(0, Ordering::Relaxed);
        self.universe().free(port.block);
        Ok(())
    }

    fn answer(&self, port: &Port, process: ProcId, mut word: u32, operation: &'static str) -> Result<()> {
        let mut plan = Plan::default();
        plan.send(port.to(process), Dst::of(std::slice::from_mut(&mut word)).src());
        self.self_comm().run_plan(plan, operation, port.tag())
    }

    /// The port with this name, and its words.
    fn port(&self, name: &str) -> Result<(Port, &[AtomicU64])> {
        let Some(place) = name.strip_prefix("phalanx:") else {
            fail!(Port, "'{name}' is not the name of a port; MPI_Open_port gives one");
        };
        let Some(place) = place.strip_prefix(&self.job()?).and_then(|rest| rest.strip_prefix(':')) else {
            fail!(
                Port,
                "port '{name}' is of another job; processes connect within one job, which 'phalanx run' or a spawn starts"
            );
        };
        let mut parts = place.splitn(3, ':');
        let mut number = |radix| parts.next().and_then(|part| u64::from_str_radix(part, radix).ok());
        let (Some(owner), Some(count), Some(block)) = (number(10), number(10), number(16)) else {
            fail!(Port, "'{name}' is not the name of a port: it is not whole");
        };
        let (Ok(owner), Ok(number)) = (u32::try_from(owner).map(ProcId), u32::try_from(count)) else {
            return Err(closed(name));
        };
        let block = Offset::new(block);
        let words = self.universe().words(block, 2).map_err(|_| closed(name))?;
        // SYNC POINT port-open: Acquire, pairs with the store in `open_port`.
        let is_port = words[0].load(Ordering::Acquire) == PORT;
        let port = Port { owner, number, block };
        if !is_port || !port.is_open(words[1].load(Ordering::Relaxed)) || !self.universe().has(owner) {
            return Err(closed(name));
        }
        Ok((port, words))
    }

    fn own_port(&self, name: &str) -> Result<(Port, &[AtomicU64])> {
        let (port, words) = self.port(name)?;
        if port.owner != self.me() {
            fail!(Port, "port '{name}' was opened by another process, and only that can accept there or close it");
        }
        Ok((port, words))
    }

    /// Joins with the process at the other end of a connected socket (`MPI_Comm_join`); `None` when that is of another
    /// job, or this very process. What the two say before that is read to its last byte and no further.
    ///
    /// # Errors
    /// Class `Arg` for what is no connected stream socket; class `Other` when the other end does not greet as we do.
    pub fn join(&self, fd: i32) -> Result<Option<Comm>> {
        self.join_unnamed(fd).map_err(|e| if e.is_interrupted() { e } else { e.context("Comm_join") })
    }

    fn join_unnamed(&self, fd: i32) -> Result<Option<Comm>> {
        if self.pmi().as_ref().is_some_and(|pmi| pmi.fd().as_raw_fd() == fd) {
            fail!(Arg, "descriptor {fd} is the connection to the launcher");
        }
        let job = self.job()?;
        let drawn = self.universe().next_contexts(1);
        let said = self.greet(fd, &format!("{GREETING} {job} {} {drawn}", self.me().0))?;
        let words: Vec<&str> = said.split(' ').collect();
        let [GREETING, their_job, process, number] = words[..] else {
            fail!(Other, "the other end of the socket says '{said}' instead of joining");
        };
        let (Ok(process), Ok(number)) = (process.parse().map(ProcId), number.parse::<u32>()) else {
            fail!(Other, "the other end of the socket says '{said}' instead of joining");
        };
        if their_job != job || process == self.me() || !self.universe().has(process) {
            return Ok(None);
        }
        let own = self.self_comm();
        let label = format!("join {} {}", drawn.min(number), drawn.max(number));
        own.meet_over(0, || Ok((process, label))).map(Some)
    }

    /// Says a line over a socket and gives the one that the other end says.
    fn greet(&self, fd: i32, line: &str) -> Result<String> {
        let what = |why: &dyn std::fmt::Display| {
            Error::new(ErrorClass::Arg, format!("descriptor {fd} is no connected stream socket: {why}"))
        };
        let socket: OwnedFd = inherit::duplicate(fd).map_err(|e| what(&e))?;
        let mut socket = UnixStream::from(socket);
        let before = socket.read_timeout().map_err(|e| what(&e))?;
        socket.write_all(format!("{line}\n").as_bytes()).map_err(|e| what(&e))?;
        socket.set_read_timeout(Some(LOOK)).map_err(|e| what(&e))?;
        let said = self.read_line(&mut socket);
        // The socket is the caller's: as it was before.
        socket.set_read_timeout(before).map_err(|e| what(&e))?;
        said
    }

    fn read_line(&self, socket: &mut UnixStream) -> Result<String> {
        let mut line = Vec::new();
        loop {
            let mut byte = [0];
            match socket.read(&mut byte) {
                Ok(0) => fail!(Other, "the other end of the socket closed it before it joined"),
                Ok(_) if byte == *b"\n" => return Ok(String::from_utf8_lossy(&line).into_owned()),
                Ok(_) if line.len() == LONGEST_GREETING => {
                    fail!(
                        Other,
                        "the other end of the socket says '{}' instead of joining",
                        String::from_utf8_lossy(&line)
                    )
                }
                Ok(_) => line.push(byte[0]),
                Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted) => {
                    self.check_interrupt()?;
                    self.progress()?;
                    // A socket that does not block gives no pause of its own.
                    std::thread::sleep(Duration::from_millis(1));
                }
                Err(e) => fail!(Arg, "the socket cannot be read: {e}"),
            }
        }
    }
}

fn closed(name: &str) -> Error {
    Error::new(ErrorClass::Port, format!("port '{name}' is not open: it was closed, or never was one"))
}

impl Comm {
    /// Waits at a port for a group that connects; gives the intercommunicator with it (`MPI_Comm_accept`). All processes of
    /// this intracommunicator call it; `port` matters at the root.
    ///
    /// # Errors
    /// Class `Port`, on all ranks, when the root's name is not that of an open port of its own; class `Root`; class
    /// `ProcAborted` when all other processes of the job have ended.
    pub fn accept(&self, port: &str, root: i32) -> Result<Comm> {
        let accepted = || {
            let engine = self.engine();
            let (port, words) = engine.own_port(port)?;
            let pattern = Pattern { source: ANY_SOURCE, tag: port.tag() };
            let (mut since, told) = (None, Cell::new(false));
            let hopeless = Cell::new(None);
            let ready = |core: &mut Core| {
                if let Some((_, _, request)) = core.take_arrived(PORTS, pattern) {
                    return Some(Ok(request));
                }
                if !port.is_open(words[1].load(Ordering::Relaxed)) {
                    return Some(Err(Error::new(ErrorClass::Port, "the port was closed by another thread")));
                }
                hopeless.take().map(Err)
            };
            let mut look = || {
                let Some(left) = engine.all_but(self.group()) else {
                    since = None;
                    return None;
                };
                if since.get_or_insert_with(Instant::now).elapsed() > left.patience {
                    let error = self.nobody_comes(&left.ended);
                    if !left.has_threads {
                        hopeless.set(Some(error));
                    } else if !told.replace(true) {
                        let note = format!(
                            "phalanx: rank {}: MPI_Comm_accept {}; it goes on waiting, since another thread may start some\n",
                            engine.world().rank(),
                            error.message()
                        );
                        let _ = std::io::stderr().write_all(note.as_bytes());
                    }
                }
                None
            };
            let request = engine.block_unless(Waiting::on("Comm_accept", PORTS), ready, &mut look)?;
            words[1].fetch_sub(ONE, Ordering::Relaxed);
            engine.answer(&port, request.from, ACCEPTED, "Comm_accept")?;
            Ok((request.from, format!("port {}", port.number)))
        };
        // When the root waits, the others can be no more than waiting with it.
        let is_collective = !self.is_inter() && self.size() > 1 && (0..self.size()).contains(&root);
        let together = if is_collective { self.barrier() } else { Ok(()) };
        self.creating("Comm_accept", together.and_then(|()| self.meet_over(root, accepted)))
    }

    /// The error of a wait at a port when the others of the job have ended.
    #[cold]
    fn nobody_comes(&self, ended: &[ProcId]) -> Error {
        let world = self.engine().world();
        let name = |process: &ProcId| match world.group().rank_of(*process) {
            Some(rank) => format!("rank {rank}"),
            None => format!("the process in slot {}", process.0),
        };
        let mut names: Vec<_> = ended.iter().take(NAMED).map(name).collect();
        if ended.len() > NAMED {
            names.push(format!("{} more", ended.len() - NAMED));
        }
        let who = match &names[..] {
            [] => "there is no other process in the job".to_owned(),
            _ => format!("all other processes of the job have ended ({})", names.join(", ")),
        };
        Error::new(ErrorClass::ProcAborted, format!("waits on {} for somebody to connect, and {who}", self.title()))
    }

    /// Connects to the group that accepts at a port; gives the intercommunicator with it (`MPI_Comm_connect`). All
    /// processes of this intracommunicator call it; `port` matters at the root.
    ///
    /// # Errors
    /// Class `Port`, on all ranks, when the root's name is not that of an open port of another process, or it is closed
    /// before anybody accepts; class `Root`; class `ProcAborted` when the port's owner has ended.
    pub fn connect(&self, port: &str, root: i32) -> Result<Comm> {
        let connected = || {
            let (name, (port, words)) = (port, self.engine().port(port)?);
            if port.owner == self.engine().me() {
                fail!(Port, "port '{name}' is this process's own, and a process cannot be on both sides");
            }
            let count = |word: u64| port.is_open(word).then_some(word + ONE);
            if words[1].fetch_update(Ordering::AcqRel, Ordering::Relaxed, count).is_err() {
                return Err(closed(name));
            }
            let (mut request, mut answer) = ([0u32], [0u32]);
            let mut plan = Plan::default();
            plan.send(port.to(port.owner), Dst::of(&mut request).src());
            plan.recv(port.to(port.owner), Dst::of(&mut answer));
            self.run_plan(plan, "Comm_connect", port.tag())?;
            if answer[0] != ACCEPTED {
                fail!(Port, "port '{name}' was closed before anybody accepted");
            }
            Ok((port.owner, format!("port {}", port.number)))
        };
        self.creating("Comm_connect", self.meet_over(root, connected))
    }

    /// An intercommunicator with the group of the process that `find`, at the root, names; both sides give the same label.
    fn meet_over(&self, root: i32, find: impl FnOnce() -> Result<(ProcId, String)>) -> Result<Comm> {
        self.meeting(root, (ErrorClass::Root, "root"), || {
            let (other, label) = find()?;
            let me = self.engine().me();
            let pair = Group::new(vec![me.min(other), me.max(other)]);
            let leaders = Comm::from_group(self.engine(), &pair, &label)?;
            let met = self.meet(Some(&leaders), i32::from(me < other), 0);
            leaders.free();
            met
        })
    }
}
