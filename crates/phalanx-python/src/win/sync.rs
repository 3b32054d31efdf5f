//! Windows: synchronization (MPI 5.0 section 12.5).

use pyo3::prelude::*;

use super::Win;
use crate::ffi::*;
use crate::gil;
use crate::group::Group;
use crate::handle::Handle as _;

#[pymethods]
impl Win {
    /// Fence(self, assertion: int = 0) -> None
    ///
    /// End one epoch of access and begin the next. Collective, blocks.
    #[pyo3(signature = (assertion=0))]
    fn Fence(&self, py: Python<'_>, assertion: c_int) -> PyResult<()> {
        let raw = self.raw();
        // SAFETY: passes values; the library checks them.
        gil::brief(py, || unsafe { MPI_Win_fence(assertion, raw) })
    }

    /// Start(self, group: Group, assertion: int = 0) -> None
    ///
    /// Begin to access the windows of a group, which has to `Post`. May block.
    #[pyo3(signature = (group, assertion=0))]
    fn Start(&self, py: Python<'_>, group: &Bound<'_, Group>, assertion: c_int) -> PyResult<()> {
        let (raw, group) = (self.raw(), group.get().raw());
        // SAFETY: passes values; the library checks them.
        gil::brief(py, || unsafe { MPI_Win_start(group, assertion, raw) })
    }

    /// Complete(self) -> None
    ///
    /// End the access that `Start` began. Blocks until it is complete here.
    fn Complete(&self, py: Python<'_>) -> PyResult<()> {
        let raw = self.raw();
        // SAFETY: passes a value; the library checks it.
        gil::brief(py, || unsafe { MPI_Win_complete(raw) })
    }

    /// Post(self, group: Group, assertion: int = 0) -> None
    ///
    /// Let a group access this window. Does not block.
    #[pyo3(signature = (group, assertion=0))]
    fn Post(&self, py: Python<'_>, group: &Bound<'_, Group>, assertion: c_int) -> PyResult<()> {
        let (raw, group) = (self.raw(), group.get().raw());
        // SAFETY: passes values; the library checks them.
        gil::brief(py, || unsafe { MPI_Win_post(group, assertion, raw) })
    }

    /// Wait(self) -> Literal[True]
    ///
    /// Wait until the group given to `Post` has completed its access.
    fn Wait(&self, py: Python<'_>) -> PyResult<bool> {
        let raw = self.raw();
        // SAFETY: passes a value; the library checks it.
        gil::brief(py, || unsafe { MPI_Win_wait(raw) })?;
        Ok(true)
    }

    /// Test(self) -> bool
    ///
    /// Return whether the group given to `Post` has completed its access. Does not block.
    fn Test(&self, py: Python<'_>) -> PyResult<bool> {
        let (raw, mut flag) = (self.raw(), 0);
        // SAFETY: the flag is valid for the write.
        gil::brief(py, || unsafe { MPI_Win_test(raw, &mut flag) })?;
        Ok(flag != 0)
    }

    /// Lock(self, rank: int, lock_type: int = LOCK_EXCLUSIVE, assertion: int = 0) -> None
    ///
    /// Begin to access the window of a rank, which need not take part. May block.
    #[pyo3(signature = (rank, lock_type=MPI_LOCK_EXCLUSIVE, assertion=0))]
    fn Lock(&self, py: Python<'_>, rank: c_int, lock_type: c_int, assertion: c_int) -> PyResult<()> {
        let raw = self.raw();
        // SAFETY: passes values; the library checks them.
        gil::brief(py, || unsafe { MPI_Win_lock(lock_type, rank, assertion, raw) })
    }

    /// Unlock(self, rank: int) -> None
    ///
    /// End the access to the window of a rank. Blocks until it is complete there.
    fn Unlock(&self, py: Python<'_>, rank: c_int) -> PyResult<()> {
        let raw = self.raw();
        // SAFETY: passes values; the library checks them.
        gil::brief(py, || unsafe { MPI_Win_unlock(rank, raw) })
    }

    /// Lock_all(self, assertion: int = 0) -> None
    ///
    /// Begin to access the windows of all ranks. May block.
    #[pyo3(signature = (assertion=0))]
    fn Lock_all(&self, py: Python<'_>, assertion: c_int) -> PyResult<()> {
        let raw = self.raw();
        // SAFETY: passes values; the library checks them.
        gil::brief(py, || unsafe { MPI_Win_lock_all(assertion, raw) })
    }

    /// Unlock_all(self) -> None
    ///
    /// End the access to the windows of all ranks. Blocks until it is complete there.
    fn Unlock_all(&self, py: Python<'_>) -> PyResult<()> {
        let raw = self.raw();
        // SAFETY: passes a value; the library checks it.
        gil::brief(py, || unsafe { MPI_Win_unlock_all(raw) })
    }

    /// Flush(self, rank: int) -> None
    ///
    /// Wait until all operations on a rank are complete there.
    fn Flush(&self, py: Python<'_>, rank: c_int) -> PyResult<()> {
        let raw = self.raw();
        // SAFETY: passes values; the library checks them.
        gil::brief(py, || unsafe { MPI_Win_flush(rank, raw) })
    }

    /// Flush_all(self) -> None
    ///
    /// Wait until all operations on all ranks are complete there.
    fn Flush_all(&self, py: Python<'_>) -> PyResult<()> {
        let raw = self.raw();
        // SAFETY: passes a value; the library checks it.
        gil::brief(py, || unsafe { MPI_Win_flush_all(raw) })
    }

    /// Flush_local(self, rank: int) -> None
    ///
    /// Wait until all operations on a rank are complete here: their buffers may be used again.
    fn Flush_local(&self, py: Python<'_>, rank: c_int) -> PyResult<()> {
        let raw = self.raw();
        // SAFETY: passes values; the library checks them.
        gil::brief(py, || unsafe { MPI_Win_flush_local(rank, raw) })
    }

    /// Flush_local_all(self) -> None
    ///
    /// Wait until all operations on all ranks are complete here: their buffers may be used again.
    fn Flush_local_all(&self, py: Python<'_>) -> PyResult<()> {
        let raw = self.raw();
        // SAFETY: passes a value; the library checks it.
        gil::brief(py, || unsafe { MPI_Win_flush_local_all(raw) })
    }

    /// Sync(self) -> None
    ///
    /// Make the public and the private copy of the window the same. Local.
    fn Sync(&self, py: Python<'_>) -> PyResult<()> {
        let raw = self.raw();
        // SAFETY: passes a value; the library checks it.
        gil::brief(py, || unsafe { MPI_Win_sync(raw) })
    }
}
