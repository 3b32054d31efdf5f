//! Memory of objects that have `__cuda_array_interface__` (version 3 and earlier).
//!
//! The address is handed to MPI as it is: a library that knows devices finds out where it points. The binding itself never
//! looks into such memory.

use std::ffi::{CStr, c_void};

use pyo3::exceptions::{PyBufferError, PyRuntimeWarning, PyTypeError, PyValueError};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList, PyString, PyTuple};

use super::{Access, Origin, View, attribute, dlpack};

fn bad(text: impl std::fmt::Display) -> PyErr {
    PyBufferError::new_err(format!("__cuda_array_interface__: {text}"))
}

fn wrong_type(key: &str, expected: &str) -> PyErr {
    PyTypeError::new_err(format!("__cuda_array_interface__: '{key}' must be {expected}"))
}

/// The memory of `object` when it has the interface, None when it has not.
pub(super) fn view(object: &Bound<'_, PyAny>, access: Access, with_format: bool) -> PyResult<Option<View>> {
    let py = object.py();
    let Some(interface) = attribute(object, intern!(py, "__cuda_array_interface__"))? else {
        return Ok(None);
    };
    let interface =
        interface.cast::<PyDict>().map_err(|_| PyTypeError::new_err("__cuda_array_interface__ must be a dict"))?;

    let data = required(interface, "data")?;
    let (pointer, read_only) =
        address(data.cast::<PyTuple>().map_err(|_| wrong_type("data", "a tuple (address, read_only)"))?)?;
    let typestr = required(interface, "typestr")?;
    let typestr = typestr.cast::<PyString>().map_err(|_| wrong_type("typestr", "a string such as '<f8'"))?.to_string();
    let (order, kind, itemsize) = parse_typestr(&typestr)?;
    let shape = required(interface, "shape")?;
    let shape: Vec<i64> = shape.cast::<PyTuple>().map_err(|_| wrong_type("shape", "a tuple of integers"))?.extract()?;
    let strides: Option<Vec<i64>> = match optional(interface, "strides")? {
        None => None,
        Some(strides) => {
            Some(strides.cast::<PyTuple>().map_err(|_| wrong_type("strides", "a tuple or None"))?.extract()?)
        }
    };
    let descr = optional(interface, "descr")?;
    let descr =
        descr.as_ref().map(|descr| descr.cast::<PyList>().map_err(|_| wrong_type("descr", "a list"))).transpose()?;

    let elements = shape.iter().try_fold(1i64, |total, extent| total.checked_mul(*extent));
    let bytes = elements.and_then(|n| n.checked_mul(itemsize)).and_then(|n| isize::try_from(n).ok());
    let Some(bytes) = bytes else {
        return Err(bad(format_args!("shape {shape:?} does not fit in memory")));
    };
    let pointer = match pointer {
        Some(pointer) => pointer,
        None if bytes == 0 => 0,
        None => {
            return Err(wrong_type("data", "a tuple (address, read_only) whose address is an integer"));
        }
    };

    if with_format {
        match order {
            b'<' if cfg!(target_endian = "little") => {}
            b'>' if cfg!(target_endian = "big") => {}
            b'|' => {}
            b'<' | b'>' => {
                return Err(bad(format_args!("typestr '{typestr}' with non-native byte order")));
            }
            _ => {
                return Err(bad(format_args!("typestr '{typestr}' with unrecognized byte order")));
            }
        }
    }
    if optional(interface, "mask")?.is_some() {
        return Err(bad("cannot handle masked arrays"));
    }
    if bytes < 0 {
        return Err(bad(format_args!("buffer with negative size (shape {shape:?})")));
    }
    if let Some(strides) = &strides
        && !super::is_packed(&shape, strides, itemsize)
    {
        return Err(bad(format_args!(
            "buffer is not contiguous (shape {shape:?}, strides {strides:?}, itemsize {itemsize}): pass a contiguous copy"
        )));
    }
    if read_only && access == Access::Write {
        return Err(bad("buffer is not writable, and this call writes into it"));
    }
    if let Some(descr) = descr
        && !describes_plain_elements(descr, &typestr)?
    {
        let text = c"__cuda_array_interface__: ignoring 'descr' key";
        PyErr::warn(py, &py.get_type::<PyRuntimeWarning>(), text, 1)?;
    }

    let mut view = View::of_memory(pointer as *mut c_void, bytes, read_only, Some(object.clone()));
    view.origin = Origin::Device(dlpack::CUDA);
    if with_format && let Some(format) = format(kind, itemsize) {
        view.set_format(format);
        view.raw.itemsize = itemsize as isize;
    }
    Ok(Some(view))
}

fn required<'py>(interface: &Bound<'py, PyDict>, key: &str) -> PyResult<Bound<'py, PyAny>> {
    // `get_item` through the mapping protocol: raises KeyError with the key.
    interface.as_any().get_item(key)
}

fn optional<'py>(interface: &Bound<'py, PyDict>, key: &str) -> PyResult<Option<Bound<'py, PyAny>>> {
    Ok(interface.get_item(key)?.filter(|value| !value.is_none()))
}

/// Address (None is allowed for empty arrays) and read-only flag.
fn address(data: &Bound<'_, PyTuple>) -> PyResult<(Option<usize>, bool)> {
    if data.len() != 2 {
        return Err(PyValueError::new_err(format!(
            "__cuda_array_interface__: 'data' has {} items, expecting (address, read_only)",
            data.len()
        )));
    }
    let pointer = data.get_item(0)?;
    let pointer = if pointer.is_none() { None } else { Some(pointer.extract()?) };
    Ok((pointer, data.get_item(1)?.is_truthy()?))
}

/// Byte order, kind and item size of a type string such as `<f8`.
fn parse_typestr(typestr: &str) -> PyResult<(u8, u8, i64)> {
    if let [order, kind, digits @ ..] = typestr.as_bytes()
        && let Ok(digits) = std::str::from_utf8(digits)
        && let Ok(itemsize) = digits.parse::<u32>()
    {
        return Ok((*order, *kind, i64::from(itemsize)));
    }
    Err(PyValueError::new_err(format!(
        "__cuda_array_interface__: typestr '{typestr}' is not a byte order, a kind and a size (as in '<f8')"
    )))
}

/// Whether `descr` only repeats the type string.
fn describes_plain_elements(descr: &Bound<'_, PyList>, typestr: &str) -> PyResult<bool> {
    if descr.len() != 1 {
        return Ok(false);
    }
    descr.get_item(0)?.eq(("", typestr))
}

/// The format of an element, when `struct` notation has one.
fn format(kind: u8, itemsize: i64) -> Option<&'static CStr> {
    Some(match (kind, itemsize) {
        (b'b', 1) => c"?",
        (b'i', 1) => c"b",
        (b'i', 2) => c"h",
        (b'i', 4) => c"i",
        (b'i', 8) => c"l",
        (b'u', 1) => c"B",
        (b'u', 2) => c"H",
        (b'u', 4) => c"I",
        (b'u', 8) => c"L",
        (b'f', 2) => c"e",
        (b'f', 4) => c"f",
        (b'f', 8) => c"d",
        (b'f', 16) => c"g",
        (b'c', 4) => c"Ze",
        (b'c', 8) => c"Zf",
        (b'c', 16) => c"Zd",
        (b'c', 32) => c"Zg",
        _ => return None,
    })
}
