//! The ends of an interactive cluster's connections, for Python: a client's and an engine's.
//!
//! | file | subject |
//! |---|---|
//! | `socket.rs` | frames over the socket, who holds the blocks of what is on its way |
//! | `collector.rs` | what comes to a client, and which of its threads deals with it |
//! | `client.rs` | tasks are submitted, and waited for |
//! | `engine.rs` | what an engine's end does by itself: batches of short tasks |
//! | `fields.rs` | messages as dictionaries, and back |
//! | `payload.rs` | objects that come with messages |
//! | `named.rs` | functions that the other end can import |
//! | `link.rs` | `ClusterLink` |

mod client;
mod collector;
mod engine;
mod fields;
mod link;
mod named;
mod pause;
mod payload;
mod socket;

use pyo3::prelude::*;

/// Adds what this folder has to the module.
pub(crate) fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add("ClusterGone", m.py().get_type::<link::ClusterGone>())?;
    m.add_function(wrap_pyfunction!(named::place_of, m)?)?;
    m.add_class::<payload::Payload>()?;
    m.add_class::<client::ClusterTask>()?;
    m.add_class::<link::ClusterLink>()
}
