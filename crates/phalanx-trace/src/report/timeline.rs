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

/// What calls have in common: name, class, place, communicator, peer, tag, bytes, whether they returned.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
struct Shape(usize, usize, Option<u32>, Option<usize>, Option<u32>, Option<i32>, Option<u64>, bool);

/// Calls of one thread, all made directly or all made within as many others.
#[derive(Debug, Serialize)]
struct Lane {
    rank: usize,
    thread: u32,
    depth: usize,
    /// Four numbers for each: distance from the beginning before, time taken, time waited, shape.
    calls: Vec<u64>,
    bundles: Vec<Bundle>,
}

/// Several short calls: distance from the beginning of the bundle before, time from the first to the last, how many, and
/// for each class that occurs its number, its time in calls and what of that was waiting.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Bundle(u64, u64, u64, Vec<(usize, u64, u64)>);

/// The timeline of a trace; the texts of lines come from `sources`.
pub(crate) fn timeline(trace: &Trace, sources: &mut Sources) -> Timeline {
    within(trace, sources, CALLS, MESSAGES)
}

fn within(trace: &Trace, sources: &mut Sources, most_calls: usize, most_messages: usize) -> Timeline {
    let lasted = end(trace);
    let lanes = lanes(trace);
    let mut resolution = 0;
    // A bundle takes the room of about two calls.
    let room = |entry: &[&Call]| entry.len().min(2);
    let entries = |resolution| lanes.values().flat_map(|calls| together(calls, resolution)).map(room).sum::<usize>();
    if entries(0) > most_calls {
        resolution = (lasted / PARTS).max(1);
        while entries(resolution) > most_calls && resolution <= lasted {
            resolution = resolution.saturating_mul(2);
        }
    }
    let mut tables = Tables::default();
    let lanes = lanes.iter().map(|(&(rank, thread, depth), calls)| {
        let mut lane = Lane { rank, thread, depth, calls: Vec::new(), bundles: Vec::new() };
        let (mut before, mut bundle_before) = (0, 0);
        // One that did not come in order is drawn where the one before it is.
        let distance = |before: &mut u64, began: u64| {
            let distance = began.saturating_sub(*before);
            *before += distance;
            distance
        };
        for entry in together(calls, resolution) {
            let call = entry[0];
            if entry.len() == 1 {
                let shape = tables.shape(trace, call) as u64;
                lane.calls.extend([distance(&mut before, call.began_ns), length(call), waited(call), shape]);
            } else {
                let distance = distance(&mut bundle_before, call.began_ns);
                lane.bundles.push(bundle(distance, entry));
            }
        }
        lane
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

/// The calls of a lane by what is drawn as one: those shorter than `resolution` that follow each other in the same
/// stretch of that length are.
fn together<'a>(calls: &'a [&'a Call], resolution: u64) -> impl Iterator<Item = &'a [&'a Call]> {
    let stretch = move |call: &Call| (length(call) < resolution).then(|| call.began_ns / resolution.max(1));
    calls.chunk_by(move |a, b| stretch(a).is_some() && stretch(a) == stretch(b))
}

fn bundle(distance: u64, calls: &[&Call]) -> Bundle {
    let (first, last) = (calls[0], calls[calls.len() - 1]);
    let took = last.ended_ns.max(last.began_ns).saturating_sub(first.began_ns);
    let mut classes = [(0u64, 0u64); CLASSES.len()];
    for call in calls {
        let sums = &mut classes[number(call.class)];
        *sums = (sums.0.saturating_add(length(call)), sums.1.saturating_add(waited(call)));
    }
    let times = classes.into_iter().enumerate().map(|(class, (inside, waited))| (class, inside, waited));
    let occurs = |class: usize| calls.iter().any(|c| number(c.class) == class);
    Bundle(distance, took, calls.len() as u64, times.filter(|t| occurs(t.0)).collect())
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
    fn shape(&mut self, trace: &Trace, call: &Call) -> usize {
        let place = call.place.map(|p| p.0).filter(|p| (*p as usize) < trace.places.len());
        let peer = call.peer.filter(|p| (*p as usize) < trace.ranks.len());
        let object = call.object.as_ref().map(|o| self.objects.number(o));
        let name = self.names.number(&call.name);
        self.shapes.number(&Shape(name, number(call.class), place, object, peer, call.tag, call.bytes, call.returned))
    }
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
    use crate::PlaceId;
    use crate::report::testing::{call, message, places, ranks};

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
        assert_eq!(page.shapes[0], Shape(0, 0, Some(0), None, Some(1), Some(5), Some(8), true));
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
        assert!(page.resolution > 4 && page.lanes[0].bundles.len() <= 25, "{page:?}");
        let lane = &page.lanes[0];
        assert_eq!(lane.calls, [10_000, 80_000, 70_000, 0]);
        let sum = |of: fn(&Bundle) -> u64| lane.bundles.iter().map(of).sum::<u64>();
        assert_eq!((sum(|b| b.2), sum(|b| b.3[0].1), sum(|b| b.3[0].2)), (1000, 4000, 1000));
        assert!(lane.bundles.iter().all(|b| b.3.len() == 1 && b.3[0].0 == 0));
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
