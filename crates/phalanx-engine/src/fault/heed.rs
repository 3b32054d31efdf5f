//! What a process does when it hears of a revoked communicator: it ends what it has under way there.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use phalanx_shm::ProcId;

use crate::comm::CommInner;
use crate::engine::{Core, RawOp, Stage, base_of};
use crate::error::Error;
use crate::group::Group;

use super::record::{self, Record};

impl Core {
    /// Looks which communicators others have revoked. Free as long as nobody uses anything of this chapter.
    #[cold]
    pub(crate) fn heed(&mut self) {
        if !self.universe.has_records() {
            return;
        }
        let comms: Vec<Arc<CommInner>> = self.comms.values().filter_map(std::sync::Weak::upgrade).collect();
        for comm in &comms {
            self.hear_of(comm);
        }
    }

    /// Whether a communicator has been revoked, which is heeded then.
    pub(crate) fn hear_of(&mut self, comm: &CommInner) {
        let revoked = |record: Record| record.ledger().is_ok_and(|ledger| ledger.revoked().is_some());
        if !comm.is_revoked() && Record::find(comm).is_ok_and(|record| record.is_some_and(revoked)) {
            self.is_revoked(comm);
        }
    }

    /// Ends what is under way on a communicator that has been revoked; nothing more begins there.
    pub(crate) fn is_revoked(&mut self, comm: &CommInner) {
        comm.mark_revoked();
        let error = comm.revoked_error();
        self.end_all(comm, &error);
        // An intercommunicator's collectives use another one.
        if let Some(local) = &comm.local_comm {
            local.inner().mark_revoked();
            self.end_all(local.inner(), &error);
        }
        // Waits for something else than operations look again.
        self.ops.completed += 1;
        self.settle();
    }

    fn end_all(&mut self, comm: &CommInner, error: &Error) {
        let here = |ctx: u32| base_of(ctx) == comm.context();
        let ops: Vec<RawOp> =
            self.ops.under_way().filter(|(_, op)| op.context().is_some_and(here)).map(|(op, _)| op).collect();
        for op in ops {
            self.give_up(op, error.clone());
        }
    }

    /// Ends an operation with an error though its peer may live, unless the two of them are moving the message already:
    /// then it ends with that.
    pub(crate) fn give_up(&mut self, op: RawOp, error: Error) {
        if self.cancel_recv(op) || self.cancel_send(op) {
            self.ops.turn_into(op, error);
        } else if let Some(send) = self.ops.send(op)
            && matches!(send.stage, Stage::Offered)
            && send.block.is_none()
        {
            // A small synchronous one, which nobody is going to match; an answer that comes all the same finds it gone.
            self.finish_send(op, Err(error));
        }
    }

    /// A peer of the communicator that has failed and that this process has not acknowledged.
    pub(crate) fn unacknowledged(&self, comm: &CommInner) -> Option<ProcId> {
        let peers = comm.remote.as_ref().unwrap_or(&comm.local);
        let acked = comm.fault.acked.load(Ordering::Relaxed) as usize;
        let mut failed = peers.members().iter().copied().filter(|p| self.has_failed(*p)).peekable();
        failed.peek()?;
        let known = if acked > 0 { acknowledged(comm, acked) } else { Group::empty() };
        failed.find(|process| !known.contains(*process))
    }

    /// A member of the communicator of a collective context that has failed, whichever of its groups it is in.
    pub(crate) fn failed_member(&self, comm: &CommInner) -> Option<ProcId> {
        let groups = [Some(&comm.local), comm.remote.as_ref()];
        let failed = |group: &Group| group.members().iter().copied().find(|process| self.has_failed(*process));
        groups.into_iter().flatten().find_map(failed)
    }
}

/// The failed members that have been acknowledged.
fn acknowledged(comm: &CommInner, n: usize) -> Group {
    let listed = || {
        let record = Record::find(comm).ok()??;
        let members = record::members(comm);
        Some(record.ledger().ok()?.failed().take(n).map(|member| members[member]).collect())
    };
    Group::new(listed().unwrap_or_default())
}
