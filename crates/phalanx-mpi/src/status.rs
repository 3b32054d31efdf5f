//! Statuses as C sees them (MPI 5.0 §3.2.5): 32 bytes, five words of them the library's.

use std::ffi::c_int;

use phalanx_engine::{ErrorClass, Status};
use phalanx_mpi_macros::mpi_entry;

use crate::consts;
use crate::entry::{Done, Failure, wrong};
use crate::param::{Out, Param};

/// `MPI_Status`. The library's words hold the size in bytes (two words) and the mark of a cancelled operation.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub(crate) struct CStatus {
    source: c_int,
    tag: c_int,
    error: c_int,
    internal: [c_int; 5],
}

impl CStatus {
    /// A status with an error field of success.
    pub(crate) fn of(status: &Status) -> CStatus {
        let mut out = CStatus { source: 0, tag: 0, error: consts::SUCCESS, internal: [0; 5] };
        out.assign(status);
        out
    }

    /// Takes over everything but the error field, which single completions must leave alone.
    fn assign(&mut self, status: &Status) {
        self.source = status.source;
        self.tag = status.tag;
        self.internal = [0; 5];
        self.set_bytes(status.bytes);
        self.internal[2] = status.cancelled.into();
    }

    fn set_bytes(&mut self, bytes: u64) {
        self.internal[0] = bytes as u32 as c_int;
        self.internal[1] = (bytes >> 32) as u32 as c_int;
    }

    fn bytes(&self) -> u64 {
        u64::from(self.internal[0] as u32) | (u64::from(self.internal[1] as u32) << 32)
    }

    /// What the engine calls a status.
    pub(crate) fn to_engine(self) -> Status {
        Status { source: self.source, tag: self.tag, bytes: self.bytes(), cancelled: self.internal[2] != 0 }
    }
}

/// A place for one status; `MPI_STATUS_IGNORE` is a null pointer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct StatusOut(*mut CStatus);

impl<W> Param<W> for StatusOut {
    type Raw = *mut CStatus;
    unsafe fn decode(raw: *mut CStatus) -> Result<StatusOut, Failure> {
        Ok(StatusOut(raw))
    }
}

impl StatusOut {
    fn update(self, f: impl FnOnce(&mut CStatus)) {
        if !self.0.is_null() {
            // SAFETY: not null, and valid for the call as the caller of `decode` promised; nothing else refers to it.
            f(unsafe { &mut *self.0 });
        }
    }

    /// Stores an outcome, all but the error field.
    #[inline]
    pub(crate) fn set(self, status: &Status) {
        self.update(|s| s.assign(status));
    }

    /// Stores the empty status, whose error field is part of it.
    pub(crate) fn set_empty(self) {
        self.update(|s| *s = CStatus::of(&Status::EMPTY));
    }

    /// Stores the size.
    pub(crate) fn set_bytes(self, bytes: usize) {
        self.update(|s| s.set_bytes(bytes as u64));
    }
}

/// A place for several statuses; `MPI_STATUSES_IGNORE` is a null pointer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct StatusesOut(*mut CStatus);

impl<W> Param<W> for StatusesOut {
    type Raw = *mut CStatus;
    unsafe fn decode(raw: *mut CStatus) -> Result<StatusesOut, Failure> {
        Ok(StatusesOut(raw))
    }
}

impl StatusesOut {
    /// The place for status number `i`.
    pub(crate) fn at(self, i: usize) -> StatusOut {
        if self.0.is_null() { StatusOut(self.0) } else { StatusOut(self.0.wrapping_add(i)) }
    }

    /// Stores the error field of status number `i`, which calls that complete several requests do when one failed.
    pub(crate) fn set_error(self, i: usize, code: c_int) {
        self.at(i).update(|s| s.error = code);
    }
}

/// A status that the function reads.
#[derive(Clone, Copy, Debug)]
pub(crate) struct StatusIn(CStatus);

impl<W> Param<W> for StatusIn {
    type Raw = *const CStatus;
    unsafe fn decode(raw: *const CStatus) -> Result<StatusIn, Failure> {
        if raw.is_null() {
            return Err(wrong(ErrorClass::Arg, "the status is a null pointer (MPI_STATUS_IGNORE has nothing to tell)"));
        }
        // SAFETY: not null, and valid for the call as the caller promised.
        Ok(StatusIn(unsafe { *raw }))
    }
}

impl StatusIn {
    /// Bytes of data.
    pub(crate) fn bytes(&self) -> u64 {
        self.0.bytes()
    }
}

/// Whether the operation was cancelled.
#[mpi_entry(MPI_Test_cancelled)]
fn test_cancelled(status: StatusIn, flag: Out<c_int>) -> Done {
    flag.set((status.0.internal[2] != 0).into());
    Ok(())
}

/// Sets what `MPI_Test_cancelled` will give.
#[mpi_entry(MPI_Status_set_cancelled, anytime)]
fn status_set_cancelled(status: StatusOut, flag: c_int) -> Done {
    status.update(|s| s.internal[2] = (flag != 0).into());
    Ok(())
}

/// The sender.
#[mpi_entry(MPI_Status_get_source, anytime)]
fn status_get_source(status: StatusIn, source: Out<c_int>) -> Done {
    source.set(status.0.source);
    Ok(())
}

/// The tag.
#[mpi_entry(MPI_Status_get_tag, anytime)]
fn status_get_tag(status: StatusIn, tag: Out<c_int>) -> Done {
    tag.set(status.0.tag);
    Ok(())
}

/// The error.
#[mpi_entry(MPI_Status_get_error, anytime)]
fn status_get_error(status: StatusIn, error: Out<c_int>) -> Done {
    error.set(status.0.error);
    Ok(())
}

/// Sets the sender.
#[mpi_entry(MPI_Status_set_source, anytime)]
fn status_set_source(status: StatusOut, source: c_int) -> Done {
    status.update(|s| s.source = source);
    Ok(())
}

/// Sets the tag.
#[mpi_entry(MPI_Status_set_tag, anytime)]
fn status_set_tag(status: StatusOut, tag: c_int) -> Done {
    status.update(|s| s.tag = tag);
    Ok(())
}

/// Sets the error.
#[mpi_entry(MPI_Status_set_error, anytime)]
fn status_set_error(status: StatusOut, error: c_int) -> Done {
    status.update(|s| s.error = error);
    Ok(())
}
