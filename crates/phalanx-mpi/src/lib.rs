//! The C surface of the Phalanx engine: `libmpi_abi.so.1`.
//!
//! One file per chapter of the standard. A function is a typed body under `#[mpi_entry(..)]`; the attribute writes the C
//! symbols around it. [`param`] says how C's arguments become a body's, [`entry`] what happens around every body,
//! [`errors`] what becomes of errors, [`numbers`] which of
//! the engine's names a number stands for, [`table`] where the objects behind handles live. Every function
//! of the standard has a body: `cargo xtask gen` fails when one lacks it.
#![expect(unsafe_code, reason = "C passes addresses; each use says what it relies on")]
#![expect(clippy::too_many_arguments, reason = "the parameter lists are those of the standard")]

mod abi;
mod attr;
mod bsend;
mod buffer;
mod check;
mod coll;
mod comm;
mod datatype;
mod dynamic;
mod entry;
mod env;
mod errors;
mod extras;
mod fault;
mod forms;
mod generated;
mod group;
mod handle;
mod info;
mod io;
mod message;
mod numbers;
mod op;
mod param;
mod partitioned;
mod place;
mod pt2pt;
mod request;
mod session;
mod state;
mod status;
mod table;
mod tool;
mod topo;
mod topo_dims;
mod trace;
mod typeinfo;
mod win;

use generated::consts;
