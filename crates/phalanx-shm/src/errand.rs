//! A few bytes of another process's private memory, copied or combined by that process while it looks for messages.
//!
//! The kernel copies between any two processes, in a microsecond or two for a few bytes: the price of a system call that looks
//! a process up. One that waits for messages looks at shared memory all the time, and a line in which it is asked for a copy
//! costs what two messages do. Whoever asks waits for a moment only: a process that computes does not look, and then the request is
//! withdrawn, and the kernel asked.
//!
//! ```text
//! word 0      the state                    word 1   where: bytes from the start of the memory that is meant
//! word 2      what is done: see `Act`      from 3   the bytes
//!
//!   asks:    FREE -> ASKING -> ASKED                     DONE -> FREE
//!                               |  \ withdraws: -> FREE   |
//!   serves:                     +--> TAKEN -> DONE or REFUSED
//! ```
//!
//! Killed processes. An errand whose asker has ended is nobody's any more, and stays: all others are refused, and ask the
//! kernel. Who was killed while it served leaves `TAKEN`, and its asker has to look whether it lives. A state that is none of
//! these reads as a refusal.

use crate::sync::{AtomicU64, Ordering};

/// Words of an errand: two lines.
pub const ERRAND_WORDS: usize = 16;

const DATA: usize = 3;

/// Bytes that an errand carries at most.
pub const ERRAND_MOST: usize = (ERRAND_WORDS - DATA) * 8;

const FREE: u64 = 0;
const ASKING: u64 = 1;
const ASKED: u64 = 2;
const TAKEN: u64 = 3;
const DONE: u64 = 4;
const REFUSED: u64 = 5;

/// What is done with the bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// They are read.
    Read,
    /// They are written.
    Write,
    /// They are combined with those that are there, as a number says that both sides understand; and read as they were before.
    Combine(u32),
    /// As many of the asker's own memory, of which the errand says where, are combined with those that are there.
    CombineFrom(u32),
}

/// Bytes that say where memory is, for [`Act::CombineFrom`]: nothing here looks at them.
pub const WHERE: usize = 16;

impl Act {
    /// Bytes that go to the other process for so many of its memory.
    fn sent(self, len: usize) -> usize {
        match self {
            Act::Read => 0,
            Act::Write | Act::Combine(_) => len,
            Act::CombineFrom(_) => WHERE,
        }
    }

    /// Bytes that come back.
    fn given(self, len: usize) -> usize {
        match self {
            Act::Read | Act::Combine(_) => len,
            Act::Write | Act::CombineFrom(_) => 0,
        }
    }

    /// The low half is the length, in which two bits say what is done; the high half the number of a combination.
    fn to_word(self, len: usize) -> u64 {
        let (code, how) = match self {
            Act::Read => (0, 0),
            Act::Write => (1, 0),
            Act::Combine(how) => (2, how),
            Act::CombineFrom(how) => (3, how),
        };
        (u64::from(how) << 32) | u64::from(len as u32 & LEN_MOST) << 2 | code
    }

    /// What a word says, and the length; `None` for what none says.
    fn of_word(word: u64) -> Option<(Act, usize)> {
        let (how, len) = ((word >> 32) as u32, (word as u32 >> 2) as usize);
        match (word % 4, how) {
            (0, 0) => Some((Act::Read, len)),
            (1, 0) => Some((Act::Write, len)),
            (2, how) => Some((Act::Combine(how), len)),
            (3, how) => Some((Act::CombineFrom(how), len)),
            _ => None,
        }
    }
}

/// What a length has room for.
const LEN_MOST: u32 = u32::MAX >> 2;

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request {
    /// Bytes from the start of the memory.
    pub at: usize,
    /// How many bytes.
    pub len: usize,
    /// What is done with them.
    pub act: Act,
}

/// What became of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The bytes are where they should be. Call [`Errand::collect`].
    Done,
    /// Nothing was copied, and nothing is left to do.
    Refused,
}

/// The words through which a process is asked. All zero is free.
#[derive(Clone, Copy, Debug)]
pub struct Errand<'a>(&'a [AtomicU64; ERRAND_WORDS]);

impl<'a> Errand<'a> {
    /// Over its words.
    #[inline]
    pub fn over(words: &'a [AtomicU64; ERRAND_WORDS]) -> Errand<'a> {
        Errand(words)
    }

    /// Asks, with the bytes to write or to combine; false, and nothing has happened, while somebody else does, or for more than fits.
    #[inline]
    pub fn ask(&self, request: Request, bytes: &[u8]) -> bool {
        let [state, at, what, data @ ..] = self.0;
        // SYNC POINT errand: Acquire, orders these stores behind the last asker's loads; pairs with `collect`.
        let (act, len) = (request.act, request.len);
        let is_fit = len <= LEN_MOST as usize
            && act.sent(len).max(act.given(len)) <= ERRAND_MOST
            && bytes.len() == act.sent(len);
        if !is_fit || state.compare_exchange(FREE, ASKING, Ordering::Acquire, Ordering::Relaxed).is_err() {
            return false;
        }
        at.store(request.at as u64, Ordering::Relaxed);
        what.store(act.to_word(len), Ordering::Relaxed);
        store(data, bytes);
        // SYNC POINT errand: Release, with the request; pairs with `serve`.
        state.store(ASKED, Ordering::Release);
        true
    }

    /// What has become of the request, for whoever asked; `None` while nothing has.
    #[inline]
    pub fn look(&self) -> Option<Answer> {
        // SYNC POINT errand: Acquire, sees the bytes; pairs with the end of `serve`.
        match self.0[0].load(Ordering::Acquire) {
            ASKED | TAKEN => None,
            DONE => Some(Answer::Done),
            REFUSED => {
                // SYNC POINT errand: Release, as in `collect`.
                self.0[0].store(FREE, Ordering::Release);
                Some(Answer::Refused)
            }
            _ => Some(Answer::Refused),
        }
    }

    /// Takes the request back: false when it is being served, or has been.
    #[inline]
    pub fn withdraw(&self) -> bool {
        // SYNC POINT errand: Release, as in `collect`.
        self.0[0].compare_exchange(ASKED, FREE, Ordering::Release, Ordering::Relaxed).is_ok()
    }

    /// The bytes that come back, after [`Answer::Done`]; none for a request that gives none.
    #[inline]
    pub fn collect(&self, into: &mut [u8]) {
        load(&self.0[DATA..], into);
        // SYNC POINT errand: Release, orders the loads before the next asker's stores; pairs with `ask`.
        self.0[0].store(FREE, Ordering::Release);
    }

    /// Serves who asks, if somebody does: `act` moves or combines the bytes, or gives false for memory that is not to be touched. Whether
    /// somebody did.
    #[inline]
    pub fn serve(&self, act: impl FnOnce(Request, &mut [u8]) -> bool) -> bool {
        self.0[0].load(Ordering::Relaxed) == ASKED && self.serve_asked(act)
    }

    fn serve_asked(&self, act: impl FnOnce(Request, &mut [u8]) -> bool) -> bool {
        let [state, at, what, data @ ..] = self.0;
        // SYNC POINT errand: Acquire, sees the request; pairs with `ask`.
        if state.compare_exchange(ASKED, TAKEN, Ordering::Acquire, Ordering::Relaxed).is_err() {
            return false;
        }
        let (at, what) = (at.load(Ordering::Relaxed), what.load(Ordering::Relaxed));
        let mut bytes = [0; ERRAND_MOST];
        let carry_out = || {
            let (at, (kind, len)) = (usize::try_from(at).ok()?, Act::of_word(what)?);
            let (sent, given) = (kind.sent(len), kind.given(len));
            let bytes = bytes.get_mut(..sent.max(given))?;
            load(data, &mut bytes[..sent]);
            act(Request { at, len, act: kind }, bytes).then(|| store(data, &bytes[..given]))
        };
        let served = carry_out().is_some();
        // SYNC POINT errand: Release, with the bytes; pairs with `look`.
        state.store(if served { DONE } else { REFUSED }, Ordering::Release);
        true
    }
}

fn store(words: &[AtomicU64], bytes: &[u8]) {
    for (word, piece) in words.iter().zip(bytes.chunks(8)) {
        let mut whole = [0; 8];
        whole[..piece.len()].copy_from_slice(piece);
        word.store(u64::from_ne_bytes(whole), Ordering::Relaxed);
    }
}

fn load(words: &[AtomicU64], bytes: &mut [u8]) {
    for (word, piece) in words.iter().zip(bytes.chunks_mut(8)) {
        piece.copy_from_slice(&word.load(Ordering::Relaxed).to_ne_bytes()[..piece.len()]);
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    fn words() -> [AtomicU64; ERRAND_WORDS] {
        [const { AtomicU64::new(0) }; ERRAND_WORDS]
    }

    #[test]
    fn bytes_go_both_ways() {
        let words = words();
        let errand = Errand::over(&words);
        let mut memory = [7u8; 200];
        for len in [0, 1, 7, 8, 9, 40, ERRAND_MOST] {
            let sent: Vec<u8> = (0..len as u8).collect();
            assert!(errand.ask(Request { at: 3, len, act: Act::Write }, &sent));
            assert_eq!(errand.look(), None);
            assert!(errand.serve(|request, bytes| {
                memory[request.at..request.at + request.len].copy_from_slice(bytes);
                request.act == Act::Write
            }));
            assert_eq!(errand.look(), Some(Answer::Done));
            errand.collect(&mut []);
            assert_eq!(memory[3..3 + len], sent);
            assert!(errand.ask(Request { at: 2, len, act: Act::Read }, &[]));
            assert!(errand.serve(|request, bytes| {
                bytes.copy_from_slice(&memory[request.at..request.at + request.len]);
                request.act == Act::Read
            }));
            assert_eq!(errand.look(), Some(Answer::Done));
            let mut got = vec![0; len];
            errand.collect(&mut got);
            assert_eq!(got, memory[2..2 + len]);
        }
    }

    #[test]
    fn memory_of_the_asker_is_named_and_as_long_as_one_likes() {
        let words = words();
        let errand = Errand::over(&words);
        for len in [1, ERRAND_MOST + 1, 1 << 20, LEN_MOST as usize] {
            let request = Request { at: 1 << 40, len, act: Act::CombineFrom(3) };
            assert!(!errand.ask(request, &[7; WHERE - 1]));
            assert!(errand.ask(request, &[7; WHERE]));
            assert!(errand.serve(|found, bytes| found == request && bytes[..] == [7; WHERE]));
            assert_eq!(errand.look(), Some(Answer::Done));
            errand.collect(&mut []);
        }
        assert!(!errand.ask(Request { at: 0, len: LEN_MOST as usize + 1, act: Act::CombineFrom(3) }, &[7; WHERE]));
    }

    #[test]
    fn bytes_are_combined_and_given_as_they_were() {
        let words = words();
        let errand = Errand::over(&words);
        for how in [0, 7, u32::MAX] {
            assert!(errand.ask(Request { at: 5, len: 3, act: Act::Combine(how) }, &[1, 2, 3]));
            assert!(errand.serve(|request, bytes| {
                assert_eq!((request.act, &bytes[..]), (Act::Combine(how), &[1, 2, 3][..]));
                bytes.copy_from_slice(&[9, 8, 7]);
                true
            }));
            assert_eq!(errand.look(), Some(Answer::Done));
            let mut old = [0; 3];
            errand.collect(&mut old);
            assert_eq!(old, [9, 8, 7]);
        }
    }

    #[test]
    fn one_asks_at_a_time_and_may_withdraw() {
        let words = words();
        let errand = Errand::over(&words);
        let request = Request { at: 0, len: 8, act: Act::Read };
        assert!(!errand.ask(Request { len: ERRAND_MOST + 1, ..request }, &[]));
        assert!(!errand.ask(Request { act: Act::Write, ..request }, &[0; 7]));
        assert!(errand.ask(request, &[]) && !errand.ask(request, &[]));
        assert!(errand.withdraw() && !errand.withdraw());
        assert!(!errand.serve(|_, _| true), "nobody asks any more");
        assert!(errand.ask(request, &[]));
        assert!(errand.serve(|_, _| false) && !errand.withdraw());
        assert_eq!(errand.look(), Some(Answer::Refused));
        assert!(errand.ask(request, &[]), "free again");
    }

    #[test]
    fn what_was_written_over_is_refused() {
        let words = words();
        let errand = Errand::over(&words);
        let request = Request { at: 0, len: 8, act: Act::Read };
        assert!(errand.ask(request, &[]));
        words[2].store(Act::Read.to_word(ERRAND_MOST + 1), Ordering::Relaxed);
        assert!(errand.serve(|_, _| panic!("more bytes than there is room for")));
        assert_eq!(errand.look(), Some(Answer::Refused));
        for garbage in [(1 << 32) | 4, (1 << 32) | 5, u64::MAX << 32] {
            assert!(errand.ask(request, &[]));
            words[2].store(garbage, Ordering::Relaxed);
            assert!(errand.serve(|_, _| panic!("nothing that can be asked for")));
            assert_eq!(errand.look(), Some(Answer::Refused));
        }
        for garbage in [ASKING, 77, u64::MAX] {
            words[0].store(garbage, Ordering::Relaxed);
            assert!(!errand.serve(|_, _| true) && !errand.ask(request, &[]) && !errand.withdraw());
            assert_eq!(errand.look(), Some(Answer::Refused));
        }
    }
}
