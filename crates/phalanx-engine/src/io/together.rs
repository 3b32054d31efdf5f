//! Collective writes of small pieces, in two phases.
//!
//! Where the ranks' pieces take turns in a file, each rank would need a system call for each piece. Instead each puts its pieces
//! and their places into a block of the segment; then the ranks divide the part of the file that all of them touch, and each
//! merges what is in its share, by place: pieces that touch are one write. Exactly the bytes that somebody gave are written.
//!
//! ```text
//! block     pairs of words, one for each piece: its place in the file, and that of its bytes in the data
//!           the data
//! ```
//!
//! It goes in rounds of bounded size. A rank that has failed goes on with nothing, so that the others come to their end; then
//! all of them fail.
//!
//! Whether that is less work than a system call for each piece depends on the pieces, the file system, and how many ranks share
//! a CPU. So the first writes through a view try both ways, together twice (the first one may be the first touch of the file), and
//! the ranks agree on the one whose slowest rank was faster.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::atomic::Ordering;
use std::time::Instant;

use phalanx_shm::mem::ConstMem;
use phalanx_shm::{Offset, SharedBytes};

use super::access::{STAGE, take};
use super::view::{Piece, View};
use super::{File, lock};
use crate::coll::Arg;
use crate::datatype::Datatype;
use crate::engine::buffer::{RecvBuf, SendBuf};
use crate::engine::memory;
use crate::error::{Error, ErrorClass, Result};
use crate::status::Status;

/// Bytes written at once: they are still in the cache then.
const RUN: usize = 1 << 16;

/// How the writes are tried: together, or each rank for itself.
const TRIES: [bool; 3] = [true, true, false];

/// What collective writes of small pieces have taken through a view. The same on all ranks.
#[derive(Clone, Copy, Default)]
pub(super) struct Ways {
    tried: usize,
    /// Nanoseconds for a MiB of all ranks, the least: each rank for itself, together.
    took: [Option<u64>; 2],
}

impl Ways {
    /// Whether the ranks write together next.
    fn together(&self) -> bool {
        match (TRIES.get(self.tried), self.took) {
            (Some(together), _) => *together,
            (None, [Some(alone), Some(together)]) => together <= alone,
            (None, _) => true,
        }
    }
}

/// Bytes of a pair of words.
const PAIR: usize = 16;

/// What a rank writes: elements from a base address on, at an offset of its view.
pub(super) struct Elements<'a> {
    pub(super) offset: u64,
    pub(super) mem: ConstMem,
    pub(super) count: usize,
    pub(super) ty: &'a Datatype,
}

/// What the ranks tell each other about their blocks of a round.
#[derive(Clone, Copy, Default)]
struct Told {
    block: u64,
    pieces: u64,
    bytes: u64,
    first: u64,
    end: u64,
}

const TOLD: usize = 5;

/// The pieces of one rank in a round, as another one sees them.
struct Theirs<'u> {
    words: &'u [std::sync::atomic::AtomicU64],
    data: SharedBytes<'u>,
}

impl Theirs<'_> {
    fn word(&self, n: usize) -> u64 {
        self.words.get(n).map_or(0, |word| word.load(Ordering::Relaxed))
    }

    /// Piece `n`: its place in the file, and where its bytes are.
    fn piece(&self, n: usize) -> Option<(u64, usize, usize)> {
        if 2 * n >= self.words.len() {
            return None;
        }
        let from = usize::try_from(self.word(2 * n + 1)).ok()?;
        let next = if 2 * n + 2 < self.words.len() { self.word(2 * n + 3) as usize } else { self.data.len() };
        (from < next && next <= self.data.len()).then(|| (self.word(2 * n), from, next - from))
    }

    /// The first piece that ends behind a place.
    fn first_behind(&self, place: u64) -> usize {
        let (mut low, mut high) = (0, self.words.len() / 2);
        while low < high {
            let middle = low + (high - low) / 2;
            match self.piece(middle) {
                Some((at, _, len)) if at.saturating_add(len as u64) <= place => low = middle + 1,
                _ => high = middle,
            }
        }
        low
    }
}

/// What is written at once.
struct Run {
    at: u64,
    room: Vec<u8>,
    filled: usize,
}

fn no_memory(bytes: usize) -> Error {
    Error::new(ErrorClass::NoMem, format!("{bytes} bytes for a collective write"))
}

impl File {
    /// Whether collective writes may go in two phases now; the same on all ranks.
    pub(super) fn has_small_pieces(&self) -> bool {
        self.small_pieces.load(Ordering::Relaxed) && !self.is_atomic()
    }

    /// Carries a collective write out, together or not, and learns which is faster while that is not known. Collective.
    pub(super) fn measured(&self, write: impl FnOnce(bool) -> Result<Status>) -> Result<Status> {
        let mut ways = *lock(&self.ways);
        let together = ways.together();
        if ways.tried >= TRIES.len() {
            return write(together);
        }
        self.comm.barrier()?;
        let start = Instant::now();
        let wrote = write(together);
        if wrote.as_ref().is_err_and(Error::is_interrupted) {
            return wrote;
        }
        let took = u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX);
        let all = self.told([took, wrote.as_ref().map_or(0, |status| status.bytes)])?;
        let (slowest, bytes) = all
            .as_chunks::<2>()
            .0
            .iter()
            .fold((0, 0u64), |(slowest, bytes), [took, moved]| (slowest.max(*took), bytes.saturating_add(*moved)));
        // Too little says nothing.
        if bytes >= (rustix::param::page_size() * all.len()) as u64 {
            let each = u64::try_from((u128::from(slowest) << 20) / u128::from(bytes)).unwrap_or(u64::MAX);
            let place = &mut ways.took[usize::from(together)];
            *place = Some(place.unwrap_or(u64::MAX).min(each));
            ways.tried += 1;
            *lock(&self.ways) = ways;
        }
        wrote
    }

    /// Writes what all ranks have; this one `mine`. Collective; an error there is every rank's.
    pub(super) fn write_together(&self, view: &View, mine: Option<&Elements<'_>>) -> Result<u64> {
        let mut wrote = Ok(());
        let total = mine.map_or(Ok(0), |elements| elements.ty.bytes(elements.count)).unwrap_or_else(|error| {
            wrote = Err(error);
            0
        });
        let most = self.told([total as u64])?.into_iter().max().unwrap_or(0);
        let mut pieces = match mine.map(|elements| view.pieces(elements.offset, total)).transpose() {
            Ok(pieces) => pieces,
            Err(error) => {
                wrote = Err(error);
                None
            }
        };
        let (mut from, mut rest) = (0, None);
        for _ in 0..most.div_ceil(STAGE as u64) {
            let len = STAGE.min(total - from);
            let mut round = Vec::new();
            if let Some(pieces) = &mut pieces {
                (round, rest) = take(pieces, rest, len);
            }
            let laid = match (mine, &wrote) {
                (Some(elements), Ok(())) if !round.is_empty() => self.lay_out(elements, from, len, &round),
                _ => Ok(Told::default()),
            };
            let told = laid.unwrap_or_else(|error| {
                wrote = Err(error);
                Told::default()
            });
            let Told { block, pieces, bytes, first, end } = told;
            let all = self.told([block, pieces, bytes, first, end])?;
            let written = self.write_share(&all);
            if wrote.is_ok() {
                wrote = written;
            }
            // Nobody reads the block any more.
            self.comm.barrier()?;
            if block != 0 {
                self.engine().universe().free(Offset::new(block));
            }
            from += len;
        }
        self.comm.settle("a collective write", wrote)?;
        Ok(total as u64)
    }

    fn told<const N: usize>(&self, mine: [u64; N]) -> Result<Vec<u64>> {
        let mut all = vec![0; self.group().size() * N];
        self.comm.allgather(Arg::Buf(SendBuf::of(&mine)), RecvBuf::of(&mut all).into())?;
        Ok(all)
    }

    /// Puts `len` bytes from position `from` of the elements on, and the places of their pieces, into a block.
    fn lay_out(&self, elements: &Elements<'_>, from: usize, len: usize, pieces: &[Piece]) -> Result<Told> {
        let universe = self.engine().universe();
        let lists = pieces.len() * PAIR;
        let block = universe.alloc(lists + len).map_err(|_| no_memory(lists + len))?;
        let filled = (|| {
            let words = universe.words(block, 2 * pieces.len())?;
            let mut at = 0;
            for ((place, len), pair) in pieces.iter().zip(words.chunks_exact(2)) {
                pair[0].store(*place, Ordering::Relaxed);
                pair[1].store(at, Ordering::Relaxed);
                at += *len as u64;
            }
            let data = universe.bytes(block.plus(lists), len)?;
            let (ty, mem) = (elements.ty, elements.mem);
            if ty.is_contiguous() {
                return data.write_mem(0, mem.at(ty.true_lb() + from as isize, len));
            }
            let mut stage = vec![0; len];
            ty.pack(elements.count, &mem, from, &mut stage);
            data.write(0, &stage)
        })();
        filled.map_err(|e| {
            universe.free(block);
            Error::new(ErrorClass::Intern, format!("the block of a collective write: {e}"))
        })?;
        let end = pieces.last().map_or(0, |(at, len)| at + *len as u64);
        let first = pieces.first().map_or(0, |(at, _)| *at);
        Ok(Told { block: block.get(), pieces: pieces.len() as u64, bytes: len as u64, first, end })
    }

    /// Writes this rank's share of what all have laid out.
    fn write_share(&self, all: &[u64]) -> Result<()> {
        let universe = self.engine().universe();
        let gone = |e| Error::new(ErrorClass::Intern, format!("the block of a collective write: {e}"));
        let mut theirs = Vec::new();
        let (mut low, mut high) = (u64::MAX, 0);
        for told in all.as_chunks::<TOLD>().0 {
            let [block, pieces, bytes, first, end] = *told;
            if pieces == 0 {
                continue;
            }
            let (pieces, bytes) = (pieces.min(bytes) as usize, bytes.min(STAGE as u64) as usize);
            let block = Offset::new(block);
            let words = universe.words(block, 2 * pieces).map_err(gone)?;
            let data = universe.bytes(block.plus(pieces * PAIR), bytes).map_err(gone)?;
            theirs.push(Theirs { words, data });
            (low, high) = (low.min(first), high.max(end));
        }
        let (rank, ranks) = (self.comm.rank().unsigned_abs() as u128, self.group().size() as u128);
        let part = |n: u128| low.saturating_add((u128::from(high.saturating_sub(low)) * n / ranks) as u64);
        let (begin, end) = (part(rank), part(rank + 1));
        let mut next: Vec<usize> = theirs.iter().map(|one| one.first_behind(begin)).collect();
        let mut heap = BinaryHeap::new();
        for (who, one) in theirs.iter().enumerate() {
            heap.extend(one.piece(next[who]).map(|(at, _, _)| Reverse((at, who))));
        }
        let mut run = Run { at: 0, room: vec![0; RUN.min((end - begin) as usize)], filled: 0 };
        while let Some(Reverse((at, who))) = heap.pop() {
            if at >= end {
                continue;
            }
            let one = &theirs[who];
            if let Some((at, from, len)) = one.piece(next[who]) {
                // What of the piece is in this share.
                let skip = begin.saturating_sub(at).min(len as u64) as usize;
                let len = len.min(end.saturating_sub(at) as usize);
                self.append(&mut run, at + skip as u64, &one.data.slice(from + skip, len.saturating_sub(skip)))?;
            }
            next[who] += 1;
            heap.extend(one.piece(next[who]).map(|(at, _, _)| Reverse((at, who))));
        }
        self.write_run(&mut run)
    }

    /// Adds a piece to a run, which is written when the piece does not touch its end.
    fn append(&self, run: &mut Run, at: u64, piece: &SharedBytes<'_>) -> Result<()> {
        let mut done = 0;
        while done < piece.len() {
            let at = at + done as u64;
            if run.at + run.filled as u64 != at || run.filled == run.room.len() {
                self.write_run(run)?;
                run.at = at;
            }
            let len = (piece.len() - done).min(run.room.len() - run.filled);
            if len == 0 {
                break;
            }
            let read = piece.slice(done, len).read(0, &mut run.room[run.filled..run.filled + len]);
            read.map_err(|e| Error::new(ErrorClass::Intern, e.to_string()))?;
            run.filled += len;
            done += len;
        }
        Ok(())
    }

    fn write_run(&self, run: &mut Run) -> Result<()> {
        let filled = std::mem::take(&mut run.filled);
        if filled == 0 { Ok(()) } else { self.write_piece(memory::of(&run.room[..filled]), run.at) }
    }
}
