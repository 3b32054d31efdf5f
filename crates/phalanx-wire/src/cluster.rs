//! The messages between the clients, the controller and the engines of an interactive cluster.
//!
//! A connection begins with [`Hello`], which [`ToClient::Welcome`] or [`ToEngine::Welcome`] answers; what is not welcome is
//! told why ([`ToClient::Bye`]) and hung up on. Then each end sends [`Parcel`]s when it likes.
//!
//! Objects do not travel in messages. A [`Payload`] is what the codec of `phalanx-workers` has made of one: some bytes, and
//! the blocks of the cluster's arena that they name. Nobody passes a hold on a block to another process, since either may be
//! killed at that instant. **Who sends a block holds it until the other end says that it holds it as well**
//! ([`Parcel::taken`]); whoever dies, its holds are given back by who finds that out, and no block is lost. Only what the
//! controller sends to an engine needs no such word: it holds that until the task has ended.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

pub use crate::agent::Bytes;
use crate::overview::Overview;

/// The number of this protocol, in the connection files and in [`Hello`]. It changes whenever a message does.
pub const PROTOCOL: u32 = 2;
/// Bytes of text in one [`ToClient::Stream`], at most.
pub const TEXT: usize = 64 << 10;

/// An object on its way.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Payload {
    /// What the codec wrote.
    pub wire: Bytes,
    /// The handles of the blocks that it names.
    pub blocks: Vec<u64>,
    /// Bytes of the object: those of `wire` and of the blocks.
    pub bytes: u64,
    /// Others read the same blocks: what a reader writes into arrays, it alone is to see.
    pub shared: bool,
}

/// A message and the objects that belong to it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Parcel<M> {
    /// How many parcels with blocks this end has taken so far: their sender may let go of those.
    pub taken: u64,
    /// The message.
    pub body: M,
    /// Its objects.
    pub payloads: Vec<Payload>,
}

impl<M> Parcel<M> {
    /// Whether it has blocks, and so is counted in [`Parcel::taken`].
    #[must_use]
    pub fn has_blocks(&self) -> bool {
        self.payloads.iter().any(|payload| !payload.blocks.is_empty())
    }
}

/// What somebody is who connects.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Submits tasks.
    #[default]
    Client,
    /// Runs tasks.
    Engine,
    /// A command that asks something and goes.
    Command,
}

/// The first message of a connection.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Hello {
    /// [`PROTOCOL`] of who connects.
    pub protocol: u32,
    /// What it is.
    pub role: Role,
    /// The secret of the connection file.
    pub token: String,
    /// The version of its Python, as "3.11.2".
    pub python: String,
    /// The version of its cloudpickle.
    pub cloudpickle: String,
    /// Its platform, in words.
    pub platform: String,
    /// The machine that it runs on.
    pub host: String,
    /// Its process.
    pub pid: u32,
    /// Its working directory.
    pub cwd: String,
    /// It has no connection of its own to be known by: anything it wants to be told apart by.
    pub name: String,
    /// An engine that starts by itself would like to have this number, which may be that of a rank.
    pub number: Option<u32>,
}

/// An engine, as clients know it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct EngineInfo {
    /// Its number.
    pub id: u32,
    /// A name that no other engine ever has.
    pub uuid: String,
    /// Its process.
    pub pid: u32,
    /// The machine that it runs on.
    pub host: String,
}

/// An engine that is there no more.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct EngineLeft {
    /// Its number.
    pub id: u32,
    /// Why, in words.
    pub reason: String,
}

/// What must have happened to other tasks before one may run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Dependency {
    /// Those tasks.
    pub ids: Vec<String>,
    /// All of them, not one.
    pub all: bool,
    /// They may have succeeded.
    pub success: bool,
    /// They may have failed.
    pub failure: bool,
}

impl Default for Dependency {
    fn default() -> Self {
        Self { ids: Vec::new(), all: true, success: true, failure: false }
    }
}

/// A task, as it is submitted.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TaskSpec {
    /// Its name, which no other task ever has.
    pub id: String,
    /// What engines are to do with it.
    pub kind: String,
    /// The engine that it is for; of a balanced one, the engines that may run it (none: any).
    pub targets: Vec<u32>,
    /// Any of several engines may run it.
    pub balanced: bool,
    /// Which payload of the message it has.
    pub payload: u32,
    /// Which payload it has beside that one.
    pub args: Option<u32>,
    /// When it may run.
    pub after: Option<Dependency>,
    /// Where it may run: on an engine that has run those.
    pub follow: Option<Dependency>,
    /// Seconds that it may wait for others.
    pub timeout: Option<f64>,
    /// Seconds that it may run.
    pub time_limit: Option<f64>,
    /// How often it may be tried again when it failed.
    pub retries: u32,
    /// When it fails, tasks of the same client behind it on its engine that say the same are dropped.
    pub stop_on_error: bool,
    /// What the user calls it.
    pub label: Option<String>,
    /// Anything, for the record.
    pub metadata: Bytes,
}

/// Why a task has no result.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Failure {
    /// The name of the exception's class.
    pub ename: String,
    /// What it says.
    pub evalue: String,
    /// Where it was raised, as text.
    pub traceback: Vec<String>,
    /// Who says so: `task`, or the controller of an `engine` that died, of a `dependency`, of a `timeout`, or of something
    /// else (`controller`).
    pub kind: String,
}

/// How a task ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// It has a result.
    #[default]
    Ok,
    /// It failed.
    Error,
    /// It never ran, since somebody did not want it any more.
    Aborted,
    /// An engine will not run it: another one may.
    Rejected,
}

/// What a client says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum FromClient {
    /// Tasks.
    Submit {
        /// Them.
        tasks: Vec<TaskSpec>,
        /// Whether [`ToClient::Started`] is wanted of each.
        #[serde(default)]
        notify: bool,
    },
    /// Drop tasks that have not begun.
    Abort {
        /// These; `None`: all of this client's.
        #[serde(default)]
        ids: Option<Vec<String>>,
        /// Only those for these engines.
        #[serde(default)]
        targets: Option<Vec<u32>>,
        /// Answered under this number.
        #[serde(default)]
        request: Option<u64>,
    },
    /// Send a signal to engines.
    Signal {
        /// These.
        targets: Vec<u32>,
        /// Its number.
        signal: i32,
        /// Answered under this number.
        #[serde(default)]
        request: Option<u64>,
    },
    /// End engines, and the controller.
    Shutdown {
        /// These engines; `None`: all.
        #[serde(default)]
        targets: Option<Vec<u32>>,
        /// The controller, too.
        #[serde(default)]
        controller: bool,
        /// Start them again, under their numbers.
        #[serde(default)]
        restart: bool,
        /// Answered under this number, when they have ended.
        #[serde(default)]
        request: Option<u64>,
    },
    /// Send the results of these tasks, when they are there.
    Fetch {
        /// Them.
        ids: Vec<String>,
        /// Answered under this number when one is not known.
        #[serde(default)]
        request: Option<u64>,
    },
    /// What is known of tasks.
    Records {
        /// Of these; `None`: of all.
        #[serde(default)]
        ids: Option<Vec<String>>,
        /// Answered under this number.
        #[serde(default)]
        request: Option<u64>,
    },
    /// Forget tasks that have ended.
    Purge {
        /// These.
        #[serde(default)]
        ids: Option<Vec<String>>,
        /// Those that these engines ran.
        #[serde(default)]
        targets: Option<Vec<u32>>,
        /// All.
        #[serde(default)]
        everything: bool,
        /// Answered under this number.
        #[serde(default)]
        request: Option<u64>,
    },
    /// Run tasks that have ended once more.
    Resubmit {
        /// These.
        ids: Vec<String>,
        /// Under these names.
        new_ids: Vec<String>,
        /// Answered under this number.
        #[serde(default)]
        request: Option<u64>,
    },
    /// What engines have to do.
    QueueStatus {
        /// Of these; `None`: of all.
        #[serde(default)]
        targets: Option<Vec<u32>>,
        /// Answered under this number.
        #[serde(default)]
        request: Option<u64>,
    },
    /// How tasks fare.
    ResultStatus {
        /// These.
        ids: Vec<String>,
        /// Answered under this number.
        #[serde(default)]
        request: Option<u64>,
    },
    /// This client does not want the results of these tasks any more.
    Forget {
        /// Them.
        ids: Vec<String>,
    },
    /// Start more engines.
    StartEngines {
        /// So many.
        n: u32,
        /// Answered under this number, with theirs.
        #[serde(default)]
        request: Option<u64>,
    },
    /// Nothing but [`Parcel::taken`].
    Taken {},
    /// What the cluster looks like.
    Overview {
        /// With where each engine is in its program.
        #[serde(default)]
        stacks: bool,
        /// Answered under this number.
        #[serde(default)]
        request: Option<u64>,
    },
}

/// The queue of one engine: names of tasks, not all of them where those are very many.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Queue {
    /// Those that wait for it, and for no other one.
    pub queue: Vec<String>,
    /// Those that it has been given.
    pub tasks: Vec<String>,
    /// Those that it has ended, as far as they are remembered.
    pub completed: Vec<String>,
    /// How many those three are.
    pub counts: (u64, u64, u64),
}

/// What is known of a task.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// Its name.
    pub id: String,
    /// What it was for engines.
    pub kind: String,
    /// `waiting`, `queued`, `running`, `ok`, `error`, `aborted`.
    pub status: String,
    /// The client that submitted it.
    pub client: String,
    /// What the user calls it.
    pub label: Option<String>,
    /// What came with it.
    pub metadata: Bytes,
    /// Where it may run.
    pub targets: Vec<u32>,
    /// Any of several engines may run it.
    pub balanced: bool,
    /// What it waited for.
    pub after: Vec<String>,
    /// The same.
    pub follow: Vec<String>,
    /// The engine that has it, or had.
    pub engine_id: Option<u32>,
    /// The same.
    pub engine_uuid: Option<String>,
    /// When, in seconds since the epoch.
    pub submitted: f64,
    /// The same.
    pub started: Option<f64>,
    /// The same.
    pub completed: Option<f64>,
    /// The same: when the controller had its result.
    pub received: Option<f64>,
    /// Why it has no result.
    pub error: Option<Failure>,
    /// How often it may be tried again.
    pub retries: u32,
    /// How often it was tried again.
    pub retries_used: u32,
    /// The name under which it was submitted again.
    pub resubmitted: Option<String>,
    /// What the engine told with the result.
    pub result_metadata: Bytes,
    /// Bytes of the result; `None`: it is not kept.
    pub result_bytes: Option<u64>,
    /// What it printed, the end of it if that was much.
    pub stdout: String,
    /// The same.
    pub stderr: String,
}

/// The answer to a request.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Reply {
    /// Its number.
    pub request: u64,
    /// What is wrong with it.
    pub error: Option<String>,
    /// The rest of the answer comes in the next reply to it.
    pub more: bool,
    /// Names of tasks: those that were dropped, purged, submitted again.
    pub ids: Vec<String>,
    /// Names of tasks that have not ended.
    pub pending: Vec<String>,
    /// Names of tasks that have ended.
    pub completed: Vec<String>,
    /// Names of tasks that are not known.
    pub unknown: Vec<String>,
    /// Numbers of engines that have been started or signalled.
    pub started: Vec<u32>,
    /// The queues of engines, by their numbers.
    pub engines: BTreeMap<String, Queue>,
    /// Tasks for no engine in particular, not all of them where those are very many.
    pub unassigned: Vec<String>,
    /// How many those are.
    pub unassigned_count: u64,
    /// What is known of tasks.
    pub records: Vec<Record>,
    /// What the cluster looks like.
    pub overview: Option<Box<Overview>>,
}

/// How a task ended.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    /// Its name.
    pub id: String,
    /// How.
    pub status: Status,
    /// The engine that ran it last.
    pub engine_id: Option<u32>,
    /// The same.
    pub engine_uuid: Option<String>,
    /// When, in seconds since the epoch.
    pub submitted: f64,
    /// The same.
    pub started: Option<f64>,
    /// The same.
    pub completed: Option<f64>,
    /// The same: when the controller had it.
    pub received: f64,
    /// Why there is no result.
    pub error: Option<Failure>,
    /// How often it was tried again.
    pub retries_used: u32,
    /// What the engine told with it.
    pub metadata: Bytes,
    /// What it printed, when somebody asks who has not seen that.
    pub stdout: String,
    /// The same.
    pub stderr: String,
    /// Its payload is not kept any more.
    pub gone: bool,
}

/// What the controller says to a client.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ToClient {
    /// The first word; the arena's descriptor comes with it.
    Welcome {
        /// What the client is called.
        identity: String,
        /// The cluster's name.
        cluster_id: String,
        /// The engines that are there.
        engines: Vec<EngineInfo>,
        /// Engines that have been started and are not there yet.
        starting: u32,
        /// The controller's process.
        pid: u32,
        /// Its version.
        version: String,
        /// More, by name.
        more: BTreeMap<String, String>,
    },
    /// A task has ended; its payload comes with it.
    Result(Outcome),
    /// A task has begun.
    Started {
        /// Its name.
        id: String,
        /// Where.
        engine_id: u32,
        /// When, in seconds since the epoch.
        at: f64,
    },
    /// A task, or an engine without one, has printed.
    Stream {
        /// The task.
        id: Option<String>,
        /// The engine.
        engine_id: u32,
        /// `stdout` or `stderr`.
        name: String,
        /// What.
        text: String,
    },
    /// A task shows something; it comes as the payload.
    Output {
        /// The task.
        id: String,
        /// The engine.
        engine_id: u32,
    },
    /// Engines have come or gone.
    Engines {
        /// Those that have come.
        joined: Vec<EngineInfo>,
        /// Those that have gone.
        left: Vec<EngineLeft>,
        /// Engines that have been started and are not there yet.
        starting: u32,
    },
    /// The answer to a request.
    Reply(Reply),
    /// The last word.
    Bye {
        /// Why.
        reason: String,
    },
    /// Nothing but [`Parcel::taken`].
    Taken {},
}

/// What the controller says to an engine.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ToEngine {
    /// The first word; the arena's descriptor comes with it.
    Welcome {
        /// What the engine is called: its uuid.
        identity: String,
        /// Its number.
        engine_id: u32,
        /// The cluster's name.
        cluster_id: String,
        /// A block whose first word says which task it has begun last ([`ToEngine::Run`]).
        note: u64,
        /// The controller's process.
        pid: u32,
        /// Its version.
        version: String,
        /// More, by name.
        more: BTreeMap<String, String>,
    },
    /// A task; its payloads come with it.
    Run {
        /// Its name.
        id: String,
        /// What to do with it.
        kind: String,
        /// The client that submitted it.
        client: String,
        /// What the user calls it.
        label: Option<String>,
        /// What came with it.
        metadata: Bytes,
        /// Counts the tasks of this engine, from 1.
        seq: u64,
    },
    /// Leave.
    Exit {},
    /// The last word.
    Bye {
        /// Why.
        reason: String,
    },
    /// Nothing but [`Parcel::taken`].
    Taken {},
}

/// What an engine says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum FromEngine {
    /// It is ready for tasks.
    Ready {},
    /// It begins one.
    Begin {
        /// Its name.
        id: String,
    },
    /// It has ended one; the payload comes with it.
    Done {
        /// Its name.
        id: String,
        /// How.
        status: Status,
        /// Why there is no result.
        #[serde(default)]
        error: Option<Failure>,
        /// Anything, for the record.
        #[serde(default)]
        metadata: Bytes,
        /// When it began, in seconds since the epoch.
        #[serde(default)]
        started: Option<f64>,
        /// When it ended.
        #[serde(default)]
        completed: Option<f64>,
        /// What it has printed was not read yet when it ended.
        #[serde(default)]
        printed: bool,
    },
    /// A task shows something; it comes as the payload.
    Output {
        /// The task.
        id: String,
    },
    /// It has not begun these, and the one that it is in takes long: somebody else may.
    Returned {
        /// Them.
        ids: Vec<String>,
    },
    /// It leaves.
    Bye {},
    /// Nothing but [`Parcel::taken`].
    Taken {},
}
