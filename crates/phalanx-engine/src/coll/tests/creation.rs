//! Making communicators.

use super::*;
use crate::comm::create::SplitType;
use crate::op::{Builtin, Op};
use crate::status::UNDEFINED;

/// Checks that a communicator works and is a message space of its own: the sum of the ranks, with the old one busy.
fn works(comm: &Comm) {
    let (n, sum) = (comm.size(), Op::predefined(Builtin::Sum));
    for count in [1, 4_000] {
        let result = Data::filled(count, -1);
        comm.allreduce(Data::filled(count, comm.rank()).as_arg(), result.recv(), &sum).unwrap();
        assert_eq!(result.0, vec![n * (n - 1) / 2; count]);
        let result = Data::filled(count, -1);
        comm.iallreduce(Data::filled(count, comm.rank()).as_arg(), result.recv(), &sum).unwrap().wait().unwrap();
        assert_eq!(result.0, vec![n * (n - 1) / 2; count]);
    }
}

#[test]
fn dup_gives_a_message_space_of_its_own() {
    for n in RANKS {
        testing::run(n, |comm| {
            let copies: Vec<Comm> = (0..5).map(|_| comm.dup().unwrap()).collect();
            for (i, copy) in copies.iter().enumerate() {
                assert_eq!((copy.rank(), copy.size()), (comm.rank(), comm.size()));
                assert_eq!(copy.compare(comm), crate::group::Comparison::Congruent);
                assert!(copies[..i].iter().all(|other| other.ctx() != copy.ctx()));
                works(copy);
            }
            for copy in copies {
                copy.free();
            }
            works(comm);
        });
    }
}

#[test]
fn idup_may_be_used_when_its_request_has_completed() {
    for n in RANKS {
        testing::run(n, |comm| {
            let (a, mut first) = comm.idup().unwrap();
            let (b, mut second) = comm.idup().unwrap();
            works(comm);
            second.wait().unwrap();
            works(&b);
            first.wait().unwrap();
            works(&a);
            assert_ne!(a.ctx(), b.ctx());
        });
    }
}

#[test]
fn split_orders_by_key_then_rank() {
    for n in RANKS {
        testing::run(n, |comm| {
            let (m, n) = (comm.rank(), comm.size());
            // Even and odd ranks, each in descending order.
            let part = comm.split(m % 2, -m).unwrap().unwrap();
            let members: Vec<i32> = (0..n).filter(|r| r % 2 == m % 2).rev().collect();
            assert_eq!(part.size() as usize, members.len());
            assert_eq!(members[part.rank() as usize], m);
            works(&part);
            // Equal keys keep the order; some take no part.
            let part = comm.split(if m == 0 { UNDEFINED } else { 5 }, 1).unwrap();
            assert_eq!(part.as_ref().map(|p| (p.rank(), p.size())), (m > 0).then_some((m - 1, n - 1)));
            if let Some(part) = part {
                works(&part);
            }
        });
    }
}

#[test]
fn split_type_shared_is_everybody() {
    for n in [1, 3] {
        testing::run(n, |comm| {
            let shared = comm.split_type(Some(SplitType::Shared), 0, None).unwrap().unwrap();
            assert_eq!((shared.rank(), shared.size()), (comm.rank(), comm.size()));
            works(&shared);
            assert!(comm.split_type(Some(SplitType::HwUnguided), 0, None).unwrap().is_none());
            assert!(comm.split_type(None, 0, None).unwrap().is_none());
        });
    }
}

#[test]
fn create_takes_disjoint_groups() {
    for n in RANKS {
        testing::run(n, |comm| {
            let (m, n) = (comm.rank(), comm.size());
            let half: Vec<i32> = (0..n).filter(|r| (*r < n / 2) == (m < n / 2)).collect();
            let group = comm.group().incl(&half).unwrap();
            let part = comm.create(&group).unwrap().unwrap();
            assert_eq!(part.size() as usize, half.len());
            works(&part);
            // Only the last rank: the others get nothing.
            let last = comm.group().incl(&[n - 1]).unwrap();
            assert_eq!(comm.create(&last).unwrap().is_some(), m == n - 1);
            works(comm);
        });
    }
}

#[test]
fn create_group_is_called_by_its_members_only_and_by_several_threads() {
    for n in RANKS {
        testing::run(n, |comm| {
            let (m, n) = (comm.rank(), comm.size());
            let members: Vec<i32> = (0..n).filter(|r| r % 2 == 0).rev().collect();
            let group = comm.group().incl(&members).unwrap();
            if m % 2 == 0 {
                std::thread::scope(|scope| {
                    for tag in 0..3 {
                        let group = &group;
                        scope.spawn(move || {
                            let part = comm.create_group(group, tag).unwrap().unwrap();
                            assert_eq!(members_of(&part), group.members());
                            works(&part);
                        });
                    }
                });
                let part = Comm::from_group(comm.engine(), &group, "even ranks").unwrap();
                works(&part);
            }
            works(comm);
        });
    }
}

fn members_of(comm: &Comm) -> &[phalanx_shm::ProcId] {
    comm.group().members()
}

#[test]
fn merge_orders_the_groups() {
    for (a, b) in [(1, 1), (2, 1), (2, 3), (4, 4)] {
        testing::run(a + b, |world| {
            let first = me(world) < a;
            let local = world.split(i32::from(!first), 0).unwrap().unwrap();
            let inter = local.intercomm_create(0, Some(world), if first { a as i32 } else { 0 }, 3).unwrap();
            let merged = inter.intercomm_merge(!first).unwrap();
            assert_eq!((merged.rank(), merged.size()), (world.rank(), world.size()));
            works(&merged);
            let swapped = inter.intercomm_merge(first).unwrap();
            let expected = if first { me(world) + b } else { me(world) - a };
            assert_eq!(me(&swapped), expected);
            works(&swapped);
            let either = inter.intercomm_merge(true).unwrap();
            works(&either);
            inter.disconnect().unwrap();
        });
    }
}

#[test]
fn intercommunicators_can_be_divided() {
    testing::run(6, |world| {
        let first = me(world) < 4;
        let local = world.split(i32::from(!first), 0).unwrap().unwrap();
        let inter = local.intercomm_create(0, Some(world), if first { 4 } else { 0 }, 3).unwrap();
        let part = inter.split(inter.rank() % 2, 0).unwrap().unwrap();
        assert_eq!((part.size(), part.remote_size()), if first { (2, 1) } else { (1, 2) });
        works(&part.intercomm_merge(first).unwrap());
        // A color that only one group has gives nothing.
        assert!(inter.split(i32::from(first), 0).unwrap().is_none());
        let (copy, mut request) = inter.idup().unwrap();
        request.wait().unwrap();
        works(&copy.intercomm_merge(!first).unwrap());
        let group = inter.group().incl(&[inter.size() - 1]).unwrap();
        let last = inter.create(&group).unwrap();
        assert_eq!(
            last.as_ref().map(|c| (c.size(), c.remote_size())),
            (inter.rank() == inter.size() - 1).then_some((1, 1))
        );
    });
}

#[test]
fn a_freed_communicator_finishes_what_was_started() {
    for n in RANKS {
        testing::run(n, |comm| {
            let copy = comm.dup().unwrap();
            let (mine, all) = (values(me(comm), 30_000), Data::filled(30_000 * n, -1));
            let mut request = copy.iallgather(mine.as_arg(), all.recv().into()).unwrap();
            copy.clone().free();
            assert!(copy.barrier().is_err());
            drop(copy);
            comm.barrier().unwrap();
            request.wait().unwrap();
            assert!(all.0 == (0..n).flat_map(|r| values(r, 30_000).0).collect::<Vec<_>>());
        });
    }
}

#[test]
fn many_communicators_come_and_go() {
    // Their shared areas must be given back, or the heap would be full long before the end.
    for n in [1, 2, 5] {
        testing::run(n, |comm| {
            for _ in 0..400 {
                let copy = comm.dup().unwrap();
                copy.barrier().unwrap();
                copy.free();
            }
            works(comm);
        });
    }
}
