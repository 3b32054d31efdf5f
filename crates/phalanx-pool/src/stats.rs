//! What a pool knows about the work of its workers.

/// What the workers of one slot have done, the present one and those before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WorkerStats {
    /// The process; 0 when there is none.
    pub pid: u32,
    /// How many workers the slot has had.
    pub starts: u32,
    /// Items done.
    pub items: u64,
    /// Dispatches begun.
    pub dispatches: u64,
    /// Nanoseconds in items.
    pub busy: u64,
    /// Nanoseconds that dispatches waited on the board before this worker took them.
    pub queued: u64,
    /// Bytes of items.
    pub bytes_in: u64,
    /// Bytes of results.
    pub bytes_out: u64,
}
