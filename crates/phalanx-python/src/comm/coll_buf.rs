//! Blocking collective communication of buffers (MPI 5.0 chapter 6).

use pyo3::prelude::*;

use super::{Comm, Intracomm};
use crate::ffi::*;
use crate::gil;
use crate::handle::Handle as _;
use crate::op::Op;
use crate::spec::collective::{self, ReduceScatter};
use crate::spec::{Message, Vector, VectorW};

#[pymethods]
impl Comm {
    /// Barrier(self) -> None
    ///
    /// Wait until every rank of the communicator has called this.
    fn Barrier(&self, py: Python<'_>) -> PyResult<()> {
        let comm = self.raw();
        // SAFETY: passes a handle, which MPI checks.
        gil::blocking(py, || unsafe { MPI_Barrier(comm) })
    }

    /// Bcast(self, buf: BufSpec, root: int = 0) -> None
    ///
    /// Copy the root's buffer into everybody else's.
    ///
    /// Waits until this rank's part is done. Raises Exception for a wrong root or argument, ValueError, TypeError or
    /// BufferError for a buffer that does not fit.
    #[pyo3(signature = (buf, root = 0))]
    fn Bcast<'py>(&self, py: Python<'py>, buf: &Bound<'py, PyAny>, root: c_int) -> PyResult<()> {
        let comm = self.raw();
        let m = collective::bcast(buf, root, self)?;
        // SAFETY: the messages keep their memory until after the call.
        gil::blocking(py, || unsafe { MPI_Bcast_c(m.address, m.count, m.datatype, root, comm) })
    }

    /// Gather(self, sendbuf: BufSpec | InPlace, recvbuf: BufSpecB | None, root: int = 0) -> None
    ///
    /// Collect everybody's buffer, in the order of the ranks, in the root's `recvbuf` (not looked at elsewhere).
    ///
    /// Waits until this rank's part is done. Raises Exception for a wrong root or argument, ValueError, TypeError or
    /// BufferError for a buffer that does not fit.
    #[pyo3(signature = (sendbuf, recvbuf, root = 0))]
    fn Gather<'py>(
        &self,
        py: Python<'py>,
        sendbuf: &Bound<'py, PyAny>,
        recvbuf: &Bound<'py, PyAny>,
        root: c_int,
    ) -> PyResult<()> {
        let comm = self.raw();
        let (s, r) = collective::gather::<Message>(sendbuf, recvbuf, root, self)?;
        // SAFETY: the messages keep their memory until after the call.
        gil::blocking(py, || unsafe {
            MPI_Gather_c(s.address, s.count, s.datatype, r.address, r.count, r.datatype, root, comm)
        })
    }

    /// Gatherv(self, sendbuf: BufSpec | InPlace, recvbuf: BufSpecV | None, root: int = 0) -> None
    ///
    /// As Gather, with a count and a displacement for each rank in the root's `recvbuf`.
    ///
    /// Waits until this rank's part is done. Raises Exception for a wrong root or argument, ValueError, TypeError or
    /// BufferError for a buffer that does not fit.
    #[pyo3(signature = (sendbuf, recvbuf, root = 0))]
    fn Gatherv<'py>(
        &self,
        py: Python<'py>,
        sendbuf: &Bound<'py, PyAny>,
        recvbuf: &Bound<'py, PyAny>,
        root: c_int,
    ) -> PyResult<()> {
        let comm = self.raw();
        let (s, r) = collective::gather::<Vector>(sendbuf, recvbuf, root, self)?;
        // SAFETY: the messages keep their memory until after the call.
        gil::blocking(py, || unsafe {
            MPI_Gatherv_c(
                s.address,
                s.count,
                s.datatype,
                r.address,
                r.counts(),
                r.displacements(),
                r.datatype,
                root,
                comm,
            )
        })
    }

    /// Scatter(self, sendbuf: BufSpecB | None, recvbuf: BufSpec | InPlace, root: int = 0) -> None
    ///
    /// Give everybody its part of the root's `sendbuf` (not looked at elsewhere).
    ///
    /// Waits until this rank's part is done. Raises Exception for a wrong root or argument, ValueError, TypeError or
    /// BufferError for a buffer that does not fit.
    #[pyo3(signature = (sendbuf, recvbuf, root = 0))]
    fn Scatter<'py>(
        &self,
        py: Python<'py>,
        sendbuf: &Bound<'py, PyAny>,
        recvbuf: &Bound<'py, PyAny>,
        root: c_int,
    ) -> PyResult<()> {
        let comm = self.raw();
        let (s, r) = collective::scatter::<Message>(sendbuf, recvbuf, root, self)?;
        // SAFETY: the messages keep their memory until after the call.
        gil::blocking(py, || unsafe {
            MPI_Scatter_c(s.address, s.count, s.datatype, r.address, r.count, r.datatype, root, comm)
        })
    }

    /// Scatterv(self, sendbuf: BufSpecV | None, recvbuf: BufSpec | InPlace, root: int = 0) -> None
    ///
    /// As Scatter, with a count and a displacement for each rank in the root's `sendbuf`.
    ///
    /// Waits until this rank's part is done. Raises Exception for a wrong root or argument, ValueError, TypeError or
    /// BufferError for a buffer that does not fit.
    #[pyo3(signature = (sendbuf, recvbuf, root = 0))]
    fn Scatterv<'py>(
        &self,
        py: Python<'py>,
        sendbuf: &Bound<'py, PyAny>,
        recvbuf: &Bound<'py, PyAny>,
        root: c_int,
    ) -> PyResult<()> {
        let comm = self.raw();
        let (s, r) = collective::scatter::<Vector>(sendbuf, recvbuf, root, self)?;
        // SAFETY: the messages keep their memory until after the call.
        gil::blocking(py, || unsafe {
            MPI_Scatterv_c(
                s.address,
                s.counts(),
                s.displacements(),
                s.datatype,
                r.address,
                r.count,
                r.datatype,
                root,
                comm,
            )
        })
    }

    /// Allgather(self, sendbuf: BufSpec | InPlace, recvbuf: BufSpecB) -> None
    ///
    /// Collect everybody's buffer, in the order of the ranks, in everybody's `recvbuf`.
    ///
    /// Waits until this rank's part is done. Raises Exception for a wrong argument, ValueError, TypeError or
    /// BufferError for a buffer that does not fit.
    #[pyo3(signature = (sendbuf, recvbuf))]
    fn Allgather<'py>(
        &self,
        py: Python<'py>,
        sendbuf: &Bound<'py, PyAny>,
        recvbuf: &Bound<'py, PyAny>,
    ) -> PyResult<()> {
        let comm = self.raw();
        let (s, r) = collective::allgather::<Message>(sendbuf, recvbuf, self)?;
        // SAFETY: the messages keep their memory until after the call.
        gil::blocking(py, || unsafe {
            MPI_Allgather_c(s.address, s.count, s.datatype, r.address, r.count, r.datatype, comm)
        })
    }

    /// Allgatherv(self, sendbuf: BufSpec | InPlace, recvbuf: BufSpecV) -> None
    ///
    /// As Allgather, with a count and a displacement for each rank in `recvbuf`.
    ///
    /// Waits until this rank's part is done. Raises Exception for a wrong argument, ValueError, TypeError or
    /// BufferError for a buffer that does not fit.
    #[pyo3(signature = (sendbuf, recvbuf))]
    fn Allgatherv<'py>(
        &self,
        py: Python<'py>,
        sendbuf: &Bound<'py, PyAny>,
        recvbuf: &Bound<'py, PyAny>,
    ) -> PyResult<()> {
        let comm = self.raw();
        let (s, r) = collective::allgather::<Vector>(sendbuf, recvbuf, self)?;
        // SAFETY: the messages keep their memory until after the call.
        gil::blocking(py, || unsafe {
            MPI_Allgatherv_c(s.address, s.count, s.datatype, r.address, r.counts(), r.displacements(), r.datatype, comm)
        })
    }

    /// Alltoall(self, sendbuf: BufSpecB | InPlace, recvbuf: BufSpecB) -> None
    ///
    /// Give everybody its part of `sendbuf`, and receive everybody's part for this rank in `recvbuf`.
    ///
    /// Waits until this rank's part is done. Raises Exception for a wrong argument, ValueError, TypeError or
    /// BufferError for a buffer that does not fit.
    #[pyo3(signature = (sendbuf, recvbuf))]
    fn Alltoall<'py>(&self, py: Python<'py>, sendbuf: &Bound<'py, PyAny>, recvbuf: &Bound<'py, PyAny>) -> PyResult<()> {
        let comm = self.raw();
        let (s, r) = collective::alltoall::<Message>(sendbuf, recvbuf, self)?;
        // SAFETY: the messages keep their memory until after the call.
        gil::blocking(py, || unsafe {
            MPI_Alltoall_c(s.address, s.count, s.datatype, r.address, r.count, r.datatype, comm)
        })
    }

    /// Alltoallv(self, sendbuf: BufSpecV | InPlace, recvbuf: BufSpecV) -> None
    ///
    /// As Alltoall, with a count and a displacement for each rank on both sides.
    ///
    /// Waits until this rank's part is done. Raises Exception for a wrong argument, ValueError, TypeError or
    /// BufferError for a buffer that does not fit.
    #[pyo3(signature = (sendbuf, recvbuf))]
    fn Alltoallv<'py>(
        &self,
        py: Python<'py>,
        sendbuf: &Bound<'py, PyAny>,
        recvbuf: &Bound<'py, PyAny>,
    ) -> PyResult<()> {
        let comm = self.raw();
        let (s, r) = collective::alltoall::<Vector>(sendbuf, recvbuf, self)?;
        // SAFETY: the messages keep their memory until after the call.
        gil::blocking(py, || unsafe {
            MPI_Alltoallv_c(
                s.address,
                s.counts(),
                s.displacements(),
                s.datatype,
                r.address,
                r.counts(),
                r.displacements(),
                r.datatype,
                comm,
            )
        })
    }

    /// Alltoallw(self, sendbuf: BufSpecW | InPlace, recvbuf: BufSpecW) -> None
    ///
    /// As Alltoall, with a count, a displacement in bytes and a datatype for each rank on both sides.
    ///
    /// Waits until this rank's part is done. Raises Exception for a wrong argument, ValueError, TypeError or
    /// BufferError for a buffer that does not fit.
    #[pyo3(signature = (sendbuf, recvbuf))]
    fn Alltoallw<'py>(
        &self,
        py: Python<'py>,
        sendbuf: &Bound<'py, PyAny>,
        recvbuf: &Bound<'py, PyAny>,
    ) -> PyResult<()> {
        let comm = self.raw();
        let (s, r) = collective::alltoall::<VectorW>(sendbuf, recvbuf, self)?;
        // SAFETY: the messages keep their memory until after the call.
        gil::blocking(py, || unsafe {
            MPI_Alltoallw_c(
                s.address,
                s.counts(),
                s.displacements(),
                s.datatypes(),
                r.address,
                r.counts(),
                r.displacements(),
                r.datatypes(),
                comm,
            )
        })
    }

    /// Reduce(self, sendbuf: BufSpec | InPlace, recvbuf: BufSpec | None, op: Op = SUM, root: int = 0) -> None
    ///
    /// Combine everybody's buffer entry by entry with `op`, into the root's `recvbuf` (not looked at elsewhere).
    ///
    /// Waits until this rank's part is done. Raises Exception for a wrong root or argument, ValueError, TypeError or
    /// BufferError for a buffer that does not fit.
    #[pyo3(signature = (sendbuf, recvbuf, op = None, root = 0))]
    fn Reduce<'py>(
        &self,
        py: Python<'py>,
        sendbuf: &Bound<'py, PyAny>,
        recvbuf: &Bound<'py, PyAny>,
        op: Option<&Bound<'py, Op>>,
        root: c_int,
    ) -> PyResult<()> {
        let comm = self.raw();
        let op = op.map_or(MPI_SUM, |op| op.get().raw());
        let m = collective::reduce(sendbuf, recvbuf, root, self)?;
        // SAFETY: the messages keep their memory until after the call.
        gil::blocking(py, || unsafe {
            MPI_Reduce_c(m.send.address, m.receive.address, m.count(), m.datatype(), op, root, comm)
        })
    }

    /// Allreduce(self, sendbuf: BufSpec | InPlace, recvbuf: BufSpec, op: Op = SUM) -> None
    ///
    /// Combine everybody's buffer entry by entry with `op`, into everybody's `recvbuf`.
    ///
    /// Waits until this rank's part is done. Raises Exception for a wrong argument, ValueError, TypeError or
    /// BufferError for a buffer that does not fit.
    #[pyo3(signature = (sendbuf, recvbuf, op = None))]
    fn Allreduce<'py>(
        &self,
        py: Python<'py>,
        sendbuf: &Bound<'py, PyAny>,
        recvbuf: &Bound<'py, PyAny>,
        op: Option<&Bound<'py, Op>>,
    ) -> PyResult<()> {
        let comm = self.raw();
        let op = op.map_or(MPI_SUM, |op| op.get().raw());
        let m = collective::allreduce(sendbuf, recvbuf, self)?;
        // SAFETY: the messages keep their memory until after the call.
        gil::blocking(py, || unsafe {
            MPI_Allreduce_c(m.send.address, m.receive.address, m.count(), m.datatype(), op, comm)
        })
    }

    /// Reduce_scatter_block(self, sendbuf: BufSpecB | InPlace, recvbuf: BufSpec | BufSpecB, op: Op = SUM) -> None
    ///
    /// Combine everybody's buffer with `op` and give each rank its block of the result; all blocks have the size of `recvbuf`.
    ///
    /// Waits until this rank's part is done. Raises Exception for a wrong argument, ValueError, TypeError or
    /// BufferError for a buffer that does not fit.
    #[pyo3(signature = (sendbuf, recvbuf, op = None))]
    fn Reduce_scatter_block<'py>(
        &self,
        py: Python<'py>,
        sendbuf: &Bound<'py, PyAny>,
        recvbuf: &Bound<'py, PyAny>,
        op: Option<&Bound<'py, Op>>,
    ) -> PyResult<()> {
        let comm = self.raw();
        let op = op.map_or(MPI_SUM, |op| op.get().raw());
        let m = collective::reduce_scatter_block(sendbuf, recvbuf, self)?;
        // SAFETY: the messages keep their memory until after the call.
        gil::blocking(py, || unsafe {
            MPI_Reduce_scatter_block_c(m.send.address, m.receive.address, m.count(), m.datatype(), op, comm)
        })
    }

    /// Reduce_scatter(self, sendbuf: BufSpec | InPlace, recvbuf: BufSpec, recvcounts: Sequence[int] | None = None, op: Op = SUM) -> None
    ///
    /// As Reduce_scatter_block, with blocks of `recvcounts` entries (left out: what each `recvbuf` holds).
    ///
    /// Waits until this rank's part is done. Raises Exception for a wrong argument, ValueError, TypeError or
    /// BufferError for a buffer that does not fit.
    #[pyo3(signature = (sendbuf, recvbuf, recvcounts = None, op = None))]
    fn Reduce_scatter<'py>(
        &self,
        py: Python<'py>,
        sendbuf: &Bound<'py, PyAny>,
        recvbuf: &Bound<'py, PyAny>,
        recvcounts: Option<&Bound<'py, PyAny>>,
        op: Option<&Bound<'py, Op>>,
    ) -> PyResult<()> {
        let comm = self.raw();
        let op = op.map_or(MPI_SUM, |op| op.get().raw());
        let m = ReduceScatter::new(sendbuf, recvbuf, recvcounts, self)?;
        // SAFETY: the messages keep their memory until after the call.
        gil::blocking(py, || unsafe {
            MPI_Reduce_scatter_c(
                m.sides.send.address,
                m.sides.receive.address,
                m.counts(),
                m.sides.datatype(),
                op,
                comm,
            )
        })
    }
}

#[pymethods]
impl Intracomm {
    /// Scan(self, sendbuf: BufSpec | InPlace, recvbuf: BufSpec, op: Op = SUM) -> None
    ///
    /// Combine the buffers of the ranks up to and including this one with `op`, into `recvbuf`.
    ///
    /// Waits until this rank's part is done. Raises Exception for a wrong argument, ValueError, TypeError or
    /// BufferError for a buffer that does not fit.
    #[pyo3(signature = (sendbuf, recvbuf, op = None))]
    fn Scan<'py>(
        slf: &Bound<'py, Self>,
        py: Python<'py>,
        sendbuf: &Bound<'py, PyAny>,
        recvbuf: &Bound<'py, PyAny>,
        op: Option<&Bound<'py, Op>>,
    ) -> PyResult<()> {
        let this = slf.as_super().get();
        let comm = this.raw();
        let op = op.map_or(MPI_SUM, |op| op.get().raw());
        let m = collective::scan(sendbuf, recvbuf, this)?;
        // SAFETY: the messages keep their memory until after the call.
        gil::blocking(py, || unsafe {
            MPI_Scan_c(m.send.address, m.receive.address, m.count(), m.datatype(), op, comm)
        })
    }

    /// Exscan(self, sendbuf: BufSpec | InPlace, recvbuf: BufSpec, op: Op = SUM) -> None
    ///
    /// Combine the buffers of the ranks before this one with `op`, into `recvbuf` (left as it is at rank 0).
    ///
    /// Waits until this rank's part is done. Raises Exception for a wrong argument, ValueError, TypeError or
    /// BufferError for a buffer that does not fit.
    #[pyo3(signature = (sendbuf, recvbuf, op = None))]
    fn Exscan<'py>(
        slf: &Bound<'py, Self>,
        py: Python<'py>,
        sendbuf: &Bound<'py, PyAny>,
        recvbuf: &Bound<'py, PyAny>,
        op: Option<&Bound<'py, Op>>,
    ) -> PyResult<()> {
        let this = slf.as_super().get();
        let comm = this.raw();
        let op = op.map_or(MPI_SUM, |op| op.get().raw());
        let m = collective::scan(sendbuf, recvbuf, this)?;
        // SAFETY: the messages keep their memory until after the call.
        gil::blocking(py, || unsafe {
            MPI_Exscan_c(m.send.address, m.receive.address, m.count(), m.datatype(), op, comm)
        })
    }
}
