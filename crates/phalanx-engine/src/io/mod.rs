//! Files (MPI 5.0 chapter 14).
//!
//! | file | subject |
//! |---|---|
//! | `mod.rs` | opening, closing, sizes, views, positions |
//! | `access.rs` | reads and writes |
//! | `small.rs` | writes of many small pieces by few system calls |
//! | `together.rs` | collective writes of small pieces |
//! | `view.rs` | which bytes of the file a process sees |
//! | `represent.rs` | how elements are stored |
//! | `error.rs` | from the kernel's errors to the standard's classes |
//!
//! A file has a communicator of its own. What all processes must do alike, one of them does, and all learn how it ended. The
//! shared position is a word in the universe, which is moved by one addition: there is no lock that a dead process could hold.

mod access;
mod error;
mod represent;
mod small;
mod together;
mod view;

#[cfg(test)]
mod tests;

use std::fs;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use phalanx_shm::Offset;
use rustix::fs::FallocateFlags;
use rustix::io::Errno;

pub use access::Place;
pub use represent::{Conversion, Own, Representation, wrong_extent};
use small::Small;
use together::Ways;
pub use view::View;

use crate::coll::Arg;
use crate::comm::Comm;
use crate::datatype::Datatype;
use crate::engine::buffer::{RecvBuf, SendBuf};
use crate::error::{Error, ErrorClass, Result, fail};
use crate::group::Group;

/// How a file is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mode {
    /// The file may be read.
    pub read: bool,
    /// The file may be written.
    pub write: bool,
    /// It is made when it does not exist.
    pub create: bool,
    /// It must not exist.
    pub exclusive: bool,
    /// It is deleted when it is closed.
    pub delete_on_close: bool,
    /// It is accessed in order only, through the shared position.
    pub sequential: bool,
    /// All positions begin at the end of the file.
    pub append: bool,
}

impl Mode {
    fn check(self) -> Result<()> {
        if !self.read && !self.write {
            fail!(Amode, "the access mode needs exactly one of MPI_MODE_RDONLY, MPI_MODE_RDWR and MPI_MODE_WRONLY");
        }
        if !self.write && (self.create || self.exclusive) {
            fail!(Amode, "MPI_MODE_CREATE and MPI_MODE_EXCL need a file that may be written");
        }
        if self.read && self.write && self.sequential {
            fail!(Amode, "MPI_MODE_SEQUENTIAL does not go with MPI_MODE_RDWR");
        }
        Ok(())
    }

    fn bits(self) -> u64 {
        [self.read, self.write, self.create, self.exclusive, self.delete_on_close, self.sequential, self.append]
            .into_iter()
            .fold(0, |bits, set| bits << 1 | u64::from(set))
    }
}

/// From where an offset counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whence {
    /// From the beginning of the view.
    Set,
    /// From the position.
    Current,
    /// From the end of the file.
    End,
}

/// A file that a group of processes has opened together.
pub struct File {
    comm: Comm,
    path: PathBuf,
    mode: Mode,
    file: fs::File,
    view: Mutex<View>,
    /// The process's own position, in elements of the view. Held for as long as an access there goes on.
    position: Mutex<u64>,
    /// Where the shared position lies in the universe: one word, in elements of the view.
    shared: Offset,
    atomic: AtomicBool,
    /// Whether some process sees small pieces; the same on all.
    small_pieces: AtomicBool,
    /// What collective writes of small pieces have taken through this view.
    ways: Mutex<Ways>,
    /// How this process writes small pieces.
    small: Mutex<Small>,
    /// Held by the thread of this process that has the file's lock, which the kernel gives to processes.
    exclusive: Mutex<()>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Deletes a file (`MPI_File_delete`).
///
/// # Errors
/// `MPI_ERR_NO_SUCH_FILE` and the other classes of files.
pub fn delete(path: &Path) -> Result<()> {
    match fs::symlink_metadata(path) {
        Ok(found) if found.is_dir() => Err(error::of(Errno::ISDIR, "deletion", path, 0)),
        _ => fs::remove_file(path).map_err(|e| error::of(error::errno(&e), "deletion", path, 0)),
    }
}

/// Opens the file in this process; `first` makes it where it has to be made.
fn open_here(path: &Path, mode: Mode, first: bool, rank: i32) -> Result<fs::File> {
    let wrong = |errno| error::of(errno, "opening", path, rank);
    let mut options = fs::OpenOptions::new();
    options.read(mode.read).write(mode.write).custom_flags(rustix::fs::OFlags::NOCTTY.bits().cast_signed());
    if first {
        options.create(mode.create && !mode.exclusive).create_new(mode.create && mode.exclusive);
    }
    if path.as_os_str().is_empty() {
        fail!(BadFile, "the name of the file is empty");
    }
    let file = options.open(path).map_err(|e| wrong(error::errno(&e)))?;
    match file.metadata() {
        Ok(found) if found.is_dir() => Err(wrong(Errno::ISDIR)),
        Ok(_) => Ok(file),
        Err(e) => Err(wrong(error::errno(&e))),
    }
}

impl File {
    /// Opens a file; collective (`MPI_File_open`). It fails on all processes or on none.
    ///
    /// # Errors
    /// `MPI_ERR_AMODE`, `MPI_ERR_NOT_SAME`, `MPI_ERR_COMM` for an intercommunicator, and the classes of files.
    pub fn open(comm: &Comm, path: &Path, mode: Mode) -> Result<File> {
        if comm.is_inter() {
            fail!(Comm, "a file is opened over an intracommunicator; merge the two groups first");
        }
        comm.within_one_job("a file has positions that those of one job share: open it on a communicator of each job")?;
        let comm = comm.dup()?;
        comm.belongs_to(format!("the file '{}'", path.display()));
        comm.same("opening", "access mode", mode.check().map(|()| (mode.bits(), ())))?;
        let rank = comm.rank();
        let (mut made, mut own) = (None, None);
        let shared = comm.told_number(0, || {
            made = Some(open_here(path, mode, true, rank)?);
            let at =
                comm.engine().universe().alloc_zeroed(8).map_err(|e| Error::new(ErrorClass::NoMem, e.to_string()))?;
            own = Some(at);
            Ok(at.get())
        })?;
        let opened = match made {
            Some(file) => Ok(file),
            None => open_here(path, mode, false, rank),
        };
        let file = comm.settle("opening", opened).inspect_err(|_| {
            if let Some(at) = own {
                comm.engine().universe().free(at);
            }
        })?;
        let file = File {
            comm,
            path: path.to_path_buf(),
            mode,
            file,
            view: Mutex::new(View::bytes()),
            position: Mutex::new(0),
            shared: Offset::new(shared),
            atomic: AtomicBool::new(false),
            small_pieces: AtomicBool::new(false),
            ways: Mutex::default(),
            small: Mutex::default(),
            exclusive: Mutex::new(()),
        };
        if mode.append {
            let end = file.comm.told_number(0, || file.size())?;
            *lock(&file.position) = end;
            if rank == 0 {
                file.shared_word()?.store(end, Ordering::Release);
            }
            file.comm.barrier()?;
        }
        Ok(file)
    }

    /// Closes the file; collective (`MPI_File_close`).
    ///
    /// # Errors
    /// A process of the group that has ended; or the file could not be deleted (`MPI_MODE_DELETE_ON_CLOSE`).
    pub fn close(self) -> Result<()> {
        // Nobody frees the shared position while another still moves it.
        self.comm.barrier()?;
        let File { comm, path, mode, file, shared, small, .. } = self;
        drop((file, small));
        let removed = comm.done_by(0, || {
            comm.engine().universe().free(shared);
            if mode.delete_on_close { delete(&path) } else { Ok(()) }
        });
        comm.free();
        removed
    }

    fn wrong(&self, errno: Errno, operation: &str) -> Error {
        error::of(errno, operation, &self.path, self.comm.rank())
    }

    fn wrong_io(&self, error: &std::io::Error, operation: &str) -> Error {
        self.wrong(error::errno(error), operation)
    }

    fn shared_word(&self) -> Result<&AtomicU64> {
        let words = self.comm.engine().universe().words(self.shared, 1);
        words.ok().and_then(|w| w.first()).ok_or_else(|| Error::new(ErrorClass::Intern, "the shared position is gone"))
    }

    /// The engine of the file.
    pub fn engine(&self) -> &crate::engine::Engine {
        self.comm.engine()
    }

    /// The processes that opened the file.
    pub fn group(&self) -> &Group {
        self.comm.group()
    }

    /// The name it was opened by.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Bytes of the file.
    ///
    /// # Errors
    /// The classes of files.
    pub fn size(&self) -> Result<u64> {
        self.file.metadata().map(|m| m.len()).map_err(|e| self.wrong_io(&e, "asking for the size"))
    }

    /// The size to be, if it may be changed.
    fn new_size(&self, size: i64) -> Result<(u64, u64)> {
        if !self.mode.write {
            fail!(ReadOnly, "'{}' was opened with MPI_MODE_RDONLY", self.path.display());
        }
        if self.mode.sequential {
            fail!(UnsupportedOperation, "the size of a file opened with MPI_MODE_SEQUENTIAL is not set");
        }
        match u64::try_from(size) {
            Ok(size) => Ok((size, size)),
            Err(_) => fail!(Arg, "the size is {size}; it must not be negative"),
        }
    }

    /// Sets the size in bytes; collective (`MPI_File_set_size`).
    ///
    /// # Errors
    /// `MPI_ERR_NOT_SAME`, `MPI_ERR_ARG`, `MPI_ERR_READ_ONLY` and the classes of files.
    pub fn set_size(&self, size: i64) -> Result<()> {
        let size = self.comm.same("setting the size", "size", self.new_size(size))?;
        self.comm.done_by(0, || self.file.set_len(size).map_err(|e| self.wrong_io(&e, "setting the size")))
    }

    /// Makes sure that there is space for the first `size` bytes; collective (`MPI_File_preallocate`). The file grows to that
    /// size if it is smaller.
    ///
    /// # Errors
    /// As [`File::set_size`].
    pub fn preallocate(&self, size: i64) -> Result<()> {
        let size = self.comm.same("preallocation", "size", self.new_size(size))?;
        let allocate = || {
            if size == 0 {
                return Ok(());
            }
            match rustix::fs::fallocate(&self.file, FallocateFlags::empty(), 0, size) {
                // A file system that reserves nothing: the size is what can be had.
                Err(Errno::OPNOTSUPP | Errno::NOSYS) => {
                    let grown = self.size()?.max(size);
                    self.file.set_len(grown).map_err(|e| self.wrong_io(&e, "preallocation"))
                }
                done => done.map_err(|e| self.wrong(e, "preallocation")),
            }
        };
        self.comm.done_by(0, allocate)
    }

    /// Brings what all processes have written to the device; collective (`MPI_File_sync`).
    ///
    /// # Errors
    /// The classes of files.
    pub fn sync(&self) -> Result<()> {
        // One kernel has the data of all: when all have come here, one of them can ask for all.
        self.comm.barrier()?;
        self.comm.done_by(0, || self.file.sync_all().map_err(|e| self.wrong_io(&e, "sync")))
    }

    /// Says whether accesses are atomic; collective (`MPI_File_set_atomicity`).
    ///
    /// # Errors
    /// `MPI_ERR_NOT_SAME`.
    pub fn set_atomicity(&self, atomic: bool) -> Result<()> {
        self.comm.same("setting the atomicity", "flag", Ok((u64::from(atomic), ())))?;
        self.atomic.store(atomic, Ordering::Release);
        Ok(())
    }

    /// Whether accesses are atomic.
    pub fn is_atomic(&self) -> bool {
        self.atomic.load(Ordering::Acquire)
    }

    /// The view.
    pub fn view(&self) -> View {
        lock(&self.view).clone()
    }

    /// Sets the view; collective (`MPI_File_set_view`). `displacement` is `None` for the current position. Both positions begin
    /// anew.
    ///
    /// # Errors
    /// `MPI_ERR_NOT_SAME`, `MPI_ERR_TYPE`, `MPI_ERR_ARG`, `MPI_ERR_CONVERSION`.
    pub fn set_view(
        &self,
        displacement: Option<i64>,
        etype: &Datatype,
        filetype: &Datatype,
        representation: Result<Representation>,
    ) -> Result<()> {
        let make = || {
            let displacement = match (displacement, self.mode.sequential) {
                (Some(at), false) => at,
                (None, true) => self.view().byte_at(self.shared_word()?.load(Ordering::Acquire))? as i64,
                (Some(_), true) => fail!(
                    UnsupportedOperation,
                    "a file opened with MPI_MODE_SEQUENTIAL has its view at MPI_DISPLACEMENT_CURRENT"
                ),
                (None, false) => fail!(Arg, "MPI_DISPLACEMENT_CURRENT is for files opened with MPI_MODE_SEQUENTIAL"),
            };
            let representation = representation?;
            let code = representation.code();
            let view = View::new(displacement, etype.clone(), filetype.clone(), representation, self.mode.write)?;
            Ok((view.unit().rotate_left(32) ^ code, view))
        };
        let view = self.comm.same("setting the view", "size of the element type or data representation", make())?;
        let mine = [u64::from(view.has_small_pieces())];
        let mut all = vec![0u64; self.group().size()];
        self.comm.allgather(Arg::Buf(SendBuf::of(&mine)), RecvBuf::of(&mut all).into())?;
        self.small_pieces.store(all.len() > 1 && all.contains(&1), Ordering::Relaxed);
        *lock(&self.ways) = Ways::default();
        *lock(&self.view) = view;
        *lock(&self.position) = 0;
        self.comm.done_by(0, || {
            self.shared_word()?.store(0, Ordering::Release);
            Ok(())
        })
    }

    /// Bytes from one element of a type to the next in the file (`MPI_File_get_type_extent`).
    ///
    /// # Errors
    /// `MPI_ERR_TYPE`.
    pub fn type_extent(&self, ty: &Datatype) -> Result<isize> {
        Ok(self.view().representation.stored(ty)?.extent())
    }

    /// The byte of the file at an offset in the view (`MPI_File_get_byte_offset`).
    ///
    /// # Errors
    /// `MPI_ERR_ARG`.
    pub fn byte_offset(&self, offset: i64) -> Result<u64> {
        self.random("the byte at an offset")?;
        self.view().byte_at(offset_of(offset)?)
    }

    /// Refuses what files that are accessed in order do not have.
    fn random(&self, what: &str) -> Result<()> {
        if self.mode.sequential {
            fail!(
                UnsupportedOperation,
                "a file opened with MPI_MODE_SEQUENTIAL has no {what}; use the shared position"
            );
        }
        Ok(())
    }

    fn target(&self, offset: i64, whence: Whence, current: u64) -> Result<u64> {
        let from = match whence {
            Whence::Set => 0,
            Whence::Current => current,
            Whence::End => self.view().end(self.size()?),
        };
        match i64::try_from(from).ok().and_then(|from| from.checked_add(offset)).map(u64::try_from) {
            Some(Ok(at)) => Ok(at),
            _ => fail!(Arg, "offset {offset} from {from} is before the beginning of the view or beyond any file"),
        }
    }

    /// The process's own position, in elements.
    ///
    /// # Errors
    /// `MPI_ERR_UNSUPPORTED_OPERATION` for a file that is accessed in order.
    pub fn position(&self) -> Result<u64> {
        self.random("position of one process")?;
        Ok(*lock(&self.position))
    }

    /// Moves the process's own position (`MPI_File_seek`).
    ///
    /// # Errors
    /// `MPI_ERR_ARG` for a place before the beginning.
    pub fn seek(&self, offset: i64, whence: Whence) -> Result<()> {
        self.random("position of one process")?;
        let mut position = lock(&self.position);
        *position = self.target(offset, whence, *position)?;
        Ok(())
    }

    /// The shared position, in elements.
    ///
    /// # Errors
    /// None that a program can cause.
    pub fn shared_position(&self) -> Result<u64> {
        Ok(self.shared_word()?.load(Ordering::Acquire))
    }

    /// Moves the shared position; collective (`MPI_File_seek_shared`).
    ///
    /// # Errors
    /// `MPI_ERR_NOT_SAME`, `MPI_ERR_ARG`.
    pub fn seek_shared(&self, offset: i64, whence: Whence) -> Result<()> {
        let own = self.random("way to seek").map(|()| (offset.cast_unsigned(), ()));
        self.comm.same("seeking", "offset", own)?;
        self.comm.same("seeking", "place to count from", Ok((whence as u64, ())))?;
        self.comm.done_by(0, || {
            let word = self.shared_word()?;
            let at = self.target(offset, whence, word.load(Ordering::Acquire))?;
            word.store(at, Ordering::Release);
            Ok(())
        })
    }
}

/// An offset in elements, which is not negative.
fn offset_of(offset: i64) -> Result<u64> {
    match u64::try_from(offset) {
        Ok(offset) => Ok(offset),
        Err(_) => fail!(Arg, "the offset is {offset}; it must not be negative"),
    }
}
