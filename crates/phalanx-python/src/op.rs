//! `MPI.Op`: reduction operations (MPI 5.0 section 6.9).

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyTuple, PyType};

use crate::buffer::Buffer;
use crate::datatype::Datatype;
use crate::error::check;
use crate::ffi::*;
use crate::gil::{self, GilCell};
use crate::handle::{self, Handle, HandleCell, handle_methods};
use crate::spec::collective;

/// An operation that combines two values of the same type. Calling it combines two Python objects.
#[pyclass(module = "phalanx.MPI", subclass, frozen, weakref)]
pub(crate) struct Op {
    handle: HandleCell<MPI_Op>,
    /// The Python function of a user's operation.
    function: GilCell<Option<Py<PyAny>>>,
    /// The slot of the function, [`SLOTS`] for none.
    slot: AtomicUsize,
}

impl Handle for Op {
    type Raw = MPI_Op;

    fn cell(&self) -> &HandleCell<MPI_Op> {
        &self.handle
    }

    fn release(slf: &Bound<'_, Self>) -> PyResult<()> {
        slf.get().Free()
    }
}

/// Predefined operations pickle by name, a user's by its function.
fn reduce<'py>(slf: &Bound<'py, Op>) -> PyResult<Bound<'py, PyAny>> {
    let py = slf.py();
    if Op::is_predefined(slf.get().raw()) {
        return handle::reduce(slf);
    }
    let Some(function) = slf.get().function.get(py) else {
        return Err(PyValueError::new_err("cannot pickle a reduction operation whose function is not known here"));
    };
    let create = slf.get_type().getattr("Create")?;
    Ok((create, (function, slf.get().Is_commutative()?)).into_pyobject(py)?.into_any())
}

handle_methods!(Op, MPI_Op, reduce);

impl Op {
    /// Combines two Python objects: `x op y`.
    ///
    /// # Errors
    /// What the objects' operators or the user's function raise; `ValueError` for an operation that cannot be called.
    pub(crate) fn combine<'py>(&self, x: &Bound<'py, PyAny>, y: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        let py = x.py();
        let truth = |value: bool| Ok(value.into_pyobject(py)?.to_owned().into_any());
        match self.raw() {
            MPI_SUM => x.add(y),
            MPI_PROD => x.mul(y),
            MPI_MAX => Ok(if y.gt(x)? { y.clone() } else { x.clone() }),
            MPI_MIN => Ok(if y.lt(x)? { y.clone() } else { x.clone() }),
            MPI_BAND => x.bitand(y),
            MPI_BOR => x.bitor(y),
            MPI_BXOR => x.bitxor(y),
            MPI_LAND => truth(x.is_truthy()? & y.is_truthy()?),
            MPI_LOR => truth(x.is_truthy()? | y.is_truthy()?),
            MPI_LXOR => truth(x.is_truthy()? ^ y.is_truthy()?),
            MPI_MAXLOC => extreme(x, y, |a, b| a.gt(b)),
            MPI_MINLOC => extreme(x, y, |a, b| a.lt(b)),
            MPI_REPLACE => Ok(y.clone()),
            MPI_NO_OP => Ok(x.clone()),
            _ => match self.function.get(py) {
                Some(function) => function.bind(py).call1((x, y, py.None())),
                None => {
                    Err(PyValueError::new_err("cannot call a reduction operation whose function is not known here"))
                }
            },
        }
    }
}

/// The items of a pair, whatever kind of sequence it is.
fn value_and_index<'py>(pair: &Bound<'py, PyAny>) -> PyResult<(Bound<'py, PyAny>, Bound<'py, PyAny>)> {
    PyTuple::new(pair.py(), pair.try_iter()?.collect::<PyResult<Vec<_>>>()?)?.extract()
}

/// The pair whose value is beyond the other's; of equal ones that with the smaller index.
fn extreme<'py>(
    x: &Bound<'py, PyAny>,
    y: &Bound<'py, PyAny>,
    beyond: impl Fn(&Bound<'py, PyAny>, &Bound<'py, PyAny>) -> PyResult<bool>,
) -> PyResult<Bound<'py, PyAny>> {
    let py = x.py();
    let ((u, i), (v, j)) = (value_and_index(x)?, value_and_index(y)?);
    let second = if beyond(&u, &v)? {
        false
    } else if beyond(&v, &u)? {
        true
    } else {
        j.lt(&i)?
    };
    let pair = if second { (v, j) } else { (u, i) };
    Ok(pair.into_pyobject(py)?.into_any())
}

/// How many operations have a C function of their own; further ones get one from `ctypes`.
const SLOTS: usize = 64;

/// A function with a C function of its own.
struct Slot {
    function: Py<PyAny>,
    freed: bool,
}

/// The slots in use. A freed one keeps its function until it is needed again: a nonblocking
/// reduction may outlive the operation's handle.
static FUNCTIONS: GilCell<Vec<Slot>> = GilCell::new(Vec::new());

/// Runs a user's function on two arrays of `count` elements. An exception cannot be returned through MPI: it ends the job.
fn apply(
    py: Python<'_>,
    function: &Bound<'_, PyAny>,
    input: *mut c_void,
    inout: *mut c_void,
    count: MPI_Count,
    datatype: MPI_Datatype,
) {
    let called = (|| {
        let (mut lb, mut extent) = (0, 0);
        // SAFETY: both are valid for the writes.
        check(unsafe { MPI_Type_get_extent_c(datatype, &mut lb, &mut extent) })?;
        let bytes = isize::try_from(count * extent).unwrap_or(0);
        let object = handle::instance::<Datatype>(&py.get_type::<Datatype>(), datatype)?;
        let a = Bound::new(py, Buffer::of_address(input, bytes))?;
        let b = Bound::new(py, Buffer::of_address(inout, bytes))?;
        let result = function.call1((a, b, &object));
        object.cast::<Datatype>()?.get().cell().set(MPI_DATATYPE_NULL);
        result.map(drop)
    })();
    if let Err(error) = called {
        error.display(py);
        crate::init::flush_output(py);
        eprintln!("phalanx: exception in a user-defined reduction operation: ending the job");
        // SAFETY: passes values.
        unsafe { MPI_Abort(MPI_COMM_WORLD, 1) };
    }
}

unsafe extern "C" fn user<const N: usize>(
    input: *mut c_void,
    inout: *mut c_void,
    count: *mut MPI_Count,
    datatype: *mut MPI_Datatype,
) {
    // SAFETY: the library passes the addresses of a count and a handle; the flag may be asked for at any time.
    let (count, datatype, up) = unsafe { (*count, *datatype, pyo3::ffi::Py_IsInitialized() != 0) };
    let called = up
        && Python::attach(|py| {
            let function = FUNCTIONS.peek(py, |list| list.get(N).map(|slot| slot.function.clone_ref(py)));
            let Some(function) = function else {
                return false;
            };
            apply(py, function.bind(py), input, inout, count, datatype);
            true
        });
    if !called {
        eprintln!("phalanx: a user-defined reduction operation ran after its function was gone: ending the job");
        // SAFETY: passes values.
        unsafe { MPI_Abort(MPI_COMM_WORLD, 1) };
    }
}

type UserFunction = unsafe extern "C" fn(*mut c_void, *mut c_void, *mut MPI_Count, *mut MPI_Datatype);

macro_rules! slots {
    ($($n:literal)*) => { [$(user::<$n>),*] };
}

static USER: [UserFunction; SLOTS] = slots!(0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28
    29 30 31 32 33 34 35 36 37 38 39 40 41 42 43 44 45 46 47 48 49 50 51 52 53 54 55 56 57 58 59 60 61 62 63);

/// Gives a function a slot and returns its number, [`SLOTS`] when all are taken.
fn take_slot(py: Python<'_>, function: &Bound<'_, PyAny>) -> usize {
    let fresh = Slot { function: function.clone().unbind(), freed: false };
    let mut list = FUNCTIONS.take(py);
    let (slot, old) = if list.len() < SLOTS {
        list.push(fresh);
        (list.len() - 1, None)
    } else {
        match list.iter().position(|slot| slot.freed) {
            Some(slot) => (slot, Some(std::mem::replace(&mut list[slot], fresh))),
            None => (SLOTS, None),
        }
    };
    drop(FUNCTIONS.replace(py, list));
    drop(old);
    slot
}

/// Lets a slot be taken again.
fn give_slot_back(py: Python<'_>, slot: usize) {
    let mut list = FUNCTIONS.take(py);
    if let Some(slot) = list.get_mut(slot) {
        slot.freed = true;
    }
    drop(FUNCTIONS.replace(py, list));
}

/// A C function for a Python function that found no slot, made by `ctypes` and kept for the life of the process.
fn foreign_function(function: &Bound<'_, PyAny>) -> PyResult<usize> {
    let py = function.py();
    let ctypes = py.import("ctypes")?;
    let pointer = ctypes.getattr("c_void_p")?;
    let prototype = ctypes.getattr("CFUNCTYPE")?.call1((py.None(), &pointer, &pointer, &pointer, &pointer))?;
    let function = function.clone().unbind();
    let body = pyo3::types::PyCFunction::new_closure(py, None, None, move |args, _kwargs| -> PyResult<()> {
        let (a, b, n, t): (Option<usize>, Option<usize>, usize, usize) = args.extract()?;
        let address = |bits: Option<usize>| std::ptr::with_exposed_provenance_mut::<c_void>(bits.unwrap_or(0));
        // SAFETY: the library passes the addresses of a count and a handle.
        let (count, datatype) = unsafe {
            let count = std::ptr::with_exposed_provenance::<MPI_Count>(n).read();
            (count, std::ptr::with_exposed_provenance::<MPI_Datatype>(t).read())
        };
        apply(args.py(), function.bind(args.py()), address(a), address(b), count, datatype);
        Ok(())
    })?;
    let callback = prototype.call1((body,))?;
    let address = ctypes.getattr("cast")?.call1((&callback, &pointer))?.getattr("value")?.extract()?;
    // MPI may call the function as long as it runs.
    let _kept_for_ever = callback.into_ptr();
    Ok(address)
}

#[pymethods]
impl Op {
    #[new]
    #[pyo3(signature = (op=None))]
    fn new(op: Option<&Bound<'_, Op>>) -> Self {
        Op {
            handle: HandleCell::new(handle::raw_or_null(op)),
            function: GilCell::new(op.and_then(|op| op.get().function.get(op.py()))),
            slot: AtomicUsize::new(op.map_or(SLOTS, |op| op.get().slot.load(Relaxed))),
        }
    }

    #[pyo3(signature = (x, y, /))]
    fn __call__<'py>(&self, x: &Bound<'py, PyAny>, y: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        self.combine(x, y)
    }

    /// Create(cls, function: Callable[[Buffer, Buffer, Datatype], None], commute: bool = False) -> Self
    ///
    /// Create an operation from a function. Local.
    ///
    /// `function(a, b, datatype)` combines two buffers and stores the result in `b`; for objects it is called with
    /// `datatype=None` and returns the result.
    #[classmethod]
    #[pyo3(signature = (function, commute=false))]
    fn Create<'py>(
        cls: &Bound<'py, PyType>,
        function: &Bound<'py, PyAny>,
        commute: bool,
    ) -> PyResult<Bound<'py, PyAny>> {
        let py = cls.py();
        if !function.is_callable() {
            return Err(PyTypeError::new_err("expected a callable reduction function"));
        }
        let slot = take_slot(py, function);
        let callback: *mut c_void = match USER.get(slot) {
            Some(callback) => *callback as *mut c_void,
            None => std::ptr::with_exposed_provenance_mut(foreign_function(function)?),
        };
        // SAFETY: the callback lives as long as the process; the result pointer is valid for the write.
        let object = handle::create::<Op>(cls, |out| unsafe { MPI_Op_create_c(callback, c_int::from(commute), out) })?;
        let op = object.cast::<Op>()?.get();
        op.slot.store(slot, Relaxed);
        drop(op.function.replace(py, Some(function.clone().unbind())));
        Ok(object)
    }

    /// Free(self) -> None
    ///
    /// Free a user's operation. Local.
    fn Free(&self) -> PyResult<()> {
        let (constant, before) = (handle::is_constant(self), self.raw());
        // SAFETY: the library checks and replaces the handle.
        check(self.handle.update(|raw| unsafe { MPI_Op_free(raw) }))?;
        if constant {
            self.handle.set(before);
        }
        Python::attach(|py| {
            give_slot_back(py, self.slot.swap(SLOTS, Relaxed));
            drop(self.function.take(py));
        });
        Ok(())
    }

    /// Is_commutative(self) -> bool
    ///
    /// Return whether the order of the operands may change. Local.
    fn Is_commutative(&self) -> PyResult<bool> {
        let mut flag = 0;
        // SAFETY: `flag` is valid for the write.
        check(unsafe { MPI_Op_commutative(self.raw(), &mut flag) })?;
        Ok(flag != 0)
    }

    /// Reduce_local(self, inbuf: BufSpec, inoutbuf: BufSpec) -> None
    ///
    /// Combine two local buffers entry by entry, into the second. Does not communicate.
    ///
    /// Raises ValueError when the buffers differ in count or datatype, Exception when the operation does not apply to it.
    fn Reduce_local(&self, py: Python<'_>, inbuf: &Bound<'_, PyAny>, inoutbuf: &Bound<'_, PyAny>) -> PyResult<()> {
        let m = collective::local(inbuf, inoutbuf)?;
        let op = self.raw();
        // SAFETY: both messages hold `count` entries and keep their memory until after the call.
        gil::blocking(py, || unsafe {
            MPI_Reduce_local_c(m.send.address, m.receive.address, m.count(), m.datatype(), op)
        })
    }

    /// is_commutative: bool
    ///
    /// Is a commutative operation.
    #[getter]
    fn is_commutative(&self) -> PyResult<bool> {
        self.Is_commutative()
    }

    /// is_predefined: bool
    ///
    /// Is a predefined operation.
    #[getter(is_predefined)]
    fn predefined(&self) -> bool {
        Op::is_predefined(self.raw())
    }
}

/// Adds the class and its constants to the module.
pub(crate) fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add_class::<Op>()?;
    for (name, raw) in OPERATIONS {
        handle::add_constant::<Op>(m, name, *raw)?;
    }
    Ok(())
}
