//! Worker processes as the thread sees them that watches them: their ends, their memory, and being stopped.
//!
//! (An extension module does not link without an interpreter, so its files without Python are compiled into this test.)

#[path = "../src/pool/memory.rs"]
mod memory;
#[path = "../src/pool/process.rs"]
mod process;

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use memory::Memory;
use phalanx_pool::End;
use process::{Look, Process};

/// A child that is ended with the test.
struct Ours(Child);

impl Drop for Ours {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A shell that runs `script`, and the first line it writes: by then it is where the test wants it.
fn shell(script: &str) -> (Ours, String) {
    let mut child = Command::new("sh").args(["-c", script]).stdout(Stdio::piped()).spawn().expect("a shell");
    let output = child.stdout.take().expect("a pipe");
    let mut line = String::new();
    BufReader::new(output).read_line(&mut line).expect("a line");
    (Ours(child), line.trim().to_string())
}

/// Looks until there is news, under a watchdog.
fn news(process: &mut Process) -> Look {
    let begun = Instant::now();
    loop {
        match process.look() {
            Look::Nothing => assert!(begun.elapsed() < Duration::from_secs(60), "there never was news"),
            look => return look,
        }
        sleep(Duration::from_millis(5));
    }
}

fn over(end: End) -> Look {
    Look::Over { end, known: false }
}

#[test]
fn an_exit_status_is_told_and_left_for_who_waits() {
    let (mut child, _) = shell("echo up; exit 7");
    let mut process = Process::of(3, child.0.id(), None).expect("watched");
    assert_eq!((process.slot, process.pid), (3, child.0.id()));
    assert_eq!(news(&mut process), over(End::Exited(7)));
    assert!(!process.was_killed());
    assert_eq!(child.0.wait().expect("still there").code(), Some(7));
}

#[test]
fn a_process_that_runs_is_no_news() {
    let (child, _) = shell("echo up; exec sleep 60");
    let mut process = Process::of(0, child.0.id(), None).expect("watched");
    assert_eq!(process.look(), Look::Nothing);
    assert!(process.fd().is_some() && !process.has_ended() && !process.needs_looks());
}

#[test]
fn who_is_stopped_ends_by_sigterm() {
    let (child, _) = shell("echo up; exec sleep 60");
    let mut process = Process::of(0, child.0.id(), None).expect("watched");
    process.stop();
    assert!(process.needs_looks());
    process.stop();
    assert_eq!(news(&mut process), over(End::Signaled(libc::SIGTERM)));
    assert!(!process.was_killed());
}

#[test]
fn who_ignores_sigterm_is_killed_later() {
    let (child, _) = shell("trap '' TERM; echo up; exec sleep 60");
    let mut process = Process::of(0, child.0.id(), None).expect("watched");
    let begun = Instant::now();
    process.stop();
    assert_eq!(process.look(), Look::Nothing);
    assert!(!process.was_killed() || begun.elapsed() >= Duration::from_millis(500), "there is a time of grace");
    assert_eq!(news(&mut process), over(End::Signaled(libc::SIGKILL)));
    assert!(process.was_killed() && !process.needs_looks());
}

#[test]
fn the_end_of_a_foreign_process_is_noticed_once() {
    // The child of a child that has ended is nobody's here.
    let (mut parent, pid) = shell("sleep 60 >/dev/null & echo $!");
    parent.0.wait().expect("the shell ends");
    let mut process = Process::of(0, pid.parse().expect("a number"), None).expect("watched");
    assert_eq!(process.look(), Look::Nothing);
    process.kill();
    assert_eq!(news(&mut process), Look::Gone);
    assert!(process.fd().is_none() && process.has_ended() && process.needs_looks());
    assert_eq!(news(&mut process), Look::Over { end: End::Unknown, known: true });
}

#[test]
fn a_process_that_is_gone_already_has_ended() {
    let (mut child, _) = shell("echo up");
    let pid = child.0.id();
    child.0.wait().expect("it ends");
    for gone in [pid, 0, u32::MAX] {
        let mut process = Process::of(0, gone, Some(1)).expect("watched");
        assert!(process.fd().is_none() && process.has_ended() && process.needs_looks());
        process.stop();
        process.kill();
        assert!(!process.was_killed(), "there is nobody to be killed");
        assert_eq!(news(&mut process), Look::Over { end: End::Unknown, known: true });
    }
}

#[test]
fn who_grows_too_large_is_told_of_until_killed() {
    let limit = 20 << 20;
    let (child, _) = shell("echo up; sleep 0.1; x=$(head -c 60000000 /dev/zero | tr '\\0' x); sleep 60; echo $x");
    let mut process = Process::of(0, child.0.id(), Some(limit)).expect("watched");
    assert_eq!(process.look(), Look::Nothing);
    let Look::TooLarge(End::OverLimit { used, limit: told }) = news(&mut process) else { panic!("no word of memory") };
    assert!(used > limit && told == limit, "{used} of {told}");
    process.kill();
    assert_eq!(news(&mut process), over(End::Signaled(libc::SIGKILL)));
}

#[test]
fn memory_is_counted_from_the_start() {
    let me = std::process::id();
    let limit = 64 << 20;
    let mut memory = Memory::of(me, limit);
    assert_eq!((memory.limit(), memory.over()), (limit, None));
    let mut taken = vec![1u8; 160 << 20];
    std::hint::black_box(&mut taken);
    assert!(memory.over().expect("over the limit") > limit);
    // What was there at the start is inherited as far as the count tells; a close look finds that it is its own.
    let mut later = Memory::of(me, limit);
    assert!(later.over().expect("its own") > limit);
    drop(taken);
    assert_eq!(memory.over(), None);
    assert_eq!(Memory::of(me, 0).limit(), 0);
    assert_eq!(Memory::of(me, u64::MAX).over(), None);
}

#[test]
fn nothing_is_known_of_the_memory_of_nobody() {
    for pid in [0, u32::MAX] {
        assert_eq!(Memory::of(pid, 0).over(), None);
    }
}
