//! Picklers that are used again and again: making one costs more than pickling a small object.
//!
//! A pickler is taken from a stack of idle ones for one object and put back after it. So an object whose `__reduce__`
//! itself sends objects, and another thread that gets the interpreter lock in the middle, take another one; one that
//! failed, or whose memo has grown large, is not put back.

use std::ptr;

use pyo3::ffi;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyByteArray, PyBytes, PyDict};

use crate::gil::GilCell;
use crate::imports::{imported, of_pickle};
use crate::view::View;

/// A pickler that wrote more than this is not used again: clearing its memo takes as long as it has grown.
const REUSED: usize = 16 << 10;

/// How many idle picklers are kept.
const IDLE: usize = 8;

/// What a program's picklers do beyond the standard ones.
pub trait Reducers {
    /// Buffers of so many bytes and more leave the stream.
    fn threshold(&self) -> usize;

    /// A number that changes with the table.
    ///
    /// # Errors
    /// What importing a module raises.
    fn print(&self, py: Python<'_>) -> PyResult<u64>;

    /// The reducers, by type, whose number is `print`; `None` for those of `copyreg`.
    ///
    /// # Errors
    /// As [`Reducers::print`].
    fn table(&self, py: Python<'_>, print: u64) -> PyResult<Option<Py<PyDict>>>;
}

/// What a pickler has written.
#[derive(Default)]
pub struct Written {
    /// The stream, in pieces.
    pub stream: Vec<Py<PyBytes>>,
    /// The bytes of all pieces.
    pub length: usize,
    /// The buffers that were left out of it.
    pub buffers: Vec<View>,
}

/// The file and the buffer callback of a pickler.
#[pyclass(module = "phalanx", name = "_Sink", frozen)]
struct Sink {
    written: GilCell<Written>,
    threshold: GilCell<usize>,
}

#[pymethods]
impl Sink {
    /// Keeps a piece of the stream; one that may change is copied.
    fn write(&self, piece: &Bound<'_, PyAny>) -> PyResult<()> {
        let py = piece.py();
        let piece = match piece.cast_exact::<PyBytes>() {
            Ok(piece) => piece.clone().unbind(),
            // SAFETY: makes a new bytes object of any buffer, or reports an error.
            Err(_) => unsafe { Bound::from_owned_ptr_or_err(py, ffi::PyBytes_FromObject(piece.as_ptr())) }?
                .cast_into::<PyBytes>()?
                .unbind(),
        };
        let length = piece.as_bytes(py).len();
        self.written.with(py, |written| {
            written.length += length;
            written.stream.push(piece);
        });
        Ok(())
    }

    /// Told of every buffer: whether it goes into the stream.
    fn __call__(&self, buffer: &Bound<'_, PyAny>) -> PyResult<bool> {
        let py = buffer.py();
        let view = View::of(buffer)?;
        if view.length() < self.threshold.peek(py, |threshold| *threshold) {
            return Ok(true);
        }
        // What was bytes or a bytearray arrives as such, not as a view without its methods.
        if let Some(owner) = view.owner(py)
            && (owner.is_exact_instance_of::<PyBytes>() || owner.is_exact_instance_of::<PyByteArray>())
        {
            return Ok(true);
        }
        self.written.with(py, |written| written.buffers.push(view));
        Ok(false)
    }
}

/// A pickler with its sink.
struct Pickler {
    sink: Py<Sink>,
    pickler: Py<PyAny>,
    /// The bound methods.
    dump: Py<PyAny>,
    clear_memo: Py<PyAny>,
    /// The fingerprint of its reducers.
    print: u64,
}

/// Picklers that nobody uses at the moment.
static IDLE_PICKLERS: GilCell<Vec<Pickler>> = GilCell::new(Vec::new());

fn plain(py: Python<'_>) -> PyResult<&Bound<'_, PyAny>> {
    static PICKLER: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    let class = imported(py, &PICKLER, "pickle", |pickle| Ok(of_pickle(pickle, "Pickler")?.unbind()))?;
    Ok(class.bind(py))
}

impl Pickler {
    /// A pickler of this class, whose own table of reducers is `own`.
    fn new(
        py: Python<'_>,
        class: &Bound<'_, PyAny>,
        own: Option<&Bound<'_, PyAny>>,
        reducers: &dyn Reducers,
    ) -> PyResult<Pickler> {
        let print = reducers.print(py)?;
        let mut table = reducers.table(py, print)?.map(|table| table.into_bound(py));
        if let Some(own) = own {
            let both = table.map_or_else(|| Ok(PyDict::new(py)), |table| table.copy())?;
            both.call_method1(intern!(py, "update"), (own,))?;
            table = Some(both);
        }
        let threshold = GilCell::new(reducers.threshold());
        let sink = Bound::new(py, Sink { written: GilCell::new(Written::default()), threshold })?;
        let options = PyDict::new(py);
        options.set_item(intern!(py, "buffer_callback"), &sink)?;
        let pickler = class.call((&sink, 5), Some(&options))?;
        if let Some(table) = table {
            pickler.setattr(intern!(py, "dispatch_table"), table)?;
        }
        Ok(Pickler {
            dump: pickler.getattr(intern!(py, "dump"))?.unbind(),
            clear_memo: pickler.getattr(intern!(py, "clear_memo"))?.unbind(),
            pickler: pickler.unbind(),
            sink: sink.unbind(),
            print,
        })
    }

    /// An idle pickler with the reducers of now, or a new one.
    fn take(py: Python<'_>, reducers: &dyn Reducers) -> PyResult<Pickler> {
        let Some(mut pickler) = IDLE_PICKLERS.with(py, Vec::pop) else {
            return Pickler::new(py, plain(py)?, None, reducers);
        };
        pickler.sink.get().threshold.replace(py, reducers.threshold());
        let print = reducers.print(py)?;
        if pickler.print != print {
            let Some(table) = reducers.table(py, print)? else { return Pickler::new(py, plain(py)?, None, reducers) };
            pickler.pickler.setattr(py, intern!(py, "dispatch_table"), table)?;
            pickler.print = print;
        }
        Ok(pickler)
    }

    /// Pickles an object.
    fn dump(&self, object: &Bound<'_, PyAny>) -> PyResult<Written> {
        let py = object.py();
        let end = ptr::null_mut::<ffi::PyObject>();
        // SAFETY: calls a callable with one argument and the null that ends the list; the result is a new reference.
        let done = unsafe { ffi::PyObject_CallFunctionObjArgs(self.dump.as_ptr(), object.as_ptr(), end) };
        // SAFETY: as above.
        unsafe { Bound::from_owned_ptr_or_err(py, done) }?;
        Ok(self.sink.get().written.take(py))
    }

    /// Makes it idle, when it is good for another object.
    fn put_back(self, py: Python<'_>, written: usize) -> PyResult<()> {
        if written > REUSED {
            return Ok(());
        }
        // SAFETY: calls a callable without arguments; the result is a new reference.
        unsafe { Bound::from_owned_ptr_or_err(py, ffi::PyObject_CallNoArgs(self.clear_memo.as_ptr())) }?;
        // Clearing dropped objects, whose destructors may have pickled: the stack is looked at only now.
        let surplus = IDLE_PICKLERS.with(py, |idle| {
            if idle.len() < IDLE {
                idle.push(self);
                return None;
            }
            Some(self)
        });
        drop(surplus);
        Ok(())
    }
}

/// Pickles an object, with an idle pickler where there is one.
///
/// # Errors
/// What pickle or a reducer raises.
pub fn dump(object: &Bound<'_, PyAny>, reducers: &dyn Reducers) -> PyResult<Written> {
    let py = object.py();
    let pickler = Pickler::take(py, reducers)?;
    let written = pickler.dump(object)?;
    pickler.put_back(py, written.length)?;
    Ok(written)
}

/// Pickles an object with a new pickler of another class, whose own reducers, if any, come before the others.
///
/// # Errors
/// As [`dump`].
pub fn dump_with(
    class: &Bound<'_, PyAny>,
    own: Option<&Bound<'_, PyAny>>,
    object: &Bound<'_, PyAny>,
    reducers: &dyn Reducers,
) -> PyResult<Written> {
    Pickler::new(object.py(), class, own, reducers)?.dump(object)
}
