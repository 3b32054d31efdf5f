//! `--check`: what is looked for in the calls of a program under development, and costs too much at other times.
//!
//! While it is on, the limit that every send compares its length with is 0 ([`Core::eager_end`]), so that all of them leave the hot
//! path; a small message in standard mode is sent as a synchronous one then, and waits until it is received. Nonblocking
//! operations are *watched*: the memory that they use, the line that began them, and what was in the buffer of a send.
//!
//! A finding is left in the segment when it is made, so that one of a rank that is killed is told as well. Repetitions at one
//! place are counted, and the counts told at the end.

use std::collections::{BTreeMap, HashMap};

use phalanx_shm::mem::ConstMem;
use phalanx_shm::{ProcId, single_copy};
use phalanx_waits::{Class, Finding, Findings, Found, Frame, Key, Names};

use crate::datatype::Datatype;
use crate::pt2pt::partitioned::PARTITIONED;
use crate::status::ANY_SOURCE;

use super::Engine;
use super::core::{Core, base_of};
use super::kind;
use super::matching::Pattern;
use super::memory;
use super::ops::{Body, Owner, RawOp};
use super::receive::{Content, Incoming};
use super::send::Outgoing;

/// Gives the place of the call that this thread is in. Runs under the engine's lock: it only looks at what is there.
pub type CallPlace = fn() -> Option<Frame>;

/// Pieces of a buffer that are looked at one by one; of one with more nothing is known.
const PIECES: usize = 4096;
/// Bytes of a buffer that are read at once.
const BLOCK: usize = 128 << 10;

/// Whether the environment asks for it.
pub(super) fn is_wanted() -> bool {
    let value = std::env::var(crate::boot::environment::CHECK).unwrap_or_default();
    !matches!(value.as_str(), "" | "0" | "off" | "no")
}

/// What is known of the program.
#[derive(Default)]
pub(crate) struct Check {
    place: Option<CallPlace>,
    /// What has been found: the number of the record, and how often it was found again.
    known: HashMap<Key, (u32, u64)>,
    /// Findings for which there was no room.
    more: u64,
    watched: HashMap<u64, Watched>,
    sends: Held,
    receives: Held,
}

/// A nonblocking operation, until its request is completed.
struct Watched {
    sends: bool,
    what: String,
    place: Option<Frame>,
    /// Address and length of the pieces of its buffer.
    pieces: Vec<(usize, usize)>,
    /// Of what was in the buffer of a send.
    sum: Option<u64>,
}

/// Memory that operations use: where a piece begins and whose it is, and where it ends.
#[derive(Default)]
struct Held {
    pieces: BTreeMap<(usize, u64), usize>,
    longest: usize,
}

impl Held {
    fn add(&mut self, pieces: &[(usize, usize)], token: u64) {
        for &(at, len) in pieces {
            self.pieces.insert((at, token), at + len);
            self.longest = self.longest.max(len);
        }
    }

    fn remove(&mut self, pieces: &[(usize, usize)], token: u64) {
        for (at, _) in pieces {
            self.pieces.remove(&(*at, token));
        }
        if self.pieces.is_empty() {
            self.longest = 0;
        }
    }

    /// An operation that uses some of this memory.
    fn user_of(&self, pieces: &[(usize, usize)]) -> Option<u64> {
        pieces.iter().find_map(|&(at, len)| {
            let near = self.pieces.range((at.saturating_sub(self.longest), 0)..(at + len, 0));
            near.into_iter().find(|(_, end)| **end > at).map(|((_, token), _)| *token)
        })
    }
}

/// A sum over bytes, in four lanes, so that it is as fast as they are read.
fn sum_of(bytes: &[u8]) -> u64 {
    const FACTOR: u64 = 0x9e37_79b9_7f4a_7c15;
    let mut lanes = [1, 2, 3, 4_u64];
    let (blocks, rest) = bytes.as_chunks::<32>();
    for block in blocks {
        for (lane, word) in lanes.iter_mut().zip(block.as_chunks::<8>().0) {
            *lane = (lane.rotate_left(5) ^ u64::from_ne_bytes(*word)).wrapping_mul(FACTOR);
        }
    }
    let all = lanes.into_iter().map(u64::to_ne_bytes);
    let ends = rest.iter().copied().chain(all.flatten());
    ends.fold(bytes.len() as u64, |sum, byte| (sum ^ u64::from(byte)).wrapping_mul(FACTOR).rotate_left(23))
}

/// The pieces of a buffer, as addresses; none of one with too many.
fn pieces(mem: ConstMem, count: usize, ty: &Datatype) -> Vec<(usize, usize)> {
    let base = mem.as_ptr().addr();
    let pieces: Vec<_> =
        ty.segments(count).take(PIECES + 1).map(|(at, len)| (base.wrapping_add_signed(at), len)).collect();
    let is_sound = |(at, len): &(usize, usize)| *len > 0 && at.checked_add(*len).is_some();
    if pieces.len() > PIECES || !pieces.iter().all(is_sound) { Vec::new() } else { pieces }
}

/// Processes as one calls them that no launcher of ours has started.
pub(crate) struct Slots;

impl Names for Slots {
    fn rank(&self, slot: u32) -> String {
        slot.to_string()
    }

    fn source(&self, _: &Frame) -> Option<String> {
        None
    }
}

impl Engine {
    /// Whether the program is checked.
    pub fn is_checked(&self) -> bool {
        self.core().check.is_some()
    }

    /// Sets the function that gives the place of the call that a thread is in.
    pub fn set_call_place(&self, place: CallPlace) {
        if let Some(check) = &mut self.core().check {
            check.place = Some(place);
        }
    }

    /// Records a finding, at the place of the call that this thread is in, if it says none.
    pub fn found(&self, finding: Finding) {
        let mut core = self.core();
        let place = finding.place.or_else(|| core.call_place());
        core.found(Finding { place, ..finding });
    }

    /// What a launcher tells at the end, for a process that has none; empty when nothing was found.
    pub fn findings_without_launcher(&self) -> String {
        let universe = self.universe();
        match self.is_checked() && !universe.is_watched() {
            true => Findings::of(universe).told(&Slots),
            false => String::new(),
        }
    }
}

impl Core {
    /// Whether a send is to wait for its receive, although nobody asked for that.
    pub(super) fn is_forced(&self, m: &Outgoing<'_>, owner: Owner) -> bool {
        let is_users = m.ctx.is_multiple_of(4) && m.ctx & PARTITIONED == 0;
        self.check.is_some() && owner == Owner::User && !m.sync && is_users && m.bytes() <= self.eager_limit
    }

    fn call_place(&self) -> Option<Frame> {
        self.check.as_ref()?.place.and_then(|place| place())
    }

    /// Records a finding.
    #[cold]
    fn found(&mut self, finding: Finding) {
        let Some(check) = &mut self.check else { return };
        let key = finding.key();
        if let Some((_, again)) = check.known.get_mut(&key) {
            *again += 1;
            return;
        }
        let record = Found::First(finding).encode();
        let is_added = self.universe.make_findings(self.me).is_ok()
            && self.universe.findings(self.me).is_some_and(|findings| findings.add(&record));
        match is_added {
            true => {
                let number = u32::try_from(check.known.len()).unwrap_or(u32::MAX);
                check.known.insert(key, (number, 0));
            }
            false => check.more += 1,
        }
    }

    /// A nonblocking send has begun.
    #[cold]
    pub(crate) fn watch_send(&mut self, op: RawOp, m: &Outgoing<'_>) {
        let to = self.peer_name(m.ctx, m.dest);
        let what = format!("a send of {} bytes to {to}, tag {}", m.bytes(), m.tag);
        self.watch(op, what, pieces(m.mem, m.count, m.ty), true);
    }

    /// A nonblocking receive has begun.
    #[cold]
    pub(crate) fn watch_receive(&mut self, op: RawOp, m: &Incoming<'_>) {
        let from = match m.pattern.source {
            ANY_SOURCE => "any rank".to_owned(),
            rank => format!("rank {rank}"),
        };
        let what = format!("a receive of up to {} bytes from {from}", m.count * m.ty.size());
        self.watch(op, what, pieces(m.mem.as_const(), m.count, m.ty), false);
    }

    fn watch(&mut self, op: RawOp, what: String, pieces: Vec<(usize, usize)>, sends: bool) {
        if op == RawOp::DONE {
            return;
        }
        let (token, place) = (op.token(), self.call_place());
        let sum = if sends { self.sum(&pieces) } else { None };
        let Some(check) = &mut self.check else { return };
        let other = check.receives.user_of(&pieces).or_else(|| match sends {
            // Two sends may read the same.
            true => None,
            false => check.sends.user_of(&pieces),
        });
        let other = other.and_then(|token| check.watched.get(&token));
        let overlap = other.map(|other| Finding {
            class: Class::OverlappingBuffers,
            what: format!("{what}, in memory that {} under way has", other.what),
            place: place.clone(),
            other: other.place.clone().map(|place| ("which began at".to_owned(), place)),
        });
        match sends {
            true => check.sends.add(&pieces, token),
            false => check.receives.add(&pieces, token),
        }
        check.watched.insert(token, Watched { sends, what, place, pieces, sum });
        if let Some(overlap) = overlap {
            self.found(overlap);
        }
    }

    /// The request of an operation is completed (`whole`), or nobody has it any more.
    #[cold]
    pub(crate) fn unwatch(&mut self, op: RawOp, whole: bool) {
        let token = op.token();
        let Some(check) = &mut self.check else { return };
        let Some(watched) = check.watched.remove(&token) else { return };
        match watched.sends {
            true => check.sends.remove(&watched.pieces, token),
            false => check.receives.remove(&watched.pieces, token),
        }
        if whole && watched.sum.is_some() && self.sum(&watched.pieces).is_some_and(|now| Some(now) != watched.sum) {
            let waited = self.call_place().map(|place| ("and it was completed at".to_owned(), place));
            let what = format!("the data of {} was changed before its request was completed", watched.what);
            self.found(Finding { class: Class::ChangedBuffer, what, place: watched.place, other: waited });
        }
    }

    /// A sum over memory of the program, which the kernel reads: the program may have given it back, against the rules.
    fn sum(&self, pieces: &[(usize, usize)]) -> Option<u64> {
        if pieces.is_empty() {
            return None;
        }
        let own = self.universe.own_tag();
        let mut block = vec![0u8; BLOCK.min(pieces.iter().map(|(_, len)| *len).max().unwrap_or(0))];
        let mut sum = 0xcbf2_9ce4_8422_2325_u64;
        for &(at, len) in pieces {
            for from in (0..len).step_by(block.len()) {
                let part = (len - from).min(block.len());
                let remote = single_copy::RemoteMem { addr: (at + from) as u64, len: part };
                single_copy::read(own, remote, memory::of_mut(&mut block[..part])).ok()?;
                sum = sum.rotate_left(5) ^ sum_of(&block[..part]);
            }
        }
        Some(sum)
    }

    /// A message has been taken for a receive from any rank: looks whether another rank's would have been right as well.
    #[cold]
    pub(super) fn look_for_race(&mut self, ctx: u32, pattern: Pattern, source: i32) {
        let senders: Vec<_> = self.universe.senders(self.me).collect();
        for from in senders {
            self.poll_ring(from);
        }
        let fits = |other: i32, tag: i32| other != source && pattern.fits(other, tag);
        let other = self.contexts.get(&ctx).and_then(|queues| {
            queues.arrived.entries().find(|(other, tag, _)| fits(*other, *tag)).map(|(other, _, _)| *other)
        });
        self.race(ctx, source, other, None);
    }

    /// A message has come for a receive from any rank that waited: the same, as far as can be seen while it is delivered.
    #[cold]
    pub(super) fn look_for_race_of(&mut self, op: RawOp, ctx: u32, source: i32, from: ProcId) {
        let pattern = self.ops.recv(op).map(|recv| recv.pattern);
        let Some(pattern) = pattern.filter(|pattern| pattern.source == ANY_SOURCE) else { return };
        let senders: Vec<_> = self.universe.senders(self.me).filter(|sender| *sender != from).collect();
        for sender in senders {
            self.take_inlet(sender);
        }
        let other = self.inlets.iter_mut().flatten().find_map(|inlet| {
            let record = inlet.ring.peek().ok()??;
            let e = record.envelope;
            let is_message = matches!(e.kind, kind::EAGER | kind::EAGER_SYNC | kind::OFFER);
            let fits = is_message && e.ctx == ctx && e.src as i32 != source && pattern.fits(e.src as i32, e.tag);
            fits.then_some(e.src as i32)
        });
        let place = self.check.as_ref().and_then(|check| check.watched.get(&op.token())?.place.clone());
        self.race(ctx, source, other, place);
    }

    fn race(&mut self, ctx: u32, source: i32, other: Option<i32>, place: Option<Frame>) {
        let is_users = ctx.is_multiple_of(4) && ctx & PARTITIONED == 0;
        let Some(other) = other.filter(|_| is_users) else { return };
        let comm = self.context_name(base_of(ctx));
        let what = format!(
            "a receive from any rank on {comm} took the message of rank {source}, and one of rank {other} was there that fits \
             as well: which comes first is chance"
        );
        let place = place.or_else(|| self.call_place());
        self.found(Finding { class: Class::RacingReceive, what, place, other: None });
    }

    /// A message will not be received: its receiver has ended.
    #[cold]
    pub(super) fn unreceived(&mut self, op: RawOp) {
        let Some((ctx, dest, tag, bytes)) = self.ops.send(op).map(|s| (s.ctx, s.dest, s.tag, s.bytes)) else { return };
        let (to, comm) = (self.peer_name(ctx, dest), self.context_name(ctx));
        let what = format!("a message of {bytes} bytes to {to}, tag {tag}, on {comm} was never received");
        let watched = self.check.as_ref().and_then(|check| check.watched.get(&op.token())?.place.clone());
        let place = watched.or_else(|| self.call_place());
        self.found(Finding { class: Class::UnreceivedMessage, what, place, other: None });
    }

    /// Nothing more is received: what has come and was kept for nobody, and how often it all was.
    pub(super) fn finish_check(&mut self) {
        if self.check.is_none() {
            return;
        }
        let is_users = |ctx: u32| ctx.is_multiple_of(4) && ctx & PARTITIONED == 0;
        let mut left: Vec<(u32, i32, i32, u64)> = Vec::new();
        for (ctx, queues) in self.contexts.iter().filter(|(ctx, _)| is_users(**ctx)) {
            let kept = queues.arrived.entries().filter(|(_, _, stored)| {
                // Of the others the sender knows, and says where it is.
                matches!(stored.content, Content::Packed { sync: None, .. })
            });
            left.extend(kept.map(|(source, tag, stored)| (*ctx, *source, *tag, stored.bytes)));
        }
        let own = |op: &super::ops::Op| matches!(&op.body, Body::Send(send) if send.forced && send.dest == self.me);
        let own: Vec<RawOp> = self.ops.under_way().filter(|(_, op)| own(op)).map(|(op, _)| op).collect();
        for op in own {
            self.unreceived(op);
        }
        for (ctx, source, tag, bytes) in left {
            let comm = self.context_name(ctx);
            let what =
                format!("a message of {bytes} bytes from rank {source}, tag {tag}, on {comm} was never received");
            self.found(Finding { class: Class::UnreceivedMessage, what, place: None, other: None });
        }
        let Some(check) = &self.check else { return };
        let Some(findings) = self.universe.findings(self.me) else { return };
        let again = check.known.values().filter(|(_, times)| *times > 0);
        again.for_each(|(number, times)| {
            findings.add(&Found::Again(*number, *times).encode());
        });
        if check.more > 0 {
            findings.add(&Found::More(check.more).encode());
        }
    }

    /// Whether this process counts a receiver as one that has ended well.
    pub(super) fn is_unreceived(&mut self, op: RawOp, has_failed: impl FnOnce(&Core, ProcId) -> bool) -> bool {
        let Some(dest) = self.ops.send(op).filter(|send| send.forced).map(|send| send.dest) else { return false };
        !has_failed(self, dest)
    }
}
