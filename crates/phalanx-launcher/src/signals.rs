//! Signals to the launcher, read as events.

use std::cell::Cell;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use crate::sys;

/// What the launcher handles. SIGCHLD tells that a process ended; the others are passed on in some form.
pub(crate) const HANDLED: &[i32] = &[
    libc::SIGCHLD,
    libc::SIGINT,
    libc::SIGTERM,
    libc::SIGHUP,
    libc::SIGQUIT,
    libc::SIGTSTP,
    libc::SIGCONT,
    libc::SIGUSR1,
    libc::SIGUSR2,
    // Setting the terminal from the background must not stop us.
    libc::SIGTTOU,
];

/// The source of signals: they are blocked, and read from a descriptor.
pub(crate) struct Signals {
    descriptor: OwnedFd,
    /// The process that sent the last one; 0 for the kernel and its terminals.
    sender: Cell<u32>,
}

impl Signals {
    /// Begins to receive signals as events. Those that were ignored on entry (`nohup`, background jobs) stay so.
    pub(crate) fn new() -> io::Result<Self> {
        let ignored = ignored_on_entry();
        let wanted: Vec<i32> = HANDLED
            .iter()
            .copied()
            .filter(|signal| *signal == libc::SIGCHLD || ignored & (1 << (signal - 1)) == 0)
            .collect();
        Ok(Self { descriptor: sys::signal_descriptor(&wanted)?, sender: Cell::new(0) })
    }

    /// The next signal that arrived, if any.
    pub(crate) fn next(&self) -> Option<i32> {
        // struct signalfd_siginfo: 128 bytes; the first field is the signal's number, the fourth its sender's (u32).
        let mut record = [0u8; 128];
        loop {
            match rustix::io::read(&self.descriptor, &mut record[..]) {
                Ok(n) if n == record.len() => {
                    let field =
                        |at: usize| u32::from_ne_bytes([record[at], record[at + 1], record[at + 2], record[at + 3]]);
                    self.sender.set(field(12));
                    let number = field(0);
                    return i32::try_from(number).ok();
                }
                Err(rustix::io::Errno::INTR) => {}
                _ => return None,
            }
        }
    }
}

impl Signals {
    /// Who sent the last signal, if a process did and still lives: " from pid 7 (timeout)".
    pub(crate) fn sender(&self) -> String {
        let pid = self.sender.get();
        match std::fs::read_to_string(format!("/proc/{pid}/comm")) {
            Ok(name) if pid > 0 => format!(" from pid {pid} ({})", phalanx_waits::tame(name.trim_end().to_owned())),
            _ => String::new(),
        }
    }
}

impl AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }
}

/// The set of ignored signals, bit N-1 for signal N; 0 when it cannot be read.
fn ignored_on_entry() -> u64 {
    std::fs::read_to_string("/proc/self/status")
        .ok()
        .and_then(|text| {
            let line = text.lines().find_map(|line| line.strip_prefix("SigIgn:"))?;
            u64::from_str_radix(line.trim(), 16).ok()
        })
        .unwrap_or(0)
}

/// The usual name of a signal, and nothing more.
pub(crate) fn short_name(signal: i32) -> String {
    let mut name = name(signal);
    name.truncate(name.find(" (").unwrap_or(name.len()));
    name
}

/// The usual name of a signal, with what it means.
#[must_use]
pub fn name(signal: i32) -> String {
    let known = match signal {
        libc::SIGABRT => "SIGABRT (aborted)",
        libc::SIGALRM => "SIGALRM",
        libc::SIGBUS => "SIGBUS (bus error)",
        libc::SIGFPE => "SIGFPE (arithmetic error)",
        libc::SIGHUP => "SIGHUP",
        libc::SIGILL => "SIGILL (illegal instruction)",
        libc::SIGINT => "SIGINT (interrupt)",
        libc::SIGKILL => "SIGKILL (killed; perhaps out of memory)",
        libc::SIGPIPE => "SIGPIPE (broken pipe)",
        libc::SIGQUIT => "SIGQUIT",
        libc::SIGSEGV => "SIGSEGV (segmentation fault)",
        libc::SIGSYS => "SIGSYS (bad system call)",
        libc::SIGTERM => "SIGTERM (terminated)",
        libc::SIGTRAP => "SIGTRAP",
        libc::SIGUSR1 => "SIGUSR1",
        libc::SIGUSR2 => "SIGUSR2",
        libc::SIGXCPU => "SIGXCPU (CPU time limit)",
        libc::SIGXFSZ => "SIGXFSZ (file size limit)",
        _ => return format!("signal {signal}"),
    };
    known.to_owned()
}
