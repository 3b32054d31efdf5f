//! Noticing `fork`: shared rings must not be used by a forked child, whose private positions are copies.

use core::sync::atomic::{AtomicU32, Ordering};
use std::sync::Once;

/// Forks on the way from the process that called [`generation`] first to this one.
static FORKS: AtomicU32 = AtomicU32::new(0);

extern "C" fn in_child() {
    FORKS.fetch_add(1, Ordering::Relaxed);
}

/// A number that differs in a forked child from what it was in its parent. One load after the first call.
#[inline]
pub fn generation() -> u32 {
    static HANDLER: Once = Once::new();
    HANDLER.call_once(|| {
        // SAFETY: the handler is a function without captures that only adds to an atomic, which is allowed between
        // fork and exec. Failure (no memory) leaves forks unnoticed, as before.
        unsafe { libc::pthread_atfork(None, None, Some(in_child)) };
    });
    FORKS.load(Ordering::Relaxed)
}
