//! Waiting: how long to look, when to give way, how to sleep.

#[cfg(not(loom))]
pub mod pace;

#[cfg(not(loom))]
pub use pace::{Manners, Next, Pace};
