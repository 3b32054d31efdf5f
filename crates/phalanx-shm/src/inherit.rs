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
    borrowed.try_clone_to_owned().map_err(|source| ShmError::System { what: "use an inherited descriptor", source })
}

/// Like [`duplicate`], and programs that this process starts later do not
/// inherit the original any more: they are not who it was meant for.
///
/// # Errors
///
/// As [`duplicate`].
pub fn take(fd: i32) -> Result<OwnedFd, ShmError> {
    let copy = duplicate(fd)?;
    // SAFETY: `duplicate` has just found the descriptor open and not negative;
    // setting a flag on it fails cleanly should it have been closed since.
    let original = unsafe { BorrowedFd::borrow_raw(fd) };
    rustix::io::fcntl_setfd(original, rustix::io::FdFlags::CLOEXEC).map_err(|e| ShmError::System {
        what: "keep an inherited descriptor from being inherited further",
        source: e.into(),
    })?;
    Ok(copy)
}

/// A duplicate that a process started from here inherits under the same number. Keep it open only until that
/// process has been started.
///
/// # Errors
///
/// [`ShmError::System`] when there is no descriptor left.
pub fn inheritable(fd: BorrowedFd<'_>) -> Result<OwnedFd, ShmError> {
    rustix::io::dup(fd).map_err(|e| ShmError::System { what: "hand a descriptor to a new process", source: e.into() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsRawFd;

    #[test]
    fn a_new_process_inherits_a_descriptor_made_for_it() {
        use std::os::fd::AsFd;
        let file = std::fs::File::open("/dev/null").expect("there");
        let handed = inheritable(file.as_fd()).expect("a descriptor");
        let seen = |fd: i32| {
            let path = format!("/proc/self/fd/{fd}");
            std::process::Command::new("test").arg("-e").arg(path).status().expect("started").success()
        };
        assert!(seen(handed.as_raw_fd()));
        assert!(!seen(file.as_raw_fd()));
    }

    #[test]
    fn open_descriptors_are_duplicated_and_others_refused() {
        let file = std::fs::File::open("/dev/null").expect("there");
        let copy = duplicate(file.as_raw_fd()).expect("open");
        assert_ne!(copy.as_raw_fd(), file.as_raw_fd());
        assert!(take(copy.as_raw_fd()).is_ok());
        assert!(duplicate(-1).is_err());
        assert!(duplicate(1_000_000).is_err());
    }
}
