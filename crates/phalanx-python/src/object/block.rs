//! Memory that object messages are received into.
//!
//! A message's bytes arrive in one [`Block`]; the arrays of the object are then views of it, and the last of them frees
//! it. The first touch of fresh pages costs more than copying a message into them, so large blocks are kept for the
//! next message instead of being returned to the system: at most [`CACHE_LIMIT`] bytes, in a few blocks per size.

use std::alloc::{Layout, alloc, dealloc};
use std::ffi::{c_int, c_void};
use std::ptr::NonNull;
use std::sync::{Mutex, PoisonError};

use pyo3::exceptions::{PyBufferError, PyMemoryError};
use pyo3::ffi;
use pyo3::prelude::*;

/// Blocks are aligned for every element type and for vector loads.
pub(crate) const ALIGNMENT: usize = 64;

/// Blocks of at least this many bytes are mapped, in huge pages where the system has them, and cached.
const LARGE: usize = 256 << 10;

/// How many bytes of unused large blocks are kept for later messages.
const CACHE_LIMIT: usize = 512 << 20;

/// Address space for a message whose size is not known when its receive is posted. Only pages that a message touches
/// become memory. No size class of [`size_class`], so that a capacity tells the two kinds apart.
const RESERVED: usize = (1 << 30) + 4096;

/// Messages up to this size are copied out of reserved address space, which then serves again.
const COPIED: usize = 64 << 10;

/// How many unused pieces of reserved address space are kept.
const RESERVED_KEPT: usize = 32;

/// Memory of a fixed size, uninitialised until somebody writes it.
pub(crate) struct Memory {
    start: NonNull<u8>,
    /// Bytes that the user asked for.
    length: usize,
    /// Bytes that there are; a multiple of the alignment, for large blocks of their size class.
    capacity: usize,
}

// SAFETY: plain memory that this value owns.
unsafe impl Send for Memory {}
// SAFETY: shared access only hands out the address; whoever uses it answers for synchronisation (here: the interpreter
// lock, and MPI's rule that a buffer under way is left alone).
unsafe impl Sync for Memory {}

/// Unused large blocks, the most recently used last, and their bytes.
struct Cache {
    blocks: Vec<(NonNull<u8>, usize)>,
    bytes: usize,
}

// SAFETY: the blocks are owned by the cache.
unsafe impl Send for Cache {}

static CACHE: Mutex<Cache> = Mutex::new(Cache { blocks: Vec::new(), bytes: 0 });

/// Unused reserved address space, [`RESERVED`] bytes each.
static SPACES: Mutex<Cache> = Mutex::new(Cache { blocks: Vec::new(), bytes: 0 });

/// The size class of a large block: sixteen steps to every power of two, so that at most a sixteenth is wasted.
fn size_class(length: usize) -> Option<usize> {
    let step = length.checked_next_power_of_two()? >> 4;
    length.checked_next_multiple_of(step.max(4096))
}

fn map(capacity: usize, flags: libc::c_int) -> Option<NonNull<u8>> {
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | flags;
    // SAFETY: asks for fresh private memory; nothing existing is touched.
    let start = unsafe { libc::mmap(std::ptr::null_mut(), capacity, libc::PROT_READ | libc::PROT_WRITE, flags, -1, 0) };
    if start == libc::MAP_FAILED { None } else { NonNull::new(start.cast()) }
}

/// As [`map`], in huge pages where the system has them.
fn map_huge(capacity: usize) -> Option<NonNull<u8>> {
    let start = map(capacity, 0)?;
    // SAFETY: the range was just mapped; the advice changes nothing but the page size.
    unsafe { libc::madvise(start.as_ptr().cast(), capacity, libc::MADV_HUGEPAGE) };
    Some(start)
}

fn unmap(start: NonNull<u8>, capacity: usize) {
    // SAFETY: the range came from `map` and its owner gives it up.
    unsafe { libc::munmap(start.as_ptr().cast(), capacity) };
}

impl Memory {
    /// Memory of `length` bytes, at least one; `None` when there is not so much.
    pub(crate) fn new(length: usize) -> Option<Memory> {
        if length < LARGE {
            let capacity = length.max(1).next_multiple_of(ALIGNMENT);
            let layout = Layout::from_size_align(capacity, ALIGNMENT).ok()?;
            // SAFETY: the layout has a size other than zero.
            let start = NonNull::new(unsafe { alloc(layout) })?;
            return Some(Memory { start, length, capacity });
        }
        let capacity = size_class(length)?;
        let mut cache = CACHE.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(place) = cache.blocks.iter().rposition(|block| block.1 == capacity) {
            let (start, _) = cache.blocks.remove(place);
            cache.bytes -= capacity;
            return Some(Memory { start, length, capacity });
        }
        drop(cache);
        Some(Memory { start: map_huge(capacity)?, length, capacity })
    }

    /// As [`Memory::new`], for a length that a message told.
    ///
    /// # Errors
    /// `MemoryError` that names the size.
    pub(crate) fn for_message(length: usize) -> PyResult<Memory> {
        Memory::new(length)
            .ok_or_else(|| PyMemoryError::new_err(format!("no memory for an object message of {length} bytes")))
    }

    /// Address space for a message of any size up to [`RESERVED`] bytes; `None` when the process may not have so much.
    pub(crate) fn reserve() -> Option<Memory> {
        let mut spaces = SPACES.lock().unwrap_or_else(PoisonError::into_inner);
        let start = match spaces.blocks.pop() {
            Some((start, _)) => start,
            None => map(RESERVED, libc::MAP_NORESERVE)?,
        };
        Some(Memory { start, length: RESERVED, capacity: RESERVED })
    }

    /// The first `length` bytes, which hold a message, in memory of about that size.
    ///
    /// # Errors
    /// `MemoryError`.
    pub(crate) fn settle(mut self, length: usize) -> PyResult<Memory> {
        if self.capacity == RESERVED && length <= COPIED {
            let memory = Memory::for_message(length)?;
            // SAFETY: both have room for `length` bytes, which a message has filled here.
            unsafe { std::ptr::copy_nonoverlapping(self.start.as_ptr(), memory.start.as_ptr(), length) };
            return Ok(memory);
        }
        if let Some(capacity) =
            size_class(length.max(LARGE)).filter(|capacity| self.capacity == RESERVED && *capacity < RESERVED)
        {
            // SAFETY: the tail is ours and nobody uses it: the message ends before it.
            let tail = unsafe { self.start.add(capacity) };
            unmap(tail, RESERVED - capacity);
            self.capacity = capacity;
        }
        self.length = length.min(self.length);
        Ok(self)
    }

    /// Where the memory begins.
    pub(crate) fn address(&self) -> *mut c_void {
        self.start.as_ptr().cast()
    }

    /// How many bytes were asked for.
    pub(crate) fn length(&self) -> usize {
        self.length
    }

    /// The bytes, which a receive has filled.
    ///
    /// # Safety
    /// - The first `length` bytes have been written.
    /// - Nobody writes them while the slice lives.
    pub(crate) unsafe fn bytes(&self) -> &[u8] {
        // SAFETY: the caller's promise; the memory is that long.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.length) }
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        if self.capacity < LARGE {
            if let Ok(layout) = Layout::from_size_align(self.capacity, ALIGNMENT) {
                // SAFETY: allocated in `new` with the same layout.
                unsafe { dealloc(self.start.as_ptr(), layout) };
            }
            return;
        }
        if self.capacity == RESERVED {
            let mut spaces = SPACES.lock().unwrap_or_else(PoisonError::into_inner);
            if spaces.blocks.len() < RESERVED_KEPT {
                return spaces.blocks.push((self.start, RESERVED));
            }
        }
        if self.capacity > CACHE_LIMIT / 2 {
            return unmap(self.start, self.capacity);
        }
        let mut cache = CACHE.lock().unwrap_or_else(PoisonError::into_inner);
        cache.blocks.push((self.start, self.capacity));
        cache.bytes += self.capacity;
        while cache.bytes > CACHE_LIMIT {
            let (start, capacity) = cache.blocks.remove(0);
            cache.bytes -= capacity;
            unmap(start, capacity);
        }
    }
}

/// The memory of a received message, as an object that arrays can be views of.
#[pyclass(module = "phalanx.MPI", name = "_Block", frozen)]
pub(crate) struct Block {
    memory: Memory,
}

impl Block {
    /// The memory itself.
    pub(crate) fn memory(&self) -> &Memory {
        &self.memory
    }

    /// An object that owns `memory`.
    pub(crate) fn object(py: Python<'_>, memory: Memory) -> PyResult<Bound<'_, Block>> {
        Bound::new(py, Block { memory })
    }

    /// A `memoryview` of some of the bytes, writable.
    ///
    /// # Errors
    /// Whatever Python raises.
    pub(crate) fn view<'py>(slf: &Bound<'py, Block>, from: usize, to: usize) -> PyResult<Bound<'py, PyAny>> {
        let view = pyo3::types::PyMemoryView::from(slf.as_any())?;
        if from == 0 && to == slf.get().memory.length() {
            return Ok(view.into_any());
        }
        view.get_item(pyo3::types::PySlice::new(slf.py(), from as isize, to as isize, 1))
    }
}

#[pymethods]
impl Block {
    unsafe fn __getbuffer__(slf: Bound<'_, Self>, view: *mut ffi::Py_buffer, flags: c_int) -> PyResult<()> {
        let memory = &slf.get().memory;
        let length = isize::try_from(memory.length()).map_err(|_| PyBufferError::new_err("block too large"))?;
        // SAFETY: Python gives a `view` to fill; the memory lives as long as the object, of which the view keeps a reference.
        let code = unsafe { ffi::PyBuffer_FillInfo(view, slf.as_ptr(), memory.address(), length, 0, flags) };
        if code == 0 { Ok(()) } else { Err(PyErr::fetch(slf.py())) }
    }
}
