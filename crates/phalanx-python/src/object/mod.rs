//! Messages of Python objects: what `MPI.pickle` says about them, and how they are sent and received.
//!
//! How an object becomes bytes, and the memory they arrive in, is `phalanx-object`.

pub(crate) mod context;
pub(crate) mod describe;
pub(crate) mod habit;
pub(crate) mod notice;
mod pickle;
pub(crate) mod transfer;

pub(crate) use phalanx_object::{Memory, Parcel, SHORT};
pub(crate) use pickle::{dump, load, load_from, load_short, with_plain};

use pyo3::prelude::*;

/// Adds what this folder has to the module.
pub(crate) fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    pickle::register(m)?;
    notice::register(m)
}
