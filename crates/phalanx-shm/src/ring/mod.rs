//! Messages from one process to one other: a single-producer, single-consumer
//! byte ring of 64-byte lines, published in band.
//!
//! See `README.md` in this folder for the states, the races and why each is
//! harmless. [`RingProducer`] may be used by the sending process, one thread at
//! a time; [`RingConsumer`] likewise by the receiving process. Both operations
//! are wait-free: `try_push` fails when the ring is full, `peek` finds nothing
//! when it is empty. A producer killed at any instant leaves either a whole
//! record or none.

mod consumer;
mod place;
mod producer;

pub use consumer::{Record, RingConsumer};
pub use producer::RingProducer;

#[cfg(loom)]
pub use place::LoomRing;
#[cfg(not(loom))]
pub(crate) use place::RingRef;

use crate::sync::{AtomicU32, AtomicU64};

/// Bytes of a line: the unit of ring positions and of cache coherence.
pub const LINE: usize = 64;

/// Bytes of a record before its payload.
pub const HEADER: usize = 40;

/// Payload that fits the first line beside the header.
pub const ONE_LINE: usize = LINE - HEADER;

/// Largest payload of a record whatever the ring's size (16-bit length field).
pub(crate) const PAYLOAD_LIMIT: usize = 65_535;

/// Fewest lines of a ring.
#[cfg(not(loom))]
pub(crate) const MIN_LINES: u64 = 16;

/// What a record says about its message. The ring carries it, and gives no
/// meaning to it: kinds and the fields belong to the engine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Envelope {
    /// What kind of record this is.
    pub kind: u8,
    /// Context id.
    pub ctx: u32,
    /// Sender's rank (in the communicator, as the receiver matches it).
    pub src: u32,
    /// Tag.
    pub tag: i32,
    /// Type signature.
    pub sig: u32,
    /// Length of the whole message in bytes (not of this record's payload).
    pub len: u64,
    /// A value of the engine's choice: request id, address, offset.
    pub token: u64,
}

/// A record's first word: `stamp << 32 | payload << 16 | kind`.
///
/// `stamp` is the lap of the ring, never zero; a line whose stamp is not that
/// of the lap being read holds no record yet.
#[derive(Clone, Copy)]
struct Word0(u64);

impl Word0 {
    #[inline]
    fn new(stamp: u32, payload: usize, e: &Envelope) -> Word0 {
        debug_assert!(payload <= PAYLOAD_LIMIT);
        Word0(u64::from(stamp) << 32 | (payload as u64) << 16 | u64::from(e.kind))
    }

    #[inline]
    fn stamp(self) -> u32 {
        (self.0 >> 32) as u32
    }

    #[inline]
    fn payload(self) -> usize {
        (self.0 >> 16) as usize & 0xffff
    }

    #[inline]
    fn kind(self) -> u8 {
        self.0 as u8
    }
}

/// Lines that no ring ever passes. A position that was written over is taken below it: then nothing is found there, and nothing
/// that is counted on from it overflows.
const FAR: u64 = 1 << 62;

/// The stamp of records that start at line `position` (counted since creation).
#[inline]
fn stamp(position: u64, shift: u32) -> u32 {
    (position >> shift) as u32 | 1 << 31
}

/// Lines of a record with `payload` bytes.
#[inline]
fn lines_of(payload: usize) -> u64 {
    (HEADER + payload).div_ceil(LINE) as u64
}

/// The largest payload of a record in a ring of `lines` lines: half the ring.
#[inline]
pub(crate) fn max_payload(lines: usize) -> usize {
    (lines / 2 * LINE - HEADER).min(PAYLOAD_LIMIT)
}

/// The words of a ring that are not its lines.
#[derive(Debug)]
#[cfg_attr(not(loom), repr(C, align(128)))]
pub(crate) struct Control {
    /// Lines consumed since creation. Written by the consumer, an eighth of a
    /// ring late (exact when the handle is dropped); read by the producer when
    /// the room it knows of is used up.
    pub(crate) head: AtomicU64,
    #[cfg(not(loom))]
    _consumer_line: [u8; 120],
    /// Lines produced since creation. Written by the producer's handle when it is
    /// dropped, for the next handle, and when its process has waited for long,
    /// for a receiver that looks whether it has missed something.
    pub(crate) tail: AtomicU64,
    /// 1 when the producer waits for room. Set by the producer, cleared by the
    /// consumer when it publishes `head` (it then wakes the producer).
    pub(crate) blocked: AtomicU32,
    /// 1 while the producer handle exists.
    producing: AtomicU32,
    /// 1 while the consumer handle exists.
    consuming: AtomicU32,
}

impl Control {
    /// Control words of an empty ring.
    #[cfg(loom)]
    fn new() -> Control {
        Control {
            head: AtomicU64::new(0),
            tail: AtomicU64::new(0),
            blocked: AtomicU32::new(0),
            producing: AtomicU32::new(0),
            consuming: AtomicU32::new(0),
        }
    }
}
