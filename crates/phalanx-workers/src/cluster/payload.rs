//! Objects that come with messages.

use std::sync::{Arc, Mutex, PoisonError};

use phalanx_object::{Keeper, Part, View};
use phalanx_shm::{Arena, Block};
use phalanx_wire::cluster::{Bytes, Payload as OnWire};
use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyBytes, PyList, PyTuple};

use crate::codec::{By, Memory, Source, decode_in, encode_in};

/// What a payload is as long as it is held.
#[derive(Clone)]
pub(super) struct Held {
    pub(super) payload: OnWire,
    pub(super) blocks: Vec<Block>,
}

/// An object on its way between processes of a cluster, encoded.
///
/// It holds the shared memory of large buffers until it is forgotten or nobody refers to it any more. `load` may be called as
/// often as one likes, in any thread. Of a payload that nobody else reads, arrays are views of that memory, the same each
/// time; of one that others read (`encode(..., shared=True)`), they are copied on the first write, each time anew.
#[pyclass(module = "phalanx._workers", frozen, weakref)]
pub(crate) struct Payload {
    held: Mutex<Option<Held>>,
    arena: Arena,
    /// What must live until the other end has read it.
    _keep: Vec<Py<PyAny>>,
    bytes: u64,
}

impl Payload {
    /// One that has arrived.
    pub(super) fn arrived(arena: Arena, held: Held) -> Self {
        Self { bytes: held.payload.bytes, held: Mutex::new(Some(held)), arena, _keep: Vec::new() }
    }

    /// Encodes an object.
    ///
    /// # Errors
    /// As the codec.
    pub(super) fn of(arena: Arena, object: &Bound<'_, PyAny>, shared: bool, by: By) -> PyResult<Self> {
        let py = object.py();
        let lent = lend(object)?;
        let encoded = encode_in(py, lent.as_ref().unwrap_or(object), by, Memory::Other(arena))?;
        let bytes = encoded.wire.len() as u64 + encoded.blocks.iter().map(|block| block.len() as u64).sum::<u64>();
        let payload = OnWire {
            wire: Bytes(encoded.wire.to_vec()),
            blocks: encoded.blocks.iter().map(|block| block.handle().to_u64()).collect(),
            bytes,
            shared,
        };
        let held = Held { payload, blocks: encoded.blocks };
        Ok(Self { held: Mutex::new(Some(held)), arena, _keep: encoded.keep, bytes })
    }

    /// Encodes an object that is plain and small; `None` for others. `loads` gives it back.
    pub(super) fn plain(arena: Arena, object: &Bound<'_, PyAny>, shared: bool) -> PyResult<Option<Self>> {
        // A tuple of one is no pair of a stream and buffers.
        let one = PyTuple::new(object.py(), [object])?;
        let mut small = [0; crate::codec::SMALL];
        let Some(length) = crate::codec::encode_small(one.as_any(), &mut small) else { return Ok(None) };
        let wire = Bytes(small[..length].to_vec());
        let payload = OnWire { wire, blocks: Vec::new(), bytes: length as u64, shared };
        let held = Held { payload, blocks: Vec::new() };
        Ok(Some(Self { held: Mutex::new(Some(held)), arena, _keep: Vec::new(), bytes: length as u64 }))
    }

    /// What is sent of it.
    ///
    /// # Errors
    /// `RuntimeError` when it was forgotten.
    pub(super) fn held(&self) -> PyResult<Held> {
        let held = self.held.lock().unwrap_or_else(PoisonError::into_inner).clone();
        held.ok_or_else(|| PyRuntimeError::new_err("this payload was forgotten: it has no object any more"))
    }

    pub(super) fn arena(&self) -> Arena {
        self.arena
    }
}

/// The object of a payload of one that was pickled, or that is so plain that it was not.
///
/// # Errors
/// What unpickling raises.
pub(super) fn unpickled<'py>(py: Python<'py>, arena: Arena, held: &Held) -> PyResult<Bound<'py, PyAny>> {
    let source = if held.payload.shared { Source::Private } else { Source::Borrowed };
    let object = decode_in(py, &held.payload.wire.0, source, Memory::Other(arena))?;
    let Ok(parts) = object.cast_exact::<PyTuple>() else { return Ok(object) };
    match parts.len() {
        // See `Payload::plain`.
        1 => parts.get_item(0),
        2 => {
            let loads = crate::codec::pickle_loads(py)?;
            let (stream, buffers) = (parts.get_item(0)?, parts.get_item(1)?);
            if buffers.cast_exact::<PyList>().is_ok_and(|buffers| buffers.is_empty()) {
                return loads.call1((stream,));
            }
            let options = pyo3::types::PyDict::new(py);
            options.set_item(pyo3::intern!(py, "buffers"), buffers)?;
            loads.call((stream,), Some(&options))
        }
        _ => Ok(object),
    }
}

#[pymethods]
impl Payload {
    /// load() -> object
    ///
    /// The object. Runs the Python code that unpickling it runs. Raises what that raises, RuntimeError when the payload
    /// was forgotten, and ValueError for a damaged one.
    fn load<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let held = self.held()?;
        let source = if held.payload.shared { Source::Private } else { Source::Borrowed };
        decode_in(py, &held.payload.wire.0, source, Memory::Other(self.arena))
    }

    /// loads() -> object
    ///
    /// The object of one that `dumps` has made, or of `(bytes, buffers)` that somebody else has pickled. Raises as `load`.
    fn loads<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        unpickled(py, self.arena, &self.held()?)
    }

    /// nbytes: int
    ///
    /// Bytes of the encoded object.
    #[getter]
    fn nbytes(&self) -> u64 {
        self.bytes
    }

    /// forget() -> None
    ///
    /// Let go of the object's memory, as far as no array of it is in use.
    fn forget(&self) {
        let held = self.held.lock().unwrap_or_else(PoisonError::into_inner).take();
        drop(held);
    }

    fn __repr__(&self) -> String {
        format!("<Payload of {} bytes>", self.bytes)
    }
}

/// The memory of a buffer, lent to pickle as if it could be written: what arrives is a copy, which may be.
struct Lent(View);

// SAFETY: the memory of a lent buffer stays where it is. It may be read-only, but nobody writes: only the sink of the
// pickler asks for it, and it reads.
unsafe impl Keeper for Lent {
    fn start(&self) -> *mut u8 {
        self.0.address().cast_mut()
    }

    fn length(&self) -> usize {
        self.0.length()
    }
}

/// Of `(bytes, [PickleBuffer, ...])`, which is how one sends what one has pickled oneself: the same with buffers that
/// arrive writable. `None` for other objects.
fn lend<'py>(object: &Bound<'py, PyAny>) -> PyResult<Option<Bound<'py, PyAny>>> {
    static BUFFER: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    let py = object.py();
    let Ok(pair) = object.cast_exact::<PyTuple>() else { return Ok(None) };
    if pair.len() != 2 || !pair.get_item(0)?.is_exact_instance_of::<PyBytes>() {
        return Ok(None);
    }
    let second = pair.get_item(1)?;
    let Ok(buffers) = second.cast_exact::<PyList>() else { return Ok(None) };
    if buffers.is_empty() {
        return Ok(None);
    }
    let class =
        BUFFER.get_or_try_init(py, || Ok::<_, PyErr>(py.import("pickle")?.getattr("PickleBuffer")?.unbind()))?;
    let class = class.bind(py);
    let lent = PyList::empty(py);
    for buffer in buffers {
        if !buffer.is_instance(class)? {
            return Ok(None);
        }
        // One with gaps stays what it is, and pickle says so.
        match buffer.call_method0("raw").and_then(|raw| View::of(&raw)) {
            Ok(view) => lent.append(class.call1((Part::whole(py, Arc::new(Lent(view)))?,))?)?,
            Err(_) => lent.append(&buffer)?,
        }
    }
    Ok(Some((pair.get_item(0)?, lent).into_pyobject(py)?.into_any()))
}
