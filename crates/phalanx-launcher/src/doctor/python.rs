//! The installation: binary, package, Python, module, library, pools, doors, compiler.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::Finding;
use crate::cc;
use crate::elf;
use crate::install::{self, Doors, Opened};
use crate::run;

/// What a child of the Python at hand finds out: a line `key TAB value` for each fact. It does not call `MPI_Init`.
const QUESTIONS: &str = r#"
import sys
def say(key, value):
    print(key, str(value).strip().splitlines()[0] if str(value).strip() else "", sep="\t", flush=True)
def problem(error):
    return f"{type(error).__name__}: {error}"
say("version", sys.version.split()[0])
say("executable", sys.executable)
try:
    from phalanx import _workers
    say("workers", _workers.__spec__.origin)
except BaseException as error:
    say("workers-problem", problem(error))
try:
    import cloudpickle
    say("cloudpickle", f"{cloudpickle.__version__} at {cloudpickle.__path__[0]}")
except BaseException as error:
    say("cloudpickle-problem", problem(error))
try:
    import multiprocessing
    say("multiprocessing", multiprocessing.Process.__module__)
except BaseException as error:
    say("multiprocessing", problem(error))
try:
    import phalanx
    say("package", phalanx.__path__[0])
    phalanx.rc.initialize = phalanx.rc.finalize = False
    from phalanx import MPI
    say("module", MPI.__spec__.origin)
    say("library", MPI.Get_library_version())
    say("standard", ".".join(map(str, MPI.Get_version())))
except BaseException as error:
    say("problem", problem(error))
loaded = []
with open("/proc/self/maps") as maps:
    for line in maps:
        path = line.split(None, 5)[5].strip() if len(line.split(None, 5)) > 5 else ""
        if "libmpi" in path.rpartition("/")[2] and path not in loaded:
            loaded.append(path)
say("loaded", ", ".join(loaded))
if loaded:
    try:
        from ctypes import CDLL, byref, c_int
        major, minor = c_int(-1), c_int(-1)
        CDLL(loaded[0]).MPI_Abi_get_version(byref(major), byref(minor))
        say("abi", f"{major.value}.{minor.value}")
    except BaseException as error:
        say("abi-problem", problem(error))
try:
    import mpi4py
    say("mpi4py", mpi4py.__path__[0])
except BaseException as error:
    say("mpi4py-problem", problem(error))
"#;

/// How long the Python may take for its answers.
const PATIENCE: Duration = Duration::from_secs(60);

/// Variables that would make the child take part in a job.
const JOB_VARIABLES: &[&str] = &[
    "PHALANX_UNIVERSE",
    "PHALANX_WORLD",
    "PMI_FD",
    "PMI_RANK",
    "PMI_SIZE",
    "PMI_PORT",
    "OMPI_COMM_WORLD_SIZE",
    "MPI_LOCALNRANKS",
];

/// Whether the embedded engine is chosen.
pub(super) fn is_embedded() -> bool {
    matches!(std::env::var(run::LIBRARY).unwrap_or_default().as_str(), "" | "embedded")
}

/// The findings, and the file of the MPI library that answers.
pub(super) fn examine() -> (Vec<Finding>, Option<PathBuf>) {
    let binary = install::executable().map_or_else(|| "unknown".to_owned(), |path| path.display().to_string());
    let mut findings = vec![Finding::ok("phalanx", format!("{} at {binary}", env!("CARGO_PKG_VERSION")))];
    let package = match install::package() {
        Ok(package) => {
            findings.push(Finding::ok("package", package.display().to_string()));
            Some(package)
        }
        Err(error) => {
            findings.push(Finding::wrong(
                "package",
                error.to_string(),
                "pip install . in the environment of this binary",
            ));
            None
        }
    };
    let doors = Doors::find().ok().flatten();
    let opened = Opened::choose(None);
    let answers = match install::python() {
        None => {
            findings.push(Finding::wrong(
                "python",
                "no Python beside the binary, in $VIRTUAL_ENV or on PATH",
                "install Python 3.11 or newer",
            ));
            None
        }
        Some(python) => match ask(&python, doors.as_ref(), &opened) {
            Ok(answers) => {
                let version = answers.get("version").cloned().unwrap_or_default();
                findings.push(Finding::ok("python", format!("{version} at {}", python.display())));
                Some(answers)
            }
            Err(problem) => {
                findings.push(Finding::wrong(
                    "python",
                    format!("{}: {problem}", python.display()),
                    "repair this Python, or install Phalanx for another",
                ));
                None
            }
        },
    };
    findings.push(engine(package.as_deref()));
    if let Some(answers) = &answers {
        findings.extend(module(answers));
        findings.extend(pools(answers));
    }
    findings.push(door(doors.as_ref(), answers.as_ref()));
    findings.push(pool_door(&opened, answers.as_ref()));
    findings.push(compiler(package.as_deref()));
    let loaded = answers.as_ref().and_then(|answers| answers.get("loaded")).filter(|loaded| !loaded.is_empty());
    let loaded = loaded.map(|loaded| PathBuf::from(loaded.split(", ").next().unwrap_or_default()));
    (findings, loaded)
}

fn ask(
    python: &Path,
    doors: Option<&Doors>,
    opened: &Result<Opened, String>,
) -> Result<HashMap<String, String>, String> {
    let mut command = Command::new(python);
    command.args(["-c", QUESTIONS]).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    for name in JOB_VARIABLES {
        command.env_remove(name);
    }
    if let Some(doors) = doors {
        // The door of mpi4py is looked at even where it is closed.
        let opened = match opened {
            Ok(opened) if opened.has_multiprocessing() => Opened::Multiprocessing,
            _ => Opened::Mpi4py,
        };
        command.envs(doors.variables(opened, |name| std::env::var_os(name)));
    }
    let mut child = command.spawn().map_err(|e| format!("cannot be started: {e}"))?;
    let deadline = Instant::now() + PATIENCE;
    let status = loop {
        match child.try_wait() {
            Ok(Some(status)) => break status,
            Ok(None) if Instant::now() > deadline => {
                let _ = child.kill();
                let _ = child.wait();
                return Err(format!("gave no answer within {} s", PATIENCE.as_secs()));
            }
            Ok(None) => std::thread::sleep(Duration::from_millis(5)),
            Err(error) => return Err(error.to_string()),
        }
    };
    let read = |pipe: Option<&mut dyn Read>| {
        let mut bytes = Vec::new();
        pipe.map(|pipe| pipe.read_to_end(&mut bytes));
        String::from_utf8_lossy(&bytes).into_owned()
    };
    let out = read(child.stdout.as_mut().map(|pipe| pipe as &mut dyn Read));
    let err = read(child.stderr.as_mut().map(|pipe| pipe as &mut dyn Read));
    let mut answers: HashMap<String, String> =
        out.lines().filter_map(|line| line.split_once('\t')).map(|(k, v)| (k.to_owned(), v.to_owned())).collect();
    if !status.success() {
        let last = err.lines().last().unwrap_or("").to_owned();
        answers.entry("problem".to_owned()).or_insert(format!("importing phalanx.MPI ended with {status}. {last}"));
    }
    if answers.contains_key("version") { Ok(answers) } else { Err(format!("ended with {status}: {}", err.trim())) }
}

/// The engine that was chosen, and the file that is its library.
fn engine(package: Option<&Path>) -> Finding {
    let chosen = std::env::var(run::LIBRARY).unwrap_or_default();
    match chosen.as_str() {
        "" | "embedded" => {
            let Some(package) = package else {
                return Finding::wrong("engine", "embedded, but the package is missing", "see 'package' above");
            };
            library("embedded", &package.join("_native").join(cc::LIBRARY), "install the wheel again (pip install .)")
        }
        "site" => Finding::note(
            "engine",
            format!("the site's library: whatever the loader finds as {}", cc::LIBRARY),
            format!("unset {} for the embedded engine", run::LIBRARY),
        ),
        path => library(
            &format!("{}=", run::LIBRARY),
            &PathBuf::from(path),
            "name a library built for the MPI 5.0 standard ABI",
        ),
    }
}

fn library(what: &str, path: &Path, advice: &str) -> Finding {
    let shown = path.display();
    if !path.is_file() {
        return Finding::wrong("engine", format!("{what} {shown}: there is no such file"), advice);
    }
    match elf::soname(path) {
        Some(name) if name == cc::LIBRARY => Finding::ok("engine", format!("{what} {shown} (SONAME {name})")),
        Some(name) => Finding::wrong(
            "engine",
            format!("{what} {shown} has the SONAME {name}, and programs look for {}", cc::LIBRARY),
            advice,
        ),
        None => Finding::wrong("engine", format!("{what} {shown} is not a shared library of this machine"), advice),
    }
}

fn module(answers: &HashMap<String, String>) -> Vec<Finding> {
    let get = |key: &str| answers.get(key).map_or("", String::as_str);
    if let Some(problem) = answers.get("problem") {
        let advice = "run 'pip install .' with this Python; if that was done, the message above says what it lacks";
        return vec![Finding::wrong("module", format!("phalanx.MPI cannot be imported: {problem}"), advice)];
    }
    let mut findings = vec![Finding::ok("module", get("module"))];
    let text = format!("{} (MPI {}, ABI {}) from {}", get("library"), get("standard"), get("abi"), get("loaded"));
    findings.push(if get("loaded").contains(", ") {
        Finding::wrong("library", text, "two MPI libraries in one process: unset LD_PRELOAD and LD_LIBRARY_PATH")
    } else if let Some(problem) = answers.get("abi-problem") {
        Finding::wrong("library", format!("{text}: {problem}"), "this library does not have the MPI 5.0 standard ABI")
    } else {
        Finding::ok("library", text)
    });
    findings
}

fn door(doors: Option<&Doors>, answers: Option<&HashMap<String, String>>) -> Finding {
    let Some(doors) = doors else {
        return Finding::wrong(
            "doors",
            "missing: scripts that import mpi4py are not answered",
            "install the wheel again",
        );
    };
    if !install::is_executable(&doors.bin.join("mpiexec")) {
        let text = format!("{} has no executable mpiexec", doors.bin.display());
        return Finding::wrong("doors", text, "install the wheel again");
    }
    let answering = answers.and_then(|answers| answers.get("mpi4py"));
    match answering {
        Some(path) if Path::new(path).starts_with(&doors.python) => {
            Finding::ok("doors", format!("mpi4py, mpiexec, mpirun, mpicc answered from {}", doors.python.display()))
        }
        Some(path) => Finding::wrong(
            "doors",
            format!("'import mpi4py' is answered by {path}"),
            "something puts that directory before PYTHONPATH; remove it there",
        ),
        None => {
            let problem = answers.and_then(|a| a.get("mpi4py-problem")).map_or("not asked", String::as_str);
            Finding::wrong("doors", format!("'import mpi4py' fails: {problem}"), "see 'module' above")
        }
    }
}

/// What pools, queues and locks need: their extension, and cloudpickle for functions that pickle cannot send.
fn pools(answers: &HashMap<String, String>) -> Vec<Finding> {
    const ADVICE: &str = "python -m pip install 'cloudpickle>=3', with this Python";
    let extension = match answers.get("workers") {
        Some(path) => Finding::ok("pools", path),
        None => {
            let problem = answers.get("workers-problem").map_or("not asked", String::as_str);
            let text = format!("phalanx._workers cannot be imported, so that no pool works: {problem}");
            Finding::wrong("pools", text, "install the wheel again (pip install .) with this Python")
        }
    };
    let by_value = match answers.get("cloudpickle") {
        Some(found) if found.split('.').next().is_some_and(|major| major.parse().is_ok_and(|n: u32| n < 3)) => {
            Finding::note("cloudpickle", format!("{found} is too old"), ADVICE)
        }
        Some(found) => Finding::ok("cloudpickle", found),
        None => {
            let problem = answers.get("cloudpickle-problem").map_or("not asked", String::as_str);
            let text = format!("not found, so that pools do not take lambdas and functions of notebooks: {problem}");
            Finding::note("cloudpickle", text, ADVICE)
        }
    };
    vec![extension, by_value]
}

/// Whether unmodified scripts get the pools, queues and locks of Phalanx.
fn pool_door(opened: &Result<Opened, String>, answers: Option<&HashMap<String, String>>) -> Finding {
    const NAME: &str = "pool door";
    let answering = answers.and_then(|answers| answers.get("multiprocessing")).map_or("not asked", String::as_str);
    match opened {
        Err(problem) => Finding::wrong(NAME, problem, format!("correct or unset {}", install::DOORS)),
        Ok(Opened::None) => Finding::note(
            NAME,
            format!("{}=off closes every door, that of mpi4py as well", install::DOORS),
            format!("unset {}, if scripts are to be answered by Phalanx", install::DOORS),
        ),
        Ok(Opened::Mpi4py | Opened::Cluster) => Finding::ok(
            NAME,
            "closed: 'import multiprocessing' is the standard library's; --doors multiprocessing of 'phalanx run' \
             and 'phalanx shell' opens it",
        ),
        Ok(Opened::Multiprocessing | Opened::All) if answering.starts_with("phalanx.") => Finding::ok(
            NAME,
            format!("open ({}): 'import multiprocessing' is Phalanx's under 'phalanx run'", install::DOORS),
        ),
        Ok(Opened::Multiprocessing | Opened::All) => Finding::wrong(
            NAME,
            format!("{} opens it, but 'import multiprocessing' is answered by {answering}", install::DOORS),
            "see 'pools' and 'doors'; a Python with -S has no doors",
        ),
    }
}

fn compiler(package: Option<&Path>) -> Finding {
    let header = package.map(|package| package.join("include/mpi.h"));
    let name = std::env::var("CC").ok().filter(|cc| !cc.is_empty()).unwrap_or_else(|| "cc".to_owned());
    let program = name.split_whitespace().next().unwrap_or("cc").to_owned();
    let search = std::env::var_os("PATH").unwrap_or_default();
    let found = if program.contains('/') {
        Some(PathBuf::from(&program)).filter(|path| install::is_executable(path))
    } else {
        install::find_on_path(OsStr::new(&program), &search)
    };
    match (header.filter(|h| h.is_file()), found) {
        (Some(header), Some(cc)) => Finding::ok("cc", format!("{} with {}", cc.display(), header.display())),
        (None, _) => {
            Finding::note("cc", "mpi.h is not installed: C programs cannot be compiled", "install the wheel again")
        }
        (_, None) => Finding::note("cc", format!("no C compiler '{program}'"), "set CC, if you compile C programs"),
    }
}
