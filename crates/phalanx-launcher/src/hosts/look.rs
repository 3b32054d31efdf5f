//! What a machine has of what a job needs: looked at by the agent of each, and by the launcher for comparison.

use std::ffi::OsStr;
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
        command.args(["-I", "-S", "-c", "import sys; print('%d.%d.%d' % sys.version_info[:3])"]);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        command.spawn().map(Self).map_err(|error| error.to_string())
    }

    fn answer(mut self) -> Result<String, String> {
        let mut said = String::new();
        let read = self.0.stdout.take().map(|out| out.take(64).read_to_string(&mut said));
        let ended = self.0.wait();
        match (read, said.trim()) {
            (Some(Ok(_)), version) if !version.is_empty() => Ok(version.to_owned()),
            _ => Err(ended.map_or_else(|error| error.to_string(), |status| format!("it did not tell ({status})"))),
        }
    }
}

/// What tells a file's contents from others. A directory (a program made of several files) has none.
pub(crate) fn print(path: &Path) -> std::io::Result<Print> {
    let contents = if path.is_dir() { Vec::new() } else { std::fs::read(path)? };
    Ok(Print { length: contents.len() as u64, hash: hash(&contents) })
}

/// A hash of contents, the same on every machine. Nobody is to be fooled by it who wants to be: it finds old copies.
fn hash(bytes: &[u8]) -> u64 {
    // Each step is a bijection of the state: what differs once stays different where the rest is the same.
    let mix = |state: u64, word: [u8; 8]| {
        let product = (state ^ u64::from_le_bytes(word)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        product ^ product >> 32
    };
    let (words, rest) = bytes.as_chunks::<8>();
    let mut last = [0; 8];
    last[..rest.len()].copy_from_slice(rest);
    let start = mix(0x5851_f42d_4c95_7f2d, (bytes.len() as u64).to_le_bytes());
    let state = words.iter().fold(start, |state, word| mix(state, *word));
    mix(mix(state, last), [0xa5; 8])
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
        let all = [&b""[..], b"a", b"a\0", b"b", b"12345678", b"123456780", b"123456789", &[0; 16], &[0; 24]];
        let mut hashes: Vec<u64> = all.iter().map(|bytes| hash(bytes)).collect();
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
