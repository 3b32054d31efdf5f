//! Writes of many small pieces by few system calls.
//!
//! Where pieces lie closer together than pages, the part of the file around them is mapped, and the kernel copies a batch of them
//! there at once (`phalanx_shm::mem::FilePart`). Exactly the bytes that were given are written, as by a system call for each
//! piece, so no lock is needed and no process that writes between them loses anything: what libraries do that read the part
//! around the pieces, change it and write it back ("data sieving") has that for its price.
//!
//! The last piece of a batch is written plainly before the others. The file is long enough from then on without being cut
//! anywhere, whoever else makes it longer meanwhile; its time of change is right on every file system; and what the kernel
//! has to say against writing there it says. Where a copy ends early, the rest is written plainly, and fails as it would have.
//!
//! Whether that is faster than a system call for each piece depends on the pieces, the file system and the machine, so once
//! in a while both ways are measured. File systems on which other machines write are left out: their kernels write whole pages
//! back after a store to one.

use std::fs::{File as OsFile, OpenOptions};
use std::os::fd::AsRawFd;
use std::sync::TryLockError;
use std::time::Instant;

use phalanx_shm::mem::{ConstMem, FilePart};
use rustix::io::Errno;

use super::File;
use super::view::Piece;
use crate::error::Result;

/// Pieces that are copied at once: what one system call takes.
const BATCH: usize = 1024;
/// Fewer pieces are not worth the three system calls of a batch.
const FEW: usize = 16;
/// Bytes of a file that are mapped at a time.
const PART: usize = 16 << 20;
/// How the first batches are written: through the mapping, or plainly. The first one finds a mapping that was never touched.
const TRIES: [bool; 3] = [true, true, false];
/// Batches after which both ways are tried again: seldom enough that the slower way costs about nothing.
const PERIOD: u32 = 2048;

/// File systems of this machine alone, as `statfs` numbers them, on which writes and stores to a mapping meet in one cache.
const LOCAL: [u32; 8] = [
    0xef53,      // ext2, ext3, ext4
    0x5846_5342, // XFS
    0x9123_683e, // Btrfs
    0x0102_1994, // tmpfs
    0x8584_58f6, // ramfs
    0xf2f5_2010, // F2FS
    0xca45_1a4e, // bcachefs
    0x794c_7630, // overlays
];

/// How small pieces are written to a file.
#[derive(Default)]
pub(super) struct Small {
    /// The file as it is mapped, once that was asked for; `None` in it for one that cannot be.
    mapped: Option<Option<Mapped>>,
    /// What was measured, for each power of two of pieces in a page.
    ways: [Way; 13],
}

/// What it takes to write pieces of a density.
#[derive(Clone, Copy, Default)]
struct Way {
    batches: u32,
    /// Nanoseconds for 1024 pieces in the tries, the least: plainly, through the mapping.
    took: [Option<u64>; 2],
}

/// A file that can be mapped.
struct Mapped {
    /// A descriptor for reading and writing, where the file was opened for writing only.
    other: Option<OsFile>,
    part: Option<FilePart>,
}

impl Way {
    /// Whether the next batch goes through the mapping, and whether it is measured.
    fn next(&mut self) -> (bool, bool) {
        let turn = self.batches % PERIOD;
        self.batches = self.batches.wrapping_add(1);
        if turn == 0 {
            self.took = [None; 2];
        }
        match (TRIES.get(turn as usize), self.took) {
            (Some(mapped), _) => (*mapped, true),
            (None, [Some(plainly), Some(mapped)]) => (mapped < plainly, false),
            (None, [plainly, _]) => (plainly.is_none(), false),
        }
    }

    fn learn(&mut self, mapped: bool, pieces: usize, since: Instant) {
        let took = u64::try_from(since.elapsed().as_nanos()).unwrap_or(u64::MAX).saturating_mul(BATCH as u64);
        let place = &mut self.took[usize::from(mapped)];
        *place = Some(place.unwrap_or(u64::MAX).min(took / pieces.max(1) as u64));
    }
}

impl Mapped {
    /// What is needed to map a file; `None` if it is better not mapped.
    fn new(file: &OsFile, readable: bool) -> Option<Mapped> {
        let found = file.metadata().ok()?.file_type();
        let system = rustix::fs::fstatfs(file).ok()?;
        if !found.is_file() || !LOCAL.contains(&(system.f_type as u32)) {
            return None;
        }
        let other = if readable {
            None
        } else {
            // A shared mapping needs a descriptor that may read, too.
            let path = format!("/proc/self/fd/{}", file.as_raw_fd());
            Some(OpenOptions::new().read(true).write(true).open(path).ok()?)
        };
        Some(Mapped { other, part: None })
    }

    /// The part of the file that has the bytes from `at` to `end`.
    fn part(&mut self, file: &OsFile, at: u64, end: u64) -> std::result::Result<&FilePart, Errno> {
        if !self.part.as_ref().is_some_and(|part| part.covers(at, end)) {
            self.part = None;
            let from = at - at % rustix::param::page_size() as u64;
            let most = usize::try_from((i64::MAX as u64).saturating_sub(from)).unwrap_or(usize::MAX);
            self.part = Some(FilePart::map(self.other.as_ref().unwrap_or(file), from, PART.min(most))?);
        }
        self.part.as_ref().filter(|part| part.covers(at, end)).ok_or(Errno::INVAL)
    }
}

/// Whether a refusal is for good: the kernel, or whoever guards it, does not copy, or does not map this file.
fn is_final(errno: Errno) -> bool {
    !matches!(errno, Errno::FAULT | Errno::NOMEM | Errno::AGAIN | Errno::INTR)
}

impl File {
    /// Writes the pieces of bytes that are in one place.
    pub(super) fn write_bytes(&self, bytes: ConstMem, at: isize, mut pieces: &[Piece]) -> Result<()> {
        let half = rustix::param::page_size() / 2;
        let mut from = at;
        while let Some(&(first, len)) = pieces.first() {
            if len > half {
                self.write_piece(bytes.at(from, len), first)?;
                from += len as isize;
                pieces = &pieces[1..];
                continue;
            }
            let (mut n, mut total, mut end) = (0, 0, first);
            for &(at, len) in pieces.iter().take(BATCH) {
                if len > half || at < end || at - first >= (PART / 2) as u64 {
                    break;
                }
                (n, total, end) = (n + 1, total + len, at + len as u64);
            }
            let (batch, rest) = pieces.split_at(n);
            self.write_small(bytes.at(from, total), batch)?;
            from += total as isize;
            pieces = rest;
        }
        Ok(())
    }

    /// Writes each piece by a system call of its own.
    fn write_plainly(&self, bytes: ConstMem, pieces: &[Piece]) -> Result<()> {
        let mut from = 0;
        for (at, len) in pieces {
            self.write_piece(bytes.slice(from, *len), *at)?;
            from += len;
        }
        Ok(())
    }

    /// Writes small pieces, which lie in order in a part of the file that can be mapped.
    fn write_small(&self, bytes: ConstMem, pieces: &[Piece]) -> Result<()> {
        let (Some((first, _)), Some((last, len))) = (pieces.first(), pieces.last()) else { return Ok(()) };
        let end = last + *len as u64;
        // A page costs as much as two system calls when it is first touched.
        let density = rustix::param::page_size() as u64 * pieces.len() as u64 / (end - first).max(1);
        if pieces.len() < FEW || density < 2 {
            return self.write_plainly(bytes, pieces);
        }
        let mut small = match self.small.try_lock() {
            Ok(small) => small,
            Err(TryLockError::Poisoned(small)) => small.into_inner(),
            // Another thread is at it.
            Err(TryLockError::WouldBlock) => return self.write_plainly(bytes, pieces),
        };
        if small.mapped.get_or_insert_with(|| Mapped::new(&self.file, self.mode.read)).is_none() {
            drop(small);
            return self.write_plainly(bytes, pieces);
        }
        let class = (density.ilog2() as usize).min(small.ways.len() - 1);
        let (mapped, measured) = small.ways[class].next();
        let start = measured.then(Instant::now);
        if mapped {
            self.write_mapped(&mut small.mapped, bytes, pieces)?;
        } else {
            self.write_plainly(bytes, pieces)?;
        }
        if let Some(start) = start {
            small.ways[class].learn(mapped, pieces.len(), start);
        }
        Ok(())
    }

    /// Writes small pieces through the mapping, and plainly what cannot be written so.
    fn write_mapped(&self, small: &mut Option<Option<Mapped>>, bytes: ConstMem, pieces: &[Piece]) -> Result<()> {
        let (Some(Some(mapped)), Some(((last, len), others))) = (small.as_mut(), pieces.split_last()) else {
            return self.write_plainly(bytes, pieces);
        };
        let before: usize = others.iter().map(|(_, len)| len).sum();
        if self.write_piece(bytes.slice(before, *len), *last).is_err() {
            // What can be written of the others is, and the error is that of the first that cannot.
            return self.write_plainly(bytes, pieces);
        }
        let first = others.first().map_or(*last, |(at, _)| *at);
        let page = rustix::param::page_size() as u64;
        let without_gaps = pieces.windows(2).all(|two| two[1].0 - two[0].0 <= page);
        let copied = mapped.part(&self.file, first, last + *len as u64).and_then(|part| {
            if without_gaps {
                part.prepare(first, last + *len as u64);
            }
            part.scatter(bytes.slice(0, before), others)
        });
        let mut done = match copied {
            Ok(done) => done,
            Err(errno) => {
                if is_final(errno) {
                    *small = Some(None);
                }
                0
            }
        };
        if done == before {
            return Ok(());
        }
        let mut from = 0;
        for (at, len) in others {
            let skip = done.min(*len);
            self.write_piece(bytes.slice(from + skip, len - skip), at + skip as u64)?;
            done -= skip;
            from += len;
        }
        Ok(())
    }
}
