//! The file of `phalanx run --record FILE`: what timing has decided in a job, so that `--replay FILE` decides it again.
//!
//! A *decision* is what a call of MPI came to that might have come to something else: which message a receive from any rank took,
//! whether a test or a probe found something, which of several requests was waited for. Those of each thread of each rank
//! stand in the order of its calls, which is all that is needed: what is decided in one rank is decided by what it calls.
//!
//! | file | subject |
//! |---|---|
//! | `header.rs` | the first block: whose job it was |
//! | `entry.rs` | one decision, as 32 bytes |
//! | `writer.rs` | a rank writes as it goes |
//! | `player.rs` | reading it again, and comparing it with what a program does |
//!
//! # The file
//!
//! Blocks of 4096 bytes. The first is the header. Each of the others belongs to one thread of one process, and begins with an
//! entry that says so; the blocks of a thread are numbered, and lie anywhere. A block is added by one write to the
//! end of the file, and an entry by one write into its place, so that ranks need not agree about anything, and that a killed one leaves
//! whole entries. (What the kernel has been given survives its process.) Numbers are little-endian.
//!
//! | bytes of an entry | content |
//! |---|---|
//! | 0 | what it is: a call, a run of looks that found nothing, a piece of a name, more indices, the end |
//! | 1 | what the call came to; for pieces, how much of them counts |
//! | 2-3 | a sum over the others and the entry's place in the file |
//! | 4-31 | of a call: its place in the program, the communicator, source, tag, number of requests, and what was found |
//!
//! Whatever is read is looked at first: a file is somebody's.
//!
//! [`docs/decisions/0028`](../../../docs/decisions/0028-replay.md) has the reasons.

mod entry;
#[cfg(any(test, fuzzing))]
pub mod fuzz;
mod header;
mod player;
mod writer;

pub use entry::{Call, CommMark, Kind, Outcome, Place};
pub use header::Header;
pub use player::{Damage, Next, Player};
pub use writer::{Ticket, Writer};

/// Bytes of a block.
pub(crate) const BLOCK: usize = 4096;
/// Bytes of an entry.
pub(crate) const ENTRY: usize = 32;
/// How long a file may become. Eight million decisions, all ranks together.
pub const LONGEST: u64 = 256 << 20;
