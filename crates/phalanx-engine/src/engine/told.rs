//! What a blocked call waits for, told for those who look from outside: see `phalanx-waits`.

use phalanx_shm::ProcId;
use phalanx_waits::{Collective, Item, Kind, Need, Peers};

use crate::comm::Comm;
use crate::group::Group;
use crate::pt2pt::partitioned::PARTITIONED;
use crate::status::{ANY_SOURCE, ANY_TAG};

use super::core::{Core, base_of, is_collective, is_users};
use super::ended::peers;
use super::matching::Pattern;
use super::ops::{Body, Owner, RawOp, RecvStage, SendStage};

/// Items that are named where a few are enough.
const ENOUGH: usize = 16;
/// Ranges of processes that an item names at most; of one with more nothing is said.
const RANGES: usize = 64;

/// What a call waits for, as far as it has been told.
pub(crate) struct Told {
    pub(super) need: Need,
    pub(super) items: Vec<Item>,
    /// Whether nothing else could end the wait.
    pub(super) whole: bool,
    /// The communicator of whose collective operations all of it is.
    pub(super) collective: Option<Collective>,
}

impl Told {
    pub(super) fn new() -> Told {
        Told { need: Need::All, items: Vec::new(), whole: true, collective: None }
    }

    /// Any of the items ends the wait.
    pub(crate) fn any(&mut self) {
        self.need = Need::Any;
    }

    /// Something else may end the wait.
    pub(crate) fn unknown(&mut self) {
        self.whole = false;
    }

    /// One of these processes does something.
    pub(crate) fn add(&mut self, kind: Kind, peers: Peers, what: String) {
        self.push(Item { kind, peers, what, near: String::new() });
    }

    /// This very process does something, in another thread.
    pub(crate) fn own(&mut self, core: &Core, what: &str) {
        self.add(Kind::Own, Peers::one(core.me.0), what.to_owned());
    }

    fn push(&mut self, item: Item) {
        if item.peers.ranges() > RANGES {
            return self.unknown();
        }
        if self.need == Need::Any || self.items.len() < ENOUGH {
            self.items.push(item);
        }
    }

    /// The completion of an operation.
    pub(crate) fn op(&mut self, core: &mut Core, op: RawOp) {
        let told = match core.ops.get(op) {
            Some(entry) if entry.outcome.is_none() => match &entry.body {
                Body::Send(send) if matches!(send.stage, SendStage::Offered) => Some(Operation::Send {
                    ctx: send.ctx,
                    tag: send.tag,
                    dest: send.dest,
                    bytes: send.bytes,
                    kind: if send.forced { Kind::Kept } else { Kind::Send },
                }),
                Body::Recv(recv) if matches!(recv.stage, RecvStage::Posted) => {
                    Some(Operation::Receive { ctx: recv.ctx, pattern: recv.pattern })
                }
                // Its data moves.
                _ => None,
            },
            // It is complete: no part of a wait for all, and the end of one for any.
            _ if self.need == Need::All => return,
            _ => None,
        };
        match told {
            Some(Operation::Send { ctx, tag, dest, bytes, kind }) => {
                self.collective = core.served_by(ctx);
                let kind = if self.collective.is_some() { Kind::Collective } else { kind_in(ctx, kind) };
                let (to, place) = (core.rank_in(ctx, dest), core.context_name(ctx));
                let what = match kind {
                    Kind::Collective => format!("on {place}, for {to}"),
                    _ => format!("to {to}{}, {bytes} bytes, on {place}", tag_of(ctx, tag)),
                };
                self.add(kind, Peers::one(dest.0), what);
            }
            Some(Operation::Receive { ctx, pattern }) => self.message(core, ctx, pattern),
            None => self.unknown(),
        }
    }

    /// A message that fits a pattern.
    pub(crate) fn message(&mut self, core: &Core, ctx: u32, pattern: Pattern) {
        let Some(peers) = core.senders_of(ctx, pattern) else { return self.unknown() };
        let from = match pattern.source {
            ANY_SOURCE => "any rank".to_owned(),
            _ => peers.only().map_or_else(|| "a rank".to_owned(), |slot| core.rank_in(ctx, ProcId(slot))),
        };
        self.collective = core.served_by(ctx);
        let kind = if self.collective.is_some() { Kind::Collective } else { kind_in(ctx, Kind::Receive) };
        let place = core.context_name(ctx);
        let what = match kind {
            Kind::Collective => format!("on {place}, for {from}"),
            _ => format!("from {from}{}, on {place}", tag_of(ctx, pattern.tag)),
        };
        let near = core.nearly(ctx, pattern).unwrap_or_default();
        self.push(Item { kind, peers, what, near });
    }

    /// Any completion that a collective operation in messages waits for.
    pub(crate) fn messages(&mut self, core: &mut Core) {
        self.any();
        for op in core.raw_ops() {
            self.op(core, op);
        }
        self.collective = core.collective_under_way();
    }

    /// All sends under way that `chosen` names.
    pub(crate) fn sends(&mut self, core: &mut Core, chosen: impl Fn(&super::ops::SendOp) -> bool) {
        let is_chosen = |body: &Body| matches!(body, Body::Send(send) if chosen(send));
        let ops: Vec<RawOp> =
            core.ops.under_way().filter(|(_, entry)| is_chosen(&entry.body)).map(|(op, _)| op).collect();
        for op in ops {
            self.op(core, op);
        }
    }

    /// All sends under way, of one who says goodbye.
    pub(super) fn deliveries(&mut self, core: &mut Core) {
        self.sends(core, |_| true);
        for item in &mut self.items {
            item.what = format!("with a send {}", item.what);
        }
    }

    /// It waits for a schedule: which, in words.
    pub(crate) fn under_way(&mut self, core: &Core, name: &str) -> String {
        self.collective = core.collective_under_way();
        match &self.collective {
            Some(collective) => format!("for {name} on {}", collective.title),
            None => format!("for {name}"),
        }
    }

    /// The other ranks of a collective operation that have not come.
    pub(crate) fn members(&mut self, comm: &Comm, absent: impl Iterator<Item = usize>) {
        let (group, title) = (comm.group(), comm.title());
        self.collective = collective(comm.ctx(), title.clone(), group);
        let absent: Vec<(usize, ProcId)> =
            absent.filter_map(|rank| Some((rank, group.get(rank)?))).take(ENOUGH).collect();
        for (at, (_, process)) in absent.iter().enumerate() {
            let what = match at {
                0 => format!("on {title}, for {}", ranks(&absent)),
                _ => String::new(),
            };
            self.add(Kind::Collective, Peers::one(process.0), what);
        }
    }
}

enum Operation {
    Send { ctx: u32, tag: i32, dest: ProcId, bytes: u64, kind: Kind },
    Receive { ctx: u32, pattern: Pattern },
}

fn ranks(absent: &[(usize, ProcId)]) -> String {
    let numbers: Vec<String> = absent.iter().take(8).map(|(rank, _)| rank.to_string()).collect();
    match (&numbers[..], absent.len() - numbers.len()) {
        ([one], _) => format!("rank {one}"),
        (_, 0) => format!("ranks {}", numbers.join(", ")),
        (_, more) if absent.len() < ENOUGH => format!("ranks {} and {more} more", numbers.join(", ")),
        _ => format!("ranks {} and others", numbers.join(", ")),
    }
}

fn kind_in(ctx: u32, kind: Kind) -> Kind {
    if is_users(ctx) || ctx & PARTITIONED != 0 { kind } else { Kind::Collective }
}

fn tag_of(ctx: u32, tag: i32) -> String {
    if tag == ANY_TAG || !is_users(ctx) { String::new() } else { format!(", tag {tag}") }
}

fn collective(context: u32, title: String, group: &Group) -> Option<Collective> {
    let members: Peers = group.members().iter().map(|process| process.0).collect();
    (members.ranges() <= RANGES).then_some(Collective { context, title, members })
}

impl Core {
    /// The communicator whose collective operations this context has the messages of.
    fn served_by(&self, ctx: u32) -> Option<Collective> {
        let served = self.comm_of(ctx).filter(|_| is_users(ctx))?.served()?;
        let comm = self.comm_of(served).filter(|comm| comm.remote.is_none())?;
        collective(served, comm.title(), &comm.local)
    }

    /// The communicator of the schedules under way, if all are of one.
    pub(crate) fn collective_under_way(&self) -> Option<Collective> {
        let raw = self.ops.under_way().filter(|(_, entry)| entry.owner == Owner::Raw);
        let mut contexts = raw.filter_map(|(_, entry)| entry.context());
        let first = contexts.next().filter(|first| is_collective(*first)).map(base_of)?;
        let is_only = contexts.all(|ctx| is_collective(ctx) && base_of(ctx) == first);
        let comm = self.comm_of(first).filter(|comm| is_only && comm.remote.is_none())?;
        collective(first, comm.title(), &comm.local)
    }

    /// The operations of schedules that are under way.
    fn raw_ops(&self) -> Vec<RawOp> {
        self.ops.under_way().filter(|(_, entry)| entry.owner == Owner::Raw).map(|(op, _)| op).collect()
    }

    /// Who could advance the schedules under way; `None` when nobody knows.
    pub(crate) fn background(&mut self) -> Option<Peers> {
        if self.schedules.has_busy() {
            return None;
        }
        let mut told = Told::new();
        told.messages(self);
        let mut slots: Vec<u32> =
            told.items.iter().flat_map(|item| item.peers.below(self.universe.capacity())).collect();
        slots.sort_unstable();
        slots.dedup();
        let peers: Peers = slots.into_iter().collect();
        (told.whole && peers.ranges() <= RANGES).then_some(peers)
    }

    /// Who may send what fits a pattern; `None` when nobody knows.
    fn senders_of(&self, ctx: u32, pattern: Pattern) -> Option<Peers> {
        if !ctx.is_multiple_of(4) {
            // Between processes.
            return u32::try_from(pattern.source).ok().map(Peers::one);
        }
        let comm = self.comm_of(ctx)?;
        let group = peers(&comm);
        match pattern.source {
            ANY_SOURCE => Some(group.members().iter().map(|process| process.0).collect()),
            rank => group.get(usize::try_from(rank).ok()?).map(|process| Peers::one(process.0)),
        }
    }

    /// What a process is called among the peers of a context.
    fn rank_in(&self, ctx: u32, process: ProcId) -> String {
        let comm = self.comm_of(ctx);
        match comm.as_ref().and_then(|comm| Some((peers(comm).rank_of(process)?, comm.remote.is_some()))) {
            Some((rank, false)) => format!("rank {rank}"),
            Some((rank, true)) => format!("rank {rank} of the remote group"),
            None => format!("the process in slot {process}"),
        }
    }

    /// A message that has arrived and that somebody may have meant, who waits for this one.
    fn nearly(&self, ctx: u32, pattern: Pattern) -> Option<String> {
        if !is_users(ctx) {
            return None;
        }
        let wanted = self.senders_of(ctx, pattern)?;
        let mut contexts: Vec<u32> = self.contexts.keys().copied().filter(|other| is_users(*other)).collect();
        // Those of the same communicator first.
        contexts.sort_unstable_by_key(|other| (*other != ctx, *other));
        for other in contexts {
            let mut arrived: Vec<(i32, i32, u32, u64)> =
                self.contexts[&other].arrived.entries().map(|(s, t, m)| (*s, *t, m.from.0, m.bytes)).collect();
            // The right tag first, then the right sender.
            arrived.sort_by_key(|(_, tag, from, _)| (*tag != pattern.tag, !wanted.contains(*from)));
            let is_near = |tag: i32, from: u32| wanted.contains(from) || (other == ctx && tag == pattern.tag);
            if let Some((source, tag, _, bytes)) = arrived.into_iter().find(|(_, tag, from, _)| is_near(*tag, *from)) {
                let place = if other == ctx { String::new() } else { format!(" on {}", self.context_name(other)) };
                return Some(format!(
                    "a message of {bytes} bytes from rank {source} with tag {tag}{place} is here, which does not fit"
                ));
            }
        }
        None
    }
}
