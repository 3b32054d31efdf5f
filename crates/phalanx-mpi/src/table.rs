//! Tables of the objects behind dynamic handles.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::handle::{GENERATION_BITS, INDEX_BITS, Kind, token, untoken};

/// The objects of one kind, by token. Slots are reused in the order in which they were freed, so that
/// a stale handle is recognised for as long as the generation bits allow.
pub(crate) struct Table<T> {
    kind: Kind,
    slots: Mutex<Slots<T>>,
}

/// The inside of a [`Table`].
pub(crate) struct Slots<T> {
    entries: Vec<Entry<T>>,
    free: VecDeque<u32>,
}

struct Entry<T> {
    generation: u8,
    value: Option<T>,
}

impl<T> Table<T> {
    /// An empty table for objects of `kind`.
    pub(crate) const fn new(kind: Kind) -> Table<T> {
        Table { kind, slots: Mutex::new(Slots { entries: Vec::new(), free: VecDeque::new() }) }
    }

    /// Locks the table for several steps at once.
    pub(crate) fn lock(&self) -> MutexGuard<'_, Slots<T>> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps `value` and gives its token; `None` when four million objects of the kind exist.
    pub(crate) fn insert(&self, value: T) -> Option<usize> {
        self.insert_with(|_| value)
    }

    /// Keeps what `make` gives for the token it will have.
    pub(crate) fn insert_with(&self, make: impl FnOnce(usize) -> T) -> Option<usize> {
        let mut slots = self.lock();
        let index = match slots.free.pop_front() {
            Some(index) => index as usize,
            None => {
                let index = slots.entries.len();
                if index >= 1 << INDEX_BITS {
                    return None;
                }
                slots.entries.push(Entry { generation: 0, value: None });
                index
            }
        };
        let entry = slots.entries.get_mut(index)?;
        let raw = token(self.kind, entry.generation, index);
        entry.value = Some(make(raw));
        Some(raw)
    }

    /// Takes the object out and forgets its token.
    pub(crate) fn remove(&self, raw: usize) -> Option<T> {
        self.lock().remove(self.kind, raw)
    }
}

impl<T: Clone> Table<T> {
    /// The object behind a token.
    pub(crate) fn get(&self, raw: usize) -> Option<T> {
        let (generation, index) = untoken(self.kind, raw)?;
        let slots = self.lock();
        let entry = slots.entries.get(index)?;
        if entry.generation == generation { entry.value.clone() } else { None }
    }
}

impl<T> Slots<T> {
    /// The object behind a token, for changing it in place.
    pub(crate) fn get_mut(&mut self, kind: Kind, raw: usize) -> Option<&mut T> {
        let (generation, index) = untoken(kind, raw)?;
        let entry = self.entries.get_mut(index)?;
        if entry.generation == generation { entry.value.as_mut() } else { None }
    }

    /// Takes the object out and forgets its token.
    pub(crate) fn remove(&mut self, kind: Kind, raw: usize) -> Option<T> {
        let (generation, index) = untoken(kind, raw)?;
        let entry = self.entries.get_mut(index)?;
        if entry.generation != generation {
            return None;
        }
        let value = entry.value.take()?;
        entry.generation = (entry.generation + 1) & ((1 << GENERATION_BITS) - 1);
        self.free.push_back(index as u32);
        Some(value)
    }
}
