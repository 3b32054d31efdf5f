//! What the ranks of a communicator remember of its last broadcast of an object: how long its message was, about.
//!
//! The first part of a broadcast has a fixed size, which all ranks must choose alike before they know the message. All of
//! them have learnt the size of the last one. It is remembered as an attribute of the communicator, so that it goes with
//! it; the value is no address, but the size itself.

use std::sync::OnceLock;

use crate::error::check;
use crate::ffi::*;

static KEYVAL: OnceLock<c_int> = OnceLock::new();

fn keyval() -> Result<c_int, c_int> {
    if let Some(keyval) = KEYVAL.get() {
        return Ok(*keyval);
    }
    let mut keyval = MPI_KEYVAL_INVALID;
    // SAFETY: both functions are the constants that the standard names; the place is valid for the write.
    let code = unsafe {
        MPI_Comm_create_keyval(
            MPI_COMM_NULL_COPY_FN as *mut c_void,
            MPI_COMM_NULL_DELETE_FN as *mut c_void,
            &mut keyval,
            std::ptr::null_mut(),
        )
    };
    if code == MPI_SUCCESS { Ok(*KEYVAL.get_or_init(|| keyval)) } else { Err(code) }
}

/// The size of the first part of the next broadcast on a communicator; `first` as long as there was none.
///
/// # Errors
/// `MPI.Exception`.
pub(crate) fn block(comm: MPI_Comm, first: usize) -> pyo3::PyResult<usize> {
    let (mut value, mut found) = (std::ptr::null_mut::<c_void>(), 0);
    let code = match keyval() {
        // SAFETY: both places are valid for the writes.
        Ok(keyval) => unsafe { MPI_Comm_get_attr(comm, keyval, (&raw mut value).cast(), &mut found) },
        Err(code) => code,
    };
    check(code)?;
    Ok(if found == 0 { first } else { value.addr() })
}

/// Sets the size of the first part of the next broadcast, which all ranks have to set alike.
///
/// # Errors
/// `MPI.Exception`.
pub(crate) fn set_block(comm: MPI_Comm, size: usize) -> pyo3::PyResult<()> {
    let code = match keyval() {
        // SAFETY: passes a value that nobody takes for an address.
        Ok(keyval) => unsafe { MPI_Comm_set_attr(comm, keyval, std::ptr::without_provenance_mut(size)) },
        Err(code) => code,
    };
    check(code)
}
