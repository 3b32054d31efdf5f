//! Which engine gets which task.

use std::collections::VecDeque;

use phalanx_wire::cluster::{ToClient, ToEngine};

use super::task::{Deadline, Phase};
use super::{Action, CHUNK, Core, Engine, Key, MOST, Object, QUIET};

/// So many of the tasks that only some engines may run are looked at for one of those.
const LOOKED_AT: usize = 256;
/// How much of what is known of the duration of tasks is left when another one has ended.
const FADE: f64 = 0.9;

impl Engine {
    /// How many tasks it may have at a time.
    fn depth(&self) -> usize {
        let (seconds, count) = self.spent;
        // Without three of them nothing is known.
        if count < 2.5 || self.quiet < QUIET {
            return 1;
        }
        let each = (seconds / count).max(1e-6);
        ((CHUNK / each) as usize).clamp(1, MOST)
    }

    fn is_open(&self) -> bool {
        self.ready && !self.leaving
    }
}

impl<P: Object> Core<P> {
    /// A task waits for an engine from now on.
    pub(crate) fn enqueue(&mut self, key: Key) {
        let Some(task) = self.tasks.get_mut(&key) else { return };
        task.phase = Phase::Queued;
        self.stirred = true;
        self.forget_deadlines(key, |what| what == Deadline::Waiting);
        let Some(task) = self.tasks.get(&key) else { return };
        if !task.balanced {
            let target = task.targets.first().copied();
            return match target.and_then(|id| self.engines.get_mut(&id)) {
                Some(engine) if !engine.leaving => engine.direct.push_back(key),
                _ => self.fail_nowhere(key, "is not there"),
            };
        }
        if !task.is_choosy() {
            return self.anywhere.push_back(key);
        }
        if !self.has_place(key) {
            return self.fail_nowhere(key, "is not there");
        }
        self.somewhere.push_back(key);
    }

    /// A balanced task that an engine has had waits again, before those that were submitted after it.
    pub(crate) fn requeue(&mut self, key: Key) {
        self.stirred = true;
        let Some(task) = self.tasks.get(&key) else { return };
        let queue = if !task.balanced {
            match task.targets.first().and_then(|id| self.engines.get_mut(id)) {
                Some(engine) => &mut engine.direct,
                None => return self.fail_nowhere(key, "is not there"),
            }
        } else if task.is_choosy() {
            &mut self.somewhere
        } else {
            &mut self.anywhere
        };
        let place = queue.iter().take_while(|other| **other < key).count();
        queue.insert(place, key);
    }

    /// The same, unless no engine is left that may run it.
    pub(crate) fn requeue_or_give_up(&mut self, key: Key) {
        if self.has_place(key) {
            return self.requeue(key);
        }
        let Some(task) = self.tasks.get_mut(&key) else { return };
        if let Some(timeout) = task.timeout.filter(|_| task.retries_used > 0) {
            // Another engine may come.
            let at = self.now + timeout;
            self.remind(key, at, Deadline::Waiting);
            return self.requeue(key);
        }
        let attempts = task.attempts;
        // The last word of a task that was tried is its own.
        match task.failure.take().filter(|_| task.retries_used > 0) {
            Some(error) => {
                let engine = task.refused.last().copied();
                self.finish(
                    key,
                    super::End {
                        status: phalanx_wire::cluster::Status::Error,
                        error: Some(error),
                        engine,
                        ..super::End::default()
                    },
                );
            }
            None => {
                let text = format!("none of the engines that may run it does so ({attempts} were asked)");
                self.fail(key, "ImpossibleDependency", text);
            }
        }
    }

    /// Whether an engine is there that may run a task.
    pub(crate) fn has_place(&self, key: Key) -> bool {
        let Some(task) = self.tasks.get(&key) else { return false };
        if task.targets.is_empty() {
            return self.starting > 0 || self.engines.keys().any(|id| !task.refused.contains(id));
        }
        task.targets.iter().any(|id| self.engines.contains_key(id) && !task.refused.contains(id))
    }

    /// A task ends since no engine that may run it is there.
    pub(crate) fn fail_nowhere(&mut self, key: Key, reason: &str) {
        let Some(task) = self.tasks.get(&key) else { return };
        let targets: Vec<String> = task.targets.iter().map(u32::to_string).collect();
        let text = match &targets[..] {
            [] => format!("no engine may run it: the last one {reason}"),
            [one] => format!("engine {one} {reason}"),
            many => format!("none of the engines {} is there to run it", many.join(", ")),
        };
        self.fail(key, "EngineError", text);
    }

    /// Takes a task from the engine that has it; whether that engine had it.
    pub(crate) fn take_from(&mut self, id: u32, key: Key, started: Option<f64>) -> bool {
        let Some(engine) = self.engines.get_mut(&id) else { return false };
        let Some(place) = engine.given.iter().position(|(_, given)| *given == key) else { return false };
        engine.given.remove(place);
        if place > 0 {
            // It is still in the first.
            return true;
        }
        engine.completed += 1;
        engine.quiet = engine.quiet.saturating_add(1);
        let took = (self.now - started.map_or(engine.since, |started| started.max(engine.since))).max(0.0);
        engine.spent = (engine.spent.0 * FADE + took, engine.spent.1 * FADE + 1.0);
        engine.since = self.now;
        self.forget_deadlines(key, |what| what != Deadline::Waiting);
        self.begin_first(id);
        true
    }

    /// An engine begins the first of its tasks.
    fn begin_first(&mut self, id: u32) {
        let now = self.now;
        let Some(key) = self.engines.get(&id).and_then(|engine| engine.given.front().map(|(_, key)| *key)) else {
            return;
        };
        let Some(task) = self.tasks.get_mut(&key) else { return };
        task.started = Some(now);
        let limit = task.time_limit;
        if let (true, Some(owner)) = (task.notify, task.owner) {
            let message = ToClient::Started { id: task.id.clone(), engine_id: id, at: now };
            self.tell(owner, message);
        }
        if let Some(limit) = limit {
            self.remind(key, now + limit, Deadline::Running);
        }
    }

    /// Gives engines what they may have.
    pub(crate) fn dispatch(&mut self) {
        let ids: Vec<u32> = self.engines.iter().filter(|(_, engine)| engine.is_open()).map(|(id, _)| *id).collect();
        // Nobody is without work while another one has more than it can do at a time; who has done least is asked first.
        let mut idle: Vec<(u64, u32)> = Vec::new();
        for id in &ids {
            if let Some(engine) = self.engines.get(id).filter(|engine| engine.given.is_empty()) {
                idle.push((engine.completed, *id));
            }
        }
        idle.sort_unstable();
        for (_, id) in idle {
            if let Some(key) = self.next_for(id) {
                self.give(id, key);
            }
        }
        // What waits for all of them is shared out.
        let share = self.anywhere.len().div_ceil(ids.len().max(1)).max(1);
        for id in ids {
            let Some(engine) = self.engines.get(&id) else { continue };
            let (depth, has) = (engine.depth(), engine.given.len());
            // One that is in a longer task than usual would hold up those behind it.
            if has == 0 || has * 2 > depth || self.now - engine.since > CHUNK {
                continue;
            }
            let room = if engine.direct.is_empty() { (depth - has).min(share) } else { depth - has };
            for _ in 0..room {
                match self.next_for(id) {
                    Some(key) if self.is_patient(id, key) => self.give(id, key),
                    Some(key) => {
                        self.requeue(key);
                        break;
                    }
                    None => break,
                }
            }
        }
    }

    /// Whether a task may wait in the hands of an engine for those that it has.
    fn is_patient(&self, id: u32, key: Key) -> bool {
        let unlimited =
            |key: Key| self.tasks.get(&key).is_some_and(|task| task.time_limit.is_none() && !task.stop_on_error);
        self.engines.get(&id).is_some_and(|engine| engine.given.iter().all(|(_, key)| unlimited(*key)))
            && unlimited(key)
    }

    /// Takes the next task for an engine from where it waits: the one that was submitted first.
    fn next_for(&mut self, id: u32) -> Option<Key> {
        let tasks = &self.tasks;
        let waits = |key: Key| tasks.get(&key).filter(|task| task.phase == Phase::Queued);
        let engine = self.engines.get_mut(&id)?;
        let front = |queue: &mut VecDeque<Key>| {
            // Those that have ended meanwhile.
            while queue.front().is_some_and(|key| waits(*key).is_none()) {
                queue.pop_front();
            }
            queue.front().copied()
        };
        let own = front(&mut engine.direct);
        let any = front(&mut self.anywhere);
        let _ = front(&mut self.somewhere);
        let some =
            self.somewhere.iter().take(LOOKED_AT).position(|key| waits(*key).is_some_and(|task| task.may_run_on(id)));
        let chosen = some.and_then(|place| self.somewhere.get(place).copied());
        let first = [own, any, chosen].into_iter().flatten().min()?;
        if own == Some(first) {
            engine.direct.pop_front();
        } else if any == Some(first) {
            self.anywhere.pop_front();
        } else if let Some(place) = some {
            self.somewhere.remove(place);
        }
        Some(first)
    }

    fn give(&mut self, id: u32, key: Key) {
        let (Some(engine), Some(task)) = (self.engines.get_mut(&id), self.tasks.get_mut(&key)) else { return };
        let was_idle = engine.given.is_empty();
        task.phase = Phase::Given(id);
        task.attempts += 1;
        engine.sent += 1;
        engine.given.push_back((engine.sent, key));
        if was_idle {
            engine.since = self.now;
        }
        self.actions.push(Action::Run {
            engine: id,
            message: ToEngine::Run {
                id: task.id.clone(),
                kind: task.kind.clone(),
                client: task.client.clone(),
                label: task.label.clone(),
                metadata: task.metadata.clone(),
                seq: engine.sent,
            },
            payload: task.payload.clone(),
            args: task.args.clone(),
            shared: task.attempts > 1 || task.retries > 0 || task.little().is_some(),
        });
        if was_idle {
            self.begin_first(id);
        }
    }
}
