//! Persistent collectives (MPI 5.0 §6.13).

use std::ffi::c_int;

use phalanx_mpi_macros::mpi_entry;

use super::*;
use crate::buffer::{RecvPtr, SendPtr};
use crate::comm::CommRef;
use crate::entry::Done;
use crate::handle::{RawRequest, RawType};
use crate::info::InfoRef;
use crate::op::OpRef;
use crate::param::{Count, In, Number, Numbers, Out};

/// Makes a persistent operation; see `MPI_Barrier`.
#[mpi_entry(MPI_Barrier_init)]
fn barrier_init(comm: CommRef, info: InfoRef, request: Out<RawRequest>) -> Done {
    let _ = info;
    let under_way = with::barrier(&comm, |c| c.barrier_init())?;
    start(&comm, &request, under_way)
}

/// Makes a persistent operation; see `MPI_Bcast`.
#[mpi_entry(MPI_Bcast_init, poly)]
fn bcast_init(
    buffer: RecvPtr,
    count: Number,
    datatype: RawType,
    root: c_int,
    comm: CommRef,
    info: InfoRef,
    request: Out<RawRequest>,
) -> Done {
    let _ = info;
    let under_way = with::bcast(&comm, buffer, count, datatype, root, |c, b, r| c.bcast_init(b, r))?;
    start(&comm, &request, under_way)
}

/// Makes a persistent operation; see `MPI_Gather`.
#[mpi_entry(MPI_Gather_init, poly)]
fn gather_init(
    sendbuf: SendPtr,
    sendcount: Number,
    sendtype: RawType,
    recvbuf: RecvPtr,
    recvcount: Number,
    recvtype: RawType,
    root: c_int,
    comm: CommRef,
    info: InfoRef,
    request: Out<RawRequest>,
) -> Done {
    let _ = info;
    let under_way =
        with::gather(&comm, (sendbuf, sendcount, sendtype), (recvbuf, recvcount, recvtype), root, |c, s, d, r| {
            c.gather_init(s, d, r)
        })?;
    start(&comm, &request, under_way)
}

/// Makes a persistent operation; see `MPI_Gatherv`.
#[mpi_entry(MPI_Gatherv_init, poly)]
fn gatherv_init(
    sendbuf: SendPtr,
    sendcount: Number,
    sendtype: RawType,
    recvbuf: RecvPtr,
    recvcounts: Numbers,
    displs: Numbers,
    recvtype: RawType,
    root: c_int,
    comm: CommRef,
    info: InfoRef,
    request: Out<RawRequest>,
) -> Done {
    let _ = info;
    let under_way = with::gatherv(
        &comm,
        (sendbuf, sendcount, sendtype),
        (recvbuf, recvcounts, displs, recvtype),
        root,
        |c, s, d, r| c.gatherv_init(s, d, r),
    )?;
    start(&comm, &request, under_way)
}

/// Makes a persistent operation; see `MPI_Scatter`.
#[mpi_entry(MPI_Scatter_init, poly)]
fn scatter_init(
    sendbuf: SendPtr,
    sendcount: Number,
    sendtype: RawType,
    recvbuf: RecvPtr,
    recvcount: Number,
    recvtype: RawType,
    root: c_int,
    comm: CommRef,
    info: InfoRef,
    request: Out<RawRequest>,
) -> Done {
    let _ = info;
    let under_way =
        with::scatter(&comm, (sendbuf, sendcount, sendtype), (recvbuf, recvcount, recvtype), root, |c, s, d, r| {
            c.scatter_init(s, d, r)
        })?;
    start(&comm, &request, under_way)
}

/// Makes a persistent operation; see `MPI_Scatterv`.
#[mpi_entry(MPI_Scatterv_init, poly)]
fn scatterv_init(
    sendbuf: SendPtr,
    sendcounts: Numbers,
    displs: Numbers,
    sendtype: RawType,
    recvbuf: RecvPtr,
    recvcount: Number,
    recvtype: RawType,
    root: c_int,
    comm: CommRef,
    info: InfoRef,
    request: Out<RawRequest>,
) -> Done {
    let _ = info;
    let under_way = with::scatterv(
        &comm,
        (sendbuf, sendcounts, displs, sendtype),
        (recvbuf, recvcount, recvtype),
        root,
        |c, s, d, r| c.scatterv_init(s, d, r),
    )?;
    start(&comm, &request, under_way)
}

/// Makes a persistent operation; see `MPI_Allgather`.
#[mpi_entry(MPI_Allgather_init, poly)]
fn allgather_init(
    sendbuf: SendPtr,
    sendcount: Number,
    sendtype: RawType,
    recvbuf: RecvPtr,
    recvcount: Count,
    recvtype: RawType,
    comm: CommRef,
    info: InfoRef,
    request: Out<RawRequest>,
) -> Done {
    let _ = info;
    let under_way =
        with::allgather(&comm, (sendbuf, sendcount, sendtype), (recvbuf, recvcount, recvtype), |c, s, d| {
            c.allgather_init(s, d)
        })?;
    start(&comm, &request, under_way)
}

/// Makes a persistent operation; see `MPI_Allgatherv`.
#[mpi_entry(MPI_Allgatherv_init, poly)]
fn allgatherv_init(
    sendbuf: SendPtr,
    sendcount: Number,
    sendtype: RawType,
    recvbuf: RecvPtr,
    recvcounts: Numbers,
    displs: Numbers,
    recvtype: RawType,
    comm: CommRef,
    info: InfoRef,
    request: Out<RawRequest>,
) -> Done {
    let _ = info;
    let under_way =
        with::allgatherv(&comm, (sendbuf, sendcount, sendtype), (recvbuf, recvcounts, displs, recvtype), |c, s, d| {
            c.allgatherv_init(s, d)
        })?;
    start(&comm, &request, under_way)
}

/// Makes a persistent operation; see `MPI_Alltoall`.
#[mpi_entry(MPI_Alltoall_init, poly)]
fn alltoall_init(
    sendbuf: SendPtr,
    sendcount: Number,
    sendtype: RawType,
    recvbuf: RecvPtr,
    recvcount: Count,
    recvtype: RawType,
    comm: CommRef,
    info: InfoRef,
    request: Out<RawRequest>,
) -> Done {
    let _ = info;
    let under_way =
        with::alltoall(&comm, (sendbuf, sendcount, sendtype), (recvbuf, recvcount, recvtype), |c, s, d| {
            c.alltoall_init(s, d)
        })?;
    start(&comm, &request, under_way)
}

/// Makes a persistent operation; see `MPI_Alltoallv`.
#[mpi_entry(MPI_Alltoallv_init, poly)]
fn alltoallv_init(
    sendbuf: SendPtr,
    sendcounts: Numbers,
    sdispls: Numbers,
    sendtype: RawType,
    recvbuf: RecvPtr,
    recvcounts: Numbers,
    rdispls: Numbers,
    recvtype: RawType,
    comm: CommRef,
    info: InfoRef,
    request: Out<RawRequest>,
) -> Done {
    let _ = info;
    let under_way = with::alltoallv(
        &comm,
        (sendbuf, sendcounts, sdispls, sendtype),
        (recvbuf, recvcounts, rdispls, recvtype),
        |c, s, d| c.alltoallv_init(s, d),
    )?;
    start(&comm, &request, under_way)
}

/// Makes a persistent operation; see `MPI_Alltoallw`.
#[mpi_entry(MPI_Alltoallw_init, poly)]
fn alltoallw_init(
    sendbuf: SendPtr,
    sendcounts: Numbers,
    sdispls: Numbers,
    sendtypes: In<RawType>,
    recvbuf: RecvPtr,
    recvcounts: Numbers,
    rdispls: Numbers,
    recvtypes: In<RawType>,
    comm: CommRef,
    info: InfoRef,
    request: Out<RawRequest>,
) -> Done {
    let _ = info;
    let under_way = with::alltoallw(
        &comm,
        (sendbuf, sendcounts, sdispls, &sendtypes),
        (recvbuf, recvcounts, rdispls, &recvtypes),
        |c, s, d| c.alltoallw_init(s, d),
    )?;
    start(&comm, &request, under_way)
}

/// Makes a persistent operation; see `MPI_Reduce`.
#[mpi_entry(MPI_Reduce_init, poly)]
fn reduce_init(
    sendbuf: SendPtr,
    recvbuf: RecvPtr,
    count: Count,
    datatype: RawType,
    op: OpRef,
    root: c_int,
    comm: CommRef,
    info: InfoRef,
    request: Out<RawRequest>,
) -> Done {
    let _ = info;
    let under_way =
        with::reduce(&comm, sendbuf, recvbuf, (count, datatype), &op, root, |c, s, d, o, r| c.reduce_init(s, d, o, r))?;
    start(&comm, &request, under_way)
}

/// Makes a persistent operation; see `MPI_Allreduce`.
#[mpi_entry(MPI_Allreduce_init, poly)]
fn allreduce_init(
    sendbuf: SendPtr,
    recvbuf: RecvPtr,
    count: Count,
    datatype: TypeRef,
    op: OpRef,
    comm: CommRef,
    info: InfoRef,
    request: Out<RawRequest>,
) -> Done {
    let _ = info;
    let under_way =
        with::both(&comm, sendbuf, recvbuf, (count, &datatype), &op, |c, s, d, o| c.allreduce_init(s, d, o))?;
    start(&comm, &request, under_way)
}

/// Makes a persistent operation; see `MPI_Reduce_scatter`.
#[mpi_entry(MPI_Reduce_scatter_init, poly)]
fn reduce_scatter_init(
    sendbuf: SendPtr,
    recvbuf: RecvPtr,
    recvcounts: Numbers,
    datatype: TypeRef,
    op: OpRef,
    comm: CommRef,
    info: InfoRef,
    request: Out<RawRequest>,
) -> Done {
    let _ = info;
    let under_way = with::reduce_scatter(&comm, sendbuf, recvbuf, (recvcounts, &datatype), &op, |c, s, d, n, o| {
        c.reduce_scatter_init(s, d, n, o)
    })?;
    start(&comm, &request, under_way)
}

/// Makes a persistent operation; see `MPI_Reduce_scatter_block`.
#[mpi_entry(MPI_Reduce_scatter_block_init, poly)]
fn reduce_scatter_block_init(
    sendbuf: SendPtr,
    recvbuf: RecvPtr,
    recvcount: Count,
    datatype: TypeRef,
    op: OpRef,
    comm: CommRef,
    info: InfoRef,
    request: Out<RawRequest>,
) -> Done {
    let _ = info;
    let under_way = with::reduce_scatter_block(&comm, sendbuf, recvbuf, (recvcount, &datatype), &op, |c, s, d, o| {
        c.reduce_scatter_block_init(s, d, o)
    })?;
    start(&comm, &request, under_way)
}

/// Makes a persistent operation; see `MPI_Scan`.
#[mpi_entry(MPI_Scan_init, poly)]
fn scan_init(
    sendbuf: SendPtr,
    recvbuf: RecvPtr,
    count: Count,
    datatype: TypeRef,
    op: OpRef,
    comm: CommRef,
    info: InfoRef,
    request: Out<RawRequest>,
) -> Done {
    let _ = info;
    let under_way = with::both(&comm, sendbuf, recvbuf, (count, &datatype), &op, |c, s, d, o| c.scan_init(s, d, o))?;
    start(&comm, &request, under_way)
}

/// Makes a persistent operation; see `MPI_Exscan`.
#[mpi_entry(MPI_Exscan_init, poly)]
fn exscan_init(
    sendbuf: SendPtr,
    recvbuf: RecvPtr,
    count: Count,
    datatype: TypeRef,
    op: OpRef,
    comm: CommRef,
    info: InfoRef,
    request: Out<RawRequest>,
) -> Done {
    let _ = info;
    let under_way = with::both(&comm, sendbuf, recvbuf, (count, &datatype), &op, |c, s, d, o| c.exscan_init(s, d, o))?;
    start(&comm, &request, under_way)
}
