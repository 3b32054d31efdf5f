//! Which rings are worth polling.
//!
//! A receiver with a thousand possible senders must not look at a thousand
//! rings. Its slot has a bitmap of *hot* senders. A producer sets its bit when
//! it finds it clear after a publication; the receiver polls hot rings only, and
//! clears the bit of a ring that stayed empty for long. An `epoch` that changes
//! with every bit set lets the receiver see in one load that nothing changed.
//!
//! No message is forgotten: the producer's order is *publish, fence, look at the
//! bit*, the receiver's is *clear the bit, fence, look at the ring*. The fences
//! are totally ordered, so either the producer sees its bit clear and sets it, or
//! the receiver sees the record and sets the bit again.
//!
//! A producer killed after setting its bit and before the epoch leaves a record
//! that is found with the next change of the epoch, so possibly late: the only
//! trace of a sender's death here, and it never holds up another sender.

use crate::process::{MAX_SLOTS, ProcId};
use crate::sleep::{SleepWord, WAITING};
use crate::sync::{AtomicU32, AtomicU64, Ordering, fence};
#[cfg(not(loom))]
use crate::universe::Slot;

/// Words in a hot bitmap. One is enough for a model.
pub(crate) const WORDS: usize = if cfg!(loom) { 1 } else { MAX_SLOTS as usize / 64 };

/// The part of a slot by which producers draw a receiver's attention.
#[derive(Debug)]
#[cfg_attr(not(loom), repr(C))]
pub struct Doorbell {
    /// Counts bits set in `hot`. Written by producers after setting a bit,
    /// read by the owner in every poll.
    pub(crate) epoch: AtomicU32,
    /// The word the owner's threads sleep on (see [`crate::sleep`]). In this
    /// line because producers read both after every publication.
    pub(crate) sleepers: SleepWord,
    #[cfg(not(loom))]
    _line: [u8; 52],
    /// Bit per sender slot. Set by that sender, cleared by the owner.
    pub(crate) hot: [AtomicU64; WORDS],
}

impl Doorbell {
    /// A doorbell nobody has rung.
    #[cfg(loom)]
    pub(crate) fn new() -> Doorbell {
        Doorbell {
            epoch: AtomicU32::new(0),
            sleepers: SleepWord::new(),
            hot: std::array::from_fn(|_| AtomicU64::new(0)),
        }
    }

    /// Producer side: make the owner look at `from`'s ring and wake it if it
    /// sleeps. The record must have been published.
    #[inline]
    pub(crate) fn ring(&self, from: u32) {
        // SYNC POINT doorbell, SYNC POINT sleep: release side, orders the publication
        // before the looks at the hot bit and at who sleeps.
        fence(Ordering::SeqCst);
        let word = &self.hot[from as usize / 64 % WORDS];
        let bit = 1 << (from % 64);
        if word.load(Ordering::Relaxed) & bit == 0 {
            self.heat(word, bit);
        }
        self.sleepers.notify_all(WAITING);
    }

    #[cold]
    fn heat(&self, word: &AtomicU64, bit: u64) {
        word.fetch_or(bit, Ordering::Relaxed);
        // SYNC POINT hot-epoch: Release, so that a receiver that sees the new
        // epoch sees the bit.
        self.epoch.fetch_add(1, Ordering::Release);
        // The bit may have been set while the owner was looking for events
        // before sleeping: order it before the look at the sleeping bit.
        fence(Ordering::SeqCst);
    }

    /// Makes the owner believe that there are new senders, which sends it to look around, and wakes it.
    #[cold]
    #[cfg(not(loom))]
    pub(crate) fn alarm(&self) {
        // SYNC POINT hot-epoch: Release, so that who sees the new epoch sees what the alarm is about.
        self.epoch.fetch_add(1, Ordering::Release);
        self.sleepers.notify();
    }

    /// As [`Doorbell::alarm`], and wakes nobody.
    #[cold]
    #[cfg(not(loom))]
    pub(crate) fn nudge(&self) {
        // SYNC POINT hot-epoch: Release, so that who sees the new epoch sees what was written before it.
        self.epoch.fetch_add(1, Ordering::Release);
    }

    /// Owner side: stop polling `from`. Look at its ring after this.
    fn cool(&self, from: u32) {
        let word = &self.hot[from as usize / 64 % WORDS];
        word.fetch_and(!(1 << (from % 64)), Ordering::Relaxed);
        // SYNC POINT doorbell: acquire side, orders the cleared bit before the caller's look
        // at the ring; pairs with the fence in `ring`.
        fence(Ordering::SeqCst);
    }
}

/// The receiver's list of hot senders, kept in step with its slot's bitmap.
#[derive(Debug, Default)]
pub struct HotSet {
    /// Epoch the list was made at; `None` before the first refresh.
    seen: Option<u32>,
    hot: Vec<ProcId>,
}

impl HotSet {
    /// An empty list; the first [`HotSet::refresh`] fills it.
    pub fn new() -> HotSet {
        HotSet::default()
    }

    /// Takes new hot senders from `slot` (the receiver's own). One load when
    /// nothing changed. True when the list may have changed.
    #[cfg(not(loom))]
    #[inline]
    pub fn refresh(&mut self, slot: &Slot) -> bool {
        self.refresh_from(slot.bell())
    }

    #[inline]
    pub(crate) fn refresh_from(&mut self, bell: &Doorbell) -> bool {
        // SYNC POINT hot-epoch: Acquire, pairs with the Release in `heat`.
        let epoch = bell.epoch.load(Ordering::Acquire);
        if self.seen == Some(epoch) {
            return false;
        }
        self.rescan(bell, epoch);
        true
    }

    #[cold]
    fn rescan(&mut self, bell: &Doorbell, epoch: u32) {
        self.seen = Some(epoch);
        self.hot.clear();
        for (at, word) in bell.hot.iter().enumerate() {
            let mut bits = word.load(Ordering::Relaxed);
            while bits != 0 {
                self.hot.push(ProcId(at as u32 * 64 + bits.trailing_zeros()));
                bits &= bits - 1;
            }
        }
    }

    /// The senders to poll.
    #[inline]
    pub fn senders(&self) -> &[ProcId] {
        &self.hot
    }

    /// Stops polling `from`, whose ring stayed empty. `is_empty` looks at that
    /// ring once more, after the point from which its producer will ring again;
    /// when it finds something the sender stays hot. True when `from` is cold now.
    #[cfg(not(loom))]
    pub fn cool(&mut self, slot: &Slot, from: ProcId, is_empty: impl FnOnce() -> bool) -> bool {
        self.cool_in(slot.bell(), from, is_empty)
    }

    pub(crate) fn cool_in(&mut self, bell: &Doorbell, from: ProcId, is_empty: impl FnOnce() -> bool) -> bool {
        bell.cool(from.0);
        if !is_empty() {
            let word = &bell.hot[from.0 as usize / 64 % WORDS];
            word.fetch_or(1 << (from.0 % 64), Ordering::Relaxed);
            return false;
        }
        self.hot.retain(|p| *p != from);
        true
    }
}
