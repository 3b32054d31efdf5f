//! A private communicator beside each user's communicator, for the messages inside collective operations on objects.
//!
//! It is made by the first such operation, which every rank of the communicator calls, and kept as an attribute of the
//! communicator, so that freeing that one frees it too. Its messages can never match the user's wildcards.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use pyo3::prelude::*;

use crate::error::check;
use crate::extras;
use crate::ffi::*;
use crate::gil;

/// What is kept for one communicator.
struct Context {
    /// As the user's communicator, with a context of its own.
    private: MPI_Comm,
    /// The local group of an intercommunicator as an intracommunicator; null for an intracommunicator.
    local: MPI_Comm,
    /// Operations that have used it.
    calls: AtomicU32,
}

/// The private communicators to use.
#[derive(Clone, Copy)]
pub(crate) struct Private {
    /// As the user's communicator: inter where that one is.
    pub(crate) comm: MPI_Comm,
    /// An intracommunicator of the local group.
    pub(crate) local: MPI_Comm,
    /// The number of this operation.
    pub(crate) call: u32,
}

static KEYVAL: OnceLock<c_int> = OnceLock::new();

/// The tag on which the processes of one side of an intercommunicator find each other.
const LOCAL_TAG: c_int = 0;

extern "C" fn delete(_comm: MPI_Comm, _keyval: c_int, value: *mut c_void, _state: *mut c_void) -> c_int {
    // SAFETY: the value was made by `Box::into_raw` in `private`, and MPI deletes an attribute once.
    let mut context = unsafe { Box::from_raw(value.cast::<Context>()) };
    for comm in [&mut context.private, &mut context.local] {
        if *comm != MPI_COMM_NULL {
            // SAFETY: the communicator is ours. An error has nowhere to go: the user's communicator is freed anyhow.
            let _ = unsafe { MPI_Comm_free(comm) };
        }
    }
    MPI_SUCCESS
}

fn keyval() -> PyResult<c_int> {
    if let Some(keyval) = KEYVAL.get() {
        return Ok(*keyval);
    }
    let mut keyval = MPI_KEYVAL_INVALID;
    // SAFETY: the null copy function is the constant the standard names; `delete` has the expected signature.
    check(unsafe {
        MPI_Comm_create_keyval(
            MPI_COMM_NULL_COPY_FN as *mut c_void,
            delete as *mut c_void,
            &mut keyval,
            std::ptr::null_mut(),
        )
    })?;
    Ok(*KEYVAL.get_or_init(|| keyval))
}

/// The private communicators of `comm`, for one operation that all ranks call; collective over `comm` the first time.
///
/// # Errors
/// `MPI.Exception`.
pub(crate) fn private(py: Python<'_>, comm: MPI_Comm, inter: bool) -> PyResult<Private> {
    let keyval = keyval()?;
    let (mut value, mut found) = (std::ptr::null_mut::<c_void>(), 0);
    // SAFETY: both pointers are valid for the writes.
    check(unsafe { MPI_Comm_get_attr(comm, keyval, (&raw mut value).cast(), &mut found) })?;
    if found == 0 {
        let context = Box::new(gil::detached(py, || make(comm, inter))?);
        value = Box::into_raw(context).cast();
        // SAFETY: the attribute takes the value over; `delete` frees it.
        check(unsafe { MPI_Comm_set_attr(comm, keyval, value) })?;
    }
    // SAFETY: the attribute's value is a `Context` until `delete` runs, which freeing `comm` does.
    let context = unsafe { &*value.cast::<Context>() };
    let local = if inter { context.local } else { context.private };
    Ok(Private { comm: context.private, local, call: context.calls.fetch_add(1, Relaxed) })
}

/// Makes the communicators. Splitting, unlike duplicating, calls no attribute function of the user's.
fn make(comm: MPI_Comm, inter: bool) -> PyResult<Context> {
    let mut context = Context { private: MPI_COMM_NULL, local: MPI_COMM_NULL, calls: AtomicU32::new(0) };
    let mut rank = 0;
    // SAFETY: all pointers below are valid for the calls' reads and writes.
    unsafe {
        check(MPI_Comm_rank(comm, &mut rank))?;
        check(MPI_Comm_split(comm, 0, rank, &mut context.private))?;
        extras::serves(context.private, comm);
        if inter {
            let (mut merged, mut group) = (MPI_COMM_NULL, MPI_GROUP_NULL);
            check(MPI_Intercomm_merge(context.private, 0, &mut merged))?;
            check(MPI_Comm_group(comm, &mut group))?;
            check(MPI_Comm_create_group(merged, group, LOCAL_TAG, &mut context.local))?;
            check(MPI_Group_free(&mut group))?;
            check(MPI_Comm_free(&mut merged))?;
        }
    }
    Ok(context)
}
