//! What the embedded engine offers beyond the standard: `PHALANX_*` symbols, looked up when the module is imported and
//! absent in other libraries. Always an optimisation or a comfort, never a need.

mod spots;

use std::ffi::CStr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::PyString;

use crate::error;
use crate::ffi::*;
use crate::gil::{attached, blocking, brief};
use crate::patience;

/// Calls the function with the address: a wait of the library, run inside a function of ours.
type Around = extern "C" fn(unsafe extern "C" fn(*mut c_void), *mut c_void);
type RecvOrMprobe = unsafe extern "C" fn(
    *mut c_void,
    MPI_Count,
    c_int,
    c_int,
    MPI_Comm,
    *mut MPI_Message,
    *mut MPI_Count,
    *mut MPI_Status,
) -> c_int;
type Isend = unsafe extern "C" fn(*const c_void, MPI_Count, c_int, c_int, MPI_Comm, *mut MPI_Request) -> c_int;
type SendNow = unsafe extern "C" fn(*const c_void, MPI_Count, c_int, c_int, MPI_Comm, *mut c_int) -> c_int;
/// Gives memory of so many bytes, or null.
pub(crate) type Grow = unsafe extern "C" fn(*mut c_void, MPI_Count) -> *mut c_void;
/// Starts a receive into room of so many bytes, or what the function gives for more.
pub(crate) type Irecv = unsafe extern "C" fn(
    *mut c_void,
    MPI_Count,
    c_int,
    c_int,
    MPI_Comm,
    Grow,
    *const c_void,
    *mut MPI_Request,
) -> c_int;
type SetInterruptHook = unsafe extern "C" fn(Option<extern "C" fn() -> c_int>) -> c_int;
type SetWaitHook = unsafe extern "C" fn(Option<Around>) -> c_int;
type Abort = unsafe extern "C" fn(c_int) -> c_int;
type SetPlaceHook = unsafe extern "C" fn(Option<extern "C" fn(*mut u8, c_int) -> c_int>) -> c_int;
type SetSpotHooks = unsafe extern "C" fn(*const c_void, *const c_void) -> c_int;
type ErrorText = unsafe extern "C" fn(c_int, *mut c_char, c_int, *mut c_int) -> c_int;
type Serves = unsafe extern "C" fn(MPI_Comm, MPI_Comm) -> c_int;
type LostHandle = unsafe extern "C" fn(*mut c_void) -> c_int;
type TestLost = unsafe extern "C" fn(*mut MPI_Request, *mut c_int, *mut MPI_Status) -> c_int;
type IsAborting = unsafe extern "C" fn() -> c_int;
type IsInterrupted = unsafe extern "C" fn(c_int) -> c_int;
/// Fault tolerance: all of it, or nothing.
pub(crate) struct Fault {
    pub(crate) revoke: unsafe extern "C" fn(MPI_Comm) -> c_int,
    pub(crate) is_revoked: unsafe extern "C" fn(MPI_Comm, *mut c_int) -> c_int,
    pub(crate) get_failed: unsafe extern "C" fn(MPI_Comm, *mut MPI_Group) -> c_int,
    pub(crate) ack_failed: unsafe extern "C" fn(MPI_Comm, c_int, *mut c_int) -> c_int,
    pub(crate) agree: unsafe extern "C" fn(MPI_Comm, *mut c_int) -> c_int,
    pub(crate) iagree: unsafe extern "C" fn(MPI_Comm, *mut c_int, *mut MPI_Request) -> c_int,
    pub(crate) shrink: unsafe extern "C" fn(MPI_Comm, *mut MPI_Comm) -> c_int,
    pub(crate) ishrink: unsafe extern "C" fn(MPI_Comm, *mut MPI_Comm, *mut MPI_Request) -> c_int,
}

/// Finds the functions of [`Fault`].
///
/// # Safety
/// What `symbol` finds under these names has the types there.
unsafe fn fault(symbol: impl Fn(&CStr) -> Option<*mut c_void>) -> Option<Fault> {
    // SAFETY: as the caller promises.
    unsafe {
        Some(Fault {
            revoke: std::mem::transmute::<*mut c_void, unsafe extern "C" fn(MPI_Comm) -> c_int>(symbol(
                c"PHALANX_Comm_revoke",
            )?),
            is_revoked: std::mem::transmute::<*mut c_void, unsafe extern "C" fn(MPI_Comm, *mut c_int) -> c_int>(
                symbol(c"PHALANX_Comm_is_revoked")?,
            ),
            get_failed: std::mem::transmute::<*mut c_void, unsafe extern "C" fn(MPI_Comm, *mut MPI_Group) -> c_int>(
                symbol(c"PHALANX_Comm_get_failed")?,
            ),
            ack_failed: std::mem::transmute::<*mut c_void, unsafe extern "C" fn(MPI_Comm, c_int, *mut c_int) -> c_int>(
                symbol(c"PHALANX_Comm_ack_failed")?,
            ),
            agree: std::mem::transmute::<*mut c_void, unsafe extern "C" fn(MPI_Comm, *mut c_int) -> c_int>(symbol(
                c"PHALANX_Comm_agree",
            )?),
            iagree: std::mem::transmute::<
                *mut c_void,
                unsafe extern "C" fn(MPI_Comm, *mut c_int, *mut MPI_Request) -> c_int,
            >(symbol(c"PHALANX_Comm_iagree")?),
            shrink: std::mem::transmute::<*mut c_void, unsafe extern "C" fn(MPI_Comm, *mut MPI_Comm) -> c_int>(symbol(
                c"PHALANX_Comm_shrink",
            )?),
            ishrink: std::mem::transmute::<
                *mut c_void,
                unsafe extern "C" fn(MPI_Comm, *mut MPI_Comm, *mut MPI_Request) -> c_int,
            >(symbol(c"PHALANX_Comm_ishrink")?),
        })
    }
}

/// The numbers of the error classes that the standard ABI does not have: of a revoked communicator, and of a receive from any
/// rank that goes on.
pub(crate) const ERR_REVOKED: c_int = 16_001;
pub(crate) const ERR_PROC_FAILED_PENDING: c_int = 16_002;

type ConversionBytes = unsafe extern "C" fn(*mut i64) -> c_int;
type UsesErrorFunction = unsafe extern "C" fn(*mut c_void) -> c_int;

/// The optional functions; `None` where the library lacks one.
pub(crate) struct Extras {
    /// Receives a message of any size that is small, takes another one out of the queue.
    recv_or_mprobe: Option<RecvOrMprobe>,
    /// Sends what needs no waiting, and tells whether it did.
    send_now: Option<SendNow>,
    /// Starts a send that is complete at once, or none.
    isend: Option<Isend>,
    /// Starts a receive whose memory is made when its message is known.
    pub(crate) irecv: Option<Irecv>,
    set_interrupt_hook: Option<SetInterruptHook>,
    set_place_hook: Option<SetPlaceHook>,
    set_spot_hooks: Option<SetSpotHooks>,
    set_wait_hook: Option<SetWaitHook>,
    abort: Option<Abort>,
    /// The text of an error code, however long it is.
    pub(crate) error_text: Option<ErrorText>,
    serves: Option<Serves>,
    lost_handle: Option<LostHandle>,
    test_lost: Option<TestLost>,
    is_aborting: Option<IsAborting>,
    is_interrupted: Option<IsInterrupted>,
    uses_error_function: Option<UsesErrorFunction>,
    conversion_bytes: Option<ConversionBytes>,
    pub(crate) fault: Option<Fault>,
}

/// Whether the library has been given [`waits`].
static TELLS_WAITS: AtomicBool = AtomicBool::new(false);

static EXTRAS: OnceLock<Extras> = OnceLock::new();

/// The optional functions of the library that is loaded.
pub(crate) fn get() -> &'static Extras {
    EXTRAS.get_or_init(|| {
        // SAFETY: the symbols carry these signatures wherever they exist: the prefix is ours.
        unsafe {
            Extras {
                recv_or_mprobe: symbol(c"PHALANX_Recv_or_mprobe")
                    .map(|p| std::mem::transmute::<*mut c_void, RecvOrMprobe>(p)),
                send_now: symbol(c"PHALANX_Send_now").map(|p| std::mem::transmute::<*mut c_void, SendNow>(p)),
                isend: symbol(c"PHALANX_Isend").map(|p| std::mem::transmute::<*mut c_void, Isend>(p)),
                irecv: symbol(c"PHALANX_Irecv").map(|p| std::mem::transmute::<*mut c_void, Irecv>(p)),
                set_interrupt_hook: symbol(c"PHALANX_Set_interrupt_hook")
                    .map(|p| std::mem::transmute::<*mut c_void, SetInterruptHook>(p)),
                set_place_hook: symbol(c"PHALANX_Set_place_hook")
                    .map(|p| std::mem::transmute::<*mut c_void, SetPlaceHook>(p)),
                set_wait_hook: symbol(c"PHALANX_Set_wait_hook")
                    .map(|p| std::mem::transmute::<*mut c_void, SetWaitHook>(p)),
                set_spot_hooks: symbol(c"PHALANX_Set_spot_hooks")
                    .map(|p| std::mem::transmute::<*mut c_void, SetSpotHooks>(p)),
                abort: symbol(c"PHALANX_Abort").map(|p| std::mem::transmute::<*mut c_void, Abort>(p)),
                error_text: symbol(c"PHALANX_Error_text").map(|p| std::mem::transmute::<*mut c_void, ErrorText>(p)),
                serves: symbol(c"PHALANX_Comm_serves").map(|p| std::mem::transmute::<*mut c_void, Serves>(p)),
                lost_handle: symbol(c"PHALANX_Lost_handle").map(|p| std::mem::transmute::<*mut c_void, LostHandle>(p)),
                test_lost: symbol(c"PHALANX_Test_lost").map(|p| std::mem::transmute::<*mut c_void, TestLost>(p)),
                is_aborting: symbol(c"PHALANX_Is_aborting").map(|p| std::mem::transmute::<*mut c_void, IsAborting>(p)),
                is_interrupted: symbol(c"PHALANX_Is_interrupted")
                    .map(|p| std::mem::transmute::<*mut c_void, IsInterrupted>(p)),
                uses_error_function: symbol(c"PHALANX_Uses_error_function")
                    .map(|p| std::mem::transmute::<*mut c_void, UsesErrorFunction>(p)),
                conversion_bytes: symbol(c"PHALANX_Conversion_bytes")
                    .map(|p| std::mem::transmute::<*mut c_void, ConversionBytes>(p)),
                fault: fault(symbol),
            }
        }
    })
}

/// Ends the job; without a word where the library can and `quietly` asks for it.
///
/// # Safety
/// MPI is active.
pub(crate) unsafe fn abort(status: c_int, quietly: bool) {
    // SAFETY: as the caller promises.
    unsafe {
        match get().abort.filter(|_| quietly) {
            Some(abort) => abort(status),
            None => MPI_Abort(MPI_COMM_WORLD, status),
        };
    }
}

/// Bytes of the buffer of the file's side in the conversion function that this thread runs; where the library does not tell, any
/// number that a buffer can have.
pub(crate) fn conversion_bytes() -> isize {
    let mut bytes = 0;
    // SAFETY: the place is valid for the write.
    match get().conversion_bytes.map(|ask| unsafe { ask(&mut bytes) }) {
        Some(MPI_SUCCESS) => isize::try_from(bytes).unwrap_or(0),
        Some(_) => 0,
        None => isize::MAX,
    }
}

/// A function of the MPI library that this extension is bound to.
pub(crate) fn symbol(name: &CStr) -> Option<*mut c_void> {
    /// What `dlopen` gave: a number for the loader, and 0 is none.
    static LIBRARY: OnceLock<usize> = OnceLock::new();
    let library = LIBRARY.get_or_init(|| {
        // SAFETY: the library is loaded; `dlopen` with RTLD_NOLOAD only finds it again, and the reference it takes is kept for
        // the life of the process.
        let open =
            |name: *const c_char| unsafe { libc::dlopen(name, libc::RTLD_NOLOAD | libc::RTLD_NOW | libc::RTLD_LOCAL) };
        library_name().map_or(0, |name| open(name).expose_provenance())
    });
    if *library == 0 {
        return None;
    }
    // SAFETY: the library is loaded for the life of the process; null is none.
    let found = unsafe { libc::dlsym(std::ptr::with_exposed_provenance_mut(*library), name.as_ptr()) };
    (!found.is_null()).then_some(found)
}

/// The name of the file of the library that answers `MPI_Initialized`; the system's loader keeps it.
fn library_name() -> Option<*const c_char> {
    let mut place: libc::Dl_info = libc::Dl_info {
        dli_fname: std::ptr::null(),
        dli_fbase: std::ptr::null_mut(),
        dli_sname: std::ptr::null(),
        dli_saddr: std::ptr::null_mut(),
    };
    // SAFETY: the place is valid for the write.
    let found = unsafe { libc::dladdr(MPI_Initialized as *const c_void, &mut place) } != 0;
    (found && !place.dli_fname.is_null()).then_some(place.dli_fname)
}

/// The same for people.
pub(crate) fn library_file() -> Option<String> {
    // SAFETY: the loader's string, which stays as long as the library.
    library_name().map(|name| unsafe { CStr::from_ptr(name) }.to_string_lossy().into_owned())
}

/// Where a message goes to or comes from.
#[derive(Clone, Copy)]
pub(crate) struct Route {
    /// The communicator.
    pub(crate) comm: MPI_Comm,
    /// The other side's rank, or a wildcard.
    pub(crate) peer: c_int,
    /// The tag, or a wildcard.
    pub(crate) tag: c_int,
}

/// Sends in standard mode. Where the library tells when it has to wait, the interpreter lock is given up only then: a small
/// message costs less than giving it up and taking it back would.
///
/// # Safety
/// `count` readable entries of `datatype` at `address`, until it returns.
///
/// # Errors
/// `MPI.Exception`.
#[inline]
pub(crate) unsafe fn send(
    py: Python<'_>,
    (address, count, datatype): (*const c_void, MPI_Count, MPI_Datatype),
    to: Route,
) -> PyResult<()> {
    // SAFETY: as the caller promises.
    brief(py, || unsafe { MPI_Send_c(address, count, datatype, to.peer, to.tag, to.comm) })
}

/// Receives, as [`send`] sends: the interpreter lock is given up when nothing comes within a microsecond or two.
///
/// # Safety
/// `count` writable entries of `datatype` at `address`, until it returns; `status` is valid or null.
///
/// # Errors
/// `MPI.Exception`.
#[inline]
pub(crate) unsafe fn receive(
    py: Python<'_>,
    (address, count, datatype): (*mut c_void, MPI_Count, MPI_Datatype),
    from: Route,
    status: *mut MPI_Status,
) -> PyResult<()> {
    let Route { comm, peer, tag } = from;
    // SAFETY: as the caller promises.
    brief(py, || unsafe { patience::recv((address, count, datatype), peer, tag, comm, status) })
}

/// Sends a message if that is possible at once. `false`, and nothing has happened, where the library cannot tell or the
/// message has to wait.
///
/// # Errors
/// `MPI.Exception`.
pub(crate) fn send_now(message: &[u8], to: Route) -> PyResult<bool> {
    let Some(send) = get().send_now else { return Ok(false) };
    let mut sent = 0;
    // SAFETY: the message is there for the call, after which it is not read; the place of the flag is valid.
    let code =
        unsafe { send(message.as_ptr().cast(), message.len() as MPI_Count, to.peer, to.tag, to.comm, &mut sent) };
    error::check(code)?;
    Ok(sent != 0)
}

/// Starts a send that is over at once: its request, which is complete. `None`, and nothing has happened, where the library
/// cannot tell or the message has to wait.
///
/// # Errors
/// `MPI.Exception`.
#[inline]
pub(crate) fn send_at_once(message: &[u8], to: Route) -> PyResult<Option<MPI_Request>> {
    let Some(isend) = get().isend else { return Ok(None) };
    let mut request = MPI_REQUEST_NULL;
    // SAFETY: the message is there for the call, after which it is not read; the place of the handle is valid.
    let code =
        unsafe { isend(message.as_ptr().cast(), message.len() as MPI_Count, to.peer, to.tag, to.comm, &mut request) };
    error::check(code)?;
    Ok((request != MPI_REQUEST_NULL).then_some(request))
}

/// A message of unknown size: received if it fits, else taken out of the matching order.
pub(crate) struct Found {
    /// Null when the message has been received.
    pub(crate) message: MPI_Message,
    /// The bytes of the message.
    pub(crate) length: usize,
}

/// Waits for a message, and receives it if it has no more bytes than `room`; the interpreter lock is given up when nothing
/// comes within a microsecond or two. On other libraries no message fits.
///
/// # Safety
/// `room` writable bytes at `address`, until it returns.
///
/// # Errors
/// `MPI.Exception`.
#[inline]
pub(crate) unsafe fn receive_or_match(
    py: Python<'_>,
    (address, room): (*mut c_void, usize),
    from: Route,
    status: &mut MPI_Status,
) -> PyResult<Found> {
    let Route { comm, peer, tag } = from;
    let (mut message, mut length) = (MPI_MESSAGE_NULL, 0);
    let (message_at, length_at, status_at) = (&raw mut message, &raw mut length, &raw mut *status);
    let room = room as MPI_Count;
    match get().recv_or_mprobe {
        Some(recv) => {
            // SAFETY: as the caller promises; the other places are valid for the call.
            brief(py, || unsafe { recv(address, room, peer, tag, comm, message_at, length_at, status_at) })?;
        }
        None => {
            // SAFETY: both places are valid for the call.
            blocking(py, || unsafe { patience::mprobe(peer, tag, comm, message_at, status_at) })?;
            // SAFETY: as above.
            error::check(unsafe { MPI_Get_count_c(status_at, MPI_BYTE, length_at) })?;
        }
    }
    Ok(Found { message, length: usize::try_from(length).unwrap_or(0) })
}

/// Whether the library is the embedded engine.
#[inline]
pub(crate) fn is_embedded() -> bool {
    get().set_interrupt_hook.is_some()
}

/// Whether the library runs what lasts in [`waits`].
#[inline]
pub(crate) fn tells_waits() -> bool {
    TELLS_WAITS.load(Ordering::Relaxed)
}

/// As `MPI_Test`, for a request of which the program knows nothing any more.
///
/// # Safety
/// As that of `MPI_Test`.
pub(crate) unsafe fn test_lost(request: *mut MPI_Request, flag: *mut c_int, status: *mut MPI_Status) -> c_int {
    // SAFETY: as the caller promises.
    unsafe {
        match get().test_lost {
            Some(test) => test(request, flag, status),
            None => MPI_Test(request, flag, status),
        }
    }
}

/// Whether the library is ending the job, and the process runs its exit functions: no, where the library does not tell.
pub(crate) fn is_aborting() -> bool {
    // SAFETY: takes no arguments.
    get().is_aborting.is_some_and(|ask| unsafe { ask() } != 0)
}

/// Whether `code` says that [`hook`] made a call give up.
pub(crate) fn is_interrupted(code: c_int) -> bool {
    // SAFETY: passes a plain number.
    get().is_interrupted.is_some_and(|ask| unsafe { ask(code) } != 0)
}

/// Tells the library that a communicator carries the messages of another one's collective operations.
pub(crate) fn serves(private: MPI_Comm, comm: MPI_Comm) {
    if let Some(tell) = get().serves {
        // SAFETY: passes handles, which the library checks.
        let _ = unsafe { tell(private, comm) };
    }
}

/// Tells the library that no object has a handle any more that was not freed.
#[cold]
pub(crate) fn lost_handle(bits: usize) {
    if let Some(tell) = get().lost_handle {
        // SAFETY: passes a number that is only compared.
        let _ = unsafe { tell(std::ptr::without_provenance_mut(bits)) };
    }
}

/// Whether some error handler may still call this function: yes, where the library does not tell.
pub(crate) fn uses_error_function(function: *mut c_void) -> bool {
    // SAFETY: passes an address that is only compared.
    get().uses_error_function.is_none_or(|ask| unsafe { ask(function) } != 0)
}

/// Set by the launcher for ranks that are traced.
const TRACED: &str = "PHALANX_TRACE_FD";

/// Lets Python's signal handlers run while a call waits inside the library, so that Ctrl-C works there.
pub(crate) fn install_interrupt_hook(py: Python<'_>) {
    if let Some(set) = get().set_interrupt_hook {
        // SAFETY: `hook` is a function of the expected type that lives as long as the process.
        let _ = unsafe { set(Some(hook)) };
    }
    if let Some(set) = get().set_wait_hook {
        // SAFETY: as above.
        let code = unsafe { set(Some(waits)) };
        TELLS_WAITS.store(code == MPI_SUCCESS, Ordering::Relaxed);
    }
    if let Some(set) = get().set_place_hook {
        // SAFETY: as above.
        let _ = unsafe { set(Some(place)) };
    }
    if let Some(set) = get().set_spot_hooks.filter(|_| std::env::var_os(TRACED).is_some()) {
        spots::install(py, set);
    }
}

/// Called by the library in a thread that comes to something that lasts, which may hold the interpreter lock.
extern "C" fn waits(wait: unsafe extern "C" fn(*mut c_void), data: *mut c_void) {
    // SAFETY: the library demands just this call; it touches no Python object.
    phalanx_object::lasting(|| unsafe { wait(data) });
}

/// Called by the library, without its lock, in a thread that has waited for long: writes where its program is.
extern "C" fn place(text: *mut u8, room: c_int) -> c_int {
    // SAFETY: asks for a flag only; valid at any time.
    if unsafe { pyo3::ffi::Py_IsInitialized() } == 0 {
        return 0;
    }
    let (room, only_first) = (room.unsigned_abs() as usize, room < 0);
    let frames = attached(|py| frames(py, room, only_first).unwrap_or_default());
    // SAFETY: the library has room for so many bytes there, and `frames` gives no more.
    unsafe { std::ptr::copy_nonoverlapping(frames.as_ptr(), text, frames.len()) };
    frames.len() as c_int
}

/// The directory of this package.
fn package(py: Python<'_>) -> &'static str {
    static PACKAGE: OnceLock<String> = OnceLock::new();
    PACKAGE.get_or_init(|| {
        let file = py.import("phalanx").and_then(|package| package.getattr("__file__")?.extract::<String>());
        file.ok().and_then(|file| Some(file.rsplit_once('/')?.0.to_owned())).unwrap_or_default()
    })
}

/// The frames of this thread's program, innermost first: "file TAB line TAB function" in a line each, as many as there is room
/// for. Those of this package are left out: a program waits where it calls it.
fn frames(py: Python<'_>, room: usize, only_first: bool) -> PyResult<String> {
    let mut text = String::new();
    let package = package(py);
    // SAFETY: the interpreter lock is held; the frame is borrowed, and null where no Python code runs.
    let innermost = unsafe { Bound::from_borrowed_ptr_or_opt(py, pyo3::ffi::PyEval_GetFrame().cast()) };
    let Some(mut frame) = innermost else { return Ok(text) };
    while !frame.is_none() {
        let code = frame.getattr(intern!(py, "f_code"))?;
        let file = code.getattr(intern!(py, "co_filename"))?;
        let file = file.cast::<PyString>()?.to_cow()?;
        if package.is_empty() || !file.starts_with(package) {
            let line = frame.getattr(intern!(py, "f_lineno"))?.extract::<Option<u32>>()?.unwrap_or(0);
            let function = code.getattr(intern!(py, "co_name"))?.extract::<String>()?;
            let row = row(&file, line, &function);
            if text.len() + row.len() > room {
                break;
            }
            text.push_str(&row);
            if only_first {
                break;
            }
        }
        frame = frame.getattr(intern!(py, "f_back"))?;
    }
    Ok(text)
}

/// A frame's line.
fn row(file: &str, line: u32, function: &str) -> String {
    let is_whole = file.starts_with(['/', '<']);
    let here = if is_whole { None } else { std::env::current_dir().ok() };
    let file = match here {
        Some(here) => here.join(file).to_string_lossy().into_owned(),
        None => file.to_owned(),
    };
    format!("{}\t{line}\t{}\n", tame(&file), tame(function))
}

/// A name without what separates names.
fn tame(name: &str) -> String {
    name.replace(['\t', '\n'], " ")
}

/// Called by the library, without its lock, while a call waits; nonzero means give up.
pub(crate) extern "C" fn hook() -> c_int {
    // SAFETY: asks for a flag only; valid at any time.
    if unsafe { pyo3::ffi::Py_IsInitialized() } == 0 {
        return 0;
    }
    attached(|py| match py.check_signals() {
        Ok(()) => 0,
        Err(error) => {
            error::set_interrupt(error);
            1
        }
    })
}
