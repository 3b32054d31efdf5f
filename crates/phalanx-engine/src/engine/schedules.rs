//! The schedules registered with an engine, and whose turn it is.

use phalanx_waits::Kind;

use crate::error::Result;
use crate::status::Status;

use super::schedule_hook::Schedule;

/// Names a registered schedule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ScheduleId {
    index: u32,
    generation: u32,
}

enum State {
    Free,
    /// Waits for raw completions after the given count; `u64::MAX` asks for every pass.
    Waiting {
        schedule: Box<dyn Schedule>,
        seen: u64,
    },
    /// A thread is advancing it.
    Running,
    Done(Result<Status>),
}

struct Entry {
    generation: u32,
    state: State,
    /// Nobody will ask for the outcome.
    orphan: bool,
}

/// All schedules of an engine.
#[derive(Default)]
pub(crate) struct Schedules {
    entries: Vec<Entry>,
    /// Entries that are waiting or running.
    pub(crate) active: usize,
    /// Where the next search begins, so that all get their turn.
    cursor: usize,
}

/// A schedule taken out to be advanced.
pub(crate) struct Turn {
    pub(crate) id: ScheduleId,
    pub(crate) schedule: Box<dyn Schedule>,
    /// Raw completions when it was taken: those it is about to see.
    pub(crate) seen: u64,
}

/// Every pass counts.
const ALWAYS: u64 = u64::MAX;

impl Schedules {
    /// Registers a schedule as being advanced right now by the caller.
    pub(crate) fn add_running(&mut self) -> ScheduleId {
        self.active += 1;
        let free = self.entries.iter().position(|e| matches!(e.state, State::Free));
        let index = free.unwrap_or(self.entries.len());
        if free.is_none() {
            self.entries.push(Entry { generation: 0, state: State::Free, orphan: false });
        }
        let entry = &mut self.entries[index];
        entry.generation = entry.generation.wrapping_add(1);
        entry.state = State::Running;
        entry.orphan = false;
        ScheduleId { index: index as u32, generation: entry.generation }
    }

    /// Takes out a schedule that may be able to go on.
    pub(crate) fn take_turn(&mut self, completed_raw: u64) -> Option<Turn> {
        let n = self.entries.len();
        for step in 0..n {
            let index = (self.cursor + step) % n;
            let entry = &mut self.entries[index];
            if !matches!(&entry.state, State::Waiting { seen, .. } if *seen == ALWAYS || *seen != completed_raw) {
                continue;
            }
            if let State::Waiting { schedule, .. } = std::mem::replace(&mut entry.state, State::Running) {
                self.cursor = index + 1;
                let id = ScheduleId { index: index as u32, generation: entry.generation };
                return Some(Turn { id, schedule, seen: completed_raw });
            }
        }
        None
    }

    /// Whether [`Schedules::take_turn`] would give one (one that asks for every pass does not count: its condition rings).
    pub(crate) fn has_turn(&self, completed_raw: u64) -> bool {
        self.active > 0
            && self
                .entries
                .iter()
                .any(|e| matches!(&e.state, State::Waiting { seen, .. } if *seen != ALWAYS && *seen != completed_raw))
    }

    /// What a schedule that waits is called.
    pub(crate) fn name(&self, id: ScheduleId) -> Option<&'static str> {
        match &self.entries.get(id.index as usize).filter(|entry| entry.generation == id.generation)?.state {
            State::Waiting { schedule, .. } => Some(schedule.name()),
            _ => None,
        }
    }

    /// What a schedule says that would end it: see [`Schedule::awaited`].
    pub(crate) fn awaited(&self, id: ScheduleId) -> Option<(Kind, String)> {
        match &self.entries.get(id.index as usize).filter(|entry| entry.generation == id.generation)?.state {
            State::Waiting { schedule, .. } => schedule.awaited(),
            _ => None,
        }
    }

    /// Whether some schedule waits for something else than completions, or is being advanced.
    pub(crate) fn has_busy(&self) -> bool {
        let is_busy = |e: &Entry| matches!(e.state, State::Running | State::Waiting { seen: ALWAYS, .. });
        self.entries.iter().any(is_busy)
    }

    /// Puts a schedule back to wait.
    pub(crate) fn put_back(&mut self, turn: Turn, every_pass: bool) {
        if let Some(entry) = self.get(turn.id) {
            let seen = if every_pass { ALWAYS } else { turn.seen };
            entry.state = State::Waiting { schedule: turn.schedule, seen };
        }
    }

    /// Records how a schedule ended.
    pub(crate) fn finish(&mut self, id: ScheduleId, outcome: Result<Status>) {
        self.active = self.active.saturating_sub(1);
        if let Some(entry) = self.get(id) {
            entry.state = if entry.orphan { State::Free } else { State::Done(outcome) };
        }
    }

    fn get(&mut self, id: ScheduleId) -> Option<&mut Entry> {
        self.entries.get_mut(id.index as usize).filter(|e| e.generation == id.generation)
    }

    /// Whether it has ended.
    pub(crate) fn is_done(&self, id: ScheduleId) -> bool {
        match self.entries.get(id.index as usize) {
            Some(e) if e.generation == id.generation => {
                matches!(e.state, State::Done(_) | State::Free)
            }
            _ => true,
        }
    }

    /// How it ended, left in place.
    pub(crate) fn peek(&mut self, id: ScheduleId) -> Option<Result<Status>> {
        match &self.get(id)?.state {
            State::Done(outcome) => Some(outcome.clone()),
            _ => None,
        }
    }

    /// How it ended; the entry is free after that.
    pub(crate) fn take(&mut self, id: ScheduleId) -> Option<Result<Status>> {
        let entry = self.get(id)?;
        match std::mem::replace(&mut entry.state, State::Free) {
            State::Done(outcome) => Some(outcome),
            other => {
                entry.state = other;
                None
            }
        }
    }

    /// Nobody will ask for the outcome; the schedule still runs to its end.
    pub(crate) fn disown(&mut self, id: ScheduleId) {
        if let Some(entry) = self.get(id) {
            match entry.state {
                State::Done(_) => entry.state = State::Free,
                _ => entry.orphan = true,
            }
        }
    }
}
