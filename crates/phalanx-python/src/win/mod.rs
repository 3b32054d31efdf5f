//! `MPI.Win`: memory that other processes reach (MPI 5.0 chapter 12).
//!
//! One file per topic: here the class, creation and what a window knows about itself; `rma` (communication), `sync`
//! (synchronization).

use std::collections::HashMap;
use std::ffi::c_int as int;

use pyo3::ffi as cpython;
use pyo3::prelude::*;
use pyo3::types::PyType;

use crate::attribute::{self, Kind};
use crate::buffer::{Access, Buffer, View};
use crate::callback;
use crate::comm::Intracomm;
use crate::constants;
use crate::errhandler::Errhandler;
use crate::error::check;
use crate::ffi::*;
use crate::gil::{self, GilCell};
use crate::group;
use crate::handle::{self, Handle, HandleCell, Raw as _, handle_methods};
use crate::info::Info;
use crate::text::{self, Text};

mod rma;
mod sync;

/// Memory that other processes may read and write.
#[pyclass(module = "phalanx.MPI", subclass, frozen, weakref)]
#[repr(C)] // what compiled code for mpi4py reads comes first
pub(crate) struct Win {
    handle: HandleCell<MPI_Win>,
    /// The user's memory in the window, by address.
    memory: GilCell<HashMap<usize, View>>,
}

impl Handle for Win {
    type Raw = MPI_Win;

    fn cell(&self) -> &HandleCell<MPI_Win> {
        &self.handle
    }

    fn release(slf: &Bound<'_, Self>) -> PyResult<()> {
        slf.get().Free(slf.py())
    }
}

handle_methods!(Win, MPI_Win, handle::reduce);

/// The communicator of an optional argument, `COMM_SELF` by default.
fn comm_or_self(comm: Option<&Bound<'_, Intracomm>>) -> MPI_Comm {
    comm.map_or(MPI_COMM_SELF, |comm| comm.as_super().get().raw())
}

/// A window object whose handle a collective call makes, with the error handler that `rc.errors` asks for.
fn created<'py>(
    cls: &Bound<'py, PyType>,
    memory: Option<View>,
    make: impl FnOnce(*mut MPI_Win) -> int,
) -> PyResult<Bound<'py, PyAny>> {
    let object = handle::create_blocking::<Win>(cls, make)?;
    let win = object.cast::<Win>()?.get();
    if let Some(view) = memory {
        drop(win.memory.replace(cls.py(), HashMap::from([(view.address().addr(), view)])));
    }
    callback::set_default(callback::Kind::Win, win.raw().bits())?;
    Ok(object)
}

impl Win {
    /// An attribute that is the address of a value; the default when it is not set.
    fn pointed<T: Copy>(&self, keyval: int, default: T) -> PyResult<T> {
        Ok(match attribute::get_raw(Kind::Win, self.raw().0, keyval)? {
            // SAFETY: the standard says which attributes are addresses of which type; the callers ask accordingly.
            Some(value) if !value.is_null() => unsafe { value.cast::<T>().read() },
            _ => default,
        })
    }

    fn base(&self) -> PyResult<*mut c_void> {
        Ok(attribute::get_raw(Kind::Win, self.raw().0, MPI_WIN_BASE)?.unwrap_or(std::ptr::null_mut()))
    }

    fn bytes(&self) -> PyResult<MPI_Aint> {
        self.pointed(MPI_WIN_SIZE, 0)
    }

    /// Asks a fact of the window's group.
    fn of_group(&self, ask: unsafe extern "C" fn(MPI_Group, *mut int) -> int) -> PyResult<int> {
        let (mut group, mut number) = (MPI_GROUP_NULL, MPI_UNDEFINED);
        // SAFETY: both places are valid for the writes; the group is freed below.
        let code = unsafe {
            check(MPI_Win_get_group(self.raw(), &mut group))?;
            let code = ask(group, &mut number);
            check(MPI_Group_free(&mut group))?;
            code
        };
        check(code)?;
        Ok(number)
    }
}

#[pymethods]
impl Win {
    #[new]
    #[pyo3(signature = (win=None))]
    fn new(win: Option<&Bound<'_, Win>>) -> Self {
        Win { handle: HandleCell::new(handle::raw_or_null(win)), memory: GilCell::new(HashMap::new()) }
    }

    /// Create(cls, memory: Buffer | Bottom, disp_unit: int = 1, info: Info = INFO_NULL, comm: Intracomm = COMM_SELF) -> Self
    ///
    /// Create a window over the caller's memory. Collective, blocks.
    #[classmethod]
    #[pyo3(signature = (memory, disp_unit=1, info=None, comm=None))]
    fn Create<'py>(
        cls: &Bound<'py, PyType>,
        memory: &Bound<'py, PyAny>,
        disp_unit: MPI_Aint,
        info: Option<&Bound<'py, Info>>,
        comm: Option<&Bound<'py, Intracomm>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let view = if memory.is_none() || constants::is_bottom(memory) {
            None
        } else {
            Some(View::of(memory, Access::Write, false)?)
        };
        let (base, size) = view.as_ref().map_or((std::ptr::null_mut(), 0), |view| (view.address(), view.bytes()));
        let (info, comm) = (handle::raw_or_null(info), comm_or_self(comm));
        // SAFETY: the window keeps the view; the result pointer is valid for the write.
        created(cls, view, |out| unsafe { MPI_Win_create_c(base, size, disp_unit, info, comm, out) })
    }

    /// Allocate(cls, size: int, disp_unit: int = 1, info: Info = INFO_NULL, comm: Intracomm = COMM_SELF) -> Self
    ///
    /// Allocate memory and create a window over it. Collective, blocks.
    #[classmethod]
    #[pyo3(signature = (size, disp_unit=1, info=None, comm=None))]
    fn Allocate<'py>(
        cls: &Bound<'py, PyType>,
        size: MPI_Aint,
        disp_unit: MPI_Aint,
        info: Option<&Bound<'py, Info>>,
        comm: Option<&Bound<'py, Intracomm>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let (info, comm) = (handle::raw_or_null(info), comm_or_self(comm));
        let mut base: *mut c_void = std::ptr::null_mut();
        let place = (&raw mut base).cast::<c_void>();
        // SAFETY: both places are valid for the writes.
        created(cls, None, |out| unsafe { MPI_Win_allocate_c(size, disp_unit, info, comm, place, out) })
    }

    /// Allocate_shared(cls, size: int, disp_unit: int = 1, info: Info = INFO_NULL, comm: Intracomm = COMM_SELF) -> Self
    ///
    /// Allocate memory that all processes of the machine reach directly. Collective, blocks.
    #[classmethod]
    #[pyo3(signature = (size, disp_unit=1, info=None, comm=None))]
    fn Allocate_shared<'py>(
        cls: &Bound<'py, PyType>,
        size: MPI_Aint,
        disp_unit: MPI_Aint,
        info: Option<&Bound<'py, Info>>,
        comm: Option<&Bound<'py, Intracomm>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let (info, comm) = (handle::raw_or_null(info), comm_or_self(comm));
        let mut base: *mut c_void = std::ptr::null_mut();
        let place = (&raw mut base).cast::<c_void>();
        // SAFETY: both places are valid for the writes.
        created(cls, None, |out| unsafe { MPI_Win_allocate_shared_c(size, disp_unit, info, comm, place, out) })
    }

    /// Shared_query(self, rank: int) -> tuple[buffer, int]
    ///
    /// Return the memory of a rank's part of a shared window, and its displacement unit. Local.
    fn Shared_query<'py>(slf: &Bound<'py, Self>, rank: int) -> PyResult<(Bound<'py, Buffer>, MPI_Aint)> {
        let (mut base, mut size, mut unit): (*mut c_void, MPI_Aint, MPI_Aint) = (std::ptr::null_mut(), 0, 1);
        let place = (&raw mut base).cast::<c_void>();
        // SAFETY: the places are valid for the writes.
        check(unsafe { MPI_Win_shared_query_c(slf.get().raw(), rank, &mut size, &mut unit, place) })?;
        let view = View::of_memory(base, size, false, Some(slf.clone().into_any()));
        Ok((Bound::new(slf.py(), Buffer::of_view(view))?, unit))
    }

    /// Create_dynamic(cls, info: Info = INFO_NULL, comm: Intracomm = COMM_SELF) -> Self
    ///
    /// Create a window to which memory is attached later. Collective, blocks.
    #[classmethod]
    #[pyo3(signature = (info=None, comm=None))]
    fn Create_dynamic<'py>(
        cls: &Bound<'py, PyType>,
        info: Option<&Bound<'py, Info>>,
        comm: Option<&Bound<'py, Intracomm>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let (info, comm) = (handle::raw_or_null(info), comm_or_self(comm));
        // SAFETY: the result pointer is valid for the write.
        created(cls, None, |out| unsafe { MPI_Win_create_dynamic(info, comm, out) })
    }

    /// Attach(self, memory: Buffer) -> None
    ///
    /// Attach memory to a dynamic window. Local.
    fn Attach(&self, memory: &Bound<'_, PyAny>) -> PyResult<()> {
        let py = memory.py();
        let view = View::of(memory, Access::Write, false)?;
        let (raw, base, size) = (self.raw(), view.address(), view.bytes());
        // SAFETY: the window keeps the view until it is detached.
        gil::blocking(py, || unsafe { MPI_Win_attach(raw, base, size) })?;
        let mut attached = self.memory.take(py);
        let before = attached.insert(base.addr(), view);
        drop(self.memory.replace(py, attached));
        drop(before);
        Ok(())
    }

    /// Detach(self, memory: Buffer) -> None
    ///
    /// Detach memory from a dynamic window. Local.
    fn Detach(&self, memory: &Bound<'_, PyAny>) -> PyResult<()> {
        let py = memory.py();
        let base = View::of(memory, Access::Write, false)?.address();
        let raw = self.raw();
        // SAFETY: passes an address, which the library checks.
        gil::blocking(py, || unsafe { MPI_Win_detach(raw, base) })?;
        let mut attached = self.memory.take(py);
        let before = attached.remove(&base.addr());
        drop(self.memory.replace(py, attached));
        drop(before);
        Ok(())
    }

    /// Free(self) -> None
    ///
    /// Free the window. Collective, blocks.
    fn Free(&self, py: Python<'_>) -> PyResult<()> {
        let (before, mut raw) = (self.raw(), self.raw());
        // SAFETY: the pointer is valid for the call.
        gil::blocking(py, || unsafe { MPI_Win_free(&mut raw) })?;
        self.handle.set(if handle::is_constant(self) { before } else { raw });
        drop(self.memory.take(py));
        Ok(())
    }

    /// Set_info(self, info: Info) -> None
    ///
    /// Set hints. Collective.
    fn Set_info(&self, py: Python<'_>, info: &Bound<'_, Info>) -> PyResult<()> {
        let (raw, info) = (self.raw(), info.get().raw());
        // SAFETY: passes values; the library checks them.
        gil::blocking(py, || unsafe { MPI_Win_set_info(raw, info) })
    }

    /// Get_info(self) -> Info
    ///
    /// Return the hints in use. Local.
    fn Get_info<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let raw = self.raw();
        // SAFETY: the result pointer is valid for the write.
        handle::create::<Info>(&py.get_type::<Info>(), |out| unsafe { MPI_Win_get_info(raw, out) })
    }

    /// info: Info
    ///
    /// Info hints.
    #[getter]
    fn info<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.Get_info(py)
    }

    #[setter]
    fn set_info(&self, py: Python<'_>, info: &Bound<'_, Info>) -> PyResult<()> {
        self.Set_info(py, info)
    }

    /// Get_group(self) -> Group
    ///
    /// Return the group of processes that created the window. Local.
    fn Get_group<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let raw = self.raw();
        // SAFETY: the result pointer is valid for the write.
        group::from_call(py, |out| unsafe { MPI_Win_get_group(raw, out) })
    }

    /// group: Group
    ///
    /// Group.
    #[getter]
    fn group<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.Get_group(py)
    }

    /// group_size: int
    ///
    /// Group size.
    #[getter]
    fn group_size(&self) -> PyResult<int> {
        self.of_group(MPI_Group_size)
    }

    /// group_rank: int
    ///
    /// Group rank.
    #[getter]
    fn group_rank(&self) -> PyResult<int> {
        self.of_group(MPI_Group_rank)
    }

    /// Get_attr(self, keyval: int) -> int | Any | None
    ///
    /// Return an attribute, `None` when it is not set. Local.
    fn Get_attr(&self, py: Python<'_>, keyval: int) -> PyResult<Py<PyAny>> {
        let number = match keyval {
            MPI_WIN_SIZE => Some(self.bytes()?),
            MPI_WIN_DISP_UNIT | MPI_WIN_CREATE_FLAVOR | MPI_WIN_MODEL => Some(self.pointed::<int>(keyval, 0)? as isize),
            _ => None,
        };
        match number {
            Some(number) => Ok(number.into_pyobject(py)?.into_any().unbind()),
            None => attribute::get(py, Kind::Win, self.raw().0, keyval),
        }
    }

    /// Set_attr(self, keyval: int, attrval: Any) -> None
    ///
    /// Set an attribute. Local.
    fn Set_attr(&self, keyval: int, attrval: &Bound<'_, PyAny>) -> PyResult<()> {
        attribute::set(Kind::Win, self.raw().0, keyval, attrval)
    }

    /// Delete_attr(self, keyval: int) -> None
    ///
    /// Delete an attribute, calling its delete function. Local.
    fn Delete_attr(&self, py: Python<'_>, keyval: int) -> PyResult<()> {
        attribute::delete(py, Kind::Win, self.raw().0, keyval)
    }

    /// Create_keyval(cls, copy_fn=None, delete_fn=None, nopython: bool = False) -> int
    ///
    /// Create an attribute key, as `Comm.Create_keyval` does for communicators. Local.
    #[classmethod]
    #[pyo3(signature = (copy_fn=None, delete_fn=None, nopython=false))]
    fn Create_keyval<'py>(
        _cls: &Bound<'py, PyType>,
        copy_fn: Option<&Bound<'py, PyAny>>,
        delete_fn: Option<&Bound<'py, PyAny>>,
        nopython: bool,
    ) -> PyResult<int> {
        attribute::create_keyval(Kind::Win, copy_fn, delete_fn, nopython)
    }

    /// Free_keyval(cls, keyval: int) -> int
    ///
    /// Free an attribute key; return `KEYVAL_INVALID`. Local.
    #[classmethod]
    fn Free_keyval(cls: &Bound<'_, PyType>, keyval: int) -> PyResult<int> {
        attribute::free_keyval(cls.py(), Kind::Win, keyval)
    }

    /// attrs: tuple[int, int, int]
    ///
    /// Attributes: base address, size and displacement unit.
    #[getter]
    fn attrs(&self) -> PyResult<(usize, MPI_Aint, int)> {
        Ok((self.base()?.addr(), self.bytes()?, self.pointed(MPI_WIN_DISP_UNIT, 1)?))
    }

    /// flavor: int
    ///
    /// Create flavor.
    #[getter]
    fn flavor(&self) -> PyResult<int> {
        self.pointed(MPI_WIN_CREATE_FLAVOR, MPI_WIN_FLAVOR_CREATE)
    }

    /// model: int
    ///
    /// Memory model.
    #[getter]
    fn model(&self) -> PyResult<int> {
        self.pointed(MPI_WIN_MODEL, MPI_WIN_SEPARATE)
    }

    /// tomemory(self) -> buffer
    ///
    /// Return the local memory of the window.
    fn tomemory<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, Buffer>> {
        let view = View::of_bytes(slf.as_any(), Access::Write)?;
        Bound::new(slf.py(), Buffer::of_view(view))
    }

    unsafe fn __getbuffer__(slf: &Bound<'_, Self>, view: *mut cpython::Py_buffer, flags: int) -> PyResult<()> {
        let (base, size) = (slf.get().base()?, slf.get().bytes()?);
        // SAFETY: the interpreter passes a view to fill; the memory lives as long as the window.
        let code = unsafe { cpython::PyBuffer_FillInfo(view, slf.as_ptr(), base, size, 0, flags) };
        if code < 0 { Err(PyErr::fetch(slf.py())) } else { Ok(()) }
    }

    /// Create_errhandler(cls, errhandler_fn: Callable[[Win, int], None]) -> Errhandler
    ///
    /// Create an error handler that calls a function with the window and the error code. Local.
    #[classmethod]
    fn Create_errhandler<'py>(
        cls: &Bound<'py, PyType>,
        errhandler_fn: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let (function, _until_made) = callback::error_handler(callback::Kind::Win, errhandler_fn)?;
        // SAFETY: the callback lives as long as the process; the result pointer is valid for the write.
        handle::create::<Errhandler>(&cls.py().get_type::<Errhandler>(), |out| unsafe {
            MPI_Win_create_errhandler(function, out)
        })
    }

    /// Get_errhandler(self) -> Errhandler
    ///
    /// Return the error handler in use. Local.
    fn Get_errhandler<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let raw = self.raw();
        // SAFETY: the result pointer is valid for the write.
        handle::create::<Errhandler>(&py.get_type::<Errhandler>(), |out| unsafe { MPI_Win_get_errhandler(raw, out) })
    }

    /// Set_errhandler(self, errhandler: Errhandler) -> None
    ///
    /// Set the error handler. Local.
    fn Set_errhandler(&self, errhandler: &Bound<'_, Errhandler>) -> PyResult<()> {
        // SAFETY: passes values; the library checks them.
        check(unsafe { MPI_Win_set_errhandler(self.raw(), errhandler.get().raw()) })
    }

    /// Call_errhandler(self, errorcode: int) -> None
    ///
    /// Call the error handler with an error code. Local.
    fn Call_errhandler(&self, py: Python<'_>, errorcode: int) -> PyResult<()> {
        let raw = self.raw();
        // SAFETY: passes values; the library checks them.
        gil::blocking(py, || unsafe { MPI_Win_call_errhandler(raw, errorcode) })
    }

    /// Get_name(self) -> str
    ///
    /// Return the name. Local.
    fn Get_name(&self) -> PyResult<String> {
        let mut name = [0; MPI_MAX_OBJECT_NAME as usize + 1];
        let mut length = 0;
        // SAFETY: the array has the room the standard asks for.
        check(unsafe { MPI_Win_get_name(self.raw(), name.as_mut_ptr(), &mut length) })?;
        Ok(text::from_c(&name, length))
    }

    /// Set_name(self, name: str) -> None
    ///
    /// Set the name. Local.
    fn Set_name(&self, name: Text) -> PyResult<()> {
        // SAFETY: the string is NUL-terminated and outlives the call.
        check(unsafe { MPI_Win_set_name(self.raw(), name.as_ptr()) })
    }

    /// name: str
    ///
    /// Print name.
    #[getter]
    fn name(&self) -> PyResult<String> {
        self.Get_name()
    }

    #[setter]
    fn set_name(&self, name: Text) -> PyResult<()> {
        self.Set_name(name)
    }
}

/// Adds the class and its constant to the module.
pub(crate) fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add_class::<Win>()?;
    handle::add_constant::<Win>(m, "WIN_NULL", MPI_WIN_NULL)
}
