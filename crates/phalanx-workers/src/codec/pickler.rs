//! Picklers that are used again and again: making one costs more than pickling a small object.
//!
//! A pickler is taken from a stack of idle ones for one object and put back after it. So an object whose `__reduce__`
//! itself sends objects, and another thread that gets the interpreter lock in the middle, take another one; one that
//! failed, or whose memo has grown large, is not put back.

use std::ptr;

use phalanx_gil::GilCell;
use pyo3::exceptions::{PyAttributeError, PyTypeError};
use pyo3::ffi;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyByteArray, PyBytes, PyDict};

use super::By;
use super::reducers;
use super::view::View;
use crate::text;

/// Buffers from this size on leave the stream. Below, a block costs more than the copy.
const OUT_OF_BAND: usize = 8 << 10;

/// A pickler that wrote more than this is not used again: clearing its memo takes as long as it has grown.
const REUSED: usize = 16 << 10;

/// How many idle picklers are kept.
const IDLE: usize = 8;

/// What a pickler has written.
#[derive(Default)]
pub(super) struct Written {
    /// The stream, in pieces.
    pub(super) stream: Vec<Py<PyBytes>>,
    /// The bytes of all pieces.
    pub(super) length: usize,
    /// The buffers that were left out of it.
    pub(super) buffers: Vec<View>,
}

/// The file and the buffer callback of a pickler.
#[pyclass(module = "phalanx._workers", name = "_Sink", frozen)]
struct Sink {
    written: GilCell<Written>,
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
        if view.length() < OUT_OF_BAND {
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

/// The classes to make picklers of.
struct Classes {
    plain: Py<PyAny>,
    /// `pickle.PicklingError`.
    error: Py<PyAny>,
}

static CLASSES: PyOnceLock<Classes> = PyOnceLock::new();

fn classes(py: Python<'_>) -> PyResult<&'static Classes> {
    CLASSES.get_or_try_init(py, || {
        let pickle = py.import("pickle")?;
        Ok(Classes { plain: pickle.getattr("Pickler")?.unbind(), error: pickle.getattr("PicklingError")?.unbind() })
    })
}

impl Pickler {
    /// A pickler of this class, whose own table of reducers is `own`.
    fn new(py: Python<'_>, class: &Bound<'_, PyAny>, own: Option<&Bound<'_, PyAny>>) -> PyResult<Pickler> {
        let print = reducers::print(py)?;
        let mut table = reducers::reducers(py, print)?.into_bound(py);
        if let Some(own) = own {
            table = table.copy()?;
            table.call_method1(intern!(py, "update"), (own,))?;
        }
        let sink = Bound::new(py, Sink { written: GilCell::new(Written::default()) })?;
        let options = PyDict::new(py);
        options.set_item(intern!(py, "buffer_callback"), &sink)?;
        let pickler = class.call((&sink, 5), Some(&options))?;
        pickler.setattr(intern!(py, "dispatch_table"), table)?;
        Ok(Pickler {
            dump: pickler.getattr(intern!(py, "dump"))?.unbind(),
            clear_memo: pickler.getattr(intern!(py, "clear_memo"))?.unbind(),
            pickler: pickler.unbind(),
            sink: sink.unbind(),
            print,
        })
    }

    /// An idle pickler with the reducers of now, or a new one.
    fn take(py: Python<'_>) -> PyResult<Pickler> {
        let Some(mut pickler) = IDLE_PICKLERS.with(py, Vec::pop) else {
            return Pickler::new(py, classes(py)?.plain.bind(py), None);
        };
        let print = reducers::print(py)?;
        if pickler.print != print {
            pickler.pickler.setattr(py, intern!(py, "dispatch_table"), reducers::reducers(py, print)?)?;
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

/// Pickles by reference where pickle can; what it cannot is pickled by value.
///
/// # Errors
/// The error of pickle, with a note of what cloudpickle said; what a reducer raised.
pub(super) fn dump(object: &Bound<'_, PyAny>, by: By) -> PyResult<Written> {
    let py = object.py();
    if matches!(by, By::Value) {
        return dump_by_value(object);
    }
    let pickler = Pickler::take(py)?;
    match pickler.dump(object) {
        Ok(written) => {
            pickler.put_back(py, written.length)?;
            Ok(written)
        }
        Err(error) if is_refusal(py, &error)? => dump_by_value(object).map_err(|second| with_hint(py, error, second)),
        Err(error) => Err(error),
    }
}

/// Whether an error is how pickle says that it cannot pickle something.
fn is_refusal(py: Python<'_>, error: &PyErr) -> PyResult<bool> {
    Ok(error.is_instance_of::<PyTypeError>(py)
        || error.is_instance_of::<PyAttributeError>(py)
        || error.is_instance(py, classes(py)?.error.bind(py)))
}

/// The first of two errors, with a note about the second.
fn with_hint(py: Python<'_>, first: PyErr, second: PyErr) -> PyErr {
    if text::is_interrupt(py, &second) {
        return second;
    }
    let (told, once_more) = match (text::of_error(py, &first), text::of_error(py, &second)) {
        (Ok(told), Ok(once_more)) => (told, once_more),
        (Err(interrupt), _) | (_, Err(interrupt)) => return interrupt,
    };
    let said = if once_more == told { String::new() } else { format!(" ({once_more})") };
    let note = if second.is_instance_of::<pyo3::exceptions::PyImportError>(py) {
        format!(
            "pickle cannot send this object to another process, and cloudpickle could not be tried ({once_more}): \
             python -m pip install cloudpickle"
        )
    } else {
        format!(
            "neither pickle nor cloudpickle can send this object to another process{said}; \
             send what it can be made of again, or create it in the worker"
        )
    };
    let _ = first.value(py).call_method1(intern!(py, "add_note"), (note,));
    first
}

/// Pickles functions and classes by value where they cannot be imported (cloudpickle).
fn dump_by_value(object: &Bound<'_, PyAny>) -> PyResult<Written> {
    let py = object.py();
    let class = py.import("phalanx.multiprocessing._by_value")?.getattr("Pickler")?;
    let own = class.getattr_opt(intern!(py, "dispatch_table"))?;
    Pickler::new(py, &class, own.as_ref())?.dump(object)
}
