//! Collectives with a root (MPI 5.0 §6.4 to §6.6, §6.9.1).

use std::ffi::c_int;

use phalanx_engine::Collective;
use phalanx_mpi_macros::mpi_entry;

use super::data::{Blocks, Lend, One, Part, ranks};
use super::{Prepared, prepare};
use crate::buffer::{RecvPtr, SendPtr};
use crate::comm::CommRef;
use crate::handle::RawType;
use crate::op::OpRef;
use crate::param::{Number, Numbers};

/// Gives the root's data to all ranks.
#[mpi_entry(MPI_Bcast | MPI_Ibcast | MPI_Bcast_init, poly)]
fn bcast(buffer: RecvPtr, count: Number, datatype: RawType, root: c_int, comm: &CommRef) -> Prepared<'_> {
    let data = match Part::of(&comm.comm, root) {
        Part::Nothing => One::nothing(),
        _ => One::new(buffer, count, datatype)?,
    };
    prepare(comm, |c| Ok(Collective::bcast(c, data.lend()?, root)))
}

/// Collects equal blocks at the root.
#[mpi_entry(MPI_Gather | MPI_Igather | MPI_Gather_init, poly)]
fn gather(
    sendbuf: SendPtr,
    sendcount: Number,
    sendtype: RawType,
    recvbuf: RecvPtr,
    recvcount: Number,
    recvtype: RawType,
    root: c_int,
    comm: &CommRef,
) -> Prepared<'_> {
    let part = Part::of(&comm.comm, root);
    let send = part.own(sendbuf, sendcount, sendtype)?;
    let recv = part.at_root(|| Blocks::equal(recvbuf, recvcount, recvtype, ranks(comm)))?;
    prepare(comm, |c| Ok(Collective::gather(c, send.lend()?, recv.lend()?, root)))
}

/// Collects blocks of different sizes at the root.
#[mpi_entry(MPI_Gatherv | MPI_Igatherv | MPI_Gatherv_init, poly)]
fn gatherv(
    sendbuf: SendPtr,
    sendcount: Number,
    sendtype: RawType,
    recvbuf: RecvPtr,
    recvcounts: Numbers,
    displs: Numbers,
    recvtype: RawType,
    root: c_int,
    comm: &CommRef,
) -> Prepared<'_> {
    let part = Part::of(&comm.comm, root);
    let send = part.own(sendbuf, sendcount, sendtype)?;
    let recv = part.at_root(|| Blocks::vector(recvbuf, recvcounts, displs, recvtype, ranks(comm)))?;
    prepare(comm, |c| Ok(Collective::gatherv(c, send.lend()?, recv.lend()?, root)))
}

/// Deals equal blocks out from the root.
#[mpi_entry(MPI_Scatter | MPI_Iscatter | MPI_Scatter_init, poly)]
fn scatter(
    sendbuf: SendPtr,
    sendcount: Number,
    sendtype: RawType,
    recvbuf: RecvPtr,
    recvcount: Number,
    recvtype: RawType,
    root: c_int,
    comm: &CommRef,
) -> Prepared<'_> {
    let part = Part::of(&comm.comm, root);
    let send = part.at_root(|| Blocks::equal(sendbuf, sendcount, sendtype, ranks(comm)))?;
    let recv = part.own(recvbuf, recvcount, recvtype)?;
    prepare(comm, |c| Ok(Collective::scatter(c, send.lend()?, recv.lend()?, root)))
}

/// Deals blocks of different sizes out from the root.
#[mpi_entry(MPI_Scatterv | MPI_Iscatterv | MPI_Scatterv_init, poly)]
fn scatterv(
    sendbuf: SendPtr,
    sendcounts: Numbers,
    displs: Numbers,
    sendtype: RawType,
    recvbuf: RecvPtr,
    recvcount: Number,
    recvtype: RawType,
    root: c_int,
    comm: &CommRef,
) -> Prepared<'_> {
    let part = Part::of(&comm.comm, root);
    let send = part.at_root(|| Blocks::vector(sendbuf, sendcounts, displs, sendtype, ranks(comm)))?;
    let recv = part.own(recvbuf, recvcount, recvtype)?;
    prepare(comm, |c| Ok(Collective::scatterv(c, send.lend()?, recv.lend()?, root)))
}

/// Combines the ranks' data at the root.
#[mpi_entry(MPI_Reduce | MPI_Ireduce | MPI_Reduce_init, poly)]
fn reduce(
    sendbuf: SendPtr,
    recvbuf: RecvPtr,
    count: Number,
    datatype: RawType,
    op: OpRef,
    root: c_int,
    comm: &CommRef,
) -> Prepared<'_> {
    let part = Part::of(&comm.comm, root);
    let send = part.own(sendbuf, count, datatype)?;
    let recv = part.at_root(|| One::new(recvbuf, count, datatype))?;
    prepare(comm, |c| Ok(Collective::reduce(c, send.lend()?, recv.lend()?, &op, root)))
}
