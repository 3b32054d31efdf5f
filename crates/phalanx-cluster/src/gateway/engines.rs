//! The engines of a gateway: started, watched, given one task at a time.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::rc::Rc;
use std::time::{Duration, Instant};

use phalanx_shm::{Block, BlockKind};
use phalanx_wire::cluster::{FromEngine, Parcel, TEXT, ToEngine};
use phalanx_wire::far::{FromGateway, Known, Said};
use rustix::process::{Pid, Signal};
use tokio::io::unix::AsyncFd;
use tokio::net::UnixStream;
use tokio::task::spawn_local;

use super::{Gateway, given};
use crate::far::link::{Arrived, message};
use crate::server::Launcher;
use crate::server::conn::Kind;
use crate::server::engines::{begun, ending, watch};
use crate::server::objects::Held;
use crate::server::text::Stream;

/// A task that takes so long holds up those behind it: they go back to the controller.
const LONG: Duration = Duration::from_millis(5);
/// An engine that is to leave has so long, and as long again after SIGTERM.
const GRACE: Duration = Duration::from_millis(1000);
/// Of what an engine printed before it was there, so much is told when it dies.
const WORDS: usize = 2000;

/// A task, as it is given to an engine.
struct Task {
    id: String,
    message: ToEngine,
    objects: Vec<Arrived>,
}

/// An engine of ours.
pub(super) struct Engine {
    pid: u32,
    watch: Option<Rc<AsyncFd<OwnedFd>>>,
    streams: [Option<Stream>; 2],
    note: Block,
    /// The number that it is to have.
    pub(super) number: Option<u32>,
    /// What the controller calls it.
    pub(super) known: Option<Known>,
    queue: VecDeque<Task>,
    /// The task that it is in, since when, and what holds its objects.
    current: Option<(String, Instant, Vec<Held>)>,
    /// That task was the last connection's: nobody wants its result.
    stale: bool,
    leaving: bool,
    /// What it printed before the controller knew it.
    words: String,
    why: Option<String>,
}

impl Engine {
    /// The connection is gone, and with it what was asked over it.
    pub(super) fn forget(&mut self) {
        self.queue.clear();
        self.stale = self.current.is_some();
    }
}

impl Gateway {
    fn engine(&mut self, channel: u32) -> Option<&mut Engine> {
        self.locals.get_mut(&channel)?.engine.as_mut()
    }

    /// Starts so many engines; they would like to have numbers from this one on.
    pub(super) fn start_engines(
        &mut self,
        count: u32,
        first: Option<u32>,
        launcher: Box<dyn Launcher>,
    ) -> io::Result<()> {
        self.launcher = Some(launcher);
        for index in 0..count {
            self.start_engine(first.map(|first| first.saturating_add(index)), count)?;
        }
        Ok(())
    }

    /// Starts again the engine of this number.
    pub(super) fn start_engine_again(&mut self, number: u32) -> io::Result<()> {
        let others = self.locals.values().filter(|local| local.engine.is_some()).count();
        self.start_engine(Some(number), u32::try_from(others).unwrap_or(u32::MAX).saturating_add(1))
    }

    /// Starts an engine, which would like to have this number, one of so many.
    fn start_engine(&mut self, number: Option<u32>, engines: u32) -> io::Result<()> {
        let Some(launcher) = &mut self.launcher else {
            return Err(io::Error::other("this is the gateway of a client"));
        };
        let (ours, theirs) = std::os::unix::net::UnixStream::pair()?;
        ours.set_nonblocking(true)?;
        let launched = launcher.start(number.unwrap_or(0), engines, theirs.as_fd())?;
        drop(theirs);
        let note =
            self.arena.alloc_zeroed(64, BlockKind::Plain).map_err(|error| io::Error::other(error.to_string()))?;
        let watch = watch(launched.pid).map(Rc::new);
        let engine = Engine {
            pid: launched.pid,
            watch: watch.clone(),
            streams: [Some(Stream::new(launched.stdout)?), Some(Stream::new(launched.stderr)?)],
            note,
            number,
            known: None,
            queue: VecDeque::new(),
            current: None,
            stale: false,
            leaving: false,
            words: String::new(),
            why: None,
        };
        let pipes = [0, 1].map(|index| engine.streams[index].as_ref().map(|stream| stream.pipe.clone()));
        let channel = self.add(UnixStream::from_std(ours)?, Kind::Child(0), launched.pid, Some(engine));
        let Some(me) = self.own() else { return Ok(()) };
        if let Some(watch) = watch {
            let me = me.clone();
            spawn_local(async move {
                let _ = watch.readable().await;
                me.borrow_mut().engine_ended(channel);
            });
        }
        for (index, pipe) in pipes.into_iter().enumerate() {
            let Some(pipe) = pipe else { continue };
            let me = me.clone();
            spawn_local(async move {
                loop {
                    let Ok(mut ready) = pipe.readable().await else { return };
                    match me.borrow_mut().read_text(channel, index) {
                        Some(true) => {}
                        Some(false) => ready.clear_ready(),
                        None => return,
                    }
                }
            });
        }
        Ok(())
    }

    /// Reads what an engine has printed, and tells it; whether there may be more, and nothing when there will be none.
    fn read_text(&mut self, channel: u32, index: usize) -> Option<bool> {
        let engine = self.locals.get_mut(&channel)?.engine.as_mut()?;
        let stream = engine.streams[index].as_mut()?;
        let more = stream.read(&mut self.text_room);
        if stream.ended {
            stream.end();
        }
        let ended = stream.ended;
        self.tell_text(channel);
        (!ended).then_some(more)
    }

    /// Reads and tells all that an engine has printed.
    fn drain_text(&mut self, channel: u32) {
        let Some(engine) = self.locals.get_mut(&channel).and_then(|local| local.engine.as_mut()) else { return };
        for stream in engine.streams.iter_mut().flatten() {
            stream.drain(&mut self.text_room);
        }
        self.tell_text(channel);
    }

    fn tell_text(&mut self, channel: u32) {
        let Some(engine) = self.engine(channel) else { return };
        let texts = engine
            .streams
            .each_mut()
            .map(|stream| stream.as_mut().map(|stream| std::mem::take(&mut stream.untold)).unwrap_or_default());
        if engine.known.is_none() {
            for text in texts {
                if engine.words.len() < WORDS * 8 {
                    engine.words.push_str(&text);
                }
            }
            return;
        }
        if !self.welcome || self.engine(channel).is_some_and(|engine| engine.stale) {
            return;
        }
        for (index, text) in texts.into_iter().enumerate() {
            let mut rest = text.as_str();
            while !rest.is_empty() {
                let (piece, after) = rest.split_at(rest.floor_char_boundary(TEXT.min(rest.len())));
                self.tell(&FromGateway::Text { channel, is_error: index == 1, text: piece.to_owned() });
                rest = after;
            }
        }
    }

    /// The controller says something to an engine.
    ///
    /// # Errors
    /// When it is no message.
    pub(super) fn engine_told(&mut self, said: &Said, objects: Vec<Arrived>) -> Result<(), String> {
        let channel = said.channel;
        let message: ToEngine = message(said)?;
        let Some(local) = self.locals.get_mut(&channel) else { return Ok(()) };
        let Some(engine) = local.engine.as_mut() else { return Ok(()) };
        match message {
            ToEngine::Welcome { identity, engine_id, cluster_id, version, more, .. } => {
                let is_new = engine.known.is_none();
                engine.known = Some(Known { id: engine_id, uuid: identity.clone() });
                if is_new {
                    let (note, pid) = (engine.note.handle().to_u64(), std::process::id());
                    let welcome = ToEngine::Welcome { identity, engine_id, cluster_id, note, pid, version, more };
                    let pushed = local.conn.push(welcome, Vec::new(), Vec::new());
                    pushed.map_err(|error| error.to_string())?;
                    // An engine that dies at this moment is seen by who watches it.
                    let _ = local.conn.flush_with(self.arena.fd());
                }
            }
            ToEngine::Run { ref id, .. } => {
                engine.queue.push_back(Task { id: id.clone(), message, objects });
                match engine.current.as_ref().map(|(_, since, _)| since.elapsed()) {
                    None => self.feed(channel),
                    Some(taken) if taken >= LONG => self.give_back(channel),
                    Some(taken) => self.later(LONG - taken, move |gateway| gateway.give_back(channel)),
                }
            }
            other => {
                engine.leaving |= matches!(other, ToEngine::Exit {} | ToEngine::Bye { .. });
                local.conn.push(other, Vec::new(), Vec::new()).map_err(|error| error.to_string())?;
            }
        }
        self.flush(channel);
        Ok(())
    }

    /// Gives an engine its next task.
    fn feed(&mut self, channel: u32) {
        let Some(local) = self.locals.get_mut(&channel) else { return };
        let Some(engine) = local.engine.as_mut().filter(|engine| engine.current.is_none()) else { return };
        let Some(Task { id, message, objects }) = engine.queue.pop_front() else { return };
        let (payloads, held) = given(objects);
        engine.current = Some((id, Instant::now(), held));
        if let Err(error) = local.conn.push(message, payloads, Vec::new()) {
            engine.why = Some(format!("was killed: what it was to be told cannot be: {error}"));
            return self.kill_engine(channel);
        }
        self.flush(channel);
    }

    /// Gives back what waits behind a task that takes long: another engine may be idle.
    fn give_back(&mut self, channel: u32) {
        let Some(engine) = self.engine(channel) else { return };
        let is_long = engine.current.as_ref().is_some_and(|(_, since, _)| since.elapsed() >= LONG);
        if is_long && !engine.queue.is_empty() {
            let ids = engine.queue.drain(..).map(|task| task.id).collect();
            self.pass_on(channel, &FromEngine::Returned { ids }, Vec::new());
        }
    }

    /// An engine says something.
    pub(super) fn reported(&mut self, channel: u32, parcel: Parcel<FromEngine>) {
        let has_blocks = parcel.has_blocks();
        let Some(engine) = self.engine(channel) else { return };
        let mut is_wanted = true;
        match &parcel.body {
            FromEngine::Done { id, printed, .. } => {
                if *printed {
                    self.drain_text(channel);
                }
                let Some(engine) = self.engine(channel) else { return };
                if engine.current.as_ref().is_some_and(|(current, _, _)| current == id) {
                    engine.current = None;
                    is_wanted = !std::mem::take(&mut engine.stale);
                }
            }
            FromEngine::Output { .. } => {
                is_wanted = !engine.stale;
                self.drain_text(channel);
            }
            FromEngine::Returned { ids } => {
                is_wanted = !engine.stale;
                if engine.current.as_ref().is_some_and(|(current, _, _)| ids.contains(current)) {
                    engine.current = None;
                    engine.stale = false;
                }
            }
            FromEngine::Bye {} => engine.leaving = true,
            FromEngine::Taken {} | FromEngine::Begin { .. } => is_wanted = false,
            FromEngine::Ready {} => {}
        }
        if is_wanted {
            self.pass_on(channel, &parcel.body, parcel.payloads);
        }
        if has_blocks {
            self.taken(channel);
        }
        self.feed(channel);
    }

    /// Signals an engine's process.
    pub(super) fn signal_engine(&mut self, channel: u32, signal: i32) {
        let Some(signal) = Signal::from_named_raw(signal) else { return };
        if let Some(watch) = self.engine(channel).and_then(|engine| engine.watch.clone()) {
            let _ = rustix::process::pidfd_send_signal(watch.get_ref(), signal);
        }
    }

    /// Kills an engine, with what it has started.
    pub(super) fn kill_engine(&mut self, channel: u32) {
        // Its number is its own until it is reaped, and its group has the same.
        if let Some(pid) = self.engine(channel).and_then(|engine| Pid::from_raw(engine.pid.cast_signed())) {
            let _ = rustix::process::kill_process_group(pid, Signal::KILL);
        }
    }

    /// Asks an engine to end, and sees to it that it does.
    pub(super) fn leave(&mut self, channel: u32) {
        let Some(local) = self.locals.get_mut(&channel) else { return };
        let Some(engine) = local.engine.as_mut() else { return };
        engine.leaving = true;
        let is_busy = engine.current.is_some() || engine.known.is_none();
        let _ = local.conn.push(ToEngine::Exit {}, Vec::new(), Vec::new());
        self.flush(channel);
        if is_busy {
            self.signal_engine(channel, Signal::TERM.as_raw());
        } else {
            self.later(GRACE, move |gateway| gateway.signal_engine(channel, Signal::TERM.as_raw()));
        }
        self.later(2 * GRACE, move |gateway| gateway.kill_engine(channel));
    }

    /// The connection of an engine has ended: without it, it is of no use.
    pub(super) fn engine_hung_up(&mut self, channel: u32, problem: &str) {
        let problem = problem.to_owned();
        self.later(GRACE, move |gateway| {
            let Some(engine) = gateway.engine(channel) else { return };
            let why = if problem.is_empty() { "closed its connection, and was killed" } else { &problem };
            engine.why.get_or_insert_with(|| why.to_owned());
            gateway.kill_engine(channel);
        });
    }

    /// The process of an engine has ended.
    fn engine_ended(&mut self, channel: u32) {
        // What it said and printed last has come, and counts.
        while matches!(self.read_local(channel), Ok(true)) {
            self.heard(channel);
        }
        self.drain_text(channel);
        let Some(engine) = self.locals.remove(&channel).and_then(|local| local.engine) else { return };
        let child = engine.watch.as_ref().map(|watch| watch.get_ref());
        let mut reason = ending(engine.pid, child, engine.why.as_deref(), &mut self.oom);
        let begun = begun(&engine.note);
        self.arena.sweep_process(engine.pid);
        let words = engine.words.trim();
        if engine.known.is_none() && !words.is_empty() {
            let words = &words[words.ceil_char_boundary(words.len().saturating_sub(WORDS))..];
            reason = format!("{reason}: {words}");
        }
        if engine.known.is_none() {
            self.say(&format!("an engine never came: it {reason}"));
        }
        let is_told = self.welcome && self.line.is_some() && engine.known.is_some();
        if is_told {
            // It says whether that was to be expected: it has us start another one, or hangs up.
            self.tell(&FromGateway::Ended { channel, reason, begun });
        } else {
            self.look_whether_done();
        }
    }
}
