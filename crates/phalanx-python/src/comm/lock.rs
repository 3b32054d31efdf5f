//! Locks and private communicators that the package's own Python modules ask for, one set per communicator.
//!
//! Kept as attributes of the communicator, so that they go with it.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use pyo3::prelude::*;
use pyo3::types::{PyCFunction, PyDict, PyTuple};

use super::{Comm, Intercomm, Intracomm};
use crate::attribute::{self, Kind};
use crate::error::check;
use crate::ffi::*;
use crate::gil;
use crate::handle::{self, Handle as _};

static LOCKS: OnceLock<c_int> = OnceLock::new();
static CONTEXTS: OnceLock<c_int> = OnceLock::new();

/// Whether anybody has asked for a lock: as long as nobody has, nothing has to be locked.
static IN_USE: AtomicBool = AtomicBool::new(false);

/// A Python object that belongs to a communicator: the attribute's value, made on first use.
fn owned<'py>(
    py: Python<'py>,
    comm: MPI_Comm,
    keyval: c_int,
    make: impl FnOnce() -> PyResult<Bound<'py, PyAny>>,
) -> PyResult<Bound<'py, PyAny>> {
    let found = attribute::get(py, Kind::Comm, comm.0, keyval)?.into_bound(py);
    if !found.is_none() {
        return Ok(found);
    }
    let made = make()?;
    attribute::set(Kind::Comm, comm.0, keyval, &made)?;
    Ok(made)
}

fn table(py: Python<'_>, comm: MPI_Comm) -> PyResult<Bound<'_, PyDict>> {
    let keyval = match LOCKS.get() {
        Some(keyval) => *keyval,
        None => {
            let fresh = attribute::create_keyval(Kind::Comm, None, None, false)?;
            *LOCKS.get_or_init(|| fresh)
        }
    };
    IN_USE.store(true, Relaxed);
    Ok(owned(py, comm, keyval, || Ok(PyDict::new(py).into_any()))?.cast_into()?)
}

fn lock<'py>(py: Python<'py>, comm: MPI_Comm, key: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
    let table = table(py, comm)?;
    if let Some(lock) = table.get_item(key)? {
        return Ok(lock);
    }
    let lock = py.import("_thread")?.call_method0("allocate_lock")?;
    // Another thread may have been first while the lock was made.
    table.call_method1("setdefault", (key, lock))
}

/// A lock that is held until this is dropped.
pub(crate) struct Held<'py>(Option<Bound<'py, PyAny>>);

impl Drop for Held<'_> {
    fn drop(&mut self) {
        if let Some(lock) = &self.0 {
            // Only the holder releases, so this cannot fail.
            drop(lock.call_method0("release"));
        }
    }
}

/// Holds the communicator's lock `key` during an operation of several messages, if locks are in use at all.
///
/// # Errors
/// `MPI.Exception`; whatever a signal handler raises meanwhile.
pub(super) fn hold<'py>(py: Python<'py>, comm: MPI_Comm, key: &str) -> PyResult<Held<'py>> {
    if !IN_USE.load(Relaxed) {
        return Ok(Held(None));
    }
    let lock = lock(py, comm, key.into_pyobject(py)?.as_any())?;
    lock.call_method0("acquire")?;
    Ok(Held(Some(lock)))
}

/// _comm_lock(comm: Comm, key: Hashable | None = None) -> Lock
///
/// Return the lock that belongs to a communicator and a key.
#[pyfunction]
#[pyo3(signature = (comm, key=None))]
fn _comm_lock<'py>(comm: &Bound<'py, Comm>, key: Option<&Bound<'py, PyAny>>) -> PyResult<Bound<'py, PyAny>> {
    let py = comm.py();
    let none = py.None().into_bound(py);
    lock(py, comm.get().raw(), key.unwrap_or(&none))
}

/// _comm_lock_table(comm: Comm) -> dict[Hashable, Lock]
///
/// Return the locks that belong to a communicator, by key.
#[pyfunction]
fn _comm_lock_table<'py>(comm: &Bound<'py, Comm>) -> PyResult<Bound<'py, PyDict>> {
    table(comm.py(), comm.get().raw())
}

/// Frees the private communicators when the one they belong to goes.
fn delete_contexts(args: &Bound<'_, PyTuple>) -> PyResult<()> {
    let context = args.get_item(2)?.cast_into::<PyDict>()?;
    for key in ["comm", "local"] {
        if let Some(comm) = context.get_item(key)? {
            let comm = comm.cast_into::<Comm>()?;
            if comm.get().raw() != MPI_COMM_NULL {
                comm.get().Free(comm.py())?;
            }
        }
    }
    Ok(())
}

fn contexts_keyval(py: Python<'_>) -> PyResult<c_int> {
    if let Some(keyval) = CONTEXTS.get() {
        return Ok(*keyval);
    }
    let delete =
        PyCFunction::new_closure(py, None, None, |args: &Bound<'_, PyTuple>, _: Option<&Bound<'_, PyDict>>| {
            delete_contexts(args)
        })?;
    let fresh = attribute::create_keyval(Kind::Comm, None, Some(delete.as_any()), false)?;
    Ok(*CONTEXTS.get_or_init(|| fresh))
}

/// The private duplicate of a communicator and its next tag.
fn context<'py>(comm: &Bound<'py, Comm>) -> PyResult<(Bound<'py, PyDict>, c_int)> {
    let py = comm.py();
    let raw = comm.get().raw();
    let made = owned(py, raw, contexts_keyval(py)?, || {
        let context = PyDict::new(py);
        let class = if comm.get().inter_now()? { py.get_type::<Intercomm>() } else { py.get_type::<Intracomm>() };
        // SAFETY: the result pointer is valid for the write.
        let duplicate = handle::create_blocking::<Comm>(&class, |out| unsafe { MPI_Comm_dup(raw, out) })?;
        context.set_item("comm", duplicate)?;
        context.set_item("tag", 0)?;
        Ok(context.into_any())
    })?;
    let context = made.cast_into::<PyDict>()?;
    let tag: c_int = context.get_item("tag")?.map_or(Ok(0), |tag| tag.extract())?;
    // Every library offers at least these tags.
    context.set_item("tag", (tag + 1) % 32768)?;
    Ok((context, tag))
}

/// _commctx_intra(comm: Intracomm) -> tuple[Intracomm, int]
///
/// Return the private duplicate of a communicator and a fresh tag on it. Collective the first time.
#[pyfunction]
fn _commctx_intra<'py>(comm: &Bound<'py, Intracomm>) -> PyResult<(Option<Bound<'py, PyAny>>, c_int)> {
    let (context, tag) = context(comm.as_super())?;
    Ok((context.get_item("comm")?, tag))
}

/// The local group of an intercommunicator as an intracommunicator, and whether it is the one that orders itself first.
fn local_side(py: Python<'_>, raw: MPI_Comm) -> PyResult<(MPI_Comm, bool)> {
    let (mut size, mut remote, mut merged, mut rank) = (0, 0, MPI_COMM_NULL, 0);
    let (mut group, mut local) = (MPI_GROUP_NULL, MPI_COMM_NULL);
    // SAFETY: all pointers are valid for the calls' writes.
    gil::detached(py, || unsafe {
        check(MPI_Comm_size(raw, &mut size))?;
        check(MPI_Comm_remote_size(raw, &mut remote))?;
        check(MPI_Intercomm_merge(raw, c_int::from(size > remote), &mut merged))?;
        check(MPI_Comm_rank(merged, &mut rank))?;
        check(MPI_Comm_group(raw, &mut group))?;
        check(MPI_Comm_create(merged, group, &mut local))?;
        check(MPI_Group_free(&mut group))?;
        check(MPI_Comm_free(&mut merged))
    })?;
    let low = match size.cmp(&remote) {
        std::cmp::Ordering::Less => true,
        std::cmp::Ordering::Greater => false,
        std::cmp::Ordering::Equal => rank < size,
    };
    Ok((local, low))
}

/// The duplicate, a tag, the local intracommunicator, and whether this is the low group.
type InterContext<'py> = (Option<Bound<'py, PyAny>>, c_int, Option<Bound<'py, PyAny>>, bool);

/// _commctx_inter(comm: Intercomm) -> tuple[Intercomm, int, Intracomm, bool]
///
/// Return the private duplicate of an intercommunicator, a tag, the local intracommunicator, and whether it is the low one.
///
/// Collective the first time.
#[pyfunction]
fn _commctx_inter<'py>(comm: &Bound<'py, Intercomm>) -> PyResult<InterContext<'py>> {
    let py = comm.py();
    let (context, tag) = context(comm.as_super())?;
    if !context.contains("local")? {
        let (local, low) = local_side(py, comm.as_super().get().raw())?;
        context.set_item("local", handle::instance::<Comm>(&py.get_type::<Intracomm>(), local)?)?;
        context.set_item("low", low)?;
    }
    let low = context.get_item("low")?.is_some_and(|low| low.is_truthy().unwrap_or(false));
    Ok((context.get_item("comm")?, tag, context.get_item("local")?, low))
}

/// Adds the functions of this file to the module.
pub(super) fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    for function in [
        wrap_pyfunction!(_comm_lock, m)?,
        wrap_pyfunction!(_comm_lock_table, m)?,
        wrap_pyfunction!(_commctx_intra, m)?,
        wrap_pyfunction!(_commctx_inter, m)?,
    ] {
        m.add_function(function)?;
    }
    Ok(())
}
