//! Communication (MPI 5.0 §12.3): put, get, accumulate and their kin. Each is over, here and there, when it returns.

use phalanx_shm::mem::{ConstMem, MutMem};
use phalanx_shm::owned::{OwnedGuard, Processes};
use phalanx_shm::sleep::{Deadline, SLICE};
use smallvec::{SmallVec, smallvec};

use crate::datatype::{Basic, Datatype, Kind};
use crate::engine::buffer::{RecvBuf, SendBuf};
use crate::engine::memory::{of, of_mut};
use crate::error::{Result, fail};
use crate::op::{Builtin, Op};
use crate::status::PROC_NULL;

use super::Window;
use super::reach::{BATCH, Reach, STAGE};

/// Elements of a type at a displacement in the memory of a rank.
#[derive(Clone, Copy, Debug)]
pub struct Target<'t> {
    /// The rank; nothing happens for `MPI_PROC_NULL`.
    pub rank: i32,
    /// Units from the start of its memory to the first element.
    pub displacement: i64,
    /// How many elements.
    pub count: usize,
    /// Of which type.
    pub ty: &'t Datatype,
}

/// The one operation of a call of `MPI_Accumulate`: what is combined, and how.
struct Combining {
    op: Op,
    builtin: Builtin,
    /// What all elements are of, unless they are only moved.
    basic: Option<&'static Datatype>,
}

impl Window {
    fn at<'w, 't>(&'w self, target: Target<'t>) -> Result<Option<Reach<'w, 't>>> {
        if target.rank == PROC_NULL {
            return Ok(None);
        }
        self.reach(target.rank, target.displacement, target.count, target.ty).map(Some)
    }

    /// Writes elements to the memory of a rank (`MPI_Put`).
    ///
    /// # Errors
    /// Classes `Rank`, `Type`, `Count`, `Buffer`, `Disp`; `RmaRange`, `RmaSync`; `Truncate` when the elements are not as many
    /// bytes here and there; `ProcAborted` when the rank has ended and its memory is private.
    #[inline]
    pub fn put(&self, from: SendBuf<'_, '_>, target: Target<'_>) -> Result<()> {
        let Some(there) = self.at(target)? else { return Ok(()) };
        from.ty.check_elements(from.mem.as_ptr(), from.count)?;
        self.fits(from.count, from.ty, &there, "origin")?;
        there.write(&from)
    }

    /// Reads elements from the memory of a rank (`MPI_Get`).
    ///
    /// # Errors
    /// As [`Window::put`].
    #[inline]
    pub fn get(&self, mut to: RecvBuf<'_, '_>, target: Target<'_>) -> Result<()> {
        let Some(there) = self.at(target)? else { return Ok(()) };
        to.ty.check_elements(to.mem.as_ptr(), to.count)?;
        self.fits(to.count, to.ty, &there, "origin")?;
        there.read(&mut to)
    }

    /// Both sides of an operation are the same elements.
    #[inline]
    fn fits(&self, count: usize, ty: &Datatype, there: &Reach<'_, '_>, side: &str) -> Result<()> {
        let here = ty.bytes(count)?;
        if here != there.bytes {
            fail!(
                Truncate,
                "the {side} buffer has {here} bytes of data ({count} x {ty}), the target {} ({} x {}) in {}; they have to be the \
                 same elements",
                there.bytes,
                there.count,
                there.ty,
                self.title()
            );
        }
        Ok(())
    }

    /// Combines elements into the memory of a rank, and gives what was there if `result` is to have it (`MPI_Accumulate`,
    /// `MPI_Get_accumulate`, `MPI_Fetch_and_op`). Atomic for each element, towards all of these operations.
    ///
    /// # Errors
    /// As [`Window::put`]; class `Op` for an operation of the program's own, or one that the type does not have.
    pub fn accumulate(
        &self,
        from: Option<SendBuf<'_, '_>>,
        mut result: Option<RecvBuf<'_, '_>>,
        target: Target<'_>,
        op: &Op,
    ) -> Result<()> {
        let combining = self.combining(op, &target)?;
        let Some(there) = self.at(target)? else { return Ok(()) };
        let from = from.filter(|_| combining.builtin != Builtin::NoOp);
        if let Some(from) = &from {
            from.ty.check_elements(from.mem.as_ptr(), from.count)?;
            self.fits(from.count, from.ty, &there, "origin")?;
            let (here, basic) = (from.ty.uniform_basic(), there.ty.uniform_basic());
            if here != basic && there.bytes > 0 {
                fail!(
                    Type,
                    "the origin's elements are of {}, those of the target of {}: they have to be the same",
                    from.ty,
                    there.ty
                );
            }
        }
        if let Some(result) = &result {
            result.ty.check_elements(result.mem.as_ptr(), result.count)?;
            self.fits(result.count, result.ty, &there, "result")?;
        }
        let _alone = self.accumulating(there.target)?;
        let is_dense = |ty: &Datatype| ty.is_contiguous() && ty.true_lb() == 0;
        if let Some(memory) = there.here()
            && is_dense(there.ty)
            && from.as_ref().is_none_or(|from| is_dense(from.ty))
            && result.as_ref().is_none_or(|result| is_dense(result.ty))
        {
            // In place: no copy but those that were asked for.
            let memory = memory.at(0, there.bytes);
            if let Some(result) = &result {
                memory.as_const().copy_to_mem(result.mem.at(0, there.bytes));
            }
            return match (&from, combining.basic) {
                (None, _) => Ok(()),
                (Some(from), None) => {
                    from.mem.at(0, there.bytes).copy_to_mem(memory);
                    Ok(())
                }
                (Some(from), Some(basic)) => {
                    let whole = there.bytes / basic.size().max(1);
                    combining.op.reduce(basic, from.mem.at(0, there.bytes), memory, whole)
                }
            };
        }
        combining.in_pieces(from.as_ref(), result.as_mut(), &there)
    }

    /// Replaces one element in the memory of a rank if it equals `compare`, and gives what was there
    /// (`MPI_Compare_and_swap`). Atomic as [`Window::accumulate`]. The memory is each that of one element of the target's type.
    ///
    /// # Errors
    /// As [`Window::put`]; class `Type` for a type that is neither integer, logical nor byte.
    pub fn compare_and_swap(&self, new: ConstMem, compare: ConstMem, result: MutMem, target: Target<'_>) -> Result<()> {
        let ty = target.ty;
        let comparable = |basic: &Basic| {
            matches!(basic.kind(), Kind::Signed | Kind::Unsigned | Kind::Logical | Kind::Bool | Kind::Byte)
        };
        if ty.named().filter(comparable).is_none() {
            fail!(Type, "MPI_Compare_and_swap compares integers, logicals and bytes, not {ty}");
        }
        let Some(there) = self.at(target)? else { return Ok(()) };
        for at in [new.as_ptr(), compare.as_ptr(), result.as_ptr().cast_const()] {
            ty.check_elements(at, 1)?;
        }
        let mut words = [[0u8; 16]; 3];
        let size = ty.size().min(16);
        let [old, wanted, next] = &mut words;
        compare.at(0, size).copy_to(&mut wanted[..size]);
        new.at(0, size).copy_to(&mut next[..size]);
        {
            let _alone = self.accumulating(there.target)?;
            there.read_packed(0, &mut old[..size])?;
            if old == wanted {
                there.write_packed(0, &next[..size])?;
            }
        }
        result.at(0, size).copy_from(&old[..size]);
        Ok(())
    }

    /// The lock under which elements of a target are combined. A process that was killed with it loses it. Whoever has it does
    /// not wait for anybody, so it is waited for as for a CPU; what a process that is stopped with it makes others wait for may
    /// be interrupted.
    fn accumulating(&self, target: usize) -> Result<OwnedGuard<'_>> {
        let lock = self.0.control.words()?.accumulates(target);
        if let Some(alone) = lock.take_soon(&Processes) {
            return Ok(alone);
        }
        loop {
            if let Some(alone) = lock.lock_until(&Processes, Deadline::after(Some(SLICE))) {
                return Ok(alone);
            }
            self.engine().progress()?;
            self.engine().check_interrupt()?;
        }
    }

    fn combining(&self, op: &Op, target: &Target<'_>) -> Result<Combining> {
        let Some(builtin) = op.builtin() else {
            fail!(Op, "one-sided operations combine by predefined operations, not by {op}");
        };
        let basic = target.ty.uniform_basic().map(Datatype::predefined);
        // No data can be combined by any operation, whatever it is not of.
        let nothing = target.ty.size() == 0 || target.count == 0;
        match (builtin, basic) {
            _ if nothing => Ok(Combining { op: op.clone(), builtin, basic: None }),
            (Builtin::Replace | Builtin::NoOp, _) => Ok(Combining { op: op.clone(), builtin, basic: None }),
            (_, Some(basic)) => {
                op.check(basic)?;
                // Elements with gaps are combined one by one in room of their own.
                Ok(Combining { op: op.clone(), builtin, basic: Some(basic) })
            }
            (_, None) => fail!(Type, "{} needs elements of one predefined type, not {}", builtin.name(), target.ty),
        }
    }
}

/// Packed bytes of a piece.
type Piece = SmallVec<[u8; 64]>;

impl Combining {
    /// Combines piece by piece: what was there is read, handed out, combined and written.
    fn in_pieces(
        &self,
        from: Option<&SendBuf<'_, '_>>,
        mut result: Option<&mut RecvBuf<'_, '_>>,
        there: &Reach<'_, '_>,
    ) -> Result<()> {
        let element = self.basic.map_or(1, Datatype::size).max(1);
        // In another process, each step costs two system calls.
        let most = if there.here().is_some() { STAGE } else { BATCH };
        let step = most / element * element;
        let mut old: Piece = smallvec![0; there.bytes.min(step)];
        let mut new: Piece = smallvec![0; if from.is_some() { old.len() } else { 0 }];
        for at in (0..there.bytes).step_by(step) {
            let len = step.min(there.bytes - at);
            let (old, reads) = (&mut old[..len], self.basic.is_some() || result.is_some());
            if reads {
                there.read_packed(at, old)?;
            }
            if let Some(result) = result.as_deref_mut() {
                result.ty.unpack(result.count, &mut result.mem, at, old);
            }
            let Some(from) = from else { continue };
            let new = &mut new[..len];
            from.ty.pack(from.count, &from.mem, at, new);
            match self.basic {
                Some(basic) => {
                    self.combine(basic, new, old)?;
                    there.write_packed(at, old)?;
                }
                None => there.write_packed(at, new)?,
            }
        }
        Ok(())
    }

    /// `old = new op old`, both packed.
    fn combine(&self, basic: &Datatype, new: &[u8], old: &mut [u8]) -> Result<()> {
        let n = old.len() / basic.size().max(1);
        if basic.is_contiguous() {
            return self.op.reduce(basic, of(new), of_mut(old), n);
        }
        let room = basic.span(n)?.1 as usize;
        let (mut input, mut inout) = (vec![0u8; room], vec![0u8; room]);
        basic.unpack(n, &mut of_mut(&mut input), 0, new);
        basic.unpack(n, &mut of_mut(&mut inout), 0, old);
        self.op.reduce(basic, of(&input), of_mut(&mut inout), n)?;
        basic.pack(n, &of(&inout), 0, old);
        Ok(())
    }
}
