//! Who is who in a universe.

use core::fmt;

/// Most process slots of a universe.
pub const MAX_SLOTS: u32 = 4096;

/// A process of the universe: the number of its slot. Never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProcId(pub u32);

impl fmt::Display for ProcId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
