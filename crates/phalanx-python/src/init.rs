//! Starting and ending MPI with the module: the options of `rc`, `MPI_Init_thread` at import, `MPI_Finalize` at exit, and
//! what happens to an exception that nobody catches.

use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU32, Ordering::Relaxed};
use std::time::Duration;

use phalanx_pmi::launchers;
use pyo3::exceptions::{PyKeyboardInterrupt, PyRuntimeError, PyRuntimeWarning};
use pyo3::prelude::*;
use pyo3::types::{PyCFunction, PyDict, PyTuple};

use crate::error::{self, check};
use crate::extras;
use crate::ffi::*;
use crate::orphans;
use crate::patience;

pub(crate) mod names;
mod status;

/// Whether MPI is finalized at exit.
static FINALIZE: AtomicBool = AtomicBool::new(true);
/// The process that initialized MPI: a forked child must not finalize it.
static PROCESS: AtomicU32 = AtomicU32::new(0);
/// The status for `MPI_Abort` at exit; 0 for none.
static ABORT_STATUS: AtomicI32 = AtomicI32::new(0);
/// Nobody caught an exception: the interpreter ends, and `MPI_Abort` follows.
static FAILED: AtomicBool = AtomicBool::new(false);
/// Which error handler new objects get: an index into [`HANDLERS`].
static ERRORS: AtomicI32 = AtomicI32::new(1);
/// The size of the buffer that `irecv` takes when it is given none, where the transport needs one.
static IRECV_BUFSZ: AtomicI32 = AtomicI32::new(32768);

/// The error handlers by the value of `rc.errors`: default, exception, abort, fatal.
const HANDLERS: [Option<MPI_Errhandler>; 4] =
    [None, Some(MPI_ERRORS_RETURN), Some(MPI_ERRORS_ABORT), Some(MPI_ERRORS_ARE_FATAL)];

/// That exception only tells of another rank's error: the other rank is to end the job.
static REACTED: AtomicBool = AtomicBool::new(false);
/// The launcher knows of the exception.
static TOLD: AtomicBool = AtomicBool::new(false);
/// How long such a rank leaves the first word, and then the first end, to the other one.
const PRECEDENCE: Duration = Duration::from_secs(1);

/// A debugger is to look at exceptions that nobody catches: set for ranks by the launcher.
const PDB: &str = "PHALANX_PDB";
/// How a rank finds its launcher for what MPI has no words for.
const DESK: &str = "PHALANX_DESK";
/// How many seconds a rank may take to end once it has to: set for ranks by the launcher.
const GRACE: &str = "PHALANX_GRACE";
/// The same where nobody has said it.
const DEFAULT_GRACE: Duration = Duration::from_secs(10);

/// The option `rc.irecv_bufsz`.
pub(crate) fn irecv_bufsz() -> usize {
    usize::try_from(IRECV_BUFSZ.load(Relaxed)).unwrap_or(0)
}

/// The error handler that `rc.errors` asks for on every new object; `None` leaves the library's own.
pub(crate) fn default_errhandler() -> Option<MPI_Errhandler> {
    HANDLERS.get(usize::try_from(ERRORS.load(Relaxed)).unwrap_or(0)).copied().flatten()
}

/// Sets the error handler that `rc.errors` asks for on a communicator.
pub(crate) fn set_comm_errhandler(raw: MPI_Comm) -> PyResult<()> {
    match default_errhandler() {
        // SAFETY: passes values; the library checks them.
        Some(errhandler) if raw != MPI_COMM_NULL => check(unsafe { MPI_Comm_set_errhandler(raw, errhandler) }),
        _ => Ok(()),
    }
}

/// Whether MPI is initialized and not yet finalized.
pub(crate) fn is_active() -> bool {
    let (mut initialized, mut finalized) = (0, 1);
    // SAFETY: both may be called at any time; the flags are valid for the writes.
    unsafe {
        MPI_Initialized(&mut initialized) == MPI_SUCCESS
            && initialized != 0
            && MPI_Finalized(&mut finalized) == MPI_SUCCESS
            && finalized == 0
    }
}

/// Whether MPI is active and this process is the one that initialized it (not a forked child of it).
pub(crate) fn is_ours() -> bool {
    is_active() && PROCESS.load(Relaxed) == std::process::id()
}

/// Reads one option: from the environment, else from `rc`, else nothing.
///
/// The environment's value is stored in `rc`, so that `rc` tells what is in force.
fn option<'py>(rc: Option<&Bound<'py, PyAny>>, py: Python<'py>, name: &str) -> Option<Bound<'py, PyAny>> {
    let upper = name.to_uppercase();
    let text = ["PHALANX_RC_", "MPI4PY_RC_"].iter().find_map(|prefix| std::env::var(format!("{prefix}{upper}")).ok());
    let Some(text) = text else {
        return rc.and_then(|rc| rc.getattr(name).ok());
    };
    let lower = text.to_lowercase();
    let value = match lower.as_str() {
        "yes" | "true" | "on" | "y" | "t" => true.into_pyobject(py).ok()?.to_owned().into_any(),
        "no" | "false" | "off" | "n" | "f" => false.into_pyobject(py).ok()?.to_owned().into_any(),
        "1" if name != "irecv_bufsz" => true.into_pyobject(py).ok()?.to_owned().into_any(),
        "0" if name != "irecv_bufsz" => false.into_pyobject(py).ok()?.to_owned().into_any(),
        other => match other.parse::<i64>() {
            Ok(number) => number.into_pyobject(py).ok()?.into_any(),
            Err(_) => other.into_pyobject(py).ok()?.into_any(),
        },
    };
    if let Some(rc) = rc {
        // An `rc` object may refuse; the option holds all the same.
        let _ = rc.setattr(name, &value);
    }
    Some(value)
}

/// Warns of an option's value that means nothing.
fn warn(py: Python<'_>, name: &str, value: &Bound<'_, PyAny>) -> PyResult<()> {
    let message = format!("phalanx.rc.{name}: unexpected value {}", value.repr()?);
    let message = std::ffi::CString::new(message).unwrap_or_else(|_| c"phalanx.rc: unexpected value".into());
    PyErr::warn(py, &py.get_type::<PyRuntimeWarning>(), &message, 1)
}

/// A yes-or-no option.
fn flag(rc: Option<&Bound<'_, PyAny>>, py: Python<'_>, name: &str, default: bool) -> PyResult<bool> {
    let Some(value) = option(rc, py, name) else {
        return Ok(default);
    };
    if value.is_none() {
        return Ok(default);
    }
    if let Ok(flag) = value.extract::<bool>() {
        return Ok(flag);
    }
    match value.extract::<String>().as_deref() {
        Ok("yes") => Ok(true),
        Ok("no") => Ok(false),
        _ => {
            warn(py, name, &value)?;
            Ok(default)
        }
    }
}

/// An option with named values: the place of the value in `names`.
fn choice(
    rc: Option<&Bound<'_, PyAny>>,
    py: Python<'_>,
    name: &str,
    names: &[&str],
    default: usize,
) -> PyResult<usize> {
    let Some(value) = option(rc, py, name) else {
        return Ok(default);
    };
    let found = value.extract::<String>().ok().and_then(|text| names.iter().position(|name| *name == text));
    match found {
        Some(place) => Ok(place),
        None => {
            warn(py, name, &value)?;
            Ok(default)
        }
    }
}

/// Reads the options and initializes MPI unless it is initialized already or `rc.initialize` says no.
pub(crate) fn start(py: Python<'_>) -> PyResult<()> {
    let package = py.import("phalanx").ok();
    let rc = package.and_then(|package| package.getattr("rc").ok());
    let rc = rc.as_ref();
    let initialize = flag(rc, py, "initialize", true)?;
    let threads = flag(rc, py, "threads", true)?;
    let levels = ["single", "funneled", "serialized", "multiple"];
    let level = choice(rc, py, "thread_level", &levels, 3)?;
    FINALIZE.store(flag(rc, py, "finalize", initialize)?, Relaxed);
    // Every reduction is a tree or flat, every receive a matched probe: the value is checked only.
    flag(rc, py, "fast_reduce", true)?;
    // Every reduction is a tree or flat, every receive a matched probe: the value is checked only.
    flag(rc, py, "recv_mprobe", true)?;
    if let Some(size) = option(rc, py, "irecv_bufsz") {
        match size.extract::<i32>() {
            Ok(size) if size >= 0 => IRECV_BUFSZ.store(size, Relaxed),
            _ => warn(py, "irecv_bufsz", &size)?,
        }
    }
    let errors = choice(rc, py, "errors", &["default", "exception", "abort", "fatal"], 1)?;
    ERRORS.store(i32::try_from(errors).unwrap_or(1), Relaxed);

    // SAFETY: registers a function that lives as long as the process.
    if unsafe { pyo3::ffi::Py_AtExit(Some(at_exit)) } < 0 {
        return Err(PyRuntimeError::new_err(
            "too many functions registered with Py_AtExit: MPI would not be finalized",
        ));
    }
    let mut initialized = 0;
    // SAFETY: may be called at any time; the flag is valid for the write.
    check(unsafe { MPI_Initialized(&mut initialized) })?;
    if initialized != 0 {
        // Whoever initialized MPI finalizes it.
        FINALIZE.store(false, Relaxed);
    } else if initialize {
        let required = [MPI_THREAD_SINGLE, MPI_THREAD_FUNNELED, MPI_THREAD_SERIALIZED, MPI_THREAD_MULTIPLE][level];
        let mut provided = MPI_THREAD_SINGLE;
        let none = std::ptr::null_mut();
        // SAFETY: the standard allows null for the arguments; `provided` is valid for the write.
        let code = crate::gil::detached(py, || unsafe {
            if threads {
                MPI_Init_thread(none, none.cast(), required, &mut provided)
            } else {
                MPI_Init(none, none.cast())
            }
        });
        if code != MPI_SUCCESS {
            return Err(PyRuntimeError::new_err(format!(
                "MPI could not be initialized (error code {code}): {}",
                error::message(code)
            )));
        }
    }
    prepare()
}

/// What follows an initialization, whoever did it.
fn prepare() -> PyResult<()> {
    if !is_active() {
        return Ok(());
    }
    PROCESS.store(std::process::id(), Relaxed);
    names::take_away();
    Python::attach(extras::install_interrupt_hook);
    patience::begin();
    refuse_jobs_of_one()?;
    status::watch();
    miss_handles()?;
    set_comm_errhandler(MPI_COMM_SELF)?;
    set_comm_errhandler(MPI_COMM_WORLD)
}

/// One process says it, and all end, when a launcher has started several and the library has made each a job of one.
fn refuse_jobs_of_one() -> PyResult<()> {
    if extras::is_embedded() || has_peers() {
        return Ok(());
    }
    let Some(launcher) = launchers::of_several(|name| std::env::var(name).ok()) else { return Ok(()) };
    let Some(size) = launcher.size else { return Ok(()) };
    finish();
    if launcher.let_another_say_it() {
        std::process::exit(1);
    }
    let remedy = match launcher.is_slurm() {
        true => "try 'srun --mpi=pmi2', and see 'srun --mpi=list'",
        false => "use the library's own mpiexec",
    };
    Err(PyRuntimeError::new_err(format!(
        "{} made {size} jobs of one: the MPI library does not speak with this launcher; {remedy}, or 'phalanx run -n {size}'; for jobs \
         of one each, set {}=1",
        launcher.described(),
        launchers::ALONE
    )))
}

/// With `--check`: from here to the end of the program, objects that go and leave their handles behind are told.
fn miss_handles() -> PyResult<()> {
    let value = std::env::var("PHALANX_CHECK").unwrap_or_default();
    if matches!(value.as_str(), "" | "0" | "off" | "no") || !extras::is_embedded() {
        return Ok(());
    }
    Python::attach(|py| {
        // What the interpreter's end takes away was not lost.
        let ends = |_: &Bound<'_, PyTuple>, _: Option<&Bound<'_, PyDict>>| crate::handle::miss_handles(false);
        let ends = PyCFunction::new_closure(py, Some(c"phalanx_end_of_check"), None, ends)?;
        py.import("atexit")?.call_method1("register", (ends,))?;
        crate::handle::miss_handles(true);
        Ok(())
    })
}

/// Runs when Python is gone: aborts if an exception asked for it, else finalizes, unless the exit status is to decide.
extern "C" fn at_exit() {
    if !is_ours() {
        return;
    }
    let status = ABORT_STATUS.load(Relaxed);
    if status != 0 {
        if REACTED.load(Relaxed) {
            std::thread::sleep(PRECEDENCE);
        }
        // SAFETY: MPI is active and no other thread of this process uses it any more.
        unsafe { extras::abort(status, TOLD.load(Relaxed)) };
    }
    status::watch_at_the_end();
    if !status::decides() {
        finish();
    }
}

/// Finalizes, if that is this module's business.
fn finish() {
    if FINALIZE.load(Relaxed) {
        orphans::finish();
        // SAFETY: MPI is active (the caller looked) and no other thread of this process uses it any more.
        unsafe { MPI_Finalize() };
    }
}

/// Writes out what Python has buffered for stdout and stderr, before the process ends abruptly.
pub(crate) fn flush_output(py: Python<'_>) {
    for name in ["stdout", "stderr"] {
        let flushed = py.import("sys").and_then(|sys| sys.getattr(name)?.call_method0("flush"));
        // A closed or missing stream has nothing to write.
        drop(flushed);
    }
}

/// Whether other processes may wait for this one: then an exception that nobody catches has to end the job.
pub(crate) fn has_peers() -> bool {
    let (mut size, mut parent) = (1, MPI_COMM_NULL);
    // SAFETY: MPI is active (the caller looked); the places are valid for the writes.
    unsafe {
        MPI_Comm_size(MPI_COMM_WORLD, &mut size) == MPI_SUCCESS && size > 1
            || MPI_Comm_get_parent(&mut parent) == MPI_SUCCESS && parent != MPI_COMM_NULL
    }
}

/// The new `sys.excepthook`: shows the exception as before; where other ranks may wait for this one, the job ends with
/// this process.
fn uncaught(args: &Bound<'_, PyTuple>, previous: &Py<PyAny>) -> PyResult<()> {
    let py = args.py();
    let ends_job = is_ours() && !is_interactive(py) && has_peers();
    if !ends_job {
        previous.call1(py, args)?;
        return examine(args);
    }
    let sys = py.import("sys")?;
    let kind = args.get_item(0)?;
    if py.import("phalanx.MPI")?.getattr("_PeerError").is_ok_and(|class| class.is(&kind)) {
        REACTED.store(true, Relaxed);
        crate::gil::detached(py, || std::thread::sleep(PRECEDENCE));
    }
    let is_default =
        previous.bind(py).is(&sys.getattr("__excepthook__")?) && sys.getattr("stderr")?.is(&sys.getattr("__stderr__")?);
    let told = tell(args, !is_default).unwrap_or(false);
    TOLD.store(told, Relaxed);
    if !(told && is_default) {
        show(args, previous)?;
    }
    flush_output(py);
    // Whatever becomes of the debugger, the job ends.
    if let Err(error) = examine(args) {
        error.display(py);
    }
    let interrupted = args.get_item(0)?.is(py.get_type::<PyKeyboardInterrupt>());
    end_soon(if interrupted { 130 } else { 1 });
    Ok(())
}

/// Tells the launcher of an exception, and gives whether it shows it. `shown`: the program shows it itself.
fn tell(args: &Bound<'_, PyTuple>, shown: bool) -> PyResult<bool> {
    let arguments = (args.get_item(0)?, args.get_item(1)?, args.get_item(2)?, shown);
    args.py().import("phalanx._failure")?.call_method1("tell", arguments)?.extract()
}

/// Lets a debugger look at an exception, under `--pdb`.
fn examine(args: &Bound<'_, PyTuple>) -> PyResult<()> {
    if is_ours() && std::env::var_os(PDB).is_some() {
        args.py().import("phalanx._terminal")?.call_method1("examine", args)?;
    }
    Ok(())
}

/// Shows an exception as the program does, and says which rank it is of.
fn show(args: &Bound<'_, PyTuple>, previous: &Py<PyAny>) -> PyResult<()> {
    let py = args.py();
    let sys = py.import("sys")?;
    let (mut rank, mut size) = (0, 0);
    // SAFETY: MPI is active; the numbers are valid for the writes.
    unsafe {
        MPI_Comm_rank(MPI_COMM_WORLD, &mut rank);
        MPI_Comm_size(MPI_COMM_WORLD, &mut size);
    }
    let place = format!("phalanx: uncaught exception in rank {rank} of {size} (process {})", std::process::id());
    if previous.bind(py).is(&sys.getattr("__excepthook__")?) {
        // One write, so that the lines of several failing ranks do not mix.
        let lines = py.import("traceback")?.call_method1("format_exception", args)?;
        let text: String = lines.extract::<Vec<String>>()?.concat();
        sys.getattr("stderr")?.call_method1("write", (format!("{place}:\n{text}"),))?;
    } else {
        previous.call1(py, args)?;
        sys.getattr("stderr")?.call_method1("write", (format!("{place}\n"),))?;
    }
    Ok(())
}

/// Lets the interpreter end as it does in any program (files are written out, exit functions run, temporary directories
/// go) and the job with it: by `MPI_Abort` at the end, or when that has taken too long.
fn end_soon(status: c_int) {
    ABORT_STATUS.store(status, Relaxed);
    FAILED.store(true, Relaxed);
    ignore_termination();
    let limit = std::env::var(GRACE).ok().and_then(|text| Duration::try_from_secs_f64(text.parse().ok()?).ok());
    let limit = limit.unwrap_or(DEFAULT_GRACE);
    let abort = move || {
        std::thread::sleep(limit);
        let text = format!(
            "phalanx: process {} has not ended {} s after its uncaught exception: a thread or an exit function goes on\n",
            std::process::id(),
            limit.as_secs_f64()
        );
        eprint!("{text}"); // In one write, as what is said of a status that ends the job.
        // SAFETY: may be called by any thread: MPI is active until this process has ended.
        unsafe { extras::abort(status, true) };
    };
    if std::thread::Builder::new().spawn(abort).is_err() {
        // SAFETY: MPI is active (the caller looked).
        unsafe { MPI_Abort(MPI_COMM_WORLD, status) };
    }
}

/// Another rank that fails as well may end the job first, and this one is asked to end: it does so already.
fn ignore_termination() {
    // SAFETY: `action` is a plain structure for which zeros are valid, and is valid for the write; the new action is one
    // that the system provides.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        if libc::sigaction(libc::SIGTERM, std::ptr::null(), &raw mut action) == 0
            && action.sa_sigaction == libc::SIG_DFL
        {
            libc::signal(libc::SIGTERM, libc::SIG_IGN);
        }
    }
}

/// Whether somebody sits at a prompt and goes on after an exception.
fn is_interactive(py: Python<'_>) -> bool {
    let Ok(sys) = py.import("sys") else {
        return false;
    };
    sys.hasattr("ps1").unwrap_or(false)
        || sys.getattr("flags").and_then(|flags| flags.getattr("interactive")?.is_truthy()).unwrap_or(false)
}

/// Puts [`uncaught`] in front of `sys.excepthook`.
pub(crate) fn install_excepthook(py: Python<'_>) -> PyResult<()> {
    let sys = py.import("sys")?;
    let previous = sys.getattr("excepthook")?.unbind();
    let hook = PyCFunction::new_closure(
        py,
        Some(c"phalanx_excepthook"),
        None,
        move |args: &Bound<'_, PyTuple>, _kwargs: Option<&Bound<'_, PyDict>>| uncaught(args, &previous),
    )?;
    sys.setattr("excepthook", hook)
}

/// Puts a function in front of `sys.breakpointhook` that makes debuggers ask for the job's terminal. It has no frame of its
/// own, so that they stop where they are called.
pub(crate) fn install_breakpointhook(py: Python<'_>) -> PyResult<()> {
    if std::env::var_os(DESK).is_none() {
        return Ok(());
    }
    let sys = py.import("sys")?;
    let previous = sys.getattr("breakpointhook")?.unbind();
    let hook = PyCFunction::new_closure(
        py,
        Some(c"phalanx_breakpointhook"),
        None,
        move |args: &Bound<'_, PyTuple>, kwargs: Option<&Bound<'_, PyDict>>| {
            let py = args.py();
            // Without it a debugger finds no terminal in most ranks, and says so.
            let _ = py.import("phalanx._terminal").and_then(|module| module.call_method0("prepare"));
            previous.call(py, args, kwargs)
        },
    )?;
    sys.setattr("breakpointhook", hook)
}

/// Init() -> None
///
/// Initialize MPI. Only needed after `rc.initialize = False`. Collective, blocks.
#[pyfunction]
fn Init(py: Python<'_>) -> PyResult<()> {
    let none = std::ptr::null_mut();
    // SAFETY: the standard allows null for the arguments.
    crate::gil::blocking(py, || unsafe { MPI_Init(none, none.cast()) })?;
    prepare()
}

/// Init_thread(required: int = THREAD_MULTIPLE) -> int
///
/// Initialize MPI with a level of thread support; return the level provided. Collective, blocks.
#[pyfunction]
#[pyo3(signature = (required=MPI_THREAD_MULTIPLE))]
fn Init_thread(py: Python<'_>, required: c_int) -> PyResult<c_int> {
    let (none, mut provided) = (std::ptr::null_mut(), MPI_THREAD_SINGLE);
    // SAFETY: the standard allows null for the arguments; `provided` is valid for the write.
    crate::gil::blocking(py, || unsafe { MPI_Init_thread(none, none.cast(), required, &mut provided) })?;
    prepare()?;
    Ok(provided)
}

/// Finalize() -> None
///
/// End the use of MPI. Happens by itself at exit unless `rc.finalize` says no. Collective, blocks.
#[pyfunction]
fn Finalize(py: Python<'_>) -> PyResult<()> {
    if FAILED.load(Relaxed) {
        // An exit function calls this, and the others will not come: the job ends with this process.
        return Ok(());
    }
    crate::gil::blocking(py, || {
        orphans::finish();
        // SAFETY: takes no arguments.
        unsafe { MPI_Finalize() }
    })
}

/// _set_abort_status(status: int) -> None
///
/// Make the process end by `MPI_Abort` with this status when Python exits.
#[pyfunction]
fn _set_abort_status(status: c_int) {
    ABORT_STATUS.store(status, Relaxed);
}

/// Adds the functions of this file to the module.
pub(crate) fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add_function(wrap_pyfunction!(Init, m)?)?;
    m.add_function(wrap_pyfunction!(Init_thread, m)?)?;
    m.add_function(wrap_pyfunction!(Finalize, m)?)?;
    m.add_function(wrap_pyfunction!(_set_abort_status, m)?)
}
