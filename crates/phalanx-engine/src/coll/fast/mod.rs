//! Blocking operations on intracommunicators through shared memory.
//!
//! Each communicator has two areas in the universe's heap (see `area` for their protocol), one for small and one for large data, each
//! made at the first operation that needs it. Data goes in and out by copies: small data in one step, large data in chunks
//! that stay in the cache. A rank waits as in every blocking call, making progress for its peers.
//!
//! Whether an operation goes this way depends only on what all ranks know alike: the kind of the
//! operation, the bytes of a block, and for reductions whether the type is dense.

mod area;
mod moving;
mod reducing;

use std::sync::TryLockError;

use crate::comm::Comm;
use crate::engine::buffer::RecvBuf;
use crate::error::{Result, fail};

use super::call::{Body, Call, Kind, Root};
use super::plan;
use super::schedule::{Dst, Src};
use area::{Area, Counters, Identity, Layout, Steps};

/// This process's view of a communicator's areas.
#[derive(Default)]
pub(crate) struct Local {
    small: Tier,
    large: Tier,
}

/// One of the areas.
#[derive(Default)]
struct Tier {
    area: AreaState,
    counters: Counters,
}

#[derive(Default)]
enum AreaState {
    /// No operation has asked for it yet.
    #[default]
    Unmade,
    /// There was no room for it.
    Absent,
    Ready(Area),
    /// An operation was interrupted in the middle: the counters are not to be trusted any more.
    Broken,
}

/// Carries out the call if it is one for shared memory.
pub(super) fn run(comm: &Comm, call: &Call) -> Option<Result<()>> {
    if comm.is_inter() || comm.size() < 2 {
        return None;
    }
    let n = comm.size() as usize;
    let (small, large) = (Layout::small(n), Layout::large(n));
    let (id, fits) = eligible(comm, call, small, large)?;
    let state = comm.coll();
    let mut local = match state.fast.try_lock() {
        Ok(local) => local,
        Err(TryLockError::Poisoned(local)) => local.into_inner(),
        Err(TryLockError::WouldBlock) => return Some(concurrent()),
    };
    let (tier, layout) = if fits { (&mut local.small, small) } else { (&mut local.large, large) };
    let Tier { area, counters } = tier;
    if matches!(area, AreaState::Unmade) {
        match make(comm, layout) {
            Ok(made) => *area = made,
            Err(e) => return Some(Err(e)),
        }
    }
    let ready = match area {
        AreaState::Ready(ready) => ready,
        AreaState::Broken => return Some(broken()),
        AreaState::Unmade | AreaState::Absent => return None,
    };
    let done = Steps::begin(comm, ready, counters, id).and_then(|mut steps| perform(&mut steps, call));
    if let Err(e) = &done
        && e.is_interrupted()
    {
        *area = AreaState::Broken;
    }
    Some(done)
}

#[cold]
fn concurrent() -> Result<()> {
    fail!(
        Other,
        "another thread is in a blocking collective on this communicator; threads need communicators of their own (Dup)"
    )
}

#[cold]
fn broken() -> Result<()> {
    fail!(
        Other,
        "an earlier collective on this communicator was interrupted, so the ranks are no longer in step; use another communicator"
    )
}

/// Rank 0 makes the area and tells the others where it is.
fn make(comm: &Comm, layout: Layout) -> Result<AreaState> {
    let universe = comm.engine().universe();
    let made = if comm.rank() == 0 { Area::make(universe, layout) } else { None };
    let mut at = [made.as_ref().map_or(0, Area::position)];
    let call = Call::bcast(comm, RecvBuf::of(&mut at), 0)?;
    comm.run_plan(plan::plan(comm, &call)?, "Bcast", comm.coll().next_tag())?;
    let area = match made {
        Some(made) => Some(made),
        None if at[0] == 0 => None,
        None => Area::join(universe, at[0], layout),
    };
    Ok(area.map_or(AreaState::Absent, AreaState::Ready))
}

/// What the ranks must agree on, and whether the small area holds the data in a step or two; `None` when the call
/// does not go through shared memory.
fn eligible(comm: &Comm, call: &Call, small: Layout, large: Layout) -> Option<(Identity, bool)> {
    let rank_of = |root: &Root| match root {
        Root::Rank(r) => *r,
        Root::Here | Root::Elsewhere => comm.rank() as usize,
    };
    let share = large.share();
    // (root, bytes of a block, bytes that fit into the small area, bytes that fit into the large one)
    let (root, bytes, few, most) = match &call.body {
        Body::Barrier => (0, 0, 0, 0),
        Body::Bcast { buf, root } => (rank_of(root), buf.bytes(), small.part, usize::MAX),
        Body::Gather { send, recv, root } if call.kind == Kind::Gather => {
            let bytes = recv.as_ref().map(|r| r.block(0).bytes()).or(send.as_ref().map(Src::bytes))?;
            (rank_of(root), bytes, small.share(), share)
        }
        Body::Scatter { send, recv, root } if call.kind == Kind::Scatter => {
            let bytes = send.as_ref().map(|s| s.block(0).bytes()).or(recv.as_ref().map(Dst::bytes))?;
            (rank_of(root), bytes, small.share(), share)
        }
        Body::Allgather { recv, .. } if call.kind == Kind::Allgather => {
            (0, recv.block(0).bytes(), small.share(), usize::MAX)
        }
        Body::Alltoall { recv, .. } if call.kind == Kind::Alltoall => {
            (0, recv.block(0).bytes(), small.pair_share(), moving::alltoall_limit(large))
        }
        Body::Reduce { send, recv, root, .. } => {
            let (count, ty) = match (send, recv) {
                (Some(send), _) => (send.count, &send.ty),
                (None, Some(recv)) => (recv.count, &recv.ty),
                (None, None) => return None,
            };
            (rank_of(root), reducing::dense(ty, count, share)?, small.share(), usize::MAX)
        }
        Body::Allreduce { recv, .. } => (0, reducing::dense(&recv.ty, recv.count, share)?, small.share(), usize::MAX),
        Body::Scan { recv, .. } => (0, reducing::dense(&recv.ty, recv.count, share)?, small.share(), share),
        Body::ReduceScatter { recv, counts, .. } => {
            (0, reducing::dense(&recv.ty, counts.iter().sum(), share)?, small.share(), share)
        }
        Body::Gather { .. } | Body::Scatter { .. } | Body::Allgather { .. } | Body::Alltoall { .. } => return None,
    };
    (bytes <= most).then_some((Identity { kind: call.kind, root, bytes }, bytes <= few))
}

fn perform(steps: &mut Steps<'_>, call: &Call) -> Result<()> {
    let me = steps.comm.rank() as usize;
    let rank_of = |root: &Root| match root {
        Root::Rank(r) => *r,
        Root::Here | Root::Elsewhere => me,
    };
    match &call.body {
        Body::Barrier => {
            let at = steps.enter()?;
            steps.arrive(at);
            steps.full(at)
        }
        Body::Bcast { buf, root } => moving::bcast(steps, buf, rank_of(root)),
        Body::Gather { send, recv, root } => moving::gather(steps, send.as_ref(), recv.as_ref(), rank_of(root)),
        Body::Scatter { send, recv, root } => moving::scatter(steps, send.as_ref(), recv.as_ref(), rank_of(root)),
        Body::Allgather { send, recv } => moving::allgather(steps, send.as_ref(), recv),
        Body::Alltoall { send, recv } => moving::alltoall(steps, send.as_ref(), recv),
        Body::Reduce { send, recv, op, root } => {
            reducing::reduce(steps, send.as_ref(), recv.as_ref(), op, rank_of(root))
        }
        Body::Allreduce { send, recv, op } => reducing::allreduce(steps, send.as_ref(), recv, op),
        Body::Scan { send, recv, op, exclusive } => reducing::scan(steps, send.as_ref(), recv, op, *exclusive),
        Body::ReduceScatter { send, recv, counts, op } => {
            reducing::reduce_scatter(steps, send.as_ref(), recv, counts, op)
        }
    }
}
