//! Operations that combine data: values, order and bits.

use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::datatype::{Basic, Datatype};
use crate::op::{Builtin, Op};

fn sum() -> Op {
    Op::predefined(Builtin::Sum)
}

/// Composition of affine maps x -> a x + b modulo 2^32, packed as (a, b): associative, does not commute.
fn compose(first: u64, second: u64) -> u64 {
    let (a, b) = (first as u32, (first >> 32) as u32);
    let (c, d) = (second as u32, (second >> 32) as u32);
    u64::from(a.wrapping_mul(c)) | u64::from(b.wrapping_mul(c).wrapping_add(d)) << 32
}

fn affine() -> Op {
    Op::user(
        Arc::new(|input: ConstMem, inout: MutMem, count: usize, ty: &Datatype| {
            let extent = ty.extent();
            for i in 0..count as isize {
                let (mut x, mut y) = ([0; 8], [0; 8]);
                input.at(i * extent, 8).copy_to(&mut x);
                inout.at(i * extent, 8).copy_to(&mut y);
                let result = compose(u64::from_ne_bytes(x), u64::from_ne_bytes(y));
                inout.at(i * extent, 8).copy_from(&result.to_ne_bytes());
            }
            Ok(())
        }),
        false,
    )
}

fn map(rank: usize, i: usize) -> u64 {
    let a = (rank * 2 + i * 4 + 3) as u64 | 1;
    a | ((rank * 7919 + i * 31 + 1) as u64) << 32
}

/// The product of the ranks `0..n` at position `i`.
fn product(n: usize, i: usize) -> u64 {
    (1..n).fold(map(0, i), |acc, r| compose(acc, map(r, i)))
}

fn maps(rank: usize, count: usize) -> Data<u64> {
    Data::new((0..count).map(|i| map(rank, i)))
}

fn total(n: usize, i: usize) -> i32 {
    (0..n).map(|r| value(r, i)).sum()
}

#[test]
fn allreduce_and_reduce_add_up() {
    everywhere(|comm, form| {
        let (n, m) = (size(comm), me(comm));
        for count in COUNTS {
            let expected: Vec<i32> = (0..count).map(|i| total(n, i)).collect();
            let (mine, result) = (values(m, count), Data::filled(count, -1));
            call!(form, comm.allreduce | iallreduce | allreduce_init(mine.as_arg(), result.recv(), &sum())).unwrap();
            assert!(result.0 == expected, "allreduce {count}, {form:?}");

            for root in [0, n - 1] {
                let result = Data::filled(count, -1);
                let recv = || (m == root).then(|| result.recv());
                call!(form, comm.reduce | ireduce | reduce_init(mine.as_arg(), recv(), &sum(), root as i32)).unwrap();
                assert!(
                    result.0 == if m == root { expected.clone() } else { vec![-1; count] },
                    "reduce {count} to {root}, {form:?}"
                );
            }
        }
    });
}

#[test]
fn reductions_work_in_place() {
    for n in RANKS {
        testing::run(n, |comm| {
            let m = me(comm);
            for form in [Form::Blocking, Form::Nonblocking] {
                for count in COUNTS {
                    let expected: Vec<i32> = (0..count).map(|i| total(n, i)).collect();
                    let data = values(m, count);
                    call!(form, comm.allreduce | iallreduce | allreduce_init(Arg::InPlace, data.recv(), &sum()))
                        .unwrap();
                    assert!(data.0 == expected, "allreduce {count}, {form:?}");

                    let (data, root) = (values(m, count), n / 2);
                    let send = if m == root { Arg::InPlace } else { data.as_arg() };
                    let recv = (m == root).then(|| data.recv());
                    call!(form, comm.reduce | ireduce | reduce_init(send, recv, &sum(), root as i32)).unwrap();
                    assert!(
                        data.0 == if m == root { expected } else { values(m, count).0 },
                        "reduce {count}, {form:?}"
                    );

                    let data = maps(m, count);
                    call!(form, comm.scan | iscan | scan_init(Arg::InPlace, data.recv(), &affine())).unwrap();
                    assert!(
                        data.0 == (0..count).map(|i| product(m + 1, i)).collect::<Vec<_>>(),
                        "scan {count}, {form:?}"
                    );

                    let data = maps(m, count);
                    call!(form, comm.exscan | iexscan | exscan_init(Arg::InPlace, data.recv(), &affine())).unwrap();
                    let before = |i| if m == 0 { map(0, i) } else { product(m, i) };
                    assert!(data.0 == (0..count).map(before).collect::<Vec<_>>(), "exscan {count}, {form:?}");
                }
            }
        });
    }
}

#[test]
fn the_order_of_the_ranks_is_kept() {
    everywhere(|comm, form| {
        let (n, m) = (size(comm), me(comm));
        for count in COUNTS {
            let mine = maps(m, count);
            let expected: Vec<u64> = (0..count).map(|i| product(n, i)).collect();
            let result = Data::filled(count, 0);
            call!(form, comm.allreduce | iallreduce | allreduce_init(mine.as_arg(), result.recv(), &affine())).unwrap();
            assert!(result.0 == expected, "allreduce {count}, {form:?}");

            let (result, root) = (Data::filled(count, 0), n - 1);
            let recv = || (m == root).then(|| result.recv());
            call!(form, comm.reduce | ireduce | reduce_init(mine.as_arg(), recv(), &affine(), root as i32)).unwrap();
            assert!(m != root || result.0 == expected, "reduce {count}, {form:?}");

            let result = Data::filled(count, 0);
            call!(form, comm.scan | iscan | scan_init(mine.as_arg(), result.recv(), &affine())).unwrap();
            assert!(result.0 == (0..count).map(|i| product(m + 1, i)).collect::<Vec<_>>(), "scan {count}, {form:?}");

            let result = Data::filled(count, 5);
            call!(form, comm.exscan | iexscan | exscan_init(mine.as_arg(), result.recv(), &affine())).unwrap();
            let before = |i| if m == 0 { 5 } else { product(m, i) };
            assert!(result.0 == (0..count).map(before).collect::<Vec<_>>(), "exscan {count}, {form:?}");
        }
    });
}

#[test]
fn reduce_scatter_hands_out_blocks() {
    everywhere(|comm, form| {
        let (n, m) = (size(comm), me(comm));
        for unit in [0, 1, 40, 6_000] {
            let counts: Vec<i64> = (0..n).map(|r| (unit * (r % 3)) as i64).collect();
            let start: usize = counts[..m].iter().sum::<i64>() as usize;
            let all = counts.iter().sum::<i64>() as usize;
            let own = counts[m] as usize;
            let mine = maps(m, all);
            let expected: Vec<u64> = (start..start + own).map(|i| product(n, i)).collect();
            let result = Data::filled(own, 0);
            call!(
                form,
                comm.reduce_scatter
                    | ireduce_scatter
                    | reduce_scatter_init(mine.as_arg(), result.recv(), &counts, &affine())
            )
            .unwrap();
            assert!(result.0 == expected, "unit {unit}, {form:?}");

            let mine = values(m, n * unit);
            let result = Data::filled(unit, -1);
            call!(
                form,
                comm.reduce_scatter_block
                    | ireduce_scatter_block
                    | reduce_scatter_block_init(mine.as_arg(), result.recv(), &sum())
            )
            .unwrap();
            assert!(
                result.0 == (m * unit..(m + 1) * unit).map(|i| total(n, i)).collect::<Vec<_>>(),
                "unit {unit}, {form:?}"
            );
            if form != Form::Persistent {
                let data = maps(m, all);
                call!(
                    form,
                    comm.reduce_scatter
                        | ireduce_scatter
                        | reduce_scatter_init(Arg::InPlace, data.recv(), &counts, &affine())
                )
                .unwrap();
                assert!(data.0[..own] == expected[..], "unit {unit} in place, {form:?}");
            }
        }
    });
}

#[test]
fn floating_point_sums_have_the_bits_of_a_serial_loop() {
    everywhere(|comm, form| {
        let (n, m) = (size(comm), me(comm));
        let sample = |r: usize, i: usize| ((r * 31 + i * 17) as f64).sin() * 10f64.powi((r * 7 + i) as i32 % 13 - 6);
        for count in COUNTS {
            let mine = Data::new((0..count).map(|i| sample(m, i)));
            let result = Data::filled(count, f64::NAN);
            call!(form, comm.allreduce | iallreduce | allreduce_init(mine.as_arg(), result.recv(), &sum())).unwrap();
            for (i, x) in result.0.iter().enumerate() {
                let serial = (1..n).fold(sample(0, i), |acc, r| acc + sample(r, i));
                assert_eq!(x.to_bits(), serial.to_bits(), "element {i} of {count}, {form:?}");
            }
        }
    });
}

#[test]
fn pairs_of_value_and_index_find_the_lowest_index() {
    // MPI_2INT: value and index as two 32-bit integers.
    let pair = Datatype::predefined(Basic::TwoInt);
    everywhere(move |comm, form| {
        let (n, m) = (size(comm), me(comm));
        for count in [1, 300, 20_000] {
            let mine = Data::new((0..count).flat_map(|i| [((m + i) % 3) as i32, m as i32]));
            let result = Data::filled(2 * count, -1);
            let (send, recv) =
                (|| SendBuf::raw(mine.const_mem(), count, pair), || RecvBuf::raw(result.mut_mem(), count, pair));
            let op = Op::predefined(Builtin::Maxloc);
            call!(form, comm.allreduce | iallreduce | allreduce_init(Arg::Buf(send()), recv(), &op)).unwrap();
            for i in 0..count {
                let best = (0..n).map(|r| ((r + i) % 3, r)).max_by_key(|&(v, r)| (v, n - r)).unwrap();
                assert_eq!(
                    [result.0[2 * i], result.0[2 * i + 1]],
                    [best.0 as i32, best.1 as i32],
                    "element {i} of {count}"
                );
            }
        }
    });
}

#[test]
fn user_operations_see_derived_types() {
    // Every second word takes part; the others keep what they had.
    everywhere(|comm, form| {
        let (n, m) = (size(comm), me(comm));
        let sparse = Datatype::resized(Datatype::predefined(Basic::Uint64), 0, 16).unwrap();
        sparse.commit();
        for count in [1, 100, 10_000] {
            let mine = Data::new((0..2 * count).map(|i| if i % 2 == 0 { map(m, i / 2) } else { 9 }));
            let result = Data::filled(2 * count, 77u64);
            let (send, recv) =
                (|| SendBuf::raw(mine.const_mem(), count, &sparse), || RecvBuf::raw(result.mut_mem(), count, &sparse));
            call!(form, comm.allreduce | iallreduce | allreduce_init(Arg::Buf(send()), recv(), &affine())).unwrap();
            for i in 0..count {
                assert_eq!(result.0[2 * i], product(n, i), "element {i} of {count}, {form:?}");
                assert_eq!(result.0[2 * i + 1], 77, "gap {i} of {count}, {form:?}");
            }
        }
    });
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn any_count_any_root_any_order(n in 1usize..7, count in 0usize..3000, root in 0usize..7, blocking: bool) {
        let root = root % n;
        testing::run(n, |comm| {
            let (m, form) = (me(comm), if blocking { Form::Blocking } else { Form::Nonblocking });
            let (mine, result) = (maps(m, count), Data::filled(count, 0));
            let recv = (m == root).then(|| result.recv());
            call!(form, comm.reduce | ireduce | reduce_init(mine.as_arg(), recv, &affine(), root as i32)).unwrap();
            call!(form, comm.bcast | ibcast | bcast_init(result.recv(), root as i32)).unwrap();
            assert!(result.0 == (0..count).map(|i| product(n, i)).collect::<Vec<_>>());
            let all = Data::filled(n * count, 0);
            let recv = (m == root).then(|| all.recv().into());
            call!(form, comm.gather | igather | gather_init(mine.as_arg(), recv, root as i32)).unwrap();
            assert!(m != root || all.0 == (0..n).flat_map(|r| maps(r, count).0).collect::<Vec<_>>());
        });
    }
}
