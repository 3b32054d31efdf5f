//! Collectives that block (MPI 5.0 §6.3 to §6.11).

use std::ffi::c_int;

use phalanx_mpi_macros::mpi_entry;

use super::*;
use crate::buffer::{RecvPtr, SendPtr};
use crate::comm::CommRef;
use crate::entry::Done;
use crate::handle::RawType;
use crate::op::OpRef;
use crate::param::{Count, In, Number, Numbers};

/// Waits until all ranks have called it.
#[mpi_entry(MPI_Barrier)]
fn barrier(comm: CommRef) -> Done {
    with::barrier(&comm, |c| c.barrier())
}

/// Gives the root's data to all ranks.
#[mpi_entry(MPI_Bcast, poly)]
fn bcast(buffer: RecvPtr, count: Number, datatype: RawType, root: c_int, comm: CommRef) -> Done {
    with::bcast(&comm, buffer, count, datatype, root, |c, b, r| c.bcast(b, r))
}

/// Collects equal blocks at the root.
#[mpi_entry(MPI_Gather, poly)]
fn gather(
    sendbuf: SendPtr,
    sendcount: Number,
    sendtype: RawType,
    recvbuf: RecvPtr,
    recvcount: Number,
    recvtype: RawType,
    root: c_int,
    comm: CommRef,
) -> Done {
    with::gather(&comm, (sendbuf, sendcount, sendtype), (recvbuf, recvcount, recvtype), root, |c, s, d, r| {
        c.gather(s, d, r)
    })
}

/// Collects blocks of different sizes at the root.
#[mpi_entry(MPI_Gatherv, poly)]
fn gatherv(
    sendbuf: SendPtr,
    sendcount: Number,
    sendtype: RawType,
    recvbuf: RecvPtr,
    recvcounts: Numbers,
    displs: Numbers,
    recvtype: RawType,
    root: c_int,
    comm: CommRef,
) -> Done {
    with::gatherv(&comm, (sendbuf, sendcount, sendtype), (recvbuf, recvcounts, displs, recvtype), root, |c, s, d, r| {
        c.gatherv(s, d, r)
    })
}

/// Deals equal blocks out from the root.
#[mpi_entry(MPI_Scatter, poly)]
fn scatter(
    sendbuf: SendPtr,
    sendcount: Number,
    sendtype: RawType,
    recvbuf: RecvPtr,
    recvcount: Number,
    recvtype: RawType,
    root: c_int,
    comm: CommRef,
) -> Done {
    with::scatter(&comm, (sendbuf, sendcount, sendtype), (recvbuf, recvcount, recvtype), root, |c, s, d, r| {
        c.scatter(s, d, r)
    })
}

/// Deals blocks of different sizes out from the root.
#[mpi_entry(MPI_Scatterv, poly)]
fn scatterv(
    sendbuf: SendPtr,
    sendcounts: Numbers,
    displs: Numbers,
    sendtype: RawType,
    recvbuf: RecvPtr,
    recvcount: Number,
    recvtype: RawType,
    root: c_int,
    comm: CommRef,
) -> Done {
    with::scatterv(
        &comm,
        (sendbuf, sendcounts, displs, sendtype),
        (recvbuf, recvcount, recvtype),
        root,
        |c, s, d, r| c.scatterv(s, d, r),
    )
}

/// Collects equal blocks at every rank.
#[mpi_entry(MPI_Allgather, poly)]
fn allgather(
    sendbuf: SendPtr,
    sendcount: Number,
    sendtype: RawType,
    recvbuf: RecvPtr,
    recvcount: Count,
    recvtype: RawType,
    comm: CommRef,
) -> Done {
    with::allgather(&comm, (sendbuf, sendcount, sendtype), (recvbuf, recvcount, recvtype), |c, s, d| c.allgather(s, d))
}

/// Collects blocks of different sizes at every rank.
#[mpi_entry(MPI_Allgatherv, poly)]
fn allgatherv(
    sendbuf: SendPtr,
    sendcount: Number,
    sendtype: RawType,
    recvbuf: RecvPtr,
    recvcounts: Numbers,
    displs: Numbers,
    recvtype: RawType,
    comm: CommRef,
) -> Done {
    with::allgatherv(&comm, (sendbuf, sendcount, sendtype), (recvbuf, recvcounts, displs, recvtype), |c, s, d| {
        c.allgatherv(s, d)
    })
}

/// Sends an equal block from every rank to every rank.
#[mpi_entry(MPI_Alltoall, poly)]
fn alltoall(
    sendbuf: SendPtr,
    sendcount: Number,
    sendtype: RawType,
    recvbuf: RecvPtr,
    recvcount: Count,
    recvtype: RawType,
    comm: CommRef,
) -> Done {
    with::alltoall(&comm, (sendbuf, sendcount, sendtype), (recvbuf, recvcount, recvtype), |c, s, d| c.alltoall(s, d))
}

/// Sends blocks of different sizes from every rank to every rank.
#[mpi_entry(MPI_Alltoallv, poly)]
fn alltoallv(
    sendbuf: SendPtr,
    sendcounts: Numbers,
    sdispls: Numbers,
    sendtype: RawType,
    recvbuf: RecvPtr,
    recvcounts: Numbers,
    rdispls: Numbers,
    recvtype: RawType,
    comm: CommRef,
) -> Done {
    with::alltoallv(
        &comm,
        (sendbuf, sendcounts, sdispls, sendtype),
        (recvbuf, recvcounts, rdispls, recvtype),
        |c, s, d| c.alltoallv(s, d),
    )
}

/// Sends blocks of different sizes and types from every rank to every rank.
#[mpi_entry(MPI_Alltoallw, poly)]
fn alltoallw(
    sendbuf: SendPtr,
    sendcounts: Numbers,
    sdispls: Numbers,
    sendtypes: In<RawType>,
    recvbuf: RecvPtr,
    recvcounts: Numbers,
    rdispls: Numbers,
    recvtypes: In<RawType>,
    comm: CommRef,
) -> Done {
    with::alltoallw(
        &comm,
        (sendbuf, sendcounts, sdispls, &sendtypes),
        (recvbuf, recvcounts, rdispls, &recvtypes),
        |c, s, d| c.alltoallw(s, d),
    )
}

/// Combines the ranks' data at the root.
#[mpi_entry(MPI_Reduce, poly)]
fn reduce(
    sendbuf: SendPtr,
    recvbuf: RecvPtr,
    count: Count,
    datatype: RawType,
    op: OpRef,
    root: c_int,
    comm: CommRef,
) -> Done {
    with::reduce(&comm, sendbuf, recvbuf, (count, datatype), &op, root, |c, s, d, o, r| c.reduce(s, d, o, r))
}

/// Combines the ranks' data at every rank.
#[mpi_entry(MPI_Allreduce, poly)]
fn allreduce(sendbuf: SendPtr, recvbuf: RecvPtr, count: Count, datatype: TypeRef, op: OpRef, comm: CommRef) -> Done {
    with::both(&comm, sendbuf, recvbuf, (count, &datatype), &op, |c, s, d, o| c.allreduce(s, d, o))
}

/// Combines the ranks' data and deals the result out in blocks of different sizes.
#[mpi_entry(MPI_Reduce_scatter, poly)]
fn reduce_scatter(
    sendbuf: SendPtr,
    recvbuf: RecvPtr,
    recvcounts: Numbers,
    datatype: TypeRef,
    op: OpRef,
    comm: CommRef,
) -> Done {
    with::reduce_scatter(&comm, sendbuf, recvbuf, (recvcounts, &datatype), &op, |c, s, d, n, o| {
        c.reduce_scatter(s, d, n, o)
    })
}

/// Combines the ranks' data and deals the result out in equal blocks.
#[mpi_entry(MPI_Reduce_scatter_block, poly)]
fn reduce_scatter_block(
    sendbuf: SendPtr,
    recvbuf: RecvPtr,
    recvcount: Count,
    datatype: TypeRef,
    op: OpRef,
    comm: CommRef,
) -> Done {
    with::reduce_scatter_block(&comm, sendbuf, recvbuf, (recvcount, &datatype), &op, |c, s, d, o| {
        c.reduce_scatter_block(s, d, o)
    })
}

/// Combines the data of the ranks up to and with this one.
#[mpi_entry(MPI_Scan, poly)]
fn scan(sendbuf: SendPtr, recvbuf: RecvPtr, count: Count, datatype: TypeRef, op: OpRef, comm: CommRef) -> Done {
    with::both(&comm, sendbuf, recvbuf, (count, &datatype), &op, |c, s, d, o| c.scan(s, d, o))
}

/// Combines the data of the ranks before this one.
#[mpi_entry(MPI_Exscan, poly)]
fn exscan(sendbuf: SendPtr, recvbuf: RecvPtr, count: Count, datatype: TypeRef, op: OpRef, comm: CommRef) -> Done {
    with::both(&comm, sendbuf, recvbuf, (count, &datatype), &op, |c, s, d, o| c.exscan(s, d, o))
}
