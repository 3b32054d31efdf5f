//! Streams of frames with any bytes in them: see `phalanx-fuzz`.

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::agent::*;
use crate::frame::{Reader, Writer};

phalanx_fuzz::targets! {
    orders("wire-orders", "what an agent hears from its launcher", cost 1, seeds(&some_orders()));
    reports("wire-reports", "what a launcher hears from its agents", cost 1, seeds(&some_reports()));
}

fn orders(bytes: &[u8]) {
    read::<Order>(bytes);
}

fn reports(bytes: &[u8]) {
    read::<Report>(bytes);
}

/// What is read in one piece is read in several, and is written and read as the same.
fn read<T: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug>(bytes: &[u8]) {
    let messages = |pieces: &mut dyn Iterator<Item = &[u8]>| {
        let (mut reader, mut found) = (Reader::new(), Vec::<T>::new());
        for piece in pieces {
            reader.take(piece);
            loop {
                match reader.read() {
                    Ok(Some(message)) => found.push(message),
                    Ok(None) => break,
                    Err(error) => {
                        assert_eq!(reader.read::<T>(), Err(error));
                        return found;
                    }
                }
            }
        }
        found
    };
    let found = messages(&mut std::iter::once(bytes));
    assert_eq!(messages(&mut bytes.chunks(7)), found);
    let mut writer = Writer::new("0");
    for message in &found {
        writer.push(message).expect("it was short enough");
    }
    assert_eq!(messages(&mut std::iter::once(writer.unsent())), found);
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
