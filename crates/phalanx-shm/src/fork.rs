//! Noticing `fork`: shared rings must not be used by a forked child, whose private positions are copies.

use core::sync::atomic::{AtomicBool, AtomicU32, Ordering};

/// Changes at each fork on the way from the process that called [`generation`] first to this one.
static FORKS: AtomicU32 = AtomicU32::new(0);

extern "C" fn in_child() {
    FORKS.fetch_add(1, Ordering::Relaxed);
    crate::alive::forget_short();
}

/// A number that differs in a forked child from what it was in its parent. Two loads after the first call.
#[inline]
pub fn generation() -> u32 {
    static NOTICED: AtomicBool = AtomicBool::new(false);
    // SYNC POINT fork-handler: Acquire, who finds it set has the handler.
    if !NOTICED.load(Ordering::Acquire) {
        notice(&NOTICED);
    }
    FORKS.load(Ordering::Relaxed)
}

/// Registers the handler. Not by a `Once`: a child forked while another thread is inside would wait for that thread.
/// Threads that come here together register it several times, so that their forks count for several.
#[cold]
fn notice(noticed: &AtomicBool) {
    // SAFETY: the handler is a function without captures that only changes atomics, which is allowed between fork and
    // exec. Failure (no memory) leaves forks unnoticed, as before.
    unsafe { libc::pthread_atfork(None, None, Some(in_child)) };
    // SYNC POINT fork-handler: Release, after the handler is there.
    noticed.store(true, Ordering::Release);
}
