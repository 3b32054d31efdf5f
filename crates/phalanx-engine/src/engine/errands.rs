//! Copies to and from private memory of windows that other ranks ask this one for.
//!
//! They ask while this rank waits, and each pass of progress looks. What they may have touched is the memory of windows that
//! are not freed, nothing else, whatever stands in the segment.

use phalanx_shm::errand::{ERRAND_WORDS, Errand};
use phalanx_shm::mem::MutMem;
use phalanx_shm::{Offset, ShmError, Universe};
use smallvec::SmallVec;

use super::core::Core;

/// Memory of this process that others may ask for.
#[derive(Debug)]
struct Served {
    /// Where they ask.
    at: Offset,
    memory: MutMem,
}

/// All of it.
#[derive(Debug, Default)]
pub(super) struct Errands(SmallVec<[Served; 2]>);

impl Errands {
    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

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
    /// Lets others ask at a place for copies to and from `memory`.
    pub(crate) fn serve_errands(&mut self, at: Offset, memory: MutMem) {
        self.errands.0.push(Served { at, memory });
    }

    /// Ends that: the memory is not touched any more after this returns.
    pub(crate) fn end_errands(&mut self, at: Offset) {
        self.errands.0.retain(|served| served.at != at);
    }

    /// Serves who asks.
    pub(super) fn run_errands(&mut self) {
        for served in &self.errands.0 {
            let Ok(errand) = errand_over(&self.universe, served.at) else { continue };
            let memory = served.memory;
            let was_asked = errand.serve(|request, bytes| {
                let is_inside = request.at.checked_add(request.len).is_some_and(|end| end <= memory.len());
                if is_inside {
                    let part = memory.slice(request.at, request.len);
                    if request.write {
                        part.copy_from(bytes)
                    } else {
                        part.copy_to(bytes)
                    };
                }
                is_inside
            });
            // Who asks once asks again: a wait is kept awake by it, as by a large message that moves.
            self.steps += u64::from(was_asked);
        }
    }
}
