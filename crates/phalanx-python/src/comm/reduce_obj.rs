//! Reductions of Python objects (MPI 5.0 sections 6.9 to 6.11).
//!
//! Operands are combined along a binomial tree in the order of ranks, whatever the operation and the size of the objects:
//! the result depends on the number of ranks only. An operation that raises is told to the others as an object that does
//! not pickle is (see `coll_obj`).

use pyo3::prelude::*;

use super::Comm;
use super::coll_obj::{Announced, Caller, Operation, bcast, give, give_parcel, pack, take};
use crate::ffi::*;
use crate::handle::{self, Handle as _};
use crate::object::Parcel;
use crate::object::context::Private;
use crate::object::transfer::{Outbox, Route};
use crate::op::Op;

/// With more ranks, combining everything on every rank costs more than a tree.
const FLAT_RANKS: c_int = 8;

/// With more bytes, too: every rank would unpickle all objects, and hold them at one time.
const FLAT_BYTES: usize = 256 << 10;

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

/// The operation applied to what two sides have, if they have something.
fn combine_both<'py>(
    op: &Bound<'py, PyAny>,
    left: PyResult<Bound<'py, PyAny>>,
    right: PyResult<Bound<'py, PyAny>>,
) -> PyResult<Bound<'py, PyAny>> {
    combine(op, left?, right?)
}

/// What this rank gives to a reduction.
struct Operand<'py> {
    object: Bound<'py, PyAny>,
    /// Its message, where it was made already.
    packed: Option<(Parcel, Option<PyErr>)>,
}

/// Combines the objects of all ranks on rank 0 along a binomial tree; the other ranks return nothing.
fn reduce_to_zero<'py>(
    operand: Operand<'py>,
    op: &Bound<'py, PyAny>,
    caller: Caller,
    place: Place,
) -> PyResult<Option<Bound<'py, PyAny>>> {
    let Place { comm, rank, size } = place;
    let py = op.py();
    let mut packed = operand.packed;
    let mut result = Ok(operand.object);
    let mut distance = 1;
    while distance < size {
        if rank & distance != 0 {
            let parcel = packed.take().unwrap_or_else(|| pack(py, result, caller));
            give_parcel(py, parcel, caller, rank & !distance, comm)?;
            return Ok(None);
        }
        if rank | distance < size {
            packed = None;
            result = combine_both(op, result, take(py, caller, rank | distance, comm));
        }
        distance <<= 1;
    }
    result.map(Some)
}

/// Combines objects of all ranks as [`reduce_to_zero`] does.
fn reduce_here<'py>(op: &Bound<'py, PyAny>, objects: Vec<Bound<'py, PyAny>>) -> PyResult<Option<Bound<'py, PyAny>>> {
    let mut objects: Vec<_> = objects.into_iter().map(Some).collect();
    let mut distance = 1;
    while distance < objects.len() {
        for left in (0..objects.len() - distance).step_by(2 * distance) {
            if let (Some(first), Some(second)) = (objects[left].take(), objects[left + distance].take()) {
                objects[left] = Some(combine(op, first, second)?);
            }
        }
        distance *= 2;
    }
    Ok(objects.into_iter().next().flatten())
}

/// Combines the objects of all ranks on `root`.
fn reduce<'py>(
    operand: Operand<'py>,
    op: &Bound<'py, PyAny>,
    root: c_int,
    caller: Caller,
    place: Place,
) -> PyResult<Option<Bound<'py, PyAny>>> {
    let py = op.py();
    let result = reduce_to_zero(operand, op, caller, place);
    if root == 0 || (place.rank != 0 && place.rank != root) {
        return result;
    }
    if place.rank == root {
        let whole = take(py, caller, 0, place.comm);
        return result.and(whole.map(Some));
    }
    give(py, present(py, result), caller, root, place.comm).map(|()| None)
}

/// What [`reduce_to_zero`] returned on rank 0.
fn present<'py>(py: Python<'py>, result: PyResult<Option<Bound<'py, PyAny>>>) -> PyResult<Bound<'py, PyAny>> {
    result.map(|result| result.unwrap_or_else(|| py.None().into_bound(py)))
}

impl Comm {
    /// This rank's place in the private communicator of the local group.
    fn local_place(&self, private: &Private) -> PyResult<Place> {
        Ok(Place { comm: private.local, rank: self.rank_now()?, size: self.size_now()? })
    }

    fn operation<'py>(&self, py: Python<'py>, op: Option<Bound<'py, PyAny>>) -> PyResult<Bound<'py, PyAny>> {
        match op {
            Some(op) => Ok(op),
            None => handle::wrap::<Op>(py, MPI_SUM),
        }
    }

    /// On every rank, the reduction of the other side of an intercommunicator.
    fn allreduce_between<'py>(
        &self,
        object: &Bound<'py, PyAny>,
        op: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let py = object.py();
        let private = self.private(py)?;
        let caller = self.caller(Operation::Allreduce)?.with(&private);
        let (place, comm) = (self.local_place(&private)?, private.comm);
        let ours = reduce_to_zero(Operand::new(object), op, caller, place);
        if place.rank != 0 {
            let theirs = bcast(py, Ok(py.None().into_bound(py)), caller, 0, place.comm);
            return ours.and(theirs);
        }
        // The two rank 0 trade results; the sends go first and need not wait for each other.
        let (parcel, failure) = pack(py, present(py, ours), caller);
        let mut outbox = Outbox::default();
        outbox.post(py, parcel, Route { comm, peer: 0, tag: caller.tag() })?;
        let theirs = take(py, caller, 0, comm);
        outbox.wait(py)?;
        let theirs = bcast(py, theirs, caller, 0, place.comm);
        failure.map_or(theirs, Err)
    }
}

impl<'py> Operand<'py> {
    fn new(object: &Bound<'py, PyAny>) -> Operand<'py> {
        Operand { object: object.clone(), packed: None }
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
        let private = self.private(py)?;
        let caller = self.caller(Operation::Reduce)?.with(&private);
        let (place, comm) = (self.local_place(&private)?, private.comm);
        if !self.inter_now()? {
            return reduce(Operand::new(sendobj), &op, root, caller, place);
        }
        match root {
            MPI_PROC_NULL => Ok(None),
            MPI_ROOT => take(py, caller, 0, comm).map(Some),
            root => {
                let result = reduce_to_zero(Operand::new(sendobj), &op, caller, place);
                if place.rank == 0 { give(py, present(py, result), caller, root, comm).map(|()| None) } else { result }
            }
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
        let (caller, size) = (self.caller_of_all(py, Operation::Allreduce)?, self.size_now()?);
        let mut operand = Operand::new(sendobj);
        if size <= FLAT_RANKS {
            let announced = Announced::by_all(sendobj, caller, size, self.raw())?;
            // Every rank knows all sizes, so that all go the same way.
            if announced.missing() <= FLAT_BYTES {
                let objects = announced.exchange(py, self.raw())?;
                return present(py, reduce_here(&op, objects));
            }
            operand.packed = Some(announced.into_own());
        }
        let private = self.private(py)?;
        let (caller, place) = (caller.with(&private), self.local_place(&private)?);
        let result = reduce_to_zero(operand, &op, caller, place);
        if place.rank == 0 {
            return bcast(py, present(py, result), caller, 0, place.comm);
        }
        let whole = bcast(py, Ok(py.None().into_bound(py)), caller, 0, place.comm);
        result.and(whole)
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
        let prefix = Prefix::of(slf, sendobj, op, Operation::Scan)?;
        prefix.pass_on(sendobj.py())?;
        prefix.result
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
        let prefix = Prefix::of(slf, sendobj, op, Operation::Exscan)?;
        prefix.pass_on(sendobj.py())?;
        Ok(prefix.before)
    }
}

/// What a rank knows of a prefix reduction.
struct Prefix<'py> {
    /// What the lower ranks have combined; nothing on rank 0.
    before: Option<Bound<'py, PyAny>>,
    /// The same with the object of this rank.
    result: PyResult<Bound<'py, PyAny>>,
    caller: Caller,
    place: Place,
}

impl<'py> Prefix<'py> {
    fn of(
        comm: &Bound<'py, super::Intracomm>,
        object: &Bound<'py, PyAny>,
        op: Option<Bound<'py, PyAny>>,
        operation: Operation,
    ) -> PyResult<Prefix<'py>> {
        let (py, base) = (comm.py(), comm.as_super().get());
        let op = base.operation(py, op)?;
        let private = base.private(py)?;
        let place = base.local_place(&private)?;
        let caller = base.caller(operation)?.with(&private);
        let before = (place.rank > 0).then(|| take(py, caller, place.rank - 1, place.comm)).transpose();
        let result = match &before {
            Ok(None) => Ok(object.clone()),
            Ok(Some(before)) => combine(&op, before.clone(), object.clone()),
            Err(error) => Err(error.clone_ref(py)),
        };
        Ok(Prefix { before: before.unwrap_or(None), result, caller, place })
    }

    /// Hands the combination up to this rank, or its error, to the next one, and raises the error.
    fn pass_on(&self, py: Python<'py>) -> PyResult<()> {
        let result = || match &self.result {
            Ok(result) => Ok(result.clone()),
            Err(error) => Err(error.clone_ref(py)),
        };
        let Place { rank, size, comm } = self.place;
        if rank + 1 < size { give(py, result(), self.caller, rank + 1, comm) } else { result().map(drop) }
    }
}
