//! The few system calls that have no safe form: the only `unsafe` of this crate.
#![expect(
    unsafe_code,
    reason = "fork hooks, signalfd and fork without exec have no safe wrappers"
)]

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
    /// The CPU to run on.
    pub(crate) cpu: Option<usize>,
}

/// Makes `command` carry out `setup` in the child.
pub(crate) fn before_exec(command: &mut Command, setup: ChildSetup) {
    let hook = move || -> io::Result<()> {
        rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
        if rustix::process::getppid() != Some(setup.parent) {
            return Err(io::Error::from_raw_os_error(libc::ESRCH));
        }
        for fd in &setup.keep {
            // SAFETY: the descriptors belong to values that the parent keeps alive across the fork.
            let fd = unsafe { BorrowedFd::borrow_raw(*fd) };
            rustix::io::fcntl_setfd(fd, FdFlags::empty())?;
        }
        if let Some(cpu) = setup.cpu {
            let mut set = CpuSet::new();
            set.set(cpu);
            rustix::thread::sched_setaffinity(None, &set)?;
        }
        Ok(())
    };
    // SAFETY: the hook makes only system calls: it takes no lock and allocates nothing (its error is a bare number).
    unsafe { command.pre_exec(hook) };
}

/// Blocks `signals` in this thread and returns a descriptor that reads them.
pub(crate) fn signal_descriptor(signals: &[i32]) -> io::Result<OwnedFd> {
    let mut set = std::mem::MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: `set` is initialised by sigemptyset before any other use, and outlives the calls; signalfd returns a new
    // descriptor that nobody else owns.
    unsafe {
        libc::sigemptyset(set.as_mut_ptr());
        for signal in signals {
            if libc::sigaddset(set.as_mut_ptr(), *signal) != 0 {
                return Err(io::Error::last_os_error());
            }
        }
        let failed = libc::pthread_sigmask(libc::SIG_BLOCK, set.as_ptr(), std::ptr::null_mut());
        if failed != 0 {
            return Err(io::Error::from_raw_os_error(failed));
        }
        let fd = libc::signalfd(-1, set.as_ptr(), libc::SFD_NONBLOCK | libc::SFD_CLOEXEC);
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(OwnedFd::from_raw_fd(fd))
    }
}

/// Forks a process that runs `body` with `keep` as its standard input and nothing else open, and never returns.
///
/// Architecture invariant: called while the process has one thread, so that the child may allocate.
pub(crate) fn fork_helper(keep: BorrowedFd<'_>, body: impl FnOnce()) -> io::Result<Pid> {
    // SAFETY: the process has a single thread (see above), so that no lock is held in the child.
    let pid = unsafe { libc::fork() };
    match pid {
        -1 => Err(io::Error::last_os_error()),
        0 => {
            let ready = rustix::process::setsid().is_ok()
                && rustix::stdio::dup2_stdin(keep.as_fd()).is_ok()
                && null_device().is_ok();
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
    rustix::stdio::dup2_stderr(&null)?;
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
