//! Large messages: the sender offers, the receiver fetches.
//!
//! ```text
//! sender                                     receiver
//!   block := where the data lies
//!   OFFER(block)  ------------------------>    matched; state: offered -> claimed
//!                                              makes a pipe (phalanx_shm::transfer)
//!                 <------------------------  PIPE(its offset)
//!   state: claimed -> piped
//!   pushes into the pipe                       pulls out of the pipe
//!
//!   does not come: it computes                 state: claimed -> solo
//!                                              copies everything (process_vm_readv)
//!                 <------------------------  DONE
//! ```
//! The pipe is the fastest way on most machines (decision 0001) and needs both sides. A receiver that would have to sleep
//! because the sender has not opened the pipe copies alone instead, if the kernel allows; where the pipe is known to be
//! slower (`phalanx_shm::Ways`), it does so at once, from fewer bytes on in exchanges and collectives; so too in an exchange
//! among ranks that share CPUs, when it has a pipe under way already, since many pipes do not stay in the caches, and each waits
//! for a turn of its other side. Without memory for a pipe it answers STREAM, and the data comes through the ring in DATA records.
//!
//! A sender that has opened the pipe and does not come back (others compute on its CPU, or it does itself) stops nobody
//! either: the receiver goes ahead, piece by piece from the sender's memory, until the sender catches up
//! (`phalanx_shm::transfer`). So two that are seldom on a CPU at the same time are as fast as one of them alone. What was
//! read so counts only if afterwards the block's state is still PIPED and the sender is not at its end: until then its
//! data is where the block says.
//!
//! A sender that is interrupted while the receiver copies alone, and waits in vain for the end of that, packs the data and
//! says so in the state; the receiver then has it sent through the ring.
//!
//! A *block* is two lines in the segment, owned by the sending operation. Its state word also counts its uses, so that
//! a receiver that is late cannot mistake the next message's block for its own. A sender may take an
//! offer back (cancel, interrupt) as long as nobody has claimed it; the receiver then skips the message and answers DONE.
//!
//! Messages in several pieces: the block points to a list of (address, length) pairs in the sender's memory, which a
//! receiver that copies alone reads first. Many small pieces are packed on the way.

mod alone;
mod tried;

use std::sync::atomic::{AtomicU64, Ordering, fence};

use phalanx_shm::transfer::{TransferReceiver, TransferSender};
use phalanx_shm::{Offset, ProcId, ProcessTag, ShmError, Ways};

use crate::error::{Error, ErrorClass, Result};
use crate::status::Status;

use super::core::{Core, is_collective};
use super::kind;
use super::memory;
use super::ops::{Copied, Data, RawOp, RecvStage, SendStage, Target};
use super::pieces::Pieces;
use super::receive::Matched;
pub(crate) use tried::Tried;
use tried::{Course, Way};

/// Bytes moved in one step, so that other messages are not kept waiting.
const STEP: u64 = 1 << 20;
/// Passes that a pipe may stay unopened before the receiver copies alone.
const PATIENCE: u32 = 2000;
/// Bytes staged at once where data has to be packed or unpacked on the way.
pub(crate) const STAGE: usize = 64 << 10;

/// Words of a block (two lines).
const WORDS: usize = 16;
/// Number of the use, times 256, plus one of the states below.
const STATE: usize = 0;
/// Address of the data, or of the list of pieces.
const ADDRESS: usize = 1;
/// Number of pieces in the list; 0 when the data is in one piece.
const LISTED: usize = 2;
/// Address and value of the sender's probe word.
const PROBE: usize = 3;
/// Bytes of the message, as the offer says: a block that was written over is noticed.
const LENGTH: usize = 5;

const OFFERED: u64 = 0;
const CLAIMED: u64 = 1;
const WITHDRAWN: u64 = 2;
/// The sender has opened the pipe.
const PIPED: u64 = 3;
/// The receiver copies alone.
const SOLO: u64 = 4;
/// The data is not any more where the block says: it comes through the pipe only.
const MOVED: u64 = 5;
/// The receiver copied alone, and the sender has given its memory back: what was copied since does not count.
const DETACHED: u64 = 6;
/// Low bits of the state word.
const STATES: u64 = 0xff;

/// A large message that a receive has claimed.
#[derive(Clone, Copy)]
struct Offer {
    from: ProcId,
    remote: RawOp,
    block: Offset,
    /// State word as claimed.
    claimed: u64,
    /// Address of the data, or of the list of pieces, and how many are in the list.
    told: [u64; 2],
    matched: Matched,
    /// Bytes that are received.
    end: u64,
}

impl Offer {
    /// Where the data lies in the sender's memory.
    fn pieces(&self, process: ProcessTag) -> Option<Pieces> {
        match self.told {
            [address, 0] => Some(Pieces::one(address as i64, self.matched.bytes)),
            [address, listed] => Pieces::fetch(process, address, listed),
        }
    }
}

/// A receive through a pipe.
pub(crate) struct Piping {
    pipe: TransferReceiver,
    offer: Offer,
    /// `None`: small pieces, unpacked from a staging buffer.
    ours: Option<Pieces>,
    /// Data has come, or the attempt to do without the sender failed.
    opened: bool,
    /// Passes since data came last.
    passes: u32,
    /// The sender's pieces, once this side has gone ahead.
    theirs: Option<(ProcessTag, Pieces)>,
    /// How far the sender was when this side went ahead of it; for one that still is there it does not wait again.
    behind: Option<u64>,
    /// Going ahead is not possible.
    tied: bool,
    /// The receive was given up: the data goes nowhere.
    pub(crate) discard: bool,
    /// The trial that it is a part of.
    course: Option<Course>,
}

/// A receive that copies alone.
pub(crate) struct Pull {
    offer: Offer,
    process: ProcessTag,
    theirs: Pieces,
    ours: Option<Pieces>,
    at: u64,
    /// The trial that it is a part of.
    course: Option<Course>,
}

/// A send through a pipe.
pub(crate) struct Push {
    pipe: TransferSender,
    /// `None`: small pieces, packed through a staging buffer.
    ours: Option<Pieces>,
    end: u64,
}

impl Push {
    /// The data has been packed into memory of the operation's own.
    pub(crate) fn use_packed(&mut self, bytes: u64) {
        self.ours = Some(Pieces::one(0, bytes));
    }
}

impl Piping {
    fn new(pipe: TransferReceiver, offer: Offer, ours: Option<Pieces>, course: Option<Course>) -> Piping {
        Piping {
            pipe,
            offer,
            ours,
            opened: false,
            passes: 0,
            theirs: None,
            behind: None,
            tied: false,
            discard: false,
            course,
        }
    }

    /// The process at the other end.
    pub(crate) fn sender(&self) -> ProcId {
        self.offer.from
    }
}

impl Pull {
    /// The sender and its operation.
    pub(crate) fn peer(&self) -> (ProcId, RawOp) {
        (self.offer.from, self.offer.remote)
    }
}

/// The words of a block of process `owner`.
fn words(core: &Core, owner: ProcId, block: Offset) -> Option<&[AtomicU64]> {
    core.home_of(owner).words(block, WORDS).ok()
}

/// Moves a block from one state to another: the new word if it was in that state.
fn change(core: &Core, owner: ProcId, block: Offset, from: u64, to: u64) -> Option<u64> {
    let w = words(core, owner, block)?;
    let seen = w[STATE].load(Ordering::Acquire);
    let next = seen & !STATES | to;
    (seen & STATES == from && w[STATE].compare_exchange(seen, next, Ordering::AcqRel, Ordering::Relaxed).is_ok())
        .then_some(next)
}

impl Core {
    /// The error of a transfer with a process in a context.
    #[cold]
    fn gone_from(&self, what: &str, ctx: u32, peer: ProcId, error: &ShmError) -> Error {
        let peer = self.peer_name(ctx, peer);
        let what = format!("{what} {peer} on {} failed: {error}", self.context_name(ctx));
        if let ShmError::Corrupt { .. } | ShmError::BadRange { .. } = error {
            return Error::new(ErrorClass::Intern, what);
        }
        Error::new(ErrorClass::ProcAborted, format!("{what}; that process has probably ended"))
    }

    /// Describes a large send in a block, for the receiver to fetch from.
    pub(crate) fn describe_large(&mut self, op: RawOp) {
        let probe = self.probe();
        let Some(send) = self.ops.send(op) else {
            return;
        };
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
        let (listed, bytes) = (send.pieces.len() as u64, send.bytes);
        if listed > 0 {
            address = send.pieces.as_ptr() as u64;
        }
        let block = self.blocks.pop().or_else(|| self.universe.alloc(WORDS * 8).ok());
        if let Some(w) = block.and_then(|b| words(self, self.me, b)) {
            let uses = w[STATE].load(Ordering::Relaxed) / (STATES + 1);
            let state = uses.wrapping_add(1).wrapping_mul(STATES + 1) | OFFERED;
            let told =
                [(ADDRESS, address), (LISTED, listed), (PROBE, probe[0]), (PROBE + 1, probe[1]), (LENGTH, bytes)];
            for (at, value) in [(STATE, state)].into_iter().chain(told) {
                w[at].store(value, Ordering::Relaxed);
            }
        }
        if let Some(send) = self.ops.send(op) {
            send.block = block;
            self.offered += usize::from(block.is_some());
        }
    }

    /// Gives a block back for the next large send.
    pub(crate) fn free_block(&mut self, block: Offset) {
        self.offered -= 1;
        self.blocks.push(block);
    }

    /// Takes an offer back. False when the receiver has claimed it.
    pub(crate) fn withdraw_block(&self, block: Offset) -> bool {
        change(self, self.me, block, OFFERED, WITHDRAWN).is_some()
    }

    /// Whether the sender has taken an offer back.
    pub(crate) fn is_withdrawn(&self, from: ProcId, block: u64) -> bool {
        block != 0
            && words(self, from, Offset::new(block))
                .is_some_and(|w| w[STATE].load(Ordering::Acquire) & STATES == WITHDRAWN)
    }

    /// Claims an offer of `bytes` for a receive. False when the sender has taken it back, or the block makes no sense.
    pub(crate) fn claim(&mut self, from: ProcId, block: u64, bytes: u64) -> bool {
        if block == 0 {
            return true;
        }
        let at = Offset::new(block);
        let told = words(self, from, at).map(|w| w[LENGTH].load(Ordering::Relaxed));
        let claimed = change(self, from, at, OFFERED, CLAIMED).is_some();
        if told != Some(bytes) || !claimed && !self.is_withdrawn(from, block) {
            self.distrust_sender(from, &format!("an offer of {bytes} bytes whose description at {block} is another's"));
            return false;
        }
        claimed
    }

    /// Tells a sender that its offer is over.
    pub(crate) fn release(&mut self, to: ProcId, send: RawOp) {
        // Fails only without memory for the link; the sender then waits until the job ends.
        let _ = self.control(to, kind::DONE, send.token(), 0);
    }

    /// Starts receiving an offered and claimed message into a posted receive (already out of its queue).
    pub(crate) fn begin_large(&mut self, op: RawOp, from: ProcId, remote: RawOp, block: u64, matched: Matched) {
        let Some(recv) = self.ops.recv(op) else {
            return;
        };
        recv.target.fit(matched.bytes);
        let (target, copied) = (recv.target.clone(), recv.copied);
        let end = matched.bytes.min(target.room());
        if end == 0 {
            let outcome = self.outcome(matched, target.room(), &target.ty);
            self.release(from, remote);
            self.ops.complete(op, outcome);
            return;
        }
        let (block, ours) = (Offset::new(block), Pieces::of(target.count, &target.ty));
        let [claimed, address, listed] = words(self, from, block)
            .map_or([0; 3], |w| [STATE, ADDRESS, LISTED].map(|at| w[at].load(Ordering::Relaxed)));
        let offer = Offer { from, remote, block, claimed, told: [address, listed], matched, end };
        let ways = self.universe.ways();
        // What counts in a collective is the work of all: a root that copies into no pipe is done earlier. Who receives from several and
        // sends nothing has the most to do itself, and leaves half of all but the first message to its senders.
        let first = is_collective(matched.ctx) && self.transfers.is_empty();
        let exchanging = self.offered > 0 || copied != Copied::Any || first;
        let is_for_one = if copied == Copied::Alone {
            true
        } else if exchanging && self.crowded && !self.transfers.is_empty() {
            end >= Ways::LEAST_PIPE as u64
        } else if exchanging {
            end >= ways.exchange as u64
        } else {
            ways.is_for_one(end)
        };
        let mut course = match copied {
            Copied::Alone => None,
            _ => self.course_of(&offer, &ours, exchanging, is_for_one),
        };
        let is_for_one = course.map_or(is_for_one, |course| course.way() == Way::Alone);
        if is_for_one && let Some(mut pull) = self.take_alone(offer, &ours) {
            pull.course = course;
            self.tally.received_by_single_copy.add(end);
            self.set_recv_stage(op, RecvStage::Pulling(Box::new(pull)));
            self.transfers.push(op);
            return;
        }
        self.left_pipes.retain(|pipe| !pipe.is_over());
        let pipe = if block.is_none() { None } else { self.pipe_from(from, end) };
        let Some(mut pipe) = pipe else {
            let outcome = self.outcome(matched, target.room(), &target.ty);
            self.ask_for_stream(op, from, remote, end, outcome);
            return;
        };
        self.tally.received_by_pipe.add(end);
        if let Some(wanted) = course.take() {
            (pipe, course) = self.tried.pipe(wanted, pipe);
        }
        let at = pipe.offset().get();
        let piping = Piping::new(pipe, offer, ours, course);
        if let Some(recv) = self.ops.recv(op) {
            recv.stage = RecvStage::Piping(Box::new(piping));
        }
        self.transfers.push(op);
        if let Err(error) = self.control_sized(from, kind::PIPE, remote.token(), at, end) {
            self.ops.complete(op, Err(error));
        }
    }

    /// A pipe for a message from a process.
    fn pipe_from(&self, from: ProcId, end: u64) -> Option<TransferReceiver> {
        let pipe = TransferReceiver::create(&self.universe, end, self.me, from).ok()?;
        Some(match self.abroad(from) {
            None => pipe,
            Some(_) => {
                let (home, there) = self.at_home(from);
                pipe.from_abroad(home, there)
            }
        })
    }

    fn ask_for_stream(&mut self, op: RawOp, from: ProcId, remote: RawOp, end: u64, outcome: Result<Status>) {
        self.tally.received_by_ring.add(end);
        if let Some(recv) = self.ops.recv(op) {
            recv.stage = RecvStage::Streaming { from, at: 0, end, outcome };
        }
        if let Err(error) = self.control_sized(from, kind::STREAM, remote.token(), op.token(), end) {
            self.ops.complete(op, Err(error));
        }
    }

    /// Moves the next part of a transfer. True when the transfer is off the list.
    pub(crate) fn step_transfer(&mut self, op: RawOp) -> bool {
        enum Side {
            Pipe(Box<Piping>),
            Pull(Box<Pull>),
            Push(Box<Push>),
        }
        // Out of the operation for the duration of the step.
        let side = if let Some(recv) = self.ops.recv(op) {
            match std::mem::replace(&mut recv.stage, RecvStage::Posted) {
                RecvStage::Piping(piping) => Some(Side::Pipe(piping)),
                RecvStage::Pulling(pull) => Some(Side::Pull(pull)),
                other => {
                    recv.stage = other;
                    None
                }
            }
        } else if let Some(send) = self.ops.send(op) {
            match std::mem::replace(&mut send.stage, SendStage::Offered) {
                SendStage::Pushing(push) => Some(Side::Push(push)),
                other => {
                    send.stage = other;
                    None
                }
            }
        } else {
            None
        };
        let finished = match side {
            None => true,
            Some(Side::Pipe(piping)) => self.step_pipe(op, piping),
            Some(Side::Pull(pull)) => self.step_pull(op, pull),
            Some(Side::Push(push)) => self.step_push(op, push),
        };
        if finished {
            self.transfers.retain(|other| *other != op);
        }
        finished
    }

    fn set_recv_stage(&mut self, op: RawOp, stage: RecvStage) {
        if let Some(recv) = self.ops.recv(op) {
            recv.stage = stage;
        }
    }

    /// Completes a large receive.
    fn finish_large(&mut self, op: RawOp, matched: Matched) {
        let Some((room, ty)) = self.ops.recv(op).map(|r| (r.target.room(), r.target.ty.clone())) else {
            return;
        };
        let outcome = self.outcome(matched, room, &ty);
        self.ops.complete(op, outcome);
    }

    fn step_pipe(&mut self, op: RawOp, mut piping: Box<Piping>) -> bool {
        let Some(target) = self.ops.recv(op).map(|r| r.target.clone()) else {
            return true;
        };
        let before = piping.pipe.done();
        match self.drain_pipe(&target, &mut piping) {
            Ok(true) => return self.finish_piping(op, piping),
            Ok(false) if piping.pipe.done() != before => (piping.passes, piping.behind) = (0, None),
            Ok(false) => {
                piping.passes += 1;
                if piping.passes > PATIENCE && !piping.opened {
                    return self.go_alone(op, piping);
                }
                let still = piping.behind.is_some() && piping.pipe.sent().ok() == piping.behind;
                if (still || piping.passes > PATIENCE)
                    && self.go_ahead(&target, &mut piping)
                    && piping.pipe.is_complete()
                {
                    return self.finish_piping(op, piping);
                }
            }
            Err(error) => {
                let Offer { from, matched, .. } = piping.offer;
                let error = self.gone_from("receiving a large message from", matched.ctx, from, &error);
                self.ops.complete(op, Err(error));
                return true;
            }
        }
        self.set_recv_stage(op, RecvStage::Piping(piping));
        false
    }

    /// Everything has been received. The pipe is kept for a sender that has not seen that.
    fn finish_piping(&mut self, op: RawOp, piping: Box<Piping>) -> bool {
        let Piping { pipe, offer, course, theirs, discard, .. } = *piping;
        if let Some(course) = course
            && theirs.is_none()
            && !discard
        {
            self.tried.ended(course);
        }
        if !pipe.is_over() {
            self.left_pipes.push(pipe);
        }
        self.finish_large(op, offer.matched);
        true
    }

    /// Takes out of the pipe what is there. True when everything has been received.
    fn drain_pipe(&mut self, target: &Target, piping: &mut Piping) -> std::result::Result<bool, ShmError> {
        let stop = (piping.pipe.done() + STEP).min(piping.offer.end);
        while piping.pipe.done() < stop {
            let here = piping.pipe.available()?;
            if here == 0 {
                break;
            }
            piping.opened = true;
            self.steps += 1;
            let done = piping.pipe.done();
            let upto = (done + here as u64).min(stop);
            match &piping.ours {
                Some(ours) if !piping.discard => {
                    // Contiguous data is drained while it comes; pieces get what is there.
                    let upto = if ours.list.len() == 1 { stop } else { upto };
                    for (at, len) in ours.range(done, upto) {
                        if piping.pipe.pull(target.mem.at(at as isize, len))? < len {
                            break;
                        }
                    }
                }
                _ => {
                    let mut staged = std::mem::take(&mut self.scratch);
                    staged.resize(((upto - done) as usize).min(STAGE), 0);
                    let n = piping.pipe.pull(memory::of_mut(&mut staged));
                    if let (Ok(n), false) = (&n, piping.discard) {
                        target.ty.unpack(target.count, &mut target.mem.clone(), done as usize, &staged[..*n]);
                    }
                    self.scratch = staged;
                    n?;
                }
            }
        }
        Ok(piping.pipe.is_complete())
    }

    /// Says that the data of a send that was claimed is elsewhere, and not to be read any more where it was.
    pub(crate) fn data_moves(&self, block: Option<Offset>) {
        if let Some(block) = block
            && [(CLAIMED, MOVED), (PIPED, MOVED), (SOLO, DETACHED)]
                .iter()
                .any(|(from, to)| change(self, self.me, block, *from, *to).is_some())
        {
            // SYNC POINT pipe-source: release side, the receiver that reads what is written there next sees the new state.
            fence(Ordering::SeqCst);
        }
    }

    /// The receiver has made a pipe for `end` bytes of this send.
    pub(crate) fn start_pushing(&mut self, op: RawOp, pipe: u64, end: u64) {
        let Some(send) = self.ops.send(op) else {
            return;
        };
        let (dest, ctx, Some(block)) = (send.dest, send.ctx, send.block) else {
            return;
        };
        let ours = match &send.data {
            Data::Owned(bytes) => Some(Pieces::one(0, bytes.len() as u64)),
            Data::User { count, ty, .. } => Pieces::of(*count, ty),
        };
        if end > send.bytes {
            let what = format!("a request for {end} bytes of a message of {}", send.bytes);
            return self.distrust_sender(dest, &what);
        }
        let moved = words(self, self.me, block).is_some_and(|w| w[STATE].load(Ordering::Relaxed) & STATES == MOVED);
        if !moved && change(self, self.me, block, CLAIMED, PIPED).is_none() {
            // The receiver copies alone, and answers DONE.
            return;
        }
        let (home, there) = self.at_home(dest);
        match TransferSender::open(home, Offset::new(pipe), end, there) {
            Ok(pipe) => {
                if let Some(send) = self.ops.send(op) {
                    send.stage = SendStage::Pushing(Box::new(Push { pipe, ours, end }));
                }
                self.transfers.push(op);
                self.step_transfer(op);
            }
            Err(error) => {
                let error = self.gone_from("sending a large message to", ctx, dest, &error);
                self.finish_send(op, Err(error));
            }
        }
    }

    fn step_push(&mut self, op: RawOp, mut push: Box<Push>) -> bool {
        let Some(send) = self.ops.send(op) else {
            return true;
        };
        let (dest, ctx) = (send.dest, send.ctx);
        let data = std::mem::replace(&mut send.data, Data::Owned(Vec::new()));
        let moved = self.fill_pipe(&data, &mut push);
        if let Some(send) = self.ops.send(op) {
            send.data = data;
        }
        match moved {
            Ok(true) => self.finish_send(op, Ok(Status::EMPTY)),
            Ok(false) => {
                if let Some(send) = self.ops.send(op) {
                    send.stage = SendStage::Pushing(push);
                }
                return false;
            }
            Err(error) => {
                let error = self.gone_from("sending a large message to", ctx, dest, &error);
                self.finish_send(op, Err(error));
            }
        }
        true
    }

    /// Puts into the pipe what there is room for. True when everything has been sent.
    fn fill_pipe(&mut self, data: &Data, push: &mut Push) -> std::result::Result<bool, ShmError> {
        let stop = (push.pipe.done() + STEP).min(push.end);
        while push.pipe.done() < stop {
            let room = push.pipe.room()?;
            let done = push.pipe.done();
            if room == 0 || done >= stop {
                // Full, or the receiver was ahead.
                break;
            }
            self.steps += 1;
            let upto = (done + room as u64).min(stop);
            match (&push.ours, data) {
                (Some(ours), _) => {
                    let base = match data {
                        Data::Owned(bytes) => memory::of(bytes),
                        Data::User { mem, .. } => *mem,
                    };
                    let upto = if ours.list.len() == 1 { stop } else { upto };
                    for (at, len) in ours.range(done, upto) {
                        if push.pipe.push(base.at(at as isize, len))? < len {
                            break;
                        }
                    }
                }
                (None, Data::User { mem, count, ty }) => {
                    let mut staged = std::mem::take(&mut self.scratch);
                    staged.resize(((upto - done) as usize).min(STAGE), 0);
                    ty.pack(*count, mem, done as usize, &mut staged);
                    let n = push.pipe.push(memory::of(&staged));
                    self.scratch = staged;
                    n?;
                }
                (None, Data::Owned(_)) => break,
            }
        }
        Ok(push.pipe.is_complete())
    }

    /// Before this process sleeps: receives whose sender does not come go on without it. True when one did.
    pub(crate) fn stop_waiting_for_senders(&mut self) -> bool {
        let mut any = false;
        for op in self.transfers.clone() {
            let Some(recv) = self.ops.recv(op) else {
                continue;
            };
            match std::mem::replace(&mut recv.stage, RecvStage::Posted) {
                RecvStage::Piping(piping) if !piping.opened => {
                    if self.go_alone(op, piping) {
                        self.transfers.retain(|other| *other != op);
                    }
                    any = true;
                }
                RecvStage::Piping(mut piping) if !piping.tied => {
                    piping.passes = PATIENCE;
                    if self.step_pipe(op, piping) {
                        self.transfers.retain(|other| *other != op);
                        any = true;
                    }
                    let recv = self.ops.recv(op);
                    any |= recv.is_some_and(|r| matches!(&r.stage, RecvStage::Piping(p) if p.behind.is_some()));
                }
                other => recv.stage = other,
            }
        }
        any
    }

    /// Whether a copy is under way that only this process advances.
    pub(crate) fn must_stay_awake(&mut self) -> bool {
        let ops = &mut self.ops;
        self.transfers.iter().any(|op| ops.recv(*op).is_some_and(|r| matches!(r.stage, RecvStage::Pulling(_))))
    }
}
