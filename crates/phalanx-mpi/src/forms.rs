//! The forms of an operation: what `MPI_Bcast`, `MPI_Ibcast` and `MPI_Bcast_init` do with what one body prepares.
//!
//! `#[mpi_entry(MPI_Bcast | MPI_Ibcast | MPI_Bcast_init)]` writes the calls of these functions.

use phalanx_engine::{Collective, Request};

use crate::comm::CommObject;
use crate::entry::{Done, Failure};
use crate::handle::RawRequest;
use crate::info::InfoRef;
use crate::param::Out;
use crate::request;

/// An operation whose arguments have been looked at.
pub(crate) trait Operation {
    /// Carries it out and waits for its end.
    fn run(self) -> phalanx_engine::Result<()>;
    /// Starts it.
    fn start(self) -> phalanx_engine::Result<Request>;
    /// Keeps it to be started later.
    fn init(self) -> phalanx_engine::Result<Request>;
}

impl Operation for Collective<'_, 'static> {
    fn run(self) -> phalanx_engine::Result<()> {
        Collective::run(self)
    }
    fn start(self) -> phalanx_engine::Result<Request> {
        Collective::start(self)
    }
    fn init(self) -> phalanx_engine::Result<Request> {
        Collective::init(self)
    }
}

/// An operation, and the communicator that errors of its request are about.
pub(crate) struct Ready<'c, O> {
    pub(crate) comm: &'c CommObject,
    pub(crate) operation: O,
}

/// Carries an operation out.
pub(crate) fn blocking<O: Operation>(ready: Ready<'_, O>) -> Done {
    Ok(ready.operation.run()?)
}

/// Starts an operation and gives it a handle.
pub(crate) fn nonblocking<O: Operation>(ready: Ready<'_, O>, handle: Out<RawRequest>) -> Done {
    adopt(ready.comm, ready.operation.start()?, &handle)
}

/// Keeps an operation, to be started any number of times, and gives it a handle. No hint has a meaning here.
pub(crate) fn persistent<O: Operation>(ready: Ready<'_, O>, _hints: InfoRef, handle: Out<RawRequest>) -> Done {
    adopt(ready.comm, ready.operation.init()?, &handle)
}

fn adopt(comm: &CommObject, request: Request, handle: &Out<RawRequest>) -> Result<(), Failure> {
    handle.set(request::adopt(request, comm.raw())?);
    Ok(())
}
