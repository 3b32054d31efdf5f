//! The state of one engine, behind one lock: its rings, its queues, its operations. One pass of progress is [`Core::poll`].
//!
//! | file | subject |
//! |---|---|
//! | `core.rs` | the state, the pass over the rings, raw operations |
//! | `send.rs` | outgoing messages |
//! | `receive.rs`, `matching.rs` | incoming messages |
//! | `large.rs`, `pieces.rs`, `stream.rs` | messages too large for a ring record |
//! | `large/alone.rs`, `large/tried.rs` | those that their receiver copies alone; which way is found to be the best |
//! | `ops.rs` | the slab of operations under way |
//! | `schedules.rs` | collectives in pieces |
//! | `check.rs` | what is looked for with `--check` |
//! | `replay.rs` | what timing decides, recorded and decided again |
//! | `trace.rs` | what is recorded with `--trace` |
//! | `tally.rs` | what is counted, and what can be set |
//! | `abroad.rs` | processes of other jobs |

use std::cell::Cell;
use std::sync::Weak;
use std::time::{Duration, Instant};

use phalanx_shm::mem::{ConstMem, MutMem};
use phalanx_shm::single_copy::ProbeWord;
use phalanx_shm::sleep::pace::give_way;
use phalanx_shm::transfer::TransferReceiver;
use phalanx_shm::{EngineGuard, Envelope, HotSet, Offset, ProcId, ProcessTag, RingConsumer, ShmError, Universe};

use crate::comm::CommInner;
use crate::datatype::{Basic, Datatype};
use crate::engine::buffer::{RecvBuf, SendBuf};
use crate::error::Result;
use crate::pt2pt::partitioned::PARTITIONED;
use crate::status::Status;

use super::abroad::Abroad;
use super::absent::Absentees;
use super::check::Check;
use super::ended::Lives;
use super::errands::Errands;
use super::large::Tried;
use super::matching::{IntMap, Pattern};
use super::ops::{Body, Copied, Data, Ops, Owner, RecvStage, SendStage, Target};
use super::receive::{Incoming, Queues};
use super::replay::Replay;
use super::schedules::Schedules;
use super::send::{Link, Outgoing};
use super::tally::Tally;
use super::trace::Trace;
use super::wait::DOZE;

pub use super::ops::RawOp;

/// Records taken from one ring before looking at the next: fairness between senders.
const BATCH: usize = 32;
/// Passes that find a ring empty before it is no longer polled.
const COLD_AFTER: u32 = 100_000;

/// The locked state of the engine.
pub struct Core {
    pub(crate) universe: Universe,
    pub(crate) me: ProcId,
    /// Largest message that goes through the ring at once.
    pub(crate) eager_limit: usize,
    /// What is shorter takes the hot path: all that goes through the ring at once, or nothing while messages are counted.
    pub(crate) eager_end: usize,
    /// Whether messages are counted.
    pub(crate) counts: bool,
    /// A tool in this process wants that.
    pub(crate) counted_by_tools: bool,
    /// Somebody outside wants that.
    pub(crate) is_observed: bool,
    pub(crate) tally: Tally,
    /// Whether to try copying straight between processes.
    pub(crate) single_copy: bool,
    /// Ranks share CPUs.
    pub(crate) crowded: bool,

    /// Rings to other processes, by slot.
    pub(crate) links: Vec<Option<Box<Link>>>,
    /// Links that have something to push.
    pub(crate) busy: Vec<ProcId>,
    /// Rings from other processes, by slot.
    pub(crate) inlets: Vec<Option<Box<Inlet>>>,
    hot: HotSet,
    /// Processes of other jobs.
    pub(crate) abroad: Abroad,

    pub(crate) contexts: IntMap<u32, Queues>,
    /// Receives in all posted queues.
    pub(crate) posted: usize,
    /// Messages in all arrived queues.
    pub(crate) arrived: usize,
    /// Steps in which a large message came nearer to its end, or in which another rank was served.
    pub(crate) steps: u64,
    /// Memory for which other ranks ask this one.
    pub(super) errands: Errands,

    pub(crate) ops: Ops,
    /// Large messages this process is copying.
    pub(crate) transfers: Vec<RawOp>,
    pub(crate) schedules: Schedules,

    /// Blocks of offers that were taken back, by token, until the receiver has seen that.
    pub(crate) withdrawn: IntMap<u64, Offset>,
    /// Blocks for large sends, free for use.
    pub(crate) blocks: Vec<Offset>,
    /// Blocks that describe a large send under way.
    pub(crate) offered: usize,
    /// Which ways large messages have gone best.
    pub(crate) tried: Tried,
    /// Pipes whose senders have not seen yet that everything has been received without them.
    pub(crate) left_pipes: Vec<TransferReceiver>,
    /// By slot: not tried yet, impossible, or the process for single copies.
    pub(crate) copyable: Vec<Option<Option<ProcessTag>>>,
    /// Which peers are known to have ended.
    pub(crate) lives: Lives,
    /// Whether the launcher lets the others go on when a rank has failed.
    pub(crate) keeps_going: bool,
    /// Where ranks may fail: something has changed that no ring tells, and no wait has looked for what.
    pub(crate) alarmed: bool,
    /// Whether a process has been found to have failed.
    pub(crate) knows_failures: Cell<bool>,
    probe: Box<ProbeWord>,
    probe_value: u64,
    /// Bytes of buffered sends under way.
    pub(crate) buffered: usize,
    /// Reused where data has to be staged.
    pub(crate) scratch: Vec<u8>,

    /// Threads of this process that sleep.
    pub(crate) sleepers: u32,
    /// Completions already announced to them.
    announced: u64,
    /// Communicators by context, for messages.
    pub(crate) comms: IntMap<u32, Weak<CommInner>>,
    /// What was found in the segment that cannot be: every call says so from then on.
    pub(crate) broken: Option<String>,
    /// What is known of the program, while it is checked.
    pub(crate) check: Option<Box<Check>>,
    /// What has been decided, while that is recorded, or repeated.
    pub(crate) replay: Option<Box<Replay>>,
    /// Who records, while the program is traced.
    pub(crate) trace: Option<Box<Trace>>,
    /// The receives whose threads run handlers.
    pub(crate) absentees: Absentees,
    /// Whether there is one of these four.
    pub(crate) attentive: bool,
    /// Messages that nobody waited for and whose receivers have ended without taking them.
    pub(crate) undelivered: Vec<String>,
}

/// Whether messages of a context are a program's own, between ranks.
pub(crate) fn is_users(ctx: u32) -> bool {
    ctx.is_multiple_of(4) && ctx & PARTITIONED == 0
}

/// Whether messages of a context are those of collective operations.
pub(crate) fn is_collective(ctx: u32) -> bool {
    !ctx.is_multiple_of(4) && ctx & PARTITIONED == 0
}

/// The context that a communicator has given to all the contexts of its own.
pub(crate) fn base_of(ctx: u32) -> u32 {
    ctx & !(PARTITIONED | 3)
}

/// The ring from one other process.
pub(crate) struct Inlet {
    pub(crate) ring: RingConsumer,
    /// Passes in a row that found it empty.
    idle: u32,
}

/// Exclusive access to the [`Core`]; see [`Engine::core`](super::Engine::core).
pub type CoreGuard<'a> = EngineGuard<'a, Core>;

impl Core {
    pub(crate) fn new(universe: Universe, me: ProcId, eager_limit: usize, single_copy: bool, crowded: bool) -> Core {
        // Any value that other memory is unlikely to hold will do.
        let stamp =
            std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |d| d.as_nanos() as u64);
        let probe_value = stamp.rotate_left(17) ^ (u64::from(me.0) << 48) ^ 0x9E37_79B9_7F4A_7C15;
        let check = super::check::is_wanted().then(Box::default);
        Core {
            universe,
            me,
            eager_limit,
            eager_end: if check.is_some() { 0 } else { eager_limit + 1 },
            attentive: check.is_some(),
            check,
            replay: None,
            trace: None,
            absentees: Absentees::default(),
            counts: false,
            counted_by_tools: false,
            is_observed: false,
            tally: Tally::default(),
            single_copy,
            crowded,
            links: Vec::new(),
            busy: Vec::new(),
            inlets: Vec::new(),
            hot: HotSet::new(),
            abroad: Abroad::default(),
            contexts: IntMap::default(),
            posted: 0,
            arrived: 0,
            steps: 0,
            errands: Errands::default(),
            ops: Ops::default(),
            transfers: Vec::new(),
            schedules: Schedules::default(),
            withdrawn: IntMap::default(),
            blocks: Vec::new(),
            offered: 0,
            tried: Tried::default(),
            left_pipes: Vec::new(),
            copyable: Vec::new(),
            lives: Lives::default(),
            keeps_going: std::env::var_os(crate::boot::environment::KEEP_GOING).is_some_and(|v| v != "0"),
            alarmed: false,
            knows_failures: Cell::new(false),
            probe: Box::new(ProbeWord::new(probe_value)),
            probe_value,
            buffered: 0,
            scratch: Vec::new(),
            sleepers: 0,
            announced: 0,
            comms: IntMap::default(),
            broken: None,
            undelivered: Vec::new(),
        }
    }

    /// To be called when one of those comes or goes for which messages are looked at.
    pub(crate) fn set_attentive(&mut self) {
        self.attentive = self.check.is_some() || self.trace.is_some() || self.replay.is_some() || self.has_absent();
    }

    /// Address and value of this process's probe word.
    pub(crate) fn probe(&self) -> [u64; 2] {
        [self.probe.addr(), self.probe_value]
    }

    /// Makes one pass: takes what has arrived, pushes what waits, copies one chunk of each large message.
    ///
    /// Schedules are not advanced here: that needs the lock released ([`Engine::progress`](super::Engine::progress)).
    #[inline]
    pub fn poll(&mut self) {
        // By field: one load when no sender has become hot.
        let slot = self.universe.slot(self.me);
        let alarmed = self.hot.refresh(slot);
        let mut at = 0;
        while let Some(&from) = self.hot.senders().get(at) {
            at += 1;
            self.poll_ring(from);
        }
        if !self.busy.is_empty() {
            self.flush();
        }
        if !self.transfers.is_empty() {
            self.step_transfers();
        }
        if !self.errands.is_empty() {
            self.run_errands();
        }
        if alarmed {
            self.look_up();
        }
        self.settle();
    }

    /// There are new senders, an alarm, or a question.
    #[cold]
    fn look_up(&mut self) {
        self.alarmed = self.keeps_going;
        self.tell_observer();
        self.heed();
    }

    /// Wakes the threads of this process that sleep, if something they may wait for has completed.
    ///
    /// Called at the end of whatever may complete operations of other threads.
    #[inline]
    pub(crate) fn settle(&mut self) {
        if self.sleepers > 0 && self.announced != self.ops.completed {
            self.announce();
        }
    }

    /// Takes what has arrived from one sender.
    #[inline]
    pub(super) fn poll_ring(&mut self, from: ProcId) {
        let at = from.0 as usize;
        // The inlet leaves its place while its records are delivered, which may touch everything else.
        let Some(mut inlet) = self.inlets.get_mut(at).and_then(Option::take) else {
            self.open_inlet(from);
            return;
        };
        if inlet.ring.is_empty() {
            inlet.idle += 1;
            if inlet.idle > COLD_AFTER {
                inlet.idle = 0;
                let slot = self.universe.slot(self.me);
                self.hot.cool(slot, from, || inlet.ring.is_empty());
            }
            self.inlets[at] = Some(inlet);
            return;
        }
        inlet.idle = 0;
        for _ in 0..BATCH {
            match inlet.ring.peek() {
                Ok(Some(record)) => self.deliver(from, &record),
                Ok(None) => break,
                Err(error) => {
                    self.distrust(error.to_string());
                    break;
                }
            }
            inlet.ring.pop();
        }
        self.inlets[at] = Some(inlet);
    }

    /// First record from a sender: takes the receiving end of its ring, and what is there.
    #[cold]
    fn open_inlet(&mut self, from: ProcId) {
        if self.take_inlet(from) {
            self.poll_ring(from);
        }
    }

    /// Takes the receiving end of a sender's ring, if that is still to be done.
    pub(super) fn take_inlet(&mut self, from: ProcId) -> bool {
        if self.inlets.get(from.0 as usize).is_some_and(Option::is_some) {
            return false;
        }
        match self.consumer_from(from) {
            Ok(Some(ring)) => {
                let at = from.0 as usize;
                if self.inlets.len() <= at {
                    self.inlets.resize_with(at + 1, || None);
                }
                self.inlets[at] = Some(Box::new(Inlet { ring, idle: 0 }));
                return true;
            }
            Ok(None) => {}
            Err(error @ ShmError::NoSuchSlot { .. }) => {
                self.distrust(
                    ShmError::Corrupt { what: format!("the bell of process {} rings: {error}", self.me) }.to_string(),
                );
            }
            Err(error) => self.distrust(error.to_string()),
        }
        false
    }

    /// Remembers that the segment holds what cannot be; the first finding counts.
    #[cold]
    pub(crate) fn distrust(&mut self, what: String) {
        self.broken.get_or_insert(what);
    }

    /// Remembers that what process `from` has sent cannot be.
    #[cold]
    pub(crate) fn distrust_sender(&mut self, from: ProcId, what: &str) {
        let error = ShmError::Corrupt { what: format!("process {from} seems to have sent {what}") };
        self.distrust(error.to_string());
    }

    /// For a process that has waited for long: looks at every ring, whether its bell rang or not, and whether what others
    /// have written can be right.
    #[cold]
    pub(crate) fn audit(&mut self) {
        let senders: Vec<_> = self.universe.senders(self.me).collect();
        for from in senders {
            self.poll_ring(from);
        }
        self.settle();
        let sound = self
            .universe
            .audit(self.me)
            .and_then(|()| self.inlets.iter().flatten().try_for_each(|inlet| inlet.ring.audit()))
            .and_then(|()| self.links.iter().flatten().try_for_each(|link| link.ring.audit()));
        if let Err(error) = sound {
            self.distrust(error.to_string());
        }
    }

    /// Forgets a process that has left, all of whose messages have been dealt with.
    pub(crate) fn forget_process(&mut self, process: ProcId) {
        let at = process.0 as usize;
        if let Some(link) = self.links.get_mut(at) {
            *link = None;
        }
        if let Some(inlet) = self.inlets.get_mut(at) {
            *inlet = None;
        }
        if let Some(copyable) = self.copyable.get_mut(at) {
            *copyable = None;
        }
        self.busy.retain(|other| *other != process);
        self.left_pipes.retain(|pipe| !pipe.is_over() && pipe.peer() != process);
        self.lives.forget(process);
        let slot = self.universe.slot(self.me);
        self.hot.cool(slot, process, || true);
    }

    #[cold]
    fn flush(&mut self) {
        let busy = std::mem::take(&mut self.busy);
        for dest in busy {
            if !self.flush_link(dest) {
                self.mark_busy(dest);
            }
        }
    }

    #[cold]
    fn step_transfers(&mut self) {
        for op in self.transfers.clone() {
            self.step_transfer(op);
        }
    }

    /// Wakes the threads of this process that sleep: something they may wait for has completed.
    #[cold]
    pub(crate) fn announce(&mut self) {
        self.announced = self.ops.completed;
        self.universe.slot(self.me).notify();
    }

    /// Remembers a communicator for [`Core::context_name`].
    pub(crate) fn register(&mut self, ctx: u32, comm: Weak<CommInner>) {
        if self.comms.len() >= 64 && self.comms.len().is_power_of_two() {
            self.comms.retain(|_, c| c.strong_count() > 0);
        }
        self.comms.insert(ctx, comm);
    }

    /// Name of the communicator of a context, for messages.
    pub(crate) fn context_name(&self, ctx: u32) -> String {
        let base = base_of(ctx);
        match self.comms.get(&base).and_then(Weak::upgrade) {
            Some(comm) => match comm.served().and_then(|served| self.comms.get(&served)).and_then(Weak::upgrade) {
                Some(served) => served.title(),
                None => comm.title(),
            },
            None => format!("context {base}"),
        }
    }

    /// Pushes a control record with a length.
    pub(crate) fn control_sized(&mut self, dest: ProcId, kind: u8, token: u64, value: u64, len: u64) -> Result<()> {
        let envelope = Envelope { kind, ctx: 0, src: self.me.0, tag: 0, sig: 0, len, token };
        self.enqueue(dest, super::send::Pending::Control(envelope, value))
    }

    /// Starts sending bytes to a process. The memory must stay valid until the operation is done
    /// or withdrawn (promised by `ConstMem`'s constructor).
    ///
    /// # Errors
    /// When memory for the operation is short.
    pub fn isend_raw(&mut self, ctx: u32, dest: ProcId, tag: i32, data: ConstMem) -> Result<RawOp> {
        self.isend_typed(ctx, dest, tag, SendBuf::raw(data, data.len(), bytes()))
    }

    /// Starts sending typed data to a process.
    ///
    /// # Errors
    /// When memory for the operation is short.
    pub fn isend_typed(&mut self, ctx: u32, dest: ProcId, tag: i32, buf: SendBuf<'static, '_>) -> Result<RawOp> {
        let source = self.known_as(dest).0;
        let m = Outgoing { ctx, source, dest, tag, sync: false, mem: buf.mem, count: buf.count, ty: buf.ty };
        self.send_start(&m, Owner::Raw)
    }

    /// Starts receiving bytes from a process.
    ///
    /// # Errors
    /// When memory for the operation is short.
    pub fn irecv_raw(&mut self, ctx: u32, source: ProcId, tag: i32, room: MutMem) -> Result<RawOp> {
        self.irecv_typed(ctx, source, tag, RecvBuf::raw(room, room.len(), bytes()))
    }

    /// Starts receiving typed data from a process.
    ///
    /// # Errors
    /// When memory for the operation is short.
    pub fn irecv_typed(&mut self, ctx: u32, source: ProcId, tag: i32, buf: RecvBuf<'static, '_>) -> Result<RawOp> {
        self.irecv_planned(ctx, source, tag, buf, Copied::Any)
    }

    /// The same as a part of a collective.
    pub(crate) fn irecv_planned(
        &mut self,
        ctx: u32,
        source: ProcId,
        tag: i32,
        buf: RecvBuf<'static, '_>,
        copied: Copied,
    ) -> Result<RawOp> {
        let pattern = Pattern { source: source.0 as i32, tag };
        self.recv_start(&Incoming { copied, ..Incoming::of(ctx, pattern, &buf) }, Owner::Raw)
    }

    /// The outcome of an operation if it is done (which frees it), else `None`.
    #[inline]
    pub fn poll_raw(&mut self, op: RawOp) -> Option<Result<Status>> {
        self.ops.take(op)
    }

    /// Withdraws an operation: its memory is not touched any more after this returns.
    pub fn withdraw_raw(&mut self, op: RawOp) {
        if op == RawOp::DONE {
            return;
        }
        self.withdraw(op);
        self.ops.disown(op);
    }

    /// Takes an operation back, or sees to it that its memory is not touched any more.
    pub(crate) fn withdraw(&mut self, op: RawOp) {
        if !self.ops.goes_on(op) || self.cancel_recv(op) || self.cancel_send(op) {
            return;
        }
        // The peer may be copying from this memory right now; it is awake then, and says when it is done.
        let patience = Instant::now() + Duration::from_secs(1);
        while self.is_read_by_peer(op) && Instant::now() < patience {
            self.poll();
            if !give_way() {
                std::thread::sleep(DOZE);
            }
        }
        self.detach_memory(op);
    }

    fn is_read_by_peer(&mut self, op: RawOp) -> bool {
        self.ops.send(op).is_some_and(|s| matches!(s.stage, SendStage::Offered) && s.block.is_some())
    }

    /// Replaces the user's memory of an operation that goes on without its owner.
    fn detach_memory(&mut self, op: RawOp) {
        match self.ops.get(op).map(|o| &mut o.body) {
            Some(Body::Send(send)) => {
                if let Data::User { mem, count, ty } = &send.data {
                    let mut packed = vec![0; send.bytes as usize];
                    ty.pack(*count, mem, 0, &mut packed);
                    send.data = Data::Owned(packed);
                    if let SendStage::Pushing(push) = &mut send.stage {
                        push.use_packed(send.bytes);
                    }
                    let block = send.block;
                    self.data_moves(block);
                }
            }
            Some(Body::Recv(recv)) => match &mut recv.stage {
                // What still comes falls on no memory.
                RecvStage::Streaming { .. } => {
                    recv.target = Target { mem: MutMem::empty(), count: 0, ty: bytes().clone(), grow: None };
                }
                RecvStage::Piping(piping) => piping.discard = true,
                RecvStage::Pulling(pull) => {
                    let (from, remote) = pull.peer();
                    self.ops.complete(op, Ok(Status { cancelled: true, ..Status::EMPTY }));
                    self.release(from, remote);
                }
                RecvStage::Posted => {}
            },
            _ => {}
        }
    }
}

/// `MPI_BYTE`.
pub(crate) fn bytes() -> &'static Datatype {
    Datatype::predefined(Basic::Byte)
}
