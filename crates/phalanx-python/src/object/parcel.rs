//! An object on its way out: pieces of memory that are one message.

use crate::buffer::View;
use crate::error::check;
use crate::extras;
use crate::ffi::*;
use pyo3::prelude::*;

use super::block::Memory;
use super::frame::Layout;

/// A pickle stream and its out-of-band buffers, sent from where they lie.
pub(crate) struct Parcel {
    stream: View,
    buffers: Vec<View>,
    /// The frame around them; `None` for a bare stream.
    frame: Option<(Layout, Vec<u8>)>,
}

/// The bytes of a view.
pub(crate) fn bytes_of(view: &View) -> &[u8] {
    let length = view.bytes().unsigned_abs();
    if length == 0 {
        return &[];
    }
    // SAFETY: the view holds that much readable memory as long as it lives. Python code that changes the memory
    // meanwhile would break any reader of a buffer; a stream of pickle is an immutable `bytes`.
    unsafe { std::slice::from_raw_parts(view.address().cast_const().cast(), length) }
}

/// Fills the gaps between the parts of a frame.
static ZEROS: [u8; 64] = [0; 64];

impl Parcel {
    /// A message of a stream and buffers; `None` when it would be too large.
    pub(crate) fn new(stream: View, buffers: Vec<View>) -> Option<Parcel> {
        let frame = if buffers.is_empty() {
            None
        } else {
            let lengths = buffers.iter().map(|buffer| buffer.bytes().unsigned_abs());
            let layout = Layout::new(stream.bytes().unsigned_abs(), lengths)?;
            let head = layout.head();
            Some((layout, head))
        };
        Some(Parcel { stream, buffers, frame })
    }

    /// A message of no bytes.
    pub(crate) fn empty() -> Parcel {
        Parcel { stream: View::empty(), buffers: Vec::new(), frame: None }
    }

    /// Copies the whole message into memory that has room for it.
    pub(crate) fn copy_to(&self, memory: &Memory) {
        let mut at = memory.address().cast::<u8>();
        let mut copy = |address: *const u8, length: usize| {
            // SAFETY: the pieces are readable as long as `self` lives and add up to `bytes()`, for which there is room.
            unsafe {
                std::ptr::copy_nonoverlapping(address, at, length);
                at = at.add(length);
            }
        };
        match &self.frame {
            None => copy(self.stream.address().cast_const().cast(), self.bytes()),
            Some((layout, head)) => {
                for (address, length) in self.pieces(layout, head) {
                    copy(std::ptr::with_exposed_provenance(address.unsigned_abs()), length.unsigned_abs() as usize);
                }
            }
        }
    }

    /// Bytes of the whole message.
    pub(crate) fn bytes(&self) -> usize {
        self.frame.as_ref().map_or(self.stream.bytes().unsigned_abs(), |(layout, _)| layout.total)
    }

    /// The message where it is one piece of memory.
    pub(crate) fn contiguous(&self) -> Option<&[u8]> {
        self.frame.is_none().then(|| bytes_of(&self.stream))
    }

    /// The pieces in order: address and length.
    fn pieces(&self, layout: &Layout, head: &[u8]) -> Vec<(MPI_Aint, MPI_Count)> {
        let mut pieces = vec![
            (head.as_ptr().expose_provenance() as MPI_Aint, head.len() as MPI_Count),
            (self.stream.address().expose_provenance() as MPI_Aint, layout.stream.1 as MPI_Count),
        ];
        let mut end = layout.stream.0 + layout.stream.1;
        for (buffer, (start, length)) in self.buffers.iter().zip(&layout.buffers) {
            pieces.push((ZEROS.as_ptr().expose_provenance() as MPI_Aint, (start - end) as MPI_Count));
            pieces.push((buffer.address().expose_provenance() as MPI_Aint, *length as MPI_Count));
            end = start + length;
        }
        pieces.retain(|piece| piece.1 > 0);
        pieces
    }

    /// Calls `send` with the message as address, count and datatype.
    ///
    /// A frame is described by a derived datatype over absolute addresses, so that no byte is copied to gather it. The
    /// datatype is freed after the call, which MPI allows even when the operation is still under way; the parcel itself
    /// must live until the operation is complete.
    ///
    /// # Errors
    /// What `send` returned, or `MPI.Exception` when the datatype cannot be made.
    pub(crate) fn describe<T>(&self, send: impl FnOnce(*const c_void, MPI_Count, MPI_Datatype) -> T) -> PyResult<T> {
        let Some((layout, head)) = &self.frame else {
            return Ok(send(self.stream.address(), self.stream.bytes() as MPI_Count, MPI_BYTE));
        };
        let pieces = self.pieces(layout, head);
        let lengths: Vec<MPI_Count> = pieces.iter().map(|piece| piece.1).collect();
        let places: Vec<MPI_Count> = pieces.iter().map(|piece| piece.0 as MPI_Count).collect();
        let count = pieces.len() as MPI_Count;
        let mut whole = MPI_DATATYPE_NULL;
        // SAFETY: both arrays have `count` items; `whole` is valid for the write.
        check(unsafe { MPI_Type_create_hindexed_c(count, lengths.as_ptr(), places.as_ptr(), MPI_BYTE, &mut whole) })?;
        // SAFETY: the datatype was just made.
        let committed = check(unsafe { MPI_Type_commit(&mut whole) });
        let sent = committed.map(|()| send(MPI_BOTTOM as *const c_void, 1, whole));
        // SAFETY: the datatype is ours; operations under way keep what they need of it.
        check(unsafe { MPI_Type_free(&mut whole) })?;
        sent
    }

    /// As [`Parcel::describe`], for a collective operation, which must be over when `call` returns.
    ///
    /// Only the embedded engine gets the derived datatype: broadcasts of such a one end in a segmentation fault in MPICH
    /// 5.0.2. Other libraries get a contiguous copy.
    ///
    /// # Errors
    /// As [`Parcel::describe`]; `MemoryError`.
    pub(crate) fn describe_collective<T>(
        &self,
        call: impl FnOnce(*const c_void, MPI_Count, MPI_Datatype) -> T,
    ) -> PyResult<T> {
        if self.frame.is_none() || extras::is_embedded() {
            return self.describe(call);
        }
        let memory = Memory::for_message(self.bytes())?;
        self.copy_to(&memory);
        Ok(call(memory.address(), memory.length() as MPI_Count, MPI_BYTE))
    }
}
