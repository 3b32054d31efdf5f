//! How a process finds its job: from `phalanx run` or a spawn, from a PMI-1 launcher, or alone.

pub mod environment;
mod pmi;

use std::fs::File;
use std::os::fd::{AsRawFd, OwnedFd};
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

/// Key under which rank 0 tells the others where the universe is, when a foreign PMI-1 launcher started us.
const MEETING_KEY: &str = "phalanx-universe";

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
        Origin::Pmi { fd, rank, size } => meet(fd, rank, size),
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

/// Meets the other ranks of a PMI-1 launcher: rank 0 makes the universe and tells where it is.
fn meet(fd: i32, rank: u32, size: u32) -> Result<BootConfig> {
    let Some(socket) = own_socket(fd) else {
        return alone();
    };
    let mut pmi = Pmi::connect(socket)?;
    inherit::close_original(fd, pmi.fd());
    let appnum = pmi.appnum()?;
    let mut own = None;
    if rank == 0 {
        let universe = Universe::create(config(size)?).map_err(|e| broken("make the job's universe", &e))?;
        let first = universe.claim_slots(size).map_err(|e| broken("make the job's universe", &e))?;
        let value = format!("{}:{}:{}:{}", machine(), std::process::id(), universe.fd().as_raw_fd(), first.0);
        pmi.put(MEETING_KEY, &value)?;
        own = Some((universe, first));
    }
    pmi.barrier()?;
    let (universe, first) = match own {
        Some(own) => own,
        None => find(&mut pmi, rank)?,
    };
    // Rank 0's descriptor must stay open until all have it.
    pmi.barrier()?;
    Ok(BootConfig { first, size, rank, appnum, pmi: Some(pmi), ..BootConfig::first_world(&universe, size, rank) })
}

fn find(pmi: &mut Pmi, rank: u32) -> Result<(Universe, ProcId)> {
    let failed = |why: &str| {
        Error::new(
            ErrorClass::Other,
            format!(
                "rank {rank} cannot join the job: {why}; the ranks must run on one machine, as one user, and all with this library"
            ),
        )
    };
    let value = pmi.get(MEETING_KEY)?.ok_or_else(|| failed("rank 0 did not tell where its shared memory is"))?;
    let mut fields = value.rsplitn(4, ':');
    let mut number = || fields.next().and_then(|f| f.parse::<u32>().ok());
    let (Some(first), Some(fd), Some(pid)) = (number(), number(), number()) else {
        return Err(failed("rank 0 described its shared memory in an unknown way"));
    };
    if fields.next() != Some(machine().as_str()) {
        return Err(failed("rank 0 runs on another machine (the embedded engine runs on one)"));
    }
    let file = File::options().read(true).write(true).open(format!("/proc/{pid}/fd/{fd}"));
    let file = file.map_err(|e| failed(&format!("opening rank 0's shared memory gave '{e}'")))?;
    let universe = Universe::attach(OwnedFd::from(file)).map_err(|e| broken("map rank 0's shared memory", &e))?;
    Ok((universe, ProcId(first)))
}

/// What tells this machine (and this boot of it) from others.
pub(crate) fn machine() -> String {
    let id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    id.trim().to_owned()
}
