//! What an engine's end does by itself, whatever Python code runs.
//!
//! An engine may have been given several short tasks. What it says of them is written together when it has done all of them,
//! and at the latest after [`LATE`]. When one of them takes longer than [`LONG`], those behind it go back to the controller,
//! also when they come only then: another engine may be idle. Both are seen to by a thread that sleeps while no task comes.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use phalanx_wire::cluster::FromEngine;

use super::socket::Socket;

/// What was said of a task is written so late.
const LATE: Duration = Duration::from_millis(1);
/// A task that takes so long holds up those behind it.
const LONG: Duration = Duration::from_millis(5);
/// Without any task, the thread looks so often before it sleeps.
const LOOKS: u32 = 20;
/// Asleep, it looks so often whether the link is still there.
const ASLEEP: Duration = Duration::from_secs(1);

/// What the thread does now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Nap {
    /// It has not been started.
    Unborn,
    /// It looks again within [`LATE`], or watches the socket.
    Awake,
    /// It looks again within [`LONG`]: too late for what is to be written.
    Short,
    /// It looks again when it is woken.
    Asleep,
}

/// When the task began that an engine is in.
#[derive(Debug)]
struct State {
    since: Option<Instant>,
    nap: Nap,
}

/// The thread, and what it sees to.
pub(super) struct Minder {
    state: Mutex<State>,
    woken: Condvar,
}

impl Minder {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self { state: Mutex::new(State { since: None, nap: Nap::Unborn }), woken: Condvar::new() })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A task begins. `several`: others wait behind it, or words about others to be written.
    pub(super) fn begun(self: &Arc<Self>, socket: &Arc<Socket>, several: bool) {
        let mut state = self.state();
        state.since = Some(Instant::now());
        match state.nap {
            Nap::Unborn => {
                state.nap = Nap::Awake;
                let (me, socket) = (Arc::downgrade(self), Arc::downgrade(socket));
                // By its name it is known that it never calls MPI: a deadlock of engines that are ranks can be proved beside it.
                // Without the thread, tasks are done one after the other all the same.
                let _ = std::thread::Builder::new()
                    .name(phalanx_shm::stillness::ASIDE.to_owned())
                    .spawn(move || mind(&me, &socket));
            }
            Nap::Asleep => self.woken.notify_one(),
            Nap::Short if several => self.woken.notify_one(),
            Nap::Short | Nap::Awake => {}
        }
    }

    /// The task has ended. The thread does not read from the socket until the next one begins: what it read would not wake
    /// who waits there.
    pub(super) fn ended(&self) {
        self.state().since = None;
    }

    /// Gives back what waits behind a task that takes long; whether one does.
    fn give_back(&self, socket: &Socket) -> bool {
        let state = self.state();
        if state.since.is_none_or(|since| since.elapsed() < LONG) {
            return false;
        }
        // An error is found by the main thread, too.
        let _ = socket.read();
        let ids = socket.take_unbegun();
        drop(state);
        if !ids.is_empty() {
            let _ = socket.push(FromEngine::Returned { ids }, &[]);
            let _ = socket.flush();
        }
        true
    }
}

fn mind(minder: &Weak<Minder>, socket: &Weak<Socket>) {
    let mut idle = 0;
    loop {
        let (Some(minder), Some(socket)) = (minder.upgrade(), socket.upgrade()) else { return };
        let is_long = minder.give_back(&socket);
        let unsent = socket.unsent_since();
        if unsent.is_some_and(|since| since.elapsed() >= LATE) {
            let _ = socket.flush();
        }
        if is_long && unsent.is_none() && !socket.is_gone() {
            idle = 0;
            // More may come behind it.
            socket.wait(false, Some(LONG));
            continue;
        }
        let has_work = socket.has_next() || unsent.is_some();
        let mut state = minder.state();
        idle = if has_work || state.since.is_some() { 0 } else { idle + 1 };
        drop(socket);
        let (nap, limit) = match idle {
            0 if has_work => (Nap::Awake, LATE),
            0..LOOKS => (Nap::Short, LONG),
            _ => (Nap::Asleep, ASLEEP),
        };
        state.nap = nap;
        let (mut state, _) = minder.woken.wait_timeout(state, limit).unwrap_or_else(PoisonError::into_inner);
        state.nap = Nap::Awake;
    }
}
