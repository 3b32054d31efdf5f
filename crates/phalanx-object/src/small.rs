//! Small plain values, written straight into a message without pickle and without the heap.
//!
//! A value is a tag and its contents, and tells its own length:
//!
//! ```text
//! NONE | FALSE | TRUE
//! INT1   i8              AN INTEGER IN AS FEW BYTES AS IT NEEDS;
//! INT2   i16             OF MORE THAN 64 BITS IT IS PICKLED
//! INT4   i32
//! INT    i64
//! FLOAT  f64
//! STR    u16 n, n bytes of UTF-8
//! NOTED  u16 n, n bytes of UTF-8           A STR THAT MAY COME AGAIN
//! AGAIN  u16 i                             THE I-TH OF THOSE, THE SAME OBJECT
//! BYTES  u16 n, n bytes
//! TUPLE  u16 n, n values
//! LIST   u16 n, n values
//! DICT   u16 n, n times key and value
//! ```
//!
//! Only exact types are written so: a subclass has a pickle of its own. Lists and dictionaries can be in several places of
//! an object, or contain themselves, which pickle preserves. One with a single reference, that of its container, is in a
//! single place, if the container is. Of those with more references (somebody else's, perhaps), or in a tuple with more, at
//! most one is in a value, where it cannot show. The value itself could only be in two places by containing itself, which
//! the depth ends. Strings that are in several places, the keys of many dictionaries for example, are one object in the
//! copy, too: as a rule, since the writer keeps only a few in mind, and all of them where that matters.

use std::ffi::c_char;
use std::mem::MaybeUninit;
use std::ptr::{self, NonNull};

use pyo3::exceptions::PyValueError;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::PyBytes;
use smallvec::SmallVec;

/// The first byte of a value. Pickle streams begin with 0x80, so that they need no tag.
pub mod tag {
    /// `None`.
    pub const NONE: u8 = 1;
    /// `False`.
    pub const FALSE: u8 = 2;
    /// `True`.
    pub const TRUE: u8 = 3;
    /// An `int` of 64 bits.
    pub const INT: u8 = 4;
    /// A `float`.
    pub const FLOAT: u8 = 5;
    /// A `str`.
    pub const STR: u8 = 6;
    /// A `bytes`.
    pub const BYTES: u8 = 7;
    /// A `tuple`.
    pub const TUPLE: u8 = 8;
    /// A `list`.
    pub const LIST: u8 = 9;
    /// A `dict`.
    pub const DICT: u8 = 10;
    /// The one value of a `str`, as UTF-8 in a block.
    pub const BLOCK_STR: u8 = 11;
    /// The one value of a `bytes` in a block.
    pub const BLOCK_BYTES: u8 = 12;
    /// Begins a bare pickle stream, whose first byte it is.
    pub const PROTO: u8 = 0x80;
    /// A pickle stream with blocks beside it.
    pub const PICKLE: u8 = 13;
    /// Such a message, in a block.
    pub const LONG: u8 = 14;
    /// An `int` of 8 bits.
    pub const INT1: u8 = 16;
    /// An `int` of 16 bits.
    pub const INT2: u8 = 17;
    /// An `int` of 32 bits.
    pub const INT4: u8 = 18;
    /// A `str` that may be in the value again.
    pub const NOTED: u8 = 19;
    /// A `str` that was noted before.
    pub const AGAIN: u8 = 20;
    /// A NumPy array of numbers, which is the value itself (`array.rs`).
    pub const ARRAY: u8 = 21;
    /// No object, but the error of the process that should have given one.
    pub const NOTICE: u8 = 15;
}

/// How deep containers may nest before pickle takes over.
const DEPTH: u32 = 6;

/// Places for the strings that a writer keeps in mind.
const PLACES: usize = 256;

/// How many places a string may be in, from that of its address on.
const TRIES: usize = 4;

/// The address of a string and its number.
type Known = MaybeUninit<(usize, u16)>;

/// Strings that have been written, by their address. Where there is no place for another one, one of them is forgotten.
struct Strings<'a> {
    /// The places that are in use, a bit each: so that there is nothing to clear before a value.
    used: [u64; PLACES / 64],
    /// Borrowed: in here they would be copied, whatever is in them, when a writer is made.
    places: &'a mut [Known; PLACES],
    /// How many have been noted.
    count: u16,
}

impl<'a> Strings<'a> {
    fn new(places: &'a mut [Known; PLACES]) -> Strings<'a> {
        Strings { used: [0; PLACES / 64], places, count: 0 }
    }

    /// The number of a string that was noted before; notes it, if it was not.
    fn note(&mut self, string: *mut ffi::PyObject) -> Option<u16> {
        let address = string.addr();
        // Objects are at least 16 bytes apart.
        let first = (address >> 4) ^ (address >> 12);
        let mut place = first % PLACES;
        for at in (first..first + TRIES).map(|at| at % PLACES) {
            if self.used[at / 64] >> (at % 64) & 1 == 0 {
                place = at;
                break;
            }
            // SAFETY: a place in use has been written.
            let (known, number) = unsafe { self.places[at].assume_init() };
            if known == address {
                return Some(number);
            }
        }
        self.used[place / 64] |= 1 << (place % 64);
        self.places[place].write((address, self.count));
        self.count = self.count.wrapping_add(1);
        None
    }
}

/// A value of at most so many items is looked at before it is written: those are fields of something probably, one of which
/// may be no plain value. (Many items are of one kind as a rule, which the first one shows.)
const FIELDS: ffi::Py_ssize_t = 16;

/// Whether a value can be plain, by its type.
///
/// # Safety
/// A live object, or null.
unsafe fn may_be_plain(object: *mut ffi::PyObject) -> bool {
    if object.is_null() {
        return false;
    }
    // SAFETY: a live object.
    let kind = unsafe { ffi::Py_TYPE(object) };
    let plain = [
        &raw const ffi::PyLong_Type,
        &raw const ffi::PyFloat_Type,
        &raw const ffi::PyUnicode_Type,
        &raw const ffi::PyBytes_Type,
        &raw const ffi::PyBool_Type,
        &raw const ffi::PyTuple_Type,
        &raw const ffi::PyList_Type,
        &raw const ffi::PyDict_Type,
    ];
    // SAFETY: None lives for ever.
    plain.iter().any(|known| ptr::eq(kind, *known)) || ptr::eq(object, unsafe { ffi::Py_None() })
}

/// After how many items of a container its size is known well enough.
const SAMPLE: ffi::Py_ssize_t = 64;

/// Bytes on their way into a message of limited size.
struct Writer<'a> {
    out: &'a mut [u8],
    at: usize,
    /// Whether a list or a dictionary with several references has been written.
    shared: bool,
    /// Tuples with several references that the writer is in.
    within: u32,
    strings: Strings<'a>,
}

impl Writer<'_> {
    #[inline]
    fn put<const N: usize>(&mut self, bytes: [u8; N]) -> Option<()> {
        *self.out.get_mut(self.at..)?.first_chunk_mut()? = bytes;
        self.at += N;
        Some(())
    }

    #[inline]
    fn put_counted(&mut self, tag: u8, bytes: &[u8]) -> Option<()> {
        let [low, high] = u16::try_from(bytes.len()).ok()?.to_le_bytes();
        self.put([tag, low, high])?;
        let room = self.out.get_mut(self.at..)?.get_mut(..bytes.len())?;
        // SAFETY: room for that many, in the message, which is no object's.
        unsafe { copy(bytes, room.as_mut_ptr()) };
        self.at += bytes.len();
        Some(())
    }

    #[inline]
    fn put_int(&mut self, number: i64) -> Option<()> {
        if let Ok(short) = i8::try_from(number) {
            return self.put([tag::INT1, short.cast_unsigned()]);
        }
        if let Ok(short) = i16::try_from(number) {
            let [a, b] = short.to_le_bytes();
            return self.put([tag::INT2, a, b]);
        }
        if let Ok(short) = i32::try_from(number) {
            let [a, b, c, d] = short.to_le_bytes();
            return self.put([tag::INT4, a, b, c, d]);
        }
        self.put([tag::INT])?;
        self.put(number.to_le_bytes())
    }

    /// Writes a string in a container.
    fn put_item(&mut self, string: *mut ffi::PyObject) -> Option<()> {
        // SAFETY: reads the number of references of an object that the caller holds.
        if unsafe { ffi::Py_REFCNT(string) } == 1 || self.strings.count == u16::MAX {
            // Its container has the only reference: it is nowhere else.
            // SAFETY: a str.
            return self.put_counted(tag::STR, unsafe { utf8(string) }?);
        }
        match self.strings.note(string) {
            Some(number) => {
                let [low, high] = number.to_le_bytes();
                self.put([tag::AGAIN, low, high])
            }
            // SAFETY: a str.
            None => self.put_counted(tag::NOTED, unsafe { utf8(string) }?),
        }
    }

    /// Gives up where the first `done` of `count` items, which began at `from`, show that there is not room for all of
    /// them. Looks twice: after the first one, and when there are some to judge by.
    #[inline]
    fn expect(&self, from: usize, done: ffi::Py_ssize_t, count: ffi::Py_ssize_t) -> Option<()> {
        if done != 1 && done != SAMPLE {
            return Some(());
        }
        let needed = (self.at - from).checked_mul(count.unsigned_abs())? / done.unsigned_abs();
        (needed <= self.out.len() - from).then_some(())
    }

    /// Writes the head of a container whose items need at least `least` bytes each.
    fn put_head(&mut self, tag: u8, count: ffi::Py_ssize_t, least: usize) -> Option<()> {
        let count = u16::try_from(count).ok()?;
        if usize::from(count) * least > self.out.len() - self.at {
            return None;
        }
        let [low, high] = count.to_le_bytes();
        self.put([tag, low, high])
    }

    /// Writes a value; `None` when it is not a small plain one or there is no room.
    // In every loop over items, most of which are no containers.
    #[inline(always)]
    fn value(&mut self, py: Python<'_>, object: NonNull<ffi::PyObject>, depth: u32) -> Option<()> {
        let raw = object.as_ptr();
        // SAFETY: here and below, the interpreter lock is held and the caller holds `object`; each function is called on
        // an object of the exact type it is for, as the type's address tells.
        let kind = unsafe { ffi::Py_TYPE(raw) };
        if ptr::eq(kind, &raw const ffi::PyLong_Type) {
            let mut overflow = 0;
            // SAFETY: an int, and a place for the flag.
            let number = unsafe { ffi::PyLong_AsLongLongAndOverflow(raw, &mut overflow) };
            if overflow != 0 {
                return None;
            }
            return self.put_int(number);
        }
        if ptr::eq(kind, &raw const ffi::PyFloat_Type) {
            self.put([tag::FLOAT])?;
            // SAFETY: a float.
            return self.put(unsafe { ffi::PyFloat_AsDouble(raw) }.to_le_bytes());
        }
        if ptr::eq(kind, &raw const ffi::PyUnicode_Type) {
            if depth > 0 {
                return self.put_item(raw);
            }
            // SAFETY: a str.
            return self.put_counted(tag::STR, unsafe { utf8(raw) }?);
        }
        // SAFETY: None lives for ever.
        if ptr::eq(raw, unsafe { ffi::Py_None() }) {
            return self.put([tag::NONE]);
        }
        if ptr::eq(kind, &raw const ffi::PyBool_Type) {
            // SAFETY: True lives for ever.
            let truth = ptr::eq(raw, unsafe { ffi::Py_True() });
            return self.put([if truth { tag::TRUE } else { tag::FALSE }]);
        }
        if ptr::eq(kind, &raw const ffi::PyBytes_Type) {
            // SAFETY: a bytes.
            return self.put_counted(tag::BYTES, unsafe { bytes_of(raw) });
        }
        if depth == DEPTH { None } else { self.container(py, object, kind, depth + 1) }
    }

    #[inline(never)]
    fn container(
        &mut self,
        py: Python<'_>,
        object: NonNull<ffi::PyObject>,
        kind: *mut ffi::PyTypeObject,
        depth: u32,
    ) -> Option<()> {
        let raw = object.as_ptr();
        if ptr::eq(kind, &raw const ffi::PyTuple_Type) {
            // SAFETY: a tuple.
            let count = unsafe { ffi::PyTuple_Size(raw) };
            self.put_head(tag::TUPLE, count, 1)?;
            let from = self.at;
            // SAFETY: as for lists below.
            let shared = u32::from(depth > 1 && unsafe { ffi::Py_REFCNT(raw) } != 1);
            self.within += shared;
            for index in 0..count {
                // SAFETY: an index within the tuple, which keeps its items as long as the caller holds it.
                let item = NonNull::new(unsafe { ffi::PyTuple_GetItem(raw, index) })?;
                self.value(py, item, depth)?;
                self.expect(from, index + 1, count)?;
            }
            self.within -= shared;
            return Some(());
        }
        // SAFETY: reads the number of references of an object that the caller holds.
        let several = depth > 1 && (self.within > 0 || unsafe { ffi::Py_REFCNT(raw) } != 1);
        if several && std::mem::replace(&mut self.shared, true) {
            return None;
        }
        if ptr::eq(kind, &raw const ffi::PyList_Type) {
            // SAFETY: a list.
            let count = unsafe { ffi::PyList_Size(raw) };
            self.put_head(tag::LIST, count, 1)?;
            let from = self.at;
            for index in 0..count {
                // SAFETY: the index is within the list: nothing below runs Python code that could change it, except
                // after an error, after which nothing is read any more.
                let item = NonNull::new(unsafe { ffi::PyList_GetItem(raw, index) })?;
                self.value(py, item, depth)?;
                self.expect(from, index + 1, count)?;
            }
            return Some(());
        }
        if ptr::eq(kind, &raw const ffi::PyDict_Type) {
            // SAFETY: a dict.
            let count = unsafe { ffi::PyDict_Size(raw) };
            self.put_head(tag::DICT, count, 2)?;
            let (mut place, mut key, mut value) = (0, ptr::null_mut(), ptr::null_mut());
            let (from, mut done) = (self.at, 0);
            // SAFETY: a dict, which nothing below changes (see the list); three places to write to.
            while unsafe { ffi::PyDict_Next(raw, &mut place, &mut key, &mut value) } != 0 {
                let key = NonNull::new(key)?;
                // SAFETY: a live object.
                let text = ptr::eq(unsafe { ffi::Py_TYPE(key.as_ptr()) }, &raw const ffi::PyUnicode_Type);
                // The string keys of the outermost dictionary need not be noted: each is in it once.
                self.value(py, key, if text && depth == 1 { 0 } else { depth })?;
                self.value(py, NonNull::new(value)?, depth)?;
                done += 1;
                self.expect(from, done, count)?;
            }
            return Some(());
        }
        None
    }
}

/// The UTF-8 of a string, `None` where it has none (lone surrogates).
///
/// # Safety
/// `raw` is a str, which outlives the result; the interpreter lock is held.
pub(crate) unsafe fn utf8<'a>(raw: *mut ffi::PyObject) -> Option<&'a [u8]> {
    let mut length = 0;
    // SAFETY: the caller's promise; the string keeps its UTF-8.
    unsafe {
        let text = ffi::PyUnicode_AsUTF8AndSize(raw, &mut length);
        if text.is_null() {
            ffi::PyErr_Clear();
            return None;
        }
        Some(std::slice::from_raw_parts(text.cast(), length.unsigned_abs()))
    }
}

/// The contents of a bytes object.
///
/// # Safety
/// `raw` is a bytes object, which outlives the result; the interpreter lock is held.
pub unsafe fn bytes_of<'a>(raw: *mut ffi::PyObject) -> &'a [u8] {
    // SAFETY: the caller's promise; a bytes object never changes.
    unsafe { std::slice::from_raw_parts(ffi::PyBytes_AsString(raw).cast(), ffi::PyBytes_Size(raw).unsigned_abs()) }
}

/// The tag and the bytes of a `str` or `bytes` of more than so many bytes.
#[must_use]
pub fn long_bytes<'a>(object: &'a Bound<'_, PyAny>, more_than: usize) -> Option<(u8, &'a [u8])> {
    let raw = object.as_ptr();
    // SAFETY: each function is called on an object of the exact type it is for; `object` outlives the result.
    let (kind, bytes) = unsafe {
        if ptr::eq(ffi::Py_TYPE(raw), &raw const ffi::PyUnicode_Type) {
            (tag::BLOCK_STR, utf8(raw)?)
        } else if ptr::eq(ffi::Py_TYPE(raw), &raw const ffi::PyBytes_Type) {
            (tag::BLOCK_BYTES, bytes_of(raw))
        } else {
            return None;
        }
    };
    (bytes.len() > more_than).then_some((kind, bytes))
}

/// Writes a small plain value to the beginning of `out` and returns its length; `None` when the object is something else,
/// or too large for `out`. No heap, no Python code; `out` may be the message's place in a ring.
#[inline]
#[must_use]
pub fn encode_small(object: &Bound<'_, PyAny>, out: &mut [u8]) -> Option<usize> {
    let mut places = [const { MaybeUninit::uninit() }; PLACES];
    let mut writer = Writer { out, at: 0, shared: false, within: 0, strings: Strings::new(&mut places) };
    writer.value(object.py(), NonNull::new(object.as_ptr())?, 0)?;
    Some(writer.at)
}

/// As [`encode_small`], for an object that was not written to less room: looks first whether more room can help.
#[must_use]
pub(crate) fn encode_long(object: &Bound<'_, PyAny>, out: &mut [u8]) -> Option<usize> {
    let raw = object.as_ptr();
    // SAFETY: a live object.
    let kind = unsafe { ffi::Py_TYPE(raw) };
    let worth = if ptr::eq(kind, &raw const ffi::PyTuple_Type) {
        // SAFETY: a tuple.
        let count = unsafe { ffi::PyTuple_Size(raw) };
        // SAFETY: an index within the tuple, whose items live.
        count > FIELDS || (0..count).all(|at| unsafe { may_be_plain(ffi::PyTuple_GetItem(raw, at)) })
    } else if ptr::eq(kind, &raw const ffi::PyList_Type) {
        // SAFETY: a list.
        let count = unsafe { ffi::PyList_Size(raw) };
        // SAFETY: an index within the list, whose items live.
        count > FIELDS || (0..count).all(|at| unsafe { may_be_plain(ffi::PyList_GetItem(raw, at)) })
    } else if ptr::eq(kind, &raw const ffi::PyDict_Type) {
        // SAFETY: a dict.
        unsafe { ffi::PyDict_Size(raw) > FIELDS || has_plain_values(raw) }
    } else {
        ptr::eq(kind, &raw const ffi::PyUnicode_Type) || ptr::eq(kind, &raw const ffi::PyBytes_Type)
    };
    if worth { encode_small(object, out) } else { None }
}

/// Whether all values of a dictionary can be plain, by their types.
///
/// # Safety
/// `raw` is a dict; the interpreter lock is held.
unsafe fn has_plain_values(raw: *mut ffi::PyObject) -> bool {
    let (mut place, mut value) = (0, ptr::null_mut());
    // SAFETY: a dict, which nothing here changes, and whose values live; two places to write to.
    while unsafe { ffi::PyDict_Next(raw, &mut place, ptr::null_mut(), &mut value) } != 0 {
        // SAFETY: as above.
        if !unsafe { may_be_plain(value) } {
            return false;
        }
    }
    true
}

/// Bytes of a message that is being read.
struct Reader<'a, 'py> {
    rest: &'a [u8],
    /// The strings that may come again.
    noted: SmallVec<[Bound<'py, PyAny>; 8]>,
}

/// What a message that breaks off, or is none, ends in.
#[cold]
#[must_use]
pub fn damaged() -> PyErr {
    PyValueError::new_err("a message between processes is damaged: its contents do not end where its length says")
}

impl<'a, 'py> Reader<'a, 'py> {
    fn new(rest: &'a [u8]) -> Self {
        Reader { rest, noted: SmallVec::new() }
    }

    #[inline]
    fn take(&mut self, count: usize) -> PyResult<&'a [u8]> {
        let (head, rest) = self.rest.split_at_checked(count).ok_or_else(damaged)?;
        self.rest = rest;
        Ok(head)
    }

    #[inline]
    fn take_array<const N: usize>(&mut self) -> PyResult<[u8; N]> {
        let (head, rest) = self.rest.split_first_chunk().ok_or_else(damaged)?;
        self.rest = rest;
        Ok(*head)
    }

    #[inline]
    fn take_count(&mut self) -> PyResult<usize> {
        self.take_array().map(u16::from_le_bytes).map(usize::from)
    }

    #[inline]
    fn value(&mut self, py: Python<'py>, depth: u32) -> PyResult<Bound<'py, PyAny>> {
        let [kind] = self.take_array()?;
        // SAFETY (of all blocks below): the interpreter lock is held, the functions make new objects (or report an
        // error by null) from a value or from memory of the given length, and nothing else owns what they return.
        match kind {
            tag::INT => {
                let number = i64::from_le_bytes(self.take_array()?);
                // SAFETY: see above.
                unsafe { Bound::from_owned_ptr_or_err(py, ffi::PyLong_FromLongLong(number)) }
            }
            tag::FLOAT => {
                let number = f64::from_le_bytes(self.take_array()?);
                // SAFETY: see above.
                unsafe { Bound::from_owned_ptr_or_err(py, ffi::PyFloat_FromDouble(number)) }
            }
            tag::INT1 => {
                let number = i8::from_le_bytes(self.take_array()?);
                // SAFETY: see above.
                unsafe { Bound::from_owned_ptr_or_err(py, ffi::PyLong_FromLong(number.into())) }
            }
            tag::INT2 => {
                let number = i16::from_le_bytes(self.take_array()?);
                // SAFETY: see above.
                unsafe { Bound::from_owned_ptr_or_err(py, ffi::PyLong_FromLong(number.into())) }
            }
            tag::INT4 => {
                let number = i32::from_le_bytes(self.take_array()?);
                // SAFETY: see above.
                unsafe { Bound::from_owned_ptr_or_err(py, ffi::PyLong_FromLong(number.into())) }
            }
            tag::NONE => Ok(py.None().into_bound(py)),
            tag::TRUE | tag::FALSE => Ok(pyo3::types::PyBool::new(py, kind == tag::TRUE).to_owned().into_any()),
            tag::STR => {
                let count = self.take_count()?;
                text(py, self.take(count)?)
            }
            tag::NOTED => {
                let count = self.take_count()?;
                let string = text(py, self.take(count)?)?;
                self.noted.push(string.clone());
                Ok(string)
            }
            tag::AGAIN => {
                let number = self.take_count()?;
                self.noted.get(number).cloned().ok_or_else(damaged)
            }
            tag::BYTES => {
                let count = self.take_count()?;
                bytes_object(py, self.take(count)?)
            }
            _ if depth < DEPTH => self.container(py, kind, depth + 1),
            _ => Err(damaged()),
        }
    }

    fn container(&mut self, py: Python<'py>, kind: u8, depth: u32) -> PyResult<Bound<'py, PyAny>> {
        let count = self.take_count()?;
        if count > self.rest.len() {
            return Err(damaged());
        }
        let size = count as ffi::Py_ssize_t;
        match kind {
            tag::TUPLE => {
                // SAFETY: a new tuple, all of whose items are set before anybody else sees it; on an error the tuple
                // is dropped with the rest of its items null, which tuples allow.
                let tuple = unsafe { Bound::from_owned_ptr_or_err(py, ffi::PyTuple_New(size)) }?;
                for index in 0..size {
                    let item = self.value(py, depth)?;
                    // SAFETY: an index within the new tuple, which takes the reference over.
                    unsafe { ffi::PyTuple_SetItem(tuple.as_ptr(), index, item.into_ptr()) };
                }
                Ok(tuple)
            }
            tag::LIST => {
                // SAFETY: as for the tuple.
                let list = unsafe { Bound::from_owned_ptr_or_err(py, ffi::PyList_New(size)) }?;
                for index in 0..size {
                    let item = self.value(py, depth)?;
                    // SAFETY: an index within the new list, which takes the reference over.
                    unsafe { ffi::PyList_SetItem(list.as_ptr(), index, item.into_ptr()) };
                }
                Ok(list)
            }
            tag::DICT => {
                let dict = pyo3::types::PyDict::new(py);
                for _ in 0..count {
                    let key = self.value(py, depth)?;
                    let value = self.value(py, depth)?;
                    dict.set_item(key, value)?;
                }
                Ok(dict.into_any())
            }
            _ => Err(damaged()),
        }
    }
}

/// Bytes for which no C library takes the processor's string instruction: on some processors that crawls at the offsets that
/// messages and objects are at (decision 0037).
const PIECE: usize = 1 << 10;

/// Copies bytes, in such pieces.
///
/// # Safety
/// `to` is writable for so many bytes, of which none is in `from`.
#[inline]
unsafe fn copy(from: &[u8], to: *mut u8) {
    for (number, piece) in from.chunks(PIECE).enumerate() {
        // SAFETY: the caller's promise; the piece has this place in the whole.
        unsafe { ptr::copy_nonoverlapping(piece.as_ptr(), to.add(number * PIECE), piece.len()) };
    }
}

/// A `bytes` of these.
///
/// # Errors
/// `MemoryError`.
fn bytes_object<'py>(py: Python<'py>, bytes: &[u8]) -> PyResult<Bound<'py, PyAny>> {
    if bytes.len() <= PIECE {
        return Ok(PyBytes::new(py, bytes).into_any());
    }
    // SAFETY: a new `bytes` of that length, which nobody else sees before it is filled.
    unsafe {
        let made = ffi::PyBytes_FromStringAndSize(ptr::null(), bytes.len() as ffi::Py_ssize_t);
        let made = Bound::from_owned_ptr_or_err(py, made)?;
        copy(bytes, ffi::PyBytes_AsString(made.as_ptr()).cast());
        Ok(made)
    }
}

/// A `str` of UTF-8.
///
/// # Errors
/// `UnicodeDecodeError`, a `ValueError`; `MemoryError`.
pub fn text<'py>(py: Python<'py>, bytes: &[u8]) -> PyResult<Bound<'py, PyAny>> {
    let start = bytes.as_ptr().cast::<c_char>();
    // SAFETY: memory of that length; Python checks that it is UTF-8.
    unsafe { Bound::from_owned_ptr_or_err(py, ffi::PyUnicode_FromStringAndSize(start, bytes.len() as ffi::Py_ssize_t)) }
}

/// The object of a message that [`encode_small`] wrote; bytes after the value are ignored.
///
/// # Errors
/// `ValueError` for a damaged message, `MemoryError`.
#[inline]
pub fn decode_small<'py>(py: Python<'py>, wire: &[u8]) -> PyResult<Bound<'py, PyAny>> {
    Reader::new(wire).value(py, 0)
}

/// As [`decode_small`], for a message that ends with the value.
///
/// # Errors
/// As [`decode_small`].
#[inline]
pub(crate) fn decode_whole<'py>(py: Python<'py>, wire: &[u8]) -> PyResult<Bound<'py, PyAny>> {
    let mut reader = Reader::new(wire);
    let value = reader.value(py, 0)?;
    if reader.rest.is_empty() { Ok(value) } else { Err(damaged()) }
}
