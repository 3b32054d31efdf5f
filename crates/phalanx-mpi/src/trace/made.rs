//! What a call is made with: its arguments as C passes them, and as words by which it is compared with the last call of its place.

use std::cell::Cell;
use std::ffi::c_int;

use phalanx_trace::number;

use crate::datatype;
use crate::entry::ErrorObject;
use crate::handle::{RawComm, RawFile, RawSession, RawType, RawWin};

/// Of predefined types, so many may be on their way at once; more are told of before they are sent.
const LATE: u64 = 1 << 16;

/// What a call is about, as C passes it.
pub(crate) struct Arguments {
    pub(crate) object: ErrorObject,
    pub(crate) peer: Option<c_int>,
    pub(crate) tag: Option<c_int>,
    pub(crate) count: Option<i64>,
    /// What is counted; bytes, where there is no type.
    pub(crate) ty: Option<RawType>,
}

/// What a call is made with, in words by which it is compared with the last one of its place. (Cells of their own: what is stored by
/// words and loaded in larger pieces at once has to wait.)
#[derive(Clone)]
pub(super) struct Made {
    /// Unused 32 bits, function 16, kind of the object 8, what is known 8; the object's handle; peer 32, tag 32; the type's handle.
    pub(super) words: [Cell<u64>; 4],
    pub(super) count: Cell<u64>,
}

const NO_OBJECT: u64 = 1;
const OF_COMM: u64 = 2;
const OF_WIN: u64 = 3;
const OF_FILE: u64 = 4;
const OF_SESSION: u64 = 5;

const KNOWS_PEER: u64 = 1;
const KNOWS_TAG: u64 = 2;
pub(super) const KNOWS_COUNT: u64 = 4;
const KNOWS_TYPE: u64 = 8;

impl Made {
    /// Nothing.
    pub(super) const fn new() -> Made {
        Made { words: [const { Cell::new(0) }; 4], count: Cell::new(0) }
    }

    /// A call of a function with these arguments. (Inlined where these are made: most of it is known there when it is compiled.)
    #[inline(always)]
    pub(super) fn set(&self, function: u16, arguments: &Arguments) {
        let (kind, raw) = match arguments.object {
            ErrorObject::None => (NO_OBJECT, 0),
            ErrorObject::Comm(raw) => (OF_COMM, raw.0),
            ErrorObject::Win(raw) => (OF_WIN, raw.0),
            ErrorObject::File(raw) => (OF_FILE, raw.0),
            ErrorObject::Session(raw) => (OF_SESSION, raw.0),
        };
        let flag = |is_known, flag| if is_known { flag } else { 0 };
        let known = flag(arguments.peer.is_some(), KNOWS_PEER)
            | flag(arguments.tag.is_some(), KNOWS_TAG)
            | flag(arguments.count.is_some(), KNOWS_COUNT)
            | flag(arguments.ty.is_some(), KNOWS_TYPE);
        let number = |of: Option<c_int>| u64::from(of.unwrap_or(0) as u32);
        self.words[0].set(u64::from(function) << 32 | kind << 48 | known << 56);
        self.words[1].set(raw as u64);
        self.words[2].set(number(arguments.peer) | number(arguments.tag) << 32);
        self.words[3].set(arguments.ty.map_or(0, |ty| ty.0) as u64);
        self.count.set(arguments.count.unwrap_or(0).max(0).cast_unsigned());
    }

    pub(super) fn word(&self, number: usize) -> u64 {
        self.words[number].get()
    }

    pub(super) fn function(&self) -> u16 {
        (self.word(0) >> 32) as u16
    }

    pub(super) fn knows(&self, flag: u64) -> bool {
        self.word(0) >> 56 & flag != 0
    }

    pub(super) fn object(&self) -> ErrorObject {
        let raw = self.word(1) as usize;
        match self.word(0) >> 48 & 0xff {
            OF_COMM => ErrorObject::Comm(RawComm(raw)),
            OF_WIN => ErrorObject::Win(RawWin(raw)),
            OF_FILE => ErrorObject::File(RawFile(raw)),
            OF_SESSION => ErrorObject::Session(RawSession(raw)),
            _ => ErrorObject::None,
        }
    }

    pub(super) fn peer(&self) -> Option<c_int> {
        self.knows(KNOWS_PEER).then_some(self.word(2) as c_int)
    }

    pub(super) fn tag(&self) -> Option<c_int> {
        self.knows(KNOWS_TAG).then_some((self.word(2) >> 32) as c_int)
    }

    pub(super) fn ty(&self) -> Option<RawType> {
        self.knows(KNOWS_TYPE).then_some(RawType(self.word(3) as usize))
    }

    /// Whether the record of such a call is written when its message has gone: where it was made, and what it is about, is looked up
    /// while the receiver has something to do already. Of those that wait, it is written before they do.
    #[inline]
    pub(super) fn is_late(&self) -> bool {
        const SEND: u16 = number("MPI_Send");
        const READY: u16 = number("MPI_Rsend");
        let is_small = self.count.get() <= LATE && self.word(3) < datatype::PREDEFINED_END as u64;
        matches!(self.function(), SEND | READY) && is_small
    }
}
