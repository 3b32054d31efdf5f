//! Two threads, or two processes, that do something together, each on a CPU of its own.

use std::cell::Cell;
use std::ops::Deref;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::Builder;
use std::time::{Duration, Instant};

use super::cpus;

/// How long one measurement may take before the machine counts as busy.
const PATIENCE: Duration = Duration::from_millis(10);

/// A word in lines of its own.
#[derive(Default)]
#[repr(align(128))]
pub(super) struct Line(pub(super) AtomicU64);

impl Line {
    /// What was written before, the other side sees after it has [waited](Side::wait_for) for this.
    pub(super) fn say(&self, n: u64) {
        self.0.store(n, Ordering::Release);
    }

    pub(super) fn has(&self, n: u64) -> bool {
        self.0.load(Ordering::Acquire) >= n
    }
}

/// Two who begin together, and end together when one of them gives up.
#[derive(Default)]
pub(super) struct Meeting {
    present: AtomicU64,
    given_up: AtomicBool,
}

/// One of the two.
pub(super) struct Side<'a> {
    meeting: &'a Meeting,
    begin: Cell<Instant>,
}

impl Side<'_> {
    /// Here the next measurement begins.
    pub(super) fn begin(&self) {
        self.begin.set(Instant::now());
    }

    /// Waits until the other one has said so; `None` when it is late for that, and so for all the rest.
    pub(super) fn wait_for(&self, line: &Line, n: u64) -> Option<()> {
        let mut looks = 0_u32;
        while !line.has(n) {
            std::hint::spin_loop();
            looks += 1;
            if looks.is_multiple_of(256) && self.is_late() {
                return None;
            }
        }
        Some(())
    }

    /// Whether one of the two has no CPU.
    pub(super) fn is_late(&self) -> bool {
        self.meeting.given_up.load(Ordering::Relaxed) || self.begin.get().elapsed() > PATIENCE
    }
}

/// Runs both at once; `None` when one of them gave up, or when there is one CPU only.
pub(super) fn both<T: Send>(
    here: impl FnOnce(&Side<'_>) -> Option<T> + Send,
    there: impl FnOnce(&Side<'_>) -> Option<()> + Send,
) -> Option<T> {
    let [first, second] = cpus()?;
    let meeting = Meeting::default();
    std::thread::scope(|scope| {
        // Where a limit allows no thread, nothing is measured; the other one gives up when it is late.
        let other = Builder::new().spawn_scoped(scope, || meeting.on(second, there)).ok()?;
        let this = Builder::new().spawn_scoped(scope, || meeting.on(first, here));
        let done = this.ok().and_then(|this| this.join().ok()).flatten();
        other.join().ok().flatten().and(done)
    })
}

/// The same with a process of its own for the other side, a copy of this one. `meeting` is in memory that both have. What is
/// done here gets the number of the process, whose memory it may read.
///
/// # Safety
///
/// `there` must be right in a child of a process that may have other threads: no lock that one of those may hold, but the
/// allocator's.
pub(super) unsafe fn apart<T: Send>(
    meeting: &Shared<Meeting>,
    here: impl FnOnce(&Side<'_>, u32) -> Option<T> + Send,
    there: impl FnOnce(&Side<'_>) -> Option<()>,
) -> Option<T> {
    let [first, second] = cpus()?;
    // SAFETY: the child does what the caller answers for, and ends here.
    let child = unsafe { libc::fork() };
    if child == 0 {
        // A panic must not lead into what the parent does next.
        let done = catch_unwind(AssertUnwindSafe(|| meeting.on(second, there)));
        // SAFETY: ends the child without what the parent has registered for its own end.
        unsafe { libc::_exit(i32::from(!matches!(done, Ok(Some(()))))) };
    }
    let number = u32::try_from(child).ok().filter(|number| *number > 0)?;
    let done = std::thread::scope(|scope| {
        let this = Builder::new().spawn_scoped(scope, || meeting.on(first, |side| here(side, number)));
        this.ok().and_then(|this| this.join().ok()).flatten()
    });
    // It ends by itself, since it waits for no longer than is its patience.
    let mut status = 0;
    // SAFETY: waits for a child of our own, which nobody else knows of.
    while unsafe { libc::waitpid(child, &raw mut status, 0) } < 0 {
        if std::io::Error::last_os_error().kind() != std::io::ErrorKind::Interrupted {
            break;
        }
    }
    done.filter(|_| status == 0)
}

/// A value in memory that a forked child has in common with its parent.
pub(super) struct Shared<T> {
    at: *mut T,
}

// SAFETY: as a reference to the value.
unsafe impl<T: Sync> Sync for Shared<T> {}

impl<T: Default + Sync> Shared<T> {
    pub(super) fn new() -> Option<Shared<T>> {
        use rustix::mm::{MapFlags, ProtFlags, mmap_anonymous};
        let access = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: new memory, at a place that the kernel chooses.
        let at = unsafe { mmap_anonymous(std::ptr::null_mut(), size_of::<T>(), access, MapFlags::SHARED) }.ok()?;
        let at = at.cast::<T>();
        // SAFETY: mapped, of its size, and at the beginning of a page.
        unsafe { at.write(T::default()) };
        Some(Shared { at })
    }
}

impl<T> Deref for Shared<T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: written by `new`, mapped until it is dropped, and only ever shared.
        unsafe { &*self.at }
    }
}

impl<T> Drop for Shared<T> {
    fn drop(&mut self) {
        // SAFETY: mapped by `new`, and nobody has a reference any more. What is in it owns nothing.
        let _ = unsafe { rustix::mm::munmap(self.at.cast(), size_of::<T>()) };
    }
}

impl Meeting {
    /// One side's part, on a CPU.
    fn on<T>(&self, cpu: usize, work: impl FnOnce(&Side<'_>) -> Option<T>) -> Option<T> {
        let side = Side { meeting: self, begin: Cell::new(Instant::now()) };
        let mut only = rustix::thread::CpuSet::new();
        only.set(cpu);
        let pinned = rustix::thread::sched_setaffinity(None, &only).ok();
        self.present.fetch_add(1, Ordering::AcqRel);
        let met = pinned.and_then(|()| {
            while self.present.load(Ordering::Acquire) < 2 {
                if side.is_late() {
                    return None;
                }
                std::hint::spin_loop();
            }
            side.begin();
            Some(())
        });
        let done = met.and_then(|()| work(&side));
        if done.is_none() {
            self.given_up.store(true, Ordering::Relaxed);
        }
        done
    }
}
