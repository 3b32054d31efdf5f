//! All arenas of this process, and what `fork` must do to them.
//!
//! A forked child has the mapping and the values that hold blocks, so it needs holds of its own before its parent can
//! let go of anything. They are made in the parent before the fork, by `pthread_atfork`; the child puts its name to them.

use crate::sync::{AtomicBool, Ordering};
use std::cell::RefCell;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::members::Record;
use super::{Arena, Inner};
use crate::{ProcessTag, alive};

/// Held by a thread that makes or joins an arena (see [`Arena::whole`]), and while this process forks. Taken before
/// [`KEPT`].
static MAKING: Mutex<()> = Mutex::new(());

/// Every arena that this process has mapped.
static KEPT: Mutex<Vec<&'static Inner>> = Mutex::new(Vec::new());

/// What the forking thread holds between the handlers.
struct Forking {
    parent: ProcessTag,
    _making: MutexGuard<'static, ()>,
    kept: MutexGuard<'static, Vec<&'static Inner>>,
    records: Vec<(&'static Inner, MutexGuard<'static, Record>, Record)>,
}

thread_local! {
    static FORKING: RefCell<Option<Forking>> = const { RefCell::new(None) };
}

/// Registers the handlers. Not by a `Once`: a child forked while another thread is inside would wait for that thread.
/// Threads that come here together register them several times, and the handlers see to it that this changes nothing.
fn notice_forks() {
    static NOTICED: AtomicBool = AtomicBool::new(false);
    // SYNC POINT arena-handlers: Acquire, a thread that finds it set has the handlers.
    if NOTICED.load(Ordering::Acquire) {
        return;
    }
    // Its handler first: ours asks who the child is, which is found out anew when the number of forks has changed.
    crate::fork::generation();
    // SAFETY: the three handlers have the right type and live as long as the program. Failure (no memory) would
    // leave children without holds of their own, as if there were no room for their records.
    unsafe { libc::pthread_atfork(Some(before), Some(in_parent), Some(in_child)) };
    // SYNC POINT arena-handlers: Release, after they are there.
    NOTICED.store(true, Ordering::Release);
}

impl Arena {
    /// Runs `make`, which makes or joins an arena and notes it somewhere. Other threads wait that do the same, and
    /// those that fork: a child has all of what `make` does or nothing of it. `make` must not fork.
    pub fn whole<T>(make: impl FnOnce() -> T) -> T {
        notice_forks();
        let _making = MAKING.lock().unwrap_or_else(PoisonError::into_inner);
        make()
    }
}

/// Makes an arena part of this process for the rest of its life, unless it is already: then its mapping of old.
pub(crate) fn keep(inner: Inner) -> &'static Inner {
    notice_forks();
    alive::settle(&inner.header().home);
    let id = inner.header().id.load(Ordering::Relaxed);
    // One step, so that threads which attach it together do not map it twice.
    let mut all = KEPT.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(known) = all.iter().find(|kept| kept.header().id.load(Ordering::Relaxed) == id) {
        return known;
    }
    let inner: &'static Inner = Box::leak(Box::new(inner));
    all.push(inner);
    inner
}

/// Every arena of this process.
pub(crate) fn kept() -> Vec<&'static Inner> {
    KEPT.lock().unwrap_or_else(PoisonError::into_inner).clone()
}

extern "C" fn before() {
    if FORKING.try_with(|forking| forking.borrow().is_some()).unwrap_or(true) {
        // Registered twice; or a thread that forks as its last act, for which nothing can be kept.
        return;
    }
    let _making = MAKING.lock().unwrap_or_else(PoisonError::into_inner);
    let kept = KEPT.lock().unwrap_or_else(PoisonError::into_inner);
    let records = kept
        .iter()
        .map(|inner| {
            let record = inner.record();
            let childs = record.duplicate(inner);
            (*inner, record, childs)
        })
        .collect();
    let forking = Forking { parent: ProcessTag::me(), _making, kept, records };
    let _ = FORKING.try_with(|place| place.replace(Some(forking)));
}

extern "C" fn in_parent() {
    let Ok(Some(forking)) = FORKING.try_with(|forking| forking.take()) else {
        return;
    };
    for (inner, _, childs) in &forking.records {
        childs.forked(inner, forking.parent);
    }
    // The locks open again as the guards go.
}

extern "C" fn in_child() {
    // Now, while `/proc` is still what it was for the parent: the child may give up its rights.
    let _ = ProcessTag::me();
    let Ok(Some(mut forking)) = FORKING.try_with(|forking| forking.take()) else {
        return;
    };
    for (inner, record, childs) in &mut forking.records {
        childs.adopt(inner, forking.parent);
        **record = std::mem::take(childs);
    }
    drop(forking.kept);
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_child_has_all_of_what_another_thread_makes_and_may_make_its_own() {
        static MADE: AtomicBool = AtomicBool::new(false);
        let (inside, entered) = channel();
        std::thread::scope(|scope| {
            scope.spawn(move || {
                Arena::whole(|| {
                    inside.send(()).expect("somebody waits");
                    std::thread::sleep(Duration::from_millis(100));
                    MADE.store(true, Ordering::Relaxed);
                });
            });
            entered.recv().expect("the thread has begun");
            // SAFETY: the child uses atomics, a lock that is free in it, and `_exit`; if it waits, the alarm ends it.
            match unsafe { libc::fork() } {
                0 => {
                    // SAFETY: no memory is involved.
                    unsafe { libc::alarm(20) };
                    let made = Arena::whole(|| MADE.load(Ordering::Relaxed));
                    // SAFETY: ends this child at once.
                    unsafe { libc::_exit(i32::from(!made)) };
                }
                child => {
                    let mut status = 0;
                    // SAFETY: waits for the child just made.
                    unsafe { libc::waitpid(child, &raw mut status, 0) };
                    assert_eq!(status, 0);
                }
            }
        });
    }

    #[test]
    fn an_arena_that_threads_attach_together_is_mapped_once() {
        for _ in 0..50 {
            let arena = Arena::create(crate::ArenaConfig { bytes: 16 << 20, cached: 0 }).expect("an arena");
            // As if another process had made it.
            KEPT.lock().unwrap_or_else(PoisonError::into_inner).retain(|kept| Arena(kept) != arena);
            let start = std::sync::Barrier::new(4);
            let attach = || {
                let fd = arena.fd().try_clone_to_owned().expect("a descriptor");
                start.wait();
                Arena::attach(fd).expect("it is one")
            };
            let all: Vec<Arena> = std::thread::scope(|scope| {
                let threads: Vec<_> = (0..4).map(|_| scope.spawn(attach)).collect();
                threads.into_iter().map(|thread| thread.join().expect("it ends")).collect()
            });
            assert!(all.iter().all(|other| *other == all[0]));
        }
    }

    #[test]
    fn handlers_that_are_registered_twice_do_their_work_once() {
        let arena = Arena::create(crate::ArenaConfig { bytes: 64 << 20, cached: 0 }).expect("an arena");
        let block = arena.alloc(64, crate::BlockKind::Plain).expect("a block");
        before();
        before();
        in_parent();
        in_parent();
        drop(block);
        // The record reserved for the child that never was still holds it.
        assert_eq!(arena.used(), 64);
        // Other tests have the locks now and then.
        let open = || KEPT.try_lock().is_ok() && MAKING.try_lock().is_ok();
        let mut tries = 0..1000;
        while !open() {
            tries.next().expect("a lock stays closed");
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}
