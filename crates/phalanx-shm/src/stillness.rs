//! Whether this process can do anything before one of its blocked threads does.
//!
//! A thread is *inert* while it sleeps without a limit on a word that only its own process can wake: an idle worker of a
//! thread pool, a thread that waits for a lock. When all others of a process are, and none of them has run between two
//! looks, none of them runs before one of those does that asks. Everything that is not known to be inert may do something: a
//! thread that computes, sleeps for a time, reads, or waits for an event. Timers of the process and debuggers may, too, and
//! so may whoever sends it a signal that exists for programs, if it has a handler for that.

use std::fs;

/// What a thread of ours is called that never calls MPI and wakes nobody who waits in it, whatever it does meanwhile: the one
/// that sees to the connection of an engine of an interactive cluster. It does not count among those that may do something.
pub const ASIDE: &str = "phalanx-engine";

/// What was seen of the other threads at the last look.
#[derive(Debug, Default)]
pub struct Stillness {
    seen: Option<Vec<Thread>>,
}

#[derive(Debug, PartialEq, Eq)]
struct Thread {
    number: u32,
    /// The system call it is in, with its arguments.
    call: String,
    /// How often it was given a CPU, or rather lost it.
    switches: u64,
}

impl Stillness {
    /// Looks at all threads but the caller and `mates`: whether they were inert since the last look, which was a while ago. The
    /// first look says yes only when there is none.
    #[must_use]
    pub fn look(&mut self, mates: &[u32]) -> bool {
        let now = if has_timers() || may_be_disturbed() { None } else { inert_others(mates) };
        let still = match (&self.seen, &now) {
            (_, Some(now)) if now.is_empty() => true,
            (Some(before), Some(now)) => before == now,
            _ => false,
        };
        self.seen = now;
        still
    }
}

/// The number of the calling thread.
#[must_use]
pub fn this_thread() -> u32 {
    rustix::thread::gettid().as_raw_nonzero().get().unsigned_abs()
}

/// All threads but the caller and `mates`; `None` when one of them may do something.
fn inert_others(mates: &[u32]) -> Option<Vec<Thread>> {
    let me = this_thread();
    let mut threads = Vec::new();
    for entry in fs::read_dir("/proc/self/task").ok()? {
        let number: u32 = entry.ok()?.file_name().to_str()?.parse().ok()?;
        if number == me || mates.contains(&number) {
            continue;
        }
        if fs::read_to_string(format!("/proc/self/task/{number}/comm")).ok()?.trim_end() == ASIDE {
            continue;
        }
        let call = fs::read_to_string(format!("/proc/self/task/{number}/syscall")).ok()?;
        if !sleeps_for_this_process(&call) {
            return None;
        }
        let switches = switches(&fs::read_to_string(format!("/proc/self/task/{number}/status")).ok()?)?;
        threads.push(Thread { number, call, switches });
    }
    threads.sort_unstable_by_key(|thread| thread.number);
    Some(threads)
}

/// Whether a line of `/proc/PID/syscall` shows a wait for a word of this process alone, without limit.
fn sleeps_for_this_process(call: &str) -> bool {
    const OPERATION: u64 = !(libc::FUTEX_PRIVATE_FLAG | libc::FUTEX_CLOCK_REALTIME) as u64 & 0xffff;
    let mut words = call.split_whitespace();
    // "running" is no number.
    if words.next().and_then(|number| number.parse().ok()) != Some(libc::SYS_futex) {
        return false;
    }
    let mut argument = || u64::from_str_radix(words.next()?.strip_prefix("0x")?, 16).ok();
    let (Some(_word), Some(how), Some(_value), Some(limit)) = (argument(), argument(), argument(), argument()) else {
        return false;
    };
    let waits = [libc::FUTEX_WAIT, libc::FUTEX_WAIT_BITSET].iter().any(|wait| how & OPERATION == *wait as u64);
    waits && how & libc::FUTEX_PRIVATE_FLAG as u64 != 0 && limit == 0
}

/// How often a thread has been switched away from, by its `status`.
fn switches(status: &str) -> Option<u64> {
    let counts = status.lines().filter_map(|line| {
        let (name, count) = line.split_once(':')?;
        name.ends_with("voluntary_ctxt_switches").then(|| count.trim().parse::<u64>().ok())
    });
    counts.sum()
}

/// Whether a timer of this process may interrupt a wait.
fn has_timers() -> bool {
    let armed = |which| {
        let mut timer = libc::itimerval {
            it_interval: libc::timeval { tv_sec: 0, tv_usec: 0 },
            it_value: libc::timeval { tv_sec: 0, tv_usec: 0 },
        };
        // SAFETY: writes one timer's state to a valid place.
        let known = unsafe { libc::getitimer(which, &raw mut timer) } == 0;
        !known || timer.it_value.tv_sec != 0 || timer.it_value.tv_usec != 0
    };
    // Kernels without this file have such timers nevertheless; nobody can say then whether there is one.
    let others = fs::read_to_string("/proc/self/timers").is_ok_and(|timers| !timers.is_empty());
    others || [libc::ITIMER_REAL, libc::ITIMER_VIRTUAL, libc::ITIMER_PROF].into_iter().any(armed)
}

/// Whether a debugger holds this process, or it handles signals that mean something to programs only.
fn may_be_disturbed() -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
    let is_free = field("TracerPid:") == Some("0");
    let handled = field("SigCgt:").and_then(|mask| u64::from_str_radix(mask, 16).ok());
    !is_free || handled.is_none_or(|mask| mask & signals_of_programs() != 0)
}

/// SIGUSR1, SIGUSR2 and the real-time signals that the C library leaves to programs, as a mask of the kernel's. The others tell
/// that something has ended or shall end.
fn signals_of_programs() -> u64 {
    let real_time = (libc::SIGRTMIN()..=libc::SIGRTMAX()).fold(0, |mask, signal| mask | 1 << (signal - 1));
    real_time | 1 << (libc::SIGUSR1 - 1) | 1 << (libc::SIGUSR2 - 1)
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::sync::mpsc;
    use std::time::Duration;

    use super::*;

    #[test]
    fn lines_of_the_kernel_are_told_apart() {
        let futex = libc::SYS_futex;
        let line = |rest: &str| format!("{futex} {rest} 0x7ffe 0x7f00");
        assert!(sleeps_for_this_process(&line("0x55 0x189 0x0 0x0 0x0 0xffffffff")));
        assert!(sleeps_for_this_process(&line("0x55 0x80 0x2 0x0 0x0 0x0")));
        assert!(!sleeps_for_this_process(&line("0x55 0x189 0x0 0x7ffe0 0x0 0xffffffff")), "it has a limit");
        assert!(!sleeps_for_this_process(&line("0x55 0x0 0x2 0x0 0x0 0x0")), "another process may wake it");
        assert!(!sleeps_for_this_process(&line("0x55 0x81 0x2 0x0 0x0 0x0")), "it wakes somebody");
        assert!(!sleeps_for_this_process("running"));
        assert!(!sleeps_for_this_process("0 0x3 0x7ffe 0x100 0x0 0x0 0x0 0x7ffe 0x7f00"), "it reads");
        assert!(!sleeps_for_this_process(""));
    }

    #[test]
    fn a_thread_that_never_calls_mpi_does_not_count() {
        let (end, wait) = mpsc::channel::<()>();
        let (told, begun) = mpsc::channel();
        let busy = move || {
            let _ = told.send(this_thread());
            while wait.recv_timeout(Duration::from_millis(1)) == Err(mpsc::RecvTimeoutError::Timeout) {}
        };
        let thread = std::thread::Builder::new().name(ASIDE.to_owned()).spawn(busy).expect("a thread");
        let number = begun.recv().expect("it runs");
        // Other tests have threads meanwhile.
        let others = |number: u32| {
            let tasks = fs::read_dir("/proc/self/task").expect("a folder").flatten();
            let number_of = |entry: fs::DirEntry| entry.file_name().to_str()?.parse().ok();
            tasks.filter_map(number_of).filter(|other: &u32| *other != number).collect::<Vec<u32>>()
        };
        let seen = inert_others(&others(number));
        assert!(seen.is_some_and(|threads| threads.iter().all(|thread| thread.number != number)));
        drop(end);
        thread.join().expect("it ends");
    }

    #[test]
    fn switches_are_summed() {
        assert_eq!(switches("Name:\tx\nvoluntary_ctxt_switches:\t3\nnonvoluntary_ctxt_switches:\t4\n"), Some(7));
    }

    #[test]
    fn a_thread_in_a_channel_is_inert_and_one_that_sleeps_is_not() {
        // Other tests run in threads of this process: all that is asked is about two threads.
        let (send, receive) = mpsc::channel::<()>();
        let (tell, told) = mpsc::channel();
        std::thread::scope(|scope| {
            let names = tell.clone();
            scope.spawn(move || {
                names.send(("waits", this_thread())).expect("the test listens");
                let _ = receive.recv();
            });
            scope.spawn(move || {
                tell.send(("sleeps", this_thread())).expect("the test listens");
                std::thread::sleep(Duration::from_millis(300));
            });
            for (how, number) in [told.recv().expect("one"), told.recv().expect("two")] {
                let call = || fs::read_to_string(format!("/proc/self/task/{number}/syscall")).expect("it lives");
                match how {
                    "sleeps" => assert!(!sleeps_for_this_process(&call())),
                    _ => {
                        while !sleeps_for_this_process(&call()) {
                            std::thread::yield_now();
                        }
                    }
                }
            }
            drop(send);
        });
    }
}
