//! The shared parts of conditions and events.

use phalanx_object::detached;
use phalanx_shm::condition::{Condition, Notified, Place};
use phalanx_shm::event::Event;
use phalanx_shm::sleep::{Deadline, Slices};
use phalanx_shm::{Acquired, Block, BlockKind};
use pyo3::exceptions::PyValueError;
use pyo3::intern;
use pyo3::prelude::*;

use super::{LOCK_BYTES, SemLock, broken, deadline, lock_words, owner_died};
use crate::family;

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

    /// wait(self, lock: Any, timeout: float | None = None) -> bool
    ///
    /// Give the lock back, wait to be notified, and take the lock again as often as it was held.
    #[pyo3(signature = (lock, timeout = None))]
    fn wait(&self, py: Python<'_>, lock: &Bound<'_, PyAny>, timeout: Option<f64>) -> PyResult<bool> {
        let until = deadline(timeout)?;
        let levels = Levels::new(lock)?;
        let place = self.0.enter().map_err(|e| family::refused(&e))?;
        let mut given = 0;
        let notified = levels.give(&mut given).and_then(|()| self.wait_at(py, place, until));
        if notified.is_err() {
            self.0.leave(place);
        }
        match levels.take_again(py, given) {
            Ok(()) => notified,
            Err(late) => {
                if let Err(before) = notified {
                    late.value(py).setattr(intern!(py, "__context__"), before.into_value(py))?;
                }
                Err(late)
            }
        }
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

impl Waiters {
    /// Waits at a place. It is given up, except when a signal handler raises an exception.
    fn wait_at(&self, py: Python<'_>, place: Place, until: Deadline) -> PyResult<bool> {
        let mut slices = Slices::new();
        loop {
            match detached(py, || self.0.wait(place, &mut slices, until)) {
                Notified::Yes => return Ok(true),
                Notified::TimedOut => return Ok(false),
                Notified::SliceOver => py.check_signals()?,
            }
        }
    }
}

/// A lock of a condition, held by this thread.
struct Levels<'a, 'py> {
    lock: &'a Bound<'py, PyAny>,
    /// What is in it, when that is one of this module's.
    ours: Option<Bound<'py, SemLock>>,
    /// How often it is held.
    count: i64,
}

impl<'a, 'py> Levels<'a, 'py> {
    fn new(lock: &'a Bound<'py, PyAny>) -> PyResult<Levels<'a, 'py>> {
        let inner = lock.getattr(intern!(lock.py(), "_semlock"))?;
        let count = inner.call_method0(intern!(lock.py(), "_count"))?.extract()?;
        Ok(Levels { lock, ours: inner.cast_into().ok(), count })
    }

    /// Gives all levels back; counts them in `given`.
    fn give(&self, given: &mut i64) -> PyResult<()> {
        while *given < self.count {
            match &self.ours {
                Some(ours) => ours.get()._release()?,
                None => drop(self.lock.call_method0(intern!(self.lock.py(), "release"))?),
            }
            *given += 1;
        }
        Ok(())
    }

    fn take(&self, py: Python<'_>) -> PyResult<Acquired> {
        match &self.ours {
            Some(ours) => ours.get().take(py, Deadline::NEVER),
            None => self.lock.call_method0(intern!(py, "acquire")).map(|_| Acquired::Yes),
        }
    }

    /// Takes `count` levels again. What a signal handler raises meanwhile, or that another process died with the lock, is
    /// told when they are taken; a second exception of a signal handler is passed on at once, without the lock.
    fn take_again(&self, py: Python<'_>, count: i64) -> PyResult<()> {
        let (mut taken, mut died, mut raised) = (0, None, None);
        while taken < count {
            match self.take(py) {
                Ok(Acquired::OwnerDied { pid }) => died = Some(pid),
                Ok(_) => taken += 1,
                Err(error) if raised.is_none() => raised = Some(error),
                Err(error) => return Err(error),
            }
        }
        match (raised, died) {
            (Some(error), _) => Err(error),
            (None, Some(pid)) => Err(owner_died(py, pid, "lock")),
            (None, None) => Ok(()),
        }
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
        Event::over(lock_words(&self.0, 0))
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
        let (began, mut slices) = (self.event().begin(), Slices::new());
        loop {
            match detached(py, || self.event().wait(began, &mut slices, until)) {
                Acquired::Yes => return Ok(true),
                Acquired::TimedOut | Acquired::OwnerDied { .. } => return Ok(false),
                Acquired::SliceOver => py.check_signals()?,
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

/// Adds the classes to the module.
pub(super) fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add_class::<Waiters>()?;
    m.add_class::<Flag>()?;
    m.add_function(wrap_pyfunction!(_open_waiters, m)?)?;
    m.add_function(wrap_pyfunction!(_open_flag, m)?)
}
