//! The memory ranges behind a message that does not lie in one piece.

use phalanx_shm::ProcessTag;
use phalanx_shm::mem::{ConstMem, MutMem};
use phalanx_shm::single_copy::{self, RemoteMem};
use smallvec::SmallVec;

use crate::datatype::Datatype;

use super::memory;

/// Average bytes per piece below which pieces are packed instead of listed.
const PIECE: usize = 1024;
/// Pieces beyond which a message is packed instead of listed.
const PIECES: usize = 4096;

/// Memory ranges that together hold a message, and where each begins in it.
///
/// `at` is an address in the other process, or an offset from the base of our own buffer.
#[derive(Clone)]
pub(super) struct Pieces {
    pub(super) list: SmallVec<[Piece; 1]>,
}

#[derive(Clone, Copy)]
pub(super) struct Piece {
    start: u64,
    at: i64,
    len: u64,
}

impl Pieces {
    pub(super) fn one(at: i64, len: u64) -> Pieces {
        Pieces { list: SmallVec::from_elem(Piece { start: 0, at, len }, 1) }
    }

    pub(super) fn new(list: impl Iterator<Item = (i64, u64)>) -> Pieces {
        let mut start = 0;
        Pieces {
            list: list
                .map(|(at, len)| {
                    start += len;
                    Piece { start: start - len, at, len }
                })
                .collect(),
        }
    }

    /// The pieces of a typed buffer, as offsets; `None` when packing is better.
    pub(super) fn of(count: usize, ty: &Datatype) -> Option<Pieces> {
        if ty.is_contiguous() {
            return Some(Pieces::one(0, (count * ty.size()) as u64));
        }
        let bytes = count * ty.size();
        let mut list: Vec<(i64, u64)> = Vec::new();
        for (at, len) in ty.segments(count) {
            if list.len() == PIECES || (list.len() >= 16 && (list.len() + 1) * PIECE > bytes) {
                return None;
            }
            list.push((at as i64, len as u64));
        }
        (list.len() <= 1 || list.len() * PIECE <= bytes).then(|| Pieces::new(list.into_iter()))
    }

    /// The list of addresses that another process reads to know these pieces; empty for one piece.
    pub(super) fn published(&self, base: ConstMem) -> Box<[[u64; 2]]> {
        if self.list.len() < 2 {
            return Box::default();
        }
        self.list.iter().map(|p| [base.at(p.at as isize, p.len as usize).as_ptr() as u64, p.len]).collect()
    }

    /// Address of the only piece.
    pub(super) fn address(&self, base: ConstMem) -> u64 {
        self.list.first().map_or(0, |p| base.at(p.at as isize, p.len as usize).as_ptr() as u64)
    }

    /// The ranges behind message bytes `from..to`.
    pub(super) fn range(&self, from: u64, to: u64) -> impl Iterator<Item = (i64, usize)> {
        let first = self.list.partition_point(|p| p.start + p.len <= from);
        self.list[first..].iter().take_while(move |p| p.start < to).map(move |p| {
            let skip = from.saturating_sub(p.start);
            let end = (p.start + p.len).min(to) - p.start;
            (p.at + skip as i64, (end - skip) as usize)
        })
    }

    pub(super) fn remote(&self, from: u64, to: u64) -> SmallVec<[RemoteMem; 4]> {
        self.range(from, to).map(|(at, len)| RemoteMem { addr: at as u64, len }).collect()
    }

    pub(super) fn local_mut(&self, base: MutMem, from: u64, to: u64) -> SmallVec<[MutMem; 4]> {
        self.range(from, to).map(|(at, len)| base.at(at as isize, len)).collect()
    }

    /// Reads the list that another process has published.
    pub(super) fn fetch(process: ProcessTag, address: u64, n: u64) -> Option<Pieces> {
        if n > PIECES as u64 {
            return None;
        }
        let mut list = vec![[0u64; 2]; n as usize];
        let remote = RemoteMem { addr: address, len: n as usize * 16 };
        single_copy::read(process, remote, memory::of_mut(&mut list)).ok()?;
        Some(Pieces::new(list.into_iter().map(|[at, len]| (at as i64, len))))
    }
}
