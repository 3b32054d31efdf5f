//! What an engine's end does by itself, whatever Python code runs.
//!
//! An engine may have been given several short tasks. What it says of them is written together when it has done all of them,
//! and at the latest after [`LATE`]. When one of them takes longer than [`LONG`], those behind it go back to the controller:
//! another engine may be idle. Both are seen to by a thread that sleeps while there is at most one task.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use phalanx_wire::cluster::FromEngine;

use super::socket::Socket;

/// What was said of a task is written so late.
const LATE: Duration = Duration::from_millis(1);
/// A task that takes so long holds up those behind it.
const LONG: Duration = Duration::from_millis(5);
/// Without anything to see to, the thread looks so often before it sleeps.
const LOOKS: u32 = 20;

/// When the task began that an engine is in.
#[derive(Debug, Default)]
struct State {
    since: Option<Instant>,
    asleep: bool,
    /// There is something to see to.
    poked: bool,
}

/// The thread, and what it sees to.
pub(super) struct Minder {
    state: Mutex<State>,
    woken: Condvar,
    started: AtomicBool,
}

impl Minder {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self { state: Mutex::default(), woken: Condvar::new(), started: AtomicBool::new(false) })
    }

    /// A task begins. `several`: others wait behind it, or words about others to be written.
    pub(super) fn begun(self: &Arc<Self>, socket: &Arc<Socket>, several: bool) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.since = Some(Instant::now());
        if !several {
            return;
        }
        state.poked = true;
        if !self.started.swap(true, Ordering::Relaxed) {
            let (me, socket) = (Arc::downgrade(self), Arc::downgrade(socket));
            // Without the thread, tasks are done one after the other all the same.
            let _ = std::thread::Builder::new().name("phalanx-engine".to_owned()).spawn(move || mind(&me, &socket));
        } else if state.asleep {
            state.asleep = false;
            self.woken.notify_one();
        }
    }

    /// The task has ended.
    pub(super) fn ended(&self) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).since = None;
    }

    fn is_long(&self) -> bool {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.since.is_some_and(|since| since.elapsed() > LONG)
    }
}

fn mind(minder: &Weak<Minder>, socket: &Weak<Socket>) {
    let mut idle = 0;
    loop {
        std::thread::sleep(LATE);
        let (Some(minder), Some(socket)) = (minder.upgrade(), socket.upgrade()) else { return };
        let (has_next, unsent) = (socket.has_next(), socket.unsent_since());
        if has_next && minder.is_long() {
            let ids = socket.take_unbegun();
            if !ids.is_empty() {
                let _ = socket.push(FromEngine::Returned { ids }, &[]);
                let _ = socket.flush();
            }
        }
        if unsent.is_some_and(|since| since.elapsed() >= LATE) {
            let _ = socket.flush();
        }
        idle = if has_next || unsent.is_some() { 0 } else { idle + 1 };
        if idle < LOOKS {
            continue;
        }
        idle = 0;
        let mut state = minder.state.lock().unwrap_or_else(PoisonError::into_inner);
        if std::mem::take(&mut state.poked) {
            continue;
        }
        state.asleep = true;
        drop(socket);
        // Looks now and then whether the link is still there.
        while state.asleep {
            let (next, waited) =
                minder.woken.wait_timeout(state, Duration::from_secs(1)).unwrap_or_else(PoisonError::into_inner);
            state = next;
            if waited.timed_out() && Arc::strong_count(&minder) == 1 {
                return;
            }
        }
    }
}
