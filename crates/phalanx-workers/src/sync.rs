//! Locks, semaphores, conditions, events and barriers for Python.
//!
//! [`SemLock`] has the interface of `_multiprocessing.SemLock`, over a block of the arena instead of a named semaphore.
//! Count and owning thread are this process's, as there; a forked child starts with none. All objects of one lock in a
//! process share them: a task may get as its argument the lock that the process has as a global.

mod calls;
mod gate;
mod waiters;

use std::collections::BTreeMap;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicI64, AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use phalanx_object::detached;
use phalanx_shm::owned::OwnedWords;
use phalanx_shm::semaphore::SEMAPHORE_MAX;
use phalanx_shm::sleep::{Deadline, Slices};
use phalanx_shm::{Acquired, Block, BlockKind, OwnedLock, Semaphore, ShmError, fork};
use pyo3::exceptions::{PyAssertionError, PyRuntimeError, PyValueError};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyType;

use crate::family;
use crate::queue::Truth;

/// `SemLock.kind` of a lock that its owning thread may take again.
const RECURSIVE_MUTEX: i32 = 0;
/// `SemLock.kind` of everything else.
const SEMAPHORE: i32 = 1;

/// Bytes of a lock's block: its words, on a line of their own.
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

/// The four neighbouring 32-bit words of a block that a lock, semaphore or event is in.
#[inline]
fn lock_words(block: &Block, at: usize) -> &OwnedWords {
    let (first, last) = (block.word32(at), block.word32(at + 12));
    debug_assert_eq!(std::ptr::from_ref(first).wrapping_add(3), std::ptr::from_ref(last));
    // SAFETY: the words lie in the block, one after the other, and are borrowed from it.
    unsafe { &*std::ptr::from_ref(first).cast::<OwnedWords>() }
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
    /// What this process has of it.
    local: Arc<Local>,
    /// The block's first words.
    words: Words,
}

/// What a process has of a lock or semaphore, for all its objects of it.
#[derive(Debug)]
struct Local {
    /// Units or levels that threads of this process have. Changed under the interpreter's lock.
    count: AtomicI64,
    /// The thread that took the last one.
    owner: AtomicUsize,
    /// The number of forks ([`fork::generation`]) of the process that `count` belongs to.
    forks: AtomicU32,
}

/// By arena and handle, what this process has of each lock that it has an object of. Held under the interpreter's lock
/// only, so that no fork finds it held.
static LOCALS: Mutex<BTreeMap<(u64, u64), Weak<Local>>> = Mutex::new(BTreeMap::new());

impl Local {
    fn key(block: &Block) -> (u64, u64) {
        (block.arena().id(), block.handle().to_u64())
    }

    fn of(block: &Block) -> Arc<Local> {
        let mut locals = LOCALS.lock().unwrap_or_else(PoisonError::into_inner);
        let known = locals.entry(Local::key(block)).or_default();
        known.upgrade().unwrap_or_else(|| {
            let forks = AtomicU32::new(fork::generation());
            let local = Arc::new(Local { count: AtomicI64::new(0), owner: AtomicUsize::new(0), forks });
            *known = Arc::downgrade(&local);
            local
        })
    }
}

impl Drop for SemLock {
    fn drop(&mut self) {
        let mut locals = LOCALS.lock().unwrap_or_else(PoisonError::into_inner);
        if Arc::strong_count(&self.local) == 1 {
            // The last object of it here. The block is held until after this, so the name is no other lock's yet.
            locals.remove(&Local::key(&self.block));
        }
    }
}

/// The words of a block that its holder keeps beside the block: finding them costs as much as taking a lock.
struct Words(NonNull<OwnedWords>);

// SAFETY: atomics in shared memory that the block beside keeps, reachable from any thread.
unsafe impl Send for Words {}
// SAFETY: as for Send.
unsafe impl Sync for Words {}

impl SemLock {
    fn over(block: Block, core: Core, kind: i32, maxvalue: u32) -> SemLock {
        let words = Words(NonNull::from(lock_words(&block, 0)));
        let local = Local::of(&block);
        SemLock { block, core, kind, maxvalue, local, words }
    }

    #[inline]
    fn words(&self) -> &OwnedWords {
        // SAFETY: they lie in the block, which is held as long as `self`.
        unsafe { self.words.0.as_ref() }
    }

    #[inline]
    fn lock(&self) -> &OwnedLock {
        OwnedLock::over(self.words())
    }

    #[inline]
    fn semaphore(&self) -> &Semaphore {
        Semaphore::over(self.words())
    }

    /// Levels that threads of this process have; none of what a forked child has inherited.
    #[inline]
    fn count_here(&self) -> i64 {
        // Not by the tag of this process: that may change with the home of its family.
        if self.local.forks.load(Ordering::Relaxed) != fork::generation() {
            self.forget();
        }
        self.local.count.load(Ordering::Relaxed)
    }

    #[cold]
    fn forget(&self) {
        self.local.count.store(0, Ordering::Relaxed);
        self.local.forks.store(fork::generation(), Ordering::Relaxed);
    }

    #[inline]
    fn mine(&self) -> bool {
        self.count_here() > 0 && self.local.owner.load(Ordering::Relaxed) == this_thread()
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
        self.local.count.store(count + 1, Ordering::Relaxed);
        self.local.owner.store(this_thread(), Ordering::Relaxed);
    }

    /// Takes it, waiting without the interpreter's lock. Signal handlers run after each slice; errors are theirs.
    #[cold]
    fn wait(&self, py: Python<'_>, until: Deadline) -> PyResult<Acquired> {
        let mut slices = Slices::new();
        loop {
            let end = detached(py, || match self.core {
                Core::Owned => self.lock().acquire(&mut slices, until),
                Core::Counting => self.semaphore().acquire(&mut slices, until),
            });
            match end {
                Acquired::SliceOver => py.check_signals()?,
                Acquired::Yes => {
                    self.took(self.count_here());
                    return Ok(end);
                }
                Acquired::TimedOut | Acquired::OwnerDied { .. } => return Ok(end),
            }
        }
    }

    /// Takes it, waiting for it if need be.
    fn take(&self, py: Python<'_>, until: Deadline) -> PyResult<Acquired> {
        match self.take_at_once() {
            Acquired::TimedOut | Acquired::SliceOver => self.wait(py, until),
            end => Ok(end),
        }
    }

    /// Takes it if that needs no waiting. [`Acquired::TimedOut`] when it does.
    #[inline]
    fn take_at_once(&self) -> Acquired {
        let count = self.count_here();
        if self.kind == RECURSIVE_MUTEX && count > 0 && self.local.owner.load(Ordering::Relaxed) == this_thread() {
            self.local.count.store(count + 1, Ordering::Relaxed);
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
            if count <= 0 || self.local.owner.load(Ordering::Relaxed) != this_thread() {
                return false;
            }
            if count > 1 {
                self.local.count.store(count - 1, Ordering::Relaxed);
                return true;
            }
        }
        let given = match self.core {
            Core::Owned => self.lock().release(),
            Core::Counting => self.semaphore().release(self.maxvalue),
        };
        if given {
            self.local.count.store(count - 1, Ordering::Relaxed);
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
            Semaphore::over(lock_words(&block, 0)).set(value);
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
    #[pyo3(signature = (block = Truth(true), timeout = None), text_signature = "($self, block=True, timeout=None)")]
    fn _acquire(&self, py: Python<'_>, block: Truth, timeout: Option<f64>) -> PyResult<bool> {
        let end = match self.take_at_once() {
            Acquired::TimedOut | Acquired::SliceOver if block.0 => self.wait(py, deadline(timeout)?)?,
            end => end,
        };
        match end {
            Acquired::Yes => Ok(true),
            Acquired::OwnerDied { pid } => Err(owner_died(py, pid, "lock")),
            Acquired::TimedOut | Acquired::SliceOver => Ok(false),
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
        self._acquire(py, Truth(true), None)
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

/// Adds the classes to the module.
pub(crate) fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add_class::<SemLock>()?;
    m.add_function(wrap_pyfunction!(_open_semlock, m)?)?;
    waiters::register(m)?;
    gate::register(m)
}
