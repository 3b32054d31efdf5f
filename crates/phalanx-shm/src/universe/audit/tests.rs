use std::mem::offset_of;
use std::os::fd::AsFd;

use crate::ring::Control;
use crate::universe::layout::{Header, Layout};
use crate::universe::slot::Slot;
use crate::{Envelope, Part, ProcId, ProcessTag, ShmError, SlotState, Universe, UniverseConfig};

const A: ProcId = ProcId(0);
const B: ProcId = ProcId(1);

fn universe() -> Universe {
    let universe = Universe::create(UniverseConfig {
        slots: 8,
        ring_bytes: 1024,
        heap_bytes: 4 << 20,
        ways: crate::Ways::default(),
    })
    .unwrap();
    universe.claim_slots(2).unwrap();
    for process in [A, B] {
        universe.slot(process).claim(universe.own_tag()).unwrap();
        universe.slot(process).set_state(SlotState::Running);
    }
    universe
}

/// Where a field of a slot lies in the segment.
fn in_slot(universe: &Universe, process: ProcId, field: usize) -> u64 {
    universe.0.layout.slots_at + (process.0 as usize * size_of::<Slot>() + field) as u64
}

/// Where the table says where the ring `from` -> `to` is.
fn in_table(layout: &Layout, from: ProcId, to: ProcId) -> u64 {
    layout.pair_row(to.0).0 + u64::from(from.0) * 8
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

#[test]
fn what_nobody_writes_is_found_in_the_header_the_slots_and_the_table_of_rings() {
    let universe = universe();
    universe.audit(A).unwrap();
    let header = [
        (offset_of!(Header, magic), "header"),
        (offset_of!(Header, ring_bytes), "header"),
        (offset_of!(Header, total), "header"),
        (offset_of!(Header, home), "header"),
        (offset_of!(Header, slots_used), "processes"),
        (size_of::<Header>(), "where there is nothing"),
        (universe.0.layout.slots_at as usize - 8, "where there is nothing"),
    ];
    let slot = [
        (offset_of!(Slot, process), "process"),
        (offset_of!(Slot, standing), "state"),
        (offset_of!(Slot, abort), "abort code"),
        (offset_of!(Slot, notes), "notes"),
        (offset_of!(Slot, findings), "findings"),
        (offset_of!(Slot, unused), "where there is nothing"),
    ];
    let table = [B, ProcId(7)].map(|from| (in_table(&universe.0.layout, from, A), "is said to be at"));
    let header = header.map(|(at, text)| (at as u64, text));
    let slots = [A, B].into_iter().flat_map(|p| slot.map(|(at, text)| (in_slot(&universe, p, at), text)));
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
        assert_eq!(universe.slot(B).standing().state, state);
        universe.audit(A).unwrap();
    }
}

#[test]
fn an_abort_code_counts_only_from_the_process_itself() {
    let universe = universe();
    scribble(&universe, in_slot(&universe, A, offset_of!(Slot, abort)), 1 << 32 | 66);
    assert_eq!(universe.slot(A).abort_code(), None);
    scribble(&universe, in_slot(&universe, A, offset_of!(Slot, abort)), 0);
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
    let ring = word(&universe, in_table(&universe.0.layout, A, B));
    let lines = ring + size_of::<Control>() as u64;
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
    for at in [offset_of!(Control, head), offset_of!(Control, tail), offset_of!(Control, blocked)] {
        let at = ring + at as u64;
        let before = word(&universe, at);
        scribble(&universe, at, u64::MAX);
        assert!(consumer.audit().is_err(), "at {at}");
        if at == ring + offset_of!(Control, head) as u64 {
            says(producer.audit(), "lines were read");
        }
        scribble(&universe, at, before);
        consumer.audit().unwrap();
    }
}

#[test]
fn a_universe_of_another_version_or_of_another_length_is_not_attached() {
    for (at, value, words) in [
        (offset_of!(Header, version), 99u32, "version"),
        (offset_of!(Header, capacity), 4000, "describes"),
        (offset_of!(Header, ring_bytes), 3, "describes"),
    ] {
        let universe = universe();
        rustix::io::pwrite(universe.fd(), &value.to_ne_bytes(), at as u64).unwrap();
        match Universe::attach(universe.fd().try_clone_to_owned().unwrap()) {
            Err(ShmError::NotAUniverse { reason }) => assert!(reason.contains(words), "{reason}"),
            other => panic!("'{words}' expected, not {other:?}"),
        }
    }
}

#[test]
fn a_process_outside_the_namespaces_of_its_universe_finds_nobody_dead_and_is_never_found_dead() {
    let universe = universe();
    let ended = universe.claim_slots(1).unwrap();
    let mut child = std::process::Command::new("true").spawn().unwrap();
    universe.slot(ended).claim(ProcessTag::of(child.id())).unwrap();
    child.wait().unwrap();
    assert!(universe.process(ended).unwrap().is_dead());
    scribble(&universe, offset_of!(Header, home) as u64, universe.0.home ^ 1);
    let outside = Universe::attach(universe.fd().try_clone_to_owned().unwrap()).unwrap();
    let seen = outside.process(ended).unwrap();
    assert!(seen.is_foreign() && !seen.is_dead(), "its number is another process's here");
    assert!(outside.own_tag().is_foreign());
    outside.slot(A).claim(outside.own_tag()).unwrap_err();
    let stranger = outside.claim_slots(1).unwrap();
    outside.slot(stranger).claim(outside.own_tag()).unwrap();
    assert!(universe.process(stranger).unwrap().is_foreign());
}
