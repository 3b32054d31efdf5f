//! Who comes last to the collective operations, and what that costs the others.
//!
//! The k-th collective call of one member on a communicator meets the k-th of each other member: the standard wants the
//! same order of all. So no member has to say which operation a call belongs to. Where the calls of a communicator do
//! not fit together (another function, or one that was over before another member came), some are missing, and
//! what is behind is left out.

use std::collections::{BTreeMap, HashMap};

use super::calls::{length, outer, span, waited};
use crate::{Call, Class, PlaceId, Trace};

/// The last call of each rank: who has finished waits in it for those who have not.
pub(crate) const FINALIZE: &str = "MPI_Finalize";

/// One collective function in one line, over all the times that it was called there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Imbalance {
    pub(crate) name: &'static str,
    pub(crate) place: Option<PlaceId>,
    pub(crate) object: Option<String>,
    /// Members that were seen.
    pub(crate) members: u64,
    /// How often they met.
    pub(crate) times: u64,
    /// How much later the last came than the first: added up, and at most.
    pub(crate) spread_ns: u64,
    pub(crate) widest_ns: u64,
    /// How long members waited for one that had not come yet, all together.
    pub(crate) lost_ns: u64,
    /// Who was last most often.
    pub(crate) last: Last,
}

/// Who was last most often.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Last {
    pub(crate) rank: u32,
    pub(crate) times: u64,
    /// How long the others waited for it in these.
    pub(crate) lost_ns: u64,
    /// Outside of calls since the operation before, in these: it, and the others on average.
    pub(crate) own_ns: u64,
    pub(crate) others_own_ns: u64,
}

/// Waiting for who came last, the costliest line first.
pub(crate) fn imbalances(trace: &Trace) -> Vec<Imbalance> {
    let own = trace.ranks.iter().map(OwnTime::of).collect::<Vec<_>>();
    let starts = trace.ranks.iter().map(|rank| span(rank).0).collect::<Vec<_>>();
    let mut lines: BTreeMap<(Option<PlaceId>, &'static str), Line> = BTreeMap::new();
    for members in communicators(trace).into_values().filter(|members| members.len() > 1) {
        let times = members.values().map(Vec::len).min().unwrap_or(0);
        for k in 0..times {
            let meeting: Vec<Arrival<'_>> = members
                .iter()
                .map(|(&rank, calls)| {
                    let before = k.checked_sub(1).map(|k| calls[k]);
                    let call = &trace.ranks[rank as usize].calls[calls[k]];
                    let own_ns = own[rank as usize].between(before, calls[k]);
                    Arrival { rank, call, own_ns, started_ns: starts[rank as usize] }
                })
                .collect();
            if !fits(&meeting) {
                break;
            }
            let first = meeting[0].call;
            let place = first.place.filter(|p| (p.0 as usize) < trace.places.len());
            lines.entry((place, first.name)).or_default().add(&meeting);
        }
    }
    let mut found: Vec<Imbalance> = lines.into_iter().map(|((place, name), line)| line.summary(name, place)).collect();
    found.sort_by_key(|i| (u64::MAX - i.lost_ns, u64::MAX - i.spread_ns, i.place));
    found
}

/// A member at a collective operation.
struct Arrival<'a> {
    rank: u32,
    call: &'a Call,
    /// Outside of calls since the operation before.
    own_ns: u64,
    /// When the member's first call began.
    started_ns: u64,
}

/// Where members meet. The number tells communicators of one name apart; a trace without it has the names only.
#[derive(PartialEq, Eq, Hash)]
enum Key<'a> {
    Number(u64),
    Name(Option<&'a str>),
    End,
}

/// The collective calls on each communicator that hold the caller up, by member.
fn communicators(trace: &Trace) -> HashMap<Key<'_>, BTreeMap<u32, Vec<usize>>> {
    let mut communicators: HashMap<_, BTreeMap<u32, Vec<usize>>> = HashMap::new();
    for (rank, r) in (0..).zip(&trace.ranks) {
        for (i, call) in outer(r).filter(|(_, call)| meets(call)) {
            let key = match call.context {
                _ if call.name == FINALIZE => Key::End,
                Some(context) => Key::Number(context),
                None => Key::Name(call.object.as_deref()),
            };
            communicators.entry(key).or_default().entry(rank).or_default().push(i);
        }
    }
    communicators
}

/// Whether all members of the communicator meet in a call: not in one that returns at once, nor only with neighbours.
fn meets(call: &Call) -> bool {
    let collective = call.class == Class::Collective
        && !call.name.starts_with("MPI_I")
        && !call.name.contains("_init")
        && !call.name.contains("eighbor");
    collective || call.name == FINALIZE
}

/// Whether these calls can be one operation.
fn fits(meeting: &[Arrival<'_>]) -> bool {
    let name = meeting[0].call.name;
    let first_end = meeting.iter().filter(|a| a.call.returned).map(|a| a.call.ended_ns).min().unwrap_or(u64::MAX);
    let last = meeting.iter().map(|a| a.call.began_ns).max().unwrap_or(0);
    meeting.iter().all(|a| a.call.name == name) && (!needs_all(name) || last <= first_end)
}

/// Whether nobody can leave before everybody has come.
fn needs_all(name: &str) -> bool {
    let name = name.trim_start_matches("MPI_");
    ["Barrier", "All", "Reduce_scatter"].iter().any(|prefix| name.starts_with(prefix))
}

/// What [`Imbalance`] is made from.
#[derive(Default)]
struct Line {
    object: Option<String>,
    members: u64,
    times: u64,
    spread_ns: u64,
    widest_ns: u64,
    lost_ns: u64,
    last: BTreeMap<u32, Last>,
}

impl Line {
    fn add(&mut self, meeting: &[Arrival<'_>]) {
        let mut order: Vec<&Arrival<'_>> = meeting.iter().collect();
        order.sort_by_key(|a| a.call.began_ns);
        let [first, .., last] = order[..] else { return };
        let came = last.call.began_ns;
        let spread = came.saturating_sub(first.call.began_ns);
        let lost = meeting.iter().fold(0, |sum: u64, a| {
            // Before the last had started at all, nothing that the program does would have brought it here.
            let there = a.call.began_ns.max(last.started_ns);
            sum.saturating_add(waited(a.call).min(came.saturating_sub(there)))
        });
        if self.object.is_none() {
            self.object = first.call.object.clone();
        }
        self.members = self.members.max(meeting.len() as u64);
        self.times += 1;
        self.spread_ns = self.spread_ns.saturating_add(spread);
        self.widest_ns = self.widest_ns.max(spread);
        self.lost_ns = self.lost_ns.saturating_add(lost);
        let others = meeting.iter().filter(|a| a.rank != last.rank).fold(0, |sum: u64, a| sum.saturating_add(a.own_ns));
        let entry = self.last.entry(last.rank).or_insert(Last { rank: last.rank, ..Last::default() });
        entry.times += 1;
        entry.lost_ns = entry.lost_ns.saturating_add(lost);
        entry.own_ns = entry.own_ns.saturating_add(last.own_ns);
        entry.others_own_ns = entry.others_own_ns.saturating_add(others / (meeting.len() as u64 - 1).max(1));
    }

    fn summary(self, name: &'static str, place: Option<PlaceId>) -> Imbalance {
        let last = self.last.into_values().max_by_key(|l| (l.times, l.lost_ns, u32::MAX - l.rank)).unwrap_or_default();
        Imbalance {
            name,
            place,
            object: self.object,
            members: self.members,
            times: self.times,
            spread_ns: self.spread_ns,
            widest_ns: self.widest_ns,
            lost_ns: self.lost_ns,
            last,
        }
    }
}

/// How long a rank was outside of calls, before each of its outer calls, added up by thread.
struct OwnTime<'a> {
    rank: &'a crate::Rank,
    before: HashMap<usize, u64>,
}

impl<'a> OwnTime<'a> {
    fn of(rank: &'a crate::Rank) -> Self {
        let mut threads: HashMap<u32, (u64, Option<u64>)> = HashMap::new();
        let mut before = HashMap::new();
        for (i, call) in outer(rank) {
            let (own, ended) = threads.entry(call.thread).or_default();
            if let Some(ended) = ended {
                *own = own.saturating_add(call.began_ns.saturating_sub(*ended));
            }
            before.insert(i, *own);
            *ended = Some(call.began_ns.saturating_add(length(call)));
        }
        OwnTime { rank, before }
    }

    /// Outside of calls between two calls of one thread; from its first call where there is no earlier one.
    fn between(&self, earlier: Option<usize>, later: usize) -> u64 {
        let of = |i| self.before.get(&i).copied().unwrap_or(0);
        let same = |e: &usize| self.rank.calls[*e].thread == self.rank.calls[later].thread;
        of(later).saturating_sub(earlier.filter(same).map_or(0, of))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::testing::{call, places, ranks};

    /// An Allreduce on the world that member `rank` comes to at these times and all leave at `end`.
    fn allreduces(trace: &mut Trace, times: &[(&[u64], u64)]) {
        for (came, end) in times {
            let last = *came.iter().max().expect("members");
            for (rank, came) in came.iter().enumerate() {
                let mut c = call("MPI_Allreduce", Class::Collective, *came, *end, last - came);
                (c.context, c.object, c.place) = (Some(1), Some("MPI_COMM_WORLD".to_owned()), Some(PlaceId(0)));
                trace.ranks[rank].calls.push(c);
            }
        }
    }

    #[test]
    fn who_comes_last_is_counted_with_what_it_costs() {
        let mut trace = ranks(3);
        places(&mut trace, &["solver.py:41"]);
        trace.ranks.iter_mut().for_each(|rank| rank.calls.push(call("MPI_Init", Class::Management, 0, 0, 0)));
        allreduces(&mut trace, &[(&[10, 20, 50], 52), (&[60, 70, 102], 104), (&[130, 110, 120], 132)]);
        let found = imbalances(&trace);
        assert_eq!(found.len(), 1);
        let line = &found[0];
        assert_eq!((line.name, line.place, line.members, line.times), ("MPI_Allreduce", Some(PlaceId(0)), 3, 3));
        assert_eq!((line.spread_ns, line.widest_ns, line.lost_ns), (40 + 42 + 20, 42, 70 + 74 + 30));
        // Rank 2 was last twice, after 50 outside of calls each; the others were there for 10 and 20, then 8 and 18.
        let last = Last { rank: 2, times: 2, lost_ns: 144, own_ns: 100, others_own_ns: 15 + 13 };
        assert_eq!(line.last, last);
    }

    #[test]
    fn who_started_late_is_not_waited_for_before() {
        let mut trace = ranks(2);
        trace.ranks[0].calls.push(call("MPI_Init", Class::Management, 0, 0, 0));
        trace.ranks[1].calls.push(call("MPI_Init", Class::Management, 300, 300, 0));
        for (rank, came) in [(0, 10), (1, 310)] {
            trace.ranks[rank].calls.push(call("MPI_Barrier", Class::Collective, came, 311, 310 - came));
        }
        let found = imbalances(&trace);
        assert_eq!((found[0].spread_ns, found[0].lost_ns), (300, 10));
    }

    #[test]
    fn communicators_of_one_name_are_told_apart() {
        let mut trace = ranks(4);
        for (rank, came) in [(0, 0), (1, 5), (2, 1000), (3, 1001)] {
            let mut c = call("MPI_Barrier", Class::Collective, came, came + 10, 5);
            (c.context, c.object) = (Some(rank / 2), Some("half".to_owned()));
            trace.ranks[rank as usize].calls.push(c);
        }
        let found = imbalances(&trace);
        assert_eq!((found[0].times, found[0].members, found[0].spread_ns), (2, 2, 6));
    }

    #[test]
    fn calls_that_cannot_have_met_are_left_out() {
        let mut trace = ranks(4);
        for (rank, came) in [0, 5, 1000, 1001].into_iter().enumerate() {
            // Two halves that the trace does not tell apart.
            trace.ranks[rank].calls.push(call("MPI_Barrier", Class::Collective, came, came + 10, 5));
        }
        assert_eq!(imbalances(&trace), []);
        let mut trace = ranks(2);
        trace.ranks[0].calls.push(call("MPI_Barrier", Class::Collective, 0, 10, 5));
        trace.ranks[1].calls.push(call("MPI_Bcast", Class::Collective, 0, 10, 5));
        assert_eq!(imbalances(&trace), []);
    }

    #[test]
    fn nonblocking_and_neighbourhood_operations_hold_nobody_up() {
        let mut trace = ranks(2);
        for name in ["MPI_Iallreduce", "MPI_Neighbor_alltoall", "MPI_Barrier_init"] {
            for rank in &mut trace.ranks {
                rank.calls.push(call(name, Class::Collective, 0, 10, 5));
            }
        }
        assert_eq!(imbalances(&trace), []);
    }

    #[test]
    fn who_leaves_a_broadcast_early_does_not_make_it_none() {
        let mut trace = ranks(2);
        for (rank, came) in [(0, 0), (1, 500)] {
            let mut c = call("MPI_Bcast", Class::Collective, came, came + 10, 0);
            c.context = Some(7);
            trace.ranks[rank].calls.push(c);
        }
        let found = imbalances(&trace);
        assert_eq!((found[0].spread_ns, found[0].lost_ns, found[0].last.rank), (500, 0, 1));
    }
}
