//! The calls and messages that the page draws, as compact as a page wants them: what calls have in common stands once,
//! times are distances to the time before, and in a large trace short calls that lie close together are one entry.

use std::collections::{BTreeMap, HashMap};

use serde::Serialize;

use super::blocked::CLASSES;
use super::calls::{end, length, waited};
use super::source::Sources;
use crate::{Call, Class, End, Message, Place, Trace};

/// Entries of calls that a page draws at most; beyond it short ones are put together.
const CALLS: usize = 100_000;
/// Messages that a page draws at most.
const MESSAGES: usize = 40_000;
/// Into how many parts the job is cut in the first attempt to put calls together.
const PARTS: u64 = 1 << 16;

/// What the page draws.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Timeline {
    lasted: u64,
    ranks: Vec<RankRow>,
    names: Vec<&'static str>,
    objects: Vec<String>,
    places: Vec<Line>,
    shapes: Vec<Shape>,
    lanes: Vec<Lane>,
    /// Six numbers for each: sender, receiver, distance from the sending before, time to arrival, tag, bytes.
    messages: Vec<i64>,
    /// Calls shorter than this were put together with their neighbours; 0 where all are here.
    pub(crate) resolution: u64,
    /// Messages that are not drawn.
    pub(crate) messages_left_out: u64,
}

#[derive(Debug, Serialize)]
struct RankRow {
    name: String,
    pid: u32,
    /// In the words of the launcher, where it ended badly.
    end: Option<String>,
}

/// File, number, function, text.
#[derive(Debug, Serialize)]
struct Line(String, u32, String, Option<String>);

/// What calls have in common: name, class, place, communicator, peer, tag, bytes, whether they returned, and how many
/// they are where an entry stands for several; its name and class are then those of the most.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
struct Shape(usize, usize, Option<u32>, Option<usize>, Option<u32>, Option<i32>, Option<u64>, bool, u64);

/// Calls of one thread, all made directly or all made within as many others.
#[derive(Debug, Serialize)]
struct Lane {
    rank: usize,
    thread: u32,
    depth: usize,
    /// Four numbers for each: distance from the beginning before, time taken, time waited, shape.
    calls: Vec<u64>,
}

/// The timeline of a trace; the texts of lines come from `sources`.
pub(crate) fn timeline(trace: &Trace, sources: &mut Sources) -> Timeline {
    within(trace, sources, CALLS, MESSAGES)
}

fn within(trace: &Trace, sources: &mut Sources, most_calls: usize, most_messages: usize) -> Timeline {
    let lasted = end(trace);
    let lanes = lanes(trace);
    let mut resolution = 0;
    let entries = |resolution| lanes.values().map(|calls| together(calls, resolution).len()).sum::<usize>();
    if entries(0) > most_calls {
        resolution = (lasted / PARTS).max(1);
        while entries(resolution) > most_calls && resolution <= lasted {
            resolution = resolution.saturating_mul(2);
        }
    }
    let mut tables = Tables::default();
    let lanes = lanes.iter().map(|(&(rank, thread, depth), calls)| {
        let mut numbers = Vec::new();
        let mut before = 0;
        for entry in together(calls, resolution) {
            let shape = tables.shape(trace, &entry);
            numbers.extend([entry.began.saturating_sub(before), entry.took, entry.waited, shape as u64]);
            // One that did not come in order is drawn where the one before it is.
            before = entry.began.max(before);
        }
        Lane { rank, thread, depth, calls: numbers }
    });
    let lanes = lanes.collect();
    let (messages, messages_left_out) = messages(&trace.messages, trace.ranks.len(), lasted, most_messages);
    let ranks = trace.ranks.iter().map(|rank| {
        let end = if let End::Badly(how) = &rank.end { Some(how.clone()) } else { None };
        RankRow { name: rank.name.clone(), pid: rank.pid, end }
    });
    let line = |place: &Place| {
        Line(place.file.clone(), place.line, place.function.clone(), sources.line(place).map(str::to_owned))
    };
    Timeline {
        lasted,
        ranks: ranks.collect(),
        names: tables.names.0,
        objects: tables.objects.0,
        places: trace.places.iter().map(line).collect(),
        shapes: tables.shapes.0,
        lanes,
        messages,
        resolution,
        messages_left_out,
    }
}

/// The calls by rank, thread and how many others they were made within, each in the order of their beginnings.
fn lanes(trace: &Trace) -> BTreeMap<(usize, u32, usize), Vec<&Call>> {
    let mut lanes: BTreeMap<_, Vec<&Call>> = BTreeMap::new();
    for (r, rank) in trace.ranks.iter().enumerate() {
        // The ends of the calls that a thread is in.
        let mut open: HashMap<u32, Vec<u64>> = HashMap::new();
        for call in &rank.calls {
            let open = open.entry(call.thread).or_default();
            while open.last().is_some_and(|end| *end <= call.began_ns) {
                open.pop();
            }
            lanes.entry((r, call.thread, open.len())).or_default().push(call);
            open.push(call.ended_ns.max(call.began_ns));
        }
    }
    lanes
}

/// What is drawn as one: a call, or several that follow each other.
struct Entry<'a> {
    calls: &'a [&'a Call],
    began: u64,
    took: u64,
    waited: u64,
}

/// The calls of a lane; those shorter than `resolution` that lie in the same stretch of that length are one entry.
fn together<'a>(calls: &'a [&'a Call], resolution: u64) -> Vec<Entry<'a>> {
    let stretch = |call: &Call| (length(call) < resolution).then(|| call.began_ns / resolution.max(1));
    let same = |a: &&Call, b: &&Call| stretch(a).is_some() && stretch(a) == stretch(b);
    let groups = calls.chunk_by(same).map(|calls| {
        let (began, last) = (calls[0].began_ns, calls[calls.len() - 1]);
        let took = last.ended_ns.max(last.began_ns).saturating_sub(began);
        let waited: u64 = calls.iter().fold(0, |sum: u64, c| sum.saturating_add(waited(c)));
        Entry { calls, began, took, waited: waited.min(took) }
    });
    groups.collect()
}

/// Things that stand once, and their numbers.
struct Table<T>(Vec<T>, HashMap<T, usize>);

impl<T> Default for Table<T> {
    fn default() -> Self {
        Table(Vec::new(), HashMap::new())
    }
}

impl<T: Clone + Eq + std::hash::Hash> Table<T> {
    fn number(&mut self, thing: &T) -> usize {
        if let Some(number) = self.1.get(thing) {
            return *number;
        }
        self.0.push(thing.clone());
        self.1.insert(thing.clone(), self.0.len() - 1);
        self.0.len() - 1
    }
}

#[derive(Default)]
struct Tables {
    names: Table<&'static str>,
    objects: Table<String>,
    shapes: Table<Shape>,
}

impl Tables {
    fn shape(&mut self, trace: &Trace, entry: &Entry<'_>) -> usize {
        let shape = match entry.calls {
            [call] => {
                let place = call.place.map(|p| p.0).filter(|p| (*p as usize) < trace.places.len());
                let peer = call.peer.filter(|p| (*p as usize) < trace.ranks.len());
                let object = call.object.as_ref().map(|o| self.objects.number(o));
                let name = self.names.number(&call.name);
                Shape(name, number(call.class), place, object, peer, call.tag, call.bytes, call.returned, 1)
            }
            calls => {
                let (name, class) = most(calls);
                let name = self.names.number(&name);
                let place = calls[0].place.filter(|p| (p.0 as usize) < trace.places.len());
                let place = place.filter(|p| calls.iter().all(|c| c.place == Some(*p))).map(|p| p.0);
                let returned = calls.iter().all(|c| c.returned);
                Shape(name, number(class), place, None, None, None, None, returned, calls.len() as u64)
            }
        };
        self.shapes.number(&shape)
    }
}

/// The name and class of the most calls.
fn most(calls: &[&Call]) -> (&'static str, Class) {
    let mut counts: BTreeMap<(&'static str, Class), usize> = BTreeMap::new();
    for call in calls {
        *counts.entry((call.name, call.class)).or_default() += 1;
    }
    counts.into_iter().max_by_key(|(_, count)| *count).map_or(("", Class::Management), |(key, _)| key)
}

fn number(class: Class) -> usize {
    CLASSES.iter().position(|c| *c == class).unwrap_or_default()
}

/// The messages as numbers, and how many are not among them: of those that one rank sends to another within a short
/// time only the largest is drawn, if there are too many.
fn messages(all: &[Message], ranks: usize, lasted: u64, most: usize) -> (Vec<i64>, u64) {
    let mut drawn: Vec<&Message> =
        all.iter().filter(|m| (m.from as usize) < ranks && (m.to as usize) < ranks).collect();
    let known = drawn.len();
    let mut stretch = (lasted / PARTS).max(1);
    while drawn.len() > most && stretch <= lasted {
        let mut largest: BTreeMap<(u64, u32, u32), &Message> = BTreeMap::new();
        for m in drawn {
            let kept = largest.entry((m.sent_ns / stretch, m.from, m.to)).or_insert(m);
            if m.bytes > kept.bytes {
                *kept = m;
            }
        }
        drawn = largest.into_values().collect();
        stretch = stretch.saturating_mul(2);
    }
    // More pairs than messages that may be drawn: the largest.
    if drawn.len() > most {
        drawn.sort_by_key(|m| u64::MAX - m.bytes);
        drawn.truncate(most);
    }
    drawn.sort_by_key(|m| m.sent_ns);
    let signed = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
    let mut before = 0;
    let mut numbers = Vec::with_capacity(6 * drawn.len());
    for m in &drawn {
        let took = signed(m.received_ns.saturating_sub(m.sent_ns));
        let tag = i64::from(m.tag);
        numbers.extend([i64::from(m.from), i64::from(m.to), signed(m.sent_ns - before), took, tag, signed(m.bytes)]);
        before = m.sent_ns;
    }
    (numbers, (known - drawn.len()) as u64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::testing::{call, message, places, ranks};
    use crate::{Class, PlaceId};

    fn small(trace: &Trace, calls: usize, messages: usize) -> Timeline {
        within(trace, &mut Sources::default(), calls, messages)
    }

    #[test]
    fn times_are_distances_and_what_calls_share_stands_once() {
        let mut trace = ranks(2);
        places(&mut trace, &["a.py:7"]);
        let mut sends = [(10, 20, 3), (30, 45, 0)].map(|(began, ended, waited)| {
            let mut send = call("MPI_Send", Class::PointToPoint, began, ended, waited);
            (send.place, send.peer, send.tag, send.bytes) = (Some(PlaceId(0)), Some(1), Some(5), Some(8));
            send
        });
        sends[1].peer = Some(99);
        trace.ranks[0].calls = sends.to_vec();
        trace.messages = vec![message(0, 1, 8, 12, 50), message(0, 1, 8, 32, 51)];
        let page = small(&trace, 10, 10);
        assert_eq!(page.lanes[0].calls, [10, 10, 3, 0, 20, 15, 0, 1]);
        assert_eq!(page.shapes[0], Shape(0, 0, Some(0), None, Some(1), Some(5), Some(8), true, 1));
        assert_eq!(page.shapes[1].4, None, "a rank that is not there");
        assert_eq!(page.messages, [0, 1, 12, 38, 0, 8, 0, 1, 20, 19, 0, 8]);
        assert_eq!((page.lasted, page.resolution, page.messages_left_out), (51, 0, 0));
    }

    #[test]
    fn calls_within_calls_and_other_threads_have_lanes_of_their_own() {
        let mut trace = ranks(1);
        let mut other = call("MPI_Recv", Class::PointToPoint, 5, 90, 0);
        other.thread = 1;
        trace.ranks[0].calls = vec![
            call("MPI_Reduce", Class::Collective, 0, 50, 0),
            other,
            call("MPI_Comm_rank", Class::Management, 10, 20, 0),
            call("MPI_Send", Class::PointToPoint, 50, 60, 0),
        ];
        let page = small(&trace, 10, 10);
        let lanes: Vec<_> = page.lanes.iter().map(|l| (l.thread, l.depth, l.calls.len() / 4)).collect();
        assert_eq!(lanes, [(0, 0, 2), (0, 1, 1), (1, 0, 1)]);
    }

    #[test]
    fn short_calls_are_put_together_and_long_ones_stay() {
        let mut trace = ranks(1);
        let mut calls: Vec<_> =
            (0..1000).map(|i| call("MPI_Iprobe", Class::PointToPoint, 10 * i, 10 * i + 4, 1)).collect();
        calls.push(call("MPI_Barrier", Class::Collective, 10_000, 90_000, 70_000));
        trace.ranks[0].calls = calls;
        let page = small(&trace, 50, 10);
        assert!(page.resolution > 4 && page.lanes[0].calls.len() / 4 <= 50, "{page:?}");
        let counted: u64 = page.lanes[0].calls.chunks(4).map(|c| page.shapes[c[3] as usize].8).sum();
        assert_eq!(counted, 1001);
        assert_eq!(page.lanes[0].calls[page.lanes[0].calls.len() - 3..][..2], [80_000, 70_000]);
        let waited: u64 = page.lanes[0].calls.chunks(4).map(|c| c[2]).sum();
        assert_eq!(waited, 71_000);
    }

    #[test]
    fn of_too_many_messages_the_largest_stay() {
        let mut trace = ranks(2);
        trace.messages = (0..1000).map(|i| message(0, 1, i, 10 * i, 10 * i + 5)).collect();
        trace.messages.push(message(1, 0, 1, 0, 1));
        let page = small(&trace, 10, 100);
        let drawn: Vec<_> = page.messages.chunks(6).collect();
        assert!(drawn.len() <= 100 && page.messages_left_out == 1001 - drawn.len() as u64);
        assert!(drawn.iter().any(|m| m[5] == 999) && drawn.iter().any(|m| m[0] == 1));
    }
}
