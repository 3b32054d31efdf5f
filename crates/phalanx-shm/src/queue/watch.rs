//! A descriptor that is readable while a queue has records, for `select`, `poll` and event loops.
//!
//! A queue has no descriptor of its own: a [`Watch`] is an eventfd of this process, which a small thread keeps equal to
//! "there is a record". A thread of this process that puts or gets brings it up to date at once ([`Watch::refresh`]),
//! so that a loop that got the last record does not see the descriptor readable once more.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use rustix::event::EventfdFlags;

use super::Memory;
use super::real::Queue;
use crate::ShmError;
use crate::sleep::{SLICE, Token, WAITING, WAITING_TOO};

/// The readable descriptor of one queue in this process. Not to be used after a fork: the thread is not there.
#[derive(Debug)]
pub struct Watch {
    fd: OwnedFd,
    /// Whether the descriptor is readable.
    readable: Mutex<bool>,
    stop: AtomicBool,
}

impl Watch {
    /// Begins to watch.
    ///
    /// # Errors
    ///
    /// [`ShmError::System`] when there can be no descriptor or no thread.
    pub fn start<M: Memory + Send + Sync + 'static>(queue: &Arc<Queue<M>>) -> Result<Arc<Watch>, ShmError> {
        let fd = rustix::event::eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)
            .map_err(|e| ShmError::System { what: "make a descriptor for a queue", source: e.into() })?;
        let watch = Arc::new(Watch { fd, readable: Mutex::new(false), stop: AtomicBool::new(false) });
        watch.refresh(queue);
        let (watched, queue) = (Arc::clone(&watch), Arc::clone(queue));
        std::thread::Builder::new()
            .name("phalanx-queue".to_owned())
            .stack_size(64 << 10)
            .spawn(move || watched.run(&queue))
            .map_err(|source| ShmError::System { what: "start the thread that watches a queue", source })?;
        Ok(watch)
    }

    /// The descriptor. Only to be polled: never read, written or closed.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// Ends the thread, soon.
    pub fn stop<M: Memory>(&self, queue: &Queue<M>) {
        self.stop.store(true, Ordering::Relaxed);
        queue.header().waits.watchers.advance();
    }

    /// Brings the descriptor up to date, and asks to be told of the next change.
    pub fn refresh<M: Memory>(&self, queue: &Queue<M>) -> WatchToken {
        let watchers = &queue.header().waits.watchers;
        let mut readable = self.readable.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            let there = !queue.is_empty();
            if there != *readable {
                // Neither can fail: the counter is between 0 and 1, and the descriptor is our own.
                let _: Result<usize, io::Error> = if there {
                    rustix::io::write(&self.fd, &1u64.to_ne_bytes()).map_err(Into::into)
                } else {
                    rustix::io::read(&self.fd, &mut [0u8; 8]).map_err(Into::into)
                };
                *readable = there;
            }
            let token = watchers.announce(if there { WAITING_TOO } else { WAITING });
            if queue.is_empty() != there {
                return WatchToken(token);
            }
        }
    }

    fn run<M: Memory>(&self, queue: &Queue<M>) {
        block_signals();
        while !self.stop.load(Ordering::Relaxed) {
            let WatchToken(token) = self.refresh(queue);
            // `stop` changes the word after it has set the flag.
            if !self.stop.load(Ordering::Relaxed) {
                queue.header().waits.watchers.sleep(token, Some(SLICE));
            }
        }
    }
}

/// When the descriptor was up to date.
#[derive(Debug)]
pub struct WatchToken(Token);

/// Leaves signals to the threads that are prepared for them.
fn block_signals() {
    // SAFETY: the set is initialised by sigfillset before use; only this thread's mask changes.
    unsafe {
        let mut all = core::mem::MaybeUninit::<libc::sigset_t>::uninit();
        libc::sigfillset(all.as_mut_ptr());
        libc::pthread_sigmask(libc::SIG_BLOCK, all.as_ptr(), core::ptr::null_mut());
    }
}
