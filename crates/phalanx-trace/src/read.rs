//! From the logs of the ranks to a [`Trace`].
//!
//! A rank may have been killed in the middle of a record, and a program may have written over its log. So everything in it is
//! compared with what can be before it is used, and what cannot be is left out: at worst there are calls and messages that
//! never were.

use std::collections::{HashMap, VecDeque};

use crate::function::function;
use crate::model::{Call, Class, End, Message, Place, PlaceId, Rank, Trace};
use crate::record::{self, GRANULE, HAS_BYTES, HAS_OBJECT, HAS_PEER, HAS_TAG};

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
    /// Its number in its process.
    number: u32,
}

/// A log, in parts.
#[derive(Default)]
struct Parts {
    calls: Vec<(u32, Call)>,
    sent: Vec<(u32, u32, i32, Half)>,
    matched: Vec<(u32, u32, i32, Half)>,
}

impl Parts {
    /// Lets each receive that has waited for its message tell what that was, where it has a record of its own.
    fn tell_receives(&mut self) {
        let own = self.matched.iter().filter(|(.., half)| half.completed == 0);
        let took: HashMap<u32, _> = own.map(|(from, _, tag, half)| (half.call, (*from, *tag, half.bytes))).collect();
        for (number, call) in self.calls.iter_mut().filter(|(_, call)| call.name == record::RECEIVE) {
            if let Some((from, tag, bytes)) = took.get(number) {
                (call.peer, call.tag, call.bytes) = (Some(*from), Some(*tag), Some(*bytes));
            }
        }
    }
}

/// What records refer to.
#[derive(Default)]
struct Texts {
    forms: HashMap<u32, Form>,
    places: HashMap<u32, PlaceId>,
    /// Names of objects, by kind and number, and since when.
    names: HashMap<(u32, u32), Vec<(u64, String)>>,
}

/// What calls have in common, as far as it is known.
#[derive(Clone, Copy)]
struct Form {
    function: u16,
    thread: u32,
    place: u32,
    object: Option<(u32, u32)>,
    peer: Option<u32>,
    tag: Option<i32>,
    has_bytes: bool,
}

impl Form {
    /// From its record.
    fn of(record: &[u64]) -> Form {
        let known = high(record[3]) as u8;
        let has = |flag: u8| known & flag != 0;
        Form {
            function: (record[0] >> 16) as u16,
            thread: high(record[0]),
            place: high(record[1]),
            object: has(HAS_OBJECT).then(|| (u32::from((record[0] >> 8) as u8), low(record[2]))),
            peer: has(HAS_PEER).then(|| high(record[2])),
            tag: has(HAS_TAG).then_some(low(record[3]) as i32),
            has_bytes: has(HAS_BYTES),
        }
    }

    /// The context of the communicator that it is about.
    fn context(&self) -> Option<u32> {
        self.object.filter(|(kind, _)| *kind == u32::from(record::COMM)).map(|(_, number)| number)
    }
}

impl Texts {
    /// How an object was called at that time. (A thread may have begun a call when another was about to tell its first name.)
    fn name(&self, object: (u32, u32), at: u64) -> Option<String> {
        let names = self.names.get(&object)?;
        let later = names.partition_point(|(since, _)| *since <= at);
        names.get(later.saturating_sub(1)).map(|(_, name)| name.clone())
    }
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
        self.length(at.saturating_sub(self.began))
    }

    /// So much of the logs' clock in nanoseconds, of which the job had no more than it lasted.
    fn length(&self, ticks: u64) -> u64 {
        let ticks = ticks.min(self.ticks);
        let time = u128::from(ticks) * u128::from(self.lasted) / u128::from(self.ticks);
        u64::try_from(time).unwrap_or(self.lasted)
    }

    fn parts(&self, places: &mut Places) -> Parts {
        let mut parts = Parts::default();
        let texts = self.texts(places);
        self.each(|number, rest| match rest[0] as u8 {
            kind @ (record::CALL | record::CALL_SENT | record::CALL_MATCHED) => {
                let form = texts.forms.get(&form_of(rest))?;
                let (bytes, granules) = bytes_of(rest);
                parts.calls.push((number, self.call(rest, form, bytes, &texts)?));
                match kind {
                    record::CALL_SENT => parts.sent.extend(self.message(rest, number, form, bytes)),
                    record::CALL_MATCHED => parts.matched.extend(self.message(rest, number, form, bytes)),
                    _ => {}
                }
                Some(granules)
            }
            record::SENT if low(rest[record::OUTCOME]) != 0 => None,
            record::SENT => {
                parts.sent.extend(self.half(rest));
                None
            }
            record::MATCHED => {
                parts.matched.extend(self.half(rest));
                None
            }
            record::PLACE | record::NAME => record::read_text(rest).map(|(_, length)| length),
            _ => None,
        });
        parts.tell_receives();
        parts.sent.sort_by_key(|(.., half)| half.number);
        parts.matched.sort_by_key(|(.., half)| half.number);
        parts
    }

    /// Goes through the log. `look` is given the number of each record and what is there from it on, and says how many granules
    /// it takes; `None` for one, or for what is no record.
    fn each(&self, mut look: impl FnMut(u32, &[u64]) -> Option<usize>) {
        let words = &self.log.words;
        let mut at = record::HEAD;
        while let Some(rest) = words.get(at * GRANULE..).filter(|rest| rest.len() >= GRANULE) {
            at += look(u32::try_from(at).unwrap_or(0), rest).unwrap_or(1);
        }
    }

    /// The texts, which may stand behind what refers to them.
    fn texts(&self, places: &mut Places) -> Texts {
        let mut texts = Texts::default();
        self.each(|_, rest| match rest[0] as u8 {
            record::FORM => {
                texts.forms.insert(low(rest[1]), Form::of(rest));
                None
            }
            record::PLACE => {
                let (text, length) = record::read_text(rest)?;
                let id = place(&text).and_then(|place| places.id(place));
                texts.places.extend(id.map(|id| (low(rest[1]), id)));
                Some(length)
            }
            record::NAME => {
                let (text, length) = record::read_text(rest)?;
                // Each call of the object has a copy.
                let name = text.chars().take(LETTERS).collect();
                let object = (low(rest[1]), high(rest[1]));
                texts.names.entry(object).or_default().push((rest[record::SINCE], name));
                Some(length)
            }
            _ => None,
        });
        texts.names.values_mut().for_each(|names| names.sort_by_key(|(since, _)| *since));
        texts
    }

    fn call(&self, record: &[u64], form: &Form, bytes: u64, texts: &Texts) -> Option<Call> {
        let (name, class): (&'static str, Class) = function(form.function)?;
        let returned = record[record::ENDED] != 0;
        let began_ns = self.time(record[1]);
        let ended_ns = self.time(if returned { record[record::ENDED] } else { self.log.ended }).max(began_ns);
        let lasted = ended_ns - began_ns;
        Some(Call {
            thread: form.thread,
            name,
            class,
            began_ns,
            ended_ns,
            // The most that fits there may be more.
            waited_ns: match high(record[record::BYTES]) {
                u32::MAX => lasted,
                waited => self.length(u64::from(waited) << 8).min(lasted),
            },
            returned,
            place: texts.places.get(&form.place).copied(),
            object: form.object.and_then(|object| texts.name(object, record[1])),
            context: form.context().map(u64::from),
            peer: form.peer.and_then(|peer| self.by_slot.get(&peer).copied()),
            tag: form.tag,
            bytes: form.has_bytes.then_some(bytes),
        })
    }

    /// The message of a call that waited for it, as [`Reader::half`].
    fn message(&self, record: &[u64], call: u32, form: &Form, bytes: u64) -> Option<(u32, u32, i32, Half)> {
        let other = *self.by_slot.get(&form.peer?)?;
        Some((other, form.context()?, form.tag?, Half { call, completed: 0, bytes, number: high(record[0]) }))
    }

    /// One end of a message whose other end is a rank of the job.
    fn half(&self, record: &[u64]) -> Option<(u32, u32, i32, Half)> {
        let other = *self.by_slot.get(&high(record[1]))?;
        let (call, completed) = (low(record[1]), low(record[record::OUTCOME]));
        let half = Half { call, completed, bytes: record[0] >> 8, number: high(record[record::OUTCOME]) };
        Some((other, low(record[2]), high(record[2]) as i32, half))
    }
}

/// The form of a call.
fn form_of(record: &[u64]) -> u32 {
    low(record[0]) >> 8
}

/// The bytes of a call, and the granules of its record.
fn bytes_of(record: &[u64]) -> (u64, usize) {
    let more = record.get(GRANULE..2 * GRANULE).filter(|more| more[0] as u8 == record::MORE);
    match (low(record[record::BYTES]), more) {
        (u32::MAX, Some(more)) => (more[1], 2),
        (bytes, _) => (bytes.into(), 1),
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
    use crate::record::{Event, Object};

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
            self.call_of(&record::Form { function: number(name), ..record::Form::default() }, 0, [from, to], 0)
        }

        /// A call and, behind it, its form, as that of another thread may stand.
        fn call_of(&mut self, form: &record::Form, bytes: u64, [from, to]: [u64; 2], waited: u64) -> u32 {
            let number = 1 + self.0.len() as u32;
            let (mut call, is_long) = record::call(number, from, bytes);
            call[record::ENDED] = to;
            call[record::BYTES] = record::waited(call[record::BYTES], waited);
            let at = self.add(&call);
            if is_long {
                self.add(&record::bytes_of_call(bytes));
            }
            self.add(&record::form(form, number));
            at
        }

        fn half(&mut self, event: Event, call: u32, other: u32, tag: i32) -> u32 {
            let (bytes, number) = (8 + tag as u64, self.0.len() as u32);
            self.add(&record::half(&record::Half { event, call, other, context: 4, tag, bytes, number }))
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
        let form = record::Form {
            function: number("MPI_Send"),
            thread: 2,
            place: Some(3),
            object: Some(Object::Comm(4)),
            peer: Some(0),
            tag: Some(-7),
            has_bytes: true,
        };
        writer.call_of(&form, 8192, [1500, 2500], 512);
        writer.call_of(&form, 9 << 32, [1500, 2500], 7);
        writer.call("MPI_Barrier", 1800, 0);
        // Texts of another thread's may stand behind what refers to them.
        writer.add(&record::name(Object::Comm(4), "another name", 1600));
        writer.add(&record::name(Object::Comm(4), "MPI_COMM_WORLD", 1500));
        writer.add(&record::place(3, &place));
        let trace = read(job(), &[writer.log(0)]);
        let expected = Call {
            thread: 2,
            name: "MPI_Send",
            class: Class::PointToPoint,
            began_ns: 500,
            ended_ns: 1500,
            waited_ns: 512,
            returned: true,
            place: Some(PlaceId(0)),
            object: Some("MPI_COMM_WORLD".to_owned()),
            context: Some(4),
            peer: Some(0),
            tag: Some(-7),
            bytes: Some(8192),
        };
        assert_eq!(trace.ranks[0].calls[0], expected);
        assert_eq!(trace.ranks[0].calls[1], Call { waited_ns: 0, bytes: Some(9 << 32), ..expected });
        assert_eq!(trace.places, [place]);
        let last = &trace.ranks[0].calls[2];
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
        let outcome = &mut one.0[at as usize * GRANULE + record::OUTCOME];
        *outcome = record::completed(*outcome, waited);
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
    fn messages_of_several_threads_are_in_the_order_of_their_numbers() {
        let (mut zero, mut one) = (Writer::new(), Writer::new());
        let calls = [1000, 1100, 1200].map(|at| zero.call("MPI_Send", at, at + 50));
        // Of a thread whose part of the log lies behind that of another one, which sent later.
        for (call, number) in [(calls[2], 8), (calls[0], 3), (calls[1], 5)] {
            zero.add(&record::half(&record::Half {
                event: Event::Sent,
                call,
                other: 1,
                context: 4,
                tag: 1,
                bytes: 9,
                number,
            }));
        }
        for at in [1300, 1400, 1500] {
            let call = one.call("MPI_Recv", at, at + 50);
            one.half(Event::Matched, call, 0, 1);
        }
        let trace = read(job(), &[zero.log(0), one.log(1)]);
        let seen: Vec<_> = trace.messages.iter().map(|m| (m.send_call, m.receive_call)).collect();
        assert_eq!(seen, [0, 1, 2].map(|call| (Some(call), Some(call))));
    }

    #[test]
    fn a_message_may_stand_in_its_call() {
        let form = |name: &str, peer: u32| record::Form {
            function: number(name),
            object: Some(Object::Comm(4)),
            peer: Some(peer),
            tag: Some(5),
            has_bytes: true,
            ..record::Form::default()
        };
        let half = |event: Event, other: u32, number: u32| record::Half {
            event,
            call: 0,
            other,
            context: 4,
            tag: 5,
            bytes: 64,
            number,
        };
        let about = |form: &record::Form| record::about(&record::form(form, 1));
        let send = form("MPI_Send", 1);
        let sent = half(Event::Sent, 1, 3);
        for other in [
            record::Half { other: 2, ..sent },
            record::Half { context: 6, ..sent },
            record::Half { tag: 6, ..sent },
            record::Half { bytes: 8, ..sent },
        ] {
            assert_eq!(record::with_message(1, &about(&send), 64, &other), None, "{other:?}");
        }
        for other in [
            form("MPI_Isend", 1),
            record::Form { object: Some(Object::Win(4)), ..send },
            record::Form { tag: None, ..send },
            record::Form { has_bytes: false, ..send },
        ] {
            assert_eq!(record::with_message(1, &about(&other), 64, &sent), None, "{other:?}");
        }
        let (mut zero, mut one) = (Writer::new(), Writer::new());
        for (number, at) in [(7, 1000), (8, 1100), (9, 1200)] {
            let call = zero.call_of(&send, 64, [at, at + 50], 0) as usize * GRANULE;
            let half = half(Event::Sent, 1, number);
            zero.0[call] = record::with_message(zero.0[call], &about(&send), 64, &half).expect("its message");
            if number == 8 {
                zero.0[call] = record::without_message(zero.0[call]);
            }
        }
        let receive = form("MPI_Recv", 0);
        let call = one.call_of(&receive, 64, [1000, 1300], 0) as usize * GRANULE;
        let matched = half(Event::Matched, 0, 0);
        one.0[call] = record::with_message(one.0[call], &about(&receive), 64, &matched).expect("its message");
        let call = one.call("MPI_Irecv", 1400, 1500);
        one.add(&record::half(&record::Half { call, ..half(Event::Matched, 0, 1) }));
        let trace = read(job(), &[zero.log(0), one.log(1)]);
        let seen: Vec<_> = trace.messages.iter().map(|m| (m.send_call, m.receive_call, m.bytes)).collect();
        assert_eq!(seen, [(Some(0), Some(0), 64), (Some(2), Some(1), 64)]);
        assert_eq!(trace.ranks[0].calls.len(), 3);
    }

    #[test]
    fn a_receive_from_anybody_tells_what_it_took() {
        let receive = record::Form {
            function: number("MPI_Recv"),
            thread: 1,
            place: Some(6),
            object: Some(Object::Comm(4)),
            tag: Some(-2),
            has_bytes: true,
            ..record::Form::default()
        };
        let about = record::about(&record::form(&receive, 1));
        let matched =
            record::Half { event: Event::Matched, call: 0, other: 0, context: 4, tag: 5, bytes: 64, number: 7 };
        for (other, room) in [
            (record::Half { event: Event::Sent, ..matched }, 64),
            (record::Half { context: 6, ..matched }, 64),
            // It is truncated, or only taken out of the queue.
            (matched, 63),
            // Its bytes stand in a granule of their own.
            (matched, u64::from(u32::MAX)),
        ] {
            assert!(!record::takes(&about, room, &other), "{other:?} {room}");
        }
        for other in [
            record::Form { function: number("MPI_Irecv"), ..receive },
            record::Form { object: Some(Object::Win(4)), ..receive },
            record::Form { tag: None, ..receive },
        ] {
            assert!(!record::takes(&record::about(&record::form(&other, 1)), 64, &matched), "{other:?}");
        }
        let (mut zero, mut one) = (Writer::new(), Writer::new());
        for at in [1000, 1200] {
            let call = zero.call("MPI_Send", at, at + 50);
            zero.add(&record::half(&record::Half { event: Event::Sent, call, other: 1, number: call, ..matched }));
        }
        one.add(&record::place(6, &Place { file: "a.py".to_owned(), line: 3, function: "f".to_owned() }));
        // Of one the record tells, for the other the message has one of its own.
        assert!(record::takes(&about, 4096, &matched));
        let call = one.call_of(&receive, 4096, [1000, 1300], 256) as usize * GRANULE;
        let [head, place, ..] = record::form(&receive, 1);
        one.add(&record::form_taken([head, place], &record::about_message(&matched), 9));
        let [word, bytes] = record::taken(9, &matched);
        (one.0[call], one.0[call + record::BYTES]) = (word, record::waited(bytes, 256));
        let call = one.call_of(&receive, 4096, [1400, 1500], 0);
        one.add(&record::half(&record::Half { call, number: 8, ..matched }));
        let trace = read(job(), &[zero.log(0), one.log(1)]);
        let seen: Vec<_> = trace.messages.iter().map(|m| (m.send_call, m.receive_call, m.bytes)).collect();
        assert_eq!(seen, [(Some(0), Some(0), 64), (Some(1), Some(1), 64)]);
        let calls = &trace.ranks[1].calls;
        assert_eq!((calls.len(), calls[0].waited_ns, calls[0].place), (2, 256, Some(PlaceId(0))));
        for call in calls {
            let found = (call.name, call.thread, call.context, call.peer, call.tag, call.bytes, call.place);
            assert_eq!(found, ("MPI_Recv", 1, Some(4), Some(0), Some(5), Some(64), Some(PlaceId(0))));
        }
    }

    #[test]
    fn a_message_that_was_taken_back_is_none() {
        let (mut zero, mut one) = (Writer::new(), Writer::new());
        let first = zero.call("MPI_Issend", 1100, 1200);
        let at = zero.half(Event::Sent, first, 1, 5);
        let outcome = &mut zero.0[at as usize * GRANULE + record::OUTCOME];
        *outcome = record::taken_back(*outcome);
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
            let half = record::Half { event: Event::Sent, call, other: 1, context: 4, tag: 1, bytes, number: call };
            zero.add(&record::half(&half));
        }
        for (number, (at, bytes)) in (1050u64..).step_by(100).zip(sizes).enumerate() {
            let call = one.call("MPI_Recv", at, at + 90);
            let half = record::Half { event: Event::Matched, call, other: 0, context: 4, tag: 1, bytes, number: call };
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
        let form = record::Form { function: number("MPI_Barrier"), ..record::Form::default() };
        writer.call_of(&form, 0, [2000, 5000], 2048);
        // More than can be written down.
        writer.call_of(&form, 0, [5000, 6000], 1 << 50);
        let job = Job { lasted_ns: 4000, ..job() };
        let trace = read(job, &[writer.log(0)]);
        let call = &trace.ranks[0].calls[0];
        assert_eq!((call.began_ns, call.ended_ns, trace.lasted_ns), (500, 2000, 4000));
        assert_eq!(call.waited_ns, 1024);
        assert_eq!(trace.ranks[0].calls[1].waited_ns, 500);
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
            let record = record::name(Object::Win(number), &text, 7);
            prop_assert!(record.len().is_multiple_of(GRANULE));
            prop_assert_eq!(record::read_text(&record), Some((text, record.len() / GRANULE)));
        }
    }
}
