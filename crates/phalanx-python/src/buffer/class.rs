//! The class `MPI.buffer` (also named `MPI.memory`).

use std::ffi::{c_int, c_void};
use std::ptr;

use pyo3::exceptions::{PyIndexError, PyTypeError, PyValueError};
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyMemoryView, PySlice};

use super::{Access, View};

/// Contiguous memory, as bytes.
///
/// Made from any object with the buffer protocol (or DLPack, or an array interface), allocated
/// (`buffer.allocate`), or laid over an address (`buffer.fromaddress`). Indexing gives integers, slicing gives
/// buffers over the same memory. The buffer protocol exports it to memoryview, NumPy and the rest.
#[pyclass(name = "buffer", module = "phalanx.MPI")]
pub(crate) struct Buffer {
    view: View,
    /// Exports to other objects (memoryviews, arrays, slices) that are still alive.
    exports: usize,
    /// What was released while exports were alive: given back with the last of them.
    lingering: Vec<View>,
}

impl Buffer {
    /// A buffer over memory that MPI owns (allocated by MPI, or part of a window).
    pub(crate) fn of_address(address: *mut c_void, bytes: isize) -> Buffer {
        Buffer::new(View::of_memory(address, bytes, false, None))
    }

    /// Lends two memories, with their numbers of bytes, to a function of the program: the buffers that it gets are empty once
    /// it is over, though it may have kept them. Fewer than 0 bytes are none.
    pub(crate) fn lend<'py, T>(
        py: Python<'py>,
        one: (*mut c_void, isize),
        other: (*mut c_void, isize),
        function: impl FnOnce(&Bound<'py, Buffer>, &Bound<'py, Buffer>) -> PyResult<T>,
    ) -> PyResult<T> {
        let buffer = |(address, bytes): (*mut c_void, isize)| Bound::new(py, Buffer::of_address(address, bytes.max(0)));
        let (one, other) = (buffer(one)?, buffer(other)?);
        let done = function(&one, &other);
        for buffer in [one, other] {
            // Another thread may be looking at it at this moment: it is then no worse off than with a view of its own.
            if let Ok(mut buffer) = buffer.try_borrow_mut() {
                buffer.forget();
            }
        }
        done
    }

    /// The view of this buffer.
    pub(crate) fn view(&self) -> &View {
        &self.view
    }

    /// Forgets the memory: afterwards the buffer is empty. For memory that MPI has just freed.
    pub(crate) fn forget(&mut self) {
        self.view = View::empty();
    }

    /// A buffer around a view.
    pub(crate) fn of_view(view: View) -> Buffer {
        Buffer::new(view)
    }

    fn new(view: View) -> Buffer {
        Buffer { view, exports: 0, lingering: Vec::new() }
    }

    fn check_index(&self, index: isize) -> PyResult<isize> {
        let length = self.view.bytes();
        let at = if index < 0 { index + length } else { index };
        if (0..length).contains(&at) {
            return Ok(at);
        }
        Err(PyIndexError::new_err(format!("index out of range: {index} in a buffer of {length} bytes")))
    }

    fn check_slice(&self, slice: &Bound<'_, PySlice>) -> PyResult<(isize, isize)> {
        let range = slice.indices(self.view.bytes())?;
        if range.step != 1 {
            return Err(PyIndexError::new_err("slice with step not supported: a buffer is contiguous memory"));
        }
        Ok((range.start, range.slicelength as isize))
    }

    fn at(&self, offset: isize) -> *mut u8 {
        self.view.address().cast::<u8>().wrapping_offset(offset)
    }
}

fn wrong_key(key: &Bound<'_, PyAny>) -> PyErr {
    let kind = key.get_type().name().map_or_else(|_| String::from("object"), |name| name.to_string());
    PyTypeError::new_err(format!("index must be integer or slice, not '{kind}'"))
}

fn is_index(object: &Bound<'_, PyAny>) -> bool {
    // SAFETY: `object` is a valid reference and we are attached.
    unsafe { ffi::PyIndex_Check(object.as_ptr()) != 0 }
}

fn as_index(object: &Bound<'_, PyAny>) -> PyResult<isize> {
    // SAFETY: `object` is a valid reference; a value that does not fit raises the given exception.
    let value = unsafe { ffi::PyNumber_AsSsize_t(object.as_ptr(), ffi::PyExc_IndexError) };
    match PyErr::take(object.py()) {
        Some(error) if value == -1 => Err(error),
        _ => Ok(value),
    }
}

#[pymethods]
impl Buffer {
    #[new]
    #[pyo3(signature = (*args))]
    fn py_new(args: &Bound<'_, pyo3::types::PyTuple>) -> PyResult<Buffer> {
        match args.len() {
            0 => Ok(Buffer::new(View::empty())),
            _ => Ok(Buffer::new(View::of_bytes(&args.get_item(0)?, Access::Read)?)),
        }
    }

    /// allocate(nbytes: int, clear: bool = False) -> buffer
    ///
    /// New memory of `nbytes` bytes, owned by the buffer and freed with it.
    ///
    /// The memory is zeroed only when `clear` is true. Raises ValueError for a negative size, MemoryError when there is
    /// not enough.
    #[staticmethod]
    #[pyo3(signature = (nbytes, clear = false))]
    fn allocate(py: Python<'_>, nbytes: isize, clear: bool) -> PyResult<Buffer> {
        if nbytes < 0 {
            return Err(PyValueError::new_err(format!("expecting non-negative size, got {nbytes}")));
        }
        // SAFETY: a null pointer asks for uninitialised contents; errors come back as null.
        let owner =
            unsafe { Bound::from_owned_ptr_or_err(py, ffi::PyByteArray_FromStringAndSize(ptr::null(), nbytes))? };
        let view = View::of_bytes(&owner, Access::Write)?;
        if clear {
            // SAFETY: a writable export of `nbytes` bytes that nobody else knows yet.
            unsafe { ptr::write_bytes(view.address().cast::<u8>(), 0, nbytes as usize) };
        }
        Ok(Buffer::new(view))
    }

    /// frombuffer(obj: Buffer, readonly: bool = False) -> buffer
    ///
    /// The memory of an object, which must be writable unless `readonly` is true.
    ///
    /// Raises TypeError for an object without memory, BufferError (or what the object raises) when it is read-only or
    /// not contiguous.
    #[staticmethod]
    #[pyo3(signature = (obj, readonly = false))]
    fn frombuffer(obj: &Bound<'_, PyAny>, readonly: bool) -> PyResult<Buffer> {
        let mut view = View::of_bytes(obj, if readonly { Access::Read } else { Access::Write })?;
        view.raw.readonly = c_int::from(readonly);
        Ok(Buffer::new(view))
    }

    /// fromaddress(address: int, nbytes: int, readonly: bool = False) -> buffer
    ///
    /// Memory at an address; the caller keeps it valid as long as the buffer is used.
    ///
    /// Raises ValueError for a negative size, or for bytes at address 0.
    #[staticmethod]
    #[pyo3(signature = (address, nbytes, readonly = false))]
    fn fromaddress(address: usize, nbytes: isize, readonly: bool) -> PyResult<Buffer> {
        if nbytes < 0 {
            return Err(PyValueError::new_err(format!("expecting non-negative buffer length, got {nbytes}")));
        }
        if nbytes > 0 && address == 0 {
            return Err(PyValueError::new_err(format!("expecting non-NULL address for {nbytes} bytes")));
        }
        Ok(Buffer::new(View::of_memory(address as *mut c_void, nbytes, readonly, None)))
    }

    /// address: int
    ///
    /// Buffer address.
    #[getter]
    fn address(&self) -> usize {
        self.view.address() as usize
    }

    /// obj: Buffer | None
    ///
    /// Object exposing the buffer, None for memory at an address.
    #[getter]
    fn obj<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyAny>> {
        self.view.object(py)
    }

    /// nbytes: int
    ///
    /// Buffer size in bytes.
    #[getter]
    fn nbytes(&self) -> isize {
        self.view.bytes()
    }

    /// readonly: bool
    ///
    /// Whether the buffer is read-only.
    #[getter]
    fn readonly(&self) -> bool {
        self.view.is_read_only()
    }

    /// format: str
    ///
    /// Format of each element: "B", a byte.
    #[getter]
    fn format(&self) -> String {
        self.view.format().unwrap_or(c"B").to_string_lossy().into_owned()
    }

    /// itemsize: int
    ///
    /// Size of each element in bytes.
    #[getter]
    fn itemsize(&self) -> isize {
        self.view.itemsize()
    }

    /// cast(self, format: str, shape: list[int] | tuple[int, ...] = ...) -> memoryview
    ///
    /// A memoryview of the memory with another element format, and optionally a shape.
    #[pyo3(signature = (format, shape = None))]
    fn cast<'py>(
        slf: &Bound<'py, Self>,
        format: &Bound<'py, PyAny>,
        shape: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        slf.borrow().view.check_host()?;
        let memory = PyMemoryView::from(slf.as_any())?;
        match shape {
            Some(shape) if !shape.is(slf.py().Ellipsis()) => memory.call_method1("cast", (format, shape)),
            _ => memory.call_method1("cast", (format,)),
        }
    }

    /// tobytes(self, order: str | None = None) -> bytes
    ///
    /// A copy of the contents as bytes.
    ///
    /// `order` is accepted for likeness with memoryview; the memory is contiguous.
    #[pyo3(signature = (order = None))]
    fn tobytes<'py>(&self, py: Python<'py>, order: Option<&Bound<'py, PyAny>>) -> PyResult<Bound<'py, PyBytes>> {
        let _ = order;
        self.view.check_host()?;
        // SAFETY: the view holds that many readable bytes on the host; a null address only comes with length 0.
        unsafe {
            Bound::from_owned_ptr_or_err(
                py,
                ffi::PyBytes_FromStringAndSize(self.view.address().cast(), self.view.bytes()),
            )
            .map(|bytes| bytes.cast_into_unchecked())
        }
    }

    /// toreadonly(self) -> buffer
    ///
    /// A read-only buffer over the same memory.
    fn toreadonly(slf: &Bound<'_, Self>) -> PyResult<Buffer> {
        let owner = slf.borrow().view.object(slf.py());
        let mut view = View::of_bytes(owner.as_ref().unwrap_or(slf.as_any()), Access::Read)?;
        {
            // A slice lies somewhere inside its owner's memory.
            let this = slf.borrow();
            view.raw.buf = this.view.raw.buf;
            view.raw.len = this.view.raw.len;
        }
        view.raw.readonly = 1;
        Ok(Buffer::new(view))
    }

    /// release(self) -> None
    ///
    /// Gives the memory back; afterwards the buffer is empty.
    ///
    /// While memoryviews, arrays or slices still look at the memory its owner keeps it for them.
    fn release(&mut self) {
        let view = std::mem::replace(&mut self.view, View::empty());
        if self.exports > 0 {
            self.lingering.push(view);
        }
    }

    fn __len__(&self) -> usize {
        self.view.bytes() as usize
    }

    fn __getitem__<'py>(slf: &Bound<'py, Self>, item: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        let py = slf.py();
        let (start, length) = {
            let this = slf.borrow();
            this.view.check_host()?;
            if is_index(item) {
                let at = this.check_index(as_index(item)?)?;
                // SAFETY: `at` lies within the host memory of the view.
                let byte = unsafe { this.at(at).read() };
                return Ok(byte.into_pyobject(py)?.into_any());
            }
            this.check_slice(item.cast::<PySlice>().map_err(|_| wrong_key(item))?)?
        };
        // The slice holds an export of this buffer, and with it the memory.
        let mut part = View::of_bytes(slf.as_any(), Access::Read)?;
        part.raw.buf = part.address().cast::<u8>().wrapping_offset(start).cast();
        part.raw.len = length;
        Ok(Bound::new(py, Buffer::new(part))?.into_any())
    }

    fn __setitem__(slf: &Bound<'_, Self>, item: &Bound<'_, PyAny>, value: &Bound<'_, PyAny>) -> PyResult<()> {
        let this = slf.borrow();
        this.view.check_host()?;
        if this.view.is_read_only() {
            return Err(PyTypeError::new_err("buffer is read-only"));
        }
        if is_index(item) {
            let at = this.check_index(as_index(item)?)?;
            let byte: u8 = value.extract()?;
            // SAFETY: `at` lies within the writable host memory of the view.
            unsafe { this.at(at).write(byte) };
            return Ok(());
        }
        let slice = item.cast::<PySlice>().map_err(|_| wrong_key(item))?;
        let (start, length) = this.check_slice(slice)?;
        if is_index(value) {
            let byte: u8 = value.extract()?;
            if length > 0 {
                // SAFETY: the slice lies within the writable host memory of the view.
                unsafe { ptr::write_bytes(this.at(start), byte, length as usize) };
            }
            return Ok(());
        }
        let source = View::of(value, Access::Read, false)?;
        source.check_host()?;
        if source.bytes() != length {
            return Err(PyValueError::new_err(format!(
                "slice length does not match buffer: {length} bytes to fill, {} given",
                source.bytes()
            )));
        }
        if length > 0 {
            // SAFETY: both sides hold `length` bytes; they may overlap.
            unsafe { ptr::copy(source.address().cast::<u8>(), this.at(start), length as usize) };
        }
        Ok(())
    }

    unsafe fn __getbuffer__(slf: Bound<'_, Self>, view: *mut ffi::Py_buffer, flags: c_int) -> PyResult<()> {
        let mut this = slf.try_borrow_mut()?;
        let (address, bytes, read_only) = (this.view.address(), this.view.bytes(), this.view.raw.readonly);
        // SAFETY: called by the interpreter with a Py_buffer to fill; it takes a reference to `slf`, which holds the memory.
        if unsafe { ffi::PyBuffer_FillInfo(view, slf.as_ptr(), address, bytes, read_only, flags) } != 0 {
            return Err(PyErr::fetch(slf.py()));
        }
        this.exports += 1;
        Ok(())
    }

    unsafe fn __releasebuffer__(&mut self, _view: *mut ffi::Py_buffer) {
        self.exports = self.exports.saturating_sub(1);
        if self.exports == 0 {
            self.lingering.clear();
        }
    }
}
