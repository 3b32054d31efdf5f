//! Python functions as C callbacks that carry no state: reduction operations and error handlers.
//!
//! MPI gives such a callback nothing of ours. So each Python function takes a slot, and each slot has a C function of its
//! own that knows the slot's number: of the first [`OWN`] slots of a table an instance of one generic function, of further
//! ones a closure that `ctypes` makes. C functions stay for the life of the process; a slot is given to another function
//! only when it was given back and nobody has a [`Share`] of it any more.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use pyo3::prelude::*;
use pyo3::types::PyCFunction;

use crate::ffi::c_void;
use crate::gil::GilCell;

/// How many slots of a table have a C function from the compiler.
pub(crate) const OWN: usize = 64;

/// The instances of a generic C function by slot number: `instances!(handler::<T>)` are `handler::<T, 0>`, ...
macro_rules! instances {
    ($function:ident $(::<$kind:ident>)?) => {
        $crate::slots::instances!(@ $function [$($kind,)?]
            0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30 31 32 33 34 35 36 37 38 39 40
            41 42 43 44 45 46 47 48 49 50 51 52 53 54 55 56 57 58 59 60 61 62 63)
    };
    (@ $function:ident $kinds:tt $($n:literal)*) => { [$($crate::slots::instances!(# $function $kinds $n)),*] };
    (# $function:ident [$($kind:ident,)?] $n:literal) => { $function::<$($kind,)? $n> };
}
pub(crate) use instances;

/// The callbacks of one C type.
pub(crate) struct Table {
    slots: GilCell<Vec<Slot>>,
    /// The C function of a slot below [`OWN`].
    own: fn(usize) -> Option<*mut c_void>,
    /// How many arguments the C functions have. All are addresses.
    arguments: usize,
    /// What the C function of a slot does with its arguments.
    call: fn(Python<'_>, usize, &[*mut c_void]),
}

struct Slot {
    function: Py<PyAny>,
    /// The address of its C function, 0 before there is one.
    address: usize,
    state: Arc<State>,
}

struct State {
    number: usize,
    given_back: AtomicBool,
}

impl Slot {
    /// Whether another function may have the slot.
    fn is_free(&mut self) -> bool {
        // Relaxed: the flag is set with the interpreter lock, and so is it read.
        self.state.given_back.load(Ordering::Relaxed) && Arc::get_mut(&mut self.state).is_some()
    }
}

/// What keeps a slot for its function. The object that the callback belongs to has one, and every operation under way that
/// may call it.
#[derive(Clone)]
pub(crate) struct Share(Arc<State>);

impl Share {
    /// Says that nothing new will use the slot: it is free once the last share is gone.
    pub(crate) fn give_back(self, _py: Python<'_>) {
        self.0.given_back.store(true, Ordering::Relaxed);
    }
}

impl Table {
    /// A table without functions.
    pub(crate) const fn new(
        own: fn(usize) -> Option<*mut c_void>,
        arguments: usize,
        call: fn(Python<'_>, usize, &[*mut c_void]),
    ) -> Table {
        Table { slots: GilCell::new(Vec::new()), own, arguments, call }
    }

    /// The Python function in a slot.
    pub(crate) fn function(&self, py: Python<'_>, number: usize) -> Option<Py<PyAny>> {
        self.slots.peek(py, |slots| slots.get(number).map(|slot| slot.function.clone_ref(py)))
    }

    /// Gives a function a slot: the C function that calls it, and the first share.
    ///
    /// # Errors
    /// What `ctypes` raises where it has to make the C function and cannot.
    pub(crate) fn take(&'static self, function: &Bound<'_, PyAny>) -> PyResult<(*mut c_void, Share)> {
        let py = function.py();
        let function = function.clone().unbind();
        let (share, old) = self.slots.with(py, |slots| {
            let free = slots.iter_mut().position(Slot::is_free);
            let number = free.unwrap_or(slots.len());
            let state = Arc::new(State { number, given_back: AtomicBool::new(false) });
            let share = Share(state.clone());
            match slots.get_mut(number) {
                Some(slot) => {
                    slot.state = state;
                    (share, Some(std::mem::replace(&mut slot.function, function)))
                }
                None => {
                    slots.push(Slot { function, address: 0, state });
                    (share, None)
                }
            }
        });
        // The destructor of a Python function may run anything.
        drop(old);
        self.reach(py, share)
    }

    /// As [`Table::take`], for callbacks of which nobody keeps a share: a function that has a slot keeps it, and slots without
    /// a share whose C function is no longer `used` are given back first.
    ///
    /// # Errors
    /// As [`Table::take`].
    pub(crate) fn take_once(
        &'static self,
        function: &Bound<'_, PyAny>,
        used: impl Fn(*mut c_void) -> bool,
    ) -> PyResult<(*mut c_void, Share)> {
        let py = function.py();
        let known = self.slots.peek(py, |slots| {
            for slot in slots.iter().filter(|slot| slot.address != 0 && !slot.function.is(function)) {
                // One that has a share is about to be used.
                if Arc::strong_count(&slot.state) == 1 && !used(std::ptr::with_exposed_provenance_mut(slot.address)) {
                    slot.state.given_back.store(true, Ordering::Relaxed);
                }
            }
            let slot = slots.iter().find(|slot| slot.function.is(function))?;
            slot.state.given_back.store(false, Ordering::Relaxed);
            Some(Share(slot.state.clone()))
        });
        match known {
            Some(share) => self.reach(py, share),
            None => self.take(function),
        }
    }

    /// The C function of a slot, which is made when there is none yet. A slot that gets none is given back.
    fn reach(&'static self, py: Python<'_>, share: Share) -> PyResult<(*mut c_void, Share)> {
        let number = share.0.number;
        let known = self.slots.peek(py, |slots| slots.get(number).map_or(0, |slot| slot.address));
        if known != 0 {
            return Ok((std::ptr::with_exposed_provenance_mut(known), share));
        }
        let made = match (self.own)(number) {
            Some(own) => Ok(own.expose_provenance()),
            None => self.by_ctypes(py, number),
        };
        match made {
            Ok(address) => {
                self.slots.with(py, |slots| {
                    if let Some(slot) = slots.get_mut(number) {
                        slot.address = address;
                    }
                });
                Ok((std::ptr::with_exposed_provenance_mut(address), share))
            }
            Err(error) => {
                share.give_back(py);
                Err(error)
            }
        }
    }

    /// A C function for a slot, made by `ctypes` and kept for the life of the process: MPI may call it as long as it runs.
    fn by_ctypes(&'static self, py: Python<'_>, number: usize) -> PyResult<usize> {
        let ctypes = py.import("ctypes")?;
        let pointer = ctypes.getattr("c_void_p")?;
        let types = std::iter::once(py.None().into_bound(py)).chain((0..self.arguments).map(|_| pointer.clone()));
        let prototype =
            ctypes.getattr("CFUNCTYPE")?.call1(pyo3::types::PyTuple::new(py, types.collect::<Vec<_>>())?)?;
        let body = PyCFunction::new_closure(py, None, None, move |args, _kwargs| -> PyResult<()> {
            let words: Vec<Option<usize>> = args.extract()?;
            let addresses: Vec<*mut c_void> =
                words.into_iter().map(|word| std::ptr::with_exposed_provenance_mut(word.unwrap_or(0))).collect();
            (self.call)(args.py(), number, &addresses);
            Ok(())
        })?;
        let callback = prototype.call1((body,))?;
        let address = ctypes.getattr("cast")?.call1((&callback, &pointer))?.getattr("value")?.extract()?;
        let _kept_for_ever = callback.into_ptr();
        Ok(address)
    }
}
