//! The forms of an operation: what `MPI_Bcast`, `MPI_Ibcast` and `MPI_Bcast_init` do with what one body prepares.
//!
//! `#[mpi_entry(MPI_Bcast | MPI_Ibcast | MPI_Bcast_init)]` writes the calls of these functions. An operation implements the
//! trait of each form that it has; a name of a form that it lacks does not compile.

use phalanx_engine::{Collective, Request, Status};

use crate::entry::{Done, ErrorObject, Failure};
use crate::handle::RawRequest;
use crate::info::InfoRef;
use crate::param::{Address, Out};
use crate::request;
use crate::status::StatusOut;

/// An operation that can be carried out at once.
pub(crate) trait Run {
    /// Carries it out and waits for its end. The status is that of a file's access, else empty.
    fn run(self) -> phalanx_engine::Result<Status>;
}

/// An operation that can be started, for a request.
pub(crate) trait Start {
    /// Starts it.
    fn start(self) -> phalanx_engine::Result<Request>;
}

/// An operation that can be kept, for a persistent request.
pub(crate) trait Init {
    /// Keeps it to be started later.
    fn init(self) -> phalanx_engine::Result<Request>;
}

/// An operation that is begun by one call and ended by another: the split collective accesses of a file.
pub(crate) trait Begin {
    /// Starts it, for its file to remember: `name` is that of the blocking form.
    fn begin(self, name: &'static str) -> Result<(), Failure>;
}

/// What remembers the split operation that has begun.
pub(crate) trait Split {
    /// Waits for the end of the operation that was begun as `name` (of the blocking form), with the buffer at `buffer`; an
    /// error if none, another operation or another buffer was.
    fn end(&self, name: &'static str, buffer: usize) -> Result<Status, Failure>;
}

impl Run for Collective<'_, 'static> {
    #[inline]
    fn run(self) -> phalanx_engine::Result<Status> {
        Collective::run(self).map(|()| Status::EMPTY)
    }
}

impl Start for Collective<'_, 'static> {
    fn start(self) -> phalanx_engine::Result<Request> {
        Collective::start(self)
    }
}

impl Init for Collective<'_, 'static> {
    fn init(self) -> phalanx_engine::Result<Request> {
        Collective::init(self)
    }
}

/// An operation whose arguments have been looked at, and the object that errors of its request are about.
pub(crate) struct Ready<O> {
    pub(crate) on: ErrorObject,
    pub(crate) operation: O,
}

/// Carries an operation out.
#[inline]
pub(crate) fn blocking<O: Run>(ready: Ready<O>) -> Done {
    ready.operation.run()?;
    Ok(())
}

/// Carries an operation out and tells what it came to.
pub(crate) fn with_status<O: Run>(ready: Ready<O>, status: StatusOut) -> Done {
    status.set(&ready.operation.run()?);
    Ok(())
}

/// Starts an operation and gives it a handle.
pub(crate) fn nonblocking<O: Start>(ready: Ready<O>, handle: Out<RawRequest>) -> Done {
    handle.set(request::adopt(ready.operation.start()?, ready.on)?);
    Ok(())
}

/// Keeps an operation, to be started any number of times, and gives it a handle. No hint has a meaning here.
pub(crate) fn persistent<O: Init>(ready: Ready<O>, _hints: InfoRef, handle: Out<RawRequest>) -> Done {
    handle.set(request::adopt(ready.operation.init()?, ready.on)?);
    Ok(())
}

/// Begins an operation that its file remembers.
pub(crate) fn begin<O: Begin>(ready: Ready<O>, name: &'static str) -> Done {
    ready.operation.begin(name)
}

/// Ends the operation that `on` remembers.
pub(crate) fn end<S: Split>(on: &S, name: &'static str, buffer: Address, status: StatusOut) -> Done {
    status.set(&on.end(name, buffer.0)?);
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use phalanx_engine::{ErrorClass, Status};

    use super::{Begin, Ready, Run, Split, begin, end, with_status};
    use crate::entry::{ErrorObject, Failure, wrong};
    use crate::param::{Address, Param, Small};
    use crate::status::{CStatus, StatusOut};

    /// A file that remembers the name of the operation that has begun.
    #[derive(Default)]
    struct Remembering(Cell<Option<(&'static str, usize)>>);

    struct Access<'f>(&'f Remembering, usize);

    fn done() -> Status {
        Status { bytes: 24, ..Status::EMPTY }
    }

    impl Run for Access<'_> {
        fn run(self) -> phalanx_engine::Result<Status> {
            Ok(done())
        }
    }

    impl Begin for Access<'_> {
        fn begin(self, name: &'static str) -> Result<(), Failure> {
            self.0.0.set(Some((name, self.1)));
            Ok(())
        }
    }

    impl Split for Remembering {
        fn end(&self, name: &'static str, buffer: usize) -> Result<Status, Failure> {
            match self.0.take() {
                Some(begun) if begun == (name, buffer) => Ok(done()),
                _ => Err(wrong(ErrorClass::Other, "another operation has begun, or none")),
            }
        }
    }

    fn place(status: &mut CStatus) -> StatusOut {
        // SAFETY: a place for a status.
        unsafe { <StatusOut as Param<Small>>::decode(std::ptr::from_mut(status)) }.expect("a place")
    }

    fn ready<O>(operation: O) -> Ready<O> {
        Ready { on: ErrorObject::None, operation }
    }

    #[test]
    fn the_plain_form_of_a_file_gives_its_status() {
        let (file, mut status) = (Remembering::default(), CStatus::of(&Status::EMPTY));
        with_status(ready(Access(&file, 0)), place(&mut status)).expect("carried out");
        assert_eq!(status.to_engine().bytes, 24);
    }

    #[test]
    fn a_split_operation_ends_with_the_name_and_the_buffer_that_it_began_with() {
        let (file, mut status) = (Remembering::default(), CStatus::of(&Status::EMPTY));
        begin(ready(Access(&file, 0x1000)), "MPI_File_read_all").expect("begun");
        end(&file, "MPI_File_read_all", Address(0x1000), place(&mut status)).expect("ended");
        assert_eq!(status.to_engine().bytes, 24);
        assert!(end(&file, "MPI_File_read_all", Address(0x1000), place(&mut status)).is_err());
        begin(ready(Access(&file, 0x1000)), "MPI_File_read_all").expect("begun");
        assert!(end(&file, "MPI_File_write_all", Address(0x1000), place(&mut status)).is_err());
    }
}
