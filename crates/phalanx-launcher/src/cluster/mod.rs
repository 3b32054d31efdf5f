//! `phalanx cluster`: interactive clusters, and the names under which scripts know the commands: `ipcluster`,
//! `ipcontroller`, `ipengine`.
//!
//! | file | subject |
//! |---|---|
//! | `flags.rs` | what people type for the original's commands |
//! | `files.rs` | profiles, connection files, the files by which clusters are found |
//! | `ask.rs` | asking a controller that runs |
//! | `start.rs` | a controller, in this process or behind it, and the engines that it starts |
//! | `engine.rs` | one engine, for a controller that runs |
//! | `far.rs` | other machines: where a controller is reached, and gateways |
//! | `others.rs` | stop, list, engines, clean |
//! | `sight.rs` | what the controller sees of its engines' processes |
//! | `seen.rs` | what a cluster looks like: rates, rows, JSON |
//! | `top.rs`, `why.rs` | the commands that show it |
//! | `dashboard/` | the same as a page in a browser |

mod ask;
mod dashboard;
mod engine;
mod far;
mod files;
mod flags;
mod others;
mod seen;
mod sight;
mod start;
mod top;
mod why;

use std::ffi::OsString;

use crate::error::LaunchError;
use crate::{help, output, suggest};
use flags::Flags;

/// The version of the original whose commands these are.
const VERSION: &str = "9.2.0";

/// Which Python runs engines.
pub const PYTHON: &str = "PHALANX_CLUSTER_PYTHON";
/// The number of an engine's end of its connection.
pub const CONNECTION: &str = "PHALANX_CLUSTER_FD";

const COMMANDS: &[&str] =
    &["start", "stop", "list", "engines", "clean", "why", "top", "dashboard", "controller", "engine"];

fn usage(problem: impl Into<String>) -> LaunchError {
    LaunchError::Usage { command: "cluster", problem: problem.into() }
}

/// `phalanx cluster ...`, which is `ipcluster ...` too.
///
/// # Errors
/// What keeps the command from being carried out.
pub fn command(args: &[OsString]) -> Result<u8, LaunchError> {
    let Some((first, rest)) = args.split_first() else {
        output::print(help::CLUSTER);
        return Ok(2);
    };
    let first = first.to_string_lossy();
    match first.as_ref() {
        "start" => run(rest, start::cluster),
        "controller" => controller(rest),
        "engine" => engine(rest),
        "gateway" => run(rest, far::client),
        "stop" => run(rest, others::stop),
        "list" => run(rest, others::list),
        "engines" => run(rest, others::engines),
        "clean" => run(rest, others::clean),
        "why" => run(rest, why::command),
        "top" => run(rest, top::command),
        "dashboard" => run(rest, dashboard::command),
        "-h" | "--help" | "help" | "--help-all" => {
            output::print(help::CLUSTER);
            Ok(0)
        }
        "-V" | "--version" => {
            output::print(&format!("{VERSION}\n"));
            Ok(0)
        }
        other => Err(match suggest::nearest(other, COMMANDS.iter().copied()) {
            Some(hint) => usage(format!("unknown command '{other}'; did you mean '{hint}'?")),
            None => usage(format!("unknown command '{other}' (see phalanx cluster --help)")),
        }),
    }
}

/// `ipcontroller ...`: a controller without engines.
///
/// # Errors
/// As [`command`].
pub fn controller(args: &[OsString]) -> Result<u8, LaunchError> {
    run(args, start::controller)
}

/// `ipengine ...`: one engine.
///
/// # Errors
/// As [`command`].
pub fn engine(args: &[OsString]) -> Result<u8, LaunchError> {
    run(args, engine::command)
}

fn run(args: &[OsString], what: impl FnOnce(Flags) -> Result<u8, LaunchError>) -> Result<u8, LaunchError> {
    let flags = Flags::parse(args)?;
    if flags.help {
        output::print(help::CLUSTER);
        return Ok(0);
    }
    if flags.version {
        output::print(&format!("{VERSION}\n"));
        return Ok(0);
    }
    what(flags)
}
