//! How a blocked call waits: it polls for a while, gives its CPU away now and then, and sleeps until somebody rings, at
//! the [pace](phalanx_shm::sleep::pace) of all waits.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use phalanx_shm::sleep::{Next, Pace, SLICE, SleepWord, WAITING, Woken};

use crate::error::{Error, Result};

use super::Engine;
use super::absent::Receiving;
use super::core::Core;
use super::ended::{Ended, Watch};
use super::notice::Notice;
use super::ops::RawOp;
use super::schedule_hook::{Schedule, Step};
use super::told::Told;

/// What a blocked call is, for those to whom it matters once it sleeps: errors name it, and who looks from outside learns
/// what would end it. A few words, which nobody looks at before [`Engine::block_unless`] goes to sleep, the one place where
/// blocking calls do.
#[derive(Clone, Copy)]
pub struct Waiting<'w> {
    /// The operation, as the standard calls it without the prefix ("Recv", "Allreduce").
    pub operation: &'static str,
    /// Context of the messages it waits for, 0 where there is none.
    pub ctx: u32,
    /// What would end it.
    pub(super) on: On<'w>,
    /// What it receives, if it is not posted.
    pub(super) receiving: Option<&'w Receiving>,
}

/// What would end a wait.
#[derive(Clone, Copy)]
pub(super) enum On<'w> {
    /// Nobody knows: it might be anything.
    Unknown,
    /// The messages of collective operations that are under way.
    Messages,
    /// What this function tells. It runs after a sleep in vain, with the core locked.
    Told(&'w dyn Fn(&mut Core, &mut Told)),
}

impl<'w> Waiting<'w> {
    /// A wait in `operation` in a context.
    pub fn on(operation: &'static str, ctx: u32) -> Waiting<'w> {
        Waiting { operation, ctx, on: On::Unknown, receiving: None }
    }

    /// The same for the messages of collective operations.
    pub(crate) fn for_messages(self) -> Waiting<'w> {
        Waiting { on: On::Messages, ..self }
    }

    /// The same for what a function tells.
    pub(crate) fn for_what<'v>(self, tell: &'v dyn Fn(&mut Core, &mut Told)) -> Waiting<'v>
    where
        'w: 'v,
    {
        Waiting { on: On::Told(tell), ..self }
    }

    /// The same of a receive that looks at what has arrived.
    pub(crate) fn receiving(self, receiving: &'w Receiving) -> Waiting<'w> {
        Waiting { receiving: Some(receiving), ..self }
    }
}

/// Polls made under one hold of the lock, one round of looks: where ranks outnumber CPUs, and elsewhere. Who has to give the
/// CPU away for anything to change looks once.
const POLLS_PER_HOLD: [u32; 2] = [1, 16];

/// Polls of a flag before any progress is made: where ranks outnumber CPUs, and elsewhere. A peer that is in the same
/// collective answers within a microsecond if it runs at all.
const POLLS_OF_A_FLAG: [u32; 2] = [4, 200];

/// Sleep of a loop of looks while others compute on its CPU, so that giving way is not worth it.
pub(super) const DOZE: Duration = Duration::from_micros(100);

/// Failed tests between two yields: where ranks outnumber CPUs, and elsewhere.
const TESTS_PER_YIELD: [u32; 2] = [16, 128];

/// What ranks that test in a loop have seen of ended processes.
#[derive(Default)]
pub(super) struct Testing {
    looked: Option<Instant>,
    watch: Watch,
}

/// A function of the program's in which calls run what lasts.
pub type Around = fn(&mut dyn FnMut());

/// How a schedule came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Driven {
    Done,
    GivenUp,
}

/// How a sleep ended.
enum Slept<T> {
    /// There was no need for it: what was waited for is here.
    Ready(Result<T>),
    /// Something happened.
    Woken,
    /// Nothing happened.
    Idle,
}

impl Engine {
    /// Makes one pass of progress: delivers arrived messages, moves pending ones, advances schedules.
    ///
    /// # Errors
    /// Only when the engine cannot go on at all (after `fork` in the child, after finalize).
    pub fn progress(&self) -> Result<()> {
        self.enter()?.poll();
        self.advance_schedules();
        Ok(())
    }

    /// Advances every registered schedule that may be able to go on. True when one got further.
    pub(crate) fn advance_schedules(&self) -> bool {
        let mut any = false;
        loop {
            let turn = {
                let mut core = self.core();
                if core.schedules.active == 0 {
                    return any;
                }
                let completed = core.ops.completed_raw;
                core.schedules.take_turn(completed)
            };
            let Some(mut turn) = turn else { return any };
            let step = turn.schedule.advance(self);
            any |= !matches!(step, Ok(Step::Poll));
            let mut core = self.core();
            match step {
                Ok(Step::Pending) => core.schedules.put_back(turn, false),
                Ok(Step::Poll) => {
                    core.schedules.put_back(turn, true);
                    return any;
                }
                Ok(Step::Done(status)) => self.finish_schedule(&mut core, turn.id, Ok(status)),
                Err(error) => self.finish_schedule(&mut core, turn.id, Err(error)),
            }
        }
    }

    pub(crate) fn finish_schedule(
        &self,
        core: &mut Core,
        id: super::schedules::ScheduleId,
        outcome: Result<crate::status::Status>,
    ) {
        core.schedules.finish(id, outcome);
        core.ops.completed += 1;
        if core.sleepers > 0 {
            core.announce();
        }
    }

    /// Waits, making progress, until `ready` gives a value. `ready` runs with the core locked and must not block.
    ///
    /// # Errors
    /// What `ready` gives, or interruption.
    pub fn block_until<T>(&self, what: Waiting<'_>, ready: impl FnMut(&mut Core) -> Option<Result<T>>) -> Result<T> {
        self.block_unless(what, ready, &mut || None)
    }

    /// As [`Engine::block_until`]; `missing` tells, whenever a sleep was in vain, who has ended without doing what makes
    /// the call ready. (Operations of the engine need none: they fail by themselves.)
    ///
    /// # Errors
    /// What `ready` gives, interruption, or class `ProcAborted` for somebody who stays missing.
    pub(crate) fn block_unless<T>(
        &self,
        what: Waiting<'_>,
        mut ready: impl FnMut(&mut Core) -> Option<Result<T>>,
        missing: &mut dyn FnMut() -> Option<Ended>,
    ) -> Result<T> {
        if !self.has_around() {
            return self.block(what, ready, missing);
        }
        // What is there already needs no wait.
        {
            let mut core = self.enter()?;
            core.poll();
            if let Some(outcome) = ready(&mut core) {
                return outcome;
            }
        }
        self.in_around(|| self.block(what, ready, missing))
    }

    /// As [`Engine::block_unless`], where nothing of the program's is in the way.
    fn block<T>(
        &self,
        what: Waiting<'_>,
        mut ready: impl FnMut(&mut Core) -> Option<Result<T>>,
        missing: &mut dyn FnMut() -> Option<Ended>,
    ) -> Result<T> {
        let _time = self.0.blocked.begin();
        let mut pace = Pace::new(&self.0.manners);
        let mut asked = None;
        let mut watch = Watch::default();
        let mut steps = None;
        let mut notice = Notice::default();
        let mut has_looked = false;
        loop {
            let (moved, alarmed) = {
                let mut core = self.enter()?;
                for _ in 0..POLLS_PER_HOLD[usize::from(self.0.manners.roomy())] {
                    core.poll();
                    if let Some(outcome) = ready(&mut core) {
                        pace.learn();
                        return outcome;
                    }
                    if core.schedules.active > 0 {
                        break;
                    }
                    std::hint::spin_loop();
                }
                let moved = steps.replace(core.steps).is_some_and(|before| before != core.steps);
                (moved, std::mem::take(&mut core.alarmed))
            };
            if alarmed && let Some(outcome) = self.ready_or_ended(&mut ready, &what, &mut watch, missing) {
                return outcome;
            }
            if moved {
                // A large message that moves is no waiting: both sides are needed, and a sleep would stop the other, too.
                pace = Pace::new(&self.0.manners);
                self.look_up(&what, &mut asked)?;
            }
            if self.advance_schedules() {
                continue;
            }
            match pace.step() {
                Next::Look => {}
                // Who is known to have failed is not waited for first.
                Next::Sleep if !std::mem::replace(&mut has_looked, true) && self.core().knows_failures.get() => {
                    if let Some(outcome) = self.ready_or_ended(&mut ready, &what, &mut watch, missing) {
                        return outcome;
                    }
                }
                Next::Sleep => match self.sleep(&mut ready, &mut notice, &what)? {
                    Slept::Ready(outcome) => return outcome,
                    Slept::Woken => {
                        pace.woken();
                        notice.check(&what)?;
                        self.look_up(&what, &mut asked)?;
                    }
                    Slept::Idle => {
                        if let Some(outcome) = self.ready_or_ended(&mut ready, &what, &mut watch, missing) {
                            return outcome;
                        }
                        notice.renew(self, &what)?;
                        pace.slept_in_vain();
                    }
                },
            }
        }
    }

    /// Looks for processes that have ended. Fails if one is missed, unless what is waited for is here all the same: since the last look it
    /// may have come, or a signal's handler may have received it, and what a process does before its end is seen after it.
    #[cold]
    fn ready_or_ended<T>(
        &self,
        ready: &mut impl FnMut(&mut Core) -> Option<Result<T>>,
        what: &Waiting<'_>,
        watch: &mut Watch,
        missing: &mut dyn FnMut() -> Option<Ended>,
    ) -> Option<Result<T>> {
        let error = self.look_for_ended(what, watch, missing).err()?;
        let Ok(mut core) = self.enter() else { return Some(Err(error)) };
        core.poll();
        Some(ready(&mut core).unwrap_or(Err(error)))
    }

    /// What a sleep in vain does, for a wait that is kept awake by traffic: signals must be noticed all the same.
    fn look_up(&self, what: &Waiting<'_>, asked: &mut Option<Instant>) -> Result<()> {
        let since = *asked.get_or_insert_with(Instant::now);
        if since.elapsed() > SLICE {
            self.core().audit();
            self.check_interrupt_in(what)?;
            *asked = None;
        }
        Ok(())
    }

    /// Sleeps until something happens to this process, unless it is there already.
    fn sleep<T>(
        &self,
        ready: &mut impl FnMut(&mut Core) -> Option<Result<T>>,
        notice: &mut Notice,
        what: &Waiting<'_>,
    ) -> Result<Slept<T>> {
        let token = self.sleepers().announce(WAITING);
        self.advance_schedules();
        {
            let mut core = self.enter()?;
            core.poll();
            if let Some(outcome) = ready(&mut core) {
                return Ok(Slept::Ready(outcome));
            }
            if core.stop_waiting_for_senders() {
                return Ok(Slept::Woken);
            }
            if core.must_stay_awake() || core.schedules_can_go_on() {
                drop(core);
                self.0.manners.give_way();
                return Ok(Slept::Woken);
            }
            core.sleepers += 1;
        }
        // What comes from here on changes the word of the token.
        notice.refresh(what);
        let noted = notice.asleep(token, what);
        let woken = noted.is_ok().then(|| self.sleepers().sleep(token, Some(SLICE)));
        notice.awake();
        {
            let mut core = self.core();
            core.sleepers -= 1;
            core.tally.sleeps += 1;
            if woken == Some(Woken::TimedOut) {
                core.audit();
            }
        }
        noted?;
        match woken.unwrap_or(Woken::Interrupted) {
            Woken::Notified => Ok(Slept::Woken),
            Woken::TimedOut | Woken::Interrupted => self.check_interrupt_in(what).map(|()| Slept::Idle),
        }
    }

    /// What the threads of this process sleep on.
    fn sleepers(&self) -> &SleepWord {
        self.0.universe.slot(self.0.me).sleepers()
    }

    /// Called by tests and probes that found nothing: a rank that tests in a loop gives its CPU away now and
    /// then, since what it waits for may need it.
    #[inline]
    pub(crate) fn after_failed_test(&self) {
        let every = TESTS_PER_YIELD[usize::from(self.0.manners.roomy())];
        if self.0.failed_tests.fetch_add(1, Ordering::Relaxed) % every == every - 1 {
            self.in_around(|| {
                if !self.0.manners.give_way() {
                    self.doze();
                }
            });
            self.look_around();
        }
    }

    /// What a sleep in vain does, for a rank that tests in a loop: operations that only ended processes could complete
    /// fail, which the next test finds.
    #[cold]
    fn look_around(&self) {
        // One thread is enough.
        let Ok(mut testing) = self.0.testing.try_lock() else { return };
        if testing.looked.get_or_insert_with(Instant::now).elapsed() > SLICE {
            testing.looked = None;
            // Nothing is missing here, and an engine that cannot go on says so at the next test.
            let _ = self.look_for_ended(&Waiting::on("Test", 0), &mut testing.watch, &mut || None);
        }
    }

    /// A moment's sleep, unless something happens: what is tested for may need this CPU, and a yield would give it to
    /// somebody else for long.
    #[cold]
    fn doze(&self) {
        let token = self.sleepers().announce(WAITING);
        {
            let Ok(mut core) = self.enter() else { return };
            let before = (core.ops.completed, core.arrived);
            core.poll();
            if (core.ops.completed, core.arrived) != before || core.must_stay_awake() || core.schedules.active > 0 {
                return;
            }
            core.sleepers += 1;
        }
        self.sleepers().sleep(token, Some(DOZE));
        self.core().sleepers -= 1;
    }

    /// Runs the interrupt hook.
    pub(crate) fn check_interrupt(&self) -> Result<()> {
        let hook = *self.0.hook.read().unwrap_or_else(std::sync::PoisonError::into_inner);
        match hook {
            Some(hook) if hook() => Err(Error::interrupted()),
            _ => Ok(()),
        }
    }

    /// Waits for raw operations to complete and frees them; the first error wins, after all are complete or withdrawn.
    ///
    /// # Errors
    /// The first operation's error, or interruption (then all are withdrawn).
    pub fn wait_raw(&self, what: Waiting<'_>, ops: &[RawOp]) -> Result<()> {
        let mut next = 0;
        let mut first = Ok(());
        let waited = self.block_until(what, |core| {
            while let Some(&op) = ops.get(next) {
                if let Err(error) = core.poll_raw(op)?
                    && first.is_ok()
                {
                    first = Err(error);
                }
                next += 1;
            }
            Some(Ok(()))
        });
        if waited.is_err() {
            let mut core = self.core();
            for &op in &ops[next..] {
                core.withdraw_raw(op);
            }
        }
        waited.and(first)
    }

    /// Waits for a condition on shared memory, making progress meanwhile. `flag` is polled hot, without
    /// the lock; whoever makes it true calls [`Engine::notify`] for this process afterwards. `missing` tells who has
    /// ended and will never make it true.
    ///
    /// # Errors
    /// Interruption; class `ProcAborted` for somebody who stays missing.
    pub(crate) fn wait_flag(
        &self,
        what: Waiting<'_>,
        mut flag: impl FnMut() -> bool,
        mut missing: impl FnMut() -> Option<Ended>,
    ) -> Result<()> {
        if self.look_for(&mut flag) {
            return Ok(());
        }
        self.block_unless(what, |_| flag().then_some(Ok(())), &mut missing)
    }

    /// Looks hot at a condition on shared memory for a moment, without progress: whether it is met.
    pub(crate) fn look_for(&self, mut flag: impl FnMut() -> bool) -> bool {
        for _ in 0..POLLS_OF_A_FLAG[usize::from(self.0.manners.roomy())] {
            if flag() {
                return true;
            }
            std::hint::spin_loop();
        }
        false
    }

    /// Runs a schedule to its end (blocking collectives): waits as all blocking calls do, interrupts included. Gives it up
    /// when the word `broken` is not 0 any more; whoever changes that wakes this process.
    ///
    /// # Errors
    /// The schedule's error, or interruption (the schedule is abandoned then).
    pub(crate) fn run_schedule(
        &self,
        what: Waiting<'_>,
        schedule: &mut dyn Schedule,
        broken: Option<&AtomicU64>,
        idle: &mut dyn FnMut(),
    ) -> Result<Driven> {
        let outcome = self.in_around(|| self.drive(what, schedule, broken, idle));
        if matches!(outcome, Ok(Driven::GivenUp)) || outcome.as_ref().is_err_and(Error::is_interrupted) {
            schedule.abandon(self);
        }
        outcome
    }

    fn drive(
        &self,
        what: Waiting<'_>,
        schedule: &mut dyn Schedule,
        broken: Option<&AtomicU64>,
        idle: &mut dyn FnMut(),
    ) -> Result<Driven> {
        let is_broken = || broken.is_some_and(|word| word.load(Ordering::Relaxed) != 0);
        let mut asked = None;
        loop {
            let seen = self.enter()?.ops.completed_raw;
            match schedule.advance(self)? {
                Step::Done(_) => return Ok(Driven::Done),
                Step::Pending => {
                    let ready = |core: &mut Core| match core.ops.completed_raw != seen {
                        true => Some(Ok(true)),
                        false => is_broken().then_some(Ok(false)),
                    };
                    let moved = self.block_unless(what.for_messages(), ready, &mut || {
                        idle();
                        None
                    })?;
                    if !moved {
                        return Ok(Driven::GivenUp);
                    }
                }
                Step::Poll => {
                    self.progress()?;
                    self.after_failed_test();
                    self.look_up(&what, &mut asked)?;
                }
            }
        }
    }
}

impl Core {
    fn schedules_can_go_on(&self) -> bool {
        self.schedules.has_turn(self.ops.completed_raw)
    }
}
