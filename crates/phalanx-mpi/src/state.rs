//! The process: its engine, its predefined communicators, and where it stands between initialisation and finalisation.

use std::sync::atomic::{AtomicI32, AtomicU8, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::ThreadId;

use phalanx_engine::{Comm, Engine, ErrorClass};

use crate::comm::CommObject;
use crate::consts;
use crate::entry::{Failure, wrong};
use crate::handle::RawComm;

/// What exists from initialisation to the end of the process.
pub(crate) struct Process {
    /// The engine.
    pub(crate) engine: Engine,
    /// `MPI_COMM_WORLD`.
    pub(crate) world: CommObject,
    /// `MPI_COMM_SELF`.
    pub(crate) self_comm: CommObject,
    /// The handle that `MPI_Comm_get_parent` gives.
    parent: Mutex<RawComm>,
    /// The thread that initialised MPI.
    pub(crate) main_thread: ThreadId,
}

static PROCESS: OnceLock<Process> = OnceLock::new();
/// Whether MPI functions may be called: the only thing a body's way in looks at.
static RUNNING: AtomicU8 = AtomicU8::new(STOPPED);

const STOPPED: u8 = 0;
const PLAIN: u8 = 1;
/// Functions may be called, and each call is looked at first: [checked](crate::check) or [recorded](crate::trace).
const WATCHED: u8 = 2;

/// How far the world model and the sessions have come.
static LIFE: Mutex<Life> = Mutex::new(Life { world: World::Before, sessions: 0 });
/// The thread level that initialisation promised.
static PROVIDED: AtomicI32 = AtomicI32::new(consts::THREAD_MULTIPLE);

struct Life {
    world: World,
    sessions: usize,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum World {
    Before,
    Running,
    Finalized,
}

fn life() -> MutexGuard<'static, Life> {
    LIFE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Whether functions that need a running engine may be called.
#[inline(always)]
pub(crate) fn is_running() -> bool {
    RUNNING.load(Ordering::Acquire) != STOPPED
}

/// Whether functions that need a running engine may be called, without a closer look.
#[inline(always)]
pub(crate) fn is_plain() -> bool {
    RUNNING.load(Ordering::Acquire) == PLAIN
}

fn run(process: &Process) {
    let is_watched = process.engine.is_checked() || crate::trace::is_on();
    RUNNING.store(if is_watched { WATCHED } else { PLAIN }, Ordering::Release);
}

/// Whether `MPI_Init` has been called and has returned.
pub(crate) fn was_initialized() -> bool {
    life().world != World::Before
}

/// Whether `MPI_Finalize` has been called.
pub(crate) fn was_finalized() -> bool {
    life().world == World::Finalized
}

/// The process, once initialisation has begun (it stays after finalisation).
#[inline(always)]
pub(crate) fn process() -> Option<&'static Process> {
    PROCESS.get()
}

/// The process, or an error where there is none.
pub(crate) fn need_process() -> Result<&'static Process, Failure> {
    process().ok_or_else(|| wrong(ErrorClass::Other, "MPI is not initialized"))
}

/// The thread level that initialisation promised.
pub(crate) fn provided() -> i32 {
    PROVIDED.load(Ordering::Relaxed)
}

/// Brings the engine up, if nobody has yet.
fn start() -> Result<(), Failure> {
    if PROCESS.get().is_some() {
        return Ok(());
    }
    let engine = Engine::from_env().inspect_err(|error| {
        if error.is_said_elsewhere() {
            crate::errors::end_quietly();
        }
    })?;
    crate::place::install(&engine);
    crate::check::begin(&engine);
    crate::trace::begin(&engine);
    let world = CommObject::predefined(engine.world(), consts::COMM_WORLD);
    let self_comm = CommObject::predefined(engine.self_comm(), consts::COMM_SELF);
    let parent: Option<Comm> = engine.parent();
    let process = Process {
        engine,
        world,
        self_comm,
        parent: Mutex::new(RawComm::NULL),
        main_thread: std::thread::current().id(),
    };
    crate::tool::engine_starts(process, |process| {
        let _ = PROCESS.set(process);
    });
    if let (Some(parent), Some(process)) = (parent, PROCESS.get()) {
        parent.set_name("MPI_COMM_PARENT");
        *process.parent() = crate::comm::adopt(parent, None)?;
    }
    Ok(())
}

impl Process {
    /// The handle that `MPI_Comm_get_parent` gives; null when this world was not spawned, or after disconnection.
    pub(crate) fn parent(&self) -> MutexGuard<'_, RawComm> {
        self.parent.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// `MPI_Init` and `MPI_Init_thread`.
pub(crate) fn initialize(name: &'static str, level: i32) -> Result<(), Failure> {
    let began = crate::trace::time();
    let mut life = life();
    match life.world {
        World::Before => {}
        World::Running => return Err(wrong(ErrorClass::Other, "MPI is initialized already")),
        World::Finalized => {
            return Err(wrong(ErrorClass::Other, "MPI cannot be initialized again after MPI_Finalize"));
        }
    }
    if PROCESS.get().is_some() && !is_running() {
        return Err(wrong(ErrorClass::Other, "MPI cannot be initialized after the last session has ended"));
    }
    start()?;
    PROVIDED.store(level, Ordering::Relaxed);
    life.world = World::Running;
    run(need_process()?);
    crate::trace::initialized(name, began);
    Ok(())
}

/// `MPI_Finalize`.
pub(crate) fn finalize() -> Result<(), Failure> {
    let process = need_process()?;
    // The attributes of MPI_COMM_SELF go first, while everything still works (MPI 5.0 §11.2.4).
    process.self_comm.attrs.delete_all(consts::COMM_SELF)?;
    let sessions = {
        let mut life = life();
        if life.world != World::Running {
            return Err(wrong(ErrorClass::Other, "MPI_Finalize was called before MPI_Init or twice"));
        }
        life.world = World::Finalized;
        life.sessions
    };
    if sessions == 0 { stop(process) } else { Ok(()) }
}

fn stop(process: &Process) -> Result<(), Failure> {
    crate::check::look_for_leaks(process);
    let outcome = process.engine.finalize();
    RUNNING.store(STOPPED, Ordering::Release);
    for lost in process.engine.undelivered() {
        crate::errors::say(&format!("rank {}: a message was not delivered: {lost}", process.world.comm.rank()));
    }
    let found = process.engine.findings_without_launcher();
    if !found.is_empty() {
        // Nothing can be done where standard error takes nothing.
        let _ = std::io::Write::write_all(&mut std::io::stderr(), found.as_bytes());
    }
    Ok(outcome?)
}

/// `MPI_Session_init`: brings the engine up for sessions.
pub(crate) fn session_begins() -> Result<(), Failure> {
    let mut life = life();
    if PROCESS.get().is_some() && !is_running() {
        return Err(wrong(ErrorClass::Other, "no session can begin after MPI has been finalized"));
    }
    start()?;
    life.sessions += 1;
    run(need_process()?);
    Ok(())
}

/// `MPI_Session_finalize`: the last one stops the engine, unless the world model runs.
pub(crate) fn session_ends() -> Result<(), Failure> {
    let stop_now = {
        let mut life = life();
        life.sessions = life.sessions.saturating_sub(1);
        life.sessions == 0 && life.world != World::Running
    };
    if stop_now { stop(need_process()?) } else { Ok(()) }
}
