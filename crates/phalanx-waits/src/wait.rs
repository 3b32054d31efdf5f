//! What a blocked thread says of its wait.

use serde::{Deserialize, Serialize};

/// Processes, by their slots, as ranges: the first slot and how many there are.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Peers(Vec<(u32, u32)>);

impl Peers {
    /// One process.
    #[must_use]
    pub fn one(slot: u32) -> Peers {
        Peers(vec![(slot, 1)])
    }

    /// Whether the process of a slot is among them.
    #[must_use]
    pub fn contains(&self, slot: u32) -> bool {
        self.0.iter().any(|(first, count)| slot.checked_sub(*first).is_some_and(|at| at < *count))
    }

    /// Their slots below `end`. (What was read from the segment may name any number of them.)
    pub fn below(&self, end: u32) -> impl Iterator<Item = u32> {
        self.0.iter().flat_map(move |(first, count)| *first..first.saturating_add(*count).min(end))
    }

    /// Whether some are not below `end`.
    #[must_use]
    pub fn reaches(&self, end: u32) -> bool {
        self.0.iter().any(|(first, count)| *count > 0 && first.saturating_add(*count) > end)
    }

    /// The only one, if there is one.
    #[must_use]
    pub fn only(&self) -> Option<u32> {
        match self.0[..] {
            [(slot, 1)] => Some(slot),
            _ => None,
        }
    }

    /// How many ranges it takes to name them.
    #[must_use]
    pub fn ranges(&self) -> usize {
        self.0.len()
    }
}

impl FromIterator<u32> for Peers {
    fn from_iter<I: IntoIterator<Item = u32>>(slots: I) -> Peers {
        let mut ranges: Vec<(u32, u32)> = Vec::new();
        for slot in slots {
            match ranges.last_mut() {
                Some((first, count)) if first.checked_add(*count) == Some(slot) => *count += 1,
                _ => ranges.push((slot, 1)),
            }
        }
        Peers(ranges)
    }
}

/// What kind of thing would end a wait, for hints.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Kind {
    /// A receiver takes a message.
    Send,
    /// A receiver takes a message that would not be waited for without `--check`.
    Kept,
    /// A message comes.
    Receive,
    /// The others come to a collective operation.
    Collective,
    /// A lock is given back.
    Lock,
    /// The others come to an epoch of a window.
    Epoch,
    /// Somebody accepts.
    Port,
    /// This process itself does something.
    Own,
}

/// One thing that a call waits for. It comes about when any of its peers does something.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Item {
    /// What kind of thing.
    pub kind: Kind,
    /// Who could do it.
    pub peers: Peers,
    /// In words, behind the name of the operation: "from rank 1, tag 7, on MPI_COMM_WORLD".
    pub what: String,
    /// What is nearly that, in words: "a message from rank 1 with tag 8 is here".
    pub near: String,
}

/// How many of the items a call needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Need {
    /// All of them; those that are named are enough for a proof.
    All,
    /// Any of them, and all are named.
    Any,
}

/// A place in the program.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Frame {
    /// Its file; for a program without sources its name.
    pub file: String,
    /// Its line, counted from 1; 0 where it is not known.
    pub line: u32,
    /// The function.
    pub function: String,
}

/// How the names of sources end from which native code is made.
const NATIVE: [&str; 20] = [
    "c", "h", "cc", "hh", "cpp", "hpp", "cxx", "hxx", "C", "cu", "f", "f77", "f90", "f95", "f03", "f08", "F", "F90",
    "rs", "pyx",
];

impl Frame {
    /// Whether it is of a program without an interpreter, or of a library that Python has called: its file is that of the code,
    /// or a source of such code.
    #[must_use]
    pub fn is_native(&self) -> bool {
        self.line == 0 || self.file.rsplit_once('.').is_some_and(|(_, end)| NATIVE.contains(&end))
    }
}

/// Which of these frames, innermost first, says where the program is: the innermost of its Python, if there is Python.
#[must_use]
pub fn main_frame(frames: &[Frame]) -> usize {
    frames.iter().position(|frame| !frame.is_native()).unwrap_or(0)
}

/// The collective operations of a communicator.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Collective {
    /// The communicator, by its context.
    pub context: u32,
    /// How texts call it.
    pub title: String,
    /// All its ranks.
    pub members: Peers,
}

/// A thread in a blocking call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wait {
    /// The thread, by its number in the kernel.
    pub thread: u32,
    /// Other threads of the process that are in blocking calls as well, each with a note of its own.
    pub mates: Vec<u32>,
    /// Whether none of the remaining threads can run again before one of these does, no timer of the process will ring, and no
    /// debugger holds it.
    pub alone: bool,
    /// The operation, as the standard calls it without the prefix.
    pub operation: String,
    /// Since when, in milliseconds of the clock that counts from the machine's start.
    pub since: u64,
    /// How many of the items it needs.
    pub need: Need,
    /// What it waits for.
    pub items: Vec<Item>,
    /// Where all of it is an operation of this kind, of one communicator: that one.
    pub collective: Option<Collective>,
    /// Who could advance what the process has under way besides.
    pub background: Option<Peers>,
    /// Where the program is, innermost first.
    pub place: Vec<Frame>,
}

impl Wait {
    /// Its bytes. `None` when there are more than `room`, even without most of the places.
    #[must_use]
    pub fn encode(mut self, room: usize) -> Option<Vec<u8>> {
        loop {
            let bytes = postcard::to_allocvec(&self).ok()?;
            if bytes.len() <= room {
                return Some(bytes);
            }
            // The proof needs the items; who reads it needs one place at least.
            let places = self.place.len();
            if places > 1 {
                self.place.truncate(places / 2);
            } else if self.need == Need::All && self.items.len() > 1 {
                self.items.truncate(self.items.len() / 2);
            } else {
                return None;
            }
        }
    }

    /// What was encoded; `None` for anything else.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Wait> {
        match postcard::take_from_bytes(bytes) {
            Ok((wait, [])) => Some(wait),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn wait() -> Wait {
        let item = Item { kind: Kind::Receive, peers: Peers::one(1), what: "from rank 1".into(), near: String::new() };
        Wait {
            thread: 7,
            mates: vec![],
            alone: true,
            operation: "Recv".into(),
            since: 12,
            need: Need::All,
            items: vec![item; 40],
            collective: None,
            background: None,
            place: vec![Frame { file: "a.py".into(), line: 3, function: "main".into() }; 50],
        }
    }

    #[test]
    fn what_is_encoded_is_decoded() {
        let bytes = wait().encode(1 << 16).expect("there is room");
        assert_eq!(Wait::decode(&bytes), Some(wait()));
        assert_eq!(Wait::decode(&bytes[1..]), None);
        assert_eq!(Wait::decode(&[]), None);
    }

    #[test]
    fn little_room_costs_places_and_then_items() {
        let bytes = wait().encode(300).expect("there is room for some");
        let some = Wait::decode(&bytes).expect("it is whole");
        assert_eq!(some.place.len(), 1);
        assert!(!some.items.is_empty() && some.items.len() < 40);
        let any = Wait { need: Need::Any, ..wait() };
        assert_eq!(any.encode(300), None, "a wait for any of many is told whole or not at all");
    }

    #[test]
    fn peers_are_ranges() {
        let peers: Peers = [3, 4, 5, 9].into_iter().collect();
        assert_eq!(peers.ranges(), 2);
        assert!(peers.contains(4) && peers.contains(9) && !peers.contains(6));
        assert_eq!(peers.below(5).collect::<Vec<_>>(), [3, 4]);
        assert_eq!(Peers(vec![(1, u32::MAX), (u32::MAX, u32::MAX)]).below(3).collect::<Vec<_>>(), [1, 2]);
    }

    proptest! {
        #[test]
        fn nonsense_is_refused_or_read(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            if let Some(wait) = Wait::decode(&bytes) {
                prop_assert!(wait.encode(1 << 20).is_some());
            }
        }
    }
}
