//! Parcels as MPI sees them: address, count and datatype.

use phalanx_object::Parcel;
use pyo3::prelude::*;

use crate::error::check;
use crate::extras;
use crate::ffi::*;

/// Calls `send` with the message as address, count and datatype.
///
/// One of several pieces is described by a derived datatype over absolute addresses, so that no byte is copied to gather
/// it. The datatype is freed after the call, which MPI allows even when the operation is still under way; the parcel
/// itself must live until the operation is complete.
///
/// # Errors
/// What `send` returned, or `MPI.Exception` when the datatype cannot be made.
pub(crate) fn describe<T>(
    parcel: &Parcel,
    send: impl FnOnce(*const c_void, MPI_Count, MPI_Datatype) -> T,
) -> PyResult<T> {
    if let Some(bytes) = parcel.contiguous() {
        return Ok(send(bytes.as_ptr().cast(), bytes.len() as MPI_Count, MPI_BYTE));
    }
    let pieces = parcel.pieces();
    let lengths: Vec<MPI_Count> = pieces.iter().map(|piece| piece.bytes().len() as MPI_Count).collect();
    let places: Vec<MPI_Count> =
        pieces.iter().map(|piece| piece.bytes().as_ptr().expose_provenance() as MPI_Count).collect();
    let count = pieces.len() as MPI_Count;
    let mut whole = MPI_DATATYPE_NULL;
    // SAFETY: both arrays have `count` items; `whole` is valid for the write.
    check(unsafe { MPI_Type_create_hindexed_c(count, lengths.as_ptr(), places.as_ptr(), MPI_BYTE, &mut whole) })?;
    // SAFETY: the datatype was just made.
    let committed = check(unsafe { MPI_Type_commit(&mut whole) });
    let sent = committed.map(|()| send(MPI_BOTTOM as *const c_void, 1, whole));
    // SAFETY: the datatype is ours; operations under way keep what they need of it.
    check(unsafe { MPI_Type_free(&mut whole) })?;
    sent
}

/// As [`describe`], for a collective operation, which must be over when `call` returns.
///
/// Only the embedded engine gets the derived datatype: broadcasts of such a one end in a segmentation fault in MPICH
/// 5.0.2. Other libraries get a contiguous copy.
///
/// # Errors
/// As [`describe`]; `MemoryError`.
pub(crate) fn describe_collective<T>(
    parcel: &Parcel,
    call: impl FnOnce(*const c_void, MPI_Count, MPI_Datatype) -> T,
) -> PyResult<T> {
    if parcel.contiguous().is_some() || extras::is_embedded() {
        return describe(parcel, call);
    }
    let memory = parcel.copy()?;
    Ok(call(memory.address(), memory.length() as MPI_Count, MPI_BYTE))
}
