//! Partitioned point-to-point communication (MPI 5.0 §4).

use std::ffi::c_int;

use phalanx_engine::ErrorClass;
use phalanx_engine::pt2pt::Partitioned;
use phalanx_mpi_macros::mpi_entry;

use crate::buffer::{RecvPtr, SendPtr};
use crate::comm::CommRef;
use crate::datatype::PeerType;
use crate::entry::{Done, Failure, wrong};
use crate::handle::RawRequest;
use crate::info::InfoRef;
use crate::param::{self, Count, In, Out};
use crate::request;

/// Makes a send of several partitions of `count` elements each (§4.2.1). No hint has a meaning here.
#[mpi_entry(MPI_Psend_init, poly)]
fn psend_init(
    buf: SendPtr,
    partitions: c_int,
    count: Count,
    ty: PeerType,
    dest: c_int,
    tag: c_int,
    comm: CommRef,
    _hints: InfoRef,
    request: Out<RawRequest>,
) -> Done {
    let ty = ty.with(dest, count.0)?;
    let made = comm.comm.psend_init(buf.typed(count.0, &ty)?, partitions, dest, tag)?;
    request.set(request::adopt_partitioned(made, comm.error_object())?);
    Ok(())
}

/// Makes a receive of several partitions of `count` elements each (§4.2.1). No hint has a meaning here.
#[mpi_entry(MPI_Precv_init, poly)]
fn precv_init(
    buf: RecvPtr,
    partitions: c_int,
    count: Count,
    ty: PeerType,
    source: c_int,
    tag: c_int,
    comm: CommRef,
    _hints: InfoRef,
    request: Out<RawRequest>,
) -> Done {
    let ty = ty.with(source, count.0)?;
    let made = comm.comm.precv_init(buf.typed(count.0, &ty)?, partitions, source, tag)?;
    request.set(request::adopt_partitioned(made, comm.error_object())?);
    Ok(())
}

/// Uses a partitioned request; its errors are about its communicator.
fn with<T>(raw: RawRequest, call: impl FnOnce(&Partitioned) -> phalanx_engine::Result<T>) -> Result<T, Failure> {
    let (partitioned, on) = request::partitioned(raw)?;
    call(&partitioned).map_err(|error| Failure::On(on, error))
}

fn with_send(raw: RawRequest, call: impl FnOnce(&Partitioned) -> phalanx_engine::Result<()>) -> Done {
    if raw == RawRequest::NULL {
        return Err(wrong(
            ErrorClass::Request,
            "the request is MPI_REQUEST_NULL; it has no partitions to mark as ready",
        ));
    }
    with(raw, call)
}

/// Marks a partition as ready to be sent (§4.2.1).
#[mpi_entry(MPI_Pready)]
fn pready(partition: c_int, request: RawRequest) -> Done {
    with_send(request, |send| send.ready(std::iter::once(partition)))
}

/// Marks a range of partitions, its last one included, as ready to be sent (§4.2.1).
#[mpi_entry(MPI_Pready_range)]
fn pready_range(low: c_int, high: c_int, request: RawRequest) -> Done {
    with_send(request, |send| send.ready_range(low, high))
}

/// Marks a list of partitions as ready to be sent (§4.2.1).
#[mpi_entry(MPI_Pready_list)]
fn pready_list(length: c_int, partitions: In<c_int>, request: RawRequest) -> Done {
    let length = param::length(length, ErrorClass::Count, "partitions")?;
    let partitions = partitions.read(length, "the array of partitions")?;
    with_send(request, |send| send.ready(partitions.iter().copied()))
}

/// Tells whether a partition has arrived (§4.2.2): of a null or inactive request, every one has.
#[mpi_entry(MPI_Parrived)]
fn parrived(request: RawRequest, partition: c_int, flag: Out<c_int>) -> Done {
    let arrived = request == RawRequest::NULL || with(request, |receive| receive.arrived(partition))?;
    flag.set(arrived.into());
    Ok(())
}
