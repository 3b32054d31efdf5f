//! Forked processes of the tests, killed at any instant.
//!
//! Between fork and end a child uses only what was made before: atomics, handles, no locks of its parent.

#![allow(dead_code, reason = "each test file uses its part")]

/// A forked process that runs `body` and ends. Killed on drop at the latest, and by an alarm if it is forgotten.
pub(crate) struct Child(libc::pid_t);

impl Child {
    pub(crate) fn run(body: impl FnOnce()) -> Child {
        // SAFETY: see the head of this file for what the child does.
        let pid = unsafe { libc::fork() };
        assert!(pid >= 0, "no process to be had");
        if pid == 0 {
            // SAFETY: no pointers.
            unsafe { libc::alarm(60) };
            body();
            // SAFETY: ends the child without running anything of the parent's.
            unsafe { libc::_exit(0) };
        }
        Child(pid)
    }

    pub(crate) fn pid(&self) -> u32 {
        self.0.unsigned_abs()
    }

    /// Kills it, and returns when it is dead (not yet waited for).
    pub(crate) fn kill(&self) {
        let mut info = std::mem::MaybeUninit::uninit();
        // SAFETY: our own child, which is reaped by `wait` or drop only; a place for the answer.
        unsafe {
            libc::kill(self.0, libc::SIGKILL);
            libc::waitid(libc::P_PID, self.pid(), info.as_mut_ptr(), libc::WEXITED | libc::WNOWAIT);
        }
    }

    /// Waits for its end, and gives its status as `waitpid` does.
    pub(crate) fn wait(mut self) -> i32 {
        let pid = std::mem::replace(&mut self.0, 0);
        let mut status = 0;
        // SAFETY: our own child.
        unsafe { libc::waitpid(pid, &raw mut status, 0) };
        status
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        if self.0 != 0 {
            self.kill();
            // SAFETY: our own child, which nobody has waited for.
            unsafe { libc::waitpid(self.0, std::ptr::null_mut(), 0) };
        }
    }
}
