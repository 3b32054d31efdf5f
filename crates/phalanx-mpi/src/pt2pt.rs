//! Point-to-point communication (MPI 5.0 §3).

use std::ffi::c_int;

use phalanx_engine::pt2pt::SendMode;
use phalanx_engine::{RecvBuf, SendBuf};
use phalanx_mpi_macros::mpi_entry;

use crate::buffer::{RecvPtr, SendPtr};
use crate::comm::CommRef;
use crate::consts;
use crate::datatype::PeerType;
use crate::entry::Done;
use crate::handle::RawRequest;
use crate::param::{Count, Out};
use crate::request;
use crate::status::StatusOut;

/// Blocking standard-mode send (§3.2.1). Returns when the buffer may be reused, which may need the receiver.
#[mpi_entry(MPI_Send, poly)]
fn send(buf: SendPtr, count: Count, ty: PeerType, dest: c_int, tag: c_int, comm: CommRef) -> Done {
    Ok(comm.comm.send_mode(SendMode::Standard, buf.typed(count.0, &*ty.with(dest, count.0)?)?, dest, tag)?)
}

/// Blocking synchronous send (§3.4). Returns when the receive has started.
#[mpi_entry(MPI_Ssend, poly)]
fn ssend(buf: SendPtr, count: Count, ty: PeerType, dest: c_int, tag: c_int, comm: CommRef) -> Done {
    Ok(comm.comm.send_mode(SendMode::Synchronous, buf.typed(count.0, &*ty.with(dest, count.0)?)?, dest, tag)?)
}

/// Buffered send (§3.4). Does not wait for the receiver.
#[mpi_entry(MPI_Bsend, poly)]
fn bsend(buf: SendPtr, count: Count, ty: PeerType, dest: c_int, tag: c_int, comm: CommRef) -> Done {
    Ok(comm.comm.send_mode(SendMode::Buffered, buf.typed(count.0, &*ty.with(dest, count.0)?)?, dest, tag)?)
}

/// Ready send (§3.4): the receive must have been posted.
#[mpi_entry(MPI_Rsend, poly)]
fn rsend(buf: SendPtr, count: Count, ty: PeerType, dest: c_int, tag: c_int, comm: CommRef) -> Done {
    Ok(comm.comm.send_mode(SendMode::Ready, buf.typed(count.0, &*ty.with(dest, count.0)?)?, dest, tag)?)
}

/// Blocking receive (§3.2.4).
#[mpi_entry(MPI_Recv, poly)]
fn recv(buf: RecvPtr, count: Count, ty: PeerType, source: c_int, tag: c_int, comm: CommRef, status: StatusOut) -> Done {
    let outcome = comm.comm.recv(buf.typed(count.0, &*ty.with(source, count.0)?)?, source, tag)?;
    status.set(&outcome);
    Ok(())
}

fn isend_mode(
    mode: SendMode,
    buf: SendBuf<'static, '_>,
    dest: c_int,
    tag: c_int,
    comm: &CommRef,
    request: &Out<RawRequest>,
) -> Done {
    request.set(request::adopt(comm.comm.isend_mode(mode, buf, dest, tag)?, comm.error_object())?);
    Ok(())
}

fn send_init_mode(
    mode: SendMode,
    buf: SendBuf<'static, '_>,
    dest: c_int,
    tag: c_int,
    comm: &CommRef,
    request: &Out<RawRequest>,
) -> Done {
    request.set(request::adopt(comm.comm.send_init(mode, buf, dest, tag)?, comm.error_object())?);
    Ok(())
}

/// Starts a standard-mode send (§3.7.2).
#[mpi_entry(MPI_Isend, poly)]
fn isend(
    buf: SendPtr,
    count: Count,
    ty: PeerType,
    dest: c_int,
    tag: c_int,
    comm: CommRef,
    request: Out<RawRequest>,
) -> Done {
    isend_mode(SendMode::Standard, buf.typed(count.0, &*ty.with(dest, count.0)?)?, dest, tag, &comm, &request)
}

/// Starts a synchronous send (§3.7.2).
#[mpi_entry(MPI_Issend, poly)]
fn issend(
    buf: SendPtr,
    count: Count,
    ty: PeerType,
    dest: c_int,
    tag: c_int,
    comm: CommRef,
    request: Out<RawRequest>,
) -> Done {
    isend_mode(SendMode::Synchronous, buf.typed(count.0, &*ty.with(dest, count.0)?)?, dest, tag, &comm, &request)
}

/// Starts a buffered send (§3.7.2).
#[mpi_entry(MPI_Ibsend, poly)]
fn ibsend(
    buf: SendPtr,
    count: Count,
    ty: PeerType,
    dest: c_int,
    tag: c_int,
    comm: CommRef,
    request: Out<RawRequest>,
) -> Done {
    isend_mode(SendMode::Buffered, buf.typed(count.0, &*ty.with(dest, count.0)?)?, dest, tag, &comm, &request)
}

/// Starts a ready send (§3.7.2).
#[mpi_entry(MPI_Irsend, poly)]
fn irsend(
    buf: SendPtr,
    count: Count,
    ty: PeerType,
    dest: c_int,
    tag: c_int,
    comm: CommRef,
    request: Out<RawRequest>,
) -> Done {
    isend_mode(SendMode::Ready, buf.typed(count.0, &*ty.with(dest, count.0)?)?, dest, tag, &comm, &request)
}

/// Makes a persistent standard-mode send (§3.9).
#[mpi_entry(MPI_Send_init, poly)]
fn send_init(
    buf: SendPtr,
    count: Count,
    ty: PeerType,
    dest: c_int,
    tag: c_int,
    comm: CommRef,
    request: Out<RawRequest>,
) -> Done {
    send_init_mode(SendMode::Standard, buf.typed(count.0, &*ty.with(dest, count.0)?)?, dest, tag, &comm, &request)
}

/// Makes a persistent synchronous send (§3.9).
#[mpi_entry(MPI_Ssend_init, poly)]
fn ssend_init(
    buf: SendPtr,
    count: Count,
    ty: PeerType,
    dest: c_int,
    tag: c_int,
    comm: CommRef,
    request: Out<RawRequest>,
) -> Done {
    send_init_mode(SendMode::Synchronous, buf.typed(count.0, &*ty.with(dest, count.0)?)?, dest, tag, &comm, &request)
}

/// Makes a persistent buffered send (§3.9).
#[mpi_entry(MPI_Bsend_init, poly)]
fn bsend_init(
    buf: SendPtr,
    count: Count,
    ty: PeerType,
    dest: c_int,
    tag: c_int,
    comm: CommRef,
    request: Out<RawRequest>,
) -> Done {
    send_init_mode(SendMode::Buffered, buf.typed(count.0, &*ty.with(dest, count.0)?)?, dest, tag, &comm, &request)
}

/// Makes a persistent ready send (§3.9).
#[mpi_entry(MPI_Rsend_init, poly)]
fn rsend_init(
    buf: SendPtr,
    count: Count,
    ty: PeerType,
    dest: c_int,
    tag: c_int,
    comm: CommRef,
    request: Out<RawRequest>,
) -> Done {
    send_init_mode(SendMode::Ready, buf.typed(count.0, &*ty.with(dest, count.0)?)?, dest, tag, &comm, &request)
}

/// Starts a receive (§3.7.2).
#[mpi_entry(MPI_Irecv, poly)]
fn irecv(
    buf: RecvPtr,
    count: Count,
    ty: PeerType,
    source: c_int,
    tag: c_int,
    comm: CommRef,
    request: Out<RawRequest>,
) -> Done {
    let ty = ty.with(source, count.0)?;
    let buf: RecvBuf<'static, '_> = buf.typed(count.0, &ty)?;
    request.set(request::adopt(comm.comm.irecv(buf, source, tag)?, comm.error_object())?);
    Ok(())
}

/// Makes a persistent receive (§3.9).
#[mpi_entry(MPI_Recv_init, poly)]
fn recv_init(
    buf: RecvPtr,
    count: Count,
    ty: PeerType,
    source: c_int,
    tag: c_int,
    comm: CommRef,
    request: Out<RawRequest>,
) -> Done {
    let ty = ty.with(source, count.0)?;
    let buf = buf.typed(count.0, &ty)?;
    request.set(request::adopt(comm.comm.recv_init(buf, source, tag)?, comm.error_object())?);
    Ok(())
}

/// Sends and receives at once (§3.10). Cannot deadlock with itself.
#[mpi_entry(MPI_Sendrecv, poly)]
fn sendrecv(
    sendbuf: SendPtr,
    sendcount: Count,
    sendtype: PeerType,
    dest: c_int,
    sendtag: c_int,
    recvbuf: RecvPtr,
    recvcount: Count,
    recvtype: PeerType,
    source: c_int,
    recvtag: c_int,
    comm: CommRef,
    status: StatusOut,
) -> Done {
    let (sendtype, recvtype) = (sendtype.with(dest, sendcount.0)?, recvtype.with(source, recvcount.0)?);
    let out = sendbuf.typed(sendcount.0, &sendtype)?;
    let into = recvbuf.typed(recvcount.0, &recvtype)?;
    let outcome = comm.comm.sendrecv(out, dest, sendtag, into, source, recvtag)?;
    status.set(&outcome);
    Ok(())
}

/// Sends what is in a buffer and receives into it (§3.10).
#[mpi_entry(MPI_Sendrecv_replace, poly)]
fn sendrecv_replace(
    buf: RecvPtr,
    count: Count,
    ty: PeerType,
    dest: c_int,
    sendtag: c_int,
    source: c_int,
    recvtag: c_int,
    comm: CommRef,
    status: StatusOut,
) -> Done {
    let ty = ty.with(if dest == consts::PROC_NULL { source } else { dest }, count.0)?;
    let buf = buf.typed(count.0, &ty)?;
    let outcome = comm.comm.sendrecv_replace(buf, dest, sendtag, source, recvtag)?;
    status.set(&outcome);
    Ok(())
}

/// Starts sending and receiving at once (§3.10).
#[mpi_entry(MPI_Isendrecv, poly)]
fn isendrecv(
    sendbuf: SendPtr,
    sendcount: Count,
    sendtype: PeerType,
    dest: c_int,
    sendtag: c_int,
    recvbuf: RecvPtr,
    recvcount: Count,
    recvtype: PeerType,
    source: c_int,
    recvtag: c_int,
    comm: CommRef,
    request: Out<RawRequest>,
) -> Done {
    let (sendtype, recvtype) = (sendtype.with(dest, sendcount.0)?, recvtype.with(source, recvcount.0)?);
    let out = sendbuf.typed(sendcount.0, &sendtype)?;
    let into = recvbuf.typed(recvcount.0, &recvtype)?;
    let under_way = comm.comm.isendrecv(out, dest, sendtag, into, source, recvtag)?;
    request.set(request::adopt(under_way, comm.error_object())?);
    Ok(())
}

/// Starts sending what is in a buffer and receiving into it (§3.10).
#[mpi_entry(MPI_Isendrecv_replace, poly)]
fn isendrecv_replace(
    buf: RecvPtr,
    count: Count,
    ty: PeerType,
    dest: c_int,
    sendtag: c_int,
    source: c_int,
    recvtag: c_int,
    comm: CommRef,
    request: Out<RawRequest>,
) -> Done {
    let ty = ty.with(if dest == consts::PROC_NULL { source } else { dest }, count.0)?;
    let buf = buf.typed(count.0, &ty)?;
    let under_way = comm.comm.isendrecv_replace(buf, dest, sendtag, source, recvtag)?;
    request.set(request::adopt(under_way, comm.error_object())?);
    Ok(())
}
