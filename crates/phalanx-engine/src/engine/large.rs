//! Large messages: the sender offers, the receiver fetches, and both copy when both are there.
//!
//! ```text
//! sender                                     receiver
//!   block := where the data lies
//!   OFFER(block)  ------------------------>    matched; state: offered -> claimed
//!                                              copies the first chunk (process_vm_readv)
//!                 <------------------------  HELP              when much is left
//!   while chunks left (next += CHUNK):         while chunks left (next += CHUNK):
//!     write one (process_vm_writev)              read one
//!     copied += its length                       copied += its length
//!                                              copied == all:
//!                 <------------------------  DONE
//! ```
//! A sender that is computing simply does not help: the receiver copies everything. Where single copy is
//! impossible (forbidden by the kernel, no block to be had, a chunk that fails) the receiver answers the offer with
//! STREAM instead, and the data comes through the ring in DATA records.
//!
//! A *block* is one line in the segment, owned by the sending operation until DONE; nobody touches it after that. A
//! sender may take an offer back (cancel, interrupt) as long as nobody has claimed it; the receiver
//! then skips the message and answers DONE, which frees the block.
//!
//! Messages in several pieces: the block points to a list of (address, length) pairs in the sender's memory, which the
//! receiver reads first. Many small pieces are packed first instead, in one copy (sender) or chunk by chunk (receiver).

use std::sync::atomic::{AtomicU64, Ordering};

use phalanx_shm::mem::{ConstMem, MutMem, Part};
use phalanx_shm::single_copy::{self, RemoteMem};
use phalanx_shm::{Envelope, Offset, ProcId, Record, ShmError};
use smallvec::SmallVec;

use crate::datatype::Datatype;
use crate::error::{Error, ErrorClass, Result};
use crate::status::Status;

use super::core::Core;
use super::kind;
use super::memory;
use super::ops::{Data, RawOp, RecvStage, SendStage, Target};
use super::receive::Matched;

/// Bytes copied in one go: small enough that both sides share the work and other messages are not kept waiting,
/// large enough to hide the system call.
const CHUNK: u64 = 256 << 10;
/// Bytes that must be left for the sender's help to be worth a record.
const WORTH_HELP: u64 = 2 * CHUNK;
/// Average bytes per piece below which pieces are packed instead of listed.
const PIECE: usize = 1024;
/// Pieces beyond which a message is packed instead of listed.
const PIECES: usize = 4096;
/// Bytes staged at once where data has to be packed or unpacked on the way.
pub(crate) const STAGE: usize = 64 << 10;
/// Largest payload of one DATA record: the copy in and the copy out of a stream overlap in units of this.
const STREAM_UNIT: usize = 16 << 10;

/// Words of a block (two lines).
const WORDS: usize = 16;
/// One of the states below.
const STATE: usize = 0;
/// Address of the data, or of the list of pieces.
const ADDRESS: usize = 1;
/// Number of pieces in the list; 0 when the data is in one piece.
const LISTED: usize = 2;
/// Next byte nobody has taken to copy.
const NEXT: usize = 3;
/// Bytes copied by either side since help was asked for, plus those before.
const COPIED: usize = 4;
/// The receiver's address and number of pieces, likewise.
const THEIR_ADDRESS: usize = 5;
const THEIR_LISTED: usize = 6;
/// Bytes to be copied in all.
const END: usize = 7;
/// Address and value of the sender's probe word, and of the receiver's.
const PROBE: usize = 8;
const THEIR_PROBE: usize = 10;

const OFFERED: u64 = 0;
const CLAIMED: u64 = 1;
const WITHDRAWN: u64 = 2;
/// The sender could not copy its chunk.
const FAILED: u64 = 3;

/// The receiver's side of a copy.
pub(crate) struct Pull {
    from: ProcId,
    remote: RawOp,
    block: Offset,
    pid: i32,
    theirs: Pieces,
    /// `None`: small pieces, copied through a staging buffer.
    ours: Option<Pieces>,
    /// The list the sender reads, if ours has several pieces.
    listed: Box<[[u64; 2]]>,
    at: u64,
    end: u64,
    helped: bool,
    matched: Matched,
}

/// The sender's side.
pub(crate) struct Help {
    pid: i32,
    theirs: Pieces,
    ours: Pieces,
    end: u64,
}

/// What one step of a copy came to.
enum Progress {
    /// More to do.
    More,
    /// Nothing left for this side, but the other side still copies.
    Wait,
    /// All copied.
    Complete,
}

/// Memory ranges that together hold a message, and where each begins in it.
///
/// `at` is an address in the other process, or an offset from the base of our own buffer.
pub(crate) struct Pieces {
    list: SmallVec<[Piece; 1]>,
}

#[derive(Clone, Copy)]
struct Piece {
    start: u64,
    at: i64,
    len: u64,
}

impl Pieces {
    fn one(at: i64, len: u64) -> Pieces {
        Pieces { list: SmallVec::from_elem(Piece { start: 0, at, len }, 1) }
    }

    fn new(list: impl Iterator<Item = (i64, u64)>) -> Pieces {
        let mut start = 0;
        Pieces {
            list: list
                .map(|(at, len)| {
                    start += len;
                    Piece { start: start - len, at, len }
                })
                .collect(),
        }
    }

    /// The pieces of a typed buffer, as offsets; `None` when packing is better.
    fn of(count: usize, ty: &Datatype) -> Option<Pieces> {
        if ty.is_contiguous() {
            return Some(Pieces::one(0, (count * ty.size()) as u64));
        }
        let bytes = count * ty.size();
        let mut list: Vec<(i64, u64)> = Vec::new();
        for (at, len) in ty.segments(count) {
            if list.len() == PIECES || (list.len() >= 16 && (list.len() + 1) * PIECE > bytes) {
                return None;
            }
            list.push((at as i64, len as u64));
        }
        (list.len() <= 1 || list.len() * PIECE <= bytes).then(|| Pieces::new(list.into_iter()))
    }

    /// The list of addresses that another process reads to know these pieces; empty for one piece.
    fn published(&self, base: ConstMem) -> Box<[[u64; 2]]> {
        if self.list.len() < 2 {
            return Box::default();
        }
        self.list.iter().map(|p| [base.at(p.at as isize, p.len as usize).as_ptr() as u64, p.len]).collect()
    }

    /// Address of the only piece.
    fn address(&self, base: ConstMem) -> u64 {
        self.list.first().map_or(0, |p| base.at(p.at as isize, p.len as usize).as_ptr() as u64)
    }

    /// The ranges behind message bytes `from..to`.
    fn range(&self, from: u64, to: u64) -> impl Iterator<Item = (i64, usize)> {
        let first = self.list.partition_point(|p| p.start + p.len <= from);
        self.list[first..].iter().take_while(move |p| p.start < to).map(move |p| {
            let skip = from.saturating_sub(p.start);
            let end = (p.start + p.len).min(to) - p.start;
            (p.at + skip as i64, (end - skip) as usize)
        })
    }

    fn remote(&self, from: u64, to: u64) -> SmallVec<[RemoteMem; 4]> {
        self.range(from, to).map(|(at, len)| RemoteMem { addr: at as u64, len }).collect()
    }

    fn local(&self, base: ConstMem, from: u64, to: u64) -> SmallVec<[ConstMem; 4]> {
        self.range(from, to).map(|(at, len)| base.at(at as isize, len)).collect()
    }

    fn local_mut(&self, base: MutMem, from: u64, to: u64) -> SmallVec<[MutMem; 4]> {
        self.range(from, to).map(|(at, len)| base.at(at as isize, len)).collect()
    }

    /// Reads the list that another process has published.
    fn fetch(pid: i32, address: u64, n: u64) -> Option<Pieces> {
        if n > PIECES as u64 {
            return None;
        }
        let mut list = vec![[0u64; 2]; n as usize];
        let remote = RemoteMem { addr: address, len: n as usize * 16 };
        single_copy::read(pid, remote, memory::of_mut(&mut list)).ok()?;
        Some(Pieces::new(list.into_iter().map(|[at, len]| (at as i64, len))))
    }
}

fn words(core: &Core, block: Offset) -> Option<&[AtomicU64]> {
    core.universe.words(block, WORDS).ok()
}

fn gone(what: &str, peer: ProcId, error: &ShmError) -> Error {
    Error::new(
        ErrorClass::ProcAborted,
        format!("{what} process {} failed: {error}; that process has probably ended", peer.0),
    )
}

impl Core {
    /// Describes a large send in a block, for the receiver to fetch from.
    pub(crate) fn describe_large(&mut self, op: RawOp) {
        let probe = self.probe();
        let Some(send) = self.ops.send(op) else { return };
        let mut address = 0;
        if let Data::User { mem, count, ty } = &send.data {
            match Pieces::of(*count, ty) {
                Some(pieces) => {
                    send.pieces = pieces.published(*mem);
                    address = pieces.address(*mem);
                }
                None => {
                    let mut packed = vec![0; send.bytes as usize];
                    ty.pack(*count, mem, 0, &mut packed);
                    send.data = Data::Owned(packed);
                }
            }
        }
        if let Data::Owned(bytes) = &send.data {
            address = bytes.as_ptr() as u64;
        }
        let listed = send.pieces.len() as u64;
        if listed > 0 {
            address = send.pieces.as_ptr() as u64;
        }
        let block = self.blocks.pop().or_else(|| self.universe.alloc(WORDS * 8).ok());
        if let Some(w) = block.and_then(|b| words(self, b)) {
            for (at, value) in [
                (STATE, OFFERED),
                (ADDRESS, address),
                (LISTED, listed),
                (NEXT, 0),
                (COPIED, 0),
                (PROBE, probe[0]),
                (PROBE + 1, probe[1]),
            ] {
                w[at].store(value, Ordering::Relaxed);
            }
        }
        if let Some(send) = self.ops.send(op) {
            send.block = block;
        }
    }

    /// Gives a block back for the next large send.
    pub(crate) fn free_block(&mut self, block: Offset) {
        self.blocks.push(block);
    }

    /// Takes an offer back. False when the receiver has claimed it.
    pub(crate) fn withdraw_block(&self, block: Offset) -> bool {
        words(self, block).is_some_and(|w| {
            w[STATE].compare_exchange(OFFERED, WITHDRAWN, Ordering::AcqRel, Ordering::Relaxed).is_ok()
        })
    }

    /// Whether the sender has taken an offer back.
    pub(crate) fn is_withdrawn(&self, block: u64) -> bool {
        block != 0 && words(self, Offset::new(block)).is_some_and(|w| w[STATE].load(Ordering::Acquire) == WITHDRAWN)
    }

    /// Claims an offer for a receive. False when the sender has taken it back.
    pub(crate) fn claim(&self, block: u64) -> bool {
        block == 0
            || words(self, Offset::new(block)).is_some_and(|w| {
                w[STATE].compare_exchange(OFFERED, CLAIMED, Ordering::AcqRel, Ordering::Acquire).is_ok()
            })
    }

    /// Tells a sender that its offer is over.
    pub(crate) fn release(&mut self, to: ProcId, send: RawOp) {
        // Fails only without memory for the link; the sender then waits until the job ends.
        let _ = self.control(to, kind::DONE, send.token(), 0);
    }

    /// Starts receiving an offered and claimed message into a posted receive (already out of its queue).
    pub(crate) fn begin_large(&mut self, op: RawOp, from: ProcId, remote: RawOp, block: u64, matched: Matched) {
        let Some(recv) = self.ops.recv(op) else { return };
        let target = recv.target.clone();
        let outcome = self.outcome(matched, target.room(), &target.ty);
        let end = matched.bytes.min(target.room());
        if end == 0 {
            self.release(from, remote);
            self.ops.complete(op, outcome);
            return;
        }
        let block = Offset::new(block);
        if !block.is_none()
            && let Some(pid) = self.can_copy(from, block, PROBE)
            && let Some(pull) = self.prepare_pull(&target, from, remote, block, pid, end, matched)
        {
            if let Some(recv) = self.ops.recv(op) {
                recv.stage = RecvStage::Pulling(Box::new(pull));
            }
            self.transfers.push(op);
            self.step_transfer(op);
            return;
        }
        self.ask_for_stream(op, from, remote, end, outcome);
    }

    fn ask_for_stream(&mut self, op: RawOp, from: ProcId, remote: RawOp, end: u64, outcome: Result<Status>) {
        if let Some(recv) = self.ops.recv(op) {
            recv.stage = RecvStage::Streaming { at: 0, end, outcome };
        }
        let value = op.token();
        if let Err(error) = self.control_sized(from, kind::STREAM, remote.token(), value, end) {
            self.ops.complete(op, Err(error));
        }
    }

    /// Whether single copies from and to a process work, by its probe word in a block: its pid if so.
    fn can_copy(&mut self, peer: ProcId, block: Offset, probe: usize) -> Option<i32> {
        let at = peer.0 as usize;
        if self.copyable.len() <= at {
            self.copyable.resize(at + 1, None);
        }
        if let Some(known) = self.copyable[at] {
            return known;
        }
        let pid = self.universe.slot(peer).pid();
        let w = words(self, block)?;
        let (address, value) = (w[probe].load(Ordering::Relaxed), w[probe + 1].load(Ordering::Relaxed));
        let works = self.single_copy && {
            let capability = single_copy::probe(pid, address, value);
            capability.read && capability.write
        };
        let found = works.then_some(pid);
        self.copyable[at] = Some(found);
        found
    }

    #[expect(clippy::too_many_arguments, reason = "the parts of one offer")]
    fn prepare_pull(
        &mut self,
        target: &Target,
        from: ProcId,
        remote: RawOp,
        block: Offset,
        pid: i32,
        end: u64,
        matched: Matched,
    ) -> Option<Pull> {
        let w = words(self, block)?;
        let (address, listed) = (w[ADDRESS].load(Ordering::Relaxed), w[LISTED].load(Ordering::Relaxed));
        let theirs = if listed == 0 { Pieces::one(address as i64, matched.bytes) } else { Pieces::fetch(pid, address, listed)? };
        let ours = Pieces::of(target.count, &target.ty);
        let listed = ours.as_ref().map(|p| p.published(target.mem.as_const())).unwrap_or_default();
        Some(Pull { from, remote, block, pid, theirs, ours, listed, at: 0, end, helped: false, matched })
    }

    /// Copies the next chunk of a transfer. True when the transfer is off the list.
    pub(crate) fn step_transfer(&mut self, op: RawOp) -> bool {
        enum Side {
            Pull(Box<Pull>),
            Help(Box<Help>, Offset),
        }
        // Out of the operation for the duration of the step.
        let side = if let Some(recv) = self.ops.recv(op) {
            match std::mem::replace(&mut recv.stage, RecvStage::Posted) {
                RecvStage::Pulling(pull) => Some(Side::Pull(pull)),
                other => {
                    recv.stage = other;
                    None
                }
            }
        } else if let Some(send) = self.ops.send(op) {
            match (std::mem::replace(&mut send.stage, SendStage::Offered), send.block) {
                (SendStage::Helping(help), Some(block)) => Some(Side::Help(help, block)),
                (other, _) => {
                    send.stage = other;
                    None
                }
            }
        } else {
            None
        };
        let finished = match side {
            None => true,
            Some(Side::Pull(pull)) => self.step_pull(op, pull),
            Some(Side::Help(help, block)) => self.step_help(op, help, block),
        };
        if finished {
            self.transfers.retain(|other| *other != op);
        }
        finished
    }

    fn step_pull(&mut self, op: RawOp, mut pull: Box<Pull>) -> bool {
        let outcome = match self.copy_chunk(op, &mut pull) {
            Ok(Progress::More | Progress::Wait) => {
                if let Some(recv) = self.ops.recv(op) {
                    recv.stage = RecvStage::Pulling(pull);
                }
                return false;
            }
            Ok(Progress::Complete) => match self.ops.recv(op) {
                Some(recv) => {
                    let (room, ty) = (recv.target.room(), recv.target.ty.clone());
                    self.outcome(pull.matched, room, &ty)
                }
                None => Ok(Status::EMPTY),
            },
            Err(_) if pull.at == 0 => {
                // Nothing copied yet: the memory is of a kind that cannot be copied this way, or the kernel refuses.
                let room = self.ops.recv(op).map(|r| (r.target.room(), r.target.ty.clone()));
                let outcome = room.map_or(Ok(Status::EMPTY), |(room, ty)| self.outcome(pull.matched, room, &ty));
                self.ask_for_stream(op, pull.from, pull.remote, pull.end, outcome);
                return true;
            }
            Err(error) => Err(gone("copying a large message from", pull.from, &error)),
        };
        self.release(pull.from, pull.remote);
        self.ops.complete(op, outcome);
        true
    }

    fn copy_chunk(&mut self, op: RawOp, pull: &mut Pull) -> std::result::Result<Progress, ShmError> {
        let (from, to) = if pull.helped {
            let Some(w) = words(self, pull.block) else { return Ok(Progress::Complete) };
            let from = w[NEXT].fetch_add(CHUNK, Ordering::Relaxed);
            if from >= pull.end {
                if w[STATE].load(Ordering::Acquire) == FAILED {
                    return Err(ShmError::Corrupt { what: "the sender could not copy its share".into() });
                }
                let all = w[COPIED].load(Ordering::Acquire) >= pull.end;
                return Ok(if all { Progress::Complete } else { Progress::Wait });
            }
            (from, (from + CHUNK).min(pull.end))
        } else {
            (pull.at, (pull.at + CHUNK).min(pull.end))
        };
        let theirs = pull.theirs.remote(from, to);
        if let Some(ours) = &pull.ours {
            if let Some(mem) = self.ops.recv(op).map(|r| r.target.mem) {
                single_copy::read_vectored(pull.pid, &theirs, &ours.local_mut(mem, from, to))?;
            }
        } else if let Some(target) = self.ops.recv(op).map(|r| r.target.clone()) {
            let mut staged = std::mem::take(&mut self.scratch);
            staged.resize((to - from) as usize, 0);
            let copied = single_copy::read_vectored(pull.pid, &theirs, &[memory::of_mut(&mut staged)]);
            if copied.is_ok() {
                target.ty.unpack(target.count, &mut target.mem.clone(), from as usize, &staged);
            }
            self.scratch = staged;
            copied?;
        }
        if pull.helped {
            if let Some(w) = words(self, pull.block) {
                let before = w[COPIED].fetch_add(to - from, Ordering::AcqRel);
                if before + (to - from) >= pull.end {
                    return Ok(Progress::Complete);
                }
            }
            return Ok(Progress::More);
        }
        pull.at = to;
        if to == pull.end {
            return Ok(Progress::Complete);
        }
        if from == 0 && pull.end - to >= WORTH_HELP && pull.ours.is_some() {
            self.ask_for_help(op, pull);
        }
        Ok(Progress::More)
    }

    /// Publishes where the data goes, and asks the sender to copy too.
    fn ask_for_help(&mut self, op: RawOp, pull: &mut Pull) {
        let Some(mem) = self.ops.recv(op).map(|r| r.target.mem) else { return };
        let address = match (&*pull.listed, &pull.ours) {
            ([], Some(ours)) => ours.address(mem.as_const()),
            (listed, _) => listed.as_ptr() as u64,
        };
        let probe = self.probe();
        let Some(w) = words(self, pull.block) else { return };
        w[THEIR_PROBE].store(probe[0], Ordering::Relaxed);
        w[THEIR_PROBE + 1].store(probe[1], Ordering::Relaxed);
        w[THEIR_ADDRESS].store(address, Ordering::Relaxed);
        w[THEIR_LISTED].store(pull.listed.len() as u64, Ordering::Relaxed);
        w[END].store(pull.end, Ordering::Relaxed);
        w[COPIED].store(pull.at, Ordering::Relaxed);
        w[NEXT].store(pull.at, Ordering::Release);
        // The record that follows publishes all of this; the block is ours until DONE.
        if self.control(pull.from, kind::HELP, pull.remote.token(), 0).is_ok() {
            pull.helped = true;
        }
    }

    /// The receiver asks this sender to copy its share.
    pub(crate) fn start_helping(&mut self, op: RawOp) {
        let Some(send) = self.ops.send(op) else { return };
        let (dest, Some(block)) = (send.dest, send.block) else { return };
        let ours = match &send.data {
            Data::Owned(bytes) => Some(Pieces::one(0, bytes.len() as u64)),
            Data::User { count, ty, .. } => Pieces::of(*count, ty),
        };
        let Some(ours) = ours else { return };
        // Without the means to help, not taking chunks is all there is to do.
        let Some(pid) = self.can_copy(dest, block, THEIR_PROBE) else { return };
        let Some(w) = words(self, block) else { return };
        let (address, listed, end) = (
            w[THEIR_ADDRESS].load(Ordering::Relaxed),
            w[THEIR_LISTED].load(Ordering::Relaxed),
            w[END].load(Ordering::Relaxed),
        );
        let theirs = if listed == 0 { Some(Pieces::one(address as i64, end)) } else { Pieces::fetch(pid, address, listed) };
        let Some(theirs) = theirs else { return };
        if let Some(send) = self.ops.send(op) {
            send.stage = SendStage::Helping(Box::new(Help { pid, theirs, ours, end }));
            self.transfers.push(op);
        }
    }

    fn step_help(&mut self, op: RawOp, help: Box<Help>, block: Offset) -> bool {
        let Some(w) = words(self, block) else { return true };
        let from = w[NEXT].fetch_add(CHUNK, Ordering::Relaxed);
        if from >= help.end {
            return true;
        }
        let to = (from + CHUNK).min(help.end);
        let base = match self.ops.send(op).map(|s| &s.data) {
            Some(Data::User { mem, .. }) => *mem,
            Some(Data::Owned(bytes)) => memory::of(bytes),
            None => return true,
        };
        let copied = memory::write_granted(help.pid, &help.theirs.remote(from, to), &help.ours.local(base, from, to));
        let Some(w) = words(self, block) else { return true };
        if copied.is_err() {
            w[STATE].store(FAILED, Ordering::Release);
            return true;
        }
        w[COPIED].fetch_add(to - from, Ordering::AcqRel);
        if let Some(send) = self.ops.send(op) {
            send.stage = SendStage::Helping(help);
        }
        false
    }

    /// The receiver asks for the data through the ring.
    pub(crate) fn start_streaming(&mut self, op: RawOp, to: RawOp, end: u64) {
        let Some(send) = self.ops.send(op) else { return };
        let dest = send.dest;
        send.stage = SendStage::Streaming { at: 0, end, to };
        if let Ok(link) = self.link(dest) {
            link.streams.push_back(op);
            self.mark_busy(dest);
        }
    }

    /// Pushes parts of streamed messages, in turns, as far as there is room. True when none is left.
    pub(crate) fn flush_streams(&mut self, dest: ProcId) -> bool {
        loop {
            let Some(Some(link)) = self.links.get_mut(dest.0 as usize) else { return true };
            let unit = STREAM_UNIT.min(link.ring.max_payload());
            let Some(op) = link.streams.pop_front() else { return true };
            let Some(send) = self.ops.send(op) else { continue };
            let SendStage::Streaming { at, end, to } = send.stage else { continue };
            let step = unit.min((end - at) as usize);
            let envelope = Envelope { kind: kind::DATA, len: step as u64, token: to.token(), ..Envelope::default() };
            let data = std::mem::replace(&mut send.data, Data::Owned(Vec::new()));
            let pushed = match &data {
                Data::Owned(bytes) => self.push_now(dest, &envelope, &bytes[at as usize..at as usize + step]),
                Data::User { mem, ty, .. } if ty.is_contiguous() => self.push_part(dest, &envelope, mem.at(at as isize, step)),
                Data::User { mem, count, ty } => {
                    let mut packed = std::mem::take(&mut self.scratch);
                    packed.resize(step, 0);
                    ty.pack(*count, mem, at as usize, &mut packed);
                    let pushed = self.push_now(dest, &envelope, &packed);
                    self.scratch = packed;
                    pushed
                }
            };
            let at = if pushed { at + step as u64 } else { at };
            if let Some(send) = self.ops.send(op) {
                send.data = data;
                send.stage = SendStage::Streaming { at, end, to };
            }
            if at == end {
                self.finish_send(op, Ok(Status::EMPTY));
                continue;
            }
            if let Some(Some(link)) = self.links.get_mut(dest.0 as usize) {
                if !pushed {
                    link.streams.push_front(op);
                    return false;
                }
                link.streams.push_back(op);
            }
        }
    }

    fn push_part(&mut self, dest: ProcId, envelope: &Envelope, data: ConstMem) -> bool {
        match self.links.get_mut(dest.0 as usize) {
            Some(Some(link)) => link.ring.try_push(envelope, &[Part::from(data)]),
            _ => true,
        }
    }

    /// A piece of a streamed message.
    pub(crate) fn arrive_data(&mut self, record: &Record<'_>) {
        let op = RawOp::from_token(record.envelope.token);
        let Some(recv) = self.ops.recv(op) else { return };
        let RecvStage::Streaming { at, end, .. } = &mut recv.stage else { return };
        let from = *at as usize;
        *at += record.payload_len() as u64;
        let complete = *at >= *end;
        let Target { mem, count, ty } = &recv.target;
        if ty.is_contiguous() {
            record.copy_payload_to(mem.at(from as isize, record.payload_len()));
        } else {
            self.scratch.resize(record.payload_len(), 0);
            record.copy_payload(&mut self.scratch);
            ty.unpack(*count, &mut mem.clone(), from, &self.scratch);
        }
        if complete {
            let stage = std::mem::replace(&mut recv.stage, RecvStage::Posted);
            if let RecvStage::Streaming { outcome, .. } = stage {
                self.ops.complete(op, outcome);
            }
        }
    }
}
