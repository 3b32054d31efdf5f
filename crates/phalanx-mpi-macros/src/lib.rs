//! An operation said once in each layer: [`macro@mpi_entry`] writes `MPI_X`, `PMPI_X` and their `_c` twins around one typed body,
//! [`operations!`] the methods of Python.
//!
//! ```ignore
//! #[mpi_entry(MPI_Send, poly)]
//! fn send(buf: SendPtr, count: Count, ty: TypeRef, dest: i32, tag: i32, comm: CommRef) -> Done {
//!     Ok(comm.send(buf.typed(count, &ty)?, dest, tag)?)
//! }
//! ```
//!
//! Every parameter's type implements the C surface's `Param` trait, once for each width in which
//! the function exists: `Param<Small>` says what `MPI_Send` takes in that place, `Param<Large>` what
//! `MPI_Send_c` takes. The written functions decode each argument, run the body, and turn an error
//! or a panic into an error code through the error handler of the object the call is about.
//!
//! An operation that exists in several forms has one body, which prepares it, under all of its names:
//!
//! ```ignore
//! #[mpi_entry(MPI_Bcast | MPI_Ibcast | MPI_Bcast_init, poly)]
//! fn bcast(buffer: RecvPtr, count: Number, ty: RawType, root: i32, comm: &CommRef) -> Prepared<'_> { ... }
//! ```
//!
//! Each name says its form: `MPI_Ibcast` has a request as its last argument, `MPI_Bcast_init` an info object and
//! a request. The written functions decode them and hand the prepared operation to the function of that form in
//! `crate::forms`, which carries it out, starts it or keeps it. A parameter that the result refers to is taken
//! by reference. Operations of windows (`MPI_Put | MPI_Rput`) and files have the forms of theirs; for a file the plain
//! form has a status, and a split operation (`MPI_File_read_all_begin`, `MPI_File_read_all_end`) begins with what the
//! body prepares and ends with the file, the buffer and a status. Each name must be one that follows from the first.
//!
//! Words after the names:
//!
//! - `poly`: the function has a large-count twin;
//! - `anytime`: it may be called before initialisation and after finalisation;
//! - `tool`: it is the tool interface's, which has error codes but no error handlers, and an initialisation of its own;
//! - `value`: it returns a value instead of an error code: parameters and result are passed through;
//! - `composed`: it waits in operations of other names, and who asks what it waits for is to hear its own. (Not `MPI_Comm_split`, which
//!   the binding calls in the first collective operation of objects on a communicator.)

mod binding;
mod forms;
mod surface;

use proc_macro::TokenStream;
use syn::{ItemFn, parse_macro_input};

/// Writes the C functions around a typed body; see the crate documentation.
#[proc_macro_attribute]
pub fn mpi_entry(arguments: TokenStream, item: TokenStream) -> TokenStream {
    let entry = parse_macro_input!(arguments as surface::Entry);
    let body = parse_macro_input!(item as ItemFn);
    surface::expand(&entry, &body).unwrap_or_else(|error| error.to_compile_error()).into()
}

/// Writes the Python methods of operations, from one row for each:
///
/// ```ignore
/// operations! {
///     impl Comm {
///         /// Copy the root's buffer into everybody else's.
///         Bcast | Ibcast | Bcast_init(buf: BufSpec, root: int = 0) {
///             let m = collective::bcast(buf, root, this)?;
///             MPI_Bcast_c(m.address, m.count, m.datatype, root, handle)
///         }
///     }
/// }
/// ```
///
/// The parameters are written as Python shows them; the persistent form has `info` as well. The body is the blocking
/// method: `this` is the object and `handle` its handle, `let` makes what has to live as long as the operation, and the
/// call, which the macro makes in an `unsafe` block without the interpreter lock, is that of C. The other forms call
/// `MPI_Ibcast_c` and `MPI_Bcast_init_c` with what these have more, and their requests hold what `let` made.
///
/// The documentation says what the operation does. The macro adds the signature line, whether the form waits, and what
/// it raises. A second paragraph is for the forms that give a request.
#[proc_macro]
pub fn operations(rows: TokenStream) -> TokenStream {
    let operations = parse_macro_input!(rows as binding::Operations);
    binding::expand(&operations).unwrap_or_else(|error| error.to_compile_error()).into()
}
