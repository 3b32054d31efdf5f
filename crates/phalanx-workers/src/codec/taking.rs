//! Cache lines of blocks that have arrived, taken over by their reader.
//!
//! A block goes from one process to another, back to the arena, and often to the same two again. Lines that its reader only
//! read stay shared in that CPU's cache, and the next process that fills the block has to take each back first
//! (`docs/decisions/0011`). A store of a byte as it was prevents that. It must not meet a store of somebody else, which it
//! might undo: so only messages are read this way that nobody writes to any more, and arrays before anybody has them.

use std::ptr;

use phalanx_shm::{Block, MutMem, ways::Reading};
use pyo3::ffi;
use pyo3::prelude::*;

/// Less than this takes no time worth a thought.
const LEAST: usize = 4 << 10;

/// Memory of a block; `None` where it has not so many bytes.
fn memory(block: &Block, offset: usize, length: usize) -> Option<MutMem> {
    offset.checked_add(length).filter(|end| *end <= block.len())?;
    // SAFETY: within the block, whose memory stays mapped as long as this process holds it, as the caller does.
    Some(unsafe { MutMem::new(block.as_ptr().wrapping_add(offset), length) })
}

/// Takes over lines that are looked at soon. For a part of a block that nobody else writes to at this time.
pub(super) fn ahead(block: &Block, offset: usize, length: usize) {
    if length >= LEAST
        && length <= Reading::here().viewed
        && let Some(memory) = memory(block, offset, length)
    {
        memory.take_lines();
    }
}

/// A `bytes` of the first bytes of a block. Nobody writes to them at this time.
///
/// # Errors
/// `MemoryError`.
pub(super) fn bytes<'py>(py: Python<'py>, block: &Block, length: usize) -> PyResult<Bound<'py, PyAny>> {
    let size = ffi::Py_ssize_t::try_from(length)?;
    // SAFETY: makes a new object with room for so many bytes, or reports an error by null.
    let made = unsafe { Bound::from_owned_ptr_or_err(py, ffi::PyBytes_FromStringAndSize(ptr::null(), size)) }?;
    let from = memory(block, 0, length).ok_or_else(phalanx_object::damaged)?;
    // SAFETY: the room of the new object, which nobody else has yet.
    let to = unsafe { MutMem::new(ffi::PyBytes_AsString(made.as_ptr()).cast(), length) };
    from.copy_out(to, length >= LEAST && length <= Reading::here().copied);
    Ok(made)
}
