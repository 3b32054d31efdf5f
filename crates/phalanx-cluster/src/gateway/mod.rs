//! A gateway: what engines, or a client, of this machine are connected to as to a controller, when that runs on another one.
//!
//! They talk to it as to a controller of this machine: over sockets of their own, with objects in memory that they share with
//! it. It tells the controller what they say, over one encrypted stream, and the other way round. So neither Python nor the
//! extension module knows of other machines.
//!
//! It starts engines, watches them, reads what they print, and knows what they have begun, as a controller does. Each gets
//! one task at a time: when the connection breaks, what nobody has begun is forgotten here, since it may run elsewhere; of
//! a task that an engine is in, the controller has said that it is lost, and its result is dropped. The engines stay, with
//! all that they hold, and are there again once the connection is.

mod dial;
mod engines;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::rc::{Rc, Weak};
use std::time::{Duration, Instant};

use phalanx_shm::{Arena, ArenaConfig, OomKills};
use phalanx_wire::cluster::{FromClient, Hello, PROTOCOL, Parcel, Payload, ToClient, ToEngine};
use phalanx_wire::far::{FromGateway, Said, ToGateway};
use tokio::net::UnixStream;
use tokio::task::{LocalSet, spawn_local};

use crate::far::line::{self, Line, Owner};
use crate::far::link::{Arrived, Link, LinkError, message, payloads};
use crate::far::stream::Stream;
use crate::look::{Look, Looks, attend};
use crate::server::conn::{Conn, End, Kind};
use crate::server::engines::{host, watch};
use crate::server::objects::Held;
use crate::server::{Launcher, LogTo, Weight, watched};

use engines::Engine;

/// A controller has so long to answer at first,
const WELCOME: Duration = Duration::from_secs(10);
/// and what is said to it at the end has so long to get there.
const LAST: Duration = Duration::from_millis(500);
/// When a word about what has been taken goes out, if no other word does.
const TAKEN: Duration = Duration::from_millis(5);
/// Bytes read at a time.
const ROOM: usize = 256 << 10;

/// How a controller is reached from another machine.
#[derive(Debug, Clone)]
pub struct Reach {
    /// Where it may be, as `host:port`.
    pub addresses: Vec<String>,
    /// What it shows that it is.
    pub certificate: Vec<u8>,
    /// What it has to be shown.
    pub token: String,
}

/// Who is behind a gateway.
pub enum Behind {
    /// A client, at the other end of this socket.
    Client(std::os::unix::net::UnixStream),
    /// Engines, which the gateway starts.
    Engines {
        /// So many.
        count: u32,
        /// The number that the first of them would like to have; the others those behind it.
        first: Option<u32>,
        /// What starts them.
        launcher: Box<dyn Launcher>,
    },
}

/// What a gateway is started with.
pub struct Options {
    /// The controller.
    pub reach: Reach,
    /// Who is behind it.
    pub behind: Behind,
    /// So long it looks for the controller at first.
    pub timeout: Duration,
    /// So long engines wait for a controller that was there.
    pub patience: Duration,
    /// Signals, as `signalfd` tells them: SIGHUP, SIGINT and SIGTERM end the gateway and its engines.
    pub signals: OwnedFd,
    /// At whose end it ends as well: the other end of it is a remote shell's.
    pub leash: Option<OwnedFd>,
    /// Where what happens is written.
    pub log: LogTo,
    /// Our version.
    pub version: &'static str,
}

/// Somebody who is connected to the gateway.
struct Local {
    conn: Conn,
    /// What it said of itself.
    hello: Option<Hello>,
    engine: Option<Engine>,
}

struct Gateway {
    arena: Arena,
    version: &'static str,
    /// The stream, while there is one.
    line: Option<Line<ToGateway>>,
    /// The controller has answered on it.
    welcome: bool,
    /// Counts streams.
    generation: u64,
    look: Look,
    locals: BTreeMap<u32, Local>,
    next: u32,
    launcher: Option<Box<dyn Launcher>>,
    oom: OomKills,
    room: Vec<u8>,
    text_room: Vec<u8>,
    log: LogTo,
    /// How it ends: everything is told to end already.
    over: Option<Ended>,
    /// Something for the main task: the stream has ended, or everything.
    stirred: Rc<tokio::sync::Notify>,
    me: Weak<RefCell<Gateway>>,
}

/// How a gateway has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ended {
    /// It was to be expected.
    Well(String),
    /// The controller could not be reached, or not any more, or has refused.
    Badly(String),
}

/// Runs a gateway until those behind it, or the controller, have ended.
///
/// # Errors
/// When the memory for objects cannot be had, or the system refuses what it needs.
pub fn run(options: Options) -> io::Result<Ended> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build()?;
    let arena = Arena::create(ArenaConfig::for_machine()).map_err(|error| io::Error::other(error.to_string()))?;
    LocalSet::new().block_on(&runtime, serve(options, arena))
}

async fn serve(options: Options, arena: Arena) -> io::Result<Ended> {
    let stirred = Rc::new(tokio::sync::Notify::new());
    let gateway = Rc::new_cyclic(|me| {
        RefCell::new(Gateway {
            arena,
            version: options.version,
            line: None,
            welcome: false,
            generation: 0,
            look: Look::default(),
            locals: BTreeMap::new(),
            next: 1,
            launcher: None,
            oom: OomKills::watch(),
            room: vec![0; ROOM],
            text_room: Vec::new(),
            log: options.log,
            over: None,
            stirred: stirred.clone(),
            me: me.clone(),
        })
    });
    let signals = watched::watched(options.signals)?;
    spawn_local(heed_signals(gateway.clone(), signals));
    if let Some(leash) = options.leash {
        spawn_local(heed_leash(gateway.clone(), watched::watched(leash)?));
    }
    let engines = match options.behind {
        Behind::Client(stream) => {
            gateway.borrow_mut().client(stream)?;
            None
        }
        Behind::Engines { count, first, launcher } => Some((count, first, launcher)),
    };
    let mut found = find(&gateway, &options.reach, options.timeout, false).await;
    // Engines are started for a controller that is there.
    if let Some((count, first, launcher)) = engines.filter(|_| found.is_some()) {
        gateway.borrow_mut().start_engines(count, first, launcher)?;
    }
    while let Some(stream) = found {
        Gateway::attach(&gateway, stream, &options.reach.token);
        while gateway.borrow().line.is_some() && gateway.borrow().over.is_none() {
            stirred.notified().await;
        }
        found = find(&gateway, &options.reach, options.patience, true).await;
    }
    Gateway::finish(&gateway).await;
    let over = gateway.borrow().over.clone();
    Ok(over.unwrap_or_else(|| Ended::Well(String::new())))
}

/// A stream to the controller; nothing when there is none, or everything is to end.
async fn find(gateway: &Rc<RefCell<Gateway>>, reach: &Reach, limit: Duration, was_there: bool) -> Option<Stream> {
    let (found, stirred) = (Rc::new(RefCell::new(None)), gateway.borrow().stirred.clone());
    let looking = spawn_local({
        let (found, stirred, reach) = (found.clone(), stirred.clone(), reach.clone());
        async move {
            let result = dial::dial(&reach, Instant::now() + limit, was_there).await;
            found.replace(Some(result));
            stirred.notify_one();
        }
    });
    while gateway.borrow().over.is_none() {
        match found.take() {
            Some(Ok(stream)) => return Some(stream),
            Some(Err(problem)) => gateway.borrow_mut().end(Ended::Badly(problem)),
            None => stirred.notified().await,
        }
    }
    looking.abort();
    None
}

async fn heed_signals(gateway: Rc<RefCell<Gateway>>, signals: tokio::io::unix::AsyncFd<OwnedFd>) {
    while let Some(number) = watched::next_signal(&signals).await {
        gateway.borrow_mut().end(Ended::Well(format!("it was ended by signal {number}")));
    }
}

async fn heed_leash(gateway: Rc<RefCell<Gateway>>, leash: tokio::io::unix::AsyncFd<OwnedFd>) {
    loop {
        let Ok(mut ready) = leash.readable().await else { return };
        match rustix::io::read(leash.get_ref(), &mut [0u8; 256][..]) {
            Ok(count) if count > 0 => {}
            Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => ready.clear_ready(),
            Ok(_) | Err(_) => {
                return gateway.borrow_mut().end(Ended::Well("who started it has gone".to_owned()));
            }
        }
    }
}

impl Gateway {
    fn say(&mut self, line: &str) {
        (self.log)(Weight::Notable, line);
    }

    fn own(&self) -> Option<Rc<RefCell<Gateway>>> {
        self.me.upgrade()
    }

    fn later(&self, after: Duration, what: impl FnOnce(&mut Gateway) + 'static) {
        let me = self.me.clone();
        spawn_local(async move {
            tokio::time::sleep(after).await;
            if let Some(gateway) = me.upgrade() {
                what(&mut gateway.borrow_mut());
            }
        });
    }

    /// Takes a stream to the controller into use.
    fn attach(gateway: &Rc<RefCell<Gateway>>, stream: Stream, token: &str) {
        let generation = {
            let mut gateway = gateway.borrow_mut();
            let mut link = Link::new(gateway.arena, gateway.version);
            // Its certificate was looked at.
            link.trust();
            gateway.line = Some(Line::new(link, stream));
            gateway.welcome = false;
            gateway.generation += 1;
            let hello = FromGateway::Hello {
                protocol: PROTOCOL,
                token: token.to_owned(),
                host: host(),
                pid: std::process::id(),
            };
            gateway.tell(&hello);
            gateway.generation
        };
        // Engines that it knew before wait for it.
        if generation == 1 {
            gateway.borrow().later(WELCOME, |gateway| {
                if gateway.generation == 1 && !gateway.welcome {
                    gateway.lost(1, &format!("the controller has not answered for {} s", WELCOME.as_secs()));
                }
            });
        }
        line::attend(gateway, generation);
    }

    /// Tells the controller something, if there is one.
    fn tell(&mut self, message: &FromGateway) {
        let Some(line) = &mut self.line else { return };
        let pushed = line.link.push(message);
        line.stir();
        if let Err(error) = pushed {
            self.lost(self.generation, &error.to_string());
        }
    }

    /// Tells the controller what somebody has said.
    fn pass_on<B: serde::Serialize>(&mut self, channel: u32, body: &B, payloads: Vec<Payload>) {
        let Some(line) = self.line.as_mut().filter(|_| self.welcome) else { return };
        let pushed = line.link.say(channel, body, payloads, FromGateway::Said);
        line.stir();
        if let Err(error) = pushed {
            self.lost(self.generation, &error.to_string());
        }
    }

    /// Something has come from the controller.
    fn told(&mut self, generation: u64, taken: Result<(), LinkError>) {
        while let Some((message, objects)) = self.line(generation).and_then(|line| line.link.next()) {
            self.hear(message, objects);
        }
        if let Err(error) = taken {
            self.lost(generation, &error.to_string());
        }
        line::write_now(self, generation);
    }

    fn hear(&mut self, message: ToGateway, objects: Vec<Arrived>) {
        match message {
            ToGateway::Welcome { beat, .. } => self.welcomed(Duration::from_millis(beat.clamp(10, 3_600_000))),
            ToGateway::Said(said) => {
                let is_engine = self.locals.get(&said.channel).map(|local| local.engine.is_some());
                let read = match is_engine {
                    Some(true) => self.engine_told(&said, objects),
                    Some(false) => self.client_told(&said, objects),
                    None => Ok(()),
                };
                if let Err(problem) = read {
                    self.lost(self.generation, &problem);
                }
            }
            ToGateway::Signal { channel, signal } => self.signal_engine(channel, signal),
            ToGateway::Kill { channel } => self.kill_engine(channel),
            ToGateway::Start { id } => {
                if let Err(error) = self.start_engine_again(id) {
                    self.tell(&FromGateway::Failed { id, reason: format!("could not be started again: {error}") });
                }
            }
            ToGateway::Close { channel } => self.closed(channel),
            ToGateway::Bye { reason } if self.welcome => self.end(Ended::Well(reason)),
            ToGateway::Bye { reason } => self.end(Ended::Badly(reason)),
            ToGateway::Beat {} => {}
        }
    }

    /// The controller knows us: it is told who is here.
    fn welcomed(&mut self, beat: Duration) {
        if self.welcome {
            return;
        }
        self.welcome = true;
        if self.generation > 1 {
            self.say("the controller is there again");
        }
        let open: Vec<u32> =
            self.locals.iter().filter(|(_, local)| local.hello.is_some()).map(|(channel, _)| *channel).collect();
        for channel in open {
            self.open(channel);
        }
        if let Some(me) = self.own() {
            let generation = self.generation;
            // Whoever calls has us borrowed.
            spawn_local(async move { line::beat(&me, generation, beat) });
        }
    }

    /// Tells the controller that somebody has connected.
    fn open(&mut self, channel: u32) {
        let Some(local) = self.locals.get(&channel).filter(|_| self.welcome) else { return };
        let Some(hello) = local.hello.clone() else { return };
        let known = local.engine.as_ref().and_then(|engine| engine.known.clone());
        self.tell(&FromGateway::Open { channel, hello, known });
    }

    /// The stream to the controller is of no use any more.
    fn lost(&mut self, generation: u64, why: &str) {
        if self.generation != generation || self.line.take().is_none() {
            return;
        }
        self.stirred.notify_one();
        if self.over.is_some() {
            return;
        }
        let why = match why {
            "" | "its connection has ended" => "the controller has ended, or its machine has",
            why => why,
        };
        if !self.welcome || self.locals.values().all(|local| local.engine.is_none()) {
            return self.end(Ended::Badly(why.to_owned()));
        }
        for engine in self.locals.values_mut().filter_map(|local| local.engine.as_mut()) {
            engine.forget();
        }
        self.say(&format!("{why}; its engines wait for it"));
    }

    /// A client, at the other end of a socket.
    fn client(&mut self, stream: std::os::unix::net::UnixStream) -> io::Result<()> {
        stream.set_nonblocking(true)?;
        let pid = phalanx_shm::inherit::peer_of(stream.as_fd()).map_or(0, |(pid, _)| pid);
        let channel = self.add(UnixStream::from_std(stream)?, Kind::New, pid, None);
        // A fork of it may keep the socket open.
        if let (Some(me), Some(watch)) = (self.own(), watch(pid)) {
            spawn_local(async move {
                let _ = watch.readable().await;
                let mut gateway = me.borrow_mut();
                // What it said last has come.
                while matches!(gateway.read_local(channel), Ok(true)) {
                    gateway.heard(channel);
                }
                gateway.hung_up(channel, "");
            });
        }
        Ok(())
    }

    fn add(&mut self, stream: UnixStream, kind: Kind, pid: u32, engine: Option<Engine>) -> u32 {
        let channel = self.next;
        self.next += 1;
        let stream = Rc::new(stream);
        let conn = Conn::new(End::Here(stream.clone()), kind, pid, self.version);
        self.locals.insert(channel, Local { conn, hello: None, engine });
        if let Some(me) = self.own() {
            spawn_local(attend(me, channel.into(), stream));
        }
        channel
    }

    fn read_local(&mut self, channel: u32) -> io::Result<bool> {
        match self.locals.get_mut(&channel) {
            Some(local) => local.conn.read(&mut self.room),
            None => Ok(false),
        }
    }

    /// Handles all that has come on a local connection.
    fn heard(&mut self, channel: u32) {
        let failed = loop {
            let Some(local) = self.locals.get(&channel) else { return };
            let done = match local.conn.kind {
                Kind::New | Kind::Child(_) => {
                    self.next::<Hello>(channel).map(|found| found.map(|parcel| self.greeted(channel, parcel.body)))
                }
                Kind::Client => {
                    self.next::<FromClient>(channel).map(|found| found.map(|parcel| self.asked(channel, parcel)))
                }
                Kind::Engine(_) => self.next(channel).map(|found| found.map(|parcel| self.reported(channel, parcel))),
            };
            match done {
                Ok(Some(())) => {}
                Ok(None) => break None,
                Err(problem) => break Some(problem),
            }
        };
        if let Some(problem) = failed {
            self.hung_up(channel, &problem);
        }
        self.flush(channel);
        // What does not go out now, who attends to the line writes.
        line::write_now(self, self.generation);
    }

    fn next<M: serde::de::DeserializeOwned>(&mut self, channel: u32) -> Result<Option<Parcel<M>>, String> {
        let Some(local) = self.locals.get_mut(&channel) else { return Ok(None) };
        let parcel: Option<Parcel<M>> = local.conn.reader.read().map_err(|error| error.to_string())?;
        let Some(parcel) = parcel else { return Ok(None) };
        local.conn.let_go(parcel.taken);
        Ok(Some(parcel))
    }

    fn greeted(&mut self, channel: u32, hello: Hello) {
        let Some(local) = self.locals.get_mut(&channel) else { return };
        local.conn.kind = if local.engine.is_some() { Kind::Engine(channel) } else { Kind::Client };
        let number = local.engine.as_ref().and_then(|engine| engine.number).or(hello.number);
        // The controller asks for the token once, of us.
        local.hello = Some(Hello { token: String::new(), number, ..hello });
        self.open(channel);
    }

    /// What a client says goes on, and its objects are ours now.
    fn asked(&mut self, channel: u32, parcel: Parcel<FromClient>) {
        let has_blocks = parcel.has_blocks();
        if !matches!(parcel.body, FromClient::Taken {}) {
            self.pass_on(channel, &parcel.body, parcel.payloads);
        }
        if has_blocks {
            self.taken(channel);
        }
    }

    /// A parcel with blocks was taken: its sender is told so, soon.
    fn taken(&mut self, channel: u32) {
        let Some(local) = self.locals.get_mut(&channel) else { return };
        local.conn.taken += 1;
        if local.conn.taken == local.conn.told + 1 {
            self.later(TAKEN, move |gateway| {
                let Some(local) = gateway.locals.get_mut(&channel) else { return };
                if local.conn.taken > local.conn.told {
                    let _ = match local.engine {
                        Some(_) => local.conn.push(ToEngine::Taken {}, Vec::new(), Vec::new()),
                        None => local.conn.push(ToClient::Taken {}, Vec::new(), Vec::new()),
                    };
                    gateway.flush(channel);
                }
            });
        }
    }

    fn client_told(&mut self, said: &Said, objects: Vec<Arrived>) -> Result<(), String> {
        let message: ToClient = message(said)?;
        let Some(local) = self.locals.get_mut(&said.channel) else { return Ok(()) };
        let is_welcome = matches!(message, ToClient::Welcome { .. });
        let (payloads, held) = given(objects);
        local.conn.push(message, payloads, held).map_err(|error| error.to_string())?;
        if is_welcome {
            local.conn.flush_with(self.arena.fd()).map_err(|error| error.to_string())?;
        }
        self.flush(said.channel);
        Ok(())
    }

    /// The controller hangs up on somebody, or knows that he is gone.
    fn closed(&mut self, channel: u32) {
        match self.locals.get(&channel) {
            None => self.look_whether_done(),
            Some(local) if local.engine.is_some() => self.leave(channel),
            Some(_) => {
                self.locals.remove(&channel);
                self.look_whether_done();
            }
        }
    }

    /// A local connection is over.
    fn hung_up(&mut self, channel: u32, problem: &str) {
        let Some(local) = self.locals.get_mut(&channel) else { return };
        if local.engine.is_some() {
            return self.engine_hung_up(channel, problem);
        }
        let pid = local.conn.pid;
        self.locals.remove(&channel);
        self.arena.sweep_process(pid);
        if self.welcome {
            self.tell(&FromGateway::Ended { channel, reason: String::new(), begun: 0 });
        }
        self.end(Ended::Well("its client has gone".to_owned()));
    }

    /// Writes what waits for somebody.
    fn flush(&mut self, channel: u32) {
        if let Some(local) = self.locals.get_mut(&channel) {
            local.conn.write_out(&self.me, move |gateway| Some(&mut gateway.locals.get_mut(&channel)?.conn));
        }
    }

    /// Everybody has gone.
    fn look_whether_done(&mut self) {
        if self.locals.is_empty() {
            self.end(Ended::Well("its engines have ended".to_owned()));
        }
    }

    /// Ends everything.
    fn end(&mut self, how: Ended) {
        if self.over.is_some() {
            return;
        }
        let (Ended::Well(reason) | Ended::Badly(reason)) = how.clone();
        self.over = Some(how);
        self.stirred.notify_one();
        for (channel, is_engine) in
            self.locals.iter().map(|(channel, local)| (*channel, local.engine.is_some())).collect::<Vec<_>>()
        {
            if is_engine {
                self.leave(channel);
            } else if let Some(local) = self.locals.get_mut(&channel) {
                let _ = local.conn.push(ToClient::Bye { reason: reason.clone() }, Vec::new(), Vec::new());
                self.flush(channel);
            }
        }
    }

    /// Waits until engines have ended, and what was said last has been sent.
    async fn finish(gateway: &Rc<RefCell<Gateway>>) {
        while gateway.borrow().locals.values().any(|local| local.engine.is_some()) {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        let until = Instant::now() + LAST;
        let unsent = || gateway.borrow().line.as_ref().is_some_and(|line| !line.is_flushed());
        while unsent() && Instant::now() < until {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let line = gateway.borrow_mut().line.take();
        if let Some(mut line) = line {
            line.close();
        }
    }
}

impl Owner for Gateway {
    type Message = ToGateway;

    fn line(&mut self, generation: u64) -> Option<&mut Line<ToGateway>> {
        self.line.as_mut().filter(|_| self.generation == generation)
    }

    fn came(&mut self, generation: u64, taken: Result<(), LinkError>) {
        self.told(generation, taken);
    }

    fn is_here(&mut self, _: u64) {
        self.tell(&FromGateway::Beat {});
    }

    fn silent(&mut self, generation: u64, since: Duration) {
        let why = format!("the controller has not been heard from for {:.1} s", since.as_secs_f64());
        self.lost(generation, &why);
    }

    fn broke(&mut self, generation: u64, why: &str) {
        self.lost(generation, why);
    }
}

impl Looks for Gateway {
    fn look(&mut self) -> &mut Look {
        &mut self.look
    }

    fn read(&mut self, here: u64) -> io::Result<bool> {
        self.read_local(channel(here))
    }

    fn hear(&mut self, here: u64) {
        self.heard(channel(here));
    }

    fn has(&self, here: u64) -> bool {
        self.locals.contains_key(&channel(here))
    }

    fn lose(&mut self, here: u64) {
        self.hung_up(channel(here), "");
    }

    fn listen_far(&mut self, far: u64) -> bool {
        matches!(line::read_now(self, far), Ok(true))
    }

    fn is_busy(&self) -> bool {
        self.line.as_ref().is_some_and(|line| !line.is_flushed())
    }

    fn speak(&mut self) {
        // What one says is for one: it is passed on as it comes.
    }
}

/// The number of a local connection, under which it is looked at.
fn channel(here: u64) -> u32 {
    u32::try_from(here).unwrap_or(u32::MAX)
}

/// Objects that have come, as they are given on, and what holds their memory.
fn given(objects: Vec<Arrived>) -> (Vec<Payload>, Vec<Held>) {
    let payloads = payloads(&objects);
    (payloads, objects.into_iter().flatten().filter(Held::has_blocks).collect())
}
