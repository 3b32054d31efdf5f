//! Neighborhood collectives of Python objects: the sizes first, then the pickled bytes, by the library's own neighborhood
//! collectives, which know how neighbors are ordered.

use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use pyo3::types::PyList;

use super::{Comm, Topocomm, topo};
use crate::error::check;
use crate::ffi::*;
use crate::gil;
use crate::handle::Handle as _;
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
        let memory = Memory::for_message(message.len())?;
        // SAFETY: the memory has room for that many bytes and nobody else knows it yet.
        unsafe { std::ptr::copy_nonoverlapping(message.as_ptr(), memory.address().cast::<u8>(), message.len()) };
        list.append(object::load(py, memory)?)?;
    }
    Ok(list)
}

/// An object as bytes.
fn pack(object: &Bound<'_, PyAny>) -> PyResult<Vec<u8>> {
    let parcel = object::dump(object)?;
    if let Some(bytes) = parcel.contiguous() {
        return Ok(bytes.to_vec());
    }
    let memory = Memory::for_message(parcel.bytes())?;
    parcel.copy_to(&memory);
    // SAFETY: `copy_to` has filled all of the memory.
    Ok(unsafe { std::slice::from_raw_parts(memory.address().cast::<u8>(), memory.length()) }.to_vec())
}

/// What could not be pickled elsewhere is announced by this size.
const FAILED: MPI_Count = -1;

fn check_sizes(sizes: &[MPI_Count], operation: &str) -> PyResult<()> {
    if sizes.contains(&FAILED) {
        return Err(PyRuntimeError::new_err(format!("{operation}: a neighbor could not pickle its object")));
    }
    Ok(())
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
        let packed = pack(sendobj);
        let size = packed.as_ref().map_or(FAILED, |bytes| numbers::large_count(bytes.len()));
        let out = sizes.as_mut_ptr();
        // SAFETY: one count goes out, one comes in per incoming neighbor.
        check(gil::detached(py, || unsafe {
            MPI_Neighbor_allgather_c((&raw const size).cast(), 1, MPI_COUNT, out.cast(), 1, MPI_COUNT, raw)
        }))?;
        let mine = packed?;
        check_sizes(&sizes, "neighbor_allgather")?;
        let (places, total) = places(&sizes);
        let mut received = vec![0_u8; total];
        let (from, to) = (mine.as_ptr(), received.as_mut_ptr());
        // SAFETY: `received` has room for all blocks, one after the other.
        check(gil::detached(py, || unsafe {
            let (counts, displacements) = (sizes.as_ptr(), places.as_ptr());
            MPI_Neighbor_allgatherv_c(from.cast(), size, MPI_BYTE, to.cast(), counts, displacements, MPI_BYTE, raw)
        }))?;
        unpack(py, &received, &sizes)
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
        let packed: PyResult<Vec<u8>> = (|| {
            let mut bytes = Vec::new();
            if sendobj.is_none() && outdegree == 0 {
                return Ok(bytes);
            }
            numbers::expect_length(sendobj.len()?, out_sizes.len(), "sendobj")?;
            for (item, size) in sendobj.try_iter()?.zip(&mut out_sizes) {
                let message = pack(&item?)?;
                *size = numbers::large_count(message.len());
                bytes.extend_from_slice(&message);
            }
            Ok(bytes)
        })();
        if packed.is_err() {
            out_sizes.fill(FAILED);
        }
        let (out, into) = (out_sizes.as_ptr(), sizes.as_mut_ptr());
        // SAFETY: one count per neighbor in both directions.
        check(gil::detached(py, || unsafe {
            MPI_Neighbor_alltoall_c(out.cast(), 1, MPI_COUNT, into.cast(), 1, MPI_COUNT, raw)
        }))?;
        let mine = packed?;
        check_sizes(&sizes, "neighbor_alltoall")?;
        let ((out_places, _), (in_places, total)) = (places(&out_sizes), places(&sizes));
        let mut received = vec![0_u8; total];
        let (from, to) = (mine.as_ptr(), received.as_mut_ptr());
        // SAFETY: both buffers hold their blocks one after the other.
        check(gil::detached(py, || unsafe {
            MPI_Neighbor_alltoallv_c(
                from.cast(),
                out_sizes.as_ptr(),
                out_places.as_ptr(),
                MPI_BYTE,
                to.cast(),
                sizes.as_ptr(),
                in_places.as_ptr(),
                MPI_BYTE,
                raw,
            )
        }))?;
        unpack(py, &received, &sizes)
    }
}
