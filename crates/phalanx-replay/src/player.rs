//! A recording is read again, and what a program does is compared with it.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use crate::entry::{Entry, word_place};
use crate::{BLOCK, Call, ENTRY, Header, LONGEST, Outcome, Place};

/// Why a file cannot be replayed, as the end of a sentence that has named it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage(String);

impl Damage {
    pub(crate) fn new(what: impl Into<String>) -> Damage {
        Damage(what.into())
    }
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What a call is to come to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    /// This.
    Again(Outcome),
    /// Whatever comes: the recording ends before, since its process was ended. `true` the first time.
    Free(bool),
    /// The program does something else than it did then; the sentence says what.
    Left(String),
}

/// Fills a buffer from a place in the file.
pub(crate) type Read<'f> = dyn Fn(u64, &mut [u8]) -> Result<(), Damage> + 'f;

/// The decisions of one process.
#[derive(Debug, Default)]
pub struct Player {
    threads: BTreeMap<u32, Stream>,
    /// The process has ended message passing: there is no more that has not been written.
    ended: bool,
    told: bool,
}

/// Those of one thread.
#[derive(Debug, Default)]
struct Stream {
    items: Vec<Item>,
    next: usize,
    /// How many of the run of nothings at `next` have been repeated.
    repeated: u64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Item {
    Nothings(u64),
    Call { call: Call, outcome: Outcome, place: Option<Place> },
}

impl Item {
    /// In words, as what was recorded.
    fn said(&self, repeated: u64) -> String {
        match self {
            Item::Nothings(count) => match count.saturating_sub(repeated) {
                1 => "a look that found nothing".to_owned(),
                many => format!("{many} looks that found nothing"),
            },
            Item::Call { call, place: Some(place), .. } => format!("{call}, at {place}"),
            Item::Call { call, place: None, .. } => call.to_string(),
        }
    }
}

impl Player {
    /// Reads what a file says of the process of a slot.
    ///
    /// # Errors
    /// When it cannot be read, is no recording, or is damaged.
    pub fn open(path: &Path, slot: u32) -> Result<Player, Damage> {
        let failed = |e: std::io::Error| Damage::new(format!("it cannot be read: {e}"));
        let file = File::open(path).map_err(failed)?;
        let length = file.metadata().map_err(failed)?.len();
        if length > LONGEST {
            return Err(Damage::new(format!("it has {length} bytes, more than any recording")));
        }
        let read = |at: u64, block: &mut [u8]| file.read_exact_at(block, at).map_err(failed);
        Player::read(length, slot, &read)
    }

    pub(crate) fn read(length: u64, slot: u32, read: &Read<'_>) -> Result<Player, Damage> {
        let mut header = vec![0; usize::try_from(length).unwrap_or(BLOCK).min(BLOCK)];
        read(0, &mut header)?;
        Header::decode(&header)?;
        let damaged = |at: u64| Damage::new(format!("it is damaged at byte {at}"));
        // Where the blocks of each thread are, by their numbers. (What is behind the last whole block was never written.)
        let mut blocks: BTreeMap<u32, BTreeMap<u32, u64>> = BTreeMap::new();
        let mut at = BLOCK as u64;
        while at + BLOCK as u64 <= length {
            let mut head = [0; ENTRY];
            read(at, &mut head)?;
            match Entry::decode(&head, at) {
                Some(Entry::Head { slot: whose, thread, number }) => {
                    if whose == slot && blocks.entry(thread).or_default().insert(number, at).is_some() {
                        return Err(damaged(at));
                    }
                }
                // Whoever added it was killed before it had said whose it is.
                Some(Entry::Empty) => {}
                _ => return Err(damaged(at)),
            }
            at += BLOCK as u64;
        }
        let mut player = Player::default();
        for (thread, blocks) in blocks {
            let mut entries = Vec::new();
            'thread: for (expected, (number, at)) in blocks.into_iter().enumerate() {
                if u32::try_from(expected) != Ok(number) {
                    return Err(damaged(at));
                }
                let mut block = vec![0; BLOCK];
                read(at, &mut block)?;
                for (nth, bytes) in block.as_chunks::<ENTRY>().0.iter().enumerate().skip(1) {
                    let at = at + (nth * ENTRY) as u64;
                    match Entry::decode(bytes, at) {
                        Some(Entry::Empty) => break 'thread,
                        Some(entry) => entries.push((at, entry)),
                        None => return Err(damaged(at)),
                    }
                }
            }
            let (stream, ended) = Stream::of(entries).map_err(damaged)?;
            player.ended |= ended;
            player.threads.insert(thread, stream);
        }
        Ok(player)
    }

    /// What a call of a thread is to come to.
    pub fn next(&mut self, thread: u32, call: &Call) -> Next {
        let Some(stream) = self.threads.get_mut(&thread) else { return self.behind(call) };
        match stream.items.get(stream.next) {
            None => self.behind(call),
            Some(Item::Nothings(count)) if call.kind.looks() => {
                stream.repeated += 1;
                if stream.repeated >= *count {
                    (stream.next, stream.repeated) = (stream.next + 1, 0);
                }
                Next::Again(Outcome::Nothing)
            }
            Some(Item::Call { call: recorded, outcome, .. }) if recorded == call => {
                let outcome = outcome.clone();
                stream.next += 1;
                Next::Again(outcome)
            }
            Some(item) => {
                let alike = matches!(item, Item::Call { call: recorded, .. }
                    if Call { comm: call.comm, ..*recorded } == *call && recorded.to_string() == call.to_string());
                let other = if alike { ", which is another one than then" } else { "" };
                Next::Left(format!("recorded was {}; now comes {call}{other}", item.said(stream.repeated)))
            }
        }
    }

    /// A call behind all that was recorded.
    fn behind(&mut self, call: &Call) -> Next {
        if self.ended {
            return Next::Left(format!("recorded was nothing more; now comes {call}"));
        }
        Next::Free(!std::mem::replace(&mut self.told, true))
    }

    /// What was recorded and has not come, when the process ends message passing.
    #[must_use]
    pub fn left(&self) -> Option<String> {
        if !self.ended {
            return None;
        }
        let item = |stream: &Stream| stream.items.get(stream.next).map(|item| item.said(stream.repeated));
        let said = self.threads.values().find_map(item)?;
        Some(format!("recorded was {said}; now comes MPI_Finalize"))
    }
}

impl Stream {
    /// From its entries; whether they end with the end. An error is the place of what cannot be.
    fn of(entries: Vec<(u64, Entry)>) -> Result<(Stream, bool), u64> {
        let (mut stream, mut files, mut name) = (Stream::default(), Vec::<Arc<str>>::new(), Vec::new());
        let mut entries = entries.into_iter();
        while let Some((at, entry)) = entries.next() {
            match entry {
                Entry::Nothings(count) if count > 0 => stream.items.push(Item::Nothings(count)),
                Entry::Name(piece) => {
                    let is_last = piece.len() < crate::entry::NAME_BYTES;
                    name.extend(piece);
                    if is_last {
                        // Errors name it, and a terminal takes no orders from a file.
                        let text = String::from_utf8_lossy(&std::mem::take(&mut name)).replace(char::is_control, "?");
                        files.push(text.into());
                    }
                }
                Entry::Call { call, mut outcome, place, more } => {
                    if let Outcome::Done(numbers) = &mut outcome {
                        let all = more as usize + numbers.len();
                        while numbers.len() < all {
                            let Some((_, Entry::More(more))) = entries.next() else { return Err(at) };
                            if more.is_empty() || numbers.len() + more.len() > all {
                                return Err(at);
                            }
                            numbers.extend(more);
                        }
                    }
                    let place = word_place(place)
                        .and_then(|(file, line)| Some(Place { file: Arc::clone(files.get(file)?), line }));
                    stream.items.push(Item::Call { call, outcome, place });
                }
                Entry::End if entries.len() == 0 => return Ok((stream, true)),
                _ => return Err(at),
            }
        }
        Ok((stream, false))
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;
    use std::sync::atomic::{AtomicU32, Ordering};

    use proptest::prelude::*;

    use super::*;
    use crate::{CommMark, Kind, Writer};

    /// A file that is gone afterwards.
    struct Scratch(PathBuf);

    impl Scratch {
        fn new() -> Scratch {
            static NUMBER: AtomicU32 = AtomicU32::new(0);
            let number = NUMBER.fetch_add(1, Ordering::Relaxed);
            let path = std::env::temp_dir().join(format!("phalanx-replay-{}-{number}", std::process::id()));
            std::fs::write(&path, Header::new(2, "a.py").encode()).expect("it can be written");
            Scratch(path)
        }

        fn bytes(&self) -> Vec<u8> {
            std::fs::read(&self.0).expect("it is there")
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            let _ = std::fs::remove_file(&self.0);
        }
    }

    fn of_bytes(bytes: &[u8], slot: u32) -> Result<Player, Damage> {
        let read = |at: u64, room: &mut [u8]| {
            let at = usize::try_from(at).expect("it is small");
            room.copy_from_slice(&bytes[at..at + room.len()]);
            Ok(())
        };
        Player::read(bytes.len() as u64, slot, &read)
    }

    fn receive(tag: i32) -> Call {
        Call::of_message(Kind::Irecv, CommMark::new(3, 0, false, ""), -1, tag)
    }

    fn test() -> Call {
        Call::of_requests(Kind::Test, 1)
    }

    fn message(source: i32) -> Outcome {
        Outcome::Message { source, tag: 5 }
    }

    #[test]
    fn what_was_decided_is_decided_again() {
        let file = Scratch::new();
        let place =
            Place { file: "/somewhere/a program with a rather long name that takes pieces.py".into(), line: 12 };
        let some = Call::of_requests(Kind::Waitsome, 40);
        let numbers: Vec<u32> = (0..33).collect();
        {
            let mut writer = Writer::open(&file.0, 1).expect("it is there");
            let mut other = Writer::open(&file.0, 0).expect("it is there");
            let ticket = writer.note(0, receive(5), &Outcome::Open, Some(&place)).expect("there is room");
            for _ in 0..1000 {
                writer.note(0, test(), &Outcome::Nothing, Some(&place)).expect("there is room");
                other.note(0, receive(1), &message(7), Some(&place)).expect("there is room");
            }
            writer.settle(&ticket, message(2)).expect("it can be written");
            writer.note(0, some, &Outcome::Done(numbers.clone()), None).expect("there is room");
            writer.note(3, test(), &Outcome::Done(vec![]), None).expect("there is room");
            writer.end().expect("there is room");
        }
        let mut player = Player::open(&file.0, 1).expect("it is whole");
        assert_eq!(player.next(0, &receive(5)), Next::Again(message(2)));
        for _ in 0..999 {
            assert_eq!(player.next(0, &test()), Next::Again(Outcome::Nothing));
        }
        assert_eq!(
            player.next(0, &receive(5)),
            Next::Left(
                "recorded was a look that found nothing; now comes Irecv from any rank, tag 5, on a communicator of 3 \
                 processes"
                    .to_owned()
            )
        );
        assert_eq!(player.next(0, &test()), Next::Again(Outcome::Nothing));
        assert_eq!(player.left().as_deref(), Some("recorded was Waitsome of 40 requests; now comes MPI_Finalize"));
        assert_eq!(player.next(0, &some), Next::Again(Outcome::Done(numbers)));
        assert_eq!(player.next(3, &test()), Next::Again(Outcome::Done(vec![])));
        assert_eq!(player.left(), None);
        assert_eq!(
            player.next(0, &test()),
            Next::Left("recorded was nothing more; now comes Test of a request".to_owned())
        );
        // The other was killed.
        let mut player = Player::open(&file.0, 0).expect("it is whole");
        let said = match player.next(0, &receive(2)) {
            Next::Left(said) => said,
            other => panic!("{other:?}"),
        };
        assert!(said.contains("tag 1") && said.contains("tag 2") && said.contains("pieces.py:12"), "{said}");
        for _ in 0..1000 {
            assert_eq!(player.next(0, &receive(1)), Next::Again(message(7)));
        }
        assert_eq!(player.next(0, &receive(1)), Next::Free(true));
        assert_eq!(player.next(1, &receive(1)), Next::Free(false));
        assert_eq!(player.left(), None);
    }

    #[test]
    fn a_file_is_no_longer_than_it_may_be() {
        let file = Scratch::new();
        let mut writer = Writer::open(&file.0, 0).expect("it is there");
        writer.limit(5 * BLOCK as u64);
        let written = (0..1_000_000).take_while(|_| writer.note(0, receive(1), &message(7), None).is_ok()).count();
        assert_eq!(written, 4 * 127);
        assert_eq!(file.bytes().len(), 5 * BLOCK);
        let mut player = Player::open(&file.0, 0).expect("it is whole");
        for _ in 0..written {
            assert_eq!(player.next(0, &receive(1)), Next::Again(message(7)));
        }
        assert_eq!(player.next(0, &receive(1)), Next::Free(true));
    }

    #[test]
    fn a_communicator_that_looks_alike_is_told_apart() {
        let file = Scratch::new();
        let call = |name| Call::of_message(Kind::Recv, CommMark::new(3, 0, false, name), -1, -1);
        Writer::open(&file.0, 0).and_then(|mut w| w.note(0, call("a"), &message(1), None)).expect("there is room");
        let mut player = Player::open(&file.0, 0).expect("it is whole");
        assert!(matches!(player.next(0, &call("b")), Next::Left(said) if said.ends_with("another one than then")));
    }

    proptest! {
        #[test]
        fn damage_is_found_or_harmless(
            changes in proptest::collection::vec((any::<u32>(), any::<u8>()), 0..6),
            cut in any::<u32>(),
            keep in any::<bool>(),
        ) {
            let file = Scratch::new();
            let mut writer = Writer::open(&file.0, 1).expect("it is there");
            let place = Place { file: "a.py".into(), line: 3 };
            for nth in 0..200 {
                let outcome = if nth % 3 == 0 { Outcome::Nothing } else { Outcome::Done(vec![1, 2, 3]) };
                writer.note(nth % 2, Call::of_requests(Kind::Testsome, 5), &outcome, Some(&place)).expect("room");
            }
            writer.end().expect("room");
            let mut bytes = file.bytes();
            for (at, value) in changes {
                let at = at as usize % bytes.len();
                bytes[at] = value;
            }
            if !keep {
                bytes.truncate(cut as usize % (bytes.len() + 1));
            }
            if let Ok(mut player) = of_bytes(&bytes, 1) {
                for _ in 0..300 {
                    let _ = player.next(0, &Call::of_requests(Kind::Testsome, 5));
                }
                let _ = player.left();
            }
        }

        #[test]
        fn nonsense_is_refused_or_read(blocks in proptest::collection::vec(any::<[u8; ENTRY]>(), 0..260)) {
            let mut bytes = Header::new(1, "").encode();
            bytes.extend(blocks.iter().flatten());
            let _ = of_bytes(&bytes, 0);
        }

        #[test]
        fn entries_in_any_order_are_refused_or_read(order in proptest::collection::vec(0..7_usize, 0..126)) {
            let choice = [
                Entry::End,
                Entry::More(vec![1, 2]),
                Entry::More(vec![]),
                Entry::Name(b"x".to_vec()),
                Entry::Nothings(0),
                Entry::Head { slot: 0, thread: 0, number: 0 },
                Entry::Call {
                    call: Call::of_requests(Kind::Waitsome, 9),
                    outcome: Outcome::Done(vec![1]),
                    place: u32::MAX,
                    more: 2,
                },
            ];
            let mut bytes = Header::new(1, "").encode();
            let at = |nth: usize| (BLOCK + nth * ENTRY) as u64;
            bytes.extend(Entry::Head { slot: 0, thread: 0, number: 0 }.encode(at(0)));
            for (nth, which) in order.iter().enumerate() {
                bytes.extend(choice[*which].encode(at(nth + 1)));
            }
            bytes.resize(2 * BLOCK, 0);
            if let Ok(mut player) = of_bytes(&bytes, 0) {
                let _ = player.next(0, &Call::of_requests(Kind::Waitsome, 9));
            }
        }
    }
}
