//! The binary interface itself (MPI 5.0 §20): its version, handles as integers, what Fortran's logicals look like.

use std::ffi::c_int;
use std::sync::{Mutex, PoisonError};

use phalanx_engine::ErrorClass;
use phalanx_engine::info::Info;
use phalanx_mpi_macros::mpi_entry;

use crate::consts;
use crate::entry::{Done, wrong};
use crate::handle::*;
use crate::param::{Address, Out};

/// The version of the ABI.
#[mpi_entry(MPI_Abi_get_version, anytime)]
fn abi_get_version(major: Out<c_int>, minor: Out<c_int>) -> Done {
    major.set(consts::ABI_VERSION);
    minor.set(consts::ABI_SUBVERSION);
    Ok(())
}

/// Sizes of the ABI's integer types.
#[mpi_entry(MPI_Abi_get_info, anytime)]
fn abi_get_info(info: Out<RawInfo>) -> Done {
    let sizes = Info::new();
    sizes.set("mpi_aint_size", &size_of::<isize>().to_string())?;
    sizes.set("mpi_count_size", &size_of::<i64>().to_string())?;
    sizes.set("mpi_offset_size", &size_of::<i64>().to_string())?;
    info.set(crate::info::adopt(sizes)?);
    Ok(())
}

/// What a Fortran compiler's logicals look like: their size and the two values.
struct Booleans {
    size: usize,
    yes: [u8; 16],
    no: [u8; 16],
}

static BOOLEANS: Mutex<Option<Booleans>> = Mutex::new(None);
static FORTRAN: Mutex<Vec<(String, String)>> = Mutex::new(Vec::new());

fn logical_size(size: c_int) -> Result<usize, crate::entry::Failure> {
    match size {
        1 | 2 | 4 | 8 | 16 => Ok(size as usize),
        _ => Err(wrong(
            ErrorClass::Arg,
            format!("a Fortran logical of {size} bytes is not possible; use 1, 2, 4, 8 or 16"),
        )),
    }
}

/// Tells the library what a Fortran compiler's logicals look like.
#[mpi_entry(MPI_Abi_set_fortran_booleans, anytime)]
fn abi_set_fortran_booleans(size: c_int, yes: Address, no: Address) -> Done {
    let size = logical_size(size)?;
    if yes.0 == 0 || no.0 == 0 {
        return Err(wrong(ErrorClass::Arg, "a pointer to a logical value is null"));
    }
    let mut kept = BOOLEANS.lock().unwrap_or_else(PoisonError::into_inner);
    if kept.is_some() {
        return Err(wrong(ErrorClass::Abi, "Fortran's logical values have been set already"));
    }
    let mut booleans = Booleans { size, yes: [0; 16], no: [0; 16] };
    // SAFETY: both addresses are not null, and the program promised `size` (at most 16) bytes behind each.
    unsafe {
        std::ptr::copy_nonoverlapping(yes.0 as *const u8, booleans.yes.as_mut_ptr(), size);
        std::ptr::copy_nonoverlapping(no.0 as *const u8, booleans.no.as_mut_ptr(), size);
    }
    *kept = Some(booleans);
    Ok(())
}

/// What a Fortran compiler's logicals look like, if somebody has told.
#[mpi_entry(MPI_Abi_get_fortran_booleans, anytime)]
fn abi_get_fortran_booleans(size: c_int, yes: Address, no: Address, is_set: Out<c_int>) -> Done {
    let size = logical_size(size)?;
    let kept = BOOLEANS.lock().unwrap_or_else(PoisonError::into_inner);
    let found = kept.as_ref().filter(|b| b.size == size);
    is_set.set(found.is_some().into());
    if let Some(found) = found {
        if yes.0 == 0 || no.0 == 0 {
            return Err(wrong(ErrorClass::Arg, "a pointer to a logical value is null"));
        }
        // SAFETY: both addresses are not null, and the program promised room for `size` bytes behind each.
        unsafe {
            std::ptr::copy_nonoverlapping(found.yes.as_ptr(), yes.0 as *mut u8, size);
            std::ptr::copy_nonoverlapping(found.no.as_ptr(), no.0 as *mut u8, size);
        }
    }
    Ok(())
}

/// Tells the library the sizes of a Fortran compiler's types.
#[mpi_entry(MPI_Abi_set_fortran_info, anytime)]
fn abi_set_fortran_info(info: RawInfo) -> Done {
    let entries = crate::info::entries_of(info)?;
    let mut kept = FORTRAN.lock().unwrap_or_else(PoisonError::into_inner);
    if !kept.is_empty() {
        return Err(wrong(ErrorClass::Abi, "the sizes of Fortran's types have been set already"));
    }
    *kept = entries;
    Ok(())
}

/// The sizes of a Fortran compiler's types, or the null handle when nobody has told.
#[mpi_entry(MPI_Abi_get_fortran_info, anytime)]
fn abi_get_fortran_info(info: Out<RawInfo>) -> Done {
    let kept = FORTRAN.lock().unwrap_or_else(PoisonError::into_inner).clone();
    info.set(if kept.is_empty() { RawInfo::NULL } else { crate::info::adopt(Info::from_entries(kept)?)? });
    Ok(())
}

// Handles as integers: the value is the same, since every handle fits an `int`.

/// The handle of a communicator as an integer.
#[mpi_entry(MPI_Comm_toint, value)]
fn comm_toint(handle: RawComm) -> c_int {
    handle.0 as c_int
}

/// The handle of a communicator from an integer.
#[mpi_entry(MPI_Comm_fromint, value)]
fn comm_fromint(handle: c_int) -> RawComm {
    RawComm(handle as usize)
}

/// The handle of an error handler as an integer.
#[mpi_entry(MPI_Errhandler_toint, value)]
fn errhandler_toint(handle: RawErrhandler) -> c_int {
    handle.0 as c_int
}

/// The handle of an error handler from an integer.
#[mpi_entry(MPI_Errhandler_fromint, value)]
fn errhandler_fromint(handle: c_int) -> RawErrhandler {
    RawErrhandler(handle as usize)
}

/// The handle of a file as an integer.
#[mpi_entry(MPI_File_toint, value)]
fn file_toint(handle: RawFile) -> c_int {
    handle.0 as c_int
}

/// The handle of a file from an integer.
#[mpi_entry(MPI_File_fromint, value)]
fn file_fromint(handle: c_int) -> RawFile {
    RawFile(handle as usize)
}

/// The handle of a group as an integer.
#[mpi_entry(MPI_Group_toint, value)]
fn group_toint(handle: RawGroup) -> c_int {
    handle.0 as c_int
}

/// The handle of a group from an integer.
#[mpi_entry(MPI_Group_fromint, value)]
fn group_fromint(handle: c_int) -> RawGroup {
    RawGroup(handle as usize)
}

/// The handle of an info object as an integer.
#[mpi_entry(MPI_Info_toint, value)]
fn info_toint(handle: RawInfo) -> c_int {
    handle.0 as c_int
}

/// The handle of an info object from an integer.
#[mpi_entry(MPI_Info_fromint, value)]
fn info_fromint(handle: c_int) -> RawInfo {
    RawInfo(handle as usize)
}

/// The handle of a message as an integer.
#[mpi_entry(MPI_Message_toint, value)]
fn message_toint(handle: RawMessage) -> c_int {
    handle.0 as c_int
}

/// The handle of a message from an integer.
#[mpi_entry(MPI_Message_fromint, value)]
fn message_fromint(handle: c_int) -> RawMessage {
    RawMessage(handle as usize)
}

/// The handle of an operation as an integer.
#[mpi_entry(MPI_Op_toint, value)]
fn op_toint(handle: RawOp) -> c_int {
    handle.0 as c_int
}

/// The handle of an operation from an integer.
#[mpi_entry(MPI_Op_fromint, value)]
fn op_fromint(handle: c_int) -> RawOp {
    RawOp(handle as usize)
}

/// The handle of a request as an integer.
#[mpi_entry(MPI_Request_toint, value)]
fn request_toint(handle: RawRequest) -> c_int {
    handle.0 as c_int
}

/// The handle of a request from an integer.
#[mpi_entry(MPI_Request_fromint, value)]
fn request_fromint(handle: c_int) -> RawRequest {
    RawRequest(handle as usize)
}

/// The handle of a session as an integer.
#[mpi_entry(MPI_Session_toint, value)]
fn session_toint(handle: RawSession) -> c_int {
    handle.0 as c_int
}

/// The handle of a session from an integer.
#[mpi_entry(MPI_Session_fromint, value)]
fn session_fromint(handle: c_int) -> RawSession {
    RawSession(handle as usize)
}

/// The handle of a datatype as an integer.
#[mpi_entry(MPI_Type_toint, value)]
fn type_toint(handle: RawType) -> c_int {
    handle.0 as c_int
}

/// The handle of a datatype from an integer.
#[mpi_entry(MPI_Type_fromint, value)]
fn type_fromint(handle: c_int) -> RawType {
    RawType(handle as usize)
}

/// The handle of a window as an integer.
#[mpi_entry(MPI_Win_toint, value)]
fn win_toint(handle: RawWin) -> c_int {
    handle.0 as c_int
}

/// The handle of a window from an integer.
#[mpi_entry(MPI_Win_fromint, value)]
fn win_fromint(handle: c_int) -> RawWin {
    RawWin(handle as usize)
}
