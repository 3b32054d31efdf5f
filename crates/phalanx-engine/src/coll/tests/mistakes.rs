//! Wrong arguments and ranks that disagree.

use super::*;
use crate::error::ErrorClass;
use crate::op::{Builtin, Op};

/// Checks class and text of an error.
fn assert_error<T>(result: crate::error::Result<T>, class: ErrorClass, parts: &[&str]) {
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
        let other = if comm.rank() == 2 { "rank 0 calls Allreduce" } else { "rank 2 calls Barrier" };
        assert_error(outcome, ErrorClass::NotSame, &["disagree", other]);
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
