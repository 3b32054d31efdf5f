//! Fuzz targets of logs.

use crate::model::{End, Place};
use crate::record::{self, Event, GRANULE, Object};
use crate::{Job, Log, number, perfetto, read, report};

phalanx_fuzz::targets! {
    logs("trace-log", "the logs of traced ranks", cost 20, seeds());
}

/// Ranks whose logs the bytes are, one after the other.
const RANKS: usize = 3;

/// A log as a rank writes it: calls with what they refer to, and messages with both neighbours.
fn log(rank: u32) -> Vec<u64> {
    let mut words = vec![0; record::HEAD * GRANULE];
    let (left, right) = ((rank + 2) % 3, (rank + 1) % 3);
    let form = |function, peer| record::Form {
        function: number(function),
        thread: rank,
        place: Some(1),
        object: Some(Object::Comm(4)),
        peer: Some(peer),
        tag: Some(7),
        has_bytes: true,
    };
    words.extend(record::form(&form("MPI_Send", right), 1));
    words.extend(record::form(&form("MPI_Recv", left), 2));
    words.extend(record::place(1, &Place { file: "a <b>.py".into(), line: 3, function: "main".into() }));
    words.extend(record::name(Object::Comm(4), "MPI_COMM_WORLD", 1000));
    for turn in 0..3 {
        let at = 1000 + 100 * u64::from(turn);
        for (of, event, other) in [(1, Event::Sent, right), (2, Event::Matched, left)] {
            let call = u32::try_from(words.len() / GRANULE).unwrap_or(0);
            let (mut begun, _) = record::call(of, at, 8);
            (begun[record::ENDED], begun[record::BYTES]) = (at + 50, record::waited(begun[record::BYTES], 2048));
            words.extend(begun);
            words.extend(record::half(&record::Half {
                event,
                call,
                other,
                context: 4,
                tag: 7,
                bytes: 8,
                number: turn,
            }));
        }
    }
    let (long, _) = record::call(1, 1500, 1 << 40);
    words.extend(long);
    words.extend(record::bytes_of_call(1 << 40));
    words
}

fn seeds() -> Vec<Vec<u8>> {
    let all = |ranks: &[u32]| ranks.iter().flat_map(|rank| log(*rank)).flat_map(u64::to_le_bytes).collect();
    vec![all(&[0, 1, 2]), all(&[2, 2, 2])]
}

fn logs(bytes: &[u8]) {
    let words: Vec<u64> = bytes.as_chunks::<8>().0.iter().map(|word| u64::from_le_bytes(*word)).collect();
    let each = words.len().div_ceil(RANKS).next_multiple_of(GRANULE).max(GRANULE);
    let of = |(slot, words): (u32, &[u64])| Log {
        name: slot.to_string(),
        pid: 100 + slot,
        slot,
        ended: 9000,
        end: End::Well,
        words: words.to_vec(),
        lost: 0,
    };
    let logs: Vec<Log> = (0..).zip(words.chunks(each)).map(of).collect();
    let job = Job { cpus: 2, began: 1000, ended: 9000, lasted_ns: 16000, ..Job::default() };
    let trace = read(job, &logs);
    assert_eq!(trace.ranks.len(), logs.len());
    for call in trace.ranks.iter().flat_map(|rank| &rank.calls) {
        assert!(call.began_ns <= call.ended_ns && call.ended_ns <= trace.lasted_ns);
        assert!(call.waited_ns <= call.ended_ns - call.began_ns);
        assert!(call.place.is_none_or(|place| (place.0 as usize) < trace.places.len()));
        assert!(call.peer.is_none_or(|peer| (peer as usize) < trace.ranks.len()));
    }
    for message in &trace.messages {
        let has = |rank: u32, call: Option<u32>| {
            call.is_some_and(|call| (call as usize) < trace.ranks[rank as usize].calls.len())
        };
        assert!(has(message.from, message.send_call) && has(message.to, message.receive_call));
        assert!(message.sent_ns <= message.received_ns);
    }
    let mut timeline = Vec::new();
    perfetto::write_to(&trace, &mut timeline).expect("memory takes it");
    // What stands in a log ends no script of the page.
    let page = report::page(&trace).expect("it is made");
    let ends = |page: &str| page.matches("</script").count();
    let of_none = report::page(&read(Job::default(), &[])).expect("it is made");
    assert_eq!(ends(&page), ends(&of_none));
}
