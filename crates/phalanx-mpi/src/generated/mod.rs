//! What `cargo xtask gen` writes from `abi/` and from the `#[mpi_entry(..)]` attributes; only this file is written by hand.

#[rustfmt::skip]
pub(crate) mod consts;
