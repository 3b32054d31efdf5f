//! Processes of other jobs that this one has met ([why](../../../../docs/decisions/0021-ports-between-jobs.md)).
//!
//! Each process polls and sleeps in the universe of its own job only, and enters that of the other as a guest, to send. So a
//! process of another job is known here by the slot that it has as a guest *here*, like any other process: records come
//! from that slot, and its standing and tag tell whether it lives. Only what goes *to* it takes another way, through its
//! home, where this process is the guest.
//!
//! | | lies in |
//! |---|---|
//! | ring from a to b | the home of b |
//! | description of a large message from a to b | the home of a |
//! | pipe of a large message from a to b | the home of b |
//!
//! A [`Visit`] is what one process has of one such meeting. Communicators hold it; when the last of them is gone, the process
//! lets go of the rings, says so in its slot as a guest and in the *register* of its own side, and unmaps the other universe.
//! The root of the meeting on each side has invited the guests, and gives a slot to the next guest when its guest has left or ended and
//! all hosts have let go of it.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use phalanx_shm::{Offset, ProcId, SlotState, Universe};

use crate::error::{Error, ErrorClass, Result, fail};
use crate::group::Group;

use super::Engine;
use super::core::{Core, base_of};
use super::matching::IntMap;
use super::ops::Body;
use super::send::shm_error;

/// What a host writes into its word of the register when it has let go of the guests.
const LEFT: u64 = 1;

/// Contexts below this belong to no communicator.
const FIRST_OF_COMMS: u32 = 8;

/// A process by the universe that is its home, and its slot there: the same for all who know it.
pub(crate) type Identity = [u64; 2];

/// Another job, as this process has met it.
pub(crate) struct Visit {
    /// The universe of that job.
    there: Universe,
    key: u64,
    /// The slot of this process there.
    guest: ProcId,
    /// The processes of that job: their slots as guests here, and at home there.
    met: Vec<(ProcId, ProcId)>,
    /// Where this side's processes say that they have left, and which word is this one's.
    register: (Offset, usize),
}

/// What a process needs to know to enter another job.
pub(crate) struct Entry {
    pub(crate) there: Universe,
    pub(crate) guest: ProcId,
    pub(crate) met: Vec<(ProcId, ProcId)>,
    pub(crate) register: Offset,
}

/// Guests that this process has invited, for the processes of its side.
struct Invited {
    guests: Vec<ProcId>,
    hosts: Vec<ProcId>,
    register: Offset,
}

/// All that this process has to do with other jobs.
#[derive(Default)]
pub(crate) struct Abroad {
    visits: Vec<Arc<Visit>>,
    /// By slot here: the visit, and the slot there.
    met: IntMap<u32, (Arc<Visit>, ProcId)>,
    invited: Vec<Invited>,
    /// Slots for guests that nobody has.
    vacant: Vec<ProcId>,
}

impl Abroad {
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.met.is_empty()
    }
}

impl Visit {
    /// How many hold it only because it is under way.
    fn own_holds(&self) -> usize {
        1 + self.met.len()
    }
}

impl Core {
    /// Of a process of another job: the visit, and its slot there.
    #[inline]
    pub(crate) fn abroad(&self, process: ProcId) -> Option<(&Visit, ProcId)> {
        if self.abroad.is_empty() {
            return None;
        }
        self.abroad.met.get(&process.0).map(|(visit, there)| (&**visit, *there))
    }

    /// The home of a process.
    #[inline]
    pub(crate) fn home_of(&self, process: ProcId) -> &Universe {
        self.abroad(process).map_or(&self.universe, |(visit, _)| &visit.there)
    }

    /// Whether a slot is that of a guest.
    pub(super) fn is_guest(&self, process: ProcId) -> bool {
        self.universe.has(process) && self.universe.slot(process).is_for_guests()
    }

    /// The home of a process, and its slot there.
    pub(crate) fn at_home(&self, process: ProcId) -> (&Universe, ProcId) {
        self.abroad(process).map_or((&self.universe, process), |(visit, there)| (&visit.there, there))
    }

    /// By which slot `dest` knows this process.
    #[inline]
    pub(crate) fn known_as(&self, dest: ProcId) -> ProcId {
        self.abroad(dest).map_or(self.me, |(visit, _)| visit.guest)
    }

    /// The sending end of the ring to a process.
    pub(super) fn producer_to(&self, to: ProcId) -> Result<phalanx_shm::RingProducer> {
        let ring = match self.abroad(to) {
            Some((visit, there)) => visit.there.producer(visit.guest, there),
            None if self.is_guest(to) => {
                return Err(Error::new(
                    ErrorClass::Other,
                    "a process of another job is not known to this one: only those meet that were in the groups which accepted and connected",
                ));
            }
            None => self.universe.producer(self.me, to),
        };
        ring.map_err(|e| shm_error("reach a peer", &e))
    }

    /// The receiving end of the ring from a process.
    pub(super) fn consumer_from(
        &self,
        from: ProcId,
    ) -> std::result::Result<Option<phalanx_shm::RingConsumer>, phalanx_shm::ShmError> {
        match self.abroad(from) {
            Some((visit, there)) => self.universe.consumer_of_guest(from, self.me, &visit.there, there),
            // One that this process has not met, or has parted with: others have to do with it.
            None if self.is_guest(from) => Ok(None),
            None => self.universe.consumer(from, self.me),
        }
    }

    /// The visits to which members of these groups belong, each once.
    pub(crate) fn visits_of<'g>(&self, groups: impl Iterator<Item = &'g Group>) -> Vec<Arc<Visit>> {
        let mut found: Vec<Arc<Visit>> = Vec::new();
        if self.abroad.is_empty() {
            return found;
        }
        for process in groups.flat_map(|group| group.members()) {
            if let Some((visit, _)) = self.abroad.met.get(&process.0)
                && !found.iter().any(|other| Arc::ptr_eq(other, visit))
            {
                found.push(visit.clone());
            }
        }
        found
    }

    /// Draws contexts that are free in this job and in all those it has met.
    fn draw_for_all(&self, n: u32) -> Result<u32> {
        let all: Vec<&Universe> =
            std::iter::once(&self.universe).chain(self.abroad.visits.iter().map(|visit| &visit.there)).collect();
        phalanx_shm::common_contexts(&all, n).map_err(|e| shm_error("draw a context", &e))
    }

    /// Tells the hosts of other jobs how far this process has come with its end.
    pub(super) fn tell_hosts(&self, state: SlotState) {
        for visit in &self.abroad.visits {
            visit.there.slot(visit.guest).set_state(state);
        }
    }

    /// Records that fit every ring that this process may use.
    pub(crate) fn most_payload(&self) -> usize {
        let theirs = self.abroad.visits.iter().map(|visit| visit.there.max_payload());
        theirs.fold(self.universe.max_payload(), usize::min)
    }

    /// Whether operations are under way on communicators that have been freed, whoever is in them.
    fn has_orphans(&self) -> bool {
        self.ops.under_way().any(|(_, op)| {
            let ctx = match &op.body {
                Body::Send(send) => send.ctx,
                Body::Recv(recv) => recv.ctx,
                Body::Empty => return false,
            };
            let base = base_of(ctx);
            base >= FIRST_OF_COMMS && self.comms.get(&base).is_none_or(|comm| comm.strong_count() == 0)
        })
    }

    /// Whether somebody of a visit who lives has still to get a record, or to look into a pipe that it fills.
    fn is_awaited(&self, visit: &Visit) -> bool {
        let has_records = |process: ProcId| {
            self.links.get(process.0 as usize).is_some_and(|link| link.as_ref().is_some_and(|link| !link.is_idle()))
        };
        let has_pipe = |process: ProcId| self.left_pipes.iter().any(|pipe| pipe.peer() == process && !pipe.is_over());
        let mut met = visit.met.iter().map(|(process, _)| *process);
        met.any(|process| (has_records(process) || has_pipe(process)) && !self.is_gone_abroad(process))
    }

    /// Whether a guest has left or ended.
    fn is_gone_abroad(&self, guest: ProcId) -> bool {
        let is_dead = || self.universe.process(guest).is_none_or(phalanx_shm::ProcessTag::is_dead);
        self.universe.slot(guest).standing().state == SlotState::Finalized || is_dead()
    }

    /// Ends the visits that no communicator needs any more, and frees the slots of guests that nobody deals with.
    pub(super) fn end_visits(&mut self, all: bool) {
        if !self.abroad.visits.is_empty() && (all || !self.has_orphans()) {
            let visits = std::mem::take(&mut self.abroad.visits);
            let (ended, kept) = visits.into_iter().partition(|visit: &Arc<Visit>| {
                all || Arc::strong_count(visit) == visit.own_holds() && !self.is_awaited(visit)
            });
            self.abroad.visits = kept;
            let ended: Vec<Arc<Visit>> = ended;
            ended.iter().for_each(|visit| self.leave(visit));
        }
        self.see_off_guests();
    }

    /// Lets go of everything that has to do with the processes of a visit.
    fn leave(&mut self, visit: &Visit) {
        for &(process, _) in &visit.met {
            self.forget_process(process);
            self.abroad.met.remove(&process.0);
        }
        visit.there.slot(visit.guest).set_state(SlotState::Finalized);
        let (register, rank) = visit.register;
        self.let_go(register, rank);
    }

    fn let_go(&self, register: Offset, rank: usize) {
        if let Ok(words) = self.universe.words(register, rank + 1) {
            // SYNC POINT visit-left: Release, after this process has let go of its ends of the rings.
            words[rank].store(LEFT, Ordering::Release);
        }
    }

    /// Frees the slots of invited guests that have left or ended, once all their hosts have let go of them.
    fn see_off_guests(&mut self) {
        let mut i = 0;
        while i < self.abroad.invited.len() {
            if !self.is_over(&self.abroad.invited[i]) {
                i += 1;
                continue;
            }
            let Invited { guests, register, .. } = self.abroad.invited.swap_remove(i);
            for guest in guests {
                if self.universe.see_off(guest).is_ok() {
                    self.abroad.vacant.push(guest);
                }
            }
            self.universe.free(register);
        }
    }

    fn is_over(&self, invited: &Invited) -> bool {
        let Ok(words) = self.universe.words(invited.register, invited.hosts.len()) else {
            return false;
        };
        let is_dead = |process: ProcId| self.universe.process(process).is_some_and(phalanx_shm::ProcessTag::is_dead);
        let let_go = |(host, word): (&ProcId, &std::sync::atomic::AtomicU64)| {
            // SYNC POINT visit-left: Acquire, the host's ends of the rings are free when it says so.
            word.load(Ordering::Acquire) == LEFT || is_dead(*host)
        };
        invited.hosts.iter().zip(words).all(let_go) && invited.guests.iter().all(|guest| self.is_gone_abroad(*guest))
    }
}

impl Engine {
    /// Contexts for a communicator; `mixed` when processes of other jobs are in it.
    pub(crate) fn draw_contexts(&self, n: u32, mixed: bool) -> Result<u32> {
        if mixed { self.core().draw_for_all(n) } else { Ok(self.universe().next_contexts(n)) }
    }

    /// Whether processes of other jobs are in a group.
    pub(crate) fn is_mixed(&self, group: &Group) -> bool {
        let core = self.core();
        !core.abroad.is_empty() && group.members().iter().any(|process| core.abroad(*process).is_some())
    }

    /// Who the members of a group are, for processes of any job.
    ///
    /// # Errors
    /// Never seen.
    pub(crate) fn identities(&self, group: &Group) -> Result<Vec<Identity>> {
        let own = self.universe().key().map_err(|e| shm_error("describe this job", &e))?;
        let core = self.core();
        let identity = |process: &ProcId| match core.abroad(*process) {
            Some((visit, there)) => [visit.key, u64::from(there.0)],
            None => [own, u64::from(process.0)],
        };
        Ok(group.members().iter().map(identity).collect())
    }

    /// The processes behind identities, as this process knows them.
    ///
    /// # Errors
    /// Class `Other` for one that this process has not met.
    pub(crate) fn known(&self, identities: &[Identity]) -> Result<Vec<ProcId>> {
        let own = self.universe().key().map_err(|e| shm_error("describe this job", &e))?;
        let core = self.core();
        let known = |[key, slot]: &Identity| {
            let slot = u32::try_from(*slot).map(ProcId).ok();
            if *key == own {
                return slot.filter(|slot| core.universe.has(*slot));
            }
            let visits = core.abroad.visits.iter().filter(|visit| visit.key == *key);
            let mut met = visits.flat_map(|visit| &visit.met);
            met.find(|(_, there)| Some(*there) == slot).map(|(here, _)| *here)
        };
        identities
            .iter()
            .map(|identity| match known(identity) {
                Some(process) => Ok(process),
                None => fail!(
                    Other,
                    "process {} of another job is in the other group, and this process has not met it: groups of several jobs \
                     are made of processes that have accepted and connected together",
                    identity[1]
                ),
            })
            .collect()
    }

    /// Whether the first group comes before the second: both groups of an intercommunicator see that alike.
    pub(crate) fn precedes(&self, first: ProcId, second: ProcId) -> bool {
        {
            let core = self.core();
            if core.abroad(first).is_none() && core.abroad(second).is_none() {
                return first < second;
            }
        }
        let order = |process: ProcId| self.identities(&Group::new(vec![process])).unwrap_or_default();
        order(first) < order(second)
    }

    /// Makes room for guests: a slot for each of these processes of another job, and the register of their hosts, which this
    /// process invites them for.
    ///
    /// # Errors
    /// Class `ProcAborted` for one that is not there; class `NoMem` when slots or memory are short.
    pub(crate) fn invite(&self, there: &Universe, members: &[ProcId], hosts: &Group) -> Result<(Vec<ProcId>, Offset)> {
        self.end_visits();
        let mut core = self.core();
        let universe = core.universe.clone();
        let short = |e: &phalanx_shm::ShmError| {
            Error::new(ErrorClass::NoMem, format!("there is no room for {} guests in this job: {e}", members.len()))
        };
        let register = universe.alloc_zeroed(hosts.size() * 8).map_err(|e| short(&e))?;
        let mut guests = Vec::new();
        let mut invite = |core: &mut Core| {
            for &member in members {
                let tag = Some(member).filter(|p| there.has(*p)).and_then(|p| there.process(p));
                let Some(tag) = tag.filter(|tag| !tag.is_foreign()) else {
                    fail!(ProcAborted, "there is no process {member} in the other job");
                };
                let slot = match core.abroad.vacant.pop() {
                    Some(slot) => slot,
                    None => universe.claim_slots(1).map_err(|e| short(&e))?,
                };
                guests.push(slot);
                if universe.invite(slot, tag).is_err() {
                    fail!(Intern, "the slot {slot} of a guest is another's");
                }
            }
            Ok(())
        };
        let invited = invite(&mut core);
        if let Err(error) = invited {
            for guest in guests {
                if universe.see_off(guest).is_ok() {
                    core.abroad.vacant.push(guest);
                }
            }
            universe.free(register);
            return Err(error);
        }
        let hosts = hosts.members().to_vec();
        core.abroad.invited.push(Invited { guests: guests.clone(), hosts, register });
        Ok((guests, register))
    }

    /// Says for the host of this rank that it has to do nothing with the guests, and never comes to.
    pub(crate) fn let_go(&self, register: Offset, rank: usize) {
        self.core().let_go(register, rank);
    }

    /// Enters another job, as the process of this rank of the group that does so.
    ///
    /// # Errors
    /// Class `Other` when what was told of it cannot be.
    pub(crate) fn enter_job(&self, entry: Entry, rank: usize) -> Result<Arc<Visit>> {
        let Entry { there, guest, met, register } = entry;
        let key = there.key().map_err(|e| shm_error("describe the other job", &e))?;
        let mut core = self.core();
        let is_here = |process: &ProcId| core.universe.has(*process) && *process != core.me;
        if !there.has(guest) || !met.iter().all(|(here, away)| is_here(here) && there.has(*away)) {
            fail!(Other, "the other job tells of processes that there are not");
        }
        let visit = Arc::new(Visit { there, key, guest, met, register: (register, rank) });
        for &(here, away) in &visit.met {
            core.abroad.met.insert(here.0, (visit.clone(), away));
        }
        core.abroad.visits.push(visit.clone());
        // Their rings may be shorter.
        core.eager_limit = core.eager_limit.min(core.most_payload());
        core.set_eager_end();
        Ok(visit)
    }

    /// Ends the visits to other jobs that no communicator needs any more, and frees the slots of guests that have gone.
    pub fn end_visits(&self) {
        let mut core = self.core();
        if !core.abroad.visits.is_empty() || !core.abroad.invited.is_empty() {
            core.end_visits(false);
        }
    }
}
