//! What a cluster looks like at one moment, and what went wrong in it last.

use std::collections::VecDeque;

use phalanx_wire::cluster::{Failure, Record, Status};
use phalanx_wire::overview::{EngineSeen, InHand, Mishap, Overview};

use super::task::Phase;
use super::{Core, Object};

/// So many mishaps are remembered,
const MISHAPS: usize = 20;
/// and so many letters of each one's words.
const LETTERS: usize = 400;

/// What is counted, and what went wrong last.
#[derive(Debug, Default)]
pub(crate) struct Counted {
    /// Tasks that have ended with a result, failed, dropped.
    ended: [u64; 3],
    mishaps: VecDeque<Mishap>,
}

impl Counted {
    /// A task has ended.
    pub(crate) fn ended(&mut self, status: Status, record: &Record, at: f64) {
        self.ended[match status {
            Status::Ok => 0,
            Status::Error | Status::Rejected => 1,
            Status::Aborted => 2,
        }] += 1;
        let Some(error) = record.error.as_ref().filter(|_| status != Status::Aborted) else { return };
        let Failure { ename, evalue, .. } = error;
        self.add(Mishap {
            at,
            engine_id: record.engine_id,
            task: Some(record.id.clone()),
            label: record.label.clone(),
            ename: ename.chars().take(LETTERS).collect(),
            evalue: evalue.chars().take(LETTERS).collect(),
        });
    }

    /// An engine is gone that nobody had told to go.
    pub(crate) fn lost(&mut self, engine: u32, reason: &str, at: f64) {
        let evalue = format!("engine {engine} {reason}").chars().take(LETTERS).collect();
        let ename = "EngineError".to_owned();
        self.add(Mishap { at, engine_id: Some(engine), ename, evalue, ..Mishap::default() });
    }

    fn add(&mut self, mishap: Mishap) {
        self.mishaps.push_front(mishap);
        self.mishaps.truncate(MISHAPS);
    }
}

impl<P: Object> Core<P> {
    /// What tasks and engines look like; what only the process around this knows is left out.
    #[must_use]
    pub fn overview(&self) -> Overview {
        let engines = self.engines.values().map(|engine| {
            let task = engine.given.front().and_then(|(_, key)| self.tasks.get(key));
            let task = task.map(|task| InHand {
                id: task.id.clone(),
                kind: task.kind.clone(),
                label: task.label.clone(),
                since: engine.since.max(task.started.unwrap_or(engine.since)),
            });
            let is_queued = |key: &&u64| self.tasks.get(key).is_some_and(|task| task.phase == Phase::Queued);
            let behind = engine.direct.iter().filter(is_queued).count() + engine.given.len().saturating_sub(1);
            EngineSeen {
                info: engine.info.clone(),
                leaving: engine.leaving,
                task,
                behind: behind as u64,
                done: engine.completed,
                failed: engine.failed,
                ..EngineSeen::default()
            }
        });
        let engines = engines.collect();
        let (mut queued, mut waiting) = (0, 0);
        for task in self.tasks.values() {
            match task.phase {
                Phase::Waiting => waiting += 1,
                Phase::Queued if task.balanced => queued += 1,
                Phase::Queued | Phase::Given(_) => {}
            }
        }
        Overview {
            now: self.now,
            clients: self.clients.len() as u64,
            engines,
            starting: self.starting,
            queued,
            waiting,
            ended: self.counted.ended,
            remembered: (self.history.len() as u64, self.history.bytes()),
            mishaps: self.counted.mishaps.iter().cloned().collect(),
            ..Overview::default()
        }
    }
}
