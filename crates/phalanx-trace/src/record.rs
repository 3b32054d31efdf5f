//! What a traced rank writes while it runs: records in its log, and how they are made.
//!
//! A record takes whole granules of four words, whose lowest byte says what each is (`phalanx_shm::log`):
//!
//! | record | its words, from the lowest bits on |
//! |---|---|
//! | call | kind 8 (call, sent, matched), number of its form 24, number of its message 32 |
//! | | when it began |
//! | | when it ended; 0 until then |
//! | | bytes 32, how long it waited in units of 256, 32 bits |
//! | | if the bytes are the most that fit there, behind it: kind "more" 8; the bytes; unused, unused |
//! | form | kind 8, kind of the object 8, function 16, thread 32 |
//! | | the form's number 32, place 32 (0: not known) |
//! | | the object's number 32, slot of the peer 32 |
//! | | tag 32, what is known 32 |
//! | message | kind 8 (message sent, message matched), bytes 56 |
//! | | the call that sent it or asked for it 32, slot of the other side 32 |
//! | | context 32, tag 32 |
//! | | 32 bits: of one that was matched, the call that completed the receive (0: the one that asked); of one that was sent, 1 when it has been taken back; its number among all messages that this process sent or matched 32 |
//! | text | kind 8 (place, name), unused 24, bytes of the text 32 |
//! | | what it is of: the number of a place, or kind 32 and number 32 of an object |
//! | | of the name of an object: since when; unused |
//! | | then granules of kind "more" 8 and 31 bytes of the text |
//!
//! A *form* is what calls with the same arguments in the same place have in common: a loop needs few of them, and a call one
//! granule. Where a call waits for its message (`Send`, `Recv`), and the message is as the form says, the call's record tells it, too:
//! its kind says so, which is stored anew then. A receive that has asked for less than that (any rank, any tag, room for more bytes)
//! gets another form when it has its message, with the rank and the tag that this came from, and the message's bytes.
//!
//! A call is named by the granule in which its record begins, and 0 is none. Times and waits are those of the log's clock. Threads have
//! parts of the log, so the order of records says nothing.
//!
//! A message carries no number. The standard's order gives it one: messages of one sender to one receiver with the same
//! context and tag are received in the order in which they were sent, so the n-th that was matched is the n-th that was sent. A
//! process that had no room for one records no more of them, and both ends know the bytes: arrows end there, and none is another's.

use crate::model::Place;

pub(crate) const CALL: u8 = 1;
pub(crate) const MORE: u8 = 2;
pub(crate) const SENT: u8 = 3;
pub(crate) const MATCHED: u8 = 4;
pub(crate) const PLACE: u8 = 5;
pub(crate) const NAME: u8 = 6;
pub(crate) const FORM: u8 = 7;
pub(crate) const CALL_SENT: u8 = 8;
pub(crate) const CALL_MATCHED: u8 = 9;

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
/// The call waits for its message.
const HAS_MESSAGE: u8 = 16;

/// Calls that wait for their message, and have no other one.
const WITH_MESSAGE: [&str; 4] = [RECEIVE, "MPI_Rsend", "MPI_Send", "MPI_Ssend"];

/// The one of these that receives.
pub(crate) const RECEIVE: &str = "MPI_Recv";

/// The number of forms.
pub const FORMS: u32 = 1 << 24;

/// The word of a call's record that says when it ended; the next one says how long it waited.
pub const ENDED: usize = 2;
/// The word of a call's record that has its bytes.
pub const BYTES: usize = 3;
/// The word of a message that says how it ended: see [`completed`] and [`taken_back`].
pub const OUTCOME: usize = 3;

/// The word of an object's name that says since when it is called so.
pub(crate) const SINCE: usize = 2;

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

/// What calls have in common.
#[derive(Clone, Copy, Debug, Default)]
pub struct Form {
    /// The function's [number](crate::number).
    pub function: u16,
    /// The thread, from 0.
    pub thread: u32,
    /// The number of the place that calls.
    pub place: Option<u32>,
    /// What it is about.
    pub object: Option<Object>,
    /// The slot of the other rank, or of the root.
    pub peer: Option<u32>,
    /// The tag.
    pub tag: Option<i32>,
    /// Whether the bytes are known.
    pub has_bytes: bool,
}

/// Known of a call on a communicator that is told with its message.
const ALL: u8 = HAS_PEER | HAS_TAG | HAS_BYTES | HAS_OBJECT | HAS_MESSAGE;

fn flag(is_there: bool, flag: u8) -> u8 {
    if is_there { flag } else { 0 }
}

fn pair(low: u32, high: u32) -> u64 {
    u64::from(low) | u64::from(high) << 32
}

/// The two words of a form by which a message is compared with it.
pub type About = [u64; 2];

/// The record of a form with a number from 1 on.
#[must_use]
pub fn form(form: &Form, number: u32) -> [u64; GRANULE] {
    let has_message = WITH_MESSAGE.iter().any(|name| crate::number(name) == form.function);
    let known = flag(form.peer.is_some(), HAS_PEER)
        | flag(form.tag.is_some(), HAS_TAG)
        | flag(form.has_bytes, HAS_BYTES)
        | flag(form.object.is_some(), HAS_OBJECT)
        | flag(has_message, HAS_MESSAGE);
    let (kind, object) = form.object.map_or((0, 0), Object::split);
    let head = u32::from(FORM) | u32::from(kind) << 8 | u32::from(form.function) << 16;
    [
        pair(head, form.thread),
        pair(number, form.place.unwrap_or(0)),
        pair(object, form.peer.unwrap_or(0)),
        pair(form.tag.unwrap_or(0) as u32, known.into()),
    ]
}

/// Of a form's record, what a message is compared with.
#[must_use]
pub fn about(form: &[u64; GRANULE]) -> About {
    [form[2], form[3] | u64::from(form[0] as u16 >> 8) << 48]
}

/// The record of a call of that form that begins, and whether one with its bytes follows.
#[inline]
#[must_use]
pub fn call(form: u32, at: u64, bytes: u64) -> ([u64; GRANULE], bool) {
    let short = u32::try_from(bytes).unwrap_or(u32::MAX);
    ([u64::from(CALL) | u64::from(form) << 8, at, 0, short.into()], short == u32::MAX)
}

/// What follows then.
#[must_use]
pub fn bytes_of_call(bytes: u64) -> [u64; GRANULE] {
    [MORE.into(), bytes, 0, 0]
}

/// The word behind [`ENDED`] of a call that has waited, again, from what it was.
#[inline]
#[must_use]
pub fn waited(word: u64, waited: u64) -> u64 {
    let more = u32::try_from(waited >> 8).unwrap_or(u32::MAX);
    pair(word as u32, ((word >> 32) as u32).saturating_add(more))
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
    /// Its number among all of this process.
    pub number: u32,
}

/// The first word of a call that this message is all of, from what it was; `None` for a message that its form does not describe.
#[inline]
#[must_use]
pub fn with_message(word: u64, about: &About, bytes: u64, half: &Half) -> Option<u64> {
    let kind = match half.event {
        Event::Sent => CALL_SENT,
        Event::Matched => CALL_MATCHED,
    };
    // Not by pieces of several words: these have just been made.
    let message = about_message(half);
    let differs = (about[0] ^ message[0]) | (about[1] ^ message[1]) | (bytes ^ half.bytes);
    (differs == 0).then(|| word & 0xffff_ff00 | u64::from(kind) | pair(0, half.number))
}

/// What a form that describes this message is [about].
#[inline]
#[must_use]
pub fn about_message(half: &Half) -> About {
    [pair(half.context, half.other), pair(half.tag as u32, u32::from(ALL) | u32::from(COMM) << 16)]
}

/// Whether a receive that is about this, with room for so many bytes, may be what has taken this message.
#[inline]
#[must_use]
pub fn takes(about: &About, room: u64, half: &Half) -> bool {
    let wants = (u64::from(ALL & !HAS_PEER) | u64::from(COMM) << 16) << 32;
    let without_peer = !(u64::from(HAS_PEER) << 32 | u64::from(u32::MAX));
    half.event == Event::Matched
        && about[0] as u32 == half.context
        && about[1] & without_peer == wants
        && half.bytes <= room
        && room < u32::MAX.into()
}

/// The record of a form with that number: as the first two words of another one say, and [about] a message.
#[must_use]
pub fn form_taken([head, place]: [u64; 2], about: &About, number: u32) -> [u64; GRANULE] {
    [head, pair(number, (place >> 32) as u32), about[0], about[1] & !(u64::from(u16::MAX) << 48)]
}

/// The first word and the word with the bytes of a call of that form, which has taken this message.
#[inline]
#[must_use]
pub fn taken(form: u32, half: &Half) -> [u64; 2] {
    [pair(u32::from(CALL_MATCHED) | form << 8, half.number), half.bytes]
}

/// The first word of a call whose message has been taken back, from what it was.
#[must_use]
pub fn without_message(word: u64) -> u64 {
    word & 0xffff_ff00 | u64::from(CALL)
}

/// The record of one end of a message.
#[inline]
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
        pair(0, half.number),
    ]
}

/// What becomes of the [outcome](OUTCOME) of a matched message whose receive has been completed in this call.
#[must_use]
pub fn completed(outcome: u64, call: u32) -> u64 {
    pair(call, (outcome >> 32) as u32)
}

/// What becomes of the [outcome](OUTCOME) of a sent message that has been taken back.
#[must_use]
pub fn taken_back(outcome: u64) -> u64 {
    completed(outcome, 1)
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

/// The record that says how an object is called, from that time on.
#[must_use]
pub fn name(object: Object, name: &str, at: u64) -> Vec<u64> {
    let (kind, number) = object.split();
    let mut record = text(NAME, pair(u32::from(kind), number), name);
    record[SINCE] = at;
    record
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
