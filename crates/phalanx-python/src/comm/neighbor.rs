//! Collective communication with neighbours in a topology (MPI 5.0 section 8.6): one table, as in `coll_buf`.

use phalanx_mpi_macros::operations;
use pyo3::prelude::*;

use super::pending::{prepare, start};
use super::{Operand, Topocomm};
use crate::ffi::*;
use crate::gil;
use crate::handle::{self, Handle as _};
use crate::info::Info;
use crate::prequest::Prequest;
use crate::request::Request;
use crate::spec::collective;
use crate::spec::{Message, Vector, VectorW};

operations! {
    impl Topocomm {
        /// Send one buffer to every neighbour and collect theirs in `recvbuf`.
        Neighbor_allgather | Ineighbor_allgather | Neighbor_allgather_init(sendbuf: BufSpec, recvbuf: BufSpecB) {
            let (s, r) = collective::neighbor_allgather::<Message>(sendbuf, recvbuf, this)?;
            MPI_Neighbor_allgather_c(s.address, s.count, s.datatype, r.address, r.count, r.datatype, handle)
        }

        /// As Neighbor_allgather, with a count and a displacement for each neighbour in `recvbuf`.
        Neighbor_allgatherv | Ineighbor_allgatherv | Neighbor_allgatherv_init(sendbuf: BufSpec, recvbuf: BufSpecV) {
            let (s, r) = collective::neighbor_allgather::<Vector>(sendbuf, recvbuf, this)?;
            MPI_Neighbor_allgatherv_c(
                s.address, s.count, s.datatype,
                r.address, r.counts(), r.displacements(), r.datatype,
                handle,
            )
        }

        /// Give every neighbour its part of `sendbuf` and collect theirs for this rank in `recvbuf`.
        Neighbor_alltoall | Ineighbor_alltoall | Neighbor_alltoall_init(sendbuf: BufSpecB, recvbuf: BufSpecB) {
            let (s, r) = collective::neighbor_alltoall::<Message>(sendbuf, recvbuf, this)?;
            MPI_Neighbor_alltoall_c(s.address, s.count, s.datatype, r.address, r.count, r.datatype, handle)
        }

        /// As Neighbor_alltoall, with a count and a displacement for each neighbour on both sides.
        Neighbor_alltoallv | Ineighbor_alltoallv | Neighbor_alltoallv_init(sendbuf: BufSpecV, recvbuf: BufSpecV) {
            let (s, r) = collective::neighbor_alltoall::<Vector>(sendbuf, recvbuf, this)?;
            MPI_Neighbor_alltoallv_c(
                s.address, s.counts(), s.displacements(), s.datatype,
                r.address, r.counts(), r.displacements(), r.datatype,
                handle,
            )
        }

        /// As Neighbor_alltoall, with a count, a displacement in bytes and a datatype for each neighbour on both sides.
        Neighbor_alltoallw | Ineighbor_alltoallw | Neighbor_alltoallw_init(sendbuf: BufSpecW, recvbuf: BufSpecW) {
            let (s, r) = collective::neighbor_alltoall::<VectorW>(sendbuf, recvbuf, this)?;
            MPI_Neighbor_alltoallw_c(
                s.address, s.counts(), s.displacements(), s.datatypes(),
                r.address, r.counts(), r.displacements(), r.datatypes(),
                handle,
            )
        }
    }
}
