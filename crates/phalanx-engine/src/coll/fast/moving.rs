//! Operations that only move data.

use crate::error::Result;

use super::super::args::{DstBlocks, SrcBlocks};
use super::super::memory::{copy_typed, get, put};
use super::super::schedule::{Dst, Src};
use super::area::Layout;
use super::steps::{Readers, Steps};

/// Largest block of an alltoall that goes through the area; larger ones move with one copy as messages.
pub(super) fn alltoall_limit(layout: Layout) -> usize {
    4 * layout.pair_share()
}

/// Positions and lengths of the chunks of so many bytes or elements, at least one.
pub(super) fn chunks(bytes: usize, chunk: usize) -> impl Iterator<Item = (usize, usize)> {
    (0..bytes.max(1)).step_by(chunk).map(move |at| (at, chunk.min(bytes - at)))
}

/// The root writes chunks, all others read them.
pub(super) fn bcast(steps: &mut Steps<'_>, buf: &Dst, root: usize) -> Result<()> {
    for (from, len) in chunks(buf.bytes(), steps.chunk(buf.bytes())) {
        let at = steps.enter()?;
        let data = steps.whole(at, root)?;
        if steps.comm.rank() as usize == root {
            put(&data, 0, &buf.src(), from, len)?;
            steps.publish(at);
        } else {
            steps.arrive(at);
            steps.said(at, root)?;
            get(&data, 0, buf, from, len, steps.takes(len, Readers::AllOthers))?;
        }
    }
    Ok(())
}

/// All write their block; the root reads.
pub(super) fn gather(steps: &mut Steps<'_>, send: Option<&Src>, recv: Option<&DstBlocks>, root: usize) -> Result<()> {
    let (me, n) = (steps.comm.rank() as usize, steps.comm.size() as usize);
    let at = steps.enter()?;
    if me != root {
        if let Some(send) = send {
            put(&steps.block(at, me, send.bytes())?, 0, send, 0, send.bytes())?;
        }
        steps.arrive(at);
        return Ok(());
    }
    steps.arrive(at);
    let Some(recv) = recv else { return Ok(()) };
    if let Some(send) = send {
        copy_typed(send, &recv.block(me))?;
    }
    steps.full(at)?;
    for r in (0..n).filter(|&r| r != me) {
        let block = recv.block(r);
        get(
            &steps.block(at, r, block.bytes())?,
            0,
            &block,
            0,
            block.bytes(),
            steps.takes(n * block.bytes(), Readers::One),
        )?;
    }
    Ok(())
}

/// The root writes all blocks; each other rank reads its own.
pub(super) fn scatter(steps: &mut Steps<'_>, send: Option<&SrcBlocks>, recv: Option<&Dst>, root: usize) -> Result<()> {
    let (me, n) = (steps.comm.rank() as usize, steps.comm.size() as usize);
    let at = steps.enter()?;
    let data = steps.whole(at, root)?;
    if me == root {
        let Some(send) = send else { return Ok(()) };
        for r in (0..n).filter(|&r| r != me) {
            let block = send.block(r);
            put(&data, r * steps.stride(block.bytes()), &block, 0, block.bytes())?;
        }
        steps.publish(at);
        if let Some(recv) = recv {
            copy_typed(&send.block(me), recv)?;
        }
        return Ok(());
    }
    let mine = recv.map_or(0, |recv| me * steps.stride(recv.bytes()));
    steps.arrive(at);
    steps.said(at, root)?;
    if let Some(recv) = recv {
        get(&data, mine, recv, 0, recv.bytes(), steps.takes(n * recv.bytes(), Readers::One))?;
    }
    Ok(())
}

/// All write their block (in chunks that fit) and read everybody's.
pub(super) fn allgather(steps: &mut Steps<'_>, send: Option<&Src>, recv: &DstBlocks) -> Result<()> {
    let (me, n) = (steps.comm.rank() as usize, steps.comm.size() as usize);
    let own = recv.block(me);
    if let Some(send) = send {
        copy_typed(send, &own)?;
    }
    let mine = send.cloned().unwrap_or_else(|| own.src());
    for (from, len) in chunks(own.bytes(), steps.layout().share()) {
        let at = steps.enter()?;
        put(&steps.block(at, me, len)?, 0, &mine, from, len)?;
        steps.arrive(at);
        steps.full(at)?;
        for r in (me + 1..n).chain(0..me) {
            get(&steps.block(at, r, len)?, 0, &recv.block(r), from, len, steps.takes(n * len, Readers::AllOthers))?;
        }
    }
    Ok(())
}

/// All write all their blocks (in chunks that fit) and read those for them.
pub(super) fn alltoall(steps: &mut Steps<'_>, send: Option<&SrcBlocks>, recv: &DstBlocks) -> Result<()> {
    let (me, n) = (steps.comm.rank() as usize, steps.comm.size() as usize);
    let outgoing = |r: usize| send.map_or_else(|| recv.block(r).src(), |s| s.block(r));
    if let Some(send) = send {
        copy_typed(&send.block(me), &recv.block(me))?;
    }
    let bytes = recv.block(me).bytes();
    let share = steps.layout().pair_share().max(1);
    for (from, len) in chunks(bytes, share) {
        let at = steps.enter()?;
        let data = steps.whole(at, me)?;
        for r in (me + 1..n).chain(0..me) {
            put(&data, steps.pair(me, r, len), &outgoing(r), from, len)?;
        }
        steps.arrive(at);
        steps.full(at)?;
        for r in (me + 1..n).chain(0..me) {
            get(
                &steps.whole(at, r)?,
                steps.pair(r, me, len),
                &recv.block(r),
                from,
                len,
                steps.takes(n * n * len, Readers::One),
            )?;
        }
    }
    Ok(())
}
