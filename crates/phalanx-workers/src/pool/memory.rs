//! How much memory a worker has for itself, for `memory_limit`.
//!
//! The kernel counts the resident pages of a process, and those of them that are of files or shared memory (`statm`, a
//! read of a few microseconds). The rest is what it has allocated, and for a forked worker also what its parent had when
//! it was forked: pages that both have until one of them writes. A worker that only reads a parent's array of 320 MB has
//! used nothing, though `statm` counts those pages from its first instant.
//!
//! So the count at the start is remembered, and there are three answers:
//!
//! ```text
//!    what statm counts <= limit                  within the limit, with all that is inherited
//!    what statm counts - the start's > limit     over it: so much has come since
//!    neither                                     what is inherited, and what is its own?
//! ```
//!
//! The last is asked of `smaps_rollup`, which looks at each page and counts as private what one process alone maps. Of
//! what was inherited, that is what the worker has written to, of which it has copies now, and what all others have given
//! up since. Files and shared memory that it alone maps count as private too. Their parts in the proportional sums are
//! taken off, which are at least as large: the answer is a lower bound, and nobody is ended for what he shares.
//!
//! That look takes milliseconds for each GiB, and holds up the worker's own page faults. It is repeated only after twenty
//! times as long as it took.

use std::time::{Duration, Instant};

/// The share of the time that may be spent in close looks, as its inverse.
const REST: u32 = 20;

/// What is known of a process.
pub(super) struct Memory {
    pid: u32,
    limit: u64,
    /// What `statm` counted at the start.
    start: u64,
    /// When a close look may be taken again.
    again: Instant,
}

impl Memory {
    /// To be made when the process has just been started.
    pub(super) fn of(pid: u32, limit: u64) -> Memory {
        Memory { pid, limit, start: resident(pid).unwrap_or(0), again: Instant::now() }
    }

    /// Bytes that the process may use.
    pub(super) fn limit(&self) -> u64 {
        self.limit
    }

    /// How much it uses, if that is more than it may.
    pub(super) fn over(&mut self) -> Option<u64> {
        let now = resident(self.pid)?;
        if now <= self.limit {
            return None;
        }
        let since = now.saturating_sub(self.start);
        if since > self.limit {
            return Some(since);
        }
        let begun = Instant::now();
        if begun < self.again {
            return None;
        }
        let own = private(self.pid);
        let took = begun.elapsed();
        self.again = begun + took + took.saturating_mul(REST).max(Duration::from_millis(1));
        own.filter(|own| *own > self.limit)
    }
}

/// What is resident and not of files or shared memory, in bytes.
fn resident(pid: u32) -> Option<u64> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/statm")).ok()?;
    let mut fields = text.split(' ').skip(1).map(str::parse::<u64>);
    let (resident, shared) = (fields.next()?.ok()?, fields.next()?.ok()?);
    Some(resident.saturating_sub(shared) * rustix::param::page_size() as u64)
}

/// What only this process has of that, at least.
fn private(pid: u32) -> Option<u64> {
    let rollup = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?;
    let field = |name: &str| {
        let line = rollup.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
        line.trim().strip_suffix(" kB")?.parse::<u64>().ok()
    };
    let private = field("Private_Clean")? + field("Private_Dirty")?;
    // Linux 5.9 and newer tell these; without, the mapped libraries count.
    let others = field("Pss_File").unwrap_or(0) + field("Pss_Shmem").unwrap_or(0);
    Some(private.saturating_sub(others) << 10)
}
