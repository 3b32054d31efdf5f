//! Cells: what each rank of a group says in each step of what all of them do together.
//!
//! # Layout
//!
//! ```text
//! head        two lines         word 0: how many ranks wait for long   the second line: the user's
//! rank 0      CELLS cells       each: tag, two words that say what the rank does, data of up to INLINE bytes
//! rank 1      CELLS cells
//! ...
//! ```
//!
//! # Protocol
//!
//! *Steps* are numbered from 1, the same on all ranks. In each step a rank writes its own cell, `step % CELLS`, and no
//! other one; the tag, written last, makes the cell known. So what a rank has to say, data included, is one line of memory
//! that moves to who reads it, and no line is written by two ranks.
//!
//! 1. *Enter*: before a rank writes its cell of step `s`, all ranks must have entered step `s - CELLS + 1`. A rank that has
//!    entered a step has finished the one before, so nobody reads what the cell held in step `s - CELLS` any more.
//! 2. *Note* what the rank does in the step, and write its data.
//! 3. *Say*: store the tag. Its high half is the step; the low half is the user's, and the same on all ranks if they agree.
//! 4. Whoever needs what a rank says waits until the tag of its cell has come to the step.
//!
//! Nothing is ever reset: a cell that was not written in a step has a lower step in its tag.
//!
//! # Waiting
//!
//! A rank that looks for long counts itself in the head before it goes to sleep anywhere, and looks once more after that.
//! `say` tells whether somebody is counted: only then need the speaker find out whom to wake. A rank that was killed while
//! it was counted stays counted, which costs the speakers a look and nothing else.
//!
//! # Memory order
//!
//! A tag is stored with Release and read with Acquire: what a rank wrote before it spoke, and what it read in the steps
//! before, happens before what another does after it has seen the tag. By 1. a rank writes its cell only after it has seen
//! everybody's tag of a later step than the one in which the cell was read.

#[cfg(not(loom))]
use crate::mem::SharedBytes;
use crate::sync::{AtomicU64, Ordering, fence};

/// Cells of a rank: how many steps it may be ahead of another.
pub const CELLS: usize = if cfg!(loom) { 2 } else { 32 };

/// Bytes of data in a cell.
pub const INLINE: usize = (CELL - DATA) * 8;

/// Words in a line.
const LINE: usize = 8;

/// Words in the head. Ranks that wait for long change the first of its lines, and each operation looks at the second, which
/// stays in every cache.
const HEAD: usize = if cfg!(loom) { LINE } else { 2 * LINE };

/// Words in a cell: two lines, of which few bytes need the first only.
const CELL: usize = if cfg!(loom) { DATA + 1 } else { 2 * LINE };

/// The word of a cell at which its data begins, aligned for every type.
const DATA: usize = 4;

/// The cells of a group of ranks, in memory that they share.
#[derive(Clone, Copy, Debug)]
pub struct Cells<'a> {
    words: &'a [AtomicU64],
    ranks: usize,
}

/// A rank that is counted as waiting for long.
#[derive(Debug)]
pub struct Waiter<'a>(&'a AtomicU64);

impl<'a> Cells<'a> {
    /// Words that the cells of so many ranks take.
    pub const fn words(ranks: usize) -> usize {
        HEAD + ranks * CELLS * CELL
    }

    /// The cells in memory that was zero before the first step; `None` when it is too short.
    pub fn over(words: &'a [AtomicU64], ranks: usize) -> Option<Cells<'a>> {
        let words = words.get(..Cells::words(ranks))?;
        Some(Cells { words, ranks })
    }

    /// The words of the head that are the user's.
    pub fn head(&self) -> &'a [AtomicU64] {
        &self.words[HEAD - LINE + 1..HEAD]
    }

    #[inline]
    fn at(rank: usize, step: u64) -> usize {
        HEAD + (rank * CELLS + step as usize % CELLS) * CELL
    }

    /// The memory for a rank's data in a step: [`INLINE`] bytes.
    #[cfg(not(loom))]
    #[inline]
    pub fn data(&self, rank: usize, step: u64) -> SharedBytes<'a> {
        let words = &self.words[Cells::at(rank, step)..][DATA..CELL];
        // SAFETY: the words live for 'a, may be written through shared references, and are used as bytes only.
        unsafe { SharedBytes::new(words.as_ptr().cast_mut().cast(), INLINE) }
    }

    /// The data of a model: one word.
    #[cfg(loom)]
    pub fn data(&self, rank: usize, step: u64) -> &'a AtomicU64 {
        &self.words[Cells::at(rank, step) + DATA]
    }

    /// The tag of a step with the user's half of it.
    pub const fn tag(step: u64, of_user: u32) -> u64 {
        step << 32 | of_user as u64
    }

    /// What a rank's cell of that step says now: perhaps not yet of this step.
    #[inline]
    pub fn seen(&self, rank: usize, step: u64) -> u64 {
        // SYNC POINT cell: Acquire, pairs with the store in `say`.
        self.words[Cells::at(rank, step)].load(Ordering::Acquire)
    }

    /// Whether a tag is of this step or a later one. (Steps wrap around in tags.)
    #[inline]
    pub const fn has_come(tag: u64, step: u64) -> bool {
        ((tag >> 32) as u32).wrapping_sub(step as u32) as i32 >= 0
    }

    /// Whether a rank has entered the step.
    #[inline]
    pub fn has_entered(&self, rank: usize, step: u64) -> bool {
        Cells::has_come(self.seen(rank, step), step)
    }

    /// Whether all ranks have entered the step.
    pub fn all_have_entered(&self, step: u64) -> bool {
        (0..self.ranks).all(|rank| self.has_entered(rank, step))
    }

    /// Notes what the rank does in the step, for those who want to explain it.
    #[inline]
    pub fn note(&self, rank: usize, step: u64, what: [u64; 2]) {
        let at = Cells::at(rank, step);
        self.words[at + 1].store(what[0], Ordering::Relaxed);
        self.words[at + 2].store(what[1], Ordering::Relaxed);
    }

    /// What a rank's cell of that step says now, and the first word of its note: of this step if the tag is.
    #[inline]
    pub fn said(&self, rank: usize, step: u64) -> (u64, u64) {
        let at = Cells::at(rank, step);
        let cell = &self.words[at..at + DATA];
        // SYNC POINT cell: Acquire, pairs with the store in `say`; the note is read after it.
        let seen = cell[0].load(Ordering::Acquire);
        (seen, cell[1].load(Ordering::Relaxed))
    }

    /// What a rank noted in the step; `None` when its cell is of another one.
    pub fn noted(&self, rank: usize, step: u64) -> Option<[u64; 2]> {
        let at = Cells::at(rank, step);
        let is_there = (self.seen(rank, step) >> 32) as u32 == step as u32;
        is_there.then(|| [1, 2].map(|word| self.words[at + word].load(Ordering::Relaxed)))
    }

    /// Makes the rank's cell of the step known. True when some rank waits for long: wake it if this is what it waits for.
    #[inline]
    pub fn say(&self, rank: usize, step: u64, tag: u64) -> bool {
        // SYNC POINT cell: Release, for the rank's data and its reads in the steps before.
        self.words[Cells::at(rank, step)].store(tag, Ordering::Release);
        // SYNC POINT cell-wait: release side, orders the tag before the look at those who wait; pairs with `wait`, and
        // with the announcement of a sleep.
        fence(Ordering::SeqCst);
        self.words[0].load(Ordering::Relaxed) != 0
    }

    /// Counts this rank as one that waits for long. Look at what is waited for after this, and after each announcement of
    /// a sleep.
    pub fn wait(&self) -> Waiter<'a> {
        // SYNC POINT cell-wait: acquire side, orders the count before the waiter's looks.
        self.words[0].fetch_add(1, Ordering::SeqCst);
        fence(Ordering::SeqCst);
        Waiter(&self.words[0])
    }
}

impl Drop for Waiter<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    fn memory(ranks: usize) -> Vec<AtomicU64> {
        (0..Cells::words(ranks)).map(|_| AtomicU64::new(0)).collect()
    }

    #[test]
    fn cells_do_not_overlap() {
        let words = memory(5);
        let cells = Cells::over(&words, 5).unwrap();
        let mut starts = Vec::new();
        for rank in 0..5 {
            for step in 1..=CELLS as u64 {
                starts.push(Cells::at(rank, step));
                cells.data(rank, step).write(0, &[rank as u8 + 1; INLINE]).unwrap();
                cells.say(rank, step, Cells::tag(step, 0));
            }
        }
        starts.sort_unstable();
        assert!(starts.windows(2).all(|pair| pair[1] - pair[0] == CELL));
        assert_eq!(starts[0] % LINE, 0);
        assert_eq!(starts[starts.len() - 1] + CELL, words.len());
        for rank in 0..5 {
            let mut seen = [0; INLINE];
            cells.data(rank, 7).read(0, &mut seen).unwrap();
            assert!(cells.has_entered(rank, 7) && seen == [rank as u8 + 1; INLINE]);
        }
        assert!(Cells::over(&words[1..], 5).is_none());
    }

    #[test]
    fn a_cell_is_of_the_step_in_which_it_was_written_last() {
        let words = memory(2);
        let cells = Cells::over(&words, 2).unwrap();
        assert!(!cells.has_entered(0, 1) && cells.noted(0, 1).is_none());
        for step in [1, 1 + CELLS as u64, u64::from(u32::MAX) + 2 + CELLS as u64] {
            cells.note(0, step, [step, 7]);
            assert!(!cells.say(0, step, Cells::tag(step, 5)));
            assert!(cells.has_entered(0, step) && !cells.has_entered(0, step + CELLS as u64));
            assert_eq!(cells.noted(0, step), Some([step, 7]));
            assert_eq!(cells.said(0, step), (Cells::tag(step, 5), step));
            assert!(!cells.all_have_entered(step));
        }
    }

    #[test]
    fn a_speaker_hears_of_those_who_wait() {
        let words = memory(2);
        let cells = Cells::over(&words, 2).unwrap();
        let waiter = cells.wait();
        assert!(cells.say(0, 1, Cells::tag(1, 0)));
        drop(waiter);
        assert!(!cells.say(1, 1, Cells::tag(1, 0)));
    }
}
