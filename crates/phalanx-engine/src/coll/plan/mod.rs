//! How each operation becomes a plan.
//!
//! On one machine the cost of a collective is the number of messages and of context switches, not the
//! depth of a tree: a message costs its receiver a fraction of a microsecond, and large data moves once,
//! straight between the users' buffers, whoever sends it. So the plans are flat where trees would win on a
//! network, and trees only where one rank would otherwise have to send very many small messages.
//!
//! All ranks must choose the same algorithm, so a choice depends only on what the standard makes equal on all of
//! them: the number of ranks, the operation, and the bytes of a block where they are the same everywhere.

mod exchange;
mod fanout;
mod inter;
mod neighbours;
mod prefix;
mod reduction;

use crate::comm::Comm;
use crate::datatype::{Basic, Datatype};
use crate::error::Result;
use crate::group::Group;

use super::call::{Body, Call, Root};
use super::memory;
use super::schedule::{Dst, Peer, Plan, Src};

/// Bytes up to which a message is "small": its cost is that of a message, not of its data.
const SMALL: usize = 4096;

/// How many messages a rank keeps under way in each direction when it talks to everybody.
const WINDOW: usize = 64;

/// The ranks that a part of an operation runs among, and the context of their messages.
#[derive(Clone, Copy)]
pub(crate) struct Team<'a> {
    group: &'a Group,
    ctx: u32,
    /// My rank in the group; for the remote group of an intercommunicator it is not used.
    pub(crate) me: usize,
}

impl<'a> Team<'a> {
    /// The processes of a group, one of which is this one with rank `me`, talking in context `ctx`.
    pub(crate) fn new(group: &'a Group, ctx: u32, me: usize) -> Team<'a> {
        Team { group, ctx, me }
    }

    /// Copies `buf` from `root` to all.
    pub(crate) fn bcast(&self, plan: &mut Plan, root: usize, buf: &Dst) {
        fanout::bcast(plan, self, root, buf);
    }

    /// The ranks of an intracommunicator.
    pub(crate) fn intra(comm: &'a Comm) -> Team<'a> {
        Team { group: comm.group(), ctx: comm.ctx() + 1, me: comm.rank() as usize }
    }

    /// The ranks of the local group of an intercommunicator, among themselves.
    pub(crate) fn local(comm: &'a Comm) -> Team<'a> {
        let ctx = comm.local_comm().map_or(comm.ctx(), Comm::ctx) + 3;
        Team { group: comm.group(), ctx, me: comm.rank() as usize }
    }

    /// The ranks of the remote group of an intercommunicator.
    pub(crate) fn remote(comm: &'a Comm) -> Team<'a> {
        Team { group: comm.peers(), ctx: comm.ctx() + 1, me: comm.rank() as usize }
    }

    /// Number of ranks.
    pub(crate) fn size(&self) -> usize {
        self.group.size()
    }

    /// The process at `rank`.
    pub(crate) fn peer(&self, rank: usize) -> Peer {
        Peer { proc: self.group.members()[rank], rank: rank as i32, ctx: self.ctx }
    }

    /// The other ranks, beginning after me: so that not everybody turns to the same rank first.
    pub(crate) fn others(&self) -> impl Iterator<Item = usize> + use<> {
        let (me, n) = (self.me, self.size());
        (1..n).map(move |i| (me + i) % n)
    }
}

/// A message without data.
fn nothing() -> Dst {
    memory::empty(Datatype::predefined(Basic::Byte))
}

/// The data to contribute: the send buffer, or in place what lies in the receive buffer.
fn contribution(send: Option<&Src>, recv: &Dst) -> Src {
    send.cloned().unwrap_or_else(|| recv.src())
}

/// Writes this rank's part of the operation.
///
/// # Errors
/// Memory for intermediate results is short.
pub(crate) fn plan(comm: &Comm, call: &Call) -> Result<Plan> {
    let mut plan = Plan::default();
    if comm.is_inter() {
        inter::plan(&mut plan, comm, call)?;
        return Ok(plan);
    }
    let team = Team::intra(comm);
    let rank_of = |root: Root| match root {
        Root::Rank(r) => r,
        Root::Here | Root::Elsewhere => team.me,
    };
    let p = &mut plan;
    match &call.body {
        Body::Barrier => fanout::barrier(p, &team),
        Body::Bcast { buf, root } => fanout::bcast(p, &team, rank_of(*root), buf),
        Body::Gather { send, recv, root } => {
            fanout::gather(p, &team, rank_of(*root), send.as_ref(), recv.as_ref());
        }
        Body::Scatter { send, recv, root } => {
            fanout::scatter(p, &team, rank_of(*root), send.as_ref(), recv.as_ref());
        }
        Body::Allgather { send, recv } => exchange::allgather(p, &team, send.as_ref(), recv),
        Body::Alltoall { send, recv } => exchange::alltoall(p, &team, send.as_ref(), recv)?,
        Body::Reduce { send, recv, op, root } => {
            reduction::reduce(p, &team, rank_of(*root), send.as_ref(), recv.as_ref(), op)?;
        }
        Body::Allreduce { send, recv, op } => reduction::allreduce(p, &team, send.as_ref(), recv, op)?,
        Body::ReduceScatter { send, recv, counts, op } => {
            reduction::reduce_scatter(p, &team, send.as_ref(), recv, counts, op)?;
        }
        Body::Scan { send, recv, op, exclusive: false } => prefix::scan(p, &team, send.as_ref(), recv, op)?,
        Body::Scan { send, recv, op, exclusive: true } => prefix::exscan(p, &team, send.as_ref(), recv, op)?,
        Body::Neighbours { around, send, recv } => neighbours::exchange(p, &team, around, send, recv),
    }
    Ok(plan)
}
