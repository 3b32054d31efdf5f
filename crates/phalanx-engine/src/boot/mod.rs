//! How a process finds its job: from `phalanx run` or a spawn, from a PMI-1 launcher, or alone.

pub mod environment;
mod meeting;
mod pmi;

use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;

use phalanx_shm::{ProcId, ShmError, Universe, UniverseConfig, Ways, inherit};

use crate::error::{Error, ErrorClass, Result};
use environment::{Origin, WorldSpec};

pub use pmi::{Answer, Pmi};

/// Everything an engine needs to know about its place.
pub struct BootConfig {
    /// The universe.
    pub universe: Universe,
    /// First process of this world; it has the contiguous range from here.
    pub first: ProcId,
    /// Number of processes in this world.
    pub size: u32,
    /// Rank in this world.
    pub rank: u32,
    /// Context id of `MPI_COMM_WORLD`.
    pub ctx: u32,
    /// Number of the program in a launch of several.
    pub appnum: Option<i32>,
    /// Offset of the parent description block, 0 when this world was not spawned.
    pub parent: u64,
    /// The connection to the launcher.
    pub pmi: Option<Pmi>,
    /// Whether `phalanx run` or a spawn has started this process.
    pub launched: bool,
}

impl BootConfig {
    /// Rank `rank` of the first world of a universe, as tests make it: slots 0 to `size - 1`.
    pub fn first_world(universe: &Universe, size: u32, rank: u32) -> BootConfig {
        BootConfig {
            universe: universe.clone(),
            first: ProcId(0),
            size,
            rank,
            ctx: phalanx_shm::universe::FIRST_CONTEXT,
            appnum: None,
            parent: 0,
            pmi: None,
            launched: false,
        }
    }
}

fn broken(what: &str, error: &ShmError) -> Error {
    let class = if error.is_no_memory() { ErrorClass::NoMem } else { ErrorClass::Other };
    Error::new(class, format!("cannot {what}: {error}"))
}

/// Finds this process's place by its environment.
///
/// # Errors
/// When a launcher is there but there is no way to meet the other ranks, or shared memory fails.
pub fn from_env() -> Result<BootConfig> {
    match environment::origin(|name| std::env::var(name).ok())? {
        Origin::Phalanx { fd, world, pmi_fd } => match join(fd, world, pmi_fd)? {
            Some(config) => Ok(config),
            None => alone(),
        },
        Origin::Pmi { fd, rank, size } => match own_socket(fd) {
            Some(socket) => meeting::meet(socket, fd, rank, size),
            None => alone(),
        },
        Origin::Alone => alone(),
    }
}

/// Takes the slot that the launcher prepared. `None` when another live process has it: then we are a
/// child of that rank which inherited its environment.
fn join(fd: i32, world: WorldSpec, pmi_fd: Option<i32>) -> Result<Option<BootConfig>> {
    let Ok(descriptor) = inherit::duplicate(fd) else {
        return Ok(None);
    };
    let universe = match Universe::attach(descriptor) {
        Ok(universe) => universe,
        // The number means something else in this process: the environment is inherited, the descriptor is not.
        Err(ShmError::NotAUniverse { .. }) => return Ok(None),
        Err(error) => return Err(broken("join the job of 'phalanx run'", &error)),
    };
    inherit::close_original(fd, universe.fd());
    let me = ProcId(world.first + world.rank);
    if !universe.has(me) || universe.slot(me).claim(universe.own_tag()).is_err() {
        return Ok(None);
    }
    let pmi = pmi_fd.and_then(|fd| Some(Pmi::later(own_socket(fd)?)));
    if let (Some(fd), Some(pmi)) = (pmi_fd, &pmi) {
        inherit::close_original(fd, pmi.fd());
    }
    Ok(Some(BootConfig {
        universe,
        first: ProcId(world.first),
        size: world.size,
        rank: world.rank,
        ctx: world.ctx,
        appnum: u32::try_from(world.appnum).ok().and_then(|n| i32::try_from(n).ok()),
        parent: world.parent,
        pmi,
        launched: true,
    }))
}

/// The socket to the launcher, unless the number means something else here: then we are a child of a rank that
/// has inherited its environment only.
fn own_socket(fd: i32) -> Option<OwnedFd> {
    let socket = UnixStream::from(inherit::duplicate(fd).ok()?);
    socket.peer_addr().ok()?;
    Some(socket.into())
}

/// The universe's geometry, and its ways as far as they are known: a rank does not measure while others start.
fn config(ranks: u32) -> Result<UniverseConfig> {
    let ways = Ways::of_this_machine(false).map_err(|wrong| Error::new(ErrorClass::Other, wrong))?;
    Ok(UniverseConfig { ways, ..UniverseConfig::for_ranks(ranks) })
}

/// A universe of one.
fn alone() -> Result<BootConfig> {
    let universe = Universe::create(config(1)?).map_err(|e| broken("start a job of one", &e))?;
    let first = universe.claim_slots(1).map_err(|e| broken("start a job of one", &e))?;
    Ok(BootConfig { first, ..BootConfig::first_world(&universe, 1, 0) })
}

/// What tells this machine (and this boot of it) from others.
pub(crate) fn machine() -> String {
    let id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    id.trim().to_owned()
}
