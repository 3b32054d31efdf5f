//! Private memory that object messages are received into, and what is kept of it for the next ones.
//!
//! A message's bytes arrive in one [`Memory`]; the arrays of the object are then views of it, and the last of them frees
//! it. The first touch of fresh pages costs more than copying a message into them, so large memory is kept for the next
//! message instead of being returned to the system. How much is kept follows from what the program uses: see [`Cache`].

use std::alloc::{Layout, alloc, dealloc};
use std::ffi::c_void;
use std::ptr::NonNull;
use std::sync::{Mutex, PoisonError};

use pyo3::exceptions::PyMemoryError;
use pyo3::prelude::*;

use crate::frame::ALIGNMENT;
use crate::view::Keeper;

/// Memory of at least this many bytes is mapped, in huge pages where the system has them, and kept.
const LARGE: usize = 256 << 10;

/// Address space for a message whose size is not known when its receive is posted, on libraries that do not ask for memory
/// once it is known. Only pages that a message touches become memory. No size class of [`size_class`], so that a capacity tells the two kinds apart.
const RESERVED: usize = (1 << 30) + 4096;

/// Messages up to this size are copied out of reserved address space, which then serves again.
const COPIED: usize = 64 << 10;

/// How many unused pieces of reserved address space are kept.
const RESERVED_KEPT: usize = 32;

/// Memory of a fixed size, uninitialised until somebody writes it.
pub struct Memory {
    start: NonNull<u8>,
    /// Bytes that the user asked for.
    length: usize,
    /// Bytes that there are; a multiple of the alignment, for large memory of its size class.
    capacity: usize,
    /// Bytes that may have been touched, where it is reserved address space.
    touched: usize,
}

// SAFETY: plain memory that this value owns.
unsafe impl Send for Memory {}
// SAFETY: shared access only hands out the address; whoever uses it answers for synchronisation (here: the interpreter
// lock, and MPI's rule that a buffer under way is left alone).
unsafe impl Sync for Memory {}

// SAFETY: the memory is this value's own, and freed only when that is dropped.
unsafe impl Keeper for Memory {
    fn start(&self) -> *mut u8 {
        self.start.as_ptr()
    }

    fn length(&self) -> usize {
        self.length
    }
}

/// Large memory that nobody uses.
///
/// It never is more than [`Cache::FLOOR`], or than what messages recently held at one time if that is more, up to
/// [`Cache::MOST`]; and no more than [`Cache::PER_SIZE`] pieces of one size. What a burst of messages left behind is
/// trimmed as later ones arrive. The oldest goes first.
struct Cache {
    /// Address and capacity, the most recently used last.
    unused: Vec<(NonNull<u8>, usize)>,
    /// The bytes of all of them.
    bytes: usize,
    /// The bytes that messages hold.
    live: usize,
    /// The most bytes that messages recently held at one time; it fades with every new message.
    peak: usize,
}

// SAFETY: the unused memory is owned by the cache.
unsafe impl Send for Cache {}

static CACHE: Mutex<Cache> = Mutex::new(Cache { unused: Vec::new(), bytes: 0, live: 0, peak: 0 });

impl Cache {
    /// So many bytes may always be kept.
    const FLOOR: usize = 8 << 20;
    /// More bytes are never kept.
    const MOST: usize = 128 << 20;
    /// How many pieces of one size are kept.
    const PER_SIZE: usize = 4;
    /// A new message makes the peak smaller by one part in so many.
    const FADING: usize = 32;

    /// Memory of that capacity, if some is unused, counted as held from now on whether or not.
    fn take(&mut self, capacity: usize) -> Option<NonNull<u8>> {
        self.count(capacity);
        let place = self.unused.iter().rposition(|(_, unused)| *unused == capacity)?;
        self.bytes -= capacity;
        Some(self.unused.remove(place).0)
    }

    /// Counts memory that a message holds from now on.
    fn count(&mut self, capacity: usize) {
        self.live = self.live.saturating_add(capacity);
        self.peak = self.live.max(self.peak - self.peak / Self::FADING);
        self.trim();
    }

    /// Takes memory back that no message holds any more.
    fn give(&mut self, start: NonNull<u8>, capacity: usize) {
        self.live = self.live.saturating_sub(capacity);
        self.unused.push((start, capacity));
        self.bytes += capacity;
        if self.unused.iter().filter(|(_, unused)| *unused == capacity).count() > Self::PER_SIZE
            && let Some(oldest) = self.unused.iter().position(|(_, unused)| *unused == capacity)
        {
            self.release(oldest);
        }
        self.trim();
    }

    fn trim(&mut self) {
        let limit = self.peak.clamp(Self::FLOOR, Self::MOST);
        while self.bytes > limit && !self.unused.is_empty() {
            self.release(0);
        }
    }

    fn release(&mut self, place: usize) {
        let (start, capacity) = self.unused.remove(place);
        self.bytes -= capacity;
        unmap(start, capacity);
    }
}

/// Unused reserved address space, [`RESERVED`] bytes each.
struct Spaces(Vec<NonNull<u8>>);

// SAFETY: nobody else uses it.
unsafe impl Send for Spaces {}

static SPACES: Mutex<Spaces> = Mutex::new(Spaces(Vec::new()));

/// The cache, whatever happened to another thread that had it.
fn cache() -> std::sync::MutexGuard<'static, Cache> {
    CACHE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The size class of large memory: sixteen steps to every power of two, so that at most a sixteenth is wasted.
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
    #[must_use]
    pub fn new(length: usize) -> Option<Memory> {
        if length < LARGE {
            let capacity = length.max(1).next_multiple_of(ALIGNMENT);
            let layout = Layout::from_size_align(capacity, ALIGNMENT).ok()?;
            // SAFETY: the layout has a size other than zero.
            let start = NonNull::new(unsafe { alloc(layout) })?;
            return Some(Memory { start, length, capacity, touched: 0 });
        }
        let capacity = size_class(length)?;
        let unused = cache().take(capacity);
        let start = match unused.or_else(|| map_huge(capacity)) {
            Some(start) => start,
            None => {
                let mut cache = cache();
                cache.live = cache.live.saturating_sub(capacity);
                cache.peak = cache.peak.min(cache.live.max(cache.bytes));
                return None;
            }
        };
        Some(Memory { start, length, capacity, touched: 0 })
    }

    /// As [`Memory::new`], for a length that a message told.
    ///
    /// # Errors
    /// `MemoryError` that names the size.
    pub fn for_message(length: usize) -> PyResult<Memory> {
        Memory::new(length)
            .ok_or_else(|| PyMemoryError::new_err(format!("no memory for an object message of {length} bytes")))
    }

    /// A copy of a message.
    ///
    /// # Errors
    /// `MemoryError`.
    pub fn copy_of(bytes: &[u8]) -> PyResult<Memory> {
        let memory = Memory::for_message(bytes.len())?;
        // SAFETY: the new memory has room for so many bytes and is nobody else's.
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), memory.start.as_ptr(), bytes.len()) };
        Ok(memory)
    }

    /// Address space for a message of any size up to a gibibyte; `None` when the process may not have so much.
    #[must_use]
    pub fn reserve() -> Option<Memory> {
        let unused = SPACES.lock().unwrap_or_else(PoisonError::into_inner).0.pop();
        let start = match unused {
            Some(start) => start,
            None => map(RESERVED, libc::MAP_NORESERVE)?,
        };
        Some(Memory { start, length: RESERVED, capacity: RESERVED, touched: RESERVED })
    }

    /// The first `length` bytes, which hold a message, in memory of about that size.
    ///
    /// # Errors
    /// `MemoryError`.
    pub fn settle(mut self, length: usize) -> PyResult<Memory> {
        let length = length.min(self.length);
        if self.capacity == RESERVED && length <= COPIED {
            self.touched = COPIED;
            // SAFETY: a message has filled so many bytes here.
            return Memory::copy_of(unsafe { std::slice::from_raw_parts(self.start.as_ptr(), length) });
        }
        if let Some(capacity) =
            size_class(length.max(LARGE)).filter(|capacity| self.capacity == RESERVED && *capacity < RESERVED)
        {
            // SAFETY: the tail is ours and nobody uses it: the message ends before it.
            let tail = unsafe { self.start.add(capacity) };
            unmap(tail, RESERVED - capacity);
            self.capacity = capacity;
            cache().count(capacity);
        }
        self.length = length;
        Ok(self)
    }

    /// Where the memory begins.
    #[must_use]
    pub fn address(&self) -> *mut c_void {
        self.start.as_ptr().cast()
    }

    /// How many bytes were asked for.
    #[must_use]
    pub fn length(&self) -> usize {
        self.length
    }

    /// The bytes, which a receive has filled.
    ///
    /// # Safety
    /// - The first `length` bytes have been written.
    /// - Nobody writes them while the slice lives.
    #[must_use]
    pub unsafe fn bytes(&self) -> &[u8] {
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
        if self.capacity != RESERVED {
            return cache().give(self.start, self.capacity);
        }
        if self.touched > COPIED {
            // SAFETY: the range is this value's; its contents are given up.
            unsafe { libc::madvise(self.start.as_ptr().cast(), RESERVED, libc::MADV_DONTNEED) };
        }
        let mut spaces = SPACES.lock().unwrap_or_else(PoisonError::into_inner);
        if spaces.0.len() < RESERVED_KEPT {
            return spaces.0.push(self.start);
        }
        drop(spaces);
        unmap(self.start, RESERVED);
    }
}
