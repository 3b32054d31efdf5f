//! The messages between a launcher and the agent that it has on each machine.
//!
//! The agent is told what it is to be ([`Order::Check`]) and answers what it finds ([`Report::Found`]). Then it starts
//! ranks ([`Order::Start`]), sends what they print and how they end, and delivers what they are sent. It ends all of them
//! when it is told to, when its channel closes, and when its launcher is silent for [`crate::pulse::MISSED`] beats.
//!
//! A rank is known on both ends by a number that the launcher has given it (`id`), whichever world it is of.

use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Output that an agent may have sent, in bytes, and the launcher not yet taken.
pub const WINDOW: u64 = 256 << 10;
/// Bytes of output in a message, at most.
pub const PIECE: usize = 64 << 10;
/// Bytes of what was seen of a rank, and of what is sent of a look in one message, at most.
pub const SEEN: usize = 1 << 20;

/// Bytes, as they are: paths, arguments, variables, output.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Bytes(pub Vec<u8>);

impl Serialize for Bytes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct AsBytes;
        impl Visitor<'_> for AsBytes {
            type Value = Bytes;
            fn expecting(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                out.write_str("bytes")
            }
            fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<Bytes, E> {
                Ok(Bytes(bytes.to_vec()))
            }
        }
        deserializer.deserialize_bytes(AsBytes)
    }
}

/// Name and value of a variable.
pub type Variable = (Bytes, Bytes);
/// Key and value of a key-value space.
pub type Pair = (String, String);

/// What a launcher says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Order {
    /// Look whether this machine has what the job needs; answered by [`Report::Found`].
    Check(Check),
    /// Start these ranks.
    Start(Box<Start>),
    /// Bytes for the standard input of a rank; none: its end.
    Input {
        /// The rank.
        id: u32,
        /// What it reads.
        bytes: Bytes,
    },
    /// All ranks of a world have met; these pairs were put since they met last.
    Met {
        /// Index of the world.
        world: u32,
        /// What all ranks of it have put.
        pairs: Vec<Pair>,
    },
    /// The line that answers what a rank has asked by [`Report::Asks`].
    Answer {
        /// The rank.
        id: u32,
        /// The line, without its end.
        line: String,
    },
    /// A signal for the process group of every rank.
    Signal(i32),
    /// Kill every rank and all that descends from it.
    Kill,
    /// So many bytes of output have been taken.
    Taken(u64),
    /// Say what ranks are doing: [`Report::Seen`].
    Look {
        /// Comes back with what was seen.
        number: u32,
        /// Milliseconds after which no more processes are looked at.
        within: u32,
    },
    /// The launcher is there.
    Beat,
    /// The launcher will be silent until it says something again: it is about to be stopped.
    Pause,
    /// All is over: end what ranks have left, say [`Report::Bye`] and leave.
    End,
}

/// What an agent says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Report {
    /// What was found on this machine.
    Found(Found),
    /// A rank runs.
    Started {
        /// The rank.
        id: u32,
        /// Its process there.
        pid: u32,
    },
    /// A rank could not be started, and why.
    Failed {
        /// The rank.
        id: u32,
        /// What the system said of what.
        reason: String,
    },
    /// What a rank has printed.
    Output {
        /// The rank.
        id: u32,
        /// To standard error.
        error: bool,
        /// What.
        bytes: Bytes,
    },
    /// So many bytes of a rank's input have been taken by it; `u32::MAX`: it reads no more.
    Read {
        /// The rank.
        id: u32,
        /// How many.
        count: u32,
    },
    /// Ranks wait where all of their world meet, with what this machine's ranks have put since they met last.
    Gathered {
        /// Index of the world.
        world: u32,
        /// Their numbers in it.
        ranks: Vec<u32>,
        /// What was put.
        pairs: Vec<Pair>,
    },
    /// Lines of PMI-1 that this machine cannot answer.
    Asks {
        /// The rank that sent them.
        id: u32,
        /// The lines.
        lines: String,
    },
    /// A rank aborts the job.
    Aborts {
        /// The rank.
        id: u32,
        /// The code that it gave.
        code: i32,
    },
    /// Nobody speaks PMI for this rank any more.
    HungUp {
        /// The rank.
        id: u32,
    },
    /// What a rank has told at the agent's desk.
    Told(Bytes),
    /// A rank has ended. All that it had printed has been sent.
    Ended {
        /// The rank.
        id: u32,
        /// How.
        how: How,
        /// How far it had come with PMI.
        stage: Stage,
    },
    /// What ranks are doing that run.
    Seen {
        /// The number of the look.
        number: u32,
        /// Some of them.
        ranks: Vec<Sight>,
        /// No more come of this look.
        last: bool,
    },
    /// Something that the user should know.
    Says(String),
    /// The agent is there.
    Beat,
    /// Nothing is left on this machine, and the agent leaves.
    Bye,
}

/// What a job needs on a machine.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Check {
    /// What the machine is called on the command line.
    pub host: String,
    /// Stands in the environment of every process of the job.
    pub mark: String,
    /// Where the job was started.
    pub directory: Bytes,
    /// The Python that ranks run, if they do.
    pub python: Option<Bytes>,
    /// Files that have to be the same everywhere.
    pub files: Vec<Bytes>,
    /// Milliseconds from one beat to the next.
    pub beat: u32,
}

/// What is there.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Found {
    /// What the machine calls itself.
    pub node: String,
    /// CPUs that may be used.
    pub cpus: u32,
    /// Whether the directory can be entered, or why not.
    pub directory: Result<(), String>,
    /// The version of the Python, or why it does not tell.
    pub python: Option<Result<String, String>>,
    /// The files, in order: what they are, or why they cannot be read.
    pub files: Vec<Result<Print, String>>,
}

/// What tells the contents of a file from others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Print {
    /// Its length in bytes.
    pub length: u64,
    /// A hash of its contents.
    pub hash: u64,
}

/// Ranks of one world that an agent is to start.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Start {
    /// Index of the world; agents hear of all of them, in order.
    pub world: u32,
    /// The application of each rank of the whole world.
    pub apps: Vec<u32>,
    /// The name of its key-value space.
    pub space: String,
    /// What that holds from the start.
    pub values: Vec<Pair>,
    /// The attribute `MPI_UNIVERSE_SIZE`.
    pub universe: u32,
    /// The environment of all ranks.
    pub environment: Vec<Variable>,
    /// What they run.
    pub programs: Vec<Program>,
    /// Those that run here.
    pub ranks: Vec<Rank>,
    /// Standard error goes where standard output goes.
    pub merge: bool,
    /// How many ranks of all worlds run here, with these.
    pub here: u32,
    /// Which CPUs a rank may use, as `--bind-to` says it.
    pub binding: String,
}

/// What ranks run.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Program {
    /// The executable.
    pub path: Bytes,
    /// Its arguments.
    pub args: Vec<Bytes>,
    /// Where it starts, if not where the job does.
    pub directory: Option<Bytes>,
}

/// One rank.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Rank {
    /// How both ends call it.
    pub id: u32,
    /// Its number in its world.
    pub rank: u32,
    /// Index of its program.
    pub program: u32,
    /// What its environment has besides.
    pub environment: Vec<Variable>,
    /// It is sent input.
    pub reads: bool,
    /// The files that take its output and its errors, if they are not sent.
    pub files: Option<(Bytes, Bytes)>,
}

/// How a process has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum How {
    /// It exited with this status.
    Exit(i32),
    /// This signal killed it.
    Signal(i32),
}

/// How far a rank has come with PMI.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Stage {
    /// It has not spoken.
    Silent,
    /// It has begun.
    Initialised,
    /// It has finished.
    Finalized,
}

/// What was seen of a rank.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Sight {
    /// The rank.
    pub id: u32,
    /// How far it has come with PMI.
    pub stage: Stage,
    /// The process that was started for it and what descends from that, as the launcher's own look has them; none, if there was
    /// no time left to look. Both ends are of one version: that was compared.
    pub processes: Vec<Bytes>,
}
