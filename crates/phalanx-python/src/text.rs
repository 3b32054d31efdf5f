//! Strings between Python and C.

use std::ffi::{CString, OsString};
use std::os::unix::ffi::OsStringExt;

use pyo3::Borrowed;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyString};

use crate::error;
use crate::ffi::{c_char, c_int};

/// A Python `str` or `bytes` as a C string, for names, keys and commands.
pub(crate) struct Text(CString);

impl Text {
    /// Text from Rust.
    ///
    /// # Errors
    /// `ValueError` for a text with a NUL.
    pub(crate) fn new(text: &str) -> PyResult<Text> {
        CString::new(text).map(Text).map_err(|_| PyValueError::new_err("embedded null character"))
    }

    /// The address of the NUL-terminated bytes.
    pub(crate) fn as_ptr(&self) -> *const c_char {
        self.0.as_ptr()
    }

    /// The same for C functions that forgot the `const`; they do not write.
    pub(crate) fn as_mut_ptr(&self) -> *mut c_char {
        self.0.as_ptr().cast_mut()
    }
}

impl<'a, 'py> FromPyObject<'a, 'py> for Text {
    type Error = PyErr;

    fn extract(object: Borrowed<'a, 'py, PyAny>) -> PyResult<Self> {
        let bytes = if let Ok(text) = object.cast::<PyString>() {
            text.to_cow()?.into_owned().into_bytes()
        } else if let Ok(bytes) = object.cast::<PyBytes>() {
            bytes.as_bytes().to_vec()
        } else {
            return Err(error::wrong_type("str or bytes", &object));
        };
        CString::new(bytes).map(Text).map_err(|_| PyValueError::new_err("embedded null character"))
    }
}

/// A path (`str`, `bytes` or `os.PathLike`) as a C string in the file system's encoding.
pub(crate) struct PathText(CString);

impl PathText {
    /// The address of the NUL-terminated bytes.
    pub(crate) fn as_ptr(&self) -> *const c_char {
        self.0.as_ptr()
    }

    /// The same for C functions that forgot the `const`; they do not write.
    pub(crate) fn as_mut_ptr(&self) -> *mut c_char {
        self.0.as_ptr().cast_mut()
    }
}

impl<'a, 'py> FromPyObject<'a, 'py> for PathText {
    type Error = PyErr;

    fn extract(object: Borrowed<'a, 'py, PyAny>) -> PyResult<Self> {
        let py = object.py();
        let path = py.import("os")?.call_method1("fspath", (object,))?;
        let bytes = if let Ok(bytes) = path.cast::<PyBytes>() {
            bytes.as_bytes().to_vec()
        } else {
            path.extract::<OsString>()?.into_vec()
        };
        CString::new(bytes).map(PathText).map_err(|_| PyValueError::new_err("embedded null character"))
    }
}

/// The first `length` characters of a C buffer, up to a NUL, as text.
pub(crate) fn from_c(buffer: &[c_char], length: c_int) -> String {
    let length = usize::try_from(length).unwrap_or(0).min(buffer.len());
    let bytes: Vec<u8> = buffer[..length].iter().map(|&c| c.cast_unsigned()).take_while(|&b| b != 0).collect();
    String::from_utf8_lossy(&bytes).into_owned()
}
