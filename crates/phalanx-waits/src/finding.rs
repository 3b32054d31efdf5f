//! A mistake that `--check` has found in a program, and its bytes.

use serde::{Deserialize, Serialize};

use crate::wait::Frame;

/// What is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Class {
    /// A message that nobody has received.
    UnreceivedMessage,
    /// A request that has not come to its end.
    OpenRequest,
    /// A handle that was not freed.
    LeakedHandle,
    /// A receive into memory that another operation under way uses.
    OverlappingBuffers,
    /// Data that was changed while a send had it.
    ChangedBuffer,
    /// A call of a thread that may not make it.
    WrongThread,
    /// A receive from any rank for which several messages were there. No mistake by itself.
    RacingReceive,
}

impl Class {
    /// What reports call it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Class::UnreceivedMessage => "unreceived-message",
            Class::OpenRequest => "open-request",
            Class::LeakedHandle => "leaked-handle",
            Class::OverlappingBuffers => "overlapping-buffers",
            Class::ChangedBuffer => "changed-buffer",
            Class::WrongThread => "wrong-thread",
            Class::RacingReceive => "racing-receive",
        }
    }

    /// Whether it is something to know, and no mistake.
    #[must_use]
    pub fn is_remark(self) -> bool {
        self == Class::RacingReceive
    }
}

/// A mistake, at one place of the program.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// What is wrong.
    pub class: Class,
    /// In words, behind the rank: "a message of 8 bytes to rank 1 was not received".
    pub what: String,
    /// Where in the program.
    pub place: Option<Frame>,
    /// A second place, with what it is: "the other receive".
    pub other: Option<(String, Frame)>,
}

impl Finding {
    /// What repetitions have in common: class and places; where none is known, the words.
    #[must_use]
    pub fn key(&self) -> Key {
        let what = if self.place.is_none() { self.what.clone() } else { String::new() };
        Key(self.class, self.place.clone(), self.other.as_ref().map(|(_, frame)| frame.clone()), what)
    }
}

/// See [`Finding::key`].
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(Class, Option<Frame>, Option<Frame>, String);

/// One record of what a rank has found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Found {
    /// Something new.
    First(Finding),
    /// The finding of this number again, so many times.
    Again(u32, u64),
    /// So many more findings than there is room for.
    More(u64),
}

impl Found {
    /// Its bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        postcard::to_allocvec(self).unwrap_or_default()
    }

    /// What was encoded; `None` for anything else.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Found> {
        match postcard::take_from_bytes(bytes) {
            Ok((found, [])) => Some(found),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_encoded_is_decoded() {
        let frame = |line| Frame { file: "a.py".into(), line, function: "main".into() };
        let finding = Finding {
            class: Class::ChangedBuffer,
            what: "a buffer".into(),
            place: Some(frame(3)),
            other: Some(("the wait".into(), frame(4))),
        };
        for found in [Found::First(finding), Found::Again(3, 7), Found::More(9)] {
            assert_eq!(Found::decode(&found.encode()), Some(found));
        }
    }

    proptest! {
        #[test]
        fn nonsense_is_refused_or_read(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            if let Some(found) = Found::decode(&bytes) {
                prop_assert!(!found.encode().is_empty());
            }
        }
    }
}
