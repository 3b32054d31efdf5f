//! The controller as a process: connections, engines and their output around [`crate::core`].
//!
//! Everything runs in one thread. What has come on a connection is handled together, and then every connection with
//! something to say is written to once: a round trip wakes each process once. Tasks of the runtime only wait; what they
//! have waited for is handled in one borrow of the [`Server`], never across a wait.

pub(crate) mod conn;
pub(crate) mod engines;
mod far;
mod numbers;
pub(crate) mod objects;
mod overview;
mod requests;
pub(crate) mod text;
pub(crate) mod watched;

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use phalanx_shm::{Arena, ArenaConfig, OomKills};
use phalanx_wire::cluster::{FromClient, FromEngine, Hello, PROTOCOL, Parcel, Payload, Role, ToClient};
use phalanx_wire::overview::Seen;
use tokio::io::unix::AsyncFd;
use tokio::net::{UnixListener, UnixStream};
use tokio::task::{LocalSet, spawn_local};

use crate::core::{Action, Core, Limits};
use crate::far::line;
use crate::look::{Look, Looks, attend};
use conn::{Conn, End, Kind};
use engines::Process;
use far::Gateway;
use numbers::Numbers;
use objects::Held;

pub use engines::{Launched, Launcher};
pub use far::Far;

/// Who connects has so long to say who he is, and may say so much.
const HELLO: Duration = Duration::from_secs(10);
const HELLO_BYTES: usize = 64 << 10;
/// When a word about what has been taken goes out, if no other word does.
const TAKEN: Duration = Duration::from_millis(5);
/// Bytes read at a time.
const ROOM: usize = 256 << 10;

/// How much a line of the log matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Weight {
    /// It was to be expected.
    Routine,
    /// Somebody may want to know it at once.
    Notable,
}

/// Where lines of the log go.
pub type LogTo = Box<dyn FnMut(Weight, &str)>;

/// Looks at a process of this machine, and where its Python is if that is wanted. It may take some milliseconds, and is done
/// beside everything else.
pub type Eye = Arc<dyn Fn(u32, bool) -> Seen + Send + Sync>;

/// What a controller is started with.
pub struct Options {
    /// Where it is connected to, in a directory of this user's.
    pub listener: std::os::unix::net::UnixListener,
    /// Where gateways of other machines connect to, if they may.
    pub far: Option<Far>,
    /// What who connects has to know.
    pub token: String,
    /// The cluster's name.
    pub cluster_id: String,
    /// Engines to start.
    pub engines: u32,
    /// What is kept of tasks that have ended.
    pub limits: Limits,
    /// Engines that die are started again.
    pub restart: bool,
    /// Clients may have another Python than engines.
    pub allow_mismatch: bool,
    /// Signals, as `signalfd` tells them: SIGINT and SIGTERM end the cluster.
    pub signals: OwnedFd,
    /// Starts engines.
    pub launcher: Box<dyn Launcher>,
    /// Where what happens is written.
    pub log: LogTo,
    /// Looks at processes of this machine.
    pub eye: Eye,
    /// Our version.
    pub version: &'static str,
}

/// The controller.
pub(crate) struct Server {
    core: Core<Held>,
    arena: Arena,
    conns: BTreeMap<u64, Conn>,
    next_conn: u64,
    /// Those that have something to write.
    dirty: Vec<u64>,
    /// Others are looked at before that: what two engines have said goes to their client together.
    listens: bool,
    look: Look,
    processes: BTreeMap<u32, Process>,
    gateways: BTreeMap<u64, Gateway>,
    /// Those that are to be told something.
    stirred: BTreeSet<u64>,
    /// Engines of gateways whose connection broke, with their names: they may come back.
    away: HashMap<u32, String>,
    /// Engines that gateways were asked to start again, with the numbers that they are to have.
    again: BTreeSet<u32>,
    numbers: Numbers,
    token: String,
    cluster_id: String,
    restart: bool,
    allow_mismatch: bool,
    /// The version of the engines' Python.
    python: Option<String>,
    launcher: Box<dyn Launcher>,
    log: LogTo,
    eye: Eye,
    /// Since when this runs, in seconds since the epoch.
    since: f64,
    version: &'static str,
    oom: OomKills,
    room: Vec<u8>,
    text_room: Vec<u8>,
    /// When the timer is set to, in seconds since the epoch.
    armed: Option<f64>,
    /// Requests that are answered when these engines have ended.
    awaited: Vec<requests::Awaited>,
    /// Clients by process, to find what is left of them when that ends.
    watched: HashMap<u32, u32>,
    /// Why the controller ends.
    over: Option<String>,
    /// Wakes the main task at the end.
    ended: Rc<tokio::sync::Notify>,
    /// Ourselves, for tasks.
    me: std::rc::Weak<RefCell<Server>>,
}

/// Seconds since the epoch.
fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}

/// Runs a controller until it is told to end; why that was.
///
/// # Errors
/// When the memory for objects cannot be had, or the system refuses what it needs.
pub fn run(options: Options) -> io::Result<String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build()?;
    let arena = Arena::create(ArenaConfig::for_machine()).map_err(|error| io::Error::other(error.to_string()))?;
    LocalSet::new().block_on(&runtime, serve(options, arena))
}

async fn serve(options: Options, arena: Arena) -> io::Result<String> {
    options.listener.set_nonblocking(true)?;
    let listener = UnixListener::from_std(options.listener)?;
    let signals = watched::watched(options.signals)?;
    let ended = Rc::new(tokio::sync::Notify::new());
    let server = Rc::new_cyclic(|me| {
        RefCell::new(Server {
            core: Core::new(options.limits),
            arena,
            conns: BTreeMap::new(),
            next_conn: 1,
            dirty: Vec::new(),
            listens: false,
            look: Look::default(),
            processes: BTreeMap::new(),
            gateways: BTreeMap::new(),
            stirred: BTreeSet::new(),
            away: HashMap::new(),
            again: BTreeSet::new(),
            numbers: Numbers::default(),
            token: options.token,
            cluster_id: options.cluster_id,
            restart: options.restart,
            allow_mismatch: options.allow_mismatch,
            python: None,
            launcher: options.launcher,
            log: options.log,
            eye: options.eye,
            since: now(),
            version: options.version,
            oom: OomKills::watch(),
            room: vec![0; ROOM],
            text_room: Vec::new(),
            armed: None,
            awaited: Vec::new(),
            watched: HashMap::new(),
            over: None,
            ended: ended.clone(),
            me: me.clone(),
        })
    });
    spawn_local(accept(server.clone(), listener));
    spawn_local(heed_signals(server.clone(), signals));
    if let Some(far) = options.far {
        far::listen(&server, far)?;
    }
    server.borrow_mut().start_engines(options.engines);
    ended.notified().await;
    let reason = server.borrow().over.clone().unwrap_or_default();
    server.borrow_mut().farewell(&reason);
    far::last_words(&server).await;
    Ok(reason)
}

/// Takes connections of this user.
async fn accept(server: Rc<RefCell<Server>>, listener: UnixListener) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => server.borrow_mut().connected(stream),
            // No descriptor is left, for example: somebody may give one back.
            Err(error) => {
                server.borrow_mut().say(&format!("a connection could not be taken: {error}"));
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

async fn heed_signals(server: Rc<RefCell<Server>>, signals: AsyncFd<OwnedFd>) {
    let mut seen = 0;
    while let Some(number) = watched::next_signal(&signals).await {
        seen += i32::from(server.borrow_mut().signalled(number, seen > 0));
    }
}

impl Server {
    /// Writes a line to the log.
    fn say(&mut self, line: &str) {
        (self.log)(Weight::Notable, line);
    }

    /// The same, of what is routine.
    fn note(&mut self, line: &str) {
        (self.log)(Weight::Routine, line);
    }

    fn own(&self) -> Option<Rc<RefCell<Server>>> {
        self.me.upgrade()
    }

    /// Does something later.
    fn later(&self, after: Duration, what: impl FnOnce(&mut Server) + 'static) {
        let me = self.me.clone();
        spawn_local(async move {
            tokio::time::sleep(after).await;
            if let Some(server) = me.upgrade() {
                what(&mut server.borrow_mut());
            }
        });
    }

    /// Somebody has connected.
    fn connected(&mut self, stream: UnixStream) {
        let peer = phalanx_shm::inherit::peer_of(stream.as_fd());
        let Some((pid, user)) = peer else { return };
        if user != rustix::process::geteuid().as_raw() {
            return self.say(&format!("user {user} (process {pid}) has tried to connect, and was refused"));
        }
        let id = self.add(stream, Kind::New, pid);
        self.later(HELLO, move |server| {
            if server.conns.get(&id).is_some_and(|conn| conn.kind == Kind::New) {
                server.say(&format!("process {pid} has connected and said nothing: it is hung up on"));
                server.hung_up(id, "");
            }
        });
    }

    fn add(&mut self, stream: UnixStream, kind: Kind, pid: u32) -> u64 {
        let id = self.next_conn;
        self.next_conn += 1;
        let stream = Rc::new(stream);
        self.conns.insert(id, Conn::new(End::Here(stream.clone()), kind, pid, self.version));
        if let Some(server) = self.own() {
            spawn_local(attend(server, id, stream));
        }
        id
    }

    /// Handles all that has come on a connection.
    fn heard(&mut self, id: u64) {
        self.core.at(now());
        let failed = loop {
            let Some(conn) = self.conns.get_mut(&id) else { return self.turn() };
            let is_noise = conn.kind == Kind::New && conn.reader.noise().len() > HELLO_BYTES;
            let done = match conn.kind {
                _ if is_noise => Err("it sent too much before it said who it is".to_owned()),
                Kind::New => self.next::<Hello>(id).map(|found| found.map(|parcel| self.greeted(id, parcel.body))),
                Kind::Child(engine) => {
                    self.next::<Hello>(id).map(|found| found.map(|parcel| self.child_greeted(engine, id, parcel.body)))
                }
                Kind::Client => self.next::<FromClient>(id).map(|found| found.map(|parcel| self.asked(id, parcel))),
                Kind::Engine(engine) => {
                    self.next::<FromEngine>(id).map(|found| found.map(|parcel| self.reported(engine, id, parcel)))
                }
            };
            match done {
                Ok(Some(())) => {}
                Ok(None) => break None,
                Err(problem) => break Some(problem),
            }
        };
        match failed {
            Some(problem) => {
                let pid = self.conns.get(&id).map_or(0, |conn| conn.pid);
                self.say(&format!("process {pid} is hung up on: {problem}"));
                self.dismiss(id, &problem);
            }
            None => self.settle_text(id),
        }
        self.turn();
    }

    fn next<M: serde::de::DeserializeOwned>(&mut self, id: u64) -> Result<Option<Parcel<M>>, String> {
        let Some(conn) = self.conns.get_mut(&id) else { return Ok(None) };
        let parcel: Option<Parcel<M>> = conn.reader.read().map_err(|error| error.to_string())?;
        let Some(parcel) = parcel else { return Ok(None) };
        conn.let_go(parcel.taken);
        Ok(Some(parcel))
    }

    /// Takes the objects of a parcel; of each, whether all of it was there.
    fn take(&mut self, id: u64, payloads: Vec<Payload>) -> Vec<Option<Held>> {
        let has_blocks = payloads.iter().any(|payload| !payload.blocks.is_empty());
        let held = payloads.into_iter().map(|payload| Held::take(self.arena, payload)).collect();
        if has_blocks && let Some(conn) = self.conns.get_mut(&id).filter(|conn| matches!(conn.end, End::Here(_))) {
            conn.taken += 1;
            if conn.taken == conn.told + 1 {
                self.later(TAKEN, move |server| server.tell_taken(id));
            }
        }
        held
    }

    fn tell_taken(&mut self, id: u64) {
        let Some(conn) = self.conns.get_mut(&id).filter(|conn| conn.taken > conn.told) else { return };
        match conn.kind {
            Kind::Client => self.push(id, ToClient::Taken {}, Vec::new(), Vec::new()),
            Kind::Engine(_) => self.push(id, phalanx_wire::cluster::ToEngine::Taken {}, Vec::new(), Vec::new()),
            Kind::New | Kind::Child(_) => {}
        }
        self.flush();
    }

    /// Who has connected says who it is.
    fn greeted(&mut self, id: u64, hello: Hello) {
        let Some(conn) = self.conns.get(&id) else { return };
        let pid = conn.pid;
        if !is_same(hello.token.as_bytes(), self.token.as_bytes()) {
            self.say(&format!("process {pid} does not have the token of the connection file, and was refused"));
            return self.dismiss(id, "the token is not that of this cluster: is the connection file an old one?");
        }
        if hello.protocol != PROTOCOL {
            let problem = format!("it speaks protocol {}, the controller {PROTOCOL}", hello.protocol);
            return self.dismiss(id, &problem);
        }
        match hello.role {
            Role::Engine => self.engine_connected(id, hello),
            Role::Client | Role::Command => self.client_connected(id, pid, hello),
        }
    }

    fn client_connected(&mut self, id: u64, pid: u32, hello: Hello) {
        if hello.role == Role::Client
            && let Some(problem) = self.mismatch(&hello.python, "the client's Python")
        {
            return self.dismiss(id, &problem);
        }
        let identity = format!("client-{id}-{pid}");
        if let Some(conn) = self.conns.get_mut(&id) {
            conn.kind = Kind::Client;
        }
        self.core.client_joined(id, identity.clone());
        let welcome = ToClient::Welcome {
            identity,
            cluster_id: self.cluster_id.clone(),
            engines: self.core.engines(),
            starting: self.core.starting(),
            pid: std::process::id(),
            version: self.version.to_owned(),
            more: BTreeMap::new(),
        };
        self.welcome(id, welcome);
        self.watch_client(pid);
    }

    /// The first word to somebody, with the arena to who can map it.
    fn welcome<M: serde::Serialize>(&mut self, id: u64, message: M) {
        self.push(id, message, Vec::new(), Vec::new());
        if self.conns.get(&id).is_some_and(|conn| matches!(conn.end, End::Far { .. })) {
            return;
        }
        let arena = self.arena.fd();
        let sent = self.conns.get_mut(&id).map(|conn| conn.flush_with(arena));
        if let Some(Err(error)) = sent {
            self.say(&format!("connection {id}: {error}"));
            self.hung_up(id, "");
        }
    }

    /// What is wrong with a Python, if something is.
    fn mismatch(&self, python: &str, whose: &str) -> Option<String> {
        let minor = |version: &str| version.split('.').take(2).collect::<Vec<_>>().join(".");
        let engines = self.python.as_ref()?;
        let differs = !python.is_empty() && !self.allow_mismatch && minor(engines) != minor(python);
        differs.then(|| {
            format!(
                "{whose} is {python}, that of the engines is {engines}: functions do not survive that. Use the same, or \
                 start the cluster with --allow-mismatch"
            )
        })
    }

    /// Has what is left of a client given back when its process ends.
    fn watch_client(&mut self, pid: u32) {
        let count = self.watched.entry(pid).or_insert(0);
        *count += 1;
        if *count > 1 || pid == 0 {
            return;
        }
        let Some(server) = self.own() else { return };
        let Some(watch) = engines::watch(pid) else { return };
        spawn_local(async move {
            let _ = watch.readable().await;
            let mut server = server.borrow_mut();
            server.watched.remove(&pid);
            let left: Vec<u64> = server
                .conns
                .iter()
                .filter(|(_, conn)| conn.kind == Kind::Client && conn.pid == pid)
                .map(|(id, _)| *id)
                .collect();
            for id in left {
                // What it said last has come.
                while matches!(server.read(id), Ok(true)) {
                    server.heard(id);
                }
                server.hung_up(id, "");
            }
            server.arena.sweep_process(pid);
        });
    }

    /// A client says something.
    fn asked(&mut self, id: u64, parcel: Parcel<FromClient>) {
        let objects = self.take(id, parcel.payloads);
        match parcel.body {
            FromClient::Submit { tasks, notify } => {
                let object = |index: u32| objects.get(index as usize).cloned().flatten();
                let refused = self.core.submit(id, tasks, object, notify);
                if refused > 0 {
                    self.say(&format!("client {id} sent {refused} tasks without their objects, or twice"));
                }
            }
            FromClient::Taken {} => {}
            other => {
                if let Some(other) = self.core.request(id, other) {
                    self.ordered(id, other);
                }
            }
        }
    }

    /// Adds a message for a connection.
    fn push<M: serde::Serialize>(&mut self, id: u64, message: M, payloads: Vec<Payload>, held: Vec<Held>) {
        let Some(conn) = self.conns.get_mut(&id) else { return };
        if let End::Far { gateway, channel } = conn.end {
            return self.say_far(gateway, channel, &message, payloads);
        }
        let was_dirty = conn.dirty;
        match conn.push(message, payloads, held) {
            Ok(()) if was_dirty => {}
            Ok(()) => self.dirty.push(id),
            Err(error) => {
                self.say(&format!("connection {id} is closed, since it does not read: {error}"));
                self.hung_up(id, "");
            }
        }
    }

    /// Does what is to be done, and writes what is to be written, unless others are looked at before.
    fn turn(&mut self) {
        loop {
            let actions = self.core.actions();
            if actions.is_empty() {
                break;
            }
            for action in actions {
                self.act(action);
            }
        }
        if !self.listens {
            self.flush();
        }
        self.set_timer();
    }

    fn act(&mut self, action: Action<Held>) {
        match action {
            Action::Client(client, message, held) => {
                let is_text = matches!(message, ToClient::Stream { .. });
                if is_text && self.conns.get(&client).is_some_and(Conn::is_full) {
                    return;
                }
                let payloads = held.iter().map(|held| held.payload(held.is_shared())).collect();
                let held = held.into_iter().filter(Held::has_blocks).collect();
                self.push(client, message, payloads, held);
            }
            Action::Run { engine, message, payload, args, shared } => {
                let Some(conn) = self.processes.get(&engine).and_then(|process| process.conn) else { return };
                let payloads = [Some(payload), args];
                let payloads = payloads.into_iter().flatten().map(|held| held.payload(shared)).collect();
                // Held by the task until that has ended.
                self.push(conn, message, payloads, Vec::new());
            }
            Action::Interrupt(engine) => self.signal_engine(engine, rustix::process::Signal::INT),
            Action::Kill(engine) => self.kill_engine(engine),
        }
    }

    /// Writes to all that have something to be written.
    fn flush(&mut self) {
        for id in std::mem::take(&mut self.dirty) {
            self.flush_one(id);
        }
        // What does not go out now, who attends to the line writes.
        for id in std::mem::take(&mut self.stirred) {
            line::write_now(self, id);
        }
    }

    fn flush_one(&mut self, id: u64) {
        if let Some(conn) = self.conns.get_mut(&id) {
            conn.write_out(&self.me, move |server| server.conns.get_mut(&id));
        }
    }

    fn set_timer(&mut self) {
        let Some(due) = self.core.due() else { return };
        if self.armed.is_some_and(|armed| armed <= due) {
            return;
        }
        self.armed = Some(due);
        let wait = Duration::from_secs_f64((due - now()).clamp(0.0, 86_400.0));
        self.later(wait, move |server| {
            if server.armed == Some(due) {
                server.armed = None;
            }
            server.core.at(now());
            server.core.tick();
            server.turn();
        });
    }

    /// Hangs up on somebody who is not welcome, with a word.
    fn dismiss(&mut self, id: u64, problem: &str) {
        match self.conns.get(&id).map(|conn| conn.kind) {
            Some(Kind::Engine(_) | Kind::Child(_)) => {
                self.push(
                    id,
                    phalanx_wire::cluster::ToEngine::Bye { reason: problem.to_owned() },
                    Vec::new(),
                    Vec::new(),
                );
            }
            Some(_) => self.push(id, ToClient::Bye { reason: problem.to_owned() }, Vec::new(), Vec::new()),
            None => {}
        }
        self.flush();
        self.hung_up(id, problem);
    }

    /// A connection is over.
    fn hung_up(&mut self, id: u64, problem: &str) {
        let Some(conn) = self.conns.remove(&id) else { return };
        match conn.end {
            End::Here(stream) => drop(rustix::net::shutdown(stream.as_fd(), rustix::net::Shutdown::Both)),
            End::Far { gateway, channel } => self.close_far(gateway, channel),
        }
        self.core.at(now());
        match conn.kind {
            Kind::New => {}
            Kind::Client => {
                self.core.client_left(id);
                if conn.pid != 0 {
                    self.arena.sweep_process(conn.pid);
                }
            }
            Kind::Engine(engine) | Kind::Child(engine) => self.engine_hung_up(engine, problem),
        }
        self.turn();
    }

    /// The last word to everybody.
    fn farewell(&mut self, reason: &str) {
        let clients: Vec<u64> =
            self.conns.iter().filter(|(_, conn)| conn.kind == Kind::Client).map(|(id, _)| *id).collect();
        for id in clients {
            self.push(id, ToClient::Bye { reason: reason.to_owned() }, Vec::new(), Vec::new());
        }
        self.flush();
    }

    fn end(&mut self, reason: &str) {
        if self.over.is_none() {
            self.over = Some(reason.to_owned());
            self.ended.notify_one();
        }
    }
}

impl Looks for Server {
    fn look(&mut self) -> &mut Look {
        &mut self.look
    }

    fn read(&mut self, here: u64) -> io::Result<bool> {
        match self.conns.get_mut(&here) {
            Some(conn) => conn.read(&mut self.room),
            None => Ok(false),
        }
    }

    fn hear(&mut self, here: u64) {
        self.listens = true;
        self.heard(here);
    }

    fn has(&self, here: u64) -> bool {
        self.conns.contains_key(&here)
    }

    fn lose(&mut self, here: u64) {
        self.hung_up(here, "");
    }

    fn listen_far(&mut self, far: u64) -> bool {
        matches!(line::read_now(self, far), Ok(true))
    }

    fn is_busy(&self) -> bool {
        self.gateways.values().any(|gateway| !gateway.line.is_flushed())
    }

    fn speak(&mut self) {
        if std::mem::take(&mut self.listens) {
            self.flush();
        }
    }
}

/// Whether two secrets are the same, in a time that does not depend on where they differ.
#[must_use]
pub fn is_same(one: &[u8], other: &[u8]) -> bool {
    let differences = one.iter().zip(other).fold(0, |seen, (a, b)| seen | (a ^ b));
    one.len() == other.len() && differences == 0
}
