//! Memory of someone else to and from files: the kernel copies, so that no other copy is needed.
//!
//! Except where its copies crawl: a page of the file begins with a page of memory, `malloc` gives large arrays 16 bytes behind one, and
//! at that offset some processors' string moves, by which the kernel copies, take four times as long (decision 0037). What
//! is read to such a place is better read somewhere else and moved.

use core::sync::atomic::{AtomicU8, Ordering};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use rustix::fs::MemfdFlags;

use rustix::io::Errno;

use super::memmove::{FIRST, is_offset_in_question};
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

    /// Whether the kernel's copy crawls when these bytes are [filled](MutMem::read_at) from byte `at` of a file on. The first time that
    /// it might, a look at the machine tells, which takes some tens of microseconds.
    #[must_use]
    pub fn crawls_from(&self, at: u64) -> bool {
        kernel_crawls(core::ptr::without_provenance(at as usize), self.ptr, self.len)
    }
}

/// Whether the kernel's copy of so many bytes crawls from one address to another, of which only the places in their pages count. The
/// first time that it might, a look at the machine tells, which takes some tens of microseconds.
#[inline]
pub(crate) fn kernel_crawls(from: *const u8, to: *const u8, len: usize) -> bool {
    len >= FIRST && is_offset_in_question(from, to.cast_mut()) && crawls_here()
}

/// What a look at the machine has shown.
static CRAWLS: AtomicU8 = AtomicU8::new(UNKNOWN);
const UNKNOWN: u8 = 0;
const NO: u8 = 1;
const YES: u8 = 2;

fn crawls_here() -> bool {
    if CRAWLS.load(Ordering::Relaxed) == UNKNOWN {
        // Where there is no such file, nothing is known to crawl.
        let crawls = look().unwrap_or(false);
        CRAWLS.store(if crawls { YES } else { NO }, Ordering::Relaxed);
    }
    CRAWLS.load(Ordering::Relaxed) == YES
}

/// Whether reading some pages of a file crawls at an offset of 16 bytes.
fn look() -> Result<bool, Errno> {
    /// Bytes that are read: so many that the system call itself counts for little.
    const BYTES: usize = 1 << 15;
    /// Times that they are read at each offset. The best counts: others on the machine only make it worse.
    const TIMES: usize = 4;
    /// How many times longer they take where it crawls. It is four to five times there; elsewhere it is the same within a half.
    const CRAWLING: u32 = 2;
    const PAGE: usize = 4096;
    let mut memory = vec![1; BYTES + 2 * PAGE];
    let file = rustix::fs::memfd_create("phalanx-look", MemfdFlags::CLOEXEC)?;
    rustix::io::pwrite(&file, &memory[..BYTES], 0)?;
    let start = memory.as_ptr().addr().wrapping_neg() % PAGE;
    let mut best = |offset: usize| -> Result<Duration, Errno> {
        let mut least = Duration::MAX;
        for _ in 0..TIMES {
            let began = Instant::now();
            rustix::io::pread(&file, &mut memory[start + offset..][..BYTES], 0)?;
            least = least.min(began.elapsed());
        }
        Ok(least)
    };
    // The first reads bring the memory into the cache.
    best(0)?;
    let level = best(0)?;
    Ok(best(16)? > level * CRAWLING)
}

#[cfg(all(test, not(miri)))]
mod tests {
    use super::*;

    #[test]
    fn only_memory_a_little_behind_the_place_in_the_file_is_in_question_and_one_look_is_enough() {
        let mut memory = vec![0_u8; 3 * 4096];
        let start = memory.as_ptr().addr().wrapping_neg() % 4096;
        let mut crawls = |offset: usize, len: usize, at: u64| {
            let part = &mut memory[start + offset..][..len];
            // SAFETY: nothing is read or written.
            unsafe { MutMem::new(part.as_mut_ptr(), part.len()) }.crawls_from(at)
        };
        for (offset, len, at) in [(0, 4096, 0), (64, 4096, 0), (16, 4096, 16), (16, 4096, 4096 * 7 + 17), (16, 2047, 0)]
        {
            assert!(!crawls(offset, len, at), "{offset} {len} {at}");
        }
        let first = crawls(16, 4096, 1 << 40);
        assert_eq!(first, crawls_here());
        assert_ne!(CRAWLS.load(Ordering::Relaxed), UNKNOWN);
        assert_eq!(crawls(117, 4096, 4096 + 100), first);
    }

    #[test]
    fn a_look_can_be_taken_here() {
        look().expect("a file in memory");
    }
}
