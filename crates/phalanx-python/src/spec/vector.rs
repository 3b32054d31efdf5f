//! Vector forms: a count and a displacement for each rank, and in the w-form a datatype too.

use std::ptr;

use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;

use super::room::{Extent, Room, pack, spread, strided};
use super::{Base, Form, Parts, datatype_of, integer, is_integral, items, pair_of, wrong_length};
use crate::buffer::{self, Access, View};
use crate::ffi::*;
use crate::large::{Array, Numbers};

/// Counts and displacements per rank, of one datatype.
pub(crate) struct Vector {
    /// Where displacement 0 is.
    pub(crate) address: *mut c_void,
    counts: Option<Numbers<MPI_Count>>,
    displacements: Option<Numbers<MPI_Aint>>,
    /// Of what.
    pub(crate) datatype: MPI_Datatype,
    _view: View,
}

// SAFETY: the address is only handed to MPI; the view keeps what it points at alive on every thread.
unsafe impl Send for Vector {}
// SAFETY: as above; a shared message is never changed.
unsafe impl Sync for Vector {}

impl Vector {
    /// The counts as MPI wants them; null when there is no message here.
    pub(crate) fn counts(&self) -> Array<MPI_Count> {
        self.counts.as_ref().map_or_else(Array::null, Numbers::array)
    }

    /// The displacements as MPI wants them; null when there is no message here.
    pub(crate) fn displacements(&self) -> Array<MPI_Aint> {
        self.displacements.as_ref().map_or_else(Array::null, Numbers::array)
    }

    fn absent(address: usize, datatype: MPI_Datatype) -> Vector {
        let address = ptr::without_provenance_mut(address);
        Vector { address, counts: None, displacements: None, datatype, _view: View::empty() }
    }
}

impl Form for Vector {
    fn parse(message: &Bound<'_, PyAny>, access: Access, rank: c_int, blocks: usize) -> PyResult<Vector> {
        if rank == MPI_PROC_NULL {
            return Ok(Vector::nothing());
        }
        let parts = if buffer::supports_buffer_protocol(message) {
            Parts { buffer: Some(message.clone()), counts: None, displacements: None, datatype: None }
        } else if let Some(items) = items(message)? {
            Parts::vector(items)?
        } else if buffer::exports_device_memory(message) {
            Parts { buffer: Some(message.clone()), counts: None, displacements: None, datatype: None }
        } else {
            return Err(buffer::not_a_buffer(message));
        };
        let base = Base::of(&parts, access)?;
        let room = Room::of(&base.view);
        let counts = match &parts.counts {
            None => {
                let total = if room.bytes > 0 { room.entries(base.extent("infer count")?, 1)? } else { 0 };
                spread(total, blocks)
            }
            Some(counts) if is_integral(counts) => vec![integer(counts, "count")?; blocks].into(),
            Some(counts) => integers(counts, blocks, "counts")?,
        };
        let displacements: Box<[MPI_Aint]> = match &parts.displacements {
            None => pack(&counts)?,
            Some(stride) if is_integral(stride) => strided(integer(stride, "displacement")?, blocks)?,
            Some(displacements) => {
                integers(displacements, blocks, "displacements")?.iter().map(|value| *value as MPI_Aint).collect()
            }
        };
        if let Some(size) = base.known_size() {
            room.check_blocks(&counts, &displacements, size)?;
        }
        Ok(Vector {
            address: base.view.address(),
            counts: Some(Numbers::new(counts)),
            displacements: Some(Numbers::new(displacements)),
            datatype: base.datatype,
            _view: base.view,
        })
    }

    fn nothing() -> Vector {
        Vector::absent(0, MPI_BYTE)
    }

    fn in_place() -> Vector {
        Vector::absent(MPI_IN_PLACE, MPI_DATATYPE_NULL)
    }
}

/// Exactly `expected` integers of a sequence.
pub(super) fn integers(sequence: &Bound<'_, PyAny>, expected: usize, what: &str) -> PyResult<Box<[i64]>> {
    let length = length_of(sequence, what)?;
    if length != expected {
        return Err(PyValueError::new_err(format!(
            "message: expecting {expected} items, got {length}: {what} need one integer for each rank"
        )));
    }
    (0..length).map(|i| integer(&sequence.get_item(i)?, what)).collect()
}

fn length_of(sequence: &Bound<'_, PyAny>, what: &str) -> PyResult<usize> {
    sequence.len().or_else(|_| {
        let kind = sequence.get_type().name()?;
        Err(PyTypeError::new_err(format!("message: {what} must be a sequence, got '{kind}'")))
    })
}

/// The bytes, from the first to behind the last, that `count` elements of a type reach; equal when there are none.
fn reach(count: MPI_Count, datatype: MPI_Datatype) -> PyResult<(i128, i128)> {
    if count <= 0 || datatype == MPI_DATATYPE_NULL {
        return Ok((0, 0));
    }
    let (mut lb, mut extent, mut true_lb, mut true_extent) = (0, 0, 0, 0);
    // SAFETY: the places are valid for the writes; MPI checks the handle.
    crate::error::check(unsafe { MPI_Type_get_extent_c(datatype, &mut lb, &mut extent) })?;
    // SAFETY: as above.
    crate::error::check(unsafe { MPI_Type_get_true_extent_c(datatype, &mut true_lb, &mut true_extent) })?;
    Ok(Extent { extent, true_lb, true_extent }.reach(count))
}

/// Counts, displacements in bytes, and datatypes, one of each per rank.
pub(crate) struct VectorW {
    /// Where displacement 0 is.
    pub(crate) address: *mut c_void,
    counts: Option<Numbers<MPI_Count>>,
    displacements: Option<Numbers<MPI_Aint>>,
    datatypes: Option<Box<[MPI_Datatype]>>,
    _view: View,
}

// SAFETY: the address is only handed to MPI; the view keeps what it points at alive on every thread.
unsafe impl Send for VectorW {}
// SAFETY: as above; a shared message is never changed.
unsafe impl Sync for VectorW {}

impl VectorW {
    /// The counts as MPI wants them; null when there is no message here.
    pub(crate) fn counts(&self) -> Array<MPI_Count> {
        self.counts.as_ref().map_or_else(Array::null, Numbers::array)
    }

    /// The displacements as MPI wants them; null when there is no message here.
    pub(crate) fn displacements(&self) -> Array<MPI_Aint> {
        self.displacements.as_ref().map_or_else(Array::null, Numbers::array)
    }

    /// The datatypes as MPI wants them; null when there is no message here.
    pub(crate) fn datatypes(&self) -> *const MPI_Datatype {
        self.datatypes.as_ref().map_or(ptr::null(), |datatypes| datatypes.as_ptr())
    }

    fn absent(address: usize) -> VectorW {
        let address = ptr::without_provenance_mut(address);
        VectorW { address, counts: None, displacements: None, datatypes: None, _view: View::empty() }
    }
}

impl Form for VectorW {
    fn parse<'py>(message: &Bound<'py, PyAny>, access: Access, _rank: c_int, blocks: usize) -> PyResult<VectorW> {
        let Some(items) = items(message)? else {
            return Err(PyTypeError::new_err(format!(
                "message: expecting a list/tuple [buffer, counts, displacements, datatypes], got '{}'",
                message.get_type().name()?
            )));
        };
        let given = |item: &Bound<'py, PyAny>| (!item.is_none()).then(|| item.clone());
        let (buffer, counts, displacements, datatypes) = match &items[..] {
            [buffer, datatypes] => (buffer, None, None, datatypes),
            [buffer, pair, datatypes] => {
                let (counts, displacements) = pair_of(pair)?;
                (buffer, counts, displacements, datatypes)
            }
            [buffer, counts, displacements, datatypes] => (buffer, given(counts), given(displacements), datatypes),
            _ => return Err(wrong_length(items.len())),
        };
        let view = if buffer.is_none() || crate::constants::is_bottom(buffer) {
            for (part, name) in [(&counts, "counts"), (&displacements, "displacements")] {
                if part.is_none() {
                    return Err(PyValueError::new_err(format!("message: BOTTOM requires {name}")));
                }
            }
            View::empty()
        } else if buffer::is_buffer_like(buffer) {
            let view = View::of(buffer, access, false)?;
            view.check_reachable()?;
            view
        } else {
            return Err(buffer::not_a_buffer(buffer));
        };
        let (counts, displacements) = match (counts, displacements) {
            (None, None) => (vec![1; blocks].into(), vec![0; blocks].into()),
            (Some(counts), Some(displacements)) => {
                (integers(&counts, blocks, "counts")?, integers(&displacements, blocks, "displacements")?)
            }
            _ => {
                return Err(PyTypeError::new_err(
                    "message: counts and displacements go together: give both or neither",
                ));
            }
        };
        let number = length_of(datatypes, "datatypes")?;
        if number != blocks {
            return Err(PyValueError::new_err(format!(
                "message: expecting {blocks} items, got {number}: datatypes need one MPI.Datatype for each rank"
            )));
        }
        let datatypes =
            (0..number).map(|i| datatype_of(&datatypes.get_item(i)?)).collect::<PyResult<Box<[MPI_Datatype]>>>()?;
        if !buffer.is_none() && !crate::constants::is_bottom(buffer) {
            let room = view.bytes() as i128;
            for (rank, ((count, displacement), datatype)) in
                counts.iter().zip(&displacements).zip(&datatypes).enumerate()
            {
                let (low, high) = reach(*count, *datatype)?;
                let (low, high) = (low + i128::from(*displacement), high + i128::from(*displacement));
                if low < high && (low < 0 || high > room) {
                    return Err(PyValueError::new_err(format!(
                        "message: the block of rank {rank} reaches from byte {low} to {high} of a buffer of {room} bytes"
                    )));
                }
            }
        }
        Ok(VectorW {
            address: view.address(),
            counts: Some(Numbers::new(counts)),
            displacements: Some(Numbers::new(
                displacements.iter().map(|value: &i64| *value as MPI_Aint).collect::<Box<[MPI_Aint]>>(),
            )),
            datatypes: Some(datatypes),
            _view: view,
        })
    }

    fn nothing() -> VectorW {
        VectorW::absent(0)
    }

    fn in_place() -> VectorW {
        VectorW::absent(MPI_IN_PLACE)
    }
}
