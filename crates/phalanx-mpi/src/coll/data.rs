//! What a buffer argument and the counts, displacements and types beside it come to.

use std::ffi::c_int;

use phalanx_engine::coll::{Arg, RecvBlocks, SendBlocks};
use phalanx_engine::datatype::{Basic, Datatype};
use phalanx_engine::{Comm, ErrorClass, RecvBuf, SendBuf};
use phalanx_shm::mem::{ConstMem, MutMem};
use smallvec::SmallVec;

use crate::buffer::{self, RecvPtr, SendPtr};
use crate::comm::CommObject;
use crate::consts;
use crate::datatype::{self, TypeRef, read_types};
use crate::entry::{Failure, wrong};
use crate::handle::RawType;
use crate::param::{self, In, Number, Numbers};

/// What this rank does in an operation with a root.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    /// It is the root of an intracommunicator: both sides of the operation are here.
    Root,
    /// It gives to a root, or gets from one.
    Leaf,
    /// It is the root of an intercommunicator: only the root's side is here.
    InterRoot,
    /// It is in the root's group of an intercommunicator: it does nothing.
    Nothing,
}

impl Part {
    pub(super) fn of(comm: &Comm, root: c_int) -> Part {
        match root {
            _ if !comm.is_inter() && root == comm.rank() => Part::Root,
            consts::ROOT if comm.is_inter() => Part::InterRoot,
            consts::PROC_NULL if comm.is_inter() => Part::Nothing,
            _ => Part::Leaf,
        }
    }

    /// The side that every rank has, except in the root's group of an intercommunicator: there it is not looked at.
    pub(super) fn own<P: Place>(self, at: P, count: Number, ty: RawType) -> Result<Arg<One<P>>, Failure> {
        match self {
            Part::Root | Part::Leaf => in_place_or(at, || One::new(at, count, ty)),
            Part::InterRoot | Part::Nothing => Ok(Arg::Buf(One::nothing())),
        }
    }

    /// The side that only the root has; it is not looked at elsewhere.
    pub(super) fn at_root<T>(self, side: impl FnOnce() -> Result<T, Failure>) -> Result<Option<T>, Failure> {
        match self {
            Part::Root | Part::InterRoot => side().map(Some),
            Part::Leaf | Part::Nothing => Ok(None),
        }
    }
}

/// A side for which `MPI_IN_PLACE` may stand.
#[inline]
pub(super) fn in_place_or<P: Place, T>(at: P, side: impl FnOnce() -> Result<T, Failure>) -> Result<Arg<T>, Failure> {
    if at.in_place() { Ok(Arg::InPlace) } else { side().map(Arg::Buf) }
}

/// A side, as the engine takes it: borrowed for the time in which the operation is prepared.
pub(super) trait Lend {
    type Lent<'a>
    where
        Self: 'a;
    fn lend(&self) -> Result<Self::Lent<'_>, Failure>;
}

impl<T: Lend> Lend for Arg<T> {
    type Lent<'a>
        = Arg<T::Lent<'a>>
    where
        T: 'a;
    #[inline]
    fn lend(&self) -> Result<Arg<T::Lent<'_>>, Failure> {
        match self {
            Arg::Buf(side) => side.lend().map(Arg::Buf),
            Arg::InPlace => Ok(Arg::InPlace),
        }
    }
}

impl<T: Lend> Lend for Option<T> {
    type Lent<'a>
        = Option<T::Lent<'a>>
    where
        T: 'a;
    fn lend(&self) -> Result<Option<T::Lent<'_>>, Failure> {
        self.as_ref().map(T::lend).transpose()
    }
}

/// The address of data to be sent, or of room for data.
pub(super) trait Place: Copy {
    fn at(address: usize) -> Self;
    fn address(self) -> usize;

    /// Whether the address is `MPI_IN_PLACE`.
    fn in_place(self) -> bool {
        self.address() == consts::IN_PLACE
    }
}

impl Place for SendPtr {
    fn at(address: usize) -> SendPtr {
        SendPtr(address)
    }
    fn address(self) -> usize {
        self.0
    }
}

impl Place for RecvPtr {
    fn at(address: usize) -> RecvPtr {
        RecvPtr(address)
    }
    fn address(self) -> usize {
        self.0
    }
}

/// Elements in one piece.
pub(super) struct One<P> {
    at: P,
    count: usize,
    ty: TypeRef,
}

impl<P: Place> One<P> {
    #[inline]
    pub(super) fn new(at: P, count: Number, ty: RawType) -> Result<One<P>, Failure> {
        let ty = datatype::find(ty)?;
        Ok(One { at, count: param::count(count.0)?.0, ty })
    }

    /// No elements.
    pub(super) fn nothing() -> One<P> {
        One {
            at: P::at(consts::BOTTOM),
            count: 0,
            ty: TypeRef::Static(Datatype::predefined(Basic::Byte), consts::BYTE),
        }
    }

    /// As many elements `n` times over.
    pub(super) fn times(self, n: usize) -> Result<One<P>, Failure> {
        match self.count.checked_mul(n) {
            Some(count) => Ok(One { count, ..self }),
            None => Err(wrong(
                ErrorClass::Count,
                format!("{} elements in each of {n} blocks are more than fits an address space", self.count),
            )),
        }
    }
}

impl Lend for One<SendPtr> {
    type Lent<'a> = SendBuf<'static, 'a>;
    #[inline]
    fn lend(&self) -> Result<SendBuf<'static, '_>, Failure> {
        self.at.typed(self.count, &self.ty)
    }
}

impl Lend for One<RecvPtr> {
    type Lent<'a> = RecvBuf<'static, 'a>;
    #[inline]
    fn lend(&self) -> Result<RecvBuf<'static, '_>, Failure> {
        self.at.typed(self.count, &self.ty)
    }
}

/// A block for each rank of the other side, or for each neighbour.
pub(super) enum Blocks<P> {
    /// Equal ones, one after the other.
    Equal(One<P>),
    /// Counts, and displacements in elements.
    Vector { at: P, places: Places, ty: TypeRef },
    /// Counts, displacements in bytes, and types.
    Each { at: P, places: Places, types: Vec<Datatype> },
}

/// A count and a displacement for each block.
pub(super) struct Places {
    counts: SmallVec<[i64; 16]>,
    displs: SmallVec<[i64; 16]>,
}

impl Places {
    /// Both of the width that the function's counts have.
    pub(super) fn read(counts: Numbers, displs: Numbers, n: usize) -> Result<Places, Failure> {
        Ok(Places { counts: counts.read(n, "counts")?, displs: displs.read(n, "displacements")? })
    }

    /// Displacements in bytes, which are addresses in both widths of the function.
    pub(super) fn in_bytes(counts: Numbers, displs: &In<isize>, n: usize) -> Result<Places, Failure> {
        let bytes = displs.read(n, "the array of displacements")?;
        Ok(Places { counts: counts.read(n, "counts")?, displs: bytes.iter().map(|at| *at as i64).collect() })
    }

    /// The largest count.
    fn most(&self) -> usize {
        self.counts.iter().max().and_then(|count| usize::try_from(*count).ok()).unwrap_or(0)
    }
}

/// How many ranks the other side has: the remote group of an intercommunicator, else the group.
pub(super) fn ranks(comm: &CommObject) -> usize {
    let comm = &comm.comm;
    usize::try_from(if comm.is_inter() { comm.remote_size() } else { comm.size() }).unwrap_or(0)
}

impl<P: Place> Blocks<P> {
    /// `n` blocks of `count` elements.
    pub(super) fn equal(at: P, count: Number, ty: RawType, n: usize) -> Result<Blocks<P>, Failure> {
        One::new(at, count, ty)?.times(n).map(Blocks::Equal)
    }

    /// `n` counts and displacements.
    pub(super) fn vector(at: P, counts: Numbers, displs: Numbers, ty: RawType, n: usize) -> Result<Blocks<P>, Failure> {
        let ty = datatype::find(ty)?;
        let places = Places::read(counts, displs, n)?;
        buffer::check(at.address(), places.most())?;
        Ok(Blocks::Vector { at, places, ty })
    }

    /// Places in bytes, and as many types.
    pub(super) fn each(at: P, places: Places, types: &In<RawType>) -> Result<Blocks<P>, Failure> {
        let types = read_types(types, places.counts.len())?;
        buffer::check(at.address(), places.most())?;
        Ok(Blocks::Each { at, places, types })
    }
}

impl Lend for Blocks<SendPtr> {
    type Lent<'a> = SendBlocks<'static, 'a>;
    fn lend(&self) -> Result<SendBlocks<'static, '_>, Failure> {
        // SAFETY: the program promised that what its counts, displacements and types reach from here is valid until the
        // operation has completed.
        let base = |at: SendPtr| unsafe { ConstMem::base(at.0 as *const u8) };
        Ok(match self {
            Blocks::Equal(all) => all.lend()?.into(),
            Blocks::Vector { at, places, ty } => SendBlocks::raw(base(*at), &places.counts, &places.displs, ty),
            Blocks::Each { at, places, types } => SendBlocks::each(base(*at), &places.counts, &places.displs, types),
        })
    }
}

impl Lend for Blocks<RecvPtr> {
    type Lent<'a> = RecvBlocks<'static, 'a>;
    fn lend(&self) -> Result<RecvBlocks<'static, '_>, Failure> {
        // SAFETY: as for what is sent, for writing.
        let base = |at: RecvPtr| unsafe { MutMem::base(at.0 as *mut u8) };
        Ok(match self {
            Blocks::Equal(all) => all.lend()?.into(),
            Blocks::Vector { at, places, ty } => RecvBlocks::raw(base(*at), &places.counts, &places.displs, ty),
            Blocks::Each { at, places, types } => RecvBlocks::each(base(*at), &places.counts, &places.displs, types),
        })
    }
}
