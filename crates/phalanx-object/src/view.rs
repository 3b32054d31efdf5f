//! Memory and Python objects: memory that an object lends ([`View`]), and memory as an object ([`Part`]).

use std::ffi::{CStr, c_char, c_int};
use std::pin::Pin;
use std::sync::Arc;

use pyo3::exceptions::PyBufferError;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::PyMemoryView;

/// An owner of memory: the memory goes back when the last one that holds the keeper is gone.
///
/// # Safety
/// For as long as the keeper lives, the memory at `start` stays where it is and can be read for `length` bytes, and
/// written unless it is read-only.
pub unsafe trait Keeper: Send + Sync {
    /// Where the memory begins.
    fn start(&self) -> *mut u8;

    /// How many bytes there are.
    fn length(&self) -> usize;

    /// Whether nobody may write.
    fn is_read_only(&self) -> bool {
        false
    }
}

/// A part of a keeper's memory, as an object with the buffer protocol.
#[pyclass(module = "phalanx", name = "_Part", frozen)]
pub struct Part {
    keeper: Arc<dyn Keeper>,
    offset: usize,
    length: usize,
}

impl Part {
    /// Some of the bytes of a keeper as a `memoryview`.
    ///
    /// # Errors
    /// `BufferError` for bytes that the keeper does not have.
    pub fn view(py: Python<'_>, keeper: Arc<dyn Keeper>, offset: usize, length: usize) -> PyResult<Bound<'_, PyAny>> {
        if offset.checked_add(length).is_none_or(|end| end > keeper.length()) {
            let text = format!("{length} bytes at {offset} are not in memory of {} bytes", keeper.length());
            return Err(PyBufferError::new_err(text));
        }
        let part = Bound::new(py, Part { keeper, offset, length })?;
        Ok(PyMemoryView::from(part.as_any())?.into_any())
    }

    /// All bytes of a keeper, as an object with the buffer protocol.
    ///
    /// # Errors
    /// `MemoryError`.
    pub fn whole(py: Python<'_>, keeper: Arc<dyn Keeper>) -> PyResult<Bound<'_, Part>> {
        let length = keeper.length();
        Bound::new(py, Part { keeper, offset: 0, length })
    }
}

#[pymethods]
impl Part {
    unsafe fn __getbuffer__(slf: Bound<'_, Self>, view: *mut ffi::Py_buffer, flags: c_int) -> PyResult<()> {
        let this = slf.get();
        let length = isize::try_from(this.length).map_err(|_| PyBufferError::new_err("buffer too large"))?;
        let start = this.keeper.start().wrapping_add(this.offset);
        let read_only = c_int::from(this.keeper.is_read_only());
        // SAFETY: Python gives a `view` to fill; the part is inside the keeper's memory, which stays as long as this
        // object, of which the view keeps a reference.
        let code = unsafe { ffi::PyBuffer_FillInfo(view, slf.as_ptr(), start.cast(), length, read_only, flags) };
        if code == 0 { Ok(()) } else { Err(PyErr::fetch(slf.py())) }
    }
}

/// A contiguous buffer that its owner lends: it neither moves nor shrinks until this is dropped.
pub struct View(Pin<Box<ffi::Py_buffer>>);

// SAFETY: a lent buffer belongs to no thread; it is given back under the interpreter lock.
unsafe impl Send for View {}
// SAFETY: shared access reads the description, which nobody changes.
unsafe impl Sync for View {}

impl View {
    /// Borrows the memory of `owner`; not contiguous memory is an error.
    ///
    /// # Errors
    /// `TypeError` or `BufferError`.
    pub fn of(owner: &Bound<'_, PyAny>) -> PyResult<View> {
        let mut buffer = Box::new(ffi::Py_buffer::new());
        // SAFETY: a place to fill that stays where it is, in a box, until it is given back.
        if unsafe { ffi::PyObject_GetBuffer(owner.as_ptr(), &mut *buffer, ffi::PyBUF_FULL_RO) } != 0 {
            return Err(PyErr::fetch(owner.py()));
        }
        let view = View(Pin::from(buffer));
        // SAFETY: a buffer that Python filled.
        if unsafe { ffi::PyBuffer_IsContiguous(&*view.0, b'A' as c_char) } == 0 {
            return Err(pyo3::exceptions::PyBufferError::new_err("the memory of the buffer is not contiguous"));
        }
        Ok(view)
    }

    /// How many bytes there are.
    #[must_use]
    pub fn length(&self) -> usize {
        self.0.len.unsigned_abs()
    }

    /// Where they are.
    #[must_use]
    pub fn address(&self) -> *const u8 {
        self.0.buf.cast_const().cast()
    }

    /// The letters of the element type; of bytes without a type, `B`.
    #[must_use]
    pub fn format(&self) -> &[u8] {
        if self.0.format.is_null() {
            return b"B";
        }
        // SAFETY: where there is a format, it is a C string that lives as long as the buffer.
        unsafe { CStr::from_ptr(self.0.format) }.to_bytes()
    }

    /// How many elements there are along each axis.
    #[must_use]
    pub fn shape(&self) -> &[isize] {
        let axes = usize::try_from(self.0.ndim).unwrap_or(0);
        if axes == 0 || self.0.shape.is_null() {
            return &[];
        }
        // SAFETY: as many numbers as there are axes, as long as the buffer lives.
        unsafe { std::slice::from_raw_parts(self.0.shape, axes) }
    }

    /// Whether the first axis, and not the last, is the one without gaps.
    #[must_use]
    pub fn is_fortran(&self) -> bool {
        // SAFETY: a buffer that Python filled.
        unsafe { ffi::PyBuffer_IsContiguous(&*self.0, b'C' as c_char) == 0 }
    }

    /// Whether the owner lets nobody write.
    #[must_use]
    pub fn is_read_only(&self) -> bool {
        self.0.readonly != 0
    }

    /// The object whose memory it is.
    #[must_use]
    pub fn owner<'a, 'py>(&'a self, py: Python<'py>) -> Option<Borrowed<'a, 'py, PyAny>> {
        // SAFETY: the buffer holds a reference to its owner; the result cannot outlive it.
        unsafe { Borrowed::from_ptr_or_opt(py, self.0.obj) }
    }
}

// SAFETY: a lent buffer neither moves nor shrinks while it is held.
unsafe impl Keeper for View {
    fn start(&self) -> *mut u8 {
        self.address().cast_mut()
    }

    fn length(&self) -> usize {
        View::length(self)
    }

    fn is_read_only(&self) -> bool {
        View::is_read_only(self)
    }
}

impl Drop for View {
    fn drop(&mut self) {
        // Without the lock (the interpreter is shutting down) the reference is left alone.
        let buffer = &mut *self.0;
        let _ = Python::try_attach(|_| {
            // SAFETY: filled by `of` and not given back yet; the lock is held.
            unsafe { ffi::PyBuffer_Release(buffer) }
        });
    }
}
