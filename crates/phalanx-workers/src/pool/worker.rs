//! `run_worker`: a worker's whole life.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use phalanx_object::detached;
use phalanx_pool::protocol::{ItemReader, Kind, flags};
use phalanx_shm::board::{Claim, Idle, Phase, Record, WorkerEnd};
use phalanx_shm::{ProcessTag, fork};
use pyo3::exceptions::{PyKeyboardInterrupt, PySystemExit};
use pyo3::prelude::*;
use pyo3::types::PyTuple;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, getppid, pidfd_open, set_parent_process_death_signal};

use super::call::{self, ChildEnd, Report};
use super::ticket::Ticket;
use crate::codec::{self, Encoded, Source, decode};
use crate::family;

/// So many functions are remembered.
const FUNCTIONS: usize = 1024;

/// So many are of those that hold memory and will hardly come again.
const PASSING: usize = 2;

/// How long an interrupted item waits until it is reported as lost. Ctrl-C interrupts the supervisor's process at the
/// same time, which then ends its pool with a `KeyboardInterrupt`: it is to see its own signal first.
const CTRL_C: Duration = Duration::from_millis(200);

/// The longest sleep without a look at the parent.
const SLICE: Duration = Duration::from_secs(1);

/// Why a worker ends.
enum Over {
    /// The pool has nothing for it any more.
    Done,
    /// `KeyboardInterrupt`: quietly.
    Interrupted,
    /// This is not the worker: a task forked this process, which came back from it, and ends as the task did.
    Child(ChildEnd),
}

/// Sees to it that this process ends with the supervisor's, whatever happens to that.
fn end_with_parent(ticket: &Ticket, parent: ProcessTag) {
    let Some(number) = i32::try_from(parent.pid()).ok().and_then(Pid::from_raw) else { return };
    let starter = getppid();
    // A parent in another PID namespace has no number here.
    let by_parent = if parent.is_foreign() { starter.is_none() } else { starter == Some(number) };
    if ticket.main_thread && by_parent {
        // The kernel sends it when the thread ends that started this process: the main one.
        if set_parent_process_death_signal(Some(Signal::KILL)).is_ok() {
            if getppid() != starter {
                std::process::exit(1);
            }
            return;
        }
    }
    if parent.is_foreign() {
        return;
    }
    if parent.is_dead() {
        std::process::exit(1);
    }
    // Without a descriptor (they are used up, or a filter forbids it) the idle worker still looks.
    if let Ok(fd) = pidfd_open(number, PidfdFlags::empty()) {
        let watch = move || {
            let mut fds = [PollFd::new(&fd, PollFlags::IN)];
            let day = Timespec { tv_sec: 86_400, tv_nsec: 0 };
            while !poll(&mut fds, Some(&day)).is_ok_and(|ready| ready > 0) {}
            // Python's clean-up could wait for the parent; there is nobody left to clean up for.
            let _ = rustix::process::kill_process(rustix::process::getpid(), Signal::KILL);
        };
        // Without a thread (a limit on processes) the same.
        let _ = std::thread::Builder::new().name("phalanx-parent".to_owned()).stack_size(64 << 10).spawn(watch);
    }
}

/// run_worker(ticket: Ticket, initializer: Callable[..., object] | None = None, initargs: Iterable[Any] = ()) -> None
///
/// Be a worker, until the pool ends or this worker's time is over. The target of the worker's process.
#[pyfunction]
#[pyo3(signature = (ticket, initializer=None, initargs=None))]
pub(super) fn run_worker(
    py: Python<'_>,
    ticket: &Ticket,
    initializer: Option<&Bound<'_, PyAny>>,
    initargs: Option<&Bound<'_, PyAny>>,
) -> PyResult<()> {
    let parent = ProcessTag::of(ticket.parent);
    end_with_parent(ticket, parent);
    let end = WorkerEnd::new(ticket.board()?, ticket.slot).map_err(|error| family::refused(&error))?;
    let (functions, passing) = (HashMap::new(), VecDeque::new());
    let mut worker = Worker { end, ticket, parent, functions, passing, silent: false };
    let forks = fork::generation();
    let initialized = initializer.map_or(Ok(()), |initializer| initialize(initializer, initargs));
    if fork::generation() != forks {
        return initialized;
    }
    if let Err(error) = initialized {
        let report = call::raised(py, error);
        // SystemExit and KeyboardInterrupt say nothing: their process has just ended too early.
        if report.kind == Kind::Raised {
            let _ = worker.send(py, Kind::InitializerRaised, 0, 0, 0, report.encoded);
        }
        return Err(PySystemExit::new_err(1));
    }
    let ready = worker.send(py, Kind::Ready, 0, 0, 0, Encoded::default());
    match ready.and_then(|()| worker.run(py)) {
        Ok(()) | Err(Over::Done | Over::Interrupted) => Ok(()),
        Err(Over::Child(end)) => end,
    }
}

fn initialize(initializer: &Bound<'_, PyAny>, args: Option<&Bound<'_, PyAny>>) -> PyResult<()> {
    let args = match args {
        Some(args) => args.try_iter()?.collect::<PyResult<Vec<_>>>()?,
        None => Vec::new(),
    };
    initializer.call1(PyTuple::new(initializer.py(), args)?).map(drop)
}

/// Runs Python's signal handlers. An interrupt between two items is not for any of them: the supervisor's process has it
/// as well, and decides.
fn look_at_signals(py: Python<'_>) -> Result<(), Over> {
    match py.check_signals() {
        Err(error) if !error.is_instance_of::<PyKeyboardInterrupt>(py) => Err(Over::Interrupted),
        _ => Ok(()),
    }
}

struct Worker<'a> {
    end: WorkerEnd,
    ticket: &'a Ticket,
    /// The supervisor's process.
    parent: ProcessTag,
    functions: HashMap<u64, Py<PyAny>>,
    passing: VecDeque<(u64, Py<PyAny>)>,
    /// Whether something was sent without ringing for it.
    silent: bool,
}

impl Worker<'_> {
    fn run(&mut self, py: Python<'_>) -> Result<(), Over> {
        let mut dispatches = 0;
        loop {
            if self.end.over() {
                return Err(Over::Done);
            }
            // Functions in C do not look at signals themselves.
            look_at_signals(py)?;
            let Some(claim) = self.end.claim() else {
                self.idle(py)?;
                continue;
            };
            dispatches += u64::from(self.dispatch(py, &claim)?);
            if claim.flags & flags::RING != 0 || self.end.crowded() {
                self.ring();
            }
            if self.ticket.maxtasks.is_some_and(|most| dispatches >= most) {
                self.ring();
                return Err(Over::Done);
            }
        }
    }

    fn ring(&mut self) {
        self.silent = false;
        self.end.ring();
    }

    fn idle(&mut self, py: Python<'_>) -> Result<(), Over> {
        if self.silent {
            self.ring();
        }
        let start = WorkerEnd::now();
        let idle = detached(py, || self.end.wait_for_work(SLICE));
        self.end.add_idle(WorkerEnd::now() - start);
        match idle {
            Idle::Work => Ok(()),
            Idle::Over => Err(Over::Done),
            Idle::Look if self.parent.is_dead() => Err(Over::Done),
            Idle::Look => Ok(()),
        }
    }

    /// Does a chunk. Whether it was begun: not, when the function is asked for once more.
    fn dispatch(&mut self, py: Python<'_>, claim: &Claim) -> Result<bool, Over> {
        let payload = self.end.take_payload();
        let (function_bytes, items) = payload.split_at(claim.function_bytes);
        self.end.begin(claim.dispatch, 0, WorkerEnd::now());
        let done = match self.function(py, claim, function_bytes) {
            Ok(function) => self.items(py, claim, &function, items).map(|()| true),
            Err(error) => self.unknown(py, claim, error),
        };
        // Who ends in an item without a word about it leaves it noted: it is lost, and not begun once more.
        if done.is_ok() {
            self.end.rest();
        }
        self.end.put_payload(payload);
        done
    }

    fn function<'py>(&mut self, py: Python<'py>, claim: &Claim, bytes: &[u8]) -> PyResult<Bound<'py, PyAny>> {
        if let Some(function) = self.functions.get(&claim.function) {
            return Ok(function.bind(py).clone());
        }
        let passing = claim.flags & flags::PASSING != 0;
        if passing && let Some((_, function)) = self.passing.iter().find(|(number, _)| *number == claim.function) {
            return Ok(function.bind(py).clone());
        }
        // Before the next one is made: it may need the memory.
        while passing && self.passing.len() >= PASSING {
            drop(self.passing.pop_front());
        }
        // Private: arrays that it carries are each worker's own, as from the standard module.
        let function = decode(py, bytes, Source::Private)?;
        if passing {
            self.passing.push_back((claim.function, function.clone().unbind()));
            return Ok(function);
        }
        if self.functions.len() >= FUNCTIONS {
            self.functions.clear();
        }
        self.functions.insert(claim.function, function.clone().unbind());
        Ok(function)
    }

    /// The function could not be made: once, that is asked for by value; then it is what becomes of the items.
    fn unknown(&mut self, py: Python<'_>, claim: &Claim, error: PyErr) -> Result<bool, Over> {
        if claim.flags & flags::FUNCTION_BY_VALUE == 0 && call::is_missing(py, &error) {
            let encoded = call::raised(py, error).encoded;
            self.send(py, Kind::FunctionUnknown, claim.dispatch, 0, 0, encoded)?;
            return Ok(false);
        }
        for ordinal in 0..claim.count {
            let Report { kind, encoded } = call::raised(py, error.clone_ref(py));
            self.send(py, kind, claim.dispatch, ordinal, 0, encoded)?;
        }
        Ok(true)
    }

    fn items(&mut self, py: Python<'_>, claim: &Claim, function: &Bound<'_, PyAny>, items: &[u8]) -> Result<(), Over> {
        let mut since = WorkerEnd::now();
        for (ordinal, item) in (0..claim.count).zip(ItemReader::new(items)) {
            // The item before took too long, it was found, just as it ended: nothing more is begun to be killed in.
            if self.end.stopped() {
                return Err(Over::Done);
            }
            self.end.begin(claim.dispatch, ordinal, since);
            let Report { kind, encoded } = call::item(py, function, claim.flags, item).map_err(Over::Child)?;
            if kind == Kind::Interrupted {
                detached(py, || std::thread::sleep(CTRL_C));
            }
            let now = WorkerEnd::now();
            let nanos = u32::try_from(now - since).unwrap_or(u32::MAX);
            self.send(py, kind, claim.dispatch, ordinal, nanos, encoded)?;
            if kind == Kind::Interrupted {
                self.ring();
                return Err(Over::Interrupted);
            }
            since = now;
        }
        Ok(())
    }

    fn send(
        &mut self,
        py: Python<'_>,
        kind: Kind,
        dispatch: u64,
        ordinal: u32,
        nanos: u32,
        encoded: Encoded,
    ) -> Result<(), Over> {
        let wire = encoded.into_transit();
        let record = Record { kind: kind as u32, dispatch, ordinal, nanos, bytes: &wire };
        self.silent = true;
        loop {
            match self.end.send(&record) {
                Ok(true) => return Ok(()),
                Ok(false) => {}
                Err(error) => {
                    // The codec keeps messages short; if one is not, its item is lost with this worker.
                    eprintln!("phalanx: worker {} cannot send a result: {error}", std::process::id());
                    codec::discard(self.ticket.block.arena(), &wire);
                    return Err(Over::Done);
                }
            }
            self.end.ring();
            detached(py, || self.end.wait_for_room(Duration::from_millis(100)));
            look_at_signals(py)?;
            if self.end.board().phase() == Phase::Abandoned || self.parent.is_dead() {
                return Err(Over::Done);
            }
        }
    }
}
