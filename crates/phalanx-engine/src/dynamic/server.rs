//! The launcher for processes that have none: `phalanx spawn-server`, started by the first spawn.
//!
//! A process that was started by hand, or by a launcher that cannot start processes into our universe (hydra), starts one
//! of ours. The server inherits the universe and one end of a socket pair, and speaks PMI-1 on it. It ends the
//! processes it has started when this process is gone.

use std::ffi::OsString;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use phalanx_shm::Universe;
use phalanx_shm::inherit;

use crate::boot::Pmi;
use crate::error::{Error, ErrorClass, Result};

/// Environment variable that names the launcher's executable.
const LAUNCHER: &str = "PHALANX_LAUNCHER";

/// Name of the launcher's executable.
const EXECUTABLE: &str = "phalanx";

fn cannot(what: &str, why: impl std::fmt::Display) -> Error {
    Error::new(ErrorClass::Spawn, format!("this process has no launcher, and {what}: {why}"))
}

/// Starts the server and connects to it.
///
/// # Errors
/// Class `Spawn` when the launcher is not found or cannot be started.
pub(super) fn start(universe: &Universe) -> Result<Pmi> {
    let program = find().ok_or_else(|| {
        cannot(
            "the 'phalanx' command that would start processes is not found",
            format_args!("put it on PATH, name it in {LAUNCHER}, or start this program with 'phalanx run'"),
        )
    })?;
    let (ours, theirs) = UnixStream::pair().map_err(|e| cannot("no socket can be made", e))?;
    let failed = |e: phalanx_shm::ShmError| cannot("its descriptors cannot be handed on", e);
    let segment = inherit::inheritable(universe.fd()).map_err(failed)?;
    let control = inherit::inheritable(theirs.as_fd()).map_err(failed)?;
    Command::new(&program)
        .arg("spawn-server")
        .arg("--universe-fd")
        .arg(segment.as_raw_fd().to_string())
        .arg("--control-fd")
        .arg(control.as_raw_fd().to_string())
        .stdin(Stdio::null())
        .spawn()
        .map_err(|e| cannot(&format!("'{}' cannot be started", program.display()), e))?;
    drop((segment, control, theirs));
    Pmi::connect(OwnedFd::from(ours)).map_err(|e| Error::new(ErrorClass::Spawn, e.message()))
}

/// The launcher: named by the environment, near the library, or on `PATH`.
fn find() -> Option<PathBuf> {
    if let Some(named) = std::env::var_os(LAUNCHER).filter(|v| !v.is_empty()) {
        return Some(PathBuf::from(named));
    }
    let library = library().and_then(|path| std::fs::canonicalize(path).ok());
    near(library.as_deref(), |p| p.is_file()).or_else(|| on_path(std::env::var_os("PATH")?, |p| p.is_file()))
}

/// Beside the library, or in the `bin` directory of an installation that contains it.
fn near(library: Option<&Path>, exists: impl Fn(&Path) -> bool) -> Option<PathBuf> {
    let directory = library?.parent()?;
    let beside = directory.join(EXECUTABLE);
    if exists(&beside) {
        return Some(beside);
    }
    // <prefix>/lib/pythonX.Y/site-packages/phalanx/_native: five levels up.
    directory.ancestors().take(7).map(|up| up.join("bin").join(EXECUTABLE)).find(|p| exists(p))
}

fn on_path(path: OsString, exists: impl Fn(&Path) -> bool) -> Option<PathBuf> {
    std::env::split_paths(&path).map(|directory| directory.join(EXECUTABLE)).find(|p| exists(p))
}

/// The file that this code was loaded from.
fn library() -> Option<PathBuf> {
    let here = library as fn() -> Option<PathBuf> as usize;
    file_at(&std::fs::read_to_string("/proc/self/maps").ok()?, here)
}

/// The file mapped at an address, by the text of `/proc/self/maps`.
fn file_at(maps: &str, address: usize) -> Option<PathBuf> {
    maps.lines().find_map(|line| {
        let (range, rest) = line.split_once(' ')?;
        let (from, to) = range.split_once('-')?;
        let number = |text| usize::from_str_radix(text, 16).ok();
        let path = rest.find('/').map(|at| &rest[at..])?;
        (number(from)?..number(to)?).contains(&address).then(|| PathBuf::from(path))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mapped_file_is_found_by_address() {
        let maps = "1000-2000 r--p 00000000 08:01 7 /usr/lib/a.so\n2000-3000 r-xp 00001000 08:01 7 /a b/lib.so.1\n3000-4000 rw-p 0 00:00 0\n";
        assert_eq!(file_at(maps, 0x2800), Some(PathBuf::from("/a b/lib.so.1")));
        assert_eq!(file_at(maps, 0x3800), None);
        let own = library().expect("this test runs from a file");
        assert!(own.is_file(), "{}", own.display());
    }

    #[test]
    fn the_launcher_is_looked_for_near_the_library_first() {
        let library = Path::new("/env/lib/python3.12/site-packages/phalanx/_native/libmpi_abi.so.1");
        let in_bin = |p: &Path| p == Path::new("/env/bin/phalanx");
        assert_eq!(near(Some(library), in_bin), Some(PathBuf::from("/env/bin/phalanx")));
        let beside = |p: &Path| p.starts_with("/build");
        assert_eq!(
            near(Some(Path::new("/build/deps/libmpi_abi.so")), beside),
            Some(PathBuf::from("/build/deps/phalanx"))
        );
        assert_eq!(near(Some(library), |_| false), None);
        let second = |p: &Path| p.starts_with("/two");
        assert_eq!(on_path("/one:/two".into(), second), Some(PathBuf::from("/two/phalanx")));
    }
}
