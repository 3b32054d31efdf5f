//! A controller: in this process, or in one behind it, and the engines that it starts.

use std::ffi::OsString;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use phalanx_cluster::core::Limits;
use phalanx_cluster::server::{self, Launched, Launcher, Options};
use phalanx_shm::CpuBudget;

use super::engine::INFO;
use super::files::{Place, hex, host, lives, read_connection};
use super::flags::Flags;
use super::{CONNECTION, PYTHON, far, sight, usage};
use crate::error::LaunchError;
use crate::install::{self, Doors, Opened};
use crate::process::{self, Spawn, Stdin};
use crate::{jobs, output, sys};

/// Signals that end a controller. Others that would are left as they are.
pub(super) const SIGNALS: &[i32] = &[libc::SIGINT, libc::SIGTERM, libc::SIGHUP];

/// `start`: a controller and engines.
///
/// # Errors
/// What keeps the cluster from starting.
pub(super) fn cluster(flags: Flags) -> Result<u8, LaunchError> {
    let cpus = std::thread::available_parallelism().map_or(1, |cpus| u32::try_from(cpus.get()).unwrap_or(1));
    let engines = flags.n.unwrap_or(cpus);
    begin(flags, engines, true)
}

/// `controller`: one without engines.
///
/// # Errors
/// As [`cluster`].
pub(super) fn controller(flags: Flags) -> Result<u8, LaunchError> {
    let engines = flags.n.unwrap_or(0);
    begin(flags, engines, false)
}

fn begin(mut flags: Flags, engines: u32, is_cluster: bool) -> Result<u8, LaunchError> {
    let place = Place::of(&flags);
    if !is_cluster || flags.by.is_none() {
        flags.ignored.append(&mut flags.options);
    }
    place.make()?;
    if let Ok(reach) = read_connection(&place.connection("client"))
        && lives(reach.pid)
        && std::os::unix::net::UnixStream::connect(&reach.socket).is_ok()
    {
        return Err(usage(format!(
            "a cluster {} is running already (process {}); stop it, or give this one a --cluster-id",
            place.words(),
            reach.pid
        )));
    }
    if let Some(directory) = &flags.work_dir {
        std::env::set_current_dir(directory)
            .map_err(|error| LaunchError::system(format!("--work-dir {}", directory.display()), error))?;
    }
    for ignored in flags.ignored.iter().filter(|_| !flags.quiet) {
        output::say(&format!("phalanx cluster: {ignored} has no meaning here, and is ignored"));
    }
    let mut ready = None;
    if flags.daemonize {
        match sys::daemonize().map_err(|error| LaunchError::system("going to the background", error))? {
            sys::Daemon::Parent(waiting) => return wait_for_daemon(waiting, &place),
            sys::Daemon::Child(tell) => ready = Some(tell),
        }
    }
    let ended = match flags.by.as_deref().filter(|_| is_cluster) {
        Some(by) => Err(become_python(&flags, &place, by, ready.as_ref())),
        None => serve(&flags, &place, engines, is_cluster, &mut ready),
    };
    place.remove(std::process::id());
    match ended {
        Ok(()) => Ok(0),
        Err(error) => {
            if let Some(tell) = ready {
                let _ = rustix::io::write(&tell, error.to_string().as_bytes());
            }
            Err(error)
        }
    }
}

/// Becomes the `Cluster` of Python's that starts the controller and has others start the engines: over ssh, by a batch system.
/// Why it could not.
fn become_python(flags: &Flags, place: &Place, by: &str, ready: Option<&OwnedFd>) -> LaunchError {
    use std::os::unix::process::CommandExt;
    let python = match python() {
        Ok(python) => python,
        Err(problem) => return problem,
    };
    if let Some(tell) = ready {
        // It says so when the cluster has begun.
        let _ = rustix::io::fcntl_setfd(tell, rustix::io::FdFlags::empty());
    }
    let settings = serde_json::json!({
        "engines": by,
        // Without it, as many as the hosts or the allocation have room for.
        "n": flags.n,
        "profile_dir": place.profile.to_string_lossy(),
        "cluster_id": place.id,
        "controller_ip": flags.ip,
        "controller_location": flags.location,
        "options": flags.options,
        "quiet": flags.quiet,
        "ready": ready.map(AsRawFd::as_raw_fd),
    });
    let mut command = std::process::Command::new(&python);
    command.args(["-m", "phalanx.ipyparallel.cluster.foreground", &settings.to_string()]);
    if let Some(phalanx) = install::executable() {
        command.env("PHALANX_LAUNCHER", phalanx);
    }
    LaunchError::system(format!("starting {}", python.display()), command.exec())
}

/// Waits until a controller in the background has begun; the process in the foreground then ends.
fn wait_for_daemon(waiting: OwnedFd, place: &Place) -> Result<u8, LaunchError> {
    let mut said = String::new();
    let read = io::Read::read_to_string(&mut File::from(waiting), &mut said);
    match (read, said.as_str()) {
        (Ok(_), "ready") => Ok(0),
        (Ok(_), "") | (Err(_), _) => Err(LaunchError::Install(format!(
            "the controller has ended at once; its log is in {}",
            place.profile.join("log").display()
        ))),
        (Ok(_), problem) => {
            output::say(problem);
            Ok(1)
        }
    }
}

fn serve(
    flags: &Flags,
    place: &Place,
    engines: u32,
    is_cluster: bool,
    ready: &mut Option<OwnedFd>,
) -> Result<(), LaunchError> {
    let location = flags.location.clone().unwrap_or_else(host);
    place.write_connections(None, None, &location)?;
    let far = flags.ip.as_deref().map(|ip| far::listen(ip, flags.port.unwrap_or(0), &location)).transpose()?;
    let (far, reached) = far.unzip();
    let python = python()?;
    let (listener, socket) = listen()?;
    let socket = Removed(socket);
    let token = token()?;
    let signals = sys::signal_descriptor(SIGNALS).map_err(|error| LaunchError::system("watching signals", error))?;
    let log_path = place.log_file();
    let to_file = flags.daemonize || flags.log_to_file;
    let log = if to_file {
        let file = OpenOptions::new().create(true).append(true).mode(0o600).open(&log_path);
        Some(file.map_err(|error| LaunchError::system(format!("writing {}", log_path.display()), error))?)
    } else {
        None
    };
    let written = fs::write(place.pid_file(), format!("{}\n", std::process::id()));
    written.map_err(|error| LaunchError::system(format!("writing {}", place.pid_file().display()), error))?;
    if is_cluster {
        place.write_cluster(engines, &log_path)?;
    }
    place.write_connections(Some((&socket.0, &token)), reached.as_ref(), &location)?;
    if let Some(tell) = ready.take() {
        let _ = rustix::io::write(&tell, b"ready");
    }
    let launcher = Engines { python, args: flags.engine_args.clone(), env: environment(place) };
    let records = flags.records.unwrap_or(Limits::default().records);
    let options = Options {
        listener,
        far,
        token,
        cluster_id: place.id.clone(),
        engines,
        limits: Limits { records, ..Limits::default() },
        restart: flags.restart,
        allow_mismatch: flags.allow_mismatch,
        signals,
        launcher: Box::new(launcher),
        log: logger(log, flags.debug, flags.quiet),
        eye: Arc::new(sight::of),
        version: env!("CARGO_PKG_VERSION"),
    };
    server::run(options).map(drop).map_err(|error| LaunchError::system("the controller", error))
}

/// Writes what happens: to a file all of it; to standard error what is not routine, unless all is wanted.
pub(super) fn logger(file: Option<File>, debug: bool, quiet: bool) -> server::LogTo {
    match file {
        Some(mut file) => Box::new(move |_, line| {
            let _ = file.write_all(format!("{} {line}\n", crate::timestamp::now()).as_bytes());
        }),
        None => Box::new(move |weight, line| {
            if debug || (weight == server::Weight::Notable && !quiet) {
                output::say(&format!("phalanx cluster: {line}"));
            }
        }),
    }
}

/// The Python that runs engines.
pub(super) fn python() -> Result<PathBuf, LaunchError> {
    let named = std::env::var_os(PYTHON).filter(|named| !named.is_empty()).map(PathBuf::from);
    let missing = || LaunchError::Install(format!("no Python for engines was found; name one in {PYTHON}"));
    match named {
        Some(path) if install::is_executable(&path) => Ok(path),
        Some(path) => Err(LaunchError::Install(format!("{PYTHON}={} is no program", path.display()))),
        None => install::python().ok_or_else(missing),
    }
}

/// What engines have in their environment beside ours.
pub(super) fn environment(place: &Place) -> Vec<(OsString, OsString)> {
    let opened = Opened::choose(None).unwrap_or(Opened::Mpi4py).with_cluster();
    let doors = Doors::find().ok().flatten();
    let mut env = doors.map(|doors| doors.variables(opened, |name| std::env::var_os(name))).unwrap_or_default();
    env.push(("IPP_PROFILE_DIR".into(), place.profile.clone().into()));
    env.push(("IPP_CLUSTER_ID".into(), place.id.clone().into()));
    env
}

/// What an engine is, for Python.
pub(super) const MODULE: &str = "phalanx.ipyparallel.engine";

pub(super) struct Engines {
    pub(super) python: PathBuf,
    pub(super) args: Vec<OsString>,
    pub(super) env: Vec<(OsString, OsString)>,
}

impl Launcher for Engines {
    fn start(&mut self, _id: u32, engines: u32, connection: BorrowedFd<'_>) -> io::Result<Launched> {
        let mut args: Vec<OsString> = vec!["-m".into(), MODULE.into()];
        args.extend(self.args.iter().cloned());
        let mut env = self.env.clone();
        env.extend(threads(engines, CpuBudget::detect(1).cpus, |name| std::env::var_os(name)));
        env.push((CONNECTION.into(), connection.as_raw_fd().to_string().into()));
        let started = process::start(Spawn {
            program: &self.python,
            args,
            env,
            unset: &[INFO],
            stdin: Stdin::Null,
            keep: vec![connection.as_fd()],
            ..Spawn::default()
        })?;
        let missing = || io::Error::other("it has no output");
        Ok(Launched {
            pid: process::number(started.pid),
            stdout: started.stdout.ok_or_else(missing)?,
            stderr: started.stderr.ok_or_else(missing)?,
        })
    }
}

/// What tells numerical libraries how many threads to have: those of several engines share the CPUs, where each would else have as
/// many threads as there are CPUs, and start them with the first import. Nothing if the user has said something about that.
fn threads(engines: u32, cpus: f64, said: impl Fn(&str) -> Option<OsString>) -> Vec<(OsString, OsString)> {
    const NAMES: [&str; 4] = ["OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "BLIS_NUM_THREADS"];
    if engines < 2 || NAMES.iter().any(|name| said(name).is_some()) {
        return Vec::new();
    }
    let each = (cpus / f64::from(engines)).floor().max(1.0);
    NAMES.iter().map(|name| (name.into(), format!("{each}").into())).collect()
}

/// A file that goes with this.
struct Removed(PathBuf);

impl Drop for Removed {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

/// A socket in a directory of this user's alone.
fn listen() -> Result<(UnixListener, PathBuf), LaunchError> {
    let failed = |error: io::Error| LaunchError::system("making the socket of the cluster", error);
    let directory = jobs::make_own_directory().map_err(failed)?.join(".clusters");
    match DirBuilder::new().mode(0o700).create(&directory) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(failed(error)),
        _ => {}
    }
    remove_dead(&directory);
    let path = directory.join(std::process::id().to_string());
    let _from_a_process_before = fs::remove_file(&path);
    let listener = UnixListener::bind(&path).map_err(failed)?;
    // Two hundred engines may come at the same moment.
    rustix::net::listen(&listener, 1024).map_err(|error| failed(error.into()))?;
    Ok((listener, path))
}

/// Sockets are named for their processes: removes those of processes that are gone.
fn remove_dead(directory: &Path) {
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        let pid = entry.file_name().to_str().and_then(|name| name.parse().ok());
        if pid.is_some_and(|pid| !lives(pid)) {
            let _ = fs::remove_file(entry.path());
        }
    }
}

/// A secret of 256 bits.
pub(super) fn token() -> Result<String, LaunchError> {
    let mut bytes = [0u8; 32];
    let mut filled = 0;
    while filled < bytes.len() {
        let got = rustix::rand::getrandom(&mut bytes[filled..], rustix::rand::GetRandomFlags::empty());
        filled += got.map_err(|error| LaunchError::system("making the secret of the cluster", error))?;
    }
    Ok(hex(&bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn engines_share_the_cpus_unless_the_user_has_said_how_many_threads_there_are() {
        let nothing = |_: &str| None;
        let each = |engines, cpus| threads(engines, cpus, nothing).first().map(|(_, threads)| threads.clone());
        assert_eq!(each(1, 8.0), None, "it has the machine for itself");
        assert_eq!(each(2, 8.0), Some("4".into()));
        assert_eq!(each(3, 3.5), Some("1".into()));
        assert_eq!(each(200, 2.0), Some("1".into()));
        let said = |name: &str| (name == "MKL_NUM_THREADS").then(|| "3".into());
        assert_eq!(threads(4, 8.0, said), []);
    }
}
