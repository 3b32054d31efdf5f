//! What ranks have left in the segment, with any bytes in it: see `phalanx-fuzz`.

use crate::finding::{Class, Finding, Found};
use crate::fold::{Manner, fold};
use crate::found::Findings;
use crate::report::{Names, ranks, reason, report, said, verdict};
use crate::snapshot::Snapshot;
use crate::wait::{Collective, Frame, Item, Kind, Need, Peers, Wait};

phalanx_fuzz::targets! {
    notes("wait", "what blocked threads say of their waits", cost 2, wait_seeds());
    findings("finding", "what ranks have found with --check", cost 2, finding_seeds());
}

struct Numbers;

impl Names for Numbers {
    fn rank(&self, slot: u32) -> String {
        match slot {
            0xffff_0000.. => format!("in slot {slot}"),
            _ => slot.to_string(),
        }
    }

    fn source(&self, frame: &Frame) -> Option<String> {
        Some(frame.function.repeat(2))
    }
}

/// Several records in one input: each has a byte of its slot and two of its length in front.
fn records(mut bytes: &[u8]) -> Vec<(u32, Vec<u8>)> {
    let mut records = Vec::new();
    while let [slot, low, high, rest @ ..] = bytes {
        let (record, behind) = rest.split_at(usize::from(u16::from_le_bytes([*low, *high])).min(rest.len()));
        records.push((u32::from(*slot), record.to_vec()));
        bytes = behind;
    }
    records
}

fn joined<'r>(records: impl IntoIterator<Item = (u8, &'r [u8])>) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (slot, record) in records {
        bytes.push(slot);
        bytes.extend_from_slice(&(record.len() as u16).to_le_bytes());
        bytes.extend_from_slice(record);
    }
    bytes
}

fn frame(line: u32) -> Frame {
    Frame { file: "/home/you/solver.py".into(), line, function: "exchange".into() }
}

fn wait_seeds() -> Vec<Vec<u8>> {
    let of = |operation: &str, kind, need, peers: &[Peers], collective| Wait {
        thread: 4711,
        mates: vec![4712],
        alone: true,
        operation: operation.into(),
        since: 123_456_789,
        need,
        items: peers
            .iter()
            .map(|peers| Item {
                kind,
                peers: peers.clone(),
                what: "from rank 1, tag 7, on MPI_COMM_WORLD".into(),
                near: "a message from rank 1 with tag 8 is here".into(),
            })
            .collect(),
        collective,
        background: Some(Peers::one(3)),
        place: vec![frame(3), frame(40)],
    };
    let all: Peers = (0..4).collect();
    let collective = Collective { context: 8, title: "MPI_COMM_WORLD".into(), members: all.clone() };
    let waits = [
        of("Recv", Kind::Receive, Need::All, &[Peers::one(1)], None),
        of("Waitany", Kind::Send, Need::Any, &[Peers::one(0), [1, 3].into_iter().collect()], None),
        of("Barrier", Kind::Collective, Need::All, &[all], Some(collective)),
        of("Wait", Kind::Own, Need::Any, &[], None),
    ];
    let encoded: Vec<Vec<u8>> = waits.into_iter().filter_map(|wait| wait.encode(4096)).collect();
    let mut seeds: Vec<Vec<u8>> = encoded.iter().map(|wait| joined([(0, &wait[..])])).collect();
    seeds.push(joined((0..).zip(&encoded).map(|(slot, wait)| (slot, &wait[..]))));
    seeds.push(joined([(0, &encoded[0][..]), (1, &encoded[0][..])]));
    seeds.push(joined([(0, &encoded[1][..]), (1 | LEAVES, &encoded[0][..]), (3 | IS_OVER, &encoded[0][..])]));
    seeds
}

/// Bits of a record's slot: its process is in `MPI_Finalize`, or past it.
const LEAVES: u8 = 8;
const IS_OVER: u8 = 16;

/// What is read is what would be written, and what is told of several is lines that a terminal can be given.
fn notes(bytes: &[u8]) {
    let (mut waits, mut left) = (Vec::new(), Vec::new());
    for (slot, record) in records(bytes) {
        let is = |part: u8| slot & u32::from(part) != 0;
        left.extend((is(LEAVES) || is(IS_OVER)).then_some((slot % 8, is(IS_OVER))));
        let Some(wait) = Wait::decode(&record) else { continue };
        let again = wait.clone().encode(usize::MAX).expect("there is room");
        assert_eq!(Wait::decode(&again).as_ref(), Some(&wait));
        let cut = wait.clone().encode(200);
        assert!(cut.is_none_or(|cut| cut.len() <= 200 && Wait::decode(&cut).is_some()));
        tamed(&crate::tame(said(&wait)));
        waits.push((slot % 8, wait));
    }
    let snapshot = left.into_iter().fold(Snapshot::of_waits(8, waits), |so_far, (slot, over)| so_far.left(slot, over));
    let stuck = crate::stuck(snapshot.standings());
    assert!(stuck.iter().all(|slot| *slot < 8) && stuck.is_sorted());
    if !stuck.is_empty() {
        for text in [
            report(&snapshot, &stuck, &Numbers),
            verdict(&snapshot, &stuck, &Numbers),
            reason(&snapshot, &stuck, &Numbers),
        ] {
            tamed(&text);
        }
    }
    let manner = Manner { indent: "  ", one: ": something else", more: ": something else each" };
    let folded = fold(&crate::waits(&snapshot, |slot| slot != 3, &Numbers), 7, manner, &Numbers);
    tamed(&folded);
    assert!(folded.lines().count() <= 7);
    let named: Vec<u32> = bytes.as_chunks().0.iter().map(|word| u32::from_le_bytes(*word)).take(64).collect();
    let _ = ranks(&named, &Numbers);
}

fn finding_seeds() -> Vec<Vec<u8>> {
    let first = |class| {
        let finding = Finding {
            class,
            what: "a message of 8 bytes to rank 1 was not received".into(),
            place: Some(frame(3)),
            other: Some(("the other receive".into(), frame(9))),
        };
        Found::First(finding).encode()
    };
    let leak = Finding { class: Class::LeakedHandle, what: "a communicator".into(), place: None, other: None };
    let (one, two) = (first(Class::UnreceivedMessage), first(Class::RacingReceive));
    let leak = Found::First(leak).encode();
    let (again, more) = (Found::Again(0, 4).encode(), Found::More(9).encode());
    vec![
        joined([(0, &one[..]), (0, &again[..]), (1, &two[..]), (2, &leak[..]), (2, &more[..])]),
        joined([(3, &leak[..])]),
    ]
}

fn findings(bytes: &[u8]) {
    let records = records(bytes);
    for (_, record) in &records {
        if let Some(found) = Found::decode(record) {
            assert_eq!(Found::decode(&found.encode()), Some(found));
        }
    }
    let mut findings = Findings::default();
    for slot in 0..4 {
        let own: Vec<Vec<u8>> = records.iter().filter(|(of, _)| of % 4 == slot).map(|(_, r)| r.clone()).collect();
        findings.add(slot, &own);
    }
    let text = findings.told(&Numbers);
    assert_eq!(text.is_empty(), findings.is_empty());
    let _ = findings.mistakes();
    tamed(&text);
}

/// A terminal takes no orders from it, and it is no flood.
fn tamed(text: &str) {
    assert!(text.chars().all(|c| c == '\n' || !c.is_control()), "{text:?}");
    assert!(text.len() < 1 << 20);
}
