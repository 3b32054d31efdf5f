//! Inquiry and services that belong to no class (MPI 5.0 chapter 9).

use pyo3::prelude::*;

use crate::error::check;
use crate::ffi::*;
use crate::text;

/// Query_thread() -> int
///
/// Return the level of thread support provided. Local.
#[pyfunction]
fn Query_thread() -> PyResult<c_int> {
    let mut provided = MPI_THREAD_SINGLE;
    // SAFETY: `provided` is valid for the write.
    check(unsafe { MPI_Query_thread(&mut provided) })?;
    Ok(provided)
}

/// Is_thread_main() -> bool
///
/// Return whether this thread initialized MPI. Local.
#[pyfunction]
fn Is_thread_main() -> PyResult<bool> {
    let mut flag = 0;
    // SAFETY: `flag` is valid for the write.
    check(unsafe { MPI_Is_thread_main(&mut flag) })?;
    Ok(flag != 0)
}

/// Is_initialized() -> bool
///
/// Return whether MPI has been initialized. Local, allowed at any time.
#[pyfunction]
fn Is_initialized() -> PyResult<bool> {
    let mut flag = 0;
    // SAFETY: `flag` is valid for the write.
    check(unsafe { MPI_Initialized(&mut flag) })?;
    Ok(flag != 0)
}

/// Is_finalized() -> bool
///
/// Return whether MPI has been finalized. Local, allowed at any time.
#[pyfunction]
fn Is_finalized() -> PyResult<bool> {
    let mut flag = 0;
    // SAFETY: `flag` is valid for the write.
    check(unsafe { MPI_Finalized(&mut flag) })?;
    Ok(flag != 0)
}

/// Get_version() -> tuple[int, int]
///
/// Return the version of the MPI standard that the library implements. Local.
#[pyfunction]
fn Get_version() -> PyResult<(c_int, c_int)> {
    let (mut version, mut subversion) = (0, 0);
    // SAFETY: both are valid for the writes.
    check(unsafe { MPI_Get_version(&mut version, &mut subversion) })?;
    Ok((version, subversion))
}

/// The library's description of itself.
fn library_version() -> PyResult<String> {
    let mut name = vec![0; MPI_MAX_LIBRARY_VERSION_STRING as usize + 1];
    let mut length = 0;
    // SAFETY: the array has the room the standard asks for.
    check(unsafe { MPI_Get_library_version(name.as_mut_ptr(), &mut length) })?;
    Ok(text::from_c(&name, length))
}

/// Get_library_version() -> str
///
/// Return the library's description of itself. Local.
#[pyfunction]
fn Get_library_version() -> PyResult<String> {
    library_version()
}

/// Get_processor_name() -> str
///
/// Return the name of the machine. Local.
#[pyfunction]
fn Get_processor_name() -> PyResult<String> {
    let mut name = [0; MPI_MAX_PROCESSOR_NAME as usize + 1];
    let mut length = 0;
    // SAFETY: the array has the room the standard asks for.
    check(unsafe { MPI_Get_processor_name(name.as_mut_ptr(), &mut length) })?;
    Ok(text::from_c(&name, length))
}

/// Wtime() -> float
///
/// Return the time in seconds since some moment in the past.
#[pyfunction]
fn Wtime() -> f64 {
    // SAFETY: takes no arguments.
    unsafe { MPI_Wtime() }
}

/// Wtick() -> float
///
/// Return the resolution of `Wtime` in seconds.
#[pyfunction]
fn Wtick() -> f64 {
    // SAFETY: takes no arguments.
    unsafe { MPI_Wtick() }
}

/// Adds the functions of this file to the module.
pub(crate) fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    for function in [
        wrap_pyfunction!(Query_thread, m)?,
        wrap_pyfunction!(Is_thread_main, m)?,
        wrap_pyfunction!(Is_initialized, m)?,
        wrap_pyfunction!(Is_finalized, m)?,
        wrap_pyfunction!(Get_version, m)?,
        wrap_pyfunction!(Get_library_version, m)?,
        wrap_pyfunction!(Get_processor_name, m)?,
        wrap_pyfunction!(Wtime, m)?,
        wrap_pyfunction!(Wtick, m)?,
    ] {
        m.add_function(function)?;
    }
    Ok(())
}
