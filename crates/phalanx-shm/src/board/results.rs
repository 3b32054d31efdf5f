//! What workers send back: one byte ring per worker, which the worker writes and the supervisor reads.
//!
//! A record is its header (24 bytes), then its bytes, padded to 8. It is there when the worker's store to `WRITTEN`
//! says so: a worker that is killed before has sent nothing, one that is killed after has sent all of it.

use super::Board;
use super::layout::slot;
use crate::ShmError;
use crate::sync::{AtomicU64, Ordering};

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

pub(super) fn read_word(board: &Board, number: u32) -> &AtomicU64 {
    board.slot_word(number, slot::READ)
}

pub(super) fn written_word(board: &Board, number: u32) -> &AtomicU64 {
    board.slot_word(number, slot::WRITTEN)
}

/// Copies between a ring, from byte position `from` on, and two pieces of private memory.
fn pieces(board: &Board, number: u32, from: u64, len: usize) -> [(usize, usize); 2] {
    let shape = board.shape();
    let size = shape.results as usize;
    let at = (from & (size as u64 - 1)) as usize;
    let first = len.min(size - at);
    let start = shape.results_at(number);
    [(start + at, first), (start, len - first)]
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
        written_word(&self.board, self.number).load(Ordering::Relaxed) == self.read
    }

    /// Hands every record that has arrived to `take`. Returns how many bytes there were.
    ///
    /// # Errors
    ///
    /// [`ShmError::Corrupt`] when the ring makes no sense: a process wrote over it.
    pub fn drain(&mut self, mut take: impl FnMut(Record<'_>)) -> Result<u64, ShmError> {
        // SYNC POINT results: Acquire, pairs with the Release in `WorkerEnd::send`.
        let written = written_word(&self.board, self.number).load(Ordering::Acquire);
        let ready = written.wrapping_sub(self.read);
        if ready == 0 {
            return Ok(0);
        }
        let corrupt = |what: String| ShmError::Corrupt { what };
        if ready > u64::from(self.board.shape().results) || !ready.is_multiple_of(8) {
            let (number, read) = (self.number, self.read);
            return Err(corrupt(format!("results of worker {number} read to {read}, written to {written}")));
        }
        let mut buffer = std::mem::take(&mut self.buffer);
        buffer.resize(ready as usize, 0);
        copy_out(&self.board, self.number, self.read, &mut buffer);
        self.read = written;
        // SYNC POINT results-room: Release, so that the copies come before the worker writes there again; pairs with
        // the Acquire in `WorkerEnd::send`.
        read_word(&self.board, self.number).store(written, Ordering::Release);
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
