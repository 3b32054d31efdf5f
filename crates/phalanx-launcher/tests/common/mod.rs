//! Starting the launcher in tests: with a watchdog, and a mark by which everything it left can be found.
#![allow(dead_code, reason = "each test file uses its part")]

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// After this time a job counts as hung.
pub(crate) const WATCHDOG: Duration = Duration::from_secs(60);

const MARK: &str = "PHALANX_TEST_MARK";

/// A job being tested.
pub(crate) struct Running {
    pub(crate) child: Child,
    mark: String,
    folder: PathBuf,
    started: Instant,
    ended: bool,
}

/// How it ended.
#[derive(Debug)]
pub(crate) struct Ended {
    /// The exit status; 128 + N for signal N.
    pub(crate) status: i32,
    pub(crate) out: String,
    pub(crate) err: String,
    pub(crate) time: Duration,
}

impl Ended {
    /// Asserts the status, showing everything else when it is another.
    #[track_caller]
    pub(crate) fn expect(self, status: i32) -> Self {
        assert_eq!(self.status, status, "\n--- out\n{}\n--- err\n{}", self.out, self.err);
        self
    }

    #[track_caller]
    pub(crate) fn says(self, text: &str) -> Self {
        assert!(self.err.contains(text), "'{text}' is not in:\n{}", self.err);
        self
    }
}

/// The launcher's binary.
pub(crate) fn phalanx() -> &'static str {
    env!("CARGO_BIN_EXE_phalanx")
}

/// The helper that plays a rank.
pub(crate) fn rank() -> String {
    let path = Path::new(phalanx()).parent().expect("a directory").join("examples/rank");
    assert!(path.is_file(), "{} is not built", path.display());
    path.display().to_string()
}

/// A directory of this test's own.
pub(crate) fn folder() -> PathBuf {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let name = format!("phalanx-test-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
    let path = std::env::temp_dir().join(name);
    std::fs::create_dir_all(&path).expect("a directory");
    path
}

/// Starts `phalanx run` with these arguments; the words are separated by single spaces, `script` is the last one.
pub(crate) fn start(flags: &str, script: &[&str]) -> Running {
    start_with(flags, script, |command| {
        command.stdin(Stdio::null());
    })
}

/// The same, with changes to how it is started.
pub(crate) fn start_with(flags: &str, script: &[&str], change: impl FnOnce(&mut Command)) -> Running {
    let folder = folder();
    let mark = folder.display().to_string();
    let mut command = Command::new(phalanx());
    command.arg("run").args(flags.split(' ').filter(|word| !word.is_empty())).args(script);
    command.env(MARK, &mark).current_dir(&folder);
    for name in ["PHALANX_MPI", "PHALANX_HOME", "PMI_FD", "PHALANX_UNIVERSE", "PHALANX_WORLD"] {
        command.env_remove(name);
    }
    command.stdout(File::create(folder.join("out")).expect("a file"));
    command.stderr(File::create(folder.join("err")).expect("a file"));
    change(&mut command);
    let started = Instant::now();
    let child = command.spawn().expect("the launcher starts");
    Running { child, mark, folder, started, ended: false }
}

/// Runs a shell script in each rank, to the end.
pub(crate) fn run(flags: &str, script: &str) -> Ended {
    start(flags, &["sh", "-c", script]).end()
}

impl Running {
    pub(crate) fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).expect("the launcher runs");
    }

    pub(crate) fn out(&self) -> String {
        read(&self.folder.join("out"))
    }

    pub(crate) fn err(&self) -> String {
        read(&self.folder.join("err"))
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Waits until `text` was printed so many times.
    #[track_caller]
    pub(crate) fn wait_for(&self, text: &str, times: usize) {
        let deadline = Instant::now() + WATCHDOG;
        while self.out().matches(text).count() < times {
            assert!(Instant::now() < deadline, "never printed: {text}\n{}\n{}", self.out(), self.err());
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// Waits for the end, and asserts that nothing is left.
    #[track_caller]
    pub(crate) fn end(mut self) -> Ended {
        let status = loop {
            if let Some(status) = self.child.try_wait().expect("a child") {
                break status;
            }
            if self.started.elapsed() > WATCHDOG {
                panic!("the job hangs\n--- out\n{}\n--- err\n{}", self.out(), self.err());
            }
            std::thread::sleep(Duration::from_millis(1));
        };
        self.ended = true;
        let time = self.started.elapsed();
        let left = self.wait_for_nobody();
        assert!(left.is_empty(), "left behind: {left:?}");
        use std::os::unix::process::ExitStatusExt;
        let code = status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0));
        Ended { status: code, out: self.out(), err: self.err(), time }
    }

    /// What is alive of the job after a moment.
    fn wait_for_nobody(&self) -> Vec<i32> {
        let deadline = Instant::now() + Duration::from_secs(5);
        loop {
            let left = marked(&self.mark);
            if left.is_empty() || Instant::now() > deadline {
                return left;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if !self.ended {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
        for pid in marked(&self.mark) {
            let _ = Pid::from_raw(pid).map(|pid| kill_process(pid, Signal::KILL));
        }
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

fn read(path: &Path) -> String {
    let mut bytes = Vec::new();
    File::open(path).and_then(|mut file| file.read_to_end(&mut bytes)).expect("output");
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Every live process that carries the mark.
fn marked(mark: &str) -> Vec<i32> {
    let wanted = format!("{MARK}={mark}");
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        let environment = std::fs::read(entry.path().join("environ")).unwrap_or_default();
        if environment.split(|byte| *byte == 0).any(|variable| variable == wanted.as_bytes()) {
            found.push(pid);
        }
    }
    found
}
