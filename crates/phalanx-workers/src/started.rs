//! Whether a launcher has started this program several times.

use phalanx_pmi::launchers;
use pyo3::prelude::*;

/// started_with_others() -> tuple[str, int, int | None] | None
///
/// The launcher that has started this program several times, how often, and which of these this process is; None where there
/// is none, where this process is the child of one of them, or where PHALANX_ALONE says that it is meant so.
#[pyfunction]
fn started_with_others() -> Option<(String, u32, Option<u32>)> {
    let launcher = launchers::of_these_programs()?;
    Some((launcher.name.to_owned(), launcher.size?, launcher.rank))
}

/// Adds the function to the module.
pub(crate) fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add_function(wrap_pyfunction!(started_with_others, m)?)
}
