//! Creation and freeing of windows (MPI 5.0 §12.2).

use std::ffi::{c_int, c_void};
use std::sync::Arc;

use phalanx_engine::win::Window;
use phalanx_engine::{Comm, ErrorClass};
use phalanx_mpi_macros::mpi_entry;
use phalanx_shm::mem::MutMem;

use super::{WINS, WinObject, WinRef, no_window};
use crate::comm::CommRef;
use crate::consts;
use crate::entry::{Done, Failure, wrong};
use crate::handle::RawWin;
use crate::info::InfoRef;
use crate::param::{Address, CountOut, InOutHandle, Number, Out};

/// A rank's part of a new window: bytes, and bytes of a unit of displacements.
fn part(size: isize, unit: Number) -> Result<(usize, usize), Failure> {
    let bytes = usize::try_from(size)
        .map_err(|_| wrong(ErrorClass::Size, format!("the size of the window is {size}; it must not be negative")))?;
    match usize::try_from(unit.0) {
        Ok(unit @ 1..) => Ok((bytes, unit)),
        _ => Err(wrong(ErrorClass::Disp, format!("the displacement unit is {}; it must be positive", unit.0))),
    }
}

fn intra(comm: &Comm) -> Done {
    if comm.is_inter() {
        let text = format!("{} is an intercommunicator; a window needs an intracommunicator", comm.title());
        return Err(wrong(ErrorClass::Comm, text));
    }
    Ok(())
}

/// Gives a new window a handle.
fn adopt(win: Window, info: &InfoRef) -> Result<RawWin, Failure> {
    let hints = info.hints()?;
    let raw = WINS.insert_with(|raw| Arc::new(WinObject::new(win, raw, hints)));
    raw.map(RawWin).ok_or_else(|| wrong(ErrorClass::Other, "too many windows exist; free some"))
}

/// Makes a window over memory of the program. All processes of the communicator must call it; blocks.
#[mpi_entry(MPI_Win_create, poly)]
fn win_create(base: Address, size: isize, unit: Number, info: InfoRef, comm: CommRef, win: Out<RawWin>) -> Done {
    win.set(RawWin::NULL);
    intra(&comm.comm)?;
    let (bytes, unit) = part(size, unit)?;
    if bytes > 0 && base.0 <= consts::BUFFER_AUTOMATIC {
        return Err(wrong(ErrorClass::Base, format!("the base address 0x{:x} is not memory of {bytes} bytes", base.0)));
    }
    // SAFETY: the program promised memory of this size, which it and others may read and write until the window is freed.
    let memory = unsafe { MutMem::new(base.0 as *mut u8, bytes) };
    win.set(adopt(Window::create(&comm.comm, memory, unit)?, &info)?);
    Ok(())
}

/// Makes a window with new memory. All processes of the communicator must call it; blocks.
#[mpi_entry(MPI_Win_allocate, poly)]
fn win_allocate(
    size: isize,
    unit: Number,
    info: InfoRef,
    comm: CommRef,
    base: Out<*mut c_void>,
    win: Out<RawWin>,
) -> Done {
    win.set(RawWin::NULL);
    intra(&comm.comm)?;
    let (bytes, unit) = part(size, unit)?;
    let new = Window::allocate(&comm.comm, bytes, unit)?;
    base.set(new.memory().as_ptr().cast());
    win.set(adopt(new, &info)?);
    Ok(())
}

/// Makes a window with new memory that all its processes reach directly. All processes of the communicator must call it;
/// blocks.
#[mpi_entry(MPI_Win_allocate_shared, poly)]
fn win_allocate_shared(
    size: isize,
    unit: Number,
    info: InfoRef,
    comm: CommRef,
    base: Out<*mut c_void>,
    win: Out<RawWin>,
) -> Done {
    win.set(RawWin::NULL);
    intra(&comm.comm)?;
    let (bytes, unit) = part(size, unit)?;
    let apart = info.hints()?.get("alloc_shared_noncontig")?.is_some_and(|value| value == "true");
    let new = Window::allocate_shared(&comm.comm, bytes, unit, apart)?;
    base.set(new.memory().as_ptr().cast());
    win.set(adopt(new, &info)?);
    Ok(())
}

/// Where the memory of a process of a shared window is.
#[mpi_entry(MPI_Win_shared_query, poly)]
fn win_shared_query(win: WinRef, rank: c_int, size: Out<isize>, unit: CountOut, base: Out<*mut c_void>) -> Done {
    let (memory, bytes) = win.win.shared((rank != consts::PROC_NULL).then_some(rank))?;
    unit.set(bytes as i64)?;
    size.set(memory.len() as isize);
    base.set(memory.as_ptr().cast());
    Ok(())
}

/// Frees a window. All its processes must call it; blocks.
#[mpi_entry(MPI_Win_free)]
fn win_free(win: InOutHandle<RawWin>) -> Done {
    let raw = win.get();
    let object = WINS.get(raw.0).ok_or_else(|| no_window(raw))?;
    object.win.check_no_epoch("MPI_Win_free")?;
    object.attrs.delete_all(raw.0).map_err(|e| crate::attr::on(e, object.error_object()))?;
    let freed = object.win.free();
    match freed {
        Err(error) if error.is_interrupted() => Err(error.into()),
        // Errors of others are this window's to tell; it is gone all the same.
        Err(error) => {
            let code = crate::errors::remember(&error, "MPI_Win_free");
            let code = crate::entry::raise("MPI_Win_free", object.error_object(), code);
            WINS.remove(raw.0);
            win.set(RawWin::NULL);
            Err(Failure::Told(code))
        }
        Ok(()) => {
            WINS.remove(raw.0);
            win.set(RawWin::NULL);
            Ok(())
        }
    }
}
