//! Probing, matched and not (MPI 5.0 §3.8), and the buffers of buffered sends (§3.6).

use std::ffi::c_int;
use std::sync::{Arc, Mutex, PoisonError};

use phalanx_engine::pt2pt::Message;
use phalanx_engine::{ErrorClass, Status};
use phalanx_mpi_macros::mpi_entry;

use crate::buffer::RecvPtr;
use crate::comm::CommRef;
use crate::consts;
use crate::datatype::TypeRef;
use crate::entry::{Done, ErrorObject, Failure, wrong};
use crate::handle::{Kind, RawComm, RawMessage, RawRequest};
use crate::param::{Count, Out};
use crate::request;
use crate::status::StatusOut;
use crate::table::Table;

/// A message that a matched probe took out of the queue, and the communicator it came by.
struct Taken {
    message: Mutex<Option<Message>>,
    comm: usize,
}

static MESSAGES: Table<Arc<Taken>> = Table::new(Kind::Message);

/// The handle of a message.
pub(crate) fn adopt(message: Option<Message>, comm: usize) -> Result<RawMessage, Failure> {
    let Some(message) = message else {
        return Ok(RawMessage(consts::MESSAGE_NO_PROC));
    };
    let raw = MESSAGES.insert(Arc::new(Taken { message: Mutex::new(Some(message)), comm }));
    raw.map(RawMessage).ok_or_else(|| wrong(ErrorClass::Other, "too many matched messages wait to be received"))
}

/// Takes the message behind a handle; `None` is the one from nobody.
fn take(handle: &Out<RawMessage>) -> Result<(Option<Message>, ErrorObject), Failure> {
    let raw = handle.get();
    if raw.0 == consts::MESSAGE_NO_PROC {
        handle.set(RawMessage::NULL);
        return Ok((None, ErrorObject::None));
    }
    let taken = MESSAGES.remove(raw.0).ok_or_else(|| {
        let what = if raw == RawMessage::NULL { "is MPI_MESSAGE_NULL" } else { "is not valid or was received already" };
        wrong(ErrorClass::Request, format!("the message handle {what}"))
    })?;
    handle.set(RawMessage::NULL);
    let message = taken.message.lock().unwrap_or_else(PoisonError::into_inner).take();
    Ok((message, ErrorObject::Comm(RawComm(taken.comm))))
}

/// Waits for a message without receiving it.
#[mpi_entry(MPI_Probe)]
fn probe(source: c_int, tag: c_int, comm: CommRef, status: StatusOut) -> Done {
    let outcome = comm.comm.probe(source, tag)?;
    status.set(&outcome);
    Ok(())
}

/// Looks for a message without receiving it.
#[mpi_entry(MPI_Iprobe)]
fn iprobe(source: c_int, tag: c_int, comm: CommRef, flag: Out<c_int>, status: StatusOut) -> Done {
    let outcome = comm.comm.iprobe(source, tag)?;
    flag.set(outcome.is_some().into());
    if let Some(outcome) = outcome {
        status.set(&outcome);
    }
    Ok(())
}

/// Waits for a message and takes it out of the queue: only its handle can receive it.
#[mpi_entry(MPI_Mprobe)]
fn mprobe(source: c_int, tag: c_int, comm: CommRef, message: Out<RawMessage>, status: StatusOut) -> Done {
    let (taken, outcome) = comm.comm.mprobe(source, tag)?;
    message.set(adopt(taken, comm.raw())?);
    status.set(&outcome);
    Ok(())
}

/// Looks for a message and takes it out of the queue.
#[mpi_entry(MPI_Improbe)]
fn improbe(
    source: c_int,
    tag: c_int,
    comm: CommRef,
    flag: Out<c_int>,
    message: Out<RawMessage>,
    status: StatusOut,
) -> Done {
    let found = comm.comm.improbe(source, tag)?;
    flag.set(found.is_some().into());
    if let Some((taken, outcome)) = found {
        message.set(adopt(taken, comm.raw())?);
        status.set(&outcome);
    }
    Ok(())
}

/// Receives a message that was taken out of the queue.
#[mpi_entry(MPI_Mrecv, poly)]
fn mrecv(buf: RecvPtr, count: Count, ty: TypeRef, message: Out<RawMessage>, status: StatusOut) -> Done {
    let buf = buf.typed(count.0, &ty)?;
    let (taken, object) = take(&message)?;
    let outcome = match taken {
        Some(taken) => taken.recv(buf).map_err(|e| Failure::On(object, e))?,
        None => Status::PROC_NULL,
    };
    status.set(&outcome);
    Ok(())
}

/// Starts receiving a message that was taken out of the queue.
#[mpi_entry(MPI_Imrecv, poly)]
fn imrecv(buf: RecvPtr, count: Count, ty: TypeRef, message: Out<RawMessage>, request: Out<RawRequest>) -> Done {
    let buf = buf.typed(count.0, &ty)?;
    let (taken, object) = take(&message)?;
    let under_way = match taken {
        Some(taken) => taken.irecv(buf).map_err(|e| Failure::On(object, e))?,
        None => {
            let process = crate::state::need_process()?;
            process.self_comm.comm.irecv(buf, consts::PROC_NULL, consts::ANY_TAG)?
        }
    };
    request.set(request::adopt(under_way, object)?);
    Ok(())
}
