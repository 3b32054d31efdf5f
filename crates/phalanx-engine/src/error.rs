//! Error classes, and the one error type of the engine.
//!
//! An [`Error`] is a class (what `MPI_Error_class` answers) and a sentence that says what happened, to which rank and
//! operation, what was expected and what to do. The C surface keeps the sentence for `MPI_Error_string`.

use std::fmt;

/// The result of everything in the engine that can fail.
pub type Result<T> = std::result::Result<T, Error>;

/// Declares [`ErrorClass`] with its name in the standard and its sentence in one table.
macro_rules! error_classes {
    ($($variant:ident, $name:literal, $text:literal;)*) => {
        /// The error classes of the standard and two of our own, numbered by their place in [`ErrorClass::ALL`].
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u8)]
        pub enum ErrorClass {
            $(#[doc = concat!("`", $name, "`: ", $text, ".")] $variant,)*
        }

        impl ErrorClass {
            /// Every class: class number `i` is in place `i`.
            pub const ALL: &'static [ErrorClass] = &[$(ErrorClass::$variant),*];

            /// The name in the standard, such as `MPI_ERR_TRUNCATE`.
            pub const fn name(self) -> &'static str {
                match self { $(ErrorClass::$variant => $name,)* }
            }

            /// The meaning in a few words, such as `message truncated on receive`.
            pub const fn description(self) -> &'static str {
                match self { $(ErrorClass::$variant => $text,)* }
            }
        }
    };
}

error_classes! {
    Success, "MPI_SUCCESS", "no error";
    Buffer, "MPI_ERR_BUFFER", "invalid buffer pointer";
    Count, "MPI_ERR_COUNT", "invalid count";
    Type, "MPI_ERR_TYPE", "invalid datatype";
    Tag, "MPI_ERR_TAG", "invalid tag";
    Comm, "MPI_ERR_COMM", "invalid communicator";
    Rank, "MPI_ERR_RANK", "invalid rank";
    Request, "MPI_ERR_REQUEST", "invalid request";
    Root, "MPI_ERR_ROOT", "invalid root";
    Group, "MPI_ERR_GROUP", "invalid group";
    Op, "MPI_ERR_OP", "invalid reduction operation";
    Topology, "MPI_ERR_TOPOLOGY", "invalid communicator topology";
    Dims, "MPI_ERR_DIMS", "invalid dimension";
    Arg, "MPI_ERR_ARG", "invalid argument";
    Unknown, "MPI_ERR_UNKNOWN", "unknown error";
    Truncate, "MPI_ERR_TRUNCATE", "message truncated on receive";
    Other, "MPI_ERR_OTHER", "known error not in this list";
    Intern, "MPI_ERR_INTERN", "internal error";
    Pending, "MPI_ERR_PENDING", "operation neither failed nor completed";
    InStatus, "MPI_ERR_IN_STATUS", "error code is in the status";
    Access, "MPI_ERR_ACCESS", "permission denied";
    Amode, "MPI_ERR_AMODE", "invalid file access mode";
    Assert, "MPI_ERR_ASSERT", "invalid assertion";
    BadFile, "MPI_ERR_BAD_FILE", "invalid file name";
    Base, "MPI_ERR_BASE", "invalid window base";
    Conversion, "MPI_ERR_CONVERSION", "error in data conversion";
    Disp, "MPI_ERR_DISP", "invalid displacement";
    DupDatarep, "MPI_ERR_DUP_DATAREP", "data representation already defined";
    FileExists, "MPI_ERR_FILE_EXISTS", "file exists";
    FileInUse, "MPI_ERR_FILE_IN_USE", "file in use";
    File, "MPI_ERR_FILE", "invalid file handle";
    InfoKey, "MPI_ERR_INFO_KEY", "info key too long or empty";
    InfoNokey, "MPI_ERR_INFO_NOKEY", "info key not defined";
    InfoValue, "MPI_ERR_INFO_VALUE", "info value too long or empty";
    Info, "MPI_ERR_INFO", "invalid info object";
    Io, "MPI_ERR_IO", "input or output failed";
    Keyval, "MPI_ERR_KEYVAL", "invalid attribute key";
    Locktype, "MPI_ERR_LOCKTYPE", "invalid lock type";
    Name, "MPI_ERR_NAME", "service name not published";
    NoMem, "MPI_ERR_NO_MEM", "out of memory";
    NotSame, "MPI_ERR_NOT_SAME", "argument not the same on all processes";
    NoSpace, "MPI_ERR_NO_SPACE", "not enough space";
    NoSuchFile, "MPI_ERR_NO_SUCH_FILE", "no such file";
    Port, "MPI_ERR_PORT", "invalid port name";
    Quota, "MPI_ERR_QUOTA", "quota exceeded";
    ReadOnly, "MPI_ERR_READ_ONLY", "read-only file or file system";
    RmaAttach, "MPI_ERR_RMA_ATTACH", "memory cannot be attached";
    RmaConflict, "MPI_ERR_RMA_CONFLICT", "conflicting accesses to a window";
    RmaRange, "MPI_ERR_RMA_RANGE", "target memory is not part of the window";
    RmaShared, "MPI_ERR_RMA_SHARED", "memory cannot be shared";
    RmaSync, "MPI_ERR_RMA_SYNC", "wrong synchronization of one-sided calls";
    Service, "MPI_ERR_SERVICE", "invalid service name";
    Size, "MPI_ERR_SIZE", "invalid size";
    Spawn, "MPI_ERR_SPAWN", "processes could not be spawned";
    UnsupportedDatarep, "MPI_ERR_UNSUPPORTED_DATAREP", "unsupported data representation";
    UnsupportedOperation, "MPI_ERR_UNSUPPORTED_OPERATION", "unsupported operation";
    Win, "MPI_ERR_WIN", "invalid window";
    RmaFlavor, "MPI_ERR_RMA_FLAVOR", "window has the wrong flavor";
    ProcAborted, "MPI_ERR_PROC_ABORTED", "a peer process has ended";
    ValueTooLarge, "MPI_ERR_VALUE_TOO_LARGE", "value too large to be represented";
    Session, "MPI_ERR_SESSION", "invalid session";
    Errhandler, "MPI_ERR_ERRHANDLER", "invalid error handler";
    Abi, "MPI_ERR_ABI", "error of the binary interface";
    Revoked, "PHALANX_ERR_REVOKED", "the communicator has been revoked";
    ProcFailedPending, "PHALANX_ERR_PROC_FAILED_PENDING", "a process that might have sent has failed, and the receive goes on";
}

impl fmt::Display for ErrorClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.name(), self.description())
    }
}

/// What went wrong: a class and a sentence. One pointer wide, so that `Result<()>` travels in a register.
#[derive(Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}: {}", .0.class.name(), .0.message)]
pub struct Error(Box<Report>);

#[derive(Clone, PartialEq, Eq)]
struct Report {
    class: ErrorClass,
    message: String,
    interrupted: bool,
    /// Another process of the job says it to the user.
    said_elsewhere: bool,
    /// An error code that a user's callback returned, to be handed on unchanged.
    user_code: Option<i32>,
}

impl Error {
    /// An error of `class`; `message` says what happened, to whom, what was expected and what to do.
    #[cold]
    pub fn new(class: ErrorClass, message: impl Into<String>) -> Error {
        Error(Box::new(Report {
            class,
            message: message.into(),
            interrupted: false,
            said_elsewhere: false,
            user_code: None,
        }))
    }

    /// A wait was given up because the interrupt hook asked for it (Ctrl-C in Python). Class [`ErrorClass::Other`].
    #[cold]
    pub fn interrupted() -> Error {
        let mut error = Error::new(ErrorClass::Other, "interrupted");
        error.0.interrupted = true;
        error
    }

    /// This process cannot join its job, and another one that cannot either says why: one message for the user, not one from each.
    /// Class [`ErrorClass::Other`].
    #[cold]
    pub fn said_elsewhere() -> Error {
        let mut error =
            Error::new(ErrorClass::Other, "this process cannot join its job; the first one of the job says why");
        error.0.said_elsewhere = true;
        error
    }

    /// Whether this is [`Error::said_elsewhere`].
    pub fn is_said_elsewhere(&self) -> bool {
        self.0.said_elsewhere
    }

    /// A user's callback (attribute copy, generalized request) answered `code`, which only the layer above understands:
    /// callers receive exactly that code.
    #[cold]
    pub fn from_callback(code: i32, class: ErrorClass, what: impl Into<String>) -> Error {
        let mut error = Error::new(class, what);
        error.0.user_code = Some(code);
        error
    }

    /// The class, as `MPI_Error_class` answers it.
    pub fn class(&self) -> ErrorClass {
        self.0.class
    }

    /// The sentence without the class name.
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// Whether this is [`Error::interrupted`].
    pub fn is_interrupted(&self) -> bool {
        self.0.interrupted
    }

    /// The code given to [`Error::from_callback`].
    pub fn callback_code(&self) -> Option<i32> {
        self.0.user_code
    }

    /// The same error in another class.
    #[must_use]
    pub(crate) fn in_class(mut self, class: ErrorClass) -> Error {
        self.0.class = class;
        self
    }

    /// The same error with `context` and a colon before its sentence.
    #[must_use]
    pub fn context(mut self, context: impl fmt::Display) -> Error {
        self.0.message = format!("{context}: {}", self.0.message);
        self
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// `return Err(Error::new(ErrorClass::$class, format!(...)))` in one line.
macro_rules! fail {
    ($class:ident, $($message:tt)+) => {
        return Err($crate::error::Error::new($crate::error::ErrorClass::$class, format!($($message)+)))
    };
}
pub(crate) use fail;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_shows_its_class_and_its_sentence() {
        let error = Error::new(ErrorClass::Rank, "rank 9 of a communicator of 4").context("send");
        assert_eq!(error.to_string(), "MPI_ERR_RANK: send: rank 9 of a communicator of 4");
        assert_eq!(error.class(), ErrorClass::Rank);
        assert!(!error.is_interrupted());
        assert_eq!(size_of::<Result<()>>(), size_of::<usize>());
    }

    #[test]
    fn an_interrupt_is_told_apart_from_other_errors() {
        let error = Error::interrupted();
        assert!(error.is_interrupted());
        assert_eq!(error.class(), ErrorClass::Other);
        assert!(!Error::new(ErrorClass::Other, "interrupted").is_interrupted());
    }

    #[test]
    fn a_callback_code_survives() {
        let error = Error::from_callback(0x4_0010, ErrorClass::Arg, "attribute copy function");
        assert_eq!((error.callback_code(), error.class()), (Some(0x4_0010), ErrorClass::Arg));
        assert_eq!(Error::new(ErrorClass::Arg, "x").callback_code(), None);
    }
}
