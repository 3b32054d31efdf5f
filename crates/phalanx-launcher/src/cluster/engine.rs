//! `ipengine`: one engine, for a controller that runs, in the directory and the environment of who starts it.
//!
//! The engine connects by itself, and sends the controller the ends of the pipes that it prints to. This process waits for
//! it, passes signals on, and ends as it does.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use phalanx_wire::cluster::{EngineInfo, ToClient};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{Pid, Signal, WaitOptions};

use super::ask::Asked;
use super::files::{Place, Reach, lives, read_connection, understand};
use super::flags::Flags;
use super::start::{MODULE, environment, python};
use super::{CONNECTION, far, usage};
use crate::error::LaunchError;
use crate::{output, process, sys};

/// Where an engine connects to that no controller has started, and with which secret.
pub(super) const ADDRESS: &str = "PHALANX_CLUSTER_ADDRESS";
/// The same.
pub(super) const TOKEN: &str = "PHALANX_CLUSTER_TOKEN";
/// What a connection file for engines says, for those who do not have the file (the original's name for it). It goes no
/// further than to `ipengine`.
pub(super) const INFO: &str = "IPP_CONNECTION_INFO";
/// The number of the engine that is rank 0 of its job.
pub(super) const FIRST: &str = "PHALANX_CLUSTER_FIRST";
/// The numbers of the descriptors from which what it prints is read.
pub(super) const STREAMS: &str = "PHALANX_CLUSTER_STREAMS";

const SIGNALS: &[i32] = &[libc::SIGINT, libc::SIGTERM, libc::SIGHUP, libc::SIGCHLD];

/// Starts an engine and waits for it.
///
/// # Errors
/// When there is no controller, or no Python.
pub(super) fn command(flags: Flags) -> Result<u8, LaunchError> {
    let place = Place::of(&flags);
    let reach = find(&flags, &place)?;
    if let Some(directory) = &flags.work_dir {
        std::env::set_current_dir(directory)
            .map_err(|error| LaunchError::system(format!("--work-dir {}", directory.display()), error))?;
    }
    if let Some(far) = reach.far.clone().filter(|_| !reach.is_here()) {
        return far::engines(&flags, &place, far);
    }
    if flags.n.is_some_and(|n| n != 1) {
        return Err(usage(
            "-n: engines of the controller's own machine are started one by one here, or by 'engines -n'",
        ));
    }
    let gone = |problem: String| LaunchError::Install(format!("no cluster {} is running: {problem}", place.words()));
    let mut asked = Asked::connect(&reach).map_err(gone)?;
    let failed = |error: io::Error| LaunchError::system("starting the engine", error);
    let signals = sys::signal_descriptor(SIGNALS).map_err(failed)?;
    let engine = start(&flags, &place, &reach).map_err(failed)?;
    Ok(attend(engine, &signals, &mut asked))
}

/// How the controller is reached, once its connection file is there.
fn find(flags: &Flags, place: &Place) -> Result<Reach, LaunchError> {
    let path = flags.file.clone().unwrap_or_else(|| place.connection("engine"));
    let gone = |problem: String| LaunchError::Install(format!("no cluster {} is running: {problem}", place.words()));
    if let Some(text) = std::env::var_os(INFO).filter(|text| !text.is_empty() && flags.file.is_none()) {
        let about = serde_json::from_slice(text.as_encoded_bytes());
        return about
            .map_err(|error| format!("{INFO}: {error}"))
            .and_then(|about| understand(&about, Path::new(INFO)))
            .map_err(gone);
    }
    if path.as_os_str() == "-" {
        return far::read_stdin().map_err(gone);
    }
    let until = Instant::now() + patience(flags);
    loop {
        match read_connection(&path) {
            Ok(reach) if reach.far.is_some() || lives(reach.pid) => return Ok(reach),
            Ok(reach) if Instant::now() >= until => {
                return Err(gone(format!("{}: its controller (process {}) has ended", path.display(), reach.pid)));
            }
            Err(problem) if Instant::now() >= until => return Err(gone(problem)),
            _ => std::thread::sleep(Duration::from_millis(20)),
        }
    }
}

/// So long a controller is looked for.
pub(super) fn patience(flags: &Flags) -> Duration {
    Duration::from_secs_f64(flags.timeout.unwrap_or(10.0).min(86_400.0))
}

fn start(flags: &Flags, place: &Place, reach: &Reach) -> io::Result<Pid> {
    let (out, out_end) = io::pipe()?;
    let (err, err_end) = io::pipe()?;
    let (out, err) = (OwnedFd::from(out), OwnedFd::from(err));
    let python = python().map_err(|error| io::Error::other(error.reason()))?;
    let mut command = Command::new(python);
    command.args(["-m", MODULE]).args(&flags.engine_args).envs(environment(place));
    command.env(CONNECTION, "-1").env(TOKEN, &reach.token);
    command.env(ADDRESS, format!("unix:{}", reach.socket.display()));
    command.env(STREAMS, format!("{},{}", out.as_raw_fd(), err.as_raw_fd()));
    command.env_remove(INFO);
    if let Some(first) = flags.first {
        command.env(FIRST, first.to_string());
    }
    command.stdin(Stdio::null()).stdout(out_end).stderr(err_end);
    let setup = sys::ChildSetup {
        keep: vec![out.as_raw_fd(), err.as_raw_fd()],
        parent: rustix::process::getpid(),
        session: false,
        cpus: Vec::new(),
        unblock: SIGNALS,
    };
    sys::before_exec(&mut command, setup);
    Ok(Pid::from_child(&command.spawn()?))
}

/// Waits for an engine; the status to end with.
fn attend(engine: Pid, signals: &OwnedFd, asked: &mut Asked) -> u8 {
    let mut is_connected = true;
    loop {
        let (signalled, heard) = wait(signals, asked, is_connected);
        if heard {
            match asked.heard() {
                Ok(messages) => messages.iter().for_each(|message| tell(message, engine)),
                // The engine learns that as well, and ends.
                Err(_) => is_connected = false,
            }
        }
        let mut record = [0u8; 128];
        if signalled && let Ok(128) = rustix::io::read(signals, &mut record[..]) {
            let number = i32::from_ne_bytes([record[0], record[1], record[2], record[3]]);
            if let Some(signal) = Signal::from_named_raw(number).filter(|_| number != libc::SIGCHLD) {
                // An interrupt is for the task that an engine is in; who types it here means the engine.
                let signal = if signal == Signal::INT { Signal::TERM } else { signal };
                let _ = rustix::process::kill_process(engine, signal);
            }
        }
        if let Ok(Some((_, status))) = rustix::process::waitpid(Some(engine), WaitOptions::NOHANG) {
            let status = status.exit_status().unwrap_or_else(|| 128 + status.terminating_signal().unwrap_or(0));
            return u8::try_from(status & 0xff).unwrap_or(1);
        }
    }
}

/// Waits until a signal or a message has come: which of them.
fn wait(signals: &OwnedFd, asked: &Asked, is_connected: bool) -> (bool, bool) {
    let mut watched = [PollFd::new(signals, PollFlags::IN), PollFd::new(asked, PollFlags::IN)];
    let watched = if is_connected { &mut watched[..] } else { &mut watched[..1] };
    let _ = poll(watched, None);
    let has_come = |index: usize| watched.get(index).is_some_and(|one| !one.revents().is_empty());
    (has_come(0), has_come(1))
}

/// Says that the engine is there, as the original does.
fn tell(message: &ToClient, engine: Pid) {
    let ToClient::Engines { joined, .. } = message else { return };
    let is_it = |info: &&EngineInfo| info.pid == process::number(engine);
    if let Some(info) = joined.iter().find(is_it) {
        output::say(&format!("Completed registration with id {}", info.id));
    }
}
