//! A pickle stream and the blocks that belong to it, as one message.
//!
//! ```text
//! wire    PICKLE, u8 where (0: the frame follows, 1: it lies in the first block)
//!         u8 private (1: other messages name the same blocks, see `sharing.rs`), u8 0, u32 n blocks, u64 length of the frame
//!         n times u64 handle
//!         the frame
//! frame   u64 m buffers
//!         m times: u64 block, u64 offset, u64 length
//!         the stream
//! ```
//!
//! Large buffers have a block each, which lives as long as the arrays that view it. Smaller ones, and a frame that is too
//! long for the wire, share the first block. Blocks that nothing in the frame names came with family objects (locks,
//! shared arrays): the message only keeps them alive until those are unpickled.
//!
//! With many blocks the handles would make the wire long, which has to fit into a record of a worker: the whole message
//! then lies in a block of its own.
//!
//! ```text
//! wire    LONG, 7 times u8 0, u64 handle, u64 length of the message in that block
//! ```

use std::ffi::c_int;
use std::sync::Arc;

use phalanx_gil::detached;
use phalanx_shm::{Block, BlockKind, Handle, PrivateView};
use pyo3::exceptions::{PyBufferError, PyValueError};
use pyo3::ffi;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyByteArray, PyBytes, PyDict, PyList, PyMemoryView};

use super::pickler::Written;
use super::small::{damaged, tag};
use super::view::View;
use super::{Encoded, Source, Wire, sharing};
use crate::family;
use crate::shared::{DETACHED, SharedBuffer, copy_in};

/// Frames up to this size travel in the wire.
pub(super) const INLINE: usize = 4 << 10;

/// Buffers from this size on have a block of their own...
const OWN_BLOCK: usize = 256 << 10;

/// ... as long as there are no more of them in one message.
const MOST_BLOCKS: usize = 64;

/// A wire with more handles than this moves into a block.
const WIRE_HANDLES: usize = 256;

/// Most blocks of a message, with that one: a record of a queue counts them in 16 bits.
const MOST_HANDLES: usize = 65_535;

/// Where buffers begin in a block.
const ALIGNMENT: usize = 64;

const FRAME_HEAD: usize = 8;
const ENTRY: usize = 24;

/// Where a buffer goes: the number of its block, offset, length.
struct Place {
    block: usize,
    offset: usize,
    length: usize,
}

/// Makes a message of what a pickler wrote.
///
/// # Errors
/// `MemoryError` when the shared memory is full; `ValueError` for too many shared objects.
pub(super) fn write(py: Python<'_>, written: Written, carried: Vec<Block>, encoded: &mut Encoded) -> PyResult<()> {
    let buffers = &written.buffers;
    let frame = FRAME_HEAD + ENTRY * buffers.len() + written.length;
    let inline = frame <= INLINE;
    let mut packed = if inline { 0 } else { frame };
    let few = buffers.len() <= MOST_BLOCKS;
    let own = |view: &View| few && view.length() >= OWN_BLOCK;
    let shares = !inline || buffers.iter().any(|view| !own(view));
    let mut places = Vec::with_capacity(buffers.len());
    let mut blocks = usize::from(shares);
    let sharing = sharing::is_on();
    let mut private = false;
    for view in buffers {
        let length = view.length();
        if own(view) {
            places.push(Place { block: blocks, offset: 0, length });
            blocks += 1;
        } else {
            let offset = packed.next_multiple_of(ALIGNMENT);
            places.push(Place { block: 0, offset, length });
            packed = offset + length;
        }
    }
    if shares {
        encoded.blocks.push(allocate(py, packed)?);
    }
    for (view, place) in written.buffers.into_iter().zip(&places) {
        if let Some(block) = encoded.blocks.first().filter(|_| shares && place.block == 0) {
            copy_in(py, block, place.offset, view.address(), place.length)?;
            continue;
        }
        private |= sharing;
        let block = match sharing.then(|| sharing::find(&view)).flatten() {
            Some(block) => block,
            None => {
                let block = allocate(py, place.length)?;
                copy_in(py, &block, 0, view.address(), place.length)?;
                if sharing {
                    sharing::remember(view, &block);
                }
                block
            }
        };
        encoded.blocks.push(block);
    }
    encoded.copied = !encoded.blocks.is_empty();
    // Beside those of the buffers, and one for the wire.
    let most = MOST_HANDLES - 1 - encoded.blocks.len();
    if carried.len() > most {
        return Err(PyValueError::new_err(format!(
            "an object that contains {} locks, queues, shared arrays and the like cannot be sent: at most {most} can be \
             sent at once",
            carried.len()
        )));
    }
    encoded.blocks.extend(carried);
    let wire = &mut encoded.wire;
    wire.extend_from_slice(&[tag::PICKLE, u8::from(!inline), u8::from(private), 0]);
    wire.extend_from_slice(&(encoded.blocks.len() as u32).to_le_bytes());
    wire.extend_from_slice(&(frame as u64).to_le_bytes());
    for block in &encoded.blocks {
        wire.extend_from_slice(&block.handle().to_u64().to_le_bytes());
    }
    let mut table = Wire::with_capacity(FRAME_HEAD + ENTRY * places.len());
    table.extend_from_slice(&(places.len() as u64).to_le_bytes());
    for place in &places {
        for number in [place.block as u64, place.offset as u64, place.length as u64] {
            table.extend_from_slice(&number.to_le_bytes());
        }
    }
    if inline {
        wire.extend_from_slice(&table);
        for piece in &written.stream {
            wire.extend_from_slice(piece.as_bytes(py));
        }
        return shorten(py, encoded);
    }
    let Some(block) = encoded.blocks.first() else { return Err(damaged()) };
    copy_in(py, block, 0, table.as_ptr(), table.len())?;
    let mut at = table.len();
    for piece in &written.stream {
        let bytes = piece.as_bytes(py);
        copy_in(py, block, at, bytes.as_ptr(), bytes.len())?;
        at += bytes.len();
    }
    shorten(py, encoded)
}

/// Moves the wire into a block when it is long with handles.
fn shorten(py: Python<'_>, encoded: &mut Encoded) -> PyResult<()> {
    if encoded.blocks.len() <= WIRE_HANDLES {
        return Ok(());
    }
    let length = encoded.wire.len();
    let block = allocate(py, length)?;
    copy_in(py, &block, 0, encoded.wire.as_ptr(), length)?;
    encoded.wire.clear();
    encoded.wire.extend_from_slice(&[tag::LONG, 0, 0, 0, 0, 0, 0, 0]);
    encoded.wire.extend_from_slice(&block.handle().to_u64().to_le_bytes());
    encoded.wire.extend_from_slice(&(length as u64).to_le_bytes());
    encoded.blocks.push(block);
    encoded.copied = true;
    Ok(())
}

/// The handle and the length in a wire that [`shorten`] made.
pub(super) fn long(wire: &[u8]) -> Option<(Handle, usize)> {
    let (handle, rest) = wire.get(8..)?.split_first_chunk()?;
    let (length, _) = rest.split_first_chunk()?;
    Some((Handle::from_u64(u64::from_le_bytes(*handle)), usize::try_from(u64::from_le_bytes(*length)).ok()?))
}

/// The message in a block that [`shorten`] filled.
pub(super) fn message(block: &Block, length: usize) -> Option<&[u8]> {
    if length > block.len() {
        return None;
    }
    // SAFETY: the block has so many bytes; the sender wrote them before it sent the message, and nobody writes them
    // any more.
    Some(unsafe { std::slice::from_raw_parts(block.as_ptr().cast_const(), length) })
}

/// The object of a message that [`shorten`] moved into a block.
///
/// # Errors
/// As [`read`].
#[cold]
pub(super) fn read_long<'py>(py: Python<'py>, wire: &[u8], source: Source) -> PyResult<Bound<'py, PyAny>> {
    let (handle, length) = long(wire).ok_or_else(damaged)?;
    let block = block_of(py, handle.to_u64(), source)?;
    match message(&block, length) {
        Some(wire) if wire.first() == Some(&tag::PICKLE) => read(py, wire, source),
        _ => Err(damaged()),
    }
}

/// A block of this size. A large one takes the kernel some time, in which other threads run.
fn allocate(py: Python<'_>, bytes: usize) -> PyResult<Block> {
    let arena = family::arena(py)?;
    let block = if bytes < DETACHED {
        arena.alloc(bytes, BlockKind::Plain)
    } else {
        detached(py, || arena.alloc(bytes, BlockKind::Plain))
    };
    block.map_err(|error| family::refused(&error))
}

/// Makes a message of one `str` or `bytes`, whose bytes are these.
///
/// # Errors
/// As [`write`].
pub(super) fn write_bytes(py: Python<'_>, kind: u8, bytes: &[u8], encoded: &mut Encoded) -> PyResult<()> {
    let block = allocate(py, bytes.len())?;
    copy_in(py, &block, 0, bytes.as_ptr(), bytes.len())?;
    encoded.wire.push(kind);
    encoded.wire.extend_from_slice(&block.handle().to_u64().to_le_bytes());
    encoded.wire.extend_from_slice(&(bytes.len() as u64).to_le_bytes());
    encoded.blocks.push(block);
    encoded.copied = true;
    Ok(())
}

/// The number at the beginning of some bytes, and the rest.
fn number(bytes: &[u8]) -> PyResult<(u64, &[u8])> {
    let (head, rest) = bytes.split_first_chunk().ok_or_else(damaged)?;
    Ok((u64::from_le_bytes(*head), rest))
}

fn size(bytes: &[u8]) -> PyResult<(usize, &[u8])> {
    let (number, rest) = number(bytes)?;
    Ok((usize::try_from(number).map_err(|_| damaged())?, rest))
}

/// The block of a handle in a message.
fn block_of(py: Python<'_>, handle: u64, source: Source) -> PyResult<Block> {
    let arena = family::arena(py)?;
    let handle = Handle::from_u64(handle);
    match source {
        Source::Transit => arena.adopt(handle),
        Source::Borrowed | Source::Private => arena.open(handle),
    }
    .map_err(|error| family::gone(&error))
}

/// The `str` or `bytes` of a message that [`write_bytes`] made.
///
/// # Errors
/// `ValueError` for a damaged message; `MemoryError`.
pub(super) fn read_bytes<'py>(py: Python<'py>, wire: &[u8], source: Source) -> PyResult<Bound<'py, PyAny>> {
    let (kind, rest) = wire.split_first().ok_or_else(damaged)?;
    let (handle, rest) = number(rest)?;
    let (length, _) = size(rest)?;
    let block = block_of(py, handle, source)?;
    if length > block.len() {
        return Err(damaged());
    }
    // SAFETY: the block has so many bytes; the sender wrote them before it sent the message, and nobody writes them
    // any more.
    let bytes = unsafe { std::slice::from_raw_parts(block.as_ptr().cast_const(), length) };
    match *kind {
        tag::BLOCK_STR => super::small::text(py, bytes),
        _ => Ok(PyBytes::new(py, bytes).into_any()),
    }
}

/// The object of a message that [`write`] made.
///
/// # Errors
/// `ValueError` for a damaged message; what unpickling raises.
pub(super) fn read<'py>(py: Python<'py>, wire: &[u8], source: Source) -> PyResult<Bound<'py, PyAny>> {
    let [_, place, private, _, rest @ ..] = wire else { return Err(damaged()) };
    let (count, rest) = rest.split_first_chunk().ok_or_else(damaged)?;
    let count = u32::from_le_bytes(*count) as usize;
    let (length, mut rest) = size(rest)?;
    if count > rest.len() / 8 {
        return Err(damaged());
    }
    // Of blocks that other messages name too, a reader gets copies on write.
    let views = if *private == 1 && source == Source::Borrowed { Source::Private } else { source };
    // All blocks first: whatever happens then, dropping them gives them back.
    let mut blocks = Vec::with_capacity(count);
    for _ in 0..count {
        let (handle, after) = number(rest)?;
        blocks.push(block_of(py, handle, source)?);
        rest = after;
    }
    if *place == 0 {
        let (frame, _) = rest.split_at_checked(length).ok_or_else(damaged)?;
        let (buffers, stream) = table(py, frame, &blocks, views)?;
        return loads(py, PyBytes::new(py, stream).as_any(), buffers);
    }
    let block = blocks.first().filter(|block| length <= block.len()).ok_or_else(damaged)?;
    // SAFETY: as in `read_bytes`.
    let frame = unsafe { std::slice::from_raw_parts(block.as_ptr().cast_const(), length) };
    let (buffers, stream) = table(py, frame, &blocks, views)?;
    let view = memory(py, block, length - stream.len(), stream.len())?;
    loads(py, &view, buffers)
}

/// The buffers of a frame, as views, and its stream.
fn table<'py, 'a>(
    py: Python<'py>,
    frame: &'a [u8],
    blocks: &[Block],
    source: Source,
) -> PyResult<(Bound<'py, PyList>, &'a [u8])> {
    let (count, mut rest) = size(frame)?;
    if count > rest.len() / ENTRY {
        return Err(damaged());
    }
    let buffers = PyList::empty(py);
    let mut views: Vec<Option<Option<Arc<PrivateView>>>> = vec![None; blocks.len()];
    for _ in 0..count {
        let (place, offset, length);
        (place, rest) = size(rest)?;
        (offset, rest) = size(rest)?;
        (length, rest) = size(rest)?;
        let block = blocks.get(place).ok_or_else(damaged)?;
        if offset.checked_add(length).is_none_or(|end| end > block.len()) {
            return Err(damaged());
        }
        if source != Source::Private {
            buffers.append(memory(py, block, offset, length)?)?;
            continue;
        }
        let view = views.get_mut(place).ok_or_else(damaged)?;
        if view.is_none() {
            *view = Some(block.private_view().map_err(|error| family::refused(&error))?.map(Arc::new));
        }
        match view {
            Some(Some(view)) => {
                let buffer = PrivateBuffer { view: view.clone(), offset, length };
                buffers.append(PyMemoryView::from(Bound::new(py, buffer)?.as_any())?)?;
            }
            _ => {
                // SAFETY: inside the block, as checked; nobody writes to a block of a message.
                let bytes = unsafe { std::slice::from_raw_parts(block.as_ptr().wrapping_add(offset), length) };
                buffers.append(PyMemoryView::from(PyByteArray::new(py, bytes).as_any())?)?;
            }
        }
    }
    Ok((buffers, rest))
}

/// A part of a private view of a block, with the buffer protocol.
#[pyclass(module = "phalanx._workers", name = "_PrivateBuffer", frozen)]
struct PrivateBuffer {
    view: Arc<PrivateView>,
    offset: usize,
    length: usize,
}

#[pymethods]
impl PrivateBuffer {
    unsafe fn __getbuffer__(slf: Bound<'_, Self>, view: *mut ffi::Py_buffer, flags: c_int) -> PyResult<()> {
        let this = slf.get();
        let length = isize::try_from(this.length).map_err(|_| PyBufferError::new_err("buffer too large"))?;
        let start = this.view.as_ptr().wrapping_add(this.offset);
        // SAFETY: Python gives a `view` to fill; the mapping stays as long as the object, of which the view keeps a
        // reference; the part lies inside, as `table` has checked.
        let code = unsafe { ffi::PyBuffer_FillInfo(view, slf.as_ptr(), start.cast(), length, 0, flags) };
        if code == 0 { Ok(()) } else { Err(PyErr::fetch(slf.py())) }
    }
}

/// A writable `memoryview` of a part of a block, which keeps the block.
fn memory<'py>(py: Python<'py>, block: &Block, offset: usize, length: usize) -> PyResult<Bound<'py, PyAny>> {
    let buffer = Bound::new(py, SharedBuffer::part(block.clone(), offset, length))?;
    Ok(PyMemoryView::from(buffer.as_any())?.into_any())
}

/// `pickle.loads` with buffers.
fn loads<'py>(py: Python<'py>, stream: &Bound<'py, PyAny>, buffers: Bound<'py, PyList>) -> PyResult<Bound<'py, PyAny>> {
    if buffers.is_empty() {
        return super::loads(stream);
    }
    let options = PyDict::new(py);
    options.set_item(intern!(py, "buffers"), buffers)?;
    super::pickle_loads(py)?.call((stream,), Some(&options))
}
