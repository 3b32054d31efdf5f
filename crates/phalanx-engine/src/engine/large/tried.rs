//! Which way a large message goes, as messages of its size have shown: see [`phalanx_shm::ways::Trial`].
//!
//! Only messages that are alone are part of a trial: in one piece, while no other large one is under way, and where every rank has a CPU. What
//! takes turns with something else takes as long as that.

use phalanx_shm::ways::{Trial, Turn, size_class};
use phalanx_shm::{TransferReceiver, Ways};

use super::super::core::Core;
use super::{Offer, Pieces};

/// The ways of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// Through a pipe, whose lines the receiver only reads.
    Read,
    /// Through a pipe, whose lines the receiver takes over.
    Take,
    /// The receiver copies it out of the sender's memory.
    Alone,
}

const WAYS: [Way; 3] = [Way::Read, Way::Take, Way::Alone];

/// Sizes of messages that are judged apart, from 16 KiB on.
const SIZES: usize = 11;
const FIRST: u32 = 14;

/// What a message is, where that decides which way is best.
#[derive(Clone, Copy, Debug)]
struct Class {
    size: usize,
    /// This process has a large message of its own under way, or is in a collective.
    exchanging: bool,
    /// The pipe's memory was last used in the same direction.
    again: bool,
}

/// A message's part in a trial.
#[derive(Clone, Copy, Debug)]
pub(super) struct Course {
    class: Class,
    turn: Turn,
}

impl Course {
    pub(super) fn way(&self) -> Way {
        WAYS[self.turn.way]
    }
}

struct Sized {
    /// By whether the pipe is used again in the same direction.
    trials: [Trial<3>; 2],
    /// Whether the last pipe was: the next one probably is, too.
    again: bool,
}

impl Default for Sized {
    fn default() -> Self {
        Sized { trials: std::array::from_fn(|_| Trial::watching()), again: false }
    }
}

/// What this process has found out.
#[derive(Default)]
pub(crate) struct Tried([[Sized; SIZES]; 2]);

impl Tried {
    fn of(&mut self, class: Class) -> &mut Sized {
        &mut self.0[usize::from(class.exchanging)][class.size]
    }

    /// How a message of so many bytes goes, if what was measured before would have it copied alone, or not.
    fn next(&mut self, bytes: u64, exchanging: bool, alone: bool, may_alone: bool, ways: &Ways) -> Course {
        let size = size_class(bytes, FIRST, SIZES);
        let mut class = Class { size, exchanging, again: false };
        let sized = self.of(class);
        class.again = sized.again;
        let usual = match alone {
            true => Way::Alone,
            false if class.again && ways.pipe <= ways.take => Way::Take,
            false => Way::Read,
        };
        let turn = sized.trials[usize::from(class.again)].next(usual as usize, [true, true, may_alone]);
        Course { class, turn }
    }

    /// The pipe of a message with the lines of its course, which is over if the pipe is not one of its class.
    pub(super) fn pipe(&mut self, course: Course, pipe: TransferReceiver) -> (TransferReceiver, Option<Course>) {
        let again = pipe.is_used_again();
        self.of(course.class).again = again;
        if again != course.class.again || course.way() == Way::Alone {
            return (pipe, None);
        }
        (pipe.with_lines(course.way() == Way::Take), Some(course))
    }

    /// All of a message has been received.
    pub(super) fn ended(&mut self, course: Course) {
        let class = course.class;
        self.of(class).trials[usize::from(class.again)].ended(course.turn);
    }
}

impl Core {
    /// How a message goes that is about to be received, if that is tried at all.
    pub(super) fn course_of(
        &mut self,
        offer: &Offer,
        ours: &Option<Pieces>,
        exchanging: bool,
        alone: bool,
    ) -> Option<Course> {
        let ways = self.universe.ways();
        let whole = offer.told[1] == 0 && ours.as_ref().is_some_and(|ours| ours.list.len() == 1);
        if ways.fixed || self.crowded || !whole || !self.transfers.is_empty() {
            return None;
        }
        let may_alone = self.can_copy(offer.from, offer.block).is_some();
        Some(self.tried.next(offer.end, exchanging, alone, may_alone, &ways))
    }
}
