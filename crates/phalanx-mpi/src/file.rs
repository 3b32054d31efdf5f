//! Files (MPI 5.0 §14): the error handler that they inherit. None can be open: only `MPI_FILE_NULL` is accepted.

use std::ffi::c_int;
use std::sync::{Mutex, MutexGuard, PoisonError};

use phalanx_engine::ErrorClass;
use phalanx_mpi_macros::mpi_entry;

use crate::entry::{Done, ErrorObject, raise, wrong};
use crate::errors::{self, Handler};
use crate::handle::{Kind, RawErrhandler, RawFile};
use crate::param::{Address, Out};

/// The handler of `MPI_FILE_NULL`, which new files inherit: errors return (MPI 5.0 §14.7).
static FILE_HANDLER: Mutex<Handler> = Mutex::new(Handler::Return);

fn inherited() -> MutexGuard<'static, Handler> {
    FILE_HANDLER.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The handler for errors on files.
pub(crate) fn handler() -> Handler {
    inherited().clone()
}

/// Makes an error handler for files.
#[mpi_entry(MPI_File_create_errhandler, anytime)]
fn file_create_errhandler(function: Address, errhandler: Out<RawErrhandler>) -> Done {
    errhandler.set(errors::create(Kind::File, function)?);
    Ok(())
}

/// Sets the error handler that files inherit.
#[mpi_entry(MPI_File_set_errhandler)]
fn file_set_errhandler(file: RawFile, errhandler: RawErrhandler) -> Done {
    need_null_file(file)?;
    *inherited() = errors::handler(errhandler, Kind::File)?;
    Ok(())
}

/// Gives the error handler that files inherit.
#[mpi_entry(MPI_File_get_errhandler)]
fn file_get_errhandler(file: RawFile, errhandler: Out<RawErrhandler>) -> Done {
    need_null_file(file)?;
    errhandler.set(errors::handle_of(&inherited())?);
    Ok(())
}

/// Calls the error handler that files inherit.
#[mpi_entry(MPI_File_call_errhandler)]
fn file_call_errhandler(file: RawFile, code: c_int) -> Done {
    need_null_file(file)?;
    raise("MPI_File_call_errhandler", ErrorObject::File(file), code);
    Ok(())
}

fn need_null_file(file: RawFile) -> Done {
    if file == RawFile::NULL {
        return Ok(());
    }
    Err(wrong(ErrorClass::File, "the file handle is not valid"))
}
