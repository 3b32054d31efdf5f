//! Collectives among the neighbours of a topology (MPI 5.0 §8.6 to §8.8).

use phalanx_engine::Collective;
use phalanx_mpi_macros::mpi_entry;

use super::data::{Blocks, Lend, One, Places};
use super::{Prepared, prepare};
use crate::buffer::{RecvPtr, SendPtr};
use crate::comm::CommRef;
use crate::handle::RawType;
use crate::param::{In, Number, Numbers};
use crate::topo;

/// Sends the same to every neighbour and collects equal blocks from them.
#[mpi_entry(MPI_Neighbor_allgather | MPI_Ineighbor_allgather | MPI_Neighbor_allgather_init, poly)]
fn neighbor_allgather(
    sendbuf: SendPtr,
    sendcount: Number,
    sendtype: RawType,
    recvbuf: RecvPtr,
    recvcount: Number,
    recvtype: RawType,
    comm: &CommRef,
) -> Prepared<'_> {
    let around = topo::around(comm)?;
    let send = One::new(sendbuf, sendcount, sendtype)?;
    let recv = Blocks::equal(recvbuf, recvcount, recvtype, around.sources())?;
    prepare(comm, |c| Ok(Collective::neighbor_allgather(c, around, send.lend()?, recv.lend()?)))
}

/// Sends the same to every neighbour and collects blocks of different sizes from them.
#[mpi_entry(MPI_Neighbor_allgatherv | MPI_Ineighbor_allgatherv | MPI_Neighbor_allgatherv_init, poly)]
fn neighbor_allgatherv(
    sendbuf: SendPtr,
    sendcount: Number,
    sendtype: RawType,
    recvbuf: RecvPtr,
    recvcounts: Numbers,
    displs: Numbers,
    recvtype: RawType,
    comm: &CommRef,
) -> Prepared<'_> {
    let around = topo::around(comm)?;
    let send = One::new(sendbuf, sendcount, sendtype)?;
    let recv = Blocks::vector(recvbuf, recvcounts, displs, recvtype, around.sources())?;
    prepare(comm, |c| Ok(Collective::neighbor_allgatherv(c, around, send.lend()?, recv.lend()?)))
}

/// Sends an equal block to every neighbour.
#[mpi_entry(MPI_Neighbor_alltoall | MPI_Ineighbor_alltoall | MPI_Neighbor_alltoall_init, poly)]
fn neighbor_alltoall(
    sendbuf: SendPtr,
    sendcount: Number,
    sendtype: RawType,
    recvbuf: RecvPtr,
    recvcount: Number,
    recvtype: RawType,
    comm: &CommRef,
) -> Prepared<'_> {
    let around = topo::around(comm)?;
    let send = Blocks::equal(sendbuf, sendcount, sendtype, around.destinations())?;
    let recv = Blocks::equal(recvbuf, recvcount, recvtype, around.sources())?;
    prepare(comm, |c| Ok(Collective::neighbor_alltoall(c, around, send.lend()?, recv.lend()?)))
}

/// Sends blocks of different sizes to the neighbours.
#[mpi_entry(MPI_Neighbor_alltoallv | MPI_Ineighbor_alltoallv | MPI_Neighbor_alltoallv_init, poly)]
fn neighbor_alltoallv(
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
    let around = topo::around(comm)?;
    let send = Blocks::vector(sendbuf, sendcounts, sdispls, sendtype, around.destinations())?;
    let recv = Blocks::vector(recvbuf, recvcounts, rdispls, recvtype, around.sources())?;
    prepare(comm, |c| Ok(Collective::neighbor_alltoallv(c, around, send.lend()?, recv.lend()?)))
}

/// Sends blocks of different sizes and types to the neighbours. Displacements are addresses in both widths.
#[mpi_entry(MPI_Neighbor_alltoallw | MPI_Ineighbor_alltoallw | MPI_Neighbor_alltoallw_init, poly)]
fn neighbor_alltoallw(
    sendbuf: SendPtr,
    sendcounts: Numbers,
    sdispls: In<isize>,
    sendtypes: In<RawType>,
    recvbuf: RecvPtr,
    recvcounts: Numbers,
    rdispls: In<isize>,
    recvtypes: In<RawType>,
    comm: &CommRef,
) -> Prepared<'_> {
    let around = topo::around(comm)?;
    let send = Blocks::each(sendbuf, Places::in_bytes(sendcounts, &sdispls, around.destinations())?, &sendtypes)?;
    let recv = Blocks::each(recvbuf, Places::in_bytes(recvcounts, &rdispls, around.sources())?, &recvtypes)?;
    prepare(comm, |c| Ok(Collective::neighbor_alltoallw(c, around, send.lend()?, recv.lend()?)))
}
