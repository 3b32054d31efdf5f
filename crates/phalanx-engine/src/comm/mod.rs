//! Communicators: what they are and what can be asked of them (MPI 5.0 §7). How they are made is
//! in the sibling modules.

mod agree;
pub mod create;
pub(crate) mod inter;

use std::sync::atomic::{AtomicU8, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use phalanx_shm::ProcId;

use crate::coll::CollState;
use crate::engine::{Engine, Visit};
use crate::error::{Error, ErrorClass, Result};
use crate::fault::FaultState;
use crate::group::{Comparison, Group};
use crate::pt2pt::buffered::Attached;
use crate::pt2pt::partitioned::Tags;

/// A communicator: an ordered set of processes with a message space of its own.
///
/// Cloning gives another handle to the same communicator.
#[derive(Clone)]
pub struct Comm(pub(crate) Arc<CommInner>);

/// What a communicator is made of, for the collectives that create one.
pub struct CommParts {
    /// Context of point-to-point messages; +1 is for collectives, +2 for communicator creation.
    pub ctx: u32,
    /// My rank in `local`.
    pub rank: usize,
    /// The group of the caller.
    pub local: Group,
    /// The other group, for an intercommunicator.
    pub remote: Option<Group>,
    /// For an intercommunicator: an intracommunicator over `local`, used by its collectives.
    pub local_comm: Option<Comm>,
    /// Initial name (`MPI_Comm_get_name`).
    pub name: String,
}

pub(crate) struct CommInner {
    pub(crate) engine: Engine,
    /// 0 while a nonblocking duplication has not agreed on it.
    ctx: AtomicU32,
    /// See [`Comm::serve`]; 0 while there is none.
    serves: AtomicU32,
    pub(crate) rank: i32,
    pub(crate) local: Group,
    pub(crate) remote: Option<Group>,
    pub(crate) local_comm: Option<Comm>,
    name: Mutex<String>,
    /// See [`Comm::belongs_to`].
    owner: OnceLock<String>,
    /// [`FREED`] and [`REVOKED`]: one look for whatever begins.
    flags: AtomicU8,
    pub(crate) coll: CollState,
    pub(crate) attached: Mutex<Attached>,
    /// Tags of the partitions of partitioned sends.
    pub(crate) partitions: Mutex<Tags>,
    pub(crate) fault: FaultState,
    /// The other jobs to which members belong, or those of the intercommunicator whose local one this is.
    visits: Vec<Arc<Visit>>,
    /// The remote group of the intercommunicator whose local one this is.
    pub(crate) others: Option<Group>,
}

/// The user has freed the communicator.
const FREED: u8 = 1;
/// A member has revoked it.
const REVOKED: u8 = 2;

impl Comm {
    /// Puts a communicator together. The caller has agreed with all members on `parts.ctx`.
    pub fn assemble(engine: &Engine, parts: CommParts) -> Comm {
        Comm::assemble_beside(engine, parts, None)
    }

    /// As [`Comm::assemble`], for the local one of an intercommunicator with `others`.
    pub(crate) fn assemble_beside(engine: &Engine, parts: CommParts, others: Option<Group>) -> Comm {
        let visits = engine.core().visits_of([&parts.local].into_iter().chain(&parts.remote).chain(&others));
        let comm = Comm(Arc::new(CommInner {
            engine: engine.clone(),
            ctx: AtomicU32::new(0),
            serves: AtomicU32::new(0),
            rank: parts.rank as i32,
            local: parts.local,
            remote: parts.remote,
            local_comm: parts.local_comm,
            name: Mutex::new(parts.name),
            owner: OnceLock::new(),
            flags: AtomicU8::new(0),
            coll: CollState::default(),
            attached: Mutex::default(),
            partitions: Mutex::default(),
            fault: FaultState::default(),
            visits,
            others,
        }));
        comm.set_ctx(parts.ctx);
        comm
    }

    /// Rank of the calling process in its (local) group.
    pub fn rank(&self) -> i32 {
        self.0.rank
    }

    /// Number of processes in the (local) group.
    pub fn size(&self) -> i32 {
        self.0.local.size() as i32
    }

    /// Number of processes in the remote group (0 for an intracommunicator).
    pub fn remote_size(&self) -> i32 {
        self.0.remote.as_ref().map_or(0, |g| g.size() as i32)
    }

    /// Whether this is an intercommunicator.
    pub fn is_inter(&self) -> bool {
        self.0.remote.is_some()
    }

    /// Whether processes of several jobs are in it.
    pub(crate) fn is_mixed(&self) -> bool {
        !self.0.visits.is_empty()
    }

    /// Refuses what needs the memory that the processes of one job share.
    ///
    /// # Errors
    /// Class `UnsupportedOperation` when processes of other jobs are members.
    pub(crate) fn within_one_job(&self, what: &str) -> Result<()> {
        if self.is_mixed() {
            return Err(Error::new(
                ErrorClass::UnsupportedOperation,
                format!("processes of several jobs are in {}, and {what}", self.title()),
            ));
        }
        Ok(())
    }

    /// The (local) group.
    pub fn group(&self) -> &Group {
        &self.0.local
    }

    /// The remote group of an intercommunicator.
    pub fn remote_group(&self) -> Option<&Group> {
        self.0.remote.as_ref()
    }

    /// For an intercommunicator: the intracommunicator over its local group.
    pub fn local_comm(&self) -> Option<&Comm> {
        self.0.local_comm.as_ref()
    }

    /// The group that ranks in point-to-point calls refer to: remote if there is one, else local.
    pub fn peers(&self) -> &Group {
        self.0.remote.as_ref().unwrap_or(&self.0.local)
    }

    /// Context id of point-to-point messages; +1 collectives, +2 communicator creation, +3 reserved.
    pub fn ctx(&self) -> u32 {
        self.0.ctx.load(Ordering::Relaxed)
    }

    /// Gives the communicator its context, once it is known.
    pub(crate) fn set_ctx(&self, ctx: u32) {
        self.0.ctx.store(ctx, Ordering::Relaxed);
        if ctx != 0 {
            let mut core = self.engine().core();
            core.register(ctx, Arc::downgrade(&self.0));
            // Another member may have revoked it before this one had it.
            core.hear_of(&self.0);
        }
    }

    /// The engine of the calling process.
    pub fn engine(&self) -> &Engine {
        &self.0.engine
    }

    /// The name (`MPI_Comm_get_name`).
    pub fn name(&self) -> String {
        self.0.name.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// How texts call it: "communicator 'name'", or "unnamed communicator 12" with its context.
    pub fn title(&self) -> String {
        self.0.title()
    }

    /// Sets the name (`MPI_Comm_set_name`).
    pub fn set_name(&self, name: impl Into<String>) {
        *self.0.name.lock().unwrap_or_else(PoisonError::into_inner) = name.into();
    }

    /// Says what has it for its own messages, a window or a file: texts speak of that.
    pub(crate) fn belongs_to(&self, owner: String) {
        let _ = self.0.owner.set(owner);
    }

    /// Says that its messages are those of another communicator's collective operations.
    pub fn serve(&self, other: &Comm) {
        self.0.serves.store(other.ctx(), Ordering::Relaxed);
    }

    /// Marks the communicator as freed by the user: later operations on it are errors;
    /// those under way finish.
    pub fn mark_freed(&self) {
        self.0.flags.fetch_or(FREED, Ordering::Relaxed);
    }

    /// Whether [`Comm::mark_freed`] has been called.
    pub fn is_freed(&self) -> bool {
        self.0.flags.load(Ordering::Relaxed) & FREED != 0
    }

    /// Whether nothing may begin on it any more: it has been freed or revoked.
    #[inline]
    pub(crate) fn is_unusable(&self) -> bool {
        self.0.flags.load(Ordering::Relaxed) != 0
    }

    /// Why nothing may begin on it.
    #[cold]
    pub(crate) fn unusable(&self) -> Error {
        if self.is_freed() {
            let text = format!("{} has been freed; create or duplicate another", self.title());
            return Error::new(ErrorClass::Comm, text);
        }
        self.0.revoked_error()
    }

    /// Compares two communicators (`MPI_Comm_compare`).
    pub fn compare(&self, other: &Comm) -> Comparison {
        if self.ctx() == other.ctx() {
            return Comparison::Ident;
        }
        let relation = |a: &Group, b: &Group| match a.compare(b) {
            Comparison::Ident => Comparison::Congruent,
            other => other,
        };
        let local = relation(self.group(), other.group());
        match (self.remote_group(), other.remote_group()) {
            (None, None) => local,
            (Some(a), Some(b)) => {
                let remote = relation(a, b);
                remote.max(local)
            }
            _ => Comparison::Unequal,
        }
    }

    /// The process behind a peer rank, or an error that names the valid range.
    ///
    /// # Errors
    /// Class `Rank` when `rank` is not a rank of the peer group.
    pub fn peer(&self, rank: i32) -> Result<ProcId> {
        match usize::try_from(rank).ok().and_then(|r| self.peers().get(r)) {
            Some(p) => Ok(p),
            None => Err(self.bad_rank(rank)),
        }
    }

    #[cold]
    fn bad_rank(&self, rank: i32) -> Error {
        let n = self.peers().size();
        let what = if self.is_inter() { "the remote group of " } else { "" };
        Error::new(
            ErrorClass::Rank,
            format!(
                "rank {rank} does not exist in {what}{} of {n} processes (valid: 0 to {})",
                self.title(),
                n as i64 - 1
            ),
        )
    }
}

impl CommInner {
    /// Context id of point-to-point messages.
    pub(crate) fn context(&self) -> u32 {
        self.ctx.load(Ordering::Relaxed)
    }

    /// The context of the communicator whose collective operations have their messages here.
    pub(crate) fn served(&self) -> Option<u32> {
        Some(self.serves.load(Ordering::Relaxed)).filter(|context| *context != 0)
    }

    /// Whether this process has heard that a member has revoked the communicator.
    pub(crate) fn is_revoked(&self) -> bool {
        self.flags.load(Ordering::Relaxed) & REVOKED != 0
    }

    pub(crate) fn mark_revoked(&self) {
        self.flags.fetch_or(REVOKED, Ordering::Relaxed);
    }

    /// How texts call it: as what it belongs to, by its name in quotes, or by its context where it has no name.
    pub(crate) fn title(&self) -> String {
        if let Some(owner) = self.owner.get() {
            return owner.clone();
        }
        let name = self.name.lock().unwrap_or_else(PoisonError::into_inner);
        match name.as_str() {
            "" => format!("unnamed communicator {}", self.ctx.load(Ordering::Relaxed)),
            name => format!("communicator '{name}'"),
        }
    }
}
