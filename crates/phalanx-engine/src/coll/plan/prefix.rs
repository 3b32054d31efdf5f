//! Prefix reductions: scan, exscan. A chain from rank 0 upwards, in segments when there is much data.

use crate::error::Result;
use crate::op::Op;

use super::super::schedule::{Dst, Plan, Src};
use super::{Team, contribution};

/// Bytes of a segment of the chain.
const SEGMENT: usize = 64 * 1024;

/// First element and length of each segment of `data`.
fn segments(data: &Dst) -> impl Iterator<Item = (usize, usize)> + use<> {
    let count = data.count;
    let step = (SEGMENT / data.ty.size().max(1)).max(1);
    (0..count.max(1)).step_by(step).map(move |first| (first, step.min(count - first)))
}

/// `recv = prefix of the ranks before me op mine`.
pub(super) fn scan(p: &mut Plan, team: &Team<'_>, send: Option<&Src>, recv: &Dst, op: &Op) -> Result<()> {
    let (me, n) = (team.me, team.size());
    if let Some(send) = send {
        p.copy(send.clone(), recv.clone());
    }
    let prefix = if me > 0 { Some(p.scratch(&recv.ty, recv.count)?) } else { None };
    for (first, count) in segments(recv) {
        let mine = recv.part(first, count);
        if let Some(prefix) = &prefix {
            p.recv(team.peer(me - 1), prefix.part(first, count));
            p.fence();
            p.reduce(op, prefix.part(first, count).src(), mine.clone());
        }
        if me + 1 < n {
            p.send(team.peer(me + 1), mine.src());
        }
    }
    Ok(())
}

/// `recv = prefix of the ranks before me`; rank 0's is left alone.
pub(super) fn exscan(p: &mut Plan, team: &Team<'_>, send: Option<&Src>, recv: &Dst, op: &Op) -> Result<()> {
    let (me, n) = (team.me, team.size());
    let mine = contribution(send, recv);
    if me == 0 {
        for (first, count) in segments(recv) {
            if n > 1 {
                p.send(team.peer(1), mine.part(first, count));
            }
        }
        return Ok(());
    }
    // What goes on to the next rank: the prefix with mine. The copy also saves mine when it lies in `recv`.
    let total = if me + 1 < n { Some(p.scratch(&recv.ty, recv.count)?) } else { None };
    if let Some(total) = &total {
        p.copy(mine, total.clone());
    }
    for (first, count) in segments(recv) {
        let prefix = recv.part(first, count);
        p.recv(team.peer(me - 1), prefix.clone());
        if let Some(total) = &total {
            p.fence();
            p.reduce(op, prefix.src(), total.part(first, count));
            p.send(team.peer(me + 1), total.part(first, count).src());
        }
    }
    Ok(())
}
