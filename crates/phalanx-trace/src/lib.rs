//! What a traced job did: its calls, messages and waits, and the timeline and the report made of them.
//!
//! | file | subject |
//! |---|---|
//! | `model.rs` | a whole trace, as it is read back when a job has ended |
//! | `report/` | the page about a trace |

mod model;
pub mod report;

pub use model::{Call, Class, End, Message, Place, PlaceId, Rank, Trace};
