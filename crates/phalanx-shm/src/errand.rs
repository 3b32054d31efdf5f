//! A few bytes of another process's private memory, copied by that process while it looks for messages.
//!
//! The kernel copies between any two processes, in a microsecond or two for a few bytes: the price of a system call that looks
//! a process up. One that waits for messages looks at shared memory all the time, and a line in which it is asked for a copy
//! costs what two messages do. Whoever asks waits for a moment only: a process that computes does not look, and then the request is
//! withdrawn, and the kernel asked.
//!
//! ```text
//! word 0      the state                    word 1   where: bytes from the start of the memory that is meant
//! word 2      len * 2 + (1: to write)      from 3   the bytes
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

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request {
    /// Bytes from the start of the memory.
    pub at: usize,
    /// How many bytes.
    pub len: usize,
    /// Whether they are written there; else read.
    pub write: bool,
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

    /// Asks, with the bytes to write; false, and nothing has happened, while somebody else does, or for more than fits.
    #[inline]
    pub fn ask(&self, request: Request, bytes: &[u8]) -> bool {
        let [state, at, what, data @ ..] = self.0;
        // SYNC POINT errand: Acquire, orders these stores behind the last asker's loads; pairs with `collect`.
        let is_fit = request.len <= ERRAND_MOST && (!request.write || bytes.len() == request.len);
        if !is_fit || state.compare_exchange(FREE, ASKING, Ordering::Acquire, Ordering::Relaxed).is_err() {
            return false;
        }
        at.store(request.at as u64, Ordering::Relaxed);
        what.store(request.len as u64 * 2 + u64::from(request.write), Ordering::Relaxed);
        if request.write {
            store(data, bytes);
        }
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

    /// The bytes that were read, after [`Answer::Done`]; for a request that writes, of no bytes.
    #[inline]
    pub fn collect(&self, into: &mut [u8]) {
        load(&self.0[DATA..], into);
        // SYNC POINT errand: Release, orders the loads before the next asker's stores; pairs with `ask`.
        self.0[0].store(FREE, Ordering::Release);
    }

    /// Serves who asks, if somebody does: `copy` moves the bytes, or gives false for memory that is not to be touched. Whether
    /// somebody did.
    #[inline]
    pub fn serve(&self, copy: impl FnOnce(Request, &mut [u8]) -> bool) -> bool {
        self.0[0].load(Ordering::Relaxed) == ASKED && self.serve_asked(copy)
    }

    fn serve_asked(&self, copy: impl FnOnce(Request, &mut [u8]) -> bool) -> bool {
        let [state, at, what, data @ ..] = self.0;
        // SYNC POINT errand: Acquire, sees the request; pairs with `ask`.
        if state.compare_exchange(ASKED, TAKEN, Ordering::Acquire, Ordering::Relaxed).is_err() {
            return false;
        }
        let (at, what) = (at.load(Ordering::Relaxed), what.load(Ordering::Relaxed));
        let (len, write) = (usize::try_from(what / 2).unwrap_or(usize::MAX), what % 2 == 1);
        let mut bytes = [0; ERRAND_MOST];
        let served = usize::try_from(at).is_ok_and(|at| {
            let Some(bytes) = bytes.get_mut(..len) else { return false };
            if write {
                load(data, bytes);
            }
            let copied = copy(Request { at, len, write }, bytes);
            if copied && !write {
                store(data, bytes);
            }
            copied
        });
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
            assert!(errand.ask(Request { at: 3, len, write: true }, &sent));
            assert_eq!(errand.look(), None);
            assert!(errand.serve(|request, bytes| {
                memory[request.at..request.at + request.len].copy_from_slice(bytes);
                request.write
            }));
            assert_eq!(errand.look(), Some(Answer::Done));
            errand.collect(&mut []);
            assert_eq!(memory[3..3 + len], sent);
            assert!(errand.ask(Request { at: 2, len, write: false }, &[]));
            assert!(errand.serve(|request, bytes| {
                bytes.copy_from_slice(&memory[request.at..request.at + request.len]);
                !request.write
            }));
            assert_eq!(errand.look(), Some(Answer::Done));
            let mut got = vec![0; len];
            errand.collect(&mut got);
            assert_eq!(got, memory[2..2 + len]);
        }
    }

    #[test]
    fn one_asks_at_a_time_and_may_withdraw() {
        let words = words();
        let errand = Errand::over(&words);
        let request = Request { at: 0, len: 8, write: false };
        assert!(!errand.ask(Request { len: ERRAND_MOST + 1, ..request }, &[]));
        assert!(!errand.ask(Request { write: true, ..request }, &[0; 7]));
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
        let request = Request { at: 0, len: 8, write: false };
        assert!(errand.ask(request, &[]));
        words[2].store(u64::MAX, Ordering::Relaxed);
        assert!(errand.serve(|_, _| panic!("more bytes than there is room for")));
        assert_eq!(errand.look(), Some(Answer::Refused));
        for garbage in [ASKING, 77, u64::MAX] {
            words[0].store(garbage, Ordering::Relaxed);
            assert!(!errand.serve(|_, _| true) && !errand.ask(request, &[]) && !errand.withdraw());
            assert_eq!(errand.look(), Some(Answer::Refused));
        }
    }
}
