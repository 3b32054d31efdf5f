//! Functions that the other end of a link can import: their names stand for them.

use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyString, PyType};

/// A module, and a name in it.
pub(super) type Place<'py> = (Bound<'py, PyString>, Bound<'py, PyString>);

/// A module that was imported under this name.
fn imported<'py>(name: &Bound<'py, PyString>) -> PyResult<Option<Bound<'py, PyAny>>> {
    let py = name.py();
    // SAFETY: the thread is attached, and `name` is an object; what is given is a new reference, or null, perhaps with an error.
    let found = unsafe { Bound::from_owned_ptr_or_opt(py, ffi::PyImport_GetModule(name.as_ptr())) };
    match found {
        Some(found) => Ok(Some(found)),
        None => PyErr::take(py).map_or(Ok(None), Err),
    }
}

fn text<'py>(thing: &Bound<'py, PyAny>, name: &Bound<'py, PyString>) -> PyResult<Option<Bound<'py, PyString>>> {
    Ok(thing.getattr_opt(name)?.and_then(|value| value.cast_into::<PyString>().ok()))
}

/// place_of(thing: object) -> tuple[str, str] | None
///
/// Module and name that this object can be imported by, if there are such. (The main module of another process is another one.)
#[pyfunction]
pub(super) fn place_of<'py>(thing: &Bound<'py, PyAny>) -> PyResult<Option<Place<'py>>> {
    let py = thing.py();
    let Some(module) = text(thing, pyo3::intern!(py, "__module__"))? else { return Ok(None) };
    if matches!(&*module.to_cow()?, "__main__" | "__mp_main__") {
        return Ok(None);
    }
    let name = match text(thing, pyo3::intern!(py, "__qualname__"))? {
        Some(name) if !name.to_cow()?.is_empty() => name,
        _ => match text(thing, pyo3::intern!(py, "__name__"))? {
            Some(name) => name,
            None => return Ok(None),
        },
    };
    let Some(mut found) = imported(&module)? else { return Ok(None) };
    let words = name.to_cow()?;
    if words.contains('.') {
        for word in words.split('.') {
            let Some(next) = found.getattr_opt(word)? else { return Ok(None) };
            found = next;
        }
    } else {
        let Some(next) = found.getattr_opt(&name)? else { return Ok(None) };
        found = next;
    }
    drop(words);
    Ok(found.is(thing).then_some((module, name)))
}

/// The same of a function, written in Python or built in; nothing of other objects.
pub(super) fn place_of_function<'py>(thing: &Bound<'py, PyAny>) -> PyResult<Option<Place<'py>>> {
    static KINDS: PyOnceLock<[Py<PyType>; 2]> = PyOnceLock::new();
    let py = thing.py();
    let kinds = KINDS.get_or_try_init(py, || {
        let types = py.import("types")?;
        let kind = |name: &str| Ok::<_, PyErr>(types.getattr(name)?.cast_into::<PyType>()?.unbind());
        Ok::<_, PyErr>([kind("FunctionType")?, kind("BuiltinFunctionType")?])
    })?;
    let kind = thing.get_type();
    if kinds.iter().any(|known| kind.is(known)) { place_of(thing) } else { Ok(None) }
}
