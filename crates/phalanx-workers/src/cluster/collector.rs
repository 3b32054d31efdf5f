//! What comes to a client, and which of its threads deals with it. No Python here.
//!
//! A result goes into the [`Slot`] of its task, in whichever thread has read it: one store, which nothing interrupts half-way.
//! A thread that waits for results reads by itself: it **leads**, so that a call has no hop between threads, and others that
//! wait follow it. Everything that runs Python code, of the user's perhaps, is the **receiver's**, the thread of the client:
//! other messages, and word of ends that somebody watches ([`Collector::watch`]). It reads when nobody leads.
//!
//! What a task has shown or printed is dealt with before its result is there: while the receiver has a message in hand, or one
//! waits for it, results queue up behind that.

use std::collections::{HashMap, VecDeque};
use std::os::fd::OwnedFd;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use phalanx_shm::sleep::Next;
use phalanx_wire::cluster::{FromClient, Outcome, ToClient};
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use rustix::io::Errno;

use super::pause::pace;
use super::payload::Held;
use super::socket::{Gone, Message, Socket};

/// A wait looks so often whether a signal has come.
const SLICE: Duration = Duration::from_millis(200);
/// The receiver, which signals do not concern, looks so often.
const LONG: Duration = Duration::from_secs(10);
/// The receiver stays away for so long after somebody has led: who calls again and again leads again and again.
const LINGER: Duration = Duration::from_millis(5);
/// When not all could be written, it is tried again so often.
const BLOCKED: Duration = Duration::from_millis(5);

/// How a task ended.
pub(super) enum End {
    /// The controller has told it, which came at this time, in seconds since the epoch.
    Told(Box<Outcome>, f64),
    /// Nothing will be told of it any more: why.
    Lost(String),
}

/// A task of which the end is, or was, waited for.
pub(super) struct Slot {
    pub(super) id: String,
    /// The engine that it is for.
    pub(super) engine: Option<u32>,
    end: OnceLock<End>,
    payload: Mutex<Option<Held>>,
}

impl Slot {
    pub(super) fn new(id: String, engine: Option<u32>) -> Arc<Self> {
        Arc::new(Self { id, engine, end: OnceLock::new(), payload: Mutex::new(None) })
    }

    /// How it ended, once it has.
    pub(super) fn end(&self) -> Option<&End> {
        self.end.get()
    }

    /// The result, as it came.
    pub(super) fn payload(&self) -> Option<Held> {
        self.payload.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Takes the result.
    pub(super) fn take_payload(&self) -> Option<Held> {
        self.payload.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn fill(&self, end: End, payload: Option<Held>) {
        *self.payload.lock().unwrap_or_else(PoisonError::into_inner) = payload;
        let _ = self.end.set(end);
    }
}

/// Something for the receiver.
pub(super) enum Word<W> {
    /// The controller says this.
    Said(Box<ToClient>, Vec<Held>),
    /// What was watched has ended.
    Ended(W),
}

/// What a wait came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Waited {
    /// All have ended.
    Done,
    /// The time is over.
    TimedOut,
    /// Neither: it is time to see whether a signal has come.
    Look,
}

/// Where the receiver is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Receiver {
    /// It will look at everything before it waits.
    Awake,
    /// It sleeps as long as somebody leads.
    Away,
    /// It sleeps for [`LINGER`], since somebody has led.
    Lingering,
    /// It waits for something to come.
    Polling,
}

struct Watch<W> {
    left: usize,
    what: W,
}

struct State<W> {
    pending: HashMap<String, Arc<Slot>>,
    watches: HashMap<u64, Watch<W>>,
    watched: HashMap<String, Vec<u64>>,
    numbers: u64,
    /// Ends that the receiver is to tell.
    ended: VecDeque<W>,
    /// Messages for the receiver, and results behind them.
    inbox: VecDeque<(ToClient, Vec<Held>)>,
    /// It has taken messages, and has not come back.
    busy: bool,
    receiver: Receiver,
    leads: bool,
    /// When somebody has led last.
    led: Option<Instant>,
    followers: usize,
    gone: Option<Gone>,
}

impl<W> State<W> {
    /// The end of a task.
    fn settle(&mut self, slot: &Slot, end: End, payload: Option<Held>) {
        slot.fill(end, payload);
        for number in self.watched.remove(&slot.id).unwrap_or_default() {
            let Some(watch) = self.watches.get_mut(&number) else { continue };
            watch.left -= 1;
            if watch.left == 0
                && let Some(watch) = self.watches.remove(&number)
            {
                self.ended.push_back(watch.what);
            }
        }
    }

    /// Whether a result of this task is waited for; if so, it has ended.
    fn deliver(&mut self, outcome: Box<Outcome>, held: &mut Vec<Held>) -> Result<(), Box<Outcome>> {
        let Some(slot) = self.pending.remove(&outcome.id) else { return Err(outcome) };
        let payload = held.drain(..).next();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
        self.settle(&slot, End::Told(outcome, now), payload);
        Ok(())
    }

    /// Sorts what has come: whether tasks have ended.
    fn sort(&mut self, socket: &Socket) -> bool {
        let mut any = false;
        while let Some((message, mut held)) = socket.next() {
            let Message::Client(message) = message else { continue };
            let message = match message {
                ToClient::Result(outcome) if self.inbox.is_empty() && !self.busy => {
                    match self.deliver(Box::new(outcome), &mut held) {
                        Ok(()) => {
                            any = true;
                            continue;
                        }
                        Err(outcome) => ToClient::Result(*outcome),
                    }
                }
                other => other,
            };
            self.inbox.push_back((message, held));
        }
        any
    }

    /// What the receiver is to deal with next, at most so many things; whether tasks have ended.
    fn take(&mut self, most: usize) -> (Vec<Word<W>>, bool) {
        let (mut words, mut any, mut said) = (Vec::new(), false, false);
        while words.len() < most {
            if let Some(what) = self.ended.pop_front() {
                words.push(Word::Ended(what));
                continue;
            }
            let Some((message, mut held)) = self.inbox.pop_front() else { break };
            let message = match message {
                ToClient::Result(outcome) if !said => match self.deliver(Box::new(outcome), &mut held) {
                    Ok(()) => {
                        any = true;
                        continue;
                    }
                    Err(outcome) => ToClient::Result(*outcome),
                },
                ToClient::Result(outcome) => {
                    self.inbox.push_front((ToClient::Result(outcome), held));
                    break;
                }
                other => other,
            };
            said = true;
            words.push(Word::Said(Box::new(message), held));
        }
        self.busy = said;
        (words, any)
    }

    /// Everything that has not ended is lost.
    fn lose(&mut self, reason: &str) {
        for slot in std::mem::take(&mut self.pending).into_values() {
            self.settle(&slot, End::Lost(reason.to_owned()), None);
        }
    }

    fn has_words(&self) -> bool {
        !self.ended.is_empty() || !self.inbox.is_empty() || self.gone.is_some()
    }
}

/// What comes to a client. `W` is what a watcher wants to be told with.
pub(super) struct Collector<W> {
    state: Mutex<State<W>>,
    /// Those that follow.
    follow: Condvar,
    /// The receiver while it is away.
    away: Condvar,
    to_leader: OwnedFd,
    to_receiver: OwnedFd,
}

fn bell() -> rustix::io::Result<OwnedFd> {
    eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)
}

fn ring(bell: &OwnedFd) {
    // One that has rung already has.
    let _ = rustix::io::write(bell, &1_u64.to_ne_bytes());
}

fn silence(bell: &OwnedFd) {
    let _ = rustix::io::read(bell, &mut [0_u8; 8][..]);
}

/// Waits until something comes, the bell rings, or a signal comes (`Err`); false when the time is over.
fn wait_for(socket: &Socket, bell: &OwnedFd, limit: Duration) -> Result<bool, Errno> {
    let mut descriptors = [PollFd::new(socket, PollFlags::IN), PollFd::new(bell, PollFlags::IN)];
    let limit = Timespec { tv_sec: limit.as_secs().cast_signed(), tv_nsec: i64::from(limit.subsec_nanos()) };
    let found = poll(&mut descriptors, Some(&limit));
    if !descriptors[1].revents().is_empty() {
        silence(bell);
    }
    match found {
        Err(Errno::INTR) => Err(Errno::INTR),
        Ok(count) => Ok(count > 0),
        // An error of the socket shows when it is read.
        Err(_) => Ok(true),
    }
}

/// Goes on from the first that has not ended; whether all have.
fn all_ended(slots: &[Arc<Slot>], from: &mut usize) -> bool {
    while slots.get(*from).is_some_and(|slot| slot.end().is_some()) {
        *from += 1;
    }
    *from == slots.len()
}

impl<W> Collector<W> {
    /// # Errors
    /// When the system has no descriptor left.
    pub(super) fn new() -> rustix::io::Result<Self> {
        let state = State {
            pending: HashMap::new(),
            watches: HashMap::new(),
            watched: HashMap::new(),
            numbers: 0,
            ended: VecDeque::new(),
            inbox: VecDeque::new(),
            busy: false,
            receiver: Receiver::Awake,
            leads: false,
            led: None,
            followers: 0,
            gone: None,
        };
        Ok(Self {
            state: Mutex::new(state),
            follow: Condvar::new(),
            away: Condvar::new(),
            to_leader: bell()?,
            to_receiver: bell()?,
        })
    }

    fn state(&self) -> MutexGuard<'_, State<W>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Results of these tasks are waited for from now on.
    pub(super) fn expect(&self, slots: &[Arc<Slot>]) {
        let mut state = self.state();
        let gone = state.gone.clone();
        for slot in slots {
            match &gone {
                None => drop(state.pending.insert(slot.id.clone(), slot.clone())),
                Some(reason) => state.settle(slot, End::Lost(reason.clone()), None),
            }
        }
    }

    /// Nothing will be told of these: they could not be sent.
    pub(super) fn forget(&self, slots: &[Arc<Slot>]) {
        let mut state = self.state();
        for slot in slots {
            state.pending.remove(&slot.id);
        }
    }

    /// A task that has not ended.
    pub(super) fn find(&self, id: &str) -> Option<Arc<Slot>> {
        self.state().pending.get(id).cloned()
    }

    /// All that have not ended.
    pub(super) fn pending(&self) -> Vec<Arc<Slot>> {
        self.state().pending.values().cloned().collect()
    }

    /// Has the receiver told when all of these have ended; gives `what` back if they have.
    pub(super) fn watch(&self, slots: &[Arc<Slot>], what: W) -> Option<W> {
        let mut state = self.state();
        let left: Vec<&Arc<Slot>> = slots.iter().filter(|slot| slot.end().is_none()).collect();
        if left.is_empty() {
            return Some(what);
        }
        let number = state.numbers;
        state.numbers += 1;
        for slot in &left {
            state.watched.entry(slot.id.clone()).or_default().push(number);
        }
        state.watches.insert(number, Watch { left: left.len(), what });
        self.call_back(&state);
        None
    }

    /// Something is to be dealt with as soon as it comes: the receiver does not stay away.
    pub(super) fn attend(&self) {
        let mut state = self.state();
        state.led = None;
        self.call_back(&state);
    }

    fn call_back(&self, state: &State<W>) {
        if state.receiver == Receiver::Lingering {
            self.away.notify_one();
        }
    }

    /// Everything that has not ended is lost, for this reason.
    pub(super) fn lose(&self, reason: &str) {
        let mut state = self.state();
        state.gone.get_or_insert_with(|| reason.to_owned());
        state.lose(reason);
        self.tell(&state, true, false);
    }

    /// Whoever has to know is told: that tasks have ended, and that there is something for the receiver.
    fn tell(&self, state: &State<W>, any: bool, by_leader: bool) {
        if any && state.followers > 0 {
            self.follow.notify_all();
        }
        if any && state.leads && !by_leader {
            ring(&self.to_leader);
        }
        if state.has_words() {
            match state.receiver {
                Receiver::Awake => {}
                Receiver::Away | Receiver::Lingering => self.away.notify_one(),
                Receiver::Polling => ring(&self.to_receiver),
            }
        }
    }

    /// Reads and sorts what has come.
    fn collect(&self, socket: &Socket, by_leader: bool) {
        let read = socket.read();
        let mut state = self.state();
        let mut any = state.sort(socket);
        if let Err(gone) = read
            && state.gone.is_none()
            && state.inbox.is_empty()
            && !state.busy
        {
            state.lose(&gone);
            state.gone = Some(gone);
            any = true;
        }
        self.tell(&state, any, by_leader);
    }

    /// Says what is owed, and gives the time to the next look.
    fn before_sleep(&self, socket: &Socket, limit: Duration) -> Duration {
        if socket.owes_word() {
            let _ = socket.push(FromClient::Taken {}, &[]);
        }
        match socket.flush() {
            Ok(true) => limit,
            Ok(false) => limit.min(BLOCKED),
            // It shows at the next read.
            Err(_) => Duration::ZERO,
        }
    }

    /// Waits until all of these have ended, not longer than [`SLICE`] at a time. `from` is where the last call was.
    pub(super) fn wait(
        &self,
        socket: &Socket,
        slots: &[Arc<Slot>],
        from: &mut usize,
        until: Option<Instant>,
    ) -> Waited {
        if all_ended(slots, from) {
            return Waited::Done;
        }
        let look = Instant::now() + SLICE;
        let end = until.map_or(look, |until| until.min(look));
        let mut state = self.state();
        loop {
            if all_ended(slots, from) {
                return Waited::Done;
            }
            let now = Instant::now();
            if now >= end {
                return if until.is_some_and(|until| now >= until) { Waited::TimedOut } else { Waited::Look };
            }
            if state.leads {
                state.followers += 1;
                (state, _) = self.follow.wait_timeout(state, end - now).unwrap_or_else(PoisonError::into_inner);
                state.followers -= 1;
                continue;
            }
            state.leads = true;
            if state.receiver == Receiver::Polling {
                ring(&self.to_receiver);
            }
            drop(state);
            let led = self.lead(socket, slots, from, end);
            state = self.state();
            state.leads = false;
            state.led = Some(Instant::now());
            if state.followers > 0 {
                // One of them leads from here on.
                self.follow.notify_all();
            }
            if state.receiver == Receiver::Away {
                self.away.notify_one();
            }
            if led.is_err() {
                return Waited::Look;
            }
        }
    }

    fn lead(&self, socket: &Socket, slots: &[Arc<Slot>], from: &mut usize, end: Instant) -> Result<(), Errno> {
        let mut pace = pace();
        loop {
            self.collect(socket, true);
            if all_ended(slots, from) {
                pace.learn();
                return Ok(());
            }
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(());
            }
            if pace.step() == Next::Look {
                continue;
            }
            let limit = self.before_sleep(socket, left);
            if wait_for(socket, &self.to_leader, limit)? {
                pace.woken();
            } else {
                pace.slept_in_vain();
            }
        }
    }

    /// For the receiver: what it is to deal with, at most so many things; none when the time is over, or a
    /// signal has come. It has dealt with what it was given before.
    ///
    /// # Errors
    /// Why the controller is gone, once everything that it said was taken.
    pub(super) fn receive(&self, socket: &Socket, most: usize, until: Option<Instant>) -> Result<Vec<Word<W>>, Gone> {
        let mut state = self.state();
        state.busy = false;
        let mut first = true;
        loop {
            let (words, any) = state.take(most);
            if any {
                self.tell(&state, true, false);
            }
            if !words.is_empty() {
                return Ok(words);
            }
            if let Some(gone) = &state.gone {
                return Err(gone.clone());
            }
            let left = until.map_or(LONG, |until| until.saturating_duration_since(Instant::now()).min(LONG));
            if left.is_zero() && !first {
                return Ok(Vec::new());
            }
            first = false;
            let lingers = state.led.is_some_and(|led| led.elapsed() < LINGER) && state.watches.is_empty();
            if state.leads || lingers {
                let (place, limit) =
                    if state.leads { (Receiver::Away, left) } else { (Receiver::Lingering, left.min(LINGER)) };
                state.receiver = place;
                (state, _) = self.away.wait_timeout(state, limit).unwrap_or_else(PoisonError::into_inner);
                state.receiver = Receiver::Awake;
                continue;
            }
            state.receiver = Receiver::Polling;
            drop(state);
            let limit = self.before_sleep(socket, left);
            let waited = wait_for(socket, &self.to_receiver, limit);
            state = self.state();
            state.receiver = Receiver::Awake;
            if waited.is_err() {
                return Ok(Vec::new());
            }
            if !state.leads {
                drop(state);
                self.collect(socket, false);
                state = self.state();
            }
        }
    }
}
