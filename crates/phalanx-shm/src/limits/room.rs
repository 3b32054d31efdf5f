//! Whether the machine and this process's container have the memory that is about to be reserved.
//!
//! A segment has no limit of its own, so reserving more than there is does not fail: the kernel kills a process instead.
//! Hence the look beforehand. It errs on the side of yes: what only the kernel can know is left to it.

use core::sync::atomic::{AtomicU64, Ordering};
use std::io;

use super::groups::{Group, groups};
use super::{field, text_of};
use crate::ShmError;

/// One look per so many bytes that this process reserves.
const LOOK: u64 = 16 << 20;

/// An error if `bytes` are more than there is.
pub(crate) fn check(bytes: u64, what: &'static str) -> Result<(), ShmError> {
    static UNSEEN: AtomicU64 = AtomicU64::new(0);
    if UNSEEN.fetch_add(bytes, Ordering::Relaxed).saturating_add(bytes) < LOOK {
        return Ok(());
    }
    UNSEEN.store(0, Ordering::Relaxed);
    match find(bytes, text_of) {
        Some(room) if room.bytes < bytes => {
            let text = format!("{} has {} bytes left", room.of, room.bytes);
            // The next request is looked at, too.
            UNSEEN.store(LOOK, Ordering::Relaxed);
            Err(ShmError::OutOfMemory { bytes, what, source: io::Error::new(io::ErrorKind::OutOfMemory, text) })
        }
        _ => Ok(()),
    }
}

/// Whether `bytes` may be promised: pages that come when they are first touched. The machine must have them by what its files
/// tell, and must not count them when they are touched: under strict accounting (`overcommit_memory` 2) a page that is refused then is
/// a signal. `false` when unsure.
pub(crate) fn spare(bytes: u64) -> bool {
    may_promise(bytes, text_of)
}

fn may_promise(bytes: u64, read: impl Fn(&str) -> Option<String>) -> bool {
    let lenient = read("/proc/sys/vm/overcommit_memory").is_some_and(|text| matches!(text.trim(), "0" | "1"));
    lenient && find(bytes, read).is_some_and(|room| room.bytes >= bytes)
}

/// What is left, and where.
#[derive(Debug, PartialEq, Eq)]
struct Room {
    bytes: u64,
    of: String,
}

/// The least that the machine or a control group of this process has left, as far as the files tell. Where it is enough
/// for `bytes`, it may be more.
fn find(bytes: u64, read: impl Fn(&str) -> Option<String>) -> Option<Room> {
    let machine = read("/proc/meminfo")?;
    let kib = |name| field(&machine, name).map(|kib| kib.saturating_mul(1024));
    let swap = kib("SwapFree:").unwrap_or(0);
    let mut least = Room { bytes: kib("MemAvailable:")?.saturating_add(swap), of: "the machine".to_owned() };
    for group in groups("memory", &read) {
        if let Some(left) = left_in(&group, bytes, &read) {
            let left = left.saturating_add(swap);
            if left < least.bytes {
                least = Room { bytes: left, of: format!("the control group {}", group.folder) };
            }
        }
    }
    Some(least)
}

/// Bytes that a group may still use: below its limit, or used for files that can be read again.
fn left_in(group: &Group, enough: u64, read: impl Fn(&str) -> Option<String>) -> Option<u64> {
    let (limit, usage, files) = if group.unified {
        ("memory.max", "memory.current", ["inactive_file", "active_file"])
    } else {
        ("memory.limit_in_bytes", "memory.usage_in_bytes", ["total_inactive_file", "total_active_file"])
    };
    let number = |name| read(&group.file(name))?.trim().parse::<u64>().ok();
    // "max" is no number: no limit.
    let left = number(limit)?.saturating_sub(number(usage)?);
    if left >= enough {
        return Some(left); // The file below is slow to read.
    }
    let counts = read(&group.file("memory.stat")).unwrap_or_default();
    Some(files.iter().fold(left, |left, name| left.saturating_add(field(&counts, name).unwrap_or(0))))
}

#[cfg(test)]
mod tests {
    use super::super::table;
    use super::*;

    fn room(files: &[(&str, &str)]) -> Option<Room> {
        find(1 << 40, table(files))
    }

    const MACHINE: (&str, &str) = ("/proc/meminfo", "MemTotal: 9000 kB\nMemAvailable: 5000 kB\nSwapFree: 10 kB\n");

    #[test]
    fn the_machine_is_the_limit_where_no_group_is() {
        assert_eq!(room(&[MACHINE]), Some(Room { bytes: 5010 << 10, of: "the machine".to_owned() }));
        let unlimited = [MACHINE, ("/proc/self/cgroup", "0::/a\n"), ("/sys/fs/cgroup/a/memory.max", "max\n")];
        assert_eq!(room(&unlimited).expect("known").bytes, 5010 << 10);
        assert_eq!(room(&[]), None, "nothing is known, nothing refused");
    }

    #[test]
    fn the_tightest_group_above_is_the_limit() {
        let files = [
            MACHINE,
            ("/proc/self/cgroup", "0::/job/step\n"),
            ("/sys/fs/cgroup/job/step/memory.max", "max\n"),
            ("/sys/fs/cgroup/job/memory.max", "1000000\n"),
            ("/sys/fs/cgroup/job/memory.current", "900000\n"),
            ("/sys/fs/cgroup/job/memory.stat", "anon 5\ninactive_file 3000\nactive_file 200\n"),
        ];
        let expected = Room { bytes: 103_200 + (10 << 10), of: "the control group /sys/fs/cgroup/job".to_owned() };
        assert_eq!(room(&files), Some(expected));
    }

    #[test]
    fn version_1_and_the_root_of_a_container_are_known() {
        let files = [
            MACHINE,
            ("/proc/self/cgroup", "4:memory:/outside/of/it\n0::/\n"),
            ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "2000\n"),
            ("/sys/fs/cgroup/memory/memory.usage_in_bytes", "3000\n"),
            ("/sys/fs/cgroup/memory/memory.stat", "total_inactive_file 50\ninactive_file 7\n"),
        ];
        assert_eq!(room(&files).expect("known").bytes, 50 + (10 << 10));
    }

    #[test]
    fn pages_are_promised_only_where_there_are_more_and_a_touch_is_not_refused() {
        let promised = |bytes, overcommit: Option<&'static str>| {
            let mut files = vec![MACHINE];
            files.extend(overcommit.map(|text| ("/proc/sys/vm/overcommit_memory", text)));
            may_promise(bytes, table(&files))
        };
        let (room, more) = (5010 << 10, (5010 << 10) + 1);
        assert!(promised(room, Some("0\n")) && promised(room, Some("1\n")));
        assert!(!promised(more, Some("0\n")) && !promised(more, Some("1\n")), "more than there is");
        assert!(!promised(room, Some("2\n")) && !promised(room, None), "a touch may be refused");
        assert!(!may_promise(1, table(&[("/proc/sys/vm/overcommit_memory", "0\n")])), "nothing is known");
    }

    #[test]
    fn what_there_is_not_is_refused_and_both_numbers_are_named() {
        assert!(check(1, "a test").is_ok());
        let error = check(1 << 60, "a test").expect_err("no machine has that").to_string();
        assert!(error.contains(&(1_u64 << 60).to_string()) && error.contains("bytes left"), "{error}");
    }
}
