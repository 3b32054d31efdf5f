//! Going on after failures: user-level failure mitigation, as the MPI Forum's fault tolerance group has written it down.
//!
//! - [`record`]: what the members of a communicator write for each other: who has revoked it, who has failed, agreements.
//! - [`agree`]: agreements of those who are left, and communicators of them.
//! - [`heed`]: what a process does when it hears of a revoked communicator or a failed member.
//!
//! A communicator has no record before something of this is used on it, and nothing here is looked at before a
//! communicator is revoked or a process has failed: messages pay one test of a word that they look at anyway.
//!
//! *Failed* is a process that has ended without saying goodbye in a job whose launcher lets the others go on
//! ([why only there](../../../../docs/decisions/0016-failed-ranks.md)).

mod agree;
mod heed;
mod record;

#[cfg(test)]
mod tests;

use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};

use phalanx_shm::ProcId;

use crate::comm::{Comm, CommInner};
use crate::error::{Error, ErrorClass, Result};
use crate::group::Group;

use agree::Rounds;
use record::Record;

/// What this process knows of failures on a communicator.
#[derive(Default)]
pub(crate) struct FaultState {
    /// Failed members that it has acknowledged: the first ones of the record's list.
    acked: AtomicU32,
    /// Agreements begun and finished.
    rounds: Mutex<Rounds>,
}

impl Comm {
    /// Makes the communicator useless at all members: what they have under way on it, or begin, ends with an error of
    /// class `Revoked`, except agreeing and shrinking (`MPIX_Comm_revoke`). Not collective; who sleeps is woken.
    ///
    /// # Errors
    /// When there is no memory to tell the others.
    pub fn revoke(&self) -> Result<()> {
        let engine = self.engine();
        let record = self.during("Comm_revoke", Record::need(self.inner()))?;
        self.during("Comm_revoke", record.ledger().map(|ledger| ledger.revoke(record.me())))?;
        engine.core().is_revoked(self.inner());
        for &process in record.members().iter().filter(|p| **p != engine.me()) {
            engine.universe().slot(process).alarm();
        }
        Ok(())
    }

    /// Whether this process knows that the communicator has been revoked (`MPIX_Comm_is_revoked`).
    pub fn is_revoked(&self) -> bool {
        if !self.inner().is_revoked() {
            self.engine().core().heed();
        }
        self.inner().is_revoked()
    }

    /// The members that are known to have failed, those of both groups for an intercommunicator, in an order to which later
    /// calls only add (`MPIX_Comm_get_failed`).
    ///
    /// # Errors
    /// When memory for the list is short.
    pub fn failed(&self) -> Result<Group> {
        let failed = self.during("Comm_get_failed", self.list_failed())?;
        Ok(Group::new(failed))
    }

    /// Acknowledges the first `n` of [`Comm::failed`]: receives from any rank, and agreements, then do not fail because
    /// of them. How many have been acknowledged in all (`MPIX_Comm_ack_failed`).
    ///
    /// # Errors
    /// As [`Comm::failed`].
    pub fn acknowledge_failed(&self, n: usize) -> Result<usize> {
        let known = self.during("Comm_ack_failed", self.list_failed())?.len();
        let acked = &self.inner().fault.acked;
        let n = n.min(known) as u32;
        Ok(acked.fetch_max(n, Ordering::Relaxed).max(n) as usize)
    }

    fn list_failed(&self) -> Result<Vec<ProcId>> {
        let members = record::members(self.inner());
        let failed: Vec<usize> = {
            let core = self.engine().enter()?;
            (0..members.len()).filter(|i| core.has_failed(members[*i])).collect()
        };
        let record = match Record::find(self.inner())? {
            Some(record) => record,
            None if failed.is_empty() => return Ok(Vec::new()),
            None => Record::need(self.inner())?,
        };
        let ledger = record.ledger()?;
        for member in failed {
            ledger.note_failed(member);
        }
        Ok(ledger.failed().map(|member| members[member]).collect())
    }

    pub(crate) fn inner(&self) -> &CommInner {
        &self.0
    }

    /// Puts the operation and the communicator before an error.
    fn during<T>(&self, operation: &str, outcome: Result<T>) -> Result<T> {
        self.creating(operation, outcome)
    }
}

impl CommInner {
    /// The error of whatever is begun on, or was waited for on, a communicator that has been revoked.
    #[cold]
    pub(crate) fn revoked_error(&self) -> Error {
        let by = Record::find(self).ok().flatten().and_then(|record| {
            let by = *record.members().get(record.ledger().ok()?.revoked()?)?;
            Some(self.name_of(by))
        });
        let by = by.unwrap_or_else(|| "a member".to_owned());
        let help = "agree, shrink it and go on with the new one, or free it";
        Error::new(ErrorClass::Revoked, format!("{} has been revoked by {by}; {help}", self.title()))
    }

    /// How texts call a member.
    pub(crate) fn name_of(&self, process: ProcId) -> String {
        let remote = self.remote.as_ref().and_then(|group| group.rank_of(process));
        match (self.local.rank_of(process), remote) {
            (Some(rank), _) => format!("rank {rank}"),
            (None, Some(rank)) => format!("rank {rank} of the remote group"),
            (None, None) => format!("process {process}"),
        }
    }
}
