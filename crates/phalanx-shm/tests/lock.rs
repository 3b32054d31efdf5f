//! The engine lock under real threads.
#![cfg(not(loom))]

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread;

use phalanx_shm::EngineLock;

#[test]
fn increments_are_not_lost_under_contention() {
    let lock = EngineLock::new(0u64);
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for n in 0..50_000 {
                    *lock.lock() += 1;
                    if n % 100 == 0
                        && let Some(mut value) = lock.try_lock()
                    {
                        *value += 1;
                        *value -= 1;
                    }
                }
            });
        }
    });
    assert_eq!(lock.into_inner(), 200_000);
}

#[test]
fn a_panic_gives_the_lock_back() {
    let mut lock = EngineLock::new(1);
    let panicked = catch_unwind(AssertUnwindSafe(|| {
        let _guard = lock.lock();
        panic!("on purpose");
    }));
    assert!(panicked.is_err());
    assert_eq!(*lock.try_lock().unwrap(), 1);
    assert!(!lock.is_contended());
    *lock.get_mut() = 2;
    let held = lock.lock();
    assert!(lock.try_lock().is_none());
    drop(held);
    assert_eq!(lock.into_inner(), 2);
}
