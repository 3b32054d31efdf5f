//! Copies to and from private memory of windows, and combinations with it, that other ranks ask this one for.
//!
//! They ask while this rank waits, and each pass of progress looks. What they may have touched is the memory of windows that
//! are not freed, nothing else, whatever stands in the segment.
//!
//! Few bytes to combine come with the request. Many lie in the asker's memory: they are read from there, by one copy of the kernel
//! where the asker would need two, and combined where they belong.

use phalanx_shm::errand::{Act, ERRAND_MOST, ERRAND_WORDS, Errand, WHERE};
use phalanx_shm::mem::{self, ConstMem, MutMem};
use phalanx_shm::single_copy::{self, RemoteMem};
use phalanx_shm::{Offset, ProcId, ShmError, Universe};
use smallvec::SmallVec;

use super::core::Core;
use super::memory::{of, of_mut};
use crate::datatype::{Basic, Datatype};
use crate::op::{Builtin, Op};

/// Memory of this process that others may ask for.
#[derive(Debug)]
struct Served {
    /// Where they ask.
    at: Offset,
    memory: MutMem,
}

/// All of it.
#[derive(Debug, Default)]
pub(super) struct Errands {
    served: SmallVec<[Served; 2]>,
    /// Room for what is read from other processes.
    room: Vec<u8>,
}

impl Errands {
    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.served.is_empty()
    }
}

/// Bytes of another process that are combined at a time. Beside what copying so many takes, a system call is little; and a
/// second-level cache has them still when they are used.
pub(crate) const PIECE: usize = 64 << 10;

/// The errand at a place of the segment.
///
/// # Errors
/// When it is not inside.
#[inline]
pub(crate) fn errand_over(universe: &Universe, at: Offset) -> Result<Errand<'_>, ShmError> {
    let words = universe.words(at, ERRAND_WORDS)?;
    let (words, _) = words.split_first_chunk::<ERRAND_WORDS>().ok_or(ShmError::Corrupt { what: "an errand".into() })?;
    Ok(Errand::over(words))
}

impl Core {
    /// Lets others ask at a place for copies to and from `memory`, and for combinations with it.
    pub(crate) fn serve_errands(&mut self, at: Offset, memory: MutMem) {
        self.errands.served.push(Served { at, memory });
    }

    /// Ends that: the memory is not touched any more after this returns.
    pub(crate) fn end_errands(&mut self, at: Offset) {
        self.errands.served.retain(|served| served.at != at);
    }

    /// Serves who asks.
    pub(super) fn run_errands(&mut self) {
        let Errands { served, room } = &mut self.errands;
        for served in &*served {
            let Ok(errand) = errand_over(&self.universe, served.at) else { continue };
            let memory = served.memory;
            let was_asked = errand.serve(|request, bytes| {
                let is_inside = request.at.checked_add(request.len).is_some_and(|end| end <= memory.len());
                if !is_inside {
                    return false;
                }
                let part = memory.slice(request.at, request.len);
                match request.act {
                    Act::Read => part.copy_to(bytes),
                    Act::Write => part.copy_from(bytes),
                    Act::Combine(how) => return combine(how, bytes, part).is_some(),
                    Act::CombineFrom(how) => return combine_from(&self.universe, how, bytes, part, room).is_some(),
                };
                true
            });
            // Who asks once asks again: a wait is kept awake by it, as by a large message that moves.
            self.steps += u64::from(was_asked);
        }
    }
}

/// The number by which an operation on elements of a type is asked for.
pub(crate) fn number_of(builtin: Builtin, basic: Basic) -> u32 {
    (builtin as u32) << 16 | basic as u32
}

/// The operation and type that a number says, if such elements follow each other in so many bytes.
fn of_number(how: u32, bytes: usize) -> Option<(Op, &'static Datatype)> {
    let builtin = *Builtin::ALL.get((how >> 16) as usize)?;
    let basic = *Basic::ALL.get((how & 0xffff) as usize)?;
    let ty = Datatype::predefined(basic);
    let good = builtin.allows(basic.kind()) && ty.is_contiguous() && bytes.is_multiple_of(ty.size());
    good.then(|| (Op::predefined(builtin), ty))
}

/// Combines elements that were sent with those in memory, and gives what was there in their place. `None`, and nothing has happened,
/// for what no number says and for elements that are not whole or have gaps.
fn combine(how: u32, bytes: &mut [u8], memory: MutMem) -> Option<()> {
    let (op, ty) = of_number(how, bytes.len())?;
    let mut old: SmallVec<[u8; ERRAND_MOST]> = SmallVec::from_elem(0, bytes.len());
    memory.copy_to(&mut old);
    op.reduce(ty, of(bytes), memory, bytes.len() / ty.size()).ok()?;
    bytes.copy_from_slice(&old);
    Some(())
}

/// Where memory of a process is, for others of the universe.
pub(crate) fn place_of(process: ProcId, memory: ConstMem) -> [u8; WHERE] {
    let mut place = [0; WHERE];
    let (address, slot) = place.split_at_mut(WHERE / 2);
    address.copy_from_slice(&(memory.as_ptr().addr() as u64).to_ne_bytes());
    slot.copy_from_slice(&u64::from(process.0).to_ne_bytes());
    place
}

/// Combines elements in the memory of the process that asks with those in `memory`. `None`, and nothing has happened, as for
/// [`combine`], for more than a piece, and where that memory cannot be read.
fn combine_from(universe: &Universe, how: u32, place: &[u8], memory: MutMem, room: &mut Vec<u8>) -> Option<()> {
    let len = memory.len();
    let (op, ty) = of_number(how, len)?;
    let (address, slot) = place.split_first_chunk()?;
    let (addr, slot) = (u64::from_ne_bytes(*address), u64::from_ne_bytes(slot.try_into().ok()?));
    let slot = u32::try_from(slot).ok().filter(|slot| *slot < universe.claimed())?;
    let process = universe.process(ProcId(slot)).filter(|process| !process.is_foreign())?;
    if len > PIECE {
        return None;
    }
    if room.is_empty() {
        room.resize(PIECE + mem::LEAD, 0);
    }
    // As far in its page as in the other process: between any other places some kernels' copies crawl.
    let lead = mem::lead(room, addr as usize);
    let here = of_mut(&mut room[lead..lead + len]);
    single_copy::read(process, RemoteMem { addr, len }, here).ok()?;
    op.reduce(ty, here.as_const(), memory, len / ty.size()).ok()
}
