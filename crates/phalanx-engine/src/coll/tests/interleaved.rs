//! Many operations at once: out of order, on several communicators, from several threads.

use super::*;
use crate::op::{Builtin, Op};
use crate::request::{self, Request};

#[test]
fn nonblocking_operations_complete_in_any_order() {
    for n in RANKS {
        testing::run(n, |comm| {
            let (m, sum) = (me(comm), Op::predefined(Builtin::Sum));
            let rounds = 12;
            let sizes: Vec<usize> = (0..rounds).map(|k| [1, 400, 20_000][k % 3]).collect();
            let sources: Vec<Data<i32>> = sizes.iter().map(|&c| values(m, c)).collect();
            let sums: Vec<Data<i32>> = sizes.iter().map(|&c| Data::filled(c, -1)).collect();
            let casts: Vec<Data<i32>> = (0..rounds)
                .map(|k| if m == k % n { values(m, sizes[k]) } else { Data::filled(sizes[k], -1) })
                .collect();
            let alls: Vec<Data<i32>> = sizes.iter().map(|&c| Data::filled(c * n, -1)).collect();
            let mut requests = Vec::new();
            for k in 0..rounds {
                requests.push(comm.iallreduce(sources[k].as_arg(), sums[k].recv(), &sum).unwrap());
                requests.push(comm.ibcast(casts[k].recv(), (k % n) as i32).unwrap());
                requests.push(comm.iallgather(sources[k].as_arg(), alls[k].recv().into()).unwrap());
                requests.push(comm.ibarrier().unwrap());
                // A blocking one in between must not be confused by those under way.
                let x = Data::filled(1, -1);
                comm.allreduce(Data::new([m as i32]).as_arg(), x.recv(), &sum).unwrap();
                assert_eq!(x.0, [(0..n as i32).sum::<i32>()]);
            }
            // Each rank waits in another order: forwards, backwards, every third first.
            let mut order: Vec<usize> = (0..requests.len()).collect();
            match m % 3 {
                0 => {}
                1 => order.reverse(),
                _ => order.sort_by_key(|i| i % 3),
            }
            let mut slots: Vec<Option<Request>> = requests.into_iter().map(Some).collect();
            for i in order {
                slots[i].take().unwrap().wait().unwrap();
            }
            for k in 0..rounds {
                assert!(sums[k].0.iter().enumerate().all(|(i, x)| *x == (0..n).map(|r| value(r, i)).sum::<i32>()));
                assert!(casts[k].0 == values(k % n, sizes[k]).0);
                assert!(alls[k].0 == (0..n).flat_map(|r| values(r, sizes[k]).0).collect::<Vec<_>>());
            }
        });
    }
}

#[test]
fn persistent_operations_run_many_times() {
    for n in RANKS {
        testing::run(n, |comm| {
            let m = me(comm);
            let mine = [values(m, 3), values(m, 9_000)];
            let alls = [Data::filled(3 * n, -1), Data::filled(9_000 * n, -1)];
            let mut requests = [
                comm.allgather_init(mine[0].as_arg(), alls[0].recv().into()).unwrap(),
                comm.allgather_init(mine[1].as_arg(), alls[1].recv().into()).unwrap(),
            ];
            for round in 0..20 {
                // Ranks start the two in different orders: they are different operations.
                let [a, b] = &mut requests;
                let both = if (m + round).is_multiple_of(2) { [a, b] } else { [b, a] };
                for r in both {
                    r.start().unwrap();
                }
                for r in &mut requests {
                    r.wait().unwrap();
                    assert!(r.is_persistent());
                }
                for (all, mine) in alls.iter().zip(&mine) {
                    assert!(all.0 == (0..n).flat_map(|r| values(r, mine.0.len()).0).collect::<Vec<_>>());
                }
            }
            for r in requests {
                r.free().unwrap();
            }
        });
    }
}

#[test]
fn threads_use_communicators_of_their_own() {
    for n in [1, 2, 3, 5] {
        testing::run(n, |comm| {
            let comms: Vec<Comm> = (0..3).map(|_| comm.dup().unwrap()).collect();
            std::thread::scope(|scope| {
                for (t, comm) in comms.iter().enumerate() {
                    scope.spawn(move || {
                        let sum = Op::predefined(Builtin::Sum);
                        for round in 0..60 {
                            let count = [1, 30, 3_000][(round + t) % 3];
                            let result = Data::filled(count, -1);
                            let mine = values(me(comm) + t, count);
                            if round % 2 == 0 {
                                comm.allreduce(mine.as_arg(), result.recv(), &sum).unwrap();
                            } else {
                                comm.iallreduce(mine.as_arg(), result.recv(), &sum).unwrap().wait().unwrap();
                            }
                            assert!(
                                result
                                    .0
                                    .iter()
                                    .enumerate()
                                    .all(|(i, x)| *x == (0..n).map(|r| value(r + t, i)).sum::<i32>())
                            );
                            comm.barrier().unwrap();
                        }
                    });
                }
            });
        });
    }
}

#[test]
fn messages_pass_a_rank_that_waits_in_a_collective() {
    // Rank 0 waits in a barrier while the others exchange messages with it that need its progress.
    for n in [2, 3, 5] {
        testing::run(n, |comm| {
            let m = me(comm);
            let len = 400_000;
            if m == 0 {
                let incoming: Vec<Data<i32>> = (1..n).map(|_| Data::filled(len, -1)).collect();
                let mut requests: Vec<Request> =
                    incoming.iter().enumerate().map(|(i, d)| comm.irecv(d.recv(), i as i32 + 1, 7).unwrap()).collect();
                comm.barrier().unwrap();
                let mut slots: Vec<Option<&mut Request>> = requests.iter_mut().map(Some).collect();
                for outcome in request::wait_all(&mut slots).unwrap() {
                    outcome.unwrap();
                }
                assert!(incoming.iter().enumerate().all(|(i, d)| d.0 == values(i + 1, len).0));
            } else {
                // The send completes only when rank 0, inside its barrier, has received.
                comm.send_mode(crate::pt2pt::SendMode::Synchronous, values(m, len).send(), 0, 7).unwrap();
                comm.barrier().unwrap();
            }
        });
    }
}
