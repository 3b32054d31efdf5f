//! One-sided communication (MPI 5.0 §12): windows, and what is done through them.
//!
//! A window is memory of each rank that all its ranks reach without anybody's help. Where it lies decides how:
//!
//! | memory | reached by |
//! |---|---|
//! | in the universe's segment (allocated and shared windows, or memory of one given to `create`) | plain copies |
//! | private (`create` over a buffer, or attached later) | the kernel's copies between processes; few bytes of a target that waits in MPI, by asking it |
//!
//! Either way an operation is over when its function returns, at both ends, so that flushing is a fence of this CPU.
//! Nothing needs the target: it may compute, sleep, or be stopped.
//!
//! | file | subject |
//! |---|---|
//! | `mod.rs` | making, asking and freeing a window |
//! | `control.rs` | the words that its ranks share: locks, counters |
//! | `epoch.rs` | which accesses are allowed now |
//! | `sync.rs` | fence, post-start-complete-wait, locks, flushes |
//! | `attached.rs` | memory that comes and goes, of dynamic windows |
//! | `reach.rs` | where the memory of a target is; copies to and from it |
//! | `errand.rs` | few bytes of private memory, which the target copies itself while it waits |
//! | `rma.rs` | put, get, accumulate and their kin |
//!
//! Accumulating operations take a lock of the target's memory that knows its owner, whatever the type and the place, so that
//! they are atomic towards each other ([why](../../../../docs/decisions/0013-windows.md)).

mod attached;
mod control;
mod epoch;
mod errand;
mod reach;
mod rma;
mod sync;
#[cfg(test)]
mod tests;

use std::sync::{Arc, Mutex, PoisonError};

use phalanx_shm::mem::MutMem;
use phalanx_shm::single_copy::OpenedMemory;
use phalanx_shm::{Offset, Universe};

use crate::coll::Arg;
use crate::comm::Comm;
use crate::engine::Engine;
use crate::engine::buffer::{RecvBuf, SendBuf};
use crate::engine::memory;
use crate::error::{Error, ErrorClass, Result, fail};
use crate::group::Group;

use attached::Attached;
use control::Control;
use epoch::Epochs;
use errand::Asked;
use reach::Place;
pub use rma::Target;
pub use sync::{Assertions, Hold};

/// How a window came to its memory (`MPI_WIN_CREATE_FLAVOR`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flavor {
    /// The program's memory.
    Create,
    /// Memory that came with the window.
    Allocate,
    /// As [`Flavor::Allocate`], and every rank may also read and write it directly.
    Shared,
    /// The program's memory, attached and detached while the window exists.
    Dynamic,
}

impl Flavor {
    /// The operation that makes such windows.
    fn maker(self) -> &'static str {
        match self {
            Flavor::Create => "Win_create",
            Flavor::Allocate => "Win_allocate",
            Flavor::Shared => "Win_allocate_shared",
            Flavor::Dynamic => "Win_create_dynamic",
        }
    }
}

/// A window. Cloning gives another handle to the same one.
#[derive(Clone)]
pub struct Window(Arc<Inner>);

/// What one rank has in the window.
#[derive(Debug)]
struct Part {
    /// Bytes.
    size: usize,
    /// Bytes of one unit of displacements to this rank.
    unit: usize,
    place: Place,
}

struct Inner {
    /// A communicator of the window's own.
    comm: Comm,
    flavor: Flavor,
    name: Mutex<String>,
    parts: Vec<Part>,
    /// This rank's memory, as it reaches it itself.
    own: MutMem,
    control: Control,
    /// Whether ranks ask each other for few bytes of private memory.
    asks: bool,
    /// Of a dynamic window.
    attached: Attached,
    /// Blocks of the segment that the last rank to free the window gives back.
    blocks: Vec<Offset>,
    epochs: Epochs,
}

/// What ranks tell each other when they make a window, as words.
#[derive(Clone, Copy, Default)]
struct Told {
    size: u64,
    unit: u64,
    /// In the segment: its position there. Else 0.
    position: u64,
    /// In private memory: its address there.
    address: u64,
    /// Of the word by which others try whether they reach private memory: where it is and what it holds.
    probe: [u64; 2],
}

const TOLD: usize = 6;

impl Told {
    fn to_words(self) -> [u64; TOLD] {
        let Told { size, unit, position, address, probe } = self;
        [size, unit, position, address, probe[0], probe[1]]
    }

    fn of_words(words: &[u64]) -> Told {
        let word = |i: usize| words.get(i).copied().unwrap_or(0);
        Told { size: word(0), unit: word(1), position: word(2), address: word(3), probe: [word(4), word(5)] }
    }
}

/// Hands some words of each rank to all.
fn exchange<const N: usize>(comm: &Comm, mine: [u64; N]) -> Result<Vec<u64>> {
    let mut all = vec![0; comm.group().size() * N];
    comm.allgather(Arg::Buf(SendBuf::of(&mine)), RecvBuf::of(&mut all).into())?;
    Ok(all)
}

fn outside(e: phalanx_shm::ShmError) -> Error {
    Error::new(ErrorClass::Intern, format!("the memory of a window: {e}"))
}

/// A block of the segment for `bytes` bytes; none for none.
fn block(universe: &Universe, bytes: usize) -> Result<Offset> {
    match bytes {
        0 => Ok(Offset::NONE),
        _ => {
            let taken = universe.alloc_untouched(bytes);
            taken.map_err(|e| Error::new(ErrorClass::NoMem, format!("{bytes} bytes for a window: {e}")))
        }
    }
}

impl Window {
    /// Makes a window over memory of the program, of which this rank gives `own`: memory, and bytes of a unit of displacements
    /// (`MPI_Win_create`). Collective; an error there is every rank's.
    ///
    /// The constructor of that memory promised that its bytes may be read and written until the window is freed, by this
    /// process and by others.
    ///
    /// # Errors
    /// That of `own`; class `Comm` for an intercommunicator, `NoMem`, `RmaShared` where the kernel does not let the ranks reach
    /// each other's memory; those of a collective.
    pub fn create(comm: &Comm, own: Result<(MutMem, usize)>) -> Result<Window> {
        let comm = comm_of(comm, Flavor::Create.maker())?;
        let (memory, unit) = comm.settle(Flavor::Create.maker(), own)?;
        let position = match memory.len() {
            0 => None,
            bytes => comm.engine().universe().position_of(memory.as_ptr().addr(), bytes),
        };
        let told = Told {
            size: memory.len() as u64,
            unit: unit as u64,
            position: position.map_or(0, Offset::get),
            address: memory.as_ptr().addr() as u64,
            probe: comm.engine().core().probe(),
        };
        Window::assemble(comm, Flavor::Create, told, memory, Vec::new())
    }

    /// Makes a window of new memory, of which this rank has `own`: bytes, and bytes of a unit of displacements
    /// (`MPI_Win_allocate`). Collective; an error there is every rank's.
    ///
    /// # Errors
    /// As [`Window::create`].
    pub fn allocate(comm: &Comm, own: Result<(usize, usize)>) -> Result<Window> {
        Window::allocated(comm_of(comm, Flavor::Allocate.maker())?, Flavor::Allocate, own)
    }

    /// As [`Window::allocate`], with memory that all ranks may also read and write directly (`MPI_Win_allocate_shared`). The parts
    /// of the ranks follow each other without gaps, unless `apart`.
    ///
    /// # Errors
    /// As [`Window::create`].
    pub fn allocate_shared(comm: &Comm, own: Result<(usize, usize)>, apart: bool) -> Result<Window> {
        let comm = comm_of(comm, Flavor::Shared.maker())?;
        if apart {
            return Window::allocated(comm, Flavor::Shared, own);
        }
        let (size, unit) = comm.settle(Flavor::Shared.maker(), own)?;
        let sizes = exchange(&comm, [size as u64])?;
        let Some(total) = sizes.iter().try_fold(0usize, |sum, size| sum.checked_add(usize::try_from(*size).ok()?))
        else {
            fail!(NoMem, "the sizes of the ranks add up to more than an address space");
        };
        let first = comm.told_number(0, || block(comm.engine().universe(), total).map(Offset::get))?;
        let before: u64 = sizes.iter().take(usize::try_from(comm.rank()).unwrap_or(0)).sum();
        let position = if size == 0 { 0 } else { first + before };
        let told = Told { size: size as u64, unit: unit as u64, position, ..Told::default() };
        let blocks = if first == 0 { Vec::new() } else { vec![Offset::new(first)] };
        Window::assemble(comm, Flavor::Shared, told, MutMem::empty(), blocks)
    }

    /// Makes a window without memory, to which each rank attaches some ([`Window::attach`]). Displacements in it are addresses
    /// (`MPI_Win_create_dynamic`). Collective.
    ///
    /// # Errors
    /// As [`Window::create`].
    pub fn create_dynamic(comm: &Comm) -> Result<Window> {
        let comm = comm_of(comm, Flavor::Dynamic.maker())?;
        let told = Told { unit: 1, probe: comm.engine().core().probe(), ..Told::default() };
        Window::assemble(comm, Flavor::Dynamic, told, MutMem::empty(), Vec::new())
    }

    /// A window of which each rank has a block of its own.
    fn allocated(comm: Comm, flavor: Flavor, own: Result<(usize, usize)>) -> Result<Window> {
        let universe = comm.engine().universe().clone();
        let taken = own.and_then(|(size, unit)| Ok((size, unit, block(&universe, size)?)));
        let mine = taken.as_ref().map_or(Offset::NONE, |(_, _, block)| *block);
        let (size, unit, _) = comm.settle(flavor.maker(), taken).inspect_err(|_| {
            if !mine.is_none() {
                universe.free(mine);
            }
        })?;
        let told = Told { size: size as u64, unit: unit as u64, position: mine.get(), ..Told::default() };
        let blocks = exchange(&comm, [mine.get()])?.into_iter().map(Offset::new).filter(|at| !at.is_none()).collect();
        Window::assemble(comm, flavor, told, MutMem::empty(), blocks)
    }

    /// Tells the other ranks what this one has, and puts the window together from what they have.
    fn assemble(comm: Comm, flavor: Flavor, told: Told, own: MutMem, blocks: Vec<Offset>) -> Result<Window> {
        let engine = comm.engine().clone();
        let universe = engine.universe();
        let ranks = comm.group().size();
        let control = comm.told_number(0, || {
            let words = universe.alloc_zeroed(Control::bytes(ranks));
            words.map(Offset::get).map_err(|e| Error::new(ErrorClass::NoMem, format!("the words of a window: {e}")))
        })?;
        let control = Offset::new(control);
        let all = exchange(&comm, told.to_words())?;
        let part = |(rank, words): (usize, &[u64])| {
            let told = Told::of_words(words);
            let (size, unit) = (usize::try_from(told.size).unwrap_or(0), usize::try_from(told.unit).unwrap_or(1));
            let is_own = rank as i32 == comm.rank();
            let place = if flavor == Flavor::Dynamic && is_own {
                Place::Here(memory::any())
            } else if size == 0 && flavor != Flavor::Dynamic {
                Place::Here(MutMem::empty())
            } else if told.position != 0 {
                let bytes = universe.bytes(Offset::new(told.position), size).map_err(outside)?;
                Place::Here(memory::of_shared(&bytes))
            } else if is_own {
                Place::Here(own)
            } else {
                let process = comm.group().get(rank).and_then(|process| universe.process(process));
                match process.filter(|process| engine.core().reaches(*process, told.probe)) {
                    Some(process) => Place::There {
                        opened: OpenedMemory::new(process),
                        address: told.address,
                        asked: Asked::default(),
                        combined: Asked::default(),
                        many: Asked::default(),
                    },
                    None => fail!(
                        RmaShared,
                        "rank {} may not reach the private memory of rank {rank} (the kernel forbids it, or \
                         PHALANX_SINGLE_COPY=0); memory from MPI_Win_allocate needs no permission",
                        comm.rank()
                    ),
                }
            };
            Ok(Part { size, unit, place })
        };
        let parts = all.chunks(TOLD).enumerate().map(part).collect::<Result<Vec<Part>>>();
        let parts = comm.settle(flavor.maker(), parts).inspect_err(|_| {
            // Nobody has used anything yet.
            if comm.rank() == 0 {
                for block in blocks.iter().chain([&control]) {
                    universe.free(*block);
                }
            }
        })?;
        let own = match parts.get(usize::try_from(comm.rank()).unwrap_or(0)).map(|part| &part.place) {
            Some(Place::Here(memory)) if matches!(flavor, Flavor::Allocate | Flavor::Shared) => *memory,
            _ => own,
        };
        let control = Control::new(universe.clone(), control, ranks);
        control.words()?;
        let asks = flavor == Flavor::Create && errand::is_worth_it(&engine);
        if asks && told.position == 0 && !own.is_empty() {
            let rank = usize::try_from(comm.rank()).unwrap_or(0);
            engine.core().serve_errands(control.errand_at(rank), own);
        }
        Ok(Window(Arc::new(Inner {
            flavor,
            name: Mutex::default(),
            parts,
            own,
            control,
            asks,
            attached: Attached::default(),
            blocks,
            epochs: Epochs::new(ranks),
            comm,
        })))
    }

    /// Frees the window (`MPI_Win_free`). Collective; waits for all ranks.
    ///
    /// # Errors
    /// Class `RmaSync` within an epoch, and the window stays; class `ProcAborted` when a rank has ended without freeing it, and
    /// it is gone on this rank all the same, while its memory stays with the job.
    pub fn free(&self) -> Result<()> {
        self.check_no_epoch("MPI_Win_free")?;
        let waited = self.0.comm.barrier();
        if waited.as_ref().is_err_and(Error::is_interrupted) {
            return waited;
        }
        self.engine().core().end_errands(self.0.control.errand_at(self.me()));
        let universe = self.engine().universe();
        if waited.is_ok() {
            self.0.attached.free(universe);
        }
        if self.0.control.leave()? {
            for block in &self.0.blocks {
                universe.free(*block);
            }
            self.0.control.free();
        }
        self.0.comm.mark_freed();
        waited
    }

    /// Refuses `call` within an epoch.
    ///
    /// # Errors
    /// Class `RmaSync`.
    pub fn check_no_epoch(&self, call: &str) -> Result<()> {
        self.0.epochs.check_quiet(call, self)
    }

    /// The engine of the calling process.
    pub fn engine(&self) -> &Engine {
        self.0.comm.engine()
    }

    /// The processes of the window (`MPI_Win_get_group`).
    pub fn group(&self) -> &Group {
        self.0.comm.group()
    }

    /// Rank of the calling process.
    pub fn rank(&self) -> i32 {
        self.0.comm.rank()
    }

    /// How it came to its memory.
    pub fn flavor(&self) -> Flavor {
        self.0.flavor
    }

    /// The memory of this rank (`MPI_WIN_BASE`, `MPI_WIN_SIZE`).
    pub fn memory(&self) -> MutMem {
        self.0.own
    }

    /// Bytes of a unit of displacements to this rank (`MPI_WIN_DISP_UNIT`).
    pub fn unit(&self) -> usize {
        usize::try_from(self.rank()).ok().and_then(|rank| self.0.parts.get(rank)).map_or(1, |part| part.unit)
    }

    /// The memory of a rank, as this process reaches it directly, and its unit (`MPI_Win_shared_query`); without a rank, that of
    /// the first rank that has some. Memory that is another process's own is none: 0 bytes.
    ///
    /// # Errors
    /// Class `Rank`.
    pub fn shared(&self, rank: Option<i32>) -> Result<(MutMem, usize)> {
        let part = match rank {
            Some(rank) => &self.0.parts[self.target(rank)?],
            None => match self.0.parts.iter().find(|part| part.size > 0) {
                Some(part) => part,
                None => return Ok((MutMem::empty(), 1)),
            },
        };
        match &part.place {
            Place::Here(memory) if self.0.flavor != Flavor::Dynamic => Ok((*memory, part.unit)),
            Place::Here(_) | Place::There { .. } => Ok((MutMem::empty(), part.unit)),
        }
    }

    /// The name (`MPI_Win_get_name`).
    pub fn name(&self) -> String {
        self.0.name.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Sets the name (`MPI_Win_set_name`).
    pub fn set_name(&self, name: impl Into<String>) {
        *self.0.name.lock().unwrap_or_else(PoisonError::into_inner) = name.into();
    }

    /// How texts call it.
    pub fn title(&self) -> String {
        match self.name().as_str() {
            "" => format!("unnamed window {}", self.0.comm.ctx()),
            name => format!("window '{name}'"),
        }
    }

    /// The place of a rank among the parts.
    ///
    /// # Errors
    /// Class `Rank`.
    #[inline]
    fn target(&self, rank: i32) -> Result<usize> {
        self.engine().serves()?;
        match usize::try_from(rank) {
            Ok(target) if target < self.0.parts.len() => Ok(target),
            _ => Err(self.bad_rank(rank)),
        }
    }

    #[cold]
    fn bad_rank(&self, rank: i32) -> Error {
        let n = self.0.parts.len();
        let text = format!("rank {rank} does not exist in {} of {n} ranks (valid: 0 to {})", self.title(), n - 1);
        Error::new(ErrorClass::Rank, text)
    }
}

/// A communicator of a window's own.
fn comm_of(comm: &Comm, operation: &str) -> Result<Comm> {
    if comm.is_inter() {
        fail!(Comm, "{operation}: {} is an intercommunicator; a window needs an intracommunicator", comm.title());
    }
    comm.within_one_job("a window is memory that those of one job share").map_err(|e| e.context(operation))?;
    let own = comm.dup()?;
    own.belongs_to(format!("a window over {}", comm.title()));
    Ok(own)
}
