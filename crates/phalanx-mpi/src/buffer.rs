//! Message buffers: from an address to a buffer of the engine, which checks whether its elements can be there.

use phalanx_engine::datatype::Datatype;
use phalanx_engine::{ErrorClass, RecvBuf, SendBuf};
use phalanx_shm::mem::{ConstMem, MutMem};

use crate::consts;
use crate::entry::{Done, Failure, wrong};
use crate::param::Param;

/// The address of data to be sent.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SendPtr(pub(crate) usize);

/// The address of room for data.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RecvPtr(pub(crate) usize);

impl<W> Param<W> for SendPtr {
    type Raw = *const u8;
    #[inline]
    unsafe fn decode(raw: *const u8) -> Result<SendPtr, Failure> {
        Ok(SendPtr(raw as usize))
    }
}

impl<W> Param<W> for RecvPtr {
    type Raw = *mut u8;
    #[inline]
    unsafe fn decode(raw: *mut u8) -> Result<RecvPtr, Failure> {
        Ok(RecvPtr(raw as usize))
    }
}

/// Refuses the ABI's special addresses, other than `MPI_BOTTOM`, as a place of `count` elements: they are not memory.
#[inline]
pub(crate) fn check(at: usize, count: usize) -> Done {
    if at > consts::BUFFER_AUTOMATIC || at == consts::BOTTOM || count == 0 {
        return Ok(());
    }
    special(at)
}

#[cold]
fn special(at: usize) -> Done {
    match at {
        consts::IN_PLACE => Err(wrong(ErrorClass::Buffer, "MPI_IN_PLACE is not allowed for this buffer")),
        _ => Err(wrong(ErrorClass::Buffer, "MPI_BUFFER_AUTOMATIC is not memory")),
    }
}

impl SendPtr {
    /// The memory that `count` elements of some type may reach.
    #[inline]
    pub(crate) fn memory(self, count: usize) -> Result<ConstMem, Failure> {
        check(self.0, count)?;
        // SAFETY: the program promised that the bytes its datatype reaches from this address are valid until the
        // operation has completed.
        Ok(unsafe { ConstMem::base(self.0 as *const u8) })
    }

    /// A buffer of `count` elements.
    #[inline]
    pub(crate) fn typed(self, count: usize, ty: &Datatype) -> Result<SendBuf<'static, '_>, Failure> {
        Ok(SendBuf::raw(self.memory(count)?, count, ty))
    }
}

impl RecvPtr {
    /// The memory that `count` elements of some type may reach.
    #[inline]
    pub(crate) fn memory(self, count: usize) -> Result<MutMem, Failure> {
        check(self.0, count)?;
        // SAFETY: the program promised that the bytes its datatype reaches from this address may be written until the
        // operation has completed.
        Ok(unsafe { MutMem::base(self.0 as *mut u8) })
    }

    /// A buffer of `count` elements.
    #[inline]
    pub(crate) fn typed(self, count: usize, ty: &Datatype) -> Result<RecvBuf<'static, '_>, Failure> {
        Ok(RecvBuf::raw(self.memory(count)?, count, ty))
    }
}
