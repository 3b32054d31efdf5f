//! A part of a file, mapped, into which the kernel copies.
//!
//! Many small pieces of a file are written by a few system calls this way, and nothing between them is. Code of this process
//! never touches the mapping: what is not there any more (another process cut the file, the disk is full) would raise
//! SIGBUS, and a library has no handler to answer it with. The kernel's own copies just end early. `process_vm_readv` is
//! such a copy, from this process to itself. It is the one that *reads* on purpose: it stores as a program would, by page faults
//! of which the file system is told, whereas `process_vm_writev` makes pages dirty behind its back, and such pages may be lost.

use core::ptr::NonNull;
use std::io;
use std::os::fd::AsFd;

use rustix::io::Errno;
use rustix::mm::{Advice, MapFlags, ProtFlags};

use super::ConstMem;

/// Pieces per system call (the kernel's UIO_MAXIOV).
const PIECES: usize = 1024;

/// A part of a file that is mapped.
#[derive(Debug)]
pub struct FilePart {
    base: NonNull<u8>,
    /// The byte of the file at `base`.
    at: u64,
    len: usize,
}

// SAFETY: an address that only the kernel follows, from whatever thread.
unsafe impl Send for FilePart {}

impl FilePart {
    /// Maps `len` bytes from byte `at` of a file on, which begins a page. They need not be there yet.
    ///
    /// # Errors
    ///
    /// What the kernel says: the file may be of a kind that is not mapped, or not open for reading and writing.
    pub fn map(file: impl AsFd, at: u64, len: usize) -> Result<FilePart, Errno> {
        let access = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: a fresh mapping at an address of the kernel's choice touches no memory of this program.
        let base = unsafe { rustix::mm::mmap(core::ptr::null_mut(), len, access, MapFlags::SHARED, file, at)? };
        let base = NonNull::new(base.cast()).ok_or(Errno::INVAL)?;
        Ok(FilePart { base, at, len })
    }

    /// The address of `len` bytes from byte `at` of the file on, if they are in this part.
    fn address(&self, at: u64, len: usize) -> Option<*mut u8> {
        let from = usize::try_from(at.checked_sub(self.at)?).ok()?;
        (from.checked_add(len)? <= self.len).then(|| self.base.as_ptr().wrapping_add(from))
    }

    /// Whether the bytes from `at` to `end` of the file are in this part.
    #[must_use]
    pub fn covers(&self, at: u64, end: u64) -> bool {
        let len = end.checked_sub(at).and_then(|len| usize::try_from(len).ok());
        len.is_some_and(|len| self.address(at, len).is_some())
    }

    /// Makes the pages from `at` to `end` ready for writing at once, where the kernel can; else each is when it is first written.
    pub fn prepare(&self, at: u64, end: u64) {
        let page = rustix::param::page_size() as u64;
        let at = at - at % page;
        let Some(len) = end.checked_sub(at).and_then(|len| usize::try_from(len).ok()) else { return };
        let Some(address) = self.address(at, len) else { return };
        // SAFETY: the pages are this mapping's; what they hold stays.
        let _ = unsafe { rustix::mm::madvise(address.cast(), len, Advice::LinuxPopulateWrite) };
    }

    /// Writes `from`, cut into pieces: where each goes in the file, and its bytes. Gives how many bytes were written; they are
    /// fewer where the file has no place for more, or not all of the memory is there.
    ///
    /// # Errors
    ///
    /// What the kernel says when it copies nothing; `EINVAL` for a piece that is not in this part.
    pub fn scatter(&self, from: ConstMem, pieces: &[(u64, usize)]) -> Result<usize, Errno> {
        let mut places = [libc::iovec { iov_base: core::ptr::null_mut(), iov_len: 0 }; PIECES];
        let pid = std::process::id().cast_signed();
        let mut done = 0;
        for batch in pieces.chunks(PIECES) {
            let mut bytes = 0;
            for ((at, len), place) in batch.iter().zip(&mut places) {
                let address = self.address(*at, *len).ok_or(Errno::INVAL)?;
                *place = libc::iovec { iov_base: address.cast(), iov_len: *len };
                bytes += len;
            }
            let source = from.slice(done, bytes);
            let ours = libc::iovec { iov_base: source.as_ptr().cast_mut().cast(), iov_len: source.len() };
            // SAFETY: both arrays are valid; the places are this mapping's, to which nothing in this process refers; the source
            // is readable by the contract of ConstMem, and the kernel checks it.
            let n = unsafe { libc::process_vm_readv(pid, places.as_ptr(), batch.len() as _, &raw const ours, 1, 0) };
            match usize::try_from(n) {
                Ok(n) if n == bytes => done += n,
                Ok(n) => return Ok(done + n),
                Err(_) if done > 0 => break,
                Err(_) => return Err(Errno::from_io_error(&io::Error::last_os_error()).unwrap_or(Errno::IO)),
            }
        }
        Ok(done)
    }
}

impl Drop for FilePart {
    fn drop(&mut self) {
        // SAFETY: the mapping is this value's, and nothing refers to it. Failure leaves it mapped.
        let _ = unsafe { rustix::mm::munmap(self.base.as_ptr().cast(), self.len) };
    }
}

#[cfg(all(test, not(miri)))]
mod tests {
    use super::*;

    fn file(name: &str, len: u64) -> std::fs::File {
        let path = std::env::temp_dir().join(format!("phalanx-mapped-{}-{name}", std::process::id()));
        let mut options = std::fs::OpenOptions::new();
        let file = options.read(true).write(true).create(true).truncate(true).open(&path).expect("a file");
        std::fs::remove_file(path).expect("its name");
        file.set_len(len).expect("its length");
        file
    }

    fn bytes(from: &[u8]) -> ConstMem {
        // SAFETY: the tests keep what they lend.
        unsafe { ConstMem::new(from.as_ptr(), from.len()) }
    }

    #[test]
    fn pieces_go_where_they_belong_and_nothing_else_is_written() {
        use std::os::unix::fs::FileExt;
        let file = file("pieces", 1 << 20);
        file.write_all_at(&[9; 1 << 20], 0).expect("written");
        let part = FilePart::map(&file, 4096, 1 << 19).expect("mapped");
        assert!(part.covers(4096, 4096 + (1 << 19)) && !part.covers(4095, 5000) && !part.covers(4096, 1 << 20));
        let data: Vec<u8> = (0..9000).map(|i| (i % 100) as u8).collect();
        let pieces: Vec<(u64, usize)> = (0..3000).map(|i| (5000 + 100 * i, 3)).collect();
        part.prepare(5000, 5000 + 100 * 3000);
        assert_eq!(part.scatter(bytes(&data), &pieces), Ok(9000));
        let mut found = vec![0; 1 << 20];
        file.read_exact_at(&mut found, 0).expect("read");
        for (i, byte) in found.iter().enumerate() {
            let inside = i.wrapping_sub(5000);
            let expected = if inside < 300_000 && inside % 100 < 3 { data[inside / 100 * 3 + inside % 100] } else { 9 };
            assert_eq!(*byte, expected, "byte {i}");
        }
        assert_eq!(part.scatter(bytes(&data), &[(1 << 20, 3)]), Err(Errno::INVAL));
    }

    #[test]
    fn a_file_that_was_cut_ends_the_copy_and_not_the_process() {
        let file = file("cut", 3 << 12);
        let part = FilePart::map(&file, 0, 16 << 12).expect("mapped");
        let data = [1; 1 << 12];
        let pieces: Vec<(u64, usize)> = (0..8).map(|i| (i << 12, 512)).collect();
        part.prepare(0, 8 << 12);
        assert_eq!(part.scatter(bytes(&data), &pieces), Ok(3 * 512));
        file.set_len(0).expect("cut");
        assert_eq!(part.scatter(bytes(&data), &pieces), Err(Errno::FAULT));
        // SAFETY: nothing is there, which is what the kernel is asked to find out.
        let nowhere = unsafe { ConstMem::new(core::ptr::without_provenance(64), 4096) };
        file.set_len(1 << 20).expect("grown");
        assert_eq!(part.scatter(nowhere, &pieces), Err(Errno::FAULT));
    }
}
