//! Operations in which everybody receives from everybody: allgather, alltoall.

use crate::error::Result;

use super::super::args::{DstBlocks, SrcBlocks};
use super::super::schedule::{Plan, Src};
use super::{SMALL, Team, WINDOW, contribution, fanout};

/// Small equal blocks: gathered by rank 0 and handed out in one piece. Else everybody sends to everybody.
pub(super) fn allgather(p: &mut Plan, team: &Team<'_>, send: Option<&Src>, recv: &DstBlocks) {
    let (me, n) = (team.me, team.size());
    if n > 2
        && let Some(whole) = recv.whole(n)
        && whole.bytes() <= SMALL
    {
        let mine = contribution(send, &recv.block(me));
        // In place, rank 0's block is where it belongs already.
        fanout::gather(p, team, 0, Some(&mine).filter(|_| me != 0 || send.is_some()), Some(recv));
        p.fence();
        fanout::bcast(p, team, 0, &whole);
        return;
    }
    let mine = contribution(send, &recv.block(me));
    if send.is_some() {
        p.copy(mine.clone(), recv.block(me));
    }
    for i in 1..n {
        let (to, from) = ((me + i) % n, (me + n - i) % n);
        p.recv(team.peer(from), recv.block(from));
        p.send(team.peer(to), mine.clone());
        if i % WINDOW == 0 {
            p.fence();
        }
    }
}

/// Everybody sends to everybody, in place by way of a copy.
pub(super) fn alltoall(p: &mut Plan, team: &Team<'_>, send: Option<&SrcBlocks>, recv: &DstBlocks) -> Result<()> {
    let (me, n) = (team.me, team.size());
    if let Some(send) = send {
        p.copy(send.block(me), recv.block(me));
    }
    for i in 1..n {
        let (to, from) = ((me + i) % n, (me + n - i) % n);
        if let Some(send) = send {
            p.send(team.peer(to), send.block(to));
            p.recv(team.peer(from), recv.block(from));
        } else {
            // The block for `to` makes room for the block of `to`: the two ranks exchange in place.
            let outgoing = recv.block(to);
            let copy = p.scratch(&outgoing.ty, outgoing.count)?;
            p.copy(outgoing.src(), copy.clone());
            p.send(team.peer(to), copy.src());
        }
        if i % WINDOW == 0 && send.is_some() {
            p.fence();
        }
    }
    if send.is_none() {
        team.others().for_each(|r| p.recv(team.peer(r), recv.block(r)));
    }
    Ok(())
}
