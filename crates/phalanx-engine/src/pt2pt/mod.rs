//! Point-to-point communication (MPI 5.0 §3).

pub mod buffered;
mod decided;
mod isendrecv;
pub mod partitioned;
mod probe;
mod sendrecv;

use std::time::{Duration, Instant};

use phalanx_replay::Kind;
use phalanx_shm::ProcId;
use phalanx_shm::mem::MutMem;

use crate::comm::Comm;
use crate::engine::buffer::{Grow, RecvBuf, SendBuf};
use crate::engine::core::bytes;
use crate::engine::{Core, CoreGuard, Direct, Incoming, Outgoing, Owner, Pattern, RawOp, Told, Waiting};
use crate::error::{Error, ErrorClass, Result};
use crate::request::{Recipe, Request};
use crate::status::{ANY_SOURCE, ANY_TAG, PROC_NULL, Status};

pub use partitioned::Partitioned;
pub use probe::{Message, Probed, Received};

/// How a send completes (MPI 5.0 §3.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SendMode {
    /// The buffer may be reused when it returns; it may or may not wait for the receiver.
    Standard,
    /// Completes only when the receive has started.
    Synchronous,
    /// Completes locally, through the attached buffer.
    Buffered,
    /// The receive has been posted already.
    Ready,
}

impl SendMode {
    /// Name of the blocking operation, for wait records.
    pub(crate) fn operation(self) -> &'static str {
        match self {
            SendMode::Standard => "Send",
            SendMode::Synchronous => "Ssend",
            SendMode::Buffered => "Bsend",
            SendMode::Ready => "Rsend",
        }
    }
}

/// How long a receive looks at the sender's ring before it is a wait, in the program's function, where ranks outnumber CPUs, and
/// elsewhere: for the answer of somebody who has just been sent some KiB. (By the clock: between two polls a processor pauses for
/// 10 to 60 ns.)
const SHORT: [Duration; 2] = [Duration::ZERO, Duration::from_micros(2)];
/// How long it looks there once more, before it is posted.
const DIRECT: [Duration; 2] = [Duration::ZERO, Duration::from_micros(3)];
/// Polls between two looks at the clock.
const POLLS: u32 = 16;

impl Comm {
    /// Sends and waits until `buf` may be reused (`MPI_Send`).
    ///
    /// # Errors
    /// As [`Comm::send_mode`].
    #[inline]
    pub fn send(&self, buf: SendBuf<'_, '_>, dest: i32, tag: i32) -> Result<()> {
        self.send_mode(SendMode::Standard, buf, dest, tag)
    }

    /// Sends and waits until the receive has started (`MPI_Ssend`).
    ///
    /// # Errors
    /// As [`Comm::send_mode`].
    pub fn ssend(&self, buf: SendBuf<'_, '_>, dest: i32, tag: i32) -> Result<()> {
        self.send_mode(SendMode::Synchronous, buf, dest, tag)
    }

    /// Sends through the attached buffer, without waiting for the receiver (`MPI_Bsend`).
    ///
    /// # Errors
    /// As [`Comm::send_mode`]; class `Buffer` when the attached buffer has no room.
    pub fn bsend(&self, buf: SendBuf<'_, '_>, dest: i32, tag: i32) -> Result<()> {
        self.send_mode(SendMode::Buffered, buf, dest, tag)
    }

    /// Sends to a receive that has been posted already (`MPI_Rsend`).
    ///
    /// # Errors
    /// As [`Comm::send_mode`].
    pub fn rsend(&self, buf: SendBuf<'_, '_>, dest: i32, tag: i32) -> Result<()> {
        self.send_mode(SendMode::Ready, buf, dest, tag)
    }

    /// Sends and waits until `buf` may be reused (`MPI_Send` and its kin by `mode`).
    ///
    /// # Errors
    /// Wrong rank, tag, type; a peer that died; interruption.
    #[inline]
    pub fn send_mode(&self, mode: SendMode, buf: SendBuf<'_, '_>, dest: i32, tag: i32) -> Result<()> {
        let Some(m) = self.outgoing(mode, &buf, dest, tag)? else {
            return Ok(());
        };
        if mode != SendMode::Buffered && self.0.engine.enter()?.send_now(&m)? {
            return Ok(());
        }
        self.send_slow(mode, &m)
    }

    #[cold]
    fn send_slow(&self, mode: SendMode, m: &Outgoing<'_>) -> Result<()> {
        self.0.engine.in_around(|| {
            let mut core = self.0.engine.enter()?;
            let op = match mode {
                SendMode::Buffered => self.start_buffered(&mut core, m)?,
                _ => core.send_start(m, Owner::User)?,
            };
            drop(core);
            if op == RawOp::DONE {
                return Ok(());
            }
            self.wait_op(Waiting::on(mode.operation(), m.ctx), op).map(|_| ())
        })
    }

    /// Receives a message (`MPI_Recv`).
    ///
    /// # Errors
    /// Wrong rank, tag, type; truncation; a peer that died; interruption.
    #[inline]
    pub fn recv(&self, buf: RecvBuf<'_, '_>, source: i32, tag: i32) -> Result<Status> {
        let Some((m, from)) = self.incoming(&buf, source, tag)? else {
            return Ok(Status::PROC_NULL);
        };
        if from.is_none() && self.0.engine.decides() {
            return self.recv_repeatable("Recv", &m);
        }
        {
            let mut core = self.0.engine.enter()?;
            if let Some(outcome) = recv_ready(&mut core, &m, from, || self.looks(SHORT)) {
                return outcome;
            }
            core.poll();
            if let Some(outcome) = core.recv_arrived(&m) {
                return outcome;
            }
        }
        self.recv_slow(&m, from)
    }

    /// The rest of a receive of which nothing has come for a microsecond or two.
    #[cold]
    fn recv_slow(&self, m: &Incoming<'_>, from: Option<ProcId>) -> Result<Status> {
        self.0.engine.in_around(|| self.recv_checked("Recv", self.0.engine.enter()?, m, from))
    }

    /// Which of these times a receive looks at a ring.
    fn looks(&self, times: [Duration; 2]) -> Duration {
        times[usize::from(self.engine().manners().roomy())]
    }

    /// Receives with arguments that have been checked.
    #[inline]
    pub(crate) fn recv_checked(
        &self,
        operation: &'static str,
        mut core: CoreGuard<'_>,
        m: &Incoming<'_>,
        from: Option<ProcId>,
    ) -> Result<Status> {
        if let Some(outcome) = recv_ready(&mut core, m, from, || self.looks(DIRECT)) {
            return outcome;
        }
        let op = core.recv_start(m, Owner::User)?;
        drop(core);
        self.wait_op(Waiting::on(operation, m.ctx), op)
    }

    /// Starts a send (`MPI_Isend`).
    ///
    /// # Errors
    /// As [`Comm::isend_mode`].
    pub fn isend(&self, buf: SendBuf<'static, '_>, dest: i32, tag: i32) -> Result<Request> {
        self.isend_mode(SendMode::Standard, buf, dest, tag)
    }

    /// Starts a send (`MPI_Isend` and its kin by `mode`).
    ///
    /// # Errors
    /// As [`Comm::send_mode`], as far as known at the start.
    pub fn isend_mode(&self, mode: SendMode, buf: SendBuf<'static, '_>, dest: i32, tag: i32) -> Result<Request> {
        let op = self.start_send(mode, &buf, dest, tag)?;
        Ok(Request::of_op(self.engine(), op, Status::EMPTY))
    }

    /// The start of a nonblocking or persistent send.
    pub(crate) fn start_send(&self, mode: SendMode, buf: &SendBuf<'static, '_>, dest: i32, tag: i32) -> Result<RawOp> {
        let Some(m) = self.outgoing(mode, buf, dest, tag)? else {
            return Ok(RawOp::DONE);
        };
        let mut core = self.0.engine.enter()?;
        let op = match mode {
            SendMode::Buffered => self.start_buffered(&mut core, &m)?,
            _ => core.send_start(&m, Owner::User)?,
        };
        if core.check.is_some() {
            core.watch_send(op, &m);
        }
        Ok(op)
    }

    /// Starts a receive (`MPI_Irecv`).
    ///
    /// # Errors
    /// As [`Comm::recv`], as far as known at the start.
    pub fn irecv(&self, buf: RecvBuf<'static, '_>, source: i32, tag: i32) -> Result<Request> {
        let op = self.start_recv(&buf, source, tag)?;
        Ok(Request::of_op(self.engine(), op, Status::PROC_NULL))
    }

    /// Starts to receive a message of bytes of any size: into `room` if it fits, else where `grow` says once it is matched.
    ///
    /// # Errors
    /// As [`Comm::irecv`].
    pub fn irecv_growing(&self, room: MutMem, grow: Grow, source: i32, tag: i32) -> Result<Request> {
        let buf = RecvBuf::raw(room, room.len(), bytes());
        let op = match self.incoming(&buf, source, tag)? {
            Some((m, None)) if self.0.engine.decides() => {
                self.start_repeatable(Kind::Irecv, &Incoming { grow: Some(grow), ..m }, Owner::User)?
            }
            Some((m, _)) => self.0.engine.enter()?.recv_start(&Incoming { grow: Some(grow), ..m }, Owner::User)?,
            None => RawOp::DONE,
        };
        Ok(Request::of_op(self.engine(), op, Status::PROC_NULL))
    }

    /// Sends a small message if that is possible at once; `false`, and nothing has happened, if not.
    ///
    /// # Errors
    /// As [`Comm::send_mode`].
    pub fn send_if_ready(&self, buf: SendBuf<'_, '_>, dest: i32, tag: i32) -> Result<bool> {
        match self.outgoing(SendMode::Standard, &buf, dest, tag)? {
            Some(m) if m.dest != self.0.engine.me() => self.0.engine.enter()?.send_now(&m),
            Some(_) => Ok(false),
            None => Ok(true),
        }
    }

    /// The start of a nonblocking or persistent receive; `DONE` for `PROC_NULL`.
    pub(crate) fn start_recv(&self, buf: &RecvBuf<'static, '_>, source: i32, tag: i32) -> Result<RawOp> {
        let Some((m, from)) = self.incoming(buf, source, tag)? else {
            return Ok(RawOp::DONE);
        };
        let repeatable = match from.is_none() && self.0.engine.decides() {
            true => Some(self.start_repeatable(Kind::Irecv, &m, Owner::User)?),
            false => None,
        };
        let mut core = self.0.engine.enter()?;
        let op = match repeatable {
            Some(op) => op,
            None => core.recv_start(&m, Owner::User)?,
        };
        if core.check.is_some() {
            core.watch_receive(op, &m);
        }
        Ok(op)
    }

    /// A persistent send (`MPI_Send_init` and its kin by `mode`).
    ///
    /// # Errors
    /// Wrong rank, tag, type.
    pub fn send_init(&self, mode: SendMode, buf: SendBuf<'static, '_>, dest: i32, tag: i32) -> Result<Request> {
        self.outgoing(mode, &buf, dest, tag)?;
        let recipe =
            Recipe::Send { comm: self.clone(), mode, mem: buf.mem, count: buf.count, ty: buf.ty.clone(), dest, tag };
        Ok(Request::of_recipe(self.engine(), recipe))
    }

    /// A persistent receive (`MPI_Recv_init`).
    ///
    /// # Errors
    /// Wrong rank, tag, type.
    pub fn recv_init(&self, buf: RecvBuf<'static, '_>, source: i32, tag: i32) -> Result<Request> {
        self.incoming(&buf, source, tag)?;
        let recipe =
            Recipe::Recv { comm: self.clone(), mem: buf.mem, count: buf.count, ty: buf.ty.clone(), source, tag };
        Ok(Request::of_recipe(self.engine(), recipe))
    }

    /// Waits for an operation of a blocking call; withdraws it when the call gives up.
    pub(crate) fn wait_op(&self, what: Waiting<'_>, op: RawOp) -> Result<Status> {
        let tell = |core: &mut Core, told: &mut Told| told.op(core, op);
        let outcome = self.engine().block_until(what.for_what(&tell), |core| core.ops.take(op));
        if outcome.is_err() {
            // Does nothing when the operation itself failed: it is gone then.
            self.engine().core().withdraw_raw(op);
        }
        // What goes on for a request has ended for a call.
        outcome.map_err(|e| {
            if e.class() == ErrorClass::ProcFailedPending { e.in_class(ErrorClass::ProcAborted) } else { e }
        })
    }

    /// Checks the arguments of a send. `None` for `PROC_NULL`.
    #[inline]
    pub(crate) fn outgoing<'t>(
        &self,
        mode: SendMode,
        buf: &SendBuf<'_, 't>,
        dest: i32,
        tag: i32,
    ) -> Result<Option<Outgoing<'t>>> {
        if self.is_unusable() {
            return Err(self.unusable());
        }
        if tag < 0 {
            return Err(bad_tag(tag, "send"));
        }
        if dest == PROC_NULL {
            return Ok(None);
        }
        let to = self.peer(dest)?;
        buf.ty.check_elements(buf.mem.as_ptr(), buf.count)?;
        Ok(Some(Outgoing {
            ctx: self.ctx(),
            source: self.0.rank as u32,
            dest: to,
            tag,
            sync: mode == SendMode::Synchronous,
            mem: buf.mem,
            count: buf.count,
            ty: buf.ty,
        }))
    }

    /// Checks source and tag of a receive or probe. `None` for `PROC_NULL`; no process for `ANY_SOURCE`.
    #[inline]
    pub(crate) fn pattern(&self, source: i32, tag: i32) -> Result<Option<(Pattern, Option<ProcId>)>> {
        if self.is_unusable() {
            return Err(self.unusable());
        }
        if tag < 0 && tag != ANY_TAG {
            return Err(bad_tag(tag, "receive"));
        }
        let from = match source {
            PROC_NULL => return Ok(None),
            ANY_SOURCE => None,
            rank => Some(self.peer(rank)?),
        };
        Ok(Some((Pattern { source, tag }, from)))
    }

    /// Checks the arguments of a receive. `None` for `PROC_NULL`.
    #[inline]
    pub(crate) fn incoming<'t>(
        &self,
        buf: &RecvBuf<'_, 't>,
        source: i32,
        tag: i32,
    ) -> Result<Option<(Incoming<'t>, Option<ProcId>)>> {
        let Some((pattern, from)) = self.pattern(source, tag)? else {
            return Ok(None);
        };
        buf.ty.check_elements(buf.mem.as_ptr(), buf.count)?;
        Ok(Some((Incoming::of(self.ctx(), pattern, buf), from)))
    }
}

/// Receives what needs no waiting: a small message that has arrived, or that arrives within that time.
#[inline]
fn recv_ready(
    core: &mut CoreGuard<'_>,
    m: &Incoming<'_>,
    from: Option<ProcId>,
    time: impl Fn() -> Duration,
) -> Option<Result<Status>> {
    if let Some(outcome) = core.recv_arrived(m) {
        return Some(outcome);
    }
    look_at_ring(core, m, from, time)
}

/// Receives a small message straight out of the sender's ring, if it comes within that time.
#[inline]
fn look_at_ring(
    core: &mut Core,
    m: &Incoming<'_>,
    from: Option<ProcId>,
    time: impl Fn() -> Duration,
) -> Option<Result<Status>> {
    // Nothing posted before may fit the message, and nothing arrived is left in front of it.
    if core.posted > 0 || core.arrived > 0 {
        return None;
    }
    let from = from?;
    let mut end = None;
    loop {
        for _ in 0..POLLS {
            match core.recv_direct(from, m) {
                Direct::Received(status) => return Some(Ok(status)),
                // Looking again does not make it another one.
                Direct::Other => return None,
                Direct::Nothing => std::hint::spin_loop(),
            }
        }
        let now = Instant::now();
        if now >= *end.get_or_insert_with(|| now + time()) {
            return None;
        }
    }
}

#[cold]
fn bad_tag(tag: i32, operation: &str) -> Error {
    let any = if operation == "receive" { ", or MPI_ANY_TAG" } else { "" };
    Error::new(ErrorClass::Tag, format!("tag {tag} is not valid for a {operation} (valid: 0 to {}{any})", i32::MAX))
}
