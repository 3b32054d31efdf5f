//! Large messages through the ring, where there is no memory for a pipe and no single copy: DATA records.

use phalanx_shm::mem::{ConstMem, Part};
use phalanx_shm::{Envelope, ProcId, Record};

use crate::status::Status;

use super::core::Core;
use super::kind;
use super::ops::{Data, RawOp, RecvStage, SendStage, Target};

/// Largest payload of one DATA record: the copy in and the copy out of a stream overlap in units of this.
const STREAM_UNIT: usize = 16 << 10;

impl Core {
    /// The receiver asks for the data through the ring.
    pub(crate) fn start_streaming(&mut self, op: RawOp, to: RawOp, end: u64) {
        let Some(send) = self.ops.send(op) else {
            return;
        };
        let dest = send.dest;
        if end > send.bytes {
            let what = format!("a request for {end} bytes of a message of {}", send.bytes);
            return self.distrust_sender(dest, &what);
        }
        send.stage = SendStage::Streaming { at: 0, end, to };
        if let Ok(link) = self.link(dest) {
            link.streams.push_back(op);
            self.mark_busy(dest);
        }
    }

    /// Pushes parts of streamed messages, in turns, as far as there is room. True when none is left.
    pub(crate) fn flush_streams(&mut self, dest: ProcId) -> bool {
        loop {
            let Some(Some(link)) = self.links.get_mut(dest.0 as usize) else {
                return true;
            };
            let unit = STREAM_UNIT.min(link.ring.max_payload());
            let Some(op) = link.streams.pop_front() else {
                return true;
            };
            let Some(send) = self.ops.send(op) else {
                continue;
            };
            let SendStage::Streaming { at, end, to } = send.stage else {
                continue;
            };
            let step = unit.min((end - at) as usize);
            let envelope = Envelope { kind: kind::DATA, len: step as u64, token: to.token(), ..Envelope::default() };
            let data = std::mem::replace(&mut send.data, Data::Owned(Vec::new()));
            let pushed = match &data {
                Data::Owned(bytes) => self.push_now(dest, &envelope, &bytes[at as usize..at as usize + step]),
                Data::User { mem, ty, .. } if ty.is_contiguous() => {
                    self.push_part(dest, &envelope, mem.at(at as isize, step))
                }
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
    pub(crate) fn arrive_data(&mut self, from: ProcId, record: &Record<'_>) {
        let op = RawOp::from_token(record.envelope.token);
        let Some(recv) = self.ops.recv(op) else {
            return;
        };
        let RecvStage::Streaming { at, end, .. } = &mut recv.stage else {
            return;
        };
        if record.payload_len() as u64 > *end - *at {
            let what = format!("{} bytes where {} were left of a message", record.payload_len(), *end - *at);
            return self.distrust_sender(from, &what);
        }
        let done = *at as usize;
        *at += record.payload_len() as u64;
        let complete = *at >= *end;
        let Target { mem, count, ty, .. } = &recv.target;
        if ty.is_contiguous() {
            record.copy_payload_to(mem.at(done as isize, record.payload_len()));
        } else {
            self.scratch.resize(record.payload_len(), 0);
            record.copy_payload(&mut self.scratch);
            ty.unpack(*count, &mut mem.clone(), done, &self.scratch);
        }
        if complete {
            let stage = std::mem::replace(&mut recv.stage, RecvStage::Posted);
            if let RecvStage::Streaming { outcome, .. } = stage {
                self.ops.complete(op, outcome);
            }
        }
    }
}
