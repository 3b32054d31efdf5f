//! Handles as C sees them: addresses that are never dereferenced.
//!
//! Predefined handles are the small numbers of the ABI. A dynamic handle is a token,
//! `kind << 27 | generation << 22 | index`, which fits a positive `int`: conversion to and from Fortran's integers is
//! the identity, and a handle that was freed or never existed is found out instead of followed.

use crate::consts;

/// What a token refers to; part of the token, so that a handle of the wrong type is found out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub(crate) enum Kind {
    Comm = 1,
    Datatype = 2,
    Errhandler = 3,
    File = 4,
    Group = 5,
    Info = 6,
    Message = 7,
    Op = 8,
    Request = 9,
    Session = 10,
    Win = 11,
    ToolEnum = 12,
    ControlHandle = 13,
    PerformanceSession = 14,
    PerformanceHandle = 15,
}

/// Bits of a token that say which slot of its table it names.
pub(crate) const INDEX_BITS: u32 = 22;
/// Bits of a token that count how often the slot has been reused.
pub(crate) const GENERATION_BITS: u32 = 5;

/// Puts a token together.
pub(crate) const fn token(kind: Kind, generation: u8, index: usize) -> usize {
    ((kind as usize) << (INDEX_BITS + GENERATION_BITS)) | ((generation as usize) << INDEX_BITS) | index
}

/// Takes a token apart: generation and index, or `None` when it is not a token of this kind.
pub(crate) const fn untoken(kind: Kind, raw: usize) -> Option<(u8, usize)> {
    if raw >> (INDEX_BITS + GENERATION_BITS) != kind as usize {
        return None;
    }
    let generation = (raw >> INDEX_BITS) & ((1 << GENERATION_BITS) - 1);
    Some((generation as u8, raw & ((1 << INDEX_BITS) - 1)))
}

macro_rules! raw_handles {
    ($($name:ident, $c:literal, $null:ident;)*) => {$(
        #[doc = concat!("`", $c, "` as C passes it.")]
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(transparent)]
        pub(crate) struct $name(pub(crate) usize);

        impl $name {
            #[doc = concat!("The null handle of `", $c, "`.")]
            #[allow(dead_code, reason = "not every kind is compared with its null handle")]
            pub(crate) const NULL: $name = $name(consts::$null);
        }
    )*};
}

raw_handles! {
    RawComm, "MPI_Comm", COMM_NULL;
    RawType, "MPI_Datatype", DATATYPE_NULL;
    RawErrhandler, "MPI_Errhandler", ERRHANDLER_NULL;
    RawFile, "MPI_File", FILE_NULL;
    RawGroup, "MPI_Group", GROUP_NULL;
    RawInfo, "MPI_Info", INFO_NULL;
    RawMessage, "MPI_Message", MESSAGE_NULL;
    RawOp, "MPI_Op", OP_NULL;
    RawRequest, "MPI_Request", REQUEST_NULL;
    RawSession, "MPI_Session", SESSION_NULL;
    RawWin, "MPI_Win", WIN_NULL;
    RawEnum, "MPI_T_enum", T_ENUM_NULL;
    RawControl, "MPI_T_cvar_handle", T_CVAR_HANDLE_NULL;
    RawPerformanceSession, "MPI_T_pvar_session", T_PVAR_SESSION_NULL;
    RawPerformance, "MPI_T_pvar_handle", T_PVAR_HANDLE_NULL;
}
