//! Sending and receiving in one call (MPI 5.0 §3.10): no order between the two, so no deadlock.

use phalanx_replay::Kind;

use crate::comm::Comm;
use crate::datatype::{Basic, Datatype};
use crate::engine::buffer::{RecvBuf, SendBuf};
use crate::engine::{Owner, RawOp, Waiting};
use crate::error::Result;
use crate::status::Status;

use super::SendMode;

impl Comm {
    /// Sends and receives at once (`MPI_Sendrecv`).
    ///
    /// # Errors
    /// As [`Comm::send_mode`] and [`Comm::recv`].
    pub fn sendrecv(
        &self,
        out: SendBuf<'_, '_>,
        dest: i32,
        send_tag: i32,
        into: RecvBuf<'_, '_>,
        source: i32,
        recv_tag: i32,
    ) -> Result<Status> {
        let outgoing = self.outgoing(SendMode::Standard, &out, dest, send_tag)?;
        let incoming = self.incoming(&into, source, recv_tag)?;
        if let Some((m, None)) = &incoming
            && self.engine().decides()
        {
            let op = self.start_repeatable(Kind::Recv, m, Owner::User)?;
            if let Err(error) = self.send_mode(SendMode::Standard, out, dest, send_tag) {
                self.engine().core().withdraw_raw(op);
                return Err(error);
            }
            return self.wait_op(Waiting::on("Sendrecv", self.ctx()), op);
        }
        let mut core = self.engine().enter()?;
        // A send that leaves at once makes the rest a plain receive.
        let sent = match &outgoing {
            Some(m) => core.send_now(m)?,
            None => true,
        };
        if sent {
            let Some((m, from)) = &incoming else {
                return Ok(Status::PROC_NULL);
            };
            return self.recv_checked("Sendrecv", core, m, *from);
        }
        let receive = match &incoming {
            Some((m, _)) => Some(core.recv_start(m, Owner::User)?),
            None => None,
        };
        let send = match &outgoing {
            Some(m) => core.send_start(m, Owner::User),
            None => Ok(RawOp::DONE),
        };
        drop(core);
        let send = send.inspect_err(|_| {
            if let Some(op) = receive {
                self.engine().core().withdraw_raw(op);
            }
        })?;
        let received = match receive {
            Some(op) => self.wait_op(Waiting::on("Sendrecv", self.ctx()), op),
            None => Ok(Status::PROC_NULL),
        };
        if send != RawOp::DONE {
            if received.as_ref().is_err_and(crate::Error::is_interrupted) {
                self.engine().core().withdraw_raw(send);
            } else {
                self.wait_op(Waiting::on("Sendrecv", self.ctx()), send)?;
            }
        }
        received
    }

    /// Sends the buffer and receives into it (`MPI_Sendrecv_replace`).
    ///
    /// # Errors
    /// As [`Comm::sendrecv`].
    pub fn sendrecv_replace(
        &self,
        buf: RecvBuf<'_, '_>,
        dest: i32,
        send_tag: i32,
        source: i32,
        recv_tag: i32,
    ) -> Result<Status> {
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
        let out = SendBuf::typed(&packed, count, ty);
        self.sendrecv(out, dest, send_tag, buf, source, recv_tag)
    }
}
