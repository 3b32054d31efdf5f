//! One anonymous shared segment: create, seal, map, reserve pages.
//!
//! The segment is a memfd: it has no name, so nothing is left behind when the
//! last process ends, and only processes that inherit (or are passed) the
//! descriptor can open it. Its size is sealed: no process can shrink it under
//! the others, which would turn their accesses into SIGBUS. It is sparse;
//! [`Segment::commit`] reserves the pages of a range before anyone may touch
//! them, so that missing memory is an error here and not a SIGBUS later. (The
//! heap promises some pages instead, where a touch cannot be refused.)

use std::ffi::c_void;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::ptr::{self, NonNull};

use rustix::fs::{FallocateFlags, MemfdFlags, SealFlags};
use rustix::io::Errno;
use rustix::mm::{MapFlags, ProtFlags};
use rustix::process::{Resource, getrlimit};

use crate::{ShmError, ShortTag};

/// The mapping of one memfd into this process. Unmapped on drop.
#[derive(Debug)]
pub(crate) struct Segment {
    fd: OwnedFd,
    base: NonNull<u8>,
    len: usize,
}

// SAFETY: the mapping lives until drop and is not tied to a thread; what is
// inside is accessed through atomics or by the protocols of this crate.
unsafe impl Send for Segment {}
// SAFETY: as for Send.
unsafe impl Sync for Segment {}

/// What is reserved at least between two signals.
const PIECE: u64 = 1 << 20;

/// Seals a segment carries: its size is final and so are the seals.
const SEALS: SealFlags = SealFlags::GROW.union(SealFlags::SHRINK).union(SealFlags::SEAL);

impl Segment {
    /// A new segment of `len` bytes (a multiple of the page size), all zero,
    /// no page reserved yet. The descriptor is close-on-exec.
    pub(crate) fn create(len: usize) -> Result<Segment, ShmError> {
        // Growing a file past RLIMIT_FSIZE raises SIGXFSZ, which kills: ask first.
        check_limit(Resource::Fsize, "file size", len)?;
        let fd = rustix::fs::memfd_create(c"phalanx-universe", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)
            .map_err(system("create the shared segment"))?;
        rustix::fs::ftruncate(&fd, len as u64).map_err(system("set the shared segment's size"))?;
        rustix::fs::fcntl_add_seals(&fd, SEALS).map_err(system("seal the shared segment"))?;
        Segment::map(fd, len)
    }

    /// Maps an inherited descriptor after checking that it is a sealed memfd.
    pub(crate) fn attach(fd: OwnedFd) -> Result<Segment, ShmError> {
        let foreign = |reason: &str| ShmError::NotAUniverse { reason: reason.to_owned() };
        let seals = rustix::fs::fcntl_get_seals(&fd).map_err(|_| foreign("it is not a memory segment (memfd)"))?;
        if !seals.contains(SEALS) {
            return Err(foreign("its size is not sealed"));
        }
        let stat = rustix::fs::fstat(&fd).map_err(system("inspect the shared segment"))?;
        let len = usize::try_from(stat.st_size).map_err(|_| foreign("its size is negative"))?;
        if len < 4096 {
            return Err(foreign("it is smaller than a page"));
        }
        Segment::map(fd, len)
    }

    fn map(fd: OwnedFd, len: usize) -> Result<Segment, ShmError> {
        // SAFETY: a fresh mapping at an address of the kernel's choice touches
        // no memory of this program.
        let base = unsafe {
            rustix::mm::mmap(ptr::null_mut(), len, ProtFlags::READ | ProtFlags::WRITE, MapFlags::SHARED, &fd, 0)
        };
        match base {
            Ok(base) => {
                let base = NonNull::new(base.cast()).ok_or(ShmError::System {
                    what: "map the shared segment",
                    source: io::Error::from(io::ErrorKind::InvalidData),
                })?;
                Ok(Segment { fd, base, len })
            }
            Err(Errno::NOMEM) => {
                check_limit(Resource::As, "address space", len)?;
                Err(ShmError::OutOfMemory {
                    bytes: len as u64,
                    what: "the address range of the shared segment",
                    source: Errno::NOMEM.into(),
                })
            }
            Err(e) => Err(system("map the shared segment")(e)),
        }
    }

    /// The memfd.
    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// Start of the mapping; page-aligned.
    #[inline]
    pub(crate) fn base(&self) -> *mut u8 {
        self.base.as_ptr()
    }

    /// Bytes mapped.
    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Reserves the pages of `at..at + len`. Idempotent; reserved pages keep
    /// their contents, new ones are zero.
    ///
    /// Kernels undo what they reserved when a signal comes. Under an interval
    /// timer a large range would then never be reserved at once: it is
    /// reserved in pieces after the first signal, which come between two.
    pub(crate) fn commit(&self, at: u64, len: u64, what: &'static str) -> Result<(), ShmError> {
        let (mut done, mut piece) = (0, len);
        while done < len {
            let next = piece.min(len - done);
            match rustix::fs::fallocate(&self.fd, FallocateFlags::empty(), at + done, next) {
                Ok(()) => done += next,
                Err(Errno::INTR) => piece = (piece / 4).clamp(PIECE, len.max(PIECE)),
                Err(e @ (Errno::NOSPC | Errno::NOMEM | Errno::FBIG | Errno::DQUOT)) => {
                    return Err(ShmError::OutOfMemory { bytes: len, what, source: e.into() });
                }
                Err(e) => return Err(system("reserve shared memory")(e)),
            }
        }
        Ok(())
    }

    /// Makes pages that are reserved ready for writing at once, where the kernel can; else each is when it is first written.
    pub(crate) fn populate(&self, at: u64, len: u64) {
        let (Ok(at), Ok(len)) = (usize::try_from(at), usize::try_from(len)) else { return };
        if at.checked_add(len).is_some_and(|end| end <= self.len) {
            let start = self.base.as_ptr().wrapping_add(at).cast();
            // SAFETY: the pages are this mapping's; what they hold stays.
            let _ = unsafe { rustix::mm::madvise(start, len, rustix::mm::Advice::LinuxPopulateWrite) };
        }
    }

    /// Leaves the segment out of core dumps: most of its range is empty.
    pub(crate) fn keep_from_dumps(&self) {
        // SAFETY: advice about our own mapping that changes no contents. A refusal only makes dumps larger.
        let _ = unsafe { rustix::mm::madvise(self.base.as_ptr().cast(), self.len, rustix::mm::Advice::LinuxDontDump) };
    }

    /// Gives the pages of a page-aligned range back to the machine. The range
    /// reads as zero afterwards and must be committed again before use.
    pub(crate) fn release(&self, at: u64, len: u64) {
        let mode = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        // A refusal only means that the memory stays reserved.
        let _ = rustix::fs::fallocate(&self.fd, mode, at, len);
    }

    /// Whether a living process that had this segment mapped lives without it: it has called `exec` since. `false` when
    /// unsure.
    pub(crate) fn was_left_by(&self, process: ShortTag) -> bool {
        if !process.is_in_proc() {
            return false;
        }
        // The kernel prints device and inode of each mapping: "address access offset device inode name".
        let Ok(file) = rustix::fs::fstat(&self.fd) else { return false };
        let device = format!("{:02x}:{:02x}", rustix::fs::major(file.st_dev), rustix::fs::minor(file.st_dev));
        let inode = file.st_ino.to_string();
        let maps = |who: &str| std::fs::read(format!("/proc/{who}/maps")).ok().filter(|text| !text.is_empty());
        let found = |text: &[u8]| {
            text.split(|byte| *byte == b'\n').any(|line| {
                let mut fields = line.split(|byte| *byte == b' ').skip(3);
                fields.next() == Some(device.as_bytes()) && fields.next() == Some(inode.as_bytes())
            })
        };
        // Nothing is mapped in a process that is about to end. And does this kernel tell, as this process shows?
        maps(&process.pid().to_string()).is_some_and(|text| !found(&text))
            && maps("self").is_some_and(|text| found(&text))
    }
}

impl Drop for Segment {
    fn drop(&mut self) {
        // SAFETY: `base` and `len` are our own mapping, and every reference
        // into it borrows from an owner of this Segment.
        let _ = unsafe { rustix::mm::munmap(self.base.as_ptr().cast::<c_void>(), self.len) };
    }
}

/// A random number that is not zero.
pub(crate) fn random() -> Result<u64, ShmError> {
    let mut bytes = [0; 8];
    while u64::from_ne_bytes(bytes) == 0 {
        rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty())
            .map_err(system("draw a random number"))?;
    }
    Ok(u64::from_ne_bytes(bytes))
}

fn check_limit(which: Resource, limit: &'static str, len: usize) -> Result<(), ShmError> {
    match getrlimit(which).current {
        Some(allowed) if allowed < len as u64 => Err(ShmError::Limit { limit, allowed, bytes: len as u64 }),
        _ => Ok(()),
    }
}

fn system(what: &'static str) -> impl Fn(Errno) -> ShmError {
    move |e| ShmError::System { what, source: e.into() }
}
