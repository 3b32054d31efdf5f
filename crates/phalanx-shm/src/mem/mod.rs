//! Memory that this code does not own: user buffers and shared ranges.
//!
//! MPI hands buffers over by address and keeps them until a request completes;
//! other processes write shared ranges at any time. Neither can be a `&[u8]`.
//! [`ConstMem`] and [`MutMem`] are such ranges as plain values: making one is
//! `unsafe` (the maker promises that the memory stays valid), copying through
//! one is safe and always bounds-checked.
//!
//! The loops over such memory have files of their own here: moving bytes, element-wise updates, runs of equal blocks, copies
//! past the caches, taking cache lines over, and the arithmetic of a format that Rust has no type for. They are unsafe code for the same reason as the
//! views, and use nothing of this crate beside them.

mod combine;
#[cfg(not(loom))]
pub(crate) mod copy;
mod crawl;
#[cfg(not(loom))]
mod file;
mod lines;
#[cfg(not(loom))]
mod mapped;
pub(crate) mod memmove;
mod strided;
#[cfg(all(target_arch = "x86_64", not(miri)))]
pub mod x87;

use core::marker::PhantomData;

#[cfg(not(loom))]
pub(crate) use crawl::kernel_crawls;
pub use crawl::{LEAD, lead};
#[cfg(not(loom))]
pub use mapped::FilePart;
use memmove::copy;

#[cfg(not(loom))]
use crate::ShmError;

/// Readable memory of someone else: address and length.
#[derive(Clone, Copy, Debug)]
pub struct ConstMem {
    ptr: *const u8,
    len: usize,
}

// SAFETY: it is an address and a length; by the contract of `ConstMem::new` the
// memory may be read from any thread until its owner withdraws it.
unsafe impl Send for ConstMem {}
// SAFETY: as for Send; there is no interior state.
unsafe impl Sync for ConstMem {}

impl ConstMem {
    /// Memory at `ptr` of `len` bytes.
    ///
    /// # Safety
    ///
    /// For as long as the value or a copy of it is used to read, `ptr` must be
    /// valid for reads of `len` bytes from any thread of this process, and
    /// nobody may write there during such a read except as MPI allows the user
    /// (whose concurrent writes give unspecified bytes). Zero bytes are always
    /// allowed, whatever `ptr` is.
    #[inline]
    pub unsafe fn new(ptr: *const u8, len: usize) -> ConstMem {
        ConstMem { ptr, len }
    }

    /// A base address: memory is reached at signed offsets from it
    /// ([`ConstMem::at`]), as MPI datatypes do, `MPI_BOTTOM` (null) included.
    ///
    /// # Safety
    ///
    /// As for [`ConstMem::new`], for every byte that is ever reached from here.
    #[inline]
    pub unsafe fn base(ptr: *const u8) -> ConstMem {
        ConstMem { ptr, len: usize::MAX }
    }

    /// The `len` bytes from signed offset `at` on. Of a base address, whatever
    /// the offset; of a range, only what lies in it.
    #[inline]
    pub fn at(&self, at: isize, len: usize) -> ConstMem {
        if self.len == usize::MAX {
            return ConstMem { ptr: self.ptr.wrapping_offset(at), len };
        }
        match usize::try_from(at) {
            Ok(at) => self.slice(at, len),
            Err(_) => ConstMem { ptr: self.ptr, len: 0 },
        }
    }

    /// No memory at all.
    #[inline]
    pub const fn empty() -> ConstMem {
        ConstMem { ptr: core::ptr::null(), len: 0 }
    }

    /// Length in bytes.
    #[inline]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is nothing to read.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The address, for telling another process or comparing.
    #[inline]
    pub fn as_ptr(&self) -> *const u8 {
        self.ptr
    }

    /// The part from byte `at` on, at most `len` bytes long, cut at the end.
    #[inline]
    pub fn slice(&self, at: usize, len: usize) -> ConstMem {
        let at = at.min(self.len);
        ConstMem { ptr: self.ptr.wrapping_add(at), len: len.min(self.len - at) }
    }

    /// Copies the first bytes into `out`; returns how many fitted.
    #[inline]
    pub fn copy_to(&self, out: &mut [u8]) -> usize {
        let n = self.len.min(out.len());
        // SAFETY: n is within both; the source is readable by the contract of
        // `new`, and `copy` allows overlap.
        unsafe { copy(self.ptr, out.as_mut_ptr(), n) };
        n
    }

    /// Copies the first bytes to `out` (which may overlap); returns how many fitted.
    #[inline]
    pub fn copy_to_mem(&self, out: MutMem) -> usize {
        let n = self.len.min(out.len);
        // SAFETY: n is within both; readable and writable by the contracts of
        // the two constructors, and `copy` allows overlap.
        unsafe { copy(self.ptr, out.ptr, n) };
        n
    }
}

/// Writable memory of someone else: address and length.
#[derive(Clone, Copy, Debug)]
pub struct MutMem {
    ptr: *mut u8,
    len: usize,
}

// SAFETY: it is an address and a length; by the contract of `MutMem::new` the
// memory may be written from any thread until its owner withdraws it.
unsafe impl Send for MutMem {}
// SAFETY: as for Send; there is no interior state.
unsafe impl Sync for MutMem {}

impl MutMem {
    /// Memory at `ptr` of `len` bytes.
    ///
    /// # Safety
    ///
    /// For as long as the value or a copy of it is used, `ptr` must be valid
    /// for reads and writes of `len` bytes from any thread of this process,
    /// and no Rust reference may cover it. Zero bytes are always allowed.
    #[inline]
    pub unsafe fn new(ptr: *mut u8, len: usize) -> MutMem {
        MutMem { ptr, len }
    }

    /// A base address: see [`ConstMem::base`].
    ///
    /// # Safety
    ///
    /// As for [`MutMem::new`], for every byte that is ever reached from here.
    #[inline]
    pub unsafe fn base(ptr: *mut u8) -> MutMem {
        MutMem { ptr, len: usize::MAX }
    }

    /// The `len` bytes from signed offset `at` on: see [`ConstMem::at`].
    #[inline]
    pub fn at(&self, at: isize, len: usize) -> MutMem {
        if self.len == usize::MAX {
            return MutMem { ptr: self.ptr.wrapping_offset(at), len };
        }
        match usize::try_from(at) {
            Ok(at) => self.slice(at, len),
            Err(_) => MutMem { ptr: self.ptr, len: 0 },
        }
    }

    /// No memory at all.
    #[inline]
    pub const fn empty() -> MutMem {
        MutMem { ptr: core::ptr::null_mut(), len: 0 }
    }

    /// Length in bytes.
    #[inline]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is nowhere to write.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The address, for telling another process or comparing.
    #[inline]
    pub fn as_ptr(&self) -> *mut u8 {
        self.ptr
    }

    /// The same memory, only for reading.
    #[inline]
    pub fn as_const(&self) -> ConstMem {
        ConstMem { ptr: self.ptr, len: self.len }
    }

    /// The part from byte `at` on, at most `len` bytes long, cut at the end.
    #[inline]
    pub fn slice(&self, at: usize, len: usize) -> MutMem {
        let at = at.min(self.len);
        MutMem { ptr: self.ptr.wrapping_add(at), len: len.min(self.len - at) }
    }

    /// Copies the first bytes of `from` here; returns how many fitted.
    #[inline]
    pub fn copy_from(&self, from: &[u8]) -> usize {
        let n = self.len.min(from.len());
        // SAFETY: n is within both; writable by the contract of `new`.
        unsafe { copy(from.as_ptr(), self.ptr, n) };
        n
    }

    /// Copies the first bytes into `out`; returns how many fitted.
    #[inline]
    pub fn copy_to(&self, out: &mut [u8]) -> usize {
        self.as_const().copy_to(out)
    }

    /// Sets every byte.
    #[inline]
    pub fn fill(&self, byte: u8) {
        if self.len > 0 {
            // SAFETY: writable for `len` bytes by the contract of `new`.
            unsafe { core::ptr::write_bytes(self.ptr, byte, self.len) };
        }
    }
}

/// One piece of a message to be gathered: a borrowed slice or foreign memory.
#[derive(Clone, Copy, Debug)]
#[repr(transparent)]
pub struct Part<'a> {
    mem: ConstMem,
    life: PhantomData<&'a [u8]>,
}

impl Part<'_> {
    /// The bytes as foreign memory.
    #[inline]
    pub fn mem(&self) -> ConstMem {
        self.mem
    }

    /// Length in bytes.
    #[inline]
    pub fn len(&self) -> usize {
        self.mem.len
    }

    /// Whether the part has no bytes.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.mem.len == 0
    }
}

impl<'a> From<&'a [u8]> for Part<'a> {
    #[inline]
    fn from(bytes: &'a [u8]) -> Part<'a> {
        Part { mem: ConstMem { ptr: bytes.as_ptr(), len: bytes.len() }, life: PhantomData }
    }
}

impl From<ConstMem> for Part<'_> {
    #[inline]
    fn from(mem: ConstMem) -> Self {
        Part { mem, life: PhantomData }
    }
}

/// A range of the shared segment, for bulk copies in and out.
///
/// Other processes may write it at any time: copies of bytes that somebody is
/// writing give unspecified bytes, so the users synchronise by flags or
/// messages. There is deliberately no way to a `&[u8]`.
#[cfg(not(loom))]
#[derive(Clone, Copy, Debug)]
pub struct SharedBytes<'u> {
    mem: MutMem,
    life: PhantomData<&'u ()>,
}

#[cfg(not(loom))]
impl<'u> SharedBytes<'u> {
    /// # Safety
    ///
    /// `ptr` is valid for `len` bytes of mapped shared memory during `'u`.
    pub(crate) unsafe fn new(ptr: *mut u8, len: usize) -> SharedBytes<'u> {
        SharedBytes { mem: MutMem { ptr, len }, life: PhantomData }
    }

    /// Length in bytes.
    #[inline]
    pub fn len(&self) -> usize {
        self.mem.len
    }

    /// Whether the range is empty.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.mem.len == 0
    }

    /// The sub-range from byte `at` on, at most `len` bytes long, cut at the end.
    #[inline]
    pub fn slice(&self, at: usize, len: usize) -> SharedBytes<'u> {
        SharedBytes { mem: self.mem.slice(at, len), life: PhantomData }
    }

    fn checked(&self, at: usize, len: usize) -> Result<MutMem, ShmError> {
        if at.checked_add(len).is_some_and(|end| end <= self.mem.len) {
            Ok(self.mem.slice(at, len))
        } else {
            Err(ShmError::BadRange { offset: at as u64, bytes: len as u64 })
        }
    }

    /// Copies `from` to byte `at`.
    ///
    /// # Errors
    ///
    /// [`ShmError::BadRange`] when it does not fit; nothing is copied then.
    #[inline]
    pub fn write(&self, at: usize, from: &[u8]) -> Result<(), ShmError> {
        self.checked(at, from.len())?.copy_from(from);
        Ok(())
    }

    /// Copies from byte `at` into all of `out`.
    ///
    /// # Errors
    ///
    /// [`ShmError::BadRange`] when the range is shorter; nothing is copied then.
    #[inline]
    pub fn read(&self, at: usize, out: &mut [u8]) -> Result<(), ShmError> {
        self.checked(at, out.len())?.copy_to(out);
        Ok(())
    }

    /// Copies all of `from` to byte `at`.
    ///
    /// # Errors
    ///
    /// [`ShmError::BadRange`] when it does not fit; nothing is copied then.
    #[inline]
    pub fn write_mem(&self, at: usize, from: ConstMem) -> Result<(), ShmError> {
        from.copy_to_mem(self.checked(at, from.len)?);
        Ok(())
    }

    /// Copies from byte `at` into all of `out`, as [`MutMem::copy_out`].
    ///
    /// # Errors
    ///
    /// [`ShmError::BadRange`] when the range is shorter; nothing is copied then.
    #[inline]
    pub fn read_mem(&self, at: usize, out: MutMem, take: bool) -> Result<(), ShmError> {
        self.checked(at, out.len)?.copy_out(out, take);
        Ok(())
    }

    /// The range as memory without a lifetime, for operations that take
    /// [`MutMem`] (reductions in place, datatype engines).
    ///
    /// # Safety
    ///
    /// The universe must stay mapped while the result is used.
    #[inline]
    pub unsafe fn as_mem(&self) -> MutMem {
        self.mem
    }
}

#[cfg(test)]
mod tests {
    use super::MutMem;

    /// That a way to copy copies every byte at every alignment and length, writes nothing else, and leaves the source as
    /// it was.
    pub(super) fn copies_exactly(copy: impl Fn(MutMem, MutMem) -> usize) {
        let mut source: Vec<u8> = (0..1200).map(|i| (i * 7) as u8).collect();
        let before = source.clone();
        for at in 0..70 {
            for len in [0, 1, 30, 63, 64, 65, 129, 255, 256, 257, 300, 511, 512, 513, 640, 1000] {
                let mut target = vec![0xaa; 1200];
                // SAFETY: both vectors live and are not otherwise used meanwhile.
                let (from, to) = unsafe {
                    (MutMem::new(source[at / 3..].as_mut_ptr(), len), MutMem::new(target[at..].as_mut_ptr(), len))
                };
                assert_eq!(copy(from, to), len);
                assert_eq!(target[at..at + len], before[at / 3..at / 3 + len], "{len} bytes to {at}");
                assert!(target[..at].iter().chain(&target[at + len..]).all(|b| *b == 0xaa), "{len} bytes to {at}");
                assert_eq!(source, before, "{len} bytes from {}", at / 3);
            }
        }
    }
}
