//! What all processes of a job said at one moment.
//!
//! Notes are collected, and looked at once more: if all of them still held at the second look, there was a moment, between
//! the two, at which all of them held. Each of the threads slept then, and nobody had rung for it: whoever sends
//! something rings before it goes on, so nothing was on its way between sleepers.

use phalanx_shm::notes::{NOTES, Stamp};
use phalanx_shm::{Exit, ProcId, SlotState, Universe};

use crate::proof::Standing;
use crate::wait::Wait;

/// A blocked thread.
#[derive(Clone, Debug)]
pub struct Thread {
    /// The slot of its process.
    pub slot: u32,
    at: usize,
    stamp: Stamp,
    /// What it says.
    pub wait: Wait,
}

/// What was said.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    threads: Vec<Thread>,
    standings: Vec<Standing>,
}

impl Snapshot {
    /// Looks at the notes of all processes. Never waits.
    #[must_use]
    pub fn take(universe: &Universe) -> Snapshot {
        let mut taken = Snapshot::default();
        for slot in 0..universe.claimed() {
            // Its notes first: who has ended by then has rung for all that it sent.
            let threads = notes_of(universe, slot);
            let waits = || threads.iter().map(|thread| thread.wait.clone()).collect();
            taken.standings.push(match part_of(universe, slot) {
                Part::Over => Standing::Ended,
                Part::Takes if is_whole(&threads) => Standing::Blocked(waits()),
                Part::Leaves if is_whole(&threads) => Standing::Leaving(waits()),
                Part::Takes | Part::Leaves | Part::Unknown => Standing::Free,
            });
            taken.threads.extend(threads);
        }
        taken
    }

    /// With what those processes wait for all of whose threads were awake just then, between two sleeps of one wait: ten times a
    /// second each, and for long where CPUs are scarce. For telling; nothing is proved from them.
    #[must_use]
    pub fn with_awake(mut self, universe: &Universe) -> Snapshot {
        for slot in (0..universe.claimed()).filter(|slot| may_wait(universe, *slot)) {
            if self.threads.iter().any(|thread| thread.slot == slot) {
                continue;
            }
            let Some(notes) = universe.notes(ProcId(slot)) else { continue };
            let thread = |at| {
                let wait = Wait::decode(&notes.said(at)?)?;
                Some(Thread { slot, at, stamp: Stamp::default(), wait })
            };
            self.threads.extend((0..NOTES).filter_map(thread));
        }
        self.threads.sort_by_key(|thread| thread.slot);
        self
    }

    /// What so many processes would have said.
    #[cfg(any(test, fuzzing))]
    pub(crate) fn of_waits(processes: u32, mut waits: Vec<(u32, Wait)>) -> Snapshot {
        waits.sort_by_key(|(slot, _)| *slot);
        let of = |slot| waits.iter().filter(move |(of, _)| *of == slot).map(|(_, wait)| wait.clone()).collect();
        let standings = (0..processes).map(of).map(|own: Vec<Wait>| match own.is_empty() {
            true => Standing::Free,
            false => Standing::Blocked(own),
        });
        let (standings, stamp) = (standings.collect(), Stamp::default());
        let thread = |(slot, wait)| Thread { slot, at: 0, stamp, wait };
        Snapshot { threads: waits.into_iter().map(thread).collect(), standings }
    }

    /// The same when a process leaves, or has left.
    #[cfg(any(test, fuzzing))]
    pub(crate) fn left(mut self, slot: u32, is_over: bool) -> Snapshot {
        let Some(standing) = self.standings.get_mut(slot as usize) else { return self };
        *standing = match std::mem::replace(standing, Standing::Ended) {
            Standing::Blocked(waits) if !is_over => Standing::Leaving(waits),
            _ => {
                self.threads.retain(|thread| thread.slot != slot);
                Standing::Ended
            }
        };
        self
    }

    /// The blocked threads, those of each process one after the other.
    #[must_use]
    pub fn threads(&self) -> &[Thread] {
        &self.threads
    }

    /// What is known of each process, by its slot.
    #[must_use]
    pub fn standings(&self) -> &[Standing] {
        &self.standings
    }

    /// Whether all that these processes said still held when this was asked, so that there was a moment in which it did.
    #[must_use]
    pub fn holds(&self, universe: &Universe, slots: &[u32]) -> bool {
        let of_these = |thread: &&Thread| slots.binary_search(&thread.slot).is_ok();
        self.threads.iter().filter(of_these).all(|thread| {
            let notes = universe.notes(ProcId(thread.slot));
            let lives = universe.process(ProcId(thread.slot)).is_some_and(|process| !process.is_dead());
            may_wait(universe, thread.slot)
                && lives
                && notes.is_some_and(|notes| notes.holds(thread.at, thread.stamp))
                && sleeps(universe, thread.slot, thread.stamp)
        })
    }

    /// Those of these processes that can do something else if their waits fail: not those that leave, who have nothing to do but to wait.
    pub fn to_be_told(&self, slots: &[u32]) -> impl Iterator<Item = u32> {
        let leaves = |slot: u32| matches!(self.standings.get(slot as usize), Some(Standing::Leaving(_)));
        slots.iter().copied().filter(move |slot| !leaves(*slot))
    }

    /// Tells the threads of these processes what was found out about their waits, and wakes them.
    pub fn judge(&self, universe: &Universe, slots: &[u32], text: &str) {
        let told: Vec<u32> = self.to_be_told(slots).collect();
        for thread in self.threads.iter().filter(|thread| told.contains(&thread.slot)) {
            if let Some(notes) = universe.notes(ProcId(thread.slot)) {
                notes.judge(thread.at, thread.stamp, text);
                universe.slot(ProcId(thread.slot)).notify();
            }
        }
    }
}

fn notes_of(universe: &Universe, slot: u32) -> Vec<Thread> {
    let Some(notes) = universe.notes(ProcId(slot)) else { return Vec::new() };
    let thread = |at| {
        let (stamp, content) = notes.read(at)?;
        let wait = sleeps(universe, slot, stamp).then(|| Wait::decode(&content)).flatten()?;
        Some(Thread { slot, at, stamp, wait })
    };
    (0..NOTES).filter_map(thread).collect()
}

/// Whether nobody has rung for the threads of a process since a note was written.
fn sleeps(universe: &Universe, slot: u32, stamp: Stamp) -> bool {
    universe.slot(ProcId(slot)).sleepers().is_at(stamp.token)
}

/// What part a process has in the job.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    Takes,
    /// It is in `MPI_Finalize`.
    Leaves,
    /// It has said goodbye.
    Over,
    /// It has not come, or was killed, which its launcher sees to. What a guest waits for, the notes in its home say, and not these: it
    /// may do anything.
    Unknown,
}

fn part_of(universe: &Universe, slot: u32) -> Part {
    let slot = universe.slot(ProcId(slot));
    let standing = slot.standing();
    if slot.is_for_guests() || matches!(standing.exit, Some(Exit::Signal(_))) {
        return Part::Unknown;
    }
    match standing.state {
        SlotState::Running => Part::Takes,
        SlotState::Finalizing => Part::Leaves,
        SlotState::Finalized => Part::Over,
        SlotState::Empty | SlotState::Starting => Part::Unknown,
    }
}

fn may_wait(universe: &Universe, slot: u32) -> bool {
    matches!(part_of(universe, slot), Part::Takes | Part::Leaves)
}

/// Whether these are all threads of the process that may do something: each names those others that it counts upon.
fn is_whole(threads: &[Thread]) -> bool {
    let is_here = |number: &u32| threads.iter().any(|thread| thread.wait.thread == *number);
    // Two of them may have looked at different moments: the one that names all has looked last.
    !threads.is_empty()
        && threads.iter().all(|thread| thread.wait.alone && thread.wait.mates.iter().all(is_here))
        && threads.iter().any(|thread| thread.wait.mates.len() + 1 == threads.len())
}
