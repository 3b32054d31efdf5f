//! The ring against the obvious model, a queue of vectors.
#![cfg(not(loom))]

use std::collections::VecDeque;

use phalanx_shm::{Envelope, Part, ProcId, Universe, UniverseConfig};
use proptest::prelude::*;

#[derive(Clone, Debug)]
enum Step {
    /// Push a record whose payload comes in parts of these sizes.
    Push(Vec<usize>),
    /// Look, and take if there is something.
    Pop,
    /// Let go of the sending end and take it again.
    NewProducer,
    /// The same with the receiving end.
    NewConsumer,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => prop::collection::vec(prop_oneof![0usize..30, 0usize..700], 0..4).prop_map(Step::Push),
        5 => Just(Step::Pop),
        1 => Just(Step::NewProducer),
        1 => Just(Step::NewConsumer),
    ]
}

fn lines(payload: usize) -> usize {
    (40 + payload).div_ceil(64)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_ring_is_a_bounded_queue_of_records(
        shift in 4u32..7,
        steps in prop::collection::vec(step(), 1..200),
    ) {
        let ring_lines = 1usize << shift;
        let config = UniverseConfig { slots: 2, ring_bytes: ring_lines * 64, heap_bytes: 1 << 20, ways: phalanx_shm::Ways::default() };
        let universe = Universe::create(config).unwrap();
        universe.claim_slots(2).unwrap();
        let (a, b) = (ProcId(0), ProcId(1));
        let mut producer = universe.producer(a, b).unwrap();
        let mut consumer = universe.consumer(a, b).unwrap().unwrap();
        let mut queue: VecDeque<(u64, Vec<u8>)> = VecDeque::new();
        let mut count = 0u64;
        for step in steps {
            match step {
                Step::Push(sizes) => {
                    // All ones look like the stamps of a far lap.
                    let parts: Vec<Vec<u8>> = sizes
                        .iter()
                        .enumerate()
                        .map(|(i, n)| vec![if count.is_multiple_of(3) { 0xff } else { i as u8 }; *n])
                        .collect();
                    let whole = parts.concat();
                    let envelope = Envelope {
                        kind: count as u8,
                        token: count,
                        len: whole.len() as u64,
                        ..Envelope::default()
                    };
                    let parts: Vec<Part<'_>> = parts.iter().map(|p| p.as_slice().into()).collect();
                    let held: usize = queue.iter().map(|(_, p)| lines(p.len())).sum();
                    let room = ring_lines - held;
                    if producer.try_push(&envelope, &parts) {
                        prop_assert!(lines(whole.len()) <= room);
                        prop_assert!(whole.len() <= producer.max_payload());
                        queue.push_back((count, whole));
                        count += 1;
                    } else if whole.len() <= producer.max_payload() {
                        // The consumer may keep up to an eighth to itself.
                        prop_assert!(lines(whole.len()) + ring_lines / 8 > room);
                    }
                }
                Step::Pop => match consumer.peek().unwrap() {
                    None => prop_assert!(queue.is_empty()),
                    Some(record) => {
                        let (n, payload) = queue.pop_front().unwrap();
                        prop_assert_eq!(record.envelope.token, n);
                        prop_assert_eq!(record.envelope.kind, n as u8);
                        prop_assert_eq!(record.envelope.len, payload.len() as u64);
                        let mut got = vec![0; payload.len()];
                        prop_assert_eq!(record.copy_payload(&mut got), payload.len());
                        prop_assert_eq!(got, payload);
                        consumer.pop();
                    }
                },
                Step::NewProducer => {
                    drop(producer);
                    producer = universe.producer(a, b).unwrap();
                }
                Step::NewConsumer => {
                    drop(consumer);
                    consumer = universe.consumer(a, b).unwrap().unwrap();
                }
            }
        }
    }
}
