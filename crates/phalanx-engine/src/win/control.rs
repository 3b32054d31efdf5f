//! The words that the ranks of a window share.
//!
//! ```text
//! head      8 words              word 0: how many ranks have freed the window
//! locks     2 locks per rank     that of accumulates on its memory; the gate of its holders
//! waiting   1 word per rank      how many wait for its lock
//! attached  1 word per rank      where the list of what it has attached begins (attached.rs)
//! held      ranks x ranks        row: the target; word: how that rank has its lock (phalanx_shm::holders)
//! posted    ranks x ranks        row: the one that starts; word: how often that rank has posted to it
//! done      ranks x ranks        row: the one that posted; word: how often that rank has completed towards it
//! errands   16 words per rank    where it is asked to copy to and from its private memory (errand.rs); from a line's start
//! ```
//!
//! A word of `posted` and `done` is written by one rank and only grows, so that one who was killed leaves it behind and
//! never wrong.

use std::sync::atomic::{AtomicU64, Ordering};

use phalanx_shm::errand::{ERRAND_WORDS, Errand};
use phalanx_shm::holders::Holders;
use phalanx_shm::owned::OwnedWords;
use phalanx_shm::{Offset, OwnedLock, Universe};

use crate::engine::errands::errand_over;
use crate::error::Result;

/// Bytes of a line of the cache.
const LINE: usize = 64;
/// Words before the locks.
const HEAD: usize = 8;
/// Locks of each rank.
const LOCKS: usize = 2;
/// Words of a lock.
const LOCK_WORDS: usize = size_of::<OwnedWords>() / size_of::<u64>();

/// The words of one window.
pub(super) struct Control {
    universe: Universe,
    at: Offset,
    ranks: usize,
}

/// What the words mean.
#[derive(Clone, Copy)]
pub(super) struct Words<'a> {
    locks: &'a [OwnedWords],
    words: &'a [AtomicU64],
    ranks: usize,
}

impl Control {
    /// Bytes for so many ranks.
    pub(super) fn bytes(ranks: usize) -> usize {
        (Control::before_errands(ranks) + ranks * ERRAND_WORDS) * size_of::<u64>()
    }

    /// Words before the errands: whole lines.
    fn before_errands(ranks: usize) -> usize {
        (HEAD + ranks * LOCKS * LOCK_WORDS + Control::plain(ranks)).next_multiple_of(LINE / size_of::<u64>())
    }

    /// Where the errand of a rank is.
    pub(super) fn errand_at(&self, rank: usize) -> Offset {
        self.at.plus((Control::before_errands(self.ranks) + rank * ERRAND_WORDS) * size_of::<u64>())
    }

    /// The errand of a rank.
    ///
    /// # Errors
    /// As [`Control::words`].
    #[inline]
    pub(super) fn errand(&self, rank: usize) -> Result<Errand<'_>> {
        errand_over(&self.universe, self.errand_at(rank)).map_err(super::outside)
    }

    /// Words after the locks.
    fn plain(ranks: usize) -> usize {
        2 * ranks + 3 * ranks * ranks
    }

    pub(super) fn new(universe: Universe, at: Offset, ranks: usize) -> Control {
        Control { universe, at, ranks }
    }

    /// The words.
    ///
    /// # Errors
    /// Class `Intern` when another process has destroyed the books of the heap.
    #[inline]
    pub(super) fn words(&self) -> Result<Words<'_>> {
        let locks_at = self.at.plus(HEAD * size_of::<u64>());
        let locks = self.universe.owned_words(locks_at, self.ranks * LOCKS).map_err(super::outside)?;
        let words_at = locks_at.plus(size_of_val(locks));
        let words = self.universe.words(words_at, Control::plain(self.ranks)).map_err(super::outside)?;
        Ok(Words { locks, words, ranks: self.ranks })
    }

    /// Counts this rank as one that has freed the window: whether it was the last.
    pub(super) fn leave(&self) -> Result<bool> {
        let head = self.universe.words(self.at, HEAD).map_err(super::outside)?;
        // AcqRel: the last one sees that all others are done with the memory.
        Ok(head[0].fetch_add(1, Ordering::AcqRel) + 1 == self.ranks as u64)
    }

    /// Gives the words back.
    pub(super) fn free(&self) {
        self.universe.free(self.at);
    }
}

impl<'a> Words<'a> {
    /// The lock of accumulates on a rank's memory.
    #[inline]
    pub(super) fn accumulates(self, target: usize) -> &'a OwnedLock {
        OwnedLock::over(&self.locks[target * LOCKS])
    }

    /// The lock that `MPI_Win_lock` takes.
    #[inline]
    pub(super) fn holders(self, target: usize) -> Holders<'a> {
        let gate = OwnedLock::over(&self.locks[target * LOCKS + 1]);
        Holders::over(gate, &self.words[target], self.row(0, target))
    }

    /// Where the list of what a rank has attached begins.
    #[inline]
    pub(super) fn attached(self, rank: usize) -> &'a AtomicU64 {
        &self.words[self.ranks + rank]
    }

    /// How often `who` has posted to `starter`.
    #[inline]
    pub(super) fn posted(self, starter: usize, who: usize) -> &'a AtomicU64 {
        &self.row(1, starter)[who]
    }

    /// How often `who` has completed towards `poster`.
    #[inline]
    pub(super) fn done(self, poster: usize, who: usize) -> &'a AtomicU64 {
        &self.row(2, poster)[who]
    }

    #[inline]
    fn row(self, table: usize, row: usize) -> &'a [AtomicU64] {
        let from = 2 * self.ranks + (table * self.ranks + row) * self.ranks;
        &self.words[from..from + self.ranks]
    }
}
