//! Collective communication of Python objects (MPI 5.0 chapter 6, by pickle).
//!
//! The size of a pickled object is known to its owner only. Where one block of fixed size tells everybody all sizes,
//! small objects travel in that block, and one collective operation does it (`bcast`, `allgather`). Where a message
//! goes to one process only, it travels as a point-to-point message on a private communicator, which tells its own size
//! (`gather`, `scatter`, `alltoall`, and everything on intercommunicators).
//!
//! When an object does not pickle, its owner raises that error, and the ranks that would have got the object raise one
//! that names the owner: nobody waits for a message that will never come.

use pyo3::exceptions::{PyRuntimeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::PyList;

use super::{Comm, lock};
use crate::ffi::*;
use crate::gil;
use crate::handle::Handle as _;
use crate::object::context::{self, Private};
use crate::object::transfer::{self, Outbox, Route};
use crate::object::{self, Block, Memory, Parcel};

/// Bytes that the first part of a `bcast` carries, the size in front included.
const BCAST_BLOCK: usize = 1024;

/// Bytes that each rank contributes to the first part of an `allgather`, the size in front included.
const GATHER_BLOCK: usize = 128;

/// Bytes of the size in front.
const SIZE: usize = 8;

/// Stands for the size of an object that its owner could not pickle.
const FAILED: u64 = u64::MAX;

/// The tag of all messages on private communicators: each pair's order tells them apart.
const TAG: c_int = 0;

/// The receiver's error for an object that never came.
pub(super) fn not_sent(operation: &str, rank: c_int) -> PyErr {
    PyRuntimeError::new_err(format!("{operation}: rank {rank} could not pickle its object, see its own error"))
}

/// Writes the size and, when it fits, the whole of a message into a block.
fn fill_block(block: &mut [u8], parcel: Option<&Parcel>) {
    let size = parcel.map_or(FAILED, |parcel| parcel.bytes() as u64);
    block[..SIZE].copy_from_slice(&size.to_ne_bytes());
    if let Some(bytes) = parcel.and_then(Parcel::contiguous)
        && let Some(room) = block[SIZE..].get_mut(..bytes.len())
    {
        room.copy_from_slice(bytes);
    }
}

/// The size that a block tells; `None` for an object that could not be pickled.
fn block_size(block: &[u8]) -> Option<usize> {
    let bytes = block.get(..SIZE)?.try_into().ok()?;
    let size = u64::from_ne_bytes(bytes);
    if size == FAILED { None } else { usize::try_from(size).ok() }
}

/// Copies a small message out of its block.
fn from_block(block: &[u8], size: usize) -> PyResult<Memory> {
    let memory = Memory::for_message(size)?;
    if let Some(bytes) = block.get(SIZE..SIZE + size) {
        // SAFETY: the memory has room for `size` bytes and is nobody else's.
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), memory.address().cast(), size) };
    }
    Ok(memory)
}

/// Whether a message of this size travels inside a block.
fn fits(size: usize, block: usize) -> bool {
    size <= block - SIZE
}

/// A copy of an object as another rank would receive it.
fn round_trip<'py>(parcel: &Parcel, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
    let memory = Memory::for_message(parcel.bytes())?;
    parcel.copy_to(&memory);
    object::load(py, memory)
}

/// Runs `call` on a communicator's raw collective without the interpreter lock.
fn bcast_bytes(py: Python<'_>, address: *mut c_void, bytes: usize, root: c_int, comm: MPI_Comm) -> PyResult<()> {
    // SAFETY: the caller's memory has room for that many bytes.
    gil::blocking(py, || unsafe { MPI_Bcast_c(address, bytes as MPI_Count, MPI_BYTE, root, comm) })
}

/// One object from `root` to every rank, on an intracommunicator; `object` is looked at on `root` only.
pub(super) fn bcast<'py>(
    object: &Bound<'py, PyAny>,
    rank: c_int,
    root: c_int,
    comm: MPI_Comm,
) -> PyResult<Bound<'py, PyAny>> {
    let py = object.py();
    let mut block = [0; BCAST_BLOCK];
    if rank != root {
        bcast_bytes(py, block.as_mut_ptr().cast(), BCAST_BLOCK, root, comm)?;
        let size = block_size(&block).ok_or_else(|| not_sent("bcast", root))?;
        if fits(size, BCAST_BLOCK) {
            return object::load(py, from_block(&block, size)?);
        }
        let memory = Memory::for_message(size)?;
        bcast_bytes(py, memory.address(), size, root, comm)?;
        return object::load(py, memory);
    }
    let parcel = object::dump(object);
    fill_block(&mut block, parcel.as_ref().ok());
    bcast_bytes(py, block.as_mut_ptr().cast(), BCAST_BLOCK, root, comm)?;
    let parcel = parcel?;
    if !fits(parcel.bytes(), BCAST_BLOCK) || parcel.contiguous().is_none() {
        parcel.describe_collective(|address, count, datatype| {
            // SAFETY: the parcel holds the memory and outlives the call; a root's buffer is only read.
            gil::blocking(py, || unsafe { MPI_Bcast_c(address.cast_mut(), count, datatype, root, comm) })
        })??;
    }
    Ok(object.clone())
}

/// What every rank of an intracommunicator gave, by rank.
pub(super) fn allgather<'py>(object: &Bound<'py, PyAny>, size: c_int, comm: MPI_Comm) -> PyResult<Bound<'py, PyList>> {
    let py = object.py();
    let parcel = object::dump(object);
    let mut mine = [0; GATHER_BLOCK];
    fill_block(&mut mine, parcel.as_ref().ok());
    let ranks = size.unsigned_abs() as usize;
    let mut blocks = vec![0; GATHER_BLOCK * ranks];
    let (from, to) = (mine.as_ptr(), blocks.as_mut_ptr());
    // SAFETY: both buffers have room for what the counts say.
    gil::blocking(py, || unsafe {
        let bytes = GATHER_BLOCK as MPI_Count;
        MPI_Allgather_c(from.cast(), bytes, MPI_BYTE, to.cast(), bytes, MPI_BYTE, comm)
    })?;
    let parcel = parcel?;
    let sizes: Vec<usize> = blocks
        .chunks_exact(GATHER_BLOCK)
        .enumerate()
        .map(|(rank, block)| block_size(block).ok_or_else(|| not_sent("allgather", rank as c_int)))
        .collect::<PyResult<_>>()?;
    let rest = Rest::of(&sizes)?;
    let block = if rest.total > 0 { Some(rest.exchange(py, &parcel, comm)?) } else { None };
    let result = PyList::empty(py);
    for (rank, (bytes, size)) in blocks.chunks_exact(GATHER_BLOCK).zip(&sizes).enumerate() {
        let object = match &block {
            Some(block) if !fits(*size, GATHER_BLOCK) => {
                let from = rest.places[rank] as usize;
                object::load_from(block, from, from + size)?
            }
            _ => object::load(py, from_block(bytes, *size)?)?,
        };
        result.append(object)?;
    }
    Ok(result)
}

/// The messages of an `allgather` that did not fit into the blocks: where each lies in the memory they arrive in.
struct Rest {
    counts: Vec<MPI_Count>,
    places: Vec<MPI_Aint>,
    total: usize,
}

impl Rest {
    fn of(sizes: &[usize]) -> PyResult<Rest> {
        let mut rest = Rest { counts: Vec::new(), places: Vec::new(), total: 0 };
        for size in sizes {
            let size = if fits(*size, GATHER_BLOCK) { 0 } else { *size };
            rest.counts.push(size as MPI_Count);
            rest.places.push(rest.total as MPI_Aint);
            rest.total = rest
                .total
                .checked_add(size)
                .and_then(|end| end.checked_next_multiple_of(64))
                .ok_or_else(|| PyValueError::new_err("allgather: the objects are too large for one message"))?;
        }
        Ok(rest)
    }

    fn exchange<'py>(&self, py: Python<'py>, parcel: &Parcel, comm: MPI_Comm) -> PyResult<Bound<'py, Block>> {
        let memory = Memory::for_message(self.total)?;
        let (to, counts, places) = (memory.address(), self.counts.as_ptr(), self.places.as_ptr());
        parcel.describe_collective(|address, count, datatype| {
            let count = if fits(parcel.bytes(), GATHER_BLOCK) { 0 } else { count };
            // SAFETY: the parcel holds what is sent; the memory has room for all counts at their places.
            gil::blocking(py, || unsafe {
                MPI_Allgatherv_c(address, count, datatype, to, counts, places, MPI_BYTE, comm)
            })
        })??;
        Block::object(py, memory)
    }
}

/// Sends an object to one rank of a private communicator, an empty message when it does not pickle.
pub(super) fn give(object: &Bound<'_, PyAny>, peer: c_int, comm: MPI_Comm) -> PyResult<()> {
    let py = object.py();
    let to = Route { comm, peer, tag: TAG };
    match object::dump(object) {
        Ok(parcel) => transfer::send(py, &parcel, to),
        Err(error) => {
            transfer::send(py, &Parcel::empty(), to)?;
            Err(error)
        }
    }
}

/// Receives an object from one rank of a private communicator.
pub(super) fn take<'py>(py: Python<'py>, operation: &str, peer: c_int, comm: MPI_Comm) -> PyResult<Bound<'py, PyAny>> {
    let mut status = MPI_Status::EMPTY;
    let memory = transfer::receive(py, Route { comm, peer, tag: TAG }, &mut status)?;
    if memory.length() == 0 {
        return Err(not_sent(operation, peer));
    }
    object::load(py, memory)
}

/// Sends one object to each of several ranks, and then reports the first that did not pickle.
fn give_each<'py>(
    py: Python<'py>,
    objects: impl Iterator<Item = PyResult<Bound<'py, PyAny>>>,
    comm: MPI_Comm,
    own: Option<c_int>,
) -> PyResult<(Outbox, Option<Parcel>, Option<PyErr>)> {
    let mut outbox = Outbox::default();
    let (mut kept, mut failure) = (None, None);
    for (peer, object) in (0..).zip(objects) {
        let parcel = match object.and_then(|object| object::dump(&object)) {
            Ok(parcel) if own == Some(peer) => {
                kept = Some(parcel);
                continue;
            }
            Ok(parcel) => parcel,
            Err(error) => {
                failure.get_or_insert(error);
                Parcel::empty()
            }
        };
        if own != Some(peer) {
            outbox.post(py, parcel, Route { comm, peer, tag: TAG })?;
        }
    }
    Ok((outbox, kept, failure))
}

/// The objects of a sequence that must have one for each rank; nothing stands for as many times `None`.
fn one_each<'py>(sendobj: &Bound<'py, PyAny>, count: c_int) -> PyResult<Vec<Bound<'py, PyAny>>> {
    let wanted = count.unsigned_abs() as usize;
    if sendobj.is_none() {
        return Ok(vec![sendobj.clone(); wanted]);
    }
    let objects: Vec<_> = sendobj.try_iter()?.collect::<PyResult<_>>()?;
    if objects.len() == wanted {
        return Ok(objects);
    }
    Err(PyValueError::new_err(format!("expecting {wanted} items, one for each rank, got {}", objects.len())))
}

impl Comm {
    /// The private communicators of this one.
    pub(super) fn private(&self, py: Python<'_>) -> PyResult<Private> {
        context::private(py, self.raw(), self.inter_now()?)
    }

    /// Raises what the library says of a root that is not a rank.
    pub(super) fn check_root(&self, py: Python<'_>, root: c_int) -> PyResult<()> {
        if self.inter_now()? {
            let good = root == MPI_ROOT || root == MPI_PROC_NULL || (0..self.peers_now()?).contains(&root);
            return if good { Ok(()) } else { self.wrong_root(py, root) };
        }
        if (0..self.size_now()?).contains(&root) { Ok(()) } else { self.wrong_root(py, root) }
    }

    #[cold]
    fn wrong_root(&self, py: Python<'_>, root: c_int) -> PyResult<()> {
        let comm = self.raw();
        let mut nothing = 0_u8;
        // An empty broadcast with that root fails before it communicates, with the library's own words.
        bcast_bytes(py, (&raw mut nothing).cast(), 0, root, comm)?;
        Err(PyValueError::new_err(format!("root {root} is not a rank of the communicator")))
    }

    fn gather_at_root<'py>(
        &self,
        py: Python<'py>,
        own: Option<(c_int, PyResult<Parcel>)>,
        comm: MPI_Comm,
    ) -> PyResult<Bound<'py, PyList>> {
        let result = PyList::empty(py);
        let mut failure = None;
        let mut own = own;
        for peer in 0..self.peers_now()? {
            let object = match own.take_if(|own| own.0 == peer) {
                Some((_, parcel)) => parcel.and_then(|parcel| round_trip(&parcel, py)),
                None => take(py, "gather", peer, comm),
            };
            // Every message is received, come what may: the next collective must not find this one's.
            match object {
                Ok(object) => result.append(object)?,
                Err(error) => drop(failure.get_or_insert(error)),
            }
        }
        failure.map_or(Ok(result), Err)
    }
}

#[pymethods]
impl Comm {
    /// barrier(self) -> None
    ///
    /// Wait until every rank has called it.
    fn barrier(&self, py: Python<'_>) -> PyResult<()> {
        let comm = self.raw();
        // SAFETY: passes a handle.
        gil::blocking(py, || unsafe { MPI_Barrier(comm) })
    }

    /// bcast(self, obj: Any, root: int = 0) -> Any
    ///
    /// Broadcast an object from `root`; every rank returns it.
    ///
    /// Waits for `root`. Raises what pickling raises on `root`, and RuntimeError on the other ranks then.
    #[pyo3(signature = (obj, root = 0))]
    fn bcast<'py>(&self, obj: &Bound<'py, PyAny>, root: c_int) -> PyResult<Bound<'py, PyAny>> {
        let py = obj.py();
        self.check_root(py, root)?;
        if !self.inter_now()? {
            let _turn = lock::hold(py, self.raw(), "bcast")?;
            return bcast(obj, self.rank_now()?, root, self.raw());
        }
        let comm = self.private(py)?.comm;
        let nothing = py.None().into_bound(py);
        match root {
            MPI_PROC_NULL => Ok(nothing),
            MPI_ROOT => {
                let copies = std::iter::repeat_n(obj.clone(), self.peers_now()?.unsigned_abs() as usize);
                let (outbox, _, failure) = give_each(py, copies.map(Ok), comm, None)?;
                outbox.wait(py)?;
                failure.map_or(Ok(nothing), Err)
            }
            root => take(py, "bcast", root, comm),
        }
    }

    /// gather(self, sendobj: Any, root: int = 0) -> list[Any] | None
    ///
    /// Gather one object from every rank in a list on `root`; the other ranks return `None`.
    ///
    /// Waits on `root` for all ranks. Raises what pickling raises on the object's owner, and RuntimeError on `root` then.
    #[pyo3(signature = (sendobj, root = 0))]
    fn gather<'py>(&self, sendobj: &Bound<'py, PyAny>, root: c_int) -> PyResult<Option<Bound<'py, PyList>>> {
        let py = sendobj.py();
        self.check_root(py, root)?;
        let comm = self.private(py)?.comm;
        if self.inter_now()? {
            return match root {
                MPI_PROC_NULL => Ok(None),
                MPI_ROOT => self.gather_at_root(py, None, comm).map(Some),
                root => give(sendobj, root, comm).map(|()| None),
            };
        }
        if self.rank_now()? != root {
            return give(sendobj, root, comm).map(|()| None);
        }
        let own = Some((root, object::dump(sendobj)));
        self.gather_at_root(py, own, comm).map(Some)
    }

    /// scatter(self, sendobj: Sequence[Any] | None, root: int = 0) -> Any
    ///
    /// Scatter a sequence with one object for each rank from `root`; every rank returns its own.
    ///
    /// Waits for `root`. Raises ValueError on `root` for a sequence of another length.
    #[pyo3(signature = (sendobj, root = 0))]
    fn scatter<'py>(&self, sendobj: &Bound<'py, PyAny>, root: c_int) -> PyResult<Bound<'py, PyAny>> {
        let py = sendobj.py();
        self.check_root(py, root)?;
        let comm = self.private(py)?.comm;
        let own = if self.inter_now()? { None } else { Some(self.rank_now()?) };
        let nothing = || py.None().into_bound(py);
        if root == MPI_PROC_NULL {
            return Ok(nothing());
        }
        if root != MPI_ROOT && own != Some(root) {
            return take(py, "scatter", root, comm);
        }
        // A sequence of the wrong length reaches every rank as an object that did not pickle.
        let peers = self.peers_now()?;
        let (objects, wrong) = match one_each(sendobj, peers) {
            Ok(objects) => (objects, None),
            Err(error) => (Vec::new(), Some(error)),
        };
        if let Some(error) = wrong {
            let mut outbox = Outbox::default();
            for peer in (0..peers).filter(|peer| own != Some(*peer)) {
                outbox.post(py, Parcel::empty(), Route { comm, peer, tag: TAG })?;
            }
            outbox.wait(py)?;
            return Err(error);
        }
        let (outbox, kept, failure) = give_each(py, objects.into_iter().map(Ok), comm, own)?;
        outbox.wait(py)?;
        match (failure, kept) {
            (Some(error), _) => Err(error),
            (None, Some(parcel)) => round_trip(&parcel, py),
            (None, None) => Ok(nothing()),
        }
    }

    /// allgather(self, sendobj: Any) -> list[Any]
    ///
    /// Gather one object from every rank in a list on every rank.
    ///
    /// Waits for all ranks. Raises what pickling raises on the object's owner, and RuntimeError on the other ranks then.
    fn allgather<'py>(&self, sendobj: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyList>> {
        let py = sendobj.py();
        if !self.inter_now()? {
            return allgather(sendobj, self.size_now()?, self.raw());
        }
        let comm = self.private(py)?.comm;
        let peers = self.peers_now()?.unsigned_abs() as usize;
        let copies = std::iter::repeat_n(sendobj.clone(), peers);
        let (outbox, _, failure) = give_each(py, copies.map(Ok), comm, None)?;
        let result = self.gather_at_root(py, None, comm);
        outbox.wait(py)?;
        failure.map_or(result, Err)
    }

    /// alltoall(self, sendobj: Sequence[Any] | None) -> list[Any]
    ///
    /// Give every rank one object of a sequence; return what all ranks gave to this one, by rank.
    ///
    /// Waits for all ranks. Raises ValueError for a sequence of another length.
    fn alltoall<'py>(&self, sendobj: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyList>> {
        let py = sendobj.py();
        let comm = self.private(py)?.comm;
        let own = if self.inter_now()? { None } else { Some(self.rank_now()?) };
        let objects = one_each(sendobj, self.peers_now()?)?;
        let (outbox, kept, failure) = give_each(py, objects.into_iter().map(Ok), comm, own)?;
        let result = self.gather_at_root(py, own.zip(kept.map(Ok)), comm);
        outbox.wait(py)?;
        failure.map_or(result, Err)
    }
}
