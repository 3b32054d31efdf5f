//! Names that MPI libraries give to what the ranks of one machine share.

use std::path::Path;

/// Where such names are.
pub const FOLDER: &str = "/dev/shm";
/// How those of MPICH begin.
pub const MPICH: &str = "mpich_shm_";
/// How all that are known begin.
const NAMES: [&str; 3] = [MPICH, "Intel_MPI_", "ucx_shm_posix_"];

/// The name and the inode of a line of `/proc/PID/maps` ("range rights offset device inode path"), if it is one of those.
///
/// ```
/// let line = "7f0c8000-7f0c9000 rw-s 00000000 00:1a 77        /dev/shm/mpich_shm_2a705afb_0";
/// assert_eq!(phalanx_pmi::memory::mapped(line), Some(("mpich_shm_2a705afb_0", 77)));
/// ```
#[must_use]
pub fn mapped(line: &str) -> Option<(&str, u64)> {
    let (before, path) = line.split_at(line.find(FOLDER)?);
    let name = Path::new(path).strip_prefix(FOLDER).ok()?.to_str()?;
    let is_known = NAMES.iter().any(|known| name.starts_with(known)) && !name.contains('/');
    is_known.then_some((name, before.split_whitespace().nth(4)?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_lines_are_nobodys() {
        let line = "7f0c8000-7f0c9000 rw-s 00000000 00:1a 77                /dev/shm/mpich_shm_2a705afb_0";
        assert_eq!(mapped(line), Some(("mpich_shm_2a705afb_0", 77)));
        for other in [
            "7f0c8000-7f0c9000 rw-s 00000000 00:1a 77                /dev/shm/psm_2a705afb",
            "7f0c8000-7f0c9000 rw-s 00000000 00:1a 77                /dev/shm/mpich_shm_x/../../etc/passwd",
            "7f0c8000-7f0c9000 rw-p 00000000 00:00 0 ",
            "/dev/shm/mpich_shm_1",
            "nonsense /dev/shm/mpich_shm_1",
        ] {
            assert_eq!(mapped(other), None, "{other}");
        }
    }
}
