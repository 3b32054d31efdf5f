//! What a traced job did: its calls, messages and waits, and the timeline and the report made of them.
//!
//! | file | subject |
//! |---|---|
//! | `model.rs` | a whole trace, as it is read back when a job has ended |
//! | `report/` | the page about a trace |
//! | `function.rs` | the functions whose calls are recorded |
//! | `record.rs` | what a rank writes while it runs |
//! | `read.rs` | from what the ranks wrote to a trace |
//! | `layout.rs` | where the interpreter keeps what tells where a call is made |
//! | `perfetto.rs`, `protobuf.rs` | a trace as a timeline |

mod function;
#[cfg(any(test, fuzzing))]
pub mod fuzz;
pub mod layout;
mod model;
pub mod perfetto;
mod protobuf;
mod read;
pub mod record;
pub mod report;

pub use function::number;
pub use model::{Call, Class, End, Message, Place, PlaceId, Rank, Trace};
pub use read::{Job, Log, read};
