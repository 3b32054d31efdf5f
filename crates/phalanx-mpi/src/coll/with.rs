//! Which arguments of a collective count on which rank.

use std::ffi::c_int;

use phalanx_engine::coll::{Arg, RecvBlocks, SendBlocks};
use phalanx_engine::datatype::{Basic, Datatype};
use phalanx_engine::op::Op;
use phalanx_engine::{Comm, ErrorClass, RecvBuf, Result as EngineResult, SendBuf};
use phalanx_shm::mem::{ConstMem, MutMem};

use crate::buffer::{RecvPtr, SendPtr, type_of};
use crate::comm::CommObject;
use crate::consts;
use crate::datatype::read_types;
use crate::entry::{Failure, wrong};
use crate::handle::RawType;
use crate::param::{Count, In, Number, Numbers};

/// What this rank does in an operation with a root.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    /// It is the root of an intracommunicator: both sides of the operation are here.
    Root,
    /// It gives to a root, or gets from one.
    Leaf,
    /// It is the root of an intercommunicator: only the root's side is here.
    InterRoot,
    /// It is in the root's group of an intercommunicator: it does nothing.
    Nothing,
}

fn part(comm: &Comm, root: c_int) -> Part {
    match root {
        _ if !comm.is_inter() && root == comm.rank() => Part::Root,
        consts::ROOT if comm.is_inter() => Part::InterRoot,
        consts::PROC_NULL if comm.is_inter() => Part::Nothing,
        _ => Part::Leaf,
    }
}

/// Number of blocks: one for each rank of the other side.
fn blocks(comm: &Comm) -> usize {
    let n = if comm.is_inter() { comm.remote_size() } else { comm.size() };
    usize::try_from(n).unwrap_or(0)
}

fn no_send() -> SendBuf<'static, 'static> {
    SendBuf::raw(ConstMem::empty(), 0, Datatype::predefined(Basic::Byte))
}

fn no_recv() -> RecvBuf<'static, 'static> {
    RecvBuf::raw(MutMem::empty(), 0, Datatype::predefined(Basic::Byte))
}

fn elements(count: Number) -> Result<usize, Failure> {
    usize::try_from(count.0)
        .map_err(|_| wrong(ErrorClass::Count, format!("the count is {}; it must not be negative", count.0)))
}

/// Elements of all blocks together.
fn all(count: usize, comm: &Comm) -> Result<usize, Failure> {
    count.checked_mul(blocks(comm)).ok_or_else(|| {
        wrong(ErrorClass::Count, format!("{count} elements for each rank are more than fits an address space"))
    })
}

/// The memory behind an address that blocks are counted from; their displacements may reach anywhere.
fn send_base(at: SendPtr) -> ConstMem {
    // SAFETY: the program promised that what its counts, displacements and types reach from here is valid until the
    // operation has completed.
    unsafe { ConstMem::base(at.0 as *const u8) }
}

fn recv_base(at: RecvPtr) -> MutMem {
    // SAFETY: as in `send_base`, for writing.
    unsafe { MutMem::base(at.0 as *mut u8) }
}

/// A null base is wrong if some block has data at a displacement from it.
fn check_base(at: usize, counts: &[i64], ty: &Datatype) -> Result<(), Failure> {
    let bytes = if counts.iter().any(|c| *c > 0) { ty.size() } else { 0 };
    crate::buffer::check(at, bytes, ty)
}

type Send = (SendPtr, Number, RawType);
type Recv = (RecvPtr, Number, RawType);
type SendV = (SendPtr, Numbers, Numbers, RawType);
type RecvV = (RecvPtr, Numbers, Numbers, RawType);

pub(super) fn barrier<R>(comm: &CommObject, run: impl FnOnce(&Comm) -> EngineResult<R>) -> Result<R, Failure> {
    Ok(run(&comm.comm)?)
}

pub(super) fn bcast<R>(
    comm: &CommObject,
    buffer: RecvPtr,
    count: Number,
    ty: RawType,
    root: c_int,
    run: impl FnOnce(&Comm, RecvBuf<'static, '_>, i32) -> EngineResult<R>,
) -> Result<R, Failure> {
    if part(&comm.comm, root) == Part::Nothing {
        return Ok(run(&comm.comm, no_recv(), root)?);
    }
    let ty = type_of(ty)?;
    Ok(run(&comm.comm, buffer.typed(elements(count)?, &ty)?, root)?)
}

pub(super) fn gather<R>(
    comm: &CommObject,
    send: Send,
    recv: Recv,
    root: c_int,
    run: impl FnOnce(&Comm, Arg<SendBuf<'static, '_>>, Option<RecvBlocks<'static, '_>>, i32) -> EngineResult<R>,
) -> Result<R, Failure> {
    let comm = &comm.comm;
    let part = part(comm, root);
    let give = matches!(part, Part::Root | Part::Leaf) && !send.0.in_place();
    let take = matches!(part, Part::Root | Part::InterRoot);
    let send_type = give.then(|| type_of(send.2)).transpose()?;
    let recv_type = take.then(|| type_of(recv.2)).transpose()?;
    let from = match &send_type {
        Some(ty) => Arg::Buf(send.0.typed(elements(send.1)?, ty)?),
        None if part == Part::Root || part == Part::Leaf => Arg::InPlace,
        None => Arg::Buf(no_send()),
    };
    let to = match &recv_type {
        Some(ty) => Some(RecvBlocks::from(recv.0.typed(all(elements(recv.1)?, comm)?, ty)?)),
        None => None,
    };
    Ok(run(comm, from, to, root)?)
}

pub(super) fn gatherv<R>(
    comm: &CommObject,
    send: Send,
    recv: RecvV,
    root: c_int,
    run: impl FnOnce(&Comm, Arg<SendBuf<'static, '_>>, Option<RecvBlocks<'static, '_>>, i32) -> EngineResult<R>,
) -> Result<R, Failure> {
    let comm = &comm.comm;
    let part = part(comm, root);
    let give = matches!(part, Part::Root | Part::Leaf) && !send.0.in_place();
    let take = matches!(part, Part::Root | Part::InterRoot);
    let send_type = give.then(|| type_of(send.2)).transpose()?;
    let recv_type = take.then(|| type_of(recv.3)).transpose()?;
    let n = if take { blocks(comm) } else { 0 };
    let (counts, displs) = (recv.1.read(n, "receive counts")?, recv.2.read(n, "receive displacements")?);
    let from = match &send_type {
        Some(ty) => Arg::Buf(send.0.typed(elements(send.1)?, ty)?),
        None if part == Part::Root || part == Part::Leaf => Arg::InPlace,
        None => Arg::Buf(no_send()),
    };
    let to = match &recv_type {
        Some(ty) => {
            check_base(recv.0.0, &counts, ty)?;
            Some(RecvBlocks::raw(recv_base(recv.0), &counts, &displs, ty))
        }
        None => None,
    };
    Ok(run(comm, from, to, root)?)
}

pub(super) fn scatter<R>(
    comm: &CommObject,
    send: Send,
    recv: Recv,
    root: c_int,
    run: impl FnOnce(&Comm, Option<SendBlocks<'static, '_>>, Arg<RecvBuf<'static, '_>>, i32) -> EngineResult<R>,
) -> Result<R, Failure> {
    let comm = &comm.comm;
    let part = part(comm, root);
    let give = matches!(part, Part::Root | Part::InterRoot);
    let take = matches!(part, Part::Root | Part::Leaf) && !recv.0.in_place();
    let send_type = give.then(|| type_of(send.2)).transpose()?;
    let recv_type = take.then(|| type_of(recv.2)).transpose()?;
    let from = match &send_type {
        Some(ty) => Some(SendBlocks::from(send.0.typed(all(elements(send.1)?, comm)?, ty)?)),
        None => None,
    };
    let to = match &recv_type {
        Some(ty) => Arg::Buf(recv.0.typed(elements(recv.1)?, ty)?),
        None if part == Part::Root || part == Part::Leaf => Arg::InPlace,
        None => Arg::Buf(no_recv()),
    };
    Ok(run(comm, from, to, root)?)
}

pub(super) fn scatterv<R>(
    comm: &CommObject,
    send: SendV,
    recv: Recv,
    root: c_int,
    run: impl FnOnce(&Comm, Option<SendBlocks<'static, '_>>, Arg<RecvBuf<'static, '_>>, i32) -> EngineResult<R>,
) -> Result<R, Failure> {
    let comm = &comm.comm;
    let part = part(comm, root);
    let give = matches!(part, Part::Root | Part::InterRoot);
    let take = matches!(part, Part::Root | Part::Leaf) && !recv.0.in_place();
    let send_type = give.then(|| type_of(send.3)).transpose()?;
    let recv_type = take.then(|| type_of(recv.2)).transpose()?;
    let n = if give { blocks(comm) } else { 0 };
    let (counts, displs) = (send.1.read(n, "send counts")?, send.2.read(n, "send displacements")?);
    let from = match &send_type {
        Some(ty) => {
            check_base(send.0.0, &counts, ty)?;
            Some(SendBlocks::raw(send_base(send.0), &counts, &displs, ty))
        }
        None => None,
    };
    let to = match &recv_type {
        Some(ty) => Arg::Buf(recv.0.typed(elements(recv.1)?, ty)?),
        None if part == Part::Root || part == Part::Leaf => Arg::InPlace,
        None => Arg::Buf(no_recv()),
    };
    Ok(run(comm, from, to, root)?)
}

pub(super) fn allgather<R>(
    comm: &CommObject,
    send: Send,
    recv: (RecvPtr, Count, RawType),
    run: impl FnOnce(&Comm, Arg<SendBuf<'static, '_>>, RecvBlocks<'static, '_>) -> EngineResult<R>,
) -> Result<R, Failure> {
    let comm = &comm.comm;
    let send_type = (!send.0.in_place()).then(|| type_of(send.2)).transpose()?;
    let recv_type = type_of(recv.2)?;
    let from = match &send_type {
        Some(ty) => Arg::Buf(send.0.typed(elements(send.1)?, ty)?),
        None => Arg::InPlace,
    };
    let to = recv.0.typed(all(recv.1.0, comm)?, &recv_type)?;
    Ok(run(comm, from, RecvBlocks::from(to))?)
}

pub(super) fn allgatherv<R>(
    comm: &CommObject,
    send: Send,
    recv: RecvV,
    run: impl FnOnce(&Comm, Arg<SendBuf<'static, '_>>, RecvBlocks<'static, '_>) -> EngineResult<R>,
) -> Result<R, Failure> {
    let comm = &comm.comm;
    let send_type = (!send.0.in_place()).then(|| type_of(send.2)).transpose()?;
    let recv_type = type_of(recv.3)?;
    let n = blocks(comm);
    let (counts, displs) = (recv.1.read(n, "receive counts")?, recv.2.read(n, "receive displacements")?);
    check_base(recv.0.0, &counts, &recv_type)?;
    let from = match &send_type {
        Some(ty) => Arg::Buf(send.0.typed(elements(send.1)?, ty)?),
        None => Arg::InPlace,
    };
    Ok(run(comm, from, RecvBlocks::raw(recv_base(recv.0), &counts, &displs, &recv_type))?)
}

pub(super) fn alltoall<R>(
    comm: &CommObject,
    send: Send,
    recv: (RecvPtr, Count, RawType),
    run: impl FnOnce(&Comm, Arg<SendBlocks<'static, '_>>, RecvBlocks<'static, '_>) -> EngineResult<R>,
) -> Result<R, Failure> {
    let comm = &comm.comm;
    let send_type = (!send.0.in_place()).then(|| type_of(send.2)).transpose()?;
    let recv_type = type_of(recv.2)?;
    let from = match &send_type {
        Some(ty) => Arg::Buf(SendBlocks::from(send.0.typed(all(elements(send.1)?, comm)?, ty)?)),
        None => Arg::InPlace,
    };
    let to = recv.0.typed(all(recv.1.0, comm)?, &recv_type)?;
    Ok(run(comm, from, RecvBlocks::from(to))?)
}

pub(super) fn alltoallv<R>(
    comm: &CommObject,
    send: SendV,
    recv: RecvV,
    run: impl FnOnce(&Comm, Arg<SendBlocks<'static, '_>>, RecvBlocks<'static, '_>) -> EngineResult<R>,
) -> Result<R, Failure> {
    let comm = &comm.comm;
    let n = blocks(comm);
    let give = !send.0.in_place();
    let send_type = give.then(|| type_of(send.3)).transpose()?;
    let recv_type = type_of(recv.3)?;
    let sends = if give { n } else { 0 };
    let (out_counts, out_displs) = (send.1.read(sends, "send counts")?, send.2.read(sends, "send displacements")?);
    let (in_counts, in_displs) = (recv.1.read(n, "receive counts")?, recv.2.read(n, "receive displacements")?);
    check_base(recv.0.0, &in_counts, &recv_type)?;
    let from = match &send_type {
        Some(ty) => {
            check_base(send.0.0, &out_counts, ty)?;
            Arg::Buf(SendBlocks::raw(send_base(send.0), &out_counts, &out_displs, ty))
        }
        None => Arg::InPlace,
    };
    Ok(run(comm, from, RecvBlocks::raw(recv_base(recv.0), &in_counts, &in_displs, &recv_type))?)
}

pub(super) fn alltoallw<R>(
    comm: &CommObject,
    send: (SendPtr, Numbers, Numbers, &In<RawType>),
    recv: (RecvPtr, Numbers, Numbers, &In<RawType>),
    run: impl FnOnce(&Comm, Arg<SendBlocks<'static, '_>>, RecvBlocks<'static, '_>) -> EngineResult<R>,
) -> Result<R, Failure> {
    let comm = &comm.comm;
    let n = blocks(comm);
    let sends = if send.0.in_place() { 0 } else { n };
    let send_types = read_types(send.3, sends)?;
    let recv_types = read_types(recv.3, n)?;
    let (out_counts, out_displs) = (send.1.read(sends, "send counts")?, send.2.read(sends, "send displacements")?);
    let (in_counts, in_displs) = (recv.1.read(n, "receive counts")?, recv.2.read(n, "receive displacements")?);
    let from = if send.0.in_place() {
        Arg::InPlace
    } else {
        Arg::Buf(SendBlocks::each(send_base(send.0), &out_counts, &out_displs, &send_types))
    };
    Ok(run(comm, from, RecvBlocks::each(recv_base(recv.0), &in_counts, &in_displs, &recv_types))?)
}

pub(super) fn reduce<R>(
    comm: &CommObject,
    send: SendPtr,
    recv: RecvPtr,
    (count, ty): (Count, RawType),
    op: &Op,
    root: c_int,
    run: impl FnOnce(&Comm, Arg<SendBuf<'static, '_>>, Option<RecvBuf<'static, '_>>, &Op, i32) -> EngineResult<R>,
) -> Result<R, Failure> {
    let comm = &comm.comm;
    let part = part(comm, root);
    if part == Part::Nothing {
        return Ok(run(comm, Arg::Buf(no_send()), None, op, root)?);
    }
    let ty = type_of(ty)?;
    let from = match part {
        Part::InterRoot => Arg::Buf(no_send()),
        _ if send.in_place() => Arg::InPlace,
        _ => Arg::Buf(send.typed(count.0, &ty)?),
    };
    let to = match part {
        Part::Leaf => None,
        _ => Some(recv.typed(count.0, &ty)?),
    };
    Ok(run(comm, from, to, op, root)?)
}

/// Reductions whose result everybody has: `count` elements in, `count` elements out.
pub(super) fn both<R>(
    comm: &CommObject,
    send: SendPtr,
    recv: RecvPtr,
    (count, ty): (Count, &Datatype),
    op: &Op,
    run: impl FnOnce(&Comm, Arg<SendBuf<'static, '_>>, RecvBuf<'static, '_>, &Op) -> EngineResult<R>,
) -> Result<R, Failure> {
    let from = if send.in_place() { Arg::InPlace } else { Arg::Buf(send.typed(count.0, ty)?) };
    Ok(run(&comm.comm, from, recv.typed(count.0, ty)?, op)?)
}

pub(super) fn reduce_scatter<R>(
    comm: &CommObject,
    send: SendPtr,
    recv: RecvPtr,
    (counts, ty): (Numbers, &Datatype),
    op: &Op,
    run: impl FnOnce(&Comm, Arg<SendBuf<'static, '_>>, RecvBuf<'static, '_>, &[i64], &Op) -> EngineResult<R>,
) -> Result<R, Failure> {
    let comm = &comm.comm;
    // One count for each rank of this side, whatever the other side has.
    let n = usize::try_from(comm.size()).unwrap_or(0);
    let wide = counts.read(n, "receive counts")?;
    let counts = counts.counts(n, "the receive counts")?;
    let total = counts
        .iter()
        .try_fold(0usize, |sum, c| sum.checked_add(*c))
        .ok_or_else(|| wrong(ErrorClass::Count, "the receive counts add up to more than fits an address space"))?;
    let mine = usize::try_from(comm.rank()).ok().and_then(|r| counts.get(r)).copied().unwrap_or(0);
    if send.in_place() {
        // The input lies in the receive buffer: it has all the blocks.
        return Ok(run(comm, Arg::InPlace, recv.typed(total, ty)?, &wide, op)?);
    }
    Ok(run(comm, Arg::Buf(send.typed(total, ty)?), recv.typed(mine, ty)?, &wide, op)?)
}

pub(super) fn reduce_scatter_block<R>(
    comm: &CommObject,
    send: SendPtr,
    recv: RecvPtr,
    (count, ty): (Count, &Datatype),
    op: &Op,
    run: impl FnOnce(&Comm, Arg<SendBuf<'static, '_>>, RecvBuf<'static, '_>, &Op) -> EngineResult<R>,
) -> Result<R, Failure> {
    let comm = &comm.comm;
    let n = usize::try_from(comm.size()).unwrap_or(0);
    let total = count.0.checked_mul(n).ok_or_else(|| wrong(ErrorClass::Count, format!("the count is {}", count.0)))?;
    if send.in_place() {
        return Ok(run(comm, Arg::InPlace, recv.typed(total, ty)?, op)?);
    }
    Ok(run(comm, Arg::Buf(send.typed(total, ty)?), recv.typed(count.0, ty)?, op)?)
}
