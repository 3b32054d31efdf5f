//! Windows (MPI 5.0 §12): none can exist yet, so every handle but the null one is wrong.

use std::ffi::c_int;

use phalanx_engine::ErrorClass;
use phalanx_mpi_macros::mpi_entry;

use crate::consts;
use crate::entry::{Done, Failure, wrong};
use crate::errors;
use crate::handle::{Kind, RawErrhandler, RawWin};
use crate::param::{Address, Out, TextOut};

/// Makes an error handler for windows.
#[mpi_entry(MPI_Win_create_errhandler, anytime)]
fn win_create_errhandler(function: Address, errhandler: Out<RawErrhandler>) -> Done {
    errhandler.set(errors::create(Kind::Win, function)?);
    Ok(())
}

fn no_window(win: RawWin) -> Failure {
    let what = if win == RawWin::NULL { "is MPI_WIN_NULL" } else { "is not valid" };
    wrong(ErrorClass::Win, format!("the window {what}"))
}

/// Sets a window's error handler.
#[mpi_entry(MPI_Win_set_errhandler)]
fn win_set_errhandler(win: RawWin, errhandler: RawErrhandler) -> Done {
    errors::handler(errhandler, Kind::Win)?;
    Err(no_window(win))
}

/// Gives a window's error handler.
#[mpi_entry(MPI_Win_get_errhandler)]
fn win_get_errhandler(win: RawWin, errhandler: Out<RawErrhandler>) -> Done {
    errhandler.set(RawErrhandler::NULL);
    Err(no_window(win))
}

/// Calls a window's error handler.
#[mpi_entry(MPI_Win_call_errhandler)]
fn win_call_errhandler(win: RawWin, code: c_int) -> Done {
    let _ = code;
    Err(no_window(win))
}

/// The name of a window; there is only the null window so far.
#[mpi_entry(MPI_Win_get_name)]
fn win_get_name(win: RawWin, name: TextOut, length: Out<c_int>) -> Done {
    if win != RawWin::NULL {
        return Err(no_window(win));
    }
    length.set(name.set("MPI_WIN_NULL", consts::MAX_OBJECT_NAME as usize)? as c_int);
    Ok(())
}
