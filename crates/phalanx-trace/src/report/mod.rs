//! One page about a traced job, complete in itself: it loads nothing, so it opens from disk and can be sent to others.
//!
//! | file | subject |
//! |---|---|
//! | `calls.rs` | what every analysis asks of calls |
//! | `matrix.rs` | who sent how much to whom |
//! | `sizes.rs` | how large the messages were |
//! | `blocked.rs` | where the time went, per rank and per line |
//! | `imbalance.rs` | who comes last to collective operations, and what it costs the others |
//! | `late.rs` | waits for senders and receivers that are not there yet |
//! | `working.rs` | how many ranks had something to do at a time |
//! | `advice/` | what to do about it, in words |
//! | `timeline.rs` | the calls and messages that are drawn, thinned where they are too many |
//! | `source.rs`, `text.rs` | lines of the program; numbers as a person reads them |
//! | `page.rs`, `page.{html,css,js}` | the page |

mod advice;
mod blocked;
mod calls;
mod imbalance;
mod late;
mod matrix;
mod page;
mod sizes;
mod source;
#[cfg(test)]
mod testing;
mod text;
mod timeline;
mod working;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::Trace;

/// Why there is no report.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file could not be written.
    #[error("cannot write the report to '{}': {why}", .path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        why: io::Error,
    },
    /// The page could not be made of the trace.
    #[error("cannot make the page of the report: {0}")]
    Page(#[from] askama::Error),
}

/// Writes the page about a trace into a file. Lines of the program are read where the trace says that they are, from the
/// directory that this process is in.
///
/// # Errors
///
/// [`Error::Write`] where the file cannot be written.
pub fn write(trace: &Trace, path: &Path) -> Result<(), Error> {
    fs::write(path, page(trace)?).map_err(|why| Error::Write { path: path.to_owned(), why })
}

/// The page about a trace.
///
/// # Errors
///
/// [`Error::Page`] where it could not be put together.
pub fn page(trace: &Trace) -> Result<String, Error> {
    Ok(page::render(trace)?)
}
