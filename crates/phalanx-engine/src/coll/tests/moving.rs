//! Operations that move data.

use super::*;
use crate::datatype::{Basic, Datatype};

#[test]
fn barrier_lets_nobody_through_before_all_have_come() {
    use std::sync::atomic::{AtomicUsize, Ordering};
    for n in RANKS {
        let come = AtomicUsize::new(0);
        testing::run(n, |comm| {
            for round in 1..=50 {
                for form in FORMS {
                    come.fetch_add(1, Ordering::SeqCst);
                    call!(form, comm.barrier | ibarrier | barrier_init()).unwrap();
                    let least = n * ((round - 1) * 3 + form as usize + 1);
                    assert!(come.load(Ordering::SeqCst) >= least, "round {round}, {form:?}");
                    comm.barrier().unwrap();
                }
            }
        });
    }
}

#[test]
fn bcast_copies_from_every_root() {
    everywhere(|comm, form| {
        for count in COUNTS {
            for root in 0..size(comm) {
                let data = if me(comm) == root { values(root, count) } else { Data::filled(count, -1) };
                call!(form, comm.bcast | ibcast | bcast_init(data.recv(), root as i32)).unwrap();
                assert_eq!(data.0, values(root, count).0, "{count} elements from root {root}, {form:?}");
            }
        }
    });
}

#[test]
fn bcast_goes_between_layouts() {
    everywhere(|comm, form| {
        for count in [1, 50, 30_000] {
            // The root sends every second element; the others receive them densely.
            let strided = Datatype::vector(count as i64, 1, 2, Datatype::predefined(Basic::Int32)).unwrap();
            strided.commit();
            let root = size(comm) - 1;
            if me(comm) == root {
                let data = values(root, 2 * count);
                let buf = || RecvBuf::raw(data.mut_mem(), 1, &strided);
                call!(form, comm.bcast | ibcast | bcast_init(buf(), root as i32)).unwrap();
            } else {
                let data = Data::filled(count, 0);
                call!(form, comm.bcast | ibcast | bcast_init(data.recv(), root as i32)).unwrap();
                assert_eq!(data.0, (0..count).map(|i| value(root, 2 * i)).collect::<Vec<_>>());
            }
        }
    });
}

#[test]
fn gather_and_scatter_are_inverse() {
    everywhere(|comm, form| {
        let n = size(comm);
        for count in COUNTS {
            for root in [0, n - 1] {
                let (mine, all) =
                    (values(me(comm), count), Data::filled(if me(comm) == root { n * count } else { 0 }, -1));
                let recv = || (me(comm) == root).then(|| all.recv().into());
                call!(form, comm.gather | igather | gather_init(mine.as_arg(), recv(), root as i32)).unwrap();
                if me(comm) == root {
                    let expected: Vec<i32> = (0..n).flat_map(|r| values(r, count).0).collect();
                    assert_eq!(all.0, expected, "gather {count} to {root}, {form:?}");
                }
                let back = Data::filled(count, -1);
                let send = || (me(comm) == root).then(|| all.send().into());
                call!(form, comm.scatter | iscatter | scatter_init(send(), Arg::Buf(back.recv()), root as i32))
                    .unwrap();
                assert_eq!(back.0, mine.0, "scatter {count} from {root}, {form:?}");
            }
        }
    });
}

#[test]
fn gather_and_scatter_work_in_place_at_the_root() {
    everywhere(|comm, form| {
        let (n, root, count) = (size(comm), size(comm) / 2, 300);
        let mine = values(me(comm), count);
        let all = Data::new((0..n * count).map(|i| if i / count == root { value(root, i % count) } else { -1 }));
        let is_root = me(comm) == root;
        let send = || if is_root { Arg::InPlace } else { mine.as_arg() };
        call!(form, comm.gather | igather | gather_init(send(), is_root.then(|| all.recv().into()), root as i32))
            .unwrap();
        if is_root {
            assert_eq!(all.0, (0..n).flat_map(|r| values(r, count).0).collect::<Vec<_>>());
        }
        let back = Data::filled(count, -1);
        let recv = || {
            if is_root { Arg::InPlace } else { Arg::Buf(back.recv()) }
        };
        call!(form, comm.scatter | iscatter | scatter_init(is_root.then(|| all.send().into()), recv(), root as i32))
            .unwrap();
        assert!(is_root || back.0 == mine.0);
    });
}

/// Block sizes that differ and leave gaps: rank r has r % 4 * 100 + r elements, with 3 free ones between blocks.
fn ragged(n: usize) -> (Vec<i64>, Vec<i64>, usize) {
    let counts: Vec<i64> = (0..n).map(|r| (r % 4 * 100 + r) as i64).collect();
    let mut displs = Vec::new();
    let mut at = 0;
    for count in &counts {
        displs.push(at);
        at += count + 3;
    }
    (counts, displs, at as usize)
}

#[test]
fn gatherv_scatterv_allgatherv_respect_counts_and_gaps() {
    everywhere(|comm, form| {
        let n = size(comm);
        let (counts, displs, len) = ragged(n);
        let mine = values(me(comm), counts[me(comm)] as usize);
        let mut expected = vec![-7; len];
        for r in 0..n {
            let at = displs[r] as usize;
            expected[at..at + counts[r] as usize].copy_from_slice(&values(r, counts[r] as usize).0);
        }
        let root = n - 1;
        let is_root = me(comm) == root;
        let all = Data::filled(len, -7);
        let recv = || is_root.then(|| all.recv_blocks(&counts, &displs));
        call!(form, comm.gatherv | igatherv | gatherv_init(mine.as_arg(), recv(), root as i32)).unwrap();
        assert_eq!(all.0, if is_root { expected.clone() } else { vec![-7; len] });

        let back = Data::filled(mine.0.len(), -1);
        let send = || is_root.then(|| all.send_blocks(&counts, &displs));
        call!(form, comm.scatterv | iscatterv | scatterv_init(send(), Arg::Buf(back.recv()), root as i32)).unwrap();
        assert_eq!(back.0, mine.0);

        let all = Data::filled(len, -7);
        let recv = || all.recv_blocks(&counts, &displs);
        call!(form, comm.allgatherv | iallgatherv | allgatherv_init(mine.as_arg(), recv())).unwrap();
        assert_eq!(all.0, expected);
    });
}

#[test]
fn allgather_gives_everybody_everything() {
    everywhere(|comm, form| {
        let n = size(comm);
        for count in COUNTS {
            let expected: Vec<i32> = (0..n).flat_map(|r| values(r, count).0).collect();
            let (mine, all) = (values(me(comm), count), Data::filled(n * count, -1));
            call!(form, comm.allgather | iallgather | allgather_init(mine.as_arg(), all.recv().into())).unwrap();
            assert!(all.0 == expected, "{count} elements, {form:?}");

            let place = |i: usize| {
                if i / count == me(comm) { value(me(comm), i % count) } else { -1 }
            };
            let all = Data::new((0..n * count).map(place));
            call!(form, comm.allgather | iallgather | allgather_init(Arg::InPlace, all.recv().into())).unwrap();
            assert!(all.0 == expected, "{count} elements in place, {form:?}");
        }
    });
}

/// What rank `from` sends to rank `to`.
fn between(from: usize, to: usize, i: usize) -> i32 {
    (from * 100 + to) as i32 * 1000 + (i % 991) as i32
}

#[test]
fn alltoall_transposes() {
    everywhere(|comm, form| {
        let n = size(comm);
        for count in [0, 1, 37, 1_000, 9_000] {
            let send = Data::new((0..n * count).map(|i| between(me(comm), i / count, i % count)));
            let recv = Data::filled(n * count, -1);
            let expected: Vec<i32> = (0..n * count).map(|i| between(i / count, me(comm), i % count)).collect();
            call!(form, comm.alltoall | ialltoall | alltoall_init(Arg::Buf(send.send().into()), recv.recv().into()))
                .unwrap();
            assert!(recv.0 == expected, "{count} elements, {form:?}");
            // A persistent operation runs twice: in place, the second time sends everything back.
            call!(form, comm.alltoall | ialltoall | alltoall_init(Arg::InPlace, send.recv().into())).unwrap();
            let back = form == Form::Persistent;
            let sent: Vec<i32> = (0..n * count).map(|i| between(me(comm), i / count, i % count)).collect();
            assert!(send.0 == if back { sent } else { expected }, "{count} elements in place, {form:?}");
        }
    });
}

#[test]
fn alltoallv_and_alltoallw_exchange_blocks_of_any_size() {
    everywhere(|comm, form| {
        let (n, m) = (size(comm), me(comm));
        let count = |from: usize, to: usize| ((from * 3 + to * 5) % 11 * 40) as i64;
        let place = |counts: &[i64]| {
            let mut at = 0;
            counts.iter().map(|c| (at, at += c + 1).0).collect::<Vec<i64>>()
        };
        let (out, inc): (Vec<i64>, Vec<i64>) = (0..n).map(|r| (count(m, r), count(r, m))).unzip();
        let (outs, incs) = (place(&out), place(&inc));
        let length = |c: &[i64], d: &[i64]| (c[n - 1] + d[n - 1]) as usize;
        let mut send = Data::filled(length(&out, &outs), -1);
        for r in 0..n {
            for i in 0..out[r] as usize {
                send.0[outs[r] as usize + i] = between(m, r, i);
            }
        }
        let recv = Data::filled(length(&inc, &incs), -7);
        let mut expected = recv.0.clone();
        for r in 0..n {
            for i in 0..inc[r] as usize {
                expected[incs[r] as usize + i] = between(r, m, i);
            }
        }
        call!(
            form,
            comm.alltoallv
                | ialltoallv
                | alltoallv_init(Arg::Buf(send.send_blocks(&out, &outs)), recv.recv_blocks(&inc, &incs))
        )
        .unwrap();
        assert_eq!(recv.0, expected);

        // The same with displacements in bytes and a type for each rank.
        let bytes = |d: &[i64]| d.iter().map(|d| d * 4).collect::<Vec<i64>>();
        let (outb, incb) = (bytes(&outs), bytes(&incs));
        let types = vec![Datatype::predefined(Basic::Int32).clone(); n];
        let recv = Data::filled(expected.len(), -7);
        let sends = || SendBlocks::each(send.const_mem(), &out, &outb, &types);
        let recvs = || RecvBlocks::each(recv.mut_mem(), &inc, &incb, &types);
        call!(form, comm.alltoallw | ialltoallw | alltoallw_init(Arg::Buf(sends()), recvs())).unwrap();
        assert_eq!(recv.0, expected);
    });
}

#[test]
fn rooted_operations_may_run_ahead() {
    // Senders do not wait for a slow root, up to the depth of the area; nothing is lost or mixed up.
    for n in RANKS {
        testing::run(n, |comm| {
            for round in 0..200usize {
                let root = round % n;
                let all = Data::filled(n, -1);
                let recv = (me(comm) == root).then(|| all.recv().into());
                comm.gather(Data::new([value(me(comm), round)]).as_arg(), recv, root as i32).unwrap();
                if me(comm) == root {
                    assert_eq!(all.0, (0..n).map(|r| value(r, round)).collect::<Vec<_>>());
                }
                let data = Data::new([if me(comm) == root { value(root, round) } else { -1 }]);
                comm.bcast(data.recv(), root as i32).unwrap();
                assert_eq!(data.0, [value(root, round)]);
            }
        });
    }
}
