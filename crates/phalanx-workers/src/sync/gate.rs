//! The shared part of barriers.

use phalanx_object::detached;
use phalanx_shm::barrier::{Arrival, Barrier, Passed, Turn};
use phalanx_shm::sleep::{Deadline, Slices};
use pyo3::exceptions::PyValueError;
use pyo3::intern;
use pyo3::prelude::*;

use super::{broken, deadline};
use crate::family;

/// Gate(parties: int)
///
/// A place where processes wait for each other: the shared part of a barrier.
#[pyclass(frozen, module = "phalanx._workers")]
pub(crate) struct Gate(Barrier);

/// The kernel's limit on processes and threads. Each of the parties has a word in shared memory.
const MOST: u32 = 1 << 22;

#[pymethods]
impl Gate {
    #[new]
    fn new(py: Python<'_>, parties: u32) -> PyResult<Gate> {
        if parties > MOST {
            let text =
                format!("a barrier of {parties} parties would never open: a machine runs at most {MOST} threads");
            return Err(PyValueError::new_err(text));
        }
        Barrier::create(*family::arena(py)?, parties).map(Gate).map_err(|e| family::refused(&e))
    }

    /// wait(self, timeout: float | None = None, action: Callable[[], object] | None = None) -> int | None
    ///
    /// Arrive and wait for the others; return the order of arrival. The last one runs the action before all go on. None
    /// when the gate is broken.
    #[pyo3(signature = (timeout = None, action = None))]
    fn wait(&self, py: Python<'_>, timeout: Option<f64>, action: Option<&Bound<'_, PyAny>>) -> PyResult<Option<u32>> {
        // Before anybody counts on this arrival.
        deadline(timeout)?;
        let (turn, passed) = match self.arrive(py)? {
            Arrival::Wait(turn) => (turn, self.wait_in(py, turn, deadline(timeout)?)?),
            Arrival::Last(turn) => {
                if let Some(action) = action {
                    action.call0().inspect_err(|_| self.0.abort())?;
                }
                (turn, self.0.open(turn))
            }
            Arrival::Broken | Arrival::Busy => return Ok(None),
        };
        Ok(passed.then_some(turn.index))
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

impl Gate {
    /// Arrives; never [`Arrival::Busy`].
    fn arrive(&self, py: Python<'_>) -> PyResult<Arrival> {
        let mut slices = Slices::new();
        loop {
            match self.0.arrive() {
                Arrival::Busy => {
                    detached(py, || self.0.wait_idle(&mut slices, Deadline::NEVER));
                    py.check_signals()?;
                }
                arrival => return Ok(arrival),
            }
        }
    }

    /// Waits for the others. An exception of a signal handler takes the arrival back.
    fn wait_in(&self, py: Python<'_>, turn: Turn, until: Deadline) -> PyResult<bool> {
        let mut slices = Slices::new();
        loop {
            match detached(py, || self.0.wait(turn, &mut slices, until)) {
                Passed::Yes => return Ok(true),
                Passed::Broken | Passed::TimedOut => return Ok(false),
                Passed::SliceOver => py.check_signals().inspect_err(|_| self.0.leave(turn))?,
            }
        }
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
pub(super) fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add_class::<Gate>()?;
    m.add_function(wrap_pyfunction!(_open_gate, m)?)
}
