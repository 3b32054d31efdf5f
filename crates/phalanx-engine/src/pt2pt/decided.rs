//! Receives and probes while decisions are recorded or repeated: see [`engine::replay`](crate::engine).

use phalanx_replay::{Call, CommMark, Kind, Outcome};

use crate::comm::Comm;
use crate::engine::{Core, Decision, Incoming, Owner, Pattern, RawOp, Stored, Waiting};
use crate::error::{Error, ErrorClass, Result};
use crate::status::Status;

use super::probe::Received;

/// Source and tag of what was found.
trait Seen {
    fn seen(&self) -> Outcome;
}

impl Seen for Status {
    fn seen(&self) -> Outcome {
        Outcome::Message { source: self.source, tag: self.tag }
    }
}

impl Seen for (i32, i32, Stored) {
    fn seen(&self) -> Outcome {
        Outcome::Message { source: self.0, tag: self.1 }
    }
}

/// The error of a call whose message does not come any more, which names a rank that the program has not named.
#[cold]
fn with_recorded(error: Error, asked: Pattern, named: Pattern) -> Error {
    if named == asked || error.class() != ErrorClass::ProcAborted {
        return error;
    }
    let Pattern { source, tag } = named;
    error.context(format!("--replay: recorded was a message of rank {source} with tag {tag}, which does not come now"))
}

impl Comm {
    /// What a call about a message is to come to.
    ///
    /// # Errors
    /// When the program does something else than was recorded, or the file cannot be of such a program.
    #[cold]
    pub(super) fn decide(&self, kind: Kind, pattern: Pattern) -> Result<Decision> {
        let peers = self.peers().size();
        let rank = self.rank().cast_unsigned();
        let mark = CommMark::new(u32::try_from(peers).unwrap_or(u32::MAX), rank, self.is_inter(), &self.name());
        let decision = self.engine().decide(Call::of_message(kind, mark, pattern.source, pattern.tag))?;
        if let Decision::Again(Outcome::Message { source, tag }) = decision {
            let is_rank = usize::try_from(source).is_ok_and(|rank| rank < peers);
            if !is_rank || tag < 0 || !pattern.fits(source, tag) {
                return Err(self.engine().is_another(&format!(
                    "recorded was a message of rank {source} with tag {tag}, which this call cannot take"
                )));
            }
        }
        Ok(decision)
    }

    /// Starts a receive from any rank.
    #[cold]
    pub(super) fn start_repeatable(&self, kind: Kind, m: &Incoming<'_>, owner: Owner) -> Result<RawOp> {
        let decision = self.engine().with_line(self.decide(kind, m.pattern)?);
        self.engine().enter()?.recv_decided(m, owner, decision)
    }

    /// A blocking receive from any rank.
    #[cold]
    pub(super) fn recv_repeatable(&self, operation: &'static str, m: &Incoming<'_>) -> Result<Status> {
        let decision = self.engine().with_line(self.decide(Kind::Recv, m.pattern)?);
        let named = decision.pattern(m.pattern);
        let op = self.engine().enter()?.recv_decided(m, Owner::User, decision)?;
        self.wait_op(Waiting::on(operation, m.ctx), op).map_err(|error| with_recorded(error, m.pattern, named))
    }

    /// The same of a message of unknown size.
    #[cold]
    pub(super) fn recv_or_match_repeatable(&self, m: &Incoming<'_>) -> Result<Received> {
        let decision = self.decide(Kind::Recv, m.pattern)?;
        let (asked, m) = (m.pattern, &Incoming { pattern: decision.pattern(m.pattern), ..*m });
        let received = self.wait_receive(m).map_err(|error| with_recorded(error, asked, m.pattern))?;
        self.engine().decided(decision, received.status().seen());
        Ok(received)
    }

    /// `MPI_Probe` from any rank.
    #[cold]
    pub(super) fn probe_repeatable(&self, pattern: Pattern) -> Result<Status> {
        self.wait_repeatable(Kind::Probe, pattern, Core::probe_arrived)
    }

    /// `MPI_Mprobe` from any rank.
    #[cold]
    pub(super) fn mprobe_repeatable(&self, pattern: Pattern) -> Result<(i32, i32, Stored)> {
        self.wait_repeatable(Kind::Mprobe, pattern, Core::take_arrived)
    }

    /// `MPI_Iprobe`.
    #[cold]
    pub(super) fn iprobe_repeatable(&self, pattern: Pattern) -> Result<Option<Status>> {
        self.look_repeatable(Kind::Iprobe, pattern, Core::probe_arrived)
    }

    /// `MPI_Improbe`.
    #[cold]
    pub(super) fn improbe_repeatable(&self, pattern: Pattern) -> Result<Option<(i32, i32, Stored)>> {
        self.look_repeatable(Kind::Improbe, pattern, Core::take_arrived)
    }

    fn wait_repeatable<T: Seen>(
        &self,
        kind: Kind,
        pattern: Pattern,
        find: fn(&mut Core, u32, Pattern) -> Option<T>,
    ) -> Result<T> {
        let decision = self.decide(kind, pattern)?;
        let named = decision.pattern(pattern);
        let found = self.wait_message(kind.name(), named, |core| find(core, self.ctx(), named));
        let found = found.map_err(|error| with_recorded(error, pattern, named))?;
        self.engine().decided(decision, found.seen());
        Ok(found)
    }

    fn look_repeatable<T: Seen>(
        &self,
        kind: Kind,
        pattern: Pattern,
        find: fn(&mut Core, u32, Pattern) -> Option<T>,
    ) -> Result<Option<T>> {
        let decision = self.decide(kind, pattern)?;
        match decision {
            Decision::Again(Outcome::Nothing) => {
                self.engine().progress()?;
                self.engine().after_failed_test();
                Ok(None)
            }
            Decision::Again(Outcome::Message { .. }) => {
                let named = decision.pattern(pattern);
                let found = self.wait_message(kind.name(), named, |core| find(core, self.ctx(), named));
                found.map(Some).map_err(|error| with_recorded(error, pattern, named))
            }
            decision => {
                let found = self.look(|core| find(core, self.ctx(), pattern))?;
                self.engine().decided(decision, found.as_ref().map_or(Outcome::Nothing, Seen::seen));
                Ok(found)
            }
        }
    }
}
