//! Messages between processes of a universe, here as threads: what arrives is
//! what was sent, in order, whatever the sizes, and sleepers are woken.

#![cfg(not(loom))]

use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use phalanx_shm::sleep::WAITING;
use phalanx_shm::{Envelope, HotSet, Part, ProcId, RingConsumer, ShmError, Universe, UniverseConfig, Woken};

const A: ProcId = ProcId(0);
const B: ProcId = ProcId(1);

/// Ends the test run when the body hangs.
fn within(limit: Duration, body: impl FnOnce() + Send + 'static) {
    let (done, finished) = mpsc::channel();
    let worker = thread::spawn(move || {
        body();
        let _ = done.send(());
    });
    if let Err(mpsc::RecvTimeoutError::Timeout) = finished.recv_timeout(limit) {
        eprintln!("the test hangs: no end after {limit:?}");
        std::process::abort();
    }
    if let Err(panic) = worker.join() {
        std::panic::resume_unwind(panic);
    }
}

fn universe(ring_bytes: usize) -> Universe {
    let config = UniverseConfig { slots: 70, ring_bytes, heap_bytes: 64 << 20, ways: phalanx_shm::Ways::default() };
    let universe = Universe::create(config).unwrap();
    universe.claim_slots(70).unwrap();
    universe
}

/// Waits for the next record, sleeping when there is none.
fn await_record(universe: &Universe, me: ProcId, ring: &mut RingConsumer) {
    let sleepers = universe.slot(me).sleepers();
    while ring.is_empty() {
        let token = sleepers.announce(WAITING);
        if !ring.is_empty() {
            break;
        }
        // Ten seconds stand for "for ever": a lost wake-up shows as a timeout.
        assert_ne!(sleepers.sleep(token, Some(Duration::from_secs(10))), Woken::TimedOut);
    }
}

#[test]
fn records_of_every_size_arrive_in_order_with_their_bytes() {
    within(Duration::from_secs(60), || {
        let universe = universe(4096);
        let other = universe.clone();
        let mut producer = universe.producer(A, B).unwrap();
        let most = producer.max_payload();
        assert_eq!(most, 2048 - 40);
        let count = 3 * most;
        let sender = thread::spawn(move || {
            let bytes: Vec<u8> = (0..most).map(|i| i as u8).collect();
            let sleepers = other.slot(A).sleepers();
            for n in 0..count {
                let size = n % (most + 1);
                let (first, rest) = bytes[..size].split_at(size / 3);
                let envelope = Envelope {
                    kind: 1 + (n % 200) as u8,
                    ctx: n as u32,
                    src: u32::MAX,
                    tag: -(n as i32),
                    sig: 7,
                    len: size as u64,
                    token: u64::MAX - n as u64,
                };
                while !producer.try_push(&envelope, &[first.into(), rest.into()]) {
                    let token = sleepers.announce(WAITING);
                    if producer.try_push(&envelope, &[first.into(), rest.into()]) {
                        break;
                    }
                    let why = sleepers.sleep(token, Some(Duration::from_secs(10)));
                    assert_ne!(why, Woken::TimedOut);
                }
            }
        });
        let mut consumer = universe.consumer(A, B).unwrap().unwrap();
        for n in 0..count {
            await_record(&universe, B, &mut consumer);
            let record = consumer.peek().unwrap().unwrap();
            let size = n % (most + 1);
            assert_eq!(record.envelope.tag, -(n as i32));
            assert_eq!(record.envelope.kind, 1 + (n % 200) as u8);
            assert_eq!(record.envelope.ctx, n as u32);
            assert_eq!(record.envelope.src, u32::MAX);
            assert_eq!(record.envelope.token, u64::MAX - n as u64);
            assert_eq!(record.payload_len(), size);
            let mut got = vec![0xee; size];
            assert_eq!(record.copy_payload(&mut got), size);
            assert!(got.iter().enumerate().all(|(i, b)| *b == i as u8), "record {n}");
            consumer.pop();
        }
        assert!(consumer.peek().unwrap().is_none());
        sender.join().unwrap();
    });
}

#[test]
fn a_full_ring_refuses_and_a_too_large_record_never_fits() {
    let universe = universe(1024);
    let mut producer = universe.producer(A, B).unwrap();
    let envelope = Envelope { kind: 1, ..Envelope::default() };
    let mut sent = 0;
    while producer.try_push(&envelope, &[Part::from(&[1u8; 8][..])]) {
        sent += 1;
    }
    assert_eq!(sent, 16);
    let mut consumer = universe.consumer(A, B).unwrap().unwrap();
    for _ in 0..sent {
        assert!(consumer.peek().unwrap().is_some());
        consumer.pop();
    }
    assert!(consumer.is_empty());
    let large = vec![0u8; producer.max_payload() + 1];
    assert!(!producer.try_push(&envelope, &[large.as_slice().into()]));
    assert!(producer.try_push(&envelope, &[large[1..].into()]));
}

#[test]
fn each_end_exists_once_and_continues_where_the_last_handle_stopped() {
    let universe = universe(1024);
    assert!(universe.consumer(A, B).unwrap().is_none());
    let mut producer = universe.producer(A, B).unwrap();
    assert!(matches!(universe.producer(A, B), Err(ShmError::RingTaken { from: 0, to: 1, side: "sending" })));
    for n in 0..40 {
        let envelope = Envelope { kind: 1, token: n, ..Envelope::default() };
        assert!(producer.try_push(&envelope, &[]));
        drop(producer);
        producer = universe.producer(A, B).unwrap();
        let mut consumer = universe.consumer(A, B).unwrap().unwrap();
        assert!(universe.consumer(A, B).is_err());
        assert_eq!(consumer.peek().unwrap().unwrap().envelope.token, n);
        consumer.pop();
    }
    assert!(matches!(universe.producer(A, ProcId(70)), Err(ShmError::NoSuchSlot { slot: 70, claimed: 70 })));
}

#[test]
fn a_hot_set_follows_who_sends_and_forgets_who_does_not() {
    let universe = universe(1024);
    let me = universe.slot(B);
    let mut hot = HotSet::new();
    assert!(hot.refresh(me));
    assert!(hot.senders().is_empty());
    assert!(!hot.refresh(me));
    let envelope = Envelope { kind: 1, ..Envelope::default() };
    let mut far = universe.producer(ProcId(69), B).unwrap();
    let mut near = universe.producer(A, B).unwrap();
    assert!(far.try_push(&envelope, &[]));
    assert!(near.try_push(&envelope, &[]));
    assert!(hot.refresh(me));
    assert_eq!(hot.senders(), [A, ProcId(69)]);
    let mut ring = universe.consumer(A, B).unwrap().unwrap();
    assert!(!hot.cool(me, A, || ring.is_empty()), "a record is waiting");
    assert!(ring.peek().unwrap().is_some());
    ring.pop();
    assert!(hot.cool(me, A, || ring.is_empty()));
    assert_eq!(hot.senders(), [ProcId(69)]);
    assert!(!hot.refresh(me), "nobody rang");
    assert!(near.try_push(&envelope, &[]));
    assert!(hot.refresh(me));
    assert_eq!(hot.senders(), [A, ProcId(69)]);
}

#[test]
fn all_threads_of_a_sleeping_process_are_woken() {
    within(Duration::from_secs(60), || {
        let universe = universe(1024);
        let sleepers: Vec<_> = (0..3)
            .map(|_| {
                let universe = universe.clone();
                thread::spawn(move || {
                    let sleepers = universe.slot(B).sleepers();
                    let token = sleepers.announce(WAITING);
                    sleepers.sleep(token, Some(Duration::from_secs(30)))
                })
            })
            .collect();
        while !sleepers.iter().all(|s| s.is_finished()) {
            universe.slot(B).notify();
            thread::sleep(Duration::from_millis(5));
        }
        for sleeper in sleepers {
            assert_eq!(sleeper.join().unwrap(), Woken::Notified);
        }
    });
}

#[test]
fn sleep_ends_with_its_timeout() {
    let universe = universe(1024);
    let sleepers = universe.slot(A).sleepers();
    let token = sleepers.announce(WAITING);
    assert_eq!(sleepers.sleep(token, Some(Duration::from_millis(20))), Woken::TimedOut);
    let token = sleepers.announce(WAITING);
    universe.slot(A).notify();
    assert_eq!(sleepers.sleep(token, Some(Duration::from_secs(30))), Woken::Notified);
}
