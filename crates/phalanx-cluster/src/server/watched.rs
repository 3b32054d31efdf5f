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
