//! NumPy's arrays, looked at directly.
//!
//! A request through the buffer protocol makes NumPy write and look up a format string and a shape, which is a third of the
//! instructions of a small message. The fields of an array (`PyArrayObject_fields`, `PyArray_Descr` up to `type_num`) are part of
//! NumPy's C interface and the same in its versions 1 and 2. Nothing is taken on trust: the first array that comes is
//! requested through the protocol, and only if its fields say the same are others looked at. Arrays of subclasses, of other
//! byte orders, of records and objects, with gaps and not aligned go through the protocol as ever.

use std::ffi::{CStr, c_char, c_int, c_void};
use std::ptr;
use std::sync::atomic::{AtomicPtr, Ordering};

use pyo3::ffi;
use pyo3::prelude::*;

use super::format::{self, Basic};
use super::{Access, Origin, View};

/// The first fields of an array.
#[repr(C)]
struct Array {
    head: ffi::PyObject,
    data: *mut c_char,
    dimensions: c_int,
    shape: *mut isize,
    strides: *mut isize,
    base: *mut ffi::PyObject,
    elements: *mut Elements,
    flags: c_int,
}

/// The first fields of a dtype.
#[repr(C)]
struct Elements {
    head: ffi::PyObject,
    scalar: *mut ffi::PyTypeObject,
    kind: c_char,
    character: c_char,
    byte_order: c_char,
    unused: c_char,
    number: c_int,
}

const C_CONTIGUOUS: c_int = 0x1;
const F_CONTIGUOUS: c_int = 0x2;
const ALIGNED: c_int = 0x100;
const WRITEABLE: c_int = 0x400;
/// NumPy warns whoever writes.
const WARN_ON_WRITE: c_int = 1 << 31;

/// The class of NumPy's arrays, once fields have been found to be as they are described here; null before that.
static KNOWN: AtomicPtr<ffi::PyTypeObject> = AtomicPtr::new(ptr::null_mut());
/// In its place where they have been found to be otherwise: an address that no class has.
static REFUSED: u8 = 0;

fn refused() -> *mut ffi::PyTypeObject {
    ptr::from_ref(&REFUSED).cast_mut().cast()
}

/// What there is to know of an array.
struct Fields {
    data: *mut c_void,
    bytes: isize,
    read_only: bool,
    format: &'static CStr,
    basic: Basic,
}

impl View {
    /// The memory of an array of NumPy, and the datatype of its elements, if that takes no more than a look at it.
    #[inline]
    pub(crate) fn of_array(object: &Bound<'_, PyAny>, access: Access) -> Option<(View, Basic)> {
        // SAFETY: `object` is a valid reference and we are attached.
        let class = unsafe { ffi::Py_TYPE(object.as_ptr()) };
        // Relaxed: the pointer is only compared.
        if class != KNOWN.load(Ordering::Relaxed) {
            return None;
        }
        // SAFETY: arrays of this very class have been found to have these fields.
        let fields = unsafe { fields(object.as_ptr()) }?;
        if fields.read_only && access == Access::Write {
            return None;
        }
        let mut raw = ffi::Py_buffer::new();
        raw.buf = fields.data;
        raw.len = fields.bytes;
        raw.itemsize = fields.basic.size as isize;
        raw.readonly = c_int::from(fields.read_only);
        raw.format = fields.format.as_ptr().cast_mut();
        // As a request does: a reference, with which NumPy refuses to resize the array.
        raw.obj = object.clone().into_ptr();
        Some((View { raw, origin: Origin::Array }, fields.basic))
    }

    /// Compares what the protocol has told of an object with its fields, if it is the first array.
    #[inline]
    pub(super) fn learn(&self, object: &Bound<'_, PyAny>) {
        if KNOWN.load(Ordering::Relaxed).is_null() {
            self.learn_from(object);
        }
    }

    #[cold]
    fn learn_from(&self, object: &Bound<'_, PyAny>) {
        let class = object.get_type();
        let is_array = class.fully_qualified_name().is_ok_and(|name| name == "numpy.ndarray");
        // A class that only says so is not in the module.
        let modules = || object.py().import("sys")?.getattr("modules")?.get_item("numpy")?.getattr("ndarray");
        if !is_array || !modules().is_ok_and(|known| known.is(&class)) {
            return;
        }
        // SAFETY: an array of NumPy, whose fields these are in versions 1 and 2; what is read is compared before it is used.
        let (Some(fields), Some(format)) = (unsafe { fields(object.as_ptr()) }, self.format()) else {
            return;
        };
        let same = fields.data == self.raw.buf
            && fields.bytes == self.raw.len
            && fields.basic.size == self.raw.itemsize as i64
            && fields.read_only == self.is_read_only()
            && fields.format == format;
        KNOWN.store(if same { class.as_type_ptr() } else { refused() }, Ordering::Relaxed);
    }
}

/// The fields of an array, if it is one whose memory has no gaps and whose elements are plain numbers of this machine.
///
/// # Safety
/// A live array of NumPy, while attached to the interpreter.
#[inline]
unsafe fn fields(array: *mut ffi::PyObject) -> Option<Fields> {
    // SAFETY: by the caller's word; arrays always have a dtype.
    let (array, elements) = unsafe {
        let array = &*array.cast::<Array>();
        (array, &*array.elements)
    };
    let wanted = array.flags & (C_CONTIGUOUS | F_CONTIGUOUS) != 0 && array.flags & (ALIGNED | WARN_ON_WRITE) == ALIGNED;
    if !wanted || !matches!(elements.byte_order as u8, b'=' | b'|') {
        return None;
    }
    let (format, basic) = format::of_numpy(elements.number)?;
    let mut bytes = basic.size as isize;
    for dimension in 0..usize::try_from(array.dimensions).ok()? {
        // SAFETY: there are as many extents as dimensions.
        bytes = bytes.checked_mul(unsafe { *array.shape.add(dimension) })?;
    }
    let read_only = array.flags & WRITEABLE == 0;
    Some(Fields { data: array.data.cast(), bytes, read_only, format, basic })
}
