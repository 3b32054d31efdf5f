//! The constructors of derived types (MPI 5.0 §5.1.2 to §5.1.11), arrays apart.
//!
//! Arguments are checked as given: negative counts and block lengths are errors, and so is a type whose size or bounds do not fit
//! an address space. Zero is allowed everywhere; blocks without elements contribute nothing, bounds included.

use super::contents::Recipe;
use super::layout::{Block, Layout};
use super::{Basic, Datatype};
use crate::error::{Error, ErrorClass, Result, fail};

/// A count argument as a length.
fn count_of(what: &str, value: i64) -> Result<usize> {
    usize::try_from(value)
        .map_err(|_| Error::new(ErrorClass::Count, format!("{what} is {value}; a count is zero or more")))
}

/// Block lengths as lengths.
fn block_of(index: Option<usize>, value: i64) -> Result<usize> {
    usize::try_from(value).map_err(|_| {
        let which = index.map_or(String::from("the block length"), |i| format!("block length {i}"));
        Error::new(ErrorClass::Arg, format!("{which} is {value}; it must be zero or more"))
    })
}

fn same_length(blocks: &[i64], displs: &[i64]) -> Result<()> {
    if blocks.len() != displs.len() {
        fail!(
            Arg,
            "{} block lengths but {} displacements; give one of each for every block",
            blocks.len(),
            displs.len()
        );
    }
    Ok(())
}

/// A displacement in elements as bytes.
fn in_bytes(what: &str, elements: i64, extent: isize) -> Result<isize> {
    isize::try_from(elements).ok().and_then(|n| n.checked_mul(extent)).ok_or_else(|| {
        Error::new(
            ErrorClass::ValueTooLarge,
            format!("{what} of {elements} elements of {extent} bytes does not fit an address space"),
        )
    })
}

fn blocks_of(blocks: &[i64], displs: &[i64], scale: Option<isize>) -> Result<Vec<Block>> {
    same_length(blocks, displs)?;
    let mut out = Vec::with_capacity(blocks.len());
    for (i, (&len, &displ)) in blocks.iter().zip(displs).enumerate() {
        let at = match scale {
            Some(extent) => in_bytes("a displacement", displ, extent)?,
            None => displ as isize,
        };
        out.push(Block { at, len: block_of(Some(i), len)? });
    }
    Ok(out)
}

impl Datatype {
    /// A new type with the same type map (`MPI_Type_dup`): name empty, committed if this one is.
    ///
    /// # Errors
    /// None today; the signature leaves room for resource limits.
    pub fn dup(&self) -> Result<Datatype> {
        let new = Datatype::assemble(self.shared_layout().clone(), Recipe::Dup(self.clone()));
        if self.is_committed() {
            new.commit();
        }
        Ok(new)
    }

    /// `count` elements side by side (`MPI_Type_contiguous`).
    ///
    /// # Errors
    /// `MPI_ERR_COUNT` for a negative count, `MPI_ERR_VALUE_TOO_LARGE` when the type does not fit an address space.
    pub fn contiguous(count: i64, old: &Datatype) -> Result<Datatype> {
        let layout = Layout::strided(1, count_of("count", count)?, 0, old.shared_layout())?;
        Ok(Datatype::assemble(layout, Recipe::Contiguous { count, old: old.clone() }))
    }

    /// `count` blocks of `block` elements, their starts `stride` elements apart (`MPI_Type_vector`).
    ///
    /// # Errors
    /// `MPI_ERR_COUNT`, `MPI_ERR_ARG` for negative numbers, `MPI_ERR_VALUE_TOO_LARGE`.
    pub fn vector(count: i64, block: i64, stride: i64, old: &Datatype) -> Result<Datatype> {
        let bytes = in_bytes("a stride", stride, old.extent())?;
        let layout = Layout::strided(count_of("count", count)?, block_of(None, block)?, bytes, old.shared_layout())?;
        Ok(Datatype::assemble(layout, Recipe::Vector { count, block, stride, old: old.clone() }))
    }

    /// `count` blocks of `block` elements, their starts `stride` bytes apart (`MPI_Type_create_hvector`).
    ///
    /// # Errors
    /// `MPI_ERR_COUNT`, `MPI_ERR_ARG` for negative numbers, `MPI_ERR_VALUE_TOO_LARGE`.
    pub fn hvector(count: i64, block: i64, stride: i64, old: &Datatype) -> Result<Datatype> {
        let (n, len) = (count_of("count", count)?, block_of(None, block)?);
        let layout = Layout::strided(n, len, stride as isize, old.shared_layout())?;
        Ok(Datatype::assemble(layout, Recipe::Hvector { count, block, stride, old: old.clone() }))
    }

    /// Blocks of different lengths, displacements in elements (`MPI_Type_indexed`).
    ///
    /// # Errors
    /// `MPI_ERR_ARG` for a negative block length or lists of different lengths, `MPI_ERR_VALUE_TOO_LARGE`.
    pub fn indexed(blocks: &[i64], displs: &[i64], old: &Datatype) -> Result<Datatype> {
        let layout = Layout::blocks(blocks_of(blocks, displs, Some(old.extent()))?, old.shared_layout())?;
        let (blocks, displs) = (blocks.to_vec(), displs.to_vec());
        Ok(Datatype::assemble(layout, Recipe::Indexed { blocks, displs, old: old.clone() }))
    }

    /// Blocks of different lengths, displacements in bytes (`MPI_Type_create_hindexed`).
    ///
    /// # Errors
    /// `MPI_ERR_ARG` for a negative block length or lists of different lengths, `MPI_ERR_VALUE_TOO_LARGE`.
    pub fn hindexed(blocks: &[i64], displs: &[i64], old: &Datatype) -> Result<Datatype> {
        let layout = Layout::blocks(blocks_of(blocks, displs, None)?, old.shared_layout())?;
        let (blocks, displs) = (blocks.to_vec(), displs.to_vec());
        Ok(Datatype::assemble(layout, Recipe::Hindexed { blocks, displs, old: old.clone() }))
    }

    /// Blocks of one length, displacements in elements (`MPI_Type_create_indexed_block`).
    ///
    /// # Errors
    /// `MPI_ERR_ARG` for a negative block length, `MPI_ERR_VALUE_TOO_LARGE`.
    pub fn indexed_block(block: i64, displs: &[i64], old: &Datatype) -> Result<Datatype> {
        let blocks = equal_blocks(block, displs, Some(old.extent()))?;
        let layout = Layout::blocks(blocks, old.shared_layout())?;
        Ok(Datatype::assemble(layout, Recipe::IndexedBlock { block, displs: displs.to_vec(), old: old.clone() }))
    }

    /// Blocks of one length, displacements in bytes (`MPI_Type_create_hindexed_block`).
    ///
    /// # Errors
    /// `MPI_ERR_ARG` for a negative block length, `MPI_ERR_VALUE_TOO_LARGE`.
    pub fn hindexed_block(block: i64, displs: &[i64], old: &Datatype) -> Result<Datatype> {
        let layout = Layout::blocks(equal_blocks(block, displs, None)?, old.shared_layout())?;
        Ok(Datatype::assemble(layout, Recipe::HindexedBlock { block, displs: displs.to_vec(), old: old.clone() }))
    }

    /// Blocks of different types, displacements in bytes (`MPI_Type_create_struct`).
    ///
    /// # Errors
    /// `MPI_ERR_ARG` for a negative block length or lists of different lengths, `MPI_ERR_VALUE_TOO_LARGE`.
    pub fn structure(blocks: &[i64], displs: &[i64], types: &[Datatype]) -> Result<Datatype> {
        if blocks.len() != types.len() {
            fail!(Arg, "{} block lengths but {} types; give one of each for every block", blocks.len(), types.len());
        }
        let placed = blocks_of(blocks, displs, None)?;
        let members = placed.into_iter().zip(types.iter().map(|ty| ty.shared_layout().clone())).collect();
        let layout = Layout::members(members)?;
        let (blocks, displs) = (blocks.to_vec(), displs.to_vec());
        Ok(Datatype::assemble(layout, Recipe::Struct { blocks, displs, types: types.to_vec() }))
    }

    /// The same data with another lower bound and extent (`MPI_Type_create_resized`).
    ///
    /// # Errors
    /// `MPI_ERR_VALUE_TOO_LARGE` when the bounds do not fit an address space.
    pub fn resized(old: &Datatype, lb: i64, extent: i64) -> Result<Datatype> {
        let layout = Layout::resized(old.shared_layout(), lb as isize, extent as isize)?;
        Ok(Datatype::assemble(layout, Recipe::Resized { lb, extent, old: old.clone() }))
    }

    /// The predefined pair of a value and an index (`MPI_Type_get_value_index`); `None` when there is none.
    pub fn value_index(value: &Datatype, index: &Datatype) -> Option<&'static Datatype> {
        use Basic::*;
        let pair = match (value.basic()?, index.basic()?) {
            (Float, Int) => FloatInt,
            (Double, Int) => DoubleInt,
            (Long, Int) => LongInt,
            (Int, Int) => TwoInt,
            (Short, Int) => ShortInt,
            (LongDouble, Int) => LongDoubleInt,
            (Real, Real) => TwoReal,
            (DoublePrecision, DoublePrecision) => TwoDoublePrecision,
            (Integer, Integer) => TwoInteger,
            _ => return None,
        };
        Some(Datatype::predefined(pair))
    }
}

fn equal_blocks(block: i64, displs: &[i64], scale: Option<isize>) -> Result<Vec<Block>> {
    let len = block_of(None, block)?;
    let place = |&displ: &i64| match scale {
        Some(extent) => in_bytes("a displacement", displ, extent),
        None => Ok(displ as isize),
    };
    displs.iter().map(|displ| Ok(Block { at: place(displ)?, len })).collect()
}
