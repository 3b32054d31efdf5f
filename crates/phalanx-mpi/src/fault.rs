//! User-level failure mitigation: the standard ABI has no functions for it, so these have our prefix. What they do is what
//! the MPI Forum's fault tolerance group has written down for `MPIX_Comm_*`.
//!
//! Error classes: a failed process is of class `MPI_ERR_PROC_ABORTED`, which the standard has. A revoked communicator is of
//! class [16001](crate::numbers), and a receive from any rank that goes on although a process has failed, of class 16002.

use std::ffi::c_int;

use phalanx_engine::{Error, ErrorClass};
use phalanx_mpi_macros::mpi_entry;
use phalanx_shm::mem::MutMem;

use crate::buffer::RecvPtr;
use crate::comm::{CommRef, adopt, adopt_with};
use crate::entry::{Done, wrong};
use crate::handle::{RawComm, RawGroup, RawRequest};
use crate::param::{Address, Out};
use crate::request;

/// Makes a communicator useless at all its members, which learn of it wherever they wait. Not collective.
#[mpi_entry(PHALANX_Comm_revoke)]
fn comm_revoke(comm: CommRef) -> Done {
    Ok(comm.comm.revoke()?)
}

/// Whether a communicator is known to have been revoked. Local.
#[mpi_entry(PHALANX_Comm_is_revoked)]
fn comm_is_revoked(comm: CommRef, flag: Out<c_int>) -> Done {
    flag.set(comm.comm.is_revoked().into());
    Ok(())
}

/// The group of the members that are known to have failed. Local.
#[mpi_entry(PHALANX_Comm_get_failed)]
fn comm_get_failed(comm: CommRef, group: Out<RawGroup>) -> Done {
    group.set(crate::group::adopt(comm.comm.failed()?)?);
    Ok(())
}

/// Acknowledges the first `num_to_ack` members of the group that `PHALANX_Comm_get_failed` gives; `num_acked` is how many
/// have been acknowledged in all. Local.
#[mpi_entry(PHALANX_Comm_ack_failed)]
fn comm_ack_failed(comm: CommRef, num_to_ack: c_int, num_acked: Out<c_int>) -> Done {
    let n = usize::try_from(num_to_ack).map_err(|_| {
        wrong(ErrorClass::Arg, format!("{num_to_ack} failures to be acknowledged: the number is negative"))
    })?;
    num_acked.set(comm.comm.acknowledge_failed(n)? as c_int);
    Ok(())
}

/// Agrees with all living members on the bitwise AND of their flags. The flag is set with an error, too.
#[mpi_entry(PHALANX_Comm_agree)]
fn comm_agree(comm: CommRef, flag: Out<c_int>) -> Done {
    let (agreed, outcome) = comm.comm.agree(flag.get());
    flag.set(agreed);
    Ok(outcome?)
}

/// Starts an agreement: `flag` is read now, and holds the outcome when the request is complete.
#[mpi_entry(PHALANX_Comm_iagree)]
fn comm_iagree(comm: CommRef, flag: RecvPtr, request: Out<RawRequest>) -> Done {
    if flag.0 == 0 {
        return Err(wrong(ErrorClass::Arg, "the pointer to the flag is null"));
    }
    // SAFETY: the program promised an int there until the operation has completed.
    let flag = unsafe { MutMem::new(flag.0 as *mut u8, size_of::<c_int>()) };
    request.set(request::adopt(comm.comm.iagree(flag)?, comm.error_object())?);
    Ok(())
}

/// Makes a communicator of the living members.
#[mpi_entry(PHALANX_Comm_shrink)]
fn comm_shrink(comm: CommRef, newcomm: Out<RawComm>) -> Done {
    newcomm.set(RawComm::NULL);
    newcomm.set(adopt(comm.comm.shrink()?, Some(&comm))?);
    Ok(())
}

/// Starts to make a communicator of the living members: its handle is at `newcomm` when the request is complete.
#[mpi_entry(PHALANX_Comm_ishrink)]
fn comm_ishrink(comm: CommRef, newcomm: Address, request: Out<RawRequest>) -> Done {
    let place = newcomm.0 as *mut RawComm;
    if place.is_null() {
        return Err(wrong(ErrorClass::Arg, "a pointer to a result is null"));
    }
    let set = |address: usize, new: RawComm| {
        // SAFETY: the program promised room for a handle there until the operation has completed.
        unsafe { (address as *mut RawComm).write_unaligned(new) }
    };
    set(newcomm.0, RawComm::NULL);
    let (handler, address) = (comm.handler(), newcomm.0);
    let done = move |new| {
        let adopted = adopt_with(new, handler.clone(), phalanx_engine::Info::default());
        let full = |_| Error::new(ErrorClass::Other, "too many communicators exist; free some");
        set(address, adopted.map_err(full)?);
        Ok(())
    };
    request.set(request::adopt(comm.comm.ishrink(done)?, comm.error_object())?);
    Ok(())
}
