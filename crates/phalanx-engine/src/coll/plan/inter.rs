//! Operations between the two groups of an intercommunicator (MPI 5.0 §6.2.3).
//!
//! Rank 0 of each group speaks for it where a group acts as one.

use crate::comm::Comm;
use crate::error::{Result, fail};

use super::super::args::DstBlocks;
use super::super::call::{Body, Call, Root};
use super::super::schedule::Plan;
use super::{Team, fanout, nothing, reduction};

pub(super) fn plan(p: &mut Plan, comm: &Comm, call: &Call) -> Result<()> {
    let (local, remote) = (Team::local(comm), Team::remote(comm));
    let (me, others) = (local.me, remote.size());
    match &call.body {
        Body::Barrier => {
            let nothing = nothing();
            if me != 0 {
                p.send(local.peer(0), nothing.src());
                p.recv(local.peer(0), nothing);
                return Ok(());
            }
            (1..local.size()).for_each(|r| p.recv(local.peer(r), nothing.clone()));
            p.fence();
            p.send(remote.peer(0), nothing.src());
            p.recv(remote.peer(0), nothing.clone());
            p.fence();
            (1..local.size()).for_each(|r| p.send(local.peer(r), nothing.src()));
        }
        Body::Bcast { buf, root } => match root {
            Root::Elsewhere => {}
            Root::Here => p.send(remote.peer(0), buf.src()),
            Root::Rank(r) => {
                if me == 0 {
                    p.recv(remote.peer(*r), buf.clone());
                    p.fence();
                }
                fanout::bcast(p, &local, 0, buf);
            }
        },
        Body::Gather { send, recv, root } => match (root, send, recv) {
            (Root::Here, _, Some(recv)) => fanout::gather_from(p, &remote, 0..others, recv),
            (Root::Rank(r), Some(send), _) => p.send(remote.peer(*r), send.clone()),
            _ => {}
        },
        Body::Scatter { send, recv, root } => match (root, send, recv) {
            (Root::Here, Some(send), _) => fanout::scatter_to(p, &remote, 0..others, send),
            (Root::Rank(r), _, Some(recv)) => p.recv(remote.peer(*r), recv.clone()),
            _ => {}
        },
        Body::Allgather { send, recv } => {
            for i in 0..others {
                let r = (me + i) % others;
                p.recv(remote.peer(r), recv.block(r));
                if let Some(send) = send {
                    p.send(remote.peer(r), send.clone());
                }
            }
        }
        Body::Alltoall { send, recv } => {
            for i in 0..others {
                let r = (me + i) % others;
                p.recv(remote.peer(r), recv.block(r));
                if let Some(send) = send {
                    p.send(remote.peer(r), send.block(r));
                }
            }
        }
        Body::Reduce { send, recv, op, root } => match (root, send, recv) {
            (Root::Here, _, Some(recv)) => p.recv(remote.peer(0), recv.clone()),
            (Root::Rank(r), Some(send), _) => {
                let result = if me == 0 { Some(p.scratch(&send.ty, send.count)?) } else { None };
                reduction::reduce(p, &local, 0, Some(send), result.as_ref(), op)?;
                if let Some(result) = result {
                    p.fence();
                    p.send(remote.peer(*r), result.src());
                }
            }
            _ => {}
        },
        Body::Allreduce { send, recv, op } => {
            let Some(send) = send else { return Ok(()) };
            // Each group's product goes to the other group.
            let result = if me == 0 { Some(p.scratch(&send.ty, send.count)?) } else { None };
            reduction::reduce(p, &local, 0, Some(send), result.as_ref(), op)?;
            p.fence();
            if let Some(result) = result {
                p.send(remote.peer(0), result.src());
                p.recv(remote.peer(0), recv.clone());
                p.fence();
            }
            fanout::bcast(p, &local, 0, recv);
        }
        Body::ReduceScatter { send, recv, counts, op } => {
            let Some(send) = send else { return Ok(()) };
            let mine = recv.part(0, counts[me]);
            let result = if me == 0 { Some(p.scratch(&send.ty, send.count)?) } else { None };
            reduction::reduce(p, &local, 0, Some(send), result.as_ref(), op)?;
            p.fence();
            let mut theirs = None;
            if let Some(result) = result {
                let all = p.scratch(&recv.ty, counts.iter().sum())?;
                p.send(remote.peer(0), result.src());
                p.recv(remote.peer(0), all.clone());
                p.fence();
                theirs = Some(DstBlocks::consecutive(&all, counts).as_src());
            }
            fanout::scatter(p, &local, 0, theirs.as_ref(), Some(&mine));
        }
        Body::Scan { .. } => fail!(Comm, "the standard defines no prefix reductions on intercommunicators"),
        Body::Neighbours { .. } => fail!(Comm, "the standard defines no neighbourhoods on intercommunicators"),
    }
    Ok(())
}
