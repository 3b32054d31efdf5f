//! Data representations of the program (MPI 5.0 §14.5.3). They belong to the process and stay until it ends.

use std::cell::Cell;
use std::collections::HashMap;
use std::ffi::{c_int, c_void};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use phalanx_engine::datatype::Datatype;
use phalanx_engine::io::{Conversion, Own, Representation, wrong_extent};
use phalanx_engine::{Error, ErrorClass};
use phalanx_mpi_macros::mpi_entry;
use phalanx_shm::mem::{ConstMem, MutMem};

use crate::consts;
use crate::datatype::{forget, handle_of};
use crate::entry::{Done, Failure, wrong};
use crate::handle::RawType;
use crate::param::{Address, Out, Text};

static REGISTERED: Mutex<Option<HashMap<String, Arc<Own>>>> = Mutex::new(None);

fn registered() -> MutexGuard<'static, Option<HashMap<String, Arc<Own>>>> {
    REGISTERED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The representation of a name.
///
/// # Errors
/// Class `UnsupportedDatarep` for a name that stands for none.
pub(super) fn of(name: &str) -> phalanx_engine::Result<Representation> {
    if let Some(standard) = Representation::of(name) {
        return Ok(standard);
    }
    match registered().as_ref().and_then(|own| own.get(name)) {
        Some(own) => Ok(Representation::Own(own.clone())),
        None => Err(Error::new(
            ErrorClass::UnsupportedDatarep,
            format!(
                "no data representation '{name}'; there are native, internal, external32, and those that this process has \
                 registered (MPI_Register_datarep)"
            ),
        )),
    }
}

type Small = unsafe extern "C" fn(*mut c_void, RawType, c_int, *mut c_void, i64, *mut c_void) -> c_int;
type Large = unsafe extern "C" fn(*mut c_void, RawType, i64, *mut c_void, i64, *mut c_void) -> c_int;
type Extent = unsafe extern "C" fn(RawType, *mut isize, *mut c_void) -> c_int;

/// A conversion function of the program.
#[derive(Clone, Copy)]
enum Function {
    Small(Small),
    Large(Large),
}

impl Function {
    /// The function at an address; none for `MPI_CONVERSION_FN_NULL`.
    fn at(address: Address, large: bool) -> Option<Function> {
        if address.0 == consts::CONVERSION_FN_NULL {
            return None;
        }
        // SAFETY: the program gave this address as a conversion function of that form.
        Some(unsafe {
            if large {
                Function::Large(std::mem::transmute::<usize, Large>(address.0))
            } else {
                Function::Small(std::mem::transmute::<usize, Small>(address.0))
            }
        })
    }
}

thread_local! {
    /// Bytes of the file's side in the conversion that this thread runs.
    static BYTES: Cell<usize> = const { Cell::new(0) };
}

/// Beyond the standard, which tells conversion functions where the file's side begins and not where it ends: its bytes.
#[mpi_entry(PHALANX_Conversion_bytes)]
fn conversion_bytes(bytes: Out<i64>) -> Done {
    bytes.set(BYTES.get() as i64);
    Ok(())
}

/// The functions of a representation.
struct Functions {
    name: String,
    read: Option<Function>,
    write: Option<Function>,
    extent: Extent,
    state: usize,
}

/// A handle for a datatype during a callback.
struct Lent {
    raw: RawType,
    temporary: bool,
}

impl Lent {
    fn of(ty: &Datatype) -> phalanx_engine::Result<Lent> {
        let raw = handle_of(ty)
            .map_err(|_| Error::new(ErrorClass::Other, "no handle is left for the datatype of a conversion"))?;
        Ok(Lent { raw, temporary: ty.named().is_none() })
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        if self.temporary {
            forget(self.raw);
        }
    }
}

impl Functions {
    fn ended(&self, what: &str, code: c_int) -> phalanx_engine::Result<()> {
        if code == consts::SUCCESS {
            return Ok(());
        }
        let text = format!("the {what} function of the data representation '{}' failed with code {code}", self.name);
        Err(Error::new(ErrorClass::Conversion, text))
    }

    fn convert(
        &self,
        what: &str,
        function: Option<Function>,
        memory: *mut u8,
        count: usize,
        ty: &Datatype,
        (file, bytes): (*mut u8, usize),
    ) -> phalanx_engine::Result<()> {
        let Some(function) = function else { return Ok(()) };
        let lent = Lent::of(ty)?;
        let outer = BYTES.replace(bytes);
        let (memory, file, state) = (memory.cast(), file.cast(), self.state as *mut c_void);
        let code = match function {
            // SAFETY: elements of the type are at both addresses by the contract of `Conversion`; a group of them is smaller than
            // the buffer they go through, whose size an int counts.
            Function::Small(function) => unsafe { function(memory, lent.raw, count as c_int, file, 0, state) },
            // SAFETY: as above.
            Function::Large(function) => unsafe { function(memory, lent.raw, count as i64, file, 0, state) },
        };
        BYTES.set(outer);
        self.ended(what, code)
    }
}

impl Conversion for Functions {
    fn extent(&self, ty: &Datatype) -> phalanx_engine::Result<usize> {
        let (lent, mut bytes) = (Lent::of(ty)?, 0);
        // SAFETY: the program gave this function for this; the place is valid for the write.
        let code = unsafe { (self.extent)(lent.raw, &raw mut bytes, self.state as *mut c_void) };
        self.ended("extent", code)?;
        match c_int::try_from(bytes) {
            Ok(bytes @ 1..) => Ok(bytes as usize),
            _ => Err(wrong_extent(ty, &self.name, bytes as i64)),
        }
    }

    fn converts_reads(&self) -> bool {
        self.read.is_some()
    }

    fn converts_writes(&self) -> bool {
        self.write.is_some()
    }

    fn read(&self, memory: MutMem, count: usize, ty: &Datatype, file: ConstMem) -> phalanx_engine::Result<()> {
        self.convert("read conversion", self.read, memory.as_ptr(), count, ty, (file.as_ptr().cast_mut(), file.len()))
    }

    fn write(&self, memory: ConstMem, count: usize, ty: &Datatype, file: MutMem) -> phalanx_engine::Result<()> {
        self.convert("write conversion", self.write, memory.as_ptr().cast_mut(), count, ty, (file.as_ptr(), file.len()))
    }
}

fn register(
    name: &Text,
    read: Option<Function>,
    write: Option<Function>,
    extent: Address,
    state: Address,
) -> Result<(), Failure> {
    let name = &name.0;
    if name.is_empty() || name.len() >= consts::MAX_DATAREP_STRING as usize {
        let most = consts::MAX_DATAREP_STRING - 1;
        return Err(wrong(ErrorClass::Arg, format!("the name '{name}' is not 1 to {most} bytes long")));
    }
    if extent.0 == 0 {
        return Err(wrong(ErrorClass::Arg, "the extent function of the data representation is a null pointer"));
    }
    let mut registered = registered();
    let known = registered.get_or_insert_default();
    if Representation::of(name).is_some() || known.contains_key(name.as_str()) {
        return Err(wrong(ErrorClass::DupDatarep, format!("there is a data representation '{name}' already")));
    }
    // SAFETY: the program gave this address as an MPI_Datarep_extent_function.
    let extent = unsafe { std::mem::transmute::<usize, Extent>(extent.0) };
    let functions = Functions { name: name.to_string(), read, write, extent, state: state.0 };
    known.insert(name.to_string(), Arc::new(Own::new(name.to_string(), Box::new(functions))));
    Ok(())
}

/// Registers a data representation of the program.
#[mpi_entry(MPI_Register_datarep)]
fn register_datarep(datarep: Text, read: Address, write: Address, extent: Address, state: Address) -> Done {
    register(&datarep, Function::at(read, false), Function::at(write, false), extent, state)
}

/// Registers a data representation of the program whose functions count with `MPI_Count`.
#[mpi_entry(MPI_Register_datarep_c)]
fn register_datarep_c(datarep: Text, read: Address, write: Address, extent: Address, state: Address) -> Done {
    register(&datarep, Function::at(read, true), Function::at(write, true), extent, state)
}
