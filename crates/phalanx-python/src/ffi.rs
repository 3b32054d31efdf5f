//! The MPI 5.0 standard ABI as declarations: functions, constants and types.
//!
//! All but the types is generated from `abi/*.tsv` by `build.rs`. Handles are pointer-sized values, never dereferenced
//! here; distinct types keep a group from being passed as a communicator.

#![allow(clippy::complexity, clippy::style, reason = "most of it is written by `build/functions.rs`, the same for all")]
#![expect(non_camel_case_types, dead_code, reason = "names, arity and completeness are those of the standard")]

pub(crate) use std::ffi::{c_char, c_int, c_void};

pub(crate) type MPI_Aint = isize;
pub(crate) type MPI_Offset = i64;
pub(crate) type MPI_Count = i64;
pub(crate) type MPI_Fint = c_int;

macro_rules! handles {
    ($($name:ident)*) => {$(
        #[doc = concat!("`", stringify!($name), "`: an opaque pointer-sized value.")]
        #[repr(transparent)]
        #[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
        pub(crate) struct $name(pub(crate) usize);
    )*};
}

handles! {
    MPI_Comm MPI_Group MPI_Datatype MPI_Op MPI_Request MPI_Message MPI_Info MPI_Errhandler MPI_Session MPI_Win MPI_File
}

/// `MPI_Status` of the standard ABI: 32 bytes, three of its words public.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct MPI_Status {
    pub(crate) MPI_SOURCE: c_int,
    pub(crate) MPI_TAG: c_int,
    pub(crate) MPI_ERROR: c_int,
    pub(crate) MPI_internal: [c_int; 5],
}

impl MPI_Status {
    /// What an operation that transferred nothing from nobody reports.
    pub(crate) const EMPTY: MPI_Status =
        MPI_Status { MPI_SOURCE: MPI_ANY_SOURCE, MPI_TAG: MPI_ANY_TAG, MPI_ERROR: MPI_SUCCESS, MPI_internal: [0; 5] };
}

// What `build/functions.rs` casts.
const _: () = assert!(size_of::<MPI_Aint>() == size_of::<MPI_Count>());
const _: () = assert!(size_of::<MPI_Status>() == 32 && size_of::<MPI_Comm>() == size_of::<*const c_void>());

use crate::large::{self, Array, Slot};

include!(concat!(env!("OUT_DIR"), "/ffi.rs"));
