//! Starting the agents of all hosts, and comparing what they find with what is here, before anything runs.

use std::ffi::OsString;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use phalanx_wire::agent::{Bytes, Check, Found, Order, Report};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::channel::{Channel, Heard, Shell};
use super::layout::Layout;
use super::{list, look};
use crate::cli;
use crate::error::LaunchError;
use crate::install;

/// The command of a remote shell, where no flag says it.
pub(crate) const SSH: &str = "PHALANX_SSH";
/// The same where nobody says it: a question for a password would wait for ever.
const DEFAULT_SSH: &str = "ssh -o BatchMode=yes -o ConnectTimeout=10";
/// Seconds from one heartbeat to the next.
pub(crate) const HEARTBEAT: &str = "PHALANX_HEARTBEAT";
/// Agents have so long to answer.
const PATIENCE: Duration = Duration::from_secs(30);
/// Problems that are told.
const MOST: usize = 8;

/// From one heartbeat between machines to the next.
///
/// # Errors
/// When what the environment says is no number of seconds.
pub(crate) fn heartbeat() -> Result<Duration, LaunchError> {
    match std::env::var_os(HEARTBEAT) {
        Some(value) if !value.is_empty() => cli::seconds(HEARTBEAT, &value),
        _ => Ok(phalanx_wire::pulse::EVERY),
    }
}

/// The agents of a job, in the order of its hosts, and what they have found.
pub(crate) struct Agents {
    pub(crate) hosts: Vec<(String, Channel, Found)>,
    pub(crate) layout: Layout,
}

/// What is to be the same on all machines.
pub(crate) struct Needs {
    pub(crate) python: Option<PathBuf>,
    pub(crate) files: Vec<PathBuf>,
}

/// How agents are started.
pub(crate) fn shell(layout: &Layout, flag: Option<&OsString>) -> Result<Shell, LaunchError> {
    if layout.by_slurm && flag.is_none() {
        return Ok(Shell::Slurm);
    }
    let text = flag.cloned().or_else(|| std::env::var_os(SSH).filter(|text| !text.is_empty()));
    let text = text.unwrap_or_else(|| DEFAULT_SSH.into()).to_string_lossy().into_owned();
    let words: Vec<OsString> = text.split_whitespace().map(OsString::from).collect();
    if words.is_empty() {
        return Err(LaunchError::usage("--ssh: give a command, as 'ssh -p 2222'"));
    }
    Ok(Shell::Remote(words))
}

/// A host, its agent, and what that has answered.
type Waiting = (String, Channel, Option<Result<Found, String>>);

/// Agents that have been started, and look around.
pub(crate) struct Connecting {
    layout: Layout,
    check: Check,
    here: Found,
    waiting: Vec<Waiting>,
    beat: Duration,
}

/// Starts the agents and has them look around: there is time for other things until [`Connecting::finish`].
///
/// # Errors
/// When a remote shell cannot be started.
pub(crate) fn connect(layout: Layout, shell: &Shell, mark: &str, needs: &Needs) -> Result<Connecting, LaunchError> {
    let exe = install::executable().ok_or_else(|| LaunchError::Install("this binary cannot find itself".to_owned()))?;
    let beat = heartbeat()?;
    let bytes = |path: &Path| Bytes(path.as_os_str().to_owned().into_vec());
    let directory = std::env::current_dir().map_err(|e| LaunchError::system("the current directory", e))?;
    let check = Check {
        host: String::new(),
        mark: mark.to_owned(),
        directory: bytes(&directory),
        python: needs.python.as_deref().map(bytes),
        files: needs.files.iter().map(|file| bytes(file)).collect(),
        beat: u32::try_from(beat.as_millis()).unwrap_or(u32::MAX),
    };
    let mut waiting: Vec<Waiting> = Vec::new();
    for (host, _) in &layout.hosts {
        let mut channel = Channel::start(host, list::is_here(host), shell, &exe, beat)?;
        channel.send(&Order::Check(Check { host: host.clone(), ..check.clone() }));
        waiting.push((host.clone(), channel, None));
    }
    let here = look::look(&check);
    Ok(Connecting { layout, check, here, waiting, beat })
}

/// What came of the agent of a host.
pub(crate) struct Answer {
    pub(crate) host: String,
    pub(crate) channel: Channel,
    /// What it has found, or in which ways the host cannot be used.
    pub(crate) found: Result<Found, Vec<String>>,
}

impl Connecting {
    /// What has come of each host, when all have looked around.
    pub(crate) fn answers(&mut self) -> Vec<Answer> {
        let mut waiting = std::mem::take(&mut self.waiting);
        hear_all(&mut waiting, self.beat);
        let answer = |(host, channel, answer): Waiting| {
            let found = match answer.unwrap_or_else(|| Err(format!("no answer within {} s", PATIENCE.as_secs()))) {
                Ok(found) => {
                    let version = channel.reader.version().unwrap_or_default();
                    let ours = env!("CARGO_PKG_VERSION");
                    let differs = (version != ours).then(|| format!("Phalanx is {version} there, and {ours} here"));
                    let differs = differs.into_iter().chain(look::differences(&self.check, &self.here, &found));
                    let differs: Vec<String> = differs.collect();
                    if differs.is_empty() { Ok(found) } else { Err(differs) }
                }
                Err(problem) => Err(vec![problem]),
            };
            Answer { host, channel, found }
        };
        waiting.into_iter().map(answer).collect()
    }

    /// The agents, when all have looked around.
    ///
    /// # Errors
    /// One message that says of each host that cannot be reached, or differs from this machine, why.
    pub(crate) fn finish(mut self) -> Result<Agents, LaunchError> {
        let (mut problems, mut hosts, mut unused) = (Vec::new(), Vec::new(), Vec::new());
        for Answer { host, channel, found } in self.answers() {
            match found {
                Ok(found) => hosts.push((host, channel, found)),
                Err(those) => {
                    problems.extend(those.into_iter().map(|what| format!("host {host}: {what}")));
                    unused.push(channel);
                }
            }
        }
        if problems.is_empty() {
            return Ok(Agents { hosts, layout: self.layout });
        }
        for channel in unused.iter().chain(hosts.iter().map(|(_, channel, _)| channel)) {
            channel.kill();
            channel.reap();
        }
        let more = problems.len().saturating_sub(MOST);
        problems.truncate(MOST);
        if more > 0 {
            problems.push(format!("and {more} more"));
        }
        Err(LaunchError::Hosts(match &problems[..] {
            [problem] => problem.clone(),
            _ => format!("nothing was started:\n  {}", problems.join("\n  ")),
        }))
    }
}

/// Reads what agents answer, until all have, or it has taken too long. Those that have answered hear that we are there.
fn hear_all(waiting: &mut [Waiting], beat: Duration) {
    let until = Instant::now() + PATIENCE;
    let mut scratch = vec![0; 64 * 1024];
    loop {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() || waiting.iter().all(|(_, _, answer)| answer.is_some()) {
            return;
        }
        let mut watched = Vec::new();
        for (at, (_, channel, answer)) in waiting.iter().enumerate() {
            if matches!(answer, Some(Err(_))) {
                continue;
            }
            watched.push((at, PollFd::from_borrowed_fd(channel.output.as_fd(), PollFlags::IN)));
            if let Some(errors) = &channel.errors {
                watched.push((at, PollFd::from_borrowed_fd(errors.as_fd(), PollFlags::IN)));
            }
            if let Some(input) = channel.input.as_ref().filter(|_| channel.is_waiting()) {
                watched.push((at, PollFd::from_borrowed_fd(input.as_fd(), PollFlags::OUT)));
            }
        }
        let (at, mut polled): (Vec<usize>, Vec<PollFd<'_>>) = watched.into_iter().unzip();
        let limit = left.min(beat);
        let limit = Timespec { tv_sec: limit.as_secs().cast_signed(), tv_nsec: i64::from(limit.subsec_nanos()) };
        let _ = poll(&mut polled, Some(&limit));
        let mut ready: Vec<usize> =
            at.into_iter().zip(&polled).filter(|(_, fd)| !fd.revents().is_empty()).map(|(at, _)| at).collect();
        drop(polled);
        ready.dedup();
        for (_, channel, _) in waiting.iter_mut() {
            if channel.pulse.beat(Instant::now()) {
                channel.send(&Order::Beat);
            }
        }
        for at in ready {
            let (_, channel, answer) = &mut waiting[at];
            channel.flush();
            channel.hear_errors(&mut scratch);
            match channel.hear(&mut scratch) {
                Heard::Reports(reports) => {
                    for report in reports {
                        if let Report::Found(found) = report {
                            *answer = Some(Ok(found));
                        }
                    }
                }
                Heard::End(why) => *answer = Some(Err(explained(channel, why))),
            }
        }
    }
}

/// Why an agent could not be started, with what came instead of its greeting.
fn explained(channel: &Channel, why: String) -> String {
    if channel.reader.version().is_some() || channel.reader.noise().is_empty() {
        return why;
    }
    let noise = String::from_utf8_lossy(channel.reader.noise());
    let line: String =
        noise.lines().rfind(|line| !line.trim().is_empty()).unwrap_or_default().chars().take(200).collect();
    format!("{why} (it printed: {})", phalanx_waits::tame(line.trim().to_owned()))
}
