//! From element formats and type strings to MPI datatypes.
//!
//! Keys are what the buffer protocol (`struct` notation), NumPy (`dtype.char` and `dtype.str` without its byte order) and the
//! array interfaces use. Values are the fixed handles of the MPI 5.0 ABI.

use std::ffi::{CStr, c_int};

use pyo3::exceptions::{PyBufferError, PyKeyError};
use pyo3::prelude::*;

use crate::ffi::*;

/// A predefined datatype: its handle in the ABI and its size, which is its extent too.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Basic {
    /// The fixed handle value.
    pub(crate) handle: usize,
    /// Bytes per element.
    pub(crate) size: i64,
}

const fn basic(datatype: MPI_Datatype, size: i64) -> Basic {
    Basic { handle: datatype.0, size }
}

/// `MPI_BYTE`: the datatype of buffers without a format.
pub(crate) const BYTE: Basic = basic(MPI_BYTE, 1);

const CHAR: Basic = basic(MPI_CHAR, 1);
const SIGNED_CHAR: Basic = basic(MPI_SIGNED_CHAR, 1);
const SHORT: Basic = basic(MPI_SHORT, 2);
const INT: Basic = basic(MPI_INT, 4);
const LONG: Basic = basic(MPI_LONG, 8);
const LONG_LONG: Basic = basic(MPI_LONG_LONG, 8);
const UNSIGNED_CHAR: Basic = basic(MPI_UNSIGNED_CHAR, 1);
const UNSIGNED_SHORT: Basic = basic(MPI_UNSIGNED_SHORT, 2);
const UNSIGNED: Basic = basic(MPI_UNSIGNED, 4);
const UNSIGNED_LONG: Basic = basic(MPI_UNSIGNED_LONG, 8);
const UNSIGNED_LONG_LONG: Basic = basic(MPI_UNSIGNED_LONG_LONG, 8);
const FLOAT: Basic = basic(MPI_FLOAT, 4);
const DOUBLE: Basic = basic(MPI_DOUBLE, 8);
const LONG_DOUBLE: Basic = basic(MPI_LONG_DOUBLE, 16);
const C_BOOL: Basic = basic(MPI_C_BOOL, 1);
const C_FLOAT_COMPLEX: Basic = basic(MPI_C_FLOAT_COMPLEX, 8);
const C_DOUBLE_COMPLEX: Basic = basic(MPI_C_DOUBLE_COMPLEX, 16);
const C_LONG_DOUBLE_COMPLEX: Basic = basic(MPI_C_LONG_DOUBLE_COMPLEX, 32);
const WCHAR: Basic = basic(MPI_WCHAR, 4);
const AINT: Basic = basic(MPI_AINT, 8);
const COUNT: Basic = basic(MPI_COUNT, 8);
const INT8_T: Basic = basic(MPI_INT8_T, 1);
const INT16_T: Basic = basic(MPI_INT16_T, 2);
const INT32_T: Basic = basic(MPI_INT32_T, 4);
const INT64_T: Basic = basic(MPI_INT64_T, 8);
const UINT8_T: Basic = basic(MPI_UINT8_T, 1);
const UINT16_T: Basic = basic(MPI_UINT16_T, 2);
const UINT32_T: Basic = basic(MPI_UINT32_T, 4);
const UINT64_T: Basic = basic(MPI_UINT64_T, 8);
const INTEGER16: Basic = basic(MPI_INTEGER16, 16);
const REAL2: Basic = basic(MPI_REAL2, 2);
const COMPLEX4: Basic = basic(MPI_COMPLEX4, 4);

/// Every type string that names a datatype, in the order in which `MPI._typedict` lists them.
pub(crate) const TYPE_STRINGS: &[(&str, Basic)] = &[
    // Characters of `struct`, `array` and NumPy.
    ("?", C_BOOL),
    ("b", SIGNED_CHAR),
    ("h", SHORT),
    ("i", INT),
    ("l", LONG),
    ("q", LONG_LONG),
    ("B", UNSIGNED_CHAR),
    ("H", UNSIGNED_SHORT),
    ("I", UNSIGNED),
    ("L", UNSIGNED_LONG),
    ("Q", UNSIGNED_LONG_LONG),
    ("e", REAL2),
    ("f", FLOAT),
    ("d", DOUBLE),
    ("g", LONG_DOUBLE),
    ("Ze", COMPLEX4),
    ("Zf", C_FLOAT_COMPLEX),
    ("Zd", C_DOUBLE_COMPLEX),
    ("Zg", C_LONG_DOUBLE_COMPLEX),
    ("E", COMPLEX4),
    ("F", C_FLOAT_COMPLEX),
    ("D", C_DOUBLE_COMPLEX),
    ("G", C_LONG_DOUBLE_COMPLEX),
    // Kind and size.
    ("b1", C_BOOL),
    ("i1", INT8_T),
    ("i2", INT16_T),
    ("i4", INT32_T),
    ("i8", INT64_T),
    ("i16", INTEGER16),
    ("u1", UINT8_T),
    ("u2", UINT16_T),
    ("u4", UINT32_T),
    ("u8", UINT64_T),
    ("f2", REAL2),
    ("f4", FLOAT),
    ("f8", DOUBLE),
    ("f16", LONG_DOUBLE),
    ("c4", COMPLEX4),
    ("c8", C_FLOAT_COMPLEX),
    ("c16", C_DOUBLE_COMPLEX),
    ("c32", C_LONG_DOUBLE_COMPLEX),
    // Sizes and addresses.
    ("n", COUNT),
    ("N", UNSIGNED_LONG),
    ("p", AINT),
    ("P", UNSIGNED_LONG),
    // Characters and strings of one character.
    ("c", CHAR),
    ("a", CHAR),
    ("S", CHAR),
    ("S1", CHAR),
    ("s", CHAR),
    ("1s", CHAR),
    ("U", WCHAR),
    ("U1", WCHAR),
    ("u", UINT16_T),
    ("1u", UINT16_T),
    ("w", WCHAR),
    ("1w", WCHAR),
    // Dates and durations of NumPy: 64-bit counts.
    ("M", INT64_T),
    ("M8", INT64_T),
    ("m", INT64_T),
    ("m8", INT64_T),
];

/// One-character keys by their byte.
static BY_CHAR: [Option<Basic>; 128] = {
    let mut table = [None; 128];
    let mut i = 0;
    while i < TYPE_STRINGS.len() {
        let key = TYPE_STRINGS[i].0.as_bytes();
        if key.len() == 1 {
            table[key[0] as usize] = Some(TYPE_STRINGS[i].1);
        }
        i += 1;
    }
    table
};

/// What NumPy gives as format of the elements whose number in its C interface (`enum NPY_TYPES`) this is, and their datatype:
/// for numbers of this machine.
static BY_NUMBER: [Option<(&CStr, Basic)>; 24] = {
    let mut table = [None; 24];
    table[0] = Some((c"?", C_BOOL));
    table[1] = Some((c"b", SIGNED_CHAR));
    table[2] = Some((c"B", UNSIGNED_CHAR));
    table[3] = Some((c"h", SHORT));
    table[4] = Some((c"H", UNSIGNED_SHORT));
    table[5] = Some((c"i", INT));
    table[6] = Some((c"I", UNSIGNED));
    table[7] = Some((c"l", LONG));
    table[8] = Some((c"L", UNSIGNED_LONG));
    table[9] = Some((c"q", LONG_LONG));
    table[10] = Some((c"Q", UNSIGNED_LONG_LONG));
    table[11] = Some((c"f", FLOAT));
    table[12] = Some((c"d", DOUBLE));
    table[13] = Some((c"g", LONG_DOUBLE));
    table[14] = Some((c"Zf", C_FLOAT_COMPLEX));
    table[15] = Some((c"Zd", C_DOUBLE_COMPLEX));
    table[16] = Some((c"Zg", C_LONG_DOUBLE_COMPLEX));
    table[23] = Some((c"e", REAL2));
    table
};

/// Format and datatype of the elements that have this number in NumPy's C interface.
#[inline]
pub(super) fn of_numpy(number: c_int) -> Option<(&'static CStr, Basic)> {
    BY_NUMBER.get(usize::try_from(number).ok()?).copied().flatten()
}

/// The datatype that a type string names.
#[inline]
pub(crate) fn lookup(key: &[u8]) -> Option<Basic> {
    match key {
        [c] => of_char(*c),
        _ => TYPE_STRINGS.iter().find(|(name, _)| name.as_bytes() == key).map(|(_, basic)| *basic),
    }
}

/// The datatype that one format character names.
#[inline]
pub(crate) fn of_char(format: u8) -> Option<Basic> {
    BY_CHAR.get(usize::from(format)).copied().flatten()
}

/// The datatype of a buffer's elements, from its format.
pub(crate) fn of_format(format: &CStr) -> PyResult<Basic> {
    let bytes = format.to_bytes();
    let key = match bytes {
        [b'@' | b'=', rest @ ..] => rest,
        [b'<', rest @ ..] if cfg!(target_endian = "little") => rest,
        [b'>', rest @ ..] if cfg!(target_endian = "big") => rest,
        [b'<' | b'>' | b'!', ..] => return Err(foreign_order(bytes)),
        plain => plain,
    };
    lookup(key).ok_or_else(|| unknown(key))
}

/// The datatype of elements whose size is not the one that the format's character has on this platform.
#[cold]
pub(crate) fn resized(format: &CStr, size: i64) -> PyResult<Basic> {
    let bytes = format.to_bytes();
    let signed = b"bhilqn";
    let unsigned = b"BHILQN";
    let kind = match bytes.last() {
        Some(c) if signed.contains(c) => "i",
        Some(c) if unsigned.contains(c) => "u",
        // Characters of strings: two or four bytes, by platform and version of Python.
        Some(b'u' | b'w') if size == 4 => return lookup(b"w").ok_or_else(|| unknown(bytes)),
        Some(b'u' | b'w') => "u",
        _ => return Err(unknown(bytes)),
    };
    lookup(format!("{kind}{size}").as_bytes()).ok_or_else(|| unknown(bytes))
}

/// The datatype that a user's type string names.
pub(crate) fn of_string(key: &str) -> PyResult<Basic> {
    lookup(key.as_bytes()).ok_or_else(|| unknown(key.as_bytes()))
}

#[cold]
fn foreign_order(format: &[u8]) -> PyErr {
    PyBufferError::new_err(format!(
        "format string '{}' with non-native byte order: convert the array (a.astype(a.dtype.newbyteorder('='))), or pass an \
         explicit datatype ([a, MPI.INT]) to send the bytes as they are",
        String::from_utf8_lossy(format)
    ))
}

#[cold]
fn unknown(key: &[u8]) -> PyErr {
    let text = String::from_utf8_lossy(key);
    let advice = match key {
        b"O" => "; arrays of Python objects travel with the lower-case methods (send, recv, bcast, ...)",
        [b'T', ..] => "; for records pass a datatype explicitly ([a, MPI.BYTE], or one from Datatype.Create_struct)",
        _ => "; pass a datatype explicitly ([buffer, count, MPI.INT])",
    };
    PyKeyError::new_err(format!("cannot map {text:?} to MPI datatype{advice}"))
}

/// The extent of a predefined datatype, when it is one whose size the ABI fixes.
#[inline]
pub(crate) const fn known_extent(handle: usize) -> Option<i64> {
    match MPI_Datatype(handle) {
        // Sized datatypes carry log2 of their size in bits 3 to 5.
        MPI_Datatype(576..=639) => Some(1 << ((handle >> 3) & 7)),
        MPI_AINT
        | MPI_COUNT
        | MPI_OFFSET
        | MPI_LONG
        | MPI_LONG_LONG
        | MPI_UNSIGNED_LONG
        | MPI_UNSIGNED_LONG_LONG
        | MPI_C_FLOAT_COMPLEX
        | MPI_DOUBLE => Some(8),
        MPI_SHORT | MPI_UNSIGNED_SHORT => Some(2),
        MPI_INT | MPI_UNSIGNED | MPI_FLOAT => Some(4),
        MPI_C_DOUBLE_COMPLEX => Some(16),
        _ => None,
    }
}

// The sizes in the table are those that the handles themselves tell.
const _: () = {
    let mut i = 0;
    while i < TYPE_STRINGS.len() {
        let basic = TYPE_STRINGS[i].1;
        if let Some(extent) = known_extent(basic.handle) {
            assert!(extent == basic.size);
        }
        i += 1;
    }
};
