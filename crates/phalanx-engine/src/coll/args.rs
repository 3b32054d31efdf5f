//! Arguments of collectives: one buffer, `IN_PLACE`, or one block per rank.

use std::marker::PhantomData;

use phalanx_shm::mem::{ConstMem, MutMem};

use crate::datatype::Datatype;
use crate::engine::buffer::{Equivalence, RecvBuf, SendBuf};
use crate::engine::memory;
use crate::error::{Result, fail};

use super::schedule::{Dst, Src};

/// A buffer argument for which `MPI_IN_PLACE` may stand.
#[derive(Clone, Copy)]
pub enum Arg<T> {
    /// The buffer itself.
    Buf(T),
    /// `MPI_IN_PLACE`: the data lies (or stays) in the other buffer of the call.
    InPlace,
}

impl<T> From<T> for Arg<T> {
    fn from(buf: T) -> Arg<T> {
        Arg::Buf(buf)
    }
}

/// Where the blocks of the ranks lie in a buffer.
#[derive(Clone, Copy)]
enum Shape<'a> {
    /// `total` elements, divided evenly among the ranks.
    Even { total: usize, ty: &'a Datatype },
    /// Counts and displacements, both in elements (displacements in extents of the type).
    Vector { counts: &'a [i64], displs: &'a [i64], ty: &'a Datatype },
    /// Counts in elements, displacements in bytes, and a type for each rank.
    Each { counts: &'a [i64], displs: &'a [i64], types: &'a [Datatype] },
}

/// Data to be sent, one block for each rank.
///
/// A [`SendBuf`] converts to blocks of equal size: its count is that of *all* blocks together.
#[derive(Clone, Copy)]
pub struct SendBlocks<'b, 'a> {
    mem: ConstMem,
    shape: Shape<'a>,
    borrow: PhantomData<&'b [u8]>,
}

/// Room for received data, one block for each rank.
///
/// A [`RecvBuf`] converts to blocks of equal size: its count is that of *all* blocks together.
pub struct RecvBlocks<'b, 'a> {
    mem: MutMem,
    shape: Shape<'a>,
    borrow: PhantomData<&'b mut [u8]>,
}

impl<'b, 'a> From<SendBuf<'b, 'a>> for SendBlocks<'b, 'a> {
    fn from(buf: SendBuf<'b, 'a>) -> Self {
        SendBlocks { mem: buf.mem, shape: Shape::Even { total: buf.count, ty: buf.ty }, borrow: PhantomData }
    }
}

impl<'b, 'a> From<RecvBuf<'b, 'a>> for RecvBlocks<'b, 'a> {
    fn from(buf: RecvBuf<'b, 'a>) -> Self {
        RecvBlocks { mem: buf.mem, shape: Shape::Even { total: buf.count, ty: buf.ty }, borrow: PhantomData }
    }
}

/// Checks that every block lies inside a slice of `len` elements.
fn inside(counts: &[i64], displs: &[i64], len: usize) -> Result<()> {
    if counts.len() != displs.len() {
        fail!(Arg, "{} counts but {} displacements", counts.len(), displs.len());
    }
    for (rank, (&count, &displ)) in counts.iter().zip(displs).enumerate() {
        let end = displ.checked_add(count);
        if count < 0 || displ < 0 || end.is_none_or(|end| end > len as i64) {
            fail!(
                Count,
                "block {rank} ({count} elements from element {displ}) does not lie in the buffer of {len} elements"
            );
        }
    }
    Ok(())
}

impl<'b, 'a> SendBlocks<'b, 'a> {
    /// Blocks of a slice: for each rank a count and the index of its first element.
    ///
    /// # Errors
    /// Class `Count` or `Arg` when a block does not lie in the slice.
    pub fn vector<T: Equivalence>(data: &'b [T], counts: &'a [i64], displs: &'a [i64]) -> Result<Self> {
        inside(counts, displs, data.len())?;
        let shape = Shape::Vector { counts, displs, ty: T::datatype() };
        Ok(SendBlocks { mem: memory::of(data), shape, borrow: PhantomData })
    }
}

impl<'b, 'a> RecvBlocks<'b, 'a> {
    /// Blocks of a slice: for each rank a count and the index of its first element.
    ///
    /// # Errors
    /// Class `Count` or `Arg` when a block does not lie in the slice.
    pub fn vector<T: Equivalence>(data: &'b mut [T], counts: &'a [i64], displs: &'a [i64]) -> Result<Self> {
        inside(counts, displs, data.len())?;
        let shape = Shape::Vector { counts, displs, ty: T::datatype() };
        Ok(RecvBlocks { mem: memory::of_mut(data), shape, borrow: PhantomData })
    }
}

impl<'a> SendBlocks<'static, 'a> {
    /// Blocks of `counts[r]` elements of `ty`, `displs[r]` extents away from the base in `mem`
    /// (whose constructor promised that all bytes they reach stay valid until the operation has completed).
    pub fn raw(mem: ConstMem, counts: &'a [i64], displs: &'a [i64], ty: &'a Datatype) -> Self {
        SendBlocks { mem, shape: Shape::Vector { counts, displs, ty }, borrow: PhantomData }
    }

    /// Blocks of `counts[r]` elements of `types[r]`, `displs[r]` bytes away from the base in `mem`.
    pub fn each(mem: ConstMem, counts: &'a [i64], displs: &'a [i64], types: &'a [Datatype]) -> Self {
        SendBlocks { mem, shape: Shape::Each { counts, displs, types }, borrow: PhantomData }
    }
}

impl<'a> RecvBlocks<'static, 'a> {
    /// Blocks of `counts[r]` elements of `ty`, `displs[r]` extents away from the base in `mem`
    /// (whose constructor promised that all bytes they reach may be written until the operation has completed).
    pub fn raw(mem: MutMem, counts: &'a [i64], displs: &'a [i64], ty: &'a Datatype) -> Self {
        RecvBlocks { mem, shape: Shape::Vector { counts, displs, ty }, borrow: PhantomData }
    }

    /// Blocks of `counts[r]` elements of `types[r]`, `displs[r]` bytes away from the base in `mem`.
    pub fn each(mem: MutMem, counts: &'a [i64], displs: &'a [i64], types: &'a [Datatype]) -> Self {
        RecvBlocks { mem, shape: Shape::Each { counts, displs, types }, borrow: PhantomData }
    }
}

/// The checked, owned form of a shape.
#[derive(Clone)]
enum Layout {
    Even { count: usize, ty: Datatype },
    Vector { blocks: Vec<(usize, isize)>, ty: Datatype },
    Each { blocks: Vec<(usize, isize, Datatype)> },
}

impl Layout {
    /// One block for each of `ranks`, which are what `who` says; `base` is where displacement 0 is.
    fn of(shape: Shape<'_>, ranks: usize, who: &str, base: *const u8) -> Result<Layout> {
        let block = |rank: usize, count: i64, base: *const u8, ty: &Datatype| -> Result<usize> {
            match usize::try_from(count) {
                Ok(count) => ty.check_elements(base, count).map(|()| count),
                Err(_) => fail!(Count, "the count for {who} {rank} is {count}; counts must not be negative"),
            }
        };
        match shape {
            Shape::Even { total, ty } => {
                ty.check_elements(base, total)?;
                if ranks > 0 && !total.is_multiple_of(ranks) {
                    fail!(Count, "{total} elements cannot be divided evenly among {ranks} {who}s");
                }
                Ok(Layout::Even { count: total.checked_div(ranks).unwrap_or(0), ty: ty.clone() })
            }
            Shape::Vector { counts, displs, ty } => {
                lengths(ranks, who, counts.len(), displs.len(), ranks)?;
                let place = |rank: usize, displ: i64| match (displ as isize).checked_mul(ty.extent()) {
                    Some(place) => Ok(place),
                    None => fail!(Arg, "the displacement {displ} for {who} {rank} reaches beyond an address space"),
                };
                let blocks = counts
                    .iter()
                    .zip(displs)
                    .enumerate()
                    .map(|(rank, (&count, &displ))| Ok((block(rank, count, base, ty)?, place(rank, displ)?)))
                    .collect::<Result<_>>()?;
                Ok(Layout::Vector { blocks, ty: ty.clone() })
            }
            Shape::Each { counts, displs, types } => {
                lengths(ranks, who, counts.len(), displs.len(), types.len())?;
                let blocks = counts
                    .iter()
                    .zip(displs)
                    .zip(types)
                    .enumerate()
                    .map(|(rank, ((&count, &displ), ty))| {
                        // From a null base a displacement may be an address.
                        let count = block(rank, count, base.wrapping_offset(displ as isize), ty)?;
                        Ok((count, displ as isize, ty.clone()))
                    })
                    .collect::<Result<_>>()?;
                Ok(Layout::Each { blocks })
            }
        }
    }

    /// Bytes of all blocks, of so many ranks or neighbours.
    fn bytes(&self, ranks: usize) -> usize {
        let of = |(count, ty): (usize, &Datatype)| count.saturating_mul(ty.size());
        match self {
            Layout::Even { count, ty } => of((*count, ty)).saturating_mul(ranks),
            Layout::Vector { blocks, ty } => blocks.iter().map(|(count, _)| of((*count, ty))).sum(),
            Layout::Each { blocks } => blocks.iter().map(|(count, _, ty)| of((*count, ty))).sum(),
        }
    }

    /// Offset in bytes, count and type of the block of `rank`.
    fn block(&self, rank: usize) -> (isize, usize, &Datatype) {
        match self {
            Layout::Even { count, ty } => ((rank * count) as isize * ty.extent(), *count, ty),
            Layout::Vector { blocks, ty } => (blocks[rank].1, blocks[rank].0, ty),
            Layout::Each { blocks } => (blocks[rank].1, blocks[rank].0, &blocks[rank].2),
        }
    }
}

fn lengths(ranks: usize, who: &str, counts: usize, displs: usize, types: usize) -> Result<()> {
    if counts != ranks || displs != ranks || types != ranks {
        fail!(
            Arg,
            "{ranks} {who}s need as many blocks, but there are {counts} counts, {displs} displacements and {types} types"
        );
    }
    Ok(())
}

/// One block for each rank or neighbour, to be read.
#[derive(Clone)]
pub(crate) struct SrcBlocks {
    mem: ConstMem,
    layout: Layout,
}

impl SrcBlocks {
    /// Bytes of all blocks, of so many ranks or neighbours.
    pub(crate) fn bytes(&self, ranks: usize) -> usize {
        self.layout.bytes(ranks)
    }

    pub(crate) fn new(blocks: SendBlocks<'_, '_>, ranks: usize) -> Result<SrcBlocks> {
        SrcBlocks::with(blocks, ranks, "rank")
    }

    /// One block for each neighbour.
    pub(crate) fn around(blocks: SendBlocks<'_, '_>, neighbours: usize) -> Result<SrcBlocks> {
        SrcBlocks::with(blocks, neighbours, "neighbour")
    }

    fn with(blocks: SendBlocks<'_, '_>, n: usize, who: &str) -> Result<SrcBlocks> {
        let layout = Layout::of(blocks.shape, n, who, blocks.mem.as_ptr())?;
        Ok(SrcBlocks { mem: blocks.mem, layout })
    }

    pub(crate) fn block(&self, rank: usize) -> Src {
        let (at, count, ty) = self.layout.block(rank);
        Src { mem: self.mem.at(at, usize::MAX), count, ty: ty.clone() }
    }
}

/// One block for each rank or neighbour, to be written.
#[derive(Clone)]
pub(crate) struct DstBlocks {
    mem: MutMem,
    layout: Layout,
}

impl DstBlocks {
    /// Bytes of all blocks, of so many ranks or neighbours.
    pub(crate) fn bytes(&self, ranks: usize) -> usize {
        self.layout.bytes(ranks)
    }

    pub(crate) fn new(blocks: RecvBlocks<'_, '_>, ranks: usize) -> Result<DstBlocks> {
        DstBlocks::with(blocks, ranks, "rank")
    }

    /// One block for each neighbour.
    pub(crate) fn around(blocks: RecvBlocks<'_, '_>, neighbours: usize) -> Result<DstBlocks> {
        DstBlocks::with(blocks, neighbours, "neighbour")
    }

    fn with(blocks: RecvBlocks<'_, '_>, n: usize, who: &str) -> Result<DstBlocks> {
        let layout = Layout::of(blocks.shape, n, who, blocks.mem.as_ptr())?;
        Ok(DstBlocks { mem: blocks.mem, layout })
    }

    pub(crate) fn block(&self, rank: usize) -> Dst {
        let (at, count, ty) = self.layout.block(rank);
        Dst { mem: self.mem.at(at, usize::MAX), count, ty: ty.clone() }
    }
}

impl DstBlocks {
    /// Consecutive blocks of `counts` elements.
    pub(crate) fn consecutive(whole: &Dst, counts: &[usize]) -> DstBlocks {
        let extent = whole.ty.extent();
        let mut at = 0;
        let block = |&count: &usize| {
            let start = at as isize * extent;
            at += count;
            (count, start)
        };
        let blocks = counts.iter().map(block).collect();
        DstBlocks { mem: whole.mem, layout: Layout::Vector { blocks, ty: whole.ty.clone() } }
    }

    /// The same places, for reading.
    pub(crate) fn as_src(&self) -> SrcBlocks {
        SrcBlocks { mem: self.mem.as_const(), layout: self.layout.clone() }
    }

    /// All `n` blocks in one piece, if they are equal and follow each other.
    pub(crate) fn whole(&self, n: usize) -> Option<Dst> {
        match &self.layout {
            Layout::Even { count, ty } => Some(Dst { mem: self.mem, count: n * count, ty: ty.clone() }),
            Layout::Vector { .. } | Layout::Each { .. } => None,
        }
    }
}

impl Src {
    pub(crate) fn new(buf: SendBuf<'_, '_>) -> Result<Src> {
        buf.ty.check_elements(buf.mem.as_ptr(), buf.count)?;
        Ok(Src { mem: buf.mem, count: buf.count, ty: buf.ty.clone() })
    }
}

impl Dst {
    pub(crate) fn new(buf: RecvBuf<'_, '_>) -> Result<Dst> {
        buf.ty.check_elements(buf.mem.as_ptr(), buf.count)?;
        Ok(Dst { mem: buf.mem, count: buf.count, ty: buf.ty.clone() })
    }
}
