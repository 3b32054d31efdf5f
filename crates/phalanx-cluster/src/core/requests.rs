//! What clients ask for beside running tasks: dropping them, their results, what is known of them.

use std::collections::{BTreeMap, BTreeSet};

use phalanx_wire::cluster::{FromClient, Outcome, Queue, Record, Reply, Status, TaskSpec, ToClient};

use super::task::Phase;
use super::{Action, ClientId, Core, Key, Object, outcome, verdict};

/// So many records go into one message.
const PIECE: usize = 500;
/// So many bytes of them.
const PIECE_BYTES: usize = 4 << 20;
/// So many names of tasks are told in one answer.
const NAMES: usize = 100_000;

impl<P: Object> Core<P> {
    /// Carries out a request that is about tasks; gives others back.
    pub fn request(&mut self, client: ClientId, message: FromClient) -> Option<FromClient> {
        match message {
            FromClient::Abort { ids, targets, request } => self.abort(client, ids, targets, request),
            FromClient::Fetch { ids, request } => self.fetch(client, &ids, request),
            FromClient::Records { ids, request } => self.records(client, ids, request.unwrap_or(0)),
            FromClient::Purge { ids, targets, everything, request } => {
                self.purge(client, ids, targets, everything, request);
            }
            FromClient::Resubmit { ids, new_ids, request } => self.resubmit(client, &ids, new_ids, request),
            FromClient::QueueStatus { targets, request } => {
                self.queue_status(client, targets, request.unwrap_or(0));
            }
            FromClient::ResultStatus { ids, request } => self.result_status(client, ids, request.unwrap_or(0)),
            FromClient::Forget { ids } => self.forget(client, &ids),
            other => return Some(other),
        }
        None
    }

    /// Answers a request.
    pub fn reply(&mut self, client: ClientId, reply: Reply) {
        self.tell(client, ToClient::Reply(reply));
    }

    fn answer(&mut self, client: ClientId, request: Option<u64>, reply: Reply) {
        if let Some(request) = request {
            self.reply(client, Reply { request, ..reply });
        }
    }

    fn abort(&mut self, client: ClientId, ids: Option<Vec<String>>, targets: Option<Vec<u32>>, request: Option<u64>) {
        let (mut keys, mut reply) = (Vec::new(), Reply::default());
        match ids {
            Some(ids) => {
                for id in ids {
                    match self.names.get(&id) {
                        Some(key) if self.tasks.contains_key(key) => keys.push(*key),
                        Some(_) => reply.completed.push(id),
                        None => reply.unknown.push(id),
                    }
                }
            }
            None => keys.extend(self.tasks.iter().filter(|(_, task)| task.owner == Some(client)).map(|(key, _)| *key)),
        }
        keys.sort_unstable();
        for key in keys {
            let Some(task) = self.tasks.get_mut(&key) else { continue };
            let place = match task.phase {
                Phase::Given(engine) => Some(engine),
                _ => None,
            };
            let concerns = |targets: &Vec<u32>| match place {
                Some(engine) => targets.contains(&engine),
                None => task.targets.iter().any(|target| targets.contains(target)),
            };
            if !targets.as_ref().is_none_or(concerns) {
                continue;
            }
            if place.is_none() {
                reply.ids.push(task.id.clone());
                self.abort_one(key, "it was asked for before it had begun");
            } else {
                task.unwanted = true;
            }
        }
        self.answer(client, request, reply);
    }

    fn fetch(&mut self, client: ClientId, ids: &[String], request: Option<u64>) {
        let mut reply = Reply::default();
        for id in ids {
            let Some(key) = self.names.get(id).copied() else {
                reply.unknown.push(id.clone());
                continue;
            };
            if let Some(task) = self.tasks.get_mut(&key) {
                if task.owner.is_none() {
                    task.unwanted = false;
                }
                if task.owner != Some(client) && !task.watchers.contains(&client) {
                    task.watchers.push(client);
                }
            } else if let Some(ended) = self.history.get(key) {
                let mut outcome = outcome(ended, true);
                outcome.gone = ended.status == Status::Ok && ended.result.is_none();
                let payload = ended.result.clone();
                self.actions.push(Action::Client(client, ToClient::Result(outcome), payload));
            }
        }
        let text =
            format!("the controller does not know it, or not any more: it keeps the last {}", self.limits.records);
        for id in &reply.unknown {
            let error = Some(verdict("KeyError", format!("task {id}: {text}")));
            let now = self.now;
            let outcome = Outcome {
                id: id.clone(),
                status: Status::Error,
                error,
                submitted: now,
                received: now,
                ..Outcome::default()
            };
            self.actions.push(Action::Client(client, ToClient::Result(outcome), None));
        }
        reply.error = reply.unknown.first().map(|id| format!("KeyError: task {id}: {text}"));
        self.answer(client, request, reply);
    }

    fn record_of(&self, key: Key) -> Option<Record> {
        if let Some(ended) = self.history.get(key) {
            return Some(ended.record.clone());
        }
        let task = self.tasks.get(&key)?;
        let engine = match task.phase {
            Phase::Given(engine) => self.engines.get(&engine),
            _ => None,
        };
        let is_running = engine.is_some_and(|engine| engine.given.front().is_some_and(|(_, first)| *first == key));
        Some(task.record(is_running, engine.map(|engine| engine.info.uuid.clone())))
    }

    fn records(&mut self, client: ClientId, ids: Option<Vec<String>>, request: u64) {
        let mut reply = Reply { request, ..Reply::default() };
        let keys: Vec<Key> = match ids {
            None => {
                let unfinished: BTreeSet<Key> = self.tasks.keys().copied().collect();
                self.history.iter().map(|(key, _)| key).chain(unfinished).collect()
            }
            Some(ids) => {
                let mut keys = Vec::new();
                for id in ids {
                    match self.names.get(&id) {
                        Some(key) => keys.push(*key),
                        None => reply.unknown.push(id),
                    }
                }
                keys
            }
        };
        let mut bytes = 0;
        for key in keys {
            let Some(record) = self.record_of(key) else { continue };
            let error = record
                .error
                .as_ref()
                .map_or(0, |error| error.evalue.len() + error.traceback.iter().map(String::len).sum::<usize>());
            bytes += record.metadata.0.len() + record.result_metadata.0.len() + error;
            bytes += record.stdout.len() + record.stderr.len();
            reply.records.push(record);
            if reply.records.len() >= PIECE || bytes > PIECE_BYTES {
                let records = std::mem::take(&mut reply.records);
                self.reply(client, Reply { request, more: true, records, ..Reply::default() });
                bytes = 0;
            }
        }
        self.reply(client, reply);
    }

    fn purge(
        &mut self,
        client: ClientId,
        ids: Option<Vec<String>>,
        targets: Option<Vec<u32>>,
        everything: bool,
        request: Option<u64>,
    ) {
        let mut reply = Reply::default();
        let mut keys = Vec::new();
        for id in ids.unwrap_or_default() {
            match self.names.get(&id) {
                Some(key) if self.tasks.contains_key(key) => reply.pending.push(id),
                Some(key) => keys.push(*key),
                None => reply.unknown.push(id),
            }
        }
        if let Some(pending) = reply.pending.first() {
            reply.error = Some(format!("task {pending} has not ended, and cannot be purged"));
            return self.answer(client, request, reply);
        }
        let targets = targets.unwrap_or_default();
        let of_engine = |engine: Option<u32>| engine.is_some_and(|engine| targets.contains(&engine));
        let chosen = self.history.iter().filter(|(_, ended)| everything || of_engine(ended.record.engine_id));
        keys.extend(chosen.map(|(key, _)| key));
        for key in keys {
            if let Some(ended) = self.history.remove(key) {
                self.forget_name(&ended.record.id, key);
                reply.completed.push(ended.record.id);
            }
        }
        self.answer(client, request, reply);
    }

    fn resubmit(&mut self, client: ClientId, ids: &[String], new_ids: Vec<String>, request: Option<u64>) {
        let mut reply = Reply::default();
        let mut again = Vec::new();
        for id in ids {
            let Some(key) = self.names.get(id) else {
                reply.unknown.push(id.clone());
                continue;
            };
            let (record, time_limit, made_of) = if let Some(task) = self.tasks.get(key) {
                (task.record(false, None), task.time_limit, task.little())
            } else if let Some(ended) = self.history.get(*key) {
                (ended.record.clone(), ended.time_limit, ended.made_of.clone())
            } else {
                continue;
            };
            let Some(made_of) = made_of else {
                reply.error = Some(format!(
                    "the arguments of task {id} were too large to be kept; submit it again from the client"
                ));
                continue;
            };
            let spec = TaskSpec {
                kind: record.kind,
                targets: record.targets,
                balanced: record.balanced,
                time_limit,
                retries: record.retries,
                label: record.label,
                metadata: record.metadata,
                ..TaskSpec::default()
            };
            again.push((*key, spec, made_of));
        }
        if let Some(unknown) = reply.unknown.first() {
            reply.error = Some(format!("KeyError: the controller does not know task {unknown}"));
        } else if ids.len() != new_ids.len() {
            reply.error = Some(format!("{} tasks cannot have {} new names", ids.len(), new_ids.len()));
        } else if let Some(taken) = new_ids.iter().find(|id| self.names.contains_key(*id)) {
            reply.error = Some(format!("there is a task {taken} already"));
        }
        if reply.error.is_none() {
            for ((old, spec, (payload, args)), id) in again.into_iter().zip(new_ids) {
                reply.ids.push(id.clone());
                self.history.resubmitted(old, &id);
                if !self.names.contains_key(&id) {
                    self.take(Some(client), TaskSpec { id, ..spec }, payload, args, false);
                }
            }
        }
        self.answer(client, request, reply);
    }

    fn queue_status(&mut self, client: ClientId, targets: Option<Vec<u32>>, request: u64) {
        let is_wanted = |id: &u32| targets.as_ref().is_none_or(|targets| targets.contains(id));
        let mut left = NAMES;
        let mut names = |keys: &mut dyn Iterator<Item = Key>| -> (Vec<String>, u64) {
            let (mut names, mut count) = (Vec::new(), 0);
            for key in keys {
                count += 1;
                if left > 0 {
                    let ended = || self.history.get(key).map(|ended| ended.record.id.clone());
                    names.extend(self.tasks.get(&key).map(|task| task.id.clone()).or_else(ended));
                    left -= 1;
                }
            }
            (names, count)
        };
        let is_queued = |key: &Key| self.tasks.get(key).is_some_and(|task| task.phase == Phase::Queued);
        let mut ran: BTreeMap<u32, Vec<Key>> = BTreeMap::new();
        for (key, ended) in self.history.iter() {
            if let Some(engine) = ended.record.engine_id {
                ran.entry(engine).or_default().push(key);
            }
        }
        let mut engines = BTreeMap::new();
        for (id, engine) in self.engines.iter().filter(|(id, _)| is_wanted(id)) {
            let (queue, queued) = names(&mut engine.direct.iter().copied().filter(is_queued));
            let (tasks, given) = names(&mut engine.given.iter().map(|(_, key)| *key));
            let (completed, _) = names(&mut ran.remove(id).unwrap_or_default().into_iter());
            let counts = (queued, given, engine.completed);
            engines.insert(id.to_string(), Queue { queue, tasks, completed, counts });
        }
        let is_unassigned = |phase: Phase, balanced| phase == Phase::Waiting || (phase == Phase::Queued && balanced);
        let waiting = self.tasks.iter().filter(|(_, task)| is_unassigned(task.phase, task.balanced));
        let mut waiting: Vec<Key> = waiting.map(|(key, _)| *key).collect();
        // In the order of submission.
        waiting.sort_unstable();
        let (unassigned, unassigned_count) = names(&mut waiting.into_iter());
        let unknown = targets.iter().flatten().find(|id| !self.engines.contains_key(id));
        let error = unknown.map(|id| format!("there is no engine {id}"));
        self.reply(client, Reply { request, error, engines, unassigned, unassigned_count, ..Reply::default() });
    }

    fn result_status(&mut self, client: ClientId, ids: Vec<String>, request: u64) {
        let mut reply = Reply { request, ..Reply::default() };
        for id in ids {
            match self.names.get(&id) {
                Some(key) if self.tasks.contains_key(key) => reply.pending.push(id),
                Some(_) => reply.completed.push(id),
                None => reply.unknown.push(id),
            }
        }
        if let Some(unknown) = reply.unknown.first() {
            reply.error = Some(format!("KeyError: the controller does not know task {unknown}"));
        }
        self.reply(client, reply);
    }

    fn forget(&mut self, client: ClientId, ids: &[String]) {
        for id in ids {
            let Some(key) = self.names.get(id).copied() else { continue };
            match self.tasks.get_mut(&key) {
                Some(task) => {
                    task.watchers.retain(|watcher| *watcher != client);
                    if task.owner == Some(client) {
                        task.owner = None;
                        task.notify = false;
                    }
                }
                None => self.history.drop_result(key),
            }
        }
    }
}
