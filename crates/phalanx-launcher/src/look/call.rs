//! What a thread is doing, by the system call that it is in.
//!
//! `/proc/PID/task/TID/syscall` has the number and the arguments of the call in which a thread sleeps. Descriptors become what
//! they lead to.

use std::fs;

use super::memory::{Memory, is_shared};
use super::process::{command, held};
use super::{Doing, DoingKind, read_at_most};

const SMALL: u64 = 4096;
/// Bytes of a table of sockets that are looked through.
const SOCKETS: u64 = 4 << 20;
/// Descriptors of one `poll` that are named.
const POLLED: u64 = 4;

/// What a thread is doing.
pub(super) fn doing(pid: u32, thread: u32, state: char, tracer: &Option<(u32, String)>) -> Doing {
    if let Some(held) = held(state, tracer) {
        return held;
    }
    let of = |kind, words: &str| Doing { kind, words: words.to_owned() };
    if state == 'R' {
        return of(DoingKind::Computes, "computes");
    }
    let line = read_at_most(&format!("/proc/{pid}/task/{thread}/syscall"), SMALL).unwrap_or_default();
    in_call(pid, thread, state, &line)
}

/// The same, by what the kernel prints of its call.
fn in_call(pid: u32, thread: u32, state: char, line: &str) -> Doing {
    let of = |kind, words: &str| Doing { kind, words: words.to_owned() };
    let mut words = line.split_whitespace();
    let number: Option<i64> = words.next().and_then(|word| word.parse().ok());
    let arguments: Vec<u64> = words.filter_map(|word| u64::from_str_radix(word.strip_prefix("0x")?, 16).ok()).collect();
    let told = number.and_then(|number| call(pid, number, &arguments));
    match (told, state) {
        (Some(told), 'D') => {
            Doing { kind: DoingKind::Disk, words: format!("{} (and cannot be interrupted)", told.words) }
        }
        (Some(told), _) => told,
        (None, 'D') => of(DoingKind::Disk, &format!("waits for a disk or a file system{}", place(pid, thread))),
        // It runs again, or between two calls.
        (None, _) if line.starts_with("running") => of(DoingKind::Computes, "computes"),
        (None, _) => of(DoingKind::Other, &format!("sleeps{}", place(pid, thread))),
    }
}

/// For whoever has only what the kernel prints.
#[cfg(any(test, fuzzing))]
pub(super) fn told(pid: u32, state: char, line: &str) -> Doing {
    in_call(pid, pid, state, line)
}

/// Where in the kernel a thread sleeps, if that may be known.
fn place(pid: u32, thread: u32) -> String {
    let place = read_at_most(&format!("/proc/{pid}/task/{thread}/wchan"), SMALL).unwrap_or_default();
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '.';
    match place.trim() {
        "" | "0" => String::new(),
        name if name.chars().all(is_name) => format!(" in the kernel ({name})"),
        _ => String::new(),
    }
}

/// A call with its arguments, in words; `None` for one that says nothing to a person.
fn call(pid: u32, number: i64, arguments: &[u64]) -> Option<Doing> {
    use DoingKind::*;
    let argument = |at: usize| arguments.get(at).copied().unwrap_or(0);
    let of = |kind, words: String| Some(Doing { kind, words });
    match number {
        libc::SYS_read | libc::SYS_readv | libc::SYS_pread64 | libc::SYS_preadv => reads(pid, argument(0)),
        libc::SYS_write | libc::SYS_writev | libc::SYS_pwrite64 | libc::SYS_pwritev | libc::SYS_sendfile => {
            of(File, format!("waits to write to {}", descriptor(pid, argument(0))))
        }
        libc::SYS_recvfrom | libc::SYS_recvmsg => {
            of(Events, format!("waits for data from {}", descriptor(pid, argument(0))))
        }
        libc::SYS_sendto | libc::SYS_sendmsg => {
            of(Events, format!("waits to send to {}", descriptor(pid, argument(0))))
        }
        libc::SYS_accept | libc::SYS_accept4 => {
            of(Events, format!("waits for a connection at {}", descriptor(pid, argument(0))))
        }
        libc::SYS_connect => of(Events, format!("connects {}", descriptor(pid, argument(0)))),
        libc::SYS_ppoll => polls(pid, argument(0), argument(1)),
        // Of one descriptor: it is the first.
        libc::SYS_pselect6 if argument(0) == 1 => reads(pid, 0),
        libc::SYS_pselect6 | libc::SYS_epoll_pwait | libc::SYS_epoll_pwait2 => {
            of(Events, "waits for events".to_owned())
        }
        libc::SYS_wait4 | libc::SYS_waitid => {
            let child = if number == libc::SYS_waitid { argument(1) } else { argument(0) };
            let words = match u32::try_from(child) {
                Ok(child @ 2..=0x7fff_ffff) => match command(child) {
                    Some(line) => format!("waits for process {child} to end ({line})"),
                    None => format!("waits for process {child} to end"),
                },
                _ => "waits for a process that it has started".to_owned(),
            };
            of(Child, words)
        }
        libc::SYS_nanosleep | libc::SYS_clock_nanosleep => of(Sleeps, "sleeps for a time".to_owned()),
        libc::SYS_rt_sigsuspend | libc::SYS_rt_sigtimedwait => of(Events, "waits for a signal".to_owned()),
        // A rank that has only just begun to wait has left no note of it yet.
        libc::SYS_futex if is_shared(pid, argument(0)) => of(Thread, "waits for another process".to_owned()),
        libc::SYS_futex => of(Thread, "waits for another thread or a lock".to_owned()),
        libc::SYS_flock => of(File, format!("waits for a lock on {}", descriptor(pid, argument(0)))),
        libc::SYS_fcntl => of(File, format!("waits for a lock on {}", descriptor(pid, argument(0)))),
        libc::SYS_fsync | libc::SYS_fdatasync => {
            of(Disk, format!("writes {} out to the disk", descriptor(pid, argument(0))))
        }
        libc::SYS_openat => of(Disk, "opens a file".to_owned()),
        libc::SYS_restart_syscall => of(Other, "waits in a call that is carried on after a signal".to_owned()),
        _ => older(pid, number, arguments),
    }
}

/// Calls that newer machines do not have.
#[cfg(target_arch = "x86_64")]
fn older(pid: u32, number: i64, arguments: &[u64]) -> Option<Doing> {
    let argument = |at: usize| arguments.get(at).copied().unwrap_or(0);
    let events = |words: &str| Some(Doing { kind: DoingKind::Events, words: words.to_owned() });
    match number {
        libc::SYS_poll => polls(pid, argument(0), argument(1)),
        libc::SYS_select if argument(0) == 1 => reads(pid, 0),
        libc::SYS_select | libc::SYS_epoll_wait => events("waits for events"),
        libc::SYS_pause => events("waits for a signal"),
        libc::SYS_open => Some(Doing { kind: DoingKind::Disk, words: "opens a file".to_owned() }),
        _ => None,
    }
}

#[cfg(not(target_arch = "x86_64"))]
fn older(_: u32, _: i64, _: &[u64]) -> Option<Doing> {
    None
}

fn reads(pid: u32, number: u64) -> Option<Doing> {
    match number {
        0 => Some(Doing { kind: DoingKind::Stdin, words: format!("waits for standard input ({})", target(pid, 0)?) }),
        _ => Some(Doing { kind: DoingKind::File, words: format!("waits to read from {}", descriptor(pid, number)) }),
    }
}

/// A `poll` of a list of descriptors.
fn polls(pid: u32, list: u64, count: u64) -> Option<Doing> {
    let memory = Memory::of(pid).ok();
    // struct pollfd: the descriptor (int), what is asked for, what there is (two short ones).
    let number = |at: u64| {
        let entry = memory.as_ref()?.bytes(list.checked_add(at * 8)?, 4).ok()?;
        u64::try_from(i32::from_ne_bytes(entry.try_into().ok()?)).ok()
    };
    let numbers: Vec<u64> = (0..count.min(POLLED)).filter_map(number).collect();
    if numbers.contains(&0) && count == 1 {
        return reads(pid, 0);
    }
    if numbers.is_empty() {
        let (kind, words) = match count {
            0 => (DoingKind::Sleeps, "sleeps for a time"),
            _ => (DoingKind::Events, "waits for events"),
        };
        return Some(Doing { kind, words: words.to_owned() });
    }
    let mut names: Vec<String> = numbers.into_iter().map(|number| descriptor(pid, number)).collect();
    names.dedup();
    let more = if count > POLLED { format!(" and {} more", count - POLLED) } else { String::new() };
    Some(Doing { kind: DoingKind::Events, words: format!("waits for {}{more}", names.join(", ")) })
}

/// What a descriptor is, for people.
fn descriptor(pid: u32, number: u64) -> String {
    let target = target(pid, number);
    match (number, target) {
        (0, _) => "standard input".to_owned(),
        (1, _) => "standard output".to_owned(),
        (2, _) => "standard error".to_owned(),
        (_, Some(target)) => target,
        (_, None) => format!("descriptor {number}"),
    }
}

/// Where a descriptor leads.
fn target(pid: u32, number: u64) -> Option<String> {
    let link = fs::read_link(format!("/proc/{pid}/fd/{number}")).ok()?;
    let link = link.to_string_lossy();
    let inode = |kind: &str| link.strip_prefix(kind)?.strip_suffix(']').map(str::to_owned);
    Some(if inode("pipe:[").is_some() {
        "a pipe".to_owned()
    } else if let Some(inode) = inode("socket:[") {
        socket(pid, &inode).unwrap_or_else(|| "a socket".to_owned())
    } else if let Some(kind) = inode("anon_inode:[") {
        format!("an {kind}")
    } else {
        link.into_owned()
    })
}

/// The other end of a TCP connection, or the address where one is waited for.
fn socket(pid: u32, inode: &str) -> Option<String> {
    const LISTENS: &str = "0A";
    let table = read_at_most(&format!("/proc/{pid}/net/tcp"), SOCKETS).ok()?;
    table.lines().skip(1).find_map(|line| {
        // "sl local remote state queues timer retransmits uid timeout inode"
        let fields: Vec<&str> = line.split_whitespace().collect();
        (fields.get(9) == Some(&inode)).then_some(())?;
        Some(match *fields.get(3)? {
            LISTENS => format!("the TCP port {}", address(fields[1])?),
            _ => format!("a TCP connection to {}", address(fields[2])?),
        })
    })
}

/// "0100007F:1F90" is 127.0.0.1:8080.
fn address(text: &str) -> Option<String> {
    let (host, port) = text.split_once(':')?;
    let host = u32::from_str_radix(host, 16).ok()?.to_ne_bytes();
    let port = u16::from_str_radix(port, 16).ok()?;
    Some(format!("{}.{}.{}.{}:{port}", host[0], host[1], host[2], host[3]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_told() {
        let me = std::process::id();
        let told = |number, arguments: &[u64]| call(me, number, arguments).map(|doing| (doing.kind, doing.words));
        assert_eq!(told(libc::SYS_futex, &[]).unwrap().0, DoingKind::Thread);
        assert_eq!(told(libc::SYS_clock_nanosleep, &[]).unwrap().0, DoingKind::Sleeps);
        assert_eq!(told(libc::SYS_read, &[0]).unwrap().0, DoingKind::Stdin);
        assert_eq!(told(libc::SYS_write, &[1]).unwrap().1, "waits to write to standard output");
        assert_eq!(told(libc::SYS_read, &[1 << 40]).unwrap().1, "waits to read from descriptor 1099511627776");
        assert_eq!(told(libc::SYS_getpid, &[]), None);
        let polled = [libc::pollfd { fd: 0, events: libc::POLLIN, revents: 0 }];
        assert_eq!(told(libc::SYS_ppoll, &[polled.as_ptr() as u64, 1]).unwrap().0, DoingKind::Stdin);
        assert_eq!(told(libc::SYS_ppoll, &[0, 0]).unwrap().0, DoingKind::Sleeps);
        assert_eq!(told(libc::SYS_ppoll, &[8, 3]).unwrap().1, "waits for events");
    }

    #[test]
    fn a_lock_in_shared_memory_is_of_another_process() {
        let maps = "7f10-7f20 rw-p 00000000 00:00 0 \n7f20-7f30 rw-s 00000000 00:01 12  /memfd:phalanx-universe (deleted)\nnonsense\n";
        let shared = |at| super::super::memory::is_shared_in(maps, at);
        assert_eq!([0x7f1f, 0x7f20, 0x7f2f, 0x7f30, u64::MAX].map(shared), [false, true, true, false, false]);
        let place = 0u32;
        let told = call(std::process::id(), libc::SYS_futex, &[&raw const place as u64]).unwrap();
        assert_eq!(told.words, "waits for another thread or a lock");
    }

    #[test]
    fn a_connection_has_an_address() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let number = std::os::fd::AsRawFd::as_raw_fd(&listener) as u64;
        assert_eq!(target(std::process::id(), number), Some(format!("the TCP port 127.0.0.1:{port}")));
        assert_eq!(address("0100007F:1F90").as_deref(), Some("127.0.0.1:8080"));
        assert_eq!(address("x:y"), None);
    }
}
