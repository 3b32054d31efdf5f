//! How much memory a thread has allocated at once.
#![expect(unsafe_code, reason = "an allocator is one by an unsafe trait")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

thread_local! {
    /// Bytes that this thread has allocated and not freed; less than none, when it frees those of others.
    static LIVE: Cell<isize> = const { Cell::new(0) };
    static MOST: Cell<isize> = const { Cell::new(0) };
}

/// The system's allocator, which counts. A test or a fuzzer installs it as its global one; without it, nothing is counted.
#[derive(Debug)]
pub struct Counting;

fn count(bytes: isize) {
    // A thread that ends has no counters any more.
    let _ = LIVE.try_with(|live| {
        live.set(live.get().saturating_add(bytes));
        let _ = MOST.try_with(|most| most.set(most.get().max(live.get())));
    });
}

/// Begins to count; what there is so far.
pub(crate) fn begin() -> isize {
    let live = LIVE.with(Cell::get);
    MOST.with(|most| most.set(live));
    live
}

/// The most bytes that were allocated at once on top of what there was.
pub(crate) fn most_since(before: isize) -> usize {
    usize::try_from(MOST.with(Cell::get) - before).unwrap_or(0)
}

// SAFETY: all four pass the call on to the system's allocator as it came, and do nothing else that touches memory but
// constant thread-local cells, which allocate nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size().cast_signed());
        // SAFETY: the caller's contract is the same.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        count(-layout.size().cast_signed());
        // SAFETY: the caller's contract is the same, and the block came from the same allocator.
        unsafe { System.dealloc(at, layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(layout.size().cast_signed());
        // SAFETY: the caller's contract is the same.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(size.cast_signed() - layout.size().cast_signed());
        // SAFETY: the caller's contract is the same, and the block came from the same allocator.
        unsafe { System.realloc(at, layout, size) }
    }
}
