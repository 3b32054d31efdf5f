//! Collective communication (MPI 5.0 §6): from C's arguments to the engine's.
//!
//! One function for each operation, with the arguments that its blocking, nonblocking and persistent form have in common. It
//! decides which of them count on this rank (the standard lets the others be anything) and prepares the operation of the
//! engine; [`crate::forms`] carries it out, starts it or keeps it.
//!
//! - [`rooted`]: operations with a root.
//! - [`all`]: operations in which all ranks have the same part.
//! - [`neighbor`]: operations among the neighbours of a topology.
//! - [`data`]: what a buffer argument and those that describe it come to.

mod all;
mod data;
mod neighbor;
mod rooted;

use phalanx_engine::{Collective, Comm};

use crate::comm::CommObject;
use crate::entry::Failure;
use crate::forms::Ready;

/// What a body gives.
type Prepared<'c> = Result<Ready<Collective<'c, 'static>>, Failure>;

/// Prepares an operation on a communicator.
#[inline]
fn prepare(comm: &CommObject, make: impl FnOnce(&Comm) -> Result<Collective<'_, 'static>, Failure>) -> Prepared<'_> {
    Ok(Ready { on: comm.error_object(), operation: make(&comm.comm)? })
}
