//! What a completed receive, probe or request says about its message (MPI 5.0 §3.2.5), and the special ranks and tags.
//!
//! The special numbers only have to be negative and to differ. A layer above that has the same ones, as the C surface has,
//! need not translate.

/// `MPI_ANY_SOURCE`: a receive or probe that takes a message from any rank.
pub const ANY_SOURCE: i32 = -1;
/// `MPI_ANY_TAG`: a receive or probe that takes a message with any tag.
pub const ANY_TAG: i32 = -2;
/// `MPI_PROC_NULL`: the rank that is nobody; communication with it completes at once.
pub const PROC_NULL: i32 = -3;
/// `MPI_ROOT`: passed as root by the root of an intercommunicator collective.
pub const ROOT: i32 = -4;
/// `MPI_UNDEFINED`.
pub const UNDEFINED: i32 = -32766;
/// The largest tag (`MPI_TAG_UB`).
pub const TAG_UB: i32 = i32::MAX;

/// The outcome of a receive, a probe or a completed request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Status {
    /// Rank of the sender in the communicator (its remote group, for an intercommunicator).
    pub source: i32,
    /// Tag of the message.
    pub tag: i32,
    /// Bytes of data received (packed size, without the gaps of the datatype).
    pub bytes: u64,
    /// Whether the operation was cancelled.
    pub cancelled: bool,
}

impl Status {
    /// The empty status of the standard: what a wait for no request at all returns.
    pub const EMPTY: Status = Status { source: ANY_SOURCE, tag: ANY_TAG, bytes: 0, cancelled: false };
    /// The status of a communication with `PROC_NULL`.
    pub const PROC_NULL: Status = Status { source: PROC_NULL, tag: ANY_TAG, bytes: 0, cancelled: false };
}

impl Default for Status {
    fn default() -> Status {
        Status::EMPTY
    }
}
