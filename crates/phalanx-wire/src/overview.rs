//! What a cluster looks like at one moment: what `phalanx cluster top`, `why` and the dashboard show.

use serde::{Deserialize, Serialize};

use crate::cluster::EngineInfo;

/// All of it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Overview {
    /// The cluster's name.
    pub cluster_id: String,
    /// The machine that the controller runs on.
    pub host: String,
    /// The controller's version.
    pub version: String,
    /// Since when it runs, and when this was seen, in seconds since the epoch.
    pub since: f64,
    /// The same.
    pub now: f64,
    /// The controller's process.
    pub controller: Seen,
    /// Clients and commands that are connected.
    pub clients: u64,
    /// Engines that are there, in the order of their numbers.
    pub engines: Vec<EngineSeen>,
    /// Engines that have been started, and are not there yet.
    pub starting: u32,
    /// Balanced tasks that wait for an engine.
    pub queued: u64,
    /// Tasks that wait for others.
    pub waiting: u64,
    /// Tasks that have ended since the controller began: with a result, failed, dropped.
    pub ended: [u64; 3],
    /// Tasks that are remembered, and their bytes.
    pub remembered: (u64, u64),
    /// What went wrong last, the latest first.
    pub mishaps: Vec<Mishap>,
}

/// An engine.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct EngineSeen {
    /// It.
    pub info: EngineInfo,
    /// It takes no more tasks: it is about to leave.
    pub leaving: bool,
    /// The task that it is in.
    pub task: Option<InHand>,
    /// Tasks that it has beside that one, or that wait for it alone.
    pub behind: u64,
    /// Tasks that it has ended, and how many of those failed.
    pub done: u64,
    /// The same.
    pub failed: u64,
    /// Its process.
    pub process: Seen,
}

/// A task that an engine is in.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct InHand {
    /// Its name.
    pub id: String,
    /// What it is for engines.
    pub kind: String,
    /// What the user calls it.
    pub label: Option<String>,
    /// Since when, in seconds since the epoch.
    pub since: f64,
}

/// A process, as the machine sees it. All is nothing where the controller cannot look: on another machine.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Seen {
    /// It.
    pub pid: u32,
    /// CPU time that it has used, in milliseconds.
    pub cpu: u64,
    /// Bytes of its memory that are in the machine's.
    pub resident: u64,
    /// What it is doing, in words; asked for with stacks only.
    pub doing: String,
    /// Why there is no stack.
    pub unreadable: String,
    /// Where its Python is, the innermost place first; asked for with stacks only.
    pub stack: Vec<Place>,
}

/// A place in a program.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// The file.
    pub file: String,
    /// The line; 0 where it is not known.
    pub line: u32,
    /// The function.
    pub function: String,
}

/// Something that went wrong.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Mishap {
    /// When, in seconds since the epoch.
    pub at: f64,
    /// The engine.
    pub engine_id: Option<u32>,
    /// The task, if it was one.
    pub task: Option<String>,
    /// What the user calls that.
    pub label: Option<String>,
    /// The class of the error, and what it says: the beginning of it.
    pub ename: String,
    /// The same.
    pub evalue: String,
}
