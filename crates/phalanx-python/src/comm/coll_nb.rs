//! Nonblocking collective communication of buffers (MPI 5.0 section 6.12).

use pyo3::prelude::*;

use super::pending::start;
use super::{Comm, Intracomm};
use crate::ffi::*;
use crate::handle::Handle as _;
use crate::op::Op;
use crate::request::Request;
use crate::spec::collective::{self, ReduceScatter};
use crate::spec::{Message, Vector, VectorW};

#[pymethods]
impl Comm {
    /// Ibarrier(self) -> Request
    ///
    /// Begin a Barrier.
    ///
    /// The request completes once every rank has called this. Does not wait.
    fn Ibarrier<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, Request>> {
        let comm = self.raw();
        // SAFETY: `request` is valid for the write; MPI checks the handle.
        start(py, (), |(), request| unsafe { MPI_Ibarrier(comm, request) })
    }

    /// Ibcast(self, buf: BufSpec, root: int = 0) -> Request
    ///
    /// Begin a Bcast.
    ///
    /// Copy the root's buffer into everybody else's. Does not wait; leave the buffers alone until the request is
    /// complete.
    #[pyo3(signature = (buf, root = 0))]
    fn Ibcast<'py>(&self, py: Python<'py>, buf: &Bound<'py, PyAny>, root: c_int) -> PyResult<Bound<'py, Request>> {
        let comm = self.raw();
        let m = collective::bcast(buf, root, self)?;
        // SAFETY: the request holds the messages, and with them the memory, until the operation is over.
        start(py, m, |m, request| unsafe { MPI_Ibcast_c(m.address, m.count, m.datatype, root, comm, request) })
    }

    /// Igather(self, sendbuf: BufSpec | InPlace, recvbuf: BufSpecB | None, root: int = 0) -> Request
    ///
    /// Begin a Gather.
    ///
    /// Collect everybody's buffer, in the order of the ranks, in the root's `recvbuf` (not looked at elsewhere). Does
    /// not wait; leave the buffers alone until the request is complete.
    #[pyo3(signature = (sendbuf, recvbuf, root = 0))]
    fn Igather<'py>(
        &self,
        py: Python<'py>,
        sendbuf: &Bound<'py, PyAny>,
        recvbuf: &Bound<'py, PyAny>,
        root: c_int,
    ) -> PyResult<Bound<'py, Request>> {
        let comm = self.raw();
        let (s, r) = collective::gather::<Message>(sendbuf, recvbuf, root, self)?;
        // SAFETY: the request holds the messages, and with them the memory, until the operation is over.
        start(py, (s, r), |(s, r), request| unsafe {
            MPI_Igather_c(s.address, s.count, s.datatype, r.address, r.count, r.datatype, root, comm, request)
        })
    }

    /// Igatherv(self, sendbuf: BufSpec | InPlace, recvbuf: BufSpecV | None, root: int = 0) -> Request
    ///
    /// Begin a Gatherv.
    ///
    /// As Gather, with a count and a displacement for each rank in the root's `recvbuf`. Does not wait; leave the
    /// buffers alone until the request is complete.
    #[pyo3(signature = (sendbuf, recvbuf, root = 0))]
    fn Igatherv<'py>(
        &self,
        py: Python<'py>,
        sendbuf: &Bound<'py, PyAny>,
        recvbuf: &Bound<'py, PyAny>,
        root: c_int,
    ) -> PyResult<Bound<'py, Request>> {
        let comm = self.raw();
        let (s, r) = collective::gather::<Vector>(sendbuf, recvbuf, root, self)?;
        // SAFETY: the request holds the messages, and with them the memory, until the operation is over.
        start(py, (s, r), |(s, r), request| unsafe {
            MPI_Igatherv_c(
                s.address,
                s.count,
                s.datatype,
                r.address,
                r.counts(),
                r.displacements(),
                r.datatype,
                root,
                comm,
                request,
            )
        })
    }

    /// Iscatter(self, sendbuf: BufSpecB | None, recvbuf: BufSpec | InPlace, root: int = 0) -> Request
    ///
    /// Begin a Scatter.
    ///
    /// Give everybody its part of the root's `sendbuf` (not looked at elsewhere). Does not wait; leave the buffers
    /// alone until the request is complete.
    #[pyo3(signature = (sendbuf, recvbuf, root = 0))]
    fn Iscatter<'py>(
        &self,
        py: Python<'py>,
        sendbuf: &Bound<'py, PyAny>,
        recvbuf: &Bound<'py, PyAny>,
        root: c_int,
    ) -> PyResult<Bound<'py, Request>> {
        let comm = self.raw();
        let (s, r) = collective::scatter::<Message>(sendbuf, recvbuf, root, self)?;
        // SAFETY: the request holds the messages, and with them the memory, until the operation is over.
        start(py, (s, r), |(s, r), request| unsafe {
            MPI_Iscatter_c(s.address, s.count, s.datatype, r.address, r.count, r.datatype, root, comm, request)
        })
    }

    /// Iscatterv(self, sendbuf: BufSpecV | None, recvbuf: BufSpec | InPlace, root: int = 0) -> Request
    ///
    /// Begin a Scatterv.
    ///
    /// As Scatter, with a count and a displacement for each rank in the root's `sendbuf`. Does not wait; leave the
    /// buffers alone until the request is complete.
    #[pyo3(signature = (sendbuf, recvbuf, root = 0))]
    fn Iscatterv<'py>(
        &self,
        py: Python<'py>,
        sendbuf: &Bound<'py, PyAny>,
        recvbuf: &Bound<'py, PyAny>,
        root: c_int,
    ) -> PyResult<Bound<'py, Request>> {
        let comm = self.raw();
        let (s, r) = collective::scatter::<Vector>(sendbuf, recvbuf, root, self)?;
        // SAFETY: the request holds the messages, and with them the memory, until the operation is over.
        start(py, (s, r), |(s, r), request| unsafe {
            MPI_Iscatterv_c(
                s.address,
                s.counts(),
                s.displacements(),
                s.datatype,
                r.address,
                r.count,
                r.datatype,
                root,
                comm,
                request,
            )
        })
    }

    /// Iallgather(self, sendbuf: BufSpec | InPlace, recvbuf: BufSpecB) -> Request
    ///
    /// Begin an Allgather.
    ///
    /// Collect everybody's buffer, in the order of the ranks, in everybody's `recvbuf`. Does not wait; leave the
    /// buffers alone until the request is complete.
    #[pyo3(signature = (sendbuf, recvbuf))]
    fn Iallgather<'py>(
        &self,
        py: Python<'py>,
        sendbuf: &Bound<'py, PyAny>,
        recvbuf: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, Request>> {
        let comm = self.raw();
        let (s, r) = collective::allgather::<Message>(sendbuf, recvbuf, self)?;
        // SAFETY: the request holds the messages, and with them the memory, until the operation is over.
        start(py, (s, r), |(s, r), request| unsafe {
            MPI_Iallgather_c(s.address, s.count, s.datatype, r.address, r.count, r.datatype, comm, request)
        })
    }

    /// Iallgatherv(self, sendbuf: BufSpec | InPlace, recvbuf: BufSpecV) -> Request
    ///
    /// Begin an Allgatherv.
    ///
    /// As Allgather, with a count and a displacement for each rank in `recvbuf`. Does not wait; leave the buffers alone
    /// until the request is complete.
    #[pyo3(signature = (sendbuf, recvbuf))]
    fn Iallgatherv<'py>(
        &self,
        py: Python<'py>,
        sendbuf: &Bound<'py, PyAny>,
        recvbuf: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, Request>> {
        let comm = self.raw();
        let (s, r) = collective::allgather::<Vector>(sendbuf, recvbuf, self)?;
        // SAFETY: the request holds the messages, and with them the memory, until the operation is over.
        start(py, (s, r), |(s, r), request| unsafe {
            MPI_Iallgatherv_c(
                s.address,
                s.count,
                s.datatype,
                r.address,
                r.counts(),
                r.displacements(),
                r.datatype,
                comm,
                request,
            )
        })
    }

    /// Ialltoall(self, sendbuf: BufSpecB | InPlace, recvbuf: BufSpecB) -> Request
    ///
    /// Begin an Alltoall.
    ///
    /// Give everybody its part of `sendbuf`, and receive everybody's part for this rank in `recvbuf`. Does not wait;
    /// leave the buffers alone until the request is complete.
    #[pyo3(signature = (sendbuf, recvbuf))]
    fn Ialltoall<'py>(
        &self,
        py: Python<'py>,
        sendbuf: &Bound<'py, PyAny>,
        recvbuf: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, Request>> {
        let comm = self.raw();
        let (s, r) = collective::alltoall::<Message>(sendbuf, recvbuf, self)?;
        // SAFETY: the request holds the messages, and with them the memory, until the operation is over.
        start(py, (s, r), |(s, r), request| unsafe {
            MPI_Ialltoall_c(s.address, s.count, s.datatype, r.address, r.count, r.datatype, comm, request)
        })
    }

    /// Ialltoallv(self, sendbuf: BufSpecV | InPlace, recvbuf: BufSpecV) -> Request
    ///
    /// Begin an Alltoallv.
    ///
    /// As Alltoall, with a count and a displacement for each rank on both sides. Does not wait; leave the buffers alone
    /// until the request is complete.
    #[pyo3(signature = (sendbuf, recvbuf))]
    fn Ialltoallv<'py>(
        &self,
        py: Python<'py>,
        sendbuf: &Bound<'py, PyAny>,
        recvbuf: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, Request>> {
        let comm = self.raw();
        let (s, r) = collective::alltoall::<Vector>(sendbuf, recvbuf, self)?;
        // SAFETY: the request holds the messages, and with them the memory, until the operation is over.
        start(py, (s, r), |(s, r), request| unsafe {
            MPI_Ialltoallv_c(
                s.address,
                s.counts(),
                s.displacements(),
                s.datatype,
                r.address,
                r.counts(),
                r.displacements(),
                r.datatype,
                comm,
                request,
            )
        })
    }

    /// Ialltoallw(self, sendbuf: BufSpecW | InPlace, recvbuf: BufSpecW) -> Request
    ///
    /// Begin an Alltoallw.
    ///
    /// As Alltoall, with a count, a displacement in bytes and a datatype for each rank on both sides. Does not wait;
    /// leave the buffers alone until the request is complete.
    #[pyo3(signature = (sendbuf, recvbuf))]
    fn Ialltoallw<'py>(
        &self,
        py: Python<'py>,
        sendbuf: &Bound<'py, PyAny>,
        recvbuf: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, Request>> {
        let comm = self.raw();
        let (s, r) = collective::alltoall::<VectorW>(sendbuf, recvbuf, self)?;
        // SAFETY: the request holds the messages, and with them the memory, until the operation is over.
        start(py, (s, r), |(s, r), request| unsafe {
            MPI_Ialltoallw_c(
                s.address,
                s.counts(),
                s.displacements(),
                s.datatypes(),
                r.address,
                r.counts(),
                r.displacements(),
                r.datatypes(),
                comm,
                request,
            )
        })
    }

    /// Ireduce(self, sendbuf: BufSpec | InPlace, recvbuf: BufSpec | None, op: Op = SUM, root: int = 0) -> Request
    ///
    /// Begin a Reduce.
    ///
    /// Combine everybody's buffer entry by entry with `op`, into the root's `recvbuf` (not looked at elsewhere). Does
    /// not wait; leave the buffers alone until the request is complete.
    #[pyo3(signature = (sendbuf, recvbuf, op = None, root = 0))]
    fn Ireduce<'py>(
        &self,
        py: Python<'py>,
        sendbuf: &Bound<'py, PyAny>,
        recvbuf: &Bound<'py, PyAny>,
        op: Option<&Bound<'py, Op>>,
        root: c_int,
    ) -> PyResult<Bound<'py, Request>> {
        let comm = self.raw();
        let op = op.map_or(MPI_SUM, |op| op.get().raw());
        let m = collective::reduce(sendbuf, recvbuf, root, self)?;
        // SAFETY: the request holds the messages, and with them the memory, until the operation is over.
        start(py, m, |m, request| unsafe {
            MPI_Ireduce_c(m.send.address, m.receive.address, m.count(), m.datatype(), op, root, comm, request)
        })
    }

    /// Iallreduce(self, sendbuf: BufSpec | InPlace, recvbuf: BufSpec, op: Op = SUM) -> Request
    ///
    /// Begin an Allreduce.
    ///
    /// Combine everybody's buffer entry by entry with `op`, into everybody's `recvbuf`. Does not wait; leave the
    /// buffers alone until the request is complete.
    #[pyo3(signature = (sendbuf, recvbuf, op = None))]
    fn Iallreduce<'py>(
        &self,
        py: Python<'py>,
        sendbuf: &Bound<'py, PyAny>,
        recvbuf: &Bound<'py, PyAny>,
        op: Option<&Bound<'py, Op>>,
    ) -> PyResult<Bound<'py, Request>> {
        let comm = self.raw();
        let op = op.map_or(MPI_SUM, |op| op.get().raw());
        let m = collective::allreduce(sendbuf, recvbuf, self)?;
        // SAFETY: the request holds the messages, and with them the memory, until the operation is over.
        start(py, m, |m, request| unsafe {
            MPI_Iallreduce_c(m.send.address, m.receive.address, m.count(), m.datatype(), op, comm, request)
        })
    }

    /// Ireduce_scatter_block(self, sendbuf: BufSpecB | InPlace, recvbuf: BufSpec | BufSpecB, op: Op = SUM) -> Request
    ///
    /// Begin a Reduce_scatter_block.
    ///
    /// Combine everybody's buffer with `op` and give each rank its block of the result; all blocks have the size of
    /// `recvbuf`. Does not wait; leave the buffers alone until the request is complete.
    #[pyo3(signature = (sendbuf, recvbuf, op = None))]
    fn Ireduce_scatter_block<'py>(
        &self,
        py: Python<'py>,
        sendbuf: &Bound<'py, PyAny>,
        recvbuf: &Bound<'py, PyAny>,
        op: Option<&Bound<'py, Op>>,
    ) -> PyResult<Bound<'py, Request>> {
        let comm = self.raw();
        let op = op.map_or(MPI_SUM, |op| op.get().raw());
        let m = collective::reduce_scatter_block(sendbuf, recvbuf, self)?;
        // SAFETY: the request holds the messages, and with them the memory, until the operation is over.
        start(py, m, |m, request| unsafe {
            MPI_Ireduce_scatter_block_c(m.send.address, m.receive.address, m.count(), m.datatype(), op, comm, request)
        })
    }

    /// Ireduce_scatter(self, sendbuf: BufSpec | InPlace, recvbuf: BufSpec, recvcounts: Sequence[int] | None = None, op: Op = SUM) -> Request
    ///
    /// Begin a Reduce_scatter.
    ///
    /// As Reduce_scatter_block, with blocks of `recvcounts` entries (left out: what each `recvbuf` holds). Does not
    /// wait; leave the buffers alone until the request is complete. Without `recvcounts` this call waits for all ranks
    /// to exchange them.
    #[pyo3(signature = (sendbuf, recvbuf, recvcounts = None, op = None))]
    fn Ireduce_scatter<'py>(
        &self,
        py: Python<'py>,
        sendbuf: &Bound<'py, PyAny>,
        recvbuf: &Bound<'py, PyAny>,
        recvcounts: Option<&Bound<'py, PyAny>>,
        op: Option<&Bound<'py, Op>>,
    ) -> PyResult<Bound<'py, Request>> {
        let comm = self.raw();
        let op = op.map_or(MPI_SUM, |op| op.get().raw());
        let m = ReduceScatter::new(sendbuf, recvbuf, recvcounts, self)?;
        // SAFETY: the request holds the messages, and with them the memory, until the operation is over.
        start(py, m, |m, request| unsafe {
            MPI_Ireduce_scatter_c(
                m.sides.send.address,
                m.sides.receive.address,
                m.counts(),
                m.sides.datatype(),
                op,
                comm,
                request,
            )
        })
    }
}

#[pymethods]
impl Intracomm {
    /// Iscan(self, sendbuf: BufSpec | InPlace, recvbuf: BufSpec, op: Op = SUM) -> Request
    ///
    /// Begin a Scan.
    ///
    /// Combine the buffers of the ranks up to and including this one with `op`, into `recvbuf`. Does not wait; leave
    /// the buffers alone until the request is complete.
    #[pyo3(signature = (sendbuf, recvbuf, op = None))]
    fn Iscan<'py>(
        slf: &Bound<'py, Self>,
        py: Python<'py>,
        sendbuf: &Bound<'py, PyAny>,
        recvbuf: &Bound<'py, PyAny>,
        op: Option<&Bound<'py, Op>>,
    ) -> PyResult<Bound<'py, Request>> {
        let this = slf.as_super().get();
        let comm = this.raw();
        let op = op.map_or(MPI_SUM, |op| op.get().raw());
        let m = collective::scan(sendbuf, recvbuf, this)?;
        // SAFETY: the request holds the messages, and with them the memory, until the operation is over.
        start(py, m, |m, request| unsafe {
            MPI_Iscan_c(m.send.address, m.receive.address, m.count(), m.datatype(), op, comm, request)
        })
    }

    /// Iexscan(self, sendbuf: BufSpec | InPlace, recvbuf: BufSpec, op: Op = SUM) -> Request
    ///
    /// Begin an Exscan.
    ///
    /// Combine the buffers of the ranks before this one with `op`, into `recvbuf` (left as it is at rank 0). Does not
    /// wait; leave the buffers alone until the request is complete.
    #[pyo3(signature = (sendbuf, recvbuf, op = None))]
    fn Iexscan<'py>(
        slf: &Bound<'py, Self>,
        py: Python<'py>,
        sendbuf: &Bound<'py, PyAny>,
        recvbuf: &Bound<'py, PyAny>,
        op: Option<&Bound<'py, Op>>,
    ) -> PyResult<Bound<'py, Request>> {
        let this = slf.as_super().get();
        let comm = this.raw();
        let op = op.map_or(MPI_SUM, |op| op.get().raw());
        let m = collective::scan(sendbuf, recvbuf, this)?;
        // SAFETY: the request holds the messages, and with them the memory, until the operation is over.
        start(py, m, |m, request| unsafe {
            MPI_Iexscan_c(m.send.address, m.receive.address, m.count(), m.datatype(), op, comm, request)
        })
    }
}
