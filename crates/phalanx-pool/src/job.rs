//! What is asked for, and what comes of it.

use std::any::Any;
use std::fmt;
use std::sync::Arc;

use smallvec::SmallVec;

/// A job's number; never used twice.
pub type JobId = u64;

/// A function's number; never used twice.
pub type FunctionId = u64;

/// A result or an exception as bytes; most are short.
pub type Bytes = SmallVec<[u8; 32]>;

/// Something that lives until an item is done.
pub type Keep = Box<dyn Any + Send>;

/// How a function is called with an item.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Form {
    /// With the item.
    #[default]
    One,
    /// With what the item contains.
    Star,
    /// With the arguments and keyword arguments that the item is a pair of.
    Call,
}

/// What is asked of a job.
#[derive(Clone, Debug, Default)]
pub struct JobSpec {
    /// The function, as given to [`crate::Ledger::add_function`].
    pub function: FunctionId,
    /// How it is called.
    pub form: Form,
    /// Items in a dispatch; `None`: as tuned.
    pub chunk: Option<u32>,
    /// How often an item whose worker was lost, or whose time was over, is tried again.
    pub retries: u32,
    /// The time an item may take, in nanoseconds.
    pub timeout: Option<u64>,
    /// Whether an event is due when all items are done.
    pub callbacks: bool,
    /// Whether somebody waits for each item rather than for all of them.
    pub each: bool,
    /// How many items there will be, if that is known.
    pub total: Option<u64>,
}

/// How a worker ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// With this exit status.
    Exited(i32),
    /// By this signal.
    Signaled(i32),
    /// By the kernel, because memory ran out.
    OutOfMemory,
    /// Stopped because it used more memory (bytes) than its limit.
    OverLimit {
        /// What it used.
        used: u64,
        /// What it might use.
        limit: u64,
    },
    /// The task raised `SystemExit` with this text; the worker goes on.
    SystemExit(String),
    /// The task was interrupted by `KeyboardInterrupt`.
    Interrupted,
    /// Nobody knows: another part of the program took the exit status.
    Unknown,
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            End::Exited(status) => write!(f, "exited with status {status}"),
            End::Signaled(signal) => write!(f, "was killed by signal {signal} ({})", signal_name(*signal)),
            End::OutOfMemory => write!(f, "was killed because the machine or its container ran out of memory"),
            End::OverLimit { used, limit } => {
                let mib = |bytes: &u64| bytes >> 20;
                write!(f, "was stopped: it used {} MiB of memory, more than its limit of {} MiB", mib(used), mib(limit))
            }
            End::SystemExit(text) if text.is_empty() => write!(f, "called sys.exit()"),
            End::SystemExit(text) => write!(f, "called sys.exit({text})"),
            End::Interrupted => write!(f, "was interrupted (KeyboardInterrupt)"),
            End::Unknown => write!(f, "ended in an unknown way (its exit status was taken by other code)"),
        }
    }
}

/// The name of a signal.
///
/// ```
/// use phalanx_pool::job::{End, signal_name};
///
/// assert_eq!(signal_name(9), "SIGKILL");
/// assert!(End::Signaled(11).to_string().contains("SIGSEGV"));
/// ```
pub fn signal_name(signal: i32) -> &'static str {
    const NAMES: [&str; 32] = [
        "none",
        "SIGHUP",
        "SIGINT",
        "SIGQUIT",
        "SIGILL",
        "SIGTRAP",
        "SIGABRT",
        "SIGBUS",
        "SIGFPE",
        "SIGKILL",
        "SIGUSR1",
        "SIGSEGV",
        "SIGUSR2",
        "SIGPIPE",
        "SIGALRM",
        "SIGTERM",
        "SIGSTKFLT",
        "SIGCHLD",
        "SIGCONT",
        "SIGSTOP",
        "SIGTSTP",
        "SIGTTIN",
        "SIGTTOU",
        "SIGURG",
        "SIGXCPU",
        "SIGXFSZ",
        "SIGVTALRM",
        "SIGPROF",
        "SIGWINCH",
        "SIGIO",
        "SIGPWR",
        "SIGSYS",
    ];
    usize::try_from(signal).ok().and_then(|at| NAMES.get(at).copied()).unwrap_or("a real-time signal")
}

/// A worker that ended in the middle of an item.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lost {
    /// The process.
    pub pid: u32,
    /// How it ended.
    pub end: End,
}

/// Why no worker can start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broken {
    /// How many workers in a row failed.
    pub failures: u32,
    /// How the last of them ended.
    pub end: Option<End>,
    /// The exception of the initializer.
    pub raised: Option<Bytes>,
}

/// What became of an item.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The function returned; the result.
    Returned(Bytes),
    /// The function raised; the exception with its traceback.
    Raised(Bytes),
    /// The worker was lost.
    Lost(Lost),
    /// It took longer than allowed (nanoseconds) in this process.
    TimedOut {
        /// The process.
        pid: u32,
        /// What was allowed.
        limit: u64,
    },
    /// Its bytes do not fit on the board.
    TooLarge {
        /// How many there are.
        bytes: usize,
        /// How many there may be.
        most: usize,
    },
    /// No worker can start.
    Broken(Arc<Broken>),
    /// It could not be made into bytes; why, knows who tried.
    Unsent,
    /// The job was cancelled before the item began.
    Cancelled,
    /// The pool was terminated before the item was done.
    Terminated,
}

impl Outcome {
    /// Whether the function returned.
    pub fn is_ok(&self) -> bool {
        matches!(self, Outcome::Returned(_))
    }
}
