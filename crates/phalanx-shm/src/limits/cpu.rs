//! The time of how many CPUs this process's control groups allow.

use super::groups::{Group, groups};
use super::text_of;

/// CPU quota of this process's groups and of every group above: the smallest. A quota of half a CPU is 0.5.
pub(crate) fn quota() -> Option<f64> {
    find(text_of)
}

fn find(read: impl Fn(&str) -> Option<String>) -> Option<f64> {
    groups("cpu", &read).iter().filter_map(|group| quota_of(group, &read)).reduce(f64::min)
}

fn quota_of(group: &Group, read: impl Fn(&str) -> Option<String>) -> Option<f64> {
    let text = if group.unified {
        // "max 100000" or "150000 100000": quota and period in us.
        read(&group.file("cpu.max"))?
    } else {
        // The quota is -1 for none.
        format!("{} {}", read(&group.file("cpu.cfs_quota_us"))?, read(&group.file("cpu.cfs_period_us"))?)
    };
    let mut words = text.split_whitespace();
    let quota: f64 = words.next()?.parse().ok()?;
    let period: f64 = words.next()?.parse().ok()?;
    (period > 0.0 && quota > 0.0).then(|| quota / period)
}

#[cfg(test)]
mod tests {
    use super::super::table;
    use super::*;

    fn quota(files: &[(&str, &str)]) -> Option<f64> {
        find(table(files))
    }

    #[test]
    fn the_smallest_quota_of_all_groups_above_counts() {
        let unified = [
            ("/proc/self/cgroup", "0::/jobs/a\n"),
            ("/sys/fs/cgroup/jobs/a/cpu.max", "max 100000\n"),
            ("/sys/fs/cgroup/jobs/cpu.max", "150000 100000\n"),
            ("/sys/fs/cgroup/cpu.max", "400000 100000\n"),
        ];
        assert_eq!(quota(&unified), Some(1.5));
        let first = [
            ("/proc/self/cgroup", "5:memory:/m\n4:cpu,cpuacct:/box\n"),
            ("/sys/fs/cgroup/cpu,cpuacct/box/cpu.cfs_quota_us", "50000\n"),
            ("/sys/fs/cgroup/cpu,cpuacct/box/cpu.cfs_period_us", "100000\n"),
            ("/sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us", "-1\n"),
            ("/sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us", "100000\n"),
        ];
        assert_eq!(quota(&first), Some(0.5));
    }

    #[test]
    fn no_quota_no_files_and_nonsense_mean_no_limit() {
        assert_eq!(quota(&[("/proc/self/cgroup", "0::/\n"), ("/sys/fs/cgroup/cpu.max", "max 1\n")]), None);
        assert_eq!(quota(&[("/proc/self/cgroup", "0::/\n"), ("/sys/fs/cgroup/cpu.max", "1 0\n")]), None);
        assert_eq!(quota(&[("/proc/self/cgroup", "rubbish")]), None);
        assert_eq!(quota(&[]), None);
    }
}
