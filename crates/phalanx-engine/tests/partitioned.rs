//! Partitioned messages against a naive model: the receiver has, element for element, what the sender had.
#![expect(unsafe_code, reason = "raw buffers that outlive the call have unsafe constructors")]

use std::sync::atomic::{AtomicUsize, Ordering};

use phalanx_engine::datatype::{Basic, Datatype};
use phalanx_engine::pt2pt::Partitioned;
use phalanx_engine::{ANY_SOURCE, ANY_TAG, Comm, ErrorClass, PROC_NULL, RecvBuf, Request, Result, SendBuf, testing};
use phalanx_shm::mem::{ConstMem, MutMem};
use proptest::prelude::*;

fn double() -> &'static Datatype {
    Datatype::predefined(Basic::Double)
}

/// `words` doubles per element, each followed by `gap` others.
fn spread(words: usize, gap: usize) -> Datatype {
    let ty = Datatype::vector(words as i64, 1, 1 + gap as i64, double()).expect("a vector");
    let ty = Datatype::resized(&ty, 0, (words * (1 + gap) * 8) as i64).expect("a resized vector");
    ty.commit();
    ty
}

/// One side of a message: doubles in elements of `words`, with `gap` others between two of them.
#[derive(Clone, Debug)]
struct Side {
    partitions: usize,
    words: usize,
    gap: usize,
}

impl Side {
    fn count(&self, total: usize) -> usize {
        total / self.partitions / self.words
    }

    fn type_of(&self) -> Datatype {
        if self.words == 1 && self.gap == 0 { double().clone() } else { spread(self.words, self.gap) }
    }

    /// Where double number `i` of the message lies.
    fn place(&self, i: usize) -> usize {
        i * (1 + self.gap)
    }
}

fn send_init(comm: &Comm, data: &[f64], side: &Side, total: usize, dest: i32, tag: i32) -> (Request, Partitioned) {
    // SAFETY: the tests keep the data until the request is freed, and the types reach only into it.
    let mem = unsafe { ConstMem::base(data.as_ptr().cast()) };
    comm.psend_init(SendBuf::raw(mem, side.count(total), &side.type_of()), side.partitions as i32, dest, tag)
        .expect("init")
}

fn recv_init(
    comm: &Comm,
    room: &mut [f64],
    side: &Side,
    total: usize,
    source: i32,
    tag: i32,
) -> (Request, Partitioned) {
    // SAFETY: as above.
    let mem = unsafe { MutMem::base(room.as_mut_ptr().cast()) };
    let ty = side.type_of();
    let buf = RecvBuf::raw(mem, side.count(total), &ty);
    comm.precv_init(buf, side.partitions as i32, source, tag).expect("init")
}

/// Doubles behind an address that the engine also writes to.
fn look(room: *const f64, at: usize) -> f64 {
    // SAFETY: inside the room of the test, which the engine does not write to at this place at this time.
    unsafe { room.add(at).read_volatile() }
}

/// A number of partitions, and a divisor of what each has for the elements.
fn sides(unit: usize) -> impl Strategy<Value = Side> {
    let divisors: Vec<usize> = (1..=unit).filter(|d| unit.is_multiple_of(*d)).collect();
    proptest::sample::select(divisors).prop_flat_map(move |partitions| {
        let words: Vec<usize> = [1, 2, 3, 4].into_iter().filter(|w| (unit / partitions).is_multiple_of(*w)).collect();
        (proptest::sample::select(words), 0..3usize).prop_map(move |(words, gap)| Side { partitions, words, gap })
    })
}

#[derive(Clone, Debug)]
struct Plan {
    total: usize,
    sender: Side,
    receiver: Side,
    /// Of which the order follows in which partitions are marked.
    keys: Vec<u32>,
    rounds: usize,
}

fn plans() -> impl Strategy<Value = Plan> {
    // Small messages, and partitions too large for one record.
    (sides(24), sides(24), prop_oneof![4 => 0..20usize, 1 => 1000..3000usize])
        .prop_flat_map(|(sender, receiver, scale)| {
            let keys = proptest::collection::vec(any::<u32>(), sender.partitions);
            (Just(sender), Just(receiver), Just(scale), keys, 1..4usize)
        })
        .prop_map(|(sender, receiver, scale, keys, rounds)| Plan { total: 24 * scale, sender, receiver, keys, rounds })
}

fn value(rank: i32, round: usize, i: usize) -> f64 {
    (rank as usize * 1_000_000 + round * 100_000 + i) as f64
}

/// All ranks in a ring: what comes from the left is what it had.
fn ring(comm: &Comm, plan: &Plan) {
    let (left, right) = testing::neighbours(comm);
    let Plan { total, sender, receiver, keys, rounds } = plan;
    let mut data = vec![-1.0; total * (1 + sender.gap) + 1];
    let mut room = vec![-1.0; total * (1 + receiver.gap) + 1];
    let seen = room.as_ptr();
    let (mut sending, send) = send_init(comm, &data, sender, *total, right, 3);
    let (mut receiving, recv) = recv_init(comm, &mut room, receiver, *total, left, 3);
    let from = data.as_mut_ptr();
    let mut order: Vec<usize> = (0..sender.partitions).collect();
    order.sort_by_key(|i| keys[*i]);
    for round in 0..*rounds {
        receiving.start().expect("start");
        sending.start().expect("start");
        for partition in &order {
            let each = total / sender.partitions;
            for i in partition * each..(partition + 1) * each {
                // SAFETY: this partition belongs to the test until it is marked as ready.
                unsafe { from.add(sender.place(i)).write(value(comm.rank(), round, i)) };
            }
            send.ready(std::iter::once(*partition as i32)).expect("ready");
        }
        // From the last one on: each can be had by itself.
        for partition in (0..receiver.partitions).rev() {
            while !recv.arrived(partition as i32).expect("arrived") {}
            let each = total / receiver.partitions;
            for i in partition * each..(partition + 1) * each {
                assert_eq!(look(seen, receiver.place(i)), value(left, round, i), "element {i} of {plan:?}");
            }
        }
        let status = receiving.wait().expect("wait");
        assert_eq!((status.source, status.tag, status.bytes), (left, 3, 8 * *total as u64));
        sending.wait().expect("wait");
        // What lies between is as it was.
        for i in 0..*total {
            for gap in 1..=receiver.gap {
                assert_eq!(look(seen, receiver.place(i) + gap), -1.0);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn what_is_received_is_what_was_sent_however_both_sides_divide_it(plan in plans(), n in proptest::sample::select(vec![1, 2, 3, 8])) {
        testing::run(n, |comm| ring(comm, &plan));
    }
}

#[test]
fn a_partition_arrives_while_others_are_not_ready() {
    for n in [1, 2, 3] {
        testing::run(n, |comm| {
            let (left, right) = testing::neighbours(comm);
            let side = Side { partitions: 4, words: 1, gap: 0 };
            for total in [0, 8, 40_000] {
                let data = vec![comm.rank() as f64; total];
                let mut room = vec![-1.0; total];
                let (mut receiving, recv) = recv_init(comm, &mut room, &side, total, left, 0);
                let (mut sending, send) = send_init(comm, &data, &side, total, right, 0);
                receiving.start().expect("start");
                sending.start().expect("start");
                comm.barrier().expect("barrier");
                send.ready([2].into_iter()).expect("ready");
                while !recv.arrived(2).expect("arrived") {}
                assert_eq!([0, 1, 3].map(|other| recv.arrived(other).expect("arrived")), [false; 3]);
                assert!(receiving.test().expect("test").is_none() && sending.test().expect("test").is_none());
                comm.barrier().expect("barrier");
                send.ready_range(0, 1).expect("ready");
                send.ready([3].into_iter()).expect("ready");
                receiving.wait().expect("wait");
                sending.wait().expect("wait");
                assert!((0..4).all(|partition| recv.arrived(partition).expect("inactive")));
                assert!(room.iter().all(|value| *value == f64::from(left)));
            }
        });
    }
}

#[test]
fn threads_mark_partitions_at_once_while_another_waits() {
    testing::run(2, |comm| {
        let side = Side { partitions: 64, words: 1, gap: 0 };
        let total = 64 * 100;
        for round in 0..20 {
            if comm.rank() == 0 {
                let data: Vec<f64> = (0..total).map(|i| value(0, round, i)).collect();
                let (mut sending, send) = send_init(comm, &data, &side, total, 1, 0);
                sending.start().expect("start");
                let next = AtomicUsize::new(0);
                std::thread::scope(|scope| {
                    for _ in 0..4 {
                        scope.spawn(|| {
                            loop {
                                let partition = next.fetch_add(1, Ordering::Relaxed);
                                if partition >= 64 {
                                    break;
                                }
                                send.ready(std::iter::once(partition as i32)).expect("ready");
                            }
                        });
                    }
                    sending.wait().expect("wait");
                });
                fails(ErrorClass::Request, send.ready([5].into_iter()), &["not active", "MPI_Start"]);
            } else {
                let mut room = vec![-1.0; total];
                let (mut receiving, _recv) = recv_init(comm, &mut room, &side, total, 0, 0);
                receiving.start().expect("start");
                receiving.wait().expect("wait");
                assert!(room.iter().enumerate().all(|(i, found)| *found == value(0, round, i)));
            }
        }
    });
}

#[test]
fn pairs_with_one_tag_are_matched_in_the_order_in_which_they_were_made() {
    testing::run(2, |comm| {
        let side = Side { partitions: 2, words: 1, gap: 0 };
        let data: Vec<Vec<f64>> = (0..3).map(|i| vec![f64::from(i); 2]).collect();
        let mut rooms = vec![vec![-1.0; 2]; 3];
        if comm.rank() == 0 {
            let mut sends: Vec<_> = data.iter().map(|data| send_init(comm, data, &side, 2, 1, 7)).collect();
            // The last one is started first; the second never is.
            for at in [2, 0] {
                let (sending, send) = &mut sends[at];
                sending.start().expect("start");
                send.ready_range(0, 1).expect("ready");
                sending.wait().expect("wait");
            }
        } else {
            let mut recvs: Vec<_> = rooms.iter_mut().map(|room| recv_init(comm, room, &side, 2, 0, 7)).collect();
            // One that is dropped before it has heard of its sender keeps its place.
            drop(recvs.remove(1));
            for (receiving, _) in &mut recvs {
                receiving.start().expect("start");
                receiving.wait().expect("wait");
            }
            drop(recvs);
            assert_eq!(rooms, [[0.0; 2], [-1.0; 2], [2.0; 2]]);
        }
        comm.barrier().expect("barrier");
    });
}

fn fails<T>(class: ErrorClass, outcome: Result<T>, parts: &[&str]) {
    let Err(error) = outcome else { panic!("no error") };
    assert_eq!(error.class(), class, "{error}");
    for part in parts {
        assert!(error.message().contains(part), "'{error}' does not say '{part}'");
    }
}

#[test]
fn wrong_use_is_told_and_changes_nothing() {
    testing::run(1, |comm| {
        let side = Side { partitions: 3, words: 1, gap: 0 };
        let (data, mut room) = ([1.0, 2.0, 3.0], [0.0; 3]);
        let (mut sending, send) = send_init(comm, &data, &side, 3, 0, 0);
        let (mut receiving, recv) = recv_init(comm, &mut room, &side, 3, 0, 0);
        assert!(recv.arrived(0).expect("inactive"));
        fails(ErrorClass::Request, send.ready([0].into_iter()), &["not been started"]);
        sending.start().expect("start");
        receiving.start().expect("start");
        fails(ErrorClass::Arg, send.ready([0, 3].into_iter()), &["partition 3", "0 to 2"]);
        fails(ErrorClass::Arg, send.ready([-1].into_iter()), &["partition -1"]);
        fails(ErrorClass::Arg, send.ready([1, 1].into_iter()), &["partition 1", "before"]);
        fails(ErrorClass::Arg, send.ready_range(2, 1), &["2 to 1"]);
        fails(ErrorClass::Arg, send.ready_range(0, i32::MAX), &["0 to 2"]);
        fails(ErrorClass::Arg, recv.arrived(3), &["partition 3"]);
        fails(ErrorClass::Request, recv.ready([0].into_iter()), &["receive"]);
        fails(ErrorClass::Request, send.arrived(0), &["send"]);
        fails(ErrorClass::Request, sending.cancel(), &["cannot be cancelled"]);
        assert!((0..3).all(|partition| !recv.arrived(partition).expect("arrived")));
        send.ready_range(0, 2).expect("ready");
        fails(ErrorClass::Arg, send.ready([2].into_iter()), &["before"]);
        receiving.wait().expect("wait");
        sending.wait().expect("wait");
        assert_eq!(room, data);
        let init = |partitions, dest, tag| comm.psend_init(SendBuf::of(&[0.0]), partitions, dest, tag).map(drop);
        fails(ErrorClass::Arg, init(0, 0, 0), &["Psend_init", "0 partitions"]);
        fails(ErrorClass::Rank, init(1, 1, 0), &["rank 1"]);
        fails(ErrorClass::Tag, init(1, 0, ANY_TAG), &["wildcards"]);
        fails(
            ErrorClass::Count,
            comm.psend_init(SendBuf::raw(ConstMem::empty(), 1 << 62, double()), 8, 0, 0).map(drop),
            &[],
        );
        fails(
            ErrorClass::Rank,
            comm.precv_init(RecvBuf::raw(MutMem::empty(), 0, double()), 1, ANY_SOURCE, 0).map(drop),
            &["wildcards"],
        );
    });
}

#[test]
fn nobody_gets_and_sends_at_once() {
    testing::run(1, |comm| {
        let side = Side { partitions: 2, words: 1, gap: 0 };
        let mut room = [5.0; 2];
        let (mut sending, send) = send_init(comm, &[1.0, 2.0], &side, 2, PROC_NULL, 0);
        let (mut receiving, recv) = recv_init(comm, &mut room, &side, 2, PROC_NULL, 0);
        for _ in 0..2 {
            sending.start().expect("start");
            receiving.start().expect("start");
            assert!(recv.arrived(1).expect("arrived"));
            assert_eq!(receiving.wait().expect("wait").source, PROC_NULL);
            send.ready_range(0, 1).expect("ready");
            sending.wait().expect("wait");
        }
        assert_eq!(room, [5.0; 2]);
    });
}

#[test]
fn sides_that_disagree_about_the_amount_are_told() {
    testing::run(2, |comm| {
        let side = Side { partitions: 2, words: 1, gap: 0 };
        let data = [1.0; 4];
        let mut room = [0.0; 6];
        if comm.rank() == 0 {
            let (mut sending, send) = send_init(comm, &data, &side, 4, 1, 0);
            sending.start().expect("start");
            send.ready_range(0, 1).expect("ready");
            sending.wait().expect("wait");
        } else {
            let (mut receiving, recv) = recv_init(comm, &mut room, &side, 6, 0, 0);
            receiving.start().expect("start");
            fails(ErrorClass::Truncate, receiving.wait(), &["rank 0", "32 bytes", "48", "same amount"]);
            fails(ErrorClass::Truncate, recv.arrived(0), &["32 bytes"]);
            // Nothing comes of another start either.
            receiving.start().expect("start");
            fails(ErrorClass::Truncate, receiving.wait(), &["32 bytes", "48"]);
        }
        comm.barrier().expect("barrier");
    });
}

#[test]
fn a_sender_that_has_ended_is_told() {
    testing::run(2, |comm| {
        let side = Side { partitions: 2, words: 1, gap: 0 };
        let data = [1.0; 2];
        let mut room = [0.0; 2];
        if comm.rank() == 1 {
            let (mut sending, send) = send_init(comm, &data, &side, 2, 0, 0);
            sending.start().expect("start");
            send.ready([0].into_iter()).expect("ready");
        } else {
            let (mut receiving, recv) = recv_init(comm, &mut room, &side, 2, 1, 0);
            receiving.start().expect("start");
            while !recv.arrived(0).expect("arrived") {}
            fails(ErrorClass::ProcAborted, receiving.wait(), &["rank 1", "has ended", "MPI_COMM_WORLD"]);
            // Another one never comes.
            let (mut receiving, _) = recv_init(comm, &mut room, &side, 2, 1, 1);
            receiving.start().expect("start");
            fails(ErrorClass::ProcAborted, receiving.wait(), &["rank 1", "has ended"]);
        }
    });
}
