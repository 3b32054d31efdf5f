//! The atomics seam: every structure in shared memory takes its atomics from here.
//!
//! Normally these are the standard atomics. With `--cfg loom` they are loom's,
//! which explore every interleaving and every value the memory model allows.
//! `futex_*` stand for the kernel's futex; under loom a condition variable with
//! the same contract takes its place.
//!
//! What stays outside: words private to one process that lie in a `static` (`fork`, `limits`, `queue/watch`), where
//! loom's atomics cannot be, and the word that `single_copy` reads through another process's memory.

#[cfg(not(loom))]
mod real {
    pub(crate) use core::hint::spin_loop;
    pub(crate) use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering, fence};

    /// A SeqCst fence for a caller whose last change of shared memory was an atomic read-modify-write.
    ///
    /// On x86-64 such an instruction is a full barrier by itself, so only the compiler must be kept from moving what
    /// follows.
    #[inline]
    pub(crate) fn fence_after_atomic() {
        if cfg!(all(target_arch = "x86_64", not(miri))) {
            core::sync::atomic::compiler_fence(Ordering::SeqCst);
        } else {
            fence(Ordering::SeqCst);
        }
    }

    use rustix::thread::futex;
    use std::time::Duration;

    /// Why a futex wait came back.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub(crate) enum FutexWake {
        /// Woken, or the word no longer held the expected value.
        Changed,
        /// The timeout passed.
        TimedOut,
        /// A signal handler ran.
        Interrupted,
    }

    /// Who may wait on a word.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub(crate) enum Scope {
        /// Threads of this process only.
        Private,
        /// Any process that maps the memory.
        Shared,
    }

    impl Scope {
        fn flags(self) -> futex::Flags {
            match self {
                Scope::Private => futex::Flags::PRIVATE,
                Scope::Shared => futex::Flags::empty(),
            }
        }
    }

    /// A 32-bit word threads can sleep on.
    #[derive(Debug)]
    #[repr(transparent)]
    pub(crate) struct FutexWord(AtomicU32);

    impl FutexWord {
        pub(crate) const fn new(value: u32) -> FutexWord {
            FutexWord(AtomicU32::new(value))
        }

        /// The word itself.
        #[inline]
        pub(crate) fn word(&self) -> &AtomicU32 {
            &self.0
        }

        /// Sleeps while the word holds `expected`.
        #[cold]
        pub(crate) fn wait(&self, scope: Scope, expected: u32, timeout: Option<Duration>) -> FutexWake {
            let timeout = timeout.map(|t| futex::Timespec {
                tv_sec: t.as_secs().min(i64::MAX as u64) as i64,
                tv_nsec: t.subsec_nanos().into(),
            });
            match futex::wait(&self.0, scope.flags(), expected, timeout.as_ref()) {
                Err(rustix::io::Errno::TIMEDOUT) => FutexWake::TimedOut,
                Err(rustix::io::Errno::INTR) => FutexWake::Interrupted,
                // EAGAIN: the value had changed. Anything else cannot happen for
                // a mapped, aligned word; callers re-check their condition anyway.
                Ok(()) | Err(_) => FutexWake::Changed,
            }
        }

        /// Wakes up to `count` sleepers; returns how many there were.
        #[cold]
        pub(crate) fn wake(&self, scope: Scope, count: u32) -> usize {
            // The only errors are about the address, which is valid.
            futex::wake(&self.0, scope.flags(), count).unwrap_or(0)
        }
    }
}

#[cfg(loom)]
mod model {
    pub(crate) use loom::hint::spin_loop;
    pub(crate) use loom::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};
    use loom::sync::{Condvar, Mutex};
    use std::time::Duration;

    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub(crate) enum FutexWake {
        Changed,
        TimedOut,
        #[expect(dead_code, reason = "models have no signals")]
        Interrupted,
    }

    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub(crate) enum Scope {
        Private,
        Shared,
    }

    pub(crate) fn fence_after_atomic() {
        fence(Ordering::SeqCst);
    }

    /// The kernel's contract: compare and enqueue are one step against `wake`.
    #[derive(Debug)]
    pub(crate) struct FutexWord {
        value: AtomicU32,
        /// How many sleep.
        queue: Mutex<usize>,
        woken: Condvar,
    }

    impl FutexWord {
        pub(crate) fn new(value: u32) -> FutexWord {
            FutexWord { value: AtomicU32::new(value), queue: Mutex::new(0), woken: Condvar::new() }
        }

        pub(crate) fn word(&self) -> &AtomicU32 {
            &self.value
        }

        /// No time passes in a model: a wait is for ever, or over at once when it may take no time.
        pub(crate) fn wait(&self, _: Scope, expected: u32, limit: Option<Duration>) -> FutexWake {
            if limit == Some(Duration::ZERO) {
                return FutexWake::TimedOut;
            }
            let mut queue = self.queue.lock().unwrap();
            // The kernel reads the word under its hash-bucket lock.
            if self.value.load(Ordering::SeqCst) == expected {
                *queue += 1;
                drop(self.woken.wait(queue).unwrap());
            }
            FutexWake::Changed
        }

        pub(crate) fn wake(&self, _: Scope, count: u32) -> usize {
            let mut queue = self.queue.lock().unwrap();
            let woken = (*queue).min(count as usize);
            *queue -= woken;
            if count == 1 {
                self.woken.notify_one();
            } else {
                self.woken.notify_all();
            }
            woken
        }
    }
}

#[cfg(loom)]
pub(crate) use model::*;
#[cfg(not(loom))]
pub(crate) use real::*;
