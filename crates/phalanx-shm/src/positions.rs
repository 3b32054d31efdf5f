//! How far the two sides of a byte pipe have come.
//!
//! Two counters of bytes since the pipe was made. Each has one writer, lies in
//! lines of its own and only grows; their difference is what the pipe holds.
//! The bytes behind them need no other synchronisation: the sender writes only
//! where [`Positions::room`] says that the receiver has read, the receiver reads
//! only where [`Positions::available`] says that the sender has written.

use crate::sync::{AtomicU64, Ordering};

/// The two counters.
#[derive(Debug)]
#[cfg_attr(not(loom), repr(C))]
pub struct Positions {
    /// Bytes put in. Written by the sender.
    filled: AtomicU64,
    #[cfg(not(loom))]
    _sender_lines: [u8; 120],
    /// Bytes taken out. Written by the receiver.
    drained: AtomicU64,
    #[cfg(not(loom))]
    _receiver_lines: [u8; 120],
}

impl Positions {
    /// Counters of an empty pipe.
    #[cfg(loom)]
    pub fn new() -> Positions {
        Positions { filled: AtomicU64::new(0), drained: AtomicU64::new(0) }
    }

    /// Makes the pipe empty. Only while nobody else knows it.
    #[cfg(not(loom))]
    pub(crate) fn reset(&self) {
        self.filled.store(0, Ordering::Relaxed);
        self.drained.store(0, Ordering::Relaxed);
    }

    /// Sender, having put in `filled`: room in a pipe of `capacity` bytes, or what
    /// the receiver claims to have taken when that cannot be.
    ///
    /// # Errors
    ///
    /// The receiver's impossible position.
    #[inline]
    pub fn room(&self, filled: u64, capacity: u64) -> Result<u64, u64> {
        // SYNC POINT pipe-drained: Acquire, the receiver has read the bytes whose
        // room is used again; pairs with the Release in `taken`.
        let drained = self.drained.load(Ordering::Acquire);
        let inside = filled.checked_sub(drained).ok_or(drained)?;
        capacity.checked_sub(inside).ok_or(drained)
    }

    /// Sender: `filled` bytes have been put in so far.
    #[inline]
    pub fn put(&self, filled: u64) {
        // SYNC POINT pipe-filled: Release, pairs with the Acquire in `available`.
        self.filled.store(filled, Ordering::Release);
    }

    /// Receiver, having taken `drained`: bytes in a pipe of `capacity` bytes, or what
    /// the sender claims to have put in when that cannot be.
    ///
    /// # Errors
    ///
    /// The sender's impossible position.
    #[inline]
    pub fn available(&self, drained: u64, capacity: u64) -> Result<u64, u64> {
        // SYNC POINT pipe-filled: Acquire, the bytes are there; pairs with the
        // Release in `put`.
        let filled = self.filled.load(Ordering::Acquire);
        let inside = filled.checked_sub(drained).ok_or(filled)?;
        if inside <= capacity { Ok(inside) } else { Err(filled) }
    }

    /// Receiver: `drained` bytes have been taken out so far.
    #[inline]
    pub fn taken(&self, drained: u64) {
        // SYNC POINT pipe-drained: Release, pairs with the Acquire in `room`.
        self.drained.store(drained, Ordering::Release);
    }
}
