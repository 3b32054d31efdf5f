//! Processes and their threads, as `/proc` shows them.

use std::collections::HashMap;
use std::fs;
use std::io;

use phalanx_waits::Frame;

use super::call;
use super::python::{self, Nothing};
use super::{Doing, DoingKind, Process, Thread, read_at_most};

/// Threads and descendants that are looked at.
const THREADS: usize = 64;
const DESCENDANTS: usize = 64;
/// Bytes of a file of `/proc`, and letters of a command line.
const SMALL: u64 = 16 << 10;
const COMMAND: usize = 160;

/// CPU time in milliseconds and bytes of memory that a process has used. `None` when there is none.
pub(crate) fn used(pid: u32) -> Option<(u64, u64)> {
    stat(&format!("/proc/{pid}/stat")).map(|stat| (stat.cpu, stat.resident))
}

/// Looks at a process. `None` when there is none, or none that could be doing something.
pub(crate) fn look_at(pid: u32) -> Option<Process> {
    let stat = stat(&format!("/proc/{pid}/stat"))?;
    let tracer = tracer(pid);
    let (mut stacks, unreadable) = match python::stacks(pid) {
        Ok(stacks) => (stacks.into_iter().collect::<HashMap<u32, Vec<Frame>>>(), String::new()),
        Err(Nothing::NotPython) => (HashMap::new(), String::new()),
        Err(Nothing::Version(version)) => (HashMap::new(), format!("stacks of Python {version} cannot be read")),
        Err(Nothing::Unreadable(error)) => (HashMap::new(), refused(&error)),
    };
    let mut threads = Vec::new();
    for number in tasks(pid).into_iter().take(THREADS) {
        let Some(of_thread) = self::stat(&format!("/proc/{pid}/task/{number}/stat")) else { continue };
        let doing = call::doing(pid, number, of_thread.state, &tracer);
        threads.push(Thread { number, doing, frames: stacks.remove(&number).unwrap_or_default() });
    }
    let command = command(pid).unwrap_or(stat.name);
    Some(Process {
        pid,
        command,
        state: stat.state,
        tracer,
        cpu: stat.cpu,
        resident: stat.resident,
        threads,
        unreadable,
    })
}

fn refused(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::PermissionDenied => {
            "its stack may not be read (kernel.yama.ptrace_scope, or another user)".into()
        }
        io::ErrorKind::NotFound => "it has ended".into(),
        _ => format!("its stack cannot be read: {error}"),
    }
}

/// A process and its descendants, parents first.
pub(crate) fn tree(pid: u32) -> Vec<u32> {
    let mut found = vec![pid];
    let mut next = 0;
    while next < found.len() && found.len() < DESCENDANTS {
        for task in tasks(found[next]) {
            let path = format!("/proc/{}/task/{task}/children", found[next]);
            let children = read_at_most(&path, SMALL).unwrap_or_default();
            found.extend(children.split_whitespace().filter_map(|word| word.parse::<u32>().ok()));
        }
        next += 1;
    }
    found.truncate(DESCENDANTS);
    found
}

fn tasks(pid: u32) -> Vec<u32> {
    let entries = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let mut tasks: Vec<u32> = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
    tasks.sort_unstable();
    tasks
}

/// What a `stat` file says.
struct Stat {
    name: String,
    state: char,
    /// Milliseconds.
    cpu: u64,
    /// Bytes.
    resident: u64,
}

fn stat(path: &str) -> Option<Stat> {
    stat_in(&read_at_most(path, SMALL).ok()?)
}

/// The same, as the kernel prints it.
fn stat_in(text: &str) -> Option<Stat> {
    // The name is in parentheses and may hold anything.
    let (begin, rest) = text.rsplit_once(')')?;
    let name = begin.split_once('(')?.1.to_owned();
    let fields: Vec<&str> = rest.split_whitespace().collect();
    // Fields are counted from 1 in proc(5), and the third is the first here.
    let number = |field: usize| fields.get(field - 3).and_then(|text| text.parse::<u64>().ok());
    let ticks = number(14)?.saturating_add(number(15)?);
    Some(Stat {
        name,
        state: fields.first()?.chars().next()?,
        cpu: ticks.saturating_mul(1000) / rustix::param::clock_ticks_per_second().max(1),
        resident: number(24)?.saturating_mul(page_size()),
    })
}

/// For whoever has only what the kernel prints.
#[cfg(any(test, fuzzing))]
pub(super) fn read_stat(text: &str) -> Option<(String, char)> {
    stat_in(text).map(|stat| (stat.name, stat.state))
}

/// Bytes of a page.
fn page_size() -> u64 {
    rustix::param::page_size() as u64
}

/// Who debugs a process.
fn tracer(pid: u32) -> Option<(u32, String)> {
    let status = read_at_most(&format!("/proc/{pid}/status"), SMALL).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("TracerPid:"))?;
    let tracer: u32 = line.trim().parse().ok().filter(|tracer| *tracer != 0)?;
    let name = read_at_most(&format!("/proc/{tracer}/comm"), SMALL).unwrap_or_default();
    Some((tracer, name.trim().to_owned()))
}

/// The beginning of a command line, for people.
pub(super) fn command(pid: u32) -> Option<String> {
    let text = read_at_most(&format!("/proc/{pid}/cmdline"), SMALL).ok()?;
    let mut words: Vec<&str> = text.split('\0').filter(|word| !word.is_empty()).collect();
    if let Some(first) = words.first_mut() {
        *first = first.rsplit('/').next().unwrap_or(first);
    }
    let line: String = words.join(" ").chars().take(COMMAND).collect();
    (!line.is_empty()).then_some(line)
}

/// What a process does that is stopped, debugged or gone, whatever it did before.
pub(super) fn held(state: char, tracer: &Option<(u32, String)>) -> Option<Doing> {
    let (kind, words) = match (state, tracer) {
        ('T', _) => (DoingKind::Stopped, "is stopped by a signal".to_owned()),
        ('t', Some((pid, name))) => (DoingKind::Traced, format!("is held by a debugger ({name}, pid {pid})")),
        ('t', None) => (DoingKind::Traced, "is held by a debugger".to_owned()),
        ('Z' | 'X' | 'x', _) => (DoingKind::Ended, "has ended".to_owned()),
        _ => return None,
    };
    Some(Doing { kind, words })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_is_seen() {
        let me = look_at(std::process::id()).unwrap();
        assert!(me.resident > 0 && !me.command.is_empty() && me.main().is_some(), "{me:?}");
        assert!(look_at(u32::MAX).is_none());
    }

    #[test]
    fn descendants_are_found() {
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let found = tree(std::process::id());
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(found.contains(&child.id()) && found[0] == std::process::id(), "{found:?}");
    }
}
