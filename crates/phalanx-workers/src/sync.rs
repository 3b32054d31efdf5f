//! Locks, semaphores, conditions, events and barriers for Python.
//!
//! [`SemLock`] has the interface of `_multiprocessing.SemLock`, over a block of the arena instead of a named semaphore.
//! Count and owning thread are this process's, as there; a forked child starts with none.

mod calls;

use std::ptr::NonNull;
use std::sync::atomic::{AtomicI64, AtomicU32, AtomicUsize, Ordering};
use std::time::Duration;

use phalanx_gil::detached;
use phalanx_shm::barrier::{Arrival, Barrier, Passed, Turn};
use phalanx_shm::condition::{Condition, Event, Notified, Place};
use phalanx_shm::semaphore::SEMAPHORE_MAX;
use phalanx_shm::wait::Deadline;
use phalanx_shm::{Acquired, Block, BlockKind, OwnedLock, Semaphore, ShmError, ShortTag};
use pyo3::exceptions::{PyAssertionError, PyRuntimeError, PyValueError};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyType;

use crate::family;

/// `SemLock.kind` of a lock that its owning thread may take again.
const RECURSIVE_MUTEX: i32 = 0;
/// `SemLock.kind` of everything else.
const SEMAPHORE: i32 = 1;

/// Bytes of a lock's block: the lock's word, or the semaphore's two, on a line of their own.
const LOCK_BYTES: usize = 64;

/// A number that no two running threads of a process share: where the thread's control block is.
#[inline(always)]
fn this_thread() -> usize {
    #[cfg(target_arch = "x86_64")]
    {
        let block: usize;
        // SAFETY: reads the first word of the thread's control block, which on Linux is its own address.
        unsafe { std::arch::asm!("mov {}, fs:0", out(reg) block, options(nostack, preserves_flags, readonly)) };
        block
    }
    #[cfg(target_arch = "aarch64")]
    {
        let block: usize;
        // SAFETY: reads the thread pointer.
        unsafe { std::arch::asm!("mrs {}, tpidr_el0", out(reg) block, options(nostack, preserves_flags, nomem)) };
        block
    }
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    {
        thread_local!(static MARK: u8 = const { 0 });
        MARK.with(|mark| std::ptr::from_ref(mark).addr())
    }
}

/// A timeout as Python gives it: `None` is for ever, below zero is at once.
fn deadline(timeout: Option<f64>) -> PyResult<Deadline> {
    match timeout {
        None => Ok(Deadline::NEVER),
        Some(seconds) if seconds.is_nan() => Err(PyValueError::new_err("a timeout that is not a number")),
        Some(seconds) if seconds <= 0.0 => Ok(Deadline::after(Some(Duration::ZERO))),
        Some(seconds) => Ok(Deadline::after(Some(Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX)))),
    }
}

/// An exception class of `phalanx.multiprocessing.errors`, made with a message.
#[cold]
fn owner_died(py: Python<'_>, pid: u32, what: &str) -> PyErr {
    static CLASS: PyOnceLock<Py<PyType>> = PyOnceLock::new();
    let text = format!(
        "process {pid} died while it held the {what} that process {} waits for. The {what} is free again; what it \
         protects may be half changed",
        std::process::id()
    );
    match CLASS.import(py, "phalanx.multiprocessing.errors", "OwnerDiedError") {
        Ok(class) => match class.call1((text,)) {
            Ok(error) => PyErr::from_value(error),
            Err(error) => error,
        },
        Err(error) => error,
    }
}

#[cold]
fn broken(error: &ShmError) -> PyErr {
    PyRuntimeError::new_err(error.to_string())
}

/// Two neighbouring 32-bit words of a block.
#[inline]
fn two_words(block: &Block, at: usize) -> &[AtomicU32; 2] {
    let (first, second) = (block.word32(at), block.word32(at + 4));
    debug_assert_eq!(std::ptr::from_ref(first).wrapping_add(1), std::ptr::from_ref(second));
    // SAFETY: both words lie in the block, one after the other, and are borrowed from it.
    unsafe { &*std::ptr::from_ref(first).cast::<[AtomicU32; 2]>() }
}

/// What a [`SemLock`] is made of in shared memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Core {
    /// A lock that knows its owner.
    Owned,
    /// A counting semaphore.
    Counting,
}

/// SemLock(kind: int, value: int, maxvalue: int, owned: bool = False)
///
/// A lock (owned) or a semaphore in the family's shared memory, with the interface of `_multiprocessing.SemLock`.
#[pyclass(frozen, module = "phalanx._workers")]
pub(crate) struct SemLock {
    block: Block,
    core: Core,
    kind: i32,
    maxvalue: u32,
    /// Units or levels that threads of this process have. Changed under the interpreter's lock.
    count: AtomicI64,
    /// The thread that took the last one.
    owner: AtomicUsize,
    /// The process that `count` belongs to: its [`ShortTag`].
    process: AtomicU32,
    /// The block's first two words.
    words: Words,
}

/// Two words of a block that its holder keeps beside the block: finding them costs as much as taking a lock.
struct Words(NonNull<[AtomicU32; 2]>);

// SAFETY: atomics in shared memory that the block beside keeps, reachable from any thread.
unsafe impl Send for Words {}
// SAFETY: as for Send.
unsafe impl Sync for Words {}

impl SemLock {
    fn over(block: Block, core: Core, kind: i32, maxvalue: u32) -> SemLock {
        let process = AtomicU32::new(ShortTag::me().to_u32());
        let words = Words(NonNull::from(two_words(&block, 0)));
        SemLock { block, core, kind, maxvalue, count: AtomicI64::new(0), owner: AtomicUsize::new(0), process, words }
    }

    #[inline]
    fn words(&self) -> &[AtomicU32; 2] {
        // SAFETY: they lie in the block, which is held as long as `self`.
        unsafe { self.words.0.as_ref() }
    }

    #[inline]
    fn lock(&self) -> &OwnedLock {
        OwnedLock::over(&self.words()[0])
    }

    #[inline]
    fn semaphore(&self) -> &Semaphore {
        Semaphore::over(self.words())
    }

    /// Levels that threads of this process have; none of what a forked child has inherited.
    #[inline]
    fn count_here(&self) -> i64 {
        if self.process.load(Ordering::Relaxed) != ShortTag::me().to_u32() {
            self.forget();
        }
        self.count.load(Ordering::Relaxed)
    }

    #[cold]
    fn forget(&self) {
        self.count.store(0, Ordering::Relaxed);
        self.process.store(ShortTag::me().to_u32(), Ordering::Relaxed);
    }

    #[inline]
    fn mine(&self) -> bool {
        self.count_here() > 0 && self.owner.load(Ordering::Relaxed) == this_thread()
    }

    #[inline]
    fn try_take(&self) -> Acquired {
        match self.core {
            Core::Owned => self.lock().try_acquire(),
            Core::Counting if self.semaphore().try_acquire() => Acquired::Yes,
            Core::Counting => Acquired::TimedOut,
        }
    }

    #[inline]
    fn took(&self, count: i64) {
        self.count.store(count + 1, Ordering::Relaxed);
        self.owner.store(this_thread(), Ordering::Relaxed);
    }

    /// Takes it, waiting without the interpreter's lock.
    #[cold]
    fn wait(&self, py: Python<'_>, until: Deadline) -> PyResult<bool> {
        loop {
            let end = detached(py, || match self.core {
                Core::Owned => self.lock().acquire(until),
                Core::Counting => self.semaphore().acquire(until),
            });
            match end {
                Acquired::Yes => {
                    self.took(self.count_here());
                    return Ok(true);
                }
                Acquired::TimedOut => return Ok(false),
                Acquired::OwnerDied { pid } => return Err(owner_died(py, pid, "lock")),
                Acquired::Interrupted => py.check_signals()?,
            }
        }
    }

    /// Takes it if that needs no waiting. [`Acquired::TimedOut`] when it does.
    #[inline]
    fn take_at_once(&self) -> Acquired {
        let count = self.count_here();
        if self.kind == RECURSIVE_MUTEX && count > 0 && self.owner.load(Ordering::Relaxed) == this_thread() {
            self.count.store(count + 1, Ordering::Relaxed);
            return Acquired::Yes;
        }
        let taken = self.try_take();
        if taken == Acquired::Yes {
            self.took(count);
        }
        taken
    }

    /// Gives it back; false when it is not there to be given, and nothing has changed.
    #[inline]
    fn give_if_taken(&self) -> bool {
        let count = self.count_here();
        if self.kind == RECURSIVE_MUTEX {
            if count <= 0 || self.owner.load(Ordering::Relaxed) != this_thread() {
                return false;
            }
            if count > 1 {
                self.count.store(count - 1, Ordering::Relaxed);
                return true;
            }
        }
        let given = match self.core {
            Core::Owned => self.lock().release(),
            Core::Counting => self.semaphore().release(self.maxvalue),
        };
        if given {
            self.count.store(count - 1, Ordering::Relaxed);
        }
        given
    }

    fn value(&self) -> u32 {
        match self.core {
            Core::Owned => u32::from(self.lock().is_free()),
            Core::Counting => self.semaphore().value(),
        }
    }
}

#[pymethods]
impl SemLock {
    #[classattr]
    const SEM_VALUE_MAX: u32 = SEMAPHORE_MAX;

    #[new]
    #[pyo3(signature = (kind, value, maxvalue, owned = false))]
    fn new(py: Python<'_>, kind: i32, value: i64, maxvalue: i64, owned: bool) -> PyResult<SemLock> {
        if kind != RECURSIVE_MUTEX && kind != SEMAPHORE {
            return Err(PyValueError::new_err("unrecognized kind"));
        }
        let unit = |number: i64, what: &str| {
            u32::try_from(number).ok().filter(|n| *n <= SEMAPHORE_MAX).ok_or_else(|| {
                PyValueError::new_err(format!(
                    "the {what} of a semaphore is between 0 and {SEMAPHORE_MAX}, not {number}"
                ))
            })
        };
        let (value, maxvalue) = (unit(value, "value")?, unit(maxvalue, "largest value")?);
        let block = family::arena(py)?.alloc_zeroed(LOCK_BYTES, BlockKind::Lock).map_err(|e| family::refused(&e))?;
        let core = if owned { Core::Owned } else { Core::Counting };
        if core == Core::Counting {
            Semaphore::over(two_words(&block, 0)).set(value);
        }
        Ok(SemLock::over(block, core, kind, maxvalue))
    }

    /// acquire: Callable[..., bool]
    ///
    /// Take the lock or a unit of the semaphore: `acquire(block=True, timeout=None)`.
    #[getter]
    fn acquire<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        calls::acquire_of(slf)
    }

    /// release: Callable[[], None]
    ///
    /// Give it back.
    #[getter]
    fn release<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        calls::release_of(slf)
    }

    /// _acquire(self, block: bool = True, timeout: float | None = None) -> bool
    ///
    /// What `acquire` does when it has to wait, or is given arguments.
    #[pyo3(signature = (block = true, timeout = None))]
    fn _acquire(&self, py: Python<'_>, block: bool, timeout: Option<f64>) -> PyResult<bool> {
        match self.take_at_once() {
            Acquired::Yes => Ok(true),
            Acquired::OwnerDied { pid } => Err(owner_died(py, pid, "lock")),
            Acquired::TimedOut | Acquired::Interrupted if !block => Ok(false),
            Acquired::TimedOut | Acquired::Interrupted => self.wait(py, deadline(timeout)?),
        }
    }

    /// _release(self) -> None
    ///
    /// What `release` does when there is nothing to release.
    fn _release(&self) -> PyResult<()> {
        if self.give_if_taken() {
            Ok(())
        } else if self.kind == RECURSIVE_MUTEX && !self.mine() {
            Err(PyAssertionError::new_err("attempt to release recursive lock not owned by thread"))
        } else {
            Err(PyValueError::new_err("semaphore or lock released too many times"))
        }
    }

    /// __enter__(self) -> bool
    ///
    /// Take it.
    fn __enter__(&self, py: Python<'_>) -> PyResult<bool> {
        self._acquire(py, true, None)
    }

    /// __exit__(self, _kind: Any = None, _error: Any = None, _traceback: Any = None) -> None
    ///
    /// Give it back.
    #[pyo3(signature = (_kind = None, _error = None, _traceback = None))]
    fn __exit__(
        &self,
        _kind: Option<&Bound<'_, PyAny>>,
        _error: Option<&Bound<'_, PyAny>>,
        _traceback: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<()> {
        self._release()
    }

    /// _count(self) -> int
    ///
    /// How often threads of this process have it.
    fn _count(&self) -> i64 {
        self.count_here()
    }

    /// _is_mine(self) -> bool
    ///
    /// Whether the calling thread has it.
    fn _is_mine(&self) -> bool {
        self.mine()
    }

    /// _get_value(self) -> int
    ///
    /// Units that are free.
    fn _get_value(&self) -> u32 {
        self.value()
    }

    /// _is_zero(self) -> bool
    ///
    /// Whether no unit is free.
    fn _is_zero(&self) -> bool {
        self.value() == 0
    }

    /// _after_fork(self) -> None
    ///
    /// Forget what threads of the parent had. Done anyway.
    fn _after_fork(&self) {
        self.forget();
    }

    /// handle: int
    ///
    /// The name of the block in the family's shared memory.
    #[getter]
    fn handle(&self) -> u64 {
        self.block.handle().to_u64()
    }

    /// kind: int
    ///
    /// 0 for a lock that its owner may take again, else 1.
    #[getter]
    fn kind(&self) -> i32 {
        self.kind
    }

    /// maxvalue: int
    ///
    /// The most units that it can have.
    #[getter]
    fn maxvalue(&self) -> u32 {
        self.maxvalue
    }

    /// name: None
    ///
    /// Shared memory without a name.
    #[getter]
    fn name(&self) -> Option<&'static str> {
        None
    }

    fn __reduce__<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        let (py, this) = (slf.py(), slf.get());
        family::passed(slf.as_any(), &this.block)?;
        let open = py.import("phalanx._workers")?.getattr(intern!(py, "_open_semlock"))?;
        let arguments = (family::token(&this.block), this.core == Core::Owned, this.kind, this.maxvalue);
        Ok((open, arguments).into_pyobject(py)?.into_any())
    }
}

/// _open_semlock(token: Any, owned: bool, kind: int, maxvalue: int) -> SemLock
///
/// The lock or semaphore that another process pickled.
#[pyfunction]
fn _open_semlock(py: Python<'_>, token: family::Token, owned: bool, kind: i32, maxvalue: u32) -> PyResult<SemLock> {
    let block = family::open(py, token)?;
    if block.kind() != BlockKind::Lock || block.len() < LOCK_BYTES {
        return Err(PyValueError::new_err(format!("a block of {} bytes is no lock", block.len())));
    }
    Ok(SemLock::over(block, if owned { Core::Owned } else { Core::Counting }, kind, maxvalue))
}

/// Waiters()
///
/// Those who wait for a notification: the shared part of a condition variable.
#[pyclass(frozen, module = "phalanx._workers")]
pub(crate) struct Waiters(Condition);

#[pymethods]
impl Waiters {
    #[new]
    fn new(py: Python<'_>) -> PyResult<Waiters> {
        Condition::create(*family::arena(py)?).map(Waiters).map_err(|e| family::refused(&e))
    }

    /// enter(self) -> int
    ///
    /// Become one of those who wait; return the place for `wait`.
    fn enter(&self) -> PyResult<u32> {
        self.0.enter().map(Place::to_u32).map_err(|e| family::refused(&e))
    }

    /// wait(self, place: int, timeout: float | None = None) -> bool
    ///
    /// Wait to be notified, and give the place up.
    #[pyo3(signature = (place, timeout = None))]
    fn wait(&self, py: Python<'_>, place: u32, timeout: Option<f64>) -> PyResult<bool> {
        let place = Place::from_u32(place);
        let until = deadline(timeout).inspect_err(|_| self.0.leave(place))?;
        loop {
            match detached(py, || self.0.wait(place, until)) {
                Notified::Yes => return Ok(true),
                Notified::TimedOut => return Ok(false),
                Notified::Interrupted => py.check_signals().inspect_err(|_| self.0.leave(place))?,
            }
        }
    }

    /// leave(self, place: int) -> None
    ///
    /// Give a place up without waiting.
    fn leave(&self, place: u32) {
        self.0.leave(Place::from_u32(place));
    }

    /// notify(self, n: int) -> int
    ///
    /// Wake up to n of them, the longest waiting first; return how many there were.
    fn notify(&self, n: usize) -> usize {
        self.0.notify(n)
    }

    /// counts(self) -> tuple[int, int]
    ///
    /// How many wait, and how many were notified and have not woken yet.
    fn counts(&self) -> (usize, usize) {
        self.0.waiting()
    }

    fn __reduce__<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        let (py, block) = (slf.py(), slf.get().0.block());
        family::passed(slf.as_any(), block)?;
        let open = py.import("phalanx._workers")?.getattr(intern!(py, "_open_waiters"))?;
        Ok((open, (family::token(block),)).into_pyobject(py)?.into_any())
    }
}

/// _open_waiters(token: Any) -> Waiters
///
/// The condition that another process pickled.
#[pyfunction]
fn _open_waiters(py: Python<'_>, token: family::Token) -> PyResult<Waiters> {
    Condition::over(family::open(py, token)?).map(Waiters).map_err(|e| broken(&e))
}

/// Flag()
///
/// A flag that processes wait for: the shared part of an event.
#[pyclass(frozen, module = "phalanx._workers")]
pub(crate) struct Flag(Block);

impl Flag {
    fn event(&self) -> &Event {
        Event::over(two_words(&self.0, 0))
    }
}

#[pymethods]
impl Flag {
    #[new]
    fn new(py: Python<'_>) -> PyResult<Flag> {
        family::arena(py)?.alloc_zeroed(LOCK_BYTES, BlockKind::Lock).map(Flag).map_err(|e| family::refused(&e))
    }

    /// is_set(self) -> bool
    ///
    /// Whether it is set.
    fn is_set(&self) -> bool {
        self.event().is_set()
    }

    /// set(self) -> None
    ///
    /// Set it and wake everyone who waits for it.
    fn set(&self) {
        self.event().set();
    }

    /// clear(self) -> None
    ///
    /// Clear it.
    fn clear(&self) {
        self.event().clear();
    }

    /// wait(self, timeout: float | None = None) -> bool
    ///
    /// Wait until it is set.
    #[pyo3(signature = (timeout = None))]
    fn wait(&self, py: Python<'_>, timeout: Option<f64>) -> PyResult<bool> {
        if self.event().is_set() {
            return Ok(true);
        }
        let until = deadline(timeout)?;
        loop {
            match detached(py, || self.event().wait(until)) {
                Acquired::Yes => return Ok(true),
                Acquired::TimedOut | Acquired::OwnerDied { .. } => return Ok(false),
                Acquired::Interrupted => py.check_signals()?,
            }
        }
    }

    fn __reduce__<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        let (py, block) = (slf.py(), &slf.get().0);
        family::passed(slf.as_any(), block)?;
        let open = py.import("phalanx._workers")?.getattr(intern!(py, "_open_flag"))?;
        Ok((open, (family::token(block),)).into_pyobject(py)?.into_any())
    }
}

/// _open_flag(token: Any) -> Flag
///
/// The flag that another process pickled.
#[pyfunction]
fn _open_flag(py: Python<'_>, token: family::Token) -> PyResult<Flag> {
    let block = family::open(py, token)?;
    if block.len() < LOCK_BYTES {
        return Err(PyValueError::new_err(format!("a block of {} bytes is no flag", block.len())));
    }
    Ok(Flag(block))
}

/// Gate(parties: int)
///
/// A place where processes wait for each other: the shared part of a barrier.
#[pyclass(frozen, module = "phalanx._workers")]
pub(crate) struct Gate(Barrier);

#[pymethods]
impl Gate {
    #[new]
    fn new(py: Python<'_>, parties: u32) -> PyResult<Gate> {
        Barrier::create(*family::arena(py)?, parties).map(Gate).map_err(|e| family::refused(&e))
    }

    /// arrive(self) -> tuple[int, int, bool] | None
    ///
    /// Arrive: the round and the order of arrival, for `wait` or `open`, and whether this is the last one, who has to
    /// run the action and then `open` the gate. None when the barrier is broken.
    fn arrive(&self, py: Python<'_>) -> PyResult<Option<(u32, u32, bool)>> {
        loop {
            match self.0.arrive() {
                Arrival::Wait(turn) => return Ok(Some((turn.round, turn.index, false))),
                Arrival::Last(turn) => return Ok(Some((turn.round, turn.index, true))),
                Arrival::Broken => return Ok(None),
                Arrival::Busy => {
                    if detached(py, || self.0.wait_idle(Deadline::NEVER)) == Passed::Interrupted {
                        py.check_signals()?;
                    }
                }
            }
        }
    }

    /// wait(self, round: int, index: int, timeout: float | None = None) -> bool
    ///
    /// Wait for the others. False when the barrier is broken.
    #[pyo3(signature = (round, index, timeout = None))]
    fn wait(&self, py: Python<'_>, round: u32, index: u32, timeout: Option<f64>) -> PyResult<bool> {
        let until = deadline(timeout).inspect_err(|_| self.0.abort())?;
        loop {
            match detached(py, || self.0.wait(Turn { round, index }, until)) {
                Passed::Yes => return Ok(true),
                Passed::Broken | Passed::TimedOut => return Ok(false),
                Passed::Interrupted => py.check_signals().inspect_err(|_| self.0.abort())?,
            }
        }
    }

    /// open(self, round: int, index: int) -> bool
    ///
    /// After the action: let all pass. False when the barrier was broken meanwhile.
    fn open(&self, round: u32, index: u32) -> bool {
        self.0.open(Turn { round, index })
    }

    /// abort(self) -> None
    ///
    /// Break the barrier.
    fn abort(&self) {
        self.0.abort();
    }

    /// reset(self) -> None
    ///
    /// Make it as new; those who wait learn that it was broken.
    fn reset(&self) {
        self.0.reset();
    }

    /// n_waiting: int
    ///
    /// How many wait now.
    #[getter]
    fn n_waiting(&self) -> u32 {
        self.0.waiting()
    }

    /// broken: bool
    ///
    /// Whether it is broken.
    #[getter]
    fn broken(&self) -> bool {
        self.0.is_broken()
    }

    fn __reduce__<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        let (py, barrier) = (slf.py(), &slf.get().0);
        family::passed(slf.as_any(), barrier.block())?;
        let open = py.import("phalanx._workers")?.getattr(intern!(py, "_open_gate"))?;
        Ok((open, (family::token(barrier.block()), barrier.parties())).into_pyobject(py)?.into_any())
    }
}

/// _open_gate(token: Any, parties: int) -> Gate
///
/// The barrier that another process pickled.
#[pyfunction]
fn _open_gate(py: Python<'_>, token: family::Token, parties: u32) -> PyResult<Gate> {
    Barrier::over(family::open(py, token)?, parties).map(Gate).map_err(|e| broken(&e))
}

/// Adds the classes to the module.
pub(crate) fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add_class::<SemLock>()?;
    m.add_class::<Waiters>()?;
    m.add_class::<Flag>()?;
    m.add_class::<Gate>()?;
    m.add_function(wrap_pyfunction!(_open_semlock, m)?)?;
    m.add_function(wrap_pyfunction!(_open_waiters, m)?)?;
    m.add_function(wrap_pyfunction!(_open_flag, m)?)?;
    m.add_function(wrap_pyfunction!(_open_gate, m)?)
}
