//! The lock of an engine: private to the process, one compare-and-swap when free.
//!
//! A standard `Mutex` would do but for two things: waiting threads must not be
//! starved by a thread that polls (lock, look, unlock, again), and a panic in
//! one thread must not poison the engine for the others. States of the word:
//! 0 free, 1 held, 2 held and somebody may sleep on it.
//!
//! No lost wake-up: a sleeper has stored 2 by a swap (so it owns the lock if the
//! previous value was 0), and an unlocker that swaps 0 in and gets 2 wakes one
//! sleeper, which again swaps 2 in. `futex_wait` compares with 2 atomically, so
//! an unlock between the swap and the wait makes it return at once.

use core::cell::UnsafeCell;
use core::fmt;
use core::ops::{Deref, DerefMut};

use crate::sleep::look_briefly;
use crate::sync::{AtomicU32, FutexWord, Ordering, Scope};

const FREE: u32 = 0;
const HELD: u32 = 1;
const CONTENDED: u32 = 2;

/// A mutual-exclusion lock around `T` for the threads of one process.
///
/// ```
/// use phalanx_shm::EngineLock;
///
/// let lock = EngineLock::new(1);
/// *lock.lock() += 1;
/// let held = lock.lock();
/// assert!(lock.try_lock().is_none() && !lock.is_contended());
/// drop(held);
/// assert_eq!(lock.into_inner(), 2);
/// ```
pub struct EngineLock<T> {
    /// Written by lockers and the holder. In process-private memory.
    state: FutexWord,
    value: UnsafeCell<T>,
}

// SAFETY: the lock hands `&mut T` to one thread at a time, which moves `T`
// between threads in effect: `T: Send` is what that needs.
unsafe impl<T: Send> Sync for EngineLock<T> {}
// SAFETY: the lock owns its `T`.
unsafe impl<T: Send> Send for EngineLock<T> {}

impl<T> EngineLock<T> {
    /// A free lock around `value`.
    pub fn new(value: T) -> EngineLock<T> {
        EngineLock { state: FutexWord::new(FREE), value: UnsafeCell::new(value) }
    }

    fn word(&self) -> &AtomicU32 {
        self.state.word()
    }

    /// Takes the lock, waiting for it if necessary. Not reentrant.
    #[inline]
    pub fn lock(&self) -> EngineGuard<'_, T> {
        // SYNC POINT engine-lock: Acquire pairs with the Release in `unlock`.
        if self.word().compare_exchange(FREE, HELD, Ordering::Acquire, Ordering::Relaxed).is_err() {
            self.lock_slow();
        }
        EngineGuard { lock: self }
    }

    /// Takes the lock if it is free.
    #[inline]
    pub fn try_lock(&self) -> Option<EngineGuard<'_, T>> {
        // SYNC POINT engine-lock: as in `lock`.
        self.word()
            .compare_exchange(FREE, HELD, Ordering::Acquire, Ordering::Relaxed)
            .is_ok()
            .then(|| EngineGuard { lock: self })
    }

    #[cold]
    fn lock_slow(&self) {
        // A critical section takes well under a microsecond unless its holder lost its CPU.
        let free = || self.word().load(Ordering::Relaxed) == FREE;
        let taken = || self.word().compare_exchange(FREE, HELD, Ordering::Acquire, Ordering::Relaxed).is_ok();
        if look_briefly(|| free() && taken()) {
            return;
        }
        // SYNC POINT engine-lock: Acquire, this swap takes the lock when it was free.
        while self.word().swap(CONTENDED, Ordering::Acquire) != FREE {
            // A signal or a changed value just means another try.
            self.state.wait(Scope::Private, CONTENDED, None);
        }
    }

    /// Whether some thread sleeps (or is about to) until the lock is free.
    /// A polling holder uses it to step aside.
    #[inline]
    pub fn is_contended(&self) -> bool {
        self.word().load(Ordering::Relaxed) == CONTENDED
    }

    /// The value, by exclusive access to the lock itself.
    pub fn get_mut(&mut self) -> &mut T {
        self.value.get_mut()
    }

    /// Takes the value out of the lock.
    pub fn into_inner(self) -> T {
        self.value.into_inner()
    }

    #[inline]
    fn unlock(&self) {
        // SYNC POINT engine-lock: Release, pairs with the Acquire in `lock`.
        if self.word().swap(FREE, Ordering::Release) == CONTENDED {
            self.state.wake(Scope::Private, 1);
        }
    }
}

impl<T> fmt::Debug for EngineLock<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EngineLock").finish_non_exhaustive()
    }
}

/// Access to the value of an [`EngineLock`]; gives the lock back on drop.
pub struct EngineGuard<'a, T> {
    lock: &'a EngineLock<T>,
}

impl<T> fmt::Debug for EngineGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EngineGuard").finish_non_exhaustive()
    }
}

impl<T> Deref for EngineGuard<'_, T> {
    type Target = T;
    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: this guard exists only while its thread holds the lock, so no
        // other reference to the value exists.
        unsafe { &*self.lock.value.get() }
    }
}

impl<T> DerefMut for EngineGuard<'_, T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: as in `deref`, and `&mut self` makes this the only reference.
        unsafe { &mut *self.lock.value.get() }
    }
}

impl<T> Drop for EngineGuard<'_, T> {
    #[inline]
    fn drop(&mut self) {
        self.lock.unlock();
    }
}
