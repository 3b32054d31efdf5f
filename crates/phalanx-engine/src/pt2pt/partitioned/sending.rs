//! The sender's side: which partitions are ready, and which of their messages are still on the way.

use std::collections::VecDeque;

use phalanx_shm::ProcId;
use phalanx_shm::mem::ConstMem;

use crate::comm::Comm;
use crate::datatype::Datatype;
use crate::engine::buffer::SendBuf;
use crate::engine::core::bytes;
use crate::engine::{Core, Data, Outgoing, Owner, RawOp, memory};
use crate::error::{Error, Result, fail};

use super::{Tags, locked};

/// A partitioned send.
pub(super) struct Sending {
    comm: Comm,
    mem: ConstMem,
    /// Elements of one partition.
    count: usize,
    ty: Datatype,
    /// Where it goes; nobody for `PROC_NULL`.
    dest: Option<ProcId>,
    /// The tag of partition 0.
    first_tag: u32,
    /// Which partitions have been marked in this round.
    ready: Vec<bool>,
    /// How many have not been.
    missing: usize,
    /// A round has begun and is not over.
    is_active: bool,
    /// Messages that have not left yet.
    under_way: VecDeque<RawOp>,
    /// A round has failed. Both sides are out of step then, and stay so.
    failed: Option<Error>,
}

impl Sending {
    /// The first partition that has not been marked in this round; how many there are.
    pub(super) fn missing(&self) -> Option<usize> {
        self.ready.iter().position(|is_ready| !is_ready).filter(|_| self.missing > 0)
    }

    /// Draws tags and tells the receiver about them.
    pub(super) fn new(
        comm: &Comm,
        buf: &SendBuf<'static, '_>,
        partitions: usize,
        dest: Option<ProcId>,
        tag: i32,
    ) -> Result<Sending> {
        let Some(first_tag) = locked(&comm.0.partitions).take(partitions as u32) else {
            fail!(Other, "the partitioned sends of this communicator have too many partitions; free some of them");
        };
        let sending = Sending {
            comm: comm.clone(),
            mem: buf.mem,
            count: buf.count,
            ty: buf.ty.clone(),
            dest,
            first_tag,
            ready: vec![false; partitions],
            missing: partitions,
            is_active: false,
            under_way: VecDeque::new(),
            failed: None,
        };
        if let Some(dest) = dest {
            let total = buf.ty.bytes(buf.count * partitions)? as u64;
            let words = [first_tag.into(), partitions as u64, total];
            greet(&mut *comm.engine().enter()?, comm.greetings(), dest, tag, words)?;
        }
        Ok(sending)
    }

    /// Begins a round.
    pub(super) fn start(&mut self) {
        self.ready.fill(false);
        self.missing = self.ready.len();
        self.is_active = true;
    }

    /// Why no round goes on any more.
    pub(super) fn failed(&self) -> Option<&Error> {
        self.failed.as_ref()
    }

    /// Marks partitions as ready, all of them or none.
    pub(super) fn claim(&mut self, partitions: impl Iterator<Item = Result<usize>> + Clone) -> Result<()> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        if !self.is_active {
            fail!(
                Request,
                "the partitioned send is not active: it has not been started since it was made or completed; call MPI_Start"
            );
        }
        for (done, partition) in partitions.clone().enumerate() {
            let outcome = partition.and_then(|partition| match self.ready[partition] {
                true => fail!(
                    Arg,
                    "partition {partition} has been marked ready before: each is marked once after each start"
                ),
                false => {
                    self.ready[partition] = true;
                    Ok(())
                }
            });
            if let Err(error) = outcome {
                partitions.take(done).flatten().for_each(|partition| self.ready[partition] = false);
                return Err(error);
            }
        }
        self.missing -= partitions.count();
        Ok(())
    }

    /// Sends a partition that has been claimed.
    pub(super) fn send(&mut self, core: &mut Core, partition: usize) -> Result<()> {
        let Some(dest) = self.dest else { return Ok(()) };
        let at = (self.count as isize).wrapping_mul(self.ty.extent()).wrapping_mul(partition as isize);
        let buf = SendBuf::raw(self.mem.at(at, usize::MAX), self.count, &self.ty);
        let tag = (self.first_tag + partition as u32) as i32;
        let op = core.isend_typed(self.comm.parts(), dest, tag, buf)?;
        if op != RawOp::DONE {
            self.under_way.push_back(op);
        }
        Ok(())
    }

    /// Whether the round is over.
    pub(super) fn advance(&mut self, core: &mut Core) -> Result<bool> {
        while let Some(op) = self.under_way.front() {
            let Some(outcome) = core.poll_raw(*op) else { return Ok(false) };
            self.under_way.pop_front();
            outcome?;
        }
        self.is_active = self.missing > 0;
        Ok(!self.is_active)
    }

    pub(super) fn abandon(&mut self, core: &mut Core, error: &Error) {
        self.under_way.drain(..).for_each(|op| core.withdraw_raw(op));
        self.failed = Some(error.clone());
    }
}

impl Drop for Sending {
    fn drop(&mut self) {
        locked::<Tags>(&self.comm.0.partitions).give(self.first_tag);
    }
}

/// Tells the receiver what is to come: the first tag, how many partitions, how many bytes. Needs no waiting.
fn greet(core: &mut Core, ctx: u32, dest: ProcId, tag: i32, words: [u64; 3]) -> Result<()> {
    let packed: Vec<u8> = words.iter().flat_map(|word| word.to_ne_bytes()).collect();
    let (source, mem, count) = (core.me.0, memory::of(&packed), packed.len());
    let m = Outgoing { ctx, source, dest, tag, sync: false, mem, count, ty: bytes() };
    if !core.send_now(&m)? {
        // Nobody waits for it, and it keeps its data itself.
        let _op = core.send_queued(&m, Data::Owned(packed), 0, Owner::Nobody)?;
    }
    Ok(())
}
