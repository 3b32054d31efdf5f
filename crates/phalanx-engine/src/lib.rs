//! The embedded message-passing engine of Phalanx, by the chapters of the MPI standard.
//!
//! Rust programs use it directly, with slices as buffers. Started with `phalanx run -n 4 ./program`, each process is a
//! rank; started by hand, it is a job of one.
//!
//! ```no_run
//! use phalanx_engine::{ANY_SOURCE, Engine, RecvBuf, Result, SendBuf};
//!
//! fn main() -> Result<()> {
//!     let engine = Engine::from_env()?;
//!     let world = engine.world();
//!     if world.rank() == 0 {
//!         for _ in 1..world.size() {
//!             let mut part = [0.0f64; 100];
//!             let status = world.recv(RecvBuf::of(&mut part), ANY_SOURCE, 7)?;
//!             println!("rank {} sent {}", status.source, part[0]);
//!         }
//!     } else {
//!         world.send(SendBuf::of(&[world.rank() as f64; 100]), 0, 7)?;
//!     }
//!     engine.finalize()
//! }
//! ```
//!
//! Blocking operations borrow their buffers. Those that go on after the call (`isend`, `irecv`, persistent requests) take
//! buffers that live for ever, or raw memory whose constructor carries the promise that it lives long enough: see
//! [`engine::buffer`].
//!
//! | module | chapter |
//! |---|---|
//! | [`pt2pt`], [`request`], [`status`] | point-to-point messages, requests |
//! | [`datatype`] | datatypes, packing |
//! | [`coll`], [`op`] | collectives, reduction operations |
//! | [`comm`], [`group`], [`info`] | communicators, groups, info objects |
//! | [`win`] | one-sided communication |
//! | [`dynamic`] | spawning, ports, names |
//! | [`io`] | files |
//! | [`engine`] | progress, matching, waiting: the machine behind all of that |
//! | [`boot`] | how a process finds its job |

pub mod boot;
pub mod coll;
pub mod comm;
pub mod datatype;
pub mod dynamic;
pub mod engine;
pub mod error;
mod fault;
#[cfg(any(test, fuzzing))]
pub mod fuzz;
pub mod group;
pub mod info;
pub mod io;
pub mod op;
pub mod pt2pt;
pub mod request;
mod softfloat;
pub mod status;
pub mod testing;
pub mod win;

pub use coll::{Arg, Collective, RecvBlocks, SendBlocks};
pub use comm::Comm;
pub use comm::create::SplitType;
pub use dynamic::Program;
pub use engine::Engine;
pub use engine::buffer::{Equivalence, Grow, RecvBuf, SendBuf};
pub use error::{Error, ErrorClass, Result};
pub use group::{Comparison, Group};
pub use info::Info;
pub use op::Op;
pub use pt2pt::{Message, SendMode};
pub use request::Request;
pub use status::{ANY_SOURCE, ANY_TAG, PROC_NULL, Status};
pub use win::Window;
