//! Reductions of Python objects (MPI 5.0 sections 6.9 to 6.11, by pickle).
//!
//! Operands are combined in the order of ranks, whatever the operation: the result depends on the number of ranks only.

use pyo3::prelude::*;
use pyo3::types::PyList;

use super::Comm;
use super::coll_obj::{allgather, bcast, give, take};
use crate::ffi::*;
use crate::handle::{self, Handle as _};
use crate::op::Op;

/// From this many ranks on, combining everything on every rank costs more than a tree.
const FLAT_RANKS: c_int = 8;

/// Rank and size in an intracommunicator.
#[derive(Clone, Copy)]
struct Place {
    comm: MPI_Comm,
    rank: c_int,
    size: c_int,
}

/// The operation applied to two objects; the left one is that of the lower ranks.
fn combine<'py>(
    op: &Bound<'py, PyAny>,
    left: Bound<'py, PyAny>,
    right: Bound<'py, PyAny>,
) -> PyResult<Bound<'py, PyAny>> {
    op.call1((left, right))
}

/// Combines the objects of all ranks on rank 0 along a binomial tree; the other ranks return nothing.
fn reduce_to_zero<'py>(
    object: &Bound<'py, PyAny>,
    op: &Bound<'py, PyAny>,
    place: Place,
) -> PyResult<Option<Bound<'py, PyAny>>> {
    let Place { comm, rank, size } = place;
    let mut result = object.clone();
    let mut distance = 1;
    while distance < size {
        if rank & distance != 0 {
            give(&result, rank & !distance, comm)?;
            return Ok(None);
        }
        if rank | distance < size {
            let right = take(object.py(), "reduce", rank | distance, comm)?;
            result = combine(op, result, right)?;
        }
        distance <<= 1;
    }
    Ok(Some(result))
}

/// Combines the objects of all ranks on `root`.
fn reduce<'py>(
    object: &Bound<'py, PyAny>,
    op: &Bound<'py, PyAny>,
    root: c_int,
    place: Place,
) -> PyResult<Option<Bound<'py, PyAny>>> {
    let result = reduce_to_zero(object, op, place)?;
    match result {
        Some(result) if root != 0 => give(&result, root, place.comm).map(|()| None),
        None if place.rank == root => take(object.py(), "reduce", 0, place.comm).map(Some),
        result => Ok(result),
    }
}

impl Comm {
    /// This rank's place in the private communicator of the local group.
    fn local_place(&self, py: Python<'_>) -> PyResult<Place> {
        Ok(Place { comm: self.private(py)?.local, rank: self.rank_now()?, size: self.size_now()? })
    }

    fn operation<'py>(&self, py: Python<'py>, op: Option<Bound<'py, PyAny>>) -> PyResult<Bound<'py, PyAny>> {
        match op {
            Some(op) => Ok(op),
            None => handle::wrap::<Op>(py, MPI_SUM),
        }
    }

    /// The reduction of one side of an intercommunicator, known to its rank 0.
    fn allreduce_between<'py>(
        &self,
        object: &Bound<'py, PyAny>,
        op: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let py = object.py();
        let place = self.local_place(py)?;
        let comm = self.private(py)?.comm;
        let ours = reduce_to_zero(object, op, place)?;
        let theirs = match ours {
            Some(ours) => {
                // The two rank 0 trade results; the sends go first and need not wait for each other.
                let parcel = crate::object::dump(&ours)?;
                let mut outbox = crate::object::transfer::Outbox::default();
                let to = crate::object::transfer::Route { comm, peer: 0, tag: 0 };
                outbox.post(py, parcel, to)?;
                let theirs = take(py, "allreduce", 0, comm)?;
                outbox.wait(py)?;
                theirs
            }
            None => py.None().into_bound(py),
        };
        bcast(&theirs, place.rank, 0, place.comm)
    }
}

#[pymethods]
impl Comm {
    /// reduce(self, sendobj: Any, op: Op | Callable[[Any, Any], Any] = SUM, root: int = 0) -> Any | None
    ///
    /// Combine the objects of all ranks with an operation; `root` returns the result, the other ranks `None`.
    ///
    /// The operands are combined in the order of ranks. Waits on `root` for all ranks. Raises what the operation raises.
    #[pyo3(signature = (sendobj, op = None, root = 0))]
    fn reduce<'py>(
        &self,
        sendobj: &Bound<'py, PyAny>,
        op: Option<Bound<'py, PyAny>>,
        root: c_int,
    ) -> PyResult<Option<Bound<'py, PyAny>>> {
        let py = sendobj.py();
        self.check_root(py, root)?;
        let op = self.operation(py, op)?;
        let place = self.local_place(py)?;
        if !self.inter_now()? {
            return reduce(sendobj, &op, root, place);
        }
        let comm = self.private(py)?.comm;
        match root {
            MPI_PROC_NULL => Ok(None),
            MPI_ROOT => take(py, "reduce", 0, comm).map(Some),
            root => match reduce_to_zero(sendobj, &op, place)? {
                Some(result) => give(&result, root, comm).map(|()| None),
                None => Ok(None),
            },
        }
    }

    /// allreduce(self, sendobj: Any, op: Op | Callable[[Any, Any], Any] = SUM) -> Any
    ///
    /// Combine the objects of all ranks with an operation; every rank returns the result.
    ///
    /// The operands are combined in the order of ranks. Waits for all ranks. Raises what the operation raises.
    #[pyo3(signature = (sendobj, op = None))]
    fn allreduce<'py>(
        &self,
        sendobj: &Bound<'py, PyAny>,
        op: Option<Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let py = sendobj.py();
        let op = self.operation(py, op)?;
        if self.inter_now()? {
            return self.allreduce_between(sendobj, &op);
        }
        if self.size_now()? <= FLAT_RANKS {
            let objects: Bound<'py, PyList> = allgather(sendobj, self.size_now()?, self.raw())?;
            let mut objects = objects.iter();
            let first = objects.next().unwrap_or_else(|| sendobj.clone());
            return objects.try_fold(first, |left, right| combine(&op, left, right));
        }
        let place = self.local_place(py)?;
        let result = reduce_to_zero(sendobj, &op, place)?.unwrap_or_else(|| py.None().into_bound(py));
        bcast(&result, place.rank, 0, place.comm)
    }
}

#[pymethods]
impl super::Intracomm {
    /// scan(self, sendobj: Any, op: Op | Callable[[Any, Any], Any] = SUM) -> Any
    ///
    /// Combine the objects of the ranks up to this one, inclusive. Waits for the lower ranks.
    #[pyo3(signature = (sendobj, op = None))]
    fn scan<'py>(
        slf: &Bound<'py, Self>,
        sendobj: &Bound<'py, PyAny>,
        op: Option<Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let (before, comm, op) = prefix(slf, op, "scan")?;
        let result = match before {
            Some(before) => combine(&op, before, sendobj.clone())?,
            None => sendobj.clone(),
        };
        pass_on(&result, comm)?;
        Ok(result)
    }

    /// exscan(self, sendobj: Any, op: Op | Callable[[Any, Any], Any] = SUM) -> Any
    ///
    /// Combine the objects of the ranks below this one; rank 0 returns `None`. Waits for the lower ranks.
    #[pyo3(signature = (sendobj, op = None))]
    fn exscan<'py>(
        slf: &Bound<'py, Self>,
        sendobj: &Bound<'py, PyAny>,
        op: Option<Bound<'py, PyAny>>,
    ) -> PyResult<Option<Bound<'py, PyAny>>> {
        let (before, comm, op) = prefix(slf, op, "exscan")?;
        let result = match &before {
            Some(before) => combine(&op, before.clone(), sendobj.clone())?,
            None => sendobj.clone(),
        };
        pass_on(&result, comm)?;
        Ok(before)
    }
}

/// What the lower ranks have combined; nothing on rank 0.
fn prefix<'py>(
    comm: &Bound<'py, super::Intracomm>,
    op: Option<Bound<'py, PyAny>>,
    operation: &str,
) -> PyResult<(Option<Bound<'py, PyAny>>, Place, Bound<'py, PyAny>)> {
    let (py, base) = (comm.py(), comm.as_super().get());
    let op = base.operation(py, op)?;
    let place = base.local_place(py)?;
    let before = (place.rank > 0).then(|| take(py, operation, place.rank - 1, place.comm)).transpose()?;
    Ok((before, place, op))
}

/// Hands the combination up to this rank to the next one.
fn pass_on(result: &Bound<'_, PyAny>, place: Place) -> PyResult<()> {
    if place.rank + 1 < place.size { give(result, place.rank + 1, place.comm) } else { Ok(()) }
}
