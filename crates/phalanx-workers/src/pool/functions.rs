//! Functions as bytes, and their numbers.
//!
//! A plain function that pickle names is looked up by identity: it is pickled once. What is pickled by value (a lambda, a
//! closure) and what has state (partial functions, bound methods, callable objects) is pickled at each call, since it may
//! have changed; equal bytes are the same function, which a worker makes once.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use phalanx_pool::FunctionId;
use phalanx_shm::Block;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::PyCFunction;

use super::shared::Shared;
use crate::codec::{By, Encoded, Wire, encode};

/// So many functions are remembered.
const REMEMBERED: usize = 512;

/// A function as it was pickled.
struct Entry {
    function: Py<PyAny>,
    /// What its bytes refer to.
    _blocks: Vec<Block>,
    _keep: Vec<Py<PyAny>>,
    bytes: Wire,
    by_value: bool,
    plain: bool,
}

/// The functions of a supervisor.
#[derive(Default)]
pub(super) struct Functions {
    entries: HashMap<FunctionId, Entry>,
    by_object: HashMap<usize, FunctionId>,
    by_bytes: HashMap<Wire, FunctionId>,
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

/// What a function is called in messages.
pub(super) fn name_of(function: &Bound<'_, PyAny>) -> String {
    let py = function.py();
    let name = function
        .getattr(intern!(py, "__qualname__"))
        .or_else(|_| function.getattr(intern!(py, "func")).and_then(|inner| inner.getattr(intern!(py, "__qualname__"))))
        .or_else(|_| function.get_type().qualname().map(Bound::into_any));
    name.map_or_else(|_| "the function".to_owned(), |name| name.to_string())
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
        known.is_some_and(|entry| entry.plain && !entry.by_value && !entry.function.is(function))
    }

    fn add(
        &mut self,
        shared: &Shared,
        function: &Bound<'_, PyAny>,
        encoded: Encoded,
        by_value: bool,
        gone: &mut Vec<Entry>,
    ) -> FunctionId {
        let by_value = by_value || is_by_value(&encoded.wire);
        let Encoded { wire, blocks, keep, .. } = encoded;
        if let Some(id) = self.by_bytes.get(&wire) {
            return *id;
        }
        if self.entries.len() >= REMEMBERED {
            self.shrink(shared, gone);
        }
        let id = shared.engine().ledger().add_function(&name_of(function), &wire, by_value);
        let plain = is_plain(function);
        if plain {
            self.by_object.insert(function.as_ptr().addr(), id);
        }
        self.by_bytes.insert(wire.clone(), id);
        let function = function.clone().unbind();
        self.entries.insert(id, Entry { function, _blocks: blocks, _keep: keep, bytes: wire, by_value, plain });
        id
    }

    /// Forgets functions that no job uses.
    fn shrink(&mut self, shared: &Shared, gone: &mut Vec<Entry>) {
        let ids: Vec<FunctionId> = self.entries.keys().copied().collect();
        for id in ids {
            if shared.engine().ledger().drop_function(id)
                && let Some(entry) = self.entries.remove(&id)
            {
                self.by_bytes.remove(&entry.bytes);
                if entry.plain {
                    self.by_object.remove(&entry.function.as_ptr().addr());
                }
                gone.push(entry);
            }
        }
    }

    /// The object of a number.
    pub(super) fn object(&self, py: Python<'_>, id: FunctionId) -> Option<Py<PyAny>> {
        self.entries.get(&id).map(|entry| entry.function.clone_ref(py))
    }

    /// A function was pickled by value because a worker could not find it by name.
    pub(super) fn now_by_value(&mut self, id: FunctionId, encoded: Encoded) -> Wire {
        let Encoded { wire, blocks, keep, .. } = encoded;
        if let Some(entry) = self.entries.get_mut(&id) {
            self.by_bytes.remove(&entry.bytes);
            self.by_bytes.insert(wire.clone(), id);
            entry.by_value = true;
            entry.bytes = wire.clone();
            entry._blocks.extend(blocks);
            entry._keep.extend(keep);
        }
        wire
    }
}

/// The number of a function; adds it to the ledger when it is new there.
///
/// # Errors
/// What pickling raises.
pub(super) fn number(
    functions: &Mutex<Functions>,
    shared: &Shared,
    function: &Bound<'_, PyAny>,
) -> PyResult<FunctionId> {
    let lock = || functions.lock().unwrap_or_else(PoisonError::into_inner);
    let found = lock().find(function);
    let by = match found {
        Ok(id) => return Ok(id),
        Err(by) => by,
    };
    // Pickling may run Python code and switch threads: without the lock.
    let mut encoded = encode(function.py(), function, by)?;
    let mut by = by;
    if by == By::Reference && lock().is_redefined(&encoded.wire, function) {
        // Workers may have the old one under this name.
        by = By::Value;
        encoded = encode(function.py(), function, by)?;
    }
    let mut gone = Vec::new();
    let id = lock().add(shared, function, encoded, by == By::Value, &mut gone);
    drop(gone);
    Ok(id)
}
