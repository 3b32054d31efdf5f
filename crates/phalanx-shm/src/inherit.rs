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

/// Closes the original of `duplicate`, if the number still means that: programs that this process starts later are not
/// who it was meant for, and one descriptor is enough here.
pub fn close_original(fd: i32, duplicate: BorrowedFd<'_>) {
    use std::os::fd::{AsRawFd, FromRawFd};
    if fd < 0 || fd == duplicate.as_raw_fd() {
        return;
    }
    // SAFETY: the value is only used for `fstat`, which fails cleanly when it is not open; it is not -1.
    let original = unsafe { BorrowedFd::borrow_raw(fd) };
    let identity = |fd| rustix::fs::fstat(fd).ok().map(|s| (s.st_dev, s.st_ino));
    if identity(original).is_some_and(|own| Some(own) == identity(duplicate)) {
        // SAFETY: the number is that of the file which the process that started this one left open for us alone, and
        // which no object of this process owns.
        drop(unsafe { OwnedFd::from_raw_fd(fd) });
    }
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

/// The process (0: one whose number means nothing here) and the user that made the other end of a Unix socket. `None` for
/// other sockets.
///
/// (rustix takes the number for one that is not 0.)
pub fn peer_of(socket: BorrowedFd<'_>) -> Option<(u32, u32)> {
    use std::os::fd::AsRawFd;
    let mut peer = libc::ucred { pid: 0, uid: 0, gid: 0 };
    let mut size = size_of::<libc::ucred>() as libc::socklen_t;
    // SAFETY: room of that size, which the call fills at most.
    let asked = unsafe {
        libc::getsockopt(socket.as_raw_fd(), libc::SOL_SOCKET, libc::SO_PEERCRED, (&raw mut peer).cast(), &raw mut size)
    };
    let whole = asked == 0 && size as usize == size_of::<libc::ucred>() && peer.uid != u32::MAX;
    whole.then(|| (u32::try_from(peer.pid).unwrap_or(0), peer.uid))
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
    fn the_other_end_of_a_socket_has_a_process_and_a_user() {
        use std::os::fd::AsFd;
        let (ours, _theirs) = std::os::unix::net::UnixStream::pair().expect("a pair");
        let user = rustix::process::geteuid().as_raw();
        assert_eq!(peer_of(ours.as_fd()), Some((std::process::id(), user)));
        let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).expect("a port");
        let other = std::net::TcpStream::connect(listener.local_addr().expect("bound")).expect("connected");
        assert_eq!(peer_of(other.as_fd()), None);
        let file = std::fs::File::open("/dev/null").expect("there");
        assert_eq!(peer_of(file.as_fd()), None);
    }

    #[test]
    fn open_descriptors_are_duplicated_and_others_refused() {
        let file = std::fs::File::open("/dev/null").expect("there");
        let copy = duplicate(file.as_raw_fd()).expect("open");
        assert_ne!(copy.as_raw_fd(), file.as_raw_fd());
        assert!(duplicate(-1).is_err());
        assert!(duplicate(1_000_000).is_err());
    }

    #[test]
    fn only_the_original_of_a_duplicate_is_closed() {
        use std::os::fd::{AsFd, IntoRawFd};
        let file = std::fs::File::open("/dev/null").expect("there");
        let other = std::fs::File::open("/proc/self/status").expect("there").into_raw_fd();
        let original = file.into_raw_fd();
        let copy = duplicate(original).expect("open");
        close_original(other, copy.as_fd());
        close_original(-1, copy.as_fd());
        close_original(copy.as_raw_fd(), copy.as_fd());
        assert!(duplicate(other).is_ok(), "another file stays");
        assert!(duplicate(copy.as_raw_fd()).is_ok(), "the duplicate itself stays");
        close_original(original, copy.as_fd());
        assert!(duplicate(copy.as_raw_fd()).is_ok());
    }
}
