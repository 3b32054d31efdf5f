//! Buffers for buffered sends (MPI 5.0 §3.6): of the process, of a communicator, of a session.

use std::ffi::c_void;

use phalanx_engine::{ErrorClass, Request, Status};
use phalanx_mpi_macros::mpi_entry;

use crate::comm::CommRef;
use crate::consts;
use crate::entry::{Done, wrong};
use crate::handle::RawRequest;
use crate::param::{Address, Count, CountOut, Out};
use crate::request;
use crate::state;

/// A null buffer can only be empty. `MPI_BUFFER_AUTOMATIC` stands for memory of the library's own, as much as is needed.
fn check(buffer: Address, size: Count) -> Done {
    if buffer.0 == 0 && size.0 > 0 {
        return Err(wrong(ErrorClass::Buffer, "the buffer is a null pointer"));
    }
    Ok(())
}

fn give_back((address, size): (usize, usize), buffer: &Out<*mut c_void>, out: &CountOut) -> Done {
    buffer.set(address as *mut c_void);
    out.set(i64::try_from(size).unwrap_or(i64::MAX))
}

/// Gives the process a buffer for its buffered sends.
#[mpi_entry(MPI_Buffer_attach, poly)]
fn buffer_attach(buffer: Address, size: Count) -> Done {
    check(buffer, size)?;
    Ok(state::need_process()?.engine.attach_buffer(buffer.0, size.0)?)
}

/// Waits until the buffer is empty and gives it back.
#[mpi_entry(MPI_Buffer_detach, poly)]
fn buffer_detach(buffer: Out<*mut c_void>, size: CountOut) -> Done {
    give_back(state::need_process()?.engine.detach_buffer()?, &buffer, &size)
}

/// Waits until the buffer is empty.
#[mpi_entry(MPI_Buffer_flush)]
fn buffer_flush() -> Done {
    Ok(state::need_process()?.engine.flush_buffer()?)
}

/// Gives a communicator a buffer of its own.
#[mpi_entry(MPI_Comm_attach_buffer, poly)]
fn comm_attach_buffer(comm: CommRef, buffer: Address, size: Count) -> Done {
    check(buffer, size)?;
    Ok(comm.comm.attach_buffer(buffer.0, size.0)?)
}

/// Waits until a communicator's buffer is empty and gives it back.
#[mpi_entry(MPI_Comm_detach_buffer, poly)]
fn comm_detach_buffer(comm: CommRef, buffer: Out<*mut c_void>, size: CountOut) -> Done {
    give_back(comm.comm.detach_buffer()?, &buffer, &size)
}

/// Waits until a communicator's buffer is empty.
#[mpi_entry(MPI_Comm_flush_buffer)]
fn comm_flush_buffer(comm: CommRef) -> Done {
    Ok(comm.comm.flush_buffer()?)
}

/// A request for a flush. The flush is done at once: emptying the buffer needs no other rank's call in this engine.
fn flushed(request: &Out<RawRequest>, comm: usize) -> Done {
    let process = state::need_process()?;
    request.set(request::adopt(Request::complete(&process.engine, Status::EMPTY), comm)?);
    Ok(())
}

/// Starts emptying the process's buffer.
#[mpi_entry(MPI_Buffer_iflush)]
fn buffer_iflush(request: Out<RawRequest>) -> Done {
    state::need_process()?.engine.flush_buffer()?;
    flushed(&request, consts::COMM_SELF)
}

/// Starts emptying a communicator's buffer.
#[mpi_entry(MPI_Comm_iflush_buffer)]
fn comm_iflush_buffer(comm: CommRef, request: Out<RawRequest>) -> Done {
    comm.comm.flush_buffer()?;
    flushed(&request, comm.raw())
}
