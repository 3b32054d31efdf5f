//! What ranks on other machines are doing: agents look, and what they see is put together.
//!
//! | who asks | gets it |
//! |---|---|
//! | a failure | as far as it has come when the job's end is told |
//! | the user by Ctrl-\, a time limit, a request to end | when all have answered, or after a moment |
//! | `phalanx why`, `phalanx top` | the same, after a longer moment |

use std::collections::{BTreeSet, HashMap};
use std::time::{Duration, Instant};

use phalanx_wire::agent::{Order, Sight};

use super::super::Job;
use crate::look::{self, Process, Stage, glimpse_of};
use crate::pmi;

/// How long what ranks are doing is waited for, and the most that agents may spend on looking, for a person at a terminal where
/// something happens.
const SOON: (Duration, u32) = (Duration::from_millis(500), 200);
/// The same for who asks from outside, and has time.
const PATIENT: (Duration, u32) = (Duration::from_secs(3), 1500);

/// Who asked what ranks are doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asked {
    /// The user, at the job's terminal.
    User,
    /// Who has this number at the job's door.
    Caller(usize),
}

/// What was seen of a rank on another machine.
pub(in crate::job) struct Seen {
    pub(in crate::job) stage: Stage,
    pub(in crate::job) processes: Vec<Process>,
}

/// What was seen of ranks on other machines, by their indices.
pub(in crate::job) type Sights = HashMap<usize, Seen>;

/// A look that not all hosts have answered.
struct Open {
    number: u32,
    asked: Asked,
    due: Instant,
    awaited: BTreeSet<usize>,
    seen: Sights,
}

/// All of them.
#[derive(Default)]
pub(super) struct Looks {
    count: u32,
    open: Vec<Open>,
}

impl Looks {
    /// When the next one is answered, complete or not.
    pub(super) fn due(&self) -> Option<Instant> {
        self.open.iter().map(|look| look.due).min()
    }
}

impl Job {
    /// Asks agents what their ranks are doing, for what is said of a failure.
    pub(super) fn ask_doings(&mut self) {
        if !self.course.is_ending() && self.is_first_failure() {
            self.tell_agents(&Order::Look { number: 0, within: SOON.1 });
        }
    }

    /// Says what ranks are doing, once their machines have told it.
    pub(in crate::job) fn look_for_user(&mut self) {
        self.ask_agents(Asked::User, SOON);
    }

    /// Answers who has asked at the door, once all machines have told what their ranks are doing.
    pub(in crate::job) fn look_for_caller(&mut self, number: usize) {
        self.ask_agents(Asked::Caller(number), PATIENT);
    }

    fn ask_agents(&mut self, asked: Asked, (patience, within): (Duration, u32)) {
        let Some(far) = &mut self.far else { return };
        // 0 is nobody's.
        far.looks.count = far.looks.count.wrapping_add(1).max(1);
        let number = far.looks.count;
        let is_there = |host: &usize| far.hosts[*host].channel.is_some();
        let awaited = (0..far.hosts.len()).filter(is_there).collect();
        let due = Instant::now() + patience;
        far.looks.open.push(Open { number, asked, due, awaited, seen: HashMap::new() });
        self.tell_agents(&Order::Look { number, within });
        self.answer_looks();
    }

    /// An agent has looked.
    pub(super) fn seen_there(&mut self, host: usize, number: u32, ranks: Vec<Sight>, last: bool) {
        let mut seen = Sights::new();
        for sight in ranks {
            let index = sight.id as usize;
            if self.ranks.get(index).is_none_or(|rank| rank.host != Some(host)) {
                continue;
            }
            let stage = stage_of(sight.stage.into());
            let decoded = sight.processes.iter().filter_map(|bytes| postcard::from_bytes(&bytes.0).ok());
            let processes: Vec<Process> = decoded.collect();
            let glimpse = glimpse_of(processes.iter().cloned());
            let nothing = || ("waits for no other rank, or not for long".to_owned(), None);
            self.seen_at_failure(index, glimpse.unwrap_or_else(nothing));
            seen.insert(index, Seen { stage, processes });
        }
        let looks = self.far.iter_mut().flat_map(|far| &mut far.looks.open);
        for look in looks.filter(|look| look.number == number) {
            look.seen.extend(std::mem::take(&mut seen));
            if last {
                look.awaited.remove(&host);
            }
        }
        self.answer_looks();
    }

    /// No more is to be expected of a host.
    pub(super) fn sees_no_more(&mut self, host: usize) {
        for look in self.far.iter_mut().flat_map(|far| &mut far.looks.open) {
            look.awaited.remove(&host);
        }
        self.answer_looks();
    }

    /// Answers looks that are complete, and those that have waited long enough.
    pub(super) fn answer_looks(&mut self) {
        let now = Instant::now();
        while let Some(far) = &mut self.far
            && let Some(at) = far.looks.open.iter().position(|look| look.awaited.is_empty() || look.due <= now)
        {
            let look = far.looks.open.remove(at);
            let silent: Vec<String> = look.awaited.iter().map(|host| far.hosts[*host].name.clone()).collect();
            let seen = self.look(&look.seen);
            match look.asked {
                Asked::User => {
                    let mut text = look::report(&seen, false);
                    if !silent.is_empty() {
                        text.push_str(&format!("  (no answer within 0.5 s from {})\n", silent.join(", ")));
                    }
                    self.say(text.trim_end());
                }
                Asked::Caller(number) => self.answer_caller(number, &seen),
            }
        }
    }
}

/// How far a rank of another library has come, as PMI knows it.
pub(in crate::job) fn stage_of(stage: pmi::Stage) -> Stage {
    match stage {
        pmi::Stage::Silent => Stage::Before,
        pmi::Stage::Initialised => Stage::Running,
        pmi::Stage::Finalized => Stage::Finalized,
    }
}
