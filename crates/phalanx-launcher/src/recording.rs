//! `--record FILE` and `--replay FILE`: the file, before a job starts.

use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use phalanx_replay::{Damage, Header};

use crate::cli::{RunOptions, Target};
use crate::error::LaunchError;
use crate::output;

/// For ranks: the file that decisions are recorded in.
const RECORD: &str = "PHALANX_RECORD";
/// For ranks: the file whose decisions are repeated.
const REPLAY: &str = "PHALANX_REPLAY";

/// More of a command than is shown.
const SHOWN: usize = 60;

/// What is recorded, or repeated.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Recording {
    /// Nothing.
    #[default]
    None,
    /// This file is written.
    Record(PathBuf),
    /// This file is repeated.
    Replay(PathBuf),
}

impl Recording {
    /// What was asked for; a file to be written has its header after this.
    ///
    /// # Errors
    /// When the file cannot be written, or cannot be replayed by this job.
    pub(crate) fn prepare(options: &RunOptions, ranks: u32, is_foreign: bool) -> Result<Recording, LaunchError> {
        let (flag, file) = match (&options.record, &options.replay) {
            (None, None) => return Ok(Recording::None),
            (Some(_), Some(_)) => {
                return Err(LaunchError::usage("--record and --replay: a job is recorded or replayed, not both"));
            }
            (Some(file), None) => ("--record", file),
            (None, Some(file)) => ("--replay", file),
        };
        if is_foreign {
            return Err(LaunchError::usage(format!(
                "{flag}: the ranks use another MPI library, whose receives cannot be recorded"
            )));
        }
        if options.keep_going {
            return Err(LaunchError::usage(format!(
                "{flag} with --keep-going: when the others learn of a rank that failed is not recorded"
            )));
        }
        // Ranks may start in other directories.
        let file = std::path::absolute(file).map_err(|e| failed(flag, file, e))?;
        let command = command(options);
        match flag {
            "--record" => begin(&file, &Header::new(ranks, &command)).map(|()| Recording::Record(file)),
            _ => compare(&file, ranks, &command).map(|()| Recording::Replay(file)),
        }
    }

    /// What ranks are told. Always said: a job inside a rank of another one is not of that one's recording.
    pub(crate) fn variables(&self) -> [(OsString, OsString); 2] {
        let (record, replay) = match self {
            Recording::None => (OsString::new(), OsString::new()),
            Recording::Record(file) => (file.into(), OsString::new()),
            Recording::Replay(file) => (OsString::new(), file.into()),
        };
        [(RECORD.into(), record), (REPLAY.into(), replay)]
    }
}

fn failed(flag: &str, file: &Path, why: std::io::Error) -> LaunchError {
    LaunchError::system(format!("{flag} {}", file.display()), why)
}

/// What is run, for people.
fn command(options: &RunOptions) -> String {
    let app = |app: &crate::cli::App| {
        let mut words = match &app.target {
            Target::Program(name) => vec![name.to_string_lossy().into_owned()],
            Target::Module(name) => vec![format!("-m {}", name.to_string_lossy())],
        };
        words.extend(app.args.iter().map(|arg| arg.to_string_lossy().into_owned()));
        words.join(" ")
    };
    options.apps.iter().map(app).collect::<Vec<_>>().join(" : ")
}

/// Begins a file. One that is there and is no recording is left alone.
fn begin(file: &Path, header: &Header) -> Result<(), LaunchError> {
    let system = |e| failed("--record", file, e);
    // One that ranks cannot write to as well is of no use: no pipe, no device. (Opening a pipe must not wait.)
    let open = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .custom_flags(libc::O_NONBLOCK)
        .open(file);
    let mut opened = open.map_err(system)?;
    let metadata = opened.metadata().map_err(system)?;
    if !metadata.is_file() {
        return Err(LaunchError::usage(format!(
            "--record: '{}' is no file that can be written anywhere",
            file.display()
        )));
    }
    let mut first = Vec::new();
    Read::by_ref(&mut opened).take(64).read_to_end(&mut first).map_err(system)?;
    if !first.is_empty() && !Header::is_of_a_recording(&first) {
        return Err(LaunchError::usage(format!(
            "--record: '{}' is there, and is no recording; name another file, or remove it",
            file.display()
        )));
    }
    // A job that still writes to the one before goes on with that.
    if !first.is_empty() {
        std::fs::remove_file(file).map_err(system)?;
        opened = OpenOptions::new().write(true).create_new(true).open(file).map_err(system)?;
    }
    opened.write_all(&header.encode()).map_err(system)
}

/// Looks whether a file is a recording of such a job.
fn compare(file: &Path, ranks: u32, command: &str) -> Result<(), LaunchError> {
    let refused = |why: &dyn std::fmt::Display| LaunchError::usage(format!("--replay: '{}': {why}", file.display()));
    let system = |e: std::io::Error| match e.kind() {
        ErrorKind::NotFound => refused(&"there is no such file; 'phalanx run --record FILE' makes one"),
        _ => failed("--replay", file, e),
    };
    let opened = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(file).map_err(system)?;
    if !opened.metadata().map_err(system)?.is_file() {
        return Err(refused(&"it is no file"));
    }
    let header = header(opened).map_err(system)?.map_err(|damage| refused(&damage))?;
    if header.version != env!("CARGO_PKG_VERSION") {
        return Err(refused(&format!(
            "it was recorded by Phalanx {}, and this is {}, which may decide other things",
            shown(&header.version),
            env!("CARGO_PKG_VERSION")
        )));
    }
    if header.ranks != ranks {
        return Err(refused(&format!("it was recorded with {} ranks, and this job has {ranks}", header.ranks)));
    }
    if header.command != Header::new(ranks, command).command {
        output::say(&format!(
            "phalanx run: warning: --replay: recorded was '{}', and this is '{}'",
            shown(&header.command),
            shown(command)
        ));
    }
    Ok(())
}

fn header(mut file: File) -> std::io::Result<Result<Header, Damage>> {
    let mut block = Vec::new();
    Read::by_ref(&mut file).take(4096).read_to_end(&mut block)?;
    Ok(Header::decode(&block))
}

/// As much of a text from a file as a terminal should see.
fn shown(text: &str) -> String {
    phalanx_waits::cut(&phalanx_waits::tame(text.replace('\n', " ")), SHOWN)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scratch(name: &str) -> PathBuf {
        std::env::temp_dir().join(format!("phalanx-recording-{}-{name}", std::process::id()))
    }

    #[test]
    fn only_recordings_are_written_over() {
        let file = scratch("over");
        std::fs::write(&file, "my results").expect("it can be written");
        let said = begin(&file, &Header::new(2, "a.py")).expect_err("it is somebody's").to_string();
        assert!(said.contains("no recording"), "{said}");
        assert_eq!(std::fs::read(&file).expect("it is there"), b"my results");
        std::fs::write(&file, "").expect("it can be written");
        for ranks in [2, 3] {
            begin(&file, &Header::new(ranks, "a.py")).expect("it is a recording");
            compare(&file, ranks, "a.py").expect("it is this job's");
        }
        let said = compare(&file, 2, "a.py").expect_err("it has three").to_string();
        assert!(said.contains("3 ranks, and this job has 2"), "{said}");
        std::fs::remove_file(&file).expect("it is there");
        assert!(compare(&file, 2, "a.py").is_err());
    }
}
