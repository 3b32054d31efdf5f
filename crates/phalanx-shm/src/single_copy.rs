//! Copies straight from and to another process's private memory.
//!
//! One copy instead of two, by `process_vm_readv` and `process_vm_writev`. The kernel allows it between processes of one user, except where Yama, a seccomp
//! filter or missing namespaces' rights forbid it, each in its own way; so
//! [`probe`] tries it for real on a word the peer has published.

mod opened;

use std::io;

pub use opened::OpenedMemory;
use smallvec::SmallVec;

use crate::mem::{ConstMem, MutMem};
use crate::{ProcessTag, ShmError};

/// Pieces per system call (the kernel's UIO_MAXIOV).
const PIECES: usize = 1024;

/// A range of another process's memory: address there and length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RemoteMem {
    /// Address in the other process.
    pub addr: u64,
    /// Length in bytes.
    pub len: usize,
}

/// A word the peer publishes for [`probe`]: its address and the value there.
///
/// Keep it alive and unmoved (a static or a `Box`) while peers may probe.
///
/// ```
/// use phalanx_shm::ProcessTag;
/// use phalanx_shm::single_copy::{ProbeWord, probe};
///
/// static WORD: ProbeWord = ProbeWord::new(0x5eed);
/// // Whether it works depends on the machine; a word that is not there never does.
/// let works = probe(ProcessTag::me(), WORD.addr(), 0x5eed);
/// println!("single copies work here: {works}");
/// assert!(!probe(ProcessTag::me(), WORD.addr(), 0xbad));
/// ```
#[derive(Debug)]
#[repr(C)]
pub struct ProbeWord {
    value: std::sync::atomic::AtomicU64,
}

impl ProbeWord {
    /// A word holding `value`, which should be hard to guess.
    pub const fn new(value: u64) -> ProbeWord {
        ProbeWord { value: std::sync::atomic::AtomicU64::new(value) }
    }

    /// Where it is, for the peers.
    pub fn addr(&self) -> u64 {
        std::ptr::from_ref(&self.value).addr() as u64
    }
}

/// Whether the memory of a process can be read: tries its [`ProbeWord`] at `addr`, which must hold `value`. Not that of a
/// process of other namespaces, whose number is somebody else's here.
pub fn probe(process: ProcessTag, addr: u64, value: u64) -> bool {
    let mut seen = [0u8; 8];
    // SAFETY: `seen` outlives the call and nothing else refers to it during it.
    let local = unsafe { MutMem::new(seen.as_mut_ptr(), seen.len()) };
    !process.is_foreign()
        && read(process, RemoteMem { addr, len: 8 }, local).is_ok()
        && u64::from_ne_bytes(seen) == value
}

/// Copies `remote` of a process to `local`; both must have the same length.
///
/// # Errors
///
/// [`ShmError::SingleCopy`]: EPERM (not allowed), ESRCH (the process has ended),
/// EFAULT (no such memory there), with the bytes copied before.
pub fn read(process: ProcessTag, remote: RemoteMem, local: MutMem) -> Result<(), ShmError> {
    read_vectored(process, &[remote], &[local])
}

/// Copies the concatenation of `remote` of a process to that of `local`;
/// both must have the same total length.
///
/// # Errors
///
/// As [`read`].
pub fn read_vectored(process: ProcessTag, remote: &[RemoteMem], local: &[MutMem]) -> Result<(), ShmError> {
    let local = local.iter().map(|m| (m.as_ptr().cast_const(), m.len()));
    transfer(process, remote, local, Direction::Here)
}

/// Copies the concatenation of `local` to that of `remote` of a process; both must have the same total length.
///
/// # Errors
///
/// As [`read`].
pub fn write_vectored(process: ProcessTag, local: &[ConstMem], remote: &[RemoteMem]) -> Result<(), ShmError> {
    let local = local.iter().map(|m| (m.as_ptr(), m.len()));
    transfer(process, remote, local, Direction::There)
}

/// Which way a transfer goes.
#[derive(Clone, Copy)]
enum Direction {
    Here,
    There,
}

/// Pieces `(address, length)` still to be copied on one side, in order.
struct Side {
    /// One, as a rule: no allocation then.
    pieces: SmallVec<[libc::iovec; 4]>,
    next: usize,
}

impl Side {
    fn new(pieces: impl Iterator<Item = (*const u8, usize)>) -> Side {
        let pieces = pieces
            .filter(|(_, len)| *len > 0)
            .map(|(at, len)| libc::iovec { iov_base: at.cast_mut().cast(), iov_len: len })
            .collect();
        Side { pieces, next: 0 }
    }

    fn batch(&self) -> &[libc::iovec] {
        let rest = &self.pieces[self.next..];
        &rest[..rest.len().min(PIECES)]
    }

    fn advance(&mut self, mut bytes: usize) {
        while let Some(piece) = self.pieces.get_mut(self.next) {
            if bytes < piece.iov_len {
                piece.iov_base = piece.iov_base.cast::<u8>().wrapping_add(bytes).cast();
                piece.iov_len -= bytes;
                return;
            }
            bytes -= piece.iov_len;
            self.next += 1;
        }
    }
}

fn transfer(
    process: ProcessTag,
    remote: &[RemoteMem],
    local: impl Iterator<Item = (*const u8, usize)>,
    direction: Direction,
) -> Result<(), ShmError> {
    let pid = process.pid().cast_signed();
    let mut local = Side::new(local);
    let mut remote = Side::new(remote.iter().map(|r| (std::ptr::without_provenance(r.addr as usize), r.len)));
    let total: u64 = local.pieces.iter().map(|p| p.iov_len as u64).sum();
    let mut done = 0;
    while done < total {
        let (here, there) = (local.batch(), remote.batch());
        let (here_n, there_n) = (here.len() as _, there.len() as _);
        // SAFETY: the iovec arrays are valid; local pieces are writable (Here) or
        // readable (There) by the contracts of MutMem and ConstMem; the kernel
        // checks the remote ones.
        let n = unsafe {
            match direction {
                Direction::Here => libc::process_vm_readv(pid, here.as_ptr(), here_n, there.as_ptr(), there_n, 0),
                Direction::There => libc::process_vm_writev(pid, here.as_ptr(), here_n, there.as_ptr(), there_n, 0),
            }
        };
        let source = match n {
            1.. => {
                done += n as u64;
                local.advance(n as usize);
                remote.advance(n as usize);
                continue;
            }
            // Nothing moved: the remote side has fewer bytes than the local one.
            0 => io::Error::from(io::ErrorKind::UnexpectedEof),
            _ => match io::Error::last_os_error() {
                e if e.kind() == io::ErrorKind::Interrupted => continue,
                e => e,
            },
        };
        return Err(ShmError::SingleCopy { pid, bytes: total, done, source });
    }
    Ok(())
}
