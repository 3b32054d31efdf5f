//! The protocol of a queue on loom's heap: locks, places, counts and sleepers are the real ones, records are cells.
//!
//! Cells are used again when they have been read, as chunks are. The steps are those of `put.rs`, `get.rs` and `wait.rs`.

use loom::cell::UnsafeCell;

use super::side::{Place, Places};
use crate::owned::{Life, OwnedGuard, OwnedLock};
use crate::sleep::{Deadline, SLICE, SleepWord, WAITING};
use crate::sync::{AtomicU64, Ordering};

/// A queue of numbers.
#[derive(Debug)]
pub struct LoomQueue {
    put: (OwnedLock, Places),
    get: (OwnedLock, Places),
    tail: AtomicU64,
    head: AtomicU64,
    cells: Vec<UnsafeCell<u64>>,
    items: SleepWord,
    room: SleepWord,
}

// SAFETY: cells are accessed under the side's lock and between publications; loom reports if they are not.
unsafe impl Sync for LoomQueue {}

struct Everybody;

impl Life for Everybody {
    fn me(&self) -> u32 {
        1
    }

    fn died(&self, _: u32) -> Option<u32> {
        None
    }
}

impl LoomQueue {
    /// An empty queue with room for `room` numbers.
    pub fn new(room: usize) -> LoomQueue {
        let side = || (OwnedLock::new(), Places::new());
        LoomQueue {
            put: side(),
            get: side(),
            tail: AtomicU64::new(0),
            head: AtomicU64::new(0),
            cells: (0..room).map(|_| UnsafeCell::new(0)).collect(),
            items: SleepWord::new(),
            room: SleepWord::new(),
        }
    }

    fn next(&self, place: Place) -> Place {
        Place { at: (place.at + 1) % self.cells.len() as u32, ..place }
    }

    fn lock<'a>(&self, lock: &'a OwnedLock) -> OwnedGuard<'a> {
        lock.lock_until(&Everybody, Deadline::NEVER).unwrap()
    }

    /// Puts a number, if there is room.
    pub fn try_put(&self, number: u64) -> bool {
        let guard = self.lock(&self.put.0);
        let tail = self.tail.load(Ordering::Relaxed);
        if tail - self.head.load(Ordering::Acquire) >= self.cells.len() as u64 {
            return false;
        }
        let place = self.put.1.get(tail);
        // SAFETY: loom lends the cell to this closure only, and reports whoever else touches it.
        self.cells[place.at as usize].with_mut(|cell| unsafe { *cell = number });
        self.put.1.set(tail + 1, self.next(place));
        self.tail.store(tail + 1, Ordering::Release);
        drop(guard);
        SleepWord::published_by_atomic();
        self.items.notify_one();
        true
    }

    /// Gets a number, if there is one.
    pub fn try_get(&self) -> Option<u64> {
        let guard = self.lock(&self.get.0);
        let head = self.head.load(Ordering::Relaxed);
        if self.tail.load(Ordering::Acquire) == head {
            return None;
        }
        let place = self.get.1.get(head);
        // SAFETY: as in `try_put`.
        let number = self.cells[place.at as usize].with(|cell| unsafe { *cell });
        self.get.1.set(head + 1, self.next(place));
        self.head.store(head + 1, Ordering::Release);
        drop(guard);
        SleepWord::published_by_atomic();
        self.room.notify_one();
        Some(number)
    }

    /// Gets a number, sleeping until there is one.
    pub fn get(&self) -> u64 {
        loop {
            if let Some(number) = self.try_get() {
                return number;
            }
            let token = self.items.announce(WAITING);
            if self.tail.load(Ordering::Acquire) == self.head.load(Ordering::Acquire) {
                self.items.sleep(token, Some(SLICE));
            }
        }
    }

    /// Puts a number, sleeping until there is room.
    pub fn put(&self, number: u64) {
        while !self.try_put(number) {
            let token = self.room.announce(WAITING);
            let head = self.head.load(Ordering::Acquire);
            if self.tail.load(Ordering::Acquire) - head >= self.cells.len() as u64 {
                self.room.sleep(token, Some(SLICE));
            }
        }
    }
}
