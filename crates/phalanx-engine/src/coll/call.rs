//! A collective call with its arguments checked and owned.
//!
//! A [`Call`] can be planned any number of times, which is what a persistent operation does at
//! each start. What cannot be known from one rank's arguments (do the others pass the same root?) is not
//! checked here but found out while the operation runs.

use std::sync::Arc;

use crate::comm::Comm;
use crate::datatype::signature;
use crate::engine::buffer::{RecvBuf, SendBuf};
use crate::error::{Error, Result, fail};
use crate::op::Op;
use crate::status::{PROC_NULL, ROOT};

use super::args::{Arg, DstBlocks, RecvBlocks, SendBlocks, SrcBlocks};
use super::neighbours::Neighbours;
use super::schedule::{Dst, Src};

/// Lists the operations with the names of their three forms.
macro_rules! kinds {
    ($($kind:ident: $blocking:ident $nonblocking:ident $persistent:ident;)*) => {
        /// Which collective operation.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(u8)]
        pub(crate) enum Kind { $($kind),* }

        impl Kind {
            const ALL: &[Kind] = &[$(Kind::$kind),*];
            const NAMES: &[[&str; 3]] =
                &[$([stringify!($blocking), stringify!($nonblocking), stringify!($persistent)]),*];
        }
    };
}

kinds! {
    Barrier: Barrier Ibarrier Barrier_init;
    Bcast: Bcast Ibcast Bcast_init;
    Gather: Gather Igather Gather_init;
    Gatherv: Gatherv Igatherv Gatherv_init;
    Scatter: Scatter Iscatter Scatter_init;
    Scatterv: Scatterv Iscatterv Scatterv_init;
    Allgather: Allgather Iallgather Allgather_init;
    Allgatherv: Allgatherv Iallgatherv Allgatherv_init;
    Alltoall: Alltoall Ialltoall Alltoall_init;
    Alltoallv: Alltoallv Ialltoallv Alltoallv_init;
    Alltoallw: Alltoallw Ialltoallw Alltoallw_init;
    Reduce: Reduce Ireduce Reduce_init;
    Allreduce: Allreduce Iallreduce Allreduce_init;
    ReduceScatter: Reduce_scatter Ireduce_scatter Reduce_scatter_init;
    ReduceScatterBlock: Reduce_scatter_block Ireduce_scatter_block Reduce_scatter_block_init;
    Scan: Scan Iscan Scan_init;
    Exscan: Exscan Iexscan Exscan_init;
    NeighborAllgather: Neighbor_allgather Ineighbor_allgather Neighbor_allgather_init;
    NeighborAllgatherv: Neighbor_allgatherv Ineighbor_allgatherv Neighbor_allgatherv_init;
    NeighborAlltoall: Neighbor_alltoall Ineighbor_alltoall Neighbor_alltoall_init;
    NeighborAlltoallv: Neighbor_alltoallv Ineighbor_alltoallv Neighbor_alltoallv_init;
    NeighborAlltoallw: Neighbor_alltoallw Ineighbor_alltoallw Neighbor_alltoallw_init;
}

/// How it was called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    Blocking,
    Nonblocking,
    Persistent,
}

impl Kind {
    /// The kind with this number.
    pub(crate) fn from_index(index: usize) -> Kind {
        Kind::ALL[index.min(Kind::ALL.len() - 1)]
    }

    /// The standard's name of the operation, without the prefix.
    pub(crate) fn name(self, mode: Mode) -> &'static str {
        Kind::NAMES[self as usize][mode as usize]
    }
}

/// Who is the root of a rooted operation, seen from this rank.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Root {
    /// This rank.
    Here,
    /// Another rank of this group or, on an intercommunicator, a rank of the remote group.
    Rank(usize),
    /// On an intercommunicator: another rank of this group. This rank has no part in the operation.
    Elsewhere,
}

/// The arguments, by what they have in common.
#[derive(Clone)]
pub(crate) enum Body {
    Barrier,
    Bcast {
        buf: Dst,
        root: Root,
    },
    /// `send: None` is `IN_PLACE` or no part; `recv` is there at the root.
    Gather {
        send: Option<Src>,
        recv: Option<DstBlocks>,
        root: Root,
    },
    /// `recv: None` is `IN_PLACE` or no part; `send` is there at the root.
    Scatter {
        send: Option<SrcBlocks>,
        recv: Option<Dst>,
        root: Root,
    },
    Allgather {
        send: Option<Src>,
        recv: DstBlocks,
    },
    Alltoall {
        send: Option<SrcBlocks>,
        recv: DstBlocks,
    },
    Reduce {
        send: Option<Src>,
        recv: Option<Dst>,
        op: Op,
        root: Root,
    },
    Allreduce {
        send: Option<Src>,
        recv: Dst,
        op: Op,
    },
    /// In place, `recv` begins with all blocks; its own block is left there.
    ReduceScatter {
        send: Option<Src>,
        recv: Dst,
        counts: Vec<usize>,
        op: Op,
    },
    Scan {
        send: Option<Src>,
        recv: Dst,
        op: Op,
        exclusive: bool,
    },
    Neighbours {
        around: Arc<Neighbours>,
        send: Sent,
        recv: DstBlocks,
    },
}

/// What the destinations get.
#[derive(Clone)]
pub(crate) enum Sent {
    /// All of them the same.
    Same(Src),
    /// Each a block of its own.
    Each(SrcBlocks),
}

impl Sent {
    /// The block for destination number `slot`.
    pub(crate) fn block(&self, slot: usize) -> Src {
        match self {
            Sent::Same(block) => block.clone(),
            Sent::Each(blocks) => blocks.block(slot),
        }
    }
}

/// A checked call.
#[derive(Clone)]
pub(crate) struct Call {
    pub(crate) kind: Kind,
    pub(crate) body: Body,
}

impl Call {
    /// Bytes of what this rank gives; of what it gets, where it gives nothing, or what it gives is in the same place.
    #[cold]
    pub(crate) fn bytes(&self, comm: &Comm) -> u64 {
        let ranks = comm.remote_group().unwrap_or(comm.group()).size();
        let bytes = match &self.body {
            Body::Barrier => 0,
            Body::Bcast { buf, .. } => buf.bytes(),
            Body::Gather { send, recv, .. } => match (send, recv) {
                (Some(send), _) => send.bytes(),
                (None, Some(recv)) => recv.block(0).bytes(),
                (None, None) => 0,
            },
            Body::Scatter { send, recv, .. } => match (send, recv) {
                (Some(send), _) => send.bytes(ranks),
                (None, Some(recv)) => recv.bytes(),
                (None, None) => 0,
            },
            Body::Allgather { send, recv } => send.as_ref().map_or_else(|| recv.block(0).bytes(), Src::bytes),
            Body::Alltoall { send, recv } => send.as_ref().map_or_else(|| recv.bytes(ranks), |send| send.bytes(ranks)),
            Body::Reduce { send, recv, .. } => match (send, recv) {
                (Some(send), _) => send.bytes(),
                (None, Some(recv)) => recv.bytes(),
                (None, None) => 0,
            },
            Body::Allreduce { send, recv, .. }
            | Body::ReduceScatter { send, recv, .. }
            | Body::Scan { send, recv, .. } => send.as_ref().map_or_else(|| recv.bytes(), Src::bytes),
            Body::Neighbours { send, around, .. } => match send {
                Sent::Same(block) => block.bytes(),
                Sent::Each(blocks) => blocks.bytes(around.destinations()),
            },
        };
        bytes as u64
    }
}

fn in_place_inter(comm: &Comm) -> Result<()> {
    if comm.is_inter() {
        fail!(Buffer, "MPI_IN_PLACE cannot be used on an intercommunicator; pass two buffers");
    }
    Ok(())
}

fn in_place_needs_root(root: Root) -> Result<()> {
    if root != Root::Here {
        fail!(Buffer, "MPI_IN_PLACE is for the root; this rank is not the root and has to pass its buffer");
    }
    Ok(())
}

fn src(buf: Arg<SendBuf<'_, '_>>) -> Result<Option<Src>> {
    match buf {
        Arg::Buf(buf) => Src::new(buf).map(Some),
        Arg::InPlace => Ok(None),
    }
}

fn equal(send: &Src, recv: &Dst, whose: &str) -> Result<()> {
    if send.bytes() != recv.bytes() {
        fail!(
            Truncate,
            "{whose} sends {} bytes ({} x {}) but the room for them is {} bytes ({} x {})",
            send.bytes(),
            send.count,
            send.ty.name(),
            recv.bytes(),
            recv.count,
            recv.ty.name()
        );
    }
    if signature::mismatch(send.ty.signature(), recv.ty.signature()) && send.bytes() > 0 {
        fail!(Type, "{whose} sends {} but receives its own block as {}", send.ty.name(), recv.ty.name());
    }
    Ok(())
}

fn same_count(send: &Src, recv: &Dst) -> Result<()> {
    if send.count != recv.count {
        fail!(Count, "the send count is {} but the receive count is {}", send.count, recv.count);
    }
    Ok(())
}

impl Call {
    fn root(comm: &Comm, root: i32) -> Result<Root> {
        if comm.is_inter() {
            return match root {
                ROOT => Ok(Root::Here),
                PROC_NULL => Ok(Root::Elsewhere),
                r if r >= 0 && r < comm.remote_size() => Ok(Root::Rank(r as usize)),
                r => fail!(
                    Root,
                    "root {r} is neither MPI_ROOT, MPI_PROC_NULL nor a rank of the remote group of {} processes",
                    comm.remote_size()
                ),
            };
        }
        if root < 0 || root >= comm.size() {
            fail!(
                Root,
                "root {root} does not exist in a communicator of {} processes (valid: 0 to {})",
                comm.size(),
                comm.size() - 1
            );
        }
        Ok(if root == comm.rank() { Root::Here } else { Root::Rank(root as usize) })
    }

    /// How many ranks send to me or receive from me: the group, or the remote group.
    fn partners(comm: &Comm) -> usize {
        comm.peers().size()
    }

    pub(crate) fn barrier(_comm: &Comm) -> Result<Call> {
        Ok(Call { kind: Kind::Barrier, body: Body::Barrier })
    }

    pub(crate) fn bcast(comm: &Comm, buf: RecvBuf<'_, '_>, root: i32) -> Result<Call> {
        let root = Call::root(comm, root)?;
        Ok(Call { kind: Kind::Bcast, body: Body::Bcast { buf: Dst::new(buf)?, root } })
    }

    pub(crate) fn gather(
        comm: &Comm,
        kind: Kind,
        send: Arg<SendBuf<'_, '_>>,
        recv: Option<RecvBlocks<'_, '_>>,
        root: i32,
    ) -> Result<Call> {
        let root = Call::root(comm, root)?;
        if matches!(send, Arg::InPlace) {
            in_place_inter(comm)?;
            in_place_needs_root(root)?;
        }
        let sends = !comm.is_inter() || matches!(root, Root::Rank(_));
        let send = if sends { src(send)? } else { None };
        let recv = match (root, recv) {
            (Root::Here, Some(recv)) => Some(DstBlocks::new(recv, Call::partners(comm))?),
            (Root::Here, None) => fail!(Buffer, "the root needs a receive buffer"),
            _ => None,
        };
        if let (Some(send), Some(recv)) = (&send, &recv) {
            equal(send, &recv.block(comm.rank() as usize), "the root")?;
        }
        Ok(Call { kind, body: Body::Gather { send, recv, root } })
    }

    pub(crate) fn scatter(
        comm: &Comm,
        kind: Kind,
        send: Option<SendBlocks<'_, '_>>,
        recv: Arg<RecvBuf<'_, '_>>,
        root: i32,
    ) -> Result<Call> {
        let root = Call::root(comm, root)?;
        if matches!(recv, Arg::InPlace) {
            in_place_inter(comm)?;
            in_place_needs_root(root)?;
        }
        let receives = !comm.is_inter() || matches!(root, Root::Rank(_));
        let recv = match recv {
            Arg::Buf(buf) if receives => Some(Dst::new(buf)?),
            _ => None,
        };
        let send = match (root, send) {
            (Root::Here, Some(send)) => Some(SrcBlocks::new(send, Call::partners(comm))?),
            (Root::Here, None) => fail!(Buffer, "the root needs a send buffer"),
            _ => None,
        };
        if let (Some(send), Some(recv)) = (&send, &recv) {
            equal(&send.block(comm.rank() as usize), recv, "the root")?;
        }
        Ok(Call { kind, body: Body::Scatter { send, recv, root } })
    }

    pub(crate) fn allgather(
        comm: &Comm,
        kind: Kind,
        send: Arg<SendBuf<'_, '_>>,
        recv: RecvBlocks<'_, '_>,
    ) -> Result<Call> {
        if matches!(send, Arg::InPlace) {
            in_place_inter(comm)?;
        }
        let send = src(send)?;
        let recv = DstBlocks::new(recv, Call::partners(comm))?;
        if let (Some(send), false) = (&send, comm.is_inter()) {
            equal(send, &recv.block(comm.rank() as usize), "this rank")?;
        }
        Ok(Call { kind, body: Body::Allgather { send, recv } })
    }

    pub(crate) fn alltoall(
        comm: &Comm,
        kind: Kind,
        send: Arg<SendBlocks<'_, '_>>,
        recv: RecvBlocks<'_, '_>,
    ) -> Result<Call> {
        let send = match send {
            Arg::Buf(send) => Some(SrcBlocks::new(send, Call::partners(comm))?),
            Arg::InPlace => {
                in_place_inter(comm)?;
                None
            }
        };
        let recv = DstBlocks::new(recv, Call::partners(comm))?;
        if let (Some(send), false) = (&send, comm.is_inter()) {
            let me = comm.rank() as usize;
            equal(&send.block(me), &recv.block(me), "this rank, to itself,")?;
        }
        Ok(Call { kind, body: Body::Alltoall { send, recv } })
    }

    pub(crate) fn reduce(
        comm: &Comm,
        send: Arg<SendBuf<'_, '_>>,
        recv: Option<RecvBuf<'_, '_>>,
        op: &Op,
        root: i32,
    ) -> Result<Call> {
        let root = Call::root(comm, root)?;
        if matches!(send, Arg::InPlace) {
            in_place_inter(comm)?;
            in_place_needs_root(root)?;
        }
        let sends = !comm.is_inter() || matches!(root, Root::Rank(_));
        let send = if sends { src(send)? } else { None };
        let recv = match (root, recv) {
            (Root::Here, Some(recv)) => Some(Dst::new(recv)?),
            (Root::Here, None) => fail!(Buffer, "the root needs a receive buffer"),
            _ => None,
        };
        for ty in send.iter().map(|s| &s.ty).chain(recv.iter().map(|r| &r.ty)) {
            op.check(ty)?;
        }
        if let (Some(send), Some(recv)) = (&send, &recv) {
            same_count(send, recv)?;
        }
        Ok(Call { kind: Kind::Reduce, body: Body::Reduce { send, recv, op: op.clone(), root } })
    }

    pub(crate) fn allreduce(comm: &Comm, send: Arg<SendBuf<'_, '_>>, recv: RecvBuf<'_, '_>, op: &Op) -> Result<Call> {
        if matches!(send, Arg::InPlace) {
            in_place_inter(comm)?;
        }
        let (send, recv) = (src(send)?, Dst::new(recv)?);
        op.check(&recv.ty)?;
        if let Some(send) = &send {
            same_count(send, &recv)?;
        }
        Ok(Call { kind: Kind::Allreduce, body: Body::Allreduce { send, recv, op: op.clone() } })
    }

    pub(crate) fn reduce_scatter(
        comm: &Comm,
        send: Arg<SendBuf<'_, '_>>,
        recv: RecvBuf<'_, '_>,
        counts: &[i64],
        op: &Op,
    ) -> Result<Call> {
        let n = comm.size() as usize;
        if counts.len() != n {
            fail!(Arg, "{n} ranks need {n} receive counts, but there are {}", counts.len());
        }
        if let Some((rank, count)) = counts.iter().enumerate().find(|(_, c)| **c < 0) {
            fail!(Count, "the receive count of rank {rank} is {count}; counts must not be negative");
        }
        let counts = counts.iter().map(|&c| c as usize).collect();
        Call::scattered(comm, Kind::ReduceScatter, send, recv, counts, op)
    }

    pub(crate) fn reduce_scatter_block(
        comm: &Comm,
        send: Arg<SendBuf<'_, '_>>,
        recv: RecvBuf<'_, '_>,
        op: &Op,
    ) -> Result<Call> {
        let n = comm.size() as usize;
        let each = if matches!(send, Arg::InPlace) {
            if !recv.count.is_multiple_of(n) {
                fail!(Count, "{} elements cannot be divided evenly among {n} ranks", recv.count);
            }
            recv.count / n
        } else {
            recv.count
        };
        Call::scattered(comm, Kind::ReduceScatterBlock, send, recv, vec![each; n], op)
    }

    fn scattered(
        comm: &Comm,
        kind: Kind,
        send: Arg<SendBuf<'_, '_>>,
        recv: RecvBuf<'_, '_>,
        counts: Vec<usize>,
        op: &Op,
    ) -> Result<Call> {
        if matches!(send, Arg::InPlace) {
            in_place_inter(comm)?;
        }
        let (send, recv) = (src(send)?, Dst::new(recv)?);
        op.check(&recv.ty)?;
        let total: usize = counts.iter().sum();
        let have = send.as_ref().map_or(recv.count, |s| s.count);
        if have != total {
            fail!(
                Count,
                "the receive counts of all ranks add up to {total} elements, but the buffer to be reduced has {have}"
            );
        }
        let mine = counts[comm.rank() as usize];
        if recv.count < mine {
            fail!(Count, "this rank's receive count is {mine}, but its receive buffer has {} elements", recv.count);
        }
        Ok(Call { kind, body: Body::ReduceScatter { send, recv, counts, op: op.clone() } })
    }

    pub(crate) fn scan(
        comm: &Comm,
        send: Arg<SendBuf<'_, '_>>,
        recv: RecvBuf<'_, '_>,
        op: &Op,
        exclusive: bool,
    ) -> Result<Call> {
        if comm.is_inter() {
            return Err(Error::new(
                crate::error::ErrorClass::Comm,
                "the standard defines no prefix reductions on intercommunicators",
            ));
        }
        let (send, recv) = (src(send)?, Dst::new(recv)?);
        op.check(&recv.ty)?;
        if let Some(send) = &send {
            same_count(send, &recv)?;
        }
        let kind = if exclusive { Kind::Exscan } else { Kind::Scan };
        Ok(Call { kind, body: Body::Scan { send, recv, op: op.clone(), exclusive } })
    }

    pub(crate) fn neighbor_allgather(
        comm: &Comm,
        kind: Kind,
        around: &Arc<Neighbours>,
        send: SendBuf<'_, '_>,
        recv: RecvBlocks<'_, '_>,
    ) -> Result<Call> {
        Call::among_neighbours(comm, kind, around, Sent::Same(Src::new(send)?), recv)
    }

    pub(crate) fn neighbor_alltoall(
        comm: &Comm,
        kind: Kind,
        around: &Arc<Neighbours>,
        send: SendBlocks<'_, '_>,
        recv: RecvBlocks<'_, '_>,
    ) -> Result<Call> {
        let send = Sent::Each(SrcBlocks::around(send, around.destinations())?);
        Call::among_neighbours(comm, kind, around, send, recv)
    }

    fn among_neighbours(
        comm: &Comm,
        kind: Kind,
        around: &Arc<Neighbours>,
        send: Sent,
        recv: RecvBlocks<'_, '_>,
    ) -> Result<Call> {
        if comm.is_inter() {
            fail!(Comm, "the standard defines no neighbourhoods on intercommunicators");
        }
        around.check(Call::partners(comm))?;
        let recv = DstBlocks::around(recv, around.sources())?;
        Ok(Call { kind, body: Body::Neighbours { around: Arc::clone(around), send, recv } })
    }
}
