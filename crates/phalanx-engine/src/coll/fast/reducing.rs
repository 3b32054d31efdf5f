//! Operations that combine data. Always in the order of the ranks: see the module `coll`.

use phalanx_shm::SharedBytes;
use phalanx_shm::mem::{ConstMem, MutMem};

use crate::datatype::Datatype;
use crate::error::Result;
use crate::op::Op;

use super::super::call::Kind;
use super::super::memory::shared as shared_memory;
use super::super::schedule::{Dst, Src};
use super::moving;
use super::steps::{Entered, Readers, Steps, lines};

/// Bytes of all contributions together up to which every rank combines everything itself: one step
/// instead of two.
const TOGETHER: usize = 32 * 1024;

/// Bytes from which the work of a user's operation is divided among the ranks.
const USER_DIVIDE: usize = 32 * 1024;

/// Bytes of `count` elements, and of one of them, if they lie without gaps between them, so that the area can hold them as
/// the operation wants them.
pub(super) fn dense(ty: &Datatype, count: usize) -> Option<(usize, usize)> {
    let extent = usize::try_from(ty.extent()).ok()?;
    let whole = ty.true_lb() == 0 && ty.true_extent() <= extent;
    // Elements with gaps inside (value and index pairs) are copied with their gaps; only predefined types have
    // the same ones on all ranks for sure.
    (whole && extent > 0 && (ty.is_contiguous() || ty.is_predefined())).then(|| (count * extent, extent))
}

/// A position in the area's data.
fn at(data: &SharedBytes<'_>, start: usize, len: usize) -> MutMem {
    shared_memory(&data.slice(start, len))
}

/// The contribution of a rank in a step in which all have one.
fn of_rank(steps: &Steps<'_>, step: Entered, rank: usize, bytes: usize) -> Result<MutMem> {
    steps.block(step, rank, bytes).map(|block| shared_memory(&block))
}

/// `count` elements of `ty` from byte `start` of user memory.
fn of(mem: ConstMem, start: usize, len: usize) -> ConstMem {
    mem.at(start as isize, len)
}

/// Combines what `part(r)` gives for the ranks `0..n` into `into`.
fn fold(
    op: &Op,
    ty: &Datatype,
    count: usize,
    n: usize,
    part: impl Fn(usize) -> Result<ConstMem>,
    into: MutMem,
) -> Result<()> {
    // A user's operation does not hear of nothing.
    if count == 0 {
        return Ok(());
    }
    if op.is_commutative() {
        part(0)?.copy_to_mem(into);
        (1..n).try_for_each(|r| op.reduce(ty, part(r)?, into, count))
    } else {
        part(n - 1)?.copy_to_mem(into);
        (0..n - 1).rev().try_for_each(|r| op.reduce(ty, part(r)?, into, count))
    }
}

fn contribution(send: Option<&Src>, recv: Option<&Dst>) -> Option<Src> {
    send.cloned().or_else(|| recv.map(Dst::src))
}

/// One step: all write, and those for whom `into` is there combine.
fn together(steps: &mut Steps<'_>, data: &Src, op: &Op, into: Option<MutMem>) -> Result<()> {
    let (me, n) = (steps.comm.rank() as usize, steps.comm.size() as usize);
    let bytes = data.count * data.ty.extent() as usize;
    let step = steps.enter()?;
    of(data.mem, 0, bytes).copy_to_mem(of_rank(steps, step, me, bytes)?);
    steps.arrive(step);
    let Some(into) = into else { return Ok(()) };
    steps.full(step)?;
    let part = |r: usize| of_rank(steps, step, r, bytes).map(|mem| mem.as_const());
    fold(op, &data.ty, data.count, n, part, into)
}

/// Two steps for each chunk: all write what is of the others' slices; each rank combines its slice; `readers`, for whom
/// `into` is there, read the result.
fn divided(steps: &mut Steps<'_>, data: &Src, op: &Op, into: Option<MutMem>, readers: Readers) -> Result<()> {
    let (me, n) = (steps.comm.rank() as usize, steps.comm.size() as usize);
    let extent = data.ty.extent() as usize;
    let chunk = (steps.layout().share() / extent).max(1);
    let mut failed = Ok(());
    for first in (0..data.count).step_by(chunk) {
        let count = chunk.min(data.count - first);
        let (start, bytes) = (first * extent, count * extent);

        let written = steps.enter()?;
        let shared = steps.whole(written, me)?;
        let (from, to) = (count * me / n * extent, count * (me + 1) / n * extent);
        for (first, end) in [(0, from), (to, bytes)] {
            of(data.mem, start + first, end - first).copy_to_mem(at(&shared, me * lines(bytes) + first, end - first));
        }
        steps.arrive(written);
        steps.full(written)?;

        let reduced = steps.enter()?;
        let result = steps.whole(reduced, me)?;
        let len = to - from;
        if len > 0 && failed.is_ok() {
            let own = of(data.mem, start + from, len);
            let part = |r: usize| Ok(if r == me { own } else { at(&shared, r * lines(bytes) + from, len).as_const() });
            // A failing user operation must not keep the others waiting: the steps go on.
            failed = fold(op, &data.ty, len / extent, n, part, at(&result, from, len));
            if steps.takes(n * bytes, Readers::One) {
                (0..n).filter(|r| *r != me).for_each(|r| at(&shared, r * lines(bytes) + from, len).take_lines());
            }
        }
        steps.arrive(reduced);
        let Some(into) = into else { continue };
        let copy = |from: usize, to: usize, take: bool| {
            at(&result, from, to - from).copy_out(into.at((start + from) as isize, to - from), take);
        };
        // The own slice is still in the cache, and its lines are the others'.
        copy(from, to, false);
        steps.full(reduced)?;
        let take = steps.takes(n * bytes, readers);
        copy(0, from, take);
        copy(to, bytes, take);
    }
    failed
}

/// Whether a large reduction among so many ranks goes to the root in chunks, without slices: with one other rank there is
/// less to move so.
pub(super) fn in_stream(kind: Kind, ranks: usize) -> bool {
    kind == Kind::Reduce && ranks == 2
}

/// Bytes that the root combines at a time, so that they stay in the first cache between its passes over them.
const BLOCK: usize = 8192;

/// For two ranks and a predefined operation: the other one leaves chunks, and the root combines them with its own.
fn streamed(steps: &mut Steps<'_>, data: &Src, op: &Op, into: Option<MutMem>, root: usize) -> Result<()> {
    let me = steps.comm.rank() as usize;
    let extent = data.ty.extent() as usize;
    let chunk = (steps.chunk(data.count * extent) / extent).max(1);
    let block = (BLOCK / extent).max(1);
    let mut failed = Ok(());
    for (first, count) in moving::chunks(data.count, chunk) {
        let (start, bytes) = (first * extent, count * extent);
        let step = steps.enter()?;
        let shared = steps.whole(step, me)?;
        let Some(into) = into else {
            of(data.mem, start, bytes).copy_to_mem(at(&shared, 0, bytes));
            steps.publish(step);
            continue;
        };
        steps.arrive(step);
        steps.said(step, 1 - root)?;
        let take = steps.takes(bytes, Readers::One);
        for (first, count) in moving::chunks(count, block) {
            if failed.is_err() {
                // A failing operation must not keep the other rank waiting: the steps go on.
                break;
            }
            let (from, len) = (first * extent, count * extent);
            let (own, theirs) = (of(data.mem, start + from, len), at(&shared, from, len));
            let into = into.at((start + from) as isize, len);
            // As in `fold`, the second rank's is combined into the first one's (predefined operations commute): at the second
            // rank that is the other's copy, and no room of its own, where its input may lie.
            if root == 0 {
                own.copy_to_mem(into);
                failed = op.reduce(&data.ty, theirs.as_const(), into, count);
                if take {
                    theirs.take_lines();
                }
            } else {
                failed = op.reduce(&data.ty, own, theirs, count);
                theirs.as_const().copy_to_mem(into);
            }
        }
    }
    failed
}

/// Combined at the root, or in slices.
pub(super) fn reduce(
    steps: &mut Steps<'_>,
    send: Option<&Src>,
    recv: Option<&Dst>,
    op: &Op,
    root: usize,
) -> Result<()> {
    let Some(data) = contribution(send, recv) else {
        return Ok(());
    };
    let into = recv.filter(|_| steps.comm.rank() as usize == root).map(room);
    let (bytes, n) = (data.count * data.ty.extent() as usize, steps.comm.size() as usize);
    let at_once = if op.is_predefined() { lines(bytes) * n <= TOGETHER } else { bytes <= USER_DIVIDE };
    if at_once && bytes <= steps.layout().share() {
        together(steps, &data, op, into)
    } else if steps.is_large() && in_stream(Kind::Reduce, n) && op.is_predefined() {
        streamed(steps, &data, op, into, root)
    } else {
        divided(steps, &data, op, into, Readers::One)
    }
}

/// The memory of a dense result.
fn room(recv: &Dst) -> MutMem {
    recv.mem.at(0, recv.count * recv.ty.extent() as usize)
}

/// Small: every rank combines everything. Large: in slices. A small user operation runs on rank 0 only: its calls may be
/// expensive, and all ranks get the same answer even from one that is not exact.
pub(super) fn allreduce(steps: &mut Steps<'_>, send: Option<&Src>, recv: &Dst, op: &Op) -> Result<()> {
    let data = send.cloned().unwrap_or_else(|| recv.src());
    let (bytes, n) = (data.count * data.ty.extent() as usize, steps.comm.size() as usize);
    let fits = bytes <= steps.layout().share();
    if op.is_predefined() {
        return if fits && lines(bytes) * n <= TOGETHER {
            together(steps, &data, op, Some(room(recv)))
        } else {
            divided(steps, &data, op, Some(room(recv)), Readers::AllOthers)
        };
    }
    if fits && bytes <= USER_DIVIDE {
        let into = (steps.comm.rank() == 0).then(|| room(recv));
        let reduced = together(steps, &data, op, into);
        if let Err(e) = &reduced
            && e.is_interrupted()
        {
            return reduced;
        }
        moving::bcast(steps, recv, 0)?;
        return reduced;
    }
    divided(steps, &data, op, Some(room(recv)), Readers::AllOthers)
}

/// Most ranks among which a large scan goes through the area: among more, messages in a tree are done before a chain is,
/// of which only a few links fit into the memory at once.
pub(super) const SCAN_RANKS: usize = 8;

/// Small: all write; each rank combines the contributions of the ranks up to it, or before it. Large: in a chain.
pub(super) fn scan(steps: &mut Steps<'_>, send: Option<&Src>, recv: &Dst, op: &Op, exclusive: bool) -> Result<()> {
    let me = steps.comm.rank() as usize;
    let data = send.cloned().unwrap_or_else(|| recv.src());
    let bytes = data.count * data.ty.extent() as usize;
    if steps.is_large() {
        return scan_in_chain(steps, &data, recv, op, exclusive);
    }
    let ranks = if exclusive { me } else { me + 1 };
    let step = steps.enter()?;
    of(data.mem, 0, bytes).copy_to_mem(of_rank(steps, step, me, bytes)?);
    steps.publish(step);
    if ranks == 0 {
        return Ok(());
    }
    steps.below(step, me)?;
    let part = |r: usize| of_rank(steps, step, r, bytes).map(|mem| mem.as_const());
    fold(op, &data.ty, data.count, ranks, part, room(recv))
}

/// In chunks, along the ranks: each combines what the one before it has so far with its own, and leaves that for the next.
/// So each contribution is combined once, and in the same order as when a rank combines them all.
fn scan_in_chain(steps: &mut Steps<'_>, data: &Src, recv: &Dst, op: &Op, exclusive: bool) -> Result<()> {
    let (me, last) = (steps.comm.rank() as usize, steps.comm.size() as usize - 1);
    let extent = data.ty.extent() as usize;
    let chunk = (steps.layout().share() / extent).max(1);
    let mut failed = Ok(());
    for (first, count) in moving::chunks(data.count, chunk) {
        let (start, bytes) = (first * extent, count * extent);
        let (own, into) = (of(data.mem, start, bytes), room(recv).at(start as isize, bytes));
        let step = steps.enter()?;
        let next = of_rank(steps, step, me, bytes)?;
        if me == 0 {
            own.copy_to_mem(next);
            steps.publish(step);
            if !exclusive {
                own.copy_to_mem(into);
            }
            continue;
        }
        let before = of_rank(steps, step, me - 1, bytes)?;
        // In the result's memory, or where the next rank reads: an exclusive result may lie on this rank's input.
        let sum = if exclusive { next } else { into };
        own.copy_to_mem(sum);
        steps.said(step, me - 1)?;
        if failed.is_ok() && (me < last || !exclusive) {
            // A failing user operation must not keep the others waiting: the steps go on.
            failed = op.reduce(&data.ty, before.as_const(), sum, count);
        }
        if !exclusive && me < last {
            into.as_const().copy_to_mem(next);
        }
        if exclusive {
            before.as_const().copy_to_mem(into);
        }
        if steps.takes(last * bytes, Readers::One) {
            before.take_lines();
        }
        steps.publish(step);
    }
    failed
}

/// All write; each rank combines its block.
pub(super) fn reduce_scatter(
    steps: &mut Steps<'_>,
    send: Option<&Src>,
    recv: &Dst,
    counts: &[usize],
    op: &Op,
) -> Result<()> {
    let (me, n) = (steps.comm.rank() as usize, steps.comm.size() as usize);
    let data = send.cloned().unwrap_or_else(|| recv.src());
    let extent = data.ty.extent() as usize;
    let bytes = data.count * extent;
    if bytes > steps.layout().share() {
        return reduce_scatter_divided(steps, &data, send.is_none(), recv, counts, op);
    }
    let step = steps.enter()?;
    of(data.mem, 0, bytes).copy_to_mem(of_rank(steps, step, me, bytes)?);
    steps.arrive(step);
    steps.full(step)?;
    let (first, count) = (counts[..me].iter().sum::<usize>() * extent, counts[me]);
    if count == 0 {
        return Ok(());
    }
    let part = |r: usize| of_rank(steps, step, r, bytes).map(|mem| mem.as_const().slice(first, count * extent));
    fold(op, &data.ty, count, n, part, recv.mem.at(0, count * extent))
}

/// In each step all write the next piece of every block, but for their own, and each rank combines that of its own. (In
/// place, they write that, too: a result falls on input that has been written in this step or before, since each piece
/// lies at least as far on as its place in its block.)
fn reduce_scatter_divided(
    steps: &mut Steps<'_>,
    data: &Src,
    in_place: bool,
    recv: &Dst,
    counts: &[usize],
    op: &Op,
) -> Result<()> {
    let (me, n) = (steps.comm.rank() as usize, steps.comm.size() as usize);
    let extent = data.ty.extent() as usize;
    let piece = (steps.layout().pair_share() / extent).max(1);
    let pair = |steps: &Steps<'_>, by: usize, to: usize| steps.pair(by, to, piece * extent);
    let longest = counts.iter().copied().max().unwrap_or(0);
    let mut failed = Ok(());
    for first in (0..longest).step_by(piece) {
        let bytes_of = |r: usize| counts[r].saturating_sub(first).min(piece) * extent;
        let step = steps.enter()?;
        let shared = steps.whole(step, me)?;
        let mut block = 0;
        let mut own = None;
        for (r, count) in counts.iter().enumerate() {
            let len = bytes_of(r);
            let piece = of(data.mem, (block + first) * extent, len);
            if r == me && !in_place {
                own = Some(piece);
            } else {
                piece.copy_to_mem(at(&shared, pair(steps, me, r), len));
            }
            block += count;
        }
        steps.arrive(step);
        steps.full(step)?;
        let len = bytes_of(me);
        if len > 0 && failed.is_ok() {
            let theirs = |r: usize| at(&shared, pair(steps, r, me), len);
            let into = recv.mem.at((first * extent) as isize, len);
            let part = |r: usize| Ok(own.filter(|_| r == me).unwrap_or_else(|| theirs(r).as_const()));
            failed = fold(op, &data.ty, len / extent, n, part, into);
            if steps.takes(n * n * piece * extent, Readers::One) {
                (0..n).filter(|r| *r != me).for_each(|r| theirs(r).take_lines());
            }
        }
    }
    failed
}
