//! `MPI.pickle`: objects to messages and back.
//!
//! With the standard library's pickle, small plain values travel without it, and buffers of [`Settings::threshold`] bytes
//! or more beside the stream (pickle protocol 5, PEP 574): they are neither copied into it when sent nor out of it when
//! received. Users may replace `dumps` and `loads`, or ask for an older protocol; then every object goes through pickle,
//! and streams are sent as they are.

use std::sync::Arc;

use phalanx_object::{Loader, Memory, Parcel, Part, Reducers, View, Written, imported, is_ours, of_pickle};
use pyo3::exceptions::{PyRuntimeError, PyTypeError, PyValueError};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyBytes, PyDict, PyList, PyTuple};

use super::notice;
use crate::buffer::{self, Access, Buffer};
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
    imported(py, &STANDARD, "pickle", |pickle| {
        let dumps = of_pickle(pickle, "dumps")?;
        // The second byte of a stream tells its protocol; here, the highest.
        let highest = || dumps.call1((pickle.py().None(), -1))?.get_item(1)?.extract();
        Ok(Standard {
            protocol: env_protocol()?.map_or_else(highest, Ok)?,
            loads: of_pickle(pickle, "loads")?.unbind(),
            dumps: dumps.unbind(),
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

/// The protocol that the environment asks for.
fn env_protocol() -> PyResult<Option<i64>> {
    env_number("PHALANX_PICKLE_PROTOCOL", "MPI4PY_PICKLE_PROTOCOL")
}

fn default_threshold() -> PyResult<usize> {
    let asked = env_number("PHALANX_PICKLE_THRESHOLD", "MPI4PY_PICKLE_THRESHOLD")?;
    Ok(asked.map_or(THRESHOLD, |number| usize::try_from(number).unwrap_or(0)))
}

/// The size from which buffers leave the stream: the default's, or from 0 on for anything negative.
fn from_bytes(threshold: Option<i64>) -> PyResult<usize> {
    threshold.map_or_else(default_threshold, |bytes| Ok(usize::try_from(bytes).unwrap_or(0)))
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
        threshold: Option<i64>,
    ) -> PyResult<Self> {
        let standard = standard(py)?;
        let dumps = dumps.unwrap_or_else(|| standard.dumps.clone_ref(py));
        let loads = loads.unwrap_or_else(|| standard.loads.clone_ref(py));
        let own_dumps = dumps.is(&standard.dumps);
        Ok(Settings {
            protocol: protocol.or(own_dumps.then_some(standard.protocol)),
            threshold: from_bytes(threshold)?,
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
}

/// Picklers with the reducers of `copyreg`, as `pickle.dumps`; buffers from this size on leave the stream.
struct Plain(usize);

impl Reducers for Plain {
    fn threshold(&self) -> usize {
        self.0
    }

    fn print(&self, _py: Python<'_>) -> PyResult<u64> {
        Ok(0)
    }

    fn table(&self, _py: Python<'_>, _print: u64) -> PyResult<Option<Py<PyDict>>> {
        Ok(None)
    }
}

/// Turns objects into messages and back.
#[pyclass(module = "phalanx.MPI", subclass, frozen)]
pub(crate) struct Pickle {
    /// Made at the first use: a program that sends no object does not load the standard library's pickle.
    settings: GilCell<Option<Settings>>,
}

impl Pickle {
    fn settings(&self, py: Python<'_>) -> PyResult<Settings> {
        let known = self.settings.peek(py, |settings| settings.as_ref().map(|settings| settings.share(py)));
        if let Some(settings) = known {
            return Ok(settings);
        }
        let settings = Settings::new(py, None, None, None, None)?;
        // Another thread may have come first, while this one imported.
        let (settings, late) = self.settings.with(py, |known| match known {
            Some(first) => (first.share(py), Some(settings)),
            None => (known.insert(settings).share(py), None),
        });
        drop(late);
        Ok(settings)
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
        threshold: Option<i64>,
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
            let memory = Parcel::of_view(View::of(data)?);
            if memory.contiguous().is_some_and(is_ours) {
                return load(py, memory.copy()?);
            }
        }
        settings.loads.bind(py).call1((data,))
    }

    /// dumps_oob(self, obj: Any) -> tuple[bytes, list[buffer]]
    ///
    /// Serialize an object to a byte stream and the large buffers that were left out of it.
    fn dumps_oob<'py>(&self, obj: &Bound<'py, PyAny>) -> PyResult<(Bound<'py, PyAny>, Bound<'py, PyList>)> {
        let py = obj.py();
        let settings = self.settings(py)?;
        let buffers = PyList::empty(py);
        if !settings.dumps.is(&standard(py)?.dumps) {
            // The user's function must know what to do with the callback, as in mpi4py.
            let options = PyDict::new(py);
            options.set_item(intern!(py, "buffer_callback"), buffers.getattr(intern!(py, "append"))?)?;
            let protocol = settings.protocol.filter(|protocol| *protocol >= 5).unwrap_or(5);
            let stream = settings.dumps.bind(py).call((obj, protocol), Some(&options))?;
            return Ok((stream, buffers));
        }
        let Written { stream, buffers: views, .. } = phalanx_object::dump(obj, &Plain(settings.threshold))?;
        for view in views {
            let part = Part::whole(py, Arc::new(view))?;
            let view = buffer::View::of(&part, Access::Read, false)?;
            buffers.append(Bound::new(py, Buffer::of_view(view))?)?;
        }
        let stream = PyBytes::new(py, b"").call_method1(intern!(py, "join"), (PyTuple::new(py, stream)?,))?;
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
    fn set_threshold(&self, py: Python<'_>, threshold: Option<i64>) -> PyResult<()> {
        self.change(py, |settings| {
            settings.threshold = from_bytes(threshold)?;
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

/// From which size on buffers leave the stream; `None` where they never do, and small values are pickled too.
fn threshold(py: Python<'_>) -> PyResult<Option<usize>> {
    let ask = |settings: &Settings| settings.out_of_band().then_some(settings.threshold);
    let known = MODULE_PICKLE.get(py).and_then(|pickle| pickle.get().settings.peek(py, |s| s.as_ref().map(ask)));
    match known {
        Some(threshold) => Ok(threshold),
        None => Ok(ask(&current(py)?)),
    }
}

/// Gives the message of a plain value to `then`, where those are not pickled; `None` for any other object.
#[inline]
pub(crate) fn with_plain<R>(object: &Bound<'_, PyAny>, then: impl FnOnce(&[u8]) -> R) -> Option<R> {
    // What goes wrong here goes wrong in `dump`, too, which says so.
    threshold(object.py()).ok()??;
    phalanx_object::with_plain(object, then)
}

/// An object as what can be sent.
///
/// # Errors
/// Whatever pickling raises.
pub(crate) fn dump(object: &Bound<'_, PyAny>) -> PyResult<Parcel> {
    let py = object.py();
    if let Some(threshold) = threshold(py)? {
        return match Parcel::plain(object) {
            Some(parcel) => Ok(parcel),
            None => Parcel::pickled(py, phalanx_object::dump(object, &Plain(threshold))?),
        };
    }
    let stream = current(py)?.dumps(object)?;
    let stream = View::of(&stream).map_err(|error| {
        let text = "the pickle function must return bytes or another object with a buffer";
        let better = PyTypeError::new_err(text);
        better.set_cause(py, Some(error));
        better
    })?;
    Ok(Parcel::of_view(stream))
}

/// Runs `read` with what makes objects of streams now.
fn loading<'py, T>(py: Python<'py>, read: impl FnOnce(&Loader<'_, 'py>) -> PyResult<T>) -> PyResult<T> {
    let settings = current(py)?;
    let loads = settings.loads.bind(py);
    read(&Loader { loads, standard: settings.standard, notice: notice::received })
}

/// The object that a message holds; one of no bytes holds `None`.
///
/// # Errors
/// Whatever unpickling raises; `ValueError` for a damaged message; `_PeerError` for a notice.
pub(crate) fn load(py: Python<'_>, memory: Memory) -> PyResult<Bound<'_, PyAny>> {
    let length = memory.length();
    load_from(py, &Arc::new(memory), 0, length)
}

/// As [`load`], from a part of a memory.
///
/// # Errors
/// As [`load`].
pub(crate) fn load_from<'py>(
    py: Python<'py>,
    memory: &Arc<Memory>,
    from: usize,
    to: usize,
) -> PyResult<Bound<'py, PyAny>> {
    loading(py, |loader| phalanx_object::load(py, memory, from, to, loader))
}

/// As [`load`], from a short message, which need not outlive the call.
///
/// # Errors
/// As [`load`].
#[inline]
pub(crate) fn load_short<'py>(py: Python<'py>, message: &[u8]) -> PyResult<Bound<'py, PyAny>> {
    if threshold(py)?.is_some()
        && let Some(value) = phalanx_object::load_small(py, message)
    {
        return value;
    }
    loading(py, |loader| phalanx_object::load_short(py, message, loader))
}

/// Adds the class and the module's instance.
pub(crate) fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    let py = m.py();
    m.add_class::<Pickle>()?;
    // What the environment says wrongly is said at once.
    env_protocol()?;
    default_threshold()?;
    let pickle = Bound::new(py, Pickle { settings: GilCell::new(None) })?;
    m.add("pickle", &pickle)?;
    let _ = MODULE_PICKLE.set(py, pickle.unbind());
    Ok(())
}
