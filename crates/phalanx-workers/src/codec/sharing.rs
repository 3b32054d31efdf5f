//! Buffers that several messages of one call have in common: copied into shared memory once.
//!
//! `pool.starmap(f, [(big, 1), (big, 2), ...])` names one array in every task. While a [`Sharing`] exists, the messages
//! that its thread makes share the blocks of such buffers, and say that their readers get them copy-on-write: as from
//! the standard module, no task sees what another one writes.

use std::cell::RefCell;
use std::collections::HashMap;

use phalanx_object::View;
use phalanx_shm::Block;
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyBytes, PyFloat, PyInt, PyList, PyString, PyTuple};

/// Items that are looked at to find out whether something repeats.
const LOOKED_AT: usize = 16;

/// Where a buffer is and how long; the block that has its bytes, and what keeps the memory from being reused.
type Known = HashMap<(usize, usize), (Block, View)>;

thread_local! {
    static KNOWN: RefCell<Option<Known>> = const { RefCell::new(None) };
}

/// While this exists, messages made by this thread share blocks.
#[must_use = "sharing ends when this is dropped"]
pub(crate) struct Sharing {
    /// What an outer call shares.
    outer: Option<Known>,
}

impl Sharing {
    /// Begins when the first items have an object in common that may have a large buffer.
    pub(crate) fn begin(items: &Bound<'_, PyAny>) -> Option<Sharing> {
        repeats(items).then(|| Sharing { outer: KNOWN.with_borrow_mut(|known| known.replace(Known::new())) })
    }
}

impl Drop for Sharing {
    fn drop(&mut self) {
        let outer = self.outer.take();
        // Dropped outside the borrow: giving a buffer back may run code.
        drop(KNOWN.with_borrow_mut(|known| std::mem::replace(known, outer)));
    }
}

/// Whether this thread's messages share blocks now.
pub(super) fn is_on() -> bool {
    KNOWN.with_borrow(Option::is_some)
}

/// The block that has the bytes of a buffer already.
pub(super) fn find(view: &View) -> Option<Block> {
    let place = (view.address().addr(), view.length());
    KNOWN.with_borrow(|known| known.as_ref()?.get(&place).map(|(block, _)| block.clone()))
}

/// Remembers the block of a buffer for the messages to come.
pub(super) fn remember(view: View, block: &Block) {
    let place = (view.address().addr(), view.length());
    let before = KNOWN.with_borrow_mut(|known| Some(known.as_mut()?.insert(place, (block.clone(), view))));
    drop(before);
}

/// Whether the first items of a list or tuple have an object in common, as such or as members of tuples.
fn repeats(items: &Bound<'_, PyAny>) -> bool {
    let first: Vec<Bound<'_, PyAny>> = if let Ok(list) = items.cast::<PyList>() {
        list.iter().take(LOOKED_AT).collect()
    } else if let Ok(tuple) = items.cast::<PyTuple>() {
        tuple.iter().take(LOOKED_AT).collect()
    } else {
        return false;
    };
    let mut seen = Vec::new();
    for item in &first {
        let mut own = Vec::new();
        match item.cast_exact::<PyTuple>() {
            Ok(members) => own.extend(members.iter().filter(|member| !is_scalar(member)).map(|member| member.as_ptr())),
            Err(_) if !is_scalar(item) => own.push(item.as_ptr()),
            Err(_) => {}
        }
        if own.iter().any(|object| seen.contains(object)) {
            return true;
        }
        seen.extend(own);
    }
    false
}

/// Whether an object surely has no buffer that is sent beside the stream.
fn is_scalar(object: &Bound<'_, PyAny>) -> bool {
    object.is_none()
        || object.is_exact_instance_of::<PyInt>()
        || object.is_exact_instance_of::<PyFloat>()
        || object.is_exact_instance_of::<PyString>()
        || object.is_exact_instance_of::<PyBytes>()
        || object.is_exact_instance_of::<PyBool>()
}
