//! What the machine and this process's control groups allow: CPUs, memory, and whether memory ran out.
//!
//! | file | question |
//! |---|---|
//! | `groups.rs` | which control groups is this process in, of which version, and where are their files? |
//! | `cpu.rs` | how many CPUs' time may it use? |
//! | `room.rs` | is there the memory that is about to be reserved? |
//! | `oom.rs` | was a process killed because there was none? |

mod cpu;
mod groups;
mod oom;
mod room;

pub(crate) use cpu::quota;
pub use oom::OomKills;
pub(crate) use room::{check, spare};

/// The text of a file, if it can be read. Tests put a table of texts in its place.
fn text_of(path: &str) -> Option<String> {
    std::fs::read_to_string(path).ok()
}

/// The number after `name` at the beginning of a line.
fn field(text: &str, name: &str) -> Option<u64> {
    text.lines().find_map(|line| {
        let mut words = line.split_whitespace();
        (words.next() == Some(name)).then(|| words.next()?.parse().ok()).flatten()
    })
}

/// A reader of files for tests: the texts of a table.
#[cfg(test)]
fn table<'a>(files: &'a [(&'a str, &'a str)]) -> impl Fn(&str) -> Option<String> + 'a {
    |path| files.iter().find(|(name, _)| *name == path).map(|(_, text)| (*text).to_owned())
}
