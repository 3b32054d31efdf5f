//! The arena of this process's family: made by the first process that needs one, inherited by those that it starts.
//!
//! A forked child has it from its parent. A spawned one is given the descriptor with the process object that it unpickles
//! ([`family_fd`], [`join_family`]). Whoever else unpickles something of the family opens it in the process that pickled
//! it, by number ([`Token`]); a process without a family then belongs to that one.

use std::collections::{BTreeMap, HashMap};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use phalanx_object::detached;
use phalanx_shm::{Arena, ArenaConfig, Block, Handle, ShmError};
use pyo3::exceptions::{PyMemoryError, PyOSError, PyRuntimeError};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyList;
use rustix::fs::{Mode, OFlags};

use crate::codec;

/// The arena, once there is one. Set within [`Arena::whole`]: a child that is forked meanwhile would find it half set,
/// and wait for ever.
static ARENA: OnceLock<Arena> = OnceLock::new();

/// The family's arena; makes one when there is none yet.
///
/// # Errors
/// `OSError` or `MemoryError` when it cannot be made.
#[inline]
pub(crate) fn arena(py: Python<'_>) -> PyResult<&'static Arena> {
    match ARENA.get() {
        Some(arena) => Ok(arena),
        None => make(py),
    }
}

#[cold]
fn make(py: Python<'_>) -> PyResult<&'static Arena> {
    detached(py, || {
        Arena::whole(|| {
            if let Some(arena) = ARENA.get() {
                return Ok(arena);
            }
            let arena = Arena::create(ArenaConfig::for_machine())?;
            Ok(ARENA.get_or_init(|| arena))
        })
    })
    .map_err(|error| refused(&error))
}

/// The number of the family's arena, if there is one yet.
pub(crate) fn id() -> Option<u64> {
    ARENA.get().map(Arena::id)
}

/// Maps the arena of a descriptor. It becomes this process's own when it has none, if it is `wanted` or any will do.
fn attach(py: Python<'_>, fd: OwnedFd, wanted: Option<u64>) -> PyResult<Arena> {
    detached(py, || {
        Arena::whole(|| {
            let arena = Arena::attach(fd)?;
            if wanted.is_none_or(|id| id == arena.id()) {
                let _ = ARENA.set(arena);
            }
            Ok(arena)
        })
    })
    .map_err(|error| refused(&error))
}

/// An error of the shared memory as Python's: `MemoryError` when there is no more of it, else `OSError`.
#[cold]
pub(crate) fn refused(error: &ShmError) -> PyErr {
    let text = error.to_string();
    if error.is_no_memory() { PyMemoryError::new_err(text) } else { PyOSError::new_err(text) }
}

/// The error of opening a block that is gone.
#[cold]
pub(crate) fn gone(error: &ShmError) -> PyErr {
    PyRuntimeError::new_err(error.to_string())
}

/// Whether a block lies in the arena of this process's own family.
pub(crate) fn owns(block: &Block) -> bool {
    ARENA.get() == Some(&block.arena())
}

/// How a block is named in a pickle: arena, a process that has it and its descriptor there, handle.
pub(crate) type Token = (u64, u32, i32, u64);

/// The name of a block for any process on this machine, good while the block is held.
pub(crate) fn token(block: &Block) -> Token {
    let arena = block.arena();
    (arena.id(), std::process::id(), arena.fd().as_raw_fd(), block.handle().to_u64())
}

/// While a process is being spawned: keeps `object` as long as the object that stands for that process, which is longer
/// than the child takes to open it. Whether a process is being spawned.
///
/// # Errors
/// What Python raises.
pub(crate) fn keep_for_child(object: &Bound<'_, PyAny>) -> PyResult<bool> {
    static SPAWNING: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    let py = object.py();
    let spawning = SPAWNING.get_or_try_init(py, || {
        py.import("multiprocessing.context")?.getattr("get_spawning_popen").map(Bound::unbind)
    })?;
    let popen = spawning.bind(py).call0()?;
    if popen.is_none() {
        return Ok(false);
    }
    let name = intern!(py, "_phalanx_kept");
    match popen.getattr_opt(name)? {
        Some(kept) => kept.cast_into::<PyList>()?.append(object)?,
        None => popen.setattr(name, PyList::new(py, [object])?)?,
    }
    Ok(true)
}

/// So many blocks that were pickled for nobody in particular are held,
const HELD: usize = 1024;
/// each for so long. A look at them happens when the next one comes.
const HELD_FOR: Duration = Duration::from_secs(600);

/// Blocks that were pickled for nobody in particular.
#[derive(Default)]
struct Held {
    /// By handle, with the number of the last time that it was pickled.
    blocks: HashMap<u64, (u64, Block)>,
    /// Those times in order, by number: when, and the block's handle.
    times: BTreeMap<u64, (Instant, u64)>,
    /// The next number.
    next: u64,
}

impl Held {
    /// Holds one more block, or one of them for longer; what is held no longer is returned, to be dropped elsewhere.
    fn add(&mut self, block: &Block, now: Instant) -> Vec<Block> {
        let handle = block.handle().to_u64();
        let number = self.next;
        self.next += 1;
        if let Some((before, _)) = self.blocks.insert(handle, (number, block.clone())) {
            self.times.remove(&before);
        }
        self.times.insert(number, (now, handle));
        let mut over = Vec::new();
        while let Some(oldest) = self.times.first_entry() {
            let (then, handle) = *oldest.get();
            if self.blocks.len() <= HELD && now.saturating_duration_since(then) < HELD_FOR {
                break;
            }
            oldest.remove();
            over.extend(self.blocks.remove(&handle).map(|(_, block)| block));
        }
        over
    }
}

/// Called while a lock or the like is pickled: its block lives until the pickle has been read.
///
/// The message or the process that it is pickled for holds it. A pickle that goes elsewhere (a pipe, a file) may be read
/// never, or twice. This process holds the newest 1024 such blocks for ten minutes, so that the pickle can be read even
/// if nobody here keeps the object.
///
/// # Errors
/// What Python raises.
pub(crate) fn passed(object: &Bound<'_, PyAny>, block: &Block) -> PyResult<()> {
    // Locked with the interpreter's lock held, which a forking thread has: no child finds it locked.
    static HELD: Mutex<Option<Held>> = Mutex::new(None);
    if !codec::carry(block) && !keep_for_child(object)? {
        let mut held = HELD.lock().unwrap_or_else(PoisonError::into_inner);
        let over = held.get_or_insert_default().add(block, Instant::now());
        drop(held);
        drop(over);
    }
    Ok(())
}

/// The block of a name, with a hold of its own.
///
/// # Errors
/// `RuntimeError` when the block is gone, or its family's memory cannot be reached.
pub(crate) fn open(py: Python<'_>, (id, pid, fd, handle): Token) -> PyResult<Block> {
    let arena = match ARENA.get().filter(|arena| arena.id() == id) {
        Some(arena) => *arena,
        None => match Arena::find(id) {
            Some(arena) => arena,
            None => reach(py, id, pid, fd)?,
        },
    };
    arena.open(Handle::from_u64(handle)).map_err(|error| gone(&error))
}

/// The arena that another process has under a descriptor.
#[cold]
fn reach(py: Python<'_>, id: u64, pid: u32, fd: i32) -> PyResult<Arena> {
    let path = format!("/proc/{pid}/fd/{fd}");
    let lost = |why: String| {
        PyRuntimeError::new_err(format!(
            "a shared object of process {pid} cannot be opened here, in process {}: {why}. Pass such objects to processes \
             that were started through phalanx.multiprocessing, or while process {pid} runs",
            std::process::id()
        ))
    };
    let opened = rustix::fs::open(&path, OFlags::RDWR | OFlags::CLOEXEC, Mode::empty());
    let opened = opened.map_err(|error| lost(format!("{path}: {error}")))?;
    let arena = attach(py, opened, Some(id))?;
    if arena.id() == id { Ok(arena) } else { Err(lost(format!("{path} is another family's memory"))) }
}

/// family_fd() -> int
///
/// The descriptor of the family's shared memory, which is made when there is none yet.
#[pyfunction]
fn family_fd(py: Python<'_>) -> PyResult<i32> {
    Ok(arena(py)?.fd().as_raw_fd())
}

/// join_family(fd: int) -> None
///
/// Make this process part of the family whose shared memory the descriptor is. The descriptor is taken over, unless it
/// is something else: then it stays as it is, and OSError is raised.
#[pyfunction]
fn join_family(py: Python<'_>, fd: i32) -> PyResult<()> {
    if fd < 0 {
        return Err(PyOSError::new_err(format!("{fd} is no file descriptor")));
    }
    // SAFETY: the number is only given to the kernel to be duplicated, which refuses it when nothing is open under it.
    let copy = rustix::io::fcntl_dupfd_cloexec(unsafe { BorrowedFd::borrow_raw(fd) }, 0)
        .map_err(|error| PyOSError::new_err(format!("descriptor {fd}: {error}")))?;
    let arena = attach(py, copy, None)?;
    // What this process has mapped already keeps the descriptor that it has.
    if arena.fd().as_raw_fd() != fd {
        // SAFETY: it is the family's memory, and the caller gives it away, as documented; the arena has its own.
        drop(unsafe { OwnedFd::from_raw_fd(fd) });
    }
    Ok(())
}

/// family_used() -> int
///
/// Bytes of shared memory that somebody in the family holds.
#[pyfunction]
fn family_used(py: Python<'_>) -> PyResult<u64> {
    Ok(arena(py)?.used())
}

/// family_sweep(pid: int | None = None) -> int
///
/// Free what dead processes still hold, or one of them; return how many were found. Done anyway when memory runs short.
#[pyfunction]
#[pyo3(signature = (pid = None))]
fn family_sweep(py: Python<'_>, pid: Option<u32>) -> usize {
    let Some(arena) = ARENA.get() else {
        return 0;
    };
    detached(py, || match pid {
        Some(pid) => arena.sweep_process(pid),
        None => arena.sweep(),
    })
}

/// Adds the functions of this file to the module.
pub(crate) fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add_function(wrap_pyfunction!(family_fd, m)?)?;
    m.add_function(wrap_pyfunction!(join_family, m)?)?;
    m.add_function(wrap_pyfunction!(family_used, m)?)?;
    m.add_function(wrap_pyfunction!(family_sweep, m)?)
}
