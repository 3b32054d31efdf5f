//! What Phalanx offers beyond the standard: messages of unknown size, waits inside a function of the program's, and waits that can
//! be given up.
//!
//! The binding looks these up at run time and does without them on other libraries.

use std::any::Any;
use std::ffi::{c_int, c_void};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};

use phalanx_engine::datatype::{Basic, Datatype};
use phalanx_engine::engine::Frame;
use phalanx_engine::pt2pt::Received;
use phalanx_engine::{Engine, Grow, RecvBuf, Request, SendBuf, Status};
use phalanx_mpi_macros::mpi_entry;
use phalanx_shm::mem::MutMem;

use crate::buffer::{RecvPtr, SendPtr};
use crate::comm::CommRef;
use crate::entry::{Done, Failure};
use crate::env::library_version;
use crate::handle::{RawMessage, RawRequest};
use crate::message;
use crate::param::{Address, Out, TextOut, count};
use crate::request;
use crate::state;
use crate::status::StatusOut;

/// Receives a message of any size: one of at most `room` bytes into `buf`, and `message` becomes null; a larger one is taken
/// out of the queue, as by `MPI_Mprobe`, and is still to be received. `bytes` is how long it is.
#[mpi_entry(PHALANX_Recv_or_mprobe)]
fn recv_or_mprobe(
    buf: RecvPtr,
    room: i64,
    source: c_int,
    tag: c_int,
    comm: CommRef,
    message: Out<RawMessage>,
    bytes: Out<i64>,
    status: StatusOut,
) -> Done {
    let room = count(room)?.0;
    let room = RecvBuf::raw(buf.memory(room)?, room, Datatype::predefined(Basic::Byte));
    let found = comm.comm.recv_or_match(room, source, tag)?;
    let (taken, outcome) = match found {
        Received::Whole(outcome) => (RawMessage::NULL, outcome),
        Received::Matched(taken, outcome) => (message::adopt(Some(taken), comm.raw())?, outcome),
    };
    message.set(taken);
    bytes.set(outcome.bytes as i64);
    status.set(&outcome);
    Ok(())
}

/// Sends bytes if they are on their way at once; else nothing happens.
fn send_if_ready(buf: &SendPtr, bytes: i64, dest: c_int, tag: c_int, comm: &CommRef) -> Result<bool, Failure> {
    let bytes = count(bytes)?.0;
    let message = SendBuf::raw(buf.memory(bytes)?, bytes, Datatype::predefined(Basic::Byte));
    Ok(comm.comm.send_if_ready(message, dest, tag)?)
}

/// Sends bytes as `MPI_Send_c`, if they are on their way at once; else nothing happens, and `sent` is 0.
#[mpi_entry(PHALANX_Send_now)]
fn send_now(buf: SendPtr, bytes: i64, dest: c_int, tag: c_int, comm: CommRef, sent: Out<c_int>) -> Done {
    sent.set(send_if_ready(&buf, bytes, dest, tag, &comm)?.into());
    Ok(())
}

/// Starts to send bytes as `MPI_Isend_c`, if they are on their way at once: the request is complete then, and `buf` may go
/// away. Else nothing happens, and the request is null.
#[mpi_entry(PHALANX_Isend)]
fn isend(buf: SendPtr, bytes: i64, dest: c_int, tag: c_int, comm: CommRef, request: Out<RawRequest>) -> Done {
    request.set(if send_if_ready(&buf, bytes, dest, tag, &comm)? {
        request::adopt(Request::complete(comm.comm.engine(), Status::EMPTY), comm.error_object())?
    } else {
        RawRequest::NULL
    });
    Ok(())
}

/// Asks the program for memory: of how many bytes is the second word.
fn grow([function, data]: [usize; 2], bytes: usize) -> Option<MutMem> {
    type Make = extern "C" fn(usize, i64) -> *mut u8;
    // SAFETY: the program gave this address as a function of this type.
    let make = unsafe { std::mem::transmute::<usize, Make>(function) };
    let start = make(data, i64::try_from(bytes).ok()?);
    // SAFETY: the program's function gives memory of so many bytes, which stays until the request is complete, or null.
    (!start.is_null()).then(|| unsafe { MutMem::new(start, bytes) })
}

/// Starts to receive bytes as `MPI_Irecv_c`. A message of more than `room` of them goes to the memory that
/// `grow(data, bytes)` gives, which is called when the message is matched, by any thread and under the library's lock: it
/// may do nothing but find memory. Where that is null, the message is truncated.
#[mpi_entry(PHALANX_Irecv)]
fn irecv(
    buf: RecvPtr,
    room: i64,
    source: c_int,
    tag: c_int,
    comm: CommRef,
    grow_function: Address,
    data: Address,
    request: Out<RawRequest>,
) -> Done {
    let room = count(room)?.0;
    // SAFETY: the program promised room for so many bytes until the operation has completed.
    let place = unsafe { MutMem::new(buf.0 as *mut u8, room) };
    let more = Grow::by(grow, [grow_function.0, data.0]);
    request.set(request::adopt(comm.comm.irecv_growing(place, more, source, tag)?, comm.error_object())?);
    Ok(())
}

/// The program's hook.
static HOOK: AtomicUsize = AtomicUsize::new(0);

fn call_hook() -> bool {
    let address = HOOK.load(Ordering::Acquire);
    if address == 0 {
        return false;
    }
    // SAFETY: the program gave this address as an `int (*)(void)`.
    let hook = unsafe { std::mem::transmute::<usize, extern "C" fn() -> c_int>(address) };
    hook() != 0
}

/// Sets a function that waiting calls run after a signal and a few times a second, without any lock; when it gives
/// something other than 0, the call gives up with an error of class `MPI_ERR_OTHER`. Null removes it.
#[mpi_entry(PHALANX_Set_interrupt_hook)]
fn set_interrupt_hook(hook: Address) -> Done {
    HOOK.store(hook.0, Ordering::Release);
    let process = state::need_process()?;
    process.engine.set_interrupt_hook(if hook.0 == 0 { None } else { Some(call_hook) });
    Ok(())
}

/// The program's function around what lasts.
static AROUND: AtomicUsize = AtomicUsize::new(0);

/// What lasts, on its way through that function.
struct Inside<'a> {
    what: &'a mut dyn FnMut(),
    panic: Option<Box<dyn Any + Send>>,
}

extern "C" fn run_inside(inside: *mut c_void) {
    // SAFETY: `inside` is what `call_around` gave to the program's function, which hands it on while `call_around` waits for it.
    let inside = unsafe { &mut *inside.cast::<Inside<'_>>() };
    // A panic does not go through the program's function: `call_around` goes on with it.
    inside.panic = catch_unwind(AssertUnwindSafe(|| (inside.what)())).err();
}

fn call_around(what: &mut dyn FnMut()) {
    let address = AROUND.load(Ordering::Acquire);
    if address == 0 {
        return what();
    }
    type Around = extern "C" fn(extern "C" fn(*mut c_void), *mut c_void);
    // SAFETY: the program gave this address as a function of this type.
    let function = unsafe { std::mem::transmute::<usize, Around>(address) };
    let mut inside = Inside { what, panic: None };
    function(run_inside, (&raw mut inside).cast());
    if let Some(panic) = inside.panic {
        resume_unwind(panic);
    }
}

/// Sets, once, a function `waiting(wait, data)` in which calls run what lasts: waits for others that have taken longer than
/// a microsecond or two, copies of much data, reductions of the user's. It must call `wait(data)`, on its thread, before it returns.
#[mpi_entry(PHALANX_Set_wait_hook)]
fn set_wait_hook(waiting: Address) -> Done {
    AROUND.store(waiting.0, Ordering::Release);
    state::need_process()?.engine.set_around(call_around);
    Ok(())
}

/// The program's function that finds places.
static PLACE: AtomicUsize = AtomicUsize::new(0);

/// Bytes that it may write.
const PLACE_ROOM: usize = 4096;

/// Whether the program finds places itself: whether it is one of another language.
pub(crate) fn finds_places() -> bool {
    PLACE.load(Ordering::Acquire) != 0
}

/// The address of that function.
pub(crate) fn place_function() -> usize {
    PLACE.load(Ordering::Acquire)
}

/// Where the program's function says that it is; `only_first` asks for the innermost frame and no other.
pub(crate) fn find_place(only_first: bool) -> Vec<Frame> {
    let address = PLACE.load(Ordering::Acquire);
    if address == 0 {
        return Vec::new();
    }
    // SAFETY: the program gave this address as an `int (*)(char *, int)`.
    let find = unsafe { std::mem::transmute::<usize, extern "C" fn(*mut u8, c_int) -> c_int>(address) };
    let mut text = vec![0; PLACE_ROOM];
    let room = PLACE_ROOM as c_int;
    let written = find(text.as_mut_ptr(), if only_first { -room } else { room });
    text.truncate(usize::try_from(written).unwrap_or(0));
    String::from_utf8_lossy(&text).lines().filter_map(frame).collect()
}

/// A frame from its line: the file, the line in it and the function, with tabs between.
fn frame(line: &str) -> Option<Frame> {
    let mut parts = line.split('\t');
    let (file, line, function) = (parts.next()?, parts.next()?, parts.next()?);
    Some(Frame { file: file.to_owned(), line: line.parse().ok()?, function: function.to_owned() })
}

/// Where a thread's program is, in words of its own: the code and the place in it.
pub(crate) type Spot = [usize; 2];

/// The program's functions that find spots and give them names.
static NEXT_SPOT: AtomicUsize = AtomicUsize::new(0);
static NAME_OF_SPOT: AtomicUsize = AtomicUsize::new(0);

/// Finds the next spot of this thread, from the innermost on; `cursor` is 0 at first. False when there is no more; `None` where
/// the program does not tell.
#[inline]
pub(crate) fn next_spot(cursor: &mut usize, spot: &mut Spot) -> Option<bool> {
    let address = NEXT_SPOT.load(Ordering::Acquire);
    if address == 0 {
        return None;
    }
    // SAFETY: the program gave this address as a function of this type.
    let next = unsafe { std::mem::transmute::<usize, extern "C" fn(*mut usize, *mut Spot) -> c_int>(address) };
    Some(next(cursor, spot) != 0)
}

/// What the program calls a spot; `None` for one that belongs to no program.
pub(crate) fn name_of_spot(spot: Spot) -> Option<Frame> {
    let address = NAME_OF_SPOT.load(Ordering::Acquire);
    if address == 0 {
        return None;
    }
    // SAFETY: as above.
    let name = unsafe { std::mem::transmute::<usize, extern "C" fn(*const Spot, *mut u8, c_int) -> c_int>(address) };
    let mut text = vec![0; PLACE_ROOM];
    let written = name(&spot, text.as_mut_ptr(), PLACE_ROOM as c_int);
    text.truncate(usize::try_from(written).unwrap_or(0));
    String::from_utf8_lossy(&text).lines().find_map(frame)
}

/// Sets two functions for the calls of a program that is traced. The first gives the next *spot* of the calling thread, two words
/// that stand for a place in the program, and 1, or 0 when there is none; it takes no lock, and keeps in the word `cursor`, 0 at
/// first, how far it is. The second writes the name of a spot, as the function of `PHALANX_Set_place_hook` does, and nothing for
/// one that is of no interest; it is called once for each spot. Null removes them.
#[mpi_entry(PHALANX_Set_spot_hooks)]
fn set_spot_hooks(next: Address, name: Address) -> Done {
    NAME_OF_SPOT.store(name.0, Ordering::Release);
    NEXT_SPOT.store(next.0, Ordering::Release);
    Ok(())
}

/// Sets a function that calls which have waited for long run, without any lock, to learn where the program is: it writes up
/// to so many bytes, a line "file TAB line TAB function" for each frame with the innermost first, and gives how many. With a
/// negative number, that of the innermost alone into so much room. Null
/// removes it.
#[mpi_entry(PHALANX_Set_place_hook)]
fn set_place_hook(hook: Address) -> Done {
    PLACE.store(hook.0, Ordering::Release);
    Ok(())
}

/// Says that the messages on a communicator are those of another one's collective operations: reports call it so.
#[mpi_entry(PHALANX_Comm_serves)]
fn comm_serves(private: CommRef, comm: CommRef) -> Done {
    private.comm.serve(&comm.comm);
    Ok(())
}

/// Says that the program has let go of a handle that it has made and not freed: with `--check`, that is told at the end.
#[mpi_entry(PHALANX_Lost_handle, anytime)]
fn lost_handle(handle: Address) -> Done {
    crate::check::lost(handle.0);
    Ok(())
}

/// Ends the job as `MPI_Abort` does, without a word: the launcher knows why.
#[mpi_entry(PHALANX_Abort)]
fn abort(code: c_int) -> Done {
    state::need_process()?.engine.abort(code)
}

/// Whether this process is ending the job, and runs its exit functions.
#[mpi_entry(PHALANX_Is_aborting, value)]
fn is_aborting() -> c_int {
    Engine::is_aborting().into()
}

/// Whether an error code says that the hook ended a wait.
#[mpi_entry(PHALANX_Is_interrupted, value)]
fn is_interrupted(code: c_int) -> c_int {
    crate::errors::is_interrupted(code).into()
}

/// Whether an error handler that was made with this function may still be called: a program that makes functions, one for
/// each handler, learns which it can make over.
#[mpi_entry(PHALANX_Uses_error_function, value)]
fn uses_error_function(function: Address) -> c_int {
    crate::errors::is_used(function.0).into()
}

/// The name and version of this library.
#[mpi_entry(PHALANX_Version, anytime)]
fn version(text: TextOut, size: c_int) -> Done {
    text.set(&library_version(), usize::try_from(size).unwrap_or(0))?;
    Ok(())
}
