//! Tables of the objects behind dynamic handles.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::check;
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
        drop(slots);
        check::made(raw);
        Some(raw)
    }

    /// Takes the object out and forgets its token.
    pub(crate) fn remove(&self, raw: usize) -> Option<T> {
        self.lock().remove(self.kind, raw)
    }

    /// The tokens of the objects for which `which` holds.
    pub(crate) fn tokens(&self, which: impl Fn(&T) -> bool) -> Vec<usize> {
        let slots = self.lock();
        let found = slots.entries.iter().enumerate().filter(|(_, entry)| entry.value.as_ref().is_some_and(&which));
        found.map(|(index, entry)| token(self.kind, entry.generation, index)).collect()
    }

    /// Takes out every object for which `which` holds.
    pub(crate) fn remove_all(&self, which: impl Fn(&T) -> bool) -> Vec<T> {
        self.tokens(which).into_iter().filter_map(|raw| self.remove(raw)).collect()
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
        check::gone(raw);
        Some(value)
    }
}

#[cfg(test)]
mod tests {
    use super::Table;
    use crate::handle::{GENERATION_BITS, Kind};

    #[test]
    fn a_token_finds_its_object_until_it_is_removed() {
        let table: Table<u32> = Table::new(Kind::Group);
        let one = table.insert(1).expect("room");
        let two = table.insert(2).expect("room");
        assert_ne!(one, two);
        assert!(one > 0x1000 && i32::try_from(one).is_ok());
        assert_eq!((table.get(one), table.get(two)), (Some(1), Some(2)));
        assert_eq!(table.remove(one), Some(1));
        assert_eq!((table.get(one), table.remove(one)), (None, None));
        assert_eq!(table.get(two), Some(2));
    }

    #[test]
    fn a_stale_token_is_not_the_new_object_in_its_slot() {
        let table: Table<u32> = Table::new(Kind::Comm);
        let mut seen = Vec::new();
        for round in 0..1 << GENERATION_BITS {
            let token = table.insert(round).expect("room");
            assert!(!seen.contains(&token));
            assert!(seen.iter().all(|old| table.get(*old).is_none()));
            seen.push(token);
            assert_eq!(table.remove(token), Some(round));
        }
    }

    #[test]
    fn other_kinds_and_garbage_are_not_found() {
        let comms: Table<u32> = Table::new(Kind::Comm);
        let groups: Table<u32> = Table::new(Kind::Group);
        let token = comms.insert(7).expect("room");
        for raw in [0, 1, 0x101, usize::MAX, token + 1, token | (1 << 40), token ^ (1 << 25)] {
            assert_eq!(comms.get(raw), None, "{raw:#x}");
            assert_eq!(comms.remove(raw), None, "{raw:#x}");
        }
        assert_eq!(groups.get(token), None);
        assert_eq!(comms.get(token), Some(7));
    }
}
