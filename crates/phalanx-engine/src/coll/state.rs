//! What a communicator remembers for its collectives.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};

use crate::comm::Comm;

use super::fast::Local;

/// Tags of persistent operations have this bit, so that they never meet those of one-time operations.
const PERSISTENT: u32 = 1 << 30;

/// Per communicator and process.
#[derive(Default)]
pub(crate) struct CollState {
    /// Operations so far that needed a tag.
    next: AtomicU32,
    /// Persistent operations so far.
    persistent: AtomicU32,
    /// This process's view of the shared area.
    pub(super) fast: Mutex<Local>,
    /// The thread that holds `fast`, 0 for none: for a thread to recognise itself.
    pub(super) holder: AtomicUsize,
    /// Threads that wait for `fast`.
    pub(super) queue: AtomicU32,
}

impl CollState {
    /// The tag of the next operation. Wraps around after 2^30 operations, when the old ones are long gone.
    pub(crate) fn next_tag(&self) -> i32 {
        (self.next.fetch_add(1, Ordering::Relaxed) & (PERSISTENT - 1)) as i32
    }

    /// The tag of a new persistent operation, for all its rounds.
    pub(crate) fn next_persistent_tag(&self) -> i32 {
        (self.persistent.fetch_add(1, Ordering::Relaxed) & (PERSISTENT - 1) | PERSISTENT) as i32
    }
}

impl Comm {
    /// The state of this communicator's collectives.
    pub(crate) fn coll(&self) -> &CollState {
        &self.0.coll
    }
}
