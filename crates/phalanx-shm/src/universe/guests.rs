//! Processes of other universes that send into this one.
//!
//! A process sleeps and polls in one universe only, its *home*. To send into another it is a *guest* there: it has a slot,
//! in which its hosts see whether it lives, and rings from that slot to theirs. What they send to it goes into its home, where
//! they are guests in turn.
//!
//! Slots of guests are claimed, and given to the next, by a process at home here; guests allocate nothing but their rings.

use core::ptr::NonNull;
use std::os::fd::AsFd;

use super::{CONTEXT_STEP, Offset, ProcId, SlotState, Universe};
use crate::ShmError;
use crate::alive::ProcessTag;
use crate::ring::{LINE, RingConsumer};
use crate::sync::Ordering;

/// Contexts are below this: the bits above have other meanings.
const CONTEXTS_END: u32 = 1 << 30;

impl Universe {
    /// What tells this universe from all others of the machine while it is mapped anywhere.
    ///
    /// # Errors
    ///
    /// [`ShmError::System`] when its descriptor cannot be looked at.
    pub fn key(&self) -> Result<u64, ShmError> {
        Ok(self.stat()?.st_ino)
    }

    /// The user whose processes made it.
    ///
    /// # Errors
    ///
    /// As [`Universe::key`].
    pub fn owner(&self) -> Result<u32, ShmError> {
        Ok(self.stat()?.st_uid)
    }

    fn stat(&self) -> Result<rustix::fs::Stat, ShmError> {
        rustix::fs::fstat(self.fd().as_fd())
            .map_err(|e| ShmError::System { what: "describe the shared segment", source: e.into() })
    }

    /// The namespaces in which its process numbers mean something; 0 when its creator could not find out.
    pub fn home(&self) -> u64 {
        self.0.home
    }

    /// Whether this process is in those namespaces.
    pub fn is_at_home(&self) -> bool {
        self.0.at_home
    }

    /// Makes `slot` that of a guest.
    ///
    /// # Errors
    ///
    /// The process that has the slot already.
    pub fn invite(&self, slot: ProcId, guest: ProcessTag) -> Result<(), ProcessTag> {
        let place = self.slot(slot);
        place.keep_for_guests();
        place.claim(guest)?;
        place.set_state(SlotState::Running);
        Ok(())
    }

    /// Frees the slot of a guest that has left or ended, and its rings, for the next. Its hosts have let go of them.
    ///
    /// # Errors
    ///
    /// [`ShmError::NoSuchSlot`].
    pub fn see_off(&self, guest: ProcId) -> Result<(), ShmError> {
        for host in (0..self.claimed()).map(ProcId) {
            let at = self.pair(guest, host)?.swap(0, Ordering::AcqRel);
            if at == 0 {
                continue;
            }
            // A ring begins on two lines, its block on one: it may have begun a line before.
            if !self.free(Offset(at)) {
                self.free(Offset(at.saturating_sub(LINE as u64)));
            }
        }
        self.slot(guest).vacate();
        Ok(())
    }

    /// As [`Universe::consumer`], for the ring from a guest, which sleeps as process `there` of `home`.
    ///
    /// # Errors
    ///
    /// As [`Universe::consumer`].
    pub fn consumer_of_guest(
        &self,
        guest: ProcId,
        to: ProcId,
        home: &Universe,
        there: ProcId,
    ) -> Result<Option<RingConsumer>, ShmError> {
        // SYNC POINT pair: Acquire, as in `producer`.
        let at = self.pair(guest, to)?.load(Ordering::Acquire);
        if at == 0 {
            return Ok(None);
        }
        let sleepers = NonNull::from(home.slot(there).sleepers());
        // SAFETY: a word of a slot in that segment.
        let ring = unsafe { self.ring_at(at, guest, to)?.with_sender_in(home.0.segment.clone(), sleepers) };
        Self::receiving_end(ring, guest, to).map(Some)
    }

    /// Takes the `n` contexts from `first` on, or says which is the next that is free.
    fn take_contexts(&self, first: u32, n: u32) -> Result<(), u32> {
        let next = &self.header().next_context;
        let end = first.saturating_add(n.saturating_mul(CONTEXT_STEP));
        let taken = next.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |free| (free <= first).then_some(end));
        taken.map(|_| ())
    }
}

/// Draws `n` contexts that are nobody else's in any of these universes, as [`Universe::next_contexts`] does in one.
///
/// # Errors
///
/// [`ShmError::Corrupt`] when the counter of one of them is where it cannot be.
pub fn common_contexts(universes: &[&Universe], n: u32) -> Result<u32, ShmError> {
    let mut first = 0;
    'again: loop {
        for universe in universes {
            if let Err(free) = universe.take_contexts(first, n) {
                if free >= CONTEXTS_END {
                    return Err(ShmError::Corrupt { what: format!("the next context is said to be {free}") });
                }
                first = free.next_multiple_of(CONTEXT_STEP);
                continue 'again;
            }
        }
        return Ok(first);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ring::Envelope;
    use crate::universe::UniverseConfig;

    fn universe() -> Universe {
        let config = UniverseConfig { slots: 16, heap_bytes: 16 << 20, ..UniverseConfig::for_ranks(2) };
        let universe = Universe::create(config).expect("a universe");
        universe.claim_slots(2).expect("slots");
        universe
    }

    #[test]
    fn contexts_are_free_in_all_universes() {
        let (a, b) = (universe(), universe());
        a.next_contexts(5);
        let first = common_contexts(&[&a, &b], 3).expect("contexts");
        let after = first + 3 * CONTEXT_STEP;
        assert!(a.next_contexts(1) >= after && b.next_contexts(1) >= after);
        let second = common_contexts(&[&b, &a], 1).expect("contexts");
        assert!(second >= after + CONTEXT_STEP);
        a.header().next_context.store(u32::MAX - 3, Ordering::Relaxed);
        assert!(common_contexts(&[&b, &a], 1).is_err());
    }

    #[test]
    fn the_slot_and_the_rings_of_a_guest_are_used_again() {
        let (here, home) = (universe(), universe());
        let guest = here.claim_slots(1).expect("a slot");
        let before = here.live();
        for _ in 0..100 {
            here.invite(guest, here.own_tag()).expect("free");
            assert!(here.slot(guest).is_for_guests());
            for host in [ProcId(0), ProcId(1)] {
                let mut out = here.producer(guest, host).expect("a ring");
                assert!(out.try_push(&Envelope::default(), &[]));
                let into = here.consumer_of_guest(guest, host, &home, ProcId(0)).expect("sound").expect("made");
                assert!(!into.is_empty());
            }
            here.see_off(guest).expect("a slot");
            assert_eq!(here.process(guest), None);
            assert_eq!(here.live(), before);
        }
        here.audit(ProcId(0)).expect("sound");
    }

    #[test]
    fn keys_tell_universes_apart() {
        let (a, b) = (universe(), universe());
        let again = Universe::attach(a.fd().try_clone_to_owned().expect("a descriptor")).expect("mapped");
        assert_eq!(a.key().expect("known"), again.key().expect("known"));
        assert_ne!(a.key().expect("known"), b.key().expect("known"));
    }
}
