//! Whether a rank that is alone with what it reads takes its cache lines over, as operations have shown: see
//! [`phalanx_shm::ways::Trial`].
//!
//! All ranks of a communicator carry out the same operations in the same order, so their trials fall together. Each decides for itself, which
//! the others need not know.

use phalanx_shm::ways::{Trial, Turn, size_class};

use crate::comm::Comm;

use super::super::call::Kind;
use super::area::Place;
use super::steps::Identity;

/// How lines are read. What was measured is a way of its own: of one operation it may have some lines taken and others left, by how
/// much memory each of its steps uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lines {
    /// As that says.
    Measured,
    Taken,
    Left,
}

const LINES: [Lines; 3] = [Lines::Measured, Lines::Taken, Lines::Left];

/// Sizes of blocks that are judged apart, from 256 bytes on.
const SIZES: usize = 16;
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
        let usual = Lines::Measured as usize;
        let alone =
            matches!(place, Place::Parts(_)) && (comm.size() == 2 || !matches!(id.kind, Kind::Bcast | Kind::Allgather));
        if !alone || comm.engine().is_crowded() || comm.engine().universe().ways().fixed {
            return Course { of: None, turn: Turn::usual(usual) };
        }
        let at = id.kind as usize * SIZES + size_class(id.bytes as u64, FIRST, SIZES);
        if self.0.len() <= at {
            self.0.resize_with(at + 1, Trial::default);
        }
        Course { of: Some(at), turn: self.0[at].next(usual, [true; 3]) }
    }

    /// An operation has ended.
    #[inline]
    pub(super) fn ended(&mut self, course: Course) {
        if let Some(at) = course.of {
            self.0[at].ended(course.turn);
        }
    }
}
