//! Processes that are killed at any instant: the others see whole records,
//! keep waking and keep allocating.
//!
//! The children are forked, and between fork and death only use handles that
//! were made before (no locks, no private heap), as is allowed in a fork of a
//! process with threads.
#![cfg(not(loom))]
#![expect(unsafe_code, reason = "the tests fork and kill")]

mod common;

use std::thread;
use std::time::{Duration, Instant};

use common::Child;
use phalanx_shm::sleep::WAITING;
use phalanx_shm::{Envelope, Offset, Part, ProcId, RingConsumer, Universe, UniverseConfig, Woken};

const A: ProcId = ProcId(0);
const B: ProcId = ProcId(1);

/// A block size whose pages are given back when it is freed.
const LARGE: usize = 1 << 20;

fn universe() -> Universe {
    let config =
        UniverseConfig { slots: 2, ring_bytes: 8192, heap_bytes: 512 << 20, ways: phalanx_shm::Ways::default() };
    let universe = Universe::create(config).unwrap();
    universe.claim_slots(2).unwrap();
    universe
}

/// Length of the `n`th payload: one line, many lines, and what is between.
fn size(n: u64) -> usize {
    [0, 8, 24, 25, 500, 1500][n as usize % 6]
}

/// Takes records while there are any; each must be whole and the next one.
fn drain(ring: &mut RingConsumer, next: &mut u64) {
    while let Some(record) = ring.peek().unwrap() {
        assert_eq!(record.envelope.token, *next);
        assert_eq!(record.envelope.len, !*next);
        let mut payload = [0; 1500];
        assert_eq!(record.copy_payload(&mut payload), size(*next));
        assert!(payload[..size(*next)].iter().all(|b| *b == *next as u8));
        ring.pop();
        *next += 1;
    }
}

#[test]
fn a_killed_producer_leaves_whole_records_only() {
    let mut records = 0;
    for round in 0..150u64 {
        let universe = universe();
        let mut producer = universe.producer(A, B).unwrap();
        let mut consumer = universe.consumer(A, B).unwrap().unwrap();
        let child = Child::run(|| {
            for n in 0.. {
                let payload = [n as u8; 1500];
                let envelope = Envelope { kind: 1, token: n, len: !n, ..Envelope::default() };
                while !producer.try_push(&envelope, &[Part::from(&payload[..size(n)])]) {}
            }
        });
        let mut next = 0;
        let start = Instant::now();
        // Until something has come, then for a while that differs by round.
        while next == 0 || start.elapsed() < Duration::from_micros(round * 7) {
            drain(&mut consumer, &mut next);
            assert!(start.elapsed() < Duration::from_secs(30), "the child sends nothing");
        }
        child.kill();
        drop(child);
        drain(&mut consumer, &mut next);
        assert!(consumer.is_empty());
        records += next;
    }
    println!("{records} records from 150 killed producers");
}

#[test]
fn a_process_killed_in_its_sleep_does_not_disturb_its_wakers() {
    for _ in 0..20 {
        let universe = universe();
        let mut producer = universe.producer(A, B).unwrap();
        let child = Child::run(|| {
            let sleepers = universe.slot(B).sleepers();
            loop {
                let token = sleepers.announce(WAITING);
                sleepers.sleep(token, None);
            }
        });
        while !universe.slot(B).sleepers().may_sleep() {
            thread::yield_now();
        }
        thread::sleep(Duration::from_millis(1));
        drop(child);
        let envelope = Envelope { kind: 1, ..Envelope::default() };
        assert!(producer.try_push(&envelope, &[]), "sending to the dead one only fills its ring");
        assert!(!universe.slot(B).sleepers().may_sleep());
        // The word still works: a later sleeper on it is woken.
        let sleepers = universe.slot(B).sleepers();
        let token = sleepers.announce(WAITING);
        assert!(producer.try_push(&envelope, &[]));
        assert_eq!(sleepers.sleep(token, Some(Duration::from_secs(10))), Woken::Notified);
    }
}

#[test]
fn processes_killed_while_allocating_lose_a_few_blocks_and_nothing_else() {
    let universe = universe();
    // Sizes from slabs, from the frontier, and large ones that give pages back.
    let sizes = [40, 100, 5000, 70_000, LARGE];
    let start = universe.heap_used();
    let mut kept: Vec<(Offset, usize, u8)> = Vec::new();
    let rounds = 60;
    for round in 0..rounds {
        let children: Vec<_> = (0..2)
            .map(|i| {
                let universe = &universe;
                Child::run(move || {
                    for n in i.. {
                        let bytes = sizes[n % sizes.len()];
                        if let Ok(at) = universe.alloc(bytes) {
                            let word = universe.words(at, 1).unwrap();
                            word[0].store(u64::MAX, std::sync::atomic::Ordering::Relaxed);
                            universe.free(at);
                        }
                    }
                })
            })
            .collect();
        let until = Instant::now() + Duration::from_micros(300 + round * 20);
        let mut mark = round as u8;
        while Instant::now() < until || kept.len() < 10 {
            let bytes = sizes[kept.len() % sizes.len()];
            let at = universe.alloc(bytes).unwrap();
            mark = mark.wrapping_add(1);
            universe.bytes(at, bytes).unwrap().write(0, &vec![mark; bytes]).unwrap();
            kept.push((at, bytes, mark));
            if kept.len() > 20 {
                let (at, bytes, mark) = kept.remove(round as usize % 20);
                let mut seen = vec![0; bytes];
                universe.bytes(at, bytes).unwrap().read(0, &mut seen).unwrap();
                assert!(seen.iter().all(|b| *b == mark), "somebody else got this block too");
                universe.free(at);
            }
        }
        drop(children);
    }
    let used = universe.heap_used() - start;
    // Live blocks, and for each dead process at most a block and a slab.
    let (live, dead) = (25, rounds * 2);
    let bound = live * LARGE as u64 + dead * (LARGE as u64 + (64 << 10));
    println!("{rounds} rounds of two killed processes: {used} bytes handed out");
    assert!(used < bound, "{used} bytes used, at most {bound} expected");
}
