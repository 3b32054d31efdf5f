//! Large counts, and functions that the library may lack.
//!
//! The binding calls the forms with large counts (`MPI_Send_c`). `build/functions.rs` writes what that means on which library: on
//! the embedded engine the function itself, elsewhere the plain form (`MPI_Send`) for all numbers that an `int` holds. So a
//! library of MPI 3.1 behind a translator of the ABI serves, too, and what it lacks is an exception that names the function.

use std::cell::Cell;
use std::ffi::CStr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicPtr, Ordering};

use crate::extras;
use crate::ffi::*;

/// Where the address of a function is kept.
pub(crate) struct Slot(AtomicPtr<c_void>);

impl Slot {
    /// A slot with what finds the function.
    pub(crate) const fn new(first: *mut c_void) -> Slot {
        Slot(AtomicPtr::new(first))
    }

    /// The address of the function, or of what finds it.
    #[inline(always)]
    pub(crate) fn get(&self) -> *mut c_void {
        // Relaxed: code is there before any address of it.
        self.0.load(Ordering::Relaxed)
    }

    /// Keeps the address for all calls that follow.
    pub(crate) fn set(&self, found: *mut c_void) {
        self.0.store(found, Ordering::Relaxed);
    }
}

/// The function of this name, as the system's loader would link to it, so that what is put in front of the library
/// (`LD_PRELOAD`) is found first.
pub(crate) fn find(name: &CStr) -> Option<*mut c_void> {
    // SAFETY: only looks a name up, in the scope of this extension.
    let found = unsafe { libc::dlsym(libc::RTLD_DEFAULT, name.as_ptr()) };
    let found = if found.is_null() { extras::symbol(name)? } else { found };
    Some(found)
}

/// As [`find`], and nothing on other libraries than the embedded engine.
pub(crate) fn find_embedded(name: &CStr) -> Option<*mut c_void> {
    if extras::is_embedded() { find(name) } else { None }
}

thread_local! {
    /// What is to be told with the next exception of this thread: the code that it has, and the text.
    static TOLD: Cell<Option<(c_int, String)>> = const { Cell::new(None) };
}

/// The text for an error that this module has given the code of.
pub(crate) fn told(code: c_int) -> Option<String> {
    TOLD.take().filter(|(of, _)| *of == code).map(|(_, text)| text)
}

fn tell(code: c_int, text: String) -> c_int {
    TOLD.set(Some((code, text)));
    code
}

/// What the library is called: its file.
fn library() -> String {
    extras::library_file().unwrap_or_else(|| String::from("that is loaded"))
}

/// The error of a function that the library does not have.
#[cold]
pub(crate) fn absent(name: &str) -> c_int {
    tell(MPI_ERR_UNSUPPORTED_OPERATION, format!("{name}: the MPI library {} does not have this function", library()))
}

/// The error of a number that only the form with large counts takes, on a library without it.
#[cold]
pub(crate) fn too_large(name: &str, number: i64) -> c_int {
    let plain = name.strip_suffix("_c").unwrap_or(name);
    let text = format!(
        "{plain}: {number} does not fit an int (at most {}), and the MPI library {} does not have {name}, which takes it: use a \
         larger datatype (Create_contiguous) or several calls",
        c_int::MAX,
        library()
    );
    tell(MPI_ERR_COUNT, text)
}

/// As [`too_large`], where it is one of many.
#[cold]
pub(crate) fn vectors_too_large(name: &str) -> c_int {
    let plain = name.strip_suffix("_c").unwrap_or(name);
    let text = format!(
        "{plain}: a count or displacement does not fit an int (at most {}), and the MPI library {} does not have {name}, which \
         takes it: use a larger datatype (Create_contiguous) or several calls",
        c_int::MAX,
        library()
    );
    tell(MPI_ERR_COUNT, text)
}

/// The number, if it does not fit an `int`.
#[inline]
pub(crate) fn beyond(number: i64) -> Option<i64> {
    if c_int::try_from(number).is_ok() { None } else { Some(number) }
}

/// Numbers as the plain form wants them, or the first that does not fit.
///
/// # Safety
/// `length` numbers at `numbers`, unless that is null.
pub(crate) unsafe fn narrowed<T: Copy + Into<i64>>(numbers: *const T, length: i64) -> Result<Vec<c_int>, i64> {
    let length = if numbers.is_null() { 0 } else { usize::try_from(length).unwrap_or(0) };
    let numbers = match length {
        0 => &[],
        // SAFETY: as the caller promises.
        _ => unsafe { std::slice::from_raw_parts(numbers, length) },
    };
    let narrow = |number: &T| c_int::try_from((*number).into()).map_err(|_| (*number).into());
    numbers.iter().map(narrow).collect()
}

/// One number for each process, in the form that the library is called with. They stay where they are until this is dropped.
pub(crate) struct Numbers<T> {
    large: Box<[T]>,
    /// As `int`s, where the plain form is called and they fit.
    plain: Option<Box<[c_int]>>,
}

/// [`Numbers`] as an argument.
#[derive(Clone, Copy)]
pub(crate) struct Array<T> {
    pub(crate) large: *const T,
    pub(crate) plain: *const c_int,
    /// Whether the plain form may be called, as far as these numbers go.
    pub(crate) fits: bool,
}

impl<T> Array<T> {
    /// No numbers: in place, or not needed here.
    pub(crate) fn null() -> Array<T> {
        Array { large: std::ptr::null(), plain: std::ptr::null(), fits: !extras::is_embedded() }
    }
}

impl<T: Copy> Numbers<T>
where
    c_int: TryFrom<T>,
{
    /// Numbers that an operation is going to be called with.
    pub(crate) fn new(large: impl Into<Box<[T]>>) -> Numbers<T> {
        let large = large.into();
        if extras::is_embedded() {
            return Numbers { large, plain: None };
        }
        let plain = large.iter().map(|number| c_int::try_from(*number).ok()).collect();
        Numbers { large, plain }
    }

    /// As an argument, as long as this is not dropped.
    pub(crate) fn array(&self) -> Array<T> {
        let (plain, fits) = self.plain.as_ref().map_or((std::ptr::null(), false), |plain| (plain.as_ptr(), true));
        Array { large: self.large.as_ptr(), plain, fits }
    }
}

impl<T> std::ops::Deref for Numbers<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &self.large
    }
}

/// Whether user-defined operations are made by `MPI_Op_create_c`: their functions then get the address of an `MPI_Count`, else
/// that of an `int`.
pub(crate) fn has_large_operations() -> bool {
    static LARGE: OnceLock<bool> = OnceLock::new();
    *LARGE.get_or_init(|| find(c"MPI_Op_create_c").is_some())
}

/// Whether conversions of files are registered by `MPI_Register_datarep_c`: their functions then get an `MPI_Count`, else an `int`.
pub(crate) fn has_large_conversions() -> bool {
    static LARGE: OnceLock<bool> = OnceLock::new();
    *LARGE.get_or_init(|| find(c"MPI_Register_datarep_c").is_some())
}

/// `MPI_Op_create`: the function is one that looks at [`has_large_operations`].
pub(crate) unsafe extern "C" fn plain_MPI_Op_create_c(function: *mut c_void, commute: c_int, op: *mut MPI_Op) -> c_int {
    // SAFETY: as the caller promises.
    unsafe { MPI_Op_create(function, commute, op) }
}

/// `MPI_Register_datarep`: the functions are those for a library without [`has_large_conversions`].
pub(crate) unsafe extern "C" fn plain_MPI_Register_datarep_c(
    name: *const c_char,
    read: *mut c_void,
    write: *mut c_void,
    extent: *mut c_void,
    state: *mut c_void,
) -> c_int {
    // SAFETY: as the caller promises.
    unsafe { MPI_Register_datarep(name, read, write, extent, state) }
}

/// `MPI_Type_get_envelope`: a library without large counts has none to tell.
pub(crate) unsafe extern "C" fn plain_MPI_Type_get_envelope_c(
    datatype: MPI_Datatype,
    integers: *mut MPI_Count,
    addresses: *mut MPI_Count,
    counts: *mut MPI_Count,
    datatypes: *mut MPI_Count,
    combiner: *mut c_int,
) -> c_int {
    let (mut ints, mut places, mut types) = (0, 0, 0);
    // SAFETY: the places are valid for the writes, those of the caller as it promises.
    unsafe {
        let code = MPI_Type_get_envelope(datatype, &mut ints, &mut places, &mut types, combiner);
        integers.write(ints.into());
        addresses.write(places.into());
        counts.write(0);
        datatypes.write(types.into());
        code
    }
}

/// `MPI_Type_get_contents`, as above.
pub(crate) unsafe extern "C" fn plain_MPI_Type_get_contents_c(
    datatype: MPI_Datatype,
    integers: MPI_Count,
    addresses: MPI_Count,
    _counts: MPI_Count,
    datatypes: MPI_Count,
    ints: *mut c_int,
    places: *mut MPI_Aint,
    _large: *mut MPI_Count,
    types: *mut MPI_Datatype,
) -> c_int {
    let least = |number: MPI_Count| c_int::try_from(number).unwrap_or(c_int::MAX);
    // SAFETY: the arrays have the sizes that the caller says; a smaller size is one, too.
    unsafe { MPI_Type_get_contents(datatype, least(integers), least(addresses), least(datatypes), ints, places, types) }
}
