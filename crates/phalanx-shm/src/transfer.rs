//! A large message through shared memory: a byte pipe that both sides advance.
//!
//! Two copies, sender to pipe and pipe to receiver, overlap on two CPUs, and the
//! pipe stays in their caches; how long it is, and whether the receiver takes its
//! cache lines over, is for [`Ways`](crate::Ways) to say. Where measured (docs/decisions/0001) this beats
//! `process_vm_readv`, also when both sides share the work, as long as both take
//! part. It needs no rights and no address of the other process.
//!
//! ```text
//! sender                                   receiver
//!   room = capacity - (filled - drained)     here = filled - drained
//!   copy into filled % capacity              copy out of drained % capacity
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
//! A receiver that finds nothing in the pipe because its sender has no CPU may
//! read on in the sender's memory ([`TransferReceiver::still_sending`],
//! [`TransferReceiver::go_ahead`]), and come back to the pipe once the sender
//! has caught up with it. Then the sender may be the one that is behind when
//! everything is here: the pipe is to be kept until it has seen that
//! ([`TransferReceiver::is_over`]).
//!
//! The protocol of the two positions is in `pipe.rs`. A side that finds
//! them further apart than the pipe is long reports corruption.

use crate::ShmError;
use crate::mem::copy::copy_streaming;
use crate::mem::{ConstMem, MutMem};
use crate::pipe::{Positions, stretches};
use crate::sync::Ordering;
use crate::universe::{Offset, ProcId, Universe};
use crate::ways::Ways;

/// Bytes before the data.
const CONTROL: usize = size_of::<Positions>();

/// Bytes of data that a message of `total` bytes has in a pipe of `block` bytes at once: one that would fill all of it goes twice
/// round its first half, whose lines are still in the caches then.
///
/// 1 MiB through a pipe of 1 MiB: 12.0 GB/s in one round, and 13.4 in two through 512 KiB (medians of six runs between far CPUs of a
/// Xeon of family 6, model 207).
fn capacity(total: u64, block: usize) -> usize {
    let half = block / 2;
    let would_fill = (half as u64..=block as u64).contains(&total);
    if would_fill && half >= Ways::LEAST_PIPE { half - CONTROL } else { block - CONTROL }
}

/// What both sides have: where the pipe is and how far it has come.
#[derive(Debug)]
struct Pipe {
    universe: Universe,
    at: Offset,
    /// Bytes of the whole transfer.
    total: u64,
    /// Bytes this side has moved.
    done: u64,
    peer: ProcId,
    /// Bytes of data the pipe holds.
    capacity: usize,
    /// Where the peer sleeps, when that is another universe.
    elsewhere: Option<(Universe, ProcId)>,
}

impl Pipe {
    fn positions(&self) -> Result<&Positions, ShmError> {
        let words = self.universe.words(self.at, CONTROL / 8)?;
        // SAFETY: in bounds and 8-byte aligned by the check in `words`; atomics
        // and padding accept every bit pattern.
        Ok(unsafe { &*words.as_ptr().cast::<Positions>() })
    }

    /// The stretch of the pipe from byte `done` on, at most `len` bytes.
    fn stretch(&self, len: usize) -> Result<MutMem, ShmError> {
        let (at, len, _) = stretches(self.done, len, self.capacity);
        let bytes = self.universe.bytes(self.at.plus(CONTROL + at), len)?;
        // SAFETY: `self.universe` keeps the segment mapped, and the result is
        // used within the calling method only.
        Ok(unsafe { bytes.as_mem() })
    }

    /// Wakes the peer.
    #[inline]
    fn wake_peer(&self) {
        match &self.elsewhere {
            None => self.universe.slot(self.peer).notify(),
            Some((home, peer)) => home.slot(*peer).notify(),
        }
    }

    /// Bytes to move between two publications: an eighth of a small message, so
    /// that the two copies overlap, and not more than a quarter of the pipe.
    fn step(&self) -> usize {
        (self.total / 8).clamp(16 << 10, 64 << 10) as usize
    }

    #[cold]
    fn corrupt(&self, theirs: u64) -> ShmError {
        ShmError::Corrupt {
            what: format!(
                "a transfer of {} bytes with process {} stands at {} here and at {theirs} there",
                self.total, self.peer, self.done
            ),
        }
    }
}

/// The sending side of a transfer.
#[derive(Debug)]
pub struct TransferSender(Pipe);

/// The receiving side of a transfer. Owns the pipe.
///
/// ```
/// use phalanx_shm::{ConstMem, MutMem, ProcId, TransferReceiver, TransferSender, Universe, UniverseConfig};
///
/// let universe = Universe::create(UniverseConfig::for_ranks(2))?;
/// universe.claim_slots(2)?;
/// let (data, mut room) = (vec![7_u8; 1_000_000], vec![0_u8; 1_000_000]);
/// let mut into = TransferReceiver::create(&universe, 1_000_000, ProcId(1), ProcId(0))?;
/// let mut from = TransferSender::open(&universe, into.offset(), 1_000_000, ProcId(1))?;
/// while !into.is_complete() {
///     // SAFETY: both buffers live longer than the pipe, and nobody else touches them.
///     let (data, room) = unsafe {
///         (ConstMem::new(data.as_ptr(), data.len()), MutMem::new(room.as_mut_ptr(), room.len()))
///     };
///     from.push(data.slice(from.done() as usize, data.len()))?;
///     into.pull(room.slice(into.done() as usize, room.len()))?;
/// }
/// assert_eq!(room, data);
/// # Ok::<(), phalanx_shm::ShmError>(())
/// ```
#[derive(Debug)]
pub struct TransferReceiver {
    pipe: Pipe,
    /// Whether its memory was last used in the same direction, or is used more than once for this message.
    again: bool,
    /// Whether this side takes the cache lines of the pipe over.
    take: bool,
    /// Up to where it has gone ahead of the sender; 0: never.
    ahead: u64,
}

impl TransferSender {
    /// Opens the pipe that process `peer` has made at `at` for `total` bytes.
    ///
    /// # Errors
    ///
    /// [`ShmError::BadRange`] when there can be no pipe at `at`.
    pub fn open(universe: &Universe, at: Offset, total: u64, peer: ProcId) -> Result<TransferSender, ShmError> {
        let block = universe.ways().pipe;
        universe.bytes(at, block)?;
        let capacity = capacity(total, block);
        let pipe = Pipe { universe: universe.clone(), at, total, done: 0, peer, capacity, elsewhere: None };
        pipe.positions()?;
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

    /// Bytes that [`TransferSender::push`] would take now. Goes on from where the receiver is, if that has gone ahead:
    /// [`TransferSender::done`] is then more than before.
    ///
    /// # Errors
    ///
    /// [`ShmError::Corrupt`] when the positions cannot be right.
    pub fn room(&mut self) -> Result<usize, ShmError> {
        match self.look()? {
            Ok(room) => Ok(room),
            Err(ahead) => {
                let pipe = &mut self.0;
                pipe.positions()?.counters().put(ahead);
                pipe.done = ahead;
                // No look at the pipe after the last position is put: it may be another's by then.
                Ok((pipe.total - ahead).min(pipe.capacity as u64) as usize)
            }
        }
    }

    /// Room in the pipe, or where a receiver is that has gone ahead.
    fn look(&self) -> Result<Result<usize, u64>, ShmError> {
        let pipe = &self.0;
        match pipe.positions()?.counters().room(pipe.done, pipe.capacity as u64) {
            Ok(room) => Ok(Ok(room.min(pipe.total - pipe.done) as usize)),
            Err(theirs) if theirs > pipe.done && theirs <= pipe.total => Ok(Err(theirs)),
            Err(theirs) => Err(pipe.corrupt(theirs)),
        }
    }

    /// Puts the first bytes of `from`, which continue what was pushed before,
    /// into the pipe; returns how many. Wakes the receiver. Takes nothing while
    /// the receiver is ahead, which [`TransferSender::room`] finds out.
    ///
    /// # Errors
    ///
    /// [`ShmError::Corrupt`] when the positions cannot be right.
    pub fn push(&mut self, from: ConstMem) -> Result<usize, ShmError> {
        let step = self.0.step();
        let mut moved = 0;
        while moved < from.len() {
            let room = self.look()?.unwrap_or(0);
            if room == 0 {
                break;
            }
            let pipe = &mut self.0;
            let stretch = pipe.stretch(room.min(step))?;
            let n = from.slice(moved, usize::MAX).copy_to_mem(stretch);
            moved += n;
            pipe.done += n as u64;
            pipe.positions()?.counters().put(pipe.done);
            // SYNC POINT pipe-source: release side, the fence in `notify` comes before the owner of the data can write over
            // it; pairs with `still_sending`.
            pipe.wake_peer();
        }
        Ok(moved)
    }
}

impl TransferReceiver {
    /// Makes a pipe for `total` bytes from process `peer` to `me`.
    ///
    /// # Errors
    ///
    /// What [`Universe::alloc`] gives; receive through the ring then.
    pub fn create(universe: &Universe, total: u64, me: ProcId, peer: ProcId) -> Result<TransferReceiver, ShmError> {
        let block = universe.ways().pipe;
        let at = universe.alloc(block)?;
        let capacity = capacity(total, block);
        let pipe = Pipe { universe: universe.clone(), at, total, done: 0, peer, capacity, elsewhere: None };
        // The record that tells the sender publishes this.
        let positions = pipe.positions()?;
        positions.reset();
        // Where two processes answer each other, they often do so through the same memory: then what this one reads now it
        // writes next, and the lines are better left as they are. That is so if somebody else received here last.
        let number = u64::from(me.0) + 1;
        let before = positions.received.swap(number, Ordering::Relaxed);
        let again = before == number || before == 0 || total > block as u64;
        let take = again && block <= universe.ways().take;
        Ok(TransferReceiver { pipe, again, take, ahead: 0 })
    }

    /// Whether the pipe's memory was last used in this direction, or is used more than once for this message. Where the other process has
    /// received through it last, this one will write it next, and its lines are left alone.
    pub fn is_used_again(&self) -> bool {
        self.again
    }

    /// The same with the cache lines of the pipe taken over, or left alone, whatever the universe's ways say.
    #[must_use]
    pub fn with_lines(mut self, take: bool) -> TransferReceiver {
        self.take = take;
        self
    }

    /// The same for a sender that lives in another universe, as process `peer` there.
    #[must_use]
    pub fn from_abroad(mut self, home: &Universe, peer: ProcId) -> TransferReceiver {
        self.pipe.elsewhere = Some((home.clone(), peer));
        self
    }

    /// The sender, as it is called in the universe of the pipe.
    pub fn peer(&self) -> ProcId {
        self.pipe.peer
    }

    /// Where the pipe is, for [`TransferSender::open`].
    #[inline]
    pub fn offset(&self) -> Offset {
        self.pipe.at
    }

    /// Bytes received so far.
    #[inline]
    pub fn done(&self) -> u64 {
        self.pipe.done
    }

    /// Whether everything has been received.
    #[inline]
    pub fn is_complete(&self) -> bool {
        self.pipe.done == self.pipe.total
    }

    /// Gives the pipe up before the sender has opened it. The caller has made
    /// sure that the sender never will.
    pub fn discard(mut self) {
        // Complete, as far as giving the block back goes.
        (self.pipe.done, self.ahead) = (self.pipe.total, 0);
    }

    /// Bytes that [`TransferReceiver::pull`] could deliver now.
    ///
    /// # Errors
    ///
    /// [`ShmError::Corrupt`] when the positions cannot be right.
    pub fn available(&self) -> Result<usize, ShmError> {
        let pipe = &self.pipe;
        match pipe.positions()?.counters().available(pipe.done, pipe.capacity as u64) {
            Ok(here) if here <= pipe.total - pipe.done => Ok(here as usize),
            Ok(here) => Err(pipe.corrupt(pipe.done + here)),
            Err(theirs) if theirs < pipe.done && pipe.done == self.ahead => Ok(0),
            Err(theirs) => Err(pipe.corrupt(theirs)),
        }
    }

    /// Bytes that the sender has put into the pipe or found received without: shows whether it moves.
    ///
    /// # Errors
    ///
    /// [`ShmError::BadRange`], never seen.
    pub fn sent(&self) -> Result<u64, ShmError> {
        Ok(self.pipe.positions()?.counters().sent())
    }

    /// After a read from the sender's own memory: whether the sender had then not come to its end, so that the memory
    /// still held what it sends.
    ///
    /// # Errors
    ///
    /// [`ShmError::BadRange`], never seen.
    pub fn still_sending(&self) -> Result<bool, ShmError> {
        Ok(self.pipe.positions()?.counters().still_sending(self.pipe.total))
    }

    /// Says that `len` more bytes have been received without the pipe. Wakes the sender.
    ///
    /// # Errors
    ///
    /// [`ShmError::BadRange`], never seen.
    pub fn go_ahead(&mut self, len: u64) -> Result<(), ShmError> {
        let pipe = &mut self.pipe;
        pipe.done = (pipe.done + len).min(pipe.total);
        self.ahead = pipe.done;
        pipe.positions()?.counters().taken(pipe.done);
        pipe.wake_peer();
        Ok(())
    }

    /// Whether everything has been received and the sender has no further use for the pipe.
    pub fn is_over(&self) -> bool {
        self.is_complete() && (self.ahead == 0 || self.sent().is_ok_and(|sent| sent == self.pipe.total))
    }

    /// Takes what has arrived, as far as it fits `into`; returns how many bytes.
    /// Wakes the sender.
    ///
    /// # Errors
    ///
    /// [`ShmError::Corrupt`] when the positions cannot be right.
    pub fn pull(&mut self, into: MutMem) -> Result<usize, ShmError> {
        let (step, take) = (self.pipe.step(), self.take);
        let streaming = self.pipe.total >= self.pipe.universe.ways().stream as u64;
        let mut moved = 0;
        while moved < into.len() {
            let here = self.available()?;
            if here == 0 {
                break;
            }
            let pipe = &mut self.pipe;
            let stretch = pipe.stretch(here.min(step))?;
            let target = into.slice(moved, usize::MAX);
            let n = match (streaming, take) {
                (true, true) => copy_streaming::<true>(stretch, target),
                (true, false) => copy_streaming::<false>(stretch, target),
                (false, take) => stretch.copy_out(target, take),
            };
            moved += n;
            pipe.done += n as u64;
            pipe.positions()?.counters().taken(pipe.done);
            pipe.wake_peer();
        }
        Ok(moved)
    }
}

impl Drop for TransferReceiver {
    fn drop(&mut self) {
        if self.is_over() {
            self.pipe.universe.free(self.pipe.at);
        }
    }
}
