//! Probes, and messages taken out of the queue by them (MPI 5.0 §3.8).

use std::time::Duration;

use phalanx_shm::ProcId;

use crate::comm::Comm;
use crate::engine::buffer::RecvBuf;
use crate::engine::{Core, CoreGuard, Incoming, Owner, Pattern, RawOp, Receiving, Stored, Told, Waiting};
use crate::error::Result;
use crate::request::Request;
use crate::status::Status;

use super::{DIRECT, SHORT, look_at_ring};

/// A message taken out of the queue by a matched probe: nobody else can receive it.
pub struct Message {
    comm: Comm,
    source: i32,
    tag: i32,
    stored: Stored,
}

/// What a matched probe found: the message (none when the source was `PROC_NULL`) and its status.
pub type Probed = (Option<Message>, Status);

/// What [`Comm::recv_or_match`] came to.
pub enum Received {
    /// The message fits into the buffer and is in it.
    Whole(Status),
    /// It is larger: it has been taken out of the queue, as by a matched probe.
    Matched(Message, Status),
}

impl Received {
    /// Of the message.
    pub(super) fn status(&self) -> Status {
        match self {
            Received::Whole(status) | Received::Matched(_, status) => *status,
        }
    }
}

impl Comm {
    /// Waits for a message without receiving it (`MPI_Probe`).
    ///
    /// # Errors
    /// Wrong rank or tag; interruption; class `ProcAborted` when whoever could send the message has ended.
    pub fn probe(&self, source: i32, tag: i32) -> Result<Status> {
        let Some((pattern, _)) = self.pattern(source, tag)? else {
            return Ok(Status::PROC_NULL);
        };
        if pattern.source < 0 && self.engine().decides() {
            return self.probe_repeatable(pattern);
        }
        self.wait_message("Probe", pattern, |core| core.probe_arrived(self.ctx(), pattern))
    }

    /// Looks for a message (`MPI_Iprobe`).
    ///
    /// # Errors
    /// Wrong rank or tag.
    pub fn iprobe(&self, source: i32, tag: i32) -> Result<Option<Status>> {
        let Some((pattern, _)) = self.pattern(source, tag)? else {
            return Ok(Some(Status::PROC_NULL));
        };
        if self.engine().decides() {
            return self.iprobe_repeatable(pattern);
        }
        self.look(|core| core.probe_arrived(self.ctx(), pattern))
    }

    /// Waits for a message and takes it out of the queue (`MPI_Mprobe`). `None` instead of a message is `MPI_MESSAGE_NO_PROC`.
    ///
    /// # Errors
    /// Wrong rank or tag; interruption; class `ProcAborted` when whoever could send the message has ended.
    pub fn mprobe(&self, source: i32, tag: i32) -> Result<Probed> {
        let Some((pattern, _)) = self.pattern(source, tag)? else {
            return Ok((None, Status::PROC_NULL));
        };
        let found = match pattern.source < 0 && self.engine().decides() {
            true => self.mprobe_repeatable(pattern)?,
            false => self.wait_message("Mprobe", pattern, |core| core.take_arrived(self.ctx(), pattern))?,
        };
        Ok(self.probed(found))
    }

    /// Looks for a message and takes it out of the queue (`MPI_Improbe`).
    ///
    /// # Errors
    /// Wrong rank or tag.
    pub fn improbe(&self, source: i32, tag: i32) -> Result<Option<Probed>> {
        let Some((pattern, _)) = self.pattern(source, tag)? else {
            return Ok(Some((None, Status::PROC_NULL)));
        };
        let found = match self.engine().decides() {
            true => self.improbe_repeatable(pattern)?,
            false => self.look(|core| take(core, self.ctx(), pattern))?,
        };
        Ok(found.map(|found| self.probed(found)))
    }

    /// Receives a message of unknown size at one go, if it has no more bytes than `room`; takes a larger one out of the
    /// queue.
    ///
    /// # Errors
    /// Wrong rank or tag; interruption; class `ProcAborted` when whoever could send the message has ended.
    #[inline]
    pub fn recv_or_match(&self, room: RecvBuf<'_, '_>, source: i32, tag: i32) -> Result<Received> {
        let Some((m, from)) = self.incoming(&room, source, tag)? else {
            return Ok(Received::Whole(Status::PROC_NULL));
        };
        if from.is_none() && self.engine().decides() {
            return self.recv_or_match_repeatable(&m);
        }
        {
            let mut core = self.engine().enter()?;
            if let Some(outcome) = self.receive_now(&mut core, &m, from, || self.looks(SHORT)) {
                return outcome;
            }
            core.poll();
            if let Some(outcome) = self.receive_arrived(&mut core, &m) {
                return outcome;
            }
        }
        self.engine().in_around(|| {
            if let Some(outcome) = self.receive_now(&mut *self.engine().enter()?, &m, from, || self.looks(DIRECT)) {
                return outcome;
            }
            self.wait_receive(&m)
        })
    }

    /// What of [`Comm::recv_or_match`] needs no waiting: a message that has arrived, or that arrives within that time and
    /// fits.
    #[inline]
    fn receive_now(
        &self,
        core: &mut Core,
        m: &Incoming<'_>,
        from: Option<ProcId>,
        time: impl Fn() -> Duration,
    ) -> Option<Result<Received>> {
        if let Some(outcome) = self.receive_arrived(core, m) {
            return Some(outcome);
        }
        look_at_ring(core, m, from, time).map(|outcome| outcome.map(Received::Whole))
    }

    /// The earliest message that has arrived and matches.
    #[inline]
    pub(super) fn receive_arrived(&self, core: &mut Core, m: &Incoming<'_>) -> Option<Result<Received>> {
        if core.arrived == 0 {
            return None;
        }
        let (source, tag, stored) = core.take_arrived(m.ctx, m.pattern)?;
        Some(self.receive_taken(core, m, source, tag, stored))
    }

    /// A message that has been taken out of the queue.
    #[inline]
    fn receive_taken(
        &self,
        core: &mut Core,
        m: &Incoming<'_>,
        source: i32,
        tag: i32,
        stored: Stored,
    ) -> Result<Received> {
        match core.unpack_whole(m, source, tag, stored) {
            Ok(outcome) => outcome.map(Received::Whole),
            Err(stored) => {
                let (message, status) = self.matched(source, tag, stored);
                Ok(Received::Matched(message, status))
            }
        }
    }

    /// Waits for a message and receives it as [`Comm::recv_or_match`].
    pub(super) fn wait_receive(&self, m: &Incoming<'_>) -> Result<Received> {
        let receiving = Receiving::new(m.ctx, m.pattern);
        let outcome = self.wait_found(Waiting::on("Recv", m.ctx).receiving(&receiving), m.pattern, |core| {
            if !receiving.has_fetched() {
                return self.receive_arrived(core, m);
            }
            let taken = receiving.take_fetched(core)?;
            Some(taken.and_then(|(source, tag, stored)| self.receive_taken(core, m, source, tag, stored)))
        });
        outcome.unwrap_or_else(|error| {
            receiving.give_up(self.engine(), &error);
            Err(error)
        })
    }

    /// Waits until `find` gives something, or nobody is left who could send it.
    pub(super) fn wait_message<T>(
        &self,
        operation: &'static str,
        pattern: Pattern,
        find: impl FnMut(&mut Core) -> Option<T>,
    ) -> Result<T> {
        self.wait_found(Waiting::on(operation, self.ctx()), pattern, find)
    }

    fn wait_found<T>(
        &self,
        what: Waiting<'_>,
        pattern: Pattern,
        mut find: impl FnMut(&mut Core) -> Option<T>,
    ) -> Result<T> {
        let mut watch = None;
        let mut missing = || self.engine().never_sends(self.ctx(), pattern, &mut watch);
        let tell = |core: &mut Core, told: &mut Told| told.message(core, self.ctx(), pattern);
        let what = what.for_what(&tell);
        let ready = |core: &mut Core| match find(core) {
            None if self.inner().is_revoked() => Some(Err(self.unusable())),
            found => found.map(Ok),
        };
        self.engine().block_unless(what, ready, &mut missing)
    }

    /// Looks before and after a pass of progress.
    pub(super) fn look<T>(&self, mut find: impl FnMut(&mut CoreGuard<'_>) -> Option<T>) -> Result<Option<T>> {
        {
            let mut core = self.engine().enter()?;
            if let Some(found) = find(&mut core) {
                return Ok(Some(found));
            }
            core.poll();
            if let Some(found) = find(&mut core) {
                return Ok(Some(found));
            }
        }
        self.engine().after_failed_test();
        Ok(None)
    }

    fn probed(&self, (source, tag, stored): (i32, i32, Stored)) -> Probed {
        let (message, status) = self.matched(source, tag, stored);
        (Some(message), status)
    }

    fn matched(&self, source: i32, tag: i32, stored: Stored) -> (Message, Status) {
        let status = Status { source, tag, bytes: stored.bytes, cancelled: false };
        (Message { comm: self.clone(), source, tag, stored }, status)
    }
}

fn take(core: &mut CoreGuard<'_>, ctx: u32, pattern: Pattern) -> Option<(i32, i32, Stored)> {
    core.take_arrived(ctx, pattern)
}

impl Message {
    /// The communicator it came on.
    pub fn comm(&self) -> &Comm {
        &self.comm
    }

    /// Receives the message (`MPI_Mrecv`).
    ///
    /// # Errors
    /// Truncation; a peer that died; interruption.
    pub fn recv(self, buf: RecvBuf<'_, '_>) -> Result<Status> {
        let what = Waiting::on("Mrecv", self.comm.ctx());
        let comm = self.comm.clone();
        let op = self.start(&buf)?;
        comm.wait_op(what, op)
    }

    /// Starts receiving the message (`MPI_Imrecv`).
    ///
    /// # Errors
    /// As [`Message::recv`], as far as known at the start.
    pub fn irecv(self, buf: RecvBuf<'static, '_>) -> Result<Request> {
        let engine = self.comm.engine().clone();
        let op = self.start(&buf)?;
        Ok(Request::of_op(&engine, op, Status::EMPTY))
    }

    fn start(self, buf: &RecvBuf<'_, '_>) -> Result<RawOp> {
        buf.ty.check_elements(buf.mem.as_ptr(), buf.count)?;
        let pattern = Pattern { source: self.source, tag: self.tag };
        let m = Incoming::of(self.comm.ctx(), pattern, buf);
        let mut core = self.comm.engine().enter()?;
        let record = self.stored.record;
        let op = core.recv_stored(&m, self.source, self.tag, self.stored, Owner::User)?;
        if record != 0 {
            core.trace_received(op, record);
        }
        Ok(op)
    }
}
