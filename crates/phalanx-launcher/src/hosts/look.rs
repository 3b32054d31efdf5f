//! What a machine has of what a job needs: looked at by the agent of each, and by the launcher for comparison.

use std::ffi::OsStr;
use std::fs::File;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::{Command, Stdio};

use phalanx_wire::agent::{Check, Found, Print};

use crate::job::usable_cpus;

/// Looks at this machine.
pub(crate) fn look(check: &Check) -> Found {
    let path = |bytes: &[u8]| Path::new(OsStr::from_bytes(bytes)).to_owned();
    let python = check.python.as_ref().map(|python| Version::ask(&path(&python.0)));
    let directory = std::env::set_current_dir(path(&check.directory.0)).map_err(|error| error.to_string());
    let files = check.files.iter().map(|file| print(&path(&file.0)).map_err(|error| error.to_string())).collect();
    Found {
        node: rustix::system::uname().nodename().to_string_lossy().into_owned(),
        cpus: u32::try_from(usable_cpus().len()).unwrap_or(u32::MAX),
        directory,
        python: python.map(|asked| asked.and_then(Version::answer)),
        files,
    }
}

/// A Python that was asked for its version, while other things are done.
struct Version(std::process::Child);

impl Version {
    fn ask(python: &Path) -> Result<Self, String> {
        let mut command = Command::new(python);
        // It says so before it becomes an interpreter, in a quarter of the time: all hosts wait for it.
        command.arg("-V");
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        command.spawn().map(Self).map_err(|error| error.to_string())
    }

    fn answer(mut self) -> Result<String, String> {
        let mut said = String::new();
        let read = self.0.stdout.take().map(|out| out.take(64).read_to_string(&mut said));
        let ended = self.0.wait();
        match (read, said.trim().strip_prefix("Python ")) {
            (Some(Ok(_)), Some(version)) => Ok(version.to_owned()),
            _ => Err(ended.map_or_else(|error| error.to_string(), |status| format!("it did not tell ({status})"))),
        }
    }
}

/// What tells a file's contents from others. A directory (a program made of several files) has none.
pub(crate) fn print(path: &Path) -> std::io::Result<Print> {
    if path.is_dir() {
        return hash(0, std::io::empty());
    }
    let file = File::open(path)?;
    hash(file.metadata()?.len(), file)
}

/// Bytes of a file that are read at once: a multiple of [`LANES`] words.
const PIECE: usize = 64 << 10;
/// Words that are mixed beside each other: a library has many megabytes, and a job waits for it.
const LANES: usize = 4;

/// A hash of contents, the same on every machine, with the number of bytes that were there. Nobody is to be fooled by it who wants
/// to be: it finds old copies.
fn hash(length: u64, mut contents: impl Read) -> std::io::Result<Print> {
    // Each step is a bijection of the state: what differs once stays different where the rest is the same.
    let mix = |state: u64, word: u64| {
        let product = (state ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        product ^ product >> 32
    };
    let mut lanes = [mix(0x5851_f42d_4c95_7f2d, length); LANES];
    let (mut piece, mut read) = (vec![0; PIECE], 0u64);
    loop {
        let mut filled = 0;
        while filled < PIECE {
            match contents.read(&mut piece[filled..]) {
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        read += filled as u64;
        // The end is filled up with zeros: its length is in the hash.
        let end = filled.next_multiple_of(LANES * 8);
        piece[filled..end].fill(0);
        for block in piece[..end].as_chunks::<8>().0.as_chunks::<LANES>().0 {
            for (lane, word) in lanes.iter_mut().zip(block) {
                *lane = mix(*lane, u64::from_le_bytes(*word));
            }
        }
        if filled < PIECE {
            break;
        }
    }
    Ok(Print { length: read, hash: lanes.into_iter().fold(read, mix) })
}

/// Whether a machine calls itself what it was called: user and domain do not count.
pub(crate) fn is_named(node: &str, host: &str) -> bool {
    fn short(name: &str) -> &str {
        name.rsplit('@').next().unwrap_or(name).split('.').next().unwrap_or(name)
    }
    short(node) == short(host)
}

/// How another machine differs from this one, in words that follow its name; none, if it does not.
pub(crate) fn differences(check: &Check, here: &Found, there: &Found) -> Vec<String> {
    let mut found = Vec::new();
    let name = |bytes: &[u8]| phalanx_waits::tame(String::from_utf8_lossy(bytes).into_owned());
    if let Err(problem) = &there.directory {
        found.push(format!("the directory {} cannot be entered there: {problem}", name(&check.directory.0)));
    }
    match (&check.python, &here.python, &there.python) {
        (Some(path), _, Some(Err(problem))) => {
            found.push(format!("the Python {} cannot be run there: {problem}", name(&path.0)));
        }
        (Some(path), Some(Ok(ours)), Some(Ok(theirs))) if ours != theirs => {
            found.push(format!("Python is {theirs} there, and {ours} here ({})", name(&path.0)));
        }
        _ => {}
    }
    for ((path, ours), theirs) in check.files.iter().zip(&here.files).zip(&there.files) {
        let path = name(&path.0);
        match (ours, theirs) {
            (_, Err(problem)) => found.push(format!("{path} cannot be read there: {problem}")),
            (Ok(ours), Ok(theirs)) if ours.length != theirs.length => {
                found.push(format!("{path} has {} bytes there, and {} here", theirs.length, ours.length));
            }
            (Ok(ours), Ok(theirs)) if ours != theirs => {
                found.push(format!("{path} has other contents there than here"));
            }
            _ => {}
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use phalanx_wire::agent::Bytes;

    use super::*;

    #[test]
    fn contents_are_told_apart() {
        let long = |at: usize| {
            let mut bytes = vec![0; PIECE + 100];
            bytes[at] = 1;
            bytes
        };
        let (zeros, first, middle, last) = (vec![0; PIECE + 100], long(0), long(PIECE - 9), long(PIECE + 99));
        let all = [&b""[..], b"a", b"a\0", b"b", b"12345678", b"123456780", b"123456789", &[0; 16], &[0; 24]];
        let all = all.into_iter().chain([&zeros[..], &first, &middle, &last, &zeros[..PIECE]]);
        let all: Vec<&[u8]> = all.collect();
        let prints = all.iter().map(|bytes| hash(bytes.len() as u64, *bytes).unwrap());
        let mut hashes: Vec<u64> = prints.map(|print| print.hash).collect();
        hashes.sort_unstable();
        hashes.dedup();
        assert_eq!(hashes.len(), all.len());
    }

    #[test]
    fn what_differs_is_named() {
        let check = Check {
            host: "h".into(),
            mark: String::new(),
            directory: Bytes(b"/".to_vec()),
            python: Some(Bytes(b"/bin/python3".to_vec())),
            files: vec![Bytes(b"/etc/passwd".to_vec()), Bytes(b"/nonexistent".to_vec())],
            beat: 1000,
        };
        let here = look(&check);
        assert_eq!(here.directory, Ok(()));
        assert!(here.files[0].is_ok() && here.files[1].is_err());
        let mut there = here.clone();
        there.python = Some(Ok("2.7.18".into()));
        there.directory = Err("Permission denied".into());
        there.files[0] = Ok(Print { length: 1, hash: 1 });
        let here = Found { python: Some(Ok("3.11.2".into())), ..here };
        let said = differences(&check, &here, &there);
        for (line, words) in said.iter().zip(["Permission denied", "2.7.18 there", "1 bytes there", "/nonexistent"]) {
            assert!(line.contains(words), "{said:?}");
        }
        assert_eq!(said.len(), 4);
    }
}
