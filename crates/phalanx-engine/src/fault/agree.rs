//! Agreements of those who are left, and communicators of them.
//!
//! Both are one round of the record's [ledger](phalanx_shm::agreement), which knows of each member whether it has given a
//! value or had failed. Members draw the numbers of rounds in the order of their calls, which has to be the same for all.

use std::sync::PoisonError;
use std::sync::atomic::Ordering;

use phalanx_shm::agreement::Fate;
use phalanx_shm::mem::MutMem;
use phalanx_shm::{ProcId, SleepWord};
use phalanx_waits::{Kind, Peers};

use crate::comm::Comm;
use crate::engine::{Core, Ended, Engine, Schedule, Step, Told, Waiting};
use crate::error::{Error, ErrorClass, Result, fail};
use crate::request::Request;
use crate::status::Status;

use super::record::Record;

/// The rounds of a communicator, as this process counts them.
#[derive(Default)]
pub(super) struct Rounds {
    begun: u32,
    /// All up to this one are finished.
    finished: u32,
    /// Later ones that are.
    early: Vec<u32>,
}

impl Rounds {
    /// Finishes a round; the last one of those that are finished with all before.
    fn finish(&mut self, round: u32) -> u32 {
        self.early.push(round);
        while let Some(at) = self.early.iter().position(|early| *early == self.finished + 1) {
            self.early.swap_remove(at);
            self.finished += 1;
        }
        self.finished
    }
}

/// How far this process is in a round.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Waits until the round's words may be used.
    Entering,
    /// Has given its value, and waits for what becomes of the others.
    Given,
    Settled,
}

/// One round in which this process takes part.
struct Round {
    comm: Comm,
    record: Record,
    number: u32,
    value: u32,
    stage: Stage,
    /// The first member that has not been seen to be ready, or settled.
    next: usize,
}

/// How a round ended, the same at all who see its end.
struct Outcome {
    /// Of each member, in the order of the record: what it gave.
    values: Vec<Option<u32>>,
    /// A member that had failed and that not all had acknowledged.
    unacknowledged: Option<ProcId>,
}

impl Round {
    fn begin(comm: &Comm, value: u32) -> Result<Round> {
        if comm.is_freed() {
            return Err(comm.unusable());
        }
        let record = Record::need(comm.inner())?;
        let number = {
            let mut rounds = comm.inner().fault.rounds.lock().unwrap_or_else(PoisonError::into_inner);
            rounds.begun += 1;
            rounds.begun
        };
        Ok(Round { comm: comm.clone(), record, number, value, stage: Stage::Entering, next: 0 })
    }

    /// Goes on as far as possible; whether the round is settled. `is_gone` tells who does nothing any more.
    ///
    /// # Errors
    /// Class `ProcAborted` when the others have taken this process for ended.
    fn advance(&mut self, mut is_gone: impl FnMut(ProcId) -> bool) -> Result<bool> {
        let (ledger, members, round) = (self.record.ledger()?, self.record.members(), self.number);
        if self.stage == Stage::Entering {
            while let Some(&process) = members.get(self.next) {
                if !ledger.has_room(self.next, round) && !is_gone(process) {
                    return Ok(false);
                }
                self.next += 1;
            }
            let acked = self.comm.inner().fault.acked.load(Ordering::Relaxed);
            if !ledger.give(self.record.me(), round, self.value, acked) {
                self.stage = Stage::Settled;
                let title = self.comm.title();
                fail!(
                    ProcAborted,
                    "the other members of {title} have taken this process for ended and gone on without it"
                );
            }
            (self.stage, self.next) = (Stage::Given, 0);
            self.wake_others()?;
        }
        let mut missed = false;
        while self.stage == Stage::Given {
            let Some(&process) = members.get(self.next) else {
                self.stage = Stage::Settled;
                break;
            };
            if ledger.fate(self.next, round) == Fate::Open {
                if !is_gone(process) {
                    break;
                }
                // What it has given before its end counts; the list comes first, for those who see the fate.
                if ledger.fate(self.next, round) == Fate::Open {
                    ledger.note_failed(self.next);
                    ledger.miss(self.next, round);
                    missed = true;
                }
            }
            self.next += 1;
        }
        if missed {
            self.wake_others()?;
        }
        Ok(self.stage == Stage::Settled)
    }

    /// Wakes the other members if all is settled. The fences are ordered, so the one whose fence is last sees that.
    fn wake_others(&self) -> Result<()> {
        SleepWord::published();
        let (ledger, engine) = (self.record.ledger()?, self.comm.engine());
        if (0..self.record.members().len()).all(|member| ledger.fate(member, self.number) != Fate::Open) {
            for &process in self.record.members().iter().filter(|p| **p != engine.me()) {
                engine.wake(process);
            }
        }
        Ok(())
    }

    /// What has come out of a settled round.
    fn outcome(&self) -> Result<Outcome> {
        let ledger = self.record.ledger()?;
        let mut values = Vec::with_capacity(self.record.members().len());
        let (mut missed, mut acked_by_all) = (Vec::new(), u32::MAX);
        for (member, &process) in self.record.members().iter().enumerate() {
            match ledger.fate(member, self.number) {
                Fate::Given { value, acked } => {
                    values.push(Some(value));
                    acked_by_all = acked_by_all.min(acked);
                }
                fate => {
                    if fate == Fate::Open {
                        fail!(Intern, "the record of failures of {} is overwritten", self.comm.title());
                    }
                    values.push(None);
                    missed.push((ledger.note_failed(member), process));
                }
            }
        }
        let unacknowledged = missed.into_iter().filter(|(place, _)| *place >= acked_by_all as usize).min();
        Ok(Outcome { values, unacknowledged: unacknowledged.map(|(_, process)| process) })
    }

    /// Whoever has not given its value and has ended, in a job that does not go on without it.
    fn missing(&self, engine: &Engine) -> Option<Ended> {
        let ledger = self.record.ledger().ok()?;
        let open = |member: &usize| ledger.fate(*member, self.number) == Fate::Open;
        let mut waited_for =
            (0..self.record.members().len()).filter(open).map(|rank| (rank, self.record.members()[rank]));
        let (rank, process) = waited_for.find(|(_, process)| engine.has_ended(*process))?;
        let rank = self.comm.peers().rank_of(process).or(self.comm.group().rank_of(process)).unwrap_or(rank);
        Some(Ended { rank, process })
    }

    /// Tells of those who have not given their values.
    fn tell(&self, told: &mut Told) {
        let (Stage::Given, Ok(ledger)) = (self.stage, self.record.ledger()) else { return told.unknown() };
        let title = self.comm.title();
        for (member, process) in self.record.members().iter().enumerate() {
            if ledger.fate(member, self.number) == Fate::Open {
                told.add(
                    Kind::Collective,
                    Peers::one(process.0),
                    format!("on {title}, for {}", self.comm.inner().name_of(*process)),
                );
            }
        }
    }

    /// Waits until the round is settled.
    fn settle(&mut self, operation: &'static str) -> Result<()> {
        let (engine, ctx) = (self.comm.engine().clone(), self.comm.ctx());
        // A look at the processes themselves costs system calls: after a sleep in vain.
        let patient = std::cell::Cell::new(false);
        let shared = std::cell::RefCell::new(self);
        let ready = |core: &mut Core| {
            let closely = patient.take();
            match shared.borrow_mut().advance(|process| core.is_gone(process, closely)) {
                Ok(false) => None,
                Ok(true) => Some(Ok(())),
                Err(error) => Some(Err(error)),
            }
        };
        let mut missing = || {
            patient.set(true);
            if engine.keeps_going() { None } else { shared.borrow().missing(&engine) }
        };
        // Who gives its value later does not ring before all have, so a note may name one that has: that one waits for the same
        // others then, and its own note, which is younger, does not name this process.
        let tell = |_: &mut Core, told: &mut Told| shared.borrow().tell(told);
        engine.block_unless(Waiting::on(operation, ctx).for_what(&tell), ready, &mut missing)
    }
}

impl Drop for Round {
    fn drop(&mut self) {
        let Ok(ledger) = self.record.ledger() else { return };
        let me = self.record.me();
        if self.stage == Stage::Entering {
            // Given up before it has begun: the others need not wait.
            ledger.note_failed(me);
            ledger.miss(me, self.number);
            let _ = self.wake_others();
        }
        let mut rounds = self.comm.inner().fault.rounds.lock().unwrap_or_else(PoisonError::into_inner);
        let finished = rounds.finish(self.number);
        ledger.finish(me, finished);
    }
}

impl Outcome {
    /// The values of those who gave one, combined: of the remote group for an intercommunicator.
    fn flag(&self, round: &Round) -> u32 {
        let comm = &round.comm;
        let counts = |process: ProcId| comm.peers().contains(process);
        let values = self.values.iter().zip(round.record.members());
        values.filter(|(_, process)| counts(**process)).filter_map(|(value, _)| *value).fold(u32::MAX, |a, b| a & b)
    }

    /// # Errors
    /// Class `ProcAborted` at all members alike, when one has failed and not all had acknowledged that.
    fn check(&self, comm: &Comm) -> Result<()> {
        let Some(process) = self.unacknowledged else { return Ok(()) };
        let who = comm.inner().name_of(process);
        let help = "acknowledge failures on all ranks before, or shrink the communicator";
        Err(Error::new(ErrorClass::ProcAborted, format!("{who} has failed before it gave its value; {help}")))
    }
}

/// What a shrink has come to.
struct Shrunk {
    new: Comm,
    /// Whether this process knows of a member that has failed already.
    is_whole: bool,
}

/// The communicator of those who have given a value in a settled round.
fn survivors(round: &Round) -> Result<Shrunk> {
    let (comm, outcome) = (&round.comm, round.outcome()?);
    let engine = comm.engine();
    let values = outcome.values.iter().zip(round.record.members());
    let alive: Vec<ProcId> = values.filter(|(value, _)| value.is_some()).map(|(_, process)| *process).collect();
    let left = |group: &crate::group::Group| {
        group.derived(group.members().iter().filter(|p| alive.contains(p)).copied().collect())
    };
    let local = left(comm.group());
    let remote = comm.remote_group().map(left);
    if remote.as_ref().is_some_and(|remote| remote.size() == 0) || local.size() == 0 {
        fail!(ProcAborted, "nobody is left in the remote group");
    }
    let Some(rank) = local.rank_of(engine.me()) else {
        fail!(ProcAborted, "the other members have taken this process for ended and gone on without it");
    };
    // Contexts of an intercommunicator: its own and one for each group.
    let n = if remote.is_some() { 3 } else { 1 };
    let first = round.record.ledger()?.number(round.number, || engine.universe().next_contexts(n));
    let new = match remote {
        None => comm.intra(first, rank, local),
        Some(remote) => comm.inter(first, rank, local, remote),
    };
    let core = engine.core();
    let is_whole = !alive.iter().any(|process| core.has_failed(*process));
    Ok(Shrunk { new, is_whole })
}

impl Comm {
    /// Agrees with all living members on the AND of their flags, those of the remote group for an intercommunicator
    /// (`MPIX_Comm_agree`). The flag comes with the error, too; both are the same at all members, whoever dies meanwhile.
    /// Works on a revoked communicator.
    ///
    /// # Errors
    /// Class `ProcAborted` when a member has failed that not all had acknowledged; interruption.
    pub fn agree(&self, flag: i32) -> (i32, Result<()>) {
        let mut flag = flag;
        let outcome = self.agreed("Comm_agree", &mut flag);
        (flag, self.creating("Comm_agree", outcome))
    }

    fn agreed(&self, operation: &'static str, flag: &mut i32) -> Result<()> {
        let mut round = Round::begin(self, *flag as u32)?;
        round.settle(operation)?;
        let outcome = round.outcome()?;
        *flag = outcome.flag(&round) as i32;
        outcome.check(self)
    }

    /// Nonblocking [`Comm::agree`]: `flag` is read now and holds the outcome when the request is complete.
    ///
    /// # Errors
    /// When memory is short; the rest is the request's error.
    pub fn iagree(&self, flag: MutMem) -> Result<Request> {
        let mut bytes = [0; 4];
        flag.copy_to(&mut bytes);
        let begin = || {
            let round = Round::begin(self, u32::from_ne_bytes(bytes))?;
            self.engine().start_schedule(Box::new(Agreeing { round, flag }))
        };
        self.creating("Comm_iagree", begin())
    }

    /// A communicator of the living members, in the same order (`MPIX_Comm_shrink`). Members that fail meanwhile are not in
    /// it, as far as any of its members knew at the end. Works on a revoked communicator.
    ///
    /// # Errors
    /// Class `ProcAborted` when a group of an intercommunicator has nobody left; interruption.
    pub fn shrink(&self) -> Result<Comm> {
        self.creating("Comm_shrink", self.shrunk())
    }

    fn shrunk(&self) -> Result<Comm> {
        let mut comm = self.clone();
        loop {
            let mut round = Round::begin(&comm, 0)?;
            round.settle("Comm_shrink")?;
            let shrunk = survivors(&round)?;
            drop(round);
            let mut check = Round::begin(&shrunk.new, shrunk.is_whole.into())?;
            check.settle("Comm_shrink")?;
            if is_whole(&check)? {
                return Ok(shrunk.new);
            }
            comm = shrunk.new;
        }
    }

    /// Nonblocking [`Comm::shrink`]: `done` gets the new communicator, and the request is complete after that.
    ///
    /// # Errors
    /// When memory is short; the rest is the request's error.
    pub fn ishrink(&self, done: impl FnMut(Comm) -> Result<()> + Send + 'static) -> Result<Request> {
        let begin = || {
            let round = Round::begin(self, 0)?;
            let shrinking = Shrinking { round, new: None, done: Box::new(done) };
            self.engine().start_schedule(Box::new(shrinking))
        };
        self.creating("Comm_ishrink", begin())
    }
}

/// Whether all members of a new communicator live, as far as all of them know.
fn is_whole(check: &Round) -> Result<bool> {
    let outcome = check.outcome()?;
    Ok(outcome.values.iter().all(|value| *value == Some(1)))
}

fn advance(round: &mut Round, engine: &Engine) -> Result<bool> {
    let core = engine.core();
    round.advance(|process| core.is_gone(process, true))
}

/// An agreement under way.
struct Agreeing {
    round: Round,
    flag: MutMem,
}

impl Agreeing {
    fn go_on(&mut self, engine: &Engine) -> Result<Step> {
        if !advance(&mut self.round, engine)? {
            return Ok(Step::Poll);
        }
        let outcome = self.round.outcome()?;
        self.flag.copy_from(&outcome.flag(&self.round).to_ne_bytes());
        outcome.check(&self.round.comm)?;
        Ok(Step::Done(Status::EMPTY))
    }
}

impl Schedule for Agreeing {
    fn advance(&mut self, engine: &Engine) -> Result<Step> {
        let step = self.go_on(engine);
        self.round.comm.creating(self.name(), step)
    }

    fn name(&self) -> &'static str {
        "Comm_iagree"
    }

    fn abandon(&mut self, _: &Engine) {}
}

/// A shrink under way: the round of the communicator, then the one of the new one, and again.
struct Shrinking {
    round: Round,
    /// The new communicator, whose members the round asks for failures.
    new: Option<Comm>,
    done: Box<dyn FnMut(Comm) -> Result<()> + Send>,
}

impl Shrinking {
    fn go_on(&mut self, engine: &Engine) -> Result<Step> {
        while advance(&mut self.round, engine)? {
            match self.new.take() {
                None => {
                    let shrunk = survivors(&self.round)?;
                    self.round = Round::begin(&shrunk.new, shrunk.is_whole.into())?;
                    self.new = Some(shrunk.new);
                }
                Some(new) if is_whole(&self.round)? => {
                    (self.done)(new)?;
                    return Ok(Step::Done(Status::EMPTY));
                }
                Some(new) => self.round = Round::begin(&new, 0)?,
            }
        }
        Ok(Step::Poll)
    }
}

impl Schedule for Shrinking {
    fn advance(&mut self, engine: &Engine) -> Result<Step> {
        let step = self.go_on(engine);
        let comm = self.round.comm.clone();
        comm.creating(self.name(), step)
    }

    fn name(&self) -> &'static str {
        "Comm_ishrink"
    }

    fn abandon(&mut self, _: &Engine) {}
}
