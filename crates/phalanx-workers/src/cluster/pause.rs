//! The moment before sleep: a message often follows within less time than a wake-up takes.
//!
//! Client, controller and engines of a cluster share the CPUs and work for each other, so each gives way after every look;
//! how long it looks follows from how long its waits were, and beside others that compute it sleeps at once
//! (`phalanx_shm::sleep::pace`). A cluster that is idle sleeps.

use std::sync::OnceLock;

use phalanx_shm::CpuBudget;
use phalanx_shm::sleep::{Manners, Pace};

/// A wait begins.
pub(super) fn pace() -> Pace<'static> {
    static MANNERS: OnceLock<Manners> = OnceLock::new();
    Pace::new(MANNERS.get_or_init(|| Manners::of(&CpuBudget::new(1, None, 2))))
}
