//! From the logs of the ranks to a [`Trace`].
//!
//! A rank may have been killed in the middle of a record, and a program may have written over its log. So everything in it is
//! compared with what can be before it is used, and what cannot be is left out: at worst there are calls and messages that
//! never were.

use std::collections::{HashMap, VecDeque};

use crate::function::function;
use crate::model::{Call, Class, End, Message, Place, PlaceId, Rank, Trace};
use crate::record::{self, GRANULE, HAS_BYTES, HAS_OBJECT, HAS_PEER, HAS_PLACE, HAS_TAG};

/// Letters of an object's name.
const LETTERS: usize = 256;

/// What is known of the job besides its logs.
#[derive(Clone, Debug, Default)]
pub struct Job {
    /// The words of the command.
    pub command: Vec<String>,
    /// The machine's name.
    pub host: String,
    /// CPUs that it could use.
    pub cpus: u32,
    /// When it began, in nanoseconds since 1970.
    pub began_unix_ns: u64,
    /// When it began, by the clock of the logs.
    pub began: u64,
    /// When it ended, by that clock.
    pub ended: u64,
    /// How long that was, in nanoseconds.
    pub lasted_ns: u64,
}

/// A rank and what it left.
#[derive(Clone, Debug)]
pub struct Log {
    /// Its name.
    pub name: String,
    /// Its process.
    pub pid: u32,
    /// Its slot, by which the others call it.
    pub slot: u32,
    /// When its process ended, by the clock of the logs.
    pub ended: u64,
    /// How.
    pub end: End,
    /// Its log, as `phalanx_shm::Log::all` gives it.
    pub words: Vec<u64>,
    /// Calls for which there was no room.
    pub lost: u64,
}

/// Which messages keep their order: sender, receiver, context and tag.
type Line = (u32, u32, u32, i32);

/// One end of a message, on its way to the other.
#[derive(Clone, Copy)]
struct Half {
    call: u32,
    completed: u32,
    bytes: u64,
}

/// A log, in parts.
#[derive(Default)]
struct Parts {
    calls: Vec<(u32, Call)>,
    sent: Vec<(u32, u32, i32, Half)>,
    matched: Vec<(u32, u32, i32, Half)>,
}

/// Puts a trace together.
#[must_use]
pub fn read(job: Job, logs: &[Log]) -> Trace {
    let mut trace = Trace {
        command: job.command,
        host: job.host,
        cpus: job.cpus,
        began_unix_ns: job.began_unix_ns,
        lasted_ns: job.lasted_ns,
        ..Trace::default()
    };
    // Slots of worlds that have ended are not used again.
    let by_slot: HashMap<u32, u32> = (0..).zip(logs).map(|(rank, log)| (log.slot, rank)).collect();
    let mut places = Places::default();
    let mut all = Vec::new();
    for log in logs {
        let ticks = job.ended.saturating_sub(job.began).max(1);
        let reader = Reader { log, by_slot: &by_slot, began: job.began, ticks, lasted: trace.lasted_ns };
        all.push(reader.parts(&mut places));
    }
    trace.places = places.all;
    let mut indices = Vec::new();
    for (log, parts) in logs.iter().zip(&mut all) {
        parts.calls.sort_by_key(|(_, call)| (call.began_ns, std::cmp::Reverse(call.ended_ns)));
        indices.push((0..).zip(&parts.calls).map(|(index, (at, _))| (*at, index)).collect::<HashMap<u32, u32>>());
        let calls = std::mem::take(&mut parts.calls).into_iter().map(|(_, call)| call).collect();
        let (name, end) = (log.name.clone(), log.end.clone());
        trace.ranks.push(Rank { name, pid: log.pid, calls, lost: log.lost, end });
    }
    trace.messages = messages(&trace.ranks, &all, &indices);
    trace
}

fn messages(ranks: &[Rank], parts: &[Parts], indices: &[HashMap<u32, u32>]) -> Vec<Message> {
    let mut lines: HashMap<Line, VecDeque<Half>> = HashMap::new();
    for (from, part) in (0u32..).zip(parts) {
        for (to, context, tag, half) in &part.sent {
            lines.entry((from, *to, *context, *tag)).or_default().push_back(*half);
        }
    }
    let mut messages = Vec::new();
    for (to, part) in (0u32..).zip(parts) {
        for (from, context, tag, half) in &part.matched {
            let line = (*from, to, *context, *tag);
            let Some(sent) = lines.get_mut(&line).and_then(VecDeque::pop_front) else { continue };
            if sent.bytes != half.bytes {
                // It is another one: nothing is known of those behind it.
                lines.remove(&line);
                continue;
            }
            let call = |rank: u32, at: u32| {
                let index = *indices.get(rank as usize)?.get(&at)?;
                Some((index, ranks.get(rank as usize)?.calls.get(index as usize)?))
            };
            let completed = if half.completed == 0 { half.call } else { half.completed };
            let (sender, receiver) = (call(*from, sent.call), call(to, completed).or_else(|| call(to, half.call)));
            let (Some((send_call, sender)), Some((receive_call, receiver))) = (sender, receiver) else { continue };
            let sent_ns = sender.began_ns;
            messages.push(Message {
                from: *from,
                to,
                tag: *tag,
                bytes: sent.bytes,
                sent_ns,
                // The clock is one; what a rank scribbled may be anything.
                received_ns: receiver.ended_ns.max(sent_ns),
                send_call: Some(send_call),
                receive_call: Some(receive_call),
            });
        }
    }
    messages.sort_by_key(|message| (message.sent_ns, message.received_ns));
    messages
}

/// The places of all ranks, each once.
#[derive(Default)]
struct Places {
    all: Vec<Place>,
    known: HashMap<Place, PlaceId>,
}

impl Places {
    fn id(&mut self, place: Place) -> Option<PlaceId> {
        if let Some(id) = self.known.get(&place) {
            return Some(*id);
        }
        let id = PlaceId(u32::try_from(self.all.len()).ok()?);
        self.all.push(place.clone());
        self.known.insert(place, id);
        Some(id)
    }
}

struct Reader<'a> {
    log: &'a Log,
    by_slot: &'a HashMap<u32, u32>,
    began: u64,
    /// How long the job lasted, by the clock of the logs.
    ticks: u64,
    lasted: u64,
}

fn low(word: u64) -> u32 {
    word as u32
}

fn high(word: u64) -> u32 {
    (word >> 32) as u32
}

impl Reader<'_> {
    /// A time since the job began.
    fn time(&self, at: u64) -> u64 {
        let ticks = at.saturating_sub(self.began).min(self.ticks);
        let time = u128::from(ticks) * u128::from(self.lasted) / u128::from(self.ticks);
        u64::try_from(time).unwrap_or(self.lasted)
    }

    fn parts(&self, places: &mut Places) -> Parts {
        let mut parts = Parts::default();
        let mut own_places: HashMap<u32, PlaceId> = HashMap::new();
        let mut names: HashMap<(u32, u32), String> = HashMap::new();
        let words = &self.log.words;
        let mut at = record::HEAD;
        while let Some(rest) = words.get(at * GRANULE..).filter(|rest| rest.len() >= GRANULE) {
            let number = u32::try_from(at).unwrap_or(0);
            let mut granules = 1;
            match rest[0] as u8 {
                record::CALL => {
                    if let Some(call) = self.call(rest, &own_places, &names) {
                        parts.calls.push((number, call));
                        granules = 2;
                    }
                }
                record::SENT if rest[record::TAKEN_BACK] != 0 => {}
                record::SENT => parts.sent.extend(self.half(rest)),
                record::MATCHED => parts.matched.extend(self.half(rest)),
                record::PLACE => {
                    if let Some((text, length)) = record::read_text(rest) {
                        let id = place(&text).and_then(|place| places.id(place));
                        own_places.extend(id.map(|id| (low(rest[1]), id)));
                        granules = length;
                    }
                }
                record::NAME => {
                    if let Some((text, length)) = record::read_text(rest) {
                        // Each call of the object has a copy.
                        let name = text.chars().take(LETTERS).collect();
                        names.insert((low(rest[1]), high(rest[1])), name);
                        granules = length;
                    }
                }
                _ => {}
            }
            at += granules;
        }
        parts
    }

    fn call(
        &self,
        record: &[u64],
        places: &HashMap<u32, PlaceId>,
        names: &HashMap<(u32, u32), String>,
    ) -> Option<Call> {
        let record = record.get(..2 * GRANULE).filter(|record| record[GRANULE] as u8 == record::MORE)?;
        let known = (record[0] >> 8) as u8;
        let has = |flag: u8| known & flag != 0;
        let (name, class): (&'static str, Class) = function((record[0] >> 16) as u16)?;
        let returned = record[record::ENDED] != 0;
        let began_ns = self.time(record[1]);
        let ended_ns = self.time(if returned { record[record::ENDED] } else { self.log.ended }).max(began_ns);
        let kind = u32::from((record[GRANULE] >> 8) as u8);
        Some(Call {
            thread: high(record[0]),
            name,
            class,
            began_ns,
            ended_ns,
            waited_ns: record[record::WAITED].min(ended_ns - began_ns),
            returned,
            place: has(HAS_PLACE).then(|| places.get(&high(record[GRANULE])).copied()).flatten(),
            object: has(HAS_OBJECT).then(|| names.get(&(kind, low(record[5]))).cloned()).flatten(),
            context: (has(HAS_OBJECT) && kind == u32::from(record::COMM)).then(|| low(record[5]).into()),
            peer: has(HAS_PEER).then(|| self.by_slot.get(&high(record[5])).copied()).flatten(),
            tag: has(HAS_TAG).then_some(low(record[6]) as i32),
            bytes: has(HAS_BYTES).then_some(record[7]),
        })
    }

    /// One end of a message whose other end is a rank of the job.
    fn half(&self, record: &[u64]) -> Option<(u32, u32, i32, Half)> {
        let other = *self.by_slot.get(&high(record[1]))?;
        let half = Half { call: low(record[1]), completed: low(record[3]), bytes: record[0] >> 8 };
        Some((other, low(record[2]), high(record[2]) as i32, half))
    }
}

fn place(text: &str) -> Option<Place> {
    let mut fields = text.split('\t');
    let (file, line, function) = (fields.next()?, fields.next()?, fields.next()?);
    Some(Place { file: file.to_owned(), line: line.parse().ok()?, function: function.to_owned() })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::number;
    use crate::record::{Begun, Event, Object};

    /// A log that a rank writes.
    struct Writer(Vec<u64>);

    impl Writer {
        fn new() -> Writer {
            Writer(vec![0; record::HEAD * GRANULE])
        }

        fn add(&mut self, record: &[u64]) -> u32 {
            let at = self.0.len() / GRANULE;
            self.0.extend_from_slice(record);
            at as u32
        }

        fn call(&mut self, name: &str, from: u64, to: u64) -> u32 {
            let begun = Begun { function: number(name), at: from, ..Begun::default() };
            let at = self.add(&record::call(&begun));
            self.0[at as usize * GRANULE + record::ENDED] = to;
            at
        }

        fn half(&mut self, event: Event, call: u32, other: u32, tag: i32) -> u32 {
            self.add(&record::half(&record::Half { event, call, other, context: 4, tag, bytes: 8 + tag as u64 }))
        }

        fn log(self, slot: u32) -> Log {
            let name = format!("rank {slot}");
            Log { name, pid: 100 + slot, slot, ended: 9000, end: End::Well, words: self.0, lost: 0 }
        }
    }

    fn job() -> Job {
        Job { began: 1000, ended: 9000, lasted_ns: 8000, ..Job::default() }
    }

    #[test]
    fn a_call_is_read_with_all_that_is_known_of_it() {
        let mut writer = Writer::new();
        let place = Place { file: "/home/somebody/größe.py".to_owned(), line: 12, function: "main".to_owned() };
        writer.add(&record::place(3, &place));
        writer.add(&record::name(Object::Comm(4), "MPI_COMM_WORLD"));
        let begun = Begun {
            function: number("MPI_Send"),
            thread: 2,
            at: 1500,
            place: Some(3),
            object: Some(Object::Comm(4)),
            peer: Some(0),
            tag: Some(-7),
            bytes: Some(8192),
        };
        let at = writer.add(&record::call(&begun)) as usize * GRANULE;
        (writer.0[at + record::ENDED], writer.0[at + record::WAITED]) = (1700, 50);
        writer.call("MPI_Barrier", 1800, 0);
        let trace = read(job(), &[writer.log(0)]);
        let expected = Call {
            thread: 2,
            name: "MPI_Send",
            class: Class::PointToPoint,
            began_ns: 500,
            ended_ns: 700,
            waited_ns: 50,
            returned: true,
            place: Some(PlaceId(0)),
            object: Some("MPI_COMM_WORLD".to_owned()),
            context: Some(4),
            peer: Some(0),
            tag: Some(-7),
            bytes: Some(8192),
        };
        assert_eq!(trace.ranks[0].calls[0], expected);
        assert_eq!(trace.places, [place]);
        let last = &trace.ranks[0].calls[1];
        assert_eq!((last.began_ns, last.ended_ns, last.returned, last.object.is_none()), (800, 8000, false, true));
    }

    #[test]
    fn messages_are_paired_in_the_order_of_each_line() {
        let (mut zero, mut one) = (Writer::new(), Writer::new());
        for (tag, at) in [(1, 1000), (2, 1100), (1, 1200)] {
            let call = zero.call("MPI_Send", at, at + 50);
            zero.half(Event::Sent, call, 1, tag);
        }
        let posted = one.call("MPI_Irecv", 1010, 1020);
        let second = one.call("MPI_Recv", 1300, 1400);
        let third = one.call("MPI_Recv", 1400, 1500);
        let waited = one.call("MPI_Wait", 1500, 1600);
        one.half(Event::Matched, second, 0, 2);
        let at = one.half(Event::Matched, posted, 0, 1);
        one.0[at as usize * GRANULE + record::COMPLETED] = u64::from(waited);
        one.half(Event::Matched, third, 0, 1);
        // Of a message that nobody sent.
        one.half(Event::Matched, third, 0, 1);
        let trace = read(job(), &[zero.log(0), one.log(1)]);
        let seen: Vec<_> = trace
            .messages
            .iter()
            .map(|m| (m.tag, m.bytes, m.sent_ns, m.received_ns, m.send_call, m.receive_call))
            .collect();
        assert_eq!(
            seen,
            [(1, 9, 0, 600, Some(0), Some(3)), (2, 10, 100, 400, Some(1), Some(1)), (1, 9, 200, 500, Some(2), Some(2)),]
        );
    }

    #[test]
    fn a_message_that_was_taken_back_is_none() {
        let (mut zero, mut one) = (Writer::new(), Writer::new());
        let first = zero.call("MPI_Issend", 1100, 1200);
        let at = zero.half(Event::Sent, first, 1, 5);
        zero.0[at as usize * GRANULE + record::TAKEN_BACK] = 1;
        let again = zero.call("MPI_Send", 1300, 1400);
        zero.half(Event::Sent, again, 1, 5);
        let call = one.call("MPI_Recv", 1100, 1500);
        one.half(Event::Matched, call, 0, 5);
        let trace = read(job(), &[zero.log(0), one.log(1)]);
        assert_eq!(trace.messages.len(), 1);
        assert_eq!(trace.messages[0].send_call, Some(1));
    }

    #[test]
    fn behind_a_message_that_is_missing_no_arrow_is_drawn() {
        let (mut zero, mut one) = (Writer::new(), Writer::new());
        let sizes = [8, 8, 16, 8, 8];
        for (at, bytes) in (1000u64..).step_by(100).zip(sizes) {
            let call = zero.call("MPI_Send", at, at + 50);
            let half = record::Half { event: Event::Sent, call, other: 1, context: 4, tag: 1, bytes };
            zero.add(&record::half(&half));
        }
        for (number, (at, bytes)) in (1050u64..).step_by(100).zip(sizes).enumerate() {
            let call = one.call("MPI_Recv", at, at + 90);
            let half = record::Half { event: Event::Matched, call, other: 0, context: 4, tag: 1, bytes };
            // The second has been lost.
            if number != 1 {
                one.add(&record::half(&half));
            }
        }
        let trace = read(job(), &[zero.log(0), one.log(1)]);
        let seen: Vec<_> = trace.messages.iter().map(|m| (m.send_call, m.receive_call)).collect();
        assert_eq!(seen, [(Some(0), Some(0))]);
    }

    #[test]
    fn times_are_translated_from_the_clock_of_the_logs() {
        let mut writer = Writer::new();
        writer.call("MPI_Barrier", 2000, 5000);
        let job = Job { lasted_ns: 4000, ..job() };
        let trace = read(job, &[writer.log(0)]);
        let call = &trace.ranks[0].calls[0];
        assert_eq!((call.began_ns, call.ended_ns, trace.lasted_ns), (500, 2000, 4000));
    }

    fn word() -> impl Strategy<Value = u64> {
        // Mostly what looks like a record.
        prop_oneof![
            3 => (0..10u64, 0..40u64, any::<u8>()).prop_map(|(kind, len, more)| kind | u64::from(more) << 8 | len << 32),
            2 => 0..5000u64,
            1 => any::<u64>(),
        ]
    }

    proptest! {
        #[test]
        fn any_log_is_read(logs in prop::collection::vec(prop::collection::vec(word(), 0..200), 1..4)) {
            let logs: Vec<Log> = (0..).zip(logs).map(|(slot, words)| Writer(words).log(slot)).collect();
            let trace = read(job(), &logs);
            prop_assert_eq!(trace.ranks.len(), logs.len());
            for rank in &trace.ranks {
                for call in &rank.calls {
                    prop_assert!(call.began_ns <= call.ended_ns && call.ended_ns <= trace.lasted_ns);
                    prop_assert!(call.waited_ns <= call.ended_ns - call.began_ns);
                    prop_assert!(call.place.is_none_or(|place| (place.0 as usize) < trace.places.len()));
                    prop_assert!(call.peer.is_none_or(|peer| (peer as usize) < trace.ranks.len()));
                }
            }
            for m in &trace.messages {
                let calls = |rank: u32| trace.ranks[rank as usize].calls.len() as u32;
                prop_assert!(m.send_call.is_some_and(|call| call < calls(m.from)));
                prop_assert!(m.receive_call.is_some_and(|call| call < calls(m.to)));
                prop_assert!(m.sent_ns <= m.received_ns);
            }
        }

        #[test]
        fn any_text_is_read_back(text in "\\PC{0,200}", number in any::<u32>()) {
            let record = record::name(Object::Win(number), &text);
            prop_assert!(record.len().is_multiple_of(GRANULE));
            prop_assert_eq!(record::read_text(&record), Some((text, record.len() / GRANULE)));
        }
    }
}
