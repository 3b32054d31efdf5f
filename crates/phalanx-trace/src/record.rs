//! What a traced rank writes while it runs: records in its log, and how they are made.
//!
//! A record takes whole granules of four words, whose lowest byte says what each is (`phalanx_shm::log`):
//!
//! | record | its words, from the lowest bits on |
//! |---|---|
//! | call | kind 8, what is known 8, function 16, thread 32 |
//! | | when it began |
//! | | when it ended; 0 until then |
//! | | how long it waited |
//! | | kind "more" 8, kind of the object 8, unused 16, place 32 |
//! | | the object's number 32, slot of the peer 32 |
//! | | tag 32, unused 32 |
//! | | bytes |
//! | message | kind 8 (sent, matched), bytes 56 |
//! | | the call that sent it or asked for it 32, slot of the other side 32 |
//! | | context 32, tag 32 |
//! | | of one that was matched: the call that completed the receive (0: the one that asked); of one that was sent: 1 when it has been taken back |
//! | text | kind 8 (place, name), unused 24, bytes of the text 32 |
//! | | what it is of: the number of a place, or kind 32 and number 32 of an object |
//! | | unused, unused |
//! | | then granules of kind "more" 8 and 31 bytes of the text |
//!
//! A call is named by the granule in which its record begins, and 0 is none. Times are those of the log's clock; waits are nanoseconds.
//!
//! A message has no number of its own. The standard's order gives it one: messages of one sender to one receiver with the same
//! context and tag are received in the order in which they were sent, so the n-th that was matched is the n-th that was sent. A
//! process that had no room for one records no more of them, and both ends know the bytes: arrows end there, and none is another's.

use crate::model::Place;

pub(crate) const CALL: u8 = 1;
pub(crate) const MORE: u8 = 2;
pub(crate) const SENT: u8 = 3;
pub(crate) const MATCHED: u8 = 4;
pub(crate) const PLACE: u8 = 5;
pub(crate) const NAME: u8 = 6;

/// The kind of a communicator.
pub(crate) const COMM: u8 = 1;

/// Words of a granule.
pub const GRANULE: usize = 4;
/// Granules of the head of a log.
pub(crate) const HEAD: usize = 2;
/// Bytes of a text in one granule.
const LETTERS: usize = 31;

pub(crate) const HAS_PEER: u8 = 1;
pub(crate) const HAS_TAG: u8 = 2;
pub(crate) const HAS_BYTES: u8 = 4;
pub(crate) const HAS_OBJECT: u8 = 8;
pub(crate) const HAS_PLACE: u8 = 16;

/// Granules of a call's record.
pub const CALL_GRANULES: u32 = 2;
/// The word of a call's record that says when it ended, and the one that says how long it waited.
pub const ENDED: usize = 2;
/// See [`ENDED`].
pub const WAITED: usize = 3;
/// The word of a matched message that says which call completed its receive.
pub const COMPLETED: usize = 3;
/// The word of a sent message that says that it has been taken back.
pub const TAKEN_BACK: usize = 3;

/// What a call is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Object {
    /// A communicator, by its context.
    Comm(u32),
    /// A window, by its handle.
    Win(u32),
    /// A file, by its handle.
    File(u32),
}

impl Object {
    /// Its number among those of its kind.
    #[must_use]
    pub fn number(self) -> u32 {
        self.split().1
    }

    pub(crate) fn split(self) -> (u8, u32) {
        match self {
            Object::Comm(number) => (COMM, number),
            Object::Win(number) => (2, number),
            Object::File(number) => (3, number),
        }
    }
}

/// A call that begins.
#[derive(Clone, Copy, Debug, Default)]
pub struct Begun {
    /// The function's [number](crate::number).
    pub function: u16,
    /// The thread, from 0.
    pub thread: u32,
    /// The time.
    pub at: u64,
    /// The number of the place that calls.
    pub place: Option<u32>,
    /// What it is about.
    pub object: Option<Object>,
    /// The slot of the other rank, or of the root.
    pub peer: Option<u32>,
    /// The tag.
    pub tag: Option<i32>,
    /// The bytes.
    pub bytes: Option<u64>,
}

fn flag(is_there: bool, flag: u8) -> u8 {
    if is_there { flag } else { 0 }
}

fn pair(low: u32, high: u32) -> u64 {
    u64::from(low) | u64::from(high) << 32
}

/// The record of a call that begins.
#[must_use]
pub fn call(begun: &Begun) -> [u64; 8] {
    let known = flag(begun.peer.is_some(), HAS_PEER)
        | flag(begun.tag.is_some(), HAS_TAG)
        | flag(begun.bytes.is_some(), HAS_BYTES)
        | flag(begun.object.is_some(), HAS_OBJECT)
        | flag(begun.place.is_some(), HAS_PLACE);
    let (kind, number) = begun.object.map_or((0, 0), Object::split);
    let head = u32::from(CALL) | u32::from(known) << 8 | u32::from(begun.function) << 16;
    [
        pair(head, begun.thread),
        begun.at,
        0,
        0,
        pair(u32::from(MORE) | u32::from(kind) << 8, begun.place.unwrap_or(0)),
        pair(number, begun.peer.unwrap_or(0)),
        u64::from(begun.tag.unwrap_or(0) as u32),
        begun.bytes.unwrap_or(0),
    ]
}

/// What happened to a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// It was sent.
    Sent,
    /// It was matched with a receive.
    Matched,
}

/// One end of a message.
#[derive(Clone, Copy, Debug)]
pub struct Half {
    /// What happened.
    pub event: Event,
    /// The call that sent it or asked for it.
    pub call: u32,
    /// The slot of the other side.
    pub other: u32,
    /// The context.
    pub context: u32,
    /// The tag.
    pub tag: i32,
    /// The bytes.
    pub bytes: u64,
}

/// The record of one end of a message.
#[must_use]
pub fn half(half: &Half) -> [u64; GRANULE] {
    let kind = match half.event {
        Event::Sent => SENT,
        Event::Matched => MATCHED,
    };
    [
        u64::from(kind) | half.bytes.min(u64::MAX >> 8) << 8,
        pair(half.call, half.other),
        pair(half.context, half.tag as u32),
        0,
    ]
}

fn text(kind: u8, of: u64, text: &str) -> Vec<u64> {
    let len = u32::try_from(text.len()).unwrap_or(0);
    let mut words = vec![pair(u32::from(kind), len), of, 0, 0];
    for letters in text.as_bytes()[..len as usize].chunks(LETTERS) {
        let mut granule = [0; GRANULE * 8];
        granule[0] = MORE;
        granule[1..=letters.len()].copy_from_slice(letters);
        words.extend(granule.as_chunks::<8>().0.iter().map(|word| u64::from_le_bytes(*word)));
    }
    words
}

/// The record that says where a place is.
#[must_use]
pub fn place(number: u32, place: &Place) -> Vec<u64> {
    let Place { file, line, function } = place;
    text(PLACE, u64::from(number), &format!("{file}\t{line}\t{function}"))
}

/// The record that says how an object is called, from there on.
#[must_use]
pub fn name(object: Object, name: &str) -> Vec<u64> {
    let (kind, number) = object.split();
    text(NAME, pair(u32::from(kind), number), name)
}

/// The text of a record, if the granules behind its head hold one.
pub(crate) fn read_text(record: &[u64]) -> Option<(String, usize)> {
    let len = usize::try_from(record.first()? >> 32).ok()?;
    let granules = len.div_ceil(LETTERS);
    let behind = record.get(GRANULE..)?.get(..granules.checked_mul(GRANULE)?)?;
    let mut bytes = Vec::with_capacity(len);
    for granule in behind.chunks(GRANULE) {
        let letters: Vec<u8> = granule.iter().flat_map(|word| word.to_le_bytes()).collect();
        if letters.first() != Some(&MORE) {
            return None;
        }
        bytes.extend_from_slice(&letters[1..]);
    }
    bytes.truncate(len);
    Some((String::from_utf8_lossy(&bytes).into_owned(), granules + 1))
}
