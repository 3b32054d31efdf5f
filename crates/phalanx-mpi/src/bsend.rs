//! Buffers for buffered sends (MPI 5.0 §3.6): of the process, of a communicator, of a session.

use std::ffi::c_void;

use phalanx_engine::ErrorClass;
use phalanx_engine::pt2pt::buffered::Buffer;
use phalanx_mpi_macros::mpi_entry;

use crate::comm::CommRef;
use crate::consts;
use crate::entry::{Done, ErrorObject, Failure, wrong};
use crate::handle::{RawComm, RawRequest, RawSession};
use crate::param::{Address, Count, CountOut, Out};
use crate::request;
use crate::session;
use crate::state;

/// A null buffer can only be empty. `MPI_BUFFER_AUTOMATIC` stands for memory of the library's own, as much as is needed.
fn given(buffer: Address, size: Count) -> Result<Buffer, Failure> {
    if buffer.0 == 0 && size.0 > 0 {
        return Err(wrong(ErrorClass::Buffer, "the buffer is a null pointer"));
    }
    Ok(Buffer { address: buffer.0, size: size.0, unlimited: buffer.0 == consts::BUFFER_AUTOMATIC })
}

fn give_back(kept: Buffer, buffer: &Out<*mut c_void>, out: &CountOut) -> Done {
    buffer.set(kept.address as *mut c_void);
    out.set(i64::try_from(kept.size).unwrap_or(i64::MAX))
}

/// Gives the process a buffer for its buffered sends.
#[mpi_entry(MPI_Buffer_attach, poly)]
fn buffer_attach(buffer: Address, size: Count) -> Done {
    Ok(state::need_process()?.engine.attach_buffer(given(buffer, size)?)?)
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
    Ok(comm.comm.attach_buffer(given(buffer, size)?)?)
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

/// A request that is complete when all buffered sends have left the process, whosever buffer they are in.
fn start_flush(request: &Out<RawRequest>, on: ErrorObject) -> Done {
    let under_way = state::need_process()?.engine.iflush_buffer()?;
    request.set(request::adopt(under_way, on)?);
    Ok(())
}

/// Starts emptying the process's buffer.
#[mpi_entry(MPI_Buffer_iflush)]
fn buffer_iflush(request: Out<RawRequest>) -> Done {
    start_flush(&request, ErrorObject::Comm(RawComm(consts::COMM_SELF)))
}

/// Starts emptying a communicator's buffer.
#[mpi_entry(MPI_Comm_iflush_buffer)]
fn comm_iflush_buffer(comm: CommRef, request: Out<RawRequest>) -> Done {
    start_flush(&request, comm.error_object())
}

/// Gives a session a buffer of its own, for the communicators that come from it.
#[mpi_entry(MPI_Session_attach_buffer, poly)]
fn session_attach_buffer(session: RawSession, buffer: Address, size: Count) -> Done {
    Ok(session::need(session)?.buffer.attach(given(buffer, size)?)?)
}

/// Waits until a session's buffer is empty and gives it back.
#[mpi_entry(MPI_Session_detach_buffer, poly)]
fn session_detach_buffer(session: RawSession, buffer: Out<*mut c_void>, size: CountOut) -> Done {
    give_back(session::need(session)?.buffer.detach(&state::need_process()?.engine)?, &buffer, &size)
}

/// Waits until a session's buffer is empty.
#[mpi_entry(MPI_Session_flush_buffer)]
fn session_flush_buffer(session: RawSession) -> Done {
    session::need(session)?;
    Ok(state::need_process()?.engine.flush_buffer()?)
}

/// Starts emptying a session's buffer.
#[mpi_entry(MPI_Session_iflush_buffer)]
fn session_iflush_buffer(session: RawSession, request: Out<RawRequest>) -> Done {
    session::need(session)?;
    start_flush(&request, ErrorObject::Comm(RawComm(consts::COMM_SELF)))
}
