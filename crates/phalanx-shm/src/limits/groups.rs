//! The control groups of this process, of version 1 and 2.

/// Where Linux lists the groups of the process that reads.
const OWN: &str = "/proc/self/cgroup";

/// Where the files of all groups are.
const MOUNT: &str = "/sys/fs/cgroup";

/// A group's folder. Limits of a group hold for all groups below it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Group {
    /// Without a slash at the end.
    pub(super) folder: String,
    /// Of version 2, whose files have other names.
    pub(super) unified: bool,
}

impl Group {
    /// The path of one of its files.
    pub(super) fn file(&self, name: &str) -> String {
        format!("{}/{name}", self.folder)
    }
}

/// The groups by which `controller` may limit this process: those of version 2 first, each before the ones above it.
///
/// Not all of them need to exist. In a container the path may be the one outside of it; the group itself is then at the
/// mount point, which is why that is always among them. Of version 1, a mount point has the name of all of its
/// controllers ("cpu,cpuacct") or of the one.
pub(super) fn groups(controller: &str, read: impl Fn(&str) -> Option<String>) -> Vec<Group> {
    let text = read(OWN).unwrap_or_default();
    let mut mounts = Vec::new();
    for line in text.lines() {
        // "0::/a/b" for version 2, "4:cpu,cpuacct:/a/b" for version 1.
        let mut fields = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(path)) = (fields.next(), fields.next()) else { continue };
        if controllers.is_empty() {
            mounts.push((true, MOUNT.to_owned(), path));
        } else if controllers.split(',').any(|name| name == controller) {
            if controllers != controller {
                mounts.push((false, format!("{MOUNT}/{controllers}"), path));
            }
            mounts.push((false, format!("{MOUNT}/{controller}"), path));
        }
    }
    mounts.sort_by_key(|(unified, ..)| !unified);
    let mut found = Vec::new();
    for (unified, mount, path) in mounts {
        let mut path = path.trim_end_matches('/');
        loop {
            found.push(Group { folder: format!("{mount}{path}"), unified });
            let Some(end) = path.rfind('/') else { break };
            path = &path[..end];
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::super::table;
    use super::*;

    fn folders(controller: &str, own: &str) -> Vec<String> {
        groups(controller, table(&[(OWN, own)])).into_iter().map(|group| group.folder).collect()
    }

    #[test]
    fn groups_of_both_versions_are_found_with_all_that_are_above_them() {
        let own = "9:name=systemd:/\n4:cpu,memory:/job/step\n2:cpuset:/\n0::/user/me\n";
        let memory = [
            "/sys/fs/cgroup/user/me",
            "/sys/fs/cgroup/user",
            "/sys/fs/cgroup",
            "/sys/fs/cgroup/cpu,memory/job/step",
            "/sys/fs/cgroup/cpu,memory/job",
            "/sys/fs/cgroup/cpu,memory",
            "/sys/fs/cgroup/memory/job/step",
            "/sys/fs/cgroup/memory/job",
            "/sys/fs/cgroup/memory",
        ];
        assert_eq!(folders("memory", own), memory);
        assert_eq!(folders("cpuset", "2:cpuset:/\n"), ["/sys/fs/cgroup/cpuset"]);
        assert_eq!(folders("cpu", "0::/\n"), ["/sys/fs/cgroup"]);
        assert!(groups("cpu", table(&[(OWN, own)])).iter().take(3).all(|group| group.unified));
    }

    #[test]
    fn nonsense_and_a_missing_file_mean_no_group() {
        assert!(folders("cpu", "no such line\n::\n4:io:/a").iter().all(|folder| folder == MOUNT));
        assert_eq!(groups("cpu", |_| None), []);
    }
}
