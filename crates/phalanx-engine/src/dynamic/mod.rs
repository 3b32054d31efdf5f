//! Starting processes from a running job (MPI 5.0 §11.8), and meeting those of other worlds (§11.9, [`ports`]).
//!
//! Spawned processes live in the universe of their parents. The root of the spawn claims their slots, draws the contexts
//! (one for the new world, three for the intercommunicator between parents and children), writes the *parent
//! block* into the heap, and asks the launcher to start the programs. The children find the block's offset in their environment
//! and build their end of the intercommunicator from it when they initialise; no message is needed.
//!
//! # Parent block (words of 64 bits)
//!
//! | word | content |
//! |---|---|
//! | 0 | [`MAGIC`] |
//! | 1 | first context of the intercommunicator |
//! | 2 | number of parents |
//! | 3.. | the parents' process ids, in the order of their ranks |

#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;
mod jobs;
mod names;
mod ports;
mod server;

use std::sync::atomic::Ordering;
use std::sync::{Mutex, PoisonError};

use phalanx_pmi::SpawnCommand;
use phalanx_shm::{Offset, ProcId};

use crate::boot::Pmi;
use crate::comm::Comm;
use crate::engine::Engine;
use crate::error::{Error, ErrorClass, Result, fail};
use crate::group::Group;

pub(crate) use ports::OpenPorts;

/// First word of a parent block.
const MAGIC: u64 = u64::from_le_bytes(*b"PHXPARNT");

/// Contexts of an intercommunicator: its own and one for each group.
const INTER_CONTEXTS: u32 = 3;

/// A program to be started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Program {
    /// The executable: a path, or a name to be found on `PATH`.
    pub command: String,
    /// Its arguments, without its name.
    pub args: Vec<String>,
    /// How many processes.
    pub count: i32,
    /// Hints (`wdir`, `path`, ...), as the launcher understands them.
    pub info: Vec<(String, String)>,
}

impl Program {
    /// Whether its failures do not end the job, so that who waits for its ranks can be told at once.
    fn is_expendable(&self) -> bool {
        self.info.iter().any(|(key, value)| key == "phalanx_expendable" && value == "true")
    }
}

impl Comm {
    /// Starts programs as one new world and gives the intercommunicator to it (`MPI_Comm_spawn`,
    /// `MPI_Comm_spawn_multiple`). All processes of this intracommunicator call it; `programs` matters at the root.
    ///
    /// # Errors
    /// Class `Spawn`, on all ranks, when the processes cannot be started: the text says why. Class `Arg` for
    /// programs that make no sense, `Root` for a wrong root.
    pub fn spawn(&self, programs: &[Program], root: i32) -> Result<Comm> {
        self.spawn_unnamed(programs, root)
            .map_err(|e| if e.is_interrupted() { e } else { e.context(format!("Comm_spawn on {}", self.title())) })
    }

    fn spawn_unnamed(&self, programs: &[Program], root: i32) -> Result<Comm> {
        if self.is_inter() {
            fail!(Comm, "processes are spawned from an intracommunicator, and this is an intercommunicator");
        }
        self.within_one_job("the new ones would be of one job only: spawn from a communicator of one job")?;
        if root < 0 || root >= self.size() {
            fail!(Root, "root {root} does not exist in a communicator of {} processes", self.size());
        }
        let started = self.told_by(root, || {
            let (first, count, context) = self.start_world(programs)?;
            Ok(vec![first.0, count, context])
        })?;
        let [first, count, context] = started[..] else { fail!(Intern, "a new world without a place") };
        let children = Group::new((first..first + count).map(ProcId).collect());
        Ok(self.inter(context, self.rank() as usize, self.group().clone(), children))
    }

    /// The root's part: everything that the children need, and the request to the launcher.
    fn start_world(&self, programs: &[Program]) -> Result<(ProcId, u32, u32)> {
        let total = check(programs)?;
        let (engine, universe) = (self.engine(), self.engine().universe());
        let spawn = |e: phalanx_shm::ShmError| Error::new(ErrorClass::Spawn, e.to_string());
        let first = universe.claim_slots(total).map_err(spawn)?;
        let world = universe.next_contexts(1 + INTER_CONTEXTS);
        let inter = world + 4;

        let parents = self.group().members();
        let words = 3 + parents.len();
        let block = universe.alloc(words * 8).map_err(spawn)?;
        let shared = universe.words(block, words).map_err(spawn)?;
        let values = [MAGIC, u64::from(inter), parents.len() as u64];
        let values = values.into_iter().chain(parents.iter().map(|p| u64::from(p.0)));
        // Relaxed: the children start later, by system calls that order everything.
        shared.iter().zip(values).for_each(|(word, value)| word.store(value, Ordering::Relaxed));

        let started = with_launcher(engine, |pmi| ask(pmi, programs, first, world, block));
        if started.is_err() {
            universe.free(block);
        } else if programs.iter().all(Program::is_expendable) {
            // A launcher that does not know this hint ends the job; then nobody is left to give up too early.
            self.engine().core().keeps_going = true;
        }
        started.map(|()| (first, total, inter))
    }
}

/// The connection to the launcher that this engine has started, if it had to.
#[derive(Default)]
pub(crate) struct OwnLauncher(Mutex<Option<Pmi>>);

/// Talks to the launcher that can start processes in this universe; starts one if there is none.
fn with_launcher<T>(engine: &Engine, talk: impl FnOnce(&mut Pmi) -> Result<T>) -> Result<T> {
    // Only a launcher that made the universe can hand it to new processes.
    if std::env::var_os("PHALANX_WORLD").is_some()
        && let Some(pmi) = engine.pmi().as_mut()
    {
        return talk(pmi);
    }
    let mut own = engine.own_launcher().0.lock().unwrap_or_else(PoisonError::into_inner);
    if own.is_none() {
        *own = Some(server::start(engine.universe())?);
    }
    match own.as_mut() {
        Some(pmi) => talk(pmi),
        None => fail!(Spawn, "the launcher could not be started"),
    }
}

/// The number of processes, if the programs make sense.
fn check(programs: &[Program]) -> Result<u32> {
    let mut total = 0u32;
    for program in programs {
        if program.command.is_empty() {
            fail!(Arg, "the command to be spawned is empty");
        }
        if program.count <= 0 {
            fail!(
                Arg,
                "'{}' is to be started {} times; at least one process is needed",
                program.command,
                program.count
            );
        }
        if [&program.command].into_iter().chain(&program.args).any(|s| s.contains('\n')) {
            fail!(
                Arg,
                "the command or an argument of '{}' contains a line break, which cannot be handed to the launcher",
                program.command
            );
        }
        total = total.saturating_add(program.count as u32);
    }
    if total == 0 {
        fail!(Arg, "there is no program to be spawned");
    }
    Ok(total)
}

/// The PMI-1 request for the programs, one block of lines each, answered after the last.
fn ask(pmi: &mut Pmi, programs: &[Program], first: ProcId, world: u32, block: Offset) -> Result<()> {
    let preput = [
        ("phalanx_world_first", u64::from(first.0)),
        ("phalanx_ctx", u64::from(world)),
        ("phalanx_parent", block.get()),
    ];
    let preput: Vec<_> = preput.iter().map(|(key, value)| ((*key).to_owned(), value.to_string())).collect();
    let is_one_line = |(key, value): &&(String, String)| !key.contains('\n') && !value.contains('\n');
    let requests: Vec<_> = programs
        .iter()
        .map(|program| SpawnCommand {
            ranks: program.count as u32,
            program: program.command.clone(),
            args: program.args.clone(),
            info: program.info.iter().filter(is_one_line).cloned().collect(),
            preput: preput.clone(),
        })
        .collect();
    let answer = pmi.ask(&SpawnCommand::write_all(&requests), "spawn_result")?;
    let answer = answer.line();
    if !answer.is_ok() {
        let why = phalanx_pmi::reason(&answer).unwrap_or_else(|| "the launcher gave no reason".to_owned());
        let commands: Vec<_> = programs.iter().map(|p| format!("'{}'", p.command)).collect();
        fail!(Spawn, "cannot start {}: {why}", commands.join(", "));
    }
    Ok(())
}

/// The children's end of the intercommunicator to their parents, from the parent block at `offset`.
///
/// # Errors
/// Class `Intern` when there is no parent block.
pub(crate) fn connect_parent(engine: &Engine, offset: u64) -> Result<Comm> {
    let universe = engine.universe();
    let at = Offset::new(offset);
    let bad = |e: phalanx_shm::ShmError| Error::new(ErrorClass::Intern, format!("parent block at {offset}: {e}"));
    let head = universe.words(at, 3).map_err(bad)?;
    if head[0].load(Ordering::Relaxed) != MAGIC {
        fail!(Intern, "there is no parent block at offset {offset} of the universe; was PHALANX_WORLD changed?");
    }
    let context = head[1].load(Ordering::Relaxed) as u32;
    let parents = head[2].load(Ordering::Relaxed) as usize;
    let words = universe.words(at, 3 + parents).map_err(bad)?;
    let parents = Group::new(words[3..].iter().map(|w| ProcId(w.load(Ordering::Relaxed) as u32)).collect());
    let world = engine.world();
    Ok(world.inter(context, world.rank() as usize, world.group().clone(), parents))
}
