//! Lists of hosts, as people write them for MPICH, for Open MPI, and plainly.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use crate::error::LaunchError;

/// A host, and how many ranks it is to have, if that was said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// As `ssh` is to call it.
    pub name: String,
    /// Ranks that it is to have.
    pub slots: Option<u32>,
}

/// Bytes of a file of host names, at most.
const HOST_FILE: u64 = 1 << 20;
/// Ranks on one host, at most: more is a mistake of typing.
const SLOTS: u32 = 1 << 20;

/// Reads `h1:2,h2`, given by a flag.
///
/// # Errors
/// What is wrong with a name or a number.
pub(crate) fn of_flag(flag: &str, list: &str) -> Result<Vec<Listed>, LaunchError> {
    let hosts = list.split(',').map(str::trim).filter(|host| !host.is_empty());
    hosts.map(|host| one(host).map_err(|problem| LaunchError::usage(format!("{flag}: {problem}")))).collect()
}

/// Reads a file of lines: `h1:2` (MPICH), `h1 slots=2` (Open MPI), `h1 2 ...` (Grid Engine), `h1`; `#` begins a comment.
///
/// # Errors
/// When it cannot be read, and what is wrong in which line.
pub(crate) fn of_file(path: &Path) -> Result<Vec<Listed>, LaunchError> {
    let problem = |what: String| LaunchError::usage(format!("--hostfile {}: {what}", path.display()));
    let mut text = Vec::new();
    File::open(path)
        .and_then(|file| file.take(HOST_FILE + 1).read_to_end(&mut text))
        .map_err(|error| problem(format!("cannot be read: {error}")))?;
    if text.len() as u64 > HOST_FILE {
        return Err(problem(format!("it has more than {HOST_FILE} bytes")));
    }
    let hosts = of_lines(&String::from_utf8_lossy(&text)).map_err(problem)?;
    if hosts.is_empty() {
        return Err(problem("there is no host in it".to_owned()));
    }
    Ok(hosts)
}

/// The lines of such a file.
pub(crate) fn of_lines(text: &str) -> Result<Vec<Listed>, String> {
    let mut hosts = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        let mut words = line.split('#').next().unwrap_or("").split_whitespace();
        let Some(name) = words.next() else { continue };
        let mut host = one(name).map_err(|problem| format!("line {number}: {problem}"))?;
        // What else Open MPI and MPICH write there (max_slots=, binding=, user=) asks for nothing here.
        for (place, word) in words.enumerate() {
            // Grid Engine goes on with a queue, and which of the processors.
            if place == 0 && word.bytes().all(|byte| byte.is_ascii_digit()) {
                host.slots = Some(count(word).ok_or_else(|| format!("line {number}: {word}: {COUNT}"))?);
            }
            if let Some(("slots" | "cpu" | "count", given)) = word.split_once('=') {
                let slots = count(given).ok_or_else(|| format!("line {number}: {word}: {COUNT}"))?;
                host.slots = Some(slots);
            }
        }
        hosts.push(host);
    }
    Ok(hosts)
}

const COUNT: &str = "the number of ranks on a host must be a whole number, at least 1";

fn count(text: &str) -> Option<u32> {
    text.parse().ok().filter(|slots| (1..=SLOTS).contains(slots))
}

fn one(text: &str) -> Result<Listed, String> {
    let (name, slots) = match text.rsplit_once(':') {
        // `::1` is a name, and `fe80::1:2` cannot be told from one with a number.
        Some((name, slots)) if !name.contains(':') => (name, Some(count(slots).ok_or(format!("'{text}': {COUNT}"))?)),
        _ => (text, None),
    };
    // A remote shell would take it for a flag, and a shell for more than a name.
    let is_name = |c: char| c.is_alphanumeric() || "-._@:%[]".contains(c);
    if name.is_empty() || name.starts_with('-') || !name.chars().all(is_name) {
        return Err(format!("'{}' is not the name of a host", phalanx_waits::tame(name.to_owned())));
    }
    Ok(Listed { name: name.to_owned(), slots })
}

/// Whether a host is this machine.
pub(crate) fn is_here(name: &str) -> bool {
    if ["localhost", "127.0.0.1", "::1"].contains(&name) {
        return true;
    }
    let here = rustix::system::uname();
    let here = here.nodename().to_string_lossy();
    let short = |name: &str| name.split('.').next().unwrap_or(name).to_owned();
    // Two long names may differ in their domains only.
    if name.contains('.') && here.contains('.') { name == here } else { short(name) == short(&here) }
}

/// Each host once, in the order of the list; one that is named again has more room.
pub(crate) fn merged(list: &[Listed]) -> Vec<Listed> {
    let mut merged: Vec<Listed> = Vec::new();
    for host in list {
        match merged.iter_mut().find(|other| other.name == host.name) {
            Some(other) => other.slots = Some(other.slots.unwrap_or(1).saturating_add(host.slots.unwrap_or(1))),
            None => merged.push(host.clone()),
        }
    }
    merged
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(name: &str, slots: Option<u32>) -> Listed {
        Listed { name: name.to_owned(), slots }
    }

    #[test]
    fn lists_are_read_in_every_known_form() {
        let expected = [host("h1", Some(2)), host("you@h2.site", None), host("::1", None)];
        assert_eq!(of_flag("--host", "h1:2, you@h2.site,,::1").unwrap(), expected);
        let file = "# mine\nh1:2\n\nh2 slots=3 max_slots=8 # comment\nh3\n  h4 cpu=1\n";
        let expected = [host("h1", Some(2)), host("h2", Some(3)), host("h3", None), host("h4", Some(1))];
        assert_eq!(of_lines(file).unwrap(), expected);
        let of_grid_engine = "h1.site 2 all.q@h1.site UNDEFINED\nh2 1 all.q@h2 <NULL>\n";
        assert_eq!(of_lines(of_grid_engine).unwrap(), [host("h1.site", Some(2)), host("h2", Some(1))]);
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (list, says) in [("h1:0", "'h1:0'"), ("h1:x", "whole number"), ("-oProxy", "'-oProxy'"), ("h;ls", "'h;ls'")]
        {
            let error = of_flag("--host", list).unwrap_err();
            assert!(error.to_string().contains(says) && error.exit_status() == 2, "{list}: {error}");
        }
        assert!(of_lines("h1 0 all.q@h1 UNDEFINED").unwrap_err().starts_with("line 1: 0"));
        assert!(of_lines("h1\nh2 slots=-1\n").unwrap_err().starts_with("line 2"));
        assert!(of_file(Path::new("/nonexistent/hosts")).unwrap_err().to_string().contains("cannot be read"));
        assert!(of_file(Path::new("/dev/null")).unwrap_err().to_string().contains("no host"));
    }

    #[test]
    fn a_host_that_is_named_again_has_more_room() {
        let list = of_flag("--host", "h1,h2:3,h1").unwrap();
        assert_eq!(merged(&list), [host("h1", Some(2)), host("h2", Some(3))]);
    }
}
