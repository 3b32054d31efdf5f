//! Point-to-point messages between ranks that are threads, at 1, 2, 3 and 8 ranks.

use std::cell::{Cell, RefCell};

use phalanx_engine::pt2pt::Received;
use phalanx_engine::{ANY_SOURCE, ANY_TAG, ErrorClass, PROC_NULL, RecvBuf, SendBuf, SendMode, testing};

/// Sizes around the edges of the protocols: empty, one line, several lines, eager limit, large, several chunks.
const SIZES: &[usize] = &[0, 1, 24, 25, 500, 8 << 10, (8 << 10) + 1, 100_000, (256 << 10) + 7, 3 << 20];

fn pattern(n: usize, seed: usize) -> Vec<u8> {
    (0..n).map(|i| ((i * 31) ^ (i >> 8) ^ (seed * 7)) as u8).collect()
}

#[test]
fn every_size_goes_round_the_ring() {
    for n in [1, 2, 3, 8] {
        testing::run(n, |comm| {
            let (left, right) = testing::neighbours(comm);
            for (tag, &bytes) in SIZES.iter().enumerate() {
                let tag = tag as i32;
                let out = pattern(bytes, comm.rank() as usize);
                let mut into = vec![0; bytes + 3];
                let status =
                    comm.sendrecv(SendBuf::of(&out), right, tag, RecvBuf::of(&mut into), left, tag).expect("sendrecv");
                assert_eq!((status.source, status.tag, status.bytes), (left, tag, bytes as u64));
                assert_eq!(into[..bytes], pattern(bytes, left as usize));
            }
        });
    }
}

#[test]
fn blocking_ping_pong_of_every_size() {
    testing::run(2, |comm| {
        for &bytes in SIZES {
            for round in 0..3 {
                let mut data = vec![0u8; bytes];
                if comm.rank() == 0 {
                    comm.send(SendBuf::of(&pattern(bytes, round)), 1, 5).expect("send");
                    comm.recv(RecvBuf::of(&mut data), 1, 6).expect("recv");
                } else {
                    comm.recv(RecvBuf::of(&mut data), 0, 5).expect("recv");
                    comm.send(SendBuf::of(&data), 0, 6).expect("send");
                }
                assert_eq!(data, pattern(bytes, round));
            }
        }
    });
}

thread_local! {
    /// How often calls of this thread have gone around, and what the next one does first.
    static WENT: Cell<u32> = const { Cell::new(0) };
    static FIRST: RefCell<Option<Box<dyn FnOnce()>>> = const { RefCell::new(None) };
}

/// The program's function: it does what it was told to, and runs the wait, even twice.
fn around(wait: &mut dyn FnMut()) {
    WENT.set(WENT.get() + 1);
    if let Some(first) = FIRST.take() {
        first();
    }
    wait();
    wait();
}

/// Runs `call`; when that goes around, `first` runs first. How often it did.
fn times_around(first: impl FnOnce() + 'static, call: impl FnOnce()) -> u32 {
    FIRST.set(Some(Box::new(first)));
    WENT.set(0);
    call();
    FIRST.take();
    WENT.get()
}

#[test]
fn only_what_has_to_wait_goes_around() {
    testing::run(2, |comm| {
        comm.engine().set_around(around);
        for (tag, &bytes) in SIZES.iter().enumerate() {
            let (tag, other) = (tag as i32, 1 - comm.rank());
            let mut data = vec![0u8; bytes];
            let word = |tag| {
                let comm = comm.clone();
                move || comm.send(SendBuf::of(&[0u8; 0]), other, tag).expect("the engine's lock is free")
            };
            if comm.rank() == 0 {
                // Nothing was received before rank 1 says so: what is too large for the ring has to wait.
                let out = pattern(bytes, 1);
                let went = times_around(word(100), || comm.send(SendBuf::of(&out), other, tag).expect("send"));
                assert_eq!(went > 0, bytes > 16 << 10, "{bytes} bytes");
                if went == 0 {
                    word(100)();
                }
                comm.barrier().expect("barrier");
                // Nothing is sent before rank 0 waits for it.
                let went = times_around(word(101), || {
                    let status = comm.recv(RecvBuf::of(&mut data), other, tag).expect("receive");
                    assert_eq!(status.bytes, bytes as u64);
                });
                assert!(went > 0, "{bytes} bytes");
                assert_eq!(data, pattern(bytes, 2));
                comm.barrier().expect("barrier");
                let found = times_around(word(102), || {
                    let found = comm.recv_or_match(RecvBuf::of(&mut [0u8; 8]), other, tag).expect("receive");
                    assert!(matches!(found, Received::Whole(status) if status.bytes == 3));
                });
                assert!(found > 0);
            } else {
                comm.recv(RecvBuf::of(&mut [0u8; 0]), other, 100).expect("receive");
                let status = comm.recv(RecvBuf::of(&mut data), other, tag).expect("receive");
                assert_eq!((status.bytes, data), (bytes as u64, pattern(bytes, 1)));
                comm.barrier().expect("barrier");
                comm.recv(RecvBuf::of(&mut [0u8; 0]), other, 101).expect("receive");
                comm.send(SendBuf::of(&pattern(bytes, 2)), other, tag).expect("send");
                comm.barrier().expect("barrier");
                comm.recv(RecvBuf::of(&mut [0u8; 0]), other, 102).expect("receive");
                comm.send(SendBuf::of(&[1u8, 2, 3]), other, tag).expect("send");
            }
        }
    });
}

#[test]
fn a_message_of_unknown_size_comes_whole_if_it_fits_else_it_is_matched() {
    const ROOM: usize = 4096;
    for n in [1, 2, 3, 8] {
        testing::run(n, |comm| {
            let (left, right) = testing::neighbours(comm);
            for (tag, &bytes) in SIZES.iter().chain(&[ROOM, ROOM + 1]).enumerate() {
                let tag = tag as i32;
                let out: &'static [u8] = pattern(bytes, comm.rank() as usize).leak();
                for (mode, source) in [
                    (SendMode::Standard, left),
                    (SendMode::Standard, ANY_SOURCE),
                    (SendMode::Synchronous, left),
                    (SendMode::Synchronous, ANY_SOURCE),
                ] {
                    let mut sending = comm.isend_mode(mode, SendBuf::of(out), right, tag).expect("isend");
                    let mut room = [0u8; ROOM];
                    let found = comm.recv_or_match(RecvBuf::of(&mut room), source, tag);
                    let (got, status) = match found.expect("receive") {
                        Received::Whole(status) => {
                            assert!(bytes <= ROOM, "{bytes} bytes do not fit");
                            (room[..bytes].to_vec(), status)
                        }
                        Received::Matched(message, status) => {
                            // A process that sends to itself may still have the message in its own buffer.
                            assert!(bytes > ROOM || n == 1, "{bytes} bytes fit");
                            let mut all = vec![0; bytes];
                            let again = message.recv(RecvBuf::of(&mut all)).expect("receive");
                            assert_eq!((again.source, again.tag, again.bytes), (left, tag, bytes as u64));
                            (all, status)
                        }
                    };
                    assert_eq!((status.source, status.tag, status.bytes), (left, tag, bytes as u64));
                    assert_eq!(got, pattern(bytes, left as usize));
                    sending.wait().expect("the send");
                }
            }
            let nobody = comm.recv_or_match(RecvBuf::of(&mut [0u8; 1]), PROC_NULL, 0);
            assert!(matches!(nobody, Ok(Received::Whole(status)) if status.source == PROC_NULL && status.bytes == 0));
        });
    }
}

#[test]
fn a_message_of_unknown_size_leaves_those_of_posted_receives_alone() {
    testing::run(2, |comm| {
        if comm.rank() == 0 {
            comm.send(SendBuf::of(&[1u8, 2]), 1, 3).expect("send");
            comm.send(SendBuf::of(&[3u8, 4, 5]), 1, 3).expect("send");
        } else {
            let first: &'static mut [u8] = vec![0u8; 2].leak();
            let mut posted = comm.irecv(RecvBuf::of(first), 0, 3).expect("irecv");
            let mut second = [0u8; 8];
            let found = comm.recv_or_match(RecvBuf::of(&mut second), 0, 3).expect("receive");
            assert!(matches!(found, Received::Whole(status) if status.bytes == 3));
            assert_eq!(posted.wait().expect("the posted one").bytes, 2);
            assert_eq!(second[..3], [3, 4, 5]);
        }
    });
}

#[test]
fn what_is_wrong_does_not_go_around() {
    testing::run(1, |comm| {
        comm.engine().set_around(|_| panic!("nothing is to be waited for"));
        let send = |dest, tag| comm.send(SendBuf::of(&[1u8]), dest, tag).map_err(|e| e.class());
        assert_eq!(
            (send(1, 0), send(0, -1), send(PROC_NULL, 0)),
            (Err(ErrorClass::Rank), Err(ErrorClass::Tag), Ok(()))
        );
        let receive =
            |source, tag| comm.recv(RecvBuf::of(&mut [0u8]), source, tag).map(|s| s.source).map_err(|e| e.class());
        assert_eq!(receive(1, 0), Err(ErrorClass::Rank));
        assert_eq!((receive(0, -5), receive(PROC_NULL, 0)), (Err(ErrorClass::Tag), Ok(PROC_NULL)));
        let nobody = comm.recv_or_match(RecvBuf::of(&mut [0u8; 1]), PROC_NULL, 0);
        assert!(matches!(nobody, Ok(Received::Whole(status)) if status.source == PROC_NULL && status.bytes == 0));
        // A message to itself waits for nobody.
        send(0, 3).expect("send");
        let mut data = [0u8];
        comm.recv(RecvBuf::of(&mut data), ANY_SOURCE, ANY_TAG).expect("receive");
        assert_eq!(data, [1]);
    });
}

#[test]
fn a_program_that_does_not_let_a_call_wait_is_no_end_of_it() {
    testing::run(2, |comm| {
        comm.engine().set_around(|_| {});
        let mut data = [0u8];
        if comm.rank() == 0 {
            comm.barrier().expect("barrier");
            comm.send(SendBuf::of(&[9u8]), 1, 3).expect("send");
        } else {
            comm.barrier().expect("barrier");
            comm.recv(RecvBuf::of(&mut data), 0, 3).expect("receive");
            assert_eq!(data, [9]);
        }
    });
}

#[test]
fn synchronous_sends_wait_for_the_receive() {
    testing::run(2, |comm| {
        for &bytes in SIZES {
            if comm.rank() == 0 {
                comm.ssend(SendBuf::of(&pattern(bytes, 1)), 1, 1).expect("ssend");
                comm.send(SendBuf::of(&[7u8]), 1, 2).expect("send");
            } else {
                std::thread::sleep(std::time::Duration::from_millis(2));
                assert_eq!(comm.iprobe(0, 2).expect("iprobe"), None, "the sender has gone on");
                let mut data = vec![0u8; bytes];
                comm.recv(RecvBuf::of(&mut data), 0, 1).expect("recv");
                assert_eq!(data, pattern(bytes, 1));
                comm.recv(RecvBuf::of(&mut [0u8]), 0, 2).expect("recv");
            }
        }
    });
}

#[test]
fn flooding_both_ways_neither_loses_nor_reorders() {
    for n in [2, 3, 8] {
        testing::run(n, |comm| {
            const MESSAGES: u64 = 3000;
            let (rank, size) = (comm.rank() as u64, comm.size());
            // Everybody sends everything before receiving anything: rings overflow into the queues.
            let mut requests = Vec::new();
            let all: &'static [[u64; 40]] = Vec::leak((0..MESSAGES).map(|i| [rank << 32 | i; 40]).collect());
            for message in all {
                for peer in 0..size {
                    requests.push(comm.isend(SendBuf::of(message), peer, 3).expect("isend"));
                }
            }
            let mut next = vec![0; size as usize];
            for _ in 0..MESSAGES * size as u64 {
                let mut data = [0u64; 40];
                let status = comm.recv(RecvBuf::of(&mut data), ANY_SOURCE, 3).expect("recv");
                let from = status.source as usize;
                assert_eq!(data, [(from as u64) << 32 | next[from]; 40]);
                next[from] += 1;
            }
            for mut request in requests {
                request.wait().expect("wait");
            }
        });
    }
}

#[test]
fn truncation_names_both_sides() {
    testing::run(2, |comm| {
        for count in [2usize, 40_000] {
            if comm.rank() == 0 {
                comm.send(SendBuf::of(&vec![1.5f64; count]), 1, 9).expect("the sender is fine");
                comm.send(SendBuf::of(&[5i32]), 1, 10).expect("send");
            } else {
                let mut small = [0i32; 3];
                let error = comm.recv(RecvBuf::of(&mut small), 0, 9).expect_err("too small");
                assert_eq!(error.class(), ErrorClass::Truncate);
                let text = error.to_string();
                for part in
                    [&format!("{} bytes", count * 8), "12 bytes", "rank 0", "tag 9", "MPI_COMM_WORLD", "DOUBLE", "INT"]
                {
                    assert!(text.contains(part), "'{part}' is missing in: {text}");
                }
                let mut after = [0i32];
                comm.recv(RecvBuf::of(&mut after), 0, 10).expect("the next message is intact");
                assert_eq!(after, [5]);
            }
        }
    });
}

#[test]
fn wrong_arguments_are_named() {
    testing::run(2, |comm| {
        let send = |dest, tag| comm.send(SendBuf::of(&[1i32]), dest, tag).expect_err("wrong argument");
        let error = send(2, 0);
        assert_eq!(error.class(), ErrorClass::Rank);
        assert!(error.to_string().contains("rank 2") && error.to_string().contains("0 to 1"), "{error}");
        assert_eq!(send(-7, 0).class(), ErrorClass::Rank);
        assert_eq!(send(ANY_SOURCE, 0).class(), ErrorClass::Rank);
        let error = send(0, -1);
        assert_eq!(error.class(), ErrorClass::Tag);
        assert!(error.to_string().contains("-1"), "{error}");
        assert_eq!(send(0, ANY_TAG).class(), ErrorClass::Tag);
        let error = comm.recv(RecvBuf::of(&mut [0i32]), 9, 0).expect_err("wrong source");
        assert_eq!(error.class(), ErrorClass::Rank);
    });
}

#[test]
fn nobody_is_a_fine_partner() {
    testing::run(1, |comm| {
        comm.send(SendBuf::of(&[1i32]), PROC_NULL, 0).expect("send");
        let mut data = [4i32];
        let status = comm.recv(RecvBuf::of(&mut data), PROC_NULL, 0).expect("recv");
        assert_eq!((status.source, status.tag, status.bytes, data), (PROC_NULL, ANY_TAG, 0, [4]));
        let status = comm.probe(PROC_NULL, 0).expect("probe");
        assert_eq!(status.source, PROC_NULL);
    });
}

#[test]
fn probes_see_what_receives_get() {
    for n in [1, 2, 3] {
        testing::run(n, |comm| {
            let (left, right) = testing::neighbours(comm);
            for (tag, &bytes) in SIZES.iter().enumerate() {
                let tag = tag as i32;
                let out: &'static [u8] = Vec::leak(pattern(bytes, 2));
                let mut send = comm.isend_mode(SendMode::Standard, SendBuf::of(out), right, tag).expect("isend");
                let status = comm.probe(ANY_SOURCE, ANY_TAG).expect("probe");
                assert_eq!((status.source, status.tag, status.bytes), (left, tag, bytes as u64));
                let (message, status) = comm.mprobe(left, tag).expect("mprobe");
                assert_eq!(status.bytes, bytes as u64);
                assert_eq!(comm.iprobe(ANY_SOURCE, tag).expect("iprobe"), None, "taken by the matched probe");
                let mut data = vec![0u8; bytes];
                message.expect("a message").recv(RecvBuf::of(&mut data)).expect("mrecv");
                assert_eq!(data, out);
                send.wait().expect("wait");
            }
        });
    }
}

#[test]
fn every_sender_may_have_a_limit_of_its_own_for_messages_sent_at_once() {
    for n in [1, 2, 3] {
        testing::run(n, |comm| {
            let (left, right) = testing::neighbours(comm);
            let most = comm.engine().universe().max_payload();
            assert!(comm.engine().set_eager_limit(most + 1).is_err());
            for (turn, limit) in [0, 1, 100, most, 16 << 10].into_iter().enumerate() {
                comm.engine().set_eager_limit(limit + comm.rank() as usize % 2 * usize::from(limit < most)).unwrap();
                comm.engine().set_single_copy(turn % 2 == 0);
                for len in [0, 1, 2, 99, 101, most - 1, most, 100_000] {
                    let data = vec![comm.rank() as u8; len];
                    let mut room = vec![u8::MAX; len];
                    comm.sendrecv(SendBuf::of(&data), right, 0, RecvBuf::of(&mut room), left, 0).unwrap();
                    assert!(room.iter().all(|byte| i32::from(*byte) == left), "{len} bytes, limit {limit}");
                }
            }
        });
    }
}

#[test]
fn messages_are_counted_by_way_while_somebody_wants_to_know() {
    testing::run(2, |comm| {
        let engine = comm.engine();
        let (left, right) = testing::neighbours(comm);
        let exchange = |len: usize| {
            let mut room = vec![0u8; len];
            comm.sendrecv(SendBuf::of(&vec![1u8; len]), right, 0, RecvBuf::of(&mut room), left, 0).unwrap();
        };
        exchange(8);
        engine.count_messages(true);
        let before = engine.tally();
        (0..5).for_each(|_| exchange(8));
        exchange(1 << 20);
        engine.count_messages(false);
        let now = engine.tally();
        exchange(8);
        assert_eq!(now.sent_eager.messages - before.sent_eager.messages, 5);
        assert_eq!(now.sent_eager.bytes - before.sent_eager.bytes, 40);
        assert_eq!(now.sent_offered.bytes - before.sent_offered.bytes, 1 << 20);
        let large = |t: &phalanx_engine::engine::Tally| t.received_by_pipe.bytes + t.received_by_single_copy.bytes;
        assert_eq!(large(&now) - large(&before), 1 << 20);
        assert_eq!(engine.tally().sent_eager, now.sent_eager);
    });
}
