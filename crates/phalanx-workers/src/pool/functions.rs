//! Functions as bytes, and their numbers.
//!
//! A plain function that pickle names is looked up by identity: it is pickled once. What is pickled by value (a lambda, a
//! closure) and what has state (partial functions, bound methods, callable objects) is pickled at each call, since it may
//! have changed; equal bytes are the same function, which a worker makes once.
//!
//! A function that carries arrays has its own copy of them in shared memory, so that its bytes are never equal to others.
//! It is not remembered: the ledger has it, and what it holds goes with the last job that uses it.
//!
//! No Python code runs while the functions or the engine are locked: looking up an attribute may be such code, and may let
//! another thread in that wants the same locks.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Mutex, PoisonError};

use phalanx_pool::{FunctionId, Keep};
use phalanx_shm::Block;
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::PyCFunction;

use super::shared::Shared;
use crate::codec::{By, Encoded, Wire, encode};
use crate::text;

/// So many functions are remembered.
const REMEMBERED: usize = 512;

/// A function whose bytes refer to so much shared memory is not remembered.
const LARGE: usize = 64 << 10;

/// A function and what its bytes refer to. The ledger has those that are not remembered.
struct Held {
    function: Py<PyAny>,
    _blocks: Vec<Block>,
    keep: Vec<Py<PyAny>>,
}

/// A function that is remembered, as it was pickled.
struct Known {
    /// The function itself if it is plain. Others are kept by the ledger while jobs use them: they may be all that a
    /// large object hangs on.
    function: Option<Py<PyAny>>,
    _blocks: Vec<Block>,
    keep: Vec<Py<PyAny>>,
    bytes: Wire,
    by_value: bool,
}

/// The functions of a supervisor.
#[derive(Default)]
pub(super) struct Functions {
    entries: HashMap<FunctionId, Known>,
    by_object: HashMap<usize, FunctionId>,
    by_bytes: HashMap<Wire, FunctionId>,
    /// Numbers that were given out for jobs which the ledger does not have yet, and how often.
    pinned: HashMap<FunctionId, u32>,
}

/// The number of a function for a job that is to come: it is not forgotten meanwhile.
pub(super) struct Pinned<'a> {
    functions: &'a Mutex<Functions>,
    pub(super) id: FunctionId,
    /// Whether somebody has to keep the function itself, as long as the job is not done.
    pub(super) is_loose: bool,
}

impl<'a> Pinned<'a> {
    /// `lock` is the lock of `functions`.
    fn new(functions: &'a Mutex<Functions>, lock: &mut Functions, id: FunctionId) -> Pinned<'a> {
        *lock.pinned.entry(id).or_insert(0) += 1;
        let is_loose = lock.entries.get(&id).is_some_and(|entry| entry.function.is_none());
        Pinned { functions, id, is_loose }
    }
}

impl Drop for Pinned<'_> {
    fn drop(&mut self) {
        let mut functions = self.functions.lock().unwrap_or_else(PoisonError::into_inner);
        if let Entry::Occupied(mut count) = functions.pinned.entry(self.id) {
            *count.get_mut() -= 1;
            if *count.get() == 0 {
                count.remove();
            }
        }
    }
}

/// What is to be known of a function, and found out before anything is locked.
struct Looks {
    name: String,
    plain: bool,
}

/// Whether the object is a function of a module: pickled by name, without state.
fn is_plain(function: &Bound<'_, PyAny>) -> bool {
    use pyo3::types::PyFunction;
    function.is_exact_instance_of::<PyFunction>()
        || function.is_exact_instance_of::<pyo3::types::PyType>()
        || function.cast_exact::<PyCFunction>().is_ok_and(|function| {
            let owner = function.getattr(intern!(function.py(), "__self__"));
            owner.is_ok_and(|owner| owner.is_none() || owner.is_instance_of::<PyModule>())
        })
}

/// Whether cloudpickle took part.
fn is_by_value(bytes: &[u8]) -> bool {
    bytes.windows(11).any(|window| window == b"cloudpickle")
}

/// What a function is called in messages. May run Python code.
///
/// # Errors
/// What [interrupts](text::is_interrupt) this thread.
pub(super) fn name_of(function: &Bound<'_, PyAny>) -> PyResult<String> {
    let py = function.py();
    let attribute = |object: &Bound<'_, PyAny>, name| match object.getattr(name) {
        Err(error) if text::is_interrupt(py, &error) => Err(error),
        found => Ok(found.ok().map(Bound::unbind)),
    };
    let mut name = attribute(function, intern!(py, "__qualname__"))?;
    if name.is_none()
        && let Some(inner) = attribute(function, intern!(py, "func"))?
    {
        name = attribute(inner.bind(py), intern!(py, "__qualname__"))?;
    }
    match name.or_else(|| Some(function.get_type().qualname().ok()?.into_any().unbind())) {
        Some(name) => text::of(name.bind(py)),
        None => Ok("the function".to_owned()),
    }
}

impl Functions {
    fn find(&self, function: &Bound<'_, PyAny>) -> Result<FunctionId, By> {
        match self
            .by_object
            .get(&function.as_ptr().addr())
            .and_then(|id| self.entries.get(id).map(|entry| (*id, entry)))
        {
            Some((id, entry)) if !entry.by_value => Ok(id),
            Some(_) => Err(By::Value),
            None => Err(By::Reference),
        }
    }

    /// Whether another function had these bytes, which name it: it was defined once more (in a notebook, say).
    fn is_redefined(&self, wire: &Wire, function: &Bound<'_, PyAny>) -> bool {
        let known = self.by_bytes.get(wire).and_then(|id| self.entries.get(id));
        known.is_some_and(|entry| !entry.by_value && entry.function.as_ref().is_some_and(|known| !known.is(function)))
    }

    /// The number of a function with these bytes. `gone` gets what is to be dropped without the lock.
    fn add(
        &mut self,
        shared: &Shared,
        function: &Bound<'_, PyAny>,
        looks: &Looks,
        encoded: Encoded,
        by_value: bool,
        gone: &mut (Vec<Known>, Option<Held>),
    ) -> FunctionId {
        let by_value = by_value || is_by_value(&encoded.wire);
        let passing = is_passing(&encoded);
        let Encoded { wire, blocks, keep, .. } = encoded;
        let held = Held { function: function.clone().unbind(), _blocks: blocks, keep };
        if passing {
            return shared.engine_under_lock().ledger().add_function(
                &looks.name,
                &wire,
                by_value,
                Some(Box::new(held)),
            );
        }
        if let Some(id) = self.by_bytes.get(&wire) {
            gone.1 = Some(held);
            return *id;
        }
        if self.entries.len() >= REMEMBERED {
            self.shrink(shared, &mut gone.0);
        }
        let id = shared.engine_under_lock().ledger().add_function(&looks.name, &wire, by_value, None);
        if looks.plain {
            self.by_object.insert(function.as_ptr().addr(), id);
        }
        self.by_bytes.insert(wire.clone(), id);
        let Held { function, _blocks, keep } = held;
        let (kept, left) = if looks.plain { (Some(function), None) } else { (None, Some(function)) };
        self.entries.insert(id, Known { function: kept, _blocks, keep, bytes: wire, by_value });
        // The caller has it too, so this runs no destructor.
        drop(left);
        id
    }

    /// Forgets functions that no job uses.
    fn shrink(&mut self, shared: &Shared, gone: &mut Vec<Known>) {
        let ids: Vec<FunctionId> = self.entries.keys().copied().collect();
        for id in ids {
            if !self.pinned.contains_key(&id)
                && shared.engine_under_lock().ledger().drop_function(id)
                && let Some(entry) = self.entries.remove(&id)
            {
                self.by_bytes.remove(&entry.bytes);
                if let Some(function) = &entry.function {
                    self.by_object.remove(&function.as_ptr().addr());
                }
                gone.push(entry);
            }
        }
    }

    /// A function was pickled by value because a worker could not find it by name. Its new bytes, and what the ledger is
    /// to hold for them.
    fn now_by_value(&mut self, id: FunctionId, function: Py<PyAny>, encoded: Encoded) -> ByValue {
        let passing = is_passing(&encoded);
        let Encoded { wire, blocks, keep, .. } = encoded;
        let mut held = Held { function, _blocks: blocks, keep };
        if let Some(entry) = self.entries.get_mut(&id) {
            self.by_bytes.remove(&entry.bytes);
            entry.by_value = true;
            entry.bytes = wire.clone();
            if !passing {
                self.by_bytes.insert(wire.clone(), id);
                entry._blocks.append(&mut held._blocks);
                entry.keep.append(&mut held.keep);
            }
        }
        let hold = passing || !self.entries.contains_key(&id);
        ByValue { bytes: wire, keep: hold.then(|| Box::new(held) as Keep) }
    }

    /// Shows the garbage collector what is remembered.
    pub(super) fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        for entry in self.entries.values() {
            visit.call(&entry.function)?;
            entry.keep.iter().try_for_each(|object| visit.call(object))?;
        }
        Ok(())
    }
}

/// A function by value.
struct ByValue {
    bytes: Wire,
    keep: Option<Keep>,
}

/// Whether a function is given back with its last job.
fn is_passing(encoded: &Encoded) -> bool {
    encoded.copied || encoded.blocks.iter().map(Block::len).sum::<usize>() > LARGE
}

/// The object of a number.
fn object(functions: &Mutex<Functions>, shared: &Shared, py: Python<'_>, id: FunctionId) -> Option<Py<PyAny>> {
    let functions = functions.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(function) = functions.entries.get(&id).and_then(|entry| entry.function.as_ref()) {
        return Some(function.clone_ref(py));
    }
    let mut engine = shared.engine_under_lock();
    if let Some(function) = engine.ledger().held_for_function(id).and_then(|held| held.downcast_ref::<Py<PyAny>>()) {
        return Some(function.clone_ref(py));
    }
    let held = engine.ledger().function_keep(id)?.downcast_ref::<Held>()?;
    Some(held.function.clone_ref(py))
}

/// Answers the ledger's wish for a function by value.
pub(super) fn send_by_value(functions: &Mutex<Functions>, shared: &Shared, py: Python<'_>, id: FunctionId) {
    let found = object(functions, shared, py, id);
    let encoded = found.and_then(|function| Some((encode(py, function.bind(py), By::Value).ok()?, function)));
    let answer = encoded.map(|(encoded, function)| {
        functions.lock().unwrap_or_else(PoisonError::into_inner).now_by_value(id, function, encoded)
    });
    let (bytes, keep) = match answer {
        Some(ByValue { bytes, keep }) => (Some(bytes), keep),
        None => (None, None),
    };
    shared.engine().ledger().set_function(id, bytes.as_deref(), keep);
}

/// The number of a function; adds it to the ledger when it is new there. A job is to use it: one that is not remembered
/// goes with its last one.
///
/// # Errors
/// What pickling raises.
pub(super) fn number<'a>(
    functions: &'a Mutex<Functions>,
    shared: &Shared,
    function: &Bound<'_, PyAny>,
) -> PyResult<Pinned<'a>> {
    let lock = || functions.lock().unwrap_or_else(PoisonError::into_inner);
    let mut locked = lock();
    let mut by = match locked.find(function) {
        Ok(id) => return Ok(Pinned::new(functions, &mut locked, id)),
        Err(by) => by,
    };
    drop(locked);
    // Pickling may run Python code and switch threads, and so may looking at the function: without the lock.
    let mut encoded = encode(function.py(), function, by)?;
    if by == By::Reference && lock().is_redefined(&encoded.wire, function) {
        // Workers may have the old one under this name.
        by = By::Value;
        encoded = encode(function.py(), function, by)?;
    }
    let looks = Looks { name: name_of(function)?, plain: is_plain(function) };
    let mut gone = (Vec::new(), None);
    let mut locked = lock();
    let id = locked.add(shared, function, &looks, encoded, by == By::Value, &mut gone);
    let pinned = Pinned::new(functions, &mut locked, id);
    drop(locked);
    drop(gone);
    Ok(pinned)
}
