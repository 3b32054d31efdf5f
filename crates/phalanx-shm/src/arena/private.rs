//! A block's bytes as memory of one process: what it writes there, nobody else sees.

use core::ffi::c_void;
use core::ptr::NonNull;

use rustix::mm::{MapFlags, ProtFlags};

use super::Block;
use crate::ShmError;
use crate::heap::PAGE;

/// A copy-on-write mapping of a block: pages are shared with the block until this process writes to them. The block must
/// not change as long as this exists; it is held.
#[derive(Debug)]
pub struct PrivateView {
    start: NonNull<u8>,
    mapped: usize,
    block: Block,
}

// SAFETY: the mapping belongs to this value and is reached through its address only.
unsafe impl Send for PrivateView {}
// SAFETY: as for Send.
unsafe impl Sync for PrivateView {}

impl Block {
    /// Maps the block privately; `None` when its bytes do not begin on a page (blocks of less than 64 KiB).
    ///
    /// # Errors
    ///
    /// [`ShmError::System`] when there is no room for the mapping.
    pub fn private_view(&self) -> Result<Option<PrivateView>, ShmError> {
        let at = self.handle().at();
        if !at.is_multiple_of(PAGE) || self.is_empty() {
            return Ok(None);
        }
        let mapped = self.len().next_multiple_of(PAGE as usize);
        let flags = MapFlags::PRIVATE | MapFlags::NORESERVE;
        let protection = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: a fresh mapping at an address of the kernel's choice touches no memory of this program.
        let start =
            unsafe { rustix::mm::mmap(core::ptr::null_mut(), mapped, protection, flags, self.arena().fd(), at) };
        let what = "map a shared block privately";
        let start = start.map_err(|e| ShmError::System { what, source: e.into() })?;
        let missing = || ShmError::System { what, source: std::io::ErrorKind::InvalidData.into() };
        let start = NonNull::new(start.cast()).ok_or_else(missing)?;
        Ok(Some(PrivateView { start, mapped, block: self.clone() }))
    }
}

impl PrivateView {
    /// The first byte; valid as long as this exists.
    #[must_use]
    pub fn as_ptr(&self) -> *mut u8 {
        self.start.as_ptr()
    }

    /// Bytes of the block.
    #[must_use]
    pub fn len(&self) -> usize {
        self.block.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.block.is_empty()
    }
}

impl Drop for PrivateView {
    fn drop(&mut self) {
        // SAFETY: the mapping is this value's, and whoever used its memory borrowed it. Failure leaves it mapped.
        let _ = unsafe { rustix::mm::munmap(self.start.as_ptr().cast::<c_void>(), self.mapped) };
    }
}

#[cfg(test)]
mod tests {
    use crate::{Arena, ArenaConfig, BlockKind};

    #[test]
    fn writes_to_a_private_view_stay_there() {
        let arena = Arena::create(ArenaConfig { bytes: 64 << 20, cached: 0 }).expect("an arena");
        assert!(arena.alloc(100, BlockKind::Plain).expect("a block").private_view().expect("no error").is_none());
        let block = arena.alloc(200_000, BlockKind::Plain).expect("a block");
        block.bytes().write(0, &[7; 200_000]).expect("inside");
        let (one, two) = (block.private_view().expect("a mapping"), block.private_view().expect("a mapping"));
        let (one, two) = (one.expect("pages"), two.expect("pages"));
        let handle = block.handle();
        drop(block);
        assert_eq!(one.len(), 200_000);
        // SAFETY: inside the views, which nobody else uses.
        unsafe {
            assert_eq!(*one.as_ptr().add(199_999), 7);
            *one.as_ptr() = 1;
            assert_eq!((*one.as_ptr(), *two.as_ptr()), (1, 7));
        }
        let mut first = [0];
        arena.open(handle).expect("held by the views").bytes().read(0, &mut first).expect("inside");
        assert_eq!(first, [7]);
        drop((one, two));
        assert!(arena.open(handle).is_err());
    }
}
