//! Collectives in which all ranks have the same part (MPI 5.0 §6.3, §6.7 to §6.11).

use phalanx_engine::{Collective, ErrorClass};
use phalanx_mpi_macros::mpi_entry;

use super::data::{Blocks, Lend, One, Place as _, Places, in_place_or, ranks};
use super::{Prepared, prepare};
use crate::buffer::{RecvPtr, SendPtr};
use crate::comm::CommRef;
use crate::entry::wrong;
use crate::handle::RawType;
use crate::op::OpRef;
use crate::param::{In, Number, Numbers};

/// Waits until all ranks have called it.
#[mpi_entry(MPI_Barrier | MPI_Ibarrier | MPI_Barrier_init)]
fn barrier(comm: &CommRef) -> Prepared<'_> {
    prepare(comm, |c| Ok(Collective::barrier(c)))
}

/// Collects equal blocks at every rank.
#[mpi_entry(MPI_Allgather | MPI_Iallgather | MPI_Allgather_init, poly)]
fn allgather(
    sendbuf: SendPtr,
    sendcount: Number,
    sendtype: RawType,
    recvbuf: RecvPtr,
    recvcount: Number,
    recvtype: RawType,
    comm: &CommRef,
) -> Prepared<'_> {
    let send = in_place_or(sendbuf, || One::new(sendbuf, sendcount, sendtype))?;
    let recv = Blocks::equal(recvbuf, recvcount, recvtype, ranks(comm))?;
    prepare(comm, |c| Ok(Collective::allgather(c, send.lend()?, recv.lend()?)))
}

/// Collects blocks of different sizes at every rank.
#[mpi_entry(MPI_Allgatherv | MPI_Iallgatherv | MPI_Allgatherv_init, poly)]
fn allgatherv(
    sendbuf: SendPtr,
    sendcount: Number,
    sendtype: RawType,
    recvbuf: RecvPtr,
    recvcounts: Numbers,
    displs: Numbers,
    recvtype: RawType,
    comm: &CommRef,
) -> Prepared<'_> {
    let send = in_place_or(sendbuf, || One::new(sendbuf, sendcount, sendtype))?;
    let recv = Blocks::vector(recvbuf, recvcounts, displs, recvtype, ranks(comm))?;
    prepare(comm, |c| Ok(Collective::allgatherv(c, send.lend()?, recv.lend()?)))
}

/// Sends an equal block from every rank to every rank.
#[mpi_entry(MPI_Alltoall | MPI_Ialltoall | MPI_Alltoall_init, poly)]
fn alltoall(
    sendbuf: SendPtr,
    sendcount: Number,
    sendtype: RawType,
    recvbuf: RecvPtr,
    recvcount: Number,
    recvtype: RawType,
    comm: &CommRef,
) -> Prepared<'_> {
    let send = in_place_or(sendbuf, || Blocks::equal(sendbuf, sendcount, sendtype, ranks(comm)))?;
    let recv = Blocks::equal(recvbuf, recvcount, recvtype, ranks(comm))?;
    prepare(comm, |c| Ok(Collective::alltoall(c, send.lend()?, recv.lend()?)))
}

/// Sends blocks of different sizes from every rank to every rank.
#[mpi_entry(MPI_Alltoallv | MPI_Ialltoallv | MPI_Alltoallv_init, poly)]
fn alltoallv(
    sendbuf: SendPtr,
    sendcounts: Numbers,
    sdispls: Numbers,
    sendtype: RawType,
    recvbuf: RecvPtr,
    recvcounts: Numbers,
    rdispls: Numbers,
    recvtype: RawType,
    comm: &CommRef,
) -> Prepared<'_> {
    let send = in_place_or(sendbuf, || Blocks::vector(sendbuf, sendcounts, sdispls, sendtype, ranks(comm)))?;
    let recv = Blocks::vector(recvbuf, recvcounts, rdispls, recvtype, ranks(comm))?;
    prepare(comm, |c| Ok(Collective::alltoallv(c, send.lend()?, recv.lend()?)))
}

/// Sends blocks of different sizes and types from every rank to every rank.
#[mpi_entry(MPI_Alltoallw | MPI_Ialltoallw | MPI_Alltoallw_init, poly)]
fn alltoallw(
    sendbuf: SendPtr,
    sendcounts: Numbers,
    sdispls: Numbers,
    sendtypes: In<RawType>,
    recvbuf: RecvPtr,
    recvcounts: Numbers,
    rdispls: Numbers,
    recvtypes: In<RawType>,
    comm: &CommRef,
) -> Prepared<'_> {
    let send =
        in_place_or(sendbuf, || Blocks::each(sendbuf, Places::read(sendcounts, sdispls, ranks(comm))?, &sendtypes))?;
    let recv = Blocks::each(recvbuf, Places::read(recvcounts, rdispls, ranks(comm))?, &recvtypes)?;
    prepare(comm, |c| Ok(Collective::alltoallw(c, send.lend()?, recv.lend()?)))
}

/// Combines the ranks' data at every rank.
#[mpi_entry(MPI_Allreduce | MPI_Iallreduce | MPI_Allreduce_init, poly)]
fn allreduce(
    sendbuf: SendPtr,
    recvbuf: RecvPtr,
    count: Number,
    datatype: RawType,
    op: OpRef,
    comm: &CommRef,
) -> Prepared<'_> {
    let send = in_place_or(sendbuf, || One::new(sendbuf, count, datatype))?;
    let recv = One::new(recvbuf, count, datatype)?;
    prepare(comm, |c| Ok(Collective::allreduce(c, send.lend()?, recv.lend()?, &op)))
}

/// Combines the data of the ranks up to and with this one.
#[mpi_entry(MPI_Scan | MPI_Iscan | MPI_Scan_init, poly)]
fn scan(
    sendbuf: SendPtr,
    recvbuf: RecvPtr,
    count: Number,
    datatype: RawType,
    op: OpRef,
    comm: &CommRef,
) -> Prepared<'_> {
    let send = in_place_or(sendbuf, || One::new(sendbuf, count, datatype))?;
    let recv = One::new(recvbuf, count, datatype)?;
    prepare(comm, |c| Ok(Collective::scan(c, send.lend()?, recv.lend()?, &op)))
}

/// Combines the data of the ranks before this one.
#[mpi_entry(MPI_Exscan | MPI_Iexscan | MPI_Exscan_init, poly)]
fn exscan(
    sendbuf: SendPtr,
    recvbuf: RecvPtr,
    count: Number,
    datatype: RawType,
    op: OpRef,
    comm: &CommRef,
) -> Prepared<'_> {
    let send = in_place_or(sendbuf, || One::new(sendbuf, count, datatype))?;
    let recv = One::new(recvbuf, count, datatype)?;
    prepare(comm, |c| Ok(Collective::exscan(c, send.lend()?, recv.lend()?, &op)))
}

/// Combines the ranks' data and deals the result out in blocks of different sizes.
#[mpi_entry(MPI_Reduce_scatter | MPI_Ireduce_scatter | MPI_Reduce_scatter_init, poly)]
fn reduce_scatter(
    sendbuf: SendPtr,
    recvbuf: RecvPtr,
    recvcounts: Numbers,
    datatype: RawType,
    op: OpRef,
    comm: &CommRef,
) -> Prepared<'_> {
    // One count for each rank of this side, whatever the other side has. The engine refuses the negative ones.
    let counts = recvcounts.read(usize::try_from(comm.comm.size()).unwrap_or(0), "receive counts")?;
    let total = counts.iter().try_fold(0i64, |sum, count| sum.checked_add((*count).max(0)));
    let total =
        Number(total.ok_or_else(|| wrong(ErrorClass::Count, "the receive counts add up to more than 64 bits"))?);
    let mine =
        usize::try_from(comm.comm.rank()).ok().and_then(|rank| counts.get(rank)).map_or(0, |count| (*count).max(0));
    let send = in_place_or(sendbuf, || One::new(sendbuf, total, datatype))?;
    // In place, the receive buffer holds the input: all the blocks.
    let held = if sendbuf.in_place() { total } else { Number(mine) };
    let recv = One::new(recvbuf, held, datatype)?;
    prepare(comm, |c| Ok(Collective::reduce_scatter(c, send.lend()?, recv.lend()?, &counts, &op)))
}

/// Combines the ranks' data and deals the result out in equal blocks.
#[mpi_entry(MPI_Reduce_scatter_block | MPI_Ireduce_scatter_block | MPI_Reduce_scatter_block_init, poly)]
fn reduce_scatter_block(
    sendbuf: SendPtr,
    recvbuf: RecvPtr,
    recvcount: Number,
    datatype: RawType,
    op: OpRef,
    comm: &CommRef,
) -> Prepared<'_> {
    let n = usize::try_from(comm.comm.size()).unwrap_or(0);
    let send = in_place_or(sendbuf, || One::new(sendbuf, recvcount, datatype)?.times(n))?;
    let mine = One::new(recvbuf, recvcount, datatype)?;
    // In place, the receive buffer holds the input: all the blocks.
    let recv = if sendbuf.in_place() { mine.times(n)? } else { mine };
    prepare(comm, |c| Ok(Collective::reduce_scatter_block(c, send.lend()?, recv.lend()?, &op)))
}
