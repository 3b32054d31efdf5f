//! The text of lines of the program, where its files can be read.

use std::collections::HashMap;
use std::fs;
use std::io::Read as _;
use std::path::Path;

use crate::Place;

/// Larger files are not read.
const LARGEST: u64 = 8 << 20;
/// Characters that are shown of a line.
const SHOWN: usize = 160;

/// Files that have been read, by the names that the program has for them.
#[derive(Debug, Default)]
pub(crate) struct Sources(HashMap<String, Vec<String>>);

impl Sources {
    /// A line without its indentation; none where it cannot be read or is empty.
    pub(crate) fn line(&mut self, place: &Place) -> Option<&str> {
        if !self.0.contains_key(&place.file) {
            self.0.insert(place.file.clone(), read(Path::new(&place.file)));
        }
        let line = self.0[&place.file].get(usize::try_from(place.line).ok()?.checked_sub(1)?)?;
        Some(line.as_str()).filter(|line| !line.is_empty())
    }
}

/// The lines of a file, cut to what is shown; none of what is no text of bearable size.
fn read(path: &Path) -> Vec<String> {
    // A name may lead to a pipe, which would be waited for.
    let readable = fs::metadata(path).is_ok_and(|m| m.is_file() && m.len() <= LARGEST);
    if !readable {
        return Vec::new();
    }
    // Files of the system say that they are empty, and have no end.
    let mut bytes = Vec::new();
    let read = fs::File::open(path).and_then(|file| file.take(LARGEST + 1).read_to_end(&mut bytes));
    if read.is_err() || bytes.len() as u64 > LARGEST || bytes.contains(&0) {
        return Vec::new();
    }
    String::from_utf8_lossy(&bytes).lines().map(|line| line.trim().chars().take(SHOWN).collect()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_read_and_what_is_not_there_is_not() {
        let place = |file: &str, line| Place { file: file.to_owned(), line, function: String::new() };
        let mut sources = Sources::default();
        assert!(sources.line(&place(file!(), 1)).is_none_or(|l| l.starts_with("//! The text")));
        let this = concat!(env!("CARGO_MANIFEST_DIR"), "/src/report/source.rs");
        assert_eq!(sources.line(&place(this, 3)), Some("use std::collections::HashMap;"));
        assert_eq!(sources.line(&place(this, 0)), None);
        assert_eq!(sources.line(&place(this, 2)), None, "an empty line");
        assert_eq!(sources.line(&place(this, 1_000_000)), None);
        assert_eq!(sources.line(&place("/dev/zero", 1)), None);
        assert_eq!(sources.line(&place("", 1)), None);
    }
}
