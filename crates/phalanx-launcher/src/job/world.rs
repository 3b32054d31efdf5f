//! Starting worlds: the first one, and those that ranks spawn.

use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use phalanx_pmi::SpawnCommand;
use phalanx_shm::CpuBudget;
use phalanx_shm::budget::JOB_CPUS;
use rustix::net::{AddressFamily, SocketFlags, SocketType};
use rustix::process::Signal;

use super::desk::{DESK, PDB};
use super::trace::Traced;
use super::{Connection, Job, Rank, Source, share, usable_cpus, watch};
use crate::cli::{Reader, Target};
use crate::error::LaunchError;
use crate::output::Stream;
use crate::pmi::Client;
use crate::process::{self, Spawn, Stdin};
use crate::program::{self, Program};
use crate::run::{CHECK, GRACE, ON_DEADLOCK};

/// The hint of `MPI_Comm_spawn` that failures of the new ranks do not end the job.
const EXPENDABLE: &str = "phalanx_expendable";

/// Variables of an outer job that must not reach our ranks.
pub(super) const FOREIGN: &[&str] = &["PMI_PORT", "PMI_ID", "PMI_SPAWNED", "PMI_HOSTNAME"];

/// What a world runs, before it runs.
pub(crate) struct Plan {
    /// Its programs, in the order of ranks.
    pub(crate) programs: Vec<Planned>,
    /// Its slots, context and parent block; drawn by the launcher for the first world.
    pub(crate) place: Place,
    /// What its key-value space holds from the start.
    pub(crate) preput: Vec<(String, String)>,
    /// Where the rank that may read reads from.
    pub(crate) stdin: Stdin,
    /// Which rank that is.
    pub(crate) reader: Reader,
    /// A rank spawned it.
    pub(crate) spawned: bool,
    /// Whoever spawned it goes on when ranks of it fail.
    pub(crate) expendable: bool,
}

/// So many ranks of one program.
pub(crate) struct Planned {
    pub(crate) ranks: u32,
    pub(crate) program: Program,
    pub(crate) args: Vec<OsString>,
    pub(crate) env: Vec<(OsString, OsString)>,
    pub(crate) wdir: Option<PathBuf>,
}

impl Planned {
    /// What messages call it: a Python script rather than the Python that runs it.
    pub(super) fn label(&self) -> String {
        let interpreter =
            self.program.path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"python"));
        let script = self.args.iter().find(|arg| Path::new(arg).extension().is_some_and(|e| e == "py"));
        match script {
            Some(script) if interpreter && self.program.before.is_empty() => script.to_string_lossy().into_owned(),
            _ => self.program.name.clone(),
        }
    }
}

/// Where a world lives in the universe.
#[derive(Clone, Copy)]
pub(crate) struct Place {
    /// Its first slot.
    pub(crate) first: u32,
    /// The context of its `MPI_COMM_WORLD`.
    pub(crate) context: u32,
    /// Position of the description of its parent; 0 for none.
    pub(crate) parent: u64,
}

impl Job {
    /// Starts a world. On error nothing of it is left running.
    ///
    /// # Errors
    /// When a process or its pipes cannot be made.
    pub(crate) fn launch(&mut self, plan: &Plan) -> Result<u32, LaunchError> {
        let mut appnums = Vec::new();
        for (app, planned) in (0u32..).zip(&plan.programs) {
            appnums.extend(std::iter::repeat_n(app, planned.ranks as usize));
        }
        let size = u32::try_from(appnums.len()).unwrap_or(u32::MAX);
        self.call_it(plan.programs.iter().map(Planned::label).collect::<Vec<_>>().join(" : "));
        if !plan.spawned {
            self.stdin = plan.stdin;
        }
        if self.far.is_some() {
            return self.launch_far(plan, &appnums).map(|()| size);
        }
        make_room_for_descriptors(size)?;
        let world = self.service.add_world(appnums.clone(), &plan.preput);
        self.course.ranks_started();
        let begun = self.ranks.len();
        for (rank, app) in (0..size).zip(&appnums) {
            let planned = &plan.programs[*app as usize];
            if let Err(error) = self.start_rank(plan, planned, world, rank, size, *app) {
                for started in begun..self.ranks.len() {
                    self.ranks[started].discarded = true;
                    if let Some(pid) = self.ranks[started].pid {
                        process::signal_group(pid, Signal::KILL);
                    }
                }
                return Err(error);
            }
        }
        Ok(size)
    }

    fn start_rank(
        &mut self,
        plan: &Plan,
        planned: &Planned,
        world: usize,
        rank: u32,
        size: u32,
        app: u32,
    ) -> Result<(), LaunchError> {
        let doing = |what: &str| format!("starting rank {rank} of {size}: {what}");
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let (ours, theirs) = rustix::net::socketpair(AddressFamily::UNIX, SocketType::STREAM, flags, None)
            .map_err(|e| LaunchError::system(doing("its PMI socket"), e))?;
        let blocking = rustix::fs::fcntl_getfl(&theirs)
            .and_then(|now| rustix::fs::fcntl_setfl(&theirs, now.difference(rustix::fs::OFlags::NONBLOCK)));
        blocking.map_err(|e| LaunchError::system(doing("its PMI socket"), e))?;
        let slot = plan.place.first + rank;
        let mut env = self.manner.env.clone();
        env.extend(planned.env.iter().cloned());
        env.extend(self.identity(plan, theirs.as_raw_fd(), rank, size, app));
        let traced = Traced::for_rank(&self.manner.traced, self.began.clock(), self.manner.foreign)?;
        env.push(traced.variable());
        let mut keep = vec![theirs.as_fd(), self.universe.descriptor(), self.desk.theirs()];
        keep.extend(traced.descriptor());
        let slot_of = plan.place.first as usize + rank as usize;
        let cpus = share(self.manner.binding, rank as usize, size as usize, plan.spawned, slot_of);
        let spawn = Spawn {
            program: &planned.program.path,
            args: planned.program.before.iter().chain(&planned.args).cloned().collect(),
            env,
            unset: FOREIGN,
            wdir: planned.wdir.as_deref(),
            stdin: if plan.reader == Reader::Rank(rank) { plan.stdin } else { Stdin::Null },
            files: self.names_of_files(world, rank)?,
            merge: self.manner.merge,
            keep,
            cpus: cpus.clone(),
            session: !CpuBudget::detect(plan.place.first + size).oversubscribed(),
            bare: false,
        };
        let started = process::start(spawn).map_err(|error| match error.kind() {
            // The file was there a moment ago: what is missing is the interpreter that it names.
            std::io::ErrorKind::NotFound => LaunchError::NotExecutable {
                path: planned.program.path.clone(),
                reason: "the interpreter named in it is not there".to_owned(),
            },
            std::io::ErrorKind::PermissionDenied => LaunchError::NotExecutable {
                path: planned.program.path.clone(),
                reason: "permission denied".to_owned(),
            },
            _ => LaunchError::system(doing(&planned.program.path.display().to_string()), error),
        })?;
        let index = self.ranks.len();
        if plan.reader == Reader::Rank(rank) && !plan.spawned {
            self.reader = Some(index);
        }
        self.by_pid.insert(started.pid, index);
        let connection = self.connections.len();
        let client = Client::of(world, rank);
        let starting = Rank::starting((world, rank), planned.label(), (slot, plan.expendable), connection, traced);
        let number = process::number(started.pid);
        self.ranks.push(Rank { pid: Some(started.pid), number, ..starting });
        let watched = watch(&self.epoll, &ours, Source::Connection(connection));
        self.connections.push(Connection { descriptor: Some(ours), far: false, client, rank: Some(index) });
        watched.map_err(|e| LaunchError::system(doing("watching its socket"), e))?;
        for (which, descriptor) in [started.stdout, started.stderr].into_iter().enumerate() {
            if let Some(descriptor) = descriptor {
                self.add_stream(index, which, descriptor, doing("watching its output"))?;
            }
        }
        if let Some(pipe) = started.stdin {
            self.relay_terminal(pipe, index);
        }
        if self.manner.display_map {
            self.say(&format!("phalanx: started {}", self.name_of(index)));
        }
        if self.manner.report_bindings {
            self.report_binding(index, &cpus);
        }
        Ok(())
    }

    fn add_stream(
        &mut self,
        index: usize,
        which: usize,
        descriptor: OwnedFd,
        doing: String,
    ) -> Result<(), LaunchError> {
        let id = index * 2 + which;
        watch(&self.epoll, &descriptor, Source::Output(id)).map_err(|e| LaunchError::system(doing, e))?;
        let stream = Stream::new(Some(descriptor), id, self.tag_of(index), self.manner.timestamps);
        self.ranks[index].streams[which] = Some(stream);
        Ok(())
    }

    /// What stands before each line of a rank.
    pub(super) fn tag_of(&self, index: usize) -> Vec<u8> {
        let rank = &self.ranks[index];
        let tag = match (self.manner.tag_output, rank.world) {
            (false, _) => String::new(),
            (true, 0) => format!("[{}] ", rank.rank),
            (true, world) => format!("[{world}.{}] ", rank.rank),
        };
        tag.into_bytes()
    }

    /// Who a rank is, in its environment, and how it finds the job on this machine.
    fn identity(&self, plan: &Plan, socket: i32, rank: u32, size: u32, app: u32) -> Vec<(OsString, OsString)> {
        // Exceptions go where the rank's errors go.
        let shows = self.manner.output_prefix.is_some() || self.manner.merge;
        let mut env = vec![
            ("PMI_FD".into(), socket.to_string().into()),
            (process::JOB.into(), self.mark.clone().into()),
            // A bound rank cannot see how many CPUs the job has, and spins or sleeps by that.
            (JOB_CPUS.into(), usable_cpus().len().to_string().into()),
            (DESK.into(), self.desk.variable(shows).into()),
            ("PHALANX_UNIVERSE".into(), self.universe.descriptor().as_raw_fd().to_string().into()),
        ];
        env.extend(self.about_rank(plan, rank, size, app, (rank, size)));
        env
    }

    /// Who a rank is, in its environment. `near`: as which of how many on its machine.
    pub(super) fn about_rank(
        &self,
        plan: &Plan,
        rank: u32,
        size: u32,
        app: u32,
        near: (u32, u32),
    ) -> Vec<(OsString, OsString)> {
        let Place { first, context, parent } = plan.place;
        let mut env = vec![
            ("PMI_RANK".into(), rank.to_string().into()),
            ("PMI_SIZE".into(), size.to_string().into()),
            ("PHALANX_WORLD".into(), format!("{first}:{size}:{rank}:{context}:{app}:{parent}").into()),
        ];
        env.extend(as_others_say_it((rank, size), near));
        env.push((GRACE.into(), self.manner.grace.as_secs_f64().to_string().into()));
        // Always said: a job inside a rank of another one has a manner of its own.
        let keep_going = self.manner.keep_going || plan.expendable;
        env.push(("PHALANX_KEEP_GOING".into(), if keep_going { "1" } else { "0" }.into()));
        if self.manner.pdb {
            env.push((PDB.into(), "1".into()));
        }
        env.push((ON_DEADLOCK.into(), self.manner.on_deadlock.name().into()));
        env.push((CHECK.into(), self.manner.check.name().into()));
        env.extend(self.manner.recording.variables());
        if plan.spawned {
            env.push(("PMI_SPAWNED".into(), "1".into()));
        }
        env
    }

    /// The files that take a rank's output, with `--output-filename`.
    pub(super) fn names_of_files(&self, world: usize, rank: u32) -> Result<Option<(PathBuf, PathBuf)>, LaunchError> {
        let Some(prefix) = &self.manner.output_prefix else {
            return Ok(None);
        };
        if let Some(directory) = prefix.parent() {
            std::fs::create_dir_all(directory)
                .map_err(|e| LaunchError::system(format!("--output-filename {}", prefix.display()), e))?;
        }
        let with = |kind: &str| {
            let mut name = prefix.clone().into_os_string();
            name.push(if world == 0 { format!(".{rank}.{kind}") } else { format!(".{world}.{rank}.{kind}") });
            PathBuf::from(name)
        };
        Ok(Some((with("out"), with("err"))))
    }

    /// Starts the world that a rank asked for; the message of an error is for that rank.
    pub(super) fn spawn(&mut self, commands: &[SpawnCommand]) -> Result<u32, String> {
        let preput = commands.first().map(|command| command.preput.clone()).unwrap_or_default();
        let size = commands.iter().try_fold(0u32, |sum, command| sum.checked_add(command.ranks));
        let Some(size) = size.filter(|size| *size > 0) else {
            return Err("no ranks to spawn, or more than can be numbered".to_owned());
        };
        let number = |key: &str| SpawnCommand::value(&preput, key).and_then(|text| text.parse::<u64>().ok());
        // Another library's ranks do not know about slots: theirs are drawn here, and stay empty.
        let first = match number("phalanx_world_first").and_then(|n| u32::try_from(n).ok()) {
            Some(first) if self.universe.holds(first, size) => first,
            Some(first) => {
                return Err(format!("slots from {first} on have not been drawn for {size} ranks"));
            }
            // On other machines there is no segment: slots only tell ranks apart.
            None if self.far.is_some() => u32::try_from(self.ranks.len()).unwrap_or(u32::MAX),
            None => self.universe.claim(size).map_err(|e| e.reason())?,
        };
        let context = match number("phalanx_ctx").and_then(|n| u32::try_from(n).ok()) {
            Some(context) => context,
            None => self.universe.context(),
        };
        let parent = number("phalanx_parent").unwrap_or(0);
        let mut programs = Vec::new();
        for command in commands {
            programs.push(self.planned(command).map_err(|e| e.reason())?);
        }
        let place = Place { first, context, parent };
        let is_expendable = |command: &SpawnCommand| SpawnCommand::value(&command.info, EXPENDABLE) == Some("true");
        let expendable = commands.iter().all(is_expendable);
        let plan =
            Plan { programs, place, preput, stdin: Stdin::Null, reader: Reader::Nobody, spawned: true, expendable };
        self.launch(&plan).map_err(|e| e.reason())
    }

    fn planned(&self, command: &SpawnCommand) -> Result<Planned, LaunchError> {
        let wdir = ["wdir", "wd"].iter().find_map(|key| SpawnCommand::value(&command.info, key)).map(PathBuf::from);
        let mut search = OsString::new();
        if let Some(path) = SpawnCommand::value(&command.info, "path") {
            search.push(path);
            search.push(":");
        }
        search.push(path_of(&self.manner.env));
        let target = Target::Program(command.program.clone().into());
        Ok(Planned {
            ranks: command.ranks,
            program: program::resolve(&target, wdir.as_deref(), &search)?,
            args: command.args.iter().map(OsString::from).collect(),
            env: Vec::new(),
            wdir,
        })
    }
}

/// Rank and size under the names that other launchers give them, those among the ranks of one machine, too: scripts choose
/// a GPU or a file by them.
fn as_others_say_it(whole: (u32, u32), near: (u32, u32)) -> impl Iterator<Item = (OsString, OsString)> {
    const RANK: &[&str] = &["OMPI_COMM_WORLD_RANK", "MV2_COMM_WORLD_RANK"];
    const NEAR_RANK: &[&str] =
        &["MPI_LOCALRANKID", "OMPI_COMM_WORLD_LOCAL_RANK", "OMPI_COMM_WORLD_NODE_RANK", "MV2_COMM_WORLD_LOCAL_RANK"];
    const SIZE: &[&str] = &["OMPI_COMM_WORLD_SIZE", "MV2_COMM_WORLD_SIZE"];
    const NEAR_SIZE: &[&str] = &["MPI_LOCALNRANKS", "OMPI_COMM_WORLD_LOCAL_SIZE", "MV2_COMM_WORLD_LOCAL_SIZE"];
    let kinds = [(RANK, whole.0), (NEAR_RANK, near.0), (SIZE, whole.1), (NEAR_SIZE, near.1)];
    let named = |(names, value): (&'static [&'static str], u32)| {
        names.iter().map(move |name| ((*name).into(), value.to_string().into()))
    };
    kinds.into_iter().flat_map(named)
}

/// The `PATH` that ranks with these additions to the environment see.
pub(crate) fn path_of(env: &[(OsString, OsString)]) -> OsString {
    env.iter()
        .rev()
        .find(|(name, _)| name == OsStr::new("PATH"))
        .map(|(_, value)| value.clone())
        .or_else(|| std::env::var_os("PATH"))
        .unwrap_or_else(|| "/usr/local/bin:/usr/bin:/bin".into())
}

/// Raises the limit of open files for so many ranks, as far as the hard limit allows.
fn make_room_for_descriptors(ranks: u32) -> Result<(), LaunchError> {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    // Each rank has two pipes and a socket, and a log if it is traced; a few are ours, and a start takes some more for a moment.
    let wanted = u64::from(ranks) * 4 + 48;
    let limit = getrlimit(Resource::Nofile);
    let Some(soft) = limit.current.filter(|soft| *soft < wanted) else {
        return Ok(());
    };
    let current = limit.maximum.map_or(wanted, |hard| hard.min(wanted));
    let raised = current > soft && setrlimit(Resource::Nofile, Rlimit { current: Some(current), ..limit }).is_ok();
    let allowed = if raised { current } else { soft };
    // The reserve may be missing; the ranks' own descriptors may not.
    if allowed < u64::from(ranks) * 3 + 16 {
        return Err(LaunchError::usage(format!(
            "{ranks} ranks need about {wanted} open files, and the limit is {allowed}; raise it with ulimit -n"
        )));
    }
    Ok(())
}
