//! Communicators: the classes, their conversions and what they know about themselves (MPI 5.0 chapters 7 and 8).
//!
//! One file per topic: `manage` (construction, attributes, error handlers, names), `topo` (topologies), `dynamic` (spawn,
//! ports), `p2p_buf`, `coll_buf` and `neighbor` (messages from buffers), `p2p_obj` and `coll_obj` (messages from objects).

use std::sync::atomic::{AtomicI32, AtomicUsize, Ordering::Relaxed};

use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::PyType;

use crate::error::check;
use crate::ffi::*;
use crate::handle::{self, Handle, HandleCell, Raw as _, handle_methods};
use crate::init;

mod coll_buf;
mod coll_obj;
mod dynamic;
mod fault;
mod lock;
mod manage;
mod neighbor;
mod neighbor_obj;
mod p2p_buf;
mod p2p_matched;
mod p2p_nb;
mod p2p_obj;
mod p2p_obj_matched;
mod partitioned;
pub(crate) mod pending;
mod reduce_obj;
mod topo;

pub(crate) use dynamic::register_functions;

/// A communication context and the processes that share it.
#[pyclass(module = "phalanx.MPI", subclass, frozen, weakref)]
#[repr(C)] // what compiled code for mpi4py reads comes first
pub(crate) struct Comm {
    handle: HandleCell<MPI_Comm>,
    facts: Facts,
}

/// What never changes during a communicator's life, asked for once.
///
/// `owner` is the handle the numbers belong to: other code may store another handle through `MPI._addressof`.
struct Facts {
    owner: AtomicUsize,
    rank: AtomicI32,
    size: AtomicI32,
    inter: AtomicI32,
}

impl Handle for Comm {
    type Raw = MPI_Comm;

    fn cell(&self) -> &HandleCell<MPI_Comm> {
        &self.handle
    }

    fn class_of<'py>(py: Python<'py>, raw: MPI_Comm) -> PyResult<Bound<'py, PyType>> {
        Ok(match raw {
            MPI_COMM_NULL => py.get_type::<Comm>(),
            MPI_COMM_WORLD | MPI_COMM_SELF => py.get_type::<Intracomm>(),
            _ if is_inter(raw)? => py.get_type::<Intercomm>(),
            _ => match topology(raw)? {
                MPI_CART => py.get_type::<Cartcomm>(),
                MPI_GRAPH => py.get_type::<Graphcomm>(),
                MPI_DIST_GRAPH => py.get_type::<Distgraphcomm>(),
                _ => py.get_type::<Intracomm>(),
            },
        })
    }

    fn release(slf: &Bound<'_, Self>) -> PyResult<()> {
        slf.get().Free(slf.py())
    }
}

handle_methods!(Comm, MPI_Comm, handle::reduce);

fn is_inter(raw: MPI_Comm) -> PyResult<bool> {
    let mut flag = 0;
    // SAFETY: `flag` is valid for the write.
    check(unsafe { MPI_Comm_test_inter(raw, &mut flag) })?;
    Ok(flag != 0)
}

fn topology(raw: MPI_Comm) -> PyResult<c_int> {
    let mut kind = MPI_UNDEFINED;
    // SAFETY: `kind` is valid for the write.
    check(unsafe { MPI_Topo_test(raw, &mut kind) })?;
    Ok(kind)
}

impl Comm {
    fn with(raw: MPI_Comm) -> Self {
        Comm {
            handle: HandleCell::new(raw),
            facts: Facts {
                owner: AtomicUsize::new(MPI_COMM_NULL.bits()),
                rank: AtomicI32::new(MPI_PROC_NULL),
                size: AtomicI32::new(0),
                inter: AtomicI32::new(0),
            },
        }
    }

    fn copy(comm: Option<&Bound<'_, Comm>>) -> Self {
        Comm::with(handle::raw_or_null(comm))
    }

    /// Asks the library for the facts unless they are known for the present handle.
    #[inline]
    fn know(&self) -> PyResult<()> {
        let raw = self.raw();
        if self.facts.owner.load(Relaxed) == raw.bits() && raw != MPI_COMM_NULL {
            return Ok(());
        }
        self.ask(raw)
    }

    #[cold]
    fn ask(&self, raw: MPI_Comm) -> PyResult<()> {
        let (mut size, mut rank, mut inter) = (0, MPI_PROC_NULL, 0);
        // SAFETY: the numbers are valid for the writes.
        check(unsafe { MPI_Comm_size(raw, &mut size) })?;
        // SAFETY: as above.
        check(unsafe { MPI_Comm_rank(raw, &mut rank) })?;
        // SAFETY: as above.
        check(unsafe { MPI_Comm_test_inter(raw, &mut inter) })?;
        self.facts.size.store(size, Relaxed);
        self.facts.rank.store(rank, Relaxed);
        self.facts.inter.store(inter, Relaxed);
        self.facts.owner.store(raw.bits(), Relaxed);
        Ok(())
    }

    /// Forgets the facts: the handle has been freed, and the library may give its value out again.
    pub(crate) fn forget(&self) {
        self.facts.owner.store(MPI_COMM_NULL.bits(), Relaxed);
    }

    /// The rank of this process.
    ///
    /// # Errors
    /// `MPI.Exception` for a null or freed communicator.
    #[inline]
    pub(crate) fn rank_now(&self) -> PyResult<c_int> {
        self.know()?;
        Ok(self.facts.rank.load(Relaxed))
    }

    /// The number of processes in the local group.
    ///
    /// # Errors
    /// `MPI.Exception` for a null or freed communicator.
    #[inline]
    pub(crate) fn size_now(&self) -> PyResult<c_int> {
        self.know()?;
        Ok(self.facts.size.load(Relaxed))
    }

    /// Whether this is an intercommunicator.
    ///
    /// # Errors
    /// `MPI.Exception` for a null or freed communicator.
    #[inline]
    pub(crate) fn inter_now(&self) -> PyResult<bool> {
        self.know()?;
        Ok(self.facts.inter.load(Relaxed) != 0)
    }

    /// The number of processes that collective operations exchange data with: the remote group of an intercommunicator.
    ///
    /// # Errors
    /// `MPI.Exception` for a null or freed communicator.
    pub(crate) fn peers_now(&self) -> PyResult<c_int> {
        if !self.inter_now()? {
            return self.size_now();
        }
        let mut size = 0;
        // SAFETY: `size` is valid for the write.
        check(unsafe { MPI_Comm_remote_size(self.raw(), &mut size) })?;
        Ok(size)
    }
}

/// The result of a collective constructor, as an object of class `cls`, with the error handler that `rc.errors` asks for.
pub(crate) fn created<'py>(
    cls: &Bound<'py, PyType>,
    make: impl FnOnce(*mut MPI_Comm) -> c_int,
) -> PyResult<Bound<'py, PyAny>> {
    let object = handle::create_blocking::<Comm>(cls, make)?;
    init::set_comm_errhandler(object.cast::<Comm>()?.get().raw())?;
    Ok(object)
}

/// A communicator within one group of processes.
#[pyclass(module = "phalanx.MPI", subclass, frozen, extends = Comm)]
pub(crate) struct Intracomm;

/// A communicator between two groups of processes.
#[pyclass(module = "phalanx.MPI", subclass, frozen, extends = Comm)]
pub(crate) struct Intercomm;

/// A communicator with a topology.
#[pyclass(module = "phalanx.MPI", subclass, frozen, extends = Intracomm)]
pub(crate) struct Topocomm;

/// A communicator whose processes form a Cartesian grid.
#[pyclass(module = "phalanx.MPI", subclass, frozen, extends = Topocomm)]
pub(crate) struct Cartcomm;

/// A communicator whose processes form a graph that each of them knows.
#[pyclass(module = "phalanx.MPI", subclass, frozen, extends = Topocomm)]
pub(crate) struct Graphcomm;

/// A communicator whose processes form a graph of which each knows its own edges.
#[pyclass(module = "phalanx.MPI", subclass, frozen, extends = Topocomm)]
pub(crate) struct Distgraphcomm;

/// A class whose methods are operations on a communicator: what `operations!` begins each method with.
trait Operand: pyo3::PyTypeInfo {
    fn operand<'a>(slf: &'a Bound<'_, Self>) -> &'a Comm;
}

impl Operand for Comm {
    fn operand<'a>(slf: &'a Bound<'_, Self>) -> &'a Comm {
        slf.get()
    }
}

impl Operand for Intracomm {
    fn operand<'a>(slf: &'a Bound<'_, Self>) -> &'a Comm {
        slf.as_super().get()
    }
}

impl Operand for Topocomm {
    fn operand<'a>(slf: &'a Bound<'_, Self>) -> &'a Comm {
        slf.as_super().as_super().get()
    }
}

/// Copies a communicator for a class that asks for a certain kind.
fn copy_checked(
    comm: Option<&Bound<'_, Comm>>,
    expected: &str,
    fits: impl FnOnce(MPI_Comm) -> PyResult<bool>,
) -> PyResult<Comm> {
    let copy = Comm::copy(comm);
    if copy.raw() == MPI_COMM_NULL || fits(copy.raw())? {
        Ok(copy)
    } else {
        Err(PyTypeError::new_err(format!("expecting {expected}")))
    }
}

/// Whether the communicator has one of the topologies; intercommunicators have none.
fn has_topology(raw: MPI_Comm, wanted: Option<c_int>) -> PyResult<bool> {
    if is_inter(raw)? {
        return Ok(false);
    }
    let found = topology(raw)?;
    Ok(wanted.map_or(found != MPI_UNDEFINED, |wanted| found == wanted))
}

#[pymethods]
impl Comm {
    #[new]
    #[pyo3(signature = (comm=None))]
    fn new(comm: Option<&Bound<'_, Comm>>) -> Self {
        Comm::copy(comm)
    }
}

#[pymethods]
impl Intracomm {
    #[new]
    #[pyo3(signature = (comm=None))]
    fn new(comm: Option<&Bound<'_, Comm>>) -> PyResult<PyClassInitializer<Self>> {
        let base = copy_checked(comm, "an intracommunicator", |raw| is_inter(raw).map(|inter| !inter))?;
        Ok(PyClassInitializer::from(base).add_subclass(Intracomm))
    }
}

#[pymethods]
impl Intercomm {
    #[new]
    #[pyo3(signature = (comm=None))]
    fn new(comm: Option<&Bound<'_, Comm>>) -> PyResult<PyClassInitializer<Self>> {
        let base = copy_checked(comm, "an intercommunicator", is_inter)?;
        Ok(PyClassInitializer::from(base).add_subclass(Intercomm))
    }
}

#[pymethods]
impl Topocomm {
    #[new]
    #[pyo3(signature = (comm=None))]
    fn new(comm: Option<&Bound<'_, Comm>>) -> PyResult<PyClassInitializer<Self>> {
        let base = copy_checked(comm, "a topology communicator", |raw| has_topology(raw, None))?;
        Ok(PyClassInitializer::from(base).add_subclass(Intracomm).add_subclass(Topocomm))
    }
}

#[pymethods]
impl Cartcomm {
    #[new]
    #[pyo3(signature = (comm=None))]
    fn new(comm: Option<&Bound<'_, Comm>>) -> PyResult<PyClassInitializer<Self>> {
        let base = copy_checked(comm, "a Cartesian communicator", |raw| has_topology(raw, Some(MPI_CART)))?;
        Ok(PyClassInitializer::from(base).add_subclass(Intracomm).add_subclass(Topocomm).add_subclass(Cartcomm))
    }
}

#[pymethods]
impl Graphcomm {
    #[new]
    #[pyo3(signature = (comm=None))]
    fn new(comm: Option<&Bound<'_, Comm>>) -> PyResult<PyClassInitializer<Self>> {
        let base = copy_checked(comm, "a general graph communicator", |raw| has_topology(raw, Some(MPI_GRAPH)))?;
        Ok(PyClassInitializer::from(base).add_subclass(Intracomm).add_subclass(Topocomm).add_subclass(Graphcomm))
    }
}

#[pymethods]
impl Distgraphcomm {
    #[new]
    #[pyo3(signature = (comm=None))]
    fn new(comm: Option<&Bound<'_, Comm>>) -> PyResult<PyClassInitializer<Self>> {
        let expected = "a distributed graph communicator";
        let base = copy_checked(comm, expected, |raw| has_topology(raw, Some(MPI_DIST_GRAPH)))?;
        Ok(PyClassInitializer::from(base).add_subclass(Intracomm).add_subclass(Topocomm).add_subclass(Distgraphcomm))
    }
}

/// Adds the classes and constants to the module.
pub(crate) fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add_class::<Comm>()?;
    m.add_class::<Intracomm>()?;
    m.add_class::<Topocomm>()?;
    m.add_class::<Cartcomm>()?;
    m.add_class::<Graphcomm>()?;
    m.add_class::<Distgraphcomm>()?;
    m.add_class::<Intercomm>()?;
    handle::add_constant::<Comm>(m, "COMM_NULL", MPI_COMM_NULL)?;
    handle::add_constant::<Comm>(m, "COMM_SELF", MPI_COMM_SELF)?;
    handle::add_constant::<Comm>(m, "COMM_WORLD", MPI_COMM_WORLD)
}
