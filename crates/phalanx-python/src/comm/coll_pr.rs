//! Persistent collective communication of buffers (MPI 5.0 section 6.13).

use pyo3::prelude::*;

use super::pending::prepare;
use super::{Comm, Intracomm};
use crate::ffi::*;
use crate::handle::{self, Handle as _};
use crate::info::Info;
use crate::op::Op;
use crate::prequest::Prequest;
use crate::spec::collective::{self, ReduceScatter};
use crate::spec::{Message, Vector, VectorW};

#[pymethods]
impl Comm {
    /// Barrier_init(self, info: Info = INFO_NULL) -> Prequest
    ///
    /// Prepare a Barrier, to be started any number of times.
    ///
    /// Waits for all ranks.
    #[pyo3(signature = (info = None))]
    fn Barrier_init<'py>(&self, py: Python<'py>, info: Option<&Bound<'py, Info>>) -> PyResult<Bound<'py, Prequest>> {
        let (comm, info) = (self.raw(), handle::raw_or_null(info));
        // SAFETY: `request` is valid for the write; MPI checks the handles.
        prepare(py, (), |(), request| unsafe { MPI_Barrier_init(comm, info, request) })
    }

    /// Bcast_init(self, buf: BufSpec, root: int = 0, info: Info = INFO_NULL) -> Prequest
    ///
    /// Prepare a Bcast, to be started any number of times.
    ///
    /// Copy the root's buffer into everybody else's. Waits for all ranks; the buffers belong to the request until it is
    /// freed.
    #[pyo3(signature = (buf, root = 0, info = None))]
    fn Bcast_init<'py>(
        &self,
        py: Python<'py>,
        buf: &Bound<'py, PyAny>,
        root: c_int,
        info: Option<&Bound<'py, Info>>,
    ) -> PyResult<Bound<'py, Prequest>> {
        let comm = self.raw();
        let info = handle::raw_or_null(info);
        let m = collective::bcast(buf, root, self)?;
        // SAFETY: the request holds the messages, and with them the memory, until it is freed.
        prepare(py, m, |m, request| unsafe {
            MPI_Bcast_init_c(m.address, m.count, m.datatype, root, comm, info, request)
        })
    }

    /// Gather_init(self, sendbuf: BufSpec | InPlace, recvbuf: BufSpecB | None, root: int = 0, info: Info = INFO_NULL) -> Prequest
    ///
    /// Prepare a Gather, to be started any number of times.
    ///
    /// Collect everybody's buffer, in the order of the ranks, in the root's `recvbuf` (not looked at elsewhere). Waits
    /// for all ranks; the buffers belong to the request until it is freed.
    #[pyo3(signature = (sendbuf, recvbuf, root = 0, info = None))]
    fn Gather_init<'py>(
        &self,
        py: Python<'py>,
        sendbuf: &Bound<'py, PyAny>,
        recvbuf: &Bound<'py, PyAny>,
        root: c_int,
        info: Option<&Bound<'py, Info>>,
    ) -> PyResult<Bound<'py, Prequest>> {
        let comm = self.raw();
        let info = handle::raw_or_null(info);
        let (s, r) = collective::gather::<Message>(sendbuf, recvbuf, root, self)?;
        // SAFETY: the request holds the messages, and with them the memory, until it is freed.
        prepare(py, (s, r), |(s, r), request| unsafe {
            MPI_Gather_init_c(s.address, s.count, s.datatype, r.address, r.count, r.datatype, root, comm, info, request)
        })
    }

    /// Gatherv_init(self, sendbuf: BufSpec | InPlace, recvbuf: BufSpecV | None, root: int = 0, info: Info = INFO_NULL) -> Prequest
    ///
    /// Prepare a Gatherv, to be started any number of times.
    ///
    /// As Gather, with a count and a displacement for each rank in the root's `recvbuf`. Waits for all ranks; the
    /// buffers belong to the request until it is freed.
    #[pyo3(signature = (sendbuf, recvbuf, root = 0, info = None))]
    fn Gatherv_init<'py>(
        &self,
        py: Python<'py>,
        sendbuf: &Bound<'py, PyAny>,
        recvbuf: &Bound<'py, PyAny>,
        root: c_int,
        info: Option<&Bound<'py, Info>>,
    ) -> PyResult<Bound<'py, Prequest>> {
        let comm = self.raw();
        let info = handle::raw_or_null(info);
        let (s, r) = collective::gather::<Vector>(sendbuf, recvbuf, root, self)?;
        // SAFETY: the request holds the messages, and with them the memory, until it is freed.
        prepare(py, (s, r), |(s, r), request| unsafe {
            MPI_Gatherv_init_c(
                s.address,
                s.count,
                s.datatype,
                r.address,
                r.counts(),
                r.displacements(),
                r.datatype,
                root,
                comm,
                info,
                request,
            )
        })
    }

    /// Scatter_init(self, sendbuf: BufSpecB | None, recvbuf: BufSpec | InPlace, root: int = 0, info: Info = INFO_NULL) -> Prequest
    ///
    /// Prepare a Scatter, to be started any number of times.
    ///
    /// Give everybody its part of the root's `sendbuf` (not looked at elsewhere). Waits for all ranks; the buffers
    /// belong to the request until it is freed.
    #[pyo3(signature = (sendbuf, recvbuf, root = 0, info = None))]
    fn Scatter_init<'py>(
        &self,
        py: Python<'py>,
        sendbuf: &Bound<'py, PyAny>,
        recvbuf: &Bound<'py, PyAny>,
        root: c_int,
        info: Option<&Bound<'py, Info>>,
    ) -> PyResult<Bound<'py, Prequest>> {
        let comm = self.raw();
        let info = handle::raw_or_null(info);
        let (s, r) = collective::scatter::<Message>(sendbuf, recvbuf, root, self)?;
        // SAFETY: the request holds the messages, and with them the memory, until it is freed.
        prepare(py, (s, r), |(s, r), request| unsafe {
            MPI_Scatter_init_c(
                s.address, s.count, s.datatype, r.address, r.count, r.datatype, root, comm, info, request,
            )
        })
    }

    /// Scatterv_init(self, sendbuf: BufSpecV | None, recvbuf: BufSpec | InPlace, root: int = 0, info: Info = INFO_NULL) -> Prequest
    ///
    /// Prepare a Scatterv, to be started any number of times.
    ///
    /// As Scatter, with a count and a displacement for each rank in the root's `sendbuf`. Waits for all ranks; the
    /// buffers belong to the request until it is freed.
    #[pyo3(signature = (sendbuf, recvbuf, root = 0, info = None))]
    fn Scatterv_init<'py>(
        &self,
        py: Python<'py>,
        sendbuf: &Bound<'py, PyAny>,
        recvbuf: &Bound<'py, PyAny>,
        root: c_int,
        info: Option<&Bound<'py, Info>>,
    ) -> PyResult<Bound<'py, Prequest>> {
        let comm = self.raw();
        let info = handle::raw_or_null(info);
        let (s, r) = collective::scatter::<Vector>(sendbuf, recvbuf, root, self)?;
        // SAFETY: the request holds the messages, and with them the memory, until it is freed.
        prepare(py, (s, r), |(s, r), request| unsafe {
            MPI_Scatterv_init_c(
                s.address,
                s.counts(),
                s.displacements(),
                s.datatype,
                r.address,
                r.count,
                r.datatype,
                root,
                comm,
                info,
                request,
            )
        })
    }

    /// Allgather_init(self, sendbuf: BufSpec | InPlace, recvbuf: BufSpecB, info: Info = INFO_NULL) -> Prequest
    ///
    /// Prepare an Allgather, to be started any number of times.
    ///
    /// Collect everybody's buffer, in the order of the ranks, in everybody's `recvbuf`. Waits for all ranks; the
    /// buffers belong to the request until it is freed.
    #[pyo3(signature = (sendbuf, recvbuf, info = None))]
    fn Allgather_init<'py>(
        &self,
        py: Python<'py>,
        sendbuf: &Bound<'py, PyAny>,
        recvbuf: &Bound<'py, PyAny>,
        info: Option<&Bound<'py, Info>>,
    ) -> PyResult<Bound<'py, Prequest>> {
        let comm = self.raw();
        let info = handle::raw_or_null(info);
        let (s, r) = collective::allgather::<Message>(sendbuf, recvbuf, self)?;
        // SAFETY: the request holds the messages, and with them the memory, until it is freed.
        prepare(py, (s, r), |(s, r), request| unsafe {
            MPI_Allgather_init_c(s.address, s.count, s.datatype, r.address, r.count, r.datatype, comm, info, request)
        })
    }

    /// Allgatherv_init(self, sendbuf: BufSpec | InPlace, recvbuf: BufSpecV, info: Info = INFO_NULL) -> Prequest
    ///
    /// Prepare an Allgatherv, to be started any number of times.
    ///
    /// As Allgather, with a count and a displacement for each rank in `recvbuf`. Waits for all ranks; the buffers
    /// belong to the request until it is freed.
    #[pyo3(signature = (sendbuf, recvbuf, info = None))]
    fn Allgatherv_init<'py>(
        &self,
        py: Python<'py>,
        sendbuf: &Bound<'py, PyAny>,
        recvbuf: &Bound<'py, PyAny>,
        info: Option<&Bound<'py, Info>>,
    ) -> PyResult<Bound<'py, Prequest>> {
        let comm = self.raw();
        let info = handle::raw_or_null(info);
        let (s, r) = collective::allgather::<Vector>(sendbuf, recvbuf, self)?;
        // SAFETY: the request holds the messages, and with them the memory, until it is freed.
        prepare(py, (s, r), |(s, r), request| unsafe {
            MPI_Allgatherv_init_c(
                s.address,
                s.count,
                s.datatype,
                r.address,
                r.counts(),
                r.displacements(),
                r.datatype,
                comm,
                info,
                request,
            )
        })
    }

    /// Alltoall_init(self, sendbuf: BufSpecB | InPlace, recvbuf: BufSpecB, info: Info = INFO_NULL) -> Prequest
    ///
    /// Prepare an Alltoall, to be started any number of times.
    ///
    /// Give everybody its part of `sendbuf`, and receive everybody's part for this rank in `recvbuf`. Waits for all
    /// ranks; the buffers belong to the request until it is freed.
    #[pyo3(signature = (sendbuf, recvbuf, info = None))]
    fn Alltoall_init<'py>(
        &self,
        py: Python<'py>,
        sendbuf: &Bound<'py, PyAny>,
        recvbuf: &Bound<'py, PyAny>,
        info: Option<&Bound<'py, Info>>,
    ) -> PyResult<Bound<'py, Prequest>> {
        let comm = self.raw();
        let info = handle::raw_or_null(info);
        let (s, r) = collective::alltoall::<Message>(sendbuf, recvbuf, self)?;
        // SAFETY: the request holds the messages, and with them the memory, until it is freed.
        prepare(py, (s, r), |(s, r), request| unsafe {
            MPI_Alltoall_init_c(s.address, s.count, s.datatype, r.address, r.count, r.datatype, comm, info, request)
        })
    }

    /// Alltoallv_init(self, sendbuf: BufSpecV | InPlace, recvbuf: BufSpecV, info: Info = INFO_NULL) -> Prequest
    ///
    /// Prepare an Alltoallv, to be started any number of times.
    ///
    /// As Alltoall, with a count and a displacement for each rank on both sides. Waits for all ranks; the buffers
    /// belong to the request until it is freed.
    #[pyo3(signature = (sendbuf, recvbuf, info = None))]
    fn Alltoallv_init<'py>(
        &self,
        py: Python<'py>,
        sendbuf: &Bound<'py, PyAny>,
        recvbuf: &Bound<'py, PyAny>,
        info: Option<&Bound<'py, Info>>,
    ) -> PyResult<Bound<'py, Prequest>> {
        let comm = self.raw();
        let info = handle::raw_or_null(info);
        let (s, r) = collective::alltoall::<Vector>(sendbuf, recvbuf, self)?;
        // SAFETY: the request holds the messages, and with them the memory, until it is freed.
        prepare(py, (s, r), |(s, r), request| unsafe {
            MPI_Alltoallv_init_c(
                s.address,
                s.counts(),
                s.displacements(),
                s.datatype,
                r.address,
                r.counts(),
                r.displacements(),
                r.datatype,
                comm,
                info,
                request,
            )
        })
    }

    /// Alltoallw_init(self, sendbuf: BufSpecW | InPlace, recvbuf: BufSpecW, info: Info = INFO_NULL) -> Prequest
    ///
    /// Prepare an Alltoallw, to be started any number of times.
    ///
    /// As Alltoall, with a count, a displacement in bytes and a datatype for each rank on both sides. Waits for all
    /// ranks; the buffers belong to the request until it is freed.
    #[pyo3(signature = (sendbuf, recvbuf, info = None))]
    fn Alltoallw_init<'py>(
        &self,
        py: Python<'py>,
        sendbuf: &Bound<'py, PyAny>,
        recvbuf: &Bound<'py, PyAny>,
        info: Option<&Bound<'py, Info>>,
    ) -> PyResult<Bound<'py, Prequest>> {
        let comm = self.raw();
        let info = handle::raw_or_null(info);
        let (s, r) = collective::alltoall::<VectorW>(sendbuf, recvbuf, self)?;
        // SAFETY: the request holds the messages, and with them the memory, until it is freed.
        prepare(py, (s, r), |(s, r), request| unsafe {
            MPI_Alltoallw_init_c(
                s.address,
                s.counts(),
                s.displacements(),
                s.datatypes(),
                r.address,
                r.counts(),
                r.displacements(),
                r.datatypes(),
                comm,
                info,
                request,
            )
        })
    }

    /// Reduce_init(self, sendbuf: BufSpec | InPlace, recvbuf: BufSpec | None, op: Op = SUM, root: int = 0, info: Info = INFO_NULL) -> Prequest
    ///
    /// Prepare a Reduce, to be started any number of times.
    ///
    /// Combine everybody's buffer entry by entry with `op`, into the root's `recvbuf` (not looked at elsewhere). Waits
    /// for all ranks; the buffers belong to the request until it is freed.
    #[pyo3(signature = (sendbuf, recvbuf, op = None, root = 0, info = None))]
    fn Reduce_init<'py>(
        &self,
        py: Python<'py>,
        sendbuf: &Bound<'py, PyAny>,
        recvbuf: &Bound<'py, PyAny>,
        op: Option<&Bound<'py, Op>>,
        root: c_int,
        info: Option<&Bound<'py, Info>>,
    ) -> PyResult<Bound<'py, Prequest>> {
        let comm = self.raw();
        let op = op.map_or(MPI_SUM, |op| op.get().raw());
        let info = handle::raw_or_null(info);
        let m = collective::reduce(sendbuf, recvbuf, root, self)?;
        // SAFETY: the request holds the messages, and with them the memory, until it is freed.
        prepare(py, m, |m, request| unsafe {
            MPI_Reduce_init_c(m.send.address, m.receive.address, m.count(), m.datatype(), op, root, comm, info, request)
        })
    }

    /// Allreduce_init(self, sendbuf: BufSpec | InPlace, recvbuf: BufSpec, op: Op = SUM, info: Info = INFO_NULL) -> Prequest
    ///
    /// Prepare an Allreduce, to be started any number of times.
    ///
    /// Combine everybody's buffer entry by entry with `op`, into everybody's `recvbuf`. Waits for all ranks; the
    /// buffers belong to the request until it is freed.
    #[pyo3(signature = (sendbuf, recvbuf, op = None, info = None))]
    fn Allreduce_init<'py>(
        &self,
        py: Python<'py>,
        sendbuf: &Bound<'py, PyAny>,
        recvbuf: &Bound<'py, PyAny>,
        op: Option<&Bound<'py, Op>>,
        info: Option<&Bound<'py, Info>>,
    ) -> PyResult<Bound<'py, Prequest>> {
        let comm = self.raw();
        let op = op.map_or(MPI_SUM, |op| op.get().raw());
        let info = handle::raw_or_null(info);
        let m = collective::allreduce(sendbuf, recvbuf, self)?;
        // SAFETY: the request holds the messages, and with them the memory, until it is freed.
        prepare(py, m, |m, request| unsafe {
            MPI_Allreduce_init_c(m.send.address, m.receive.address, m.count(), m.datatype(), op, comm, info, request)
        })
    }

    /// Reduce_scatter_block_init(self, sendbuf: BufSpecB | InPlace, recvbuf: BufSpec | BufSpecB, op: Op = SUM, info: Info = INFO_NULL) -> Prequest
    ///
    /// Prepare a Reduce_scatter_block, to be started any number of times.
    ///
    /// Combine everybody's buffer with `op` and give each rank its block of the result; all blocks have the size of
    /// `recvbuf`. Waits for all ranks; the buffers belong to the request until it is freed.
    #[pyo3(signature = (sendbuf, recvbuf, op = None, info = None))]
    fn Reduce_scatter_block_init<'py>(
        &self,
        py: Python<'py>,
        sendbuf: &Bound<'py, PyAny>,
        recvbuf: &Bound<'py, PyAny>,
        op: Option<&Bound<'py, Op>>,
        info: Option<&Bound<'py, Info>>,
    ) -> PyResult<Bound<'py, Prequest>> {
        let comm = self.raw();
        let op = op.map_or(MPI_SUM, |op| op.get().raw());
        let info = handle::raw_or_null(info);
        let m = collective::reduce_scatter_block(sendbuf, recvbuf, self)?;
        // SAFETY: the request holds the messages, and with them the memory, until it is freed.
        prepare(py, m, |m, request| unsafe {
            MPI_Reduce_scatter_block_init_c(
                m.send.address,
                m.receive.address,
                m.count(),
                m.datatype(),
                op,
                comm,
                info,
                request,
            )
        })
    }

    /// Reduce_scatter_init(self, sendbuf: BufSpec | InPlace, recvbuf: BufSpec, recvcounts: Sequence[int] | None = None, op: Op = SUM, info: Info = INFO_NULL) -> Prequest
    ///
    /// Prepare a Reduce_scatter, to be started any number of times.
    ///
    /// As Reduce_scatter_block, with blocks of `recvcounts` entries (left out: what each `recvbuf` holds). Waits for
    /// all ranks; the buffers belong to the request until it is freed. Without `recvcounts` this call waits for all
    /// ranks to exchange them.
    #[pyo3(signature = (sendbuf, recvbuf, recvcounts = None, op = None, info = None))]
    fn Reduce_scatter_init<'py>(
        &self,
        py: Python<'py>,
        sendbuf: &Bound<'py, PyAny>,
        recvbuf: &Bound<'py, PyAny>,
        recvcounts: Option<&Bound<'py, PyAny>>,
        op: Option<&Bound<'py, Op>>,
        info: Option<&Bound<'py, Info>>,
    ) -> PyResult<Bound<'py, Prequest>> {
        let comm = self.raw();
        let op = op.map_or(MPI_SUM, |op| op.get().raw());
        let info = handle::raw_or_null(info);
        let m = ReduceScatter::new(sendbuf, recvbuf, recvcounts, self)?;
        // SAFETY: the request holds the messages, and with them the memory, until it is freed.
        prepare(py, m, |m, request| unsafe {
            MPI_Reduce_scatter_init_c(
                m.sides.send.address,
                m.sides.receive.address,
                m.counts(),
                m.sides.datatype(),
                op,
                comm,
                info,
                request,
            )
        })
    }
}

#[pymethods]
impl Intracomm {
    /// Scan_init(self, sendbuf: BufSpec | InPlace, recvbuf: BufSpec, op: Op = SUM, info: Info = INFO_NULL) -> Prequest
    ///
    /// Prepare a Scan, to be started any number of times.
    ///
    /// Combine the buffers of the ranks up to and including this one with `op`, into `recvbuf`. Waits for all ranks;
    /// the buffers belong to the request until it is freed.
    #[pyo3(signature = (sendbuf, recvbuf, op = None, info = None))]
    fn Scan_init<'py>(
        slf: &Bound<'py, Self>,
        py: Python<'py>,
        sendbuf: &Bound<'py, PyAny>,
        recvbuf: &Bound<'py, PyAny>,
        op: Option<&Bound<'py, Op>>,
        info: Option<&Bound<'py, Info>>,
    ) -> PyResult<Bound<'py, Prequest>> {
        let this = slf.as_super().get();
        let comm = this.raw();
        let op = op.map_or(MPI_SUM, |op| op.get().raw());
        let info = handle::raw_or_null(info);
        let m = collective::scan(sendbuf, recvbuf, this)?;
        // SAFETY: the request holds the messages, and with them the memory, until it is freed.
        prepare(py, m, |m, request| unsafe {
            MPI_Scan_init_c(m.send.address, m.receive.address, m.count(), m.datatype(), op, comm, info, request)
        })
    }

    /// Exscan_init(self, sendbuf: BufSpec | InPlace, recvbuf: BufSpec, op: Op = SUM, info: Info = INFO_NULL) -> Prequest
    ///
    /// Prepare an Exscan, to be started any number of times.
    ///
    /// Combine the buffers of the ranks before this one with `op`, into `recvbuf` (left as it is at rank 0). Waits for
    /// all ranks; the buffers belong to the request until it is freed.
    #[pyo3(signature = (sendbuf, recvbuf, op = None, info = None))]
    fn Exscan_init<'py>(
        slf: &Bound<'py, Self>,
        py: Python<'py>,
        sendbuf: &Bound<'py, PyAny>,
        recvbuf: &Bound<'py, PyAny>,
        op: Option<&Bound<'py, Op>>,
        info: Option<&Bound<'py, Info>>,
    ) -> PyResult<Bound<'py, Prequest>> {
        let this = slf.as_super().get();
        let comm = this.raw();
        let op = op.map_or(MPI_SUM, |op| op.get().raw());
        let info = handle::raw_or_null(info);
        let m = collective::scan(sendbuf, recvbuf, this)?;
        // SAFETY: the request holds the messages, and with them the memory, until it is freed.
        prepare(py, m, |m, request| unsafe {
            MPI_Exscan_init_c(m.send.address, m.receive.address, m.count(), m.datatype(), op, comm, info, request)
        })
    }
}
