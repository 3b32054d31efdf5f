//! Communication (MPI 5.0 §12.3): put, get, accumulate and their kin. Each is over, here and there, when it returns.

use phalanx_shm::Deed;
use phalanx_shm::errand::ERRAND_MOST;
use phalanx_shm::mem::{ConstMem, LEAD, MutMem, lead};
use phalanx_shm::owned::{OwnedGuard, OwnedLock, Processes};
use phalanx_shm::sleep::{Deadline, SLICE};
use smallvec::{SmallVec, smallvec};

use crate::datatype::{Basic, Datatype, Kind};
use crate::engine::buffer::{RecvBuf, SendBuf};
use crate::engine::errands::{PIECE, number_of, place_of};
use crate::engine::memory::{of, of_mut};
use crate::error::{Result, fail};
use crate::op::{Builtin, Op};
use crate::status::PROC_NULL;

use super::Window;
use super::errand::Bytes;
use super::reach::{Reach, STAGE};

/// Bytes that take less time to move than the program would need to give up a lock of its own and take it back a few times.
const BRIEF: usize = 64 << 10;

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
        self.engine().count(Deed::Window, || there.bytes as u64);
        self.moving(there.bytes, || there.write(&from))
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
        self.engine().count(Deed::Window, || there.bytes as u64);
        self.moving(there.bytes, || there.read(&mut to))
    }

    /// Moves so many bytes: if they are many, as what lasts.
    #[inline]
    fn moving<T>(&self, bytes: usize, work: impl FnOnce() -> T) -> T {
        if bytes > BRIEF { self.engine().in_around(work) } else { work() }
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
        self.engine().count(Deed::Window, || there.bytes as u64);
        self.alone(there.target, there.bytes, || combining.carry_out(from.as_ref(), result.as_mut(), &there))
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
        self.engine().count(Deed::Window, || there.bytes as u64);
        let mut words = [[0u8; 16]; 3];
        let size = ty.size().min(16);
        let [old, wanted, next] = &mut words;
        compare.at(0, size).copy_to(&mut wanted[..size]);
        new.at(0, size).copy_to(&mut next[..size]);
        self.alone(there.target, size, || {
            there.read_packed(0, &mut old[..size])?;
            if old == wanted { there.write_packed(0, &next[..size]) } else { Ok(()) }
        })?;
        result.at(0, size).copy_from(&old[..size]);
        Ok(())
    }

    /// Works on so many bytes under the lock under which elements of a target are combined.
    fn alone(&self, target: usize, bytes: usize, work: impl FnOnce() -> Result<()>) -> Result<()> {
        let lock = self.0.control.words()?.accumulates(target);
        if bytes <= BRIEF
            && let Some(_alone) = lock.take_soon(&Processes)
        {
            return work();
        }
        // The lock is free again before the program takes one of its own back.
        self.engine().in_around(|| {
            let _alone = self.wait_to_be_alone(lock)?;
            work()
        })
    }

    /// Waits for the lock. A process that was killed with it loses it. Whoever has it does not wait for anybody, so it is waited
    /// for as for a CPU; what a process that is stopped with it makes others wait for may be interrupted.
    fn wait_to_be_alone<'l>(&self, lock: &'l OwnedLock) -> Result<OwnedGuard<'l>> {
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

/// Packed bytes.
type Packed = SmallVec<[u8; 64]>;

/// Whether elements of a type follow each other from the first byte on.
fn is_dense(ty: &Datatype) -> bool {
    ty.is_contiguous() && ty.true_lb() == 0
}

impl Combining {
    /// Combines, and gives what was there.
    fn carry_out(
        &self,
        from: Option<&SendBuf<'_, '_>>,
        mut result: Option<&mut RecvBuf<'_, '_>>,
        there: &Reach<'_, '_>,
    ) -> Result<()> {
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
            return match (from, self.basic) {
                (None, _) => Ok(()),
                (Some(from), None) => {
                    from.mem.at(0, there.bytes).copy_to_mem(memory);
                    Ok(())
                }
                (Some(from), Some(basic)) => {
                    let whole = there.bytes / basic.size().max(1);
                    self.op.reduce(basic, from.mem.at(0, there.bytes), memory, whole)
                }
            };
        }
        if there.may_ask(there.bytes) && self.asked_of_target(from, result.as_deref_mut(), there)? {
            return Ok(());
        }
        self.in_pieces(from, result, there)
    }

    /// Asks the target to combine few elements itself: one request instead of one to read and one to write. False, and nothing has
    /// happened, where it is not asked.
    fn asked_of_target(
        &self,
        from: Option<&SendBuf<'_, '_>>,
        result: Option<&mut RecvBuf<'_, '_>>,
        there: &Reach<'_, '_>,
    ) -> Result<bool> {
        let Some(from) = from else { return Ok(false) };
        let basic = match self.basic {
            Some(basic) => basic.basic(),
            // What is replaced and wanted back.
            None => result.is_some().then_some(Basic::Byte),
        };
        let Some(basic) = basic.filter(|_| is_dense(from.ty) && there.ty.is_contiguous()) else { return Ok(false) };
        let (mut given, mut old) = ([0; ERRAND_MOST], [0; ERRAND_MOST]);
        let (given, old) = (&mut given[..there.bytes], &mut old[..there.bytes]);
        from.mem.at(0, there.bytes).copy_to(given);
        let how = number_of(self.builtin, basic);
        if !there.ask(there.ty.true_lb(), Bytes::Combine(how, given, old))? {
            return Ok(false);
        }
        if let Some(result) = result {
            result.ty.unpack(result.count, &mut result.mem, 0, old);
        }
        Ok(true)
    }

    /// Combines piece by piece: what was there is read, handed out, combined and written.
    fn in_pieces(
        &self,
        from: Option<&SendBuf<'_, '_>>,
        mut result: Option<&mut RecvBuf<'_, '_>>,
        there: &Reach<'_, '_>,
    ) -> Result<()> {
        let element = self.basic.map_or(1, Datatype::size).max(1);
        let most = if there.here().is_some() { STAGE } else { PIECE };
        let step = most / element * element;
        let most = there.bytes.min(step);
        // As far in its page as in the other process: between any other places some kernels' copies crawl.
        let room = if most > LEAD { LEAD } else { 0 };
        let mut old: Packed = smallvec![0; room + most];
        let lead = if room > 0 { lead(&old, there.address()) } else { 0 };
        // Elements that lie as the target's do are combined from where they are.
        let dense = from.filter(|from| self.basic.is_some() && is_dense(from.ty));
        let mut new: Packed = smallvec![0; if from.is_some() && dense.is_none() { most } else { 0 }];
        for at in (0..there.bytes).step_by(step) {
            let len = step.min(there.bytes - at);
            if let (Some(dense), Some(basic), None) = (dense, self.basic, &result)
                && self.many_asked_of_target(dense.mem.at(at as isize, len), basic, at, there)?
            {
                continue;
            }
            let (old, reads) = (&mut old[lead..lead + len], self.basic.is_some() || result.is_some());
            let (new, result) = (new.get_mut(..len).unwrap_or_default(), result.as_deref_mut());
            there.timed_combining(len, || {
                if reads {
                    there.read_packed(at, old)?;
                }
                if let Some(result) = result {
                    result.ty.unpack(result.count, &mut result.mem, at, old);
                }
                let Some(from) = from else { return Ok(()) };
                if let (Some(dense), Some(basic)) = (dense, self.basic) {
                    self.op.reduce(basic, dense.mem.at(at as isize, len), of_mut(old), len / element)?;
                    return there.write_packed(at, old);
                }
                from.ty.pack(from.count, &from.mem, at, new);
                match self.basic {
                    Some(basic) => {
                        self.combine(basic, new, old)?;
                        there.write_packed(at, old)
                    }
                    None => there.write_packed(at, new),
                }
            })?;
        }
        Ok(())
    }

    /// Asks the target to combine a piece of this process's memory with its own from packed byte `at` on: one copy between processes
    /// instead of one to read and one to write. False, and nothing has happened, where it is not asked.
    fn many_asked_of_target(
        &self,
        piece: ConstMem,
        basic: &Datatype,
        at: usize,
        there: &Reach<'_, '_>,
    ) -> Result<bool> {
        let Some(basic) = basic.basic().filter(|_| there.asks() && there.ty.is_contiguous()) else { return Ok(false) };
        let (how, place) = (number_of(self.builtin, basic), place_of(there.win.engine().me(), piece));
        there.ask(there.ty.true_lb() + at as isize, Bytes::CombineFrom(how, place, piece.len()))
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
