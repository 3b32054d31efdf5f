//! Memory behind Python objects.
//!
//! A [`View`] is the contiguous memory of one Python object, held until the view is dropped. It comes from the buffer
//! protocol (bytes, bytearray, array, memoryview, NumPy, ctypes, mmap, ...), else from DLPack, else from the array
//! interface of CUDA-aware libraries. NumPy is never imported: its arrays speak the buffer protocol, and once one has come, the
//! others are [looked at directly](ndarray).
//!
//! Memory that has gaps, is read-only or has elements without a format is a `BufferError`, whatever the exporter raised (NumPy:
//! `ValueError`), as in mpi4py; an object without memory is a `TypeError`. The text says what the object is, what is wrong
//! with it and what to do.

mod array_interface;
mod class;
mod dlpack;
pub(crate) mod format;
mod ndarray;

pub(crate) use class::Buffer;

use std::ffi::{CStr, c_char, c_int, c_void};
use std::ptr;

use pyo3::exceptions::{PyAttributeError, PyBufferError, PyTypeError};
use pyo3::prelude::*;
use pyo3::{ffi, intern};

use crate::extras;

/// What the caller will do with the memory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Access {
    /// Only read: any buffer will do.
    Read,
    /// Write into it: a read-only buffer is an error.
    Write,
}

/// Where the memory of a view came from, which decides how it is given back and who may look into it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Origin {
    /// No object: an address, or nothing at all.
    Address,
    /// The buffer protocol: `PyBuffer_Release` gives it back.
    Protocol,
    /// An array of NumPy: a reference to it is held.
    Array,
    /// DLPack or an array interface: a reference to the exporter is held. The number is a DLPack device type.
    Device(u32),
}

/// Contiguous memory of a Python object, kept alive and unmoved until the view is dropped.
pub(crate) struct View {
    raw: ffi::Py_buffer,
    origin: Origin,
}

// SAFETY: a view is plain data plus an owned reference; the reference is only touched while attached to the interpreter
// (construction takes a `Bound`, `drop` attaches first), whichever thread that happens on.
unsafe impl Send for View {}
// SAFETY: nothing is mutated through a shared view; see `Send`.
unsafe impl Sync for View {}

impl View {
    /// A view of nothing: address 0, length 0.
    pub(crate) const fn empty() -> View {
        View { raw: ffi::Py_buffer::new(), origin: Origin::Address }
    }

    /// A view of memory that nobody owns, or that `owner` keeps alive.
    pub(crate) fn of_memory(
        address: *mut c_void,
        bytes: isize,
        read_only: bool,
        owner: Option<Bound<'_, PyAny>>,
    ) -> View {
        let mut raw = ffi::Py_buffer::new();
        raw.buf = address;
        raw.len = bytes;
        raw.itemsize = 1;
        raw.readonly = c_int::from(read_only);
        let origin = if owner.is_some() { Origin::Device(0) } else { Origin::Address };
        raw.obj = owner.map_or(ptr::null_mut(), Bound::into_ptr);
        View { raw, origin }
    }

    /// The memory of `object`, C- or Fortran-contiguous, for `access`.
    ///
    /// `with_format` also asks for the element format; without it exporters whose elements have no format can be used too.
    #[inline]
    pub(crate) fn of(object: &Bound<'_, PyAny>, access: Access, with_format: bool) -> PyResult<View> {
        let mut flags = ffi::PyBUF_ANY_CONTIGUOUS;
        if access == Access::Write {
            flags |= ffi::PyBUF_WRITABLE;
        }
        if with_format {
            flags |= ffi::PyBUF_FORMAT;
        }
        if let Some((view, _)) = View::of_array(object, access) {
            return Ok(view);
        }
        let view = View::request(object, access, flags)?;
        view.learn(object);
        Ok(view)
    }

    /// The memory of `object` as plain bytes (C-contiguous, no format).
    pub(crate) fn of_bytes(object: &Bound<'_, PyAny>, access: Access) -> PyResult<View> {
        let flags = if access == Access::Write { ffi::PyBUF_WRITABLE } else { ffi::PyBUF_SIMPLE };
        View::request(object, access, flags)
    }

    #[inline]
    fn request(object: &Bound<'_, PyAny>, access: Access, flags: c_int) -> PyResult<View> {
        let mut view = View::empty();
        // SAFETY: `raw` is a valid, zeroed Py_buffer and we are attached to the interpreter. On success the view owns the
        // export, which `drop` releases.
        if unsafe { ffi::PyObject_GetBuffer(object.as_ptr(), &mut view.raw, flags) } == 0 {
            view.origin = Origin::Protocol;
            view.forget_shape();
            return Ok(view);
        }
        view.raw = ffi::Py_buffer::new();
        View::request_otherwise(object, access, flags, PyErr::fetch(object.py()))
    }

    /// The slow half of `request`: the buffer protocol failed with `error`.
    #[cold]
    fn request_otherwise(object: &Bound<'_, PyAny>, access: Access, flags: c_int, error: PyErr) -> PyResult<View> {
        if let Some(better) = explain(object, access, &error)? {
            return Err(better);
        }
        let with_format = flags & ffi::PyBUF_FORMAT == ffi::PyBUF_FORMAT;
        let other = match dlpack::view(object, access, with_format) {
            Ok(None) => array_interface::view(object, access, with_format),
            found => found,
        };
        match other {
            Ok(Some(view)) => Ok(view),
            // NumPy's arrays speak both, and refuse for the same reason: the elements have no format.
            Ok(None) | Err(_) if supports_buffer_protocol(object) => Err(add_hint(object.py(), error)),
            Ok(None) => Err(error),
            Err(other) => Err(other),
        }
    }

    /// The shape is not needed, and simple exporters let it point into the `Py_buffer` itself, which moves with the view.
    #[inline]
    fn forget_shape(&mut self) {
        let own_len: *mut isize = &mut self.raw.len;
        let own_itemsize: *mut isize = &mut self.raw.itemsize;
        if self.raw.shape == own_len {
            self.raw.shape = ptr::null_mut();
        }
        if self.raw.strides == own_itemsize {
            self.raw.strides = ptr::null_mut();
        }
    }

    /// Where the memory begins.
    #[inline]
    pub(crate) fn address(&self) -> *mut c_void {
        self.raw.buf
    }

    /// Whether this is a view of no memory at all (address 0 as well as no object).
    #[inline]
    pub(crate) fn is_empty_address(&self) -> bool {
        self.origin == Origin::Address && self.raw.buf.is_null()
    }

    /// Length in bytes.
    #[inline]
    pub(crate) fn bytes(&self) -> isize {
        self.raw.len
    }

    /// Bytes per element.
    pub(crate) fn itemsize(&self) -> isize {
        self.raw.itemsize.max(1)
    }

    /// Whether the exporter forbids writing.
    pub(crate) fn is_read_only(&self) -> bool {
        self.raw.readonly != 0
    }

    /// The element format (`struct` notation), when the exporter gave one.
    #[inline]
    pub(crate) fn format(&self) -> Option<&CStr> {
        if self.raw.format.is_null() {
            return None;
        }
        // SAFETY: exporters give a nul-terminated string that lives as long as the export, which `self` holds.
        Some(unsafe { CStr::from_ptr(self.raw.format) })
    }

    /// The element format when it is a single character, as it is for almost every buffer.
    #[inline]
    pub(crate) fn format_char(&self) -> Option<u8> {
        if self.raw.format.is_null() {
            return None;
        }
        // SAFETY: as in `format`; the second byte is only read when the first does not end the string.
        unsafe {
            let first = *self.raw.format.cast::<u8>();
            (first != 0 && *self.raw.format.add(1) == 0).then_some(first)
        }
    }

    /// The object that exports the memory.
    pub(crate) fn object<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyAny>> {
        // SAFETY: `obj` is null or a reference owned by this view.
        unsafe { Bound::from_borrowed_ptr_or_opt(py, self.raw.obj) }
    }

    /// An error when the memory is known to live on a device that this process cannot read directly.
    pub(crate) fn check_host(&self) -> PyResult<()> {
        match self.origin {
            Origin::Device(device) if !dlpack::is_host(device) => Err(PyBufferError::new_err(format!(
                "buffer is not CPU-accessible: its memory is on a {} device; copy it to the host first",
                dlpack::device_name(device)
            ))),
            _ => Ok(()),
        }
    }

    /// An error when the memory is on a device and the library is one that only knows the host (the embedded engine).
    ///
    /// Array interfaces do not say where their memory is, so the first byte is asked for.
    #[inline]
    pub(crate) fn check_reachable(&self) -> PyResult<()> {
        match self.origin {
            Origin::Device(device) if !dlpack::is_host(device) => self.probe_reachable(device),
            _ => Ok(()),
        }
    }

    #[cold]
    fn probe_reachable(&self, device: u32) -> PyResult<()> {
        if self.raw.len == 0 || !extras::is_embedded() || dlpack::is_readable(self.raw.buf) {
            return Ok(());
        }
        Err(PyBufferError::new_err(format!(
            "buffer is on a {} device, which the embedded engine cannot reach: copy it to the host first, or run on an MPI \
             library that knows the device (PHALANX_MPI)",
            dlpack::device_name(device)
        )))
    }

    fn release(&mut self) {
        match self.origin {
            Origin::Address => {}
            // SAFETY: called from `drop` while attached; this view owns the export and gives it back once.
            Origin::Protocol => unsafe { ffi::PyBuffer_Release(&mut self.raw) },
            // SAFETY: as above; `obj` is an owned reference.
            Origin::Array | Origin::Device(_) => unsafe { ffi::Py_DECREF(self.raw.obj) },
        }
        self.origin = Origin::Address;
        self.raw.obj = ptr::null_mut();
    }

    fn set_format(&mut self, format: &'static CStr) {
        self.raw.format = format.as_ptr() as *mut c_char;
    }
}

impl Drop for View {
    #[inline]
    fn drop(&mut self) {
        if self.origin != Origin::Address {
            // After the interpreter is gone there is nothing left to release.
            let _ = Python::try_attach(|_| self.release());
        }
    }
}

/// Whether `object` gives memory in one of the ways a [`View`] understands (without asking for it).
pub(crate) fn is_buffer_like(object: &Bound<'_, PyAny>) -> bool {
    supports_buffer_protocol(object) || exports_device_memory(object)
}

/// Whether the type of `object` implements the buffer protocol.
#[inline]
pub(crate) fn supports_buffer_protocol(object: &Bound<'_, PyAny>) -> bool {
    // SAFETY: `object` is a valid reference and we are attached.
    unsafe { ffi::PyObject_CheckBuffer(object.as_ptr()) != 0 }
}

/// Whether `object` speaks DLPack or the CUDA array interface.
pub(crate) fn exports_device_memory(object: &Bound<'_, PyAny>) -> bool {
    let py = object.py();
    object.hasattr(intern!(py, "__dlpack__")).unwrap_or(false)
        || object.hasattr(intern!(py, "__cuda_array_interface__")).unwrap_or(false)
}

/// `getattr` that answers None only for a missing attribute.
fn attribute<'py>(
    object: &Bound<'py, PyAny>,
    name: &Bound<'py, pyo3::types::PyString>,
) -> PyResult<Option<Bound<'py, PyAny>>> {
    match object.getattr(name) {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.is_instance_of::<PyAttributeError>(object.py()) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Says better than the exporter why its buffer cannot be used, when that can be found out: read-only or not contiguous.
fn explain(object: &Bound<'_, PyAny>, access: Access, error: &PyErr) -> PyResult<Option<PyErr>> {
    if !supports_buffer_protocol(object) {
        return Ok(None);
    }
    let py = object.py();
    let kind = object.get_type().name()?;
    let reworded = |text: String| {
        let better = PyBufferError::new_err(text);
        better.set_cause(py, Some(error.clone_ref(py)));
        Some(better)
    };
    let Some(probe) = Probe::of(object) else {
        return Ok(None);
    };
    if !probe.is_contiguous() {
        return Ok(reworded(format!(
            "buffer of type '{kind}' is not contiguous ({}): pass a contiguous copy (for example numpy.ascontiguousarray(a)), \
             or the base array with a derived datatype",
            probe.describe()
        )));
    }
    if access == Access::Write && probe.is_read_only() {
        return Ok(reworded(format!(
            "buffer of type '{kind}' is read-only, and this call writes into it: pass a writable buffer \
             (bytearray, array.array, a NumPy array whose flags.writeable is True, ...)"
        )));
    }
    Ok(None)
}

/// A refused element type, with what to do about it.
fn add_hint(py: Python<'_>, error: PyErr) -> PyErr {
    let text = format!(
        "{}; look at the elements as a plain type first (for example a.view('i8') for dates, a.view('u1') for bytes)",
        error.value(py)
    );
    let better = PyBufferError::new_err(text);
    better.set_cause(py, Some(error));
    better
}

/// The weakest possible request, to look at a buffer that was refused.
struct Probe(Box<ffi::Py_buffer>);

impl Probe {
    fn of(object: &Bound<'_, PyAny>) -> Option<Probe> {
        let mut raw = Box::new(ffi::Py_buffer::new());
        // SAFETY: as in `View::request`; the box keeps the address fixed.
        if unsafe { ffi::PyObject_GetBuffer(object.as_ptr(), &mut *raw, ffi::PyBUF_STRIDES) } == 0 {
            return Some(Probe(raw));
        }
        // The refusal is not interesting: the first error is the one to report.
        drop(PyErr::take(object.py()));
        None
    }

    fn is_contiguous(&self) -> bool {
        // SAFETY: the view is a live export.
        unsafe { ffi::PyBuffer_IsContiguous(&*self.0, b'A' as c_char) != 0 }
    }

    fn is_read_only(&self) -> bool {
        self.0.readonly != 0
    }

    fn describe(&self) -> String {
        let dimensions = usize::try_from(self.0.ndim).unwrap_or(0);
        let list = |at: *const isize| {
            if at.is_null() {
                return String::from("?");
            }
            // SAFETY: exporters give `ndim` entries for shape and strides, alive as long as the export.
            let numbers = unsafe { std::slice::from_raw_parts(at, dimensions) };
            format!("{numbers:?}")
        };
        format!("shape {}, strides {} bytes", list(self.0.shape), list(self.0.strides))
    }
}

impl Drop for Probe {
    fn drop(&mut self) {
        // SAFETY: probes live inside one call, attached to the interpreter, and own their export.
        unsafe { ffi::PyBuffer_Release(&mut *self.0) }
    }
}

/// The error for an object that has no memory to offer.
pub(crate) fn not_a_buffer(object: &Bound<'_, PyAny>) -> PyErr {
    let kind = object.get_type().name().map_or_else(|_| String::from("object"), |name| name.to_string());
    PyTypeError::new_err(format!(
        "message: expecting buffer or list/tuple, got '{kind}': pass a NumPy array, bytearray, array.array, memoryview, ... or \
         [buffer, count, datatype]; for any other Python object use the lower-case method (send, recv, bcast, ...)"
    ))
}

/// Whether an array of this shape has no gaps, in C or Fortran order; `unit` is the stride of neighbours. Dimensions of
/// extent 0 or 1 may have any stride. Strides of the wrong number never match.
fn is_packed(shape: &[i64], strides: &[i64], unit: i64) -> bool {
    fn follows<'a>(dimensions: impl Iterator<Item = (&'a i64, &'a i64)>, unit: i64) -> bool {
        let mut expected = unit;
        for (extent, stride) in dimensions {
            if *extent > 1 && *stride != expected {
                return false;
            }
            expected = expected.wrapping_mul(*extent);
        }
        true
    }
    shape.len() == strides.len()
        && (follows(shape.iter().zip(strides).rev(), unit) || follows(shape.iter().zip(strides), unit))
}
