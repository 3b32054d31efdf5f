//! The `phalanx` command: starting, watching, ending and explaining jobs.
//!
//! `main` only calls [`main`](fn@crate::main); everything else lives in modules of one subject each:
//!
//! | module | subject |
//! |---|---|
//! | [`cli`] | the flags people type for `run` |
//! | [`install`] | where the Python package, its library, header and doors are |
//! | [`program`] | what a program argument means: a script, a module, an executable |
//! | [`hosts`] | other machines: which ranks run there, and the agents that start them |
//! | `agent` | `phalanx agent`: the ranks of a job on one machine, for a launcher elsewhere |
//! | [`process`] | one rank as a process: descriptors, group, death signal, descendants |
//! | [`job`] | the event loop that owns a running job |
//! | [`output`] | lines from ranks to our standard output and error, never torn |
//! | [`pmi`] | the PMI-1 requests and their key-value spaces |
//! | [`failure`] | what an exit means and how it is told |
//! | [`jobs`] | the jobs that run here, and how their launchers are asked |
//! | [`cluster`] | interactive clusters: `phalanx cluster`, `ipcluster`, `ipcontroller`, `ipengine` |
//! | `look` | what each rank of a job is doing, and its words |
//! | [`why`], [`top`], [`shell`], [`cc`], [`doctor`] | the other commands |
//!
//! Architecture invariant: one thread. The death signal of a rank is tied to the thread that forked it, and the
//! guard process is a fork without exec; both need the launcher to stay single-threaded.

mod agent;
pub mod cc;
pub mod cli;
pub mod cluster;
pub mod doctor;
mod elf;
pub mod error;
pub mod failure;
#[cfg(any(test, fuzzing))]
pub mod fuzz;
pub mod help;
pub mod hosts;
pub mod install;
pub mod job;
pub mod jobs;
mod leftovers;
mod look;
pub mod output;
pub mod pmi;
pub mod process;
pub mod program;
mod recording;
pub mod run;
pub mod shell;
pub mod signals;
pub mod suggest;
mod sys;
mod timestamp;
pub mod top;
pub mod universe;
pub mod why;

use std::ffi::OsString;
use std::process::ExitCode;

use error::LaunchError;

/// Runs the command with the arguments of this process and returns its exit status.
#[must_use]
pub fn main() -> ExitCode {
    let mut args: Vec<OsString> = std::env::args_os().skip(1).collect();
    // Under the name of a command of another package this is that command.
    let name = std::env::args_os().next().and_then(|path| Some(std::path::Path::new(&path).file_name()?.to_owned()));
    if let Some(name) = name.filter(|name| ["ipcluster", "ipcontroller", "ipengine"].iter().any(|own| name == own)) {
        args.insert(0, name);
    }
    match dispatch(&args) {
        Ok(status) => ExitCode::from(status),
        Err(error) => {
            // A closed standard error must not turn into a panic.
            output::say(&error.to_string());
            ExitCode::from(error.exit_status())
        }
    }
}

const COMMANDS: &[&str] = &["run", "ps", "why", "top", "shell", "cluster", "doctor", "cc", "help", "version"];

fn dispatch(args: &[OsString]) -> Result<u8, LaunchError> {
    let Some(first) = args.first() else {
        output::print(help::OVERVIEW);
        return Ok(2);
    };
    let rest = &args[1..];
    match first.to_string_lossy().as_ref() {
        "run" | "mpiexec" | "mpirun" => run::command(rest),
        "ps" => why::ps(rest),
        "why" => why::why(rest),
        "top" => top::command(rest),
        "shell" => shell::command(rest),
        "cc" => cc::command(rest),
        "doctor" => doctor::command(rest),
        "cluster" | "ipcluster" => cluster::command(rest),
        "ipcontroller" => cluster::controller(rest),
        "ipengine" => cluster::engine(rest),
        "spawn-server" => run::spawn_server(rest),
        "agent" => agent::command(rest),
        "layout" => run::layout(rest),
        "-h" | "--help" | "help" => {
            output::print(match rest.first().and_then(|a| a.to_str()) {
                Some("run") => help::RUN,
                Some("ps") => help::PS,
                Some("why") => help::WHY,
                Some("top") => help::TOP,
                Some("shell") => help::SHELL,
                Some("doctor") => help::DOCTOR,
                Some("cluster") => help::CLUSTER,
                Some("cc") => help::CC,
                _ => help::OVERVIEW,
            });
            Ok(0)
        }
        "-V" | "--version" | "version" => {
            output::print(&format!("phalanx {}\n", env!("CARGO_PKG_VERSION")));
            Ok(0)
        }
        other => Err(LaunchError::UnknownCommand {
            hint: suggest::nearest(other, COMMANDS.iter().copied()).map(str::to_owned),
            given: other.to_owned(),
        }),
    }
}
