//! Random traffic: all modes, all sizes, wildcards, several threads; order and contents are checked.

use std::collections::HashMap;
use std::thread;

use phalanx_engine::request;
use phalanx_engine::{ANY_SOURCE, ANY_TAG, Comm, RecvBuf, Request, SendBuf, SendMode, testing};

/// A small generator: same numbers on every machine.
struct Random(u64);

impl Random {
    fn next(&mut self, below: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (self.0 >> 33) % below
    }

    /// Sizes in words: mostly small, some around the limits, some large.
    fn size(&mut self) -> usize {
        match self.next(12) {
            0 => 2,
            1..=6 => 2 + self.next(60) as usize,
            7..=8 => 2040 + self.next(16) as usize,
            9..=10 => 2 + self.next(9000) as usize,
            _ => 2 + self.next(90_000) as usize,
        }
    }
}

/// Word 0: the number of this message among those of its sender, receiver and tag; word 1: its length; the rest follows.
fn message(number: u64, len: usize) -> Vec<u64> {
    let mut data: Vec<u64> = (0..len as u64).map(|i| number.wrapping_mul(31) ^ i).collect();
    (data[0], data[1]) = (number, len as u64);
    data
}

fn check(data: &[u64], bytes: u64, number: u64) {
    let len = bytes as usize / 8;
    assert_eq!(data[..len], message(number, len), "message {number}");
}

const TAGS: u64 = 3;

/// Sends `count` messages to each peer in random order and modes; returns the requests still open.
fn send_all(comm: &Comm, count: u64, base_tag: i32, seed: u64) -> Vec<Request> {
    let mut random = Random(seed);
    let mut numbers: HashMap<(i32, i32), u64> = HashMap::new();
    let mut left: Vec<i32> = (0..comm.size()).flat_map(|peer| (0..count).map(move |_| peer)).collect();
    let mut open = Vec::new();
    while !left.is_empty() {
        let peer = left.swap_remove(random.next(left.len() as u64) as usize);
        let tag = base_tag + random.next(TAGS) as i32;
        let number = numbers.entry((peer, tag)).or_default();
        let data: &'static [u64] = Vec::leak(message(*number, random.size()));
        *number += 1;
        let mode =
            [SendMode::Standard, SendMode::Standard, SendMode::Synchronous, SendMode::Ready][random.next(4) as usize];
        open.push(comm.isend_mode(mode, SendBuf::of(data), peer, tag).expect("isend"));
        if random.next(8) == 0 {
            let at = random.next(open.len() as u64) as usize;
            if open[at].test().expect("test").is_some() {
                drop(open.swap_remove(at));
            }
        }
    }
    open
}

/// Receives what `send_all` on all ranks sends here, in random ways.
fn receive_all(comm: &Comm, count: u64, base_tag: i32, seed: u64, wild: bool) {
    let mut random = Random(seed);
    let mut numbers: HashMap<(i32, i32), u64> = HashMap::new();
    let mut left = vec![count; comm.size() as usize];
    let mut data = vec![0u64; 100_000];
    while left.iter().any(|n| *n > 0) {
        let busy: Vec<i32> = (0..comm.size()).filter(|p| left[*p as usize] > 0).collect();
        let peer = busy[random.next(busy.len() as u64) as usize];
        let status = match random.next(4) {
            0 if wild => comm.recv(RecvBuf::of(&mut data), ANY_SOURCE, ANY_TAG).expect("recv"),
            1 => {
                let source = if wild { ANY_SOURCE } else { peer };
                let tag = if wild { ANY_TAG } else { probe_tag(comm, peer, base_tag) };
                let (message, _) = comm.mprobe(source, tag).expect("mprobe");
                message.expect("a message").recv(RecvBuf::of(&mut data)).expect("mrecv")
            }
            2 if !wild => {
                let tag = probe_tag(comm, peer, base_tag);
                comm.recv(RecvBuf::of(&mut data), peer, tag).expect("recv")
            }
            _ if wild => comm.recv(RecvBuf::of(&mut data), peer, ANY_TAG).expect("recv"),
            _ => {
                let tag = probe_tag(comm, peer, base_tag);
                comm.recv(RecvBuf::of(&mut data), peer, tag).expect("recv")
            }
        };
        let number = numbers.entry((status.source, status.tag)).or_default();
        check(&data, status.bytes, *number);
        *number += 1;
        left[status.source as usize] -= 1;
    }
}

/// The tag of some message from `peer` among this thread's tags.
fn probe_tag(comm: &Comm, peer: i32, base_tag: i32) -> i32 {
    loop {
        for tag in base_tag..base_tag + TAGS as i32 {
            if comm.iprobe(peer, tag).expect("iprobe").is_some() {
                return tag;
            }
        }
    }
}

fn finish(mut open: Vec<Request>) {
    let mut list: Vec<Option<&mut Request>> = open.iter_mut().map(Some).collect();
    for outcome in request::wait_all(&mut list).expect("wait_all") {
        outcome.expect("sent");
    }
}

#[test]
fn random_traffic_arrives_in_order() {
    for n in [1, 2, 3, 8] {
        for seed in 0..3 {
            testing::run(n, |comm| {
                let own = seed * 1000 + comm.rank() as u64;
                let open = send_all(comm, 120 / n as u64 + 10, 0, own);
                receive_all(comm, 120 / n as u64 + 10, 0, own ^ 77, true);
                finish(open);
            });
        }
    }
}

#[test]
fn random_traffic_of_several_threads_arrives_in_order() {
    for n in [1, 2, 3] {
        testing::run(n, |comm| {
            thread::scope(|scope| {
                for id in 0..3u64 {
                    scope.spawn(move || {
                        let base = (id * TAGS) as i32;
                        let seed = id * 100 + comm.rank() as u64;
                        let open = send_all(comm, 40, base, seed);
                        receive_all(comm, 40, base, seed ^ 5, false);
                        finish(open);
                    });
                }
            });
        });
    }
}
