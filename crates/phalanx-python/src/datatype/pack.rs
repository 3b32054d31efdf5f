//! Packing and unpacking by a datatype (MPI 5.0 sections 5.2 and 5.3).

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

use super::Datatype;
use crate::buffer::{Access, View};
use crate::comm::Comm;
use crate::error::check;
use crate::ffi::*;
use crate::handle::Handle as _;
use crate::text::Text;

impl Datatype {
    /// How many whole entries of this datatype a buffer can hold.
    fn entries_in(&self, view: &View) -> PyResult<MPI_Count> {
        let (mut lb, mut extent) = (0, 0);
        // SAFETY: both out-pointers are valid; MPI checks the handle.
        check(unsafe { MPI_Type_get_extent_c(self.raw(), &mut lb, &mut extent) })?;
        if extent <= 0 {
            return Err(PyValueError::new_err(format!(
                "cannot tell the number of entries in a buffer: the datatype's extent is {extent}"
            )));
        }
        Ok(view.bytes() as MPI_Count / extent)
    }
}

/// A position in a buffer of packed data, which must lie within it.
fn checked(position: MPI_Count, packed: &View) -> PyResult<MPI_Count> {
    if (0..=packed.bytes() as MPI_Count).contains(&position) {
        return Ok(position);
    }
    Err(PyValueError::new_err(format!(
        "position {position} lies outside of the packed buffer of {} bytes",
        packed.bytes()
    )))
}

#[pymethods]
impl Datatype {
    /// Pack(self, inbuf: BufSpec, outbuf: BufSpec, position: int, comm: Comm) -> int
    ///
    /// Pack all entries of `inbuf` into `outbuf` from byte `position` on; return the position behind them.
    ///
    /// Local. Raises Exception when `outbuf` is too small (see Pack_size).
    fn Pack(
        &self,
        inbuf: &Bound<'_, PyAny>,
        outbuf: &Bound<'_, PyAny>,
        position: MPI_Count,
        comm: &Bound<'_, Comm>,
    ) -> PyResult<MPI_Count> {
        let (from, to) = (View::of(inbuf, Access::Read, false)?, View::of(outbuf, Access::Write, false)?);
        let mut position = checked(position, &to)?;
        let (count, room) = (self.entries_in(&from)?, to.bytes() as MPI_Count);
        // SAFETY: the views hold `count` entries and `room` bytes; MPI checks that the data fits.
        check(unsafe {
            MPI_Pack_c(from.address(), count, self.raw(), to.address(), room, &mut position, comm.get().raw())
        })?;
        Ok(position)
    }

    /// Unpack(self, inbuf: BufSpec, position: int, outbuf: BufSpec, comm: Comm) -> int
    ///
    /// Fill all entries of `outbuf` from the packed `inbuf`, from byte `position` on; return the position behind them.
    ///
    /// Local. Raises Exception when `inbuf` holds less.
    fn Unpack(
        &self,
        inbuf: &Bound<'_, PyAny>,
        position: MPI_Count,
        outbuf: &Bound<'_, PyAny>,
        comm: &Bound<'_, Comm>,
    ) -> PyResult<MPI_Count> {
        let (from, to) = (View::of(inbuf, Access::Read, false)?, View::of(outbuf, Access::Write, false)?);
        let mut position = checked(position, &from)?;
        let (count, room) = (self.entries_in(&to)?, from.bytes() as MPI_Count);
        // SAFETY: the views hold `room` bytes and `count` entries; MPI checks that there is enough data.
        check(unsafe {
            MPI_Unpack_c(from.address(), room, &mut position, to.address(), count, self.raw(), comm.get().raw())
        })?;
        Ok(position)
    }

    /// Pack_size(self, count: int, comm: Comm) -> int
    ///
    /// Return an upper bound of the bytes that `count` packed entries take.
    ///
    /// Local.
    fn Pack_size(&self, count: MPI_Count, comm: &Bound<'_, Comm>) -> PyResult<MPI_Count> {
        let mut size = 0;
        // SAFETY: `size` is valid for the write; MPI checks the rest.
        check(unsafe { MPI_Pack_size_c(count, self.raw(), comm.get().raw(), &mut size) })?;
        Ok(size)
    }

    /// Pack_external(self, datarep: str, inbuf: BufSpec, outbuf: BufSpec, position: int) -> int
    ///
    /// As Pack, in the portable representation `"external32"`.
    ///
    /// Local.
    fn Pack_external(
        &self,
        datarep: Text,
        inbuf: &Bound<'_, PyAny>,
        outbuf: &Bound<'_, PyAny>,
        position: MPI_Count,
    ) -> PyResult<MPI_Count> {
        let (from, to) = (View::of(inbuf, Access::Read, false)?, View::of(outbuf, Access::Write, false)?);
        let mut position = checked(position, &to)?;
        let (count, room) = (self.entries_in(&from)?, to.bytes() as MPI_Count);
        // SAFETY: the views hold `count` entries and `room` bytes; MPI checks that the data fits.
        check(unsafe {
            MPI_Pack_external_c(datarep.as_ptr(), from.address(), count, self.raw(), to.address(), room, &mut position)
        })?;
        Ok(position)
    }

    /// Unpack_external(self, datarep: str, inbuf: BufSpec, position: int, outbuf: BufSpec) -> int
    ///
    /// As Unpack, from the portable representation `"external32"`.
    ///
    /// Local.
    fn Unpack_external(
        &self,
        datarep: Text,
        inbuf: &Bound<'_, PyAny>,
        position: MPI_Count,
        outbuf: &Bound<'_, PyAny>,
    ) -> PyResult<MPI_Count> {
        let (from, to) = (View::of(inbuf, Access::Read, false)?, View::of(outbuf, Access::Write, false)?);
        let mut position = checked(position, &from)?;
        let (count, room) = (self.entries_in(&to)?, from.bytes() as MPI_Count);
        // SAFETY: the views hold `room` bytes and `count` entries; MPI checks that there is enough data.
        check(unsafe {
            MPI_Unpack_external_c(
                datarep.as_ptr(),
                from.address(),
                room,
                &mut position,
                to.address(),
                count,
                self.raw(),
            )
        })?;
        Ok(position)
    }

    /// Pack_external_size(self, datarep: str, count: int) -> int
    ///
    /// Return the bytes that `count` entries take in the portable representation `"external32"`.
    ///
    /// Local.
    fn Pack_external_size(&self, datarep: Text, count: MPI_Count) -> PyResult<MPI_Count> {
        let mut size = 0;
        // SAFETY: `size` is valid for the write; MPI checks the rest.
        check(unsafe { MPI_Pack_external_size_c(datarep.as_ptr(), count, self.raw(), &mut size) })?;
        Ok(size)
    }
}
