//! Operations that only move data.

use crate::error::Result;

use super::super::args::{DstBlocks, SrcBlocks};
use super::super::memory::{copy_typed, get, put};
use super::super::schedule::{Dst, Src};
use super::area::{Layout, Steps};

/// Largest block of an alltoall that goes through the area; larger ones move with one copy as messages.
pub(super) fn alltoall_limit(layout: Layout) -> usize {
    4 * layout.pair_share()
}

/// Rounded up to whole cache lines, so that no two ranks write one line.
fn lines(bytes: usize) -> usize {
    bytes.next_multiple_of(64)
}

/// Positions and lengths of the chunks of `bytes`, at least one.
fn chunks(bytes: usize, chunk: usize) -> impl Iterator<Item = (usize, usize)> {
    (0..bytes.max(1)).step_by(chunk).map(move |at| (at, chunk.min(bytes - at)))
}

/// The root writes chunks, all others read them.
pub(super) fn bcast(steps: &mut Steps<'_>, buf: &Dst, root: usize) -> Result<()> {
    let bytes = buf.bytes();
    // Half a part: with four parts, the root writes one chunk while the others read the one before.
    let chunk = steps.layout().part / 2;
    for (from, len) in chunks(bytes, chunk) {
        let at = steps.enter()?;
        if steps.comm.rank() as usize == root {
            put(&steps.data(at)?, 0, &buf.src(), from, len)?;
            steps.publish(at);
        } else {
            steps.published(at)?;
            get(&steps.data(at)?, 0, buf, from, len)?;
        }
        steps.arrive(at);
    }
    Ok(())
}

/// All write their block; the root reads.
pub(super) fn gather(steps: &mut Steps<'_>, send: Option<&Src>, recv: Option<&DstBlocks>, root: usize) -> Result<()> {
    let (me, n) = (steps.comm.rank() as usize, steps.comm.size() as usize);
    let at = steps.enter()?;
    if me != root {
        if let Some(send) = send {
            put(&steps.data(at)?, me * lines(send.bytes()), send, 0, send.bytes())?;
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
    let data = steps.data(at)?;
    for r in (0..n).filter(|&r| r != me) {
        let block = recv.block(r);
        get(&data, r * lines(block.bytes()), &block, 0, block.bytes())?;
    }
    Ok(())
}

/// The root writes all blocks; each other rank reads its own.
pub(super) fn scatter(steps: &mut Steps<'_>, send: Option<&SrcBlocks>, recv: Option<&Dst>, root: usize) -> Result<()> {
    let (me, n) = (steps.comm.rank() as usize, steps.comm.size() as usize);
    let at = steps.enter()?;
    let data = steps.data(at)?;
    if me == root {
        let Some(send) = send else { return Ok(()) };
        for r in (0..n).filter(|&r| r != me) {
            let block = send.block(r);
            put(&data, r * lines(block.bytes()), &block, 0, block.bytes())?;
        }
        steps.publish(at);
        steps.arrive(at);
        if let Some(recv) = recv {
            copy_typed(&send.block(me), recv)?;
        }
        return Ok(());
    }
    steps.published(at)?;
    if let Some(recv) = recv {
        get(&data, me * lines(recv.bytes()), recv, 0, recv.bytes())?;
    }
    steps.arrive(at);
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
    let bytes = own.bytes();
    let share = steps.layout().share();
    for (from, len) in chunks(bytes, share) {
        let at = steps.enter()?;
        let (data, stride) = (steps.data(at)?, lines(len));
        put(&data, me * stride, &mine, from, len)?;
        steps.arrive(at);
        steps.full(at)?;
        for r in (me + 1..n).chain(0..me) {
            get(&data, r * stride, &recv.block(r), from, len)?;
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
        let data = steps.data(at)?;
        // Blocks with the same receiver lie together, so that a reader reads consecutive memory.
        let (block, row) = (len, lines(n * len));
        for r in (me + 1..n).chain(0..me) {
            put(&data, r * row + me * block, &outgoing(r), from, len)?;
        }
        steps.arrive(at);
        steps.full(at)?;
        for r in (me + 1..n).chain(0..me) {
            get(&data, me * row + r * block, &recv.block(r), from, len)?;
        }
    }
    Ok(())
}
