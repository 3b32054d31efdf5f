//! The extension module `phalanx._workers`: what `phalanx.multiprocessing`, `phalanx.futures`, `phalanx.shared` and
//! `phalanx.native` need from Rust. No MPI here, and no launcher.

use pyo3::prelude::*;

/// Pools, queues, locks and shared memory of Phalanx.
#[pymodule]
#[pyo3(name = "_workers")]
fn workers(m: &Bound<'_, PyModule>) -> PyResult<()> {
    let _ = m;
    Ok(())
}
