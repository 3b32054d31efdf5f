//! Processes that have ended and are still waited for.
//!
//! A rank that has called `MPI_Finalize`, or whose program is over without it, sends nothing any more and takes part in
//! nothing. Whoever waits for it would wait for ever. So a wait that has slept in vain looks around: what can only be
//! completed by a process that has ended fails, and the error names it. Everything the process sent before it ended has
//! arrived by then, since its records are in the ring before its slot says that it has ended.
//!
//! A process in `MPI_Finalize` that still has messages to deliver counts as ended for those who send to it or wait for it in
//! a collective; for those who receive from it, when nothing has come for a long while.
//!
//! Whether a process that has said nothing has ended, its tag decides, whoever started it: the program that the launcher
//! started may be a shell, and another launcher tells us nothing. Killed ranks are waited for a long while, too: their job
//! is being ended as a rule, by a launcher that says why. Where it is told to keep going, it tells the ranks, too: the wait
//! then ends at the first look after the launcher has recorded the end. So does a wait for one that has ended well by the launcher's
//! record, which is no reason for it to end the job.

use std::cell::RefCell;
use std::time::{Duration, Instant};

use phalanx_shm::{Exit, ProcId, SlotState, Universe};

use crate::comm::CommInner;
use crate::error::{Error, ErrorClass, Result};
use crate::group::Group;
use crate::pt2pt::partitioned::PARTITIONED;
use crate::status::{ANY_SOURCE, ANY_TAG, Status};

use super::Engine;
use super::core::{Core, base_of, is_collective};
use super::matching::{IntMap, Pattern};
use super::ops::{Body, Owner, RawOp, RecvOp, SendOp};
use super::wait::Waiting;

/// How long a wait has to look hopeless before it is given up: whoever ends a job has ended it by then, and says why. With the
/// time until somebody looks, it is told within a second.
const GRACE: Duration = Duration::from_millis(500);

/// The same where what is waited for could still come, or a launcher is probably ending the job.
const LONG_GRACE: Duration = Duration::from_secs(5);

/// The second that it is. A process is asked once in each whether it lives, which takes some system calls; a flush of a window looks
/// at it each time, and the coarse clock costs a few loads.
fn second() -> i64 {
    rustix::time::clock_gettime(rustix::time::ClockId::MonotonicCoarse).tv_sec
}

/// The operation in whose wait nobody else learns of an error.
pub(super) const FINALIZE: &str = "Finalize";

/// A rank that has ended.
#[derive(Clone, Copy, Debug)]
pub struct Ended {
    /// Its rank in the communicator of the wait.
    pub rank: usize,
    /// The process.
    pub process: ProcId,
}

/// What a wait has seen of processes that have ended.
#[derive(Default)]
pub(super) struct Watch {
    /// Since when somebody has been missing.
    missing: Option<Instant>,
    /// Since when operations have been lost.
    lost: Option<Instant>,
}

/// An operation that cannot complete any more.
struct Lost {
    op: RawOp,
    error: Error,
    /// Whether its own peer lives, and another one of the collective has failed.
    peer_lives: bool,
    /// Whether and how it could still complete.
    hope: Hope,
}

/// Who could still complete a receive whose peers have ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Hope {
    /// Nobody: the launcher says that the peer has ended well, or has failed and the others go on.
    Gone,
    Nobody,
    /// Nobody; but whoever ends the jobs of killed ranks should come first.
    Launcher,
    /// A peer that still delivers what it has begun to send.
    Delivery,
    /// This process itself: in another thread, in a handler of a signal, or after it has tested in vain. Whether it ever will is not a
    /// question of time; if not, the notes of its threads prove that.
    Own,
}

impl Hope {
    fn patience(self) -> Duration {
        match self {
            Hope::Gone => Duration::ZERO,
            Hope::Nobody => GRACE,
            Hope::Launcher | Hope::Delivery => LONG_GRACE,
            Hope::Own => Duration::MAX,
        }
    }
}

impl Engine {
    /// Whether a process has ended as far as others may wait for it to do something.
    pub(crate) fn has_ended(&self, process: ProcId) -> bool {
        self.core().end_of(process) != End::Alive
    }

    /// Looks around after a sleep in vain: fails operations that wait for processes that have ended. `missing` says who
    /// will never do what this very call waits for.
    ///
    /// # Errors
    /// Class `ProcAborted` when `missing` names somebody.
    #[cold]
    pub(super) fn look_for_ended(
        &self,
        what: &Waiting<'_>,
        watch: &mut Watch,
        missing: &mut dyn FnMut() -> Option<Ended>,
    ) -> Result<()> {
        let gone = missing();
        self.end_visits();
        let mut core = self.enter()?;
        core.heed();
        core.interrupt_receives();
        let patience = |since: &mut Option<Instant>, hopeless: bool| match hopeless {
            true => since.get_or_insert_with(Instant::now).elapsed(),
            false => {
                *since = None;
                Duration::ZERO
            }
        };
        if let Some(gone) = gone
            && patience(&mut watch.missing, true) >= core.hope_of_senders(core.end_of(gone.process)).patience()
        {
            let place = core.context_name(what.ctx);
            return Err(
                core.ended(&format!("{} on {place} waits for rank {}", what.operation, gone.rank), gone.process)
            );
        }
        if gone.is_none() {
            watch.missing = None;
        }
        // Twice, since the last messages of a process may have come between the look at its ring and that at its state.
        let before = core.lost();
        let lost = if before.is_empty() { Vec::new() } else { core.lost() };
        let since = patience(&mut watch.lost, !lost.is_empty());
        for lost in lost.into_iter().filter(|lost| before.iter().any(|earlier| earlier.op == lost.op)) {
            if since >= lost.hope.patience() {
                core.fail(lost, what.operation);
            }
        }
        core.settle();
        Ok(())
    }

    /// The processes of the job that are not of the group, when all of them have ended, and how long that has to be so before
    /// it is told. Guests from other jobs do not count.
    pub(crate) fn all_but(&self, group: &Group) -> Option<(Vec<ProcId>, Duration)> {
        let core = self.core();
        let mut ended = Vec::new();
        let mut hope = Hope::Nobody;
        for process in (0..core.universe.claimed()).map(ProcId).filter(|p| group.rank_of(*p).is_none()) {
            if core.is_guest(process) {
                continue;
            }
            match core.end_of(process) {
                End::Alive => return None,
                end => hope = hope.max(core.hope_of_senders(end)),
            }
            ended.push(process);
        }
        Some((ended, hope.patience()))
    }

    /// Who will never send a message that fits: for [`Engine::look_for_ended`] of a probe.
    pub(crate) fn never_sends(&self, ctx: u32, pattern: Pattern, watch: &mut Option<Instant>) -> Option<Ended> {
        let core = self.enter().ok()?;
        let failed = || Some((core.unacknowledged_source(ctx, pattern)?, Hope::Gone));
        let Some((process, hope)) = failed().or_else(|| core.hopeless_source(ctx, pattern)) else {
            *watch = None;
            return None;
        };
        if watch.get_or_insert_with(Instant::now).elapsed().saturating_add(GRACE) < hope.patience() {
            return None;
        }
        let rank = core.comm_of(ctx).and_then(|comm| peers(&comm).rank_of(process));
        Some(Ended { rank: rank.unwrap_or(0), process })
    }
}

/// How far a process is with its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// It may do anything.
    Alive,
    /// It delivers what it has begun to send, and nothing else.
    Ending,
    /// It has called `MPI_Finalize`, or is no more, and nobody has said how its program ends.
    Ended,
    /// Its program has ended well, which its launcher has seen.
    Over,
    /// It has ended in another way.
    Killed,
}

/// What was found out about processes whose slots do not say that they have ended.
#[derive(Default)]
pub(crate) struct Lives(RefCell<IntMap<u32, Asked>>);

#[derive(Clone, Copy)]
struct Asked {
    /// The [`second`].
    at: i64,
    /// What the launcher had recorded.
    exit: Option<Exit>,
    is_dead: bool,
}

impl Lives {
    /// Another process may have this slot next.
    pub(super) fn forget(&self, process: ProcId) {
        self.0.borrow_mut().remove(&process.0);
    }

    /// Whether the process of a slot is known to have ended, `exit` being what the launcher has recorded.
    fn is_dead(&self, universe: &Universe, process: ProcId, exit: Option<Exit>) -> bool {
        // Of one that never came here, and of one whose number means nothing here, the launcher alone knows.
        let Some(tag) = universe.process(process).filter(|tag| !tag.is_foreign()) else {
            return exit.is_some();
        };
        let mut known = self.0.borrow_mut();
        let now = second();
        let fresh = |asked: &Asked| asked.is_dead || asked.exit == exit && asked.at == now;
        if let Some(asked) = known.get(&process.0).filter(|asked| fresh(asked)) {
            return asked.is_dead;
        }
        let is_dead = tag.is_dead();
        known.insert(process.0, Asked { at: now, exit, is_dead });
        is_dead
    }
}

/// Whom messages on a communicator go to and come from.
pub(super) fn peers(comm: &CommInner) -> &Group {
    comm.remote.as_ref().unwrap_or(&comm.local)
}

impl Core {
    pub(crate) fn comm_of(&self, ctx: u32) -> Option<std::sync::Arc<CommInner>> {
        self.comms.get(&base_of(ctx)).and_then(std::sync::Weak::upgrade)
    }

    /// What hope those have who send to a process with this end, or wait for it in a collective.
    fn hope_of_senders(&self, end: End) -> Hope {
        match end {
            // How a process has ended, only a launcher tells.
            End::Killed if self.keeps_going => {
                self.knows_failures.set(true);
                Hope::Gone
            }
            End::Killed => Hope::Launcher,
            End::Over => Hope::Gone,
            End::Alive | End::Ending | End::Ended => Hope::Nobody,
        }
    }

    fn end_of(&self, process: ProcId) -> End {
        if !self.universe.has(process) {
            return End::Alive;
        }
        let standing = self.universe.slot(process).standing();
        let ended = if standing.exit == Some(Exit::Status(0)) { End::Over } else { End::Ended };
        match standing.state {
            SlotState::Finalized => ended,
            _ if self.lives.is_dead(&self.universe, process, standing.exit) => match standing.exit {
                // Without a word of the launcher nobody knows how.
                None | Some(Exit::Status(0)) => ended,
                Some(_) => End::Killed,
            },
            SlotState::Finalizing => End::Ending,
            _ => End::Alive,
        }
    }

    /// Whether a process has failed, in a job that goes on without it.
    pub(crate) fn has_failed(&self, process: ProcId) -> bool {
        if !self.keeps_going || process == self.me || !self.universe.has(process) {
            return false;
        }
        let is_leaving = |state| matches!(state, SlotState::Finalized | SlotState::Finalizing);
        let failed = match self.end_of(process) {
            End::Alive | End::Ending => false,
            End::Killed => true,
            End::Ended | End::Over => !is_leaving(self.universe.slot(process).standing().state),
        };
        if failed {
            self.knows_failures.set(true);
        }
        failed
    }

    /// Whether a process does nothing any more, so that those who agree go on without it. `closely` looks at processes of
    /// which neither they nor the launcher have said anything, which may cost system calls.
    pub(crate) fn is_gone(&self, process: ProcId, closely: bool) -> bool {
        if process == self.me || !self.universe.has(process) {
            return false;
        }
        let standing = self.universe.slot(process).standing();
        match standing.state {
            SlotState::Finalized => true,
            _ if standing.exit.is_none() && !(closely && self.keeps_going) => false,
            // A failure elsewhere ends the job.
            _ => self.has_failed(process) || matches!(self.end_of(process), End::Ended | End::Over),
        }
    }

    /// For a receive from any rank: a peer that has failed, as long as this process has not acknowledged that.
    fn unacknowledged_source(&self, ctx: u32, pattern: Pattern) -> Option<ProcId> {
        if !self.keeps_going || pattern.source != ANY_SOURCE || !ctx.is_multiple_of(4) {
            return None;
        }
        self.unacknowledged(&*self.comm_of(ctx)?)
    }

    /// Tells those who wait for a message from any rank that one has failed, which the message might have come from. The
    /// receives go on.
    fn interrupt_receives(&mut self) {
        if !self.keeps_going || self.posted == 0 {
            return;
        }
        let mut interrupted = Vec::new();
        for (op, entry) in self.ops.under_way() {
            if let Body::Recv(recv) = &entry.body
                && recv.stage.sender().is_none()
                && entry.outcome.is_none()
                && let Some(process) = self.unacknowledged_source(recv.ctx, recv.pattern)
            {
                let (from, place) = (self.peer_name(recv.ctx, process), self.context_name(recv.ctx));
                let wait = format!("a receive from any rank on {place} goes on, but {from}");
                let help = "acknowledge that to wait for the others";
                interrupted.push((op, format!("{wait}, which might have sent, has failed; {help}")));
            }
        }
        for (op, text) in interrupted {
            self.ops.interrupt(op, Error::new(ErrorClass::ProcFailedPending, text));
        }
    }

    /// For a message of a collective: a member that has failed, and how texts call it. Others may have left the operation because of that, so
    /// that nobody who lives is sure to do their part.
    fn failed_in_collective(&self, ctx: u32, owner: Owner) -> Option<(ProcId, String)> {
        let collective = ctx & (PARTITIONED | 3);
        if !self.keeps_going || owner != Owner::Raw || !matches!(collective, 1 | 3) {
            return None;
        }
        // One side's part in an intercommunicator's collective has a communicator of its own, and the last of its contexts.
        let mut others = self.comms.values().filter_map(std::sync::Weak::upgrade);
        let of = |other: &std::sync::Arc<CommInner>| {
            other.local_comm.as_ref().is_some_and(|local| local.ctx() == base_of(ctx))
        };
        let comm = match others.find(of) {
            None if collective == 1 => self.comm_of(ctx)?,
            inter => inter?,
        };
        let failed = self.failed_member(&comm)?;
        Some((failed, comm.name_of(failed)))
    }

    /// The error of a wait for a process that has ended.
    fn ended(&self, wait: &str, process: ProcId) -> Error {
        let how = match self.end_of(process) {
            End::Killed => "it was killed, or has failed",
            _ if self.abroad(process).is_some() => "it has parted, called MPI_Finalize, or its program is over",
            _ => "it has called MPI_Finalize, or its program is over",
        };
        let which = match self.abroad(process) {
            None => format!("slot {process} of the job"),
            Some(_) => {
                let pid = self.universe.process(process).map_or(0, phalanx_shm::ProcessTag::pid);
                format!("process {pid} of another job")
            }
        };
        Error::new(ErrorClass::ProcAborted, format!("{wait}, which has ended: {how} ({which})"))
    }

    /// Whether a process has ended and everything it sent has been taken from its ring; what hope is left then.
    fn gone(&self, process: ProcId) -> Option<Hope> {
        if process == self.me {
            return None;
        }
        // Its state before its ring: what it sent before it ended is seen then.
        let hope = match self.end_of(process) {
            End::Alive => return None,
            End::Ending => Hope::Delivery,
            end @ (End::Ended | End::Over | End::Killed) => self.hope_of_senders(end),
        };
        let inlet = self.inlets.get(process.0 as usize).and_then(Option::as_ref);
        inlet.is_none_or(|inlet| inlet.ring.is_empty()).then_some(hope)
    }

    /// The process that had to send what fits `pattern` if it has ended; for a wildcard one of the peers, all of which
    /// have ended. With the hope that is left.
    fn hopeless_source(&self, ctx: u32, pattern: Pattern) -> Option<(ProcId, Hope)> {
        // Between ranks the source is a rank, in the contexts of collectives it is a process.
        let comm = self.comm_of(ctx).filter(|_| ctx.is_multiple_of(4));
        let Some(comm) = comm else {
            let process = ProcId(u32::try_from(pattern.source).ok()?);
            return Some((process, self.gone(process)?));
        };
        let group = peers(&comm);
        if pattern.source != ANY_SOURCE {
            let process = group.get(usize::try_from(pattern.source).ok()?)?;
            return Some((process, self.gone(process)?));
        }
        let mut found: Option<(ProcId, Hope)> = None;
        for &process in group.members().iter().filter(|p| **p != self.me) {
            let hope = self.gone(process)?.max(found.map_or(Hope::Gone, |(_, hope)| hope));
            found = Some((process, hope));
        }
        let own = if group.members().contains(&self.me) { Hope::Own } else { Hope::Gone };
        found.map(|(process, hope)| (process, hope.max(own)))
    }

    /// The operations under way that only processes that have ended could complete.
    fn lost(&mut self) -> Vec<Lost> {
        // What has arrived meanwhile counts.
        self.poll();
        let mut lost = Vec::new();
        for (op, entry) in self.ops.under_way() {
            match &entry.body {
                Body::Recv(recv) => {
                    let of_peer = self.lost_receive(op, recv).or_else(|| self.lost_with_a_job(op, recv.ctx));
                    lost.extend(of_peer.or_else(|| self.lost_in_collective(op, entry.owner, recv.ctx, "receives")));
                }
                Body::Send(send) => {
                    let of_peer = self.lost_send(op, send).or_else(|| self.lost_with_a_job(op, send.ctx));
                    lost.extend(of_peer.or_else(|| self.lost_in_collective(op, entry.owner, send.ctx, "sends")));
                }
                Body::Empty => {}
            }
        }
        lost
    }

    fn lost_in_collective(&self, op: RawOp, owner: Owner, ctx: u32, does: &str) -> Option<Lost> {
        let (process, who) = self.failed_in_collective(ctx, owner)?;
        let wait = format!("a collective {does} on {}, of which {who} is a member", self.context_name(ctx));
        Some(Lost { op, error: self.ended(&wait, process), peer_lives: true, hope: Hope::Gone })
    }

    /// The rank of a process among the peers of a context, for messages.
    pub(super) fn peer_name(&self, ctx: u32, process: ProcId) -> String {
        let rank = self.comm_of(ctx).and_then(|comm| peers(&comm).rank_of(process));
        rank.map_or_else(|| "a process".to_owned(), |rank| format!("rank {rank}"))
    }

    fn lost_receive(&self, op: RawOp, recv: &RecvOp) -> Option<Lost> {
        if let Some(process) = recv.stage.sender() {
            // One that is ending still delivers what it has begun to send.
            let hope = self.gone(process).filter(|hope| *hope != Hope::Delivery)?;
            let from = self.peer_name(recv.ctx, process);
            let wait = format!("waits on {} for the rest of a large message from {from}", self.context_name(recv.ctx));
            return Some(Lost { op, error: self.ended(&wait, process), peer_lives: false, hope });
        }
        let (process, hope) = self.hopeless_source(recv.ctx, recv.pattern)?;
        let comm = self.comm_of(recv.ctx);
        let rank = comm.as_ref().and_then(|comm| peers(comm).rank_of(process));
        let from = match (recv.pattern.source, rank) {
            (ANY_SOURCE, Some(rank)) => format!("a message from any rank, the last of them rank {rank}"),
            (_, Some(rank)) => format!("a message from rank {rank}"),
            (_, None) => "a message from a process".to_owned(),
        };
        let tag = match recv.pattern.tag {
            ANY_TAG => String::new(),
            _ if !recv.ctx.is_multiple_of(4) => String::new(),
            tag => format!(" with tag {tag}"),
        };
        let wait = format!("waits on {} for {from}{tag}", self.context_name(recv.ctx));
        Some(Lost { op, error: self.ended(&wait, process), peer_lives: false, hope })
    }

    /// A message of a collective in which a process of another job was that has been killed. Others of the collective are told
    /// of that and leave it; who waits for one of them would not be.
    fn lost_with_a_job(&self, op: RawOp, ctx: u32) -> Option<Lost> {
        if self.abroad.is_empty() || !is_collective(ctx) {
            return None;
        }
        let comm = self.comm_of(ctx)?;
        let groups = [Some(&comm.local), comm.remote.as_ref(), comm.others.as_ref()];
        let members = groups.into_iter().flatten().flat_map(|group| group.members());
        let was_killed = |process: ProcId| {
            let standing = self.universe.slot(process).standing();
            standing.state == SlotState::Running && self.lives.is_dead(&self.universe, process, standing.exit)
        };
        let killed = members.copied().find(|process| self.abroad(*process).is_some() && was_killed(*process))?;
        let wait = format!("waits in a collective on {} with a process", self.context_name(ctx));
        Some(Lost { op, error: self.ended(&wait, killed), peer_lives: false, hope: Hope::Nobody })
    }

    fn lost_send(&self, op: RawOp, send: &SendOp) -> Option<Lost> {
        self.gone(send.dest)?;
        let hope = self.hope_of_senders(self.end_of(send.dest));
        let to = self.peer_name(send.ctx, send.dest);
        let wait = format!("a message of {} bytes on {} is for {to}", send.bytes, self.context_name(send.ctx));
        Some(Lost { op, error: self.ended(&wait, send.dest), peer_lives: false, hope })
    }

    /// Ends an operation with its error.
    fn fail(&mut self, lost: Lost, operation: &str) {
        let Lost { op, error, peer_lives, .. } = lost;
        // A collective puts its own name before the errors of its messages.
        let owner = self.ops.get(op).map(|entry| entry.owner);
        let bare = error.message().to_owned();
        let error = if owner == Some(Owner::Raw) { error } else { error.context(operation) };
        if peer_lives {
            return self.give_up(op, error);
        }
        if self.is_unreceived(op, |core, process| core.end_of(process) == End::Killed) {
            self.unreceived(op);
            return self.finish_send(op, Ok(Status::EMPTY));
        }
        if let Some(send) = self.ops.send(op) {
            let dest = send.dest;
            if owner == Some(Owner::Nobody) || operation == FINALIZE {
                self.undelivered.push(bare);
            }
            self.forget_link(dest);
            self.finish_send(op, Err(error));
        } else if let Some(recv) = self.ops.recv(op) {
            let (ctx, pattern, has_begun) = (recv.ctx, recv.pattern, recv.stage.sender().is_some());
            if has_begun {
                self.ops.complete(op, Err(error));
            } else if self.contexts.get_mut(&ctx).is_some_and(|queues| queues.posted.remove(pattern, op)) {
                self.posted -= 1;
                self.ops.complete(op, Err(error));
            }
        }
    }

    /// Nothing more goes to a process that has ended.
    fn forget_link(&mut self, dest: ProcId) {
        if let Some(Some(link)) = self.links.get_mut(dest.0 as usize) {
            link.pending.clear();
            link.streams.clear();
        }
    }
}
