//! Waiting: how long to look, when to give way, how to sleep.
//!
//! See `README.md` in this folder for the protocol, why no wake-up is lost, and what killed processes leave.

#[cfg(not(loom))]
pub mod pace;
mod slices;
mod word;

#[cfg(not(loom))]
pub(crate) use pace::uptime_ms;
#[cfg(not(loom))]
pub use pace::{Manners, Next, Pace};
pub use slices::{Deadline, SLICE, Slept, Slices};
pub use word::{SleepWord, Token, WAITING, WAITING_TOO, Woken};

/// Looks before sleeping for something: a microsecond or two, in which a lock that was taken for a moment is free again.
#[cfg(not(loom))]
const LOOKS: u32 = 100;
#[cfg(loom)]
const LOOKS: u32 = 0;

/// Looks whether it is `there` for a moment, shorter than falling asleep takes.
#[inline]
pub fn look_briefly(mut there: impl FnMut() -> bool) -> bool {
    for _ in 0..LOOKS {
        if there() {
            return true;
        }
        crate::sync::spin_loop();
    }
    false
}
