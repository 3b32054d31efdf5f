//! The memory of another process as an open file, for few bytes.
//!
//! `process_vm_readv` looks the process up and asks whether it may be reached with each call; `/proc/PID/mem` was asked when
//! it was opened. That is a quarter of what a call costs, up to a page. Beyond, the file costs a second copy.
//!
//! A write through the file is not refused where the process itself may only read. So a page is first written by
//! `process_vm_writev`, which is, and only then through the file.

use std::fs::{File, OpenOptions};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use super::{RemoteMem, read, write_vectored};
use crate::mem::{ConstMem, MutMem};
use crate::{ProcessTag, ShmError};

/// Bytes up to which the file is the shorter way.
const FEW: usize = 4096;

/// Files that a process opens at most for this; others do without.
const MOST: usize = 64;

static OPEN: AtomicUsize = AtomicUsize::new(0);

/// An open file, counted.
#[derive(Debug)]
struct Counted(File);

impl Counted {
    fn open(process: ProcessTag) -> Option<Counted> {
        if OPEN.fetch_add(1, Ordering::Relaxed) >= MOST {
            OPEN.fetch_sub(1, Ordering::Relaxed);
            return None;
        }
        let path = format!("/proc/{}/mem", process.pid());
        // The number is that process's for as long as it lives: if it does now, the file is its.
        let file = OpenOptions::new().read(true).write(true).open(path).ok().filter(|_| process.is_alive());
        if file.is_none() {
            OPEN.fetch_sub(1, Ordering::Relaxed);
        }
        file.map(Counted)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        OPEN.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A process whose memory is read and written often.
#[derive(Debug)]
pub struct OpenedMemory {
    process: ProcessTag,
    /// Opened with the first access of few bytes; `None` where that is not possible.
    file: OnceLock<Option<Counted>>,
    /// Number of the page that was written last, plus 1.
    written: AtomicU64,
}

impl OpenedMemory {
    /// The memory of a process. Nothing is opened yet.
    #[must_use]
    pub fn new(process: ProcessTag) -> OpenedMemory {
        OpenedMemory { process, file: OnceLock::new(), written: AtomicU64::new(0) }
    }

    /// Whose it is.
    pub fn process(&self) -> ProcessTag {
        self.process
    }

    /// The file, for an access of few bytes.
    fn file(&self, bytes: usize) -> Option<&File> {
        if bytes > FEW || self.process.is_foreign() {
            return None;
        }
        self.file.get_or_init(|| Counted::open(self.process)).as_ref().map(|counted| &counted.0)
    }

    /// Copies `remote` to `local`, which must have the same length.
    ///
    /// # Errors
    ///
    /// As [`read`].
    pub fn read(&self, remote: RemoteMem, local: MutMem) -> Result<(), ShmError> {
        match self.file(local.len()) {
            Some(file) if local.read_at(file, remote.addr) == Ok(local.len()) && local.len() == remote.len => Ok(()),
            // What is wrong the other way says.
            _ => read(self.process, remote, local),
        }
    }

    /// Copies `local` to `remote`, which must have the same length.
    ///
    /// # Errors
    ///
    /// As [`write_vectored`].
    pub fn write(&self, local: ConstMem, remote: RemoteMem) -> Result<(), ShmError> {
        let page = |addr: u64| addr / rustix::param::page_size() as u64 + 1;
        let first = page(remote.addr);
        let inside = local.len() == remote.len
            && !local.is_empty()
            && page(remote.addr.saturating_add(remote.len as u64 - 1)) == first;
        if inside
            && self.written.load(Ordering::Relaxed) == first
            && let Some(file) = self.file(local.len())
            && local.write_at(file, remote.addr) == Ok(local.len())
        {
            return Ok(());
        }
        write_vectored(self.process, &[local], &[remote])?;
        if inside {
            self.written.store(first, Ordering::Relaxed);
        }
        Ok(())
    }
}
