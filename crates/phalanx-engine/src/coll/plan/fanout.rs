//! Operations with a root: barrier, bcast, gather, scatter.

use super::super::args::{DstBlocks, SrcBlocks};
use super::super::schedule::{Dst, Plan, Src};
use super::{SMALL, Team, WINDOW, nothing};

/// Ranks up to which the root of a small bcast or barrier talks to everybody itself.
const FLAT: usize = 8;

/// Everybody tells rank 0, which tells everybody; among many ranks in rounds of doubling distance.
pub(super) fn barrier(p: &mut Plan, team: &Team<'_>) {
    let (me, n) = (team.me, team.size());
    let nothing = nothing();
    if n <= FLAT {
        if me == 0 {
            (1..n).for_each(|r| p.recv(team.peer(r), nothing.clone()));
            p.fence();
            (1..n).for_each(|r| p.send(team.peer(r), nothing.src()));
        } else {
            p.send(team.peer(0), nothing.src());
            p.recv(team.peer(0), nothing);
        }
        return;
    }
    let mut distance = 1;
    while distance < n {
        p.send(team.peer((me + distance) % n), nothing.src());
        p.recv(team.peer((me + n - distance) % n), nothing.clone());
        p.fence();
        distance *= 2;
    }
}

/// Flat, or a binomial tree when there are many ranks and little data.
pub(super) fn bcast(p: &mut Plan, team: &Team<'_>, root: usize, buf: &Dst) {
    let (me, n) = (team.me, team.size());
    if n <= FLAT || buf.bytes() > SMALL {
        if me == root {
            team.others().for_each(|r| p.send(team.peer(r), buf.src()));
        } else {
            p.recv(team.peer(root), buf.clone());
        }
        return;
    }
    // Ranks are counted from the root: the parent of v is v without its lowest bit.
    let v = (me + n - root) % n;
    let lowest = if v == 0 { n.next_power_of_two() } else { v & v.wrapping_neg() };
    if v != 0 {
        p.recv(team.peer((v - lowest + root) % n), buf.clone());
        p.fence();
    }
    let mut bit = lowest / 2;
    while bit > 0 {
        if v + bit < n {
            p.send(team.peer((v + bit + root) % n), buf.src());
        }
        bit /= 2;
    }
}

/// Everybody sends to the root.
pub(super) fn gather(p: &mut Plan, team: &Team<'_>, root: usize, send: Option<&Src>, recv: Option<&DstBlocks>) {
    if team.me == root {
        let Some(recv) = recv else { return };
        if let Some(send) = send {
            p.copy(send.clone(), recv.block(root));
        }
        gather_from(p, team, team.others(), recv);
    } else if let Some(send) = send {
        p.send(team.peer(root), send.clone());
    }
}

/// Receives the blocks of `ranks`.
pub(super) fn gather_from(p: &mut Plan, team: &Team<'_>, ranks: impl Iterator<Item = usize>, recv: &DstBlocks) {
    for (i, r) in ranks.enumerate() {
        if i > 0 && i % WINDOW == 0 {
            p.fence();
        }
        p.recv(team.peer(r), recv.block(r));
    }
    p.fence();
}

/// The root sends to everybody.
pub(super) fn scatter(p: &mut Plan, team: &Team<'_>, root: usize, send: Option<&SrcBlocks>, recv: Option<&Dst>) {
    if team.me == root {
        let Some(send) = send else { return };
        scatter_to(p, team, team.others(), send);
        if let Some(recv) = recv {
            p.copy(send.block(root), recv.clone());
        }
    } else if let Some(recv) = recv {
        p.recv(team.peer(root), recv.clone());
    }
    p.fence();
}

/// Sends the blocks of `ranks`.
pub(super) fn scatter_to(p: &mut Plan, team: &Team<'_>, ranks: impl Iterator<Item = usize>, send: &SrcBlocks) {
    for (i, r) in ranks.enumerate() {
        if i > 0 && i % WINDOW == 0 {
            p.fence();
        }
        p.send(team.peer(r), send.block(r));
    }
}
