//! Names of shared memory: the functions behind `phalanx.multiprocessing.shared_memory`.
//!
//! A process that was started by other means than `multiprocessing` (`subprocess`, a shell) has a family of its own. Names
//! that this one does not have are looked for in the families of its ancestors, whose memory is found under `/proc`. What
//! it creates stays in its own: it is gone with it, however long its ancestors run.

use phalanx_object::detached;
use phalanx_shm::alive::parent_of;
use phalanx_shm::{Arena, ShmError};
use pyo3::prelude::*;
use rustix::fs::{Mode, OFlags};

use crate::family;
use crate::shared::SharedBuffer;

/// How many ancestors are looked at.
const GENERATIONS: u32 = 32;

/// The arena that a process has open, if it has one and lets us see it.
fn arena_of(pid: u32) -> Option<Arena> {
    for entry in std::fs::read_dir(format!("/proc/{pid}/fd")).ok()?.flatten() {
        let path = entry.path();
        let Ok(target) = std::fs::read_link(&path) else { continue };
        if !target.as_os_str().as_encoded_bytes().starts_with(b"/memfd:phalanx") {
            continue;
        }
        // Segments of other kinds have the name too; attaching tells.
        if let Ok(fd) = rustix::fs::open(&path, OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())
            && let Ok(arena) = Arena::attach(fd)
        {
            return Some(arena);
        }
    }
    None
}

/// What `look` finds in the memory of the nearest ancestor that has another family than this process and the name.
/// Memory that it cannot make sense of is passed over.
fn among_ancestors<T>(look: impl Fn(&Arena) -> Result<Option<T>, ShmError>) -> Result<Option<T>, ShmError> {
    let mut pid = std::process::id();
    let mut seen = family::id();
    for _ in 0..GENERATIONS {
        let Some(next) = parent_of(pid).ok().flatten().filter(|pid| *pid > 1) else { break };
        pid = next;
        let Some(arena) = arena_of(pid) else { continue };
        if seen == Some(arena.id()) {
            continue;
        }
        match look(&arena) {
            Ok(None) => {}
            Err(error) if !matches!(error, ShmError::Interrupted { .. }) => {}
            found => return found,
        }
        seen = Some(arena.id());
    }
    Ok(None)
}

/// Does something with names without the interpreter's lock, and looks at signals when it had to wait.
fn attending<T>(py: Python<'_>, act: impl Fn() -> Result<T, ShmError> + Send + Sync) -> PyResult<Result<T, ShmError>> {
    loop {
        match detached(py, &act) {
            Err(ShmError::Interrupted { .. }) => py.check_signals()?,
            done => return Ok(done),
        }
    }
}

/// names_add(name: str, buffer: SharedBuffer) -> bool
///
/// Give memory a name in the family, where it stays until names_remove. False when another one has it.
#[pyfunction]
fn names_add(py: Python<'_>, name: &str, buffer: &Bound<'_, SharedBuffer>) -> PyResult<bool> {
    let (arena, block) = (family::arena(py)?, buffer.get().block());
    attending(py, || arena.name(name.as_bytes(), block))?.map_err(|error| family::refused(&error))
}

/// names_get(name: str) -> SharedBuffer | None
///
/// The memory that has a name in the family.
#[pyfunction]
fn names_get(py: Python<'_>, name: &str) -> PyResult<Option<SharedBuffer>> {
    let name = name.as_bytes();
    let own = if family::id().is_some() { Some(family::arena(py)?) } else { None };
    let found = attending(py, || match own.map(|arena| arena.named(name)) {
        None | Some(Ok(None)) => among_ancestors(|arena| arena.named(name)),
        Some(found) => found,
    })?;
    let found = found.map_err(|error| family::gone(&error))?;
    Ok(found.map(|block| {
        let length = block.len();
        SharedBuffer::part(block, 0, length)
    }))
}

/// names_remove(name: str) -> bool
///
/// Take a name away. False when nothing has it.
#[pyfunction]
fn names_remove(py: Python<'_>, name: &str) -> PyResult<bool> {
    let name = name.as_bytes();
    let own = if family::id().is_some() { Some(family::arena(py)?) } else { None };
    let removed = attending(py, || match own.map(|arena| arena.unname(name)) {
        None | Some(Ok(false)) => {
            let removed = among_ancestors(|arena| Ok(arena.unname(name)?.then_some(())))?;
            Ok(removed.is_some())
        }
        Some(removed) => removed,
    })?;
    removed.map_err(|error| family::gone(&error))
}

/// Adds the functions of this file to the module.
pub(crate) fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add_function(wrap_pyfunction!(names_add, m)?)?;
    m.add_function(wrap_pyfunction!(names_get, m)?)?;
    m.add_function(wrap_pyfunction!(names_remove, m)?)
}
