//! `MPI.Group`: ordered sets of processes (MPI 5.0 chapter 7.3).

use pyo3::prelude::*;
use pyo3::types::PyType;

use crate::error::check;
use crate::ffi::*;
use crate::gil;
use crate::handle::{self, Handle, HandleCell, handle_methods};
use crate::numbers;
use crate::session::Session;
use crate::text::Text;

/// An ordered set of processes.
#[pyclass(module = "phalanx.MPI", subclass, frozen, weakref)]
#[repr(C)] // what compiled code for mpi4py reads comes first
pub(crate) struct Group {
    handle: HandleCell<MPI_Group>,
}

impl Handle for Group {
    type Raw = MPI_Group;

    fn cell(&self) -> &HandleCell<MPI_Group> {
        &self.handle
    }

    fn release(slf: &Bound<'_, Self>) -> PyResult<()> {
        slf.get().Free()
    }
}

handle_methods!(Group, MPI_Group, handle::reduce);

#[pymethods]
impl Group {
    #[new]
    #[pyo3(signature = (group=None))]
    fn new(group: Option<&Bound<'_, Group>>) -> Self {
        Group { handle: HandleCell::new(handle::raw_or_null(group)) }
    }

    /// Get_size(self) -> int
    ///
    /// Return the number of processes in the group. Local.
    fn Get_size(&self) -> PyResult<c_int> {
        let mut size = 0;
        // SAFETY: `size` is valid for the write.
        check(unsafe { MPI_Group_size(self.raw(), &mut size) })?;
        Ok(size)
    }

    /// size: int
    ///
    /// Number of processes.
    #[getter]
    fn size(&self) -> PyResult<c_int> {
        self.Get_size()
    }

    /// Get_rank(self) -> int
    ///
    /// Return the rank of this process in the group, or `UNDEFINED`. Local.
    fn Get_rank(&self) -> PyResult<c_int> {
        let mut rank = MPI_PROC_NULL;
        // SAFETY: `rank` is valid for the write.
        check(unsafe { MPI_Group_rank(self.raw(), &mut rank) })?;
        Ok(rank)
    }

    /// rank: int
    ///
    /// Rank of this process.
    #[getter]
    fn rank(&self) -> PyResult<c_int> {
        self.Get_rank()
    }

    /// Translate_ranks(self, ranks: Sequence[int] | None = None, group: Group | None = None) -> list[int]
    ///
    /// Return the ranks that `ranks` (all by default) have in `group` (the world's by default). Local.
    #[pyo3(signature = (ranks=None, group=None))]
    fn Translate_ranks(
        &self,
        ranks: Option<&Bound<'_, PyAny>>,
        group: Option<&Bound<'_, Group>>,
    ) -> PyResult<Vec<c_int>> {
        let ranks = match ranks {
            Some(ranks) => numbers::ints(ranks)?,
            None => (0..self.Get_size()?).collect(),
        };
        let mut translated = vec![MPI_UNDEFINED; ranks.len()];
        let count = numbers::count(ranks.len())?;
        let mut world = MPI_GROUP_NULL;
        let target = match group {
            Some(group) => group.get().raw(),
            None => {
                // SAFETY: `world` is valid for the write.
                check(unsafe { MPI_Comm_group(MPI_COMM_WORLD, &mut world) })?;
                world
            }
        };
        // SAFETY: both arrays hold `count` numbers.
        let code =
            unsafe { MPI_Group_translate_ranks(self.raw(), count, ranks.as_ptr(), target, translated.as_mut_ptr()) };
        if world != MPI_GROUP_NULL {
            // SAFETY: frees the handle made above.
            check(unsafe { MPI_Group_free(&mut world) })?;
        }
        check(code)?;
        Ok(translated)
    }

    /// Compare(self, group: Group) -> int
    ///
    /// Compare two groups: `IDENT`, `SIMILAR` or `UNEQUAL`. Local.
    fn Compare(&self, group: &Bound<'_, Group>) -> PyResult<c_int> {
        let mut result = MPI_UNEQUAL;
        // SAFETY: `result` is valid for the write.
        check(unsafe { MPI_Group_compare(self.raw(), group.get().raw(), &mut result) })?;
        Ok(result)
    }

    /// Dup(self) -> Self
    ///
    /// Return a copy of the group. Local.
    fn Dup<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        let raw = slf.get().raw();
        // SAFETY: the result pointer is valid for the write.
        handle::create::<Group>(&slf.get_type(), |out| unsafe { MPI_Group_union(raw, MPI_GROUP_EMPTY, out) })
    }

    /// Union(cls, group1: Group, group2: Group) -> Self
    ///
    /// Return the members of `group1`, followed by those only in `group2`. Local.
    #[classmethod]
    fn Union<'py>(
        cls: &Bound<'py, PyType>,
        group1: &Bound<'py, Group>,
        group2: &Bound<'py, Group>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let (a, b) = (group1.get().raw(), group2.get().raw());
        // SAFETY: the result pointer is valid for the write.
        handle::create::<Group>(cls, |out| unsafe { MPI_Group_union(a, b, out) })
    }

    /// Intersection(cls, group1: Group, group2: Group) -> Self
    ///
    /// Return the members of `group1` that are in `group2` too. Local.
    #[classmethod]
    fn Intersection<'py>(
        cls: &Bound<'py, PyType>,
        group1: &Bound<'py, Group>,
        group2: &Bound<'py, Group>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let (a, b) = (group1.get().raw(), group2.get().raw());
        // SAFETY: the result pointer is valid for the write.
        handle::create::<Group>(cls, |out| unsafe { MPI_Group_intersection(a, b, out) })
    }

    /// Difference(cls, group1: Group, group2: Group) -> Self
    ///
    /// Return the members of `group1` that are not in `group2`. Local.
    #[classmethod]
    fn Difference<'py>(
        cls: &Bound<'py, PyType>,
        group1: &Bound<'py, Group>,
        group2: &Bound<'py, Group>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let (a, b) = (group1.get().raw(), group2.get().raw());
        // SAFETY: the result pointer is valid for the write.
        handle::create::<Group>(cls, |out| unsafe { MPI_Group_difference(a, b, out) })
    }

    /// Incl(self, ranks: Sequence[int]) -> Self
    ///
    /// Return a group of the listed ranks, in that order. Local.
    fn Incl<'py>(slf: &Bound<'py, Self>, ranks: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        let ranks = numbers::ints(ranks)?;
        let (raw, n) = (slf.get().raw(), numbers::count(ranks.len())?);
        // SAFETY: the array holds `n` numbers; the result pointer is valid for the write.
        handle::create::<Group>(&slf.get_type(), |out| unsafe { MPI_Group_incl(raw, n, ranks.as_ptr(), out) })
    }

    /// Excl(self, ranks: Sequence[int]) -> Self
    ///
    /// Return a group without the listed ranks. Local.
    fn Excl<'py>(slf: &Bound<'py, Self>, ranks: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        let ranks = numbers::ints(ranks)?;
        let (raw, n) = (slf.get().raw(), numbers::count(ranks.len())?);
        // SAFETY: the array holds `n` numbers; the result pointer is valid for the write.
        handle::create::<Group>(&slf.get_type(), |out| unsafe { MPI_Group_excl(raw, n, ranks.as_ptr(), out) })
    }

    /// Range_incl(self, ranks: Sequence[tuple[int, int, int]]) -> Self
    ///
    /// Return a group of the ranks in ranges (first, last, stride). Local.
    fn Range_incl<'py>(slf: &Bound<'py, Self>, ranks: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        let mut ranges = triples(ranks)?;
        let (raw, n) = (slf.get().raw(), numbers::count(ranges.len())?);
        // SAFETY: the array holds `n` triples; the result pointer is valid for the write.
        handle::create::<Group>(&slf.get_type(), |out| unsafe {
            MPI_Group_range_incl(raw, n, ranges.as_mut_ptr(), out)
        })
    }

    /// Range_excl(self, ranks: Sequence[tuple[int, int, int]]) -> Self
    ///
    /// Return a group without the ranks in ranges (first, last, stride). Local.
    fn Range_excl<'py>(slf: &Bound<'py, Self>, ranks: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        let mut ranges = triples(ranks)?;
        let (raw, n) = (slf.get().raw(), numbers::count(ranges.len())?);
        // SAFETY: the array holds `n` triples; the result pointer is valid for the write.
        handle::create::<Group>(&slf.get_type(), |out| unsafe {
            MPI_Group_range_excl(raw, n, ranges.as_mut_ptr(), out)
        })
    }

    /// Create_from_session_pset(cls, session: Session, pset_name: str) -> Self
    ///
    /// Return the group of a session's process set. Local.
    #[classmethod]
    fn Create_from_session_pset<'py>(
        cls: &Bound<'py, PyType>,
        session: &Bound<'py, Session>,
        pset_name: Text,
    ) -> PyResult<Bound<'py, PyAny>> {
        let raw = session.get().raw();
        // SAFETY: the name is NUL-terminated; the result pointer is valid for the write.
        handle::create::<Group>(cls, |out| unsafe { MPI_Group_from_session_pset(raw, pset_name.as_ptr(), out) })
    }

    /// Free(self) -> None
    ///
    /// Free the group. Local.
    fn Free(&self) -> PyResult<()> {
        let constant = handle::is_constant(self);
        let before = self.raw();
        // SAFETY: the library checks and replaces the handle.
        check(self.handle.update(|raw| unsafe { MPI_Group_free(raw) }))?;
        if constant {
            self.handle.set(before);
        }
        Ok(())
    }
}

/// The ranges of a sequence of (first, last, stride).
fn triples(ranges: &Bound<'_, PyAny>) -> PyResult<Vec<[c_int; 3]>> {
    ranges.try_iter()?.map(|range| range?.extract::<(c_int, c_int, c_int)>().map(|(a, b, c)| [a, b, c])).collect()
}

/// The group a communicator-like call returns, as a new `Group`.
pub(crate) fn from_call<'py>(
    py: Python<'py>,
    call: impl FnOnce(*mut MPI_Group) -> c_int,
) -> PyResult<Bound<'py, PyAny>> {
    handle::create::<Group>(&py.get_type::<Group>(), |out| gil::detached(py, move || call(out)))
}

/// Adds the class and its constants to the module.
pub(crate) fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add_class::<Group>()?;
    crate::alias(&m.py().get_type::<Group>(), "Intersect", "Intersection")?;
    handle::add_constant::<Group>(m, "GROUP_NULL", MPI_GROUP_NULL)?;
    handle::add_constant::<Group>(m, "GROUP_EMPTY", MPI_GROUP_EMPTY)
}
