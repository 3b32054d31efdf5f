//! A byte pipe between one process that writes and one that reads: how far each has come, and where the bytes lie.
//!
//! Two counters of bytes since the pipe was made. Each has one writer, lies in
//! lines of its own and only grows; their difference is what the pipe holds.
//! The bytes behind them need no other synchronisation: the sender writes only
//! where [`Counters::room`] says that the receiver has read, the receiver reads
//! only where [`Counters::available`] says that the sender has written.
//!
//! A sender that is killed before it stores its counter has sent nothing of what it copied last, one that is killed
//! after has sent all of it; so nothing is repaired after a death. A counter that cannot be right (the other process
//! wrote over it) is told to the caller instead of being believed.
//!
//! A receiver that knows where the sender's data lies need not wait for a sender that has no CPU: it reads from there, and
//! moves its counter past the sender's. The sender goes on from where it finds the receiver. What was read is good if the
//! sender had not come to its end yet ([`Counters::still_sending`]): before that it writes over nothing.
//!
//! Two pipes are made of this: large messages between ranks (`transfer.rs`) and the results of a pool's worker
//! (`board/results.rs`). Not made of it are the ring of envelopes (`ring/`), whose records publish themselves; the
//! payload of a board's tasks (`board/publisher.rs`), whose second counter is the publisher's own, since the cells of
//! the tasks say what has been read; and the chunks of a queue (`queue/`), which have many writers, under a lock, and
//! keep two places for the next record.

use crate::sync::{AtomicU64, Ordering, fence};

/// The two counters of a pipe, wherever they lie.
#[derive(Clone, Copy, Debug)]
pub struct Counters<'a> {
    /// Bytes put in. Written by the sender.
    pub(crate) filled: &'a AtomicU64,
    /// Bytes taken out. Written by the receiver.
    pub(crate) drained: &'a AtomicU64,
}

impl Counters<'_> {
    /// Sender, having put in `filled`: room in a pipe of `capacity` bytes, or what
    /// the receiver claims to have taken when that was not all put in.
    ///
    /// # Errors
    ///
    /// The receiver's position: it has gone ahead, if it may, or that cannot be.
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

    /// Receiver, having read from the sender's own memory what was not in the pipe: whether the sender had then not put in
    /// all `total` bytes, so that the memory still held what it sends.
    #[inline]
    pub fn still_sending(&self, total: u64) -> bool {
        // SYNC POINT pipe-source: Acquire, whoever read what was written over after the last position sees that position;
        // pairs with the fence after the last `put`.
        fence(Ordering::Acquire);
        self.filled.load(Ordering::Relaxed) < total
    }

    /// Receiver: how far the sender is, for looks at whether it moves and whether it has come to the end.
    #[inline]
    pub fn sent(&self) -> u64 {
        // SYNC POINT pipe-filled: Acquire, at the end the sender's last access is before whatever the pipe is used for next.
        self.filled.load(Ordering::Acquire)
    }

    /// Receiver: `drained` bytes have been taken out so far.
    #[inline]
    pub fn taken(&self, drained: u64) {
        // SYNC POINT pipe-drained: Release, pairs with the Acquire in `room`.
        self.drained.store(drained, Ordering::Release);
    }
}

/// Where `len` bytes from position `from` on lie in a pipe of `capacity` bytes: offset and length of the stretch up to
/// its end, and length of the stretch from its beginning on.
#[cfg_attr(loom, expect(dead_code, reason = "the models copy single bytes"))]
#[inline]
pub(crate) fn stretches(from: u64, len: usize, capacity: usize) -> (usize, usize, usize) {
    let at = (from % capacity as u64) as usize;
    let first = len.min(capacity - at);
    (at, first, len - first)
}

/// The counters as the head of a block, each in lines of its own.
#[derive(Debug)]
#[cfg_attr(not(loom), repr(C))]
pub struct Positions {
    filled: AtomicU64,
    /// Who received last through this memory, as a number above 0: a hint that outlives the pipe.
    #[cfg(not(loom))]
    pub(crate) received: AtomicU64,
    #[cfg(not(loom))]
    _sender_lines: [u8; 112],
    drained: AtomicU64,
    #[cfg(not(loom))]
    _receiver_lines: [u8; 120],
}

impl Positions {
    /// Counters of an empty pipe.
    #[cfg(loom)]
    #[expect(clippy::new_without_default, reason = "for models")]
    pub fn new() -> Positions {
        Positions { filled: AtomicU64::new(0), drained: AtomicU64::new(0) }
    }

    /// The counters.
    #[inline]
    pub fn counters(&self) -> Counters<'_> {
        Counters { filled: &self.filled, drained: &self.drained }
    }

    /// Makes the pipe empty. Only while nobody else knows it.
    #[cfg(not(loom))]
    pub(crate) fn reset(&self) {
        self.filled.store(0, Ordering::Relaxed);
        self.drained.store(0, Ordering::Relaxed);
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn stretches_cover_every_byte_once_and_in_order() {
        for capacity in [1usize, 8, 13] {
            for from in 0..40u64 {
                for len in 0..=capacity {
                    let (at, first, rest) = stretches(from, len, capacity);
                    let covered: Vec<_> = (at..at + first).chain(0..rest).collect();
                    let expected: Vec<_> = (from..from + len as u64).map(|b| (b % capacity as u64) as usize).collect();
                    assert_eq!(covered, expected, "{len} bytes from {from} on in {capacity}");
                }
            }
        }
    }

    #[test]
    fn a_counter_that_cannot_be_right_is_told() {
        let words = [AtomicU64::new(10), AtomicU64::new(4)];
        let counters = Counters { filled: &words[0], drained: &words[1] };
        assert_eq!(counters.room(10, 8), Ok(2));
        assert_eq!(counters.available(4, 8), Ok(6));
        assert_eq!(counters.room(3, 8), Err(4), "read more than there was");
        assert_eq!(counters.room(13, 8), Err(4), "more inside than there is room");
        assert_eq!(counters.available(11, 8), Err(10), "written less than was read");
        assert_eq!(counters.available(1, 8), Err(10), "written past the end");
    }

    #[test]
    fn a_sender_that_is_behind_sees_where_the_receiver_is() {
        let words = [AtomicU64::new(3), AtomicU64::new(7)];
        let counters = Counters { filled: &words[0], drained: &words[1] };
        assert_eq!(counters.room(3, 8), Err(7));
        assert_eq!(counters.room(7, 8), Ok(8));
        assert!(counters.still_sending(9));
        counters.put(9);
        assert!(!counters.still_sending(9));
    }
}
