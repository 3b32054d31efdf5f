//! Subarrays and distributed arrays (MPI 5.0 §5.1.3, §5.1.4).
//!
//! Both describe a part of a dense array, and both have the extent of the whole array, so that consecutive elements of the type
//! are consecutive arrays. They are built from the dimension that varies fastest outwards; each dimension is a strided
//! pattern over the one before.

use std::sync::Arc;

use super::Datatype;
use super::contents::Recipe;
use super::layout::{Block, Layout};
use crate::error::{Error, ErrorClass, Result, fail};

/// Which dimension of an array varies fastest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// The last (`MPI_ORDER_C`).
    C,
    /// The first (`MPI_ORDER_FORTRAN`).
    Fortran,
}

/// How a dimension is dealt out to processes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Distribution {
    /// Not at all (`MPI_DISTRIBUTE_NONE`).
    None,
    /// One block for each process (`MPI_DISTRIBUTE_BLOCK`).
    Block,
    /// Blocks in turn (`MPI_DISTRIBUTE_CYCLIC`).
    Cyclic,
}

impl Order {
    /// The dimensions from the fastest to the slowest.
    fn dimensions(self, ndims: usize) -> Vec<usize> {
        match self {
            Order::C => (0..ndims).rev().collect(),
            Order::Fortran => (0..ndims).collect(),
        }
    }
}

fn too_large() -> Error {
    Error::new(ErrorClass::ValueTooLarge, "the array is larger than an address space")
}

/// Multiplies a stride by a positive number.
fn times(stride: isize, n: i64) -> Result<isize> {
    isize::try_from(n).ok().and_then(|n| n.checked_mul(stride)).ok_or_else(too_large)
}

fn same_dims(ndims: usize, others: &[(&str, usize)]) -> Result<()> {
    for (what, len) in others {
        if *len != ndims {
            fail!(Arg, "the array has {ndims} dimensions but {len} {what}; give one for each dimension");
        }
    }
    Ok(())
}

impl Datatype {
    /// The part of a dense array that begins at `starts` and has `subsizes` elements per dimension
    /// (`MPI_Type_create_subarray`).
    ///
    /// # Errors
    /// `MPI_ERR_ARG` when there is no dimension, a size is not positive or the part does not lie inside the array;
    /// `MPI_ERR_VALUE_TOO_LARGE`.
    pub fn subarray(sizes: &[i64], subsizes: &[i64], starts: &[i64], order: Order, old: &Datatype) -> Result<Datatype> {
        same_dims(sizes.len(), &[("subsizes", subsizes.len()), ("starts", starts.len())])?;
        if sizes.is_empty() {
            fail!(Arg, "a subarray needs at least one dimension");
        }
        for (i, ((&size, &sub), &start)) in sizes.iter().zip(subsizes).zip(starts).enumerate() {
            if size < 1 {
                fail!(Arg, "size {size} of dimension {i}; an array has at least one element in each dimension");
            }
            if sub < 1 || sub > size {
                fail!(Arg, "subsize {sub} of dimension {i} must be from 1 to the size {size}");
            }
            if start < 0 || start > size - sub {
                fail!(
                    Arg,
                    "start {start} of dimension {i} must be from 0 to {} (size {size}, subsize {sub})",
                    size - sub
                );
            }
        }
        let mut layout = old.shared_layout().clone();
        let mut stride = old.extent();
        let mut offset = 0isize;
        for dim in order.dimensions(sizes.len()) {
            let count = usize::try_from(subsizes[dim]).map_err(|_| too_large())?;
            layout = Layout::strided(count, 1, stride, &layout)?;
            offset = offset.checked_add(times(stride, starts[dim])?).ok_or_else(too_large)?;
            stride = times(stride, sizes[dim])?;
        }
        let layout = whole_array(layout, offset, stride)?;
        let recipe = Recipe::Subarray {
            sizes: sizes.to_vec(),
            subsizes: subsizes.to_vec(),
            starts: starts.to_vec(),
            order,
            old: old.clone(),
        };
        Ok(Datatype::assemble(layout, recipe))
    }

    /// The part that process `rank` of `size` holds of a dense array dealt out over a grid of processes
    /// (`MPI_Type_create_darray`). The grid is numbered in C order whatever `order` is. A distribution argument is a block
    /// size; without one the blocks are as large as needed, or single elements that go in turn.
    ///
    /// # Errors
    /// `MPI_ERR_ARG` for sizes that are not positive, a rank outside the grid, a grid that does not have `size` processes or a
    /// block size that does not cover its dimension; `MPI_ERR_VALUE_TOO_LARGE`.
    #[expect(clippy::too_many_arguments, reason = "the arguments of MPI_Type_create_darray")]
    pub fn darray(
        size: i64,
        rank: i64,
        gsizes: &[i64],
        distribs: &[Distribution],
        dargs: &[Option<i64>],
        psizes: &[i64],
        order: Order,
        old: &Datatype,
    ) -> Result<Datatype> {
        let ndims = gsizes.len();
        same_dims(
            ndims,
            &[("distributions", distribs.len()), ("arguments", dargs.len()), ("grid sizes", psizes.len())],
        )?;
        if ndims == 0 {
            fail!(Arg, "a distributed array needs at least one dimension");
        }
        if size < 1 || !(0..size).contains(&rank) {
            fail!(Arg, "rank {rank} of {size} processes; the rank must be from 0 to the number of processes less one");
        }
        let grid = psizes.iter().try_fold(1i64, |n, &p| if p < 1 { None } else { n.checked_mul(p) });
        if grid != Some(size) {
            fail!(Arg, "a process grid of {psizes:?} does not have {size} processes");
        }
        // Coordinates of the rank in the grid, last dimension fastest.
        let mut coordinates = vec![0; ndims];
        let mut rest = rank;
        for dim in (0..ndims).rev() {
            coordinates[dim] = rest % psizes[dim];
            rest /= psizes[dim];
        }
        let mut layout = old.shared_layout().clone();
        let mut stride = old.extent();
        let mut offset = 0isize;
        for dim in order.dimensions(ndims) {
            let deal = Deal { dim, gsize: gsizes[dim], psize: psizes[dim], coordinate: coordinates[dim] };
            let (first, dimension) = deal.layout(distribs[dim], dargs[dim], stride, &layout)?;
            layout = dimension;
            offset = offset.checked_add(times(stride, first)?).ok_or_else(too_large)?;
            stride = times(stride, gsizes[dim])?;
        }
        let layout = whole_array(layout, offset, stride)?;
        let recipe = Recipe::Darray {
            size,
            rank,
            gsizes: gsizes.to_vec(),
            distribs: distribs.to_vec(),
            dargs: dargs.to_vec(),
            psizes: psizes.to_vec(),
            order,
            old: old.clone(),
        };
        Ok(Datatype::assemble(layout, recipe))
    }
}

/// The part at `offset`, with the bounds of the whole array of `bytes` bytes.
fn whole_array(part: Arc<Layout>, offset: isize, bytes: isize) -> Result<Arc<Layout>> {
    let placed = Layout::blocks(vec![Block { at: offset, len: 1 }], &part)?;
    Layout::resized(&placed, 0, bytes)
}

/// One dimension of a distributed array, seen by one process.
struct Deal {
    dim: usize,
    gsize: i64,
    psize: i64,
    coordinate: i64,
}

impl Deal {
    /// Index of the first element held, and the held part relative to it, in a dimension of the given stride.
    fn layout(
        &self,
        distrib: Distribution,
        darg: Option<i64>,
        stride: isize,
        inner: &Arc<Layout>,
    ) -> Result<(i64, Arc<Layout>)> {
        let &Deal { dim, gsize, psize, coordinate } = self;
        if gsize < 1 {
            fail!(Arg, "size {gsize} of dimension {dim}; an array has at least one element in each dimension");
        }
        if let Some(darg @ ..1) = darg {
            fail!(
                Arg,
                "distribution argument {darg} of dimension {dim}; it must be positive or MPI_DISTRIBUTE_DFLT_DARG"
            );
        }
        // Everything is cyclic with some block size: one block of everything, one block each, or blocks in turn.
        let block = match distrib {
            Distribution::None if psize != 1 => {
                fail!(
                    Arg,
                    "dimension {dim} is not distributed but the grid has {psize} processes in it; it must have 1"
                )
            }
            Distribution::None => gsize,
            Distribution::Block => match darg {
                None => gsize.div_euclid(psize) + i64::from(gsize % psize != 0),
                Some(darg) if darg.checked_mul(psize).is_some_and(|n| n < gsize) => {
                    fail!(
                        Arg,
                        "blocks of {darg} for {psize} processes do not cover the size {gsize} of dimension {dim}"
                    )
                }
                Some(darg) => darg,
            },
            Distribution::Cyclic => darg.unwrap_or(1),
        };
        let first = block.saturating_mul(coordinate);
        if first >= gsize {
            return Ok((0, Layout::strided(0, 0, 0, inner)?));
        }
        let length = |n: i64| usize::try_from(n).map_err(|_| too_large());
        // Whole blocks of this process, and the elements of a last, shorter one.
        let round = block.saturating_mul(psize);
        let (rounds, tail) = ((gsize - first) / round, (gsize - first) % round);
        let (whole, tail) = if tail >= block { (rounds + 1, 0) } else { (rounds, tail) };
        let one = Layout::strided(length(block)?, 1, stride, inner)?;
        if tail == 0 && whole == 1 {
            return Ok((first, one));
        }
        let distance = if whole > 1 || tail > 0 && whole > 0 { times(stride, round)? } else { 0 };
        let full = (Block { at: 0, len: 1 }, Layout::strided(length(whole)?, 1, distance, &one)?);
        if tail == 0 {
            return Ok((first, full.1));
        }
        let rest = Layout::strided(length(tail)?, 1, stride, inner)?;
        let at = if whole == 0 { 0 } else { times(distance, whole)? };
        Ok((first, Layout::members(vec![full, (Block { at, len: 1 }, rest)])?))
    }
}
