//! Streams of frames with any bytes in them: see `phalanx-fuzz`.

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::agent::*;
use crate::cluster::{
    Dependency, EngineInfo, EngineLeft, Failure, FromClient, FromEngine, Hello, Outcome, Parcel, Payload, Queue,
    Record, Reply, Role, Status, TaskSpec, ToClient, ToEngine,
};
use crate::far::{Blob, FromGateway, Known, Object, Said, ToGateway};
use crate::frame::{Frame, Reader, WireError, Writer};
use crate::object;
use crate::overview::{EngineSeen, InHand, Mishap, Overview, Place, Seen};

phalanx_fuzz::targets! {
    orders("wire-orders", "what an agent hears from its launcher", cost 1, seeds(&some_orders()));
    reports("wire-reports", "what a launcher hears from its agents", cost 1, seeds(&some_reports()));
    hellos("wire-hellos", "what a controller hears of who connects", cost 1, seeds(&some_hellos()));
    clients("wire-clients", "what a controller hears from clients", cost 1, seeds(&some_requests()));
    engines("wire-engines", "what a controller hears from engines", cost 1, seeds(&some_results()));
    answers("wire-answers", "what a client hears from its controller", cost 1, seeds(&some_answers()));
    tasks("wire-tasks", "what an engine hears from its controller", cost 1, seeds(&some_tasks()));
    gateways("wire-gateways", "what a controller hears from gateways", cost 1, seeds(&some_words_of_gateways()));
    far_orders("wire-far-orders", "what a gateway hears from its controller", cost 1, seeds(&some_words_to_gateways()));
    objects("wire-objects", "handles in encoded objects", cost 1, some_objects());
}

fn orders(bytes: &[u8]) {
    read::<Order>(bytes);
}

fn reports(bytes: &[u8]) {
    read::<Report>(bytes);
}

fn hellos(bytes: &[u8]) {
    read::<Parcel<Hello>>(bytes);
}

fn clients(bytes: &[u8]) {
    read::<Parcel<FromClient>>(bytes);
}

fn engines(bytes: &[u8]) {
    read::<Parcel<FromEngine>>(bytes);
}

fn answers(bytes: &[u8]) {
    read::<Parcel<ToClient>>(bytes);
}

fn tasks(bytes: &[u8]) {
    read::<Parcel<ToEngine>>(bytes);
}

fn gateways(bytes: &[u8]) {
    read::<FromGateway>(bytes);
}

fn far_orders(bytes: &[u8]) {
    read::<ToGateway>(bytes);
}

/// Handles are where they are said to be: renamed and renamed back, an object is what it was.
fn objects(bytes: &[u8]) {
    let _ = object::inner(bytes);
    let mut wire = bytes.to_vec();
    if object::rename(&mut wire, |old| Some(!old)).is_ok() {
        let places = object::handles(&wire).expect("they were there");
        assert_eq!((&wire[..places.start], &wire[places.end..]), (&bytes[..places.start], &bytes[places.end..]));
        object::rename(&mut wire, |old| Some(!old)).expect("they were there");
        assert_eq!(wire, bytes);
    }
}

/// What is read in one piece is read in several, and is written and read as the same.
fn read<T: Serialize + DeserializeOwned + std::fmt::Debug>(bytes: &[u8]) {
    let messages = |pieces: &mut dyn Iterator<Item = &[u8]>| {
        let (mut reader, mut found) = (Reader::new(), Vec::<Piece<T>>::new());
        for piece in pieces {
            reader.take(piece);
            loop {
                match reader.read_frame() {
                    Ok(Some(Frame::Message(message))) => found.push(Piece::Message(message)),
                    // A chunk comes in as many pieces as its bytes.
                    Ok(Some(Frame::Chunk(number, bytes))) => match found.last_mut() {
                        Some(Piece::Chunk(before, all)) if *before == number => all.extend_from_slice(bytes),
                        _ => found.push(Piece::Chunk(number, bytes.to_vec())),
                    },
                    Ok(None) => break,
                    Err(error) => {
                        assert_eq!(reader.read::<T>().err(), Some(error));
                        return found;
                    }
                }
            }
        }
        found
    };
    // Compared as text: a number that is none is not equal to itself.
    let text = |found: &[Piece<T>]| format!("{found:?}");
    let found = messages(&mut std::iter::once(bytes));
    assert_eq!(text(&messages(&mut bytes.chunks(7))), text(&found));
    let mut writer = Writer::new("0");
    for piece in &found {
        match piece {
            Piece::Message(message) => writer.push(message).expect("it was short enough"),
            Piece::Chunk(number, bytes) => {
                let fill = |out: &mut [u8]| -> Result<(), WireError> {
                    out.copy_from_slice(bytes);
                    Ok(())
                };
                writer.push_chunk(*number, bytes.len(), fill).expect("it was short enough");
            }
        }
    }
    assert_eq!(text(&messages(&mut std::iter::once(writer.unsent()))), text(&found));
}

/// As [`Frame`], with bytes of its own.
#[derive(Debug)]
enum Piece<T> {
    Message(T),
    Chunk(u32, Vec<u8>),
}

fn seeds<T: Serialize>(messages: &[T]) -> Vec<Vec<u8>> {
    let stream = |messages: &[&T]| {
        let mut writer = Writer::new("0.1.0");
        messages.iter().for_each(|message| writer.push(message).expect("short"));
        writer.unsent().to_vec()
    };
    let mut seeds: Vec<Vec<u8>> = messages.iter().map(|message| stream(&[message])).collect();
    seeds.push(stream(&messages.iter().collect::<Vec<_>>()));
    seeds
}

fn bytes(text: &str) -> Bytes {
    Bytes(text.as_bytes().to_vec())
}

fn some_orders() -> Vec<Order> {
    let pair = || vec![("P0-key".to_owned(), "a value".to_owned())];
    vec![
        Order::Check(Check {
            host: "h1".to_owned(),
            mark: "7.1".to_owned(),
            directory: bytes("/home/you"),
            python: Some(bytes("/usr/bin/python3")),
            files: vec![bytes("/home/you/script.py")],
            beat: 1000,
        }),
        Order::Start(Box::new(Start {
            world: 0,
            apps: vec![0, 0, 1],
            space: "kvs_7_0".to_owned(),
            values: pair(),
            universe: 3,
            environment: vec![(bytes("HOME"), bytes("/home/you"))],
            programs: vec![Program { path: bytes("/bin/true"), args: vec![bytes("x")], directory: Some(bytes("/")) }],
            ranks: vec![Rank { id: 1, rank: 1, files: Some((bytes("a"), bytes("b"))), reads: true, ..Rank::default() }],
            merge: false,
            here: 1,
            binding: "auto".to_owned(),
        })),
        Order::Input { id: 0, bytes: bytes("line\n") },
        Order::Met { world: 0, pairs: pair() },
        Order::Answer { id: 1, line: "cmd=get_result rc=0".to_owned() },
        Order::Signal(15),
        Order::Kill,
        Order::Taken(70_000),
        Order::Look { number: 1, within: 200 },
        Order::Beat,
        Order::Pause,
        Order::End,
    ]
}

fn some_reports() -> Vec<Report> {
    vec![
        Report::Found(Found {
            node: "h1".to_owned(),
            cpus: 4,
            directory: Ok(()),
            python: Some(Ok("3.11.2".to_owned())),
            files: vec![Ok(Print { length: 3, hash: 7 }), Err("No such file".to_owned())],
        }),
        Report::Started { id: 1, pid: 77 },
        Report::Failed { id: 1, reason: "permission denied".to_owned() },
        Report::Output { id: 1, error: true, bytes: bytes("hello\n") },
        Report::Read { id: 0, count: 5 },
        Report::Gathered { world: 0, ranks: vec![0, 1], pairs: vec![("k".to_owned(), "v".to_owned())] },
        Report::Asks { id: 1, lines: "cmd=lookup_name service=x\n".to_owned() },
        Report::Aborts { id: 1, code: 3 },
        Report::HungUp { id: 1 },
        Report::Told(bytes("raised\x001")),
        Report::Ended { id: 1, how: How::Signal(9), stage: Stage::Initialised },
        Report::Seen {
            number: 1,
            ranks: vec![Sight { id: 1, stage: Stage::Initialised, processes: vec![bytes("computes")] }],
            last: true,
        },
        Report::Says("a word".to_owned()),
        Report::Beat,
        Report::Bye,
    ]
}

fn parcel<M>(body: M) -> Parcel<M> {
    let payload = Payload { wire: bytes("\u{1}x"), blocks: vec![1 << 34, 7], bytes: 100, shared: true };
    Parcel { taken: 3, body, payloads: vec![payload] }
}

fn some_hellos() -> Vec<Parcel<Hello>> {
    let hello = Hello { protocol: 1, role: Role::Engine, token: "ab".to_owned(), ..Hello::default() };
    vec![parcel(hello), parcel(Hello::default())]
}

fn some_requests() -> Vec<Parcel<FromClient>> {
    let name = || "6f1c".to_owned();
    let request = Some(4);
    let on = Some(Dependency { ids: vec![name()], all: false, success: true, failure: true });
    let task = TaskSpec {
        id: name(),
        kind: "apply".to_owned(),
        targets: vec![0, 3],
        args: Some(0),
        after: on.clone(),
        follow: on,
        timeout: Some(0.5),
        time_limit: Some(1e9),
        label: Some(name()),
        metadata: bytes("{}"),
        ..TaskSpec::default()
    };
    [
        FromClient::Submit { tasks: vec![task, TaskSpec::default()], notify: true },
        FromClient::Abort { ids: Some(vec![name()]), targets: Some(vec![1]), request },
        FromClient::Signal { targets: vec![1], signal: 2, request },
        FromClient::Shutdown { targets: None, controller: true, restart: false, request },
        FromClient::Fetch { ids: vec![name()], request },
        FromClient::Records { ids: None, request },
        FromClient::Purge { ids: None, targets: None, everything: true, request },
        FromClient::Resubmit { ids: vec![name()], new_ids: vec![name()], request },
        FromClient::QueueStatus { targets: None, request },
        FromClient::ResultStatus { ids: vec![name()], request },
        FromClient::Forget { ids: vec![name()] },
        FromClient::StartEngines { n: 2, request },
        FromClient::Taken {},
        FromClient::Overview { stacks: true, request },
    ]
    .map(parcel)
    .into()
}

fn a_failure() -> Failure {
    let text = || "x".to_owned();
    Failure { ename: text(), evalue: text(), traceback: vec![text()], kind: "task".to_owned() }
}

fn some_results() -> Vec<Parcel<FromEngine>> {
    let id = || "6f1c".to_owned();
    [
        FromEngine::Ready {},
        FromEngine::Begin { id: id() },
        FromEngine::Done {
            id: id(),
            status: Status::Rejected,
            error: Some(a_failure()),
            metadata: bytes("{}"),
            started: Some(1.5),
            completed: None,
            printed: true,
        },
        FromEngine::Output { id: id() },
        FromEngine::Returned { ids: vec![id()] },
        FromEngine::Bye {},
        FromEngine::Taken {},
    ]
    .map(parcel)
    .into()
}

fn an_overview() -> Overview {
    let task = InHand { id: "c_1".to_owned(), kind: "apply".to_owned(), label: None, since: 1.5 };
    let place = Place { file: "a.py".to_owned(), line: 3, function: "f".to_owned() };
    let process = Seen { pid: 7, cpu: 10, resident: 1 << 20, stack: vec![place], ..Seen::default() };
    let engine = EngineSeen { task: Some(task), done: 4, process, ..EngineSeen::default() };
    let mishap = Mishap { at: 2.5, engine_id: Some(1), ename: "ValueError".to_owned(), ..Mishap::default() };
    Overview { engines: vec![engine], mishaps: vec![mishap], ended: [1, 2, 3], ..Overview::default() }
}

fn some_answers() -> Vec<Parcel<ToClient>> {
    let id = || "6f1c".to_owned();
    let info = EngineInfo { id: 1, uuid: id(), pid: 7, host: "h".to_owned() };
    let record = Record { id: id(), error: Some(a_failure()), ..Record::default() };
    let engines = [("1".to_owned(), Queue { queue: vec![id()], ..Queue::default() })].into();
    [
        ToClient::Welcome {
            identity: id(),
            cluster_id: String::new(),
            engines: vec![info.clone()],
            starting: 1,
            pid: 7,
            version: "0.1.0".to_owned(),
            more: Default::default(),
        },
        ToClient::Result(Outcome { id: id(), error: Some(a_failure()), ..Outcome::default() }),
        ToClient::Started { id: id(), engine_id: 1, at: 1.5 },
        ToClient::Stream { id: Some(id()), engine_id: 1, name: "stdout".to_owned(), text: "x\n".to_owned() },
        ToClient::Output { id: id(), engine_id: 1 },
        ToClient::Engines { joined: vec![info], left: vec![EngineLeft { id: 1, reason: id() }], starting: 0 },
        ToClient::Reply(Reply { request: 4, engines, records: vec![record], ..Reply::default() }),
        ToClient::Reply(Reply { request: 5, overview: Some(Box::new(an_overview())), ..Reply::default() }),
        ToClient::Bye { reason: "over".to_owned() },
        ToClient::Taken {},
    ]
    .map(parcel)
    .into()
}

fn some_tasks() -> Vec<Parcel<ToEngine>> {
    let id = || "6f1c".to_owned();
    [
        ToEngine::Welcome {
            identity: id(),
            engine_id: 1,
            cluster_id: id(),
            note: 5,
            pid: 7,
            version: "0.1.0".to_owned(),
            more: Default::default(),
        },
        ToEngine::Run { id: id(), kind: id(), client: id(), label: None, metadata: bytes("{}"), seq: 9 },
        ToEngine::Exit {},
        ToEngine::Bye { reason: "over".to_owned() },
        ToEngine::Taken {},
    ]
    .map(parcel)
    .into()
}

fn some_said() -> Said {
    let blob = Blob { handle: 1 << 34, number: 5, bytes: 100 };
    let object = Object { wire: bytes("\u{b}12345678x"), blobs: vec![blob], shared: true };
    Said { channel: 3, message: bytes("x"), objects: vec![object, Object::default()] }
}

fn some_words_of_gateways() -> Vec<FromGateway> {
    let text = || "x".to_owned();
    vec![
        FromGateway::Hello { protocol: 1, token: text(), host: text(), pid: 7 },
        FromGateway::Open { channel: 3, hello: Hello::default(), known: Some(Known { id: 1, uuid: text() }) },
        FromGateway::Said(some_said()),
        FromGateway::Text { channel: 3, is_error: true, text: text() },
        FromGateway::Ended { channel: 3, reason: text(), begun: 9 },
        FromGateway::Failed { id: 1, reason: text() },
        FromGateway::Beat {},
    ]
}

fn some_words_to_gateways() -> Vec<ToGateway> {
    let text = || "x".to_owned();
    vec![
        ToGateway::Welcome { cluster_id: text(), beat: 1000 },
        ToGateway::Said(some_said()),
        ToGateway::Signal { channel: 3, signal: 2 },
        ToGateway::Kill { channel: 3 },
        ToGateway::Start { id: 1 },
        ToGateway::Close { channel: 3 },
        ToGateway::Bye { reason: text() },
        ToGateway::Beat {},
    ]
}

fn some_objects() -> Vec<Vec<u8>> {
    let handles = [7u64.to_le_bytes(), 9u64.to_le_bytes()].concat();
    vec![
        [&[13, 1, 0, 0, 2, 0, 0, 0][..], &100u64.to_le_bytes(), &handles, b"frame"].concat(),
        [&[12][..], &handles].concat(),
        [&[14, 0, 0, 0, 0, 0, 0, 0][..], &handles].concat(),
        vec![4, 1, 2],
    ]
}
