//! Intercommunicators: making, copying, dividing, merging (MPI 5.0 §7.6).
//!
//! An intercommunicator has a context of its own and, for each of its groups, an intracommunicator that only the
//! engine uses. Of the two groups the one whose first process has the smaller [`ProcId`](phalanx_shm::ProcId) is the *low* one (where
//! they are of different jobs: that of the job whose segment has the smaller number); its rank 0 draws the contexts: the shared one, then one for the low group, then one for the high group.

use crate::coll::schedule::Plan;
use crate::coll::{Arg, Dst, Team};
use crate::engine::Identity;
use crate::engine::buffer::{RecvBuf, SendBuf};
use crate::error::{Error, ErrorClass, Result, fail};
use crate::group::Group;
use crate::request::Request;
use crate::status::UNDEFINED;

use super::create::{CONTEXT_STEP, color_index, joined, part_of};
use super::{Comm, CommParts};

/// Contexts that an intercommunicator uses.
pub(crate) const CONTEXTS: u32 = 3;

/// A word as two, lower half first.
pub(crate) fn halves(word: u64) -> [u32; 2] {
    [word as u32, (word >> 32) as u32]
}

/// The word of two halves.
pub(crate) fn whole(low: u32, high: u32) -> u64 {
    u64::from(low) | u64::from(high) << 32
}

impl Comm {
    /// An intercommunicator of this process from contexts beginning at `first`.
    pub(crate) fn inter(&self, first: u32, rank: usize, local: Group, remote: Group) -> Comm {
        let low = self.engine().precedes(local.members()[0], remote.members()[0]);
        let own = first + CONTEXT_STEP * if low { 1 } else { 2 };
        let local_parts =
            CommParts { ctx: own, rank, local: local.clone(), remote: None, local_comm: None, name: String::new() };
        let local_comm = Some(Comm::assemble_beside(self.engine(), local_parts, Some(remote.clone())));
        let parts = CommParts { ctx: first, rank, local, remote: Some(remote), local_comm, name: String::new() };
        Comm::assemble(self.engine(), parts)
    }

    /// The two groups of an intercommunicator.
    fn both(&self) -> Result<(&Comm, &Group)> {
        match (self.local_comm(), self.remote_group()) {
            (Some(local), Some(remote)) => Ok((local, remote)),
            _ => fail!(Comm, "{} is not an intercommunicator", self.title()),
        }
    }

    /// Whether this process is in the low group.
    fn is_low(&self) -> bool {
        self.engine().precedes(self.group().members()[0], self.peers().members()[0])
    }

    /// Contexts drawn for both groups: the first of `n`. Every rank of one group tells every rank of the other, so that no local round is needed:
    /// `mine` travels along, and what all remote ranks said comes back.
    fn inter_exchange<const N: usize>(&self, n: u32, mine: [i32; N]) -> Result<(u32, Vec<[i32; N]>)> {
        let (local, remote) = self.both()?;
        // The draw is made by rank 0 of the low group; first its group hears of it, then everybody hears it from there.
        let low = self.is_low();
        let drawn = if low && self.rank() == 0 { self.draw_contexts(n)? } else { 0 };
        let mut send = mine.to_vec();
        send.push(drawn as i32);
        let mut all = vec![0i32; (N + 1) * remote.size()];
        self.allgather(Arg::Buf(SendBuf::of(&send)), RecvBuf::of(&mut all).into())?;
        let mut first = [if low { drawn } else { all[N] as u32 }];
        if low {
            local.bcast(RecvBuf::of(&mut first), 0)?;
        }
        let rows = all.chunks_exact(N + 1).map(|row| std::array::from_fn(|i| row[i])).collect();
        Ok((first[0], rows))
    }

    pub(super) fn dup_inter(&self) -> Result<Comm> {
        let (_, remote) = self.both()?;
        let (first, _) = self.inter_exchange(CONTEXTS, [])?;
        Ok(self.inter(first, self.rank() as usize, self.group().clone(), remote.clone()))
    }

    pub(super) fn idup_inter(&self) -> Result<(Comm, Request)> {
        let (_, remote) = self.both()?;
        let new = self.inter(0, self.rank() as usize, self.group().clone(), remote.clone());
        let own = CONTEXT_STEP * if self.is_low() { 1 } else { 2 };
        let mut plan = Plan::default();
        let word = plan.bytes(4)?;
        let (local, other) = (Team::local(self), Team::remote(self));
        if self.rank() == 0 {
            if self.is_low() {
                word.mem.copy_from(&self.draw_contexts(CONTEXTS)?.to_ne_bytes());
                plan.send(other.peer(0), word.src());
            } else {
                plan.recv(other.peer(0), word.clone());
            }
            plan.fence();
        }
        local.bcast(&mut plan, 0, &word);
        plan.fence();
        let late = new.clone();
        plan.call(move || {
            let mut ctx = [0; 4];
            word.mem.copy_to(&mut ctx);
            let first = u32::from_ne_bytes(ctx);
            if let Some(local) = late.local_comm() {
                local.set_ctx(first + own);
            }
            late.set_ctx(first);
            Ok(())
        });
        let request = self.start_plan(plan, "Comm_idup")?;
        Ok((new, request))
    }

    pub(super) fn split_inter(&self, color: i32, key: i32) -> Result<Option<Comm>> {
        let (local, remote) = self.both()?;
        let mut ours = vec![0i32; 2 * self.size() as usize];
        local.allgather(Arg::Buf(SendBuf::of(&[color, key])), RecvBuf::of(&mut ours).into())?;
        let most = CONTEXTS * (self.size() + self.remote_size()) as u32;
        let (first, theirs) = self.inter_exchange(most, [color, key])?;
        if color == UNDEFINED {
            return Ok(None);
        }
        let theirs: Vec<i32> = theirs.into_iter().flatten().collect();
        let (mine, others) = (part_of(&ours, 2, color), part_of(&theirs, 2, color));
        if others.is_empty() {
            return Ok(None);
        }
        let group = |from: &Group, ranks: &[usize]| from.derived(ranks.iter().map(|&r| from.members()[r]).collect());
        let rank = mine.iter().position(|&r| r == self.rank() as usize).unwrap_or(0);
        let all: Vec<i32> = ours.iter().chain(&theirs).copied().collect();
        let first = first + CONTEXT_STEP * CONTEXTS * color_index(&all, 2, color);
        Ok(Some(self.inter(first, rank, group(self.group(), &mine), group(remote, &others))))
    }

    pub(super) fn create_inter(&self, group: &Group) -> Result<Option<Comm>> {
        self.contains(group)?;
        let (_, remote) = self.both()?;
        let position = group.rank_of(self.engine().me());
        let most = CONTEXTS * self.size().max(self.remote_size()) as u32;
        let (first, theirs) = self.inter_exchange(most, [position.map_or(-1, |r| r as i32)])?;
        let mut others: Vec<(i32, usize)> =
            theirs.iter().enumerate().filter(|(_, p)| p[0] >= 0).map(|(rank, p)| (p[0], rank)).collect();
        others.sort_unstable();
        let others: Vec<_> = others.into_iter().map(|(_, rank)| remote.members()[rank]).collect();
        match position {
            Some(rank) if !others.is_empty() => Ok(Some(self.inter(first, rank, group.clone(), Group::new(others)))),
            _ => Ok(None),
        }
    }

    /// Joins this intracommunicator with a disjoint one to an intercommunicator (`MPI_Intercomm_create`).
    /// `peer` matters at `local_leader` only: there it is a communicator in which `remote_leader` is
    /// the other group's leader; both use the same `tag`.
    ///
    /// # Errors
    /// Class `Comm`, `Rank` or `Tag` for wrong arguments; class `Comm` when the groups overlap.
    pub fn intercomm_create(
        &self,
        local_leader: i32,
        peer: Option<&Comm>,
        remote_leader: i32,
        tag: i32,
    ) -> Result<Comm> {
        let meet = || self.meet(peer, remote_leader, tag);
        self.creating("Intercomm_create", self.meeting(local_leader, (ErrorClass::Rank, "local leader"), meet))
    }

    /// An intercommunicator with the group that `meet`, at the leader, finds: the first context and the remote members.
    /// A leader that does not exist is an error of that class, which calls it by that title.
    pub(crate) fn meeting(
        &self,
        leader: i32,
        (class, title): (ErrorClass, &str),
        meet: impl FnOnce() -> Result<(u32, Vec<Identity>)>,
    ) -> Result<Comm> {
        if self.is_inter() {
            fail!(
                Comm,
                "{} is an intercommunicator; the local communicator must be an intracommunicator",
                self.title()
            );
        }
        if leader < 0 || leader >= self.size() {
            let wrong = format!("{title} {leader} does not exist in a communicator of {} processes", self.size());
            return Err(Error::new(class, wrong));
        }
        let met = self.told_by(leader, || {
            let (first, members) = meet()?;
            Ok([vec![first], members.iter().flatten().flat_map(|word| halves(*word)).collect()].concat())
        })?;
        let Some((&first, members)) = met.split_first() else { fail!(Intern, "a meeting without a context") };
        let members: Vec<Identity> = members.chunks_exact(4).map(|w| [whole(w[0], w[1]), whole(w[2], w[3])]).collect();
        let met = self.engine().known(&members);
        // Where several jobs are concerned, some may know a process that others do not.
        let own = self.engine().identities(&Group::new(vec![self.engine().me()]))?[0][0];
        let several = self.is_mixed() || members.iter().any(|member| member[0] != own);
        let remote = Group::new(if several { self.settle(title, met)? } else { met? });
        self.apart_from(&remote)?;
        Ok(self.inter(first, self.rank() as usize, self.group().clone(), remote))
    }

    /// Refuses a remote group that has members of the local one.
    pub(crate) fn apart_from(&self, remote: &Group) -> Result<()> {
        if let Some(p) = remote.members().iter().find(|p| self.group().rank_of(**p).is_some()) {
            fail!(Comm, "process {} is in both groups; the groups of an intercommunicator must be disjoint", p.0);
        }
        Ok(())
    }

    /// The leaders tell each other their groups: the first context and the remote members.
    pub(crate) fn meet(&self, peer: Option<&Comm>, remote_leader: i32, tag: i32) -> Result<(u32, Vec<Identity>)> {
        let Some(peer) = peer else { fail!(Comm, "the local leader needs a peer communicator") };
        if tag < 0 {
            fail!(Tag, "tag {tag} is negative; tags are 0 to MPI_TAG_UB");
        }
        peer.peer(remote_leader)?;
        let ours = self.engine().identities(self.group())?;
        let drawn = self.engine().draw_contexts(CONTEXTS, self.is_mixed() || peer.is_mixed())?;
        let team = Team::new(peer.peers(), peer.ctx() + 3, peer.rank() as usize);
        let other = team.peer(remote_leader as usize);

        let mut send = [drawn, ours.len() as u32];
        let mut head = [0u32; 2];
        let mut plan = Plan::default();
        plan.send(other, Dst::of(&mut send).src());
        plan.recv(other, Dst::of(&mut head));
        peer.run_plan(plan, "Intercomm_create", tag)?;

        let mut theirs = vec![0u64; 2 * head[1] as usize];
        let mut sent = ours.concat();
        let mut plan = Plan::default();
        plan.send(other, Dst::of(&mut sent).src());
        plan.recv(other, Dst::of(&mut theirs));
        peer.run_plan(plan, "Intercomm_create", tag)?;
        let theirs: Vec<Identity> = theirs.chunks_exact(2).map(|w| [w[0], w[1]]).collect();
        let first = if ours.first() < theirs.first() { drawn } else { head[0] };
        Ok((first, theirs))
    }

    /// Makes one group of both (`MPI_Intercomm_merge`). The group that says `high` comes second; when both
    /// say the same, the one with the smaller first process comes first.
    ///
    /// # Errors
    /// As a collective on this intercommunicator.
    pub fn intercomm_merge(&self, high: bool) -> Result<Comm> {
        self.creating("Intercomm_merge", self.merge(high))
    }

    fn merge(&self, high: bool) -> Result<Comm> {
        let (_, remote) = self.both()?;
        let (ctx, theirs) = self.inter_exchange(1, [i32::from(high)])?;
        let other_high = theirs.first().is_some_and(|h| h[0] != 0);
        let second = if high == other_high { !self.is_low() } else { high };
        let (group, before) =
            if second { (joined(remote, self.group()), remote.size()) } else { (joined(self.group(), remote), 0) };
        Ok(self.intra(ctx, before + self.rank() as usize, self.group().derived(group)))
    }
}
