//! The two sides of a collective operation, by who takes part in it how.
//!
//! On an intracommunicator the root sends or receives for everybody and may keep its own part in place. On an
//! intercommunicator one group has a root (`MPI.ROOT` there, `MPI.PROC_NULL` elsewhere in its group), and the other group names
//! that root by its rank.

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

use super::vector::integers;
use super::{Form, Message};
use crate::buffer::Access;
use crate::comm::Comm;
use crate::constants::is_in_place;
use crate::error::check;
use crate::ffi::*;
use crate::gil;
use crate::handle::Handle as _;
use crate::large::{Array, Numbers};
use crate::patience::met;

/// What a communicator looks like from here.
struct Shape {
    inter: bool,
    rank: c_int,
    /// Ranks of the own group.
    size: usize,
    /// Ranks that data goes to and comes from: the remote group of an intercommunicator.
    peers: usize,
}

impl Shape {
    #[inline]
    fn of(comm: &Comm) -> PyResult<Shape> {
        let (inter, rank, size, peers) = (comm.inter_now()?, comm.rank_now()?, comm.size_now()?, comm.peers_now()?);
        let unsigned = |number| usize::try_from(number).unwrap_or(0);
        Ok(Shape { inter, rank, size: unsigned(size), peers: unsigned(peers) })
    }

    /// Whether this process is where a rooted operation begins or ends.
    fn is_root(&self, root: c_int) -> bool {
        if self.inter { root == MPI_ROOT || root == MPI_PROC_NULL } else { root == self.rank }
    }
}

/// An operation on the null communicator is MPI's error to report: the buffers are not looked at.
fn is_null(comm: &Comm) -> bool {
    comm.raw() == MPI_COMM_NULL
}

/// The buffer of a broadcast: read at the root, written elsewhere.
pub(crate) fn bcast(buffer: &Bound<'_, PyAny>, root: c_int, comm: &Comm) -> PyResult<Message> {
    if is_null(comm) {
        return Ok(Message::nothing());
    }
    let access = if Shape::of(comm)?.is_root(root) { Access::Read } else { Access::Write };
    Message::parse(buffer, access, root, 0)
}

/// Gather and Gatherv: everybody sends one part, the root receives all.
pub(crate) fn gather<R: Form>(
    send: &Bound<'_, PyAny>,
    receive: &Bound<'_, PyAny>,
    root: c_int,
    comm: &Comm,
) -> PyResult<(Message, R)> {
    if is_null(comm) {
        return Ok((Message::nothing(), R::nothing()));
    }
    let shape = Shape::of(comm)?;
    if !shape.is_root(root) {
        return Ok((Message::parse(send, Access::Read, root, 0)?, R::nothing()));
    }
    let receive = R::parse(receive, Access::Write, root, shape.peers)?;
    let send = match () {
        () if shape.inter => Message::nothing(),
        () if is_in_place(send) => Message::in_place(),
        () => Message::parse(send, Access::Read, root, 0)?,
    };
    Ok((send, receive))
}

/// Scatter and Scatterv: the root sends a part to everybody.
pub(crate) fn scatter<S: Form>(
    send: &Bound<'_, PyAny>,
    receive: &Bound<'_, PyAny>,
    root: c_int,
    comm: &Comm,
) -> PyResult<(S, Message)> {
    if is_null(comm) {
        return Ok((S::nothing(), Message::nothing()));
    }
    let shape = Shape::of(comm)?;
    if !shape.is_root(root) {
        return Ok((S::nothing(), Message::parse(receive, Access::Write, root, 0)?));
    }
    let send = S::parse(send, Access::Read, root, shape.peers)?;
    let receive = match () {
        () if shape.inter => Message::nothing(),
        () if is_in_place(receive) => Message::in_place(),
        () => Message::parse(receive, Access::Write, root, 0)?,
    };
    Ok((send, receive))
}

/// Allgather and Allgatherv: everybody receives everybody's part.
pub(crate) fn allgather<R: Form>(
    send: &Bound<'_, PyAny>,
    receive: &Bound<'_, PyAny>,
    comm: &Comm,
) -> PyResult<(Message, R)> {
    if is_null(comm) {
        return Ok((Message::nothing(), R::nothing()));
    }
    let shape = Shape::of(comm)?;
    let receive = R::parse(receive, Access::Write, 0, shape.peers)?;
    let in_place = !shape.inter && is_in_place(send);
    let send = if in_place { Message::in_place() } else { Message::parse(send, Access::Read, 0, 0)? };
    Ok((send, receive))
}

/// Alltoall, Alltoallv and Alltoallw: everybody has a part for everybody.
pub(crate) fn alltoall<F: Form>(send: &Bound<'_, PyAny>, receive: &Bound<'_, PyAny>, comm: &Comm) -> PyResult<(F, F)> {
    if is_null(comm) {
        return Ok((F::nothing(), F::nothing()));
    }
    let shape = Shape::of(comm)?;
    let receive = F::parse(receive, Access::Write, 0, shape.peers)?;
    let in_place = !shape.inter && is_in_place(send);
    let send = if in_place { F::in_place() } else { F::parse(send, Access::Read, 0, shape.peers)? };
    Ok((send, receive))
}

/// The two buffers of a reduction, which agree in count and datatype.
pub(crate) struct Reduction {
    /// What goes in; `MPI_IN_PLACE` where the result's buffer holds it.
    pub(crate) send: Message,
    /// Where the result goes; nothing where none is due.
    pub(crate) receive: Message,
}

impl Reduction {
    fn nothing() -> Reduction {
        Reduction { send: Message::nothing(), receive: Message::nothing() }
    }

    /// Result first, so that its errors come first; then what goes in, or in place.
    fn new(
        send: &Bound<'_, PyAny>,
        receive: &Bound<'_, PyAny>,
        allow_in_place: bool,
        blocks: usize,
    ) -> PyResult<Reduction> {
        if allow_in_place && is_in_place(send) {
            let receive = Message::parse(receive, Access::Write, 0, blocks)?;
            return Ok(Reduction { send: Message::in_place(), receive });
        }
        let receive = Message::parse(receive, Access::Write, 0, 0)?;
        let send = Message::parse(send, Access::Read, 0, blocks)?;
        let reduction = Reduction { send, receive };
        reduction.check()?;
        Ok(reduction)
    }

    fn check(&self) -> PyResult<()> {
        check_datatypes(&self.send, &self.receive)?;
        if self.send.count != self.receive.count {
            return Err(PyValueError::new_err(format!(
                "mismatch in send count {} and receive count {}",
                self.send.count, self.receive.count
            )));
        }
        Ok(())
    }

    /// The entries MPI is told about: those of the side that has some.
    pub(crate) fn count(&self) -> MPI_Count {
        self.described().count
    }

    /// Their datatype.
    pub(crate) fn datatype(&self) -> MPI_Datatype {
        self.described().datatype
    }

    fn described(&self) -> &Message {
        if self.receive.address.is_null() && self.receive.count == 0 && !self.send.is_in_place() {
            &self.send
        } else {
            &self.receive
        }
    }
}

fn check_datatypes(send: &Message, receive: &Message) -> PyResult<()> {
    if send.datatype == receive.datatype {
        return Ok(());
    }
    Err(PyValueError::new_err(format!(
        "mismatch in send and receive MPI datatypes: {} and {}; both buffers of a reduction need the same element type",
        crate::spec::datatype_name(send.datatype),
        crate::spec::datatype_name(receive.datatype)
    )))
}

/// Reduce: only the root has a result.
pub(crate) fn reduce(
    send: &Bound<'_, PyAny>,
    receive: &Bound<'_, PyAny>,
    root: c_int,
    comm: &Comm,
) -> PyResult<Reduction> {
    if is_null(comm) {
        return Ok(Reduction::nothing());
    }
    let shape = Shape::of(comm)?;
    if !shape.is_root(root) {
        return Ok(Reduction { send: Message::parse(send, Access::Read, root, 0)?, receive: Message::nothing() });
    }
    if shape.inter {
        return Ok(Reduction { send: Message::nothing(), receive: Message::parse(receive, Access::Write, root, 0)? });
    }
    Reduction::new(send, receive, true, 0)
}

/// Allreduce: everybody has the result.
pub(crate) fn allreduce(send: &Bound<'_, PyAny>, receive: &Bound<'_, PyAny>, comm: &Comm) -> PyResult<Reduction> {
    if is_null(comm) {
        return Ok(Reduction::nothing());
    }
    Reduction::new(send, receive, !Shape::of(comm)?.inter, 0)
}

/// Scan and Exscan: everybody has the result of the ranks up to, or before, its own.
pub(crate) fn scan(send: &Bound<'_, PyAny>, receive: &Bound<'_, PyAny>, comm: &Comm) -> PyResult<Reduction> {
    if is_null(comm) {
        return Ok(Reduction::nothing());
    }
    Reduction::new(send, receive, true, 0)
}

/// `Op.Reduce_local`: both buffers are local.
pub(crate) fn local(input: &Bound<'_, PyAny>, input_output: &Bound<'_, PyAny>) -> PyResult<Reduction> {
    Reduction::new(input, input_output, false, 0)
}

/// Reduce_scatter_block: everybody has an equal block of the result.
pub(crate) fn reduce_scatter_block(
    send: &Bound<'_, PyAny>,
    receive: &Bound<'_, PyAny>,
    comm: &Comm,
) -> PyResult<Reduction> {
    if is_null(comm) {
        return Ok(Reduction::nothing());
    }
    let shape = Shape::of(comm)?;
    Reduction::new(send, receive, !shape.inter, shape.size)
}

/// Reduce_scatter: everybody has a block of the result, of a size of its own.
pub(crate) struct ReduceScatter {
    /// The buffers.
    pub(crate) sides: Reduction,
    counts: Numbers<MPI_Count>,
}

impl ReduceScatter {
    /// The size of each rank's block.
    pub(crate) fn counts(&self) -> Array<MPI_Count> {
        self.counts.array()
    }

    /// Parses the buffers. `counts` left out are what everybody receives here: they are gathered, which waits for all ranks.
    pub(crate) fn new(
        send: &Bound<'_, PyAny>,
        receive: &Bound<'_, PyAny>,
        counts: Option<&Bound<'_, PyAny>>,
        comm: &Comm,
    ) -> PyResult<ReduceScatter> {
        if is_null(comm) {
            return Ok(ReduceScatter { sides: Reduction::nothing(), counts: Numbers::new([]) });
        }
        let py = send.py();
        let shape = Shape::of(comm)?;
        let size = shape.size;
        let receive = Message::parse(receive, Access::Write, 0, 0)?;
        let in_place = !shape.inter && is_in_place(send);
        let send = if in_place { Message::in_place() } else { Message::parse(send, Access::Read, 0, 0)? };
        let counts = match counts {
            Some(counts) => integers(counts, size, "recvcounts")?,
            None if shape.inter || in_place => {
                return Err(pyo3::exceptions::PyTypeError::new_err(
                    "recvcounts must be given for an operation in place or on an intercommunicator",
                ));
            }
            None => gather_counts(py, receive.count, size, comm.raw())?,
        };
        let reduction = Reduction { send, receive };
        let total: i128 = counts.iter().map(|count| i128::from(*count)).sum();
        if in_place {
            let held = reduction.receive.count;
            if i128::from(held) != total {
                return Err(PyValueError::new_err(format!("mismatch in receive count {held} and sum(counts) {total}")));
            }
        } else {
            check_datatypes(&reduction.send, &reduction.receive)?;
            let given = reduction.send.count;
            if i128::from(given) != total {
                return Err(PyValueError::new_err(format!("mismatch in send count {given} and sum(counts) {total}")));
            }
            let rank = shape.rank;
            let mine = counts[usize::try_from(rank).unwrap_or(0)];
            let held = reduction.receive.count;
            if held != mine {
                return Err(PyValueError::new_err(format!(
                    "mismatch in receive count {held} and counts[{rank}] {mine}"
                )));
            }
        }
        Ok(ReduceScatter { sides: reduction, counts: Numbers::new(counts) })
    }
}

/// Everybody's `mine`.
fn gather_counts(py: Python<'_>, mine: MPI_Count, size: usize, comm: MPI_Comm) -> PyResult<Box<[MPI_Count]>> {
    let mut counts = vec![0; size].into_boxed_slice();
    let all = counts.as_mut_ptr();
    // SAFETY: one count goes out of `mine` and one per rank into `all`, which has room for the group; both outlive the call.
    gil::brief(py, || unsafe {
        met(comm, || MPI_Allgather_c((&raw const mine).cast(), 1, MPI_COUNT, all.cast(), 1, MPI_COUNT, comm))
    })?;
    Ok(counts)
}

/// How many neighbours send to this rank, and how many it sends to.
fn neighbors(comm: &Comm) -> PyResult<(usize, usize)> {
    let comm = comm.raw();
    let (mut topology, mut sources, mut destinations) = (MPI_UNDEFINED, 0, 0);
    // SAFETY: all out-pointers are valid; the handle is checked by MPI.
    unsafe {
        check(MPI_Topo_test(comm, &mut topology))?;
        match topology {
            MPI_CART => {
                let mut dimensions = 0;
                check(MPI_Cartdim_get(comm, &mut dimensions))?;
                sources = 2 * dimensions;
                destinations = sources;
            }
            MPI_GRAPH => {
                let mut rank = 0;
                check(MPI_Comm_rank(comm, &mut rank))?;
                check(MPI_Graph_neighbors_count(comm, rank, &mut sources))?;
                destinations = sources;
            }
            MPI_DIST_GRAPH => {
                let mut weighted = 0;
                check(MPI_Dist_graph_neighbors_count(comm, &mut sources, &mut destinations, &mut weighted))?;
            }
            _ => {}
        }
    }
    Ok((usize::try_from(sources).unwrap_or(0), usize::try_from(destinations).unwrap_or(0)))
}

/// Neighbor_allgather(v): one part goes to all neighbours, one comes from each.
pub(crate) fn neighbor_allgather<R: Form>(
    send: &Bound<'_, PyAny>,
    receive: &Bound<'_, PyAny>,
    comm: &Comm,
) -> PyResult<(Message, R)> {
    if is_null(comm) {
        return Ok((Message::nothing(), R::nothing()));
    }
    let (sources, _) = neighbors(comm)?;
    let send = Message::parse(send, Access::Read, 0, 0)?;
    Ok((send, R::parse(receive, Access::Write, 0, sources)?))
}

/// Neighbor_alltoall(v,w): a part goes to each neighbour, one comes from each.
pub(crate) fn neighbor_alltoall<F: Form>(
    send: &Bound<'_, PyAny>,
    receive: &Bound<'_, PyAny>,
    comm: &Comm,
) -> PyResult<(F, F)> {
    if is_null(comm) {
        return Ok((F::nothing(), F::nothing()));
    }
    let (sources, destinations) = neighbors(comm)?;
    let send = F::parse(send, Access::Read, 0, destinations)?;
    Ok((send, F::parse(receive, Access::Write, 0, sources)?))
}
