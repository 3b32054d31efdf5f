//! `phalanx run`: from a command line to a job.

use std::ffi::OsString;
use std::os::fd::RawFd;
use std::path::Path;
use std::time::Duration;

use phalanx_pmi::launchers::{self, ALONE, Launcher};

use crate::cli::{self, Check, OnDeadlock, RunOptions};
use crate::error::LaunchError;
use crate::help;
use crate::hosts::connect::{self, Connecting, Needs};
use crate::hosts::layout::{self, Layout};
use crate::hosts::library;
use crate::hosts::slurm::Allocation;
use crate::install::{self, Doors, Opened};
use crate::job::trace::{self, Wanted};
use crate::job::{self, Job, Manner, Place, Plan, Planned};
use crate::output;
use crate::process::Stdin;
use crate::program;
use crate::recording::Recording;
use crate::sys;
use crate::universe::JobUniverse;

/// Chooses the MPI library of Python ranks: `embedded`, `site` or a path.
pub const LIBRARY: &str = "PHALANX_MPI";

/// Ends the job after so many seconds, where no flag says it: the variable that MPICH and Open MPI look at, too.
pub const TIMEOUT: &str = "MPIEXEC_TIMEOUT";
/// How many seconds ranks may take to end when they are asked to. Set for ranks, too.
pub const GRACE: &str = "PHALANX_GRACE";
/// The same where nobody has said it: time to save something.
const DEFAULT_GRACE: Duration = Duration::from_secs(10);
/// What is done about a deadlock, where no flag says it. Set for ranks, too.
pub const ON_DEADLOCK: &str = "PHALANX_ON_DEADLOCK";

/// Whether programs are checked, where no flag says it. Set for ranks, too.
pub const CHECK: &str = "PHALANX_CHECK";

/// How many bytes each rank may record, where no flag says it.
pub const TRACE_SIZE: &str = "PHALANX_TRACE_SIZE";

/// Runs a job from its command line, to its end.
///
/// # Errors
/// Everything that keeps the job from starting.
pub fn command(args: &[OsString]) -> Result<u8, LaunchError> {
    let mut options = cli::parse(args)?;
    if options.help {
        output::print(help::RUN);
        return Ok(0);
    }
    if options.version {
        output::print(&format!("phalanx {}\n", env!("CARGO_PKG_VERSION")));
        return Ok(0);
    }
    for warning in &options.warnings {
        output::say(&format!("phalanx run: warning: {warning}"));
    }
    if let Some(launcher) = started_several_times() {
        return refuse(&launcher);
    }
    // What is said wins over what is allocated.
    let allocation = if options.hosts.is_empty() { Allocation::find()? } else { None };
    let layout = layout::decide(&mut options, allocation)?;
    let opened = Opened::choose(options.doors).map_err(LaunchError::usage)?;
    let mut env = doors(opened);
    if let (Ok(Some(doors)), true) = (Doors::find(), opened != Opened::None) {
        doors.keep_open(opened, &mut options.env);
        for app in &mut options.apps {
            doors.keep_open(opened, &mut app.env);
        }
    }
    env.extend(options.env.iter().cloned());
    let programs = programs(&options, &env)?;
    let size = programs.iter().try_fold(0u32, |sum, planned| sum.checked_add(planned.ranks));
    let size = size.ok_or_else(|| LaunchError::usage("more ranks than can be numbered"))?;
    let mark = job::new_mark();
    let agents = match layout {
        Some(layout) => Some(far(&options, layout, &programs, &mut env, &mark)?),
        None => None,
    };
    // Agents look around meanwhile.
    let universe = JobUniverse::create(if agents.is_some() { 1 } else { size })?;
    let cpus = u32::try_from(job::usable_cpus().len()).unwrap_or(1);
    let has_room = |cpus: u32| match options.no_oversubscribe && size > cpus {
        true => Err(LaunchError::usage(format!(
            "--nooversubscribe: {size} ranks need {size} CPUs, and {cpus} may be used; start {cpus}, or leave the flag out"
        ))),
        false => Ok(()),
    };
    if agents.is_none() {
        has_room(cpus)?;
    }
    let place = match agents {
        // On other machines there is no segment: slots only tell ranks apart.
        Some(_) => Place { first: 0, context: 0, parent: 0 },
        None => Place { first: universe.claim(size)?, context: universe.context(), parent: 0 },
    };
    let foreign = is_foreign(&env) || agents.is_some();
    if foreign && options.check.is_some_and(|check| check != Check::Off) {
        return Err(LaunchError::usage("--check: the ranks use another MPI library, whose calls cannot be checked"));
    }
    let recording = Recording::prepare(&options, size, foreign)?;
    let traced = traced(&options, args)?;
    traced.try_files()?;
    if foreign && traced.is_some() {
        output::say(
            "phalanx run: warning: the ranks use another MPI library, whose calls cannot be recorded: of each rank there will \
             be how it ended, and nothing else",
        );
    }
    let manner = Manner {
        traced,
        recording,
        tag_output: options.tag_output,
        output_prefix: options.output_prefix,
        timeout: match options.timeout {
            Some(limit) => Some(limit),
            None => variable(TIMEOUT)?,
        },
        grace: match options.grace {
            Some(grace) => grace,
            None => variable(GRACE)?.unwrap_or(DEFAULT_GRACE),
        },
        binding: options.binding,
        report_bindings: options.report_bindings,
        display_map: options.display_map || options.verbose,
        timestamps: options.timestamps,
        merge: options.merge,
        verbose: options.verbose,
        keep_going: options.keep_going,
        pdb: options.pdb,
        on_deadlock: match options.on_deadlock {
            Some(chosen) => chosen,
            None => on_deadlock()?,
        },
        check: match options.check {
            Some(chosen) => chosen,
            None => check()?,
        },
        foreign,
        mark: Some(mark),
        env,
    };
    let mut job = Job::new(manner, universe, options.universe_size.unwrap_or(size.max(cpus)))?;
    if let Some(agents) = agents {
        let agents = agents.finish()?;
        let cpus = agents.hosts.iter().map(|(_, _, found)| found.cpus).sum();
        has_room(cpus)?;
        job.take_over(agents, options.universe_size.unwrap_or(size.max(cpus)))?;
    }
    let (stdin, reader) = (stdin(), options.stdin);
    let plan = Plan { programs, place, preput: Vec::new(), stdin, reader, spawned: false, expendable: false };
    job.launch(&plan)?;
    Ok(job.run())
}

/// `phalanx layout ARGS`: where the ranks of `phalanx run ARGS` would be, as JSON, for whoever has to know it before it starts
/// such a job (the launcher of a cluster's engines). Nothing is started, and nothing looked at on other machines.
///
/// # Errors
/// As [`command`], as far as the command line and the allocation have a say.
pub fn layout(args: &[OsString]) -> Result<u8, LaunchError> {
    let mut options = cli::parse(args)?;
    let allocation = if options.hosts.is_empty() { Allocation::find()? } else { None };
    let is_said = allocation.is_some() || !options.hosts.is_empty() || options.apps.iter().all(|app| app.counted);
    let far = layout::decide(&mut options, allocation)?;
    let ranks = options.apps.iter().try_fold(0u32, |sum, app| sum.checked_add(app.ranks)).filter(|_| is_said);
    // No hosts: this machine.
    let hosts = far.map(|layout| layout.hosts).unwrap_or_default();
    output::print(&format!("{}\n", serde_json::json!({ "ranks": ranks, "hosts": hosts })));
    Ok(0)
}

/// Starts the agents of a job on several machines: none of its ranks runs yet.
fn far(
    options: &RunOptions,
    layout: Layout,
    programs: &[Planned],
    env: &mut Vec<(OsString, OsString)>,
    mark: &str,
) -> Result<Connecting, LaunchError> {
    refuse_what_needs_one_machine(options)?;
    let is_python = |planned: &&Planned| {
        planned.program.path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"python"))
    };
    let mut needs =
        Needs { python: programs.iter().find(is_python).map(|p| p.program.path.clone()), files: Vec::new() };
    let library = match (library::find(env), &needs.python) {
        (Ok(library), _) => Some(library),
        (Err(error), Some(_)) => return Err(error),
        // A program in another language has its library, if it needs one.
        (Err(_), None) => None,
    };
    if let Some(library) = library {
        env.push((LIBRARY.into(), library.told));
        needs.files.extend(library.file);
    }
    for planned in programs {
        let path = match is_python(&planned) {
            true => {
                let words = planned.program.before.iter().chain(&planned.args);
                let script = words.map(Path::new).find(|word| word.extension().is_some_and(|e| e == "py"));
                script.map(|script| planned.wdir.clone().unwrap_or_default().join(script)).filter(|path| path.exists())
            }
            false => Some(planned.program.path.clone()),
        };
        needs.files.extend(path);
    }
    let shell = connect::shell(&layout, options.ssh.as_ref())?;
    connect::connect(layout, &shell, mark, &needs)
}

/// Flags that look into the embedded engine, or into memory that ranks share.
fn refuse_what_needs_one_machine(options: &RunOptions) -> Result<(), LaunchError> {
    const CALLS: &str = "the calls of an MPI library of another make are not seen";
    const LOOK: &str = "'phalanx why' and 'phalanx top' show what ranks do on all hosts";
    let refused = [
        (options.trace.is_some(), "--trace", CALLS, LOOK),
        (options.report.is_some(), "--report", CALLS, LOOK),
        (options.record.is_some(), "--record", CALLS, ""),
        (options.replay.is_some(), "--replay", CALLS, ""),
        (options.check.is_some_and(|check| check != Check::Off), "--check", CALLS, ""),
        (options.pdb, "--pdb", "a debugger needs the terminal of the rank's own machine", LOOK),
        (
            options.report_bindings,
            "--report-bindings",
            "CPUs are chosen on each host",
            "--display-map shows who runs where",
        ),
    ];
    let Some((_, flag, why, instead)) = refused.iter().find(|(given, ..)| *given) else { return Ok(()) };
    let instead = if instead.is_empty() { String::new() } else { format!("; {instead}") };
    Err(LaunchError::usage(format!(
        "{flag} works on one machine only: {why}; try a smaller job here with '--host localhost -n N', or leave it out{instead}"
    )))
}

/// Serves a process that was started without a launcher and spawns: `--universe-fd N --control-fd M`.
///
/// # Errors
/// When the descriptors are not what they should be.
pub fn spawn_server(args: &[OsString]) -> Result<u8, LaunchError> {
    let mut universe = None;
    let mut control = None;
    let mut rest = args.iter();
    while let Some(flag) = rest.next() {
        let value = rest.next().and_then(|v| v.to_str()).and_then(|v| v.parse::<RawFd>().ok());
        match (flag.to_str(), value) {
            (Some("--universe-fd"), Some(number)) => universe = Some(number),
            (Some("--control-fd"), Some(number)) => control = Some(number),
            _ => break,
        }
    }
    let (Some(universe), Some(control)) = (universe, control) else {
        return Err(LaunchError::Usage {
            command: "spawn-server",
            problem: "started by a process that spawns, with --universe-fd N --control-fd M; not by hand".to_owned(),
        });
    };
    let take = |number: RawFd, what: &str| {
        sys::inherited(number).map_err(|e| LaunchError::system(format!("spawn-server: {what} {number}"), e))
    };
    let universe = JobUniverse::attach(take(universe, "--universe-fd")?)?;
    let control = take(control, "--control-fd")?;
    // The first launcher of the job, or the user, has chosen; a list that cannot be read opens what is open anyway.
    let env = doors(Opened::choose(None).unwrap_or(Opened::Mpi4py));
    let grace = variable(GRACE).ok().flatten().unwrap_or(DEFAULT_GRACE);
    let on_deadlock = on_deadlock().unwrap_or_default();
    let check = check().unwrap_or_default();
    let manner = Manner { foreign: is_foreign(&env), env, grace, on_deadlock, check, ..Manner::default() };
    let cpus = u32::try_from(job::usable_cpus().len()).unwrap_or(1);
    let mut job = Job::new(manner, universe, cpus)?;
    job.serve_controller(control)?;
    Ok(job.run())
}

/// What opens the doors in the environment of ranks.
fn doors(opened: Opened) -> Vec<(OsString, OsString)> {
    let doors = Doors::find().ok().flatten();
    match doors {
        Some(doors) if opened != Opened::None => doors.variables(opened, |name| std::env::var_os(name)),
        doors => {
            // Doors that an outer launcher has opened are closed here.
            let mut env = doors.map(|doors| doors.closed(|name| std::env::var_os(name))).unwrap_or_default();
            env.extend(install::executable().map(|exe| (install::LAUNCHER.into(), exe.into())));
            env.push((install::DOORS.into(), Opened::None.list().into()));
            env
        }
    }
}

/// What a variable says as a number of seconds; an empty one says nothing, as one that is not set.
fn variable(name: &str) -> Result<Option<Duration>, LaunchError> {
    match std::env::var_os(name) {
        Some(value) if !value.is_empty() => cli::seconds(name, &value).map(Some),
        _ => Ok(None),
    }
}

/// What the environment says about deadlocks.
fn on_deadlock() -> Result<OnDeadlock, LaunchError> {
    match std::env::var_os(ON_DEADLOCK) {
        Some(value) if !value.is_empty() => OnDeadlock::parse(ON_DEADLOCK, &value),
        _ => Ok(OnDeadlock::default()),
    }
}

/// What the environment says about checks.
fn check() -> Result<Check, LaunchError> {
    match std::env::var_os(CHECK) {
        Some(value) if !value.is_empty() => Check::parse(CHECK, &value),
        _ => Ok(Check::Off),
    }
}

/// What is to be recorded.
fn traced(options: &RunOptions, args: &[OsString]) -> Result<Wanted, LaunchError> {
    let size = match (options.trace_size, std::env::var_os(TRACE_SIZE)) {
        (Some(size), _) => size,
        (None, Some(value)) if !value.is_empty() => trace::bytes(TRACE_SIZE, &value)?,
        (None, _) => trace::SIZE,
    };
    let words = args.iter().map(|word| word.to_string_lossy().into_owned());
    let command = ["phalanx", "run"].map(str::to_owned).into_iter().chain(words).collect();
    Ok(Wanted { timeline: options.trace.clone(), report: options.report.clone(), size, command })
}

/// The launcher that has started this command several times, each of which would be a job of its own.
fn started_several_times() -> Option<Launcher> {
    launchers::of_this_process().filter(|launcher| launcher.size.is_some())
}

/// One of them says it.
fn refuse(launcher: &Launcher) -> Result<u8, LaunchError> {
    if launcher.let_another_say_it() {
        return Ok(2);
    }
    let once = if launcher.is_slurm() { "srun -n1 phalanx run -n N ..." } else { "phalanx run -n N ..." };
    Err(LaunchError::usage(format!(
        "it was started by {}, and each of them would start a job of its own; start it once ('{once}'), or leave 'phalanx run' out; \
         for a job from each, set {ALONE}=1",
        launcher.described()
    )))
}

/// Whether ranks are to use another library than the embedded engine.
fn is_foreign(env: &[(OsString, OsString)]) -> bool {
    let chosen = env.iter().rev().find(|(name, _)| name == LIBRARY).map(|(_, value)| value.clone());
    let chosen = chosen.or_else(|| std::env::var_os(LIBRARY));
    chosen.is_some_and(|value| !value.is_empty() && value != "embedded")
}

fn programs(options: &RunOptions, env: &[(OsString, OsString)]) -> Result<Vec<Planned>, LaunchError> {
    let mut programs = Vec::new();
    for app in &options.apps {
        let mut all = env.to_vec();
        all.extend(app.env.iter().cloned());
        let wdir = app.wdir.clone().or_else(|| options.wdir.clone());
        let mut search = app.path.clone().unwrap_or_default();
        if !search.is_empty() {
            search.push(":");
        }
        search.push(job::path_of(&all));
        programs.push(Planned {
            ranks: app.ranks,
            program: program::resolve(&app.target, wdir.as_deref(), &search)?,
            args: app.args.clone(),
            env: app.env.clone(),
            wdir,
        });
    }
    Ok(programs)
}

fn stdin() -> Stdin {
    if rustix::termios::isatty(rustix::stdio::stdin()) { Stdin::Pipe } else { Stdin::Inherit }
}
