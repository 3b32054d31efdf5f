//! Who a process is, and whether it still lives.
//!
//! A process number alone is not an identity: the system gives it out again. Together with the process's start time
//! it is. A process that has ended but was not yet waited for (a zombie) is dead here: it will never release anything.

use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::Once;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use crate::fork;

/// The identity of a process: its number (22 bits are used by Linux) and the low half of its start time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ProcessTag(u64);

/// Bits 54 to 63 of a tag are free for its keeper (see [`ProcessTag::bits`]).
const PID_BITS: u32 = 22;

/// The start time of process `pid` in clock ticks since boot, `None` when it cannot be read.
fn start_time(pid: u32) -> Option<u64> {
    let stat = std::fs::read(format!("/proc/{pid}/stat")).ok()?;
    // The second field is the program's name in parentheses, which may hold anything.
    let after = stat.iter().rposition(|byte| *byte == b')')?;
    let text = std::str::from_utf8(stat.get(after + 2..)?).ok()?;
    text.split(' ').nth(19)?.parse().ok()
}

impl ProcessTag {
    /// The calling process. Cached; noticed anew after `fork`.
    #[must_use]
    pub fn me() -> ProcessTag {
        static TAG: AtomicU64 = AtomicU64::new(0);
        static FORKS: AtomicU32 = AtomicU32::new(u32::MAX);
        let forks = fork::generation();
        // Relaxed: a thread that sees one value new and the other old computes the tag again.
        if FORKS.load(Ordering::Relaxed) == forks {
            let tag = TAG.load(Ordering::Relaxed);
            if tag != 0 {
                return ProcessTag(tag);
            }
        }
        let tag = ProcessTag::of(std::process::id());
        TAG.store(0, Ordering::SeqCst);
        FORKS.store(forks, Ordering::SeqCst);
        TAG.store(tag.0, Ordering::SeqCst);
        tag
    }

    /// The process that has number `pid` now.
    #[must_use]
    pub fn of(pid: u32) -> ProcessTag {
        let start = start_time(pid).unwrap_or(0) & u64::from(u32::MAX);
        ProcessTag(start << PID_BITS | u64::from(pid) & ((1 << PID_BITS) - 1))
    }

    /// The tag in one word, never 0; its upper ten bits are 0.
    #[must_use]
    pub fn bits(self) -> u64 {
        self.0
    }

    /// The tag of [`ProcessTag::bits`]; the upper ten bits are ignored.
    #[must_use]
    pub fn from_bits(bits: u64) -> ProcessTag {
        ProcessTag(bits & ((1 << (PID_BITS + 32)) - 1))
    }

    /// The process number.
    #[must_use]
    pub fn pid(self) -> u32 {
        (self.0 & ((1 << PID_BITS) - 1)) as u32
    }

    /// Whether that process still runs. Two or three system calls.
    ///
    /// A process whose start time cannot be read (a hidden `/proc`) counts as the same one while its number is in use.
    #[must_use]
    pub fn is_alive(self) -> bool {
        let Some(pid) = i32::try_from(self.pid()).ok().and_then(Pid::from_raw) else {
            return false;
        };
        match pidfd_open(pid, PidfdFlags::empty()) {
            Ok(fd) => {
                // Readable: it has ended, whether or not anybody has waited for it.
                let mut ready = [PollFd::new(&fd, PollFlags::IN)];
                if matches!(poll(&mut ready, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })), Ok(n) if n > 0) {
                    return false;
                }
            }
            Err(Errno::SRCH | Errno::INVAL) => return false,
            // No pidfd to be had (descriptors used up): the start time decides.
            Err(_) => {}
        }
        let started = self.0 >> PID_BITS;
        match start_time(self.pid()) {
            Some(now) => started == 0 || now & u64::from(u32::MAX) == started,
            None => started == 0,
        }
    }
}

/// A process in 31 bits, for words that have no more room: its number and 9 bits that depend on when it started.
///
/// A process that was given the number of a dead one passes for it once in 512 times.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ShortTag(u32);

const HASH_BITS: u32 = 9;

/// This process's short tag, 0 before it was asked for and again in a forked child.
static SHORT: AtomicU32 = AtomicU32::new(0);

extern "C" fn forget_short() {
    SHORT.store(0, Ordering::Relaxed);
}

impl ShortTag {
    /// The calling process. One load after the first call.
    #[inline]
    #[must_use]
    pub fn me() -> ShortTag {
        match SHORT.load(Ordering::Relaxed) {
            0 => ShortTag::find_me(),
            tag => ShortTag(tag),
        }
    }

    #[cold]
    fn find_me() -> ShortTag {
        static HANDLER: Once = Once::new();
        HANDLER.call_once(|| {
            // SAFETY: a function without captures that stores to an atomic, which is allowed between fork and exec.
            unsafe { libc::pthread_atfork(None, None, Some(forget_short)) };
        });
        let tag = ProcessTag::me().short();
        SHORT.store(tag.0, Ordering::Relaxed);
        tag
    }

    /// The process that has number `pid` now.
    #[must_use]
    pub fn of(pid: u32) -> ShortTag {
        ProcessTag::of(pid).short()
    }

    /// As a number below 2^31, never 0.
    #[inline]
    #[must_use]
    pub fn to_u32(self) -> u32 {
        self.0
    }

    /// The tag of [`ShortTag::to_u32`]; the upper bit is ignored, and 0 is none.
    #[inline]
    #[must_use]
    pub fn from_u32(tag: u32) -> Option<ShortTag> {
        let tag = tag & !(1 << 31);
        (tag != 0).then_some(ShortTag(tag))
    }

    /// The process number.
    #[inline]
    #[must_use]
    pub fn pid(self) -> u32 {
        self.0 & ((1 << PID_BITS) - 1)
    }

    /// Whether that process still runs. Some system calls.
    #[must_use]
    pub fn is_alive(self) -> bool {
        if self == ShortTag::me() {
            return true;
        }
        let now = ProcessTag::of(self.pid());
        now.short() == self && now.is_alive()
    }
}

impl ProcessTag {
    /// The tag cut to 31 bits.
    #[must_use]
    pub fn short(self) -> ShortTag {
        let hash = self.0.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> (64 - HASH_BITS);
        ShortTag((hash as u32) << PID_BITS | self.pid())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_itself_and_alive() {
        let me = ProcessTag::me();
        assert_eq!(me.pid(), std::process::id());
        assert_eq!(me, ProcessTag::of(std::process::id()));
        assert_eq!(ProcessTag::from_bits(me.bits() | 1 << 63), me);
        assert!(me.is_alive());
        assert_eq!(ShortTag::from_u32(ShortTag::me().to_u32() | 1 << 31), Some(me.short()));
        assert_eq!(me.short().pid(), me.pid());
        assert!(me.short().is_alive());
    }

    #[test]
    fn an_ended_process_is_dead_before_and_after_it_was_waited_for() {
        let mut child = std::process::Command::new("sleep").arg("60").spawn().expect("sleep starts");
        let tag = ProcessTag::of(child.id());
        assert!(tag.is_alive());
        child.kill().expect("can be killed");
        // WNOWAIT: wait for the end without collecting it.
        while tag.is_alive() {
            std::thread::yield_now();
        }
        assert!(!tag.is_alive(), "a zombie is dead");
        assert!(!tag.short().is_alive());
        child.wait().expect("can be waited for");
        assert!(!tag.is_alive() && !tag.short().is_alive());
    }

    #[test]
    fn a_number_given_out_again_is_another_process() {
        let me = ProcessTag::me();
        let earlier = ProcessTag::from_bits(me.bits() ^ 1 << PID_BITS);
        assert_eq!(earlier.pid(), me.pid());
        assert!(!earlier.is_alive());
    }
}
