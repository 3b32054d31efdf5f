//! Synchronization of windows (MPI 5.0 §12.5).

use std::ffi::c_int;

use phalanx_engine::ErrorClass;
use phalanx_engine::win::{Assertions, Hold};
use phalanx_mpi_macros::mpi_entry;

use super::WinRef;
use crate::consts;
use crate::entry::{Done, Failure, wrong};
use crate::group::GroupRef;
use crate::param::Out;

const ALL: c_int =
    consts::MODE_NOCHECK | consts::MODE_NOSTORE | consts::MODE_NOPUT | consts::MODE_NOPRECEDE | consts::MODE_NOSUCCEED;

/// What the program promises. Those of `MPI_MODE_NOSTORE`, `NOPUT` and `NOPRECEDE` would save nothing here.
fn assertions(word: c_int) -> Result<Assertions, Failure> {
    if word & !ALL != 0 {
        return Err(wrong(ErrorClass::Assert, format!("{word} is not a union of MPI_MODE_... constants")));
    }
    Ok(Assertions { nocheck: word & consts::MODE_NOCHECK != 0, nosucceed: word & consts::MODE_NOSUCCEED != 0 })
}

/// Ends an epoch of access to all processes and begins the next. All processes must call it; blocks.
#[mpi_entry(MPI_Win_fence, composed)]
fn win_fence(assert: c_int, win: WinRef) -> Done {
    Ok(win.win.fence(assertions(assert)?)?)
}

/// Lets a group access the memory of this process.
#[mpi_entry(MPI_Win_post)]
fn win_post(group: GroupRef, assert: c_int, win: WinRef) -> Done {
    assertions(assert)?;
    Ok(win.win.post(&group)?)
}

/// Begins to access the memory of a group. Waits until all of it have posted.
#[mpi_entry(MPI_Win_start)]
fn win_start(group: GroupRef, assert: c_int, win: WinRef) -> Done {
    Ok(win.win.start(&group, assertions(assert)?)?)
}

/// Ends the access to a group.
#[mpi_entry(MPI_Win_complete)]
fn win_complete(win: WinRef) -> Done {
    Ok(win.win.complete()?)
}

/// Waits until a group has completed its access.
#[mpi_entry(MPI_Win_wait)]
fn win_wait(win: WinRef) -> Done {
    Ok(win.win.wait()?)
}

/// Tells whether a group has completed its access.
#[mpi_entry(MPI_Win_test)]
fn win_test(win: WinRef, flag: Out<c_int>) -> Done {
    flag.set(win.win.test()?.into());
    Ok(())
}

/// Begins to access the memory of a process, which need not take part. Waits until the lock can be had.
#[mpi_entry(MPI_Win_lock)]
fn win_lock(kind: c_int, rank: c_int, assert: c_int, win: WinRef) -> Done {
    let hold = match kind {
        consts::LOCK_SHARED => Hold::Shared,
        consts::LOCK_EXCLUSIVE => Hold::Exclusive,
        _ => {
            let text = format!("{kind} is neither MPI_LOCK_SHARED nor MPI_LOCK_EXCLUSIVE");
            return Err(wrong(ErrorClass::Locktype, text));
        }
    };
    let assertions = assertions(assert)?;
    if rank == consts::PROC_NULL {
        return Ok(());
    }
    Ok(win.win.lock(hold, rank, assertions)?)
}

/// Begins to access the memory of all processes, which need not take part. Waits until the locks can be had.
#[mpi_entry(MPI_Win_lock_all)]
fn win_lock_all(assert: c_int, win: WinRef) -> Done {
    Ok(win.win.lock_all(assertions(assert)?)?)
}

/// Ends the access to the memory of a process.
#[mpi_entry(MPI_Win_unlock)]
fn win_unlock(rank: c_int, win: WinRef) -> Done {
    if rank == consts::PROC_NULL {
        return Ok(());
    }
    Ok(win.win.unlock(rank)?)
}

/// Ends the access to the memory of all processes.
#[mpi_entry(MPI_Win_unlock_all)]
fn win_unlock_all(win: WinRef) -> Done {
    Ok(win.win.unlock_all()?)
}

/// Completes the operations on a process, here and there.
#[mpi_entry(MPI_Win_flush)]
fn win_flush(rank: c_int, win: WinRef) -> Done {
    Ok(win.win.flush(Some(rank))?)
}

/// Completes the operations on all processes, here and there.
#[mpi_entry(MPI_Win_flush_all)]
fn win_flush_all(win: WinRef) -> Done {
    Ok(win.win.flush(None)?)
}

/// Completes the operations on a process here.
#[mpi_entry(MPI_Win_flush_local)]
fn win_flush_local(rank: c_int, win: WinRef) -> Done {
    Ok(win.win.flush(Some(rank))?)
}

/// Completes the operations on all processes here.
#[mpi_entry(MPI_Win_flush_local_all)]
fn win_flush_local_all(win: WinRef) -> Done {
    Ok(win.win.flush(None)?)
}

/// Makes what this process and others have written to the window known to each other.
#[mpi_entry(MPI_Win_sync)]
fn win_sync(win: WinRef) -> Done {
    win.win.sync();
    Ok(())
}
