//! One task, from its submission to its result.

use std::collections::BTreeSet;

use phalanx_wire::cluster::{Bytes, Dependency, Failure, Record, Status};

use super::depend::Wait;
use super::history::size;
use super::{ClientId, Object, SMALL};

/// Of what a task prints, so many bytes of each stream are kept for those who ask later.
const TEXT: usize = 16 << 10;

/// Where a task is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// It waits for other tasks.
    Waiting,
    /// It waits for an engine.
    Queued,
    /// This engine has it, and has begun it if it is the first that it has.
    Given(u32),
}

/// The end of some text.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tail(String);

impl Tail {
    pub(crate) fn add(&mut self, text: &str) {
        self.0.push_str(text);
        if self.0.len() > TEXT {
            let start = self.0.ceil_char_boundary(self.0.len() - TEXT);
            self.0.drain(..start);
        }
    }

    pub(crate) fn text(&self) -> &str {
        &self.0
    }
}

/// A task that has not ended.
#[derive(Debug)]
pub(crate) struct Task<P> {
    pub(crate) id: String,
    /// Who gets the result; nobody when that client has gone.
    pub(crate) owner: Option<ClientId>,
    /// What that client is called.
    pub(crate) client: String,
    /// Others who have asked for the result.
    pub(crate) watchers: Vec<ClientId>,
    pub(crate) kind: String,
    /// The engine that it is for; of a balanced one, the engines that may run it (none: any).
    pub(crate) targets: Vec<u32>,
    pub(crate) balanced: bool,
    pub(crate) payload: P,
    pub(crate) args: Option<P>,
    pub(crate) after: Option<Dependency>,
    pub(crate) follow: Option<Dependency>,
    /// How far those two are.
    pub(crate) waits: [Wait; 2],
    /// Seconds that it may wait for others, or for an engine that has not failed at it.
    pub(crate) timeout: Option<f64>,
    pub(crate) time_limit: Option<f64>,
    pub(crate) retries: u32,
    pub(crate) stop_on_error: bool,
    pub(crate) label: Option<String>,
    pub(crate) metadata: Bytes,
    pub(crate) notify: bool,
    pub(crate) phase: Phase,
    /// Engines that will not run it, or have failed at it.
    pub(crate) refused: BTreeSet<u32>,
    /// How often an engine has been given it.
    pub(crate) attempts: u32,
    pub(crate) retries_used: u32,
    /// It is dropped if an engine gives it back.
    pub(crate) unwanted: bool,
    /// It has been interrupted since it takes longer than it may.
    pub(crate) overdue: bool,
    pub(crate) submitted: f64,
    pub(crate) started: Option<f64>,
    pub(crate) stdout: Tail,
    pub(crate) stderr: Tail,
    /// What was said when it failed last.
    pub(crate) failure: Option<Failure>,
    /// Its entries among the deadlines.
    pub(crate) deadlines: Vec<(u64, Deadline)>,
}

/// What happens at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Deadline {
    /// It has waited for others, or for another engine, as long as it may.
    Waiting,
    /// It has run as long as it may.
    Running,
    /// It was interrupted for that, and runs on.
    Interrupted,
}

impl<P> Task<P> {
    /// Whether this engine may run it, as far as its targets and what it has met tell.
    pub(crate) fn may_run_on(&self, engine: u32) -> bool {
        (self.targets.is_empty() || self.targets.contains(&engine)) && !self.refused.contains(&engine)
    }

    /// Whether only some engines may run it.
    pub(crate) fn is_choosy(&self) -> bool {
        !self.targets.is_empty() || !self.refused.is_empty()
    }

    pub(crate) fn tail(&mut self, is_error: bool) -> &mut Tail {
        if is_error { &mut self.stderr } else { &mut self.stdout }
    }

    /// What is known of it.
    pub(crate) fn record(&self, is_running: bool, uuid: Option<String>) -> Record {
        let ids = |dependency: &Option<Dependency>| dependency.as_ref().map(|d| d.ids.clone()).unwrap_or_default();
        let (engine_id, status) = match self.phase {
            Phase::Waiting => (None, "waiting"),
            Phase::Given(engine) if is_running => (Some(engine), "running"),
            Phase::Given(engine) => (Some(engine), "queued"),
            Phase::Queued => ((!self.balanced).then(|| self.targets.first().copied()).flatten(), "queued"),
        };
        Record {
            id: self.id.clone(),
            kind: self.kind.clone(),
            status: status.to_owned(),
            client: self.client.clone(),
            label: self.label.clone(),
            metadata: self.metadata.clone(),
            targets: self.targets.clone(),
            balanced: self.balanced,
            after: ids(&self.after),
            follow: ids(&self.follow),
            engine_id,
            engine_uuid: uuid,
            submitted: self.submitted,
            started: self.started,
            retries: self.retries,
            retries_used: self.retries_used,
            stdout: self.stdout.text().to_owned(),
            stderr: self.stderr.text().to_owned(),
            ..Record::default()
        }
    }
}

impl<P: Object> Task<P> {
    /// What it is made of, if that is little: such is kept when it has ended, and what runs it sees a copy of its own.
    pub(crate) fn little(&self) -> Option<(P, Option<P>)> {
        let bytes = self.payload.bytes() + size(&self.args);
        (bytes <= SMALL).then(|| (self.payload.clone(), self.args.clone()))
    }
}

/// A task that has ended.
#[derive(Debug)]
pub(crate) struct Ended<P> {
    pub(crate) record: Record,
    pub(crate) status: Status,
    /// What it was made of, if that is small.
    pub(crate) made_of: Option<(P, Option<P>)>,
    /// Its result, if that is kept.
    pub(crate) result: Option<P>,
    pub(crate) time_limit: Option<f64>,
    /// Bytes that it counts for.
    pub(crate) bytes: u64,
}
