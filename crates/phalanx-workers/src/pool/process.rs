//! One worker process, as the thread that watches it sees it: whether it has ended and how, what memory it uses, and its
//! own end when it is told to.

use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use phalanx_pool::End;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, WaitId, WaitIdOptions, pidfd_open, pidfd_send_signal, waitid};

use super::memory::Memory;

/// From SIGTERM to SIGKILL.
const GRACE: Duration = Duration::from_millis(500);
/// How long the exit status of a process that is not this one's child is waited for.
const STATUS: Duration = Duration::from_secs(1);

/// A worker.
pub(super) struct Process {
    pub(super) slot: u32,
    pub(super) pid: u32,
    /// `None` once it has ended.
    fd: Option<OwnedFd>,
    /// When it was told to end.
    stopped: Option<Instant>,
    killed: bool,
    /// When it ended, while nobody knows how.
    ended: Option<Instant>,
    /// Where there is a limit.
    memory: Option<Memory>,
}

/// What a look at a process found.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Look {
    /// No news: it runs, or how it ended may still be told.
    Nothing,
    /// It has just ended, and this process cannot tell how: Python learns that when it joins it.
    Gone,
    /// It is over.
    Over {
        /// How it ended.
        end: End,
        /// Whether [`Look::Gone`] has been found before.
        known: bool,
    },
    /// It uses more memory than it may: [`Process::kill`] it.
    TooLarge(End),
}

impl Process {
    /// The process `pid`, which may use `limit` bytes. One that is gone already has ended.
    ///
    /// # Errors
    /// When there are no descriptors left.
    pub(super) fn of(slot: u32, pid: u32, limit: Option<u64>) -> std::io::Result<Process> {
        let id = i32::try_from(pid).ok().and_then(Pid::from_raw);
        let fd = match id.map(|id| pidfd_open(id, PidfdFlags::empty())) {
            Some(Ok(fd)) => Some(fd),
            None | Some(Err(Errno::SRCH)) => None,
            Some(Err(error)) => return Err(error.into()),
        };
        let ended = fd.is_none().then(Instant::now);
        // At once, before it has memory of its own.
        let memory = limit.map(|limit| Memory::of(pid, limit));
        Ok(Process { slot, pid, fd, stopped: None, killed: false, ended, memory })
    }

    /// What becomes readable when it ends; `None` once it has.
    pub(super) fn fd(&self) -> Option<&OwnedFd> {
        self.fd.as_ref()
    }

    /// Whether it was gone before anybody looked, or how it ended is still to be told.
    pub(super) fn has_ended(&self) -> bool {
        self.ended.is_some()
    }

    /// Whether it was killed by this process.
    pub(super) fn was_killed(&self) -> bool {
        self.killed
    }

    /// Whether a look is due even when nothing happens.
    pub(super) fn needs_looks(&self) -> bool {
        self.memory.is_some() || self.stopped.is_some() && !self.killed || self.ended.is_some()
    }

    /// Looks whether it has ended or grown too large; kills it when it has been told to end and has not.
    pub(super) fn look(&mut self) -> Look {
        let Some(fd) = &self.fd else {
            return match self.ended {
                Some(since) if since.elapsed() < STATUS => Look::Nothing,
                _ => Look::Over { end: End::Unknown, known: true },
            };
        };
        let mut polled = [PollFd::new(fd, PollFlags::IN)];
        if poll(&mut polled, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })).is_ok_and(|ready| ready > 0) {
            if let Some(end) = end_of(fd) {
                return Look::Over { end, known: false };
            }
            self.fd = None;
            self.ended = Some(Instant::now());
            return Look::Gone;
        }
        match self.stopped {
            Some(since) if since.elapsed() >= GRACE && !self.killed => self.kill(),
            Some(_) => {}
            None => {
                if let Some(memory) = &mut self.memory
                    && let Some(used) = memory.over()
                {
                    return Look::TooLarge(End::OverLimit { used, limit: memory.limit() });
                }
            }
        }
        Look::Nothing
    }

    /// Tells it to end: SIGTERM, and after a while SIGKILL, by [`Process::look`].
    pub(super) fn stop(&mut self) {
        if let Some(fd) = &self.fd
            && self.stopped.is_none()
        {
            // It may be gone by now.
            let _ = pidfd_send_signal(fd, Signal::TERM);
            self.stopped = Some(Instant::now());
        }
    }

    /// Ends it.
    pub(super) fn kill(&mut self) {
        if let Some(fd) = &self.fd {
            let _ = pidfd_send_signal(fd, Signal::KILL);
            self.stopped.get_or_insert_with(Instant::now);
            self.killed = true;
        }
    }
}

/// What a process says about its end: `None` when it is not (or no longer) this process's child.
fn end_of(fd: &OwnedFd) -> Option<End> {
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT | WaitIdOptions::NOHANG;
    // The exit status is left for Python's Process.
    let status = waitid(WaitId::PidFd(fd.as_fd()), options).ok()??;
    if let Some(signal) = status.terminating_signal() {
        return Some(End::Signaled(signal));
    }
    status.exit_status().map(End::Exited)
}
