//! Memory of the program in a dynamic window (MPI 5.0 §12.2.4), which is attached and detached while others may look.
//!
//! Displacements in such a window are addresses of the target. A rank tells the others which memory it has attached by a list in
//! the segment:
//!
//! ```text
//! chunk     64 words             word 0: the next chunk; from word 2 on pairs of words
//! pair      bytes, start         bytes 0: none
//! ```
//!
//! Only its own rank writes a list, and its chunks stay until the window is freed, so that who reads may be slow. A pair
//! becomes valid by the store of its bytes. Who reads while a pair changes accesses memory without having been told that it is attached,
//! which is the program's mistake and gets an error or not; the kernel looks at the addresses in any case.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use phalanx_shm::mem::MutMem;
use phalanx_shm::{Offset, Universe};
use smallvec::SmallVec;

use crate::datatype::Datatype;
use crate::error::{Error, ErrorClass, Result, fail};

use super::{Flavor, Window};

/// Words of a chunk.
const CHUNK: usize = 64;
/// Words before the pairs.
const HEAD: usize = 2;
/// A list that is longer was written over by somebody.
const MOST_CHUNKS: usize = 1 << 16;

/// First and last address, the last one not in it.
type Region = (u64, u64);

/// What this rank has attached.
#[derive(Default)]
pub(super) struct Attached(Mutex<Own>);

#[derive(Default)]
struct Own {
    regions: Vec<MutMem>,
    /// Of this rank's list.
    chunks: Vec<Offset>,
}

fn region(memory: &MutMem) -> Region {
    let start = memory.as_ptr().addr() as u64;
    (start, start.saturating_add(memory.len() as u64))
}

/// Whether every byte between two addresses is attached.
fn covers(regions: &[Region], from: u64, to: u64) -> bool {
    let mut from = from;
    while from < to {
        match regions.iter().find(|(start, end)| *start <= from && from < *end) {
            Some((_, end)) => from = *end,
            None => return false,
        }
    }
    true
}

fn pairs(words: &[AtomicU64]) -> impl Iterator<Item = (&AtomicU64, &AtomicU64)> {
    words[HEAD..].as_chunks::<2>().0.iter().map(|[bytes, start]| (bytes, start))
}

fn chunk(universe: &Universe, at: Offset) -> Result<&[AtomicU64]> {
    universe.words(at, CHUNK).map_err(super::outside)
}

impl Attached {
    fn own(&self) -> MutexGuard<'_, Own> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives the list back. Nobody reads it any more.
    pub(super) fn free(&self, universe: &Universe) {
        for chunk in self.own().chunks.drain(..) {
            universe.free(chunk);
        }
    }
}

impl Own {
    /// An empty pair of the list.
    fn pair<'u>(&mut self, win: &Window, universe: &'u Universe) -> Result<(&'u AtomicU64, &'u AtomicU64)> {
        for at in &self.chunks {
            let mut empty = pairs(chunk(universe, *at)?).filter(|(bytes, _)| bytes.load(Ordering::Relaxed) == 0);
            if let Some(pair) = empty.next() {
                return Ok(pair);
            }
        }
        let new = universe
            .alloc_zeroed(CHUNK * size_of::<u64>())
            .map_err(|e| Error::new(ErrorClass::NoMem, format!("the list of attached memory: {e}")))?;
        let link = match self.chunks.last() {
            Some(last) => &chunk(universe, *last)?[0],
            None => win.0.control.words()?.attached(win.me()),
        };
        self.chunks.push(new);
        // Release: who finds the chunk finds it zero.
        link.store(new.get(), Ordering::Release);
        let first = pairs(chunk(universe, new)?).next();
        first.ok_or_else(|| Error::new(ErrorClass::Intern, "a list of attached memory has no room"))
    }
}

impl Window {
    fn need_dynamic(&self) -> Result<()> {
        if self.0.flavor != Flavor::Dynamic {
            fail!(
                RmaFlavor,
                "{} was made by {}; memory is attached to windows of MPI_Win_create_dynamic",
                self.title(),
                self.0.flavor.maker()
            );
        }
        Ok(())
    }

    /// Attaches memory of this rank to a dynamic window (`MPI_Win_attach`): others may access it. Local.
    ///
    /// The constructor of that memory promised that its bytes may be read and written until it is detached or the window freed.
    ///
    /// # Errors
    /// Class `RmaFlavor` for other windows; `RmaAttach` for memory of which some is attached; `NoMem`.
    pub fn attach(&self, memory: MutMem) -> Result<()> {
        self.need_dynamic()?;
        let mut own = self.0.attached.own();
        let (start, end) = region(&memory);
        if let Some(other) = own.regions.iter().map(region).find(|other| start < other.1 && other.0 < end) {
            fail!(
                RmaAttach,
                "{} bytes from 0x{start:x} on overlap {} bytes from 0x{:x} on, which are attached to {} already",
                memory.len(),
                other.1 - other.0,
                other.0,
                self.title()
            );
        }
        if !memory.is_empty() {
            let (bytes, at) = own.pair(self, self.engine().universe())?;
            at.store(start, Ordering::Relaxed);
            // Release: who sees the bytes sees where they start.
            bytes.store(memory.len() as u64, Ordering::Release);
        }
        own.regions.push(memory);
        Ok(())
    }

    /// Ends what [`Window::attach`] of memory at an address began (`MPI_Win_detach`). Local.
    ///
    /// # Errors
    /// Class `RmaFlavor` for other windows; `RmaAttach` where no attached memory begins.
    pub fn detach(&self, address: usize) -> Result<()> {
        self.need_dynamic()?;
        let mut own = self.0.attached.own();
        let Some(place) = own.regions.iter().position(|memory| memory.as_ptr().addr() == address) else {
            fail!(RmaAttach, "no memory that begins at 0x{address:x} is attached to {}", self.title());
        };
        let memory = own.regions.swap_remove(place);
        if memory.is_empty() {
            return Ok(());
        }
        let universe = self.engine().universe();
        for at in &own.chunks {
            let mut same = pairs(chunk(universe, *at)?).filter(|(bytes, start)| {
                bytes.load(Ordering::Relaxed) == memory.len() as u64 && start.load(Ordering::Relaxed) == address as u64
            });
            if let Some((bytes, _)) = same.next() {
                bytes.store(0, Ordering::Release);
                break;
            }
        }
        Ok(())
    }

    /// What a rank has attached.
    fn regions(&self, target: usize) -> Result<SmallVec<[Region; 8]>> {
        if target == self.me() {
            return Ok(self.0.attached.own().regions.iter().map(region).collect());
        }
        let universe = self.engine().universe();
        let mut found = SmallVec::new();
        let mut at = self.0.control.words()?.attached(target).load(Ordering::Acquire);
        for _ in 0..MOST_CHUNKS {
            if at == 0 {
                break;
            }
            let words = chunk(universe, Offset::new(at))?;
            for (bytes, start) in pairs(words) {
                let seen = bytes.load(Ordering::Acquire);
                let start = start.load(Ordering::Relaxed);
                if seen > 0 {
                    found.push((start, start.saturating_add(seen)));
                }
            }
            at = words[0].load(Ordering::Acquire);
        }
        Ok(found)
    }

    /// Refuses elements at an address of a rank of which some are in no memory that it has attached.
    ///
    /// # Errors
    /// Class `RmaRange`.
    pub(super) fn check_attached(&self, target: usize, address: i64, count: usize, ty: &Datatype) -> Result<()> {
        let regions = self.regions(target)?;
        let attached = |at: isize, bytes: isize| {
            let from = address.checked_add(at as i64)?;
            Some(covers(&regions, u64::try_from(from).ok()?, u64::try_from(from.checked_add(bytes as i64)?).ok()?))
        };
        let (low, high) = ty.span(count)?;
        let mut pieces = ty.segments(count);
        if attached(low, high - low) == Some(true)
            || pieces.all(|(at, bytes)| attached(at, bytes as isize) == Some(true))
        {
            return Ok(());
        }
        fail!(
            RmaRange,
            "{count} elements of {ty} at address 0x{address:x} are not in memory that rank {target} has attached to {}",
            self.title()
        )
    }
}

#[cfg(test)]
mod tests {
    use super::covers;

    #[test]
    fn memory_is_covered_by_regions_in_any_order_that_leave_no_gap() {
        let regions = [(20, 30), (10, 20), (40, 50)];
        assert!(covers(&regions, 10, 30) && covers(&regions, 12, 29) && covers(&regions, 45, 50));
        assert!(!covers(&regions, 10, 31) && !covers(&regions, 29, 41) && !covers(&regions, 9, 11));
        assert!(covers(&regions, 7, 7), "nothing is everywhere");
    }
}
