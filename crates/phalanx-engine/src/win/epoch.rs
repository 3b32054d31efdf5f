//! Which accesses of this rank are allowed now (MPI 5.0 §12.5): the epochs that it is in.

use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::error::{Error, ErrorClass, Result, fail};

use super::Window;

/// All targets: a fence may have begun an epoch.
pub(super) const FENCE: u8 = 1;
/// All targets: they are locked.
pub(super) const LOCK_ALL: u8 = 2;
/// With [`LOCK_ALL`] or [`LOCKED`]: no lock was taken, since the program said that nobody is in its way.
pub(super) const NOCHECK: u8 = 4;
/// One target: it is locked.
pub(super) const LOCKED: u8 = 8;
/// One target: an epoch of `MPI_Win_start`.
pub(super) const STARTED: u8 = 16;

/// The epochs of one rank. Its bytes are looked at by every operation; the rest under the lock.
pub(super) struct Epochs {
    all: AtomicU8,
    each: Vec<AtomicU8>,
    groups: Mutex<Groups>,
}

/// The groups of the epochs, and how often each rank is to have done its part.
pub(super) struct Groups {
    /// Targets of `MPI_Win_start`.
    pub(super) started: Option<Vec<usize>>,
    /// Ranks of `MPI_Win_post`.
    pub(super) posted: Option<Vec<usize>>,
    /// How often each rank is to have posted to this one.
    pub(super) posts: Vec<u64>,
    /// How often each rank is to have completed towards this one.
    pub(super) completions: Vec<u64>,
}

impl Epochs {
    pub(super) fn new(ranks: usize) -> Epochs {
        Epochs {
            all: AtomicU8::new(0),
            each: (0..ranks).map(|_| AtomicU8::new(0)).collect(),
            groups: Mutex::new(Groups {
                started: None,
                posted: None,
                posts: vec![0; ranks],
                completions: vec![0; ranks],
            }),
        }
    }

    pub(super) fn groups(&self) -> MutexGuard<'_, Groups> {
        self.groups.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Of all targets.
    #[inline]
    pub(super) fn all(&self) -> &AtomicU8 {
        &self.all
    }

    /// Of one target.
    #[inline]
    pub(super) fn of(&self, target: usize) -> &AtomicU8 {
        &self.each[target]
    }

    /// Whether a target is locked, by itself or with all.
    pub(super) fn is_locked(&self, target: usize) -> bool {
        self.all.load(Ordering::Relaxed) & LOCK_ALL != 0 || self.of(target).load(Ordering::Relaxed) & LOCKED != 0
    }

    /// The first target that is locked by itself.
    pub(super) fn locked(&self) -> Option<usize> {
        self.each.iter().position(|target| target.load(Ordering::Relaxed) & LOCKED != 0)
    }

    /// Refuses an access outside of an epoch.
    ///
    /// # Errors
    /// Class `RmaSync`.
    #[inline]
    pub(super) fn check_access(&self, target: usize, win: &Window) -> Result<()> {
        let open = self.all.load(Ordering::Relaxed) & (FENCE | LOCK_ALL) | self.of(target).load(Ordering::Relaxed);
        if open == 0 { Err(closed(target, win)) } else { Ok(()) }
    }

    /// Refuses `call` while an epoch is open that has to be ended first.
    ///
    /// # Errors
    /// Class `RmaSync`.
    pub(super) fn check_quiet(&self, call: &str, win: &Window) -> Result<()> {
        if self.all.load(Ordering::Relaxed) & LOCK_ALL != 0 {
            fail!(RmaSync, "{call} on {}, whose ranks are locked; call MPI_Win_unlock_all first", win.title());
        }
        if let Some(target) = self.locked() {
            fail!(RmaSync, "{call} on {}, whose rank {target} is locked; call MPI_Win_unlock first", win.title());
        }
        let groups = self.groups();
        if groups.started.is_some() {
            fail!(RmaSync, "{call} on {} after MPI_Win_start; call MPI_Win_complete first", win.title());
        }
        if groups.posted.is_some() {
            fail!(RmaSync, "{call} on {} after MPI_Win_post; call MPI_Win_wait first", win.title());
        }
        Ok(())
    }
}

#[cold]
fn closed(target: usize, win: &Window) -> Error {
    let text = format!(
        "rank {target} of {} may not be accessed now: no fence, start or lock has begun an epoch that reaches it",
        win.title()
    );
    Error::new(ErrorClass::RmaSync, text)
}
