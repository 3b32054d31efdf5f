//! Files (MPI 5.0 §14): handles, opening, sizes, views, positions.
//!
//! - [`access`]: reads and writes.
//! - [`errhandler`]: error handlers.
//! - [`represent`]: data representations of the program.

mod access;
mod errhandler;
mod represent;

use std::ffi::{CStr, OsStr, c_char, c_int};
use std::ops::Deref;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use phalanx_engine::ErrorClass;
use phalanx_engine::info::Info;
use phalanx_engine::io::{self, File, Mode, Whence};
use phalanx_mpi_macros::mpi_entry;

use crate::comm::CommRef;
use crate::consts;
use crate::datatype::{self, TypeRef};
use crate::entry::{Done, ErrorObject, Failure, wrong};
use crate::errors::Handler;
use crate::group;
use crate::handle::{Kind, RawFile, RawGroup, RawInfo, RawType};
use crate::info::{self, InfoRef};
use crate::param::{InOutHandle, Out, Param, Text, TextOut};
use crate::table::Table;

pub(crate) use errhandler::handler;

/// What a file handle refers to.
pub(crate) struct FileObject {
    file: File,
    raw: usize,
    amode: c_int,
    handler: Mutex<Handler>,
    info: Mutex<Info>,
    split: Mutex<Option<access::Begun>>,
}

static FILES: Table<Arc<FileObject>> = Table::new(Kind::File);

impl FileObject {
    fn error_object(&self) -> ErrorObject {
        ErrorObject::File(RawFile(self.raw))
    }

    /// How texts call it: by the name it was opened by.
    pub(crate) fn title(&self) -> String {
        self.file.path().to_string_lossy().into_owned()
    }

    fn handler(&self) -> Handler {
        self.handler.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set_handler(&self, handler: Handler) {
        *self.handler.lock().unwrap_or_else(PoisonError::into_inner) = handler;
    }

    fn info(&self) -> MutexGuard<'_, Info> {
        self.info.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn split(&self) -> MutexGuard<'_, Option<access::Begun>> {
        self.split.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Refuses what cannot be done while a split access is under way.
    fn need_no_split(&self) -> Done {
        match &*self.split() {
            None => Ok(()),
            Some(begun) => {
                let text = format!("a split collective access is under way: call {}_end first", begun.name);
                Err(wrong(ErrorClass::Other, text))
            }
        }
    }

    /// Hints are kept and given back: none of them changes what is done here.
    fn add_hints(&self, hints: &InfoRef) -> Done {
        let mine = self.info();
        for (key, value) in hints.hints()?.to_entries() {
            mine.set(&key, &value)?;
        }
        Ok(())
    }
}

/// A file argument.
pub(crate) struct FileRef(Arc<FileObject>);

impl Deref for FileRef {
    type Target = FileObject;
    fn deref(&self) -> &FileObject {
        &self.0
    }
}

impl<W> Param<W> for FileRef {
    type Raw = RawFile;
    unsafe fn decode(raw: RawFile) -> Result<FileRef, Failure> {
        find(raw)
    }
    fn object(raw: RawFile) -> ErrorObject {
        ErrorObject::File(raw)
    }
}

/// The file behind a handle.
pub(crate) fn find(raw: RawFile) -> Result<FileRef, Failure> {
    FILES.get(raw.0).map(FileRef).ok_or_else(|| bad_file(raw))
}

#[cold]
fn bad_file(raw: RawFile) -> Failure {
    let text = if raw == RawFile::NULL {
        "the file is MPI_FILE_NULL".to_string()
    } else {
        format!("the file handle 0x{:x} is not valid: it was closed, or never was a file", raw.0)
    };
    wrong(ErrorClass::File, text)
}

/// The name of a file, which may be any bytes. There is no file yet: errors are the business of `MPI_FILE_NULL`'s handler.
pub(crate) struct FileName(PathBuf);

impl<W> Param<W> for FileName {
    type Raw = *const c_char;
    unsafe fn decode(raw: *const c_char) -> Result<FileName, Failure> {
        if raw.is_null() {
            return Err(wrong(ErrorClass::BadFile, "the name of the file is a null pointer"));
        }
        // SAFETY: not null; the caller promised a C string for the time of the call.
        let bytes = unsafe { CStr::from_ptr(raw) };
        Ok(FileName(PathBuf::from(OsStr::from_bytes(bytes.to_bytes()))))
    }
    fn object(_: *const c_char) -> ErrorObject {
        ErrorObject::File(RawFile::NULL)
    }
}

/// What the bits of an access mode say. Which of them go together, the engine checks on all processes together.
fn mode(amode: c_int) -> Mode {
    let has = |bit| amode & bit != 0;
    let ways = [consts::MODE_RDONLY, consts::MODE_RDWR, consts::MODE_WRONLY];
    let one = ways.iter().filter(|way| has(**way)).count() == 1;
    Mode {
        read: one && !has(consts::MODE_WRONLY),
        write: one && !has(consts::MODE_RDONLY),
        create: has(consts::MODE_CREATE),
        exclusive: has(consts::MODE_EXCL),
        delete_on_close: has(consts::MODE_DELETE_ON_CLOSE),
        sequential: has(consts::MODE_SEQUENTIAL),
        append: has(consts::MODE_APPEND),
    }
}

fn whence(whence: c_int) -> Result<Whence, Failure> {
    match whence {
        consts::SEEK_SET => Ok(Whence::Set),
        consts::SEEK_CUR => Ok(Whence::Current),
        consts::SEEK_END => Ok(Whence::End),
        _ => Err(wrong(ErrorClass::Arg, format!("whence is {whence}; use MPI_SEEK_SET, MPI_SEEK_CUR or MPI_SEEK_END"))),
    }
}

/// A number of bytes or elements as C has it.
fn offset(value: u64) -> Result<i64, Failure> {
    i64::try_from(value).map_err(|_| wrong(ErrorClass::ValueTooLarge, format!("the result {value} is beyond any file")))
}

/// Opens a file.
#[mpi_entry(MPI_File_open, composed)]
fn file_open(comm: OpeningComm, filename: FileName, amode: c_int, hints: InfoRef, fh: Out<RawFile>) -> Done {
    let handler = handler(RawFile::NULL);
    let entries = hints.hints()?;
    let file = File::open(&comm.0.comm, &filename.0, mode(amode))?;
    crate::trace::renamed();
    let raw = FILES.insert_with(|raw| {
        Arc::new(FileObject {
            file,
            raw,
            amode,
            handler: Mutex::new(handler),
            info: Mutex::new(entries),
            split: Mutex::new(None),
        })
    });
    fh.set(raw.map(RawFile).ok_or_else(|| wrong(ErrorClass::Other, "too many files are open; close some"))?);
    Ok(())
}

/// The communicator of an opening, whose errors are the business of `MPI_FILE_NULL`'s handler (MPI 5.0 §14.7).
pub(crate) struct OpeningComm(CommRef);

impl<W> Param<W> for OpeningComm {
    type Raw = crate::handle::RawComm;
    unsafe fn decode(raw: crate::handle::RawComm) -> Result<OpeningComm, Failure> {
        crate::comm::find(raw).map(OpeningComm)
    }
    fn object(_: crate::handle::RawComm) -> ErrorObject {
        ErrorObject::File(RawFile::NULL)
    }
}

/// Closes a file.
#[mpi_entry(MPI_File_close, composed)]
fn file_close(fh: InOutHandle<RawFile>) -> Done {
    let raw = fh.get();
    find(raw)?.need_no_split()?;
    let object = FILES.remove(raw.0).ok_or_else(|| bad_file(raw))?;
    fh.set(RawFile::NULL);
    match Arc::try_unwrap(object) {
        // The file is gone, and its handler with it: that of MPI_FILE_NULL learns of what went wrong.
        Ok(object) => object.file.close().map_err(|error| Failure::On(ErrorObject::File(RawFile::NULL), error)),
        Err(_) => Err(wrong(ErrorClass::File, "another thread works on the file that is closed")),
    }
}

/// Deletes a file.
#[mpi_entry(MPI_File_delete)]
fn file_delete(filename: FileName, _hints: InfoRef) -> Done {
    Ok(io::delete(&filename.0)?)
}

/// Sets the size.
#[mpi_entry(MPI_File_set_size, composed)]
fn file_set_size(fh: FileRef, size: i64) -> Done {
    Ok(fh.file.set_size(size)?)
}

/// Makes sure that there is space.
#[mpi_entry(MPI_File_preallocate, composed)]
fn file_preallocate(fh: FileRef, size: i64) -> Done {
    Ok(fh.file.preallocate(size)?)
}

/// Gives the size.
#[mpi_entry(MPI_File_get_size)]
fn file_get_size(fh: FileRef, size: Out<i64>) -> Done {
    size.set(offset(fh.file.size()?)?);
    Ok(())
}

/// Gives the group of processes that opened the file.
#[mpi_entry(MPI_File_get_group)]
fn file_get_group(fh: FileRef, group: Out<RawGroup>) -> Done {
    group.set(group::adopt(fh.file.group().clone())?);
    Ok(())
}

/// Gives the access mode.
#[mpi_entry(MPI_File_get_amode)]
fn file_get_amode(fh: FileRef, amode: Out<c_int>) -> Done {
    amode.set(fh.amode);
    Ok(())
}

/// Sets hints.
#[mpi_entry(MPI_File_set_info, composed)]
fn file_set_info(fh: FileRef, hints: InfoRef) -> Done {
    fh.add_hints(&hints)
}

/// Gives the hints.
#[mpi_entry(MPI_File_get_info)]
fn file_get_info(fh: FileRef, used: Out<RawInfo>) -> Done {
    let copy = info::copy(&fh.info())?;
    used.set(info::adopt(copy)?);
    Ok(())
}

/// Sets the view.
#[mpi_entry(MPI_File_set_view, composed)]
fn file_set_view(fh: FileRef, disp: i64, etype: TypeRef, filetype: TypeRef, datarep: Text, hints: InfoRef) -> Done {
    fh.need_no_split()?;
    let displacement = (disp != consts::DISPLACEMENT_CURRENT).then_some(disp);
    fh.file.set_view(displacement, &etype, &filetype, represent::of(&datarep.0))?;
    fh.add_hints(&hints)
}

/// Gives the view.
#[mpi_entry(MPI_File_get_view)]
fn file_get_view(fh: FileRef, disp: Out<i64>, etype: Out<RawType>, filetype: Out<RawType>, datarep: TextOut) -> Done {
    let view = fh.file.view();
    datarep.set(view.representation.name(), consts::MAX_DATAREP_STRING as usize)?;
    disp.set(offset(view.displacement)?);
    etype.set(datatype::handle_of(&view.etype)?);
    filetype.set(datatype::handle_of(&view.filetype)?);
    Ok(())
}

/// Moves the process's own position.
#[mpi_entry(MPI_File_seek)]
fn file_seek(fh: FileRef, offset: i64, from: c_int) -> Done {
    Ok(fh.file.seek(offset, whence(from)?)?)
}

/// Gives the process's own position.
#[mpi_entry(MPI_File_get_position)]
fn file_get_position(fh: FileRef, position: Out<i64>) -> Done {
    position.set(offset(fh.file.position()?)?);
    Ok(())
}

/// Gives the byte at an offset in the view.
#[mpi_entry(MPI_File_get_byte_offset)]
fn file_get_byte_offset(fh: FileRef, at: i64, byte: Out<i64>) -> Done {
    byte.set(offset(fh.file.byte_offset(at)?)?);
    Ok(())
}

/// Moves the shared position.
#[mpi_entry(MPI_File_seek_shared, composed)]
fn file_seek_shared(fh: FileRef, offset: i64, from: c_int) -> Done {
    Ok(fh.file.seek_shared(offset, whence(from)?)?)
}

/// Gives the shared position.
#[mpi_entry(MPI_File_get_position_shared)]
fn file_get_position_shared(fh: FileRef, position: Out<i64>) -> Done {
    position.set(offset(fh.file.shared_position()?)?);
    Ok(())
}

/// Gives the extent of a datatype in the file.
#[mpi_entry(MPI_File_get_type_extent, poly)]
fn file_get_type_extent(fh: FileRef, ty: TypeRef, extent: Out<i64>) -> Done {
    extent.set(fh.file.type_extent(&ty)? as i64);
    Ok(())
}

/// Says whether accesses are atomic.
#[mpi_entry(MPI_File_set_atomicity, composed)]
fn file_set_atomicity(fh: FileRef, flag: c_int) -> Done {
    Ok(fh.file.set_atomicity(flag != 0)?)
}

/// Tells whether accesses are atomic.
#[mpi_entry(MPI_File_get_atomicity)]
fn file_get_atomicity(fh: FileRef, flag: Out<c_int>) -> Done {
    flag.set(fh.file.is_atomic().into());
    Ok(())
}

/// Brings what was written to the device.
#[mpi_entry(MPI_File_sync, composed)]
fn file_sync(fh: FileRef) -> Done {
    Ok(fh.file.sync()?)
}
