//! The immutable shape of a datatype: its type map as a tree, with sizes and bounds computed at construction.
//!
//! Bounds follow the standard (MPI 5.0 §5.1.7): lower and upper bound of a type are the lowest and highest bounds of the elements in
//! it. The upper bound of a structure is rounded up so that its extent is a multiple of the strictest alignment (the
//! "epsilon"), as a C compiler would; other constructors need no rounding, since their elements are rounded already
//! (and where a stride is no multiple of the alignment, users expect the extent they wrote, as in MPICH).
//! A type with explicit bounds (resized, subarray, darray) hands them up as markers: a type that contains marked types
//! takes its bounds from the markers alone, without epsilon.

use std::sync::{Arc, OnceLock};

use super::Basic;
use super::program::Program;
use super::signature;
use crate::error::{Error, ErrorClass, Result};

/// Types nested deeper than this are refused: building, walking and dropping them recurses.
const MAX_DEPTH: u32 = 1024;

/// `len` copies of the child, laid side by side, `at` bytes from the origin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Block {
    pub(super) at: isize,
    pub(super) len: usize,
}

/// The type map as a tree.
#[derive(Debug)]
pub(super) enum Shape {
    /// One predefined element.
    Basic(Basic),
    /// The child's type map, with other bounds or another life (resized).
    Same(Arc<Layout>),
    /// `count` blocks of `block` children, the blocks `stride` bytes apart.
    Strided { count: usize, block: usize, stride: isize, child: Arc<Layout> },
    /// Blocks of the same child.
    Blocks { blocks: Box<[Block]>, child: Arc<Layout> },
    /// Blocks of different children.
    Struct { members: Box<[(Block, Arc<Layout>)]> },
}

/// A shape and what follows from it.
#[derive(Debug)]
pub(super) struct Layout {
    pub(super) shape: Shape,
    /// Bytes of data.
    pub(super) size: usize,
    pub(super) lb: isize,
    pub(super) ub: isize,
    /// Lowest and one past the highest byte of data; `None` when there is no data.
    pub(super) data: Option<(isize, isize)>,
    /// The bounds were given and are not derived from the data.
    pub(super) bounded: bool,
    /// Strictest alignment of the basic elements (1 when there are none).
    pub(super) align: usize,
    /// Number of basic elements.
    pub(super) elements: usize,
    /// The basic type of all elements, when it is the same one.
    pub(super) uniform: Option<Basic>,
    pub(super) signature: u32,
    depth: u32,
    program: OnceLock<Program>,
}

/// Adds up what the blocks of a type contribute.
struct Sum {
    size: usize,
    elements: usize,
    align: usize,
    depth: u32,
    /// Range of the data.
    data: Option<(isize, isize)>,
    /// Range of the bounds of children that were derived from data.
    bounds: Option<(isize, isize)>,
    /// Range of the explicit bounds of marked children.
    marks: Option<(isize, isize)>,
    signature: signature::Builder,
}

fn too_large() -> Error {
    Error::new(
        ErrorClass::ValueTooLarge,
        "the datatype would be larger than an address space (its size or a bound does not fit 63 bits)",
    )
}

fn widen(range: &mut Option<(isize, isize)>, low: isize, high: isize) {
    *range = Some(range.map_or((low, high), |(l, h)| (l.min(low), h.max(high))));
}

impl Sum {
    fn new() -> Sum {
        Sum {
            size: 0,
            elements: 0,
            align: 1,
            depth: 0,
            data: None,
            bounds: None,
            marks: None,
            signature: signature::Builder::new(),
        }
    }

    /// Adds `count` blocks, `stride` bytes apart, the first at `block.at`, of `block.len` children each.
    fn add(&mut self, count: usize, block: Block, stride: isize, child: &Layout) -> Result<()> {
        // From the inside out, so that flattening a deep type later does not recurse.
        child.program();
        self.depth = self.depth.max(child.depth);
        if count == 0 || block.len == 0 {
            return Ok(());
        }
        let copies = count.checked_mul(block.len).ok_or_else(too_large)?;
        let times = |n: usize| n.checked_mul(copies).filter(|&n| isize::try_from(n).is_ok()).ok_or_else(too_large);
        self.size = self.size.checked_add(times(child.size)?).ok_or_else(too_large)?;
        self.elements = self.elements.checked_add(times(child.elements)?).ok_or_else(too_large)?;
        // Positions of the first copy, and how far the others lie below and above it.
        let reach =
            |n: usize, step: isize| isize::try_from(n - 1).ok().and_then(|n| n.checked_mul(step)).ok_or_else(too_large);
        let (inner, outer) = (reach(block.len, child.extent()?)?, reach(count, stride)?);
        let add = |a: isize, b: isize| a.checked_add(b).ok_or_else(too_large);
        let first = add(block.at, add(inner.min(0), outer.min(0))?)?;
        let last = add(block.at, add(inner.max(0), outer.max(0))?)?;
        if let Some((low, high)) = child.data {
            widen(&mut self.data, add(first, low)?, add(last, high)?);
            self.align = self.align.max(child.align);
        }
        let range = match (child.bounded, child.data) {
            (true, _) => &mut self.marks,
            (false, Some(_)) => &mut self.bounds,
            (false, None) => return Ok(()),
        };
        widen(range, add(first, child.lb)?, add(last, child.ub)?);
        self.signature.add(child.signature, times(child.elements)?);
        Ok(())
    }

    /// The layout; `pad` rounds bounds derived from data up to the alignment.
    fn finish(self, shape: Shape, pad: bool) -> Result<Arc<Layout>> {
        if isize::try_from(self.size).is_err() {
            return Err(too_large());
        }
        if self.depth >= MAX_DEPTH {
            return Err(Error::new(
                ErrorClass::Type,
                format!("datatypes can be nested {MAX_DEPTH} deep; build this one from fewer levels"),
            ));
        }
        let (lb, ub) = match (self.marks, self.bounds) {
            (Some(marks), _) => marks,
            (None, Some((low, high))) if pad => {
                let extent = high.checked_sub(low).ok_or_else(too_large)?;
                let align = self.align as isize;
                let epsilon = (align - extent % align) % align;
                (low, high.checked_add(epsilon).ok_or_else(too_large)?)
            }
            (None, Some(bounds)) => bounds,
            (None, None) => (0, 0),
        };
        if ub.checked_sub(lb).is_none() {
            return Err(too_large());
        }
        Ok(Arc::new(Layout {
            shape,
            size: self.size,
            lb,
            ub,
            data: self.data,
            bounded: self.marks.is_some(),
            align: self.align,
            elements: self.elements,
            uniform: self.signature.uniform(),
            signature: self.signature.finish(),
            depth: self.depth + 1,
            program: OnceLock::new(),
        }))
    }
}

impl Layout {
    pub(super) fn basic(basic: Basic) -> Arc<Layout> {
        let extent = basic.extent() as isize;
        Arc::new(Layout {
            shape: Shape::Basic(basic),
            size: basic.size(),
            lb: 0,
            ub: extent,
            data: Some((0, basic.true_extent() as isize)),
            bounded: false,
            align: basic.align(),
            elements: basic.elements(),
            uniform: Some(basic),
            signature: signature::of(basic),
            depth: 0,
            program: OnceLock::new(),
        })
    }

    pub(super) fn strided(count: usize, block: usize, stride: isize, child: &Arc<Layout>) -> Result<Arc<Layout>> {
        let mut sum = Sum::new();
        sum.add(count, Block { at: 0, len: block }, stride, child)?;
        sum.finish(Shape::Strided { count, block, stride, child: child.clone() }, false)
    }

    pub(super) fn blocks(blocks: Vec<Block>, child: &Arc<Layout>) -> Result<Arc<Layout>> {
        let mut sum = Sum::new();
        sum.depth = child.depth;
        for &block in &blocks {
            sum.add(1, block, 0, child)?;
        }
        sum.finish(Shape::Blocks { blocks: blocks.into(), child: child.clone() }, false)
    }

    pub(super) fn members(members: Vec<(Block, Arc<Layout>)>) -> Result<Arc<Layout>> {
        let mut sum = Sum::new();
        for (block, child) in &members {
            sum.add(1, *block, 0, child)?;
        }
        sum.finish(Shape::Struct { members: members.into() }, true)
    }

    /// The same data with the bounds `lb` and `lb + extent`.
    pub(super) fn resized(child: &Arc<Layout>, lb: isize, extent: isize) -> Result<Arc<Layout>> {
        let ub = lb.checked_add(extent).ok_or_else(too_large)?;
        let mut sum = Sum::new();
        sum.add(1, Block { at: 0, len: 1 }, 0, child)?;
        sum.marks = Some((lb, ub));
        sum.finish(Shape::Same(child.clone()), false)
    }

    /// Distance from one element to the next.
    pub(super) fn extent(&self) -> Result<isize> {
        self.ub.checked_sub(self.lb).ok_or_else(too_large)
    }

    /// The flattened form, made on first use.
    pub(super) fn program(&self) -> &Program {
        self.program.get_or_init(|| Program::of(self))
    }
}
