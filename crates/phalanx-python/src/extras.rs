//! What the embedded engine offers beyond the standard: `PHALANX_*` symbols, looked up when the module is imported and
//! absent in other libraries. Always an optimisation or a comfort, never a need.

use std::ffi::CStr;
use std::sync::OnceLock;

use pyo3::prelude::*;

use crate::error;
use crate::ffi::*;

type TrySend =
    unsafe extern "C" fn(*const c_void, MPI_Count, MPI_Datatype, c_int, c_int, MPI_Comm, *mut c_int) -> c_int;
type TryRecv = unsafe extern "C" fn(
    *mut c_void,
    MPI_Count,
    MPI_Datatype,
    c_int,
    c_int,
    MPI_Comm,
    *mut MPI_Status,
    *mut c_int,
) -> c_int;
type SetInterruptHook = unsafe extern "C" fn(Option<extern "C" fn() -> c_int>) -> c_int;
type IsInterrupted = unsafe extern "C" fn(c_int) -> c_int;

/// The optional functions; `None` where the library lacks one.
pub(crate) struct Extras {
    /// Sends at once or not at all.
    pub(crate) try_send: Option<TrySend>,
    /// Receives at once, after spinning a microsecond at most, or not at all.
    pub(crate) try_recv: Option<TryRecv>,
    set_interrupt_hook: Option<SetInterruptHook>,
    is_interrupted: Option<IsInterrupted>,
}

static EXTRAS: OnceLock<Extras> = OnceLock::new();

/// The optional functions of the library that is loaded.
pub(crate) fn get() -> &'static Extras {
    EXTRAS.get_or_init(|| {
        // SAFETY: the symbols carry these signatures wherever they exist: the prefix is ours.
        unsafe {
            Extras {
                try_send: symbol(c"PHALANX_Try_send").map(|p| std::mem::transmute::<*mut c_void, TrySend>(p)),
                try_recv: symbol(c"PHALANX_Try_recv").map(|p| std::mem::transmute::<*mut c_void, TryRecv>(p)),
                set_interrupt_hook: symbol(c"PHALANX_Set_interrupt_hook")
                    .map(|p| std::mem::transmute::<*mut c_void, SetInterruptHook>(p)),
                is_interrupted: symbol(c"PHALANX_Is_interrupted")
                    .map(|p| std::mem::transmute::<*mut c_void, IsInterrupted>(p)),
            }
        }
    })
}

/// The address of `name` in the MPI library this extension is bound to.
fn symbol(name: &CStr) -> Option<*mut c_void> {
    let mut place: libc::Dl_info = libc::Dl_info {
        dli_fname: std::ptr::null(),
        dli_fbase: std::ptr::null_mut(),
        dli_sname: std::ptr::null(),
        dli_saddr: std::ptr::null_mut(),
    };
    // SAFETY: the library that answers `MPI_Initialized` is loaded; `dlopen` with RTLD_NOLOAD only finds it again, and
    // the reference it takes is kept for the life of the process.
    let found = unsafe {
        if libc::dladdr(MPI_Initialized as *const c_void, &mut place) == 0 {
            return None;
        }
        let library = libc::dlopen(place.dli_fname, libc::RTLD_NOLOAD | libc::RTLD_NOW | libc::RTLD_LOCAL);
        if library.is_null() {
            return None;
        }
        libc::dlsym(library, name.as_ptr())
    };
    (!found.is_null()).then_some(found)
}

/// Whether the library is the embedded engine.
#[inline]
pub(crate) fn is_embedded() -> bool {
    get().set_interrupt_hook.is_some()
}

/// Whether `code` says that [`hook`] made a call give up.
pub(crate) fn is_interrupted(code: c_int) -> bool {
    // SAFETY: passes a plain number.
    get().is_interrupted.is_some_and(|ask| unsafe { ask(code) } != 0)
}

/// Lets Python's signal handlers run while a call waits inside the library, so that Ctrl-C works there.
pub(crate) fn install_interrupt_hook() {
    if let Some(set) = get().set_interrupt_hook {
        // SAFETY: `hook` is a function of the expected type that lives as long as the process.
        let _ = unsafe { set(Some(hook)) };
    }
}

/// Called by the library, without its lock, while a call waits; nonzero means give up.
extern "C" fn hook() -> c_int {
    // SAFETY: asks for a flag only; valid at any time.
    if unsafe { pyo3::ffi::Py_IsInitialized() } == 0 {
        return 0;
    }
    Python::attach(|py| match py.check_signals() {
        Ok(()) => 0,
        Err(error) => {
            error::set_interrupt(error);
            1
        }
    })
}
