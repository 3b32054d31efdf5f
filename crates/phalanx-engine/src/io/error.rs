//! From what the kernel says to the standard's classes (MPI 5.0 §14.7), in one place.

use std::path::Path;

use rustix::io::Errno;

use crate::error::{Error, ErrorClass};

/// The class of a system error.
fn class(errno: Errno) -> ErrorClass {
    match errno {
        Errno::NOENT => ErrorClass::NoSuchFile,
        Errno::EXIST => ErrorClass::FileExists,
        Errno::ACCESS | Errno::PERM => ErrorClass::Access,
        Errno::NOSPC | Errno::FBIG => ErrorClass::NoSpace,
        Errno::DQUOT => ErrorClass::Quota,
        Errno::ROFS => ErrorClass::ReadOnly,
        Errno::BUSY | Errno::TXTBSY => ErrorClass::FileInUse,
        Errno::ISDIR | Errno::NOTDIR | Errno::NAMETOOLONG | Errno::LOOP => ErrorClass::BadFile,
        Errno::FAULT => ErrorClass::Buffer,
        Errno::NOMEM => ErrorClass::NoMem,
        _ => ErrorClass::Io,
    }
}

/// What may help, where the system's words do not say it.
fn advice(errno: Errno) -> &'static str {
    match errno {
        Errno::NOENT => "; MPI_MODE_CREATE makes files, but not the directories that lead to them",
        Errno::EXIST => "; leave MPI_MODE_EXCL out to open what exists",
        Errno::ACCESS | Errno::PERM => "; look at the permissions of the file and of the directories that lead to it",
        Errno::NOSPC => "; free space on the file system, or write elsewhere",
        Errno::FBIG => "; the file may not grow so large here (see `ulimit -f`)",
        Errno::ROFS => "; the file system is mounted for reading only",
        Errno::ISDIR => "; give the name of a file",
        Errno::FAULT => "; the buffer is not memory of this process, or is shorter than its count says",
        _ => "",
    }
}

/// The error of an operation on a file.
#[cold]
pub(super) fn of(errno: Errno, operation: &str, path: &Path, rank: i32) -> Error {
    let reason = std::io::Error::from(errno);
    let text = format!("{operation} of '{}' by rank {rank}: {reason}{}", path.display(), advice(errno));
    Error::new(class(errno), text)
}

/// The number of a system error; `EIO` for one that has none.
pub(super) fn errno(error: &std::io::Error) -> Errno {
    error.raw_os_error().map_or(Errno::IO, Errno::from_raw_os_error)
}
