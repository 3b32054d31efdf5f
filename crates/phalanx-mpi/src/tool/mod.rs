//! The tool interface (MPI 5.0 §15.3): control variables, performance variables, categories, events.
//!
//! It has error codes and no error handlers, works before `MPI_Init` and after `MPI_Finalize`, and takes its handles through
//! tables, as the rest does. [`variables`] lists what there is; the tables of docs/tool.md are written from it.
//!
//! Locks are taken in the order tool, tables, engine. The engine starts with the lock of the process's life held, so that
//! nothing here asks for that.

mod category;
mod control;
mod event;
mod performance;
mod value;
mod variables;

use std::ffi::c_int;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use phalanx_mpi_macros::mpi_entry;

use crate::consts;
use crate::entry::{Done, Failure};
use crate::param::{OutArray, TextOut};
use crate::state::Process;

/// What the tools of this process have in common.
struct Tool {
    /// What has been written into control variables, for the engine when it starts.
    wanted: [Option<u64>; variables::CONTROLS.len()],
    /// Started handles. Some of what they tell is counted only while there are any.
    counting: usize,
}

static TOOL: Mutex<Tool> = Mutex::new(Tool { wanted: [None; variables::CONTROLS.len()], counting: 0 });
/// How often the interface was initialised more than finalised.
static INITIALIZED: AtomicU32 = AtomicU32::new(0);

fn tool() -> MutexGuard<'static, Tool> {
    TOOL.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Whether functions of the tool interface may be called.
pub(crate) fn is_initialized() -> bool {
    INITIALIZED.load(Ordering::Acquire) > 0
}

/// The engine starts: what tools have asked for before holds from now on. `publish` lets them find it, so that nothing is
/// asked for in between.
pub(crate) fn engine_starts(process: Process, publish: impl FnOnce(Process)) {
    let tool = tool();
    let engine = &process.engine;
    for (control, wanted) in variables::CONTROLS.iter().zip(tool.wanted) {
        if let (Some(value), Some(write)) = (wanted, &control.write) {
            (write.at_start)(engine, value);
        }
    }
    if tool.counting > 0 {
        engine.count_messages(true);
    }
    publish(process);
}

fn refuse<T>(code: c_int) -> Result<T, Failure> {
    Err(Failure::Told(code))
}

/// What is in a table at a place that a program names.
fn at<T>(table: &[T], index: c_int) -> Result<&T, Failure> {
    match usize::try_from(index).ok().and_then(|index| table.get(index)) {
        Some(found) => Ok(found),
        None => refuse(consts::T_ERR_INVALID_INDEX),
    }
}

/// Gives a string and its length with the closing zero, as §15.3.3 says: cut where there is less room, only the length where
/// there is none. Without a place for the length nothing is known about the room; without room, nothing is asked of the length that
/// stands there, which a program need not have set.
fn give(text: &str, room: &TextOut, length: &OutArray<c_int>) -> Done {
    if length.address() == 0 {
        return Ok(());
    }
    if !room.is_null() {
        let Ok(bytes) = usize::try_from(length.get(0)) else { return refuse(consts::T_ERR_INVALID) };
        room.set(text, bytes)?;
    }
    length.set(0, text.len() as c_int + 1);
    Ok(())
}

/// Initialises the interface, once more (§15.3.4). Any number of threads may use it.
#[mpi_entry(MPI_T_init_thread, anytime)]
fn init_thread(required: c_int, provided: OutArray<c_int>) -> Done {
    let levels = consts::THREAD_SINGLE..=consts::THREAD_MULTIPLE;
    if provided.address() == 0 || !levels.contains(&required) {
        return refuse(consts::T_ERR_INVALID);
    }
    let counted = INITIALIZED.fetch_update(Ordering::AcqRel, Ordering::Acquire, |times| times.checked_add(1));
    if counted.is_err() {
        return refuse(consts::T_ERR_CANNOT_INIT);
    }
    provided.set(0, consts::THREAD_MULTIPLE);
    Ok(())
}

/// Finalises the interface as often as it was initialised; the last time its handles and sessions end (§15.3.4).
#[mpi_entry(MPI_T_finalize, tool)]
fn finalize() -> Done {
    let mut tool = tool();
    match INITIALIZED.fetch_update(Ordering::AcqRel, Ordering::Acquire, |times| times.checked_sub(1)) {
        Err(_) => refuse(consts::T_ERR_NOT_INITIALIZED),
        Ok(1) => {
            control::end();
            performance::end(&mut tool);
            Ok(())
        }
        Ok(_) => Ok(()),
    }
}
