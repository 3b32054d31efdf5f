//! `ClusterLink`: one end of a connection to the controller of an interactive cluster.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use phalanx_object::detached;
use phalanx_shm::sleep::Next;
use phalanx_shm::{Arena, Block, Handle};
use phalanx_wire::cluster::{FromClient, FromEngine, Hello, PROTOCOL, Role, TaskSpec, ToClient, ToEngine};
use pyo3::exceptions::{PyOSError, PyRuntimeError, PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList, PyString, PyTuple};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};

use super::collector::{Collector, Word};
use super::engine::Minder;
use super::fields;
use super::named;
use super::pause::pace;
use super::payload::{Held, Payload};
use super::socket::{Message, Socket, Waited};
use crate::codec::By;

pyo3::create_exception!(
    phalanx._workers,
    ClusterGone,
    PyOSError,
    "The other end of a link to a cluster is gone. Its text says why."
);

/// A wait looks so often whether a signal has come.
const SLICE: Duration = Duration::from_millis(200);
/// An engine that the controller has started has so long to be welcome.
const WELCOME: Duration = Duration::from_secs(60);
/// Tasks in one message, at most, and bytes of their objects and what comes with them.
const TASKS: usize = 2000;
const TASK_BYTES: usize = 4 << 20;
/// An engine whose output nobody has read yet, when a task ends, gives the controller so long to read it before the next.
const DRAINED: Duration = Duration::from_millis(200);

/// An end of a connection to the controller of an interactive cluster: `connect` makes a client's, `inherited` an engine's.
///
/// Messages are a kind and a dictionary of fields, beside which objects travel as `Payload`s. All methods may be called in
/// any thread. A fork has no part in its parent's link.
#[pyclass(module = "phalanx._workers", frozen, weakref)]
pub(crate) struct ClusterLink {
    pub(super) socket: Arc<Socket>,
    pub(super) arena: Arena,
    welcome: Py<PyAny>,
    /// What we are called.
    pub(super) identity: String,
    /// The number of the next task of a client.
    pub(super) numbers: AtomicU64,
    /// What comes to a client.
    pub(super) client: Option<Collector<Py<PyAny>>>,
    pid: u32,
    closed: AtomicBool,
    engine: Option<EngineEnd>,
}

/// What an engine's end knows beside that.
struct EngineEnd {
    minder: Arc<Minder>,
    /// Says which task it has begun last, for when it is killed.
    note: Option<Block>,
    /// The task that it is in, and since when.
    current: Mutex<Option<(String, f64)>>,
    /// When what was said is to be written at once: tasks that print are told of one at a time.
    prints: AtomicU64,
}

fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}

#[cold]
fn gone(why: impl Into<String>) -> PyErr {
    ClusterGone::new_err(why.into())
}

fn hello_of(hello: &Bound<'_, PyDict>, role: Role, token: &str) -> PyResult<Hello> {
    let hello: Hello = fields::read(hello)?;
    Ok(Hello { protocol: PROTOCOL, role, token: token.to_owned(), ..hello })
}

impl ClusterLink {
    /// Says who we are, and waits until we are welcome.
    fn begin(py: Python<'_>, descriptor: OwnedFd, hello: Hello, streams: &[OwnedFd], until: Instant) -> PyResult<Self> {
        let is_engine = hello.role == Role::Engine;
        let socket = Arc::new(Socket::new(descriptor, is_engine));
        socket.push(hello, &[]).map_err(PyValueError::new_err)?;
        if !streams.is_empty() {
            socket.flush_with(streams).map_err(gone)?;
        }
        let message = loop {
            let flushed = socket.flush().map_err(gone)?;
            let read = socket.read();
            if let Some((message, _)) = socket.next() {
                break message;
            }
            read.map_err(gone)?;
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(gone("the controller does not answer: is it stopped?"));
            }
            detached(py, || socket.wait(!flushed, Some(left.min(SLICE))));
            py.check_signals()?;
        };
        let (welcome, identity, note) = match &message {
            Message::Client(welcome @ ToClient::Welcome { identity, .. }) => {
                (fields::told(py, welcome)?.1, identity.clone(), None)
            }
            Message::Engine(welcome @ ToEngine::Welcome { identity, note, .. }) => {
                (fields::told(py, welcome)?.1, identity.clone(), Some(*note))
            }
            Message::Client(ToClient::Bye { reason }) | Message::Engine(ToEngine::Bye { reason }) => {
                return Err(gone(reason.clone()));
            }
            _ => return Err(gone("the controller did not answer as one does")),
        };
        let Some(arena) = socket.arena() else {
            return Err(gone("the controller did not send its memory, or it cannot be mapped here"));
        };
        let engine = note.map(|note| EngineEnd {
            minder: Minder::new(),
            note: arena.open(Handle::from_u64(note)).ok().filter(|note| note.len() >= 8),
            current: Mutex::new(None),
            prints: AtomicU64::new(0),
        });
        let client = match engine {
            Some(_) => None,
            None => Some(Collector::new().map_err(|error| PyOSError::new_err(error.to_string()))?),
        };
        Ok(Self {
            socket,
            arena,
            welcome: welcome.unbind(),
            identity,
            numbers: AtomicU64::new(1),
            client,
            pid: std::process::id(),
            closed: AtomicBool::new(false),
            engine,
        })
    }

    /// Whether this process is the one that the link belongs to.
    pub(super) fn is_ours(&self) -> bool {
        self.pid == std::process::id()
    }

    pub(super) fn look_whether_ours(&self) -> PyResult<()> {
        if self.closed.load(Ordering::Relaxed) {
            return Err(gone("this connection was closed here"));
        }
        if !self.is_ours() {
            return Err(gone(format!("this connection belongs to process {}, of which this one is a fork", self.pid)));
        }
        Ok(())
    }

    /// Writes everything that waits.
    pub(super) fn flush(&self, py: Python<'_>) -> PyResult<()> {
        loop {
            if self.socket.flush().map_err(gone)? {
                return Ok(());
            }
            detached(py, || self.socket.wait(true, Some(SLICE)));
            py.check_signals()?;
        }
    }

    fn held(&self, payloads: Option<&Bound<'_, PyAny>>) -> PyResult<Vec<Held>> {
        let Some(payloads) = payloads.filter(|payloads| !payloads.is_none()) else { return Ok(Vec::new()) };
        let mut held = Vec::new();
        for payload in payloads.try_iter()? {
            let payload = payload?;
            let payload = payload.cast::<Payload>().map_err(|_| {
                PyTypeError::new_err("payloads: what encode() returns, and what receive() has given, can be sent")
            })?;
            held.push(self.held_of(payload.get())?);
        }
        Ok(held)
    }

    pub(super) fn held_of(&self, payload: &Payload) -> PyResult<Held> {
        if payload.arena() != self.arena {
            return Err(PyValueError::new_err("payloads: this one is of another cluster; encode its object here"));
        }
        payload.held()
    }

    fn push<M: serde::Serialize>(&self, kind: &str, message: M, payloads: &[Held]) -> PyResult<()> {
        self.socket.push(message, payloads).map_err(|problem| PyValueError::new_err(format!("{kind}: {problem}")))
    }

    /// Tasks in messages that are not too long, each with the objects that its tasks have.
    pub(super) fn submit_all(
        &self,
        kind: &str,
        tasks: Vec<TaskSpec>,
        notify: bool,
        mut payloads: Vec<Held>,
    ) -> PyResult<()> {
        let mut uses = vec![0_u32; payloads.len()];
        for (place, task) in tasks.iter().enumerate() {
            for index in [Some(task.payload), task.args].into_iter().flatten() {
                let Some(used) = uses.get_mut(index as usize) else {
                    return Err(PyValueError::new_err(format!(
                        "submit: tasks[{place}]: there is no payload {index}: {} were given",
                        payloads.len()
                    )));
                };
                *used += 1;
            }
        }
        for (payload, uses) in payloads.iter_mut().zip(uses) {
            payload.payload.shared |= uses > 1;
        }
        if tasks.len() <= TASKS && payloads.iter().map(|held| held.payload.wire.0.len()).sum::<usize>() < TASK_BYTES {
            return self.push(kind, FromClient::Submit { tasks, notify }, &payloads);
        }
        let (mut part, mut sent, mut bytes) = (Vec::new(), Vec::new(), 0);
        let mut places = std::collections::HashMap::new();
        for mut task in tasks {
            let mut place = |index: u32| {
                *places.entry(index).or_insert_with(|| {
                    let held = payloads[index as usize].clone();
                    bytes += held.payload.wire.0.len();
                    sent.push(held);
                    u32::try_from(sent.len() - 1).unwrap_or(u32::MAX)
                })
            };
            let (payload, args) = (place(task.payload), task.args.map(&mut place));
            (task.payload, task.args) = (payload, args);
            bytes += task.metadata.0.len();
            part.push(task);
            if part.len() >= TASKS || bytes >= TASK_BYTES {
                self.push(kind, FromClient::Submit { tasks: std::mem::take(&mut part), notify }, &sent)?;
                sent.clear();
                places.clear();
                bytes = 0;
            }
        }
        if part.is_empty() { Ok(()) } else { self.push(kind, FromClient::Submit { tasks: part, notify }, &sent) }
    }

    /// An engine says something.
    fn report(
        &self,
        py: Python<'_>,
        end: &EngineEnd,
        kind: &str,
        mut message: FromEngine,
        payloads: &[Held],
    ) -> PyResult<()> {
        match &mut message {
            // When that was is known already.
            FromEngine::Begin { .. } => return Ok(()),
            FromEngine::Output { .. } => flush_of_c(),
            FromEngine::Done { id, started, completed, printed, .. } => {
                let current = end.current.lock().unwrap_or_else(PoisonError::into_inner).take();
                *started = started.or(current.filter(|(current, _)| current == id).map(|(_, since)| since));
                completed.get_or_insert_with(now);
                end.minder.ended();
                flush_of_c();
                *printed = self.wait_for_output(py, end);
            }
            _ => {}
        }
        let is_done = matches!(message, FromEngine::Done { .. });
        self.push(kind, message, payloads)?;
        // More tasks are here: what is said of them goes together, unless it waits for too long already.
        let waits = is_done && self.socket.has_next() && end.prints.load(Ordering::Relaxed) == 0;
        if waits && self.socket.unsent_since().is_some_and(|since| since.elapsed() < Duration::from_millis(1)) {
            return Ok(());
        }
        self.flush(py)
    }

    /// Whether what a task has printed is not read yet. With other tasks behind it, that is waited for, so that nobody takes
    /// it for theirs.
    fn wait_for_output(&self, py: Python<'_>, end: &EngineEnd) -> bool {
        let unread = || [1, 2].into_iter().any(|number| unread(number) > 0);
        if !unread() {
            let quiet = end.prints.load(Ordering::Relaxed);
            end.prints.store(quiet.saturating_sub(1), Ordering::Relaxed);
            return false;
        }
        end.prints.store(16, Ordering::Relaxed);
        if self.socket.has_next() && self.socket.flush().is_ok() {
            let until = Instant::now() + DRAINED;
            detached(py, || {
                while unread() && Instant::now() < until {
                    std::thread::sleep(Duration::from_micros(50));
                }
            });
        }
        true
    }

    /// The objects of a message. If it is a task, that has begun.
    fn begun<'py>(&self, py: Python<'py>, message: &Message, payloads: Vec<Held>) -> PyResult<Bound<'py, PyList>> {
        if let (Some(end), Message::Engine(ToEngine::Run { id, seq, .. })) = (&self.engine, message) {
            if let Some(note) = &end.note {
                note.word64(0).store(*seq, Ordering::Release);
            }
            *end.current.lock().unwrap_or_else(PoisonError::into_inner) = Some((id.clone(), now()));
            let several = self.socket.has_next() || self.socket.unsent_since().is_some();
            end.minder.begun(&self.socket, several);
        }
        let list = PyList::empty(py);
        for held in payloads {
            list.append(Bound::new(py, Payload::arrived(self.arena, held))?)?;
        }
        Ok(list)
    }

    /// A message as Python sees it.
    fn given<'py>(&self, py: Python<'py>, message: &Message, payloads: Vec<Held>) -> PyResult<Bound<'py, PyTuple>> {
        let (kind, fields) = match message {
            Message::Client(message) => fields::told(py, message)?,
            Message::Engine(message) => fields::told(py, message)?,
        };
        let objects = self.begun(py, message, payloads)?;
        PyTuple::new(py, [kind, fields, objects.into_any()])
    }

    /// What a client's receiver is to deal with, at most so many things.
    fn words<'py>(
        &self,
        py: Python<'py>,
        client: &Collector<Py<PyAny>>,
        most: usize,
        timeout: Option<f64>,
    ) -> PyResult<Vec<Bound<'py, PyTuple>>> {
        let until = deadline(timeout)?;
        let words = loop {
            if !self.is_ours() {
                self.look_whether_ours()?;
            }
            let words = detached(py, || client.receive(&self.socket, most, until)).map_err(gone)?;
            if !words.is_empty() || until.is_some_and(|until| Instant::now() >= until) {
                break words;
            }
            py.check_signals()?;
        };
        let give = |word: Word<Py<PyAny>>| match word {
            Word::Said(message, held) => self.given(py, &Message::Client(*message), held),
            Word::Ended(what) => PyTuple::new(
                py,
                ["ended".into_pyobject(py)?.into_any(), what.into_bound(py), PyList::empty(py).into_any()],
            ),
        };
        words.into_iter().map(give).collect()
    }

    /// Waits until a message has come to an engine; whether one has.
    fn wait_for_message(&self, py: Python<'_>, timeout: Option<f64>) -> PyResult<bool> {
        let until = deadline(timeout)?;
        let (mut first, mut pace) = (true, pace());
        loop {
            self.look_whether_ours()?;
            if self.socket.has_next() {
                return Ok(true);
            }
            let read = self.socket.read();
            if self.socket.has_next() {
                return Ok(true);
            }
            read.map_err(gone)?;
            let flushed = self.socket.flush().map_err(gone)?;
            let left = until.map(|until| until.saturating_duration_since(Instant::now()));
            if left.is_some_and(|left| left.is_zero()) && !std::mem::take(&mut first) {
                return Ok(false);
            }
            first = false;
            let slice = left.map_or(SLICE, |left| left.min(SLICE));
            // Until it can be written, or something comes: looked at in turn.
            let slice = if flushed { slice } else { slice.min(Duration::from_millis(5)) };
            let waited = detached(py, || {
                while pace.step() == Next::Look {
                    let read = self.socket.read();
                    if read.is_err() || self.socket.has_next() {
                        pace.learn();
                        return Waited::Ready;
                    }
                }
                self.socket.wait(false, Some(slice))
            });
            if waited == Waited::Ready {
                pace.learn();
            } else {
                pace.slept_in_vain();
                py.check_signals()?;
            }
        }
    }
}

/// The end of a time limit.
pub(super) fn deadline(timeout: Option<f64>) -> PyResult<Option<Instant>> {
    match timeout {
        None => Ok(None),
        Some(seconds) if seconds.is_nan() => Err(PyValueError::new_err("timeout: it is not a number")),
        Some(seconds) => {
            Ok(Duration::try_from_secs_f64(seconds.max(0.0)).ok().and_then(|limit| Instant::now().checked_add(limit)))
        }
    }
}

/// A socket that is connected to a controller of this user.
fn reach(py: Python<'_>, address: &str, until: Instant) -> PyResult<OwnedFd> {
    if let Some(number) = address.strip_prefix("fd:").and_then(|number| number.parse().ok()) {
        return take_over(number);
    }
    let Some(path) = address.strip_prefix("unix:") else {
        return Err(PyValueError::new_err(format!("address: '{address}' is not of the form unix:PATH")));
    };
    let refused = |error: rustix::io::Errno| gone(format!("no controller answers at {path}: {error}"));
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None).map_err(refused)?;
    let place = SocketAddrUnix::new(path).map_err(refused)?;
    while let Err(error) = rustix::net::connect(&socket, &place) {
        // Many connect at this moment, or the controller is stopped.
        if error != rustix::io::Errno::AGAIN || Instant::now() >= until {
            return Err(refused(error));
        }
        detached(py, || std::thread::sleep(Duration::from_millis(5)));
        py.check_signals()?;
    }
    let peer = phalanx_shm::inherit::peer_of(socket.as_fd());
    if peer.is_none_or(|(_, user)| user != rustix::process::geteuid().as_raw()) {
        return Err(gone(format!("what answers at {path} is not a process of this user")));
    }
    Ok(socket)
}

/// A socket that this process has under a number, which it has no more then.
fn take_over(number: i32) -> PyResult<OwnedFd> {
    let copy = phalanx_shm::inherit::duplicate(number).map_err(|error| PyOSError::new_err(error.to_string()))?;
    let kind = rustix::fs::fstat(&copy).map(|stat| rustix::fs::FileType::from_raw_mode(stat.st_mode));
    if kind.ok() != Some(rustix::fs::FileType::Socket) {
        return Err(PyOSError::new_err(format!("descriptor {number} is no socket of a controller's")));
    }
    phalanx_shm::inherit::close_original(number, copy.as_fd());
    Ok(copy)
}

/// What the command `ipengine` leaves for the engine that it starts: where to connect to, the secret, and the descriptors
/// from which what it prints is read. They leave the environment: what the engine starts is no engine.
fn left_by_ipengine(py: Python<'_>) -> PyResult<Option<(String, String, Vec<OwnedFd>)>> {
    let environment = py.import("os")?.getattr("environ")?;
    let take = |name: &str| -> PyResult<String> { environment.call_method1("pop", (name, ""))?.extract() };
    let (address, token) = (take("PHALANX_CLUSTER_ADDRESS")?, take("PHALANX_CLUSTER_TOKEN")?);
    let mut streams = Vec::new();
    for number in take("PHALANX_CLUSTER_STREAMS")?.split(',').filter_map(|number| number.parse::<i32>().ok()) {
        if let Ok(copy) = phalanx_shm::inherit::duplicate(number) {
            phalanx_shm::inherit::close_original(number, copy.as_fd());
            streams.push(copy);
        }
    }
    streams.truncate(2);
    Ok((!address.is_empty()).then_some((address, token, streams)))
}

#[pymethods]
impl ClusterLink {
    /// connect(address: str, token: str, role: str, hello: dict[str, Any], timeout: float) -> ClusterLink
    ///
    /// Connect to the controller at an address ("unix:PATH", or "fd:NUMBER" for a socket that is connected, and is taken over),
    /// as a "client", a "command" or an "engine" that it has not started. Blocks, without the interpreter lock, until the controller has answered, at most `timeout` seconds. Raises
    /// ClusterGone, with the reason, when it refuses, does not answer or is not there.
    #[staticmethod]
    fn connect(
        py: Python<'_>,
        address: &str,
        token: &str,
        role: &str,
        hello: &Bound<'_, PyDict>,
        timeout: f64,
    ) -> PyResult<Self> {
        let role = match role {
            "client" => Role::Client,
            "command" => Role::Command,
            "engine" => Role::Engine,
            other => {
                let text = format!("role: '{other}' is none of 'client', 'command' and 'engine'");
                return Err(PyValueError::new_err(text));
            }
        };
        let hello = hello_of(hello, role, token)?;
        let timeout = Duration::try_from_secs_f64(timeout.max(0.0)).unwrap_or(Duration::from_secs(86_400));
        let until = Instant::now() + timeout.min(Duration::from_secs(86_400));
        let socket = reach(py, address, until)?;
        Self::begin(py, socket, hello, &[], until)
    }

    /// inherited(fd: int, hello: dict[str, Any]) -> ClusterLink
    ///
    /// The end of an engine that the controller has started: PHALANX_CLUSTER_FD says under which number. The descriptor is
    /// taken over; -1 for an engine that the command `ipengine` has started, which connects itself. Blocks until the
    /// controller has answered. Raises OSError for what is no open socket.
    #[staticmethod]
    fn inherited(py: Python<'_>, fd: i32, hello: &Bound<'_, PyDict>) -> PyResult<Self> {
        let until = Instant::now() + WELCOME;
        if fd == -1
            && let Some((address, token, streams)) = left_by_ipengine(py)?
        {
            let hello = hello_of(hello, Role::Engine, &token)?;
            return Self::begin(py, reach(py, &address, until)?, hello, &streams, until);
        }
        let hello = hello_of(hello, Role::Engine, "")?;
        Self::begin(py, take_over(fd)?, hello, &[], until)
    }

    /// welcome: dict[str, Any]
    ///
    /// What the controller said first: who we are, who is there.
    #[getter]
    fn welcome<'py>(&self, py: Python<'py>) -> Bound<'py, PyAny> {
        self.welcome.bind(py).clone()
    }

    /// send(kind: str, fields: dict[str, Any], payloads: Iterable[Payload] = ()) -> None
    ///
    /// Send a message. Blocks, without the interpreter lock, while the controller has too much to read. Raises TypeError or
    /// ValueError with the name of a field that is wrong, and ClusterGone.
    #[pyo3(signature = (kind, fields, payloads = None))]
    fn send(
        &self,
        py: Python<'_>,
        kind: &Bound<'_, PyString>,
        fields: &Bound<'_, PyAny>,
        payloads: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<()> {
        self.look_whether_ours()?;
        let payloads = self.held(payloads)?;
        match &self.engine {
            Some(end) => {
                let message = fields::said::<FromEngine>(kind, fields)?;
                self.report(py, end, &kind.to_cow()?, message, &payloads)
            }
            None => {
                match fields::said::<FromClient>(kind, fields)? {
                    FromClient::Submit { tasks, notify } => {
                        self.submit_all(&kind.to_cow()?, tasks, notify, payloads)?;
                    }
                    other => self.push(&kind.to_cow()?, other, &payloads)?,
                }
                if let Some(client) = &self.client {
                    // What comes of it is for the receiver.
                    client.attend();
                }
                self.flush(py)
            }
        }
    }

    /// receive(timeout: float | None = None) -> tuple[str, dict[str, Any], list[Payload]] | None
    ///
    /// The next message: its kind, its fields, its objects. Blocks, without the interpreter lock; None when none has come in
    /// time. Raises ClusterGone, with the reason, once the other end is gone and all that it had said has been received.
    #[pyo3(signature = (timeout = None))]
    fn receive<'py>(&self, py: Python<'py>, timeout: Option<f64>) -> PyResult<Option<Bound<'py, PyTuple>>> {
        if let Some(client) = &self.client {
            return Ok(self.words(py, client, 1, timeout)?.pop());
        }
        loop {
            if !self.wait_for_message(py, timeout)? {
                return Ok(None);
            }
            // Another thread may have been faster.
            if let Some((message, payloads)) = self.socket.next() {
                return self.given(py, &message, payloads).map(Some);
            }
        }
    }

    /// receive_all(timeout: float | None = None) -> list[tuple[str, dict[str, Any], list[Payload]]]
    ///
    /// All messages that have come, but the results of tasks that are waited for; none when none has come in time. For
    /// clients. What was given before has been dealt with. As receive.
    #[pyo3(signature = (timeout = None))]
    fn receive_all<'py>(&self, py: Python<'py>, timeout: Option<f64>) -> PyResult<Bound<'py, PyList>> {
        let Some(client) = &self.client else {
            return Err(PyRuntimeError::new_err(
                "an engine receives one message at a time: what it receives has begun",
            ));
        };
        PyList::new(py, self.words(py, client, usize::MAX, timeout)?)
    }

    /// encode(object, shared: bool = False, by_value: bool = False) -> Payload
    ///
    /// Encode an object for this cluster. Large buffers are copied once, into shared memory. `shared`: several will read
    /// it, and none is to see what another one writes. `by_value`: functions and classes whole, not by name. A pair of bytes
    /// and a list of PickleBuffers is sent as that, and the buffers arrive writable.
    #[pyo3(signature = (object, shared = false, by_value = false))]
    fn encode(&self, object: &Bound<'_, PyAny>, shared: bool, by_value: bool) -> PyResult<Payload> {
        self.look_whether_ours()?;
        let by = if by_value { By::Value } else { By::Reference };
        Payload::of(self.arena, object, shared, by)
    }

    /// encode_plain(object, shared: bool = False) -> Payload | None
    ///
    /// The same for an object of plain values that is small, without pickle; None for others. `Payload.loads` gives it back.
    #[pyo3(signature = (object, shared = false))]
    fn encode_plain(&self, object: &Bound<'_, PyAny>, shared: bool) -> PyResult<Option<Payload>> {
        Payload::plain(self.arena, object, shared)
    }

    /// encode_call(function: object, args: tuple[Any, ...], kwargs: dict[str, Any], shared: bool = False) -> Payload | None
    ///
    /// The same for a call, as `(module, name, args, kwargs)` (None for no kwargs) if the function can be imported under a
    /// name; None if it cannot, or the arguments are not plain.
    #[pyo3(signature = (function, args, kwargs, shared = false))]
    fn encode_call(
        &self,
        function: &Bound<'_, PyAny>,
        args: &Bound<'_, PyTuple>,
        kwargs: &Bound<'_, PyDict>,
        shared: bool,
    ) -> PyResult<Option<Payload>> {
        let Some((module, name)) = named::place_of_function(function)? else { return Ok(None) };
        let kwargs = (!kwargs.is_empty()).then_some(kwargs);
        let call = (module, name, args, kwargs).into_pyobject(function.py())?;
        Payload::plain(self.arena, call.as_any(), shared)
    }

    /// new_block(nbytes: int) -> tuple[int, memoryview]
    ///
    /// A piece of the cluster's memory, and the number by which others open it: they may write into it. It goes back when
    /// nobody has a view of it. What is in it at first is undefined. Raises MemoryError.
    fn new_block<'py>(&self, py: Python<'py>, nbytes: usize) -> PyResult<(u64, Bound<'py, PyAny>)> {
        self.look_whether_ours()?;
        let block = crate::codec::new_block(py, self.arena, nbytes)?;
        Ok((block.handle().to_u64(), crate::codec::view_of(py, block, nbytes)?))
    }

    /// open_block(number: int) -> memoryview
    ///
    /// A view of what `new_block` has made in another process. Raises ValueError when nobody has it any more.
    fn open_block<'py>(&self, py: Python<'py>, number: u64) -> PyResult<Bound<'py, PyAny>> {
        self.look_whether_ours()?;
        let block = self.arena.open(Handle::from_u64(number)).map_err(|error| {
            PyValueError::new_err(format!("open_block: nobody has this piece of memory any more ({error})"))
        })?;
        let length = block.len();
        crate::codec::view_of(py, block, length)
    }

    /// next_task() -> tuple[str, str, list[Payload]] | None
    ///
    /// For engines: the next task, its id and its objects, after its kind; or what else the controller says, after "" as
    /// the id. Blocks, without the interpreter lock. Raises as `receive`.
    fn next_task<'py>(&self, py: Python<'py>) -> PyResult<Option<(String, String, Bound<'py, PyList>)>> {
        if self.engine.is_none() {
            return Err(PyRuntimeError::new_err("tasks come to engines"));
        }
        self.wait_for_message(py, None)?;
        let Some((message, held)) = self.socket.next() else { return Ok(None) };
        let objects = self.begun(py, &message, held)?;
        Ok(match message {
            Message::Engine(ToEngine::Run { id, kind, .. }) => Some((kind, id, objects)),
            Message::Engine(ToEngine::Exit {}) => Some(("exit".to_owned(), String::new(), objects)),
            Message::Engine(ToEngine::Bye { .. }) => Some(("bye".to_owned(), String::new(), objects)),
            _ => None,
        })
    }

    /// finish(task: str, result: Payload) -> None
    ///
    /// For engines: the task that `next_task` gave has ended, and has a result. As `send`.
    fn finish(&self, py: Python<'_>, task: String, result: &Bound<'_, Payload>) -> PyResult<()> {
        self.look_whether_ours()?;
        let end = self.engine.as_ref().ok_or_else(|| PyRuntimeError::new_err("tasks are finished by engines"))?;
        let payloads = [self.held_of(result.get())?];
        let message = FromEngine::Done {
            id: task,
            status: phalanx_wire::cluster::Status::Ok,
            error: None,
            metadata: phalanx_wire::cluster::Bytes::default(),
            started: None,
            completed: None,
            printed: false,
        };
        self.report(py, end, "done", message, &payloads)
    }

    /// close() -> None
    ///
    /// Hang up. A call that is blocked in receive raises ClusterGone. May be called again.
    fn close(&self) {
        if !self.closed.swap(true, Ordering::Relaxed) && self.pid == std::process::id() {
            if let Some(client) = &self.client {
                client.lose("this connection was closed here");
            }
            self.socket.hang_up();
            self.socket.forget();
        }
    }

    /// used: int
    ///
    /// Bytes of the cluster's shared memory that somebody holds.
    #[getter]
    fn used(&self) -> u64 {
        self.arena.used()
    }

    /// sweep() -> int
    ///
    /// Give back what dead processes hold of the cluster's memory; how many those were. The controller does it anyway.
    fn sweep(&self, py: Python<'_>) -> usize {
        detached(py, || self.arena.sweep())
    }

    fn __repr__(&self) -> String {
        let what = if self.engine.is_some() { "an engine" } else { "a client" };
        format!("<ClusterLink of {what}>")
    }
}

impl Drop for ClusterLink {
    fn drop(&mut self) {
        if self.pid == std::process::id() {
            self.socket.hang_up();
        }
    }
}

/// What C code has printed goes on its way: Python's `flush` knows nothing of it.
fn flush_of_c() {
    unsafe extern "C" {
        static stdout: *mut libc::FILE;
    }
    // SAFETY: the C library's stream is there from the start of the program to its end; `fflush` takes its lock. Whoever
    // assigns to the variable does so at a program's start, and a null pointer is allowed.
    unsafe { libc::fflush(stdout) };
}

/// Bytes that wait in a pipe to be read; 0 for other descriptors.
fn unread(number: i32) -> u64 {
    // SAFETY: the number is only used for an `ioctl` that fails cleanly when nothing is open under it, and is not -1.
    let descriptor = unsafe { std::os::fd::BorrowedFd::borrow_raw(number) };
    rustix::io::ioctl_fionread(descriptor).unwrap_or(0)
}
