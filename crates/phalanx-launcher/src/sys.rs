//! The few system calls that have no safe form: the only `unsafe` of this crate.
#![expect(unsafe_code, reason = "fork hooks, signalfd and fork without exec have no safe wrappers")]

use std::io;
use std::os::fd::{AsFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::process::Command;

use rustix::io::FdFlags;
use rustix::process::{Pid, Signal};
use rustix::thread::CpuSet;

/// What a child does between fork and exec.
pub(crate) struct ChildSetup {
    /// Descriptors to keep open across exec, under their own numbers.
    pub(crate) keep: Vec<RawFd>,
    /// The launcher; a child that finds another parent exits, since its launcher died before the death signal was set.
    pub(crate) parent: Pid,
    /// Whether it begins a session of its own. (Else it is in a group that its parent has made for it.)
    pub(crate) session: bool,
    /// The CPUs to run on; none means all.
    pub(crate) cpus: Vec<usize>,
    /// Signals that the launcher blocks for itself, and its children must not.
    pub(crate) unblock: &'static [i32],
}

/// Makes `command` carry out `setup` in the child.
pub(crate) fn before_exec(command: &mut Command, setup: ChildSetup) {
    let hook = move || -> io::Result<()> {
        rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
        if rustix::process::getppid() != Some(setup.parent) {
            return Err(io::Error::from_raw_os_error(libc::ESRCH));
        }
        // Signals are let in before anything else can happen: only the death signal comes first.
        change_mask(libc::SIG_UNBLOCK, setup.unblock)?;
        if setup.session {
            rustix::process::setsid()?;
        }
        for fd in &setup.keep {
            // SAFETY: the descriptors belong to values that the parent keeps alive across the fork.
            let fd = unsafe { BorrowedFd::borrow_raw(*fd) };
            rustix::io::fcntl_setfd(fd, FdFlags::empty())?;
        }
        if !setup.cpus.is_empty() {
            let mut set = CpuSet::new();
            setup.cpus.iter().for_each(|cpu| set.set(*cpu));
            rustix::thread::sched_setaffinity(None, &set)?;
        }
        Ok(())
    };
    // SAFETY: the hook makes only system calls: it takes no lock and allocates nothing (its error is a bare number).
    unsafe { command.pre_exec(hook) };
}

/// The set of these signals.
fn signal_set(signals: &[i32]) -> io::Result<libc::sigset_t> {
    let mut set = std::mem::MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: sigemptyset initialises the set before anything else reads it.
    unsafe {
        libc::sigemptyset(set.as_mut_ptr());
        for signal in signals {
            if libc::sigaddset(set.as_mut_ptr(), *signal) != 0 {
                return Err(io::Error::from_raw_os_error(libc::EINVAL));
            }
        }
        Ok(set.assume_init())
    }
}

/// Blocks or unblocks signals in this thread. Makes one system call and allocates nothing.
fn change_mask(how: libc::c_int, signals: &[i32]) -> io::Result<()> {
    let set = signal_set(signals)?;
    // SAFETY: `set` is initialised and outlives the call; the old mask is not asked for.
    match unsafe { libc::pthread_sigmask(how, &raw const set, std::ptr::null_mut()) } {
        0 => Ok(()),
        failed => Err(io::Error::from_raw_os_error(failed)),
    }
}

/// Blocks `signals` in this thread and returns a descriptor that reads them.
pub(crate) fn signal_descriptor(signals: &[i32]) -> io::Result<OwnedFd> {
    change_mask(libc::SIG_BLOCK, signals)?;
    let set = signal_set(signals)?;
    // SAFETY: `set` is initialised and outlives the call.
    let fd = unsafe { libc::signalfd(-1, &raw const set, libc::SFD_NONBLOCK | libc::SFD_CLOEXEC) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: a new descriptor that nobody else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Forks a process that runs `body` with `keep` as its standard input, `output` (or nothing) as its standard output, our
/// standard error, and nothing else open, and never returns.
///
/// Architecture invariant: called while the process has one thread, so that the child may allocate.
pub(crate) fn fork_helper(
    keep: BorrowedFd<'_>,
    output: Option<BorrowedFd<'_>>,
    body: impl FnOnce(),
) -> io::Result<Pid> {
    // SAFETY: the process has a single thread (see above), so that no lock is held in the child.
    let pid = unsafe { libc::fork() };
    match pid {
        -1 => Err(io::Error::last_os_error()),
        0 => {
            let ready = rustix::process::setsid().is_ok()
                // The output first: it may be our standard input.
                && output.map_or_else(null_device, |output| Ok(rustix::stdio::dup2_stdout(output)?)).is_ok()
                && rustix::stdio::dup2_stdin(keep.as_fd()).is_ok();
            if ready {
                // SAFETY: the child leaves by _exit below: no owner of a closed descriptor runs again.
                unsafe { libc::close_range(3, libc::c_uint::MAX, 0) };
                body();
            }
            // SAFETY: ends this process at once, without running anything of the parent's.
            unsafe { libc::_exit(0) }
        }
        pid => Pid::from_raw(pid).ok_or_else(|| io::Error::from_raw_os_error(libc::EINVAL)),
    }
}

fn null_device() -> io::Result<()> {
    let null = std::fs::OpenOptions::new().write(true).open("/dev/null")?;
    rustix::stdio::dup2_stdout(&null)?;
    Ok(())
}

/// Takes over a descriptor whose number was handed to this process on its command line.
pub(crate) fn inherited(number: RawFd) -> io::Result<OwnedFd> {
    if number <= 2 {
        return Err(io::Error::from_raw_os_error(libc::EBADF));
    }
    // SAFETY: only used to ask whether the number is an open descriptor.
    let probe = unsafe { BorrowedFd::borrow_raw(number) };
    rustix::io::fcntl_setfd(probe, FdFlags::CLOEXEC)?;
    // SAFETY: it is open, and whoever started this process gave it to us: nothing else here owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

/// The two processes that one becomes which goes to the background.
pub(crate) enum Daemon {
    /// The one in the foreground, which reads what the other one says.
    Parent(OwnedFd),
    /// The one in the background, in a session of its own, with nothing to read from and nothing to print to.
    Child(OwnedFd),
}

/// Goes to the background.
///
/// Architecture invariant: called while the process has one thread, so that both may go on as they like.
pub(crate) fn daemonize() -> io::Result<Daemon> {
    let (waits, tells) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
    // SAFETY: the process has a single thread (see above), so that no lock is held in the child.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()),
        0 => {
            rustix::process::setsid()?;
            let null = std::fs::OpenOptions::new().read(true).write(true).open("/dev/null")?;
            rustix::stdio::dup2_stdin(&null)?;
            rustix::stdio::dup2_stdout(&null)?;
            rustix::stdio::dup2_stderr(&null)?;
            Ok(Daemon::Child(tells))
        }
        _ => Ok(Daemon::Parent(waits)),
    }
}
