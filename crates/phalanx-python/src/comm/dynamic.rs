//! Processes that come later: spawn, ports, names (MPI 5.0 chapter 11).

use pyo3::prelude::*;

/// Adds the functions of this file to the module.
pub(crate) fn register_functions(_m: &Bound<'_, PyModule>) -> PyResult<()> {
    Ok(())
}
