//! The engine's few steps from borrowed or agreed memory to raw memory, in one place.
//!
//! Everything else in this crate handles memory through [`ConstMem`] and [`MutMem`], whose constructors carry the promise
//! that the memory is there. Rust slices carry that promise in their lifetime; these functions hand it over.
#![expect(unsafe_code, reason = "the constructors of raw memory, each with its argument")]

use phalanx_shm::SharedBytes;
use phalanx_shm::mem::{ConstMem, MutMem};

/// The bytes of a slice, as raw memory. For use while the slice is borrowed or owned by an operation under way.
#[inline]
pub(crate) fn of<T>(data: &[T]) -> ConstMem {
    // SAFETY: callers keep the slice borrowed (the lifetime of `SendBuf`, a call's argument) or alive (the buffer of an
    // operation) for as long as they use the result; copying bytes out of initialised elements is always allowed, and
    // padding does not occur in the element types used (`Equivalence`, bytes, words).
    unsafe { ConstMem::new(data.as_ptr().cast(), size_of_val(data)) }
}

/// The bytes of a slice, as raw writable memory. For use while the slice is mutably borrowed.
#[inline]
pub(crate) fn of_mut<T>(data: &mut [T]) -> MutMem {
    // SAFETY: as in `of`; every bit pattern is valid for the element types used.
    unsafe { MutMem::new(data.as_mut_ptr().cast(), size_of_val(data)) }
}

/// A part of the segment as plain memory, for windows.
#[inline]
pub(crate) fn of_shared(bytes: &SharedBytes<'_>) -> MutMem {
    // SAFETY: the result stays in a window, which keeps its engine and so the mapping; the program, which gets the address, may use
    // it until the window is freed.
    unsafe { bytes.as_mem() }
}

/// All memory, from address 0 on: a base for addresses that the program gave.
pub(crate) fn any() -> MutMem {
    // SAFETY: windows reach from here what the program has attached to them, whose constructor promised that it may be read and
    // written; every access is compared with that first.
    unsafe { MutMem::base(std::ptr::with_exposed_provenance_mut(0)) }
}

/// A base address `at` bytes into memory. Callers have checked that what they reach from it lies in the memory.
#[inline]
pub(crate) fn base_in(memory: &MutMem, at: isize) -> MutMem {
    // SAFETY: the range that a type reaches from here was compared with the memory's length; the memory is valid by the contract of
    // its constructor.
    unsafe { MutMem::base(memory.as_ptr().wrapping_offset(at)) }
}
