//! Collective communication (MPI 5.0 §6): from C's arguments to the engine's.
//!
//! Each operation has one function in [`with`], which decides which arguments count on this rank (the standard lets the
//! others be anything) and hands the engine's arguments to `run`: the blocking, nonblocking or persistent form.

mod blocking;
mod nonblocking;
mod persistent;
mod with;

use phalanx_engine::Request;

use crate::comm::CommObject;
use crate::datatype::TypeRef;
use crate::entry::Done;
use crate::handle::RawRequest;
use crate::param::Out;
use crate::request;

/// Gives a started or persistent operation a handle.
fn start(comm: &CommObject, handle: &Out<RawRequest>, under_way: Request) -> Done {
    handle.set(request::adopt(under_way, comm.raw())?);
    Ok(())
}
