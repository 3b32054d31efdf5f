//! A rank that leaves by `sys.exit(3)` has failed as one that raises: where no launcher of ours sees that, the job is ended here.
//!
//! Python does not tell its exit functions with which status the process ends, and other launchers wait for the other ranks, which
//! wait for this one. The C library does tell (`on_exit`): MPI stays until it does. So it is with other libraries under our own
//! launcher, which sees the status when the process ends: their `MPI_Finalize` would wait for ranks that wait for this one.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use crate::extras;
use crate::ffi::*;

/// The launcher of ours, if there is one, on this machine or another: it looks at the exit status itself.
const LAUNCHED: [&str; 2] = ["PHALANX_UNIVERSE", "PHALANX_AGENT"];

/// Whether the exit status decides what becomes of MPI.
static DECIDES: AtomicBool = AtomicBool::new(false);

/// The status has been looked at.
static ENDS: AtomicBool = AtomicBool::new(false);

/// Whether the exit status decides what becomes of MPI, when Python is gone.
pub(super) fn decides() -> bool {
    DECIDES.load(Relaxed)
}

fn is_launched() -> bool {
    LAUNCHED.iter().any(|name| std::env::var_os(name).is_some())
}

/// Lets the exit status decide from here on, where others may wait for this process: nobody else looks at it, or it would not
/// come to its end. (Other libraries under other launchers: see [`watch_at_the_end`].)
pub(super) fn watch() {
    if extras::is_embedded() != is_launched() && super::has_peers() && !decides() {
        DECIDES.store(register(), Relaxed);
    }
}

/// The same of other libraries under other launchers, when Python is gone. What they have registered to run when the process ends takes
/// away what `MPI_Finalize` needs. What is registered last runs first; nothing comes between Python's end and that of the process.
pub(super) fn watch_at_the_end() {
    if !extras::is_embedded() && !is_launched() && super::has_peers() && !decides() {
        DECIDES.store(register(), Relaxed);
    }
}

/// Whether the C library calls [`ended`] with the status.
fn register() -> bool {
    #[cfg(target_env = "gnu")]
    {
        unsafe extern "C" {
            fn on_exit(function: extern "C" fn(c_int, *mut c_void), argument: *mut c_void) -> c_int;
        }
        // SAFETY: the function lives as long as the process, and takes what it is called with.
        unsafe { on_exit(ended, std::ptr::null_mut()) == 0 }
    }
    #[cfg(not(target_env = "gnu"))]
    false
}

/// Ends the job with a status that is not 0, else finalizes.
extern "C" fn ended(status: c_int, _: *mut c_void) {
    // `MPI_Abort` exits, too; and so does the one below.
    if !super::is_ours() || extras::is_aborting() || ENDS.swap(true, Relaxed) {
        return;
    }
    if status == 0 {
        return super::finish();
    }
    // Our launcher ends the job with it.
    if is_launched() {
        return;
    }
    let mut rank = 0;
    // SAFETY: MPI is active; the number is valid for the write.
    unsafe { MPI_Comm_rank(MPI_COMM_WORLD, &mut rank) };
    let pid = std::process::id();
    let text = format!("phalanx: rank {rank} (process {pid}) exits with status {status}: the job ends\n");
    // Formatted before, it is one write: of several, a launcher that ends the job may lose the last.
    eprint!("{text}");
    // SAFETY: MPI is active and no other thread of this process uses it any more.
    unsafe { extras::abort(status, true) };
}
