//! The global interpreter lock: giving it up around calls that wait, and data it protects. Shared by the extensions.

use std::cell::{Cell, UnsafeCell};

use pyo3::prelude::*;

/// A closure that may cross the boundary at which the interpreter lock is given up.
///
/// PyO3 asks for `Send`, a stand-in for "touches no Python object". The closures here hold raw addresses and handles,
/// which are not `Send` but do qualify: the same thread runs them, only without the lock.
struct Detached<F>(F);

// SAFETY: `Python::detach` runs the closure on the calling thread; nothing moves to another one. `detached` demands of
// its callers that the closure touches no Python object.
unsafe impl<F> Send for Detached<F> {}

impl<F: FnOnce() -> T, T> Detached<F> {
    fn call(self) -> Detached<T> {
        Detached((self.0)())
    }
}

thread_local! {
    /// Whether this thread is in a call of [`until_it_lasts`] and holds the interpreter lock.
    static HOLDS: Cell<bool> = const { Cell::new(false) };
}

/// Calls `call` without the interpreter lock. For every call that may wait for another process.
///
/// `call` must not touch Python objects; memory behind Python buffers stays put because the caller holds the buffer.
pub fn detached<T>(py: Python<'_>, call: impl FnOnce() -> T) -> T {
    let call = Detached(call);
    let held = HOLDS.replace(false);
    let result = py.detach(move || call.call()).0;
    HOLDS.set(held);
    result
}

/// Calls `call` with the interpreter lock, which is given up when it comes to [`lasting`]. For calls into a library that
/// runs there whatever takes longer than giving the lock up and taking it back.
///
/// `call` must not touch Python objects.
pub fn until_it_lasts<T>(_py: Python<'_>, call: impl FnOnce() -> T) -> T {
    HOLDS.with(|holds| {
        let before = holds.replace(true);
        let result = call();
        holds.set(before);
        result
    })
}

// Python ends other threads than the first, when they take the lock back after its end, by unwinding them, which PyO3 turns into
// a sleep: in a function of Rust's own. Inlined into one that C calls, that would not be so.

/// Runs what may last without the interpreter lock, if this thread has come here from [`until_it_lasts`]; else as it is.
#[inline(never)]
pub fn lasting(what: impl FnOnce()) {
    if HOLDS.get() {
        // SAFETY: the thread holds the lock: `until_it_lasts` had a token, and whoever gives it up in between says so.
        detached(unsafe { Python::assume_attached() }, what);
    } else {
        what();
    }
}

/// Runs Python code in a function that a library has called, in whatever state the thread is.
///
/// The code may give the lock up in ways that [`lasting`] knows nothing of.
#[inline(never)]
pub fn attached<T>(run: impl FnOnce(Python<'_>) -> T) -> T {
    let held = HOLDS.replace(false);
    let result = Python::attach(run);
    HOLDS.set(held);
    result
}

/// A value that only a thread holding the interpreter lock reads or writes.
///
/// Cheaper than a mutex in a class that is `frozen`: no borrow flag, no atomic. Values move in and out whole and no
/// method runs foreign code while it holds a reference, so no reference outlives the call that made it.
pub struct GilCell<T>(UnsafeCell<T>);

// SAFETY: every access takes a `Python<'py>` token, the proof that this thread holds the interpreter lock, and abi3
// builds have one; `T: Send` since the threads that take turns may drop or take what another one stored.
unsafe impl<T: Send> Sync for GilCell<T> {}

impl<T> GilCell<T> {
    /// A cell with a first value.
    pub const fn new(value: T) -> Self {
        Self(UnsafeCell::new(value))
    }

    /// Stores `value` and returns what was there. The caller drops that: foreign destructors run outside the cell.
    pub fn replace(&self, _py: Python<'_>, value: T) -> T {
        // SAFETY: the lock is held and `mem::replace` runs no foreign code, so this is the only reference.
        std::mem::replace(unsafe { &mut *self.0.get() }, value)
    }

    /// The value, for who has the only reference.
    pub fn get_mut(&mut self) -> &mut T {
        self.0.get_mut()
    }

    /// Reads through a closure that must not run Python code.
    pub fn peek<R>(&self, _py: Python<'_>, read: impl FnOnce(&T) -> R) -> R {
        // SAFETY: the lock is held; the closure runs no Python code by contract, so nobody replaces the value meanwhile.
        read(unsafe { &*self.0.get() })
    }

    /// Changes the value through a closure that must not run Python code (drop no Python object in it, either).
    pub fn with<R>(&self, _py: Python<'_>, change: impl FnOnce(&mut T) -> R) -> R {
        // SAFETY: the lock is held; the closure runs no Python code by contract, so this is the only reference.
        change(unsafe { &mut *self.0.get() })
    }
}

impl<T: Default> GilCell<T> {
    /// Takes the value out, leaving the default.
    pub fn take(&self, py: Python<'_>) -> T {
        self.replace(py, T::default())
    }
}

impl GilCell<Option<Py<PyAny>>> {
    /// A new reference to the stored object.
    pub fn get(&self, py: Python<'_>) -> Option<Py<PyAny>> {
        self.peek(py, |value| value.as_ref().map(|object| object.clone_ref(py)))
    }
}
