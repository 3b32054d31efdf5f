//! The native part of `phalanx.multiprocessing.queues`: base classes whose `put` and `get` need no Python code.
//!
//! An object is encoded in the caller, before anything is shared, and put by one store; see
//! `phalanx-shm/src/queue/README.md`. Nothing is left to be done after `put`: there is no thread and no buffer.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use phalanx_object::{GilCell, detached};
use phalanx_shm::queue::{ArenaMemory, Queue, Record, TryGet, TryPut, Turn, Watch};
use phalanx_shm::{Block, ShmError, fork};
use pyo3::exceptions::{PyException, PyOSError, PyRuntimeError, PyValueError};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyDict, PyTuple, PyType};
use std::os::fd::AsRawFd;

use crate::codec::{self, By, Encoded, Source};
use crate::family::{self, Token, refused};

/// Values up to this size are written on the stack.
const SHORT: usize = 64;

/// How long a call that must not wait waits for the holder of a side, which normally takes a microsecond.
const OCCUPIED: Duration = Duration::from_secs(1);

type SharedQueue = Queue<ArenaMemory>;

/// An argument that is asked for its truth, whatever it is.
pub(crate) struct Truth(pub(crate) bool);

impl<'a, 'py> FromPyObject<'a, 'py> for Truth {
    type Error = PyErr;

    fn extract(object: Borrowed<'a, 'py, PyAny>) -> PyResult<Truth> {
        object.is_truthy().map(Truth)
    }
}

/// How long a call may wait.
#[derive(Clone, Copy)]
enum Patience {
    None,
    Until(Instant),
    Forever,
}

impl Patience {
    fn new(block: bool, timeout: Option<f64>) -> Patience {
        match timeout {
            _ if !block => Patience::None,
            // Not a number counts as no time, as negative times do.
            Some(seconds) if seconds.is_nan() || seconds <= 0.0 => Patience::None,
            Some(seconds) => {
                let until = Duration::try_from_secs_f64(seconds).ok().and_then(|time| Instant::now().checked_add(time));
                until.map_or(Patience::Forever, Patience::Until)
            }
            None => Patience::Forever,
        }
    }

    fn deadline(self) -> Option<Instant> {
        match self {
            Patience::None => Some(Instant::now()),
            Patience::Until(deadline) => Some(deadline),
            Patience::Forever => None,
        }
    }
}

/// A queue of this process: what the two classes have in common.
struct Ends {
    queue: OnceLock<Arc<SharedQueue>>,
    /// The descriptor, and the fork generation that it is of.
    watch: GilCell<Option<(u32, Arc<Watch>)>>,
    /// Fork generation of `watch` plus one; 0 when there is none.
    watched: AtomicU32,
    /// Which of the two ends are closed in this process.
    reader_closed: AtomicBool,
    writer_closed: AtomicBool,
}

impl Ends {
    fn new() -> Ends {
        Ends {
            queue: OnceLock::new(),
            watch: GilCell::new(None),
            watched: AtomicU32::new(0),
            reader_closed: AtomicBool::new(false),
            writer_closed: AtomicBool::new(false),
        }
    }

    #[inline]
    fn queue(&self) -> PyResult<&Arc<SharedQueue>> {
        self.queue.get().ok_or_else(|| PyRuntimeError::new_err("the queue was not initialised: call its __init__"))
    }

    fn create(&self, py: Python<'_>, maxsize: u64) -> PyResult<()> {
        let arena = *family::arena(py)?;
        let queue = detached(py, || Queue::create(ArenaMemory::create(arena)?, maxsize));
        self.set(queue.map_err(|error| refused(&error))?)
    }

    fn set(&self, queue: SharedQueue) -> PyResult<()> {
        self.queue.set(Arc::new(queue)).map_err(|_| PyRuntimeError::new_err("the queue was initialised already"))
    }

    fn block(&self) -> PyResult<&Block> {
        self.queue()?.memory().block().ok_or_else(|| PyRuntimeError::new_err("the queue has no block"))
    }

    /// The name in a pickle of the queue of `object`, which lives until the pickle has been read.
    fn token(&self, object: &Bound<'_, PyAny>) -> PyResult<Token> {
        let block = self.block()?;
        family::passed(object, block)?;
        Ok(family::token(block))
    }

    fn open(&self, py: Python<'_>, token: Token) -> PyResult<()> {
        let block = family::open(py, token)?;
        self.set(ArenaMemory::of(block).and_then(Queue::open).map_err(|error| refused(&error))?)
    }

    /// Puts an object; false when there was no room in time. `failed` says what becomes of one that is not encoded.
    #[inline]
    fn put(
        &self,
        object: &Bound<'_, PyAny>,
        patience: impl FnOnce() -> Patience,
        failed: impl FnOnce(PyErr) -> PyResult<()>,
    ) -> PyResult<bool> {
        let mut short = [0; SHORT];
        if let Some(length) = codec::encode_small(object, &mut short) {
            return self.put_wire(object.py(), &short[..length], patience);
        }
        match codec::encode(object.py(), object, By::Reference) {
            Ok(encoded) => self.put_encoded(object.py(), encoded, patience),
            Err(error) => failed(error).map(|()| true),
        }
    }

    #[inline]
    fn put_wire(&self, py: Python<'_>, wire: &[u8], patience: impl FnOnce() -> Patience) -> PyResult<bool> {
        match self.queue()?.try_put(wire, &[]).map_err(|error| refused(&error))? {
            TryPut::Done => {
                self.refresh(py);
                Ok(true)
            }
            _ => self.put_slowly(py, wire, patience()),
        }
    }

    fn put_encoded(&self, py: Python<'_>, encoded: Encoded, patience: impl FnOnce() -> Patience) -> PyResult<bool> {
        let Encoded { wire, blocks, keep: _keep, .. } = encoded;
        if !blocks.is_empty() {
            return self.put_with_blocks(py, &wire, &blocks, patience());
        }
        self.put_wire(py, &wire, patience)
    }

    #[cold]
    fn put_slowly(&self, py: Python<'_>, wire: &[u8], patience: Patience) -> PyResult<bool> {
        let queue = self.queue()?;
        let done = if let Patience::None = patience {
            let until = Instant::now() + OCCUPIED;
            detached(py, || queue.try_put_until(wire, &[], until)).map_err(|error| refused(&error))? == TryPut::Done
        } else {
            in_turns(py, |turn| queue.put(wire, &[], patience.deadline(), turn))?
        };
        if done {
            self.refresh(py);
        }
        Ok(done)
    }

    /// Puts a message that holds blocks. It gets its holds only for the attempt: who is killed while waiting for room keeps
    /// nothing.
    fn put_with_blocks(&self, py: Python<'_>, wire: &[u8], blocks: &[Block], patience: Patience) -> PyResult<bool> {
        let queue = self.queue()?;
        loop {
            let handles: Vec<u64> = blocks.iter().map(|block| block.clone().into_transit().to_u64()).collect();
            let until = Instant::now() + OCCUPIED;
            let put = match queue.try_put(wire, &handles) {
                Ok(TryPut::Busy) => detached(py, || queue.try_put_until(wire, &handles, until)),
                put => put,
            };
            if !matches!(put, Ok(TryPut::Done)) {
                blocks.iter().for_each(|block| block.arena().discard(block.handle()));
            }
            match put.map_err(|error| refused(&error))? {
                TryPut::Done => {
                    self.refresh(py);
                    return Ok(true);
                }
                _ if matches!(patience, Patience::None) => return Ok(false),
                _ => {}
            }
            py.check_signals()?;
            if !in_turns(py, |turn| Ok(queue.wait_for_room(patience.deadline(), turn)))? {
                return Ok(false);
            }
        }
    }

    /// Gets an object; `None` when there was none in time.
    #[inline]
    fn get<'py>(&self, py: Python<'py>, patience: impl FnOnce() -> Patience) -> PyResult<Option<Bound<'py, PyAny>>> {
        let queue = self.queue()?;
        let mut record = Record::new();
        let got = queue.try_get(&mut record).map_err(|error| refused(&error))?;
        if got != TryGet::Done && !self.get_slowly(py, &mut record, got, patience())? {
            return Ok(None);
        }
        self.refresh(py);
        codec::decode(py, record.bytes(), Source::Transit).map(Some)
    }

    #[cold]
    fn get_slowly(&self, py: Python<'_>, record: &mut Record, first: TryGet, patience: Patience) -> PyResult<bool> {
        let queue = self.queue()?;
        if let Patience::None = patience {
            if first == TryGet::Empty {
                self.refresh(py);
                return Ok(false);
            }
            let until = Instant::now() + OCCUPIED;
            let got = detached(py, || queue.try_get_until(record, until)).map_err(|error| refused(&error))?;
            return Ok(got == TryGet::Done);
        }
        in_turns(py, |turn| queue.get(record, patience.deadline(), turn))
    }

    /// Whether there is something to get within `seconds` (`None`: for ever).
    fn poll(&self, py: Python<'_>, seconds: Option<f64>) -> PyResult<bool> {
        let queue = self.queue()?;
        self.check_reader()?;
        if !queue.is_empty() {
            return Ok(true);
        }
        match Patience::new(true, seconds) {
            Patience::None => Ok(false),
            patience => in_turns(py, |turn| Ok(queue.poll(patience.deadline(), turn))),
        }
    }

    /// Brings the descriptor up to date, where there is one.
    #[inline]
    fn refresh(&self, py: Python<'_>) {
        let watched = self.watched.load(Ordering::Relaxed);
        if watched != 0 && watched == fork::generation() + 1 {
            let watch = self.watch.peek(py, |watch| watch.as_ref().map(|(_, watch)| Arc::clone(watch)));
            if let (Some(watch), Some(queue)) = (watch, self.queue.get()) {
                let _ = watch.refresh(queue);
            }
        }
    }

    /// The descriptor that is readable while there is something to get. Made when first asked for.
    fn fileno(&self, py: Python<'_>) -> PyResult<i32> {
        let queue = self.queue()?;
        self.check_reader()?;
        let generation = fork::generation();
        let found = self.watch.peek(py, |watch| match watch {
            Some((of, watch)) if *of == generation => Some(watch.fd().as_raw_fd()),
            _ => None,
        });
        if let Some(fd) = found {
            return Ok(fd);
        }
        let watch = Watch::start(queue).map_err(|error| refused(&error))?;
        let fd = watch.fd().as_raw_fd();
        // A watch from before a fork is the parent's: its thread is not here, nor can its lock be trusted.
        std::mem::forget(self.watch.replace(py, Some((generation, watch))));
        self.watched.store(generation + 1, Ordering::Relaxed);
        Ok(fd)
    }

    fn check_reader(&self) -> PyResult<()> {
        if self.reader_closed.load(Ordering::Relaxed) { Err(handle_closed()) } else { Ok(()) }
    }

    fn check_writer(&self) -> PyResult<()> {
        if self.writer_closed.load(Ordering::Relaxed) { Err(handle_closed()) } else { Ok(()) }
    }
}

impl Drop for Ends {
    fn drop(&mut self) {
        // Objects are dropped with the interpreter lock held.
        Python::attach(|py| {
            let watch = self.watch.replace(py, None);
            match (watch, self.queue.get()) {
                (Some((generation, watch)), Some(queue)) if generation == fork::generation() => watch.stop(queue),
                (watch, _) => std::mem::forget(watch),
            }
        });
    }
}

/// Calls `act` without the interpreter lock until it is done or its time is up, and looks at signals in between.
fn in_turns(py: Python<'_>, mut act: impl FnMut(u32) -> Result<Turn, ShmError>) -> PyResult<bool> {
    for turn in 0u32.. {
        match detached(py, || act(turn)).map_err(|error| refused(&error))? {
            Turn::Done => return Ok(true),
            Turn::TimedOut => return Ok(false),
            Turn::Again => py.check_signals()?,
        }
    }
    Ok(false)
}

#[cold]
fn handle_closed() -> PyErr {
    PyOSError::new_err("handle is closed")
}

/// `queue.Full` or `queue.Empty`.
#[cold]
fn of_module_queue(py: Python<'_>, name: &'static str) -> PyErr {
    static FULL: PyOnceLock<Py<PyType>> = PyOnceLock::new();
    static EMPTY: PyOnceLock<Py<PyType>> = PyOnceLock::new();
    let cell = if name == "Full" { &FULL } else { &EMPTY };
    match cell.import(py, "queue", name) {
        Ok(class) => PyErr::from_type(class.clone(), ()),
        Err(error) => error,
    }
}

/// The native part of `Queue` and `JoinableQueue`: everything but the attributes that mimic the standard library's.
#[pyclass(module = "phalanx._workers", name = "QueueBase", subclass, frozen)]
pub(crate) struct QueueBase {
    ends: Ends,
    /// Fork generation plus one in which it was closed; 0 when it was not. A forked child has it open again.
    closed: AtomicU32,
    /// Whether this process has put something.
    used: AtomicBool,
    /// Most items, as given; for `_maxsize`.
    maxsize: AtomicU64,
}

impl QueueBase {
    #[inline]
    fn check_open(slf: &Bound<'_, Self>) -> PyResult<()> {
        let closed = slf.get().closed.load(Ordering::Relaxed);
        if closed != 0 && closed == fork::generation() + 1 {
            return Err(PyValueError::new_err(format!("Queue {} is closed", slf.repr()?)));
        }
        Ok(())
    }

    /// What becomes of an object that does not pickle: a class that handles such errors does so, as if a thread had met them.
    #[cold]
    fn not_encoded(slf: &Bound<'_, Self>, object: &Bound<'_, PyAny>, error: PyErr) -> PyResult<()> {
        const HOOK: &str = "_on_queue_feeder_error";
        let py = slf.py();
        if error.is_instance_of::<PyException>(py) {
            let standard = py.import("multiprocessing.queues")?.getattr("Queue")?.getattr(HOOK)?;
            if let Ok(hook) = slf.getattr(HOOK)
                && !hook.is(&standard)
            {
                hook.call1((error.into_value(py), object))?;
                return Ok(());
            }
        }
        Err(error)
    }
}

#[pymethods]
impl QueueBase {
    #[new]
    #[pyo3(signature = (*args, **kwargs))]
    fn new(args: &Bound<'_, PyTuple>, kwargs: Option<&Bound<'_, PyDict>>) -> QueueBase {
        let _ = (args, kwargs);
        QueueBase {
            ends: Ends::new(),
            closed: AtomicU32::new(0),
            used: AtomicBool::new(false),
            maxsize: AtomicU64::new(0),
        }
    }

    /// put(self, obj: Any, block: bool = True, timeout: float | None = None) -> None
    ///
    /// Put an object into the queue. It is there when the call returns, also if this process ends at once.
    ///
    /// Parameters
    /// ----------
    /// obj : object
    ///     Anything that pickles. What does not pickle raises here.
    /// block : bool
    ///     Whether to wait for room in a bounded queue.
    /// timeout : float, optional
    ///     Seconds to wait for room; for ever when it is None.
    ///
    /// Raises
    /// ------
    /// queue.Full
    ///     There was no room in time.
    /// ValueError
    ///     The queue is closed in this process.
    #[pyo3(signature = (obj, block=Truth(true), timeout=None), text_signature = "($self, obj, block=True, timeout=None)")]
    fn put(slf: &Bound<'_, Self>, obj: &Bound<'_, PyAny>, block: Truth, timeout: Option<f64>) -> PyResult<()> {
        Self::check_open(slf)?;
        let this = slf.get();
        this.ends.check_writer()?;
        this.used.store(true, Ordering::Relaxed);
        let put = this.ends.put(obj, || Patience::new(block.0, timeout), |error| Self::not_encoded(slf, obj, error))?;
        if put { Ok(()) } else { Err(of_module_queue(slf.py(), "Full")) }
    }

    /// get(self, block: bool = True, timeout: float | None = None) -> Any
    ///
    /// Remove and return the oldest object.
    ///
    /// Parameters
    /// ----------
    /// block : bool
    ///     Whether to wait for one.
    /// timeout : float, optional
    ///     Seconds to wait; for ever when it is None.
    ///
    /// Raises
    /// ------
    /// queue.Empty
    ///     There was nothing in time.
    /// ValueError
    ///     The queue is closed in this process.
    #[pyo3(signature = (block=Truth(true), timeout=None), text_signature = "($self, block=True, timeout=None)")]
    fn get<'py>(slf: &Bound<'py, Self>, block: Truth, timeout: Option<f64>) -> PyResult<Bound<'py, PyAny>> {
        Self::check_open(slf)?;
        let this = slf.get();
        this.ends.check_reader()?;
        match this.ends.get(slf.py(), || Patience::new(block.0, timeout))? {
            Some(object) => Ok(object),
            None => Err(of_module_queue(slf.py(), "Empty")),
        }
    }

    /// put_nowait(self, obj: Any) -> None
    ///
    /// Put an object if there is room now; `queue.Full` otherwise.
    fn put_nowait(slf: &Bound<'_, Self>, obj: &Bound<'_, PyAny>) -> PyResult<()> {
        slf.call_method1("put", (obj, false)).map(drop)
    }

    /// get_nowait(self) -> Any
    ///
    /// Get an object if there is one now; `queue.Empty` otherwise.
    fn get_nowait<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        slf.call_method1("get", (false,))
    }

    /// qsize(self) -> int
    ///
    /// How many objects are in the queue.
    fn qsize(&self) -> PyResult<u64> {
        Ok(self.ends.queue()?.len())
    }

    /// empty(self) -> bool
    ///
    /// Whether there is nothing to get now.
    fn empty(&self) -> PyResult<bool> {
        let closed = self.closed.load(Ordering::Relaxed);
        if closed == fork::generation() + 1 && self.used.load(Ordering::Relaxed) {
            return Err(handle_closed());
        }
        self.ends.check_reader()?;
        Ok(self.ends.queue()?.is_empty())
    }

    /// full(self) -> bool
    ///
    /// Whether there is no room now.
    fn full(&self) -> PyResult<bool> {
        Ok(self.ends.queue()?.is_full())
    }

    /// close(self) -> None
    ///
    /// Say that this process puts and gets nothing more. What it has put stays.
    fn close(&self) {
        self.closed.store(fork::generation() + 1, Ordering::Relaxed);
    }

    /// _closed: bool
    ///
    /// Whether `close` was called in this process.
    #[getter(_closed)]
    fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Relaxed) == fork::generation() + 1
    }

    /// _maxsize: int
    ///
    /// Most objects at a time, as a number.
    #[getter(_maxsize)]
    fn maxsize(&self) -> u64 {
        self.maxsize.load(Ordering::Relaxed)
    }

    /// _create(self, maxsize: int, limit: int) -> None
    ///
    /// Makes the shared part; `limit` is 0 for no limit.
    fn _create(&self, py: Python<'_>, maxsize: u64, limit: u64) -> PyResult<()> {
        self.maxsize.store(maxsize, Ordering::Relaxed);
        self.ends.create(py, limit)
    }

    /// _token(self) -> Any
    ///
    /// What names the shared part in a pickle.
    fn _token(slf: &Bound<'_, Self>) -> PyResult<(Token, u64)> {
        let this = slf.get();
        Ok((this.ends.token(slf.as_any())?, this.maxsize.load(Ordering::Relaxed)))
    }

    /// _open(self, token: Any) -> None
    ///
    /// Opens the shared part that a pickle names.
    fn _open(&self, py: Python<'_>, token: (Token, u64)) -> PyResult<()> {
        self.maxsize.store(token.1, Ordering::Relaxed);
        self.ends.open(py, token.0)
    }

    /// _poll(self, timeout: float | None = 0.0) -> bool
    ///
    /// As a pipe's `poll`: whether there is something to get within so many seconds.
    #[pyo3(signature = (timeout=0.0))]
    fn _poll(&self, py: Python<'_>, timeout: Option<f64>) -> PyResult<bool> {
        self.ends.poll(py, timeout)
    }

    /// _fileno(self) -> int
    ///
    /// A descriptor that is readable while there is something to get.
    fn _fileno(&self, py: Python<'_>) -> PyResult<i32> {
        self.ends.fileno(py)
    }

    /// _close_end(self, reader: bool) -> None
    ///
    /// Closes one end in this process.
    fn _close_end(&self, reader: bool) {
        if reader { &self.ends.reader_closed } else { &self.ends.writer_closed }.store(true, Ordering::Relaxed);
    }

    /// _end_closed(self, reader: bool) -> bool
    ///
    /// Whether one end is closed in this process.
    fn _end_closed(&self, reader: bool) -> bool {
        if reader { &self.ends.reader_closed } else { &self.ends.writer_closed }.load(Ordering::Relaxed)
    }

    /// _unfinished(self) -> int
    ///
    /// How many objects were put and not yet declared done.
    fn _unfinished(&self) -> PyResult<u64> {
        Ok(self.ends.queue()?.unfinished())
    }

    /// _task_done(self) -> bool
    ///
    /// Declares one object done; false when there is none.
    fn _task_done(&self) -> PyResult<bool> {
        Ok(self.ends.queue()?.task_done())
    }

    /// _join(self) -> None
    ///
    /// Waits until all objects are done.
    fn _join(&self, py: Python<'_>) -> PyResult<()> {
        let queue = self.ends.queue()?;
        let mut joining = queue.joining();
        in_turns(py, |_| Ok(queue.join(&mut joining, None))).map(drop)
    }
}

/// The native part of `SimpleQueue`.
#[pyclass(module = "phalanx._workers", name = "SimpleQueueBase", subclass, frozen)]
pub(crate) struct SimpleQueueBase {
    ends: Ends,
}

#[pymethods]
impl SimpleQueueBase {
    #[new]
    #[pyo3(signature = (*args, **kwargs))]
    fn new(args: &Bound<'_, PyTuple>, kwargs: Option<&Bound<'_, PyDict>>) -> SimpleQueueBase {
        let _ = (args, kwargs);
        SimpleQueueBase { ends: Ends::new() }
    }

    /// put(self, obj: Any) -> None
    ///
    /// Put an object into the queue. It is there when the call returns, also if this process ends at once.
    fn put(&self, obj: &Bound<'_, PyAny>) -> PyResult<()> {
        self.ends.check_writer()?;
        self.ends.put(obj, || Patience::Forever, Err).map(drop)
    }

    /// get(self) -> Any
    ///
    /// Remove and return the oldest object; wait until there is one.
    fn get<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.ends.check_reader()?;
        match self.ends.get(py, || Patience::Forever)? {
            Some(object) => Ok(object),
            None => Err(of_module_queue(py, "Empty")),
        }
    }

    /// empty(self) -> bool
    ///
    /// Whether there is nothing to get now.
    fn empty(&self) -> PyResult<bool> {
        self.ends.check_reader()?;
        Ok(self.ends.queue()?.is_empty())
    }

    /// close(self) -> None
    ///
    /// Say that this process puts and gets nothing more. What it has put stays.
    fn close(&self) {
        self._close_end(true);
        self._close_end(false);
    }

    /// _create(self) -> None
    ///
    /// Makes the shared part.
    fn _create(&self, py: Python<'_>) -> PyResult<()> {
        self.ends.create(py, 0)
    }

    /// _token(self) -> Any
    ///
    /// What names the shared part in a pickle.
    fn _token(slf: &Bound<'_, Self>) -> PyResult<Token> {
        slf.get().ends.token(slf.as_any())
    }

    /// _open(self, token: Any) -> None
    ///
    /// Opens the shared part that a pickle names.
    fn _open(&self, py: Python<'_>, token: Token) -> PyResult<()> {
        self.ends.open(py, token)
    }

    /// _poll(self, timeout: float | None = 0.0) -> bool
    ///
    /// As a pipe's `poll`: whether there is something to get within so many seconds.
    #[pyo3(signature = (timeout=0.0))]
    fn _poll(&self, py: Python<'_>, timeout: Option<f64>) -> PyResult<bool> {
        self.ends.poll(py, timeout)
    }

    /// _fileno(self) -> int
    ///
    /// A descriptor that is readable while there is something to get.
    fn _fileno(&self, py: Python<'_>) -> PyResult<i32> {
        self.ends.fileno(py)
    }

    /// _close_end(self, reader: bool) -> None
    ///
    /// Closes one end in this process.
    fn _close_end(&self, reader: bool) {
        if reader { &self.ends.reader_closed } else { &self.ends.writer_closed }.store(true, Ordering::Relaxed);
    }

    /// _end_closed(self, reader: bool) -> bool
    ///
    /// Whether one end is closed in this process.
    fn _end_closed(&self, reader: bool) -> bool {
        if reader { &self.ends.reader_closed } else { &self.ends.writer_closed }.load(Ordering::Relaxed)
    }
}

/// Adds the classes of this file to the module.
pub(crate) fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add_class::<QueueBase>()?;
    m.add_class::<SimpleQueueBase>()
}
