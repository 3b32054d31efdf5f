//! Gateways: the engines and clients of other machines, each of which is here as if it had connected here.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use phalanx_wire::cluster::{Hello, PROTOCOL, Parcel, Payload, Role};
use phalanx_wire::far::{FromGateway, Known, Said, ToGateway};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::spawn_local;

use super::conn::{Conn, End, Kind};
use super::engines::Process;
use super::{HELLO, HELLO_BYTES, Server, is_same, now};
use crate::far::line::{self, Line, Owner};
use crate::far::link::{Arrived, Link, LinkError, message, payloads};
use crate::far::stream::Stream;
use crate::far::tls::{self, Acceptor, Identity};

/// So many may be about to say who they are.
const STRANGERS: usize = 64;
/// What a gateway is sent at the end has so long to get there.
const LAST: Duration = Duration::from_millis(500);

/// What a controller is reached with from other machines.
pub struct Far {
    /// Where.
    pub listener: std::net::TcpListener,
    /// What it shows.
    pub identity: Identity,
    /// From one heartbeat to the next; who is silent for more than three is lost.
    pub beat: Duration,
}

/// A gateway that has connected.
pub(crate) struct Gateway {
    pub(super) line: Line<FromGateway>,
    beat: Duration,
    /// How it is called in the log: its machine, once it has said that.
    name: String,
    /// It has shown the token.
    known: bool,
    channels: BTreeMap<u32, u64>,
}

/// Begins to take connections of other machines.
///
/// # Errors
/// What the system says.
pub(crate) fn listen(server: &Rc<RefCell<Server>>, far: Far) -> io::Result<()> {
    far.listener.set_nonblocking(true)?;
    let listener = TcpListener::from_std(far.listener)?;
    let acceptor = tls::acceptor(&far.identity)?;
    spawn_local(accept(server.clone(), listener, acceptor, far.beat));
    Ok(())
}

async fn accept(server: Rc<RefCell<Server>>, listener: TcpListener, acceptor: Acceptor, beat: Duration) {
    let strangers = std::sync::Arc::new(Semaphore::new(STRANGERS));
    loop {
        // While too many say nothing, others wait; each of those has HELLO seconds.
        let Ok(permit) = strangers.clone().acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, from)) => {
                let (server, acceptor) = (server.clone(), acceptor.clone());
                spawn_local(async move {
                    greet(server, acceptor, stream, from, beat).await;
                    drop(permit);
                });
            }
            Err(error) => {
                server.borrow_mut().say(&format!("a connection could not be taken: {error}"));
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

/// Has somebody show who he is.
async fn greet(server: Rc<RefCell<Server>>, acceptor: Acceptor, stream: TcpStream, from: SocketAddr, beat: Duration) {
    let until = tokio::time::Instant::now() + HELLO;
    let agreed = async { Stream::agree(stream, acceptor.accept()?).await };
    let problem = match tokio::time::timeout_at(until, agreed).await {
        Ok(Ok(stream)) => {
            let id = Server::gateway_connected(&server, stream, from, beat);
            // It counts as a stranger until it has shown the token.
            while tokio::time::Instant::now() < until {
                if server.borrow().gateways.get(&id).is_none_or(|gateway| gateway.known) {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            server.borrow_mut().gateway_lost(id, "it did not say who it is");
            return;
        }
        Ok(Err(error)) => format!("no TLS 1.3 as ours: {error}"),
        Err(_) => "it said nothing".to_owned(),
    };
    server.borrow_mut().say(&format!("{from} has connected and was refused: {problem}"));
}

/// Waits until what was said last to gateways has gone out.
pub(crate) async fn last_words(server: &Rc<RefCell<Server>>) {
    let until = Instant::now() + LAST;
    server.borrow_mut().close_gateways();
    while Instant::now() < until && !server.borrow().gateways.is_empty() {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

impl Server {
    fn gateway_connected(server: &Rc<RefCell<Server>>, stream: Stream, from: SocketAddr, beat: Duration) -> u64 {
        let id = {
            let mut server = server.borrow_mut();
            let id = server.next_conn;
            server.next_conn += 1;
            let gateway = Gateway {
                line: Line::new(Link::new(server.arena, server.version), stream),
                beat,
                name: from.to_string(),
                known: false,
                channels: BTreeMap::new(),
            };
            server.gateways.insert(id, gateway);
            id
        };
        line::attend(server, id);
        line::beat(server, id, beat);
        id
    }

    /// Something has come from a gateway.
    fn gateway_said(&mut self, id: u64, taken: Result<(), LinkError>) {
        self.core.at(now());
        let mut taken = taken.map_err(|error| error.to_string());
        while let Some(gateway) = self.gateways.get_mut(&id) {
            let Some((message, objects)) = gateway.line.link.next() else { break };
            if let Err(problem) = self.gateway_says(id, message, objects) {
                taken = Err(problem);
                break;
            }
        }
        if let Some(gateway) = self.gateways.get(&id)
            && !gateway.known
            && gateway.line.link.noise() > HELLO_BYTES
        {
            taken = Err("it sent too much before it said who it is".to_owned());
        }
        if let Err(problem) = taken {
            self.dismiss_gateway(id, &problem);
        }
        self.turn();
    }

    fn gateway_says(&mut self, id: u64, message: FromGateway, objects: Vec<Arrived>) -> Result<(), String> {
        let Some(gateway) = self.gateways.get_mut(&id) else { return Ok(()) };
        if let FromGateway::Hello { protocol, token, host, pid } = message {
            return self.gateway_greets(id, protocol, &token, &host, pid);
        }
        if !gateway.known {
            return Err("it has not said who it is".to_owned());
        }
        let on = |channel: &u32| gateway.channels.get(channel).copied();
        match message {
            FromGateway::Hello { .. } | FromGateway::Beat {} => {}
            FromGateway::Open { channel, hello, known } => self.far_opened(id, channel, hello, known),
            FromGateway::Said(said) => {
                let conn = on(&said.channel);
                if let Some(conn) = conn {
                    self.far_said(conn, &said, objects)?;
                }
            }
            FromGateway::Text { channel, is_error, text } => {
                if let Some(Kind::Engine(engine)) = on(&channel).and_then(|conn| self.conns.get(&conn)).map(|c| c.kind)
                {
                    self.core.printed(engine, is_error, &text);
                }
            }
            FromGateway::Ended { channel, reason, begun } => {
                if let Some(conn) = gateway.channels.remove(&channel) {
                    self.far_ended(conn, reason, begun);
                }
            }
            FromGateway::Failed { id: engine, reason } => {
                if self.again.remove(&engine) {
                    self.core.engine_failed(engine, &reason);
                }
            }
        }
        Ok(())
    }

    fn gateway_greets(&mut self, id: u64, protocol: u32, token: &str, host: &str, pid: u32) -> Result<(), String> {
        let is_right = is_same(token.as_bytes(), self.token.as_bytes());
        let cluster_id = self.cluster_id.clone();
        let Some(gateway) = self.gateways.get_mut(&id).filter(|gateway| !gateway.known) else { return Ok(()) };
        if !is_right {
            return Err("the token is not that of this cluster: is the connection file an old one?".to_owned());
        }
        if protocol != PROTOCOL {
            return Err(format!("it speaks protocol {protocol}, the controller {PROTOCOL}"));
        }
        gateway.known = true;
        gateway.line.link.trust();
        // Names go to the log and to users: in one line.
        let host: String = host.chars().filter(|letter| !letter.is_control()).take(255).collect();
        let from = std::mem::replace(&mut gateway.name, host);
        let beat = u64::try_from(gateway.beat.as_millis()).unwrap_or(u64::MAX);
        let line = format!("{} has connected from {from} (process {pid})", gateway.name);
        self.tell_gateway(id, &ToGateway::Welcome { cluster_id, beat });
        self.note(&line);
        Ok(())
    }

    /// Adds a message to a gateway.
    pub(crate) fn tell_gateway(&mut self, id: u64, message: &ToGateway) {
        let Some(gateway) = self.gateways.get_mut(&id) else { return };
        let pushed = gateway.line.link.push(message);
        gateway.line.stir();
        self.stirred.insert(id);
        if let Err(error) = pushed {
            self.gateway_lost(id, &error.to_string());
        }
    }

    /// Says something to who is on a channel.
    pub(crate) fn say_far<M: serde::Serialize>(&mut self, id: u64, channel: u32, message: &M, payloads: Vec<Payload>) {
        let Some(gateway) = self.gateways.get_mut(&id) else { return };
        let pushed = gateway.line.link.say(channel, message, payloads, ToGateway::Said);
        gateway.line.stir();
        self.stirred.insert(id);
        if let Err(error) = pushed {
            self.gateway_lost(id, &error.to_string());
        }
    }

    /// Whoever was on a channel is hung up on.
    pub(crate) fn close_far(&mut self, id: u64, channel: u32) {
        if let Some(gateway) = self.gateways.get_mut(&id)
            && gateway.channels.remove(&channel).is_some()
        {
            self.tell_gateway(id, &ToGateway::Close { channel });
        }
    }

    /// Somebody has connected to a gateway.
    fn far_opened(&mut self, id: u64, channel: u32, hello: Hello, known: Option<Known>) {
        let conn = self.next_conn;
        self.next_conn += 1;
        let Some(gateway) = self.gateways.get_mut(&id) else { return };
        if gateway.channels.contains_key(&channel) {
            return;
        }
        gateway.channels.insert(channel, conn);
        let host = gateway.name.clone();
        let end = End::Far { gateway: id, channel };
        self.conns.insert(conn, Conn::new(end, Kind::New, 0, self.version));
        if hello.protocol != PROTOCOL {
            let problem = format!("it speaks protocol {}, the controller {PROTOCOL}", hello.protocol);
            return self.dismiss(conn, &problem);
        }
        if hello.role != Role::Engine {
            return self.client_connected(conn, 0, hello);
        }
        if let Some(problem) = self.mismatch(&hello.python, "the Python of this engine") {
            return self.refuse_engine(conn, &problem);
        }
        self.python_is(&hello.python);
        let process = Process::far(id, channel, conn, hello.pid, host);
        let back = known.filter(|known| self.away.get(&known.id) == Some(&known.uuid));
        let number = match (&back, hello.number) {
            (Some(known), _) => known.id,
            (None, Some(number)) if self.again.remove(&number) => number,
            (None, wanted) => {
                self.core.engines_starting(1);
                self.numbers.take(wanted)
            }
        };
        if let Some(conn) = self.conns.get_mut(&conn) {
            conn.kind = Kind::Engine(number);
        }
        match back {
            Some(Known { uuid, .. }) => {
                self.away.remove(&number);
                let process = process.known(uuid);
                let info = process.info(number);
                self.say(&format!("engine {number} on {} is back", info.host));
                self.processes.insert(number, process);
                self.core.engine_joined(info, false);
            }
            None => {
                self.processes.insert(number, process);
            }
        }
        self.welcome_engine(number, conn);
    }

    fn far_said(&mut self, conn: u64, said: &Said, objects: Vec<Arrived>) -> Result<(), String> {
        let payloads = payloads(&objects);
        match self.conns.get(&conn).map(|conn| conn.kind) {
            Some(Kind::Engine(engine)) => {
                let body = message(said)?;
                self.reported(engine, conn, Parcel { taken: 0, body, payloads });
            }
            Some(Kind::Client) => {
                let body = message(said)?;
                self.asked(conn, Parcel { taken: 0, body, payloads });
            }
            _ => {}
        }
        Ok(())
    }

    fn far_ended(&mut self, conn: u64, reason: String, begun: u64) {
        match self.conns.get(&conn).map(|conn| conn.kind) {
            Some(Kind::Engine(engine)) => {
                let Some(process) = self.processes.get_mut(&engine) else { return };
                process.has_ended(reason, begun);
                let (pid, far) = (process.pid, process.place());
                self.engine_ended(engine, pid);
                if let Some((gateway, channel)) = far
                    && !self.again.contains(&engine)
                {
                    self.tell_gateway(gateway, &ToGateway::Close { channel });
                }
            }
            Some(_) => self.hung_up(conn, ""),
            None => {}
        }
    }

    /// Has a gateway start an engine again.
    pub(crate) fn start_far(&mut self, id: u32, gateway: u64) {
        if self.gateways.contains_key(&gateway) {
            self.again.insert(id);
            self.tell_gateway(gateway, &ToGateway::Start { id });
        } else {
            self.core.engine_failed(id, "could not be started again: its machine is not connected");
        }
    }

    /// Hangs up on a gateway, with a word.
    fn dismiss_gateway(&mut self, id: u64, problem: &str) {
        let Some(gateway) = self.gateways.get_mut(&id) else { return };
        let line = format!("{} is hung up on: {problem}", gateway.name);
        let _ = gateway.line.link.push(&ToGateway::Bye { reason: problem.to_owned() });
        gateway.line.close_soon();
        self.say(&line);
        self.part_with(id, problem);
        // Whoever does not read it is hung up on all the same.
        self.later(LAST, move |server| drop(server.gateways.remove(&id)));
    }

    /// A gateway is gone: its engines may come back, their tasks are lost.
    fn gateway_lost(&mut self, id: u64, why: &str) {
        let Some(gateway) = self.gateways.get_mut(&id) else { return };
        let why = if why.is_empty() { "its connection has ended" } else { why };
        let line = (!gateway.line.is_closing()).then(|| format!("{}: {why}", gateway.name));
        if let Some(line) = line {
            self.say(&line);
        }
        self.part_with(id, why);
        self.gateways.remove(&id);
    }

    /// Ends all that came over a gateway.
    fn part_with(&mut self, id: u64, why: &str) {
        self.core.at(now());
        let Some(gateway) = self.gateways.get_mut(&id) else { return };
        let name = gateway.name.clone();
        for (channel, conn) in std::mem::take(&mut gateway.channels) {
            if let Some(Kind::Engine(engine)) = self.conns.get(&conn).map(|conn| conn.kind)
                && let Some(process) = self.processes.get_mut(&engine).filter(|process| process.is_of(id, channel))
            {
                if let Some(uuid) = process.name_if_wanted() {
                    self.away.insert(engine, uuid);
                }
                // Nobody knows what it has begun: it counts as if all of it was.
                process.has_ended(format!("cannot be reached: its machine {name}: {why}"), u64::MAX);
                let pid = process.pid;
                self.engine_ended(engine, pid);
            } else {
                self.hung_up(conn, "");
            }
        }
        self.turn();
    }

    /// Hangs up on all gateways, after what they are still to be told.
    fn close_gateways(&mut self) {
        for gateway in self.gateways.values_mut() {
            gateway.line.close_soon();
        }
    }
}

impl Owner for Server {
    type Message = FromGateway;

    fn line(&mut self, id: u64) -> Option<&mut Line<FromGateway>> {
        self.gateways.get_mut(&id).map(|gateway| &mut gateway.line)
    }

    fn came(&mut self, id: u64, taken: Result<(), LinkError>) {
        self.gateway_said(id, taken);
    }

    fn is_here(&mut self, id: u64) {
        if self.gateways.get(&id).is_some_and(|gateway| gateway.known) {
            self.tell_gateway(id, &ToGateway::Beat {});
        }
    }

    fn silent(&mut self, id: u64, since: Duration) {
        self.gateway_lost(id, &format!("has not been heard from for {:.1} s", since.as_secs_f64()));
    }

    fn broke(&mut self, id: u64, why: &str) {
        self.gateway_lost(id, why);
    }
}
