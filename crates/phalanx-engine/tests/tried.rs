//! Ways are tried while a program runs: whichever one a message or an operation goes, its data arrives.

use phalanx_engine::{RecvBuf, SendBlocks, SendBuf, testing};
use phalanx_shm::CpuBudget;

/// Enough uses for several trials, if none of them deters from the next.
const USES: usize = 300;
/// Enough for trials of all ways: after one that was deterring, or after two that contradicted each other, the next one comes
/// some 900 uses later.
const USES_OF_ALL_WAYS: usize = 1000;

/// Data of which no two neighbours in the order of their use are alike.
fn patterns(bytes: usize) -> [Vec<u8>; 5] {
    std::array::from_fn(|seed| (0..bytes).map(|i| ((i * 37) ^ (i >> 9) ^ (seed * 51)) as u8).collect())
}

#[test]
fn messages_arrive_whole_whichever_way_is_tried() {
    for bytes in [20_000, 64 << 10, (1 << 20) + 3] {
        let patterns = patterns(bytes);
        testing::run(2, |comm| {
            let engine = comm.engine();
            engine.count_messages(true);
            let is_receiver = comm.rank() == 1;
            for use_ in 0..USES_OF_ALL_WAYS {
                if is_receiver {
                    let mut data = vec![0; bytes];
                    comm.recv(RecvBuf::of(&mut data), 0, 3).expect("recv");
                    assert!(data == patterns[use_ % 5], "message {use_} of {bytes} bytes");
                } else {
                    comm.send(SendBuf::of(&patterns[use_ % 5]), 1, 3).expect("send");
                }
            }
            let tally = engine.tally();
            let [pipe, alone] = [tally.received_by_pipe, tally.received_by_single_copy].map(|moved| moved.messages);
            // Nothing is tried where two ranks share a CPU, or where somebody has said what is done.
            let tries = !CpuBudget::detect(2).oversubscribed() && !engine.universe().ways().fixed;
            if is_receiver && tries {
                assert!(pipe > 0, "{alone} alone and none through the pipe");
                assert!(alone > 0 || !engine.single_copy(), "{pipe} through the pipe and none alone");
            }
        });
    }
}

#[test]
fn answers_arrive_whole_as_well() {
    testing::run(2, |comm| {
        let bytes = 100_000;
        let patterns = patterns(bytes);
        let (other, me) = (1 - comm.rank(), comm.rank() as usize);
        for use_ in 0..USES {
            let mut data = vec![0; bytes];
            for turn in 0..2 {
                if me == turn {
                    comm.send(SendBuf::of(&patterns[(use_ + me) % 5]), other, 1).expect("send");
                } else {
                    comm.recv(RecvBuf::of(&mut data), other, 1).expect("recv");
                    assert!(data == patterns[(use_ + turn) % 5], "answer {use_}");
                }
            }
        }
    });
}

#[test]
fn collective_operations_give_the_same_whichever_way_is_tried() {
    for ranks in [2, 3] {
        testing::run(ranks, |comm| {
            let (me, n) = (comm.rank() as usize, comm.size() as usize);
            for bytes in [600, 12_000, 200_000] {
                let patterns = patterns(bytes);
                for use_ in 0..USES {
                    let own = &patterns[(use_ + me) % 5];
                    let mut all = vec![0; bytes * n];
                    comm.allgather(SendBuf::of(own).into(), RecvBuf::of(&mut all).into()).expect("allgather");
                    let right = |rank: usize| all[rank * bytes..][..bytes] == patterns[(use_ + rank) % 5];
                    assert!((0..n).all(right), "Allgather {use_} of {bytes} bytes");
                    let mut one = if me == 0 { own.clone() } else { vec![0; bytes] };
                    comm.bcast(RecvBuf::of(&mut one), 0).expect("bcast");
                    assert!(one == patterns[use_ % 5], "Bcast {use_} of {bytes} bytes");
                }
            }
        });
    }
}

#[test]
fn operations_of_large_blocks_are_tried_through_the_area_and_by_messages() {
    for (ranks, bytes) in [(2, 100_000), (3, 100_000), (3, 400_000)] {
        testing::run(ranks, |comm| {
            let engine = comm.engine();
            engine.count_messages(true);
            let (me, n) = (comm.rank() as usize, comm.size() as usize);
            let patterns = patterns(bytes);
            let block = |use_: usize, rank: usize| &patterns[(use_ + rank) % 5];
            let right = |all: &[u8], use_: usize| {
                all.chunks(bytes).enumerate().all(|(rank, got)| got == block(use_, rank).as_slice())
            };
            // By then a window of both paces is over.
            for use_ in 0..70 {
                let mut all = vec![0; bytes * n];
                comm.allgather(SendBuf::of(block(use_, me)).into(), RecvBuf::of(&mut all).into()).expect("allgather");
                assert!(right(&all, use_), "Allgather {use_}");
                let mut one = if me == 1 { block(use_, 1).clone() } else { vec![0; bytes] };
                comm.bcast(RecvBuf::of(&mut one), 1).expect("bcast");
                assert!(one == *block(use_, 1), "Bcast {use_}");
                let out: Vec<u8> = (0..n).flat_map(|to| block(use_ + to, me)).copied().collect();
                comm.alltoall(SendBlocks::from(SendBuf::of(&out)).into(), RecvBuf::of(&mut all).into())
                    .expect("alltoall");
                assert!(right(&all, use_ + me), "Alltoall {use_}");
                let room = (me == 1).then(|| RecvBuf::of(&mut all).into());
                comm.gather(SendBuf::of(block(use_, me)).into(), room, 1).expect("gather");
                assert!(me != 1 || right(&all, use_), "Gather {use_}");
                let handed = (me == 0).then(|| SendBuf::of(&out).into());
                comm.scatter(handed, RecvBuf::of(&mut one).into(), 0).expect("scatter");
                assert!(one == *block(use_ + me, 0), "Scatter {use_}");
            }
            let tally = engine.tally();
            let moved = tally.received_by_pipe.messages + tally.received_by_single_copy.messages;
            assert!(moved > 0 || engine.universe().ways().fixed, "nothing went by messages");
        });
    }
}
