//! `MPI.Prequest`: operations described once and started many times (MPI 5.0 sections 3.9 and 4).

use pyo3::prelude::*;
use pyo3::types::PyType;

use crate::error::check;
use crate::ffi::*;
use crate::gil;
use crate::handle::Handle as _;
use crate::numbers;
use crate::request::{Batch, Keep, Request};

/// An operation that is described once and started many times.
#[pyclass(module = "phalanx.MPI", subclass, frozen, extends = Request)]
pub(crate) struct Prequest;

impl Prequest {
    /// Makes a persistent operation: `call` gets the place for the handle.
    ///
    /// # Errors
    /// The operation's `MPI.Exception`.
    pub(crate) fn init<'py>(
        py: Python<'py>,
        keep: Keep,
        call: impl FnOnce(*mut MPI_Request) -> c_int,
    ) -> PyResult<Bound<'py, Prequest>> {
        let base = PyClassInitializer::from(Request::with(MPI_REQUEST_NULL, keep));
        let object = Bound::new(py, base.add_subclass(Prequest))?;
        let mut raw = MPI_REQUEST_NULL;
        let place = &raw mut raw;
        check(gil::starting(py, move || call(place)))?;
        object.as_super().get().cell().set(raw);
        Ok(object)
    }
}

#[pymethods]
impl Prequest {
    #[new]
    #[pyo3(signature = (request=None))]
    fn new(request: Option<&Bound<'_, Request>>) -> PyResult<PyClassInitializer<Self>> {
        if let Some(request) = request
            && request.get().raw() != MPI_REQUEST_NULL
            && !request.is_instance_of::<Prequest>()
        {
            return Err(crate::error::wrong_type("Prequest", request.as_any()));
        }
        Ok(PyClassInitializer::from(Request::copy(request)).add_subclass(Prequest))
    }

    /// Start(self) -> None
    ///
    /// Start the operation. Does not block.
    fn Start(slf: &Bound<'_, Self>) -> PyResult<()> {
        let request = slf.as_super().get();
        let mut raw = request.raw();
        // SAFETY: the pointer is valid for the call; the buffers are kept by this object.
        let code = gil::starting(slf.py(), || unsafe { MPI_Start(&mut raw) });
        request.cell().set(raw);
        check(code)
    }

    /// Startall(cls, requests: list[Prequest]) -> None
    ///
    /// Start several operations. Does not block.
    #[classmethod]
    fn Startall<'py>(_cls: &Bound<'py, PyType>, requests: &Bound<'py, PyAny>) -> PyResult<()> {
        let mut batch = Batch::new(requests)?;
        let (count, raws) = (batch.count, batch.raws.as_mut_ptr());
        // SAFETY: the array holds `count` handles; the objects keep the buffers.
        let code = gil::starting(requests.py(), || unsafe { MPI_Startall(count, raws) });
        batch.settle(requests.py());
        check(code)
    }

    /// Pready(self, partition: int) -> None
    ///
    /// Mark a partition of a partitioned send as ready. Does not block.
    fn Pready(slf: &Bound<'_, Self>, partition: c_int) -> PyResult<()> {
        let raw = slf.as_super().get().raw();
        // SAFETY: passes values; the library checks them.
        check(gil::starting(slf.py(), || unsafe { MPI_Pready(partition, raw) }))
    }

    /// Pready_range(self, partition_low: int, partition_high: int) -> None
    ///
    /// Mark a range of partitions as ready. Does not block.
    fn Pready_range(slf: &Bound<'_, Self>, partition_low: c_int, partition_high: c_int) -> PyResult<()> {
        let raw = slf.as_super().get().raw();
        // SAFETY: passes values; the library checks them.
        check(gil::starting(slf.py(), || unsafe { MPI_Pready_range(partition_low, partition_high, raw) }))
    }

    /// Pready_list(self, partitions: Sequence[int]) -> None
    ///
    /// Mark the listed partitions as ready. Does not block.
    fn Pready_list(slf: &Bound<'_, Self>, partitions: &Bound<'_, PyAny>) -> PyResult<()> {
        let partitions = numbers::ints(partitions)?;
        let (raw, count) = (slf.as_super().get().raw(), numbers::count(partitions.len())?);
        let list = partitions.as_ptr();
        // SAFETY: the array holds `count` numbers.
        check(gil::starting(slf.py(), || unsafe { MPI_Pready_list(count, list, raw) }))
    }

    /// Parrived(self, partition: int) -> bool
    ///
    /// Return whether a partition of a partitioned receive has arrived. Does not block.
    fn Parrived(slf: &Bound<'_, Self>, partition: c_int) -> PyResult<bool> {
        let (raw, mut flag) = (slf.as_super().get().raw(), 0);
        // SAFETY: the flag is valid for the call.
        check(gil::starting(slf.py(), || unsafe { MPI_Parrived(raw, partition, &mut flag) }))?;
        Ok(flag != 0)
    }
}

/// Adds the class to the module.
pub(crate) fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add_class::<Prequest>()
}
