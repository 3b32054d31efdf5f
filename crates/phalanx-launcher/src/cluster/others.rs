//! Clusters that run, from outside: stop, list, engines, clean.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use phalanx_wire::cluster::FromClient;
use rustix::process::{Pid, Signal};
use serde_json::Value;

use super::ask::Asked;
use super::files::{Place, Reach, lives, named, owner, profile_name, profiles, read_connection, read_json};
use super::flags::Flags;
use super::usage;
use crate::error::LaunchError;
use crate::output;

/// A cluster that has not ended so long after it was told to is killed.
const PATIENCE: Duration = Duration::from_secs(10);

/// A file by which a cluster is found.
struct Found {
    place: Place,
    about: Value,
    pid: u32,
}

/// The clusters of some profiles, running or not.
fn clusters(profiles: &[PathBuf]) -> Vec<Found> {
    let mut found = Vec::new();
    for profile in profiles {
        for path in named(&profile.join("security"), "cluster", ".json") {
            let Ok(about) = read_json(&path) else { continue };
            let id = about["cluster"]["cluster_id"].as_str().unwrap_or_default().to_owned();
            let pid = owner(&about).unwrap_or(0);
            found.push(Found { place: Place { profile: profile.clone(), id }, about, pid });
        }
    }
    found
}

/// `stop`.
///
/// # Errors
/// When there is no such cluster, or it cannot be ended.
pub(super) fn stop(flags: Flags) -> Result<u8, LaunchError> {
    if flags.all {
        for found in clusters(&profiles(&flags, true)) {
            if lives(found.pid) {
                end(&found.place, found.pid, &flags)?;
            }
        }
        return Ok(0);
    }
    let place = Place::of(&flags);
    let reach = found(&flags, &place).ok();
    if let Some(reach) = reach.as_ref().filter(|reach| reach.is_elsewhere() && !reach.is_here()) {
        return stop_elsewhere(&flags, &place, reach);
    }
    let of_file = || read_json(&place.cluster()).ok().and_then(|about| owner(&about));
    let pid = reach.map(|reach| reach.pid).or_else(of_file);
    match pid.filter(|pid| lives(*pid)) {
        Some(pid) => end(&place, pid, &flags)?,
        None => {
            place.remove(pid.unwrap_or(0));
            return Err(LaunchError::Install(format!("no cluster {} is running", place.words())));
        }
    }
    Ok(0)
}

/// Ends a cluster whose controller is on another machine, and waits for its end.
fn stop_elsewhere(flags: &Flags, place: &Place, reach: &Reach) -> Result<u8, LaunchError> {
    if flags.signal.is_some() {
        return Err(usage(format!(
            "--signal: the controller is on {}, and signals stay on their machine",
            reach.location
        )));
    }
    let silent = |problem: String| silent(place, &problem);
    let mut asked = Asked::connect(reach).map_err(silent)?;
    let told = asked.ask(|request| FromClient::Shutdown { targets: None, controller: true, restart: false, request });
    if let Err(problem) = told
        && !asked.is_over()
    {
        return Err(silent(problem));
    }
    let until = Instant::now() + PATIENCE;
    // Its end is the connection's.
    while asked.end().is_none() {
        if Instant::now() > until {
            let (host, within) = (&reach.location, PATIENCE.as_secs());
            return Err(silent(format!(
                "it was told to end, and is there after {within} s; on {host}, 'stop' kills it"
            )));
        }
    }
    if flags.file.is_none() {
        // Copies, or files in a directory that machines share.
        place.remove(reach.pid);
    }
    Ok(0)
}

/// How the cluster is reached that flags name, by its place or by a connection file.
fn found(flags: &Flags, place: &Place) -> Result<Reach, LaunchError> {
    match &flags.file {
        Some(path) => read_connection(path).map_err(LaunchError::Install),
        None => place.read("client"),
    }
}

/// Ends a cluster, and waits for its end.
fn end(place: &Place, pid: u32, flags: &Flags) -> Result<(), LaunchError> {
    let process = i32::try_from(pid).ok().and_then(Pid::from_raw);
    let signal = |signal: Signal| process.map(|process| rustix::process::kill_process(process, signal));
    if let Some(number) = flags.signal {
        let wanted = Signal::from_named_raw(number).ok_or_else(|| usage(format!("there is no signal {number}")))?;
        let _ = signal(wanted);
        return Ok(());
    }
    let asked = read_connection(&place.connection("client")).and_then(|reach| {
        Asked::connect(&reach)?.ask(|request| FromClient::Shutdown {
            targets: None,
            controller: true,
            restart: false,
            request,
        })
    });
    if asked.is_err() && lives(pid) {
        let _ = signal(Signal::TERM);
    }
    let until = Instant::now() + PATIENCE;
    while lives(pid) {
        if Instant::now() > until {
            let _ = signal(Signal::KILL);
            place.remove(pid);
            return Err(LaunchError::Install(format!(
                "the controller of the cluster {} (process {pid}) did not end within {} s, and was killed",
                place.words(),
                PATIENCE.as_secs()
            )));
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    place.remove(pid);
    Ok(())
}

/// `list`.
///
/// # Errors
/// None.
pub(super) fn list(flags: Flags) -> Result<u8, LaunchError> {
    let mut found = clusters(&profiles(&flags, true));
    found.retain(|found| lives(found.pid));
    if flags.json {
        let all: Vec<&Value> = found.iter().map(|found| &found.about).collect();
        let text = serde_json::to_string_pretty(&all).unwrap_or_else(|_| "[]".to_owned());
        output::print(&format!("{text}\n"));
        return Ok(0);
    }
    let mut text = format!("{:<15} {:<32} {:<7} {:<7} {}\n", "PROFILE", "CLUSTER ID", "RUNNING", "ENGINES", "LAUNCHER");
    for Found { place, about, .. } in &found {
        let sets = about["engines"]["sets"].as_object();
        let engines: u64 = sets.into_iter().flatten().filter_map(|(_, set)| set["n"].as_u64()).sum();
        let class = about["engines"]["class"].as_str().unwrap_or("local");
        let class = class.rsplit('.').next().unwrap_or(class).trim_end_matches("EngineSetLauncher");
        let launcher = match class {
            "mpi" | "ssh" => class.to_uppercase(),
            other => {
                let mut letters = other.chars();
                letters.next().into_iter().flat_map(char::to_uppercase).chain(letters).collect()
            }
        };
        let id = if place.id.is_empty() { "''" } else { &place.id };
        let line = format!("{:<15} {id:<32} {:<7} {engines:<7} {launcher}", profile_name(&place.profile), "True");
        text.push_str(line.trim_end());
        text.push('\n');
    }
    output::print(&text);
    Ok(0)
}

/// What to do where there is no cluster.
pub(super) const START: &str = "start one with: phalanx cluster start -n 4";

/// The connection to the cluster that flags name.
///
/// # Errors
/// When there is none, and when it does not answer.
pub(super) fn asked(flags: &Flags) -> Result<Asked, LaunchError> {
    let place = Place::of(flags);
    let reach = found(flags, &place)?;
    if !reach.may_run() {
        let problem = format!("its controller (process {}) has ended; {START}", reach.pid);
        return Err(LaunchError::Install(format!("no cluster {} is running: {problem}", place.words())));
    }
    Asked::connect(&reach).map_err(|problem| silent(&place, &problem))
}

/// A cluster does not answer.
pub(super) fn silent(place: &Place, problem: &str) -> LaunchError {
    LaunchError::Install(format!("the cluster {} does not answer: {problem}", place.words()))
}

/// `engines`.
///
/// # Errors
/// When there is no such cluster.
pub(super) fn engines(flags: Flags) -> Result<u8, LaunchError> {
    let cpus = std::thread::available_parallelism().map_or(1, |cpus| u32::try_from(cpus.get()).unwrap_or(1));
    let n = flags.n.unwrap_or(cpus);
    asked(&flags)?.ask(|request| FromClient::StartEngines { n, request }).map_err(LaunchError::Install)?;
    Ok(0)
}

/// Whether a file is of a cluster that may run on another machine: nobody here knows whether it does.
fn elsewhere(path: &Path) -> bool {
    let of_cluster = || {
        let name = path.file_name()?.to_str()?.strip_prefix("cluster")?.strip_suffix(".json")?;
        Some(path.with_file_name(format!("ipcontroller{name}-client.json")))
    };
    read_connection(&of_cluster().unwrap_or_else(|| path.to_owned())).is_ok_and(|reach| reach.is_elsewhere())
}

/// `clean`.
///
/// # Errors
/// None.
pub(super) fn clean(flags: Flags) -> Result<u8, LaunchError> {
    for profile in profiles(&flags, flags.all) {
        let security = profile.join("security");
        let files = named(&security, "cluster", ".json").into_iter().chain(named(&security, "ipcontroller", ".json"));
        let mut is_used = false;
        for path in files {
            let lives = read_json(&path).ok().and_then(|about| owner(&about)).is_some_and(lives);
            if (lives || elsewhere(&path)) && !flags.force {
                is_used = true;
            } else {
                let _ = fs::remove_file(path);
            }
        }
        if !is_used {
            for (directory, after) in [("log", ".log"), ("pid", ".pid")] {
                for path in named(&profile.join(directory), "", after) {
                    let _ = fs::remove_file(path);
                }
            }
        }
    }
    Ok(0)
}
