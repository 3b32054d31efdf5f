//! The class `Job`: what has been asked of a pool at once, and its results.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use phalanx_gil::{GilCell, detached};
use phalanx_pool::{JobId, Outcome};
use pyo3::exceptions::{PyKeyboardInterrupt, PyStopIteration, PyValueError};
use pyo3::prelude::*;
use pyo3::types::PyList;

use super::failure::{self, Place};
use super::shared::Shared;
use super::source::Source;
use crate::codec;

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

impl Drop for Absorbing<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Release);
    }
}

/// What is known of the results.
#[derive(Default)]
struct State {
    /// For lists: the results so far.
    values: Option<Py<PyList>>,
    /// For a single one.
    value: Option<Py<PyAny>>,
    /// The failed item with the lowest index.
    error: Option<(u64, Py<PyAny>)>,
    /// Results to come, by index.
    ordered: HashMap<u64, Outcome>,
    /// Results to come, as they came.
    queue: VecDeque<(u64, Outcome)>,
    /// Items that could not be pickled.
    unsent: HashMap<u64, PyErr>,
    /// What the iterable raised, at its end.
    raised: Option<PyErr>,
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
    pub(super) fn feed(&self, py: Python<'_>, want: Want) {
        let Some(mut source) = self.source.take(py) else { return };
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
        self.state.with(py, |state| {
            state.unsent.extend(fed.unsent);
            if fed.exhausted {
                state.total = Some(taken);
                state.raised = fed.raised;
            }
        });
        if !fed.exhausted {
            self.source.replace(py, Some(source));
        }
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

    /// The item of a single call could not be pickled.
    pub(super) fn add_unsent(&self, py: Python<'_>, error: PyErr) {
        self.state.with(py, |state| state.unsent.insert(0, error));
    }

    /// What the iterable raised.
    pub(super) fn raised(&self, py: Python<'_>) -> Option<PyErr> {
        self.state.with(py, |state| state.raised.take())
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
            Outcome::Unsent => {
                let error = self.state.with(py, |state| state.unsent.remove(&index));
                Err(error.map_or_else(|| failed(PyValueError::new_err("an item could not be pickled")), failed))
            }
            other => {
                let make = || failure::exception(py, other, &self.place(index));
                let mut made = make();
                if made.as_ref().is_err_and(|error| error.is_instance_of::<PyKeyboardInterrupt>(py)) {
                    // It came while the exception was made, and is for this thread, which will hear of it again.
                    made = make();
                    let _ = py.import("_thread").and_then(|module| module.call_method0("interrupt_main"));
                }
                Err(made.unwrap_or_else(failed))
            }
        }
    }

    /// Waits while another thread has outcomes of this job in hand. They have arrived, so this counts for no timeout.
    fn wait_for_others(&self, py: Python<'_>) -> PyResult<()> {
        while self.absorbing.load(Ordering::Acquire) > 0 {
            // The other thread needs the interpreter lock.
            detached(py, || std::thread::sleep(NAP));
            py.check_signals()?;
        }
        Ok(())
    }

    /// Takes over outcomes that have arrived: decodes those that are asked for together, keeps the others.
    fn absorb(&self, py: Python<'_>, arrived: Vec<(u64, Outcome)>) -> PyResult<()> {
        match self.mode {
            Mode::Ordered => self.state.with(py, |state| state.ordered.extend(arrived)),
            Mode::Unordered => self.state.with(py, |state| state.queue.extend(arrived)),
            Mode::Single | Mode::List => {
                for (index, outcome) in arrived {
                    match self.open(py, index, &outcome) {
                        Ok(value) => self.store(py, index, value)?,
                        Err(exception) => self.fail(py, index, exception.unbind()),
                    }
                }
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

    fn fail(&self, py: Python<'_>, index: u64, exception: Py<PyAny>) {
        let old = self.state.with(py, |state| match &state.error {
            Some((lowest, _)) if *lowest <= index => Some(exception),
            _ => state.error.replace((index, exception)).map(|(_, exception)| exception),
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
                    self.absorbing.fetch_add(1, Ordering::Relaxed);
                    ledger.take_arrived(id, &mut arrived);
                    done
                })
            })?;
            let absorbing = done.map(|_| Absorbing(&self.absorbing));
            self.absorb(py, arrived)?;
            drop(absorbing);
            match done {
                Some(true) => return self.wait_for_others(py).map(|()| true),
                Some(false) => {}
                None => return Ok(false),
            }
        }
    }

    /// The result of a finished job.
    fn result(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        let error = self.state.peek(py, |state| state.error.as_ref().map(|(_, exception)| exception.clone_ref(py)));
        if let Some(exception) = error {
            // A worker may hear of an interrupt first, which this process has as well.
            py.check_signals()?;
            return Err(PyErr::from_value(exception.into_bound(py)));
        }
        let raised = self.state.peek(py, |state| state.raised.as_ref().map(|error| error.clone_ref(py)));
        if let Some(error) = raised {
            return Err(error);
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
            self.feed(py, Want::Ahead);
            let over = self.state.peek(py, |state| state.total.is_some_and(|total| state.given >= total));
            if over {
                let raised = self.state.with(py, |state| state.raised.take());
                return Err(raised.unwrap_or_else(|| PyStopIteration::new_err(())));
            }
            let left = seconds(timeout).map(|timeout| timeout.saturating_sub(start.elapsed()));
            let (id, mut arrived) = (self.id, Vec::new());
            let found = self.shared.wait_for(py, left, |engine| {
                let ledger = engine.ledger();
                ledger.take_arrived(id, &mut arrived);
                // Without anything to come (the pool was terminated) the total is known now.
                (!arrived.is_empty() || ledger.is_done(id)).then(|| {
                    self.absorbing.fetch_add(1, Ordering::Relaxed);
                    ledger.progress(id).and_then(|(_, total)| total)
                })
            })?;
            let absorbing = found.map(|_| Absorbing(&self.absorbing));
            let none = arrived.is_empty();
            self.absorb(py, arrived)?;
            drop(absorbing);
            if none && found.is_some() {
                self.wait_for_others(py)?;
            }
            match found {
                None => return Err(timed_out(py)),
                Some(Some(total)) => self.state.with(py, |state| state.total = Some(total)),
                Some(None) => {}
            }
        }
    }

    /// cancel(self) -> bool
    ///
    /// Take back what no worker has begun; whether there was anything. Those items raise CancelledError.
    fn cancel(&self) -> PyResult<bool> {
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
