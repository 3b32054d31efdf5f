//! Memory of objects that speak DLPack (versions 0.x and 1.x).
//!
//! The capsule is held, and never consumed: its destructor runs the exporter's deleter when the view is dropped.

use std::ffi::{CStr, c_void};

use pyo3::exceptions::{PyBufferError, PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};
use pyo3::{ffi, intern};

use super::{Access, Origin, View, attribute};

const CPU: u32 = 1;
const CUDA_HOST: u32 = 3;
const ROCM_HOST: u32 = 11;
const CUDA_MANAGED: u32 = 13;

/// Device type of memory that came through the CUDA array interface.
pub(super) const CUDA: u32 = 2;

/// Whether memory on a device of this type can be read by the processor. 0 means "no device said so".
pub(super) fn is_host(device: u32) -> bool {
    matches!(device, 0 | CPU | CUDA_HOST | ROCM_HOST | CUDA_MANAGED)
}

/// What people call that device.
pub(super) fn device_name(device: u32) -> &'static str {
    match device {
        CUDA => "CUDA",
        4 => "OpenCL",
        7 => "Vulkan",
        8 => "Metal",
        10 => "ROCm",
        14 => "oneAPI",
        15 => "WebGPU",
        _ => "foreign",
    }
}

/// Whether this process can read the byte at an address; asked of the kernel, so that a wrong one does no harm.
pub(super) fn is_readable(address: *mut c_void) -> bool {
    let mut byte = 0u8;
    let local = libc::iovec { iov_base: (&raw mut byte).cast(), iov_len: 1 };
    let remote = libc::iovec { iov_base: address, iov_len: 1 };
    // SAFETY: one byte goes into `byte`; the kernel checks the other address and reports EFAULT.
    let copied = unsafe { libc::process_vm_readv(libc::getpid(), &local, 1, &remote, 1, 0) };
    // Where the call itself is forbidden nothing is known.
    copied == 1 || std::io::Error::last_os_error().raw_os_error() != Some(libc::EFAULT)
}

/// `DLTensor` of dlpack.h.
#[repr(C)]
struct Tensor {
    data: *mut c_void,
    device_type: u32,
    device_id: i32,
    ndim: i32,
    code: u8,
    bits: u8,
    lanes: u16,
    shape: *mut i64,
    strides: *mut i64,
    byte_offset: u64,
}

/// `DLManagedTensor` of dlpack.h: version 0.x. Only the tensor is read.
#[repr(C)]
struct Managed {
    tensor: Tensor,
}

/// `DLManagedTensorVersioned` of dlpack.h: version 1.x.
#[repr(C)]
struct ManagedVersioned {
    major: u32,
    minor: u32,
    context: *mut c_void,
    deleter: *mut c_void,
    flags: u64,
    tensor: Tensor,
}

// The layout of dlpack.h on 64-bit platforms.
const _: () = {
    assert!(std::mem::offset_of!(Tensor, ndim) == 16);
    assert!(std::mem::offset_of!(Tensor, code) == 20);
    assert!(std::mem::offset_of!(Tensor, shape) == 24);
    assert!(std::mem::size_of::<Tensor>() == 48);
    assert!(std::mem::offset_of!(ManagedVersioned, flags) == 24);
    assert!(std::mem::offset_of!(ManagedVersioned, tensor) == 32);
};

const READ_ONLY: u64 = 1;

const CODE_INT: u8 = 0;
const CODE_UINT: u8 = 1;
const CODE_FLOAT: u8 = 2;
const CODE_COMPLEX: u8 = 5;
const CODE_BOOL: u8 = 6;

fn bad(text: impl std::fmt::Display) -> PyErr {
    PyBufferError::new_err(format!("dlpack: {text}"))
}

/// The memory of `object` when it has `__dlpack__`, None when it has not.
pub(super) fn view(object: &Bound<'_, PyAny>, access: Access, with_format: bool) -> PyResult<Option<View>> {
    let py = object.py();
    let Some(export) = attribute(object, intern!(py, "__dlpack__"))? else {
        return Ok(None);
    };
    let Some(device) = attribute(object, intern!(py, "__dlpack_device__"))? else {
        return Ok(None);
    };
    let device_type = device_type(&device.call0()?)?;

    let (capsule, versioned) = call_export(&export, device_type)?;
    let name = if versioned { c"dltensor_versioned" } else { c"dltensor" };
    // SAFETY: `capsule` is a valid reference (of any type: the function checks) and the name is nul-terminated.
    if unsafe { ffi::PyCapsule_IsValid(capsule.as_ptr(), name.as_ptr()) } == 0 {
        return Err(bad("invalid capsule object: __dlpack__ must return a capsule that nobody has consumed"));
    }
    // SAFETY: just checked to be a capsule of that name.
    let pointer = unsafe { ffi::PyCapsule_GetPointer(capsule.as_ptr(), name.as_ptr()) };
    if pointer.is_null() {
        return Err(PyErr::fetch(py));
    }
    let (tensor, read_only): (&Tensor, bool) = if versioned {
        // SAFETY: a capsule named "dltensor_versioned" points at a DLManagedTensorVersioned, alive as long as the capsule.
        // The version comes first in every layout, and is checked before the rest is read.
        let managed = unsafe { &*pointer.cast::<ManagedVersioned>() };
        if managed.major < 1 {
            return Err(bad(format_args!(
                "unexpected version {}.{} in a versioned capsule",
                managed.major, managed.minor
            )));
        }
        (&managed.tensor, managed.flags & READ_ONLY != 0)
    } else {
        // SAFETY: a capsule named "dltensor" points at a DLManagedTensor, alive as long as the capsule.
        (unsafe { &(*pointer.cast::<Managed>()).tensor }, false)
    };

    let shape = tensor.checked_shape()?;
    if !tensor.is_contiguous(shape) {
        return Err(bad("buffer is not contiguous: pass a contiguous copy"));
    }
    if read_only && access == Access::Write {
        return Err(bad("buffer is not writable, and this call writes into it"));
    }
    let bytes = tensor.total_bytes(shape).ok_or_else(|| bad("size does not fit in memory"))?;
    let (format, itemsize) = tensor.element();
    let address = tensor.data.cast::<u8>().wrapping_add(tensor.byte_offset as usize).cast::<c_void>();

    let mut view = View::of_memory(address, bytes, read_only, Some(capsule));
    view.origin = Origin::Device(device_type);
    if let Some(format) = format.filter(|_| with_format) {
        view.set_format(format);
        view.raw.itemsize = itemsize;
    }
    Ok(Some(view))
}

/// The device type in what `__dlpack_device__()` returned: a pair of integers.
fn device_type(device: &Bound<'_, PyAny>) -> PyResult<u32> {
    let Ok(pair) = device.cast::<PyTuple>() else {
        return Err(PyTypeError::new_err("dlpack: __dlpack_device__() must return a tuple (device_type, device_id)"));
    };
    if pair.len() != 2 {
        return Err(PyValueError::new_err(format!(
            "dlpack: __dlpack_device__() returned {} items, expecting 2",
            pair.len()
        )));
    }
    let (kind, _id): (u32, i32) = pair.extract()?;
    Ok(kind)
}

/// Calls `__dlpack__` for version 1, or as version 0 when it does not know the arguments.
fn call_export<'py>(export: &Bound<'py, PyAny>, device: u32) -> PyResult<(Bound<'py, PyAny>, bool)> {
    let py = export.py();
    let keywords = PyDict::new(py);
    if device != CPU {
        keywords.set_item(intern!(py, "stream"), -1)?;
    }
    let versioned = keywords.copy()?;
    versioned.set_item(intern!(py, "max_version"), (1, 0))?;
    versioned.set_item(intern!(py, "copy"), false)?;
    match export.call((), Some(&versioned)) {
        Ok(capsule) => Ok((capsule, true)),
        Err(error) if error.is_instance_of::<PyTypeError>(py) => Ok((export.call((), Some(&keywords))?, false)),
        Err(error) => Err(error),
    }
}

impl Tensor {
    /// The shape, when dimensions, shape and strides make sense.
    fn checked_shape(&self) -> PyResult<&[i64]> {
        let Ok(dimensions) = usize::try_from(self.ndim) else {
            return Err(bad(format_args!("number of dimensions is negative ({})", self.ndim)));
        };
        if dimensions == 0 {
            return Ok(&[]);
        }
        if self.shape.is_null() {
            return Err(bad("shape is NULL"));
        }
        // SAFETY: a tensor of `ndim` dimensions has as many entries in its shape, alive as long as the capsule.
        let shape = unsafe { std::slice::from_raw_parts(self.shape, dimensions) };
        if let Some(extent) = shape.iter().find(|extent| **extent < 0) {
            return Err(bad(format_args!("shape item is negative ({extent})")));
        }
        if let Some(stride) = self.strides(dimensions).and_then(|strides| strides.iter().find(|stride| **stride < 0)) {
            return Err(bad(format_args!("strides item is negative ({stride})")));
        }
        Ok(shape)
    }

    fn strides(&self, dimensions: usize) -> Option<&[i64]> {
        // SAFETY: strides are NULL or have one entry per dimension.
        (!self.strides.is_null()).then(|| unsafe { std::slice::from_raw_parts(self.strides, dimensions) })
    }

    /// Whether the elements lie without gaps, in C or Fortran order. Strides count elements; without them the order is C.
    fn is_contiguous(&self, shape: &[i64]) -> bool {
        self.strides(shape.len()).is_none_or(|strides| super::is_packed(shape, strides, 1))
    }

    fn total_bytes(&self, shape: &[i64]) -> Option<isize> {
        let element = (i64::from(self.bits) * i64::from(self.lanes) + 7) / 8;
        let total = shape.iter().try_fold(element, |total, extent| total.checked_mul(*extent))?;
        isize::try_from(total).ok()
    }

    /// Format and size of an element; no format for what has no name in `struct` notation.
    fn element(&self) -> (Option<&'static CStr>, isize) {
        let format = match (self.lanes, self.code, self.bits) {
            // A pair of reals is how older exporters write a complex number.
            (2, CODE_FLOAT, 32) | (1, CODE_COMPLEX, 64) => c"Zf",
            (2, CODE_FLOAT, 64) | (1, CODE_COMPLEX, 128) => c"Zd",
            (2, CODE_FLOAT, 128) => c"Zg",
            (1, CODE_COMPLEX, 32) => c"Ze",
            (1, CODE_BOOL, 8) => c"?",
            (1, CODE_INT, 8) => c"b",
            (1, CODE_INT, 16) => c"h",
            (1, CODE_INT, 32) => c"i",
            (1, CODE_INT, 64) => c"l",
            (1, CODE_UINT, 8) => c"B",
            (1, CODE_UINT, 16) => c"H",
            (1, CODE_UINT, 32) => c"I",
            (1, CODE_UINT, 64) => c"L",
            (1, CODE_FLOAT, 16) => c"e",
            (1, CODE_FLOAT, 32) => c"f",
            (1, CODE_FLOAT, 64) => c"d",
            (1, CODE_FLOAT, 128) => c"g",
            _ => return (None, 1),
        };
        let bytes = (isize::from(i16::from(self.bits)) + 7) / 8;
        (Some(format), bytes * if self.lanes == 2 { 2 } else { 1 })
    }
}
