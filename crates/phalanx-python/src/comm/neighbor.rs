//! Collective communication with neighbours in a topology (MPI 5.0 section 8.6).

use pyo3::prelude::*;

use super::Topocomm;
use super::pending::{prepare, start};
use crate::ffi::*;
use crate::gil;
use crate::handle::{self, Handle as _};
use crate::info::Info;
use crate::prequest::Prequest;
use crate::request::Request;
use crate::spec::collective;
use crate::spec::{Message, Vector, VectorW};

#[pymethods]
impl Topocomm {
    /// Neighbor_allgather(self, sendbuf: BufSpec, recvbuf: BufSpecB) -> None
    ///
    /// Send one buffer to every neighbour and collect theirs in `recvbuf`.
    ///
    /// Waits until this rank's part is done. Raises Exception for a wrong argument, ValueError, TypeError or
    /// BufferError for a buffer that does not fit.
    #[pyo3(signature = (sendbuf, recvbuf))]
    fn Neighbor_allgather<'py>(
        slf: &Bound<'py, Self>,
        py: Python<'py>,
        sendbuf: &Bound<'py, PyAny>,
        recvbuf: &Bound<'py, PyAny>,
    ) -> PyResult<()> {
        let this = slf.as_super().as_super().get();
        let comm = this.raw();
        let (s, r) = collective::neighbor_allgather::<Message>(sendbuf, recvbuf, this)?;
        // SAFETY: the messages keep their memory until after the call.
        gil::blocking(py, || unsafe {
            MPI_Neighbor_allgather_c(s.address, s.count, s.datatype, r.address, r.count, r.datatype, comm)
        })
    }

    /// Neighbor_allgatherv(self, sendbuf: BufSpec, recvbuf: BufSpecV) -> None
    ///
    /// As Neighbor_allgather, with a count and a displacement for each neighbour in `recvbuf`.
    ///
    /// Waits until this rank's part is done. Raises Exception for a wrong argument, ValueError, TypeError or
    /// BufferError for a buffer that does not fit.
    #[pyo3(signature = (sendbuf, recvbuf))]
    fn Neighbor_allgatherv<'py>(
        slf: &Bound<'py, Self>,
        py: Python<'py>,
        sendbuf: &Bound<'py, PyAny>,
        recvbuf: &Bound<'py, PyAny>,
    ) -> PyResult<()> {
        let this = slf.as_super().as_super().get();
        let comm = this.raw();
        let (s, r) = collective::neighbor_allgather::<Vector>(sendbuf, recvbuf, this)?;
        // SAFETY: the messages keep their memory until after the call.
        gil::blocking(py, || unsafe {
            MPI_Neighbor_allgatherv_c(
                s.address,
                s.count,
                s.datatype,
                r.address,
                r.counts(),
                r.displacements(),
                r.datatype,
                comm,
            )
        })
    }

    /// Neighbor_alltoall(self, sendbuf: BufSpecB, recvbuf: BufSpecB) -> None
    ///
    /// Give every neighbour its part of `sendbuf` and collect theirs for this rank in `recvbuf`.
    ///
    /// Waits until this rank's part is done. Raises Exception for a wrong argument, ValueError, TypeError or
    /// BufferError for a buffer that does not fit.
    #[pyo3(signature = (sendbuf, recvbuf))]
    fn Neighbor_alltoall<'py>(
        slf: &Bound<'py, Self>,
        py: Python<'py>,
        sendbuf: &Bound<'py, PyAny>,
        recvbuf: &Bound<'py, PyAny>,
    ) -> PyResult<()> {
        let this = slf.as_super().as_super().get();
        let comm = this.raw();
        let (s, r) = collective::neighbor_alltoall::<Message>(sendbuf, recvbuf, this)?;
        // SAFETY: the messages keep their memory until after the call.
        gil::blocking(py, || unsafe {
            MPI_Neighbor_alltoall_c(s.address, s.count, s.datatype, r.address, r.count, r.datatype, comm)
        })
    }

    /// Neighbor_alltoallv(self, sendbuf: BufSpecV, recvbuf: BufSpecV) -> None
    ///
    /// As Neighbor_alltoall, with a count and a displacement for each neighbour on both sides.
    ///
    /// Waits until this rank's part is done. Raises Exception for a wrong argument, ValueError, TypeError or
    /// BufferError for a buffer that does not fit.
    #[pyo3(signature = (sendbuf, recvbuf))]
    fn Neighbor_alltoallv<'py>(
        slf: &Bound<'py, Self>,
        py: Python<'py>,
        sendbuf: &Bound<'py, PyAny>,
        recvbuf: &Bound<'py, PyAny>,
    ) -> PyResult<()> {
        let this = slf.as_super().as_super().get();
        let comm = this.raw();
        let (s, r) = collective::neighbor_alltoall::<Vector>(sendbuf, recvbuf, this)?;
        // SAFETY: the messages keep their memory until after the call.
        gil::blocking(py, || unsafe {
            MPI_Neighbor_alltoallv_c(
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

    /// Neighbor_alltoallw(self, sendbuf: BufSpecW, recvbuf: BufSpecW) -> None
    ///
    /// As Neighbor_alltoall, with a count, a displacement in bytes and a datatype for each neighbour on both sides.
    ///
    /// Waits until this rank's part is done. Raises Exception for a wrong argument, ValueError, TypeError or
    /// BufferError for a buffer that does not fit.
    #[pyo3(signature = (sendbuf, recvbuf))]
    fn Neighbor_alltoallw<'py>(
        slf: &Bound<'py, Self>,
        py: Python<'py>,
        sendbuf: &Bound<'py, PyAny>,
        recvbuf: &Bound<'py, PyAny>,
    ) -> PyResult<()> {
        let this = slf.as_super().as_super().get();
        let comm = this.raw();
        let (s, r) = collective::neighbor_alltoall::<VectorW>(sendbuf, recvbuf, this)?;
        // SAFETY: the messages keep their memory until after the call.
        gil::blocking(py, || unsafe {
            MPI_Neighbor_alltoallw_c(
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
}

#[pymethods]
impl Topocomm {
    /// Ineighbor_allgather(self, sendbuf: BufSpec, recvbuf: BufSpecB) -> Request
    ///
    /// Begin a Neighbor_allgather.
    ///
    /// Send one buffer to every neighbour and collect theirs in `recvbuf`. Does not wait; leave the buffers alone until
    /// the request is complete.
    #[pyo3(signature = (sendbuf, recvbuf))]
    fn Ineighbor_allgather<'py>(
        slf: &Bound<'py, Self>,
        py: Python<'py>,
        sendbuf: &Bound<'py, PyAny>,
        recvbuf: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, Request>> {
        let this = slf.as_super().as_super().get();
        let comm = this.raw();
        let (s, r) = collective::neighbor_allgather::<Message>(sendbuf, recvbuf, this)?;
        // SAFETY: the request holds the messages, and with them the memory, until the operation is over.
        start(py, (s, r), |(s, r), request| unsafe {
            MPI_Ineighbor_allgather_c(s.address, s.count, s.datatype, r.address, r.count, r.datatype, comm, request)
        })
    }

    /// Ineighbor_allgatherv(self, sendbuf: BufSpec, recvbuf: BufSpecV) -> Request
    ///
    /// Begin a Neighbor_allgatherv.
    ///
    /// As Neighbor_allgather, with a count and a displacement for each neighbour in `recvbuf`. Does not wait; leave the
    /// buffers alone until the request is complete.
    #[pyo3(signature = (sendbuf, recvbuf))]
    fn Ineighbor_allgatherv<'py>(
        slf: &Bound<'py, Self>,
        py: Python<'py>,
        sendbuf: &Bound<'py, PyAny>,
        recvbuf: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, Request>> {
        let this = slf.as_super().as_super().get();
        let comm = this.raw();
        let (s, r) = collective::neighbor_allgather::<Vector>(sendbuf, recvbuf, this)?;
        // SAFETY: the request holds the messages, and with them the memory, until the operation is over.
        start(py, (s, r), |(s, r), request| unsafe {
            MPI_Ineighbor_allgatherv_c(
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

    /// Ineighbor_alltoall(self, sendbuf: BufSpecB, recvbuf: BufSpecB) -> Request
    ///
    /// Begin a Neighbor_alltoall.
    ///
    /// Give every neighbour its part of `sendbuf` and collect theirs for this rank in `recvbuf`. Does not wait; leave
    /// the buffers alone until the request is complete.
    #[pyo3(signature = (sendbuf, recvbuf))]
    fn Ineighbor_alltoall<'py>(
        slf: &Bound<'py, Self>,
        py: Python<'py>,
        sendbuf: &Bound<'py, PyAny>,
        recvbuf: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, Request>> {
        let this = slf.as_super().as_super().get();
        let comm = this.raw();
        let (s, r) = collective::neighbor_alltoall::<Message>(sendbuf, recvbuf, this)?;
        // SAFETY: the request holds the messages, and with them the memory, until the operation is over.
        start(py, (s, r), |(s, r), request| unsafe {
            MPI_Ineighbor_alltoall_c(s.address, s.count, s.datatype, r.address, r.count, r.datatype, comm, request)
        })
    }

    /// Ineighbor_alltoallv(self, sendbuf: BufSpecV, recvbuf: BufSpecV) -> Request
    ///
    /// Begin a Neighbor_alltoallv.
    ///
    /// As Neighbor_alltoall, with a count and a displacement for each neighbour on both sides. Does not wait; leave the
    /// buffers alone until the request is complete.
    #[pyo3(signature = (sendbuf, recvbuf))]
    fn Ineighbor_alltoallv<'py>(
        slf: &Bound<'py, Self>,
        py: Python<'py>,
        sendbuf: &Bound<'py, PyAny>,
        recvbuf: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, Request>> {
        let this = slf.as_super().as_super().get();
        let comm = this.raw();
        let (s, r) = collective::neighbor_alltoall::<Vector>(sendbuf, recvbuf, this)?;
        // SAFETY: the request holds the messages, and with them the memory, until the operation is over.
        start(py, (s, r), |(s, r), request| unsafe {
            MPI_Ineighbor_alltoallv_c(
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

    /// Ineighbor_alltoallw(self, sendbuf: BufSpecW, recvbuf: BufSpecW) -> Request
    ///
    /// Begin a Neighbor_alltoallw.
    ///
    /// As Neighbor_alltoall, with a count, a displacement in bytes and a datatype for each neighbour on both sides.
    /// Does not wait; leave the buffers alone until the request is complete.
    #[pyo3(signature = (sendbuf, recvbuf))]
    fn Ineighbor_alltoallw<'py>(
        slf: &Bound<'py, Self>,
        py: Python<'py>,
        sendbuf: &Bound<'py, PyAny>,
        recvbuf: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, Request>> {
        let this = slf.as_super().as_super().get();
        let comm = this.raw();
        let (s, r) = collective::neighbor_alltoall::<VectorW>(sendbuf, recvbuf, this)?;
        // SAFETY: the request holds the messages, and with them the memory, until the operation is over.
        start(py, (s, r), |(s, r), request| unsafe {
            MPI_Ineighbor_alltoallw_c(
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
}

#[pymethods]
impl Topocomm {
    /// Neighbor_allgather_init(self, sendbuf: BufSpec, recvbuf: BufSpecB, info: Info = INFO_NULL) -> Prequest
    ///
    /// Prepare a Neighbor_allgather, to be started any number of times.
    ///
    /// Send one buffer to every neighbour and collect theirs in `recvbuf`. Waits for all ranks; the buffers belong to
    /// the request until it is freed.
    #[pyo3(signature = (sendbuf, recvbuf, info = None))]
    fn Neighbor_allgather_init<'py>(
        slf: &Bound<'py, Self>,
        py: Python<'py>,
        sendbuf: &Bound<'py, PyAny>,
        recvbuf: &Bound<'py, PyAny>,
        info: Option<&Bound<'py, Info>>,
    ) -> PyResult<Bound<'py, Prequest>> {
        let this = slf.as_super().as_super().get();
        let comm = this.raw();
        let info = handle::raw_or_null(info);
        let (s, r) = collective::neighbor_allgather::<Message>(sendbuf, recvbuf, this)?;
        // SAFETY: the request holds the messages, and with them the memory, until it is freed.
        prepare(py, (s, r), |(s, r), request| unsafe {
            MPI_Neighbor_allgather_init_c(
                s.address, s.count, s.datatype, r.address, r.count, r.datatype, comm, info, request,
            )
        })
    }

    /// Neighbor_allgatherv_init(self, sendbuf: BufSpec, recvbuf: BufSpecV, info: Info = INFO_NULL) -> Prequest
    ///
    /// Prepare a Neighbor_allgatherv, to be started any number of times.
    ///
    /// As Neighbor_allgather, with a count and a displacement for each neighbour in `recvbuf`. Waits for all ranks; the
    /// buffers belong to the request until it is freed.
    #[pyo3(signature = (sendbuf, recvbuf, info = None))]
    fn Neighbor_allgatherv_init<'py>(
        slf: &Bound<'py, Self>,
        py: Python<'py>,
        sendbuf: &Bound<'py, PyAny>,
        recvbuf: &Bound<'py, PyAny>,
        info: Option<&Bound<'py, Info>>,
    ) -> PyResult<Bound<'py, Prequest>> {
        let this = slf.as_super().as_super().get();
        let comm = this.raw();
        let info = handle::raw_or_null(info);
        let (s, r) = collective::neighbor_allgather::<Vector>(sendbuf, recvbuf, this)?;
        // SAFETY: the request holds the messages, and with them the memory, until it is freed.
        prepare(py, (s, r), |(s, r), request| unsafe {
            MPI_Neighbor_allgatherv_init_c(
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

    /// Neighbor_alltoall_init(self, sendbuf: BufSpecB, recvbuf: BufSpecB, info: Info = INFO_NULL) -> Prequest
    ///
    /// Prepare a Neighbor_alltoall, to be started any number of times.
    ///
    /// Give every neighbour its part of `sendbuf` and collect theirs for this rank in `recvbuf`. Waits for all ranks;
    /// the buffers belong to the request until it is freed.
    #[pyo3(signature = (sendbuf, recvbuf, info = None))]
    fn Neighbor_alltoall_init<'py>(
        slf: &Bound<'py, Self>,
        py: Python<'py>,
        sendbuf: &Bound<'py, PyAny>,
        recvbuf: &Bound<'py, PyAny>,
        info: Option<&Bound<'py, Info>>,
    ) -> PyResult<Bound<'py, Prequest>> {
        let this = slf.as_super().as_super().get();
        let comm = this.raw();
        let info = handle::raw_or_null(info);
        let (s, r) = collective::neighbor_alltoall::<Message>(sendbuf, recvbuf, this)?;
        // SAFETY: the request holds the messages, and with them the memory, until it is freed.
        prepare(py, (s, r), |(s, r), request| unsafe {
            MPI_Neighbor_alltoall_init_c(
                s.address, s.count, s.datatype, r.address, r.count, r.datatype, comm, info, request,
            )
        })
    }

    /// Neighbor_alltoallv_init(self, sendbuf: BufSpecV, recvbuf: BufSpecV, info: Info = INFO_NULL) -> Prequest
    ///
    /// Prepare a Neighbor_alltoallv, to be started any number of times.
    ///
    /// As Neighbor_alltoall, with a count and a displacement for each neighbour on both sides. Waits for all ranks; the
    /// buffers belong to the request until it is freed.
    #[pyo3(signature = (sendbuf, recvbuf, info = None))]
    fn Neighbor_alltoallv_init<'py>(
        slf: &Bound<'py, Self>,
        py: Python<'py>,
        sendbuf: &Bound<'py, PyAny>,
        recvbuf: &Bound<'py, PyAny>,
        info: Option<&Bound<'py, Info>>,
    ) -> PyResult<Bound<'py, Prequest>> {
        let this = slf.as_super().as_super().get();
        let comm = this.raw();
        let info = handle::raw_or_null(info);
        let (s, r) = collective::neighbor_alltoall::<Vector>(sendbuf, recvbuf, this)?;
        // SAFETY: the request holds the messages, and with them the memory, until it is freed.
        prepare(py, (s, r), |(s, r), request| unsafe {
            MPI_Neighbor_alltoallv_init_c(
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

    /// Neighbor_alltoallw_init(self, sendbuf: BufSpecW, recvbuf: BufSpecW, info: Info = INFO_NULL) -> Prequest
    ///
    /// Prepare a Neighbor_alltoallw, to be started any number of times.
    ///
    /// As Neighbor_alltoall, with a count, a displacement in bytes and a datatype for each neighbour on both sides.
    /// Waits for all ranks; the buffers belong to the request until it is freed.
    #[pyo3(signature = (sendbuf, recvbuf, info = None))]
    fn Neighbor_alltoallw_init<'py>(
        slf: &Bound<'py, Self>,
        py: Python<'py>,
        sendbuf: &Bound<'py, PyAny>,
        recvbuf: &Bound<'py, PyAny>,
        info: Option<&Bound<'py, Info>>,
    ) -> PyResult<Bound<'py, Prequest>> {
        let this = slf.as_super().as_super().get();
        let comm = this.raw();
        let info = handle::raw_or_null(info);
        let (s, r) = collective::neighbor_alltoall::<VectorW>(sendbuf, recvbuf, this)?;
        // SAFETY: the request holds the messages, and with them the memory, until it is freed.
        prepare(py, (s, r), |(s, r), request| unsafe {
            MPI_Neighbor_alltoallw_init_c(
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
}
