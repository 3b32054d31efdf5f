//! The types that variables have, and how their values stand in the program's memory.

use crate::consts;
use crate::entry::Failure;
use crate::handle::RawEnum;
use crate::param::Address;

use super::{category, refuse};

/// The type of a variable. All values are one word inside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Type {
    /// `MPI_UNSIGNED_LONG_LONG`.
    Number,
    /// `MPI_INT` with the enumeration of off and on.
    Switch,
    /// `MPI_DOUBLE`, in seconds; nanoseconds inside.
    Seconds,
}

impl Type {
    /// The handle of the datatype.
    pub(super) fn datatype(self) -> usize {
        match self {
            Type::Number => consts::UNSIGNED_LONG_LONG,
            Type::Switch => consts::INT,
            Type::Seconds => consts::DOUBLE,
        }
    }

    /// The enumeration, if it has one.
    pub(super) fn enumeration(self) -> RawEnum {
        match self {
            Type::Switch => category::switch(),
            _ => RawEnum::NULL,
        }
    }

    /// Stores a value.
    pub(super) fn store(self, buffer: Address, value: u64) -> Result<(), Failure> {
        if buffer.0 == 0 {
            return refuse(consts::T_ERR_INVALID);
        }
        // SAFETY: not null; the program promised room for one element of the type that the variable's description names.
        unsafe {
            match self {
                Type::Number => (buffer.0 as *mut u64).write_unaligned(value),
                Type::Switch => (buffer.0 as *mut i32).write_unaligned(value as i32),
                Type::Seconds => (buffer.0 as *mut f64).write_unaligned(value as f64 / 1e9),
            }
        }
        Ok(())
    }

    /// Reads a value; an error for one that none can be.
    pub(super) fn load(self, buffer: Address) -> Result<u64, Failure> {
        if buffer.0 == 0 {
            return refuse(consts::T_ERR_INVALID);
        }
        // SAFETY: as in `store`, for reading.
        let value = unsafe {
            match self {
                Type::Number => Some((buffer.0 as *const u64).read_unaligned()),
                Type::Switch => {
                    u64::try_from((buffer.0 as *const i32).read_unaligned()).ok().filter(|value| *value <= 1)
                }
                Type::Seconds => {
                    let seconds = (buffer.0 as *const f64).read_unaligned();
                    (0.0..1e10).contains(&seconds).then_some((seconds * 1e9) as u64)
                }
            }
        };
        value.map_or_else(|| refuse(consts::T_ERR_INVALID), Ok)
    }
}
