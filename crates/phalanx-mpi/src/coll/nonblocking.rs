//! Nonblocking collectives (MPI 5.0 §6.12).

use std::ffi::c_int;

use phalanx_mpi_macros::mpi_entry;

use super::*;
use crate::buffer::{RecvPtr, SendPtr};
use crate::comm::CommRef;
use crate::entry::Done;
use crate::handle::{RawRequest, RawType};
use crate::op::OpRef;
use crate::param::{Count, In, Number, Numbers, Out};

/// Starts the operation; see `MPI_Barrier`.
#[mpi_entry(MPI_Ibarrier)]
fn ibarrier(comm: CommRef, request: Out<RawRequest>) -> Done {
    let under_way = with::barrier(&comm, |c| c.ibarrier())?;
    start(&comm, &request, under_way)
}

/// Starts the operation; see `MPI_Bcast`.
#[mpi_entry(MPI_Ibcast, poly)]
fn ibcast(
    buffer: RecvPtr,
    count: Number,
    datatype: RawType,
    root: c_int,
    comm: CommRef,
    request: Out<RawRequest>,
) -> Done {
    let under_way = with::bcast(&comm, buffer, count, datatype, root, |c, b, r| c.ibcast(b, r))?;
    start(&comm, &request, under_way)
}

/// Starts the operation; see `MPI_Gather`.
#[mpi_entry(MPI_Igather, poly)]
fn igather(
    sendbuf: SendPtr,
    sendcount: Number,
    sendtype: RawType,
    recvbuf: RecvPtr,
    recvcount: Number,
    recvtype: RawType,
    root: c_int,
    comm: CommRef,
    request: Out<RawRequest>,
) -> Done {
    let under_way =
        with::gather(&comm, (sendbuf, sendcount, sendtype), (recvbuf, recvcount, recvtype), root, |c, s, d, r| {
            c.igather(s, d, r)
        })?;
    start(&comm, &request, under_way)
}

/// Starts the operation; see `MPI_Gatherv`.
#[mpi_entry(MPI_Igatherv, poly)]
fn igatherv(
    sendbuf: SendPtr,
    sendcount: Number,
    sendtype: RawType,
    recvbuf: RecvPtr,
    recvcounts: Numbers,
    displs: Numbers,
    recvtype: RawType,
    root: c_int,
    comm: CommRef,
    request: Out<RawRequest>,
) -> Done {
    let under_way = with::gatherv(
        &comm,
        (sendbuf, sendcount, sendtype),
        (recvbuf, recvcounts, displs, recvtype),
        root,
        |c, s, d, r| c.igatherv(s, d, r),
    )?;
    start(&comm, &request, under_way)
}

/// Starts the operation; see `MPI_Scatter`.
#[mpi_entry(MPI_Iscatter, poly)]
fn iscatter(
    sendbuf: SendPtr,
    sendcount: Number,
    sendtype: RawType,
    recvbuf: RecvPtr,
    recvcount: Number,
    recvtype: RawType,
    root: c_int,
    comm: CommRef,
    request: Out<RawRequest>,
) -> Done {
    let under_way =
        with::scatter(&comm, (sendbuf, sendcount, sendtype), (recvbuf, recvcount, recvtype), root, |c, s, d, r| {
            c.iscatter(s, d, r)
        })?;
    start(&comm, &request, under_way)
}

/// Starts the operation; see `MPI_Scatterv`.
#[mpi_entry(MPI_Iscatterv, poly)]
fn iscatterv(
    sendbuf: SendPtr,
    sendcounts: Numbers,
    displs: Numbers,
    sendtype: RawType,
    recvbuf: RecvPtr,
    recvcount: Number,
    recvtype: RawType,
    root: c_int,
    comm: CommRef,
    request: Out<RawRequest>,
) -> Done {
    let under_way = with::scatterv(
        &comm,
        (sendbuf, sendcounts, displs, sendtype),
        (recvbuf, recvcount, recvtype),
        root,
        |c, s, d, r| c.iscatterv(s, d, r),
    )?;
    start(&comm, &request, under_way)
}

/// Starts the operation; see `MPI_Allgather`.
#[mpi_entry(MPI_Iallgather, poly)]
fn iallgather(
    sendbuf: SendPtr,
    sendcount: Number,
    sendtype: RawType,
    recvbuf: RecvPtr,
    recvcount: Count,
    recvtype: RawType,
    comm: CommRef,
    request: Out<RawRequest>,
) -> Done {
    let under_way =
        with::allgather(&comm, (sendbuf, sendcount, sendtype), (recvbuf, recvcount, recvtype), |c, s, d| {
            c.iallgather(s, d)
        })?;
    start(&comm, &request, under_way)
}

/// Starts the operation; see `MPI_Allgatherv`.
#[mpi_entry(MPI_Iallgatherv, poly)]
fn iallgatherv(
    sendbuf: SendPtr,
    sendcount: Number,
    sendtype: RawType,
    recvbuf: RecvPtr,
    recvcounts: Numbers,
    displs: Numbers,
    recvtype: RawType,
    comm: CommRef,
    request: Out<RawRequest>,
) -> Done {
    let under_way =
        with::allgatherv(&comm, (sendbuf, sendcount, sendtype), (recvbuf, recvcounts, displs, recvtype), |c, s, d| {
            c.iallgatherv(s, d)
        })?;
    start(&comm, &request, under_way)
}

/// Starts the operation; see `MPI_Alltoall`.
#[mpi_entry(MPI_Ialltoall, poly)]
fn ialltoall(
    sendbuf: SendPtr,
    sendcount: Number,
    sendtype: RawType,
    recvbuf: RecvPtr,
    recvcount: Count,
    recvtype: RawType,
    comm: CommRef,
    request: Out<RawRequest>,
) -> Done {
    let under_way =
        with::alltoall(&comm, (sendbuf, sendcount, sendtype), (recvbuf, recvcount, recvtype), |c, s, d| {
            c.ialltoall(s, d)
        })?;
    start(&comm, &request, under_way)
}

/// Starts the operation; see `MPI_Alltoallv`.
#[mpi_entry(MPI_Ialltoallv, poly)]
fn ialltoallv(
    sendbuf: SendPtr,
    sendcounts: Numbers,
    sdispls: Numbers,
    sendtype: RawType,
    recvbuf: RecvPtr,
    recvcounts: Numbers,
    rdispls: Numbers,
    recvtype: RawType,
    comm: CommRef,
    request: Out<RawRequest>,
) -> Done {
    let under_way = with::alltoallv(
        &comm,
        (sendbuf, sendcounts, sdispls, sendtype),
        (recvbuf, recvcounts, rdispls, recvtype),
        |c, s, d| c.ialltoallv(s, d),
    )?;
    start(&comm, &request, under_way)
}

/// Starts the operation; see `MPI_Alltoallw`.
#[mpi_entry(MPI_Ialltoallw, poly)]
fn ialltoallw(
    sendbuf: SendPtr,
    sendcounts: Numbers,
    sdispls: Numbers,
    sendtypes: In<RawType>,
    recvbuf: RecvPtr,
    recvcounts: Numbers,
    rdispls: Numbers,
    recvtypes: In<RawType>,
    comm: CommRef,
    request: Out<RawRequest>,
) -> Done {
    let under_way = with::alltoallw(
        &comm,
        (sendbuf, sendcounts, sdispls, &sendtypes),
        (recvbuf, recvcounts, rdispls, &recvtypes),
        |c, s, d| c.ialltoallw(s, d),
    )?;
    start(&comm, &request, under_way)
}

/// Starts the operation; see `MPI_Reduce`.
#[mpi_entry(MPI_Ireduce, poly)]
fn ireduce(
    sendbuf: SendPtr,
    recvbuf: RecvPtr,
    count: Count,
    datatype: RawType,
    op: OpRef,
    root: c_int,
    comm: CommRef,
    request: Out<RawRequest>,
) -> Done {
    let under_way =
        with::reduce(&comm, sendbuf, recvbuf, (count, datatype), &op, root, |c, s, d, o, r| c.ireduce(s, d, o, r))?;
    start(&comm, &request, under_way)
}

/// Starts the operation; see `MPI_Allreduce`.
#[mpi_entry(MPI_Iallreduce, poly)]
fn iallreduce(
    sendbuf: SendPtr,
    recvbuf: RecvPtr,
    count: Count,
    datatype: TypeRef,
    op: OpRef,
    comm: CommRef,
    request: Out<RawRequest>,
) -> Done {
    let under_way = with::both(&comm, sendbuf, recvbuf, (count, &datatype), &op, |c, s, d, o| c.iallreduce(s, d, o))?;
    start(&comm, &request, under_way)
}

/// Starts the operation; see `MPI_Reduce_scatter`.
#[mpi_entry(MPI_Ireduce_scatter, poly)]
fn ireduce_scatter(
    sendbuf: SendPtr,
    recvbuf: RecvPtr,
    recvcounts: Numbers,
    datatype: TypeRef,
    op: OpRef,
    comm: CommRef,
    request: Out<RawRequest>,
) -> Done {
    let under_way = with::reduce_scatter(&comm, sendbuf, recvbuf, (recvcounts, &datatype), &op, |c, s, d, n, o| {
        c.ireduce_scatter(s, d, n, o)
    })?;
    start(&comm, &request, under_way)
}

/// Starts the operation; see `MPI_Reduce_scatter_block`.
#[mpi_entry(MPI_Ireduce_scatter_block, poly)]
fn ireduce_scatter_block(
    sendbuf: SendPtr,
    recvbuf: RecvPtr,
    recvcount: Count,
    datatype: TypeRef,
    op: OpRef,
    comm: CommRef,
    request: Out<RawRequest>,
) -> Done {
    let under_way = with::reduce_scatter_block(&comm, sendbuf, recvbuf, (recvcount, &datatype), &op, |c, s, d, o| {
        c.ireduce_scatter_block(s, d, o)
    })?;
    start(&comm, &request, under_way)
}

/// Starts the operation; see `MPI_Scan`.
#[mpi_entry(MPI_Iscan, poly)]
fn iscan(
    sendbuf: SendPtr,
    recvbuf: RecvPtr,
    count: Count,
    datatype: TypeRef,
    op: OpRef,
    comm: CommRef,
    request: Out<RawRequest>,
) -> Done {
    let under_way = with::both(&comm, sendbuf, recvbuf, (count, &datatype), &op, |c, s, d, o| c.iscan(s, d, o))?;
    start(&comm, &request, under_way)
}

/// Starts the operation; see `MPI_Exscan`.
#[mpi_entry(MPI_Iexscan, poly)]
fn iexscan(
    sendbuf: SendPtr,
    recvbuf: RecvPtr,
    count: Count,
    datatype: TypeRef,
    op: OpRef,
    comm: CommRef,
    request: Out<RawRequest>,
) -> Done {
    let under_way = with::both(&comm, sendbuf, recvbuf, (count, &datatype), &op, |c, s, d, o| c.iexscan(s, d, o))?;
    start(&comm, &request, under_way)
}
