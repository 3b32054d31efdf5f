//! The jobs of this user on this machine, and how one asks their launchers.
//!
//! Each launcher listens at a socket, in a directory that belongs to the user alone; its name is the job's. Whoever wants to know
//! something connects, says one line and reads until the end. Both ends look who the other one is. A launcher removes its
//! socket when it ends, its guard when it is killed, and whoever finds one at which nobody listens when both were.
//!
//! The directory is not one of the session (`XDG_RUNTIME_DIR`): that goes when the user logs out, and jobs do not.

use std::fs::{self, DirBuilder};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, sockopt};
use serde::de::DeserializeOwned;

use crate::error::LaunchError;
use crate::look::{About, Look, read_at_most};
use crate::process;

/// Another directory for the sockets of jobs.
pub const DIRECTORY: &str = "PHALANX_RUNTIME_DIR";

/// What one asks a launcher for.
pub(crate) const ABOUT: &str = "about";
/// The same.
pub(crate) const LOOK: &str = "look";
/// The same, and what ranks send: they count that for a while.
pub(crate) const TOP: &str = "top";
/// What an answer begins with: another version of Phalanx may have another form.
pub(crate) const GREETING: &str = concat!("phalanx ", env!("CARGO_PKG_VERSION"), " 3\n");

/// How long a launcher may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// Bytes of an answer, at most.
const LONGEST: u64 = 64 << 20;
/// Connections that wait to be accepted.
const BACKLOG: i32 = 64;
/// Times that one tries to connect, and between two.
const CONNECTS: u32 = 50;
const MOMENT: Duration = Duration::from_millis(10);
/// Names that are tried for a job.
const TRIES: u64 = 100;

/// Where the sockets are.
fn directory() -> PathBuf {
    match std::env::var_os(DIRECTORY) {
        Some(given) if !given.is_empty() => given.into(),
        _ => format!("/tmp/phalanx-{}", rustix::process::geteuid().as_raw()).into(),
    }
}

/// The directory, if it is there and nobody else's.
fn own_directory() -> io::Result<PathBuf> {
    let path = directory();
    let meta = fs::symlink_metadata(&path)?;
    if meta.is_dir() && meta.uid() == rustix::process::geteuid().as_raw() && meta.mode() & 0o077 == 0 {
        return Ok(path);
    }
    let problem = format!("{} is not a directory of this user alone (mode 0700)", path.display());
    Err(io::Error::new(io::ErrorKind::PermissionDenied, problem))
}

/// The directory, made if it is not there.
///
/// # Errors
/// When it cannot be made, or is somebody else's.
pub(crate) fn make_own_directory() -> io::Result<PathBuf> {
    match DirBuilder::new().mode(0o700).create(directory()) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    own_directory()
}

/// Where a launcher is asked.
pub(crate) struct Door {
    listener: OwnedFd,
    /// The job's name.
    pub(crate) id: String,
    pub(crate) path: PathBuf,
}

impl Door {
    /// Begins to listen, under a name that no other job of this user has.
    ///
    /// # Errors
    /// When there is no directory for it, or the system refuses.
    pub(crate) fn open() -> io::Result<Door> {
        let directory = make_own_directory()?;
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let listener = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
        // Under a name that nobody looks at, until somebody listens: then who finds it refusing may remove it.
        let hidden = directory.join(format!(".{}", std::process::id()));
        let _from_a_process_before = fs::remove_file(&hidden);
        rustix::net::bind(&listener, &SocketAddrUnix::new(&hidden)?)?;
        let named = rustix::net::listen(&listener, BACKLOG).map_err(io::Error::from).and_then(|()| name(&hidden));
        let _unless_renamed = fs::remove_file(&hidden);
        let (id, path) = named?;
        Ok(Door { listener, id, path })
    }

    /// Who connects next, if it is this user or root.
    pub(crate) fn accept(&self) -> Option<OwnedFd> {
        loop {
            let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
            match rustix::net::accept_with(&self.listener, flags) {
                Ok(caller) if is_own(caller.as_fd()) => return Some(caller),
                Ok(_) | Err(Errno::INTR | Errno::CONNABORTED) => {}
                Err(_) => return None,
            }
        }
    }
}

impl AsFd for Door {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.listener.as_fd()
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

/// Gives a socket a name that no other one has: a letter, so that it is no number of a process, and three more.
fn name(hidden: &Path) -> io::Result<(String, PathBuf)> {
    const LETTERS: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";
    let clock = rustix::time::clock_gettime(rustix::time::ClockId::Realtime);
    let seed =
        u64::from(std::process::id()) * 40_503 + clock.tv_nsec.unsigned_abs() / 1000 + clock.tv_sec.unsigned_abs();
    for number in seed..seed + TRIES {
        // Neighbours become names that are easily told apart.
        let mixed = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40;
        let letter = |at: u32, of: u64| char::from(LETTERS[((mixed >> (at * 5)) % of) as usize]);
        let id: String = [letter(0, 24), letter(1, 32), letter(2, 32), letter(3, 32)].into_iter().collect();
        let path = hidden.with_file_name(&id);
        // A link does not replace what is there.
        match fs::hard_link(hidden, &path) {
            Ok(()) => return Ok((id, path)),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
    Err(io::ErrorKind::AlreadyExists.into())
}

/// Whether the process at the other end is this user's, or root's.
fn is_own(socket: BorrowedFd<'_>) -> bool {
    let owner = sockopt::socket_peercred(socket).map(|peer| peer.uid);
    owner.is_ok_and(|owner| owner.is_root() || owner == rustix::process::geteuid())
}

/// A job that was found.
pub(crate) struct Found {
    /// Its name.
    pub(crate) id: String,
    path: PathBuf,
    /// Its launcher.
    pub(crate) launcher: u32,
}

/// Why a launcher did not say what it was asked.
#[derive(Debug)]
pub(crate) enum Silence {
    /// It has ended.
    Gone,
    /// It does not answer: how it is, in words.
    Mute(String),
    /// It is of another version.
    Version(String),
    /// Something else.
    Failed(io::Error),
}

/// The jobs of this user, in the order of their names.
///
/// # Errors
/// When the directory cannot be read or is somebody else's.
pub(crate) fn all() -> Result<Vec<Found>, LaunchError> {
    let failed = |error: io::Error| LaunchError::system("looking for jobs", error);
    let directory = match own_directory() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        found => found.map_err(failed)?,
    };
    let mut found = Vec::new();
    for entry in fs::read_dir(&directory).map_err(failed)?.flatten() {
        let id = entry.file_name().to_string_lossy().into_owned();
        if id.starts_with('.') {
            continue;
        }
        let path = entry.path();
        match connect(&path) {
            Ok((_, launcher)) => found.push(Found { id, path, launcher }),
            Err(Errno::CONNREFUSED) => {
                let _nobody_listens = fs::remove_file(&path);
            }
            // Somebody is there, and does not come to accept.
            Err(Errno::AGAIN) => found.push(Found { id, path, launcher: 0 }),
            Err(_) => {}
        }
    }
    found.sort_by(|a, b| a.id.cmp(&b.id));
    Ok(found)
}

/// A connection that never waits, and the process at its other end.
fn connect(path: &Path) -> Result<(OwnedFd, u32), Errno> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    let address = SocketAddrUnix::new(path)?;
    let mut tries = 0;
    while let Err(error) = rustix::net::connect(&socket, &address) {
        // Many ask at this moment, or the launcher is stopped.
        if error != Errno::AGAIN || tries == CONNECTS {
            return Err(error);
        }
        tries += 1;
        std::thread::sleep(MOMENT);
    }
    let peer = sockopt::socket_peercred(&socket)?;
    if !is_own(socket.as_fd()) {
        return Err(Errno::PERM);
    }
    Ok((socket, process::number(peer.pid)))
}

impl Found {
    /// What the job is.
    pub(crate) fn about(&self) -> Result<About, Silence> {
        self.ask(ABOUT)
    }

    /// A look into the job.
    pub(crate) fn look(&self) -> Result<Look, Silence> {
        self.ask(LOOK)
    }

    /// The same, with what ranks have sent since somebody asks for that.
    pub(crate) fn top(&self) -> Result<Look, Silence> {
        self.ask(TOP)
    }

    fn ask<T: DeserializeOwned>(&self, what: &str) -> Result<T, Silence> {
        let (socket, _) = connect(&self.path).map_err(|error| match error {
            Errno::CONNREFUSED | Errno::NOENT => Silence::Gone,
            Errno::AGAIN => self.mute(),
            error => Silence::Failed(error.into()),
        })?;
        let mut stream = UnixStream::from(socket);
        let said = stream.set_nonblocking(false).and_then(|()| stream.write_all(format!("{what}\n").as_bytes()));
        said.map_err(Silence::Failed)?;
        let (until, mut answer) = (Instant::now() + PATIENCE, Vec::new());
        let mut room = vec![0; 1 << 16];
        loop {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(self.mute());
            }
            stream.set_read_timeout(Some(left)).map_err(Silence::Failed)?;
            match stream.read(&mut room) {
                Ok(0) => break,
                Ok(count) => answer.extend_from_slice(&room[..count]),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
                    return Err(self.mute());
                }
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return Err(Silence::Gone),
                Err(error) => return Err(Silence::Failed(error)),
            }
            if answer.len() as u64 > LONGEST {
                return Err(Silence::Failed(io::ErrorKind::InvalidData.into()));
            }
        }
        match answer.strip_prefix(GREETING.as_bytes()) {
            Some(content) => {
                postcard::from_bytes(content).map_err(|_| Silence::Failed(io::ErrorKind::InvalidData.into()))
            }
            None if answer.is_empty() => Err(Silence::Gone),
            None => {
                let line = answer.split(|byte| *byte == b'\n').next().unwrap_or_default();
                Err(Silence::Version(String::from_utf8_lossy(line).chars().take(40).collect()))
            }
        }
    }

    fn mute(&self) -> Silence {
        let stat = read_at_most(&format!("/proc/{}/stat", self.launcher), 4096).unwrap_or_default();
        let state = stat.rsplit_once(')').and_then(|(_, rest)| rest.trim_start().chars().next());
        Silence::Mute(match state {
            Some('T') => format!("it is stopped by a signal (fg, or kill -CONT {})", self.launcher),
            Some('t') => "a debugger holds it".to_owned(),
            _ => format!("within {} s", PATIENCE.as_secs()),
        })
    }
}

/// The job that a word names: a job's name, or the number of the process of its launcher or of anything that it has started. No word
/// will do when there is only one job.
///
/// # Errors
/// When there is none of that name, or more than one to choose from.
pub(crate) fn named(word: Option<&str>, command: &'static str) -> Result<Found, LaunchError> {
    let jobs = all()?;
    let usage = |problem: String| LaunchError::Usage { command, problem };
    let list = |jobs: &[Found]| {
        let names: Vec<String> = jobs.iter().map(|job| format!("{} (pid {})", job.id, job.launcher)).collect();
        names.join(", ")
    };
    let Some(word) = word else {
        let mut jobs = jobs;
        return match jobs.len() {
            0 => Err(usage("no job of yours runs here".to_owned())),
            1 => Ok(jobs.remove(0)),
            _ => Err(usage(format!("several jobs of yours run here, say which one: {}", list(&jobs)))),
        };
    };
    let process: Option<u32> = word.parse().ok();
    let known = list(&jobs);
    let is_it = |job: &Found| job.id == word || process.is_some_and(|pid| descends(pid, job.launcher));
    jobs.into_iter().find(is_it).ok_or_else(|| {
        let here = if known.is_empty() { "no job of yours runs here".to_owned() } else { format!("here are {known}") };
        usage(match process {
            Some(pid) => format!("process {pid} is no launcher or rank of a job of yours; {here}"),
            None => format!("no job of yours is called '{word}'; {here}"),
        })
    })
}

/// Whether a process is another one or descends from it.
fn descends(mut pid: u32, from: u32) -> bool {
    for _ in 0..64 {
        if pid == from {
            return from != 0;
        }
        let Ok(Some(parent)) = phalanx_shm::alive::parent_of(pid) else { return false };
        pid = parent;
    }
    false
}

/// What to say of a job that does not answer.
pub(crate) fn silent(job: &Found, silence: Silence) -> LaunchError {
    let (id, pid) = (&job.id, job.launcher);
    let text = match silence {
        Silence::Gone => format!("job {id} has ended"),
        Silence::Mute(how) => format!("the launcher of job {id} (pid {pid}) does not answer: {how}"),
        Silence::Version(version) => {
            format!("job {id} (pid {pid}) was started by another version, '{version}': ask with that one")
        }
        Silence::Failed(error) => format!("asking the launcher of job {id} (pid {pid}): {error}"),
    };
    LaunchError::Install(text)
}
