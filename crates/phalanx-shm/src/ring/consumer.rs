//! The receiving end of a ring.

use super::place::RingRef;
use super::{Envelope, FAR, HEADER, Word0, lines_of, stamp};
use crate::ShmError;
#[cfg(not(loom))]
use crate::mem::{ConstMem, MutMem, Part};
use crate::sync::{Ordering, fence};

/// The receiving end of the ring from one process to another.
///
/// There is at most one per ring at a time; dropping it lets the next be made.
#[derive(Debug)]
pub struct RingConsumer {
    ring: RingRef,
    /// Lines consumed since creation: where the next record starts.
    position: u64,
    /// The position the producer knows.
    published: u64,
    /// Lines of the record last peeked at; 0 when none is.
    peeked: u64,
    /// log2 of the number of lines.
    shift: u32,
    from: u32,
    to: u32,
}

impl RingConsumer {
    /// Takes the receiving end if nobody has it.
    pub(crate) fn claim(ring: RingRef, from: u32, to: u32) -> Option<RingConsumer> {
        let control = ring.control();
        // SYNC POINT ring-claim: Acquire pairs with the Release in `drop`.
        if control.consuming.swap(1, Ordering::Acquire) != 0 {
            return None;
        }
        let position = control.head.load(Ordering::Relaxed) % FAR;
        let shift = (ring.mask() + 1).trailing_zeros();
        Some(RingConsumer { ring, position, published: position, peeked: 0, shift, from, to })
    }

    /// The sending process's slot.
    #[inline]
    pub fn from(&self) -> u32 {
        self.from
    }

    /// The receiving process's slot.
    #[inline]
    pub fn to(&self) -> u32 {
        self.to
    }

    /// Whether no record is waiting. One load.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.word().stamp() != stamp(self.position, self.shift)
    }

    #[inline]
    fn word(&self) -> Word0 {
        // SYNC POINT ring-record: Acquire, so that the record behind the stamp
        // is seen; pairs with the Release in `try_push`.
        Word0(self.ring.word0(self.position).load(Ordering::Acquire))
    }

    /// The next record, left in the ring until [`RingConsumer::pop`].
    ///
    /// # Errors
    ///
    /// [`ShmError::Corrupt`] when the ring holds what no producer writes.
    #[inline]
    pub fn peek(&mut self) -> Result<Option<Record<'_>>, ShmError> {
        let word = self.word();
        if word.stamp() != stamp(self.position, self.shift) {
            return Ok(None);
        }
        let payload = word.payload();
        let lines = lines_of(payload);
        if lines > self.ring.mask().div_ceil(2) {
            return Err(self.corrupt(payload));
        }
        self.peeked = lines;
        // SAFETY: the stamp says that the line holds a published record, and
        // it is not consumed before `pop`.
        let words = unsafe { self.ring.read_header(self.position) };
        let envelope = Envelope {
            kind: word.kind(),
            ctx: words[0] as u32,
            src: (words[0] >> 32) as u32,
            tag: words[1] as u32 as i32,
            sig: (words[1] >> 32) as u32,
            len: words[2],
            token: words[3],
        };
        Ok(Some(Record { envelope, payload, position: self.position, ring: &self.ring }))
    }

    #[cold]
    fn corrupt(&self, payload: usize) -> ShmError {
        ShmError::Corrupt {
            what: format!(
                "the ring from process {} to process {} announces a record of {payload} bytes in a \
                 ring of {} lines",
                self.from,
                self.to,
                self.ring.mask() + 1
            ),
        }
    }

    /// Whether what is written here can be right: for a receiver that has waited for long. Finds what a wild process has
    /// written over words of the ring, and a record that was there and is no more.
    ///
    /// # Errors
    ///
    /// [`ShmError::Corrupt`] with what cannot be.
    #[cold]
    pub fn audit(&self) -> Result<(), ShmError> {
        let (control, size) = (self.ring.control(), self.ring.mask() + 1);
        // SYNC POINT ring-told: Acquire, the records before it are seen; pairs with the Release in `tell`.
        let told = control.tail.load(Ordering::Acquire);
        let (head, stamped) = (control.head.load(Ordering::Relaxed), self.word().stamp());
        let (lap, expected) = (self.position >> self.shift, stamp(self.position, self.shift));
        // A line that waits for its record is clear, or as the last lap left it.
        let waits = stamped == 0 || lap > 0 && stamped == stamp(self.position - size, self.shift);
        let wrong = if told > self.position + size {
            format!("says that {told} lines were sent when {} can have been", self.position + size)
        } else if head != self.published {
            format!("says that {head} lines were read when {} were", self.published)
        } else if told > self.position && stamped != expected {
            format!("has lost the record at line {} of the {told} that were sent", self.position)
        } else if !waits && stamped != expected {
            format!("has a record of another time at line {}", self.position)
        } else if [&control.producing, &control.consuming, &control.blocked]
            .iter()
            .any(|w| w.load(Ordering::Relaxed) > 1)
        {
            "has nonsense in its flags".to_owned()
        } else {
            return Ok(());
        };
        Err(ShmError::Corrupt { what: format!("the ring from process {} to process {} {wrong}", self.from, self.to) })
    }

    /// Gives the record last peeked at back to the producer. Does nothing when
    /// none was. Wakes the producer if it waits for room.
    #[inline]
    pub fn pop(&mut self) {
        let lines = std::mem::take(&mut self.peeked);
        if lines > 1 {
            // SAFETY: the record's lines are ours until `head` is published.
            // Payload left in a first word could pass for a header next lap.
            unsafe { self.ring.clear(self.position + 1, lines - 1) };
        }
        self.position += lines;
        if self.position - self.published > self.ring.mask() / 8 {
            self.publish();
        }
    }

    #[cold]
    fn publish(&mut self) {
        self.published = self.position;
        let control = self.ring.control();
        // SYNC POINT ring-head: Release, so that a producer that reuses the
        // lines does so after our reads and clears; pairs with `room`.
        control.head.store(self.position, Ordering::Release);
        // SYNC POINT ring-blocked: release side, orders `head` before the look at the flag;
        // pairs with the fence in `room`.
        fence(Ordering::SeqCst);
        if control.blocked.load(Ordering::Relaxed) != 0 {
            control.blocked.store(0, Ordering::Relaxed);
            self.ring.sender_sleepers().notify();
        }
    }
}

impl Drop for RingConsumer {
    fn drop(&mut self) {
        self.publish();
        // SYNC POINT ring-claim: Release, see `claim`.
        self.ring.control().consuming.store(0, Ordering::Release);
    }
}

/// A record in the ring: envelope and payload.
#[derive(Debug)]
pub struct Record<'a> {
    /// What the sender said about it.
    pub envelope: Envelope,
    payload: usize,
    position: u64,
    ring: &'a RingRef,
}

impl Record<'_> {
    /// Bytes of payload in this record.
    #[inline]
    pub fn payload_len(&self) -> usize {
        self.payload
    }

    /// The payload where it lies, in two pieces (the second is empty unless the
    /// record wraps around the end of the ring).
    #[cfg(not(loom))]
    #[inline]
    pub fn parts(&self) -> [Part<'_>; 2] {
        let pieces = self.ring.stretches(self.position, HEADER, self.payload);
        // SAFETY: the bytes belong to a published record that stays until `pop`,
        // which the borrow of the consumer excludes while the parts live.
        pieces.map(|(at, len)| Part::from(unsafe { ConstMem::new(at, len) }))
    }

    /// Copies the first bytes of the payload into `out`; returns how many.
    #[cfg(not(loom))]
    #[inline]
    pub fn copy_payload(&self, out: &mut [u8]) -> usize {
        let [first, second] = self.parts();
        let n = first.mem().copy_to(out);
        n + second.mem().copy_to(&mut out[n..])
    }

    /// Copies the first bytes of the payload to `out`; returns how many.
    #[cfg(not(loom))]
    #[inline]
    pub fn copy_payload_to(&self, out: MutMem) -> usize {
        let [first, second] = self.parts();
        let n = first.mem().copy_to_mem(out);
        n + second.mem().copy_to_mem(out.slice(n, usize::MAX))
    }

    /// The payload as bytes of its own.
    #[cfg(loom)]
    pub fn to_vec(&self) -> Vec<u8> {
        self.ring.bytes(self.position, HEADER, self.payload)
    }
}
