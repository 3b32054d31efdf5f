//! Fuzz targets of recordings.

use std::fs;
use std::path::PathBuf;

use crate::entry::Entry;
use crate::{BLOCK, Call, CommMark, ENTRY, Header, Kind, Next, Outcome, Place, Player, Writer};

phalanx_fuzz::targets! {
    recordings("recording", "the file of a recording", cost 4, seeds());
}

/// A file that is gone afterwards.
struct Scratch(PathBuf);

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

/// The calls that a recording is asked about.
fn calls() -> [Call; 3] {
    let comm = CommMark::new(3, 0, false, "a name");
    let message = |kind| Call::of_message(kind, comm, -1, 7);
    [message(Kind::Recv), message(Kind::Iprobe), Call::of_requests(Kind::Waitsome, 20)]
}

/// A recording of two processes, of which the first is read.
fn seeds() -> Vec<Vec<u8>> {
    let file = Scratch(std::env::temp_dir().join(format!("phalanx-replay-seed-{}", std::process::id())));
    fs::write(&file.0, Header::new(2, "a.py 'an argument'").encode()).expect("there is a place for files");
    let [receive, probe, wait] = calls();
    let place = Place { file: "/somewhere/a program with a name that takes several pieces.py".into(), line: 12 };
    for slot in 0..2 {
        let mut writer = Writer::open(&file.0, slot).expect("it is there");
        let mut note = |call, outcome| writer.note(0, call, &outcome, Some(&place)).expect("there is room");
        note(receive, Outcome::Message { source: 2, tag: 7 });
        note(probe, Outcome::Nothing);
        note(probe, Outcome::Nothing);
        note(wait, Outcome::Done((0..15).collect()));
        note(receive, Outcome::Cancelled);
        if slot == 0 {
            writer.end().expect("there is room");
        }
    }
    let whole = fs::read(&file.0).expect("it is there");
    let header = Header::new(1, "").encode();
    // The block of the first process is changed more often without the others.
    vec![[&header, &whole[BLOCK..2 * BLOCK]].concat(), whole[..BLOCK + 8 * ENTRY].to_vec()]
}

fn recordings(bytes: &[u8]) {
    // As it is, and with the sums that changed bytes would have: nobody goes on behind a wrong one.
    play(bytes);
    let mut whole = bytes.to_vec();
    Header::correct(&mut whole);
    for at in (BLOCK..whole.len()).step_by(ENTRY) {
        if let Some(entry) = whole[at..].first_chunk_mut() {
            Entry::correct(entry, at as u64);
        }
    }
    play(&whole);
}

fn play(bytes: &[u8]) {
    let read = |at: u64, room: &mut [u8]| {
        let at = usize::try_from(at).expect("it is in the file");
        room.copy_from_slice(&bytes[at..][..room.len()]);
        Ok(())
    };
    if let Ok(header) = Header::decode(bytes) {
        assert_eq!(Header::decode(&header.encode()), Ok(header));
    }
    let Ok(mut player) = Player::read(bytes.len() as u64, 0, &read) else { return };
    // More than there is room for.
    for turn in 0..bytes.len() / ENTRY + 8 {
        for call in calls() {
            match player.next(0, &call) {
                Next::Again(Outcome::Done(numbers)) => assert!(numbers.len() <= call.requests as usize),
                Next::Free(is_first) => assert!(turn == 0 || !is_first || player.left().is_none()),
                Next::Left(said) => assert!(!said.contains(char::is_control), "{said:?}"),
                Next::Again(_) => {}
            }
        }
    }
    assert!(player.left().is_none_or(|said| !said.contains(char::is_control)));
}
