//! Where the parts of the installation are, found from the binary itself.
//!
//! The wheel installs `bin/phalanx` and `lib/pythonX.Y/site-packages/phalanx/` with `_native/libmpi_abi.so.1`,
//! `include/mpi.h` and `doors/`. Nothing is cached: an environment may be rebuilt at any time. The Python of the
//! environment is asked only when its usual places do not answer, since starting it costs more than starting a job.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::error::LaunchError;

/// The directory of the Python package, for installations in unusual places.
pub const HOME: &str = "PHALANX_HOME";
/// Which doors are open: a list of names with commas between them, or `off`. Set for ranks and shells, too, where the
/// Python part of the doors reads it.
pub const DOORS: &str = "PHALANX_DOORS";

/// This executable, with symbolic links resolved.
#[must_use]
pub fn executable() -> Option<PathBuf> {
    let path = std::env::current_exe().ok()?;
    Some(path.canonicalize().unwrap_or(path))
}

/// "This Python": the interpreter beside the binary, else the active virtual environment's, else the first on `PATH`.
#[must_use]
pub fn python() -> Option<PathBuf> {
    let beside = executable().and_then(|exe| exe.parent().map(Path::to_path_buf));
    let active = std::env::var_os("VIRTUAL_ENV").map(|env| PathBuf::from(env).join("bin"));
    for bin in [beside, active].into_iter().flatten() {
        for name in ["python3", "python"] {
            let path = bin.join(name);
            if is_executable(&path) {
                return Some(path);
            }
        }
    }
    let search = std::env::var_os("PATH").unwrap_or_default();
    find_on_path(OsStr::new("python3"), &search).or_else(|| find_on_path(OsStr::new("python"), &search))
}

/// The directory of the package `phalanx`.
///
/// # Errors
/// [`LaunchError::Install`] when it is nowhere, with the places that were searched.
pub fn package() -> Result<PathBuf, LaunchError> {
    if let Some(home) = std::env::var_os(HOME) {
        let home = PathBuf::from(home);
        return if is_package(&home) {
            Ok(home)
        } else {
            Err(LaunchError::Install(format!(
                "{HOME}={} is not the directory of the package phalanx (it has no __init__.py); unset it, or name that directory",
                home.display()
            )))
        };
    }
    if let Some(found) = beside_executable() {
        return Ok(found);
    }
    let asked = python().and_then(|python| ask(&python).map(|p| (python, p)));
    match asked {
        Some((_, Some(found))) => Ok(found),
        Some((python, None)) => Err(LaunchError::Install(format!(
            "the Python package phalanx is not installed for {}; install it there, or set {HOME} to its directory",
            python.display()
        ))),
        None => Err(LaunchError::Install(format!(
            "no Python found beside the binary, in $VIRTUAL_ENV or on PATH; set {HOME} to the directory of the package phalanx"
        ))),
    }
}

fn is_package(directory: &Path) -> bool {
    directory.join("__init__.py").is_file()
}

/// The package at its usual place relative to this binary: an installed environment, or the tree it was built in.
fn beside_executable() -> Option<PathBuf> {
    let exe = executable()?;
    let bin = exe.parent()?;
    let lib = bin.parent()?.join("lib");
    let mut found: Vec<PathBuf> = std::fs::read_dir(&lib)
        .into_iter()
        .flatten()
        .flatten()
        .filter(|entry| entry.file_name().to_string_lossy().starts_with("python3"))
        .map(|entry| entry.path().join("site-packages/phalanx"))
        .filter(|path| is_package(path))
        .collect();
    if found.len() == 1 {
        return found.pop();
    }
    // A build tree: ROOT/target/PROFILE/phalanx, tests in ROOT/target/PROFILE/deps.
    bin.ancestors()
        .skip(1)
        .take(3)
        .filter(|root| root.join("Cargo.toml").is_file())
        .map(|root| root.join("python/phalanx"))
        .find(|path| is_package(path))
}

/// Asks a Python where its package is. The outer `Option` says whether it could be asked.
fn ask(python: &Path) -> Option<Option<PathBuf>> {
    let code = "import importlib.util as u; s = u.find_spec('phalanx'); \
                print((list(s.submodule_search_locations or [''])[0]) if s else '', end='')";
    let output = Command::new(python).args(["-c", code]).stdin(Stdio::null()).stderr(Stdio::null()).output().ok()?;
    let path = PathBuf::from(OsString::from_vec(output.stdout));
    Some(is_package(&path).then_some(path))
}

/// Which doors are open: for which modules unmodified scripts get Phalanx's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Opened {
    /// `off`: none.
    None,
    /// `mpi4py`, and the commands `mpiexec`, `mpirun` and `mpicc`: what is open when nothing is said.
    Mpi4py,
    /// The same, and `multiprocessing` with `concurrent.futures`.
    Multiprocessing,
    /// `mpi4py`, and `ipyparallel` with its commands.
    Cluster,
    /// All of them.
    All,
}

impl Opened {
    /// What names a list of doors, for messages.
    pub const NAMES: &str = "multiprocessing, ipyparallel or off";

    /// That of `multiprocessing` is open.
    #[must_use]
    pub fn has_multiprocessing(self) -> bool {
        matches!(self, Self::Multiprocessing | Self::All)
    }

    /// That of `ipyparallel` is open.
    #[must_use]
    pub fn has_cluster(self) -> bool {
        matches!(self, Self::Cluster | Self::All)
    }

    /// The same, and that of `ipyparallel`.
    #[must_use]
    pub fn with_cluster(self) -> Self {
        if self.has_multiprocessing() { Self::All } else { Self::Cluster }
    }

    /// The same, and that of `multiprocessing`.
    #[must_use]
    pub fn with_multiprocessing(self) -> Self {
        if self.has_cluster() { Self::All } else { Self::Multiprocessing }
    }

    /// Reads a list such as `mpi4py,multiprocessing`, given by `source` (a flag or a variable). `mpi4py` needs no
    /// mention.
    ///
    /// # Errors
    /// The problem, when a name is not that of a door.
    pub fn parse(list: &OsStr, source: &str) -> Result<Self, String> {
        let text = list.to_string_lossy();
        let mut opened = Self::Mpi4py;
        let mut names = text.split(',').map(str::trim).filter(|name| !name.is_empty()).peekable();
        while let Some(name) = names.next() {
            match name {
                "mpi4py" => {}
                "multiprocessing" => opened = opened.with_multiprocessing(),
                "ipyparallel" => opened = opened.with_cluster(),
                "off" | "none" | "no" | "0" if names.peek().is_none() && text.trim() == name => opened = Self::None,
                "off" | "none" | "no" | "0" => return Err(format!("{source}: '{name}' must stand alone")),
                _ => return Err(format!("{source}: no door '{name}' ({})", Self::NAMES)),
            }
        }
        Ok(opened)
    }

    /// What the flag says, else the environment, else the doors that are open anyway.
    ///
    /// # Errors
    /// As [`Opened::parse`].
    pub fn choose(flag: Option<Self>) -> Result<Self, String> {
        match (flag, std::env::var_os(DOORS)) {
            (Some(opened), _) => Ok(opened),
            (None, Some(list)) => Self::parse(&list, DOORS),
            (None, None) => Ok(Self::Mpi4py),
        }
    }

    /// The value of [`DOORS`] that says the same.
    #[must_use]
    pub fn list(self) -> &'static str {
        match self {
            Self::None => "off",
            Self::Mpi4py => "mpi4py",
            Self::Multiprocessing => "mpi4py,multiprocessing",
            Self::Cluster => "mpi4py,ipyparallel",
            Self::All => "mpi4py,multiprocessing,ipyparallel",
        }
    }
}

/// The directories that answer `import mpi4py` and `mpiexec`.
#[derive(Debug, Clone)]
pub struct Doors {
    /// Goes first on `PYTHONPATH`.
    pub python: PathBuf,
    /// Goes first on `PATH`.
    pub bin: PathBuf,
}

impl Doors {
    /// The doors of this installation; `None` when they are not part of it.
    ///
    /// # Errors
    /// As [`package`].
    pub fn find() -> Result<Option<Self>, LaunchError> {
        let python = package()?.join("doors");
        Ok(python.is_dir().then(|| Self { bin: python.join("bin"), python }))
    }

    /// The variables that open them, given the environment they are added to.
    #[must_use]
    pub fn variables(&self, opened: Opened, current: impl Fn(&str) -> Option<OsString>) -> Vec<(OsString, OsString)> {
        let mut modules = first_in_list(&self.python, current("PYTHONPATH"));
        if opened.has_cluster() {
            modules = first_in_list(&self.python.join("cluster"), Some(modules));
        }
        if opened.has_multiprocessing() {
            // Holds the `sitecustomize` that every Python runs when it starts.
            modules = first_in_list(&self.python.join("start"), Some(modules));
        }
        let mut variables = vec![("PYTHONPATH".into(), modules), (DOORS.into(), opened.list().into())];
        if self.bin.is_dir() {
            let mut programs = first_in_list(&self.bin, current("PATH"));
            if opened.has_cluster() {
                programs = first_in_list(&self.python.join("cluster/bin"), Some(programs));
            }
            variables.push(("PATH".into(), programs));
        }
        if let Some(exe) = executable() {
            // The shell doors start this very binary, a process that spawns finds it, whatever PATH says, and a Python
            // that Phalanx is installed for opens its doors at start, whatever PYTHONPATH says.
            variables.push((LAUNCHER.into(), exe.into()));
        }
        variables
    }

    /// Puts the doors first again in the lists of directories that the user sets for ranks.
    pub(crate) fn keep_open(&self, opened: Opened, set: &mut [(OsString, OsString)]) {
        for (name, value) in set {
            let current = |asked: &str| (asked == name).then(|| value.clone());
            let wanted = self.variables(opened, current).into_iter().find(|(ours, _)| ours == name);
            if let Some((_, list)) = wanted.filter(|_| *name == "PYTHONPATH" || *name == "PATH") {
                *value = list;
            }
        }
    }

    /// The lists of directories without these doors, where an outer launcher has put them.
    pub(crate) fn closed(&self, current: impl Fn(&str) -> Option<OsString>) -> Vec<(OsString, OsString)> {
        let ours = ["", "start", "bin", "cluster", "cluster/bin"].map(|name| match name {
            "" => self.python.clone(),
            "bin" => self.bin.clone(),
            name => self.python.join(name),
        });
        let mut variables = Vec::new();
        for name in ["PYTHONPATH", "PATH"] {
            let Some(list) = current(name) else { continue };
            let without = std::env::split_paths(&list).filter(|entry| !ours.contains(entry));
            if let Ok(without) = std::env::join_paths(without)
                && without != list
            {
                variables.push((name.into(), without));
            }
        }
        variables
    }
}

/// The path of this binary, set for ranks and for the doors.
pub const LAUNCHER: &str = "PHALANX_LAUNCHER";

/// A `:`-separated list with `entry` at its head, and only there.
pub(crate) fn first_in_list(entry: &Path, list: Option<OsString>) -> OsString {
    let mut text = entry.as_os_str().to_owned();
    if let Some(list) = list {
        for other in std::env::split_paths(&list).filter(|other| other != entry && !other.as_os_str().is_empty()) {
            text.push(":");
            text.push(other);
        }
    }
    text
}

/// Whether a path is a file that this user may execute.
#[must_use]
pub fn is_executable(path: &Path) -> bool {
    path.is_file() && rustix::fs::access(path, rustix::fs::Access::EXEC_OK).is_ok()
}

/// The first executable of that name in a list of directories.
#[must_use]
pub fn find_on_path(name: &OsStr, list: &OsStr) -> Option<PathBuf> {
    std::env::split_paths(list)
        .map(|directory| if directory.as_os_str().is_empty() { PathBuf::from(name) } else { directory.join(name) })
        .find(|path| is_executable(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_door_is_first_and_only_once() {
        let list = first_in_list(Path::new("/d"), Some("/a:/d::/b".into()));
        assert_eq!(list, "/d:/a:/b");
        assert_eq!(first_in_list(Path::new("/d"), None), "/d");
    }

    #[test]
    fn doors_stay_first_in_lists_that_the_user_sets_and_leave_when_closed() {
        let doors = Doors { python: "/p/doors".into(), bin: "/p/doors/bin".into() };
        let mut set = vec![("PYTHONPATH".into(), "src:/p/doors".into()), ("OTHER".into(), "a:b".into())];
        doors.keep_open(Opened::Mpi4py, &mut set);
        assert_eq!(set, [("PYTHONPATH".into(), "/p/doors:src".into()), ("OTHER".into(), OsString::from("a:b"))]);
        doors.keep_open(Opened::Multiprocessing, &mut set);
        assert_eq!(set[0].1, "/p/doors/start:/p/doors:src");
        let list = |name: &str| {
            Some(OsString::from(if name == "PATH" { "/bin:/usr/bin" } else { "/p/doors/start:/p/doors:src" }))
        };
        assert_eq!(doors.closed(list), [("PYTHONPATH".into(), OsString::from("src"))]);
    }

    #[test]
    fn doors_are_chosen_by_name() {
        let parse = |text: &str| Opened::parse(OsStr::new(text), "--doors");
        assert_eq!(parse(""), Ok(Opened::Mpi4py));
        assert_eq!(parse("multiprocessing"), Ok(Opened::Multiprocessing));
        assert_eq!(parse("mpi4py, multiprocessing,"), Ok(Opened::Multiprocessing));
        assert_eq!(parse("off"), Ok(Opened::None));
        assert_eq!(parse("ipyparallel"), Ok(Opened::Cluster));
        assert_eq!(parse("ipyparallel,multiprocessing"), Ok(Opened::All));
        for (wrong, says) in [("threading", "no door"), ("off,mpi4py", "alone"), ("multiprocessing,off", "alone")] {
            assert!(parse(wrong).is_err_and(|problem| problem.contains(says)), "{wrong}");
        }
        for opened in [Opened::None, Opened::Mpi4py, Opened::Multiprocessing, Opened::Cluster, Opened::All] {
            assert_eq!(parse(opened.list()), Ok(opened));
        }
    }

    #[test]
    fn executables_are_found_by_name() {
        assert!(find_on_path(OsStr::new("sh"), OsStr::new("/nonexistent:/bin:/usr/bin")).is_some());
        assert!(find_on_path(OsStr::new("no-such-program-here"), OsStr::new("/bin")).is_none());
    }
}
