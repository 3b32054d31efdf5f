//! Wrong arguments and ranks that disagree.

use phalanx_shm::cells::CELLS;

use super::*;
use crate::error::ErrorClass;
use crate::op::{Builtin, Op};

/// Checks class and text of an error.
pub(super) fn assert_error<T>(result: crate::error::Result<T>, class: ErrorClass, parts: &[&str]) {
    let error = match result {
        Ok(_) => panic!("an error of class {class:?} was expected"),
        Err(error) => error,
    };
    assert_eq!(error.class(), class, "{error}");
    for part in parts {
        assert!(error.message().contains(part), "'{error}' does not say '{part}'");
    }
}

#[test]
fn wrong_arguments_are_named() {
    testing::run(3, |comm| {
        let (data, sum) = (Data::filled(4, 0), Op::predefined(Builtin::Sum));
        assert_error(comm.bcast(data.recv(), 3), ErrorClass::Root, &["Bcast", "root 3", "3 processes", "0 to 2"]);
        assert_error(comm.ibcast(data.recv(), -1).map(drop), ErrorClass::Root, &["Ibcast", "root -1"]);
        assert_error(
            comm.allgather(data.as_arg(), data.recv().into()),
            ErrorClass::Count,
            &["Allgather", "4 elements", "3 ranks"],
        );
        let six = Data::filled(6, 0);
        assert_error(comm.allgather(data.as_arg(), six.recv().into()), ErrorClass::Truncate, &["16 bytes", "8 bytes"]);
        let floats = Data::filled(4, 0f64);
        let and = Op::predefined(Builtin::Band);
        assert_error(comm.allreduce(floats.as_arg(), floats.recv(), &and), ErrorClass::Op, &["Allreduce", "MPI_BAND"]);
        assert_error(comm.allreduce(six.as_arg(), data.recv(), &sum), ErrorClass::Count, &["6", "4"]);
        let send = if comm.rank() == 1 { data.as_arg() } else { Arg::InPlace };
        if comm.rank() != 1 {
            assert_error(comm.reduce(send, None, &sum, 1), ErrorClass::Buffer, &["Reduce", "MPI_IN_PLACE"]);
        }
        let recv = RecvBlocks::raw(six.mut_mem(), &[1, -2, 1], &[0, 1, 2], i32::datatype());
        assert_error(comm.allgatherv(data.as_arg(), recv), ErrorClass::Count, &["Allgatherv", "rank 1", "-2"]);
        assert_error(comm.split(-3, 0), ErrorClass::Arg, &["Comm_split", "color -3"]);
        comm.barrier().unwrap();
    });
}

#[test]
fn ranks_that_disagree_about_a_message_learn_both_sizes() {
    testing::run(2, |comm| {
        // By messages: the receiver sees what comes.
        let data = Data::filled(if comm.rank() == 0 { 10 } else { 4 }, 1);
        let mut request = comm.ibcast(data.recv(), 0).unwrap();
        if comm.rank() == 1 {
            assert_error(request.wait(), ErrorClass::Truncate, &["Ibcast", "rank 0", "16"]);
        } else {
            request.wait().unwrap();
        }
    });
}

#[test]
fn ranks_that_call_different_operations_learn_who() {
    testing::run(3, |comm| {
        let sum = Op::predefined(Builtin::Sum);
        comm.barrier().unwrap();
        let (a, b) = (Data::filled(2, 1), Data::filled(2, 1));
        let outcome = if comm.rank() == 2 { comm.barrier() } else { comm.allreduce(a.as_arg(), b.recv(), &sum) };
        let other = if comm.rank() == 2 { "calls Allreduce of 8 bytes" } else { "rank 2 calls Barrier" };
        assert_error(outcome, ErrorClass::NotSame, &["disagree", other]);
    });
}

/// Sizes on either side of the limit between the small and the large memory.
#[test]
fn ranks_whose_sizes_lie_far_apart_learn_both_and_harm_no_other_communicator() {
    for n in [2, 3, 8] {
        testing::run(n, |comm| {
            let (doomed, other) = (comm.dup().unwrap(), comm.dup().unwrap());
            let sum = Op::predefined(Builtin::Sum);
            let count = if comm.rank() == 1 { 100_000 } else { 10 };
            let (mine, result) = (Data::filled(count, 1), Data::filled(count, 0));
            let outcome = doomed.allreduce(mine.as_arg(), result.recv(), &sum);
            let theirs = if comm.rank() == 1 { "of 40 bytes" } else { "rank 1 calls Allreduce of 400000 bytes" };
            assert_error(outcome, ErrorClass::NotSame, &["disagree", theirs]);
            assert_error(doomed.barrier(), ErrorClass::Other, &["no longer in step", "another communicator"]);
            for count in [10, 100_000] {
                let (mine, result) = (Data::filled(count, 1), Data::filled(count, 0));
                other.allreduce(mine.as_arg(), result.recv(), &sum).unwrap();
                assert!(result.0.iter().all(|sum| *sum == n as i32));
                comm.barrier().unwrap();
            }
        });
    }
}

/// A block too large for the shared memory travels by messages, but its size is told there.
#[test]
fn a_size_that_travels_by_messages_is_told_too() {
    testing::run(3, |comm| {
        let doomed = comm.dup().unwrap();
        let count = if comm.rank() == 0 { 10 } else { 1_000_000 };
        let (mine, result) = (Data::filled(count, 1), Data::filled(3 * count, 0));
        let recv = (comm.rank() == 0).then(|| result.recv().into());
        let outcome = doomed.gather(mine.as_arg(), recv, 0);
        if comm.rank() == 0 {
            assert_error(outcome, ErrorClass::NotSame, &["calls Gather of 4000000 bytes with root 0"]);
        }
        // Ranks 1 and 2 learn of it when rank 0 has ended without taking their messages.
    });
}

#[test]
fn the_call_that_was_wrong_is_accused_and_not_the_one_after_it() {
    for n in [2, 3, 8] {
        testing::run(n, |comm| {
            let doomed = comm.dup().unwrap();
            doomed.barrier().unwrap();
            let me = comm.rank() as usize;
            let data = Data::filled(if me == 0 { 160 } else { 80 }, 1u8);
            let bcast = doomed.bcast(data.recv(), 0);
            if me == 0 {
                // The root has gone on: it learns in the next operation that the one before was wrong.
                let after = bcast.and_then(|()| doomed.barrier());
                let parts =
                    ["in an earlier operation", "this rank called Bcast of 160 bytes", "called Bcast of 80 bytes"];
                assert_error(after, ErrorClass::NotSame, &parts);
            } else {
                let parts = ["this rank calls Bcast of 80 bytes", "rank 0 calls Bcast of 160 bytes with root 0"];
                let error = bcast.unwrap_err();
                assert!(!error.message().contains("Barrier"), "{error}");
                assert_error::<()>(Err(error), ErrorClass::NotSame, &parts);
            }
            comm.barrier().unwrap();
        });
    }
}

#[test]
fn different_roots_come_to_light_at_the_latest_when_a_rank_is_too_far_ahead() {
    testing::run(3, |comm| {
        let doomed = comm.dup().unwrap();
        let data = Data::filled(4, 1);
        let root = if comm.rank() == 2 { 2 } else { 0 };
        let failed = (0..2 * CELLS).find_map(|_| doomed.bcast(data.recv(), root).err());
        assert_error::<()>(Err(failed.unwrap()), ErrorClass::NotSame, &["with root 0", "with root 2"]);
        comm.barrier().unwrap();
    });
}

#[test]
fn empty_contributions_are_counted_as_calls() {
    testing::run(3, |comm| {
        let doomed = comm.dup().unwrap();
        let sum = Op::predefined(Builtin::Sum);
        let count = if comm.rank() == 0 { 0 } else { 4 };
        let (mine, result) = (Data::filled(count, 1), Data::filled(count, 0));
        let outcome = doomed.allreduce(mine.as_arg(), result.recv(), &sum);
        // Of several that disagree, the error names those that have come so far.
        let theirs = if comm.rank() == 0 { "calls Allreduce of 16 bytes" } else { "rank 0 calls Allreduce of 0 bytes" };
        assert_error(outcome, ErrorClass::NotSame, &[theirs]);
        comm.barrier().unwrap();
    });
}

#[test]
fn what_comes_instead_of_a_shared_area_is_not_believed() {
    testing::run(2, |comm| {
        // Rank 1 takes the first collective for a barrier; rank 0 sends it eight bytes that are no position.
        let doomed = comm.dup().unwrap();
        if comm.rank() == 0 {
            let word = Data::filled(1, 0x40_0040u64);
            doomed.iscatterv(Some(word.send_blocks(&[0, 1], &[0, 0])), Arg::InPlace, 0).unwrap().wait().unwrap();
        } else {
            assert_error(doomed.barrier(), ErrorClass::NotSame, &["did not answer with the shared memory", "0x400040"]);
        }
        comm.barrier().unwrap();
    });
}

#[test]
fn threads_take_turns_on_one_communicator() {
    for n in [2, 3] {
        testing::run(n, |comm| {
            std::thread::scope(|scope| {
                for _ in 0..4 {
                    scope.spawn(|| {
                        for _ in 0..200 {
                            let (mine, result) = (Data::filled(3, 1), Data::filled(3, 0));
                            comm.allreduce(mine.as_arg(), result.recv(), &Op::predefined(Builtin::Sum)).unwrap();
                            assert_eq!(result.0, vec![n as i32; 3]);
                        }
                    });
                }
            });
        });
    }
}

#[test]
fn a_collective_inside_a_collective_is_refused() {
    use std::sync::{Arc, Mutex};
    testing::run(2, |comm| {
        let refused = Arc::new(Mutex::new(None));
        let (inner, seen) = (comm.clone(), refused.clone());
        let op = Op::user(
            Arc::new(move |_: ConstMem, _: MutMem, _: usize, _: &crate::datatype::Datatype| {
                *seen.lock().unwrap() = inner.barrier().err();
                Ok(())
            }),
            true,
        );
        let (mine, result) = (Data::filled(1, 1), Data::filled(1, 0));
        comm.allreduce(mine.as_arg(), result.recv(), &op).unwrap();
        if comm.rank() == 0 {
            let error = refused.lock().unwrap().take().unwrap();
            assert_error::<()>(Err(error), ErrorClass::Other, &["this thread is in a blocking collective"]);
        }
        comm.barrier().unwrap();
    });
}

#[test]
fn an_operation_that_fails_keeps_nobody_waiting() {
    use std::sync::Arc;
    let failing = |_: ConstMem, _: MutMem, _: usize, _: &crate::datatype::Datatype| {
        Err(crate::error::Error::new(ErrorClass::Other, "the operation gave up"))
    };
    let op = Op::user(Arc::new(failing), true);
    for n in [2, 3, 5] {
        testing::run(n, |comm| {
            for count in [1, 30_000] {
                let (mine, result) = (Data::filled(count, 1), Data::filled(count, 0));
                let outcome = comm.allreduce(mine.as_arg(), result.recv(), &op);
                assert!(comm.rank() != 0 || outcome.is_err());
                comm.barrier().unwrap();
            }
        });
    }
}

#[test]
fn an_interrupted_collective_says_so_and_closes_the_communicator_for_blocking_ones() {
    testing::run(2, |comm| {
        let copy = comm.dup().unwrap();
        copy.barrier().unwrap();
        if comm.rank() == 0 {
            comm.engine().set_interrupt_hook(Some(|| true));
            let error = copy.barrier().unwrap_err();
            comm.engine().set_interrupt_hook(None);
            assert!(error.is_interrupted(), "{error}");
            assert_error(copy.barrier(), ErrorClass::Other, &["interrupted", "another communicator"]);
        }
        comm.barrier().unwrap();
    });
}

#[test]
fn the_others_of_an_interrupted_collective_learn_who_left_it() {
    testing::run(3, |comm| {
        let copies = [comm.dup().unwrap(), comm.dup().unwrap()];
        for (turn, copy) in copies.iter().enumerate() {
            copy.barrier().unwrap();
            let (mine, all) = (Data::filled(4, 1u8), Data::filled(12, 0u8));
            let call = || match turn {
                0 => copy.barrier(),
                // This one goes by messages.
                _ => copy.allgatherv(mine.as_arg(), all.recv_blocks(&[4; 3], &[0, 4, 8])),
            };
            if comm.rank() == 1 {
                comm.engine().set_interrupt_hook(Some(|| true));
                let error = call().unwrap_err();
                comm.engine().set_interrupt_hook(None);
                assert!(error.is_interrupted(), "{error}");
                comm.barrier().unwrap();
            } else {
                // One waits when it happens, the other one comes later.
                if comm.rank() == 2 {
                    std::thread::sleep(std::time::Duration::from_millis(300));
                }
                let name = ["rank 1 was interrupted in Barrier", "rank 1 was interrupted in Allgatherv"][turn];
                // Messages that were sent before may be enough for the one that comes later.
                let outcome = if comm.rank() == 2 { call().and_then(|()| copy.barrier()) } else { call() };
                assert_error(outcome, ErrorClass::Other, &[name, "another communicator"]);
                comm.barrier().unwrap();
            }
        }
    });
}

#[test]
fn a_rank_that_waits_by_messages_while_others_disagree_learns_what_they_call() {
    testing::run(3, |comm| {
        let copy = comm.dup().unwrap();
        copy.barrier().unwrap();
        let (mine, all) = (Data::filled(4, 1u8), Data::filled(12, 0u8));
        let outcome = match comm.rank() {
            2 => copy.allgatherv(mine.as_arg(), all.recv_blocks(&[4; 3], &[0, 4, 8])),
            1 => copy.barrier(),
            _ => copy.bcast(mine.recv(), 0).and_then(|()| copy.barrier()),
        };
        let error = outcome.unwrap_err();
        assert_eq!(error.class(), ErrorClass::NotSame, "{error}");
        if comm.rank() == 2 {
            assert!(error.message().contains("this rank calls Allgatherv, but"), "{error}");
            assert!(error.message().contains("rank 1 calls Barrier"), "{error}");
        }
        comm.barrier().unwrap();
    });
}

/// Ranks of which one combines otherwise stay in step: each learns who it was, and the communicator goes on.
#[test]
fn different_reductions_and_types_are_named_on_all_ranks_and_harm_nothing() {
    for n in [2, 3, 8] {
        testing::run(n, |comm| {
            let odd = comm.rank() as usize == n - 1;
            let other = format!("rank {} calls", n - 1);
            let sum = Op::predefined(Builtin::Sum);
            for count in [1, 1000, 300_000] {
                let op = Op::predefined(if odd { Builtin::Max } else { Builtin::Sum });
                let (mine, result) = (Data::filled(count, 1), Data::filled(count, 0));
                let outcome = comm.allreduce(mine.as_arg(), result.recv(), &op);
                let bytes = format!("Allreduce of {} bytes (MPI_", 4 * count);
                let theirs = if odd { "rank 0 calls" } else { other.as_str() };
                assert_error(outcome, ErrorClass::Op, &[theirs, "MPI_MAX", "MPI_SUM", &bytes]);
                let outcome = if odd {
                    let (mine, result) = (Data::filled(count, 1f32), Data::filled(count, 0f32));
                    comm.allreduce(mine.as_arg(), result.recv(), &sum)
                } else {
                    comm.allreduce(mine.as_arg(), result.recv(), &sum)
                };
                assert_error(outcome, ErrorClass::Type, &[theirs, "MPI_FLOAT", "MPI_INT"]);
                comm.allreduce(mine.as_arg(), result.recv(), &sum).unwrap();
                assert_eq!(result.0, vec![n as i32; count]);
            }
        });
    }
}

/// The root of a broadcast hears nobody: it is told in the next operation, which is carried out all the same.
#[test]
fn ranks_that_hear_nobody_are_told_of_a_wrong_type_in_the_next_operation() {
    for n in [2, 3, 8] {
        testing::run(n, |comm| {
            let last = n as i32 - 1;
            for count in [1, 1000, 300_000] {
                let outcome = if comm.rank() == last {
                    comm.bcast(Data::filled(count, 0f64).recv(), 0)
                } else {
                    comm.bcast(Data::filled(count, 7i64).recv(), 0)
                };
                if comm.rank() == last {
                    let parts = ["rank 0 calls Bcast", "MPI_DOUBLE", "MPI_INT64_T"];
                    assert_error(outcome, ErrorClass::Type, &parts);
                    comm.barrier().unwrap();
                } else {
                    // In the broadcast itself, if the last rank was quick.
                    let after = comm.barrier();
                    assert_error(outcome.and(after), ErrorClass::Type, &[&format!("rank {last} call"), "MPI_DOUBLE"]);
                }
                comm.barrier().unwrap();
            }
        });
    }
}

#[test]
fn bytes_and_other_names_of_a_type_match() {
    testing::run(3, |comm| {
        for count in [1, 5000] {
            let outcome = match comm.rank() {
                0 => comm.bcast(Data::filled(count, 1i64).recv(), 0),
                1 => comm.bcast(Data::filled(8 * count, 1u8).recv(), 0),
                _ => comm.bcast(Data::filled(count, 1u64).recv(), 0),
            };
            outcome.unwrap();
            comm.barrier().unwrap();
        }
    });
}

/// Operations whose blocks differ in size go by messages, and tell what they are all the same.
#[test]
fn operations_by_messages_and_others_do_not_wait_for_each_other() {
    for n in [2, 3, 8] {
        testing::run(n, |comm| {
            let counts = vec![4i64; n];
            let starts: Vec<i64> = (0..n as i64).map(|r| 4 * r).collect();
            for turn in 0..2 {
                let doomed = comm.dup().unwrap();
                let (mine, all) = (Data::filled(4, 1), Data::filled(4 * n, 0));
                let root = i32::from(turn == 1 && comm.rank() == 1);
                let recv = (comm.rank() == root).then(|| all.recv_blocks(&counts, &starts));
                let outcome = match (turn, comm.rank()) {
                    (0, 0) => doomed.barrier(),
                    // Ranks 0 and 1 are roots of their own.
                    _ => doomed.gatherv(mine.as_arg(), recv, root),
                };
                // Who only sends may have gone on.
                let outcome = outcome.and_then(|()| doomed.barrier());
                assert_error(outcome, ErrorClass::NotSame, &["disagree", "Gatherv with root"]);
                comm.barrier().unwrap();
            }
        });
    }
}

/// A rank that gets what it does not expect goes on for the others, who then get nothing from it.
#[test]
fn a_wrong_contribution_to_a_nonblocking_reduction_is_an_error_on_all_ranks() {
    for n in [2, 3, 8] {
        testing::run(n, |comm| {
            let sum = Op::predefined(Builtin::Sum);
            for count in [2, 100_000] {
                let odd = comm.rank() as usize == n - 1;
                let outcome = if odd {
                    let (mine, result) = (Data::filled(count, 1f32), Data::filled(count, 0f32));
                    comm.iallreduce(mine.as_arg(), result.recv(), &sum).unwrap().wait().map(drop)
                } else {
                    let (mine, result) = (Data::filled(count, 1), Data::filled(count, 0));
                    comm.iallreduce(mine.as_arg(), result.recv(), &sum).unwrap().wait().map(drop)
                };
                let error = outcome.unwrap_err();
                assert!(matches!(error.class(), ErrorClass::Type | ErrorClass::Truncate), "{error}");
                comm.barrier().unwrap();
            }
        });
    }
}
