//! The extension module `phalanx.MPI`: message passing with the API of mpi4py.
//!
//! Everything goes through the `MPI_*` symbols of the standard ABI (`ffi`), so the module serves any library that offers
//! it; what the embedded engine has beyond that is optional (`extras`). A method is three beats: the arguments become a
//! message description, MPI is called with the interpreter lock released where it may wait (`gil`), the result is wrapped.
//!
//! One file per class; a class with many methods is a folder with one file per topic.

#![expect(non_snake_case, reason = "method and function names are those of mpi4py")]
#![expect(unsafe_code, reason = "calls a C library")]

use pyo3::prelude::*;
use pyo3::types::PyType;

mod attribute;
mod buffer;
mod callback;
mod comm;
mod constants;
mod datatype;
mod env;
mod errhandler;
mod error;
mod extras;
mod ffi;
mod file;
mod gil;
mod grequest;
mod group;
mod handle;
mod info;
mod init;
mod large;
mod memory;
mod msg;
mod numbers;
mod object;
mod op;
mod orphans;
mod patience;
mod prequest;
mod request;
mod session;
mod slots;
mod spec;
mod status;
mod text;
mod win;

/// Gives a method of a class a second name.
fn alias(class: &Bound<'_, PyType>, name: &str, method: &str) -> PyResult<()> {
    let members = class.getattr("__dict__")?;
    class.setattr(name, members.get_item(method)?)
}

/// Adds the integer constants under mpi4py's names.
fn register_constants(m: &Bound<'_, PyModule>) -> PyResult<()> {
    for (name, value) in ffi::INTEGERS {
        m.add(*name, *value)?;
    }
    for (alias, name) in [("ORDER_F", "ORDER_FORTRAN"), ("WIN_FLAVOR", "WIN_CREATE_FLAVOR")] {
        m.add(alias, m.getattr(name)?)?;
    }
    // Named by mpi4py, without a number in the standard ABI; so are the next two, which the embedded engine has.
    m.add("TYPECLASS_LOGICAL", ffi::MPI_UNDEFINED)?;
    let own = [("ERR_REVOKED", extras::ERR_REVOKED), ("ERR_PROC_FAILED_PENDING", extras::ERR_PROC_FAILED_PENDING)];
    for (name, class) in own {
        m.add(name, if extras::get().fault.is_some() { class } else { ffi::MPI_ERR_UNKNOWN })?;
    }
    // The class of the standard that operations on a process that has ended give.
    m.add("ERR_PROC_FAILED", ffi::MPI_ERR_PROC_ABORTED)?;
    m.add("DISP_CUR", m.getattr("DISPLACEMENT_CURRENT")?)
}

/// Message Passing Interface.
#[pymodule]
#[pyo3(name = "MPI")]
fn mpi(m: &Bound<'_, PyModule>) -> PyResult<()> {
    let py = m.py();
    error::register(m)?;
    register_constants(m)?;
    init::start(py)?;
    init::register(m)?;
    env::register(m)?;
    constants::register(m)?;
    memory::register(m)?;
    status::register(m)?;
    datatype::register(m)?;
    request::register(m)?;
    prequest::register(m)?;
    grequest::register(m)?;
    msg::register(m)?;
    op::register(m)?;
    group::register(m)?;
    info::register(m)?;
    errhandler::register(m)?;
    session::register(m)?;
    comm::register(m)?;
    comm::register_functions(m)?;
    win::register(m)?;
    file::register(m)?;
    object::register(m)?;
    init::install_breakpointhook(py)?;
    init::install_excepthook(py)
}
