//! Who runs which task: what has happened goes in, what is to be done comes out.
//!
//! There is no input or output here, no clock and no Python. Whatever happens to engines and clients, **each task gets
//! exactly one result**, ok, error or aborted, and none runs twice that may not: an engine notes which of its tasks it has
//! begun (`begun` of [`Core::engine_left`]), so that what it had not begun is run elsewhere, and what it had begun fails or is
//! retried as its `retries` allow.
//!
//! A task waits for other tasks, then for an engine, and then an engine has it. Engines do what they are given in that order;
//! an engine without work gets one task, and more at a time only when those take less than [`CHUNK`] together and no
//! engine is without any.

mod depend;
mod dispatch;
mod history;
mod overview;
mod requests;
mod task;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

use phalanx_wire::cluster::{
    Bytes, EngineInfo, EngineLeft, Failure, Outcome, Record, Status, TaskSpec, ToClient, ToEngine,
};

use depend::Dependent;
use history::History;
use overview::Counted;
use task::{Deadline, Ended, Phase, Tail, Task};

/// A client.
pub type ClientId = u64;
/// A task, counted in the order of submission.
type Key = u64;

/// Seconds that the tasks may take that an engine is given at a time.
pub const CHUNK: f64 = 1.5e-3;
/// So many of them at most.
const MOST: usize = 128;
/// An engine whose tasks print gets one at a time, until so many have not.
const QUIET: u32 = 32;
/// What is kept of a task when it has ended, whether or not its result has been fetched: objects up to this size.
pub const SMALL: u64 = 64 << 10;
/// Seconds that a task has to end after it was interrupted for taking too long; then its engine is killed.
const INTERRUPTED: f64 = 2.0;

/// An object that tasks are made of or come to.
pub trait Object: Clone {
    /// How large it is.
    fn bytes(&self) -> u64;
}

/// What is kept of tasks that have ended.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// So many.
    pub records: usize,
    /// So many bytes.
    pub bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { records: 10_000, bytes: 256 << 20 }
    }
}

/// What is to be done.
#[derive(Debug)]
pub enum Action<P> {
    /// Say this to a client.
    Client(ClientId, ToClient, Option<P>),
    /// Give an engine this task.
    Run {
        /// The engine.
        engine: u32,
        /// The message.
        message: ToEngine,
        /// What the task is made of.
        payload: P,
        /// The same.
        args: Option<P>,
        /// Others may read the same objects, now or later.
        shared: bool,
    },
    /// Interrupt an engine: its task has taken too long.
    Interrupt(u32),
    /// Kill an engine: its task has taken too long, and cannot be interrupted.
    Kill(u32),
}

#[derive(Debug)]
struct Engine {
    info: EngineInfo,
    /// It takes tasks.
    ready: bool,
    /// It takes no more tasks: it is about to leave.
    leaving: bool,
    /// Tasks for it alone.
    direct: VecDeque<Key>,
    /// Tasks that it has, with their numbers; it is in the first.
    given: VecDeque<(u64, Key)>,
    /// The number of the last that it was given, counted from 1.
    sent: u64,
    completed: u64,
    /// Those of them that have failed.
    failed: u64,
    /// Since when it has been in its first task.
    since: f64,
    /// Seconds that recent tasks took, and how many those are; both fade.
    spent: (f64, f64),
    /// Tasks that have ended since one printed.
    quiet: u32,
}

/// Who runs which task.
#[derive(Debug)]
pub struct Core<P> {
    limits: Limits,
    engines: BTreeMap<u32, Engine>,
    clients: BTreeMap<ClientId, String>,
    tasks: HashMap<Key, Task<P>>,
    names: HashMap<String, Key>,
    next: Key,
    /// Balanced tasks that any engine may run.
    anywhere: VecDeque<Key>,
    /// Balanced tasks that some engines may run.
    somewhere: VecDeque<Key>,
    dependents: HashMap<Key, Vec<Dependent>>,
    /// In microseconds since the epoch.
    deadlines: BTreeSet<(u64, Key, Deadline)>,
    history: History<P>,
    counted: Counted,
    /// Engines that have been started, and are not there yet.
    starting: u32,
    actions: Vec<Action<P>>,
    /// Seconds since the epoch.
    now: f64,
    /// Something has changed that may let tasks run.
    stirred: bool,
}

/// What an engine says of a task that it has ended.
#[derive(Debug, Clone, Default)]
pub struct Said {
    /// How it ended.
    pub status: Status,
    /// Why there is no result.
    pub error: Option<Failure>,
    /// Anything, for the record.
    pub metadata: Bytes,
    /// When it began, and ended, in seconds since the epoch.
    pub times: (Option<f64>, Option<f64>),
}

fn micros(time: f64) -> u64 {
    // Saturates: what is later than any clock never comes.
    (time * 1e6) as u64
}

impl<P: Object> Core<P> {
    /// Nobody is there yet.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            engines: BTreeMap::new(),
            clients: BTreeMap::new(),
            tasks: HashMap::new(),
            names: HashMap::new(),
            next: 1,
            anywhere: VecDeque::new(),
            somewhere: VecDeque::new(),
            dependents: HashMap::new(),
            deadlines: BTreeSet::new(),
            history: History::default(),
            counted: Counted::default(),
            starting: 0,
            actions: Vec::new(),
            now: 0.0,
            stirred: false,
        }
    }

    /// What is to be done, in this order. Tasks are given to engines here, so that what has come together is seen together.
    pub fn actions(&mut self) -> Vec<Action<P>> {
        if std::mem::take(&mut self.stirred) {
            self.dispatch();
        }
        std::mem::take(&mut self.actions)
    }

    fn tell(&mut self, client: ClientId, message: ToClient) {
        self.actions.push(Action::Client(client, message, None));
    }

    fn tell_all(&mut self, message: &ToClient) {
        for client in self.clients.keys() {
            self.actions.push(Action::Client(*client, message.clone(), None));
        }
    }

    /// A client is there.
    pub fn client_joined(&mut self, client: ClientId, identity: String) {
        self.clients.insert(client, identity);
    }

    /// A client has gone: what it has submitted and nobody has begun is dropped, what runs ends and is kept for others.
    pub fn client_left(&mut self, client: ClientId) {
        self.clients.remove(&client);
        let mut dropped = Vec::new();
        for (key, task) in &mut self.tasks {
            task.watchers.retain(|watcher| *watcher != client);
            if task.owner == Some(client) {
                task.owner = None;
                task.notify = false;
                if task.watchers.is_empty() {
                    match task.phase {
                        Phase::Given(_) => task.unwanted = true,
                        _ => dropped.push(*key),
                    }
                }
            }
        }
        dropped.sort_unstable();
        for key in dropped {
            self.abort_one(key, "the client that submitted it has gone");
        }
    }

    /// The engines that are there.
    #[must_use]
    pub fn engines(&self) -> Vec<EngineInfo> {
        self.engines.values().filter(|engine| engine.ready).map(|engine| engine.info.clone()).collect()
    }

    /// Engines that have been started, and are not there yet.
    #[must_use]
    pub fn starting(&self) -> u32 {
        self.starting
    }

    /// So many engines are being started.
    pub fn engines_starting(&mut self, count: u32) {
        self.starting += count;
        let starting = self.starting;
        self.tell_all(&ToClient::Engines { joined: Vec::new(), left: Vec::new(), starting });
    }

    /// An engine that was being started never came.
    pub fn engine_failed(&mut self, id: u32, reason: &str) {
        self.starting = self.starting.saturating_sub(1);
        self.counted.lost(id, &format!("never came: {reason}"), self.now);
        let starting = self.starting;
        let left = vec![EngineLeft { id, reason: reason.to_owned() }];
        self.tell_all(&ToClient::Engines { joined: Vec::new(), left, starting });
        self.fail_if_deserted(reason);
    }

    /// An engine is there. `expected`: it is one of those that were being started.
    pub fn engine_joined(&mut self, info: EngineInfo, expected: bool) {
        if expected {
            self.starting = self.starting.saturating_sub(1);
        }
        let starting = self.starting;
        self.tell_all(&ToClient::Engines { joined: vec![info.clone()], left: Vec::new(), starting });
        let engine = Engine {
            ready: true,
            leaving: false,
            direct: VecDeque::new(),
            given: VecDeque::new(),
            sent: 0,
            completed: 0,
            failed: 0,
            since: self.now,
            spent: (0.0, 0.0),
            quiet: QUIET,
            info,
        };
        self.engines.insert(engine.info.id, engine);
        self.stirred = true;
    }

    /// An engine is about to leave: it gets no more tasks.
    pub fn engine_leaving(&mut self, id: u32) {
        if let Some(engine) = self.engines.get_mut(&id) {
            engine.leaving = true;
        }
    }

    /// An engine has gone. It had begun its tasks up to number `begun`.
    pub fn engine_left(&mut self, id: u32, reason: &str, begun: u64) {
        let Some(mut engine) = self.engines.remove(&id) else { return };
        if !engine.leaving {
            self.counted.lost(id, reason, self.now);
        }
        let starting = self.starting;
        let left = vec![EngineLeft { id, reason: reason.to_owned() }];
        self.tell_all(&ToClient::Engines { joined: Vec::new(), left, starting });
        let given: Vec<(u64, Key)> = engine.given.drain(..).collect();
        let pid = engine.info.pid;
        for (number, key) in given.into_iter().rev() {
            let Some(task) = self.tasks.get_mut(&key) else { continue };
            self.stirred = true;
            if number > begun && task.balanced && !task.unwanted {
                task.phase = Phase::Queued;
                self.requeue(key);
                continue;
            }
            task.refused.insert(id);
            let what = if task.overdue { "TaskTimeout" } else { "EngineError" };
            let text = if task.overdue {
                format!("it ran longer than {} s, and engine {id} had to be killed", task.time_limit.unwrap_or(0.0))
            } else if number <= begun {
                format!("engine {id} (pid {pid}) {reason} while it ran this task")
            } else {
                format!("engine {id} (pid {pid}) {reason} before it began this task")
            };
            if number <= begun && task.balanced && task.retries_used < task.retries && !task.unwanted {
                task.failure = Some(verdict(what, text));
                self.retry(key);
            } else {
                self.fail(key, what, text);
            }
        }
        for key in engine.direct {
            if self.tasks.get(&key).is_some_and(|task| task.phase == Phase::Queued) {
                let text = format!("engine {id} (pid {pid}) {reason} before it began this task");
                self.fail(key, "EngineError", text);
            }
        }
        // Those that no engine may run any more.
        let choosy: Vec<Key> = self.somewhere.iter().copied().collect();
        for key in choosy {
            if self.tasks.get(&key).is_some_and(|task| task.phase == Phase::Queued) && !self.has_place(key) {
                self.fail_nowhere(key, reason);
            }
        }
        self.fail_if_deserted(reason);
    }

    /// With the last engine gone, and none on its way, what waits for any of them fails.
    fn fail_if_deserted(&mut self, reason: &str) {
        if !self.engines.is_empty() || self.starting > 0 {
            return;
        }
        let waiting: Vec<Key> = self.anywhere.drain(..).chain(self.somewhere.drain(..)).collect();
        for key in waiting {
            if self.tasks.get(&key).is_some_and(|task| task.phase == Phase::Queued) {
                self.fail(key, "EngineError", format!("no engine is left to run it: the last one {reason}"));
            }
        }
    }

    /// Takes tasks. Those of names that are known already are not taken: their results would be mistaken for others'.
    /// Returns how many those were.
    pub fn submit(
        &mut self,
        client: ClientId,
        tasks: Vec<TaskSpec>,
        object: impl Fn(u32) -> Option<P>,
        notify: bool,
    ) -> usize {
        let mut refused = 0;
        for spec in tasks {
            let payload = object(spec.payload);
            let args = spec.args.map(&object);
            let (Some(payload), false) = (payload, matches!(args, Some(None)) || self.names.contains_key(&spec.id))
            else {
                refused += 1;
                continue;
            };
            self.take(Some(client), spec, payload, args.flatten(), notify);
        }
        refused
    }

    fn take(&mut self, owner: Option<ClientId>, spec: TaskSpec, payload: P, args: Option<P>, notify: bool) -> Key {
        let key = self.next;
        self.next += 1;
        let client = owner.and_then(|owner| self.clients.get(&owner)).cloned().unwrap_or_default();
        let waits = spec.after.is_some() || spec.follow.is_some();
        let is_time = |seconds: &f64| seconds.is_finite() && *seconds >= 0.0;
        let timeout = spec.timeout.filter(is_time);
        self.names.insert(spec.id.clone(), key);
        let task = Task {
            id: spec.id,
            owner,
            client,
            watchers: Vec::new(),
            kind: spec.kind,
            targets: spec.targets,
            balanced: spec.balanced,
            payload,
            args,
            after: spec.after,
            follow: spec.follow,
            waits: Default::default(),
            timeout,
            time_limit: spec.time_limit.filter(is_time),
            retries: spec.retries,
            stop_on_error: spec.stop_on_error,
            label: spec.label,
            metadata: spec.metadata,
            notify,
            phase: Phase::Waiting,
            refused: BTreeSet::new(),
            attempts: 0,
            retries_used: 0,
            unwanted: false,
            overdue: false,
            submitted: self.now,
            started: None,
            stdout: Tail::default(),
            stderr: Tail::default(),
            failure: None,
            deadlines: Vec::new(),
        };
        self.tasks.insert(key, task);
        if waits {
            if let Some(timeout) = timeout {
                self.remind(key, self.now + timeout, Deadline::Waiting);
            }
            self.await_others(key);
        } else {
            self.enqueue(key);
        }
        key
    }

    /// An engine has ended a task.
    pub fn done(&mut self, engine: u32, id: &str, said: Said, payload: Option<P>) {
        let Some(key) = self.names.get(id).copied() else { return };
        if !self.take_from(engine, key, said.times.0) {
            return;
        }
        let Some(task) = self.tasks.get_mut(&key) else { return };
        self.stirred = true;
        if task.started.is_none() || said.times.0.is_some() {
            task.started = said.times.0;
        }
        let mut error = said.error;
        let status = match said.status {
            Status::Rejected if task.unwanted => return self.abort_one(key, "it was aborted"),
            Status::Rejected if task.balanced => {
                task.refused.insert(engine);
                task.phase = Phase::Queued;
                task.failure = error;
                return self.requeue_or_give_up(key);
            }
            Status::Rejected => {
                let unmet = || verdict("UnmetDependency", format!("engine {engine} does not have what it requires"));
                error.get_or_insert_with(unmet);
                Status::Error
            }
            Status::Error if task.overdue => {
                let limit = task.time_limit.unwrap_or(0.0);
                let traceback = error.take().map(|error| error.traceback).unwrap_or_default();
                let text = format!("it ran longer than {limit} s, and was interrupted on engine {engine}");
                error = Some(Failure { traceback, ..verdict("TaskTimeout", text) });
                Status::Error
            }
            Status::Error if task.balanced && task.retries_used < task.retries && !task.unwanted => {
                task.refused.insert(engine);
                task.failure = error;
                return self.retry(key);
            }
            status => status,
        };
        let stops = status == Status::Error && !task.balanced && task.stop_on_error;
        let (owner, id) = (task.owner, task.id.clone());
        let ended =
            End { status, error, engine: Some(engine), metadata: said.metadata, completed: said.times.1, payload };
        self.finish(key, ended);
        if stops {
            self.stop_behind(engine, owner, &id);
        }
    }

    /// A task has failed that others were not to follow.
    fn stop_behind(&mut self, engine: u32, owner: Option<ClientId>, id: &str) {
        let Some(engine) = self.engines.get(&engine) else { return };
        let follows = |key: &Key| {
            self.tasks.get(key).is_some_and(|task| {
                task.phase == Phase::Queued && task.stop_on_error && task.owner == owner && !task.balanced
            })
        };
        let stopped: Vec<Key> = engine.direct.iter().copied().filter(follows).collect();
        for key in stopped {
            self.abort_one(key, &format!("task {id} before it has failed"));
        }
    }

    /// An engine has not begun these tasks, and will not soon.
    pub fn returned(&mut self, engine: u32, ids: &[String]) {
        let mut keys: Vec<Key> = ids.iter().filter_map(|id| self.names.get(id).copied()).collect();
        keys.sort_unstable();
        for key in keys.into_iter().rev() {
            if !self.take_from(engine, key, None) {
                continue;
            }
            let Some(task) = self.tasks.get_mut(&key) else { continue };
            task.phase = Phase::Queued;
            if task.unwanted {
                self.abort_one(key, "it was aborted");
            } else {
                self.requeue(key);
            }
        }
        self.stirred = true;
    }

    /// A task or an engine without one has printed.
    pub fn printed(&mut self, engine: u32, is_error: bool, text: &str) {
        let Some(state) = self.engines.get_mut(&engine) else { return };
        state.quiet = 0;
        let name = if is_error { "stderr" } else { "stdout" };
        let running = state.given.front().map(|(_, key)| *key);
        let stream = |id: Option<String>| ToClient::Stream {
            id,
            engine_id: engine,
            name: name.to_owned(),
            text: text.to_owned(),
        };
        match running.and_then(|key| self.tasks.get_mut(&key)) {
            Some(task) => {
                task.tail(is_error).add(text);
                if let Some(owner) = task.owner {
                    let message = stream(Some(task.id.clone()));
                    self.tell(owner, message);
                }
            }
            None => self.tell_all(&stream(None)),
        }
    }

    /// A task shows something.
    pub fn output(&mut self, engine: u32, id: &str, payload: Option<P>) {
        let task = self.names.get(id).and_then(|key| self.tasks.get(key));
        if let Some(owner) = task.filter(|task| task.phase == Phase::Given(engine)).and_then(|task| task.owner) {
            let message = ToClient::Output { id: id.to_owned(), engine_id: engine };
            self.actions.push(Action::Client(owner, message, payload));
        }
    }

    /// How many tasks an engine has.
    #[must_use]
    pub fn given(&self, engine: u32) -> usize {
        self.engines.get(&engine).map_or(0, |engine| engine.given.len())
    }

    /// How many tasks have not ended, and how many are remembered that have, with their bytes.
    #[must_use]
    pub fn counts(&self) -> (usize, usize, u64) {
        (self.tasks.len(), self.history.len(), self.history.bytes())
    }

    /// When [`Core::tick`] is to be called next, in seconds since the epoch.
    #[must_use]
    pub fn due(&self) -> Option<f64> {
        self.deadlines.first().map(|(at, _, _)| *at as f64 / 1e6)
    }

    fn remind(&mut self, key: Key, at: f64, what: Deadline) {
        if let Some(task) = self.tasks.get_mut(&key) {
            task.deadlines.push((micros(at), what));
            self.deadlines.insert((micros(at), key, what));
        }
    }

    fn forget_deadlines(&mut self, key: Key, which: impl Fn(Deadline) -> bool) {
        let Some(task) = self.tasks.get_mut(&key) else { return };
        for (at, what) in std::mem::take(&mut task.deadlines) {
            if which(what) {
                self.deadlines.remove(&(at, key, what));
            } else {
                task.deadlines.push((at, what));
            }
        }
    }

    /// It is so late now, in seconds since the epoch: to be said before what has happened is.
    pub fn at(&mut self, now: f64) {
        self.now = now;
    }

    /// Does what is due.
    pub fn tick(&mut self) {
        let now = self.now;
        while let Some((at, key, what)) = self.deadlines.first().copied().filter(|(at, _, _)| *at <= micros(now)) {
            self.deadlines.remove(&(at, key, what));
            let Some(task) = self.tasks.get_mut(&key) else { continue };
            task.deadlines.retain(|entry| *entry != (at, what));
            match (what, task.phase) {
                (Deadline::Waiting, Phase::Waiting) => {
                    self.fail(key, "TaskTimeout", "what it depends on did not end in time".to_owned());
                }
                (Deadline::Waiting, Phase::Queued) => {
                    let text = "it failed on every engine, and no other one came in time".to_owned();
                    self.fail(key, "TaskTimeout", text);
                }
                (Deadline::Running, Phase::Given(engine)) => {
                    task.overdue = true;
                    self.actions.push(Action::Interrupt(engine));
                    self.remind(key, now + INTERRUPTED, Deadline::Interrupted);
                }
                (Deadline::Interrupted, Phase::Given(engine)) => self.actions.push(Action::Kill(engine)),
                _ => {}
            }
        }
    }

    /// A task ends without having run: nobody wants it any more.
    fn abort_one(&mut self, key: Key, why: &str) {
        let Some(task) = self.tasks.get(&key) else { return };
        let error = Some(verdict("TaskAborted", format!("task {} was aborted: {why}", task.id)));
        self.finish(key, End { status: Status::Aborted, error, ..End::default() });
    }

    /// A task ends without a result.
    fn fail(&mut self, key: Key, what: &str, text: String) {
        let Some(task) = self.tasks.get(&key) else { return };
        let engine = match task.phase {
            Phase::Given(engine) => Some(engine),
            _ => None,
        };
        let error = verdict(what, format!("task {}: {text}", task.id));
        self.finish(key, End { status: Status::Error, error: Some(error), engine, ..End::default() });
    }

    /// Tries a task again that has failed.
    fn retry(&mut self, key: Key) {
        if let Some(task) = self.tasks.get_mut(&key) {
            task.retries_used += 1;
            task.phase = Phase::Queued;
            task.started = None;
            self.requeue_or_give_up(key);
        }
    }

    /// The end of a task: everybody who waits for it hears of it, once.
    fn finish(&mut self, key: Key, end: End<P>) {
        let now = self.now;
        self.forget_deadlines(key, |_| true);
        let Some(task) = self.tasks.remove(&key) else { return };
        let uuid = end.engine.and_then(|id| self.engines.get(&id)).map(|engine| engine.info.uuid.clone());
        let kept = end.payload.as_ref().filter(|payload| {
            // Those of clients that have gone are kept for others who ask.
            payload.bytes() <= SMALL || (task.owner.is_none() && task.watchers.is_empty())
        });
        let record = Record {
            status: status_name(end.status).to_owned(),
            engine_id: end.engine,
            engine_uuid: uuid,
            completed: end.completed.or(end.engine.map(|_| now)),
            received: Some(now),
            error: end.error,
            result_metadata: end.metadata,
            result_bytes: kept.map(Object::bytes),
            ..task.record(false, None)
        };
        let ended = Ended {
            status: end.status,
            result: kept.cloned(),
            made_of: task.little(),
            time_limit: task.time_limit,
            bytes: 0,
            record,
        };
        for client in task.owner.iter().chain(task.watchers.iter().filter(|watcher| Some(**watcher) != task.owner)) {
            let is_owner = Some(*client) == task.owner;
            let outcome = outcome(&ended, !is_owner);
            self.actions.push(Action::Client(*client, ToClient::Result(outcome), end.payload.clone()));
        }
        let (status, engine) = (ended.status, ended.record.engine_id);
        self.counted.ended(status, &ended.record, now);
        if let Some(engine) = engine.filter(|_| status == Status::Error).and_then(|id| self.engines.get_mut(&id)) {
            engine.failed += 1;
        }
        for (old, ended) in self.history.add(key, ended, &self.limits) {
            self.forget_name(&ended.record.id, old);
        }
        self.look_again(key, status, engine);
        self.stirred = true;
    }

    fn forget_name(&mut self, id: &str, key: Key) {
        if self.names.get(id) == Some(&key) {
            self.names.remove(id);
        }
    }
}

/// How a task ended.
struct End<P> {
    status: Status,
    error: Option<Failure>,
    engine: Option<u32>,
    metadata: Bytes,
    completed: Option<f64>,
    payload: Option<P>,
}

impl<P> Default for End<P> {
    fn default() -> Self {
        Self {
            status: Status::Ok,
            error: None,
            engine: None,
            metadata: Bytes::default(),
            completed: None,
            payload: None,
        }
    }
}

/// What is told of the end of a task; with what it printed to those who have not seen that.
fn outcome<P>(ended: &Ended<P>, with_text: bool) -> Outcome {
    let record = &ended.record;
    let text = |text: &String| if with_text { text.clone() } else { String::new() };
    Outcome {
        id: record.id.clone(),
        status: ended.status,
        engine_id: record.engine_id,
        engine_uuid: record.engine_uuid.clone(),
        submitted: record.submitted,
        started: record.started,
        completed: record.completed,
        received: record.received.unwrap_or(record.submitted),
        error: record.error.clone(),
        retries_used: record.retries_used,
        metadata: record.result_metadata.clone(),
        stdout: text(&record.stdout),
        stderr: text(&record.stderr),
        gone: false,
    }
}

fn status_name(status: Status) -> &'static str {
    match status {
        Status::Ok => "ok",
        Status::Error | Status::Rejected => "error",
        Status::Aborted => "aborted",
    }
}

/// What the controller itself says of a task.
fn verdict(ename: &str, text: String) -> Failure {
    let kind = match ename {
        "EngineError" => "engine",
        "TaskTimeout" => "timeout",
        "ImpossibleDependency" | "InvalidDependency" | "UnmetDependency" => "dependency",
        _ => "controller",
    };
    Failure { ename: ename.to_owned(), evalue: text, traceback: Vec::new(), kind: kind.to_owned() }
}
