//! The engine of one process: its place in the universe, its progress, its life from init to finalize.

pub(crate) mod abroad;
mod absent;
pub mod buffer;
mod check;
pub mod core;
mod ended;
pub(crate) mod errands;
pub(crate) mod kind;
mod large;
mod matching;
pub(crate) mod memory;
mod notice;
mod ops;
mod pieces;
mod receive;
mod replay;
pub mod schedule_hook;
mod schedules;
mod send;
mod stream;
mod tally;
mod told;
mod trace;
pub mod wait;

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, RwLock};

use phalanx_shm::sleep::Manners;
use phalanx_shm::{CpuBudget, EngineLock, ProcId, SlotState, Universe};

use crate::boot::{self, BootConfig, Pmi};
use crate::comm::{Comm, CommParts};
use crate::dynamic::{self, OpenPorts, OwnLauncher};
use crate::error::{Error, ErrorClass, Result};
use crate::group::Group;
use crate::pt2pt::buffered::Attached;
use crate::request::Request;

pub use self::core::{Core, CoreGuard, RawOp};
pub use check::CallPlace;
pub(crate) use check::Slots;
pub use ended::Ended;
pub use notice::{PlaceHook, Within, within};
pub use phalanx_waits::{Class, Finding, Frame};
pub use schedule_hook::{Schedule, ScheduleMaker, Step};
pub use tally::{Levels, Moved, Tally, single_copy_allowed};
pub use trace::{TraceEvent, Traced, Tracer};
pub use wait::Around;
pub(crate) use wait::Driven;
pub use wait::Waiting;

pub(crate) use self::core::base_of;
pub(crate) use abroad::{Entry, Identity, Visit};
pub(crate) use absent::Receiving;
pub(crate) use matching::Pattern;
pub(crate) use ops::{Copied, Data, Owner, SendStage as Stage};
pub(crate) use receive::{Direct, Incoming, Stored};
pub(crate) use replay::Decision;
pub(crate) use schedules::ScheduleId;
pub(crate) use send::{Outgoing, shm_error};
pub(crate) use told::Told;

/// The message-passing engine of one process. Cloning gives another handle to it.
///
/// A program has one; tests run several, each as a rank in a thread of its own, over one universe.
#[derive(Clone)]
pub struct Engine(pub(crate) Arc<Inner>);

pub(crate) struct Inner {
    universe: Universe,
    me: ProcId,
    core: EngineLock<Core>,
    /// One of the states below.
    state: AtomicU8,
    /// Forks this process's line had seen when the engine was made; another number now means we are in a child.
    forks: u32,
    /// Ranks share CPUs.
    crowded: bool,
    hook: RwLock<Option<fn() -> bool>>,
    /// How its calls wait.
    manners: Manners,
    failed_tests: AtomicU32,
    testing: Mutex<wait::Testing>,
    blocked: tally::Blocked,
    place: RwLock<Option<PlaceHook>>,
    /// What waits run in.
    around: OnceLock<Around>,
    /// Finds the place of the calling thread cheaply.
    line: RwLock<Option<CallPlace>>,
    /// Whether decisions are recorded or repeated.
    decides: AtomicBool,
    /// Which threads have left notes of their waits.
    noted: Mutex<notice::Noted>,
    on_deadlock: notice::OnDeadlock,
    /// Emptied at finalize: they refer back to the engine.
    comms: Mutex<Comms>,
    parent_block: u64,
    appnum: Option<i32>,
    pmi: Mutex<Option<Pmi>>,
    own_launcher: OwnLauncher,
    ports: OpenPorts,
    pub(crate) attached: Mutex<Attached>,
}

#[derive(Default)]
struct Comms {
    world: Option<Comm>,
    own: Option<Comm>,
    parent: Option<Comm>,
}

/// See [`Engine::is_aborting`].
static ABORTING: AtomicBool = AtomicBool::new(false);

const RUNNING: u8 = 1;
const FINALIZED: u8 = 2;

/// Largest message that goes through the ring in one record, if nobody sets another limit.
pub const EAGER_LIMIT: usize = 16 << 10;

impl Engine {
    /// Joins the job that `config` describes.
    ///
    /// # Errors
    /// When the slot is taken by another process, or memory is short.
    pub fn init(config: BootConfig) -> Result<Engine> {
        let BootConfig { universe, first, size, rank, ctx, appnum, parent, pmi, launched: _ } = config;
        if rank >= size || !universe.has(ProcId(first.0 + size - 1)) {
            return Err(Error::new(
                ErrorClass::Other,
                format!(
                    "rank {rank} of {size} from process slot {first} on does not fit this universe of {} processes",
                    universe.claimed()
                ),
            ));
        }
        let me = ProcId(first.0 + rank);
        let slot = universe.slot(me);
        slot.claim(universe.own_tag()).map_err(|owner| {
            Error::new(ErrorClass::Other, format!("rank {rank} is already running as process {}", owner.pid()))
        })?;
        slot.set_state(SlotState::Starting);
        let single_copy = tally::single_copy_allowed();
        let budget = CpuBudget::detect(size);
        let eager = EAGER_LIMIT.min(universe.max_payload());
        let crowded = budget.oversubscribed();
        let core = Core::new(universe.clone(), me, eager, single_copy, crowded);
        let engine = Engine(Arc::new(Inner {
            core: EngineLock::new(core),
            state: AtomicU8::new(RUNNING),
            forks: phalanx_shm::fork::generation(),
            crowded,
            hook: RwLock::new(None),
            manners: Manners::among(&budget, {
                let universe = universe.clone();
                move || universe.cpu_time()
            }),
            failed_tests: AtomicU32::new(0),
            testing: Mutex::default(),
            blocked: tally::Blocked::default(),
            place: RwLock::new(None),
            around: OnceLock::new(),
            line: RwLock::new(None),
            decides: AtomicBool::new(false),
            noted: Mutex::default(),
            on_deadlock: notice::OnDeadlock::from_env(),
            comms: Mutex::default(),
            parent_block: parent,
            appnum,
            pmi: Mutex::new(pmi),
            own_launcher: OwnLauncher::default(),
            ports: OpenPorts::default(),
            attached: Mutex::default(),
            universe,
            me,
        }));
        let comm = |ctx, rank: u32, members: Vec<ProcId>, name: &str| {
            let local = Group::new(members);
            Comm::assemble(
                &engine,
                CommParts { ctx, rank: rank as usize, local, remote: None, local_comm: None, name: name.into() },
            )
        };
        let world = comm(ctx, rank, (first.0..first.0 + size).map(ProcId).collect(), "MPI_COMM_WORLD");
        let own = comm(SELF_CONTEXTS | me.0 << 2, 0, vec![me], "MPI_COMM_SELF");
        *engine.comms() = Comms { world: Some(world), own: Some(own), parent: None };
        if parent != 0 {
            engine.set_parent(Some(dynamic::connect_parent(&engine, parent)?));
        }
        engine.0.universe.slot(me).set_state(SlotState::Running);
        Ok(engine)
    }

    /// Joins the job that the environment describes: Phalanx's launcher, a PMI-1 launcher, or none (a job of one).
    ///
    /// # Errors
    /// When a launcher is there but there is no way to meet the other ranks, or init fails.
    pub fn from_env() -> Result<Engine> {
        let config = boot::from_env()?;
        let launched = config.launched;
        let engine = Engine::init(config)?;
        if launched {
            engine.begin_decisions()?;
        }
        Ok(engine)
    }

    /// Lets go of the communicators, which hold the engine: for targets, each of whose cases has one that is never finalized.
    #[cfg(any(test, fuzzing))]
    pub(crate) fn forget_comms(&self) {
        let comms = std::mem::take(&mut *self.comms());
        drop(comms);
    }

    fn comms(&self) -> MutexGuard<'_, Comms> {
        self.0.comms.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn blocked(&self) -> &tally::Blocked {
        &self.0.blocked
    }

    /// How the calls of this process wait.
    pub fn manners(&self) -> &Manners {
        &self.0.manners
    }

    /// Whether ranks share CPUs.
    #[inline]
    pub(crate) fn is_crowded(&self) -> bool {
        self.0.crowded
    }

    /// The universe this process lives in.
    pub fn universe(&self) -> &Universe {
        &self.0.universe
    }

    /// This process.
    pub fn me(&self) -> ProcId {
        self.0.me
    }

    /// `MPI_COMM_WORLD`.
    ///
    /// # Panics
    /// After finalize; see [`Engine::is_finalized`].
    pub fn world(&self) -> Comm {
        self.comms().world.clone().expect("the world communicator exists until finalize")
    }

    /// `MPI_COMM_SELF`.
    ///
    /// # Panics
    /// After finalize; see [`Engine::is_finalized`].
    pub fn self_comm(&self) -> Comm {
        self.comms().own.clone().expect("the self communicator exists until finalize")
    }

    /// The intercommunicator to the processes that spawned this world, if it was spawned.
    pub fn parent(&self) -> Option<Comm> {
        self.comms().parent.clone()
    }

    /// Installs (or, after disconnect, removes) the parent intercommunicator.
    pub fn set_parent(&self, parent: Option<Comm>) {
        self.comms().parent = parent;
    }

    /// Offset of the parent description block in the segment, 0 when this world was not spawned.
    pub fn parent_block(&self) -> u64 {
        self.0.parent_block
    }

    /// Number of this world's program in a launch of several (`MPI_APPNUM`).
    pub fn appnum(&self) -> Option<i32> {
        self.0.appnum
    }

    /// The connection to the launcher, if there is one.
    pub fn pmi(&self) -> MutexGuard<'_, Option<Pmi>> {
        self.0.pmi.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The launcher that this process has started for its spawns.
    pub(crate) fn own_launcher(&self) -> &OwnLauncher {
        &self.0.own_launcher
    }

    /// The ports that this process has open.
    pub(crate) fn ports(&self) -> &OpenPorts {
        &self.0.ports
    }

    /// Ends message passing: completes the sends that are under way, waited for or not, and tells the launcher. A
    /// message whose receiver ends without taking it is given up and is among [`Engine::undelivered`] then. The segment stays
    /// mapped: peers may still read what was sent.
    ///
    /// # Errors
    /// Class `Other` when the engine was already finalized; interruption.
    pub fn finalize(&self) -> Result<()> {
        self.serves()?;
        self.end_decisions()?;
        let tell = |core: &mut Core, told: &mut Told| told.deliveries(core);
        let what = Waiting::on(ended::FINALIZE, 0).for_what(&tell);
        let slot = self.0.universe.slot(self.0.me);
        if !self.enter()?.is_quiet() {
            slot.set_state(SlotState::Finalizing);
            self.core().tell_hosts(SlotState::Finalizing);
            self.block_until(what, |core| core.is_quiet().then_some(Ok(())))?;
        }
        self.0.state.store(FINALIZED, Ordering::Release);
        self.close_ports();
        slot.set_state(SlotState::Finalized);
        let mut core = self.0.core.lock();
        core.finish_check();
        core.end_visits(true);
        core.close_rings();
        drop(core);
        let comms = std::mem::take(&mut *self.comms());
        drop(comms);
        if let Some(pmi) = self.pmi().as_mut() {
            pmi.finalize()?;
        }
        Ok(())
    }

    /// The messages that `finalize` has given up, in words, without those of operations that have been waited for.
    pub fn undelivered(&self) -> Vec<String> {
        self.core().undelivered.clone()
    }

    /// Whether `finalize` has been called.
    pub fn is_finalized(&self) -> bool {
        self.0.state.load(Ordering::Acquire) == FINALIZED
    }

    /// Ends the job with an exit code: tells the launcher, then leaves this process.
    pub fn abort(&self, code: i32) -> ! {
        ABORTING.store(true, Ordering::Release);
        self.0.universe.slot(self.0.me).record_abort(code);
        // Another thread may hold the connection; ending matters more than telling.
        if let Ok(mut pmi) = self.0.pmi.try_lock()
            && let Some(pmi) = pmi.as_mut()
        {
            pmi.abort(code);
        }
        std::process::exit(code);
    }

    /// Whether this process is ending the job: its exit functions run.
    pub fn is_aborting() -> bool {
        ABORTING.load(Ordering::Acquire)
    }

    /// Sets the function that waiting calls run (unlocked) after a signal and a few times a second;
    /// when it returns true the waiting call gives up with [`Error::interrupted`].
    pub fn set_interrupt_hook(&self, hook: Option<fn() -> bool>) {
        *self.0.hook.write().unwrap_or_else(PoisonError::into_inner) = hook;
    }

    /// Whether waiting calls run such a function.
    fn has_hook(&self) -> bool {
        self.0.hook.read().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    /// Sets the function that finds the place of a thread in the program. Waiting calls run it, unlocked, once they have waited
    /// for long.
    pub fn set_place_hook(&self, hook: Option<PlaceHook>) {
        *self.0.place.write().unwrap_or_else(PoisonError::into_inner) = hook;
    }

    /// Sets, once, the function that calls run what lasts in: waits, and work that takes long. It must run what it is given,
    /// on the same thread, before it returns; a program can give up a lock of its own for that time.
    pub fn set_around(&self, around: Around) {
        let _ = self.0.around.set(around);
    }

    /// Whether calls run what lasts in a function of the program.
    fn has_around(&self) -> bool {
        self.0.around.get().is_some()
    }

    /// Runs what may last long in the program's function.
    pub(crate) fn in_around<T>(&self, what: impl FnOnce() -> T) -> T {
        let Some(around) = self.0.around.get() else { return what() };
        let (mut what, mut result) = (Some(what), None);
        // Once, however often the program's function runs it.
        around(&mut || {
            if let Some(what) = what.take() {
                result = Some(what());
            }
        });
        match (result, what) {
            (Some(result), _) => result,
            (None, Some(what)) => what(),
            (None, None) => unreachable!("what has been run has given a result"),
        }
    }

    /// Where the calling thread is in the program.
    fn place(&self) -> Vec<phalanx_waits::Frame> {
        let hook = *self.0.place.read().unwrap_or_else(PoisonError::into_inner);
        hook.map_or_else(Vec::new, |hook| hook())
    }

    fn noted(&self) -> MutexGuard<'_, notice::Noted> {
        self.0.noted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn on_deadlock(&self) -> notice::OnDeadlock {
        self.0.on_deadlock
    }

    /// Locks the core. Never call user code, and never wait, while holding the guard.
    #[inline]
    pub fn core(&self) -> CoreGuard<'_> {
        self.0.core.lock()
    }

    /// Locks the core for a call, unless the engine cannot serve it: after its end, in a forked child, or when what
    /// processes share has been found written over.
    #[inline]
    pub(crate) fn enter(&self) -> Result<CoreGuard<'_>> {
        self.serves()?;
        let core = self.0.core.lock();
        match &core.broken {
            None => Ok(core),
            Some(damage) => Err(Error::new(ErrorClass::Intern, damage.clone())),
        }
    }

    /// That the engine serves this process. For calls that change what processes share, and do not [`enter`](Engine::enter): a forked
    /// child would pass for the rank.
    ///
    /// # Errors
    /// After its end, and in a forked child.
    #[inline]
    pub(crate) fn serves(&self) -> Result<()> {
        if self.0.state.load(Ordering::Relaxed) != RUNNING || self.0.forks != phalanx_shm::fork::generation() {
            return Err(self.refuse());
        }
        Ok(())
    }

    #[cold]
    fn refuse(&self) -> Error {
        if self.0.forks != phalanx_shm::fork::generation() {
            return Error::new(
                ErrorClass::Other,
                format!(
                    "process {} is a forked child of a rank: it may compute, but message passing belongs to the rank; \
                     start ranks with 'phalanx run' or Spawn, or use the 'spawn' start method of multiprocessing",
                    std::process::id()
                ),
            );
        }
        Error::new(ErrorClass::Other, "message passing has ended in this process: MPI_Finalize was called before")
    }

    /// Registers a schedule and gives the request that completes with it. Advances it once right away.
    ///
    /// # Errors
    /// Only when the engine cannot go on; the schedule's own errors come with the request.
    pub fn start_schedule(&self, schedule: Box<dyn Schedule>) -> Result<Request> {
        let id = self.launch_schedule(schedule)?;
        Ok(Request::of_schedule(self, id))
    }

    pub(crate) fn launch_schedule(&self, mut schedule: Box<dyn Schedule>) -> Result<ScheduleId> {
        let (id, seen) = {
            let mut core = self.enter()?;
            (core.schedules.add_running(), core.ops.completed_raw)
        };
        let step = schedule.advance(self);
        let mut core = self.core();
        let turn = schedules::Turn { id, schedule, seen };
        match step {
            Ok(Step::Pending) => core.schedules.put_back(turn, false),
            Ok(Step::Poll) => core.schedules.put_back(turn, true),
            Ok(Step::Done(status)) => self.finish_schedule(&mut core, id, Ok(status)),
            Err(error) => self.finish_schedule(&mut core, id, Err(error)),
        }
        Ok(id)
    }

    /// A persistent request around a schedule: each start calls `make` and runs what it gives.
    pub fn persistent_schedule(&self, make: ScheduleMaker) -> Request {
        Request::of_maker(self, make)
    }

    /// Wakes a process that may sleep on something just stored to shared memory. Costs a fence and a
    /// load when it does not sleep.
    #[inline]
    pub fn notify(&self, process: ProcId) {
        self.0.universe.slot(process).notify();
    }

    /// As [`Engine::notify`], where the caller has ordered what it stored by a fence of its own.
    #[inline]
    pub(crate) fn wake(&self, process: ProcId) {
        self.0.universe.slot(process).wake();
    }
}

/// Context of `MPI_COMM_SELF`: this bit and the slot.
const SELF_CONTEXTS: u32 = 0x8000_0000;

impl Core {
    /// Whether nothing is left that peers need from this side: queued records, sends under way, streams.
    fn is_quiet(&self) -> bool {
        self.busy.is_empty() && self.transfers.is_empty() && !self.ops.has_data_to_deliver(self.me)
    }

    /// Gives the ends of all rings back, so that another engine in this process may take them.
    fn close_rings(&mut self) {
        self.links.clear();
        self.inlets.clear();
    }
}
