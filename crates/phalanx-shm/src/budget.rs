//! How long to spin before sleeping: ranks against the CPUs they may use.
//!
//! Spinning is right when the peer runs on another CPU and answers within a
//! microsecond, and harmful when the peer needs the very CPU that spins.

use std::fs;
use std::path::{Path, PathBuf};

/// Environment variable by which a launcher tells the ranks how many CPUs the job may use, since a rank bound to some of
/// them sees only those.
pub const JOB_CPUS: &str = "PHALANX_JOB_CPUS";

/// CPUs this job may use against the processes that want them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CpuBudget {
    /// CPUs, by affinity and cgroup quota; a quota of half a CPU is 0.5.
    pub cpus: f64,
    /// Processes of the job on this machine.
    pub ranks: u32,
}

impl CpuBudget {
    /// The budget of this process when `ranks` processes share the machine.
    pub fn detect(ranks: u32) -> CpuBudget {
        let affinity = rustix::thread::sched_getaffinity(None).map_or(1, |set| set.count().max(1));
        let told = std::env::var(JOB_CPUS).ok().and_then(|cpus| cpus.parse().ok());
        let affinity = affinity.max(told.unwrap_or(0));
        let quota = cgroup_quota(Path::new("/proc/self/cgroup"), Path::new("/sys/fs/cgroup"));
        CpuBudget::new(affinity, quota, ranks)
    }

    /// The budget from known figures: CPUs by affinity, cgroup quota in CPUs.
    pub fn new(affinity: u32, quota: Option<f64>, ranks: u32) -> CpuBudget {
        let cpus = quota.map_or(f64::from(affinity), |q| q.min(f64::from(affinity)));
        CpuBudget { cpus, ranks: ranks.max(1) }
    }

    /// Whether more ranks want to run than CPUs are there for them.
    pub fn oversubscribed(&self) -> bool {
        f64::from(self.ranks) > self.cpus
    }

    /// Polls (each with a pause instruction, some 20-50 ns) before yielding.
    ///
    /// With a CPU per rank: long enough (about 100 us) to cover the peer's own
    /// turnaround and to be longer than a wake-up across CPUs (about 30 us).
    /// Oversubscribed: a handful, since the peer probably waits for this CPU.
    pub fn spins(&self) -> u32 {
        if self.oversubscribed() { 20 } else { 4000 }
    }

    /// `sched_yield` calls before sleeping. Cheap turns for the others when the
    /// machine is shared; beyond about one round of all ranks sleep is better.
    pub fn yields(&self) -> u32 {
        if self.oversubscribed() {
            let sharing = (f64::from(self.ranks) / self.cpus.max(1.0)).ceil();
            (sharing as u32 * 2).clamp(4, 32)
        } else {
            10
        }
    }
}

/// CPU quota of this process's cgroup and of every ancestor: the smallest.
fn cgroup_quota(own: &Path, root: &Path) -> Option<f64> {
    let lines = fs::read_to_string(own).ok()?;
    let mut least: Option<f64> = None;
    for line in lines.lines() {
        // "0::/a/b" for version 2, "4:cpu,cpuacct:/a/b" for version 1.
        let mut fields = line.splitn(3, ':');
        let (Some(_), Some(controllers), Some(path)) = (fields.next(), fields.next(), fields.next()) else {
            continue;
        };
        let (base, read): (PathBuf, fn(&Path) -> Option<f64>) = if controllers.is_empty() {
            (root.to_path_buf(), quota_v2)
        } else if controllers.split(',').any(|c| c == "cpu") {
            // Mounted under the full list or under the bare name.
            let full = root.join(controllers);
            (if full.is_dir() { full } else { root.join("cpu") }, quota_v1)
        } else {
            continue;
        };
        // Inside a container the path may not exist below the mount point: the
        // mount point itself is then the container's own group.
        let mut at = Some(Path::new(path.trim_start_matches('/')));
        while let Some(here) = at {
            if let Some(q) = read(&base.join(here)) {
                least = Some(least.map_or(q, |l| l.min(q)));
            }
            at = if here.as_os_str().is_empty() { None } else { here.parent() };
        }
    }
    least
}

/// `cpu.max`: "max 100000" or "150000 100000" (quota and period in us).
fn quota_v2(group: &Path) -> Option<f64> {
    let text = fs::read_to_string(group.join("cpu.max")).ok()?;
    let mut words = text.split_whitespace();
    let quota: f64 = words.next()?.parse().ok()?;
    let period: f64 = words.next()?.parse().ok()?;
    (period > 0.0 && quota > 0.0).then(|| quota / period)
}

/// `cpu.cfs_quota_us` (-1 for none) over `cpu.cfs_period_us`.
fn quota_v1(group: &Path) -> Option<f64> {
    let read = |name: &str| -> Option<f64> { fs::read_to_string(group.join(name)).ok()?.trim().parse().ok() };
    let quota = read("cpu.cfs_quota_us")?;
    let period = read("cpu.cfs_period_us")?;
    (period > 0.0 && quota > 0.0).then(|| quota / period)
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str, files: &[(&str, &str)]) -> Folder {
            let unique = format!("phalanx-budget-{name}-{}", std::process::id());
            let folder = Folder(std::env::temp_dir().join(unique));
            for (path, text) in files {
                let path = folder.0.join(path);
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                fs::write(path, text).unwrap();
            }
            folder
        }

        fn quota(&self) -> Option<f64> {
            cgroup_quota(&self.0.join("self"), &self.0.join("fs"))
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn version_2_takes_the_smallest_of_all_ancestors() {
        let folder = Folder::new(
            "v2",
            &[
                ("self", "0::/jobs/a\n"),
                ("fs/jobs/a/cpu.max", "max 100000\n"),
                ("fs/jobs/cpu.max", "150000 100000\n"),
                ("fs/cpu.max", "400000 100000\n"),
            ],
        );
        assert_eq!(folder.quota(), Some(1.5));
    }

    #[test]
    fn version_1_is_read_from_its_own_hierarchy() {
        let folder = Folder::new(
            "v1",
            &[
                ("self", "5:memory:/m\n4:cpu,cpuacct:/box\n"),
                ("fs/cpu,cpuacct/box/cpu.cfs_quota_us", "50000\n"),
                ("fs/cpu,cpuacct/box/cpu.cfs_period_us", "100000\n"),
                ("fs/cpu,cpuacct/cpu.cfs_quota_us", "-1\n"),
                ("fs/cpu,cpuacct/cpu.cfs_period_us", "100000\n"),
            ],
        );
        assert_eq!(folder.quota(), Some(0.5));
    }

    #[test]
    fn no_quota_no_files_and_nonsense_mean_no_limit() {
        assert_eq!(Folder::new("none", &[("self", "0::/\n"), ("fs/cpu.max", "max 1\n")]).quota(), None);
        assert_eq!(Folder::new("bad", &[("self", "rubbish"), ("fs/cpu.max", "1 0")]).quota(), None);
        assert_eq!(cgroup_quota(Path::new("/no/such"), Path::new("/no/such")), None);
    }

    #[test]
    fn ranks_spin_only_with_a_cpu_each() {
        let roomy = CpuBudget::new(4, None, 4);
        let tight = CpuBudget::new(4, Some(3.5), 4);
        assert!(!roomy.oversubscribed());
        assert!(tight.oversubscribed());
        assert!(roomy.spins() > 100 * tight.spins());
        assert!(tight.yields() >= 4);
        assert!(CpuBudget::detect(1).cpus > 0.0);
    }
}
