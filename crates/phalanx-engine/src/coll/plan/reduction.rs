//! Reductions: reduce, allreduce, reduce_scatter. Contributions are combined in the order of the ranks.

use crate::error::Result;
use crate::op::Op;

use super::super::args::DstBlocks;
use super::super::schedule::{Dst, Plan, Src};
use super::{SMALL, Team, contribution, fanout};

/// Bytes from which a reduction is worth being divided among the ranks.
const DIVIDE: usize = 32 * 1024;

/// Combines `parts` (in the order of the ranks) into `into`, which is none of them.
///
/// An operation computes `inout = input op inout`. When it commutes, the accumulator is `inout` and takes
/// the ranks upwards, which gives `(a0 op a1) op a2`, the order of a serial loop. When it does not, the ranks are taken
/// downwards, `a0 op (a1 op a2)`: the same product without a copy of each contribution.
fn fold(p: &mut Plan, op: &Op, parts: &[Src], into: &Dst) {
    let n = parts.len();
    if op.is_commutative() {
        p.copy(parts[0].clone(), into.clone());
        parts[1..].iter().for_each(|part| p.reduce(op, part.clone(), into.clone()));
    } else {
        p.copy(parts[n - 1].clone(), into.clone());
        parts[..n - 1].iter().rev().for_each(|part| p.reduce(op, part.clone(), into.clone()));
    }
}

/// Receives the contributions of all others and folds them with mine into `into`.
/// In place, `mine` lies in `into` and is saved first.
fn collect(p: &mut Plan, team: &Team<'_>, op: &Op, mine: Src, into: &Dst, in_place: bool) -> Result<()> {
    let n = team.size();
    let mut parts = Vec::with_capacity(n);
    for r in 0..n {
        parts.push(if r != team.me {
            let room = p.scratch(&into.ty, into.count)?;
            p.recv(team.peer(r), room.clone());
            room.src()
        } else if in_place && n > 1 {
            let saved = p.scratch(&into.ty, into.count)?;
            p.copy(mine.clone(), saved.clone());
            saved.src()
        } else {
            mine.clone()
        });
    }
    p.fence();
    if n > 1 || !in_place {
        fold(p, op, &parts, into);
    }
    Ok(())
}

/// The elements that rank `r` of `n` reduces when the work is divided: first and length.
fn slice(count: usize, r: usize, n: usize) -> (usize, usize) {
    let at = |r: usize| (count as u128 * r as u128 / n as u128) as usize;
    (at(r), at(r + 1) - at(r))
}

fn divided(team: &Team<'_>, data: &Src) -> bool {
    team.size() > 2 && data.bytes() >= DIVIDE && data.count >= team.size()
}

/// Each rank folds its slice of everybody's data; the results are `result(r)` for the slice of rank `r` where
/// this rank has a place for it.
fn reduce_slices(p: &mut Plan, team: &Team<'_>, op: &Op, data: &Src, into: &Dst, in_place: bool) -> Result<()> {
    let n = team.size();
    for r in team.others() {
        let (first, count) = slice(data.count, r, n);
        p.send(team.peer(r), data.part(first, count));
    }
    let (first, count) = slice(data.count, team.me, n);
    collect(p, team, op, data.part(first, count), into, in_place)
}

/// At the root, or divided among the ranks and gathered.
pub(super) fn reduce(
    p: &mut Plan,
    team: &Team<'_>,
    root: usize,
    send: Option<&Src>,
    recv: Option<&Dst>,
    op: &Op,
) -> Result<()> {
    let (me, n) = (team.me, team.size());
    let data = match (send, recv) {
        (Some(send), _) => send.clone(),
        (None, Some(recv)) => recv.src(),
        (None, None) => return Ok(()),
    };
    if !divided(team, &data) {
        match recv {
            Some(recv) if me == root => collect(p, team, op, data, recv, send.is_none())?,
            _ => p.send(team.peer(root), data),
        }
        return Ok(());
    }
    let (first, count) = slice(data.count, me, n);
    if let (Some(recv), true) = (recv, me == root) {
        reduce_slices(p, team, op, &data, &recv.part(first, count), send.is_none())?;
        for r in team.others() {
            let (first, count) = slice(data.count, r, n);
            p.recv(team.peer(r), recv.part(first, count));
        }
    } else {
        let result = p.scratch(&data.ty, count)?;
        reduce_slices(p, team, op, &data, &result, false)?;
        p.send(team.peer(root), result.src());
    }
    Ok(())
}

/// At rank 0 and broadcast, or divided among the ranks and gathered by all.
pub(super) fn allreduce(p: &mut Plan, team: &Team<'_>, send: Option<&Src>, recv: &Dst, op: &Op) -> Result<()> {
    let (me, n) = (team.me, team.size());
    let data = contribution(send, recv);
    if !divided(team, &data) {
        reduce(p, team, 0, Some(&data).filter(|_| me != 0 || send.is_some()), Some(recv), op)?;
        p.fence();
        fanout::bcast(p, team, 0, recv);
        return Ok(());
    }
    let (first, count) = slice(data.count, me, n);
    let mine = recv.part(first, count);
    reduce_slices(p, team, op, &data, &mine, send.is_none())?;
    for i in 1..n {
        let (to, from) = ((me + i) % n, (me + n - i) % n);
        let (first, count) = slice(data.count, from, n);
        p.recv(team.peer(from), recv.part(first, count));
        p.send(team.peer(to), mine.src());
    }
    Ok(())
}

/// Small: at rank 0 and scattered. Else each rank folds its own block of everybody's data.
pub(super) fn reduce_scatter(
    p: &mut Plan,
    team: &Team<'_>,
    send: Option<&Src>,
    recv: &Dst,
    counts: &[usize],
    op: &Op,
) -> Result<()> {
    let (me, n) = (team.me, team.size());
    let data = contribution(send, recv);
    let mut starts = Vec::with_capacity(n);
    let mut total = 0;
    for count in counts {
        starts.push(total);
        total += count;
    }
    let result = recv.part(0, counts[me]);
    if n > 2 && data.bytes() <= SMALL {
        if me != 0 {
            p.send(team.peer(0), data);
            p.recv(team.peer(0), result);
            return Ok(());
        }
        let whole = p.scratch(&data.ty, total)?;
        collect(p, team, op, data, &whole, false)?;
        let blocks = DstBlocks::consecutive(&whole, counts).as_src();
        fanout::scatter(p, team, 0, Some(&blocks), Some(&result));
        return Ok(());
    }
    for r in team.others() {
        p.send(team.peer(r), data.part(starts[r], counts[r]));
    }
    let mine = data.part(starts[me], counts[me]);
    if send.is_some() {
        return collect(p, team, op, mine, &result, false);
    }
    // In place the result overwrites the block of rank 0, which is sent by then; mine may overlap it.
    let saved = p.scratch(&data.ty, counts[me])?;
    p.copy(mine, saved.clone());
    collect(p, team, op, saved.src(), &result, false)
}
