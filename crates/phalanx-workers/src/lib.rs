//! The extension module `phalanx._workers`: what `phalanx.multiprocessing`, `phalanx.futures`, `phalanx.shared` and
//! `phalanx.native` need from Rust. No MPI here, and no launcher.

#![expect(unsafe_code, reason = "calls Python's C API")]

mod cluster;
mod codec;
mod family;
mod names;
mod pool;
mod queue;
mod shared;
mod started;
mod sync;
mod text;

use pyo3::prelude::*;

/// Pools, queues, locks and shared memory of Phalanx.
#[pymodule]
#[pyo3(name = "_workers")]
fn workers(m: &Bound<'_, PyModule>) -> PyResult<()> {
    cluster::register(m)?;
    codec::register(m)?;
    family::register(m)?;
    pool::register(m)?;
    queue::register(m)?;
    shared::register(m)?;
    names::register(m)?;
    started::register(m)?;
    sync::register(m)
}
