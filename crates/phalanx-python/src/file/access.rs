//! Files: reads and writes (MPI 5.0 section 14.4).
//!
//! The names say it all: `_at` takes an offset, `_all` and `_ordered` are collective, `_shared` and `_ordered` use the shared
//! position, `I...` returns a request, `_begin` and `_end` split a collective call in two.

use pyo3::prelude::*;

use super::File;
use crate::comm::pending;
use crate::ffi::*;
use crate::gil;
use crate::handle::Handle as _;
use crate::request::Request;
use crate::spec::Message;
use crate::status::{self, Status};

/// The message of a read.
fn read(buf: &Bound<'_, PyAny>) -> PyResult<Message> {
    Message::to_receive(buf, 0)
}

/// The message of a write.
fn write(buf: &Bound<'_, PyAny>) -> PyResult<Message> {
    Message::to_send(buf, 0)
}

type OptionalStatus<'a, 'py> = Option<&'a Bound<'py, Status>>;

/// Calls that block, at the position or at an offset.
macro_rules! blocking {
    ($($name:ident $function:ident $direction:ident ($($at:ident)?) $doc:literal)*) => {
        #[pymethods]
        impl File {$(
            #[doc = concat!(stringify!($name), "(self, ", $(stringify!($at), ": int, ",)?
                "buf: BufSpec, status: Status | None = None) -> None\n\n", $doc)]
            #[pyo3(signature = ($($at,)? buf, status=None))]
            fn $name(
                &self,
                py: Python<'_>,
                $($at: MPI_Offset,)?
                buf: &Bound<'_, PyAny>,
                status: OptionalStatus<'_, '_>,
            ) -> PyResult<()> {
                let (m, raw, mut value) = ($direction(buf)?, self.raw(), MPI_Status::EMPTY);
                // SAFETY: the message is held until after the call; the status is valid for the write.
                gil::blocking(py, || unsafe {
                    $function(raw, $($at,)? m.address, m.count, m.datatype, &mut value)
                })?;
                status::give(status, value);
                Ok(())
            }
        )*}
    };
}

/// Calls that return a request.
macro_rules! nonblocking {
    ($($name:ident $function:ident $direction:ident ($($at:ident)?) $doc:literal)*) => {
        #[pymethods]
        impl File {$(
            #[doc = concat!(stringify!($name), "(self, ", $(stringify!($at), ": int, ",)?
                "buf: BufSpec) -> Request\n\n", $doc)]
            fn $name<'py>(
                &self,
                py: Python<'py>,
                $($at: MPI_Offset,)?
                buf: &Bound<'py, PyAny>,
            ) -> PyResult<Bound<'py, Request>> {
                let (m, raw) = ($direction(buf)?, self.raw());
                // SAFETY: the request holds the message until the operation is over.
                pending::start(py, m, |m, request| unsafe {
                    $function(raw, $($at,)? m.address, m.count, m.datatype, request)
                })
            }
        )*}
    };
}

/// Both halves of split collective calls. The caller keeps the buffer in between, as in C.
macro_rules! split {
    ($($begin:ident $begin_function:ident $end:ident $end_function:ident $direction:ident ($($at:ident)?) $doc:literal)*) => {
        #[pymethods]
        impl File {$(
            #[doc = concat!(stringify!($begin), "(self, ", $(stringify!($at), ": int, ",)?
                "buf: BufSpec) -> None\n\n", "Begin to ", $doc, " Collective.")]
            fn $begin(&self, py: Python<'_>, $($at: MPI_Offset,)? buf: &Bound<'_, PyAny>) -> PyResult<()> {
                let (m, raw) = ($direction(buf)?, self.raw());
                // SAFETY: the message is held during the call, then by the caller.
                gil::blocking(py, || unsafe { $begin_function(raw, $($at,)? m.address, m.count, m.datatype) })
            }

            #[doc = concat!(stringify!($end), "(self, buf: BufSpec, status: Status | None = None) -> None\n\n",
                "End what `", stringify!($begin), "` began. Collective, blocks.")]
            #[pyo3(signature = (buf, status=None))]
            fn $end(
                &self,
                py: Python<'_>,
                buf: &Bound<'_, PyAny>,
                status: OptionalStatus<'_, '_>,
            ) -> PyResult<()> {
                let (m, raw, mut value) = ($direction(buf)?, self.raw(), MPI_Status::EMPTY);
                // SAFETY: the message is held until after the call; the status is valid for the write.
                gil::blocking(py, || unsafe { $end_function(raw, m.address, &mut value) })?;
                status::give(status, value);
                Ok(())
            }
        )*}
    };
}

blocking! {
    Read_at MPI_File_read_at_c read (offset)
        "Read into a buffer at an offset. Blocks."
    Read_at_all MPI_File_read_at_all_c read (offset)
        "Read into a buffer at an offset. Collective, blocks."
    Read MPI_File_read_c read ()
        "Read into a buffer. Blocks."
    Read_all MPI_File_read_all_c read ()
        "Read into a buffer. Collective, blocks."
    Read_shared MPI_File_read_shared_c read ()
        "Read into a buffer at the shared position. Blocks."
    Read_ordered MPI_File_read_ordered_c read ()
        "Read into a buffer at the shared position, in the order of ranks. Collective, blocks."
    Write_at MPI_File_write_at_c write (offset)
        "Write a buffer at an offset. Blocks."
    Write_at_all MPI_File_write_at_all_c write (offset)
        "Write a buffer at an offset. Collective, blocks."
    Write MPI_File_write_c write ()
        "Write a buffer. Blocks."
    Write_all MPI_File_write_all_c write ()
        "Write a buffer. Collective, blocks."
    Write_shared MPI_File_write_shared_c write ()
        "Write a buffer at the shared position. Blocks."
    Write_ordered MPI_File_write_ordered_c write ()
        "Write a buffer at the shared position, in the order of ranks. Collective, blocks."
}

nonblocking! {
    Iread_at MPI_File_iread_at_c read (offset)
        "Begin to read into a buffer at an offset. Does not block."
    Iread_at_all MPI_File_iread_at_all_c read (offset)
        "Begin to read into a buffer at an offset. Collective, does not block."
    Iread MPI_File_iread_c read ()
        "Begin to read into a buffer. Does not block."
    Iread_all MPI_File_iread_all_c read ()
        "Begin to read into a buffer. Collective, does not block."
    Iread_shared MPI_File_iread_shared_c read ()
        "Begin to read into a buffer at the shared position. Does not block."
    Iwrite_at MPI_File_iwrite_at_c write (offset)
        "Begin to write a buffer at an offset. Does not block."
    Iwrite_at_all MPI_File_iwrite_at_all_c write (offset)
        "Begin to write a buffer at an offset. Collective, does not block."
    Iwrite MPI_File_iwrite_c write ()
        "Begin to write a buffer. Does not block."
    Iwrite_all MPI_File_iwrite_all_c write ()
        "Begin to write a buffer. Collective, does not block."
    Iwrite_shared MPI_File_iwrite_shared_c write ()
        "Begin to write a buffer at the shared position. Does not block."
}

split! {
    Read_at_all_begin MPI_File_read_at_all_begin_c Read_at_all_end MPI_File_read_at_all_end read (offset)
        "read into a buffer at an offset."
    Read_all_begin MPI_File_read_all_begin_c Read_all_end MPI_File_read_all_end read ()
        "read into a buffer."
    Read_ordered_begin MPI_File_read_ordered_begin_c Read_ordered_end MPI_File_read_ordered_end read ()
        "read into a buffer at the shared position, in the order of ranks."
    Write_at_all_begin MPI_File_write_at_all_begin_c Write_at_all_end MPI_File_write_at_all_end write (offset)
        "write a buffer at an offset."
    Write_all_begin MPI_File_write_all_begin_c Write_all_end MPI_File_write_all_end write ()
        "write a buffer."
    Write_ordered_begin MPI_File_write_ordered_begin_c Write_ordered_end MPI_File_write_ordered_end write ()
        "write a buffer at the shared position, in the order of ranks."
}
