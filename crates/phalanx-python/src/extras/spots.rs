//! Where a thread of Python is, for a rank that is traced: a *spot* is its code object and instruction, read out of the
//! interpreter's memory as a debugger would.
//!
//! A call asks at each time, some without the interpreter's lock, so no function of Python's can be asked. The thread is in a
//! call of ours meanwhile: its own frames do not change. Where they lie is known by the interpreter's version
//! ([`phalanx_trace::layout`]), and was compared with what Python itself says before anything is read this way: else, and with
//! versions that are not known, the library asks the slow way.

use std::ffi::{c_int, c_void};
use std::sync::OnceLock;

use phalanx_trace::layout::{ENTRIES, Layout, WORDS, layout};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::PyString;

use super::{package, row};

/// Code object and instruction.
pub(super) type Spot = [usize; 2];

static LAYOUT: OnceLock<Layout> = OnceLock::new();

/// The word at an address.
///
/// # Safety
/// A readable, aligned word is there.
unsafe fn word(at: usize) -> usize {
    // SAFETY: as the caller promises.
    unsafe { std::ptr::with_exposed_provenance::<usize>(at).read() }
}

/// The frame of this thread that runs, or 0.
///
/// # Safety
/// `layout` is that of this interpreter.
unsafe fn innermost(layout: &Layout) -> usize {
    // SAFETY: may be called without the lock; null for a thread that Python does not know.
    let thread = unsafe { pyo3::ffi::PyGILState_GetThisThreadState() }.expose_provenance();
    if thread == 0 {
        return 0;
    }
    let (at, inner) = layout.frame;
    // SAFETY: by the layout, a pointer is there in the state of this very thread, to a frame or to what has a pointer to one.
    unsafe {
        let frame = word(thread + at as usize);
        match inner {
            Some(inner) if frame != 0 => word(frame + inner as usize),
            _ => frame,
        }
    }
}

/// Goes from `frame` to the first that is a function's: its spot, and the frame that called it.
///
/// # Safety
/// `layout` is that of this interpreter, and `frame` 0 or a frame of this thread.
unsafe fn look(layout: &Layout, mut frame: usize) -> Option<(Spot, usize)> {
    while frame != 0 {
        // SAFETY: by the layout, these are parts of a frame, which lives as long as the thread is in it.
        let (owner, code, instruction, previous) = unsafe {
            let owner = std::ptr::with_exposed_provenance::<u8>(frame + layout.owner).read();
            let parts = [layout.code, layout.instruction, layout.previous];
            let [code, instruction, previous] = parts.map(|part| word(frame + part));
            (owner, code, instruction, previous)
        };
        if owner < ENTRIES {
            // The lowest bits of a reference are no part of the address.
            return Some(([code & !7, instruction], previous));
        }
        frame = previous;
    }
    None
}

/// Gives the library the functions below, if this interpreter can be read.
pub(super) fn install(py: Python<'_>, set: unsafe extern "C" fn(*const c_void, *const c_void) -> c_int) {
    let Some(found) = known(py) else { return };
    let _ = LAYOUT.set(found);
    // SAFETY: both are functions of the expected types that live as long as the process.
    let _ = unsafe { set(next as *const c_void, name as *const c_void) };
}

/// The layout of this interpreter, if reading by it gives what Python says.
fn known(py: Python<'_>) -> Option<Layout> {
    let symbol = |name: &std::ffi::CStr| {
        // SAFETY: looks for a symbol in what is loaded; null is none.
        let found = unsafe { libc::dlsym(libc::RTLD_DEFAULT, name.as_ptr()) };
        (!found.is_null()).then_some(found)
    };
    // SAFETY: where the symbol exists it is a number of this type.
    let version = unsafe { symbol(c"Py_Version")?.cast::<std::ffi::c_ulong>().read() };
    let table = || {
        let runtime = symbol(c"_PyRuntime").ok_or(())?.cast::<u64>();
        // SAFETY: the state begins with a table of at least so many words in the versions for which this is asked.
        Ok::<_, ()>((0..WORDS).map(|at| unsafe { runtime.add(at).read() }).collect())
    };
    // A copy of the instructions ends with its thread, and another one may have its place.
    let layout = layout(version, table).ok()?.filter(|layout| !layout.copies)?;
    // SAFETY: the lock is held; the frame is borrowed, and null where no Python code runs.
    let frame = unsafe { Bound::from_borrowed_ptr_or_opt(py, pyo3::ffi::PyEval_GetFrame().cast()) }?;
    let (code, line) = (frame.getattr("f_code").ok()?, frame.getattr("f_lineno").ok()?.extract::<u32>().ok()?);
    // SAFETY: the layout of this version.
    let (spot, _) = unsafe { look(&layout, innermost(&layout)) }?;
    (spot[0] == code.as_ptr().expose_provenance() && line_of(&code, offset(&layout, spot)) == Some(line))
        .then_some(layout)
}

/// How far a spot is in the instructions of its code.
fn offset(layout: &Layout, [code, instruction]: Spot) -> usize {
    instruction.wrapping_sub(code).wrapping_sub(layout.instructions as usize)
}

/// The line of an instruction.
fn line_of(code: &Bound<'_, PyAny>, offset: usize) -> Option<u32> {
    for range in code.call_method0("co_lines").ok()?.try_iter().ok()? {
        let (from, to, line) = range.ok()?.extract::<(usize, usize, Option<u32>)>().ok()?;
        if (from..to).contains(&offset) {
            return line;
        }
    }
    None
}

/// The next spot of this thread; see `PHALANX_Set_spot_hooks`.
extern "C" fn next(cursor: *mut usize, spot: *mut Spot) -> c_int {
    // A frame has an even address; 1 is the end.
    const END: usize = 1;
    let Some(layout) = LAYOUT.get() else { return 0 };
    // SAFETY: the library gives both places. The cursor is 0 at first, and then what was left here in the same call.
    let found = unsafe {
        match *cursor {
            END => None,
            0 => look(layout, innermost(layout)),
            frame => look(layout, frame),
        }
    };
    let Some((here, previous)) = found else { return 0 };
    // SAFETY: as above.
    unsafe {
        *spot = here;
        *cursor = if previous == 0 { END } else { previous };
    }
    1
}

/// The name of a spot of this thread; see `PHALANX_Set_spot_hooks`.
extern "C" fn name(spot: *const Spot, text: *mut u8, room: c_int) -> c_int {
    // SAFETY: asks for a flag only; valid at any time.
    if unsafe { pyo3::ffi::Py_IsInitialized() } == 0 {
        return 0;
    }
    // SAFETY: the library gives the place.
    let spot = unsafe { *spot };
    let named = Python::attach(|py| {
        // SAFETY: the code object of a frame that this thread is in.
        let code = unsafe { Bound::from_borrowed_ptr(py, std::ptr::with_exposed_provenance_mut(spot[0])) };
        let file = code.getattr(intern!(py, "co_filename")).ok()?;
        let file = file.cast::<PyString>().ok()?.to_cow().ok()?.into_owned();
        // It stays: no other code gets its address, and is taken for it.
        std::mem::forget(code.clone());
        let package = package(py);
        if !package.is_empty() && file.starts_with(package) {
            return None;
        }
        let first = || code.getattr(intern!(py, "co_firstlineno")).ok()?.extract::<u32>().ok();
        let line = line_of(&code, offset(LAYOUT.get()?, spot)).or_else(first).unwrap_or(0);
        let function = code.getattr(intern!(py, "co_name")).ok()?.extract::<String>().ok()?;
        Some(row(&file, line, &function))
    });
    let named = named.filter(|named| named.len() <= room.unsigned_abs() as usize).unwrap_or_default();
    // SAFETY: the library has room for so many bytes there.
    unsafe { std::ptr::copy_nonoverlapping(named.as_ptr(), text, named.len()) };
    named.len() as c_int
}
