//! The sending end of a ring.

use super::place::RingRef;
use super::{Envelope, FAR, HEADER, Word0, lines_of, max_payload, stamp};
use crate::ShmError;
use crate::mem::Part;
use crate::sync::{Ordering, fence};

/// The sending end of the ring from one process to another.
///
/// There is at most one per ring at a time; dropping it lets the next be made.
///
/// ```
/// use phalanx_shm::{Envelope, HotSet, Part, ProcId, Universe, UniverseConfig};
///
/// let universe = Universe::create(UniverseConfig::for_ranks(2))?;
/// universe.claim_slots(2)?;
/// let (sender, receiver) = (ProcId(0), ProcId(1));
/// let mut out = universe.producer(sender, receiver)?;
/// let envelope = Envelope { kind: 1, tag: 7, len: 11, ..Envelope::default() };
/// assert!(out.try_push(&envelope, &[Part::from(&b"hello "[..]), Part::from(&b"there"[..])]));
///
/// // The receiver looks at the rings of those who have rung its bell.
/// let mut hot = HotSet::new();
/// assert!(hot.refresh(universe.slot(receiver)));
/// assert_eq!(hot.senders(), [sender]);
/// let mut into = universe.consumer(sender, receiver)?.expect("the sender has made the ring");
/// let mut bytes = [0; 11];
/// let record = into.peek()?.expect("a record is there");
/// assert_eq!((record.envelope.tag, record.copy_payload(&mut bytes)), (7, 11));
/// into.pop();
/// assert!(into.is_empty() && &bytes == b"hello there");
/// # Ok::<(), phalanx_shm::ShmError>(())
/// ```
#[derive(Debug)]
pub struct RingProducer {
    ring: RingRef,
    /// Lines produced since creation: where the next record starts.
    tail: u64,
    /// The consumer's position as last read; it may be further.
    head: u64,
    /// log2 of the number of lines.
    shift: u32,
    from: u32,
    to: u32,
}

impl RingProducer {
    /// Takes the sending end if nobody has it.
    pub(crate) fn claim(ring: RingRef, from: u32, to: u32) -> Option<RingProducer> {
        let control = ring.control();
        // SYNC POINT ring-claim: Acquire pairs with the Release in `drop`, so
        // that `tail` and the lines written by the previous handle are seen.
        if control.producing.swap(1, Ordering::Acquire) != 0 {
            return None;
        }
        let tail = control.tail.load(Ordering::Relaxed) % FAR;
        // SYNC POINT ring-head: see `room`.
        let head = control.head.load(Ordering::Acquire);
        let shift = (ring.mask() + 1).trailing_zeros();
        Some(RingProducer { ring, tail, head, shift, from, to })
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

    /// The largest payload one record may carry in this ring, in bytes.
    ///
    /// Half the ring, so that a record always fits once the consumer has caught
    /// up: the position it publishes may be an eighth of the ring late.
    #[inline]
    pub fn max_payload(&self) -> usize {
        max_payload(self.ring.mask() as usize + 1)
    }

    /// Sends one record: the envelope and the concatenation of `parts`.
    ///
    /// Returns false, without effect, when the ring has no room; the consumer
    /// then wakes this process (its word to sleep on) as soon as there is more, so the
    /// caller may sleep after trying once more. A payload above
    /// [`RingProducer::max_payload`] never fits.
    ///
    /// Wakes the receiver if it sleeps. Never blocks; no system call otherwise.
    #[inline]
    #[must_use = "false means the record was not sent"]
    pub fn try_push(&mut self, envelope: &Envelope, parts: &[Part<'_>]) -> bool {
        let payload: usize = parts.iter().map(Part::len).sum();
        let lines = lines_of(payload);
        if lines > self.free() && !self.room(lines) {
            return false;
        }
        if payload > self.max_payload() {
            return false;
        }
        let e = envelope;
        let words = [
            u64::from(e.src) << 32 | u64::from(e.ctx),
            u64::from(e.sig) << 32 | u64::from(e.tag as u32),
            e.len,
            e.token,
        ];
        // SAFETY: lines tail..tail + lines are free: the consumer has given them
        // back (`free` counts from a position read with Acquire) and only this
        // handle produces. The payload lies in them, after the header.
        unsafe {
            self.ring.write_header(self.tail, words);
            let mut at = HEADER;
            for part in parts {
                self.ring.copy_in(self.tail, at, part.mem().as_ptr(), part.len());
                at += part.len();
            }
        }
        let word = Word0::new(stamp(self.tail, self.shift), payload, e);
        // SYNC POINT ring-record: Release, so that a consumer that sees this
        // stamp sees header and payload; pairs with the Acquire in `peek`.
        self.ring.word0(self.tail).store(word.0, Ordering::Release);
        self.tail += lines;
        self.ring.bell().ring(self.from);
        true
    }

    /// Lets the receiver know how much was sent, should it have missed something, and looks whether its answers can be
    /// right: for a sender that has waited for long.
    ///
    /// # Errors
    ///
    /// [`ShmError::Corrupt`] with what cannot be.
    #[cold]
    pub fn audit(&self) -> Result<(), ShmError> {
        let (control, size) = (self.ring.control(), self.ring.mask() + 1);
        // SYNC POINT ring-told: Release, the records before it are there; pairs with the Acquire in the receiver's `audit`.
        control.tail.store(self.tail, Ordering::Release);
        let head = control.head.load(Ordering::Relaxed);
        if head <= self.tail && self.tail - head <= size && head >= self.head {
            return Ok(());
        }
        Err(ShmError::Corrupt {
            what: format!(
                "the ring from process {} to process {} says that {head} of {} lines were read, after it had said {}",
                self.from, self.to, self.tail, self.head
            ),
        })
    }

    /// Lines free as far as this side knows.
    #[inline]
    fn free(&self) -> u64 {
        // A corrupt head could be ahead of the tail; then there is no room.
        let size = self.ring.mask() + 1;
        size.saturating_sub(self.tail.wrapping_sub(self.head))
    }

    /// Looks for room for `lines`, and asks to be woken when there is none.
    #[cold]
    fn room(&mut self, lines: u64) -> bool {
        let control = self.ring.control();
        // SYNC POINT ring-head: Acquire, so that lines before `head` were read
        // and cleared; pairs with the Release in `publish`.
        self.head = control.head.load(Ordering::Acquire);
        if lines <= self.free() {
            return true;
        }
        let control = self.ring.control();
        control.blocked.store(1, Ordering::Relaxed);
        // SYNC POINT ring-blocked: acquire side, orders the flag before the second look at
        // `head`; pairs with the fence in `publish`.
        fence(Ordering::SeqCst);
        self.head = control.head.load(Ordering::Acquire);
        lines <= self.free()
    }
}

impl Drop for RingProducer {
    fn drop(&mut self) {
        let control = self.ring.control();
        control.tail.store(self.tail, Ordering::Relaxed);
        // SYNC POINT ring-claim: Release, see `claim`.
        control.producing.store(0, Ordering::Release);
    }
}
