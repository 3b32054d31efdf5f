//! What tasks wait for: `after` says when one may run, `follow` where.

use std::collections::BTreeSet;

use phalanx_wire::cluster::{Dependency, Status};

use super::task::Phase;
use super::{Core, Key, Object};

/// How far a dependency is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Met {
    /// It holds.
    Yes,
    /// It may hold later.
    NotYet,
    /// It never will.
    Never,
}

/// What has become of one task, for those that wait for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It has not ended.
    Pending,
    /// It has ended like this, on this engine.
    Ended(Status, Option<u32>),
    /// Nobody has heard of it, or it was long ago.
    Unknown,
}

/// How far one task's dependency is: the tasks that it names are counted as they end, since those may be many, and long
/// forgotten when the last one ends.
#[derive(Debug, Clone, Default)]
pub(crate) struct Wait {
    pending: usize,
    wanted: usize,
    unwanted: usize,
    /// Where those ran that ended as wanted.
    engines: BTreeSet<u32>,
}

impl Wait {
    /// Counts one that has ended.
    fn count(&mut self, dependency: &Dependency, status: Status, engine: Option<u32>) {
        if if status == Status::Ok { dependency.success } else { dependency.failure } {
            self.wanted += 1;
            self.engines.extend(engine);
        } else {
            self.unwanted += 1;
        }
    }

    fn met(&self, dependency: &Dependency) -> Met {
        let enough = if dependency.all { self.pending == 0 } else { self.wanted > 0 };
        let is_empty = self.pending + self.wanted + self.unwanted == 0;
        match () {
            () if dependency.all && self.unwanted > 0 => Met::Never,
            () if enough || is_empty => Met::Yes,
            () if self.pending == 0 => Met::Never,
            () => Met::NotYet,
        }
    }

    /// The engines that have run what a dependency that holds wants to follow; `None`: all will do.
    fn places(&self, dependency: &Dependency) -> Option<Vec<u32>> {
        if self.wanted == 0 {
            return None;
        }
        // No engine has run all of them.
        let nowhere = dependency.all && self.engines.len() > 1;
        Some(if nowhere { Vec::new() } else { self.engines.iter().copied().collect() })
    }
}

/// Who waits for a task, and by which of its dependencies.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Dependent {
    key: Key,
    follows: bool,
}

impl<P: Object> Core<P> {
    pub(crate) fn fate(&self, id: &str) -> Fate {
        let Some(key) = self.names.get(id) else { return Fate::Unknown };
        if self.tasks.contains_key(key) {
            return Fate::Pending;
        }
        match self.history.get(*key) {
            Some(ended) => Fate::Ended(ended.status, ended.record.engine_id),
            None => Fate::Unknown,
        }
    }

    /// Has a task that has just been submitted wait for what it depends on.
    pub(crate) fn await_others(&mut self, key: Key) {
        for follows in [false, true] {
            let Some(task) = self.tasks.get(&key) else { return };
            let Some(dependency) = (if follows { &task.follow } else { &task.after }).clone() else { continue };
            let mut wait = Wait::default();
            for id in &dependency.ids {
                match self.fate(id) {
                    Fate::Pending if self.names.get(id) != Some(&key) => {
                        wait.pending += 1;
                        if let Some(other) = self.names.get(id) {
                            self.dependents.entry(*other).or_default().push(Dependent { key, follows });
                        }
                    }
                    Fate::Ended(status, engine) => wait.count(&dependency, status, engine),
                    Fate::Pending | Fate::Unknown => {
                        let text = format!("it depends on task {id}, which the controller does not know (any more)");
                        return self.fail(key, "InvalidDependency", text);
                    }
                }
            }
            if let Some(task) = self.tasks.get_mut(&key) {
                task.waits[usize::from(follows)] = wait;
            }
        }
        self.look(key);
    }

    /// Looks whether a task that waits may go on, or never may.
    fn look(&mut self, key: Key) {
        let Some(task) = self.tasks.get(&key).filter(|task| task.phase == Phase::Waiting) else { return };
        let met = |dependency: &Option<Dependency>, wait: &Wait| {
            dependency.as_ref().map_or(Met::Yes, |dependency| wait.met(dependency))
        };
        match (met(&task.after, &task.waits[0]), met(&task.follow, &task.waits[1])) {
            (Met::Never, _) | (_, Met::Never) => {
                let text = "what it depends on has not ended as it must have".to_owned();
                self.fail(key, "ImpossibleDependency", text);
            }
            (Met::Yes, Met::Yes) => {
                let places = task.follow.as_ref().and_then(|dependency| task.waits[1].places(dependency));
                self.release(key, places);
            }
            _ => {}
        }
    }

    /// What waits for a task that has ended looks again.
    pub(crate) fn look_again(&mut self, ended: Key, status: Status, engine: Option<u32>) {
        for Dependent { key, follows } in self.dependents.remove(&ended).unwrap_or_default() {
            let Some(task) = self.tasks.get_mut(&key) else { continue };
            let dependency = if follows { &task.follow } else { &task.after };
            if let Some(dependency) = dependency {
                let wait = &mut task.waits[usize::from(follows)];
                wait.pending = wait.pending.saturating_sub(1);
                wait.count(dependency, status, engine);
            }
            self.look(key);
        }
    }

    /// What a task waited for has happened: it may run at these places.
    fn release(&mut self, key: Key, places: Option<Vec<u32>>) {
        let Some(task) = self.tasks.get_mut(&key) else { return };
        if let Some(mut places) = places {
            if !task.targets.is_empty() {
                places.retain(|engine| task.targets.contains(engine));
            }
            if places.is_empty() {
                let text = "no engine has run what it is to follow".to_owned();
                return self.fail(key, "ImpossibleDependency", text);
            }
            if task.balanced {
                task.targets = places;
            }
        }
        self.enqueue(key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wait(dependency: &Dependency, fates: &[Fate]) -> Wait {
        let mut wait = Wait::default();
        for fate in fates {
            match fate {
                Fate::Ended(status, engine) => wait.count(dependency, *status, *engine),
                _ => wait.pending += 1,
            }
        }
        wait
    }

    #[test]
    fn what_a_dependency_wants() {
        let dependency = |all, success, failure| Dependency { ids: Vec::new(), all, success, failure };
        let (ok, failed) = (Fate::Ended(Status::Ok, Some(0)), Fate::Ended(Status::Error, Some(1)));
        let pending = Fate::Pending;
        for (wanted, fates, expected) in [
            (dependency(true, true, false), vec![], Met::Yes),
            (dependency(true, true, false), vec![ok, pending], Met::NotYet),
            (dependency(true, true, false), vec![failed, pending], Met::Never),
            (dependency(true, true, true), vec![failed, ok], Met::Yes),
            (dependency(true, false, true), vec![ok], Met::Never),
            (dependency(false, true, false), vec![failed, pending], Met::NotYet),
            (dependency(false, true, false), vec![failed, ok, pending], Met::Yes),
            (dependency(false, true, false), vec![failed, failed], Met::Never),
            (dependency(false, true, false), vec![], Met::Yes),
        ] {
            assert_eq!(wait(&wanted, &fates).met(&wanted), expected, "{wanted:?} {fates:?}");
        }
    }

    #[test]
    fn what_follows_goes_where_the_others_were() {
        let places = |all, fates: &[Fate]| {
            let dependency = Dependency { ids: Vec::new(), all, success: true, failure: false };
            wait(&dependency, fates).places(&dependency)
        };
        let on = |engine| Fate::Ended(Status::Ok, Some(engine));
        assert_eq!(places(true, &[]), None);
        assert_eq!(places(true, &[on(2), on(2)]), Some(vec![2]));
        assert_eq!(places(true, &[on(2), on(1)]), Some(vec![]));
        assert_eq!(places(false, &[on(2), on(1), Fate::Pending]), Some(vec![1, 2]));
    }
}
