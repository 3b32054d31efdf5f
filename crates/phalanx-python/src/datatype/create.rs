//! Datatypes made from others (MPI 5.0 section 5.1), by the large-count forms throughout.

use pyo3::prelude::*;
use pyo3::types::PyType;

use super::Datatype;
use crate::ffi::*;
use crate::handle::{self, Handle as _};
use crate::numbers;

/// A new datatype of the same Python class.
fn derive<'py>(
    slf: &Bound<'py, Datatype>,
    make: impl FnOnce(MPI_Datatype, *mut MPI_Datatype) -> c_int,
) -> PyResult<Bound<'py, PyAny>> {
    let raw = slf.get().raw();
    handle::create::<Datatype>(&slf.get_type(), |out| make(raw, out))
}

/// Two sequences that must be equally long, and their length.
fn pair(
    a: &Bound<'_, PyAny>,
    b: &Bound<'_, PyAny>,
    what: &str,
) -> PyResult<(MPI_Count, Vec<MPI_Count>, Vec<MPI_Count>)> {
    let (a, b) = (numbers::counts(a)?, numbers::counts(b)?);
    numbers::expect_length(b.len(), a.len(), what)?;
    Ok((numbers::large_count(a.len()), a, b))
}

#[pymethods]
impl Datatype {
    /// Dup(self) -> Self
    ///
    /// Return a copy, attributes included. Local.
    fn Dup<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        // SAFETY: the result pointer is valid for the write.
        derive(slf, |raw, out| unsafe { MPI_Type_dup(raw, out) })
    }

    /// Create_contiguous(self, count: int) -> Self
    ///
    /// Return the type of `count` elements one after the other. Local.
    fn Create_contiguous<'py>(slf: &Bound<'py, Self>, count: MPI_Count) -> PyResult<Bound<'py, PyAny>> {
        // SAFETY: the result pointer is valid for the write.
        derive(slf, |raw, out| unsafe { MPI_Type_contiguous_c(count, raw, out) })
    }

    /// Create_vector(self, count: int, blocklength: int, stride: int) -> Self
    ///
    /// Return the type of blocks at equal distances, counted in elements. Local.
    fn Create_vector<'py>(
        slf: &Bound<'py, Self>,
        count: MPI_Count,
        blocklength: MPI_Count,
        stride: MPI_Count,
    ) -> PyResult<Bound<'py, PyAny>> {
        // SAFETY: the result pointer is valid for the write.
        derive(slf, |raw, out| unsafe { MPI_Type_vector_c(count, blocklength, stride, raw, out) })
    }

    /// Create_hvector(self, count: int, blocklength: int, stride: int) -> Self
    ///
    /// Return the type of blocks at equal distances, counted in bytes. Local.
    fn Create_hvector<'py>(
        slf: &Bound<'py, Self>,
        count: MPI_Count,
        blocklength: MPI_Count,
        stride: MPI_Count,
    ) -> PyResult<Bound<'py, PyAny>> {
        // SAFETY: the result pointer is valid for the write.
        derive(slf, |raw, out| unsafe { MPI_Type_create_hvector_c(count, blocklength, stride, raw, out) })
    }

    /// Create_indexed(self, blocklengths: Sequence[int], displacements: Sequence[int]) -> Self
    ///
    /// Return the type of blocks at places counted in elements. Local.
    fn Create_indexed<'py>(
        slf: &Bound<'py, Self>,
        blocklengths: &Bound<'py, PyAny>,
        displacements: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let (n, lengths, places) = pair(blocklengths, displacements, "displacements")?;
        // SAFETY: both arrays hold `n` items; the result pointer is valid for the write.
        derive(slf, |raw, out| unsafe { MPI_Type_indexed_c(n, lengths.as_ptr(), places.as_ptr(), raw, out) })
    }

    /// Create_hindexed(self, blocklengths: Sequence[int], displacements: Sequence[int]) -> Self
    ///
    /// Return the type of blocks at places counted in bytes. Local.
    fn Create_hindexed<'py>(
        slf: &Bound<'py, Self>,
        blocklengths: &Bound<'py, PyAny>,
        displacements: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let (n, lengths, places) = pair(blocklengths, displacements, "displacements")?;
        // SAFETY: both arrays hold `n` items; the result pointer is valid for the write.
        derive(slf, |raw, out| unsafe { MPI_Type_create_hindexed_c(n, lengths.as_ptr(), places.as_ptr(), raw, out) })
    }

    /// Create_indexed_block(self, blocklength: int, displacements: Sequence[int]) -> Self
    ///
    /// Return the type of equal blocks at places counted in elements. Local.
    fn Create_indexed_block<'py>(
        slf: &Bound<'py, Self>,
        blocklength: MPI_Count,
        displacements: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let places = numbers::counts(displacements)?;
        let n = numbers::large_count(places.len());
        // SAFETY: the array holds `n` items; the result pointer is valid for the write.
        derive(slf, |raw, out| unsafe { MPI_Type_create_indexed_block_c(n, blocklength, places.as_ptr(), raw, out) })
    }

    /// Create_hindexed_block(self, blocklength: int, displacements: Sequence[int]) -> Self
    ///
    /// Return the type of equal blocks at places counted in bytes. Local.
    fn Create_hindexed_block<'py>(
        slf: &Bound<'py, Self>,
        blocklength: MPI_Count,
        displacements: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let places = numbers::counts(displacements)?;
        let n = numbers::large_count(places.len());
        // SAFETY: the array holds `n` items; the result pointer is valid for the write.
        derive(slf, |raw, out| unsafe { MPI_Type_create_hindexed_block_c(n, blocklength, places.as_ptr(), raw, out) })
    }

    /// Create_struct(cls, blocklengths: Sequence[int], displacements: Sequence[int], datatypes: Sequence[Datatype]) -> Self
    ///
    /// Return the type of blocks of different types at places counted in bytes. Local.
    #[classmethod]
    fn Create_struct<'py>(
        cls: &Bound<'py, PyType>,
        blocklengths: &Bound<'py, PyAny>,
        displacements: &Bound<'py, PyAny>,
        datatypes: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let (n, lengths, places) = pair(blocklengths, displacements, "displacements")?;
        let types = handle::raws::<Datatype>(datatypes)?;
        numbers::expect_length(types.len(), lengths.len(), "datatypes")?;
        // SAFETY: the arrays hold `n` items; the result pointer is valid for the write.
        handle::create::<Datatype>(cls, |out| unsafe {
            MPI_Type_create_struct_c(n, lengths.as_ptr(), places.as_ptr(), types.as_ptr(), out)
        })
    }

    /// Create_subarray(self, sizes, subsizes, starts, order: int = ORDER_C) -> Self
    ///
    /// Return the type of a block of an array with several dimensions. Local.
    #[pyo3(signature = (sizes, subsizes, starts, order=MPI_ORDER_C))]
    fn Create_subarray<'py>(
        slf: &Bound<'py, Self>,
        sizes: &Bound<'py, PyAny>,
        subsizes: &Bound<'py, PyAny>,
        starts: &Bound<'py, PyAny>,
        order: c_int,
    ) -> PyResult<Bound<'py, PyAny>> {
        let (_, sizes, subsizes) = pair(sizes, subsizes, "subsizes")?;
        let starts = numbers::counts(starts)?;
        numbers::expect_length(starts.len(), sizes.len(), "starts")?;
        let n = numbers::count(sizes.len())?;
        // SAFETY: the arrays hold `n` items; the result pointer is valid for the write.
        derive(slf, |raw, out| unsafe {
            MPI_Type_create_subarray_c(n, sizes.as_ptr(), subsizes.as_ptr(), starts.as_ptr(), order, raw, out)
        })
    }

    /// Create_darray(self, size, rank, gsizes, distribs, dargs, psizes, order: int = ORDER_C) -> Self
    ///
    /// Return the type of one process's part of a distributed array. Local.
    #[pyo3(signature = (size, rank, gsizes, distribs, dargs, psizes, order=MPI_ORDER_C))]
    #[expect(clippy::too_many_arguments, reason = "the standard's arguments")]
    fn Create_darray<'py>(
        slf: &Bound<'py, Self>,
        size: c_int,
        rank: c_int,
        gsizes: &Bound<'py, PyAny>,
        distribs: &Bound<'py, PyAny>,
        dargs: &Bound<'py, PyAny>,
        psizes: &Bound<'py, PyAny>,
        order: c_int,
    ) -> PyResult<Bound<'py, PyAny>> {
        let gsizes = numbers::counts(gsizes)?;
        let n = numbers::count(gsizes.len())?;
        let (distribs, dargs, psizes) = (numbers::ints(distribs)?, numbers::ints(dargs)?, numbers::ints(psizes)?);
        for (list, name) in [(&distribs, "distribs"), (&dargs, "dargs"), (&psizes, "psizes")] {
            numbers::expect_length(list.len(), gsizes.len(), name)?;
        }
        // SAFETY: the arrays hold `n` items; the result pointer is valid for the write.
        derive(slf, |raw, out| unsafe {
            MPI_Type_create_darray_c(
                size,
                rank,
                n,
                gsizes.as_ptr(),
                distribs.as_ptr(),
                dargs.as_ptr(),
                psizes.as_ptr(),
                order,
                raw,
                out,
            )
        })
    }

    /// Create_resized(self, lb: int, extent: int) -> Self
    ///
    /// Return the same layout with another lower bound and extent. Local.
    fn Create_resized<'py>(slf: &Bound<'py, Self>, lb: MPI_Count, extent: MPI_Count) -> PyResult<Bound<'py, PyAny>> {
        // SAFETY: the result pointer is valid for the write.
        derive(slf, |raw, out| unsafe { MPI_Type_create_resized_c(raw, lb, extent, out) })
    }

    /// Get_value_index(cls, value: Datatype, index: Datatype) -> Self
    ///
    /// Return the predefined pair type of a value and an index, or the null type. Local.
    #[classmethod]
    fn Get_value_index<'py>(
        cls: &Bound<'py, PyType>,
        value: &Bound<'py, Datatype>,
        index: &Bound<'py, Datatype>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let (value, index) = (value.get().raw(), index.get().raw());
        // SAFETY: the result pointer is valid for the write.
        handle::create::<Datatype>(cls, |out| unsafe { MPI_Type_get_value_index(value, index, out) })
    }

    /// Create_f90_integer(cls, r: int) -> Self
    ///
    /// Return the Fortran integer type for a decimal range. Local.
    #[classmethod]
    fn Create_f90_integer<'py>(cls: &Bound<'py, PyType>, r: c_int) -> PyResult<Bound<'py, PyAny>> {
        // SAFETY: the result pointer is valid for the write.
        handle::create::<Datatype>(cls, |out| unsafe { MPI_Type_create_f90_integer(r, out) })
    }

    /// Create_f90_real(cls, p: int, r: int) -> Self
    ///
    /// Return the Fortran real type for a precision and a decimal range. Local.
    #[classmethod]
    fn Create_f90_real<'py>(cls: &Bound<'py, PyType>, p: c_int, r: c_int) -> PyResult<Bound<'py, PyAny>> {
        // SAFETY: the result pointer is valid for the write.
        handle::create::<Datatype>(cls, |out| unsafe { MPI_Type_create_f90_real(p, r, out) })
    }

    /// Create_f90_complex(cls, p: int, r: int) -> Self
    ///
    /// Return the Fortran complex type for a precision and a decimal range. Local.
    #[classmethod]
    fn Create_f90_complex<'py>(cls: &Bound<'py, PyType>, p: c_int, r: c_int) -> PyResult<Bound<'py, PyAny>> {
        // SAFETY: the result pointer is valid for the write.
        handle::create::<Datatype>(cls, |out| unsafe { MPI_Type_create_f90_complex(p, r, out) })
    }

    /// Match_size(cls, typeclass: int, size: int) -> Self
    ///
    /// Return the predefined type of a class (`TYPECLASS_...`) and a size in bytes. Local.
    #[classmethod]
    fn Match_size<'py>(cls: &Bound<'py, PyType>, typeclass: c_int, size: c_int) -> PyResult<Bound<'py, PyAny>> {
        // SAFETY: the result pointer is valid for the write.
        handle::create::<Datatype>(cls, |out| unsafe { MPI_Type_match_size(typeclass, size, out) })
    }
}
