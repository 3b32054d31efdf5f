//! Memory that collectives need: scratch space, typed copies, and moving data in and out of the shared area.
#![expect(unsafe_code, reason = "raw views of memory that this module's owners keep alive, each with its argument")]

use phalanx_shm::SharedBytes;
use phalanx_shm::mem::{ConstMem, MutMem};
use phalanx_shm::ways::fill;

use crate::datatype::Datatype;
use crate::engine::memory::of_mut;
use crate::error::{Error, ErrorClass, Result, fail};

use super::schedule::{Dst, Src};

/// Bytes moved at a time when a layout has to be packed on the way.
const STAGE: usize = 8192;

/// Memory of a plan, laid out for a datatype. It must outlive every use of [`Scratch::base`].
pub(super) struct Scratch {
    /// Words, for the alignment of the largest basic types.
    words: Vec<u128>,
    /// Bytes from the start to the base address of the first element.
    origin: isize,
}

impl Scratch {
    /// Room for `count` elements of `ty`, filled with zeros.
    pub(super) fn for_elements(ty: &Datatype, count: usize) -> Result<Scratch> {
        let (low, high) = if count == 0 { (0, 0) } else { ty.span(count)? };
        let len = usize::try_from(high - low).unwrap_or(0).div_ceil(size_of::<u128>());
        let mut words = Vec::new();
        if words.try_reserve_exact(len).is_err() {
            fail!(NoMem, "no memory for {} bytes of intermediate results", len * size_of::<u128>());
        }
        words.resize(len, 0);
        Ok(Scratch { words, origin: -low })
    }

    /// The base address of the elements.
    pub(super) fn base(&mut self) -> MutMem {
        // SAFETY: the plan that owns `self` keeps it until all its operations are done or withdrawn, and nothing else
        // refers to the words; moving the vector does not move its heap memory. `span` says which bytes the elements reach.
        unsafe { MutMem::base(self.words.as_mut_ptr().cast::<u8>().wrapping_offset(self.origin)) }
    }
}

/// A part of the shared area as plain memory, for reductions and copies.
pub(super) fn shared(bytes: &SharedBytes<'_>) -> MutMem {
    // SAFETY: the area of a communicator belongs to a universe that the communicator's engine keeps mapped, and the results
    // of this function do not leave the blocking operation that asked for them.
    unsafe { bytes.as_mem() }
}

/// An empty message of type `ty`.
pub(super) fn empty(ty: &Datatype) -> Dst {
    Dst { mem: MutMem::empty(), count: 0, ty: ty.clone() }
}

/// Where the data of a contiguous type lies.
fn dense(mem: ConstMem, ty: &Datatype, from: usize, len: usize) -> ConstMem {
    mem.at(ty.true_lb() + from as isize, len)
}

fn dense_mut(mem: MutMem, ty: &Datatype, from: usize, len: usize) -> MutMem {
    mem.at(ty.true_lb() + from as isize, len)
}

fn lies_outside(e: phalanx_shm::ShmError) -> Error {
    Error::new(ErrorClass::Intern, format!("a collective reached beyond its shared area: {e}"))
}

/// Copies data between two layouts.
///
/// # Errors
/// Class `Truncate` when it does not fit.
pub(super) fn copy_typed(from: &Src, to: &Dst) -> Result<()> {
    let bytes = from.bytes();
    if bytes > to.bytes() {
        fail!(
            Truncate,
            "{bytes} bytes ({} x {}) do not fit into {} bytes ({} x {})",
            from.count,
            from.ty.name(),
            to.bytes(),
            to.count,
            to.ty.name()
        );
    }
    match (from.ty.is_contiguous(), to.ty.is_contiguous()) {
        (true, true) => {
            fill(dense(from.mem, &from.ty, 0, bytes), dense_mut(to.mem, &to.ty, 0, bytes));
        }
        _ => {
            let mut stage = [0; STAGE];
            for at in (0..bytes).step_by(STAGE) {
                let piece = &mut stage[..STAGE.min(bytes - at)];
                from.ty.pack(from.count, &from.mem, at, piece);
                to.ty.unpack(to.count, &mut to.mem.clone(), at, piece);
            }
        }
    }
    Ok(())
}

/// Writes bytes `from..from + len` of the packed data to position `at` of the area.
pub(super) fn put(area: &SharedBytes<'_>, at: usize, data: &Src, from: usize, len: usize) -> Result<()> {
    if data.ty.is_contiguous() {
        return area.write_mem(at, dense(data.mem, &data.ty, from, len)).map_err(lies_outside);
    }
    let mut stage = [0; STAGE];
    for done in (0..len).step_by(STAGE) {
        let piece = &mut stage[..STAGE.min(len - done)];
        data.ty.pack(data.count, &data.mem, from + done, piece);
        area.write(at + done, piece).map_err(lies_outside)?;
    }
    Ok(())
}

/// Reads bytes `from..from + len` of the packed data from position `at` of the area, and takes their cache lines over where
/// `take` says that this rank is alone with them.
pub(super) fn get(area: &SharedBytes<'_>, at: usize, data: &Dst, from: usize, len: usize, take: bool) -> Result<()> {
    let read = |at: usize, to: MutMem| area.read_mem(at, to, take).map_err(lies_outside);
    if data.ty.is_contiguous() {
        return read(at, dense_mut(data.mem, &data.ty, from, len));
    }
    let mut stage = [0; STAGE];
    for done in (0..len).step_by(STAGE) {
        let piece = &mut stage[..STAGE.min(len - done)];
        read(at + done, of_mut(piece))?;
        data.ty.unpack(data.count, &mut data.mem.clone(), from + done, piece);
    }
    Ok(())
}
