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
            let threads = notes_of(universe, slot);
            let blocked = is_running(universe, slot) && is_whole(&threads);
            taken.standings.push(match blocked {
                true => Standing::Blocked(threads.iter().map(|thread| thread.wait.clone()).collect()),
                false => Standing::Free,
            });
            taken.threads.extend(threads);
        }
        taken
    }

    /// With what those processes wait for all of whose threads were awake just then, between two sleeps of one wait: ten times a
    /// second each, and for long where CPUs are scarce. For telling; nothing is proved from them.
    #[must_use]
    pub fn with_awake(mut self, universe: &Universe) -> Snapshot {
        for slot in (0..universe.claimed()).filter(|slot| is_running(universe, *slot)) {
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
            is_running(universe, thread.slot)
                && lives
                && notes.is_some_and(|notes| notes.holds(thread.at, thread.stamp))
                && sleeps(universe, thread.slot, thread.stamp)
        })
    }

    /// Tells the threads of these processes what was found out about their waits, and wakes them.
    pub fn judge(&self, universe: &Universe, slots: &[u32], text: &str) {
        for thread in self.threads.iter().filter(|thread| slots.binary_search(&thread.slot).is_ok()) {
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

/// Whether a process takes part in the job. One that has ended, or ends, is waited for by nobody for long, and does not wait for
/// long: the engine sees to that, and says how it has ended. What a guest waits for, the notes in its home say, and not these: it may do
/// anything.
fn is_running(universe: &Universe, slot: u32) -> bool {
    let slot = universe.slot(ProcId(slot));
    let standing = slot.standing();
    let takes_part = standing.state == SlotState::Running && !matches!(standing.exit, Some(Exit::Signal(_)));
    takes_part && !slot.is_for_guests()
}

/// Whether these are all threads of the process that may do something: each names those others that it counts upon.
fn is_whole(threads: &[Thread]) -> bool {
    let is_here = |number: &u32| threads.iter().any(|thread| thread.wait.thread == *number);
    // Two of them may have looked at different moments: the one that names all has looked last.
    !threads.is_empty()
        && threads.iter().all(|thread| thread.wait.alone && thread.wait.mates.iter().all(is_here))
        && threads.iter().any(|thread| thread.wait.mates.len() + 1 == threads.len())
}
