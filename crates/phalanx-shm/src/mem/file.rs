//! Memory of someone else to and from files: the kernel copies, so that no other copy is needed.
//!
//! Except where its copies [crawl](super::crawl): what is read to such a place is better read somewhere else and moved.

use std::os::fd::AsFd;

use rustix::io::Errno;

use super::crawl::kernel_crawls;
use super::{ConstMem, MutMem};

impl ConstMem {
    /// Writes these bytes at byte `at` of a file. Returns how many were written, which may be fewer.
    ///
    /// # Errors
    ///
    /// What the kernel says; memory that is not there is `EFAULT`.
    pub fn write_at(&self, file: impl AsFd, at: u64) -> Result<usize, Errno> {
        if self.len == 0 {
            return Ok(0);
        }
        // SAFETY: the maker of this view promised that the bytes stay valid; they are lent to the kernel only.
        let bytes = unsafe { core::slice::from_raw_parts(self.ptr, self.len) };
        rustix::io::pwrite(file, bytes, at)
    }
}

impl MutMem {
    /// Fills these bytes from byte `at` of a file on. Returns how many were read: 0 at the end of the file.
    ///
    /// # Errors
    ///
    /// What the kernel says; memory that is not there is `EFAULT`.
    pub fn read_at(&self, file: impl AsFd, at: u64) -> Result<usize, Errno> {
        if self.len == 0 {
            return Ok(0);
        }
        // SAFETY: the maker of this view promised that the bytes may be written; they are lent to the kernel only.
        let bytes = unsafe { core::slice::from_raw_parts_mut(self.ptr, self.len) };
        rustix::io::pread(file, bytes, at)
    }

    /// Whether the kernel's copy crawls when these bytes are [filled](MutMem::read_at) from byte `at` of a file on.
    #[must_use]
    pub fn crawls_from(&self, at: u64) -> bool {
        kernel_crawls(core::ptr::without_provenance(at as usize), self.ptr, self.len)
    }
}
