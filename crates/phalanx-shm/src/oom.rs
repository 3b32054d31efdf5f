//! Whether the kernel killed a process for want of memory.
//!
//! It does so by SIGKILL, which says nothing about why; but it counts. When the count has just risen, a process that died
//! by SIGKILL, and that nobody here killed, was one of those.

use std::fs::read_to_string;
use std::time::{Duration, Instant};

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
        OomKills { seen: count(), unexplained: None }
    }

    /// Whether a kill explains the end of a process that has just died by SIGKILL. Each explains one end.
    pub fn explain(&mut self) -> bool {
        self.explain_by(count(), Instant::now())
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

/// What this process's control group counts: its own processes, whether its limit or the machine's was reached.
/// Without one that counts, what the whole machine does.
fn count() -> Option<u64> {
    let groups = read_to_string("/proc/self/cgroup").unwrap_or_default();
    files(&groups).find_map(|file| field(&read_to_string(file).ok()?)).or_else(|| field(&read_to_string(VMSTAT).ok()?))
}

const VMSTAT: &str = "/proc/vmstat";

/// Where the count may be: under version 2, then under version 1.
fn files(groups: &str) -> impl Iterator<Item = String> + '_ {
    memory_groups(groups).into_iter().flat_map(|group| {
        let name = if group.unified { "memory.events" } else { "memory.oom_control" };
        [format!("{}{}/{name}", group.root, group.path), format!("{}/{name}", group.root)]
    })
}

/// A control group that counts memory. In a container its path may be the one outside of it; the group itself is at the
/// root then.
#[derive(Debug)]
pub(crate) struct Group {
    pub(crate) root: &'static str,
    /// Empty or with a leading slash.
    pub(crate) path: String,
    /// Of version 2, whose files have other names.
    pub(crate) unified: bool,
}

/// The groups in the text of `/proc/self/cgroup` that may count memory, the one of version 2 first.
pub(crate) fn memory_groups(text: &str) -> Vec<Group> {
    let group = |line: &str| {
        let mut parts = line.splitn(3, ':').skip(1);
        let (controllers, path) = (parts.next()?, parts.next()?.trim_end_matches('/').to_owned());
        match controllers {
            "" => Some(Group { root: "/sys/fs/cgroup", path, unified: true }),
            _ if controllers.split(',').any(|name| name == "memory") => {
                Some(Group { root: "/sys/fs/cgroup/memory", path, unified: false })
            }
            _ => None,
        }
    };
    let mut found: Vec<_> = text.lines().filter_map(group).collect();
    found.sort_by_key(|group| !group.unified);
    found
}

fn field(text: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix("oom_kill "))?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_both_versions_are_looked_for() {
        let groups = "9:name=systemd:/\n4:cpu,memory:/job/step\n2:cpu:/\n0::/user/me\n";
        let found: Vec<String> = files(groups).collect();
        let expected = [
            "/sys/fs/cgroup/user/me/memory.events",
            "/sys/fs/cgroup/memory.events",
            "/sys/fs/cgroup/memory/job/step/memory.oom_control",
            "/sys/fs/cgroup/memory/memory.oom_control",
        ];
        assert_eq!(found, expected);
        assert_eq!(files("0::/").next().as_deref(), Some("/sys/fs/cgroup/memory.events"));
        assert_eq!(files("no such line\n").count(), 0);
    }

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
    fn the_count_is_read_from_all_three_kinds_of_file() {
        assert_eq!(field("low 0\noom 3\noom_kill 2\noom_group_kill 1\n"), Some(2));
        assert_eq!(field("oom_kill_disable 0\nunder_oom 0\noom_kill 7\n"), Some(7));
        assert_eq!(field("pgfault 1\noom_kill 12\n"), Some(12));
        assert_eq!(field("oom_kill_disable 0\n"), None);
    }
}
