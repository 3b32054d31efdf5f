//! The receiver's side: what the sender has said of itself, and which of its partitions have arrived.

use std::ops::Range;

use phalanx_shm::ProcId;
use phalanx_shm::mem::MutMem;

use crate::comm::Comm;
use crate::datatype::Datatype;
use crate::engine::buffer::RecvBuf;
use crate::engine::core::bytes;
use crate::engine::{Core, Engine, RawOp, Schedule, Step, memory};
use crate::error::{Error, Result, fail};
use crate::status::Status;

/// A partitioned receive.
pub(super) struct Receiving {
    comm: Comm,
    mem: MutMem,
    /// Elements of all partitions.
    all: usize,
    ty: Datatype,
    /// Whence it comes; from nobody for `PROC_NULL`.
    source: Option<ProcId>,
    /// What the sender says of itself, while that has not come.
    greeting: Option<Greeting>,
    sender: Sender,
    /// Messages of this round, one for each partition of the sender; none before the greeting has come.
    parts: Vec<Part>,
    /// Those before this one have arrived.
    next: usize,
    round: Round,
    /// Partitions that wait to be unpacked.
    staged: Vec<u8>,
    /// What was found wrong by a look at a partition, which the round has not told yet.
    wrong: Option<Error>,
    /// A round has failed. Both sides are out of step then, and stay so.
    failed: Option<Error>,
}

/// How far the round is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Round {
    /// None has begun, or the last one is over.
    Over,
    /// Receives have not been posted yet.
    Begun,
    Posted,
}

/// A receive that has been posted for what the sender says of itself.
struct Greeting {
    op: RawOp,
    /// Three words; the vector does not move them.
    room: Vec<u64>,
}

/// How the sender divides the message.
#[derive(Clone, Copy, Default)]
struct Sender {
    first_tag: u32,
    partitions: usize,
    /// Bytes of one partition.
    bytes: usize,
    placing: Placing,
}

/// How a partition of the sender gets to its place.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Placing {
    /// As so many elements of the receiver's type.
    #[default]
    Elements,
    /// As bytes of a type without gaps.
    Bytes,
    /// By unpacking: its boundaries are inside elements with gaps.
    Unpacked,
}

enum Part {
    UnderWay(RawOp),
    Here,
}

impl Receiving {
    /// Gets ready for the greeting of the next sender that fits.
    pub(super) fn new(
        comm: &Comm,
        buf: &RecvBuf<'static, '_>,
        partitions: usize,
        source: Option<ProcId>,
        tag: i32,
    ) -> Result<Receiving> {
        let greeting = source.map(|source| Greeting::await_from(comm, source, tag)).transpose()?;
        Ok(Receiving {
            comm: comm.clone(),
            mem: buf.mem,
            all: buf.count * partitions,
            ty: buf.ty.clone(),
            source,
            greeting,
            sender: Sender::default(),
            parts: Vec::new(),
            next: 0,
            round: Round::Over,
            staged: Vec::new(),
            wrong: None,
            failed: None,
        })
    }

    /// Begins a round.
    pub(super) fn start(&mut self) {
        self.parts.clear();
        self.next = 0;
        self.round = if self.source.is_some() { Round::Begun } else { Round::Over };
    }

    /// Bytes of the whole message.
    pub(super) fn bytes(&self) -> u64 {
        (self.ty.size() * self.all) as u64
    }

    /// Why no round goes on any more.
    pub(super) fn failed(&self) -> Option<&Error> {
        self.failed.as_ref()
    }

    /// Whether the round is over.
    pub(super) fn advance(&mut self, core: &mut Core) -> Result<bool> {
        if let Some(error) = self.wrong.take() {
            return Err(error);
        }
        if !self.has_posted(core)? {
            return Ok(self.round == Round::Over);
        }
        while self.next < self.parts.len() {
            if !self.settle(core, self.next)? {
                return Ok(false);
            }
            self.next += 1;
        }
        self.round = Round::Over;
        Ok(true)
    }

    /// Whether the receiver's partition has arrived.
    pub(super) fn arrived(&mut self, core: &mut Core, partition: usize, partitions: usize) -> Result<bool> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        if self.round == Round::Over {
            return Ok(true);
        }
        if self.round == Round::Begun {
            return Ok(false);
        }
        for part in overlapping(partition, partitions, self.parts.len()) {
            if !self.is_here(core, part) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Whether one of the sender's partitions is in its place.
    fn is_here(&mut self, core: &mut Core, part: usize) -> bool {
        match &self.parts[part] {
            Part::Here => true,
            // What goes wrong ends the round, which tells.
            Part::UnderWay(_) => self.settle(core, part).unwrap_or_else(|error| {
                self.wrong.get_or_insert(error);
                false
            }),
        }
    }

    /// Posts the receives of a round that has begun, if it is known by now how many there are.
    fn has_posted(&mut self, core: &mut Core) -> Result<bool> {
        match (self.round, self.source) {
            (Round::Posted, _) => Ok(true),
            (Round::Begun, Some(source)) => {
                if let Some(greeting) = &self.greeting {
                    let Some(outcome) = core.poll_raw(greeting.op) else { return Ok(false) };
                    let words = greeting.words(outcome);
                    self.greeting = None;
                    // An error fails the round, and with it the rounds to come: they know no sender.
                    self.sender = self.understand(words?)?;
                }
                self.post(core, source)?;
                self.round = Round::Posted;
                Ok(true)
            }
            _ => Ok(false),
        }
    }

    /// Looks at what the sender says of itself: it must fit this side, and be possible.
    fn understand(&self, [first_tag, partitions, total]: [u64; 3]) -> Result<Sender> {
        let room = self.ty.bytes(self.all)?;
        if total != room as u64 {
            fail!(
                Truncate,
                "the sender has {total} bytes in {partitions} partitions where {room} are expected ({} x {}); both sides must \
                 have the same amount of data in all",
                self.all,
                self.ty.name()
            );
        }
        let end = first_tag.checked_add(partitions);
        if partitions == 0 || end.is_none_or(|end| end > 1 << 31) || total % partitions != 0 {
            fail!(
                Intern,
                "the sender seems to have {partitions} partitions of {total} bytes, with tags from {first_tag} on"
            );
        }
        let bytes = (total / partitions) as usize;
        let placing = match self.ty.size() {
            0 => Placing::Elements,
            size if bytes.is_multiple_of(size) => Placing::Elements,
            _ if self.ty.is_contiguous() => Placing::Bytes,
            _ => Placing::Unpacked,
        };
        Ok(Sender { first_tag: first_tag as u32, partitions: partitions as usize, bytes, placing })
    }

    fn post(&mut self, core: &mut Core, source: ProcId) -> Result<()> {
        let Sender { first_tag, partitions, bytes: len, placing } = self.sender;
        if placing == Placing::Unpacked {
            self.staged.resize(len * partitions, 0);
        }
        let count = len.checked_div(self.ty.size()).unwrap_or(0);
        let step = (count as isize).wrapping_mul(self.ty.extent());
        self.parts.reserve(partitions);
        for part in 0..partitions {
            let at = len * part;
            let buf = match placing {
                Placing::Elements => {
                    RecvBuf::raw(self.mem.at(step.wrapping_mul(part as isize), usize::MAX), count, &self.ty)
                }
                Placing::Bytes => RecvBuf::raw(self.mem.at(self.ty.true_lb() + at as isize, len), len, bytes()),
                Placing::Unpacked => RecvBuf::raw(memory::of_mut(&mut self.staged[at..at + len]), len, bytes()),
            };
            let tag = (first_tag + part as u32) as i32;
            self.parts.push(Part::UnderWay(core.irecv_typed(self.comm.parts(), source, tag, buf)?));
        }
        Ok(())
    }

    /// Takes note of a message that has arrived, and puts its data in place; false when it has not.
    fn settle(&mut self, core: &mut Core, part: usize) -> Result<bool> {
        let Part::UnderWay(op) = self.parts[part] else { return Ok(true) };
        let Some(outcome) = core.poll_raw(op) else { return Ok(false) };
        self.parts[part] = Part::Here;
        let Sender { bytes, placing, .. } = self.sender;
        let status = outcome?;
        if status.bytes != bytes as u64 {
            fail!(Intern, "partition {part} of the sender has {} bytes instead of {bytes}", status.bytes);
        }
        if placing == Placing::Unpacked {
            let at = part * bytes;
            self.ty.unpack(self.all, &mut self.mem, at, &self.staged[at..at + bytes]);
        }
        Ok(true)
    }

    pub(super) fn abandon(&mut self, core: &mut Core, error: &Error) {
        for part in self.parts.drain(..) {
            if let Part::UnderWay(op) = part {
                core.withdraw_raw(op);
            }
        }
        self.round = Round::Over;
        self.failed = Some(error.clone());
    }
}

impl Drop for Receiving {
    /// A receiver that nobody needs any more still takes the greeting that is meant for it: the next one is for the next.
    fn drop(&mut self) {
        if let Some(greeting) = self.greeting.take() {
            // Without an engine that goes on no greeting comes.
            drop(self.comm.engine().start_schedule(Box::new(greeting)));
        }
    }
}

impl Greeting {
    fn await_from(comm: &Comm, source: ProcId, tag: i32) -> Result<Greeting> {
        let mut room = vec![0; 3];
        let mem = memory::of_mut(&mut room);
        let buf = RecvBuf::raw(mem, mem.len(), bytes());
        let op = comm.engine().enter()?.irecv_typed(comm.greetings(), source, tag, buf)?;
        Ok(Greeting { op, room })
    }

    fn words(&self, outcome: Result<Status>) -> Result<[u64; 3]> {
        match (outcome?.bytes, &self.room[..]) {
            (24, &[first_tag, partitions, total]) => Ok([first_tag, partitions, total]),
            (bytes, _) => fail!(Intern, "the sender has said of itself {bytes} bytes instead of 24"),
        }
    }
}

/// Waits for a greeting that nobody looks at.
impl Schedule for Greeting {
    fn advance(&mut self, engine: &Engine) -> Result<Step> {
        let outcome = engine.core().poll_raw(self.op);
        Ok(outcome.map_or(Step::Pending, |_| Step::Done(Status::EMPTY)))
    }

    fn name(&self) -> &'static str {
        "Precv_init"
    }

    fn abandon(&mut self, engine: &Engine) {
        engine.core().withdraw_raw(self.op);
    }
}

/// The sender's partitions that have something of the receiver's partition `at`. Both divide the same bytes evenly.
fn overlapping(at: usize, partitions: usize, of_sender: usize) -> Range<usize> {
    // Numbers of partitions are below 2^31.
    let first = at * of_sender / partitions;
    first..((at + 1) * of_sender).div_ceil(partitions)
}

#[cfg(test)]
mod tests {
    use super::overlapping;

    #[test]
    fn a_partition_needs_those_that_share_bytes_with_it() {
        for (mine, theirs) in [(1, 1), (1, 7), (7, 1), (3, 3), (4, 6), (6, 4), (5, 8)] {
            let total = mine * theirs;
            for at in 0..mine {
                let bytes = at * theirs..(at + 1) * theirs;
                let shares = |part: &usize| part * mine < bytes.end && (part + 1) * mine > bytes.start;
                let expected: Vec<usize> = (0..theirs).filter(shares).collect();
                let found: Vec<usize> = overlapping(at, mine, theirs).collect();
                assert_eq!(found, expected, "{at} of {mine} against {theirs} ({total} bytes)");
            }
        }
    }
}
