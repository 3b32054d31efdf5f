//! Waits that a signal ends, on libraries that do not look for signals while they wait.
//!
//! The embedded engine does ([`extras::hook`]). In another library a call that waits for another rank lasts until that rank comes,
//! whatever is typed meanwhile; in an interactive session, that is until the process is ended. So there ([`are_wanted`]) a wait
//! is a loop of attempts that do not wait, with a look for signals between them. What an interrupt leaves behind is as if the
//! call had not been made:
//!
//! - A **receive or probe** is a matched probe, tried again and again, and then the receive of that message.
//! - A **send or wait** is a request, tested again and again. One that is given up goes on, with the memory that it needs
//!   (`orphans`), as one whose request object is gone.
//! - A **collective operation** on a communicator begins when all of its ranks have come: they meet in a nonblocking barrier. Who
//!   gives up there has not begun the operation, and its barrier stays: that rank's next operation on the communicator waits in it
//!   instead of in a new one. So it does not matter which ranks had come to an operation that was given up, and which had not.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::extras;
use crate::ffi::*;

/// Set by whoever can be interrupted and go on: engines of interactive clusters.
const VARIABLE: &str = "PHALANX_INTERRUPTIBLE";

/// What a call gives that a signal's handler has ended: no library has such a code, since codes are not negative.
pub(crate) const INTERRUPTED: c_int = c_int::MIN;

/// A wait tries without a pause for so long, but gives way.
const EAGER: Duration = Duration::from_millis(2);
/// The pause between two attempts after that: a thousandth of a CPU or so.
const NAP: Duration = Duration::from_micros(500);
/// A wait looks so often whether a signal has come.
const LOOK: Duration = Duration::from_millis(50);

static WANTED: AtomicBool = AtomicBool::new(false);

/// Whether waits are loops here.
#[inline]
pub(crate) fn are_wanted() -> bool {
    WANTED.load(Ordering::Relaxed)
}

/// Finds out whether they are to be; once MPI is active.
pub(crate) fn begin() {
    let wanted = !extras::is_embedded() && std::env::var_os(VARIABLE).is_some();
    WANTED.store(wanted, Ordering::Relaxed);
}

/// Attempts until one is over or fails, or a signal's handler raises: then it is [`INTERRUPTED`]. Without the interpreter lock.
fn until_over(mut attempt: impl FnMut(&mut c_int) -> c_int) -> c_int {
    let (begin, mut over) = (Instant::now(), 0);
    let mut looked = begin;
    loop {
        let code = attempt(&mut over);
        if code != MPI_SUCCESS || over != 0 {
            return code;
        }
        let now = Instant::now();
        if now - looked >= LOOK {
            looked = now;
            if extras::hook() != 0 {
                return INTERRUPTED;
            }
        }
        if now - begin < EAGER {
            std::thread::yield_now();
        } else {
            std::thread::sleep(NAP);
        }
    }
}

/// As `MPI_Wait`.
///
/// # Safety
/// As that of `MPI_Wait`.
pub(crate) unsafe fn wait(request: *mut MPI_Request, status: *mut MPI_Status) -> c_int {
    // SAFETY: as the caller promises.
    unsafe {
        match are_wanted() {
            true => until_over(|over| MPI_Test(request, over, status)),
            false => MPI_Wait(request, status),
        }
    }
}

/// As `MPI_Waitany`.
///
/// # Safety
/// As that of `MPI_Waitany`.
pub(crate) unsafe fn wait_any(
    count: c_int,
    requests: *mut MPI_Request,
    index: *mut c_int,
    status: *mut MPI_Status,
) -> c_int {
    // SAFETY: as the caller promises.
    unsafe {
        match are_wanted() {
            true => until_over(|over| MPI_Testany(count, requests, index, over, status)),
            false => MPI_Waitany(count, requests, index, status),
        }
    }
}

/// As `MPI_Waitall`.
///
/// # Safety
/// As that of `MPI_Waitall`.
pub(crate) unsafe fn wait_all(count: c_int, requests: *mut MPI_Request, statuses: *mut MPI_Status) -> c_int {
    // SAFETY: as the caller promises.
    unsafe {
        match are_wanted() {
            true => until_over(|over| MPI_Testall(count, requests, over, statuses)),
            false => MPI_Waitall(count, requests, statuses),
        }
    }
}

/// As `MPI_Waitsome`.
///
/// # Safety
/// As that of `MPI_Waitsome`.
pub(crate) unsafe extern "C" fn wait_some(
    count: c_int,
    requests: *mut MPI_Request,
    outcount: *mut c_int,
    indices: *mut c_int,
    statuses: *mut MPI_Status,
) -> c_int {
    // SAFETY: as the caller promises.
    unsafe {
        match are_wanted() {
            // (Where no request is active, the count is `MPI_UNDEFINED`.)
            true => until_over(|over| {
                let code = MPI_Testsome(count, requests, outcount, indices, statuses);
                *over = c_int::from(*outcount != 0);
                code
            }),
            false => MPI_Waitsome(count, requests, outcount, indices, statuses),
        }
    }
}

/// As `MPI_Probe`.
///
/// # Safety
/// As that of `MPI_Probe`.
pub(crate) unsafe fn probe(source: c_int, tag: c_int, comm: MPI_Comm, status: *mut MPI_Status) -> c_int {
    // SAFETY: as the caller promises.
    unsafe {
        match are_wanted() {
            true => until_over(|over| MPI_Iprobe(source, tag, comm, over, status)),
            false => MPI_Probe(source, tag, comm, status),
        }
    }
}

/// As `MPI_Mprobe`.
///
/// # Safety
/// As that of `MPI_Mprobe`.
pub(crate) unsafe fn mprobe(
    source: c_int,
    tag: c_int,
    comm: MPI_Comm,
    message: *mut MPI_Message,
    status: *mut MPI_Status,
) -> c_int {
    // SAFETY: as the caller promises.
    unsafe {
        match are_wanted() {
            true => until_over(|over| MPI_Improbe(source, tag, comm, over, message, status)),
            false => MPI_Mprobe(source, tag, comm, message, status),
        }
    }
}

/// As `MPI_Recv_c`.
///
/// # Safety
/// As that of `MPI_Recv_c`.
pub(crate) unsafe fn recv(
    (address, count, datatype): (*mut c_void, MPI_Count, MPI_Datatype),
    source: c_int,
    tag: c_int,
    comm: MPI_Comm,
    status: *mut MPI_Status,
) -> c_int {
    let mut message = MPI_MESSAGE_NULL;
    // SAFETY: as the caller promises; the place of the handle is valid for the calls.
    unsafe {
        if !are_wanted() {
            return MPI_Recv_c(address, count, datatype, source, tag, comm, status);
        }
        let code = mprobe(source, tag, comm, &mut message, std::ptr::null_mut());
        if code == MPI_SUCCESS { MPI_Mrecv_c(address, count, datatype, &mut message, status) } else { code }
    }
}

/// Barriers that were given up, by the handles of their communicators.
static BARRIERS: Mutex<Option<HashMap<usize, MPI_Request>>> = Mutex::new(None);

fn barriers() -> MutexGuard<'static, Option<HashMap<usize, MPI_Request>>> {
    BARRIERS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Makes a call of a collective operation, when all ranks of the communicator have come to it if waits are loops here.
#[inline]
pub(crate) fn met(comm: MPI_Comm, call: impl FnOnce() -> c_int) -> c_int {
    if are_wanted() {
        let code = meet(comm);
        if code != MPI_SUCCESS {
            return code;
        }
    }
    call()
}

#[cold]
fn meet(comm: MPI_Comm) -> c_int {
    let known = barriers().as_mut().and_then(|known| known.remove(&comm.0));
    let mut request = known.unwrap_or(MPI_REQUEST_NULL);
    if known.is_none() {
        // SAFETY: the place of the handle is valid for the call; MPI checks the communicator.
        let code = unsafe { MPI_Ibarrier(comm, &mut request) };
        if code != MPI_SUCCESS {
            return code;
        }
    }
    // SAFETY: the place of the handle is valid for the call, which may do without a status.
    let code = unsafe { wait(&mut request, std::ptr::null_mut()) };
    if code == INTERRUPTED {
        barriers().get_or_insert_default().insert(comm.0, request);
    }
    code
}

/// A communicator is freed: another one may get its handle.
pub(crate) fn forget(comm: MPI_Comm) {
    if let Some(known) = barriers().as_mut() {
        known.remove(&comm.0);
    }
}
