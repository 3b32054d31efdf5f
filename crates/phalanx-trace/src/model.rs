//! A whole trace, as it is read back when a job has ended. All times are nanoseconds since the job began.

/// What a job did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trace {
    /// The words of the command that was run.
    pub command: Vec<String>,
    /// The machine's name.
    pub host: String,
    /// CPUs that the job could use; 0 where that is not known.
    pub cpus: u32,
    /// When the job began, in nanoseconds since 1970.
    pub began_unix_ns: u64,
    /// How long the job lasted.
    pub lasted_ns: u64,
    /// By rank of the first world; spawned ranks come behind.
    pub ranks: Vec<Rank>,
    /// Messages of which both ends were seen, by the time they were sent at.
    pub messages: Vec<Message>,
    /// Where calls were made; [`PlaceId`] is an index into it.
    pub places: Vec<Place>,
}

/// An index into [`Trace::places`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PlaceId(pub u32);

/// A line of the program.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Place {
    /// The file, as the program calls it.
    pub file: String,
    /// The line, from 1; 0 where it is not known.
    pub line: u32,
    /// The function.
    pub function: String,
}

/// A rank.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rank {
    /// Its name: `rank 3`, or `rank 1 of spawned world 2`.
    pub name: String,
    /// Its process.
    pub pid: u32,
    /// By the time that they began at. Calls of one thread do not overlap, unless one is made within another.
    pub calls: Vec<Call>,
    /// Calls that were not kept, for want of room.
    pub lost: u64,
    /// How it ended.
    pub end: End,
}

/// How a rank ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum End {
    /// It was finalized, or left without having been initialized.
    #[default]
    Well,
    /// In the words of the launcher: `killed by SIGKILL`, `exit status 3`.
    Badly(String),
}

/// A call of the standard's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// The thread of the rank, from 0, in the order that they first called in.
    pub thread: u32,
    /// The function's name: `MPI_Send`.
    pub name: &'static str,
    /// What kind of function it is.
    pub class: Class,
    /// When it began.
    pub began_ns: u64,
    /// When it came back; the end of the rank for a call that did not.
    pub ended_ns: u64,
    /// How much of that the thread waited for others: for a message, for a member, for room.
    pub waited_ns: u64,
    /// Whether it came back.
    pub returned: bool,
    /// The line that made the call.
    pub place: Option<PlaceId>,
    /// The communicator's, window's or file's name.
    pub object: Option<String>,
    /// Which communicator: the same number in the calls of all its members, and of no other communicator of the job.
    pub context: Option<u64>,
    /// The other rank, by its place in [`Trace::ranks`], or the root of a collective.
    pub peer: Option<u32>,
    /// The tag.
    pub tag: Option<i32>,
    /// Bytes that the call was given to send or to receive. (Of an `MPI_Recv` that took a message, rank, tag and bytes are the
    /// message's, whatever it had asked for.)
    pub bytes: Option<u64>,
}

/// What kind of function it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Class {
    /// Sends, receives, probes.
    PointToPoint,
    /// Waits and tests of requests.
    Completion,
    /// Collectives, neighbourhoods among them.
    Collective,
    /// Windows.
    OneSided,
    /// Files.
    File,
    /// Making and freeing communicators, windows, types; spawn, start and end.
    Management,
}

/// A message between two ranks, of which both ends were seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Its sender, by the place in [`Trace::ranks`].
    pub from: u32,
    /// Its receiver, by the place in [`Trace::ranks`].
    pub to: u32,
    /// Its tag.
    pub tag: i32,
    /// Its bytes.
    pub bytes: u64,
    /// When the sender posted it, within a call of the sender's.
    pub sent_ns: u64,
    /// When the receiver had it, within a call of the receiver's.
    pub received_ns: u64,
    /// The index into the sender's calls of the one that posted it.
    pub send_call: Option<u32>,
    /// The index into the receiver's calls of the one in which it was complete.
    pub receive_call: Option<u32>,
}
