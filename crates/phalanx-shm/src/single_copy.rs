//! Copies straight from and to another process's private memory.
//!
//! One copy instead of two, by `process_vm_readv` and `process_vm_writev`. The kernel allows it between processes of one user, except where Yama, a seccomp
//! filter or missing namespaces' rights forbid it, each in its own way; so
//! [`probe`] tries it for real on a word the peer has published.

mod opened;

use std::cell::RefCell;
use std::io;

pub use opened::OpenedMemory;
use smallvec::SmallVec;

use crate::mem::{self, ConstMem, MutMem, memmove};
use crate::{ProcessTag, ShmError};

/// Pieces per system call (the kernel's UIO_MAXIOV).
const PIECES: usize = 1024;

/// Bytes that are copied at once where two copies are faster than the kernel's alone (decision 0037): few enough for the second-level
/// cache, and so many that a system call counts for little.
const STAGE: usize = 128 << 10;

/// How many bytes earlier in its page a stage begins than the memory there: far enough for both copies.
const EARLIER: usize = 64;

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
        let n = match crawling(&local, &remote, direction) {
            Some(len) => staged(pid, &local.batch()[0], &remote.batch()[0], len, direction),
            // SAFETY: local pieces are writable (Here) or readable (There) by the contracts of MutMem and ConstMem.
            None => unsafe { copy(pid, local.batch(), remote.batch(), direction) },
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

/// The system call: bytes copied, or -1.
///
/// # Safety
///
/// The memory here is writable (`Here`) or readable (`There`).
unsafe fn copy(pid: i32, here: &[libc::iovec], there: &[libc::iovec], direction: Direction) -> isize {
    let (here_n, there_n) = (here.len() as _, there.len() as _);
    // SAFETY: the arrays are valid, and so is the memory here, by the caller's contract; the kernel checks the memory there.
    unsafe {
        match direction {
            Direction::Here => libc::process_vm_readv(pid, here.as_ptr(), here_n, there.as_ptr(), there_n, 0),
            Direction::There => libc::process_vm_writev(pid, here.as_ptr(), here_n, there.as_ptr(), there_n, 0),
        }
    }
}

/// Bytes at the beginning of both sides over which the kernel's copy would crawl, if it would.
fn crawling(local: &Side, remote: &Side, direction: Direction) -> Option<usize> {
    let (here, there) = (local.batch().first()?, remote.batch().first()?);
    let len = here.iov_len.min(there.iov_len);
    let (from, to) = match direction {
        Direction::Here => (there, here),
        Direction::There => (here, there),
    };
    mem::kernel_crawls(from.iov_base.cast(), to.iov_base.cast(), len).then_some(len)
}

/// Copies the first bytes of one piece to or from the other by way of memory here that begins where in its page neither copy
/// crawls: as [`copy`].
fn staged(pid: i32, here: &libc::iovec, there: &libc::iovec, len: usize, direction: Direction) -> isize {
    thread_local!(static ROOM: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) });
    let len = len.min(STAGE);
    ROOM.with_borrow_mut(|room| {
        room.resize(STAGE + mem::LEAD, 0);
        let lead = mem::lead(room, there.iov_base.addr().wrapping_sub(EARLIER));
        let stage = room[lead..lead + len].as_mut_ptr();
        let stages = [libc::iovec { iov_base: stage.cast(), iov_len: len }];
        let there = [libc::iovec { iov_len: len, ..*there }];
        let here = here.iov_base.cast::<u8>();
        // SAFETY: the stage has so many bytes, and nothing else refers to it; `here` has as many, writable or readable by the
        // contracts of MutMem and ConstMem.
        unsafe {
            match direction {
                Direction::Here => {
                    let n = copy(pid, &stages, &there, direction);
                    memmove::copy(stage, here, n.max(0) as usize);
                    n
                }
                Direction::There => {
                    memmove::copy(here, stage, len);
                    copy(pid, &stages, &there, direction)
                }
            }
        }
    })
}

#[cfg(all(test, not(miri)))]
mod tests {
    use super::*;

    /// On a machine where nothing crawls, no other test comes here.
    #[test]
    fn what_goes_by_way_of_a_stage_arrives_whole_and_goes_on_where_it_stopped() {
        let me = ProcessTag::me();
        let word = Box::new(ProbeWord::new(0x57a9e));
        if !probe(me, word.addr(), 0x57a9e) {
            eprintln!("process_vm_readv is forbidden here: nothing is tested");
            return;
        }
        let pid = me.pid().cast_signed();
        let source: Vec<u8> = (0..STAGE * 2 + 100).map(|i| (i % 251) as u8).collect();
        for (direction, skew) in [Direction::Here, Direction::There].into_iter().flat_map(|d| [(d, 0), (d, 1), (d, 16)])
        {
            let mut room = vec![0_u8; source.len() + 16];
            let pieces = |at: usize| {
                let from =
                    libc::iovec { iov_base: source[at..].as_ptr().cast_mut().cast(), iov_len: source.len() - at };
                (from, source.len() - at)
            };
            let mut done = 0;
            while done < source.len() {
                let (from, left) = pieces(done);
                let to = libc::iovec { iov_base: room[skew + done..].as_mut_ptr().cast(), iov_len: left };
                let (here, there) = match direction {
                    Direction::Here => (&to, &from),
                    Direction::There => (&from, &to),
                };
                let n = staged(pid, here, there, left, direction);
                assert_eq!(n, left.min(STAGE).cast_signed(), "{skew}");
                done += n as usize;
            }
            assert!(room[skew..][..source.len()] == source, "{skew}");
            assert!(room[..skew].iter().chain(&room[skew + source.len()..]).all(|byte| *byte == 0));
        }
        let nowhere = libc::iovec { iov_base: std::ptr::without_provenance_mut(8), iov_len: 100 };
        let mut room = [7_u8; 100];
        let here = libc::iovec { iov_base: room.as_mut_ptr().cast(), iov_len: 100 };
        assert_eq!(staged(pid, &here, &nowhere, 100, Direction::Here), -1);
        assert_eq!(room, [7; 100]);
    }
}
