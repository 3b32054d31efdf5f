//! A worker's side: claiming tasks and sending results.

use std::time::Duration;

use super::claims;
use super::layout::{cell, slot};
use super::results::{self, HEADER, Record};
use super::{Board, Phase, now};
use crate::ShmError;
use crate::sleep::{WAITING, Woken, look_briefly};
use crate::sync::Ordering;

/// A claimed task. Its payload is in [`WorkerEnd::payload`] until the next claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claim {
    /// Its number.
    pub dispatch: u64,
    /// The function's number.
    pub function: u64,
    /// Flags for the worker loop.
    pub flags: u32,
    /// How many items.
    pub count: u32,
    /// How many bytes of the payload are the function; the items follow.
    pub function_bytes: usize,
}

/// The end of the board that a worker process has.
#[derive(Debug)]
pub struct WorkerEnd {
    board: Board,
    number: u32,
    /// How far the results are written.
    written: u64,
    /// How far the supervisor had read them when last looked.
    read: u64,
    payload: Vec<u8>,
    record: Vec<u8>,
}

impl WorkerEnd {
    /// The worker of the slot `number`, which must have been reset since the last one.
    ///
    /// # Errors
    ///
    /// [`ShmError::NoSuchSlot`].
    pub fn new(board: Board, number: u32) -> Result<WorkerEnd, ShmError> {
        let claimed = board.shape().workers;
        if number >= claimed {
            return Err(ShmError::NoSuchSlot { slot: number, claimed });
        }
        Ok(WorkerEnd { board, number, written: 0, read: 0, payload: Vec::new(), record: Vec::new() })
    }

    /// The board.
    pub fn board(&self) -> &Board {
        &self.board
    }

    /// The slot.
    pub fn number(&self) -> u32 {
        self.number
    }

    /// Whether this worker shall end now: it was told to, or there is nothing to do any more.
    #[inline]
    pub fn over(&self) -> bool {
        match self.board.phase() {
            Phase::Open => self.board.stopped(self.number),
            Phase::Drained => self.board.stopped(self.number) || !self.board.has_work(),
            Phase::Abandoned => true,
        }
    }

    /// Whether this worker shall begin nothing more, not even the next item of its task.
    #[inline]
    pub fn stopped(&self) -> bool {
        self.board.stopped(self.number)
    }

    /// Takes the oldest task that nobody has.
    #[inline]
    pub fn claim(&mut self) -> Option<Claim> {
        let board = &self.board;
        let position = claims::claim(board.next(), |at| board.cell_word(at, cell::WORD), self.number)?;
        // Relaxed: the claim acquired them.
        let word = |field| board.cell_word(position, field).load(Ordering::Relaxed);
        let (bytes, count) = (word(cell::BYTES), word(cell::COUNT));
        let shape = board.shape();
        let start = word(cell::PAYLOAD);
        let length = (bytes as u32).min(shape.payload - (start as u32 & (shape.payload - 1))) as usize;
        self.payload.resize(length, 0);
        board.bytes(shape.payload_at(start), length).copy_to(&mut self.payload);
        let claim = Claim {
            dispatch: word(cell::DISPATCH),
            function: word(cell::FUNCTION),
            flags: (count >> 32) as u32,
            count: count as u32,
            function_bytes: ((bytes >> 32) as usize).min(length),
        };
        claims::taken(board.cell_word(position, cell::WORD), position, self.number);
        Some(claim)
    }

    /// What the claimed task carries.
    #[inline]
    pub fn payload(&self) -> &[u8] {
        &self.payload
    }

    /// Gives the payload away; [`WorkerEnd::put_payload`] gives its memory back.
    pub fn take_payload(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.payload)
    }

    /// The memory of a payload that is no longer used.
    pub fn put_payload(&mut self, payload: Vec<u8>) {
        self.payload = payload;
    }

    /// Notes the item that begins at `since` ([`now`]): if this process ends before the item is over, it was in it.
    #[inline]
    pub fn begin(&self, dispatch: u64, ordinal: u32, since: u64) {
        self.board.set_current(self.number, dispatch, ordinal, since);
    }

    /// Notes that no item is being worked on.
    #[inline]
    pub fn rest(&self) {
        // Relaxed: nothing is read on the strength of it.
        self.board.slot_word(self.number, slot::CURRENT).store(0, Ordering::Relaxed);
    }

    /// Most bytes of a record.
    pub fn max_bytes(&self) -> usize {
        self.board.shape().results as usize / 4
    }

    /// Sends a record if there is room; false when there is not (yet).
    ///
    /// # Errors
    ///
    /// [`ShmError::BadRange`] for more than [`WorkerEnd::max_bytes`]; [`ShmError::Corrupt`] when the supervisor cannot
    /// have read as far as the ring says.
    #[inline]
    pub fn send(&mut self, record: &Record<'_>) -> Result<bool, ShmError> {
        let length = record.bytes.len();
        if length > self.max_bytes() {
            return Err(ShmError::BadRange { offset: 0, bytes: length as u64 });
        }
        let room = results::room_for(length);
        let size = u64::from(self.board.shape().results);
        if self.written + room - self.read > size {
            let left = results::counters(&self.board, self.number).room(self.written, size).map_err(|read| {
                let what = format!("results of worker {} written to {}, read to {read}", self.number, self.written);
                ShmError::Corrupt { what }
            })?;
            self.read = self.written + left - size;
            if room > left {
                return Ok(false);
            }
        }
        self.record.clear();
        let dispatch = record.dispatch;
        for word in [length as u32, record.kind, dispatch as u32, (dispatch >> 32) as u32, record.ordinal, record.nanos]
        {
            self.record.extend_from_slice(&word.to_le_bytes());
        }
        self.record.extend_from_slice(record.bytes);
        debug_assert_eq!(self.record.len(), HEADER + length);
        results::copy_in(&self.board, self.number, self.written, &self.record);
        self.written += room;
        results::counters(&self.board, self.number).put(self.written);
        Ok(true)
    }

    /// Whether more than half of the results' room is taken, as far as this worker knows.
    #[inline]
    pub fn crowded(&self) -> bool {
        self.written - self.read > u64::from(self.board.shape().results) / 2
    }

    /// Tells the supervisor that there is something to collect, if it sleeps.
    #[inline]
    pub fn ring(&self) {
        self.board.doorbell().notify();
    }

    /// Waits until the supervisor has read results, at most this long. For when [`WorkerEnd::send`] found no room.
    pub fn wait_for_room(&self, timeout: Duration) -> Woken {
        let before = self.read;
        let moved = || results::counters(&self.board, self.number).drained.load(Ordering::Relaxed) != before;
        if look_briefly(moved) {
            return Woken::Notified;
        }
        let room = self.board.room(self.number);
        let token = room.announce(WAITING);
        if moved() {
            return Woken::Notified;
        }
        room.sleep(token, Some(timeout))
    }

    /// Adds to the time this worker was idle.
    pub fn add_idle(&self, nanos: u64) {
        // Only this process writes it.
        let idle = self.board.slot_word(self.number, slot::IDLE);
        idle.store(idle.load(Ordering::Relaxed) + nanos, Ordering::Relaxed);
    }

    /// The clock of [`WorkerEnd::begin`].
    pub fn now() -> u64 {
        now()
    }
}
