//! Message buffers: a place in memory, a count and a datatype.
//!
//! The lifetimes carry the safety: `SendBuf<'b, 't>` borrows the memory for `'b` and the datatype
//! for `'t`. Blocking operations accept any `'b`. Operations that go on after the call
//! (nonblocking, persistent) ask for `'b = 'static`: either really static memory, or a
//! [`ConstMem`]/[`MutMem`] whose (unsafe) constructor carried the promise that it stays valid
//! until the request has completed. Datatypes are kept alive by the engine where needed.

use std::marker::PhantomData;

use phalanx_shm::mem::{ConstMem, MutMem};

use crate::datatype::{Basic, Datatype};

use super::memory;

/// A message to be sent: where it lies, how many elements, of which type.
#[derive(Clone, Copy)]
pub struct SendBuf<'b, 't> {
    pub(crate) mem: ConstMem,
    pub(crate) count: usize,
    pub(crate) ty: &'t Datatype,
    borrow: PhantomData<&'b [u8]>,
}

/// A place for a message: where it lies, how many elements fit, of which type.
pub struct RecvBuf<'b, 't> {
    pub(crate) mem: MutMem,
    pub(crate) count: usize,
    pub(crate) ty: &'t Datatype,
    borrow: PhantomData<&'b mut [u8]>,
}

impl<'b> SendBuf<'b, 'static> {
    /// The elements of a slice.
    pub fn of<T: Equivalence>(data: &'b [T]) -> Self {
        SendBuf { mem: memory::of(data), count: data.len(), ty: T::datatype(), borrow: PhantomData }
    }
}

impl<'t> SendBuf<'static, 't> {
    /// `count` elements of `ty` from the base address in `mem` (which may be `MPI_BOTTOM`).
    ///
    /// `mem`'s constructor promised that all bytes the type reaches from that base stay valid
    /// until the operation has completed.
    pub fn raw(mem: ConstMem, count: usize, ty: &'t Datatype) -> Self {
        SendBuf { mem, count, ty, borrow: PhantomData }
    }
}

impl<'b> RecvBuf<'b, 'static> {
    /// The elements of a slice.
    pub fn of<T: Equivalence>(data: &'b mut [T]) -> Self {
        let count = data.len();
        RecvBuf { mem: memory::of_mut(data), count, ty: T::datatype(), borrow: PhantomData }
    }
}

impl<'t> RecvBuf<'static, 't> {
    /// Room for `count` elements of `ty` from the base address in `mem` (which may be `MPI_BOTTOM`).
    ///
    /// `mem`'s constructor promised that all bytes the type reaches from that base may be written
    /// until the operation has completed.
    pub fn raw(mem: MutMem, count: usize, ty: &'t Datatype) -> Self {
        RecvBuf { mem, count, ty, borrow: PhantomData }
    }
}

/// Makes memory for a message of bytes that is larger than the room of its receive, once it has been matched.
///
/// The function runs under the engine's lock: it may do nothing but find memory.
#[derive(Clone, Copy)]
pub struct Grow {
    make: fn([usize; 2], usize) -> Option<MutMem>,
    words: [usize; 2],
}

impl Grow {
    /// By a function that gets two words, and how many bytes are needed.
    ///
    /// The constructor of the memory that it gives promises that the bytes may be written until the operation has
    /// completed.
    pub fn by(make: fn([usize; 2], usize) -> Option<MutMem>, words: [usize; 2]) -> Grow {
        Grow { make, words }
    }

    /// Memory for a message of so many bytes, and their number, where it is needed and there is some: more than `room`.
    #[inline]
    pub(crate) fn beyond(grow: Option<Grow>, room: u64, bytes: u64) -> Option<(MutMem, usize)> {
        let grow = grow.filter(|_| bytes > room)?;
        let bytes = usize::try_from(bytes).ok()?;
        Some(((grow.make)(grow.words, bytes)?, bytes))
    }
}

mod sealed {
    pub trait Sealed {}
}

/// Rust element types that have a predefined datatype, and for which every bit pattern is valid.
pub trait Equivalence: sealed::Sealed + Copy + Send + 'static {
    /// The predefined datatype of this type.
    fn datatype() -> &'static Datatype;
}

macro_rules! equivalence {
    ($($rust:ty => $basic:ident),* $(,)?) => {$(
        impl sealed::Sealed for $rust {}
        impl Equivalence for $rust {
            fn datatype() -> &'static Datatype {
                Datatype::predefined(Basic::$basic)
            }
        }
    )*};
}

equivalence! {
    i8 => Int8, i16 => Int16, i32 => Int32, i64 => Int64,
    u8 => Uint8, u16 => Uint16, u32 => Uint32, u64 => Uint64,
    f32 => Float, f64 => Double, isize => Aint,
}

impl<'b, 't> SendBuf<'b, 't> {
    /// Bytes that hold `count` elements of a contiguous type.
    pub(crate) fn typed(bytes: &'b [u8], count: usize, ty: &'t Datatype) -> Self {
        SendBuf { mem: memory::of(bytes), count, ty, borrow: PhantomData }
    }
}
