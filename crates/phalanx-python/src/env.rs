//! Inquiry and services that belong to no class (MPI 5.0 chapter 9).

use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::PyType;

use crate::comm::Comm;
use crate::datatype::Datatype;
use crate::errhandler::Errhandler;
use crate::error::{self, check};
use crate::ffi::*;
use crate::file::File;
use crate::group::Group;
use crate::handle::{self, Handle as _, Raw as _};
use crate::info::Info;
use crate::msg::Message;
use crate::op::Op;
use crate::request::Request;
use crate::session::Session;
use crate::status::Status;
use crate::text;
use crate::win::Win;

/// Query_thread() -> int
///
/// Return the level of thread support provided. Local.
#[pyfunction]
fn Query_thread() -> PyResult<c_int> {
    let mut provided = MPI_THREAD_SINGLE;
    // SAFETY: `provided` is valid for the write.
    check(unsafe { MPI_Query_thread(&mut provided) })?;
    Ok(provided)
}

/// Is_thread_main() -> bool
///
/// Return whether this thread initialized MPI. Local.
#[pyfunction]
fn Is_thread_main() -> PyResult<bool> {
    let mut flag = 0;
    // SAFETY: `flag` is valid for the write.
    check(unsafe { MPI_Is_thread_main(&mut flag) })?;
    Ok(flag != 0)
}

/// Is_initialized() -> bool
///
/// Return whether MPI has been initialized. Local, allowed at any time.
#[pyfunction]
fn Is_initialized() -> PyResult<bool> {
    let mut flag = 0;
    // SAFETY: `flag` is valid for the write.
    check(unsafe { MPI_Initialized(&mut flag) })?;
    Ok(flag != 0)
}

/// Is_finalized() -> bool
///
/// Return whether MPI has been finalized. Local, allowed at any time.
#[pyfunction]
fn Is_finalized() -> PyResult<bool> {
    let mut flag = 0;
    // SAFETY: `flag` is valid for the write.
    check(unsafe { MPI_Finalized(&mut flag) })?;
    Ok(flag != 0)
}

/// Get_version() -> tuple[int, int]
///
/// Return the version of the MPI standard that the library implements. Local.
#[pyfunction]
fn Get_version() -> PyResult<(c_int, c_int)> {
    let (mut version, mut subversion) = (0, 0);
    // SAFETY: both are valid for the writes.
    check(unsafe { MPI_Get_version(&mut version, &mut subversion) })?;
    Ok((version, subversion))
}

/// The library's description of itself.
fn library_version() -> PyResult<String> {
    let mut name = vec![0; MPI_MAX_LIBRARY_VERSION_STRING as usize + 1];
    let mut length = 0;
    // SAFETY: the array has the room the standard asks for.
    check(unsafe { MPI_Get_library_version(name.as_mut_ptr(), &mut length) })?;
    Ok(text::from_c(&name, length))
}

/// Get_library_version() -> str
///
/// Return the library's description of itself. Local.
#[pyfunction]
fn Get_library_version() -> PyResult<String> {
    library_version()
}

/// The numbers in a version string: `1.2.3` of `1.2.3rc1 (x)`.
fn version_numbers(text: &str) -> (u32, u32, u32) {
    let mut numbers = text.trim_start().splitn(3, '.').map(|part| {
        let digits: String = part.chars().take_while(char::is_ascii_digit).collect();
        digits.parse().unwrap_or(0)
    });
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
}

/// get_vendor() -> tuple[str, tuple[int, int, int]]
///
/// Return the name of the MPI implementation and its version. Local.
#[pyfunction]
fn get_vendor() -> PyResult<(&'static str, (u32, u32, u32))> {
    let version = library_version()?;
    let signs = [
        ("Phalanx ", "Phalanx"),
        ("CRAY MPICH version ", "Cray MPICH"),
        ("MVAPICH Version:", "MVAPICH"),
        ("MVAPICH2 Version:", "MVAPICH"),
        ("Intel(R) MPI Library ", "Intel MPI"),
        ("MPICH Version:", "MPICH"),
        ("Open MPI v", "Open MPI"),
    ];
    let known = signs.iter().find_map(|(sign, name)| {
        let (_, rest) = version.split_once(sign)?;
        Some((*name, version_numbers(rest)))
    });
    Ok(known.unwrap_or(("unknown", (0, 0, 0))))
}

/// Get_abi_version() -> tuple[int, int]
///
/// Return the version of the standard ABI that the library implements. Local.
#[pyfunction]
fn Get_abi_version() -> PyResult<(c_int, c_int)> {
    let (mut version, mut subversion) = (0, 0);
    // SAFETY: both are valid for the writes.
    check(unsafe { MPI_Abi_get_version(&mut version, &mut subversion) })?;
    Ok((version, subversion))
}

/// An info object that a call makes.
fn info_from<'py>(py: Python<'py>, call: unsafe extern "C" fn(*mut MPI_Info) -> c_int) -> PyResult<Bound<'py, PyAny>> {
    // SAFETY: the result pointer is valid for the write.
    handle::create::<Info>(&py.get_type::<Info>(), |out| unsafe { call(out) })
}

/// Get_abi_info() -> Info
///
/// Return facts about the ABI. Local.
#[pyfunction]
fn Get_abi_info(py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
    info_from(py, MPI_Abi_get_info)
}

/// Get_abi_fortran_info() -> Info
///
/// Return facts about the ABI of Fortran. Local.
#[pyfunction]
fn Get_abi_fortran_info(py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
    info_from(py, MPI_Abi_get_fortran_info)
}

/// Get_hw_resource_info() -> Info
///
/// Return facts about the hardware this process may use. Local.
#[pyfunction]
fn Get_hw_resource_info(py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
    info_from(py, MPI_Get_hw_resource_info)
}

/// Pcontrol(level: int) -> None
///
/// Control a profiling library: 0 off, 1 on, 2 flush. Local.
#[pyfunction]
fn Pcontrol(level: c_int) -> PyResult<()> {
    if !(0..=2).contains(&level) {
        return Err(error::exception(MPI_ERR_ARG));
    }
    // SAFETY: passes a value.
    check(unsafe { MPI_Pcontrol(level) })
}

/// Returns `$body` from the function for an object of a handle class, with `$class` bound to it.
macro_rules! for_handle {
    ($object:expr, $class:ident => $body:expr) => {
        for_handle!(@ $object, $class => $body;
            Datatype Request Message Op Group Info Errhandler Session Comm Win File)
    };
    (@ $object:expr, $class:ident => $body:expr; $($name:ident)*) => {
        $(if let Ok($class) = $object.cast::<$name>() { return Ok($body); })*
    };
}

/// _sizeof(arg: Any) -> int
///
/// Return the size in bytes of the C handle in an object or of a class.
#[pyfunction]
fn _sizeof(arg: &Bound<'_, PyAny>) -> PyResult<usize> {
    let class = match arg.cast::<PyType>() {
        Ok(class) => class.clone(),
        Err(_) => arg.get_type(),
    };
    if class.is_subclass_of::<Status>()? {
        return Ok(size_of::<MPI_Status>());
    }
    let handles = [
        class.is_subclass_of::<Datatype>()?,
        class.is_subclass_of::<Request>()?,
        class.is_subclass_of::<Message>()?,
        class.is_subclass_of::<Op>()?,
        class.is_subclass_of::<Group>()?,
        class.is_subclass_of::<Info>()?,
        class.is_subclass_of::<Errhandler>()?,
        class.is_subclass_of::<Session>()?,
        class.is_subclass_of::<Comm>()?,
        class.is_subclass_of::<Win>()?,
        class.is_subclass_of::<File>()?,
    ];
    if handles.contains(&true) { Ok(size_of::<usize>()) } else { Err(not_an_object("type or instance")) }
}

fn not_an_object(what: &str) -> PyErr {
    PyTypeError::new_err(format!("expecting an MPI {what}"))
}

/// _addressof(arg: Any) -> int
///
/// Return the address of the C handle in an object.
#[pyfunction]
fn _addressof(arg: &Bound<'_, PyAny>) -> PyResult<usize> {
    if let Ok(status) = arg.cast::<Status>() {
        return Ok(status.get().address());
    }
    for_handle!(arg, object => object.get().cell().address());
    Err(not_an_object("instance"))
}

/// _handleof(arg: Any) -> int
///
/// Return the C handle in an object as an integer.
#[pyfunction]
fn _handleof(arg: &Bound<'_, PyAny>) -> PyResult<usize> {
    if let Ok(status) = arg.cast::<Status>() {
        return Ok(status.get().address());
    }
    for_handle!(arg, object => object.get().raw().bits());
    Err(not_an_object("instance"))
}

/// Get_processor_name() -> str
///
/// Return the name of the machine. Local.
#[pyfunction]
fn Get_processor_name() -> PyResult<String> {
    let mut name = [0; MPI_MAX_PROCESSOR_NAME as usize + 1];
    let mut length = 0;
    // SAFETY: the array has the room the standard asks for.
    check(unsafe { MPI_Get_processor_name(name.as_mut_ptr(), &mut length) })?;
    Ok(text::from_c(&name, length))
}

/// Wtime() -> float
///
/// Return the time in seconds since some moment in the past.
#[pyfunction]
fn Wtime() -> f64 {
    // SAFETY: takes no arguments.
    unsafe { MPI_Wtime() }
}

/// Wtick() -> float
///
/// Return the resolution of `Wtime` in seconds.
#[pyfunction]
fn Wtick() -> f64 {
    // SAFETY: takes no arguments.
    unsafe { MPI_Wtick() }
}

/// Adds the functions of this file to the module.
pub(crate) fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    for function in [
        wrap_pyfunction!(Query_thread, m)?,
        wrap_pyfunction!(Is_thread_main, m)?,
        wrap_pyfunction!(Is_initialized, m)?,
        wrap_pyfunction!(Is_finalized, m)?,
        wrap_pyfunction!(Get_version, m)?,
        wrap_pyfunction!(Get_library_version, m)?,
        wrap_pyfunction!(Get_processor_name, m)?,
        wrap_pyfunction!(get_vendor, m)?,
        wrap_pyfunction!(Get_abi_version, m)?,
        wrap_pyfunction!(Get_abi_info, m)?,
        wrap_pyfunction!(Get_abi_fortran_info, m)?,
        wrap_pyfunction!(Get_hw_resource_info, m)?,
        wrap_pyfunction!(Pcontrol, m)?,
        wrap_pyfunction!(_sizeof, m)?,
        wrap_pyfunction!(_addressof, m)?,
        wrap_pyfunction!(_handleof, m)?,
        wrap_pyfunction!(Wtime, m)?,
        wrap_pyfunction!(Wtick, m)?,
    ] {
        m.add_function(function)?;
    }
    Ok(())
}
