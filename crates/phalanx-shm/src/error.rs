//! What can go wrong with shared memory, with the values and units involved.

use std::io;

/// Everything this crate reports instead of failing silently or crashing.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ShmError {
    /// A system call that sets up the segment failed.
    #[error("cannot {what}: {source}")]
    System {
        /// The step, as an infinitive: "create the shared segment".
        what: &'static str,
        /// The kernel's answer.
        source: io::Error,
    },
    /// More process slots were asked for than a universe can have.
    #[error("{requested} process slots requested, but a universe holds 1 to {max}")]
    SlotCount {
        /// Slots asked for.
        requested: u64,
        /// The limit of the layout.
        max: u32,
    },
    /// All slots are given out.
    #[error(
        "{requested} processes requested, but only {free} of the universe's {capacity} process slots \
         are left (slots of ended processes are not reused); start the job with a larger universe"
    )]
    SlotsUsedUp {
        /// Slots asked for.
        requested: u32,
        /// Slots never claimed so far.
        free: u32,
        /// Slots of the universe.
        capacity: u32,
    },
    /// A slot number that nobody has claimed.
    #[error("process slot {slot} does not exist ({claimed} are in use)")]
    NoSuchSlot {
        /// The number.
        slot: u32,
        /// How many are claimed.
        claimed: u32,
    },
    /// The machine, the container or a limit has no memory left for the segment.
    #[error(
        "out of shared memory: {bytes} bytes more for {what} were refused ({source}); \
         free memory, raise the memory limit of the container or use fewer processes"
    )]
    OutOfMemory {
        /// Bytes asked for.
        bytes: u64,
        /// What they were for.
        what: &'static str,
        /// The kernel's answer.
        source: io::Error,
    },
    /// A resource limit of this process forbids the segment.
    #[error(
        "the {limit} limit of {allowed} bytes is below the {bytes} bytes the shared segment needs; \
         raise it (ulimit)"
    )]
    Limit {
        /// The limit's name: "file size" or "address space".
        limit: &'static str,
        /// Its value.
        allowed: u64,
        /// Bytes needed.
        bytes: u64,
    },
    /// The address range of a segment's heap is used up.
    #[error(
        "the shared memory of these processes cannot hold {bytes} bytes more: {live} of {capacity} bytes are in use, and \
         the largest free piece of its address range has about {largest}; let go of arrays and results that are no longer \
         needed, or take smaller pieces (ulimit -v and ulimit -f make the range smaller)"
    )]
    HeapFull {
        /// Bytes asked for.
        bytes: u64,
        /// Bytes of blocks that somebody has.
        live: u64,
        /// Bytes in the heap.
        capacity: u64,
        /// Bytes of the largest free range.
        largest: u64,
    },
    /// A handle to a block that is no longer there, or never was.
    #[error(
        "shared block {handle:#x} does not exist any more: its last user let go of it before this process opened it"
    )]
    Freed {
        /// The handle.
        handle: u64,
    },
    /// A descriptor that is not a universe of this version.
    #[error("the inherited descriptor is not a usable Phalanx universe: {reason}")]
    NotAUniverse {
        /// What was expected and what was found.
        reason: String,
    },
    /// An offset and length outside the segment's heap, or misaligned.
    #[error("shared range at {offset} of {bytes} bytes is outside the segment or misaligned")]
    BadRange {
        /// Position in the segment.
        offset: u64,
        /// Length in bytes.
        bytes: u64,
    },
    /// Shared data failed a plausibility check: some process wrote over it.
    #[error("shared memory is corrupt: {what}; a process of this job wrote outside its own memory")]
    Corrupt {
        /// The structure and the check that failed.
        what: String,
    },
    /// The one producer or consumer handle of a ring is already in use.
    #[error("the {side} end of the ring from process {from} to process {to} is already in use")]
    RingTaken {
        /// Sending slot.
        from: u32,
        /// Receiving slot.
        to: u32,
        /// "sending" or "receiving".
        side: &'static str,
    },
    /// A wait was cut short, so that the caller can see to signals.
    #[error("the wait for {what} was interrupted; call again")]
    Interrupted {
        /// What was waited for.
        what: &'static str,
    },
    /// A copy between two processes' private memory was refused or cut short.
    #[error("copying {bytes} bytes from process {pid} failed after {done} bytes: {source}")]
    SingleCopy {
        /// The other process.
        pid: i32,
        /// Bytes asked for.
        bytes: u64,
        /// Bytes that did arrive.
        done: u64,
        /// The kernel's answer.
        source: io::Error,
    },
}

impl ShmError {
    /// Whether the reason is missing memory (machine, container, limit or heap).
    pub fn is_no_memory(&self) -> bool {
        matches!(self, ShmError::OutOfMemory { .. } | ShmError::Limit { .. } | ShmError::HeapFull { .. })
    }
}
