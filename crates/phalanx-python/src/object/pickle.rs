//! `MPI.pickle`: objects to messages and back.
//!
//! With the standard library's pickle, buffers of [`Settings::threshold`] bytes or more travel out of band (pickle
//! protocol 5, PEP 574): they are neither copied into the stream when sent nor out of it when received. Users may
//! replace `dumps` and `loads`; their streams are sent as they are.

use pyo3::exceptions::{PyOverflowError, PyRuntimeError, PyTypeError, PyValueError};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyBool, PyBytes, PyDict, PyFloat, PyInt, PyList, PyString, PyTuple};

use super::block::{Block, Memory};
use super::frame::Layout;
use super::parcel::{Parcel, bytes_of};
use crate::buffer::{Access, Buffer, View};
use crate::gil::GilCell;

/// Buffers from this size on travel out of band unless the user says otherwise.
const THRESHOLD: usize = 32 << 10;

/// The standard library's functions, looked up once.
struct Standard {
    dumps: Py<PyAny>,
    loads: Py<PyAny>,
    protocol: i64,
}

static STANDARD: PyOnceLock<Standard> = PyOnceLock::new();

fn standard(py: Python<'_>) -> PyResult<&'static Standard> {
    STANDARD.get_or_try_init(py, || {
        let pickle = py.import("pickle")?;
        Ok(Standard {
            dumps: pickle.getattr("dumps")?.unbind(),
            loads: pickle.getattr("loads")?.unbind(),
            protocol: env_number("PHALANX_PICKLE_PROTOCOL", "MPI4PY_PICKLE_PROTOCOL")?
                .map_or_else(|| pickle.getattr("HIGHEST_PROTOCOL")?.extract(), Ok)?,
        })
    })
}

/// A number from one of two environment variables.
fn env_number(name: &str, other: &str) -> PyResult<Option<i64>> {
    for name in [name, other] {
        if let Ok(text) = std::env::var(name) {
            let number = text.trim().parse();
            return number.map(Some).map_err(|_| PyValueError::new_err(format!("{name}={text}: expected an integer")));
        }
    }
    Ok(None)
}

fn default_threshold() -> PyResult<usize> {
    let asked = env_number("PHALANX_PICKLE_THRESHOLD", "MPI4PY_PICKLE_THRESHOLD")?;
    Ok(asked.map_or(THRESHOLD, |number| usize::try_from(number).unwrap_or(0)))
}

/// How objects are pickled now.
struct Settings {
    dumps: Py<PyAny>,
    loads: Py<PyAny>,
    protocol: Option<i64>,
    threshold: usize,
    /// Whether `dumps` and `loads` are the standard library's, which know out-of-band buffers.
    standard: bool,
}

impl Settings {
    fn new(
        py: Python<'_>,
        dumps: Option<Py<PyAny>>,
        loads: Option<Py<PyAny>>,
        protocol: Option<i64>,
        threshold: Option<usize>,
    ) -> PyResult<Self> {
        let standard = standard(py)?;
        let dumps = dumps.unwrap_or_else(|| standard.dumps.clone_ref(py));
        let loads = loads.unwrap_or_else(|| standard.loads.clone_ref(py));
        let own_dumps = dumps.is(&standard.dumps);
        Ok(Settings {
            protocol: protocol.or(own_dumps.then_some(standard.protocol)),
            threshold: threshold.map_or_else(default_threshold, Ok)?,
            standard: own_dumps && loads.is(&standard.loads),
            dumps,
            loads,
        })
    }

    fn share(&self, py: Python<'_>) -> Settings {
        Settings { dumps: self.dumps.clone_ref(py), loads: self.loads.clone_ref(py), ..*self }
    }

    /// Whether a stream may leave buffers out.
    fn out_of_band(&self) -> bool {
        self.standard && self.protocol.is_none_or(|protocol| !(0..5).contains(&protocol))
    }

    /// The plain stream of an object.
    fn dumps<'py>(&self, object: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        let dumps = self.dumps.bind(object.py());
        match self.protocol {
            Some(protocol) => dumps.call1((object, protocol)),
            None => dumps.call1((object,)),
        }
    }

    /// The stream of an object and the buffers that were left out of it.
    fn dumps_oob<'py>(&self, object: &Bound<'py, PyAny>) -> PyResult<(Bound<'py, PyAny>, Vec<View>)> {
        let py = object.py();
        let collector = Bound::new(py, Collector { threshold: self.threshold, views: GilCell::new(Vec::new()) })?;
        let options = PyDict::new(py);
        options.set_item(intern!(py, "buffer_callback"), &collector)?;
        let protocol = self.protocol.filter(|protocol| *protocol >= 5).unwrap_or(5);
        let stream = self.dumps.bind(py).call((object, protocol), Some(&options))?;
        Ok((stream, collector.get().views.take(py)))
    }
}

/// Told by pickle of every buffer: keeps the large ones.
#[pyclass(module = "phalanx.MPI", frozen)]
struct Collector {
    threshold: usize,
    views: GilCell<Vec<View>>,
}

#[pymethods]
impl Collector {
    /// Returns whether the buffer goes into the stream.
    fn __call__(&self, py: Python<'_>, buffer: &Bound<'_, PyAny>) -> PyResult<bool> {
        let view = View::of(buffer, Access::Read, false)?;
        if view.bytes().unsigned_abs() < self.threshold {
            return Ok(true);
        }
        let mut views = self.views.take(py);
        views.push(view);
        self.views.replace(py, views);
        Ok(false)
    }
}

/// Whether an object surely has no buffers to leave out: nothing to gain from looking for them.
fn is_plain(object: &Bound<'_, PyAny>) -> bool {
    object.is_none()
        || object.is_exact_instance_of::<PyBool>()
        || object.is_exact_instance_of::<PyInt>()
        || object.is_exact_instance_of::<PyFloat>()
        || object.is_exact_instance_of::<PyString>()
        || object.is_exact_instance_of::<PyBytes>()
}

/// Turns objects into messages and back.
#[pyclass(module = "phalanx.MPI", subclass, frozen)]
pub(crate) struct Pickle {
    settings: GilCell<Option<Settings>>,
}

impl Pickle {
    fn settings(&self, py: Python<'_>) -> PyResult<Settings> {
        match self.settings.peek(py, |settings| settings.as_ref().map(|settings| settings.share(py))) {
            Some(settings) => Ok(settings),
            None => Settings::new(py, None, None, None, None),
        }
    }

    fn change(&self, py: Python<'_>, change: impl FnOnce(&mut Settings) -> PyResult<()>) -> PyResult<()> {
        let mut settings = self.settings(py)?;
        change(&mut settings)?;
        drop(self.settings.replace(py, Some(settings)));
        Ok(())
    }
}

#[pymethods]
impl Pickle {
    #[new]
    #[pyo3(signature = (*args, **kwargs))]
    fn new(args: &Bound<'_, PyTuple>, kwargs: Option<&Bound<'_, PyDict>>) -> Self {
        let _ = (args, kwargs);
        Pickle { settings: GilCell::new(None) }
    }

    #[pyo3(signature = (dumps = None, loads = None, protocol = None, threshold = None))]
    fn __init__(
        &self,
        py: Python<'_>,
        dumps: Option<Py<PyAny>>,
        loads: Option<Py<PyAny>>,
        protocol: Option<i64>,
        threshold: Option<usize>,
    ) -> PyResult<()> {
        let settings = Settings::new(py, dumps, loads, protocol, threshold)?;
        drop(self.settings.replace(py, Some(settings)));
        Ok(())
    }

    /// dumps(self, obj: Any) -> bytes
    ///
    /// Serialize an object to a byte stream.
    fn dumps<'py>(&self, obj: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        self.settings(obj.py())?.dumps(obj)
    }

    /// loads(self, data: Buffer) -> Any
    ///
    /// Recreate an object from its byte stream, or from the bytes of a message that lower-case `send` sent.
    fn loads<'py>(&self, data: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        let py = data.py();
        let settings = self.settings(py)?;
        if settings.standard {
            let view = View::of_bytes(data, Access::Read)?;
            let bytes = bytes_of(&view);
            if Layout::read(bytes).is_some() {
                let memory = Memory::for_message(bytes.len())?;
                // SAFETY: two different blocks of memory of that length.
                unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), memory.address().cast(), bytes.len()) };
                return load(py, memory);
            }
        }
        settings.loads.bind(py).call1((data,))
    }

    /// dumps_oob(self, obj: Any) -> tuple[bytes, list[buffer]]
    ///
    /// Serialize an object to a byte stream and the large buffers that were left out of it.
    fn dumps_oob<'py>(&self, obj: &Bound<'py, PyAny>) -> PyResult<(Bound<'py, PyAny>, Bound<'py, PyList>)> {
        let py = obj.py();
        let (stream, views) = self.settings(py)?.dumps_oob(obj)?;
        let buffers = PyList::empty(py);
        for view in views {
            buffers.append(Bound::new(py, Buffer::of_view(view))?)?;
        }
        Ok((stream, buffers))
    }

    /// loads_oob(self, data: Buffer, buffers: Iterable[Buffer]) -> Any
    ///
    /// Recreate an object from a byte stream and the buffers that were left out of it.
    fn loads_oob<'py>(&self, data: &Bound<'py, PyAny>, buffers: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        let py = data.py();
        let options = PyDict::new(py);
        options.set_item(intern!(py, "buffers"), buffers)?;
        self.settings(py)?.loads.bind(py).call((data,), Some(&options))
    }

    /// PROTOCOL: int | None
    ///
    /// Protocol version.
    #[getter(PROTOCOL)]
    fn protocol(&self, py: Python<'_>) -> PyResult<Option<i64>> {
        Ok(self.settings(py)?.protocol)
    }

    #[setter(PROTOCOL)]
    fn set_protocol(&self, py: Python<'_>, protocol: Option<i64>) -> PyResult<()> {
        let standard = standard(py)?;
        self.change(py, |settings| {
            let own = settings.dumps.is(&standard.dumps);
            settings.protocol = protocol.or(own.then_some(standard.protocol));
            Ok(())
        })
    }

    /// THRESHOLD: int
    ///
    /// Bytes from which on a buffer travels out of band.
    #[getter(THRESHOLD)]
    fn threshold(&self, py: Python<'_>) -> PyResult<usize> {
        Ok(self.settings(py)?.threshold)
    }

    #[setter(THRESHOLD)]
    fn set_threshold(&self, py: Python<'_>, threshold: Option<usize>) -> PyResult<()> {
        self.change(py, |settings| {
            settings.threshold = threshold.map_or_else(default_threshold, Ok)?;
            Ok(())
        })
    }
}

/// The module's `pickle`, which the lower-case methods use.
static MODULE_PICKLE: PyOnceLock<Py<Pickle>> = PyOnceLock::new();

fn current(py: Python<'_>) -> PyResult<Settings> {
    match MODULE_PICKLE.get(py) {
        Some(pickle) => pickle.get().settings(py),
        None => Err(PyRuntimeError::new_err("phalanx.MPI is not initialised yet")),
    }
}

/// An object as what can be sent.
///
/// # Errors
/// Whatever pickling raises.
pub(crate) fn dump(object: &Bound<'_, PyAny>) -> PyResult<Parcel> {
    let settings = current(object.py())?;
    let (stream, buffers) = if settings.out_of_band() && !is_plain(object) {
        settings.dumps_oob(object)?
    } else {
        (settings.dumps(object)?, Vec::new())
    };
    let stream = View::of_bytes(&stream, Access::Read).map_err(|error| {
        let text = "the pickle function must return bytes or another object with a buffer";
        let better = PyTypeError::new_err(text);
        better.set_cause(object.py(), Some(error));
        better
    })?;
    Parcel::new(stream, buffers).ok_or_else(|| PyOverflowError::new_err("the object is too large for one message"))
}

/// The object that a message holds; one of no bytes holds `None`.
///
/// # Errors
/// Whatever unpickling raises; `ValueError` for a damaged message.
pub(crate) fn load(py: Python<'_>, memory: Memory) -> PyResult<Bound<'_, PyAny>> {
    let length = memory.length();
    let block = Block::object(py, memory)?;
    load_from(&block, 0, length)
}

/// As [`load`], from a part of a block.
///
/// # Errors
/// As [`load`].
pub(crate) fn load_from<'py>(block: &Bound<'py, Block>, from: usize, to: usize) -> PyResult<Bound<'py, PyAny>> {
    let py = block.py();
    if from == to {
        return Ok(py.None().into_bound(py));
    }
    let settings = current(py)?;
    let loads = settings.loads.bind(py);
    // SAFETY: the receive that filled the block is over, and no array views it yet.
    let bytes = unsafe { block.get().memory().bytes() };
    match Layout::read(bytes.get(from..to).unwrap_or_default()) {
        Some(Err(text)) => Err(PyValueError::new_err(text)),
        Some(Ok(layout)) => {
            let view = |place: (usize, usize)| Block::view(block, from + place.0, from + place.0 + place.1);
            let buffers = PyList::empty(py);
            for place in layout.buffers {
                buffers.append(view(place)?)?;
            }
            let options = PyDict::new(py);
            options.set_item(intern!(py, "buffers"), buffers)?;
            loads.call((view(layout.stream)?,), Some(&options))
        }
        None => loads.call1((Block::view(block, from, to)?,)),
    }
}

/// Adds the class and the module's instance.
pub(crate) fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    let py = m.py();
    m.add_class::<Pickle>()?;
    let pickle = Bound::new(py, Pickle { settings: GilCell::new(None) })?;
    pickle.get().change(py, |_| Ok(()))?;
    m.add("pickle", &pickle)?;
    let _ = MODULE_PICKLE.set(py, pickle.unbind());
    Ok(())
}
