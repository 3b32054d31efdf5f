//! Process topologies (MPI 5.0 §8): grids, graphs, distributed graphs. Ranks are never reordered.

use std::collections::HashMap;
use std::ffi::c_int;
use std::sync::Arc;

use phalanx_engine::coll::{Arg, Neighbours, RecvBlocks, SendBlocks};
use phalanx_engine::comm::Comm;
use phalanx_engine::{Error, ErrorClass, RecvBuf, SendBuf};
use phalanx_mpi_macros::mpi_entry;

use crate::comm::{CommObject, CommRef, adopt};
use crate::consts;
use crate::entry::{Done, Failure, wrong};
use crate::handle::RawComm;
use crate::info::InfoRef;
use crate::param::{self, In, Out, OutArray};
use crate::topo_dims::balanced;

/// What a communicator knows about its neighbourhoods.
#[derive(Clone, Debug)]
pub(crate) enum Topology {
    /// A grid: extent and periodicity of each dimension.
    Cart { dims: Vec<c_int>, periods: Vec<bool> },
    /// A graph that every process knows: ends of the neighbour lists, and the lists.
    Graph { index: Vec<c_int>, edges: Vec<c_int> },
    /// This process's neighbours, the weights of the edges if there are any, and what fails in collectives if some process
    /// names an edge that its other end does not.
    Distributed {
        sources: Vec<c_int>,
        destinations: Vec<c_int>,
        weights: Option<(Vec<c_int>, Vec<c_int>)>,
        lopsided: Option<Error>,
    },
}

fn topology_error(comm: &CommObject, what: &str) -> Failure {
    wrong(ErrorClass::Topology, format!("{} has no {what} topology", comm.comm.title()))
}

fn cart(comm: &CommObject) -> Result<(&[c_int], &[bool]), Failure> {
    match comm.topology() {
        Some(Topology::Cart { dims, periods }) => Ok((dims, periods)),
        _ => Err(topology_error(comm, "Cartesian")),
    }
}

fn graph(comm: &CommObject) -> Result<(&[c_int], &[c_int]), Failure> {
    match comm.topology() {
        Some(Topology::Graph { index, edges }) => Ok((index, edges)),
        _ => Err(topology_error(comm, "graph")),
    }
}

fn length(n: c_int, what: &str) -> Result<usize, Failure> {
    param::length(n, ErrorClass::Arg, what)
}

fn room<T: Copy>(array: &OutArray<T>, max: c_int, needed: usize, what: &str) -> Done {
    if (max.max(0) as usize) < needed {
        return Err(wrong(ErrorClass::Arg, format!("there is room for {max} {what}; there are {needed}")));
    }
    array.need(needed, what)
}

fn store(array: &OutArray<c_int>, values: &[c_int]) {
    values.iter().enumerate().for_each(|(i, v)| array.set(i, *v));
}

/// The coordinates of a rank; the last dimension varies fastest.
fn coordinates(dims: &[c_int], rank: c_int) -> Vec<c_int> {
    let mut left = rank;
    let mut coords: Vec<c_int> = dims
        .iter()
        .rev()
        .map(|dim| {
            let coord = left % dim;
            left /= dim;
            coord
        })
        .collect();
    coords.reverse();
    coords
}

/// The rank at coordinates, wrapped around where the dimension is periodic; `None` outside the grid.
fn rank_at(dims: &[c_int], periods: &[bool], coords: &[c_int]) -> Option<c_int> {
    dims.iter().zip(periods).zip(coords).try_fold(0, |rank, ((dim, periodic), coord)| {
        let coord = if *periodic { coord.rem_euclid(*dim) } else { *coord };
        (0..*dim).contains(&coord).then(|| rank * dim + coord)
    })
}

/// Number of processes of a grid, which must not exceed those there are.
fn grid_size(comm: &CommObject, dims: &[c_int]) -> Result<c_int, Failure> {
    if let Some(bad) = dims.iter().find(|d| **d <= 0) {
        return Err(wrong(ErrorClass::Dims, format!("a dimension of the grid is {bad}; each must be positive")));
    }
    let size = comm.comm.size();
    match dims.iter().try_fold(1, |n: c_int, d| n.checked_mul(*d)).filter(|n| *n <= size) {
        Some(n) => Ok(n),
        None => {
            Err(wrong(ErrorClass::Dims, format!("the grid {dims:?} needs more than the {size} processes there are")))
        }
    }
}

fn need_intra(comm: &CommObject) -> Done {
    if comm.comm.is_inter() {
        return Err(wrong(ErrorClass::Comm, "a topology needs an intracommunicator"));
    }
    Ok(())
}

/// Makes the communicator of the first `n` processes, with a topology.
fn first_ranks(comm: &CommObject, n: c_int, topology: Topology) -> Result<RawComm, Failure> {
    let color = if comm.comm.rank() < n { 0 } else { consts::UNDEFINED };
    with_topology(comm, comm.comm.split(color, comm.comm.rank())?, topology)
}

fn with_topology(parent: &CommObject, new: Option<Comm>, topology: Topology) -> Result<RawComm, Failure> {
    let Some(new) = new else {
        return Ok(RawComm::NULL);
    };
    let raw = adopt(new, Some(parent))?;
    crate::comm::find(raw)?.set_topology(topology);
    Ok(raw)
}

/// Which kind of topology a communicator has.
#[mpi_entry(MPI_Topo_test)]
fn topo_test(comm: CommRef, status: Out<c_int>) -> Done {
    status.set(match comm.topology() {
        Some(Topology::Cart { .. }) => consts::CART,
        Some(Topology::Graph { .. }) => consts::GRAPH,
        Some(Topology::Distributed { .. }) => consts::DIST_GRAPH,
        None => consts::UNDEFINED,
    });
    Ok(())
}

/// Chooses the extents of a grid that are 0, so that they are close to each other.
#[mpi_entry(MPI_Dims_create, anytime)]
fn dims_create(nnodes: c_int, ndims: c_int, dims: OutArray<c_int>) -> Done {
    let n = length(ndims, "dimensions")?;
    dims.need(n, "the array of dimensions")?;
    let given: Vec<c_int> = (0..n).map(|i| dims.get(i)).collect();
    store(&dims, &balanced(nnodes, &given)?);
    Ok(())
}

/// Makes a grid. All processes must call it; blocks.
#[mpi_entry(MPI_Cart_create, composed)]
fn cart_create(
    comm: CommRef,
    ndims: c_int,
    dims: In<c_int>,
    periods: In<c_int>,
    reorder: c_int,
    new: Out<RawComm>,
) -> Done {
    let _ = reorder;
    new.set(RawComm::NULL);
    need_intra(&comm)?;
    let n = length(ndims, "dimensions")?;
    let dims = dims.read(n, "the array of dimensions")?.to_vec();
    let periods = periods.read(n, "the array of periods")?.iter().map(|p| *p != 0).collect();
    let size = grid_size(&comm, &dims)?;
    new.set(first_ranks(&comm, size, Topology::Cart { dims, periods })?);
    Ok(())
}

/// The rank that this process would best have in a grid.
#[mpi_entry(MPI_Cart_map)]
fn cart_map(comm: CommRef, ndims: c_int, dims: In<c_int>, periods: In<c_int>, newrank: Out<c_int>) -> Done {
    let n = length(ndims, "dimensions")?;
    periods.read(n, "the array of periods")?;
    let size = grid_size(&comm, dims.read(n, "the array of dimensions")?)?;
    newrank.set(if comm.comm.rank() < size { comm.comm.rank() } else { consts::UNDEFINED });
    Ok(())
}

/// Number of dimensions.
#[mpi_entry(MPI_Cartdim_get)]
fn cartdim_get(comm: CommRef, ndims: Out<c_int>) -> Done {
    ndims.set(cart(&comm)?.0.len() as c_int);
    Ok(())
}

/// The grid, and the coordinates of this process.
#[mpi_entry(MPI_Cart_get)]
fn cart_get(
    comm: CommRef,
    maxdims: c_int,
    dims_out: OutArray<c_int>,
    periods_out: OutArray<c_int>,
    coords: OutArray<c_int>,
) -> Done {
    let (dims, periods) = cart(&comm)?;
    room(&dims_out, maxdims, dims.len(), "dimensions")?;
    periods_out.need(dims.len(), "the array of periods")?;
    coords.need(dims.len(), "the array of coordinates")?;
    store(&dims_out, dims);
    periods.iter().enumerate().for_each(|(i, p)| periods_out.set(i, (*p).into()));
    store(&coords, &coordinates(dims, comm.comm.rank()));
    Ok(())
}

/// The rank at coordinates.
#[mpi_entry(MPI_Cart_rank)]
fn cart_rank(comm: CommRef, coords: In<c_int>, rank: Out<c_int>) -> Done {
    let (dims, periods) = cart(&comm)?;
    let coords = coords.read(dims.len(), "the array of coordinates")?;
    let found = rank_at(dims, periods, coords)
        .ok_or_else(|| wrong(ErrorClass::Arg, format!("the coordinates {coords:?} lie outside the grid {dims:?}")))?;
    rank.set(found);
    Ok(())
}

/// The coordinates of a rank.
#[mpi_entry(MPI_Cart_coords)]
fn cart_coords(comm: CommRef, rank: c_int, maxdims: c_int, coords: OutArray<c_int>) -> Done {
    let (dims, _) = cart(&comm)?;
    room(&coords, maxdims, dims.len(), "coordinates")?;
    need_rank(&comm, rank)?;
    store(&coords, &coordinates(dims, rank));
    Ok(())
}

fn need_rank(comm: &CommObject, rank: c_int) -> Done {
    let size = comm.comm.size();
    if (0..size).contains(&rank) {
        return Ok(());
    }
    Err(wrong(ErrorClass::Rank, format!("rank {rank} does not exist in a communicator of {size} processes")))
}

/// The rank that is `step` further along a dimension, or `MPI_PROC_NULL`.
fn shifted(dims: &[c_int], periods: &[bool], at: &[c_int], axis: usize, step: i64) -> c_int {
    let mut coords = at.to_vec();
    let moved = i64::from(coords[axis]) + step;
    let dim = i64::from(dims[axis]);
    let wrapped = if periods[axis] { moved.rem_euclid(dim) } else { moved };
    coords[axis] = c_int::try_from(wrapped).unwrap_or(c_int::MIN);
    rank_at(dims, periods, &coords).filter(|_| (0..dim).contains(&wrapped)).unwrap_or(consts::PROC_NULL)
}

/// The ranks to receive from and to send to for a shift along one dimension.
#[mpi_entry(MPI_Cart_shift)]
fn cart_shift(comm: CommRef, direction: c_int, disp: c_int, source: Out<c_int>, dest: Out<c_int>) -> Done {
    let (dims, periods) = cart(&comm)?;
    let axis = usize::try_from(direction).ok().filter(|d| *d < dims.len()).ok_or_else(|| {
        wrong(ErrorClass::Dims, format!("direction {direction} does not exist in a grid of {} dimensions", dims.len()))
    })?;
    let at = coordinates(dims, comm.comm.rank());
    source.set(shifted(dims, periods, &at, axis, -i64::from(disp)));
    dest.set(shifted(dims, periods, &at, axis, disp.into()));
    Ok(())
}

/// Divides a grid into grids of fewer dimensions. All processes must call it; blocks.
#[mpi_entry(MPI_Cart_sub, composed)]
fn cart_sub(comm: CommRef, remain: In<c_int>, new: Out<RawComm>) -> Done {
    new.set(RawComm::NULL);
    let (dims, periods) = cart(&comm)?;
    let remain = remain.read(dims.len(), "the array of remaining dimensions")?;
    let at = coordinates(dims, comm.comm.rank());
    let mut color = 0;
    let (mut kept, mut kept_periods) = (Vec::new(), Vec::new());
    for (i, dim) in dims.iter().enumerate() {
        if remain[i] != 0 {
            kept.push(*dim);
            kept_periods.push(periods[i]);
        } else {
            color = color * dim + at[i];
        }
    }
    let part = comm.comm.split(color, comm.comm.rank())?;
    new.set(with_topology(&comm, part, Topology::Cart { dims: kept, periods: kept_periods })?);
    Ok(())
}

/// Checks a graph and copies it: `index` ends the neighbour list of each node.
fn read_graph(
    comm: &CommObject,
    nnodes: c_int,
    index: &In<c_int>,
    edges: &In<c_int>,
) -> Result<(Vec<c_int>, Vec<c_int>), Failure> {
    let n = length(nnodes, "nodes")?;
    if nnodes > comm.comm.size() {
        return Err(wrong(
            ErrorClass::Arg,
            format!("the graph has {nnodes} nodes; there are {} processes", comm.comm.size()),
        ));
    }
    let index = index.read(n, "the array of indices")?.to_vec();
    if index.first().is_some_and(|i| *i < 0) || index.windows(2).any(|w| w[0] > w[1]) {
        return Err(wrong(ErrorClass::Arg, "the array of indices must not decrease"));
    }
    let count = index.last().map_or(0, |last| *last as usize);
    let edges = edges.read(count, "the array of edges")?.to_vec();
    if let Some(bad) = edges.iter().find(|e| !(0..nnodes).contains(*e)) {
        return Err(wrong(ErrorClass::Arg, format!("an edge leads to node {bad}, which does not exist")));
    }
    Ok((index, edges))
}

/// Makes a graph. All processes must call it; blocks.
#[mpi_entry(MPI_Graph_create, composed)]
fn graph_create(
    comm: CommRef,
    nnodes: c_int,
    index: In<c_int>,
    edges: In<c_int>,
    reorder: c_int,
    new: Out<RawComm>,
) -> Done {
    let _ = reorder;
    new.set(RawComm::NULL);
    need_intra(&comm)?;
    let (index, edges) = read_graph(&comm, nnodes, &index, &edges)?;
    new.set(first_ranks(&comm, nnodes, Topology::Graph { index, edges })?);
    Ok(())
}

/// The rank that this process would best have in a graph.
#[mpi_entry(MPI_Graph_map)]
fn graph_map(comm: CommRef, nnodes: c_int, index: In<c_int>, edges: In<c_int>, newrank: Out<c_int>) -> Done {
    read_graph(&comm, nnodes, &index, &edges)?;
    newrank.set(if comm.comm.rank() < nnodes { comm.comm.rank() } else { consts::UNDEFINED });
    Ok(())
}

/// Numbers of nodes and edges.
#[mpi_entry(MPI_Graphdims_get)]
fn graphdims_get(comm: CommRef, nnodes: Out<c_int>, nedges: Out<c_int>) -> Done {
    let (index, edges) = graph(&comm)?;
    nnodes.set(index.len() as c_int);
    nedges.set(edges.len() as c_int);
    Ok(())
}

/// The graph.
#[mpi_entry(MPI_Graph_get)]
fn graph_get(
    comm: CommRef,
    maxindex: c_int,
    maxedges: c_int,
    index_out: OutArray<c_int>,
    edges_out: OutArray<c_int>,
) -> Done {
    let (index, edges) = graph(&comm)?;
    room(&index_out, maxindex, index.len(), "indices")?;
    room(&edges_out, maxedges, edges.len(), "edges")?;
    store(&index_out, index);
    store(&edges_out, edges);
    Ok(())
}

fn graph_neighbours(comm: &CommObject, rank: c_int) -> Result<&[c_int], Failure> {
    let (index, edges) = graph(comm)?;
    need_rank(comm, rank)?;
    let node = rank as usize;
    let from = if node == 0 { 0 } else { index[node - 1] as usize };
    Ok(&edges[from..index[node] as usize])
}

/// Number of a node's neighbours.
#[mpi_entry(MPI_Graph_neighbors_count)]
fn graph_neighbors_count(comm: CommRef, rank: c_int, n: Out<c_int>) -> Done {
    n.set(graph_neighbours(&comm, rank)?.len() as c_int);
    Ok(())
}

/// A node's neighbours.
#[mpi_entry(MPI_Graph_neighbors)]
fn graph_neighbors(comm: CommRef, rank: c_int, max: c_int, out: OutArray<c_int>) -> Done {
    let found = graph_neighbours(&comm, rank)?;
    room(&out, max, found.len(), "neighbours")?;
    store(&out, found);
    Ok(())
}

/// Weights: `None` for `MPI_UNWEIGHTED`.
fn weights(array: &In<c_int>, n: usize) -> Result<Option<Vec<c_int>>, Failure> {
    match array.address() {
        consts::UNWEIGHTED => Ok(None),
        consts::WEIGHTS_EMPTY => Ok(Some(Vec::new())),
        _ => Ok(Some(array.read(n, "the array of weights")?.to_vec())),
    }
}

fn check_ranks(comm: &CommObject, ranks: &[c_int]) -> Done {
    ranks.iter().try_for_each(|rank| need_rank(comm, *rank))
}

/// Asks the other processes how often they name this one: an edge that only one of its ends knows would be waited for for ever
/// there. Collective.
fn need_both_ends(
    comm: &Comm,
    sources: &[c_int],
    destinations: &[c_int],
) -> Result<phalanx_engine::Result<()>, Failure> {
    let times = |list: &[c_int]| {
        let mut times = vec![0i32; comm.size() as usize];
        list.iter().for_each(|rank| times[*rank as usize] += 1);
        times
    };
    let (from, to) = (times(sources), times(destinations));
    let mut told = vec![0i32; from.len()];
    comm.alltoall(Arg::Buf(SendBuf::of(&to).into()), RecvBuf::of(&mut told).into())?;
    let differs = from.iter().zip(&told).enumerate().find(|(_, (mine, theirs))| mine != theirs);
    Ok(differs.map_or(Ok(()), |(rank, (mine, theirs))| {
        let text = format!(
            "rank {rank} is {mine} times among the sources of rank {me}, but has that {theirs} times among its destinations; \
             each edge has to be named at both ends",
            me = comm.rank()
        );
        Err(Error::new(ErrorClass::Topology, text))
    }))
}

/// Makes a graph of which each process names its own neighbours. All processes must call it; blocks.
#[mpi_entry(MPI_Dist_graph_create_adjacent, composed)]
fn dist_graph_create_adjacent(
    comm: CommRef,
    indegree: c_int,
    sources: In<c_int>,
    source_weights: In<c_int>,
    outdegree: c_int,
    destinations: In<c_int>,
    dest_weights: In<c_int>,
    info: InfoRef,
    reorder: c_int,
    new: Out<RawComm>,
) -> Done {
    let _ = (info, reorder);
    new.set(RawComm::NULL);
    need_intra(&comm)?;
    let (n, m) = (length(indegree, "sources")?, length(outdegree, "destinations")?);
    let sources = sources.read(n, "the array of sources")?.to_vec();
    let destinations = destinations.read(m, "the array of destinations")?.to_vec();
    check_ranks(&comm, &sources)?;
    check_ranks(&comm, &destinations)?;
    let weights = match (weights(&source_weights, n)?, weights(&dest_weights, m)?) {
        (Some(inward), Some(outward)) => Some((inward, outward)),
        _ => None,
    };
    // Other libraries make such a graph, and programs ask for its neighbours: only collectives cannot use it.
    let named = need_both_ends(&comm.comm, &sources, &destinations)?;
    let lopsided = match comm.comm.settle("Dist_graph_create_adjacent", named) {
        Ok(()) => None,
        Err(error) if error.class() == ErrorClass::Topology => Some(error),
        Err(error) => return Err(error.into()),
    };
    let topology = Topology::Distributed { sources, destinations, weights, lopsided };
    new.set(with_topology(&comm, Some(comm.comm.dup()?), topology)?);
    Ok(())
}

/// Makes a graph of which each process names any edges. All processes must call it; blocks.
#[mpi_entry(MPI_Dist_graph_create, composed)]
fn dist_graph_create(
    comm: CommRef,
    n: c_int,
    sources: In<c_int>,
    degrees: In<c_int>,
    destinations: In<c_int>,
    edge_weights: In<c_int>,
    info: InfoRef,
    reorder: c_int,
    new: Out<RawComm>,
) -> Done {
    let _ = (info, reorder);
    new.set(RawComm::NULL);
    need_intra(&comm)?;
    let n = length(n, "source nodes")?;
    let sources = sources.read(n, "the array of sources")?;
    let degrees = degrees.read(n, "the array of degrees")?;
    if let Some(bad) = degrees.iter().find(|d| **d < 0) {
        return Err(wrong(ErrorClass::Arg, format!("a degree is {bad}; it must not be negative")));
    }
    let count = degrees.iter().map(|d| *d as usize).sum();
    let destinations = destinations.read(count, "the array of destinations")?;
    check_ranks(&comm, sources)?;
    check_ranks(&comm, destinations)?;
    let own = weights(&edge_weights, count)?;
    let weighted = own.is_some();
    let starts =
        sources.iter().zip(degrees).flat_map(|(source, degree)| std::iter::repeat_n(*source, *degree as usize));
    let mut outgoing = Vec::new();
    let mut incoming = Vec::new();
    for (i, (source, destination)) in starts.zip(destinations).enumerate() {
        let weight = own.as_ref().and_then(|w| w.get(i)).copied().unwrap_or(1);
        outgoing.push((source, [*destination, weight]));
        incoming.push((*destination, [source, weight]));
    }
    let (destinations, out_weights) = distribute(&comm.comm, &outgoing)?;
    let (sources, in_weights) = distribute(&comm.comm, &incoming)?;
    let topology = Topology::Distributed {
        sources,
        destinations,
        weights: weighted.then_some((in_weights, out_weights)),
        lopsided: None,
    };
    new.set(with_topology(&comm, Some(comm.comm.dup()?), topology)?);
    Ok(())
}

/// Sends each end of an edge to the process it is about; gives the neighbours and weights that came here.
fn distribute(comm: &Comm, items: &[(c_int, [c_int; 2])]) -> Result<(Vec<c_int>, Vec<c_int>), Failure> {
    let size = comm.size() as usize;
    let mut out: Vec<Vec<i32>> = vec![Vec::new(); size];
    for (to, item) in items {
        if let Some(list) = out.get_mut(*to as usize) {
            list.extend(item);
        }
    }
    let counts: Vec<i64> = out.iter().map(|list| list.len() as i64).collect();
    let mut in_counts = vec![0i64; size];
    comm.alltoall(Arg::Buf(SendBuf::of(&counts).into()), RecvBuf::of(&mut in_counts).into())?;
    let offsets = |counts: &[i64]| -> Vec<i64> {
        counts
            .iter()
            .scan(0, |sum, count| {
                let at = *sum;
                *sum += count;
                Some(at)
            })
            .collect()
    };
    let flat = out.concat();
    let mut received = vec![0i32; in_counts.iter().sum::<i64>() as usize];
    let (displs, in_displs) = (offsets(&counts), offsets(&in_counts));
    comm.alltoallv(
        Arg::Buf(SendBlocks::vector(&flat, &counts, &displs)?),
        RecvBlocks::vector(&mut received, &in_counts, &in_displs)?,
    )?;
    Ok(received.chunks_exact(2).map(|pair| (pair[0], pair[1])).unzip())
}

/// Numbers of this process's neighbours.
#[mpi_entry(MPI_Dist_graph_neighbors_count)]
fn dist_graph_neighbors_count(
    comm: CommRef,
    indegree: Out<c_int>,
    outdegree: Out<c_int>,
    weighted: Out<c_int>,
) -> Done {
    let Some(Topology::Distributed { sources, destinations, weights, .. }) = comm.topology() else {
        return Err(topology_error(&comm, "distributed graph"));
    };
    indegree.set(sources.len() as c_int);
    outdegree.set(destinations.len() as c_int);
    weighted.set(weights.is_some().into());
    Ok(())
}

/// This process's neighbours and the weights of the edges.
#[mpi_entry(MPI_Dist_graph_neighbors)]
fn dist_graph_neighbors(
    comm: CommRef,
    max_in: c_int,
    sources_out: OutArray<c_int>,
    source_weights: OutArray<c_int>,
    max_out: c_int,
    destinations_out: OutArray<c_int>,
    dest_weights: OutArray<c_int>,
) -> Done {
    let Some(Topology::Distributed { sources, destinations, weights, .. }) = comm.topology() else {
        return Err(topology_error(&comm, "distributed graph"));
    };
    // Fewer may be asked for than there are.
    let n = sources.len().min(max_in.max(0) as usize);
    let m = destinations.len().min(max_out.max(0) as usize);
    sources_out.need(n, "the array of sources")?;
    destinations_out.need(m, "the array of destinations")?;
    store(&sources_out, &sources[..n]);
    store(&destinations_out, &destinations[..m]);
    if let Some((inward, outward)) = weights {
        store_weights(&source_weights, &inward[..n.min(inward.len())]);
        store_weights(&dest_weights, &outward[..m.min(outward.len())]);
    }
    Ok(())
}

fn store_weights(array: &OutArray<c_int>, values: &[c_int]) {
    if array.address() > consts::WEIGHTS_EMPTY {
        store(array, values);
    }
}

/// Who is next to this process: for the neighbourhood collectives.
pub(crate) fn around(comm: &CommObject) -> Result<&Arc<Neighbours>, Failure> {
    match comm.around.get() {
        Some(around) => Ok(around),
        None => {
            let found = find_neighbours(comm)?;
            Ok(comm.around.get_or_init(|| Arc::new(found)))
        }
    }
}

fn find_neighbours(comm: &CommObject) -> Result<Neighbours, Failure> {
    match comm.topology() {
        Some(Topology::Cart { dims, periods }) => {
            let at = coordinates(dims, comm.comm.rank());
            let pair = |axis| (shifted(dims, periods, &at, axis, -1), shifted(dims, periods, &at, axis, 1));
            Ok(Neighbours::grid(&(0..dims.len()).map(pair).collect::<Vec<_>>()))
        }
        Some(Topology::Graph { index, edges }) => {
            need_both_ways(index, edges)?;
            let near = graph_neighbours(comm, comm.comm.rank())?;
            Ok(Neighbours::graph(near, near))
        }
        Some(Topology::Distributed { lopsided: Some(error), .. }) => Err(error.clone().into()),
        Some(Topology::Distributed { sources, destinations, .. }) => Ok(Neighbours::graph(sources, destinations)),
        None => Err(wrong(
            ErrorClass::Topology,
            format!("{} has no topology; make one with MPI_Cart_create or MPI_Dist_graph_create", comm.comm.title()),
        )),
    }
}

/// In a graph that every process knows, each edge has to lead both ways: a process would wait for ever for what nobody sends.
fn need_both_ways(index: &[c_int], edges: &[c_int]) -> Done {
    let starts = std::iter::once(0).chain(index.iter().copied());
    let mut surplus: HashMap<(c_int, c_int), i64> = HashMap::new();
    for (node, (start, end)) in (0..).zip(starts.zip(index)) {
        for other in &edges[start as usize..*end as usize] {
            // Counted up from the lower end of an edge, and down from the higher one.
            let (pair, step) = if node < *other { ((node, *other), 1) } else { ((*other, node), -1) };
            if node != *other {
                *surplus.entry(pair).or_default() += step;
            }
        }
    }
    match surplus.into_iter().filter(|(_, surplus)| *surplus != 0).min() {
        None => Ok(()),
        Some(((a, b), surplus)) => {
            let (from, to) = if surplus > 0 { (a, b) } else { (b, a) };
            Err(wrong(
                ErrorClass::Topology,
                format!(
                    "the graph has {} more edges from {from} to {to} than from {to} to {from}; collectives need each edge \
                     both ways (MPI_Dist_graph_create takes any graph)",
                    surplus.abs()
                ),
            ))
        }
    }
}
