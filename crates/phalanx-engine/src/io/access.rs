//! Reads and writes (MPI 5.0 §14.4).
//!
//! An access is a list of pieces of the file. Where the memory is in one piece, the kernel moves each piece straight from it or
//! to it; else the bytes go through one buffer of bounded size. Reads of pieces that are nearer to each other than a page are one
//! read: the kernel touches the pages between them anyway. Writes never write what they were not given, so that no lock is
//! needed and nobody's data in between is written back.

use std::io::ErrorKind;
use std::sync::MutexGuard;
use std::sync::atomic::Ordering;

use phalanx_shm::Deed;
use rustix::io::Errno;

use super::represent::room;
use super::together::Elements;
use super::view::{Piece, View};
use super::{File, lock, offset_of};
use crate::coll::Arg;
use crate::datatype::{Datatype, Sink};
use crate::engine::buffer::{RecvBuf, SendBuf};
use crate::engine::memory;
use crate::error::{Result, fail};
use crate::status::Status;
use phalanx_shm::mem::{ConstMem, LEAD, MutMem, lead};

/// Bytes that go through the buffer at a time: a bound of the memory that an access takes, whatever its size.
pub(super) const STAGE: usize = 1 << 20;

/// Bytes that are read at a time where pieces are picked out of what lies around them: they are still in the cache then.
const SPAN: usize = 1 << 16;

/// Pieces that are listed at a time.
const LISTED: usize = 2048;

/// Where an access takes place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// At an offset in the view, in elements.
    At(i64),
    /// At the process's own position.
    Own,
    /// At the shared position.
    Shared,
    /// At the shared position, in the order of ranks: collective.
    Ordered,
}

/// The lock of a file in atomic mode. The kernel frees it when the process ends.
struct Held<'f> {
    file: Option<&'f std::fs::File>,
    _thread: Option<MutexGuard<'f, ()>>,
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        if let Some(file) = self.file {
            // Closing the file frees it in any case.
            let _ = file.unlock();
        }
    }
}

impl File {
    /// In atomic mode, keeps accesses of others out for as long as one goes on.
    fn alone(&self, writes: bool) -> Result<Held<'_>> {
        if !self.is_atomic() {
            return Ok(Held { file: None, _thread: None });
        }
        let thread = lock(&self.exclusive);
        loop {
            let got = if writes { self.file.lock() } else { self.file.lock_shared() };
            match got {
                Ok(()) => return Ok(Held { file: Some(&self.file), _thread: Some(thread) }),
                // A signal came: whoever has the lock may have been stopped with it.
                Err(e) if e.kind() == ErrorKind::Interrupted => self.engine().check_interrupt()?,
                Err(e) => return Err(self.wrong_io(&e, "locking")),
            }
        }
    }

    /// Carries out an access of `bytes` bytes of the file at its place. `go` gets the offset and gives the bytes that were moved in
    /// the file beside the status.
    fn at_place(
        &self,
        place: Place,
        view: &View,
        bytes: Result<u64>,
        go: impl FnOnce(u64) -> Result<(u64, Status)>,
    ) -> Result<Status> {
        let elements = bytes.and_then(|bytes| {
            if !bytes.is_multiple_of(view.unit()) {
                fail!(
                    Type,
                    "{bytes} bytes are not a whole number of elements of {} ({} bytes each), in which the view counts",
                    view.etype,
                    view.unit()
                );
            }
            Ok(bytes / view.unit())
        });
        match place {
            Place::At(offset) => {
                self.random("offsets")?;
                elements?;
                go(offset_of(offset)?).map(|(_, status)| status)
            }
            Place::Own => {
                self.random("position of one process")?;
                elements?;
                let mut position = lock(&self.position);
                let (moved, status) = go(*position)?;
                *position += moved.div_ceil(view.unit());
                Ok(status)
            }
            Place::Shared => {
                let at = self.shared_word()?.fetch_add(elements?, Ordering::AcqRel);
                go(at).map(|(_, status)| status)
            }
            Place::Ordered => {
                // A process whose arguments are wrong takes part with nothing, so that the others go on.
                let mine = [*elements.as_ref().unwrap_or(&0)];
                let mut all = vec![0u64; self.group().size()];
                self.comm.allgather(Arg::Buf(SendBuf::of(&mine)), RecvBuf::of(&mut all).into())?;
                let total = all.iter().fold(0u64, |sum, n| sum.wrapping_add(*n));
                let first = self.comm.told_number(0, || Ok(self.shared_word()?.fetch_add(total, Ordering::AcqRel)))?;
                elements?;
                let rank = usize::try_from(self.comm.rank()).unwrap_or(0);
                let before = all.iter().take(rank).fold(first, |sum, n| sum.wrapping_add(*n));
                go(before).map(|(_, status)| status)
            }
        }
    }

    /// Writes a buffer.
    ///
    /// # Errors
    /// `MPI_ERR_READ_ONLY` for a file opened for reading, wrong arguments, and the classes of files.
    pub fn write(&self, place: Place, buf: SendBuf<'_, '_>) -> Result<Status> {
        self.write_as(place, buf, None)
    }

    /// Writes a buffer, all processes of the file together. Small pieces may be written in two phases.
    ///
    /// # Errors
    /// As [`File::write`]; in two phases, what goes wrong while one process writes is an error of all.
    pub fn write_all(&self, place: Place, buf: SendBuf<'_, '_>) -> Result<Status> {
        if !self.has_small_pieces() {
            return self.write(place, buf);
        }
        self.measured(|together| {
            if !together {
                return self.write(place, buf);
            }
            let mut joined = false;
            let wrote = self.write_as(place, buf, Some(&mut joined));
            if !joined {
                // The others wait for this process, whatever is wrong with its arguments.
                self.write_together(&self.view(), None)?;
            }
            wrote
        })
    }

    /// Writes a buffer; together with the others if they are to learn that this process has joined them.
    fn write_as(&self, place: Place, buf: SendBuf<'_, '_>, joined: Option<&mut bool>) -> Result<Status> {
        let view = self.view();
        let bytes = self.may_write().and_then(|()| buf.ty.check_elements(buf.mem.as_ptr(), buf.count));
        let plain = view.representation.writes_plainly();
        let bytes = bytes.and_then(|()| stored_bytes(&view, plain, buf.ty, buf.count));
        self.at_place(place, &view, bytes, |offset| {
            let _held = self.alone(true)?;
            let moved = if let Some(joined) = joined {
                *joined = true;
                let elements = Elements { offset, mem: buf.mem, count: buf.count, ty: buf.ty };
                self.write_together(&view, Some(&elements))?
            } else if plain {
                self.write_elements(&view, offset, buf.mem, buf.count, buf.ty)?
            } else {
                self.write_converted(&view, offset, buf.mem, buf.count, buf.ty)?
            };
            Ok((moved, Status { bytes: buf.ty.bytes(buf.count)? as u64, ..Status::EMPTY }))
        })
        .inspect(|status| self.engine().count(Deed::File, || status.bytes))
    }

    /// Reads into a buffer. The status counts what there was up to the end of the file.
    ///
    /// # Errors
    /// `MPI_ERR_ACCESS` for a file opened for writing, wrong arguments, and the classes of files.
    pub fn read(&self, place: Place, buf: RecvBuf<'_, '_>) -> Result<Status> {
        let view = self.view();
        let bytes = self.may_read().and_then(|()| buf.ty.check_elements(buf.mem.as_ptr(), buf.count));
        let plain = view.representation.reads_plainly();
        let bytes = bytes.and_then(|()| stored_bytes(&view, plain, buf.ty, buf.count));
        self.at_place(place, &view, bytes, |offset| {
            let _held = self.alone(false)?;
            let (moved, native) = if plain {
                let moved = self.read_elements(&view, offset, buf.mem, buf.count, buf.ty)?;
                (moved, moved)
            } else {
                self.read_converted(&view, offset, buf.mem, buf.count, buf.ty)?
            };
            Ok((moved, Status { bytes: native, ..Status::EMPTY }))
        })
        .inspect(|status| self.engine().count(Deed::File, || status.bytes))
    }

    fn may_write(&self) -> Result<()> {
        if !self.mode.write {
            fail!(ReadOnly, "'{}' was opened with MPI_MODE_RDONLY and cannot be written", self.path.display());
        }
        Ok(())
    }

    fn may_read(&self) -> Result<()> {
        if !self.mode.read {
            fail!(Access, "'{}' was opened with MPI_MODE_WRONLY and cannot be read", self.path.display());
        }
        Ok(())
    }

    /// Writes a piece whole: the kernel may take it in parts.
    pub(super) fn write_piece(&self, mem: ConstMem, at: u64) -> Result<()> {
        let mut done = 0;
        while done < mem.len() {
            match mem.slice(done, mem.len() - done).write_at(&self.file, at + done as u64) {
                Ok(0) => return Err(self.wrong(Errno::IO, "writing")),
                Ok(n) => done += n,
                Err(Errno::INTR) => {}
                Err(e) => return Err(self.wrong(e, "writing")),
            }
        }
        Ok(())
    }

    /// Reads a piece, up to the end of the file; gives its bytes.
    fn read_piece(&self, mem: MutMem, at: u64) -> Result<usize> {
        let mut done = 0;
        while done < mem.len() {
            match mem.slice(done, mem.len() - done).read_at(&self.file, at + done as u64) {
                Ok(0) => break,
                Ok(n) => done += n,
                Err(Errno::INTR) => {}
                Err(e) => return Err(self.wrong(e, "reading")),
            }
        }
        Ok(done)
    }

    fn write_elements(&self, view: &View, offset: u64, mem: ConstMem, count: usize, ty: &Datatype) -> Result<u64> {
        let total = ty.bytes(count)?;
        let mut pieces = view.pieces(offset, total)?;
        if ty.is_contiguous() {
            let (mut list, mut from) = (Vec::new(), 0);
            loop {
                pieces.list(LISTED, &mut list);
                if list.is_empty() {
                    return Ok(total as u64);
                }
                self.write_bytes(mem, from, &list)?;
                from += list.iter().map(|(_, len)| *len as isize).sum::<isize>();
            }
        }
        let mut stage = vec![0; total.min(STAGE)];
        let (mut from, mut rest) = (0, None);
        while from < total {
            let filled = ty.pack(count, &mem, from, &mut stage);
            let (chunk, next) = take(&mut pieces, rest, filled);
            self.write_bytes(memory::of(&stage[..filled]), 0, &chunk)?;
            rest = next;
            from += filled;
        }
        Ok(total as u64)
    }

    fn read_elements(&self, view: &View, offset: u64, mem: MutMem, count: usize, ty: &Datatype) -> Result<u64> {
        let total = ty.bytes(count)?;
        let store = |from: usize, data: &[u8]| {
            if ty.is_contiguous() {
                let mut mem = mem;
                mem.write(from as isize, data);
            } else {
                ty.unpack(count, &mut { mem }, from, data);
            }
        };
        let direct = |from: usize, len: usize| ty.is_contiguous().then(|| mem.at(from as isize, len));
        let mut pieces = view.pieces(offset, total)?;
        self.read_pieces(&mut |list| pieces.list(LISTED, list), direct, store)
    }

    /// Reads pieces up to the end of the file; gives their bytes. `next` lists the next ones, `direct` gives the memory of a piece
    /// if it is in one place, `store` takes data that comes through the buffer.
    fn read_pieces(
        &self,
        next: &mut dyn FnMut(&mut Vec<Piece>),
        direct: impl Fn(usize, usize) -> Option<MutMem>,
        mut store: impl FnMut(usize, &[u8]),
    ) -> Result<u64> {
        let page = rustix::param::page_size() as u64;
        let (mut list, mut room) = (Vec::new(), Vec::new());
        let mut from = 0;
        loop {
            next(&mut list);
            if list.is_empty() {
                return Ok(from as u64);
            }
            let mut pieces = &list[..];
            while let Some(&(first, len)) = pieces.first() {
                // What lies less than a page further is read with it.
                let (mut n, mut end) = (1, first + len as u64);
                for &(at, len) in &pieces[1..] {
                    if at < end || at - end >= page || at + len as u64 - first > SPAN as u64 {
                        break;
                    }
                    (n, end) = (n + 1, at + len as u64);
                }
                let (batch, rest) = pieces.split_at(n);
                pieces = rest;
                if n == 1
                    && let Some(mem) = direct(from, len)
                    && !mem.crawls_from(first)
                {
                    let got = self.read_piece(mem, first)?;
                    from += got;
                    if got < len {
                        return Ok(from as u64);
                    }
                    continue;
                }
                // More than one piece is at most a span; one piece may be longer.
                let mut begin = first;
                while begin < end {
                    let span = (end - begin).min(SPAN as u64) as usize;
                    room.resize(room.len().max(span + LEAD), 0);
                    // Half a page further in its page than the part in its own, and so is what it is moved to a little less: no
                    // copy crawls there, neither the kernel's nor ours.
                    let lead = lead(&room, begin as usize + LEAD / 2);
                    let stage = &mut room[lead..lead + span];
                    let got = self.read_piece(memory::of_mut(&mut *stage), begin)?;
                    let there = begin + got as u64;
                    for (at, len) in batch {
                        // What of the piece is in the buffer.
                        let low = (*at).max(begin);
                        let high = (at + *len as u64).min(there);
                        if low < high {
                            store(from, &stage[(low - begin) as usize..(high - begin) as usize]);
                            from += (high - low) as usize;
                        }
                    }
                    if got < span {
                        return Ok(from as u64);
                    }
                    begin += span as u64;
                }
            }
        }
    }

    /// Elements that are converted at a time, of `each` bytes in the file.
    fn group_of(each: usize) -> usize {
        (STAGE / each.max(1)).max(1)
    }

    fn write_converted(&self, view: &View, offset: u64, mem: ConstMem, count: usize, ty: &Datatype) -> Result<u64> {
        let representation = &view.representation;
        let (total, each) = (representation.bytes(ty, count)?, representation.bytes(ty, 1)?);
        let mut pieces = view.pieces(offset, total)?;
        let (group, mut first, mut rest) = (File::group_of(each), 0, None);
        let mut stage = room(each * group.min(count))?;
        while first < count {
            let n = group.min(count - first);
            let filled = &mut stage[..each * n];
            representation.write(mem.at(first as isize * ty.extent(), mem.len()), n, ty, filled)?;
            let (chunk, next) = take(&mut pieces, rest, filled.len());
            self.write_bytes(memory::of(filled), 0, &chunk)?;
            rest = next;
            first += n;
        }
        Ok(total as u64)
    }

    /// Gives the bytes that were read from the file, and the bytes of the whole elements that they make in memory.
    fn read_converted(&self, view: &View, offset: u64, mem: MutMem, count: usize, ty: &Datatype) -> Result<(u64, u64)> {
        let representation = &view.representation;
        let (total, each) = (representation.bytes(ty, count)?, representation.bytes(ty, 1)?);
        let mut pieces = view.pieces(offset, total)?;
        let (group, mut first, mut moved, mut rest) = (File::group_of(each), 0, 0, None);
        let mut stage = room(each * group.min(count))?;
        while first < count {
            let n = group.min(count - first);
            let data = &mut stage[..each * n];
            let (chunk, next) = take(&mut pieces, rest, data.len());
            rest = next;
            let mut chunk = Some(chunk);
            let got = self.read_pieces(
                &mut |list| *list = chunk.take().unwrap_or_default(),
                |_, _| None,
                |from, part| data[from..from + part.len()].copy_from_slice(part),
            )? as usize;
            moved += got as u64;
            let whole = got.checked_div(each).unwrap_or(n).min(n);
            let there = mem.at(first as isize * ty.extent(), mem.len());
            if whole > 0 {
                representation.read(there, whole, ty, &data[..each * whole])?;
            }
            first += whole;
            if whole < n {
                break;
            }
        }
        Ok((moved, ty.bytes(first)? as u64))
    }
}

/// Bytes that elements take in the file.
fn stored_bytes(view: &View, plain: bool, ty: &Datatype, count: usize) -> Result<u64> {
    let bytes = if plain { ty.bytes(count)? } else { view.representation.bytes(ty, count)? };
    Ok(bytes as u64)
}

/// The pieces of the next `bytes` bytes, and what is left of the last one.
pub(super) fn take(
    pieces: &mut impl Iterator<Item = Piece>,
    rest: Option<Piece>,
    bytes: usize,
) -> (Vec<Piece>, Option<Piece>) {
    let (mut taken, mut left, mut next) = (Vec::new(), bytes, rest);
    while left > 0 {
        let Some((at, len)) = next.take().or_else(|| pieces.next()) else { break };
        let part = len.min(left);
        taken.push((at, part));
        left -= part;
        if part < len {
            next = Some((at + part as u64, len - part));
        }
    }
    (taken, next)
}
