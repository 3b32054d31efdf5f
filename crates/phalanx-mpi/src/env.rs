//! Environment: start and end, versions, clocks, memory (MPI 5.0 §9 and §11).

use std::alloc::Layout;
use std::collections::HashMap;
use std::ffi::{c_int, c_void};
use std::sync::{Mutex, MutexGuard, PoisonError};

use phalanx_engine::ErrorClass;
use phalanx_engine::info::Info;
use phalanx_mpi_macros::mpi_entry;

use crate::consts;
use crate::entry::{Done, wrong};
use crate::handle::RawInfo;
use crate::info::InfoRef;
use crate::param::{Address, Out, TextOut};
use crate::state;

/// Initialises MPI. All threads may call MPI afterwards.
#[mpi_entry(MPI_Init, anytime)]
fn init(argc: Address, argv: Address) -> Done {
    let _ = (argc, argv);
    state::initialize("MPI_Init", consts::THREAD_MULTIPLE)
}

/// Initialises MPI and says which use of threads is possible: always at least what was asked for.
#[mpi_entry(MPI_Init_thread, anytime)]
fn init_thread(argc: Address, argv: Address, required: c_int, provided: Out<c_int>) -> Done {
    let _ = (argc, argv);
    let levels = [consts::THREAD_SINGLE, consts::THREAD_FUNNELED, consts::THREAD_SERIALIZED, consts::THREAD_MULTIPLE];
    let level = levels.into_iter().find(|level| *level >= required).unwrap_or(consts::THREAD_MULTIPLE);
    state::initialize("MPI_Init_thread", level)?;
    provided.set(level);
    Ok(())
}

/// Ends the use of MPI. Blocks until what this process has begun is complete.
#[mpi_entry(MPI_Finalize)]
fn finalize() -> Done {
    state::finalize()
}

/// Whether MPI has been initialised.
#[mpi_entry(MPI_Initialized, anytime)]
fn initialized(flag: Out<c_int>) -> Done {
    flag.set(state::was_initialized().into());
    Ok(())
}

/// Whether MPI has been finalised.
#[mpi_entry(MPI_Finalized, anytime)]
fn finalized(flag: Out<c_int>) -> Done {
    flag.set(state::was_finalized().into());
    Ok(())
}

/// The thread level that initialisation promised.
#[mpi_entry(MPI_Query_thread)]
fn query_thread(provided: Out<c_int>) -> Done {
    provided.set(state::provided());
    Ok(())
}

/// Whether the calling thread is the one that initialised MPI.
#[mpi_entry(MPI_Is_thread_main)]
fn is_thread_main(flag: Out<c_int>) -> Done {
    flag.set((state::need_process()?.main_thread == std::thread::current().id()).into());
    Ok(())
}

/// Ends the job with an exit code.
#[mpi_entry(MPI_Abort)]
fn abort(comm: crate::handle::RawComm, code: c_int) -> Done {
    let process = state::need_process()?;
    let name = crate::comm::find(comm).map_or_else(|_| "an invalid communicator".to_owned(), |c| c.comm.title());
    let rank = process.world.comm.rank();
    crate::errors::say(&format!("rank {rank}: MPI_Abort with code {code} on {name}"));
    process.engine.abort(code)
}

/// Seconds since some moment in the past, the same moment for all processes of the machine.
#[mpi_entry(MPI_Wtime, value)]
fn wtime() -> f64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    now.tv_sec as f64 + now.tv_nsec as f64 * 1e-9
}

/// The resolution of `MPI_Wtime` in seconds.
#[mpi_entry(MPI_Wtick, value)]
fn wtick() -> f64 {
    let step = rustix::time::clock_getres(rustix::time::ClockId::Monotonic);
    step.tv_sec as f64 + step.tv_nsec as f64 * 1e-9
}

/// The version of the standard.
#[mpi_entry(MPI_Get_version, anytime)]
fn get_version(version: Out<c_int>, subversion: Out<c_int>) -> Done {
    version.set(consts::VERSION);
    subversion.set(consts::SUBVERSION);
    Ok(())
}

/// The name and version of this library.
pub(crate) fn library_version() -> String {
    format!(
        "Phalanx {} (MPI {}.{}, ABI {}.{}, embedded engine, shared memory)",
        env!("CARGO_PKG_VERSION"),
        consts::VERSION,
        consts::SUBVERSION,
        consts::ABI_VERSION,
        consts::ABI_SUBVERSION,
    )
}

/// The name and version of this library.
#[mpi_entry(MPI_Get_library_version, anytime)]
fn get_library_version(version: TextOut, length: Out<c_int>) -> Done {
    let n = version.set(&library_version(), consts::MAX_LIBRARY_VERSION_STRING as usize)?;
    length.set(n as c_int);
    Ok(())
}

/// The name of the machine.
#[mpi_entry(MPI_Get_processor_name)]
fn get_processor_name(name: TextOut, length: Out<c_int>) -> Done {
    let system = rustix::system::uname();
    let n = name.set(&system.nodename().to_string_lossy(), consts::MAX_PROCESSOR_NAME as usize)?;
    length.set(n as c_int);
    Ok(())
}

/// What is known about the hardware this process may use: the machine it shares with all others.
#[mpi_entry(MPI_Get_hw_resource_info, anytime)]
fn get_hw_resource_info(info: Out<RawInfo>) -> Done {
    let resources = Info::new();
    resources.set("phalanx://machine", "true")?;
    info.set(crate::info::adopt(resources)?);
    Ok(())
}

/// Profiling level: accepted, and without effect, as the standard says for libraries that do not profile.
#[mpi_entry(MPI_Pcontrol, anytime)]
fn pcontrol(level: c_int) -> Done {
    let _ = level;
    Ok(())
}

// Memory.

/// What `MPI_Alloc_mem` has given out: address and size.
static MEMORY: Mutex<Option<HashMap<usize, usize>>> = Mutex::new(None);

fn memory() -> MutexGuard<'static, Option<HashMap<usize, usize>>> {
    MEMORY.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Alignment of memory from `MPI_Alloc_mem`: a cache line.
const ALIGN: usize = 64;

/// Allocates memory.
#[mpi_entry(MPI_Alloc_mem)]
fn alloc_mem(size: isize, info: InfoRef, base: Out<*mut c_void>) -> Done {
    let _ = info;
    let bytes = usize::try_from(size)
        .map_err(|_| wrong(ErrorClass::Arg, format!("the size is {size}; it must not be negative")))?;
    let layout = Layout::from_size_align(bytes.max(1), ALIGN)
        .map_err(|_| wrong(ErrorClass::NoMem, format!("{bytes} bytes are more than an address space")))?;
    // SAFETY: the layout has at least one byte.
    let at = unsafe { std::alloc::alloc(layout) };
    if at.is_null() {
        return Err(wrong(ErrorClass::NoMem, format!("there is no room for {bytes} bytes")));
    }
    memory().get_or_insert_default().insert(at as usize, layout.size());
    base.set(at.cast());
    Ok(())
}

/// Frees memory from `MPI_Alloc_mem`.
#[mpi_entry(MPI_Free_mem)]
fn free_mem(base: Address) -> Done {
    if base.0 == 0 {
        return Ok(());
    }
    let size = memory().as_mut().and_then(|m| m.remove(&base.0));
    let size = size.ok_or_else(|| wrong(ErrorClass::Base, "the address is not from MPI_Alloc_mem"))?;
    if let Ok(layout) = Layout::from_size_align(size, ALIGN) {
        // SAFETY: the address came from `alloc` with this layout and was removed from the list just now, once.
        unsafe { std::alloc::dealloc(base.0 as *mut u8, layout) };
    }
    Ok(())
}
