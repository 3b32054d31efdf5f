//! Which way an operation goes, and whether a rank that is alone with what it reads takes its cache lines over, as operations have
//! shown: see [`phalanx_shm::ways::Trial`].
//!
//! All ranks of a communicator carry out the same operations in the same order, so their trials fall together. How a rank reads
//! it decides for itself, which the others need not know. Whether an operation goes through the area or by messages all must
//! decide alike: rank 0 says with which way they begin, and later what it has seen, each time in a step of its own (see [`agree`]).

use phalanx_shm::ways::{Pace, Trial, Turn, Verdict, size_class};

use crate::comm::Comm;
use crate::error::Result;

use super::super::call::Kind;
use super::Choice;
use super::area::{Area, Place, outside};
use super::steps::{Counters, Identity, Steps};

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

/// Where the data goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Path {
    /// Through the area.
    Here,
    /// By messages, of which each is copied by its receiver alone where that is possible.
    Alone,
    /// By messages, each as large messages go.
    Messages,
}

/// In the order in which they are tried.
const PATHS: [Path; 3] = [Path::Here, Path::Alone, Path::Messages];

/// Sizes of blocks that are judged apart, from 256 bytes on.
const SIZES: usize = 16;
const FIRST: u32 = 8;

/// Bytes of a block from which it may go by messages: less is worth none.
const LEAST: usize = 64 << 10;
/// And up to which all ways are tried: what takes tenths of a second is not for trying.
const MOST: usize = 64 << 20;
/// Bytes that an operation brings to a rank from which it lasts so long that few have to do.
const LONG: usize = 1 << 20;

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

    pub(super) fn path(&self) -> Path {
        PATHS[self.turn.way]
    }

    /// Whether its time counts.
    pub(super) fn is_tried(&self) -> bool {
        self.turn.is_tried()
    }
}

impl Path {
    /// For an operation that goes this way whatever others have shown.
    pub(super) fn always(self) -> Course {
        Course { of: None, turn: Turn::usual(self as usize) }
    }
}

/// Which class of kind and size an operation belongs to.
fn class_of(id: &Identity) -> usize {
    id.kind as usize * SIZES + size_class(id.bytes as u64, FIRST, SIZES)
}

/// What is known of each class, as far as there have been such.
struct Classes<T>(Vec<Option<T>>);

impl<T> Default for Classes<T> {
    fn default() -> Self {
        Classes(Vec::new())
    }
}

impl<T> Classes<T> {
    fn get(&mut self, class: usize) -> Option<&mut T> {
        self.0.get_mut(class)?.as_mut()
    }

    fn get_or_insert_with(&mut self, class: usize, make: impl FnOnce() -> T) -> &mut T {
        if self.0.len() <= class {
            self.0.resize_with(class + 1, || None);
        }
        self.0[class].get_or_insert_with(make)
    }
}

/// What is known of the ways that operations of a class go, the same on all ranks but for the times.
struct Paths {
    /// Until another one is found.
    usual: Path,
    trial: Trial<{ PATHS.len() }>,
}

/// What this rank has found out on a communicator.
#[derive(Default)]
pub(super) struct Tried {
    lines: Classes<Trial<{ LINES.len() }>>,
    paths: Classes<Paths>,
}

impl Tried {
    /// How the next operation reads, which goes through the area as `path` says. Nothing is tried where nobody is alone with lines, where
    /// ranks share CPUs, where the user has said what is done, and in an operation that is part of another trial.
    #[inline]
    pub(super) fn lines(&mut self, comm: &Comm, place: Place, id: &Identity, path: Course) -> Course {
        let usual = Lines::Measured as usize;
        let alone =
            matches!(place, Place::Parts(_)) && (comm.size() == 2 || !matches!(id.kind, Kind::Bcast | Kind::Allgather));
        if !alone || comm.engine().is_crowded() || comm.engine().universe().ways().fixed {
            return Course { of: None, turn: Turn::usual(usual) };
        }
        let class = class_of(id);
        let trial = self.lines.get_or_insert_with(class, Trial::default);
        if path.is_tried() {
            return Course { of: None, turn: Turn::usual(trial.way(usual)) };
        }
        Course { of: Some(class), turn: trial.next(usual, [true; 3]) }
    }

    /// An operation has ended that read so.
    #[inline]
    pub(super) fn read(&mut self, course: Course) {
        if course.is_tried()
            && let Some(trial) = course.of.and_then(|class| self.lines.get(class))
        {
            trial.ended(course.turn);
        }
    }

    /// An operation has ended that went so.
    #[inline]
    pub(super) fn went(&mut self, course: Course) {
        if course.is_tried()
            && let Some(paths) = course.of.and_then(|class| self.paths.get(class))
        {
            paths.trial.ended(course.turn);
        }
    }
}

/// Which way the next operation goes, the same on all ranks.
///
/// # Errors
/// As any step of an operation.
#[inline]
pub(super) fn path(
    comm: &Comm,
    area: &Area,
    counters: &mut Counters,
    id: &Identity,
    choice: &Choice,
) -> Result<Course> {
    if id.bytes < LEAST || !choice.is_open || comm.engine().universe().ways().fixed {
        return Ok(choice.usual().always());
    }
    let class = class_of(id);
    let (usual, seen) = match counters.tried.paths.get(class) {
        None => (begin(comm, area, counters, id, choice)?, None),
        Some(Paths { usual, trial }) => (*usual, trial.is_due().then(|| trial.verdict())),
    };
    // The times of the others may differ, and so may what they would say.
    let told = seen.map(|seen| agree(comm, area, seen.to_byte(), counters, id)).transpose()?;
    let Paths { trial, .. } = counters.tried.paths.get_or_insert_with(class, || {
        let pace = match id.bytes.saturating_mul(comm.size() as usize) {
            LONG.. => &Pace::LONG_USES,
            _ => &Pace::SHORT_USES,
        };
        Paths { usual, trial: Trial::paced(pace) }
    });
    if let Some(verdict) = told {
        trial.settle(usual as usize, Verdict::from_byte(verdict));
    }
    // Two ranks with a CPU each find out with each message what its receiver copies alone.
    let open = [choice.here.is_some(), comm.size() > 2, true];
    let turn = match id.bytes {
        ..=MOST => trial.next(usual as usize, open),
        _ => Turn::usual(trial.way(usual as usize)),
    };
    // Of one class, some sizes may fit into the area and others not.
    if turn.way == Path::Here as usize && choice.here.is_none() {
        return Ok(Path::Messages.always());
    }
    Ok(Course { of: Some(class), turn })
}

/// The first operation of a class: rank 0 says how such ones go until something else is found out, since it may be that only
/// some ranks have to share their CPU.
#[cold]
fn begin(comm: &Comm, area: &Area, counters: &mut Counters, id: &Identity, choice: &Choice) -> Result<Path> {
    let mine = if comm.engine().is_crowded() { choice.usual_of_crowd() } else { choice.usual() };
    let told = usize::from(agree(comm, area, mine as u8, counters, id)?);
    Ok(PATHS.get(told).copied().unwrap_or(Path::Messages))
}

/// What rank 0 says, in a step of its own.
#[cold]
fn agree(comm: &Comm, area: &Area, mine: u8, counters: &mut Counters, id: &Identity) -> Result<u8> {
    let mut steps = Steps::begin(comm, area, area.cells()?, Place::Cells, counters, id, Lines::Measured);
    steps.open()?;
    let at = steps.enter()?;
    let cell = steps.whole(at, 0)?;
    let mut word = [mine];
    if comm.rank() == 0 {
        cell.write(0, &word).map_err(outside)?;
        steps.publish(at);
    } else {
        steps.arrive(at);
        steps.said(at, 0)?;
        cell.read(0, &mut word).map_err(outside)?;
    }
    Ok(word[0])
}
