//! Type strings: the names that `struct`, `array` and NumPy have for predefined datatypes.

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyType};

use super::{Datatype, decode};
use crate::buffer::format;
use crate::ffi::*;
use crate::handle::{self, Handle as _};

/// What kind of number a datatype is, as the first letter of a NumPy type string.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Number {
    Boolean,
    Signed,
    Unsigned,
    Real,
    Complex,
}

use Number::{Boolean, Complex, Real, Signed, Unsigned};

/// Datatypes named by kind and size: C99's and Fortran's.
const SIZED: &[(MPI_Datatype, Number, usize)] = &[
    (MPI_C_BOOL, Boolean, 1),
    (MPI_INT8_T, Signed, 1),
    (MPI_INT16_T, Signed, 2),
    (MPI_INT32_T, Signed, 4),
    (MPI_INT64_T, Signed, 8),
    (MPI_UINT8_T, Unsigned, 1),
    (MPI_UINT16_T, Unsigned, 2),
    (MPI_UINT32_T, Unsigned, 4),
    (MPI_UINT64_T, Unsigned, 8),
    (MPI_LOGICAL1, Boolean, 1),
    (MPI_LOGICAL2, Boolean, 2),
    (MPI_LOGICAL4, Boolean, 4),
    (MPI_LOGICAL8, Boolean, 8),
    (MPI_LOGICAL16, Boolean, 16),
    (MPI_INTEGER1, Signed, 1),
    (MPI_INTEGER2, Signed, 2),
    (MPI_INTEGER4, Signed, 4),
    (MPI_INTEGER8, Signed, 8),
    (MPI_INTEGER16, Signed, 16),
    (MPI_REAL2, Real, 2),
    (MPI_REAL4, Real, 4),
    (MPI_REAL8, Real, 8),
    (MPI_REAL16, Real, 16),
    (MPI_COMPLEX4, Complex, 4),
    (MPI_COMPLEX8, Complex, 8),
    (MPI_COMPLEX16, Complex, 16),
    (MPI_COMPLEX32, Complex, 32),
];

/// Datatypes named by a character.
const CHARACTERS: &[(MPI_Datatype, &str)] = &[
    (MPI_PACKED, "B"),
    (MPI_BYTE, "B"),
    (MPI_AINT, "p"),
    (MPI_OFFSET, "p"),
    (MPI_COUNT, "p"),
    (MPI_CHAR, "c"),
    (MPI_WCHAR, "U"),
    (MPI_SIGNED_CHAR, "b"),
    (MPI_SHORT, "h"),
    (MPI_INT, "i"),
    (MPI_LONG, "l"),
    (MPI_LONG_LONG, "q"),
    (MPI_UNSIGNED_CHAR, "B"),
    (MPI_UNSIGNED_SHORT, "H"),
    (MPI_UNSIGNED, "I"),
    (MPI_UNSIGNED_LONG, "L"),
    (MPI_UNSIGNED_LONG_LONG, "Q"),
    (MPI_FLOAT, "f"),
    (MPI_DOUBLE, "d"),
    (MPI_LONG_DOUBLE, "g"),
    (MPI_C_FLOAT_COMPLEX, "F"),
    (MPI_C_DOUBLE_COMPLEX, "D"),
    (MPI_C_LONG_DOUBLE_COMPLEX, "G"),
    (MPI_CXX_BOOL, "?"),
    (MPI_CXX_FLOAT_COMPLEX, "F"),
    (MPI_CXX_DOUBLE_COMPLEX, "D"),
    (MPI_CXX_LONG_DOUBLE_COMPLEX, "G"),
    (MPI_CHARACTER, "c"),
];

/// Fortran's datatypes whose size the library decides.
const FORTRAN: &[(MPI_Datatype, Number)] = &[
    (MPI_LOGICAL, Boolean),
    (MPI_INTEGER, Signed),
    (MPI_REAL, Real),
    (MPI_DOUBLE_PRECISION, Real),
    (MPI_COMPLEX, Complex),
    (MPI_DOUBLE_COMPLEX, Complex),
];

fn find<T: Copy>(table: &[(MPI_Datatype, T)], raw: MPI_Datatype) -> Option<T> {
    table.iter().find_map(|(known, value)| (*known == raw).then_some(*value))
}

/// The `struct` or NumPy character of a number.
fn character(number: Number, size: usize) -> Option<&'static str> {
    Some(match (number, size) {
        (Boolean, 1) => "?",
        (Signed, 1) => "b",
        (Boolean | Signed, 2) => "h",
        (Boolean | Signed, 4) => "i",
        (Boolean | Signed, 8) => "l",
        (Unsigned, 1) => "B",
        (Unsigned, 2) => "H",
        (Unsigned, 4) => "I",
        (Unsigned, 8) => "L",
        (Real, 2) => "e",
        (Real, 4) => "f",
        (Real, 8) => "d",
        (Real, 16) => "g",
        (Complex, 4) => "E",
        (Complex, 8) => "F",
        (Complex, 16) => "D",
        (Complex, 32) => "G",
        _ => return None,
    })
}

/// The NumPy type string of a number: kind and bytes.
fn string(number: Number, size: usize) -> String {
    let kind = match number {
        Boolean if size == 1 => 'b',
        Boolean | Signed => 'i',
        Unsigned => 'u',
        Real => 'f',
        Complex => 'c',
    };
    format!("{kind}{size}")
}

/// The NumPy type string that means the same as a character.
fn string_of_character(character: &str) -> Option<&'static str> {
    Some(match character {
        "?" => "b1",
        "b" => "i1",
        "h" => "i2",
        "i" => "i4",
        "l" | "q" | "p" => "i8",
        "B" => "u1",
        "H" => "u2",
        "I" => "u4",
        "L" | "Q" | "P" => "u8",
        "e" => "f2",
        "f" => "f4",
        "d" => "f8",
        "g" => "f16",
        "E" => "c4",
        "F" => "c8",
        "D" => "c16",
        "G" => "c32",
        "S" | "c" => "S1",
        "U" => "U1",
        _ => return None,
    })
}

fn sized(raw: MPI_Datatype) -> Option<(Number, usize)> {
    let fixed = SIZED.iter().find_map(|(known, number, size)| (*known == raw).then_some((*number, *size)));
    fixed.or_else(|| {
        let number = match decode::combiner(raw)? {
            MPI_COMBINER_F90_INTEGER => Signed,
            MPI_COMBINER_F90_REAL => Real,
            MPI_COMBINER_F90_COMPLEX => Complex,
            _ => return None,
        };
        Some((number, size_of_type(raw)?))
    })
}

fn size_of_type(raw: MPI_Datatype) -> Option<usize> {
    let mut size = 0;
    // SAFETY: `size` is valid for the write.
    let code = unsafe { MPI_Type_size_c(raw, &mut size) };
    if code == MPI_SUCCESS { usize::try_from(size).ok() } else { None }
}

/// What `convert` says of the type that a duplicate is a copy of.
fn of_original<T>(raw: MPI_Datatype, convert: fn(MPI_Datatype) -> Option<T>) -> Option<T> {
    if decode::combiner(raw)? != MPI_COMBINER_DUP {
        return None;
    }
    let mut original = decode::only_part(raw)?;
    let result = convert(original);
    if !decode::is_predefined(original) {
        // SAFETY: a new handle from the contents of `raw`, used nowhere else.
        unsafe { MPI_Type_free(&mut original) };
    }
    result
}

/// The character code of a datatype.
fn type_character(raw: MPI_Datatype) -> Option<&'static str> {
    if raw == MPI_DATATYPE_NULL {
        return None;
    }
    if let Some(known) = find(CHARACTERS, raw) {
        return Some(known);
    }
    if let Some(number) = find(FORTRAN, raw) {
        return character(number, size_of_type(raw)?);
    }
    match sized(raw) {
        Some((number, size)) => character(number, size),
        None => of_original(raw, type_character),
    }
}

/// The NumPy type string of a datatype.
fn type_string(raw: MPI_Datatype) -> Option<String> {
    if raw == MPI_DATATYPE_NULL {
        return None;
    }
    if let Some((number, size)) = sized(raw) {
        return Some(string(number, size));
    }
    of_original(raw, type_string).or_else(|| Some(string_of_character(type_character(raw)?)?.to_owned()))
}

/// The name by which a datatype is found again: a type string for sized types, else a character.
fn code(raw: MPI_Datatype) -> Option<String> {
    if raw == MPI_DATATYPE_NULL {
        return None;
    }
    if let Some((number, size)) = sized(raw) {
        return Some(string(number, size));
    }
    of_original(raw, code).or_else(|| type_character(raw).map(str::to_owned))
}

/// The alignment of a datatype in C.
fn alignment(raw: MPI_Datatype) -> Option<usize> {
    if [MPI_LOGICAL16, MPI_INTEGER16, MPI_REAL16, MPI_COMPLEX32].contains(&raw) {
        return Some(16);
    }
    match raw {
        MPI_SHORT_INT | MPI_2INT | MPI_FLOAT_INT => return Some(4),
        MPI_LONG_INT | MPI_DOUBLE_INT => return Some(8),
        MPI_LONG_DOUBLE_INT => return Some(16),
        _ => {}
    }
    Some(match type_character(raw)? {
        "?" | "b" | "B" | "c" | "S" => 1,
        "h" | "H" | "e" | "E" => 2,
        "i" | "I" | "f" | "F" | "U" => 4,
        "g" | "G" => 16,
        _ => 8,
    })
}

#[pymethods]
impl Datatype {
    /// tocode(self) -> str
    ///
    /// Return the character or type string of a predefined datatype. Local.
    fn tocode(&self) -> PyResult<String> {
        code(self.raw()).ok_or_else(|| PyValueError::new_err("cannot map to character code or type string"))
    }

    /// fromcode(cls, code: str) -> Datatype
    ///
    /// Return the predefined datatype for a character or type string. Local.
    #[classmethod]
    fn fromcode<'py>(cls: &Bound<'py, PyType>, code: &str) -> PyResult<Bound<'py, PyAny>> {
        let basic = format::lookup(code.as_bytes())
            .ok_or_else(|| PyValueError::new_err(format!("cannot map code '{code}' to MPI datatype")))?;
        handle::wrap::<Datatype>(cls.py(), MPI_Datatype(basic.handle))
    }

    /// typestr: str
    ///
    /// Type string.
    #[getter]
    fn typestr(&self) -> PyResult<String> {
        if self.raw() == MPI_DATATYPE_NULL {
            return Ok(String::new());
        }
        match type_string(self.raw()) {
            Some(text) => Ok(text),
            None => Ok(format!("V{}", self.Get_extent()?.1)),
        }
    }

    /// typechar: str
    ///
    /// Character code.
    #[getter]
    fn typechar(&self) -> &'static str {
        if self.raw() == MPI_DATATYPE_NULL { "" } else { type_character(self.raw()).unwrap_or("V") }
    }
}

/// _typecode(datatype: Datatype) -> str | None
///
/// Return the character or type string of a datatype, `None` when it has none.
#[pyfunction]
fn _typecode(datatype: &Bound<'_, Datatype>) -> Option<String> {
    code(datatype.get().raw())
}

/// _typealign(datatype: Datatype) -> int | None
///
/// Return the alignment of a datatype, `None` when it is not known.
#[pyfunction]
fn _typealign(datatype: &Bound<'_, Datatype>) -> Option<usize> {
    alignment(datatype.get().raw())
}

/// Names of C types, for `_typedict_c`.
const C_CODES: &[&str] = &[
    "?", "b", "h", "i", "l", "q", "B", "H", "I", "L", "Q", "f", "d", "g", "F", "D", "G", "b1", "i1", "i2", "i4", "i8",
    "u1", "u2", "u4", "u8", "f4", "c8", "f8", "c16", "f16", "c32",
];

/// Names of Fortran types, for `_typedict_f`.
const F_CODES: &[(&str, MPI_Datatype)] = &[
    ("l", MPI_LOGICAL),
    ("i", MPI_INTEGER),
    ("r", MPI_REAL),
    ("s", MPI_REAL),
    ("d", MPI_DOUBLE_PRECISION),
    ("c", MPI_COMPLEX),
    ("z", MPI_DOUBLE_COMPLEX),
    ("l1", MPI_LOGICAL1),
    ("l2", MPI_LOGICAL2),
    ("l4", MPI_LOGICAL4),
    ("l8", MPI_LOGICAL8),
    ("l16", MPI_LOGICAL16),
    ("i1", MPI_INTEGER1),
    ("i2", MPI_INTEGER2),
    ("i4", MPI_INTEGER4),
    ("i8", MPI_INTEGER8),
    ("i16", MPI_INTEGER16),
    ("r2", MPI_REAL2),
    ("r4", MPI_REAL4),
    ("r8", MPI_REAL8),
    ("r16", MPI_REAL16),
    ("c4", MPI_COMPLEX4),
    ("c8", MPI_COMPLEX8),
    ("c16", MPI_COMPLEX16),
    ("c32", MPI_COMPLEX32),
];

/// Adds the functions and tables of this file to the module.
pub(super) fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    let py = m.py();
    m.add_function(wrap_pyfunction!(_typecode, m)?)?;
    m.add_function(wrap_pyfunction!(_typealign, m)?)?;
    let all = PyDict::new(py);
    for (name, basic) in format::TYPE_STRINGS {
        all.set_item(name, handle::wrap::<Datatype>(py, MPI_Datatype(basic.handle))?)?;
    }
    let c = PyDict::new(py);
    for name in C_CODES {
        if let Some(datatype) = all.get_item(name)? {
            c.set_item(name, datatype)?;
        }
    }
    let fortran = PyDict::new(py);
    for (name, raw) in F_CODES {
        fortran.set_item(name, handle::wrap::<Datatype>(py, *raw)?)?;
    }
    m.add("_typedict", all)?;
    m.add("_typedict_c", c)?;
    m.add("_typedict_f", fortran)
}
