//! A trace as a timeline in Perfetto's format: a sequence of `TracePacket` messages of Protocol Buffers, which
//! <https://ui.perfetto.dev> shows.
//!
//! A rank is a process there and its threads are threads, each with a *track* on which calls are *slices*. In a call that waited
//! lies a slice "waiting" of that length at its end. A message is a *flow* (an arrow) from the slice of the call that sent it to
//! an instant in the call that had it. Names of calls and of what is told of them, their kinds and their places are *interned*: said
//! once, and then by number; names of ranks and communicators are said each time. All packets are of one sequence, in the order in
//! which they may be read: what ends comes before what begins at the same time.

use std::collections::{BTreeMap, HashMap};
use std::io::{self, BufWriter, Write};
use std::path::Path;

use crate::model::{Call, Class, End, Message as Sent, Place, Rank, Trace};
use crate::protobuf::Message;

/// `Trace.packet`.
const PACKET: u32 = 1;

/// Fields of `TracePacket`.
mod packet {
    pub(super) const TIMESTAMP: u32 = 8;
    pub(super) const SEQUENCE: u32 = 10;
    pub(super) const TRACK_EVENT: u32 = 11;
    pub(super) const INTERNED_DATA: u32 = 12;
    pub(super) const SEQUENCE_FLAGS: u32 = 13;
    pub(super) const TRACK_DESCRIPTOR: u32 = 60;
}

/// Values of `TracePacket.sequence_flags`: what is interned begins here, and is needed.
const CLEARED: u64 = 1;
const NEEDED: u64 = 2;

/// Fields of `TrackDescriptor`, `ProcessDescriptor` and `ThreadDescriptor`.
mod track {
    pub(super) const UUID: u32 = 1;
    pub(super) const PROCESS: u32 = 3;
    pub(super) const THREAD: u32 = 4;
    pub(super) const PARENT: u32 = 5;
    pub(super) const PID: u32 = 1;
    pub(super) const COMMAND: u32 = 2;
    pub(super) const PROCESS_SORT: u32 = 3;
    pub(super) const PROCESS_NAME: u32 = 6;
    pub(super) const TID: u32 = 2;
    pub(super) const THREAD_NAME: u32 = 5;
}

/// Fields of `TrackEvent`.
mod event {
    pub(super) const CATEGORY: u32 = 3;
    pub(super) const ANNOTATION: u32 = 4;
    pub(super) const KIND: u32 = 9;
    pub(super) const NAME: u32 = 10;
    pub(super) const TRACK: u32 = 11;
    pub(super) const PLACE: u32 = 34;
    pub(super) const FLOW: u32 = 47;
    pub(super) const LAST_OF_FLOW: u32 = 48;
}

/// `TrackEvent.Type`.
const BEGIN: u64 = 1;
const FINISH: u64 = 2;
const INSTANT: u64 = 3;

/// Fields of `DebugAnnotation`.
mod annotation {
    pub(super) const NAME: u32 = 1;
    pub(super) const FLAG: u32 = 2;
    pub(super) const UNSIGNED: u32 = 3;
    pub(super) const SIGNED: u32 = 4;
    pub(super) const TEXT: u32 = 6;
}

/// Fields of `InternedData`, and in what each names: number and text.
mod interned {
    pub(super) const CATEGORIES: u32 = 1;
    pub(super) const NAMES: u32 = 2;
    pub(super) const ANNOTATIONS: u32 = 3;
    pub(super) const PLACES: u32 = 4;
    pub(super) const NUMBER: u32 = 1;
    pub(super) const TEXT: u32 = 2;
    pub(super) const FUNCTION: u32 = 3;
    pub(super) const LINE: u32 = 4;
}

/// Numbers of processes below this may be told from those of threads by what is added.
const THREADS: i64 = 1 << 22;

/// Writes a trace to a file.
///
/// # Errors
/// What the system says.
pub fn write(trace: &Trace, path: &Path) -> io::Result<()> {
    let mut file = BufWriter::new(std::fs::File::create(path)?);
    write_to(trace, &mut file)?;
    file.flush()
}

/// Writes a trace.
///
/// # Errors
/// What `to` says.
pub fn write_to(trace: &Trace, to: &mut impl Write) -> io::Result<()> {
    let mut writer = Writer { to, texts: HashMap::new(), is_begun: false, places: &trace.places };
    let mut flows = flows(trace);
    for (index, rank) in trace.ranks.iter().enumerate() {
        let flows = std::mem::take(&mut flows[index]);
        writer.rank(trace, index, rank, &flows)?;
    }
    Ok(())
}

/// The messages that begin and end in each call of a rank, with their numbers.
#[derive(Default)]
struct Flows<'t> {
    sent: HashMap<u32, Vec<u64>>,
    received: HashMap<u32, Vec<(u64, &'t Sent)>>,
}

fn flows(trace: &Trace) -> Vec<Flows<'_>> {
    let mut flows: Vec<Flows<'_>> = trace.ranks.iter().map(|_| Flows::default()).collect();
    for (number, message) in (1..).zip(&trace.messages) {
        let (Some(send), Some(receive)) = (message.send_call, message.receive_call) else { continue };
        if (message.from as usize) < flows.len() && (message.to as usize) < flows.len() {
            flows[message.from as usize].sent.entry(send).or_default().push(number);
            flows[message.to as usize].received.entry(receive).or_default().push((number, message));
        }
    }
    flows
}

fn category(class: Class) -> &'static str {
    match class {
        Class::PointToPoint => "point-to-point",
        Class::Completion => "completion",
        Class::Collective => "collective",
        Class::OneSided => "one-sided",
        Class::File => "file",
        Class::Management => "management",
    }
}

struct Writer<'t, W> {
    to: &'t mut W,
    /// The number of each text, by the field of `InternedData` that has it.
    texts: HashMap<(u32, String), u64>,
    is_begun: bool,
    places: &'t [Place],
}

/// A slice that has begun and not ended.
#[derive(Clone, Copy)]
struct Open<'t> {
    index: u32,
    call: &'t Call,
    end: u64,
    /// When the last call within it ended.
    free_from: u64,
}

/// An event with the texts that are said for the first time in it.
struct Event {
    event: Message,
    interned: Message,
}

impl<W: Write> Writer<'_, W> {
    fn packet(&mut self, packet: Message) -> io::Result<()> {
        let flags = if std::mem::replace(&mut self.is_begun, true) { NEEDED } else { CLEARED | NEEDED };
        let packet = packet.number(packet::SEQUENCE, 1).number(packet::SEQUENCE_FLAGS, flags);
        self.to.write_all(Message::default().message(PACKET, &packet).written())
    }

    fn event(&mut self, at: u64, event: &Event) -> io::Result<()> {
        let mut packet = Message::default().number(packet::TIMESTAMP, at);
        if event.interned != Message::default() {
            packet = packet.message(packet::INTERNED_DATA, &event.interned);
        }
        self.packet(packet.message(packet::TRACK_EVENT, &event.event))
    }

    /// The number of a text, which `said` gets if it is new.
    fn number(&mut self, list: u32, text: &str, said: &mut Message, more: impl FnOnce(Message) -> Message) -> u64 {
        if let Some(number) = self.texts.get(&(list, text.to_owned())) {
            return *number;
        }
        let number = self.texts.len() as u64 + 1;
        self.texts.insert((list, text.to_owned()), number);
        let entry = more(Message::default().number(interned::NUMBER, number));
        *said = std::mem::take(said).message(list, &entry);
        number
    }

    fn text(&mut self, list: u32, text: &str, said: &mut Message) -> u64 {
        self.number(list, text, said, |entry| entry.text(interned::TEXT, text))
    }

    fn named(&mut self, kind: u64, track: u64, name: &str) -> Event {
        let mut said = Message::default();
        let name = self.text(interned::NAMES, name, &mut said);
        let event = Message::default().number(event::KIND, kind).number(event::TRACK, track).number(event::NAME, name);
        Event { event, interned: said }
    }

    fn annotate(&mut self, event: &mut Event, name: &str, value: impl FnOnce(Message) -> Message) {
        let name = self.text(interned::ANNOTATIONS, name, &mut event.interned);
        let annotation = value(Message::default().number(annotation::NAME, name));
        event.event = std::mem::take(&mut event.event).message(event::ANNOTATION, &annotation);
    }

    fn rank(&mut self, trace: &Trace, index: usize, rank: &Rank, flows: &Flows<'_>) -> io::Result<()> {
        // Numbers of tracks: a rank's are the only ones with its number in the upper half.
        let process = (index as u64 + 1) << 32;
        let name = match &rank.end {
            End::Well => rank.name.clone(),
            End::Badly(how) => format!("{} ({how})", rank.name),
        };
        let mut descriptor = Message::default().signed(track::PID, i64::from(rank.pid));
        for word in &trace.command {
            descriptor = descriptor.text(track::COMMAND, word);
        }
        let descriptor = descriptor.number(track::PROCESS_SORT, index as u64).text(track::PROCESS_NAME, &name);
        self.track(Message::default().number(track::UUID, process).message(track::PROCESS, &descriptor))?;
        let mut threads: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
        for (index, call) in (0..).zip(&rank.calls) {
            threads.entry(call.thread).or_default().push(index);
        }
        for (thread, calls) in threads {
            let number = process + 1 + u64::from(thread);
            let name = if thread == 0 { name.clone() } else { format!("thread {thread}") };
            let descriptor = Message::default()
                .signed(track::PID, i64::from(rank.pid))
                .signed(track::TID, (i64::from(rank.pid) + THREADS * i64::from(thread)) & i64::from(i32::MAX))
                .text(track::THREAD_NAME, &name);
            let track = Message::default().number(track::UUID, number).number(track::PARENT, process);
            self.track(track.message(track::THREAD, &descriptor))?;
            self.thread(trace, rank, &calls, number, flows)?;
        }
        Ok(())
    }

    fn track(&mut self, descriptor: Message) -> io::Result<()> {
        self.packet(Message::default().number(packet::TIMESTAMP, 0).message(packet::TRACK_DESCRIPTOR, &descriptor))
    }

    /// The slices of a thread, which made these calls of the rank.
    fn thread(&mut self, trace: &Trace, rank: &Rank, calls: &[u32], track: u64, flows: &Flows<'_>) -> io::Result<()> {
        // Calls within which the next one may lie.
        let mut open: Vec<Open<'_>> = Vec::new();
        for index in calls.iter().copied() {
            let Some(call) = rank.calls.get(index as usize) else { continue };
            self.finish_until(trace, &mut open, call.began_ns, track, flows)?;
            // What lies within another one ends with it at the latest.
            let end = open.last().map_or(call.ended_ns, |outer| call.ended_ns.min(outer.end));
            self.begin(trace, index, call, track, flows)?;
            open.push(Open { index, call, end, free_from: call.began_ns });
        }
        self.finish_until(trace, &mut open, u64::MAX, track, flows)
    }

    /// Ends the calls that have ended at that time.
    fn finish_until(
        &mut self,
        trace: &Trace,
        open: &mut Vec<Open<'_>>,
        time: u64,
        track: u64,
        flows: &Flows<'_>,
    ) -> io::Result<()> {
        while let Some(over) = open.pop_if(|call| call.end <= time) {
            self.finish(trace, &over, track, flows)?;
            if let Some(outer) = open.last_mut() {
                outer.free_from = over.end;
            }
        }
        Ok(())
    }

    fn begin(&mut self, trace: &Trace, index: u32, call: &Call, track: u64, flows: &Flows<'_>) -> io::Result<()> {
        let mut event = self.named(BEGIN, track, call.name);
        let number = self.text(interned::CATEGORIES, category(call.class), &mut event.interned);
        event.event = std::mem::take(&mut event.event).number(event::CATEGORY, number);
        if let Some(object) = &call.object {
            let what = match call.class {
                Class::OneSided => "window",
                Class::File => "file",
                _ => "communicator",
            };
            self.annotate(&mut event, what, |a| a.text(annotation::TEXT, object));
        }
        if let Some(peer) = call.peer.and_then(|peer| trace.ranks.get(peer as usize)) {
            let what = if call.class == Class::Collective { "root" } else { "peer" };
            self.annotate(&mut event, what, |a| a.text(annotation::TEXT, &peer.name));
        }
        if let Some(tag) = call.tag {
            self.annotate(&mut event, "tag", |a| a.signed(annotation::SIGNED, tag.into()));
        }
        if let Some(bytes) = call.bytes {
            self.annotate(&mut event, "bytes", |a| a.number(annotation::UNSIGNED, bytes));
        }
        if call.waited_ns > 0 {
            self.annotate(&mut event, "waited_ns", |a| a.number(annotation::UNSIGNED, call.waited_ns));
        }
        if !call.returned {
            self.annotate(&mut event, "never_returned", |a| a.number(annotation::FLAG, 1));
        }
        if let Some(place) = call.place.and_then(|place| self.places.get(place.0 as usize)) {
            let text = format!("{}:{}", place.file, place.line);
            let key = format!("{text} {}", place.function);
            let number = self.number(interned::PLACES, &key, &mut event.interned, |entry| {
                let entry = entry.text(interned::TEXT, &place.file).text(interned::FUNCTION, &place.function);
                entry.number(interned::LINE, place.line.into())
            });
            event.event = std::mem::take(&mut event.event).number(event::PLACE, number);
            self.annotate(&mut event, "line", |a| a.text(annotation::TEXT, &text));
            self.annotate(&mut event, "function", |a| a.text(annotation::TEXT, &place.function));
        }
        for flow in flows.sent.get(&index).into_iter().flatten() {
            event.event = std::mem::take(&mut event.event).fixed(event::FLOW, *flow);
        }
        self.event(call.began_ns, &event)
    }

    /// What lies at the end of a call, and its end.
    fn finish(&mut self, trace: &Trace, over: &Open<'_>, track: u64, flows: &Flows<'_>) -> io::Result<()> {
        let Open { index, call, end, free_from } = *over;
        let waited = call.waited_ns.min(end.saturating_sub(free_from));
        if waited > 0 {
            let event = self.named(BEGIN, track, "waiting");
            self.event(end - waited, &event)?;
            self.close(end, track)?;
        }
        for (flow, message) in flows.received.get(&index).into_iter().flatten() {
            let from = trace.ranks.get(message.from as usize).map_or("", |from| from.name.as_str());
            let mut event = self.named(INSTANT, track, &format!("message from {from}"));
            self.annotate(&mut event, "tag", |a| a.signed(annotation::SIGNED, message.tag.into()));
            self.annotate(&mut event, "bytes", |a| a.number(annotation::UNSIGNED, message.bytes));
            event.event = std::mem::take(&mut event.event).fixed(event::LAST_OF_FLOW, *flow);
            self.event(end.max(message.sent_ns), &event)?;
        }
        self.close(end, track)
    }

    fn close(&mut self, at: u64, track: u64) -> io::Result<()> {
        let event = Message::default().number(event::KIND, FINISH).number(event::TRACK, track);
        self.event(at, &Event { event, interned: Message::default() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::PlaceId;
    use crate::protobuf::reading::{Value, fields};

    /// What a reader sees: the events in order, as (time, kind, track, name, flows begun, flows ended).
    type Seen = (u64, u64, u64, Option<String>, Vec<u64>, Vec<u64>);

    fn number(value: Value<'_>) -> u64 {
        match value {
            Value::Number(number) | Value::Fixed(number) => number,
            Value::Bytes(_) => panic!("a message where a number belongs"),
        }
    }

    fn bytes(value: Value<'_>) -> &[u8] {
        match value {
            Value::Bytes(bytes) => bytes,
            _ => panic!("a number where a message belongs"),
        }
    }

    fn seen(trace: &Trace) -> (Vec<Seen>, HashMap<(u32, u64), String>) {
        let mut written = Vec::new();
        write_to(trace, &mut written).expect("memory takes everything");
        let (mut events, mut names) = (Vec::new(), HashMap::new());
        for (field, value) in fields(&written).expect("packets") {
            assert_eq!(field, PACKET);
            let mut time = 0;
            for (field, value) in fields(bytes(value)).expect("a packet") {
                match field {
                    packet::TIMESTAMP => time = number(value),
                    packet::INTERNED_DATA => {
                        for (list, entry) in fields(bytes(value)).expect("interned data") {
                            let entry = fields(bytes(entry)).expect("an entry");
                            let text = String::from_utf8(bytes(entry[1].1).to_vec()).expect("a text");
                            assert!(names.insert((list, number(entry[0].1)), text).is_none());
                        }
                    }
                    packet::TRACK_EVENT => {
                        let mut event = (time, 0, 0, None, Vec::new(), Vec::new());
                        for (field, value) in fields(bytes(value)).expect("an event") {
                            match field {
                                event::KIND => event.1 = number(value),
                                event::TRACK => event.2 = number(value),
                                event::NAME => event.3 = names.get(&(interned::NAMES, number(value))).cloned(),
                                event::FLOW => event.4.push(number(value)),
                                event::LAST_OF_FLOW => event.5.push(number(value)),
                                _ => {}
                            }
                        }
                        events.push(event);
                    }
                    _ => {}
                }
            }
        }
        (events, names)
    }

    fn call(name: &'static str, began_ns: u64, ended_ns: u64, waited_ns: u64) -> Call {
        Call {
            thread: 0,
            name,
            class: Class::PointToPoint,
            began_ns,
            ended_ns,
            waited_ns,
            returned: true,
            place: Some(PlaceId(0)),
            object: Some("MPI_COMM_WORLD".to_owned()),
            context: Some(4),
            peer: Some(0),
            tag: Some(-1),
            bytes: Some(8),
        }
    }

    fn trace() -> Trace {
        let rank = |name: &str, pid, calls| Rank { name: name.to_owned(), pid, calls, ..Rank::default() };
        Trace {
            ranks: vec![
                rank("rank 0", 10, vec![call("MPI_Send", 100, 200, 0), call("MPI_Send", 200, 300, 0)]),
                rank("rank 1", 11, vec![call("MPI_Recv", 50, 250, 100), call("MPI_Wait", 60, 90, 0)]),
            ],
            messages: vec![Sent {
                from: 0,
                to: 1,
                tag: 3,
                bytes: 8,
                sent_ns: 100,
                received_ns: 250,
                send_call: Some(0),
                receive_call: Some(0),
            }],
            places: vec![Place { file: "a.py".to_owned(), line: 3, function: "main".to_owned() }],
            ..Trace::default()
        }
    }

    #[test]
    fn slices_nest_and_messages_are_arrows() {
        let (events, names) = seen(&trace());
        let tracks = [1 << 32 | 1, 2 << 32 | 1];
        let name = |name: &str| Some(name.to_owned());
        let none = Vec::new;
        assert_eq!(
            events,
            [
                (100, BEGIN, tracks[0], name("MPI_Send"), vec![1], none()),
                (200, FINISH, tracks[0], None, none(), none()),
                (200, BEGIN, tracks[0], name("MPI_Send"), none(), none()),
                (300, FINISH, tracks[0], None, none(), none()),
                (50, BEGIN, tracks[1], name("MPI_Recv"), none(), none()),
                (60, BEGIN, tracks[1], name("MPI_Wait"), none(), none()),
                (90, FINISH, tracks[1], None, none(), none()),
                (150, BEGIN, tracks[1], name("waiting"), none(), none()),
                (250, FINISH, tracks[1], None, none(), none()),
                (250, INSTANT, tracks[1], name("message from rank 0"), none(), vec![1]),
                (250, FINISH, tracks[1], None, none(), none()),
            ]
        );
        let has = |list: u32, text: &str| names.iter().any(|((of, _), name)| *of == list && name == text);
        assert!(has(interned::CATEGORIES, "point-to-point") && has(interned::PLACES, "a.py"));
        assert!(["communicator", "peer", "tag", "bytes", "line"].iter().all(|text| has(interned::ANNOTATIONS, text)));
    }

    #[test]
    fn every_slice_that_begins_ends_whatever_the_times_are() {
        let mut trace = trace();
        // Overlapping, as only a rank that scribbles leaves them.
        trace.ranks[0].calls =
            vec![call("MPI_Send", 0, 100, 90), call("MPI_Send", 50, 300, 200), call("MPI_Send", 300, 300, 0)];
        trace.messages[0].send_call = Some(77);
        let (events, _) = seen(&trace);
        for track in [1 << 32 | 1, 2 << 32 | 1] {
            let (mut depth, mut last) = (0, 0);
            for (time, kind, ..) in events.iter().filter(|event| event.2 == track) {
                assert!(*time >= last, "{events:?}");
                last = *time;
                depth += i32::from(*kind == BEGIN) - i32::from(*kind == FINISH);
                assert!(depth >= 0);
            }
            assert_eq!(depth, 0);
        }
    }

    #[test]
    fn as_many_threads_as_calls_are_no_more_work() {
        let mut trace = trace();
        let calls = 50_000;
        let of_thread = |thread| Call { thread, ..call("MPI_Send", u64::from(thread), 1 << 20, 0) };
        trace.ranks[0].calls = (0..calls).map(of_thread).collect();
        trace.messages.clear();
        let (events, _) = seen(&trace);
        let own: Vec<_> = events.iter().filter(|event| event.1 == BEGIN && event.2 >> 32 == 1).collect();
        assert_eq!(own.len(), calls as usize);
        assert!(own.iter().zip(0..).all(|(event, thread)| event.2 == 1 << 32 | (thread + 1) && event.0 == thread));
    }

    #[test]
    fn an_empty_trace_is_an_empty_file() {
        assert_eq!(seen(&Trace::default()).0, []);
    }
}
