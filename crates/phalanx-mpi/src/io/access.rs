//! Reads and writes of files (MPI 5.0 §14.4).
//!
//! An access is complete when the call that starts it returns, in every form: the kernel has its data then, or has given it, and
//! goes on by itself with the device. A thread that waited for the same copy would cost more than the copy of what is small,
//! and would need a CPU that ranks have not got for what is large (see `docs/decisions/0014-files.md`).

use phalanx_engine::io::Place;
use phalanx_engine::{ErrorClass, RecvBuf, Request, SendBuf, Status};
use phalanx_mpi_macros::mpi_entry;
use phalanx_shm::mem::{ConstMem, MutMem};

use super::{FileObject, FileRef};
use crate::buffer::{RecvPtr, SendPtr};
use crate::datatype::{self, TypeRef};
use crate::entry::{Done, Failure, wrong};
use crate::forms::{Begin, Ready, Run, Split, Start};
use crate::handle::RawType;
use crate::param::{self, Number};

/// A split access that has begun: the name of its blocking form, the address of its buffer, how it ended.
pub(super) struct Begun {
    pub(super) name: &'static str,
    buffer: usize,
    outcome: phalanx_engine::Result<Status>,
}

/// Which way data goes.
enum Way {
    Read(MutMem),
    Write(ConstMem),
}

/// A read or a write whose arguments have been looked at.
struct Access<'f> {
    file: &'f FileObject,
    place: Place,
    way: Way,
    count: usize,
    ty: TypeRef,
    /// Whether all processes call it, and may wait for each other.
    all: bool,
}

/// What a body gives.
type Accessed<'f> = Result<Ready<Access<'f>>, Failure>;

fn read(file: &FileObject, place: Place, buf: RecvPtr, count: Number, ty: RawType) -> Accessed<'_> {
    let (ty, count) = (datatype::find(ty)?, param::count(count.0)?.0);
    let way = Way::Read(buf.memory(count)?);
    Ok(Ready { on: file.error_object(), operation: Access { file, place, way, count, ty, all: false } })
}

fn write(file: &FileObject, place: Place, buf: SendPtr, count: Number, ty: RawType) -> Accessed<'_> {
    let (ty, count) = (datatype::find(ty)?, param::count(count.0)?.0);
    let way = Way::Write(buf.memory(count)?);
    Ok(Ready { on: file.error_object(), operation: Access { file, place, way, count, ty, all: false } })
}

/// A write that all processes call.
fn written_by_all(mut ready: Ready<Access<'_>>) -> Ready<Access<'_>> {
    ready.operation.all = true;
    ready
}

impl Run for Access<'_> {
    fn run(self) -> phalanx_engine::Result<Status> {
        match self.way {
            Way::Read(mem) => self.file.file.read(self.place, RecvBuf::raw(mem, self.count, &self.ty)),
            Way::Write(mem) if self.all => {
                self.file.file.write_all(self.place, SendBuf::raw(mem, self.count, &self.ty))
            }
            Way::Write(mem) => self.file.file.write(self.place, SendBuf::raw(mem, self.count, &self.ty)),
        }
    }
}

impl Start for Access<'_> {
    fn start(self) -> phalanx_engine::Result<Request> {
        let engine = self.file.file.engine();
        // What starts waits for nobody.
        let alone = Access { all: false, ..self };
        Ok(Request::complete(engine, alone.run()?))
    }
}

impl Begin for Access<'_> {
    fn begin(self, name: &'static str) -> Done {
        let file = self.file;
        file.need_no_split()?;
        let buffer = match self.way {
            Way::Read(mem) => mem.as_ptr().addr(),
            Way::Write(mem) => mem.as_ptr().addr(),
        };
        let outcome = self.run();
        *file.split() = Some(Begun { name, buffer, outcome });
        Ok(())
    }
}

impl Split for FileRef {
    fn end(&self, name: &'static str, buffer: usize) -> Result<Status, Failure> {
        let mut split = self.split();
        match split.take() {
            Some(begun) if begun.name == name && begun.buffer == buffer => Ok(begun.outcome?),
            None => Err(wrong(ErrorClass::Other, format!("no split access has begun: call {name}_begin first"))),
            Some(begun) => {
                let text = if begun.name == name {
                    "the buffer is not the one that the access began with".to_string()
                } else {
                    format!("another split access is under way, which {}_end ends", begun.name)
                };
                *split = Some(begun);
                Err(wrong(ErrorClass::Other, text))
            }
        }
    }
}

/// Reads at an offset.
#[mpi_entry(MPI_File_read_at | MPI_File_iread_at, poly)]
fn read_at(file: &FileRef, offset: i64, buf: RecvPtr, count: Number, datatype: RawType) -> Accessed<'_> {
    read(file, Place::At(offset), buf, count, datatype)
}

/// Writes at an offset.
#[mpi_entry(MPI_File_write_at | MPI_File_iwrite_at, poly)]
fn write_at(file: &FileRef, offset: i64, buf: SendPtr, count: Number, datatype: RawType) -> Accessed<'_> {
    write(file, Place::At(offset), buf, count, datatype)
}

/// Reads at an offset, all processes of the file together.
#[mpi_entry(MPI_File_read_at_all | MPI_File_iread_at_all | MPI_File_read_at_all_begin | MPI_File_read_at_all_end, poly, composed)]
fn read_at_all(file: &FileRef, offset: i64, buf: RecvPtr, count: Number, datatype: RawType) -> Accessed<'_> {
    read(file, Place::At(offset), buf, count, datatype)
}

/// Writes at an offset, all processes of the file together.
#[mpi_entry(MPI_File_write_at_all | MPI_File_iwrite_at_all | MPI_File_write_at_all_begin | MPI_File_write_at_all_end, poly, composed)]
fn write_at_all(file: &FileRef, offset: i64, buf: SendPtr, count: Number, datatype: RawType) -> Accessed<'_> {
    write(file, Place::At(offset), buf, count, datatype).map(written_by_all)
}

/// Reads at the process's own position.
#[mpi_entry(MPI_File_read | MPI_File_iread, poly)]
fn read_here(file: &FileRef, buf: RecvPtr, count: Number, datatype: RawType) -> Accessed<'_> {
    read(file, Place::Own, buf, count, datatype)
}

/// Writes at the process's own position.
#[mpi_entry(MPI_File_write | MPI_File_iwrite, poly)]
fn write_here(file: &FileRef, buf: SendPtr, count: Number, datatype: RawType) -> Accessed<'_> {
    write(file, Place::Own, buf, count, datatype)
}

/// Reads at the process's own position, all processes of the file together.
#[mpi_entry(MPI_File_read_all | MPI_File_iread_all | MPI_File_read_all_begin | MPI_File_read_all_end, poly, composed)]
fn read_all(file: &FileRef, buf: RecvPtr, count: Number, datatype: RawType) -> Accessed<'_> {
    read(file, Place::Own, buf, count, datatype)
}

/// Writes at the process's own position, all processes of the file together.
#[mpi_entry(MPI_File_write_all | MPI_File_iwrite_all | MPI_File_write_all_begin | MPI_File_write_all_end, poly, composed)]
fn write_all(file: &FileRef, buf: SendPtr, count: Number, datatype: RawType) -> Accessed<'_> {
    write(file, Place::Own, buf, count, datatype).map(written_by_all)
}

/// Reads at the shared position.
#[mpi_entry(MPI_File_read_shared | MPI_File_iread_shared, poly)]
fn read_shared(file: &FileRef, buf: RecvPtr, count: Number, datatype: RawType) -> Accessed<'_> {
    read(file, Place::Shared, buf, count, datatype)
}

/// Writes at the shared position.
#[mpi_entry(MPI_File_write_shared | MPI_File_iwrite_shared, poly)]
fn write_shared(file: &FileRef, buf: SendPtr, count: Number, datatype: RawType) -> Accessed<'_> {
    write(file, Place::Shared, buf, count, datatype)
}

/// Reads at the shared position, in the order of ranks.
#[mpi_entry(MPI_File_read_ordered | MPI_File_read_ordered_begin | MPI_File_read_ordered_end, poly, composed)]
fn read_ordered(file: &FileRef, buf: RecvPtr, count: Number, datatype: RawType) -> Accessed<'_> {
    read(file, Place::Ordered, buf, count, datatype)
}

/// Writes at the shared position, in the order of ranks.
#[mpi_entry(MPI_File_write_ordered | MPI_File_write_ordered_begin | MPI_File_write_ordered_end, poly, composed)]
fn write_ordered(file: &FileRef, buf: SendPtr, count: Number, datatype: RawType) -> Accessed<'_> {
    write(file, Place::Ordered, buf, count, datatype).map(written_by_all)
}
