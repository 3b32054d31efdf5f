//! The client's end of a link: tasks are submitted, and waited for.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use phalanx_object::detached;
use phalanx_shm::Arena;
use phalanx_wire::cluster::{Bytes, Status, TaskSpec};
use pyo3::exceptions::{PyRuntimeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList, PyString};

use super::collector::{Collector, End, Slot, Waited};
use super::fields;
use super::link::{ClusterLink, deadline};
use super::payload::{Payload, unpickled};

/// A task that a client has submitted, or asked for: whether it has ended, and how.
///
/// The end is noted by whichever thread reads it, and never changes.
#[pyclass(module = "phalanx._workers", frozen, weakref)]
pub(crate) struct ClusterTask {
    slot: Arc<Slot>,
    arena: Arena,
}

#[pymethods]
impl ClusterTask {
    /// id: str
    ///
    /// Its name, which no other task ever has.
    #[getter]
    fn id(&self) -> &str {
        &self.slot.id
    }

    /// engine: int | None
    ///
    /// The engine that it is for; None if any may run it, or nobody here knows.
    #[getter]
    fn engine(&self) -> Option<u32> {
        self.slot.engine
    }

    /// done: bool
    ///
    /// Whether it has ended.
    #[getter]
    fn done(&self) -> bool {
        self.slot.end().is_some()
    }

    /// ok: bool
    ///
    /// Whether it has ended, and has a result.
    #[getter]
    fn ok(&self) -> bool {
        matches!(self.slot.end(), Some(End::Told(outcome, _))
            if outcome.status == Status::Ok && outcome.error.is_none() && !outcome.gone)
    }

    /// lost: str | None
    ///
    /// Why nothing will be heard of it any more, if that is so: the controller is gone, for example.
    #[getter]
    fn lost(&self) -> Option<&str> {
        match self.slot.end() {
            Some(End::Lost(reason)) => Some(reason),
            _ => None,
        }
    }

    /// told() -> tuple[dict[str, Any], float] | None
    ///
    /// What the controller has said of its end, and when that came, in seconds since the epoch.
    fn told<'py>(&self, py: Python<'py>) -> PyResult<Option<(Bound<'py, PyAny>, f64)>> {
        match self.slot.end() {
            Some(End::Told(outcome, at)) => Ok(Some((fields::given(py, &**outcome)?, *at))),
            _ => Ok(None),
        }
    }

    /// metadata: bytes
    ///
    /// What the engine has told with the result.
    #[getter]
    fn metadata(&self) -> &[u8] {
        match self.slot.end() {
            Some(End::Told(outcome, _)) => &outcome.metadata.0,
            _ => &[],
        }
    }

    /// load() -> object
    ///
    /// The result; None where there is none (any more). Runs the Python code that unpickling it runs, and raises what that
    /// raises.
    fn load<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        match self.slot.payload() {
            Some(held) => unpickled(py, self.arena, &held),
            None => Ok(py.None().into_bound(py)),
        }
    }

    /// forget() -> None
    ///
    /// Let go of the result's memory: who has loaded it has it.
    fn forget(&self) {
        drop(self.slot.take_payload());
    }

    fn __repr__(&self) -> String {
        let state = if self.slot.end().is_some() { "ended" } else { "pending" };
        format!("<ClusterTask {}: {state}>", self.slot.id)
    }
}

/// The tasks of a list.
fn slots_of(tasks: &Bound<'_, PyList>) -> PyResult<Vec<Arc<Slot>>> {
    tasks.iter().map(|task| Ok(task.cast::<ClusterTask>()?.get().slot.clone())).collect()
}

impl ClusterLink {
    fn collector(&self) -> PyResult<&Collector<Py<PyAny>>> {
        self.client.as_ref().ok_or_else(|| PyRuntimeError::new_err("an engine submits no tasks by its own link"))
    }

    fn task(&self, py: Python<'_>, slot: Arc<Slot>) -> PyResult<Py<ClusterTask>> {
        Py::new(py, ClusterTask { slot, arena: self.arena })
    }

    fn tasks<'py>(&self, py: Python<'py>, slots: Vec<Arc<Slot>>) -> PyResult<Bound<'py, PyList>> {
        let list = PyList::empty(py);
        for slot in slots {
            list.append(self.task(py, slot)?)?;
        }
        Ok(list)
    }
}

#[pymethods]
impl ClusterLink {
    /// reserve(count: int) -> int
    ///
    /// The first of so many numbers for tasks, one after the other, which nobody else gets.
    fn reserve(&self, count: u64) -> u64 {
        self.numbers.fetch_add(count, Ordering::Relaxed)
    }

    /// submit(first: int, kind: str, metadata: bytes, fields: dict[str, Any], call: Payload, args: list[Payload] | None = None, engines: list[int] | None = None) -> list[ClusterTask]
    ///
    /// Submit tasks that do the same thing: one for each of `args`, or for each of `engines`, or one. They are named for
    /// this client and numbered from `first`; `fields` are those of tasks in the protocol that all of them share. Blocks, as
    /// `send`, and raises what that raises.
    #[pyo3(signature = (first, kind, metadata, fields, call, args = None, engines = None))]
    #[expect(clippy::too_many_arguments, reason = "as many as there are")]
    fn submit<'py>(
        &self,
        py: Python<'py>,
        first: u64,
        kind: &Bound<'py, PyString>,
        metadata: Vec<u8>,
        fields: &Bound<'py, PyDict>,
        call: &Bound<'py, Payload>,
        args: Option<Vec<Bound<'py, Payload>>>,
        engines: Option<Vec<u32>>,
    ) -> PyResult<Bound<'py, PyList>> {
        self.look_whether_ours()?;
        let collector = self.collector()?;
        let count = args.as_ref().map(Vec::len).or(engines.as_ref().map(Vec::len)).unwrap_or(1);
        if engines.as_ref().is_some_and(|engines| engines.len() != count) {
            return Err(PyValueError::new_err(format!(
                "submit: {count} payloads, and {} engines",
                engines.map_or(0, |engines| engines.len())
            )));
        }
        let mut common: TaskSpec = if fields.is_empty() { TaskSpec::default() } else { fields::read(fields)? };
        common.kind = kind.to_cow()?.into_owned();
        common.metadata = Bytes(metadata);
        common.payload = 0;
        let mut payloads = vec![self.held_of(call.get())?];
        for payload in args.iter().flatten() {
            payloads.push(self.held_of(payload.get())?);
        }
        let mut slots = Vec::with_capacity(count);
        let mut tasks = Vec::with_capacity(count);
        for place in 0..count {
            let engine = engines.as_ref().and_then(|engines| engines.get(place).copied());
            let id = format!("{}_{}", self.identity, first.wrapping_add(place as u64));
            let mut task = common.clone();
            task.id.clone_from(&id);
            task.args = args.is_some().then(|| u32::try_from(place + 1).unwrap_or(u32::MAX));
            if let Some(engine) = engine {
                task.targets = vec![engine];
            }
            tasks.push(task);
            slots.push(Slot::new(id, engine));
        }
        let made = self.tasks(py, slots.clone())?;
        collector.expect(&slots);
        let sent = self.submit_all("submit", tasks, false, payloads).and_then(|()| self.flush(py));
        if let Err(problem) = sent {
            collector.forget(&slots);
            return Err(problem);
        }
        Ok(made)
    }

    /// expect(ids: list[str]) -> list[ClusterTask]
    ///
    /// Tasks that somebody else has submitted, whose results are about to be asked for.
    fn expect<'py>(&self, py: Python<'py>, ids: Vec<String>) -> PyResult<Bound<'py, PyList>> {
        let slots: Vec<_> = ids.into_iter().map(|id| Slot::new(id, None)).collect();
        let made = self.tasks(py, slots.clone())?;
        self.collector()?.expect(&slots);
        Ok(made)
    }

    /// forget(tasks: list[ClusterTask]) -> None
    ///
    /// Expect nothing of these: they could not be asked for.
    fn forget(&self, tasks: &Bound<'_, PyList>) -> PyResult<()> {
        self.collector()?.forget(&slots_of(tasks)?);
        Ok(())
    }

    /// pending(id: str | None = None) -> list[ClusterTask]
    ///
    /// The tasks that have not ended; with an id, that one, if it has not.
    #[pyo3(signature = (id = None))]
    fn pending<'py>(&self, py: Python<'py>, id: Option<&str>) -> PyResult<Bound<'py, PyList>> {
        let collector = self.collector()?;
        let found = match id {
            Some(id) => collector.find(id).into_iter().collect(),
            None => collector.pending(),
        };
        self.tasks(py, found)
    }

    /// wait(tasks: list[ClusterTask], timeout: float | None = None) -> bool
    ///
    /// Wait until all of these have ended; whether they have, after at most `timeout` seconds (None: no limit). Blocks, without
    /// the interpreter lock. This thread collects results meanwhile, its own and others'; of Python code nothing runs here but
    /// handlers of signals.
    #[pyo3(signature = (tasks, timeout = None))]
    fn wait(&self, py: Python<'_>, tasks: &Bound<'_, PyList>, timeout: Option<f64>) -> PyResult<bool> {
        let collector = self.collector()?;
        let slots = slots_of(tasks)?;
        let until = deadline(timeout)?;
        let mut from = 0;
        loop {
            if !self.is_ours() {
                self.look_whether_ours()?;
            }
            match detached(py, || collector.wait(&self.socket, &slots, &mut from, until)) {
                Waited::Done => return Ok(true),
                Waited::TimedOut => return Ok(false),
                Waited::Look => py.check_signals()?,
            }
        }
    }

    /// collect(tasks: list[ClusterTask], timeout: float) -> list[object] | None
    ///
    /// Wait as `wait` does, and give what `load` gives of each of these. None if they have not ended in time, or one of them
    /// has no result, or one that tells something about itself.
    fn collect<'py>(
        &self,
        py: Python<'py>,
        tasks: &Bound<'py, PyList>,
        timeout: f64,
    ) -> PyResult<Option<Bound<'py, PyList>>> {
        if !self.wait(py, tasks, Some(timeout))? {
            return Ok(None);
        }
        let values = PyList::empty(py);
        for task in tasks.iter() {
            let task = task.cast::<ClusterTask>()?.get();
            if !task.ok() || !task.metadata().is_empty() {
                return Ok(None);
            }
            values.append(task.load(py)?)?;
        }
        Ok(Some(values))
    }

    /// release(tasks: list[ClusterTask]) -> None
    ///
    /// Let go of the memory of their results: who has loaded them has them.
    #[expect(clippy::unused_self, reason = "beside `collect`")]
    fn release(&self, tasks: &Bound<'_, PyList>) -> PyResult<()> {
        for task in tasks.iter() {
            task.cast::<ClusterTask>()?.get().forget();
        }
        Ok(())
    }

    /// watch(tasks: list[ClusterTask], what: object) -> bool
    ///
    /// Have `receive_all` give ("ended", what, []) when all of these have ended. False when they have, and it will not.
    fn watch(&self, tasks: &Bound<'_, PyList>, what: Py<PyAny>) -> PyResult<bool> {
        Ok(self.collector()?.watch(&slots_of(tasks)?, what).is_none())
    }

    /// lose(reason: str) -> None
    ///
    /// All tasks that have not ended are lost, for this reason.
    fn lose(&self, reason: &str) -> PyResult<()> {
        // In a fork of its process, nobody waits, and a lock may be held by a thread that is not here.
        if self.is_ours() {
            self.collector()?.lose(reason);
        }
        Ok(())
    }
}
