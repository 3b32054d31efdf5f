//! What the threads of a supervisor share, and how they wait.

use std::collections::{HashMap, VecDeque};
use std::ops::{Deref, DerefMut};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use phalanx_object::detached;
use phalanx_pool::{Bytes, Engine, JobId, Keep};
use phalanx_shm::board::Board;
use phalanx_shm::sleep::pace::give_way;
use phalanx_shm::sleep::{SLICE, SleepWord, WAITING, Woken};
use phalanx_shm::{Arena, ShmError};
use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;

use super::job::Job;
use super::watch::Watch;
use crate::codec;

/// The longest `next_event` sleeps while nothing can be wanted of it without a call.
const LONG: Duration = Duration::from_secs(10);

/// How long a thread that waits for a result spins before it sleeps: longer than a wake-up takes.
const SPIN: Duration = Duration::from_micros(150);

/// How long a thread keeps the interpreter lock, as Python's own switch interval.
const TURN: Duration = Duration::from_millis(5);

/// In a long loop that runs no Python code of its own: lets other threads have the interpreter lock, and signal handlers
/// run.
#[derive(Default)]
pub(super) struct Pause {
    /// When the last turn began; short loops never ask the clock.
    since: Option<Instant>,
    looks: u32,
}

impl Pause {
    /// To be called in every round: it looks at the clock from time to time. Whether it is time to give way.
    #[inline]
    pub(super) fn is_due(&mut self) -> bool {
        self.looks = self.looks.wrapping_add(1);
        self.looks.is_multiple_of(16) && self.since.get_or_insert_with(Instant::now).elapsed() >= TURN
    }

    /// Lets other threads and signal handlers run.
    ///
    /// # Errors
    /// What a signal handler raises.
    pub(super) fn give_way(&mut self, py: Python<'_>) -> PyResult<()> {
        // Giving the lock back hands it to a thread that waits for it.
        detached(py, || ());
        self.since = Some(Instant::now());
        py.check_signals()
    }

    /// Both: to be called in every round.
    ///
    /// # Errors
    /// As [`Pause::give_way`].
    #[inline]
    pub(super) fn look(&mut self, py: Python<'_>) -> PyResult<()> {
        if self.is_due() { self.give_way(py) } else { Ok(()) }
    }
}

/// What the Python side hears of.
#[derive(Clone, Copy, Debug)]
pub(super) enum Notice {
    /// The worker of a slot has ended.
    Ended { slot: u32, pid: u32 },
}

/// See the [module](self).
pub(super) struct Shared {
    engine: Mutex<Engine>,
    pub(super) board: Board,
    pub(super) arena: Arena,
    pub(super) watch: Watch,
    notices: Mutex<VecDeque<Notice>>,
    /// Jobs somebody is called back for.
    pub(super) jobs: Mutex<HashMap<JobId, Py<Job>>>,
    /// Jobs whose items are taken as they are wanted, until the last one was taken.
    pub(super) lazy: Mutex<Vec<Py<Job>>>,
    /// Whether `next_event` takes items for some of them, and wants to hear of every result.
    pub(super) pulling: AtomicBool,
    /// Whether somebody waits for the end of all jobs: whatever was asked for is done, wanted or not.
    pub(super) draining: AtomicBool,
    /// What `next_event` sleeps on.
    events: SleepWord,
    /// What the collecting thread sleeps on when it need not hear the doorbell.
    pub(super) collector: SleepWord,
    /// Whether it sleeps until it is called.
    pub(super) collector_sleeps: AtomicBool,
    /// Python threads that wait for results, and so collect them.
    pub(super) waiters: AtomicU32,
    /// No more jobs.
    pub(super) closed: AtomicBool,
    /// All is done or given up: workers end.
    pub(super) over: AtomicBool,
    /// Given up.
    pub(super) terminated: AtomicBool,
    /// Threads end.
    pub(super) shutdown: AtomicBool,
    /// The process, and the fork, this belongs to.
    pub(super) pid: u32,
    generation: u32,
    /// CPUs that this process may use.
    pub(super) cpus: u32,
}

/// The engine, locked. What was kept for items that are done, and results that nobody takes, are dropped after it is
/// unlocked: a Python destructor may run, switch threads, and use the pool.
pub(super) struct Locked<'a> {
    /// Dropped first, being declared first.
    engine: MutexGuard<'a, Engine>,
    _garbage: Vec<Keep>,
    unread: Unread,
}

/// Results that nobody takes, to be released.
struct Unread(Arena, Vec<Bytes>);

impl Drop for Unread {
    fn drop(&mut self) {
        self.1.iter().for_each(|bytes| codec::discard(self.0, bytes));
    }
}

impl Deref for Locked<'_> {
    type Target = Engine;

    fn deref(&self) -> &Engine {
        &self.engine
    }
}

impl DerefMut for Locked<'_> {
    fn deref_mut(&mut self) -> &mut Engine {
        &mut self.engine
    }
}

impl Drop for Locked<'_> {
    fn drop(&mut self) {
        self._garbage = self.engine.ledger().take_garbage();
        self.unread.1 = self.engine.ledger().take_discarded();
    }
}

/// Why a wait ended.
enum Waited<T> {
    Found(T),
    TimedOut,
    /// Time to look at Python's signals.
    Look,
    Broken(ShmError),
}

impl Shared {
    pub(super) fn new(engine: Engine, arena: Arena, watch: Watch, cpus: u32) -> Shared {
        Shared {
            board: engine.board().clone(),
            engine: Mutex::new(engine),
            arena,
            watch,
            notices: Mutex::default(),
            jobs: Mutex::default(),
            lazy: Mutex::default(),
            pulling: AtomicBool::new(false),
            draining: AtomicBool::new(false),
            events: SleepWord::new(),
            collector: SleepWord::new(),
            collector_sleeps: AtomicBool::new(false),
            waiters: AtomicU32::new(0),
            closed: AtomicBool::new(false),
            over: AtomicBool::new(false),
            terminated: AtomicBool::new(false),
            shutdown: AtomicBool::new(false),
            pid: std::process::id(),
            generation: phalanx_shm::fork::generation(),
            cpus,
        }
    }

    /// Whether this is the process that made the pool; in its forked children nothing of it may be touched.
    pub(super) fn is_mine(&self) -> bool {
        phalanx_shm::fork::generation() == self.generation
    }

    /// # Errors
    /// `RuntimeError` in a forked child.
    pub(super) fn check_mine(&self) -> PyResult<()> {
        if self.is_mine() {
            return Ok(());
        }
        Err(PyRuntimeError::new_err(format!(
            "this pool belongs to process {}, and this is process {}, forked from it: make a pool here",
            self.pid,
            std::process::id()
        )))
    }

    /// The engine. Not to be held while waiting for the interpreter lock or anything else.
    pub(super) fn engine(&self) -> Locked<'_> {
        Locked {
            engine: self.engine.lock().unwrap_or_else(PoisonError::into_inner),
            _garbage: Vec::new(),
            unread: Unread(self.arena, Vec::new()),
        }
    }

    /// The engine, for a thread that holds another lock. Garbage is left to the next thread that locks the engine, since
    /// destructors may want that other lock.
    pub(super) fn engine_under_lock(&self) -> MutexGuard<'_, Engine> {
        self.engine.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// To be called after every change of the ledger, without the engine: wakes the threads that may wait for it.
    pub(super) fn tell(&self, events: bool) {
        if self.waiters.load(Ordering::Relaxed) > 0 {
            self.board.doorbell().notify();
        }
        if events {
            self.events.notify();
        }
    }

    /// Adds a notice for the Python side.
    pub(super) fn notify(&self, notice: Notice) {
        self.notices.lock().unwrap_or_else(PoisonError::into_inner).push_back(notice);
        self.events.notify();
    }

    pub(super) fn next_notice(&self) -> Option<Notice> {
        self.notices.lock().unwrap_or_else(PoisonError::into_inner).pop_front()
    }

    pub(super) fn has_notice(&self) -> bool {
        !self.notices.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
    }

    /// Wakes `next_event`.
    pub(super) fn ring_events(&self) {
        self.events.notify();
    }

    /// Lets go of the jobs: they refer to this, and nobody will ask for them any more.
    pub(super) fn let_go(&self) {
        let lazy = std::mem::take(&mut *self.lazy.lock().unwrap_or_else(PoisonError::into_inner));
        let jobs = std::mem::take(&mut *self.jobs.lock().unwrap_or_else(PoisonError::into_inner));
        // Outside the locks: a job's end takes others.
        drop((lazy, jobs));
    }

    /// Sleeps until something may have come for `next_event`. `there` looks once more before.
    pub(super) fn wait_events(&self, there: impl FnOnce() -> bool) {
        let lazy = !self.lazy.lock().unwrap_or_else(PoisonError::into_inner).is_empty();
        let token = self.events.announce(WAITING);
        if !there() {
            let _ = self.events.sleep(token, Some(if lazy { SLICE } else { LONG }));
        }
    }

    /// Makes the collecting thread look, when it sleeps for good, or `now` when somebody wants to hear of results.
    pub(super) fn call_collector(&self, now: bool) {
        if now || self.collector_sleeps.load(Ordering::Relaxed) {
            self.collector.notify();
        }
    }

    /// Ends the workers when no job can come any more and all are done.
    pub(super) fn end_if_over(&self, engine: &mut Engine) {
        if self.closed.load(Ordering::Relaxed) && !self.over.load(Ordering::Relaxed) && engine.ledger().is_idle() {
            self.over.store(true, Ordering::Relaxed);
            engine.board().end(phalanx_shm::board::Phase::Drained);
            self.events.notify();
        }
    }

    /// Takes in what workers have sent. Returns what `look` finds then.
    fn collect<T>(&self, look: &mut impl FnMut(&mut Engine) -> Option<T>) -> Result<Option<T>, ShmError> {
        let mut engine = self.engine();
        let any = engine.poll()?;
        let found = look(&mut engine);
        let events = any && (engine.ledger().has_events() || self.pulling.load(Ordering::Relaxed));
        if any {
            self.end_if_over(&mut engine);
        }
        drop(engine);
        if events {
            self.events.notify();
        }
        // Others may sleep who wait for what was taken in here.
        if any && self.waiters.load(Ordering::Relaxed) > 1 {
            self.board.doorbell().notify();
        }
        Ok(found)
    }

    /// Waits until `look` finds something in the engine, and collects meanwhile; `None` when the time is over. `look`
    /// must not touch Python objects.
    ///
    /// # Errors
    /// What a Python signal handler raises; `RuntimeError` when the board is damaged.
    pub(super) fn wait_for<T>(
        &self,
        py: Python<'_>,
        timeout: Option<Duration>,
        mut look: impl FnMut(&mut Engine) -> Option<T>,
    ) -> PyResult<Option<T>> {
        self.check_mine()?;
        // A result that is here already costs no release of the lock.
        match self.collect(&mut look) {
            Ok(Some(found)) => return Ok(Some(found)),
            Ok(None) => {}
            Err(error) => return Err(damaged(&error)),
        }
        let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        loop {
            match detached(py, || self.wait_detached(deadline, &mut look)) {
                Waited::Found(found) => return Ok(Some(found)),
                Waited::TimedOut => return Ok(None),
                Waited::Look => py.check_signals()?,
                Waited::Broken(error) => return Err(damaged(&error)),
            }
        }
    }

    fn wait_detached<T>(
        &self,
        deadline: Option<Instant>,
        look: &mut impl FnMut(&mut Engine) -> Option<T>,
    ) -> Waited<T> {
        self.waiters.fetch_add(1, Ordering::Relaxed);
        let waited = self.wait_counted(deadline, look);
        self.waiters.fetch_sub(1, Ordering::Relaxed);
        waited
    }

    fn wait_counted<T>(&self, deadline: Option<Instant>, look: &mut impl FnMut(&mut Engine) -> Option<T>) -> Waited<T> {
        // With more to do than there are CPUs, the workers need this one more.
        let few = self.engine().ledger().outstanding() < u64::from(self.cpus);
        let start = Instant::now();
        let mut spin = if few { SPIN } else { Duration::ZERO };
        loop {
            match self.collect(look) {
                Ok(Some(found)) => return Waited::Found(found),
                Ok(None) => {}
                Err(error) => return Waited::Broken(error),
            }
            let spent = start.elapsed();
            // Also when results wake it all the time.
            if spent >= SLICE {
                return Waited::Look;
            }
            if deadline.is_some_and(|deadline| start + spent >= deadline) {
                return Waited::TimedOut;
            }
            if spent < spin {
                for _ in 0..32 {
                    std::hint::spin_loop();
                }
                if spent > spin / 8 && !give_way() {
                    spin = Duration::ZERO;
                }
                continue;
            }
            let doorbell = self.board.doorbell();
            let token = doorbell.announce(WAITING);
            match self.collect(look) {
                Ok(Some(found)) => return Waited::Found(found),
                Ok(None) => {}
                Err(error) => return Waited::Broken(error),
            }
            let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            let slice = left.map_or(SLICE, |left| left.min(SLICE));
            match doorbell.sleep(token, Some(slice)) {
                Woken::Notified => {}
                Woken::TimedOut if left.is_some_and(|left| left <= SLICE) => {}
                Woken::TimedOut | Woken::Interrupted => return Waited::Look,
            }
        }
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        // The copy in a forked child holds nothing.
        if self.is_mine() {
            let raised = self.engine.get_mut().unwrap_or_else(PoisonError::into_inner).ledger().take_raised();
            drop(Unread(self.arena, raised.into_iter().collect()));
        }
    }
}

/// The error of a board that a process has written over.
#[cold]
pub(super) fn damaged(error: &ShmError) -> PyErr {
    PyRuntimeError::new_err(format!("the pool cannot go on: {error}"))
}
