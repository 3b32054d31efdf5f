//! What the ranks of a job wait for, the proof that some can never go on, and how it is told.
//!
//! A call that has slept for a tenth of a second in vain leaves a [`Wait`] in the segment, where anybody may look. Nothing is
//! written before that: waits that end sooner, nearly all, pay nothing.
//!
//! | file | subject |
//! |---|---|
//! | `wait.rs` | what a blocked thread says, and its bytes |
//! | `snapshot.rs` | what all processes said at one moment |
//! | `proof.rs` | who can never go on |
//! | `report.rs` | the words |
//! | `fold.rs` | the same in so many lines |
//! | `finding.rs`, `found.rs` | what ranks have found in their program, with `--check`, and its words |
//!
//! [`docs/decisions/0022`](../../../docs/decisions/0022-waits.md) has the reasons.

mod finding;
mod fold;
mod found;
#[cfg(any(test, fuzzing))]
pub mod fuzz;
mod proof;
mod report;
mod snapshot;
mod wait;

pub use finding::{Class, Finding, Found, Key};
pub use fold::{Manner, Told, fold};
pub use found::Findings;
pub use proof::{Standing, stuck};
pub use report::{Names, brief, cut, headline, ranks, reason, report, said, table, tame, verdict, waits, wrapped};
pub use snapshot::{Snapshot, Thread};
pub use wait::{Collective, Frame, Item, Kind, Need, Peers, Wait, main_frame};
