//! What Phalanx's processes on several machines say to each other.
//!
//! | module | subject |
//! |---|---|
//! | [`frame`] | messages as frames over a stream of bytes: a greeting with versions, lengths, limits |
//! | [`agent`] | the messages between a launcher and the agent that it has on each machine |
//! | [`cluster`] | the messages between clients, controller and engines of an interactive cluster |
//! | [`far`] | the messages between the controller of such a cluster and its gateways on other machines |
//! | [`object`] | which blocks of memory an encoded object names |
//! | [`overview`] | what such a cluster looks like at one moment |
//! | [`pulse`] | heartbeats: when the other end counts as lost |
//!
//! Nothing here touches a descriptor or a clock. Two streams of bytes, one in each direction, are all that a channel is:
//! standard input and output of `ssh`, a pair of pipes, a connection with TLS. Who has one feeds what it reads to a
//! [`frame::Reader`] and writes what a [`frame::Writer`] holds.

pub mod agent;
pub mod cluster;
pub mod far;
pub mod frame;
#[cfg(any(test, fuzzing))]
pub mod fuzz;
pub mod object;
pub mod overview;
pub mod pulse;
