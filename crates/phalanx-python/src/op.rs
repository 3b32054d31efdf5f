//! `MPI.Op`: reduction operations (MPI 5.0 section 6.9).

use pyo3::exceptions::{PyRuntimeError, PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyTuple, PyType};

use crate::buffer::Buffer;
use crate::datatype::Datatype;
use crate::error::check;
use crate::ffi::*;
use crate::gil::{self, GilCell};
use crate::handle::{self, Handle, HandleCell, handle_methods};
use crate::large;
use crate::slots::{OWN, Share, Table, instances};
use crate::spec::collective;

/// An operation that combines two values of the same type. Calling it combines two Python objects.
#[pyclass(module = "phalanx.MPI", subclass, frozen, weakref)]
#[repr(C)] // what compiled code for mpi4py reads comes first
pub(crate) struct Op {
    handle: HandleCell<MPI_Op>,
    /// The Python function of a user's operation.
    function: GilCell<Option<Py<PyAny>>>,
    /// The slot of the function, until the operation is freed.
    slot: GilCell<Option<Share>>,
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
    /// What an operation under way holds, so that the function stays when this object is freed meanwhile.
    pub(crate) fn in_use(&self, py: Python<'_>) -> Option<Share> {
        self.slot.peek(py, Clone::clone)
    }

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

/// The functions of users' operations.
static FUNCTIONS: Table = Table::new(
    |slot| USER.get(slot).map(|own| *own as *mut c_void),
    4,
    |py, slot, arguments| {
        if let [input, inout, count, datatype] = *arguments {
            // SAFETY: the library passes the addresses of a count and a handle.
            let (count, datatype) = unsafe { (count_at(count), datatype.cast::<MPI_Datatype>().read()) };
            apply(py, slot, input, inout, count, datatype);
        }
    },
);

/// The count that the library passes to a user's function.
///
/// # Safety
/// What the library has passed: the address of a count, of the width that it has for such functions.
unsafe fn count_at(place: *const c_void) -> MPI_Count {
    // SAFETY: as the caller promises.
    unsafe {
        match large::has_large_operations() {
            true => place.cast::<MPI_Count>().read(),
            false => place.cast::<c_int>().read().into(),
        }
    }
}

/// Runs a user's function on two arrays of `count` elements. An exception cannot be returned through MPI: it ends the job.
fn apply(
    py: Python<'_>,
    slot: usize,
    input: *mut c_void,
    inout: *mut c_void,
    count: MPI_Count,
    datatype: MPI_Datatype,
) {
    let called = (|| {
        let function = FUNCTIONS
            .function(py, slot)
            .ok_or_else(|| PyRuntimeError::new_err("a reduction operation without a function"))?;
        let (mut lb, mut extent) = (0, 0);
        // SAFETY: both are valid for the writes.
        check(unsafe { MPI_Type_get_extent_c(datatype, &mut lb, &mut extent) })?;
        let bytes = isize::try_from(count * extent).unwrap_or(0);
        let object = handle::instance::<Datatype>(&py.get_type::<Datatype>(), datatype)?;
        let result = Buffer::lend(py, (input, bytes), (inout, bytes), |a, b| function.call1(py, (a, b, &object)));
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
    count: *mut c_void,
    datatype: *mut MPI_Datatype,
) {
    // SAFETY: the library passes the addresses of a count and a handle; the flag may be asked for at any time.
    let (count, datatype, up) = unsafe { (count_at(count), *datatype, pyo3::ffi::Py_IsInitialized() != 0) };
    if up {
        gil::attached(|py| apply(py, N, input, inout, count, datatype));
    } else {
        eprintln!("phalanx: a user-defined reduction operation ran after the end of Python: ending the job");
        // SAFETY: passes values.
        unsafe { MPI_Abort(MPI_COMM_WORLD, 1) };
    }
}

type UserFunction = unsafe extern "C" fn(*mut c_void, *mut c_void, *mut c_void, *mut MPI_Datatype);

static USER: [UserFunction; OWN] = instances!(user);

#[pymethods]
impl Op {
    #[new]
    #[pyo3(signature = (op=None))]
    fn new(op: Option<&Bound<'_, Op>>) -> Self {
        Op {
            handle: HandleCell::new(handle::raw_or_null(op)),
            function: GilCell::new(op.and_then(|op| op.get().function.get(op.py()))),
            slot: GilCell::new(op.and_then(|op| op.get().in_use(op.py()))),
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
        let (callback, slot) = FUNCTIONS.take(function)?;
        // SAFETY: the callback lives as long as the process; the result pointer is valid for the write.
        let made = handle::create::<Op>(cls, |out| unsafe { MPI_Op_create_c(callback, c_int::from(commute), out) });
        let object = match made {
            Ok(object) => object,
            Err(error) => {
                slot.give_back(py);
                return Err(error);
            }
        };
        let op = object.cast::<Op>()?.get();
        op.slot.replace(py, Some(slot));
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
            if let Some(slot) = self.slot.take(py) {
                slot.give_back(py);
            }
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
        let (op, _in_use) = (self.raw(), self.in_use(py));
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
