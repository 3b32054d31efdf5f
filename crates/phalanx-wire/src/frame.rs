//! Messages as frames over a stream of bytes.
//!
//! A stream begins with a greeting: [`MAGIC`], the number of the protocol, and the version of the program in words. Then
//! come frames: the length of a message (4 bytes, little-endian), and the message as postcard writes it. What stands before
//! the greeting (a remote shell's start files may print something) is kept apart as [`Reader::noise`], up to a limit.
//!
//! Bytes that are no message, of blocks of memory, travel beside messages as *chunks*: the length with its highest bit set,
//! the number of what they belong to (4 bytes), and the bytes.
//!
//! A reader takes any bytes: an error is final, allocations are bounded by [`LONGEST`] and by what was received.

use serde::Serialize;
use serde::de::DeserializeOwned;

/// What a stream begins with. No text in a usual encoding holds it.
pub const MAGIC: [u8; 8] = *b"\x93PHLNX\x0d\x0a";
/// The number of the protocol: it changes whenever a message does.
pub const PROTOCOL: u32 = 2;
/// The longest message. An environment, and the addresses of some thousand ranks, are well below it.
pub const LONGEST: usize = 16 << 20;
/// So much may stand before the greeting.
pub const NOISE: usize = 64 << 10;
/// The longest version, in bytes.
const VERSION: usize = 64;
/// Bytes of a chunk before those that it is of.
pub const CHUNK_HEAD: usize = 8;
/// The bit of a length that marks a chunk.
const IS_CHUNK: u32 = 1 << 31;

/// Why a stream cannot be read on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// There is no greeting within [`NOISE`] bytes.
    #[error("it sent {0} bytes, and none of them greet as Phalanx does")]
    NoGreeting(usize),
    /// It speaks another protocol.
    #[error("it is Phalanx {version} and speaks protocol {theirs}, this one {PROTOCOL}")]
    Protocol {
        /// The number of its protocol.
        theirs: u32,
        /// What it calls itself.
        version: String,
    },
    /// A message that is longer than any can be.
    #[error("a message of {0} bytes, where {LONGEST} are the most")]
    TooLong(usize),
    /// Bytes that are no message.
    #[error("bytes that are no message of Phalanx's")]
    Nonsense,
}

/// The greeting of a program of this version.
#[must_use]
pub fn greeting(version: &str) -> Vec<u8> {
    let text = version.as_bytes();
    let text = &text[..text.len().min(VERSION)];
    let mut bytes = MAGIC.to_vec();
    bytes.extend(PROTOCOL.to_le_bytes());
    bytes.push(u8::try_from(text.len()).unwrap_or(0));
    bytes.extend(text);
    bytes
}

/// What a stream is made of.
#[derive(Debug, PartialEq, Eq)]
pub enum Frame<'a, T> {
    /// A message.
    Message(T),
    /// Bytes of what has this number: a chunk, or what has come of it since the last piece.
    Chunk(u32, &'a [u8]),
}

/// Takes bytes as they come, and gives messages.
#[derive(Debug, Default)]
pub struct Reader {
    bytes: Vec<u8>,
    /// So many of them have been read.
    at: usize,
    /// The chunk of which not all has come: of what it is, and how many bytes are still to come.
    open: Option<(u32, usize)>,
    noise: Vec<u8>,
    version: Option<String>,
    failed: Option<WireError>,
}

impl Reader {
    /// A reader of a stream of which nothing has come.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes what has come.
    pub fn take(&mut self, bytes: &[u8]) {
        if self.failed.is_none() {
            self.bytes.drain(..self.at);
            self.at = 0;
            self.bytes.extend_from_slice(bytes);
        }
    }

    /// What the other end calls its version, once it has greeted.
    #[must_use]
    pub fn version(&self) -> Option<&str> {
        self.version.as_deref()
    }

    /// What came before the greeting, or instead of it.
    #[must_use]
    pub fn noise(&self) -> &[u8] {
        if self.version.is_none() && self.noise.is_empty() { &self.bytes } else { &self.noise }
    }

    /// The next message; `None` until all of it has come.
    ///
    /// # Errors
    /// What makes the stream unreadable, and the same again from then on.
    pub fn read<T: DeserializeOwned>(&mut self) -> Result<Option<T>, WireError> {
        match self.read_frame()? {
            None => Ok(None),
            Some(Frame::Message(message)) => Ok(Some(message)),
            Some(Frame::Chunk(..)) => Err(self.fail(WireError::Nonsense)),
        }
    }

    /// The next message, once all of it has come, or what has come of a chunk: who copies that away at once needs no room
    /// for whole ones.
    ///
    /// # Errors
    /// As [`Reader::read`].
    pub fn read_frame<T: DeserializeOwned>(&mut self) -> Result<Option<Frame<'_, T>>, WireError> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        let found = self.try_next().map_err(|error| self.fail(error))?;
        Ok(found.map(|found| match found {
            Found::Message(message) => Frame::Message(message),
            Found::Chunk(number, place) => Frame::Chunk(number, &self.bytes[place]),
        }))
    }

    /// Whether bytes that have come belong to a chunk: of what it is, and how many of them it has. They count as read, and are not
    /// to be given to [`Reader::take`]: who knows at once where they belong copies them there, and not here first.
    pub fn pass(&mut self, bytes: &[u8]) -> Option<(u32, usize)> {
        if self.failed.is_some() || self.at < self.bytes.len() || bytes.is_empty() {
            return None;
        }
        let (number, left) = self.open?;
        let count = left.min(bytes.len());
        self.open = (count < left).then_some((number, left - count));
        Some((number, count))
    }

    fn fail(&mut self, error: WireError) -> WireError {
        self.failed = Some(error.clone());
        error
    }

    fn try_next<T: DeserializeOwned>(&mut self) -> Result<Option<Found<T>>, WireError> {
        if self.version.is_none() && !self.greet()? {
            return Ok(None);
        }
        let rest = &self.bytes[self.at..];
        if let Some((number, left)) = self.open.filter(|_| !rest.is_empty()) {
            let (start, count) = (self.at, left.min(rest.len()));
            self.at += count;
            self.open = (count < left).then_some((number, left - count));
            return Ok(Some(Found::Chunk(number, start..self.at)));
        }
        let Some((length, rest)) = rest.split_first_chunk::<4>() else { return Ok(None) };
        let word = u32::from_le_bytes(*length);
        let length = (word & !IS_CHUNK) as usize;
        if length > LONGEST {
            return Err(WireError::TooLong(length));
        }
        if word & IS_CHUNK != 0 {
            let left = length.checked_sub(4).ok_or(WireError::Nonsense)?;
            let Some((number, rest)) = rest.split_first_chunk::<4>() else { return Ok(None) };
            let (number, count) = (u32::from_le_bytes(*number), left.min(rest.len()));
            let start = self.at + 8;
            self.at = start + count;
            self.open = (count < left).then_some((number, left - count));
            // Nothing of it has come yet, which is no piece.
            return Ok((count > 0 || left == 0).then_some(Found::Chunk(number, start..start + count)));
        }
        let Some(frame) = rest.get(..length) else { return Ok(None) };
        let Ok((message, [])) = postcard::take_from_bytes(frame) else { return Err(WireError::Nonsense) };
        self.at += 4 + length;
        Ok(Some(Found::Message(message)))
    }

    /// Reads the greeting: whether it was there.
    fn greet(&mut self) -> Result<bool, WireError> {
        let Some(start) = self.bytes.windows(MAGIC.len()).position(|bytes| bytes == MAGIC) else {
            return if self.bytes.len() > NOISE { Err(WireError::NoGreeting(self.bytes.len())) } else { Ok(false) };
        };
        if start > NOISE {
            return Err(WireError::NoGreeting(start));
        }
        let rest = &self.bytes[start + MAGIC.len()..];
        let Some((protocol, rest)) = rest.split_first_chunk::<4>() else { return Ok(false) };
        let Some((length, rest)) = rest.split_first() else { return Ok(false) };
        let length = usize::from(*length);
        if length > VERSION {
            return Err(WireError::Nonsense);
        }
        let Some(version) = rest.get(..length) else { return Ok(false) };
        let version = String::from_utf8_lossy(version).into_owned();
        let theirs = u32::from_le_bytes(*protocol);
        self.noise = self.bytes[..start].to_vec();
        self.at = start + MAGIC.len() + 5 + length;
        if theirs != PROTOCOL {
            return Err(WireError::Protocol { theirs, version });
        }
        self.version = Some(version);
        Ok(true)
    }
}

/// As [`Frame`], with the place of the bytes.
enum Found<T> {
    Message(T),
    Chunk(u32, std::ops::Range<usize>),
}

/// Holds what is to be written, until the stream takes it.
#[derive(Debug)]
pub struct Writer {
    /// Room, of which the first `end` bytes are in use: what is used again is not filled with zeros again.
    bytes: Vec<u8>,
    /// So many of them have been written.
    at: usize,
    end: usize,
}

impl Writer {
    /// A writer whose stream begins with the greeting of this version.
    #[must_use]
    pub fn new(version: &str) -> Self {
        let bytes = greeting(version);
        Self { at: 0, end: bytes.len(), bytes }
    }

    /// Room for so many bytes behind what waits.
    fn room(&mut self, count: usize) -> &mut [u8] {
        if self.at > 0 {
            self.bytes.copy_within(self.at..self.end, 0);
            self.end -= self.at;
            self.at = 0;
        }
        let end = self.end + count;
        if self.bytes.len() < end {
            self.bytes.resize(end, 0);
        }
        &mut self.bytes[self.end..end]
    }

    /// Adds a message.
    ///
    /// # Errors
    /// [`WireError::TooLong`], and nothing is added.
    pub fn push<T: Serialize>(&mut self, message: &T) -> Result<(), WireError> {
        // Of what may be written at all, only a length that cannot be told fails.
        let message = postcard::to_allocvec(message).map_err(|_| WireError::Nonsense)?;
        let length = u32::try_from(message.len()).ok().filter(|length| *length as usize <= LONGEST);
        let Some(length) = length else { return Err(WireError::TooLong(message.len())) };
        let room = self.room(4 + message.len());
        room[..4].copy_from_slice(&length.to_le_bytes());
        room[4..].copy_from_slice(&message);
        self.end += 4 + message.len();
        Ok(())
    }

    /// Adds a chunk of so many bytes, which `fill` writes.
    ///
    /// # Errors
    /// [`WireError::TooLong`], and nothing is added; what `fill` says, and nothing is added either.
    pub fn push_chunk<E: From<WireError>>(
        &mut self,
        number: u32,
        length: usize,
        fill: impl FnOnce(&mut [u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        let all = u32::try_from(length + 4).ok().filter(|length| *length as usize <= LONGEST);
        let all = all.ok_or(WireError::TooLong(length))?;
        let room = self.room(8 + length);
        room[..4].copy_from_slice(&(all | IS_CHUNK).to_le_bytes());
        room[4..8].copy_from_slice(&number.to_le_bytes());
        fill(&mut room[8..])?;
        self.end += 8 + length;
        Ok(())
    }

    /// What is to be written next.
    #[must_use]
    pub fn unsent(&self) -> &[u8] {
        &self.bytes[self.at..self.end]
    }

    /// So many bytes of [`Writer::unsent`] have been written.
    pub fn sent(&mut self, count: usize) {
        self.at = self.at.saturating_add(count).min(self.end);
        if self.at == self.end {
            self.at = 0;
            self.end = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stream(messages: &[&str]) -> Vec<u8> {
        let mut writer = Writer::new("1.2");
        for message in messages {
            writer.push(message).unwrap();
        }
        writer.unsent().to_vec()
    }

    #[test]
    fn messages_arrive_in_pieces_of_any_size() {
        let bytes = stream(&["", "one", &"long".repeat(1000)]);
        for size in [1, 2, 3, 7, 4096] {
            let mut reader = Reader::new();
            let mut found: Vec<String> = Vec::new();
            for piece in bytes.chunks(size) {
                reader.take(piece);
                while let Some(message) = reader.read().unwrap() {
                    found.push(message);
                }
            }
            assert_eq!(found, ["".to_owned(), "one".to_owned(), "long".repeat(1000)], "{size}");
            assert_eq!(reader.version(), Some("1.2"));
        }
    }

    #[test]
    fn what_a_shell_prints_first_is_kept_apart() {
        let mut reader = Reader::new();
        reader.take(b"Welcome to h2\n");
        assert_eq!(reader.read::<String>(), Ok(None));
        assert_eq!(reader.noise(), b"Welcome to h2\n");
        reader.take(&stream(&["x"]));
        assert_eq!(reader.read::<String>(), Ok(Some("x".to_owned())));
        assert_eq!(reader.noise(), b"Welcome to h2\n");
        let mut reader = Reader::new();
        reader.take(&vec![b'n'; NOISE + 1]);
        assert_eq!(reader.read::<String>(), Err(WireError::NoGreeting(NOISE + 1)));
    }

    #[test]
    fn other_protocols_long_messages_and_nonsense_are_errors_for_good() {
        let mut other = greeting("9.9");
        other[MAGIC.len()] += 1;
        let mut long = greeting("1");
        long.extend((IS_CHUNK - 1).to_le_bytes());
        let mut left_over = stream(&[]);
        left_over.extend([3, 0, 0, 0, 1, b'x', b'y']);
        for (bytes, expected) in [
            (other, WireError::Protocol { theirs: PROTOCOL + 1, version: "9.9".to_owned() }),
            (long, WireError::TooLong(IS_CHUNK as usize - 1)),
            (left_over, WireError::Nonsense),
        ] {
            let mut reader = Reader::new();
            reader.take(&bytes);
            assert_eq!(reader.read::<String>(), Err(expected.clone()));
            reader.take(&stream(&["x"]));
            assert_eq!(reader.read::<String>(), Err(expected));
        }
    }

    #[test]
    fn chunks_travel_beside_messages() {
        let mut writer = Writer::new("1");
        writer.push(&"before").unwrap();
        let fill = |bytes: &mut [u8]| -> Result<(), WireError> {
            bytes.fill(7);
            Ok(())
        };
        writer.push_chunk(5, 300, fill).unwrap();
        assert_eq!(writer.push_chunk(6, 1, |_| Err(WireError::Nonsense)), Err(WireError::Nonsense));
        assert_eq!(writer.push_chunk(6, LONGEST, fill), Err(WireError::TooLong(LONGEST)));
        writer.push(&"behind").unwrap();
        let bytes = writer.unsent().to_vec();
        for size in [1, 7, 4096] {
            let (mut reader, mut found, mut of_chunk) = (Reader::new(), Vec::new(), 0);
            for piece in bytes.chunks(size) {
                reader.take(piece);
                while let Some(frame) = reader.read_frame::<String>().unwrap() {
                    match frame {
                        Frame::Message(text) => found.push(format!("{text} {of_chunk}")),
                        Frame::Chunk(number, bytes) => {
                            assert_eq!((number, bytes), (5, &vec![7; bytes.len()][..]));
                            assert!((1..=size).contains(&bytes.len()), "a piece of what has come");
                            of_chunk += bytes.len();
                        }
                    }
                }
            }
            assert_eq!(found, ["before 0", "behind 300"], "{size}");
        }
        let (mut reader, mut of_chunk) = (Reader::new(), 0);
        let mut rest = bytes.chunks(7);
        for piece in &mut rest {
            match reader.pass(piece) {
                None => reader.take(piece),
                Some((number, count)) => {
                    assert_eq!((number, &piece[..count]), (5, &[7u8; 7][..count]));
                    of_chunk += count;
                    reader.take(&piece[count..]);
                }
            }
            while let Some(frame) = reader.read_frame::<String>().unwrap() {
                match frame {
                    Frame::Message(_) => {}
                    Frame::Chunk(_, bytes) => of_chunk += bytes.len(),
                }
            }
        }
        assert_eq!(of_chunk, 300);
        assert_eq!(reader.pass(b"x"), None, "that is no part of a chunk");
        let mut reader = Reader::new();
        reader.take(&bytes);
        assert_eq!(reader.read::<String>(), Ok(Some("before".to_owned())));
        assert_eq!(reader.read::<String>(), Err(WireError::Nonsense), "who expects messages alone");
    }

    #[test]
    fn a_message_that_is_too_long_is_not_sent() {
        let mut writer = Writer::new("1");
        let before = writer.unsent().len();
        assert!(matches!(writer.push(&"x".repeat(LONGEST)), Err(WireError::TooLong(_))));
        assert_eq!(writer.unsent().len(), before);
        writer.sent(3);
        writer.push(&"x").unwrap();
        assert_eq!(writer.unsent().len(), before - 3 + 6);
        writer.sent(usize::MAX / 2);
        assert!(writer.unsent().is_empty());
        writer.push(&"abc").unwrap();
        writer.sent(1);
        writer.push(&"d").unwrap();
        assert_eq!(writer.unsent(), [0, 0, 0, 3, b'a', b'b', b'c', 2, 0, 0, 0, 1, b'd']);
        writer.sent(13);
        assert!(writer.unsent().is_empty());
    }
}
