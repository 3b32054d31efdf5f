//! What the ranks wait for: a look at their notes a few times a second, for deadlocks.
//!
//! Only ranks that have waited for a tenth of a second have notes, so that a job that is busy costs a look at an empty
//! word for each rank. The proof is in `phalanx-waits`.

use std::time::{Duration, Instant};

use phalanx_waits::{Frame, Names, Snapshot, report, stuck, verdict, wrapped};

use super::{Job, Rank};
use crate::cli::OnDeadlock;
use crate::look;
use crate::recording::Recording;

/// From one look to the next.
const EVERY: Duration = Duration::from_millis(250);
/// To the next one, when a rank moved during the last.
const AGAIN: Duration = Duration::from_millis(10);
/// Looks that a deadlock of some ranks is given to become one of more, before it is told. The others may have come to the calls in
/// which they wait for these a moment ago, and who reads of it wants to know where all are.
const GROWS: u8 = 3;

/// What a report adds in a job that is replayed.
const REPLAYED: &str = "the job is a replay, in which a receive from any rank waits for the message that it took when it was \
     recorded: if no rank sends that, the program does something else than then.";

/// When the notes are looked at, and what was found.
#[derive(Default)]
pub(super) struct Watch {
    at: Option<Instant>,
    /// The ranks that were last said to be in a deadlock, by slot.
    told: Vec<u32>,
    /// Those that were seen in one at the last look and not told, and how many looks have seen more of them each time.
    seen: Vec<u32>,
    grown: u8,
}

impl Watch {
    /// Whether there may be more of them at the next look.
    fn may_grow(&mut self, stuck: &[u32]) -> bool {
        let grows = stuck != self.seen && self.grown < GROWS;
        self.grown = if grows { self.grown + 1 } else { 0 };
        self.seen = if grows { stuck.to_vec() } else { Vec::new() };
        grows
    }
}

/// Ranks as the launcher calls them.
pub(super) struct RankNames<'j>(pub(super) &'j [Rank]);

impl Names for RankNames<'_> {
    fn rank(&self, slot: u32) -> String {
        match self.0.iter().find(|rank| rank.slot == slot) {
            Some(rank) if rank.world == 0 => rank.rank.to_string(),
            Some(rank) => format!("{} of spawned world {}", rank.rank, rank.world),
            None => format!("in slot {slot}"),
        }
    }

    fn source(&self, frame: &Frame) -> Option<String> {
        look::source(frame)
    }
}

impl Job {
    /// When to look next.
    pub(super) fn watch_at(&self) -> Option<Instant> {
        let looks = self.manner.on_deadlock != OnDeadlock::Ignore && !self.manner.foreign;
        let runs = looks && !self.course.is_ending() && !self.nobody_runs();
        runs.then(|| self.watch.at.unwrap_or(self.started))
    }

    /// Looks whether some ranks can never go on.
    pub(super) fn look_at_waits(&mut self) {
        self.watch.at = Instant::now().checked_add(EVERY);
        let universe = self.universe.universe();
        let snapshot = Snapshot::take(universe);
        let stuck = stuck(snapshot.standings());
        // Ranks to whose calls it was told may have gone on, and be in another one.
        let is_told = stuck == self.watch.told && self.manner.on_deadlock != OnDeadlock::Raise;
        if stuck.is_empty() || is_told {
            return;
        }
        if !snapshot.holds(universe, &stuck) {
            self.watch.at = Instant::now().checked_add(AGAIN);
            return;
        }
        let are_all = self.running().iter().all(|index| stuck.binary_search(&self.ranks[*index].slot).is_ok());
        if !are_all && self.watch.may_grow(&stuck) {
            return;
        }
        let mut text = report(&snapshot, &stuck, &RankNames(&self.ranks));
        if let Recording::Replay(_) = self.manner.recording {
            wrapped(&mut text, "  ", REPLAYED);
        }
        match self.manner.on_deadlock {
            OnDeadlock::Ignore => {}
            OnDeadlock::Raise => {
                let mut text = verdict(&snapshot, &stuck, &RankNames(&self.ranks));
                if let Recording::Replay(_) = self.manner.recording {
                    wrapped(&mut text, "  ", REPLAYED);
                }
                snapshot.judge(universe, &stuck, text.trim_end());
            }
            OnDeadlock::Report => self.say(text.trim_end()),
            OnDeadlock::Abort => {
                self.say(&format!(
                    "{}\nphalanx: ending the job; --on-deadlock says what else can be done",
                    text.trim_end()
                ));
                self.deadlocked();
            }
        }
        self.watch.told = stuck;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deadlock_is_told_when_no_more_ranks_are_in_it_than_at_the_look_before() {
        let mut watch = Watch::default();
        assert!(watch.may_grow(&[0]));
        assert!(watch.may_grow(&[0, 1]));
        assert!(!watch.may_grow(&[0, 1]));
        assert!(watch.may_grow(&[0, 1]), "the next one has its own time");
    }

    #[test]
    fn one_that_always_grows_is_told_all_the_same() {
        let mut watch = Watch::default();
        let grows: Vec<bool> =
            (0..=u32::from(GROWS)).map(|last| watch.may_grow(&(0..=last).collect::<Vec<_>>())).collect();
        assert_eq!(grows, [true, true, true, false]);
    }
}
