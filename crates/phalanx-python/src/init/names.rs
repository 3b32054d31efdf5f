//! Memory of MPICH's that would stay on a machine when its ranks are killed.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use phalanx_pmi::memory::{FOLDER, MPICH, mapped};

use crate::extras;

/// A session has been the first to need the library.
static BY_SESSION: AtomicBool = AtomicBool::new(false);

/// A session begins: where it comes before `MPI_Init`, nobody waits for the other ranks, and the name has to stay.
pub(crate) fn session_begins() {
    if !super::is_active() {
        BY_SESSION.store(true, Relaxed);
    }
}

/// Takes away the name of what the ranks of this machine share, on MPICH, which does so in `MPI_Finalize` only: what is killed, or
/// aborts, would leave it behind.
///
/// To be called after `MPI_Init`, which returns when all ranks of the machine have the memory; nobody opens it by its name again, and
/// `MPI_Finalize` does not miss it (MPICH 5.0.2).
pub(super) fn take_away() {
    if extras::is_embedded() || BY_SESSION.load(Relaxed) {
        return;
    }
    // Paths may be any bytes.
    let maps = fs::read("/proc/self/maps").unwrap_or_default();
    for (name, inode) in String::from_utf8_lossy(&maps).lines().filter_map(mapped) {
        let path = Path::new(FOLDER).join(name);
        let is_there = || fs::symlink_metadata(&path).is_ok_and(|there| there.ino() == inode);
        if name.starts_with(MPICH) && is_there() {
            // Another rank may have been faster.
            let _ = fs::remove_file(&path);
        }
    }
}
