//! Operations between two groups.

use super::*;
use crate::op::{Builtin, Op};
use crate::status::{PROC_NULL, ROOT};

/// Runs `body` on intercommunicators of several shapes; the flag says whether this rank is in the first group.
fn between_groups(body: impl Fn(&Comm, bool, Form) + Send + Sync) {
    for (a, b) in [(1, 1), (1, 2), (2, 1), (3, 2), (4, 4)] {
        testing::run(a + b, |world| {
            let first = me(world) < a;
            let local = world.split(i32::from(!first), 0).unwrap().unwrap();
            let inter = local.intercomm_create(0, Some(world), if first { a as i32 } else { 0 }, 3).unwrap();
            assert!(inter.is_inter());
            assert_eq!((inter.size() as usize, inter.remote_size() as usize), if first { (a, b) } else { (b, a) });
            for form in FORMS {
                body(&inter, first, form);
            }
            let copy = inter.dup().unwrap();
            body(&copy, first, Form::Nonblocking);
        });
    }
}

/// A number that tells the groups apart.
fn id(comm: &Comm, first: bool) -> usize {
    me(comm) + if first { 0 } else { 50 }
}

fn theirs(comm: &Comm, first: bool, r: usize) -> usize {
    let _ = comm;
    r + if first { 50 } else { 0 }
}

#[test]
fn data_moves_from_a_root_in_one_group_to_the_other() {
    between_groups(|comm, first, form| {
        for count in [0, 3, 20_000] {
            for sender in [true, false] {
                let last = if first == sender { comm.size() } else { comm.remote_size() } - 1;
                let root = match (first == sender, comm.rank() == last) {
                    (true, true) => ROOT,
                    (true, false) => PROC_NULL,
                    (false, _) => last,
                };
                let root_id = last as usize + if sender { 0 } else { 50 };
                let data = if root == ROOT { values(root_id, count) } else { Data::filled(count, -1) };
                call!(form, comm.bcast | ibcast | bcast_init(data.recv(), root)).unwrap();
                assert!(data.0 == if root == PROC_NULL { vec![-1; count] } else { values(root_id, count).0 });

                let (mine, others) = (values(id(comm, first), count), comm.remote_size() as usize);
                let all = Data::filled(if root == ROOT { others * count } else { 0 }, -1);
                let recv = || (root == ROOT).then(|| all.recv().into());
                call!(form, comm.gather | igather | gather_init(mine.as_arg(), recv(), root)).unwrap();
                if root == ROOT {
                    assert!(
                        all.0 == (0..others).flat_map(|r| values(theirs(comm, first, r), count).0).collect::<Vec<_>>()
                    );
                }
                let back = Data::filled(count, -1);
                let send = || (root == ROOT).then(|| all.send().into());
                call!(form, comm.scatter | iscatter | scatter_init(send(), Arg::Buf(back.recv()), root)).unwrap();
                assert!(back.0 == if first == sender { vec![-1; count] } else { mine.0 });
            }
        }
    });
}

#[test]
fn everybody_gets_the_data_of_the_other_group() {
    between_groups(|comm, first, form| {
        comm.barrier().unwrap();
        call!(form, comm.barrier | ibarrier | barrier_init()).unwrap();
        let others = comm.remote_size() as usize;
        for count in [0, 3, 20_000] {
            let mine = values(id(comm, first), count);
            let all = Data::filled(others * count, -1);
            call!(form, comm.allgather | iallgather | allgather_init(mine.as_arg(), all.recv().into())).unwrap();
            assert!(all.0 == (0..others).flat_map(|r| values(theirs(comm, first, r), count).0).collect::<Vec<_>>());

            let send = Data::new((0..others * count).map(|i| value(id(comm, first), i / count.max(1))));
            let recv = Data::filled(others * count, -1);
            call!(form, comm.alltoall | ialltoall | alltoall_init(Arg::Buf(send.send().into()), recv.recv().into()))
                .unwrap();
            assert!(recv.0.iter().enumerate().all(|(i, x)| *x == value(theirs(comm, first, i / count), me(comm))));
        }
    });
}

#[test]
fn reductions_combine_the_other_group() {
    between_groups(|comm, first, form| {
        let (sum, others) = (Op::predefined(Builtin::Sum), comm.remote_size() as usize);
        for count in [0, 3, 20_000] {
            let mine = values(id(comm, first), count);
            let total = |i: usize| (0..others).map(|r| value(theirs(comm, first, r), i)).sum::<i32>();
            let result = Data::filled(count, -1);
            call!(form, comm.allreduce | iallreduce | allreduce_init(mine.as_arg(), result.recv(), &sum)).unwrap();
            assert!(result.0 == (0..count).map(total).collect::<Vec<_>>());

            let root = match (first, comm.rank()) {
                (true, 0) => ROOT,
                (true, _) => PROC_NULL,
                (false, _) => 0,
            };
            let result = Data::filled(count, -1);
            let recv = || (root == ROOT).then(|| result.recv());
            call!(form, comm.reduce | ireduce | reduce_init(mine.as_arg(), recv(), &sum, root)).unwrap();
            assert!(result.0 == if root == ROOT { (0..count).map(total).collect() } else { vec![-1; count] });
        }
        // Both groups reduce as many elements as all blocks of the other have: here 12 per rank pair.
        let whole = 12 * (comm.size() as usize * others);
        let (each, m) = (whole / comm.size() as usize, me(comm));
        let mine = values(id(comm, first), whole);
        let result = Data::filled(each, -1);
        call!(
            form,
            comm.reduce_scatter_block
                | ireduce_scatter_block
                | reduce_scatter_block_init(mine.as_arg(), result.recv(), &sum)
        )
        .unwrap();
        let total = |i: usize| (0..others).map(|r| value(theirs(comm, first, r), i)).sum::<i32>();
        assert!(result.0 == (m * each..(m + 1) * each).map(total).collect::<Vec<_>>());
    });
}
