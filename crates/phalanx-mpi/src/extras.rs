//! What Phalanx offers beyond the standard: forms that do not wait, and waits that can be given up.
//!
//! The binding looks these up at run time and does without them on other libraries.

use std::ffi::c_int;
use std::sync::atomic::{AtomicUsize, Ordering};

use phalanx_engine::ErrorClass;
use phalanx_mpi_macros::mpi_entry;

use crate::buffer::{RecvPtr, SendPtr};
use crate::comm::CommRef;
use crate::datatype::TypeRef;
use crate::entry::{Done, Failure, wrong};
use crate::env::library_version;
use crate::param::{Address, Out, TextOut};
use crate::state;
use crate::status::StatusOut;

fn elements(count: i64) -> Result<usize, Failure> {
    usize::try_from(count)
        .map_err(|_| wrong(ErrorClass::Count, format!("the count is {count}; it must not be negative")))
}

/// Sends if that needs no waiting: `*done` says whether it did.
#[mpi_entry(PHALANX_Try_send)]
fn try_send(buf: SendPtr, count: i64, ty: TypeRef, dest: c_int, tag: c_int, comm: CommRef, done: Out<c_int>) -> Done {
    let sent = comm.comm.try_send(buf.typed(elements(count)?, &ty)?, dest, tag)?;
    done.set(sent.into());
    Ok(())
}

/// Receives if a message is there, or comes within about a microsecond: `*done` says whether one did.
#[mpi_entry(PHALANX_Try_recv)]
fn try_recv(
    buf: RecvPtr,
    count: i64,
    ty: TypeRef,
    source: c_int,
    tag: c_int,
    comm: CommRef,
    status: StatusOut,
    done: Out<c_int>,
) -> Done {
    let outcome = comm.comm.try_recv(buf.typed(elements(count)?, &ty)?, source, tag)?;
    done.set(outcome.is_some().into());
    if let Some(outcome) = outcome {
        status.set(&outcome);
    }
    Ok(())
}

/// The program's hook.
static HOOK: AtomicUsize = AtomicUsize::new(0);

fn call_hook() -> bool {
    let address = HOOK.load(Ordering::Acquire);
    if address == 0 {
        return false;
    }
    // SAFETY: the program gave this address as an `int (*)(void)`.
    let hook = unsafe { std::mem::transmute::<usize, extern "C" fn() -> c_int>(address) };
    hook() != 0
}

/// Sets a function that waiting calls run after a signal and a few times a second, without any lock; when it gives
/// something other than 0, the call gives up with an error of class `MPI_ERR_OTHER`. Null removes it.
#[mpi_entry(PHALANX_Set_interrupt_hook)]
fn set_interrupt_hook(hook: Address) -> Done {
    HOOK.store(hook.0, Ordering::Release);
    let process = state::need_process()?;
    process.engine.set_interrupt_hook(if hook.0 == 0 { None } else { Some(call_hook) });
    Ok(())
}

/// Whether an error code says that the hook ended a wait.
#[mpi_entry(PHALANX_Is_interrupted, value)]
fn is_interrupted(code: c_int) -> c_int {
    crate::errors::is_interrupted(code).into()
}

/// The name and version of this library.
#[mpi_entry(PHALANX_Version, anytime)]
fn version(text: TextOut, size: c_int) -> Done {
    text.set(&library_version(), usize::try_from(size).unwrap_or(0))?;
    Ok(())
}
