//! The controller of an interactive cluster.
//!
//! | module | subject |
//! |---|---|
//! | [`core`] | who runs which task: a state machine without input, output and clock |
//! | [`server`] | the process around it: connections, engines, what they print
//! | [`gateway`] | what engines and clients of other machines are connected to there
//! | [`far`] | what those two have in common: an encrypted stream of messages and blocks
//! | `look` | the moment before either sleeps

pub mod core;
pub mod far;
pub mod gateway;
mod look;
pub mod server;
