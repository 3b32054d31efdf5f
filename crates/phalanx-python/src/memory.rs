//! Memory that MPI allocates, addresses, and the buffers of buffered sends (MPI 5.0 sections 3.6, 5.1.5 and 10.2).

use std::collections::HashMap;
use std::ptr;

use pyo3::prelude::*;

use crate::buffer::{Access, Buffer, View};
use crate::comm::Comm;
use crate::constants;
use crate::error::check;
use crate::ffi::*;
use crate::gil::{self, GilCell};
use crate::handle::{self, Handle as _, Raw as _};
use crate::info::Info;
use crate::request::{Keep, Request};

/// Alloc_mem(size: int, info: Info = INFO_NULL) -> buffer
///
/// Allocate memory that is good for messages and one-sided communication; give it back with Free_mem.
///
/// Raises Exception when there is not enough memory. Local.
#[pyfunction]
#[pyo3(signature = (size, info = None))]
fn Alloc_mem(size: MPI_Aint, info: Option<&Bound<'_, Info>>) -> PyResult<Buffer> {
    let mut base: *mut c_void = ptr::null_mut();
    // SAFETY: `base` is valid for the write of an address.
    check(unsafe { MPI_Alloc_mem(size, handle::raw_or_null(info), (&raw mut base).cast()) })?;
    Ok(Buffer::of_address(base, size))
}

/// Free_mem(mem: buffer) -> None
///
/// Free memory that Alloc_mem gave; `mem` is empty afterwards.
///
/// Local.
#[pyfunction]
fn Free_mem(mem: &Bound<'_, PyAny>) -> PyResult<()> {
    let Ok(buffer) = mem.cast::<Buffer>() else {
        let base = View::of(mem, Access::Read, false)?.address();
        // SAFETY: MPI frees what it allocated and reports anything else.
        return check(unsafe { MPI_Free_mem(base) });
    };
    let mut buffer = buffer.try_borrow_mut()?;
    // SAFETY: as above.
    check(unsafe { MPI_Free_mem(buffer.view().address()) })?;
    buffer.forget();
    Ok(())
}

/// Get_address(location: Buffer | Bottom | None) -> int
///
/// The address of a buffer, as displacements of datatypes with absolute addresses want it.
///
/// Local.
#[pyfunction]
fn Get_address(location: &Bound<'_, PyAny>) -> PyResult<MPI_Aint> {
    let nowhere = location.is_none() || constants::is_bottom(location);
    let view = if nowhere { View::empty() } else { View::of(location, Access::Read, false)? };
    let mut address = 0;
    // SAFETY: `address` is valid for the write.
    check(unsafe { MPI_Get_address(view.address(), &mut address) })?;
    Ok(address)
}

/// Aint_add(base: int, disp: int) -> int
///
/// The address `disp` bytes after `base`.
#[pyfunction]
fn Aint_add(base: MPI_Aint, disp: MPI_Aint) -> MPI_Aint {
    // SAFETY: plain arithmetic on values.
    unsafe { MPI_Aint_add(base, disp) }
}

/// Aint_diff(addr1: int, addr2: int) -> int
///
/// How many bytes `addr1` is after `addr2`.
#[pyfunction]
fn Aint_diff(addr1: MPI_Aint, addr2: MPI_Aint) -> MPI_Aint {
    // SAFETY: plain arithmetic on values.
    unsafe { MPI_Aint_diff(addr1, addr2) }
}

/// Whose buffer it is: that of a communicator or session, or of the process (None).
pub(crate) type Owner = Option<usize>;

/// The memory that MPI has been lent for buffered sends.
static ATTACHED: GilCell<Option<HashMap<Owner, View>>> = GilCell::new(None);

/// Lends a buffer (None or `BUFFER_AUTOMATIC`: MPI brings its own) by `call`.
pub(crate) fn attach(
    buffer: &Bound<'_, PyAny>,
    owner: Owner,
    call: impl FnOnce(*mut c_void, MPI_Count) -> c_int,
) -> PyResult<()> {
    let py = buffer.py();
    let view = if buffer.is_none() || constants::is_buffer_automatic(buffer) {
        None
    } else {
        Some(View::of(buffer, Access::Write, false)?)
    };
    let (base, size) = match &view {
        Some(view) => (view.address(), view.bytes() as MPI_Count),
        None => (ptr::without_provenance_mut(MPI_BUFFER_AUTOMATIC), 0),
    };
    gil::blocking(py, || call(base, size))?;
    if let Some(view) = view {
        let mut attached = ATTACHED.take(py).unwrap_or_default();
        let before = attached.insert(owner, view);
        ATTACHED.replace(py, Some(attached));
        drop(before);
    }
    Ok(())
}

/// Takes the buffer back by `call`, which waits until all messages in it are on their way. What was attached.
pub(crate) fn detach(
    py: Python<'_>,
    owner: Owner,
    call: impl FnOnce(*mut c_void, *mut MPI_Count) -> c_int,
) -> PyResult<Py<PyAny>> {
    let (mut base, mut size): (*mut c_void, MPI_Count) = (ptr::null_mut(), 0);
    let (base_at, size_at) = ((&raw mut base).cast(), &raw mut size);
    gil::blocking(py, move || call(base_at, size_at))?;
    let mut attached = ATTACHED.take(py).unwrap_or_default();
    let view = attached.remove(&owner);
    ATTACHED.replace(py, Some(attached));
    if base.addr() == MPI_BUFFER_AUTOMATIC {
        return constants::buffer_automatic(py);
    }
    if let Some(view) = view
        && view.address() == base
        && let Some(object) = view.object(py)
    {
        return Ok(object.unbind());
    }
    Ok(Py::new(py, Buffer::of_address(base, size as isize))?.into_any())
}

/// Attach_buffer(buf: Buffer | None) -> None
///
/// Lend MPI the memory that buffered sends (Bsend) copy messages into, for the whole process.
///
/// None or BUFFER_AUTOMATIC: the library brings its own. Raises BufferError for a read-only buffer, Exception when one
/// is attached.
#[pyfunction]
fn Attach_buffer(buf: &Bound<'_, PyAny>) -> PyResult<()> {
    // SAFETY: the view is held until the buffer is detached.
    attach(buf, None, |base, size| unsafe { MPI_Buffer_attach_c(base, size) })
}

/// Detach_buffer() -> Buffer | None
///
/// Wait until all buffered messages are on their way, and take the memory back.
#[pyfunction]
fn Detach_buffer(py: Python<'_>) -> PyResult<Py<PyAny>> {
    // SAFETY: both pointers are valid for the writes.
    detach(py, None, |base, size| unsafe { MPI_Buffer_detach_c(base, size) })
}

/// Flush_buffer() -> None
///
/// Wait until all buffered messages are on their way.
#[pyfunction]
fn Flush_buffer(py: Python<'_>) -> PyResult<()> {
    // SAFETY: no arguments.
    gil::blocking(py, || unsafe { MPI_Buffer_flush() })
}

/// Iflush_buffer() -> Request
///
/// A request that completes once all buffered messages are on their way.
///
/// Does not wait.
#[pyfunction]
fn Iflush_buffer(py: Python<'_>) -> PyResult<Bound<'_, Request>> {
    // SAFETY: `request` is valid for the write.
    Request::start(py, Keep::Nothing, |request| unsafe { MPI_Buffer_iflush(request) })
}

#[pymethods]
impl Comm {
    /// Attach_buffer(self, buf: Buffer | None) -> None
    ///
    /// Lend MPI the memory that buffered sends on this communicator copy messages into.
    fn Attach_buffer(&self, buf: &Bound<'_, PyAny>) -> PyResult<()> {
        let comm = self.raw();
        // SAFETY: the view is held until the buffer is detached.
        attach(buf, Some(comm.bits()), |base, size| unsafe { MPI_Comm_attach_buffer_c(comm, base, size) })
    }

    /// Detach_buffer(self) -> Buffer | None
    ///
    /// Wait until all buffered messages are on their way, and take the memory back.
    fn Detach_buffer(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        let comm = self.raw();
        // SAFETY: both pointers are valid for the writes.
        detach(py, Some(comm.bits()), |base, size| unsafe { MPI_Comm_detach_buffer_c(comm, base, size) })
    }

    /// Flush_buffer(self) -> None
    ///
    /// Wait until all buffered messages are on their way.
    fn Flush_buffer(&self, py: Python<'_>) -> PyResult<()> {
        let comm = self.raw();
        // SAFETY: passes a handle, which MPI checks.
        gil::blocking(py, || unsafe { MPI_Comm_flush_buffer(comm) })
    }

    /// Iflush_buffer(self) -> Request
    ///
    /// A request that completes once all buffered messages are on their way.
    ///
    /// Does not wait.
    fn Iflush_buffer<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, Request>> {
        let comm = self.raw();
        // SAFETY: `request` is valid for the write; MPI checks the handle.
        Request::start(py, Keep::Nothing, |request| unsafe { MPI_Comm_iflush_buffer(comm, request) })
    }
}

/// Adds the functions and classes of this file to the module.
pub(crate) fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add_class::<Buffer>()?;
    m.add("memory", m.py().get_type::<Buffer>())?;
    for function in [
        wrap_pyfunction!(Alloc_mem, m)?,
        wrap_pyfunction!(Free_mem, m)?,
        wrap_pyfunction!(Get_address, m)?,
        wrap_pyfunction!(Aint_add, m)?,
        wrap_pyfunction!(Aint_diff, m)?,
        wrap_pyfunction!(Attach_buffer, m)?,
        wrap_pyfunction!(Detach_buffer, m)?,
        wrap_pyfunction!(Flush_buffer, m)?,
        wrap_pyfunction!(Iflush_buffer, m)?,
    ] {
        m.add_function(function)?;
    }
    Ok(())
}
