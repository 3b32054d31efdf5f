//! `--trace FILE` and `--report FILE`: the logs that ranks write while they run, and what is made of them when all have ended.

use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use phalanx_shm::Log;
use phalanx_shm::log::Clock;
use phalanx_trace::{End, Trace, perfetto};

use super::{Job, usable_cpus};
use crate::error::LaunchError;
use crate::process::Ended;
use crate::signals;

/// Bytes of a rank's log where nobody has said it: a million calls, or 300,000 of which none is like the one before.
pub(crate) const SIZE: usize = 32 << 20;

/// The descriptor of a rank's log, in its environment; empty for a rank that is not traced: a job may run in a rank that is.
pub(crate) const LOG: &str = "PHALANX_TRACE_FD";

/// What is to be made of the logs.
#[derive(Debug, Default, Clone)]
pub(crate) struct Wanted {
    /// The file for the timeline.
    pub(crate) timeline: Option<PathBuf>,
    /// The file for the report.
    pub(crate) report: Option<PathBuf>,
    /// Bytes of a rank's log.
    pub(crate) size: usize,
    /// The words of the command.
    pub(crate) command: Vec<String>,
}

impl Wanted {
    pub(crate) fn is_some(&self) -> bool {
        self.timeline.is_some() || self.report.is_some()
    }

    /// The files, with the flags that name them.
    pub(crate) fn files(&self) -> impl Iterator<Item = (&'static str, &Path)> {
        let files = [("--trace", &self.timeline), ("--report", &self.report)];
        files.into_iter().filter_map(|(flag, file)| Some((flag, file.as_deref()?)))
    }

    /// Looks, before the job runs, whether the files can be written.
    pub(crate) fn try_files(&self) -> Result<(), LaunchError> {
        for (flag, file) in self.files() {
            try_file(file).map_err(|error| {
                LaunchError::usage(format!("{flag} {}: cannot be written: {error}", file.display()))
            })?;
        }
        Ok(())
    }
}

fn try_file(file: &Path) -> io::Result<()> {
    // A pipe has to have its reader only when there is something to read.
    if std::fs::metadata(file).is_ok_and(|found| found.file_type().is_fifo()) {
        return Ok(());
    }
    OpenOptions::new().write(true).create(true).truncate(false).custom_flags(libc::O_NOCTTY).open(file).map(drop)
}

/// When a job began, by the clock of its logs and by others.
pub(super) struct Began {
    clock: Clock,
    at: u64,
    instant: Instant,
    unix: u64,
}

impl Began {
    pub(super) fn now() -> Began {
        let unix = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos() as u64);
        let clock = Clock::of_this_machine();
        Began { clock, at: clock.now(), instant: Instant::now(), unix }
    }

    pub(super) fn clock(&self) -> Clock {
        self.clock
    }
}

/// What is kept of a rank.
#[derive(Default)]
pub(super) struct Traced {
    log: Option<Log>,
    /// When it was found to have ended.
    pub(super) ended: u64,
}

impl Traced {
    /// What a rank needs in order to write, if it is to.
    pub(super) fn for_rank(wanted: &Wanted, clock: Clock, foreign: bool) -> Result<Traced, LaunchError> {
        if !wanted.is_some() || foreign {
            return Ok(Traced::default());
        }
        let refused = |error: phalanx_shm::ShmError| LaunchError::Segment {
            doing: "making the log of a rank",
            reason: error.to_string(),
        };
        Ok(Traced { log: Some(Log::create(wanted.size, clock).map_err(refused)?), ended: 0 })
    }

    pub(super) fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        self.log.as_ref().map(Log::fd)
    }

    pub(super) fn variable(&self) -> (OsString, OsString) {
        let value = self.descriptor().map(|descriptor| descriptor.as_raw_fd().to_string()).unwrap_or_default();
        (LOG.into(), value.into())
    }
}

impl Job {
    /// Makes of the logs what was asked for, and says what could not be done.
    pub(super) fn write_trace(&mut self) {
        if !self.manner.traced.is_some() {
            return;
        }
        let trace = self.trace();
        for (flag, file) in self.manner.traced.files().map(|(flag, file)| (flag, file.to_owned())).collect::<Vec<_>>() {
            let write: &dyn Fn(&Path) -> io::Result<()> = match flag {
                "--trace" => &|path| perfetto::write(&trace, path),
                _ => &|path| phalanx_trace::report::write(&trace, path).map_err(io::Error::other),
            };
            if let Err(error) = whole(&file, write) {
                self.say(&format!("phalanx: {flag} {}: cannot be written: {error}", file.display()));
            }
        }
        let losing: Vec<&phalanx_trace::Rank> = trace.ranks.iter().filter(|rank| rank.lost > 0).collect();
        if let Some(first) = losing.first() {
            let who = match losing.len() {
                1 => first.name.clone(),
                more => format!("{} and {} others", first.name, more - 1),
            };
            // What ranks write may be anything.
            let lost = losing.iter().fold(0u64, |sum, rank| sum.saturating_add(rank.lost));
            let mebibytes = self.manner.traced.size.div_ceil(1 << 20);
            self.say(&format!(
                "phalanx: the trace lacks {lost} calls of {who}: a rank has room for {mebibytes}M; \
                 give --trace-size {}M for more",
                mebibytes * 8
            ));
        }
    }

    fn trace(&self) -> Trace {
        let (ended, lasted) = (self.began.clock.now(), self.began.instant.elapsed());
        let logs: Vec<phalanx_trace::Log> = self
            .ranks
            .iter()
            .filter(|rank| !rank.discarded)
            .map(|rank| {
                let world = match rank.world {
                    0 => String::new(),
                    world => format!(" of spawned world {world}"),
                };
                let log = rank.traced.log.as_ref();
                phalanx_trace::Log {
                    name: format!("rank {}{world}", rank.rank),
                    pid: rank.number,
                    slot: rank.slot,
                    ended: if rank.traced.ended == 0 { ended } else { rank.traced.ended },
                    end: match rank.ended {
                        Some(Ended::Exit(0)) | None => End::Well,
                        Some(Ended::Exit(status)) => End::Badly(format!("exit status {status}")),
                        Some(Ended::Signal(signal)) => End::Badly(format!("killed by {}", signals::short_name(signal))),
                    },
                    words: log.map(Log::all).unwrap_or_default(),
                    lost: log.map_or(0, Log::lost),
                }
            })
            .collect();
        let job = phalanx_trace::Job {
            command: self.manner.traced.command.clone(),
            host: rustix::system::uname().nodename().to_string_lossy().into_owned(),
            cpus: u32::try_from(usable_cpus().len()).unwrap_or(0),
            began_unix_ns: self.began.unix,
            began: self.began.at,
            ended,
            lasted_ns: u64::try_from(lasted.as_nanos()).unwrap_or(u64::MAX),
        };
        phalanx_trace::read(job, &logs)
    }
}

/// Writes a file so that it is whole or as it was: beside it first, where that is possible and the file is an ordinary one.
fn whole(file: &Path, write: &dyn Fn(&Path) -> io::Result<()>) -> io::Result<()> {
    let is_ordinary = std::fs::symlink_metadata(file).map_or(true, |found| found.file_type().is_file());
    let beside = file.file_name().filter(|_| is_ordinary).map(|name| {
        let mut beside = OsString::from(".");
        beside.push(name);
        beside.push(format!(".{}", std::process::id()));
        file.with_file_name(beside)
    });
    let Some(beside) = beside.filter(|beside| File::create_new(beside).is_ok()) else { return write(file) };
    // Who may read it stays as it was.
    let modes = std::fs::metadata(file).map_or(Ok(()), |old| std::fs::set_permissions(&beside, old.permissions()));
    let done = modes.and_then(|()| write(&beside)).and_then(|()| std::fs::rename(&beside, file));
    if done.is_err() {
        let _ = std::fs::remove_file(&beside);
    }
    done
}

/// A number of bytes: `64M`.
pub(crate) fn bytes(source: &str, value: &std::ffi::OsStr) -> Result<usize, LaunchError> {
    let text = value.to_string_lossy();
    let (number, unit) = match text.char_indices().next_back() {
        Some((at, 'k' | 'K')) => (&text[..at], 1 << 10),
        Some((at, 'm' | 'M')) => (&text[..at], 1 << 20),
        Some((at, 'g' | 'G')) => (&text[..at], 1 << 30),
        _ => (&*text, 1),
    };
    // The numbers of granules have 32 bits.
    let most = 64_usize << 30;
    let found = number.parse::<usize>().ok().and_then(|number| number.checked_mul(unit));
    found
        .filter(|bytes| (1 << 16..=most).contains(bytes))
        .ok_or_else(|| LaunchError::usage(format!("{source}: '{text}' is not a size from 64K to 64G, as in 128M")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_units() {
        for (text, size) in [("64K", 64 << 10), ("128M", 128 << 20), ("1g", 1 << 30), ("100000", 100_000)] {
            assert_eq!(bytes("--trace-size", text.as_ref()).unwrap(), size, "{text}");
        }
        for text in ["", "M", "-1M", "1", "4K", "65G", "99999999999999999999", "1.5M", "10 M", "ü"] {
            let error = bytes("--trace-size", text.as_ref()).unwrap_err().to_string();
            assert!(error.contains("--trace-size") && error.contains("64K"), "{error}");
        }
    }

    #[test]
    fn a_file_is_written_whole_or_stays_as_it_was() {
        let directory = std::env::temp_dir().join(format!("phalanx-whole-{}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        let file = directory.join("a file");
        whole(&file, &|path| std::fs::write(path, "one")).unwrap();
        assert_eq!(std::fs::read(&file).unwrap(), b"one");
        let failing = |path: &Path| {
            std::fs::write(path, "half")?;
            Err(io::Error::other("no more"))
        };
        whole(&file, &failing).unwrap_err();
        assert_eq!(std::fs::read(&file).unwrap(), b"one");
        let left: Vec<_> = std::fs::read_dir(&directory).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(left, ["a file"]);
        std::fs::remove_dir_all(&directory).unwrap();
    }
}
