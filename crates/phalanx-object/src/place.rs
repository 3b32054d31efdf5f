//! Where the bytes of a message lie: what an object is written to and read from, whatever the placement.

use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList};

use crate::frame::{self, Place, Plan, Rule};
use crate::pickler::Written;
use crate::small::damaged;
use crate::view::View;

/// A message that is being made.
pub trait Outgoing {
    /// How buffers are spread over blocks here.
    const RULE: Rule;

    /// Makes the next block, which the parts of a frame and buffers that are put into it share.
    ///
    /// # Errors
    /// `MemoryError`.
    fn share(&mut self, py: Python<'_>, bytes: usize) -> PyResult<()>;

    /// Makes the next block, of one buffer.
    ///
    /// # Errors
    /// As [`Outgoing::share`].
    fn own(&mut self, py: Python<'_>, buffer: View) -> PyResult<()>;

    /// Puts a part of a frame into the shared block, or beside the blocks where the plan says so.
    ///
    /// # Errors
    /// `ValueError` where it does not fit.
    fn put(&mut self, py: Python<'_>, offset: usize, part: FramePart) -> PyResult<()>;

    /// Puts a buffer into the shared block.
    ///
    /// # Errors
    /// As [`Outgoing::put`].
    fn put_buffer(&mut self, py: Python<'_>, offset: usize, buffer: View) -> PyResult<()>;

    /// Told of the plan, before anything is put.
    ///
    /// # Errors
    /// As [`Outgoing::put`].
    fn begin(&mut self, py: Python<'_>, plan: &Plan) -> PyResult<()>;
}

/// A part of a frame.
pub enum FramePart {
    /// The table in front of the stream.
    Table(Vec<u8>),
    /// A piece of the stream.
    Stream(Py<PyBytes>),
}

/// Writes what a pickler wrote.
///
/// # Errors
/// `MemoryError`; `ValueError` when it does not fit.
pub fn write<O: Outgoing>(py: Python<'_>, written: Written, to: &mut O) -> PyResult<()> {
    let lengths: Vec<usize> = written.buffers.iter().map(View::length).collect();
    let plan = Plan::new(written.length, &lengths, O::RULE)
        .ok_or_else(|| pyo3::exceptions::PyOverflowError::new_err("the object is too large for one message"))?;
    if let Some(bytes) = plan.shared {
        to.share(py, bytes)?;
    }
    to.begin(py, &plan)?;
    let table = plan.table();
    let mut at = if plan.inline { 0 } else { O::RULE.head };
    let end = at + table.len();
    to.put(py, at, FramePart::Table(table))?;
    at = end;
    for piece in written.stream {
        let length = piece.as_bytes(py).len();
        to.put(py, at, FramePart::Stream(piece))?;
        at += length;
    }
    for (buffer, place) in written.buffers.into_iter().zip(&plan.places) {
        if plan.shared.is_some() && place.block == 0 {
            to.put_buffer(py, place.offset, buffer)?;
        } else {
            to.own(py, buffer)?;
        }
    }
    Ok(())
}

/// A message that has arrived.
pub trait Arrived {
    /// How many bytes a block has; `None` for one that there is not.
    fn length(&self, block: usize) -> Option<usize>;

    /// A buffer, as an object that keeps its memory.
    ///
    /// # Errors
    /// `MemoryError`.
    fn buffer<'py>(&mut self, py: Python<'py>, place: Place) -> PyResult<Bound<'py, PyAny>>;
}

/// The buffers of a frame, in order, and its stream.
///
/// # Errors
/// `ValueError` for a damaged frame; what [`Arrived::buffer`] raises.
pub fn read<'py, 'a>(
    py: Python<'py>,
    frame: &'a [u8],
    from: &mut impl Arrived,
) -> PyResult<(Bound<'py, PyList>, &'a [u8])> {
    let (places, stream) = frame::parse(frame, |block| from.length(block)).ok_or_else(damaged)?;
    let buffers = PyList::empty(py);
    for place in places {
        buffers.append(from.buffer(py, place)?)?;
    }
    Ok((buffers, stream))
}
