//! Communicators with a topology (MPI 5.0 chapter 8): construction and inquiry.

use pyo3::PyClass;
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::PyBool;

use super::{Cartcomm, Comm, Distgraphcomm, Graphcomm, Intracomm, Topocomm, created, topology};
use crate::error::check;
use crate::ffi::*;
use crate::handle::{self, Handle as _};
use crate::info::Info;
use crate::numbers;
use crate::patience::met;

/// Dimensions with their periods: one truth value for all (none: not periodic) or one each.
fn grid(dims: &Bound<'_, PyAny>, periods: Option<&Bound<'_, PyAny>>) -> PyResult<(c_int, Vec<c_int>, Vec<c_int>)> {
    let dims = numbers::ints(dims)?;
    let periods = match periods {
        None => vec![0; dims.len()],
        Some(flag) if flag.is_instance_of::<PyBool>() => {
            vec![c_int::from(flag.is_truthy()?); dims.len()]
        }
        Some(list) => numbers::ints(list)?,
    };
    numbers::expect_length(periods.len(), dims.len(), "periods")?;
    Ok((numbers::count(dims.len())?, dims, periods))
}

/// More dimensions than any grid has: the work of dividing grows with them.
const MOST_DIMENSIONS: c_int = 1 << 16;

/// A graph's cumulated degrees and edges. Degrees may also begin with 0, as adjacency arrays elsewhere do.
fn graph(index: &Bound<'_, PyAny>, edges: &Bound<'_, PyAny>) -> PyResult<(c_int, Vec<c_int>, Vec<c_int>)> {
    let (mut index, edges) = (numbers::ints(index)?, numbers::ints(edges)?);
    let total = numbers::count(edges.len())?;
    if index.first() == Some(&0) && index.last() == Some(&total) {
        index.remove(0);
    }
    // MPI reads as many edges as the last index says, and libraries differ in what they check before.
    if let Some(most) = index.iter().max().filter(|most| **most > total) {
        return Err(PyValueError::new_err(format!(
            "the index says that there are {most} edges, but {total} are given"
        )));
    }
    Ok((numbers::count(index.len())?, index, edges))
}

/// Edge weights: none, one per edge, or the standard's marks for "none" and "of no edges".
enum Weights {
    Mark(usize),
    List(Vec<c_int>),
}

impl Weights {
    fn of(weights: Option<&Bound<'_, PyAny>>, edges: usize) -> PyResult<Weights> {
        let Some(weights) = weights else {
            return Ok(Weights::Mark(MPI_UNWEIGHTED));
        };
        match weights.extract::<usize>() {
            Ok(MPI_UNWEIGHTED) => Ok(Weights::Mark(MPI_UNWEIGHTED)),
            Ok(MPI_WEIGHTS_EMPTY) if edges == 0 => Ok(Weights::Mark(MPI_WEIGHTS_EMPTY)),
            Ok(MPI_WEIGHTS_EMPTY) => Err(PyValueError::new_err("empty weights but nonzero degree")),
            _ => {
                let list = numbers::ints(weights)?;
                numbers::expect_length(list.len(), edges, "weights")?;
                Ok(Weights::List(list))
            }
        }
    }

    fn as_ptr(&self) -> *const c_int {
        match self {
            Weights::Mark(mark) => std::ptr::without_provenance(*mark),
            Weights::List(list) => list.as_ptr(),
        }
    }
}

fn optional_ints(list: Option<&Bound<'_, PyAny>>) -> PyResult<Vec<c_int>> {
    list.map_or_else(|| Ok(Vec::new()), numbers::ints)
}

#[pymethods]
impl Comm {
    /// Get_topology(self) -> int
    ///
    /// Return the kind of topology: `CART`, `GRAPH`, `DIST_GRAPH`, or `UNDEFINED`. Local.
    fn Get_topology(&self) -> PyResult<c_int> {
        topology(self.raw())
    }

    /// topology: int
    ///
    /// Topology type.
    #[getter(topology)]
    fn topology_kind(&self) -> PyResult<c_int> {
        topology(self.raw())
    }

    /// is_topo: bool
    ///
    /// Is a topology.
    #[getter]
    fn is_topo(&self) -> PyResult<bool> {
        topology(self.raw()).map(|kind| kind != MPI_UNDEFINED)
    }
}

#[pymethods]
impl Intracomm {
    /// Create_cart(self, dims: Sequence[int], periods: Sequence[bool] | None = None, reorder: bool = False) -> Cartcomm
    ///
    /// Return a communicator whose processes form a grid. Collective, blocks.
    #[pyo3(signature = (dims, periods=None, reorder=false))]
    fn Create_cart<'py>(
        slf: &Bound<'py, Self>,
        dims: &Bound<'py, PyAny>,
        periods: Option<&Bound<'py, PyAny>>,
        reorder: bool,
    ) -> PyResult<Bound<'py, PyAny>> {
        let (n, dims, periods) = grid(dims, periods)?;
        let raw = slf.as_super().get().raw();
        // SAFETY: the arrays hold `n` items; the result pointer is valid for the write.
        created(&slf.py().get_type::<Cartcomm>(), |out| unsafe {
            met(raw, || MPI_Cart_create(raw, n, dims.as_ptr(), periods.as_ptr(), c_int::from(reorder), out))
        })
    }

    /// Create_graph(self, index: Sequence[int], edges: Sequence[int], reorder: bool = False) -> Graphcomm
    ///
    /// Return a communicator whose processes form a graph. Collective, blocks.
    #[pyo3(signature = (index, edges, reorder=false))]
    fn Create_graph<'py>(
        slf: &Bound<'py, Self>,
        index: &Bound<'py, PyAny>,
        edges: &Bound<'py, PyAny>,
        reorder: bool,
    ) -> PyResult<Bound<'py, PyAny>> {
        let (n, index, edges) = graph(index, edges)?;
        let raw = slf.as_super().get().raw();
        // SAFETY: the indices, `n` of them, count no more edges than there are; the result pointer is valid for the write.
        created(&slf.py().get_type::<Graphcomm>(), |out| unsafe {
            met(raw, || MPI_Graph_create(raw, n, index.as_ptr(), edges.as_ptr(), c_int::from(reorder), out))
        })
    }

    /// Create_dist_graph_adjacent(self, sources, destinations, sourceweights=None, destweights=None, info=INFO_NULL, reorder=False) -> Distgraphcomm
    ///
    /// Return a communicator whose processes form a graph; each gives its own neighbors. Collective, blocks.
    #[pyo3(signature = (sources, destinations, sourceweights=None, destweights=None, info=None, reorder=false))]
    fn Create_dist_graph_adjacent<'py>(
        slf: &Bound<'py, Self>,
        sources: Option<&Bound<'py, PyAny>>,
        destinations: Option<&Bound<'py, PyAny>>,
        sourceweights: Option<&Bound<'py, PyAny>>,
        destweights: Option<&Bound<'py, PyAny>>,
        info: Option<&Bound<'py, Info>>,
        reorder: bool,
    ) -> PyResult<Bound<'py, PyAny>> {
        let (sources, targets) = (optional_ints(sources)?, optional_ints(destinations)?);
        let source_weights = Weights::of(sourceweights, sources.len())?;
        let target_weights = Weights::of(destweights, targets.len())?;
        let (indegree, outdegree) = (numbers::count(sources.len())?, numbers::count(targets.len())?);
        let (raw, info) = (slf.as_super().get().raw(), handle::raw_or_null(info));
        // SAFETY: the arrays hold as many items as the degrees say; the result pointer is valid for the write.
        created(&slf.py().get_type::<Distgraphcomm>(), |out| unsafe {
            met(raw, || {
                MPI_Dist_graph_create_adjacent(
                    raw,
                    indegree,
                    sources.as_ptr(),
                    source_weights.as_ptr(),
                    outdegree,
                    targets.as_ptr(),
                    target_weights.as_ptr(),
                    info,
                    c_int::from(reorder),
                    out,
                )
            })
        })
    }

    /// Create_dist_graph(self, sources, degrees, destinations, weights=None, info=INFO_NULL, reorder=False) -> Distgraphcomm
    ///
    /// Return a communicator whose processes form a graph; each gives any edges. Collective, blocks.
    #[pyo3(signature = (sources, degrees, destinations, weights=None, info=None, reorder=false))]
    fn Create_dist_graph<'py>(
        slf: &Bound<'py, Self>,
        sources: &Bound<'py, PyAny>,
        degrees: &Bound<'py, PyAny>,
        destinations: &Bound<'py, PyAny>,
        weights: Option<&Bound<'py, PyAny>>,
        info: Option<&Bound<'py, Info>>,
        reorder: bool,
    ) -> PyResult<Bound<'py, PyAny>> {
        let (sources, degrees) = (numbers::ints(sources)?, numbers::ints(degrees)?);
        numbers::expect_length(degrees.len(), sources.len(), "degrees")?;
        let targets = numbers::ints(destinations)?;
        let total: i64 = degrees.iter().map(|degree| i64::from(*degree)).sum();
        numbers::expect_length(targets.len(), usize::try_from(total).unwrap_or(usize::MAX), "destinations")?;
        let weights = Weights::of(weights, targets.len())?;
        let n = numbers::count(sources.len())?;
        let (raw, info) = (slf.as_super().get().raw(), handle::raw_or_null(info));
        // SAFETY: the arrays hold as many items as `n` and the degrees say; the result pointer is valid for the write.
        created(&slf.py().get_type::<Distgraphcomm>(), |out| unsafe {
            met(raw, || {
                MPI_Dist_graph_create(
                    raw,
                    n,
                    sources.as_ptr(),
                    degrees.as_ptr(),
                    targets.as_ptr(),
                    weights.as_ptr(),
                    info,
                    c_int::from(reorder),
                    out,
                )
            })
        })
    }

    /// Cart_map(self, dims: Sequence[int], periods: Sequence[bool] | None = None) -> int
    ///
    /// Return the rank that would suit this process in a grid. Collective.
    #[pyo3(signature = (dims, periods=None))]
    fn Cart_map(slf: &Bound<'_, Self>, dims: &Bound<'_, PyAny>, periods: Option<&Bound<'_, PyAny>>) -> PyResult<c_int> {
        let (n, dims, periods) = grid(dims, periods)?;
        let (raw, mut rank) = (slf.as_super().get().raw(), MPI_PROC_NULL);
        // SAFETY: the arrays hold `n` items; `rank` is valid for the write.
        check(unsafe { MPI_Cart_map(raw, n, dims.as_ptr(), periods.as_ptr(), &mut rank) })?;
        Ok(rank)
    }

    /// Graph_map(self, index: Sequence[int], edges: Sequence[int]) -> int
    ///
    /// Return the rank that would suit this process in a graph. Collective.
    fn Graph_map(slf: &Bound<'_, Self>, index: &Bound<'_, PyAny>, edges: &Bound<'_, PyAny>) -> PyResult<c_int> {
        let (n, index, edges) = graph(index, edges)?;
        let (raw, mut rank) = (slf.as_super().get().raw(), MPI_PROC_NULL);
        // SAFETY: the indices, `n` of them, count no more edges than there are; `rank` is valid for the write.
        check(unsafe { MPI_Graph_map(raw, n, index.as_ptr(), edges.as_ptr(), &mut rank) })?;
        Ok(rank)
    }
}

/// The number of neighbors in both directions, for any topology.
pub(crate) fn degrees(raw: MPI_Comm) -> PyResult<(c_int, c_int)> {
    match topology(raw)? {
        MPI_CART => {
            let dims = cart_dim(raw)?;
            Ok((2 * dims, 2 * dims))
        }
        MPI_GRAPH => {
            let n = graph_degree(raw, own_rank(raw)?)?;
            Ok((n, n))
        }
        MPI_DIST_GRAPH => dist_graph_degrees(raw).map(|(indegree, outdegree, _)| (indegree, outdegree)),
        _ => Err(PyTypeError::new_err("expecting a topology communicator")),
    }
}

fn own_rank(raw: MPI_Comm) -> PyResult<c_int> {
    let mut rank = MPI_PROC_NULL;
    // SAFETY: `rank` is valid for the write.
    check(unsafe { MPI_Comm_rank(raw, &mut rank) })?;
    Ok(rank)
}

fn cart_dim(raw: MPI_Comm) -> PyResult<c_int> {
    let mut dims = 0;
    // SAFETY: `dims` is valid for the write.
    check(unsafe { MPI_Cartdim_get(raw, &mut dims) })?;
    Ok(dims)
}

fn cart_shift(raw: MPI_Comm, direction: c_int, disp: c_int) -> PyResult<(c_int, c_int)> {
    let (mut source, mut dest) = (MPI_PROC_NULL, MPI_PROC_NULL);
    // SAFETY: both are valid for the writes.
    check(unsafe { MPI_Cart_shift(raw, direction, disp, &mut source, &mut dest) })?;
    Ok((source, dest))
}

fn graph_degree(raw: MPI_Comm, rank: c_int) -> PyResult<c_int> {
    let mut n = 0;
    // SAFETY: `n` is valid for the write.
    check(unsafe { MPI_Graph_neighbors_count(raw, rank, &mut n) })?;
    Ok(n)
}

fn graph_neighbors(raw: MPI_Comm, rank: c_int) -> PyResult<Vec<c_int>> {
    let n = graph_degree(raw, rank)?;
    let mut neighbors = zeros(n);
    // SAFETY: the array has room for `n` items.
    check(unsafe { MPI_Graph_neighbors(raw, rank, n, neighbors.as_mut_ptr()) })?;
    Ok(neighbors)
}

fn dist_graph_degrees(raw: MPI_Comm) -> PyResult<(c_int, c_int, bool)> {
    let (mut indegree, mut outdegree, mut weighted) = (0, 0, 0);
    // SAFETY: all are valid for the writes.
    check(unsafe { MPI_Dist_graph_neighbors_count(raw, &mut indegree, &mut outdegree, &mut weighted) })?;
    Ok((indegree, outdegree, weighted != 0))
}

/// Sources, destinations, and both weights when there are any.
type DistNeighbors = (Vec<c_int>, Vec<c_int>, Option<(Vec<c_int>, Vec<c_int>)>);

fn dist_graph_neighbors(raw: MPI_Comm) -> PyResult<DistNeighbors> {
    let (indegree, outdegree, weighted) = dist_graph_degrees(raw)?;
    let (mut sources, mut targets) = (zeros(indegree), zeros(outdegree));
    let (mut source_weights, mut target_weights) = (zeros(indegree), zeros(outdegree));
    let unweighted: *mut c_int = std::ptr::without_provenance_mut(MPI_UNWEIGHTED);
    let (sw, tw) =
        if weighted { (source_weights.as_mut_ptr(), target_weights.as_mut_ptr()) } else { (unweighted, unweighted) };
    // SAFETY: the arrays have room for as many items as the degrees say; the mark stands for no weights.
    check(unsafe {
        MPI_Dist_graph_neighbors(raw, indegree, sources.as_mut_ptr(), sw, outdegree, targets.as_mut_ptr(), tw)
    })?;
    Ok((sources, targets, weighted.then_some((source_weights, target_weights))))
}

fn zeros(n: c_int) -> Vec<c_int> {
    vec![0; usize::try_from(n).unwrap_or(0)]
}

#[pymethods]
impl Topocomm {
    /// degrees: tuple[int, int]
    ///
    /// Number of incoming and outgoing neighbors.
    #[getter(degrees)]
    fn both_degrees(slf: &Bound<'_, Self>) -> PyResult<(c_int, c_int)> {
        degrees(raw(slf))
    }

    /// indegree: int
    ///
    /// Number of incoming neighbors.
    #[getter]
    fn indegree(slf: &Bound<'_, Self>) -> PyResult<c_int> {
        degrees(raw(slf)).map(|(indegree, _)| indegree)
    }

    /// outdegree: int
    ///
    /// Number of outgoing neighbors.
    #[getter]
    fn outdegree(slf: &Bound<'_, Self>) -> PyResult<c_int> {
        degrees(raw(slf)).map(|(_, outdegree)| outdegree)
    }

    /// inoutedges: tuple[list[int], list[int]]
    ///
    /// Incoming and outgoing neighbors.
    #[getter]
    fn inoutedges(slf: &Bound<'_, Self>) -> PyResult<(Vec<c_int>, Vec<c_int>)> {
        let raw = raw(slf);
        match topology(raw)? {
            MPI_CART => {
                let mut neighbors = Vec::new();
                for direction in 0..cart_dim(raw)? {
                    let (source, dest) = cart_shift(raw, direction, 1)?;
                    neighbors.extend([source, dest]);
                }
                Ok((neighbors.clone(), neighbors))
            }
            MPI_GRAPH => {
                let neighbors = graph_neighbors(raw, own_rank(raw)?)?;
                Ok((neighbors.clone(), neighbors))
            }
            MPI_DIST_GRAPH => dist_graph_neighbors(raw).map(|(sources, targets, _)| (sources, targets)),
            _ => Err(PyTypeError::new_err("expecting a topology communicator")),
        }
    }

    /// inedges: list[int]
    ///
    /// Incoming neighbors.
    #[getter]
    fn inedges(slf: &Bound<'_, Self>) -> PyResult<Vec<c_int>> {
        Self::inoutedges(slf).map(|(sources, _)| sources)
    }

    /// outedges: list[int]
    ///
    /// Outgoing neighbors.
    #[getter]
    fn outedges(slf: &Bound<'_, Self>) -> PyResult<Vec<c_int>> {
        Self::inoutedges(slf).map(|(_, targets)| targets)
    }
}

/// The handle of a communicator of any topology class.
fn raw<T: PyClass>(slf: &Bound<'_, T>) -> MPI_Comm {
    slf.as_any().cast::<Comm>().map_or(MPI_COMM_NULL, |comm| comm.get().raw())
}

/// Dimensions, periods and this process's coordinates.
type CartTopo = (Vec<c_int>, Vec<c_int>, Vec<c_int>);

#[pymethods]
impl Cartcomm {
    /// Get_dim(self) -> int
    ///
    /// Return the number of dimensions. Local.
    fn Get_dim(slf: &Bound<'_, Self>) -> PyResult<c_int> {
        cart_dim(raw(slf))
    }

    /// dim: int
    ///
    /// Number of dimensions.
    #[getter]
    fn dim(slf: &Bound<'_, Self>) -> PyResult<c_int> {
        cart_dim(raw(slf))
    }

    /// ndim: int
    ///
    /// Number of dimensions.
    #[getter]
    fn ndim(slf: &Bound<'_, Self>) -> PyResult<c_int> {
        cart_dim(raw(slf))
    }

    /// Get_topo(self) -> tuple[list[int], list[int], list[int]]
    ///
    /// Return the dimensions, the periods and the coordinates of this process. Local.
    fn Get_topo(slf: &Bound<'_, Self>) -> PyResult<CartTopo> {
        let raw = raw(slf);
        let n = cart_dim(raw)?;
        let (mut dims, mut periods, mut coords) = (zeros(n), zeros(n), zeros(n));
        // SAFETY: the arrays have room for `n` items.
        check(unsafe { MPI_Cart_get(raw, n, dims.as_mut_ptr(), periods.as_mut_ptr(), coords.as_mut_ptr()) })?;
        Ok((dims, periods, coords))
    }

    /// topo: tuple[list[int], list[int], list[int]]
    ///
    /// Topology information.
    #[getter]
    fn topo(slf: &Bound<'_, Self>) -> PyResult<CartTopo> {
        Self::Get_topo(slf)
    }

    /// dims: list[int]
    ///
    /// Dimensions.
    #[getter]
    fn dims(slf: &Bound<'_, Self>) -> PyResult<Vec<c_int>> {
        Self::Get_topo(slf).map(|(dims, ..)| dims)
    }

    /// periods: list[int]
    ///
    /// Periodicity.
    #[getter]
    fn periods(slf: &Bound<'_, Self>) -> PyResult<Vec<c_int>> {
        Self::Get_topo(slf).map(|(_, periods, _)| periods)
    }

    /// coords: list[int]
    ///
    /// Coordinates.
    #[getter]
    fn coords(slf: &Bound<'_, Self>) -> PyResult<Vec<c_int>> {
        Self::Get_topo(slf).map(|(.., coords)| coords)
    }

    /// Get_cart_rank(self, coords: Sequence[int]) -> int
    ///
    /// Return the rank at some coordinates. Local.
    fn Get_cart_rank(slf: &Bound<'_, Self>, coords: &Bound<'_, PyAny>) -> PyResult<c_int> {
        let raw = raw(slf);
        let coords = numbers::ints(coords)?;
        numbers::expect_length(coords.len(), zeros(cart_dim(raw)?).len(), "coords")?;
        let mut rank = MPI_PROC_NULL;
        // SAFETY: the array has one item per dimension; `rank` is valid for the write.
        check(unsafe { MPI_Cart_rank(raw, coords.as_ptr(), &mut rank) })?;
        Ok(rank)
    }

    /// Get_coords(self, rank: int) -> list[int]
    ///
    /// Return the coordinates of a rank. Local.
    fn Get_coords(slf: &Bound<'_, Self>, rank: c_int) -> PyResult<Vec<c_int>> {
        let raw = raw(slf);
        let n = cart_dim(raw)?;
        let mut coords = zeros(n);
        // SAFETY: the array has room for `n` items.
        check(unsafe { MPI_Cart_coords(raw, rank, n, coords.as_mut_ptr()) })?;
        Ok(coords)
    }

    /// Shift(self, direction: int, disp: int) -> tuple[int, int]
    ///
    /// Return the ranks to receive from and to send to for a shift along a dimension. Local.
    fn Shift(slf: &Bound<'_, Self>, direction: c_int, disp: c_int) -> PyResult<(c_int, c_int)> {
        cart_shift(raw(slf), direction, disp)
    }

    /// Sub(self, remain_dims: Sequence[bool]) -> Cartcomm
    ///
    /// Return the communicator of a grid with fewer dimensions. Collective, blocks.
    fn Sub<'py>(slf: &Bound<'py, Self>, remain_dims: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        let raw = raw(slf);
        let remain = numbers::flags(remain_dims)?;
        numbers::expect_length(remain.len(), zeros(cart_dim(raw)?).len(), "remain_dims")?;
        // SAFETY: the array has one item per dimension; the result pointer is valid for the write.
        created(&slf.py().get_type::<Cartcomm>(), |out| unsafe { met(raw, || MPI_Cart_sub(raw, remain.as_ptr(), out)) })
    }
}

#[pymethods]
impl Graphcomm {
    /// Get_dims(self) -> tuple[int, int]
    ///
    /// Return the numbers of nodes and edges. Local.
    fn Get_dims(slf: &Bound<'_, Self>) -> PyResult<(c_int, c_int)> {
        let (mut nodes, mut edges) = (0, 0);
        // SAFETY: both are valid for the writes.
        check(unsafe { MPI_Graphdims_get(raw(slf), &mut nodes, &mut edges) })?;
        Ok((nodes, edges))
    }

    /// dims: tuple[int, int]
    ///
    /// Number of nodes and edges.
    #[getter]
    fn dims(slf: &Bound<'_, Self>) -> PyResult<(c_int, c_int)> {
        Self::Get_dims(slf)
    }

    /// nnodes: int
    ///
    /// Number of nodes.
    #[getter]
    fn nnodes(slf: &Bound<'_, Self>) -> PyResult<c_int> {
        Self::Get_dims(slf).map(|(nodes, _)| nodes)
    }

    /// nedges: int
    ///
    /// Number of edges.
    #[getter]
    fn nedges(slf: &Bound<'_, Self>) -> PyResult<c_int> {
        Self::Get_dims(slf).map(|(_, edges)| edges)
    }

    /// Get_topo(self) -> tuple[list[int], list[int]]
    ///
    /// Return the cumulated degrees and the edges. Local.
    fn Get_topo(slf: &Bound<'_, Self>) -> PyResult<(Vec<c_int>, Vec<c_int>)> {
        let (nodes, edges) = Self::Get_dims(slf)?;
        let (mut index, mut list) = (zeros(nodes), zeros(edges));
        // SAFETY: the arrays have room for as many items as asked for.
        check(unsafe { MPI_Graph_get(raw(slf), nodes, edges, index.as_mut_ptr(), list.as_mut_ptr()) })?;
        Ok((index, list))
    }

    /// topo: tuple[list[int], list[int]]
    ///
    /// Topology information.
    #[getter]
    fn topo(slf: &Bound<'_, Self>) -> PyResult<(Vec<c_int>, Vec<c_int>)> {
        Self::Get_topo(slf)
    }

    /// index: list[int]
    ///
    /// Index.
    #[getter]
    fn index(slf: &Bound<'_, Self>) -> PyResult<Vec<c_int>> {
        Self::Get_topo(slf).map(|(index, _)| index)
    }

    /// edges: list[int]
    ///
    /// Edges.
    #[getter]
    fn edges(slf: &Bound<'_, Self>) -> PyResult<Vec<c_int>> {
        Self::Get_topo(slf).map(|(_, edges)| edges)
    }

    /// Get_neighbors_count(self, rank: int) -> int
    ///
    /// Return the number of neighbors of a rank. Local.
    fn Get_neighbors_count(slf: &Bound<'_, Self>, rank: c_int) -> PyResult<c_int> {
        graph_degree(raw(slf), rank)
    }

    /// nneighbors: int
    ///
    /// Number of neighbors.
    #[getter]
    fn nneighbors(slf: &Bound<'_, Self>) -> PyResult<c_int> {
        let raw = raw(slf);
        graph_degree(raw, own_rank(raw)?)
    }

    /// Get_neighbors(self, rank: int) -> list[int]
    ///
    /// Return the neighbors of a rank. Local.
    fn Get_neighbors(slf: &Bound<'_, Self>, rank: c_int) -> PyResult<Vec<c_int>> {
        graph_neighbors(raw(slf), rank)
    }

    /// neighbors: list[int]
    ///
    /// Neighbors.
    #[getter]
    fn neighbors(slf: &Bound<'_, Self>) -> PyResult<Vec<c_int>> {
        let raw = raw(slf);
        graph_neighbors(raw, own_rank(raw)?)
    }
}

#[pymethods]
impl Distgraphcomm {
    /// Get_dist_neighbors_count(self) -> tuple[int, int, bool]
    ///
    /// Return the numbers of incoming and outgoing neighbors and whether the edges have weights. Local.
    fn Get_dist_neighbors_count(slf: &Bound<'_, Self>) -> PyResult<(c_int, c_int, bool)> {
        dist_graph_degrees(raw(slf))
    }

    /// Get_dist_neighbors(self) -> tuple[list[int], list[int], tuple[list[int], list[int]] | None]
    ///
    /// Return the incoming and the outgoing neighbors, and the weights of both if there are any. Local.
    fn Get_dist_neighbors(slf: &Bound<'_, Self>) -> PyResult<DistNeighbors> {
        dist_graph_neighbors(raw(slf))
    }
}

/// Compute_dims(nnodes: int, dims: int | Sequence[int]) -> list[int]
///
/// Return a balanced grid for a number of processes; zeros in `dims` are to be chosen. Local.
#[pyfunction]
pub(super) fn Compute_dims(nnodes: c_int, dims: &Bound<'_, PyAny>) -> PyResult<Vec<c_int>> {
    let mut dims = match dims.extract::<c_int>() {
        Ok(n) if n > MOST_DIMENSIONS => {
            return Err(PyValueError::new_err(format!("{n} dimensions are more than a grid can have")));
        }
        Ok(n) => zeros(n),
        Err(_) => numbers::ints(dims)?,
    };
    let n = numbers::count(dims.len())?;
    // SAFETY: the array has `n` items.
    check(unsafe { MPI_Dims_create(nnodes, n, dims.as_mut_ptr()) })?;
    Ok(dims)
}
