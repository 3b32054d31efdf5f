//! The record of a communicator: a ledger in the segment that its members share, made when the first of them needs it.

use phalanx_shm::agreement::Ledger;
use phalanx_shm::{Offset, ProcId, ShmError, SlotState, Universe};

use crate::comm::CommInner;
use crate::engine::shm_error;
use crate::error::{Result, fail};

/// The record of a communicator, as one member sees it.
pub(super) struct Record {
    universe: Universe,
    at: Offset,
    members: Vec<ProcId>,
    me: usize,
}

/// All members, in an order that is the same for them all: of an intercommunicator the low group comes first.
pub(super) fn members(comm: &CommInner) -> Vec<ProcId> {
    let local = comm.local.members();
    match comm.remote.as_ref().map(crate::group::Group::members) {
        None => local.to_vec(),
        Some(remote) if local.first() < remote.first() => [local, remote].concat(),
        Some(remote) => [remote, local].concat(),
    }
}

fn bytes(members: usize) -> usize {
    Ledger::words(members) * 8
}

fn broken(e: &ShmError) -> crate::error::Error {
    shm_error("use the record of failures of a communicator", e)
}

impl Record {
    /// The record, if somebody has made it.
    ///
    /// # Errors
    /// When another process has written over the directory.
    pub(super) fn find(comm: &CommInner) -> Result<Option<Record>> {
        let universe = comm.engine.universe();
        if !universe.has_records() {
            return Ok(None);
        }
        let found = universe.record(comm.context()).map_err(|e| broken(&e))?;
        Ok(found.and_then(|at| Record::over(comm, at)))
    }

    /// The record, made if there is none.
    ///
    /// # Errors
    /// When memory is short.
    pub(super) fn need(comm: &CommInner) -> Result<Record> {
        let members = members(comm).len();
        let found = comm.engine.universe().record_or_new(comm.context(), bytes(members)).map_err(|e| broken(&e))?;
        match found.and_then(|at| Record::over(comm, at)) {
            Some(record) => Ok(record),
            None => fail!(Comm, "{} has been freed by all its members", comm.title()),
        }
    }

    fn over(comm: &CommInner, at: Offset) -> Option<Record> {
        let members = members(comm);
        let me = members.iter().position(|p| *p == comm.engine.me())?;
        Some(Record { universe: comm.engine.universe().clone(), at, members, me })
    }

    pub(super) fn members(&self) -> &[ProcId] {
        &self.members
    }

    /// The caller's place among the members.
    pub(super) fn me(&self) -> usize {
        self.me
    }

    /// # Errors
    /// Class `Intern` when another process has destroyed the books of the heap.
    pub(super) fn ledger(&self) -> Result<Ledger<'_>> {
        let n = self.members.len();
        let words = self.universe.words(self.at, Ledger::words(n)).map_err(|e| broken(&e))?;
        match Ledger::over(words, n) {
            Some(ledger) => Ok(ledger),
            None => fail!(Intern, "the record of failures of {n} processes does not fit where it should be"),
        }
    }
}

impl Drop for CommInner {
    /// The last member to let go frees the record. (This may run under the engine's lock.)
    fn drop(&mut self) {
        if self.context() == 0 || !self.engine.universe().has_records() {
            return;
        }
        let Ok(Some(record)) = Record::find(self) else { return };
        let universe = &record.universe;
        let has_ended = |member: usize| {
            let process = record.members[member];
            let standing = universe.slot(process).standing();
            standing.state == SlotState::Finalized
                || standing.exit.is_some()
                || universe.process(process).is_some_and(|tag| !tag.is_foreign() && tag.is_dead())
        };
        let is_last = record.ledger().is_ok_and(|ledger| ledger.leave(record.me, has_ended));
        if is_last {
            universe.take_record_out(self.context(), record.at);
        }
    }
}
