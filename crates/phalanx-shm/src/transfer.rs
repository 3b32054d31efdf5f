//! A large message through shared memory: a byte pipe that both sides advance.
//!
//! Two copies, sender to pipe and pipe to receiver, overlap on two CPUs, and the
//! pipe stays in their caches. Where measured (docs/decisions/0001) this beats
//! `process_vm_readv`, also when both sides share the work, as long as both take
//! part. It needs no rights and no address of the other process.
//!
//! ```text
//! sender                                   receiver
//!   room = CAPACITY - (filled - drained)     here = filled - drained
//!   copy into filled % CAPACITY              copy out of drained % CAPACITY
//!   filled += n          (Release)           drained += n        (Release)
//!   wake the receiver if it sleeps           wake the sender if it sleeps
//! ```
//!
//! The receiver makes the pipe ([`TransferReceiver::create`]), tells the sender
//! its [`Offset`], and may drop it as soon as it has received everything: the
//! sender's last access is the store that completes `filled`. Dropping it
//! earlier would hand memory in use to others; so the block is freed only when
//! the transfer is complete, and lost (until the universe ends) otherwise.
//!
//! Both positions only grow. Each has one writer and lies in lines of its own.
//! A reader that finds them further apart than the pipe is long reports
//! corruption.

use core::sync::atomic::{AtomicU64, Ordering};

use crate::ShmError;
use crate::copy::{STREAMING, copy_streaming};
use crate::mem::{ConstMem, MutMem};
use crate::universe::{Offset, ProcId, Universe};

/// Bytes of a pipe's block: it stays in the second-level caches.
const BLOCK: usize = 256 << 10;

/// Bytes before the data: `filled` and `drained`, 128 bytes apart.
const CONTROL: usize = 256;

/// Bytes of data a pipe holds.
pub const CAPACITY: usize = BLOCK - CONTROL;

/// Index of the word that counts bytes put in. Written by the sender.
const FILLED: usize = 0;

/// Index of the word that counts bytes taken out. Written by the receiver.
const DRAINED: usize = 16;

/// What both sides have: where the pipe is and how far it has come.
#[derive(Debug)]
struct Pipe {
    universe: Universe,
    at: Offset,
    /// Bytes of the whole transfer.
    total: u64,
    /// Bytes this side has moved.
    done: u64,
    /// Bytes the other side had moved when last looked at.
    theirs: u64,
    peer: ProcId,
}

impl Pipe {
    /// The two position words.
    fn words(&self) -> Result<&[AtomicU64], ShmError> {
        self.universe.words(self.at, CONTROL / 8)
    }

    /// The stretch of the pipe from byte `done` on, at most `len` bytes.
    fn stretch(&self, len: usize) -> Result<MutMem, ShmError> {
        let at = (self.done % CAPACITY as u64) as usize;
        let len = len.min(CAPACITY - at);
        let bytes = self.universe.bytes(self.at.plus(CONTROL + at), len)?;
        // SAFETY: `self.universe` keeps the segment mapped, and the result is
        // used within the calling method only.
        Ok(unsafe { bytes.as_mem() })
    }

    /// Bytes to move between two publications: an eighth of a small message, so
    /// that the two copies overlap, and not more than a quarter of the pipe.
    fn step(&self) -> usize {
        (self.total / 8).clamp(16 << 10, 64 << 10) as usize
    }

    #[cold]
    fn corrupt(&self) -> ShmError {
        ShmError::Corrupt {
            what: format!(
                "a transfer of {} bytes with process {} stands at {} here and at {} there",
                self.total, self.peer, self.done, self.theirs
            ),
        }
    }
}

/// The sending side of a transfer.
#[derive(Debug)]
pub struct TransferSender(Pipe);

/// The receiving side of a transfer. Owns the pipe.
#[derive(Debug)]
pub struct TransferReceiver(Pipe);

impl TransferSender {
    /// Opens the pipe that process `peer` has made at `at` for `total` bytes.
    ///
    /// # Errors
    ///
    /// [`ShmError::BadRange`] when there can be no pipe at `at`.
    pub fn open(
        universe: &Universe,
        at: Offset,
        total: u64,
        peer: ProcId,
    ) -> Result<TransferSender, ShmError> {
        universe.bytes(at, BLOCK)?;
        let pipe = Pipe {
            universe: universe.clone(),
            at,
            total,
            done: 0,
            theirs: 0,
            peer,
        };
        pipe.words()?;
        Ok(TransferSender(pipe))
    }

    /// Bytes sent so far.
    #[inline]
    pub fn done(&self) -> u64 {
        self.0.done
    }

    /// Whether everything has been put into the pipe; the sender's data is no
    /// longer needed then.
    #[inline]
    pub fn is_complete(&self) -> bool {
        self.0.done == self.0.total
    }

    /// Bytes that [`TransferSender::push`] would take now.
    ///
    /// # Errors
    ///
    /// [`ShmError::Corrupt`] when the positions cannot be right.
    pub fn room(&mut self) -> Result<usize, ShmError> {
        let pipe = &mut self.0;
        // SYNC POINT transfer-drained: Acquire, the receiver has read the bytes
        // whose room is used again; pairs with the Release in `pull`.
        pipe.theirs = pipe.words()?[DRAINED].load(Ordering::Acquire);
        match pipe.done.checked_sub(pipe.theirs) {
            Some(inside) if inside <= CAPACITY as u64 => {
                let rest = pipe.total - pipe.done;
                Ok((CAPACITY as u64 - inside).min(rest) as usize)
            }
            _ => Err(pipe.corrupt()),
        }
    }

    /// Puts the first bytes of `from`, which continue what was pushed before,
    /// into the pipe; returns how many. Wakes the receiver.
    ///
    /// # Errors
    ///
    /// [`ShmError::Corrupt`] when the positions cannot be right.
    pub fn push(&mut self, from: ConstMem) -> Result<usize, ShmError> {
        let step = self.0.step();
        let mut moved = 0;
        while moved < from.len() {
            let room = self.room()?;
            if room == 0 {
                break;
            }
            let pipe = &mut self.0;
            let stretch = pipe.stretch(room.min(step))?;
            let n = from.slice(moved, usize::MAX).copy_to_mem(stretch);
            moved += n;
            pipe.done += n as u64;
            // SYNC POINT transfer-filled: Release, pairs with the Acquire in `available`.
            pipe.words()?[FILLED].store(pipe.done, Ordering::Release);
            pipe.universe.slot(pipe.peer).notify();
        }
        Ok(moved)
    }
}

impl TransferReceiver {
    /// Makes a pipe for `total` bytes from process `peer`.
    ///
    /// # Errors
    ///
    /// What [`Universe::alloc`] gives; receive through the ring then.
    pub fn create(
        universe: &Universe,
        total: u64,
        peer: ProcId,
    ) -> Result<TransferReceiver, ShmError> {
        let at = universe.alloc(BLOCK)?;
        let pipe = Pipe {
            universe: universe.clone(),
            at,
            total,
            done: 0,
            theirs: 0,
            peer,
        };
        let words = pipe.words()?;
        // The record that tells the sender publishes these.
        words[FILLED].store(0, Ordering::Relaxed);
        words[DRAINED].store(0, Ordering::Relaxed);
        Ok(TransferReceiver(pipe))
    }

    /// Where the pipe is, for [`TransferSender::open`].
    #[inline]
    pub fn offset(&self) -> Offset {
        self.0.at
    }

    /// Bytes received so far.
    #[inline]
    pub fn done(&self) -> u64 {
        self.0.done
    }

    /// Whether everything has been received.
    #[inline]
    pub fn is_complete(&self) -> bool {
        self.0.done == self.0.total
    }

    /// Gives the pipe up before the sender has opened it. The caller has made
    /// sure that the sender never will.
    pub fn discard(mut self) {
        // Complete, as far as giving the block back goes.
        self.0.done = self.0.total;
    }

    /// Bytes that [`TransferReceiver::pull`] could deliver now.
    ///
    /// # Errors
    ///
    /// [`ShmError::Corrupt`] when the positions cannot be right.
    pub fn available(&mut self) -> Result<usize, ShmError> {
        let pipe = &mut self.0;
        // SYNC POINT transfer-filled: Acquire, pairs with the Release in `push`.
        pipe.theirs = pipe.words()?[FILLED].load(Ordering::Acquire);
        match pipe.theirs.checked_sub(pipe.done) {
            Some(inside) if inside <= CAPACITY as u64 && pipe.theirs <= pipe.total => {
                Ok(inside as usize)
            }
            _ => Err(pipe.corrupt()),
        }
    }

    /// Takes what has arrived, as far as it fits `into`; returns how many bytes.
    /// Wakes the sender.
    ///
    /// # Errors
    ///
    /// [`ShmError::Corrupt`] when the positions cannot be right.
    pub fn pull(&mut self, into: MutMem) -> Result<usize, ShmError> {
        let (step, streaming) = (self.0.step(), self.0.total >= STREAMING);
        let mut moved = 0;
        while moved < into.len() {
            let here = self.available()?;
            if here == 0 {
                break;
            }
            let pipe = &mut self.0;
            let stretch = pipe.stretch(here.min(step))?.as_const();
            let target = into.slice(moved, usize::MAX);
            let n = if streaming {
                copy_streaming(stretch, target)
            } else {
                stretch.copy_to_mem(target)
            };
            moved += n;
            pipe.done += n as u64;
            // SYNC POINT transfer-drained: Release, pairs with the Acquire in `room`.
            pipe.words()?[DRAINED].store(pipe.done, Ordering::Release);
            pipe.universe.slot(pipe.peer).notify();
        }
        Ok(moved)
    }
}

impl Drop for TransferReceiver {
    fn drop(&mut self) {
        if self.is_complete() {
            self.0.universe.free(self.0.at, BLOCK);
        }
    }
}
