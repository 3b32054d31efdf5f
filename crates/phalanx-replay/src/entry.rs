//! One decision, and its 32 bytes.

use std::fmt;
use std::sync::Arc;

use crate::ENTRY;

/// Which call it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A receive that is waited for at once.
    Recv,
    /// A receive that has begun.
    Irecv,
    /// `MPI_Probe`.
    Probe,
    /// `MPI_Mprobe`.
    Mprobe,
    /// `MPI_Iprobe`.
    Iprobe,
    /// `MPI_Improbe`.
    Improbe,
    /// `MPI_Test`.
    Test,
    /// `MPI_Request_get_status` and its kin.
    Status,
    /// `MPI_Testall`.
    Testall,
    /// `MPI_Testany`.
    Testany,
    /// `MPI_Testsome`.
    Testsome,
    /// `MPI_Waitany`.
    Waitany,
    /// `MPI_Waitsome`.
    Waitsome,
}

impl Kind {
    /// All of them, at their codes less one, with what they are called.
    const ALL: [(Kind, &str); 13] = [
        (Kind::Recv, "Recv"),
        (Kind::Irecv, "Irecv"),
        (Kind::Probe, "Probe"),
        (Kind::Mprobe, "Mprobe"),
        (Kind::Iprobe, "Iprobe"),
        (Kind::Improbe, "Improbe"),
        (Kind::Test, "Test"),
        (Kind::Status, "Request_get_status"),
        (Kind::Testall, "Testall"),
        (Kind::Testany, "Testany"),
        (Kind::Testsome, "Testsome"),
        (Kind::Waitany, "Waitany"),
        (Kind::Waitsome, "Waitsome"),
    ];

    fn code(self) -> u8 {
        // Twelve at most.
        Kind::ALL.iter().position(|(kind, _)| *kind == self).unwrap_or_default() as u8 + 1
    }

    fn of(code: u8) -> Option<Kind> {
        Kind::ALL.get(usize::from(code).checked_sub(1)?).map(|(kind, _)| *kind)
    }

    /// What the standard calls it, without the prefix.
    #[must_use]
    pub fn name(self) -> &'static str {
        Kind::ALL[usize::from(self.code()) - 1].1
    }

    /// Whether it only looks, so that it may find nothing.
    #[must_use]
    pub fn looks(self) -> bool {
        use Kind::{Improbe, Iprobe, Status, Test, Testall, Testany, Testsome};
        matches!(self, Iprobe | Improbe | Test | Status | Testall | Testany | Testsome)
    }

    /// Whether it is about a message, and not about requests.
    fn is_of_messages(self) -> bool {
        use Kind::{Improbe, Iprobe, Irecv, Mprobe, Probe, Recv};
        matches!(self, Recv | Irecv | Probe | Mprobe | Iprobe | Improbe)
    }
}

/// By what a communicator is known again in another run: how many it has, and a sum over its name and this process's rank.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CommMark(u32);

/// Bits of the number of processes.
const SIZE_BITS: u32 = 20;

impl CommMark {
    /// Of a communicator with so many processes that messages come from.
    #[must_use]
    pub fn new(peers: u32, rank: u32, is_inter: bool, name: &str) -> CommMark {
        let mut bytes = name.as_bytes().to_vec();
        bytes.extend_from_slice(&rank.to_le_bytes());
        bytes.push(u8::from(is_inter));
        let sum = crate::header::sum(&bytes);
        CommMark(peers.min((1 << SIZE_BITS) - 1) | (sum ^ (sum >> 12)) << SIZE_BITS)
    }

    fn peers(self) -> u32 {
        self.0 & ((1 << SIZE_BITS) - 1)
    }
}

/// A call that something was decided in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Call {
    /// Which.
    pub kind: Kind,
    /// On which communicator, of one about a message.
    pub comm: CommMark,
    /// From whom; negative for anybody.
    pub source: i32,
    /// With which tag; negative for any.
    pub tag: i32,
    /// Of how many requests.
    pub requests: u32,
}

impl Call {
    /// A call about a message.
    #[must_use]
    pub fn of_message(kind: Kind, comm: CommMark, source: i32, tag: i32) -> Call {
        Call { kind, comm, source, tag, requests: 0 }
    }

    /// A call about so many requests.
    #[must_use]
    pub fn of_requests(kind: Kind, requests: usize) -> Call {
        let requests = u32::try_from(requests).unwrap_or(u32::MAX);
        Call { kind, comm: CommMark::default(), source: 0, tag: 0, requests }
    }
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.kind.name())?;
        if !self.kind.is_of_messages() {
            return match self.requests {
                1 => f.write_str(" of a request"),
                many => write!(f, " of {many} requests"),
            };
        }
        match self.source {
            ..0 => f.write_str(" from any rank")?,
            rank => write!(f, " from rank {rank}")?,
        }
        if self.tag >= 0 {
            write!(f, ", tag {}", self.tag)?;
        }
        match self.comm.peers() {
            1 => f.write_str(", on a communicator of 1 process"),
            many => write!(f, ", on a communicator of {many} processes"),
        }
    }
}

/// What a call came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Nothing yet: the job has ended before.
    Open,
    /// It found nothing.
    Nothing,
    /// This message.
    Message {
        /// The rank that has sent it.
        source: i32,
        /// Its tag.
        tag: i32,
    },
    /// No message: it was withdrawn.
    Cancelled,
    /// The requests were complete, of several those with these numbers.
    Done(Vec<u32>),
}

/// A line of the program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Its file.
    pub file: Arc<str>,
    /// Its number, counted from 1.
    pub line: u32,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file, self.line)
    }
}

/// Bits of a line's number; the rest of the word is the number of its file.
const LINE_BITS: u32 = 20;
/// Files that have numbers. Of further ones no place is kept.
pub(crate) const FILES: usize = (1 << (32 - LINE_BITS)) - 1;

/// A line as a word: 0 is none.
pub(crate) fn place_word(file: usize, line: u32) -> u32 {
    match u32::try_from(file + 1) {
        Ok(file) if file < 1 << (32 - LINE_BITS) && line < 1 << LINE_BITS => file << LINE_BITS | line,
        _ => 0,
    }
}

/// The number of the file, and the line.
pub(crate) fn word_place(word: u32) -> Option<(usize, u32)> {
    Some(((word >> LINE_BITS).checked_sub(1)? as usize, word & ((1 << LINE_BITS) - 1)))
}

const NOTHINGS: u8 = 0x20;
const MORE: u8 = 0x21;
const NAME: u8 = 0x22;
const END: u8 = 0x23;
const HEAD: u8 = 0x24;

const OPEN: u8 = 0;
const MESSAGE: u8 = 1;
const CANCELLED: u8 = 2;
const DONE: u8 = 3;

/// Bytes of a name in one entry.
pub(crate) const NAME_BYTES: usize = ENTRY - 4;
/// Indices in one entry.
pub(crate) const INDICES: usize = (ENTRY - 8) / 4;

/// What an entry says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Entry {
    /// None has been written here.
    Empty,
    /// Whose block it is: slot, thread, number of the block.
    Head { slot: u32, thread: u32, number: u32 },
    /// A call; where it came to several requests, so many more of their numbers follow.
    Call { call: Call, outcome: Outcome, place: u32, more: u32 },
    /// So many calls that looked and found nothing.
    Nothings(u64),
    /// Numbers of requests.
    More(Vec<u32>),
    /// A piece of the name of the next file, and whether it is the last.
    Name(Vec<u8>),
    /// The process has ended message passing.
    End,
}

/// A sum over an entry and its place in the file.
fn check(bytes: &[u8; ENTRY], at: u64) -> [u8; 2] {
    let mut all = [0; ENTRY + 8];
    all[..ENTRY].copy_from_slice(bytes);
    all[2..4].fill(0);
    all[ENTRY..].copy_from_slice(&at.to_le_bytes());
    let sum = crate::header::sum(&all);
    ((sum ^ (sum >> 16)) as u16).to_le_bytes()
}

impl Entry {
    /// Its bytes at a place in the file.
    pub(crate) fn encode(&self, at: u64) -> [u8; ENTRY] {
        let mut bytes = [0; ENTRY];
        let mut put = |first: usize, values: &[u32]| {
            for (room, value) in bytes[first..].chunks_exact_mut(4).zip(values) {
                room.copy_from_slice(&value.to_le_bytes());
            }
        };
        let (kind, how) = match self {
            Entry::Empty => return bytes,
            Entry::Head { slot, thread, number } => {
                put(4, &[*slot, *thread, *number]);
                (HEAD, 0)
            }
            Entry::Call { call, outcome, place, more } => {
                put(4, &[*place, call.comm.0, call.source.cast_unsigned(), call.tag.cast_unsigned(), call.requests]);
                let how = match outcome {
                    Outcome::Open | Outcome::Nothing => OPEN,
                    Outcome::Message { source, tag } => {
                        put(24, &[source.cast_unsigned(), tag.cast_unsigned()]);
                        MESSAGE
                    }
                    Outcome::Cancelled => CANCELLED,
                    Outcome::Done(numbers) => {
                        // The number of numbers, and the first.
                        let first = numbers.first().copied();
                        put(24, &[more.saturating_add(u32::from(first.is_some())), first.unwrap_or_default()]);
                        DONE
                    }
                };
                (call.kind.code(), how)
            }
            Entry::Nothings(count) => {
                put(8, &[*count as u32, (*count >> 32) as u32]);
                (NOTHINGS, 0)
            }
            Entry::More(numbers) => {
                put(8, numbers);
                (MORE, numbers.len().min(INDICES) as u8)
            }
            Entry::Name(piece) => {
                let piece = &piece[..piece.len().min(NAME_BYTES)];
                bytes[4..4 + piece.len()].copy_from_slice(piece);
                (NAME, piece.len() as u8)
            }
            Entry::End => (END, 0),
        };
        (bytes[0], bytes[1]) = (kind, how);
        let check = check(&bytes, at);
        bytes[2..4].copy_from_slice(&check);
        bytes
    }

    /// Gives bytes at a place in the file the sum that they have, if something is written there.
    #[cfg(any(test, fuzzing))]
    pub(crate) fn correct(bytes: &mut [u8; ENTRY], at: u64) {
        if bytes.iter().any(|byte| *byte != 0) {
            let check = check(bytes, at);
            bytes[2..4].copy_from_slice(&check);
        }
    }

    /// What bytes at a place in the file say; `None` for what nobody has written.
    pub(crate) fn decode(bytes: &[u8; ENTRY], at: u64) -> Option<Entry> {
        if bytes.iter().all(|byte| *byte == 0) {
            return Some(Entry::Empty);
        }
        if bytes[2..4] != check(bytes, at) {
            return None;
        }
        let word = |at: usize| u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
        let how = bytes[1];
        Some(match bytes[0] {
            HEAD => Entry::Head { slot: word(4), thread: word(8), number: word(12) },
            NOTHINGS => Entry::Nothings(u64::from(word(8)) | u64::from(word(12)) << 32),
            MORE if usize::from(how) <= INDICES => {
                Entry::More((0..usize::from(how)).map(|number| word(8 + 4 * number)).collect())
            }
            NAME if usize::from(how) <= NAME_BYTES => Entry::Name(bytes[4..4 + usize::from(how)].to_vec()),
            END => Entry::End,
            kind => {
                let call = Call {
                    kind: Kind::of(kind)?,
                    comm: CommMark(word(8)),
                    source: word(12).cast_signed(),
                    tag: word(16).cast_signed(),
                    requests: word(20),
                };
                let (outcome, more) = match how {
                    OPEN => (Outcome::Open, 0),
                    MESSAGE => (Outcome::Message { source: word(24).cast_signed(), tag: word(28).cast_signed() }, 0),
                    CANCELLED => (Outcome::Cancelled, 0),
                    DONE if word(24) == 0 => (Outcome::Done(Vec::new()), 0),
                    // There are no more than requests.
                    DONE if word(24) <= call.requests => (Outcome::Done(vec![word(28)]), word(24) - 1),
                    _ => return None,
                };
                Entry::Call { call, outcome, place: word(4), more }
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_encoded_is_decoded() {
        let receive = Call::of_message(Kind::Recv, CommMark::new(3, 1, false, "world"), -1, 7);
        let wait = Call::of_requests(Kind::Waitsome, 9);
        let call = |call, outcome, more| Entry::Call { call, outcome, place: place_word(2, 77), more };
        for entry in [
            Entry::Empty,
            Entry::Head { slot: 3, thread: 1, number: 9 },
            call(receive, Outcome::Open, 0),
            call(receive, Outcome::Message { source: 2, tag: 7 }, 0),
            call(receive, Outcome::Cancelled, 0),
            call(wait, Outcome::Done(vec![4]), 3),
            call(wait, Outcome::Done(vec![]), 0),
            Entry::Nothings(1 << 40),
            Entry::More(vec![1, 2, 3, 4, 5, 6]),
            Entry::Name(b"a.py".to_vec()),
            Entry::End,
        ] {
            assert_eq!(Entry::decode(&entry.encode(4096), 4096), Some(entry.clone()));
            if entry != Entry::Empty {
                assert_eq!(Entry::decode(&entry.encode(4096), 4128), None, "in another place it is none");
            }
        }
        assert_eq!(word_place(place_word(2, 77)), Some((2, 77)));
        assert_eq!(place_word(FILES, 1), 0);
    }

    #[test]
    fn calls_are_named() {
        let comm = CommMark::new(4, 0, false, "");
        assert_eq!(
            Call::of_message(Kind::Irecv, comm, -1, 3).to_string(),
            "Irecv from any rank, tag 3, on a communicator of 4 processes"
        );
        assert_eq!(Call::of_requests(Kind::Testany, 2).to_string(), "Testany of 2 requests");
        for (kind, name) in Kind::ALL {
            assert_eq!((Kind::of(kind.code()), kind.name()), (Some(kind), name));
        }
    }

    proptest! {
        #[test]
        fn nonsense_is_refused_or_read(mut bytes in any::<[u8; ENTRY]>(), at in any::<u64>()) {
            let _ = Entry::decode(&bytes, at);
            bytes[0] %= HEAD + 2;
            let check = check(&bytes, at);
            bytes[2..4].copy_from_slice(&check);
            if let Some(entry) = Entry::decode(&bytes, at) {
                let again = entry.encode(at);
                prop_assert_eq!(Entry::decode(&again, at), Some(entry));
            }
        }
    }
}
