//! The shared segment of a job, as far as the launcher needs it.

use std::os::fd::{BorrowedFd, OwnedFd};

use phalanx_shm::{Deed, Exit, ProcId, ShmError, SlotState, Universe, UniverseConfig, Ways};

use crate::error::LaunchError;
use crate::look::Done;
use crate::process::Ended;

/// The universe that this launcher made, or was handed.
pub(crate) struct JobUniverse(Universe);

impl JobUniverse {
    /// Makes the segment for a first world of `ranks` processes.
    pub(crate) fn create(ranks: u32) -> Result<Self, LaunchError> {
        // One rank has nobody to move memory to until it spawns.
        let ways = Ways::of_this_machine(ranks > 1).map_err(LaunchError::usage)?;
        let config = UniverseConfig { ways, ..UniverseConfig::for_ranks(ranks) };
        Universe::create(config).map(Self).map_err(|error| match error {
            ShmError::SlotCount { max, .. } => LaunchError::usage(format!(
                "{ranks} ranks are more than one machine's job can have: the limit is {max}"
            )),
            other => segment("making the shared segment of the job", &other),
        })
    }

    /// Takes over the segment of a process that spawns.
    pub(crate) fn attach(descriptor: OwnedFd) -> Result<Self, LaunchError> {
        Universe::attach(descriptor)
            .map(Self)
            .map_err(|e| segment("attaching to the segment of the spawning process", &e))
    }

    /// The segment itself.
    pub(crate) fn universe(&self) -> &Universe {
        &self.0
    }

    /// The segment's descriptor, for ranks to inherit.
    pub(crate) fn descriptor(&self) -> BorrowedFd<'_> {
        self.0.fd()
    }

    /// Draws slots for a world; gives the first.
    pub(crate) fn claim(&self, ranks: u32) -> Result<u32, LaunchError> {
        self.0.claim_slots(ranks).map(|first| first.0).map_err(|e| segment("making room for ranks in the segment", &e))
    }

    /// Whether these slots have been drawn, by whomever.
    pub(crate) fn holds(&self, first: u32, ranks: u32) -> bool {
        first.checked_add(ranks).is_some_and(|end| end <= self.0.claimed())
    }

    /// Draws the context of a world's `MPI_COMM_WORLD`.
    pub(crate) fn context(&self) -> u32 {
        self.0.next_contexts(1)
    }

    /// How far the process of a slot has come; [`SlotState::Empty`] where the engine was never started.
    pub(crate) fn state(&self, slot: u32) -> SlotState {
        if self.0.has(ProcId(slot)) { self.0.slot(ProcId(slot)).standing().state } else { SlotState::Empty }
    }

    /// The process that has claimed a slot, if its number means something here.
    pub(crate) fn process_of(&self, slot: u32) -> Option<u32> {
        let tag = self.0.has(ProcId(slot)).then(|| self.0.process(ProcId(slot))).flatten()?;
        (!tag.is_foreign()).then(|| tag.pid())
    }

    /// Has the process of a slot count what it sends, and say it soon; or not any more.
    pub(crate) fn observe(&self, slot: u32, on: bool) {
        if self.0.has(ProcId(slot)) {
            self.0.slot(ProcId(slot)).observe(on);
        }
    }

    /// What the process of a slot said it had done.
    pub(crate) fn done(&self, slot: u32) -> Option<Done> {
        let slot = self.0.has(ProcId(slot)).then(|| self.0.slot(ProcId(slot)))?;
        let [collectives, windows, files] = [Deed::Collective, Deed::Window, Deed::File].map(|deed| slot.counted(deed));
        Some(Done { messages: slot.sent(), collectives, windows, files })
    }

    /// The code that the process of a slot gave to `MPI_Abort`.
    pub(crate) fn abort_code(&self, slot: u32) -> Option<i32> {
        self.0.has(ProcId(slot)).then(|| self.0.slot(ProcId(slot)).abort_code()).flatten()
    }

    /// Records for the other processes how the one of this slot ended, and wakes those that sleep.
    pub(crate) fn record_end(&self, slot: u32, ended: Ended) {
        if !self.0.has(ProcId(slot)) {
            return;
        }
        let byte = |n: i32| u8::try_from(n & 0xff).unwrap_or(u8::MAX);
        self.0.slot(ProcId(slot)).record_exit(match ended {
            Ended::Exit(status) => Exit::Status(byte(status)),
            Ended::Signal(signal) => Exit::Signal(byte(signal)),
        });
        for other in 0..self.0.claimed() {
            self.0.slot(ProcId(other)).alarm();
        }
    }
}

fn segment(doing: &'static str, error: &ShmError) -> LaunchError {
    LaunchError::Segment { doing, reason: error.to_string() }
}
