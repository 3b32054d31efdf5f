//! Message descriptions: what users write for a buffer, turned into what MPI wants.
//!
//! | form | spelled |
//! |---|---|
//! | [`Message`] | `buf`, `[buf, type]`, `[buf, count]`, `[buf, (count, displ)]`, `[buf, count, type]`, `[buf, (count, displ), type]`, `[buf, count, displ, type]` |
//! | [`Vector`] | `buf`, `[buf, type]`, `[buf, counts]`, `[buf, (counts, displs)]`, `[buf, counts, type]`, `[buf, (counts, displs), type]`, `[buf, counts, displs, type]` |
//! | [`VectorW`] | `[buf, types]`, `[buf, (counts, displs), types]`, `[buf, counts, displs, types]` |
//!
//! `type` is an `MPI.Datatype` or a type string; lists and tuples are the same. A `buf` of None or `MPI.BOTTOM` stands for
//! address 0 and needs a datatype. Counts and displacements left out follow from the size of the buffer.
//!
//! A parsed message holds its buffer: keep it alive until the operation is over, then drop it.

pub(crate) mod collective;
mod room;
mod vector;

pub(crate) use vector::{Vector, VectorW};

use pyo3::exceptions::{PyKeyError, PyOverflowError, PyTypeError, PyValueError};
use pyo3::ffi as cpython;
use pyo3::prelude::*;
use pyo3::types::{PyList, PyString, PyTuple};

use crate::buffer::{self, Access, View, format};
use crate::datatype::Datatype;
use crate::error::check;
use crate::ffi::*;
use crate::handle::Handle as _;
use crate::text;
use room::{Misfit, Room};

/// One contiguous run of entries: address, count, datatype.
pub(crate) struct Message {
    /// Where the first entry is.
    pub(crate) address: *mut c_void,
    /// How many entries; in block forms, how many per block.
    pub(crate) count: MPI_Count,
    /// Of what.
    pub(crate) datatype: MPI_Datatype,
    _view: View,
}

// SAFETY: the address is only handed to MPI; the view keeps what it points at alive on every thread.
unsafe impl Send for Message {}
// SAFETY: as above; a shared message is never changed.
unsafe impl Sync for Message {}

/// What all message forms can do: be parsed, be absent, stand for `MPI.IN_PLACE`.
pub(crate) trait Form: Sized {
    /// Parses what the user wrote.
    ///
    /// `rank` is the peer: for `MPI_PROC_NULL` the message is not looked at. `blocks` is how many equal parts the buffer
    /// has (0 or 1: it is one part).
    fn parse(message: &Bound<'_, PyAny>, access: Access, rank: c_int, blocks: usize) -> PyResult<Self>;

    /// No message: nothing is sent or received here.
    fn nothing() -> Self;

    /// `MPI.IN_PLACE`.
    fn in_place() -> Self;
}

impl Form for Message {
    #[inline]
    fn parse(message: &Bound<'_, PyAny>, access: Access, rank: c_int, blocks: usize) -> PyResult<Message> {
        if rank == MPI_PROC_NULL {
            return Ok(Message::nothing());
        }
        if let Some((view, basic)) = View::of_array(message, access) {
            return Message::of_elements(view, basic, blocks);
        }
        if buffer::supports_buffer_protocol(message) {
            return Message::of_buffer(message, access, blocks);
        }
        Message::parse_other(message, access, blocks)
    }

    fn nothing() -> Message {
        Message { address: std::ptr::null_mut(), count: 0, datatype: MPI_BYTE, _view: View::empty() }
    }

    fn in_place() -> Message {
        Message {
            address: std::ptr::without_provenance_mut(MPI_IN_PLACE),
            count: 0,
            datatype: MPI_DATATYPE_NULL,
            _view: View::empty(),
        }
    }
}

impl Message {
    /// A message to send.
    #[inline]
    pub(crate) fn to_send(message: &Bound<'_, PyAny>, dest: c_int) -> PyResult<Message> {
        Message::parse(message, Access::Read, dest, 1)
    }

    /// A message to receive into.
    #[inline]
    pub(crate) fn to_receive(message: &Bound<'_, PyAny>, source: c_int) -> PyResult<Message> {
        Message::parse(message, Access::Write, source, 1)
    }

    /// Whether this is `MPI.IN_PLACE`.
    pub(crate) fn is_in_place(&self) -> bool {
        self.address.addr() == MPI_IN_PLACE
    }

    /// A bare buffer: its elements tell the datatype, its length the count.
    #[inline]
    fn of_buffer(object: &Bound<'_, PyAny>, access: Access, blocks: usize) -> PyResult<Message> {
        let view = View::of(object, access, true)?;
        view.check_reachable()?;
        let basic = element_of(&view)?;
        Message::of_elements(view, basic, blocks)
    }

    #[inline]
    fn of_elements(view: View, basic: format::Basic, blocks: usize) -> PyResult<Message> {
        let count = Room::of(&view).entries(basic.size, blocks)?;
        Ok(Message { address: view.address(), count, datatype: MPI_Datatype(basic.handle), _view: view })
    }

    fn parse_other(message: &Bound<'_, PyAny>, access: Access, blocks: usize) -> PyResult<Message> {
        if let Some(items) = items(message)? {
            return Message::of_parts(&Parts::simple(items)?, access, blocks);
        }
        if buffer::exports_device_memory(message) {
            return Message::of_buffer(message, access, blocks);
        }
        Err(buffer::not_a_buffer(message))
    }

    fn of_parts(parts: &Parts<'_>, access: Access, blocks: usize) -> PyResult<Message> {
        let base = Base::of(parts, access)?;
        let mut room = Room::of(&base.view);
        let mut offset = 0;
        if let Some(displacement) = &parts.displacements {
            let displacement = integer(displacement, "displacement")?;
            if displacement != 0 {
                let extent = base.extent("handle displacement")?;
                offset = room.skip(displacement, extent)?;
            }
        }
        let count = match &parts.counts {
            Some(count) => {
                let count = integer(count, "count")?;
                if count < 0 {
                    return Err(PyValueError::new_err(format!("message: negative count {count}")));
                }
                if count > 0 && parts.buffer.is_none() {
                    return Err(PyValueError::new_err(format!("message: buffer is None but count is {count}")));
                }
                if let Some(size) = base.known_size() {
                    room.check(i128::from(count) * blocks.max(1) as i128, size)?;
                }
                count
            }
            None if room.bytes > 0 => room.entries(base.extent("infer count")?, blocks)?,
            None => 0,
        };
        Ok(Message {
            address: base.view.address().cast::<u8>().wrapping_offset(offset).cast(),
            count,
            datatype: base.datatype,
            _view: base.view,
        })
    }
}

/// The datatype of a view's elements. Where one character names two sizes (`l` on other platforms), the size decides.
#[inline]
fn element_of(view: &View) -> PyResult<format::Basic> {
    let size = view.itemsize() as i64;
    match view.format_char().and_then(format::of_char) {
        Some(basic) if basic.size == size => Ok(basic),
        _ => unusual_element_of(view, size),
    }
}

#[cold]
fn unusual_element_of(view: &View, size: i64) -> PyResult<format::Basic> {
    let Some(format) = view.format() else {
        return Ok(format::BYTE);
    };
    let basic = format::of_format(format)?;
    if basic.size == size { Ok(basic) } else { format::resized(format, size) }
}

/// The items of a list or tuple, None for anything else.
fn items<'py>(message: &Bound<'py, PyAny>) -> PyResult<Option<Vec<Bound<'py, PyAny>>>> {
    if let Ok(list) = message.cast::<PyList>() {
        return Ok(Some(list.iter().collect()));
    }
    if let Ok(tuple) = message.cast::<PyTuple>() {
        return Ok(Some(tuple.iter().collect()));
    }
    Ok(None)
}

/// The parts of a message written as a list or tuple. None stands for "left out".
struct Parts<'py> {
    buffer: Option<Bound<'py, PyAny>>,
    counts: Option<Bound<'py, PyAny>>,
    displacements: Option<Bound<'py, PyAny>>,
    datatype: Option<Bound<'py, PyAny>>,
}

impl<'py> Parts<'py> {
    /// Parts of a simple form: a list or tuple of two in the place of the count is (count, displacement).
    fn simple(items: Vec<Bound<'py, PyAny>>) -> PyResult<Parts<'py>> {
        Parts::of(items, |counts| counts.is_instance_of::<PyTuple>() || counts.is_instance_of::<PyList>())
    }

    /// Parts of a vector form: only a tuple is (counts, displacements), since counts are usually a list.
    fn vector(items: Vec<Bound<'py, PyAny>>) -> PyResult<Parts<'py>> {
        Parts::of(items, |counts| counts.is_instance_of::<PyTuple>())
    }

    fn of(items: Vec<Bound<'py, PyAny>>, is_pair: impl Fn(&Bound<'py, PyAny>) -> bool) -> PyResult<Parts<'py>> {
        let given = |item: Bound<'py, PyAny>| (!item.is_none()).then_some(item);
        let number = items.len();
        let mut items = items.into_iter();
        let mut next = || items.next().and_then(given);
        let mut parts = match number {
            2 => {
                let (buffer, second) = (next(), next());
                match second {
                    Some(second) if is_datatype(&second) => {
                        return Ok(Parts { buffer, counts: None, displacements: None, datatype: Some(second) });
                    }
                    counts => Parts { buffer, counts, displacements: None, datatype: None },
                }
            }
            3 => Parts { buffer: next(), counts: next(), displacements: None, datatype: next() },
            4 => {
                return Ok(Parts { buffer: next(), counts: next(), displacements: next(), datatype: next() });
            }
            _ => return Err(wrong_length(number)),
        };
        if let Some(pair) = parts.counts.take_if(|counts| is_pair(counts)) {
            (parts.counts, parts.displacements) = pair_of(&pair)?;
        }
        Ok(parts)
    }
}

/// The two items of a pair.
#[expect(clippy::type_complexity, reason = "a pair of optional objects is what it says")]
fn pair_of<'py>(pair: &Bound<'py, PyAny>) -> PyResult<(Option<Bound<'py, PyAny>>, Option<Bound<'py, PyAny>>)> {
    let length = pair.len()?;
    if length != 2 {
        return Err(PyValueError::new_err(format!(
            "message: expecting a pair (count, displacement), got {length} items"
        )));
    }
    let given = |item: Bound<'py, PyAny>| (!item.is_none()).then_some(item);
    Ok((given(pair.get_item(0)?), given(pair.get_item(1)?)))
}

fn wrong_length(number: usize) -> PyErr {
    PyValueError::new_err(format!(
        "message: expecting 2 to 4 items ([buffer, count, displacement, datatype] or fewer), got {number}"
    ))
}

fn is_datatype(object: &Bound<'_, PyAny>) -> bool {
    object.is_instance_of::<Datatype>() || object.is_instance_of::<PyString>()
}

/// An integer argument of a message; anything with `__index__` will do.
fn integer(object: &Bound<'_, PyAny>, what: &str) -> PyResult<i64> {
    // SAFETY: `object` is a valid reference and we are attached.
    if unsafe { cpython::PyIndex_Check(object.as_ptr()) } == 0 {
        let shown = object.repr().map_or_else(|_| String::from("?"), |text| text.to_string());
        let kind = object.get_type().name()?;
        return Err(PyTypeError::new_err(format!("message: {what} must be an integer, got '{kind}': {shown}")));
    }
    object.extract()
}

/// Whether an object is one integer and not a sequence of them (a NumPy array of no dimensions is one integer).
pub(crate) fn is_integral(object: &Bound<'_, PyAny>) -> bool {
    // SAFETY: `object` is a valid reference and we are attached.
    let (index, sequence) =
        unsafe { (cpython::PyIndex_Check(object.as_ptr()) != 0, cpython::PySequence_Check(object.as_ptr()) != 0) };
    index && (!sequence || (object.len().is_err() && object.extract::<i64>().is_ok()))
}

/// The datatype of a message: a handle, and the size of an entry when it is predefined.
fn datatype_of(object: &Bound<'_, PyAny>) -> PyResult<MPI_Datatype> {
    if let Ok(datatype) = object.cast::<Datatype>() {
        return Ok(datatype.get().raw());
    }
    if let Ok(name) = object.cast::<PyString>() {
        return Ok(MPI_Datatype(format::of_string(&name.to_string_lossy())?.handle));
    }
    let kind = object.get_type().name()?;
    Err(PyTypeError::new_err(format!(
        "message: expecting an MPI.Datatype or a type string such as 'd', got '{kind}' (for a NumPy dtype use dtype.char)"
    )))
}

/// What a datatype is called, for error texts.
fn datatype_name(datatype: MPI_Datatype) -> String {
    let mut text = [0; MPI_MAX_OBJECT_NAME as usize + 1];
    let mut length = 0;
    // SAFETY: the array has the room the standard asks for; the handle is checked by MPI.
    let code = unsafe { MPI_Type_get_name(datatype, text.as_mut_ptr(), &mut length) };
    if code == MPI_SUCCESS && length > 0 { text::from_c(&text, length) } else { String::from("an unnamed datatype") }
}

/// Buffer and datatype of a message in parts.
struct Base {
    view: View,
    datatype: MPI_Datatype,
}

impl Base {
    fn of(parts: &Parts<'_>, access: Access) -> PyResult<Base> {
        let datatype = parts.datatype.as_ref().map(datatype_of).transpose()?;
        let object = match &parts.buffer {
            Some(object) if !crate::constants::is_bottom(object) => object,
            absent => {
                let Some(datatype) = datatype else {
                    let name = if absent.is_some() { "MPI.BOTTOM" } else { "None" };
                    return Err(PyKeyError::new_err(format!(
                        "message: buffer is {name}, which has no elements to tell the datatype: name it ([{name}, count, MPI.INT])"
                    )));
                };
                return Ok(Base { view: View::empty(), datatype });
            }
        };
        if !buffer::is_buffer_like(object) {
            return Err(buffer::not_a_buffer(object));
        }
        let view = View::of(object, access, datatype.is_none())?;
        view.check_reachable()?;
        let datatype = match datatype {
            Some(datatype) => datatype,
            None => MPI_Datatype(element_of(&view)?.handle),
        };
        Ok(Base { view, datatype })
    }

    /// Bytes per entry, when the datatype is predefined and dense: then nothing outside of the entries is touched.
    fn known_size(&self) -> Option<i64> {
        format::known_extent(self.datatype.0)
    }

    /// The datatype's extent, which must be positive to `purpose`.
    fn extent(&self, purpose: &str) -> PyResult<i64> {
        if let Some(size) = self.known_size() {
            return Ok(size);
        }
        if self.datatype == MPI_DATATYPE_NULL {
            return Err(PyValueError::new_err(format!("message: cannot {purpose}, datatype is null")));
        }
        let (mut lb, mut extent) = (0, 0);
        // SAFETY: both out-pointers are valid; the handle is checked by MPI.
        check(unsafe { MPI_Type_get_extent_c(self.datatype, &mut lb, &mut extent) })?;
        if extent <= 0 {
            let ub = lb + extent;
            return Err(PyValueError::new_err(format!(
                "message: cannot {purpose}, datatype extent {extent} (lb:{lb}, ub:{ub})"
            )));
        }
        Ok(extent)
    }
}

impl Room {
    #[inline]
    fn of(view: &View) -> Room {
        Room { bytes: view.bytes() as i64, bounded: !view.is_empty_address() }
    }
}

impl From<Misfit> for PyErr {
    #[cold]
    fn from(misfit: Misfit) -> PyErr {
        let text = misfit.to_string();
        match misfit {
            Misfit::Value(_) => PyValueError::new_err(text),
            Misfit::Overflow(_) => PyOverflowError::new_err(text),
        }
    }
}
