//! The memory of an object with the buffer protocol, for as long as it is copied.

use std::ffi::{CStr, c_char};
use std::pin::Pin;

use pyo3::ffi;
use pyo3::prelude::*;

/// A contiguous buffer that its owner lends: it neither moves nor shrinks until this is dropped.
pub(crate) struct View(Pin<Box<ffi::Py_buffer>>);

// SAFETY: a lent buffer belongs to no thread; it is given back under the interpreter lock.
unsafe impl Send for View {}
// SAFETY: shared access reads the description, which nobody changes.
unsafe impl Sync for View {}

impl View {
    /// Borrows the memory of `owner`; not contiguous memory is an error.
    ///
    /// # Errors
    /// `TypeError` or `BufferError`.
    pub(crate) fn of(owner: &Bound<'_, PyAny>) -> PyResult<View> {
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
    pub(crate) fn length(&self) -> usize {
        self.0.len.unsigned_abs()
    }

    /// Where they are.
    pub(crate) fn address(&self) -> *const u8 {
        self.0.buf.cast_const().cast()
    }

    /// The letters of the element type; of bytes without a type, `B`.
    pub(super) fn format(&self) -> &[u8] {
        if self.0.format.is_null() {
            return b"B";
        }
        // SAFETY: where there is a format, it is a C string that lives as long as the buffer.
        unsafe { CStr::from_ptr(self.0.format) }.to_bytes()
    }

    /// How many elements there are along each axis.
    pub(super) fn shape(&self) -> &[isize] {
        let axes = usize::try_from(self.0.ndim).unwrap_or(0);
        if axes == 0 || self.0.shape.is_null() {
            return &[];
        }
        // SAFETY: as many numbers as there are axes, as long as the buffer lives.
        unsafe { std::slice::from_raw_parts(self.0.shape, axes) }
    }

    /// Whether the first axis, and not the last, is the one without gaps.
    pub(super) fn is_fortran(&self) -> bool {
        // SAFETY: a buffer that Python filled.
        unsafe { ffi::PyBuffer_IsContiguous(&*self.0, b'C' as c_char) == 0 }
    }

    /// The object whose memory it is.
    pub(crate) fn owner<'a, 'py>(&'a self, py: Python<'py>) -> Option<Borrowed<'a, 'py, PyAny>> {
        // SAFETY: the buffer holds a reference to its owner; the result cannot outlive it.
        unsafe { Borrowed::from_ptr_or_opt(py, self.0.obj) }
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
