//! Where the memory of a target is, and copies between it and this rank's buffers.

use phalanx_shm::ShmError;
use phalanx_shm::errand::ERRAND_MOST;
use phalanx_shm::mem::{ConstMem, MutMem};
use phalanx_shm::single_copy::{self, OpenedMemory, RemoteMem};
use phalanx_shm::ways::fill;
use smallvec::{SmallVec, smallvec};

use crate::datatype::Datatype;
use crate::engine::buffer::{RecvBuf, SendBuf};
use crate::engine::memory::{base_in, of, of_mut};
use crate::error::{Error, ErrorClass, Result, fail};

use super::errand::{Asked, Bytes, timed, timed_now_and_then};
use super::{Flavor, Window};

/// Bytes moved at a time when a layout has to be packed on the way.
pub(super) const STAGE: usize = 8192;

/// Packed bytes whose pieces are told to the kernel at once, where there are pieces.
pub(super) const BATCH: usize = 1 << 18;

/// Pieces of memory; one of them, as a rule, takes no allocation.
type Pieces<T> = SmallVec<[T; 4]>;

/// Where the memory of a rank is.
#[derive(Debug)]
pub(super) enum Place {
    /// In this process: its own memory, or the segment.
    Here(MutMem),
    /// In another process; and what reading or writing few bytes there has cost, combining into few, and into many.
    There { opened: OpenedMemory, address: u64, asked: Asked, combined: Asked, many: Asked },
}

/// Elements in the memory of a target.
#[derive(Clone, Copy)]
pub(super) struct Reach<'w, 't> {
    pub(super) win: &'w Window,
    pub(super) target: usize,
    /// Bytes from the start of its memory to the base address of the elements.
    pub(super) at: isize,
    pub(super) count: usize,
    pub(super) ty: &'t Datatype,
    /// Bytes of data.
    pub(super) bytes: usize,
}

impl Window {
    /// The elements at a displacement in the memory of a rank, all of which has to be in the window.
    ///
    /// # Errors
    /// Classes `Rank`, `Type`, `Disp`, `RmaRange`, `RmaSync`.
    #[inline]
    pub(super) fn reach<'w, 't>(
        &'w self,
        rank: i32,
        disp: i64,
        count: usize,
        ty: &'t Datatype,
    ) -> Result<Reach<'w, 't>> {
        let target = self.target(rank)?;
        self.0.epochs.check_access(target, self)?;
        ty.check_committed()?;
        let part = &self.0.parts[target];
        let bytes = ty.bytes(count)?;
        if disp < 0 {
            fail!(Disp, "displacement {disp} into rank {rank} of {} is negative", self.title());
        }
        if self.0.flavor == Flavor::Dynamic {
            self.check_attached(target, disp, count, ty)?;
            return Ok(Reach { win: self, target, at: disp as isize, count, ty, bytes });
        }
        let (low, high) = ty.span(count)?;
        let at = usize::try_from(disp).ok().and_then(|disp| disp.checked_mul(part.unit));
        let at = at.and_then(|at| isize::try_from(at).ok());
        let fits = |at: isize| {
            let (from, to) = (at.checked_add(low)?, at.checked_add(high)?);
            (bytes == 0 || (from >= 0 && to as usize <= part.size)).then_some(at)
        };
        match at.and_then(fits) {
            Some(at) => Ok(Reach { win: self, target, at, count, ty, bytes }),
            None => Err(self.out_of_range(target, disp, count, ty)),
        }
    }

    #[cold]
    fn out_of_range(&self, target: usize, disp: i64, count: usize, ty: &Datatype) -> Error {
        let part = &self.0.parts[target];
        let text = format!(
            "{count} elements of {ty} at displacement {disp} (of {} bytes each) reach beyond the {} bytes of rank {target} in {}",
            part.unit,
            part.size,
            self.title()
        );
        Error::new(ErrorClass::RmaRange, text)
    }
}

/// Where `len` bytes of the data of a contiguous type lie.
fn dense(mem: ConstMem, ty: &Datatype, from: usize, len: usize) -> ConstMem {
    mem.at(ty.true_lb() + from as isize, len)
}

fn dense_mut(mem: MutMem, ty: &Datatype, from: usize, len: usize) -> MutMem {
    mem.at(ty.true_lb() + from as isize, len)
}

impl Reach<'_, '_> {
    fn place(&self) -> &Place {
        &self.win.0.parts[self.target].place
    }

    /// The base address of the elements, where they are in this process.
    #[inline]
    pub(super) fn here(&self) -> Option<MutMem> {
        match self.place() {
            // The range was checked: from its start on, the memory is a base like any other.
            Place::Here(memory) => Some(base_in(memory, self.at)),
            Place::There { .. } => None,
        }
    }

    /// Where `len` packed bytes from position `from` on are in another process, in which the elements' base address is relative
    /// to `base`.
    fn remote(&self, base: u64, from: usize, len: usize) -> Pieces<RemoteMem> {
        let piece = |(at, len)| RemoteMem { addr: base.wrapping_add_signed((self.at + at) as i64), len };
        if self.ty.is_contiguous() {
            return smallvec![piece((self.ty.true_lb() + from as isize, len))];
        }
        self.ty.segments_of(self.count, from, len).map(piece).collect()
    }

    /// Address of the first byte of the elements, in the process that has it.
    pub(super) fn address(&self) -> usize {
        let start = match self.place() {
            Place::Here(memory) => memory.as_ptr().addr() as u64,
            Place::There { address, .. } => *address,
        };
        start.wrapping_add_signed((self.at + self.ty.true_lb()) as i64) as usize
    }

    /// Runs what combines so many bytes of elements by reading and writing them, and notes now and then how long it took in another
    /// process.
    #[inline]
    pub(super) fn timed_combining<T>(&self, bytes: usize, work: impl FnOnce() -> T) -> T {
        match self.place() {
            Place::There { combined, .. } if bytes <= ERRAND_MOST => timed_now_and_then(combined, work),
            Place::There { many, .. } => timed_now_and_then(many, work),
            Place::Here(_) => work(),
        }
    }

    /// Where all of the data is in another process, as [`Reach::remote`], if it is in one piece there and here.
    fn in_one_piece(&self, base: u64, other: &Datatype) -> Option<RemoteMem> {
        let is_one = self.ty.is_contiguous() && other.is_contiguous();
        is_one.then(|| RemoteMem {
            addr: base.wrapping_add_signed((self.at + self.ty.true_lb()) as i64),
            len: self.bytes,
        })
    }

    /// Positions and lengths of what is told to the kernel at once, where there are pieces.
    fn batches(&self) -> impl Iterator<Item = (usize, usize)> {
        let bytes = self.bytes;
        (0..bytes).step_by(BATCH).map(move |at| (at, BATCH.min(bytes - at)))
    }

    /// Copies `from` here.
    pub(super) fn write(&self, from: &SendBuf<'_, '_>) -> Result<()> {
        let bytes = self.bytes;
        match self.place() {
            Place::Here(_) => {
                let Some(to) = self.here() else { return Ok(()) };
                if from.ty.is_contiguous() && self.ty.is_contiguous() {
                    fill(dense(from.mem, from.ty, 0, bytes), dense_mut(to, self.ty, 0, bytes));
                    return Ok(());
                }
                let (mut stage, mut to) = ([0; STAGE], to);
                for at in (0..bytes).step_by(STAGE) {
                    let piece = &mut stage[..STAGE.min(bytes - at)];
                    from.ty.pack(from.count, &from.mem, at, piece);
                    self.ty.unpack(self.count, &mut to, at, piece);
                }
                Ok(())
            }
            Place::There { opened, address, asked, .. } => {
                if let Some(remote) = self.in_one_piece(*address, from.ty) {
                    let from = dense(from.mem, from.ty, 0, bytes);
                    if self.may_ask(bytes) {
                        let mut sent = [0; ERRAND_MOST];
                        from.copy_to(&mut sent[..bytes]);
                        if self.ask(self.ty.true_lb(), Bytes::Write(&sent[..bytes]))? {
                            return Ok(());
                        }
                    }
                    return timed(asked, bytes, || opened.write(from, remote)).map_err(|e| self.failed(e));
                }
                for (at, len) in self.batches() {
                    let local: Pieces<ConstMem> = if from.ty.is_contiguous() {
                        smallvec![dense(from.mem, from.ty, at, len)]
                    } else {
                        from.ty.segments_of(from.count, at, len).map(|(at, len)| from.mem.at(at, len)).collect()
                    };
                    single_copy::write_vectored(opened.process(), &local, &self.remote(*address, at, len))
                        .map_err(|e| self.failed(e))?;
                }
                Ok(())
            }
        }
    }

    /// Copies these elements to `to`, which has room for them.
    pub(super) fn read(&self, to: &mut RecvBuf<'_, '_>) -> Result<()> {
        let bytes = self.bytes;
        match self.place() {
            Place::Here(_) => {
                let Some(from) = self.here().map(|memory| memory.as_const()) else { return Ok(()) };
                if to.ty.is_contiguous() && self.ty.is_contiguous() {
                    fill(dense(from, self.ty, 0, bytes), dense_mut(to.mem, to.ty, 0, bytes));
                    return Ok(());
                }
                let mut stage = [0; STAGE];
                for at in (0..bytes).step_by(STAGE) {
                    let piece = &mut stage[..STAGE.min(bytes - at)];
                    self.ty.pack(self.count, &from, at, piece);
                    to.ty.unpack(to.count, &mut to.mem, at, piece);
                }
                Ok(())
            }
            Place::There { opened, address, asked, .. } => {
                if let Some(remote) = self.in_one_piece(*address, to.ty) {
                    let to = dense_mut(to.mem, to.ty, 0, bytes);
                    if self.may_ask(bytes) {
                        let mut got = [0; ERRAND_MOST];
                        if self.ask(self.ty.true_lb(), Bytes::Read(&mut got[..bytes]))? {
                            to.copy_from(&got[..bytes]);
                            return Ok(());
                        }
                    }
                    return timed(asked, bytes, || opened.read(remote, to)).map_err(|e| self.failed(e));
                }
                for (at, len) in self.batches() {
                    let local: Pieces<MutMem> = if to.ty.is_contiguous() {
                        smallvec![dense_mut(to.mem, to.ty, at, len)]
                    } else {
                        to.ty.segments_of(to.count, at, len).map(|(at, len)| to.mem.at(at, len)).collect()
                    };
                    single_copy::read_vectored(opened.process(), &self.remote(*address, at, len), &local)
                        .map_err(|e| self.failed(e))?;
                }
                Ok(())
            }
        }
    }

    /// Copies packed bytes from position `from` of the elements to `out`.
    pub(super) fn read_packed(&self, from: usize, out: &mut [u8]) -> Result<()> {
        if let Some(memory) = self.here() {
            self.ty.pack(self.count, &memory.as_const(), from, out);
            return Ok(());
        }
        let Place::There { opened, address, asked, .. } = self.place() else { return Ok(()) };
        let is_one = self.ty.is_contiguous() && self.may_ask(out.len());
        if is_one && self.ask(self.ty.true_lb() + from as isize, Bytes::Read(out))? {
            return Ok(());
        }
        let copied = match &self.remote(*address, from, out.len())[..] {
            [one] => timed(asked, one.len, || opened.read(*one, of_mut(out))),
            pieces => single_copy::read_vectored(opened.process(), pieces, &[of_mut(out)]),
        };
        copied.map_err(|e| self.failed(e))
    }

    /// Stores packed bytes from position `from` of the elements on.
    pub(super) fn write_packed(&self, from: usize, data: &[u8]) -> Result<()> {
        if let Some(mut memory) = self.here() {
            self.ty.unpack(self.count, &mut memory, from, data);
            return Ok(());
        }
        let Place::There { opened, address, asked, .. } = self.place() else { return Ok(()) };
        let is_one = self.ty.is_contiguous() && self.may_ask(data.len());
        if is_one && self.ask(self.ty.true_lb() + from as isize, Bytes::Write(data))? {
            return Ok(());
        }
        let copied = match &self.remote(*address, from, data.len())[..] {
            [one] => timed(asked, one.len, || opened.write(of(data), *one)),
            pieces => single_copy::write_vectored(opened.process(), &[of(data)], pieces),
        };
        copied.map_err(|e| self.failed(e))
    }

    /// What the kernel's refusal means.
    #[cold]
    fn failed(&self, error: ShmError) -> Error {
        let (target, title) = (self.target, self.win.title());
        let process = self.win.group().get(target);
        let has_ended = process.is_some_and(|process| self.win.engine().has_ended(process));
        match &error {
            ShmError::SingleCopy { source, .. } => match source.kind() {
                _ if has_ended || source.raw_os_error() == Some(NO_SUCH_PROCESS) => Error::new(
                    ErrorClass::ProcAborted,
                    format!("rank {target} of {title} has ended; its memory is gone"),
                ),
                _ => Error::new(
                    ErrorClass::RmaRange,
                    format!("the memory of rank {target} of {title} is not there (any more): {error}"),
                ),
            },
            _ => Error::new(ErrorClass::Intern, error.to_string()),
        }
    }
}

/// ESRCH.
const NO_SUCH_PROCESS: i32 = 3;
