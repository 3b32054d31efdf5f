//! Who is who in a universe.

use core::fmt;
use core::time::Duration;

/// Most process slots of a universe.
pub const MAX_SLOTS: u32 = 4096;

/// A process of the universe: the number of its slot. Never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProcId(pub u32);

impl fmt::Display for ProcId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The CPU time that a process has used, if there is one of that number.
pub(crate) fn cpu_time_of(pid: u32) -> Option<Duration> {
    let mut clock = 0;
    // SAFETY: writes one clock's number.
    let found = unsafe { libc::clock_getcpuclockid(i32::try_from(pid).ok()?, &raw mut clock) };
    if found != 0 {
        return None;
    }
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: writes one time; a clock whose process has ended is an error.
    let read = unsafe { libc::clock_gettime(clock, &raw mut time) };
    (read == 0).then(|| Duration::new(time.tv_sec as u64, time.tv_nsec as u32))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cpu_time_of_a_process_grows_while_it_computes() {
        let me = std::process::id();
        let before = cpu_time_of(me).expect("this process has a clock");
        let mut sum = 0u64;
        while cpu_time_of(me) <= Some(before + Duration::from_millis(1)) {
            sum = std::hint::black_box(sum + 1);
        }
        assert_eq!(cpu_time_of(u32::MAX), None);
    }
}
