//! Messages of MPI: one piece of memory where it arrives, gathered from where its parts lie when it is sent.
//!
//! ```text
//! small value    0xC1 0xC1, value                              see `small.rs`
//! array          0xC1 0xC1, ARRAY, elements                     see `array.rs`
//! frame          0xC1 0xC1, PICKLE, 5 times 0, u64 length of the frame, frame, buffers      see `frame.rs`
//! notice         0xC1 0xC1, NOTICE, UTF-8                      the error of a rank that has no object to give
//! anything else  a pickle stream, or what the user's own function made
//! ```
//!
//! No pickle stream begins with 0xC1, and neither does any text in UTF-8.

use std::sync::Arc;

use pyo3::exceptions::PyValueError;
use pyo3::ffi;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict};
use smallvec::SmallVec;

use crate::array;
use crate::frame::{self, Place, Plan, Rule};
use crate::gil::GilCell;
use crate::memory::Memory;
use crate::pickler::Written;
use crate::place::{self, Arrived, FramePart, Outgoing};
use crate::small::{self, tag};
use crate::view::{Keeper, Part, View};

const MAGIC: [u8; 2] = [0xC1, 0xC1];

/// Bytes in front of a frame.
const HEAD: usize = 16;

/// Messages up to this size are received into room that is there already, on the stack or in a request.
pub const SHORT: usize = 512;

/// Messages of plain values are written directly, without pickle, up to this size: `str` and `bytes` of 32 KiB.
const LONGEST: usize = (32 << 10) + 5;

/// Where messages are written; one is kept.
static ROOM: GilCell<Option<Box<[u8]>>> = GilCell::new(None);

/// From this size on, a piece of a stream is worth an entry of its own in a list of pieces.
const WORTHY: usize = 256 << 10;

/// Fills the gaps between the parts of a message.
static ZEROS: [u8; frame::ALIGNMENT] = [0; frame::ALIGNMENT];

/// Who has the memory of a piece.
#[expect(dead_code, reason = "held for as long as the message may be read")]
enum Held {
    Nobody,
    Bytes(Py<PyBytes>),
    Own(Vec<u8>),
    Lent(View),
}

/// A part of a message, in memory that the message holds.
pub struct Piece {
    start: *const u8,
    length: usize,
    _held: Held,
}

// SAFETY: immutable bytes, which `_held` keeps where they are; Python objects in it are only dropped, which PyO3 puts off
// until some thread has the interpreter lock.
unsafe impl Send for Piece {}
// SAFETY: as above: shared access only reads.
unsafe impl Sync for Piece {}

impl Piece {
    fn of_bytes(py: Python<'_>, bytes: Py<PyBytes>) -> Piece {
        let slice = bytes.as_bytes(py);
        Piece { start: slice.as_ptr(), length: slice.len(), _held: Held::Bytes(bytes) }
    }

    fn of_own(bytes: Vec<u8>) -> Piece {
        Piece { start: bytes.as_ptr(), length: bytes.len(), _held: Held::Own(bytes) }
    }

    fn of_view(view: View) -> Piece {
        Piece { start: view.address(), length: view.length(), _held: Held::Lent(view) }
    }

    fn zeros(length: usize) -> Piece {
        Piece { start: ZEROS.as_ptr(), length: length.min(ZEROS.len()), _held: Held::Nobody }
    }

    /// The bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        if self.length == 0 {
            return &[];
        }
        // SAFETY: `_held` keeps that many readable bytes. Python code that changes the memory of a lent buffer meanwhile
        // would break any reader of it.
        unsafe { std::slice::from_raw_parts(self.start, self.length) }
    }
}

/// An object on its way out: pieces of memory that are one message.
pub struct Parcel(Parts);

enum Parts {
    Short(SmallVec<[u8; 128]>),
    Pieces { pieces: Vec<Piece>, length: usize },
}

impl Parcel {
    /// A message of no bytes.
    #[must_use]
    pub fn empty() -> Parcel {
        Parcel(Parts::Short(SmallVec::new()))
    }

    /// The message of a plain value; `None` for any other object, or where it is too long.
    #[must_use]
    pub fn plain(object: &Bound<'_, PyAny>) -> Option<Parcel> {
        with_plain(object, Parcel::of_slice)
    }

    /// A copy of a message.
    #[must_use]
    pub fn of_slice(message: &[u8]) -> Parcel {
        Parcel(Parts::Short(SmallVec::from_slice(message)))
    }

    /// The message of a rank that has no object to give, because of an error.
    #[must_use]
    pub fn notice(text: &str) -> Parcel {
        let mut message = SmallVec::from_slice(&[MAGIC[0], MAGIC[1], tag::NOTICE]);
        message.extend_from_slice(text.as_bytes());
        Parcel(Parts::Short(message))
    }

    /// The message of what a pickler wrote.
    ///
    /// # Errors
    /// `OverflowError` when it is larger than memory can be.
    pub fn pickled(py: Python<'_>, written: Written) -> PyResult<Parcel> {
        let written = join(py, written);
        let mut gather = Gather { pieces: Vec::new(), end: 0 };
        if written.buffers.is_empty() {
            for piece in written.stream {
                gather.push(Piece::of_bytes(py, piece));
            }
        } else {
            place::write(py, written, &mut gather)?;
        }
        Ok(Parcel(Parts::Pieces { length: gather.end, pieces: gather.pieces }))
    }

    /// The message of a stream that the user's own function made.
    #[must_use]
    pub fn of_view(view: View) -> Parcel {
        let length = view.length();
        Parcel(Parts::Pieces { pieces: vec![Piece::of_view(view)], length })
    }

    /// Bytes of the whole message.
    #[must_use]
    pub fn bytes(&self) -> usize {
        match &self.0 {
            Parts::Short(bytes) => bytes.len(),
            Parts::Pieces { length, .. } => *length,
        }
    }

    /// The message where it is one piece of memory.
    #[must_use]
    pub fn contiguous(&self) -> Option<&[u8]> {
        match &self.0 {
            Parts::Short(bytes) => Some(bytes),
            Parts::Pieces { pieces, .. } => match &**pieces {
                [] => Some(&[]),
                [piece] => Some(piece.bytes()),
                _ => None,
            },
        }
    }

    /// The pieces of one that is not contiguous, in order.
    #[must_use]
    pub fn pieces(&self) -> &[Piece] {
        match &self.0 {
            Parts::Short(_) => &[],
            Parts::Pieces { pieces, .. } => pieces,
        }
    }

    /// A copy in memory of its own.
    ///
    /// # Errors
    /// `MemoryError`.
    pub fn copy(&self) -> PyResult<Memory> {
        if let Some(bytes) = self.contiguous() {
            return Memory::copy_of(bytes);
        }
        let memory = Memory::for_message(self.bytes())?;
        let mut at = memory.address().cast::<u8>();
        for piece in self.pieces() {
            // SAFETY: the pieces add up to `bytes()`, for which there is room.
            unsafe {
                std::ptr::copy_nonoverlapping(piece.start, at, piece.length);
                at = at.add(piece.length);
            }
        }
        Ok(memory)
    }
}

/// Writes the message of a plain value and gives it to `then`; `None`, and nothing is called, for any other object, or where
/// the message would be too long.
#[inline]
pub fn with_plain<R>(object: &Bound<'_, PyAny>, then: impl FnOnce(&[u8]) -> R) -> Option<R> {
    let py = object.py();
    // Out of its place: `then` may give up the interpreter lock.
    let mut room = ROOM.take(py).unwrap_or_else(|| vec![0; LONGEST].into_boxed_slice());
    let (head, rest) = room.split_at_mut(MAGIC.len());
    head.copy_from_slice(&MAGIC);
    let short = rest.get_mut(..SHORT).and_then(|room| small::encode_small(object, room));
    let length = short.or_else(|| small::encode_long(object, rest)).or_else(|| array::encode(object, rest));
    let result = length.map(|length| then(&room[..MAGIC.len() + length]));
    ROOM.replace(py, Some(room));
    result
}

/// A stream of many short pieces as one.
fn join(py: Python<'_>, mut written: Written) -> Written {
    let count = written.stream.len();
    if count > 1
        && written.length / count < WORTHY
        && let Ok(whole) = PyBytes::new_with(py, written.length, |room| {
            let mut rest = room;
            for piece in &written.stream {
                let bytes = piece.as_bytes(py);
                let (head, tail) = rest.split_at_mut(bytes.len());
                head.copy_from_slice(bytes);
                rest = tail;
            }
            Ok(())
        })
    {
        written.stream = vec![whole.unbind()];
    }
    written
}

/// The pieces of a message so far.
struct Gather {
    pieces: Vec<Piece>,
    end: usize,
}

impl Gather {
    fn push(&mut self, piece: Piece) {
        if piece.length > 0 {
            self.end += piece.length;
            self.pieces.push(piece);
        }
    }
}

impl Outgoing for Gather {
    const RULE: Rule = Rule { inline: 0, head: HEAD, own: usize::MAX, most: 0 };

    fn share(&mut self, _py: Python<'_>, _bytes: usize) -> PyResult<()> {
        Ok(())
    }

    fn own(&mut self, _py: Python<'_>, buffer: View) -> PyResult<()> {
        self.push(Piece::of_view(buffer));
        Ok(())
    }

    fn begin(&mut self, _py: Python<'_>, plan: &Plan) -> PyResult<()> {
        let mut head = Vec::with_capacity(HEAD);
        head.extend_from_slice(&[MAGIC[0], MAGIC[1], tag::PICKLE, 0, 0, 0, 0, 0]);
        head.extend_from_slice(&(plan.frame as u64).to_le_bytes());
        self.push(Piece::of_own(head));
        Ok(())
    }

    fn put(&mut self, py: Python<'_>, _offset: usize, part: FramePart) -> PyResult<()> {
        self.push(match part {
            FramePart::Table(table) => Piece::of_own(table),
            FramePart::Stream(piece) => Piece::of_bytes(py, piece),
        });
        Ok(())
    }

    fn put_buffer(&mut self, _py: Python<'_>, offset: usize, buffer: View) -> PyResult<()> {
        self.push(Piece::zeros(offset - self.end));
        self.push(Piece::of_view(buffer));
        Ok(())
    }
}

/// The message that arrived, whose buffers are views of its memory.
struct Landed<'a> {
    memory: &'a Arc<Memory>,
    from: usize,
    length: usize,
}

impl Arrived for Landed<'_> {
    fn length(&self, block: usize) -> Option<usize> {
        (block == 0).then_some(self.length)
    }

    fn buffer<'py>(&mut self, py: Python<'py>, place: Place) -> PyResult<Bound<'py, PyAny>> {
        Part::view(py, self.memory.clone(), self.from + place.offset, place.length)
    }
}

/// How streams become objects again.
pub struct Loader<'a, 'py> {
    /// Called with a stream, and with `buffers` where there are some.
    pub loads: &'a Bound<'py, PyAny>,
    /// Whether that is the standard function. Another one gets whatever is no message of ours.
    pub standard: bool,
    /// The exception for another rank's notice.
    pub notice: fn(String) -> PyErr,
}

/// What a message of ours is: its kind and what follows the kind.
fn ours(message: &[u8]) -> Option<(u8, &[u8])> {
    let (kind, rest) = message.strip_prefix(&MAGIC)?.split_first()?;
    Some((*kind, rest))
}

/// The object of a message that is a small plain value, or of no bytes; `None` for any other message. For who uses the
/// standard functions: they need not be looked up for it.
#[inline]
#[must_use]
pub fn load_small<'py>(py: Python<'py>, message: &[u8]) -> Option<PyResult<Bound<'py, PyAny>>> {
    match ours(message) {
        None if message.is_empty() => Some(Ok(py.None().into_bound(py))),
        None | Some((tag::PICKLE | tag::NOTICE, _)) => None,
        Some((tag::ARRAY, array)) => Some(array::decode(py, array)),
        Some(_) => Some(small::decode_whole(py, &message[MAGIC.len()..])),
    }
}

/// The object of a short message, which need not outlive the call; one of no bytes holds `None`.
///
/// # Errors
/// Whatever unpickling raises; `ValueError` for a damaged message; another rank's notice.
pub fn load_short<'py>(py: Python<'py>, message: &[u8], loader: &Loader<'_, 'py>) -> PyResult<Bound<'py, PyAny>> {
    match ours(message) {
        None if message.is_empty() => Ok(py.None().into_bound(py)),
        None => call(loader.loads, PyBytes::new(py, message).as_any()),
        Some((tag::PICKLE, _)) => {
            let memory = Arc::new(Memory::copy_of(message)?);
            load(py, &memory, 0, message.len(), loader)
        }
        Some((tag::ARRAY, array)) if loader.standard => array::decode(py, array),
        Some((tag::NOTICE, text)) => Err((loader.notice)(String::from_utf8_lossy(text).into_owned())),
        Some(_) => match small::decode_whole(py, &message[MAGIC.len()..]) {
            Err(error) if !loader.standard && error.is_instance_of::<PyValueError>(py) => {
                call(loader.loads, PyBytes::new(py, message).as_any())
            }
            object => object,
        },
    }
}

/// The object of a message in some of the bytes of a memory, which a receive has filled.
///
/// # Errors
/// As [`load_short`].
pub fn load<'py>(
    py: Python<'py>,
    memory: &Arc<Memory>,
    from: usize,
    to: usize,
    loader: &Loader<'_, 'py>,
) -> PyResult<Bound<'py, PyAny>> {
    // SAFETY: the receive that filled the memory is over, and no array views it yet.
    let message = unsafe { memory.bytes() }.get(from..to).unwrap_or_default();
    if let Some((tag::PICKLE, rest)) = ours(message) {
        if let Some(frame) = rest.get(HEAD - 3 - 8..).and_then(|rest| frame::number(rest))
            && let Some(frame) = frame.1.get(..frame.0)
        {
            let mut landed = Landed { memory, from, length: message.len() };
            let (buffers, stream) = place::read(py, frame, &mut landed)?;
            let options = PyDict::new(py);
            options.set_item(intern!(py, "buffers"), buffers)?;
            let start = stream.as_ptr().addr() - memory.start().addr();
            let stream = Part::view(py, memory.clone(), start, stream.len())?;
            return loader.loads.call((stream,), Some(&options));
        }
        if loader.standard {
            return Err(small::damaged());
        }
    } else if message.len() <= SHORT || ours(message).is_some() {
        return load_short(py, message, loader);
    }
    call(loader.loads, &Part::view(py, memory.clone(), from, message.len())?)
}

/// Calls a function with one argument.
fn call<'py>(function: &Bound<'py, PyAny>, argument: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
    let end = std::ptr::null_mut::<ffi::PyObject>();
    // SAFETY: calls a callable with one argument and the null that ends the list; the result is a new reference.
    unsafe {
        Bound::from_owned_ptr_or_err(
            function.py(),
            ffi::PyObject_CallFunctionObjArgs(function.as_ptr(), argument.as_ptr(), end),
        )
    }
}

/// Whether bytes begin as a message that no pickle stream is.
#[must_use]
pub fn is_ours(bytes: &[u8]) -> bool {
    ours(bytes).is_some()
}
