//! The arithmetic of message descriptions: what fits a buffer, and where blocks lie in it. Without Python and without MPI.

use std::fmt;

/// Why entries do not lie in a buffer as described.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Misfit {
    /// A wrong value.
    Value(String),
    /// A number too large to compute with.
    Overflow(String),
}

impl fmt::Display for Misfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Misfit::Value(text) | Misfit::Overflow(text)) = self;
        write!(f, "message: {text}")
    }
}

fn value(text: String) -> Misfit {
    Misfit::Value(text)
}

/// Bytes of a buffer that entries can lie in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Room {
    /// How many.
    pub(crate) bytes: i64,
    /// Whether there is a buffer: at address 0 (`MPI.BOTTOM`) the room is not known.
    pub(crate) bounded: bool,
}

impl Room {
    /// Takes `displacement` entries of `extent` bytes, which is positive, off the front. The offset in bytes.
    ///
    /// # Errors
    /// A displacement that is negative or beyond the end.
    pub(crate) fn skip(&mut self, displacement: i64, extent: i64) -> Result<isize, Misfit> {
        if displacement < 0 {
            return Err(value(format!("negative displacement {displacement}")));
        }
        match displacement.checked_mul(extent) {
            Some(offset) if offset <= self.bytes => {
                self.bytes -= offset;
                Ok(offset as isize)
            }
            _ => Err(value(format!(
                "displacement {displacement} out of bounds, number of datatype entries {}",
                self.bytes / extent
            ))),
        }
    }

    /// How many entries of `extent` bytes, which is positive, there are in each of `blocks` equal parts (0 or 1: it is one
    /// part).
    ///
    /// # Errors
    /// When bytes are left over, or entries.
    #[inline]
    pub(crate) fn entries(&self, extent: i64, blocks: usize) -> Result<i64, Misfit> {
        let total = if extent == 1 { self.bytes } else { self.bytes / extent };
        if total * extent != self.bytes {
            return Err(value(format!(
                "cannot infer count, buffer length {} is not a multiple of datatype extent {extent}",
                self.bytes
            )));
        }
        if blocks < 2 {
            return Ok(total);
        }
        let blocks = blocks as i64;
        if total % blocks != 0 {
            return Err(value(format!(
                "cannot infer count, number of entries {total} is not a multiple of required number of blocks {blocks}"
            )));
        }
        Ok(total / blocks)
    }

    /// Refuses more entries of `size` bytes than there is room for.
    ///
    /// # Errors
    /// As it says.
    pub(crate) fn check(&self, entries: i128, size: i64) -> Result<(), Misfit> {
        let needed = entries * i128::from(size);
        if !self.bounded || needed <= i128::from(self.bytes) {
            return Ok(());
        }
        if needed > i128::from(i64::MAX) {
            return Err(Misfit::Overflow(format!("{entries} entries of {size} bytes do not fit in memory")));
        }
        Err(value(format!(
            "{entries} entries of {size} bytes need {needed} bytes, but the buffer has {} (from the displacement on)",
            self.bytes
        )))
    }

    /// Refuses blocks of entries of `size` bytes, at displacements in entries, that leave the room. Those without entries
    /// may be anywhere.
    ///
    /// # Errors
    /// As [`Room::check`]; a negative displacement.
    pub(crate) fn check_blocks(&self, counts: &[i64], displacements: &[isize], size: i64) -> Result<(), Misfit> {
        for (count, displacement) in counts.iter().zip(displacements).filter(|(count, _)| **count > 0) {
            if *displacement < 0 {
                return Err(value(format!("negative displacement {displacement}")));
            }
            self.check(i128::from(*count) + *displacement as i128, size)?;
        }
        Ok(())
    }
}

fn too_far() -> Misfit {
    Misfit::Overflow(String::from("the displacements of the blocks do not fit in memory"))
}

/// `total` entries over `blocks` ranks, as evenly as can be, the larger shares first.
pub(crate) fn spread(total: i64, blocks: usize) -> Box<[i64]> {
    let blocks = blocks as i64;
    (0..blocks).map(|block| total / blocks + i64::from(total % blocks > block)).collect()
}

/// Displacements of blocks that lie one after the other.
///
/// # Errors
/// When one cannot be written as a number.
pub(crate) fn pack(counts: &[i64]) -> Result<Box<[isize]>, Misfit> {
    let mut next = 0_i64;
    let mut place = |count: &i64| {
        let here = next;
        next = next.checked_add(*count)?;
        Some(here as isize)
    };
    // Nobody asks where the block after the last would be.
    let (last, others) = counts.split_last().map_or((None, &[][..]), |(last, others)| (Some(last), others));
    let mut places: Vec<isize> = others.iter().map(&mut place).collect::<Option<_>>().ok_or_else(too_far)?;
    if last.is_some() {
        places.push(next as isize);
    }
    Ok(places.into())
}

/// Displacements of `blocks` blocks that begin `stride` entries apart.
///
/// # Errors
/// When one cannot be written as a number.
pub(crate) fn strided(stride: i64, blocks: usize) -> Result<Box<[isize]>, Misfit> {
    (0..blocks as i64)
        .map(|block| stride.checked_mul(block).map(|place| place as isize))
        .collect::<Option<_>>()
        .ok_or_else(too_far)
}

/// Where the data of one entry lies, in bytes from its address, and how far the next entry is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Extent {
    /// The distance from one entry to the next.
    pub(crate) extent: i64,
    /// The lowest byte of data.
    pub(crate) true_lb: i64,
    /// Bytes from the lowest to the highest one.
    pub(crate) true_extent: i64,
}

impl Extent {
    /// The bytes, from the first to behind the last, that `count` entries reach; equal when there are none.
    pub(crate) fn reach(self, count: i64) -> (i128, i128) {
        if count <= 0 {
            return (0, 0);
        }
        let shift = (i128::from(count) - 1) * i128::from(self.extent);
        let low = i128::from(self.true_lb);
        (low + shift.min(0), low + i128::from(self.true_extent) + shift.max(0))
    }
}
