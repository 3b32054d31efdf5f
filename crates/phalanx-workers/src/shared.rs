//! `SharedBuffer`: memory that several processes have, as a Python object with the buffer protocol.
//!
//! It holds a block of the family's arena. Pickled, it is the block's handle; the memory is freed with the last such
//! object (or message on its way) of any process.

use std::ffi::c_int;

use phalanx_object::detached;
use phalanx_shm::{Block, BlockKind, ConstMem, MutMem, ways};
use pyo3::exceptions::{PyBufferError, PyMemoryError, PyOverflowError, PyValueError};
use pyo3::ffi;
use pyo3::intern;
use pyo3::prelude::*;

use crate::{codec, family};

/// Blocks from this size on are made and filled without the interpreter lock.
pub(crate) const DETACHED: usize = 256 << 10;

/// Copies memory into a block, which nobody else knows yet.
///
/// # Errors
/// `ValueError` when it does not fit.
pub(crate) fn copy_in(py: Python<'_>, block: &Block, offset: usize, from: *const u8, length: usize) -> PyResult<()> {
    if offset.checked_add(length).is_none_or(|end| end > block.len()) {
        let text = format!("{length} bytes at {offset} do not fit in a block of {} bytes", block.len());
        return Err(PyValueError::new_err(text));
    }
    if length == 0 {
        return Ok(());
    }
    let to = block.as_ptr().wrapping_add(offset);
    // SAFETY: the caller holds what `from` is the memory of, for `length` bytes; the block is as long as checked above, and is
    // another piece of memory, since nobody knows it yet.
    let (from, to) = unsafe { (ConstMem::new(from, length), MutMem::new(to, length)) };
    if length < DETACHED {
        from.copy_to_mem(to);
    } else {
        detached(py, || ways::fill(from, to));
    }
    Ok(())
}

/// A number of bytes, however large.
///
/// # Errors
/// `MemoryError` for one that no machine has; what Python raises for negative ones and what is no number.
fn length(nbytes: &Bound<'_, PyAny>) -> PyResult<usize> {
    nbytes.extract().or_else(|error: PyErr| {
        if error.is_instance_of::<PyOverflowError>(nbytes.py()) && nbytes.gt(0)? {
            let text = format!("{nbytes} bytes of shared memory are more than any machine can address");
            return Err(PyMemoryError::new_err(text));
        }
        Err(error)
    })
}

/// SharedBuffer(nbytes: int, zero: bool = True)
///
/// Memory that the family's processes share, with the buffer protocol. It is freed with its last user.
#[pyclass(module = "phalanx._workers", frozen, weakref)]
pub(crate) struct SharedBuffer {
    block: Block,
    offset: usize,
    length: usize,
}

impl SharedBuffer {
    /// A part of a block, which the caller has checked to be within it.
    pub(crate) fn part(block: Block, offset: usize, length: usize) -> SharedBuffer {
        debug_assert!(offset + length <= block.len());
        SharedBuffer { block, offset, length }
    }

    /// The block that it is a part of.
    pub(crate) fn block(&self) -> &Block {
        &self.block
    }

    fn start(&self) -> *mut u8 {
        self.block.as_ptr().wrapping_add(self.offset)
    }
}

#[pymethods]
impl SharedBuffer {
    #[new]
    #[pyo3(signature = (nbytes, zero = true))]
    fn new(py: Python<'_>, nbytes: &Bound<'_, PyAny>, zero: bool) -> PyResult<SharedBuffer> {
        let nbytes = length(nbytes)?;
        let arena = family::arena(py)?;
        let block = detached(py, || {
            if zero { arena.alloc_zeroed(nbytes, BlockKind::Plain) } else { arena.alloc(nbytes, BlockKind::Plain) }
        })
        .map_err(|error| family::refused(&error))?;
        Ok(SharedBuffer { block, offset: 0, length: nbytes })
    }

    /// address: int
    ///
    /// Where the memory begins in this process.
    #[getter]
    fn address(&self) -> usize {
        self.start().addr()
    }

    /// nbytes: int
    ///
    /// How many bytes there are.
    #[getter]
    fn nbytes(&self) -> usize {
        self.length
    }

    fn __len__(&self) -> usize {
        self.length
    }

    fn __reduce__<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        let (py, this) = (slf.py(), slf.get());
        if !codec::carry(&this.block) {
            family::keep_for_child(slf.as_any())?;
        }
        let open = py.import("phalanx._workers")?.getattr(intern!(py, "_open_buffer"))?;
        let arguments = (family::token(&this.block), this.offset, this.length);
        Ok((open, arguments).into_pyobject(py)?.into_any())
    }

    fn __repr__(&self) -> String {
        format!("<SharedBuffer of {} bytes>", self.length)
    }

    unsafe fn __getbuffer__(slf: Bound<'_, Self>, view: *mut ffi::Py_buffer, flags: c_int) -> PyResult<()> {
        let this = slf.get();
        let length = isize::try_from(this.length).map_err(|_| PyBufferError::new_err("buffer too large"))?;
        // SAFETY: Python gives a `view` to fill; the memory stays mapped as long as the object lives, of which the view
        // keeps a reference.
        let code = unsafe { ffi::PyBuffer_FillInfo(view, slf.as_ptr(), this.start().cast(), length, 0, flags) };
        if code == 0 { Ok(()) } else { Err(PyErr::fetch(slf.py())) }
    }
}

/// The part of a block that another process pickled.
#[pyfunction]
fn _open_buffer(py: Python<'_>, token: family::Token, offset: usize, length: usize) -> PyResult<SharedBuffer> {
    let block = family::open(py, token)?;
    if offset.checked_add(length).is_none_or(|end| end > block.len()) {
        let text = format!("{length} bytes at {offset} are not in a block of {} bytes", block.len());
        return Err(PyValueError::new_err(text));
    }
    Ok(SharedBuffer { block, offset, length })
}

/// Adds the class to the module.
pub(crate) fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add_function(wrap_pyfunction!(_open_buffer, m)?)?;
    m.add_class::<SharedBuffer>()
}
