//! What a wild process writes over the segment is found by those that wait, and sound segments pass.
#![cfg(not(loom))]

use std::os::fd::AsFd;

use phalanx_shm::{Envelope, Part, ProcId, ShmError, SlotState, Universe, UniverseConfig};

const A: ProcId = ProcId(0);
const B: ProcId = ProcId(1);

fn universe() -> Universe {
    let universe = Universe::create(UniverseConfig { slots: 8, ring_bytes: 1024, heap_bytes: 4 << 20 }).unwrap();
    universe.claim_slots(2).unwrap();
    for process in [A, B] {
        universe.slot(process).claim(40 + process.0 as i32).unwrap();
        universe.slot(process).set_state(SlotState::Running);
    }
    universe
}

/// Writes over a word of the segment as no process of the job does.
fn scribble(universe: &Universe, at: u64, word: u64) {
    rustix::io::pwrite(universe.fd().as_fd(), &word.to_ne_bytes(), at).unwrap();
}

fn word(universe: &Universe, at: u64) -> u64 {
    let mut bytes = [0; 8];
    rustix::io::pread(universe.fd().as_fd(), &mut bytes, at).unwrap();
    u64::from_ne_bytes(bytes)
}

fn says(found: Result<(), ShmError>, text: &str) {
    match found {
        Err(error @ ShmError::Corrupt { .. }) => assert!(error.to_string().contains(text), "{error}"),
        other => panic!("'{text}' expected, not {other:?}"),
    }
}

const SLOTS_AT: u64 = 65_536;

#[test]
fn what_nobody_writes_is_found_in_the_header_the_slots_and_the_table_of_rings() {
    let universe = universe();
    universe.audit(A).unwrap();
    // Identity, geometry, counters; the rest of the header's pages; a slot's state, abort word and unused words; a ring's
    // place.
    let slots = [(0, "state"), (8, "abort code"), (32, "where there is nothing")];
    let header = [(0, "header"), (16, "header"), (24, "header"), (60_000, "where there is nothing")];
    let slots = slots.map(|(at, text)| (SLOTS_AT + at, text));
    let table = [(2 * SLOTS_AT + 8, "is said to be at"), (2 * SLOTS_AT + 7 * 8, "is said to be at")];
    for (at, text) in header.into_iter().chain(slots).chain(table) {
        let before = word(&universe, at);
        scribble(&universe, at, 0x1234_5678_9abc_def1);
        says(universe.audit(A), text);
        scribble(&universe, at, before);
        universe.audit(A).unwrap();
    }
}

#[test]
fn a_process_may_be_in_every_state_that_there_is() {
    use SlotState::{Empty, Finalized, Finalizing, Running, Starting};
    let universe = universe();
    for state in [Empty, Starting, Running, Finalizing, Finalized] {
        universe.slot(B).set_state(state);
        assert_eq!(universe.slot(B).state(), state);
        universe.audit(A).unwrap();
    }
}

#[test]
fn an_abort_code_counts_only_from_the_process_itself() {
    let universe = universe();
    scribble(&universe, SLOTS_AT + 8, 1 << 32 | 66);
    assert_eq!(universe.slot(A).abort_code(), None);
    scribble(&universe, SLOTS_AT + 8, 0);
    universe.slot(A).record_abort(-7);
    assert_eq!(universe.slot(A).abort_code(), Some(-7));
    universe.audit(B).unwrap();
}

#[test]
fn rings_that_are_sound_pass_whatever_was_sent() {
    let universe = universe();
    let mut producer = universe.producer(A, B).unwrap();
    let mut consumer = universe.consumer(A, B).unwrap().unwrap();
    assert_eq!(universe.senders(B).collect::<Vec<_>>(), [A]);
    assert_eq!(universe.senders(A).count(), 0);
    let bytes = [0xff; 400];
    for n in 0..500 {
        let envelope = Envelope { kind: 1, len: n as u64, ..Envelope::default() };
        assert!(producer.try_push(&envelope, &[Part::from(&bytes[..n % 400])]));
        producer.audit().unwrap();
        consumer.audit().unwrap();
        assert!(consumer.peek().unwrap().is_some());
        consumer.audit().unwrap();
        consumer.pop();
        consumer.audit().unwrap();
        producer.audit().unwrap();
        universe.audit(B).unwrap();
    }
}

#[test]
fn a_record_that_is_no_more_and_counters_that_cannot_be_are_found() {
    let universe = universe();
    let mut producer = universe.producer(A, B).unwrap();
    let consumer = universe.consumer(A, B).unwrap().unwrap();
    let ring = word(&universe, 2 * SLOTS_AT + 8 * 8);
    let lines = ring + 256;
    assert!(producer.try_push(&Envelope { kind: 1, ..Envelope::default() }, &[]));
    producer.audit().unwrap();
    let sent = word(&universe, lines);
    assert_eq!(sent >> 32, 1 << 31, "the stamp of the first lap");
    for wild in [0, 77 << 32, sent ^ 1 << 40] {
        scribble(&universe, lines, wild);
        says(consumer.audit(), "lost the record at line 0");
    }
    scribble(&universe, lines, sent);
    consumer.audit().unwrap();
    // Lines read, lines sent, flags.
    for (at, reader, writer) in [(0, true, true), (128, true, false), (136, true, false)] {
        let before = word(&universe, ring + at);
        scribble(&universe, ring + at, u64::MAX);
        assert_eq!(consumer.audit().is_err(), reader, "at {at}");
        if writer {
            says(producer.audit(), "lines were read");
        }
        scribble(&universe, ring + at, before);
        consumer.audit().unwrap();
    }
}
