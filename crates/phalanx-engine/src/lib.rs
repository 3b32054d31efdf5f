//! The embedded message-passing engine of Phalanx, by the chapters of the MPI standard.

#[cfg(test)]
mod abi_table;
pub mod boot;
pub mod coll;
pub mod comm;
pub mod datatype;
pub mod dynamic;
pub mod engine;
pub mod error;
pub mod group;
pub mod info;
pub mod op;
pub mod pt2pt;
pub mod request;
mod softfloat;
pub mod status;
pub mod testing;

pub use coll::{Arg, RecvBlocks, SendBlocks};
pub use comm::Comm;
pub use comm::create::SplitType;
pub use dynamic::Program;
pub use engine::Engine;
pub use engine::buffer::{Equivalence, RecvBuf, SendBuf};
pub use error::{Error, ErrorClass, Result};
pub use group::{Comparison, Group};
pub use info::Info;
pub use op::Op;
pub use pt2pt::{Message, SendMode};
pub use request::Request;
pub use status::{ANY_SOURCE, ANY_TAG, PROC_NULL, Status};
