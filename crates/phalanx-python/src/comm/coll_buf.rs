//! Collective communication of buffers (MPI 5.0 chapter 6): one table of the operations on all ranks.
//!
//! A row of [`operations!`] is the blocking method, with its arguments as Python shows them: it turns them into messages and
//! calls C. The nonblocking method (section 6.12) and the persistent one (section 6.13), whose requests hold the messages, and
//! the docstrings of all three are written by the macro.

use phalanx_mpi_macros::operations;
use pyo3::prelude::*;

use super::pending::{prepare, start};
use super::{Comm, Intracomm, Operand};
use crate::ffi::*;
use crate::gil;
use crate::handle::{self, Handle as _};
use crate::info::Info;
use crate::op::Op;
use crate::prequest::Prequest;
use crate::request::Request;
use crate::spec::collective::{self, ReduceScatter};
use crate::spec::{Message, Vector, VectorW};

operations! {
    impl Comm {
        /// Wait until every rank of the communicator has called this.
        Barrier | Ibarrier | Barrier_init() {
            MPI_Barrier(handle)
        }

        /// Copy the root's buffer into everybody else's.
        Bcast | Ibcast | Bcast_init(buf: BufSpec, root: int = 0) {
            let m = collective::bcast(buf, root, this)?;
            MPI_Bcast_c(m.address, m.count, m.datatype, root, handle)
        }

        /// Collect everybody's buffer, in the order of the ranks, in the root's `recvbuf` (not looked at elsewhere).
        Gather | Igather | Gather_init(sendbuf: BufSpec | InPlace, recvbuf: BufSpecB | None, root: int = 0) {
            let (s, r) = collective::gather::<Message>(sendbuf, recvbuf, root, this)?;
            MPI_Gather_c(s.address, s.count, s.datatype, r.address, r.count, r.datatype, root, handle)
        }

        /// As Gather, with a count and a displacement for each rank in the root's `recvbuf`.
        Gatherv | Igatherv | Gatherv_init(sendbuf: BufSpec | InPlace, recvbuf: BufSpecV | None, root: int = 0) {
            let (s, r) = collective::gather::<Vector>(sendbuf, recvbuf, root, this)?;
            MPI_Gatherv_c(
                s.address, s.count, s.datatype,
                r.address, r.counts(), r.displacements(), r.datatype,
                root, handle,
            )
        }

        /// Give everybody its part of the root's `sendbuf` (not looked at elsewhere).
        Scatter | Iscatter | Scatter_init(sendbuf: BufSpecB | None, recvbuf: BufSpec | InPlace, root: int = 0) {
            let (s, r) = collective::scatter::<Message>(sendbuf, recvbuf, root, this)?;
            MPI_Scatter_c(s.address, s.count, s.datatype, r.address, r.count, r.datatype, root, handle)
        }

        /// As Scatter, with a count and a displacement for each rank in the root's `sendbuf`.
        Scatterv | Iscatterv | Scatterv_init(sendbuf: BufSpecV | None, recvbuf: BufSpec | InPlace, root: int = 0) {
            let (s, r) = collective::scatter::<Vector>(sendbuf, recvbuf, root, this)?;
            MPI_Scatterv_c(
                s.address, s.counts(), s.displacements(), s.datatype,
                r.address, r.count, r.datatype,
                root, handle,
            )
        }

        /// Collect everybody's buffer, in the order of the ranks, in everybody's `recvbuf`.
        Allgather | Iallgather | Allgather_init(sendbuf: BufSpec | InPlace, recvbuf: BufSpecB) {
            let (s, r) = collective::allgather::<Message>(sendbuf, recvbuf, this)?;
            MPI_Allgather_c(s.address, s.count, s.datatype, r.address, r.count, r.datatype, handle)
        }

        /// As Allgather, with a count and a displacement for each rank in `recvbuf`.
        Allgatherv | Iallgatherv | Allgatherv_init(sendbuf: BufSpec | InPlace, recvbuf: BufSpecV) {
            let (s, r) = collective::allgather::<Vector>(sendbuf, recvbuf, this)?;
            MPI_Allgatherv_c(
                s.address, s.count, s.datatype,
                r.address, r.counts(), r.displacements(), r.datatype,
                handle,
            )
        }

        /// Give everybody its part of `sendbuf`, and receive everybody's part for this rank in `recvbuf`.
        Alltoall | Ialltoall | Alltoall_init(sendbuf: BufSpecB | InPlace, recvbuf: BufSpecB) {
            let (s, r) = collective::alltoall::<Message>(sendbuf, recvbuf, this)?;
            MPI_Alltoall_c(s.address, s.count, s.datatype, r.address, r.count, r.datatype, handle)
        }

        /// As Alltoall, with a count and a displacement for each rank on both sides.
        Alltoallv | Ialltoallv | Alltoallv_init(sendbuf: BufSpecV | InPlace, recvbuf: BufSpecV) {
            let (s, r) = collective::alltoall::<Vector>(sendbuf, recvbuf, this)?;
            MPI_Alltoallv_c(
                s.address, s.counts(), s.displacements(), s.datatype,
                r.address, r.counts(), r.displacements(), r.datatype,
                handle,
            )
        }

        /// As Alltoall, with a count, a displacement in bytes and a datatype for each rank on both sides.
        Alltoallw | Ialltoallw | Alltoallw_init(sendbuf: BufSpecW | InPlace, recvbuf: BufSpecW) {
            let (s, r) = collective::alltoall::<VectorW>(sendbuf, recvbuf, this)?;
            MPI_Alltoallw_c(
                s.address, s.counts(), s.displacements(), s.datatypes(),
                r.address, r.counts(), r.displacements(), r.datatypes(),
                handle,
            )
        }

        /// Combine everybody's buffer entry by entry with `op`, into the root's `recvbuf` (not looked at elsewhere).
        Reduce | Ireduce | Reduce_init(
            sendbuf: BufSpec | InPlace,
            recvbuf: BufSpec | None,
            op: Op = SUM,
            root: int = 0,
        ) {
            let m = collective::reduce(sendbuf, recvbuf, root, this)?;
            MPI_Reduce_c(m.send.address, m.receive.address, m.count(), m.datatype(), op, root, handle)
        }

        /// Combine everybody's buffer entry by entry with `op`, into everybody's `recvbuf`.
        Allreduce | Iallreduce | Allreduce_init(sendbuf: BufSpec | InPlace, recvbuf: BufSpec, op: Op = SUM) {
            let m = collective::allreduce(sendbuf, recvbuf, this)?;
            MPI_Allreduce_c(m.send.address, m.receive.address, m.count(), m.datatype(), op, handle)
        }

        /// Combine everybody's buffer with `op` and give each rank its block of the result; all blocks have the size of `recvbuf`.
        Reduce_scatter_block | Ireduce_scatter_block | Reduce_scatter_block_init(
            sendbuf: BufSpecB | InPlace,
            recvbuf: BufSpec | BufSpecB,
            op: Op = SUM,
        ) {
            let m = collective::reduce_scatter_block(sendbuf, recvbuf, this)?;
            MPI_Reduce_scatter_block_c(m.send.address, m.receive.address, m.count(), m.datatype(), op, handle)
        }

        /// As Reduce_scatter_block, with blocks of `recvcounts` entries (left out: what each `recvbuf` holds).
        ///
        /// Without `recvcounts` this call waits for all ranks to exchange them.
        Reduce_scatter | Ireduce_scatter | Reduce_scatter_init(
            sendbuf: BufSpec | InPlace,
            recvbuf: BufSpec,
            recvcounts: Sequence[int] | None = None,
            op: Op = SUM,
        ) {
            let m = ReduceScatter::new(sendbuf, recvbuf, recvcounts, this)?;
            MPI_Reduce_scatter_c(
                m.sides.send.address, m.sides.receive.address, m.counts(), m.sides.datatype(),
                op, handle,
            )
        }
    }
}

operations! {
    impl Intracomm {
        /// Combine the buffers of the ranks up to and including this one with `op`, into `recvbuf`.
        Scan | Iscan | Scan_init(sendbuf: BufSpec | InPlace, recvbuf: BufSpec, op: Op = SUM) {
            let m = collective::scan(sendbuf, recvbuf, this)?;
            MPI_Scan_c(m.send.address, m.receive.address, m.count(), m.datatype(), op, handle)
        }

        /// Combine the buffers of the ranks before this one with `op`, into `recvbuf` (left as it is at rank 0).
        Exscan | Iexscan | Exscan_init(sendbuf: BufSpec | InPlace, recvbuf: BufSpec, op: Op = SUM) {
            let m = collective::scan(sendbuf, recvbuf, this)?;
            MPI_Exscan_c(m.send.address, m.receive.address, m.count(), m.datatype(), op, handle)
        }
    }
}
