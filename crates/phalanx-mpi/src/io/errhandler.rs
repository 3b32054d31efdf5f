//! Error handlers of files (MPI 5.0 §9.3, §14.7): each file has its own; that of `MPI_FILE_NULL` is what new files get.

use std::ffi::c_int;
use std::sync::{Mutex, MutexGuard, PoisonError};

use phalanx_mpi_macros::mpi_entry;

use super::find;
use crate::entry::{Done, ErrorObject, raise};
use crate::errors::{self, Handler};
use crate::handle::{Kind, RawErrhandler, RawFile};
use crate::param::{Address, Out};

/// The handler of `MPI_FILE_NULL`, which new files inherit: errors return (MPI 5.0 §14.7).
static FILE_HANDLER: Mutex<Handler> = Mutex::new(Handler::Return);

fn inherited() -> MutexGuard<'static, Handler> {
    FILE_HANDLER.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The handler for errors on a file; for what is no file, that of `MPI_FILE_NULL`.
pub(crate) fn handler(raw: RawFile) -> Handler {
    find(raw).map_or_else(|_| inherited().clone(), |file| file.handler())
}

/// Makes an error handler for files.
#[mpi_entry(MPI_File_create_errhandler, anytime)]
fn file_create_errhandler(function: Address, errhandler: Out<RawErrhandler>) -> Done {
    errhandler.set(errors::create(Kind::File, function)?);
    Ok(())
}

/// Sets the error handler of a file, or the one that new files get.
#[mpi_entry(MPI_File_set_errhandler)]
fn file_set_errhandler(file: RawFile, errhandler: RawErrhandler) -> Done {
    let handler = errors::handler(errhandler, Kind::File);
    if file == RawFile::NULL {
        *inherited() = handler?;
    } else {
        find(file)?.set_handler(handler?);
    }
    Ok(())
}

/// Gives the error handler of a file, or the one that new files get.
#[mpi_entry(MPI_File_get_errhandler)]
fn file_get_errhandler(file: RawFile, errhandler: Out<RawErrhandler>) -> Done {
    let handler = if file == RawFile::NULL { inherited().clone() } else { find(file)?.handler() };
    errhandler.set(errors::handle_of(&handler)?);
    Ok(())
}

/// Calls the error handler of a file, or the one that new files get.
#[mpi_entry(MPI_File_call_errhandler)]
fn file_call_errhandler(file: RawFile, code: c_int) -> Done {
    if file != RawFile::NULL {
        find(file)?;
    }
    raise("MPI_File_call_errhandler", ErrorObject::File(file), code);
    Ok(())
}
