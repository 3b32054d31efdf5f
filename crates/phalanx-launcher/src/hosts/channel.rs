//! An agent, and the two streams to it: standard input and output of the remote shell that has started it.

use std::ffi::OsString;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::{Duration, Instant};

use phalanx_wire::agent::{Order, Report};
use phalanx_wire::frame::{Reader, Writer};
use phalanx_wire::pulse::Pulse;
use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitOptions};

use crate::error::LaunchError;
use crate::process::{self, Spawn, Stdin};

/// Of what a remote shell says, so many bytes are kept.
const SAID: usize = 2000;

/// How agents are started.
#[derive(Clone, Debug)]
pub(crate) enum Shell {
    /// By a remote shell: a command to which the host and a command line are added.
    Remote(Vec<OsString>),
    /// By a step of Slurm's on that node.
    Slurm,
}

/// A running agent.
pub(crate) struct Channel {
    /// The remote shell, or the agent itself on this machine.
    pub(crate) pid: Pid,
    /// What it reads from us; closed when there is no more to say.
    pub(crate) input: Option<OwnedFd>,
    /// What we read from it.
    pub(crate) output: OwnedFd,
    /// What the remote shell says, and the agent when it can say it nowhere else.
    pub(crate) errors: Option<OwnedFd>,
    pub(crate) reader: Reader,
    writer: Writer,
    pub(crate) pulse: Pulse,
    /// The end of what has come by `errors`.
    said: Vec<u8>,
}

/// What reading came to.
pub(crate) enum Heard {
    /// Messages, maybe none.
    Reports(Vec<Report>),
    /// The other end has closed, or cannot be understood: why, in words.
    End(String),
}

impl Channel {
    /// Starts the agent of a host.
    ///
    /// # Errors
    /// When the remote shell cannot be started.
    pub(crate) fn start(
        host: &str,
        is_here: bool,
        shell: &Shell,
        exe: &Path,
        beat: Duration,
    ) -> Result<Self, LaunchError> {
        let words = command(host, is_here, shell, exe);
        let search = std::env::var_os("PATH").unwrap_or_default();
        let missing = || LaunchError::NotFound {
            what: "program",
            path: words[0].clone().into(),
            hint: ": it is to start what runs on other machines (--ssh COMMAND, PHALANX_SSH)".to_owned(),
        };
        let program = match words[0].as_encoded_bytes().contains(&b'/') {
            true => words[0].clone().into(),
            false => crate::install::find_on_path(&words[0], &search).ok_or_else(missing)?,
        };
        let started = process::start(Spawn {
            program: &program,
            args: words[1..].to_vec(),
            // Slurm's own commands go by these as by flags, and they were meant for the ranks.
            unset: if matches!(shell, Shell::Slurm) { STEP } else { &[] },
            stdin: Stdin::Pipe,
            // Of a session of its own: what is typed at the terminal is for us.
            session: true,
            ..Spawn::default()
        })
        .map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => missing(),
            _ => LaunchError::system(format!("starting {}", program.display()), error),
        })?;
        let (Some(input), Some(output)) = (started.stdin, started.stdout) else {
            return Err(LaunchError::usage("the agent has no standard streams"));
        };
        let now = Instant::now();
        Ok(Self {
            pid: started.pid,
            input: Some(input),
            output,
            errors: started.stderr,
            reader: Reader::new(),
            writer: Writer::new(env!("CARGO_PKG_VERSION")),
            pulse: Pulse::new(now, beat),
            said: Vec::new(),
        })
    }

    /// Sends a message, or keeps it until there is room.
    pub(crate) fn send(&mut self, order: &Order) {
        if self.input.is_some() && self.writer.push(order).is_ok() {
            self.flush();
        }
    }

    /// Writes what waits, as far as there is room.
    pub(crate) fn flush(&mut self) {
        while let Some(input) = &self.input
            && !self.writer.unsent().is_empty()
        {
            match rustix::io::write(input, self.writer.unsent()) {
                Ok(count) => self.writer.sent(count),
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return,
                // Whoever reads no more has ended, which is heard at the other stream.
                Err(_) => self.input = None,
            }
        }
    }

    /// Whether something waits to be written.
    pub(crate) fn is_waiting(&self) -> bool {
        self.input.is_some() && !self.writer.unsent().is_empty()
    }

    /// Reads what has come.
    pub(crate) fn hear(&mut self, scratch: &mut [u8]) -> Heard {
        let mut reports = Vec::new();
        // Others want to be heard as well.
        for _ in 0..8 {
            match rustix::io::read(&self.output, &mut *scratch) {
                Ok(0) if reports.is_empty() => return Heard::End(self.farewell()),
                Ok(0) | Err(Errno::AGAIN) => break,
                Ok(count) => {
                    self.pulse.heard();
                    self.reader.take(&scratch[..count]);
                    loop {
                        match self.reader.read() {
                            Ok(Some(report)) => reports.push(report),
                            Ok(None) => break,
                            Err(error) => return Heard::End(error.to_string()),
                        }
                    }
                }
                Err(Errno::INTR) => {}
                Err(error) => return Heard::End(error.to_string()),
            }
        }
        Heard::Reports(reports)
    }

    /// Reads what the remote shell says; gives whole lines.
    pub(crate) fn hear_errors(&mut self, scratch: &mut [u8]) {
        while let Some(errors) = &self.errors {
            match rustix::io::read(errors, &mut *scratch) {
                Ok(0) => self.errors = None,
                Ok(count) => {
                    self.said.extend_from_slice(&scratch[..count]);
                    let much = self.said.len().saturating_sub(SAID);
                    self.said.drain(..much);
                }
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return,
                Err(_) => self.errors = None,
            }
        }
    }

    /// What the remote shell has said, in one line, once.
    pub(crate) fn take_said(&mut self) -> String {
        let said = std::mem::take(&mut self.said);
        let text = String::from_utf8_lossy(&said);
        let lines: Vec<String> = text
            .lines()
            .map(str::trim)
            .filter(|line| !line.is_empty())
            .map(|l| phalanx_waits::tame(l.to_owned()))
            .collect();
        lines.join("; ")
    }

    /// Why a stream ended, as far as the remote shell says it.
    fn farewell(&mut self) -> String {
        let mut status = None;
        // A process closes its streams a moment before it has ended.
        for _ in 0..20 {
            match rustix::process::waitid(rustix::process::WaitId::Pid(self.pid), WAIT) {
                Ok(None) => std::thread::sleep(Duration::from_millis(5)),
                Ok(Some(ended)) => {
                    status = ended.exit_status();
                    break;
                }
                Err(_) => break,
            }
        }
        self.hear_errors(&mut [0; 4096]);
        let said = self.take_said();
        match (said.is_empty(), status) {
            (false, _) => said,
            (true, Some(status)) => format!("its connection ended (status {status})"),
            (true, None) => "its connection ended".to_owned(),
        }
    }

    /// Ends the remote shell, if it has not ended.
    pub(crate) fn kill(&self) {
        let _ = rustix::process::kill_process(self.pid, Signal::KILL);
    }

    /// Waits for the killed remote shell.
    pub(crate) fn reap(&self) {
        while matches!(rustix::process::waitpid(Some(self.pid), WaitOptions::empty()), Err(Errno::INTR)) {}
    }
}

const WAIT: rustix::process::WaitIdOptions = rustix::process::WaitIdOptions::EXITED
    .union(rustix::process::WaitIdOptions::NOHANG)
    .union(rustix::process::WaitIdOptions::NOWAIT);

/// Variables that tell `srun` what the ranks are to get, which a step of one agent is not.
const STEP: &[&str] = &[
    "SLURM_NTASKS",
    "SLURM_NPROCS",
    "SLURM_NTASKS_PER_NODE",
    "SLURM_NTASKS_PER_CORE",
    "SLURM_NTASKS_PER_SOCKET",
    "SLURM_TASKS_PER_NODE",
    "SLURM_CPUS_PER_TASK",
    "SLURM_TRES_PER_TASK",
    "SLURM_DISTRIBUTION",
    "SLURM_CPU_BIND",
    "SLURM_EXACT",
    "SLURM_EXCLUSIVE",
    "SLURM_EXPORT_ENV",
    "SLURM_LABELIO",
    "SLURM_NNODES",
    "SLURM_STDINMODE",
    "SLURM_STDOUTMODE",
    "SLURM_STDERRMODE",
    "SLURM_TIMELIMIT",
    "SLURM_WAIT",
];

fn command(host: &str, is_here: bool, shell: &Shell, exe: &Path) -> Vec<OsString> {
    let agent = ["agent"].map(OsString::from);
    match shell {
        _ if is_here => std::iter::once(exe.into()).chain(agent).collect(),
        Shell::Remote(words) => {
            let line = format!("exec {} agent", quoted(&exe.to_string_lossy()));
            words.iter().cloned().chain([host.into(), line.into()]).collect()
        }
        Shell::Slurm => {
            let node = format!("--nodelist={host}");
            let flags =
                ["--nodes=1", "--ntasks=1", "--overlap", "--mpi=none", "--cpu-bind=none", "--unbuffered", "--quiet"];
            let words = ["srun"].into_iter().chain(flags).map(OsString::from);
            words.chain([OsString::from("--export=ALL"), node.into(), exe.into()]).chain(agent).collect()
        }
    }
}

/// A word for a POSIX shell.
fn quoted(word: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/._-+=@%".contains(c);
    if word.chars().all(is_plain) { word.to_owned() } else { format!("'{}'", word.replace('\'', r"'\''")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_remote_shell_gets_one_command_line() {
        let shell = Shell::Remote(vec!["ssh".into(), "-x".into()]);
        let words = command("h1", false, &shell, Path::new("/opt/it's/phalanx"));
        assert_eq!(words, ["ssh", "-x", "h1", r"exec '/opt/it'\''s/phalanx' agent"]);
        assert_eq!(command("h1", true, &shell, Path::new("/p")), ["/p", "agent"]);
        let words = command("h1", false, &Shell::Slurm, Path::new("/p"));
        assert!(words.contains(&"--nodelist=h1".into()) && words.ends_with(&["/p".into(), "agent".into()]));
    }
}
