//! Messages of Python objects: pickling, frames, and the memory they arrive in.

mod block;
pub(crate) mod context;
mod frame;
mod parcel;
mod pickle;
pub(crate) mod transfer;

pub(crate) use block::{Block, Memory};
pub(crate) use parcel::Parcel;
pub(crate) use pickle::{dump, load, load_from};

use pyo3::prelude::*;

/// Adds what this folder has to the module.
pub(crate) fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    pickle::register(m)
}
