//! Communication through windows (MPI 5.0 §12.3).
//!
//! An operation is over when its body returns, so its plain form has nothing left to do and its request is complete.

use std::ffi::c_int;

use phalanx_engine::datatype::Datatype;
use phalanx_engine::op::{Builtin, Op};
use phalanx_engine::win::Target;
use phalanx_engine::{Engine, Request, Status};
use phalanx_mpi_macros::mpi_entry;

use super::{WinObject, WinRef};
use crate::buffer::{RecvPtr, SendPtr};
use crate::datatype::{PeerType, TypeRef};
use crate::entry::{Done, Failure};
use crate::forms::{Ready, Run, Start};
use crate::op::OpRef;
use crate::param::Count;
use crate::state;

/// An operation that is over.
struct Moved(&'static Engine);

impl Run for Moved {
    #[inline]
    fn run(self) -> phalanx_engine::Result<Status> {
        Ok(Status::EMPTY)
    }
}

impl Start for Moved {
    fn start(self) -> phalanx_engine::Result<Request> {
        Ok(Request::complete(self.0, Status::EMPTY))
    }
}

#[inline]
fn moved(win: &WinObject) -> Result<Ready<Moved>, Failure> {
    Ok(Ready { on: win.error_object(), operation: Moved(&state::need_process()?.engine) })
}

#[inline]
fn target(rank: c_int, displacement: isize, count: Count, ty: &Datatype) -> Target<'_> {
    Target { rank, displacement: displacement as i64, count: count.0, ty }
}

fn is_no_op(op: &Op) -> bool {
    op.builtin() == Some(Builtin::NoOp)
}

/// Writes into the memory of a process.
#[mpi_entry(MPI_Put | MPI_Rput, poly)]
fn put(
    origin: SendPtr,
    origin_count: Count,
    origin_type: PeerType,
    rank: c_int,
    displacement: isize,
    target_count: Count,
    target_type: PeerType,
    win: WinRef,
) -> Result<Ready<Moved>, Failure> {
    let (here, there) = (origin_type.with(rank, origin_count.0)?, target_type.with(rank, target_count.0)?);
    win.win.put(origin.typed(origin_count.0, &here)?, target(rank, displacement, target_count, &there))?;
    moved(&win)
}

/// Reads from the memory of a process.
#[mpi_entry(MPI_Get | MPI_Rget, poly)]
fn get(
    origin: RecvPtr,
    origin_count: Count,
    origin_type: PeerType,
    rank: c_int,
    displacement: isize,
    target_count: Count,
    target_type: PeerType,
    win: WinRef,
) -> Result<Ready<Moved>, Failure> {
    let (here, there) = (origin_type.with(rank, origin_count.0)?, target_type.with(rank, target_count.0)?);
    win.win.get(origin.typed(origin_count.0, &here)?, target(rank, displacement, target_count, &there))?;
    moved(&win)
}

/// Combines elements into the memory of a process.
#[mpi_entry(MPI_Accumulate | MPI_Raccumulate, poly)]
fn accumulate(
    origin: SendPtr,
    origin_count: Count,
    origin_type: PeerType,
    rank: c_int,
    displacement: isize,
    target_count: Count,
    target_type: PeerType,
    op: OpRef,
    win: WinRef,
) -> Result<Ready<Moved>, Failure> {
    let (here, there) = (origin_type.with(rank, origin_count.0)?, target_type.with(rank, target_count.0)?);
    let origin = origin.typed(origin_count.0, &here)?;
    win.win.accumulate(Some(origin), None, target(rank, displacement, target_count, &there), &op)?;
    moved(&win)
}

/// Combines elements into the memory of a process, and reads what was there.
#[mpi_entry(MPI_Get_accumulate | MPI_Rget_accumulate, poly)]
fn get_accumulate(
    origin: SendPtr,
    origin_count: Count,
    origin_type: PeerType,
    result: RecvPtr,
    result_count: Count,
    result_type: PeerType,
    rank: c_int,
    displacement: isize,
    target_count: Count,
    target_type: PeerType,
    op: OpRef,
    win: WinRef,
) -> Result<Ready<Moved>, Failure> {
    // With MPI_NO_OP nothing of the origin is looked at.
    let here = if is_no_op(&op) { None } else { Some(origin_type.with(rank, origin_count.0)?) };
    let origin = here.as_ref().map(|ty| origin.typed(origin_count.0, ty)).transpose()?;
    let (back, there) = (result_type.with(rank, result_count.0)?, target_type.with(rank, target_count.0)?);
    let result = result.typed(result_count.0, &back)?;
    win.win.accumulate(origin, Some(result), target(rank, displacement, target_count, &there), &op)?;
    moved(&win)
}

/// Combines one element into the memory of a process, and reads what was there.
#[mpi_entry(MPI_Fetch_and_op)]
fn fetch_and_op(
    origin: SendPtr,
    result: RecvPtr,
    ty: TypeRef,
    rank: c_int,
    displacement: isize,
    op: OpRef,
    win: WinRef,
) -> Done {
    let origin = if is_no_op(&op) { None } else { Some(origin.typed(1, &ty)?) };
    let result = result.typed(1, &ty)?;
    Ok(win.win.accumulate(origin, Some(result), target(rank, displacement, Count(1), &ty), &op)?)
}

/// Replaces one element in the memory of a process if it equals another, and reads what was there.
#[mpi_entry(MPI_Compare_and_swap)]
fn compare_and_swap(
    origin: SendPtr,
    compare: SendPtr,
    result: RecvPtr,
    ty: TypeRef,
    rank: c_int,
    displacement: isize,
    win: WinRef,
) -> Done {
    let (new, compare, result) = (origin.memory(1)?, compare.memory(1)?, result.memory(1)?);
    Ok(win.win.compare_and_swap(new, compare, result, target(rank, displacement, Count(1), &ty))?)
}
