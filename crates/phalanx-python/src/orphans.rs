//! Operations whose request object is gone before they are over.
//!
//! A program may drop the request of a send or receive, or free it: the operation goes on, and MPI reads or writes its
//! buffers until it is complete. So whatever such a request kept moves here together with the handle, and stays until the
//! library says that the operation is over. It is asked now and then, when the program starts or completes another
//! operation, and at the end.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use pyo3::prelude::*;

use crate::extras;
use crate::ffi::*;
use crate::gil;
use crate::init;
use crate::request::Keep;

/// An operation under way that no object stands for, and what it needs.
struct Orphan {
    handle: MPI_Request,
    #[expect(dead_code, reason = "there to be kept")]
    keep: Keep,
}

static ORPHANS: Mutex<Vec<Orphan>> = Mutex::new(Vec::new());
/// How many there are, for a look without the lock.
static COUNT: AtomicUsize = AtomicUsize::new(0);
/// Calls of [`sweep`] since the last that asked.
static CALLS: AtomicUsize = AtomicUsize::new(0);

/// How long the end of the program waits for them on a library that may not complete them in `MPI_Finalize`.
const LAST_WAIT: Duration = Duration::from_secs(5);

fn orphans() -> MutexGuard<'static, Vec<Orphan>> {
    ORPHANS.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Orphan {
    /// Asks whether the operation is over, and gives the handle back then. (Its error has nobody to go to.)
    fn is_over(&mut self) -> bool {
        if self.handle == MPI_REQUEST_NULL {
            return true;
        }
        let (mut flag, mut status) = (0, MPI_Status::EMPTY);
        // SAFETY: all places are valid for the call, and `keep` holds the operation's memory.
        let code = unsafe { extras::test_lost(&mut self.handle, &mut flag, &mut status) };
        if code != MPI_SUCCESS {
            // An operation that goes on after an error has a handle.
            return self.handle == MPI_REQUEST_NULL;
        }
        if flag != 0 && self.handle != MPI_REQUEST_NULL {
            // A persistent operation, inactive now.
            // SAFETY: the place is valid for the call; no object has this handle any more.
            unsafe { MPI_Request_free(&mut self.handle) };
            self.handle = MPI_REQUEST_NULL;
        }
        flag != 0
    }
}

/// Takes over an operation and what it needs; lets go of it at once when it is over.
pub(crate) fn adopt(py: Python<'_>, handle: MPI_Request, keep: Keep) {
    // After the end of MPI nothing is under way, nor in a forked child.
    if !init::is_ours() {
        return;
    }
    let mut orphan = Orphan { handle, keep };
    if !gil::starting(py, || orphan.is_over()) {
        let mut list = orphans();
        list.push(orphan);
        COUNT.store(list.len(), Relaxed);
    }
}

/// Lets go of what operations needed that are over by now. Cheap: asks as often as there are operations to ask about.
#[inline]
pub(crate) fn sweep(py: Python<'_>) {
    let count = COUNT.load(Relaxed);
    if count > 0 && CALLS.fetch_add(1, Relaxed) >= count {
        sweep_now(py);
    }
}

#[cold]
fn sweep_now(py: Python<'_>) {
    CALLS.store(0, Relaxed);
    if !init::is_ours() {
        return;
    }
    // Out of the list while MPI and destructors of Python objects run: both may come back here.
    let mut list = std::mem::take(&mut *orphans());
    let over: Vec<Orphan> = gil::starting(py, || list.extract_if(.., Orphan::is_over).collect());
    let mut kept = orphans();
    kept.append(&mut list);
    COUNT.store(kept.len(), Relaxed);
    drop(kept);
    drop(over);
}

/// Before `MPI_Finalize`: the embedded engine completes what is under way itself; another library is given time for it.
///
/// What the operations need is never let go of after this, since Python may be gone and the library still read it.
pub(crate) fn finish() {
    let mut list = std::mem::take(&mut *orphans());
    COUNT.store(0, Relaxed);
    let end = Instant::now() + LAST_WAIT;
    while !extras::is_embedded() && list.iter_mut().any(|orphan| !orphan.is_over()) && Instant::now() < end {
        std::thread::yield_now();
    }
    std::mem::forget(list);
}
