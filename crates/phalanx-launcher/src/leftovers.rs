//! Memory that an MPI library leaves behind when its ranks are killed.
//!
//! Ours has no name, and goes with the last process that has it. MPICH gives what the ranks of one machine share a name in
//! `/dev/shm`, and takes it away in `MPI_Finalize`, which a rank that is killed or aborts never reaches; Intel MPI and UCX take theirs
//! away as soon as all have it, and leave it when they are killed before. (Python's ranks take MPICH's away themselves once all have
//! it, see `init/names.rs` of the binding: C programs do not, nor does who is killed earlier.) So what ranks have mapped is noted
//! before they are signalled, and removed when they have ended. Ranks that somebody else ends, one after the other, in a job that goes
//! on (`--keep-going`) are looked at now and then while they run, and when another one has ended. What no rank has mapped, and any other
//! name, is somebody else's.

use std::fs;
use std::os::fd::OwnedFd;
use std::rc::Rc;

use phalanx_pmi::memory::{self, FOLDER};
use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::process::{Pid, Signal};

use crate::look::tree;
use crate::process::number;

/// Files that ranks have mapped.
#[derive(Debug, Default)]
pub(crate) struct Leftovers(Vec<File>);

#[derive(Debug)]
struct File {
    /// The folder as the rank sees it, which may be in a container.
    folder: Rc<OwnedFd>,
    name: String,
    inode: u64,
}

impl Leftovers {
    /// Before ranks get a signal: notes what they have mapped, and if they are killed removes it at once, since who kills them may be
    /// killed meanwhile.
    pub(crate) fn before<'a>(&mut self, signal: Signal, ranks: impl IntoIterator<Item = &'a Pid>) {
        if !matches!(signal, Signal::STOP | Signal::CONT) {
            self.note(ranks);
        }
        if signal == Signal::KILL {
            self.remove();
        }
    }

    /// Notes what ranks, and what they have started, have mapped now.
    pub(crate) fn note<'a>(&mut self, ranks: impl IntoIterator<Item = &'a Pid>) {
        for pid in ranks.into_iter().flat_map(|rank| tree(number(*rank))) {
            // Paths may be any bytes.
            let maps = fs::read(format!("/proc/{pid}/maps")).unwrap_or_default();
            let maps = String::from_utf8_lossy(&maps);
            let mut found: Vec<(&str, u64)> = maps.lines().filter_map(memory::mapped).collect();
            found.sort_unstable();
            found.dedup();
            found.retain(|(name, inode)| !self.0.iter().any(|file| file.inode == *inode && file.name == *name));
            if found.is_empty() {
                continue;
            }
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
            let Ok(folder) = rustix::fs::open(format!("/proc/{pid}/root{FOLDER}"), flags, Mode::empty()) else {
                continue;
            };
            let folder = Rc::new(folder);
            self.0.extend(found.into_iter().map(|(name, inode)| File {
                folder: folder.clone(),
                name: name.into(),
                inode,
            }));
        }
    }

    /// Removes what was noted, unless something else has its name now.
    pub(crate) fn remove(&mut self) {
        for File { folder, name, inode } in self.0.drain(..) {
            let there = rustix::fs::statat(&*folder, &name, AtFlags::SYMLINK_NOFOLLOW);
            if there.is_ok_and(|there| there.st_ino == inode) {
                let _ = rustix::fs::unlinkat(&*folder, &name, AtFlags::empty());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    #[expect(unsafe_code, reason = "a mapping that is to be found")]
    fn map(file: &fs::File) {
        use rustix::mm::{MapFlags, ProtFlags};
        // SAFETY: a new mapping, in which nobody looks, and which stays until the process ends.
        unsafe { rustix::mm::mmap(std::ptr::null_mut(), 4096, ProtFlags::READ, MapFlags::SHARED, file, 0) }
            .expect("a mapping");
    }

    #[test]
    fn what_a_process_has_mapped_is_removed_and_nothing_else() {
        let path = |what: &str| PathBuf::from(format!("{FOLDER}/mpich_shm_test_{}_{what}", std::process::id()));
        let (ours, replaced, others) = (path("ours"), path("replaced"), path("others"));
        for path in [&ours, &replaced, &others] {
            let file = fs::File::options().read(true).write(true).create_new(true).open(path).expect("a file");
            file.set_len(4096).expect("a page");
            if path != &others {
                map(&file);
            }
        }
        let mut found = Leftovers::default();
        found.note([&rustix::process::getpid()]);
        // Kept until the other is there, whose inode has to be another one.
        let kept = fs::File::open(&replaced).expect("the first");
        fs::remove_file(&replaced).expect("away");
        fs::write(&replaced, "another").expect("another");
        drop(kept);
        found.remove();
        let left: Vec<bool> = [&ours, &replaced, &others].map(|path| path.exists()).to_vec();
        for path in [&replaced, &others] {
            let _ = fs::remove_file(path);
        }
        assert_eq!(left, [false, true, true]);
    }
}
