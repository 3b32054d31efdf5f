//! The class `Supervisor`: the parent's side of one pool.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use phalanx_pool::job::Keep;
use phalanx_pool::{End, Engine, Event, Form, FunctionId, JobSpec, Outcome};
use phalanx_shm::board::{Board, MAX_WORKERS, Phase, Shape};
use phalanx_shm::{Block, BlockKind, CpuBudget};
use pyo3::exceptions::{PyOSError, PyTypeError, PyValueError};
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList, PyTuple};

use super::collect;
use super::functions::{self, Functions};
use super::job::{Job, Mode, Want, seconds};
use super::shared::{Notice, Shared};
use super::source::Source;
use super::ticket::Ticket;
use super::watch::{self, Watch};
use crate::codec::{self, By, Sharing, encode};
use crate::{family, text};

/// How long an idle worker spins before it sleeps, in microseconds.
const SPIN_MICROS: u32 = 150;

/// How long the watching thread may take to settle what an ended worker leaves, and how often that is looked at.
const BURIAL: Duration = Duration::from_secs(2);
const BURIAL_LOOK: Duration = Duration::from_micros(100);

/// How long a worker's replacement leaves the interpreter lock to the threads that wait for what the worker was doing:
/// the fork holds it for a millisecond or more, and by now they have been told.
const HEAD_START: Duration = Duration::from_micros(200);

/// Supervisor(workers: int, *, timeout: float | None = None, retries: int = 0, memory_limit: int | None = None,
///     maxtasksperchild: int | None = None)
///
/// The parent's side of a pool: gives tasks to workers, collects what becomes of them, watches the processes. It starts
/// none: for each slot from 0 to `workers` - 1, make a process that calls `run_worker(supervisor.ticket(slot), ...)`,
/// then call `started(slot, pid)`; do so again after the event ("ended", slot, pid) while `wants_workers()`.
///
/// `timeout` is the time in seconds a task may take, `retries` how often one is tried again whose worker was lost or
/// whose time was over. A worker that uses more than `memory_limit` bytes (resident and not shared, looked at every 20
/// ms) is killed. After `maxtasksperchild` chunks a worker is replaced.
#[pyclass(module = "phalanx._workers", frozen)]
pub(super) struct Supervisor {
    shared: Arc<Shared>,
    block: Block,
    functions: Mutex<Functions>,
    timeout: Option<u64>,
    retries: u32,
    maxtasks: Option<u64>,
    /// Whether the threads run.
    running: Mutex<bool>,
    slots: u32,
}

/// Nanoseconds of a timeout in seconds.
fn limit(timeout: Option<f64>) -> PyResult<Option<u64>> {
    match timeout {
        Some(timeout) if timeout > 0.0 => Ok(Some((timeout * 1e9).min(1e18) as u64)),
        Some(timeout) => Err(PyValueError::new_err(format!("a timeout of {timeout} s: expected more than 0"))),
        None => Ok(None),
    }
}

/// Starts a thread in which no signal handler runs: signals are for Python's main thread.
fn spawn(name: &str, run: impl FnOnce() + Send + 'static) -> std::io::Result<()> {
    let thread = std::thread::Builder::new().name(name.to_owned()).stack_size(256 << 10);
    // SAFETY: plain data, for which zero is a value; filled in below.
    let (mut all, mut old): (libc::sigset_t, libc::sigset_t) = unsafe { (std::mem::zeroed(), std::mem::zeroed()) };
    // SAFETY: both sets are valid for writes. The thread inherits the mask; this one gets its own back.
    unsafe {
        libc::sigfillset(&mut all);
        libc::pthread_sigmask(libc::SIG_SETMASK, &all, &mut old);
    }
    let spawned = thread.spawn(run);
    // SAFETY: the set that the call above filled.
    unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &old, std::ptr::null_mut()) };
    spawned.map(drop)
}

impl Supervisor {
    fn check_open(&self) -> PyResult<()> {
        self.shared.check_mine()?;
        if self.shared.terminated.load(Ordering::Relaxed) || self.shared.closed.load(Ordering::Relaxed) {
            return Err(PyValueError::new_err("Pool not running"));
        }
        Ok(())
    }

    fn check_slot(&self, slot: u32) -> PyResult<()> {
        self.shared.check_mine()?;
        if slot < self.slots {
            return Ok(());
        }
        Err(PyValueError::new_err(format!("slot {slot}: this pool has {}, numbered from 0", self.slots)))
    }

    /// Starts the threads, when the first worker has started: a process with threads should not fork.
    fn run(&self) -> PyResult<()> {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        if !*running {
            let failed = |error: std::io::Error| PyOSError::new_err(format!("the pool cannot start a thread: {error}"));
            let shared = self.shared.clone();
            spawn("phalanx-watch", move || watch::run(&shared)).map_err(failed)?;
            let shared = self.shared.clone();
            spawn("phalanx-collect", move || collect::run(&shared)).map_err(failed)?;
            *running = true;
        }
        Ok(())
    }

    fn spec(&self, function: FunctionId, timeout: Option<f64>, retries: Option<u32>) -> PyResult<JobSpec> {
        Ok(JobSpec {
            function,
            timeout: limit(timeout)?.or(self.timeout),
            retries: retries.unwrap_or(self.retries),
            ..JobSpec::default()
        })
    }

    fn job(
        &self,
        py: Python<'_>,
        function: &Bound<'_, PyAny>,
        is_loose: bool,
        spec: JobSpec,
        mode: Mode,
        ahead: Option<u64>,
    ) -> PyResult<Py<Job>> {
        let callbacks = spec.callbacks;
        let name = functions::name_of(function)?;
        // The job's number before its items: events of a job that somebody is called back for find it.
        let mut engine = self.shared.engine();
        // Pickling may have taken its time. Who closes the pool looks for jobs after this, or it was closed before.
        self.check_open()?;
        let number = spec.function;
        let id = engine.ledger().add_job(spec);
        if is_loose {
            engine.ledger().hold_function(number, || Box::new(function.clone().unbind()));
        }
        drop(engine);
        let job = Py::new(py, Job::new(self.shared.clone(), id, mode, name, ahead))?;
        if callbacks {
            let mut jobs = self.shared.jobs.lock().unwrap_or_else(PoisonError::into_inner);
            jobs.insert(id, job.clone_ref(py));
        }
        Ok(job)
    }

    /// Makes bytes by value for a worker that could not find something by name.
    fn answer(&self, py: Python<'_>, event: Event) {
        match event {
            Event::Done(_) => {}
            Event::WantFunction(id) => functions::send_by_value(&self.functions, &self.shared, py, id),
            Event::WantItem(job, index) => {
                let item = self.shared.engine().ledger().item(job, index).map(<[u8]>::to_vec);
                let object = item.and_then(|item| codec::decode(py, &item, codec::Source::Borrowed).ok());
                let encoded = object.and_then(|object| encode(py, &object, By::Value).ok());
                let mut keeps: Vec<Keep> = Vec::new();
                let bytes = encoded.map(|encoded| {
                    keeps.push(Box::new((encoded.blocks, encoded.keep)));
                    encoded.wire.to_vec()
                });
                self.shared.engine().ledger().replace_item(job, index, bytes, keeps);
            }
        }
        self.shared.engine().publish();
        self.shared.tell(false);
    }

    /// Takes items for jobs whose results nobody takes: those whose iterator was dropped before its first result was
    /// taken (asked for what the function does, not for what it returns), and all while somebody waits for the end. A
    /// job whose iterator was dropped later takes no more items. One whose items cannot be taken is broken off.
    fn pull(&self, py: Python<'_>) {
        let lock = || self.shared.lazy.lock().unwrap_or_else(PoisonError::into_inner);
        let mut jobs = std::mem::take(&mut *lock());
        if jobs.is_empty() {
            return;
        }
        let draining = self.shared.draining.load(Ordering::Relaxed);
        let mut pulling = false;
        jobs.retain(|job| {
            let (open, begun) = job.get().is_open(py);
            // SAFETY: a live object, and the lock is held: only this list has it when the count is one.
            let dropped = unsafe { pyo3::ffi::Py_REFCNT(job.as_ptr()) } == 1;
            if !open {
                return false;
            }
            if dropped && begun {
                job.get().give_up(py);
                return false;
            }
            if dropped || draining {
                pulling = true;
                self.shared.pulling.store(true, Ordering::Relaxed);
                // Not a signal, which would be for the main thread: pickling an item has raised it.
                if let Err(error) = job.get().feed(py, Want::Regardless) {
                    job.get().break_off(py, error);
                    return false;
                }
            }
            true
        });
        self.shared.pulling.store(pulling, Ordering::Relaxed);
        lock().append(&mut jobs);
    }

    /// After a submission: the collecting thread has to know of it when it sleeps, or when somebody is called back.
    fn submitted(&self, callbacks: bool) {
        std::sync::atomic::fence(Ordering::SeqCst);
        self.shared.call_collector(callbacks);
    }
}

#[pymethods]
impl Supervisor {
    #[new]
    #[pyo3(signature = (workers, *, timeout=None, retries=0, memory_limit=None, maxtasksperchild=None))]
    fn new(
        py: Python<'_>,
        workers: u32,
        timeout: Option<f64>,
        retries: u32,
        memory_limit: Option<u64>,
        maxtasksperchild: Option<u64>,
    ) -> PyResult<Supervisor> {
        if !(1..=MAX_WORKERS).contains(&workers) {
            return Err(PyValueError::new_err(format!("{workers} workers: a pool has 1 to {MAX_WORKERS}")));
        }
        let arena = family::arena(py)?;
        let shape = Shape::for_workers(workers);
        let block = arena.alloc(shape.bytes(), BlockKind::Board).map_err(|error| family::refused(&error))?;
        let board = Board::in_block(block.clone(), shape).map_err(|error| family::refused(&error))?;
        let budget = CpuBudget::detect(workers + 1);
        let cpus = budget.cpus.floor().max(1.0) as u32;
        board.set_spinning(cpus.saturating_sub(1).min(4), SPIN_MICROS);
        let watch = Watch::new(memory_limit)?;
        Ok(Supervisor {
            shared: Arc::new(Shared::new(Engine::new(board), *arena, watch, cpus)),
            block,
            functions: Mutex::default(),
            timeout: limit(timeout)?,
            retries,
            maxtasks: maxtasksperchild,
            running: Mutex::new(false),
            slots: workers,
        })
    }

    /// ticket(self, slot: int) -> Ticket
    ///
    /// What the next worker in the slot needs: an argument of `run_worker`. Ask for one for each start.
    fn ticket(&self, py: Python<'_>, slot: u32) -> PyResult<Ticket> {
        self.check_slot(slot)?;
        self.shared.engine().prepare_slot(slot);
        let threading = py.import("threading")?;
        let main = threading.call_method0("main_thread")?.is(&threading.call_method0("current_thread")?);
        Ok(Ticket {
            block: self.block.clone(),
            slot,
            maxtasks: self.maxtasks,
            parent: self.shared.pid,
            main_thread: main,
        })
    }

    /// started(self, slot: int, pid: int) -> None
    ///
    /// Say that a worker was started in the slot.
    fn started(&self, slot: u32, pid: u32) -> PyResult<()> {
        self.check_slot(slot)?;
        self.shared.engine().ledger().worker_started(slot, pid);
        self.shared.watch.watch(slot, pid)?;
        // The last of them: the threads start now, after the forks.
        if slot + 1 == self.slots || *self.running.lock().unwrap_or_else(PoisonError::into_inner) {
            self.run()?;
        }
        Ok(())
    }

    /// reaped(self, slot: int, pid: int, exitcode: int | None) -> None
    ///
    /// Say how an ended worker ended, as in `Process.exitcode`. Needed where the worker is not this process's child
    /// (forkserver), or where somebody else took its exit status; harmless otherwise. Returns when the worker's slot is
    /// free for another.
    #[pyo3(signature = (slot, pid, exitcode))]
    fn reaped(&self, py: Python<'_>, slot: u32, pid: u32, exitcode: Option<i32>) -> PyResult<()> {
        self.check_slot(slot)?;
        let end = match exitcode {
            Some(status) if status < 0 => End::Signaled(-status),
            Some(status) => End::Exited(status),
            None => End::Unknown,
        };
        self.shared.watch.reaped(slot, pid, end.clone());
        // What this worker leaves must not be taken for the next one's.
        let start = Instant::now();
        while !self.shared.terminated.load(Ordering::Relaxed) {
            let mut engine = self.shared.engine();
            if engine.ledger().stats().nth(slot as usize).is_none_or(|worker| worker.pid != pid) {
                break;
            }
            if start.elapsed() >= BURIAL {
                // The watching thread does not get to it. Its burial, when it comes, finds nothing left to do.
                engine.worker_ended(slot, pid, end).map_err(|error| super::shared::damaged(&error))?;
                self.shared.end_if_over(&mut engine);
                drop(engine);
                self.shared.tell(true);
                break;
            }
            drop(engine);
            phalanx_object::detached(py, || std::thread::sleep(BURIAL_LOOK));
        }
        if !self.shared.over.load(Ordering::Relaxed) {
            phalanx_object::detached(py, || std::thread::sleep(HEAD_START));
        }
        Ok(())
    }

    /// wants_workers(self) -> bool
    ///
    /// Whether an ended worker is to be replaced: not when all is done and no more comes, nor when workers cannot start.
    fn wants_workers(&self) -> bool {
        self.shared.is_mine()
            && !self.shared.over.load(Ordering::Relaxed)
            && self.shared.engine().ledger().broken().is_none()
    }

    /// is_broken(self) -> bool
    ///
    /// Whether the pool has given up, since no worker can start.
    fn is_broken(&self) -> PyResult<bool> {
        self.shared.check_mine()?;
        Ok(self.shared.engine().ledger().broken().is_some())
    }

    /// next_event(self) -> tuple[Any, ...] | None
    ///
    /// Wait for what is to be done: ("ended", slot, pid): join that process and start another one; ("call", job, None): a
    /// job made with callbacks is done. None when the pool is over. To be called in one thread only, all the time.
    fn next_event<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyTuple>>> {
        self.shared.check_mine()?;
        self.run()?;
        loop {
            if let Some(Notice::Ended { slot, pid }) = self.shared.next_notice()
                && !self.shared.terminated.load(Ordering::Relaxed)
            {
                return Ok(Some(("ended", slot, pid).into_pyobject(py)?));
            }
            self.pull(py);
            let event = self.shared.engine().ledger().next_event();
            match event {
                Some(Event::Done(id)) => {
                    let job = self.shared.jobs.lock().unwrap_or_else(PoisonError::into_inner).remove(&id);
                    if let Some(job) = job {
                        return Ok(Some(("call", job, py.None()).into_pyobject(py)?));
                    }
                    continue;
                }
                Some(event) => {
                    self.answer(py, event);
                    continue;
                }
                None => {}
            }
            if self.shared.over.load(Ordering::Relaxed) {
                return Ok(None);
            }
            let shared = &self.shared;
            phalanx_object::detached(py, || {
                shared.wait_events(|| {
                    shared.over.load(Ordering::Relaxed) || shared.has_notice() || shared.engine().ledger().has_events()
                });
            });
        }
    }

    /// apply(self, func: Callable[..., Any], args: Any = None, kwds: Any = None, *, callbacks: bool = False, timeout: float | None = None, retries: int | None = None) -> Job
    ///
    /// Have `func(*args, **kwds)` done.
    #[pyo3(signature = (func, args=None, kwds=None, *, callbacks=false, timeout=None, retries=None))]
    #[expect(clippy::too_many_arguments, reason = "the signature of the Python method")]
    fn apply(
        &self,
        py: Python<'_>,
        func: &Bound<'_, PyAny>,
        args: Option<&Bound<'_, PyAny>>,
        kwds: Option<&Bound<'_, PyAny>>,
        callbacks: bool,
        timeout: Option<f64>,
        retries: Option<u32>,
    ) -> PyResult<Py<Job>> {
        self.check_open()?;
        limit(timeout)?;
        let args = match args {
            Some(args) => args.cast_exact::<PyTuple>().cloned().or_else(|_| {
                args.try_iter()?.collect::<PyResult<Vec<_>>>().and_then(|items| PyTuple::new(py, items))
            })?,
            None => PyTuple::empty(py),
        };
        let item = match kwds.filter(|kwds| !kwds.is_none()) {
            Some(kwds) => {
                let kwds = match kwds.cast_exact::<PyDict>() {
                    Ok(kwds) => kwds.clone(),
                    Err(_) => {
                        let copy = PyDict::new(py);
                        copy.call_method1("update", (kwds,))?;
                        copy
                    }
                };
                if kwds.is_empty() { args.into_any() } else { (args, kwds).into_pyobject(py)?.into_any() }
            }
            None => args.into_any(),
        };
        let with_kwds = item.len()? == 2 && kwds.is_some_and(|kwds| kwds.is_truthy().unwrap_or(false));
        let form = if with_kwds { Form::Call } else { Form::Star };
        let encoded = match encode(py, &item, By::Reference) {
            Err(error) if text::is_interrupt(py, &error) => return Err(error),
            encoded => encoded,
        };
        // From here on nothing fails that would leave the function without a job, unless the pool has been closed.
        let function = functions::number(&self.functions, &self.shared, func)?;
        let spec = JobSpec {
            form,
            chunk: Some(1),
            callbacks,
            each: true,
            total: Some(1),
            ..self.spec(function.id, timeout, retries)?
        };
        let job = self.job(py, func, function.is_loose, spec, Mode::Single, None)?;
        match encoded {
            Ok(encoded) => {
                let mut keeps: Vec<Keep> = Vec::new();
                if !encoded.blocks.is_empty() || !encoded.keep.is_empty() {
                    keeps.push(Box::new((encoded.blocks, encoded.keep)));
                }
                let mut engine = self.shared.engine();
                engine.ledger().push_item(job.get().id, &encoded.wire, keeps);
                engine.publish();
            }
            Err(error) => {
                job.get().add_unsent(py, error);
                self.shared.engine().ledger().push_unsent(job.get().id);
                self.shared.ring_events();
            }
        }
        self.submitted(callbacks);
        Ok(job)
    }

    /// map(self, func: Callable[..., Any], items: Iterable[Any], *, star: bool = False, chunksize: int | None = None, mode: str = "list", callbacks: bool = False, buffersize: int | None = None, timeout: float | None = None, retries: int | None = None) -> Job
    ///
    /// Have `func(item)`, or `func(*item)`, done for each item. For mode "list" all items are taken at once, and
    /// `Job.get` returns the list of results; for "ordered" and "unordered" `Job.next` returns one after the other, and
    /// at most `buffersize` items (four chunks per worker when not given) are taken ahead of them.
    #[pyo3(signature = (func, items, *, star=false, chunksize=None, mode="list", callbacks=false, buffersize=None, timeout=None, retries=None))]
    #[expect(clippy::too_many_arguments, reason = "the signature of the Python method")]
    fn map(
        &self,
        py: Python<'_>,
        func: &Bound<'_, PyAny>,
        items: &Bound<'_, PyAny>,
        star: bool,
        chunksize: Option<u32>,
        mode: &str,
        callbacks: bool,
        buffersize: Option<u64>,
        timeout: Option<f64>,
        retries: Option<u32>,
    ) -> PyResult<Py<Job>> {
        self.check_open()?;
        let mode = match mode {
            "list" => Mode::List,
            "ordered" => Mode::Ordered,
            "unordered" => Mode::Unordered,
            other => {
                let text = format!("mode {other:?}: expected \"list\", \"ordered\" or \"unordered\"");
                return Err(PyValueError::new_err(text));
            }
        };
        if chunksize == Some(0) || buffersize == Some(0) {
            return Err(PyValueError::new_err("chunksize and buffersize must be 1 or more"));
        }
        if !func.is_callable() {
            return Err(PyTypeError::new_err(format!("{} cannot be called", func.repr()?)));
        }
        limit(timeout)?;
        let iterator = items.try_iter()?;
        let function = functions::number(&self.functions, &self.shared, func)?;
        // A chunk has to fit in what is taken ahead.
        let ahead = buffersize.map(|size| size.max(u64::from(chunksize.unwrap_or(1))));
        let spec = JobSpec {
            form: if star { Form::Star } else { Form::One },
            chunk: chunksize,
            callbacks,
            each: mode != Mode::List,
            total: None,
            ..self.spec(function.id, timeout, retries)?
        };
        let job = self.job(py, func, function.is_loose, spec, mode, ahead)?;
        job.get().set_source(py, Source::new(iterator));
        let fed = {
            let _sharing = if mode == Mode::List { Sharing::begin(items) } else { None };
            job.get().feed(py, if mode == Mode::List { Want::All } else { Want::Ahead })
        };
        if let Err(error) = fed {
            // Nobody gets this job: what has not begun of it is not done.
            job.get().give_up(py);
            job.get().cancel()?;
            return Err(error);
        }
        if mode != Mode::List && job.get().is_open(py).0 {
            self.shared.lazy.lock().unwrap_or_else(PoisonError::into_inner).push(job.clone_ref(py));
            // Whether its results are wanted is looked at from time to time.
            self.shared.ring_events();
        }
        if mode == Mode::List
            && let Some(error) = job.get().raised(py)
        {
            return Err(error);
        }
        self.submitted(callbacks);
        Ok(job)
    }

    /// close(self) -> None
    ///
    /// Take no more jobs. Workers end when all is done.
    fn close(&self) -> PyResult<()> {
        if !self.shared.is_mine() {
            return Ok(());
        }
        self.shared.closed.store(true, Ordering::Relaxed);
        let mut engine = self.shared.engine();
        self.shared.end_if_over(&mut engine);
        drop(engine);
        self.shared.call_collector(true);
        Ok(())
    }

    /// terminate(self) -> None
    ///
    /// Give up: every item that is not done becomes an error, and workers end before their next task. The caller, which has the
    /// process objects, stops them at once if it wants to.
    fn terminate(&self) -> PyResult<()> {
        let shared = &self.shared;
        if !shared.is_mine() || shared.terminated.swap(true, Ordering::Relaxed) {
            return Ok(());
        }
        shared.closed.store(true, Ordering::Relaxed);
        let mut engine = shared.engine();
        // What has arrived counts; a damaged board has nothing to say any more.
        let _ = engine.poll();
        engine.end_all(&Outcome::Terminated);
        drop(engine);
        shared.over.store(true, Ordering::Relaxed);
        shared.board.end(Phase::Abandoned);
        let lazy = std::mem::take(&mut *shared.lazy.lock().unwrap_or_else(PoisonError::into_inner));
        drop(lazy);
        shared.board.doorbell().notify();
        shared.tell(true);
        shared.shutdown.store(true, Ordering::Relaxed);
        shared.collector.notify();
        shared.watch.ring();
        Ok(())
    }

    /// is_idle(self) -> bool
    ///
    /// Whether all that was asked for is done.
    fn is_idle(&self) -> PyResult<bool> {
        self.shared.check_mine()?;
        let mut engine = self.shared.engine();
        engine.poll().map_err(|error| super::shared::damaged(&error))?;
        Ok(engine.ledger().is_idle())
    }

    /// wait_idle(self, timeout: float | None = None) -> bool
    ///
    /// Wait until all that was asked for is done; whether it is. From now on items are taken from the iterables of all
    /// jobs, whether their results are taken or not.
    #[pyo3(signature = (timeout=None))]
    fn wait_idle(&self, py: Python<'_>, timeout: Option<f64>) -> PyResult<bool> {
        self.shared.draining.store(true, Ordering::Relaxed);
        self.shared.ring_events();
        Ok(self.shared.wait_for(py, seconds(timeout), |engine| engine.ledger().is_idle().then_some(()))?.is_some())
    }

    /// stats(self) -> dict[str, Any]
    ///
    /// What has been done: "outstanding" items, and for each of the "workers" its "slot", "pid" (None while there is
    /// none), "starts", "tasks" (items), "chunks", "busy", "idle" and "queued" (seconds; the last is how long its chunks
    /// waited for it), "bytes_in" and "bytes_out" (large objects in shared memory not counted).
    fn stats<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        self.shared.check_mine()?;
        let mut engine = self.shared.engine();
        engine.poll().map_err(|error| super::shared::damaged(&error))?;
        let stats: Vec<_> = engine.ledger().stats().copied().collect();
        let outstanding = engine.ledger().outstanding();
        drop(engine);
        let workers = PyList::empty(py);
        for (slot, worker) in (0..).zip(stats) {
            let entry = PyDict::new(py);
            entry.set_item("slot", slot)?;
            entry.set_item("pid", (worker.pid != 0).then_some(worker.pid))?;
            entry.set_item("starts", worker.starts)?;
            entry.set_item("tasks", worker.items)?;
            entry.set_item("chunks", worker.dispatches)?;
            entry.set_item("busy", worker.busy as f64 / 1e9)?;
            entry.set_item("idle", self.shared.board.idle_nanos(slot) as f64 / 1e9)?;
            entry.set_item("queued", worker.queued as f64 / 1e9)?;
            entry.set_item("bytes_in", worker.bytes_in)?;
            entry.set_item("bytes_out", worker.bytes_out)?;
            workers.append(entry)?;
        }
        let all = PyDict::new(py);
        all.set_item("outstanding", outstanding)?;
        all.set_item("workers", workers)?;
        Ok(all)
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        // In a forked child a thread of the parent may have been in the lists.
        if !self.shared.is_mine() {
            return Ok(());
        }
        // The lists change only under the interpreter lock, and nobody allocates objects or waits for it in them: they
        // are the same each time that the collector asks.
        self.functions.lock().unwrap_or_else(PoisonError::into_inner).traverse(&visit)?;
        let jobs = self.shared.jobs.lock().unwrap_or_else(PoisonError::into_inner);
        jobs.values().try_for_each(|job| visit.call(job))?;
        let lazy = self.shared.lazy.lock().unwrap_or_else(PoisonError::into_inner);
        lazy.iter().try_for_each(|job| visit.call(job))
    }

    fn __clear__(&self) {
        if self.shared.is_mine() {
            drop(std::mem::take(&mut *self.functions.lock().unwrap_or_else(PoisonError::into_inner)));
            self.shared.let_go();
        }
    }

    fn __repr__(&self) -> String {
        format!("<Supervisor of {} workers, process {}>", self.slots, self.shared.pid)
    }
}

impl Drop for Supervisor {
    fn drop(&mut self) {
        // A forked child has a copy, which ends nothing.
        if self.shared.is_mine() {
            self.shared.shutdown.store(true, Ordering::Relaxed);
            self.shared.board.end(Phase::Abandoned);
            self.shared.collector.notify();
            self.shared.watch.ring();
            self.shared.let_go();
        }
    }
}
