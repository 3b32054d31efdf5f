//! Sending and receiving as one request (MPI 5.0 §3.10): complete when both are.

use phalanx_replay::Kind;

use crate::comm::Comm;
use crate::datatype::{Basic, Datatype};
use crate::engine::buffer::{RecvBuf, SendBuf};
use crate::engine::{Engine, Owner, RawOp, Schedule, Step};
use crate::error::{Error, Result};
use crate::request::Request;
use crate::status::Status;

use super::SendMode;

/// A send and a receive under way; the status is that of the receive.
struct Both {
    send: Option<RawOp>,
    receive: Option<RawOp>,
    status: Status,
    error: Option<Error>,
    /// What the send reads, when that is not the user's memory.
    _packed: Vec<u8>,
}

impl Schedule for Both {
    fn advance(&mut self, engine: &Engine) -> Result<Step> {
        let mut core = engine.core();
        if let Some(outcome) = self.receive.and_then(|op| core.poll_raw(op)) {
            self.receive = None;
            match outcome {
                Ok(status) => self.status = status,
                Err(error) => self.error = Some(error),
            }
        }
        if let Some(outcome) = self.send.and_then(|op| core.poll_raw(op)) {
            self.send = None;
            if let Err(error) = outcome {
                self.error.get_or_insert(error);
            }
        }
        if self.send.is_some() || self.receive.is_some() {
            return Ok(Step::Pending);
        }
        match self.error.take() {
            Some(error) => Err(error),
            None => Ok(Step::Done(self.status)),
        }
    }

    fn name(&self) -> &'static str {
        "Isendrecv"
    }

    fn abandon(&mut self, engine: &Engine) {
        let mut core = engine.core();
        for op in [self.send.take(), self.receive.take()].into_iter().flatten() {
            core.withdraw_raw(op);
        }
    }
}

impl Comm {
    /// Starts sending and receiving (`MPI_Isendrecv`).
    ///
    /// # Errors
    /// As [`Comm::sendrecv`], as far as known at the start.
    pub fn isendrecv(
        &self,
        out: SendBuf<'static, '_>,
        dest: i32,
        send_tag: i32,
        into: RecvBuf<'static, '_>,
        source: i32,
        recv_tag: i32,
    ) -> Result<Request> {
        self.start_both(&out, Vec::new(), (dest, send_tag), &into, (source, recv_tag))
    }

    /// Starts sending the buffer and receiving into it (`MPI_Isendrecv_replace`).
    ///
    /// # Errors
    /// As [`Comm::sendrecv`], as far as known at the start.
    pub fn isendrecv_replace(
        &self,
        buf: RecvBuf<'static, '_>,
        dest: i32,
        send_tag: i32,
        source: i32,
        recv_tag: i32,
    ) -> Result<Request> {
        let checked = SendBuf::raw(buf.mem.as_const(), buf.count, buf.ty);
        self.outgoing(SendMode::Standard, &checked, dest, send_tag)?;
        let mut packed = vec![0u8; buf.ty.bytes(buf.count)?];
        buf.ty.pack(buf.count, &buf.mem.as_const(), 0, &mut packed);
        // As packed data its type signature is lost; keep it where the type is one predefined type.
        let (count, ty) = match buf.ty.uniform_basic() {
            Some(basic) if basic.size() > 0 && Datatype::predefined(basic).is_contiguous() => {
                (packed.len() / basic.size(), Datatype::predefined(basic))
            }
            _ => (packed.len(), Datatype::predefined(Basic::Packed)),
        };
        // The schedule keeps the packed data, whose place does not change when the vector moves.
        let mem = crate::engine::memory::of(&packed);
        let out = SendBuf::raw(mem, count, ty);
        self.start_both(&out, packed, (dest, send_tag), &buf, (source, recv_tag))
    }

    fn start_both(
        &self,
        out: &SendBuf<'static, '_>,
        packed: Vec<u8>,
        (dest, send_tag): (i32, i32),
        into: &RecvBuf<'static, '_>,
        (source, recv_tag): (i32, i32),
    ) -> Result<Request> {
        let outgoing = self.outgoing(SendMode::Standard, out, dest, send_tag)?;
        let incoming = self.incoming(into, source, recv_tag)?;
        let mut both = Both { send: None, receive: None, status: Status::PROC_NULL, error: None, _packed: packed };
        if let Some((m, None)) = &incoming
            && self.engine().decides()
        {
            both.receive = Some(self.start_repeatable(Kind::Irecv, m, Owner::Raw)?);
        }
        {
            let mut core = self.engine().enter()?;
            if let (Some((m, _)), None) = (&incoming, both.receive) {
                both.receive = Some(core.recv_start(m, Owner::Raw)?);
            }
            if let Some(m) = &outgoing {
                match core.send_start(m, Owner::Raw) {
                    Ok(op) if op == RawOp::DONE => {}
                    Ok(op) => both.send = Some(op),
                    Err(error) => {
                        if let Some(op) = both.receive {
                            core.withdraw_raw(op);
                        }
                        return Err(error);
                    }
                }
            }
        }
        self.engine().start_schedule(Box::new(both))
    }
}
