//! A lock that knows its owner: nobody waits for a dead process.
//!
//! ```text
//! owner = a ShortTag, 0 when free          beside it a word to sleep on
//! ```
//!
//! Free to taken and back is one atomic change each, without a system call while nobody waits. The lock may be given back
//! by another thread or process than its owner.
//!
//! No lost wake-up: a waiter announces its sleep, tries once more, and sleeps; whoever gives the lock back looks for
//! sleepers after that, and wakes one (see [`crate::sleep`]). One that is woken either takes the lock, and wakes the next
//! when it gives it back, or finds that another waiter was faster, which will.
//!
//! Killed processes. A dead owner's word stays. Waiters look at the owner's life after each slice of sleep, and those
//! who do not wait from time to time; the one whose compare-and-swap frees the dead owner's word is told
//! ([`Acquired::OwnerDied`]), and the lock is as good as new. A caller that need not know tries again: what a side of a
//! queue or the table of names changes under its lock counts only from the one store that publishes it, so there is
//! nothing to repair. A process that is killed between freeing the word and the wake-up, or between its wake-up and
//! taking the lock, leaves a free word, which the sleepers find at the end of their slice.

use crate::sleep::{Deadline, SleepWord, Slept, Slices, WAITING, look_briefly};
use crate::sync::{AtomicU32, Ordering};

/// How an attempt to take a lock or a unit of a semaphore ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Acquired {
    /// Taken.
    Yes,
    /// Not taken before the deadline.
    TimedOut,
    /// The owner died with the lock. It is free now and not taken; only this caller is told.
    OwnerDied {
        /// The process that died.
        pid: u32,
    },
    /// Not yet; a slice of the wait is over, or a signal handler ran in this thread. See to signals, then try again.
    SliceOver,
}

/// What a lock knows of processes: which one asks for it, and whether the one that owns it has ended.
pub trait Life {
    /// The word of this process: never 0.
    fn me(&self) -> u32;
    /// The number of the process of `word`, when it has ended.
    fn died(&self, word: u32) -> Option<u32>;
}

/// A lock in three words of shared memory. All zero is free.
///
/// ```
/// use std::sync::atomic::AtomicU32;
/// use phalanx_shm::sleep::{Deadline, Slices};
/// use phalanx_shm::{Acquired, OwnedLock};
///
/// // In shared memory, as a rule.
/// let words = [const { AtomicU32::new(0) }; 4];
/// let lock = OwnedLock::over(&words);
/// assert_eq!(lock.acquire(&mut Slices::new(), Deadline::NEVER), Acquired::Yes);
/// assert_eq!(lock.try_acquire(), Acquired::TimedOut);
/// assert!(lock.release());
/// assert!(lock.is_free());
/// ```
#[derive(Debug)]
#[cfg_attr(not(loom), repr(C))]
pub struct OwnedLock {
    /// Written by every process that takes the lock, gives it back, or finds its owner dead.
    owner: AtomicU32,
    /// Those who wait for it.
    waiters: SleepWord,
}

#[cfg(not(loom))]
const _: () = assert!(size_of::<OwnedLock>() == 12);

/// The lock is this thread's until dropped.
#[derive(Debug)]
pub struct OwnedGuard<'a>(&'a OwnedLock);

impl Drop for OwnedGuard<'_> {
    #[inline]
    fn drop(&mut self) {
        self.0.release();
    }
}

impl OwnedLock {
    /// A free lock.
    #[cfg(loom)]
    #[expect(clippy::new_without_default, reason = "for models")]
    pub fn new() -> OwnedLock {
        OwnedLock { owner: AtomicU32::new(0), waiters: SleepWord::new() }
    }

    /// Takes the lock for `life` if it is free. One atomic instruction.
    #[inline]
    pub fn take_free_as(&self, life: &impl Life) -> bool {
        // SYNC POINT owned: Acquire, sees what the last owner wrote before its Release.
        self.owner.compare_exchange(0, life.me(), Ordering::Acquire, Ordering::Relaxed).is_ok()
    }

    /// Takes the lock if it is free, or becomes free within a microsecond or two.
    #[inline]
    pub fn take_soon(&self, life: &impl Life) -> Option<OwnedGuard<'_>> {
        // Made only when it is taken: a guard gives the lock back, whoever has it.
        (self.take_free_as(life) || self.look_for_it(life)).then(|| OwnedGuard(self))
    }

    #[cold]
    fn look_for_it(&self, life: &impl Life) -> bool {
        look_briefly(|| self.is_free() && self.take_free_as(life))
    }

    /// Takes the lock, waiting for it until the deadline: a slice at most.
    #[inline]
    pub fn acquire_as(&self, life: &impl Life, slices: &mut Slices, deadline: Deadline) -> Acquired {
        if self.take_free_as(life) { Acquired::Yes } else { self.wait(life, slices, deadline) }
    }

    /// Takes the lock, from dead owners if need be; `None` when it is still held at the deadline.
    #[inline]
    pub fn lock_until(&self, life: &impl Life, deadline: Deadline) -> Option<OwnedGuard<'_>> {
        let mut slices = Slices::new();
        loop {
            match self.acquire_as(life, &mut slices, deadline) {
                Acquired::Yes => return Some(OwnedGuard(self)),
                Acquired::TimedOut => return None,
                Acquired::OwnerDied { .. } | Acquired::SliceOver => {}
            }
        }
    }

    #[cold]
    fn wait(&self, life: &impl Life, slices: &mut Slices, deadline: Deadline) -> Acquired {
        if self.look_for_it(life) {
            return Acquired::Yes;
        }
        loop {
            let token = self.waiters.announce(WAITING);
            if self.take_free_as(life) {
                return Acquired::Yes;
            }
            let end = match self.waiters.sleep_slice(token, slices, deadline) {
                Slept::Woken if self.take_free_as(life) => return Acquired::Yes,
                Slept::Woken => continue,
                Slept::TimedOut => Acquired::TimedOut,
                Slept::SliceOver | Slept::Interrupted => Acquired::SliceOver,
            };
            if let Some(pid) = self.take_from_dead(life) {
                return Acquired::OwnerDied { pid };
            }
            return if self.take_free_as(life) { Acquired::Yes } else { end };
        }
    }

    /// Frees the lock if its owner is dead, and tells which process that was. Takes some 20 microseconds.
    #[cold]
    fn take_from_dead(&self, life: &impl Life) -> Option<u32> {
        let seen = self.owner.load(Ordering::Relaxed);
        if seen == 0 {
            return None;
        }
        let pid = life.died(seen)?;
        // SYNC POINT owned: Acquire for what the dead owner wrote, Release for the next one. Exactly one waiter succeeds.
        self.owner.compare_exchange(seen, 0, Ordering::AcqRel, Ordering::Relaxed).ok()?;
        SleepWord::published_by_atomic();
        self.waiters.notify_one();
        Some(pid)
    }

    /// Gives the lock back, whoever took it. False when it was free.
    #[inline]
    pub fn release(&self) -> bool {
        // SYNC POINT owned: Release, for the next owner's Acquire.
        let seen = self.owner.swap(0, Ordering::Release);
        SleepWord::published_by_atomic();
        self.waiters.notify_one();
        seen != 0
    }

    /// Whether nobody has it.
    #[inline]
    pub fn is_free(&self) -> bool {
        self.owner.load(Ordering::Relaxed) == 0
    }
}

#[cfg(not(loom))]
pub use real::{OwnedWords, Processes};

#[cfg(not(loom))]
mod real {
    use super::{Acquired, Life, OwnedLock};
    use crate::alive::ShortTag;
    use crate::sleep::{Deadline, Slices, uptime_ms};
    use crate::sync::{AtomicU32, AtomicU64, Ordering};

    /// The processes of this machine.
    #[derive(Clone, Copy, Debug)]
    pub struct Processes;

    impl Life for Processes {
        #[inline]
        fn me(&self) -> u32 {
            ShortTag::me().to_u32()
        }

        fn died(&self, word: u32) -> Option<u32> {
            ShortTag::from_u32(word).filter(|owner| owner.is_dead()).map(ShortTag::pid)
        }
    }

    /// Room for a lock, a semaphore or an event, the fourth word free.
    pub type OwnedWords = [AtomicU32; 4];

    impl OwnedLock {
        /// The lock in words of shared memory, which are used for nothing else.
        #[inline]
        pub fn over(words: &OwnedWords) -> &OwnedLock {
            // SAFETY: three 32-bit atomics, as the first three of the array; the lifetime is the argument's.
            unsafe { &*core::ptr::from_ref(words).cast::<OwnedLock>() }
        }

        /// Takes the lock if it is free. One atomic instruction, whoever asks.
        #[inline]
        pub fn take_free(&self) -> bool {
            self.take_free_as(&Processes)
        }

        /// Takes the lock if it is free, or tells that its owner is dead. Never [`Acquired::SliceOver`].
        #[inline]
        pub fn try_acquire(&self) -> Acquired {
            if self.take_free() { Acquired::Yes } else { self.look() }
        }

        #[cold]
        fn look(&self) -> Acquired {
            let seen = self.owner.load(Ordering::Relaxed);
            if seen == 0 {
                return if self.take_free() { Acquired::Yes } else { Acquired::TimedOut };
            }
            // Looking at a process costs some microseconds: a loop that polls the lock pays for it every 2 ms.
            static LAST: AtomicU64 = AtomicU64::new(0);
            let window = uptime_ms() / 2;
            let place = core::ptr::from_ref(self).addr() as u64 >> 2 ^ u64::from(seen).rotate_left(40);
            let this = place.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ window;
            if LAST.load(Ordering::Relaxed) == this {
                return Acquired::TimedOut;
            }
            if let Some(pid) = self.take_from_dead(&Processes) {
                return Acquired::OwnerDied { pid };
            }
            LAST.store(this, Ordering::Relaxed);
            Acquired::TimedOut
        }

        /// Takes the lock, waiting for it until the deadline: a slice at most.
        #[inline]
        pub fn acquire(&self, slices: &mut Slices, deadline: Deadline) -> Acquired {
            self.acquire_as(&Processes, slices, deadline)
        }

        /// Leaves the lock as a killed owner does.
        #[cfg(test)]
        pub(crate) fn seize(&self, word: u32) {
            self.owner.store(word, Ordering::Relaxed);
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::sync::atomic::{AtomicBool, AtomicU32};
    use std::time::Duration;

    use super::*;
    use crate::alive::ShortTag;

    fn words() -> OwnedWords {
        std::array::from_fn(|_| AtomicU32::new(0))
    }

    /// The tag of a process that has ended.
    fn dead() -> ShortTag {
        let mut child = std::process::Command::new("true").spawn().expect("started");
        let tag = ShortTag::of(child.id());
        child.wait().expect("reaped");
        tag
    }

    #[test]
    fn it_excludes_and_is_given_back_once() {
        let words = words();
        let lock = OwnedLock::over(&words);
        assert_eq!(lock.try_acquire(), Acquired::Yes);
        assert!(!lock.is_free());
        assert_eq!(lock.try_acquire(), Acquired::TimedOut);
        let soon = Deadline::after(Some(Duration::from_millis(1)));
        assert_eq!(lock.acquire(&mut Slices::new(), soon), Acquired::TimedOut);
        assert!(lock.release());
        assert!(!lock.release());
        assert!(lock.is_free());
    }

    #[test]
    fn who_does_not_get_it_leaves_it_with_its_owner() {
        let words = words();
        let lock = OwnedLock::over(&words);
        let held = lock.take_soon(&Processes).expect("it was free");
        assert!(lock.take_soon(&Processes).is_none());
        let soon = Deadline::after(Some(Duration::from_millis(1)));
        assert!(lock.lock_until(&Processes, soon).is_none());
        assert!(!lock.is_free());
        drop(held);
        assert!(lock.is_free());
    }

    #[test]
    fn a_wait_returns_after_each_slice() {
        let words = words();
        let (lock, mut slices) = (OwnedLock::over(&words), Slices::new());
        assert!(lock.take_free());
        for _ in 0..3 {
            assert_eq!(lock.acquire(&mut slices, Deadline::NEVER), Acquired::SliceOver);
        }
        lock.release();
        assert_eq!(lock.acquire(&mut slices, Deadline::NEVER), Acquired::Yes);
    }

    #[test]
    fn one_of_those_who_ask_learns_of_a_dead_owner() {
        let words = words();
        let lock = OwnedLock::over(&words);
        let owner = dead();
        lock.seize(owner.to_u32());
        assert_eq!(lock.try_acquire(), Acquired::OwnerDied { pid: owner.pid() });
        assert_eq!(lock.try_acquire(), Acquired::Yes);

        lock.seize(owner.to_u32());
        let told = AtomicU32::new(0);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    let mut slices = Slices::new();
                    loop {
                        match lock.acquire(&mut slices, Deadline::NEVER) {
                            Acquired::Yes => break,
                            Acquired::OwnerDied { pid } => {
                                assert_eq!(pid, owner.pid());
                                told.fetch_add(1, Ordering::Relaxed);
                            }
                            other => assert_eq!(other, Acquired::SliceOver),
                        }
                    }
                    lock.release();
                });
            }
        });
        assert_eq!(told.load(Ordering::Relaxed), 1);
        assert!(lock.is_free());
    }

    #[test]
    fn threads_count_without_losing_one() {
        let words = words();
        let inside = AtomicBool::new(false);
        let mut count = 0u64;
        let at = &raw mut count as usize;
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..20_000 {
                        let lock = OwnedLock::over(&words);
                        let mut slices = Slices::new();
                        while lock.acquire(&mut slices, Deadline::NEVER) != Acquired::Yes {}
                        assert!(!inside.swap(true, Ordering::Relaxed));
                        // SAFETY: the lock lets one thread at a time in here, and the scope outlives them.
                        unsafe { *(at as *mut u64) += 1 };
                        inside.store(false, Ordering::Relaxed);
                        lock.release();
                    }
                });
            }
        });
        assert_eq!(count, 80_000);
    }
}
