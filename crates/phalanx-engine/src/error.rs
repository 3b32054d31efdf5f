//! Error classes with their ABI numbers, and the one error type of the engine.
//!
//! An [`Error`] is a class (what `MPI_Error_class` answers) and a sentence that says what happened, to which rank and
//! operation, what was expected and what to do. The C surface keeps the sentence for `MPI_Error_string`.

use std::fmt;

/// The result of everything in the engine that can fail.
pub type Result<T> = std::result::Result<T, Error>;

/// Declares [`ErrorClass`] with its ABI number, its ABI name and its standard sentence in one table.
macro_rules! error_classes {
    ($($variant:ident = $value:literal, $name:literal, $text:literal;)*) => {
        /// The error classes of the standard, with the numbers of the MPI 5.0 ABI.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(i32)]
        pub enum ErrorClass {
            $(#[doc = concat!("`", $name, "`: ", $text, ".")] $variant = $value,)*
        }

        impl ErrorClass {
            /// Every class, in the order of the ABI numbers.
            pub const ALL: &'static [ErrorClass] = &[$(ErrorClass::$variant),*];

            /// The ABI name, such as `MPI_ERR_TRUNCATE`.
            pub const fn name(self) -> &'static str {
                match self { $(ErrorClass::$variant => $name,)* }
            }

            /// The meaning in a few words, such as `message truncated on receive`.
            pub const fn description(self) -> &'static str {
                match self { $(ErrorClass::$variant => $text,)* }
            }

            /// The class with this ABI number, if there is one.
            pub const fn from_code(code: i32) -> Option<ErrorClass> {
                match code { $($value => Some(ErrorClass::$variant),)* _ => None }
            }
        }
    };
}

error_classes! {
    Success = 0, "MPI_SUCCESS", "no error";
    Buffer = 1, "MPI_ERR_BUFFER", "invalid buffer pointer";
    Count = 2, "MPI_ERR_COUNT", "invalid count";
    Type = 3, "MPI_ERR_TYPE", "invalid datatype";
    Tag = 4, "MPI_ERR_TAG", "invalid tag";
    Comm = 5, "MPI_ERR_COMM", "invalid communicator";
    Rank = 6, "MPI_ERR_RANK", "invalid rank";
    Request = 7, "MPI_ERR_REQUEST", "invalid request";
    Root = 8, "MPI_ERR_ROOT", "invalid root";
    Group = 9, "MPI_ERR_GROUP", "invalid group";
    Op = 10, "MPI_ERR_OP", "invalid reduction operation";
    Topology = 11, "MPI_ERR_TOPOLOGY", "invalid communicator topology";
    Dims = 12, "MPI_ERR_DIMS", "invalid dimension";
    Arg = 13, "MPI_ERR_ARG", "invalid argument";
    Unknown = 14, "MPI_ERR_UNKNOWN", "unknown error";
    Truncate = 15, "MPI_ERR_TRUNCATE", "message truncated on receive";
    Other = 16, "MPI_ERR_OTHER", "known error not in this list";
    Intern = 17, "MPI_ERR_INTERN", "internal error";
    Pending = 18, "MPI_ERR_PENDING", "operation neither failed nor completed";
    InStatus = 19, "MPI_ERR_IN_STATUS", "error code is in the status";
    Access = 20, "MPI_ERR_ACCESS", "permission denied";
    Amode = 21, "MPI_ERR_AMODE", "invalid file access mode";
    Assert = 22, "MPI_ERR_ASSERT", "invalid assertion";
    BadFile = 23, "MPI_ERR_BAD_FILE", "invalid file name";
    Base = 24, "MPI_ERR_BASE", "invalid window base";
    Conversion = 25, "MPI_ERR_CONVERSION", "error in data conversion";
    Disp = 26, "MPI_ERR_DISP", "invalid displacement";
    DupDatarep = 27, "MPI_ERR_DUP_DATAREP", "data representation already defined";
    FileExists = 28, "MPI_ERR_FILE_EXISTS", "file exists";
    FileInUse = 29, "MPI_ERR_FILE_IN_USE", "file in use";
    File = 30, "MPI_ERR_FILE", "invalid file handle";
    InfoKey = 31, "MPI_ERR_INFO_KEY", "info key too long or empty";
    InfoNokey = 32, "MPI_ERR_INFO_NOKEY", "info key not defined";
    InfoValue = 33, "MPI_ERR_INFO_VALUE", "info value too long or empty";
    Info = 34, "MPI_ERR_INFO", "invalid info object";
    Io = 35, "MPI_ERR_IO", "input or output failed";
    Keyval = 36, "MPI_ERR_KEYVAL", "invalid attribute key";
    Locktype = 37, "MPI_ERR_LOCKTYPE", "invalid lock type";
    Name = 38, "MPI_ERR_NAME", "service name not published";
    NoMem = 39, "MPI_ERR_NO_MEM", "out of memory";
    NotSame = 40, "MPI_ERR_NOT_SAME", "argument not the same on all processes";
    NoSpace = 41, "MPI_ERR_NO_SPACE", "not enough space";
    NoSuchFile = 42, "MPI_ERR_NO_SUCH_FILE", "no such file";
    Port = 43, "MPI_ERR_PORT", "invalid port name";
    Quota = 44, "MPI_ERR_QUOTA", "quota exceeded";
    ReadOnly = 45, "MPI_ERR_READ_ONLY", "read-only file or file system";
    RmaAttach = 46, "MPI_ERR_RMA_ATTACH", "memory cannot be attached";
    RmaConflict = 47, "MPI_ERR_RMA_CONFLICT", "conflicting accesses to a window";
    RmaRange = 48, "MPI_ERR_RMA_RANGE", "target memory is not part of the window";
    RmaShared = 49, "MPI_ERR_RMA_SHARED", "memory cannot be shared";
    RmaSync = 50, "MPI_ERR_RMA_SYNC", "wrong synchronization of one-sided calls";
    Service = 51, "MPI_ERR_SERVICE", "invalid service name";
    Size = 52, "MPI_ERR_SIZE", "invalid size";
    Spawn = 53, "MPI_ERR_SPAWN", "processes could not be spawned";
    UnsupportedDatarep = 54, "MPI_ERR_UNSUPPORTED_DATAREP", "unsupported data representation";
    UnsupportedOperation = 55, "MPI_ERR_UNSUPPORTED_OPERATION", "unsupported operation";
    Win = 56, "MPI_ERR_WIN", "invalid window";
    RmaFlavor = 57, "MPI_ERR_RMA_FLAVOR", "window has the wrong flavor";
    ProcAborted = 58, "MPI_ERR_PROC_ABORTED", "a peer process has ended";
    ValueTooLarge = 59, "MPI_ERR_VALUE_TOO_LARGE", "value too large to be represented";
    Session = 60, "MPI_ERR_SESSION", "invalid session";
    Errhandler = 61, "MPI_ERR_ERRHANDLER", "invalid error handler";
    Abi = 62, "MPI_ERR_ABI", "error of the binary interface";
}

impl ErrorClass {
    /// The ABI number.
    pub const fn code(self) -> i32 {
        self as i32
    }
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
    /// An error code that a user's callback returned, to be handed on unchanged.
    user_code: Option<i32>,
}

impl Error {
    /// An error of `class`; `message` says what happened, to whom, what was expected and what to do.
    #[cold]
    pub fn new(class: ErrorClass, message: impl Into<String>) -> Error {
        Error(Box::new(Report { class, message: message.into(), interrupted: false, user_code: None }))
    }

    /// A wait was given up because the interrupt hook asked for it (Ctrl-C in Python). Class [`ErrorClass::Other`].
    #[cold]
    pub fn interrupted() -> Error {
        let mut error = Error::new(ErrorClass::Other, "interrupted");
        error.0.interrupted = true;
        error
    }

    /// A user's callback (attribute copy, generalized request) answered `code`: callers receive exactly that code.
    #[cold]
    pub fn from_callback(code: i32, what: impl Into<String>) -> Error {
        let mut error = Error::new(ErrorClass::from_code(code).unwrap_or(ErrorClass::Other), what);
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
    use crate::abi_table;

    #[test]
    fn classes_are_those_of_the_abi_table() {
        let mut rows = 0;
        for (name, _, value) in abi_table::rows() {
            if name == "MPI_SUCCESS" || (name.starts_with("MPI_ERR_") && name != "MPI_ERR_LASTCODE") {
                let class = ErrorClass::from_code(value as i32).unwrap_or_else(|| panic!("{name} is missing"));
                assert_eq!(class.name(), name);
                assert_eq!(i64::from(class.code()), value);
                rows += 1;
            }
        }
        assert_eq!(rows, ErrorClass::ALL.len());
    }

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
        let error = Error::from_callback(0x4_0010, "attribute copy function");
        assert_eq!(error.callback_code(), Some(0x4_0010));
        assert_eq!(Error::from_callback(13, "x").class(), ErrorClass::Arg);
    }
}
