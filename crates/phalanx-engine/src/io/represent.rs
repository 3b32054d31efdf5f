//! Data representations (MPI 5.0 §14.5): how elements are stored in a file.

use crate::datatype::{Basic, Datatype};
use crate::error::{Result, fail};

/// How the elements of a view are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Representation {
    /// As in memory.
    Native,
    /// As any implementation of the same kind reads it: as in memory, too.
    Internal,
    /// Big-endian, IEEE formats, fixed sizes.
    External32,
}

impl Representation {
    /// The representation of a name.
    ///
    /// # Errors
    /// `MPI_ERR_UNSUPPORTED_DATAREP` for a name that stands for none.
    pub fn of(name: &str) -> Result<Representation> {
        match name {
            "native" => Ok(Representation::Native),
            "internal" => Ok(Representation::Internal),
            "external32" => Ok(Representation::External32),
            _ => {
                fail!(UnsupportedDatarep, "no data representation '{name}'; there are native, internal and external32")
            }
        }
    }

    /// The name.
    pub fn name(self) -> &'static str {
        match self {
            Representation::Native => "native",
            Representation::Internal => "internal",
            Representation::External32 => "external32",
        }
    }

    /// A datatype as it lies in the file.
    pub(super) fn stored(self, ty: &Datatype) -> Result<Datatype> {
        match self {
            Representation::Native | Representation::Internal => Ok(ty.clone()),
            Representation::External32 => ty.with_basics(&|basic| {
                let bytes = Datatype::predefined(basic).external32_size(1)?;
                Datatype::contiguous(bytes as i64, Datatype::predefined(Basic::Byte))
            }),
        }
    }

    /// Whether bytes are moved as they are.
    pub(super) fn is_plain(self) -> bool {
        self != Representation::External32
    }
}
