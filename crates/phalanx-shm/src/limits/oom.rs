//! Whether the kernel killed a process for want of memory.
//!
//! It does so by SIGKILL, which says nothing about why; but it counts. When the count has just risen, a process that died
//! by SIGKILL, and that nobody here killed, was one of those.

use std::time::{Duration, Instant};

use super::groups::groups;
use super::{field, text_of};

/// How long a kill is remembered for a process whose end is yet to be seen.
const RECENT: Duration = Duration::from_secs(2);

/// The kernel's count of processes killed for want of memory, as far as this process may see it.
#[derive(Debug)]
pub struct OomKills {
    seen: Option<u64>,
    /// Kills that no process's end was explained by, and when the last of them was seen.
    unexplained: Option<(u64, Instant)>,
}

impl OomKills {
    /// Counts from now on.
    #[must_use]
    pub fn watch() -> OomKills {
        OomKills { seen: count(text_of), unexplained: None }
    }

    /// Whether a kill explains the end of a process that has just died by SIGKILL. Each explains one end.
    pub fn explain(&mut self) -> bool {
        self.explain_by(count(text_of), Instant::now())
    }

    fn explain_by(&mut self, count: Option<u64>, now: Instant) -> bool {
        let new = count.zip(self.seen).map_or(0, |(count, seen)| count.saturating_sub(seen));
        self.seen = count;
        let recent = self.unexplained.take().filter(|(_, since)| now.duration_since(*since) < RECENT);
        let kills = recent.map_or(0, |(kills, _)| kills) + new;
        let since = if new > 0 { now } else { recent.map_or(now, |(_, since)| since) };
        self.unexplained = kills.checked_sub(1).map(|left| (left, since));
        kills > 0
    }
}

/// What the nearest control group counts that counts: its own processes, whether its limit or the machine's was reached.
/// Without one, what the whole machine does.
fn count(read: impl Fn(&str) -> Option<String>) -> Option<u64> {
    let files = groups("memory", &read).into_iter().map(|group| {
        let name = if group.unified { "memory.events" } else { "memory.oom_control" };
        group.file(name)
    });
    files.chain([VMSTAT.to_owned()]).find_map(|file| field(&read(&file)?, "oom_kill"))
}

const VMSTAT: &str = "/proc/vmstat";

#[cfg(test)]
mod tests {
    use super::super::table;
    use super::*;

    #[test]
    fn a_kill_explains_one_end_soon_after_it() {
        let start = Instant::now();
        let mut kills = OomKills { seen: Some(5), unexplained: None };
        assert!(!kills.explain_by(Some(5), start));
        // Two at once, whose ends are seen one after the other.
        assert!(kills.explain_by(Some(7), start));
        assert!(kills.explain_by(Some(7), start));
        assert!(!kills.explain_by(Some(7), start));
        // Two, but only one of them was a process of ours: an end long after has another reason.
        assert!(kills.explain_by(Some(9), start));
        assert!(!kills.explain_by(Some(9), start + 2 * RECENT));
        // A count that cannot be read explains nothing, nor does the first one after it.
        assert!(!kills.explain_by(None, start));
        assert!(!kills.explain_by(Some(20), start));
    }

    #[test]
    fn the_count_is_read_from_the_nearest_file_that_has_one() {
        let own = ("/proc/self/cgroup", "4:memory:/job/step\n0::/user/me\n");
        let unified = ("/sys/fs/cgroup/user/memory.events", "low 0\noom 3\noom_kill 2\noom_group_kill 1\n");
        let first = ("/sys/fs/cgroup/memory/memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 7\n");
        let machine = ("/proc/vmstat", "pgfault 1\noom_kill 12\n");
        assert_eq!(count(table(&[own, machine, first, unified])), Some(2));
        assert_eq!(count(table(&[own, machine, first])), Some(7));
        assert_eq!(count(table(&[own, machine])), Some(12));
        let older = ("/sys/fs/cgroup/memory/memory.oom_control", "oom_kill_disable 0\n");
        assert_eq!(count(table(&[own, older])), None, "an older kernel's file has no count");
    }
}
