//! The placement in blocks of the arena: a pickle stream and the blocks that belong to it, as one message.
//!
//! ```text
//! wire    PICKLE, u8 where (0: the frame follows, 1: it lies in the first block)
//!         u8 private (1: other messages name the same blocks, see `sharing.rs`), u8 0, u32 n blocks, u64 length of the frame
//!         n times u64 handle
//!         the frame, see `phalanx_object::frame`
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

use std::sync::Arc;

use phalanx_object::frame::{self, Place, Plan, Rule};
use phalanx_object::place::{self, Arrived, FramePart, Outgoing};
use phalanx_object::{Keeper, Part, View, Written, damaged, detached, tag};
use phalanx_shm::{Arena, Block, BlockKind, Handle, PrivateView};
use pyo3::exceptions::PyValueError;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyByteArray, PyBytes, PyDict, PyList, PyMemoryView};

use super::{Encoded, Memory, Source, Wire, sharing, taking};
use crate::family;
use crate::shared::{DETACHED, copy_in};

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

/// How buffers are spread: see `phalanx_object::frame`.
const RULE: Rule = Rule { inline: INLINE, head: 0, own: OWN_BLOCK, most: MOST_BLOCKS };

/// The blocks of a message that is being made.
struct Blocks<'a> {
    encoded: &'a mut Encoded,
    memory: Memory,
    /// The part of a frame that travels in the wire.
    beside: Option<Wire>,
    /// Bytes of the frame.
    frame: usize,
    sharing: bool,
    /// Whether other messages name the same blocks.
    private: bool,
}

impl Outgoing for Blocks<'_> {
    const RULE: Rule = RULE;

    fn share(&mut self, py: Python<'_>, bytes: usize) -> PyResult<()> {
        self.encoded.blocks.push(allocate(py, self.memory, bytes)?);
        Ok(())
    }

    fn begin(&mut self, _py: Python<'_>, plan: &Plan) -> PyResult<()> {
        self.frame = plan.frame;
        self.beside = plan.inline.then(Wire::new);
        Ok(())
    }

    fn put(&mut self, py: Python<'_>, offset: usize, part: FramePart) -> PyResult<()> {
        let bytes = match &part {
            FramePart::Table(table) => &**table,
            FramePart::Stream(piece) => piece.as_bytes(py),
        };
        if let Some(beside) = &mut self.beside {
            beside.extend_from_slice(bytes);
            return Ok(());
        }
        let block = self.encoded.blocks.first().ok_or_else(damaged)?;
        copy_in(py, block, offset, bytes.as_ptr(), bytes.len())
    }

    fn put_buffer(&mut self, py: Python<'_>, offset: usize, buffer: View) -> PyResult<()> {
        let block = self.encoded.blocks.first().ok_or_else(damaged)?;
        copy_in(py, block, offset, buffer.address(), buffer.length())
    }

    fn own(&mut self, py: Python<'_>, buffer: View) -> PyResult<()> {
        self.private |= self.sharing;
        let known = if self.sharing { sharing::find(&buffer) } else { None };
        let block = match known {
            Some(block) => block,
            None => {
                let block = allocate(py, self.memory, buffer.length())?;
                copy_in(py, &block, 0, buffer.address(), buffer.length())?;
                if self.sharing {
                    sharing::remember(buffer, &block);
                }
                block
            }
        };
        self.encoded.blocks.push(block);
        Ok(())
    }
}

/// Makes a message of what a pickler wrote.
///
/// # Errors
/// `MemoryError` when the shared memory is full; `ValueError` for too many shared objects.
pub(super) fn write(
    py: Python<'_>,
    memory: Memory,
    written: Written,
    carried: Vec<Block>,
    encoded: &mut Encoded,
) -> PyResult<()> {
    // What the messages of a call share lies in the family's memory.
    let sharing = memory == Memory::Family && sharing::is_on();
    let mut to = Blocks { encoded, memory, beside: None, frame: 0, sharing, private: false };
    place::write(py, written, &mut to)?;
    let Blocks { encoded, beside, frame, private, .. } = to;
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
    wire.extend_from_slice(&[tag::PICKLE, u8::from(beside.is_none()), u8::from(private), 0]);
    wire.extend_from_slice(&(encoded.blocks.len() as u32).to_le_bytes());
    wire.extend_from_slice(&(frame as u64).to_le_bytes());
    for block in &encoded.blocks {
        wire.extend_from_slice(&block.handle().to_u64().to_le_bytes());
    }
    if let Some(beside) = beside {
        wire.extend_from_slice(&beside);
    }
    shorten(py, memory, encoded)
}

/// Moves the wire into a block when it is long with handles.
fn shorten(py: Python<'_>, memory: Memory, encoded: &mut Encoded) -> PyResult<()> {
    if encoded.blocks.len() <= WIRE_HANDLES {
        return Ok(());
    }
    let length = encoded.wire.len();
    let block = allocate(py, memory, length)?;
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
pub(super) fn read_long<'py>(
    py: Python<'py>,
    memory: Memory,
    wire: &[u8],
    source: Source,
) -> PyResult<Bound<'py, PyAny>> {
    let (handle, length) = long(wire).ok_or_else(damaged)?;
    let block = block_of(py, memory, handle.to_u64(), source)?;
    match message(&block, length) {
        Some(wire) if wire.first() == Some(&tag::PICKLE) => read(py, memory, wire, source),
        _ => Err(damaged()),
    }
}

/// A block of this size. A large one takes the kernel some time, in which other threads run.
fn allocate(py: Python<'_>, memory: Memory, bytes: usize) -> PyResult<Block> {
    let arena = memory.arena(py)?;
    let block = if bytes < DETACHED {
        arena.alloc(bytes, BlockKind::Plain)
    } else {
        detached(py, || arena.alloc(bytes, BlockKind::Plain))
    };
    block.map_err(|error| family::refused(&error))
}

/// A block of this size in some arena.
///
/// # Errors
/// `MemoryError` when that is full.
pub(crate) fn new_block(py: Python<'_>, arena: Arena, bytes: usize) -> PyResult<Block> {
    allocate(py, Memory::Other(arena), bytes)
}

/// So many bytes of a block as a buffer, which holds it.
///
/// # Errors
/// What Python raises; `ValueError` when it is not so long.
pub(crate) fn view_of(py: Python<'_>, block: Block, bytes: usize) -> PyResult<Bound<'_, PyAny>> {
    if bytes > block.len() {
        return Err(damaged());
    }
    Part::view(py, Arc::new(Shared(block)), 0, bytes)
}

/// Makes a message of one `str` or `bytes`, whose bytes are these.
///
/// # Errors
/// As [`write`].
pub(super) fn write_bytes(
    py: Python<'_>,
    memory: Memory,
    kind: u8,
    bytes: &[u8],
    encoded: &mut Encoded,
) -> PyResult<()> {
    let block = allocate(py, memory, bytes.len())?;
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
    frame::number(bytes).ok_or_else(damaged)
}

/// The block of a handle in a message.
fn block_of(py: Python<'_>, memory: Memory, handle: u64, source: Source) -> PyResult<Block> {
    let arena = memory.arena(py)?;
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
pub(super) fn read_bytes<'py>(
    py: Python<'py>,
    memory: Memory,
    wire: &[u8],
    source: Source,
) -> PyResult<Bound<'py, PyAny>> {
    let (kind, rest) = wire.split_first().ok_or_else(damaged)?;
    let (handle, rest) = number(rest)?;
    let (length, _) = size(rest)?;
    let block = block_of(py, memory, handle, source)?;
    if length > block.len() {
        return Err(damaged());
    }
    // What several may read at a time, each would take from the others.
    let alone = source != Source::Private;
    if *kind == tag::BLOCK_BYTES && alone {
        return taking::bytes(py, &block, length);
    }
    if alone {
        taking::ahead(&block, 0, length);
    }
    // SAFETY: the block has so many bytes; the sender wrote them before it sent the message, and nobody writes them
    // any more.
    let bytes = unsafe { std::slice::from_raw_parts(block.as_ptr().cast_const(), length) };
    match *kind {
        tag::BLOCK_STR => phalanx_object::text(py, bytes),
        _ => Ok(PyBytes::new(py, bytes).into_any()),
    }
}

/// The object of a message that [`write`] made.
///
/// # Errors
/// `ValueError` for a damaged message; what unpickling raises.
pub(super) fn read<'py>(py: Python<'py>, memory: Memory, wire: &[u8], source: Source) -> PyResult<Bound<'py, PyAny>> {
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
        blocks.push(block_of(py, memory, handle, source)?);
        rest = after;
    }
    // Its buffers lie where nobody else looks or writes, until the object is made.
    let alone = source == Source::Transit && *private == 0;
    let mut landed = Landed { blocks: &blocks, source: views, alone, views: vec![None; blocks.len()] };
    if *place == 0 {
        let (frame, _) = rest.split_at_checked(length).ok_or_else(damaged)?;
        let (buffers, stream) = place::read(py, frame, &mut landed)?;
        return loads(py, PyBytes::new(py, stream).as_any(), buffers);
    }
    let block = blocks.first().filter(|block| length <= block.len()).ok_or_else(damaged)?;
    // SAFETY: as in `read_bytes`.
    let frame = unsafe { std::slice::from_raw_parts(block.as_ptr().cast_const(), length) };
    let (buffers, stream) = place::read(py, frame, &mut landed)?;
    let view = Part::view(py, Arc::new(Shared(block.clone())), length - stream.len(), stream.len())?;
    loads(py, &view, buffers)
}

/// The blocks of a message that has arrived.
struct Landed<'a> {
    blocks: &'a [Block],
    source: Source,
    /// Whether no other process reads or writes their buffers at this time.
    alone: bool,
    /// The private views made so far, by block; the inner nothing is a block that cannot have one.
    views: Vec<Option<Option<Arc<Private>>>>,
}

impl Arrived for Landed<'_> {
    fn length(&self, block: usize) -> Option<usize> {
        self.blocks.get(block).map(Block::len)
    }

    fn buffer<'py>(&mut self, py: Python<'py>, place: Place) -> PyResult<Bound<'py, PyAny>> {
        let block = self.blocks.get(place.block).ok_or_else(damaged)?;
        if self.alone {
            taking::ahead(block, place.offset, place.length);
        }
        if self.source != Source::Private {
            return Part::view(py, Arc::new(Shared(block.clone())), place.offset, place.length);
        }
        let view = self.views.get_mut(place.block).ok_or_else(damaged)?;
        if view.is_none() {
            let made = block.private_view().map_err(|error| family::refused(&error))?;
            *view = Some(made.map(|view| Arc::new(Private { view, length: block.len() })));
        }
        if let Some(Some(view)) = view {
            return Part::view(py, view.clone(), place.offset, place.length);
        }
        // SAFETY: inside the block, as `place::read` has checked; nobody writes to a block of a message.
        let bytes = unsafe { std::slice::from_raw_parts(block.as_ptr().wrapping_add(place.offset), place.length) };
        Ok(PyMemoryView::from(PyByteArray::new(py, bytes).as_any())?.into_any())
    }
}

/// A block as the owner of its memory.
struct Shared(Block);

// SAFETY: the block's memory stays mapped, at one place, as long as this process holds the block.
unsafe impl Keeper for Shared {
    fn start(&self) -> *mut u8 {
        self.0.as_ptr()
    }

    fn length(&self) -> usize {
        self.0.len()
    }
}

/// A private view of a block as the owner of its memory.
struct Private {
    view: PrivateView,
    length: usize,
}

// SAFETY: the mapping stays as long as the view, and is as long as the block.
unsafe impl Keeper for Private {
    fn start(&self) -> *mut u8 {
        self.view.as_ptr()
    }

    fn length(&self) -> usize {
        self.length
    }
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
