//! Objects to messages between processes, and back.
//!
//! The parts are those of `phalanx-object`: small plain values are written directly, everything else is pickled, large
//! buffers beside the stream. Here is what is a family's own: the reducers of the standard module, by value what pickle
//! refuses, and the placement in blocks of the arena (`arena.rs`).

mod arena;
mod array;
mod by_value;
mod reducers;
mod sharing;
mod taking;

use std::cell::RefCell;
use std::ptr;

use phalanx_object::{decode_small, long_bytes, tag};
use phalanx_shm::{Arena, Block, Handle};
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyBytes;
use smallvec::SmallVec;

use crate::family;

pub(crate) use arena::{new_block, view_of};
pub(crate) use phalanx_object::encode_small;
pub(crate) use sharing::Sharing;

/// Up to this size, plain values are written directly.
pub(crate) const SMALL: usize = 512;

/// A `str` or `bytes` of more bytes is copied into a block without pickle in between.
const LONG: usize = 2 << 10;

/// How functions and classes are pickled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum By {
    /// By name where they can be imported, by value where not.
    Reference,
    /// By value, as cloudpickle does.
    Value,
}

/// Who holds the blocks of a message that is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// The message: reading it takes its holds over. It can be read once.
    Transit,
    /// The sender, until the reader is done. It can be read again, and readers see what others write into the arrays.
    Borrowed,
    /// As `Borrowed`, but what a reader writes into the arrays, it alone sees (copy on write).
    Private,
}

/// Whose memory the blocks of a message lie in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Memory {
    /// That of this process's family, which is made when there is none.
    Family,
    /// That of something else which this process has joined: an interactive cluster.
    Other(Arena),
}

impl Memory {
    /// # Errors
    /// As [`family::arena`].
    fn arena(self, py: Python<'_>) -> PyResult<Arena> {
        match self {
            Memory::Family => family::arena(py).copied(),
            Memory::Other(arena) => Ok(arena),
        }
    }

    /// Whether a block lies in it.
    fn owns(self, block: &Block) -> bool {
        match self {
            Memory::Family => family::owns(block),
            Memory::Other(arena) => block.arena() == arena,
        }
    }
}

/// The bytes of a message: most are short, and then need no heap.
pub(crate) type Wire = SmallVec<[u8; 192]>;

/// An object that is ready to be sent.
#[derive(Default)]
pub(crate) struct Encoded {
    /// The message: up to some 6 KiB.
    pub(crate) wire: Wire,
    /// The blocks that it names.
    pub(crate) blocks: Vec<Block>,
    /// Whether some of them were made for it, and so are no other message's.
    pub(crate) copied: bool,
    /// Objects that must live until the message has been read.
    pub(crate) keep: Vec<Py<PyAny>>,
}

impl Encoded {
    /// The message for a reader with [`Source::Transit`]: it holds the blocks from now on.
    pub(crate) fn into_transit(self) -> Wire {
        for block in self.blocks {
            let _ = block.into_transit();
        }
        self.wire
    }
}

/// What family objects leave for the message that they are pickled into.
struct Cargo {
    memory: Memory,
    blocks: Vec<Block>,
    keep: Vec<Py<PyAny>>,
}

thread_local! {
    /// The messages that this thread is making, the innermost last.
    static CARGO: RefCell<Vec<Cargo>> = const { RefCell::new(Vec::new()) };
}

/// Called while a family object is pickled: the message that is being made, if one is, holds the block until it has been
/// read, so that the object may be dropped meanwhile. Whether there is such a message; none can hold a block of another
/// family.
pub(crate) fn carry(block: &Block) -> bool {
    CARGO.with_borrow_mut(|cargo| {
        let cargo = cargo.last_mut().filter(|cargo| cargo.memory.owns(block));
        cargo.map(|cargo| cargo.blocks.push(block.clone())).is_some()
    })
}

/// As [`carry`], for a Python object that must outlive the message.
pub(crate) fn keep(object: &Bound<'_, PyAny>) -> bool {
    let kept = object.clone().unbind();
    CARGO.with_borrow_mut(|cargo| cargo.last_mut().map(|cargo| cargo.keep.push(kept))).is_some()
}

/// Runs `pickle`, and returns with its result what [`carry`] and [`keep`] left.
fn with_cargo<T>(memory: Memory, pickle: impl FnOnce() -> PyResult<T>) -> PyResult<(T, Cargo)> {
    let empty = || Cargo { memory, blocks: Vec::new(), keep: Vec::new() };
    CARGO.with_borrow_mut(|cargo| cargo.push(empty()));
    let result = pickle();
    let cargo = CARGO.with_borrow_mut(Vec::pop).unwrap_or_else(empty);
    Ok((result?, cargo))
}

/// Makes a message of an object. May run Python code and switch threads.
///
/// # Errors
/// What pickle raises, when cloudpickle cannot help either; `MemoryError` when the shared memory is full.
pub(crate) fn encode(py: Python<'_>, object: &Bound<'_, PyAny>, by: By) -> PyResult<Encoded> {
    encode_in(py, object, by, Memory::Family)
}

/// [`encode`], with blocks in a given memory.
///
/// # Errors
/// As [`encode`].
pub(crate) fn encode_in(py: Python<'_>, object: &Bound<'_, PyAny>, by: By, memory: Memory) -> PyResult<Encoded> {
    let mut encoded = Encoded::default();
    let mut small = [0; SMALL];
    if let Some(length) = encode_small(object, &mut small) {
        encoded.wire.extend_from_slice(&small[..length]);
        return Ok(encoded);
    }
    if let Some((kind, bytes)) = long_bytes(object, LONG) {
        arena::write_bytes(py, memory, kind, bytes, &mut encoded)?;
        return Ok(encoded);
    }
    let (written, cargo) = with_cargo(memory, || by_value::dump(object, by))?;
    encoded.keep = cargo.keep;
    if written.length <= arena::INLINE && written.buffers.is_empty() && cargo.blocks.is_empty() {
        for piece in &written.stream {
            encoded.wire.extend_from_slice(piece.as_bytes(py));
        }
    } else {
        arena::write(py, memory, written, cargo.blocks, &mut encoded)?;
    }
    Ok(encoded)
}

/// The object of a message. May run Python code and switch threads.
///
/// # Errors
/// What unpickling raises; `ValueError` for a damaged message.
#[inline]
pub(crate) fn decode<'py>(py: Python<'py>, wire: &[u8], source: Source) -> PyResult<Bound<'py, PyAny>> {
    decode_in(py, wire, source, Memory::Family)
}

/// [`decode`], with blocks in a given memory.
///
/// # Errors
/// As [`decode`].
#[inline]
pub(crate) fn decode_in<'py>(
    py: Python<'py>,
    wire: &[u8],
    source: Source,
    memory: Memory,
) -> PyResult<Bound<'py, PyAny>> {
    match wire.first() {
        Some(&tag::PROTO) => loads(PyBytes::new(py, wire).as_any()),
        Some(&tag::PICKLE) => arena::read(py, memory, wire, source),
        Some(&(tag::BLOCK_STR | tag::BLOCK_BYTES)) => arena::read_bytes(py, memory, wire, source),
        Some(&tag::LONG) => arena::read_long(py, memory, wire, source),
        _ => decode_small(py, wire),
    }
}

/// Gives back what a message in [`Source::Transit`] holds, unread. Needs no interpreter lock.
pub(crate) fn discard(arena: Arena, wire: &[u8]) {
    each_handle(arena, wire, &mut |handle| arena.discard(handle));
}

/// Takes over what a message in [`Source::Transit`] holds: from then on it is one in [`Source::Borrowed`], as long as
/// the blocks live. Needs no interpreter lock.
pub(crate) fn hold(arena: Arena, wire: &[u8]) -> Vec<Block> {
    let mut blocks = Vec::new();
    // One that is gone is missed by who reads the message.
    each_handle(arena, wire, &mut |handle| blocks.extend(arena.adopt(handle)));
    blocks
}

/// Calls `take` with every handle of a message in [`Source::Transit`], which is to take the hold over.
fn each_handle(arena: Arena, wire: &[u8], take: &mut dyn FnMut(Handle)) {
    let handles = match wire {
        // See `arena.rs`.
        [tag::PICKLE, _, _, _, rest @ ..] => rest
            .split_first_chunk()
            .and_then(|(count, rest)| rest.get(8..)?.get(..(u32::from_le_bytes(*count) as usize).checked_mul(8)?)),
        [tag::BLOCK_STR | tag::BLOCK_BYTES, rest @ ..] => rest.get(..8),
        [tag::LONG, ..] => {
            let Some((handle, length)) = arena::long(wire) else { return };
            // Opened beside the hold that the message has, which `take` is given in the end.
            if let Ok(block) = arena.open(handle)
                && let Some(inner @ [tag::PICKLE, ..]) = arena::message(&block, length)
            {
                each_handle(arena, inner, take);
            }
            return take(handle);
        }
        _ => None,
    };
    let mut rest = handles.unwrap_or(&[]);
    while let Some((handle, after)) = rest.split_first_chunk() {
        take(Handle::from_u64(u64::from_le_bytes(*handle)));
        rest = after;
    }
}

/// `pickle.loads` of a stream without buffers.
fn loads<'py>(stream: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
    let py = stream.py();
    let loads = pickle_loads(py)?;
    let end = ptr::null_mut::<ffi::PyObject>();
    // SAFETY: calls a callable with one argument and the null that ends the list; the result is a new reference.
    unsafe { Bound::from_owned_ptr_or_err(py, ffi::PyObject_CallFunctionObjArgs(loads.as_ptr(), stream.as_ptr(), end)) }
}

/// `pickle.loads`.
pub(crate) fn pickle_loads(py: Python<'_>) -> PyResult<&Bound<'_, PyAny>> {
    static LOADS: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    LOADS.get_or_try_init(py, || Ok(py.import("pickle")?.getattr("loads")?.unbind())).map(|loads| loads.bind(py))
}

/// For tests and measurements: the message of an object.
#[pyfunction]
fn _encode<'py>(object: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyBytes>> {
    let py = object.py();
    Ok(PyBytes::new(py, &encode(py, object, By::Reference)?.into_transit()))
}

/// For tests and measurements: the object of a message.
#[pyfunction]
fn _decode<'py>(py: Python<'py>, wire: &[u8]) -> PyResult<Bound<'py, PyAny>> {
    decode(py, wire, Source::Transit)
}

/// Adds what this folder has to the module.
pub(crate) fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    array::functions(m)?;
    m.add_function(wrap_pyfunction!(_encode, m)?)?;
    m.add_function(wrap_pyfunction!(_decode, m)?)
}
