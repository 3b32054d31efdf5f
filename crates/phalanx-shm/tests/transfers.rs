//! Large transfers: every byte arrives in its place, through pipes that wrap,
//! and both sides may sleep.
#![expect(unsafe_code, reason = "the tests hand their own buffers over")]
#![cfg(not(loom))]

use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use phalanx_shm::sleep::WAITING;
use phalanx_shm::{
    ConstMem, MutMem, Offset, ProcId, ShmError, TransferReceiver, TransferSender, Universe, UniverseConfig, Woken,
};

const A: ProcId = ProcId(0);
const B: ProcId = ProcId(1);

fn universe(ways: &str) -> Universe {
    let ways = ways.parse().unwrap();
    let config = UniverseConfig { slots: 2, ring_bytes: 4096, heap_bytes: 64 << 20, ways };
    let universe = Universe::create(config).unwrap();
    universe.claim_slots(2).unwrap();
    universe
}

/// Sleeps until woken; ten seconds stand for a lost wake-up.
fn sleep_unless(universe: &Universe, me: ProcId, ready: impl FnOnce() -> bool) {
    let sleepers = universe.slot(me).sleepers();
    let token = sleepers.announce(WAITING);
    if !ready() {
        assert_ne!(sleepers.sleep(token, Some(Duration::from_secs(10))), Woken::TimedOut);
    }
}

fn send(universe: &Universe, at: Offset, data: &[u8]) {
    let mut pipe = TransferSender::open(universe, at, data.len() as u64, B).unwrap();
    while !pipe.is_complete() {
        let from = pipe.done() as usize;
        // SAFETY: `data` is borrowed for the whole function.
        let rest = unsafe { ConstMem::new(data[from..].as_ptr(), data.len() - from) };
        if pipe.push(rest).unwrap() == 0 {
            sleep_unless(universe, A, || pipe.room().unwrap() > 0);
        }
    }
}

fn receive(universe: &Universe, pipe: &mut TransferReceiver, room: &mut [u8]) {
    while !pipe.is_complete() {
        let from = pipe.done() as usize;
        // SAFETY: `room` is borrowed for the whole function.
        let rest = unsafe { MutMem::new(room[from..].as_mut_ptr(), room.len() - from) };
        if pipe.pull(rest).unwrap() == 0 {
            sleep_unless(universe, B, || pipe.available().unwrap() > 0);
        }
    }
}

#[test]
fn every_byte_arrives_whatever_the_size_and_the_way() {
    for ways in ["take=never", "take=1M", "take=1M,stream=1M", "take=never,pipe=1M,stream=never"] {
        let universe = universe(ways);
        // A pipe holds its block less the lines with its positions.
        let capacity = universe.ways().pipe - 256;
        for size in [0, 1, 4095, 16 << 10, capacity - 1, capacity, capacity + 1, 3_000_001, 33 << 20] {
            // Twice, since whoever received last through the same memory does not do it as at first.
            every_byte_arrives(&universe, size, ways);
            every_byte_arrives(&universe, size, ways);
        }
    }
}

fn every_byte_arrives(universe: &Universe, size: usize, ways: &str) {
    let data: Vec<u8> = (0..size).map(|i| (i ^ i >> 8 ^ i >> 16) as u8).collect();
    let mut room = vec![0; size];
    let mut pipe = TransferReceiver::create(universe, size as u64, B, A).unwrap();
    let (done, finished) = mpsc::channel();
    thread::scope(|scope| {
        let (at, data) = (pipe.offset(), &data);
        scope.spawn(move || send(universe, at, data));
        let (pipe, room) = (&mut pipe, &mut room);
        scope.spawn(move || {
            receive(universe, pipe, room);
            let _ = done.send(());
        });
        if finished.recv_timeout(Duration::from_secs(60)).is_err() {
            eprintln!("a transfer of {size} bytes does not end ({ways})");
            std::process::abort();
        }
    });
    assert!(room == data, "{size} bytes ({ways})");
}

#[test]
fn a_receiver_goes_ahead_of_its_sender_and_comes_back() {
    let universe = universe("");
    let size = 3_000_001;
    let data: Vec<u8> = (0..size).map(|i| (i ^ i >> 8 ^ i >> 16) as u8).collect();
    let mut room = vec![0; size];
    let mut into = TransferReceiver::create(&universe, size as u64, B, A).unwrap();
    let at = into.offset();
    let mut from = TransferSender::open(&universe, at, size as u64, B).unwrap();
    let mut turn = 0;
    while !into.is_complete() {
        turn += 1;
        if turn % 3 != 0 && from.room().unwrap() > 0 {
            let rest = &data[from.done() as usize..];
            // SAFETY: `data` lives longer than the pipe, and nobody writes to it.
            let rest = unsafe { ConstMem::new(rest.as_ptr(), rest.len().min(100_000)) };
            assert!(from.push(rest).unwrap() > 0);
        }
        let done = into.done() as usize;
        if turn % 5 < 2 {
            // Without the pipe, whatever is in it.
            let upto = (done + 70_000).min(size);
            room[done..upto].copy_from_slice(&data[done..upto]);
            if into.still_sending().unwrap() {
                into.go_ahead((upto - done) as u64).unwrap();
            }
        } else {
            // SAFETY: `room` lives longer than the pipe, and nobody else touches it.
            into.pull(unsafe { MutMem::new(room[done..].as_mut_ptr(), size - done) }).unwrap();
        }
    }
    assert!(room == data);
    assert!(!into.is_over() || from.is_complete());
    while !from.is_complete() {
        from.room().unwrap();
    }
    assert!(into.is_over());
    drop(into);
    let next = TransferReceiver::create(&universe, 1, B, A).unwrap();
    assert_eq!(next.offset(), at, "the pipe was given back");
}

#[test]
fn a_pipe_whose_sender_is_behind_is_not_given_back() {
    let universe = universe("");
    let mut pipe = TransferReceiver::create(&universe, 10, B, A).unwrap();
    let first = pipe.offset();
    pipe.go_ahead(10).unwrap();
    assert!(pipe.is_complete() && !pipe.is_over());
    drop(pipe);
    let pipe = TransferReceiver::create(&universe, 1, B, A).unwrap();
    assert_ne!(pipe.offset(), first, "its sender may still write there");
}

#[test]
fn a_complete_transfer_gives_its_pipe_back_and_an_abandoned_one_does_not() {
    let universe = universe("");
    let pipe = TransferReceiver::create(&universe, 0, B, A).unwrap();
    let first = pipe.offset();
    drop(pipe);
    let pipe = TransferReceiver::create(&universe, 1, B, A).unwrap();
    assert_eq!(pipe.offset(), first);
    drop(pipe);
    let pipe = TransferReceiver::create(&universe, 1, B, A).unwrap();
    assert_ne!(pipe.offset(), first, "its sender may still write there");
}

#[test]
fn impossible_positions_are_reported() {
    let universe = universe("");
    let pipe = TransferReceiver::create(&universe, 100, B, A).unwrap();
    let words = universe.words(pipe.offset(), 32).unwrap();
    words[0].store(101, std::sync::atomic::Ordering::Release);
    assert!(matches!(pipe.available(), Err(ShmError::Corrupt { .. })));
    words[16].store(101, std::sync::atomic::Ordering::Release);
    let mut sender = TransferSender::open(&universe, pipe.offset(), 100, B).unwrap();
    assert!(matches!(sender.room(), Err(ShmError::Corrupt { .. })));
    assert!(TransferSender::open(&universe, Offset::new(64), 1, B).is_err());
}
