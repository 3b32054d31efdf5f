//! What workers send back: one byte ring per worker, which the worker writes and the supervisor reads.
//!
//! A record is its header (24 bytes), then its bytes, padded to 8. It is there when the worker's store to `WRITTEN`
//! says so: a worker that is killed before has sent nothing, one that is killed after has sent all of it.

use super::Board;
use super::layout::slot;
use crate::ShmError;
use crate::pipe::{Counters, stretches};
use crate::sync::Ordering;

pub(super) const HEADER: usize = 24;

/// A record of a worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record<'a> {
    /// What it says; for the worker loop and its supervisor.
    pub kind: u32,
    /// The dispatch it is about.
    pub dispatch: u64,
    /// Which item of it.
    pub ordinal: u32,
    /// A time in nanoseconds (saturated), whose meaning depends on the kind.
    pub nanos: u32,
    /// The rest.
    pub bytes: &'a [u8],
}

/// Bytes a record takes up.
pub(super) fn room_for(bytes: usize) -> u64 {
    (HEADER + bytes).next_multiple_of(8) as u64
}

/// How far the worker of a slot has written and the supervisor has read.
#[inline]
pub(super) fn counters(board: &Board, number: u32) -> Counters<'_> {
    Counters { filled: board.slot_word(number, slot::WRITTEN), drained: board.slot_word(number, slot::READ) }
}

/// Where `len` bytes from position `from` on lie in the board: two pieces of offset and length.
fn pieces(board: &Board, number: u32, from: u64, len: usize) -> [(usize, usize); 2] {
    let shape = board.shape();
    let (at, first, rest) = stretches(from, len, shape.results as usize);
    let start = shape.results_at(number);
    [(start + at, first), (start, rest)]
}

pub(super) fn copy_in(board: &Board, number: u32, to: u64, bytes: &[u8]) {
    let [(at, first), (start, rest)] = pieces(board, number, to, bytes.len());
    board.bytes(at, first).copy_from(&bytes[..first]);
    board.bytes(start, rest).copy_from(&bytes[first..]);
}

fn copy_out(board: &Board, number: u32, from: u64, out: &mut [u8]) {
    let [(at, first), (start, _)] = pieces(board, number, from, out.len());
    let (head, tail) = out.split_at_mut(first);
    board.bytes(at, first).copy_to(head);
    board.bytes(start, tail.len()).copy_to(tail);
}

/// The supervisor's end of one worker's ring.
#[derive(Debug)]
pub struct Results {
    board: Board,
    number: u32,
    read: u64,
    buffer: Vec<u8>,
}

impl Results {
    /// The reader of the ring of the slot `number`; there must be one only.
    pub fn new(board: Board, number: u32) -> Results {
        Results { board, number, read: 0, buffer: Vec::new() }
    }

    /// Starts over, for the next worker in the slot.
    pub fn reset(&mut self) {
        self.read = 0;
    }

    /// Whether something has arrived.
    #[inline]
    pub fn is_empty(&self) -> bool {
        counters(&self.board, self.number).filled.load(Ordering::Relaxed) == self.read
    }

    /// Hands every record that has arrived to `take`. Returns how many bytes there were.
    ///
    /// # Errors
    ///
    /// [`ShmError::Corrupt`] when the ring makes no sense: a process wrote over it.
    pub fn drain(&mut self, mut take: impl FnMut(Record<'_>)) -> Result<u64, ShmError> {
        let corrupt = |what: String| ShmError::Corrupt { what };
        let impossible =
            |written| corrupt(format!("results of worker {} read to {}, written to {written}", self.number, self.read));
        let counters = counters(&self.board, self.number);
        let ready = counters.available(self.read, u64::from(self.board.shape().results)).map_err(impossible)?;
        let written = self.read + ready;
        if ready == 0 {
            return Ok(0);
        }
        if !ready.is_multiple_of(8) {
            return Err(impossible(written));
        }
        let mut buffer = std::mem::take(&mut self.buffer);
        buffer.resize(ready as usize, 0);
        copy_out(&self.board, self.number, self.read, &mut buffer);
        self.read = written;
        counters.taken(written);
        // A worker may wait for the room.
        if ready > u64::from(self.board.shape().results) / 4 {
            self.board.room(self.number).notify();
        }
        let mut rest = &buffer[..];
        while let Some((head, after)) = rest.split_first_chunk::<HEADER>() {
            let word = |at: usize| u32::from_le_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
            let len = word(0) as usize;
            let Some(bytes) = after.get(..len) else {
                return Err(corrupt(format!("a result of {len} bytes where {} are left", after.len())));
            };
            take(Record {
                kind: word(4),
                dispatch: u64::from(word(8)) | u64::from(word(12)) << 32,
                ordinal: word(16),
                nanos: word(20),
                bytes,
            });
            rest = after.get((len + HEADER).next_multiple_of(8) - HEADER..).unwrap_or(&[]);
        }
        self.buffer = buffer;
        Ok(ready)
    }
}
