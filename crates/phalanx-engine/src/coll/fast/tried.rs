//! Whether a rank that is alone with what it reads takes its cache lines over, as operations have shown: see
//! [`phalanx_shm::ways::Trial`].
//!
//! All ranks of a communicator carry out the same operations in the same order, so their trials fall together. Each decides for itself, which
//! the others need not know.

use phalanx_shm::ways::{Trial, Turn};

use crate::comm::Comm;

use super::super::call::Kind;
use super::area::Place;
use super::steps::Identity;

/// How lines are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lines {
    /// As what was measured before the job says of so much memory.
    Measured,
    Taken,
    Left,
}

const LINES: [Lines; 3] = [Lines::Measured, Lines::Taken, Lines::Left];

/// Sizes of blocks that are judged apart: doubled each time. What is shorter counts as the first, and what is longer as the last.
const SIZES: usize = 16;
/// The binary logarithm of the shortest of the first.
const FIRST: u32 = 8;

/// An operation's part in a trial.
#[derive(Clone, Copy, Debug)]
pub(super) struct Course {
    /// Which trial.
    of: Option<usize>,
    turn: Turn,
}

impl Course {
    pub(super) fn lines(&self) -> Lines {
        LINES[self.turn.way]
    }
}

/// What this rank has found out on a communicator: for each kind of operation and size of blocks, as far as there have been such.
#[derive(Default)]
pub(super) struct Tried(Vec<Trial<3>>);

impl Tried {
    /// How the next operation reads. Nothing is tried where nobody is alone with lines, where ranks share CPUs, and where the user has said
    /// what is done.
    #[inline]
    pub(super) fn next(&mut self, comm: &Comm, place: Place, id: &Identity) -> Course {
        match place {
            Place::Parts(_) if comm.size() == 2 || !matches!(id.kind, Kind::Bcast | Kind::Allgather) => {
                self.next_of(comm, id)
            }
            _ => Course { of: None, turn: Turn::usual(Lines::Measured as usize) },
        }
    }

    fn next_of(&mut self, comm: &Comm, id: &Identity) -> Course {
        let engine = comm.engine();
        if engine.is_crowded() || engine.universe().ways().fixed {
            return Course { of: None, turn: Turn::usual(Lines::Measured as usize) };
        }
        let size = (id.bytes.max(1).ilog2().saturating_sub(FIRST) as usize).min(SIZES - 1);
        let at = id.kind as usize * SIZES + size;
        if self.0.len() <= at {
            self.0.resize_with(at + 1, Trial::default);
        }
        let turn = self.0[at].next(Lines::Measured as usize, [true; 3]);
        Course { of: Some(at), turn }
    }

    /// An operation has ended.
    #[inline]
    pub(super) fn ended(&mut self, course: Course) {
        if let Some(at) = course.of {
            self.0[at].ended(course.turn);
        }
    }
}
