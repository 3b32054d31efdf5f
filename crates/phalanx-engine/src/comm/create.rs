//! Making communicators out of communicators (MPI 5.0 §7.4).
//!
//! Context ids come from one counter of the universe, so that an id once drawn is nobody else's. A creating
//! collective therefore needs no agreement: one process draws and tells the others, mostly in a message that the operation
//! needs anyway.

use phalanx_shm::ProcId;

use crate::coll::schedule::Plan;
use crate::coll::{Arg, Dst, Team};
use crate::engine::buffer::{RecvBuf, SendBuf};
use crate::error::{Error, ErrorClass, Result, fail};
use crate::group::Group;
use crate::request::Request;
use crate::status::UNDEFINED;

use super::{Comm, CommParts};

/// How far apart drawn context ids are.
pub(super) const CONTEXT_STEP: u32 = 4;

/// A context that belongs to no communicator: for [`Comm::from_group`].
const OPEN_CONTEXT: u32 = 4;

/// What `MPI_Comm_split_type` splits by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SplitType {
    /// Processes that can share memory: here all of them (`MPI_COMM_TYPE_SHARED`).
    Shared,
    /// The next smaller piece of hardware (`MPI_COMM_TYPE_HW_UNGUIDED`).
    HwUnguided,
    /// The hardware named in the info (`MPI_COMM_TYPE_HW_GUIDED`).
    HwGuided,
    /// The resource named in the info (`MPI_COMM_TYPE_RESOURCE_GUIDED`).
    ResourceGuided,
}

impl Comm {
    /// Puts the operation and the communicator before an error.
    pub(crate) fn creating<T>(&self, operation: &str, result: Result<T>) -> Result<T> {
        result.map_err(|e| {
            if e.is_interrupted() {
                e
            } else {
                e.context(format!("{operation} on {} (rank {} of {})", self.title(), self.rank(), self.size()))
            }
        })
    }

    /// Context ids that are free wherever members of this communicator live; the first of `n`.
    pub(super) fn draw_contexts(&self, n: u32) -> Result<u32> {
        self.engine().draw_contexts(n, self.is_mixed())
    }

    /// Context ids drawn by rank 0 of this intracommunicator and told to all; the first of `n`.
    pub(super) fn shared_contexts(&self, n: u32) -> Result<u32> {
        let mut first = [if self.rank() == 0 { self.draw_contexts(n)? } else { 0 }];
        self.bcast(RecvBuf::of(&mut first), 0)?;
        Ok(first[0])
    }

    /// A new intracommunicator of this engine's process.
    pub(crate) fn intra(&self, ctx: u32, rank: usize, group: Group) -> Comm {
        let parts = CommParts { ctx, rank, local: group, remote: None, local_comm: None, name: String::new() };
        Comm::assemble(self.engine(), parts)
    }

    /// A communicator of the same processes with a message space of its own (`MPI_Comm_dup`).
    /// Attributes, error handlers and hints are the concern of the caller; the name is not copied.
    ///
    /// # Errors
    /// As a collective on this communicator.
    pub fn dup(&self) -> Result<Comm> {
        self.creating("Comm_dup", self.dup_unnamed())
    }

    fn dup_unnamed(&self) -> Result<Comm> {
        if self.is_inter() {
            return self.dup_inter();
        }
        let ctx = self.shared_contexts(1)?;
        Ok(self.intra(ctx, self.rank() as usize, self.group().clone()))
    }

    /// Nonblocking [`Comm::dup`] of an intracommunicator: the communicator may be used when the request has completed.
    ///
    /// # Errors
    /// As a nonblocking collective; class `Comm` for an intercommunicator.
    pub fn idup(&self) -> Result<(Comm, Request)> {
        self.creating("Comm_idup", self.idup_unnamed())
    }

    fn idup_unnamed(&self) -> Result<(Comm, Request)> {
        if self.is_inter() {
            return self.idup_inter();
        }
        // The context arrives later: until then the communicator has the impossible context 0.
        let new = self.intra(0, self.rank() as usize, self.group().clone());
        let mut plan = Plan::default();
        let word = plan.bytes(4)?;
        if self.rank() == 0 {
            word.mem.copy_from(&self.draw_contexts(1)?.to_ne_bytes());
        }
        Team::intra(self).bcast(&mut plan, 0, &word);
        plan.fence();
        let late = new.clone();
        plan.call(move || {
            let mut ctx = [0; 4];
            word.mem.copy_to(&mut ctx);
            late.set_ctx(u32::from_ne_bytes(ctx));
            Ok(())
        });
        let request = self.start_plan(plan, "Comm_idup")?;
        Ok((new, request))
    }

    /// Divides the processes by color; in each part they are ordered by key, then by rank here
    /// (`MPI_Comm_split`). `None` for a process whose color is `MPI_UNDEFINED`.
    ///
    /// # Errors
    /// Class `Arg` for a negative color; as a collective on this communicator.
    pub fn split(&self, color: i32, key: i32) -> Result<Option<Comm>> {
        if color < 0 && color != UNDEFINED {
            return self.creating(
                "Comm_split",
                Err(Error::new(
                    ErrorClass::Arg,
                    format!("color {color} is negative; colors are 0 or more, or MPI_UNDEFINED ({UNDEFINED})"),
                )),
            );
        }
        let new = if self.is_inter() { self.split_inter(color, key) } else { self.split_intra(color, key) };
        self.creating("Comm_split", new)
    }

    fn split_intra(&self, color: i32, key: i32) -> Result<Option<Comm>> {
        let n = self.size() as usize;
        // Rank 0 draws as many contexts as there can be colors.
        let first = if self.rank() == 0 { self.draw_contexts(n as u32)? } else { 0 };
        let mut all = vec![0i32; 3 * n];
        self.allgather(Arg::Buf(SendBuf::of(&[color, key, first as i32])), RecvBuf::of(&mut all).into())?;
        if color == UNDEFINED {
            return Ok(None);
        }
        let first = all[2] as u32;
        let members = part_of(&all, 3, color);
        let group = self.group().derived(members.iter().map(|&r| self.group().members()[r]).collect());
        let rank = members.iter().position(|&r| r == self.rank() as usize).unwrap_or(0);
        let ctx = first + CONTEXT_STEP * color_index(&all, 3, color);
        Ok(Some(self.intra(ctx, rank, group)))
    }

    /// Divides by what processes share (`MPI_Comm_split_type`); `None` where no communicator results.
    /// `resource` is the hardware or resource type that the info names.
    ///
    /// # Errors
    /// As [`Comm::split`].
    pub fn split_type(&self, kind: Option<SplitType>, key: i32, resource: Option<&str>) -> Result<Option<Comm>> {
        // All processes of a universe share one machine and its memory. A smaller piece of hardware is not guaranteed to be theirs:
        // ranks may move between cores, so the guided and unguided splits find none, as the standard allows.
        let color = match kind {
            Some(SplitType::Shared) => self.job_color()?,
            Some(SplitType::HwGuided | SplitType::ResourceGuided) if resource == Some("mpi_shared_memory") => {
                self.job_color()?
            }
            _ => UNDEFINED,
        };
        self.creating("Comm_split_type", self.split(color, key))
    }

    /// The first rank of this process's job among all members: 0 where there is one job.
    fn job_color(&self) -> Result<i32> {
        if !self.is_mixed() {
            return Ok(0);
        }
        let mut jobs = self.engine().identities(self.group())?;
        if let Some(remote) = self.remote_group() {
            let (ours, theirs) = (jobs, self.engine().identities(remote)?);
            let is_first = self.engine().precedes(self.group().members()[0], remote.members()[0]);
            jobs = if is_first { [ours, theirs].concat() } else { [theirs, ours].concat() };
        }
        let own = self.engine().identities(&Group::new(vec![self.engine().me()]))?;
        Ok(jobs.iter().position(|job| job[0] == own[0][0]).unwrap_or(0) as i32)
    }

    /// A communicator of the processes in `group`, or none for those outside; all processes of this
    /// communicator call it, each with the group it is to be in (`MPI_Comm_create`).
    ///
    /// # Errors
    /// Class `Group` when a member is not in this communicator; as a collective.
    pub fn create(&self, group: &Group) -> Result<Option<Comm>> {
        let new = if self.is_inter() { self.create_inter(group) } else { self.create_intra(group) };
        self.creating("Comm_create", new)
    }

    fn create_intra(&self, group: &Group) -> Result<Option<Comm>> {
        self.contains(group)?;
        // Groups of different processes may differ if they are disjoint: the context goes by the first member.
        let first = self.shared_contexts(self.size() as u32)?;
        let Some(rank) = group.rank_of(self.engine().me()) else {
            return Ok(None);
        };
        let leader = self.group().rank_of(group.members()[0]).unwrap_or(0);
        Ok(Some(self.intra(first + CONTEXT_STEP * leader as u32, rank, group.clone())))
    }

    /// Checks that all members of `group` are processes of this communicator's local group.
    pub(super) fn contains(&self, group: &Group) -> Result<()> {
        match group.members().iter().position(|p| self.group().rank_of(*p).is_none()) {
            Some(at) => fail!(
                Group,
                "rank {at} of the group (process {}) is not in the communicator; a new communicator can only have its members",
                group.members()[at].0
            ),
            None => Ok(()),
        }
    }

    /// A communicator of the processes in `group`, which alone call it, with the same `tag`
    /// (`MPI_Comm_create_group`). Threads may do this at the same time with different tags.
    ///
    /// # Errors
    /// Class `Group` when a member is not in this communicator or the caller is not in the group; class `Tag`.
    pub fn create_group(&self, group: &Group, tag: i32) -> Result<Option<Comm>> {
        let make = || {
            self.contains(group)?;
            if tag < 0 {
                fail!(Tag, "tag {tag} is negative; tags are 0 to MPI_TAG_UB");
            }
            self.agree_in(group, self.ctx() + 2, tag)
        };
        self.creating("Comm_create_group", make())
    }

    /// A communicator of the processes in `group`, which need no other communicator in common; all
    /// of them call it with the same `label` (`MPI_Comm_create_from_group`).
    ///
    /// # Errors
    /// Class `Group` when the caller is not in the group; interruption.
    pub fn from_group(engine: &crate::engine::Engine, group: &Group, label: &str) -> Result<Comm> {
        // FNV-1a: groups whose labels collide would have to be made by the same processes at the same time.
        let hash = label.bytes().fold(0x811c_9dc5u32, |h, b| (h ^ u32::from(b)).wrapping_mul(0x0100_0193));
        let me = engine.self_comm();
        let made = me.agree_in(group, OPEN_CONTEXT, (hash & i32::MAX as u32) as i32);
        match made.map_err(|e| e.context(format!("Comm_create_from_group '{label}'")))? {
            Some(comm) => Ok(comm),
            None => fail!(Group, "Comm_create_from_group '{label}': the calling process is not in the group"),
        }
    }

    /// The first process of `group` draws a context and sends it to the others in context `via`.
    fn agree_in(&self, group: &Group, via: u32, tag: i32) -> Result<Option<Comm>> {
        let Some(rank) = group.rank_of(self.engine().me()) else {
            return Ok(None);
        };
        let engine = self.engine();
        let mut ctx = [if rank == 0 { engine.draw_contexts(1, engine.is_mixed(group))? } else { 0 }];
        let mut plan = Plan::default();
        Team::new(group, via, rank).bcast(&mut plan, 0, &Dst::of(&mut ctx));
        self.run_plan(plan, "Comm_create_group", tag)?;
        Ok(Some(self.intra(ctx[0], rank, group.clone())))
    }

    /// Releases the caller's handle (`MPI_Comm_free`): operations under way finish, and the communicator
    /// goes when the last of them has.
    pub fn free(self) {
        self.mark_freed();
    }

    /// Waits until all members have called it, then frees (`MPI_Comm_disconnect`).
    ///
    /// # Errors
    /// As a barrier.
    pub fn disconnect(self) -> Result<()> {
        let engine = self.engine().clone();
        let left = self.creating("Comm_disconnect", self.barrier());
        self.free();
        engine.end_visits();
        left
    }
}

/// The ranks with `color` in a table of rows (color, key, ...), ordered by key, then rank.
pub(super) fn part_of(table: &[i32], row: usize, color: i32) -> Vec<usize> {
    let rows = table.chunks_exact(row).enumerate();
    let mut part: Vec<(i32, usize)> = rows.filter(|(_, r)| r[0] == color).map(|(rank, r)| (r[1], rank)).collect();
    part.sort_unstable();
    part.into_iter().map(|(_, rank)| rank).collect()
}

/// How many different smaller colors the table has.
pub(super) fn color_index(table: &[i32], row: usize, color: i32) -> u32 {
    let mut smaller: Vec<i32> = table.chunks_exact(row).map(|r| r[0]).filter(|&c| c >= 0 && c < color).collect();
    smaller.sort_unstable();
    smaller.dedup();
    smaller.len() as u32
}

/// Members of two groups, one after the other.
pub(super) fn joined(first: &Group, second: &Group) -> Vec<ProcId> {
    first.members().iter().chain(second.members()).copied().collect()
}
