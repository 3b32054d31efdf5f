//! The embedded message-passing engine of Phalanx, by the chapters of the MPI standard.

#[cfg(test)]
mod abi_table;
pub mod datatype;
pub mod error;
mod softfloat;

pub use error::{Error, ErrorClass, Result};
