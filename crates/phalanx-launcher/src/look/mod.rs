//! A look into a running job: what each rank is doing now, without stopping it and without its help.
//!
//! The launcher looks, since it is the ancestor of the ranks and has their segment; who has asked gets what was seen and makes
//! words of it. Nothing waits for a rank: what is looked at is `/proc`, memory, and the notes of blocked calls.
//!
//! | file | subject |
//! |---|---|
//! | `mod.rs` | what was seen of a job |
//! | `process.rs` | a process and its threads, by `/proc` |
//! | `call.rs` | the system call that a thread is in, in words |
//! | `python.rs` | Python stacks, from memory; `lines.rs`, `memory.rs` for it |
//! | `report.rs` | words: equal ranks folded, and what it all means in one line; `verdict.rs`, `json.rs` |
//!
//! [`docs/decisions/0024`](../../../../docs/decisions/0024-a-look-inside.md) has the reasons.

mod call;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;
mod json;
mod lines;
mod memory;
mod process;
mod python;
mod report;
mod verdict;

use std::fs::File;
use std::io::{self, Read};

use phalanx_waits::{Frame, Wait};
use serde::{Deserialize, Serialize};

use crate::process::Ended;

pub(crate) use json::{as_json, jobs_as_json, string};
pub(crate) use process::{look_at, tree, used};
pub(crate) use report::{age, heading, report, source, tame};
pub(crate) use verdict::{glimpse, glimpse_of, is_own, of_number};

/// What a job is, and how it fares at large.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct About {
    /// Its name among the jobs of this user.
    pub(crate) id: String,
    /// The launcher's process.
    pub(crate) launcher: u32,
    /// What it runs.
    pub(crate) program: String,
    /// Ranks that were started.
    pub(crate) ranks: u32,
    /// Ranks that have not ended.
    pub(crate) running: u32,
    /// Ranks that have waited in a call for a while.
    pub(crate) waiting: u32,
    /// Milliseconds since it was started.
    pub(crate) age: u64,
    /// It is being ended.
    pub(crate) ending: bool,
    /// Some of its ranks can never go on.
    pub(crate) deadlock: bool,
    /// Its ranks are on another MPI library: what they wait for is not known.
    pub(crate) foreign: bool,
}

impl About {
    /// How the job fares, in a word.
    pub(crate) fn state(&self) -> &'static str {
        match self {
            _ if self.ending => "ending",
            _ if self.deadlock => "deadlock",
            _ if self.running == 0 => "ended",
            _ if self.waiting == self.running => "waiting",
            _ => "running",
        }
    }
}

/// How far a rank has come with MPI.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Stage {
    /// It has not begun.
    Before,
    /// In `MPI_Init`.
    Starting,
    /// Between `MPI_Init` and `MPI_Finalize`.
    Running,
    /// In `MPI_Finalize`.
    Finalizing,
    /// Past it.
    Finalized,
    /// Nobody knows.
    Unknown,
}

/// How the process of a rank has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum End {
    /// With this status.
    Status(i32),
    /// By this signal.
    Signal(i32),
}

impl From<Ended> for End {
    fn from(ended: Ended) -> End {
        match ended {
            Ended::Exit(status) => End::Status(status),
            Ended::Signal(signal) => End::Signal(signal),
        }
    }
}

/// What a rank has done, as far as it was counted: calls, and their bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Done {
    /// Messages that it has sent to other ranks and to itself.
    pub(crate) messages: (u64, u64),
    /// Collective operations, with the bytes that it has given to them.
    pub(crate) collectives: (u64, u64),
    /// One-sided operations that it began.
    pub(crate) windows: (u64, u64),
    /// Reads and writes of files.
    pub(crate) files: (u64, u64),
}

/// A rank.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct RankSeen {
    /// Its world; 0 is the first.
    pub(crate) world: u32,
    /// Its number there.
    pub(crate) rank: u32,
    /// Its slot in the segment.
    pub(crate) slot: u32,
    /// The process that was started for it.
    pub(crate) pid: u32,
    /// What it runs.
    pub(crate) program: String,
    pub(crate) stage: Stage,
    pub(crate) ended: Option<End>,
    /// What it has done since somebody asks for that; `None` where nobody does or it is not known.
    pub(crate) done: Option<Done>,
    /// The machine that it runs on, in a job on several.
    pub(crate) host: Option<String>,
    /// The process that calls MPI: the one that was started, or a child of it.
    pub(crate) process: Option<Process>,
    /// Others that it has started.
    pub(crate) children: Vec<Process>,
}

/// A process, as it was seen.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Process {
    pub(crate) pid: u32,
    /// The beginning of its command line.
    pub(crate) command: String,
    /// The letter that the kernel has for its state.
    pub(crate) state: char,
    /// Who debugs it: number and name.
    pub(crate) tracer: Option<(u32, String)>,
    /// CPU time that it has used, in milliseconds.
    pub(crate) cpu: u64,
    /// Bytes of its memory that are in the machine's.
    pub(crate) resident: u64,
    pub(crate) threads: Vec<Thread>,
    /// Why there are no Python stacks, where there is Python; empty if there are.
    pub(crate) unreadable: String,
}

impl Process {
    /// Puts the native frames that a blocked thread has told of before its Python stack, which was read from its memory.
    pub(crate) fn add_native(&mut self, wait: &Wait) {
        let native = wait.place.iter().take_while(|frame| frame.is_native()).count();
        let (native, python) = wait.place.split_at(native);
        let Some(caller) = python.first() else { return };
        // Of a thread that has moved on nothing is known.
        let is_same = |frame: &Frame| (frame.line, &frame.function) == (caller.line, &caller.function);
        let blocked = |thread: &&mut Thread| thread.number == wait.thread && thread.frames.first().is_some_and(is_same);
        if let Some(thread) = self.threads.iter_mut().find(blocked) {
            thread.frames.splice(0..0, native.iter().cloned());
        }
    }

    /// The first thread.
    pub(crate) fn main(&self) -> Option<&Thread> {
        self.threads.iter().find(|thread| thread.number == self.pid)
    }
}

/// A thread.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Thread {
    pub(crate) number: u32,
    pub(crate) doing: Doing,
    /// Its Python stack, innermost first, and before it the native code in which it is blocked, where that is known.
    pub(crate) frames: Vec<Frame>,
}

/// What a thread is doing, as far as the kernel can tell.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) struct Doing {
    pub(crate) kind: DoingKind,
    /// In words: "reads from a pipe".
    pub(crate) words: String,
}

/// The kinds of what a thread may be doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) enum DoingKind {
    /// It runs, or would if it had a CPU.
    Computes,
    /// It sleeps for a time.
    Sleeps,
    /// It waits for standard input.
    Stdin,
    /// It waits in a call that reads or writes.
    File,
    /// It waits for a socket or for several events.
    Events,
    /// It waits for a process that it has started.
    Child,
    /// It waits for another thread, a lock, or a process with which it shares memory.
    Thread,
    /// It waits for a disk or a file system, and cannot be interrupted.
    Disk,
    /// A signal has stopped it.
    Stopped,
    /// A debugger holds it.
    Traced,
    /// It has ended.
    Ended,
    /// Anything else.
    Other,
}

/// A proved deadlock.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Stuck {
    /// The ranks that can never go on, by slot.
    pub(crate) slots: Vec<u32>,
    /// What there is to say first.
    pub(crate) headline: String,
    /// The cycle, and what to do, in lines.
    pub(crate) reason: String,
}

/// All that was seen of a job at one moment.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Look {
    pub(crate) about: About,
    pub(crate) ranks: Vec<RankSeen>,
    /// What blocked threads say, by the slot of their rank.
    pub(crate) waits: Vec<(u32, Wait)>,
    pub(crate) stuck: Option<Stuck>,
    /// Milliseconds of the clock that the waits go by.
    pub(crate) now: u64,
}

/// The wait that a rank is in.
pub(crate) fn blocked_in<'l>(look: &'l Look, rank: &RankSeen) -> Option<&'l Wait> {
    verdict::waits_of(look, rank.slot).next().filter(|_| verdict::is_blocked(look, rank))
}

/// What a rank is doing, in words, and the stack of the thread that does it.
pub(crate) fn doing<'l>(look: &'l Look, rank: &'l RankSeen) -> (String, &'l [Frame]) {
    match (rank.ended, blocked_in(look, rank)) {
        (Some(end), _) => (report::ended(end), &[]),
        (None, Some(wait)) => (String::new(), report::stack_of(rank, wait)),
        (None, None) => {
            let seen = verdict::activity_of(rank);
            (seen.words, seen.frames)
        }
    }
}

/// What a process is doing, in words, and the stack of the thread that does it.
pub(crate) fn doing_of(process: &Process) -> (String, &[Frame]) {
    let seen = verdict::activity(process);
    (seen.words, seen.frames)
}

/// The innermost frame of a stack that is the program's own.
pub(crate) fn own(frames: &[Frame]) -> Option<&Frame> {
    frames.get(verdict::own_frame(frames))
}

/// The text of a file of `/proc`, as far as so many bytes.
pub(crate) fn read_at_most(path: &str, bytes: u64) -> io::Result<String> {
    let mut content = Vec::new();
    File::open(path)?.take(bytes).read_to_end(&mut content)?;
    Ok(String::from_utf8_lossy(&content).into_owned())
}
