//! Descriptors inherited by number.

use std::os::fd::{BorrowedFd, OwnedFd};

use crate::ShmError;

/// A duplicate (close-on-exec) of the descriptor that the parent process left open under this number.
///
/// # Errors
///
/// [`ShmError::System`] when no such descriptor is open.
pub fn duplicate(fd: i32) -> Result<OwnedFd, ShmError> {
    let closed = || ShmError::System {
        what: "use an inherited descriptor",
        source: std::io::Error::from_raw_os_error(libc::EBADF),
    };
    if fd < 0 {
        return Err(closed());
    }
    // SAFETY: the value is only used for `fcntl(F_DUPFD_CLOEXEC)`, which fails cleanly when it is not open; -1, the one
    // value `BorrowedFd` excludes, was refused above.
    let borrowed = unsafe { BorrowedFd::borrow_raw(fd) };
    borrowed
        .try_clone_to_owned()
        .map_err(|source| ShmError::System {
            what: "use an inherited descriptor",
            source,
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsRawFd;

    #[test]
    fn open_descriptors_are_duplicated_and_others_refused() {
        let file = std::fs::File::open("/dev/null").expect("there");
        let copy = duplicate(file.as_raw_fd()).expect("open");
        assert_ne!(copy.as_raw_fd(), file.as_raw_fd());
        assert!(duplicate(-1).is_err());
        assert!(duplicate(1_000_000).is_err());
    }
}
