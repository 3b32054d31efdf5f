//! Data representations (MPI 5.0 §14.5): how elements are stored in a file.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, Mutex, PoisonError};

use phalanx_shm::mem::{ConstMem, MutMem};

use crate::datatype::{Basic, Datatype};
use crate::error::{Error, ErrorClass, Result, fail};

/// The functions of a program that stores elements in its own way.
///
/// They are called in the thread that accesses the file, with none of the engine's locks, but with the file's position; they
/// must not access that file.
pub trait Conversion: Send + Sync {
    /// Bytes of an element of a predefined type in the file.
    ///
    /// # Errors
    /// What the program reports.
    fn extent(&self, ty: &Datatype) -> Result<usize>;

    /// Whether reads are converted; else the file has for them what memory has.
    fn converts_reads(&self) -> bool;

    /// Whether writes are converted.
    fn converts_writes(&self) -> bool;

    /// Stores `count` elements, which lie one after the other in `file`, from the base address `memory` on.
    ///
    /// # Errors
    /// What the program reports.
    fn read(&self, memory: MutMem, count: usize, ty: &Datatype, file: ConstMem) -> Result<()>;

    /// Stores `count` elements from the base address `memory` on one after the other in `file`.
    ///
    /// # Errors
    /// What the program reports.
    fn write(&self, memory: ConstMem, count: usize, ty: &Datatype, file: MutMem) -> Result<()>;
}

/// A representation of the program (`MPI_Register_datarep`).
pub struct Own {
    name: String,
    conversion: Box<dyn Conversion>,
    /// What its function has said.
    extents: Mutex<HashMap<Basic, usize>>,
}

impl Own {
    /// A representation of this name.
    pub fn new(name: String, conversion: Box<dyn Conversion>) -> Own {
        Own { name, conversion, extents: Mutex::default() }
    }

    /// Bytes of a predefined type in the file.
    fn extent(&self, basic: Basic) -> Result<usize> {
        let extents = || self.extents.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = extents().get(&basic).copied() {
            return Ok(known);
        }
        let bytes = self.conversion.extent(Datatype::predefined(basic))?;
        extents().insert(basic, bytes);
        Ok(bytes)
    }
}

/// How the elements of a view are stored.
#[derive(Clone)]
pub enum Representation {
    /// As in memory.
    Native,
    /// As any implementation of the same kind reads it: as in memory, too.
    Internal,
    /// Big-endian, IEEE formats, fixed sizes.
    External32,
    /// As the program says.
    Own(Arc<Own>),
}

impl Representation {
    /// The representation of a name, if it is one of the standard's.
    pub fn of(name: &str) -> Option<Representation> {
        match name {
            "native" => Some(Representation::Native),
            "internal" => Some(Representation::Internal),
            "external32" => Some(Representation::External32),
            _ => None,
        }
    }

    /// The name.
    pub fn name(&self) -> &str {
        match self {
            Representation::Native => "native",
            Representation::Internal => "internal",
            Representation::External32 => "external32",
            Representation::Own(own) => &own.name,
        }
    }

    /// A number that tells names apart.
    pub(super) fn code(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        self.name().hash(&mut hasher);
        hasher.finish()
    }

    /// A datatype as it lies in the file.
    pub(super) fn stored(&self, ty: &Datatype) -> Result<Datatype> {
        let of_bytes = |bytes: usize| Datatype::contiguous(bytes as i64, Datatype::predefined(Basic::Byte));
        match self {
            Representation::Native | Representation::Internal => Ok(ty.clone()),
            Representation::External32 => {
                ty.with_basics(&|basic| of_bytes(Datatype::predefined(basic).external32_size(1)?))
            }
            Representation::Own(own) => ty.with_basics(&|basic| of_bytes(own.extent(basic)?)),
        }
    }

    /// Whether bytes are read as they are.
    pub(super) fn reads_plainly(&self) -> bool {
        match self {
            Representation::Native | Representation::Internal => true,
            Representation::External32 => false,
            Representation::Own(own) => !own.conversion.converts_reads(),
        }
    }

    /// Whether bytes are written as they are.
    pub(super) fn writes_plainly(&self) -> bool {
        match self {
            Representation::Native | Representation::Internal => true,
            Representation::External32 => false,
            Representation::Own(own) => !own.conversion.converts_writes(),
        }
    }

    /// Bytes of elements in the file, where they are converted.
    pub(super) fn bytes(&self, ty: &Datatype, count: usize) -> Result<usize> {
        match self {
            Representation::External32 => ty.external32_size(count),
            _ => self.stored(ty)?.bytes(count),
        }
    }

    /// Converts `count` elements from a base address on to `file`, which has the room for them.
    pub(super) fn write(&self, memory: ConstMem, count: usize, ty: &Datatype, file: &mut [u8]) -> Result<()> {
        match self {
            Representation::Own(own) => own.conversion.write(memory, count, ty, crate::engine::memory::of_mut(file)),
            _ => ty.pack_external32(count, &memory, file, 0).map(drop),
        }
    }

    /// Converts `count` elements that lie in `file` to memory from a base address on.
    pub(super) fn read(&self, memory: MutMem, count: usize, ty: &Datatype, file: &[u8]) -> Result<()> {
        match self {
            Representation::Own(own) => own.conversion.read(memory, count, ty, crate::engine::memory::of(file)),
            _ => ty.unpack_external32(count, &mut { memory }, file, 0).map(drop),
        }
    }
}

/// Memory for elements on their way, of which a program may have said that they are large.
pub(super) fn room(bytes: usize) -> Result<Vec<u8>> {
    let mut room = Vec::new();
    if room.try_reserve_exact(bytes).is_err() {
        fail!(NoMem, "{bytes} bytes for converting elements of a file cannot be had");
    }
    room.resize(bytes, 0);
    Ok(room)
}

/// The error of a program that says that an element takes no room, or more than there can be.
pub fn wrong_extent(ty: &Datatype, name: &str, extent: i64) -> Error {
    let text = format!("the data representation '{name}' says that {ty} takes {extent} bytes in a file");
    Error::new(ErrorClass::Conversion, text)
}
