//! Large messages that their receiver copies without the sender, out of its memory: whole ones, and the rest of those whose sender does
//! not come back to the pipe.

use std::sync::atomic::Ordering;

use phalanx_shm::single_copy;
use phalanx_shm::{Offset, ProcId, ProcessTag, ShmError};

use super::super::core::Core;
use super::super::memory;
use super::super::ops::{RawOp, RecvStage, Target};
use super::super::pieces::Pieces;
use super::{Offer, PIPED, PROBE, Piping, Pull, SOLO, STATE, STATES, STEP, words};

impl Core {
    /// Receives the next piece without the sender, which does not come back to the pipe. True when that was possible.
    pub(super) fn go_ahead(&mut self, target: &Target, piping: &mut Piping) -> bool {
        if piping.tied || piping.discard {
            return false;
        }
        let from = piping.pipe.done();
        let to = (from + self.universe.ways().pipe as u64).min(piping.offer.end);
        let read = self.read_ahead(target, piping, from, to);
        piping.behind = read.filter(|_| piping.pipe.go_ahead(to - from).is_ok());
        piping.tied = piping.behind.is_none();
        self.steps += u64::from(!piping.tied);
        !piping.tied
    }

    /// Reads bytes `from..to` of a message whose pipe is open from the sender's memory: how far the sender was. `None` when
    /// that cannot be done, or the data may not have been there any more.
    fn read_ahead(&mut self, target: &Target, piping: &mut Piping, from: u64, to: u64) -> Option<u64> {
        let sent = piping.pipe.sent().ok()?;
        if piping.theirs.is_none() {
            let process = self.can_copy(piping.offer.from, piping.offer.block)?;
            piping.theirs = Some((process, piping.offer.pieces(process)?));
        }
        let (process, theirs) = piping.theirs.as_ref()?;
        self.copy_alone(*process, theirs, &piping.ours, target, from, to).ok()?;
        let still_sending = piping.pipe.still_sending().ok()?;
        let piped = piping.offer.claimed & !STATES | PIPED;
        let here = words(self, piping.offer.from, piping.offer.block)?[STATE].load(Ordering::Acquire) == piped;
        (still_sending && here).then_some(sent)
    }

    /// Copies without the sender, which has not opened the pipe, if that is possible. True when the transfer is over.
    pub(super) fn go_alone(&mut self, op: RawOp, mut piping: Box<Piping>) -> bool {
        // Not again, whatever comes of it.
        piping.opened = true;
        let wanted = self.ops.recv(op).is_some() && !piping.discard;
        let pull = if wanted { self.take_alone(piping.offer, &piping.ours) } else { None };
        let Some(pull) = pull else {
            self.set_recv_stage(op, RecvStage::Piping(piping));
            return false;
        };
        piping.pipe.discard();
        self.step_pull(op, Box::new(pull))
    }

    /// Takes a message over to copy it without the sender; `None` when that is not possible here, or when the sender has
    /// come.
    pub(super) fn take_alone(&mut self, offer: Offer, ours: &Option<Pieces>) -> Option<Pull> {
        let process = self.can_copy(offer.from, offer.block)?;
        let w = words(self, offer.from, offer.block)?;
        let theirs = offer.pieces(process)?;
        let solo = offer.claimed & !STATES | SOLO;
        w[STATE].compare_exchange(offer.claimed, solo, Ordering::AcqRel, Ordering::Relaxed).ok()?;
        Some(Pull { offer, process, theirs, ours: ours.clone(), at: 0, course: None })
    }

    /// Whether single copies from a process work, by its probe word in a block: which process that is, if so.
    pub(super) fn can_copy(&mut self, peer: ProcId, block: Offset) -> Option<ProcessTag> {
        let at = peer.0 as usize;
        if self.copyable.len() <= at {
            self.copyable.resize(at + 1, None);
        }
        if let Some(known) = self.copyable[at] {
            return known;
        }
        let process = self.universe.process(peer)?;
        let w = words(self, peer, block)?;
        let probe = [w[PROBE].load(Ordering::Relaxed), w[PROBE + 1].load(Ordering::Relaxed)];
        let found = self.reaches(process, probe).then_some(process);
        self.copyable[at] = Some(found);
        found
    }

    /// Whether the memory of a process may be read from here: tries its probe word.
    pub(crate) fn reaches(&self, process: ProcessTag, [address, value]: [u64; 2]) -> bool {
        self.single_copy && single_copy::probe(process, address, value)
    }

    pub(super) fn step_pull(&mut self, op: RawOp, mut pull: Box<Pull>) -> bool {
        let Some(target) = self.ops.recv(op).map(|r| r.target.clone()) else {
            return true;
        };
        let to = (pull.at + STEP).min(pull.offer.end);
        let copied = self.copy_alone(pull.process, &pull.theirs, &pull.ours, &target, pull.at, to);
        match copied {
            Ok(()) if !self.is_solo(&pull.offer) => {
                // What was copied may be something else. The sender has kept the message.
                self.stream_instead(op, &pull.offer, target.room());
                true
            }
            Ok(()) if to == pull.offer.end => {
                self.release(pull.offer.from, pull.offer.remote);
                if let Some(course) = pull.course {
                    self.tried.ended(course);
                }
                self.finish_large(op, pull.offer.matched);
                true
            }
            Ok(()) => {
                self.steps += 1;
                pull.at = to;
                self.set_recv_stage(op, RecvStage::Pulling(pull));
                if !self.transfers.contains(&op) {
                    self.transfers.push(op);
                }
                false
            }
            Err(_) if pull.at == 0 => {
                // Nothing copied yet: memory of a kind that cannot be copied this way, or the kernel refuses.
                self.copyable[pull.offer.from.0 as usize] = Some(None);
                self.stream_instead(op, &pull.offer, target.room());
                true
            }
            Err(error) => {
                let Offer { from, matched, remote, .. } = pull.offer;
                self.release(from, remote);
                let error = self.gone_from("copying a large message from", matched.ctx, from, &error);
                self.ops.complete(op, Err(error));
                true
            }
        }
    }

    /// Whether the sender still leaves its memory to this receiver alone.
    fn is_solo(&self, offer: &Offer) -> bool {
        let solo = offer.claimed & !STATES | SOLO;
        words(self, offer.from, offer.block).is_some_and(|w| w[STATE].load(Ordering::Acquire) == solo)
    }

    /// Receives the message from its beginning through the ring.
    fn stream_instead(&mut self, op: RawOp, offer: &Offer, room: u64) {
        let Some(ty) = self.ops.recv(op).map(|r| r.target.ty.clone()) else {
            return;
        };
        let outcome = self.outcome(offer.matched, room, &ty);
        self.ask_for_stream(op, offer.from, offer.remote, offer.end, outcome);
    }

    /// Copies bytes `from..to` of a message out of the sender's memory.
    fn copy_alone(
        &mut self,
        process: ProcessTag,
        theirs: &Pieces,
        ours: &Option<Pieces>,
        target: &Target,
        from: u64,
        to: u64,
    ) -> std::result::Result<(), ShmError> {
        let remote = theirs.remote(from, to);
        if let Some(ours) = ours {
            return single_copy::read_vectored(process, &remote, &ours.local_mut(target.mem, from, to));
        }
        let mut staged = std::mem::take(&mut self.scratch);
        staged.resize((to - from) as usize, 0);
        let copied = single_copy::read_vectored(process, &remote, &[memory::of_mut(&mut staged)]);
        if copied.is_ok() {
            target.ty.unpack(target.count, &mut target.mem.clone(), from as usize, &staged);
        }
        self.scratch = staged;
        copied
    }
}
