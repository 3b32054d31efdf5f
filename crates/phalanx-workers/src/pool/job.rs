//! The class `Job`: what has been asked of a pool at once, and its results.
//!
//! An exception that a worker has sent stays bytes until it is raised, and is made anew each time. A job that kept the
//! object would keep, by its traceback, the frames that it was raised through with all their variables, the job's own
//! results among them: a cycle, for each call that fails. What else a job keeps, the garbage collector sees.

use std::cell::RefCell;
use std::collections::{HashMap, VecDeque};
use std::ptr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use phalanx_object::{GilCell, detached};
use phalanx_pool::{JobId, Outcome};
use phalanx_shm::Block;
use pyo3::exceptions::{PyKeyboardInterrupt, PyRuntimeError, PyStopIteration, PyValueError};
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::types::PyList;

use super::failure::{self, Place};
use super::shared::{Pause, Shared};
use super::source::Source;
use crate::codec;
use crate::text;

/// Results that are decoded at once, while workers go on.
const BATCH: usize = 256;

/// What the results are asked for as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    /// One result.
    Single,
    /// A list of all.
    List,
    /// One after the other, in the order of the items.
    Ordered,
    /// One after the other, as they come.
    Unordered,
}

/// How many items to take from an iterable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Want {
    /// All.
    All,
    /// As many as are wanted ahead of the results that were given out.
    Ahead,
    /// As many as keep the workers busy.
    Regardless,
}

/// How long a thread sleeps between looks at what another one does with results of the same job.
const NAP: Duration = Duration::from_micros(50);

/// While it lives, its thread has outcomes that are no longer in the ledger and not yet in the state.
struct Absorbing<'a>(&'a AtomicU32);

thread_local! {
    /// Where the counters of this thread's [`Absorbing`] are: several when a signal handler came in between.
    static IN_HAND: RefCell<Vec<usize>> = const { RefCell::new(Vec::new()) };
}

impl<'a> Absorbing<'a> {
    fn begin(threads: &'a AtomicU32) -> Absorbing<'a> {
        threads.fetch_add(1, Ordering::Relaxed);
        IN_HAND.with_borrow_mut(|places| places.push(ptr::from_ref(threads).addr()));
        Absorbing(threads)
    }

    /// Whether this thread has one already, further up.
    fn is_here(threads: &AtomicU32) -> bool {
        IN_HAND.with_borrow(|places| places.contains(&ptr::from_ref(threads).addr()))
    }
}

impl Drop for Absorbing<'_> {
    fn drop(&mut self) {
        let place = ptr::from_ref(self.0).addr();
        IN_HAND.with_borrow_mut(|places| {
            if let Some(at) = places.iter().rposition(|known| *known == place) {
                places.remove(at);
            }
        });
        self.0.fetch_sub(1, Ordering::Release);
    }
}

/// Why an item failed.
enum Failure {
    /// What a worker or the ledger told. It is read again whenever it is raised; the blocks are what it refers to.
    Told(Outcome, Vec<Block>),
    /// An exception of this process: the item could not be pickled, or its result not be made of its bytes.
    Here(Py<PyAny>),
}

/// What is known of the results.
#[derive(Default)]
struct State {
    /// For lists: the results so far.
    values: Option<Py<PyList>>,
    /// For a single one.
    value: Option<Py<PyAny>>,
    /// The failed item with the lowest index.
    error: Option<(u64, Failure)>,
    /// Results to come, by index.
    ordered: HashMap<u64, Outcome>,
    /// Results to come, as they came; for those that are asked for together, what a signal kept from being decoded.
    queue: VecDeque<(u64, Outcome)>,
    /// The exceptions of items that could not be pickled.
    unsent: HashMap<u64, Py<PyAny>>,
    /// What the iterable raised, at its end.
    raised: Option<Py<PyAny>>,
    /// Results given out.
    given: u64,
    /// How many there are, once that is known.
    total: Option<u64>,
}

/// What was asked of a pool in one call. Its methods may be called from any thread.
#[pyclass(module = "phalanx._workers", frozen, weakref)]
pub(super) struct Job {
    shared: Arc<Shared>,
    pub(super) id: JobId,
    mode: Mode,
    name: String,
    /// Items to take ahead of the results that were given out.
    ahead: Option<u64>,
    state: GilCell<State>,
    /// Absent while a thread takes items from it, and once it is exhausted.
    source: GilCell<Option<Source>>,
    /// Threads that have an [`Absorbing`].
    absorbing: AtomicU32,
}

impl Job {
    pub(super) fn new(shared: Arc<Shared>, id: JobId, mode: Mode, name: String, ahead: Option<u64>) -> Job {
        let state = State { total: (mode == Mode::Single).then_some(1), ..State::default() };
        Job {
            shared,
            id,
            mode,
            name,
            ahead,
            state: GilCell::new(state),
            source: GilCell::new(None),
            absorbing: AtomicU32::new(0),
        }
    }

    pub(super) fn set_source(&self, py: Python<'_>, source: Source) {
        self.source.replace(py, Some(source));
    }

    /// Takes items from the iterable, as many as `want` says.
    ///
    /// # Errors
    /// What a signal handler raises; items are still to be taken then.
    pub(super) fn feed(&self, py: Python<'_>, want: Want) -> PyResult<()> {
        let Some(mut source) = self.source.take(py) else { return Ok(()) };
        let mut engine = self.shared.engine();
        let ahead = self.ahead.unwrap_or_else(|| engine.ledger().lookahead(self.id)).max(1);
        let delivered = engine.ledger().progress(self.id).map_or(0, |(done, _)| done);
        drop(engine);
        let count = match want {
            Want::All => u64::MAX,
            Want::Ahead => (self.state.peek(py, |state| state.given) + ahead).saturating_sub(source.taken),
            Want::Regardless => (delivered + ahead.max(1024)).saturating_sub(source.taken),
        };
        let fed = source.feed(py, &self.shared, self.id, count);
        self.shared.call_collector(false);
        let taken = source.taken;
        let object = |error: PyErr| error.into_value(py).into_any();
        let unsent: Vec<_> = fed.unsent.into_iter().map(|(index, error)| (index, object(error))).collect();
        let raised = fed.raised.map(object);
        self.state.with(py, |state| {
            state.unsent.extend(unsent);
            if fed.exhausted {
                state.total = Some(taken);
                state.raised = raised;
            }
        });
        if !fed.exhausted {
            self.source.replace(py, Some(source));
        }
        fed.interrupted.map_or(Ok(()), Err)
    }

    /// Whether items are still to be taken, and results were taken already.
    pub(super) fn is_open(&self, py: Python<'_>) -> (bool, bool) {
        let total = self.state.peek(py, |state| state.total);
        (total.is_none(), self.state.peek(py, |state| state.given > 0))
    }

    /// Takes no more items.
    pub(super) fn give_up(&self, py: Python<'_>) {
        drop(self.source.take(py));
        let mut engine = self.shared.engine();
        engine.ledger().give_up(self.id);
        let total = engine.ledger().progress(self.id).and_then(|(_, total)| total);
        self.shared.end_if_over(&mut engine);
        drop(engine);
        self.state.with(py, |state| state.total = total);
    }

    /// Takes no more items, because of this: what was taken is done, then it is raised.
    pub(super) fn break_off(&self, py: Python<'_>, error: PyErr) {
        self.give_up(py);
        let error = error.into_value(py).into_any();
        self.state.with(py, |state| state.raised = Some(error));
    }

    /// The item of a single call could not be pickled.
    pub(super) fn add_unsent(&self, py: Python<'_>, error: PyErr) {
        let error = error.into_value(py).into_any();
        self.state.with(py, |state| state.unsent.insert(0, error));
    }

    /// What the iterable raised.
    pub(super) fn raised(&self, py: Python<'_>) -> Option<PyErr> {
        let raised = self.state.with(py, |state| state.raised.take());
        raised.map(|exception| PyErr::from_value(exception.into_bound(py)))
    }

    fn place(&self, index: u64) -> Place<'_> {
        Place { index: (self.mode != Mode::Single).then_some(index), function: &self.name }
    }

    /// The result of an item, or its exception.
    fn open<'py>(
        &self,
        py: Python<'py>,
        index: u64,
        outcome: &Outcome,
    ) -> Result<Bound<'py, PyAny>, Bound<'py, PyAny>> {
        let failed = |error: PyErr| error.into_value(py).into_bound(py).into_any();
        match outcome {
            Outcome::Returned(bytes) => codec::decode(py, bytes, codec::Source::Transit).map_err(failed),
            Outcome::Unsent => Err(self.unsent(py, index).into_bound(py)),
            other => Err(self.exception(py, index, other, codec::Source::Transit)),
        }
    }

    /// Why an item could not be pickled.
    fn unsent(&self, py: Python<'_>, index: u64) -> Py<PyAny> {
        let exception = self.state.with(py, |state| state.unsent.remove(&index));
        exception.unwrap_or_else(|| PyValueError::new_err("an item could not be pickled").into_value(py).into_any())
    }

    /// The exception of an outcome that is not a result.
    fn exception<'py>(
        &self,
        py: Python<'py>,
        index: u64,
        outcome: &Outcome,
        source: codec::Source,
    ) -> Bound<'py, PyAny> {
        let make = || failure::exception(py, outcome, &self.place(index), source);
        let mut made = make();
        if made.as_ref().is_err_and(|error| error.is_instance_of::<PyKeyboardInterrupt>(py)) {
            // It came while the exception was made, and is for this thread, which will hear of it again.
            made = make();
            let _ = py.import("_thread").and_then(|module| module.call_method0("interrupt_main"));
        }
        made.unwrap_or_else(|error| error.into_value(py).into_bound(py).into_any())
    }

    /// Waits while another thread has outcomes of this job in hand. They have arrived, so this counts for no timeout.
    ///
    /// # Errors
    /// What a signal handler raises; `RuntimeError` when it is this thread, which was called from there.
    fn wait_for_others(&self, py: Python<'_>) -> PyResult<()> {
        while self.absorbing.load(Ordering::Acquire) > 0 {
            if Absorbing::is_here(&self.absorbing) {
                return Err(PyRuntimeError::new_err(
                    "a result of this call is just being unpickled in this thread: a signal handler, or the object \
                     itself, cannot wait for it there",
                ));
            }
            // The other thread needs the interpreter lock.
            detached(py, || std::thread::sleep(NAP));
            py.check_signals()?;
        }
        Ok(())
    }

    /// Takes over outcomes that have arrived: decodes those that are asked for together, keeps the others.
    ///
    /// # Errors
    /// What a signal handler raises; nothing is lost then.
    fn absorb<'a>(
        &'a self,
        py: Python<'_>,
        arrived: Vec<(u64, Outcome)>,
        mut absorbing: Absorbing<'a>,
    ) -> PyResult<()> {
        match self.mode {
            Mode::Ordered => self.state.with(py, |state| state.ordered.extend(arrived)),
            Mode::Unordered => self.state.with(py, |state| state.queue.extend(arrived)),
            Mode::Single | Mode::List => {
                let mut pause = Pause::default();
                let mut arrived = arrived.into_iter();
                loop {
                    let Some((index, outcome)) = arrived.next() else {
                        let left = self.state.with(py, |state| std::mem::take(&mut state.queue));
                        if left.is_empty() {
                            break;
                        }
                        arrived = Vec::from(left).into_iter();
                        continue;
                    };
                    let settled = self.settle(py, index, outcome);
                    if settled.is_ok() && !pause.is_due() {
                        continue;
                    }
                    // Others may go on with these, a signal handler of this thread among them.
                    self.state.with(py, |state| state.queue.extend(arrived));
                    drop(absorbing);
                    settled.and_then(|()| pause.give_way(py))?;
                    absorbing = Absorbing::begin(&self.absorbing);
                    arrived = Vec::new().into_iter();
                }
            }
        }
        Ok(())
    }

    /// Takes over one outcome of those that are asked for together.
    fn settle(&self, py: Python<'_>, index: u64, outcome: Outcome) -> PyResult<()> {
        match outcome {
            Outcome::Returned(_) => match self.open(py, index, &outcome) {
                Ok(value) => return self.store(py, index, value),
                Err(exception) => {
                    // The message was read, and cannot be once more.
                    self.fail(py, index, Failure::Here(exception.clone().unbind()));
                    let error = PyErr::from_value(exception);
                    if text::is_interrupt(py, &error) {
                        return Err(error);
                    }
                }
            },
            Outcome::Unsent => {
                let exception = self.unsent(py, index);
                self.fail(py, index, Failure::Here(exception));
            }
            outcome => {
                let blocks = match &outcome {
                    Outcome::Raised(bytes) => codec::hold(self.shared.arena, bytes),
                    _ => Vec::new(),
                };
                self.fail(py, index, Failure::Told(outcome, blocks));
            }
        }
        Ok(())
    }

    fn store(&self, py: Python<'_>, index: u64, value: Bound<'_, PyAny>) -> PyResult<()> {
        if self.mode == Mode::Single {
            self.state.with(py, |state| state.value = Some(value.unbind()));
            return Ok(());
        }
        let list = self.state.peek(py, |state| state.values.as_ref().map(|list| list.clone_ref(py)));
        let list = match list {
            Some(list) => list.into_bound(py),
            None => {
                let list = PyList::empty(py);
                self.state.with(py, |state| state.values = Some(list.clone().unbind()));
                list
            }
        };
        let index = index as usize;
        // Results that came before others leave room for them.
        while list.len() < index {
            list.append(py.None())?;
        }
        if index < list.len() { list.set_item(index, value) } else { list.append(value) }
    }

    fn fail(&self, py: Python<'_>, index: u64, failure: Failure) {
        let old = self.state.with(py, |state| match &state.error {
            Some((lowest, _)) if *lowest <= index => Some(failure),
            _ => state.error.replace((index, failure)).map(|(_, failure)| failure),
        });
        drop(old);
    }

    /// Waits until all is done; false when the time is over. Decodes what has arrived meanwhile.
    fn wait_all(&self, py: Python<'_>, timeout: Option<Duration>) -> PyResult<bool> {
        let start = Instant::now();
        loop {
            let left = timeout.map(|timeout| timeout.saturating_sub(start.elapsed()));
            let (id, mut arrived) = (self.id, Vec::new());
            let batch = if self.mode == Mode::Single { 1 } else { BATCH };
            let done = self.shared.wait_for(py, left, |engine| {
                let ledger = engine.ledger();
                let done = ledger.is_done(id);
                (done || ledger.arrived(id) >= batch).then(|| {
                    let absorbing = Absorbing::begin(&self.absorbing);
                    ledger.take_arrived(id, &mut arrived);
                    (done, absorbing)
                })
            })?;
            let Some((done, absorbing)) = done else { return Ok(false) };
            self.absorb(py, arrived, absorbing)?;
            if !done {
                continue;
            }
            self.wait_for_others(py)?;
            // One of them may have been interrupted.
            while self.state.peek(py, |state| !state.queue.is_empty()) {
                self.absorb(py, Vec::new(), Absorbing::begin(&self.absorbing))?;
                self.wait_for_others(py)?;
            }
            return Ok(true);
        }
    }

    /// The result of a finished job.
    fn result(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        let error = self.state.peek(py, |state| {
            state.error.as_ref().map(|(index, failure)| match failure {
                Failure::Told(outcome, blocks) => (*index, Failure::Told(outcome.clone(), blocks.clone())),
                Failure::Here(exception) => (*index, Failure::Here(exception.clone_ref(py))),
            })
        });
        if let Some((index, failure)) = error {
            // A worker may hear of an interrupt first, which this process has as well.
            py.check_signals()?;
            return Err(PyErr::from_value(match failure {
                Failure::Told(outcome, _blocks) => self.exception(py, index, &outcome, codec::Source::Private),
                Failure::Here(exception) => exception.into_bound(py),
            }));
        }
        let raised = self.state.peek(py, |state| state.raised.as_ref().map(|exception| exception.clone_ref(py)));
        if let Some(exception) = raised {
            return Err(PyErr::from_value(exception.into_bound(py)));
        }
        let state = |state: &State| match self.mode {
            Mode::Single => state.value.as_ref().map(|value| value.clone_ref(py)),
            _ => state.values.as_ref().map(|list| list.clone_ref(py).into_any()),
        };
        match self.state.peek(py, state) {
            Some(result) => Ok(result),
            None if self.mode == Mode::Single => Ok(py.None()),
            None => {
                let list = PyList::empty(py).unbind();
                self.state.with(py, |state| state.values = Some(list.clone_ref(py)));
                Ok(list.into_any())
            }
        }
    }

    fn only(&self, method: &str, iterates: bool) -> PyResult<()> {
        if matches!(self.mode, Mode::Ordered | Mode::Unordered) == iterates {
            return Ok(());
        }
        let other = if iterates { "get" } else { "next" };
        Err(PyValueError::new_err(format!("this job's results are taken by {other}(), not by {method}()")))
    }

    /// The next outcome that is here.
    fn take_next(&self, py: Python<'_>) -> Option<(u64, Outcome)> {
        self.state.with(py, |state| {
            let next = match self.mode {
                Mode::Ordered => state.ordered.remove(&state.given).map(|outcome| (state.given, outcome)),
                _ => state.queue.pop_front(),
            };
            state.given += u64::from(next.is_some());
            next
        })
    }
}

/// A timeout in seconds, `None` for none.
pub(super) fn seconds(timeout: Option<f64>) -> Option<Duration> {
    timeout.map(|timeout| Duration::try_from_secs_f64(timeout.max(0.0)).unwrap_or(Duration::MAX))
}

fn timed_out(py: Python<'_>) -> PyErr {
    match py.import("multiprocessing").and_then(|module| module.getattr("TimeoutError")?.call0()) {
        Ok(exception) => PyErr::from_value(exception),
        Err(error) => error,
    }
}

#[pymethods]
impl Job {
    /// wait(self, timeout: float | None = None) -> bool
    ///
    /// Wait until all items are done; whether they are.
    #[pyo3(signature = (timeout=None))]
    fn wait(&self, py: Python<'_>, timeout: Option<f64>) -> PyResult<bool> {
        match self.mode {
            Mode::Single | Mode::List => self.wait_all(py, seconds(timeout)),
            Mode::Ordered | Mode::Unordered => {
                let id = self.id;
                let look = |engine: &mut phalanx_pool::Engine| engine.ledger().is_done(id).then_some(());
                Ok(self.shared.wait_for(py, seconds(timeout), look)?.is_some())
            }
        }
    }

    /// ready(self) -> bool
    ///
    /// Whether all items are done.
    fn ready(&self) -> PyResult<bool> {
        self.shared.check_mine()?;
        let mut engine = self.shared.engine();
        engine.poll().map_err(|error| super::shared::damaged(&error))?;
        Ok(engine.ledger().is_done(self.id))
    }

    /// successful(self) -> bool
    ///
    /// Whether no item failed. ValueError when not all are done.
    fn successful(&self, py: Python<'_>) -> PyResult<bool> {
        self.only("successful", false)?;
        if !self.ready()? {
            return Err(PyValueError::new_err(format!("{:?} is not ready", self.name)));
        }
        self.wait_all(py, None)?;
        Ok(self.state.peek(py, |state| state.error.is_none() && state.raised.is_none()))
    }

    /// get(self, timeout: float | None = None) -> Any
    ///
    /// Wait for the result, or the list of results, and return it; raise the exception of the first item that failed.
    /// Raises multiprocessing.TimeoutError when the time is over.
    #[pyo3(signature = (timeout=None))]
    fn get(&self, py: Python<'_>, timeout: Option<f64>) -> PyResult<Py<PyAny>> {
        self.only("get", false)?;
        if !self.wait_all(py, seconds(timeout))? {
            return Err(timed_out(py));
        }
        self.result(py)
    }

    /// next(self, timeout: float | None = None) -> Any
    ///
    /// Wait for the next result and return it, or raise its exception. Raises StopIteration after the last one, and
    /// multiprocessing.TimeoutError when the time is over.
    #[pyo3(signature = (timeout=None))]
    fn next(&self, py: Python<'_>, timeout: Option<f64>) -> PyResult<Py<PyAny>> {
        self.only("next", true)?;
        let start = Instant::now();
        loop {
            if let Some((index, outcome)) = self.take_next(py) {
                let opened = self.open(py, index, &outcome).map(Bound::unbind);
                if opened.is_err() {
                    py.check_signals()?;
                }
                return opened.map_err(PyErr::from_value);
            }
            self.feed(py, Want::Ahead)?;
            let over = self.state.peek(py, |state| state.total.is_some_and(|total| state.given >= total));
            if over {
                return Err(self.raised(py).unwrap_or_else(|| PyStopIteration::new_err(())));
            }
            let left = seconds(timeout).map(|timeout| timeout.saturating_sub(start.elapsed()));
            let (id, mut arrived) = (self.id, Vec::new());
            let found = self.shared.wait_for(py, left, |engine| {
                let ledger = engine.ledger();
                ledger.take_arrived(id, &mut arrived);
                // Without anything to come (the pool was terminated) the total is known now.
                (!arrived.is_empty() || ledger.is_done(id)).then(|| {
                    let absorbing = Absorbing::begin(&self.absorbing);
                    (ledger.progress(id).and_then(|(_, total)| total), absorbing)
                })
            })?;
            let Some((total, absorbing)) = found else { return Err(timed_out(py)) };
            let none = arrived.is_empty();
            self.absorb(py, arrived, absorbing)?;
            if none {
                self.wait_for_others(py)?;
            }
            if let Some(total) = total {
                self.state.with(py, |state| state.total = Some(total));
            }
        }
    }

    /// cancel(self) -> bool
    ///
    /// Take back what no worker has begun; whether there was anything. Those items raise CancelledError.
    pub(super) fn cancel(&self) -> PyResult<bool> {
        self.shared.check_mine()?;
        let mut engine = self.shared.engine();
        let cancelled = engine.cancel(self.id);
        self.shared.end_if_over(&mut engine);
        drop(engine);
        self.shared.tell(true);
        Ok(cancelled)
    }

    /// running(self) -> bool
    ///
    /// Whether a worker has begun, and not all is done.
    fn running(&self) -> PyResult<bool> {
        self.shared.check_mine()?;
        let mut engine = self.shared.engine();
        engine.poll().map_err(|error| super::shared::damaged(&error))?;
        Ok(engine.is_running(self.id))
    }

    /// progress(self) -> tuple[int, int | None]
    ///
    /// How many items are done, and how many there are, if that is known.
    fn progress(&self) -> PyResult<(u64, Option<u64>)> {
        self.shared.check_mine()?;
        let mut engine = self.shared.engine();
        engine.poll().map_err(|error| super::shared::damaged(&error))?;
        Ok(engine.ledger().progress(self.id).unwrap_or((0, None)))
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        // SAFETY: the collector runs with the interpreter lock held. The token is only used to look into cells, whose
        // closures allocate no Python object, so that no collection begins inside one.
        let py = unsafe { Python::assume_attached() };
        self.state.peek(py, |state| {
            visit.call(&state.values)?;
            visit.call(&state.value)?;
            visit.call(&state.raised)?;
            if let Some((_, Failure::Here(exception))) = &state.error {
                visit.call(exception)?;
            }
            state.unsent.values().try_for_each(|exception| visit.call(exception))
        })?;
        self.source.peek(py, |source| source.as_ref().map_or(Ok(()), |source| source.traverse(&visit)))
    }

    fn __clear__(&self, py: Python<'_>) {
        // Dropped outside the cells. What says how far the job is stays: it may be used once more, by a destructor.
        let gone = self.state.with(py, |state| {
            let objects = (state.values.take(), state.value.take(), state.raised.take(), state.error.take());
            (objects, std::mem::take(&mut state.unsent))
        });
        drop(gone);
        drop(self.source.take(py));
    }

    fn __repr__(&self) -> String {
        format!("<Job {} of {}>", self.id, self.name)
    }
}

impl Drop for Job {
    fn drop(&mut self) {
        // The copy in a forked child has no say over what the parent's results hold.
        if !self.shared.is_mine() {
            return;
        }
        self.shared.engine().ledger().forget(self.id);
        let state = std::mem::take(self.state.get_mut());
        for outcome in state.ordered.into_values().chain(state.queue.into_iter().map(|(_, outcome)| outcome)) {
            if let Outcome::Returned(bytes) | Outcome::Raised(bytes) = outcome {
                codec::discard(self.shared.arena, &bytes);
            }
        }
    }
}
