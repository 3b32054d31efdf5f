//! `MPI.File`: files that processes share (MPI 5.0 chapter 14).
//!
//! Here the class, opening, views and positions; `access` holds the reads and writes, `represent` the program's data
//! representations.

use pyo3::prelude::*;
use pyo3::types::PyType;

use crate::callback;
use crate::comm::Intracomm;
use crate::datatype::Datatype;
use crate::errhandler::Errhandler;
use crate::error::check;
use crate::ffi::*;
use crate::gil;
use crate::group;
use crate::handle::{self, Handle, HandleCell, Raw as _, handle_methods};
use crate::info::Info;
use crate::text::{self, PathText, Text};

mod access;
mod represent;

/// A file opened by a group of processes.
#[pyclass(module = "phalanx.MPI", subclass, frozen, weakref)]
#[repr(C)] // what compiled code for mpi4py reads comes first
pub(crate) struct File {
    handle: HandleCell<MPI_File>,
}

impl Handle for File {
    type Raw = MPI_File;

    fn cell(&self) -> &HandleCell<MPI_File> {
        &self.handle
    }

    fn release(slf: &Bound<'_, Self>) -> PyResult<()> {
        slf.get().Close(slf.py())
    }
}

handle_methods!(File, MPI_File, handle::reduce);

impl File {
    /// Asks a fact of the file's group.
    fn of_group(&self, ask: unsafe extern "C" fn(MPI_Group, *mut c_int) -> c_int) -> PyResult<c_int> {
        let (mut group, mut number) = (MPI_GROUP_NULL, MPI_UNDEFINED);
        // SAFETY: both places are valid for the writes; the group is freed below.
        let code = unsafe {
            check(MPI_File_get_group(self.raw(), &mut group))?;
            let code = ask(group, &mut number);
            check(MPI_Group_free(&mut group))?;
            code
        };
        check(code)?;
        Ok(number)
    }

    /// Asks for an offset.
    fn offset(
        &self,
        py: Python<'_>,
        ask: unsafe extern "C" fn(MPI_File, *mut MPI_Offset) -> c_int,
    ) -> PyResult<MPI_Offset> {
        let (raw, mut offset) = (self.raw(), 0);
        // SAFETY: the place is valid for the write.
        gil::blocking(py, || unsafe { ask(raw, &mut offset) })?;
        Ok(offset)
    }
}

#[pymethods]
impl File {
    #[new]
    #[pyo3(signature = (file=None))]
    fn new(file: Option<&Bound<'_, File>>) -> Self {
        File { handle: HandleCell::new(handle::raw_or_null(file)) }
    }

    /// Open(cls, comm: Intracomm, filename, amode: int = MODE_RDONLY, info: Info = INFO_NULL) -> Self
    ///
    /// Open a file. Collective, blocks.
    #[classmethod]
    #[pyo3(signature = (comm, filename, amode=MPI_MODE_RDONLY, info=None))]
    fn Open<'py>(
        cls: &Bound<'py, PyType>,
        comm: &Bound<'py, Intracomm>,
        filename: PathText,
        amode: c_int,
        info: Option<&Bound<'py, Info>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let (comm, info) = (comm.as_super().get().raw(), handle::raw_or_null(info));
        // SAFETY: the name is NUL-terminated; the result pointer is valid for the write.
        let object = handle::create_blocking::<File>(cls, |out| unsafe {
            MPI_File_open(comm, filename.as_ptr(), amode, info, out)
        })?;
        callback::set_default(callback::Kind::File, object.cast::<File>()?.get().raw().bits())?;
        Ok(object)
    }

    /// Close(self) -> None
    ///
    /// Close the file. Collective, blocks.
    fn Close(&self, py: Python<'_>) -> PyResult<()> {
        let (before, mut raw) = (self.raw(), self.raw());
        // SAFETY: the pointer is valid for the call.
        gil::blocking(py, || unsafe { MPI_File_close(&mut raw) })?;
        self.handle.set(if handle::is_constant(self) { before } else { raw });
        Ok(())
    }

    /// Delete(cls, filename, info: Info = INFO_NULL) -> None
    ///
    /// Delete a file. Local.
    #[classmethod]
    #[pyo3(signature = (filename, info=None))]
    fn Delete(cls: &Bound<'_, PyType>, filename: PathText, info: Option<&Bound<'_, Info>>) -> PyResult<()> {
        let info = handle::raw_or_null(info);
        // SAFETY: the name is NUL-terminated and outlives the call.
        gil::blocking(cls.py(), || unsafe { MPI_File_delete(filename.as_ptr(), info) })
    }

    /// Set_size(self, size: int) -> None
    ///
    /// Set the size in bytes. Collective, blocks.
    fn Set_size(&self, py: Python<'_>, size: MPI_Offset) -> PyResult<()> {
        let raw = self.raw();
        // SAFETY: passes values; the library checks them.
        gil::blocking(py, || unsafe { MPI_File_set_size(raw, size) })
    }

    /// Preallocate(self, size: int) -> None
    ///
    /// Reserve space for the first `size` bytes. Collective, blocks.
    fn Preallocate(&self, py: Python<'_>, size: MPI_Offset) -> PyResult<()> {
        let raw = self.raw();
        // SAFETY: passes values; the library checks them.
        gil::blocking(py, || unsafe { MPI_File_preallocate(raw, size) })
    }

    /// Get_size(self) -> int
    ///
    /// Return the size in bytes.
    fn Get_size(&self, py: Python<'_>) -> PyResult<MPI_Offset> {
        self.offset(py, MPI_File_get_size)
    }

    /// size: int
    ///
    /// Size (in bytes).
    #[getter]
    fn size(&self, py: Python<'_>) -> PyResult<MPI_Offset> {
        self.Get_size(py)
    }

    /// Get_amode(self) -> int
    ///
    /// Return the access mode. Local.
    fn Get_amode(&self) -> PyResult<c_int> {
        let mut amode = 0;
        // SAFETY: the place is valid for the write.
        check(unsafe { MPI_File_get_amode(self.raw(), &mut amode) })?;
        Ok(amode)
    }

    /// amode: int
    ///
    /// Access mode.
    #[getter]
    fn amode(&self) -> PyResult<c_int> {
        self.Get_amode()
    }

    /// Get_group(self) -> Group
    ///
    /// Return the group of processes that opened the file. Local.
    fn Get_group<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let raw = self.raw();
        // SAFETY: the result pointer is valid for the write.
        group::from_call(py, |out| unsafe { MPI_File_get_group(raw, out) })
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
    fn group_size(&self) -> PyResult<c_int> {
        self.of_group(MPI_Group_size)
    }

    /// group_rank: int
    ///
    /// Group rank.
    #[getter]
    fn group_rank(&self) -> PyResult<c_int> {
        self.of_group(MPI_Group_rank)
    }

    /// Set_info(self, info: Info) -> None
    ///
    /// Set hints. Collective.
    fn Set_info(&self, py: Python<'_>, info: &Bound<'_, Info>) -> PyResult<()> {
        let (raw, info) = (self.raw(), info.get().raw());
        // SAFETY: passes values; the library checks them.
        gil::blocking(py, || unsafe { MPI_File_set_info(raw, info) })
    }

    /// Get_info(self) -> Info
    ///
    /// Return the hints in use. Local.
    fn Get_info<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let raw = self.raw();
        // SAFETY: the result pointer is valid for the write.
        handle::create_blocking::<Info>(&py.get_type::<Info>(), |out| unsafe { MPI_File_get_info(raw, out) })
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

    /// Set_view(self, disp=0, etype=BYTE, filetype=None, datarep='native', info=INFO_NULL) -> None
    ///
    /// Set what part of the file this process sees, and as what. Collective, blocks.
    #[pyo3(signature = (disp=0, etype=None, filetype=None, datarep=None, info=None))]
    fn Set_view(
        &self,
        py: Python<'_>,
        disp: MPI_Offset,
        etype: Option<&Bound<'_, Datatype>>,
        filetype: Option<&Bound<'_, Datatype>>,
        datarep: Option<Text>,
        info: Option<&Bound<'_, Info>>,
    ) -> PyResult<()> {
        let etype = etype.map_or(MPI_BYTE, |etype| etype.get().raw());
        let filetype = filetype.map_or(etype, |filetype| filetype.get().raw());
        let datarep = datarep.as_ref().map_or(c"native".as_ptr(), Text::as_ptr);
        let (raw, info) = (self.raw(), handle::raw_or_null(info));
        // SAFETY: the name is NUL-terminated and outlives the call.
        gil::blocking(py, || unsafe { MPI_File_set_view(raw, disp, etype, filetype, datarep, info) })
    }

    /// Get_view(self) -> tuple[int, Datatype, Datatype, str]
    ///
    /// Return the displacement, the element type, the file type and the data representation. Local.
    fn Get_view<'py>(&self, py: Python<'py>) -> PyResult<(MPI_Offset, Bound<'py, PyAny>, Bound<'py, PyAny>, String)> {
        let (mut disp, mut etype, mut filetype) = (0, MPI_DATATYPE_NULL, MPI_DATATYPE_NULL);
        let mut name = [0; MPI_MAX_DATAREP_STRING as usize + 1];
        // SAFETY: the places are valid for the writes; the array has the room the standard asks for.
        check(unsafe { MPI_File_get_view(self.raw(), &mut disp, &mut etype, &mut filetype, name.as_mut_ptr()) })?;
        let class = py.get_type::<Datatype>();
        let etype = handle::instance::<Datatype>(&class, etype)?;
        let filetype = handle::instance::<Datatype>(&class, filetype)?;
        Ok((disp, etype, filetype, text::from_c(&name, MPI_MAX_DATAREP_STRING)))
    }

    /// Seek(self, offset: int, whence: int = SEEK_SET) -> None
    ///
    /// Move the process's own position, counted in element types. Local.
    #[pyo3(signature = (offset, whence=MPI_SEEK_SET))]
    fn Seek(&self, py: Python<'_>, offset: MPI_Offset, whence: c_int) -> PyResult<()> {
        let raw = self.raw();
        // SAFETY: passes values; the library checks them.
        gil::blocking(py, || unsafe { MPI_File_seek(raw, offset, whence) })
    }

    /// Get_position(self) -> int
    ///
    /// Return the process's own position. Local.
    fn Get_position(&self, py: Python<'_>) -> PyResult<MPI_Offset> {
        self.offset(py, MPI_File_get_position)
    }

    /// Get_byte_offset(self, offset: int) -> int
    ///
    /// Return the byte in the file at an offset in the view. Local.
    fn Get_byte_offset(&self, offset: MPI_Offset) -> PyResult<MPI_Offset> {
        let mut byte = 0;
        // SAFETY: the place is valid for the write.
        check(unsafe { MPI_File_get_byte_offset(self.raw(), offset, &mut byte) })?;
        Ok(byte)
    }

    /// Seek_shared(self, offset: int, whence: int = SEEK_SET) -> None
    ///
    /// Move the shared position. Collective, blocks.
    #[pyo3(signature = (offset, whence=MPI_SEEK_SET))]
    fn Seek_shared(&self, py: Python<'_>, offset: MPI_Offset, whence: c_int) -> PyResult<()> {
        let raw = self.raw();
        // SAFETY: passes values; the library checks them.
        gil::blocking(py, || unsafe { MPI_File_seek_shared(raw, offset, whence) })
    }

    /// Get_position_shared(self) -> int
    ///
    /// Return the shared position.
    fn Get_position_shared(&self, py: Python<'_>) -> PyResult<MPI_Offset> {
        self.offset(py, MPI_File_get_position_shared)
    }

    /// Get_type_extent(self, datatype: Datatype) -> int
    ///
    /// Return the extent of a datatype in the file. Local.
    fn Get_type_extent(&self, datatype: &Bound<'_, Datatype>) -> PyResult<MPI_Count> {
        let mut extent = 0;
        // SAFETY: the place is valid for the write.
        check(unsafe { MPI_File_get_type_extent_c(self.raw(), datatype.get().raw(), &mut extent) })?;
        Ok(extent)
    }

    /// Set_atomicity(self, flag: bool) -> None
    ///
    /// Say whether accesses that overlap have to be atomic. Collective, blocks.
    fn Set_atomicity(&self, py: Python<'_>, flag: bool) -> PyResult<()> {
        let raw = self.raw();
        // SAFETY: passes values; the library checks them.
        gil::blocking(py, || unsafe { MPI_File_set_atomicity(raw, c_int::from(flag)) })
    }

    /// Get_atomicity(self) -> bool
    ///
    /// Return whether accesses are atomic. Local.
    fn Get_atomicity(&self) -> PyResult<bool> {
        let mut flag = 0;
        // SAFETY: the place is valid for the write.
        check(unsafe { MPI_File_get_atomicity(self.raw(), &mut flag) })?;
        Ok(flag != 0)
    }

    /// atomicity: bool
    ///
    /// Atomicity mode.
    #[getter]
    fn atomicity(&self) -> PyResult<bool> {
        self.Get_atomicity()
    }

    #[setter]
    fn set_atomicity(&self, py: Python<'_>, flag: bool) -> PyResult<()> {
        self.Set_atomicity(py, flag)
    }

    /// Sync(self) -> None
    ///
    /// Write everything to the storage device. Collective, blocks.
    fn Sync(&self, py: Python<'_>) -> PyResult<()> {
        let raw = self.raw();
        // SAFETY: passes a value; the library checks it.
        gil::blocking(py, || unsafe { MPI_File_sync(raw) })
    }

    /// Create_errhandler(cls, errhandler_fn: Callable[[File, int], None]) -> Errhandler
    ///
    /// Create an error handler that calls a function with the file and the error code. Local.
    #[classmethod]
    fn Create_errhandler<'py>(
        cls: &Bound<'py, PyType>,
        errhandler_fn: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let (function, _until_made) = callback::error_handler(callback::Kind::File, errhandler_fn)?;
        // SAFETY: the callback lives as long as the process; the result pointer is valid for the write.
        handle::create::<Errhandler>(&cls.py().get_type::<Errhandler>(), |out| unsafe {
            MPI_File_create_errhandler(function, out)
        })
    }

    /// Get_errhandler(self) -> Errhandler
    ///
    /// Return the error handler in use. Local.
    fn Get_errhandler<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let raw = self.raw();
        // SAFETY: the result pointer is valid for the write.
        handle::create::<Errhandler>(&py.get_type::<Errhandler>(), |out| unsafe { MPI_File_get_errhandler(raw, out) })
    }

    /// Set_errhandler(self, errhandler: Errhandler) -> None
    ///
    /// Set the error handler; that of `FILE_NULL` is the default of new files. Local.
    fn Set_errhandler(&self, errhandler: &Bound<'_, Errhandler>) -> PyResult<()> {
        // SAFETY: passes values; the library checks them.
        check(unsafe { MPI_File_set_errhandler(self.raw(), errhandler.get().raw()) })
    }

    /// Call_errhandler(self, errorcode: int) -> None
    ///
    /// Call the error handler with an error code. Local.
    fn Call_errhandler(&self, py: Python<'_>, errorcode: c_int) -> PyResult<()> {
        let raw = self.raw();
        // SAFETY: passes values; the library checks them.
        gil::blocking(py, || unsafe { MPI_File_call_errhandler(raw, errorcode) })
    }
}

/// Adds the class and its constant to the module.
pub(crate) fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add_class::<File>()?;
    represent::register(m)?;
    handle::add_constant::<File>(m, "FILE_NULL", MPI_FILE_NULL)
}
