//! Collective communication of Python objects (MPI 5.0 chapter 6).
//!
//! The size of an object's message is known to its owner only. Where one block of fixed size tells everybody all sizes,
//! small objects travel in that block, and one collective operation does it (`bcast`, `allgather`). Where a message
//! goes to one process only, it travels as a point-to-point message on a private communicator, which tells its own size
//! (`gather`, `scatter`, `alltoall`, and everything on intercommunicators).
//!
//! A rank that has no object to give, because it does not pickle for example, gives a notice of its error instead
//! (`object::notice`), raises the error, and takes its part in everything else: nobody waits for a message that will
//! never come, and the next operation does not find one of this.

use std::sync::Arc;

use pyo3::exceptions::{PyRuntimeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::PyList;

use super::{Comm, lock};
use crate::ffi::*;
use crate::gil;
use crate::handle::Handle as _;
use crate::large::Numbers;
use crate::object::context::{self, Private};
use crate::object::describe::describe_collective;
use crate::object::habit;
use crate::object::notice::notice;
use crate::object::transfer::{self, Outbox, Route};
use crate::object::{self, Memory, Parcel};
use crate::patience::{self, met};

/// Bytes that the first part of a `bcast` carries, the size in front included, where the last message was longer than fits
/// into [`SHORT_BLOCK`], but not much.
const BCAST_BLOCK: usize = 1024;

/// The same in all other cases: what the embedded engine moves together with the notice that it is there.
const SHORT_BLOCK: usize = 96;

/// Bytes that each rank contributes to the first part of an `allgather`, the size in front included.
const GATHER_BLOCK: usize = 128;

/// Bytes of the size in front.
const SIZE: usize = 8;

/// Where the size in front says which operation it is of.
const OPERATION_AT: u32 = 56;

/// An operation on objects. Every message says which it is of, so that ranks that are in different ones find out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Operation {
    Bcast = 1,
    Gather,
    Scatter,
    Allgather,
    Alltoall,
    Reduce,
    Allreduce,
    Scan,
    Exscan,
    NeighborAllgather,
    NeighborAlltoall,
}

impl Operation {
    const ALL: [Operation; 11] = [
        Operation::Bcast,
        Operation::Gather,
        Operation::Scatter,
        Operation::Allgather,
        Operation::Alltoall,
        Operation::Reduce,
        Operation::Allreduce,
        Operation::Scan,
        Operation::Exscan,
        Operation::NeighborAllgather,
        Operation::NeighborAlltoall,
    ];

    /// The name of the method.
    pub(super) fn name(self) -> &'static str {
        match self {
            Operation::Bcast => "bcast",
            Operation::Gather => "gather",
            Operation::Scatter => "scatter",
            Operation::Allgather => "allgather",
            Operation::Alltoall => "alltoall",
            Operation::Reduce => "reduce",
            Operation::Allreduce => "allreduce",
            Operation::Scan => "scan",
            Operation::Exscan => "exscan",
            Operation::NeighborAllgather => "neighbor_allgather",
            Operation::NeighborAlltoall => "neighbor_alltoall",
        }
    }

    /// What a number from another rank stands for.
    fn named(number: u32) -> &'static str {
        let known = Operation::ALL.into_iter().find(|operation| *operation as u32 == number);
        known.map_or("another operation", Operation::name)
    }
}

/// Bits of a tag that say which operation the message is of; the others count the operations on the communicator. Tags go no
/// further than those that every library has.
const OPERATION_BITS: u32 = 4;
const CALLS: u32 = 1 << 11;

/// The method that the user called, and the rank of this process: what a notice names.
#[derive(Clone, Copy)]
pub(super) struct Caller {
    pub(super) operation: Operation,
    pub(super) rank: c_int,
    /// The number of the operation among those with messages on the private communicator.
    call: u32,
}

impl Caller {
    /// The same, for an operation with messages on a private communicator.
    pub(super) fn with(self, private: &Private) -> Caller {
        Caller { call: private.call % CALLS, ..self }
    }

    /// The tag of its messages. Each pair's order tells them apart, too; this finds out that the ranks are in different ones.
    pub(super) fn tag(self) -> c_int {
        (self.call << OPERATION_BITS | self.operation as u32) as c_int
    }

    /// Raises that a message of `peer` with a tag is of another operation.
    fn check_tag(self, tag: c_int, peer: c_int) -> PyResult<()> {
        if tag == self.tag() { Ok(()) } else { Err(self.other_tag(tag, peer)) }
    }

    #[cold]
    fn other_tag(self, tag: c_int, peer: c_int) -> PyErr {
        let tag = tag.unsigned_abs();
        let (name, theirs) = (self.operation.name(), Operation::named(tag & ((1 << OPERATION_BITS) - 1)));
        let (number, call) = (tag >> OPERATION_BITS, self.call);
        // Of operations with messages, all ranks have the same numbers.
        let numbered = |number: u32| match tag >> OPERATION_BITS == call {
            true => String::new(),
            false => format!(", number {} on this communicator", number + 1),
        };
        let (there, here) = (numbered(number), numbered(call));
        PyRuntimeError::new_err(format!(
            "{name}: the ranks disagree: the message of rank {peer} is of {theirs}{there}, and rank {} is in {name}{here}; all ranks \
             of a communicator must call the same operations in the same order",
            self.rank
        ))
    }

    /// Raises that a block of `peer` is of another operation.
    #[inline]
    fn check_block(self, block: &[u8], peer: c_int) -> PyResult<()> {
        let number = (first_word(block) >> OPERATION_AT) as u32;
        if number == self.operation as u32 { Ok(()) } else { Err(self.other_block(number, peer)) }
    }

    #[cold]
    fn other_block(self, number: u32, peer: c_int) -> PyErr {
        self.other_tag((self.call << OPERATION_BITS | number) as c_int, peer)
    }
}

/// A parcel of an object, or of the error in its place, which is returned too.
pub(super) fn pack<'py>(
    py: Python<'py>,
    object: PyResult<Bound<'py, PyAny>>,
    caller: Caller,
) -> (Parcel, Option<PyErr>) {
    match object.and_then(|object| object::dump(&object)) {
        Ok(parcel) => (parcel, None),
        Err(error) => (notice(py, caller.operation.name(), caller.rank, &error), Some(error)),
    }
}

/// Writes the size, the operation and, when it fits, the whole of a message into a block.
fn fill_block(block: &mut [u8], parcel: &Parcel, operation: Operation) {
    let word = parcel.bytes() as u64 | (operation as u64) << OPERATION_AT;
    block[..SIZE].copy_from_slice(&word.to_ne_bytes());
    if let Some(bytes) = parcel.contiguous()
        && let Some(room) = block[SIZE..].get_mut(..bytes.len())
    {
        room.copy_from_slice(bytes);
    }
}

fn first_word(block: &[u8]) -> u64 {
    block.first_chunk().map_or(0, |bytes| u64::from_ne_bytes(*bytes))
}

/// The size that a block tells.
fn block_size(block: &[u8]) -> usize {
    usize::try_from(first_word(block) & ((1 << OPERATION_AT) - 1)).unwrap_or(usize::MAX)
}

/// The small message in a block.
fn in_block(block: &[u8], size: usize) -> &[u8] {
    block.get(SIZE..).and_then(|rest| rest.get(..size)).unwrap_or_default()
}

/// Whether a message travels inside a block.
fn fits(size: usize, block: usize) -> bool {
    size <= block - SIZE
}

/// A copy of an object as another rank would receive it.
fn round_trip<'py>(parcel: &Parcel, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
    match parcel.contiguous() {
        Some(bytes) if fits(bytes.len(), BCAST_BLOCK) => object::load_short(py, bytes),
        _ => object::load(py, parcel.copy()?),
    }
}

/// Runs `call` on a communicator's raw collective without the interpreter lock.
fn bcast_bytes(py: Python<'_>, address: *mut c_void, bytes: usize, root: c_int, comm: MPI_Comm) -> PyResult<()> {
    // SAFETY: the caller's memory has room for that many bytes.
    gil::brief(py, || unsafe { MPI_Bcast_c(address, bytes as MPI_Count, MPI_BYTE, root, comm) })
}

/// Makes the first part of the next `bcast` long enough for a message of this size, where that is worth it; `length` is
/// what it was for this one.
fn expect_again(comm: MPI_Comm, size: usize, length: usize) -> PyResult<()> {
    let long = fits(size, BCAST_BLOCK) && !fits(size, SHORT_BLOCK);
    let wanted = if long { BCAST_BLOCK } else { SHORT_BLOCK };
    if wanted == length { Ok(()) } else { habit::set_block(comm, wanted) }
}

/// One object from `root` to every rank, on an intracommunicator; `object` is looked at on `root` only.
pub(super) fn bcast<'py>(
    py: Python<'py>,
    object: PyResult<Bound<'py, PyAny>>,
    caller: Caller,
    root: c_int,
    comm: MPI_Comm,
) -> PyResult<Bound<'py, PyAny>> {
    let mut room = [0; BCAST_BLOCK];
    let length = habit::block(comm, SHORT_BLOCK)?.min(BCAST_BLOCK);
    let block = &mut room[..length];
    if caller.rank != root {
        bcast_bytes(py, block.as_mut_ptr().cast(), length, root, comm)?;
        caller.check_block(block, root)?;
        let size = block_size(block);
        expect_again(comm, size, length)?;
        if fits(size, length) {
            return object::load_short(py, in_block(block, size));
        }
        let memory = Memory::for_message(size)?;
        bcast_bytes(py, memory.address(), size, root, comm)?;
        return object::load(py, memory);
    }
    let given = object.as_ref().ok().cloned();
    let (parcel, failure) = pack(py, object, caller);
    // Whether a message fits is told by its size alone: the others know no more.
    let fits = fits(parcel.bytes(), length);
    let small = if fits && parcel.contiguous().is_none() { Some(parcel.copy()?) } else { None };
    fill_block(block, &parcel, caller.operation);
    if let Some(small) = small {
        // SAFETY: `copy` has filled all of the memory.
        block[SIZE..SIZE + small.length()].copy_from_slice(unsafe { small.bytes() });
    }
    bcast_bytes(py, block.as_mut_ptr().cast(), length, root, comm)?;
    expect_again(comm, parcel.bytes(), length)?;
    if !fits {
        describe_collective(&parcel, |address, count, datatype| {
            // SAFETY: the parcel holds the memory and outlives the call; a root's buffer is only read.
            gil::brief(py, || unsafe { MPI_Bcast_c(address.cast_mut(), count, datatype, root, comm) })
        })??;
    }
    match (failure, given) {
        (None, Some(object)) => Ok(object),
        (Some(error), _) => Err(error),
        (None, None) => Ok(py.None().into_bound(py)),
    }
}

/// The first part of an `allgather`: every rank knows the sizes of all messages, and the small ones have arrived.
pub(super) struct Announced {
    parcel: Parcel,
    /// Why this rank's parcel is a notice.
    pub(super) failure: Option<PyErr>,
    blocks: Vec<u8>,
    rest: Rest,
}

impl Announced {
    /// Tells all ranks what this one has, and hears it from them.
    ///
    /// # Errors
    /// `MPI.Exception`; `ValueError` when the messages together are larger than memory can be.
    pub(super) fn by_all<'py>(
        object: &Bound<'py, PyAny>,
        caller: Caller,
        size: c_int,
        comm: MPI_Comm,
    ) -> PyResult<Announced> {
        let py = object.py();
        let (parcel, failure) = pack(py, Ok(object.clone()), caller);
        let mut mine = [0; GATHER_BLOCK];
        fill_block(&mut mine, &parcel, caller.operation);
        if parcel.contiguous().is_none() && fits(parcel.bytes(), GATHER_BLOCK) {
            let memory = parcel.copy()?;
            // SAFETY: `copy` has filled all of the memory.
            mine[SIZE..SIZE + memory.length()].copy_from_slice(unsafe { memory.bytes() });
        }
        let mut blocks = vec![0; GATHER_BLOCK * size.unsigned_abs() as usize];
        let (from, to) = (mine.as_ptr(), blocks.as_mut_ptr());
        // SAFETY: both buffers have room for what the counts say.
        gil::brief(py, || unsafe {
            let bytes = GATHER_BLOCK as MPI_Count;
            MPI_Allgather_c(from.cast(), bytes, MPI_BYTE, to.cast(), bytes, MPI_BYTE, comm)
        })?;
        for (peer, block) in (0..).zip(blocks.chunks_exact(GATHER_BLOCK)) {
            caller.check_block(block, peer)?;
        }
        let rest = Rest::of(blocks.chunks_exact(GATHER_BLOCK).map(block_size))?;
        Ok(Announced { parcel, failure, blocks, rest })
    }

    /// How many bytes have not arrived yet.
    pub(super) fn missing(&self) -> usize {
        self.rest.total
    }

    /// The message of this rank, for another way to send it.
    pub(super) fn into_own(self) -> (Parcel, Option<PyErr>) {
        (self.parcel, self.failure)
    }

    /// Exchanges the rest, and returns the objects of all ranks.
    ///
    /// # Errors
    /// `MPI.Exception`; why this rank has no object; a notice; whatever unpickling raises.
    pub(super) fn exchange<'py>(mut self, py: Python<'py>, comm: MPI_Comm) -> PyResult<Vec<Bound<'py, PyAny>>> {
        let memory = if self.rest.total > 0 { Some(self.rest.exchange(py, &self.parcel, comm)?) } else { None };
        if let Some(error) = self.failure.take() {
            return Err(error);
        }
        let mut objects = Vec::with_capacity(self.rest.counts.len());
        for (rank, block) in self.blocks.chunks_exact(GATHER_BLOCK).enumerate() {
            let size = block_size(block);
            objects.push(match &memory {
                Some(memory) if !fits(size, GATHER_BLOCK) => {
                    let from = self.rest.places[rank] as usize;
                    object::load_from(py, memory, from, from + size)?
                }
                _ => object::load_short(py, in_block(block, size))?,
            });
        }
        Ok(objects)
    }
}

/// The messages of an `allgather` that did not fit into the blocks: where each lies in the memory they arrive in.
struct Rest {
    counts: Numbers<MPI_Count>,
    places: Numbers<MPI_Aint>,
    total: usize,
}

impl Rest {
    fn of(sizes: impl Iterator<Item = usize>) -> PyResult<Rest> {
        let ranks = sizes.size_hint().0;
        let (mut counts, mut places, mut total) = (Vec::with_capacity(ranks), Vec::with_capacity(ranks), 0_usize);
        for size in sizes {
            let size = if fits(size, GATHER_BLOCK) { 0 } else { size };
            counts.push(size as MPI_Count);
            places.push(total as MPI_Aint);
            total = total
                .checked_add(size)
                .and_then(|end| end.checked_next_multiple_of(64))
                .ok_or_else(|| PyValueError::new_err("allgather: the objects are too large for one message"))?;
        }
        Ok(Rest { counts: Numbers::new(counts), places: Numbers::new(places), total })
    }

    fn exchange(&self, py: Python<'_>, parcel: &Parcel, comm: MPI_Comm) -> PyResult<Arc<Memory>> {
        let memory = Memory::for_message(self.total)?;
        let (to, counts, places) = (memory.address(), self.counts.array(), self.places.array());
        describe_collective(parcel, |address, count, datatype| {
            let count = if fits(parcel.bytes(), GATHER_BLOCK) { 0 } else { count };
            // SAFETY: the parcel holds what is sent; the memory has room for all counts at their places.
            gil::brief(py, || unsafe { MPI_Allgatherv_c(address, count, datatype, to, counts, places, MPI_BYTE, comm) })
        })??;
        Ok(Arc::new(memory))
    }
}

/// Sends an object to one rank of a private communicator; a notice of the error when there is none, which is then raised.
pub(super) fn give<'py>(
    py: Python<'py>,
    object: PyResult<Bound<'py, PyAny>>,
    caller: Caller,
    peer: c_int,
    comm: MPI_Comm,
) -> PyResult<()> {
    give_parcel(py, pack(py, object, caller), caller, peer, comm)
}

/// As [`give`], for what [`pack`] returned.
pub(super) fn give_parcel(
    py: Python<'_>,
    (parcel, failure): (Parcel, Option<PyErr>),
    caller: Caller,
    peer: c_int,
    comm: MPI_Comm,
) -> PyResult<()> {
    transfer::send(py, &parcel, Route { comm, peer, tag: caller.tag() })?;
    failure.map_or(Ok(()), Err)
}

/// Receives an object from one rank of a private communicator.
///
/// # Errors
/// `RuntimeError` when that rank is in another operation; as [`transfer::receive`].
pub(super) fn take<'py>(py: Python<'py>, caller: Caller, peer: c_int, comm: MPI_Comm) -> PyResult<Bound<'py, PyAny>> {
    let mut status = MPI_Status::EMPTY;
    let object = transfer::receive(py, Route { comm, peer, tag: MPI_ANY_TAG }, &mut status);
    // Nothing has come where the receive itself has failed.
    if status.MPI_TAG == MPI_ANY_TAG { object } else { caller.check_tag(status.MPI_TAG, peer).and(object) }
}

/// Starts to send one object to each of several ranks, notices of the error when there are none.
///
/// Returns the sends, this rank's own parcel and the first error.
fn give_each<'py>(
    py: Python<'py>,
    objects: PyResult<Vec<Bound<'py, PyAny>>>,
    caller: Caller,
    peers: c_int,
    comm: MPI_Comm,
    own: Option<c_int>,
) -> PyResult<(Outbox, Option<Parcel>, Option<PyErr>)> {
    let mut outbox = Outbox::default();
    let (mut kept, mut failure) = (None, None);
    for peer in 0..peers {
        let object = match &objects {
            Ok(objects) => objects.get(peer as usize).cloned().ok_or_else(|| PyValueError::new_err("no such item")),
            Err(error) => Err(error.clone_ref(py)),
        };
        let (parcel, error) = pack(py, object, caller);
        if failure.is_none() {
            failure = error;
        }
        if own == Some(peer) {
            kept = Some(parcel);
        } else {
            outbox.post(py, parcel, Route { comm, peer, tag: caller.tag() })?;
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
    /// The private communicators of this one, for one operation on all ranks: it is counted.
    pub(super) fn private(&self, py: Python<'_>) -> PyResult<Private> {
        self.meet(py)?;
        context::private(py, self.raw(), self.inter_now()?)
    }

    /// Waits for all ranks, where a wait inside of an operation could not be interrupted.
    fn meet(&self, py: Python<'_>) -> PyResult<()> {
        if !patience::are_wanted() {
            return Ok(());
        }
        gil::brief(py, || met(self.raw(), || MPI_SUCCESS))
    }

    /// This process in a call of the user's, for an operation on all ranks without messages of its own.
    pub(super) fn caller_of_all(&self, py: Python<'_>, operation: Operation) -> PyResult<Caller> {
        self.meet(py)?;
        self.caller(operation)
    }

    /// This process in a call of the user's.
    pub(super) fn caller(&self, operation: Operation) -> PyResult<Caller> {
        Ok(Caller { operation, rank: self.rank_now()?, call: 0 })
    }

    /// The same in an operation with messages, and the private communicator for them.
    fn with_messages(&self, py: Python<'_>, operation: Operation) -> PyResult<(Caller, MPI_Comm)> {
        let private = self.private(py)?;
        Ok((self.caller(operation)?.with(&private), private.comm))
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
        caller: Caller,
        comm: MPI_Comm,
    ) -> PyResult<Bound<'py, PyList>> {
        let result = PyList::empty(py);
        let mut failure = None;
        let mut own = own;
        for peer in 0..self.peers_now()? {
            let object = match own.take_if(|own| own.0 == peer) {
                Some((_, parcel)) => parcel.and_then(|parcel| round_trip(&parcel, py)),
                None => take(py, caller, peer, comm),
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
        gil::brief(py, || unsafe { met(comm, || MPI_Barrier(comm)) })
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
            return bcast(py, Ok(obj.clone()), self.caller_of_all(py, Operation::Bcast)?, root, self.raw());
        }
        let (caller, comm) = self.with_messages(py, Operation::Bcast)?;
        let nothing = py.None().into_bound(py);
        match root {
            MPI_PROC_NULL => Ok(nothing),
            MPI_ROOT => {
                let peers = self.peers_now()?;
                let copies = vec![obj.clone(); peers.unsigned_abs() as usize];
                let (outbox, _, failure) = give_each(py, Ok(copies), caller, peers, comm, None)?;
                outbox.wait(py)?;
                failure.map_or(Ok(nothing), Err)
            }
            root => take(py, caller, root, comm),
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
        let (caller, comm) = self.with_messages(py, Operation::Gather)?;
        if self.inter_now()? {
            return match root {
                MPI_PROC_NULL => Ok(None),
                MPI_ROOT => self.gather_at_root(py, None, caller, comm).map(Some),
                root => give(py, Ok(sendobj.clone()), caller, root, comm).map(|()| None),
            };
        }
        if caller.rank != root {
            return give(py, Ok(sendobj.clone()), caller, root, comm).map(|()| None);
        }
        let own = Some((root, object::dump(sendobj)));
        self.gather_at_root(py, own, caller, comm).map(Some)
    }

    /// scatter(self, sendobj: Sequence[Any] | None, root: int = 0) -> Any
    ///
    /// Scatter a sequence with one object for each rank from `root`; every rank returns its own.
    ///
    /// Waits for `root`. Raises ValueError on `root` for a sequence of another length, and RuntimeError on the other ranks
    /// then.
    #[pyo3(signature = (sendobj, root = 0))]
    fn scatter<'py>(&self, sendobj: &Bound<'py, PyAny>, root: c_int) -> PyResult<Bound<'py, PyAny>> {
        let py = sendobj.py();
        self.check_root(py, root)?;
        let (caller, comm) = self.with_messages(py, Operation::Scatter)?;
        let own = if self.inter_now()? { None } else { Some(caller.rank) };
        let nothing = || py.None().into_bound(py);
        if root == MPI_PROC_NULL {
            return Ok(nothing());
        }
        if root != MPI_ROOT && own != Some(root) {
            return take(py, caller, root, comm);
        }
        let peers = self.peers_now()?;
        let objects = one_each(sendobj, peers);
        let (outbox, kept, failure) = give_each(py, objects, caller, peers, comm, own)?;
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
            let announced = Announced::by_all(
                sendobj,
                self.caller_of_all(py, Operation::Allgather)?,
                self.size_now()?,
                self.raw(),
            )?;
            return PyList::new(py, announced.exchange(py, self.raw())?);
        }
        let (caller, comm) = self.with_messages(py, Operation::Allgather)?;
        let peers = self.peers_now()?;
        let copies = vec![sendobj.clone(); peers.unsigned_abs() as usize];
        let (outbox, _, failure) = give_each(py, Ok(copies), caller, peers, comm, None)?;
        let result = self.gather_at_root(py, None, caller, comm);
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
        let (caller, comm) = self.with_messages(py, Operation::Alltoall)?;
        let own = if self.inter_now()? { None } else { Some(caller.rank) };
        let peers = self.peers_now()?;
        let objects = one_each(sendobj, peers);
        let (outbox, kept, failure) = give_each(py, objects, caller, peers, comm, own)?;
        let result = self.gather_at_root(py, own.zip(kept.map(Ok)), caller, comm);
        outbox.wait(py)?;
        failure.map_or(result, Err)
    }
}
