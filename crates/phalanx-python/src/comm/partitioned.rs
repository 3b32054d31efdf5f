//! Partitioned communication of buffers (MPI 5.0 chapter 4).

use pyo3::prelude::*;

use super::Comm;
use super::pending::prepare;
use crate::buffer::Access;
use crate::ffi::*;
use crate::handle::{self, Handle as _};
use crate::info::Info;
use crate::prequest::Prequest;
use crate::spec::{Form as _, Message};

/// `MPI_Psend_init` and `MPI_Precv_init`, with a wide count.
///
/// Headers of the ABI differ in the width of `count` (int or MPI_Count). A sign-extended 64-bit value serves both: who reads
/// an int finds it in the low half of the register.
type Prepare = unsafe extern "C" fn(
    *mut c_void,
    c_int,
    MPI_Count,
    MPI_Datatype,
    c_int,
    c_int,
    MPI_Comm,
    MPI_Info,
    *mut MPI_Request,
) -> c_int;

fn psend_init() -> Prepare {
    // SAFETY: the same calling convention and arguments but for the width of the count; see `Prepare`.
    unsafe { std::mem::transmute::<*const (), Prepare>(MPI_Psend_init as *const ()) }
}

fn precv_init() -> Prepare {
    // SAFETY: the same calling convention and arguments but for the width of the count; see `Prepare`.
    unsafe { std::mem::transmute::<*const (), Prepare>(MPI_Precv_init as *const ()) }
}

#[pymethods]
impl Comm {
    /// Psend_init(self, buf: BufSpec, partitions: int, dest: int, tag: int = 0, info: Info = INFO_NULL) -> Prequest
    ///
    /// Prepare a send in `partitions` equal parts, each marked ready by Prequest.Pready.
    ///
    /// Local.
    #[pyo3(signature = (buf, partitions, dest, tag = 0, info = None))]
    fn Psend_init<'py>(
        &self,
        py: Python<'py>,
        buf: &Bound<'py, PyAny>,
        partitions: c_int,
        dest: c_int,
        tag: c_int,
        info: Option<&Bound<'py, Info>>,
    ) -> PyResult<Bound<'py, Prequest>> {
        let m = Message::parse(buf, Access::Read, dest, parts(partitions))?;
        let (comm, info) = (self.raw(), handle::raw_or_null(info));
        // SAFETY: the request holds the message, and with it the memory, until it is freed.
        prepare(py, m, |m, request| unsafe {
            psend_init()(m.address, partitions, m.count, m.datatype, dest, tag, comm, info, request)
        })
    }

    /// Precv_init(self, buf: BufSpec, partitions: int, source: int = ANY_SOURCE, tag: int = ANY_TAG, info: Info = INFO_NULL) -> Prequest
    ///
    /// Prepare a receive in `partitions` equal parts, each asked for by Prequest.Parrived.
    ///
    /// Local.
    #[pyo3(signature = (buf, partitions, source = MPI_ANY_SOURCE, tag = MPI_ANY_TAG, info = None))]
    fn Precv_init<'py>(
        &self,
        py: Python<'py>,
        buf: &Bound<'py, PyAny>,
        partitions: c_int,
        source: c_int,
        tag: c_int,
        info: Option<&Bound<'py, Info>>,
    ) -> PyResult<Bound<'py, Prequest>> {
        let m = Message::parse(buf, Access::Write, source, parts(partitions))?;
        let (comm, info) = (self.raw(), handle::raw_or_null(info));
        // SAFETY: the request holds the message, and with it the memory, until it is freed.
        prepare(py, m, |m, request| unsafe {
            precv_init()(m.address, partitions, m.count, m.datatype, source, tag, comm, info, request)
        })
    }
}

/// A number of partitions as a number of blocks; MPI itself reports a wrong one.
fn parts(partitions: c_int) -> usize {
    usize::try_from(partitions).unwrap_or(0)
}
