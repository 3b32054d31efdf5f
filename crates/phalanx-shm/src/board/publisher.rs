//! The supervisor's side: publishing tasks, and knowing which worker has which.

use std::collections::VecDeque;

use super::claims::{self, Phase};
use super::layout::cell;
use super::{Board, MAX_ITEMS};
use crate::sleep::{SleepWord, WAITING};
use crate::sync::Ordering;

/// What is published: a chunk of items for one function.
#[derive(Clone, Copy, Debug)]
pub struct Task<'a> {
    /// Its number, never used before; not 0.
    pub dispatch: u64,
    /// The function's number.
    pub function: u64,
    /// For the worker loop; the board does not look at them.
    pub flags: u32,
    /// How many items, at most [`MAX_ITEMS`].
    pub count: u32,
    /// The function as bytes.
    pub function_bytes: &'a [u8],
    /// The items as bytes.
    pub items: &'a [u8],
}

/// A published task, as the publisher remembers it.
#[derive(Clone, Copy, Debug)]
struct Published {
    dispatch: u64,
    /// Where its payload ends.
    end: u64,
}

/// The one publisher of a board. Wait-free, apart from wake-up calls for sleeping workers.
#[derive(Debug)]
pub struct Publisher {
    board: Board,
    /// First position that may still be in use.
    oldest: u64,
    /// Next position.
    tail: u64,
    /// Payload bytes before this are free, up to one size of the ring.
    payload_oldest: u64,
    payload_tail: u64,
    /// One per position from `oldest` to `tail`.
    published: VecDeque<Published>,
    /// Where the search for a sleeping worker begins.
    turn: u32,
    /// Published since the last wake-up calls.
    unannounced: u32,
}

impl Publisher {
    /// The publisher of a new board; there must be one only.
    pub fn new(board: Board) -> Publisher {
        Publisher {
            board,
            oldest: 0,
            tail: 0,
            payload_oldest: 0,
            payload_tail: 0,
            published: VecDeque::new(),
            turn: 0,
            unannounced: 0,
        }
    }

    /// The board.
    pub fn board(&self) -> &Board {
        &self.board
    }

    /// Most bytes a task may carry.
    pub fn max_bytes(&self) -> usize {
        self.board.shape().payload as usize / 4
    }

    /// How many published tasks no worker had taken at the last [`Publisher::note`].
    pub fn waiting(&self) -> usize {
        self.published.len()
    }

    /// Publishes a task; false when the board is full (call [`Publisher::note`], or wait for workers) or the task
    /// carries more than [`Publisher::max_bytes`]. Workers that sleep hear of it by [`Publisher::announce`].
    pub fn publish(&mut self, task: &Task<'_>) -> bool {
        let shape = self.board.shape();
        let bytes = task.function_bytes.len() + task.items.len();
        let size = u64::from(shape.payload);
        if self.tail - self.oldest >= u64::from(shape.cells) || bytes > self.max_bytes() || task.count > MAX_ITEMS {
            return false;
        }
        // In one piece: the rest of the ring is left out when it is too short.
        let mut start = self.payload_tail;
        let left = size - (start & (size - 1));
        if left < bytes as u64 {
            start += left;
        }
        let end = start + (bytes as u64).next_multiple_of(8);
        if end - self.payload_oldest > size {
            return false;
        }
        let memory = self.board.bytes(shape.payload_at(start), bytes);
        memory.copy_from(task.function_bytes);
        memory.slice(task.function_bytes.len(), task.items.len()).copy_from(task.items);

        let pair = |low: u32, high: u32| u64::from(high) << 32 | u64::from(low);
        for (field, value) in [
            (cell::DISPATCH, task.dispatch),
            (cell::FUNCTION, task.function),
            (cell::PAYLOAD, start),
            (cell::BYTES, pair(bytes as u32, task.function_bytes.len() as u32)),
            (cell::COUNT, pair(task.count, task.flags)),
        ] {
            // Relaxed: published by the store to the cell's word.
            self.board.cell_word(self.tail, field).store(value, Ordering::Relaxed);
        }
        claims::publish(self.board.cell_word(self.tail, cell::WORD), self.tail);
        self.published.push_back(Published { dispatch: task.dispatch, end });
        self.tail += 1;
        self.payload_tail = end;
        self.unannounced += 1;
        true
    }

    /// Wakes as many sleeping workers as tasks were published since the last call.
    pub fn announce(&mut self) {
        let wanted = std::mem::take(&mut self.unannounced);
        self.wake(wanted);
    }

    /// Wakes up to `wanted` sleeping workers.
    fn wake(&mut self, mut wanted: u32) {
        if wanted == 0 {
            return;
        }
        // Before the looks at the workers' words.
        SleepWord::published();
        let workers = self.board.shape().workers;
        for _ in 0..workers {
            self.turn = (self.turn + 1) % workers;
            let park = self.board.park(self.turn);
            if park.may_sleep() {
                park.notify_all(WAITING);
                wanted -= 1;
                if wanted == 0 {
                    return;
                }
            }
        }
    }

    /// Frees the cells whose tasks workers have taken, oldest first; tells of each task which worker took it.
    #[inline]
    pub fn note(&mut self, mut took: impl FnMut(u64, u32)) {
        let mut passed_by_nobody = false;
        while let Some(oldest) = self.published.front() {
            let found = claims::look(self.board.cell_word(self.oldest, cell::WORD));
            if found.phase != Phase::Taken {
                break;
            }
            if found.worker == claims::PUBLISHER {
                passed_by_nobody = true;
            } else {
                took(oldest.dispatch, found.worker);
            }
            self.payload_oldest = oldest.end;
            self.oldest += 1;
            self.published.pop_front();
        }
        // Who claims a cell moves the hint past it. Withdrawn ones are passed by whoever looks next, which may be nobody
        // for laps.
        if passed_by_nobody {
            claims::lead(self.board.next(), self.oldest);
        }
    }

    /// Tells of every task that the worker of a slot, which is dead, had claimed and [`Publisher::note`] has not told
    /// of. Wakes others, since the dead worker may have been the one that was woken for a task.
    pub fn bury(&mut self, number: u32, mut took: impl FnMut(u64)) {
        let mut ready = 0;
        for (position, published) in (self.oldest..).zip(&self.published) {
            let word = self.board.cell_word(position, cell::WORD);
            let found = claims::look(word);
            match found.phase {
                Phase::Ready => ready += 1,
                Phase::Claimed | Phase::Taken if found.worker == number => {
                    took(published.dispatch);
                    // What it told of must not be told again of the next worker of the slot.
                    claims::taken(word, position, claims::PUBLISHER);
                }
                Phase::Claimed | Phase::Taken => {}
            }
        }
        self.wake(ready);
    }

    /// Takes back what nobody has claimed and `unwanted` holds for; tells of each.
    pub fn withdraw(&mut self, mut unwanted: impl FnMut(u64) -> bool, mut gone: impl FnMut(u64)) {
        for (position, published) in (self.oldest..).zip(&self.published) {
            let word = self.board.cell_word(position, cell::WORD);
            if claims::look(word).phase == Phase::Ready
                && unwanted(published.dispatch)
                && claims::withdraw(word, position)
            {
                gone(published.dispatch);
            }
        }
    }
}
