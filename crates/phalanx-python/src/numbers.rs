//! Numbers and sequences of numbers from Python, with the errors Python users expect.

use pyo3::exceptions::{PyOverflowError, PyValueError};
use pyo3::prelude::*;

use crate::ffi::{MPI_Count, c_int};

/// Any sequence of integers (list, tuple, range, array, NumPy array) as C ints.
pub(crate) fn ints(sequence: &Bound<'_, PyAny>) -> PyResult<Vec<c_int>> {
    sequence.try_iter()?.map(|item| item?.extract()).collect()
}

/// Any sequence of integers as counts.
pub(crate) fn counts(sequence: &Bound<'_, PyAny>) -> PyResult<Vec<MPI_Count>> {
    sequence.try_iter()?.map(|item| item?.extract()).collect()
}

/// Truth values as C ints.
pub(crate) fn flags(sequence: &Bound<'_, PyAny>) -> PyResult<Vec<c_int>> {
    sequence.try_iter()?.map(|item| item?.is_truthy().map(c_int::from)).collect()
}

/// A length as the C int that the standard's array arguments take.
pub(crate) fn count(length: usize) -> PyResult<c_int> {
    c_int::try_from(length).map_err(|_| PyOverflowError::new_err(format!("sequence of {length} items is too long")))
}

/// A length as the large count of the standard's `_c` functions.
pub(crate) fn large_count(length: usize) -> MPI_Count {
    // A Python sequence has at most 2^63 - 1 items.
    MPI_Count::try_from(length).unwrap_or(MPI_Count::MAX)
}

/// Checks that a sequence has the length another one sets.
pub(crate) fn expect_length(found: usize, expected: usize, what: &str) -> PyResult<()> {
    if found == expected {
        Ok(())
    } else {
        Err(PyValueError::new_err(format!("expected {expected} items in {what}, got {found}")))
    }
}
