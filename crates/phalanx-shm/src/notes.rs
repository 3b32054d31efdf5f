//! What blocked threads say of their waits, for whoever looks: notes in the segment, a few for each process.
//!
//! A note belongs to one thread, which writes it while it is awake and says when it goes to sleep. Who looks takes only
//! notes of sleepers, and learns whether a note still held at a later moment. What is in a note, and what is proved from
//! several, this crate does not know.
//!
//! # Words of a note
//!
//! | word | content | written by |
//! |---|---|---|
//! | 0 | epoch: odd while the thread is awake, and before the first note; it only grows | the thread |
//! | 1 | the state of the word that it sleeps on | the thread |
//! | 2 | bytes of the content in the high half, and how often it was written | the thread |
//! | 3 | bytes of the verdict in the high half, and to which content it belongs | who looks |
//! | then | content, verdict | |
//!
//! The epoch makes this a seqlock (H.-J. Boehm, "Can seqlocks get along with programming language memory models?",
//! MSPC 2012): the content is atomic words, fences order them with the epoch. All of it is far from any hot path.

use core::fmt;

use crate::sync::{AtomicU64, Ordering, fence};

/// Threads of a process that may have a note at the same time.
pub const NOTES: usize = if cfg!(loom) { 1 } else { 4 };
/// Bytes of a note's content.
pub const NOTE_BYTES: usize = if cfg!(loom) { 16 } else { 2528 };
/// Bytes of a verdict.
pub const VERDICT_BYTES: usize = if cfg!(loom) { 8 } else { 4096 };

const HEAD: usize = 4;
const CONTENT: usize = NOTE_BYTES / 8;
const WORDS: usize = HEAD + CONTENT + VERDICT_BYTES / 8;
/// Words of the notes of a process.
pub const NOTES_WORDS: usize = NOTES * WORDS;

const EPOCH: usize = 0;
const TOKEN: usize = 1;
const SAID: usize = 2;
const JUDGED: usize = 3;

/// The notes of one process.
#[derive(Clone, Copy)]
pub struct Notes<'a>(&'a [AtomicU64]);

/// The moment in which a note was read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stamp {
    epoch: u64,
    /// The state of the word that its thread sleeps on.
    pub token: u32,
    /// Which content it was.
    pub serial: u32,
}

impl fmt::Debug for Notes<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries((0..NOTES).map(|at| self.note(at)[EPOCH].load(Ordering::Relaxed))).finish()
    }
}

impl<'a> Notes<'a> {
    /// Notes in memory of so many words, all zero at first.
    ///
    /// # Panics
    ///
    /// When it is not exactly the room that they take.
    pub fn over(words: &'a [AtomicU64]) -> Notes<'a> {
        assert_eq!(words.len(), NOTES_WORDS, "the notes of a process");
        Notes(words)
    }

    fn note(&self, at: usize) -> &'a [AtomicU64] {
        &self.0[at * WORDS..(at + 1) * WORDS]
    }

    /// Writes a note, as its thread, awake. Of more than [`NOTE_BYTES`] bytes nothing is written, and nobody sees a note.
    pub fn write(&self, at: usize, content: &[u8]) {
        let note = self.note(at);
        self.clear(at);
        let serial = (note[SAID].load(Ordering::Relaxed) as u32).wrapping_add(1);
        let len = if content.len() <= NOTE_BYTES { content.len() as u64 } else { 0 };
        if len > 0 {
            store(&note[HEAD..HEAD + CONTENT], content);
        }
        // SYNC POINT said: Release, who sees the length sees the content.
        note[SAID].store(len << 32 | u64::from(serial), Ordering::Release);
    }

    /// Takes a note back whose wait is over, as its thread.
    pub fn clear(&self, at: usize) {
        let said = &self.note(at)[SAID];
        said.store(u64::from(said.load(Ordering::Relaxed) as u32), Ordering::Relaxed);
        // SYNC POINT said: the fence in it lies between the length that is gone and the next content.
        self.awake(at);
    }

    /// Says that the thread goes to sleep, its word being in state `token`.
    pub fn asleep(&self, at: usize, token: u32) {
        let note = self.note(at);
        note[TOKEN].store(u64::from(token), Ordering::Relaxed);
        let epoch = note[EPOCH].load(Ordering::Relaxed);
        // SYNC POINT note: Release, who sees the even epoch sees the content. SeqCst: in one order with the looks of
        // `holds`, so that what the thread does after it has woken is done in front of nobody who still takes it for asleep.
        note[EPOCH].store((epoch | 1).wrapping_add(1), Ordering::SeqCst);
    }

    /// Says that the thread is awake: what it does from here on may contradict the note.
    pub fn awake(&self, at: usize) {
        let note = self.note(at);
        let epoch = note[EPOCH].load(Ordering::Relaxed);
        note[EPOCH].store(epoch | 1, Ordering::SeqCst);
        // SYNC POINT note: release side, the odd epoch comes before what is written next.
        fence(Ordering::SeqCst);
    }

    /// The note of a thread that sleeps.
    pub fn read(&self, at: usize) -> Option<(Stamp, Vec<u8>)> {
        let note = self.note(at);
        // SYNC POINT note: Acquire, pairs with `asleep`.
        let epoch = note[EPOCH].load(Ordering::SeqCst);
        if epoch == 0 || epoch % 2 == 1 {
            return None;
        }
        let token = note[TOKEN].load(Ordering::Relaxed) as u32;
        let said = note[SAID].load(Ordering::Relaxed);
        let len = usize::try_from(said >> 32).ok().filter(|len| (1..=NOTE_BYTES).contains(len))?;
        let content = load(&note[HEAD..HEAD + CONTENT], len);
        let stamp = Stamp { epoch, token, serial: said as u32 };
        // SYNC POINT note: acquire side, the second look at the epoch comes after the content.
        fence(Ordering::SeqCst);
        self.holds(at, stamp).then_some((stamp, content))
    }

    /// What a thread waits for, also while it is awake between two sleeps of one wait. For telling: it may have found by now
    /// what it waits for.
    pub fn said(&self, at: usize) -> Option<Vec<u8>> {
        let note = self.note(at);
        // SYNC POINT said: Acquire, pairs with `write`.
        let said = note[SAID].load(Ordering::Acquire);
        let len = usize::try_from(said >> 32).ok().filter(|len| (1..=NOTE_BYTES).contains(len))?;
        let content = load(&note[HEAD..HEAD + CONTENT], len);
        // SYNC POINT said: acquire side, the second look comes after the content.
        fence(Ordering::SeqCst);
        (note[SAID].load(Ordering::Relaxed) == said).then_some(content)
    }

    /// Whether the thread has slept all the time since the note was read.
    pub fn holds(&self, at: usize, stamp: Stamp) -> bool {
        self.note(at)[EPOCH].load(Ordering::SeqCst) == stamp.epoch
    }

    /// Tells the thread what was found out about its note. Cut at [`VERDICT_BYTES`]. One looks for all.
    pub fn judge(&self, at: usize, stamp: Stamp, text: &str) {
        let note = self.note(at);
        let mut len = text.len().min(VERDICT_BYTES);
        while !text.is_char_boundary(len) {
            len -= 1;
        }
        store(&note[HEAD + CONTENT..], &text.as_bytes()[..len]);
        // SYNC POINT verdict: Release, the text is there.
        note[JUDGED].store((len as u64) << 32 | u64::from(stamp.serial), Ordering::Release);
    }

    /// What was found out about the note as it is, for its thread.
    pub fn verdict(&self, at: usize) -> Option<String> {
        let note = self.note(at);
        // SYNC POINT verdict: Acquire, pairs with `judge`.
        let judged = note[JUDGED].load(Ordering::Acquire);
        let (len, serial) = ((judged >> 32) as usize, judged as u32);
        if len == 0 || len > VERDICT_BYTES || serial != note[SAID].load(Ordering::Relaxed) as u32 {
            return None;
        }
        Some(String::from_utf8_lossy(&load(&note[HEAD + CONTENT..], len)).into_owned())
    }
}

fn store(words: &[AtomicU64], bytes: &[u8]) {
    for (word, chunk) in words.iter().zip(bytes.chunks(8)) {
        let mut eight = [0; 8];
        eight[..chunk.len()].copy_from_slice(chunk);
        word.store(u64::from_ne_bytes(eight), Ordering::Relaxed);
    }
}

fn load(words: &[AtomicU64], len: usize) -> Vec<u8> {
    let mut bytes: Vec<u8> =
        words.iter().take(len.div_ceil(8)).flat_map(|word| word.load(Ordering::Relaxed).to_ne_bytes()).collect();
    bytes.truncate(len);
    bytes
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    fn room() -> Vec<AtomicU64> {
        (0..NOTES_WORDS).map(|_| AtomicU64::new(0)).collect()
    }

    #[test]
    fn only_sleepers_are_read_and_waking_ends_it() {
        let room = room();
        let notes = Notes::over(&room);
        assert!(notes.read(0).is_none());
        notes.write(0, b"a wait");
        assert!(notes.read(0).is_none(), "its thread is awake");
        notes.asleep(0, 5);
        let (stamp, content) = notes.read(0).expect("it sleeps");
        assert_eq!((&content[..], stamp.token), (&b"a wait"[..], 5));
        assert!(notes.holds(0, stamp) && notes.read(1).is_none());
        notes.awake(0);
        assert!(!notes.holds(0, stamp) && notes.read(0).is_none());
        notes.asleep(0, 6);
        assert!(!notes.holds(0, stamp), "it was awake between");
        assert_eq!(notes.read(0).expect("the same again").1, b"a wait");
    }

    #[test]
    fn what_is_waited_for_is_said_until_the_wait_is_over() {
        let room = room();
        let notes = Notes::over(&room);
        assert_eq!(notes.said(1), None);
        notes.write(1, b"a wait");
        notes.asleep(1, 5);
        notes.awake(1);
        assert!(notes.read(1).is_none());
        assert_eq!(notes.said(1).as_deref(), Some(&b"a wait"[..]));
        notes.clear(1);
        assert_eq!(notes.said(1), None);
        notes.asleep(1, 6);
        assert!(notes.read(1).is_none());
    }

    #[test]
    fn a_verdict_is_for_one_content() {
        let room = room();
        let notes = Notes::over(&room);
        notes.write(3, &[7; NOTE_BYTES]);
        notes.asleep(3, 0);
        let (stamp, _) = notes.read(3).expect("it sleeps");
        assert_eq!(notes.verdict(3), None);
        notes.judge(3, stamp, &"ä".repeat(VERDICT_BYTES));
        notes.awake(3);
        assert_eq!(notes.verdict(3).map(|text| text.len()), Some(VERDICT_BYTES));
        notes.write(3, b"another wait");
        assert_eq!(notes.verdict(3), None);
    }

    #[test]
    fn what_is_too_long_is_no_note() {
        let room = room();
        let notes = Notes::over(&room);
        notes.write(0, &[1; NOTE_BYTES + 1]);
        notes.asleep(0, 0);
        assert!(notes.read(0).is_none());
    }

    #[test]
    fn nonsense_is_no_note() {
        let room: Vec<AtomicU64> = (0..NOTES_WORDS).map(|_| AtomicU64::new(0xfefe_fefe_fefe_fefe)).collect();
        let notes = Notes::over(&room);
        assert!(
            (0..NOTES).all(|at| notes.read(at).is_none() && notes.said(at).is_none() && notes.verdict(at).is_none())
        );
    }
}
