//! Which process a process is, however often its number is given out, and whether it is known to have ended.
//!
//! A process number alone is not an identity: the system gives it out again. Together with the process's start time
//! it is. A process that has ended but was not yet waited for (a zombie) is dead here: it will never release anything.
//!
//! Architecture Invariant: nobody is dead for want of an answer. Taking a living process for dead gives its locks and
//! its memory to others; taking a dead one for alive costs time. So there is no "is it alive?" that could be answered
//! with no: [`ProcessTag::death`] returns what *proves* the end, and each value of [`Death`] is made where the proof
//! is seen. Descriptors used up, a hidden or missing `/proc`, a filtered system call prove nothing.
//!
//! | what can be found out | decides |
//! |---|---|
//! | a descriptor of the process | whether it has ended; then its start time, if it can be read |
//! | no descriptor to be had | whether the number is in use; whether a child of this process has ended; the start time, if it can be read |
//! | neither | nothing: it counts as alive |
//!
//! **Born without descriptors.** A process that cannot read its own start time has a tag without one, for as long as it
//! lives (a tag must not change: locks carry it). Such a tag is decided by the number alone.
//!
//! **Namespaces.** Numbers mean something within one PID namespace, and start times within one time namespace. A family
//! is at home where its first process was when it made the arena, a universe where its creator was. A member elsewhere
//! carries a mark in its tag: it is never found dead, and finds nobody dead.

use crate::sync::{AtomicU32, AtomicU64, Ordering};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, WaitId, WaitIdOptions, getppid, pidfd_open, test_kill_process, waitid};

use crate::fork;

/// The identity of a process: its number (22 bits are used by Linux), the low half of its start time (0: not known), and
/// whether it is outside the family's namespaces.
///
/// ```
/// use phalanx_shm::{Death, ProcessTag};
///
/// let mut child = std::process::Command::new("sleep").arg("60").spawn()?;
/// let tag = ProcessTag::of(child.id());
/// assert!(tag.is_alive());
/// child.kill()?;
/// child.wait()?;
/// assert_eq!(tag.death(), Some(Death::NoSuchProcess));
/// assert!(ProcessTag::me().is_alive());
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ProcessTag(u64);

/// Bits 55 to 63 of a tag are free for its keeper (see [`ProcessTag::bits`]).
const PID_BITS: u32 = 22;

/// The process is outside the namespaces of its family.
const FOREIGN: u64 = 1 << (PID_BITS + 32);

/// What proves that a process has ended. There is no value for "could not be found out".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Death {
    /// The kernel says that no process has its number.
    NoSuchProcess,
    /// The kernel says that the process of that number has ended.
    Ended,
    /// The process of that number has another start time: it is a later one.
    NumberReused,
}

/// Field `number` in the text of a `stat` file, counted from 1 as in proc(5); from the third on.
fn field_in(stat: &[u8], number: usize) -> Option<u64> {
    // The second field is the program's name in parentheses, which may hold anything.
    let after = stat.iter().rposition(|byte| *byte == b')')?;
    let text = std::str::from_utf8(stat.get(after + 2..)?).ok()?;
    text.split(' ').nth(number.checked_sub(3)?)?.trim_end().parse().ok()
}

/// The start time in the text of a `stat` file, in clock ticks since boot, cut to 32 bits. `None` when there is none, or
/// it is 0, which stands for "not known".
fn start_in(stat: &[u8]) -> Option<u64> {
    let start = field_in(stat, 22)? & u64::from(u32::MAX);
    (start != 0).then_some(start)
}

/// The parent of process `pid`, as `/proc` has it; `None` when there is no such process. Needs a descriptor.
///
/// # Errors
///
/// When that could not be found out.
pub fn parent_of(pid: u32) -> io::Result<Option<u32>> {
    let gone = |error: &io::Error| {
        Errno::from_io_error(error).is_some_and(|error| matches!(error, Errno::NOENT | Errno::SRCH))
    };
    match std::fs::read(format!("/proc/{pid}/stat")) {
        Ok(stat) => {
            let parent = field_in(&stat, 4).and_then(|parent| u32::try_from(parent).ok());
            parent.map(Some).ok_or_else(|| io::ErrorKind::InvalidData.into())
        }
        Err(error) if gone(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Whether `/proc` is that of this process's PID namespace. Another one has other processes under these numbers.
fn has_own_proc() -> bool {
    let own = std::fs::read_link("/proc/self").ok();
    own.and_then(|own| own.to_str()?.parse().ok()) == Some(std::process::id())
}

/// The start time of process `pid`, if it can be read. Needs a descriptor.
fn start_of(pid: u32) -> Option<u64> {
    if !has_own_proc() {
        return None;
    }
    start_in(&std::fs::read(format!("/proc/{pid}/stat")).ok()?)
}

/// Whether the process of a descriptor has ended, whether or not anybody has waited for it.
fn has_ended(fd: &OwnedFd) -> bool {
    let mut fds = [PollFd::new(fd, PollFlags::IN)];
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    poll(&mut fds, Some(&now)).is_ok_and(|ready| ready > 0) && fds[0].revents().contains(PollFlags::IN)
}

/// Whether a child of this process has ended and was not yet waited for. Needs no descriptor, and leaves it as it is.
fn is_ended_child(pid: Pid) -> bool {
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    matches!(waitid(WaitId::Pid(pid), options), Ok(Some(_)))
}

/// What proves that process `pid`, which is no foreign one, has ended; `is_later` tells whether a start time is another
/// than that process's.
fn death(pid: u32, is_later: impl FnOnce(u64) -> bool) -> Option<Death> {
    if ProcessTag::me().is_foreign() {
        return None;
    }
    let number = i32::try_from(pid).ok().and_then(Pid::from_raw)?;
    match pidfd_open(number, PidfdFlags::empty()) {
        Ok(fd) if has_ended(&fd) => return Some(Death::Ended),
        Ok(_) => {}
        Err(Errno::SRCH) => return Some(Death::NoSuchProcess),
        // Descriptors used up, an old kernel, a filter: ask without a descriptor.
        Err(_) => {
            if test_kill_process(number) == Err(Errno::SRCH) {
                return Some(Death::NoSuchProcess);
            }
            if is_ended_child(number) {
                return Some(Death::Ended);
            }
        }
    }
    start_of(pid).filter(|now| is_later(*now)).map(|_| Death::NumberReused)
}

/// Where numbers and start times of the family are at home: [`namespaces`], or one of the two below. 0 before it is
/// known. Written by the first thread that asks, and by [`settle`].
static HOME: AtomicU64 = AtomicU64::new(0);

/// [`HOME`] of a process that could not find out.
const UNKNOWN_HOME: u64 = 1;

/// [`HOME`] of a process that has met families of several homes: it is outside.
const NO_HOME: u64 = 2;

/// The PID and time namespaces of this process. Needs no descriptor, but `/proc`.
pub(crate) fn namespaces() -> Option<u64> {
    let inode = |kind: &str| std::fs::metadata(format!("/proc/self/ns/{kind}")).ok().map(|file| file.ino());
    // Kernels before 5.6 have no time namespaces. Inodes of namespaces have 32 bits.
    Some(inode("pid")? & u64::from(u32::MAX) | inode("time").unwrap_or(0) << 32)
}

/// Whether this process, which is in the namespaces `here`, is outside those of its family, `home`. `last` is the tag that
/// it had, or its parent when it was forked.
fn is_outside(here: Option<u64>, home: u64, last: Option<ProcessTag>) -> bool {
    match (here, last) {
        (Some(here), _) => here != home,
        // Forked where there is no `/proc`: a parent in another PID namespace would have number 0 here.
        (None, Some(parent)) => {
            parent.is_foreign() || getppid().is_none_or(|pid| pid.as_raw_pid().cast_unsigned() != parent.pid())
        }
        (None, None) => home != UNKNOWN_HOME,
    }
}

/// Called for the memory of each family that this process has part in: `home` is a word there that says where that
/// family is at home, 0 in new memory.
pub(crate) fn settle(home: &AtomicU64) {
    /// The home of the first family.
    static SETTLED: AtomicU64 = AtomicU64::new(0);
    let native = !ProcessTag::me().is_foreign();
    let known = HOME.load(Ordering::SeqCst);
    let mine = namespaces().or(native.then_some(known)).unwrap_or(UNKNOWN_HOME);
    let theirs = home.compare_exchange(0, mine, Ordering::SeqCst, Ordering::SeqCst).err().unwrap_or(mine);
    let now = match SETTLED.compare_exchange(0, theirs, Ordering::SeqCst, Ordering::SeqCst) {
        Err(first) if first != theirs => NO_HOME,
        _ => theirs,
    };
    // SYNC POINT own-home: SeqCst, a thread that stores a tag after it is forgotten looks at the home after this.
    if HOME.swap(now, Ordering::SeqCst) != now {
        forget();
    }
}

impl ProcessTag {
    /// The calling process. Cached; noticed anew after `fork`.
    #[must_use]
    pub fn me() -> ProcessTag {
        let forks = fork::generation();
        // SYNC POINT own-tag: Acquire, a tag that is read after the number of its forks is that one's or 0.
        if FORKS.load(Ordering::Acquire) == forks {
            let tag = TAG.load(Ordering::Relaxed);
            if tag != 0 {
                return ProcessTag(tag);
            }
        }
        ProcessTag::find_me(forks)
    }

    #[cold]
    fn find_me(forks: u32) -> ProcessTag {
        /// The last tag found: this process's, or that of the one it was forked from.
        static LAST: AtomicU64 = AtomicU64::new(0);
        let last = LAST.load(Ordering::SeqCst);
        let last = (last != 0).then_some(ProcessTag(last));
        loop {
            let here = namespaces();
            let mine = here.unwrap_or(UNKNOWN_HOME);
            let home = HOME.compare_exchange(0, mine, Ordering::SeqCst, Ordering::SeqCst).err().unwrap_or(mine);
            let foreign = is_outside(here, home, last);
            let start = std::fs::read("/proc/self/stat").ok().and_then(|stat| start_in(&stat));
            let tag = ProcessTag::new(std::process::id(), start, foreign);
            TAG.store(0, Ordering::SeqCst);
            // SYNC POINT own-tag: SeqCst includes Release, the tag of other forks is gone before.
            FORKS.store(forks, Ordering::SeqCst);
            TAG.store(tag.0, Ordering::SeqCst);
            LAST.store(tag.0, Ordering::SeqCst);
            // SYNC POINT own-home: SeqCst, a home that is settled after this look makes the tag be forgotten after it was
            // stored.
            if HOME.load(Ordering::SeqCst) == home {
                return tag;
            }
        }
    }

    fn new(pid: u32, start: Option<u64>, foreign: bool) -> ProcessTag {
        let mark = if foreign { FOREIGN } else { 0 };
        ProcessTag(mark | start.unwrap_or(0) << PID_BITS | u64::from(pid) & ((1 << PID_BITS) - 1))
    }

    /// The process that has number `pid` now, as seen from this one.
    #[must_use]
    pub fn of(pid: u32) -> ProcessTag {
        ProcessTag::new(pid, start_of(pid), ProcessTag::me().is_foreign())
    }

    /// The tag in one word, never 0; its upper nine bits are 0.
    #[must_use]
    pub fn bits(self) -> u64 {
        self.0
    }

    /// The tag of [`ProcessTag::bits`]; the upper nine bits are ignored.
    #[must_use]
    pub fn from_bits(bits: u64) -> ProcessTag {
        ProcessTag(bits & (FOREIGN | (FOREIGN - 1)))
    }

    /// The process number.
    #[must_use]
    pub fn pid(self) -> u32 {
        (self.0 & ((1 << PID_BITS) - 1)) as u32
    }

    /// Whether it is outside its family's namespaces (or, of a tag that was made here, this process is).
    #[must_use]
    pub fn is_foreign(self) -> bool {
        self.0 & FOREIGN != 0
    }

    /// The same process, inside or outside the namespaces of some shared memory.
    pub(crate) fn marked(self, foreign: bool) -> ProcessTag {
        ProcessTag(self.0 & (FOREIGN - 1) | if foreign { FOREIGN } else { 0 })
    }

    /// Its start time, if it is known.
    fn start(self) -> Option<u64> {
        let start = (self.0 & (FOREIGN - 1)) >> PID_BITS;
        (start != 0).then_some(start)
    }

    /// What proves that this process has ended; `None` when it runs, and when that cannot be found out. Some system calls.
    #[must_use]
    pub fn death(self) -> Option<Death> {
        if self.is_foreign() || self == ProcessTag::me() {
            return None;
        }
        death(self.pid(), |now| self.start().is_some_and(|start| start != now))
    }

    /// Whether it is known to have ended.
    #[must_use]
    pub fn is_dead(self) -> bool {
        self.death().is_some()
    }

    /// Whether it counts as alive: as long as it is not [known](ProcessTag::is_dead) to have ended.
    #[must_use]
    pub fn is_alive(self) -> bool {
        !self.is_dead()
    }

    /// The tag cut to 31 bits.
    #[must_use]
    pub fn short(self) -> ShortTag {
        let hash = match self.start() {
            _ if self.is_foreign() => FOREIGN_HASH,
            None => UNKNOWN_HASH,
            Some(_) => {
                let mixed = self.0.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32;
                RESERVED_HASHES + mixed as u32 % ((1 << HASH_BITS) - RESERVED_HASHES)
            }
        };
        ShortTag(hash << PID_BITS | self.pid())
    }
}

/// The number of forks that [`TAG`] was found after.
static FORKS: AtomicU32 = AtomicU32::new(u32::MAX);

/// This process's tag, or 0; of another process while [`FORKS`] is another number.
static TAG: AtomicU64 = AtomicU64::new(0);

/// This process's short tag, 0 before it was asked for and again in a forked child.
static SHORT: AtomicU32 = AtomicU32::new(0);

/// Makes both tags be found out anew.
fn forget() {
    TAG.store(0, Ordering::SeqCst);
    forget_short();
}

/// Called in forked children too: no more than a store.
pub(crate) fn forget_short() {
    SHORT.store(0, Ordering::SeqCst);
}

/// A process in 31 bits, for words that have no more room: its number and 9 bits that depend on when it started.
///
/// A process that was given the number of a dead one passes for it once in 510 times.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ShortTag(u32);

const HASH_BITS: u32 = 9;

/// In place of a hash: the start time is not known.
const UNKNOWN_HASH: u32 = 0;

/// In place of a hash: the process is outside its family's namespaces.
const FOREIGN_HASH: u32 = 1;

/// Hashes of start times begin here.
const RESERVED_HASHES: u32 = 2;

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
        loop {
            // Asks for the number of forks, and so sees to it that a forked child forgets what is stored here.
            let tag = ProcessTag::me();
            SHORT.store(tag.short().0, Ordering::SeqCst);
            // As in `ProcessTag::find_me`: a tag that is forgotten after this look takes the short one with it.
            if TAG.load(Ordering::SeqCst) == tag.0 {
                return tag.short();
            }
        }
    }

    /// The process that has number `pid` now, as seen from this one.
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

    /// Whether it is outside its family's namespaces, as [`ProcessTag::is_foreign`].
    #[must_use]
    pub fn is_foreign(self) -> bool {
        self.0 >> PID_BITS == FOREIGN_HASH
    }

    /// Whether what `/proc` tells about its number, it tells about this process (or a later one of that number).
    pub(crate) fn is_in_proc(self) -> bool {
        !self.is_foreign() && !ShortTag::me().is_foreign() && has_own_proc()
    }

    /// What proves that this process has ended; `None` when it runs, and when that cannot be found out. Some system calls.
    #[must_use]
    pub fn death(self) -> Option<Death> {
        match self.0 >> PID_BITS {
            FOREIGN_HASH => None,
            _ if self == ShortTag::me() => None,
            UNKNOWN_HASH => death(self.pid(), |_| false),
            _ => death(self.pid(), |now| ProcessTag::new(self.pid(), Some(now), false).short() != self),
        }
    }

    /// Whether it is known to have ended.
    #[must_use]
    pub fn is_dead(self) -> bool {
        self.death().is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A process that ends when this value goes.
    struct Sleeper(std::process::Child);

    impl Sleeper {
        fn new() -> Sleeper {
            Sleeper(std::process::Command::new("sleep").arg("60").spawn().expect("sleep starts"))
        }
    }

    impl Drop for Sleeper {
        fn drop(&mut self) {
            let _ = self.0.kill();
            let _ = self.0.wait();
        }
    }

    #[test]
    fn a_process_is_itself_and_alive() {
        let me = ProcessTag::me();
        assert_eq!(me.pid(), std::process::id());
        assert_eq!(me, ProcessTag::of(std::process::id()));
        assert_eq!(ProcessTag::from_bits(me.bits() | 1 << 63), me);
        assert!(me.is_alive());
        assert_eq!(ShortTag::from_u32(ShortTag::me().to_u32() | 1 << 31), Some(me.short()));
        assert_eq!(me.short().pid(), me.pid());
        assert!(!me.short().is_dead());
    }

    #[test]
    fn an_ended_process_is_dead_before_and_after_it_was_waited_for() {
        let mut child = Sleeper::new();
        let tag = ProcessTag::of(child.0.id());
        assert!(tag.is_alive() && !tag.short().is_dead());
        child.0.kill().expect("can be killed");
        while tag.is_alive() {
            std::thread::yield_now();
        }
        assert_eq!((tag.death(), tag.short().death()), (Some(Death::Ended), Some(Death::Ended)), "a zombie is dead");
        child.0.wait().expect("can be waited for");
        assert_eq!(tag.death(), Some(Death::NoSuchProcess));
        assert_eq!(tag.short().death(), Some(Death::NoSuchProcess));
    }

    #[test]
    fn a_number_given_out_again_is_another_process() {
        let child = Sleeper::new();
        let tag = ProcessTag::of(child.0.id());
        let earlier = ProcessTag::from_bits(tag.bits() ^ 1 << PID_BITS);
        assert_eq!(earlier.pid(), tag.pid());
        assert_eq!(earlier.death(), Some(Death::NumberReused));
        let shorts = (0..100).map(|start| ProcessTag::new(tag.pid(), Some(start + 1), false).short());
        let known = shorts.filter(|short| short.death() == Some(Death::NumberReused)).count();
        assert!(known > 90, "{known} of 100");
    }

    #[test]
    fn a_tag_without_a_start_time_is_decided_by_its_number() {
        let mut child = Sleeper::new();
        let tag = ProcessTag::new(child.0.id(), None, false);
        assert_ne!(tag.short(), ProcessTag::of(child.0.id()).short());
        assert!(!tag.is_dead() && !tag.short().is_dead());
        child.0.kill().expect("can be killed");
        child.0.wait().expect("can be waited for");
        assert!(tag.is_dead() && tag.short().is_dead());
    }

    #[test]
    fn processes_of_other_namespaces_are_never_known_to_be_dead() {
        let mut child = Sleeper::new();
        let tag = ProcessTag::new(child.0.id(), Some(1), true);
        child.0.kill().expect("can be killed");
        child.0.wait().expect("can be waited for");
        assert!(!tag.is_dead() && !tag.short().is_dead());
        assert!(!ProcessTag::from_bits(tag.bits()).is_dead());
    }

    #[test]
    fn what_is_no_tag_is_not_dead() {
        for bits in [0, 1 << PID_BITS, u64::MAX] {
            assert!(!ProcessTag::from_bits(bits).is_dead());
        }
    }

    #[test]
    fn short_tags_keep_their_reserved_values_apart() {
        for start in 1..5000 {
            let hash = ProcessTag::new(77, Some(start), false).short().0 >> PID_BITS;
            assert!((RESERVED_HASHES..1 << HASH_BITS).contains(&hash));
        }
    }

    #[test]
    fn start_times_are_read_past_any_name() {
        let mut stat = b"7 (a) b (c)) S".to_vec();
        for n in 4..=22 {
            stat.extend_from_slice(format!(" {n}").as_bytes());
        }
        assert_eq!((start_in(&stat), field_in(&stat, 4)), (Some(22), Some(4)));
        assert_eq!(start_in(b"7 (sleep) S 1 2"), None);
        assert_eq!(start_in(b""), None);
    }

    #[test]
    fn a_process_that_is_gone_has_no_parent() {
        let mut child = Sleeper::new();
        let pid = child.0.id();
        assert_eq!(parent_of(pid).expect("a descriptor"), Some(std::process::id()));
        child.0.kill().expect("can be killed");
        child.0.wait().expect("can be waited for");
        assert_eq!(parent_of(pid).expect("a descriptor"), None);
    }

    #[test]
    fn a_tag_that_is_found_while_the_home_changes_is_of_the_new_home() {
        let _alone = crate::arena::tests::alone();
        for round in 0..100 {
            // A process of its own: it is outside for ever after.
            // SAFETY: the child uses memory, threads and `_exit`; if it waits, the alarm ends it.
            let child = unsafe { libc::fork() };
            if child == 0 {
                // SAFETY: no memory is involved.
                unsafe { libc::alarm(20) };
                let started = std::sync::Barrier::new(2);
                std::thread::scope(|scope| {
                    scope.spawn(|| {
                        started.wait();
                        forget();
                        ShortTag::me()
                    });
                    started.wait();
                    (0..round * 20).for_each(|_| core::hint::spin_loop());
                    settle(&AtomicU64::new(u64::MAX));
                });
                let good = ProcessTag::me().is_foreign() && ShortTag::me() == ProcessTag::me().short();
                // SAFETY: ends this child at once.
                unsafe { libc::_exit(i32::from(!good)) };
            }
            let mut status = 0;
            // SAFETY: waits for the child just made.
            unsafe { libc::waitpid(child, &raw mut status, 0) };
            assert_eq!(status, 0, "round {round}");
        }
    }

    #[test]
    fn a_child_that_has_ended_is_found_without_a_descriptor() {
        let mut child = Sleeper::new();
        let pid = Pid::from_child(&child.0);
        assert!(!is_ended_child(pid));
        child.0.kill().expect("can be killed");
        while !is_ended_child(pid) {
            std::thread::yield_now();
        }
        assert!(is_ended_child(pid), "it is left for its parent");
        child.0.wait().expect("can be waited for");
        assert!(!is_ended_child(pid));
    }
}
