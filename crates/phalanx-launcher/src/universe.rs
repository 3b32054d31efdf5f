//! The shared segment of a job, as far as the launcher needs it.

use std::os::fd::{BorrowedFd, OwnedFd};

use crate::error::LaunchError;

/// What a rank's slot says about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    /// The engine was never started there.
    Untouched,
    /// Between `MPI_Init` and `MPI_Finalize`.
    Running,
    /// After `MPI_Finalize`.
    Finalized,
}

/// The universe that this launcher made, or was handed.
pub(crate) struct JobUniverse {}

impl JobUniverse {
    pub(crate) fn create(_ranks: u32) -> Result<Self, LaunchError> {
        Ok(Self {})
    }

    pub(crate) fn attach(_descriptor: OwnedFd) -> Result<Self, LaunchError> {
        Ok(Self {})
    }

    pub(crate) fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        None
    }

    pub(crate) fn claim(&self, _ranks: u32) -> Result<u32, LaunchError> {
        Ok(0)
    }

    pub(crate) fn context(&self) -> u32 {
        8
    }

    pub(crate) fn standing(&self, _slot: u32) -> Standing {
        Standing::Untouched
    }

    pub(crate) fn abort_code(&self, _slot: u32) -> Option<i32> {
        None
    }
}
