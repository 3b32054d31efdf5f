//! The controller of an interactive cluster.
//!
//! | module | subject |
//! |---|---|
//! | [`core`] | who runs which task: a state machine without input, output and clock |
//! | [`server`] | the process around it: connections, engines, what they print

pub mod core;
pub mod server;
