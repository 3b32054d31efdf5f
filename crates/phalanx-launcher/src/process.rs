//! Ranks as processes: starting one, signalling its group, and finding what it leaves behind.
//!
//! How it is made sure that nothing survives the launcher:
//! - a rank has the death signal SIGKILL: it dies with the launcher, whatever kills it;
//! - the launcher is a subreaper: what a rank leaves behind becomes the launcher's child, and is ended with the job;
//! - a guard process ([`Guard`]), in a session of its own, notices when the launcher dies without saying so and kills
//!   every process that carries the job's mark in its environment: the descendants that have no death signal.
//!
//! A descendant that changes its environment before exec and its parent, under a launcher killed by SIGKILL, escapes.

use std::ffi::OsString;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use phalanx_wire::pulse::Pulse;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, Signal, WaitOptions};

use crate::leftovers::Leftovers;
use crate::sys;

/// Marks every process of a job, in its environment.
pub const JOB: &str = "PHALANX_JOB";

/// What a rank is started with.
pub(crate) struct Spawn<'a> {
    pub(crate) program: &'a Path,
    pub(crate) args: Vec<OsString>,
    /// Nothing of our own environment is passed on.
    pub(crate) bare: bool,
    pub(crate) env: Vec<(OsString, OsString)>,
    pub(crate) unset: &'a [&'a str],
    pub(crate) wdir: Option<&'a Path>,
    pub(crate) stdin: Stdin,
    pub(crate) files: Option<(PathBuf, PathBuf)>,
    /// Standard error goes where standard output goes.
    pub(crate) merge: bool,
    pub(crate) keep: Vec<BorrowedFd<'a>>,
    pub(crate) cpus: Vec<usize>,
    /// Whether it gets a session of its own, not only a group. Where nobody has made control groups, Linux shares a CPU
    /// out among the sessions that run there (`sched_autogroup`): ranks of one session, each on a CPU of its own, would get
    /// next to nothing of it beside a single other program. Ranks that share a CPU have to be of one session, since
    /// `sched_yield` chooses within one.
    pub(crate) session: bool,
}

impl Default for Spawn<'_> {
    fn default() -> Self {
        Self {
            program: Path::new(""),
            args: Vec::new(),
            bare: false,
            env: Vec::new(),
            unset: &[],
            wdir: None,
            stdin: Stdin::Null,
            files: None,
            merge: false,
            keep: Vec::new(),
            cpus: Vec::new(),
            session: false,
        }
    }
}

/// Where a rank reads its standard input from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Stdin {
    /// Nowhere.
    Null,
    /// Our own, directly: a file or a pipe needs nobody in between.
    Inherit,
    /// A pipe that the launcher fills: a terminal is readable by the foreground group only, which is ours.
    Pipe,
}

/// A started rank: its process and our ends of its pipes.
pub(crate) struct Started {
    pub(crate) pid: Pid,
    pub(crate) stdin: Option<OwnedFd>,
    pub(crate) stdout: Option<OwnedFd>,
    pub(crate) stderr: Option<OwnedFd>,
}

/// Starts a process in a group (or a session) of its own, tied to the life of this one.
pub(crate) fn start(spawn: Spawn<'_>) -> io::Result<Started> {
    let mut command = Command::new(spawn.program);
    if spawn.bare {
        command.env_clear();
    }
    for name in spawn.unset {
        command.env_remove(name);
    }
    command.args(spawn.args).envs(spawn.env);
    if !spawn.session {
        command.process_group(0);
    }
    if let Some(directory) = spawn.wdir {
        command.current_dir(directory);
    }
    command.stdin(match spawn.stdin {
        Stdin::Null => Stdio::null(),
        Stdin::Inherit => Stdio::inherit(),
        Stdin::Pipe => Stdio::piped(),
    });
    let mut merged = None;
    match spawn.files {
        Some((out, _)) if spawn.merge => {
            let file = std::fs::File::create(out)?;
            command.stderr(file.try_clone()?).stdout(file);
        }
        Some((out, err)) => {
            command.stdout(std::fs::File::create(out)?).stderr(std::fs::File::create(err)?);
        }
        None if spawn.merge => {
            let (ours, theirs) = io::pipe()?;
            command.stderr(theirs.try_clone()?).stdout(theirs);
            merged = Some(OwnedFd::from(ours));
        }
        None => {
            command.stdout(Stdio::piped()).stderr(Stdio::piped());
        }
    }
    let keep = spawn.keep.iter().map(|fd| fd.as_raw_fd()).collect();
    sys::before_exec(
        &mut command,
        sys::ChildSetup {
            keep,
            parent: rustix::process::getpid(),
            session: spawn.session,
            cpus: spawn.cpus,
            unblock: crate::signals::HANDLED,
        },
    );
    let mut child = command.spawn()?;
    // It holds our copies of what the child writes to: the end of a pipe comes when no writer is left.
    drop(command);
    let started = Started {
        pid: Pid::from_child(&child),
        stdin: child.stdin.take().map(OwnedFd::from),
        stdout: merged.or_else(|| child.stdout.take().map(OwnedFd::from)),
        stderr: child.stderr.take().map(OwnedFd::from),
    };
    for fd in [&started.stdin, &started.stdout, &started.stderr].into_iter().flatten() {
        nonblocking(fd)?;
    }
    Ok(started)
}

/// Makes reads and writes of a descriptor return instead of waiting.
pub(crate) fn nonblocking(fd: impl AsFd) -> io::Result<()> {
    let flags = rustix::fs::fcntl_getfl(&fd)?;
    rustix::fs::fcntl_setfl(&fd, flags | rustix::fs::OFlags::NONBLOCK)?;
    Ok(())
}

/// Sends a signal to the group of a rank that has not been reaped (so that the number is surely its own).
pub(crate) fn signal_group(leader: Pid, signal: Signal) {
    // A group whose members are all zombies answers ESRCH: nothing is left to be told.
    let _ = rustix::process::kill_process_group(leader, signal);
}

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// It exited with this status.
    Exit(i32),
    /// This signal killed it.
    Signal(i32),
}

/// Reaps one child that ended, if there is one. `Ok(None)`: children exist, none has ended; `Err`: no children.
pub(crate) fn reap() -> Result<Option<(Pid, Ended)>, rustix::io::Errno> {
    loop {
        match rustix::process::wait(WaitOptions::NOHANG) {
            Ok(Some((pid, status))) => {
                let ended = match (status.exit_status(), status.terminating_signal()) {
                    (Some(code), _) => Ended::Exit(code),
                    (None, Some(signal)) => Ended::Signal(signal),
                    (None, None) => continue,
                };
                return Ok(Some((pid, ended)));
            }
            Ok(None) => return Ok(None),
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error),
        }
    }
}

/// Makes processes whose parent dies our children, instead of init's.
pub(crate) fn adopt_orphans() -> io::Result<()> {
    // Any process number but none means "yes".
    Ok(rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?)
}

/// The living and unreaped children of this process.
pub(crate) fn own_children() -> Vec<Pid> {
    children(rustix::process::getpid())
}

/// Every living descendant of this process, parents before children.
pub(crate) fn descendants() -> Vec<Pid> {
    let mut found = Vec::new();
    let mut queue = vec![rustix::process::getpid()];
    while let Some(pid) = queue.pop() {
        for child in children(pid) {
            found.push(child);
            queue.push(child);
        }
    }
    found
}

fn children(pid: Pid) -> Vec<Pid> {
    let tasks = format!("/proc/{}/task", pid.as_raw_nonzero());
    let mut found = Vec::new();
    for task in std::fs::read_dir(tasks).into_iter().flatten().flatten() {
        let Ok(text) = std::fs::read_to_string(task.path().join("children")) else {
            return children_by_scan(pid);
        };
        found.extend(text.split_whitespace().filter_map(|word| word.parse().ok()).filter_map(Pid::from_raw));
    }
    found
}

/// The same for a kernel that does not list children: every process is asked for its parent.
fn children_by_scan(parent: Pid) -> Vec<Pid> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
        let pid = entry.file_name().to_str().and_then(|name| name.parse().ok()).and_then(Pid::from_raw);
        let text = std::fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
        // "pid (name) state ppid ...": the name may hold anything, so count from its end.
        let of = text.rsplit_once(')').and_then(|(_, rest)| rest.split_whitespace().nth(1)?.parse().ok());
        if of == Some(parent.as_raw_nonzero().get()) {
            found.extend(pid);
        }
    }
    found
}

/// The number of a process as `/proc` has it.
pub(crate) fn number(pid: Pid) -> u32 {
    pid.as_raw_nonzero().get().unsigned_abs()
}

/// Kills every descendant but `spare`. What they leave becomes our child, and the next call finds it.
pub(crate) fn kill_descendants(spare: Option<Pid>) {
    for pid in descendants() {
        if Some(pid) != spare {
            let _ = rustix::process::kill_process(pid, Signal::KILL);
        }
    }
}

/// The process that outlives a launcher killed by SIGKILL, just long enough to end what it left.
pub(crate) struct Guard {
    /// The guard, until it is known to have ended.
    pub(crate) pid: Option<Pid>,
    /// Closed by the kernel when we die, whatever the reason: that is what the guard waits for.
    alive: OwnedFd,
}

impl Guard {
    /// Starts the guard of the job with this mark, which removes the file `left`, too.
    pub(crate) fn start(mark: &str, left: Option<PathBuf>) -> io::Result<Self> {
        let (watched, alive) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
        let wanted = format!("{JOB}={mark}");
        let launcher = rustix::process::getpid();
        let mut kills = phalanx_shm::OomKills::watch();
        let modes = Modes::of_our_terminal();
        let terminal = modes.is_some().then(rustix::stdio::stdin);
        let pid = sys::fork_helper(watched.as_fd(), terminal, || {
            let (mut byte, mut is_lent) = ([0u8; 1], false);
            // A launcher that gives up has said why, and says so here; one that was killed says nothing.
            let was_killed = loop {
                match rustix::io::read(rustix::stdio::stdin(), &mut byte[..]) {
                    Err(rustix::io::Errno::INTR) => {}
                    Ok(1) if byte[0] == LENT || byte[0] == BACK => is_lent = byte[0] == LENT,
                    Ok(1) => break false,
                    _ => break true,
                }
            };
            if let Some(left) = left {
                let _ = std::fs::remove_file(left);
            }
            // Before a word is said: who reads it types at a shell, and not at the prompt of a rank.
            let is_starved = was_killed && kills.explain();
            kill_marked(wanted.as_bytes());
            if was_killed {
                if let Some(modes) = modes.filter(|_| is_lent) {
                    modes.restore();
                }
                crate::output::say(&killed(launcher, is_starved));
            }
        })?;
        Ok(Self { pid: Some(pid), alive })
    }

    /// Starts the guard of an agent: of the ranks of the job with this mark on this machine. It acts, too, when it is not
    /// told at each beat that the agent is there: a stopped one does not see that its launcher has given it up.
    pub(crate) fn of_agent(mark: &str, host: &str, every: Duration) -> io::Result<Self> {
        let (watched, alive) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
        // A guard that is stopped must not stop us.
        nonblocking(&alive)?;
        let wanted = format!("{JOB}={mark}");
        let agent = rustix::process::getpid();
        const STOPPED: &str = "does not respond";
        let limit = Timespec { tv_sec: every.as_secs().cast_signed(), tv_nsec: i64::from(every.subsec_nanos()) };
        let pid = sys::fork_helper(watched.as_fd(), None, || {
            let (mut bytes, mut pulse) = ([0u8; 64], Pulse::new(Instant::now(), every));
            let how = loop {
                let input = rustix::stdio::stdin();
                let mut fds = [PollFd::new(&input, PollFlags::IN)];
                match poll(&mut fds, Some(&limit)) {
                    Ok(0) => {
                        pulse.beat(Instant::now());
                        if pulse.is_lost() {
                            break STOPPED;
                        }
                    }
                    Ok(_) => match rustix::io::read(input, &mut bytes[..]) {
                        Ok(0) => break "was killed",
                        Ok(count) if bytes[..count].contains(&QUIET) => break "",
                        Ok(_) => pulse.heard(),
                        Err(rustix::io::Errno::INTR) => {}
                        Err(_) => break "was killed",
                    },
                    Err(rustix::io::Errno::INTR) => {}
                    Err(_) => break "was killed",
                }
            };
            if !how.is_empty() {
                crate::output::say(&format!(
                    "the agent there (pid {agent}) {how}; its ranks on {host} are killed, too"
                ));
            }
            // Its ranks end with the agent, and what they have mapped is to be seen before.
            kill_marked(wanted.as_bytes());
            if how == STOPPED && rustix::process::getppid() == Some(agent) {
                let _ = rustix::process::kill_process(agent, Signal::KILL);
                // It may not have stood still until now.
                kill_marked(wanted.as_bytes());
            }
        })?;
        Ok(Self { pid: Some(pid), alive })
    }

    /// Tells the guard of an agent that the agent is there.
    pub(crate) fn beat(&self) {
        let _ = rustix::io::write(&self.alive, &[BEAT]);
    }

    /// Ends the guard: the job is over, and nothing of it is left.
    pub(crate) fn retire(&mut self) {
        if let Some(pid) = self.pid.take() {
            let _ = rustix::process::kill_process(pid, Signal::KILL);
            while matches!(rustix::process::waitpid(Some(pid), WaitOptions::empty()), Err(rustix::io::Errno::INTR)) {}
        }
    }
}

impl Guard {
    /// Tells the guard whether a rank has the terminal, and may leave it in a state of its own.
    pub(crate) fn terminal_is_lent(&self, is_lent: bool) {
        let _ = rustix::io::write(&self.alive, &[if is_lent { LENT } else { BACK }]);
    }
}

/// What the guard is told.
const LENT: u8 = b'l';
const BACK: u8 = b'b';
const QUIET: u8 = b'q';
const BEAT: u8 = b'.';

/// How our terminal was when the job began.
struct Modes {
    modes: rustix::termios::Termios,
    /// The group that had it, and the process that gave it to that.
    group: Pid,
    shell: Pid,
}

impl Modes {
    fn of_our_terminal() -> Option<Self> {
        let modes = rustix::termios::tcgetattr(rustix::stdio::stdin()).ok()?;
        Some(Self { modes, group: rustix::process::getpgrp(), shell: rustix::process::getsid(None).ok()? })
    }

    /// Puts the modes back, in the guard, whose standard output the terminal is; unless a shell has done it: it takes the
    /// terminal away from our group first.
    fn restore(&self) {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.shell)).unwrap_or_default();
        // "pid (name) state ppid pgrp session tty tpgid ...": the name may hold anything, so count from its end.
        let group = stat.rsplit_once(')').and_then(|(_, rest)| rest.split_whitespace().nth(5)?.parse::<i32>().ok());
        if group.is_none_or(|group| group == self.group.as_raw_nonzero().get()) {
            let when = rustix::termios::OptionalActions::Now;
            let _ = rustix::termios::tcsetattr(rustix::stdio::stdout(), when, &self.modes);
        }
    }
}

impl Drop for Guard {
    /// Leaves the job to a guard that has not been retired: the launcher gives up, and has said why.
    fn drop(&mut self) {
        if self.pid.is_some() {
            let _ = rustix::io::write(&self.alive, &[QUIET]);
        }
    }
}

/// What is said for a launcher that was killed.
fn killed(launcher: Pid, starved: bool) -> String {
    let why = if starved { " for want of memory" } else { "" };
    format!("phalanx: the launcher of this job (pid {launcher}) was killed{why}; its ranks were killed, too")
}

/// Kills every process whose environment holds the entry `wanted`, until none is found any more.
fn kill_marked(wanted: &[u8]) {
    let this = rustix::process::getpid();
    for _ in 0..20 {
        let mut any = false;
        for entry in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
            let pid = entry.file_name().to_str().and_then(|name| name.parse().ok()).and_then(Pid::from_raw);
            let Some(pid) = pid.filter(|pid| *pid != this) else {
                continue;
            };
            let environment = std::fs::read(entry.path().join("environ")).unwrap_or_default();
            if environment.split(|byte| *byte == 0).any(|variable| variable == wanted) {
                any = true;
                Leftovers::default().before(Signal::KILL, [&pid]);
                let _ = rustix::process::kill_process(pid, Signal::KILL);
            }
        }
        if !any {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn children_are_found_both_ways() {
        let mut child = Command::new("sleep").arg("60").spawn().unwrap();
        let pid = Pid::from_child(&child);
        let this = rustix::process::getpid();
        let (listed, scanned) = (children(this), children_by_scan(this));
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(listed.contains(&pid) && scanned.contains(&pid), "{listed:?} {scanned:?}");
    }
}
