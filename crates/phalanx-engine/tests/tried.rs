//! Ways are tried while a program runs: whichever one a message or an operation goes, its data arrives.

use phalanx_engine::{RecvBuf, SendBuf, testing};
use phalanx_shm::CpuBudget;

/// Enough uses for several trials of each way.
const USES: usize = 300;

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
            for use_ in 0..USES {
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
                assert!(pipe > 0, "{alone} alone of {USES}");
                assert!(alone > 0 || !engine.single_copy(), "{pipe} through the pipe of {USES}");
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
