//! Processes that come later: spawn, ports, names (MPI 5.0 chapter 11).

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList, PySlice, PyString, PyType};

use super::{Comm, Intercomm, Intracomm, created, lock, topo};
use crate::ffi::*;
use crate::gil;
use crate::handle::{self, Handle as _};
use crate::info::Info;
use crate::init;
use crate::numbers;
use crate::text::{self, PathText, Text};

/// A null-terminated list of C strings.
struct ArgumentList {
    _texts: Vec<Text>,
    pointers: Vec<*mut c_char>,
}

impl ArgumentList {
    /// The arguments in a sequence; a single string counts as one.
    fn of(args: &Bound<'_, PyAny>) -> PyResult<ArgumentList> {
        let texts: Vec<Text> = if args.is_none() {
            Vec::new()
        } else if is_string(args) {
            vec![args.extract()?]
        } else {
            args.try_iter()?.map(|item| item?.extract()).collect::<PyResult<_>>()?
        };
        let mut pointers: Vec<_> = texts.iter().map(Text::as_mut_ptr).collect();
        pointers.push(std::ptr::null_mut());
        Ok(ArgumentList { _texts: texts, pointers })
    }

    fn as_mut_ptr(&mut self) -> *mut *mut c_char {
        self.pointers.as_mut_ptr()
    }
}

fn is_string(object: &Bound<'_, PyAny>) -> bool {
    object.is_instance_of::<PyString>() || object.is_instance_of::<PyBytes>()
}

/// Stores a list into the caller's list, in place.
fn store<'py>(target: &Bound<'py, PyAny>, items: &Bound<'py, PyList>) -> PyResult<()> {
    let py = target.py();
    target.set_item(PySlice::full(py), items)
}

/// One value for all of `n` commands, or a sequence of `n`.
fn each<'py, T>(
    values: Option<&Bound<'py, PyAny>>,
    n: usize,
    default: T,
    single: impl Fn(&Bound<'py, PyAny>) -> Option<T>,
    what: &str,
) -> PyResult<Vec<T>>
where
    T: Clone,
{
    let Some(values) = values else {
        return Ok(vec![default; n]);
    };
    if let Some(value) = single(values) {
        return Ok(vec![value; n]);
    }
    let list: Vec<T> = values
        .try_iter()?
        .map(|item| {
            let item = item?;
            single(&item).ok_or_else(|| PyValueError::new_err(format!("unexpected item in {what}: {item}")))
        })
        .collect::<PyResult<_>>()?;
    numbers::expect_length(list.len(), n, what)?;
    Ok(list)
}

/// A port's name as the root of a collective call gives it; others may give anything.
fn port_at_root(comm: &Comm, root: c_int, port_name: &Bound<'_, PyAny>) -> PyResult<Option<Text>> {
    if comm.rank_now()? == root { port_name.extract().map(Some) } else { Ok(None) }
}

#[pymethods]
impl Comm {
    /// Get_parent(cls) -> Intercomm
    ///
    /// Return the communicator with the processes that spawned these, a null one when nobody did. Local.
    #[classmethod]
    fn Get_parent<'py>(cls: &Bound<'py, PyType>) -> PyResult<Bound<'py, PyAny>> {
        // SAFETY: the result pointer is valid for the write.
        created(&cls.py().get_type::<Intercomm>(), |out| unsafe { MPI_Comm_get_parent(out) })
    }

    /// Join(cls, fd: int) -> Intercomm
    ///
    /// Return a communicator of two processes that are connected by a socket. Blocks.
    #[classmethod]
    fn Join<'py>(cls: &Bound<'py, PyType>, fd: c_int) -> PyResult<Bound<'py, PyAny>> {
        // SAFETY: the result pointer is valid for the write.
        created(&cls.py().get_type::<Intercomm>(), |out| unsafe { MPI_Comm_join(fd, out) })
    }
}

#[pymethods]
impl Intracomm {
    /// Spawn(self, command, args=None, maxprocs: int = 1, info: Info = INFO_NULL, root: int = 0, errcodes=None) -> Intercomm
    ///
    /// Start processes of a program; return the communicator with them. Collective, blocks until they have initialized.
    ///
    /// `command`, `args`, `maxprocs` and `info` count on `root` only. A list `errcodes` receives one code per process.
    #[pyo3(signature = (command, args=None, maxprocs=1, info=None, root=0, errcodes=None))]
    fn Spawn<'py>(
        slf: &Bound<'py, Self>,
        command: &Bound<'py, PyAny>,
        args: Option<&Bound<'py, PyAny>>,
        maxprocs: c_int,
        info: Option<&Bound<'py, Info>>,
        root: c_int,
        errcodes: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let py = slf.py();
        let comm = slf.as_super().get();
        let is_root = comm.rank_now()? == root;
        let command: Option<PathText> = if is_root { Some(command.extract()?) } else { None };
        let mut list = match args {
            Some(args) if is_root => Some(ArgumentList::of(args)?),
            _ => None,
        };
        init::flush_output(py);
        let count = usize::try_from(maxprocs).unwrap_or(0);
        let mut codes = vec![MPI_SUCCESS; count];
        let (raw, info) = (comm.raw(), handle::raw_or_null(info));
        let program = command.as_ref().map_or(std::ptr::null(), PathText::as_ptr);
        let argv = list.as_mut().map_or(std::ptr::null_mut(), ArgumentList::as_mut_ptr);
        let out_codes = if errcodes.is_some() { codes.as_mut_ptr() } else { std::ptr::null_mut() };
        // SAFETY: program and arguments are terminated and outlive the call; `out_codes` is null (the codes are ignored)
        // or has room for `maxprocs`, which must then be the same on all ranks.
        let result = created(&py.get_type::<Intercomm>(), |out| unsafe {
            MPI_Comm_spawn(program, argv, maxprocs, info, root, raw, out, out_codes)
        });
        if let Some(target) = errcodes {
            store(target, &PyList::new(py, &codes)?)?;
        }
        result
    }

    /// Spawn_multiple(self, command, args=None, maxprocs=None, info=INFO_NULL, root: int = 0, errcodes=None) -> Intercomm
    ///
    /// Start processes of several programs as one world; return the communicator with them. Collective, blocks.
    #[pyo3(signature = (command, args=None, maxprocs=None, info=None, root=0, errcodes=None))]
    fn Spawn_multiple<'py>(
        slf: &Bound<'py, Self>,
        command: &Bound<'py, PyAny>,
        args: Option<&Bound<'py, PyAny>>,
        maxprocs: Option<&Bound<'py, PyAny>>,
        info: Option<&Bound<'py, PyAny>>,
        root: c_int,
        errcodes: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let py = slf.py();
        let comm = slf.as_super().get();
        let is_root = comm.rank_now()? == root;
        let mut commands: Vec<PathText> = Vec::new();
        let mut lists: Vec<ArgumentList> = Vec::new();
        let mut infos: Vec<MPI_Info> = Vec::new();
        if is_root {
            if is_string(command) || command.hasattr("__fspath__")? {
                return Err(PyValueError::new_err("expecting a sequence of commands, got one"));
            }
            commands = command.try_iter()?.map(|item| item?.extract()).collect::<PyResult<_>>()?;
            if let Some(args) = args {
                lists = if is_string(args) {
                    commands.iter().map(|_| ArgumentList::of(args)).collect::<PyResult<_>>()?
                } else {
                    args.try_iter()?.map(|item| ArgumentList::of(&item?)).collect::<PyResult<_>>()?
                };
                numbers::expect_length(lists.len(), commands.len(), "args")?;
            }
            let single = |object: &Bound<'_, PyAny>| object.cast::<Info>().ok().map(|info| info.get().raw());
            infos = each(info, commands.len(), MPI_INFO_NULL, single, "info")?;
        }
        let programs = if is_root { commands.len() } else { maxprocs.map_or(0, |list| list.len().unwrap_or(0)) };
        let single = |object: &Bound<'_, PyAny>| object.extract::<c_int>().ok();
        let mut sizes =
            if is_root || errcodes.is_some() { each(maxprocs, programs, 1, single, "maxprocs")? } else { Vec::new() };
        let total: usize = sizes.iter().map(|n| usize::try_from(*n).unwrap_or(0)).sum();
        let mut codes = vec![MPI_SUCCESS; total];
        let ignored = std::ptr::null_mut();
        let out_codes = if errcodes.is_some() { codes.as_mut_ptr() } else { ignored };
        let mut names: Vec<*mut c_char> = commands.iter().map(PathText::as_mut_ptr).collect();
        let mut argvs: Vec<*mut *mut c_char> = lists.iter_mut().map(ArgumentList::as_mut_ptr).collect();
        let argv = if argvs.is_empty() { std::ptr::null_mut() } else { argvs.as_mut_ptr() };
        let (raw, n) = (comm.raw(), numbers::count(commands.len())?);
        init::flush_output(py);
        // SAFETY: the arrays hold `n` items, strings are terminated, all outlive the call; on other ranks than the root
        // the library looks at none of them. `out_codes` has room for all processes.
        let result = created(&py.get_type::<Intercomm>(), |out| unsafe {
            MPI_Comm_spawn_multiple(
                n,
                names.as_mut_ptr(),
                argv,
                sizes.as_mut_ptr(),
                infos.as_ptr(),
                root,
                raw,
                out,
                out_codes,
            )
        });
        if let Some(target) = errcodes {
            let (parts, mut rest) = (PyList::empty(py), &codes[..]);
            for size in &sizes {
                let (part, after) = rest.split_at(usize::try_from(*size).unwrap_or(0).min(rest.len()));
                parts.append(PyList::new(py, part)?)?;
                rest = after;
            }
            store(target, &parts)?;
        }
        result
    }

    /// Accept(self, port_name: str, info: Info = INFO_NULL, root: int = 0) -> Intercomm
    ///
    /// Wait for processes that connect to a port; return the communicator with them. Collective, blocks.
    #[pyo3(signature = (port_name, info=None, root=0))]
    fn Accept<'py>(
        slf: &Bound<'py, Self>,
        port_name: &Bound<'py, PyAny>,
        info: Option<&Bound<'py, Info>>,
        root: c_int,
    ) -> PyResult<Bound<'py, PyAny>> {
        let comm = slf.as_super().get();
        let port = port_at_root(comm, root, port_name)?;
        let (raw, info) = (comm.raw(), handle::raw_or_null(info));
        let name = port.as_ref().map_or(std::ptr::null(), Text::as_ptr);
        // SAFETY: the name is NUL-terminated where it counts; the result pointer is valid for the write.
        created(&slf.py().get_type::<Intercomm>(), |out| unsafe { MPI_Comm_accept(name, info, root, raw, out) })
    }

    /// Connect(self, port_name: str, info: Info = INFO_NULL, root: int = 0) -> Intercomm
    ///
    /// Connect to the processes that accept at a port; return the communicator with them. Collective, blocks.
    #[pyo3(signature = (port_name, info=None, root=0))]
    fn Connect<'py>(
        slf: &Bound<'py, Self>,
        port_name: &Bound<'py, PyAny>,
        info: Option<&Bound<'py, Info>>,
        root: c_int,
    ) -> PyResult<Bound<'py, PyAny>> {
        let comm = slf.as_super().get();
        let port = port_at_root(comm, root, port_name)?;
        let (raw, info) = (comm.raw(), handle::raw_or_null(info));
        let name = port.as_ref().map_or(std::ptr::null(), Text::as_ptr);
        // SAFETY: the name is NUL-terminated where it counts; the result pointer is valid for the write.
        created(&slf.py().get_type::<Intercomm>(), |out| unsafe { MPI_Comm_connect(name, info, root, raw, out) })
    }
}

/// Open_port(info: Info = INFO_NULL) -> str
///
/// Open a port and return its name, for `Accept`. Local.
#[pyfunction]
#[pyo3(signature = (info=None))]
fn Open_port(py: Python<'_>, info: Option<&Bound<'_, Info>>) -> PyResult<String> {
    let info = handle::raw_or_null(info);
    let mut name = [0; MPI_MAX_PORT_NAME as usize + 1];
    let out = name.as_mut_ptr();
    // SAFETY: the array has the room the standard asks for.
    gil::blocking(py, || unsafe { MPI_Open_port(info, out) })?;
    Ok(text::from_c(&name, MPI_MAX_PORT_NAME))
}

/// Close_port(port_name: str) -> None
///
/// Close a port. Local.
#[pyfunction]
fn Close_port(py: Python<'_>, port_name: Text) -> PyResult<()> {
    // SAFETY: the name is NUL-terminated and outlives the call.
    gil::blocking(py, || unsafe { MPI_Close_port(port_name.as_ptr()) })
}

/// Publish_name(service_name: str, port_name: str, info: Info = INFO_NULL) -> None
///
/// Make a port known under a name, for `Lookup_name` in other programs. Local.
#[pyfunction]
#[pyo3(signature = (service_name, port_name, info=None))]
fn Publish_name(py: Python<'_>, service_name: Text, port_name: Text, info: Option<&Bound<'_, Info>>) -> PyResult<()> {
    let info = handle::raw_or_null(info);
    // SAFETY: both names are NUL-terminated and outlive the call.
    gil::blocking(py, || unsafe { MPI_Publish_name(service_name.as_ptr(), info, port_name.as_ptr()) })
}

/// Unpublish_name(service_name: str, port_name: str, info: Info = INFO_NULL) -> None
///
/// Withdraw a published name. Local.
#[pyfunction]
#[pyo3(signature = (service_name, port_name, info=None))]
fn Unpublish_name(py: Python<'_>, service_name: Text, port_name: Text, info: Option<&Bound<'_, Info>>) -> PyResult<()> {
    let info = handle::raw_or_null(info);
    // SAFETY: both names are NUL-terminated and outlive the call.
    gil::blocking(py, || unsafe { MPI_Unpublish_name(service_name.as_ptr(), info, port_name.as_ptr()) })
}

/// Lookup_name(service_name: str, info: Info = INFO_NULL) -> str
///
/// Return the port published under a name. Local.
#[pyfunction]
#[pyo3(signature = (service_name, info=None))]
fn Lookup_name(py: Python<'_>, service_name: Text, info: Option<&Bound<'_, Info>>) -> PyResult<String> {
    let info = handle::raw_or_null(info);
    let mut name = [0; MPI_MAX_PORT_NAME as usize + 1];
    let out = name.as_mut_ptr();
    // SAFETY: the service's name is NUL-terminated; the array has the room the standard asks for.
    gil::blocking(py, || unsafe { MPI_Lookup_name(service_name.as_ptr(), info, out) })?;
    Ok(text::from_c(&name, MPI_MAX_PORT_NAME))
}

/// Adds the functions of this folder to the module.
pub(crate) fn register_functions(m: &Bound<'_, PyModule>) -> PyResult<()> {
    for function in [
        wrap_pyfunction!(Open_port, m)?,
        wrap_pyfunction!(Close_port, m)?,
        wrap_pyfunction!(Publish_name, m)?,
        wrap_pyfunction!(Unpublish_name, m)?,
        wrap_pyfunction!(Lookup_name, m)?,
        wrap_pyfunction!(topo::Compute_dims, m)?,
    ] {
        m.add_function(function)?;
    }
    lock::register(m)
}
