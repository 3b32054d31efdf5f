//! Views (MPI 5.0 §14.3): which bytes of a file a process sees, and as elements of which type.
//!
//! The file type, repeated from the displacement on, is a stream of data bytes; position `p` of the stream is one byte of the
//! file. The datatype's flattened program finds it by division, so an access begins anywhere at the same cost.

use crate::datatype::{Basic, Datatype, Segments};
use crate::error::{Error, ErrorClass, Result, fail};

use super::represent::Representation;

/// What a process sees of a file.
#[derive(Clone)]
pub struct View {
    /// Byte at which the first file type begins.
    pub displacement: u64,
    /// The element type, as the program gave it.
    pub etype: Datatype,
    /// The file type, as the program gave it.
    pub filetype: Datatype,
    /// How elements are stored.
    pub representation: Representation,
    /// The file type as it lies in the file.
    stored: Datatype,
    /// Bytes of an element in the file, never 0.
    unit: u64,
}

/// A piece of a file: where it begins, and its bytes.
pub(super) type Piece = (u64, usize);

/// The pieces of an access, in order.
pub(super) struct Pieces {
    segments: Segments,
    displacement: u64,
}

/// Where a piece at a place of the view lies. The displacements of a view are not negative, which was seen when it was made.
#[inline]
fn placed(displacement: u64, at: isize, len: usize) -> Piece {
    (displacement + at.unsigned_abs() as u64, len)
}

impl Pieces {
    /// Puts the next pieces into a list in place of what it has, as many as `most`.
    pub(super) fn list(&mut self, most: usize, list: &mut Vec<Piece>) {
        let displacement = self.displacement;
        list.clear();
        self.segments.list(most, |at, len| list.push(placed(displacement, at, len)));
    }
}

impl Iterator for Pieces {
    type Item = Piece;

    fn next(&mut self) -> Option<Piece> {
        self.segments.next().map(|(at, len)| placed(self.displacement, at, len))
    }
}

impl View {
    /// The view that a file has when it is opened: all its bytes.
    pub(super) fn bytes() -> View {
        let byte = Datatype::predefined(Basic::Byte).clone();
        View {
            displacement: 0,
            etype: byte.clone(),
            filetype: byte.clone(),
            representation: Representation::Native,
            stored: byte,
            unit: 1,
        }
    }

    /// A view, if there can be such a one; `written` tells whether the file may be written through it.
    pub(super) fn new(
        displacement: i64,
        etype: Datatype,
        filetype: Datatype,
        representation: Representation,
        written: bool,
    ) -> Result<View> {
        let Ok(displacement) = u64::try_from(displacement) else {
            fail!(Arg, "the displacement is {displacement}; it must not be negative");
        };
        etype.check_committed()?;
        filetype.check_committed()?;
        let stored = representation.stored(&filetype)?;
        let unit = representation.stored(&etype)?.size();
        if unit == 0 {
            fail!(Type, "the element type {etype} has no data");
        }
        if stored.size() == 0 || !stored.size().is_multiple_of(unit) {
            fail!(
                Type,
                "the file type has {} bytes of data; it must have a multiple of the {unit} bytes of the element type",
                stored.size()
            );
        }
        if stored.extent() < 0 || stored.true_lb() < 0 {
            fail!(Type, "the displacements of the file type must not be negative");
        }
        let mut end = 0;
        let mut before = 0;
        for (at, len) in stored.segments(1) {
            if at < before || (written && at < end) {
                fail!(
                    Type,
                    "the displacements of the file type must rise, and no byte may be there twice where files are written"
                );
            }
            before = at;
            end = at.saturating_add_unsigned(len);
        }
        Ok(View { displacement, etype, filetype, representation, stored, unit: unit as u64 })
    }

    /// Bytes of an element in the file.
    pub(super) fn unit(&self) -> u64 {
        self.unit
    }

    /// Whether a system call for each piece costs more than the piece: it is smaller than a page, in which the kernel handles the
    /// file, and the next one does not touch it. Elements that are converted go another way.
    pub(super) fn has_small_pieces(&self) -> bool {
        let size = self.stored.size();
        let is_dense = self.stored.is_contiguous() && self.stored.extent().unsigned_abs() == size;
        let is_native = matches!(self.representation, Representation::Native | Representation::Internal);
        is_native && !is_dense && size / self.stored.segments(1).count().max(1) < rustix::param::page_size()
    }

    /// The pieces of the file behind `len` data bytes from element `offset` on, in order.
    pub(super) fn pieces(&self, offset: u64, len: usize) -> Result<Pieces> {
        let far = || Error::new(ErrorClass::Arg, format!("{len} bytes at offset {offset} end beyond any file"));
        let from = offset.checked_mul(self.unit).and_then(|at| usize::try_from(at).ok()).ok_or_else(far)?;
        let end = from.checked_add(len).ok_or_else(far)?;
        let tiles = end.div_ceil(self.stored.size());
        let (_, high) = self.stored.span(tiles).map_err(|_| far())?;
        let displacement = self.displacement;
        let last = displacement.checked_add(high.unsigned_abs() as u64).ok_or_else(far)?;
        i64::try_from(last).map_err(|_| far())?;
        Ok(Pieces { segments: self.stored.segments_of(tiles, from, len), displacement })
    }

    /// The byte of the file at which element `offset` begins.
    pub(super) fn byte_at(&self, offset: u64) -> Result<u64> {
        let first = self.pieces(offset, 1)?.next();
        first.map(|(at, _)| at).ok_or_else(|| Error::new(ErrorClass::Intern, "an element has no place in its file"))
    }

    /// The offset of the end of a file of `size` bytes: that of the first element after its last byte.
    pub(super) fn end(&self, size: u64) -> u64 {
        let Some(inside) = size.checked_sub(self.displacement) else { return 0 };
        let extent = self.stored.extent().unsigned_abs() as u64;
        let tile = self.stored.size() as u64;
        let (tiles, rest) = match extent {
            0 => (0, inside),
            _ => (inside / extent, inside % extent),
        };
        let more: u64 = self
            .stored
            .segments(1)
            .map(|(at, len)| rest.saturating_sub(at.unsigned_abs() as u64).min(len as u64))
            .sum();
        (tiles.saturating_mul(tile).saturating_add(more)).div_ceil(self.unit)
    }
}
