//! `phalanx shell`: a shell in which `mpi4py`, `mpiexec`, `mpirun` and `mpicc` are answered by Phalanx, and
//! `multiprocessing` when that door is opened.

use std::ffi::{OsStr, OsString};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::error::LaunchError;
use crate::help;
use crate::install::{self, Doors, Opened};
use crate::output;

/// Shells that take `-c COMMAND` as a POSIX shell does.
const POSIX: &[&str] = &["sh", "bash", "dash", "zsh", "ksh", "mksh", "ash"];

/// Replaces this process by the shell.
///
/// # Errors
/// When the doors are not part of the installation, or the shell cannot be started.
pub fn command(args: &[OsString]) -> Result<u8, LaunchError> {
    let usage = |problem: String| LaunchError::Usage { command: "shell", problem };
    let (chosen, rest) = doors_flag(args).map_err(usage)?;
    let opened = Opened::choose(chosen).map_err(usage)?;
    let mut words = rest.iter();
    let given = match words.next() {
        None => None,
        Some(flag) if flag == "-c" => {
            let text = words.next().ok_or_else(|| usage("flag '-c' needs a command after it".to_owned()))?;
            Some((text, words.cloned().collect::<Vec<_>>()))
        }
        Some(flag) if flag == "-h" || flag == "--help" => {
            output::print(help::SHELL);
            return Ok(0);
        }
        Some(other) => {
            let problem =
                format!("unexpected argument '{}'; write phalanx shell -c 'COMMAND'", other.to_string_lossy());
            return Err(usage(problem));
        }
    };
    let Some(doors) = Doors::find()? else {
        return Err(LaunchError::Install(format!(
            "the doors are missing from {}; install the wheel again",
            install::package()?.display()
        )));
    };
    let shell = shell(given.is_some());
    let mut command = Command::new(&shell);
    command.envs(environment(&doors, opened));
    match given {
        Some((text, more)) => {
            // $0 of the commands, then their own arguments.
            command.arg("-c").arg(text);
            if !more.is_empty() {
                command.arg(&shell).args(more);
            }
        }
        None => output::say(match opened {
            Opened::None => "phalanx: a shell with the doors closed (exit leaves it)",
            Opened::Mpi4py => {
                "phalanx: mpi4py, mpiexec, mpirun and mpicc are answered by Phalanx in this shell (exit leaves it)"
            }
            Opened::Multiprocessing => {
                "phalanx: mpi4py, mpiexec, mpirun, mpicc and multiprocessing are answered by Phalanx in this shell \
                 (exit leaves it)"
            }
            Opened::Cluster => {
                "phalanx: mpi4py, mpiexec, mpirun, mpicc, ipyparallel and ipcluster are answered by Phalanx in this \
                 shell (exit leaves it)"
            }
            Opened::All => {
                "phalanx: mpi4py, mpiexec, mpirun, mpicc, multiprocessing, ipyparallel and ipcluster are answered by \
                 Phalanx in this shell (exit leaves it)"
            }
        }),
    }
    Err(LaunchError::system(format!("starting {}", shell.display()), command.exec()))
}

/// `--doors LIST` or `--doors=LIST` at the head of the arguments, and what follows it.
fn doors_flag(args: &[OsString]) -> Result<(Option<Opened>, &[OsString]), String> {
    let Some((first, rest)) = args.split_first() else {
        return Ok((None, args));
    };
    let first = first.to_string_lossy();
    let parse = |list: &OsStr| Opened::parse(list, "--doors").map(Some);
    if let Some(list) = first.strip_prefix("--doors=") {
        Ok((parse(OsStr::new(list))?, rest))
    } else if first == "--doors" {
        let missing = || format!("flag '--doors' needs {} after it", Opened::NAMES);
        let (list, rest) = rest.split_first().ok_or_else(missing)?;
        Ok((parse(list)?, rest))
    } else {
        Ok((None, args))
    }
}

/// What opens the doors in a shell: theirs, and the environment's own programs first, so that `python3` is the one
/// that Phalanx is installed in.
fn environment(doors: &Doors, opened: Opened) -> Vec<(OsString, OsString)> {
    if opened == Opened::None {
        return vec![(install::DOORS.into(), opened.list().into())];
    }
    let own = install::executable()
        .and_then(|exe| exe.parent().map(Path::to_path_buf))
        .filter(|bin| install::is_executable(&bin.join("python3")) || install::is_executable(&bin.join("python")));
    doors.variables(opened, |name| {
        let current = std::env::var_os(name);
        match (&own, name) {
            (Some(bin), "PATH") => Some(install::first_in_list(bin, current)),
            _ => current,
        }
    })
}

/// The user's shell; for a command, only if it understands one as a POSIX shell does.
fn shell(for_command: bool) -> PathBuf {
    let users = std::env::var_os("SHELL").map(PathBuf::from).filter(|path| install::is_executable(path));
    let posix = |path: &PathBuf| path.file_name().is_some_and(|name| POSIX.iter().any(|known| name == *known));
    users.filter(|path| !for_command || posix(path)).unwrap_or_else(|| PathBuf::from("/bin/sh"))
}
