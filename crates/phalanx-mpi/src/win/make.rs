//! Creation and freeing of windows (MPI 5.0 §12.2).

use std::ffi::{c_int, c_void};
use std::sync::Arc;

use phalanx_engine::win::Window;
use phalanx_engine::{Error, ErrorClass};
use phalanx_mpi_macros::mpi_entry;
use phalanx_shm::mem::MutMem;

use super::{WINS, WinObject, WinRef, no_window};
use crate::comm::CommRef;
use crate::consts;
use crate::entry::{Done, Failure, wrong};
use crate::handle::RawWin;
use crate::info::InfoRef;
use crate::param::{Address, CountOut, InOutHandle, Number, Out};

/// A rank's part of a new window: bytes, and bytes of a unit of displacements. What is wrong with it, all ranks are told.
fn part(size: isize, unit: Number) -> phalanx_engine::Result<(usize, usize)> {
    let wrong = |class, text: String| Err(Error::new(class, text));
    match (usize::try_from(size), usize::try_from(unit.0)) {
        (Ok(bytes), Ok(unit @ 1..)) => Ok((bytes, unit)),
        (Err(_), _) => wrong(ErrorClass::Size, format!("the size of the window is {size}; it must not be negative")),
        _ => wrong(ErrorClass::Disp, format!("the displacement unit is {}; it must be positive", unit.0)),
    }
}

/// The program's memory as a rank's part of a new window.
fn memory(base: Address, (bytes, unit): (usize, usize)) -> phalanx_engine::Result<(MutMem, usize)> {
    if bytes > 0 && base.0 <= consts::BUFFER_AUTOMATIC {
        let text = format!("the base address 0x{:x} is not memory of {bytes} bytes", base.0);
        return Err(Error::new(ErrorClass::Base, text));
    }
    // SAFETY: the program promised memory of this size, which it and others may read and write until the window is freed.
    Ok((unsafe { MutMem::new(base.0 as *mut u8, bytes) }, unit))
}

/// Gives a new window a handle.
fn adopt(win: Window, info: &InfoRef) -> Result<RawWin, Failure> {
    let hints = info.hints()?;
    crate::trace::renamed();
    let raw = WINS.insert_with(|raw| Arc::new(WinObject::new(win, raw, hints)));
    raw.map(RawWin).ok_or_else(|| wrong(ErrorClass::Other, "too many windows exist; free some"))
}

/// Makes a window over memory of the program. All processes of the communicator must call it; blocks.
#[mpi_entry(MPI_Win_create, poly, composed)]
fn win_create(base: Address, size: isize, unit: Number, info: InfoRef, comm: CommRef, win: Out<RawWin>) -> Done {
    win.set(RawWin::NULL);
    let own = part(size, unit).and_then(|part| memory(base, part));
    win.set(adopt(Window::create(&comm.comm, own)?, &info)?);
    Ok(())
}

/// Makes a window with new memory. All processes of the communicator must call it; blocks.
#[mpi_entry(MPI_Win_allocate, poly, composed)]
fn win_allocate(
    size: isize,
    unit: Number,
    info: InfoRef,
    comm: CommRef,
    base: Out<*mut c_void>,
    win: Out<RawWin>,
) -> Done {
    win.set(RawWin::NULL);
    with_memory(Window::allocate(&comm.comm, part(size, unit))?, &info, &base, &win)
}

/// Makes a window with new memory that all its processes reach directly. All processes of the communicator must call it;
/// blocks.
#[mpi_entry(MPI_Win_allocate_shared, poly, composed)]
fn win_allocate_shared(
    size: isize,
    unit: Number,
    info: InfoRef,
    comm: CommRef,
    base: Out<*mut c_void>,
    win: Out<RawWin>,
) -> Done {
    win.set(RawWin::NULL);
    let apart = info.hints()?.get("alloc_shared_noncontig")?.is_some_and(|value| value == "true");
    with_memory(Window::allocate_shared(&comm.comm, part(size, unit), apart)?, &info, &base, &win)
}

/// Makes a window to which memory is attached later. All processes of the communicator must call it; blocks.
#[mpi_entry(MPI_Win_create_dynamic, composed)]
fn win_create_dynamic(info: InfoRef, comm: CommRef, win: Out<RawWin>) -> Done {
    win.set(RawWin::NULL);
    win.set(adopt(Window::create_dynamic(&comm.comm)?, &info)?);
    Ok(())
}

/// Attaches memory of this process to a window.
#[mpi_entry(MPI_Win_attach)]
fn win_attach(win: WinRef, base: Address, size: isize) -> Done {
    let (memory, _) = part(size, Number(1)).and_then(|part| memory(base, part))?;
    Ok(win.win.attach(memory)?)
}

/// Detaches memory of this process from a window.
#[mpi_entry(MPI_Win_detach)]
fn win_detach(win: WinRef, base: Address) -> Done {
    Ok(win.win.detach(base.0)?)
}

/// Gives a new window with memory of its own to the program.
fn with_memory(new: Window, info: &InfoRef, base: &Out<*mut c_void>, win: &Out<RawWin>) -> Done {
    base.set(new.memory().as_ptr().cast());
    win.set(adopt(new, info)?);
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
#[mpi_entry(MPI_Win_free, composed)]
fn win_free(win: InOutHandle<RawWin>) -> Done {
    let raw = win.get();
    let object = WINS.get(raw.0).ok_or_else(|| no_window(raw))?;
    object.win.check_no_epoch("MPI_Win_free")?;
    object.attrs.delete_all(raw.0).map_err(|e| crate::attr::on(e, object.error_object()))?;
    let freed = object.win.free();
    if freed.as_ref().is_err_and(Error::is_interrupted) {
        return Ok(freed?);
    }
    // An error of another process is this window's to tell, while it has a handle; it is gone all the same.
    let told = freed.map_err(|error| {
        let code = crate::errors::remember(&error, "MPI_Win_free");
        Failure::Told(crate::entry::raise("MPI_Win_free", object.error_object(), code))
    });
    WINS.remove(raw.0);
    win.set(RawWin::NULL);
    told
}
