//! Descriptors that the runtime watches: the only `unsafe` of this crate.
#![expect(unsafe_code, reason = "tokio's AsyncFd takes descriptors on trust")]

use std::io;
use std::os::fd::OwnedFd;

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Watches a descriptor for something to be read.
///
/// # Errors
/// When it cannot be watched: a regular file, for example.
pub(crate) fn watched(descriptor: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: the result owns the descriptor, which so stays open, and the same, as long as the result lives.
    let found = unsafe { AsyncFd::register_with_interest(descriptor, Interest::READABLE) };
    found.map_err(|error| error.into_parts().1)
}

/// The number of the next signal that a `signalfd` tells; nothing when there will be none.
pub(crate) async fn next_signal(signals: &AsyncFd<OwnedFd>) -> Option<i32> {
    loop {
        let mut ready = signals.readable().await.ok()?;
        // struct signalfd_siginfo: 128 bytes, of which the first four are the number.
        let mut record = [0u8; 128];
        match rustix::io::read(signals.get_ref(), &mut record[..]) {
            Ok(count) if count == record.len() => {
                return Some(i32::from_ne_bytes([record[0], record[1], record[2], record[3]]));
            }
            _ => ready.clear_ready(),
        }
    }
}
