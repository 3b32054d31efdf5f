//! Neighborhood collectives of Python objects: the sizes first, then the pickled bytes, by the library's own neighborhood
//! collectives, which know how neighbors are ordered.

use pyo3::prelude::*;
use pyo3::types::PyList;

use super::coll_obj::{Caller, Operation, pack};
use super::{Comm, Topocomm, topo};
use crate::error::check;
use crate::ffi::*;
use crate::gil;
use crate::handle::Handle as _;
use crate::large::Numbers;
use crate::numbers;
use crate::object::{self, Memory};

/// Places of consecutive blocks, and where the last one ends.
fn places(sizes: &[MPI_Count]) -> (Vec<MPI_Aint>, usize) {
    let mut end = 0;
    let mut places = Vec::with_capacity(sizes.len());
    for size in sizes {
        places.push(end);
        end += isize::try_from(*size).unwrap_or(0);
    }
    (places, end.unsigned_abs())
}

/// The objects in a buffer of consecutive messages.
fn unpack<'py>(py: Python<'py>, bytes: &[u8], sizes: &[MPI_Count]) -> PyResult<Bound<'py, PyList>> {
    let list = PyList::empty(py);
    let mut rest = bytes;
    for size in sizes {
        let (message, after) = rest.split_at(usize::try_from(*size).unwrap_or(0).min(rest.len()));
        rest = after;
        list.append(object::load(py, Memory::copy_of(message)?)?)?;
    }
    Ok(list)
}

/// The bytes of an object, or of a notice of why there is none.
fn bytes_of(py: Python<'_>, object: PyResult<Bound<'_, PyAny>>, caller: Caller) -> PyResult<(Vec<u8>, Option<PyErr>)> {
    let (parcel, failure) = pack(py, object, caller);
    if let Some(bytes) = parcel.contiguous() {
        return Ok((bytes.to_vec(), failure));
    }
    let memory = parcel.copy()?;
    // SAFETY: `copy` has filled all of the memory.
    Ok((unsafe { memory.bytes() }.to_vec(), failure))
}

/// The objects for the outgoing neighbors.
fn one_each<'py>(sendobj: &Bound<'py, PyAny>, count: usize) -> PyResult<Vec<Bound<'py, PyAny>>> {
    if sendobj.is_none() && count == 0 {
        return Ok(Vec::new());
    }
    numbers::expect_length(sendobj.len()?, count, "sendobj")?;
    sendobj.try_iter()?.collect()
}

fn room(n: c_int) -> Vec<MPI_Count> {
    vec![0; usize::try_from(n).unwrap_or(0)]
}

#[pymethods]
impl Topocomm {
    /// neighbor_allgather(self, sendobj: Any) -> list[Any]
    ///
    /// Send an object to all outgoing neighbors; return those of the incoming ones. Blocks.
    fn neighbor_allgather<'py>(slf: &Bound<'py, Self>, sendobj: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyList>> {
        let py = slf.py();
        let raw = slf.as_any().cast::<Comm>()?.get().raw();
        let mut sizes = room(topo::degrees(raw)?.0);
        let caller = slf.as_any().cast::<Comm>()?.get().caller_of_all(py, Operation::NeighborAllgather)?;
        let (mine, failure) = bytes_of(py, Ok(sendobj.clone()), caller)?;
        let size = numbers::large_count(mine.len());
        let out = sizes.as_mut_ptr();
        // SAFETY: one count goes out, one comes in per incoming neighbor.
        check(gil::briefly(py, || unsafe {
            MPI_Neighbor_allgather_c((&raw const size).cast(), 1, MPI_COUNT, out.cast(), 1, MPI_COUNT, raw)
        }))?;
        let (places, total) = places(&sizes);
        let (sizes, places) = (Numbers::new(sizes), Numbers::new(places));
        let mut received = vec![0_u8; total];
        let (from, to) = (mine.as_ptr(), received.as_mut_ptr());
        // SAFETY: `received` has room for all blocks, one after the other.
        check(gil::briefly(py, || unsafe {
            let (counts, displacements) = (sizes.array(), places.array());
            MPI_Neighbor_allgatherv_c(from.cast(), size, MPI_BYTE, to.cast(), counts, displacements, MPI_BYTE, raw)
        }))?;
        failure.map_or_else(|| unpack(py, &received, &sizes), Err)
    }

    /// neighbor_alltoall(self, sendobj: list[Any]) -> list[Any]
    ///
    /// Send an object to each outgoing neighbor; return those of the incoming ones. Blocks.
    fn neighbor_alltoall<'py>(slf: &Bound<'py, Self>, sendobj: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyList>> {
        let py = slf.py();
        let raw = slf.as_any().cast::<Comm>()?.get().raw();
        let (indegree, outdegree) = topo::degrees(raw)?;
        let mut sizes = room(indegree);
        let mut out_sizes = room(outdegree);
        let caller = slf.as_any().cast::<Comm>()?.get().caller_of_all(py, Operation::NeighborAlltoall)?;
        let objects = one_each(sendobj, out_sizes.len());
        let (mut mine, mut failure) = (Vec::new(), None);
        for (place, size) in out_sizes.iter_mut().enumerate() {
            let object = match &objects {
                Ok(objects) => objects.get(place).cloned().map_or_else(|| Ok(py.None().into_bound(py)), Ok),
                Err(error) => Err(error.clone_ref(py)),
            };
            let (message, error) = bytes_of(py, object, caller)?;
            *size = numbers::large_count(message.len());
            mine.extend_from_slice(&message);
            if failure.is_none() {
                failure = error;
            }
        }
        let (out, into) = (out_sizes.as_ptr(), sizes.as_mut_ptr());
        // SAFETY: one count per neighbor in both directions.
        check(gil::briefly(py, || unsafe {
            MPI_Neighbor_alltoall_c(out.cast(), 1, MPI_COUNT, into.cast(), 1, MPI_COUNT, raw)
        }))?;
        let ((out_places, _), (in_places, total)) = (places(&out_sizes), places(&sizes));
        let (out_sizes, sizes) = (Numbers::new(out_sizes), Numbers::new(sizes));
        let (out_places, in_places) = (Numbers::new(out_places), Numbers::new(in_places));
        let mut received = vec![0_u8; total];
        let (from, to) = (mine.as_ptr(), received.as_mut_ptr());
        // SAFETY: both buffers hold their blocks one after the other.
        check(gil::briefly(py, || unsafe {
            MPI_Neighbor_alltoallv_c(
                from.cast(),
                out_sizes.array(),
                out_places.array(),
                MPI_BYTE,
                to.cast(),
                sizes.array(),
                in_places.array(),
                MPI_BYTE,
                raw,
            )
        }))?;
        failure.map_or_else(|| unpack(py, &received, &sizes), Err)
    }
}
